"""One order: taken while talking, placed, confirmed, fulfilled, and what came after the sale. Pure.

    draft -> placed -> confirmed -> fulfilled -> returned | failed
      |        |           |
      |        +-----------+-> cancelled (a draft too)
      +-> expired

Beside it, where the form needs one for these answers, the visit: none, scheduled, missed, done.

What can be wrong with an order cannot be forgotten, because nothing says "right" and stays:

- A tick keeps what was said (the visit, the amount). It holds while that is what would be said now;
  a visit that was moved, an answer that costs more, a promotion less make it void by themselves.
- A visit is let go by whatever makes it wrong: answers that need none, an address elsewhere.
- The amount is computed from the answers until it is frozen at placement.

A moment is never before the one that the stream knows already.

A draft is over the moment it expires, whether or not the timer has told yet. An overdue visit is
noticed by whoever comes first: the timer, or the next command, which records it ahead of what it
does; either way it happened at its due time, and it happens once.
"""

import json
import re
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace
from datetime import datetime
from functools import singledispatch
from typing import Any, Final
from zoneinfo import ZoneInfo

from eventkit.decider import Decider, Invalid, NotFound, Rejected, fold
from services.orders.addresses.address import Address
from services.orders.forms.form import Confirmation, Field, Form, Point, Says, VisitNeed
from services.orders.order.commands import (
    ApplyPromotion,
    CancelOrder,
    Command,
    ConfirmAddress,
    ConfirmOrder,
    DraftOrder,
    ExpireDraft,
    ForgetCustomer,
    FulfilOrder,
    GiveAddress,
    NoticeOverdue,
    PlaceOrder,
    ReleaseVisit,
    RemovePromotion,
    ReportAfterSale,
    ReportVisit,
    Rules,
    SaveAnswers,
    ScheduleVisit,
    TickPoint,
    UntickPoint,
)
from services.orders.order.events import (
    AfterSale,
    Event,
    Moved,
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
    Party,
    Status,
    Tick,
    Visit,
    VisitStatus,
)
from services.orders.order.state import (
    Order,
    evolve,
)
from services.orders.prices.pricing import Quote, quote

MINUTE: Final = 60 * 1_000_000
DAY: Final = 24 * 60 * MINUTE
MAX_TEXT: Final = 10_000
MAX_PROMOTIONS: Final = 20
ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:+-]{0,127}")
CODE: Final = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")

EXPIRY: Final = "draft_expiry"
OVERDUE: Final = "visit_overdue"
"""The timers."""
ERASED: Final = "erased"
"""Why a draft was cancelled whose customer wanted to be forgotten; no form needs to name it."""


# What an order is at a moment, given what holds.


@dataclass(frozen=True, slots=True)
class Told:
    """A point of the checklist. holds: the tick is of what would be said now. says: that, None
    where it cannot be said (no visit is booked, the amount cannot be computed)."""

    point: Point
    tick: Tick | None
    says: str | None

    @property
    def holds(self) -> bool:
        return self.tick is not None and self.tick.said == self.says


def price(state: Order, rules: Rules, at: int) -> Quote:
    """What it costs: the frozen amount once it is placed, until then as of now.

    Raises Invalid for answers that have no price, Rejected for a promotion that does not hold.
    """
    if (frozen := state.frozen) is not None:
        return frozen
    return _price(state.origin, state.values, state.promotions, rules, at)


def _price(
    origin: Origin,
    answers: Mapping[str, Any],
    promotion_ids: Sequence[str],
    rules: Rules,
    at: int,
) -> Quote:
    for id in promotion_ids:
        if id not in rules.promotions:
            raise Rejected(
                f"promotion {id} is withdrawn", "promotion_ids", more={"promotion_id": id}
            )
    form = rules.form
    return quote(
        form.prices,
        form.asked(answers),
        [rules.promotions[id] for id in promotion_ids],
        product_id=origin.product_id,
        currency=form.currency,
        digits=form.digits,
        at=at,
    )


def checklist(state: Order, rules: Rules, at: int) -> tuple[Told, ...]:
    """The points that hold for the answers, and whether the customer has been told. Once it is no
    draft also what was told on account of answers that are not known any more: erased ones."""
    points = rules.form.points_for(state.values)
    if state.status is not Status.DRAFT:
        points = tuple(
            point
            for point in rules.form.checklist
            if point in points or point.point_id in state.ticks
        )
    return tuple(
        Told(point, state.ticks.get(point.point_id), _says(point, state, rules, at))
        for point in points
    )


def _says(point: Point, state: Order, rules: Rules, at: int) -> str | None:
    match point.says:
        case Says.NOTHING:
            return ""
        case Says.VISIT:
            visit = state.visit
            return None if visit is None else _when(visit, rules.zone)
        case Says.TOTAL:
            try:
                made = price(state, rules, at)
            except (Invalid, Rejected):
                return None
            return f"{made.total:f} {made.currency}, monthly {made.monthly:f} {made.currency}"


def missing(state: Order, rules: Rules, at: int) -> list[tuple[str, str]]:
    """(field, reason) for everything that a draft has to have before it can be placed."""
    answers, form = state.values, rules.form
    found = [(_path(name), reason) for name, reason in rules.faults(answers, False)]
    for asked in form.addresses_for(answers):
        given, where = state.addresses.get(asked.name), f"addresses.{asked.name}"
        if given is None:
            if asked.required:
                found.append((where, f"the address {asked.name} has not been given"))
        elif asked.confirm and given.confirmed_at is None:
            found.append((where, f"the address {asked.name} has not been confirmed"))
    if form.visit_for(answers) is not None:
        if state.visit is None:
            found.append(("visit", "the visit is not booked"))
        elif state.visit.starts_at < at:
            found.append(("visit", "the time of the visit has passed"))
    try:
        price(state, rules, at)
    except (Invalid, Rejected) as error:
        found.append((error.field or "promotion_ids", error.reason))
    for told in checklist(state, rules, at):
        if told.point.required and not told.holds:
            id = told.point.point_id
            again = "has not been told" if told.tick is None else "has to be told again"
            found.append((f"checklist.{id}", f"the point {id} {again}"))
    return found


def steps(state: Order, rules: Rules, at: int) -> tuple[str, ...]:
    """What may be done next, as far as the state decides it."""
    match state.status:
        case Status.DRAFT:
            if at >= state.expires_at:
                return ()
            found = ["save", "address", "promotion", "tick"]
            if visit_need(state, rules) is not None:
                found.append("visit")
            if not missing(state, rules, at):
                found.append("place")
            return (*found, "cancel")
        case Status.PLACED | Status.CONFIRMED:
            found = ["confirm"] if state.status is Status.PLACED else []
            if state.visit is not None and state.visit_status is not VisitStatus.DONE:
                found.append("visit")
                if state.visit_status is VisitStatus.SCHEDULED and at >= state.visit.starts_at:
                    found.append("outcome")
            elif state.status is Status.CONFIRMED:
                found.append("fulfil")
            return (*found, "cancel")
        case Status.FULFILLED if at <= (state.after_sale_until or 0):
            return ("after-sale",)
    return ()


def visit_need(state: Order, rules: Rules) -> VisitNeed | None:
    """The visit that the order needs. What was placed with one needs it for good, whether or not
    its answers can still be read."""
    if state.placed is None:
        return rules.form.visit_for(state.values)
    return rules.form.visit if state.placed.visit is not None else None


def visit_address(state: Order, rules: Rules, at: int) -> Address | None:
    """The address that decides the area of a visit that is to be booked; None where the area is
    given by hand, or is that of the visit which the placed order has. Raises Rejected where none
    can be booked, or that address has not been given."""
    need = _bookable(state, rules, at)
    if not need.address or state.placed is not None:
        return None
    return state.addresses[need.address].address


def needs_area(state: Order, rules: Rules, name: str) -> bool:
    """Whether another address in this field could move the booked visit elsewhere."""
    need = visit_need(state, rules)
    return state.visit is not None and need is not None and need.address == name


def wants_visit(state: Order, rules: Rules, area_id: str, starts_at: int, at: int) -> bool:
    """Whether a visit is to be booked there and then; not where it is booked already. Raises
    Rejected where none can be."""
    _bookable(state, rules, at)
    visit = state.visit
    if (
        visit is not None
        and state.visit_status is VisitStatus.SCHEDULED
        and (visit.area_id, visit.starts_at) == (area_id, starts_at)
    ):
        return False
    if starts_at < at:
        raise Rejected("a visit begins in the future", "starts_at")
    return True


def _bookable(state: Order, rules: Rules, at: int) -> VisitNeed:
    _require(state, Status.DRAFT, Status.PLACED, Status.CONFIRMED)
    if state.status is Status.DRAFT and at >= state.expires_at:
        raise Rejected(_IS[Status.EXPIRED])
    if state.visit_status is VisitStatus.DONE:
        raise Rejected("the visit has taken place", "visit")
    need = visit_need(state, rules)
    if need is None:
        raise Rejected("the order needs no visit", "visit")
    name = need.address
    if name and state.placed is None and name not in state.addresses:
        raise Rejected(f"the address {name} has not been given", f"addresses.{name}")
    return need


# Decisions.


def decide(command: Command, state: Order) -> Sequence[Event]:
    """Raises Invalid, Rejected (why the step is illegal now) and NotFound."""
    if isinstance(command, DraftOrder):
        return _draft(command, state)
    if state.status is Status.NONE:
        raise NotFound("order")
    match command:
        case ExpireDraft(at):
            due = timers(state).get(EXPIRY)
            return [OrderDraftExpired(at, state.origin)] if due == at else []
        case NoticeOverdue(at):
            return _overdue(state, at) if timers(state).get(OVERDUE) == at else []
        case ForgetCustomer(at):
            if state.status is not Status.DRAFT:
                return []
            at = max(at, state.at)
            return [OrderCancelled(at, state.origin, ERASED, Party.CENTRE, "", None)]
    now = max(command.at, state.at)
    if state.status is Status.DRAFT and now >= state.expires_at:
        raise Rejected(_IS[Status.EXPIRED])
    # What was due before this comes first, and this is decided on what is then.
    before = _overdue(state, now)
    state = fold(DECIDER, before, state)
    events = _decide(command, state, now)
    return [*before, *events] if events else []


def _overdue(state: Order, now: int) -> list[Event]:
    due = timers(state).get(OVERDUE)
    if due is None or due > now:
        return []
    assert state.visit is not None
    return [OrderVisitOverdue(due, state.origin, state.visit)]


def _draft(command: DraftOrder, state: Order) -> list[Event]:
    check_origin(command.origin)
    if command.reference:
        check_id("reference", command.reference)
    if state.status is not Status.NONE:
        if command.origin == state.origin:
            return []
        raise Rejected("another order has this id already", "order_id")
    expires_at = _expiry(command.rules, command.at)
    drafted = OrderDrafted(command.at, command.origin, command.reference, expires_at)
    state = fold(DECIDER, [drafted], state)
    return [drafted, *_save(command.answers, command.rules, state, command.at, set())]


def _expiry(rules: Rules, at: int) -> int:
    return at + rules.form.draft_minutes * MINUTE


@singledispatch
def _decide(command: Any, state: Order, now: int) -> list[Event]:
    raise TypeError(type(command).__name__)


@_decide.register
def _(command: SaveAnswers, state: Order, now: int) -> list[Event]:
    _require(state, Status.DRAFT)
    shown = _shown(command.rules.form, state.values)
    return _save(command.answers, command.rules, state, now, shown)


def _save(
    given: Mapping[str, Any], rules: Rules, state: Order, now: int, shown: Set[str]
) -> list[Event]:
    """shown: the fields that were asked until now."""
    form, before = rules.form, state.values
    wanted = {name: _plain(value) for name, value in given.items() if value is not None}
    if any(form.field(name) is None for name in given.keys() - wanted.keys()):
        raise Invalid("answers", "takes back what is no field of the form")
    after = {name: value for name, value in before.items() if name not in given} | wanted
    # What is not asked any more has no answer; what is answered ahead of its question keeps it.
    gone = shown - _shown(form, after) - wanted.keys()
    after = {name: value for name, value in after.items() if name not in gone}
    after = _with_defaults(form, after, shown | given.keys())
    for name, reason in rules.faults(after, True):
        raise Invalid(_path(name), reason)
    texts = {name: _text(value) for name, value in after.items()}
    touched = sorted(
        name
        for name in texts.keys() | state.answers.keys()
        if texts.get(name) != state.answers.get(name)
    )
    if not touched:
        return []
    hidden = tuple(sorted(state.addresses.keys() - _shown(form, after)))
    saved = OrderAnswersSaved(
        now,
        state.origin,
        tuple(touched),
        {name: texts[name] for name in touched if name in texts},
        hidden,
        _expiry(rules, now),
    )
    need = form.visit_for(after)
    if state.visit is not None and (need is None or need.address in hidden):
        return [saved, _released(state, rules, now)]
    return [saved]


def _shown(form: Form, answers: Mapping[str, Any]) -> set[str]:
    return {one.name for one in form.shown(answers)}


def _with_defaults(form: Form, answers: Mapping[str, Any], known: Set[str]) -> dict[str, Any]:
    """The answers, and the defaults of what is asked only now."""
    filled = dict(answers)
    for one in form.fields:
        new = one.default and one.name not in filled and one.name not in known
        # Field by field: a default may be what another one is asked for.
        if new and one.name in _shown(form, filled):
            filled[one.name] = json.loads(one.default)
    return filled


def _plain(value: object) -> object:
    """2.0 is the same number as 2, to JSON Schema too; and one answer is one text."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _text(value: object) -> str:
    """As JSON, always the same text for the same value."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def _path(name: str) -> str:
    """Of a fault in the answers, which may be one of all of them."""
    return name if name == "answers" else f"answers.{name}"


def _released(state: Order, rules: Rules, now: int) -> Event:
    assert state.visit is not None
    return OrderVisitReleased(now, state.origin, state.visit, _expiry(rules, now))


@_decide.register
def _(command: GiveAddress, state: Order, now: int) -> list[Event]:
    _require(state, Status.DRAFT)
    rules = command.rules
    asked = _address_field(command.field, state, rules)
    address = command.address
    where = f"addresses.{asked.name}"
    if asked.countries and address.country not in asked.countries:
        raise Invalid(f"{where}.country", "not a country that the form is for")
    given = state.addresses.get(asked.name)
    if given is not None and given.address == address:
        return []
    told: list[Event] = [
        OrderAddressGiven(
            now, state.origin, asked.name, address.texts(), command.by, _expiry(rules, now)
        )
    ]
    visit = state.visit
    if visit is not None and needs_area(state, rules, asked.name):
        assert command.area_id is not None, "the area of the address has to be looked up"
        if command.area_id != visit.area_id:
            told.append(_released(state, rules, now))
    return told


@_decide.register
def _(command: ConfirmAddress, state: Order, now: int) -> list[Event]:
    _require(state, Status.DRAFT)
    asked = _address_field(command.field, state, command.rules)
    given = state.addresses.get(asked.name)
    if given is None:
        raise Rejected(f"the address {asked.name} has not been given", f"addresses.{asked.name}")
    if given.confirmed_at is not None:
        return []
    expires_at = _expiry(command.rules, now)
    return [OrderAddressConfirmed(now, state.origin, asked.name, command.by, expires_at)]


def _address_field(name: str, state: Order, rules: Rules) -> Field:
    known = rules.form.field(name)
    asked = {one.name: one for one in rules.form.addresses_for(state.values)}
    if known is None or (name not in asked and known.kind != "address"):
        raise NotFound("address")
    if name not in asked:
        raise Rejected(f"the address {name} is not asked for, given these answers")
    return asked[name]


@_decide.register
def _(command: ApplyPromotion, state: Order, now: int) -> list[Event]:
    check_id("promotion_id", command.promotion_id)
    _require(state, Status.DRAFT)
    rules, id = command.rules, command.promotion_id
    if id in state.promotions:
        return []
    if id not in rules.promotions:
        raise NotFound("promotion")
    if len(state.promotions) == MAX_PROMOTIONS:
        raise Rejected(f"the order has {MAX_PROMOTIONS} promotions already", "promotion_id")
    # Of this one alone, whatever the answers are until now.
    _price(state.origin, {}, [id], rules, now)
    return [OrderPromotionApplied(now, state.origin, id, _expiry(rules, now))]


@_decide.register
def _(command: RemovePromotion, state: Order, now: int) -> list[Event]:
    check_id("promotion_id", command.promotion_id)
    _require(state, Status.DRAFT)
    id = command.promotion_id
    if id not in state.promotions:
        return []
    return [OrderPromotionRemoved(now, state.origin, id, _expiry(command.rules, now))]


@_decide.register
def _(command: TickPoint, state: Order, now: int) -> list[Event]:
    # A visit can be moved after placement, and then its time has to be told again.
    _require(state, Status.DRAFT, Status.PLACED, Status.CONFIRMED)
    rules = command.rules
    point = _point(command.point_id, state, rules)
    says = _says(point, state, rules, now)
    if says is None:
        if point.says is Says.VISIT:
            raise Rejected("the visit is not booked", "visit")
        price(state, rules, now)  # raises, and says why
    assert says is not None
    if command.said not in (None, says):
        reason = f"the point {point.point_id} says something else now"
        raise Rejected(reason, "said", more={"says": says})
    tick = state.ticks.get(point.point_id)
    if tick is not None and tick.said == says:
        return []
    if state.status is not Status.DRAFT and point.says is not Says.VISIT:
        raise Rejected(_IS[state.status])
    expires_at = _expiry(rules, now) if state.status is Status.DRAFT else None
    return [OrderPointTicked(now, state.origin, point.point_id, command.by, says, expires_at)]


@_decide.register
def _(command: UntickPoint, state: Order, now: int) -> list[Event]:
    _require(state, Status.DRAFT)
    id = command.point_id
    if all(point.point_id != id for point in command.rules.form.checklist):
        raise NotFound("point")
    if id not in state.ticks:
        return []
    return [OrderPointUnticked(now, state.origin, id, _expiry(command.rules, now))]


def _point(id: str, state: Order, rules: Rules) -> Point:
    for point in rules.form.points_for(state.values):
        if point.point_id == id:
            return point
    if all(point.point_id != id for point in rules.form.checklist):
        raise NotFound("point")
    raise Rejected(f"the point {id} is not among what is told, given these answers")


@_decide.register
def _(command: ScheduleVisit, state: Order, now: int) -> list[Event]:
    visit, rules = command.visit, command.rules
    if not wants_visit(state, rules, visit.area_id, visit.starts_at, now):
        return []
    overdue_at = visit.ends_at + rules.form.visit_grace_minutes * MINUTE
    expires_at = _expiry(rules, now) if state.status is Status.DRAFT else None
    if state.visit is None:
        return [OrderVisitScheduled(now, state.origin, visit, overdue_at, expires_at)]
    reason = command.reason
    if state.visit_status is VisitStatus.MISSED:
        reason = Moved.MISSED
    elif reason is Moved.MISSED:
        raise Rejected("the visit was not missed", "reason")
    return [
        OrderVisitRescheduled(now, state.origin, visit, state.visit, reason, overdue_at, expires_at)
    ]


@_decide.register
def _(command: ReleaseVisit, state: Order, now: int) -> list[Event]:
    if state.status in (Status.PLACED, Status.CONFIRMED):
        raise Rejected("a placed order keeps its visit: move it, or cancel the order", "visit")
    _require(state, Status.DRAFT)
    return [] if state.visit is None else [_released(state, command.rules, now)]


@_decide.register
def _(command: PlaceOrder, state: Order, now: int) -> list[Event]:
    if state.status in (Status.PLACED, Status.CONFIRMED):
        return []
    _require(state, Status.DRAFT)
    rules = command.rules
    faults = missing(state, rules, now)
    if faults:
        name, reason = faults[0]
        listed = [{"field": name, "reason": reason} for name, reason in faults]
        raise Rejected(reason, name, more={"missing": listed})
    made = price(state, rules, now)
    placed = OrderPlaced(
        now,
        state.origin,
        replace(made, lines=tuple(replace(line, why="") for line in made.lines)),
        tuple(line.why for line in made.lines),
        state.visit,
        _reported(rules.form, state.values),
    )
    if rules.form.confirmation is Confirmation.AUTOMATIC:
        return [placed, OrderConfirmed(now, state.origin, state.reference)]
    return [placed]


def _reported(form: Form, answers: Mapping[str, Any]) -> dict[str, str]:
    asked = form.asked(answers)
    return {
        one.name: _clear(asked[one.name])
        for one in form.fields
        if one.reported and one.name in asked
    }


def _clear(value: object) -> str:
    """A text as it is, a number or a yes or no as JSON."""
    return value if isinstance(value, str) else json.dumps(value)


@_decide.register
def _(command: ConfirmOrder, state: Order, now: int) -> list[Event]:
    if command.reference:
        check_id("reference", command.reference)
    if state.status is Status.CONFIRMED and command.reference in ("", state.reference):
        return []
    if state.status is Status.DRAFT:
        raise Rejected("the order has not been placed")
    _require(state, Status.PLACED)
    return [OrderConfirmed(now, state.origin, command.reference or state.reference)]


@_decide.register
def _(command: FulfilOrder, state: Order, now: int) -> list[Event]:
    if state.status is Status.FULFILLED:
        return []
    if state.status is Status.DRAFT:
        raise Rejected("the order has not been placed")
    if state.status is Status.PLACED:
        raise Rejected("the order has not been confirmed")
    _require(state, Status.CONFIRMED)
    assert state.sale is not None
    if state.visit is not None and state.visit_status is not VisitStatus.DONE:
        raise Rejected("the visit has not taken place", "visit")
    until = now + command.rules.form.after_sale_days * DAY
    return [OrderFulfilled(now, state.origin, until, state.sale)]


@_decide.register
def _(command: CancelOrder, state: Order, now: int) -> list[Event]:
    check_text("text", command.text)
    _check_reason(command.reason, command.rules.form.cancel_reasons)
    ended = state.ended
    if isinstance(ended, OrderCancelled) and (ended.reason, ended.by) == (
        command.reason,
        command.by,
    ):
        return []
    _require(state, Status.DRAFT, Status.PLACED, Status.CONFIRMED)
    return [OrderCancelled(now, state.origin, command.reason, command.by, command.text, state.sale)]


@_decide.register
def _(command: ReportVisit, state: Order, now: int) -> list[Event]:
    check_id("visit_id", command.visit_id)
    check_text("text", command.text)
    before = state.missed.get(command.visit_id)
    visit = state.visit
    if before is not None:
        if before is command.missed:
            return []
        raise Rejected("the visit was missed", "visit_id")
    if visit is None or visit.visit_id != command.visit_id:
        more = {} if visit is None else {"visit_id": visit.visit_id}
        raise Rejected("the order has no such visit now: it was moved", "visit_id", more=more)
    if state.visit_status is VisitStatus.DONE:
        if command.missed is None:
            return []
        raise Rejected("the visit has taken place", "visit_id")
    if state.status is Status.DRAFT:
        raise Rejected("the order has not been placed")
    _require(state, Status.PLACED, Status.CONFIRMED)
    if now < visit.starts_at:
        raise Rejected("the visit has not begun", "visit_id")
    if command.missed is None:
        return [OrderVisitDone(now, state.origin, visit, command.text)]
    return [OrderVisitMissed(now, state.origin, visit, command.missed, command.text)]


@_decide.register
def _(command: ReportAfterSale, state: Order, now: int) -> list[Event]:
    check_text("text", command.text)
    _check_reason(command.reason, command.rules.form.after_sale_reasons)
    event = OrderReturned if command.outcome is AfterSale.RETURNED else OrderFailed
    ended = state.ended
    if isinstance(ended, event) and ended.reason == command.reason:
        return []
    if state.status in (Status.DRAFT, Status.PLACED, Status.CONFIRMED):
        raise Rejected("the order has not been fulfilled")
    _require(state, Status.FULFILLED)
    assert state.sale is not None
    until = state.after_sale_until
    assert until is not None
    if now > until:
        ended_at = _local(until, command.rules.zone)
        raise Rejected(f"the client's period for returns ended on {ended_at:%Y-%m-%d at %H:%M %Z}")
    return [event(now, state.origin, command.reason, command.text, state.sale)]


_IS = {
    Status.DRAFT: "the order is a draft",
    Status.EXPIRED: "the draft has expired",
} | {
    status: f"the order is {status.value}"
    for status in Status
    if status not in (Status.NONE, Status.DRAFT, Status.EXPIRED)
}


def _require(state: Order, *statuses: Status) -> None:
    if state.status not in statuses:
        raise Rejected(_IS[state.status])


def _when(visit: Visit, zone: ZoneInfo) -> str:
    starts, ends = _local(visit.starts_at, zone), _local(visit.ends_at, zone)
    return f"{starts:%Y-%m-%d %H:%M} to {ends:%H:%M} {starts:%Z}"


def _local(us: int, zone: ZoneInfo) -> datetime:
    return datetime.fromtimestamp(us // 1_000_000, zone)


DECIDER: Final[Decider[Command, Order, Event]] = Decider(
    initial=Order(),
    decide=decide,
    evolve=evolve,
    events=(
        OrderDrafted,
        OrderAnswersSaved,
        OrderAddressGiven,
        OrderAddressConfirmed,
        OrderPromotionApplied,
        OrderPromotionRemoved,
        OrderPointTicked,
        OrderPointUnticked,
        OrderDraftExpired,
        OrderPlaced,
        OrderConfirmed,
        OrderFulfilled,
        OrderCancelled,
        OrderReturned,
        OrderFailed,
        OrderVisitScheduled,
        OrderVisitRescheduled,
        OrderVisitReleased,
        OrderVisitMissed,
        OrderVisitDone,
        OrderVisitOverdue,
    ),
)


def timers(state: Order) -> dict[str, int]:
    """When the draft expires; when a visit without an outcome is overdue."""
    if state.status is Status.DRAFT:
        return {EXPIRY: state.expires_at}
    if state.status in (Status.PLACED, Status.CONFIRMED) and state.overdue_at is not None:
        return {OVERDUE: state.overdue_at}
    return {}


def due(_: str, timer: str, at: int) -> Command:
    """What a timer does."""
    return ExpireDraft(at) if timer == EXPIRY else NoticeOverdue(at)


# What values make sense. A reason never repeats the value, which may be personal.


def check_id(name: str, value: str) -> None:
    if not ID.fullmatch(value):
        raise Invalid(name, "letters, digits and . _ : + -, the first a letter or digit, 1 to 128")


def check_text(name: str, value: str) -> None:
    if len(value) > MAX_TEXT:
        raise Invalid(name, f"more than {MAX_TEXT} characters")
    if not _storable(value):
        raise Invalid(name, "has a NUL or half of a surrogate pair")


def check_origin(origin: Origin) -> None:
    for name in ("product_id", "customer_id"):
        check_id(name, getattr(origin, name))
    for name in ("call_id", "agent_id", "campaign_id", "offer_id"):
        if value := getattr(origin, name):
            check_id(name, value)
    if not CODE.fullmatch(origin.channel):
        raise Invalid("channel", "small letters, digits and . _ -, 1 to 64")


def _check_reason(reason: str, known: Sequence[str]) -> None:
    if reason not in known:
        raise Invalid("reason", "not among the form's reasons for this")


def _storable(text: str) -> bool:
    """Neither NUL nor half of a surrogate pair has a place in PostgreSQL."""
    return "\0" not in text and not any("\ud800" <= character <= "\udfff" for character in text)
