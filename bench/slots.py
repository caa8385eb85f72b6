"""How long it takes to find the free slots of a month, among 200 crews: prints, asserts nothing.

    PYTHONPATH=.:proto python bench/slots.py [--crews 200] [--bookings 24000] [--seconds 5]

All crews serve the area and have the skill; they work the same hours or others, in three zones,
some have days off. Each has four visits a day, with travel between them; so most of what
could be free is not. Searches go through the service, end to end: PostgreSQL, bits, slots.
Beside the wall clock is what a search takes of the processor, this process's share and
PostgreSQL's. Then bookings: of slots that are free, and of slots that are not, whose answer names
the next ones.
"""

import argparse
import asyncio
import random
import tempfile
import time
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path
from zoneinfo import ZoneInfo

import psutil
import sqlalchemy as sa

from eventkit.clock import SystemClock
from eventkit.decider import Rejected
from eventkit.eventstore import Answer, Cause, EventStore, Transaction
from eventkit.keys import PostgresKeyRing, migrate_keys
from eventkit.postgres import make_engine, migrate
from relaisctl.stack import Ports, Stack
from relaisctl.stack.postgres import create_databases, database_url
from services.orders.visits import store
from services.orders.visits.area import Ground
from services.orders.visits.crew import Arrangement, DaysOff, day_of
from services.orders.visits.service import Visits, Want
from services.orders.visits.slots import DAY, QUARTER, Slot, Week, quarter_of

CLIENT = "bench"
CAUSE = Cause(CLIENT, "bench")
ZONES = ("Europe/Paris", "Europe/Paris", "Europe/London", "America/Guadeloupe")
DAYS = 30


def week(rng: random.Random) -> Week:
    begins = rng.choice((420, 480, 480, 480, 540))
    hours = ((begins, 720), (780, begins + 540))
    return (hours,) * 7


class World:
    """A service over a database of its own."""

    def __init__(self, postgres: str, keys: str, postmaster: psutil.Process) -> None:
        self.postmaster = postmaster
        self._engines = make_engine(postgres), make_engine(keys)
        ring = PostgresKeyRing(self._engines[1], {"bench": bytes(32)})
        self.store = EventStore(self._engines[0], ring, SystemClock())
        self.visits = Visits(self.store, self._zone, SystemClock())

    async def _zone(self, _: str) -> ZoneInfo:
        return ZoneInfo("Europe/Paris")

    async def load(self, crews: int, bookings: int) -> None:
        rng = random.Random(1)
        begun = time.perf_counter()
        await self.visits.draw(CAUSE, "paris", Ground("Paris", "FR", ("75",)))
        today = quarter_of(SystemClock().now_us()) // DAY
        for number in range(crews):
            crew_id = f"van-{number:04}"
            plan = Arrangement(crew_id, rng.choice(ZONES), week(rng), ("paris",), ("fibre",), 30)
            await self.visits.arrange(CAUSE, crew_id, plan)
            for _ in range(rng.randint(0, 3)):
                day = day_of(today + rng.randint(2, DAYS))
                await self.visits.take_days_off(CAUSE, crew_id, DaysOff(day, day))
        # As many as will be over the month, at places where the crews work; what meets is left out.
        first = (today + 1) * DAY
        async with self.store.engine.begin() as connection:
            times = await store.crew_times(
                connection, CLIENT, Want("paris", "fibre", 60), first, DAYS * DAY
            )
            rows = []
            for crew in times:
                free = crew.working(DAYS * DAY)
                places = [place for place in range(DAYS * DAY) if free >> place & 1]
                last = -1
                wanted = bookings // crews
                step = max(1, len(places) // wanted)
                for place in places[::step][:wanted]:
                    length = rng.choice((2, 4, 4, 5))
                    if place < last:
                        continue
                    last = place + length + 2
                    starts_at = (first + place) * QUARTER
                    rows.append(
                        {
                            "client_id": CLIENT,
                            "visit_id": uuid.uuid4().hex,
                            "order_id": "bench",
                            "crew_number": crew.number,
                            "area_id": "paris",
                            "skill": "fibre",
                            "starts_at": starts_at,
                            "ends_at": starts_at + length * QUARTER,
                            "busy_until": (first + last) * QUARTER,
                            "fits": True,
                        }
                    )
            # In the order in which customers call.
            rng.shuffle(rows)
            for start in range(0, len(rows), 1_000):
                await connection.execute(sa.insert(store.BOOKINGS), rows[start : start + 1_000])
        async with self.store.engine.connect() as connection:
            await connection.execution_options(isolation_level="AUTOCOMMIT")
            await connection.execute(sa.text("VACUUM ANALYZE bookings"))
        took = time.perf_counter() - begun
        print(f"{crews} crews, {len(rows):,} bookings in {took:.0f} s")

    async def close(self) -> None:
        await self.store.close()
        for engine in self._engines:
            await engine.dispose()

    def used(self) -> tuple[float, float]:
        """Seconds of the processor so far: this process's, PostgreSQL's."""
        times = [each.cpu_times() for each in self.postmaster.children()]
        return time.process_time(), sum(each.user + each.system for each in times)

    async def measure(self, name: str, seconds: float, ask: Callable[[], Awaitable[str]]) -> None:
        """One after the other, for a while."""
        for _ in range(5):
            said = await ask()
        waits: list[float] = []
        before, until = self.used(), time.perf_counter() + seconds
        while (begun := time.perf_counter()) < until:
            said = await ask()
            waits.append((time.perf_counter() - begun) * 1000)
        after = self.used()
        ours, theirs = (
            (now - then) / len(waits) * 1000 for now, then in zip(after, before, strict=True)
        )
        waits.sort()
        middle, late = (waits[int(len(waits) * part)] for part in (0.5, 0.95))
        print(
            f"{name:<36} p50 {middle:6.1f}   p95 {late:6.1f}   worst {waits[-1]:6.1f} ms"
            f"   processor {ours:5.1f} + {theirs:5.1f} ms   {len(waits):>4}x   {said}"
        )


async def run(world: World, seconds: float) -> None:
    async def search(minutes: int, days: int, limit: int) -> list[Slot]:
        return await world.visits.free(
            CLIENT, Want("paris", "fibre", minutes), from_at=0, days=days, limit=limit
        )

    for minutes in (30, 60, 180):
        for days, limit in ((DAYS, 1_500), (DAYS, 50), (3, 50)):

            async def ask(minutes: int = minutes, days: int = days, limit: int = limit) -> str:
                return f"{len(await search(minutes, days, limit))} slots"

            name = f"{days} days, {minutes} minutes, up to {limit}"
            await world.measure(name, seconds, ask)
    free = await search(60, DAYS, 1_500)
    rng = random.Random(2)
    numbers = iter(range(1_000_000))
    counts = {"booked": 0, "refused": 0}

    async def book(starts_at: int) -> str:
        async def work(tx: Transaction) -> Answer:
            visit_id = f"v-{next(numbers)}"
            want = Want("paris", "fibre", 60)
            booking = await world.visits.book(tx, "o", visit_id, want, starts_at)
            return {"crew": booking.crew_id}

        try:
            await world.store.run(CAUSE, work)
        except Rejected as refusal:
            counts["refused"] += 1
            return f"{len(refusal.more['next_slots'])} next slots"
        counts["booked"] += 1
        return f"{counts['booked']} booked, {counts['refused']} refused"

    await world.measure("book", seconds, lambda: book(rng.choice(free).starts_at))
    # Midnight: nobody works.
    night = (quarter_of(SystemClock().now_us()) // DAY + 3) * DAY * QUARTER
    await world.measure("book what is taken", seconds, lambda: book(night))


async def main(crews: int, bookings: int, seconds: float) -> None:
    with tempfile.TemporaryDirectory(prefix="relais-") as home:
        stack = Stack(Path(home), Ports.free())
        try:
            stack.start(["postgres"])
            address = stack.addresses["postgres"]
            create_databases(address, ["orders", "keys"])
            orders, keys = database_url(address, "orders"), database_url(address, "keys")
            await migrate(orders, "services.orders:migrations")
            engine = make_engine(keys)
            await migrate_keys(engine)
            await engine.dispose()
            pid = int((Path(home) / "postgres/postmaster.pid").read_text().split()[0])
            world = World(orders, keys, psutil.Process(pid))
            await world.load(crews, bookings)
            await run(world, seconds)
            await world.close()
        finally:
            stack.stop()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--crews", type=int, default=200)
    parser.add_argument("--bookings", type=int, default=24_000)
    parser.add_argument("--seconds", type=float, default=5.0)
    given = parser.parse_args()
    asyncio.run(main(given.crews, given.bookings, given.seconds))
