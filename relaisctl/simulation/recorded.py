"""Recorded days: the calls that reached a queue, and what was done for them. Pure.

Times are microseconds since the epoch, lengths microseconds.
"""

from bisect import bisect_left
from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass
from datetime import date, tzinfo
from itertools import islice

from relaisctl.replay import history
from relaisctl.replay.anonymous_bank import Outcome
from relaisctl.replay.history import Recorded

SECOND = 1_000_000
HIGH = 2
"""The format's number of a customer who goes before others; 0 and 1 are regular."""
NEVER = 2**62


@dataclass(frozen=True, slots=True)
class Call:
    """A call that was queued.

    priority   1 goes before 0; None: unknown, as of nearly all who were answered at once, since
               the file names a customer, and the priority, only of those who had to wait
    waited     until answered or abandoned
    talked     None: abandoned
    agent      empty: nobody is named
    connected  when the talk began, `ended` when it was over; 0 if abandoned
    """

    queue: str
    queued_at: int
    priority: int | None
    waited: int
    talked: int | None = None
    agent: str = ""
    connected: int = 0
    ended: int = 0


@dataclass(frozen=True, slots=True)
class Day:
    """The calls that arrived on one local day, by the time at which they were queued.

    begins   midnight
    left     how many hung up before they reached a queue: they need nobody, and are left out
    """

    day: date
    begins: int
    calls: tuple[Call, ...]
    left: int = 0


def days(calls: Iterable[Recorded], zone: tzinfo) -> list[Day]:
    """The days on which calls were queued. Phantoms were no calls."""
    queued: dict[date, list[Call]] = {}
    left: dict[date, int] = {}
    for recorded in calls:
        day, outcome = recorded.call.day, recorded.call.outcome
        if outcome is Outcome.LEFT_BEFORE_QUEUE:
            left[day] = left.get(day, 0) + 1
        elif outcome is not Outcome.PHANTOM:
            queued.setdefault(day, []).append(_call(recorded))
    return [
        Day(
            day,
            history.moment(day, 0, zone),
            tuple(sorted(queued[day], key=lambda call: call.queued_at)),
            left.get(day, 0),
        )
        for day in sorted(queued)
    ]


def _call(recorded: Recorded) -> Call:
    row = recorded.call
    _, queued, *rest = history.events(recorded, NEVER)
    known = row.customer or row.waited_us
    priority = int(row.priority == HIGH) if known else None
    if row.outcome is Outcome.ABANDONED:
        return Call(row.queue, queued.occurred_at, priority, row.waited_us)
    connected = rest[0].occurred_at
    return Call(
        row.queue,
        queued.occurred_at,
        priority,
        row.waited_us,
        row.talked_us,
        row.agent,
        connected,
        connected + row.talked_us,
    )


def services(calls: Sequence[Call]) -> dict[str, list[Call]]:
    """Of each agent who is named the calls that they answered, one after the other."""
    found: dict[str, list[Call]] = {}
    for call in calls:
        if call.agent:
            found.setdefault(call.agent, []).append(call)
    for own in found.values():
        own.sort(key=lambda call: (call.connected, call.ended))
    return found


Span = tuple[int, int]
"""From, to."""


def waiting(calls: Sequence[Call], queues: Set[str]) -> list[Span]:
    """When somebody waited in these queues, in order and without overlaps."""
    spans: list[Span] = []
    for call in calls:
        if call.queue in queues and call.waited:
            begins, ends = call.queued_at, call.queued_at + call.waited
            if spans and begins <= spans[-1][1]:
                spans[-1] = (spans[-1][0], max(spans[-1][1], ends))
            else:
                spans.append((begins, ends))
    return spans


def within(spans: Sequence[Span], begins: int, ends: int) -> list[Span]:
    """The parts of ordered spans that lie between two times."""
    found = []
    first = bisect_left(spans, begins, key=lambda span: span[1])
    for start, end in islice(spans, first, None):
        if start >= ends:
            break
        if max(start, begins) < min(end, ends):
            found.append((max(start, begins), min(end, ends)))
    return found
