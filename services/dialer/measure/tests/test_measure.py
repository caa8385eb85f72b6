"""The legal measure: what counts, in which period, and when a limit cannot be kept any more."""

import json
from datetime import date, timedelta
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.dialer.measure.measure import (
    BUCKETS,
    NOTHING,
    UNKNOWN_DAY,
    Contract,
    Counts,
    Ended,
    cannot_end_within,
    change,
    counted,
    expected_remaining_live,
    period_of,
    report,
    standing,
    successive,
    tenths,
    total,
    uk,
    uk_rate,
    uk_total,
)

LAW = Path(__file__).parents[5] / "shared" / "reference" / "dialer-compliance.json"
FIRST = date(2026, 1, 1)


def ended(result: str, waited: int | None = None, by: str = "human", **more: object) -> Ended:
    return Ended(0, "predictive", result, by, waited, **more)  # type: ignore[arg-type]


def day(live: int, abandoned: int) -> Counts:
    """Persons who were all told from machines."""
    connected = counted(ended("connected", 500_000))
    dropped = counted(ended("abandoned", 2_000_000))
    return total([connected] * (live - abandoned) + [dropped] * abandoned)


def told(name: str) -> dict[str, object]:
    if not LAW.exists():
        pytest.skip(f"{LAW.name} is not here")
    found: dict[str, object] = json.loads(LAW.read_text())[name]
    return found


def days_of(*spans: tuple[int, int, int]) -> dict[date, Counts]:
    """(days, live a day, abandoned a day), one after the other."""
    found: dict[date, Counts] = {}
    for length, live, abandoned in spans:
        for _ in range(length):
            found[FIRST + timedelta(days=len(found))] = day(live, abandoned)
    return found


# The vectors.


def test_successive_periods_and_the_trap() -> None:
    law = told("us_successive_30_day_periods")
    spans = []
    for name, of_a_day in law["vector"].items():  # type: ignore[attr-defined]
        first, last = (int(each) for each in name.removeprefix("days_").split("_to_"))
        spans.append((last - first + 1, of_a_day["live_per_day"], of_a_day["abandoned_per_day"]))
    days = days_of(*spans)
    readings = successive(days, FIRST, max(days))
    assert [
        {"period": each.number, "rate": each.rate, "compliant": each.compliant} for each in readings
    ] == law["expected"]
    # Both of these look compliant, and are not what the law asks for.
    everything = total(days.values())
    assert everything.abandoned(2) / everything.live == pytest.approx(0.02)
    last_30 = total(days[each] for each in sorted(days)[-30:])
    assert last_30.abandoned(2) / last_30.live == pytest.approx(0.025)


def test_the_estimate_where_machines_are_not_told_apart() -> None:
    law = told("uk_estimate_without_amd")
    given: dict[str, int] = law["vector"]  # type: ignore[assignment]
    counts = total(
        [
            *[counted(ended("abandoned", 2_000_000, "unknown"))] * given["dropped"],
            *[counted(ended("connected", 100_000, "unknown"))] * given["humans"],
            *[counted(ended("connected", 0, "unknown", heard_machine=True))] * given["machines"],
        ]
    )
    assert uk_rate(counts) == law["expected_rate"]
    # D/(D+H+M), as it is printed.
    assert uk_rate(counts) == 29 / (29 + 9 + 7)


# What counts.


@pytest.mark.parametrize(
    ("said", "live", "late_for_2s", "late_for_1s"),
    [
        pytest.param(ended("connected", 0), 1, 0, 0, id="at once"),
        pytest.param(ended("connected", 1_000_000), 1, 0, 0, id="after 1 s"),
        pytest.param(ended("connected", 1_000_001), 1, 0, 1, id="just after 1 s"),
        pytest.param(ended("connected", 2_000_000), 1, 0, 1, id="after 2 s"),
        pytest.param(ended("connected", 2_000_001), 1, 1, 1, id="just after 2 s"),
        pytest.param(ended("connected", 3_600_000_000), 1, 1, 1, id="after an hour"),
        pytest.param(ended("connected", None), 1, 1, 1, id="nobody knows when"),
        pytest.param(ended("abandoned", 2_000_000), 1, 1, 1, id="abandoned"),
        pytest.param(ended("abandoned", 100_000), 1, 1, 1, id="abandoned early"),
        pytest.param(ended("abandoned", None, ""), 1, 1, 1, id="nobody said who had answered"),
        pytest.param(ended("hung-up"), 1, 0, 0, id="hung up in the greeting"),
        pytest.param(ended("hung-up", 1_500_000), 1, 0, 1, id="hung up after 1.5 s"),
        pytest.param(ended("connected", 0, "unknown"), 1, 0, 0, id="nobody could tell"),
        pytest.param(ended("connected", 0, "machine"), 0, 0, 0, id="a machine, as a person"),
        pytest.param(ended("connected", 0, heard_machine=True), 0, 0, 0, id="told wrongly"),
        pytest.param(ended("machine", None, "machine"), 0, 0, 0, id="a machine"),
        pytest.param(ended("fax", None, "fax"), 0, 0, 0, id="a fax"),
        pytest.param(ended("no-answer", None, ""), 0, 0, 0, id="nobody"),
        pytest.param(ended("busy", None, ""), 0, 0, 0, id="busy"),
        pytest.param(ended("carrier-error"), 0, 0, 0, id="the line broke"),
        pytest.param(ended("not-dialled", None, ""), 0, 0, 0, id="never dialled"),
        pytest.param(
            Ended(0, "message", "hung-up", "human"), 0, 0, 0, id="a message has no agents"
        ),
    ],
)
def test_what_counts(said: Ended, live: int, late_for_2s: int, late_for_1s: int) -> None:
    counts = counted(said)
    assert (counts.live, counts.abandoned(2.0), counts.abandoned(1)) == (
        live,
        late_for_2s,
        late_for_1s,
    )


@pytest.mark.parametrize(
    ("seconds", "expected"), [(0, 0), (0.05, 0), (1.25, 12), (2, 20), (5, 50), (60, 50), (-1, 0)]
)
def test_what_the_counters_cannot_tell_is_judged_by_the_stricter_tenth(
    seconds: float, expected: int
) -> None:
    assert tenths(seconds) == expected


ENDS = st.builds(
    Ended,
    st.just(0),
    st.sampled_from(["predictive", "message"]),
    st.sampled_from(["connected", "abandoned", "hung-up", "delivered", "machine", "no-answer"]),
    st.sampled_from(["", "human", "machine", "fax", "unknown"]),
    st.none() | st.integers(0, 10_000_000),
    st.booleans(),
)


@given(st.lists(ENDS, max_size=30), st.sampled_from([0, 0.1, 1, 2, 2.5, 5]))
def test_counters_say_what_counting_each_call_says(ends: list[Ended], seconds: float) -> None:
    """The same from the histogram as from the waits themselves, to the tenth of a second."""
    live = [
        each
        for each in ends
        if each.mode != "message"
        and each.answered_by not in ("machine", "fax")
        and each.result in ("connected", "abandoned", "hung-up")
        and not (each.heard_machine and each.result == "connected")
    ]
    limit = Fraction(str(seconds)) * 1_000_000
    late = [
        each
        for each in live
        if each.result == "abandoned"
        or (each.waited is None and each.result == "connected")
        or (each.waited is not None and each.waited > limit)
    ]
    counts = total(map(counted, ends))
    assert counts.live == len(live)
    assert counts.abandoned(seconds) == len(late)
    assert len(counts.waits) == BUCKETS


@given(st.lists(ENDS, max_size=10), ENDS, ENDS)
def test_another_word_changes_what_the_first_said_and_no_more(
    others: list[Ended], first: Ended, then: Ended
) -> None:
    before = total(map(counted, others))
    after = before + change(None, first) + change(first, then) + change(then, then)
    assert after == before + counted(then)
    assert after + change(then, None) == before


# Periods.


@pytest.mark.parametrize(
    ("today", "expected"),
    [
        (date(2025, 12, 31), (1, date(2026, 1, 1), date(2026, 1, 30))),
        (date(2026, 1, 1), (1, date(2026, 1, 1), date(2026, 1, 30))),
        (date(2026, 1, 30), (1, date(2026, 1, 1), date(2026, 1, 30))),
        (date(2026, 1, 31), (2, date(2026, 1, 31), date(2026, 3, 1))),
        (date(2026, 12, 31), (13, date(2026, 12, 27), date(2027, 1, 25))),
    ],
)
def test_periods_of_30_days(today: date, expected: tuple[int, date, date]) -> None:
    assert period_of(FIRST, today, 30) == expected


def test_three_of_a_hundred_is_the_limit_and_four_is_above() -> None:
    for live, abandoned, compliant, left in ((100, 3, True, 0), (100, 4, False, -1)):
        [reading] = successive({FIRST: day(live, abandoned)}, FIRST, FIRST)
        assert (reading.compliant, reading.left) == (compliant, left)
    # 0.07 * 100 is 7.000000000000001 in binary.
    [reading] = successive({FIRST: day(100, 7)}, FIRST, FIRST, Contract(0.07))
    assert (reading.compliant, reading.left) == (True, 0)


def test_a_period_without_calls_is_compliant_and_has_no_room() -> None:
    first, second = successive({FIRST: day(100, 50)}, FIRST, date(2026, 2, 1))
    assert not first.compliant
    assert (second.live, second.rate, second.compliant, second.left) == (0, 0.0, True, 0)


def test_a_stricter_contract_judges_the_same_calls_by_its_own_seconds_and_days() -> None:
    slow = counted(ended("connected", 1_500_000))
    days = {FIRST: total([slow, *[counted(ended("connected", 0))] * 99])}
    terms = Contract(0.005, 1.0, 7)
    found = report(days, FIRST, date(2026, 1, 8), terms)
    assert [(each.abandoned, each.compliant) for each in found.us] == [(0, True)]
    assert [(each.number, each.abandoned, each.compliant) for each in found.contract] == [
        (1, 1, False),
        (2, 0, True),
    ]
    now = standing(days, FIRST, FIRST, terms)
    assert (now.strictest.measure, now.strictest.left, now.connect_seconds) == ("contract", -1, 1.0)


def test_the_uk_looks_at_each_day() -> None:
    days = {FIRST: day(100, 3), date(2026, 1, 3): day(100, 4)}
    assert [(each.first_day.day, each.rate, each.compliant) for each in uk(days)] == [
        (1, 0.03, True),
        (3, 0.04, False),
    ]
    assert uk_total(days, FIRST, date(2026, 1, 4)).rate == 0.035
    assert standing(days, FIRST, date(2026, 1, 3)).strictest.measure == "us"
    now = standing(days, FIRST, date(2026, 1, 3), in_uk=True)
    assert [each.measure for each in now.readings] == ["us", "uk"]


def test_the_estimate_is_of_those_alone_whom_nobody_told_apart() -> None:
    told_apart = counted(ended("abandoned", 2_000_000))
    known = Counts(dropped=10, unknown_dropped=10, connected=10, unknown_connected=10, machines=10)
    assert uk_rate(told_apart + NOTHING) == 1.0
    # Five of ten are persons by the estimate, and one is one for certain.
    assert uk_rate(known + told_apart) == 6 / 16
    assert uk_rate(Counts(machines=5)) == 0.0


def test_a_report_is_json() -> None:
    days = days_of((31, 100, 1))
    found = json.loads(json.dumps(report(days, FIRST, date(2026, 1, 31), Contract(0.01)).to_json()))
    assert [each["number"] for each in found["us"]] == [1, 2]
    assert found["us"][0] == {
        "measure": "us",
        "number": 1,
        "first_day": "2026-01-01",
        "last_day": "2026-01-30",
        "live": 3000,
        "abandoned": 30,
        "rate": 0.01,
        "limit": 0.03,
        "compliant": True,
        "left": 60,
    }
    assert len(found["uk"]) == 31
    assert [each["limit"] for each in found["contract"]] == [0.01, 0.01]
    assert found["uk_total"]["rate"] == 0.01


# Falling back.


def test_a_period_that_cannot_end_within_the_limit() -> None:
    [reading] = successive({FIRST: day(100, 6)}, FIRST, FIRST)
    assert cannot_end_within(reading, 0)
    assert cannot_end_within(reading, 99.9)
    assert not cannot_end_within(reading, 100)


@given(st.integers(0, 500), st.integers(0, 500), st.integers(0, 1000))
def test_it_cannot_if_and_only_if_it_does_not_with_nobody_abandoned(
    connected: int, abandoned: int, to_come: int
) -> None:
    now = day(connected + abandoned, abandoned)
    [reading] = successive({FIRST: now}, FIRST, FIRST)
    [at_the_end] = successive({FIRST: now + day(to_come, 0)}, FIRST, FIRST)
    assert cannot_end_within(reading, to_come) == (not at_the_end.compliant)


def test_what_is_still_to_come_by_what_came() -> None:
    last = date(2026, 1, 30)
    # The first day says only how many have come by now.
    assert expected_remaining_live({}, FIRST, last) == 30 * UNKNOWN_DAY
    assert expected_remaining_live({FIRST: day(100, 0)}, FIRST, last) == 30 * UNKNOWN_DAY
    assert expected_remaining_live({FIRST: day(400, 0)}, FIRST, last) == 30 * 400
    ten = days_of((9, 100, 0))
    today = date(2026, 1, 10)
    assert expected_remaining_live(ten, today, last) == 21 * 100
    assert expected_remaining_live(ten | {today: day(40, 0)}, today, last) == 60 + 20 * 100
    assert expected_remaining_live(ten, last, last) == pytest.approx(100)
    # Calls on every second day alone.
    sparse = {FIRST + timedelta(days=each): day(100, 0) for each in range(0, 14, 2)}
    found = expected_remaining_live(sparse, date(2026, 1, 15), last)
    assert found == pytest.approx(100 + 100 / 2 * 15)


def test_the_first_call_of_a_campaign_does_not_end_its_period() -> None:
    days = {FIRST: day(1, 1)}
    for reading in standing(days, FIRST, FIRST, in_uk=True).readings:
        remaining = expected_remaining_live(days, FIRST, reading.last_day)
        assert not cannot_end_within(reading, remaining)
    # All of 22: too many for the day, and not yet for the period.
    days = {FIRST: day(22, 22)}
    us, uk_day = standing(days, FIRST, FIRST, in_uk=True).readings
    assert cannot_end_within(uk_day, expected_remaining_live(days, FIRST, FIRST))
    assert not cannot_end_within(us, expected_remaining_live(days, FIRST, us.last_day))
    later = FIRST + timedelta(days=1)
    us, _ = standing(days, FIRST, later, in_uk=True).readings
    assert cannot_end_within(us, 22 * 29)
    assert not cannot_end_within(us, 22 * 33)
