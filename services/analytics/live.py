"""The live figures as a fold over call-events, pure: the same log always gives the same figures.

Per client and hour of arrival (UTC) the state knows each call and what its events said. What is
known of a call only ever grows (or, min, max, sets), so copies of an event, and their order, change
nothing. A call counts once, by its first connection: one that is transferred is connected again.

The memory is bounded: a state is one of the client's KEEP_HOURS slots and holds one hour, and an
hour that is KEEP_HOURS younger takes its slot over. So the client's newest calls decide what is
forgotten and no clock does. An event of a call whose hour is gone is late: it changes nothing here,
and the figures at query time have it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, NamedTuple

HOUR_US: Final = 3_600_000_000
INTERVAL_US: Final = 900_000_000
"""A quarter of an hour. Every zone's offset is a multiple of it, so the quarters of UTC add up to
the half hours and days of any client's own clock."""
UNNUMBERED: Final = 0
"""The version of what a snapshot says from before versions were kept: a call had one connection and
one wrap-up then."""
KEEP_HOURS: Final = 48
"""No setting: the slots of snapshots that exist depend on it."""


class Kind(Enum):
    """The events of a call that figures are made of."""

    CONNECTED = "connected"
    ABANDONED = "abandoned"
    OVERFLOWED = "overflowed"
    ENDED = "ended"
    WRAPPED_UP = "wrapped_up"


@dataclass(frozen=True, slots=True)
class Said:
    """What one event says of a call. Times and durations in microseconds.

    version: of the event in the call's stream.
    lasted: the wait, the talk or the wrap-up, as the kind of event has it.
    """

    kind: Kind
    client_id: str
    call_id: str
    version: int
    queue_id: str
    arrived_at: int
    lasted: int
    partition: int
    offset: int


class Connection(NamedTuple):
    """The least is the first of a call."""

    version: int
    queue_id: str
    waited: int


class WrapUp(NamedTuple):
    version: int
    lasted: int


class Facts(NamedTuple):
    """What is known of a call. wrap_ups: one for each agent who had it, sorted."""

    arrived_at: int
    connected: Connection | None = None
    abandoned: bool = False
    abandoned_queue: str = ""
    overflowed: bool = False
    overflowed_queue: str = ""
    ended: bool = False
    talked: int = 0
    wrap_ups: tuple[WrapUp, ...] = ()


class Totals(NamedTuple):
    """What the calls of one queue and interval add up to. Durations in microseconds."""

    offered: int = 0
    answered: int = 0
    abandoned: int = 0
    overflowed: int = 0
    answered_in_target: int = 0
    handled: int = 0
    waited: int = 0
    handle: int = 0


@dataclass(frozen=True, slots=True)
class Figures:
    """The totals of an interval in one partition, as of an offset: they replace earlier ones."""

    client_id: str
    queue_id: str
    interval_start: int
    partition: int
    offset: int
    totals: Totals


@dataclass(frozen=True, slots=True)
class Late:
    """An event of a call whose hour is no longer kept."""

    client_id: str


Place = tuple[str, int]
"""Queue and interval start."""


@dataclass(slots=True)
class Hour:
    """A client's calls that arrived in one hour: `hour` counts from 1970, UTC."""

    client_id: str
    hour: int
    target: int
    """The service level's threshold, microseconds."""
    calls: dict[str, Facts] = field(default_factory=dict)
    totals: dict[Place, Totals] = field(default_factory=dict)

    def put(self, call_id: str, facts: Facts) -> set[Place]:
        """Remember what is known of a call; returns the places whose totals have changed."""
        before = self.calls.get(call_id)
        self.calls[call_id] = facts
        old, new = counted(before, self.target), counted(facts, self.target)
        if old == new:
            return set()
        changed = set()
        for counts, sign in ((old, -1), (new, 1)):
            if counts is not None:
                place, share = counts
                total = self.totals.get(place, Totals())
                self.totals[place] = Totals(
                    *(had + sign * one for had, one in zip(total, share, strict=True))
                )
                changed.add(place)
        return changed


def slot(client_id: str, arrived_at: int) -> str:
    """The key of the state that a call belongs to."""
    return f"{client_id}|{arrived_at // HOUR_US % KEEP_HOURS:02}"


def apply(state: Hour | None, said: Said, target: int) -> tuple[Hour, Sequence[Figures | Late]]:
    """The next state of the call's slot, and the figures that are new."""
    hour = said.arrived_at // HOUR_US
    if state is not None and hour < state.hour:
        return state, [Late(said.client_id)]
    if state is None or hour > state.hour:
        state = Hour(said.client_id, hour, target)
    changed = state.put(said.call_id, grown(state.calls.get(said.call_id), said))
    return state, [
        Figures(
            said.client_id, queue, start, said.partition, said.offset, state.totals[queue, start]
        )
        for queue, start in sorted(changed)
    ]


def grown(facts: Facts | None, said: Said) -> Facts:
    """What is known of a call after one more event."""
    if facts is None:
        facts = Facts(said.arrived_at)
    facts = facts._replace(arrived_at=min(facts.arrived_at, said.arrived_at))
    match said.kind:
        case Kind.CONNECTED:
            one = Connection(said.version, said.queue_id, said.lasted)
            return facts._replace(connected=min(facts.connected or one, one))
        case Kind.ABANDONED:
            return facts._replace(
                abandoned=True, abandoned_queue=max(facts.abandoned_queue, said.queue_id)
            )
        case Kind.OVERFLOWED:
            return facts._replace(
                overflowed=True, overflowed_queue=max(facts.overflowed_queue, said.queue_id)
            )
        case Kind.ENDED:
            return facts._replace(ended=True, talked=max(facts.talked, said.lasted))
        case Kind.WRAPPED_UP:
            others = [one for one in facts.wrap_ups if one.version != UNNUMBERED]
            wrap_ups = {*others, WrapUp(said.version, said.lasted)}
            return facts._replace(wrap_ups=tuple(sorted(wrap_ups)))


def counted(facts: Facts | None, target: int) -> tuple[Place, Totals] | None:
    """Where a call counts, and as what. A call without an outcome counts nowhere."""
    if facts is None:
        return None
    start = facts.arrived_at // INTERVAL_US * INTERVAL_US
    if facts.connected is not None:
        waited = facts.connected.waited
        handle = facts.talked + sum(one.lasted for one in facts.wrap_ups)
        return (facts.connected.queue_id, start), Totals(
            offered=1,
            answered=1,
            answered_in_target=int(waited <= target),
            handled=int(facts.ended),
            waited=waited,
            handle=handle if facts.ended else 0,
        )
    if facts.abandoned:
        return (facts.abandoned_queue, start), Totals(offered=1, abandoned=1)
    if facts.overflowed:
        return (facts.overflowed_queue, start), Totals(offered=1, overflowed=1)
    return None


def newest(outputs: Iterable[Figures | Late]) -> list[Figures]:
    """Of the figures of each place, the last: the others need not be written."""
    last = {
        (one.client_id, one.queue_id, one.interval_start, one.partition): one
        for one in outputs
        if isinstance(one, Figures)
    }
    return list(last.values())
