"""A partner follows a client's orders while everything breaks: his line, his program (SIGKILL), our
API, our relay, PostgreSQL. He gets every event at least once, in order per order, and can prove
that none is missing; and the proof fails where one is."""

import asyncio
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from eventkit.callers import Role
from relaisctl.stack import Stack
from tests.integration.conftest import ROOT, Engines, token_of
from tests.integration.orders_partner import MISSING
from tests.integration.orders_support import Shop, published, shop

PROCESSES = ["orders-api", "orders-relay"]
WRITERS = 6
SECONDS = 40.0
KILLS = 6
"""Of ours, at least. The partner's program is killed more often: it is back sooner."""
CATCH_UP_S = 120.0

Line = dict[str, Any]


@pytest.fixture(scope="module")
def running(stack: Engines, services: Stack) -> Stack:
    services.start(PROCESSES)
    return services


@dataclass
class Partner:
    """Whoever starts the partner's program, and reads its record."""

    services: Stack
    client_id: str
    record: Path
    subscriber: str = "erp"
    seeds: "itertools.count[int]" = field(default_factory=itertools.count)

    def start(self, *options: str) -> "subprocess.Popen[str]":
        ports = self.services.settings.ports
        address = f"127.0.0.1:{ports.orders_grpc}"
        token = token_of(self.services, [self.client_id], Role.PARTNER)
        module = "tests.integration.orders_partner"
        return subprocess.Popen(
            [
                *(sys.executable, "-m", module, address, self.client_id),
                *(self.subscriber, str(self.record), f"--seed={next(self.seeds)}", *options),
            ],
            cwd=ROOT,
            env=os.environ | {"PARTNER_TOKEN": token},
            stderr=subprocess.PIPE,
            text=True,
        )

    def is_at_it(self, program: "subprocess.Popen[str]") -> None:
        """Wait until it has begun a stream, or ended, or for long enough."""
        seen, deadline = len(self.lines()), time.monotonic() + 20
        while len(self.lines()) == seen and program.poll() is None:
            if time.monotonic() > deadline:
                return
            time.sleep(0.05)

    def run(self, *options: str) -> tuple[int, str]:
        """Its exit code, and its last words."""
        program = self.start(*options)
        try:
            _, said = program.communicate(timeout=CATCH_UP_S)
        finally:
            program.kill()
        return program.returncode, said

    def lines(self) -> list[Line]:
        """Only whole ones: it may be writing."""
        whole = self.record.read_bytes() if self.record.exists() else b""
        return [json.loads(line) for line in whole[: whole.rfind(b"\n") + 1].splitlines()]

    def updates(self) -> list[Line]:
        return [line for line in self.lines() if "position" in line]


@dataclass
class Run:
    over: bool = False
    kills: Counter[str] = field(default_factory=Counter)


async def events_of(customers: Shop) -> int:
    """How many its orders have."""
    return sum([row["version"] for row in await customers.listed("/orders")])


async def write(customers: Shop, run: Run, writer: int) -> None:
    """Orders one after the other, and what becomes of them."""
    rng = random.Random(writer)
    for number in itertools.count():
        if run.over:
            return
        id = f"o-{writer}-{number}"
        await customers.place(id)
        match rng.randrange(4):
            case 0:
                body = {"reason": "changed-mind", "by": "customer", "text": "Too dear."}
                await customers.post(f"/orders/{id}/cancel", f"cancel-{id}", body)
            case 1:
                body = {"reference": f"ERP-{id}"}
                await customers.post(f"/orders/{id}/confirm", f"confirm-{id}", body)
                await customers.post(f"/orders/{id}/fulfil", f"fulfil-{id}")


async def kill_services(services: Stack, engines: Stack | None, run: Run) -> None:
    """In turn; PostgreSQL too, where the engines can be killed."""
    rng = random.Random(8)
    names = itertools.cycle([*PROCESSES, *PROCESSES, *(["postgres"] if engines else [])])
    while not run.over:
        await asyncio.sleep(rng.uniform(0.5, 2.0))
        name = next(names)
        stack, back = (services, PROCESSES) if name in PROCESSES else (engines, [name])
        assert stack is not None
        await asyncio.to_thread(stack.kill, name)
        run.kills[name] += 1
        await asyncio.sleep(rng.uniform(0.0, 0.5))
        await asyncio.to_thread(stack.start, back)


async def kill_partner(partner: Partner, run: Run) -> None:
    rng = random.Random(9)
    while not run.over:
        program = await asyncio.to_thread(partner.start, "--breaks", "--window=50")
        try:
            # Its start takes a second or more, and nothing happens in it.
            await asyncio.to_thread(partner.is_at_it, program)
            await asyncio.sleep(rng.uniform(0.0, 2.0))
            assert program.poll() is None, (
                f"it has ended: {program.stderr and program.stderr.read()}"
            )
        finally:
            program.send_signal(signal.SIGKILL)
            program.communicate()
        run.kills["partner"] += 1


@pytest.mark.timeout(600)
async def test_each_at_least_once_in_order_and_none_missing(
    stack: Engines, running: Stack, tmp_path: Path
) -> None:
    client_id = "orders-partner"
    partner = Partner(running, client_id, tmp_path / "record")
    run = Run()
    async with (
        shop(running, stack.kafka, client_id) as customers,
        shop(running, stack.kafka, f"{client_id}-other") as others,
    ):
        await customers.open()
        await others.open()
        began = time.monotonic()
        tasks = [
            asyncio.create_task(kill_services(running, stack.local, run)),
            asyncio.create_task(kill_partner(partner, run)),
            *(asyncio.create_task(write(customers, run, writer)) for writer in range(WRITERS)),
            asyncio.create_task(write(others, run, 99)),
        ]
        while (
            time.monotonic() - began < SECONDS or sum(map(run.kills.get, PROCESSES, (0, 0))) < KILLS
        ):
            await asyncio.sleep(0.5)
            for task in tasks:
                if task.done():
                    task.result()
        run.over = True
        await asyncio.gather(*tasks)

        orders = {row["order_id"]: row for row in await customers.listed("/orders")}
        kept = {id: await customers.history(id) for id in orders}
        total = sum(map(len, kept.values()))
        code, said = await asyncio.to_thread(partner.run, f"--until={total}")
        assert (code, said) == (0, "")

    topic, published_again = await published(stack.kafka, client_id, total)
    lines, updates = partner.lines(), partner.updates()
    again = sum("again" in line for line in lines)
    print(
        f"{len(orders)} orders, {total} events in {time.monotonic() - began:.0f} s;"
        f" kills: {dict(run.kills)}; {sum('began' in line for line in lines)} streams,"
        f" {dict(Counter(line['broke'] for line in lines if 'broke' in line))},"
        f" {again} updates came again; {published_again} published again,"
        f" {customers.asked_again} requests asked again"
    )

    # Every event, once on record, in a chain from the first one on.
    assert len(updates) == total
    positions = [update["position"] for update in updates]
    assert positions == sorted(set(positions))
    assert [update["previous"] for update in updates] == [0, *positions[:-1]]
    seen: dict[str, list[Line]] = {}
    for update in updates:
        seen.setdefault(update["order_id"], []).append(update)
    for order_id, of in seen.items():
        assert [update["version"] for update in of] == list(range(1, len(of) + 1))
        # ... which are those of the topic, and of the order itself.
        assert [update["event_id"] for update in of] == [
            event.meta.event_id for event in topic[order_id]
        ]
        assert [update["body"] for update in of] == [
            event.WhichOneof("body") for event in topic[order_id]
        ]
        assert len(of) == len(kept[order_id]) == orders[order_id]["version"]
    assert seen.keys() == orders.keys() == topic.keys()
    # And it was not a quiet day.
    killed = [*PROCESSES, "partner", *(["postgres"] if stack.local else [])]
    assert min(run.kills[name] for name in killed) > 0
    assert sum("began" in line for line in lines) > run.kills["partner"]
    assert again > 0


@pytest.mark.timeout(300)
async def test_what_is_missing_is_noticed(stack: Engines, running: Stack, tmp_path: Path) -> None:
    client_id = "orders-missing"
    async with shop(running, stack.kafka, client_id) as customers:
        await customers.open()
        for number in range(3):
            await customers.place(f"o-{number}")
        before = await events_of(customers)
        # One that is lost on the line.
        deaf = Partner(running, client_id, tmp_path / "deaf", "deaf")
        code, said = await asyncio.to_thread(deaf.run, f"--until={before}", "--lose=7")
        assert code == MISSING
        assert len(deaf.updates()) == 6
        positions = [update["position"] for update in deaf.updates()]
        assert f"missing: after {positions[-1]} comes" in said

        # One that is lost from the partner's own record, after it was acknowledged.
        partner = Partner(running, client_id, tmp_path / "record")
        assert await asyncio.to_thread(partner.run, f"--until={before}") == (0, "")
        *rest, last = partner.record.read_bytes().splitlines(keepends=True)
        assert json.loads(last)["position"] == partner.updates()[-1]["position"]
        partner.record.write_bytes(b"".join(rest))
        await customers.place("o-3")
        total = await events_of(customers)
        code, said = await asyncio.to_thread(partner.run, f"--until={total}")
        assert code == MISSING
        assert f"names {json.loads(last)['position']}" in said
        # Then he says himself where to go on.
        options = [f"--until={total}", "--from-record"]
        assert await asyncio.to_thread(partner.run, *options) == (0, "")
        updates = partner.updates()
        assert len(updates) == total > before
        assert [update["previous"] for update in updates] == [
            0,
            *(update["position"] for update in updates[:-1]),
        ]
