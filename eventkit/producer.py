"""Kafka out: idempotent, acks=all, lz4, and nothing counts as sent before its acknowledgement."""

import asyncio
import functools
import logging
import random
from collections import deque
from collections.abc import AsyncIterable, Iterable
from types import TracebackType
from typing import Any, Self

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, MessageSizeTooLargeError
from aiokafka.partitioner import murmur2

from eventkit import telemetry
from eventkit.records import Headers, Message

log = logging.getLogger(__name__)

BATCH_BYTES = 256 << 10
MAX_UNACKED_BATCHES = 64
"""Of one bulk: bounds its memory to 16 MiB."""


class Producer:
    """An `async with` around one connection pool; tasks of one event loop may share it.

    linger_ms: how long a batch waits to grow. 0 to 2 for services that answer when Kafka has
        acknowledged, 5 to 20 for bulk.
    max_request_bytes: of one request; a larger message raises MessageSizeTooLargeError at once.

    Errors are aiokafka.errors.KafkaError, raised from where the acknowledgement is awaited.
    Retriable ones are retried inside for `timeout_s`, without reordering or doubling.
    """

    def __init__(
        self,
        bootstrap: str,
        *,
        linger_ms: int = 2,
        max_request_bytes: int = 15 << 20,
        timeout_s: float = 30.0,
        client_id: str = "relais",
    ) -> None:
        self._options = {
            "bootstrap_servers": bootstrap,
            "client_id": client_id,
            "acks": "all",
            "compression_type": "lz4",
            "linger_ms": linger_ms,
            "max_batch_size": BATCH_BYTES,
            "max_request_size": max_request_bytes,
            "request_timeout_ms": int(timeout_s * 1000),
        }
        self._timeout_s = timeout_s
        self.max_request_bytes = max_request_bytes
        self._kafka: AIOKafkaProducer | None = None
        self._bulk = _Bulk(self)

    async def start(self) -> None:
        """Connect. Raises KafkaConnectionError when no broker answers."""
        kafka = AIOKafkaProducer(enable_idempotence=True, **self._options)
        try:
            # A broker without InitProducerId makes aiokafka ask for ever, or drops the connection.
            await asyncio.wait_for(kafka.start(), self._timeout_s)
        except (KafkaError, TimeoutError) as error:
            await kafka.stop()
            log.warning(
                "the broker gives no producer id (%r): sending without idempotence, "
                "so a retried send may arrive twice",
                error,
            )
            kafka = AIOKafkaProducer(enable_idempotence=False, **self._options)
            await kafka.start()
        self._kafka = kafka

    async def stop(self) -> None:
        """Send what is buffered and disconnect. Failures show only where acks are awaited."""
        if self._kafka is not None:
            await self._kafka.stop()
            self._kafka = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()

    @property
    def connection(self) -> AIOKafkaProducer:
        """aiokafka's producer. Raises RuntimeError before `start`."""
        if self._kafka is None:
            raise RuntimeError("the producer is not started")
        return self._kafka

    async def deliver(self, message: Message) -> int:
        """Send one message at once; returns its offset when Kafka has acknowledged it."""
        acknowledged = await (await self.post(message))
        return int(acknowledged.offset)

    async def post(self, message: Message) -> "asyncio.Future[Any]":
        """Send one message at once; returns when it is in line behind those posted before it.

        The future is done when Kafka has acknowledged it, or has failed. Waits while buffers are
        full.
        """
        topic, key, value, headers, timestamp_ms, partition = message
        headers = [*headers, *telemetry.trace_headers()]
        acknowledged: asyncio.Future[Any] = await self.connection.send(
            topic, value, key, partition, timestamp_ms, headers
        )
        acknowledged.add_done_callback(_count)
        return acknowledged

    async def send_many(self, messages: Iterable[Message] | AsyncIterable[Message]) -> int:
        """Send all, in order per partition; returns their number when all are acknowledged.

        Raises when any has failed: then some of the others may have arrived.
        """
        bulk = _Bulk(self)
        if isinstance(messages, AsyncIterable):
            async for message in messages:
                await bulk.add(message)
        else:
            for message in messages:
                await bulk.add(message)
        return await bulk.flush()

    async def send(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        headers: Headers = (),
        timestamp_ms: int | None = None,
        partition: int | None = None,
    ) -> None:
        """Add one message to a bulk, which `flush` completes: until then it may not have left.

        Waits while buffers are full. Raises when an earlier part of the bulk has failed.
        """
        await self._bulk.add(Message(topic, key, value, headers, timestamp_ms, partition))

    async def flush(self) -> int:
        """Complete the bulk: as `send_many` of all that was given to `send` since the last one."""
        bulk, self._bulk = self._bulk, _Bulk(self)
        return await bulk.flush()


class _Bulk:
    """Messages on their way, packed into record batches here: one future for each batch and not
    for each message, which is three times as fast as aiokafka's `send`.
    """

    def __init__(self, producer: Producer) -> None:
        self._producer = producer
        self._trace = telemetry.trace_headers()
        self._partitions: dict[str, list[int]] = {}
        self._growing: dict[tuple[str, int], Any] = {}
        self._unacked: deque[asyncio.Future[Any]] = deque()
        self._count = 0

    async def add(self, message: Message) -> None:
        topic, key, value, headers, timestamp_ms, partition = message
        if value is not None and len(value) > self._producer.max_request_bytes:
            raise MessageSizeTooLargeError(f"{topic}: a value of {len(value)} bytes is too large")
        if partition is None:
            numbers = self._partitions.get(topic) or await self._partitions_of(topic)
            partition = numbers[partition_of(key, len(numbers))] if key else random.choice(numbers)
        where = (topic, partition)
        batch = self._growing.get(where)
        fields = {
            "timestamp": timestamp_ms,
            "key": key,
            "value": value,
            "headers": [*headers, *self._trace],
        }
        if batch is None or batch.append(**fields) is None:
            if batch is not None:
                await self._submit(where, batch)
            batch = self._growing[where] = self._producer.connection.create_batch()
            batch.append(**fields)
        self._count += 1

    async def flush(self) -> int:
        for where, batch in self._growing.items():
            await self._submit(where, batch)
        self._growing.clear()
        await self._await_oldest(len(self._unacked))
        telemetry.RECORDS_PRODUCED.add(self._count)
        return self._count

    async def _partitions_of(self, topic: str) -> list[int]:
        numbers = sorted(await self._producer.connection.partitions_for(topic))
        self._partitions[topic] = numbers
        return numbers

    async def _submit(self, where: tuple[str, int], batch: Any) -> None:
        # Closed, or sends of single messages would be added to it and change its count.
        batch.close()
        topic, partition = where
        if len(self._unacked) >= MAX_UNACKED_BATCHES:
            await self._await_oldest(MAX_UNACKED_BATCHES // 2)
        self._unacked.append(
            await self._producer.connection.send_batch(batch, topic, partition=partition)
        )

    async def _await_oldest(self, count: int) -> None:
        taken = [self._unacked.popleft() for _ in range(count)]
        # All are awaited before the first failure is raised, so that no failure goes unseen.
        outcomes = await asyncio.gather(*taken, return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome


def _count(acknowledged: "asyncio.Future[Any]") -> None:
    # Asked for its exception in any case, or one whose sender has gone would be logged as lost.
    if not acknowledged.cancelled() and acknowledged.exception() is None:
        telemetry.RECORDS_PRODUCED.add(1)


@functools.lru_cache(maxsize=1 << 16)
def partition_of(key: bytes, partitions: int) -> int:
    """Where the records of a key are, as in Java."""
    return (int(murmur2(key)) & 0x7FFFFFFF) % partitions
