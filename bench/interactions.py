"""Timelines and win-back: prints only.

    PYTHONPATH=.:proto python bench/interactions.py [--calls FILE] [--refusals 200000]

With --calls, a recorded month goes through call-events onto timelines: the
seconds from the first record to the last row. Then the win-back list is asked for among so many
refusals of one offer, of half as many customers, a tenth of whom accept later and a hundredth of
whom are merged records: the milliseconds of pages, first and later ones.

It starts a broker and a PostgreSQL of the local stack in a temporary folder.
"""

import argparse
import asyncio
import statistics
import tempfile
import time
from datetime import UTC, date, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from eventkit.deadletter import DeadLetters
from eventkit.postgres import make_engine, migrate
from eventkit.producer import Producer
from relaisctl.replay import anonymous_bank, files, history
from relaisctl.replay import publish as replay
from relaisctl.stack import Ports, Stack
from services.crm.interactions import store
from services.crm.interactions.stream import make_consumer

CLIENT = "bench"
DAY_US = 86_400_000_000


async def known(_: str) -> bool:
    return True


async def timelines(kafka: str, engine: AsyncEngine, path: Path) -> None:
    reading = files.read_files([path], date.today(), lambda *_: None)
    zone = ZoneInfo(anonymous_bank.TIME_ZONE)
    calls, _ = history.identify(reading.calls, zone)
    now = int(datetime.now(UTC).timestamp()) * 1_000_000
    events = await replay.publish_all(kafka, replay.messages(CLIENT, calls, now), lambda _: None)
    count = sa.select(sa.func.sum(store.calls.c.version))
    async with Producer(kafka) as producer:
        consumer = make_consumer(kafka, engine, known, DeadLetters(producer, "bench"))
        began, processor = time.monotonic(), time.process_time()
        running = asyncio.create_task(consumer.run())
        heard = 0
        while heard != events:
            await asyncio.sleep(0.1)
            async with engine.connect() as connection:
                heard = int(await connection.scalar(count) or 0)
        seconds, processor = time.monotonic() - began, time.process_time() - processor
        consumer.stop()
        await running
    print(f"{len(calls)} calls, {events} events on timelines in {seconds:.1f} s", end=", ")
    print(f"{processor:.1f} s of one core here: {events / seconds:,.0f} events/s")


FILL = """
INSERT INTO customers (client_id, customer_id, number, name, phones, emails, address, language,
    time_zone, preferred_channel, source, version, registered_at, changed_at, merged_into,
    survivor_id)
SELECT :client, 'c' || n, 'k' || n, '', '{}', '{}', '', '', '', '', 'import', 1, 0, 0,
    CASE WHEN n % 100 = 0 THEN 'c' || (n + 1) END,
    CASE WHEN n % 100 = 0 THEN 'c' || (n + 1) ELSE 'c' || n END
FROM generate_series(0, :customers - 1) AS n;
INSERT INTO customer_numbers SELECT :client, number, customer_id FROM customers
WHERE client_id = :client;
INSERT INTO calls (client_id, call_id, first_at, customer_reference)
SELECT :client, 'w' || n, n * 1000000::bigint, 'k' || n % :customers
FROM generate_series(0, :refusals + :acceptances - 1) AS n;
INSERT INTO offer_answers (client_id, call_id, offer_id, accepted, reason, text, agent_id,
    answered_at)
SELECT :client, 'w' || n, 'fibre', n >= :refusals,
    CASE WHEN n >= :refusals THEN '' ELSE (ARRAY['too-expensive', 'other-provider', 'not-now',
        'no-need'])[1 + n % 4] END, '', 'ann', n * 1000000::bigint
FROM generate_series(0, :refusals + :acceptances - 1) AS n;
ANALYZE customers; ANALYZE customer_numbers; ANALYZE calls; ANALYZE offer_answers
"""


async def win_back(engine: AsyncEngine, refusals: int) -> None:
    numbers = {
        "client": f"'{CLIENT}-w'",
        "customers": str(refusals // 2),
        "refusals": str(refusals),
        "acceptances": str(refusals // 20),
    }
    async with engine.begin() as connection:
        for statement in FILL.split(";\n"):
            for name, value in numbers.items():
                statement = statement.replace(f":{name}", value)
            for part in statement.split("; "):
                await connection.execute(sa.text(part))
    since = refusals // 2 * 1_000_000
    for title, wanted in (
        ("any reason", store.Wanted("fibre")),
        ("one reason", store.Wanted("fibre", "too-expensive")),
        ("one reason, since", store.Wanted("fibre", "too-expensive", since)),
        ("may be asked", store.Wanted("fibre", "", since, date(2026, 11, 23))),
    ):
        spent, found, before = [], 0, None
        async with engine.connect() as connection:
            for _ in range(40):
                began = time.monotonic()
                page = await store.refusals(connection, f"{CLIENT}-w", wanted, before, 51)
                spent.append((time.monotonic() - began) * 1000)
                found += len(page)
                before = (page[-1].answered_at, page[-1].call_id) if page else before
        middle, slowest = statistics.median(spent), max(spent)
        print(
            f"who refused ({title}): first page {spent[0]:.1f} ms, median {middle:.1f} ms", end=", "
        )
        print(f"slowest {slowest:.1f} ms of {len(spent)} pages, {found} customers")


async def main(path: Path | None, refusals: int) -> None:
    with tempfile.TemporaryDirectory(prefix="relais-") as home:
        stack = Stack(Path(home), Ports.free())
        try:
            stack.start(["postgres", *(["kafka"] if path else [])])
            await migrate(stack.addresses["postgres"], "services.crm:migrations")
            engine = make_engine(stack.addresses["postgres"])
            if path is not None:
                await timelines(stack.addresses["kafka"], engine, path)
            await win_back(engine, refusals)
            await engine.dispose()
        finally:
            stack.stop()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--calls", type=Path, help="a month of the recorded centre")
    parser.add_argument("--refusals", type=int, default=200_000)
    arguments = parser.parse_args()
    asyncio.run(main(arguments.calls, arguments.refusals))
