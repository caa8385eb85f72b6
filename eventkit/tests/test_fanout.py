"""Many listeners, one reader: each gets its own, in order, from when it began to listen."""

import asyncio
import time
from collections.abc import Iterable

import pytest

from eventkit.errors import InvalidMessage, Unavailable
from eventkit.fanout import Fanout, Listener
from eventkit.producer import Producer
from eventkit.records import Message, Record
from eventkit.tests.support import Kafka, MakeTopic, until


def by_key(record: Record) -> Iterable[tuple[str, int]]:
    if record.value == b"rubbish":
        raise InvalidMessage("", "rubbish")
    yield (record.key or b"").decode(), int(record.value or b"")


async def take(listener: Listener[int], count: int) -> list[int]:
    return [await anext(listener) for _ in range(count)]


async def test_each_its_own_from_now_on(
    kafka: Kafka, make_topic: MakeTopic, producer: Producer
) -> None:
    one, two = await make_topic(partitions=3), await make_topic()
    for topic in (one, two):
        await producer.deliver(Message(topic, b"a", b"-1"))
    fanout = Fanout(kafka.bootstrap, [one, two], by_key)
    async with fanout.listen("a") as a, fanout.listen("b") as b, fanout.listen("a") as again:
        for number in range(200):
            await producer.deliver(Message(one, b"ab"[number % 2 :][:1], b"%d" % number))
        await producer.deliver(Message(two, b"b", b"rubbish"))
        await producer.deliver(Message(two, b"b", b"1000"))
        assert await take(a, 100) == [*range(0, 200, 2)]
        assert await take(again, 100) == [*range(0, 200, 2)]
        assert sorted(await take(b, 101)) == [*range(1, 200, 2), 1000]
    await producer.deliver(Message(one, b"a", b"-2"))
    async with fanout.listen("a") as a:
        await producer.deliver(Message(one, b"a", b"7"))
        assert await take(a, 1) == [7]


async def test_nothing_is_missed_by_who_begins_to_listen(
    kafka: Kafka, make_topic: MakeTopic, producer: Producer
) -> None:
    """Between a state that is read after `listen` and what comes through it there is no gap."""
    topic, published = await make_topic(), [0]
    await producer.deliver(Message(topic, b"a", b"0"))

    async def publish() -> None:
        while True:
            await producer.deliver(Message(topic, b"a", b"%d" % (published[0] + 1)))
            published[0] += 1

    fanout, publishing = Fanout(kafka.bootstrap, [topic], by_key), asyncio.create_task(publish())
    for _ in range(5):
        async with fanout.listen("a") as a:
            state = published[0]
            first = await anext(a)
            while first <= state:
                first = await anext(a)
            assert first == state + 1
    publishing.cancel()


async def test_who_is_slow_is_let_go(
    kafka: Kafka, make_topic: MakeTopic, producer: Producer
) -> None:
    topic = await make_topic()
    await producer.deliver(Message(topic, b"a", b"0"))
    fanout = Fanout(kafka.bootstrap, [topic], by_key, max_waiting=10)
    async with fanout.listen("a") as slow, fanout.listen("b") as other:
        for number in range(15):
            await producer.deliver(Message(topic, b"a", b"%d" % number))
        await producer.deliver(Message(topic, b"b", b"1"))
        assert await take(other, 1) == [1]
        assert await take(slow, 10) == [*range(10)]
        with pytest.raises(Unavailable, match="more than 10 updates have waited"):
            await take(slow, 3)


async def test_a_bug_ends_all_and_the_next_begins_anew(
    kafka: Kafka, make_topic: MakeTopic, producer: Producer
) -> None:
    topic = await make_topic()
    await producer.deliver(Message(topic, b"a", b"0"))
    fanout = Fanout(kafka.bootstrap, [topic], by_key)
    async with fanout.listen("a") as a:
        await producer.deliver(Message(topic, b"a", b"no number"))
        with pytest.raises(ValueError, match="no number"):
            await anext(a)
    async with fanout.listen("a") as a:
        await producer.deliver(Message(topic, b"a", b"5"))
        assert await take(a, 1) == [5]


async def test_two_thousand_listeners(
    kafka: Kafka, make_topic: MakeTopic, producer: Producer
) -> None:
    topic, got = await make_topic(partitions=3), 0
    await producer.deliver(Message(topic, b"a", b"0"))
    fanout = Fanout(kafka.bootstrap, [topic], by_key)

    async def listen(name: str) -> None:
        nonlocal got
        async with fanout.listen(name) as listener:
            assert await take(listener, 5) == [*range(5)]
            got += 1

    listening = [asyncio.create_task(listen(f"k{number}")) for number in range(2_000)]

    async def all_listen() -> bool:
        return len(fanout._listeners) == 2_000 and fanout._reading is not None

    await until(all_listen, "all listen")
    began = time.monotonic()
    for number in range(5):
        await producer.send_many(
            Message(topic, b"k%d" % each, b"%d" % number) for each in range(2_000)
        )
    await asyncio.wait_for(asyncio.gather(*listening), 30)
    print(f"10,000 updates to 2,000 listeners in {time.monotonic() - began:.2f} s")
    assert got == 2_000
