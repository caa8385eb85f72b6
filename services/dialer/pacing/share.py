"""A share that drifts and jumps, with its uncertainty. Pure.

Bayesian online changepoint detection (Adams and MacKay, arXiv:0710.3742) for yes and no: several
hypotheses of when the share last jumped, each with a Beta distribution of what was seen since, are
weighed by how well they foretell what comes. While nothing jumps the longest memory speaks; after
a jump a short one takes over within some tens of observations. Within a hypothesis the old fades,
too, for drift.

A new hypothesis begins with what is known anyway: the hour of the day as it was on other days, and
where that says little, all hours together.
"""

from dataclasses import dataclass, field
from math import sqrt

HOUR = 3_600_000_000
PAUSE = HOUR // 2
"""Nothing heard for so long: the next observation begins a hypothesis of its own."""
JUMPS = 1 / 2000
"""Expected jumps for each observation."""
EVERY = 8
"""A hypothesis begins after so many observations at least."""
AT_MOST = 16
FAINT = 1e-4
"""Hypotheses kept at the same time, and the weight below which one is dropped."""
KEEP = 1 - 1 / 1500
KEEP_LONG = 1 - 1 / 5000
"""What an old observation counts after one more: in a hypothesis, and in an hour and in all."""
WORTH = 8.0
"""Observations that what is known anyway is worth to a new hypothesis."""
AT_THE_HOUR = 0.2
"""Weight of the hypothesis that another hour of the day brings its own share."""


@dataclass(slots=True)
class _Since:
    """A hypothesis: what was seen since a jump. weight: relative."""

    weight: float
    hits: float
    seen: float


@dataclass(slots=True)
class Share:
    """prior: its mean before anything is known, worth WORTH observations."""

    prior: float
    count: int = 0
    _since: list[_Since] = field(default_factory=list)
    _all: list[float] = field(default_factory=list)
    _hours: list[list[float]] = field(default_factory=list)
    _last: int = 0
    _fresh: int = 0

    def __post_init__(self) -> None:
        self._since = [_Since(1.0, self.prior * WORTH, WORTH)]
        self._all = [self.prior * WORTH, WORTH]
        self._hours = [[0.0, 0.0] for _ in range(24)]

    def add(self, at: int, hit: bool) -> None:
        """at: microseconds since 1970. Those of the same time are one draw: nothing jumps between
        them, in whatever order they come."""
        hour = at // HOUR % 24
        if self.count and at - self._last > PAUSE:
            self._begin(hour, 1.0)
        elif self.count and hour != self._last // HOUR % 24:
            self._begin(hour, AT_THE_HOUR)
        elif self._fresh >= EVERY and at != self._last:
            self._begin(hour, self._fresh * JUMPS)
        total = 0.0
        for one in self._since:
            told = one.hits / one.seen
            one.weight *= told if hit else 1.0 - told
            one.hits = one.hits * KEEP + hit
            one.seen = one.seen * KEEP + 1.0
            total += one.weight
        for one in self._since:
            one.weight /= total
        for pair in (self._all, self._hours[hour]):
            pair[0] = pair[0] * KEEP_LONG + hit
            pair[1] = pair[1] * KEEP_LONG + 1.0
        self.count += 1
        self._fresh += 1
        self._last = max(self._last, at)

    def _begin(self, hour: int, weight: float) -> None:
        self._fresh = 0
        kept = sorted(
            (one for one in self._since if one.weight > FAINT), key=lambda one: -one.weight
        )[: AT_MOST - 1]
        hits, seen = self._hours[hour]
        known = (hits + WORTH * self.long) / (seen + WORTH)
        self._since = [*kept, _Since(weight, known * WORTH, WORTH)]
        total = sum(one.weight for one in self._since)
        for one in self._since:
            one.weight /= total

    @property
    def long(self) -> float:
        """Of the last thousands, whatever has jumped."""
        return self._all[0] / self._all[1]

    @property
    def mean(self) -> float:
        return sum(one.weight * one.hits / one.seen for one in self._since)

    @property
    def deviation(self) -> float:
        """Standard deviation of what the share may be: within the hypotheses and between them."""
        mean = self.mean
        second = 0.0
        for one in self._since:
            own = one.hits / one.seen
            second += one.weight * (own * (1.0 - own) / (one.seen + 1.0) + own * own)
        return sqrt(max(0.0, second - mean * mean))
