"""What a simulated day came to, and how sure the figures of many days are. Pure.

A figure is a function of sums over days (ASA: all seconds waited by the answered / all answered),
so busy days count more than quiet ones, as they do in a report of the month. Its confidence
interval comes from the days, which are taken as independent: the delete-one jackknife (Tukey 1958;
Efron and Stein 1981) leaves out one day after the other,

    pseudo-value_i = n * f(all) - (n - 1) * f(all but i),

and mean and standard error of the n pseudo-values give Student's interval with n - 1 degrees of
freedom. A difference between two scenarios is a figure like any other: its days are pairs, with the
same customers on both sides (common random numbers), so what both have in common cancels out.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from math import atan, cos, pi, sin, sqrt

from relaisctl.simulation.centre import Outcome, Rules, Work
from relaisctl.simulation.estimates import Caller
from relaisctl.simulation.recorded import SECOND, Day
from services.routing.configuration import Queue

CONFIDENCE = 0.95

Sums = Counter[tuple[str, str]]
"""By what is counted, and the queue or the agent of whom. Lengths in microseconds.

offered, answered, abandoned, in_target (answered within the queue's target), waited (by the
answered), estimated (answered calls with an estimate), error (of these, |estimate - waited|);
staffed, busy by agent.
"""
Figures = dict[str, float | None]
"""None where nothing can be divided by."""


def count(
    callers: Iterable[Caller],
    outcomes: Iterable[Outcome],
    work: Mapping[str, Work],
    rules: Rules,
) -> Sums:
    """The sums of one day."""
    sums: Sums = Counter()
    targets = {name: queue.target_seconds * SECOND for name, (_, queue) in rules.queues.items()}
    for caller, outcome in zip(callers, outcomes, strict=True):
        queue, waited = caller.queue, outcome.waited
        sums["offered", queue] += 1
        if not outcome.agent or waited is None:
            sums["abandoned", queue] += 1
            continue
        sums["answered", queue] += 1
        sums["waited", queue] += waited
        if waited <= targets[queue]:
            sums["in_target", queue] += 1
        if outcome.estimated is not None:
            sums["estimated", queue] += 1
            sums["error", queue] += abs(outcome.estimated - waited)
    for agent, done in work.items():
        sums["staffed", agent] += done.staffed
        sums["busy", agent] += done.busy
    return sums


def recorded(day: Day, rules: Rules) -> Sums:
    """The sums of a day as it was. A file knows when agents talked, not when they were there."""
    callers, outcomes = [], []
    for call in day.calls:
        callers.append(Caller(call.queue, call.queued_at, 0, None, 0))
        answered = call.talked is not None
        outcomes.append(Outcome(call.waited, (call.agent or "unnamed") if answered else ""))
    return count(callers, outcomes, {}, rules)


def of_queues(sums: Sums, queues: Iterable[str]) -> Figures:
    """What customers of these queues met with."""

    def total(what: str) -> int:
        return sum(sums[what, queue] for queue in queues)

    queues = tuple(queues)
    offered, answered = total("offered"), total("answered")
    return {
        "service_level": _ratio(total("in_target"), offered),
        "asa_s": _ratio(total("waited") / SECOND, answered),
        "abandonment": _ratio(total("abandoned"), offered),
        "estimate_error_s": _ratio(total("error") / SECOND, total("estimated")),
    }


def of_all(sums: Sums, queues: Mapping[str, Queue]) -> Figures:
    """What customers, queues and agents met with. queues: all, with their targets.

    shortfall: the calls that the targets are short of, weighed by the queues' penalties, per call:
    sum of penalty * max(0, target_share * offered - in_target) / sum of offered.

    Fairness is Jain's index (Jain, Chiu, Hawe 1984): 1 when all fare alike, 1/n when one of n has
    it all. Between queues: of their service levels in proportion to their target shares. Between
    agents: of their occupancy, weighed by the time they were there.
    """
    agents = [agent for what, agent in sums if what == "staffed"]
    staffed = [sums["staffed", agent] for agent in agents]
    busy = [sums["busy", agent] for agent in agents]
    missing = sum(
        queue.penalty
        * max(0.0, queue.target_share * sums["offered", name] - sums["in_target", name])
        for name, queue in queues.items()
    )
    levels = [
        sums["in_target", name] / sums["offered", name] / queue.target_share
        for name, queue in queues.items()
        if sums["offered", name] and queue.target_share
    ]
    return of_queues(sums, queues) | {
        "shortfall": _ratio(missing, sum(sums["offered", name] for name in queues)),
        "occupancy": _ratio(sum(busy), sum(staffed)),
        "fairness_queues": jain(levels, [1] * len(levels)),
        "fairness_agents": jain(
            [part / whole if whole else 0.0 for part, whole in zip(busy, staffed, strict=True)],
            staffed,
        ),
    }


def jain(values: Sequence[float], weights: Sequence[float]) -> float | None:
    """(sum of w x)^2 / (sum of w * sum of w x^2)."""
    pairs = list(zip(values, weights, strict=True))
    first = sum(weight * value for value, weight in pairs)
    second = sum(weight * value * value for value, weight in pairs)
    return _ratio(first * first, sum(weights) * second)


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole else None


@dataclass(frozen=True, slots=True)
class Interval:
    """value, and half the width of its confidence interval; None: one day says nothing of it."""

    value: float
    half: float | None

    @property
    def excludes_zero(self) -> bool:
        return self.half is not None and abs(self.value) > self.half


def intervals(
    figures: Callable[[Sequence[Sums]], Figures], days: Sequence[Sequence[Sums]]
) -> dict[str, Interval | None]:
    """Of each figure its interval; None where it has no value.

    days: of each day its sums, one of each scenario; figures: of all scenarios' sums. One scenario
    gives a figure itself, two can give a difference.
    """
    totals: list[Sums] = [sum(sums, Counter()) for sums in zip(*days, strict=True)]
    whole = figures(totals)
    without = [
        figures([_minus(total, part) for total, part in zip(totals, day, strict=True)])
        for day in days
    ]
    return {
        name: None if value is None else _interval(value, [one[name] for one in without])
        for name, value in whole.items()
    }


def _minus(total: Sums, part: Sums) -> Sums:
    rest = total.copy()
    rest.subtract(part)
    return rest


def _interval(value: float, without: Sequence[float | None]) -> Interval:
    known = [each for each in without if each is not None]
    n = len(known)
    if n < max(2, len(without)):
        return Interval(value, None)
    pseudo = [n * value - (n - 1) * each for each in known]
    mean = sum(pseudo) / n
    variance = sum((each - mean) ** 2 for each in pseudo) / (n - 1)
    return Interval(value, student(n - 1) * sqrt(variance / n))


@cache
def student(freedom: int, confidence: float = CONFIDENCE) -> float:
    """How many standard errors to both sides hold this share of Student's distribution.

    The distribution function for whole degrees of freedom: Abramowitz and Stegun 26.7.3, 26.7.4.
    """
    low, high = 0.0, 1e4
    for _ in range(80):
        middle = (low + high) / 2
        if _central(middle, freedom) < confidence:
            low = middle
        else:
            high = middle
    return high


def _central(t: float, freedom: int) -> float:
    """P(|T| <= t)."""
    angle = atan(t / sqrt(freedom))
    square = cos(angle) ** 2
    if freedom == 1:
        return 2 * angle / pi
    odd = freedom % 2
    term, series = (cos(angle), cos(angle)) if odd else (1.0, 1.0)
    for k in range(2 + odd, freedom - 1, 2):
        term *= square * (k - 1) / k
        series += term
    if odd:
        return 2 / pi * (angle + sin(angle) * series)
    return sin(angle) * series
