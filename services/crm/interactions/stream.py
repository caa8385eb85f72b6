"""call-events in: every call appears on its customer's timeline by itself.

Decode, put together (calls.py), one upsert for the batch (store.py). A batch that comes again
changes nothing, so the offset is committed after it and a crash between the two is harmless.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from sqlalchemy.ext.asyncio import AsyncEngine

from eventkit import telemetry
from eventkit.consumer import BatchConsumer
from eventkit.deadletter import DeadLetters
from eventkit.errors import InvalidMessage, Unavailable
from eventkit.records import Bad, Batch, Record
from services.crm.interactions import codec, store
from services.crm.interactions.calls import Calls, Said

log = logging.getLogger(__name__)

TOPIC: Final = "call-events"
GROUP: Final = "crm-timeline"
CHUNK: Final = 2_000
"""Records that are decoded at a stretch; between them the event loop has its turn."""
PATIENCE_S: Final = 60.0
AGAIN_S: Final = 1.0

UNKNOWN_EVENTS = telemetry.meter.create_counter(
    "relais.crm.unknown_call_events", "{event}", "Call events of a type that this build lacks"
)


class Timelines:
    """The handler of a BatchConsumer over call-events.

    known: whether a client is registered. patience_s: how long PostgreSQL may be away before the
    process stops, with its offset uncommitted.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        known: Callable[[str], Awaitable[bool]],
        patience_s: float = PATIENCE_S,
    ) -> None:
        self._engine = engine
        self._known = known
        self._patience_s = patience_s

    async def __call__(self, batch: Batch) -> list[Bad]:
        """Raises Unavailable."""
        said: list[tuple[Record, Said]] = []
        unknown: list[tuple[Record, tuple[str, str, int, bytes]]] = []
        bad: list[Bad] = []
        for number, record in enumerate(batch.records):
            if number % CHUNK == 0:
                await asyncio.sleep(0)
            try:
                one = codec.decode_call(record)
                if one is not None:
                    said.append((record, one))
                else:
                    unknown.append((record, codec.unknown_call(record)))
            except InvalidMessage as error:
                bad.append(Bad(record, error))
        strangers = await self._strangers(
            {one.client_id for _, one in said} | {event[0] for _, event in unknown}
        )
        if strangers:
            stranger = InvalidMessage("client_id", "not registered")
            bad += [Bad(record, stranger) for record, one in said if one.client_id in strangers]
            bad += [Bad(record, stranger) for record, event in unknown if event[0] in strangers]
        calls = Calls()
        calls.add(one for _, one in said if one.client_id not in strangers)
        kept = [event for _, event in unknown if event[0] not in strangers]
        await self._put(calls, kept)
        if kept:
            UNKNOWN_EVENTS.add(len(kept))
            log.warning("%s: %d events of an unknown type are kept", batch.token, len(kept))
        return sorted(bad, key=lambda each: each.record.offset)

    async def _strangers(self, clients: set[str]) -> set[str]:
        # At once: those that are not known yet share one look at the topic.
        answers = await asyncio.gather(*(self._known(client) for client in clients))
        return {client for client, known in zip(clients, answers, strict=True) if not known}

    async def _put(self, calls: Calls, unknown: list[tuple[str, str, int, bytes]]) -> None:
        deadline = asyncio.get_running_loop().time() + self._patience_s
        while True:
            try:
                async with self._engine.begin() as connection:
                    await store.put_calls(connection, calls)
                    await store.put_unknown(connection, unknown)
                return
            except Unavailable as error:
                if asyncio.get_running_loop().time() > deadline:
                    raise
                log.warning("%s, trying again", error)
                await asyncio.sleep(AGAIN_S)


def make_consumer(
    bootstrap: str,
    engine: AsyncEngine,
    known: Callable[[str], Awaitable[bool]],
    dead_letters: DeadLetters,
    *,
    group: str = GROUP,
    max_records: int = 20_000,
    linger_s: float = 0.2,
    group_instance: str | None = None,
) -> BatchConsumer:
    """The consumer that keeps the timelines, for the worker: `await consumer.run()`.

    known: whether a client is registered. group_instance: see KafkaSettings.
    """
    return BatchConsumer(
        bootstrap,
        group,
        [TOPIC],
        Timelines(engine, known),
        dead_letters,
        max_records=max_records,
        linger_s=linger_s,
        group_instance=group_instance,
    )
