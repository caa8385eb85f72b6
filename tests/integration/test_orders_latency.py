"""From an agent's last click to the analyst's table: an order that is placed over HTTP is in
ClickHouse within two seconds, for 95 of 100."""

import asyncio
import statistics
import time

import pytest
from clickhouse_driver import Client as ClickHouse

from relaisctl.stack import Stack
from tests.integration.conftest import Engines
from tests.integration.orders_support import Shop, shop

CLIENT = "orders-latency"
PROCESSES = ["orders-api", "orders-relay", "analytics-loader"]
ORDERS = 80
EVERY_S = 0.25
WARM = 5
"""Orders that are not counted: the first of a process loads code and opens connections."""
LIMIT_S = 2.0
PATIENCE_S = 60.0

_VISIBLE = """
SELECT order_id FROM order_events
WHERE client_id = %(client)s AND event_type = 'OrderPlaced'"""


@pytest.fixture(scope="module")
def running(stack: Engines, services: Stack) -> Stack:
    services.start(PROCESSES)
    return services


async def ready(customers: Shop, number: int) -> str:
    """An order that lacks nothing but to be placed."""
    id = f"o-{number}"
    await customers.draft(id)
    await customers.post(f"/orders/{id}/points/told/tick", f"tick-{id}")
    return id


async def look(clickhouse: str, count: int) -> dict[str, float]:
    """When each of so many orders was seen first, by the monotonic clock."""
    seen: dict[str, float] = {}
    deadline = time.monotonic() + PATIENCE_S
    with ClickHouse.from_url(clickhouse) as client:
        while len(seen) < count:
            assert time.monotonic() < deadline, f"{count - len(seen)} orders are not there"
            rows = await asyncio.to_thread(client.execute, _VISIBLE, {"client": CLIENT})
            now = time.monotonic()
            for (order_id,) in rows:
                seen.setdefault(order_id, now)
            await asyncio.sleep(0.02)
    return seen


@pytest.mark.timeout(300)
async def test_placed_orders_are_in_clickhouse_soon(stack: Engines, running: Stack) -> None:
    async with shop(running, stack.kafka, CLIENT) as customers:
        await customers.open()
        ids = [await ready(customers, number) for number in range(ORDERS + WARM)]
        looking = asyncio.create_task(look(stack.clickhouse, len(ids)))
        asked: dict[str, float] = {}
        answered: dict[str, float] = {}

        async def place(id: str) -> None:
            asked[id] = time.monotonic()
            await customers.post(f"/orders/{id}/place", f"place-{id}")
            answered[id] = time.monotonic()

        # At a steady rate, however long each takes.
        placing = []
        for id in ids:
            placing.append(asyncio.create_task(place(id)))
            await asyncio.sleep(EVERY_S)
        await asyncio.gather(*placing)
        seen = await looking
    counted = ids[WARM:]
    waits = sorted(seen[id] - asked[id] for id in counted)
    tail = statistics.quantiles(waits, n=20)[-1]
    http = statistics.median(answered[id] - asked[id] for id in counted)
    print(
        f"{len(waits)} orders, one every {EVERY_S:g} s, from the request to the row in ClickHouse:"
        f" median {statistics.median(waits):.2f} s, p95 {tail:.2f} s, longest {waits[-1]:.2f} s;"
        f" of it HTTP {http * 1000:.0f} ms (median)"
    )
    assert seen.keys() == set(ids)
    assert tail < LIMIT_S
