"""A real PostgreSQL for the whole session, with a database of keys; each event-sourced service
makes its own beside it. Tests share them: each has a client of its own."""

import asyncio
import os
import tempfile
import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, MetaData
from sqlalchemy.ext.asyncio import AsyncEngine

from eventkit.clock import SystemClock
from eventkit.eventstore import Cause, EventStore
from eventkit.keys import KeyRing, PostgresKeyRing, migrate_keys
from eventkit.postgres import make_engine, migrate
from relaisctl.stack import Ports, Stack
from relaisctl.stack.postgres import query


@dataclass(frozen=True)
class Postgres:
    """URLs of a server and of a fresh database of keys. stack: None where the server was given."""

    server: str
    keys: str
    stack: Stack | None

    def database(self, name: str, migrations: str) -> str:
        """The URL of a fresh database with all tables."""
        url = _create(self.server, name)
        asyncio.run(migrate(url, migrations))
        return url


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """RELAIS_POSTGRES names a server to use; else one of the local stack is started."""
    given = os.environ.get("RELAIS_POSTGRES")
    if given:
        yield Postgres(given, _keys(given), None)
        return
    # Not in pytest's own folder: that is closed to the user that PostgreSQL runs as for root.
    with tempfile.TemporaryDirectory(prefix="relais-") as home:
        stack = Stack(Path(home), Ports.free())
        try:
            stack.start(["postgres"])
            server = stack.addresses["postgres"]
            yield Postgres(server, _keys(server), stack)
        finally:
            stack.stop()


def _create(server: str, name: str) -> str:
    database = f"{name}_{uuid.uuid4().hex[:8]}"
    query(server, f"CREATE DATABASE {database}")
    return f"{server.rpartition('/')[0]}/{database}"


def _keys(server: str) -> str:
    url = _create(server, "keys")

    async def make_tables() -> None:
        engine = make_engine(url)
        await migrate_keys(engine)
        await engine.dispose()

    asyncio.run(make_tables())
    return url


@pytest.fixture
async def keys(postgres: Postgres) -> AsyncIterator[KeyRing]:
    engine = make_engine(postgres.keys)
    yield PostgresKeyRing(engine, {"test": bytes(32)})
    await engine.dispose()


# Of the service whose conftest has a `database`.


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


@pytest.fixture
def client_id() -> str:
    """Nobody else's."""
    return f"client-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def cause(client_id: str) -> Cause:
    """Of that client."""
    return Cause(client_id, actor="agent-1")


async def differences(engine: AsyncEngine, metadata: MetaData) -> list[object]:
    """Between the tables that migrations have made and those that the code describes."""

    def compare(connection: Connection) -> list[object]:
        ours = set(metadata.tables)
        options = {
            "include_name": lambda name, kind, _: kind != "table" or name in ours,
            "compare_type": True,
        }
        return list(
            compare_metadata(MigrationContext.configure(connection, opts=options), metadata)
        )

    async with engine.connect() as connection:
        return await connection.run_sync(compare)
