"""SIGKILL at any time, two workers, rebalances: no call lost, no contradiction, timers go on."""

import asyncio
import random
import time

import pytest
from relais.agents.v1.events_pb2 import AgentEvent
from relais.calls.v1.events_pb2 import CallEvent

from eventkit.clock import SystemClock
from eventkit.producer import Producer
from eventkit.records import Message
from relaisctl.stack import Broker, Stack
from services.routing import codec
from services.routing import commands as c
from services.routing.tests.conftest import MakeWorker
from services.routing.tests.support import Published, Running

pytestmark = pytest.mark.timeout(180)

POOLS = 5
AGENTS = 3
CALLS = 12
KILLS = 4


class Centre:
    """Customers, agents and a telephone system that react to what routing decides."""

    def __init__(
        self, producer: Producer, published: Published, name: str, client: str = "acme"
    ) -> None:
        self._producer = producer
        self._client = client
        self._published = published
        self._rng = random.Random(5)
        self.pools = [f"{name}-{number}" for number in range(POOLS)]
        self.calls = [
            f"{client}/{pool}-c{number}" for pool in self.pools for number in range(CALLS)
        ]

    async def tell(self, pool: str, body: c.Body) -> None:
        now = SystemClock().now_us()
        client = self._client if isinstance(body, c.CallCommand) else c.CENTRE
        command = c.command_for(
            pool,
            body,
            command_id=codec.command_id(pool, client, now, body),
            client_id=client,
            occurred_at=now,
            recorded_at=now,
            actor="",
        )
        message = Message("routing-commands", pool.encode(), codec.encode_command(command))
        # Nobody minds a report that comes twice.
        for _ in range(self._rng.choice((1, 1, 2))):
            await self._producer.deliver(message)

    async def open(self) -> None:
        for pool in self.pools:
            await self.tell(pool, c.ConfigurePool(2, 1))
            for number in range(AGENTS):
                agent = f"{pool}-a{number}"
                await self.tell(pool, c.LogInAgent(agent))
                await self.tell(pool, c.MakeAgentAvailable(agent))

    async def arrive(self) -> None:
        for number in range(CALLS):
            for pool in self.pools:
                call = f"{pool}-c{number}"
                await self.tell(pool, c.ReportCallArrived(call))
                await self.tell(pool, c.QueueCall(call, "q"))
            await asyncio.sleep(0.1)

    async def react(self) -> None:
        """To each event once: nine of ten offers are accepted, the others expire."""
        for event in await self._published.look():
            if isinstance(event, CallEvent) and event.meta.stream_id in self.calls:
                await self._call(event)
            elif isinstance(event, AgentEvent) and event.pool_id in self.pools:
                await self._agent(event)

    async def _call(self, event: CallEvent) -> None:
        pool = event.call_id.rpartition("-")[0]
        if event.WhichOneof("body") == "assigned":
            await self.tell(pool, c.ReportCallConnected(event.call_id, event.assigned.agent_id))
            await self.tell(pool, c.ReportCallEnded(event.call_id))

    async def _agent(self, event: AgentEvent) -> None:
        pool, agent = event.pool_id, event.agent_id
        match event.WhichOneof("body"):
            case "reserved" if self._rng.random() < 0.9:
                await self.tell(pool, c.AcceptOffer(event.reserved.offer_id, agent))
            case "stopped_responding":
                await self.tell(pool, c.MakeAgentAvailable(agent))

    def done(self) -> bool:
        return all(self._published.bodies(call)[-1:] == ["wrapped_up"] for call in self.calls)


async def test_workers_are_killed(
    stack: Stack,
    bootstrap: str,
    worker: Running,
    make_worker: MakeWorker,
    published: Published,
    pool: str,
) -> None:
    if stack.broker is Broker.TANSU:
        pytest.skip("Tansu needs minutes to give away the partitions of a worker that was killed")
    # The one that leaves everybody in peace makes room for two.
    assert worker.stop() == 0
    settings = {"RELAIS_ROUTING_SNAPSHOT_EVERY": "100", "RELAIS_ROUTING_SESSION_S": "6"}
    workers = [make_worker(RELAIS_GROUP_INSTANCE=name, **settings) for name in ("one", "two")]
    rng = random.Random(3)
    async with Producer(bootstrap, linger_ms=0) as producer:
        centre = Centre(producer, published, pool)
        await centre.open()
        arriving = asyncio.create_task(centre.arrive())
        try:
            for kill in range(KILLS):
                until = time.monotonic() + rng.uniform(1.5, 3)
                while time.monotonic() < until:
                    await centre.react()
                    await asyncio.sleep(0.1)
                victim = workers[kill % 2]
                victim.kill()
                victim.start()
            deadline = time.monotonic() + 90
            while not (arriving.done() and centre.done()):
                assert time.monotonic() < deadline, {
                    call: published.bodies(call)
                    for call in centre.calls
                    if published.bodies(call)[-1:] != ["wrapped_up"]
                }
                await centre.react()
                await asyncio.sleep(0.1)
        finally:
            arriving.cancel()
            for each in workers:
                each.stop()
    check_no_contradiction(published, centre)
    worker.start()
    await worker.ready()


def check_no_contradiction(published: Published, centre: Centre) -> None:
    """`Published` has found no holes and no two versions of one event; here is what they say."""
    offers: dict[str, str] = {}
    for call in centre.calls:
        holder = ""
        for event in published.streams[call]:
            assert isinstance(event, CallEvent)
            match event.WhichOneof("body"):
                case "offered":
                    assert not holder, f"{call} is offered to two agents"
                    holder = event.offered.agent_id
                    assert event.offered.offer_id not in offers
                    offers[event.offered.offer_id] = call
                case "offer_expired" | "offer_withdrawn" | "offer_declined":
                    holder = ""
                case "connected":
                    assert event.connected.agent_id == holder
    expired = 0
    for pool in centre.pools:
        for number in range(AGENTS):
            has_one = False
            for event in published.streams[f"agent/{pool}-a{number}"]:
                assert isinstance(event, AgentEvent)
                match event.WhichOneof("body"):
                    case "reserved":
                        assert not has_one, "an agent holds two offers"
                        assert offers[event.reserved.offer_id] == event.reserved.call
                        has_one = True
                    case "became_available" | "stopped_responding":
                        expired += event.WhichOneof("body") == "stopped_responding"
                        has_one = False
    assert expired > 0, "timers have gone on"
