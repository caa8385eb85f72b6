"""When crews are free: time in quarters of an hour, one bit each, in Python's whole numbers. Pure.

Bit 0 of a timeline is its first quarter. A quarter is absolute time, counted from 1970 in UTC, so
a visit over the night of a clock change is as long as any other; what is said in times on a wall
(working hours, days off, the half hours at which slots begin) goes through the zone's offsets, each
of which is a shift of bits. Where the clocks go forward, the hours that do not exist are nobody's
working hours; where they go back, those that come twice are worked twice.

    free      working & ~busy
    windows   x & x >> 1 & x >> 2 ...: bit n is left where a whole window of free quarters begins
    travel    a visit keeps its crew busy for some quarters more, until it can begin the next one

A month of one crew is 2,880 bits, and each step above one operation on them.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import groupby
from zoneinfo import ZoneInfo

from eventkit.decider import Invalid

SECOND = 1_000_000
MINUTE = 60 * SECOND
QUARTER_MINUTES = 15
QUARTER = QUARTER_MINUTES * MINUTE
DAY = 96
"""Quarters of a day of 24 hours."""
WEEK = 7 * DAY
MINUTES_A_DAY = 24 * 60

MAX_MINUTES = MINUTES_A_DAY
"""Of one visit."""
MAX_TRAVEL_MINUTES = 240
MAX_INTERVALS = 12
"""Working hours of one day."""
GRID_MINUTES = 30
"""Slots are offered at the hour and the half hour on the wall: times that people say and keep. A
visit may be booked at any quarter."""

ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:+-]{0,127}")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_WEEKDAY = 3  # a Thursday

Intervals = tuple[tuple[int, int], ...]
"""From and until, minutes since midnight on the wall: ((540, 720), (780, 1080)) is 9 to 12 and
13 to 18 o'clock, ((0, 1440),) the whole day, () never."""
Week = tuple[Intervals, ...]
"""Of Monday to Sunday."""


@dataclass(frozen=True, slots=True)
class Want:
    """A visit that somebody wants: where, what the crew must be able to do, how long."""

    area_id: str
    skill: str
    minutes: int


@dataclass(frozen=True, slots=True)
class Slot:
    """A time at which a visit may begin. Microseconds since 1970. crews: how many are free then."""

    starts_at: int
    ends_at: int
    crews: int


@dataclass(frozen=True, slots=True)
class Booking:
    """A visit that a crew will make. Microseconds since 1970."""

    visit_id: str
    crew_id: str
    area_id: str
    skill: str
    starts_at: int
    ends_at: int


def check_want(want: Want) -> None:
    """Raises Invalid."""
    check_id("area_id", want.area_id)
    check_id("skill", want.skill)
    if not 1 <= want.minutes <= MAX_MINUTES:
        raise Invalid("minutes", f"must be 1 to {MAX_MINUTES}")


def check_id(name: str, value: str) -> None:
    """Raises Invalid(name) for what is no id."""
    if not ID.fullmatch(value):
        raise Invalid(name, "must be 1 to 128 of the characters A-Z a-z 0-9 . _ : + -")


# Quarters.


def quarter_of(us: int) -> int:
    """The quarter that a moment lies in."""
    return us // QUARTER


def quarter_after(us: int) -> int:
    """The first quarter that begins at a moment or after it."""
    return -(-us // QUARTER)


def quarters(minutes: int) -> int:
    """How many quarters so many minutes take."""
    return -(-minutes // QUARTER_MINUTES)


def ones(count: int) -> int:
    """So many bits, all set."""
    return (1 << count) - 1


# What is said in times on a wall.


def day_bits(hours: Iterable[tuple[int, int]]) -> int:
    """The quarters of one day, as bits; hours are on whole quarters."""
    bits = 0
    for begins, ends in hours:
        first, last = begins // QUARTER_MINUTES, ends // QUARTER_MINUTES
        bits |= ones(last - first) << first
    return bits


def intervals_of(bits: int) -> Intervals:
    """The other way round; what touches is one."""
    return tuple((first * QUARTER_MINUTES, last * QUARTER_MINUTES) for first, last in _runs(bits))


def week_bits(week: Week) -> int:
    """The quarters of one week, as bits, Monday first."""
    return sum(day_bits(hours) << day * DAY for day, hours in enumerate(week))


def week_of(bits: int) -> Week:
    """The other way round."""
    return tuple(intervals_of(bits >> day * DAY & ones(DAY)) for day in range(7))


def _runs(bits: int) -> Iterator[tuple[int, int]]:
    place = 0
    while bits:
        zeros = (bits & -bits).bit_length() - 1
        bits >>= zeros
        length = (~bits & bits + 1).bit_length() - 1
        yield place + zeros, place + zeros + length
        bits >>= length
        place += zeros + length


# From the wall to absolute time.


@dataclass(frozen=True, slots=True)
class _Offset:
    """Within [since, until) quarters, a zone's wall is so many quarters ahead of UTC."""

    since: int
    until: int
    quarters: int


@lru_cache(maxsize=4_096)
def _offsets_of_day(zone: str, day: int) -> tuple[_Offset, ...]:
    """Of one day of UTC (days since 1970). Every offset since 1986 is a number of quarters."""
    info = ZoneInfo(zone)

    def ahead(quarter: int) -> int:
        local = (_EPOCH + timedelta(minutes=quarter * QUARTER_MINUTES)).astimezone(info)
        return int((local.utcoffset() or timedelta()) / timedelta(minutes=QUARTER_MINUTES))

    spans = (
        (ahead, list(same)) for ahead, same in groupby(range(day * DAY, day * DAY + DAY), ahead)
    )
    return tuple(_Offset(same[0], same[-1] + 1, ahead) for ahead, same in spans)


@lru_cache(maxsize=512)
def _offsets(zone: str, first: int, count: int) -> tuple[_Offset, ...]:
    """Of `count` quarters from `first` on; neighbours differ."""
    found: list[_Offset] = []
    for day in range(first // DAY, (first + count - 1) // DAY + 1):
        for span in _offsets_of_day(zone, day):
            since, until = max(span.since, first), min(span.until, first + count)
            if since >= until:
                continue
            if found and found[-1].quarters == span.quarters:
                since = found.pop().since
            found.append(_Offset(since, until, span.quarters))
    return tuple(found)


@lru_cache(maxsize=512)
def _weekly(week: int, zone: str, first: int, count: int) -> int:
    """A week that comes again and again on the wall, as absolute quarters from `first` on. Kept,
    as many crews work the same hours."""
    found = 0
    for span in _offsets(zone, first, count):
        length = span.until - span.since
        phase = (span.since + span.quarters + _EPOCH_WEEKDAY * DAY) % WEEK
        wall = week * _again(phase + length) >> phase
        found |= (wall & ones(length)) << span.since - first
    return found


def _again(length: int) -> int:
    """Times this, a week's bits come again until they are `length` long."""
    return sum(1 << start for start in range(0, length, WEEK))


def _on_days(days: Mapping[int, int], zone: str, first: int, count: int) -> int:
    """Bits of days on the wall (days since 1970), as absolute quarters."""
    found = 0
    for span in _offsets(zone, first, count):
        begin = span.since + span.quarters
        wall = 0
        for day, bits in days.items():
            shift = day * DAY - begin
            if -DAY < shift < span.until - span.since:
                wall |= bits << shift if shift >= 0 else bits >> -shift
        found |= (wall & ones(span.until - span.since)) << span.since - first
    return found


_GRID_WEEK = sum(1 << place for place in range(0, WEEK, GRID_MINUTES // QUARTER_MINUTES))


def grid(zone: str, first: int, count: int) -> int:
    """The quarters that begin at an hour or a half hour on the wall."""
    return _weekly(_GRID_WEEK, zone, first, count)


# Crews.


@dataclass(frozen=True, slots=True)
class CrewTime:
    """A crew's time from the absolute quarter `first` on.

    number    the crew's own, by which bookings name it
    zone      IANA; the wall on which its hours are
    travel    quarters that it needs from one visit to the next
    week      when it works, as week_bits
    days_off  days since 1970 on the wall -> the quarters that are off, as day_bits
    busy      quarters that bookings take, as bits; the way to the next visit is among them
    """

    crew_id: str
    number: int
    zone: str
    travel: int
    week: int
    first: int
    days_off: Mapping[int, int] = field(default_factory=dict)
    busy: int = 0

    def working(self, count: int) -> int:
        """The first `count` quarters in which it works."""
        week = _weekly(self.week, self.zone, self.first, count)
        if not self.days_off:
            return week
        return week & ~_on_days(self.days_off, self.zone, self.first, count)

    def starts(self, length: int, count: int) -> int:
        """Where a visit of `length` quarters may begin, among the first `count` quarters.

        It lies within working hours, and it and the way to the next visit in no other booking.
        The crew's `busy` is known for count + margin(length) quarters.
        """
        whole = count + margin(length)
        at_work = windows(self.working(whole), length)
        if not at_work:
            return 0
        return at_work & windows(ones(whole) & ~self.busy, length + self.travel) & ones(count)

    def stretch(self, place: int, count: int) -> int:
        """How many free working quarters in a row there are around one of them."""
        free = self.working(count) & ~self.busy
        after = free >> place
        before = ~free & ones(place)
        return (~after & after + 1).bit_length() - 1 + place - before.bit_length()


def margin(length: int) -> int:
    """How many quarters after the last start have to be known, for a visit of this length."""
    return length + MAX_TRAVEL_MINUTES // QUARTER_MINUTES


def busy_bits(starts: Sequence[int], ends: Sequence[int]) -> int:
    """The quarters of bookings [start, end) that do not overlap.

    2**end - 2**start is the bits from start to end; bookings that are apart carry nothing over, so
    the sum of the differences is the difference of the sums.
    """
    return sum(map(_POWERS.__getitem__, ends)) - sum(map(_POWERS.__getitem__, starts))


HORIZON_DAYS = 92
"""The longest timeline."""
_POWERS = [1 << place for place in range((HORIZON_DAYS + 3) * DAY)]


def windows(free: int, length: int) -> int:
    """Where `length` free quarters in a row begin."""
    have = 1
    while have < length and free:
        step = min(have, length - have)
        free &= free >> step
        have += step
    return free


def lowest(bits: int) -> int:
    """The place of the first bit that is set; -1 where none is."""
    return (bits & -bits).bit_length() - 1


def tally(each: Iterable[int], limit: int) -> list[tuple[int, int]]:
    """(place, in how many it is set), the first `limit` places that are set in any, in order.

    Counts all places at once: plane n has bit n of each place's count, and a number is added as
    columns are added by hand.
    """
    planes: list[int] = []
    for carry in each:
        for level, plane in enumerate(planes):
            if not carry:
                break
            planes[level], carry = plane ^ carry, plane & carry
        if carry:
            planes.append(carry)
    found: list[tuple[int, int]] = []
    union = 0
    for plane in planes:
        union |= plane
    digits = [f"{plane:b}"[::-1] for plane in planes]
    place = lowest(union)
    while place >= 0 and len(found) < limit:
        count = sum(1 << level for level, row in enumerate(digits) if row[place : place + 1] == "1")
        found.append((place, count))
        union &= union - 1
        place = lowest(union)
    return found


# What crews together offer.


def slots(
    crews: Iterable[CrewTime], minutes: int, first: int, count: int, limit: int
) -> list[Slot]:
    """The first `limit` slots that begin within `count` quarters from `first` on, which is where
    the crews' time begins, too."""
    length = quarters(minutes)
    each = (crew.starts(length, count) & grid(crew.zone, first, count) for crew in crews)
    return [slot_at(first + place, minutes, free) for place, free in tally(each, limit)]


def slot_at(quarter: int, minutes: int, crews: int) -> Slot:
    """A slot that begins with a quarter."""
    starts_at = quarter * QUARTER
    return Slot(starts_at, starts_at + minutes * MINUTE, crews)


def preferred(crews: Iterable[CrewTime], place: int, count: int) -> list[CrewTime]:
    """Of crews that are all free then, the best one first: whose stretch of free time around the
    place is the shortest, so that long stretches stay whole for long visits; then who has less to
    do; then by id. All are known for `count` quarters."""
    return sorted(
        crews,
        key=lambda crew: (crew.stretch(place, count), crew.busy.bit_count(), crew.crew_id),
    )
