"""Complaints over HTTP and gRPC in this process, with real PostgreSQL behind them."""

import itertools
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import httpx

from eventkit.callers import Callers, Role
from eventkit.clock import Clock
from eventkit.eventstore import EventStore
from eventkit.http import make_app
from services.crm.complaints.api import router
from services.crm.complaints.service import Complaints

CALLERS = Callers({"test": bytes(32)})
PARIS = ZoneInfo("Europe/Paris")


def us(text: str) -> int:
    """A time on the wall in Paris."""
    return round(datetime.fromisoformat(text).replace(tzinfo=PARIS).timestamp() * 1_000_000)


class SetClock:
    """Shows what it is told to."""

    def __init__(self, now: int) -> None:
        self.now = now

    def now_us(self) -> int:
        return self.now


def token(clients: list[str], role: Role) -> str:
    return CALLERS.issue("ana", clients, role, time.time_ns() // 1000, 3600)


def make_service(store: EventStore, clock: Clock) -> Complaints:
    async def zone(_: str) -> ZoneInfo:
        return PARIS

    numbers = itertools.count(1)
    mark = uuid.uuid4().hex[:8]
    return Complaints(store, zone, clock, lambda: f"{mark}-{next(numbers)}")


class Api:
    """Calls of one caller, who sees `client_id`; `path` is below the client."""

    def __init__(self, http: httpx.AsyncClient, client_id: str, role: Role) -> None:
        self.http = http
        self.client_id = client_id
        self.headers = {"Authorization": f"Bearer {token([client_id], role)}"}

    def as_(self, role: Role) -> "Api":
        return Api(self.http, self.client_id, role)

    async def call(self, method: str, path: str, body: Any = None, key: str = "") -> httpx.Response:
        headers = self.headers | ({"Idempotency-Key": key} if key else {})
        path = f"/v1/clients/{self.client_id}{path}"
        return await self.http.request(method, path, json=body, headers=headers)

    async def ok(self, method: str, path: str, body: Any = None, key: str = "") -> Any:
        answer = await self.call(method, path, body, key)
        assert answer.is_success, answer.text
        return answer.json()

    async def open(self, **details: Any) -> str:
        return str((await self.ok("POST", "/complaints", details))["complaint_id"])

    async def do(self, complaint_id: str, word: str, **body: Any) -> int:
        path = f"/complaints/{complaint_id}/{word}"
        sent = body if body or word == "acknowledge" else None
        return int((await self.ok("POST", path, sent))["version"])

    async def refused(self, complaint_id: str, word: str, **body: Any) -> str:
        sent = body if body or word == "acknowledge" else None
        answer = await self.call("POST", f"/complaints/{complaint_id}/{word}", sent)
        assert answer.status_code == 409, answer.text
        return str(answer.json()["detail"])

    async def get(self, complaint_id: str) -> Any:
        return await self.ok("GET", f"/complaints/{complaint_id}")

    async def listed(self, **query: Any) -> list[str]:
        found, cursor = [], None
        while True:
            asked = query | {"limit": 2} | ({"cursor": cursor} if cursor else {})
            path = f"/v1/clients/{self.client_id}/complaints"
            answer = await self.http.get(path, params=asked, headers=self.headers)
            assert answer.is_success, answer.text
            page = answer.json()
            found += [item["complaint_id"] for item in page["items"]]
            if (cursor := page["next"]) is None:
                return found

    async def events(self, complaint_id: str) -> list[Any]:
        return list((await self.ok("GET", f"/complaints/{complaint_id}/history"))["items"])


@asynccontextmanager
async def serving(service: Complaints) -> AsyncIterator[httpx.AsyncClient]:
    async def known(_: str) -> bool:
        return True

    app = make_app("crm", "1", CALLERS, known)
    app.include_router(router(service))
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://crm") as http:
        yield http
