"""All use cases of orders, put together: what the edges and the worker are given."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

from eventkit.clock import Clock
from eventkit.eventstore import Category, EventStore
from services.orders.forms.service import Forms
from services.orders.order.service import Orders
from services.orders.order.store import ORDERS
from services.orders.prices.service import Promotions
from services.orders.visits.service import Visits

TIMED: tuple[Category[Any, Any, Any], ...] = (ORDERS,)
"""The kinds of streams in which something becomes due."""


@dataclass(frozen=True)
class Ordering:
    forms: Forms
    promotions: Promotions
    visits: Visits
    orders: Orders

    @classmethod
    def over(
        cls,
        events: EventStore,
        zone: Callable[[str], Awaitable[ZoneInfo]],
        clock: Clock,
        ids: Callable[[], str],
    ) -> "Ordering":
        """zone: a client's; raises NotFound. ids: a new id each time."""
        forms, promotions = Forms(events), Promotions(events)
        visits = Visits(events, zone, clock)
        orders = Orders(events, forms, promotions, visits, zone, clock, ids)
        return cls(forms, promotions, visits, orders)
