"""HTTP: the capabilities' routers as one application, and one OpenAPI document."""

from collections.abc import Awaitable, Callable

from fastapi import FastAPI

from eventkit.callers import Callers
from eventkit.causes import Index
from eventkit.http import make_app
from services.orders.addresses import api as addresses
from services.orders.forms import api as forms
from services.orders.order import api as order
from services.orders.prices import api as prices
from services.orders.service import Ordering
from services.orders.visits import api as visits

MAX_BODY = 512 << 10
"""A form of the largest size."""


def make_api(
    ordering: Ordering,
    callers: Callers,
    known_client: Callable[[str], Awaitable[bool]],
    check: Callable[[], Awaitable[None]],
    index: Index,
) -> FastAPI:
    """The ASGI application. check: raises Unavailable while an engine does not answer.

    known_client, index: as in eventkit.http.make_app.
    """
    api = make_app(
        "Relais orders", "1", callers, known_client, max_body=MAX_BODY, checks=[check], index=index
    )
    for router in (
        order.router(ordering.orders),
        forms.router(ordering.forms),
        prices.router(ordering.promotions),
        visits.router(ordering.visits),
        addresses.router(),
    ):
        api.include_router(router)
    return api
