"""Nothing is lost and the order holds, whatever is killed; and one name has one subscription."""

import asyncio
import json
import os
import random
import signal
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import aclosing
from itertools import pairwise
from pathlib import Path

import pytest
from aiokafka import ConsumerRecord
from hypothesis import given
from hypothesis import strategies as st

from eventkit import subscription as module
from eventkit.errors import InvalidMessage
from eventkit.producer import Producer
from eventkit.records import Message, Record
from eventkit.subscription import (
    Everything,
    Position,
    Subscribers,
    Subscription,
    TakenOver,
    Update,
    _Partition,
    _Place,
)
from eventkit.tests import programs
from eventkit.tests.support import Kafka, MakeTopic, ended, fork, until

PARTITIONS = 3


class Named:
    """Gives the records of a key from one that says `name` to one that says `over`."""

    def __init__(self) -> None:
        self._open: dict[bytes | None, int] = {}

    def take(self, record: Record) -> bool:
        if record.value == b"rubbish":
            raise InvalidMessage("", "rubbish")
        if record.value == b"name":
            self._open.setdefault(record.key, record.offset)
        wanted = record.key in self._open
        if record.value == b"over":
            self._open.pop(record.key, None)
        return wanted

    def since(self) -> int | None:
        return min(self._open.values(), default=None)


def record(offset: int, key: bytes, value: bytes) -> Record:
    made: Record = ConsumerRecord("t", 0, offset, 0, 0, key, value, None, -1, -1, ())
    return made


LOG = st.lists(
    st.tuples(st.sampled_from([b"a", b"b", b"c"]), st.sampled_from([b"name", b"on", b"over"])),
    max_size=30,
)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("read"), st.integers(1, 8)),
        st.tuples(st.just("acknowledge"), st.integers(0, 8)),
        st.tuples(st.just("keep"), st.just(0)),
        st.tuples(st.just("crash"), st.just(0)),
        st.tuples(st.just("crash without metadata"), st.just(0)),
    ),
    max_size=40,
)


@given(LOG, STEPS)
def test_what_is_given_follows_from_the_log_alone(
    content: list[tuple[bytes, bytes]], steps: list[tuple[str, int]]
) -> None:
    """Whenever it crashes: all that the selection wants, in order, each naming the one before."""
    log = [record(offset, key, value) for offset, (key, value) in enumerate(content)]
    whole = Named()
    wanted = [each.offset for each in log if whole.take(each)]
    before = dict(zip(wanted, [None, *wanted], strict=False))

    kept = _Place.at(0)
    partition = _Partition(Named, kept)
    given_now: list[int] = []
    acknowledged: set[int] = set()
    chained = True

    def read(count: int) -> None:
        for each in log[partition.read : partition.read + count]:
            update = partition.take(each)
            if update is not None:
                assert each.offset not in acknowledged or not chained
                assert each.offset in wanted
                if chained or update.previous is not None:
                    assert update.previous == before[each.offset]
                given_now.append(each.offset)

    for step, number in steps:
        match step:
            case "read":
                read(number)
            case "acknowledge" if given_now:
                offset = given_now[min(number, len(given_now) - 1)]
                assert partition.acknowledge(offset)
            case "keep":
                kept = partition.place((1, "me"), "")
                assert kept == _Place.read(kept.offset, kept.metadata())
                acknowledged = {each for each in wanted if each < kept.done}
            case "crash":
                partition, given_now = _Partition(Named, kept), []
            case "crash without metadata":
                kept = _Place.read(kept.offset, "")
                partition, given_now, chained = _Partition(Named, kept), [], False
    read(len(log))
    last_run = [each for each in wanted if each >= partition.begun.done]
    assert given_now == last_run
    for offset in {*range(len(log))} - {*wanted}:
        assert not partition.acknowledge(offset) or offset < partition.done()


def test_a_new_log_begins_a_new_chain() -> None:
    partition = _Partition(Everything, _Place(7, 9, 8))
    assert partition.take(record(7, b"a", b"")) is None
    [update] = [partition.take(record(9, b"a", b""))]
    assert update is not None
    assert update.previous == 8
    [update] = [partition.take(record(0, b"a", b""))]
    assert update is not None
    assert update.previous is None
    assert partition.place((1, "me"), "").done == 0


# On a broker.


async def fill(producer: Producer, topic: str, count: int, start: int = 0) -> None:
    await producer.send_many(
        Message(topic, b"k%d" % (number % 20), b"%d" % number)
        for number in range(start, start + count)
    )


async def acknowledging(queue: "asyncio.Queue[Position | None]") -> AsyncIterator[Position]:
    while (position := await queue.get()) is not None:
        yield position


async def take(subscription: Subscription, count: int, acknowledge: bool = True) -> list[Update]:
    """So many updates, acknowledged and kept."""
    queue: asyncio.Queue[Position | None] = asyncio.Queue()
    found: list[Update] = []
    async with aclosing(subscription.updates(acknowledging(queue))) as updates:
        async for update in updates:
            if len(found) == count:
                continue  # on its way before we had said our last word
            found.append(update)
            if acknowledge:
                queue.put_nowait(update.position)
            if len(found) == count:
                queue.put_nowait(None)
    return found


def values(updates: list[Update]) -> list[int]:
    return sorted(int(update.record.value or b"") for update in updates)


async def test_goes_on_after_what_is_acknowledged(
    kafka: Kafka, make_topic: MakeTopic, producer: Producer
) -> None:
    topic = await make_topic(partitions=PARTITIONS)
    await fill(producer, topic, 90)
    subscribers = Subscribers(kafka.bootstrap, [topic], topic)
    async with subscribers.begin("a", earliest=True) as subscription:
        first = await take(subscription, 30)
    async with subscribers.begin("a") as subscription:
        second = await take(subscription, 20, acknowledge=False)
    async with subscribers.begin("a") as subscription:
        third = await take(subscription, 60)
    assert values(first + third) == [*range(90)]
    assert {each.position for each in second} <= {each.position for each in third}
    if not kafka.is_tansu:
        check_chains(first + third)
    async with subscribers.begin("b", earliest=True) as subscription:
        assert values(await take(subscription, 90)) == [*range(90)], "another name, all of it"


def check_chains(updates: list[Update]) -> None:
    """Each names the one before it of its partition."""
    last: dict[int, int | None] = defaultdict(lambda: None)
    for update in updates:
        partition = update.record.partition
        assert update.previous == last[partition]
        last[partition] = update.record.offset


async def test_latest_means_from_the_first_time_on(
    kafka: Kafka, make_topic: MakeTopic, producer: Producer
) -> None:
    if kafka.is_tansu:
        pytest.skip("Tansu takes the last batch for one record when it is asked for the end")
    topic = await make_topic(partitions=PARTITIONS)
    await fill(producer, topic, 30)
    subscribers = Subscribers(kafka.bootstrap, [topic], topic)
    async with subscribers.begin("a"):
        pass  # and it breaks before anything came
    await fill(producer, topic, 10, start=30)
    async with subscribers.begin("a") as subscription:
        assert values(await take(subscription, 10)) == [*range(30, 40)]


async def test_the_window_bounds_what_is_ahead(
    kafka: Kafka, make_topic: MakeTopic, producer: Producer
) -> None:
    topic = await make_topic(partitions=PARTITIONS)
    await fill(producer, topic, 100)
    queue: asyncio.Queue[Position | None] = asyncio.Queue()
    got: asyncio.Queue[Update] = asyncio.Queue()
    subscribers = Subscribers(kafka.bootstrap, [topic], topic)
    async with subscribers.begin("a", earliest=True, window=7) as subscription:

        async def read() -> None:
            async for update in subscription.updates(acknowledging(queue)):
                got.put_nowait(update)

        reading = asyncio.create_task(read())
        first = [await got.get() for _ in range(7)]
        await asyncio.sleep(0.5)
        assert got.empty()
        queue.put_nowait(first[0].position)
        await got.get()
        await asyncio.sleep(0.5)
        assert got.empty(), "one for one"
        for update in first:
            queue.put_nowait(update.position)
        for _ in range(6):
            await got.get()
        queue.put_nowait(None)
        await reading


@pytest.mark.parametrize("wrong", [(0, 99), (0, -1), (9, 0)])
async def test_what_was_not_given_is_not_acknowledged(
    kafka: Kafka, make_topic: MakeTopic, producer: Producer, wrong: tuple[int, int]
) -> None:
    topic = await make_topic()
    await fill(producer, topic, 10)
    queue: asyncio.Queue[Position | None] = asyncio.Queue()
    subscribers = Subscribers(kafka.bootstrap, [topic], topic)
    async with subscribers.begin("a", earliest=True) as subscription:
        await take(subscription, 5)
    async with subscribers.begin("a") as subscription:
        queue.put_nowait(Position(topic, 0, 2))  # older than the last: nothing
        queue.put_nowait(Position(topic, *wrong))
        with pytest.raises(InvalidMessage) as refused:
            async for _ in subscription.updates(acknowledging(queue)):
                pass
        assert refused.value.field == "position"


async def test_a_newer_one_takes_over(
    kafka: Kafka, make_topic: MakeTopic, producer: Producer
) -> None:
    topic = await make_topic(partitions=PARTITIONS)
    await fill(producer, topic, 30)
    idle: asyncio.Queue[Position | None] = asyncio.Queue()

    async def follow(subscription: Subscription) -> None:
        async for update in subscription.updates(acknowledging(idle)):
            idle.put_nowait(update.position)

    here = Subscribers(kafka.bootstrap, [topic], topic)
    elsewhere = Subscribers(kafka.bootstrap, [topic], topic)
    async with here.begin("a", earliest=True) as first:
        following = asyncio.create_task(follow(first))
        await asyncio.sleep(0.5)
        async with here.begin("a") as second:
            with pytest.raises(TakenOver):
                await asyncio.wait_for(following, 1)
            following = asyncio.create_task(follow(second))
            if kafka.is_tansu:
                pytest.skip("Tansu keeps no metadata: other processes do not see each other")
            async with elsewhere.begin("a") as third:
                with pytest.raises(TakenOver):
                    await asyncio.wait_for(following, 10)
                await fill(producer, topic, 5, start=30)
                assert values(await take(third, 5)) == [*range(30, 35)], "all was kept"


async def test_another_choice_begins_another_chain(
    kafka: Kafka, make_topic: MakeTopic, producer: Producer
) -> None:
    topic = await make_topic()
    content = ["a name", "b on", "a rubbish", "a on", "b name", "a over", "b on", "a on", "b on"]
    for each in content:
        key, value = each.encode().split()
        await producer.deliver(Message(topic, key, value))

    def offsets(updates: list[Update]) -> list[tuple[int, int | None]]:
        return [(update.record.offset, update.previous) for update in updates]

    subscribers = Subscribers(kafka.bootstrap, [topic], topic)
    async with subscribers.begin("n", earliest=True, select=Named, choice="named") as subscription:
        assert offsets(await take(subscription, 3)) == [(0, None), (3, 0), (4, 3)]
    async with subscribers.begin("n", select=Named, choice="named") as subscription:
        if kafka.is_tansu:
            assert offsets(await take(subscription, 3))[0] == (0, None), "keeps no metadata"
            return
        expected = [(5, 4), (6, 5), (8, 6)]
        assert offsets(await take(subscription, 3)) == expected, "it knows what was named"
    for key in (b"b", b"a"):
        await producer.deliver(Message(topic, key, b"on"))
    async with subscribers.begin("n", select=Everything, choice="") as subscription:
        assert offsets(await take(subscription, 2)) == [(9, None), (10, 9)]


async def test_deleted_records_break_the_chain(
    kafka: Kafka, make_topic: MakeTopic, producer: Producer
) -> None:
    if kafka.is_tansu:
        pytest.skip("Tansu deletes nothing")
    from aiokafka import TopicPartition
    from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete

    topic = await make_topic()
    await fill(producer, topic, 20)
    subscribers = Subscribers(kafka.bootstrap, [topic], topic)
    async with subscribers.begin("a", earliest=True) as subscription:
        await take(subscription, 5)
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await admin.start()
    await admin.delete_records({TopicPartition(topic, 0): RecordsToDelete(10)})
    await admin.close()
    async with subscribers.begin("a") as subscription:
        found = await take(subscription, 10)
    assert [(each.record.offset, each.previous) for each in found[:2]] == [(10, None), (11, 10)]


async def test_killed_again_and_again(
    kafka: Kafka, make_topic: MakeTopic, producer: Producer, tmp_path: Path
) -> None:
    """Nothing is lost, keys stay in order, and the chain of what is new never breaks."""
    topic, rng = await make_topic(partitions=PARTITIONS), random.Random(2)
    path, count, kills = tmp_path / "given", 3_000, 0

    def noted() -> list[list[object]]:
        lines = path.read_text().splitlines() if path.exists() else []
        return [json.loads(line) for line in lines if line.endswith("]")]

    async def produce() -> None:
        for start in range(0, count, 50):
            await fill(producer, topic, 50, start)
            await asyncio.sleep(0.2)

    producing = asyncio.create_task(produce())
    process = fork(programs.subscribe, kafka.bootstrap, topic, "a", str(path), 0)
    while not producing.done():
        await asyncio.sleep(rng.uniform(0.3, 1.5))
        assert process.pid
        os.kill(process.pid, signal.SIGKILL)
        await ended(process)
        kills += 1
        process = fork(programs.subscribe, kafka.bootstrap, topic, "a", str(path), kills)
    await producing

    async def all_there() -> bool:
        return len({line[3] for line in noted()}) == count

    await until(all_there, "everything is given")
    assert process.pid
    os.kill(process.pid, signal.SIGKILL)
    await ended(process)
    lines = noted()
    assert kills > 5
    assert len(lines) > count, "what was not kept came again"
    new: dict[object, list[object]] = {}
    last: dict[object, object] = defaultdict(lambda: None)
    per_key: dict[int, list[int]] = defaultdict(list)
    for partition, offset, previous, value in lines:
        if (partition, offset) in new:
            assert new[partition, offset] == [value]
            continue
        new[partition, offset] = [value]
        if not kafka.is_tansu:
            assert previous == last[partition]
        last[partition] = offset
        per_key[int(str(value)) % 20].append(int(str(value)))
    assert all(a < b for numbers in per_key.values() for a, b in pairwise(numbers))


async def test_of_two_processes_the_newer_stays(
    kafka: Kafka, make_topic: MakeTopic, producer: Producer, tmp_path: Path
) -> None:
    if kafka.is_tansu:
        pytest.skip("Tansu keeps no metadata: other processes do not see each other")
    topic = await make_topic(partitions=PARTITIONS)
    paths = [tmp_path / "older", tmp_path / "newer"]
    older = fork(programs.subscribe, kafka.bootstrap, topic, "a", str(paths[0]), 5)
    await asyncio.sleep(1.5)
    newer = fork(programs.subscribe, kafka.bootstrap, topic, "a", str(paths[1]), 5)
    assert await ended(older) == programs.TAKEN_OVER
    await fill(producer, topic, 150)

    async def all_there() -> bool:
        return paths[1].exists() and len(set(paths[1].read_text().splitlines())) >= 150

    await until(all_there, "the newer one is given everything")
    assert newer.pid
    os.kill(newer.pid, signal.SIGKILL)
    await ended(newer)


async def test_a_broker_that_pauses(
    kafka: Kafka, make_topic: MakeTopic, producer: Producer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stream waits with it; a new one is told after a bounded time."""
    monkeypatch.setattr(module, "OPEN_S", 2.0)
    topic = await make_topic()
    await fill(producer, topic, 10)
    [broker] = [each for each in kafka.stack.processes.records() if each.name == "kafka"]
    subscribers = Subscribers(kafka.bootstrap, [topic], topic)
    async with subscribers.begin("a", earliest=True) as subscription:
        taking = asyncio.create_task(take(subscription, 15))
        await asyncio.sleep(1)
        os.kill(broker.pid, signal.SIGSTOP)
        try:
            await asyncio.sleep(3)
            assert not taking.done()
        finally:
            os.kill(broker.pid, signal.SIGCONT)
        await fill(producer, topic, 5, start=10)
        assert values(await taking) == [*range(15)]
