"""A share that drifts and jumps, with its uncertainty: a Beta distribution that forgets. Pure.

Several memories run side by side, from tens of observations to thousands. Each is weighed by how
well it has foretold the latest observations (dynamic model averaging: Raftery, Karny and Ettler,
Technometrics 52(1), 2010), so that a long memory speaks while the share is steady, and a short one
takes over within tens of observations when it jumps.
"""

from math import sqrt

MEMORIES = (30.0, 120.0, 500.0, 2000.0)
"""Observations after which an old one counts 1/e."""
_WEIGHT_MEMORY = 0.97
"""Exponent of a model's weight at each step: old successes of a model are forgotten, too."""


class Share:
    """prior: its mean before anything is known, worth `weight` observations, which are never
    forgotten entirely: they fade with the first `weight` real ones."""

    __slots__ = ("_hits", "_models", "_prior", "_seen", "_weight", "count")

    def __init__(self, prior: float, weight: float) -> None:
        self._prior, self._weight = prior, weight
        self._hits = [prior * weight] * len(MEMORIES)
        self._seen = [weight] * len(MEMORIES)
        self._models = [1.0 / len(MEMORIES)] * len(MEMORIES)
        self.count = 0

    def add(self, at: int, hit: bool) -> None:
        self.count += 1
        total = 0.0
        for number, memory in enumerate(MEMORIES):
            keep = 1.0 - 1.0 / memory
            mean = self._hits[number] / self._seen[number]
            told = (mean if hit else 1.0 - mean) + 1e-3
            self._models[number] = self._models[number] ** _WEIGHT_MEMORY * told
            total += self._models[number]
            self._hits[number] = self._hits[number] * keep + hit
            self._seen[number] = self._seen[number] * keep + 1.0
        self._models = [model / total for model in self._models]

    @property
    def mean(self) -> float:
        return sum(
            model * hits / seen
            for model, hits, seen in zip(self._models, self._hits, self._seen, strict=True)
        )

    @property
    def deviation(self) -> float:
        """Standard deviation of what the share may be: within the models and between them."""
        mean = self.mean
        second = 0.0
        for model, hits, seen in zip(self._models, self._hits, self._seen, strict=True):
            own = hits / seen
            second += model * (own * (1.0 - own) / (seen + 1.0) + own * own)
        return sqrt(max(0.0, second - mean * mean))
