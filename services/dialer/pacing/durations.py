"""How long something lasts, learned as a hazard: the rate at which it ends after so many seconds.

A duration says of each bin that it was lived through, and of the last one that it ended there
(Nelson-Aalen). Pure.
"""

from bisect import bisect_right
from collections.abc import Iterable
from math import exp

LONGEST = 3600
"""Seconds; what lasts longer counts as so long."""


def _edges() -> list[float]:
    """A second each for a minute, then wider by and by: a fortieth of the time before."""
    edges = [float(second) for second in range(61)]
    while edges[-1] < LONGEST:
        edges.append(min(float(LONGEST), edges[-1] * 1.025 + 1.0))
    return edges


EDGES = _edges()
_BINS = len(EDGES) - 1


class Durations:
    """Seconds. mean: before anything is known, as an exponential distribution worth `weight`
    durations; memory: after so many durations an old one counts 1/e."""

    __slots__ = ("_ended", "_lived", "_prior", "_scale", "_stale", "_table", "_total", "count")

    def __init__(self, mean: float, weight: float, memory: float) -> None:
        self._prior = (weight, weight * mean)
        self._ended = [0.0] * _BINS
        self._lived = [0.0] * _BINS
        self._scale = 1.0 / memory
        self._total = 1.0
        self._stale = True
        self._table: list[float] = []
        self.count = 0

    def add(self, lasted: float) -> None:
        """It has ended after so many seconds."""
        self.count += 1
        self._total *= 1.0 + self._scale
        lasted = min(max(lasted, 0.0), LONGEST - 1e-6)
        last = bisect_right(EDGES, lasted) - 1
        for number in range(last):
            self._lived[number] += self._total * (EDGES[number + 1] - EDGES[number])
        self._lived[last] += self._total * (lasted - EDGES[last])
        self._ended[last] += self._total
        if self._total > 1e12:
            self._ended = [one / self._total for one in self._ended]
            self._lived = [one / self._total for one in self._lived]
            self._total = 1.0
        self._stale = True

    def hazard(self, running: Iterable[float] = ()) -> list[float]:
        """Cumulative hazard at each whole second from 0 to LONGEST: exp(-it) is the share that
        lasts longer. running: seconds that unfinished ones have lasted so far."""
        if self._stale or not self._table:
            self._table = self._tabulate(running)
            self._stale = False
        return self._table

    def _tabulate(self, running: Iterable[float]) -> list[float]:
        events, seconds = self._prior
        rate = events / seconds
        table, total, second = [0.0], 0.0, 0
        for number in range(_BINS):
            ended, lived = self._ended[number] / self._total, self._lived[number] / self._total
            # The prior speaks where little was seen: one event's worth in each bin.
            width = EDGES[number + 1] - EDGES[number]
            hazard = (ended + 0.5 * rate * width) / (lived + 0.5 * width)
            while second < LONGEST and second + 1 <= EDGES[number + 1]:
                second += 1
                table.append(total + hazard * (second - EDGES[number]))
            total += hazard * width
        return table

    def ends_within(self, lasted: float, seconds: float) -> float:
        """The chance that it ends within so many seconds more, having lasted so long."""
        table = self.hazard()
        at = min(int(lasted), LONGEST)
        then = min(int(lasted + seconds), LONGEST)
        return 1.0 - exp(table[at] - table[then])
