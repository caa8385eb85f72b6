"""Kafka out: idempotent, acks=all, lz4, and nothing counts as sent before its acknowledgement."""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterable, Iterable
from types import TracebackType
from typing import Any, Self

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from eventkit import telemetry
from eventkit.records import Headers, Message

log = logging.getLogger(__name__)

MAX_UNACKED = 20_000
"""Sends of one bulk that may wait for their acknowledgement; bounds the memory of their futures."""


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
        max_request_bytes: int = 8 << 20,
        timeout_s: float = 30.0,
        client_id: str = "relais",
    ) -> None:
        self._options = {
            "bootstrap_servers": bootstrap,
            "client_id": client_id,
            "acks": "all",
            "compression_type": "lz4",
            "linger_ms": linger_ms,
            # aiokafka keeps at most one growing batch per partition, so this bounds its memory too.
            "max_batch_size": 256 << 10,
            "max_request_size": max_request_bytes,
            "request_timeout_ms": int(timeout_s * 1000),
        }
        self._timeout_s = timeout_s
        self._kafka: AIOKafkaProducer | None = None
        self._unacked: deque[asyncio.Future[Any]] = deque()

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

    async def deliver(self, message: Message) -> int:
        """Send one message; returns its offset when Kafka has acknowledged it."""
        sent = await (await self._enqueue(message, telemetry.trace_headers()))
        telemetry.RECORDS_PRODUCED.add(1)
        return int(sent.offset)

    async def send(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        headers: Headers = (),
        timestamp_ms: int | None = None,
        partition: int | None = None,
    ) -> None:
        """Buffer one message of a bulk; `flush` waits for the acknowledgements.

        Waits while buffers are full. Raises when an earlier send of the bulk has failed.
        """
        message = Message(topic, key, value, headers, timestamp_ms, partition)
        await self._send(message, telemetry.trace_headers())

    async def send_many(self, messages: Iterable[Message] | AsyncIterable[Message]) -> int:
        """Send all, in order per partition; returns their number when all are acknowledged.

        Raises when any send has failed: then some of the others may have arrived.
        """
        trace = telemetry.trace_headers()
        count = 0
        if isinstance(messages, AsyncIterable):
            async for message in messages:
                await self._send(message, trace)
                count += 1
        else:
            for message in messages:
                await self._send(message, trace)
                count += 1
        await self.flush()
        return count

    async def flush(self) -> None:
        """Wait until everything given to `send` is acknowledged; raise when any of it failed."""
        await self._await_oldest(len(self._unacked))

    async def _send(self, message: Message, trace: Headers) -> None:
        self._unacked.append(await self._enqueue(message, trace))
        if len(self._unacked) > MAX_UNACKED:
            await self._await_oldest(MAX_UNACKED // 2)

    async def _enqueue(self, message: Message, trace: Headers) -> asyncio.Future[Any]:
        if self._kafka is None:
            raise RuntimeError("the producer is not started")
        headers = [*message.headers, *trace] if trace else message.headers
        future: asyncio.Future[Any] = await self._kafka.send(
            message.topic,
            message.value,
            message.key,
            message.partition,
            message.timestamp_ms,
            headers,
        )
        return future

    async def _await_oldest(self, count: int) -> None:
        taken = [self._unacked.popleft() for _ in range(count)]
        # All are awaited before the first failure is raised, so that no failure goes unseen.
        failures = [error for future in taken if (error := await _outcome(future)) is not None]
        telemetry.RECORDS_PRODUCED.add(len(taken) - len(failures))
        if failures:
            raise failures[0]


async def _outcome(future: asyncio.Future[Any]) -> Exception | None:
    try:
        await future
    except Exception as error:
        return error
    return None
