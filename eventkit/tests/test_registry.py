"""A registry says no only after it has looked again; and what it cannot look at is Unavailable."""

import pytest

from eventkit.errors import NotFound
from eventkit.producer import Producer
from eventkit.records import Message, Record
from eventkit.registry import Registry
from eventkit.tests.support import Kafka, MakeTopic


def text(record: Record) -> str:
    return (record.value or b"").decode()


async def test_what_comes_later_is_found(
    kafka: Kafka, make_topic: MakeTopic, producer: Producer
) -> None:
    topic = await make_topic()
    await producer.deliver(Message(topic, b"norlink", b"Europe/Oslo"))
    async with Registry(kafka.bootstrap, topic, text, "client") as clients:
        assert not await clients.known("acme")
        with pytest.raises(NotFound, match="no such client"):
            await clients.get("acme")
        await producer.deliver(Message(topic, b"acme", b"Europe/Paris"))
        assert await clients.get("acme") == "Europe/Paris"
        assert await clients.known("acme")
        assert not await clients.known("globex")
