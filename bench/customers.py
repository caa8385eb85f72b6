"""Finding among a million customers of one client, and importing them: prints only.

    PYTHONPATH=.:proto python bench/customers.py [--customers 1000000] [--import 100000]

Engines of the local stack are started in a temporary folder. First a CSV with 5 % dirt goes through
`relaisctl customer import` and crm's API, each a process of its own: tried, imported, once more.
Then a million customers are written by the real read model (store.project), without events, and
looked for. Names are as people have them, a few very common and a long tail.
"""

import argparse
import asyncio
import base64
import json
import os
import random
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import psutil
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from eventkit.callers import Callers, Role
from eventkit.clock import SystemClock
from eventkit.eventstore import Change, EventStore, Recorded
from eventkit.keys import PostgresKeyRing, migrate_keys
from eventkit.postgres import make_engine, migrate
from relaisctl.stack import Ports, Stack
from relaisctl.stack.postgres import query
from services.crm.customers import store
from services.crm.customers.customer import Customer, CustomerRegistered, Details, Event
from services.crm.customers.service import Customers, Found

CLIENT = "bench"
MASTER = bytes(32)
SECRET = b"0" * 32
CHUNK = 2_000

COMMON = """
Marie Jean Pierre Michel André Philippe Nathalie Isabelle Alain Patrick Catherine Martine Zoé
Christophe Françoise Nicolas Julien Céline Aurélie Sébastien Élodie Gaëlle Anaïs Mohamed Manon
Mathilde Margaux Marc Martin Maxime Anna Ivan Sergueï Ahmet Mehmet Ayşe John Mary
/
Martin Bernard Dubois Thomas Robert Richard Petit Durand Leroy Moreau Simon Laurent Lefebvre Michel
Garcia David Bertrand Roux Vincent Fournier Morel Girard André Lefèvre Mercier Dupont Lambert Bonnet
François Martinez Duval Dumas Marchand Masson Mathieu Maillard Ivanov Çelik
/
ba be bo ca co da de du fa fe ga gui la le lo ma me mi mo na no pa pe ra ri ro sa
"""
FIRST, LAST, SYLLABLES = (part.split() for part in COMMON.split("/"))


def names(rng: random.Random) -> Iterator[str]:
    """First names of some dozens, surnames half common and half of 150,000 rare ones."""
    rare = ["".join(rng.choices(SYLLABLES, k=4)).title() for _ in range(150_000)]
    weights = [1 / (n + 1) for n in range(len(FIRST))]
    while True:
        first = "-".join(rng.choices(FIRST, weights, k=1 if rng.random() < 0.8 else 2))
        last = rng.choice(LAST) if rng.random() < 0.5 else rng.choice(rare)
        yield f"{first} {last}"


def customers(count: int, rng: random.Random) -> Iterator[Details]:
    name = names(rng)
    for n in range(count):
        shared = n - n % 3 if n % 10 < 3 else n
        yield Details(
            number=f"K-{n:07}",
            name=next(name),
            phones=(f"+336{shared:08}",),
            emails=(f"customer{n}@example.com",),
            address=f"{n % 200} rue des Lilas\n75011 Paris",
            language="fr",
        )


async def load(engine: AsyncEngine, count: int) -> None:
    rng = random.Random(1)
    began = time.perf_counter()
    changes: list[Change[Customer, Event]] = []
    spent = 0.0

    async def write() -> None:
        nonlocal spent
        since = time.perf_counter()
        async with engine.begin() as connection:
            numbers = {change.after.details.number: change.id for change in changes}
            await store.reserve(connection, CLIENT, numbers)
            await store.project(connection, changes)
        spent += time.perf_counter() - since
        changes.clear()

    for n, details in enumerate(customers(count, rng), 1):
        id = str(uuid.UUID(int=rng.getrandbits(128), version=4))
        fact: Recorded[Event] = Recorded(
            CLIENT, "", 1, "", CustomerRegistered("import"), n, n, "", "", ""
        )
        changes.append(
            Change(CLIENT, id, Customer(), Customer(True, "import", details), (fact,), 1)
        )
        if len(changes) == CHUNK:
            await write()
        if n % 200_000 == 0:
            print(f"  {n:,} after {time.perf_counter() - began:.0f} s", flush=True)
    if changes:
        await write()
    print(f"read model: {count:,} customers in {spent:.0f} s, {count / spent:,.0f}/s")
    # What autovacuum does after so many inserts, so that index entries need no look at the table.
    async with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        for table in ("customers", "customer_words", "customer_contacts", "customer_numbers"):
            await connection.execute(text(f"VACUUM ANALYZE {table}"))


Query = Callable[[], Awaitable[Found]]


def queries(service: Customers, count: int) -> dict[str, Query]:
    rng = random.Random(2)

    def n() -> int:
        return rng.randrange(count)

    def by_name(*asked: str) -> Query:
        return lambda: service.find_by_name(CLIENT, rng.choice(asked), 50)

    rare = [f"{a}{b}{c}" for a in SYLLABLES for b in SYLLABLES for c in SYLLABLES[:9]]
    return {
        "phone": lambda: service.find_by_phone(CLIENT, f"+336{n():08}", "", 50),
        "number": lambda: service.find_by_number(CLIENT, f"K-{n():07}"),
        "email": lambda: service.find_by_email(CLIENT, f"customer{n()}@example.com", 50),
        "name: rare word": by_name(*rare),
        "name: common word": by_name("marie", "jean", "martin", "bernard"),
        "name: one letter": by_name(*"mjpabdls"),
        "name: two letters": by_name("ma", "je", "du", "le", "be"),
        "name: two common words": by_name("marie martin", "jean bernard", "pierre dubois"),
        "name: common and rare": by_name("marie bagui", "jean laroba", "pierre gomer"),
        "name: two letters each": by_name("ma du", "je le", "pi be", "j m", "m m"),
        "name: common, not together": by_name("ivan celik zoe", "marie marc", "jean jean-marc a"),
        "name: as in full": by_name("Jean Martin", "Dubois Marie", "Zoé Çelik"),
        "name: none": by_name("xq", "marie xq", "m xq"),
    }


async def find(service: Customers, count: int, rounds: int) -> None:
    print(f"\nfinding among {count:,}, ms          p50     p95     p99   found")
    for kind, ask in queries(service, count).items():
        for _ in range(20):
            await ask()
        took: list[float] = []
        found = 0
        for _ in range(rounds):
            since = time.perf_counter()
            found += len((await ask()).items)
            took.append((time.perf_counter() - since) * 1e3)
        took.sort()
        p50, p95, p99 = (took[int(len(took) * p)] for p in (0.50, 0.95, 0.99))
        print(f"{kind:30}  {p50:7.1f} {p95:7.1f} {p99:7.1f} {found / rounds:7.1f}", flush=True)


# The import.


def write_file(path: Path, count: int) -> None:
    """5 % dirt: bad phones and emails, broken lines, repeated ones, nothing to know them by."""
    rng = random.Random(3)
    rows = []
    for n, each in enumerate(customers(count, rng)):
        number, phone, email = (
            f"I-{n:07}",
            f"06 {n // 10_000 % 100:02} {n % 10_000:04} 11",
            each.emails[0],
        )
        match n % 100:
            case 11:
                phone = "call me"
            case 31:
                email = "no address"
            case 51:
                number = f"I-{n - 41:07}"
            case 71:
                number = phone = email = ""
            case 91:
                number = 'I-"'
        rows.append(f"{number};{each.name};{phone};{email};fr;Europe/Paris\n")
    path.write_text("number;name;phone;email;language;time zone\n" + "".join(rows))


def import_file(stack: Stack, postgres: str, keys: str, folder: Path, count: int) -> None:
    """crm's API and the command, each in a process of its own, as in the local stack."""
    path = folder / "customers.csv"
    write_file(path, count)
    port = free_port()
    secrets = f"bench:{to_base64(SECRET)}"
    now = SystemClock().now_us()
    environment = os.environ | {
        "RELAIS_KAFKA": stack.addresses["kafka"],
        "RELAIS_POSTGRES": postgres,
        "RELAIS_KEYS": keys,
        "RELAIS_MASTER_KEYS": f"bench:{to_base64(MASTER)}",
        "RELAIS_TOKEN_SECRETS": secrets,
        "RELAIS_CRM_HTTP_PORT": str(port),
        "RELAIS_CRM_GRPC_PORT": str(free_port()),
        "RELAIS_CRM": f"http://127.0.0.1:{port}",
        "RELAIS_TOKEN": Callers({"bench": SECRET}).issue("bench", ["*"], Role.ADMIN, now, 36_000),
        "RELAIS_HOME": str(folder / "home"),
    }
    run = [sys.executable, "-m", "relaisctl"]
    registered = [*run, "client", "add", "import", "--zone", "Europe/Paris"]
    subprocess.run([*run, "topics"], env=environment, check=True, stdout=subprocess.DEVNULL)
    subprocess.run(registered, env=environment, check=True, stdout=subprocess.DEVNULL)
    api = subprocess.Popen([sys.executable, "-m", "services.crm", "api"], env=environment)
    try:
        wait_for(port)
        command = [*run, "customer", "import", str(path), "--client", "import", "--region", "FR"]
        postmaster = (folder / "stack" / "postgres" / "postmaster.pid").read_text().split()[0]
        pids = {"crm": api.pid, "postgres": int(postmaster)}
        for more in (["--dry-run"], [], []):
            before = {name: used(pid) for name, pid in pids.items()}
            since = time.perf_counter()
            done = psutil.Popen(
                [*command, *more, "--format", "json"], env=environment, stdout=subprocess.PIPE
            )
            most, cpu = 0, 0.0
            while done.poll() is None:
                with suppress(psutil.NoSuchProcess):
                    most = max(most, done.memory_info().rss)
                    cpu = sum(done.cpu_times()[:2])
                time.sleep(0.2)
            took = time.perf_counter() - since
            said = json.loads(done.stdout.read())
            counts = {k: said[k] for k in ("lines", "accepted", "duplicate", "rejected")}
            print(
                f"import {' '.join(more) or 'for good'}: {took:.1f} s, {count / took:,.0f} lines/s"
            )
            print(f"  {counts}")
            spent = {name: used(pid) - before[name] for name, pid in pids.items()}
            print(
                f"  processor: command {cpu:.1f} s, crm {spent['crm']:.1f} s, postgres"
                f" {spent['postgres']:.1f} s; memory: command {most >> 20} MB",
                flush=True,
            )
    finally:
        api.terminate()
        api.wait()


def used(pid: int) -> float:
    """Seconds of the processor, with all that the process has started."""
    process = psutil.Process(pid)
    return sum(sum(each.cpu_times()[:4]) for each in [process, *process.children(recursive=True)])


def to_base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def wait_for(port: int) -> None:
    for _ in range(600):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise SystemExit("crm's API does not come up")


async def prepare(crm: str, keys: str) -> None:
    await migrate(crm, "services.crm:migrations")
    engine = make_engine(keys)
    await migrate_keys(engine)
    await engine.dispose()


async def measure_finding(crm: str, keys: str, count: int, rounds: int) -> None:
    engine, key_engine = make_engine(crm), make_engine(keys)
    ring = PostgresKeyRing(key_engine, {"bench": MASTER})
    events = EventStore(engine, ring, SystemClock())
    try:
        await load(engine, count)
        await find(Customers(events, lambda: str(uuid.uuid4())), count, rounds)
    finally:
        await events.close()
        await engine.dispose()
        await key_engine.dispose()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--customers", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--import", type=int, default=100_000, dest="lines")
    options = parser.parse_args()
    with ExitStack() as stack_:
        folder = Path(stack_.enter_context(tempfile.TemporaryDirectory(prefix="relais-bench-")))
        stack = Stack(folder / "stack", Ports.free())
        stack_.callback(stack.stop)
        stack.start(["postgres", "kafka"] if options.lines else ["postgres"])
        server = stack.addresses["postgres"]
        url = server.rpartition("/")[0]
        for database in ("crm_bench", "keys_bench"):
            query(server, f"CREATE DATABASE {database}")
        crm, keys = f"{url}/crm_bench", f"{url}/keys_bench"
        asyncio.run(prepare(crm, keys))
        if options.lines:
            import_file(stack, crm, keys, folder, options.lines)
        if options.customers:
            asyncio.run(measure_finding(crm, keys, options.customers, options.rounds))


if __name__ == "__main__":
    main()
