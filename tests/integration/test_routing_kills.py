"""routing under SIGKILL: a worker is killed every five seconds for three minutes, at 100 calls
a second, and each call ends in exactly one way.

Two workers hold the partitions and are killed in turns, as they are deployed: each has a name that
outlives it. A third one joins in the middle and leaves again, so that partitions move twice. What
was decided is then told by the topics alone, and proved once more by `relaisctl replay-pool`.
"""

import asyncio
import json
import os
import statistics
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from eventkit.clock import SystemClock
from eventkit.producer import partition_of
from relaisctl.clients import Client, register
from relaisctl.stack import Broker, Ports, Stack
from services.routing.tests.support import Running
from tests.integration.conftest import ROOT, Engines, tell
from tests.integration.routing_centre import PARTITIONS, Centre
from tests.integration.routing_ledger import Ledger

CLIENTS = ("kills-a", "kills-b")
POOLS = {f"kills-{number}": CLIENTS[number % 2] for number in range(6)}
AGENTS = 70
"""Of each pool."""
RATE = 100.0
SECONDS = 180.0
EVERY_S = 5.0
JOINS_AFTER, LEAVES_AFTER = 12, 20
"""Kills, until a third worker comes and goes."""
READY_S, QUIET_S = 120.0, 240.0
LONGEST_S = 60.0
"""A new holder must have continued by then, on the slowest machine."""
COMMANDS = "routing-commands"


@dataclass
class Workers:
    kafka: str
    folder: Path
    running: dict[str, Running] = field(default_factory=dict)
    kills: list[int] = field(default_factory=list)
    """When, in milliseconds since 1970."""

    async def start(self, name: str, **environment: str) -> None:
        port = Ports.free().routing_worker_health
        self.running[name] = Running(
            "worker",
            {
                "RELAIS_KAFKA": self.kafka,
                "RELAIS_HEALTH_PORT": str(port),
                "RELAIS_ROUTING_SESSION_S": "6",
                # Less comes again than with the default, and needs to be read.
                "RELAIS_ROUTING_SNAPSHOT_EVERY": "4000",
                **environment,
            },
            f"http://127.0.0.1:{port}",
            self.folder / name,
        )
        await asyncio.to_thread(self.running[name].start)

    async def ready(self, name: str) -> None:
        end = time.monotonic() + READY_S
        while not await asyncio.to_thread(self.running[name].is_ready):
            assert time.monotonic() < end, f"{name} is not ready after {READY_S:g} s"
            await asyncio.sleep(0.1)

    async def kill(self, name: str) -> None:
        """And start it again at once."""
        self.kills.append(time.time_ns() // 1_000_000)
        await asyncio.to_thread(self.running[name].kill)
        await asyncio.to_thread(self.running[name].start)

    def stop(self) -> dict[str, int]:
        return {name: worker.stop() for name, worker in self.running.items()}


@pytest.fixture(scope="module")
def workers(stack: Engines, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workers]:
    if stack.broker is Broker.TANSU:
        pytest.skip("Tansu needs minutes to give away the partitions of a worker that was killed")
    workers = Workers(stack.kafka, tmp_path_factory.mktemp("workers"))
    yield workers
    for worker in workers.running.values():
        if worker.popen is not None and worker.popen.poll() is None:
            worker.kill()


@pytest.mark.timeout(1200)
async def test_every_call_ends_once(
    stack: Engines, services: Stack, workers: Workers, request: pytest.FixtureRequest
) -> None:
    began = time.monotonic()
    for client_id in CLIENTS:
        await register(stack.kafka, Client(client_id, "Kills", "Europe/Paris"), SystemClock())
    await asyncio.to_thread(services.start, ["routing-api"])
    for name in ("one", "two"):
        await workers.start(name, RELAIS_GROUP_INSTANCE=name)
    await asyncio.gather(*(workers.ready(name) for name in ("one", "two")))

    centre = Centre(f"127.0.0.1:{services.settings.ports.routing_grpc}", POOLS, AGENTS, seed=17)
    address = services.addresses["routing-api"]
    async with httpx.AsyncClient(base_url=address, timeout=60, trust_env=False) as http:
        await centre.configure(http)
    over = asyncio.Event()
    playing = asyncio.create_task(centre.run(stack.kafka, RATE, over))
    played = await kill_in_turns(workers, playing)
    over.set()
    came = len(centre.customers)
    await until_quiet(centre, playing, stack.kafka)
    playing.cancel()
    await asyncio.wait([playing])
    assert workers.stop() == {"one": 0, "two": 0, "three": 0}
    assert centre.figures.refused == []

    quiet = time.monotonic() - began
    ledger = Ledger(set(CLIENTS), set(POOLS))
    await ledger.read(stack.kafka)
    assert len(centre.acknowledged) == came
    outcomes = ledger.outcomes(centre.acknowledged)
    ledger.check_agents(ledger.check_calls())
    assert ledger.unexpected_letters() == []
    gaps = continued(ledger, workers.kills)
    lines = [
        f"{came} calls in {played:.0f} s ({came / played:.0f} a second,"
        f" {centre.figures.held_back} held back): {dict(outcomes)}",
        f"{len(workers.kills)} kills, {ledger.repeats} events published again of"
        f" {sum(map(len, ledger.calls.values())) + sum(map(len, ledger.agents.values()))},"
        f" {len(ledger.letters)} came too late: {late(ledger)}",
        f"from a kill until a new holder has decided in all its partitions: median"
        f" {statistics.median(gaps):.1f} s, longest {max(gaps):.1f} s",
    ]
    lines += await replayed(stack.kafka)
    lines.append(
        f"{time.monotonic() - began:.0f} s in all, of which {quiet:.0f} s until it was quiet"
    )
    tell(request.config, *lines)

    assert set(outcomes) == {"answered", "abandoned", "overflowed"}
    assert len(workers.kills) > LEAVES_AFTER
    assert ledger.repeats > 0
    assert max(gaps) < LONGEST_S


async def kill_in_turns(workers: Workers, playing: "asyncio.Task[None]") -> float:
    """Returns how many seconds it has taken. Who has not come back yet is not killed again."""
    began = time.monotonic()
    number = 0
    while time.monotonic() - began < SECONDS or number <= LEAVES_AFTER:
        await asyncio.sleep(max(0.0, began + (number + 1) * EVERY_S - time.monotonic()))
        if playing.done():
            playing.result()
        victim = ("one", "two")[number % 2]
        await workers.ready(victim)
        await workers.kill(victim)
        number += 1
        if number == JOINS_AFTER:
            # Without a name that outlives it: it leaves as soon as it ends.
            await workers.start("three")
        elif number == LEAVES_AFTER:
            await workers.ready("three")
            assert await asyncio.to_thread(workers.running["three"].stop) == 0
    return time.monotonic() - began


async def until_quiet(centre: Centre, playing: "asyncio.Task[None]", kafka: str) -> None:
    end = time.monotonic() + QUIET_S
    while not centre.quiet:
        if playing.done():
            playing.result()
        if time.monotonic() > end:
            left = [each for each in centre.customers.values() if not each.over]
            ledger = Ledger(set(CLIENTS), set(POOLS))
            await ledger.read(kafka)
            stories = [f"{ledger.story(each.stream_id)}\n{each}" for each in left[:5]]
            pytest.fail(
                f"{len(left)} calls have not ended, {centre.line.unanswered} reports are not"
                f" acknowledged:\n" + "\n".join(stories)
            )
        await asyncio.sleep(0.2)
    # The last wrap-ups are nobody's report.
    await asyncio.sleep(3)


def continued(ledger: Ledger, kills: list[int]) -> list[float]:
    """Seconds from each kill until something new was decided in every partition."""
    decided: defaultdict[int, list[int]] = defaultdict(list)
    for facts in ledger.agents.values():
        for fact in facts:
            partition = partition_of(fact.pool_id.encode(), PARTITIONS[COMMANDS])
            decided[partition].append(fact.written_at)
    gaps = []
    for kill in kills:
        firsts = [min(at for at in times if at > kill) for times in decided.values()]
        gaps.append((max(firsts) - kill) / 1000)
    return gaps


def late(ledger: Ledger) -> dict[str, int]:
    return dict(Counter(str(command.WhichOneof("body")) for command, _ in ledger.letters))


async def replayed(kafka: str) -> list[str]:
    """What the operator's command says of each pool: two at a time."""
    free = asyncio.Semaphore(2)

    async def replay(pool: str) -> tuple[int, str, str]:
        command = [sys.executable, "-m", "relaisctl", "replay-pool", pool, "--format", "json"]
        async with free:
            done = await asyncio.to_thread(
                subprocess.run,
                command,
                env=os.environ | {"RELAIS_KAFKA": kafka, "PYTHONPATH": f"{ROOT}:{ROOT / 'proto'}"},
                capture_output=True,
                text=True,
            )
        return done.returncode, done.stdout, done.stderr

    total: Counter[str] = Counter()
    for pool, (code, out, errors) in zip(
        POOLS, await asyncio.gather(*map(replay, POOLS)), strict=True
    ):
        assert code == 0, f"{pool}: {out[:10_000]}{errors}"
        answer = json.loads(out)
        assert answer["identical"] is True
        assert answer["counts"]["not_yet_published"] == 0
        total.update({name: n for name, n in answer["counts"].items() if isinstance(n, int)})
    return [f"replay-pool of {len(POOLS)} pools: identical; {dict(total)}"]
