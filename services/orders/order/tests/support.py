"""A form with everything that a form can have, and orders on it without a database."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from eventkit.decider import fold
from services.orders.addresses.address import Address
from services.orders.forms import schema
from services.orders.forms.codec import form_of
from services.orders.forms.form import Confirmation, Form
from services.orders.order import commands as cmd
from services.orders.order import events as ev
from services.orders.order import order as o
from services.orders.order.state import Order
from services.orders.prices.pricing import Promotion

MINUTE, HOUR, DAY = o.MINUTE, 60 * o.MINUTE, o.DAY
T0 = round(datetime(2026, 11, 23, 9, tzinfo=UTC).timestamp() * 1_000_000)

DOCUMENT: dict[str, Any] = {
    "title": "A line with a router",
    "schema": {
        "type": "object",
        "properties": {
            "plan": {"enum": ["slow", "fast"], "type": "string"},
            "routers": {"type": "integer", "minimum": 0, "maximum": 9},
            "install": {"enum": ["crew", "self"], "type": "string"},
            "floor": {"type": "integer"},
            "invoice": {"enum": ["paper", "none"], "type": "string"},
            "note": {"type": "string", "maxLength": 200},
        },
        "required": ["plan", "install", "floor"],
    },
    "fields": [
        {"name": "home", "label": "Where?", "kind": "address", "required": True, "confirm": True},
        {"name": "plan", "label": "Which?", "reported": True},
        {"name": "routers", "label": "How many?", "default": 1, "reported": True},
        {"name": "install", "label": "By whom?", "reported": True},
        {
            "name": "floor",
            "label": "Which floor?",
            "default": 0,
            "shown_when": {"field": "install", "is_in": ["crew"]},
        },
        {"name": "invoice", "label": "An invoice?", "default": "none"},
        {
            "name": "post",
            "label": "Where to?",
            "kind": "address",
            "required": True,
            "countries": ["FR"],
            "shown_when": {"field": "invoice", "is_in": ["paper"]},
        },
        {"name": "note", "label": "Anything else?"},
    ],
    "currency": "EUR",
    "prices": [
        {
            "rule_id": "setup",
            "label": "Setup",
            "amount": "50.00",
            "when": {"field": "install", "is_in": ["crew"]},
        },
        {"rule_id": "router", "label": "Router", "amount": "19.90", "quantity": "routers"},
        {
            "rule_id": "plan",
            "label": "Plan",
            "period": "monthly",
            "field": "plan",
            "amounts": {"slow": "20.00", "fast": "40.00"},
        },
    ],
    "visit": {
        "skill": "fibre",
        "minutes": 60,
        "address": "home",
        "when": {"field": "install", "is_in": ["crew"]},
    },
    "checklist": [
        {"point_id": "passport", "text": "Have your passport at hand."},
        {"point_id": "when", "text": "The crew comes then.", "says": "visit"},
        {"point_id": "amount", "text": "It costs that.", "says": "total"},
        {"point_id": "hint", "text": "There is a manual.", "required": False},
        {
            "point_id": "socket",
            "text": "You need a socket.",
            "when": {"field": "install", "is_in": ["self"]},
        },
    ],
    "draft_minutes": 60,
    "after_sale_days": 14,
    "visit_grace_minutes": 30,
    "cancel_reasons": ["changed-mind", "too-late"],
    "after_sale_reasons": ["withdrawn", "not-paid"],
}
FORM = form_of(DOCUMENT)
AUTOMATIC = replace(FORM, confirmation=Confirmation.AUTOMATIC)
PROMOTION = Promotion(
    "ten", "Ten off", ("line",), T0 - DAY, T0 + 2 * DAY, amount=Decimal("10.00"), currency="EUR"
)
OTHER = Promotion("other", "Of another product", ("taxi",), 0, 2 * T0, percent=Decimal(5))
ORIGIN = ev.Origin("line", 3, "cu-1", "call-1", "agent-1", "camp-1", "offer-1")

PARIS = Address("FR", ("1 rue A",), "75002", "Paris", as_spoken="un, rue A")
MARAIS = replace(PARIS, lines=("2 rue B",))
LYON = replace(PARIS, postal_code="69001", locality="Lyon")


def rules(form: Form = FORM, *promotions: Promotion) -> cmd.Rules:
    """promotions: those that are published; left out, both."""

    def faults(answers: Mapping[str, Any], partial: bool) -> list[tuple[str, str]]:
        return schema.faults(form, answers, partial=partial)

    known = promotions or (PROMOTION, OTHER)
    return cmd.Rules(
        form, {one.promotion_id: one for one in known}, faults, ZoneInfo("Europe/Paris")
    )


RULES = rules()


def area_of(address: Address) -> str:
    return address.postal_code[:2]


def visit(
    starts_at: int = T0 + 4 * HOUR, visit_id: str = "v-1", area_id: str = "75", crew: str = "c-1"
) -> ev.Visit:
    return ev.Visit(visit_id, crew, area_id, "fibre", starts_at, starts_at + HOUR)


# Commands.


def draft(at: int = T0, form: Form = FORM, **answers: Any) -> cmd.Command:
    return cmd.DraftOrder(at, rules(form), ORIGIN, answers)


def save(at: int = T0, **answers: Any) -> cmd.Command:
    return cmd.SaveAnswers(at, RULES, answers)


def give(at: int = T0, name: str = "home", address: Address = PARIS) -> cmd.Command:
    return cmd.GiveAddress(at, RULES, name, address, "agent-1", area_of(address))


def yes(at: int = T0, name: str = "home") -> cmd.Command:
    return cmd.ConfirmAddress(at, RULES, name, "agent-1")


def book(at: int = T0, booked: ev.Visit | None = None, reason: str = "customer") -> cmd.Command:
    return cmd.ScheduleVisit(at, RULES, booked or visit(), ev.Moved(reason))


def release(at: int = T0) -> cmd.Command:
    return cmd.ReleaseVisit(at, RULES)


def apply(at: int = T0, promotion_id: str = "ten", by: cmd.Rules = RULES) -> cmd.Command:
    return cmd.ApplyPromotion(at, by, promotion_id)


def remove(at: int = T0, promotion_id: str = "ten") -> cmd.Command:
    return cmd.RemovePromotion(at, RULES, promotion_id)


def tick(at: int = T0, point_id: str = "passport") -> cmd.Command:
    return cmd.TickPoint(at, RULES, point_id, "agent-1")


def untick(at: int = T0, point_id: str = "passport") -> cmd.Command:
    return cmd.UntickPoint(at, RULES, point_id)


def place(at: int = T0, by: cmd.Rules = RULES) -> cmd.Command:
    return cmd.PlaceOrder(at, by)


def confirm(at: int = T0, reference: str = "") -> cmd.Command:
    return cmd.ConfirmOrder(at, reference)


def fulfil(at: int = T0) -> cmd.Command:
    return cmd.FulfilOrder(at, RULES)


def cancel(at: int = T0, reason: str = "changed-mind", by: str = "customer") -> cmd.Command:
    return cmd.CancelOrder(at, RULES, reason, ev.Party(by), "No.")


def done(at: int = T0 + 5 * HOUR, visit_id: str = "v-1") -> cmd.Command:
    return cmd.ReportVisit(at, visit_id, None, "Works.")


def missed(at: int = T0 + 5 * HOUR, visit_id: str = "v-1", by: str = "crew") -> cmd.Command:
    return cmd.ReportVisit(at, visit_id, ev.MissedBy(by), "Nobody.")


def after_sale(
    at: int = T0 + 6 * HOUR, outcome: str = "returned", reason: str = "withdrawn"
) -> cmd.Command:
    return cmd.ReportAfterSale(at, RULES, ev.AfterSale(outcome), reason, "Too slow.")


def state_after(*commands: cmd.Command) -> Order:
    state = o.DECIDER.initial
    for command in commands:
        state = fold(o.DECIDER, o.decide(command, state), state)
    return state


# What becomes of an order on this form.

READY = (
    draft(plan="fast", install="crew", routers=2),
    give(),
    yes(),
    book(),
    tick(point_id="passport"),
    tick(point_id="when"),
    tick(point_id="amount"),
)
PLACED = (*READY, place())
CONFIRMED = (*PLACED, confirm())
VISITED = (*CONFIRMED, done())
FULFILLED = (*VISITED, fulfil(T0 + 6 * HOUR))
WITHOUT_VISIT = (
    draft(plan="slow", install="self"),
    give(),
    yes(),
    *(tick(point_id=point) for point in ("passport", "amount", "socket")),
    place(),
)
