"""HTTP: the capabilities' routers as one application, and one OpenAPI document."""

from collections.abc import Awaitable, Callable

from fastapi import FastAPI

from eventkit.callers import Callers
from eventkit.causes import Index
from eventkit.http import make_app
from services.dialer.attempts import api as attempts
from services.dialer.campaigns import api as campaigns
from services.dialer.dispositions import api as dispositions
from services.dialer.leads import api as leads
from services.dialer.leads.winback import CrmCustomers
from services.dialer.oversight import api as oversight_api
from services.dialer.oversight.service import Oversight
from services.dialer.service import Dialer

MAX_BODY = 4 << 20
"""A part of a list of leads."""


def make_api(
    dialer: Dialer,
    oversight: Oversight,
    customers: CrmCustomers,
    callers: Callers,
    known_client: Callable[[str], Awaitable[bool]],
    check: Callable[[], Awaitable[None]],
    index: Index,
) -> FastAPI:
    """The ASGI application. customers: crm's, for win-back.

    check: raises Unavailable while an engine does not answer. known_client, index: as in
    eventkit.http.make_app.
    """
    api = make_app(
        "Relais dialer", "1", callers, known_client, max_body=MAX_BODY, checks=[check], index=index
    )
    for router in (
        campaigns.router(dialer.campaigns),
        attempts.router(dialer.attempts),
        dispositions.router(dialer.dispositions),
        leads.router(dialer.leads, customers),
        oversight_api.router(oversight),
    ):
        api.include_router(router)
    return api
