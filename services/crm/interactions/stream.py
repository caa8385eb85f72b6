"""call-events and order-events in: every call and every order appears on its customer's timeline
by itself.

Decode, put together (calls.py, orders.py), one upsert for the batch (store.py). A batch that comes
again changes nothing, so the offset is committed after it and a crash between the two is harmless.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from eventkit import telemetry
from eventkit.consumer import BatchConsumer
from eventkit.deadletter import DeadLetters
from eventkit.errors import InvalidMessage
from eventkit.records import Bad, Batch, Record
from eventkit.tasks import patiently
from services.crm.interactions import codec, orders, store
from services.crm.interactions.calls import Calls, Said

log = logging.getLogger(__name__)

CHUNK: Final = 2_000
"""Records that are decoded at a stretch; between them the event loop has its turn."""
PATIENCE_S: Final = 60.0

UNKNOWN_EVENTS = telemetry.meter.create_counter(
    "relais.crm.unknown_events", "{event}", "Events of a type that this build lacks, by topic"
)


class OfClient(Protocol):
    @property
    def client_id(self) -> str: ...


@dataclass(frozen=True)
class Source:
    """A topic that timelines are made from.

    decode   one event; None: of a type that this build does not know. Raises InvalidMessage
    unknown  (client, id, version, as received) of such a one, and the table that keeps it
    put      what some events say, into the tables
    """

    topic: str
    group: str
    decode: Callable[[Record], OfClient | None]
    unknown: Callable[[Record], tuple[str, str, int, bytes]]
    unknown_events: sa.Table
    put: Callable[[AsyncConnection, Sequence[Any]], Awaitable[None]]


async def _put_calls(connection: AsyncConnection, said: Sequence[Said]) -> None:
    calls = Calls()
    calls.add(said)
    await store.put_calls(connection, calls)


async def _put_orders(connection: AsyncConnection, said: Sequence[orders.Said]) -> None:
    heard = orders.Orders()
    heard.add(said)
    await store.put_orders(connection, heard)


CALLS: Final = Source(
    "call-events",
    "crm-timeline",
    codec.decode_call,
    codec.unknown_call,
    store.unknown_call_events,
    _put_calls,
)
ORDERS: Final = Source(
    "order-events",
    "crm-orders",
    codec.decode_order,
    codec.unknown_order,
    store.unknown_order_events,
    _put_orders,
)


class Timelines:
    """The handler of a BatchConsumer over the source's topic.

    known: whether a client is registered. patience_s: how long PostgreSQL may be away before the
    process stops, with its offset uncommitted.
    """

    def __init__(
        self,
        source: Source,
        engine: AsyncEngine,
        known: Callable[[str], Awaitable[bool]],
        patience_s: float = PATIENCE_S,
    ) -> None:
        self._source = source
        self._engine = engine
        self._known = known
        self._patience_s = patience_s

    async def __call__(self, batch: Batch) -> list[Bad]:
        """Raises Unavailable."""
        source = self._source
        said: list[tuple[Record, OfClient]] = []
        unknown: list[tuple[Record, tuple[str, str, int, bytes]]] = []
        bad: list[Bad] = []
        for number, record in enumerate(batch.records):
            if number % CHUNK == 0:
                await asyncio.sleep(0)
            try:
                one = source.decode(record)
                if one is not None:
                    said.append((record, one))
                else:
                    unknown.append((record, source.unknown(record)))
            except InvalidMessage as error:
                bad.append(Bad(record, error))
        strangers = await self._strangers(
            {one.client_id for _, one in said} | {event[0] for _, event in unknown}
        )
        if strangers:
            stranger = InvalidMessage("client_id", "not registered")
            bad += [Bad(record, stranger) for record, one in said if one.client_id in strangers]
            bad += [Bad(record, stranger) for record, event in unknown if event[0] in strangers]
        kept = [event for _, event in unknown if event[0] not in strangers]
        await self._put([one for _, one in said if one.client_id not in strangers], kept)
        if kept:
            UNKNOWN_EVENTS.add(len(kept), {"topic": source.topic})
            log.warning("%s: %d events of an unknown type are kept", batch.token, len(kept))
        return sorted(bad, key=lambda each: each.record.offset)

    async def _strangers(self, clients: set[str]) -> set[str]:
        # At once: those that are not known yet share one look at the topic.
        answers = await asyncio.gather(*(self._known(client) for client in clients))
        return {client for client, known in zip(clients, answers, strict=True) if not known}

    async def _put(
        self, said: Sequence[OfClient], unknown: Sequence[tuple[str, str, int, bytes]]
    ) -> None:
        async def put() -> None:
            async with self._engine.begin() as connection:
                await self._source.put(connection, said)
                await store.put_unknown(connection, self._source.unknown_events, unknown)

        await patiently(put, self._patience_s)


def make_consumer(
    bootstrap: str,
    engine: AsyncEngine,
    known: Callable[[str], Awaitable[bool]],
    dead_letters: DeadLetters,
    *,
    source: Source = CALLS,
    group: str | None = None,
    max_records: int = 20_000,
    linger_s: float = 0.2,
    group_instance: str | None = None,
) -> BatchConsumer:
    """The consumer that keeps the timelines, for the worker: `await consumer.run()`.

    known: whether a client is registered. group: the source's, if left out. group_instance: see
    KafkaSettings.
    """
    return BatchConsumer(
        bootstrap,
        group or source.group,
        [source.topic],
        Timelines(source, engine, known),
        dead_letters,
        max_records=max_records,
        linger_s=linger_s,
        group_instance=group_instance,
    )
