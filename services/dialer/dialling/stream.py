"""call-events in, from a moment ago on: routing gives one of our calls to an agent, and the
carrier is asked to connect the two; and who else waits for agents, for pacing.

Without a group and without offsets: an assignment counts for two seconds, and what was missed by
then the carrier has answered with the message. A repeat is harmless.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError

from eventkit import telemetry
from eventkit.clock import Clock
from eventkit.errors import BadRecord
from eventkit.records import Record
from eventkit.topictable import find_partitions, make_reader
from services.dialer.dialling import codec
from services.dialer.dialling.messages import News

log = logging.getLogger(__name__)

TOPIC: Final = "call-events"
BACK_MS: Final = 5_000
"""So far back it begins: assignments of calls that may still wait."""
CHUNK: Final = 500
"""Records that are decoded at a stretch; between them the event loop has its turn."""
FIRST_PAUSE_S, MAX_PAUSE_S = 0.2, 5.0


class CallNews:
    """heard: called for each piece of news, in order per call; must not wait."""

    def __init__(self, bootstrap: str, clock: Clock, heard: Callable[[News], None]) -> None:
        self._bootstrap = bootstrap
        self._clock = clock
        self._heard = heard
        self.reading = asyncio.Event()
        """Set while nothing that is published is missed."""

    async def run(self) -> None:
        """For ever; where Kafka does not answer it begins again."""
        pause = FIRST_PAUSE_S
        while True:
            consumer = make_reader(self._bootstrap, fetch_max_wait_ms=100)
            try:
                await self._begin(consumer)
                pause = FIRST_PAUSE_S
                self.reading.set()
                while True:
                    chunks = await consumer.getmany(timeout_ms=1_000, max_records=CHUNK)
                    for chunk in chunks.values():
                        for record in chunk:
                            self._take(record)
            except (KafkaError, LookupError, OSError) as error:
                log.warning("call-events are not heard, again in %.1f s: %r", pause, error)
            finally:
                self.reading.clear()
                await consumer.stop()
            await asyncio.sleep(pause)
            pause = min(2 * pause, MAX_PAUSE_S)

    async def _begin(self, consumer: AIOKafkaConsumer) -> None:
        await consumer.start()
        partitions = await find_partitions(self._bootstrap, [TOPIC])
        consumer.assign(partitions)
        since = self._clock.now_us() // 1_000 - BACK_MS
        found = await consumer.offsets_for_times(dict.fromkeys(partitions, since))
        ends = await consumer.end_offsets(partitions)
        for where in partitions:
            first = found.get(where)
            consumer.seek(where, ends[where] if first is None else first.offset)

    def _take(self, record: Record) -> None:
        try:
            news = codec.news(record)
        except BadRecord as error:
            telemetry.VALUES_SKIPPED.add(1, {"topic": record.topic})
            log.warning("%s:%d:%d: %s", record.topic, record.partition, record.offset, error)
            return
        if news is not None:
            self._heard(news)
