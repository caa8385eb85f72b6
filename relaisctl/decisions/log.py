"""What is read of Kafka, and where in a topic a time is."""

from collections.abc import AsyncGenerator, Callable, Collection, Iterable, Iterator
from contextlib import aclosing, contextmanager
from dataclasses import dataclass

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import GroupCoordinatorNotAvailableError
from rich.progress import TaskID

from eventkit.producer import partition_of
from eventkit.records import Record
from eventkit.topictable import find_partitions, make_reader, read_partition
from relaisctl.show import Bars

SKEW_MS = 60_000
"""How far the clocks of those who write to Kafka may be apart."""
LONG = 20_000
"""Records that take long enough to be watched."""

Tell = Callable[["Span", int], None]
"""How far a span has been read: the offset that is next."""


@dataclass(frozen=True, slots=True)
class Span:
    """Where to begin in a partition, and where it ended when that was asked."""

    topic: str
    partition: int
    start: int
    end: int
    oldest: int = 0

    def __str__(self) -> str:
        return f"{self.topic}:{self.partition}"


async def find_spans(
    bootstrap: str,
    topics: Iterable[str],
    *,
    keys: Collection[bytes] | None = None,
    since_ms: int | None = None,
) -> list[Span]:
    """Of each partition of the topics, or of those that have these keys, what is to be read.

    since_ms: what was written since then, by the writers' clocks. Raises KafkaError, LookupError.
    """
    wanted: list[TopicPartition] = []
    for topic in topics:
        found = await find_partitions(bootstrap, [topic])
        if keys is not None:
            numbers = {partition_of(key, len(found)) for key in keys}
            found = [each for each in found if each.partition in numbers]
        wanted += found
    if not wanted:
        return []
    consumer = make_reader(bootstrap)
    await consumer.start()
    try:
        oldest = await consumer.beginning_offsets(wanted)
        ends = await consumer.end_offsets(wanted)
        starts = dict(oldest)
        if since_ms is not None:
            at = max(0, since_ms - SKEW_MS)
            found_at = await consumer.offsets_for_times(dict.fromkeys(wanted, at))
            starts = {
                where: ends[where] if first is None else first.offset
                for where, first in found_at.items()
            }
    finally:
        await consumer.stop()
    return [
        Span(where.topic, where.partition, starts[where], ends[where], oldest[where])
        for where in wanted
    ]


async def read(bootstrap: str, span: Span, tell: Tell) -> AsyncGenerator[list[Record], None]:
    """The span's records, and what has been written behind it by now. Raises KafkaError."""
    chunks = read_partition(bootstrap, span.topic, span.partition, span.start)
    async with aclosing(chunks):
        async for chunk in chunks:
            yield chunk
            tell(span, chunk[-1].offset + 1)


async def read_keys(
    bootstrap: str,
    topic: str,
    keys: Collection[bytes],
    tell: Tell,
    *,
    since_ms: int | None = None,
) -> list[Record]:
    """The records of these keys, in the order of each key. Raises KafkaError, LookupError."""
    found: list[Record] = []
    for span in await find_spans(bootstrap, [topic], keys=keys, since_ms=since_ms):
        async with aclosing(read(bootstrap, span, tell)) as chunks:
            async for chunk in chunks:
                found += [record for record in chunk if record.key in keys]
    return found


@contextmanager
def watched() -> Iterator[Tell]:
    """A progress bar for each span that is long."""
    with Bars() as bars:
        tasks: dict[Span, TaskID] = {}

        def tell(span: Span, offset: int) -> None:
            done, total = offset - span.start, max(offset, span.end) - span.start
            if total < LONG:
                return
            if span not in tasks:
                tasks[span] = bars.add_task(f"reading {span}", total=total, text="")
            bars.show(tasks[span], done, f"{done:,} of {total:,}", total)

        yield tell


async def committed(bootstrap: str, group: str, span: Span) -> int | None:
    """Where a consumer group goes on in the span's partition; None: it has never been there."""
    where = TopicPartition(span.topic, span.partition)
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        offsets = await admin.list_consumer_group_offsets(group, partitions=[where])
    except GroupCoordinatorNotAvailableError:
        # Where no group has ever committed anything, there is nobody to ask.
        return None
    finally:
        await admin.close()
    found = offsets.get(where)
    return None if found is None or found.offset < 0 else int(found.offset)
