"""Dead letters: a record that can never succeed goes to `<topic>-dlq`, with where it came from."""

import logging
from collections import defaultdict
from collections.abc import Iterable

from aiokafka.errors import MessageSizeTooLargeError

from eventkit import telemetry
from eventkit.clock import Clock, SystemClock
from eventkit.errors import DeadLetterLimit
from eventkit.producer import Producer
from eventkit.records import Bad, Batch, Message

log = logging.getLogger(__name__)

SUFFIX = "-dlq"
MAX_BYTES = 6 << 20
SMALL_BYTES = 256 << 10


class DeadLetters:
    """Sends bad records away, and stops the process when nothing but bad ones arrives.

    Headers added (text): dlq.topic, dlq.partition, dlq.offset, dlq.timestamp (ms), dlq.error
    (InvalidMessage or Rejected), dlq.reason, dlq.field, dlq.service, dlq.time_us. What is too large
    for the topic loses its own headers first, then the end of its value; dlq.truncated then says
    how long the value was.

    limit: bad records in a row, of one partition, that are still taken. Past it the deploy is
    broken and not the data: `settle` raises DeadLetterLimit before it sends anything of the batch.
    """

    def __init__(
        self,
        producer: Producer,
        service: str,
        *,
        limit: int = 10_000,
        clock: Clock | None = None,
    ) -> None:
        self._producer = producer
        self._service = service
        self._limit = limit
        self._clock = clock or SystemClock()
        self._in_a_row: defaultdict[tuple[str, int], int] = defaultdict(int)

    async def settle(self, batch: Batch, bad: Iterable[Bad]) -> None:
        """Send the bad records of a batch; returns when all are acknowledged.

        Must be called for batches without bad records too: they end a row of bad ones.
        Raises DeadLetterLimit, or KafkaError when a dead letter could not be delivered.
        """
        found = list(bad)
        self._count(batch, found)
        if not found:
            return
        log.warning(
            "%s: %d dead letters, first: offset %d, %s",
            batch.token,
            len(found),
            found[0].record.offset,
            found[0].error,
        )
        try:
            await self._producer.send_many([self._letter(one, MAX_BYTES) for one in found])
        except MessageSizeTooLargeError:
            await self._producer.send_many([self._letter(one, SMALL_BYTES) for one in found])
        telemetry.DEAD_LETTERS.add(len(found), {"topic": batch.topic})

    def _count(self, batch: Batch, bad: list[Bad]) -> None:
        where = (batch.topic, batch.partition)
        if not bad:
            self._in_a_row[where] = 0
            return
        offsets = {one.record.offset for one in bad}
        run = self._in_a_row[where]
        for record in batch.records:
            run = run + 1 if record.offset in offsets else 0
            if run > self._limit:
                raise DeadLetterLimit(
                    f"{batch.topic}:{batch.partition}: more than {self._limit} bad records in a "
                    f"row up to offset {record.offset}: {bad[-1].error}"
                )
        self._in_a_row[where] = run

    def _letter(self, bad: Bad, max_bytes: int) -> Message:
        record, error = bad.record, bad.error
        headers = [
            ("dlq.topic", record.topic.encode()),
            ("dlq.partition", b"%d" % record.partition),
            ("dlq.offset", b"%d" % record.offset),
            ("dlq.timestamp", b"%d" % record.timestamp),
            ("dlq.error", type(error).__name__.encode()),
            ("dlq.reason", error.reason[:1000].encode(errors="replace")),
            ("dlq.field", error.field[:200].encode(errors="replace")),
            ("dlq.service", self._service.encode()),
            ("dlq.time_us", b"%d" % self._clock.now_us()),
        ]
        key, value = record.key, record.value
        own = sum(len(name) + len(text or b"") for name, text in record.headers)
        room = max_bytes - len(key or b"") - own
        if (value is not None and len(value) > room) or room < 0:
            headers.append(("dlq.truncated", b"%d" % len(value or b"")))
            key = (key or b"")[: max_bytes // 4]
            value = (value or b"")[: max_bytes // 2]
        else:
            headers = [*record.headers, *headers]
        return Message(record.topic + SUFFIX, key, value, headers)
