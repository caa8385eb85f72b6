"""All use cases of the dialer, put together: what the edges and the worker are given."""

from dataclasses import dataclass
from typing import Any

from eventkit.eventstore import Category, EventStore
from eventkit.process import new_id
from services.dialer.attempts import store as attempts_store
from services.dialer.attempts.service import Attempts
from services.dialer.campaigns.service import Campaigns
from services.dialer.campaigns.store import CAMPAIGNS
from services.dialer.dispositions.service import Dispositions
from services.dialer.leads.recycling import Recycling
from services.dialer.leads.service import Leads
from services.dialer.leads.store import LEADS

TIMED: tuple[Category[Any, Any, Any], ...] = (CAMPAIGNS, LEADS)
"""The kinds of streams in which something becomes due."""


@dataclass(frozen=True)
class Dialer:
    campaigns: Campaigns
    attempts: Attempts
    dispositions: Dispositions
    leads: Leads

    @classmethod
    def over(cls, events: EventStore) -> "Dialer":
        campaigns = Campaigns(events, attempts_store.totals)

        async def rules(client_id: str, campaign_id: str) -> Recycling:
            settings = (await campaigns.get(client_id, campaign_id)).campaign.settings
            assert settings is not None
            return settings.recycling

        return cls(campaigns, Attempts(events), Dispositions(events), Leads(events, new_id, rules))
