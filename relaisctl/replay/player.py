"""A play on the real services: reports by gRPC, decisions from Kafka, time at a multiple."""

import asyncio
from collections.abc import Callable
from zlib import crc32

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from eventkit.clock import Clock
from eventkit.errors import BadRecord
from relaisctl import codec
from relaisctl.replay.live import (
    SECOND,
    AgentReport,
    CallReport,
    Decision,
    Kind,
    Play,
    Report,
    echo_of,
)
from relaisctl.replay.rpc import EdgeError, Routing

CALLS, AGENTS = "call-events", "agent-events"
LANES = 32
TICK_S = 0.2
LISTEN_S = 0.005
"""A consumer that is asked without any time to wait gets no turn to fetch."""
HOLD_AFTER_S, HOLD_AT_MOST_S = 0.1, 15.0
SILENCE_S = 300.0
"""How long a play waits for a decision before it gives up."""


def start_of(now: int, length: int, speed: float) -> int:
    """When a play begins that reaches the real time `now` when `length` has been played.

    The edges refuse what is ahead of their clock, so a play that runs fast begins in the past.
    """
    return now - int(length * (1 - 1 / speed))


class Tempo:
    """The pool's time: `speed` times as fast as the real one, but it waits for routing.

    In a fast play a moment in which routing is busy would be minutes in which customers lose their
    patience. So time stands still while the oldest report that routing has not taken note of is
    older than HOLD_AFTER_S; after HOLD_AT_MOST_S it goes on without that note, as in real life.
    """

    def __init__(self, starts_at: int, speed: float, real_s: float) -> None:
        self.now = starts_at
        self.speed = speed
        self._real_s = real_s
        self._unheard: dict[tuple[str, Kind], float] = {}

    def pass_to(self, real_s: float) -> int:
        """The real time is real_s now; returns the pool's."""
        passed, self._real_s = real_s - self._real_s, real_s
        while self._unheard:
            oldest = next(iter(self._unheard))
            age = real_s - self._unheard[oldest]
            if age < HOLD_AT_MOST_S:
                if age > HOLD_AFTER_S:
                    return self.now
                break
            del self._unheard[oldest]
        self.now += int(passed * self.speed * SECOND)
        return self.now

    def sent(self, report: Report) -> None:
        echo = echo_of(report)
        if echo is not None:
            self._unheard[echo] = self._real_s

    def heard(self, decision: Decision) -> None:
        # Timers go on while we wait; where they have brought the pool, we must be too.
        self.now = max(self.now, decision.at)
        self._unheard.pop((decision.stream_id, decision.kind), None)


async def play(
    script: Play,
    pool_id: str,
    starts_at: int,
    speed: float,
    kafka: str,
    routing: Routing,
    clock: Clock,
    progress: Callable[[int], None],
) -> None:
    """Play to the end: all calls have an outcome and all agents are logged out.

    starts_at: the pool's time. progress: is told it. Raises EdgeError, KafkaError.
    """
    async with Ear(kafka) as ear:
        try:
            async with asyncio.TaskGroup() as senders:
                lanes = [asyncio.Queue[Report]() for _ in range(LANES)]
                tasks = [senders.create_task(_send(lane, routing, pool_id)) for lane in lanes]
                tempo = Tempo(starts_at, speed, asyncio.get_running_loop().time())
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
    heard_at = loop.time()
    while not script.finished:
        now = tempo.pass_to(loop.time())
        for report in script.advance(now):
            lanes[_lane(report)].put_nowait(_not_ahead(report, clock.now_us()))
            tempo.sent(report)
        progress(now)
        wait_s = TICK_S
        if script.next_due is not None:
            wait_s = min(wait_s, (script.next_due - now) / SECOND / tempo.speed)
        decisions = await ear.listen(max(wait_s, LISTEN_S))
        for decision in decisions:
            script.hear(decision)
            tempo.heard(decision)
        quiet = script.next_due is not None and script.next_due > now + tempo.speed * SECOND
        if decisions or quiet:
            heard_at = loop.time()
        elif loop.time() - heard_at > SILENCE_S:
            raise EdgeError(
                f"routing has decided nothing for {SILENCE_S:.0f} s; "
                "is the routing worker running? (relaisctl status)"
            )
    progress(tempo.now)


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
