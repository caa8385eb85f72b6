"""customer-events in: whoever is erased in crm is erased here too.

A tombstone for the customer's key: from then on nothing personal of theirs is read or kept, whether
or not the key itself still exists (crm destroys it). Drafts of theirs end, and with them the visits
that they held; orders that were placed go on, without what was said.

A customer who was merged into another one keeps the orders under his own id, and his own key: crm
erases all records of a person, and says so of each. So merges change nothing here.

A batch that comes again changes nothing, so the offset is committed after it.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection
from functools import partial
from itertools import islice
from typing import Final

import sqlalchemy as sa
from relais.customers.v1.events_pb2 import CustomerEvent

from eventkit.consumer import BatchConsumer
from eventkit.deadletter import DeadLetters
from eventkit.errors import InvalidMessage
from eventkit.eventstore import Answer, Cause, EventStore, Transaction
from eventkit.records import Bad, Batch, Record
from eventkit.tasks import patiently
from eventkit.wire import decoded
from services.orders.order.commands import ForgetCustomer
from services.orders.order.events import Status
from services.orders.order.order import ID, decide
from services.orders.order.store import ORDERS, ORDERS_TABLE

log = logging.getLogger(__name__)

TOPIC: Final = "customer-events"
GROUP: Final = "orders-customers"
ACTOR: Final = "orders-worker"
CHUNK: Final = 2_000
"""Records that are decoded at a stretch; between them the event loop has its turn."""
AT_ONCE: Final = 200
"""Customers of one transaction."""
PATIENCE_S: Final = 60.0

Erased = tuple[str, str]
"""The client, and the customer who was erased."""


class Erasures:
    """The handler of a BatchConsumer over customer-events.

    known: whether a client is registered. patience_s: how long PostgreSQL may be away before the
    process stops, with its offset uncommitted.
    """

    def __init__(
        self,
        events: EventStore,
        known: Callable[[str], Awaitable[bool]],
        patience_s: float = PATIENCE_S,
    ) -> None:
        self._events = events
        self._known = known
        self._patience_s = patience_s

    async def __call__(self, batch: Batch) -> list[Bad]:
        """Raises Unavailable."""
        bad: list[Bad] = []
        erased: defaultdict[str, list[tuple[Record, str]]] = defaultdict(list)
        for number, record in enumerate(batch.records):
            if number % CHUNK == 0:
                await asyncio.sleep(0)
            try:
                one = decode(record)
            except InvalidMessage as error:
                bad.append(Bad(record, error))
                continue
            if one is not None:
                client_id, customer_id = one
                erased[client_id].append((record, customer_id))
        for client_id, said in erased.items():
            if await self._known(client_id):
                await self._forget_all(client_id, {customer_id for _, customer_id in said})
            else:
                stranger = InvalidMessage("client_id", "not registered")
                bad += [Bad(record, stranger) for record, _ in said]
        return sorted(bad, key=lambda each: each.record.offset)

    async def _forget_all(self, client_id: str, customer_ids: Collection[str]) -> None:
        rest = iter(sorted(customer_ids))
        while chunk := list(islice(rest, AT_ONCE)):
            ended = await patiently(
                partial(forget, self._events, client_id, chunk), self._patience_s
            )
            log.info("%d customers are erased, %d drafts of theirs have ended", len(chunk), ended)


def decode(record: Record) -> Erased | None:
    """None: an event that says nothing to orders. Raises InvalidMessage."""
    event = decoded(record, CustomerEvent)
    if event.WhichOneof("body") != "erased":
        return None
    if not ID.fullmatch(event.meta.client_id):
        raise InvalidMessage("meta.client_id", "no id")
    if not ID.fullmatch(event.customer_id):
        raise InvalidMessage("customer_id", "no id")
    return event.meta.client_id, event.customer_id


async def forget(events: EventStore, client_id: str, customer_ids: Collection[str]) -> int:
    """In one transaction; how many drafts have ended. Again changes nothing. Raises Unavailable."""

    async def work(tx: Transaction) -> Answer:
        # First the tombstones: who was writing about them has finished when we have their locks.
        await tx.forget(customer_ids)
        table = ORDERS_TABLE.c
        drafts = await tx.connection.scalars(
            sa.select(table.order_id).where(
                table.client_id == client_id,
                table.customer_id.in_(customer_ids),
                table.status == Status.DRAFT.value,
            )
        )
        loaded = await tx.load_many(ORDERS, sorted(drafts))
        command = ForgetCustomer(tx.now)
        changes = await tx.append(
            ORDERS,
            [
                (order_id, state, version, decide(command, state))
                for order_id, (state, version) in loaded.items()
            ],
        )
        return {"ended": len(changes)}

    answer = await events.run(Cause(client_id, ACTOR), work)
    ended: int = answer["ended"]
    return ended


def make_consumer(
    bootstrap: str,
    events: EventStore,
    known: Callable[[str], Awaitable[bool]],
    dead_letters: DeadLetters,
    *,
    group: str = GROUP,
    max_records: int = 20_000,
    linger_s: float = 0.2,
    group_instance: str | None = None,
) -> BatchConsumer:
    """The consumer that hears of erased customers, for the worker: `await consumer.run()`.

    known: whether a client is registered. group_instance: see KafkaSettings.
    """
    return BatchConsumer(
        bootstrap,
        group,
        [TOPIC],
        Erasures(events, known),
        dead_letters,
        max_records=max_records,
        linger_s=linger_s,
        group_instance=group_instance,
    )
