"""Figures and their intervals."""

from collections import Counter
from collections.abc import Sequence
from random import Random
from statistics import mean, stdev

import pytest

from relaisctl.simulation import measures
from relaisctl.simulation.centre import Outcome, Work
from relaisctl.simulation.measures import Figures, Sums
from relaisctl.simulation.recorded import SECOND
from relaisctl.simulation.tests.support import abandoned, answered, caller, day, rules
from services.routing.configuration import Queue

QUEUES = {"q": Queue("q")}


def test_sums_and_figures_of_a_day() -> None:
    callers = [caller(0, 1, queue=queue) for queue in ("q", "q", "q", "r")]
    outcomes = [
        Outcome(0, "ana", 5 * SECOND),
        Outcome(30 * SECOND, "ana", None),
        Outcome(9 * SECOND, ""),
        Outcome(20 * SECOND, "bea", 30 * SECOND),
    ]
    work = {"ana": Work(100, 80), "bea": Work(100, 20)}
    sums = measures.count(callers, outcomes, work, rules("q", "r"))
    queues = {"q": Queue("q", penalty=2), "r": Queue("r", target_share=0.4)}
    assert measures.of_all(sums, queues) == {
        "service_level": 2 / 4,
        "asa_s": 50 / 3,
        "abandonment": 1 / 4,
        "estimate_error_s": 7.5,
        "shortfall": pytest.approx(2 * (0.8 * 3 - 1) / 4),
        "occupancy": 0.5,
        "fairness_queues": pytest.approx((5 / 12 + 5 / 2) ** 2 / (2 * ((5 / 12) ** 2 + 25 / 4))),
        "fairness_agents": pytest.approx(1 / (2 * (0.64 + 0.04))),
    }
    assert measures.of_queues(sums, ["r"])["service_level"] == 1.0


def test_nothing_to_divide_by() -> None:
    assert set(measures.of_all(Counter(), QUEUES).values()) == {None}


def test_a_recorded_day() -> None:
    made = day(answered(0, 10, 100), answered(1, 30, 100, agent=""), abandoned(2, 5))
    figures = measures.of_all(measures.recorded(made, rules()), QUEUES)
    assert figures["service_level"] == figures["abandonment"] == pytest.approx(1 / 3)
    assert figures["asa_s"] == 20
    assert figures["occupancy"] is None


def test_jain() -> None:
    assert measures.jain([0.5, 0.5], [1, 1]) == pytest.approx(1)
    assert measures.jain([1, 0, 0, 0], [1, 1, 1, 1]) == pytest.approx(1 / 4)
    assert measures.jain([1, 0], [9, 1]) == pytest.approx(0.9)
    assert measures.jain([0, 0], [1, 1]) is None
    assert measures.jain([], []) is None


@pytest.mark.parametrize(
    ("freedom", "quantile"),
    # Published tables, two-sided 95 %.
    [(1, 12.706), (2, 4.303), (3, 3.182), (4, 2.776), (9, 2.262), (30, 2.042), (120, 1.980)],
)
def test_student(freedom: int, quantile: float) -> None:
    assert measures.student(freedom) == pytest.approx(quantile, abs=6e-4)


def total(sums: Sequence[Sums]) -> Figures:
    return {"mean": sums[0]["x", ""] / sums[0]["n", ""] if sums[0]["n", ""] else None}


def difference(sums: Sequence[Sums]) -> Figures:
    return {"difference": (sums[0]["x", ""] - sums[1]["x", ""]) / sums[0]["n", ""]}


def sums(x: float) -> Sums:
    return Counter({("x", ""): x, ("n", ""): 1})  # type: ignore[dict-item]


def test_of_a_plain_mean_it_is_the_usual_interval() -> None:
    chance = Random(5)
    values = [chance.gauss(10, 2) for _ in range(30)]
    found = measures.intervals(total, [[sums(value)] for value in values])["mean"]
    assert found is not None
    assert found.value == pytest.approx(mean(values))
    assert found.half == pytest.approx(measures.student(29) * stdev(values) / 30**0.5)
    assert found.excludes_zero


def test_days_in_common_cancel_out() -> None:
    chance = Random(5)
    days = []
    for _ in range(30):
        common, own = chance.gauss(100, 50), chance.gauss(1, 0.1)
        days.append([sums(common + own), sums(common)])
    found = measures.intervals(difference, days)["difference"]
    assert found is not None
    assert found.half is not None
    assert found.value == pytest.approx(1, abs=0.1)
    assert found.half < 0.1


def test_one_day_has_no_interval() -> None:
    found = measures.intervals(total, [[sums(3)]])["mean"]
    assert found is not None
    assert (found.value, found.half, found.excludes_zero) == (3, None, False)
    assert measures.intervals(total, [[Counter()]])["mean"] is None


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    """A ratio of sums whose truth is 2, of twenty days each."""
    chance, held = Random(7), 0
    for _ in range(400):
        days = []
        for _ in range(20):
            n = chance.randint(50, 150)
            x = sum(chance.expovariate(1 / 2) for _ in range(n))
            days.append([Counter({("x", ""): x, ("n", ""): n})])
        found = measures.intervals(total, days)["mean"]  # type: ignore[arg-type]
        assert found is not None
        assert found.half is not None
        held += abs(found.value - 2) <= found.half
    assert 0.92 <= held / 400 <= 0.98
