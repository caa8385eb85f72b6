"""The two clocks of a complaint: first response and resolution, in business time. Pure.

A clock keeps the business time that it had used up when it was last started or stopped, and since
when it runs; so a stop that is reported twice has nothing to count twice. Its due time follows from
the calendar, and is kept, because it was promised under the rules of that moment.

    runs        since is a moment
    stands      since is None: paused, or ended (the first response was given, the case is closed)
    ran out     ran_out_at is a moment, for good: what was promised then was not kept, whatever the
                severity or the rules are made later. It still counts the time that it uses.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import IntEnum

from services.crm.complaints.calendar import Calendar


class Severity(IntEnum):
    """As on the wire, where a number is never reused."""

    LOW = 1
    NORMAL = 2
    HIGH = 3
    CRITICAL = 4


@dataclass(frozen=True, slots=True)
class Targets:
    """Business microseconds within which a customer hears of us, and has a solution."""

    first_response: int
    resolution: int


@dataclass(frozen=True, slots=True)
class Rules:
    """One version of a client's policy. Version 0 is what holds where a client has none."""

    version: int
    calendar: Calendar
    targets: Mapping[Severity, Targets]


@dataclass(frozen=True, slots=True)
class Clock:
    """target, used: business microseconds; since, due, ran_out_at: microseconds since 1970.

    due is a moment only while the clock runs and has not run out.
    """

    target: int
    used: int = 0
    since: int | None = None
    due: int | None = None
    ran_out_at: int | None = None

    def used_at(self, calendar: Calendar, at: int) -> int:
        """Business time used up until `at`."""
        if self.since is None:
            return self.used
        return self.used + calendar.business_time(self.since, at)


@dataclass(frozen=True, slots=True)
class Clocks:
    """responded: the first response is given, its clock has ended. closed: the other has, too."""

    first_response: Clock
    resolution: Clock
    responded: bool = False
    closed: bool = False


FIRST_RESPONSE = "first_response"
RESOLUTION = "resolution"


def begin(rules: Rules, severity: Severity, at: int) -> Clocks:
    """Both clocks, running from `at`."""
    targets = rules.targets[severity]
    return Clocks(
        _start(Clock(targets.first_response), rules.calendar, at),
        _start(Clock(targets.resolution), rules.calendar, at),
    )


def stop(clocks: Clocks, rules: Rules, at: int) -> Clocks:
    """Both stand still; what stands already is left as it is."""
    return replace(
        clocks,
        first_response=_stop(clocks.first_response, rules.calendar, at),
        resolution=_stop(clocks.resolution, rules.calendar, at),
    )


def start(clocks: Clocks, rules: Rules, at: int) -> Clocks:
    """What has not ended runs again, from the time that it has used."""
    return replace(
        clocks,
        first_response=clocks.first_response
        if clocks.responded
        else _start(clocks.first_response, rules.calendar, at),
        resolution=clocks.resolution
        if clocks.closed
        else _start(clocks.resolution, rules.calendar, at),
    )


def respond(clocks: Clocks, rules: Rules, at: int) -> Clocks:
    """The first response is given: its clock ends, met or missed, for good."""
    ended = _stop(clocks.first_response, rules.calendar, at)
    return replace(clocks, first_response=ended, responded=True)


def close(clocks: Clocks, rules: Rules, at: int) -> Clocks:
    """Both end."""
    return replace(stop(clocks, rules, at), responded=True, closed=True)


def reopen(clocks: Clocks, rules: Rules, at: int) -> Clocks:
    """Resolution goes on from the time that it has used; the first response stays what it was."""
    return start(replace(clocks, closed=False), rules, at)


def retarget(clocks: Clocks, old: Rules, new: Rules, severity: Severity, at: int) -> Clocks:
    """Other targets, or another calendar, from `at` on; the time used stays.

    What has ended keeps the target under which it ended. A clock that has used more than its new
    target is due at once: not earlier, since until now it had kept what was promised.
    """
    targets = new.targets[severity]

    def move(clock: Clock, target: int) -> Clock:
        moved = replace(_stop(clock, old.calendar, at), target=target)
        return moved if clock.since is None else _start(moved, new.calendar, at)

    return replace(
        clocks,
        first_response=clocks.first_response
        if clocks.responded
        else move(clocks.first_response, targets.first_response),
        resolution=clocks.resolution
        if clocks.closed
        else move(clocks.resolution, targets.resolution),
    )


def due(clocks: Clocks) -> dict[str, int]:
    """When each clock runs out if nothing stops it; those that cannot are left out."""
    both = {FIRST_RESPONSE: clocks.first_response.due, RESOLUTION: clocks.resolution.due}
    return {name: at for name, at in both.items() if at is not None}


def run_out(clocks: Clocks, name: str, at: int) -> Clocks:
    """The clock of this name has run out at `at`, which is its due time."""
    clock: Clock = getattr(clocks, name)
    ran_out = replace(clock, due=None, ran_out_at=at)
    if name == FIRST_RESPONSE:
        return replace(clocks, first_response=ran_out)
    return replace(clocks, resolution=ran_out)


def _start(clock: Clock, calendar: Calendar, at: int) -> Clock:
    if clock.since is not None:
        return clock
    due = None if clock.ran_out_at is not None else calendar.add(at, clock.target - clock.used)
    return replace(clock, since=at, due=due)


def _stop(clock: Clock, calendar: Calendar, at: int) -> Clock:
    return replace(clock, used=clock.used_at(calendar, at), since=None, due=None)
