"""Events of orders as messages of order-events: ids, codes, amounts and times; nothing personal.

The origin of the order is on every one of them, what was sold on those that end it.
"""

from decimal import Decimal

from relais.orders.v1 import events_pb2 as pb

from eventkit.eventstore import Recorded
from eventkit.wire import timestamp
from services.orders.codec import meta_of
from services.orders.order import events as ev
from services.orders.prices.pricing import Line, Period

_PARTIES = {
    ev.Party.CUSTOMER: pb.PARTY_CUSTOMER,
    ev.Party.CLIENT: pb.PARTY_CLIENT,
    ev.Party.CENTRE: pb.PARTY_CENTRE,
}
_MISSED_BY = {
    ev.MissedBy.CREW: pb.MISSED_BY_CREW,
    ev.MissedBy.CUSTOMER: pb.MISSED_BY_CUSTOMER,
    ev.MissedBy.CIRCUMSTANCES: pb.MISSED_BY_CIRCUMSTANCES,
}


def order_message(recorded: Recorded[ev.Event]) -> bytes:
    """One event of an order."""
    event = recorded.event
    wire = pb.OrderEvent(
        meta=meta_of(recorded, event.at),
        order_id=recorded.stream_id.rpartition("/")[2],
        origin=origin_message(event.origin),
    )
    match event:
        case ev.OrderDrafted():
            wire.drafted.expires_at.CopyFrom(timestamp(event.expires_at))
        case ev.OrderAnswersSaved():
            wire.answers_saved.fields.extend(event.fields)
            wire.answers_saved.expires_at.CopyFrom(timestamp(event.expires_at))
        case ev.OrderAddressGiven():
            wire.address_given.field = event.field
            wire.address_given.expires_at.CopyFrom(timestamp(event.expires_at))
        case ev.OrderAddressConfirmed():
            wire.address_confirmed.field = event.field
        case ev.OrderPromotionApplied():
            wire.promotion_applied.promotion_id = event.promotion_id
        case ev.OrderPromotionRemoved():
            wire.promotion_removed.promotion_id = event.promotion_id
        case ev.OrderPointTicked():
            wire.point_ticked.point_id = event.point_id
            wire.point_ticked.agent_id = event.agent_id
        case ev.OrderPointUnticked():
            wire.point_unticked.point_id = event.point_id
        case ev.OrderDraftExpired():
            wire.draft_expired.SetInParent()
        case ev.OrderPlaced():
            wire.placed.CopyFrom(_placed(event))
        case ev.OrderConfirmed():
            wire.confirmed.SetInParent()
            wire.confirmed.reference = event.reference
        case ev.OrderFulfilled(sale=sale):
            wire.fulfilled.CopyFrom(
                pb.OrderFulfilled(
                    after_sale_until=timestamp(event.after_sale_until),
                    total=money_message(sale.total, sale.currency),
                    monthly=money_message(sale.monthly, sale.currency),
                )
            )
        case ev.OrderCancelled(sale=sale):
            wire.cancelled.reason = event.reason
            wire.cancelled.by = _PARTIES[event.by]
            if sale is not None:
                _sold(wire.cancelled, sale)
        case ev.OrderReturned():
            wire.returned.reason = event.reason
            _sold(wire.returned, event.sale)
        case ev.OrderFailed():
            wire.failed.reason = event.reason
            _sold(wire.failed, event.sale)
        case ev.OrderVisitScheduled():
            wire.visit_scheduled.visit.CopyFrom(visit_message(event.visit))
        case ev.OrderVisitRescheduled():
            wire.visit_rescheduled.CopyFrom(
                pb.OrderVisitRescheduled(
                    visit=visit_message(event.visit),
                    previous=visit_message(event.previous),
                    reason=event.reason.value,
                )
            )
        case ev.OrderVisitReleased():
            wire.visit_released.visit.CopyFrom(visit_message(event.visit))
        case ev.OrderVisitMissed():
            wire.visit_missed.visit.CopyFrom(visit_message(event.visit))
            wire.visit_missed.by = _MISSED_BY[event.by]
        case ev.OrderVisitDone():
            wire.visit_done.visit.CopyFrom(visit_message(event.visit))
        case ev.OrderVisitOverdue():
            wire.visit_overdue.visit.CopyFrom(visit_message(event.visit))
    return wire.SerializeToString(deterministic=True)


def _placed(event: ev.OrderPlaced) -> pb.OrderPlaced:
    quote = event.quote
    return pb.OrderPlaced(
        total=money_message(quote.total, quote.currency),
        monthly=money_message(quote.monthly, quote.currency),
        lines=[line_message(line, quote.currency) for line in quote.lines],
        visit=None if event.visit is None else visit_message(event.visit),
        reported=event.reported,
    )


def _sold(wire: pb.OrderCancelled | pb.OrderReturned | pb.OrderFailed, sale: ev.Sale) -> None:
    wire.placed_at.CopyFrom(timestamp(sale.placed_at))
    wire.total.CopyFrom(money_message(sale.total, sale.currency))
    wire.monthly.CopyFrom(money_message(sale.monthly, sale.currency))


def origin_message(origin: ev.Origin) -> pb.Origin:
    return pb.Origin(
        product_id=origin.product_id,
        form_version=origin.form_version,
        customer_id=origin.customer_id,
        call_id=origin.call_id,
        agent_id=origin.agent_id,
        campaign_id=origin.campaign_id,
        offer_id=origin.offer_id,
        channel=origin.channel,
    )


def visit_message(visit: ev.Visit) -> pb.Visit:
    return pb.Visit(
        visit_id=visit.visit_id,
        crew_id=visit.crew_id,
        area_id=visit.area_id,
        skill=visit.skill,
        starts_at=timestamp(visit.starts_at),
        ends_at=timestamp(visit.ends_at),
    )


def line_message(line: Line, currency: str) -> pb.PriceLine:
    return pb.PriceLine(
        line_id=line.line_id,
        quantity=f"{line.quantity:f}",
        unit=money_message(line.unit, currency),
        amount=money_message(line.amount, currency),
        monthly=line.period is Period.MONTHLY,
        discount=line.discount,
    )


def money_message(amount: Decimal, currency: str) -> pb.Money:
    """Empty where nothing is paid."""
    return pb.Money(amount=f"{amount:f}", currency=currency) if currency else pb.Money()
