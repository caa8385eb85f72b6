"""A real broker of the local stack for the whole session, and topics of their own for each test."""

import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from eventkit.producer import Producer
from eventkit.tests.support import Kafka, MakeTopic
from relaisctl.stack import Broker, Ports, Stack
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
