from collections.abc import AsyncIterator

import httpx
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from eventkit.callers import Role
from eventkit.eventstore import Cause, EventStore
from eventkit.keys import KeyRing
from services.orders.visits.service import Visits
from services.orders.visits.tests.support import (
    Api,
    Desk,
    SetClock,
    make_service,
    serving,
    us,
)


@pytest.fixture
def clock() -> SetClock:
    """A Monday morning in Paris, until somebody sets it."""
    return SetClock(us("2026-11-23T07:00"))


@pytest.fixture
async def store(engine: AsyncEngine, keys: KeyRing, clock: SetClock) -> AsyncIterator[EventStore]:
    store = EventStore(engine, keys, clock)
    yield store
    await store.close()


@pytest.fixture
def visits(store: EventStore, clock: SetClock) -> Visits:
    return make_service(store, clock)


@pytest.fixture
async def desk(visits: Visits, cause: Cause) -> Desk:
    """With an area `paris`: postal codes that begin with 75."""
    desk = Desk(visits, cause)
    await desk.area()
    return desk


@pytest.fixture
async def http(visits: Visits) -> AsyncIterator[httpx.AsyncClient]:
    async with serving(visits) as http:
        yield http


@pytest.fixture
def api(http: httpx.AsyncClient, client_id: str) -> Api:
    """A supervisor's calls."""
    return Api(http, client_id, Role.SUPERVISOR)
