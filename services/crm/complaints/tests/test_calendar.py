"""Business time, in places where the clocks change in every way that there is."""

from datetime import date, datetime
from zoneinfo import ZoneInfo

import pytest

from eventkit.decider import Invalid
from services.crm.complaints.calendar import (
    ALWAYS,
    DAY,
    MINUTE,
    Calendar,
    Intervals,
    check,
    check_hours,
)

HOUR = 60 * MINUTE
OFFICE: Intervals = ((540, 720), (780, 1080))
"""9 to 12 and 13 to 18 o'clock."""
PARIS = "Europe/Paris"


def us(text: str, zone: str = PARIS, fold: int = 0) -> int:
    local = datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold)
    return round(local.timestamp() * 1_000_000)


WORKDAYS = Calendar(
    PARIS,
    (OFFICE,) * 5 + ((), ()),
    holidays=(date(2026, 7, 14), date(2026, 12, 25)),
    exceptions={date(2026, 12, 24): ((540, 720),), date(2026, 12, 26): ((600, 660),)},
)


@pytest.mark.parametrize(
    ("start", "end", "minutes"),
    [
        ("2026-11-23T09:00", "2026-11-23T09:00", 0),
        ("2026-11-23T10:00", "2026-11-23T09:00", 0),
        ("2026-11-23T09:00", "2026-11-23T09:01", 1),
        ("2026-11-23T08:00", "2026-11-23T09:30", 30),
        ("2026-11-23T11:30", "2026-11-23T13:30", 60),
        ("2026-11-23T17:00", "2026-11-24T10:00", 120),
        ("2026-11-27T17:00", "2026-11-30T10:00", 120),  # over a weekend
        ("2026-07-13T17:00", "2026-07-15T10:00", 120),  # over a holiday
        ("2026-12-24T09:00", "2026-12-27T00:00", 180 + 60),  # days with hours of their own
        ("2026-11-23T12:10", "2026-11-23T12:50", 0),
    ],
)
def test_business_time(start: str, end: str, minutes: int) -> None:
    assert WORKDAYS.business_time(us(start), us(end)) == minutes * MINUTE


@pytest.mark.parametrize(
    ("at", "minutes", "due"),
    [
        ("2026-11-23T09:00", 30, "2026-11-23T09:30"),
        ("2026-11-23T11:45", 30, "2026-11-23T13:15"),
        ("2026-11-23T20:00", 30, "2026-11-24T09:30"),
        ("2026-11-23T17:00", 60, "2026-11-23T18:00"),  # ends at closing, not at the next opening
        ("2026-11-27T17:00", 61, "2026-11-30T09:01"),
        ("2026-12-24T11:00", 121, "2026-12-28T09:01"),
        ("2026-11-23T20:00", 0, "2026-11-23T20:00"),
    ],
)
def test_add(at: str, minutes: int, due: str) -> None:
    assert WORKDAYS.add(us(at), minutes * MINUTE) == us(due)


def test_microseconds_count() -> None:
    start = us("2026-11-23T17:59") + 59_999_999
    assert WORKDAYS.business_time(start, start + DAY // 2) == 1
    assert WORKDAYS.add(start, 2) == us("2026-11-24T09:00") + 1


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        (PARIS, "2026-03-29", 23),
        (PARIS, "2026-10-25", 25),
        ("Australia/Lord_Howe", "2026-04-05", 24.5),
        ("America/Sao_Paulo", "2018-11-04", 23),  # midnight is what does not exist
        ("America/Sao_Paulo", "2018-02-17", 25),  # the last hour of the day comes twice
        ("Pacific/Apia", "2011-12-30", 0),  # the whole day was left out
        ("Asia/Kathmandu", "2026-01-01", 24),
    ],
)
def test_elapsed_time_of_a_day(zone: str, day: str, hours: float) -> None:
    whole = Calendar(zone, ((),) * 7, exceptions={date.fromisoformat(day): ALWAYS})
    start = us(f"{day}T12:00", "UTC") - 2 * DAY
    assert whole.business_time(start, start + 4 * DAY) == hours * HOUR


@pytest.mark.parametrize(
    ("day", "hours", "minutes"),
    [
        ("2026-03-29", ((60, 150),), 60),  # 1:00 to 2:30, and 2:00 to 3:00 does not exist
        ("2026-03-29", ((130, 150),), 0),
        ("2026-03-29", ((150, 240),), 60),
        ("2026-10-25", ((130, 150),), 40),  # 2:10 to 2:30 comes twice
        ("2026-10-25", ((150, 240),), 30 + 30 + 60),
    ],
)
def test_hours_that_do_not_exist_or_come_twice(day: str, hours: Intervals, minutes: int) -> None:
    calendar = Calendar(PARIS, ((),) * 7, exceptions={date.fromisoformat(day): hours})
    start = us(f"{day}T00:00")
    assert calendar.business_time(start, start + DAY) == minutes * MINUTE


def test_the_hour_that_comes_twice_has_a_pause_between() -> None:
    calendar = Calendar(PARIS, ((),) * 7, exceptions={date(2026, 10, 25): ((130, 150),)})
    assert calendar.add(us("2026-10-25T00:00"), 20 * MINUTE) == us("2026-10-25T02:30")
    assert calendar.add(us("2026-10-25T00:00"), 21 * MINUTE) == us("2026-10-25T02:11", fold=1)


def test_add_has_an_end() -> None:
    with pytest.raises(OverflowError):
        Calendar("UTC", ((),) * 7).add(0, 1)


@pytest.mark.parametrize(
    ("calendar", "field"),
    [
        (Calendar("Mars/Olympus", (OFFICE,) * 7), "zone"),
        (Calendar("", (OFFICE,) * 7), "zone"),
        (Calendar("localtime", (OFFICE,) * 7), "zone"),
        (Calendar("UTC", (OFFICE,) * 6), "weekly"),
        (Calendar("UTC", ((),) * 7), "weekly"),
        (Calendar("UTC", (OFFICE,) * 7, (date(2026, 1, 2), date(2026, 1, 1))), "holidays"),
        (Calendar("UTC", (OFFICE,) * 7, (), {date(2026, 1, 1): ((5, 4),)}), "exceptions"),
    ],
)
def test_no_such_calendar(calendar: Calendar, field: str) -> None:
    with pytest.raises(Invalid) as caught:
        check(calendar)
    assert caught.value.field == field


@pytest.mark.parametrize(
    "hours", [((0, 1441),), ((-1, 5),), ((5, 5),), ((5, 9), (9, 12)), ((5, 9), (7, 12))]
)
def test_no_such_hours(hours: Intervals) -> None:
    with pytest.raises(Invalid):
        check_hours("weekly", hours)
