"""A real broker and a real PostgreSQL of the local stack for the whole session; topics and
databases of their own for each test."""

import tempfile
import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from sqlalchemy.ext.asyncio import AsyncEngine

from eventkit.clock import SystemClock
from eventkit.eventstore import EventStore
from eventkit.keys import KeyRing, PostgresKeyRing, migrate_keys
from eventkit.postgres import make_engine
from eventkit.producer import Producer
from eventkit.tests.accounts import make_tables
from eventkit.tests.support import Kafka, MakeTopic, Postgres
from relaisctl.stack import Broker, Ports, Stack
from relaisctl.stack.postgres import create_databases, database_url
from relaisctl.stack.settings import Environment


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    # RELAIS_BROKER and RELAIS_KAFKA choose the broker, as for everything else.
    settings = replace(
        Environment().stack_settings(), home=tmp_path_factory.mktemp("stack"), ports=Ports.free()
    )
    stack = Stack.of(settings)
    try:
        stack.start(["kafka"])
        yield Kafka(stack.addresses["kafka"], stack.broker is Broker.TANSU, stack)
    finally:
        stack.stop()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    # Not in pytest's own folder: that is closed to the user that PostgreSQL runs as for root.
    with tempfile.TemporaryDirectory(prefix="relais-") as home:
        stack = Stack(Path(home), Ports.free())
        try:
            stack.start(["postgres"])
            yield Postgres(stack.addresses["postgres"], stack)
        finally:
            stack.stop()


@pytest.fixture
def database(postgres: Postgres) -> str:
    """The URL of a new, empty database."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    create_databases(postgres.url, [name])
    return database_url(postgres.url, name)


@pytest.fixture
async def make_topic(kafka: Kafka) -> AsyncIterator[MakeTopic]:
    """make_topic(partitions=1, **settings) -> the name of a new topic; its dead letters too."""
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await admin.start()

    async def make(partitions: int = 1, **settings: str) -> str:
        name = f"test-{uuid.uuid4().hex[:12]}"
        topics = [
            NewTopic(name, partitions, 1, topic_configs=settings),
            NewTopic(f"{name}-dlq", partitions, 1, topic_configs={"max.message.bytes": "8388608"}),
        ]
        await admin.create_topics(topics)
        return name

    yield make
    await admin.close()


@pytest.fixture
async def producer(kafka: Kafka) -> AsyncIterator[Producer]:
    async with Producer(kafka.bootstrap) as producer:
        yield producer


@pytest.fixture
async def engine(database: str) -> AsyncIterator[AsyncEngine]:
    """Of a database with an event store, the tables of accounts.py, and a key ring's."""
    engine = make_engine(database, pool_size=20)
    await make_tables(engine)
    await migrate_keys(engine)
    yield engine
    await engine.dispose()


@pytest.fixture
async def keys(database: str, engine: AsyncEngine) -> AsyncIterator[KeyRing]:
    # A pool of its own: who has a connection for a command asks for keys meanwhile.
    engine = make_engine(database)
    yield PostgresKeyRing(engine, {"test": bytes(32)})
    await engine.dispose()


@pytest.fixture
async def store(engine: AsyncEngine, keys: KeyRing) -> AsyncIterator[EventStore]:
    store = EventStore(engine, keys, SystemClock())
    yield store
    await store.close()
