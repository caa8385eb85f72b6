"""Who refused an offer becomes a lead, once. crm is a few answers in its shape, over HTTP."""

import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from eventkit.callers import Role
from eventkit.clock import rfc3339
from eventkit.errors import Unavailable
from eventkit.eventstore import Answer, Cause
from services.dialer.leads.winback import CrmCustomers
from services.dialer.tests.desk import CALLERS, Desk

DAY = 86_400_000_000


@dataclass
class Crm:
    """refusals: (customer, reason, when), the latest first."""

    refusals: list[tuple[str, str, int]] = field(default_factory=list)
    people: dict[str, dict[str, Any]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    silent: bool = False

    def app(self) -> Starlette:
        base = "/v1/clients/{client}"
        return Starlette(
            routes=[
                Route(base + "/offers/{offer}/refusals", self._refusals),
                Route(base + "/customers/{customer}", self._customer),
            ]
        )

    async def _refusals(self, request: Request) -> JSONResponse:
        token = request.headers["authorization"].partition(" ")[2]
        caller = CALLERS.verify(token, time.time_ns() // 1000)
        assert caller.role is Role.AGENT
        if self.silent:
            return JSONResponse({"detail": "later"}, 503)
        query = request.query_params
        fits = [
            {"customer_id": id, "refused_at": rfc3339(at)}
            for id, reason, at in self.refusals
            if query.get("reason") in (None, reason)
        ]
        begin = int(query.get("cursor", "0"))
        end = begin + 2
        following = str(end) if end < len(fits) else None
        return JSONResponse({"items": fits[begin:end], "next": following})

    async def _customer(self, request: Request) -> JSONResponse:
        id = request.path_params["customer"]
        self.asked.append(id)
        return JSONResponse(self.people[id], 200 if id in self.people else 404)

    def person(self, id: str, *phones: str, **more: Any) -> None:
        self.people[id] = {
            "customer_id": id,
            "name": f"Ann {id}",
            "phones": list(phones),
            "address": "1 rue A",
            "time_zone": "",
            "erased_at": None,
        } | more


@pytest.fixture
def crm() -> Crm:
    return Crm()


@pytest.fixture
async def customers(crm: Crm, desk: Desk) -> AsyncIterator[CrmCustomers]:
    transport = httpx.ASGITransport(crm.app())
    async with CrmCustomers("http://crm", CALLERS, desk.store.clock, transport) as customers:
        yield customers


async def fed(desk: Desk, customers: CrmCustomers, *reasons: str, since: int = 0) -> Answer:
    cause = Cause(desk.client_id, "dialer-worker")
    return await desk.dialer.leads.feed_win_back(
        cause, "spring", "fibre", reasons, since, customers
    )


async def test_each_customer_once(desk: Desk, crm: Crm, customers: CrmCustomers) -> None:
    now = desk.store.clock.now_us()
    for n in range(5):
        crm.person(f"K-{n}", f"+3361234567{n}")
        crm.refusals.append((f"K-{n}", "too-expensive" if n < 4 else "other-provider", now))
    crm.person("K-9")
    crm.refusals.append(("K-9", "too-expensive", now))
    # Somebody who is a lead of the campaign already.
    await desk.do("/leads", {"campaign_id": "spring", "numbers": ["+33612345670"], "name": "Ann"})
    first = await fed(desk, customers, "too-expensive")
    assert first == {"added": 3, "known": 1, "without_number": 1}
    crm.asked.clear()
    assert (await fed(desk, customers, "too-expensive"))["added"] == 0
    assert sorted(crm.asked) == ["K-0", "K-9"]  # nobody else is asked about again
    assert (await fed(desk, customers))["added"] == 1
    found = await desk.get("/leads", list_id="win-back-fibre")
    assert sorted(each["customer_id"] for each in found["items"]) == ["K-1", "K-2", "K-3", "K-4"]
    lead = await desk.get(f"/leads/{found['items'][0]['lead_id']}")
    assert (lead["source"], lead["name"]) == ("win-back", f"Ann {lead['customer_id']}")
    assert lead["address"]["lines"] == "1 rue A"


async def test_since_and_the_erased(desk: Desk, crm: Crm, customers: CrmCustomers) -> None:
    now = desk.store.clock.now_us()
    crm.person("K-1", "+33612345671")
    crm.person("K-2", "+33612345672")
    crm.person("K-3", "+33612345673", erased_at=rfc3339(now))
    crm.refusals = [("K-1", "x", now), ("K-3", "x", now), ("K-2", "x", now - 3 * DAY)]
    await desk.store.keys.ensure(desk.client_id, ["K-1"])
    since = now - DAY
    assert (await fed(desk, customers, since=since))["added"] == 1
    await desk.store.keys.erase(desk.client_id, ["K-2"])
    assert (await fed(desk, customers))["added"] == 0


async def test_crm_is_silent(desk: Desk, crm: Crm, customers: CrmCustomers) -> None:
    crm.silent = True
    with pytest.raises(Unavailable):
        await fed(desk, customers)
    body = {"offer_id": "fibre"}
    await desk.refused("/campaigns/spring/leads/win-back", body, 503)  # its process has no crm
