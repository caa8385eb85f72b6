"""The simulator against formulas: Poisson arrivals, exponential service and patience.

Steady state: one long run, its beginning dropped, the rest cut into batches of equal length. Batch
means are nearly independent, so the interval is that of the days of a study. A 95 % interval misses
once in twenty times, of a right simulator too: with a new seed, look at more than one.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from random import Random

import pytest

from relaisctl.simulation import centre, measures, study
from relaisctl.simulation.centre import Outcome, Rules
from relaisctl.simulation.estimates import Caller
from relaisctl.simulation.measures import Figures, Interval, Sums
from relaisctl.simulation.recorded import SECOND
from relaisctl.simulation.roster import Shift
from services.routing.configuration import Queue
from services.routing.policies import DEFAULT

REFERENCE = Path(__file__).parents[4] / "shared" / "reference" / "erlang.json"
BATCHES = 20
BATCH = 1_500
"""Calls: some thirty times as long as a small centre remembers how busy it was."""
LONG_BATCH = 3_750
"""A large and busy one remembers it for longer."""
SEED = 1


def simulate(
    rate: float, service_s: float, patience_s: float | None, agents: int, target_s: int, size: int
) -> dict[str, Interval | None]:
    """rate: calls per second; size: calls of a batch. Beside the usual figures: p_wait, the share
    of calls that were not answered at once, and mean_wait_s, of all calls."""
    chance, at = Random(f"{SEED}/{agents}"), 0.0
    callers = []
    for _ in range((1 + BATCHES) * size):
        at += chance.expovariate(rate)
        service = chance.expovariate(1 / service_s)
        patience = None if patience_s is None else chance.expovariate(1 / patience_s)
        callers.append(
            Caller(
                queue="q",
                queued_at=int(at * SECOND),
                priority=0,
                patience=None if patience is None else int(patience * SECOND),
                service=int(service * SECOND),
            )
        )
    shifts = [Shift(f"a{n}", 0.0, 2 * at, (("q", 1),)) for n in range(agents)]
    rules = Rules(DEFAULT, {"q": ("acme", Queue("q", (("q", 1),), target_seconds=target_s))})
    with study.without_gc():
        outcomes = centre.run(callers, shifts, 0, rules).outcomes
    batches = [
        [_count(callers[first : first + size], outcomes[first : first + size], rules)]
        for first in range(size, len(callers), size)
    ]
    return measures.intervals(_figures, batches)


def _count(callers: Sequence[Caller], outcomes: Sequence[Outcome], rules: Rules) -> Sums:
    sums = measures.count(callers, outcomes, {}, rules)
    sums["delayed", "q"] = sum(outcome.waited != 0 for outcome in outcomes)
    sums["all waited", "q"] = sum(outcome.waited or 0 for outcome in outcomes)
    return sums


def _figures(sums: Sequence[Sums]) -> Figures:
    (own,) = sums
    offered = own["offered", "q"]
    return measures.of_queues(own, ["q"]) | {
        "p_wait": own["delayed", "q"] / offered,
        "mean_wait_s": own["all waited", "q"] / SECOND / offered,
    }


def agree(found: dict[str, Interval | None], expected: dict[str, float], narrow: float) -> None:
    """Each expected figure lies in its interval, which is narrow: half of it is at most so many
    times the figure."""
    for name, value in expected.items():
        interval = found[name]
        assert interval is not None
        assert interval.half is not None
        print(f"{name}: {interval.value:.4f} ± {interval.half:.4f}, the formula says {value:.4f}")
        assert abs(interval.value - value) <= interval.half, name
        assert interval.half <= narrow * value, name


def references(kind: str) -> list[dict[str, float]]:
    if not REFERENCE.exists():
        pytest.skip(f"{REFERENCE} is missing: the reference is no part of the product")
    rows: list[dict[str, float]] = json.loads(REFERENCE.read_text())[kind]
    return rows


@pytest.mark.parametrize("number", range(4))
def test_erlang_c(number: int) -> None:
    row = references("erlang_c")[number]
    rate, target = row["calls"] / row["period_s"], int(row["target_s"])
    size = LONG_BATCH if row["agents"] > 50 else BATCH
    found = simulate(rate, row["aht_s"], None, int(row["agents"]), target, size)
    names = ("p_wait", "service_level", "asa_s")
    agree(found, {name: row[name] for name in names if name in row}, narrow=0.25)
    assert found["abandonment"] == Interval(0.0, 0.0)


def test_erlang_a() -> None:
    (row,) = references("erlang_a")
    found = simulate(
        row["calls_per_min"] / 60,
        row["service_min"] * 60,
        row["patience_min"] * 60,
        int(row["agents"]),
        20,
        BATCH,
    )
    expected = {
        "p_wait": row["p_wait"],
        "abandonment": row["p_abandon"],
        "mean_wait_s": row["mean_wait_s"],
    }
    agree(found, expected, narrow=0.25)
