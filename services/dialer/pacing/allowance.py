"""What a call dialled now may risk, so that the period ends within its limit. Pure.

The measure steers: what is left of the allowance is spent over the next live answers, neither at
once nor never. Let A of L live answers be abandoned, at most `limit` of them allowed, `target`
aimed at, and H the answers over which a surplus is spent:

    left = min(target L, limit L - reserve) - A          reserve = 1 + 2.8 sqrt(limit H / 2)
    risk = target + left / H, between LEAST and twice the target

A surplus or a debt therefore fades over H answers. Around where it settles, A wanders like an
Ornstein-Uhlenbeck process whose variance is limit H / 2 (each answer adds variance `limit`, and a
debt of one is paid back at the rate 1 / H): the reserve is 2.8 standard deviations and the call
that cannot be halved. So the share is below the limit not only when the period ends, but whenever
the campaign is stopped, which ends the period, too. Towards the end H is what is still expected.
"""

from math import sqrt

from services.dialer.pacing.scene import Measure

SPENT_OVER = 300.0
"""Live answers: short against a period, long against what is on its way at one time."""
SHORTEST = 20.0
DEVIATIONS = 2.8
LEAST = 1e-3
"""With nothing left, calls whose agent is as good as certain are still dialled."""
MOST = 2.0
"""Times the target: more is not worth it. The gain in talking time grows with the logarithm of what
is abandoned, so that a surplus is best spent evenly."""


def risk(measure: Measure, now: int) -> float:
    """The chance that a call dialled now may have of finding no agent, should it be answered."""
    over = max(SHORTEST, min(SPENT_OVER, _expected(measure, now)))
    reserve = 1.0 + DEVIATIONS * sqrt(measure.limit * over / 2.0)
    target = min(measure.target, measure.limit)
    left = min(target * measure.live, measure.limit * measure.live - reserve) - measure.abandoned
    return max(LEAST, min(MOST * target, target + left / over))


def _expected(measure: Measure, now: int) -> float:
    """Live answers until the period ends, at the pace so far."""
    if measure.ends_at <= measure.began_at or now <= measure.began_at:
        return SPENT_OVER
    pace = measure.live / (now - measure.began_at)
    return pace * max(0, measure.ends_at - now)
