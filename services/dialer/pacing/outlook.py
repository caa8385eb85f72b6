"""Who will be free, and who will want them, when a call dialled now is answered. Pure.

At one point of time of the ring (three quantiles of the time until an answer) let N be the agents,
X the number of them who are still busy two seconds after the greeting, plus the answers that came
before and want one, too. A call that is answered then finds no agent when X >= N. X is a sum of
independent yes-or-no variables, one for each busy agent and each call out:

    an agent who has been busy for e seconds is still after k more with S(e + k) / S(e), S the share
    of handle times that last longer
    a call that has rung for a seconds is answered within u more with
    p (G(a) - G(a + u)) / (p G(a) + (1 - p) O(a)), p the share of answers, G and O the shares of
    answers and of other ends that come later

and each further call dialled now adds one with p (1 - G(u)). Up to EXACT agents the distribution of
X is convolved; beyond, the tail is normal with Edgeworth's correction for skewness,

    P(X >= N) = Q(z) + skew / 6 (z^2 - 1) phi(z), z = (N - 1/2 - E X) / sd

What is not known of p widens X: exactly in the normal tail; where X is convolved, p is taken a
standard deviation higher.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil, erfc, exp, inf, pi, sqrt

from services.dialer.pacing.durations import LONGEST, Durations
from services.dialer.pacing.learned import MAX_AGE, Learned
from services.dialer.pacing.scene import Doing, Scene

SECOND = 1_000_000
EXACT = 16
POINTS = (1 / 6, 1 / 2, 5 / 6)
"""Of the time until an answer: a third of the calls is answered around each."""
MAX_RING = 60
MAX_UNTIL = 90
"""Seconds."""


@dataclass(slots=True)
class Outlook:
    """agents: N; free, wanted: expected until the point in the middle, `within` seconds from now;
    answer, deviation: the share of calls that a person answers, and what is not known of it."""

    agents: int
    free: float
    wanted: float
    within: float
    answer: float
    deviation: float
    _points: list["_Exact | _Normal"]

    def chances(self) -> Iterator[float]:
        """Of the first, second, third ... call dialled now, should a person answer it: that it
        finds no agent."""
        while True:
            yield sum(point.none_left() for point in self._points) / len(self._points)
            for point in self._points:
                point.one_more()


class _Exact:
    """X as a distribution: its last number is P(X >= N)."""

    def __init__(self, agents: int, certain: int, others: Sequence[float], each: float) -> None:
        self._each = each
        self._left = [0.0] * (agents + 1)
        self._left[min(certain, agents)] = 1.0
        for chance in others:
            self._add(chance)

    def _add(self, chance: float) -> None:
        left, stays = self._left, 1.0 - chance
        self._left = [
            left[0] * stays,
            *[below * chance + here * stays for below, here in pairwise(left[:-1])],
            left[-1] + left[-2] * chance,
        ]

    def none_left(self) -> float:
        return self._left[-1]

    def one_more(self) -> None:
        self._add(self._each)


class _Normal:
    """X by its first three cumulants. unsure: the relative error of p."""

    def __init__(
        self,
        agents: int,
        certain: int,
        others: Sequence[float],
        each: float,
        ringing: float,
        unsure: float,
    ) -> None:
        self._agents, self._each, self._ringing, self._unsure = agents, each, ringing, unsure
        squares = sum(chance * chance for chance in others)
        self._mean = sum(others)
        self._variance = self._mean - squares
        cubes = sum(chance * chance * chance for chance in others)
        self._skew = self._mean - 3.0 * squares + 2.0 * cubes
        self._mean += certain

    def none_left(self) -> float:
        variance = self._variance + (self._ringing * self._unsure) ** 2 + 1e-6
        deviation = sqrt(variance)
        z = (self._agents - 0.5 - self._mean) / deviation
        normal = 0.5 * erfc(z / sqrt(2.0))
        density = exp(-0.5 * z * z) / sqrt(2.0 * pi)
        skew = self._skew / (6.0 * variance * deviation)
        return min(1.0, max(0.0, normal + skew * (z * z - 1.0) * density))

    def one_more(self) -> None:
        each = self._each
        self._mean += each
        self._ringing += each
        self._variance += each * (1.0 - each)
        self._skew += each * (1.0 - each) * (1.0 - 2.0 * each)


def outlook(scene: Scene) -> Outlook:
    """Of the scene's campaign."""
    own = scene.learned[scene.campaign]
    agents = len(scene.agents)
    free, busy = _agents(scene, own)
    certain, ringing = _calls(scene)
    deviation = own.answers.deviation
    cautious = deviation if agents <= EXACT else 0.0
    answer = min(1.0, own.answer_rate + cautious)
    delay = own.answer_delay.left()
    after = own.greeting.mean + scene.connect_seconds
    points: list[_Exact | _Normal] = []
    seen = (0.0, 0.0, 0)
    for number, share in enumerate(POINTS):
        ring = max(1, min(MAX_RING, own.answer_delay.quantile(share)))
        until = min(MAX_UNTIL, round(ring + after))
        still = [one for group in busy for one in group.still_busy(until)]
        rung: list[float] = []
        for campaign, ages in ringing.items():
            table = scene.learned.get(campaign, own).answers_within(ring, cautious)
            for age, calls in ages.items():
                rung.extend([table[age]] * calls)
        if scene.inbound_rate:
            # A Poisson stream as many unlikely calls.
            expected = scene.inbound_rate * until
            pieces = ceil(4.0 * expected)
            rung.extend([expected / pieces] * pieces)
        each = answer * (1.0 - delay[ring])
        if number == len(POINTS) // 2:
            seen = (free + sum(1.0 - one for one in still), certain + sum(rung), until)
        if agents <= EXACT:
            points.append(_Exact(agents, certain, [*still, *rung], each))
        else:
            unsure = deviation / answer
            points.append(_Normal(agents, certain, [*still, *rung], each, sum(rung), unsure))
    return Outlook(agents, *seen, own.answer_rate, deviation, points)


class _Busy:
    """Agents who do the same: how long so far, and how long that lasts. rests: what follows it, in
    seconds that are equally likely. known: seconds until it ends at the latest."""

    def __init__(self, lasts: Durations, rests: Sequence[int]) -> None:
        self._lasts, self._rests = lasts, rests
        self.lasted: list[int] = []
        self.known: list[float] = []
        self._left: list[float] = []

    def look(self, now: int) -> None:
        self._left = self._lasts.left(now // SECOND, self.lasted)

    def still_busy(self, until: int) -> list[float]:
        """The chance of each that an agent is not free so many seconds from now."""
        left = self._left
        if len(self._rests) == 1:
            ahead = max(0, until - self._rests[0])
            chances = [left[lasted + ahead] / left[lasted] for lasted in self.lasted]
        else:
            share = 1.0 / len(self._rests)
            aheads = [max(0, until - rest) for rest in self._rests]
            chances = [
                sum([left[lasted + ahead] for ahead in aheads]) * share / left[lasted]
                for lasted in self.lasted
            ]
        if self.known:
            return [
                0.0 if known <= until else chance
                for chance, known in zip(chances, self.known, strict=True)
            ]
        return chances


def _agents(scene: Scene, own: Learned) -> tuple[int, list[_Busy]]:
    """How many are free already, and the others."""
    groups: dict[tuple[Doing, str], _Busy] = {}
    for agent in scene.agents:
        doing = agent.doing
        if doing is Doing.IDLE or (doing is Doing.OFFERED and agent.campaign):
            continue
        group = groups.get((doing, agent.campaign))
        if group is None:
            learned = scene.learned.get(agent.campaign, own)
            wraps = doing is Doing.WRAP_UP
            group = groups[doing, agent.campaign] = _Busy(
                learned.wrap_up if wraps else learned.talk, (0,) if wraps else learned.rests()
            )
        lasted = 0 if doing is Doing.OFFERED else (scene.now - agent.since) // SECOND
        group.lasted.append(max(0, min(lasted, LONGEST - MAX_UNTIL)))
        if doing is Doing.WRAP_UP:
            known = (agent.free_at - scene.now) / SECOND if agent.free_at else inf
            group.known.append(known)
    for group in groups.values():
        group.look(scene.now)
    return scene.free, list(groups.values())


def _calls(scene: Scene) -> tuple[int, dict[str, Counter[int]]]:
    """How many want an agent for sure, and the ages of those that ring, in seconds, by campaign."""
    certain = scene.waiting_before
    ringing: dict[str, Counter[int]] = {}
    now = scene.now
    for call in scene.calls:
        if call.answered_at:
            certain += 1
        else:
            age = (now - call.dialled_at) // SECOND
            if call.campaign not in ringing:
                ringing[call.campaign] = Counter()
            ringing[call.campaign][max(0, min(age, MAX_AGE))] += 1
    return certain, ringing
