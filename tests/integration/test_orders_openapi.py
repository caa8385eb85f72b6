"""The whole OpenAPI document of orders against its real process: whatever is asked, no 5xx, and
every answer is one that the document promises. And what is another client's is not there."""

from dataclasses import replace
from typing import Any

import httpx
import pytest

from relaisctl.stack import Stack
from tests.integration.conftest import Engines
from tests.integration.openapi import OURS, Edge

KNOWN = {
    "product_id": "internet-connection",
    "version": "1",
    "name": "taxi",
    "promotion_id": "spring",
    "area_id": "paris",
    "crew_id": "van-1",
    "country": "FR",
    "order_id": "o-1",
    "field": "connection",
    "point_id": "amount",
}
MADE: list[tuple[str, str, dict[str, Any]]] = [
    ("POST", "forms/shipped/internet-connection", {}),
    ("PUT", "areas/paris", {"label": "Paris", "country": "FR", "prefixes": ["75"]}),
    (
        "PUT",
        "crews/van-1",
        {
            "label": "Van 1",
            "areas": ["paris"],
            "skills": ["internet-install"],
            "week": {day: ["08:00-18:00"] for day in ("monday", "wednesday", "friday")},
        },
    ),
    (
        "PUT",
        "promotions/spring",
        {
            "label": "Spring",
            "valid_from": "2020-01-01T00:00:00Z",
            "valid_until": "2099-01-01T00:00:00Z",
            "period": "monthly",
            "percent": "10",
        },
    ),
    (
        "POST",
        "orders",
        {"order_id": "o-1", "product_id": "internet-connection", "customer_id": "cu-1"},
    ),
    (
        "POST",
        "orders/o-1/addresses/connection",
        {
            "country": "FR",
            "lines": ["1 rue de Rivoli"],
            "postal_code": "75001",
            "locality": "Paris",
        },
    ),
]
"""So that not every request is about what is not there."""


@pytest.fixture(scope="module")
def orders(stack: Engines, services: Stack) -> Edge:
    edge = replace(Edge.of(stack, services, "orders-api"), known=KNOWN)
    below = f"{edge.url}/v1/clients/{OURS}/"
    with httpx.Client(headers=edge.headers, trust_env=False, timeout=30) as http:
        for method, path, body in MADE:
            answer = http.request(method, below + path, json=body)
            assert answer.is_success, (path, answer.text)
    return edge


@pytest.mark.timeout(900)
def test_every_answer_is_one_that_the_document_promises(orders: Edge) -> None:
    asked, wrong = orders.broken_promises()
    assert asked > 8 * len(orders.operations) > 240
    assert not wrong, "\n\n".join(f"{label}\n{what}" for label, what in wrong.items())


def test_what_is_anothers_is_not_there(orders: Edge) -> None:
    answered = orders.statuses_of_theirs()
    assert {label for label, status in answered.items() if status != 404} == set()
    assert len(answered) == len(orders.of_a_client) > 25
