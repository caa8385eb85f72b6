"""A hundred at once for ten crews, fifty times, under SIGKILL: ten get one, ninety are told when
there is another, and no crew is booked twice.

Every day has time for ten visits. On each of fifty days a hundred customers want one at the same
moment; those who get none try again on the next day, with those who have come in the meantime. In
between orders-api is killed with the requests in it, and whoever gets no answer asks again with the
same Idempotency-Key, as a program that must know does.
"""

import asyncio
import random
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from relaisctl.stack import Stack
from tests.integration.conftest import Engines
from tests.integration.orders_support import AREA, VISITED, Shop, published, shop

CLIENT = "orders-kills"
PROCESSES = ["orders-api", "orders-relay"]
ROUNDS = 50
WANT = 100
CREWS = 10
KILL_EVERY = 2
"""Rounds. A process needs seconds to be there again, so every one of fifty would be minutes."""
MAX_DELAY_S = 0.5
"""From the first request of a round to the kill; a round without one takes about as long."""


@pytest.fixture(scope="module")
def running(stack: Engines, services: Stack) -> Stack:
    services.start(PROCESSES)
    return services


def time_of(text: str) -> datetime:
    return datetime.fromisoformat(text)


async def book(shop: Shop, order_id: str, day: datetime) -> tuple[str, int, dict[str, Any]]:
    body = {"starts_at": day.isoformat(), "area_id": AREA}
    key = f"book-{order_id}-{day:%m%d}"
    answer = await shop.ask("POST", f"/orders/{order_id}/visit", key, body)
    return order_id, answer.status_code, answer.json()


async def kill(services: Stack, delay_s: float) -> None:
    await asyncio.sleep(delay_s)
    await asyncio.to_thread(services.kill, "orders-api")
    await asyncio.to_thread(services.start, PROCESSES)


async def many(shop: Shop, order_ids: list[str]) -> None:
    """Drafts, some at a time."""
    for at in range(0, len(order_ids), 20):
        await asyncio.gather(*(shop.draft(id, VISITED) for id in order_ids[at : at + 20]))


@pytest.mark.timeout(900)
async def test_a_hundred_for_ten_fifty_times(stack: Engines, running: Stack) -> None:
    began = time.monotonic()
    chance = random.Random(4)
    won: dict[str, dict[str, Any]] = {}
    kills = cut_off = 0
    # The day after tomorrow: all of it is ahead, whatever the time is now.
    first = datetime.now(UTC).replace(hour=9, minute=0, second=0, microsecond=0)
    days = [first + timedelta(days=2 + number) for number in range(ROUNDS)]
    async with shop(running, stack.kafka, CLIENT) as customers:
        await customers.open(CREWS)
        waiting: list[str] = []
        for number, day in enumerate(days):
            new = [f"o-{number}-{each}" for each in range(WANT - len(waiting))]
            await many(customers, new)
            waiting += new
            assert len(waiting) == WANT
            asked_again = customers.asked_again
            killing = None
            if number % KILL_EVERY == 0:
                killing = asyncio.create_task(kill(running, chance.uniform(0, MAX_DELAY_S)))
                kills += 1
            answers = await asyncio.gather(*(book(customers, id, day) for id in waiting))
            if killing is not None:
                await killing
                cut_off += customers.asked_again > asked_again
            got = {id: body["visit"] for id, status, body in answers if status == 200}
            assert len(got) == CREWS, Counter(status for _, status, _ in answers)
            assert len({visit["crew_id"] for visit in got.values()}) == CREWS
            for _, status, body in answers:
                if status == 200:
                    assert time_of(body["visit"]["starts_at"]) == day
                    continue
                assert status == 409, body
                assert body["errors"][0]["field"] == "starts_at"
                slots = [time_of(slot["starts_at"]) for slot in body["next_slots"]]
                assert 0 < len(slots) <= 5
                assert slots == sorted(slots)
                assert day not in slots
                assert {slot.time() for slot in slots} == {day.time()}
            won |= got
            waiting = [id for id in waiting if id not in got]

        # What orders say of their visits, what crews have to do, and what was published: the same.
        visits = {row["order_id"]: row for row in await customers.listed(f"/visits?area_id={AREA}")}
        orders = await customers.listed("/orders?product_id=" + VISITED)
    taken = Counter((row["crew_id"], row["starts_at"]) for row in visits.values())
    assert set(taken.values()) == {1}, "a crew is booked twice"
    assert len(won) == ROUNDS * CREWS
    names = ("visit_id", "crew_id", "area_id", "starts_at", "ends_at")
    assert {id: {name: row[name] for name in names} for id, row in visits.items()} == {
        id: {name: visit[name] for name in names} for id, visit in won.items()
    }
    assert {row["order_id"]: row["visit"] for row in orders if row["visit"]} == won
    assert len(orders) == ROUNDS * CREWS + WANT - CREWS
    events, again = await published(stack.kafka, CLIENT, sum(row["version"] for row in orders))
    assert {id: len(found) for id, found in events.items()} == {
        row["order_id"]: row["version"] for row in orders
    }
    scheduled = {
        id: [
            event.visit_scheduled.visit.visit_id
            for event in found
            if event.WhichOneof("body") == "visit_scheduled"
        ]
        for id, found in events.items()
    }
    assert {id: ids for id, ids in scheduled.items() if ids} == {
        id: [visit["visit_id"]] for id, visit in won.items()
    }
    print(
        f"{ROUNDS} rounds of {WANT} for {CREWS} in {time.monotonic() - began:.0f} s: {len(won)}"
        f" booked, {kills} kills, {cut_off} of them amid requests, {customers.asked_again} asked"
        f" again, {again} events published again"
    )
    assert kills == ROUNDS // KILL_EVERY
    assert cut_off > kills // 2
