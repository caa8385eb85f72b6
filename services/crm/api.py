"""HTTP: the capabilities' routers as one application, and one OpenAPI document."""

from collections.abc import Awaitable, Callable

from fastapi import FastAPI

from eventkit.callers import Callers
from eventkit.causes import Index
from eventkit.http import make_app
from services.crm.catalogue import api as catalogue
from services.crm.complaints import api as complaints
from services.crm.consent import api as consent
from services.crm.customers import api as customers
from services.crm.interactions import api as interactions
from services.crm.knowledge import api as knowledge
from services.crm.privacy import api as privacy
from services.crm.service import Crm
from services.crm.surveys import api as surveys

MAX_BODY = 2 << 20
"""A thousand rows of an import."""


def make_api(
    crm: Crm,
    callers: Callers,
    known_client: Callable[[str], Awaitable[bool]],
    check: Callable[[], Awaitable[None]],
    index: Index,
) -> FastAPI:
    """The ASGI application. check: raises Unavailable while an engine does not answer.

    known_client, index: as in eventkit.http.make_app.
    """
    api = make_app(
        "Relais crm", "1", callers, known_client, max_body=MAX_BODY, checks=[check], index=index
    )
    for router in (
        customers.router(crm.customers),
        interactions.router(crm.interactions),
        catalogue.router(crm.catalogues),
        complaints.router(crm.complaints),
        knowledge.router(crm.knowledge),
        surveys.router(crm.surveys),
        consent.router(crm.consent),
        privacy.router(crm.privacy),
    ):
        api.include_router(router)
    return api
