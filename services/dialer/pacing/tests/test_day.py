"""Short days of the simulator of bench/pacing.py: the laws of the whole, not its figures."""

import pytest

from bench.pacing import LIMIT, Played, Run


def play(case: str, policy: str, seed: int, seconds: float = 2400.0) -> Played:
    return Run(10, case, seconds, seed, policy).play()


@pytest.mark.parametrize("case", ["30%/180s", "20%/60s", "drift"])
def test_within_the_limit_and_busier_than_one_call_for_each_agent(case: str) -> None:
    ours, plain = play(case, "predictive", 7), play(case, "progressive", 7)
    assert ours.live > 0
    # The limit, and one call: there are few live answers yet.
    assert ours.abandoned <= LIMIT * ours.live + 1
    assert plain.abandoned == 0
    assert ours.share > plain.share + 0.03


def test_the_same_seed_is_the_same_day() -> None:
    first, second = (play("30%/180s", "predictive", 11, 600.0) for _ in range(2))
    assert (first.share, first.live, first.dialled) == (second.share, second.live, second.dialled)
