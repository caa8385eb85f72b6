"""The event store on a real PostgreSQL: conflicts, repeats, erasure, a server that is killed."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncEngine

from eventkit.decider import Decider, Personal, Rejected
from eventkit.errors import Unavailable
from eventkit.eventcodec import UnknownEventType
from eventkit.eventstore import Answer, Category, Cause, EventStore, Transaction
from eventkit.keys import KeyRing
from eventkit.tests.accounts import (
    ACCOUNTS,
    Account,
    Command,
    Deposit,
    Deposited,
    SetReminder,
    balances,
)
from eventkit.tests.support import Postgres

CAUSE = Cause("acme", "agent-1", occurred_at=1_000)
Work = Callable[[Transaction], Awaitable[Answer]]


def doing(command: Command, id: str = "a") -> Work:
    async def work(tx: Transaction) -> Answer:
        change = await tx.execute(ACCOUNTS, id, command)
        return {"version": change.version, "balance": change.after.balance}

    return work


async def balance(store: EventStore, id: str = "a") -> int | None:
    async with store.reading() as connection:
        found = select(balances.c.balance).where(balances.c.account_id == id)
        return await connection.scalar(found)


async def count(store: EventStore, table: str) -> int:
    async with store.reading() as connection:
        return int(await connection.scalar(text(f"SELECT count(*) FROM {table}")))


# Appending


async def test_what_was_decided_is_there_and_in_the_read_model(store: EventStore) -> None:
    assert await store.run(CAUSE, doing(Deposit(5, "first"))) == {"version": 1, "balance": 5}
    assert await store.run(CAUSE, doing(Deposit(-2))) == {"version": 2, "balance": 3}
    assert await store.load(ACCOUNTS, "acme", "a") == (Account(3, ("first", "")), 2)
    assert await balance(store) == 3
    first, second = await store.history(ACCOUNTS, "acme", "a")
    assert (first.version, first.event, first.occurred_at) == (1, Deposited(5, "first"), 1_000)
    assert first.actor == "agent-1"
    assert second.recorded_at >= first.recorded_at > 1_000
    assert first.event_id != second.event_id


async def test_what_is_refused_changes_nothing(store: EventStore) -> None:
    async def work(tx: Transaction) -> Answer:
        await tx.execute(ACCOUNTS, "a", Deposit(5))
        await tx.execute(ACCOUNTS, "b", Deposit(-1))
        return {}

    with pytest.raises(Rejected, match="not enough"):
        await store.run(CAUSE, work)
    assert await store.load(ACCOUNTS, "acme", "a") == (Account(), 0)
    assert await balance(store) is None


async def test_a_decision_without_events_appends_nothing(store: EventStore) -> None:
    await store.run(CAUSE, doing(SetReminder(10)))
    assert (await store.run(CAUSE, doing(SetReminder(10))))["version"] == 1


async def test_clients_do_not_share_streams(store: EventStore) -> None:
    await store.run(CAUSE, doing(Deposit(5)))
    await store.run(replace(CAUSE, client_id="other"), doing(Deposit(7)))
    assert (await store.load(ACCOUNTS, "acme", "a"))[0].balance == 5
    assert (await store.load(ACCOUNTS, "other", "a"))[0].balance == 7


@pytest.mark.parametrize("expected", [0, 3])
async def test_the_expected_version_is_that_of_the_stream(store: EventStore, expected: int) -> None:
    """One too low is a conflict, and so is one too high: versions have no holes."""
    for _ in range(2):
        await store.run(CAUSE, doing(Deposit(1)))
    attempts = 0

    async def work(tx: Transaction) -> Answer:
        nonlocal attempts
        attempts += 1
        version = expected if attempts == 1 else 2
        await tx.append(ACCOUNTS, [("a", Account(2), version, [Deposited(4)])])
        return {}

    await store.run(CAUSE, work)
    assert attempts == 2
    assert (await store.load(ACCOUNTS, "acme", "a"))[0].balance == 6


async def test_many_streams_in_one_append(store: EventStore) -> None:
    async def work(tx: Transaction) -> Answer:
        found = await tx.load_many(ACCOUNTS, ["a", "b", "c"])
        assert set(found.values()) == {(Account(), 0)}
        appends = [
            ("a", Account(), 0, [Deposited(1, "one"), Deposited(2, "two")]),
            ("b", Account(), 0, []),
            ("c", Account(), 0, [Deposited(3)]),
        ]
        return {"changed": [change.id for change in await tx.append(ACCOUNTS, appends)]}

    assert await store.run(CAUSE, work) == {"changed": ["a", "c"]}
    assert await store.load(ACCOUNTS, "acme", "a") == (Account(3, ("one", "two")), 2)
    assert await balance(store, "c") == 3


async def test_writers_of_one_stream_lose_nothing(store: EventStore) -> None:
    answers = await asyncio.gather(
        *(store.run(CAUSE, doing(Deposit(1, f"by {number}"))) for number in range(50))
    )
    assert sorted(answer["version"] for answer in answers) == list(range(1, 51))
    account, version = await store.load(ACCOUNTS, "acme", "a")
    assert (account.balance, version) == (50, 50)
    assert set(account.notes) == {f"by {number}" for number in range(50)}
    assert await balance(store) == 50


async def test_who_meets_others_too_often_is_told(engine: AsyncEngine, keys: KeyRing) -> None:
    class StandingClock:
        def now_us(self) -> int:
            return 0

    store = EventStore(engine, keys, StandingClock(), random=lambda: 0.0)

    async def always_late(tx: Transaction) -> Answer:
        await tx.append(ACCOUNTS, [("a", Account(), 7, [Deposited(1)])])
        return {}

    with pytest.raises(Unavailable, match="too many others"):
        await store.run(CAUSE, always_late)
    assert await count(store, "events") == 0
    await store.close()


async def test_a_deadlock_is_run_again(store: EventStore) -> None:
    both = asyncio.Barrier(2)

    async def deposit(first: str, second: str) -> Answer:
        is_first_try = True

        async def work(tx: Transaction) -> Answer:
            nonlocal is_first_try
            await tx.execute(ACCOUNTS, first, Deposit(1))
            if is_first_try:
                is_first_try = False
                await both.wait()
            await tx.execute(ACCOUNTS, second, Deposit(1))
            return {}

        return await store.run(CAUSE, work)

    await asyncio.gather(deposit("a", "b"), deposit("b", "a"))
    assert [await balance(store, id) for id in "ab"] == [2, 2]


# Idempotency keys

KEYED = replace(CAUSE, idempotency_key="k-1", fingerprint=b"deposit 5")


async def test_a_key_has_one_effect_and_one_answer(store: EventStore) -> None:
    first = await store.run(KEYED, doing(Deposit(5)))
    assert await store.run(KEYED, doing(Deposit(5))) == first
    await store.run(CAUSE, doing(Deposit(1)))
    assert await store.run(KEYED, doing(Deposit(5))) == first == {"version": 1, "balance": 5}
    assert await balance(store) == 6
    other = replace(KEYED, client_id="other")
    assert await store.run(other, doing(Deposit(9))) == {"version": 1, "balance": 9}


async def test_a_key_has_one_effect_fifty_times_at_once(store: EventStore) -> None:
    # Each tries a stream of its own: only the key can tell that they are one command.
    answers = await asyncio.gather(
        *(store.run(KEYED, doing(Deposit(5, "once"), f"a{number}")) for number in range(50))
    )
    assert answers == [{"version": 1, "balance": 5}] * 50
    assert await count(store, "events") == 1
    assert await count(store, "balances") == 1


async def test_a_key_for_something_else_is_refused(store: EventStore) -> None:
    await store.run(KEYED, doing(Deposit(5)))
    with pytest.raises(Rejected, match="idempotency key"):
        await store.run(replace(KEYED, fingerprint=b"deposit 6"), doing(Deposit(6)))
    assert await balance(store) == 5


async def test_a_refused_command_keeps_no_answer(store: EventStore) -> None:
    with pytest.raises(Rejected):
        await store.run(KEYED, doing(Deposit(-5)))
    await store.run(CAUSE, doing(Deposit(9)))
    assert await store.run(KEYED, doing(Deposit(-5))) == {"version": 2, "balance": 4}


# Personal fields


async def dump(engine: AsyncEngine) -> str:
    async with engine.connect() as connection:
        rows = await connection.execute(text("SELECT e::text FROM events AS e"))
        return "\n".join(rows.scalars())


async def test_what_is_personal_cannot_be_read_in_the_table(store: EventStore) -> None:
    await store.run(CAUSE, doing(Deposit(5, "Anna Sommer")))
    kept = await dump(store.engine)
    assert "Deposited" in kept
    for text_ in (b"Anna", b"Sommer"):
        assert text_.decode() not in kept
        assert text_.hex() not in kept


async def test_a_stream_still_folds_when_its_person_is_erased(
    store: EventStore, keys: KeyRing
) -> None:
    await store.run(CAUSE, doing(Deposit(5, "Anna")))

    async def forget(tx: Transaction) -> Answer:
        await tx.forget(["a"])
        # What is not personal goes on, also in the transaction of the erasure itself.
        await tx.execute(ACCOUNTS, "a", Deposit(1))
        return {}

    await store.run(CAUSE, forget)
    blank = (Account(6, ("", "")), 2)
    assert await store.load(ACCOUNTS, "acme", "a") == blank, "the key is there still"
    await keys.erase("acme", ["a"])
    assert await store.load(ACCOUNTS, "acme", "a") == blank
    with pytest.raises(Rejected, match="erased"):
        await store.run(CAUSE, doing(Deposit(1, "Anna again")))
    await store.run(CAUSE, doing(Deposit(1)))
    assert (await store.load(ACCOUNTS, "acme", "a"))[0].balance == 7


async def test_an_erasure_cannot_be_overtaken(store: EventStore) -> None:
    """An append that began before it is waited for, and nothing personal is appended after it."""
    await store.run(CAUSE, doing(Deposit(5, "Anna")))
    loaded, appended, go_on = asyncio.Event(), asyncio.Event(), asyncio.Event()
    steps: list[str] = []

    async def early(tx: Transaction) -> Answer:
        await tx.execute(ACCOUNTS, "a", Deposit(1, "early"))
        appended.set()
        await go_on.wait()
        steps.append("early")
        return {}

    async def late(tx: Transaction) -> Answer:
        # Loads what is readable still, but appends after the erasure.
        state, version = await tx.load(ACCOUNTS, "a")
        if not loaded.is_set():
            loaded.set()
            await erased.wait()
        events = [Deposited(1)]
        await tx.append(ACCOUNTS, [("a", state, version, events)])
        return {"notes": list(state.notes)}

    async def forget(tx: Transaction) -> Answer:
        await tx.forget(["a"])
        # The read model is cleaned in the transaction of the erasure.
        await tx.connection.execute(balances.update().values(last_note=""))
        steps.append("forgotten")
        return {}

    erased = asyncio.Event()
    first = asyncio.create_task(store.run(CAUSE, early))
    await appended.wait()
    erasing = asyncio.create_task(store.run(CAUSE, forget))
    await asyncio.sleep(0.3)
    assert steps == [], "it waits for the append that has begun"
    go_on.set()
    second = asyncio.create_task(store.run(CAUSE, late))
    await asyncio.gather(first, erasing)
    erased.set()
    assert steps == ["early", "forgotten"]
    answer = await second
    assert set(answer["notes"]) == {""}, "it was run again, blind"
    async with store.reading() as connection:
        assert await connection.scalar(select(balances.c.last_note)) == ""


async def test_appends_and_erasures_at_once_leave_nothing_readable(store: EventStore) -> None:
    async def deposit(id: str, number: int) -> None:
        try:
            await store.run(CAUSE, doing(Deposit(1, f"note {number}"), id))
        except Rejected as error:
            assert "erased" in str(error)  # noqa: PT017

    async def forget(id: str) -> None:
        async def work(tx: Transaction) -> Answer:
            await tx.forget([id])
            clean = balances.update().where(balances.c.account_id == id).values(last_note="")
            await tx.connection.execute(clean)
            return {}

        await asyncio.sleep(0.02)
        await store.run(CAUSE, work)

    ids = [f"a{number}" for number in range(10)]
    await asyncio.gather(
        *(deposit(id, number) for number in range(20) for id in ids), *map(forget, ids)
    )
    async with store.reading() as connection:
        notes = (await connection.scalars(select(balances.c.last_note))).all()
    assert set(notes) == {""}
    for id in ids:
        assert set((await store.load(ACCOUNTS, "acme", id))[0].notes) == {""}


# What the events are made of


async def test_an_old_event_decodes_when_its_class_has_grown(store: EventStore) -> None:
    await store.run(CAUSE, doing(Deposit(5, "Anna")))

    def grown() -> type[Any]:
        @dataclass(frozen=True)
        class Deposited:
            amount: int
            note: Personal[str]
            currency: str = "EUR"
            place: Personal[str] = "unknown"

        return Deposited

    kind = grown()
    later = Category("account", Decider((), lambda c, s: [], lambda s, e: (*s, e), (kind,)))
    state, _ = await store.load(later, "acme", "a")
    assert state == (kind(5, "Anna", "EUR", "unknown"),)


async def test_an_event_that_nobody_knows_is_named(store: EventStore) -> None:
    await store.run(CAUSE, doing(SetReminder(10)))
    narrow = Category("account", Decider((), lambda c, s: [], lambda s, e: s, (Deposited,)))
    with pytest.raises(UnknownEventType, match="ReminderSet is none of Deposited") as caught:
        await store.load(narrow, "acme", "a")
    assert caught.value.__notes__ == ["acme/account/a, version 1"]


# A server that goes away


async def test_a_server_that_is_killed_and_comes_back(
    store: EventStore, postgres: Postgres
) -> None:
    await asyncio.gather(*(store.run(CAUSE, doing(Deposit(1), f"a{n}")) for n in range(10)))
    begun = asyncio.Event()

    async def interrupted(tx: Transaction) -> Answer:
        await tx.execute(ACCOUNTS, "a", Deposit(1))
        begun.set()
        await asyncio.sleep(1.0)
        return {}

    running = asyncio.create_task(store.run(CAUSE, interrupted))
    await begun.wait()
    await asyncio.to_thread(postgres.stack.kill, "postgres")
    try:
        with pytest.raises(Unavailable):
            await running
        with pytest.raises(Unavailable):
            await store.load(ACCOUNTS, "acme", "a")
        with pytest.raises(Unavailable):
            async with store.engine.connect():
                pass
    finally:
        await asyncio.to_thread(postgres.stack.start, ["postgres"])
    answers = await asyncio.gather(
        *(store.run(CAUSE, doing(Deposit(1), f"a{n}")) for n in range(10))
    )
    assert answers == [{"version": 2, "balance": 2}] * 10, "the pool has recovered"
    assert await store.load(ACCOUNTS, "acme", "a") == (Account(), 0)
    async with store.engine.connect() as connection:
        assert await connection.scalar(text("SELECT 1")) == 1


async def test_a_connection_that_is_cut_is_replaced(store: EventStore) -> None:
    """Every idle connection of the pool, and the one in use, whose command is run again."""
    await asyncio.gather(*(store.run(CAUSE, doing(Deposit(1), f"a{n}")) for n in range(10)))
    attempts = 0

    async def cut(tx: Transaction) -> Answer:
        nonlocal attempts
        attempts += 1
        if attempts == 1:
            async with store.engine.connect() as other:
                await other.execute(
                    text(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                    )
                )
        await tx.execute(ACCOUNTS, "a", Deposit(1))
        return {"attempts": attempts}

    assert await store.run(CAUSE, cut) == {"attempts": 2}
    assert await balance(store) == 1
