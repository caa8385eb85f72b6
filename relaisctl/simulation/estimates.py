"""What recorded calls say about customers: how patient they are, how long they talk. Pure.

Patience cannot be seen of those who were answered: they would have waited for longer than they did.
Such times are *censored*, and the Kaplan-Meier estimator (1958) is made for them; as estimate of
patience in call centres: Brown et al., Statistical Analysis of a Telephone Call Center (2005).
Lengths are microseconds.
"""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby, pairwise
from math import ceil, inf, log
from random import Random

from relaisctl.simulation.recorded import SECOND, Day, services, waiting, within

MINUTE = 60 * SECOND
AT_RISK = 10
"""With fewer customers left in the queue, the estimate ends and the tail begins."""
LONGEST_WRAP_UP = MINUTE
"""A longer gap between two services, while somebody waits, is a break."""
ALL_THE_TIME = 0.9
"""Clocks of the queue and of the service differ by a second or two."""


@dataclass(frozen=True, slots=True)
class Survival:
    """How likely a customer waits longer than a time, if nobody answers.

    times, shares   after times[i] the share shares[i] is still there; both without an end that
                    fewer than AT_RISK customers have seen
    hazard          giving up per microsecond in the tail, where the estimate has ended
    """

    times: tuple[int, ...]
    shares: tuple[float, ...]
    hazard: float

    @staticmethod
    def of(waits: Iterable[tuple[int, bool]]) -> "Survival":
        """Kaplan-Meier: S(t) = product over times u <= t of (1 - gave up at u / still there at u).

        waits: how long, and whether they gave up (False: answered, censored). Who gave up at a
        time did so before others were answered at it.

        The tail is exponential, with the hazard of the whole queue (all who gave up / all time
        waited: the maximum likelihood estimate); without anybody who gave up, patience is endless.
        """
        ordered = sorted((waited, not gave_up) for waited, gave_up in waits)
        there, share = len(ordered), 1.0
        lost = sum(not answered for _, answered in ordered)
        exposure = sum(waited for waited, _ in ordered)
        times: list[int] = []
        shares: list[float] = []
        for waited, same in groupby(ordered, key=lambda wait: wait[0]):
            if there < AT_RISK and times:
                break
            gave_up, count = 0, 0
            for _, answered in same:
                count += 1
                gave_up += not answered
            if gave_up:
                share *= 1 - gave_up / there
                times.append(waited)
                shares.append(share)
            there -= count
        return Survival(tuple(times), tuple(shares), lost / exposure if exposure else 0.0)

    def at(self, time: int) -> float:
        """The share that waits longer than `time`."""
        place = bisect_left(self.times, time + 1)
        if place == 0:
            return 1.0
        return self.shares[place - 1]

    def draw(self, chance: float, beyond: int = 0) -> int | None:
        """A patience by inverse transform: the time by which the share has sunk to `chance` of
        what it was at `beyond`. None: endless.

        chance: uniform in (0, 1]. beyond: what the customer is known to have waited.
        """
        last = self.times[-1] if self.times else 0
        if beyond >= last:
            return self._tail(chance, beyond)
        left = chance * self.at(beyond)
        # The shares fall: look for the first that is at most `left`.
        place = bisect_left(self.shares, -left, key=lambda share: -share)
        if place < len(self.times):
            return self.times[place]
        return self._tail(left / self.shares[-1], last)

    def _tail(self, chance: float, begins: int) -> int | None:
        return None if self.hazard <= 0 else begins + ceil(-log(chance) / self.hazard)

    def median(self) -> float:
        """How long half of the customers would wait."""
        time = self.draw(0.5)
        return inf if time is None else float(time)


@dataclass(frozen=True, slots=True)
class Caller:
    """A customer of a simulation. patience: None is endless."""

    queue: str
    queued_at: int
    priority: int
    patience: int | None
    service: int
    wrap_up: int = 0


@dataclass(frozen=True, slots=True)
class Estimates:
    """What is drawn where a recorded call does not say it. All by queue but the wrap-ups."""

    patience: dict[str, Survival] = field(default_factory=dict)
    services: dict[str, list[int]] = field(default_factory=dict)
    priorities: dict[str, list[int]] = field(default_factory=dict)
    wrap_ups: list[int] = field(default_factory=list)

    @staticmethod
    def of(days: Sequence[Day]) -> "Estimates":
        waits: dict[str, list[tuple[int, bool]]] = {}
        talks: dict[str, list[int]] = {}
        priorities: dict[str, list[int]] = {}
        for day in days:
            for call in day.calls:
                waits.setdefault(call.queue, []).append((call.waited, call.talked is None))
                if call.talked is not None:
                    talks.setdefault(call.queue, []).append(call.talked)
                if call.priority is not None:
                    priorities.setdefault(call.queue, []).append(call.priority)
        return Estimates(
            {queue: Survival.of(own) for queue, own in waits.items()},
            talks,
            priorities,
            [length for day in days for length in wrap_ups(day)],
        )

    def callers(self, day: Day, chance: Random, wrap_up: int | None = None) -> list[Caller]:
        """The customers of a day once more.

        What is known stays as it was: who gave up after 40 s is patient for 40 s, who talked for
        five minutes does so again. The rest is drawn: patience beyond the recorded wait, the talk
        of those who gave up, unknown priorities. Every customer takes the same number of chances,
        so that one seed gives the same customers, whatever routing does with them.

        wrap_up: of everybody; None: drawn.
        """
        callers = []
        for call in day.calls:
            patience, service, priority, after = (chance.random() for _ in range(4))
            callers.append(
                Caller(
                    queue=call.queue,
                    queued_at=call.queued_at,
                    priority=(
                        _pick(self.priorities.get(call.queue), priority, 0)
                        if call.priority is None
                        else call.priority
                    ),
                    patience=(
                        call.waited
                        if call.talked is None
                        else self.patience[call.queue].draw(1 - patience, call.waited)
                    ),
                    service=(
                        _pick(self.services.get(call.queue), service, 0)
                        if call.talked is None
                        else call.talked
                    ),
                    wrap_up=_pick(self.wrap_ups, after, 0) if wrap_up is None else wrap_up,
                )
            )
        return callers


def _pick(values: Sequence[int] | None, chance: float, otherwise: int) -> int:
    return values[int(chance * len(values))] if values else otherwise


def wrap_ups(day: Day) -> list[int]:
    """How long agents of a day took from one call to the next while customers waited for them.

    A file has no wrap-ups. But an agent's gap between two services is one if somebody whom they
    serve was waiting all the time, and it is not longer than LONGEST_WRAP_UP.
    """
    found = []
    for own in services(day.calls).values():
        spans = waiting(day.calls, {call.queue for call in own})
        for before, after in pairwise(own):
            gap = after.connected - before.ended
            if 0 < gap <= LONGEST_WRAP_UP:
                covered = within(spans, before.ended, after.connected)
                if sum(ends - begins for begins, ends in covered) >= ALL_THE_TIME * gap:
                    found.append(gap)
    return found
