"""Crews and areas as given, when, then."""

from dataclasses import replace
from datetime import date

import pytest

from eventkit.decider import Invalid, NotFound, Rejected, fold
from services.orders.visits import area as a
from services.orders.visits import crew as c
from services.orders.visits.slots import MINUTES_A_DAY, day_bits
from services.orders.visits.tests.support import WEEKDAYS, us

NOW = us("2026-11-23T10:00")
VAN = c.Arrangement("Van 12", "Europe/Paris", WEEKDAYS, ("paris",), ("fibre",), 30)
REGISTERED = c.CrewRegistered(VAN)
HOLIDAYS = c.DaysOff(date(2026, 12, 24), date(2026, 12, 31))
MORNING = c.DaysOff(date(2026, 11, 23), date(2026, 11, 24), 0, 720)
TAKEN = c.CrewDaysOffTaken(HOLIDAYS)
RETIRED = c.CrewRetired()


def after(*events: c.Event) -> c.Crew:
    return fold(c.DECIDER, events)


@pytest.mark.parametrize(
    ("given", "command", "then"),
    [
        ([], c.ArrangeCrew(VAN), [REGISTERED]),
        ([REGISTERED], c.ArrangeCrew(VAN), []),
        (
            [REGISTERED],
            c.ArrangeCrew(replace(VAN, travel_minutes=45)),
            [c.CrewRearranged(replace(VAN, travel_minutes=45))],
        ),
        ([REGISTERED, RETIRED], c.ArrangeCrew(VAN), [REGISTERED]),
        ([REGISTERED], c.TakeDaysOff(NOW, HOLIDAYS), [TAKEN]),
        ([REGISTERED, TAKEN], c.TakeDaysOff(NOW, HOLIDAYS), []),
        ([REGISTERED, TAKEN], c.TakeDaysOff(us("2027-06-01T10:00"), HOLIDAYS), []),
        (
            [REGISTERED, TAKEN],
            c.TakeDaysOff(NOW, replace(HOLIDAYS, begins=600, ends=720)),
            [],
        ),
        ([REGISTERED], c.TakeDaysOff(NOW, MORNING), [c.CrewDaysOffTaken(MORNING)]),
        ([REGISTERED], c.GiveBackDaysOff(NOW, HOLIDAYS), []),
        (
            [REGISTERED, TAKEN],
            c.GiveBackDaysOff(NOW, replace(HOLIDAYS, first=date(2026, 12, 31))),
            [c.CrewDaysOffGivenBack(replace(HOLIDAYS, first=date(2026, 12, 31)))],
        ),
        ([REGISTERED], c.RetireCrew(), [RETIRED]),
        ([REGISTERED, RETIRED], c.RetireCrew(), []),
    ],
)
def test_crew(given: list[c.Event], command: c.Command, then: list[c.Event]) -> None:
    state = after(*given)
    events = c.decide(command, state)
    assert events == then
    # The same again changes nothing.
    assert c.decide(command, fold(c.DECIDER, events, state)) == []


def test_days_off_are_bits_of_days() -> None:
    state = after(REGISTERED, c.CrewDaysOffTaken(MORNING), c.CrewDaysOffTaken(HOLIDAYS))
    monday = c.day_number(date(2026, 11, 23))
    assert state.days_off[monday] == state.days_off[monday + 1] == day_bits([(0, 720)])
    assert len(state.days_off) == 2 + 8
    part = replace(MORNING, last=MORNING.first, begins=540, ends=MINUTES_A_DAY)
    state = c.evolve(state, c.CrewDaysOffGivenBack(part))
    assert state.days_off[monday] == day_bits([(0, 540)])
    state = c.evolve(state, c.CrewDaysOffGivenBack(replace(part, begins=0)))
    assert monday not in state.days_off
    # Who comes back after having been retired begins anew.
    assert after(REGISTERED, TAKEN, RETIRED, REGISTERED) == c.Crew(VAN)


def test_today_is_on_the_crews_wall() -> None:
    # Still the 22nd in New York, the 23rd in Paris, where it cannot be the 22nd any more.
    at = us("2026-11-23T03:00")
    off = c.DaysOff(date(2026, 11, 22), date(2026, 11, 22))
    with pytest.raises(Invalid):
        c.decide(c.TakeDaysOff(at, off), after(REGISTERED))
    van = replace(VAN, zone="America/New_York")
    assert c.decide(c.TakeDaysOff(at, off), after(c.CrewRegistered(van)))


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"label": " "}, "label"),
        ({"label": "Van\n12"}, "label"),
        ({"label": "x" * 201}, "label"),
        ({"zone": ""}, "zone"),
        ({"zone": "Europe/Atlantis"}, "zone"),
        ({"zone": "../etc/passwd"}, "zone"),
        ({"zone": "localtime"}, "zone"),
        ({"areas": ()}, "areas"),
        ({"areas": ("b", "a")}, "areas"),
        ({"areas": ("a", "a")}, "areas"),
        ({"skills": ("no blanks",)}, "skills"),
        ({"skills": tuple(f"s-{number:03}" for number in range(101))}, "skills"),
        ({"travel_minutes": 20}, "travel_minutes"),
        ({"travel_minutes": 255}, "travel_minutes"),
        ({"travel_minutes": -15}, "travel_minutes"),
        ({"week": ((),) * 7}, "week"),
        ({"week": WEEKDAYS[:6]}, "week"),
        ({"week": (((480, 475),), *WEEKDAYS[1:])}, "week"),
        ({"week": (((480, 500),), *WEEKDAYS[1:])}, "week"),
        ({"week": (((480, 540), (540, 600)), *WEEKDAYS[1:])}, "week"),
        ({"week": (((480, 1455),), *WEEKDAYS[1:])}, "week"),
        ({"week": (tuple((at, at + 15) for at in range(0, 390, 30)), *WEEKDAYS[1:])}, "week"),
    ],
)
def test_what_is_no_crew(change: dict[str, object], field: str) -> None:
    for state in (c.Crew(), after(REGISTERED)):
        with pytest.raises(Invalid) as error:
            c.decide(c.ArrangeCrew(replace(VAN, **change)), state)  # type: ignore[arg-type]
        assert error.value.field == field


@pytest.mark.parametrize(
    ("off", "field"),
    [
        (c.DaysOff(date(2026, 11, 22), date(2026, 11, 24)), "first"),
        (c.DaysOff(date(1, 1, 1), date(1, 1, 2)), "first"),
        (c.DaysOff(date(2026, 12, 2), date(2026, 12, 1)), "last"),
        (c.DaysOff(date(2026, 12, 1), date(2027, 12, 2)), "last"),
        (c.DaysOff(date(9999, 12, 30), date(9999, 12, 31)), "last"),
        (c.DaysOff(date(2026, 12, 1), date(2026, 12, 1), 720, 720), "hours"),
        (c.DaysOff(date(2026, 12, 1), date(2026, 12, 1), 0, 725), "hours"),
        (c.DaysOff(date(2026, 12, 1), date(2026, 12, 1), 0, 1455), "hours"),
    ],
)
def test_what_is_no_day_off(off: c.DaysOff, field: str) -> None:
    with pytest.raises(Invalid) as error:
        c.decide(c.TakeDaysOff(NOW, off), after(REGISTERED))
    assert error.value.field == field


@pytest.mark.parametrize(
    "command", [c.TakeDaysOff(NOW, HOLIDAYS), c.GiveBackDaysOff(NOW, HOLIDAYS), c.RetireCrew()]
)
def test_a_crew_that_there_is_not(command: c.Command) -> None:
    with pytest.raises(NotFound):
        c.decide(command, c.Crew())


def test_a_retired_crew_takes_no_days_off() -> None:
    with pytest.raises(Rejected):
        c.decide(c.TakeDaysOff(NOW, HOLIDAYS), after(REGISTERED, RETIRED))


# Areas.

PARIS = a.Ground("Paris", "FR", ("75", "92"))
DRAWN = a.AreaDrawn(PARIS)


@pytest.mark.parametrize(
    ("given", "command", "then"),
    [
        ([], a.DrawArea(PARIS), [DRAWN]),
        ([DRAWN], a.DrawArea(PARIS), []),
        (
            [DRAWN],
            a.DrawArea(replace(PARIS, prefixes=("75",))),
            [a.AreaDrawn(replace(PARIS, prefixes=("75",)))],
        ),
        ([DRAWN], a.DissolveArea(), [a.AreaDissolved()]),
        ([DRAWN, a.AreaDissolved()], a.DissolveArea(), []),
        ([DRAWN, a.AreaDissolved()], a.DrawArea(PARIS), [DRAWN]),
    ],
)
def test_area(given: list[a.Event], command: a.Command, then: list[a.Event]) -> None:
    state = fold(a.DECIDER, given)
    events = a.decide(command, state)
    assert events == then
    assert a.decide(command, fold(a.DECIDER, events, state)) == []


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"label": ""}, "label"),
        ({"country": "France"}, "country"),
        ({"country": "fr"}, "country"),
        ({"country": ""}, "country"),
        ({"prefixes": ("7 5",)}, "prefixes"),
        ({"prefixes": ("sw",)}, "prefixes"),
        ({"prefixes": ("",)}, "prefixes"),
        ({"prefixes": ("92", "75")}, "prefixes"),
        ({"prefixes": tuple(f"{number:05}" for number in range(2_001))}, "prefixes"),
    ],
)
def test_what_is_no_area(change: dict[str, object], field: str) -> None:
    with pytest.raises(Invalid) as error:
        a.decide(a.DrawArea(replace(PARIS, **change)), a.Area())  # type: ignore[arg-type]
    assert error.value.field == field


def test_an_area_that_there_is_not() -> None:
    with pytest.raises(NotFound):
        a.decide(a.DissolveArea(), a.Area())


def test_what_an_area_covers() -> None:
    assert PARIS.covers() == ("75", "92")
    assert a.Ground("France", "FR").covers() == ("",)
    assert a.Ground("By hand").covers() == ()


def test_postal_codes_however_they_are_written() -> None:
    assert a.prefixes_of("sw1a 1aa")[:4] == ["", "S", "SW", "SW1"]
    assert a.compact("100-0001") == "1000001"
    assert a.prefixes_of("") == [""]
    assert a.prefixes_of("\0 75\ud800") == ["", "7", "75"]
    assert len(a.prefixes_of("1" * 10_000)) == 13
