"""The chance of finding no agent, against sums over everything that may happen."""

from itertools import islice, product
from math import prod

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.dialer.pacing.outlook import _Exact, _Normal, outlook
from services.dialer.pacing.tests.support import (
    EXPERIENCED,
    answered,
    idle,
    ringing,
    scene,
    talking,
)

chances = st.lists(st.floats(0.0, 1.0), max_size=8)


def at_least(needed: int, chances: list[float]) -> float:
    return sum(
        prod(chance if hit else 1.0 - chance for hit, chance in zip(hits, chances, strict=True))
        for hits in product((0, 1), repeat=len(chances))
        if sum(hits) >= needed
    )


@given(agents=st.integers(1, 6), certain=st.integers(0, 7), others=chances, each=st.floats(0, 1))
def test_exact(agents: int, certain: int, others: list[float], each: float) -> None:
    point = _Exact(agents, certain, others, each)
    assert point.none_left() == pytest.approx(at_least(agents - certain, others), abs=1e-9)
    point.one_more()
    assert point.none_left() == pytest.approx(at_least(agents - certain, [*others, each]), abs=1e-9)


@pytest.mark.parametrize(("agents", "off"), [(17, 0.35), (31, 0.25), (60, 0.15), (150, 0.1)])
def test_the_normal_tail_is_close_where_it_matters(agents: int, off: float) -> None:
    busy = [0.9] * (agents - 3)
    exact, normal = (
        _Exact(agents, 1, busy, 0.28),
        _Normal(agents, 1, busy, 0.28, 0.0, 0.0),
    )
    compared = 0
    for _ in range(80):
        if 0.01 < exact.none_left() < 0.2:
            compared += 1
            assert normal.none_left() == pytest.approx(exact.none_left(), rel=off)
        exact.one_more()
        normal.one_more()
    assert compared >= 3


def test_what_is_not_known_of_the_share_widens_it() -> None:
    sure = _Normal(60, 0, [0.5] * 60, 0.3, 0.0, 0.0)
    unsure = _Normal(60, 0, [0.5] * 60, 0.3, 20.0, 0.3)
    assert unsure.none_left() > sure.none_left()


@pytest.mark.parametrize("agents", [10, 50])
def test_a_further_call_finds_fewer_agents(agents: int) -> None:
    view = outlook(scene(idle(2) + talking(agents - 2), ringing(5) + answered(1)))
    found = list(islice(view.chances(), 30))
    assert found == sorted(found)
    assert 0.0 <= found[0] < found[-1] <= 1.0


def test_figures() -> None:
    view = outlook(scene(idle(4) + talking(6), answered(2)))
    # Exponential talks of 180 s: of 6 so many end within the ring, the greeting and 2 s.
    assert view.within == pytest.approx(12.5 + 1.5 + 2.0, abs=1.5)
    assert view.free == pytest.approx(4 + 6 * view.within / 180, abs=0.4)
    assert view.wanted == 2
    assert view.answer == pytest.approx(0.3, abs=0.06)
    assert EXPERIENCED.answers.deviation == view.deviation
