"""Checks a second of "may client C call number N for purpose P now?": prints, asserts nothing.

    PYTHONPATH=.:proto python bench/contact.py [--entries 1000000] [--consents 200000] [--seconds 5]

PostgreSQL holds a million entries on four lists, two of the client's and two of the centre's, and
200,000 consents; half of the numbers asked for are on a list, and each question is another number.
Single checks go through the service, as the edges call it, with 1, 64 and 256 of them under way at
once; then as one gRPC stream. First the process that answers has core 0 and PostgreSQL the others;
then both share core 0. Rates are by the wall clock, which on a busy machine says little; so beside
them is what a check takes of the processor, this process's share and PostgreSQL's, and what that
makes a second of one core, without PostgreSQL and with it.
"""

import argparse
import asyncio
import itertools
import os
import random
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import psutil
import sqlalchemy as sa
from relais.customers.v1 import customer_service_pb2 as pb

from eventkit.callers import Callers
from eventkit.clock import SystemClock
from eventkit.eventstore import Cause, EventStore
from eventkit.keys import PostgresKeyRing, migrate_keys
from eventkit.postgres import make_engine, migrate
from eventkit.rpc import start_server
from relaisctl.stack import Ports, Stack
from relaisctl.stack.postgres import create_databases, database_url
from services.crm.consent import rpc, store
from services.crm.consent.donotcall import CENTRE, Kind, Settings
from services.crm.consent.service import Ask, Number, Services

CLIENT = "bench"
SERVICE = "relais.customers.v1.CustomerService"
CALLERS = Callers({"bench": b"b" * 32})
LISTS = (
    (CLIENT, "own", Settings("Own")),
    (CLIENT, "agreed", Settings("Agreed", purposes=("sales", "survey"))),
    (CENTRE, "register", Settings("Register", Kind.REGISTRY, max_age_days=31, required=True)),
    (CENTRE, "never", Settings("Never")),
)
CHUNK = 10_000


def number(n: int) -> str:
    return f"+336{n:08}"


class World:
    """A server of its own with the entries and consents, and crm's services over it."""

    def __init__(self, postgres: str, keys: str, postmaster: psutil.Process) -> None:
        self.postmaster = postmaster
        self.engine = make_engine(postgres)
        self._keys_engine = make_engine(keys)
        self.keys = PostgresKeyRing(self._keys_engine, {"bench": bytes(32)})
        self.store = EventStore(self.engine, self.keys, SystemClock())
        self.services = Services.of(self.store, lambda: uuid.uuid4().hex)

    async def load(self, entries: int, consents: int) -> None:
        """Numbers 0 to entries: on a list each, in turn, through the service. Consents as rows:
        twice as far apart, so that half of them are for numbers on a list."""
        started = time.perf_counter()
        for client_id, list_id, settings in LISTS:
            await self.services.lists.define(Cause(client_id, "bench"), list_id, settings)
        now = SystemClock().now_us()
        for position, first in enumerate(range(0, entries, CHUNK)):
            client_id, list_id, _ = LISTS[position % len(LISTS)]
            add = [Number(number(n)) for n in range(first, min(first + CHUNK, entries))]
            cause = Cause(client_id, "bench")
            await self.services.lists.change_numbers(cause, list_id, add, [], "bench", now)
        listed = time.perf_counter()
        # A register is loaded as a whole and never empty, or it would forbid everything.
        step = max(1, 2 * entries // max(1, consents))
        for first in range(0, consents, CHUNK):
            rows = []
            for n in range(first, min(first + CHUNK, consents)):
                hashed = await self.keys.index(CLIENT, f"tel:{number(n * step)}")
                rows.append(
                    {
                        "client_id": CLIENT,
                        "consent_id": store.consent_id(hashed, "voice", "sales"),
                        "address_hash": hashed,
                        "channel": "voice",
                        "purpose": "sales",
                        "customer_id": "",
                        "proof": "form",
                        "given_at": now,
                        "own_subject": "",
                        "version": 1,
                    }
                )
            async with self.engine.begin() as connection:
                await connection.execute(store.CONSENTS.insert(), rows)
        async with self.engine.connect() as connection:
            raw = (await connection.get_raw_connection()).driver_connection
            assert raw is not None
            await raw.execute("VACUUM (ANALYZE)", timeout=600)
            size = await connection.scalar(
                sa.text("SELECT pg_size_pretty(pg_total_relation_size('do_not_call_entries'))")
            )
        took = listed - started
        print(
            f"loaded   {entries:,} entries in {took:.0f} s ({entries / took:,.0f}/s, {size}),"
            f" {consents:,} consents in {time.perf_counter() - listed:.0f} s"
        )

    async def close(self) -> None:
        await self.store.close()
        await self.engine.dispose()
        await self._keys_engine.dispose()


def numbers(entries: int) -> Iterator[str]:
    rng = random.Random(1)
    while True:
        yield number(rng.randrange(2 * entries))


async def unary(world: World, entries: int, seconds: float, concurrency: int) -> None:
    """Single checks through the service."""
    asked = numbers(entries)
    purposes = itertools.cycle(("sales", "information"))
    waits: list[float] = []
    allowed = 0
    until = time.perf_counter() + seconds

    async def ask() -> None:
        nonlocal allowed
        while (before := time.perf_counter()) < until:
            ask = Ask(next(asked), "voice", next(purposes))
            verdict = await world.services.contacts.check(CLIENT, ask)
            allowed += verdict.allowed
            waits.append(time.perf_counter() - before)

    started, used = time.perf_counter(), processor(world.postmaster)
    await asyncio.gather(*(ask() for _ in range(concurrency)))
    rate = len(waits) / (time.perf_counter() - started)
    ordered = sorted(waits)
    middle, late = (ordered[int(len(ordered) * part)] * 1000 for part in (0.5, 0.99))
    name = f"service, {concurrency} at once"
    print(
        f"{name:<22}{rate:>8,.0f} checks/s   p50 {middle:6.2f}   p99 {late:6.2f} ms"
        f"   {spent(used, len(waits), world.postmaster)}   {allowed / len(waits):.0%} allowed"
    )


def processor(postmaster: psutil.Process) -> tuple[float, float]:
    """Seconds of the processor so far: this process's, PostgreSQL's."""
    used = [each.cpu_times() for each in postmaster.children()]
    return time.process_time(), sum(each.user + each.system for each in used)


def spent(before: tuple[float, float], checks: int, postmaster: psutil.Process) -> str:
    ours, theirs = (
        (after - then) / checks * 1e6
        for after, then in zip(processor(postmaster), before, strict=True)
    )
    return f"{ours:4.0f} + {theirs:3.0f} µs: {1e6 / ours:6,.0f}, {1e6 / (ours + theirs):6,.0f}"


# The gRPC stream: its client is a process of its own, on the other cores.


async def stream(world: World, entries: int, seconds: float, cores: list[int]) -> None:
    methods = {SERVICE: rpc.methods(world.services.contacts)}
    server, port = await start_server("127.0.0.1:0", methods, CALLERS)
    used = processor(world.postmaster)
    client = await asyncio.create_subprocess_exec(
        sys.executable,
        __file__,
        *("--client", str(port), "--entries", str(entries), "--seconds", str(seconds)),
        stdout=subprocess.PIPE,
    )
    psutil.Process(client.pid).cpu_affinity(cores)
    out, _ = await client.communicate()
    answers, took = map(float, out.split())
    share = spent(used, int(answers), world.postmaster)
    print(f"{'gRPC stream':<22}{answers / took:>8,.0f} checks/s{'':<33}{share}")
    await server.stop(0)


async def stream_client(port: int, entries: int, seconds: float) -> None:
    """Ask on one stream for a while, and print the answers a second."""
    now = time.time_ns() // 1000
    token = CALLERS.issue("bench", [CLIENT], "partner", now, 3600)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        check_contacts: Any = channel.stream_stream(
            f"/{SERVICE}/CheckContacts",
            pb.CheckContactsRequest.SerializeToString,
            pb.CheckContactsResponse.FromString,
        )
        call = check_contacts(metadata=(("authorization", f"Bearer {token}"),))
        until = time.perf_counter() + seconds

        async def ask() -> None:
            for asked in numbers(entries):
                if time.perf_counter() > until:
                    break
                question = pb.CheckContactRequest(
                    client_id=CLIENT, address=asked, channel="voice", purpose="information"
                )
                await call.write(pb.CheckContactsRequest(question=question))
            await call.done_writing()

        asking = asyncio.create_task(ask())
        answers = 0
        started = time.perf_counter()
        async for answer in call:
            assert answer.WhichOneof("result") == "answer"
            answers += 1
        print(answers, time.perf_counter() - started)
        await asking


def pin(process: psutil.Process, cores: list[int]) -> None:
    """A process and all that it has started, to these cores."""
    for each in (process, *process.children(recursive=True)):
        each.cpu_affinity(cores)


async def main(entries: int, consents: int, seconds: float) -> None:
    with tempfile.TemporaryDirectory(prefix="relais-") as home:
        stack = Stack(Path(home), Ports.free())
        try:
            stack.start(["postgres"])
            address = stack.addresses["postgres"]
            create_databases(address, ["crm", "keys"])
            crm, keys = database_url(address, "crm"), database_url(address, "keys")
            await migrate(crm, "services.crm:migrations")
            engine = make_engine(keys)
            await migrate_keys(engine)
            await engine.dispose()
            pid = int((Path(home) / "postgres/postmaster.pid").read_text().split()[0])
            world = World(crm, keys, psutil.Process(pid))
            await world.load(entries, consents)
            await measure(world, entries, seconds)
            await world.close()
        finally:
            stack.stop()


async def measure(world: World, entries: int, seconds: float) -> None:
    cores = sorted(os.sched_getaffinity(0))
    one, others = cores[:1], cores[1:] or cores
    for what, of_postgres in (
        ("this process on one core, PostgreSQL on the others", others),
        ("this process and PostgreSQL together on one core", one),
    ):
        print(f"\n{what} ({len(cores)} there are)")
        os.sched_setaffinity(0, one)
        pin(world.postmaster, of_postgres)
        for concurrency in (1, 64, 256):
            await unary(world, entries, seconds, concurrency)
        await stream(world, entries, seconds, others)
        os.sched_setaffinity(0, cores)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entries", type=int, default=1_000_000)
    parser.add_argument("--consents", type=int, default=200_000)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--client", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.client:
        asyncio.run(stream_client(given.client, given.entries, given.seconds))
    else:
        asyncio.run(main(given.entries, given.consents, given.seconds))
