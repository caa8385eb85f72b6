"""crm under SIGKILL: what was acknowledged is in the store once, and on its topic in order.

Fifty writers assign twenty complaints to agents who exist for one assignment each, so every command
leaves a trace of its own. Whoever gets no answer asks again with the same Idempotency-Key, as a
client that must know does. Meanwhile the API and the relay are killed again and again.
"""

import asyncio
import itertools
import random
import time
from collections import defaultdict
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from relais.complaints.v1.events_pb2 import ComplaintEvent

from eventkit.clock import SystemClock
from eventkit.topictable import read_partition
from relaisctl.clients import Client, register
from relaisctl.stack import Stack, load_topics
from tests.integration.conftest import Engines, token_of

CLIENT = "kills"
TOPIC = "complaint-events"
PROCESSES = ["crm-api", "crm-relay"]
WRITERS = 50
COMPLAINTS = 20
SECONDS = 60.0
KILLS = 20
EVERY_S = 2.0
PUBLISHED_S = 120.0

Assigned = tuple[str, int]
"""A complaint, and the version that the answer said."""


@dataclass
class Run:
    """acknowledged: by agent, who is assigned once."""

    url: str
    headers: dict[str, str]
    acknowledged: dict[str, Assigned] = field(default_factory=dict)
    asked_again: int = 0
    kills: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    over: bool = False


@pytest.fixture(scope="module")
def crm(stack: Engines, services: Stack) -> Run:
    asyncio.run(register(stack.kafka, Client(CLIENT, "Kills", "Europe/Paris"), SystemClock()))
    services.start(PROCESSES)
    headers = {"Authorization": f"Bearer {token_of(services, [CLIENT])}"}
    return Run(f"{services.addresses['crm-api']}/v1/clients/{CLIENT}/complaints", headers)


async def post(http: httpx.AsyncClient, run: Run, path: str, key: str, body: object) -> Assigned:
    """Until there is an answer. What the service refuses fails the test."""
    headers = run.headers | {"Idempotency-Key": key}
    for attempt in itertools.count():
        try:
            answer = await http.post(f"{run.url}{path}", json=body, headers=headers)
        except httpx.TransportError:
            answer = None
        if answer is not None and answer.status_code < 500:
            assert answer.is_success, answer.text
            done = answer.json()
            return done["complaint_id"], done["version"]
        assert answer is None or answer.status_code == 503, answer.text
        run.asked_again += 1
        await asyncio.sleep(0.1 * min(attempt + 1, 10) * (0.5 + random.random()))
    raise AssertionError


async def write(http: httpx.AsyncClient, run: Run, writer: int) -> None:
    rng = random.Random(writer)
    for number in itertools.count():
        if run.over:
            return
        agent, complaint = f"agent-{writer}-{number}", f"c{rng.randrange(COMPLAINTS)}"
        path, body = f"/{complaint}/assign", {"assignee": agent}
        run.acknowledged[agent] = await post(http, run, path, f"assign-{agent}", body)
        assert run.acknowledged[agent][0] == complaint


async def kill(services: Stack, run: Run) -> None:
    """Again and again, one a moment after the other; the API, which is asked, is back as soon as
    it can be."""
    rng = random.Random(1)
    while not run.over:
        await asyncio.sleep(EVERY_S)
        for name in rng.sample(PROCESSES, 2):
            await asyncio.to_thread(services.kill, name)
            run.kills[name] += 1
            await asyncio.sleep(rng.random())
        await asyncio.to_thread(services.start, PROCESSES)


async def records(kafka: str) -> AsyncIterator[ComplaintEvent]:
    [topic] = [topic for topic in load_topics() if topic.name == TOPIC]
    for partition in range(topic.partitions):
        async for chunk in read_partition(kafka, TOPIC, partition):
            for record in chunk:
                event = ComplaintEvent.FromString(record.value or b"")
                assert (record.key or b"").decode() == event.meta.stream_id
                if event.meta.client_id == CLIENT:
                    yield event


async def published(kafka: str) -> tuple[dict[str, list[ComplaintEvent]], int]:
    """Each complaint's events as a consumer takes them, and how many came again."""
    found: dict[str, list[ComplaintEvent]] = defaultdict(list)
    again = 0
    async for event in records(kafka):
        seen = found[event.complaint_id]
        if event.meta.version <= len(seen):
            assert event.meta.event_id == seen[event.meta.version - 1].meta.event_id
            again += 1
        else:
            assert event.meta.version == len(seen) + 1, "an event is missing before this one"
            seen.append(event)
    return found, again


@pytest.mark.timeout(900)
async def test_what_is_acknowledged_is_kept_once_and_published_in_order(
    stack: Engines, services: Stack, crm: Run
) -> None:
    limits = httpx.Limits(max_connections=WRITERS)
    async with httpx.AsyncClient(limits=limits, timeout=10.0, trust_env=False) as http:
        for number in range(COMPLAINTS):
            body = {"complaint_id": f"c{number}", "text": "The technician did not come."}
            await post(http, crm, "", f"open-{number}", body)
        began = time.monotonic()
        killing = asyncio.create_task(kill(services, crm))
        writing = [asyncio.create_task(write(http, crm, number)) for number in range(WRITERS)]
        while time.monotonic() - began < SECONDS or sum(crm.kills.values()) < KILLS:
            await asyncio.sleep(0.5)
            for task in (killing, *writing):
                if task.done():
                    task.result()
        crm.over = True
        await asyncio.gather(killing, *writing)

        kept: dict[str, list[dict[str, Any]]] = {}
        for number in range(COMPLAINTS):
            answer = await http.get(f"{crm.url}/c{number}/history", headers=crm.headers)
            kept[f"c{number}"] = answer.raise_for_status().json()["items"]

    total = sum(map(len, kept.values()))
    deadline = time.monotonic() + PUBLISHED_S
    while True:
        on_topic, again = await published(stack.kafka)
        if sum(map(len, on_topic.values())) >= total or time.monotonic() > deadline:
            break
        await asyncio.sleep(1.0)
    print(
        f"{len(crm.acknowledged)} commands acknowledged, {crm.asked_again} asked again,"
        f" {dict(crm.kills)} kills in {time.monotonic() - began:.0f} s,"
        f" {total} events kept, {again} published again"
    )

    assert sum(crm.kills.values()) >= KILLS
    assert min(crm.kills.values()) > 0
    assert len(crm.acknowledged) > WRITERS
    # Each command once in the store, where its answer said, and nothing besides.
    assert total == len(crm.acknowledged) + COMPLAINTS
    for complaint, events in kept.items():
        assert [event["version"] for event in events] == list(range(1, len(events) + 1))
        assert [event.meta.version for event in on_topic[complaint]] == [
            event["version"] for event in events
        ]
    for agent, (complaint, version) in crm.acknowledged.items():
        assert kept[complaint][version - 1]["details"]["assignee"] == agent
        assert on_topic[complaint][version - 1].assigned.assignee == agent
