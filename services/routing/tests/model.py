"""Millions of random commands, and what must hold after each of them.

    python -m services.routing.tests.model --commands 5000000 --seed 1

Each episode is a new world (world.py) with two pools, and a walk of its own (walk.py). When
something does not hold, the episode's commands are shrunk to the few that are needed.
"""

import argparse
import random
import sys
import time
import traceback
from collections import Counter, deque
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass, field, replace

from services.routing import commands as c
from services.routing.tests.walk import Walk
from services.routing.tests.world import ANSWERS, World

EPISODE = 1_500


@dataclass
class Failure:
    """What does not hold, where, and the commands after which it does not."""

    what: str
    log: list[c.Command]
    answers: set[str]
    """The commands that answered an open offer."""


@dataclass
class Report:
    commands: int = 0
    seconds: float = 0.0
    seen: Counter[str] = field(default_factory=Counter)
    failures: list[Failure] = field(default_factory=list)


def episode(seed: str, commands: int = EPISODE) -> tuple[World, Failure | None]:
    """One world and one walk."""
    rng = random.Random(seed)
    world = World()
    try:
        for command in commands_for(world, rng, commands):
            world.apply(command)
    except Exception as error:
        return world, Failure(what_failed(error), world.log, world.answers)
    return world, None


def commands_for(world: World, rng: random.Random, commands: int) -> Iterator[c.Command]:
    walk = Walk(world, rng)
    yield from walk.opening()
    while len(world.log) < commands:
        yield walk.next()


def what_failed(error: Exception) -> str:
    """The same for the same mistake."""
    place = traceback.extract_tb(error.__traceback__)[-1]
    return f"{place.filename.rsplit('/', 1)[-1]}:{place.lineno}: {place.line}: {error}"


def replay(log: Sequence[c.Command], answers: Container[str] = ()) -> Failure | None:
    """The commands again, in a new world; take-overs only where they were sent.

    answers: the commands that answered an open offer. Where others are left out, that offer has
    another number.
    """
    world = World()
    try:
        for command in log:
            body = command.body
            if isinstance(body, c.TakeOverCall) and not deliverable(world, command, body):
                continue
            if isinstance(body, ANSWERS) and command.command_id in answers:
                open_offer = world.open_offer(command.pool_id, body.agent_id)
                if open_offer:
                    command = replace(command, body=replace(body, offer_id=open_offer))
            world.clock = max(world.clock, command.occurred_at)
            world.apply(command)
    except Exception as error:
        return Failure(what_failed(error), world.log, world.answers)
    return None


def deliverable(world: World, command: c.Command, body: c.TakeOverCall) -> bool:
    """Whether it has been sent, by now; then it is no longer on its way."""
    if body.from_pool_id not in world.pools or command in world.log:
        return True
    post = world.posts.get((body.from_pool_id, command.pool_id), deque())
    for sent in post:
        if (sent.body, sent.command_id) == (body, command.command_id):
            post.remove(sent)
            return True
    return False


def shrink(failure: Failure, seconds: float = 120) -> Failure:
    """Leave commands out as long as the same does not hold."""
    until = time.monotonic() + seconds
    log, size = failure.log, len(failure.log) // 2
    while size >= 1 and time.monotonic() < until:
        start, smaller = 0, False
        while start < len(log) and time.monotonic() < until:
            shorter = replay([*log[:start], *log[start + size :]], failure.answers)
            if shorter is not None and shorter.what == failure.what:
                log, smaller = shorter.log, True
            else:
                start += size
        if not smaller or size > 1:
            size //= 2
    return Failure(failure.what, log, failure.answers)


def run(commands: int, seed: str, *, failures: int = 1) -> Report:
    """So many commands; the shrunk failures of the first episodes that have one."""
    report, began, shown, number = Report(), time.monotonic(), 0.0, 0
    while report.commands < commands and len(report.failures) < failures:
        name = f"{seed}/{number}"
        world, failure = episode(name, min(EPISODE, commands - report.commands))
        number += 1
        report.commands += len(world.log)
        report.seen += world.seen
        report.seconds = time.monotonic() - began
        if failure is not None:
            say(f"\nepisode {name}: {failure.what}\nshrinking ...\n")
            report.failures.append(shrink(failure))
        if report.seconds - shown >= 1 or report.commands >= commands:
            shown = report.seconds
            rate = report.commands / report.seconds
            done = f"{report.commands:,} of {commands:,} commands, {number:,} episodes"
            say(f"\r{done}, {rate:,.0f} commands/s ")
    return report


def say(text: str) -> None:
    print(text, end="", file=sys.stderr, flush=True)


def told(failure: Failure) -> str:
    lines = [
        f"  {each.pool_id} {each.command_id} {each.client_id} {each.occurred_at} {each.body}"
        for each in failure.log
    ]
    return "\n".join((f"{failure.what}\nafter these {len(lines)} commands:", *lines))


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--commands", type=int, default=1_000_000)
    parser.add_argument("--seed", default="1")
    parser.add_argument("--failures", type=int, default=1, help="stop after so many")
    parser.add_argument("--episode", help="only this one, as a failure names it")
    options = parser.parse_args()
    if options.episode:
        world, failure = episode(options.episode)
        report = Report(len(world.log), 0.0, world.seen, [shrink(failure)] if failure else [])
    else:
        report = run(options.commands, options.seed, failures=options.failures)
    for name, count in sorted(report.seen.items()):
        print(f"{count:>12,}  {name}")
    for failure in report.failures:
        print(told(failure))
    print(f"{report.commands:,} commands, {len(report.failures)} failures")
    return 1 if report.failures else 0


if __name__ == "__main__":
    sys.exit(main())
