"""What orders says about an order, event by event, as one line of its customer's timeline. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from services.crm.interactions.heard import AllHeard, Groups

STATUSES: Final[Mapping[str, str]] = {
    "drafted": "draft",
    "draft_expired": "expired",
    "placed": "placed",
    "confirmed": "confirmed",
    "fulfilled": "fulfilled",
    "cancelled": "cancelled",
    "returned": "returned",
    "failed": "failed",
}
"""Events of order-events, by their names in the contract's oneof -> the order's status then."""

VISITS: Final[Mapping[str, str]] = {
    "visit_scheduled": "scheduled",
    "visit_rescheduled": "scheduled",
    "visit_missed": "missed",
    "visit_overdue": "overdue",
    "visit_done": "done",
    "visit_released": "",
}
"""-> what is known of the visit then; empty: there is none any more."""

GROUPS: Final[Groups] = {
    "origin": ("product_id", "customer_id", "call_id"),
    "status": ("status",),
    "visit": ("visit", "visit_at"),
    "price": ("total", "monthly", "currency"),
}

_OVER: Final = frozenset({"cancelled", "expired"})
_AHEAD: Final = frozenset({"scheduled", "overdue"})


@dataclass(frozen=True, slots=True)
class Said:
    """One event. kind: its name in the contract's oneof. Times in microseconds since 1970, amounts
    as decimals in text; empty and 0 where the event says nothing of it."""

    kind: str
    client_id: str
    order_id: str
    version: int
    occurred_at: int
    product_id: str
    customer_id: str
    call_id: str = ""
    visit_at: int = 0
    total: str = ""
    monthly: str = ""
    currency: str = ""


class Orders(AllHeard):
    """By (client, order)."""

    def add(self, all_said: Iterable[Said]) -> None:
        for said in all_said:
            key = (said.client_id, said.order_id)
            self.hear(key, said.version, said.occurred_at, facts_of(said))


def facts_of(said: Said) -> Iterable[tuple[str, tuple[Any, ...]]]:
    """What one event says: (group, values)."""
    yield "origin", (said.product_id, said.customer_id, said.call_id)
    if said.kind in STATUSES:
        yield "status", (STATUSES[said.kind],)
    if said.kind in VISITS:
        visit = VISITS[said.kind]
        yield "visit", (visit, said.visit_at if visit else None)
    if said.kind == "placed":
        yield "price", (said.total, said.monthly, said.currency)


def visit_left(status: str | None, visit: str | None) -> str:
    """What is shown of the visit: one that is still ahead goes with an order that is called off,
    and orders tells no event of its own about it."""
    return "" if status in _OVER and visit in _AHEAD else visit or ""
