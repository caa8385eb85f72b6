"""What is learned, against what is true."""

import random
from bisect import insort
from itertools import pairwise
from math import exp, log
from statistics import NormalDist

import pytest

from services.dialer.pacing.durations import Durations
from services.dialer.pacing.learned import MAX_AGE, Learned
from services.dialer.pacing.share import HOUR, Share
from services.dialer.pacing.tests.support import NOW, SECOND


def observe(share: Share, rng: random.Random, truth: float, times: int, at: int = NOW) -> int:
    for number in range(times):
        share.add(at + number * SECOND, rng.random() < truth)
    return at + times * SECOND


def test_a_new_share_is_its_prior_and_unsure() -> None:
    share = Share(0.6)
    assert share.mean == 0.6
    assert share.deviation > 0.1


@pytest.mark.parametrize("truth", [0.02, 0.2, 0.5])
def test_a_steady_share(truth: float) -> None:
    errors, deviations = [], []
    for seed in range(20):
        share = Share(0.6)
        observe(share, random.Random(seed), truth, 1500)
        errors.append((share.mean - truth) ** 2)
        deviations.append(share.deviation)
    assert (sum(errors) / 20) ** 0.5 < 0.035
    # It knows what it does not know; it is a little less sure, since there may have been a jump.
    assert 0.3 < (sum(errors) / 20) ** 0.5 / (sum(deviations) / 20) < 2.0


@pytest.mark.parametrize(("before", "after"), [(0.2, 0.4), (0.4, 0.2), (0.1, 0.3)])
def test_a_jump_is_followed(before: float, after: float) -> None:
    errors = []
    for seed in range(20):
        rng, share = random.Random(seed), Share(0.6)
        at = observe(share, rng, before, 1500)
        observe(share, rng, after, 150, at)
        errors.append(abs(share.mean - after))
    # A plain mean of the last 1500 would be wrong by 0.18.
    assert sum(errors) / 20 < 0.07


def test_an_hour_is_remembered_on_the_next_day() -> None:
    rng, share = random.Random(1), Share(0.6)
    midnight = NOW // (24 * HOUR) * 24 * HOUR
    for day in range(4):
        for hour, truth in ((9, 0.15), (18, 0.45)):
            observe(share, rng, truth, 800, midnight + (24 * day + hour) * HOUR)
    evening = share.mean
    observe(share, rng, 0.15, 20, midnight + (24 * 4 + 9) * HOUR)
    assert evening == pytest.approx(0.45, abs=0.06)
    assert share.mean == pytest.approx(0.15, abs=0.09)


def test_durations_are_those_that_were_seen() -> None:
    rng, lasts = random.Random(2), Durations(mean=240.0, worth=6.0, memory=3000.0)
    drawn = [rng.lognormvariate(4.6, 0.7) for _ in range(6000)]
    for one in drawn:
        lasts.add(one)
    left = lasts.left()
    for second in (10, 30, 60, 100, 200, 400):
        truth = sum(one > second for one in drawn) / len(drawn)
        assert left[second] == pytest.approx(truth, abs=0.03)
    assert lasts.quantile(0.5) == pytest.approx(exp(4.6), rel=0.06)
    assert all(before >= after > 0.0 for before, after in pairwise(left))


def test_running_ones_tell_that_it_takes_longer_now() -> None:
    """Only short ones have ended yet; the others are known by how long they have lasted."""
    rng = random.Random(3)
    started = [rng.expovariate(1 / 300.0) for _ in range(200)]
    seen = 120.0
    ended = [one for one in started if one <= seen]
    blind, sighted = (Durations(mean=60.0, worth=6.0, memory=300.0) for _ in range(2))
    for lasts in (blind, sighted):
        for one in ended:
            lasts.add(one)
    left = sighted.left(running=[seen] * (len(started) - len(ended)))
    assert left[100] == pytest.approx(exp(-100 / 300), abs=0.08)
    assert blind.left()[100] < left[100] - 0.2


def test_nobody_has_lasted_that_long_yet() -> None:
    """All began a minute ago: that those who have ended were quick says little of the others."""
    rng, lasts = random.Random(7), Durations(mean=240.0, worth=6.0, memory=500.0)
    started = [rng.expovariate(1 / 180.0) for _ in range(300)]
    for one in started:
        if one <= 60.0:
            lasts.add(one)
    left = lasts.left(running=[60.0] * sum(one > 60.0 for one in started))
    assert left[75] / left[60] == pytest.approx(exp(-15 / 180), abs=0.03)


@pytest.mark.parametrize("seconds", [100.0, 300.0, 3000.0])
def test_those_who_run_are_neither_missed_nor_counted_twice(seconds: float) -> None:
    """As many agents as ended talks are remembered: 300 who talk again at once, from a start
    together to a steady state."""
    rng, lasts = random.Random(8), Durations(mean=240.0, worth=6.0, memory=500.0, smooth=15.0)
    talks = sorted((rng.lognormvariate(3.85, 0.7), 0.0) for _ in range(300))
    told = 0.0
    while talks[0][0] < seconds:
        ends, began = talks.pop(0)
        lasts.add(ends - began)
        insort(talks, (ends + rng.lognormvariate(3.85, 0.7), ends))
        if ends > told + 5.0:
            told = ends
            lasts.left(int(ends), [ends - began for _, began in talks])
    left = lasts.left(int(seconds) + 10, [seconds - began for _, began in talks])
    for second in (20, 47, 60, 90):
        truth = 1.0 - NormalDist(3.85, 0.7).cdf(log(second))
        assert left[second] == pytest.approx(truth, abs=0.07)


def test_a_ringing_call() -> None:
    """Those that people answer are answered between 5 and 20 s, the others ring for 28 s."""
    rng, learned = random.Random(4), Learned()
    for number in range(4000):
        if rng.random() < 0.3:
            learned.answered(NOW + number * SECOND, int(rng.uniform(5.0, 20.0) * SECOND))
        else:
            learned.unanswered(NOW + number * SECOND, 28 * SECOND)
    soon = learned.answers_within(15)
    assert len(soon) == MAX_AGE + 1
    assert soon[0] == pytest.approx(0.3 * 10 / 15, abs=0.05)
    assert soon[5] == pytest.approx(0.3, abs=0.05)
    # Half of those that would be answered are: 0.15 of 0.85 are left.
    assert soon[12] == pytest.approx(0.3 * (8 / 15) / (0.3 * (8 / 15) + 0.7), abs=0.05)
    assert soon[24] < 0.02


def test_a_burst_is_no_jump() -> None:
    """All are dialled together, and those who answer are heard of first."""
    rng, learned = random.Random(6), Learned()
    shares = []
    for burst in range(30):
        at = NOW + burst * 40 * SECOND
        ends = sorted(
            (rng.randrange(5, 20), True) if rng.random() < 0.3 else (28, False) for _ in range(200)
        )
        for seconds, answer in ends:
            told = learned.answered if answer else learned.unanswered
            told(at + seconds * SECOND, seconds * SECOND)
            if burst > 5:
                shares.append(learned.answer_rate)
    assert 0.2 < min(shares) <= max(shares) < 0.4


def test_wrap_up_is_expected_until_it_is_seen_that_there_is_none() -> None:
    learned = Learned()
    expected = learned.rests()
    assert len(expected) == 3
    assert 3 <= expected[0] < expected[1] < expected[2]
    for _ in range(20):
        learned.talked(100 * SECOND)
    assert learned.rests() == (0,)
    for _ in range(200):
        learned.wrapped_up(30 * SECOND)
    assert all(rest == pytest.approx(30, abs=2) for rest in learned.rests())


def test_what_lasts_longer_than_anything_counted_is_no_error() -> None:
    lasts = Durations(mean=10.0, worth=4.0, memory=100.0)
    for one in (0.0, -1.0, 1e9):
        lasts.add(one)
    assert lasts.left()[-1] > 0.0


def test_the_same_tale_gives_the_same_figures() -> None:
    def told() -> tuple[float, list[float]]:
        rng, learned = random.Random(5), Learned()
        for number in range(500):
            learned.answered(NOW + number * SECOND, rng.randrange(20 * SECOND))
            learned.talked(rng.randrange(300 * SECOND))
        return learned.answer_rate, learned.talk.left(7, [3.0, 50.0])

    assert told() == told()
