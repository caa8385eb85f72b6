"""The database of the dialer, for all of its tests."""

from collections.abc import AsyncIterator

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from eventkit.clock import SystemClock
from eventkit.eventstore import EventStore
from eventkit.keys import KeyRing
from eventkit.postgres import make_engine
from services.conftest import Postgres


@pytest.fixture(scope="session")
def database(postgres: Postgres) -> str:
    """The URL of a fresh one."""
    return postgres.database("dialer", "services.dialer:migrations")


@pytest.fixture
async def engine(database: str) -> AsyncIterator[AsyncEngine]:
    engine = make_engine(database)
    yield engine
    await engine.dispose()


@pytest.fixture
async def store(engine: AsyncEngine, keys: KeyRing) -> AsyncIterator[EventStore]:
    store = EventStore(engine, keys, SystemClock())
    yield store
    await store.close()
