"""Every event of an order as it is stored, and as a message: what is counted, nothing personal."""

from decimal import Decimal
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict
from relais.orders.v1.events_pb2 import OrderEvent

from eventkit.eventstore import Recorded
from services.orders.order import events as ev
from services.orders.order import order as o
from services.orders.order.codec import order_message
from services.orders.order.store import ORDERS, clear
from services.orders.order.tests.support import ORIGIN, T0
from services.orders.prices.pricing import Line, Period, Quote

PRIVATE = "Zébulon Quixwörth"
VISIT = ev.Visit("v-1", "crew-1", "75", "fibre", T0, T0 + 3_600_000_000)
NEXT = ev.Visit("v-2", "crew-2", "75", "fibre", T0 + 1, T0 + 3_600_000_001)
SALE = ev.Sale(T0, "EUR", Decimal("69.90"), Decimal("40.00"))
TOTAL = {"amount": "69.90", "currency": "EUR"}
MONTHLY = {"amount": "40.00", "currency": "EUR"}
AT = "2026-11-23T09:00:00Z"
WIRE_VISIT = {
    "visit_id": "v-1",
    "crew_id": "crew-1",
    "area_id": "75",
    "skill": "fibre",
    "starts_at": AT,
    "ends_at": "2026-11-23T10:00:00Z",
}
WIRE_NEXT = {
    "visit_id": "v-2",
    "crew_id": "crew-2",
    "area_id": "75",
    "skill": "fibre",
    "starts_at": "2026-11-23T09:00:00.000001Z",
    "ends_at": "2026-11-23T10:00:00.000001Z",
}
LINE = Line(
    *("router", "Router", Decimal(2), Decimal("34.95"), Decimal("69.90")),
    *(Period.ONCE, False, ""),
)
QUOTE = Quote("EUR", (LINE,), Decimal("69.90"), Decimal("40.00"))
SOLD = {"placed_at": AT, "total": TOTAL, "monthly": MONTHLY}

EVENTS: list[tuple[ev.Event, str, dict[str, Any]]] = [
    (ev.OrderDrafted(T0, ORIGIN, "SO-1", T0), "drafted", {"expires_at": AT}),
    (
        ev.OrderAnswersSaved(T0, ORIGIN, ("note",), {"note": PRIVATE}, ("home",), T0),
        "answers_saved",
        {"fields": ["note"], "expires_at": AT},
    ),
    (
        ev.OrderAddressGiven(T0, ORIGIN, "home", {"lines": PRIVATE}, "a", T0),
        "address_given",
        {"field": "home", "expires_at": AT},
    ),
    (ev.OrderAddressConfirmed(T0, ORIGIN, "home", "a", T0), "address_confirmed", {"field": "home"}),
    (ev.OrderPromotionApplied(T0, ORIGIN, "p", T0), "promotion_applied", {"promotion_id": "p"}),
    (ev.OrderPromotionRemoved(T0, ORIGIN, "p", T0), "promotion_removed", {"promotion_id": "p"}),
    (
        ev.OrderPointTicked(T0, ORIGIN, "x", "agent-2", "69.90 EUR", None),
        "point_ticked",
        {"point_id": "x", "agent_id": "agent-2"},
    ),
    (ev.OrderPointUnticked(T0, ORIGIN, "x", T0), "point_unticked", {"point_id": "x"}),
    (ev.OrderDraftExpired(T0, ORIGIN), "draft_expired", {}),
    (
        ev.OrderPlaced(T0, ORIGIN, QUOTE, (PRIVATE,), VISIT, {"plan": "fast"}),
        "placed",
        {
            "total": TOTAL,
            "monthly": MONTHLY,
            "lines": [
                {
                    "line_id": "router",
                    "quantity": "2",
                    "unit": {"amount": "34.95", "currency": "EUR"},
                    "amount": TOTAL,
                }
            ],
            "visit": WIRE_VISIT,
            "reported": {"plan": "fast"},
        },
    ),
    # Where nothing is paid.
    (
        ev.OrderPlaced(T0, ORIGIN, Quote("", (), Decimal(0), Decimal(0)), (), None, {}),
        "placed",
        {"total": {}, "monthly": {}},
    ),
    (ev.OrderConfirmed(T0, ORIGIN, "SO-1"), "confirmed", {"reference": "SO-1"}),
    (ev.OrderConfirmed(T0, ORIGIN, ""), "confirmed", {}),
    (
        ev.OrderFulfilled(T0, ORIGIN, T0, SALE),
        "fulfilled",
        {"after_sale_until": AT, "total": TOTAL, "monthly": MONTHLY},
    ),
    (
        ev.OrderCancelled(T0, ORIGIN, "other", ev.Party.CLIENT, PRIVATE, SALE),
        "cancelled",
        {"reason": "other", "by": "PARTY_CLIENT", **SOLD},
    ),
    (
        ev.OrderCancelled(T0, ORIGIN, "other", ev.Party.CENTRE, PRIVATE, None),
        "cancelled",
        {"reason": "other", "by": "PARTY_CENTRE"},
    ),
    (ev.OrderReturned(T0, ORIGIN, "slow", PRIVATE, SALE), "returned", {"reason": "slow", **SOLD}),
    (ev.OrderFailed(T0, ORIGIN, "unpaid", PRIVATE, SALE), "failed", {"reason": "unpaid", **SOLD}),
    (
        ev.OrderVisitScheduled(T0, ORIGIN, VISIT, T0, None),
        "visit_scheduled",
        {"visit": WIRE_VISIT},
    ),
    (
        ev.OrderVisitRescheduled(T0, ORIGIN, NEXT, VISIT, ev.Moved.MISSED, T0, T0),
        "visit_rescheduled",
        {"visit": WIRE_NEXT, "previous": WIRE_VISIT, "reason": "missed"},
    ),
    (ev.OrderVisitReleased(T0, ORIGIN, VISIT, T0), "visit_released", {"visit": WIRE_VISIT}),
    (
        ev.OrderVisitMissed(T0, ORIGIN, VISIT, ev.MissedBy.CIRCUMSTANCES, PRIVATE),
        "visit_missed",
        {"visit": WIRE_VISIT, "by": "MISSED_BY_CIRCUMSTANCES"},
    ),
    (ev.OrderVisitDone(T0, ORIGIN, VISIT, PRIVATE), "visit_done", {"visit": WIRE_VISIT}),
    (ev.OrderVisitOverdue(T0, ORIGIN, VISIT), "visit_overdue", {"visit": WIRE_VISIT}),
]
IDS = [name for _, name, _ in EVENTS]


def test_every_event_is_here() -> None:
    assert {type(event) for event, _, _ in EVENTS} == set(o.DECIDER.events)
    assert set(IDS) == {field.name for field in OrderEvent.DESCRIPTOR.oneofs_by_name["body"].fields}


@pytest.mark.parametrize(("event", "body", "told"), EVENTS, ids=IDS)
def test_message(event: ev.Event, body: str, told: dict[str, Any]) -> None:
    fact = Recorded("acme", "acme/order/o-1", 7, "e-1", event, 1, T0 + 2, "ana", "corr", "caus")
    data = order_message(fact)
    assert PRIVATE.encode() not in data
    wire = OrderEvent.FromString(data)
    assert wire.WhichOneof("body") == body
    shown = MessageToDict(wire, preserving_proto_field_name=True)
    assert shown[body] == told
    assert shown["order_id"] == "o-1"
    assert shown["origin"] == {
        "product_id": "line",
        "form_version": "3",
        "customer_id": "cu-1",
        "call_id": "call-1",
        "agent_id": "agent-1",
        "campaign_id": "camp-1",
        "offer_id": "offer-1",
        "channel": "voice",
    }
    meta = shown["meta"]
    assert (meta["client_id"], meta["version"], meta["actor"]) == ("acme", "7", "ana")
    # The event knows when it happened: a timer may be late.
    assert meta["occurred_at"] == AT


@pytest.mark.parametrize(("event", "body", "told"), EVENTS, ids=IDS)
def test_stored_and_read_again(event: ev.Event, body: str, told: dict[str, Any]) -> None:
    name, stored, personal = ORDERS.codec.encode(event)
    assert ORDERS.codec.decode(name, stored.decode(), personal) == event
    assert PRIVATE.encode() not in stored
    assert PRIVATE not in str(clear(event))
    # Erased, it can still be read, and folded where it does not begin a stream.
    erased = ORDERS.codec.decode(name, stored.decode(), None)
    assert PRIVATE not in repr(erased)
