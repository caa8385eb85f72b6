"""The Kaplan-Meier estimator, and customers drawn from it."""

from math import exp, inf
from random import Random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from relaisctl.simulation.estimates import Estimates, Survival, wrap_ups
from relaisctl.simulation.recorded import SECOND
from relaisctl.simulation.tests.support import abandoned, answered, day

# Weeks of remission under 6-MP: Freireich et al. 1963, the example of the textbooks.
RELAPSED = (6, 6, 6, 7, 10, 13, 16, 22, 23)
CENSORED = (6, 9, 10, 11, 17, 19, 20, 25, 32, 32, 34, 35)
WAITS = [(time, True) for time in RELAPSED] + [(time, False) for time in CENSORED]

waits = st.lists(st.tuples(st.integers(0, 1000), st.booleans()), min_size=1, max_size=60)
chances = st.floats(1e-6, 1.0)


def test_the_textbook_example() -> None:
    survival = Survival.of(WAITS)
    # The published estimate, up to where ten are still there.
    published = {5: 1.0, 6: 0.857, 7: 0.807, 10: 0.753, 13: 0.690, 16: 0.627}
    assert {time: round(survival.at(time), 3) for time in published} == published
    assert survival.times == (6, 7, 10, 13, 16)
    assert survival.hazard == pytest.approx(9 / 359)


def test_without_censoring_it_is_the_share_that_is_left() -> None:
    survival = Survival.of([(time, True) for time in range(1, 101)])
    assert survival.at(50) == pytest.approx(0.5)
    assert survival.median() == 50


def test_nobody_gave_up() -> None:
    survival = Survival.of([(5, False), (9, False)])
    assert survival.at(9) == 1.0
    assert survival.draw(0.01) is None
    assert survival.median() == inf


def test_nobody_waited() -> None:
    assert Survival.of([]).draw(0.5) is None
    assert Survival.of([(0, False)] * 20).draw(0.5) is None


@given(waits, chances, st.integers(0, 1200))
@example([(0, True), (1, False)], 0.5, 0)
def test_a_draw_is_longer_than_what_was_waited(
    waits: list[tuple[int, bool]], chance: float, beyond: int
) -> None:
    survival = Survival.of(waits)
    patience = survival.draw(chance, beyond)
    assert patience is None or patience >= beyond
    assert list(survival.shares) == sorted(survival.shares, reverse=True)
    if patience is not None and patience in survival.times:
        # Inverse transform: by then the share has sunk to the chance, and not before.
        left = chance * survival.at(beyond)
        assert survival.at(patience) <= left <= survival.at(patience - 1)


def test_draws_follow_the_distribution() -> None:
    """An exponential patience of 100 s, seen by agents who answer at random."""
    chance = Random(3)
    seen = []
    for _ in range(20_000):
        patience, answer = chance.expovariate(1 / 100), chance.expovariate(1 / 60)
        seen.append((round(min(patience, answer) * SECOND), patience < answer))
    survival = Survival.of(seen)
    assert survival.at(100 * SECOND) == pytest.approx(exp(-1), abs=0.02)
    drawn = [survival.draw(1 - chance.random()) or 0 for _ in range(20_000)]
    assert sum(drawn) / len(drawn) / SECOND == pytest.approx(100, rel=0.05)
    later = [survival.draw(1 - chance.random(), 50 * SECOND) or 0 for _ in range(20_000)]
    assert sum(later) / len(later) / SECOND == pytest.approx(150, rel=0.05)


def test_what_is_known_stays_and_the_rest_is_drawn() -> None:
    calls = [answered(at, 20, 60 + at) for at in range(20)]
    calls += [abandoned(100 + at, 30) for at in range(20)]
    made = day(*calls)
    estimates = Estimates.of([made])
    callers = estimates.callers(made, Random(1))
    for call, one in zip(made.calls, callers, strict=True):
        assert (one.queue, one.queued_at) == (call.queue, call.queued_at)
        if call.talked is None:
            assert one.patience == call.waited
            assert one.service in estimates.services["q"]
        else:
            assert one.service == call.talked
            assert one.patience == 30 * SECOND  # half of those who waited longer; who else did so
    assert estimates.callers(made, Random(1)) == callers
    assert estimates.callers(made, Random(2)) != callers
    assert {one.wrap_up for one in estimates.callers(made, Random(1), 7)} == {7}


def test_wrap_ups_are_gaps_while_somebody_waits() -> None:
    made = day(
        answered(0, 0, 100),  # until 100
        answered(50, 60, 100),  # waited from 50 to 110: ten seconds were wrap-up
        answered(150, 160, 50),  # waited until 310: a hundred seconds are a break
        answered(400, 0, 10),  # nobody waited: idle
    )
    assert wrap_ups(made) == [10 * SECOND]
