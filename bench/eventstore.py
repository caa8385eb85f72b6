"""Commands a second of the event store beside a bare INSERT ... COMMIT: prints, asserts nothing.

    PYTHONPATH=.:proto python bench/eventstore.py [--connections 16] [--seconds 5]

One PostgreSQL of its own, one process, the same number of connections for every figure. The bare
rate is that of one prepared INSERT of a row like an event's, each in a transaction of its own, from
the same kind of client (asyncpg); pgbench gives the same from C, as the most that this server does.
A command loads its stream (of ten events on average), folds, decides, appends one event and writes
one row of a read model; then the same with a sealed field, and with an idempotency key. The figures
are taken in turns, so that other work on the machine counts for all. Then: bulk appends, and how
fast the relay gets what was appended to Kafka.
"""

import argparse
import asyncio
import statistics
import subprocess
import tempfile
import time
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import uvloop
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from eventkit.clock import SystemClock
from eventkit.eventstore import NUMBERED, Answer, Cause, EventStore, Transaction
from eventkit.keys import PostgresKeyRing, migrate_keys
from eventkit.postgres import Notifications, make_engine
from eventkit.producer import Producer
from eventkit.relay import Relay
from eventkit.tests.accounts import Account, Deposit, Deposited, category, make_tables
from relaisctl.stack import Ports, Stack
from relaisctl.stack.postgres import program, query

TOPIC = "bench-accounts"
CAUSE = Cause("bench", "agent-1")
STREAMS = 500
BARE = """
CREATE TABLE bare (
    id text PRIMARY KEY, body jsonb NOT NULL, actor text NOT NULL, at bigint NOT NULL
)"""
INSERT = "INSERT INTO bare (id, body, actor, at) VALUES ($1, $2::text::jsonb, $3, $4)"
PGBENCH = (
    "INSERT INTO bare (id, body, actor, at)"
    " VALUES (gen_random_uuid()::text, '{\"amount\": 1}', 'agent-1', 1700000000000000);\n"
)
BULK = 1_000

Step = Callable[[], Awaitable[object]]


async def rate(step: Step, connections: int, seconds: float) -> float:
    """How often a second, from as many tasks as there are connections."""
    done = 0
    end = time.perf_counter() + seconds

    async def repeat() -> None:
        nonlocal done
        while time.perf_counter() < end:
            await step()
            done += 1

    began = time.perf_counter()
    await asyncio.gather(*(repeat() for _ in range(connections)))
    return done / (time.perf_counter() - began)


@dataclass
class Bench:
    """What is measured, by name."""

    engine: AsyncEngine
    store: EventStore
    number: int = 0
    _free: asyncio.Queue[AsyncConnection] = field(default_factory=asyncio.Queue)

    def __post_init__(self) -> None:
        self.accounts = category(TOPIC)
        self.steps: dict[str, Step] = {
            "bare INSERT ... COMMIT": self.insert,
            "command": self.command,
            "command, a field sealed": self.sealed,
            "command, idempotency key": self.keyed,
        }

    async def insert(self) -> None:
        raw = await (connection := await self._free.get()).get_raw_connection()
        try:
            driver = raw.driver_connection
            assert driver is not None
            await driver.execute(INSERT, str(uuid.uuid4()), '{"amount": 1}', "agent-1", 1)
        finally:
            self._free.put_nowait(connection)

    async def command(self) -> None:
        await self._deposit(CAUSE, "")

    async def sealed(self) -> None:
        await self._deposit(CAUSE, "a note of some thirty letters")

    async def keyed(self) -> None:
        await self._deposit(Cause("bench", "agent-1", idempotency_key=str(uuid.uuid4())), "")

    async def _deposit(self, cause: Cause, note: str) -> None:
        self.number += 1
        # Ten events to a stream, then the next streams.
        id = f"a{self.number // (STREAMS * 20)}-{self.number % STREAMS}"

        async def work(tx: Transaction) -> Answer:
            change = await tx.execute(self.accounts, id, Deposit(1, note))
            return {"version": change.version}

        await self.store.run(cause, work)

    async def hold(self, connections: int) -> None:
        """As many connections for the bare inserts, whose transactions are each one statement."""
        plain = self.engine.execution_options(isolation_level="AUTOCOMMIT")
        for _ in range(connections):
            self._free.put_nowait(await plain.connect())

    async def let_go(self) -> None:
        while not self._free.empty():
            await self._free.get_nowait().close()


async def bulk(store: EventStore, count: int) -> float:
    """Events a second: new streams of one event with a sealed field, a thousand at once."""
    accounts = category(TOPIC)
    began = time.perf_counter()
    for start in range(0, count, BULK):

        async def work(tx: Transaction, start: int = start) -> Answer:
            new = [
                (f"bulk-{number}", Account(), 0, [Deposited(1, "a note of some thirty letters")])
                for number in range(start, start + BULK)
            ]
            return {"appended": len(await tx.append(accounts, new))}

        await store.run(CAUSE, work)
    return count / (time.perf_counter() - began)


async def relay(engine: AsyncEngine, kafka: str) -> tuple[int, float]:
    """How many events waited, and how many a second are on their topic."""
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    await admin.create_topics([NewTopic(TOPIC, 4, 1)])
    await admin.close()
    waiting = text("SELECT count(*) FROM events WHERE sequence IS NULL")
    published = text("SELECT published FROM relay")
    async with Producer(kafka, linger_ms=5) as producer, engine.connect() as connection:
        plain = await connection.execution_options(isolation_level="AUTOCOMMIT")
        count = int(await plain.scalar(waiting) or 0)
        began = time.perf_counter()
        relay = Relay(engine, producer)
        running = asyncio.create_task(relay.run())
        async with Notifications(engine, NUMBERED) as notifications:
            while (await plain.scalar(published) or 0) < count:
                await notifications.wait(notifications.next(), 0.05)
        took = time.perf_counter() - began
        relay.stop()
        await running
    return count, count / took


def pgbench(url: str, connections: int, seconds: float) -> float | None:
    """Transactions a second of the bare insert, from C; None where there is no pgbench."""
    pgbench = program("pgbench")
    if not Path(pgbench).exists():
        return None
    with tempfile.NamedTemporaryFile("w", suffix=".sql") as script:
        script.write(PGBENCH)
        script.flush()
        options = ["-n", "-M", "prepared", "-c", str(connections), "-T", str(max(1, int(seconds)))]
        done = subprocess.run(
            [pgbench, *options, "-f", script.name, url],
            capture_output=True,
            text=True,
            check=True,
        )
    [line] = [line for line in done.stdout.splitlines() if line.startswith("tps")]
    return float(line.split()[2])


async def measure(url: str, kafka: str, connections: int, seconds: float, rounds: int) -> None:
    query(url, "CREATE DATABASE bench_keys")
    keys_url = f"{url.rpartition('/')[0]}/bench_keys"
    engine, keys = make_engine(url, pool_size=2 * connections + 4), make_engine(keys_url)
    await make_tables(engine)
    await migrate_keys(keys)
    store = EventStore(engine, PostgresKeyRing(keys, {"bench": bytes(32)}), SystemClock())
    query(url, BARE)
    bench = Bench(engine, store)
    rates: dict[str, list[float]] = {name: [] for name in bench.steps}
    for _ in range(rounds):
        for name, step in bench.steps.items():
            if step == bench.insert:
                await bench.hold(connections)
            await rate(step, connections, 0.2)
            rates[name].append(await rate(step, connections, seconds))
            if step == bench.insert:
                await bench.let_go()
    bare = statistics.median(rates["bare INSERT ... COMMIT"])
    print(f"one process, {connections} connections, {rounds} rounds of {seconds:g} s, medians")
    for name, found in rates.items():
        middle = statistics.median(found)
        spread = f"{min(found):,.0f} to {max(found):,.0f}"
        print(f"{name:<28}{middle:>10,.0f} /s  {middle / bare:6.3f} of bare   ({spread})")
    from_c = await asyncio.to_thread(pgbench, url, connections, seconds)
    if from_c is not None:
        print(f"{'bare, by pgbench':<28}{from_c:>10,.0f} /s  {from_c / bare:6.3f} of bare")
    print(f"{'bulk append, sealed':<28}{await bulk(store, 20_000):>10,.0f} events/s")
    count, published = await relay(engine, kafka)
    print(f"{'relay':<28}{published:>10,.0f} events/s  ({count:,} waited)")
    await store.close()
    await engine.dispose()
    await keys.dispose()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=4.0, help="for each figure of a round")
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="relais-bench-") as home:
        stack = Stack(Path(home), Ports.free())
        try:
            stack.start(["postgres", "kafka"])
            url, kafka = stack.addresses["postgres"], stack.addresses["kafka"]
            uvloop.run(measure(url, kafka, args.connections, args.seconds, args.rounds))
        finally:
            stack.stop()


if __name__ == "__main__":
    main()
