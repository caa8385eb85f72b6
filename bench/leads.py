"""Importing a list of a million leads, and taking those whose turn it is: prints only.

    PYTHONPATH=.:proto python bench/leads.py [--lines 1000000] [--kills 0]

Engines of the local stack are started in a temporary folder. A CSV with 5 % dirt goes through
`relaisctl leads import` and the dialer's API, each a process of its own: tried (the first 100,000
lines), imported, once more. With --kills the API is killed so often while it imports, and the
command runs again until it is done. Then due leads are taken as the dialling worker does.
"""

import argparse
import asyncio
import base64
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import psutil
from sqlalchemy import text

from eventkit.callers import Callers, Role
from eventkit.clock import SystemClock
from eventkit.eventstore import Cause, EventStore
from eventkit.keys import PostgresKeyRing, migrate_keys
from eventkit.postgres import make_engine, migrate
from relaisctl.stack import Ports, Stack
from relaisctl.stack.postgres import query
from services.dialer.campaigns.plan import Mode, Purpose, Settings
from services.dialer.leads import store
from services.dialer.service import Dialer

CLIENT, CAMPAIGN = "import", "spring"
MASTER = bytes(32)
SECRET = b"0" * 32
TRIED = 100_000
WORDS = """
Marie Jean Pierre Anaïs Léa Zoé Mohamed Chloé Hugo Inès Jules Manon Gaëlle Noël
/
Martin Bernard Dubois Lefèvre Roux Moreau Girard Garçon Petit Muñoz Çelik Durand
"""
FIRST, LAST = (part.split() for part in WORDS.split("/"))
MOBILE = [f"06{n:02}" for n in range(10, 90)]


def write_file(path: Path, count: int) -> None:
    """5 % dirt: bad numbers, repeated ones, none at all, an unknown zone, a quote left open."""
    rng = random.Random(3)
    with path.open("w") as file:
        file.write("Réf;Prénom;Nom;Portable;Fixe;Adresse;CP;Ville;Fuseau;Contrat;Priorité\n")
        for n in range(count):
            mobile = f"{MOBILE[n // 1_000_000 % 80]}{n % 1_000_000:06}"
            fixed = f"+331{rng.randrange(42_000_000, 49_000_000):08}" if n % 4 == 0 else ""
            reference, zone = f"K-{n:07}", ""
            match n % 100:
                case 11:
                    mobile = "sur demande"
                case 31:
                    mobile, fixed = f"{MOBILE[0]}{(n - 21) % 1_000_000:06}", ""
                    reference = f"D-{n}"
                case 51:
                    mobile = fixed = ""
                case 71:
                    zone = "Mars/Olympus"
                case 91:
                    reference = 'K-"'
            name = f"{rng.choice(FIRST)};{rng.choice(LAST)}"
            address = f"{n % 200} rue des Lilas;{rng.randrange(1, 96):02}{n % 1000:03};Paris"
            file.write(
                f"{reference};{name};{mobile};{fixed};{address};{zone};Duo {n % 9};{n % 3}\n"
            )


def processes(stack: Stack, dialer: str, keys: str, folder: Path) -> tuple[dict[str, str], int]:
    """Their environment, and the API's port."""
    port = free_port()
    now = SystemClock().now_us()
    environment = os.environ | {
        "RELAIS_KAFKA": stack.addresses["kafka"],
        "RELAIS_POSTGRES": dialer,
        "RELAIS_KEYS": keys,
        "RELAIS_MASTER_KEYS": f"bench:{to_base64(MASTER)}",
        "RELAIS_TOKEN_SECRETS": f"bench:{to_base64(SECRET)}",
        "RELAIS_DIALER_HTTP_PORT": str(port),
        "RELAIS_DIALER_GRPC_PORT": str(free_port()),
        "RELAIS_DIALER": f"http://127.0.0.1:{port}",
        "RELAIS_TOKEN": Callers({"bench": SECRET}).issue("bench", ["*"], Role.ADMIN, now, 36_000),
        "RELAIS_HOME": str(folder / "home"),
    }
    run = [sys.executable, "-m", "relaisctl"]
    registered = [*run, "client", "add", CLIENT, "--zone", "Europe/Paris"]
    subprocess.run([*run, "topics"], env=environment, check=True, stdout=subprocess.DEVNULL)
    subprocess.run(registered, env=environment, check=True, stdout=subprocess.DEVNULL)
    return environment, port


def start_api(environment: dict[str, str], port: int) -> subprocess.Popen[bytes]:
    api = subprocess.Popen([sys.executable, "-m", "services.dialer", "api"], env=environment)
    for _ in range(600):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return api
        time.sleep(0.1)
    raise SystemExit("the dialer's API does not come up")


def import_file(stack: Stack, dialer: str, keys: str, folder: Path, count: int, kills: int) -> None:
    path, tried = folder / "leads.csv", folder / "tried.csv"
    write_file(path, count)
    write_file(tried, min(TRIED, count))
    print(f"the file: {count:,} lines, {path.stat().st_size >> 20} MB", flush=True)
    environment, port = processes(stack, dialer, keys, folder)
    api = start_api(environment, port)
    command = [sys.executable, "-m", "relaisctl", "leads", "import"]
    options = ["--client", CLIENT, "--campaign", CAMPAIGN, "--list", "may", "--country", "FR"]
    postmaster = int((folder / "stack" / "postgres" / "postmaster.pid").read_text().split()[0])
    rng = random.Random(5)
    try:
        for what, file, more in (
            ("tried", tried, ["--dry-run"]),
            ("imported", path, []),
            ("once more", path, []),
        ):
            pids = {"api": api.pid, "postgres": postmaster}
            before = {name: used(pid) for name, pid in pids.items()}
            since = time.perf_counter()
            line = [*command, str(file), *options, *more, "--format", "json"]
            done = psutil.Popen(line, env=environment, stdout=subprocess.PIPE)
            most, cpu = {"command": 0, "api": 0}, 0.0
            while done.poll() is None:
                with suppress(psutil.NoSuchProcess):
                    most["command"] = max(most["command"], done.memory_info().rss)
                    most["api"] = max(most["api"], psutil.Process(api.pid).memory_info().rss)
                    cpu = sum(done.cpu_times()[:2])
                time.sleep(0.2)
                if kills and what == "imported" and rng.random() < 0.02:
                    kills -= 1
                    api.send_signal(signal.SIGKILL)
                    api.wait()
                    api = start_api(environment, port)
            took = time.perf_counter() - since
            said: dict[str, Any] = json.loads(done.stdout.read())
            print(f"{what}: {took:.1f} s, {said['lines'] / took:,.0f} lines/s")
            names = ("lines", "added", "duplicates", "rejected", "elsewhere")
            print(f"  { ({name: said[name] for name in names}) }")
            with suppress(psutil.NoSuchProcess):
                spent = {name: used(pid) - before[name] for name, pid in pids.items()}
                print(
                    f"  processor: command {cpu:.1f} s, api {spent['api']:.1f} s,"
                    f" postgres {spent['postgres']:.1f} s"
                )
            print(
                f"  memory, MB: { ({name: size >> 20 for name, size in most.items()}) }", flush=True
            )
    finally:
        api.terminate()
        api.wait()


async def take(dialer: str, rounds: int) -> None:
    """As the worker does: 20 due leads, in every place that there is."""
    engine = make_engine(dialer)
    async with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        await connection.execute(text("VACUUM ANALYZE leads"))
    now = SystemClock().now_us()
    took = []
    async with engine.connect() as connection:
        since = time.perf_counter()
        places = await store.places_of(connection, CLIENT, CAMPAIGN)
        print(f"places: {len(places)}, read in {(time.perf_counter() - since) * 1e3:.1f} ms")
        for _ in range(rounds):
            since = time.perf_counter()
            found = await store.take_due(connection, CLIENT, CAMPAIGN, now, places, 20)
            took.append((time.perf_counter() - since) * 1e3)
            await connection.rollback()
    await engine.dispose()
    took.sort()
    print(f"take {len(found)} due leads: p50 {took[rounds // 2]:.1f} ms, worst {took[-1]:.1f} ms")


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


async def prepare(dialer: str, keys: str) -> None:
    await migrate(dialer, "services.dialer:migrations")
    engine, key_engine = make_engine(dialer), make_engine(keys)
    await migrate_keys(key_engine)
    events = EventStore(engine, PostgresKeyRing(key_engine, {"bench": MASTER}), SystemClock())
    settings = Settings(
        "Spring",
        Purpose.SALES,
        Mode.PREVIEW,
        "Acme",
        "+33142685300",
        pool_id="sales",
        queue_id="outbound",
        offer_id="duo",
        abandonment_message="sorry",
    )
    await Dialer.over(events).campaigns.arrange(Cause(CLIENT, "bench"), CAMPAIGN, settings)
    await events.close()
    await engine.dispose()
    await key_engine.dispose()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lines", type=int, default=1_000_000)
    parser.add_argument("--kills", type=int, default=0)
    options = parser.parse_args()
    with ExitStack() as stack_:
        folder = Path(stack_.enter_context(tempfile.TemporaryDirectory(prefix="relais-bench-")))
        stack = Stack(folder / "stack", Ports.free())
        stack_.callback(stack.stop)
        stack.start(["postgres", "kafka"])
        server = stack.addresses["postgres"]
        url = server.rpartition("/")[0]
        for database in ("dialer_bench", "keys_bench"):
            query(server, f"CREATE DATABASE {database}")
        dialer, keys = f"{url}/dialer_bench", f"{url}/keys_bench"
        asyncio.run(prepare(dialer, keys))
        import_file(stack, dialer, keys, folder, options.lines, options.kills)
        asyncio.run(take(dialer, 200))


if __name__ == "__main__":
    main()
