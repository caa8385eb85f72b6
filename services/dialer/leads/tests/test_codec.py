"""Events of leads on campaign-events: all of them, and nothing personal."""

from dataclasses import fields, replace
from typing import Any

import pytest
from relais.campaigns.v1.events_pb2 import CampaignEvent

from eventkit.eventstore import Recorded
from services.dialer.compliance.ruleuse import RuleUse
from services.dialer.leads import events as e
from services.dialer.leads.codec import lead_message
from services.dialer.leads.lead import DECIDER
from services.dialer.leads.store import LEADS

ORIGIN = e.Origin("spring", "may", "K-1")
PERSONAL: dict[str, Any] = {
    "phones": {"1": "+33612345678"},
    "name": "Anaïs",
    "address": e.Address("1 rue A", "75011", "", "FR"),
    "reference": "REF-77",
    "attributes": {"contract": "Duo"},
}
NUMBERS = (e.Number("1", "US-FL@America/New_York US-NY", "mobile"),)
EVENTS: list[Any] = [
    e.LeadAdded(ORIGIN, NUMBERS, 5, "import", 7_000_001, "Europe/Paris", **PERSONAL),
    e.LeadCorrected(ORIGIN, ("numbers", "name"), NUMBERS, **PERSONAL),
    e.LeadDialled(ORIGIN, "a1", "1", 8_000_000),
    e.LeadScheduled(ORIGIN, 9_000_000, "a1", "busy", "1"),
    e.LeadHeldBack(ORIGIN, (RuleUse("us-fl.hours", 3, "within"),), 9_000_000, "1", 9_000_000),
    e.LeadHeldBack(ORIGIN, (RuleUse("crm.list", 9),), None, "1", 9_000_000),
    e.LeadClosed(ORIGIN, "attempts", "a1", "busy"),
    e.LeadReopened(ORIGIN, 9_000_000),
    e.LeadPreviewed(ORIGIN, "ann", 9_000_000),
    e.LeadPreviewAccepted(ORIGIN, "ann", 9_000_000),
    e.LeadPreviewSkipped(ORIGIN, "ann", "wrong-language"),
    e.LeadPreviewExpired(ORIGIN, "ann"),
    e.LeadCallbackPromised(ORIGIN, 5_000_000, 6_000_000, "ann", "a1"),
    e.LeadCallbackEscalated(ORIGIN, 6_000_000, "ann"),
]


def test_every_event_is_here() -> None:
    assert {type(event) for event in EVENTS} == set(DECIDER.events)


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_events(event: Any) -> None:
    stream = "acme/lead/l-1"
    data = lead_message(Recorded("acme", stream, 2, "id", event, 1, 2, "ann", "", ""))
    wire = CampaignEvent.FromString(data)
    assert (wire.campaign_id, wire.meta.stream_id) == ("spring", stream)
    lead = wire.lead
    assert (lead.lead_id, lead.list_id, lead.customer_id) == ("l-1", "may", "K-1")
    body = wire.WhichOneof("body") or ""
    assert body.replace("_", "") == type(event).__name__.lower()
    said = getattr(wire, body)
    for field in fields(event):
        if field.name in said.DESCRIPTOR.fields_by_name and field.name.endswith("_at"):
            assert getattr(said, field.name).ToMicroseconds() == getattr(event, field.name)
    for secret in ("612345678", "Anaïs", "rue A", "75011", "REF-77", "Duo"):
        assert secret.encode() not in data


def test_where_a_number_may_ring() -> None:
    added = CampaignEvent.FromString(
        lead_message(Recorded("acme", "acme/lead/l-1", 1, "id", EVENTS[0], 1, 2, "", "", ""))
    ).lead_added
    number = added.numbers[0]
    assert (number.country, number.region, number.kind) == ("US", "", "mobile")
    assert "America/New_York" in number.zones


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_stored_and_read_again(event: Any) -> None:
    name, body, personal = LEADS.codec.encode(event)
    assert LEADS.codec.decode(name, body.decode(), personal) == event
    erased = LEADS.codec.decode(name, body.decode(), None)
    if personal is None:
        assert erased == event
        return
    empty = {"phones": {}, "name": "", "address": e.NO_ADDRESS, "reference": "", "attributes": {}}
    assert erased == replace(event, **empty)
