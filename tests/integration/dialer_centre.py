"""A client with a campaign, and the agents who talk for it, over their wire interfaces.

The numbers are of a zone where people may be called at this hour, so that the tests run at any
time.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
from relais.attempts.v1.events_pb2 import AttemptEvent
from relais.calls.v1.events_pb2 import CallEvent
from relais.campaigns.v1.events_pb2 import CampaignEvent

from eventkit.clock import SystemClock
from eventkit.topictable import read_partition
from relaisctl.clients import Client, register
from relaisctl.replay import outbound
from relaisctl.stack import Stack, load_topics
from tests.integration.conftest import token_of

PROCESSES = (
    *("routing-api", "routing-worker", "crm-api"),
    *("carrier", "dialer-api", "dialer-relay", "dialer-worker"),
)
QUEUE = "outbound"
BEGAN = datetime.now(UTC)
"""Numbers are of a place where it is day then, and stay the same."""


def scenario(path: Path, **more: Any) -> Path:
    """Everybody has a machine, so that no call rings for long; times are short."""

    def s(median_s: float, sigma: float = 0.3) -> dict[str, float]:
        return {"median_s": median_s, "sigma": sigma}

    data: dict[str, Any] = {
        "human": [0.4] * 24,
        "numbers": {"unobtainable": 0.04, "fax": 0.02, "machine": 1.0},
        "errors": 0.01,
        "busy": 0.04,
        "at_once": 0.02,
        "setup": s(0.05),
        "rings": s(0.6),
        "machine_rings": s(0.8),
        "greeting": s(0.3),
        "machine_greeting": s(0.5),
        "detection": {"takes": s(0.1), "human_as_machine": 0.01, "machine_as_human": 0.01},
        "patience": s(6.0),
        "talk": s(1.5),
        "machine_talk": s(0.5),
        "message": s(0.5),
        "fates": {number(index): "human" for index in HUMANS},
    }
    path.write_text(json.dumps(data | more))
    return path


HUMANS = range(9_000, 9_100)
"""Numbers at which a person always answers."""


def number(index: int) -> str:
    """In E.164, for an index below 7,000,000; always the same one in a process."""
    return outbound.number(index, BEGAN)


@dataclass
class Dialled:
    """One client, its pool, and where everything is."""

    client_id: str
    pool_id: str
    http: httpx.AsyncClient
    dialer: str
    crm: str
    routing: str
    kafka: str
    headers: dict[str, str] = field(repr=False)
    agent_ids: list[str] = field(default_factory=list)

    async def ask(self, method: str, url: str, body: Any = None) -> dict[str, Any]:
        answer = await self.http.request(method, url, json=body, headers=self.headers)
        assert answer.is_success, f"{method} {url}: {answer.status_code} {answer.text}"
        found: dict[str, Any] = answer.json()
        return found

    async def agents(self, count: int, **settings: Any) -> None:
        """Log in and wait for calls; without work after a call."""
        base = f"{self.routing}/v1"
        await self.ask("PUT", f"{base}/pools/{self.pool_id}", {"wrap_up_seconds": -1} | settings)
        await self.ask("PUT", f"{base}/pools/{self.pool_id}/queues/{self.client_id}/{QUEUE}", {})
        for index in range(count):
            agent_id = f"{self.pool_id}-{index}"
            await self.report_agent(agent_id, "logged-in")
            await self.report_agent(agent_id, "available")
            self.agent_ids.append(agent_id)

    async def report_agent(self, agent_id: str, what: str, **more: str) -> None:
        """As the agent's desktop does."""
        url = f"{self.routing}/v1/agents/{agent_id}/{what}"
        await self.ask("POST", url, {"pool_id": self.pool_id} | more)

    async def campaign(self, campaign_id: str, **more: Any) -> None:
        """A survey that tries each lead once and stops when none is left."""
        close = {"then": "close"}
        results = ("carrier-error", "not-dialled", "abandoned", "hung-up", "busy", "machine")
        body = {
            "name": campaign_id,
            "purpose": "survey",
            "mode": "predictive",
            "seller": "Acme",
            "caller_id": "+12125550100",
            "pool_id": self.pool_id,
            "queue_id": QUEUE,
            "questionnaire_id": "q-1",
            "abandonment_message": "sorry",
            "stop_when_exhausted": True,
            "priority": 5,
            "recycling": {"attempts": 1, "results": dict.fromkeys(results, close)},
        }
        await self.ask("PUT", f"{self.dialer}/campaigns/{campaign_id}", body | more)

    async def until(self, condition: Callable[[], Awaitable[Any]], seconds: float = 30) -> Any:
        """What it gives, once that is something."""
        deadline = time.monotonic() + seconds
        while not (found := await condition()):
            assert time.monotonic() < deadline, "waited in vain"
            await asyncio.sleep(0.2)
        return found

    async def leads(self, campaign_id: str, indexes: range, **more: Any) -> dict[str, int]:
        """A lead for each index's number; their ids."""
        found = {}
        for index in indexes:
            body = {"campaign_id": campaign_id, "numbers": [number(index)]} | more
            answer = await self.ask("POST", f"{self.dialer}/leads", body)
            found[answer["lead_id"]] = index
        return found

    async def start(self, campaign_id: str) -> None:
        await self.ask("POST", f"{self.dialer}/campaigns/{campaign_id}/start")

    async def status(self, campaign_id: str) -> tuple[str, str]:
        """And its reason."""
        found = await self.ask("GET", f"{self.dialer}/campaigns/{campaign_id}")
        return found["status"], found.get("status_reason") or ""

    async def stopped(self, campaign_id: str, seconds: float) -> str:
        """Why."""
        deadline = time.monotonic() + seconds
        while True:
            status, reason = await self.status(campaign_id)
            if status == "stopped":
                return reason
            assert time.monotonic() < deadline, f"the campaign is still {status}"
            await asyncio.sleep(0.5)

    async def forbid(self, numbers: list[str]) -> None:
        """On the client's do-not-call list, from the answer on."""
        path = f"{self.crm}/do-not-call-lists/ours"
        await self.ask("PUT", path, {"name": "Ours", "kind": "own"})
        added = [{"address": number} for number in numbers]
        await self.ask("POST", f"{path}/numbers", {"add": added})

    async def attempts(self) -> dict[str, list[AttemptEvent]]:
        """The events of each, in order, once."""
        found: dict[str, dict[int, AttemptEvent]] = {}
        async for event in self._read("attempt-events", AttemptEvent):
            found.setdefault(event.attempt_id, {})[event.meta.version] = event
        return {id: [of[v] for v in sorted(of)] for id, of in found.items()}

    async def lead_events(self) -> list[CampaignEvent]:
        return [each async for each in self._read("campaign-events", CampaignEvent)]

    async def calls(self) -> list[CallEvent]:
        return [each async for each in self._read("call-events", CallEvent)]

    async def _read(self, name: str, kind: Any) -> AsyncIterator[Any]:
        [topic] = [topic for topic in load_topics() if topic.name == name]
        for partition in range(topic.partitions):
            async for chunk in read_partition(self.kafka, name, partition):
                for record in chunk:
                    event = kind.FromString(record.value or b"")
                    if event.meta.client_id == self.client_id:
                        yield event


@asynccontextmanager
async def dialled(services: Stack, kafka: str, client_id: str) -> AsyncIterator[Dialled]:
    await register(kafka, Client(client_id, client_id, "America/New_York"), SystemClock())
    headers = {"Authorization": f"Bearer {token_of(services, [client_id])}"}
    addresses = services.addresses
    async with httpx.AsyncClient(timeout=30) as http:
        yield Dialled(
            client_id,
            f"pool-{client_id}",
            http,
            f"{addresses['dialer-api']}/v1/clients/{client_id}",
            f"{addresses['crm-api']}/v1/clients/{client_id}",
            addresses["routing-api"],
            kafka,
            headers,
        )
