"""The dialer under SIGKILL: its worker, its edge, its relay, routing's worker and the carrier are
killed in turns while four campaigns of two clients call the same people.

Meanwhile people are put on do-not-call lists and withdraw their consent. Then topics, the database
and the carrier's own journal say that no call was dialled twice, no lead at two places at once,
that each attempt has one end, and that nobody was called who must not be.

RELAIS_KILLS_SECONDS says for how long, 60 without it.
"""

import asyncio
import itertools
import os
import random
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo

import asyncpg
import httpx
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from relais.agents.v1.events_pb2 import AgentEvent
from relais.attempts.v1 import events_pb2 as a

from eventkit.ids import derived_id
from relaisctl.replay.outbound import AREAS
from relaisctl.stack import Broker, Stack
from relaisctl.stack.postgres import database_url
from tests.integration import routing_ledger
from tests.integration.conftest import Engines, tell
from tests.integration.dialer_centre import Dialled, dialled, number, scenario
from tests.integration.dialer_ledger import PARTITIONS, Ledger, Number, now_us

SECONDS = float(os.environ.get("RELAIS_KILLS_SECONDS", "60"))
CLIENTS = ("dialer-kills-a", "dialer-kills-b")
AGENTS = 15
PROCESSES = (
    *("routing-api", "routing-worker", "crm-api"),
    *("carrier", "dialer-api", "dialer-relay", "dialer-worker"),
)
TURNS = (
    (("dialer-worker",), 5),
    (("carrier",), 5),
    (("dialer-relay",), 3),
    (("dialer-worker", "carrier"), 5),
    (("dialer-api",), 3),
    (("routing-worker",), 10),
)
"""Which processes are killed, and how many seconds it takes until the next ones are."""
REVOKED_EVERY_S = 1.0
QUIET_S = 180.0
LINES = 1_000
SPEED = 10
DEBT = "loan-7"

AGAIN = {
    "machine": {"then": "same", "after_seconds": 3, "times": 4},
    "no-answer": {"then": "same", "after_seconds": 2, "times": 9},
    "busy": {"then": "same", "after_seconds": 1, "times": 4},
    "hung-up": {"then": "same", "after_seconds": 3, "times": 3},
    "abandoned": {"then": "same", "after_seconds": 3, "times": 3},
    "carrier-error": {"then": "same", "after_seconds": 1, "times": 50},
    "not-dialled": {"then": "same", "after_seconds": 1, "times": 50},
}
LISTS = max(1.0, SECONDS / 60)


def some(count: int) -> int:
    return round(count * LISTS)


CAMPAIGNS: dict[tuple[str, str], tuple[dict[str, Any], range]] = {
    (CLIENTS[0], "debt-1"): (
        {"purpose": "payment-reminder", "mode": "predictive", "subject": DEBT},
        range(some(500)),
    ),
    (CLIENTS[0], "debt-2"): (
        {"purpose": "payment-reminder", "mode": "power", "ratio": 1.5, "subject": DEBT},
        range(some(350), some(700)),
    ),
    (CLIENTS[0], "news"): (
        {
            "purpose": "information",
            "mode": "message",
            "information_message": "works-in-march",
            "calls_per_second": 4,
            "pool_id": None,
            "queue_id": None,
            "abandonment_message": None,
        },
        range(some(200)),
    ),
    (CLIENTS[1], "survey"): (
        {"purpose": "survey", "mode": "progressive", "questionnaire_id": "q-1"},
        range(some(100), some(600)),
    ),
}
"""Their settings, and of which numbers they have leads: many are on several lists."""
DEBTS = {key: DEBT for key in CAMPAIGNS if key[1].startswith("debt")}


class Persistent(Dialled):
    """Asks until there is an answer, with one key, so that it is done once."""

    async def ask(self, method: str, url: str, body: Any = None) -> dict[str, Any]:
        headers = self.headers | {"Idempotency-Key": uuid4().hex}
        for attempt in itertools.count():
            try:
                answer = await self.http.request(method, url, json=body, headers=headers)
            except httpx.TransportError:
                answer = None
            if answer is not None and answer.status_code < 500:
                assert answer.is_success, f"{method} {url}: {answer.status_code} {answer.text}"
                found: dict[str, Any] = answer.json()
                return found
            assert answer is None or answer.status_code == 503, answer.text
            assert attempt < 600, f"no answer: {method} {url}"
            await asyncio.sleep(0.2)
        raise AssertionError


@dataclass
class Run:
    """numbers: of leads. forbidden: when it was accepted, by client and number."""

    services: Stack
    centres: dict[str, Persistent]
    numbers: dict[tuple[str, str], Number] = field(default_factory=dict)
    forbidden: dict[tuple[str, str], int] = field(default_factory=dict)
    kills: Counter[str] = field(default_factory=Counter)

    async def open(self) -> None:
        for centre in self.centres.values():
            await centre.agents(AGENTS, offer_seconds=5)
            await centre.forbid(["+12125559999"])
        for (client_id, campaign_id), (settings, indexes) in CAMPAIGNS.items():
            more = {"questionnaire_id": None} | settings | {"stop_when_exhausted": False}
            more["recycling"] = {"attempts": 9, "attempts_per_number": 9, "results": AGAIN}
            await self.centres[client_id].campaign(campaign_id, **more)
            called = [open_number(index) for index in indexes]
            called += [closed_number(index) for index in range(20)]
            await self._import(client_id, campaign_id, called)
            await self.centres[client_id].start(campaign_id)

    async def _import(self, client_id: str, campaign_id: str, called: list[Number]) -> None:
        centre = self.centres[client_id]
        plan = {"import_id": campaign_id, "list_id": campaign_id, "campaign_id": campaign_id}
        imports = f"{centre.dialer}/lead-imports"
        await centre.ask("POST", imports, plan | {"header": ["phone"]})
        for part, first in enumerate(range(0, len(called), LINES)):
            some = enumerate(called[first : first + LINES], first + 2)
            rows = [[line, [each.number]] for line, each in some]
            path = f"{imports}/{campaign_id}/parts/{part}"
            answer = await centre.ask("PUT", path, {"rows": rows})
            assert answer["counts"]["added"] == len(rows), answer
        # A line is the same lead, however often it is imported.
        for line, each in enumerate(called, 2):
            lead_id = derived_id(client_id, "lead-import", campaign_id, line)
            self.numbers[client_id, lead_id] = each

    async def kill_in_turns(self) -> None:
        end = time.monotonic() + SECONDS
        for names, pause in itertools.cycle(TURNS):
            for name in names:
                await asyncio.to_thread(self.services.kill, name)
                self.kills[name] += 1
            await asyncio.to_thread(self.services.start, names)
            if time.monotonic() > end and len(self.kills) == len(
                {n for ns, _ in TURNS for n in ns}
            ):
                return
            await asyncio.sleep(pause)

    async def revoke(self) -> None:
        """One way or the other, until cancelled."""
        chance = random.Random(3)
        purposes = {CLIENTS[0]: ("payment-reminder", "information"), CLIENTS[1]: ("survey",)}
        open_ones = sorted({(key[0], each.number) for key, each in self.numbers.items()})
        chance.shuffle(open_ones)
        for client_id, address in open_ones:
            centre = self.centres[client_id]
            if chance.random() < 0.5:
                body: dict[str, Any] = {"add": [{"address": address}]}
                path = f"{centre.crm}/do-not-call-lists/ours/numbers"
                await centre.ask("POST", path, body)
            else:
                for purpose in purposes[client_id]:
                    body = {"channel": "voice", "purpose": purpose, "address": address}
                    await centre.ask("POST", f"{centre.crm}/consents/withdraw", body)
            self.forbidden[client_id, address] = now_us()
            await asyncio.sleep(REVOKED_EVERY_S)

    async def come_back(self, kafka: str) -> None:
        """Agents whose offers had expired say that they are there again, until cancelled."""
        consumer = AIOKafkaConsumer(bootstrap_servers=kafka)
        await consumer.start()
        try:
            topic = "agent-events"
            consumer.assign([TopicPartition(topic, n) for n in range(PARTITIONS[topic])])
            await consumer.seek_to_end()
            pools = {centre.pool_id: centre for centre in self.centres.values()}
            while True:
                for records in (await consumer.getmany(timeout_ms=500)).values():
                    for record in records:
                        event = routing_ledger.decoded(AgentEvent, record.value)
                        if event is None or event.pool_id not in pools:
                            continue
                        if event.WhichOneof("body") == "stopped_responding":
                            centre = pools[event.pool_id]
                            url = f"{centre.routing}/v1/agents/{event.agent_id}/available"
                            await centre.ask("POST", url, {"pool_id": event.pool_id})
        finally:
            await consumer.stop()


def open_number(index: int) -> Number:
    found = number(index)
    if found.startswith("+44"):
        return Number(found, "Europe/London", 9, 20)
    zone = next(zone for zone, area in AREAS.items() if found.startswith(f"+1{area}"))
    return Number(found, zone)


def closed_number(index: int) -> Number:
    """Of a place where it is night."""
    now = datetime.now(UTC)
    areas = {zone: f"+1{area}{3_340_000 + index}" for zone, area in AREAS.items()}
    areas["Europe/Paris"] = f"+3314268{5_000 + index}"
    zone = next(zone for zone in areas if not 7 <= now.astimezone(ZoneInfo(zone)).hour < 22)
    return Number(areas[zone], zone)


@pytest.fixture(scope="module")
def running(
    stack: Engines, services: Stack, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stack]:
    if stack.broker is Broker.TANSU:
        pytest.skip("Tansu needs minutes to give away the partitions of a worker that was killed")

    def s(median_s: float, sigma: float = 0.4) -> dict[str, float]:
        return {"median_s": median_s, "sigma": sigma}

    world = scenario(
        tmp_path_factory.mktemp("carrier") / "scenario.json",
        speed=SPEED,
        numbers={"unobtainable": 0.03, "fax": 0.02, "machine": 0.4},
        setup=s(1),
        rings=s(6),
        machine_rings=s(9),
        greeting=s(3),
        machine_greeting=s(5),
        detection={"takes": s(1), "human_as_machine": 0.02, "machine_as_human": 0.05},
        patience=s(60),
        talk=s(15),
        machine_talk=s(4),
        message=s(10),
        callback=0.1,
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RELAIS_CARRIER_SCENARIO", str(world))
        # A worker that was killed has its partitions back when it comes back.
        patch.setenv("RELAIS_GROUP_INSTANCE", "one")
        patch.setenv("RELAIS_ROUTING_SESSION_S", "6")
        services.start(PROCESSES)
        yield services


async def quiet(database: str, clients: list[str]) -> None:
    """Until no attempt is open, and everything is published."""
    deadline = time.monotonic() + QUIET_S
    connection = await asyncpg.connect(database)
    try:
        while True:
            left = await connection.fetchval(
                "SELECT count(*) FROM attempts WHERE ended_at IS NULL AND client_id = ANY ($1)",
                clients,
            )
            unpublished = await connection.fetchval(
                "SELECT count(*) FROM events WHERE sequence IS NULL"
            )
            if not left and not unpublished:
                break
            assert time.monotonic() < deadline, f"{left} attempts are open, {unpublished} events"
            await asyncio.sleep(0.5)
    finally:
        await connection.close()
    # The relay's last batch, and routing's last decisions.
    await asyncio.sleep(5)


def talked(routing: routing_ledger.Ledger) -> set[str]:
    return {
        stream
        for stream, facts in routing.calls.items()
        if any(fact.body == "connected" for fact in facts)
    }


@pytest.mark.timeout(SECONDS + 600)
async def test_nothing_is_dialled_twice_and_nothing_is_stuck(
    stack: Engines, running: Stack, request: pytest.FixtureRequest
) -> None:
    async with (
        dialled(running, stack.kafka, CLIENTS[0]) as one,
        dialled(running, stack.kafka, CLIENTS[1]) as other,
    ):
        centres = {
            each.client_id: Persistent(**{name: getattr(each, name) for name in vars(each)})
            for each in (one, other)
        }
        run = Run(running, centres)
        await run.open()
        began = time.monotonic()
        background = [
            asyncio.create_task(run.come_back(stack.kafka)),
            asyncio.create_task(run.revoke()),
        ]
        await run.kill_in_turns()
        killed_for = time.monotonic() - began
        await asyncio.sleep(5)
        background[1].cancel()
        for client_id, campaign_id in CAMPAIGNS:
            centre = centres[client_id]
            await centre.ask("POST", f"{centre.dialer}/campaigns/{campaign_id}/stop")
        database = database_url(stack.postgres, "dialer")
        await quiet(database, list(CLIENTS))
        for task in background:
            task.cancel()
        for outcome in await asyncio.gather(*background, return_exceptions=True):
            assert outcome is None or isinstance(outcome, asyncio.CancelledError), outcome

        ledger = Ledger(frozenset(CLIENTS))
        await ledger.read(stack.kafka, running.settings.home / "carrier" / "journal.sqlite3")
        live = {
            key: await centres[key[0]].ask(
                "GET", f"{centres[key[0]].dialer}/campaigns/{key[1]}/live"
            )
            for key in CAMPAIGNS
        }

    ledger.check_carrier()
    results = ledger.check_attempts()
    stands = ledger.check_leads(run.numbers)
    ledger.check_rules(run.numbers, run.forbidden, DEBTS)
    events = await ledger.check_store(database)
    for key, view in live.items():
        attempts, of_results = ledger.totals(key)
        assert view["open"] == 0, key
        assert view["attempts"] == attempts, key
        assert view["results"] == of_results, key
    routing = routing_ledger.Ledger(set(CLIENTS), {each.pool_id for each in centres.values()})
    await routing.read(stack.kafka)
    outcomes = routing.outcomes(set(routing.calls))
    routing.check_calls()
    connected = {
        f"{client_id}/{attempt_id}"
        for (client_id, attempt_id), attempt in ledger.attempts.items()
        if attempt.result == a.RESULT_CONNECTED
    }
    assert talked(routing) == connected
    tell(
        request.config,
        f"{sum(run.kills.values())} kills in {killed_for:.0f} s: {dict(run.kills)}",
        f"{len(ledger.attempts)} attempts of {len(run.numbers)} leads: {dict(results)}",
        f"leads at the end: {dict(stands)}",
        f"{len(run.forbidden)} revocations; {events} events, {ledger.repeats} published again",
        f"calls in routing: {dict(outcomes)}; {len(routing.letters)} reports came too late",
    )
    assert min(run.kills.values()) >= 1
    assert results["connected"] > 0
    assert results["not_dialled"] + results["carrier_error"] > 0
    assert len(ledger.attempts) > len(run.numbers) / 4
