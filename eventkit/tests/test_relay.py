"""The relay between a real PostgreSQL and a real broker: nothing lost or skipped, in order."""

import asyncio
import random
import signal
import uuid
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import msgspec
import pytest
from sqlalchemy import text

from eventkit.eventstore import Answer, Category, Cause, EventStore, Transaction, Update
from eventkit.producer import Producer
from eventkit.records import Record
from eventkit.relay import Relay
from eventkit.tests import programs
from eventkit.tests.accounts import Account, Command, Deposit, Event, category
from eventkit.tests.support import Kafka, MakeTopic, Postgres, ended, fork, read_all, until

CAUSE = Cause("acme", "agent-1")
PARTITIONS = 3

Accounts = Category[Command, Account, Event]
Work = Callable[[Transaction], Awaitable[Answer]]


@pytest.fixture
async def accounts(make_topic: MakeTopic) -> Accounts:
    """Published on a topic of its own."""
    return category(await make_topic(PARTITIONS))


def depositing(accounts: Accounts, id: str, wait: Awaitable[object] | None = None) -> Work:
    """Deposits, and then waits in the open transaction."""

    async def work(tx: Transaction) -> Answer:
        change = await tx.execute(accounts, id, Deposit(1))
        if wait is not None:
            await wait
        return {"version": change.version}

    return work


@asynccontextmanager
async def running(relay: Relay) -> AsyncIterator[Relay]:
    task = asyncio.create_task(relay.run())
    try:
        yield relay
    finally:
        relay.stop()
        await task


async def published(kafka: Kafka, accounts: Accounts) -> list[Record]:
    return await read_all(kafka, str(accounts.topic), PARTITIONS)


def facts(records: list[Record]) -> list[tuple[str, int]]:
    """(stream, version) of each, repeats dropped as a consumer drops them: by the version seen.

    Fails where a stream's order has a hole.
    """
    seen: dict[str, int] = defaultdict(int)
    found = []
    for record in records:
        stream_id, version, _ = msgspec.json.decode(record.value or b"")
        assert (record.key or b"").decode() == stream_id
        if version > seen[stream_id]:
            assert version == seen[stream_id] + 1, f"{stream_id} jumps to {version}"
            seen[stream_id] = version
            found.append((stream_id, version))
    return found


async def stored(store: EventStore) -> list[tuple[str, int]]:
    async with store.reading() as connection:
        rows = await connection.execute(text("SELECT stream_id, version FROM events"))
        return [(stream_id, version) for stream_id, version in rows]


async def sequences(store: EventStore) -> list[int]:
    async with store.reading() as connection:
        rows = await connection.scalars(text("SELECT sequence FROM events ORDER BY sequence"))
        return list(rows)


async def all_published(store: EventStore) -> bool:
    async with store.reading() as connection:
        waiting = text(
            "SELECT (SELECT count(*) FROM events WHERE sequence IS NULL)"
            " + (SELECT last_sequence - published FROM relay)"
        )
        return await connection.scalar(waiting) == 0


async def test_events_arrive_with_key_trace_and_the_same_id(
    store: EventStore, producer: Producer, kafka: Kafka, accounts: Accounts
) -> None:
    cause = replace(CAUSE, traceparent="00-11111111111111111111111111111111-2222222222222222-01")
    for _ in range(3):
        await store.run(cause, depositing(accounts, "a"))
    silent = replace(accounts, name="silent", message=lambda recorded: None)
    await store.run(cause, depositing(silent, "b"))
    async with running(Relay(store.engine, producer)) as relay:
        await until(lambda: all_published(store), "everything is published")
        await store.run(cause, depositing(accounts, "a"))
        await until(lambda: all_published(store), "what came later too")
        assert relay.ready()
    records = await published(kafka, accounts)
    history = await store.history(accounts, "acme", "a")
    assert [msgspec.json.decode(record.value or b"") for record in records] == [
        [event.stream_id, event.version, event.event_id] for event in history
    ]
    assert {tuple(record.headers) for record in records} == {
        (("traceparent", cause.traceparent.encode()),)
    }
    assert await sequences(store) == [1, 2, 3, 4, 5]


async def test_an_early_position_that_commits_late_is_not_skipped(
    store: EventStore, producer: Producer, kafka: Kafka, accounts: Accounts
) -> None:
    """And what commits meanwhile does not wait for it."""
    go_on = asyncio.Event()
    early = asyncio.create_task(store.run(CAUSE, depositing(accounts, "early", go_on.wait())))

    async def has_position() -> bool:
        async with store.reading() as connection:
            return bool(
                await connection.scalar(text("SELECT last_value > 1 FROM events_position_seq"))
            )

    await store.run(CAUSE, depositing(accounts, "late"))
    await until(has_position, "both have a position")
    async with running(Relay(store.engine, producer)):
        await store.run(CAUSE, depositing(accounts, "late"))
        await until(lambda: all_published(store), "the late ones are published")
        late = facts(await published(kafka, accounts))
        assert late == [("acme/account/late", 1), ("acme/account/late", 2)]
        go_on.set()
        await early
        await until(lambda: all_published(store), "the early one is published")
    assert ("acme/account/early", 1) in facts(await published(kafka, accounts))
    assert await sequences(store) == [1, 2, 3]


async def test_commits_in_any_order(
    store: EventStore, producer: Producer, kafka: Kafka, accounts: Accounts
) -> None:
    rng = random.Random(7)

    async def write(writer: int) -> None:
        for number in range(15):
            pause = asyncio.sleep(rng.random() * rng.choice([0.0, 0.01, 0.15]))
            # Half of the streams have several writers, so some transactions are rolled back too.
            id = f"own-{writer}" if number % 2 else f"shared-{rng.randrange(3)}"
            await store.run(CAUSE, depositing(accounts, id, _once(pause)))

    async with running(Relay(store.engine, producer, batch=7)):
        await asyncio.gather(*map(write, range(15)))
        await until(lambda: all_published(store), "everything is published")
    found = facts(await published(kafka, accounts))
    assert len(found) == 15 * 15
    assert sorted(found) == sorted(await stored(store))
    assert await sequences(store) == list(range(1, 15 * 15 + 1))


def _once(step: Awaitable[object]) -> Awaitable[object]:
    """May be awaited again: a command that met a conflict does not sleep a second time."""
    task = asyncio.ensure_future(step)
    return _Again(task)


class _Again:
    def __init__(self, task: "asyncio.Future[object]") -> None:
        self._task = task

    def __await__(self):  # type: ignore[no-untyped-def]
        return asyncio.shield(self._task).__await__()


async def test_twenty_kills_between_publishing_and_remembering_it(
    store: EventStore, kafka: Kafka, accounts: Accounts, database: str
) -> None:
    # How much the writers manage during the kills is the machine's affair: they go on to 300.
    writing, written = True, 0

    async def write(writer: int) -> None:
        nonlocal written
        while writing or written < 300:
            await store.run(CAUSE, depositing(accounts, f"a{writer % 4}"))
            written += 1
            await asyncio.sleep(0.02)

    writers = [asyncio.create_task(write(number)) for number in range(8)]
    for _ in range(20):
        process = fork(programs.relay, kafka.bootstrap, database, 5, "dies")
        assert await ended(process) == -signal.SIGKILL
    writing = False
    await asyncio.gather(*writers)
    last = fork(programs.relay, kafka.bootstrap, database, 500, "lives")
    await until(lambda: all_published(store), "everything is published")
    last.terminate()
    assert await ended(last) == 0

    records = await published(kafka, accounts)
    found = facts(records)
    assert sorted(found) == sorted(await stored(store))
    assert len(found) == written >= 300
    assert await sequences(store) == list(range(1, written + 1))
    ids = {msgspec.json.decode(record.value or b"")[2] for record in records}
    assert len(ids) == written < len(records), "repeats have the same ids"


async def test_of_two_relays_one_is_active_and_the_other_takes_over(
    store: EventStore, producer: Producer, kafka: Kafka, accounts: Accounts
) -> None:
    first = Relay(store.engine, producer, poll_s=0.1)
    second = Relay(store.engine, producer, poll_s=0.1)
    async with running(second):
        async with running(first):
            for _ in range(20):
                await store.run(CAUSE, depositing(accounts, "a"))
            await until(lambda: all_published(store), "everything is published")

            async def both_ready() -> bool:
                return first.ready() and second.ready()

            await until(both_ready, "one stands by")
        for _ in range(20):
            await store.run(CAUSE, depositing(accounts, "a"))
        await until(lambda: all_published(store), "the other one has taken over")
    records = await published(kafka, accounts)
    assert [version for _, version in facts(records)] == list(range(1, 41))
    assert len(records) == 40, "nobody published what the other one had"


async def test_two_relays_that_both_think_they_are_active_do_no_harm(
    store: EventStore, kafka: Kafka, producer: Producer, accounts: Accounts
) -> None:
    """As if their advisory locks did not meet: that they share a row is the fence."""
    one, two = (Relay(store.engine, producer, batch=3) for _ in range(2))
    two._lock = one._lock + 1

    async def write(writer: int) -> None:
        for _ in range(20):
            await store.run(CAUSE, depositing(accounts, f"a{writer}"))

    async with running(one), running(two):
        await asyncio.gather(*map(write, range(5)))
        await until(lambda: all_published(store), "everything is published")
    assert sorted(facts(await published(kafka, accounts))) == sorted(await stored(store))
    assert await sequences(store) == list(range(1, 101))


async def test_a_server_that_is_killed_and_comes_back(
    store: EventStore, kafka: Kafka, producer: Producer, accounts: Accounts, postgres: Postgres
) -> None:
    async with running(Relay(store.engine, producer, poll_s=0.1)):
        await store.run(CAUSE, depositing(accounts, "a"))
        await until(lambda: all_published(store), "the first is published")
        await asyncio.to_thread(postgres.stack.kill, "postgres")
        await asyncio.to_thread(postgres.stack.start, ["postgres"])
        await store.run(CAUSE, depositing(accounts, "a"))
        await until(lambda: all_published(store), "the second is published")
    assert [version for _, version in facts(await published(kafka, accounts))] == [1, 2]


async def test_its_lag_is_seen(store: EventStore, producer: Producer, accounts: Accounts) -> None:
    for _ in range(3):
        await store.run(CAUSE, depositing(accounts, "a"))
    relay = Relay(store.engine, producer)
    assert not relay.ready()
    async with running(relay):

        async def measured() -> bool:
            return relay.positions() == {"relay": (3, 3)}

        await until(measured, "the lag is measured")


async def test_followers_resume_and_wait(
    store: EventStore, producer: Producer, accounts: Accounts
) -> None:
    """Every published event of the client once, in the order of the numbers."""
    other = replace(CAUSE, client_id=f"other-{uuid.uuid4().hex}")
    for _ in range(3):
        await store.run(CAUSE, depositing(accounts, "a"))
        await store.run(other, depositing(accounts, "a"))
    assert await store.updates(["account"], "acme", 0, 10) == [], "they have no numbers yet"
    async with running(Relay(store.engine, producer)):
        await until(lambda: all_published(store), "everything is published")
        first = await store.updates(["account"], "acme", 0, 2)
        assert [update.version for update in first] == [1, 2]
        assert await store.updates(["complaint"], "acme", 0, 10) == []

        async def follow() -> list[Update]:
            found: list[Update] = []
            async for update in store.follow(["account"], "acme", first[-1].sequence):
                found.append(update)
                if update.version == 5:
                    break
            return found

        following = asyncio.create_task(follow())
        await asyncio.sleep(0.2)
        began = asyncio.get_running_loop().time()
        for _ in range(2):
            await store.run(CAUSE, depositing(accounts, "a"))
        rest = await asyncio.wait_for(following, 30)
        assert asyncio.get_running_loop().time() - began < 5
    assert [update.version for update in rest] == [3, 4, 5]
    assert [msgspec.json.decode(update.message)[1] for update in rest] == [3, 4, 5]


async def test_each_update_names_the_one_before_it(
    store: EventStore, producer: Producer, accounts: Accounts
) -> None:
    """Of the same client and the same categories, wherever the reader begins, even in a hole."""
    ledger = replace(accounts, name="ledger")
    secret = replace(accounts, name="secret", topic=None)
    other = replace(CAUSE, client_id=f"other-{uuid.uuid4().hex}")
    rng = random.Random(3)
    for _ in range(40):
        category = rng.choice([accounts, ledger, secret])
        await store.run(rng.choice([CAUSE, other]), depositing(category, "a"))
    async with running(Relay(store.engine, producer)):
        await until(lambda: all_published(store), "everything is published")
    for names in (["account"], ["account", "ledger"], ["ledger", "account", "secret"]):
        every = await store.updates(names, "acme", 0, 1_000)
        places = [update.sequence for update in every]
        assert places == sorted(set(places))
        assert {update.category for update in every} == set(names) - {"secret"}
        assert [update.previous for update in every] == [0, *places[:-1]]
        for after in range(41):
            assert (
                await store.updates(names, "acme", after, 3)
                == [update for update in every if update.sequence > after][:3]
            )
