"""What a log says now, for those who only read: the states of a fold (logfold.py), without holding
partitions.

    async with LogView(PoolFold(), bootstrap=..., topic=..., snapshot_topic=...) as view:
        offset = await producer.deliver(Message(topic, b"k-1", value))
        reason = await view.refusal("k-1", offset)     # None: it is folded in
        state = view.state("k-1")                      # as of the end of the log, mine included

A partition is restored from its snapshots when it is first asked about; from then on a refresh
folds in what is new in the log. Nothing is claimed, published or dead-lettered, and nothing is read
while nobody asks. The states are those of the holder if both run the same fold.
"""

import asyncio
import logging
import time
from collections.abc import Iterable, Mapping
from contextlib import aclosing
from types import MappingProxyType
from typing import Generic, Self

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from eventkit import telemetry
from eventkit.errors import BadRecord, InvalidMessage, Unavailable
from eventkit.logfold import Fold, Held, M, O, S, fold_records, restore_states
from eventkit.producer import partition_of
from eventkit.records import Record
from eventkit.topictable import find_partitions, make_reader, read_partition, read_to

log = logging.getLogger(__name__)

SLICE = 250
"""Records that are folded in before others have their turn."""
REFUSALS_KEPT = 10_000
FETCH_WAIT_MS = 20
"""Short, since it is read only when there is something."""


class LogView(Generic[S, M, O]):
    """fold: as of the log's holder, but what it gives out is dropped, so it should trace nothing.

    timeout_s: how long a reader waits. Reading goes on without it, so that the next one finds the
        states of a long log.
    restore_beyond: a tail of more records is not folded where newer snapshots can save it.

    Methods that read raise Unavailable.
    """

    def __init__(
        self,
        fold: Fold[S, M, O],
        *,
        bootstrap: str,
        topic: str,
        snapshot_topic: str,
        timeout_s: float = 5.0,
        restore_beyond: int = 50_000,
    ) -> None:
        self._fold = fold
        self._bootstrap = bootstrap
        self._topic = topic
        self._snapshot_topic = snapshot_topic
        self._timeout_s = timeout_s
        self._restore_beyond = restore_beyond
        self._followers: list[_Follower[S, M, O]] = []
        self._reading: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Raises KafkaError, LookupError (no such topic)."""
        partitions = await find_partitions(self._bootstrap, [self._topic])
        self._followers = [
            _Follower(
                self._fold, self._bootstrap, where, self._snapshot_topic, self._restore_beyond
            )
            for where in partitions
        ]

    async def stop(self) -> None:
        for task in self._reading:
            task.cancel()
        await asyncio.gather(*self._reading, return_exceptions=True)
        for follower in self._followers:
            await follower.close()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    def partition_of(self, key: str) -> int:
        """Where the producer puts the key's records."""
        return partition_of(key.encode(), len(self._followers))

    async def refresh(self, key: str) -> None:
        """Read the key's partition to the log's end as of now: whatever was acknowledged before
        this call is seen by `state`."""
        await self.refresh_partition(self.partition_of(key))

    async def refresh_partition(self, partition: int) -> None:
        """As `refresh`."""
        follower = self._followers[partition]
        # Shielded: who gives up must not break off what others wait for too.
        reading = asyncio.create_task(follower.refresh())
        self._reading.add(reading)
        reading.add_done_callback(self._done)
        try:
            await asyncio.wait_for(asyncio.shield(reading), self._timeout_s)
        except TimeoutError:
            raise Unavailable(f"{follower.progress()} after {self._timeout_s:g} s") from None
        except KafkaError as error:
            raise Unavailable(f"{follower.progress()}: Kafka: {error}") from error

    def _done(self, reading: "asyncio.Task[None]") -> None:
        self._reading.discard(reading)
        if not reading.cancelled():
            reading.exception()  # whoever waits for it has it

    def state(self, key: str) -> S | None:
        """As of the last refresh, or a moment later. Read only. None: there is none."""
        return self._followers[self.partition_of(key)].states().get(key)

    def states(self, partition: int) -> Mapping[str, S]:
        """All of a partition by key, as `state`; empty before its first refresh."""
        return MappingProxyType(self._followers[partition].states())

    async def refusal(self, key: str, offset: int) -> BadRecord | None:
        """Read on beyond this record of the key's partition; why the fold refused it.

        None: it is folded in. Raises Unavailable also where that is not known any more: for records
        from before the first refresh, or before the last 10,000 refusals.
        """
        follower = self._followers[self.partition_of(key)]
        if not follower.has_folded(offset):
            await self.refresh(key)
        return follower.refusal(offset)


class _Follower(Generic[S, M, O]):
    """One partition."""

    def __init__(
        self,
        fold: Fold[S, M, O],
        bootstrap: str,
        where: TopicPartition,
        snapshot_topic: str,
        too_long: int,
    ) -> None:
        self._fold = fold
        self._bootstrap = bootstrap
        self._where = where
        self._snapshot_topic = snapshot_topic
        self._too_long = too_long
        self._held: Held[S] | None = None
        self._end = 0
        self._consumer: AIOKafkaConsumer | None = None
        self._refusals: dict[int, BadRecord] = {}
        self._known_from = 0
        """What became of records before this one is not known."""
        self._lock = asyncio.Lock()
        self._calls = 0
        self._seen_calls = 0

    def states(self) -> dict[str, S]:
        return self._held.states if self._held else {}

    def progress(self) -> str:
        """How far it has come, for errors."""
        where = f"{self._where.topic}:{self._where.partition}"
        if self._held is None:
            return f"{where} is not restored yet"
        return f"{where} is read up to {self._held.offset + 1} of {self._end}"

    def has_folded(self, offset: int) -> bool:
        return self._held is not None and offset <= self._held.offset

    def refusal(self, offset: int) -> BadRecord | None:
        if offset < self._known_from or not self.has_folded(offset):
            raise Unavailable("what became of that is not known here")
        return self._refusals.get(offset)

    async def refresh(self) -> None:
        """Many concurrent calls cost two reads, as TopicTable.refresh. Raises KafkaError."""
        self._calls += 1
        call = self._calls
        async with self._lock:
            if self._seen_calls >= call:
                return
            calls = self._calls
            try:
                await self._read()
            except BaseException:
                await self.close()
                raise
            self._seen_calls = calls

    async def close(self) -> None:
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            await consumer.stop()

    async def _read(self) -> None:
        consumer = self._consumer or await self._open()
        held = self._held or await self._restore()
        self._end = await self._find_end(consumer)
        if held is self._held and not held.offset < self._end <= held.offset + self._too_long:
            # Long not asked; or the log has lost its end, or is a new one.
            restored = await self._restore()
            if restored.offset > held.offset or self._end <= held.offset:
                held = restored
            self._end = await self._find_end(consumer)
        if held is not self._held:
            self._held = held
            self._known_from = max([held.offset, *held.included.values()]) + 1
            self._refusals.clear()
            consumer.seek(self._where, held.offset + 1)
        consumer.resume(self._where)
        try:
            async with aclosing(read_to(consumer, {self._where: self._end})) as chunks:
                async for chunk in chunks:
                    await self._step(held, chunk)
        finally:
            consumer.pause(self._where)
        held.included.clear()

    async def _open(self) -> AIOKafkaConsumer:
        consumer = make_reader(self._bootstrap, fetch_max_wait_ms=FETCH_WAIT_MS)
        try:
            await consumer.start()
        except BaseException:
            await consumer.stop()
            raise
        self._consumer = consumer
        consumer.assign([self._where])
        consumer.seek(self._where, self._held.offset + 1 if self._held else 0)
        consumer.pause(self._where)
        return consumer

    async def _find_end(self, consumer: AIOKafkaConsumer) -> int:
        ends = await consumer.end_offsets([self._where])
        return int(ends[self._where])

    async def _restore(self) -> Held[S]:
        began = time.monotonic()
        topic, partition = self._snapshot_topic, self._where.partition
        snapshots: dict[bytes | None, Record] = {}
        async with aclosing(read_partition(self._bootstrap, topic, partition)) as chunks:
            async for chunk in chunks:
                snapshots.update((record.key, record) for record in chunk)
        try:
            # In a thread: a large state takes long enough to be felt by whoever else is served.
            held = await asyncio.to_thread(restore_states, self._fold, snapshots.values())
        except InvalidMessage as error:
            log.error("%s:%d: broken snapshot (%s)", topic, partition, error)
            held = Held()
        log.info(
            "%s:%d: %d states of up to %d in %.2f s from snapshots, to look at",
            self._where.topic,
            partition,
            len(held.states),
            held.offset,
            time.monotonic() - began,
        )
        return held

    async def _step(self, held: Held[S], chunk: list[Record]) -> None:
        for start in range(0, len(chunk), SLICE):
            if start:
                await asyncio.sleep(0)
            try:
                self._fold_in(held, chunk[start : start + SLICE])
            except BaseException:
                # Unforeseen, and perhaps in the middle of a change.
                self._held = None
                raise
        telemetry.VIEW_RECORDS.add(len(chunk), {"topic": self._where.topic})

    def _fold_in(self, held: Held[S], records: Iterable[Record]) -> None:
        _, bad = fold_records(self._fold, held, records)
        self._refusals.update((each.record.offset, each.error) for each in bad)
        while len(self._refusals) > REFUSALS_KEPT:
            oldest = next(iter(self._refusals))
            del self._refusals[oldest]
            self._known_from = oldest + 1
