"""How long something lasts, learned as a hazard: the rate at which it ends after so many seconds.

A duration says of each bin of time that it was lived through, and of the last one that it ended
there; one that still runs says only how long it has lived (Nelson and Aalen's estimate, with
censoring). What is old fades, and by when it happened: what is lived now counts in full, whether it
has ended or not, and what was lived at the beginning of a long one counts less. Only so are those
that run, which are the long ones, neither missed in the beginning nor counted twice later. Where
little was seen a common rate speaks, as of an exponential distribution. Pure.
"""

from bisect import bisect_right
from collections.abc import Iterable
from itertools import accumulate, pairwise
from math import exp

LONGEST = 3600
"""Seconds; what lasts longer counts as so long."""
REFRESH_COUNT = 8
REFRESH_SECONDS = 5
"""The table is made anew after so many durations, or seconds: it takes a millisecond."""


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
    memory: after so many durations an old one counts 1/e. smooth: as if so many more had lived
    through each bin, at the common rate: it speaks where few have been yet, of whom one that ends
    would make a cliff for all. 1 where the ends are sharp and seen by many."""

    __slots__ = (
        "_built",
        "_ended",
        "_expected",
        "_fade",
        "_growth",
        "_left",
        "_lived",
        "_mean",
        "_memory",
        "_prior",
        "_seconds",
        "_smooth",
        "_unit",
        "count",
    )

    def __init__(self, mean: float, worth: float, memory: float, smooth: float = 1.0) -> None:
        self._ended = [0.0] * len(WIDTHS)
        self._lived = [0.0] * len(WIDTHS)
        # The newest counts _unit, ever more: cheaper than to make all others count less.
        self._growth = 1.0 + 1.0 / memory
        self._unit = 1.0
        self._memory = memory
        # By how much what was lived a second before counts less: so many end in a second, by
        # Little's law, where so many run.
        self._fade = 0.0
        self._seconds = [worth * mean, worth]
        self._prior, self._expected = worth, mean
        self._mean = mean
        self._smooth = smooth
        self._built = (0, 0)
        self._left: list[float] = []
        self.count = 0

    def add(self, lasted: float) -> None:
        """One has ended after so many seconds."""
        self.count += 1
        self._unit *= self._growth
        lasted = min(max(lasted, 0.0), LONGEST - 1e-6)
        last = _BIN_OF[int(lasted)]
        fade, unit, lived = self._fade, self._unit, self._lived
        for number in range(last):
            lived[number] += unit * exp(fade * (EDGES[number + 1] - lasted)) if fade else unit
        lived[last] += unit * (lasted - EDGES[last]) / WIDTHS[last]
        self._ended[last] += self._unit
        self._seconds[0] += self._unit * lasted
        self._seconds[1] += self._unit
        self._mean = self._seconds[0] / self._seconds[1]
        if self._unit > 1e9:
            self._ended = [one / self._unit for one in self._ended]
            self._lived = [one / self._unit for one in self._lived]
            self._seconds = [one / self._unit for one in self._seconds]
            self._prior /= self._unit
            self._unit = 1.0

    @property
    def mean(self) -> float:
        """Of those that have ended."""
        return self._mean

    def left(self, at: int | None = None, running: Iterable[float] = ()) -> list[float]:
        """The share that lasts longer, for each whole second from 0 to LONGEST; never quite zero.

        at: now, in seconds of any clock. running: how long unfinished ones have lasted so far; they
        are looked at when the table is made anew.
        """
        count, second = self._built
        if (
            not self._left
            or self.count >= count + REFRESH_COUNT
            or (at is not None and not second <= at < second + REFRESH_SECONDS)
        ):
            self._left = self._tabulate(sorted(running))
            self._built = (self.count, second if at is None else at)
        return self._left

    def _tabulate(self, running: list[float]) -> list[float]:
        ended = [one / self._unit for one in self._ended]
        lived = [one / self._unit for one in self._lived]
        fade = self._fade = len(running) / (self._mean * self._memory)
        # From the longest on; through: what those who have lived through a bin count there.
        through, at = 0.0, len(running)
        top = bisect_right(EDGES, running[-1]) if running else 0
        for number in reversed(range(min(top, len(WIDTHS)))):
            began, width = EDGES[number], WIDTHS[number]
            lived[number] += through
            through *= exp(-fade * width)
            while at and running[at - 1] > began:
                at -= 1
                lived[number] += min(1.0, (running[at] - began) / width)
                through += exp(-fade * (running[at] - began))
        seconds = sum(one * width for one, width in zip(lived, WIDTHS, strict=True))
        # Of all who have lived, since those who ended first are the short ones.
        prior = self._prior / self._unit
        rate = (sum(ended) + prior) / (seconds + prior * self._expected)
        smooth = self._smooth
        hazards = [
            (gone + smooth * rate * width) / ((here + smooth) * width)
            for gone, here, width in zip(ended, lived, WIDTHS, strict=True)
        ]
        rates = (hazards[number] for number in _BIN_OF)
        return [exp(-min(total, 600.0)) for total in accumulate(rates, initial=0.0)]

    def quantile(self, share: float) -> int:
        """The first whole second at which so large a share has ended."""
        left = self.left()
        for second, lasting in enumerate(left):
            if 1.0 - lasting >= share:
                return second
        return LONGEST
