"""Kafka in, for loading: large batches of one partition each, which repeat exactly after a crash.

Before a batch is handed over its end is written ahead: the group's offset stays at the batch's
first record, and the commit's metadata names where the batch will end. After a SIGKILL at any
moment the next owner reads both and cuts the same batch again, so `batch.token` names the same
records, and an insert under that token counts once. The commit behind one batch and the write
ahead of the next are one request. With a broker that drops commit metadata every record still
arrives at least once, but in other batches.
"""

import asyncio
import logging
import time
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import CommitFailedError, IllegalStateError

from eventkit import telemetry
from eventkit.deadletter import DeadLetters
from eventkit.records import Batch, Handler, Record

log = logging.getLogger(__name__)

_ENDS_AT = "batch-ends-at="
_FETCH_RECORDS = 10_000


@dataclass
class _Inbox:
    """What has been fetched of one assigned partition and not been handed over."""

    committed: int
    planned_end: int | None
    """Where the batch ends that a crash interrupted."""
    expected: int
    """The next offset to be fetched."""
    records: list[Record] = field(default_factory=list)
    size: int = 0
    since: float = 0.0

    def add(self, records: list[Any]) -> None:
        if not self.records:
            self.since = time.monotonic()
        self.records.extend(records)
        self.size += sum([_size(record) for record in records])
        self.expected = records[-1].offset + 1

    def cut(self, max_records: int, max_bytes: int) -> tuple[int, list[Record]]:
        """Take the next batch: where it ends, and its records."""
        if self.planned_end is not None:
            end, self.planned_end = self.planned_end, None
            count = bisect_left(self.records, end, key=lambda record: record.offset)
        else:
            count = min(len(self.records), max_records)
            if self.size > max_bytes:
                count = self._fitting(count, max_bytes)
            end = self.records[count - 1].offset + 1
        taken, self.records = self.records[:count], self.records[count:]
        # By the average: exact enough to bound the memory, and it costs nothing.
        self.size = self.size * len(self.records) // max(count + len(self.records), 1)
        self.since = time.monotonic()
        return end, taken

    def _fitting(self, count: int, max_bytes: int) -> int:
        for index in range(count):
            max_bytes -= _size(self.records[index])
            if max_bytes < 0:
                return max(index, 1)
        return count


class BatchConsumer(ConsumerRebalanceListener):  # type: ignore[misc]
    """Reads topics as a member of a group and hands over one batch at a time.

    handler: must not block the event loop for long (`asyncio.to_thread`), or heartbeats stop.
    max_records, max_bytes: a batch is handed over when one of them is reached (bytes of keys and
        values). Fetching goes on meanwhile until twice as much waits: that bounds the memory.
    linger_s: or when its first record has waited so long.
    group_instance: see KafkaSettings.
    """

    def __init__(
        self,
        bootstrap: str,
        group: str,
        topics: Iterable[str],
        handler: Handler,
        dead_letters: DeadLetters,
        *,
        max_records: int = 50_000,
        max_bytes: int = 32 << 20,
        linger_s: float = 0.5,
        session_timeout_s: float = 10.0,
        group_instance: str | None = None,
    ) -> None:
        self._bootstrap = bootstrap
        self._group = group
        self._topics = list(topics)
        self._handler = handler
        self._dead_letters = dead_letters
        self._max_records = max_records
        self._max_bytes = max_bytes
        self._linger_s = linger_s
        self._session_ms = int(session_timeout_s * 1000)
        self._group_instance = group_instance
        self._kafka: AIOKafkaConsumer | None = None
        self._inboxes: dict[TopicPartition, _Inbox] = {}
        self._finished: dict[TopicPartition, tuple[int, str]] = {}
        self._in_flight = asyncio.Lock()
        self._arrived = asyncio.Event()
        self._taken = asyncio.Event()
        self._stopping = asyncio.Event()
        self._broken: Exception | None = None
        self._ready = False

    async def run(self) -> None:
        """Consume until `stop`. Raises what the handler raised, with the offset uncommitted."""
        kafka = self._kafka = AIOKafkaConsumer(
            bootstrap_servers=self._bootstrap,
            group_id=self._group,
            group_instance_id=self._group_instance,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            session_timeout_ms=self._session_ms,
            heartbeat_interval_ms=self._session_ms // 4,
            max_partition_fetch_bytes=4 << 20,
            fetch_max_bytes=16 << 20,
        )
        kafka.subscribe(self._topics, listener=self)
        tasks: list[asyncio.Task[None]] = []
        try:
            await kafka.start()
            tasks = [asyncio.create_task(self._fetch()), asyncio.create_task(self._work())]
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                if task.done():
                    task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await kafka.stop()

    def stop(self) -> None:
        """Let `run` return after the batch in flight. Callable from a signal handler."""
        self._stopping.set()
        self._arrived.set()

    def ready(self) -> bool:
        """True after the first assignment."""
        return self._ready

    def positions(self) -> Mapping[str, tuple[int, int]]:
        """Of each assigned partition, "topic:partition" -> (committed offset, log's end)."""
        found = {}
        for where, inbox in self._inboxes.items():
            end = self._kafka.highwater(where) if self._kafka else None
            found[f"{where.topic}:{where.partition}"] = (inbox.committed, end or inbox.committed)
        return found

    # Fetching.

    async def _fetch(self) -> None:
        assert self._kafka is not None
        while True:
            if self._broken:
                raise self._broken
            wanted = self._wanted()
            if not wanted:
                self._taken.clear()
                await _wait(self._taken, 0.1)
                continue
            chunks = await self._kafka.getmany(
                *wanted, timeout_ms=100, max_records=min(_FETCH_RECORDS, self._max_records)
            )
            for where, records in chunks.items():
                # No inbox: the partition was revoked meanwhile. Should it come back, the new inbox
                # begins with a seek to the committed offset, so nothing is skipped.
                inbox = self._inboxes.get(where)
                if inbox is not None:
                    if records[0].offset > inbox.expected:
                        await self._report_deleted(where, inbox.expected)
                    elif records[0].offset < inbox.expected:
                        inbox = self._inboxes[where] = self._new_log(where, records[0], inbox)
                    inbox.add(records)
            if chunks:
                self._arrived.set()

    def _wanted(self) -> list[TopicPartition]:
        if not self._full():
            return list(self._inboxes)
        # A batch that must repeat is completed whatever else waits.
        return [
            where
            for where, inbox in self._inboxes.items()
            if inbox.planned_end is not None and inbox.expected < inbox.planned_end
        ]

    def _full(self) -> bool:
        inboxes = self._inboxes.values()
        return (
            sum(len(inbox.records) for inbox in inboxes) >= 2 * self._max_records
            or sum(inbox.size for inbox in inboxes) >= 2 * self._max_bytes
        )

    async def _report_deleted(self, where: TopicPartition, expected: int) -> int:
        assert self._kafka is not None
        oldest = int((await self._kafka.beginning_offsets([where]))[where])
        if oldest > expected:
            log.error(
                "%s:%d: the records %d to %d were deleted before they were read",
                where.topic,
                where.partition,
                expected,
                oldest - 1,
            )
            telemetry.RECORDS_LOST.add(oldest - expected, {"topic": where.topic})
        return oldest

    def _new_log(self, where: TopicPartition, first: Record, old: _Inbox) -> _Inbox:
        # What was committed lies behind the end, so aiokafka has started from the beginning.
        log.error(
            "%s:%d: the log has lost its end, or is a new one: %d came where %d was expected; "
            "it is read again from there",
            where.topic,
            where.partition,
            first.offset,
            old.expected,
        )
        return _Inbox(first.offset, None, first.offset)

    # Handing over.

    async def _work(self) -> None:
        while not self._stopping.is_set():
            self._arrived.clear()
            where = self._next()
            if where is None:
                await _wait(self._arrived, self._linger_s / 4)
                continue
            async with self._in_flight:
                # The listener may have held the lock and taken the partition away.
                if where in self._inboxes:
                    await self._hand_over(where)

    def _next(self) -> TopicPartition | None:
        """The partition whose batch is due, the one that has waited longest first."""
        now, full = time.monotonic(), self._full()
        due = []
        for where, inbox in self._inboxes.items():
            if inbox.planned_end is not None:
                is_due = inbox.expected >= inbox.planned_end
            else:
                is_due = bool(inbox.records) and (
                    len(inbox.records) >= self._max_records
                    or inbox.size >= self._max_bytes
                    or now - inbox.since >= self._linger_s
                )
            if is_due:
                due.append((inbox.since, where))
            elif full and inbox.planned_end is None and inbox.records:
                # Nothing more is fetched until something is taken: the fullest goes, but after
                # all that are due by themselves.
                due.append((now + 1 / (1 + len(inbox.records)), where))
        return min(due)[1] if due else None

    async def _hand_over(self, where: TopicPartition) -> None:
        inbox = self._inboxes[where]
        first = inbox.committed
        end, records = inbox.cut(self._max_records, self._max_bytes)
        self._taken.set()
        batch = Batch(where.topic, where.partition, first, end, records)
        self._finished[where] = (first, f"{_ENDS_AT}{end}")
        if not await self._commit():
            return
        began = time.monotonic()
        with telemetry.batch_span("handle batch", records):
            bad = await self._handler(batch) if records else ()
            await self._dead_letters.settle(batch, bad)
        self._finished[where] = (end, "")
        inbox.committed = end
        attributes = {"topic": where.topic}
        telemetry.BATCH_SECONDS.record(time.monotonic() - began, attributes)
        telemetry.RECORDS_CONSUMED.add(len(records), attributes)
        # When the next batch is due already, its write-ahead carries this commit.
        if self._stopping.is_set() or self._next() is None:
            await self._commit()

    async def _commit(self) -> bool:
        """Commit what is finished and planned. False: the partitions are no longer ours."""
        assert self._kafka is not None
        if not self._finished:
            return True
        try:
            await self._kafka.commit(self._finished)
        except (CommitFailedError, IllegalStateError) as error:
            # The group has rebalanced without us. The next owner does the same batches again.
            log.warning("lost the partitions before a commit: %s", error)
            self._forget()
            return False
        self._finished = {}
        return True

    def _forget(self) -> None:
        self._inboxes.clear()
        self._finished.clear()
        self._taken.set()

    # Rebalancing: called by aiokafka, which logs exceptions and goes on.

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        async with self._in_flight:
            try:
                await self._commit()
            except Exception as error:
                self._broken = error
            self._forget()

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        try:
            await self._open(list(assigned))
            self._ready = True
        except Exception as error:
            self._broken = error

    async def _open(self, assigned: list[TopicPartition]) -> None:
        assert self._kafka is not None
        if not assigned:
            return
        committed = await self._read_committed(assigned)
        oldest = await self._kafka.beginning_offsets(assigned)
        for where in assigned:
            offset, planned = committed.get(where, (oldest[where], None))
            start = max(offset, oldest[where])
            if offset < start:
                await self._report_deleted(where, offset)
            if planned is not None and planned <= start:
                planned = None
            self._inboxes[where] = _Inbox(offset, planned, start)
            self._kafka.seek(where, start)
        self._taken.set()

    async def _read_committed(
        self, assigned: list[TopicPartition]
    ) -> dict[TopicPartition, tuple[int, int | None]]:
        # AIOKafkaConsumer.committed() drops the metadata; the admin client gives it.
        admin = AIOKafkaAdminClient(bootstrap_servers=self._bootstrap)
        await admin.start()
        try:
            found = await admin.list_consumer_group_offsets(self._group, partitions=assigned)
        finally:
            await admin.close()
        committed = {}
        for where, (offset, metadata) in found.items():
            if offset >= 0:
                planned = (metadata or "").removeprefix(_ENDS_AT)
                committed[where] = (offset, int(planned) if planned.isdigit() else None)
        return committed


def _size(record: Any) -> int:
    key: int = record.serialized_key_size
    value: int = record.serialized_value_size
    return max(key, 0) + max(value, 0)


async def _wait(event: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except TimeoutError:
        return
