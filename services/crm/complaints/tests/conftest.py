from collections.abc import AsyncIterator

import httpx
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from eventkit.callers import Role
from eventkit.eventstore import Cause, EventStore
from eventkit.keys import KeyRing
from services.crm.complaints.service import Complaints
from services.crm.complaints.tests.support import Api, SetClock, make_service, serving, us
from services.crm.customers.service import Customers, Given


@pytest.fixture
def clock() -> SetClock:
    """A Monday morning in Paris, until somebody sets it."""
    return SetClock(us("2026-11-23T10:00"))


@pytest.fixture
async def store(engine: AsyncEngine, keys: KeyRing, clock: SetClock) -> AsyncIterator[EventStore]:
    store = EventStore(engine, keys, clock)
    yield store
    await store.close()


@pytest.fixture
def service(store: EventStore, clock: SetClock) -> Complaints:
    return make_service(store, clock)


@pytest.fixture
async def http(service: Complaints) -> AsyncIterator[httpx.AsyncClient]:
    async with serving(service) as http:
        yield http


@pytest.fixture
def api(http: httpx.AsyncClient, client_id: str) -> Api:
    """A supervisor's calls."""
    return Api(http, client_id, Role.SUPERVISOR)


@pytest.fixture
def customers(store: EventStore) -> Customers:
    return Customers(store, lambda: "unused")


@pytest.fixture
async def customer(customers: Customers, cause: Cause) -> str:
    """A customer whom the client knows as K-1."""
    await customers.register(cause, Given(number="K-1", name="Ann Ö"), "agent", "cu-1")
    return "cu-1"
