"""The measure, previews and a client's own rules over HTTP, with real PostgreSQL; and a crm on the
wire that knows who may not be called."""

import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

import grpc
import httpx
import pytest
from relais.customers.v1 import customer_service_pb2 as pb

from eventkit.callers import Role
from eventkit.eventstore import Answer, Cause, EventStore, Transaction
from eventkit.http import make_app
from eventkit.rpc import Context, bidi, start_server
from services.dialer.compliance.book import load_rulebook
from services.dialer.dialling.crm import Crm
from services.dialer.leads import commands as leads
from services.dialer.leads.events import Origin
from services.dialer.leads.store import LEADS
from services.dialer.oversight.api import router
from services.dialer.oversight.service import Oversight
from services.dialer.tests.desk import ABANDONED, CALLERS, NOBODY, TALKED, Desk, open_desk

FORBIDDEN = "+33699000000"
SERVICE = pb.DESCRIPTOR.services_by_name["CustomerService"].full_name


async def check(
    requests: AsyncIterator[pb.CheckContactsRequest], _: Context
) -> AsyncIterator[pb.CheckContactsResponse]:
    """As crm answers: one number is on a list, and everybody else has agreed."""
    async for request in requests:
        allowed = request.question.address != FORBIDDEN
        ground = pb.CheckContactResponse.Ground(
            kind="consent" if allowed else "do-not-call-list",
            id="given" if allowed else "centre/bloctel",
            version=7,
            allows=allowed,
        )
        yield pb.CheckContactsResponse(
            answer=pb.CheckContactResponse(allowed=allowed, grounds=[ground])
        )


@dataclass
class Room:
    """A supervisor's."""

    desk: Desk
    http: httpx.AsyncClient

    async def call(
        self, method: str, path: str, body: Any = None, role: Role = Role.SUPERVISOR, **query: Any
    ) -> httpx.Response:
        token = CALLERS.issue("sue", [self.desk.client_id], role, time.time_ns() // 1000, 3600)
        path = f"/v1/clients/{self.desk.client_id}{path}"
        headers = {"Authorization": f"Bearer {token}"}
        return await self.http.request(method, path, json=body, params=query, headers=headers)

    async def get(self, path: str, **query: Any) -> Any:
        answer = await self.call("GET", path, **query)
        assert answer.is_success, answer.text
        return answer.json()

    async def lead(self, lead_id: str, phone: str, place: str) -> None:
        async def work(tx: Transaction) -> Answer:
            details = leads.Details((leads.Given(phone, place, "mobile"),))
            add = leads.AddLead(Origin("spring", "may"), details, "import", tx.now)
            await tx.execute(LEADS, lead_id, add)
            return {}

        await self.desk.store.run(Cause(self.desk.client_id, "sue"), work)


@pytest.fixture
async def room(store: EventStore, client_id: str) -> AsyncIterator[Room]:
    async def known(_: str) -> bool:
        return True

    async def zone(_: str) -> ZoneInfo:
        return ZoneInfo("Europe/Paris")

    method = bidi(pb.CheckContactsRequest, check, "partner")
    server, port = await start_server(
        "127.0.0.1:0", {SERVICE: {"CheckContacts": method}}, CALLERS, known
    )
    async with (
        open_desk(store, client_id) as desk,
        grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel,
    ):
        contract = {"limit": 0.02, "connect_seconds": 1.0, "period_days": 7}
        await desk.campaign(contract=contract, target_abandonment=0.01)
        crm = Crm(channel, CALLERS, store.clock, 10)
        oversight = Oversight(store, desk.dialer.campaigns, zone, load_rulebook(), crm)
        app = make_app("oversight", "1", CALLERS, known)
        app.include_router(router(oversight))
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://dialer") as http:
            yield Room(desk, http)
    await server.stop(None)


async def test_the_measure_as_each_law_reads_it(room: Room) -> None:
    for number in range(3):
        await room.desk.dialled(f"talked-{number}", *TALKED)
    await room.desk.dialled("abandoned", *ABANDONED)
    await room.desk.dialled("nobody", *NOBODY)
    found = await room.get("/campaigns/spring/measure")
    (us,) = found["us"]
    assert (us["live"], us["abandoned"], us["rate"]) == (4, 1, 0.25)
    assert (us["limit"], us["compliant"], us["left"]) == (0.03, False, -1)
    assert found["uk_total"]["rate"] == 0.25
    (contract,) = found["contract"]
    assert (contract["limit"], contract["abandoned"]) == (0.02, 1)
    assert found["strictest"]["left"] == -1
    (shown,) = (await room.get("/wallboard"))["items"]
    assert (shown["name"], shown["attempts"], shown["mode"]) == (
        "Fibre for former customers",
        5,
        "predictive",
    )
    assert [(each["measure"], each["abandoned"]) for each in shown["measures"]] == [
        ("us", 1),
        ("uk", 1),
        ("contract", 1),
    ]
    # The agent heard a machine: it was no live answer of those who were told from machines.
    await room.desk.do("/attempts/talked-0/dispose", {"disposition": "answering-machine"})
    (us,) = (await room.get("/campaigns/spring/measure"))["us"]
    assert (us["live"], us["abandoned"]) == (3, 1)


async def test_whom_the_rules_would_skip(room: Room) -> None:
    """Whatever the hour: a place without an open one is forbidden, so only crm's word is sure."""
    await room.lead("l-1", "+33612345678", "FR")
    await room.lead("l-2", FORBIDDEN, "FR")
    rules = {"rules": [{"name": "nobody", "cap": {"limit": 0, "days": 1}}]}
    before = await room.get("/campaigns/spring/preview")
    assert before["leads"] == 2
    of_crm = [each for each in before["reasons"] if each["rule"].startswith("crm.")]
    assert [(each["rule"], each["version"], each["leads"]) for each in of_crm] == [
        ("crm.do-not-call-list/centre/bloctel", 7, 1)
    ]
    assert (await room.call("PUT", "/calling-rules", rules)).json() == {"version": 1}
    after = await room.get("/campaigns/spring/preview")
    assert (after["skipped"], after["leads"]) == (2, 2)
    own = [each for each in after["reasons"] if each["rule"] == "client.nobody"]
    assert own[0]["leads"] == 2
    assert after["summary"].startswith("2 of 2 would be skipped, because of ")
    assert (await room.get("/campaigns/spring/preview", leads=1))["leads"] == 1
    # Nothing has changed for them.
    state, version = await room.desk.store.load(LEADS, room.desk.client_id, "l-2")
    assert (version, state.status.value) == (1, "waiting")


async def test_a_clients_own_rules(room: Room) -> None:
    assert await room.get("/calling-rules") == {"version": 0, "rules": []}
    mornings = {"name": "mornings", "hours": {"mon-fri": ["10:00-12:00"]}}
    for _ in range(2):
        answer = await room.call("PUT", "/calling-rules", {"rules": [mornings]})
        assert answer.json() == {"version": 1}, "the same is no new version"
    await room.call("PUT", "/calling-rules", {"rules": []})
    assert (await room.get("/calling-rules"))["version"] == 2
    (rule,) = (await room.get("/calling-rules", version=1))["rules"]
    assert rule["hours"] == mornings["hours"]
    wrong = {"rules": [mornings | {"hours": {"someday": ["10:00-12:00"]}}]}
    refused = await room.call("PUT", "/calling-rules", wrong)
    assert refused.status_code == 422
    assert "hours" in refused.text
    assert (await room.call("PUT", "/calling-rules", wrong, Role.AGENT)).status_code == 403
    assert (await room.get("/calling-rules"))["version"] == 2
    assert (await room.call("GET", "/calling-rules", version=9)).status_code == 404


async def test_a_campaign_that_has_not_begun(room: Room) -> None:
    found = await room.get("/campaigns/spring/measure")
    assert (found["us"][0]["live"], found["us"][0]["left"], found["uk"]) == (0, 0, [])
    assert (await room.call("GET", "/campaigns/autumn/measure")).status_code == 404


async def test_what_is_held_on_a_person(room: Room) -> None:
    await room.desk.dialled("at-1", *TALKED, customer_id="cu-1")
    await room.desk.dialled("at-2", *NOBODY, customer_id="cu-2")
    answer = await room.call("POST", "/leads/export", {"customer_id": "cu-1"}, Role.ADMIN)
    items = answer.json()["items"]
    assert {(each["kind"], each["id"]) for each in items} == {
        ("lead", "lead-at-1"),
        ("attempt", "at-1"),
    }
    (added,) = [each for each in items if each["event"] == "LeadAdded"]
    assert (added["name"], added["phones"]) == ("Ann Example", {"1": "+33612345678"})
    (started,) = [each for each in items if each["event"] == "AttemptStarted"]
    assert started["allowed_by"][0]["rule"] == "fr.hours"
    assert items == sorted(items, key=lambda each: each["at"])
    refused = await room.call("POST", "/leads/export", {"customer_id": "cu-1"})
    assert refused.status_code == 403, "a supervisor is no admin"
