"""The dialer over HTTP in this process, with real PostgreSQL; and what dialling writes."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import httpx

from eventkit.callers import Callers, Role
from eventkit.eventstore import Answer, Cause, EventStore, Transaction
from eventkit.http import make_app
from services.dialer.api import MAX_BODY
from services.dialer.attempts import api as attempts
from services.dialer.attempts import attempt as a
from services.dialer.attempts.store import ATTEMPTS
from services.dialer.campaigns import api as campaigns
from services.dialer.compliance import store as contacts
from services.dialer.compliance.rules import Contact
from services.dialer.compliance.ruleuse import RuleUse
from services.dialer.dispositions import api as dispositions
from services.dialer.leads import api as leads_api
from services.dialer.leads import commands as leads
from services.dialer.leads.events import Origin as LeadOrigin
from services.dialer.leads.store import LEADS
from services.dialer.service import Dialer

CALLERS = Callers({"test": bytes(32)})
S = 1_000_000
SALES: dict[str, Any] = {
    "name": "Fibre for former customers",
    "purpose": "sales",
    "mode": "predictive",
    "seller": "Acme Telecom",
    "caller_id": "+33123456789",
    "pool_id": "main",
    "queue_id": "fibre",
    "offer_id": "fibre-xl",
    "abandonment_message": "sorry",
}
TALKED = (
    a.Answered(9 * S, a.AnsweredBy.HUMAN),
    a.GreetingEnded(10 * S),
    a.Connected(10 * S + 300_000, "ann"),
    a.Over(70 * S, a.Why.HUNG_UP),
)
ABANDONED = (
    a.Answered(9 * S, a.AnsweredBy.HUMAN),
    a.GreetingEnded(10 * S),
    a.MessageStarted(12 * S),
    a.Over(20 * S, a.Why.MESSAGE_PLAYED),
)
NOBODY = (a.Over(20 * S, a.Why.NO_ANSWER),)
"""Of a call, after it was started."""


@dataclass
class Desk:
    """Calls of one caller; `path` is below the client."""

    http: httpx.AsyncClient
    dialer: Dialer
    store: EventStore
    client_id: str
    role: Role = Role.SUPERVISOR

    def as_(self, role: Role) -> "Desk":
        return replace(self, role=role)

    async def call(
        self, method: str, path: str, body: Any = None, key: str = "", **query: Any
    ) -> httpx.Response:
        token = CALLERS.issue("sue", [self.client_id], self.role, time.time_ns() // 1000, 3600)
        headers = {"Authorization": f"Bearer {token}"}
        if key:
            headers["Idempotency-Key"] = key
        path = f"/v1/clients/{self.client_id}{path}"
        return await self.http.request(method, path, json=body, params=query, headers=headers)

    async def get(self, path: str, **query: Any) -> Any:
        answer = await self.call("GET", path, **query)
        assert answer.is_success, answer.text
        return answer.json()

    async def do(self, path: str, body: Any = None, method: str = "POST", key: str = "") -> Any:
        answer = await self.call(method, path, body, key)
        assert answer.is_success, answer.text
        return answer.json()

    async def refused(
        self, path: str, body: Any = None, status: int = 409, method: str = "POST"
    ) -> Any:
        answer = await self.call(method, path, body)
        assert answer.status_code == status, answer.text
        return answer.json()

    async def campaign(self, campaign_id: str = "spring", **more: Any) -> None:
        """A running one."""
        await self.do(f"/campaigns/{campaign_id}", SALES | more, "PUT")
        await self.do(f"/campaigns/{campaign_id}/start")

    async def dialled(
        self,
        attempt_id: str,
        *heard: a.Heard,
        campaign_id: str = "spring",
        customer_id: str = "",
        at: int | None = None,
    ) -> None:
        """A lead, its attempt, and what was heard of it, in seconds after the start. What follows
        for the lead is dialling's; here nothing does, but that the attempt is over."""
        started_at = self.store.clock.now_us() if at is None else at
        lead_id = f"lead-{attempt_id}"

        async def work(tx: Transaction) -> Answer:
            details = leads.Details((leads.Given("+33612345678", "FR"),), name="Ann Example")
            add = leads.AddLead(
                LeadOrigin(campaign_id, "list-1", customer_id), details, "import", started_at
            )
            await tx.execute(LEADS, lead_id, add)
            await tx.execute(LEADS, lead_id, leads.Dial(attempt_id, "1", started_at))
            origin = a.Origin(campaign_id, "list-1", lead_id, customer_id, "1", 1, started_at)
            rules = (RuleUse("fr.hours", 3, "within 10:00-13:00"),)
            start = a.StartAttempt(
                origin, "predictive", rules, started_at + 2 * S, "predictive", "4 of 3 free"
            )
            await tx.execute(ATTEMPTS, attempt_id, start)
            contact = Contact(
                at=started_at,
                client_id=self.client_id,
                campaign_id=campaign_id,
                number_key=b"number",
                purpose="sales",
                customer_key=contacts.customer_key(customer_id, lead_id),
            )
            await contacts.begin(tx.connection, [(attempt_id, contact)])
            moved = tuple(replace(each, at=started_at + each.at) for each in heard)
            change = await tx.execute(ATTEMPTS, attempt_id, a.Hear(moved))
            if change.after.ended is not None:
                because = change.after.ended.result.value
                resolve = leads.Resolve(attempt_id, because, leads.Close(because))
                await tx.execute(LEADS, lead_id, resolve)
            return {}

        await self.store.run(Cause(self.client_id, "dialer-worker"), work)

    async def listed(self, path: str, name: str, **query: Any) -> list[str]:
        """All pages of a list."""
        found: list[str] = []
        cursor: dict[str, str] = {}
        while True:
            page = await self.get(path, **query, limit=2, **cursor)
            found += [item[name] for item in page["items"]]
            if page["next"] is None:
                return found
            cursor = {"cursor": page["next"]}

    async def names(self, path: str) -> list[str]:
        return [each["event"] for each in (await self.get(f"{path}/history"))["items"]]


@asynccontextmanager
async def open_desk(store: EventStore, client_id: str) -> AsyncIterator[Desk]:
    async def known(_: str) -> bool:
        return True

    dialer = Dialer.over(store)
    app = make_app("dialer", "1", CALLERS, known, max_body=MAX_BODY)
    for router in (
        campaigns.router(dialer.campaigns),
        attempts.router(dialer.attempts),
        dispositions.router(dialer.dispositions),
        leads_api.router(dialer.leads),
    ):
        app.include_router(router)
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://dialer") as http:
        yield Desk(http, dialer, store, client_id)
