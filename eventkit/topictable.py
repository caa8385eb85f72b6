"""Topics read without a group: a range of one partition, or a whole topic as a table."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from typing import Any, Generic, Self, TypeVar

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from eventkit import telemetry
from eventkit.errors import BadRecord
from eventkit.records import Record

log = logging.getLogger(__name__)

V = TypeVar("V")

CHUNK = 5000


async def read_partition(
    bootstrap: str, topic: str, partition: int, start: int = 0, end: int | None = None
) -> AsyncGenerator[list[Record], None]:
    """The records of one partition with start <= offset < end, in chunks of up to some thousands.

    end None: at least to the log's end as of now. Where `start` has been deleted, it begins at the
    oldest record. Raises KafkaError. Close it (`contextlib.aclosing`) when leaving it early.
    """
    consumer = make_reader(bootstrap)
    await consumer.start()
    try:
        where = TopicPartition(topic, partition)
        consumer.assign([where])
        oldest = (await consumer.beginning_offsets([where]))[where]
        if 0 < start < oldest:
            log.error("%s:%d: %d to %d were deleted unread", topic, partition, start, oldest - 1)
            telemetry.RECORDS_LOST.add(oldest - start, {"topic": topic})
        ends = {where: end} if end is not None else await consumer.end_offsets([where])
        consumer.seek(where, max(start, oldest))
        async for chunk in read_to(consumer, ends):
            if end is not None and chunk[-1].offset >= end:
                chunk = [record for record in chunk if record.offset < end]
            if chunk:
                yield chunk
    finally:
        await consumer.stop()


async def find_partitions(bootstrap: str, topics: Sequence[str]) -> list[TopicPartition]:
    """All partitions of the topics. Raises KafkaError, LookupError (no such topic)."""
    # A consumer without a subscription knows no topic's partitions; the admin client asks.
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        described = await admin.describe_topics(list(topics))
    finally:
        await admin.close()
    found = []
    for topic in described:
        numbers = sorted(one["partition"] for one in topic["partitions"])
        if not numbers:
            raise LookupError(f"topic {topic['topic']} does not exist")
        found += [TopicPartition(topic["topic"], number) for number in numbers]
    return found


class TopicTable(Generic[V]):
    """The latest value of each key of a small topic. A record without a value removes its key.

    decode(record) -> V; a record that it raises BadRecord for is skipped and counted.
    """

    def __init__(self, bootstrap: str, topic: str, decode: Callable[[Record], V]) -> None:
        self.skipped = 0
        self._bootstrap = bootstrap
        self._topic = topic
        self._decode = decode
        self._values: dict[bytes, V] = {}
        self._consumer: AIOKafkaConsumer | None = None
        self._partitions: list[TopicPartition] = []
        self._reading = asyncio.Lock()
        self._calls = 0
        self._seen_calls = 0

    async def start(self) -> None:
        """Connect and read the topic to its end. Raises KafkaError, LookupError (no such topic)."""
        consumer = make_reader(self._bootstrap)
        await consumer.start()
        self._consumer = consumer
        try:
            self._partitions = await find_partitions(self._bootstrap, [self._topic])
            consumer.assign(self._partitions)
            await consumer.seek_to_beginning(*self._partitions)
            await self.refresh()
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        if self._consumer is not None:
            await self._consumer.stop()
            self._consumer = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    def get(self, key: bytes) -> V | None:
        """The latest value that has been read."""
        return self._values.get(key)

    def items(self) -> Mapping[bytes, V]:
        """All that has been read."""
        return self._values

    async def refresh(self) -> None:
        """Read to the log's end as of now: whatever was acknowledged before this call is seen.

        Many concurrent calls cost two reads: the one under way, which may have asked for the end
        too early, and one more for all that came meanwhile.
        """
        self._calls += 1
        call = self._calls
        async with self._reading:
            if self._seen_calls >= call:
                return
            if self._consumer is None:
                raise RuntimeError("the table is not started")
            calls = self._calls
            ends = await self._consumer.end_offsets(self._partitions)
            skipped: list[str] = []
            async for chunk in read_to(self._consumer, ends):
                for record in chunk:
                    try:
                        self._take(record)
                    except BadRecord as error:
                        skipped.append(f"offset {record.offset}: {error}")
            self._seen_calls = calls
            if skipped:
                self.skipped += len(skipped)
                telemetry.VALUES_SKIPPED.add(len(skipped), {"topic": self._topic})
                log.warning(
                    "%s: %d values are skipped, first: %s", self._topic, len(skipped), skipped[0]
                )

    def _take(self, record: Record) -> None:
        key = record.key or b""
        if record.value is None:
            self._values.pop(key, None)
        else:
            self._values[key] = self._decode(record)


def make_reader(bootstrap: str, **options: Any) -> AIOKafkaConsumer:
    """A consumer of no group, to be started and assigned."""
    return AIOKafkaConsumer(
        bootstrap_servers=bootstrap,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        max_partition_fetch_bytes=4 << 20,
        **options,
    )


async def read_to(
    consumer: AIOKafkaConsumer, ends: Mapping[Any, int]
) -> AsyncGenerator[list[Record], None]:
    """Chunks of one partition each, until the consumer's position is at all of these ends."""
    # The position and not the last record's offset tells when the end is reached: behind the last
    # record there may be offsets that compaction has emptied. Tansu's end_offsets() takes the last
    # batch for one record; but its fetches return whole batches, so what is left to do is not to
    # stop in the middle of one that is larger than a chunk.
    behind = list(ends)
    while behind := [where for where in behind if await consumer.position(where) < ends[where]]:
        more = True
        while more:
            chunks = await consumer.getmany(*behind, timeout_ms=500, max_records=CHUNK)
            more = sum(map(len, chunks.values())) == CHUNK
            for chunk in chunks.values():
                yield chunk
