"""Timers on a real PostgreSQL: on time, once, and across restarts."""

import asyncio
import logging
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from sqlalchemy import text

from eventkit.clock import SystemClock
from eventkit.eventstore import Answer, Cause, EventStore, Transaction
from eventkit.tests import programs
from eventkit.tests.accounts import ACCOUNTS, Account, Deposit, ReminderFell, SetReminder
from eventkit.tests.support import Postgres, ended, fork, until
from eventkit.timers import TimerWorker

CAUSE = Cause("acme", "agent-1")
SECOND = 1_000_000


def in_s(seconds: float, ending: int = 0) -> int:
    """A due time, which ends in this digit."""
    return (SystemClock().now_us() + int(seconds * SECOND)) // 10 * 10 + ending


async def set_reminder(store: EventStore, due_at: int, id: str = "a") -> None:
    async def work(tx: Transaction) -> Answer:
        await tx.execute(ACCOUNTS, id, SetReminder(due_at))
        return {}

    await store.run(CAUSE, work)


async def timers_left(store: EventStore) -> int:
    async with store.reading() as connection:
        return int(await connection.scalar(text("SELECT count(*) FROM timers")))


def none_left(store: EventStore) -> Callable[[], Awaitable[bool]]:
    async def condition() -> bool:
        return await timers_left(store) == 0

    return condition


@asynccontextmanager
async def running(*workers: TimerWorker) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(worker.run()) for worker in workers]
    try:
        yield
    finally:
        for worker in workers:
            worker.stop()
        await asyncio.gather(*tasks)


async def test_a_timer_fires_on_time_and_at_its_own_time(store: EventStore) -> None:
    async with running(TimerWorker(store, [ACCOUNTS], poll_s=60)):
        await asyncio.sleep(0.3)
        due_at = in_s(0.7)
        # The worker sleeps for a minute: only the notification of this append can wake it up.
        await set_reminder(store, due_at)
        await until(none_left(store), "it has fired")
    _, fell = await store.history(ACCOUNTS, "acme", "a")
    assert fell.event == ReminderFell(due_at)
    assert (fell.occurred_at, fell.actor) == (due_at, "timer")
    assert 0 <= fell.recorded_at - due_at < SECOND


async def test_what_came_due_while_no_worker_ran_fires_at_once(store: EventStore) -> None:
    dues = [in_s(-60 + number) for number in range(5)]
    for due_at in reversed(dues):
        await set_reminder(store, due_at)
    async with running(TimerWorker(store, [ACCOUNTS])):
        await until(none_left(store), "they have fired")
    account, _ = await store.load(ACCOUNTS, "acme", "a")
    assert account == Account(reminders=(), fallen=tuple(dues)), "in order of their due times"


async def test_a_timer_that_the_stream_no_longer_wants_does_not_fire(store: EventStore) -> None:
    due_at = in_s(0.4)
    await set_reminder(store, due_at)

    async def let_it_fall_early(tx: Transaction) -> Answer:
        assert ACCOUNTS.due is not None
        await tx.execute(ACCOUNTS, "a", ACCOUNTS.due("a", "", due_at))
        return {}

    await store.run(CAUSE, let_it_fall_early)
    assert await timers_left(store) == 0
    async with running(TimerWorker(store, [ACCOUNTS])):
        await asyncio.sleep(0.8)
    assert (await store.load(ACCOUNTS, "acme", "a"))[0].fallen == (due_at,)


async def test_many_workers_fire_each_timer_once(store: EventStore) -> None:
    dues = {f"a{number}": in_s(-1) for number in range(60)}
    for id, due_at in dues.items():
        await set_reminder(store, due_at, id)
    workers = [TimerWorker(store, [ACCOUNTS], poll_s=0.05) for _ in range(3)]
    async with running(*workers):
        await until(none_left(store), "they have fired")
    for id, due_at in dues.items():
        assert (await store.load(ACCOUNTS, "acme", id))[0].fallen == (due_at,)
    assert sum(worker.positions()["timers"][0] for worker in workers) == 60


async def test_a_refused_timer_is_dropped_with_ids_only(
    store: EventStore, caplog: pytest.LogCaptureFixture
) -> None:
    await set_reminder(store, in_s(-1, ending=7))
    await set_reminder(store, in_s(-1), "b")
    worker = TimerWorker(store, [ACCOUNTS], poll_s=0.05)
    with caplog.at_level(logging.WARNING):
        async with running(worker):
            await until(none_left(store), "both are gone")
            await asyncio.sleep(0.3)
    [line] = [record.message for record in caplog.records if "dropped" in record.message]
    assert "acme/account/a" in line
    assert worker.positions()["timers"] == (2, 2)
    assert (await store.load(ACCOUNTS, "acme", "a"))[0].fallen == ()
    assert len((await store.load(ACCOUNTS, "acme", "b"))[0].fallen) == 1


async def test_workers_that_are_killed_miss_nothing(store: EventStore, database: str) -> None:
    dues = {f"a{number}": in_s(0.2 * number) for number in range(50)}
    for id, due_at in dues.items():
        await set_reminder(store, due_at, id)
    left = 50
    for _ in range(3):
        worker = fork(programs.timers, database)
        target = max(left - 10, 0)

        async def some_have_fired(target: int = target) -> bool:
            return await timers_left(store) <= target

        await until(some_have_fired, "some have fired")
        worker.kill()
        assert await ended(worker) == -signal.SIGKILL
        left = await timers_left(store)
    async with running(TimerWorker(store, [ACCOUNTS])):
        await until(none_left(store), "all have fired")
    for id, due_at in dues.items():
        assert (await store.load(ACCOUNTS, "acme", id))[0].fallen == (due_at,)


async def test_a_server_that_is_killed_and_comes_back(
    store: EventStore, postgres: Postgres
) -> None:
    worker = TimerWorker(store, [ACCOUNTS], poll_s=0.1)
    async with running(worker):
        await set_reminder(store, in_s(1.5))
        await asyncio.to_thread(postgres.stack.kill, "postgres")
        await asyncio.to_thread(postgres.stack.start, ["postgres"])
        await until(none_left(store), "it has fired")
    assert len((await store.load(ACCOUNTS, "acme", "a"))[0].fallen) == 1
    assert worker.ready()


async def test_old_answers_are_deleted(store: EventStore) -> None:
    async def work(tx: Transaction) -> Answer:
        change = await tx.execute(ACCOUNTS, "a", Deposit(1))
        return {"version": change.version}

    for number in range(3):
        await store.run(replace(CAUSE, idempotency_key=f"k{number}"), work)
    worker = TimerWorker(store, [ACCOUNTS])
    now = SystemClock().now_us()
    assert await worker.purge(now - 60 * SECOND) == 0
    assert await worker.purge(now + 60 * SECOND) == 3
