"""Customers who are erased in crm: what was said is gone, drafts end, what was placed goes on."""

import asyncio
import os
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from aiokafka import ConsumerRecord
from relais.clients.v1.events_pb2 import ClientEvent
from relais.customers.v1.events_pb2 import CustomerErased, CustomerEvent, CustomerMerged
from relais.event.v1.meta_pb2 import EventMeta

from eventkit import tasks
from eventkit.clock import SystemClock
from eventkit.deadletter import DeadLetters
from eventkit.decider import Rejected
from eventkit.errors import Unavailable
from eventkit.eventstore import Answer, Cause, EventStore, Transaction
from eventkit.ids import event_id
from eventkit.keys import KeyRing
from eventkit.postgres import make_engine
from eventkit.producer import Producer
from eventkit.records import Batch, Message
from eventkit.tests.support import until
from eventkit.topictable import read_partition
from relaisctl.stack import Broker, Ports, Stack
from services.orders.clients import clients as registered_clients
from services.orders.order import events as ev
from services.orders.order.state import Order
from services.orders.order.store import ORDERS, Filter, orders
from services.orders.order.stream import Erasures, make_consumer
from services.orders.prices.pricing import Quote

DAY = 86_400_000_000


def draft(customer_id: str, at: int) -> list[ev.Event]:
    origin = ev.Origin("internet", 1, customer_id, call_id="call-1", agent_id="ana")
    said = {"name": '"Eva Marín"', "iban": '"ES91 2100"'}
    address = {"country": "ES", "lines": "Calle Mayor 1", "as_spoken": "opposite the church"}
    return [
        ev.OrderDrafted(at, origin, "", at + DAY),
        ev.OrderAnswersSaved(at, origin, ("name", "iban"), said, (), at + DAY),
        ev.OrderAddressGiven(at, origin, "home", address, "ana", at + DAY),
    ]


def placed(customer_id: str, at: int) -> list[ev.Event]:
    events = draft(customer_id, at)
    quote = Quote("EUR", (), Decimal("49.00"), Decimal("29.90"))
    return [*events, ev.OrderPlaced(at, events[0].origin, quote, (), None, {})]


async def take(store: EventStore, client_id: str, taken: Mapping[str, Sequence[ev.Event]]) -> None:
    async def work(tx: Transaction) -> Answer:
        initial = ORDERS.decider.initial
        await tx.append(ORDERS, [(id, initial, 0, events) for id, events in taken.items()])
        return {}

    await store.run(Cause(client_id, "ana"), work)


def said(
    client_id: str, customer_id: str, body: dict[str, Any] | None = None, version: int = 2
) -> CustomerEvent:
    """Of crm; that the customer is erased, if nothing else."""
    of = f"{client_id}/customer/{customer_id}"
    meta = EventMeta(
        event_id=event_id(of, version), stream_id=of, version=version, client_id=client_id
    )
    return CustomerEvent(
        meta=meta, customer_id=customer_id, **(body or {"erased": CustomerErased()})
    )


def batch_of(values: Sequence[bytes | None]) -> Batch:
    records = [
        ConsumerRecord(
            "customer-events", 0, number, 0, 0, b"k", value, None, 1, len(value or b""), ()
        )
        for number, value in enumerate(values)
    ]
    return Batch("customer-events", 0, 0, len(values), records)


async def known(client_id: str) -> bool:
    return client_id.startswith("client-")


async def hear(store: EventStore, *events: CustomerEvent) -> None:
    values = [event.SerializeToString() for event in events]
    assert await Erasures(store, known)(batch_of(values)) == []


async def state(store: EventStore, client_id: str, order_id: str) -> tuple[Order, int]:
    return await store.load(ORDERS, client_id, order_id)


async def test_what_was_said_is_gone_and_drafts_end(store: EventStore, client_id: str) -> None:
    now = store.clock.now_us()
    await take(
        store,
        client_id,
        {
            "a": draft("c-1", now),
            "b": placed("c-1", now),
            "c": draft("c-2", now),
        },
    )
    for _ in range(2):  # at least once
        await hear(store, said(client_id, "c-1"))
        ended, version = await state(store, client_id, "a")
        assert version == 4
        assert ended.status is ev.Status.CANCELLED
        assert isinstance(ended.ended, ev.OrderCancelled)
        assert (ended.ended.reason, ended.ended.by) == ("erased", ev.Party.CENTRE)
        goes_on, version = await state(store, client_id, "b")
        assert (goes_on.status, version) == (ev.Status.PLACED, 4)
        for order in (ended, goes_on):
            assert order.answers == {}
            assert order.addresses["home"].address.lines == ()
        other, version = await state(store, client_id, "c")
        assert (other.status, version) == (ev.Status.DRAFT, 3)
        assert other.values == {"name": "Eva Marín", "iban": "ES91 2100"}
    async with store.reading() as connection:
        rows = await orders(connection, client_id, Filter(customer_id="c-1"), None, 10)
    assert {row["order_id"]: (row["status"], row["end_reason"]) for row in rows} == {
        "a": ("cancelled", "erased"),
        "b": ("placed", ""),
    }
    # The draft's timer has gone with it.
    async with store.engine.connect() as connection:
        timers = await connection.exec_driver_sql(
            "SELECT id FROM timers WHERE client_id = $1 ORDER BY id", (client_id,)
        )
        assert [id for (id,) in timers] == ["c"]


async def test_nothing_personal_is_kept_afterwards(store: EventStore, client_id: str) -> None:
    await hear(store, said(client_id, "c-1"))
    with pytest.raises(Rejected, match="erased"):
        await take(store, client_id, {"late": draft("c-1", store.clock.now_us())})
    assert await state(store, client_id, "late") == (ORDERS.decider.initial, 0)


async def test_a_draft_that_was_written_meanwhile_ends_too(
    store: EventStore, client_id: str
) -> None:
    """Who has the customer's lock is waited for, and seen."""
    writing, go = asyncio.Event(), asyncio.Event()

    async def work(tx: Transaction) -> Answer:
        now = tx.now
        initial = ORDERS.decider.initial
        await tx.append(ORDERS, [("a", initial, 0, draft("c-1", now))])
        writing.set()
        await go.wait()
        return {}

    taking = asyncio.create_task(store.run(Cause(client_id, "ana"), work))
    await writing.wait()
    erasing = asyncio.create_task(hear(store, said(client_id, "c-1")))
    await asyncio.sleep(0.2)
    assert not erasing.done()
    go.set()
    await asyncio.gather(taking, erasing)
    order, version = await state(store, client_id, "a")
    assert (order.status, version) == (ev.Status.CANCELLED, 4)
    assert order.answers == {}


async def test_a_merge_changes_nothing_and_each_record_is_erased_by_itself(
    store: EventStore, client_id: str
) -> None:
    now = store.clock.now_us()
    await take(store, client_id, {"a": draft("c-1", now), "b": draft("c-2", now)})
    merged = {"merged": CustomerMerged(into_customer_id="c-2")}
    await hear(store, said(client_id, "c-1", merged))
    for order_id in ("a", "b"):
        assert (await state(store, client_id, order_id))[0].status is ev.Status.DRAFT
    await hear(store, said(client_id, "c-2"), said(client_id, "c-1", version=3))
    for order_id in ("a", "b"):
        order, _ = await state(store, client_id, order_id)
        assert order.status is ev.Status.CANCELLED
        assert order.answers == {}


async def test_what_cannot_be_an_erasure_is_set_aside(store: EventStore, client_id: str) -> None:
    await take(store, client_id, {"a": draft("c-1", store.clock.now_us())})
    good = said(client_id, "c-1").SerializeToString()
    values = [
        b"\xff\x00\x12",
        said("nobody", "c-1").SerializeToString(),
        good,
        said(client_id, "").SerializeToString(),
        said("", "c-1").SerializeToString(),
        said(client_id, "c-9", {"registered": {}}).SerializeToString(),
        said("nobody", "c-2", {"registered": {}}).SerializeToString(),
        CustomerEvent().SerializeToString() + b"\xfa\x3f\x02\x08\x01",
    ]
    bad = await Erasures(store, known)(batch_of(values))
    assert [(each.record.offset, each.error.field) for each in bad] == [
        (0, ""),
        (1, "client_id"),
        (3, "customer_id"),
        (4, "meta.client_id"),
    ]
    assert (await state(store, client_id, "a"))[0].status is ev.Status.CANCELLED


async def test_many_at_once(store: EventStore, client_id: str) -> None:
    now, customers = store.clock.now_us(), 1_000
    taken = {f"o-{number}": draft(f"c-{number}", now) for number in range(customers)}
    await take(store, client_id, taken)
    began = time.monotonic()
    await hear(store, *(said(client_id, f"c-{number}") for number in range(customers)))
    print(f"{customers} customers with a draft each in {time.monotonic() - began:.2f} s")
    async with store.reading() as connection:
        wanted = Filter(status=ev.Status.CANCELLED)
        assert len(await orders(connection, client_id, wanted, None, 2 * customers)) == customers


async def test_without_postgresql_it_waits_and_then_stops(
    keys: KeyRing, client_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "AGAIN_S", 0.1)
    engine = make_engine("postgresql://nobody@127.0.0.1:1/orders")
    erasures = Erasures(EventStore(engine, keys, SystemClock()), known, patience_s=0.5)
    began = time.monotonic()
    with pytest.raises(Unavailable):
        await erasures(batch_of([said(client_id, "c-1").SerializeToString()]))
    assert time.monotonic() - began > 0.5
    await engine.dispose()


@pytest.fixture(scope="module")
def kafka() -> Iterator[str]:
    """A broker with all topics, and nobody else's records."""
    with tempfile.TemporaryDirectory(prefix="relais-") as home:
        broker = Broker(os.environ.get("RELAIS_BROKER") or Broker.AUTO)
        stack = Stack(Path(home), Ports.free(), broker=broker)
        try:
            stack.start(["kafka"])
            yield stack.addresses["kafka"]
        finally:
            stack.stop()


@asynccontextmanager
async def consuming(kafka: str, store: EventStore, group: str) -> AsyncIterator[None]:
    async with Producer(kafka) as producer, registered_clients(kafka) as clients:
        consumer = make_consumer(
            kafka, store, clients.known, DeadLetters(producer, "test"), group=group, linger_s=0.05
        )
        running = asyncio.create_task(consumer.run())
        try:
            yield
        finally:
            consumer.stop()
            await running


async def test_from_the_topic_across_restarts(
    kafka: str, store: EventStore, client_id: str
) -> None:
    registered = ClientEvent(meta=said(client_id, "x").meta)
    registered.registered.name = client_id
    group = f"test-{uuid.uuid4().hex}"
    now = store.clock.now_us()
    await take(store, client_id, {f"o-{n}": draft(f"c-{n}", now) for n in range(4)})

    async def publish(topic: str, key: str, value: bytes) -> None:
        async with Producer(kafka) as producer:
            await producer.send_many([Message(topic, key.encode(), value, [], None, None)])

    async def ended(order_id: str) -> bool:
        return (await state(store, client_id, order_id))[0].status is ev.Status.CANCELLED

    await publish("client-events", client_id, registered.SerializeToString())
    await publish("customer-events", "rubbish", b"\xff\x00\x12")
    for number in range(4):
        event = said(client_id, f"c-{number}")
        await publish("customer-events", event.meta.stream_id, event.SerializeToString())
        async with consuming(kafka, store, group):
            await until(lambda number=number: ended(f"o-{number}"), f"o-{number} has ended")  # type: ignore[misc]
    for number in range(4):
        assert (await state(store, client_id, f"o-{number}"))[1] == 4
    letters = [
        letter
        async for chunk in read_partition(kafka, "customer-events-dlq", 0)
        for letter in chunk
    ]
    assert [letter.value for letter in letters] == [b"\xff\x00\x12"]
