"""A play on the real services: reports by gRPC, decisions from Kafka, time at a multiple."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from zlib import crc32

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from eventkit.clock import Clock
from eventkit.errors import BadRecord
from relaisctl import codec
from relaisctl.replay.live import SECOND, AgentReport, CallReport, Decision, Play, Report
from relaisctl.replay.rpc import EdgeError, Routing

CALLS, AGENTS = "call-events", "agent-events"
LANES = 32
TICK_S = 0.2
SILENCE_S = 300.0
"""How long a play waits for a decision before it gives up."""


@dataclass(frozen=True, slots=True)
class Tempo:
    """Pool time: `starts_at` (microseconds) when the play begins, then `speed` times as fast."""

    starts_at: int
    speed: float

    def at(self, passed_s: float) -> int:
        """The pool's time after so many real seconds."""
        return self.starts_at + int(passed_s * self.speed * SECOND)


def ending_now(now: int, length: int, speed: float) -> Tempo:
    """A tempo that reaches the real time when `length` has been played.

    The edges refuse what is ahead of their clock, so a play that runs fast begins in the past.
    """
    return Tempo(now - int(length * (1 - 1 / speed)), speed)


async def play(
    script: Play,
    pool_id: str,
    tempo: Tempo,
    kafka: str,
    routing: Routing,
    clock: Clock,
    progress: Callable[[int], None],
) -> None:
    """Play to the end: all calls have an outcome and all agents are logged out.

    progress: is told the pool's time. Raises EdgeError, KafkaError.
    """
    async with Ear(kafka) as ear:
        try:
            async with asyncio.TaskGroup() as senders:
                lanes = [asyncio.Queue[Report]() for _ in range(LANES)]
                tasks = [senders.create_task(_send(lane, routing, pool_id)) for lane in lanes]
                await _lead(script, tempo, ear, lanes, clock, progress)
                for task in tasks:
                    task.cancel()
        except BaseExceptionGroup as group:
            raise group.exceptions[0] from None


async def _lead(
    script: Play,
    tempo: Tempo,
    ear: "Ear",
    lanes: list[asyncio.Queue[Report]],
    clock: Clock,
    progress: Callable[[int], None],
) -> None:
    loop = asyncio.get_running_loop()
    begun = heard_at = loop.time()
    while not script.finished:
        now = tempo.at(loop.time() - begun)
        for report in script.advance(now):
            lanes[_lane(report)].put_nowait(_not_ahead(report, clock.now_us()))
        progress(now)
        wait_s = TICK_S
        if script.next_due is not None:
            wait_s = min(wait_s, max(0.0, (script.next_due - now) / SECOND / tempo.speed))
        decisions = await ear.listen(wait_s)
        for decision in decisions:
            script.hear(decision)
        quiet = script.next_due is not None and script.next_due > now + tempo.speed * SECOND
        if decisions or quiet:
            heard_at = loop.time()
        elif loop.time() - heard_at > SILENCE_S:
            raise EdgeError(
                f"routing has decided nothing for {SILENCE_S:.0f} s; "
                "is the routing worker running? (relaisctl status)"
            )
    progress(tempo.at(loop.time() - begun))


async def _send(lane: asyncio.Queue[Report], routing: Routing, pool_id: str) -> None:
    while True:
        await routing.report(pool_id, await lane.get())


def _lane(report: Report) -> int:
    """Reports about one call, or of one desktop, go one after the other."""
    who = report.call_id if isinstance(report, CallReport) else report.agent_id
    return crc32(who.encode()) % LANES


def _not_ahead(report: Report, now: int) -> Report:
    if report.at <= now:
        return report
    if isinstance(report, AgentReport):
        return AgentReport(report.agent_id, now, report.what)
    return CallReport(report.client_id, report.call_id, now, report.what)


class Ear:
    """Hears what routing decides from now on: an `async with` around one consumer, no group."""

    def __init__(self, kafka: str) -> None:
        self._kafka = kafka

    async def __aenter__(self) -> "Ear":
        self._consumer = AIOKafkaConsumer(
            bootstrap_servers=self._kafka, enable_auto_commit=False, fetch_max_wait_ms=100
        )
        await self._consumer.start()
        admin = AIOKafkaAdminClient(bootstrap_servers=self._kafka)
        await admin.start()
        try:
            topics = await admin.describe_topics([CALLS, AGENTS])
        finally:
            await admin.close()
        places = [
            TopicPartition(topic["topic"], partition["partition"])
            for topic in topics
            for partition in topic["partitions"]
        ]
        self._consumer.assign(places)
        await self._consumer.seek_to_end(*places)
        for place in places:
            await self._consumer.position(place)  # now, and not when the first fetch is sent
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._consumer.stop()

    async def listen(self, wait_s: float) -> list[Decision]:
        """What was decided since; waits up to wait_s for something. Undecodable is left out."""
        found: list[Decision] = []
        chunks = await self._consumer.getmany(timeout_ms=int(wait_s * 1000))
        for place, records in chunks.items():
            decode = codec.call_decision if place.topic == CALLS else codec.agent_decision
            for record in records:
                try:
                    decision = decode(record.value or b"")
                except BadRecord:
                    continue
                if decision is not None:
                    found.append(decision)
        return found
