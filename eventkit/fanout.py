"""One reader of topics for many listeners: what is published from now on, by key.

    fanout = Fanout(settings.kafka, ["agent-events"], route)     # (key, item) pairs of a record
    async with fanout.listen("ann") as listener:
        ...                                  # whatever is published from here on will come
        async for item in listener:
            ...

Nothing is kept or acknowledged: who needs more than "now" asks for the state first, which is why
`listen` returns only when nothing can be missed any more. Topics are read while somebody listens.
"""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Generic, Self, TypeVar

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError

from eventkit import telemetry
from eventkit.errors import BadRecord, Unavailable
from eventkit.records import Record
from eventkit.topictable import find_partitions, make_reader

log = logging.getLogger(__name__)

MAX_WAITING = 1_000
"""Items of one listener who is slow; then it is let go."""
CHUNK = 500
START_S = 10.0

T = TypeVar("T")


class Fanout(Generic[T]):
    """route: for whom a record is, and as what. Called for each record, in order per partition.
    Raises BadRecord: the record is skipped and counted.
    """

    def __init__(
        self,
        bootstrap: str,
        topics: Sequence[str],
        route: Callable[[Record], Iterable[tuple[str, T]]],
        *,
        max_waiting: int = MAX_WAITING,
    ) -> None:
        self._bootstrap = bootstrap
        self._topics = topics
        self._route = route
        self._max_waiting = max_waiting
        self._listeners: dict[str, set[Listener[T]]] = {}
        self._reading: asyncio.Task[None] | None = None
        self._starting = asyncio.Lock()

    @asynccontextmanager
    async def listen(self, key: str) -> AsyncGenerator["Listener[T]", None]:
        """All items of the key that are published after this has begun. Raises Unavailable."""
        listener: Listener[T] = Listener(self._max_waiting)
        self._listeners.setdefault(key, set()).add(listener)
        try:
            async with self._starting:
                if self._reading is None:
                    await self._start()
            yield listener
        finally:
            self._listeners[key].discard(listener)
            if not self._listeners[key]:
                del self._listeners[key]
            if not self._listeners:
                await self._stop()

    async def _start(self) -> None:
        consumer = make_reader(self._bootstrap)
        try:
            async with asyncio.timeout(START_S):
                await consumer.start()
                partitions = await find_partitions(self._bootstrap, self._topics)
                consumer.assign(partitions)
                for where, end in (await consumer.end_offsets(partitions)).items():
                    consumer.seek(where, end)
        except (KafkaError, TimeoutError) as error:
            await consumer.stop()
            raise Unavailable(f"Kafka: {error!r}") from error
        except BaseException:
            await consumer.stop()
            raise
        self._reading = asyncio.create_task(self._read(consumer))

    async def _stop(self) -> None:
        reading, self._reading = self._reading, None
        if reading is not None:
            reading.cancel()
            await asyncio.wait([reading])

    async def _read(self, consumer: AIOKafkaConsumer) -> None:
        reason: Exception = Unavailable("not read any more")
        try:
            while True:
                chunks = await consumer.getmany(timeout_ms=1_000, max_records=CHUNK)
                for chunk in chunks.values():
                    for record in chunk:
                        self._take(record)
        except KafkaError as error:
            reason = Unavailable(f"Kafka: {error}")
        except Exception as error:
            log.exception("what is published is not told any more")
            reason = error
        finally:
            if self._reading is asyncio.current_task():
                self._reading = None
                for listeners in self._listeners.values():
                    for listener in listeners:
                        listener.end(reason)
            await consumer.stop()

    def _take(self, record: Record) -> None:
        try:
            for key, item in self._route(record):
                for listener in self._listeners.get(key, ()):
                    listener.put(item)
        except BadRecord as error:
            telemetry.VALUES_SKIPPED.add(1, {"topic": record.topic})
            where = f"{record.topic}:{record.partition}:{record.offset}"
            log.warning("%s is skipped: %s", where, error)


class Listener(Generic[T]):
    """An iterator over what is published for one key. Raises Unavailable where it has to end."""

    def __init__(self, max_waiting: int) -> None:
        self._max_waiting = max_waiting
        self._waiting: deque[T] = deque()
        self._news = asyncio.Event()
        self._ended: Exception | None = None

    def put(self, item: T) -> None:
        if self._ended is not None:
            return
        self._waiting.append(item)
        if len(self._waiting) > self._max_waiting:
            self.end(Unavailable(f"more than {self._max_waiting} updates have waited"))
        self._news.set()

    def end(self, reason: Exception) -> None:
        """After what waits now. Raised where the listener waits for more."""
        if self._ended is None:
            self._ended = reason
            self._news.set()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        while not self._waiting:
            if self._ended is not None:
                raise self._ended
            self._news.clear()
            await self._news.wait()
        return self._waiting.popleft()
