"""The whole OpenAPI document of the dialer against its real process: whatever is asked, no 5xx, and
every answer is one that the document promises. And what is another client's is not there."""

from dataclasses import replace
from typing import Any

import httpx
import pytest

from relaisctl.stack import Stack
from tests.integration.conftest import Engines
from tests.integration.openapi import OURS, Edge

KNOWN = {"campaign_id": "spring", "lead_id": "l-1", "attempt_id": "at-1", "import_id": "i-1"}
CAMPAIGN = {
    "name": "Fibre",
    "purpose": "sales",
    "mode": "predictive",
    "seller": "Acme",
    "caller_id": "+33123456789",
    "pool_id": "main",
    "queue_id": "fibre",
    "offer_id": "fibre-xl",
    "abandonment_message": "sorry",
}
MADE: list[tuple[str, str, dict[str, Any]]] = [
    ("PUT", "campaigns/spring", CAMPAIGN),
    ("POST", "campaigns/spring/start", {}),
    ("POST", "leads", {"campaign_id": "spring", "numbers": ["+33612345678"], "reference": "r-1"}),
]
"""So that not every request is about what is not there."""


@pytest.fixture(scope="module")
def dialer(stack: Engines, services: Stack) -> Edge:
    # It asks crm for previews and win-back.
    services.start(["crm-api"])
    edge = Edge.of(stack, services, "dialer-api")
    below = f"{edge.url}/v1/clients/{OURS}/"
    lead_id = ""
    with httpx.Client(headers=edge.headers, trust_env=False, timeout=30) as http:
        for method, path, body in MADE:
            answer = http.request(method, below + path, json=body or None)
            assert answer.is_success, (path, answer.text)
            lead_id = answer.json().get("lead_id", lead_id)
    return replace(edge, known=KNOWN | {"lead_id": lead_id})


@pytest.mark.timeout(1200)
def test_every_answer_is_one_that_the_document_promises(dialer: Edge) -> None:
    asked, wrong = dialer.broken_promises()
    assert asked > 8 * len(dialer.operations) > 200
    assert not wrong, "\n\n".join(f"{label}\n{what}" for label, what in wrong.items())


def test_what_is_anothers_is_not_there(dialer: Edge) -> None:
    answered = dialer.statuses_of_theirs()
    assert {label for label, status in answered.items() if status != 404} == set()
    assert len(answered) == len(dialer.of_a_client) > 25
