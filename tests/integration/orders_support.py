"""Orders over their wire interfaces: a client with a simple form and crews, and whoever takes
orders while what they ask is killed."""

import asyncio
import itertools
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
from relais.orders.v1.events_pb2 import OrderEvent

from eventkit.callers import Role
from eventkit.clock import SystemClock
from eventkit.topictable import read_partition
from relaisctl.clients import Client, register
from relaisctl.stack import Stack, load_topics
from tests.integration.conftest import token_of

TOPIC = "order-events"
PRODUCT, VISITED = "plan", "installation"
AREA, SKILL = "centre", "fibre"
MINUTES = 60
HOURS = "09:00-10:00"
"""Of every crew, every day: time for one visit."""

_WEEK = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


def form(*, visit: bool) -> dict[str, Any]:
    """Two questions, an amount, a point to tell; and a visit, if there is one."""
    told = {"point_id": "told", "text": "This is what you pay.", "says": "total"}
    shown: dict[str, Any] = {
        "title": "Installation" if visit else "Plan",
        "schema": {
            "type": "object",
            "properties": {
                "plan": {"type": "string", "enum": ["small", "large"]},
                "wish": {"type": "string", "maxLength": 200},
            },
            "required": ["plan"],
        },
        "fields": [
            {"name": "plan", "label": "Which one?", "reported": True},
            {"name": "wish", "label": "Anything else?"},
        ],
        "currency": "EUR",
        "prices": [
            {
                "rule_id": "plan",
                "label": "Plan",
                "field": "plan",
                "amounts": {"small": "10.00", "large": "25.50"},
            }
        ],
        "checklist": [told],
        "cancel_reasons": ["changed-mind"],
        "after_sale_reasons": ["not-paid"],
    }
    if visit:
        shown["visit"] = {"skill": SKILL, "minutes": MINUTES}
    return shown


@dataclass
class Shop:
    """One client's orders, over HTTP. url: below it lies all that is the client's.

    asked_again: how often there was no answer.
    """

    client_id: str
    http: httpx.AsyncClient
    url: str
    headers: dict[str, str] = field(repr=False)
    asked_again: int = 0

    async def ask(self, method: str, path: str, key: str = "", body: Any = None) -> httpx.Response:
        """Until there is an answer: the same again, with the same idempotency key."""
        headers = self.headers | ({"Idempotency-Key": key} if key else {})
        for attempt in itertools.count(1):
            try:
                answer = await self.http.request(
                    method, f"{self.url}{path}", json=body, headers=headers
                )
            except httpx.TransportError:
                pass
            else:
                if answer.status_code < 500:
                    return answer
                assert answer.status_code == 503, answer.text
            self.asked_again += 1
            await asyncio.sleep(0.8 * min(attempt, 2) * (0.5 + random.random()))
        raise AssertionError

    async def post(self, path: str, key: str = "", body: Any = None) -> dict[str, Any]:
        """What succeeds; a refusal fails the test."""
        return self._done(await self.ask("POST", path, key, body))

    async def put(self, path: str, body: Any) -> dict[str, Any]:
        return self._done(await self.ask("PUT", path, "", body))

    async def get(self, path: str) -> dict[str, Any]:
        return self._done(await self.ask("GET", path))

    async def listed(self, path: str) -> list[dict[str, Any]]:
        """All pages."""
        found: list[dict[str, Any]] = []
        mark, cursor = ("&" if "?" in path else "?"), ""
        while True:
            page = await self.get(f"{path}{mark}limit=200{cursor}")
            found += page["items"]
            if page.get("next") is None:
                return found
            cursor = f"&cursor={page['next']}"

    @staticmethod
    def _done(answer: httpx.Response) -> dict[str, Any]:
        assert answer.is_success, f"{answer.status_code} {answer.text}"
        found: dict[str, Any] = answer.json()
        return found

    async def open(self, crews: int = 0) -> None:
        """Publish both forms; and crews who have time for one visit a day each."""
        await self.post(f"/products/{PRODUCT}/forms", "form-1", form(visit=False))
        await self.post(f"/products/{VISITED}/forms", "form-2", form(visit=True))
        await self.put(f"/areas/{AREA}", {"label": "All around"})
        for number in range(crews):
            crew = {
                "label": f"Van {number}",
                "zone": "UTC",
                "areas": [AREA],
                "skills": [SKILL],
                "week": {day: [HOURS] for day in _WEEK},
            }
            await self.put(f"/crews/crew-{number}", crew)

    async def draft(self, order_id: str, product: str = PRODUCT, **more: Any) -> dict[str, Any]:
        body = {
            "order_id": order_id,
            "product_id": product,
            "customer_id": f"customer-{order_id}",
            "answers": {"plan": "small"},
        } | more
        return await self.post("/orders", f"draft-{order_id}", body)

    async def place(self, order_id: str, **more: Any) -> dict[str, Any]:
        """From the first word to the placing, as an agent does it."""
        await self.draft(order_id, **more)
        answers = {"answers": {"plan": "large", "wish": f"of {order_id}"}}
        await self.post(f"/orders/{order_id}/answers", f"answers-{order_id}", answers)
        await self.post(f"/orders/{order_id}/points/told/tick", f"tick-{order_id}")
        return await self.post(f"/orders/{order_id}/place", f"place-{order_id}")

    async def history(self, order_id: str) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = (await self.get(f"/orders/{order_id}/history"))["items"]
        return items


@asynccontextmanager
async def shop(
    services: Stack, kafka: str, client_id: str, connections: int = 100
) -> AsyncIterator[Shop]:
    """A registered client of these services. orders-api runs already."""
    await register(kafka, Client(client_id, client_id, "UTC"), SystemClock())
    headers = {"Authorization": f"Bearer {token_of(services, [client_id], Role.ADMIN)}"}
    limits = httpx.Limits(max_connections=connections)
    async with httpx.AsyncClient(limits=limits, timeout=10.0, trust_env=False) as http:
        url = f"{services.addresses['orders-api']}/v1/clients/{client_id}"
        yield Shop(client_id, http, url, headers)


async def on_topic(kafka: str, client_id: str) -> tuple[dict[str, list[OrderEvent]], int]:
    """Each order's events as a consumer takes them, and how many came again. Fails where one is
    missing before another."""
    [topic] = [topic for topic in load_topics() if topic.name == TOPIC]
    found: dict[str, list[OrderEvent]] = {}
    again = 0
    for partition in range(topic.partitions):
        async for chunk in read_partition(kafka, TOPIC, partition):
            for record in chunk:
                event = OrderEvent.FromString(record.value or b"")
                assert (record.key or b"").decode() == event.meta.stream_id
                if event.meta.client_id != client_id:
                    continue
                seen = found.setdefault(event.order_id, [])
                if event.meta.version <= len(seen):
                    assert event.meta.event_id == seen[event.meta.version - 1].meta.event_id
                    again += 1
                else:
                    assert event.meta.version == len(seen) + 1, "one is missing before this one"
                    seen.append(event)
    return found, again


async def published(
    kafka: str, client_id: str, events: int, seconds: float = 60.0
) -> tuple[dict[str, list[OrderEvent]], int]:
    """`on_topic` once so many events are there."""
    deadline = asyncio.get_running_loop().time() + seconds
    while True:
        found, again = await on_topic(kafka, client_id)
        if sum(map(len, found.values())) >= events:
            return found, again
        assert asyncio.get_running_loop().time() < deadline, "not all events are on the topic"
        await asyncio.sleep(0.5)
