"""Hours of the week on the wall of a time zone, as moments. Pure.

A moment is within the hours when the wall's clock shows a time of them. Where clocks go forward,
the hour that does not exist is never there; where they go back, the one that comes twice is twice.

Moments are microseconds since 1970, UTC; days are `date.toordinal()` on the wall.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR
MINUTES_A_DAY = 24 * 60
HORIZON_DAYS = 800
"""What does not open within so many days never does: two years have every holiday in them."""

Intervals = tuple[tuple[int, int], ...]
"""Opening and closing in minutes since midnight: ((600, 780), (840, 1200)) is 10-13 and 14-20 h,
((0, 1440),) the whole day, () closed. In order, and apart."""

Closed = Callable[[int], frozenset[date]]
"""The public holidays of a year."""

_EPOCH = datetime(1970, 1, 1)
_EPOCH_ORDINAL = _EPOCH.toordinal()


@dataclass(frozen=True, slots=True)
class Week:
    """days: Monday to Sunday. holidays: hours of a public holiday; None: those of its weekday."""

    days: tuple[Intervals, ...]
    holidays: Intervals | None = None

    def of(self, ordinal: int, closed: Closed) -> Intervals:
        day = date.fromordinal(ordinal)
        if self.holidays is not None and day in closed(day.year):
            return self.holidays
        return self.days[day.weekday()]


def open_spans(week: Week, zone: str, closed: Closed, at: int) -> Iterator[tuple[int, int]]:
    """The spans within the hours that end after `at`, in order, as long as they are.

    Raises ValueError or LookupError for a zone that is none.
    """
    first = local_day(zone, at) - 1
    opened: tuple[int, int] | None = None
    for ordinal in range(first, first + HORIZON_DAYS):
        for opens, closes in _moments(zone, ordinal, week.of(ordinal, closed)):
            if opened and opens <= opened[1]:
                opened = opened[0], max(opened[1], closes)
                continue
            if opened and opened[1] > at:
                yield opened
            opened = opens, closes
    if opened and opened[1] > at:
        yield opened


def next_open(week: Week, zone: str, closed: Closed, at: int) -> int | None:
    """The first moment within the hours, not before `at`; None: there is none."""
    for opens, closes in _around(week, zone, closed, local_day(zone, at)):
        if at < closes:
            return max(opens, at)
    for opens, _ in open_spans(week, zone, closed, at):
        return max(opens, at)
    return None


@lru_cache(maxsize=65_536)
def _around(week: Week, zone: str, closed: Closed, ordinal: int) -> tuple[tuple[int, int], ...]:
    """The spans of one local day and the next: what most questions are answered from."""
    spans: list[tuple[int, int]] = []
    for day in (ordinal, ordinal + 1):
        spans += _moments(zone, day, week.of(day, closed))
    return tuple(spans)


def local_day(zone: str, at: int) -> int:
    """The day on the wall at this moment."""
    return (at + offset(zone, at)) // DAY + _EPOCH_ORDINAL


def midnight(zone: str, ordinal: int) -> int:
    """The first moment of a day on the wall, which is not at midnight where that is skipped."""
    return next(start for start, _ in _moments(zone, ordinal, ((0, MINUTES_A_DAY),)))


def offset(zone: str, at: int) -> int:
    """Of the wall from UTC, microseconds."""
    for since, until, shift in _offsets(zone, at // DAY):
        if since <= at < until:
            return shift
    raise AssertionError("offsets have a gap")


def _moments(zone: str, ordinal: int, hours: Intervals) -> Iterator[tuple[int, int]]:
    """The spans during which the wall shows these hours of this day."""
    if not hours:
        return
    start_of_day = (ordinal - _EPOCH_ORDINAL) * DAY
    for since, until, shift in _offsets(zone, ordinal - _EPOCH_ORDINAL):
        for opens, closes in hours:
            start = max(start_of_day + opens * MINUTE - shift, since)
            end = min(start_of_day + closes * MINUTE - shift, until)
            if start < end:
                yield start, end


@lru_cache(maxsize=65_536)
def _offsets(zone: str, day: int) -> tuple[tuple[int, int, int], ...]:
    """(since, until, offset) around a day since 1970: from a day before it to a day after it."""
    info = ZoneInfo(zone)
    start, end = (day - 1) * DAY, (day + 2) * DAY
    spans: list[tuple[int, int, int]] = []
    since, shift = start, _offset(info, start)
    for step in range(start, end, DAY // 4):
        following = _offset(info, step + DAY // 4)
        if following == shift:
            continue
        low, high = step, step + DAY // 4
        while high - low > SECOND:
            middle = (low + high) // 2 // SECOND * SECOND
            low, high = (middle, high) if _offset(info, middle) == shift else (low, middle)
        spans.append((since, high, shift))
        since, shift = high, following
    spans.append((since, end, shift))
    return tuple(spans)


def _offset(info: ZoneInfo, at: int) -> int:
    shift = (_EPOCH.replace(tzinfo=UTC) + timedelta(microseconds=at)).astimezone(info).utcoffset()
    assert shift is not None
    return shift // timedelta(microseconds=1)
