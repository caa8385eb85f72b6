"""What happened to recorded calls, as events in the order in which it happened. Pure.

A foreign telephone system has routed these calls: nothing is offered or assigned here.
Times are microseconds since 1970-01-01T00:00:00Z, lengths microseconds.
"""

import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta, tzinfo
from enum import IntEnum
from functools import lru_cache

from eventkit.ids import derived_id
from relaisctl.replay.anonymous_bank import DAY_S, SECOND_US, Call, Outcome, forward


class Cause(IntEnum):
    """relais.calls.v1.EndCause, as on the wire."""

    COMPLETED = 1
    LEFT_BEFORE_QUEUE = 2
    PHANTOM = 3


@dataclass(frozen=True, slots=True)
class Arrived:
    line: str
    customer_id: str
    queue_id: str


@dataclass(frozen=True, slots=True)
class Queued:
    queue_id: str
    priority: int
    arrived_at: int


@dataclass(frozen=True, slots=True)
class Connected:
    agent_id: str
    queue_id: str
    arrived_at: int
    waited: int


@dataclass(frozen=True, slots=True)
class Abandoned:
    queue_id: str
    arrived_at: int
    waited: int


@dataclass(frozen=True, slots=True)
class Ended:
    cause: Cause
    agent_id: str
    queue_id: str
    arrived_at: int
    talked: int


@dataclass(frozen=True, slots=True)
class Event:
    """The version-th event (1, 2, ...) of a call."""

    call_id: str
    version: int
    occurred_at: int
    body: Arrived | Queued | Connected | Abandoned | Ended


@dataclass(frozen=True, slots=True)
class Recorded:
    """A call with the id and the time of arrival that its events have."""

    call_id: str
    arrived_at: int
    call: Call


EVENTS = {
    Outcome.ANSWERED: 4,
    Outcome.ABANDONED: 3,
    Outcome.LEFT_BEFORE_QUEUE: 2,
    Outcome.PHANTOM: 2,
}
"""How many events a call of each outcome has."""


def identify(calls: Iterable[Call], zone: tzinfo) -> tuple[list[Recorded], int]:
    """The calls by time of arrival, and how many rows only repeated another one.

    Equal rows are one call. Different rows that claim to be the same call are kept: the ids of all
    but the first by content carry a digest of theirs, so the order in the files does not matter.
    """
    calls = list(calls)
    by_id: dict[str, list[Call]] = {}
    for call in calls:
        by_id.setdefault(call.call_id, []).append(call)
    found: list[Recorded] = []
    for call_id, same in by_id.items():
        distinct = sorted(set(same), key=repr) if len(same) > 1 else same
        for call in distinct:
            unique = call_id if call is distinct[0] else f"{call_id}-{derived_id(repr(call))[:8]}"
            found.append(Recorded(unique, moment(call.day, call.arrived, zone), call))
    found.sort(key=lambda recorded: (recorded.arrived_at, recorded.call_id))
    return found, len(calls) - len(found)


def moment(day: date, seconds: int, zone: tzinfo) -> int:
    """The time that clocks of the zone showed `seconds` after the midnight that began the day.

    Where they showed it twice, the first; where they skipped it, as if they had not.
    """
    midnight, whole_day_alike = _midnight(day, zone)
    if seconds < DAY_S and whole_day_alike:
        return midnight + seconds * SECOND_US
    local = datetime(day.year, day.month, day.day) + timedelta(seconds=seconds)
    return _utc_us(local, zone)


@lru_cache(maxsize=4096)
def _midnight(day: date, zone: tzinfo) -> tuple[int, bool]:
    begins = _utc_us(datetime(day.year, day.month, day.day), zone)
    ends = _utc_us(datetime(day.year, day.month, day.day) + timedelta(days=1), zone)
    return begins, ends - begins == DAY_S * SECOND_US


def _utc_us(local: datetime, zone: tzinfo) -> int:
    aware = local.replace(tzinfo=zone)
    return int(aware.timestamp()) * SECOND_US


def events(recorded: Recorded, now: int) -> list[Event]:
    """What happened to one call. Times never go backwards, and never past `now`.

    Where clock times contradict each other, what took place later is put after what took place
    earlier, as far as the measured duration says.
    """
    call, arrived_at = recorded.call, recorded.arrived_at
    queue = call.queue
    bodies: list[tuple[int, Arrived | Queued | Connected | Abandoned | Ended]] = [
        (0, Arrived(call.trunk, call.customer, queue))
    ]
    in_queue, at = _step(call.arrived, 0, call.q_start or call.vru_exit, 0)
    if call.outcome is Outcome.PHANTOM or call.outcome is Outcome.LEFT_BEFORE_QUEUE:
        phantom = call.outcome is Outcome.PHANTOM
        cause = Cause.PHANTOM if phantom else Cause.LEFT_BEFORE_QUEUE
        bodies.append((in_queue, Ended(cause, "", queue, arrived_at, 0)))
    else:
        bodies.append((in_queue, Queued(queue, call.priority, arrived_at)))
        if call.outcome is Outcome.ABANDONED:
            gone, _ = _step(at, in_queue, call.q_exit, call.waited_us // SECOND_US)
            bodies.append((gone, Abandoned(queue, arrived_at, call.waited_us)))
        else:
            connected, at = _step(
                at, in_queue, call.ser_start or call.q_exit, call.waited_us // SECOND_US
            )
            ended, _ = _step(at, connected, call.ser_exit, call.talked_us // SECOND_US)
            agent = call.agent
            bodies.append((connected, Connected(agent, queue, arrived_at, call.waited_us)))
            bodies.append((ended, Ended(Cause.COMPLETED, agent, queue, arrived_at, call.talked_us)))
    return [
        Event(recorded.call_id, version, min(arrived_at + after * SECOND_US, now), body)
        for version, (after, body) in enumerate(bodies, 1)
    ]


def _step(clock: int, elapsed: int, next_clock: int | None, expected: int) -> tuple[int, int]:
    """From a step of a call to the next one, shown by the clock as `next_clock`.

    elapsed, and the first of the result: seconds since the arrival. The second of the result: what
    the clock showed. `expected` seconds pass (at most half a day) where the clock is of no use.
    """
    passed = None if next_clock is None else forward(clock, next_clock)
    if passed is None or next_clock is None:
        passed = min(expected, DAY_S // 2)
        next_clock = clock + passed
    return elapsed + passed, next_clock


def in_time_order(calls: Iterable[Recorded], now: int) -> Iterator[Event]:
    """All events of calls that come by time of arrival, by time; a call's own keep their order."""
    waiting: list[tuple[int, str, int, Event]] = []
    for recorded in calls:
        while waiting and waiting[0][0] <= recorded.arrived_at:
            yield heapq.heappop(waiting)[3]
        for event in events(recorded, now):
            heapq.heappush(waiting, (event.occurred_at, event.call_id, event.version, event))
    while waiting:
        yield heapq.heappop(waiting)[3]
