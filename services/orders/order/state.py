"""An order as its events have made it. Pure."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import singledispatch
from typing import Any

from services.orders.addresses.address import Address
from services.orders.order.events import (
    Event,
    Given,
    MissedBy,
    OrderAddressConfirmed,
    OrderAddressGiven,
    OrderAnswersSaved,
    OrderCancelled,
    OrderConfirmed,
    OrderDrafted,
    OrderDraftExpired,
    OrderFailed,
    OrderFulfilled,
    OrderPlaced,
    OrderPointTicked,
    OrderPointUnticked,
    OrderPromotionApplied,
    OrderPromotionRemoved,
    OrderReturned,
    OrderVisitDone,
    OrderVisitMissed,
    OrderVisitOverdue,
    OrderVisitReleased,
    OrderVisitRescheduled,
    OrderVisitScheduled,
    Origin,
    Sale,
    Status,
    Tick,
    Visit,
    VisitStatus,
)
from services.orders.prices.pricing import Quote

NOWHERE = Origin("", 0, "")


@dataclass(frozen=True, slots=True)
class Order:
    """The state. at: of the last event.

    answers     JSON texts by field. Empty once the customer is erased, as are the addresses' texts
    visit       the last one; visit_status is NONE where it was let go, and then it is None
    overdue_at  when the visit will be, None where it was noticed or there is nothing to notice
    missed      visits that came to nothing
    placed      what is frozen: the amount with its lines, and the moment
    ended       cancelled, or undone after the sale. ended_at: when, also of a draft that expired
    """

    origin: Origin = NOWHERE
    at: int = 0
    status: Status = Status.NONE
    drafted_at: int = 0
    expires_at: int = 0
    answers: Mapping[str, str] = field(default_factory=dict)
    addresses: Mapping[str, Given] = field(default_factory=dict)
    promotions: tuple[str, ...] = ()
    ticks: Mapping[str, Tick] = field(default_factory=dict)
    visit: Visit | None = None
    visit_status: VisitStatus = VisitStatus.NONE
    overdue_at: int | None = None
    overdue: bool = False
    missed: Mapping[str, MissedBy] = field(default_factory=dict)
    placed: OrderPlaced | None = None
    reference: str = ""
    confirmed_at: int | None = None
    fulfilled_at: int | None = None
    after_sale_until: int | None = None
    ended: OrderCancelled | OrderReturned | OrderFailed | None = None
    ended_at: int | None = None

    @property
    def values(self) -> dict[str, Any]:
        """The answers as JSON has them."""
        return {name: json.loads(text) for name, text in self.answers.items()}

    @property
    def frozen(self) -> Quote | None:
        """The amount at placement; the lines' `why` is empty once the customer is erased."""
        if self.placed is None:
            return None
        made = self.placed.quote
        whys = self.placed.why or ("",) * len(made.lines)
        lines = zip(made.lines, whys, strict=True)
        return replace(made, lines=tuple(replace(line, why=why) for line, why in lines))

    @property
    def sale(self) -> Sale | None:
        if self.placed is None:
            return None
        made = self.placed.quote
        return Sale(self.placed.at, made.currency, made.total, made.monthly)


# What there is after an event.


def evolve(state: Order, event: Event) -> Order:
    # An overdue visit is noticed at its due time, which may be before what was noted since.
    return replace(_evolve(event, state), at=max(state.at, event.at))


@singledispatch
def _evolve(event: Any, state: Order) -> Order:
    raise TypeError(type(event).__name__)


@_evolve.register
def _(event: OrderDrafted, state: Order) -> Order:
    return Order(
        origin=event.origin,
        status=Status.DRAFT,
        drafted_at=event.at,
        expires_at=event.expires_at,
        reference=event.reference,
    )


@_evolve.register
def _(event: OrderAnswersSaved, state: Order) -> Order:
    kept = {name: text for name, text in state.answers.items() if name not in event.fields}
    addresses = {name: one for name, one in state.addresses.items() if name not in event.hidden}
    answers = kept | dict(event.answers)
    return replace(state, answers=answers, addresses=addresses, expires_at=event.expires_at)


@_evolve.register
def _(event: OrderAddressGiven, state: Order) -> Order:
    # Another address is not the one that was confirmed.
    given = Given(Address.of_texts(event.address), event.by, event.at)
    addresses = {**state.addresses, event.field: given}
    return replace(state, addresses=addresses, expires_at=event.expires_at)


@_evolve.register
def _(event: OrderAddressConfirmed, state: Order) -> Order:
    given = replace(state.addresses[event.field], confirmed_by=event.by, confirmed_at=event.at)
    addresses = {**state.addresses, event.field: given}
    return replace(state, addresses=addresses, expires_at=event.expires_at)


@_evolve.register
def _(event: OrderPromotionApplied, state: Order) -> Order:
    promotions = (*state.promotions, event.promotion_id)
    return replace(state, promotions=promotions, expires_at=event.expires_at)


@_evolve.register
def _(event: OrderPromotionRemoved, state: Order) -> Order:
    promotions = tuple(id for id in state.promotions if id != event.promotion_id)
    return replace(state, promotions=promotions, expires_at=event.expires_at)


@_evolve.register
def _(event: OrderPointTicked, state: Order) -> Order:
    ticks = {**state.ticks, event.point_id: Tick(event.agent_id, event.at, event.said)}
    return _touched(replace(state, ticks=ticks), event.expires_at)


@_evolve.register
def _(event: OrderPointUnticked, state: Order) -> Order:
    ticks = {id: tick for id, tick in state.ticks.items() if id != event.point_id}
    return _touched(replace(state, ticks=ticks), event.expires_at)


def _touched(state: Order, expires_at: int | None) -> Order:
    return state if expires_at is None else replace(state, expires_at=expires_at)


@_evolve.register
def _(event: OrderDraftExpired, state: Order) -> Order:
    return replace(_without_visit(state), status=Status.EXPIRED, ended_at=event.at)


@_evolve.register
def _(event: OrderPlaced, state: Order) -> Order:
    return replace(state, status=Status.PLACED, placed=event)


@_evolve.register
def _(event: OrderConfirmed, state: Order) -> Order:
    return replace(state, status=Status.CONFIRMED, confirmed_at=event.at, reference=event.reference)


@_evolve.register
def _(event: OrderFulfilled, state: Order) -> Order:
    return replace(
        state,
        status=Status.FULFILLED,
        fulfilled_at=event.at,
        after_sale_until=event.after_sale_until,
    )


@_evolve.register
def _(event: OrderCancelled, state: Order) -> Order:
    if state.visit_status is VisitStatus.SCHEDULED:
        state = _without_visit(state)
    return replace(state, status=Status.CANCELLED, ended=event, ended_at=event.at)


@_evolve.register
def _(event: OrderReturned, state: Order) -> Order:
    return replace(state, status=Status.RETURNED, ended=event, ended_at=event.at)


@_evolve.register
def _(event: OrderFailed, state: Order) -> Order:
    return replace(state, status=Status.FAILED, ended=event, ended_at=event.at)


@_evolve.register(OrderVisitScheduled)
@_evolve.register(OrderVisitRescheduled)
def _(event: OrderVisitScheduled | OrderVisitRescheduled, state: Order) -> Order:
    state = replace(
        state,
        visit=event.visit,
        visit_status=VisitStatus.SCHEDULED,
        overdue_at=event.overdue_at,
        overdue=False,
    )
    return _touched(state, event.expires_at)


@_evolve.register
def _(event: OrderVisitReleased, state: Order) -> Order:
    return _touched(_without_visit(state), event.expires_at)


def _without_visit(state: Order) -> Order:
    return replace(state, visit=None, visit_status=VisitStatus.NONE, overdue_at=None, overdue=False)


@_evolve.register
def _(event: OrderVisitMissed, state: Order) -> Order:
    return replace(
        state,
        visit_status=VisitStatus.MISSED,
        overdue_at=None,
        missed={**state.missed, event.visit.visit_id: event.by},
    )


@_evolve.register
def _(event: OrderVisitDone, state: Order) -> Order:
    return replace(state, visit_status=VisitStatus.DONE, overdue_at=None)


@_evolve.register
def _(event: OrderVisitOverdue, state: Order) -> Order:
    return replace(state, overdue_at=None, overdue=True)
