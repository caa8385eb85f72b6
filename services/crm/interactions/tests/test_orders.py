"""Order events as lines of timelines: whatever order they come in, and however often."""

import random
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from relais.orders.v1.events_pb2 import OrderEvent

from eventkit.decider import Invalid
from eventkit.records import Batch
from services.crm.interactions import store as tables
from services.crm.interactions.codec import decode_order, unknown_order
from services.crm.interactions.orders import GROUPS, STATUSES, VISITS, Orders, Said, facts_of
from services.crm.interactions.stream import ORDERS, Timelines
from services.crm.interactions.tests.conftest import Centre, known
from services.crm.interactions.tests.events import (
    MONDAY,
    meta,
    order,
    order_event,
    record,
    records,
)

KINDS = ["answers_saved", "point_ticked", "placed", *STATUSES, *VISITS]
EVENTS = st.lists(
    st.builds(
        Said,
        st.sampled_from(KINDS),
        st.just("acme"),
        st.sampled_from(["o-1", "o-2"]),
        st.integers(1, 1_000),
        st.integers(1, 1_000),
        product_id=st.just("internet"),
        customer_id=st.just("k-1"),
        visit_at=st.integers(0, 9),
        total=st.sampled_from(["", "1.00", "2.50"]),
    ),
    min_size=1,
    max_size=20,
    unique_by=lambda said: (said.order_id, said.version),
)


@given(EVENTS, st.randoms(use_true_random=False))
def test_neither_order_nor_repeats_matter(events: list[Said], chance: random.Random) -> None:
    in_order, shuffled = Orders(), Orders()
    in_order.add(sorted(events, key=lambda said: said.version))
    again = events + chance.choices(events, k=5)
    chance.shuffle(again)
    shuffled.add(again)
    assert shuffled == in_order


@given(EVENTS)
def test_the_last_event_that_says_something_counts(events: list[Said]) -> None:
    heard = Orders()
    heard.add(events)
    for (_, order_id), one in heard.items():
        own = sorted(
            (said for said in events if said.order_id == order_id), key=lambda said: said.version
        )
        assert (one.version, one.first_at) == (own[-1].version, min(s.occurred_at for s in own))
        for group in GROUPS:
            told = [
                (said.version, values)
                for said in own
                for name, values in facts_of(said)
                if name == group
            ]
            assert one.facts.get(group) == (told[-1] if told else None)


def test_the_contract_knows_every_kind() -> None:
    described: Any = OrderEvent.DESCRIPTOR
    assert {*KINDS} <= {body.name for body in described.oneofs_by_name["body"].fields}


def broken(**changes: Any) -> bytes:
    event = order("acme", "o-1", customer="k-7", until="placed")[-1]
    for path, value in changes.items():
        *parts, name = path.split("__")
        target: Any = event
        for part in parts:
            target = getattr(target, part)
        setattr(target, name, value)
    return event.SerializeToString()


def visit_in(years: int) -> bytes:
    at = MONDAY + years * 366 * 86_400
    event = order("acme", "o-1", customer="k-7", until="visit_scheduled", visit_at=at)[-1]
    return event.SerializeToString()


@pytest.mark.parametrize(
    ("value", "field"),
    [
        (None, ""),
        (b"\xff\x00", ""),
        (b"", "client_id"),
        (broken(meta__client_id="No Client"), "client_id"),
        (broken(order_id="a/b"), "order_id"),
        (broken(order_id=""), "order_id"),
        (broken(meta__version=0), "version"),
        (broken(meta__version=2**63 - 1), "version"),
        (broken(meta__occurred_at__seconds=0), "occurred_at"),
        (broken(meta__occurred_at__seconds=MONDAY + 90_000), "occurred_at"),
        (broken(origin__customer_id="Jean Dupont"), "customer_id"),
        (broken(origin__customer_id=""), "customer_id"),
        (broken(origin__product_id=""), "product_id"),
        (broken(origin__call_id="Jean Dupont"), "call_id"),
        (broken(placed__total__amount="49,00 Dupont"), "total"),
        (broken(placed__monthly__amount="1e5"), "monthly"),
        (broken(placed__total__currency="Dupont"), "currency"),
        (visit_in(-100), "starts_at"),
        (visit_in(11), "starts_at"),
    ],
)
def test_what_is_no_order_event(value: bytes | None, field: str) -> None:
    with pytest.raises(Invalid) as error:
        decode_order(record(value))
    assert error.value.field == field
    assert "Dupont" not in str(error.value)


def future(client: str, order_id: str, version: int) -> bytes:
    stream = f"{client}/order/{order_id}"
    event = OrderEvent(order_id=order_id, meta=meta(client, stream, version, MONDAY))
    return event.SerializeToString() + b"\xfa\x3f\x02\x08\x01"


def test_an_event_of_an_unknown_type_is_kept_as_it_is() -> None:
    value = future("acme", "o-1", 4)
    assert decode_order(record(value)) is None
    assert unknown_order(record(value)) == ("acme", "o-1", 4, value)


async def tell(centre: Centre, *events: Any) -> list[str]:
    """As if the consumer had read them in one batch; the fields that were wrong."""
    batch = Batch("order-events", 0, 0, len(events), records(events))
    bad = await Timelines(ORDERS, centre.store.engine, known)(batch)
    return [each.error.field for each in bad]


async def line(centre: Centre, customer: str) -> dict[str, Any]:
    """The only entry of the timeline."""
    [entry] = await centre.timeline(customer)
    assert entry["kind"] == "order"
    return entry


async def test_an_order_is_one_line_from_its_draft_to_its_end(centre: Centre) -> None:
    customer = await centre.register()
    events = order(centre.client_id, "o-1", customer=customer)
    seen = []
    for event in events:
        await tell(centre, event)
        entry = await line(centre, customer)
        assert (entry["id"], entry["at"]) == ("o-1", "2026-09-21T14:13:20Z")
        seen.append((entry["details"]["status"], entry["details"]["visit"]))
    assert seen == [
        ("draft", None),
        ("draft", None),
        ("draft", "scheduled"),
        ("draft", "scheduled"),
        ("placed", "scheduled"),
        ("confirmed", "scheduled"),
        ("confirmed", "overdue"),
        ("confirmed", "missed"),
        ("confirmed", "scheduled"),
        ("confirmed", "done"),
        ("fulfilled", "done"),
    ]
    assert entry["details"] == {
        "product_id": "internet",
        "status": "fulfilled",
        "call_id": "call-1",
        "visit": "done",
        "visit_at": "2026-09-24T16:13:20Z",
        "total": "49.00",
        "monthly": "29.90",
        "currency": "EUR",
    }


async def test_late_twice_and_in_any_order(centre: Centre) -> None:
    customer = await centre.register()
    events = order(centre.client_id, "o-1", customer=customer)
    await tell(centre, *events)
    whole = await line(centre, customer)
    chance = random.Random(5)
    for number in range(5):
        other = f"o-{number + 2}"
        again = order(centre.client_id, other, customer=(new := await centre.register()))
        again += chance.choices(again, k=5)
        chance.shuffle(again)
        for start in range(0, len(again), 3):
            await tell(centre, *again[start : start + 3])
        assert await line(centre, new) == whole | {"id": other}
    await tell(centre, events[0])  # the oldest, once more
    assert await line(centre, customer) == whole


@pytest.mark.parametrize(
    ("until", "end", "status"),
    [
        ("point_ticked", "draft_expired", "expired"),
        ("point_ticked", "cancelled", "cancelled"),
        ("confirmed", "cancelled", "cancelled"),
        ("visit_overdue", "cancelled", "cancelled"),
    ],
)
async def test_the_visit_of_what_is_called_off_is_not_ahead(
    centre: Centre, until: str, end: str, status: str
) -> None:
    customer = await centre.register()
    events = order(centre.client_id, "o-1", customer=customer, until=until)
    body = {end: {} if end == "draft_expired" else {"reason": "moved"}}
    version = len(events) + 1
    at = MONDAY + 3600
    last = order_event(centre.client_id, "o-1", version, body, customer=customer, at=at)
    await tell(centre, *events, last)
    details = (await line(centre, customer))["details"]
    assert (details["status"], details["visit"], details["visit_at"]) == (status, None, None)


async def test_a_visit_that_was_missed_is_told_though_the_order_is_cancelled(
    centre: Centre,
) -> None:
    customer = await centre.register()
    events = order(centre.client_id, "o-1", customer=customer, until="visit_missed")
    body = {"cancelled": {"reason": "moved"}}
    last = order_event(centre.client_id, "o-1", 9, body, customer=customer, at=MONDAY + 3600)
    await tell(centre, *events, last)
    details = (await line(centre, customer))["details"]
    assert (details["status"], details["visit"]) == ("cancelled", "missed")


async def test_a_released_visit_is_none(centre: Centre) -> None:
    customer = await centre.register()
    events = order(centre.client_id, "o-1", customer=customer, until="visit_scheduled")
    released = {"visit_released": {"visit": {"visit_id": "v-1"}}}
    last = order_event(centre.client_id, "o-1", 4, released, customer=customer, at=MONDAY + 600)
    await tell(centre, *events, last)
    details = (await line(centre, customer))["details"]
    assert (details["visit"], details["visit_at"]) == (None, None)


async def test_merged_customers_have_one_timeline(centre: Centre) -> None:
    eva, other = await centre.register("K-1"), await centre.register("K-2")
    await tell(centre, *order(centre.client_id, "o-1", customer=eva))
    await tell(centre, *order(centre.client_id, "o-2", customer=other, at=MONDAY + 60))
    await centre.customers.merge(centre.cause, other, eva)
    for customer in (eva, other):
        assert [each["id"] for each in await centre.timeline(customer)] == ["o-2", "o-1"]


async def test_good_orders_between_rubbish(centre: Centre) -> None:
    customer = await centre.register()
    good = order(centre.client_id, "o-1", customer=customer, until="placed")
    stranger = order("nobody", "o-9", customer=customer)[0]
    unknown = [future(centre.client_id, "o-1", 90), future("nobody", "o-1", 90)]
    events = [b"\xff", good[0], stranger, b"", *good[1:], *unknown, unknown[0]]
    fields = await tell(centre, *events)
    assert fields == ["", "client_id", "client_id", "client_id"]
    assert (await line(centre, customer))["details"]["status"] == "placed"
    async with centre.store.engine.connect() as connection:
        table = tables.unknown_order_events
        kept = await connection.execute(
            sa.select(table).where(table.c.client_id.in_([centre.client_id, "nobody"]))
        )
        assert [tuple(row) for row in kept] == [(centre.client_id, "o-1", 90, unknown[0])]
