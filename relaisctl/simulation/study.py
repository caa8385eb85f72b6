"""Scenarios side by side, day by day, with the same customers in all of them. Pure, but for using
the machine's processors.

Days are simulated one by one: no call waits over the night, and a day has a pool of its own.
"""

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from random import Random

from relaisctl.simulation import centre, measures
from relaisctl.simulation.centre import Rules
from relaisctl.simulation.estimates import Estimates
from relaisctl.simulation.measures import Sums
from relaisctl.simulation.recorded import Day
from relaisctl.simulation.roster import Roster

FEWEST_RUNS = 20
"""So many days at least, each as often as it takes: a confidence interval needs some."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """A policy and a roster. agents, what_if: what the roster is called, and how it is changed.

    against: the place of the scenario that it is compared with; None: of none.
    """

    policy: str
    agents: str
    what_if: str
    roster: Roster
    rules: Rules
    against: int | None


@dataclass(frozen=True, slots=True)
class Study:
    """runs: which day is simulated, by its place in `days`, and how often it was before.

    wrap_up: of every call; None: drawn from the estimates.
    """

    days: Sequence[Day]
    runs: Sequence[tuple[int, int]]
    estimates: Estimates
    scenarios: Sequence[Scenario]
    seed: int
    wrap_up: int | None


@dataclass(frozen=True, slots=True)
class Ran:
    """One run: its sums in each scenario, the calls of all of them, the commands that they took."""

    day: int
    sums: list[Sums]
    calls: int
    commands: int


def schedule(days: int, runs: int, seed: int) -> list[tuple[int, int]]:
    """So many runs: all days in turn, in order first, then shuffled anew in each round."""
    chance, order = Random(seed), list(range(days))
    found: list[tuple[int, int]] = []
    while len(found) < runs:
        round_, place = divmod(len(found), days)
        if round_ and place == 0:
            chance.shuffle(order)
        found.append((order[place], round_))
    return found


def run_one(study: Study, number: int) -> Ran:
    """One day in all scenarios. Its customers follow from the seed, the day and the round alone."""
    place, round_ = study.runs[number]
    day = study.days[place]
    chance = Random(f"{study.seed}/{day.day}/{round_}")
    callers = study.estimates.callers(day, chance, study.wrap_up)
    sums, commands = [], 0
    for scenario in study.scenarios:
        result = centre.run(callers, scenario.roster(day), day.begins, scenario.rules)
        sums.append(measures.count(callers, result.outcomes, result.work, scenario.rules))
        commands += result.commands
    return Ran(place, sums, len(callers) * len(sums), commands)


def run(study: Study, jobs: int, progress: Callable[[int, int], None]) -> list[Ran]:
    """All runs, in order, on so many processors. progress: is told runs and calls so far."""
    ran: list[Ran] = []
    calls = 0
    with _results(study, jobs) as results:
        for one in results:
            ran.append(one)
            calls += one.calls
            progress(len(ran), calls)
    return ran


@contextmanager
def _results(study: Study, jobs: int) -> Iterator[Iterator[Ran]]:
    numbers = range(len(study.runs))
    if jobs == 1:
        with without_gc():
            yield (run_one(study, number) for number in numbers)
        return
    # A forked process has the study already: rosters are functions, and many megabytes of days.
    global _study
    _study = study
    with get_context("fork").Pool(jobs, initializer=gc.disable) as pool:
        yield pool.imap(_run_forked, numbers, chunksize=2)


_study: Study


def _run_forked(number: int) -> Ran:
    return run_one(_study, number)


@contextmanager
def without_gc() -> Iterator[None]:
    """A simulation makes no cycles, and so many objects that looking for them takes a third."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def by_cluster(study: Study, ran: Sequence[Ran]) -> list[list[Sums]]:
    """What counts as independent: the recorded days, each with all its runs; of a single day, the
    runs."""
    if len(study.days) == 1:
        return [one.sums for one in ran]
    clusters: dict[int, list[Sums]] = {}
    for one in ran:
        known = clusters.get(one.day)
        if known is None:
            clusters[one.day] = [sums.copy() for sums in one.sums]
        else:
            for mine, more in zip(known, one.sums, strict=True):
                mine.update(more)
    return list(clusters.values())
