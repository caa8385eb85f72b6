"""Business hours: how much of them lies between two moments, and when so much of them has passed.

A moment is business time when the clock on the client's wall shows a time within the hours of its
day. What is counted is elapsed time: where the clocks go forward, the hour that does not exist is
not counted; where they go back, the hour that comes twice is counted twice.

Moments are microseconds since 1970, UTC. Days are dates in the client's zone. Pure.
"""

from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from eventkit.decider import Invalid

SECOND = 1_000_000
MINUTE = 60 * SECOND
DAY = 24 * 60 * MINUTE
MINUTES_A_DAY = 24 * 60

MAX_INTERVALS = 12
MAX_DAYS = 2_000
"""Holidays, or exceptions, of one calendar."""

Intervals = tuple[tuple[int, int], ...]
"""Opening and closing, in minutes since midnight on the wall: ((540, 720), (780, 1080)) is 9 to 12
and 13 to 18 o'clock, ((0, 1440),) the whole day, () closed."""

ALWAYS: Intervals = ((0, MINUTES_A_DAY),)

_EPOCH = datetime(1970, 1, 1)
_EPOCH_ORDINAL = _EPOCH.toordinal()


@dataclass(frozen=True, slots=True)
class Calendar:
    """The business hours of one client.

    zone        IANA name
    weekly      the hours of Monday to Sunday
    holidays    days on which nobody works, sorted
    exceptions  days with hours of their own, which win over holidays and the week
    """

    zone: str
    weekly: tuple[Intervals, ...]
    holidays: tuple[date, ...] = ()
    exceptions: Mapping[date, Intervals] = field(default_factory=dict)

    def hours(self, day: date) -> Intervals:
        """The hours of one day."""
        special = self.exceptions.get(day)
        if special is not None:
            return special
        place = bisect_right(self.holidays, day)
        if place and self.holidays[place - 1] == day:
            return ()
        return self.weekly[day.weekday()]

    def business_time(self, start: int, end: int) -> int:
        """Business microseconds from start to end; 0 where end is not after start."""
        total = 0
        if end <= start:
            return total
        for opens, closes in self._open_from(start):
            if opens >= end:
                break
            total += min(closes, end) - opens
        return total

    def add(self, at: int, business_us: int) -> int:
        """The first moment, not before `at`, until which so much business time has passed.

        `at` itself for nothing or less. What ends with the hours of a day ends at their closing,
        not at the next opening. Raises OverflowError where that is beyond the year 9999.
        """
        if business_us <= 0:
            return at
        left = business_us
        for opens, closes in self._open_from(at):
            if closes - opens >= left:
                return opens + left
            left -= closes - opens
        raise OverflowError("no moment that a calendar knows")

    def _open_from(self, at: int) -> Iterator[tuple[int, int]]:
        """The spans of business time after `at`, in order and disjoint."""
        # A local day may begin up to 14 hours before or 12 hours after the day of UTC.
        first = at // DAY + _EPOCH_ORDINAL - 1
        for ordinal in range(max(first, 1), date.max.toordinal() - 1):
            hours = self.hours(date.fromordinal(ordinal))
            if not hours:
                continue
            for opens, closes in _moments(self.zone, ordinal, hours):
                if closes > at:
                    yield max(opens, at), closes


def _moments(zone: str, ordinal: int, hours: Intervals) -> Iterator[tuple[int, int]]:
    """The spans during which the wall of this zone shows these hours of this day."""
    midnight = (ordinal - _EPOCH_ORDINAL) * DAY
    # Within one offset the hours are in order, and a later offset is a later time.
    for since, until, offset in _offsets(zone, ordinal):
        for opens, closes in hours:
            start = max(midnight + opens * MINUTE - offset, since)
            end = min(midnight + closes * MINUTE - offset, until)
            if start < end:
                yield start, end


@lru_cache(maxsize=16_384)
def _offsets(zone: str, ordinal: int) -> tuple[tuple[int, int, int], ...]:
    """The zone's offsets around one local day: (since, until, offset), in order, microseconds."""
    info = ZoneInfo(zone)
    # A margin on both sides, as the day's own midnight may be what is missing or comes twice.
    start = (ordinal - _EPOCH_ORDINAL) * DAY - DAY
    end = start + 3 * DAY
    spans: list[tuple[int, int, int]] = []
    since = start
    while since < end:
        offset = _offset(info, since)
        until = _change_after(info, since, offset, end)
        spans.append((since, until, offset))
        since = until
    return tuple(spans)


def _change_after(info: ZoneInfo, since: int, offset: int, end: int) -> int:
    """The first moment, to the second, with another offset than `since`; `end` if there is none."""
    step = since
    while step < end and _offset(info, min(step + DAY // 4, end)) == offset:
        step = min(step + DAY // 4, end)
    if step >= end:
        return end
    low, high = step, min(step + DAY // 4, end)
    while high - low > SECOND:
        middle = (low + high) // 2 // SECOND * SECOND
        low, high = (middle, high) if _offset(info, middle) == offset else (low, middle)
    return high


def _offset(info: ZoneInfo, us: int) -> int:
    local = (_EPOCH.replace(tzinfo=UTC) + timedelta(microseconds=us)).astimezone(info)
    offset = local.utcoffset()
    assert offset is not None
    return offset // timedelta(microseconds=1)


def check(calendar: Calendar) -> None:
    """Raise Invalid for the first thing that no calendar can have."""
    try:
        # These depend on the machine; empty names raise too.
        if calendar.zone in ("localtime", "posixrules", "Factory"):
            raise ValueError
        ZoneInfo(calendar.zone)
    except (ValueError, OSError, LookupError):
        raise Invalid("zone", "not an IANA time zone, such as Europe/Paris") from None
    if len(calendar.weekly) != 7:
        raise Invalid("weekly", "needs the hours of seven days, Monday first")
    for hours in calendar.weekly:
        check_hours("weekly", hours)
    if not any(calendar.weekly):
        raise Invalid("weekly", "never open: at least one day of the week needs hours")
    if len(calendar.holidays) > MAX_DAYS:
        raise Invalid("holidays", f"more than {MAX_DAYS} days")
    if any(a >= b for a, b in zip(calendar.holidays, calendar.holidays[1:], strict=False)):
        raise Invalid("holidays", "not in order, or a day twice")
    if len(calendar.exceptions) > MAX_DAYS:
        raise Invalid("exceptions", f"more than {MAX_DAYS} days")
    for hours in calendar.exceptions.values():
        check_hours("exceptions", hours)


def check_hours(name: str, hours: Intervals) -> None:
    """Raise Invalid(name) unless the intervals are in order, apart, and within the day."""
    if len(hours) > MAX_INTERVALS:
        raise Invalid(name, f"more than {MAX_INTERVALS} intervals a day")
    before = -1
    for opens, closes in hours:
        if not (0 <= opens < closes <= MINUTES_A_DAY):
            raise Invalid(name, "an interval ends after it begins, within 00:00 and 24:00")
        if opens <= before:
            raise Invalid(name, "intervals are in order and do not touch")
        before = closes
