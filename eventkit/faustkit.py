"""Faust, made safe: its own acknowledgement is never used.

Three things in Faust 0.15.3 lose records that were not dealt with. An exception in an agent
acknowledges the event. `stream.take()` acknowledges its buffer when the agent is cancelled in the
middle of it. And a record that is skipped because the group rebalanced while it was queued counts
as acknowledged, so a commit may pass over it before it is read again. So topics are subscribed
with `acks=False`, an agent does nothing but collect, and the offset is committed from here, after
the effect. What waits in the collector may vanish at any time: it is not committed.

And one thing would cost more than all else that a worker does: of each record Faust makes a
message, an event and two tasks, 70 µs. So what a fetch has brought of a partition is one message.
"""

import asyncio
import logging
import os
import signal
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, NoReturn

import faust
from aiokafka.errors import KafkaError
from faust.tables.manager import TableManager
from faust.transport.drivers.aiokafka import Consumer
from faust.types import TP
from faust.types.tuples import ConsumerMessage

from eventkit import telemetry
from eventkit.deadletter import DeadLetters
from eventkit.errors import BadRecord
from eventkit.logfold import LogFold
from eventkit.producer import Producer
from eventkit.records import Bad, Batch, Handler, Message, Record

log = logging.getLogger(__name__)

CRASHED = 70
LINGER_S = 0.005  # Batches of some dozens and not of three: twice the throughput.
CHUNKS = 32
"""How many fetches of a partition may wait to be collected."""
COMMIT_S = 0.25
HOLD_S = 1.0
STOP_S = 3.0

Effect = Callable[..., Awaitable[None]]
"""Of one or more batches of one topic, each of another partition."""
Step = Callable[[], Awaitable[object]]


class _Chunk(ConsumerMessage):
    """What one fetch has brought of one partition; to Faust a message with its last offset."""

    __slots__ = ("records",)
    records: Sequence[Record]


class _Consumer(Consumer):
    async def _getmany(self, active_partitions: Any, timeout: float) -> Any:  # noqa: ASYNC109
        found = await super()._getmany(active_partitions, timeout)
        return {where: [records] for where, records in found.items() if records}

    def _to_message(self, tp: TP, record: Sequence[Any]) -> _Chunk:
        last = record[-1]
        chunk = _Chunk(
            *(tp.topic, tp.partition, last.offset, last.timestamp / 1000, last.timestamp_type),
            *(None, None, None, None),
            tp=tp,
            generation_id=self.app.consumer_generation_id,
        )
        chunk.records = record
        return chunk


class _NoTables(TableManager):
    async def on_start(self) -> None:
        """Without the second that Faust waits for tables to be declared."""
        await self._update_channels()
        await self.recovery.start()


class App(faust.App):
    """A Faust app and the workers that `agent` and `fold_agent` attached to it."""

    workers: list["_Worker"]

    def _create_directories(self) -> None:
        """Nothing is kept on disk, which may be read-only."""

    def _new_transport(self) -> Any:
        transport: Any = super()._new_transport()
        transport.Consumer = _Consumer
        return transport

    def ready(self) -> bool:
        """True after the first assignment, when all assigned partitions are restored."""
        return bool(self.workers) and all(worker.ready() for worker in self.workers)

    def positions(self) -> Mapping[str, tuple[int, int]]:
        """Of each assigned partition, "topic:partition" -> (committed offset, log's end)."""
        return {name: at for worker in self.workers for name, at in worker.positions().items()}


def make_app(
    name: str,
    bootstrap: str,
    *,
    session_timeout_s: float = 10.0,
    group_instance: str | None = None,
) -> App:
    """An app whose consumer group is `name`. Its topics must exist already.

    group_instance: see KafkaSettings.
    """
    app = App(
        name,
        broker=[f"kafka://{address.strip()}" for address in bootstrap.split(",")],
        store="memory://",
        key_serializer="raw",
        value_serializer="raw",
        web_enabled=False,  # It would show the contents of tables.
        topic_allow_declare=False,
        topic_disable_leader=True,
        table_standby_replicas=0,
        TableManager=_NoTables,
        consumer_group_instance_id=group_instance,
        broker_session_timeout=session_timeout_s,
        broker_heartbeat_interval=session_timeout_s / 4,
        broker_rebalance_timeout=session_timeout_s * 2,
        # Nothing is ever acknowledged to Faust, so waiting for it would never end.
        stream_wait_empty=False,
        stream_buffer_maxsize=CHUNKS,
        worker_redirect_stdouts=False,
    )
    app.workers = []
    return app


def agent(
    app: App, topic: str, handler: Handler, dead_letters: DeadLetters, *, max_records: int = 1000
) -> None:
    """Attach a handler to a topic: batches per partition; effect, dead letters, then the commit.

    A batch is whatever arrived while the last one was handled and in some milliseconds more, up
    to `max_records`. A retriable KafkaError or a ConnectionError: the batch is tried again, with
    back-off, so the handler must be repeatable. Anything else: traceback, exit code 70, no commit.
    """

    async def effect(batch: Batch) -> None:
        await dead_letters.settle(batch, await handler(batch))

    app.workers.append(_Worker(app, topic, effect, max_records))


def fold_agent(app: App, fold: LogFold[Any, Any, Any], *, max_records: int = 1000) -> None:
    """Attach a fold to its topic: as `agent`, and partitions are restored as soon as assigned."""
    worker = _Worker(app, fold.topic, fold.handle, max_records, together=True)
    worker.is_restored, worker.is_free = fold.holds, fold.is_free
    app.workers.append(worker)

    async def keep() -> None:
        while not app.should_stop:
            await _or_crash(fold.hold(worker.assigned()))
            await asyncio.sleep(HOLD_S)

    app.task(keep)


def each(function: Callable[[Record], Sequence[Message]], producer: Producer) -> Handler:
    """A handler from a pure function of one record, for processors without state.

    The function raises InvalidMessage or Rejected for a bad record. The handler returns when all
    outputs of the batch are acknowledged.
    """

    async def handle(batch: Batch) -> Iterable[Bad]:
        outputs: list[Message] = []
        bad: list[Bad] = []
        for record in batch.records:
            try:
                outputs.extend(function(record))
            except BadRecord as error:
                bad.append(Bad(record, error))
        await producer.send_many(outputs)
        return bad

    return handle


def run_worker(app: App, *, start: Sequence[Step] = (), stop: Sequence[Step] = ()) -> int:
    """Run the app in this process until SIGTERM or SIGINT; returns the exit code.

    start: awaited in order before the app (connect the producer, serve health).
    stop: awaited in order after it, whatever happened.
    """
    return asyncio.run(_run(app, start, stop))


async def _run(app: App, start: Sequence[Step], stop: Sequence[Step]) -> int:
    asked = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, asked.set)
    try:
        for step in start:
            await step()
        app.finalize()
        await app.start()
        stopped = asyncio.create_task(app.wait_until_stopped())
        waiting = [stopped, asyncio.create_task(asked.wait())]
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        crashed = stopped.done() and not asked.is_set()
        for task in waiting:
            task.cancel()
        for worker in app.workers:
            await worker.finish()
        try:
            await asyncio.wait_for(app.stop(), STOP_S)
        except TimeoutError:
            log.warning("Faust has not stopped within %g s; all effects are committed", STOP_S)
        return CRASHED if crashed else 0
    finally:
        for step in stop:
            await step()


class _Worker:
    """Between the agent of one topic, which collects, and the effect."""

    def __init__(
        self, app: App, topic: str, effect: Effect, max_records: int, *, together: bool = False
    ) -> None:
        """together: the effect is given what waits of all partitions, not one batch at a time."""
        self._app = app
        self._topic = topic
        self._effect = effect
        self._max_records = max_records
        self._together = together
        self._first_at = 0.0
        self._waiting: defaultdict[int, list[Record]] = defaultdict(list)
        self._done: dict[int, int] = {}
        self._committed: dict[int, int] = {}
        self._arrived = asyncio.Event()
        self._room = asyncio.Event()
        self._busy = asyncio.Lock()
        self._generation = -1
        self._seen_assignment = False
        self.is_restored: Callable[[int], bool] = lambda partition: True
        self.is_free: Callable[[int], bool] = lambda partition: True
        """Whether a partition can be handled at once: it keeps the others waiting otherwise."""
        channel = app.topic(topic, key_type=bytes, value_type=bytes, acks=False)
        app.agent(channel, name=f"{topic}-collector", concurrency=1)(self._collect)
        app.task(self._handle_all)
        app.task(self._commit_all)

    def assigned(self) -> set[int]:
        """The partitions of the topic that the group has given us."""
        try:
            assignment = self._app.consumer.assignment()
        except Exception:
            return set()  # Not started yet, or stopped already.
        return {where.partition for where in assignment if where.topic == self._topic}

    def ready(self) -> bool:
        assigned = self.assigned()
        self._seen_assignment |= bool(assigned)
        return self._seen_assignment and all(self.is_restored(number) for number in assigned)

    def positions(self) -> Mapping[str, tuple[int, int]]:
        found = {}
        for number in self.assigned():
            end = self._app.consumer.highwater(TP(self._topic, number)) or 0
            committed = self._committed.get(number, 0)
            found[f"{self._topic}:{number}"] = (committed, end)
        return found

    async def finish(self) -> None:
        """Wait for the batch in flight, commit, and take no more."""
        await self._busy.acquire()
        await self._commit()

    async def _collect(self, stream: Any) -> None:
        async for event in stream.events():
            message = event.message
            if message.generation_id != self._generation:
                self._forget(message.generation_id)
            waiting = self._waiting[message.partition]
            waiting += message.records
            if not self._arrived.is_set():
                self._first_at = time.monotonic()
                self._arrived.set()
            if len(waiting) >= self._max_records:
                self._room.clear()
                await self._room.wait()

    def _forget(self, generation: int) -> None:
        self._generation = generation
        self._waiting.clear()
        self._done.clear()

    async def _handle_all(self) -> None:
        while not self._app.should_stop:
            await self._arrived.wait()
            # Not at all where what went before has taken longer than that.
            await asyncio.sleep(self._first_at + LINGER_S - time.monotonic())
            async with self._busy:
                self._arrived.clear()
                # After a rebalance what waits here comes again, from the committed offset on.
                if self._generation != self._app.consumer_generation_id:
                    self._forget(self._app.consumer_generation_id)
                batches = self._take()
                for some in [batches] if self._together else [[batch] for batch in batches]:
                    await _or_crash(self._handle(some))

    def _take(self) -> list[Batch]:
        """What waits, up to `max_records` of each partition that is free."""
        batches = []
        for partition, records in list(self._waiting.items()):
            if not self.is_free(partition):
                self._first_at = time.monotonic()
                continue
            taken = records[: self._max_records]
            first, end = taken[0].offset, taken[-1].offset + 1
            batches.append(Batch(self._topic, partition, first, end, taken))
            if len(taken) < len(records):
                self._waiting[partition] = records[self._max_records :]
            else:
                del self._waiting[partition]
        if self._waiting:
            self._arrived.set()
        if all(len(records) < self._max_records for records in self._waiting.values()):
            self._room.set()
        return batches

    async def _handle(self, batches: list[Batch]) -> None:
        generation, delay = self._generation, 0.1
        while generation == self._app.consumer_generation_id:
            assigned = self.assigned()
            batches = [batch for batch in batches if batch.partition in assigned]
            if not batches:
                return
            began = time.monotonic()
            records = [record for batch in batches for record in batch.records]
            try:
                with telemetry.batch_span("handle batch", records):
                    await self._effect(*batches)
            except (KafkaError, ConnectionError) as error:
                if isinstance(error, KafkaError) and not error.retriable:
                    raise
                log.warning("%s: trying again in %.1f s: %r", batches[0].token, delay, error)
                await asyncio.sleep(delay)
                delay = min(2 * delay, 10.0)
                continue
            if generation == self._generation:
                self._done.update((batch.partition, batch.next_offset) for batch in batches)
            attributes = {"topic": self._topic}
            telemetry.BATCH_SECONDS.record(time.monotonic() - began, attributes)
            telemetry.RECORDS_CONSUMED.add(len(records), attributes)
            return

    async def _commit_all(self) -> None:
        while not self._app.should_stop:
            await asyncio.sleep(COMMIT_S)
            await _or_crash(self._commit())

    async def _commit(self) -> None:
        assigned = self.assigned()
        done = {number: end for number, end in self._done.items() if number in assigned}
        self._done.clear()
        offsets = {TP(self._topic, number): end for number, end in done.items()}
        # Faust's public commit() knows acknowledged messages only; this is the step below it.
        consumer: Any = self._app.consumer
        if offsets and await consumer._commit(offsets):
            self._committed.update(done)


async def _or_crash(step: Awaitable[object]) -> None:
    try:
        await step
    except Exception:
        _crash()


def _crash() -> NoReturn:
    """End the process here and now: whatever Faust would do on an exception, it cannot commit."""
    log.critical("unforeseen: stopping without a commit", exc_info=True)
    logging.shutdown()
    os._exit(CRASHED)
