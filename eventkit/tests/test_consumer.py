"""Batches of a BatchConsumer: cut, committed, and after a crash cut the same way again."""

import asyncio
import itertools
import json
import random
import signal
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path

import pytest
from aiokafka import ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.records_to_delete import RecordsToDelete

from eventkit.consumer import BatchConsumer
from eventkit.deadletter import DeadLetters
from eventkit.errors import DeadLetterLimit, InvalidMessage
from eventkit.producer import Producer
from eventkit.records import Bad, Batch, Message, Record
from eventkit.tests.support import Kafka, MakeTopic, program, read_all, until


async def committed(kafka: Kafka, group: str) -> dict[int, tuple[int, str]]:
    partitions = [TopicPartition(group.removesuffix("-group"), number) for number in range(4)]
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await admin.start()
    try:
        found = await admin.list_consumer_group_offsets(group, partitions=partitions)
    finally:
        await admin.close()
    return {where.partition: tuple(at) for where, at in found.items() if at.offset >= 0}


async def fill(producer: Producer, topic: str, count: int, partition: int = 0) -> None:
    await producer.send_many(
        Message(topic, b"k%d" % number, b"v%d" % number, partition=partition)
        for number in range(count)
    )


class Sink:
    """Takes batches until it has `count` records, then stops the consumer."""

    def __init__(self, count: int) -> None:
        self.batches: list[Batch] = []
        self.bad: list[Bad] = []
        self._count = count
        self.consumer: BatchConsumer | None = None

    async def __call__(self, batch: Batch) -> Iterable[Bad]:
        self.batches.append(batch)
        self._count -= len(batch.records)
        if self._count <= 0 and self.consumer is not None:
            self.consumer.stop()
        bad = []
        for record in batch.records:
            if record.value == b"bad":
                bad.append(Bad(record, InvalidMessage("value", "is bad")))
        return bad


def consume(
    kafka: Kafka, topic: str, sink: Sink, dead_letters: DeadLetters, **options: object
) -> BatchConsumer:
    consumer = BatchConsumer(
        kafka.bootstrap,
        f"{topic}-group",
        [topic],
        sink,
        dead_letters,
        **{"linger_s": 0.1, **options},  # type: ignore[arg-type]
    )
    sink.consumer = consumer
    return consumer


async def test_every_record_arrives_once_in_batches_of_one_partition(
    kafka: Kafka, make_topic: MakeTopic, producer: Producer
) -> None:
    topic = await make_topic(partitions=3)
    for partition, count in enumerate([250, 0, 90]):
        await fill(producer, topic, count, partition)
    sink = Sink(340)
    consumer = consume(kafka, topic, sink, DeadLetters(producer, "test"), max_records=100)
    await consumer.run()

    assert [b.token for b in sink.batches if b.partition == 0] == [
        f"{topic}:0:0-100",
        f"{topic}:0:100-200",
        f"{topic}:0:200-250",
    ]
    assert [b.token for b in sink.batches if b.partition == 2] == [f"{topic}:2:0-90"]
    for batch in sink.batches:
        offsets = [record.offset for record in batch.records]
        assert offsets == list(range(batch.first_offset, batch.next_offset))
    at = await committed(kafka, f"{topic}-group")
    assert (at[0][0], at[2][0]) == (250, 90)
    assert consumer.positions() == {f"{topic}:0": (250, 250), f"{topic}:1": (0, 0)} | {
        f"{topic}:2": (90, 90)
    }


async def test_bytes_bound_a_batch_and_one_large_record_still_fits(
    kafka: Kafka, make_topic: MakeTopic, producer: Producer
) -> None:
    topic = await make_topic()
    sizes = [400, 400, 400, 5000, 10]
    await producer.send_many(Message(topic, None, b"x" * size, partition=0) for size in sizes)
    sink = Sink(5)
    await consume(kafka, topic, sink, DeadLetters(producer, "test"), max_bytes=1000).run()
    assert [[len(r.value or b"") for r in b.records] for b in sink.batches] == [
        [400, 400],
        [400],
        [5000],
        [10],
    ]


@pytest.mark.parametrize("die", ["before", "after", "raise"])
async def test_a_batch_repeats_exactly_after_a_crash(
    kafka: Kafka, make_topic: MakeTopic, producer: Producer, tmp_path: Path, die: str
) -> None:
    """SIGKILL between write-ahead and effect; between effect and commit, and the broker restarts;
    and an exception.
    """
    if kafka.is_tansu:
        pytest.skip("Tansu keeps no commit metadata: batches are cut anew after a crash")
    topic = await make_topic()
    await fill(producer, topic, 100)
    effects = tmp_path / "effects"
    first = program(kafka, "consume", topic, f"{topic}-group", effects, 30, die, 2)
    _, errors = await asyncio.to_thread(first.communicate)
    assert first.returncode == (1 if die == "raise" else -signal.SIGKILL), errors
    if die == "after":
        await asyncio.to_thread(kafka.stack.kill, "kafka")
        await asyncio.to_thread(kafka.stack.start, ["kafka"])
    # What would be the third batch must not be drawn into the second: 30 records are planned,
    # though now more have arrived and batches may be larger.
    await fill(producer, topic, 50)
    second = program(kafka, "consume", topic, f"{topic}-group", effects, 1000, "no", 0)
    await until_committed(kafka, f"{topic}-group", 150)
    second.send_signal(signal.SIGTERM)
    _, errors = await asyncio.to_thread(second.communicate)
    assert second.returncode == 0, errors

    lines = [json.loads(line) for line in effects.read_text().splitlines()]
    interrupted = f"{topic}:0:30-60"
    assert [token for token, _, _ in lines] == [
        f"{topic}:0:0-30",
        *([] if die == "before" else [interrupted]),
        interrupted,
        f"{topic}:0:60-150",
    ]
    assert lines[-2] == lines[1], "the same token has other records"


async def until_committed(kafka: Kafka, group: str, offset: int) -> None:
    async def there() -> bool:
        return {at for at, _ in (await committed(kafka, group)).values()} == {offset}

    await until(there, f"{group} comes to {offset}")


def more_in(path: Path) -> Callable[[], Awaitable[bool]]:
    size = path.stat().st_size
    return lambda: asyncio.to_thread(lambda: path.stat().st_size > size)


async def test_killed_at_any_moment_the_batches_tile_the_log(
    kafka: Kafka, make_topic: MakeTopic, producer: Producer, tmp_path: Path
) -> None:
    if kafka.is_tansu:
        pytest.skip("Tansu keeps no commit metadata: batches are cut anew after a crash")
    topic = await make_topic(partitions=2)
    for partition in range(2):
        await fill(producer, topic, 30_000, partition)
    group, effects = f"{topic}-group", tmp_path / "effects"
    effects.touch()
    chance = random.Random(7)
    for max_records in (700, 900, 400):
        process = program(kafka, "consume", topic, group, effects, max_records, "no", 0)
        await until(more_in(effects), "a batch", process)
        await asyncio.sleep(chance.random() * 0.15)
        process.kill()
        await asyncio.to_thread(process.communicate)
    process = program(kafka, "consume", topic, group, effects, 800, "no", 0)
    await until_committed(kafka, group, 30_000)
    process.terminate()
    await asyncio.to_thread(process.communicate)

    noted = [tuple(json.loads(line)) for line in effects.read_text().splitlines()]
    by_token = {token: (count, content) for token, count, content in noted}
    assert set(noted) == {(token, *what) for token, what in by_token.items()}, "a range has changed"
    for partition in range(2):
        mine = [token.split(":")[2] for token in by_token if token.split(":")[1] == str(partition)]
        ranges = sorted(tuple(map(int, text.split("-"))) for text in mine)
        assert ranges[0][0] == 0
        assert ranges[-1][1] == 30_000
        assert all(a[1] == b[0] for a, b in itertools.pairwise(ranges)), ranges


async def test_two_members_share_and_hand_over(
    kafka: Kafka, make_topic: MakeTopic, producer: Producer
) -> None:
    """A second member joins in the middle: all records are handled, by whom ever."""
    if kafka.is_tansu:
        pytest.skip("Tansu takes most of a minute to form a group anew")
    topic = await make_topic(partitions=4)
    for partition in range(4):
        await fill(producer, topic, 3000, partition)
    seen: dict[tuple[int, int], int] = {}
    started, stopped = asyncio.Event(), asyncio.Event()

    async def handler(batch: Batch) -> Iterable[Bad]:
        await asyncio.sleep(0.02)
        for record in batch.records:
            where = (record.partition, record.offset)
            seen[where] = seen.get(where, 0) + 1
        started.set()
        if len(seen) == 12_000:
            stopped.set()
        return ()

    members = [
        BatchConsumer(
            kafka.bootstrap,
            f"{topic}-group",
            [topic],
            handler,
            DeadLetters(producer, "test"),
            max_records=100,
            linger_s=0.05,
        )
        for _ in range(2)
    ]
    first = asyncio.create_task(members[0].run())
    await asyncio.wait_for(started.wait(), 30)
    second = asyncio.create_task(members[1].run())

    async def both() -> bool:
        return members[1].ready()

    await until(both, "the second member is given partitions")
    # However fast the first member was, there is something left for both.
    for partition in range(4):
        await fill(producer, topic, 3000, partition)
    await asyncio.wait_for(stopped.wait(), 30)
    for member in members:
        member.stop()
    await asyncio.gather(first, second)
    assert set(seen.values()) == {1}, "a clean hand-over repeats nothing"


async def test_dead_letters_are_confirmed_before_the_commit(
    kafka: Kafka, make_topic: MakeTopic, producer: Producer
) -> None:
    topic = await make_topic()
    await producer.send_many(
        Message(topic, b"k", value, partition=0) for value in [b"1", b"bad", b"2"]
    )
    group = f"{topic}-group"
    at_settle: list[object] = []

    class Watching(DeadLetters):
        async def settle(self, batch: Batch, bad: Iterable[Bad]) -> None:
            await super().settle(batch, bad)
            at_settle.append((await committed(kafka, group))[0][0])
            at_settle.extend(r.value for r in await read_all(kafka, f"{topic}-dlq"))

    sink = Sink(3)
    await consume(kafka, topic, sink, Watching(producer, "test")).run()
    assert at_settle == [0, b"bad"]
    assert (await committed(kafka, group))[0][0] == 3


async def test_the_limit_of_dead_letters_stops_the_consumer(
    kafka: Kafka, make_topic: MakeTopic, producer: Producer
) -> None:
    topic = await make_topic()
    values = [b"bad", b"bad", b"1", b"bad", b"bad", b"bad"]
    await producer.send_many(Message(topic, b"k", value, partition=0) for value in values)
    sink = Sink(6)
    consumer = consume(kafka, topic, sink, DeadLetters(producer, "t", limit=2), max_records=2)
    with pytest.raises(DeadLetterLimit, match=r"more than 2 bad records in a row up to offset 5"):
        await consumer.run()
    assert (await committed(kafka, f"{topic}-group"))[0][0] == 4
    assert [r.headers[2] for r in await read_all(kafka, f"{topic}-dlq")] == [
        ("dlq.offset", b"0"),
        ("dlq.offset", b"1"),
        ("dlq.offset", b"3"),
    ]


async def test_records_deleted_unread_are_reported(
    kafka: Kafka,
    make_topic: MakeTopic,
    producer: Producer,
    caplog: pytest.LogCaptureFixture,
) -> None:
    if kafka.is_tansu:
        pytest.skip("Tansu does not delete records")
    topic = await make_topic()
    await fill(producer, topic, 40)
    await consume(kafka, topic, Sink(40), DeadLetters(producer, "test")).run()
    await fill(producer, topic, 60)
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await admin.start()
    await admin.delete_records({TopicPartition(topic, 0): RecordsToDelete(before_offset=70)})
    await admin.close()
    sink = Sink(30)
    await consume(kafka, topic, sink, DeadLetters(producer, "test")).run()
    assert [record.offset for batch in sink.batches for record in batch.records] == [
        *range(70, 100)
    ]
    assert f"{topic}:0: the records 40 to 69 were deleted before they were read" in caplog.text


def test_a_token_names_the_range_and_nothing_else() -> None:
    record: Record = ConsumerRecord("t", 3, 7, 0, 0, None, b"", None, -1, 0, ())
    assert Batch("t", 3, 7, 8, [record]).token == Batch("t", 3, 7, 8, []).token == "t:3:7-8"
