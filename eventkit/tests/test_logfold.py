"""A partition's states are a fold over its log, however often its holder changes or dies."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import replace

import pytest
from aiokafka import ConsumerRecord
from hypothesis import example, given, settings
from hypothesis import strategies as st

from eventkit.deadletter import DeadLetters
from eventkit.logfold import (
    Held,
    LogFold,
    completing_message,
    fold_records,
    restore_states,
    snapshot_messages,
)
from eventkit.producer import Producer
from eventkit.records import Batch, Message, Record
from eventkit.tests.programs import Counting
from eventkit.tests.support import Kafka, MakeTopic, program, read_all, until

FOLD = Counting("out")


def record(topic: str, offset: int, key: bytes | None, value: bytes | None) -> Record:
    made: Record = ConsumerRecord(topic, 0, offset, 0, 0, key, value, None, -1, -1, ())
    return made


def log_of(commands: Iterable[tuple[str, int]]) -> list[Record]:
    return [
        record("in", offset, key.encode(), b"%d" % number)
        for offset, (key, number) in enumerate(commands)
    ]


class SnapshotTopic:
    """A compacted partition in memory: deletes, when told to, what a later record replaces."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.end = 0

    def append(self, message: Message) -> int:
        offset, self.end = self.end, self.end + 1
        appended: Record = replace(
            record("snap", offset, message.key, message.value),  # type: ignore[type-var]
            headers=tuple(message.headers),
        )
        self.records.append(appended)
        return offset

    def compact(self) -> None:
        latest = {kept.key: kept for kept in self.records}
        self.records = sorted(latest.values(), key=lambda kept: kept.offset)


class Holder:
    """What LogFold does, a step at a time, without Kafka."""

    def __init__(self, log: Sequence[Record], topic: SnapshotTopic) -> None:
        self._topic = topic
        self._unwritten: list[Message] = []
        self.outputs: list[Message] = []
        claim = topic.append(Message("snap", b"__claim__", b""))
        self.held = restore_states(FOLD, topic.records)
        self.held.claim = claim
        self.fold(log)
        self.held.included.clear()

    def fold(self, log: Sequence[Record]) -> None:
        self.snapshot(len(self._unwritten))
        outputs, _ = fold_records(FOLD, self.held, log)
        self.outputs.extend(outputs)

    def snapshot(self, steps: int) -> None:
        """Write a snapshot, or so many records of it; the next call goes on."""
        if steps and not self._unwritten:
            self._unwritten = [
                *snapshot_messages(FOLD, self.held, "snap", 0),
                completing_message(self.held, "snap", 0),
            ]
            self.held.dirty.clear()
        for message in self._unwritten[:steps]:
            self._topic.append(message)
        del self._unwritten[:steps]


COMMANDS = st.lists(st.tuples(st.sampled_from("abcd"), st.integers(-1, 3)), max_size=40)


@given(COMMANDS, st.integers(0, 40))
def test_snapshot_at_any_offset_and_the_tail_equal_the_whole_fold(
    commands: list[tuple[str, int]], cut: int
) -> None:
    log, topic = log_of(commands), SnapshotTopic()
    whole: Held[int] = Held()
    all_outputs, _ = fold_records(FOLD, whole, log)

    first = Holder(log[:cut], topic)
    first.snapshot(100)
    second = Holder(log, topic)
    assert second.held.states == whole.states
    assert second.held.offset == whole.offset
    assert first.outputs + second.outputs == all_outputs, "only the tail is folded again"


HOLDERS = st.integers(0, 1)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("fold"), HOLDERS, st.integers(1, 4)),
        st.tuples(st.just("snapshot"), HOLDERS, st.sampled_from([1, 2, 10])),
        st.tuples(st.just("restore"), HOLDERS, st.just(0)),
        st.tuples(st.just("compact"), st.just(0), st.just(0)),
    ),
    max_size=25,
)
FEW_KEYS = st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 3)), max_size=25)


# Holder 0 has lost the partition without knowing it, and overwrites a newer state.
LATE_WRITE = [
    ("restore", 0, 0),
    ("fold", 0, 1),
    ("restore", 1, 0),
    ("fold", 1, 1),
    ("snapshot", 1, 10),
    ("snapshot", 0, 1),
]


@example([("a", 1), ("a", 1)], LATE_WRITE)
@example([("a", 1), ("a", 1)], [*LATE_WRITE, ("compact", 0, 0), ("restore", 1, 0)])
@example([("a", 1), ("a", 1)], [*LATE_WRITE, ("snapshot", 0, 1)])
@given(FEW_KEYS, STEPS)
@settings(max_examples=500, deadline=None)
def test_states_survive_crashes_compaction_and_holders_that_do_not_know_they_are_not(
    commands: list[tuple[str, int]], steps: list[tuple[str, int, int]]
) -> None:
    """Two processes hold the same partition in any interleaving, with half-written snapshots."""
    log, topic = log_of(commands), SnapshotTopic()
    whole: Held[int] = Held()
    expected, _ = fold_records(FOLD, whole, log)
    holders: dict[int, Holder] = {}
    outputs: list[Message] = []
    end = 0
    for what, who, amount in steps:
        if what == "compact":
            topic.compact()
        elif what == "restore" or who not in holders:
            holders[who] = Holder(log[:end], topic)
            outputs.extend(holders[who].outputs)
        elif what == "fold":
            end = min(end + amount, len(log))
            holders[who].fold(log[:end])
            outputs.extend(holders[who].outputs)
        else:
            holders[who].snapshot(amount)
    last = Holder(log, topic)
    assert last.held.states == whole.states
    assert last.held.offset == whole.offset
    assert {m.key: m for m in [*outputs, *last.outputs]} == {m.key: m for m in expected}


def test_bad_records_change_nothing_and_are_returned() -> None:
    held: Held[int] = Held()
    log = [
        record("in", 0, b"a", b"1"),
        record("in", 1, b"a", b"rubbish"),
        record("in", 2, b"a", b"-1"),
        record("in", 3, b"__claim__", b"1"),
        record("in", 4, b"a", b"1"),
    ]
    _, bad = fold_records(FOLD, held, log)
    assert held.states == {"a": 2}
    assert [(one.record.offset, type(one.error).__name__) for one in bad] == [
        (1, "InvalidMessage"),
        (2, "Rejected"),
        (3, "InvalidMessage"),
    ]


# On Kafka.


class Watching:
    """A LogFold whose published outputs are collected."""

    def __init__(
        self, kafka: Kafka, topic: str, snapshots: str, producer: Producer, **options: float
    ) -> None:
        self.outputs: list[Message] = []
        self.published = 0
        self.fold = LogFold(
            FOLD,
            bootstrap=kafka.bootstrap,
            topic=topic,
            snapshot_topic=snapshots,
            producer=producer,
            publish=self._publish,
            dead_letters=DeadLetters(producer, "test"),
            **options,  # type: ignore[arg-type]
        )

    async def _publish(self, outputs: Sequence[Message]) -> None:
        self.published += 1
        self.outputs.extend(outputs)


def batch_of(records: Sequence[Record]) -> Batch:
    first, last = records[0], records[-1]
    return Batch(first.topic, first.partition, first.offset, last.offset + 1, records)


async def test_a_restore_reads_the_snapshot_and_only_the_tail(
    kafka: Kafka, make_topic: MakeTopic, producer: Producer
) -> None:
    topic = await make_topic()
    snapshots = await make_topic(**{"cleanup.policy": "compact"})
    await producer.send_many(
        Message(topic, b"%d" % (n % 7), b"%d" % (n % 3), partition=0) for n in range(500)
    )
    log = await read_all(kafka, topic)
    first = Watching(kafka, topic, snapshots, producer)
    await first.fold.hold([0])
    assert len(first.outputs) == 500
    await first.fold.snapshot(0)

    await producer.send_many(Message(topic, b"1", b"5", partition=0) for _ in range(3))
    tail = (await read_all(kafka, topic))[500:]
    second = Watching(kafka, topic, snapshots, producer)
    assert not second.fold.holds(0)
    await second.fold.hold([0])
    assert [output.key for output in second.outputs] == [b"500", b"501", b"502"]

    await first.fold.handle(batch_of(log[-10:] + tail))
    assert first.fold.states(0) == second.fold.states(0)
    assert len(first.outputs) == 503, "what is folded in already is skipped"
    await first.fold.hold([])
    assert first.fold.states(0) == {}


async def test_records_that_never_came_are_read_from_the_log(
    kafka: Kafka, make_topic: MakeTopic, producer: Producer
) -> None:
    topic = await make_topic()
    snapshots = await make_topic(**{"cleanup.policy": "compact"})
    watched = Watching(kafka, topic, snapshots, producer)
    await watched.fold.hold([0])
    await producer.send_many(Message(topic, b"a", b"1", partition=0) for _ in range(20))
    log = await read_all(kafka, topic)
    await watched.fold.handle(batch_of(log[15:]))
    assert watched.fold.states(0) == {"a": 20}
    assert len(watched.outputs) == 20


async def test_partitions_are_folded_each_by_itself_and_published_together(
    kafka: Kafka, make_topic: MakeTopic, producer: Producer
) -> None:
    topic = await make_topic(partitions=2)
    snapshots = await make_topic(partitions=2, **{"cleanup.policy": "compact"})
    watched = Watching(kafka, topic, snapshots, producer)
    await watched.fold.hold([0, 1])
    assert watched.fold.is_free(0)
    assert not watched.fold.is_free(2), "it is not held"
    for partition in (0, 1):
        number = b"%d" % (partition + 1)
        await producer.send_many(
            Message(topic, b"a", number, partition=partition) for _ in range(3)
        )
    log = await read_all(kafka, topic, 2)
    await watched.fold.handle(batch_of(log[:3]), batch_of(log[3:]))
    assert [watched.fold.states(partition) for partition in (0, 1)] == [{"a": 3}, {"a": 6}]
    assert watched.published == 1
    assert [output.value for output in watched.outputs] == [b"1", b"2", b"3", b"2", b"4", b"6"]


async def test_a_broken_snapshot_is_not_trusted(
    kafka: Kafka,
    make_topic: MakeTopic,
    producer: Producer,
    caplog: pytest.LogCaptureFixture,
) -> None:
    topic = await make_topic()
    snapshots = await make_topic(**{"cleanup.policy": "compact"})
    await producer.send_many(
        Message(topic, key, b"1", partition=0) for key in [b"a", b"b", b"a", b"b"]
    )
    first = Watching(kafka, topic, snapshots, producer)
    await first.fold.hold([0])
    await first.fold.snapshot(0)
    headers = [("fold.offset", b"3"), ("fold.holder", b"0")]
    await producer.deliver(Message(snapshots, b"a", b"\xff\x00", headers, partition=0))
    second = Watching(kafka, topic, snapshots, producer)
    await second.fold.hold([0])
    assert second.fold.states(0) == {"a": 2, "b": 2}
    assert "broken snapshot" in caplog.text
    await second.fold.snapshot(0)
    third = Watching(kafka, topic, snapshots, producer)
    await third.fold.hold([0])
    assert third.fold.states(0) == {"a": 2, "b": 2}
    assert third.outputs == [], "the snapshot has been mended"


async def more_in(kafka: Kafka, topic: str) -> Callable[[], Awaitable[bool]]:
    before = len(await read_all(kafka, topic))

    async def more() -> bool:
        return len(await read_all(kafka, topic)) > before

    return more


async def test_killed_at_random_moments_it_ends_as_if_nothing_had_happened(
    kafka: Kafka, make_topic: MakeTopic, producer: Producer
) -> None:
    if kafka.is_tansu:
        pytest.skip("Tansu takes most of a minute to form a group anew")
    topic, outputs = await make_topic(partitions=2), await make_topic()
    snapshots = await make_topic(partitions=2, **{"cleanup.policy": "compact"})
    chance = random.Random(3)
    numbers = [
        (chance.randrange(2), chance.randrange(9), chance.randrange(-1, 4)) for _ in range(3000)
    ]

    async def send(some: Sequence[tuple[int, int, int]]) -> None:
        for at in range(0, len(some), 50):
            await producer.send_many(
                Message(topic, b"%d-%d" % (part, key), b"%d" % number, partition=part)
                for part, key, number in some[at : at + 50]
            )
            await asyncio.sleep(0.02)

    arguments = ("fold", topic, snapshots, outputs, f"{topic}-group")
    for third in range(3):
        more_claims = await more_in(kafka, snapshots)
        process = program(kafka, *arguments)
        await until(more_claims, "a claim", process)
        sending = asyncio.create_task(send(numbers[third * 1000 : third * 1000 + 1000]))
        await asyncio.sleep(chance.uniform(0.1, 0.5))
        process.kill()
        await asyncio.to_thread(process.communicate)
        await sending
    await producer.send_many(Message(topic, b"last", b"1", partition=part) for part in range(2))

    expected: set[tuple[bytes | None, bytes | None]] = set()
    states: dict[int, dict[str, int]] = {}
    for part in range(2):
        held: Held[int] = Held()
        log = [r for r in await read_all(kafka, topic, 2) if r.partition == part]
        out, _ = fold_records(FOLD, held, log)
        expected |= {(message.key, message.value) for message in out}
        states[part] = dict(held.states)

    process = program(kafka, *arguments)

    async def all_there() -> bool:
        return {(r.key, r.value) for r in await read_all(kafka, outputs)} == expected

    await until(all_there, "every output, and no other", process)
    process.terminate()
    _, errors = await asyncio.to_thread(process.communicate)
    assert process.returncode == 0, errors

    final = Watching(kafka, topic, snapshots, producer)
    await final.fold.hold([0, 1])
    assert {part: dict(final.fold.states(part)) for part in range(2)} == states
    assert len(final.outputs) < 1000, "snapshots were written and used"


async def test_a_quiet_partition_is_restored_on_assignment(
    kafka: Kafka, make_topic: MakeTopic, producer: Producer
) -> None:
    """No record comes, yet what the log still holds is folded and published again."""
    topic, outputs = await make_topic(), await make_topic()
    snapshots = await make_topic(**{"cleanup.policy": "compact"})
    await producer.send_many(Message(topic, b"a", b"1", partition=0) for _ in range(5))
    for _ in range(2):
        more_outputs = await more_in(kafka, outputs)
        process = program(kafka, "fold", topic, snapshots, outputs, f"{topic}-group")
        await until(more_outputs, "what the log holds", process)
        process.terminate()
        _, errors = await asyncio.to_thread(process.communicate)
        assert process.returncode == 0, errors
    assert len(await read_all(kafka, outputs)) == 10
