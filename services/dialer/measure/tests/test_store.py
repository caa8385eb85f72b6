"""The counters, in a real database."""

import asyncio
from collections.abc import Sequence
from datetime import date, datetime
from zoneinfo import ZoneInfo

from sqlalchemy.ext.asyncio import AsyncEngine

from services.dialer.measure import store
from services.dialer.measure.measure import Counts, Ended, counted, total
from services.dialer.measure.store import KnownDays, Word

PARIS = "Europe/Paris"


def us(text: str, zone: str = PARIS) -> int:
    moment = datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone))
    return round(moment.timestamp() * 1_000_000)


def talked(at: str, waited: int = 500_000, by: str = "human") -> Ended:
    return Ended(us(at), "predictive", "connected", by, waited)


async def write(engine: AsyncEngine, words: Sequence[Word]) -> None:
    async with engine.begin() as connection:
        await store.count(connection, words)


async def read(
    engine: AsyncEngine, client_id: str, zone: str = PARIS, since: int = 0
) -> dict[date, Counts]:
    async with engine.connect() as connection:
        found = await store.days_of(connection, client_id, ["spring", "autumn"], zone, since)
    assert found["autumn"] == {}
    return found["spring"]


async def test_it_is_summed_by_day_of_whoever_asks(engine: AsyncEngine, client_id: str) -> None:
    ends = ["2026-03-01T23:59:59", "2026-03-02T00:00:00", "2026-03-02T00:20:00"]
    first, second, third = (talked(at) for at in ends)
    await write(engine, [Word(client_id, "spring", None, each) for each in (first, second)])
    await write(engine, [Word(client_id, "spring", None, third)])
    days = await read(engine, client_id)
    assert days == {
        date(2026, 3, 1): counted(first),
        date(2026, 3, 2): total([counted(second), counted(third)]),
    }
    assert await read(engine, client_id, "UTC") == {
        date(2026, 3, 1): total(counted(each) for each in (first, second, third))
    }
    since = us("2026-03-02T00:00:00")
    assert await read(engine, client_id, since=since) == {date(2026, 3, 2): days[date(2026, 3, 2)]}
    assert await read(engine, "nobody") == {}


async def test_the_day_of_a_zone_that_is_a_quarter_off(engine: AsyncEngine, client_id: str) -> None:
    """Kathmandu is 5:45 ahead: its midnight is at a quarter of an hour of UTC."""
    before = Ended(us("2026-03-01T18:14:59", "UTC"), "power", "connected", "human", 0)
    after = Ended(us("2026-03-01T18:15:00", "UTC"), "power", "connected", "human", 0)
    await write(engine, [Word(client_id, "spring", None, each) for each in (before, after)])
    days = await read(engine, client_id, "Asia/Kathmandu")
    assert {day: counts.live for day, counts in days.items()} == {
        date(2026, 3, 1): 1,
        date(2026, 3, 2): 1,
    }


async def test_it_was_a_machine_after_all(engine: AsyncEngine, client_id: str) -> None:
    ended = talked("2026-03-02T10:00:00", by="unknown")
    machine = Ended(ended.at, ended.mode, ended.result, "unknown", ended.waited, True)
    await write(engine, [Word(client_id, "spring", None, ended)])
    await write(engine, [Word(client_id, "spring", ended, machine)])
    await write(engine, [Word(client_id, "spring", machine, machine)])
    assert await read(engine, client_id) == {date(2026, 3, 2): Counts(machines=1)}


async def test_many_at_once_are_all_counted(engine: AsyncEngine, client_id: str) -> None:
    words = [
        Word(client_id, "spring", None, talked(f"2026-03-02T{hour}:00:00")) for hour in (10, 11, 12)
    ]
    orders = [words, words[::-1], words[1:] + words[:1]] * 3
    await asyncio.gather(*(write(engine, order) for order in orders))
    assert (await read(engine, client_id))[date(2026, 3, 2)].connected == 27


async def test_who_asks_often_sees_the_same_as_who_asks_once(
    engine: AsyncEngine, client_id: str
) -> None:
    known, now = KnownDays(), us("2026-03-04T12:00:00")

    async def both(at: int) -> tuple[dict[date, Counts], dict[date, Counts]]:
        async with engine.connect() as connection:
            found = await known.read(connection, client_id, ["spring"], PARIS, at)
        return found["spring"], await read(engine, client_id)

    hour = KnownDays.AGAIN_US
    ended = talked("2026-03-01T10:00:00", by="unknown")
    await write(engine, [Word(client_id, "spring", None, ended)])
    cached, fresh = await both(now)
    assert cached == fresh
    for at in ("2026-03-03T00:00:00", "2026-03-03T23:59:59", "2026-03-04T11:59:59"):
        await write(engine, [Word(client_id, "spring", None, talked(at))])
        cached, fresh = await both(now + 1)
        assert cached == fresh
    # A late word on what is over is seen within the hour.
    machine = Ended(ended.at, ended.mode, ended.result, "unknown", ended.waited, True)
    await write(engine, [Word(client_id, "spring", ended, machine)])
    cached, fresh = await both(now + hour - 1)
    assert cached != fresh
    cached, fresh = await both(now + hour)
    assert cached == fresh
    # A day that began meanwhile.
    await write(engine, [Word(client_id, "spring", None, talked("2026-03-05T00:00:01"))])
    cached, fresh = await both(us("2026-03-05T00:00:02"))
    assert cached == fresh
