"""Hours on a wall, against the wall's own clock."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.dialer.compliance.hours import (
    DAY,
    HOUR,
    MINUTE,
    SECOND,
    Intervals,
    Week,
    local_day,
    midnight,
    next_open,
    open_spans,
)

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# Half hours, changes at midnight both ways, no change at all.
ZONES = (
    "America/New_York",
    "America/Nuuk",
    "America/Santiago",
    "Africa/Cairo",
    "Asia/Beirut",
    "Asia/Kathmandu",
    "Australia/Lord_Howe",
    "Europe/Paris",
    "Pacific/Honolulu",
)
START = (datetime(2026, 1, 1, tzinfo=UTC) - EPOCH) // timedelta(microseconds=1)
HOLIDAYS = frozenset({date(2026, 3, 9), date(2026, 4, 3), date(2026, 10, 26)})


def closed(year: int) -> frozenset[date]:
    return HOLIDAYS


def us(text: str, zone: str, fold: int = 0) -> int:
    wall = datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold)
    return (wall.astimezone(UTC) - EPOCH) // timedelta(microseconds=1)


def shown(at: int, zone: str) -> datetime:
    return (EPOCH + timedelta(microseconds=at)).astimezone(ZoneInfo(zone))


def is_open(week: Week, zone: str, at: int) -> bool:
    """As one reads it off the wall."""
    wall = shown(at, zone)
    minute = wall.hour * 60 + wall.minute
    holiday = week.holidays is not None and wall.date() in HOLIDAYS
    hours = week.holidays if holiday else week.days[wall.weekday()]
    return any(opens <= minute < closes for opens, closes in hours or ())


def intervals() -> st.SearchStrategy[Intervals]:
    edges = st.lists(
        st.integers(0, 24 * 4).map(lambda quarter: quarter * 15), unique=True, max_size=6
    )
    return edges.map(sorted).map(lambda found: tuple(zip(found[::2], found[1::2], strict=False)))


WEEKS = st.builds(
    Week,
    st.tuples(*[intervals() for _ in range(7)]),
    st.none() | intervals(),
)
MOMENTS = st.builds(
    lambda minutes, odd: START + minutes * MINUTE + odd,
    st.integers(0, 364 * 24 * 60),
    st.sampled_from([0, 0, 1, 59 * SECOND + 999_999]),
)


@given(WEEKS, st.sampled_from(ZONES), MOMENTS, st.data())
def test_the_next_opening_is_the_first_moment_within(
    week: Week, zone: str, at: int, data: st.DataObject
) -> None:
    found = next_open(week, zone, closed, at)
    if is_open(week, zone, at):
        assert found == at
        return
    if found is None:
        found = at + 14 * DAY
    else:
        assert is_open(week, zone, found)
        assert not is_open(week, zone, found - 1)
    between = data.draw(st.integers(at, found - 1))
    assert not is_open(week, zone, between)


@given(WEEKS, st.sampled_from(ZONES), MOMENTS)
def test_spans_are_apart_and_what_is_between_them_is_closed(week: Week, zone: str, at: int) -> None:
    last = at
    for number, (opens, closes) in enumerate(open_spans(week, zone, closed, at)):
        assert opens < closes
        assert number == 0 or last < opens
        assert is_open(week, zone, opens)
        assert is_open(week, zone, closes - 1)
        assert not is_open(week, zone, closes)
        if number:
            assert not is_open(week, zone, (last + opens) // 2)
        last = closes
        if closes > at + 5 * DAY:
            break


@given(st.sampled_from(ZONES), MOMENTS)
def test_days_are_the_walls(zone: str, at: int) -> None:
    ordinal = local_day(zone, at)
    assert ordinal == shown(at, zone).date().toordinal()
    first = midnight(zone, ordinal)
    assert first <= at
    assert shown(first, zone).date().toordinal() == ordinal
    assert shown(first - 1, zone).date().toordinal() < ordinal


NIGHT = Week((((90, 150),),) * 7)
"""1:30 to 2:30: into, or out of, the hour that is skipped or comes twice."""


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        pytest.param(
            us("2026-03-29T00:00", "Europe/Paris"),
            [(us("2026-03-29T01:30", "Europe/Paris"), us("2026-03-29T03:00", "Europe/Paris"))],
            id="the second half hour does not exist",
        ),
        pytest.param(
            us("2026-10-25T00:00", "Europe/Paris"),
            [
                (
                    us("2026-10-25T01:30", "Europe/Paris"),
                    us("2026-10-25T02:30", "Europe/Paris"),
                ),
                (
                    us("2026-10-25T02:00", "Europe/Paris", fold=1),
                    us("2026-10-25T02:30", "Europe/Paris", fold=1),
                ),
            ],
            id="the second half hour comes twice",
        ),
    ],
)
def test_nights_in_which_clocks_change(at: int, expected: list[tuple[int, int]]) -> None:
    spans = open_spans(NIGHT, "Europe/Paris", closed, at)
    assert [next(spans) for _ in expected] == expected


def test_an_opening_that_is_skipped_is_where_the_clock_goes_on() -> None:
    week = Week((((135, 240),),) * 7)
    found = next_open(week, "Europe/Paris", closed, us("2026-03-29T00:00", "Europe/Paris"))
    assert found == us("2026-03-29T03:00", "Europe/Paris")
    assert shown(found, "Europe/Paris").hour == 3


def test_day_and_night_is_one_span() -> None:
    week = Week((((0, 1440),),) * 7)
    opens, closes = next(open_spans(week, "Europe/Paris", closed, START))
    assert opens <= START
    assert closes - START > 700 * DAY


def test_never_open_is_said_soon_enough() -> None:
    week = Week(((),) * 7, ())
    assert next_open(week, "Europe/Paris", closed, START) is None


def test_open_on_holidays_alone() -> None:
    week = Week(((),) * 7, ((0, 1440),))
    assert next_open(week, "Europe/Paris", closed, START) == us("2026-03-09T00:00", "Europe/Paris")
    assert next_open(week, "America/New_York", closed, START) - START == 67 * DAY + 4 * HOUR
