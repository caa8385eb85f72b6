"""What a pool's commands lead to by routing's own fold, against what was published. Pure."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from eventkit.errors import InvalidMessage
from eventkit.logfold import Held, fold_records
from eventkit.records import Headers, Message, Record
from relaisctl.decisions import codec
from relaisctl.decisions.ledger import Difference, Kind, Ledger, Names
from services.routing import commands as c
from services.routing import events as e
from services.routing.pool import Pool
from services.routing.stream import CALLS, COMMANDS, Decision, Fold, messages

SHOWN = 10
"""Of each kind of difference, the first ones."""


@dataclass(frozen=True, slots=True)
class Window:
    """Milliseconds, the end excluded; None: open. Commands count by when they were written."""

    since_ms: int | None = None
    until_ms: int | None = None

    def __contains__(self, at_ms: int) -> bool:
        return (self.since_ms is None or self.since_ms <= at_ms) and (
            self.until_ms is None or at_ms < self.until_ms
        )


@dataclass(frozen=True, slots=True)
class Decided:
    """What a command leads to. decision: None where it was refused, and became a dead letter."""

    record: Record
    command_id: str
    decision: Decision | None = None

    @property
    def messages(self) -> list[Message]:
        """What the worker publishes for it; made when it is asked for."""
        return [] if self.decision is None else list(messages(self.decision))


class _Bare(NamedTuple):
    """A record without headers: they hold traces, and nothing that decides."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Headers = ()


class Refold:
    """The pool as its log makes it, from the first command on."""

    def __init__(self, pool_id: str) -> None:
        self._key = pool_id.encode()
        self._fold = Fold()
        self._held: Held[Pool] = Held()

    def decide(self, records: Iterable[Record]) -> Iterator[Decided]:
        """Of each command of the pool among these, what it leads to."""
        for record in records:
            if record.key == self._key:
                yield self._decide(record)

    def _decide(self, record: Record) -> Decided:
        bare = _Bare(
            record.topic,
            record.partition,
            record.offset,
            record.timestamp,
            record.key,
            record.value,
        )
        decisions, bad = fold_records(self._fold, self._held, (bare,))
        if bad:
            try:
                command_id = codec.identity(COMMANDS, record.value).event_id
            except InvalidMessage:
                command_id = ""
            return Decided(record, command_id)
        [decision] = decisions
        return Decided(record, decision.command.command_id, decision)


@dataclass
class Counts:
    """commands: of the pool, in its whole log; the rest is about those in the window."""

    commands: int = 0
    replayed: int = 0
    refused: int = 0
    without_effect: int = 0
    """Repeats, stale reports, timers that were overtaken."""
    decisions: int = 0
    identical: int = 0
    different: int = 0
    missing: int = 0
    extra: int = 0
    not_yet_published: int = 0
    published_again: int = 0
    unreadable: int = 0
    """Records of the topics that nobody can decode."""

    @property
    def proved(self) -> bool:
        return not (self.different or self.missing or self.extra)


@dataclass
class Proof:
    """`decide` for all of the pool's commands, then `seal`, then `publish`, then `settle`."""

    pool_id: str
    window: Window = field(default_factory=Window)

    def __post_init__(self) -> None:
        self.counts = Counts()
        self.shown: list[Difference] = []
        self.strays: list[tuple[str, Difference]] = []
        """Published as this pool's, with the id of a command that we have not seen."""
        self._key = self.pool_id.encode()
        self._ledger = Ledger()
        self._commands, self._in_window, self._outside = Names(), Names(), Names()
        self._passed_on = Names()
        """Reports about calls that another pool has: it decides under the same id."""
        self._streams, self._moved = Names(), Names()
        self._extra: set[str] = set()

    def decide(self, decided: Decided) -> list[int]:
        """Returns the ledger's numbers of the command's messages."""
        counts, record, decision = self.counts, decided.record, decided.decision
        counts.commands += 1
        if decided.command_id:
            self._commands.add(decided.command_id)
        for event in decision.events if decision is not None else ():
            if isinstance(event, e.CallEvent):
                if event.version == 1:
                    self._streams.add(event.stream_id)
                if isinstance(event.body, e.CallMovedToPool | e.CallTakenOver):
                    self._moved.add(event.stream_id)
            elif isinstance(event, e.Sent) and not isinstance(event.body, c.TakeOverCall):
                self._passed_on.add(decided.command_id)
        if record.timestamp not in self.window:
            self._outside.add(decided.command_id)
            return []
        counts.replayed += 1
        counts.refused += decision is None
        counts.without_effect += decision is not None and not decision.events
        if decided.command_id:
            self._in_window.add(decided.command_id)
        return [
            self._ledger.decided(
                codec.identity(each.topic, each.value).event_id,
                each.topic,
                each.key,
                each.value,
                record.offset,
            )
            for each in decided.messages
        ]

    def seal(self) -> None:
        """Everything that was decided is known."""
        self._ledger.seal()
        for names in (
            *(self._commands, self._in_window, self._outside),
            *(self._streams, self._moved, self._passed_on),
        ):
            names.seal()

    def publish(self, record: Record) -> None:
        """A record of one of the topics that routing publishes on."""
        if record.topic == COMMANDS and record.key == self._key:
            return
        try:
            found = codec.identity(record.topic, record.value)
        except InvalidMessage:
            self.counts.unreadable += 1
            return
        difference = self._ledger.published(found.event_id, record)
        if difference is None:
            return
        if difference.kind is not Kind.EXTRA:
            self._show(difference)
        elif found.causation_id in self._in_window:
            # A report that is told twice can have its effect the second time.
            elsewhere = (self._outside, self._passed_on)
            if not any(found.causation_id in names for names in elsewhere):
                self._is_extra(difference)
        elif (
            record.timestamp in self.window
            and found.causation_id not in self._commands
            and self._is_ours(record.topic, found)
        ):
            self.strays.append((found.causation_id, difference))

    def _is_ours(self, topic: str, found: codec.Identity) -> bool:
        """Whether this pool, and no other, decides in the event's stream."""
        if found.pool_id:
            return found.pool_id == self.pool_id
        stream = found.stream_id
        return topic == CALLS and stream in self._streams and stream not in self._moved

    def settle(self, published_until: int | None, later: frozenset[str] = frozenset()) -> Counts:
        """published_until: the offset up to which the worker says to have published everything.

        None: it has said nothing, so what lies behind the last command of which anything was
        published is not yet published. later: ids of commands that were written behind those which
        were decided here.
        """
        for causation_id, difference in self.strays:
            if causation_id not in later:
                self._is_extra(difference)
        counts, ledger = self.counts, self._ledger
        if published_until is None:
            published_until = ledger.last_offset()
        for difference in ledger.unpublished():
            if difference.offset >= published_until:
                counts.not_yet_published += 1
            else:
                counts.missing += 1
                self._show(difference)
        counts.decisions = len(ledger)
        counts.identical, counts.different = ledger.identical(), ledger.different()
        counts.extra = len(self._extra)
        counts.published_again = ledger.repeats
        return counts

    def _is_extra(self, difference: Difference) -> None:
        self._extra.add(difference.event_id)
        self._show(difference)

    def _show(self, difference: Difference) -> None:
        kind, name = difference.kind, (difference.event_id, difference.number)
        same = [each for each in self.shown if each.kind is kind]
        if len(same) < SHOWN and name not in ((each.event_id, each.number) for each in same):
            self.shown.append(difference)
