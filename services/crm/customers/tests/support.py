"""The customers' HTTP API in this process, with real PostgreSQL behind it."""

import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
from fastapi import FastAPI

from eventkit.callers import Callers, Role
from eventkit.eventstore import EventStore
from eventkit.http import make_app
from services.crm.customers.api import router
from services.crm.customers.service import Customers

CALLERS = Callers({"test": bytes(32)})


def token(clients: list[str], role: Role) -> str:
    return CALLERS.issue("ana", clients, role, time.time_ns() // 1000, 3600)


class Api:
    """Calls of one caller, who sees `client_id`; `path` is below the client's customers."""

    def __init__(self, http: httpx.AsyncClient, client_id: str, role: Role) -> None:
        self._http = http
        self._base = f"/v1/clients/{client_id}/customers"
        self._headers = {"Authorization": f"Bearer {token([client_id], role)}"}

    async def call(
        self, method: str, path: str = "", body: Any = None, key: str = "", base: str = ""
    ) -> httpx.Response:
        headers = self._headers | ({"Idempotency-Key": key} if key else {})
        return await self._http.request(
            method, (base or self._base) + path, json=body, headers=headers
        )

    async def ok(self, method: str, path: str = "", body: Any = None, key: str = "") -> Any:
        answer = await self.call(method, path, body, key)
        assert answer.is_success, answer.text
        return answer.json()

    async def register(self, **details: Any) -> str:
        return str((await self.ok("POST", "", details))["customer_id"])

    async def find(self, **asked: Any) -> list[str]:
        return [item["customer_id"] for item in (await self.ok("POST", "/find", asked))["items"]]


def make_service(store: EventStore) -> Customers:
    return Customers(store, lambda: str(uuid.uuid4()))


def make_api(store: EventStore) -> FastAPI:
    async def every_client_but_one(client_id: str) -> bool:
        return client_id != "unregistered"

    app = make_app("crm", "1", CALLERS, every_client_but_one, max_body=2 << 20)
    app.include_router(router(make_service(store)))
    return app


@asynccontextmanager
async def serving(store: EventStore) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(make_api(store))
    async with httpx.AsyncClient(transport=transport, base_url="http://crm") as http:
        yield http
