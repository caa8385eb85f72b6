"""From the event store to Kafka: in commit order, none lost, none skipped.

Whoever reads "position > last" loses what gets an early position and commits late; whoever waits
for the oldest running transaction waits for any that is forgotten somewhere. So the relay numbers
events itself, once they can be seen: each gets the next number, and the number is what is
remembered. An event can be seen only after those before it in its stream, so the order per stream
holds (docs/adr/0023).

    relay = Relay(engine, producer)
    loop.add_signal_handler(signal.SIGTERM, relay.stop)
    await relay.run()

At least once: after a crash some of the last events are published again, with the same ids.
"""

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import asyncpg
from aiokafka.errors import KafkaError
from sqlalchemy.ext.asyncio import AsyncEngine

from eventkit import telemetry
from eventkit.eventstore import APPENDED, NUMBERED
from eventkit.postgres import Notifications, is_not_now
from eventkit.producer import Producer
from eventkit.records import Message

log = logging.getLogger(__name__)

RELAY_LOCK = 0x72656C79
LAG_S = 1.0
MAX_PAUSE_S = 10.0

_BEGIN = """
INSERT INTO relay (is_only, last_sequence, published) VALUES (true, 0, 0) ON CONFLICT DO NOTHING
"""
# Also the fence: of two relays, should there ever be two, one numbers after the other.
_POSITION = "SELECT last_sequence, published FROM relay FOR UPDATE"
_NUMBER = """
UPDATE events SET sequence = $1 + number
FROM (
    SELECT stream_id, version, row_number() OVER (ORDER BY position) AS number
    FROM (
        SELECT stream_id, version, position FROM events
        WHERE sequence IS NULL ORDER BY position LIMIT $2
    ) AS visible
) AS new
WHERE events.stream_id = new.stream_id AND events.version = new.version
"""
_NUMBERED = "UPDATE relay SET last_sequence = last_sequence + $1"
_READ = """
SELECT sequence, stream_id, topic, message, traceparent FROM events
WHERE sequence > $1 ORDER BY sequence LIMIT $2
"""
_PUBLISHED = "UPDATE relay SET published = $1 WHERE published < $1"
_LAG = """
SELECT last_sequence - published + (SELECT count(*) FROM events WHERE sequence IS NULL) AS events,
    published,
    (SELECT min(recorded_at) FROM (
        (SELECT recorded_at FROM events WHERE sequence > published ORDER BY sequence LIMIT 1)
        UNION ALL
        (SELECT recorded_at FROM events WHERE sequence IS NULL ORDER BY position LIMIT 1)
    ) AS oldest) AS since
FROM relay
"""


class Relay:
    """One at a time is active, by an advisory lock; others stand by.

    batch    how many events are numbered and published at once
    poll_s   how long it may take until an event is seen whose notification was lost
    """

    def __init__(
        self,
        engine: AsyncEngine,
        producer: Producer,
        *,
        batch: int = 2_000,
        poll_s: float = 0.5,
    ) -> None:
        self._engine = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._producer = producer
        self._lock = RELAY_LOCK
        self._batch = batch
        self._poll_s = poll_s
        self._stopping = asyncio.Event()
        self._ready = False
        self._at = (0, 0)
        self._measured_at = 0.0

    def stop(self) -> None:
        """Ask `run` to end after the batch that it is at."""
        self._stopping.set()

    def ready(self) -> bool:
        """True once it publishes, or stands by for the one that does."""
        return self._ready

    def positions(self) -> Mapping[str, tuple[int, int]]:
        """How many events are published, of how many: for eventkit.health."""
        return {"relay": self._at}

    async def run(self) -> None:
        """Publish until `stop`. The producer must be started.

        Where PostgreSQL or Kafka does not answer it tries again, with back-off. Raises KafkaError
        for what no retry mends, such as a message that is too large.
        """
        pause = self._poll_s
        async with Notifications(self._engine, APPENDED) as notifications:
            while not self._stopping.is_set():
                try:
                    await self._hold(notifications)
                    pause = self._poll_s
                except KafkaError as error:
                    if not error.retriable:
                        raise
                    log.warning("Kafka: trying again in %.1f s: %r", pause, error)
                    await self._sleep(pause)
                    # A producer that has given a batch up cannot be trusted with the next one.
                    await self._reconnect()
                    pause = min(2 * pause, MAX_PAUSE_S)
                except Exception as error:
                    if not is_not_now(error):
                        raise
                    log.warning("PostgreSQL: trying again in %.1f s: %r", pause, error)
                    await self._sleep(pause)
                    pause = min(2 * pause, MAX_PAUSE_S)

    async def _hold(self, notifications: Notifications) -> None:
        """Be the active relay while the connection lasts, or wait a moment to become it."""
        async with self._engine.connect() as connection:
            raw = await connection.get_raw_connection()
            driver: Any = raw.driver_connection
            try:
                await driver.execute(_BEGIN)
                is_active = await driver.fetchval("SELECT pg_try_advisory_lock($1)", self._lock)
                self._ready = True
                if not is_active:
                    await self._measure(driver)
                    await self._sleep(self._poll_s)
                    return
                log.info("active")
                while not self._stopping.is_set():
                    news = notifications.next()
                    if not await self._step(driver):
                        await self._idle(notifications, news)
                    await self._measure(driver)
            finally:
                # With the connection goes its lock.
                await connection.invalidate()

    async def _step(self, driver: "asyncpg.Connection[asyncpg.Record]") -> bool:
        """Number what can be seen and publish the next batch; True when there may be more."""
        async with driver.transaction():
            last, published = await driver.fetchrow(_POSITION)  # type: ignore[misc]
            status = await driver.execute(_NUMBER, last, self._batch)
            numbered = int(status.split()[-1])
            if numbered:
                await driver.execute(_NUMBERED, numbered)
                await driver.execute(f"NOTIFY {NUMBERED}")
        if last + numbered == published:
            return False
        rows = await driver.fetch(_READ, published, self._batch)
        await self._producer.send_many(_messages(rows))
        published = rows[-1]["sequence"]
        await driver.execute(_PUBLISHED, published)
        return last + numbered > published or numbered == self._batch

    async def _measure(self, driver: "asyncpg.Connection[asyncpg.Record]") -> None:
        if time.monotonic() - self._measured_at < LAG_S:
            return
        lag = await driver.fetchrow(_LAG)
        assert lag is not None
        self._measured_at = time.monotonic()
        self._at = lag["published"], lag["published"] + lag["events"]
        telemetry.RELAY_LAG.set(lag["events"])
        seconds = 0.0 if lag["since"] is None else max(0.0, time.time() - lag["since"] / 1e6)
        telemetry.RELAY_LAG_SECONDS.set(seconds)

    async def _idle(self, notifications: Notifications, news: asyncio.Event) -> None:
        stopping = asyncio.ensure_future(self._stopping.wait())
        waiting = asyncio.ensure_future(notifications.wait(news, self._poll_s))
        await asyncio.wait([stopping, waiting], return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        waiting.cancel()

    async def _sleep(self, seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)

    async def _reconnect(self) -> None:
        await self._producer.stop()
        while not self._stopping.is_set():
            try:
                await self._producer.start()
                break
            except KafkaError as error:
                log.warning("Kafka does not answer: %r", error)
                await self._sleep(self._poll_s)


def _messages(rows: Sequence[asyncpg.Record]) -> list[Message]:
    return [
        Message(
            row["topic"],
            row["stream_id"].encode(),
            row["message"],
            [("traceparent", row["traceparent"].encode())] if row["traceparent"] else [],
            None,
            None,
        )
        for row in rows
        if row["message"] is not None
    ]
