"""What a call dialled now may risk, so that the period ends within its limit. Pure.

The measure steers: what is left of the allowance is spent over the next live answers, neither at
once nor never. Let A of L live answers be abandoned, at most `limit` of them allowed, `target`
aimed at, H the answers over which a surplus is spent, and F those that are on their way:

    left = min(target L, limit L - reserve) - A          reserve = 1 + 2.8 sqrt(limit (H / 2 + F))
    risk = target + left / H, between LEAST and twice the target

A surplus or a debt therefore fades over H answers. Around where it settles, A wanders like an
Ornstein-Uhlenbeck process whose variance is limit H / 2 (each answer adds variance `limit`, and a
debt of one is paid back at the rate 1 / H), and what is on its way cannot be steered any more: the
reserve is 2.8 standard deviations of both and the call that cannot be halved. So the share is below
the limit not only when the period ends, but whenever the campaign is stopped, which ends the
period, too. The reserve is not spent towards the end: what is out by then cannot be taken back, and
it is seven to ten calls of a period.
"""

from math import sqrt

from services.dialer.pacing.scene import Measure

SPENT_OVER = 300.0
"""Live answers: short against a period, long against what is on its way at one time."""
DEVIATIONS = 2.8
LEAST = 1e-3
"""With nothing left, calls whose agent is as good as certain are still dialled."""
MOST = 2.0
"""Times the target: more is not worth it. The gain in talking time grows with the logarithm of what
is abandoned, so that a surplus is best spent evenly."""


def risk(measure: Measure, coming: float) -> float:
    """The chance that a call dialled now may have of finding no agent, should it be answered.
    coming: live answers to be expected of the campaign's calls that are out."""
    reserve = 1.0 + DEVIATIONS * sqrt(measure.limit * (SPENT_OVER / 2.0 + coming))
    target = min(measure.target, measure.limit)
    left = min(target * measure.live, measure.limit * measure.live - reserve) - measure.abandoned
    return max(LEAST, min(MOST * target, target + left / SPENT_OVER))
