"""How long a pool stands still when its worker dies: prints, asserts nothing.

    PYTHONPATH=.:proto python bench/routing_takeover.py [--agents 5000] [--calls 10000]

A pool with so many agents and open calls: every agent talks, the other calls wait. Its worker has
been killed; a customer calls, and the figures count from there until the new holder says that it is
ready, and until what it has decided about the customer can be read. First a process is started at
that moment, as Kubernetes would, and has to restore the whole log; then a snapshot and next to
nothing behind it; then a snapshot and as many commands as there can be behind one. At last nobody
is started, and another worker takes over that was there all the time: when the session is over.
"""

import argparse
import asyncio
import itertools
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from aiokafka import AIOKafkaConsumer, TopicPartition
from relais.calls.v1.events_pb2 import CallEvent

from eventkit.clock import SystemClock
from eventkit.producer import Producer, partition_of
from eventkit.records import Message
from eventkit.topictable import read_partition
from relaisctl.stack import Ports, Stack, load_topics
from services.routing import codec, engine
from services.routing import commands as c
from services.routing import events as e
from services.routing.pool import Pool
from services.routing.settings import WorkerSettings

POOL, CLIENT = "bench", "acme"
COMMANDS, SNAPSHOTS, CALLS = "routing-commands", "routing-snapshots", "call-events"
SKILLS = 60
PARTITIONS = {topic.name: topic.partitions for topic in load_topics()}
WHERE = partition_of(POOL.encode(), PARTITIONS[COMMANDS])
PATIENCE_S = 120.0


class Log:
    """Commands as they go into the log, and the pool that they make."""

    def __init__(self) -> None:
        self.pool = Pool(POOL)
        self.count = 0
        self._numbers = itertools.count()

    def tell(self, body: c.Body) -> tuple[Message, list[e.Event | e.Sent]]:
        self.count += 1
        at = SystemClock().now_us()
        command = c.command_for(
            POOL,
            body,
            command_id=f"bench-{self.count}",
            client_id=CLIENT if isinstance(body, c.CallCommand) else c.CENTRE,
            occurred_at=at,
            recorded_at=at,
            actor="bench",
        )
        events = engine.apply(self.pool, command)
        return Message(COMMANDS, POOL.encode(), codec.encode_command(command)), events

    def fill(self, agents: int, calls: int) -> Iterator[Message]:
        """Log everybody in, and let the calls come; whoever is offered a call takes it."""
        yield self.tell(c.ConfigurePool(offer_seconds=3600, wrap_up_seconds=-1))[0]
        for number in range(agents):
            skills = tuple(sorted((f"s{(number + each) % SKILLS}", 3) for each in (0, 1, 7, 9)))
            yield self.tell(c.LogInAgent(f"a{number}", skills))[0]
            yield self.tell(c.MakeAgentAvailable(f"a{number}"))[0]
        for number in range(calls):
            yield from self.call(f"c{number}", f"s{number % SKILLS}")

    def call(self, call_id: str, skill: str) -> Iterator[Message]:
        customer_id = f"k{next(self._numbers)}"
        arrived = c.ReportCallArrived(call_id, c.Channel.VOICE, customer_id=customer_id)
        yield self.tell(arrived)[0]
        yield from self._offered(c.QueueCall(call_id, "calls", 0, ((skill, 2),)))

    def work(self, commands: int) -> Iterator[Message]:
        """So many commands: agents end their calls and get the next ones."""
        last = self.count + commands
        for agent in itertools.cycle(list(self.pool.agents.values())):
            if agent.calls:
                yield self.tell(c.ReportCallEnded(self.pool.calls[agent.calls[0]].call_id))[0]
            yield from self._offered(c.MakeAgentAvailable(agent.agent_id))
            if self.count >= last:
                return

    def _offered(self, body: c.Body) -> Iterator[Message]:
        message, events = self.tell(body)
        yield message
        for event in events:
            if isinstance(event, e.CallEvent) and isinstance(event.body, e.CallOffered):
                offered = event.body
                yield self.tell(c.AcceptOffer(offered.offer_id, offered.agent_id))[0]
                yield self.tell(c.ReportCallConnected(event.call_id, offered.agent_id))[0]


class Worker:
    """`python -m services.routing worker` with its default settings and a name that outlives it."""

    def __init__(self, kafka: str, folder: Path, name: str) -> None:
        port = Ports.free().routing_worker_health
        self._health = f"http://127.0.0.1:{port}/health/ready"
        self._log = folder / f"{name}.log"
        self._environment = os.environ | {
            "RELAIS_KAFKA": kafka,
            "RELAIS_HEALTH_PORT": str(port),
            "RELAIS_GROUP_INSTANCE": name,
        }
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "services.routing", "worker"]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(command, env=self._environment, stdout=log, stderr=log)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    async def ready(self) -> None:
        await asyncio.to_thread(self._wait)

    def _wait(self) -> None:
        last = time.monotonic() + PATIENCE_S
        while True:
            try:
                urllib.request.urlopen(self._health, timeout=5).close()
                return
            except OSError:
                if time.monotonic() > last:
                    raise
                time.sleep(0.02)

    def restored(self) -> str:
        """What its log says of the last restore of the pool's partition."""
        lines = [
            line.partition(f"{COMMANDS}:{WHERE}: ")[2]
            for line in self._log.read_text().splitlines()
            if f"{COMMANDS}:{WHERE}: " in line and " restored " in line
        ]
        return lines[-1] if lines else "nothing"


class Bench:
    def __init__(self, kafka: str, folder: Path) -> None:
        self._kafka = kafka
        self._log = Log()
        self._producer = Producer(kafka)
        self._calls = itertools.count()
        self.one, self.two = (Worker(kafka, folder, name) for name in ("one", "two"))

    async def run(self, agents: int, calls: int, tail: int) -> None:
        async with self._producer:
            await self._producer.send_many(self._log.fill(agents, calls))
            pool = self._log.pool
            print(f"{len(pool.agents):,} agents, {len(pool.calls):,} open calls", flush=True)
            await self._started(f"the whole log of {self._log.count:,} commands")
            size = await self._snapshot()
            await self._started(f"a snapshot of {size / 1e6:.1f} MB")
            self.one.kill()
            await self._producer.send_many(self._log.work(tail))
            await self._started(f"a snapshot and {tail:,} commands behind it")
            await self._snapshot()
            self.two.start()
            await self.two.ready()
            await asyncio.sleep(2)
            await self._taken_over()

    async def _started(self, what: str) -> None:
        self.one.kill()
        began = time.monotonic()
        decided = asyncio.create_task(self._decided())
        self.one.start()
        await self.one.ready()
        ready = time.monotonic() - began
        took = await decided
        print(f"{what}: ready after {ready:.1f} s, decides after {took:.1f} s")
        print(f"    {self.one.restored()}", flush=True)

    async def _taken_over(self) -> None:
        """Of the two, only one holds the pool's partition: who kills the other one waits for
        nothing."""
        session_s = WorkerSettings.model_fields["routing_session_s"].default
        for victim, other in ((self.one, self.two), (self.two, self.one)):
            victim.kill()
            took = await self._decided()
            if took > session_s / 2:
                await asyncio.sleep(1)
                print(f"another worker takes over: decides after {took:.1f} s", flush=True)
                print(f"    {other.restored()}; the session is {session_s:g} s")
                return
            victim.start()
            await victim.ready()
            await asyncio.sleep(2)

    async def _decided(self) -> float:
        """A customer calls; seconds until it can be read that the call is queued."""
        call_id = f"new-{next(self._calls)}"
        stream = f"{CLIENT}/{call_id}"
        where = TopicPartition(CALLS, partition_of(stream.encode(), PARTITIONS[CALLS]))
        consumer = AIOKafkaConsumer(bootstrap_servers=self._kafka)
        await consumer.start()
        try:
            consumer.assign([where])
            await consumer.seek_to_end(where)
            await consumer.position(where)
            began = time.monotonic()
            await self._producer.send_many(self._log.call(call_id, "nobody-can"))
            async with asyncio.timeout(PATIENCE_S):
                async for record in consumer:
                    event = CallEvent.FromString(record.value)
                    if event.meta.stream_id == stream and event.HasField("queued"):
                        break
            return time.monotonic() - began
        finally:
            await consumer.stop()

    async def _snapshot(self) -> int:
        """Wait until one includes the whole log; the bytes of the pool in it."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                size, included = 0, -1
                async for chunk in read_partition(self._kafka, SNAPSHOTS, WHERE):
                    for record in chunk:
                        if record.key == POOL.encode():
                            size = len(record.value or b"")
                        elif record.key == b"__partition__":
                            included = int(dict(record.headers)["fold.offset"])
                if included >= self._log.count - 1:
                    return size
                await asyncio.sleep(1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--agents", type=int, default=5_000)
    parser.add_argument("--calls", type=int, default=10_000)
    most = WorkerSettings.model_fields["routing_snapshot_every"].default - 1
    parser.add_argument("--tail", type=int, default=most, help="commands behind the snapshot")
    args = parser.parse_args()
    cores, load = len(os.sched_getaffinity(0)), os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="relais-bench-") as home:
        stack = Stack(Path(home), Ports.free())
        bench = Bench(stack.addresses["kafka"], Path(home))
        try:
            stack.start(["kafka"])
            [broker] = stack.status(["kafka"])
            print(f"{broker.detail}, {cores} cores (load average before: {load:.1f})")
            asyncio.run(bench.run(args.agents, args.calls, args.tail))
        finally:
            bench.one.kill()
            bench.two.kill()
            stack.stop()


if __name__ == "__main__":
    main()
