"""A centre that is played: customers, a telephone system and desktops. They know nothing of routing
but what they report to its edge and what its topics say.

Each acts by chance. Customers hang up when they have waited too long, or want to be called back.
Desktops let some offers ring, decline others and accept the rest; agents put customers on hold, and
give some away. The telephone system connects what is assigned. Nobody knows of workers: when
decisions take long, customers leave, and who acts on what is no longer true is refused.
"""

import asyncio
import itertools
import random
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import grpc
import httpx
from aiokafka import AIOKafkaConsumer, TopicPartition
from relais.agents.v1.events_pb2 import AgentEvent
from relais.calls.v1.events_pb2 import CHANNEL_CALLBACK, CHANNEL_VOICE, CallEvent
from relais.routing.v1 import routing_service_pb2 as pb
from relais.routing.v1.routing_service_pb2_grpc import RoutingServiceStub

from relaisctl.stack import load_topics
from tests.integration.routing_ledger import decoded

TOPICS: dict[str, Any] = {"call-events": CallEvent, "agent-events": AgentEvent}
PARTITIONS = {topic.name: topic.partitions for topic in load_topics()}
MOST = 500
"""Reports of one message."""
AGAIN_S = 0.5

OFFER_S, WRAP_UP_S = 3, 2
RINGS_OUT, DECLINES = 0.05, 0.05
HOLDS, TRANSFERS = 0.1, 0.05
WANTS_CALLBACK, IS_REACHED = 0.6, 0.8
TIMER_ENDS_WRAP_UP = 0.3
MEAN_PATIENCE_S, MEAN_TALK_S = 12.0, 1.5
RESTS_S = 1.0
MOST_OPEN, MOST_UNANSWERED = 4_000, 2_000
"""Where there are more, no customer calls: the machine is too slow for this rate."""


def queues(other_pool: str) -> dict[str, dict[str, Any]]:
    """What a supervisor sets."""
    callbacks = {"callback_attempts": 2, "callback_retry_seconds": 1}
    return {
        "care": {
            "required_skills": {"care": 2},
            "steps": [
                {"after_seconds": 2, "action": "relax_skill", "skill": "care", "level": 1},
                {"after_seconds": 5, "action": "widen_groups"},
            ],
            "max_wait_seconds": 12,
            "when_full": "voicemail",
            **callbacks,
        },
        "premium": {
            "required_skills": {"care": 3},
            "priority": 5,
            "steps": [
                {"after_seconds": 1, "action": "relax_skill", "skill": "care", "level": 2},
                {"after_seconds": 3, "action": "move_to_queue", "queue_id": "care"},
            ],
        },
        "away": {
            "required_skills": {"rare": 1},
            "steps": [
                {
                    "after_seconds": 1,
                    "action": "move_to_pool",
                    "pool_id": other_pool,
                    "queue_id": "care",
                }
            ],
        },
        "later": {
            "required_skills": {"rare": 1},
            "steps": [
                {"after_seconds": 1, "action": "offer_callback"},
                {"after_seconds": 3, "action": "relax_skill", "skill": "rare", "level": 0},
            ],
            "max_wait_seconds": 15,
            "when_full": "voicemail",
            **callbacks,
        },
        "night": {"required_skills": {"rare": 1}, "max_wait_seconds": 2, "when_full": "close"},
    }


# Of a hundred calls, how many each gets.
SHARES = {"care": 60, "premium": 15, "away": 10, "later": 10, "night": 5}


@dataclass(slots=True)
class Customer:
    client_id: str
    call_id: str
    pool_id: str
    """Where it came to, and is reported on: a pool that it leaves passes reports on."""
    patience_s: float
    gone: bool = False
    """Has hung up, or will be called back."""
    connected: bool = False
    transferred: bool = False
    over: bool = False
    version: int = 0

    @property
    def stream_id(self) -> str:
        return f"{self.client_id}/{self.call_id}"


@dataclass(slots=True)
class Agent:
    agent_id: str
    pool_id: str
    offer_id: str = ""
    version: int = 0


@dataclass
class Figures:
    held_back: int = 0
    """Calls that did not come, because too much was under way."""
    streams: int = 0
    refused: list[str] = field(default_factory=list)


class Line:
    """The telephone system's line to the edge: reports go in order, and again until they are
    acknowledged."""

    def __init__(self, address: str, figures: Figures) -> None:
        self._address = address
        self._figures = figures
        self._unanswered: deque[tuple[pb.ReportRequest, Callable[[], None] | None]] = deque()
        self._sent = 0
        """Of the unanswered ones, on this stream."""
        self._news = asyncio.Event()
        self._last = 0

    @property
    def unanswered(self) -> int:
        return len(self._unanswered)

    def say(self, report: pb.ReportRequest, then: Callable[[], None] | None = None) -> None:
        """then: called when the report is acknowledged."""
        # One after the other, also by their times: of two with the same it is not known which was
        # first.
        self._last = max(self._last + 1, time.time_ns() // 1000)
        about: Any = report.call if report.HasField("call") else report.agent
        about.occurred_at.FromMicroseconds(self._last)
        self._unanswered.append((report, then))
        self._news.set()

    async def run(self) -> None:
        """Until cancelled."""
        async with grpc.aio.insecure_channel(
            self._address, options=[("grpc.max_reconnect_backoff_ms", 1000)]
        ) as channel:
            stub: Any = RoutingServiceStub(channel)  # type: ignore[no-untyped-call]
            while True:
                self._figures.streams += 1
                stream = stub.ReportMany()
                reading = asyncio.create_task(self._read(stream))
                writing = asyncio.create_task(self._write(stream))
                try:
                    await asyncio.wait((reading, writing), return_when=asyncio.FIRST_COMPLETED)
                finally:
                    for task in (reading, writing):
                        task.cancel()
                    outcomes = await asyncio.gather(reading, writing, return_exceptions=True)
                    stream.cancel()
                for outcome in outcomes:
                    if not isinstance(
                        outcome, grpc.aio.AioRpcError | asyncio.CancelledError | None
                    ):
                        raise outcome
                await asyncio.sleep(AGAIN_S)

    async def _write(self, stream: Any) -> None:
        self._sent = 0
        while True:
            if self._sent == len(self._unanswered):
                self._news.clear()
                await self._news.wait()
            some = [each for each, _ in islice(self._unanswered, self._sent, self._sent + MOST)]
            self._sent += len(some)
            await stream.write(pb.ReportManyRequest(reports=some))

    async def _read(self, stream: Any) -> None:
        async for message in stream:
            for answer in message.answers:
                report, then = self._unanswered.popleft()
                self._sent -= 1
                if answer.WhichOneof("result") != "command_id":
                    self._figures.refused.append(f"{report}: {answer.refused}")
                elif then is not None:
                    then()


class Centre:
    """pools: clients by pool. A client's pools overflow into each other."""

    def __init__(self, edge: str, pools: dict[str, str], agents: int, seed: int) -> None:
        self.figures = Figures()
        self.line = Line(edge, self.figures)
        self.pools = pools
        self.agents = {
            agent_id: Agent(agent_id, pool_id)
            for pool_id in pools
            for agent_id in (f"{pool_id}-a{number}" for number in range(agents))
        }
        self.customers: dict[str, Customer] = {}
        self.acknowledged: set[str] = set()
        """Streams of the calls that are safe in the log, as routing has said."""
        self.open = 0
        self._numbers = itertools.count()
        self._chance = random.Random(seed)

    # The beginning.

    async def configure(self, http: httpx.AsyncClient) -> None:
        for pool_id, client_id in self.pools.items():
            path = f"/v1/pools/{pool_id}"
            settings = {"offer_seconds": OFFER_S, "wrap_up_seconds": WRAP_UP_S}
            await _put(http, path, settings)
            others = [each for each, owner in self.pools.items() if owner == client_id]
            other = others[(others.index(pool_id) + 1) % len(others)]
            for queue_id, queue in queues(other).items():
                await _put(http, f"{path}/queues/{client_id}/{queue_id}", queue)

    def log_in(self) -> None:
        for number, agent in enumerate(self.agents.values()):
            report = pb.ReportAgentRequest()
            report.logged_in.skills.add(skill="care", level=1 + number % 3)
            report.logged_in.groups.append("day" if number % 2 else "evening")
            report.logged_in.site = "lyon"
            self._desktop(agent, report)
            self._available(agent)

    async def run(self, kafka: str, rate: float, over: asyncio.Event) -> None:
        """Calls come at this rate until it is over. Cancel it when nothing is open any more."""
        async with _decisions(kafka) as consumer, asyncio.TaskGroup() as tasks:
            tasks.create_task(self.line.run())
            tasks.create_task(self._hear_all(consumer))
            self.log_in()
            came, began = 0, time.monotonic()
            while not over.is_set():
                due = int((time.monotonic() - began) * rate) - came
                came += due
                if self.open > MOST_OPEN or self.line.unanswered > MOST_UNANSWERED:
                    self.figures.held_back += due
                else:
                    for _ in range(due):
                        self._call()
                await asyncio.sleep(0.01)

    @property
    def quiet(self) -> bool:
        return not self.open and not self.line.unanswered

    async def _hear_all(self, consumer: AIOKafkaConsumer) -> None:
        while True:
            for where, records in (await consumer.getmany(timeout_ms=500)).items():
                kind = TOPICS[where.topic]
                for record in records:
                    event = decoded(kind, record.value)
                    if event is not None:
                        self._hear(event)
                await asyncio.sleep(0)

    def _hear(self, event: CallEvent | AgentEvent) -> None:
        about: Customer | Agent | None
        if isinstance(event, CallEvent):
            about = self.customers.get(event.meta.stream_id)
        else:
            about = self.agents.get(event.agent_id)
        if about is None or event.meta.version <= about.version:
            return
        about.version = event.meta.version
        body = str(event.WhichOneof("body"))
        if isinstance(about, Customer):
            assert isinstance(event, CallEvent)
            self._hear_of_call(about, event, body)
        else:
            self._hear_of_agent(about, body)

    # Customers and the telephone system.

    def _call(self) -> None:
        number, chance = next(self._numbers), self._chance
        pool_id, client_id = list(self.pools.items())[number % len(self.pools)]
        [queue_id] = chance.choices(list(SHARES), list(SHARES.values()))
        patience_s = chance.expovariate(1 / MEAN_PATIENCE_S)
        customer = Customer(client_id, f"c{number}", pool_id, patience_s)
        self.customers[customer.stream_id] = customer
        self.open += 1
        arrived = pb.ReportCallRequest()
        arrived.arrived.channel = CHANNEL_VOICE
        arrived.arrived.customer_id = f"k{chance.randrange(1000)}"
        self._report(customer, arrived)
        queued = pb.ReportCallRequest()
        queued.queued.queue_id = queue_id
        self._report(customer, queued, lambda: self.acknowledged.add(customer.stream_id))
        self._later(patience_s, self._lose_patience, customer)

    def _lose_patience(self, customer: Customer) -> None:
        if not (customer.gone or customer.connected or customer.over):
            customer.gone = True
            self._report(customer, pb.ReportCallRequest(abandoned={}))

    def _hear_of_call(self, customer: Customer, event: CallEvent, body: str) -> None:
        chance = self._chance
        match body:
            case "callback_offered" if chance.random() < WANTS_CALLBACK and not customer.gone:
                self._report(customer, pb.ReportCallRequest(callback_accepted={}))
            case "callback_accepted":
                customer.gone = True
            case "offered":
                self._ring(event.offered.agent_id, event.offered.offer_id)
            case "offer_expired" | "offer_declined" | "offer_withdrawn":
                agent = self.agents[getattr(event, body).agent_id]
                agent.offer_id = ""
            case "assigned":
                self._connect(customer, event)
            case "connected":
                self._later(chance.uniform(0.5, 1) * MEAN_TALK_S, self._talk, customer, event)
            case "transferred":
                customer.connected = False
                self._later(customer.patience_s, self._lose_patience, customer)
            case "ended" | "abandoned" | "overflowed":
                customer.over = True
                self.open -= 1

    def _connect(self, customer: Customer, event: CallEvent) -> None:
        if customer.gone and event.assigned.channel == CHANNEL_CALLBACK:
            if self._chance.random() > IS_REACHED:
                failed = pb.ReportCallRequest.CallbackFailed(reason="no answer")
                self._report(customer, pb.ReportCallRequest(callback_failed=failed))
                return
            customer.gone = False
        if not customer.gone:
            customer.connected = True
            connected = pb.ReportCallRequest.Connected(agent_id=event.assigned.agent_id)
            self._report(customer, pb.ReportCallRequest(connected=connected))

    def _talk(self, customer: Customer, event: CallEvent) -> None:
        chance = self._chance
        if not customer.transferred and chance.random() < TRANSFERS:
            customer.transferred = True
            transfer = pb.ReportCallRequest(
                transfer={"agent_id": event.connected.agent_id, "queue_id": "care"}  # type: ignore[arg-type]
            )
            self._report(customer, transfer)
            return
        if chance.random() < HOLDS:
            self._report(customer, pb.ReportCallRequest(held={}))
            self._report(customer, pb.ReportCallRequest(resumed={}))
        self._report(customer, pb.ReportCallRequest(ended={}))

    # Agents and their desktops.

    def _ring(self, agent_id: str, offer_id: str) -> None:
        agent, chance = self.agents[agent_id], self._chance
        agent.offer_id = offer_id
        what = chance.random()
        if what > RINGS_OUT:
            accepts = what > RINGS_OUT + DECLINES
            self._later(chance.uniform(0.1, 0.5), self._react, agent, offer_id, accepts)

    def _react(self, agent: Agent, offer_id: str, accepts: bool) -> None:
        if agent.offer_id != offer_id:
            return
        report = pb.ReportAgentRequest()
        if accepts:
            report.offer_accepted.offer_id = offer_id
        else:
            report.offer_declined.offer_id = offer_id
        self._desktop(agent, report)

    def _hear_of_agent(self, agent: Agent, body: str) -> None:
        if body in ("stopped_responding", "break_started"):
            self._later(RESTS_S, self._available, agent)
        elif body == "wrap_up_started" and self._chance.random() > TIMER_ENDS_WRAP_UP:
            self._later(self._chance.uniform(0.1, 0.5), self._available, agent)

    def _available(self, agent: Agent) -> None:
        self._desktop(agent, pb.ReportAgentRequest(available={}))

    # Reports.

    def _report(
        self,
        customer: Customer,
        report: pb.ReportCallRequest,
        then: Callable[[], None] | None = None,
    ) -> None:
        report.client_id, report.call_id = customer.client_id, customer.call_id
        report.pool_id, report.actor = customer.pool_id, "pbx-1"
        self.line.say(pb.ReportRequest(call=report), then)

    def _desktop(self, agent: Agent, report: pb.ReportAgentRequest) -> None:
        report.agent_id, report.pool_id = agent.agent_id, agent.pool_id
        self.line.say(pb.ReportRequest(agent=report))

    def _later(self, seconds: float, act: Callable[..., None], *arguments: object) -> None:
        asyncio.get_running_loop().call_later(seconds, act, *arguments)


async def _put(http: httpx.AsyncClient, path: str, body: dict[str, Any]) -> None:
    answer = await http.put(path, json=body)
    assert answer.status_code == 200, answer.text


@asynccontextmanager
async def _decisions(kafka: str) -> AsyncIterator[AIOKafkaConsumer]:
    """A consumer of all events from now on."""
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka)
    await consumer.start()
    try:
        where = [
            TopicPartition(topic, number) for topic in TOPICS for number in range(PARTITIONS[topic])
        ]
        consumer.assign(where)
        await consumer.seek_to_end(*where)
        for each in where:
            await consumer.position(each)
        yield consumer
    finally:
        await consumer.stop()
