"""A person's rights across crm and orders: what is held is told whole, or the answer says what
lacks; and an erasure in crm takes what orders was told with it."""

import asyncio
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from eventkit.clock import SystemClock
from relaisctl.clients import Client, register
from relaisctl.errors import UNREACHABLE
from relaisctl.stack import Stack
from tests.integration.conftest import Engines, token_of
from tests.integration.walk import environment_of

CLIENT = "privacy-of-orders"
TELEPHONE, WORDS = "+44 7700 900123", "the house behind the old dairy"
HEARD_S = 60.0
POINTS = ("price", "start", "bound", "withdrawal")


class Centre:
    """crm and orders, and an admin who asks them."""

    def __init__(self, services: Stack) -> None:
        self.services = services
        headers = {"authorization": f"Bearer {token_of(services, [CLIENT])}"}
        self._http = httpx.Client(headers=headers, trust_env=False, timeout=30)

    def ask(self, service: str, path: str, body: Any = None) -> Any:
        url = f"{self.services.addresses[f'{service}-api']}/v1/clients/{CLIENT}/{path}"
        method = "GET" if body is None else "POST"
        answer = self._http.request(method, url, json=body)
        assert answer.is_success, answer.text
        return answer.json()

    def customer(self, what: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """relaisctl customer WHAT ..."""
        return subprocess.run(
            [sys.executable, "-m", "relaisctl", "customer", what, *arguments, "--client", CLIENT],
            env=environment_of(self.services),
            capture_output=True,
            text=True,
        )


@pytest.fixture(scope="module")
def centre(stack: Engines, services: Stack) -> Centre:
    """One person under two ids, merged: with a placed order under one, a draft under the other."""
    client = Client(CLIENT, "Norlink Internet", "Europe/London")
    asyncio.run(register(stack.kafka, client, SystemClock()))
    services.start(["crm-api", "crm-relay", "orders-api", "orders-worker", "dialer-api"])
    centre = Centre(services)
    for customer_id, number in (("k-1", "4711"), ("k-2", "4712")):
        centre.ask(
            "crm", "customers", {"customer_id": customer_id, "number": number, "name": "Ann"}
        )
    centre.ask("crm", "customers/k-2/merge", {"into_customer_id": "k-1"})
    for form in ("tariff-change", "internet-connection"):
        centre.ask("orders", f"forms/shipped/{form}", {})
    answers = {"number": TELEPHONE, "from_tariff": "smart", "to_tariff": "family"}
    order = {"order_id": "o-1", "product_id": "tariff-change", "customer_id": "k-1"}
    centre.ask("orders", "orders/submit", {**order, "answers": answers, "told": POINTS})
    draft = {"order_id": "o-2", "product_id": "internet-connection", "customer_id": "k-2"}
    centre.ask("orders", "orders", {**draft, "answers": {"access": WORDS}})
    centre.ask(
        "orders",
        "orders/o-2/addresses/connection",
        {"country": "GB", "lines": ["14 Park Row"], "postal_code": "LS1 5HD", "locality": "Leeds"},
    )
    return centre


def test_an_export_has_the_orders_under_all_ids(centre: Centre) -> None:
    done = centre.customer("export", "4711")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["incomplete"] == []
    orders = document["held"]["orders"]
    assert {each["id"] for each in orders} == {"o-1", "o-2"}
    assert orders == sorted(orders, key=lambda each: each["at"])
    told = json.dumps(orders)
    for text in (TELEPHONE, WORDS, "14 Park Row"):
        assert text in told


def test_an_export_without_the_orders_does_not_look_whole(centre: Centre, tmp_path: Path) -> None:
    centre.services.stop(["orders-api"])
    try:
        out = tmp_path / "ann.json"
        done = centre.customer("export", "k-1", "--out", str(out))
    finally:
        centre.services.start(["orders-api"])
    assert done.returncode == UNREACHABLE
    assert "not all that is held is here: orders" in done.stderr
    assert "all that is held is in" not in done.stdout
    document = json.loads(out.read_text(encoding="utf-8"))
    assert document["held"]["customers"]
    assert "orders" not in document["held"]
    [missing] = document["incomplete"]
    assert missing["service"] == "orders"
    assert "does not answer" in missing["reason"]


def test_an_erasure_in_crm_takes_what_orders_was_told(centre: Centre) -> None:
    before = [centre.ask("orders", f"orders/{order}") for order in ("o-1", "o-2")]
    assert TELEPHONE in json.dumps(before)
    done = centre.customer("erase", "4711", "--yes")
    assert done.returncode == 0, done.stderr
    # The keys are gone at once; that nobody can go on with the draft is heard by Kafka.
    end = time.monotonic() + HEARD_S
    while centre.ask("orders", "orders/o-2")["status"] == "draft":
        assert time.monotonic() < end
        time.sleep(0.2)
    placed, draft = (centre.ask("orders", f"orders/{order}") for order in ("o-1", "o-2"))
    assert (placed["status"], placed["quote"]["monthly"]["amount"]) == ("placed", "24.99")
    assert (draft["status"], draft["end_reason"]) == ("cancelled", "erased")
    for order in (placed, draft):
        assert {field["answer"] for field in order["fields"]} == {None}
        said = json.dumps([order, centre.ask("orders", f"orders/{order['order_id']}/history")])
        for text in (TELEPHONE, WORDS, "Park Row", "LS1"):
            assert text not in said
