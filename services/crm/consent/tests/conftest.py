"""The edges of consent in this process, over a real PostgreSQL."""

import time
import uuid
from collections.abc import AsyncIterator, Callable

import grpc
import httpx
import pytest

from eventkit.callers import Callers
from eventkit.eventstore import EventStore
from eventkit.http import make_app
from eventkit.rpc import start_server
from services.crm.consent import api, rpc
from services.crm.consent.service import Services

CALLERS = Callers({"test": b"x" * 32})
SERVICE = "relais.customers.v1.CustomerService"


async def known(client_id: str) -> bool:
    return client_id.startswith("client-")


@pytest.fixture
def token(client_id: str) -> Callable[..., dict[str, str]]:
    """token(role, clients) -> the headers of a caller."""

    def make(role: str = "supervisor", clients: list[str] | None = None) -> dict[str, str]:
        now = time.time_ns() // 1000
        issued = CALLERS.issue("ana", clients or [client_id], role, now, 600)
        return {"authorization": f"Bearer {issued}"}

    return make


@pytest.fixture
def services(store: EventStore) -> Services:
    return Services.of(store, lambda: uuid.uuid4().hex)


@pytest.fixture
async def http(services: Services, client_id: str, token) -> AsyncIterator[httpx.AsyncClient]:
    """A supervisor's client, for paths below /v1/clients/<client>."""
    app = make_app("Relais crm", "1", CALLERS, known, max_body=2 << 20)
    app.include_router(api.router(services))
    base = f"http://crm/v1/clients/{client_id}"
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url=base, headers=token()) as client:
        yield client


@pytest.fixture
async def channel(services: Services) -> AsyncIterator[grpc.aio.Channel]:
    methods = {SERVICE: rpc.methods(services.contacts)}
    server, port = await start_server("127.0.0.1:0", methods, CALLERS, known)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield channel
    await server.stop(0)
