"""An agent's desk: orders over HTTP in this process, with real PostgreSQL behind them."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

import httpx

from eventkit.callers import Role
from eventkit.eventstore import Cause, EventStore
from eventkit.http import make_app
from eventkit.process import new_id
from eventkit.timers import TimerWorker
from services.orders.forms.codec import form_of
from services.orders.order.api import router
from services.orders.order.store import ORDERS
from services.orders.order.tests.support import DOCUMENT, PROMOTION
from services.orders.service import Ordering
from services.orders.visits.area import Ground
from services.orders.visits.crew import Arrangement
from services.orders.visits.slots import Week
from services.orders.visits.tests.support import CALLERS, WEEKDAYS, SetClock

HOME = {
    "country": "FR",
    "lines": ["12 rue de la Paix"],
    "postal_code": "75002",
    "locality": "Paris",
    "as_spoken": "douze, rue de la Paix",
}
LYON = HOME | {"postal_code": "69001", "locality": "Lyon"}
TUESDAY_8 = "2026-11-24T08:00:00+01:00"
TUESDAY_9 = "2026-11-24T09:00:00+01:00"


@dataclass
class Desk:
    """Calls of one caller; `path` is below the client's orders."""

    http: httpx.AsyncClient
    ordering: Ordering
    store: EventStore
    clock: SetClock
    client_id: str
    role: Role = Role.AGENT

    def as_(self, role: Role) -> "Desk":
        return Desk(self.http, self.ordering, self.store, self.clock, self.client_id, role)

    async def call(
        self, method: str, path: str, body: Any = None, key: str = "", **query: Any
    ) -> httpx.Response:
        token = CALLERS.issue("ana", [self.client_id], self.role, time.time_ns() // 1000, 3600)
        headers = {"Authorization": f"Bearer {token}"}
        if key:
            headers["Idempotency-Key"] = key
        path = f"/v1/clients/{self.client_id}/orders{path}"
        return await self.http.request(method, path, json=body, params=query, headers=headers)

    async def get(self, path: str = "", **query: Any) -> Any:
        answer = await self.call("GET", path, **query)
        assert answer.is_success, answer.text
        return answer.json()

    async def do(self, path: str, body: Any = None, key: str = "") -> Any:
        answer = await self.call("POST", path, body, key)
        assert answer.is_success, answer.text
        return answer.json()

    async def refused(self, path: str, body: Any = None, status: int = 409) -> Any:
        answer = await self.call("POST", path, body)
        assert answer.status_code == status, answer.text
        return answer.json()

    async def draft(self, product_id: str = "line", **more: Any) -> str:
        body = {"product_id": product_id, "customer_id": "cu-1", **more}
        return str((await self.do("", body))["order_id"])

    async def address(self, order_id: str, field: str, address: Any = HOME) -> None:
        await self.do(f"/{order_id}/addresses/{field}", address)
        await self.do(f"/{order_id}/addresses/{field}/confirm")

    async def tell(self, order_id: str, *points: str) -> None:
        """These points; left out, all that have to be told."""
        wanted = points or [
            point["point_id"]
            for point in (await self.get(f"/{order_id}"))["checklist"]
            if point["required"] and not point["valid"]
        ]
        for point in wanted:
            await self.do(f"/{order_id}/points/{point}/tick")

    async def ready(self, starts_at: str = TUESDAY_8, **more: Any) -> str:
        """A draft that can be placed, with a visit."""
        answers = {"plan": "fast", "install": "crew", "routers": 2}
        id = await self.draft(**{"answers": answers, **more})
        await self.address(id, "home")
        await self.do(f"/{id}/visit", {"starts_at": starts_at})
        await self.tell(id)
        return id

    async def placed(self, **more: Any) -> str:
        id = await self.ready(**more)
        await self.do(f"/{id}/place")
        return id

    async def visit(self, order_id: str) -> Any:
        return (await self.get(f"/{order_id}"))["visit"]

    async def listed(self, **query: Any) -> list[str]:
        """All pages of a list."""
        found: list[str] = []
        cursor: dict[str, str] = {}
        while True:
            page = await self.get(**query, limit=2, **cursor)
            found += [item["order_id"] for item in page["items"]]
            if page["next"] is None:
                return found
            cursor = {"cursor": page["next"]}

    async def names(self, order_id: str) -> list[str]:
        history = (await self.get(f"/{order_id}/history"))["items"]
        return [each["event"].removeprefix("Order") for each in history]

    async def booked(self) -> set[str]:
        """All visits that crews are booked for, from now on."""
        rows = await self.ordering.visits.bookings(self.client_id, limit=1_000)
        return {row["visit_id"] for row in rows}

    async def timers_fire(self) -> None:
        """Everything that is due by now."""
        worker = TimerWorker(self.store, [ORDERS])
        while await worker._fire_due():
            pass

    # What supervisors have made.

    async def crew(
        self,
        crew_id: str,
        areas: tuple[str, ...] = ("lyon", "paris"),
        skills: tuple[str, ...] = ("fibre", "internet-install"),
        week: Week = WEEKDAYS,
    ) -> None:
        await self.ordering.visits.arrange(
            Cause(self.client_id, "sue"),
            crew_id,
            Arrangement(crew_id, "Europe/Paris", week, areas, skills),
        )

    async def prepare(self) -> None:
        """The product `line`, the four shipped ones, a promotion, two areas, one crew."""
        cause = Cause(self.client_id, "sue")
        await self.ordering.forms.publish(cause, "line", form_of(DOCUMENT))
        await self.ordering.promotions.publish(cause, PROMOTION)
        for area_id, prefix in (("paris", "75"), ("lyon", "69")):
            await self.ordering.visits.draw(cause, area_id, Ground(area_id, "FR", (prefix,)))
        await self.crew("crew-1")


@asynccontextmanager
async def open_desk(store: EventStore, clock: SetClock, client_id: str) -> AsyncIterator[Desk]:
    async def zone(_: str) -> ZoneInfo:
        return ZoneInfo("Europe/Paris")

    async def known(_: str) -> bool:
        return True

    ordering = Ordering.over(store, zone, clock, new_id)
    app = make_app("orders", "1", CALLERS, known)
    app.include_router(router(ordering.orders))
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://orders") as http:
        desk = Desk(http, ordering, store, clock, client_id)
        await desk.prepare()
        yield desk
