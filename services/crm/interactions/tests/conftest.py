"""Interactions' edges in this process, with a real PostgreSQL; and a real broker."""

import os
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import pytest

from eventkit.callers import Callers
from eventkit.eventstore import Cause, EventStore
from eventkit.http import make_app
from eventkit.records import Batch
from relaisctl.stack import Broker, Ports, Stack
from services.crm.catalogue.api import Template, template_catalogue
from services.crm.catalogue.catalogue import DefineOffer, ImportCatalogue, Offer
from services.crm.catalogue.service import Catalogues
from services.crm.customers.service import Customers, Given
from services.crm.interactions.api import router
from services.crm.interactions.service import Interactions
from services.crm.interactions.stream import CALLS, Timelines
from services.crm.interactions.tests.events import records
from services.crm.knowledge.store import article_version, count_helped

CALLERS = Callers({"test": bytes(32)})


async def zone(_: str) -> ZoneInfo:
    return ZoneInfo("Europe/Paris")


async def known(client_id: str) -> bool:
    return client_id.startswith("client-")


def token(client_id: str, role: str = "agent") -> dict[str, str]:
    issued = CALLERS.issue("ann", [client_id], role, time.time_ns() // 1000, 600)
    return {"Authorization": f"Bearer {issued}"}


class Centre:
    """One client's calls as an agent has them: paths are below the client."""

    def __init__(self, store: EventStore, http: httpx.AsyncClient, client_id: str) -> None:
        self.store = store
        self.http = http
        self.client_id = client_id
        self.cause = self.cause_of(client_id)
        self.customers = Customers(store, lambda: f"c-{uuid.uuid4().hex[:12]}")
        self.catalogues = Catalogues(store)
        self.service = Interactions(
            store, lambda: uuid.uuid4().hex, zone, article_version, count_helped
        )

    @staticmethod
    def cause_of(client_id: str) -> Cause:
        return Cause(client_id, actor="sue")

    async def post(self, path: str, **body: Any) -> dict[str, Any]:
        answer = await self.http.post(path, json=body)
        assert answer.is_success, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def get(self, path: str, **query: Any) -> dict[str, Any]:
        answer = await self.http.get(path, params=query)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def register(self, number: str = "") -> str:
        done = await self.customers.register(self.cause, Given(number=number, name="Eva"), "agent")
        return str(done["customer_id"])

    async def call_events(self, *events: Any) -> None:
        """As if the consumer had read them, in one batch."""
        batch = Batch("call-events", 0, 0, len(events), records(events))
        assert await Timelines(CALLS, self.store.engine, known)(batch) == []

    async def timeline(self, customer_id: str) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = (await self.get(f"/customers/{customer_id}/timeline"))[
            "items"
        ]
        return items


@pytest.fixture
async def centre(store: EventStore, client_id: str) -> AsyncIterator[Centre]:
    """With the template's catalogue, and the offers `fibre` and `mobile`."""
    app = make_app("test", "1", CALLERS, known)
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app),
        base_url=f"http://test/v1/clients/{client_id}",
        headers=token(client_id),
    ) as http:
        centre = Centre(store, http, client_id)
        app.include_router(router(centre.service))
        whole = ImportCatalogue(template_catalogue(Template.TELECOM))
        await centre.catalogues.change(centre.cause, whole)
        for offer_id in ("fibre", "mobile"):
            offer = DefineOffer(offer_id, Offer({"": offer_id}))
            await centre.catalogues.change(centre.cause, offer)
        yield centre


@pytest.fixture(scope="session")
def kafka() -> Iterator[str]:
    """A broker with all topics, and nobody else's records."""
    with tempfile.TemporaryDirectory(prefix="relais-") as home:
        broker = Broker(os.environ.get("RELAIS_BROKER") or Broker.AUTO)
        stack = Stack(Path(home), Ports.free(), broker=broker)
        try:
            stack.start(["kafka"])
            yield stack.addresses["kafka"]
        finally:
            stack.stop()
