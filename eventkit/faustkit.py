"""Faust, made safe: its own acknowledgement is never used.

Three things in Faust 0.15.3 lose records that were not dealt with. An exception in an agent
acknowledges the event. `stream.take()` acknowledges its buffer when the agent is cancelled in the
middle of it. And a record that is skipped because the group rebalanced while it was queued counts
as acknowledged, so a commit may pass over it before it is read again. So topics are subscribed
with `acks=False`, an agent does nothing but collect, and the offset is committed from here, after
the effect. What waits in the collector may vanish at any time: it is not committed.
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
from aiokafka import ConsumerRecord
from aiokafka.errors import KafkaError
from faust.types import TP

from eventkit import telemetry
from eventkit.deadletter import DeadLetters
from eventkit.errors import BadRecord
from eventkit.logfold import LogFold
from eventkit.producer import Producer
from eventkit.records import Bad, Batch, Handler, Message, Record

log = logging.getLogger(__name__)

CRASHED = 70
LINGER_S = 0.005  # Batches of some dozens and not of three: twice the throughput.
COMMIT_S = 0.25
HOLD_S = 1.0
STOP_S = 3.0

Effect = Callable[[Batch], Awaitable[None]]
Step = Callable[[], Awaitable[object]]


class App(faust.App):
    """A Faust app and the workers that `agent` and `fold_agent` attached to it."""

    workers: list["_Worker"]

    def _create_directories(self) -> None:
        """Nothing is kept on disk, which may be read-only."""

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
        consumer_group_instance_id=group_instance,
        broker_session_timeout=session_timeout_s,
        broker_heartbeat_interval=session_timeout_s / 4,
        broker_rebalance_timeout=session_timeout_s * 2,
        # Nothing is ever acknowledged to Faust, so waiting for it would never end.
        stream_wait_empty=False,
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
    worker = _Worker(app, fold.topic, fold.handle, max_records)
    worker.is_restored = fold.holds
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

    def __init__(self, app: App, topic: str, effect: Effect, max_records: int) -> None:
        self._app = app
        self._topic = topic
        self._effect = effect
        self._max_records = max_records
        self._waiting: defaultdict[int, list[Record]] = defaultdict(list)
        self._done: dict[int, int] = {}
        self._committed: dict[int, int] = {}
        self._arrived = asyncio.Event()
        self._room = asyncio.Event()
        self._busy = asyncio.Lock()
        self._generation = -1
        self._seen_assignment = False
        self.is_restored: Callable[[int], bool] = lambda partition: True
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
            waiting.append(_record(message))
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
            await asyncio.sleep(LINGER_S)
            self._arrived.clear()
            for partition in list(self._waiting):
                async with self._busy:
                    # After a rebalance what waits here comes again, from the committed offset on.
                    if self._generation != self._app.consumer_generation_id:
                        self._forget(self._app.consumer_generation_id)
                    records = self._waiting.pop(partition, None)
                    self._room.set()
                    if records:
                        await _or_crash(self._handle(partition, records))

    async def _handle(self, partition: int, records: list[Record]) -> None:
        first, end = records[0].offset, records[-1].offset + 1
        batch = Batch(self._topic, partition, first, end, records)
        generation, delay = self._generation, 0.1
        while generation == self._app.consumer_generation_id and partition in self.assigned():
            began = time.monotonic()
            try:
                with telemetry.batch_span("handle batch", records):
                    await self._effect(batch)
            except (KafkaError, ConnectionError) as error:
                if isinstance(error, KafkaError) and not error.retriable:
                    raise
                log.warning("%s: trying again in %.1f s: %r", batch.token, delay, error)
                await asyncio.sleep(delay)
                delay = min(2 * delay, 10.0)
                continue
            if generation == self._generation:
                self._done[partition] = end
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


def _record(message: Any) -> Record:
    headers = message.headers.items() if isinstance(message.headers, dict) else message.headers
    record: Record = ConsumerRecord(
        message.topic,
        message.partition,
        message.offset,
        int(message.timestamp * 1000),
        message.timestamp_type,
        message.key,
        message.value,
        message.checksum,
        message.serialized_key_size,
        message.serialized_value_size,
        tuple(headers or ()),
    )
    return record


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
