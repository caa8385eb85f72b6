"""A crew: where it goes, what it can do, when it works and when not. One stream each. Pure.

A crew is a van or a company, known by an id and a label; who sits in the van is not known here.
Nothing that happens to a crew is refused because of its bookings: the van is broken, whatever we
want. What then has to be moved is for the service to find.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

from eventkit.decider import Decider, Invalid, NotFound, Rejected
from services.orders.visits.slots import (
    MAX_INTERVALS,
    MAX_TRAVEL_MINUTES,
    MINUTES_A_DAY,
    QUARTER_MINUTES,
    CrewTime,
    Week,
    check_id,
    day_bits,
    week_bits,
)

MAX_LABEL = 200
MAX_AREAS = 500
MAX_SKILLS = 100
MAX_DAYS_OFF = 366
"""Taken or given back at once."""
DAYS_OFF_AHEAD = 2 * 366

_EPOCH_ORDINAL = date(1970, 1, 1).toordinal()


@dataclass(frozen=True, slots=True)
class Arrangement:
    """How a crew works.

    zone            IANA; on its wall are the hours of `week` and the days off
    travel_minutes  from one visit to the next, a multiple of 15
    areas, skills   sorted, each once
    """

    label: str
    zone: str
    week: Week
    areas: tuple[str, ...]
    skills: tuple[str, ...]
    travel_minutes: int = 0


@dataclass(frozen=True, slots=True)
class DaysOff:
    """From the first to the last day, both included, on the crew's wall: the whole of each, or the
    hours from `begins` to `ends` of each, in minutes since midnight."""

    first: date
    last: date
    begins: int = 0
    ends: int = MINUTES_A_DAY


@dataclass(frozen=True, slots=True)
class ArrangeCrew:
    """Register a crew, or say how it works from now on; one that was retired works again."""

    arrangement: Arrangement


@dataclass(frozen=True, slots=True)
class TakeDaysOff:
    """at: microseconds since 1970, now."""

    at: int
    off: DaysOff


@dataclass(frozen=True, slots=True)
class GiveBackDaysOff:
    at: int
    off: DaysOff


@dataclass(frozen=True, slots=True)
class RetireCrew:
    pass


Command = ArrangeCrew | TakeDaysOff | GiveBackDaysOff | RetireCrew


@dataclass(frozen=True, slots=True)
class CrewRegistered:
    arrangement: Arrangement


@dataclass(frozen=True, slots=True)
class CrewRearranged:
    """Other areas, skills or hours from now on, or another label."""

    arrangement: Arrangement


@dataclass(frozen=True, slots=True)
class CrewDaysOffTaken:
    off: DaysOff


@dataclass(frozen=True, slots=True)
class CrewDaysOffGivenBack:
    """The crew works then after all."""

    off: DaysOff


@dataclass(frozen=True, slots=True)
class CrewRetired:
    pass


Event = CrewRegistered | CrewRearranged | CrewDaysOffTaken | CrewDaysOffGivenBack | CrewRetired


@dataclass(frozen=True, slots=True)
class Crew:
    """days_off: days since 1970 -> the quarters that are off, as slots.day_bits."""

    arrangement: Arrangement | None = None
    days_off: Mapping[int, int] = field(default_factory=dict)
    retired: bool = False


def decide(command: Command, state: Crew) -> Sequence[Event]:
    """Raises Invalid, Rejected and NotFound."""
    if isinstance(command, ArrangeCrew):
        check(command.arrangement)
        if state.arrangement is None or state.retired:
            return [CrewRegistered(command.arrangement)]
        if state.arrangement == command.arrangement:
            return []
        return [CrewRearranged(command.arrangement)]
    if state.arrangement is None:
        raise NotFound("crew")
    match command:
        case TakeDaysOff(at, off):
            _check_off(off)
            if _taken(state.days_off, off) == state.days_off:
                return []
            _check_when(off, at, state)
            return [CrewDaysOffTaken(off)]
        case GiveBackDaysOff(at, off):
            _check_off(off)
            if _given_back(state.days_off, off) == state.days_off:
                return []
            _check_when(off, at, state)
            return [CrewDaysOffGivenBack(off)]
        case RetireCrew():
            return [] if state.retired else [CrewRetired()]


def evolve(state: Crew, event: Event) -> Crew:
    match event:
        case CrewRegistered(arrangement):
            return Crew(arrangement)
        case CrewRearranged(arrangement):
            return replace(state, arrangement=arrangement)
        case CrewDaysOffTaken(off):
            return replace(state, days_off=_taken(state.days_off, off))
        case CrewDaysOffGivenBack(off):
            return replace(state, days_off=_given_back(state.days_off, off))
        case CrewRetired():
            return replace(state, retired=True)


DECIDER: Decider[Command, Crew, Event] = Decider(
    initial=Crew(),
    decide=decide,
    evolve=evolve,
    events=(CrewRegistered, CrewRearranged, CrewDaysOffTaken, CrewDaysOffGivenBack, CrewRetired),
)


def _taken(days: Mapping[int, int], off: DaysOff) -> Mapping[int, int]:
    bits = day_bits([(off.begins, off.ends)])
    return {**days, **{day: days.get(day, 0) | bits for day in _days(off)}}


def _given_back(days: Mapping[int, int], off: DaysOff) -> Mapping[int, int]:
    bits = day_bits([(off.begins, off.ends)])
    left = {day: days.get(day, 0) & ~bits for day in _days(off)}
    return {day: quarters for day, quarters in {**days, **left}.items() if quarters}


def _days(off: DaysOff) -> range:
    """Days since 1970."""
    return range(day_number(off.first), day_number(off.last) + 1)


def day_number(day: date) -> int:
    """Days since 1970."""
    return day.toordinal() - _EPOCH_ORDINAL


def day_of(number: int) -> date:
    """The other way round."""
    return date.fromordinal(number + _EPOCH_ORDINAL)


def time_of(crew: Crew, first: int) -> CrewTime:
    """A registered crew's working time from an absolute quarter on, whatever it is busy with."""
    assert crew.arrangement is not None
    week = week_bits(crew.arrangement.week)
    return CrewTime("", 0, crew.arrangement.zone, 0, week, first, crew.days_off)


# What no crew can have.


def check(arrangement: Arrangement) -> None:
    """Raise Invalid for the first thing that is wrong."""
    label = arrangement.label
    if not label.strip() or len(label) > MAX_LABEL or not label.isprintable():
        raise Invalid("label", f"must be one line of 1 to {MAX_LABEL} characters")
    check_zone("zone", arrangement.zone)
    _check_ids("areas", arrangement.areas, MAX_AREAS)
    _check_ids("skills", arrangement.skills, MAX_SKILLS)
    _check_quarters("travel_minutes", arrangement.travel_minutes)
    if not 0 <= arrangement.travel_minutes <= MAX_TRAVEL_MINUTES:
        raise Invalid("travel_minutes", f"must be 0 to {MAX_TRAVEL_MINUTES}")
    if len(arrangement.week) != 7:
        raise Invalid("week", "needs the hours of seven days, Monday first")
    for hours in arrangement.week:
        if len(hours) > MAX_INTERVALS:
            raise Invalid("week", f"more than {MAX_INTERVALS} intervals a day")
        before = -1
        for begins, ends in hours:
            _check_hours("week", begins, ends)
            if begins <= before:
                raise Invalid("week", "intervals are in order and do not touch")
            before = ends
    if not any(arrangement.week):
        raise Invalid("week", "at least one day of the week needs hours")


def check_zone(name: str, zone: str) -> None:
    """Raise Invalid(name) for what is no IANA time zone."""
    try:
        # These depend on the machine; an empty name raises, too.
        if zone in ("localtime", "posixrules", "Factory"):
            raise ValueError
        ZoneInfo(zone)
    except (ValueError, OSError, LookupError):
        raise Invalid(name, "not an IANA time zone, such as Europe/Paris") from None


def _check_ids(name: str, ids: Sequence[str], limit: int) -> None:
    if not 1 <= len(ids) <= limit:
        raise Invalid(name, f"must be 1 to {limit}")
    for each in ids:
        check_id(name, each)
    if any(one >= other for one, other in pairwise(ids)):
        raise Invalid(name, "not sorted, or one twice")


def _check_hours(name: str, begins: int, ends: int) -> None:
    if not 0 <= begins < ends <= MINUTES_A_DAY:
        raise Invalid(name, "hours end after they begin, within 00:00 and 24:00")
    _check_quarters(name, begins)
    _check_quarters(name, ends)


def _check_quarters(name: str, minutes: int) -> None:
    if minutes % QUARTER_MINUTES:
        raise Invalid(name, "must be on quarters of an hour")


def _check_off(off: DaysOff) -> None:
    if off.last < off.first:
        raise Invalid("last", "lies before the first day")
    if (off.last - off.first).days >= MAX_DAYS_OFF:
        raise Invalid("last", f"more than {MAX_DAYS_OFF} days at once")
    _check_hours("hours", off.begins, off.ends)


def _check_when(off: DaysOff, at: int, state: Crew) -> None:
    assert state.arrangement is not None
    if state.retired:
        raise Rejected("the crew is retired")
    now = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=at)
    today = now.astimezone(ZoneInfo(state.arrangement.zone)).date()
    if off.first < today:
        raise Invalid("first", "lies in the past")
    if (off.last - today).days > DAYS_OFF_AHEAD:
        raise Invalid("last", "more than two years ahead")
