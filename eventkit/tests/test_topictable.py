"""A table has what was acknowledged before it was asked."""

import asyncio

import pytest

from eventkit.errors import InvalidMessage
from eventkit.producer import Producer
from eventkit.records import Message, Record
from eventkit.tests.support import Kafka, MakeTopic
from eventkit.topictable import TopicTable, read_partition


def number(record: Record) -> int:
    try:
        return int(record.value or b"")
    except ValueError as error:
        raise InvalidMessage("value", str(error)) from error


async def test_the_latest_value_of_each_key(
    kafka: Kafka, make_topic: MakeTopic, producer: Producer
) -> None:
    topic = await make_topic(partitions=3, **{"cleanup.policy": "compact"})
    values = [(b"a", b"1"), (b"b", b"2"), (b"a", b"3"), (b"c", b"rubbish"), (b"b", None)]
    await producer.send_many(Message(topic, key, value) for key, value in values)
    async with TopicTable(kafka.bootstrap, topic, number) as table:
        assert dict(table.items()) == {b"a": 3}
        assert table.skipped == 1
        for n in range(20):
            await producer.deliver(Message(topic, b"new", b"%d" % n))
            assert table.get(b"new") == (n - 1 if n else None)
            await table.refresh()
            assert table.get(b"new") == n


async def test_a_flood_of_misses_costs_few_reads(
    kafka: Kafka, make_topic: MakeTopic, producer: Producer
) -> None:
    topic = await make_topic()
    async with TopicTable(kafka.bootstrap, topic, number) as table:

        async def miss(n: int) -> None:
            await producer.deliver(Message(topic, b"%d" % n, b"1"))
            await table.refresh()
            assert table.get(b"%d" % n) == 1

        await asyncio.wait_for(asyncio.gather(*[miss(n) for n in range(300)]), 10)


async def test_a_missing_topic_is_named(kafka: Kafka) -> None:
    if kafka.is_tansu:
        pytest.skip("Tansu creates a topic that is asked for")
    with pytest.raises(LookupError, match="topic no-such-topic does not exist"):
        await TopicTable(kafka.bootstrap, "no-such-topic", number).start()


async def test_a_range_of_one_partition(
    kafka: Kafka, make_topic: MakeTopic, producer: Producer
) -> None:
    topic = await make_topic(partitions=2)
    await producer.send_many(Message(topic, b"k", b"%d" % n, partition=1) for n in range(30))

    async def read(start: int, end: int | None) -> list[int]:
        chunks = read_partition(kafka.bootstrap, topic, 1, start, end)
        return [record.offset async for chunk in chunks for record in chunk]

    assert await read(0, None) == [*range(30)]
    assert await read(12, 20) == [*range(12, 20)]
    assert await read(30, None) == []
    assert await read(99, None) == []
