"""Whole calls through gRPC, Kafka, the Faust worker and back: prints, asserts nothing.

    PYTHONPATH=.:proto python bench/routing_pipeline.py [--rate 100] [--at-once 300] [--seconds 30]

Apache Kafka, one routing-api and one routing-worker as they are deployed; customers, desktops and
telephone systems are played by this process, over `ReportMany` streams. A call arrives, is queued,
is offered to an agent, who accepts; it is connected, it ends, and the agent is available again,
which ends the wrap-up: six reports and eleven events.

First calls come at a steady rate, with idle agents there, and the latency is from just before the
report of `queued` is told until this process has received CallOffered. Its parts: to the edge's
clock; from there until the worker packs its decision, which is the log and the fold; from there to
the consumer. The acknowledgement of a report is on no call's way, and is shown beside them. Then so
many calls are under way at once, without any talk, and what counts is how many are over a second.

All processes share the machine's cores, and so does whatever else runs there: the load average
before the start says how much that was.
"""

import argparse
import asyncio
import itertools
import os
import tempfile
import time
from collections import deque
from collections.abc import Coroutine, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import psutil
from aiokafka import AIOKafkaConsumer, TopicPartition
from relais.agents.v1.events_pb2 import Skill
from relais.calls.v1.events_pb2 import CHANNEL_VOICE, DIRECTION_INBOUND, CallEvent, RequiredSkill
from relais.routing.v1 import routing_service_pb2 as pb
from relais.routing.v1.routing_service_pb2_grpc import RoutingServiceStub

from eventkit.clock import SystemClock
from relaisctl.clients import Client, register
from relaisctl.stack import Ports, Stack, load_topics

CLIENT = "bench"
CALLS = "call-events"
PROCESSES = ["kafka", "routing-api", "routing-worker"]
SKILLS = ("billing", "sales", "support", "french")
WARM_S = 5.0
PATIENCE_S = 30.0
MOST = 500
"""Reports of one message."""


@dataclass(slots=True)
class Call:
    """queued: just before that report was told, in nanoseconds of the machine's clock."""

    pool: int
    queued: int = 0


@dataclass
class Measured:
    """Nanoseconds."""

    offered: list[int] = field(default_factory=list)
    to_edge: list[int] = field(default_factory=list)
    decided: list[int] = field(default_factory=list)
    consumed: list[int] = field(default_factory=list)
    acknowledged: list[int] = field(default_factory=list)
    calls: int = 0


class Line:
    """A telephone system and its desktops: one `ReportMany` stream. What is said while a message is
    on its way goes together into the next one."""

    def __init__(self, stub: RoutingServiceStub, centre: "Centre") -> None:
        self._call = stub.ReportMany()
        self._centre = centre
        self._said: list[pb.ReportRequest] = []
        self._waiting = asyncio.Event()
        self._unanswered: deque[int] = deque()
        self._tasks = [asyncio.create_task(step) for step in (self._write(), self._read())]

    def say(self, *reports: pb.ReportRequest) -> None:
        now = time.time_ns()
        for report in reports:
            self._said.append(report)
            self._unanswered.append(now)
        self._waiting.set()

    async def _write(self) -> None:
        while True:
            await self._waiting.wait()
            self._waiting.clear()
            said, self._said = self._said[:MOST], self._said[MOST:]
            if self._said:
                self._waiting.set()
            await self._call.write(pb.ReportManyRequest(reports=said))

    async def _read(self) -> None:
        async for message in self._call:
            now = time.time_ns()
            for answer in message.answers:
                if answer.WhichOneof("result") != "command_id":
                    print(f"!! refused: {answer.refused}")
                self._centre.measured.acknowledged.append(now - self._unanswered.popleft())

    async def close(self) -> None:
        writing, reading = self._tasks
        writing.cancel()
        await self._call.done_writing()
        await reading

    @property
    def unanswered(self) -> int:
        return len(self._unanswered)


class Centre:
    """All who report, and how they react to decisions."""

    def __init__(self, stub: RoutingServiceStub, pools: int, agents: int) -> None:
        self._lines = [Line(stub, self) for _ in range(min(pools, 4))]
        self._pools = [f"pool-{number}" for number in range(pools)]
        self._agents = agents
        self._calls: dict[str, Call] = {}
        self._numbers = itertools.count()
        self._tasks: set[asyncio.Task[None]] = set()
        self.measured = Measured()
        self.talk_s = 0.0
        self.at_once = 0

    def line(self, pool: int) -> Line:
        return self._lines[pool % len(self._lines)]

    def begin(self, step: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(step)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            task.get_loop().call_exception_handler(
                {"message": "a step failed", "exception": task.exception()}
            )

    async def open(self) -> None:
        """Log everybody in: two skills each, of four."""
        for pool, pool_id in enumerate(self._pools):
            reports = []
            for number in range(self._agents):
                agent_id = f"{pool_id}-a{number}"
                skills = [SKILLS[number % 4], SKILLS[(number + 1) % 4]]
                report = pb.ReportAgentRequest(pool_id=pool_id, agent_id=agent_id)
                report.logged_in.skills.extend(Skill(skill=skill, level=3) for skill in skills)
                reports += [pb.ReportRequest(agent=report), available(pool_id, agent_id)]
            self.line(pool).say(*reports)
        await self._until(lambda: not any(line.unanswered for line in self._lines))

    def arrive(self) -> None:
        number = next(self._numbers)
        pool = number % len(self._pools)
        call_id = f"c{number}"
        call = self._calls[call_id] = Call(pool)
        pool_id = self._pools[pool]
        arrived = pb.ReportCallRequest(client_id=CLIENT, pool_id=pool_id, call_id=call_id)
        arrived.arrived.channel = CHANNEL_VOICE
        arrived.arrived.direction = DIRECTION_INBOUND
        arrived.arrived.line = "line-1"
        queued = pb.ReportCallRequest(client_id=CLIENT, pool_id=pool_id, call_id=call_id)
        queued.queued.queue_id = "calls"
        skill = SKILLS[number % 4]
        queued.queued.required_skills.append(RequiredSkill(skill=skill, min_level=2))
        call.queued = time.time_ns()
        self.line(pool).say(pb.ReportRequest(call=arrived), pb.ReportRequest(call=queued))

    async def _serve(self, call_id: str, call: Call, offer_id: str, agent_id: str) -> None:
        line, pool_id = self.line(call.pool), self._pools[call.pool]
        accepted = pb.ReportAgentRequest(pool_id=pool_id, agent_id=agent_id)
        accepted.offer_accepted.offer_id = offer_id
        connected = pb.ReportCallRequest(client_id=CLIENT, pool_id=pool_id, call_id=call_id)
        connected.connected.agent_id = agent_id
        line.say(pb.ReportRequest(agent=accepted), pb.ReportRequest(call=connected))
        if self.talk_s:
            await asyncio.sleep(self.talk_s)
        ended = pb.ReportCallRequest(client_id=CLIENT, pool_id=pool_id, call_id=call_id)
        ended.ended.SetInParent()
        line.say(pb.ReportRequest(call=ended), available(pool_id, agent_id))

    async def listen(self, consumer: AIOKafkaConsumer) -> None:
        """React to decisions until cancelled."""
        while True:
            found = await consumer.getmany(timeout_ms=1_000)
            now = time.time_ns()
            for records in found.values():
                for record in records:
                    self._hear(CallEvent.FromString(record.value), record.timestamp, now)

    def _hear(self, event: CallEvent, packed_ms: int, now: int) -> None:
        call = self._calls.get(event.call_id)
        if call is None:
            return
        body = event.WhichOneof("body")
        if body == "offered":
            offered, measured = event.offered, self.measured
            at_edge = event.meta.recorded_at.ToNanoseconds()
            measured.offered.append(now - call.queued)
            measured.to_edge.append(at_edge - call.queued)
            measured.decided.append(packed_ms * 1_000_000 - at_edge)
            measured.consumed.append(now - packed_ms * 1_000_000)
            self.begin(self._serve(event.call_id, call, offered.offer_id, offered.agent_id))
        elif body == "wrapped_up":
            self.measured.calls += 1
            del self._calls[event.call_id]
            if len(self._calls) < self.at_once:
                self.arrive()

    async def steadily(self, rate: float, seconds: float) -> None:
        """Calls that come at this rate, however long each takes."""
        began, sent = time.perf_counter(), 0
        while (passed := time.perf_counter() - began) < seconds:
            while sent < passed * rate:
                self.arrive()
                sent += 1
            await asyncio.sleep(1 / rate / 2)

    async def together(self, at_once: int, seconds: float) -> None:
        """As many calls as can be, with so many under way."""
        self.at_once = at_once
        for _ in range(at_once - len(self._calls)):
            self.arrive()
        await asyncio.sleep(seconds)

    async def finish(self) -> None:
        """Until nothing is under way."""
        self.at_once = 0
        await self._until(lambda: not self._calls and not self._tasks)

    async def close(self) -> None:
        for line in self._lines:
            await line.close()

    async def _until(self, condition: Any) -> None:
        last = time.monotonic() + PATIENCE_S
        while not condition():
            if time.monotonic() > last:
                print(f"!! after {PATIENCE_S:g} s there are {len(self._calls)} calls under way")
                self._calls.clear()
                return
            await asyncio.sleep(0.05)


def available(pool_id: str, agent_id: str) -> pb.ReportRequest:
    report = pb.ReportAgentRequest(pool_id=pool_id, agent_id=agent_id)
    report.available.SetInParent()
    return pb.ReportRequest(agent=report)


class Processors:
    """Seconds of the processor that each process has used."""

    def __init__(self, stack: Stack) -> None:
        self._processes = {"this process": psutil.Process()}
        for name in PROCESSES:
            record = stack.processes.record(name)
            assert record is not None
            self._processes[name] = psutil.Process(record.pid)
        self._before = self._used()
        self._began = time.perf_counter()

    def _used(self) -> dict[str, float]:
        times = {name: process.cpu_times() for name, process in self._processes.items()}
        return {name: each.user + each.system for name, each in times.items()}

    def since(self, calls: int) -> str:
        """Of each process: per cent of a core, and milliseconds a call."""
        took = time.perf_counter() - self._began
        used = {name: now - self._before[name] for name, now in self._used().items()}
        total = sum(used.values())
        parts = [
            f"{name} {seconds / took:.0%} ({seconds / max(1, calls) * 1000:.2f} ms a call)"
            for name, seconds in used.items()
        ]
        return ", ".join(parts) + f"; all {total / took:.0%}"


def quantiles(values: Iterable[int]) -> str:
    ordered = sorted(values)
    if not ordered:
        return "nothing"
    middle, late, last = (
        ordered[min(len(ordered) - 1, int(len(ordered) * part))] / 1e6 for part in (0.5, 0.9, 0.99)
    )
    most = ordered[-1] / 1e6
    return f"p50 {middle:6.1f}   p90 {late:6.1f}   p99 {last:6.1f}   max {most:6.1f} ms"


def show(measured: Measured, seconds: float, processors: Processors) -> None:
    print(
        f"  calls a second           offered {len(measured.offered) / seconds:.1f},"
        f" over {measured.calls / seconds:.1f}"
    )
    print(f"  queued to offered        {quantiles(measured.offered)}")
    print(f"    to the edge            {quantiles(measured.to_edge)}")
    print(f"    log, fold, decision    {quantiles(measured.decided)}")
    print(f"    decision to consumer   {quantiles(measured.consumed)}")
    print(f"  report to acknowledgement{quantiles(measured.acknowledged)}")
    print(f"  of a core: {processors.since(measured.calls)}", flush=True)


async def run(stack: Stack, args: argparse.Namespace) -> None:
    kafka = stack.addresses["kafka"]
    await register(kafka, Client(CLIENT, "Bench", "UTC"), SystemClock())
    [topic] = [topic for topic in load_topics() if topic.name == CALLS]
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka, fetch_max_wait_ms=500)
    await consumer.start()
    consumer.assign([TopicPartition(CALLS, number) for number in range(topic.partitions)])
    await consumer.seek_to_end()
    address = f"127.0.0.1:{stack.settings.ports.routing_grpc}"
    async with grpc.aio.insecure_channel(address) as channel:
        centre = Centre(RoutingServiceStub(channel), args.pools, args.agents)  # type: ignore[no-untyped-call]
        listening = asyncio.create_task(centre.listen(consumer))
        await centre.open()
        await centre.steadily(args.rate, WARM_S)
        await centre.finish()
        centre.talk_s = args.talk
        print(f"{args.rate:g} calls a second for {args.seconds:g} s, each talks {args.talk:g} s:")
        centre.measured = Measured()
        processors = Processors(stack)
        await centre.steadily(args.rate, args.seconds)
        show(centre.measured, args.seconds, processors)
        await centre.finish()
        centre.talk_s = 0.0
        for at_once in args.at_once:
            await centre.together(at_once, WARM_S)
            print(f"{at_once} calls at once for {args.seconds:g} s, as fast as it goes:")
            centre.measured = Measured()
            processors = Processors(stack)
            began = time.perf_counter()
            await centre.together(at_once, args.seconds)
            show(centre.measured, time.perf_counter() - began, processors)
            await centre.finish()
        listening.cancel()
        await centre.close()
    await consumer.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rate", type=float, default=100.0, help="calls a second")
    parser.add_argument("--talk", type=float, default=1.0, help="seconds, at the steady rate")
    parser.add_argument("--at-once", type=int, nargs="*", default=[300])
    parser.add_argument("--seconds", type=float, default=30.0, help="for each figure")
    parser.add_argument("--pools", type=int, default=8)
    parser.add_argument("--agents", type=int, default=100, help="of each pool")
    args = parser.parse_args()
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="relais-bench-") as home:
        stack = Stack(Path(home), Ports.free())
        try:
            stack.start(PROCESSES)
            [broker] = stack.status(["kafka"])
            print(
                f"{broker.detail}, routing-api and routing-worker on {len(os.sched_getaffinity(0))}"
                f" cores (load average before: {load:.1f}); {args.pools} pools of {args.agents}"
                f" agents",
                flush=True,
            )
            asyncio.run(run(stack, args))
        finally:
            stack.stop()


if __name__ == "__main__":
    main()
