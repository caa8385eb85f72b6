"""Routing's decisions on a real broker: told in words, and proved after SIGKILLs.

A few hundred calls are reported blindly, so that some reports are refused; nobody answers some
offers, and timers, overflow and another pool do their part. The worker is killed meanwhile, and
restores from snapshots.
"""

import asyncio
import json
import os
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from relais.calls.v1.events_pb2 import CallEvent
from typer.testing import CliRunner

from eventkit.clock import SystemClock, rfc3339
from eventkit.producer import Producer
from eventkit.records import Message
from eventkit.topictable import find_partitions, read_partition
from relaisctl.__main__ import app
from relaisctl.clients import Client, register
from relaisctl.errors import BAD_INPUT, UNREACHABLE
from relaisctl.stack import Broker, Ports
from services.routing import codec
from services.routing import commands as c
from services.routing.configuration import Overflow, Queue, Step
from services.routing.tests.support import Running
from tests.integration.conftest import Engines

pytestmark = pytest.mark.timeout(400)

CLIENT = "told"
POOL, OTHER = "told-main", "told-other"
CALLS, AGENTS, KILLS = 300, 12, 3
SETTLED_S = 120.0


@dataclass
class Told:
    """middle: a moment of the play, with commands before and after it."""

    kafka: str
    middle: str = ""


def told(pool: str, body: c.Body) -> Message:
    now = SystemClock().now_us()
    client = CLIENT if isinstance(body, c.CallCommand | c.ClientCommand) else c.CENTRE
    command = c.command_for(
        pool,
        body,
        command_id=codec.command_id(pool, client, now, body),
        client_id=client,
        occurred_at=now,
        recorded_at=now,
        actor="pbx-1",
    )
    return Message("routing-commands", pool.encode(), codec.encode_command(command))


def opening() -> Iterator[Message]:
    for pool in (POOL, OTHER):
        yield told(pool, c.ConfigurePool(offer_seconds=2, wrap_up_seconds=1, missed_offers=2))
        for number in range(AGENTS):
            agent = f"{pool}-a{number}"
            yield told(pool, c.LogInAgent(agent, (("fr", 1 + number % 4),), site="lyon"))
            yield told(pool, c.MakeAgentAvailable(agent))
    steps = (
        Step(2, Overflow.RELAX_SKILL, "fr", 1),
        Step(5, Overflow.MOVE_TO_POOL, pool_id=OTHER, queue_id="all"),
    )
    yield told(POOL, c.ConfigureQueue(Queue("cards", steps=steps)))


def reports(number: int, rng: random.Random) -> Iterator[c.Body]:
    """What is said about one call, in order, whether it makes sense or not."""
    call = f"c-{number}"
    yield c.ReportCallArrived(call, c.Channel.VOICE, c.Direction.INBOUND, "l1", f"k-{number % 40}")
    yield c.QueueCall(call, "cards", rng.randrange(3), (("fr", rng.randrange(1, 6)),))
    if rng.random() < 0.1:
        yield c.ReportCallAbandoned(call)
        return
    if rng.random() < 0.15:
        return  # Nobody answers; timers decide what comes.
    yield c.ReportCallConnected(call)
    yield c.ReportCallHeld(call)
    yield c.ReportCallResumed(call)
    agent = f"{POOL}-a{rng.randrange(AGENTS)}"
    yield rng.choice(
        (c.TransferCall(call, agent, "all"), c.RequestHelp(call, agent), c.LeaveCall(call, agent))
    )
    yield c.ReportCallEnded(call)
    yield c.MakeAgentAvailable(agent)


async def play(kafka: str, worker: Running) -> str:
    """Returns a moment in the middle."""
    rng = random.Random(11)
    await register(kafka, Client(CLIENT, "Told", "Europe/Paris"), SystemClock())
    middle = ""
    async with Producer(kafka) as producer:
        await producer.send_many(list(opening()))
        for number in range(CALLS):
            for body in reports(number, rng):
                message = told(POOL, body)
                # Nobody minds a report that comes twice.
                for _ in range(rng.choice((1, 1, 1, 2))):
                    await producer.deliver(message)
            if number % (CALLS // (KILLS + 1)) == CALLS // (KILLS + 1) - 1 and number < CALLS - 1:
                await asyncio.sleep(3)
                worker.kill()
                worker.start()
                middle = middle or rfc3339(SystemClock().now_us())
    return middle


@pytest.fixture(scope="module")
def centre(stack: Engines, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    if stack.broker is Broker.TANSU:
        pytest.skip("Tansu needs minutes to give away the partitions of a worker that was killed")
    port = Ports.free().routing_worker_health
    worker = Running(
        "worker",
        {
            "RELAIS_KAFKA": stack.kafka,
            "RELAIS_HEALTH_PORT": str(port),
            "RELAIS_GROUP_INSTANCE": "one",
            "RELAIS_ROUTING_SNAPSHOT_EVERY": "200",
            "RELAIS_ROUTING_SESSION_S": "6",
        },
        f"http://127.0.0.1:{port}",
        tmp_path_factory.mktemp("decisions") / "log",
    )
    worker.start()
    try:
        middle = asyncio.run(play(stack.kafka, worker))
        settle(Told(stack.kafka))
        yield Told(stack.kafka, middle)
    finally:
        worker.stop()


def settle(told: Told) -> None:
    """Until everything that was decided is published, and no timer is left."""
    until, before = time.monotonic() + SETTLED_S, -1
    while True:
        _, found = run(told, "replay-pool", POOL)
        commands = found["counts"]["commands"]
        if found["counts"]["not_yet_published"] == 0 and commands == before:
            return
        assert time.monotonic() < until, found
        before = commands
        time.sleep(3)


def run(told: Told, *arguments: str, kafka: str = "") -> tuple[int, Any]:
    """relaisctl's exit code, and the document that it prints."""
    environment = {**os.environ, "RELAIS_KAFKA": kafka or told.kafka}
    done = CliRunner().invoke(app, [*arguments, "--format", "json"], env=environment)
    try:
        return done.exit_code, json.loads(done.stdout)
    except json.JSONDecodeError:
        return done.exit_code, done.output


async def events(kafka: str) -> dict[str, list[CallEvent]]:
    """All of the client's call events, by call."""
    found: dict[str, list[CallEvent]] = {}
    for where in await find_partitions(kafka, ["call-events"]):
        async for chunk in read_partition(kafka, where.topic, where.partition):
            for record in chunk:
                if (record.key or b"").startswith(f"{CLIENT}/".encode()):
                    event = CallEvent.FromString(record.value or b"")
                    found.setdefault(event.call_id, []).append(event)
    return found


def test_decisions_are_identical_after_kills(centre: Told) -> None:
    for pool in (POOL, OTHER):
        code, found = run(centre, "replay-pool", pool)
        assert code == 0, json.dumps(found, indent=1)
        assert found["identical"]
        assert found["counts"]["decisions"] == found["counts"]["identical"] > 100
        assert found["counts"]["commands"] == found["counts"]["replayed"]
    _, found = run(centre, "replay-pool", POOL)
    assert found["counts"]["refused"] > 0
    assert found["counts"]["without_effect"] > 0
    assert found["counts"]["published_again"] > 0, "a new holder publishes the tail again"


def test_a_part_of_the_log(centre: Told) -> None:
    _, whole = run(centre, "replay-pool", POOL)
    parts = [
        run(centre, "replay-pool", POOL, *window)
        for window in (("--to", centre.middle), ("--from", centre.middle))
    ]
    assert [code for code, _ in parts] == [0, 0]
    decisions = [found["counts"]["decisions"] for _, found in parts]
    assert min(decisions) > 0
    assert sum(decisions) == whole["counts"]["decisions"]


def test_every_call_has_a_story(centre: Told) -> None:
    published, outcomes = asyncio.run(events(centre.kafka)), set()
    for number in range(0, CALLS, 15):
        code, story = run(centre, "explain", f"c-{number}")
        assert code == 0, story
        versions = [line["version"] for line in story["lines"] if line.get("version")]
        assert versions == sorted({event.meta.version for event in published[f"c-{number}"]})
        assert not [line for line in story["lines"] if "kind" not in line], "no hole, no doubt"
        outcomes.add(story["outcome"])
    assert len(outcomes) > 2


def test_a_story_in_words(centre: Told) -> None:
    done = CliRunner().invoke(
        app, ["explain", "c-0", "--client", CLIENT], env={"RELAIS_KAFKA": centre.kafka}
    )
    assert done.exit_code == 0
    assert f"call c-0 of {CLIENT}: " in done.stdout
    assert "arrived on voice, inbound, line l1, customer k-0" in done.stdout
    assert ", Europe/Paris" in done.stdout


def test_a_refused_report_is_in_the_story(centre: Told) -> None:
    told = (
        line["sentence"]
        for number in range(CALLS)
        for line in run(centre, "explain", f"c-{number}", "--client", CLIENT)[1]["lines"]
    )
    assert next(each for each in told if each.startswith("a report was refused: "))


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["explain", "nobody"], BAD_INPUT, "no call 'nobody'"),
        (["explain", "c-0", "--client", "nobody"], BAD_INPUT, "is not registered"),
        (["replay-pool", "nobody"], BAD_INPUT, "no command for a pool"),
        (["replay-pool", POOL, "--from", "noon"], BAD_INPUT, "is no moment"),
    ],
)
def test_what_is_not_there(centre: Told, arguments: list[str], code: int, says: str) -> None:
    found, output = run(centre, *arguments)
    assert (found, says in output) == (code, True), output


@pytest.mark.parametrize("arguments", [["explain", "c-0"], ["replay-pool", POOL]])
def test_without_kafka(centre: Told, arguments: list[str]) -> None:
    code, output = run(centre, *arguments, kafka="127.0.0.1:1")
    assert (code, "Kafka" in output) == (UNREACHABLE, True), output


# The last ones: from here on the log is not true any more.


async def forge(kafka: str, name: str, forged: dict[str, Any]) -> None:
    """An event of a call that has never left the pool once more, with other values."""
    event = next(
        event
        for of_call in (await events(kafka)).values()
        if not any(each.HasField("moved_to_pool") for each in of_call)
        for event in of_call
        if event.HasField(name)
    )
    for path, value in forged.items():
        *path_to, last = path.split(".")
        target: Any = event
        for part in path_to:
            target = getattr(target, part)
        setattr(target, last, value)
    message = Message("call-events", event.meta.stream_id.encode(), event.SerializeToString())
    async with Producer(kafka) as producer:
        await producer.deliver(message)


def test_an_altered_and_a_forged_event_are_found(centre: Told) -> None:
    asyncio.run(forge(centre.kafka, "offered", {"offered.agent_id": "mallory"}))
    code, found = run(centre, "replay-pool", POOL)
    assert code == 1
    assert found["counts"]["different"] == 1
    [difference] = found["differences"]
    [field] = difference["fields"]
    assert (field["field"], field["published"]) == ("offered.agent_id", "mallory")
    assert "offered, version" in difference["what"]

    forged = {"meta.version": 99, "meta.event_id": "forged", "meta.causation_id": "nobody"}
    asyncio.run(forge(centre.kafka, "connected", forged))
    code, found = run(centre, "replay-pool", POOL)
    assert (code, found["counts"]["different"], found["counts"]["extra"]) == (1, 1, 1)
    done = CliRunner().invoke(app, ["replay-pool", POOL], env={"RELAIS_KAFKA": centre.kafka})
    assert "NOT identical: 2 differences" in done.stdout
