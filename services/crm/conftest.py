"""A real PostgreSQL for the whole session, with the databases of crm and of the keys. Tests share
both: each has a client of its own."""

import asyncio
import os
import tempfile
import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from eventkit.clock import SystemClock
from eventkit.eventstore import Cause, EventStore
from eventkit.keys import KeyRing, PostgresKeyRing, migrate_keys
from eventkit.postgres import make_engine, migrate
from relaisctl.stack import Ports, Stack
from relaisctl.stack.postgres import query


@dataclass(frozen=True)
class Postgres:
    """Of one server: its URL, and those of fresh databases with all tables."""

    server: str
    crm: str
    keys: str
    stack: Stack | None


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """RELAIS_POSTGRES names a server to use; else one of the local stack is started."""
    given = os.environ.get("RELAIS_POSTGRES")
    if given:
        yield _databases(given, None)
        return
    # Not in pytest's own folder: that is closed to the user that PostgreSQL runs as for root.
    with tempfile.TemporaryDirectory(prefix="relais-") as home:
        stack = Stack(Path(home), Ports.free())
        try:
            stack.start(["postgres"])
            yield _databases(stack.addresses["postgres"], stack)
        finally:
            stack.stop()


def _databases(server: str, stack: Stack | None) -> Postgres:
    url, _, _ = server.rpartition("/")
    mark = uuid.uuid4().hex[:8]
    made = Postgres(server, f"{url}/crm_{mark}", f"{url}/keys_{mark}", stack)
    query(server, f"CREATE DATABASE crm_{mark}")
    query(server, f"CREATE DATABASE keys_{mark}")

    async def make_tables() -> None:
        await migrate(made.crm, "services.crm:migrations")
        engine = make_engine(made.keys)
        await migrate_keys(engine)
        await engine.dispose()

    asyncio.run(make_tables())
    return made


@pytest.fixture
async def engine(postgres: Postgres) -> AsyncIterator[AsyncEngine]:
    """Of crm's database."""
    engine = make_engine(postgres.crm)
    yield engine
    await engine.dispose()


@pytest.fixture
async def keys(postgres: Postgres) -> AsyncIterator[KeyRing]:
    engine = make_engine(postgres.keys)
    yield PostgresKeyRing(engine, {"test": bytes(32)})
    await engine.dispose()


@pytest.fixture
async def store(engine: AsyncEngine, keys: KeyRing) -> AsyncIterator[EventStore]:
    store = EventStore(engine, keys, SystemClock())
    yield store
    await store.close()


@pytest.fixture
def client_id() -> str:
    """Nobody else's."""
    return f"client-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def cause(client_id: str) -> Cause:
    """Of that client."""
    return Cause(client_id, actor="agent-1")
