"""All use cases of crm, put together: what the edges and the worker are given."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

from eventkit.clock import Clock
from eventkit.eventstore import Category, EventStore
from services.crm.catalogue.service import Catalogues
from services.crm.complaints import store as complaints
from services.crm.complaints.service import Complaints
from services.crm.consent import store as consent
from services.crm.consent.service import Services as Consent
from services.crm.customers import store as customers
from services.crm.customers.service import Customers
from services.crm.holding import Holding
from services.crm.interactions import store as interactions
from services.crm.interactions.service import Interactions
from services.crm.knowledge.service import Knowledge
from services.crm.knowledge.store import article_version, count_helped
from services.crm.privacy.service import Privacy
from services.crm.surveys import store as surveys
from services.crm.surveys.service import Surveys

TIMED: tuple[Category[Any, Any, Any], ...] = (complaints.COMPLAINTS,)
"""The kinds of streams in which something becomes due."""


@dataclass(frozen=True)
class Crm:
    catalogues: Catalogues
    complaints: Complaints
    consent: Consent
    customers: Customers
    interactions: Interactions
    knowledge: Knowledge
    privacy: Privacy
    surveys: Surveys

    @classmethod
    def over(
        cls,
        events: EventStore,
        zone: Callable[[str], Awaitable[ZoneInfo]],
        clock: Clock,
        ids: Callable[[], str],
    ) -> "Crm":
        """zone: a client's; raises NotFound. ids: a new id each time."""
        return cls(
            catalogues=Catalogues(events),
            complaints=Complaints(events, zone, clock, ids),
            consent=Consent.of(events, ids),
            customers=Customers(events, ids),
            interactions=Interactions(events, ids, zone, article_version, count_helped),
            knowledge=Knowledge(events, zone, ids),
            privacy=Privacy(events, holdings(events), ids),
            surveys=Surveys(events, ids),
        )


def holdings(events: EventStore) -> list[Holding]:
    """Whoever keeps something about people; what is forgotten first is what others are found by
    last."""
    return [
        interactions.Holding(),
        complaints.Holding(events),
        surveys.Holding(),
        consent.Holding(events),
        customers.Holding(),
    ]
