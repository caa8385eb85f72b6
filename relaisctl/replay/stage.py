"""Puts a play on: the pool, the clock, the progress on standard error, and the summary."""

import asyncio
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from math import ceil

import typer

from eventkit.clock import SystemClock
from relaisctl.errors import INTERRUPTED
from relaisctl.replay.live import (
    SECOND,
    Habits,
    Play,
    QueueRules,
    ScriptedAgent,
    ScriptedCall,
    Tally,
)
from relaisctl.replay.player import play, start_of
from relaisctl.replay.rpc import Routing
from relaisctl.show import Bars

HABITS = Habits()
OFFER_SECONDS = 20
REACTION_S = 1.0
"""Real seconds that a way through gRPC and Kafka may take: in a fast play they are minutes."""
DRAIN = 600 * SECOND


@dataclass(frozen=True, slots=True)
class Played:
    """What a play came to."""

    pool: str
    run: str
    begins: str
    ends: str
    """Pool time, UTC."""
    calls: int
    arrived: int
    answered: int
    abandoned: int
    left_before_queue: int
    still_open: int
    offers_not_answered: int
    agents: int
    reports_sent_again: int


def run_name(now: int) -> str:
    """A short name for a play that begins now."""
    digits, number = "", now // SECOND - 1_700_000_000
    while number > 0:
        number, digit = divmod(number, 36)
        digits = "0123456789abcdefghijklmnopqrstuvwxyz"[digit] + digits
    return f"r{digits}"


@dataclass(frozen=True, slots=True)
class Production:
    """A script, and how it is played. `run` is part of all ids, so that each run's are new."""

    pool_id: str
    run: str
    calls: Sequence[ScriptedCall]
    agents: Sequence[ScriptedAgent]
    speed: float
    seed: int
    actor: str
    queues: Sequence[QueueRules] = ()


async def perform(production: Production, kafka: str, routing_address: str) -> Played:
    """Play it all. Raises EdgeError, KafkaError."""
    clock = SystemClock()
    calls, speed = production.calls, production.speed
    length = max((call.over_after for call in calls), default=0)
    starts_at = start_of(clock.now_us(), length + DRAIN, speed)
    script = Play(calls, production.agents, starts_at, HABITS, production.seed)
    shown = starts_at
    with Bars() as progress:
        task = progress.add_task("played", total=len(calls), text="")

        def report(now: int) -> None:
            nonlocal shown
            shown = now
            tally = script.tally
            progress.show(task, len(calls) - tally.open, _state(now, tally))

        async with Routing(routing_address, production.actor) as routing:
            await routing.configure(
                production.pool_id,
                speed,
                OFFER_SECONDS + ceil(speed * REACTION_S),
                HABITS.wrap_up_limit // SECOND,
            )
            for rules in production.queues:
                await routing.configure_queue(production.pool_id, rules)
            await play(script, production.pool_id, starts_at, speed, kafka, routing, clock, report)
    tally = script.tally
    return Played(
        pool=production.pool_id,
        run=production.run,
        begins=_moment(starts_at),
        ends=_moment(shown),
        calls=tally.calls,
        arrived=tally.arrived,
        answered=tally.answered,
        abandoned=tally.abandoned,
        left_before_queue=tally.left_before_queue,
        still_open=tally.open,
        offers_not_answered=tally.not_answered_offers,
        agents=tally.agents,
        reports_sent_again=routing.retries,
    )


def run_to_the_end(performing: Coroutine[None, None, Played]) -> Played:
    """asyncio.run, and what an interrupted play leaves behind."""
    try:
        return asyncio.run(performing)
    except KeyboardInterrupt:
        typer.echo(
            "interrupted: the calls under way stay open in their pool; the next run has its own",
            err=True,
        )
        raise typer.Exit(INTERRUPTED) from None


def _state(now: int, tally: Tally) -> str:
    return (
        f"{_moment(now)[11:16]} queue {tally.in_queue}, busy {tally.talking},"
        f" served {tally.answered}, abandoned {tally.abandoned}"
    )


def _moment(us: int) -> str:
    return datetime.fromtimestamp(us // SECOND, UTC).isoformat().replace("+00:00", "Z")
