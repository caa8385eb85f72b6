"""The worker's parts over a real PostgreSQL and a simulated carrier in this process, on a Monday
afternoon in Sweden; crm is a desk that answers by a list."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import grpc
import pytest
from pydantic import TypeAdapter
from relais.customers.v1 import customer_service_pb2 as crm_pb
from sqlalchemy.ext.asyncio import AsyncEngine

from eventkit.callers import Callers
from eventkit.clock import SystemClock
from eventkit.eventstore import Answer, Cause, EventStore, Transaction
from eventkit.keys import KeyRing
from eventkit.producer import Producer
from eventkit.rpc import Context, bidi, start_server
from services.dialer.attempts.attempt import Attempt
from services.dialer.attempts.store import ATTEMPTS, open_attempts
from services.dialer.campaigns import campaign as c
from services.dialer.campaigns.plan import Mode, Purpose, Settings
from services.dialer.campaigns.store import CAMPAIGNS, Found
from services.dialer.carrier.exchange import Exchange
from services.dialer.carrier.rpc import start_rpc
from services.dialer.carrier.scenario import Scenario
from services.dialer.compliance.book import load_rulebook
from services.dialer.dialling.carrier import Carrier
from services.dialer.dialling.crm import Crm
from services.dialer.dialling.routing import Routing
from services.dialer.dialling.starting import Want
from services.dialer.dialling.worker import Worker, _Session
from services.dialer.leads import commands as leads
from services.dialer.leads.events import Number, Origin
from services.dialer.leads.lead import Lead
from services.dialer.leads.store import LEADS

S = 1_000_000
MONDAY = 1_795_446_000 * S
"""2026-11-23T15:00:00Z."""
CALLERS = Callers({"test": bytes(32)})
WORLD: dict[str, Any] = {
    "human": [1.0] * 24,
    "setup": {"median_s": 0.02},
    "rings": {"median_s": 0.05},
    "machine_rings": {"median_s": 0.05},
    "greeting": {"median_s": 0.05},
    "machine_greeting": {"median_s": 0.05},
    "detection": {"takes": {"median_s": 0.02}},
    "patience": {"median_s": 30},
    "talk": {"median_s": 0.2},
    "machine_talk": {"median_s": 0.1},
    "message": {"median_s": 0.1},
}


@dataclass
class Monday:
    """A clock that goes on from then; `later` is added to it."""

    began: int = field(default_factory=lambda: SystemClock().now_us())
    later: int = 0

    def now_us(self) -> int:
        return MONDAY + self.later + SystemClock().now_us() - self.began


@dataclass
class CrmDesk:
    """forbidden: numbers on list `ours`, whose version is 7."""

    forbidden: set[str] = field(default_factory=set)
    asked: int = 0

    async def check(self, requests: AsyncIterator[Any], _: Context) -> AsyncIterator[Any]:
        async for request in requests:
            self.asked += 1
            listed = request.question.address in self.forbidden
            ground = crm_pb.CheckContactResponse.Ground(
                allows=not listed,
                kind="do-not-call-list",
                id="ours",
                version=7,
                reason="listed" if listed else "not-listed",
            )
            answer = crm_pb.CheckContactResponse(allowed=not listed, grounds=[ground])
            yield crm_pb.CheckContactsResponse(answer=answer)


@dataclass
class Bench:
    """One client's campaign `spring`, and what dials for it."""

    client_id: str
    store: EventStore
    clock: Monday
    crm: CrmDesk
    session: _Session

    async def campaign(self, campaign_id: str = "spring", **more: Any) -> None:
        settings = Settings(
            "Spring",
            Purpose.PAYMENT_REMINDER,
            Mode.PROGRESSIVE,
            "Acme",
            "+46850000000",
            "main",
            "out",
            abandonment_message="sorry",
        )
        await self.tell(campaign_id, c.Arrange(self.clock.now_us(), replace(settings, **more)))
        await self.tell(campaign_id, c.Start(self.clock.now_us()))

    async def tell(self, campaign_id: str, command: c.Command) -> None:
        async def work(tx: Transaction) -> Answer:
            await tx.execute(CAMPAIGNS, campaign_id, command)
            return {}

        await self.store.run(Cause(self.client_id, "tester"), work)

    async def lead(
        self, lead_id: str, phone: str, campaign_id: str = "spring", customer_id: str = ""
    ) -> None:
        number = Number("1", "SE", "mobile")
        origin = Origin(campaign_id, "list", customer_id)
        details = leads.Details((leads.Given(phone, number.place, number.kind),))
        await self.tell_lead(lead_id, leads.AddLead(origin, details, "agent", 0))

    async def tell_lead(self, lead_id: str, command: leads.Command) -> None:
        async def work(tx: Transaction) -> Answer:
            await tx.execute(LEADS, lead_id, command)
            return {}

        await self.store.run(Cause(self.client_id, "tester"), work)

    async def want(self, campaign_id: str = "spring", **more: Any) -> Want:
        state, version = await self.store.load(CAMPAIGNS, self.client_id, campaign_id)
        found = Found(self.client_id, campaign_id, version, state)
        want = Want(found, "progressive", "progressive", "one free", 10, ("SE",))
        return replace(want, **more)

    async def start(self, *wants: Want) -> int:
        """How many calls the carrier has been given."""
        return (await self.session.starting.start(self.client_id, wants)).calls

    async def state(self, lead_id: str) -> Lead:
        return (await self.store.load(LEADS, self.client_id, lead_id))[0]

    async def attempt(self, attempt_id: str) -> Attempt:
        return (await self.store.load(ATTEMPTS, self.client_id, attempt_id))[0]

    async def open(self) -> list[str]:
        async with self.store.reading() as connection:
            rows = await open_attempts(connection)
        return [row["attempt_id"] for row in rows if row["client_id"] == self.client_id]


@pytest.fixture
def clock() -> Monday:
    return Monday()


@pytest.fixture
def world() -> dict[str, Any]:
    """The carrier's scenario."""
    return WORLD


@pytest.fixture
async def bench(
    engine: AsyncEngine,
    keys: KeyRing,
    clock: Monday,
    client_id: str,
    tmp_path: Path,
    world: dict[str, Any],
) -> AsyncIterator[Bench]:
    """Results are followed and recorded; nobody takes turns."""
    store, desk = EventStore(engine, keys, clock), CrmDesk()
    service = crm_pb.DESCRIPTOR.services_by_name["CustomerService"].full_name
    methods = {"CheckContacts": bidi(crm_pb.CheckContactsRequest, desk.check, "partner")}

    async def known(_: str) -> bool:
        return True

    async def zone(_: str) -> ZoneInfo:
        return ZoneInfo("Europe/Stockholm")

    crm_server, crm_port = await start_server("127.0.0.1:0", {service: methods}, CALLERS, known)
    scenario: Scenario = TypeAdapter(Scenario).validate_python(world)
    async with Exchange(tmp_path / "journal", scenario, 1, clock) as exchange:
        carrier_server, carrier_port = await start_rpc(exchange, "127.0.0.1:0")
        async with (
            grpc.aio.insecure_channel(f"127.0.0.1:{crm_port}") as crm,
            grpc.aio.insecure_channel(f"127.0.0.1:{carrier_port}") as carrier,
            grpc.aio.insecure_channel("127.0.0.1:1") as nowhere,
        ):
            worker = Worker(
                engine,
                store,
                keys,
                bootstrap="127.0.0.1:1",
                crm=Crm(crm, CALLERS, SystemClock()),
                routing=Routing(nowhere, Producer("127.0.0.1:1"), clock),
                carrier=Carrier(carrier, client_id),
                rulebook=load_rulebook(),
                zone=zone,
            )
            session = _Session(worker)
            loops = [session.results.follow(), session.results.record()]
            tasks = [asyncio.create_task(each) for each in loops]
            yield Bench(client_id, store, clock, desk, session)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            session.joins.stop()
        await carrier_server.stop(None)
    await crm_server.stop(None)
    await store.close()
