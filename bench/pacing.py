"""Agents' talking time at a legal abandonment rate, policy by policy: prints, asserts nothing.

    PYTHONPATH=.:proto python bench/pacing.py [--quick] [--agents 10 25 50 100 300]
        [--cases 30%/180s 20%/60s drift] [--hours 8] [--days 6] [--seed 1000] [--jobs 2]
        [--format json]

A simulated day of one campaign: agents who talk or are idle, and calls that people answer after
5 to 25 s of ringing, or machines that are found out, or that are busy, unobtainable, or ring for
28 s. A person's greeting lasts 1 to 2 s; without an agent 2 s after it the call is abandoned. How
long calls are handled is lognormal, with a deviation of 0.8 means; there is no wrap-up beside it:
talk share = handled time / logged-in time. Every policy plays the same days, from the same seeds.

    progressive   one call for each idle agent
    oracle        a fixed ratio, at every event anew: the best of those whose abandonment over all
                  days of the cell is at most 3 %, found by bisection on these very days; nobody can
                  know it beforehand. Two forms are searched, lines for each idle agent and lines
                  for each agent, talking ones among them, and the better one counts. A fraction of
                  a call is dialled with its probability
    adaptive      the rule of a well-known open-source dialer: lines for each agent by a level of 1
                  to 3, which moves every 15 s by the mean of ready agents less waiting calls over a
                  minute; halved when above 50 % of a minute's answers are dropped; 1.0 while above
                  3 % of the day's are
    predictive    ours, every 250 ms, knowing nothing at the start of each day

`worst` is the day with the highest abandonment. +- is a 95 % interval over the days. Larger centres
have fewer days (--days is for the smallest, and there are at least two).
"""

import argparse
import heapq
import json
import random
import statistics
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from math import exp, floor, log, pi, sin, sqrt
from typing import Any, Protocol

from services.dialer.pacing.learned import Learned
from services.dialer.pacing.policies import POLICIES
from services.dialer.pacing.scene import Agent, CallOut, Doing, Measure, Scene

SECOND = 1_000_000
HOUR = 3600.0
CAMPAIGN = "bench/campaign"
LIMIT = 0.03
RING_FOR = 28.0
PATIENCE = 2.0
SIGMA = sqrt(log(1.0 + 0.8 * 0.8))
STEADY = {"30%/180s": (0.3, 180.0), "20%/60s": (0.2, 60.0)}
CASES = (*STEADY, "drift")
T95 = (0.0, 12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26, 2.23)

Rates = Callable[[float], tuple[float, float]]
"""Seconds of the day -> share of calls that a person answers, mean handled seconds."""


def drifting(rng: random.Random, seconds: float) -> Rates:
    """Both drift over the day, and jump about once an hour."""
    phase, tide = rng.uniform(0.0, 2.0 * pi), rng.uniform(0.15, 0.35)
    jumps: list[tuple[float, float, float]] = [(0.0, rng.uniform(0.15, 0.4), rng.uniform(80, 220))]
    at = rng.expovariate(1.0 / HOUR)
    while at < seconds:
        _, answers, handled = jumps[-1]
        answers = min(0.55, max(0.1, answers * exp(rng.gauss(0.0, 0.5))))
        handled = min(300.0, max(60.0, handled * exp(rng.gauss(0.0, 0.3))))
        jumps.append((at, answers, handled))
        at += rng.expovariate(1.0 / HOUR)

    def rates(second: float) -> tuple[float, float]:
        answers, handled = next(pair[1:] for pair in reversed(jumps) if pair[0] <= second)
        wave = tide * sin(phase + 2.0 * pi * second / (6.0 * HOUR))
        return answers * (1.0 + wave), handled * (1.0 - 0.5 * wave)

    return rates


class Pacer(Protocol):
    every: float
    """Seconds between two decisions; 0: at every event."""

    def calls(self, day: "Day") -> int:
        """How many to dial now."""


@dataclass(slots=True)
class Counts:
    live: int = 0
    abandoned: int = 0
    dialled: int = 0
    handled: float = 0.0


class Day:
    """A campaign's day, event by event. `watched`: what policy predictive sees is kept, too."""

    def __init__(self, agents: int, rates: Rates, seconds: float, seed: int) -> None:
        self.agents, self.rates, self.seconds = agents, rates, seconds
        self.now = 0.0
        self.counts = Counts()
        self.happened = 0
        self.idle: deque[int] = deque(range(agents))
        self.out: dict[int, CallOut] = {}
        self.waiting: dict[int, None] = {}
        self.seats = [Agent(Doing.IDLE, 0)] * agents
        self.learned = Learned()
        self._people, self._talks = random.Random(f"{seed} people"), random.Random(f"{seed} talks")
        self._heap: list[tuple[float, int, Callable[[int, float], None], float]] = []
        self._watched = False
        self._tick: Callable[[int, float], None]

    @property
    def busy(self) -> int:
        return self.agents - len(self.idle)

    def play(self, pacer: Pacer) -> Counts:
        self._watched = isinstance(pacer, Predictive)
        if pacer.every:
            self._tick = lambda *_: self._decide(pacer)
            self._at(0.0, 0, self._tick)
        else:
            self._dial(pacer.calls(self))
        while self._heap:
            self.now, number, happen, data = heapq.heappop(self._heap)
            if self.now >= self.seconds:
                break
            happen(number, data)
            if not pacer.every:
                self._dial(pacer.calls(self))
            elif happen is not self._tick:
                self.happened += 1
        return self.counts

    def _decide(self, pacer: Pacer) -> None:
        self._dial(pacer.calls(self))
        self._at(self.now + pacer.every, 0, self._tick)

    def _at(
        self, when: float, number: int, happen: Callable[[int, float], None], data: float = 0.0
    ) -> None:
        heapq.heappush(self._heap, (when, number, happen, data))

    def _dial(self, calls: int) -> None:
        draw = self._people.random
        for _ in range(calls):
            self.counts.dialled += 1
            number = self.counts.dialled
            answers, _ = self.rates(self.now)
            who, first, second = draw(), draw(), draw()
            self.out[number] = CallOut(CAMPAIGN, int(self.now * SECOND))
            if who < answers:
                rings = 5.0 + 20.0 * (1.0 - sqrt(1.0 - first)) * (0.6 + 0.4 * second)
                self._at(self.now + rings, number, self._answered, rings)
                continue
            kind = (who - answers) / (1.0 - answers)
            if kind < 0.3:
                lasts = 11.5 + 15.0 * first + second
            elif kind < 0.4:
                lasts = 1.5 + 2.5 * first
            elif kind < 0.44:
                lasts = 1.0 + 2.0 * first
            else:
                lasts = RING_FOR
            self._at(self.now + lasts, number, self._ended, lasts)

    def _ended(self, number: int, lasted: float) -> None:
        del self.out[number]
        if self._watched:
            self.learned.unanswered(int(self.now * SECOND), int(lasted * SECOND))

    def _answered(self, number: int, rang: float) -> None:
        self.counts.live += 1
        greeting = 1.0 + self._people.random()
        self._at(self.now + greeting, number, self._greeted, greeting)
        if self._watched:
            now = int(self.now * SECOND)
            self.out[number] = CallOut(CAMPAIGN, self.out[number].dialled_at, now)
            self.learned.answered(now, int(rang * SECOND))

    def _greeted(self, number: int, greeting: float) -> None:
        if self._watched:
            self.learned.greeted(int(greeting * SECOND))
        if self.idle:
            self._connect(number)
        else:
            self.waiting[number] = None
            self._at(self.now + PATIENCE, number, self._late)

    def _late(self, number: int, _: float) -> None:
        if number in self.waiting:
            del self.waiting[number], self.out[number]
            self.counts.abandoned += 1

    def _connect(self, number: int) -> None:
        del self.out[number]
        agent = self.idle.popleft()
        _, mean = self.rates(self.now)
        lasts = mean * exp(self._talks.gauss(-0.5 * SIGMA * SIGMA, SIGMA))
        self.counts.handled += min(lasts, self.seconds - self.now)
        self._at(self.now + lasts, agent, self._free, lasts)
        if self._watched:
            self.seats[agent] = Agent(Doing.TALKING, int(self.now * SECOND), CAMPAIGN)

    def _free(self, agent: int, lasted: float) -> None:
        self.idle.append(agent)
        if self._watched:
            self.seats[agent] = Agent(Doing.IDLE, int(self.now * SECOND))
            self.learned.talked(int(lasted * SECOND))
            self.learned.wrapped_up(0)
        if self.waiting:
            number = next(iter(self.waiting))
            del self.waiting[number]
            self._connect(number)


class Ratio:
    """A fixed one. The fraction of a call is drawn again when the number of idle agents changes."""

    every = 0.0

    def __init__(self, ratio: float, of_all: bool) -> None:
        self._ratio, self._of_all = ratio, of_all
        self._rng = random.Random(0)
        self._idle, self._fraction = -1, 0.0

    def calls(self, day: Day) -> int:
        idle = len(day.idle)
        if idle != self._idle:
            self._idle, self._fraction = idle, self._rng.random()
        lines = self._ratio * day.agents - day.busy if self._of_all else self._ratio * idle
        return max(0, floor(lines + self._fraction) - len(day.out))


class Adaptive:
    every = 1.0
    TARGET, MAX_LEVEL, HALVED, STEP = 0.0, 3.0, 20, 15

    def __init__(self) -> None:
        self._level = 1.0
        self._second = 0
        self._spare: deque[int] = deque(maxlen=60)
        self._history: deque[tuple[int, int]] = deque([(0, 0)], maxlen=61)

    def calls(self, day: Day) -> int:
        self._second += 1
        counts = day.counts
        self._spare.append(len(day.idle) - len(day.waiting))
        self._history.append((counts.live, counts.abandoned))
        if self._second % self.STEP == 0:
            spare = sum(self._spare) / len(self._spare)
            level = self._level * (1.0 + (spare + self.TARGET) / day.agents)
            self._level = min(self.MAX_LEVEL, max(1.0, level))
            live, abandoned = self._history[0]
            answers, dropped = counts.live - live, counts.abandoned - abandoned
            if answers > self.HALVED and dropped > 0.5 * answers:
                self._level = max(1.0, 0.5 * self._level)
            if counts.live > 50 and counts.abandoned > LIMIT * counts.live:
                self._level = 1.0
        return max(0, floor(self._level * day.agents + 1e-9) - day.busy - len(day.out))


class Predictive:
    """Asked every 250 ms; where nothing has happened since, once a second is enough."""

    every = 0.25

    def __init__(self) -> None:
        self.seconds = 0.0
        self.decisions = 0
        self._asked = -1.0
        self._happened = -1

    def calls(self, day: Day) -> int:
        if day.happened == self._happened and day.now < self._asked + 1.0:
            return 0
        self._happened, self._asked = day.happened, day.now
        counts = day.counts
        scene = Scene(
            now=int(day.now * SECOND),
            campaign=CAMPAIGN,
            agents=day.seats,
            calls=tuple(day.out.values()),
            learned={CAMPAIGN: day.learned},
            measure=Measure(
                counts.live, counts.abandoned, LIMIT, LIMIT, 0, int(day.seconds * SECOND)
            ),
        )
        began = time.process_time()
        decision = POLICIES["predictive"](scene)
        self.seconds += time.process_time() - began
        self.decisions += 1
        return decision.calls


@dataclass(frozen=True, slots=True)
class Run:
    """One day to play, and what came of it."""

    agents: int
    case: str
    seconds: float
    seed: int
    policy: str
    ratio: float = 1.0

    def play(self) -> "Played":
        if self.case in STEADY:
            steady = STEADY[self.case]
            rates: Rates = lambda _: steady  # noqa: E731
        else:
            rates = drifting(random.Random(f"{self.seed} rates"), self.seconds)
        pacer: Pacer
        if self.policy == "predictive":
            pacer = Predictive()
        elif self.policy == "adaptive":
            pacer = Adaptive()
        else:
            pacer = Ratio(self.ratio, of_all=self.policy == "lines for each agent")
        counts = Day(self.agents, rates, self.seconds, self.seed).play(pacer)
        took = pacer.seconds / pacer.decisions if isinstance(pacer, Predictive) else 0.0
        return Played(
            counts.handled / (self.agents * self.seconds),
            counts.abandoned,
            counts.live,
            counts.dialled,
            took,
        )


@dataclass(frozen=True, slots=True)
class Played:
    share: float
    abandoned: int
    live: int
    dialled: int
    took: float


@dataclass(slots=True)
class Row:
    case: str
    agents: int
    policy: str
    days: list[Played]
    detail: str = ""
    abandonment: float = field(init=False)

    def __post_init__(self) -> None:
        live = sum(day.live for day in self.days)
        self.abandonment = sum(day.abandoned for day in self.days) / max(1, live)

    def figures(self, hours: float) -> dict[str, Any]:
        shares = [day.share for day in self.days]
        return {
            "case": self.case,
            "agents": self.agents,
            "policy": self.policy,
            "days": len(self.days),
            "talk_share": statistics.fmean(shares),
            "talk_share_interval": interval(shares),
            "abandonment": self.abandonment,
            "worst_abandonment": max(day.abandoned / max(1, day.live) for day in self.days),
            "calls_per_agent_hour": sum(day.dialled for day in self.days)
            / (self.agents * hours * len(self.days)),
            "decision_ms": 1000.0 * statistics.fmean(day.took for day in self.days),
            "detail": self.detail,
        }


def interval(values: Sequence[float]) -> float:
    """Half the width of a 95 % interval of their mean, by Student's t."""
    if len(values) < 2:
        return float("nan")
    degrees = min(len(values) - 1, len(T95) - 1)
    return T95[degrees] * statistics.stdev(values) / sqrt(len(values))


class Field:
    """Plays days in processes of their own, and says how many were played."""

    def __init__(self, jobs: int) -> None:
        self._pool = ProcessPoolExecutor(jobs)
        self._played = 0
        self._began = time.monotonic()

    def close(self) -> None:
        self._pool.shutdown()

    def play(self, runs: Sequence[Run]) -> list[Played]:
        played = []
        for run, result in zip(runs, self._pool.map(Run.play, runs), strict=True):
            played.append(result)
            self._played += 1
            print(
                f"\r{self._played} days, {time.monotonic() - self._began:.0f} s: "
                f"{run.case}, {run.agents} agents, {run.policy:<24}",
                end="",
                file=sys.stderr,
                flush=True,
            )
        return played


def oracle(arena: Field, case: str, agents: int, seconds: float, seeds: Sequence[int]) -> Row:
    best: Row | None = None
    for form, low, high in (
        ("lines for each idle agent", 1.0, 12.0),
        ("lines for each agent", 1.0, 4.0),
    ):
        for _ in range(11):
            ratio = 0.5 * (low + high)
            runs = [Run(agents, case, seconds, seed, form, ratio) for seed in seeds]
            row = Row(case, agents, "oracle", arena.play(runs), f"{ratio:.2f} {form}")
            if row.abandonment > LIMIT:
                high = ratio
                continue
            low = ratio
            if best is None or share(row) > share(best):
                best = row
    assert best is not None
    return best


def share(row: Row) -> float:
    return statistics.fmean(day.share for day in row.days)


def cell(
    arena: Field, case: str, agents: int, seconds: float, seeds: Sequence[int]
) -> Iterator[Row]:
    for policy, played in (("progressive", "lines for each idle agent"), ("adaptive", "adaptive")):
        runs = [Run(agents, case, seconds, seed, played) for seed in seeds]
        yield Row(case, agents, policy, arena.play(runs))
    yield oracle(arena, case, agents, seconds, seeds)
    runs = [Run(agents, case, seconds, seed, "predictive") for seed in seeds]
    yield Row(case, agents, "predictive", arena.play(runs))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--agents", type=int, nargs="+", default=[10, 25, 50, 100, 300])
    parser.add_argument("--cases", nargs="+", choices=CASES, default=CASES)
    parser.add_argument("--hours", type=float, default=8.0)
    parser.add_argument("--days", type=int, default=6)
    parser.add_argument("--seed", type=int, default=1000)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument(
        "--quick", action="store_true", help="10 and 25 agents, two days of 4 hours"
    )
    parser.add_argument("--format", choices=("table", "json"), default="table")
    args = parser.parse_args()
    if args.quick:
        args.agents, args.hours, args.days = [10, 25], 4.0, 2
    arena, rows = Field(args.jobs), []
    if args.format == "table":
        print(
            f"{'case':<9} {'agents':>6} {'policy':<12} {'talk share':>16} {'abandoned':>9} "
            f"{'worst':>7} {'calls/agent h':>13}"
        )
    for case in args.cases:
        for agents in args.agents:
            days = max(2, min(args.days, round(args.days * 30 / (agents + 20))))
            seeds = range(args.seed, args.seed + days)
            found: dict[str, Row] = {}
            for row in cell(arena, case, agents, args.hours * HOUR, seeds):
                found[row.policy] = row
                figures = row.figures(args.hours)
                if row.policy == "predictive":
                    gains = [
                        ours.share - theirs.share
                        for ours, theirs in zip(row.days, found["oracle"].days, strict=True)
                    ]
                    figures["over_oracle"] = statistics.fmean(gains)
                    figures["over_oracle_interval"] = interval(gains)
                rows.append(figures)
                if args.format == "table":
                    print("\r" + line(figures), flush=True)
    arena.close()
    if args.format == "json":
        json.dump(rows, sys.stdout, indent=2)
        print()


def line(figures: dict[str, Any]) -> str:
    text = (
        f"{figures['case']:<9} {figures['agents']:>6} {figures['policy']:<12} "
        f"{figures['talk_share']:>8.2%} +- {figures['talk_share_interval'] * 100:>4.2f} "
        f"{figures['abandonment']:>9.2%} {figures['worst_abandonment']:>7.2%} "
        f"{figures['calls_per_agent_hour']:>13.1f}"
    )
    if "over_oracle" in figures:
        text += (
            f"  oracle {figures['over_oracle'] * 100:+.2f} +- "
            f"{figures['over_oracle_interval'] * 100:.2f} points, {figures['decision_ms']:.2f} ms"
        )
    return f"{text}  {figures['detail']}"


if __name__ == "__main__":
    main()
