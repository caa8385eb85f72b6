"""Who only looks at a folded log sees its end, whatever the holder and the snapshots do."""

import asyncio
import os
import random
import signal
import time
from collections.abc import Awaitable, Callable, Sequence

import pytest

from eventkit.deadletter import DeadLetters
from eventkit.errors import Rejected, Unavailable
from eventkit.logfold import LogFold
from eventkit.logview import LogView
from eventkit.producer import Producer, partition_of
from eventkit.records import Batch, Message, Record
from eventkit.tests.programs import Counting
from eventkit.tests.support import Kafka, MakeTopic, read_all, until
from eventkit.topictable import find_partitions

View = LogView[int, tuple[int, int], Message]


class Watched(Counting):
    """Counts what is folded, and may be told to fail."""

    def __init__(self) -> None:
        super().__init__("out")
        self.folded = 0
        self.broken = False

    def decode(self, record: Record) -> tuple[str, tuple[int, int]]:
        self.folded += 1
        if self.broken:
            raise RuntimeError("a bug")
        return super().decode(record)


class Log:
    """A log with its snapshots, and whoever holds it."""

    def __init__(self, kafka: Kafka, producer: Producer, topic: str, snapshots: str) -> None:
        self.kafka, self.topic, self.snapshots = kafka, topic, snapshots
        self._producer = producer
        self._outputs: list[Message] = []

    async def add(self, key: str, number: object) -> int:
        value = str(number).encode()
        return await self._producer.deliver(Message(self.topic, key.encode(), value))

    def view(self, fold: Watched, **options: float) -> View:
        return LogView(
            fold,
            bootstrap=self.kafka.bootstrap,
            topic=self.topic,
            snapshot_topic=self.snapshots,
            **options,  # type: ignore[arg-type]
        )

    async def snapshot(self, partitions: int) -> None:
        """What a holder does now and then."""

        async def publish(outputs: object) -> None:
            pass

        fold = LogFold(
            Counting("out"),
            bootstrap=self.kafka.bootstrap,
            topic=self.topic,
            snapshot_topic=self.snapshots,
            producer=self._producer,
            publish=publish,
            dead_letters=DeadLetters(self._producer, "test"),
        )
        await fold.hold(range(partitions))
        for partition in range(partitions):
            await fold.handle(Batch(self.topic, partition, 0, 0, ()))
            await fold.snapshot(partition)


MakeLog = Callable[..., Awaitable[Log]]


@pytest.fixture
def make_log(kafka: Kafka, producer: Producer, make_topic: MakeTopic) -> MakeLog:
    async def make(partitions: int = 1) -> Log:
        topic = await make_topic(partitions=partitions)
        snapshots = await make_topic(partitions=partitions, **{"cleanup.policy": "compact"})

        async def exist() -> bool:
            try:
                return len(await find_partitions(kafka.bootstrap, [topic, snapshots])) > 0
            except LookupError:
                return False

        await until(exist, "new topics are known")
        return Log(kafka, producer, topic, snapshots)

    return make


async def test_reads_its_own_write(make_log: MakeLog) -> None:
    log, fold, rng = await make_log(partitions=3), Watched(), random.Random(1)
    sums: dict[str, int] = {}
    async with log.view(fold) as view:
        assert view.states(0) == {}
        for number in range(60):
            key = rng.choice("abcdef")
            sums[key] = sums.get(key, 0) + number + 1
            await log.add(key, number + 1)
            await view.refresh(key)
            assert view.state(key) == sums[key]
            if number % 20 == 10:
                await log.snapshot(3)
        assert {key: view.state(key) for key in sums} == sums
        everything = {key: state for each in range(3) for key, state in view.states(each).items()}
        assert everything == sums
        # The same again, from snapshots and what came after them.
        other = Watched()
        async with log.view(other) as late:
            for partition in range(3):
                await late.refresh_partition(partition)
            assert {key: late.state(key) for key in sums} == sums
            assert other.folded < 30, "the snapshots have the rest"


async def test_keys_are_where_the_producer_puts_them(kafka: Kafka, make_log: MakeLog) -> None:
    log = await make_log(partitions=5)
    async with log.view(Watched()) as view:
        for key in "abcdefghij":
            await log.add(key, 1)
        for record in await read_all(kafka, log.topic, 5):
            assert record.partition == view.partition_of((record.key or b"").decode())
            assert record.partition == partition_of(record.key or b"", 5)


async def test_why_a_record_was_refused(make_log: MakeLog) -> None:
    log = await make_log()
    before = await log.add("a", -1)
    async with log.view(Watched()) as view:
        await view.refresh("a")
        assert isinstance(await view.refusal("a", before), Rejected)
        good, bad = await log.add("a", 1), await log.add("a", -5)
        assert await view.refusal("a", good) is None
        reason = await view.refusal("a", bad)
        assert isinstance(reason, Rejected)
        assert reason.reason == "only zero and more is added"
        assert view.state("a") == 1
        with pytest.raises(Unavailable, match="not known"):
            await view.refusal("a", bad + 100)
    await log.snapshot(1)
    async with log.view(Watched()) as view:
        with pytest.raises(Unavailable, match="not known"):
            await view.refusal("a", bad)  # it was folded into the snapshot, with whatever outcome


async def test_costs_nothing_while_nobody_asks_and_little_for_many(make_log: MakeLog) -> None:
    log, fold = await make_log(), Watched()
    async with log.view(fold) as view:
        await view.refresh("a")
        for number in range(100):
            await log.add("a", number + 1)
        await asyncio.sleep(1)
        assert fold.folded == 0
        began = time.monotonic()
        await asyncio.gather(*(view.refresh("a") for _ in range(500)))
        assert fold.folded == 100, "each record once"
        assert view.state("a") == 5050
        assert time.monotonic() - began < 5


async def test_after_a_long_time_it_starts_from_snapshots(make_log: MakeLog) -> None:
    log, fold = await make_log(), Watched()
    async with log.view(fold, restore_beyond=50) as view:
        await log.add("a", 1)
        await view.refresh("a")
        for _ in range(200):
            await log.add("a", 1)
        await log.snapshot(1)
        await log.add("b", 7)
        fold.folded = 0
        await view.refresh("a")
        assert (view.state("a"), view.state("b")) == (201, 7)
        assert fold.folded <= 1
        for _ in range(60):  # without newer snapshots, the tail it is
            await log.add("a", 1)
        await view.refresh("a")
        assert (view.state("a"), fold.folded) == (261, 61)


async def test_a_broken_snapshot_is_not_trusted(make_log: MakeLog, producer: Producer) -> None:
    log = await make_log()
    await log.add("a", 3)
    await log.snapshot(1)
    await producer.deliver(Message(log.snapshots, b"a", b"rubbish", partition=0))
    async with log.view(Watched()) as view:
        await view.refresh("a")
        assert view.state("a") == 3


async def test_a_bug_in_the_fold_is_nobody_elses(make_log: MakeLog) -> None:
    log, fold = await make_log(), Watched()
    async with log.view(fold) as view:
        await log.add("a", 3)
        await view.refresh("a")
        await log.add("a", 4)
        fold.broken = True
        with pytest.raises(RuntimeError, match="a bug"):
            await view.refresh("a")
        assert view.state("a") is None, "no half of a state"
        fold.broken = False
        await view.refresh("a")
        assert view.state("a") == 7


async def test_who_waits_too_long_is_told_and_reading_goes_on(make_log: MakeLog) -> None:
    class Slow(Watched):
        def apply(
            self, state: int | None, message: tuple[int, int]
        ) -> tuple[int | None, Sequence[Message]]:
            time.sleep(0.001)
            return super().apply(state, message)

    log, fold = await make_log(), Slow()
    for _ in range(1_500):
        await log.add("a", 1)
    async with log.view(fold, timeout_s=0.5) as view:
        with pytest.raises(Unavailable, match=r"after 0\.5 s"):
            await view.refresh("a")
        for _ in range(20):
            try:
                await view.refresh("a")
                break
            except Unavailable:
                continue
        assert view.state("a") == 1_500
        assert fold.folded == 1_500, "nothing was begun anew"


async def test_a_broker_that_does_not_answer(kafka: Kafka, make_log: MakeLog) -> None:
    log = await make_log()
    await log.add("a", 3)
    [broker] = [each for each in kafka.stack.processes.records() if each.name == "kafka"]
    async with log.view(Watched(), timeout_s=1.0) as view:
        await view.refresh("a")
        os.kill(broker.pid, signal.SIGSTOP)
        try:
            began = time.monotonic()
            with pytest.raises(Unavailable, match="is read up to 1 of 1 after 1 s"):
                await view.refresh("a")
            assert time.monotonic() - began < 3
        finally:
            os.kill(broker.pid, signal.SIGCONT)
        await log.add("a", 4)
        for _ in range(60):
            try:
                await view.refresh("a")
                break
            except Unavailable:
                await asyncio.sleep(0.5)
        assert view.state("a") == 7
