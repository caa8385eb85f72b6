"""Bits against minutes: what slots.py says, and what somebody finds who walks through every
minute with a clock on the wall in his hand."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eventkit.decider import Invalid
from services.orders.visits.slots import (
    DAY,
    MINUTE,
    QUARTER,
    CrewTime,
    Slot,
    Want,
    busy_bits,
    check_want,
    day_bits,
    grid,
    intervals_of,
    margin,
    ones,
    preferred,
    quarter_after,
    quarter_of,
    quarters,
    slots,
    tally,
    week_bits,
    week_of,
    windows,
)

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
EPOCH_DAY = date(1970, 1, 1)

# Around each of them clocks go forward or back, by an hour or by half of one; or never do.
MOMENTS = {
    "Europe/Paris": ["2027-03-28", "2026-10-25"],
    "America/New_York": ["2027-03-14", "2026-11-01"],
    "Australia/Lord_Howe": ["2026-10-04", "2027-04-04"],
    "Africa/Casablanca": ["2027-02-07", "2027-03-14"],
    "America/Santiago": ["2026-09-06", "2027-04-04"],
    "Asia/Kathmandu": ["2026-11-23"],
    "Pacific/Kiritimati": ["2026-11-23"],
    "Pacific/Pago_Pago": ["2026-11-23"],
}
DAYS = [pytest.param(zone, day, id=f"{zone}-{day}") for zone in MOMENTS for day in MOMENTS[zone]]


def first_of(day: str) -> int:
    """A quarter a day and a half before the noon of a day."""
    return quarter_of(round(datetime.fromisoformat(f"{day}T00:00Z").timestamp() * 1e6)) - DAY


@dataclass(frozen=True)
class Wall:
    """The crew as people think of it."""

    zone: str
    week: tuple[tuple[tuple[int, int], ...], ...]
    off: dict[date, tuple[tuple[int, int], ...]]

    def works(self, minute: int) -> bool:
        """In the minute with this number since 1970."""
        local = (EPOCH + timedelta(minutes=minute)).astimezone(ZoneInfo(self.zone))
        now = local.hour * 60 + local.minute
        return _within(self.week[local.weekday()], now) and not _within(
            self.off.get(local.date(), ()), now
        )

    def is_grid(self, minute: int) -> bool:
        return (EPOCH + timedelta(minutes=minute)).astimezone(ZoneInfo(self.zone)).minute in (0, 30)


def _within(intervals: tuple[tuple[int, int], ...], minute: int) -> bool:
    return any(begins <= minute < ends for begins, ends in intervals)


places = st.integers(0, 96)
intervals = st.lists(places, max_size=6, unique=True).map(
    lambda ends: tuple(
        (one * 15, other * 15)
        for one, other in zip(sorted(ends)[0::2], sorted(ends)[1::2], strict=False)
    )
)
weeks = st.tuples(*[intervals] * 7)
COUNT = 3 * DAY


@st.composite
def spans(draw: st.DrawFn) -> list[tuple[int, int]]:
    """Bookings that do not overlap, the last of them beyond the horizon."""
    found, place = [], 0
    for gap, length in draw(st.lists(st.tuples(st.integers(0, 40), st.integers(1, 30)))):
        found.append((place + gap, place + gap + length))
        place += gap + length
    return [span for span in found if span[1] < COUNT + DAY]


@pytest.mark.parametrize(("zone", "day"), DAYS)
@given(
    week=weeks,
    off=st.dictionaries(st.integers(-2, 4), intervals, max_size=3),
    taken=spans(),
    minutes=st.integers(1, 400),
    travel=st.integers(0, 16),
)
@settings(max_examples=12, deadline=None)
def test_starts_are_those_of_the_wall(
    zone: str,
    day: str,
    week: tuple[tuple[tuple[int, int], ...], ...],
    off: dict[int, tuple[tuple[int, int], ...]],
    taken: list[tuple[int, int]],
    minutes: int,
    travel: int,
) -> None:
    first = first_of(day)
    on = {date.fromisoformat(day) + timedelta(days=shift): hours for shift, hours in off.items()}
    wall = Wall(zone, week, on)
    crew = CrewTime(
        "c",
        1,
        zone,
        travel,
        week_bits(week),
        first,
        {(each - EPOCH_DAY).days: day_bits(hours) for each, hours in on.items()},
        busy_bits([span[0] for span in taken], [span[1] for span in taken]),
    )
    count = COUNT - margin(quarters(minutes))
    # Minute by minute.
    begin = first * 15
    works = [wall.works(begin + minute) for minute in range(COUNT * 15)]
    busy = [False] * (COUNT * 15 + DAY * 15)
    for since, until in taken:
        busy[since * 15 : until * 15] = [True] * ((until - since) * 15)
    length = quarters(minutes) * 15
    expected = [
        place
        for place in range(count)
        if wall.is_grid(begin + place * 15)
        and all(works[place * 15 : place * 15 + length])
        and not any(busy[place * 15 : place * 15 + length + travel * 15])
    ]
    found = slots([crew], minutes, first, count, limit=COUNT)
    assert [slot.starts_at // QUARTER - first for slot in found] == expected
    assert all(slot.ends_at - slot.starts_at == minutes * MINUTE for slot in found)
    assert all(slot.crews == 1 for slot in found)


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        ("Europe/Paris", "2027-03-28", 23),
        ("Europe/Paris", "2026-10-25", 25),
        ("Australia/Lord_Howe", "2026-10-04", 23.5),
        ("Australia/Lord_Howe", "2027-04-04", 24.5),
        ("America/New_York", "2027-03-14", 23),
        ("America/New_York", "2026-11-01", 25),
        ("Asia/Kathmandu", "2026-11-23", 24),
    ],
)
def test_a_day_has_as_many_hours_as_it_has(zone: str, day: str, hours: float) -> None:
    week = [()] * 7
    week[date.fromisoformat(day).weekday()] = ((0, 1440),)
    crew = CrewTime("c", 1, zone, 0, week_bits(tuple(week)), first_of(day))
    working = crew.working(3 * DAY)
    assert working.bit_count() == hours * 4
    # In one piece, so that a night shift may be as long as that.
    assert windows(working, int(hours * 4)).bit_count() == 1


def test_slots_begin_at_half_hours_of_the_wall() -> None:
    first = first_of("2026-11-23")
    # Kathmandu is 5:45 ahead: its half hours are quarters past and to the hour in UTC.
    assert grid("Asia/Kathmandu", first, 6) == 0b101010
    assert grid("Europe/Paris", first, 6) == 0b010101


def test_a_night_shift_is_in_one_piece() -> None:
    night = (((0, 360), (1320, 1440)),) * 7
    crew = CrewTime("c", 1, "Europe/Paris", 0, week_bits(night), first_of("2026-11-23"))
    assert windows(crew.working(3 * DAY - 8), 32).bit_count() == 2


@given(weeks)
def test_a_week_comes_back_from_its_bits(week: tuple[tuple[tuple[int, int], ...], ...]) -> None:
    def merged(hours: tuple[tuple[int, int], ...]) -> list[int]:
        return [minute for begins, ends in hours for minute in range(begins, ends)]

    assert [merged(hours) for hours in week_of(week_bits(week))] == [merged(day) for day in week]


def test_intervals_that_touch_are_one() -> None:
    assert intervals_of(day_bits([(0, 60), (60, 120), (180, 1440)])) == ((0, 120), (180, 1440))


@given(st.integers(0, ones(300)), st.integers(1, 80))
def test_windows(free: int, length: int) -> None:
    digits = f"{free:b}"[::-1] + "0"
    found = windows(free, length)
    assert [place for place in range(400) if found >> place & 1] == [
        place for place in range(len(digits)) if digits[place : place + length] == "1" * length
    ]


@given(st.lists(st.integers(0, ones(60)), max_size=70), st.integers(0, 61))
def test_tally_counts_columns(each: list[int], limit: int) -> None:
    counts = [sum(bits >> place & 1 for bits in each) for place in range(60)]
    expected = [(place, count) for place, count in enumerate(counts) if count]
    assert tally(each, limit) == expected[:limit]


@given(spans())
def test_busy_bits(taken: list[tuple[int, int]]) -> None:
    found = busy_bits([span[0] for span in taken], [span[1] for span in taken])
    expected = {place for since, until in taken for place in range(since, until)}
    assert {place for place in range(COUNT + DAY) if found >> place & 1} == expected


def test_travel_is_kept_on_both_sides() -> None:
    # Half an hour of travel; the booking at 10:00 has its own behind it.
    first = first_of("2026-11-23") + DAY
    day = (((480, 1020),),) * 7
    crew = CrewTime("c", 1, "UTC", 2, week_bits(day), first, busy=busy_bits([40], [46]))
    begins = [slot.starts_at for slot in slots([crew], 60, first, DAY, 100)]
    clock = [(EPOCH + timedelta(microseconds=us)).strftime("%H:%M") for us in begins]
    # At 8:30 it is back on the road at 9:30 and there at 10:00. The last visit ends with the day,
    # and the way home is nobody's business.
    assert clock[:4] == ["08:00", "08:30", "11:30", "12:00"]
    assert clock[-1] == "16:00"


def test_several_crews_are_counted() -> None:
    first = first_of("2026-11-23")
    day = week_bits((((600, 660),),) * 7)
    crews = [
        CrewTime("a", 1, "UTC", 0, day, first),
        CrewTime("b", 2, "UTC", 0, day, first, busy=busy_bits([40], [42])),
        CrewTime("c", 3, "Europe/Paris", 0, day, first),
    ]
    begin = first * QUARTER
    hour = 4 * QUARTER
    assert slots(crews, 30, first, DAY, 10) == [
        Slot(begin + 9 * hour, begin + 9 * hour + 30 * MINUTE, 1),
        Slot(begin + 9 * hour + hour // 2, begin + 10 * hour, 1),
        Slot(begin + 10 * hour, begin + 10 * hour + 30 * MINUTE, 1),
        Slot(begin + 10 * hour + hour // 2, begin + 11 * hour, 2),
    ]
    assert len(slots(crews, 30, first, DAY, 3)) == 3


def test_who_has_the_shortest_stretch_is_preferred() -> None:
    first = first_of("2026-11-23")
    week = week_bits((((480, 1020),),) * 7)

    def crew(name: str, *busy: tuple[int, int]) -> CrewTime:
        taken = busy_bits([span[0] for span in busy], [span[1] for span in busy])
        return CrewTime(name, 1, "UTC", 0, week, first, busy=taken)

    idle, other = crew("a-idle"), crew("b-idle")
    morning = crew("z-morning", (32, 40))
    squeezed = crew("y-squeezed", (32, 40), (44, 68))
    busier = crew("0-busier", (33, 40), (72, 75))
    found = preferred([other, idle, squeezed, morning, busier], 40, 2 * DAY)
    # z-morning and 0-busier have the same stretch; one of them has more to do.
    assert [each.crew_id for each in found] == [
        "y-squeezed",
        "z-morning",
        "0-busier",
        "a-idle",
        "b-idle",
    ]


@pytest.mark.parametrize(
    ("want", "field"),
    [
        (Want("", "s", 60), "area_id"),
        (Want("a", "no blanks", 60), "skill"),
        (Want("a", "s", 0), "minutes"),
        (Want("a", "s", 1441), "minutes"),
    ],
)
def test_what_is_no_want(want: Want, field: str) -> None:
    with pytest.raises(Invalid) as error:
        check_want(want)
    assert error.value.field == field


def test_quarters_are_whole() -> None:
    assert [quarters(minutes) for minutes in (1, 15, 16, 60, 61)] == [1, 1, 2, 4, 5]
    assert [quarter_after(us) for us in (0, 1, QUARTER, QUARTER + 1)] == [0, 1, 1, 2]
