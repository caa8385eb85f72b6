"""Visits over the service and over HTTP in this process, with real PostgreSQL behind them."""

import itertools
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import httpx

from eventkit.callers import Callers, Role
from eventkit.clock import Clock
from eventkit.eventstore import Answer, Cause, EventStore, Transaction
from eventkit.http import make_app
from services.orders.visits.api import router
from services.orders.visits.area import Ground
from services.orders.visits.crew import Arrangement
from services.orders.visits.service import Booking, Visits, Want
from services.orders.visits.slots import Week

CALLERS = Callers({"test": bytes(32)})
PARIS = ZoneInfo("Europe/Paris")
HOUR = 3_600_000_000
FIBRE = Want("paris", "fibre", 60)
WEEKDAYS: Week = (((480, 720), (780, 1020)),) * 5 + ((), ())


def us(text: str, zone: str = "Europe/Paris") -> int:
    """A time on a wall."""
    return round(
        datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp() * 1_000_000
    )


class SetClock:
    """Shows what it is told to."""

    def __init__(self, now: int) -> None:
        self.now = now

    def now_us(self) -> int:
        return self.now


def make_service(store: EventStore, clock: Clock) -> Visits:
    async def zone(_: str) -> ZoneInfo:
        return PARIS

    return Visits(store, zone, clock)


class Desk:
    """What a dispatcher does for one client."""

    def __init__(self, visits: Visits, cause: Cause) -> None:
        self.visits = visits
        self.cause = cause
        self._ids = itertools.count(1)

    async def area(self, area_id: str = "paris", *prefixes: str) -> None:
        await self.visits.draw(self.cause, area_id, Ground(area_id, "FR", prefixes or ("75",)))

    async def crew(
        self,
        crew_id: str,
        *,
        week: Week = WEEKDAYS,
        areas: Sequence[str] = ("paris",),
        skills: Sequence[str] = ("fibre",),
        travel: int = 0,
    ) -> Answer:
        arrangement = Arrangement(
            crew_id, "Europe/Paris", week, tuple(areas), tuple(skills), travel
        )
        return await self.visits.arrange(self.cause, crew_id, arrangement)

    async def book(
        self, starts_at: int | str, visit_id: str = "", want: Want = FIBRE, replacing: str = ""
    ) -> Booking:
        begin = us(starts_at) if isinstance(starts_at, str) else starts_at
        visit_id = visit_id or f"x-{next(self._ids)}"

        async def work(tx: Transaction) -> Answer:
            return _plain(
                await self.visits.book(
                    tx, _order_of(visit_id), visit_id, want, begin, replacing=replacing
                )
            )

        return Booking(**await self.visits.events.run(self.cause, work))

    async def soonest(
        self,
        not_before: int | str,
        visit_id: str = "",
        want: Want = FIBRE,
        replacing: str = "",
        avoid_crew: str = "",
    ) -> Booking:
        begin = us(not_before) if isinstance(not_before, str) else not_before
        visit_id = visit_id or f"x-{next(self._ids)}"

        async def work(tx: Transaction) -> Answer:
            return _plain(
                await self.visits.book_soonest(
                    tx,
                    _order_of(visit_id),
                    visit_id,
                    want,
                    begin,
                    replacing=replacing,
                    avoid_crew=avoid_crew,
                )
            )

        return Booking(**await self.visits.events.run(self.cause, work))

    async def booked(self, **wanted: Any) -> list[dict[str, Any]]:
        return await self.visits.bookings(self.cause.client_id, limit=1_000, **wanted)

    async def free(
        self, begin: int | str, days: int = 1, want: Want = FIBRE, limit: int = 1_000
    ) -> list[tuple[int, int]]:
        """(start, crews)."""
        from_at = us(begin) if isinstance(begin, str) else begin
        found = await self.visits.free(
            self.cause.client_id, want, from_at=from_at, days=days, limit=limit
        )
        return [(slot.starts_at, slot.crews) for slot in found]


def _order_of(visit_id: str) -> str:
    return f"o-{visit_id}"


def _plain(booking: Booking) -> Answer:
    return {name: getattr(booking, name) for name in booking.__slots__}


class Api:
    """Calls of one caller, who sees `client_id`; `path` is below the client."""

    def __init__(self, http: httpx.AsyncClient, client_id: str, role: Role) -> None:
        self.http = http
        self.client_id = client_id
        token = CALLERS.issue("ana", [client_id], role, time.time_ns() // 1000, 3600)
        self.headers = {"Authorization": f"Bearer {token}"}

    def as_(self, role: Role) -> "Api":
        return Api(self.http, self.client_id, role)

    async def call(self, method: str, path: str, body: Any = None, **query: Any) -> httpx.Response:
        path = f"/v1/clients/{self.client_id}{path}"
        return await self.http.request(
            method, path, json=body, params=query or None, headers=self.headers
        )

    async def ok(self, method: str, path: str, body: Any = None, **query: Any) -> Any:
        answer = await self.call(method, path, body, **query)
        assert answer.is_success, answer.text
        return answer.json()


@asynccontextmanager
async def serving(service: Visits) -> AsyncIterator[httpx.AsyncClient]:
    async def known(_: str) -> bool:
        return True

    app = make_app("orders", "1", CALLERS, known)
    app.include_router(router(service))
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://orders") as http:
        yield http
