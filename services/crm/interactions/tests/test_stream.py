"""From call-events to timelines, on a real broker: repeats, rubbish, any order, and sudden ends."""

import asyncio
import os
import random
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import date, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from eventkit.deadletter import DeadLetters
from eventkit.eventstore import EventStore
from eventkit.producer import Producer
from eventkit.records import Batch
from eventkit.topictable import read_partition
from relaisctl.replay import anonymous_bank, files, history
from relaisctl.replay import publish as replay
from services.conftest import Postgres
from services.crm.clients import clients as registered_clients
from services.crm.customers.service import Customers, Given
from services.crm.customers.store import person
from services.crm.interactions import store as tables
from services.crm.interactions.calls import GROUPS, Calls
from services.crm.interactions.codec import decode_call
from services.crm.interactions.stream import CALLS, ORDERS, Source, Timelines, make_consumer
from services.crm.interactions.tests.conftest import Centre, known
from services.crm.interactions.tests.events import (
    call,
    client_registered,
    future_event,
    order,
    publish,
    record,
    records,
)

ROOT = Path(__file__).resolve().parents[4]
JANUARY = ROOT.parent / "shared" / "data" / "anonymous-bank" / "january.txt"


async def until(condition: Callable[[], Awaitable[bool]], what: str, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not await condition():
        assert time.monotonic() < deadline, f"waited {seconds:g} s in vain: {what}"
        await asyncio.sleep(0.05)


@asynccontextmanager
async def consuming(
    kafka: str, engine: AsyncEngine, group: str = "", source: Source = CALLS
) -> AsyncIterator[None]:
    """The consumer in this process, from the beginning of the topic."""
    async with Producer(kafka) as producer, registered_clients(kafka) as clients:
        consumer = make_consumer(
            kafka,
            engine,
            clients.known,
            DeadLetters(producer, "test"),
            source=source,
            group=group or f"test-{uuid.uuid4().hex}",
            linger_s=0.05,
        )
        running = asyncio.create_task(consumer.run())
        try:
            yield
        finally:
            consumer.stop()
            await running


async def rows(engine: AsyncEngine, client_id: str) -> list[dict[str, Any]]:
    """All that the calls' rows have heard."""
    names = [
        "call_id",
        "version",
        "first_at",
        *(name for group in GROUPS.values() for name in group),
    ]
    async with engine.connect() as connection:
        found = await connection.execute(
            sa.select(*(tables.calls.c[name] for name in names))
            .where(tables.calls.c.client_id == client_id)
            .order_by(tables.calls.c.call_id)
        )
        return [dict(row._mapping) for row in found]


def expected(events: Sequence[Any]) -> list[dict[str, Any]]:
    """The rows of these events, put together in memory."""
    calls = Calls()
    for event in events:
        said = decode_call(record(event.SerializeToString()))
        assert said is not None
        calls.add([said])
    return [
        {
            "call_id": call_id,
            "version": heard.version,
            "first_at": heard.first_at,
            **{
                name: heard.facts[group][1][place] if group in heard.facts else None
                for group, names in GROUPS.items()
                for place, name in enumerate(names)
            },
        }
        for (_, call_id), heard in sorted(calls.items())
    ]


def calls_of(client_id: str, count: int) -> list[Any]:
    """One call in three is given up."""
    return [
        event
        for number in range(count)
        for event in call(
            client_id,
            f"call-{number:05}",
            customer=f"k-{number % 50}",
            at=1_790_000_000 + number,
            talk=None if number % 3 == 0 else 60,
        )
    ]


async def has(engine: AsyncEngine, client_id: str, count: int) -> bool:
    async with engine.connect() as connection:
        found = await connection.scalar(
            sa.select(sa.func.count())
            .select_from(tables.calls)
            .where(tables.calls.c.client_id == client_id)
        )
    return bool(found == count)


async def test_good_calls_between_rubbish(kafka: str, engine: AsyncEngine, client_id: str) -> None:
    await publish(kafka, "client-events", [client_registered(client_id)])
    good = calls_of(client_id, 20)
    future = future_event(client_id, "call-00000", 99)
    wrong = call(client_id, "a/b")[0]
    stranger = call("nobody", "call-1")
    bad = [b"\xff\x00\x12", b"", None, bytes(900_000), wrong, *stranger]
    mixed = [one for pair in zip(good, bad * 9, strict=False) for one in pair]
    await publish(kafka, "call-events", [*mixed, future, *good[len(mixed) // 2 :], *good[:30]])

    async with consuming(kafka, engine):
        await until(lambda: has(engine, client_id, 20), "20 calls are there")
    assert await rows(engine, client_id) == expected(good)
    assert await rows(engine, "nobody") == []
    async with engine.connect() as connection:
        kept = await connection.scalars(
            sa.select(tables.unknown_call_events.c.event).where(
                tables.unknown_call_events.c.client_id == client_id
            )
        )
        assert kept.all() == [future]
    letters: Counter[str] = Counter()
    async for chunk in read_partition(kafka, "call-events-dlq", 0):
        letters.update(dict(letter.headers)["dlq.field"].decode() for letter in chunk)
    sent = (len(mixed)) // 2
    assert sum(letters.values()) == sent
    assert letters["client_id"] == letters.total() - letters["call_id"] - letters[""]
    assert letters["call_id"] == sum(one is wrong for one in (bad * 9)[:sent])


async def test_repeats_in_any_order_across_restarts(
    kafka: str, engine: AsyncEngine, client_id: str
) -> None:
    await publish(kafka, "client-events", [client_registered(client_id)])
    events = calls_of(client_id, 100)
    chance = random.Random(7)
    shuffled = events + chance.choices(events, k=200)
    chance.shuffle(shuffled)
    group = f"test-{uuid.uuid4().hex}"
    for part in range(3):
        await publish(kafka, "call-events", shuffled[part::3])
        async with consuming(kafka, engine, group):
            want = expected(shuffled[:0] + [e for p in range(part + 1) for e in shuffled[p::3]])

            async def there(want: Any = want) -> bool:
                return await rows(engine, client_id) == want

            await until(there, f"part {part} is there")
    assert await rows(engine, client_id) == expected(events)
    # All of it again, by a group that has seen nothing.
    async with consuming(kafka, engine):
        last = f"{client_id}-last"
        await publish(kafka, "client-events", [client_registered(last)])
        await publish(kafka, "call-events", calls_of(last, 10))
        await until(lambda: has(engine, last, 10), "the end of the log is reached")
    assert await rows(engine, client_id) == expected(events)


async def test_orders_appear_across_restarts(
    kafka: str, engine: AsyncEngine, client_id: str
) -> None:
    await publish(kafka, "client-events", [client_registered(client_id)])
    ids = [f"o-{number}" for number in range(10)]
    events = [each for id in ids for each in order(client_id, id, customer="k-1")]
    rubbish = [b"\xff\x00\x12", None, order(client_id, "a/b", customer="k-1")[0]]
    half = [each for each in events if each.meta.version <= 5]
    group = f"test-{uuid.uuid4().hex}"
    for part, (sent, version) in enumerate([(half, 5), (events, 11)]):
        await publish(kafka, "order-events", [*sent, *rubbish, *half])
        async with consuming(kafka, engine, group, ORDERS):

            async def there(version: int = version) -> bool:
                return await order_lines(engine, client_id) == [(id, version) for id in ids]

            await until(there, f"part {part} is there")
    letters: Counter[str] = Counter()
    async for chunk in read_partition(kafka, "order-events-dlq", 0):
        letters.update(dict(letter.headers)["dlq.field"].decode() for letter in chunk)
    assert letters == {"": 4, "order_id": 2}


async def order_lines(engine: AsyncEngine, client_id: str) -> list[tuple[str, int]]:
    """Each order on a timeline with the highest version that was heard."""
    entries, heard = tables.timeline_entries, tables.orders
    async with engine.connect() as connection:
        found = await connection.execute(
            sa.select(entries.c.id, heard.c.version)
            .join(
                heard,
                sa.and_(heard.c.client_id == entries.c.client_id, heard.c.order_id == entries.c.id),
            )
            .where(entries.c.client_id == client_id, entries.c.kind == "order")
            .order_by(entries.c.id)
        )
        return [(row.id, row.version) for row in found]


async def test_killed_again_and_again_nothing_is_lost_or_counted_twice(
    kafka: str,
    database: str,
    postgres: Postgres,
    engine: AsyncEngine,
    client_id: str,
    tmp_path: Path,
) -> None:
    await publish(kafka, "client-events", [client_registered(client_id)])
    events = calls_of(client_id, 1_500)
    log = tmp_path / "worker.log"
    chance = random.Random(3)
    publishing = asyncio.create_task(publish_slowly(kafka, events))
    try:
        for _ in range(4):
            before = await heard_events(engine, client_id)
            worker = start_worker(kafka, database, postgres, log)
            try:
                await until(
                    lambda before=before: gets_on(engine, client_id, before, len(events)),
                    "the worker gets on",
                    120,
                )
                await asyncio.sleep(chance.random() / 5)
                assert worker.poll() is None, log.read_text()[-4000:]
            finally:
                worker.kill()
                worker.wait()
        await publishing
        # Some of it again, from the middle of calls on; and one more, to see the end of it.
        await publish(kafka, "call-events", [*events[1000:2001], *call(client_id, "later")])
        events += call(client_id, "later")
        worker = start_worker(kafka, database, postgres, log)
        try:
            await until(lambda: is_whole(engine, client_id, events), "every call is whole", 120)
        finally:
            worker.terminate()
            assert worker.wait(60) == 0, log.read_text()[-4000:]
    finally:
        publishing.cancel()
    assert await rows(engine, client_id) == expected(events)


async def gets_on(engine: AsyncEngine, client_id: str, before: int, all_: int) -> bool:
    now = await heard_events(engine, client_id)
    return now > before or now == all_


async def is_whole(engine: AsyncEngine, client_id: str, events: Sequence[Any]) -> bool:
    return await heard_events(engine, client_id) == len(events)


async def publish_slowly(kafka: str, events: Sequence[Any]) -> None:
    for start in range(0, len(events), 250):
        await publish(kafka, "call-events", events[start : start + 250])
        await asyncio.sleep(0.5)


async def heard_events(engine: AsyncEngine, client_id: str) -> int:
    async with engine.connect() as connection:
        found = await connection.scalar(
            sa.select(sa.func.sum(tables.calls.c.version)).where(
                tables.calls.c.client_id == client_id
            )
        )
    return int(found or 0)


def start_worker(
    kafka: str, database: str, postgres: Postgres, log: Path
) -> subprocess.Popen[bytes]:
    with log.open("ab") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "services.crm", "worker"],
            cwd=ROOT,
            env={
                **os.environ,
                "PYTHONPATH": f"{ROOT}:{ROOT / 'proto'}",
                "RELAIS_KAFKA": kafka,
                "RELAIS_POSTGRES": database,
                "RELAIS_KEYS": postgres.keys,
                "RELAIS_MASTER_KEYS": "test:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
                # Its partitions come back at once after a SIGKILL.
                "RELAIS_GROUP_INSTANCE": "test-crm-worker",
            },
            stdout=output,
            stderr=output,
        )


async def test_postgresql_may_go_and_come(centre: Centre, postgres: Postgres) -> None:
    if postgres.stack is None:
        pytest.skip("RELAIS_POSTGRES names a server that is not ours to kill")
    events = call(centre.client_id, "call-1")
    batch = Batch("call-events", 0, 0, len(events), records(events))
    postgres.stack.kill("postgres")
    try:
        putting = asyncio.create_task(Timelines(CALLS, centre.store.engine, known)(batch))
        await asyncio.sleep(1.5)
        assert not putting.done()
    finally:
        await asyncio.to_thread(postgres.stack.start, ["postgres"])
    assert await putting == []
    assert await rows(centre.store.engine, centre.client_id) == expected(events)


@pytest.mark.skipif(not JANUARY.exists(), reason=f"needs {JANUARY.name} of the recorded centre")
async def test_a_recorded_month_is_on_its_customers_timelines(
    kafka: str, engine: AsyncEngine, store: EventStore, client_id: str
) -> None:
    of_customer = identified(JANUARY)
    assert len(of_customer) > 1_000
    await publish(kafka, "client-events", [client_registered(client_id)])
    calls, _ = history.identify(
        files.read_files([JANUARY], date.today(), lambda *_: None).calls,
        ZoneInfo(anonymous_bank.TIME_ZONE),
    )
    now = int(datetime.now().timestamp()) * 1_000_000
    await replay.publish_all(kafka, replay.messages(client_id, calls, now), lambda _: None)
    async with consuming(kafka, engine):
        await until(lambda: has(engine, client_id, len(calls)), "all calls are there", 120)

        async def whole() -> bool:
            events = sum(history.EVENTS[each.call.outcome] for each in calls)
            return await heard_events(engine, client_id) == events

        await until(whole, "all events are there")

    # In SQL for all, through the timeline for some: the busiest, and some others.
    async with engine.connect() as connection:
        found = await connection.execute(
            sa.select(tables.calls.c.reference, sa.func.count())
            .where(tables.calls.c.client_id == client_id, tables.calls.c.reference.is_not(None))
            .group_by(tables.calls.c.reference)
        )
        assert {reference: count for reference, count in found} == of_customer
    customers = Customers(store, lambda: uuid.uuid4().hex)
    cause = Centre.cause_of(client_id)
    shown = [number for number, _ in Counter(of_customer).most_common(5)]
    for number in shown + random.Random(1).sample(sorted(of_customer), 20):
        done = await customers.upsert(cause, Given(number=number), [], "import")
        async with engine.connect() as connection:
            who = await person(connection, client_id, done["customer_id"])
            assert who is not None
            timeline = await tables.timeline(connection, who, None, 10_000)
        assert len(timeline) == of_customer[number]
        assert [place for place, _ in timeline] == sorted(
            (place for place, _ in timeline), reverse=True
        )


def identified(path: Path) -> dict[str, int]:
    """Calls of each identified customer, counted from the file's lines and nothing else."""
    lines = set(path.read_text("latin-1").splitlines()[1:])
    customers = (line.split("\t")[2].strip() for line in lines if line.count("\t") >= 15)
    return dict(Counter(one for one in customers if one.isdigit() and int(one) > 0))
