"""How long something lasts, learned as a hazard: the rate at which it ends after so many seconds.

A duration says of each bin of time that it was lived through, and of the last one that it ended
there; one that still runs says only how long it has lived (Nelson and Aalen's estimate, with
censoring). What is old fades. Before anything was seen, and where nothing was, a constant rate
speaks, the one of an exponential distribution. Pure.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from itertools import accumulate, pairwise
from math import exp

LONGEST = 3600
"""Seconds; what lasts longer counts as so long."""
REFRESH_COUNT = 8
REFRESH_SECONDS = 5
"""The table is made anew after so many durations, or seconds: it takes a millisecond."""
FEW = 3
"""Ended ones for each that runs."""


def _edges() -> list[float]:
    """A second each for a minute, then wider by and by, by a fortieth."""
    edges = [float(second) for second in range(61)]
    while edges[-1] < LONGEST:
        edges.append(min(float(LONGEST), edges[-1] * 1.025 + 1.0))
    return edges


EDGES = _edges()
WIDTHS = [after - before for before, after in pairwise(EDGES)]
_BIN_OF = [bisect_right(EDGES, second) - 1 for second in range(LONGEST)]


class Durations:
    """Seconds. mean: before anything is known; worth: in how many durations that is forgotten;
    memory: after so many durations an old one counts 1/e."""

    __slots__ = (
        "_built",
        "_ended",
        "_growth",
        "_left",
        "_lived",
        "_mean",
        "_seconds",
        "_unit",
        "count",
    )

    def __init__(self, mean: float, worth: float, memory: float) -> None:
        self._ended = [0.0] * len(WIDTHS)
        self._lived = [0.0] * len(WIDTHS)
        # The newest counts _unit, ever more: cheaper than to make all others count less.
        self._growth = 1.0 + 1.0 / memory
        self._unit = 1.0
        self._seconds = [worth * mean, worth]
        self._mean = mean
        self._built = (0, 0)
        self._left: list[float] = []
        self.count = 0

    def add(self, lasted: float) -> None:
        """One has ended after so many seconds."""
        self.count += 1
        self._unit *= self._growth
        lasted = min(max(lasted, 0.0), LONGEST - 1e-6)
        last = _BIN_OF[int(lasted)]
        for number in range(last):
            self._lived[number] += self._unit
        self._lived[last] += self._unit * (lasted - EDGES[last]) / WIDTHS[last]
        self._ended[last] += self._unit
        self._seconds[0] += self._unit * lasted
        self._seconds[1] += self._unit
        self._mean = self._seconds[0] / self._seconds[1]
        if self._unit > 1e9:
            self._ended = [one / self._unit for one in self._ended]
            self._lived = [one / self._unit for one in self._lived]
            self._seconds = [one / self._unit for one in self._seconds]
            self._unit = 1.0

    @property
    def mean(self) -> float:
        """Of those that have ended."""
        return self._mean

    def left(self, at: int | None = None, running: Iterable[float] = ()) -> list[float]:
        """The share that lasts longer, for each whole second from 0 to LONGEST; never quite zero.

        at: now, in seconds of any clock. running: how long unfinished ones have lasted so far; they
        are looked at when the table is made anew, and count while few have ended: the ended ones
        are the short ones then. Later those that ended tell it all, and who runs is soon one.
        """
        count, second = self._built
        if (
            not self._left
            or self.count >= count + REFRESH_COUNT
            or (at is not None and not second <= at < second + REFRESH_SECONDS)
        ):
            unfinished = sorted(running)
            if self.count > FEW * len(unfinished):
                unfinished = []
            self._left = self._tabulate(unfinished)
            self._built = (self.count, second if at is None else at)
        return self._left

    def _tabulate(self, running: list[float]) -> list[float]:
        rate = 1.0 / self._mean
        # As if one more had lived through each bin: where little was seen, the common rate speaks.
        worth = 1.0
        hazards = []
        for number, width in enumerate(WIDTHS):
            lived, ended = self._lived[number] / self._unit, self._ended[number] / self._unit
            if running and running[-1] > EDGES[number]:
                lived += len(running) - bisect_left(running, EDGES[number + 1])
                first = bisect_left(running, EDGES[number])
                for one in running[first : bisect_left(running, EDGES[number + 1])]:
                    lived += (one - EDGES[number]) / width
            hazards.append((ended + worth * rate * width) / ((lived + worth) * width))
        rates = (hazards[number] for number in _BIN_OF)
        return [exp(-min(total, 600.0)) for total in accumulate(rates, initial=0.0)]

    def quantile(self, share: float) -> int:
        """The first whole second at which so large a share has ended."""
        left = self.left()
        for second, lasting in enumerate(left):
            if 1.0 - lasting >= share:
                return second
        return LONGEST
