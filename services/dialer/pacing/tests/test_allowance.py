"""The risk that a call may have, by what the period has left."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.dialer.pacing.allowance import LEAST, MOST, risk
from services.dialer.pacing.scene import Measure

RUNNING = Measure(live=10_000, abandoned=293)


@pytest.mark.parametrize(
    ("measure", "then"),
    [
        # 300 allowed, 7 of them the reserve: on course.
        (RUNNING, pytest.approx(0.03, abs=0.001)),
        (replace(RUNNING, abandoned=290), pytest.approx(0.04, abs=0.001)),
        (replace(RUNNING, abandoned=296), pytest.approx(0.02, abs=0.001)),
        (replace(RUNNING, abandoned=100), 0.06),
        (replace(RUNNING, abandoned=310), LEAST),
        # A campaign that aims lower.
        (replace(RUNNING, target=0.02, abandoned=200), pytest.approx(0.02, abs=0.001)),
        (replace(RUNNING, target=0.02, abandoned=209), LEAST),
        # A target above the limit is no target.
        (replace(RUNNING, target=0.05), pytest.approx(0.03, abs=0.001)),
        # The first calls of a period.
        (Measure(), pytest.approx(0.007, abs=0.001)),
        (Measure(live=10, abandoned=3), LEAST),
        (Measure(limit=0.0, target=0.0), LEAST),
    ],
)
def test_risk(measure: Measure, then: float) -> None:
    assert risk(measure, 0.0) == then


@given(
    live=st.integers(0, 100_000),
    abandoned=st.integers(0, 5_000),
    target=st.floats(0.0, 0.1),
    limit=st.floats(0.001, 0.05),
    coming=st.floats(0.0, 500.0),
)
def test_laws(live: int, abandoned: int, target: float, limit: float, coming: float) -> None:
    measure = Measure(live, abandoned, limit, target)
    allowed = risk(measure, coming)
    assert LEAST <= allowed <= max(LEAST, MOST * min(target, limit))
    assert risk(replace(measure, abandoned=abandoned + 1), coming) <= allowed
    assert risk(replace(measure, live=live + 1, abandoned=abandoned + 1), coming) <= allowed
    assert risk(measure, coming + 10.0) <= allowed
    if abandoned > limit * live:
        assert allowed < max(target, 2 * LEAST)
