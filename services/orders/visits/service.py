"""The use cases of visits: who is free when, a booking, and what crews and areas there are.

Whoever books holds the lock on the client's crews with all others who book, and the locks of the
visit's days alone; so of many who want one slot each sees what the one before has left. Whoever
changes a crew, or looks for the soonest one through many days, holds the first lock alone.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy.ext.asyncio import AsyncConnection

from eventkit.clock import EPOCH, Clock, rfc3339
from eventkit.decider import Invalid, NotFound, Rejected
from eventkit.eventstore import Answer, Cause, EventStore, Transaction
from services.orders.addresses.address import Address
from services.orders.visits import area as a
from services.orders.visits import crew as c
from services.orders.visits import store
from services.orders.visits.slots import (
    DAY,
    MINUTE,
    QUARTER,
    Booking,
    CrewTime,
    Slot,
    Want,
    check_id,
    check_want,
    grid,
    lowest,
    margin,
    ones,
    preferred,
    quarter_after,
    quarter_of,
    quarters,
    slots,
)
from services.orders.visits.store import AREAS, CREWS, Row

__all__ = ["Booking", "Slot", "Visits", "Want"]

AHEAD_DAYS = 90
"""How far ahead a visit may be booked."""
SEARCH_DAYS = 31
"""Of one search."""
SOONEST_DAYS = 30
NEXT_SLOTS = 5
"""Told to whom a slot is refused; looked for in a few days first, since that is where they are."""
NEXT_DAYS = (3, 30)
FIRST_DAY, LAST_DAY = date(2000, 1, 1), date(2999, 12, 31)
"""That anybody may ask for."""

_DAY_US = DAY * QUARTER


class Visits:
    """zone: of a client, for crews that have none of their own, and for days.

    Raises NotFound, Invalid, Rejected and Unavailable.
    """

    def __init__(
        self, events: EventStore, zone: Callable[[str], Awaitable[ZoneInfo]], clock: Clock
    ) -> None:
        self.events = events
        self._zone = zone
        self._clock = clock

    # Who is free.

    async def area_of(self, connection: AsyncConnection, client_id: str, address: Address) -> str:
        """The area that an address lies in: of the client's areas of its country, the one with the
        longest prefix of its postal code. Rejected, for `area_id`, where there is none."""
        if a.COUNTRY.fullmatch(address.country):
            prefixes = a.prefixes_of(address.postal_code)
            found = await store.area_with(connection, client_id, address.country, prefixes)
            if found is not None:
                return found
        raise Rejected("no crew's area has this address", "area_id")

    async def free(
        self, client_id: str, want: Want, *, from_at: int, days: int, limit: int
    ) -> list[Slot]:
        """The first `limit` slots of an area for a skill within so many days (1 to 31) from a time
        on, or from now where that is past. Times at which nobody is free are no slots; nothing
        beyond 90 days is."""
        check_want(want)
        if not 1 <= days <= SEARCH_DAYS:
            raise Invalid("days", f"must be 1 to {SEARCH_DAYS}")
        now = self._clock.now_us()
        first = quarter_after(max(from_at, now))
        _check_ahead("from", first, now)
        async with self.events.reading() as connection:
            count = min(days * DAY, _last(now) - first + 1)
            crews = await store.crew_times(
                connection, client_id, want, first, count + margin(quarters(want.minutes))
            )
            if not crews and not await store.known_areas(connection, client_id, [want.area_id]):
                raise NotFound("area")
        return slots(crews, want.minutes, first, count, limit)

    # Booking.

    async def book(
        self,
        tx: Transaction,
        order_id: str,
        visit_id: str,
        want: Want,
        starts_at: int,
        *,
        replacing: str = "",
    ) -> Booking:
        """Book a crew for a visit, in the order's own transaction.

        starts_at: microseconds since 1970, any quarter of an hour from now on, up to 90 days ahead.
        replacing: another visit, or this one, that is released in the same transaction before it is
            seen who is free; nothing where it is not booked.

        The same visit again is the booking that there is. Where nobody is free: Rejected, with up
        to five `next_slots` that are.
        """
        check_want(want)
        check_id("order_id", order_id)
        check_id("visit_id", visit_id)
        start = _start(starts_at, tx.now)
        connection, client_id = tx.connection, tx.cause.client_id
        await store.lock_crews(connection, client_id, alone=False)
        there = await store.booked(connection, client_id, [visit_id, replacing])
        same = None if visit_id == replacing else there.get(visit_id)
        if same is not None:
            return _again(same, order_id, want, starts_at)
        length = quarters(want.minutes)
        days = set(_days(start, start + margin(length)))
        if (old := there.get(replacing)) is not None:
            days.update(_days(quarter_of(old["starts_at"]), quarter_after(old["busy_until"])))
        await store.lock_days(connection, client_id, days)
        if replacing:
            await store.release(connection, client_id, [replacing])
        # A day on both sides, to see whose day it suits.
        first, count = start - DAY, 2 * DAY + margin(length)
        crews = await store.crew_times(connection, client_id, want, first, count)
        free = [crew for crew in crews if crew.starts(length, DAY + 1) >> DAY]
        for crew in preferred(free, DAY, count):
            booking = _booking(visit_id, crew, want, start)
            if await _insert(connection, client_id, order_id, crew, booking):
                return booking
        there = await store.booked(connection, client_id, [visit_id])
        if visit_id in there:
            return _again(there[visit_id], order_id, want, starts_at)
        raise await self._nobody(tx, want, start, known=bool(crews))

    async def book_soonest(
        self,
        tx: Transaction,
        order_id: str,
        visit_id: str,
        want: Want,
        not_before: int,
        *,
        replacing: str = "",
        avoid_crew: str = "",
    ) -> Booking:
        """Book the crew that can be there first: at the first half hour on the wall that leaves it
        its travel time from `not_before` (or from now, where that is past).

        avoid_crew: only where no other has time within 30 days. Otherwise as `book`.
        """
        check_want(want)
        check_id("order_id", order_id)
        check_id("visit_id", visit_id)
        first = quarter_after(max(not_before, tx.now))
        _check_ahead("not_before", first, tx.now)
        connection, client_id = tx.connection, tx.cause.client_id
        # It may find its time on any day, and days are locked upwards: so nobody else books now.
        await store.lock_crews(connection, client_id, alone=True)
        if visit_id != replacing:
            there = await store.booked(connection, client_id, [visit_id])
            if visit_id in there:
                return _again(there[visit_id], order_id, want, None)
        if replacing:
            await store.release(connection, client_id, [replacing])
        length = quarters(want.minutes)
        count = min(SOONEST_DAYS * DAY, _last(tx.now) - first + 1)
        whole = count + margin(length)
        crews = await store.crew_times(connection, client_id, want, first, whole)
        others = [crew for crew in crews if crew.crew_id != avoid_crew]
        avoided = [crew for crew in crews if crew.crew_id == avoid_crew]
        for some in (others, avoided):
            while soonest := _soonest(some, length, count):
                place, free = soonest
                for crew in preferred(free, place, whole):
                    booking = _booking(visit_id, crew, want, first + place)
                    if await _insert(connection, client_id, order_id, crew, booking):
                        return booking
                # Somebody wrote without our locks: what these crews do then is not known here.
                some = [crew for crew in some if crew not in free]
        reason = f"no crew is free within {SOONEST_DAYS} days" if crews else _NO_CREW
        raise Rejected(reason, "area_id", more={"next_slots": []})

    async def _nobody(self, tx: Transaction, want: Want, start: int, *, known: bool) -> Rejected:
        if not known:
            return Rejected(_NO_CREW, "area_id", more={"next_slots": []})
        found: list[Slot] = []
        for days in NEXT_DAYS:
            count = min(days * DAY, _last(tx.now) - start + 1)
            crews = await store.crew_times(
                tx.connection,
                tx.cause.client_id,
                want,
                start,
                count + margin(quarters(want.minutes)),
            )
            found = slots(crews, want.minutes, start, count, NEXT_SLOTS)
            if len(found) == NEXT_SLOTS:
                break
        return Rejected(
            "no crew is free then",
            "starts_at",
            more={
                "next_slots": [
                    {
                        "starts_at": rfc3339(slot.starts_at),
                        "ends_at": rfc3339(slot.ends_at),
                        "crews": slot.crews,
                    }
                    for slot in found
                ]
            },
        )

    # Crews.

    async def arrange(self, cause: Cause, crew_id: str, arrangement: c.Arrangement) -> Answer:
        """Register a crew, or say how it works from now on. zone "": the client's.

        This and what follows answers crew_id, version, and `without_crew`: the visits that this
        crew has and does not make as things are.
        """
        if not arrangement.zone:
            zone = await self._zone(cause.client_id)
            arrangement = replace(arrangement, zone=zone.key)
        return await self._change(cause, crew_id, lambda _: c.ArrangeCrew(arrangement))

    async def take_days_off(self, cause: Cause, crew_id: str, off: c.DaysOff) -> Answer:
        return await self._change(cause, crew_id, lambda now: c.TakeDaysOff(now, off))

    async def give_back_days_off(self, cause: Cause, crew_id: str, off: c.DaysOff) -> Answer:
        return await self._change(cause, crew_id, lambda now: c.GiveBackDaysOff(now, off))

    async def retire(self, cause: Cause, crew_id: str) -> Answer:
        return await self._change(cause, crew_id, lambda _: c.RetireCrew())

    async def _change(self, cause: Cause, crew_id: str, make: Callable[[int], c.Command]) -> Answer:
        check_id("crew_id", crew_id)

        async def work(tx: Transaction) -> Answer:
            await store.lock_crews(tx.connection, cause.client_id, alone=True)
            command = make(tx.now)
            if isinstance(command, c.ArrangeCrew):
                await self._require_areas(tx, command.arrangement.areas)
            change = await tx.execute(CREWS, crew_id, command)
            ahead = await store.bookings(
                tx.connection, cause.client_id, crew_id=crew_id, ends_after=tx.now
            )
            fits = {row["visit_id"]: _fits(change.after, row) for row in ahead}
            await store.refit(tx.connection, cause.client_id, fits)
            return {
                "crew_id": crew_id,
                "version": change.version,
                "without_crew": [
                    {
                        "visit_id": row["visit_id"],
                        "order_id": row["order_id"],
                        "starts_at": rfc3339(row["starts_at"]),
                    }
                    for row in ahead
                    if not fits[row["visit_id"]]
                ],
            }

        return await self.events.run(cause, work)

    async def _require_areas(self, tx: Transaction, area_ids: Sequence[str]) -> None:
        known = await store.known_areas(tx.connection, tx.cause.client_id, area_ids)
        for place, area_id in enumerate(area_ids):
            if area_id not in known:
                raise Rejected("there is no such area; draw it first", f"areas.{place}")

    async def crew(self, client_id: str, crew_id: str) -> Row:
        found = await self._crews(client_id, crew_id=crew_id)
        if not found:
            raise NotFound("crew")
        return found[0]

    async def crews(
        self, client_id: str, *, area_id: str, skill: str, after: str, limit: int
    ) -> list[Row]:
        """By id, retired ones included. Each with its `days_off` from today on."""
        return await self._crews(client_id, area_id=area_id, skill=skill, after=after, limit=limit)

    async def _crews(
        self,
        client_id: str,
        *,
        crew_id: str = "",
        area_id: str = "",
        skill: str = "",
        after: str = "",
        limit: int = 1,
    ) -> list[Row]:
        today = self._clock.now_us() // _DAY_US
        async with self.events.reading() as connection:
            return await store.crews(
                connection,
                client_id,
                crew_id=crew_id,
                area_id=area_id,
                skill=skill,
                # Where the wall is behind UTC, yesterday is not over yet.
                from_day=today - 1,
                after=after,
                limit=limit,
            )

    # Areas.

    async def draw(self, cause: Cause, area_id: str, ground: a.Ground) -> Answer:
        """area_id, version. Rejected where another area has one of the prefixes, saying which."""
        check_id("area_id", area_id)

        async def work(tx: Transaction) -> Answer:
            await store.lock_crews(tx.connection, cause.client_id, alone=True)
            a.check(ground)
            others = await store.others_with(tx.connection, cause.client_id, area_id, ground)
            if others:
                raise Rejected("another area has these already", "prefixes", more={"taken": others})
            change = await tx.execute(AREAS, area_id, a.DrawArea(ground))
            return {"area_id": area_id, "version": change.version}

        return await self.events.run(cause, work)

    async def dissolve(self, cause: Cause, area_id: str) -> Answer:
        """No address leads there any more. What is booked stays booked."""
        check_id("area_id", area_id)

        async def work(tx: Transaction) -> Answer:
            await store.lock_crews(tx.connection, cause.client_id, alone=True)
            change = await tx.execute(AREAS, area_id, a.DissolveArea())
            return {"area_id": area_id, "version": change.version}

        return await self.events.run(cause, work)

    async def areas(self, client_id: str, after: str, limit: int) -> list[Row]:
        """By id."""
        async with self.events.reading() as connection:
            return await store.areas(connection, client_id, after, limit)

    # What is booked.

    async def bookings(
        self,
        client_id: str,
        *,
        crew_id: str = "",
        area_id: str = "",
        day: date | None = None,
        without_crew: bool | None = None,
        after: tuple[int, str] | None = None,
        limit: int,
    ) -> list[Row]:
        """By their start: those of a day in the client's zone; without one, all from now on."""
        begins, ends = self._clock.now_us(), None
        if day is not None:
            if not FIRST_DAY <= day <= LAST_DAY:
                raise Invalid("day", f"must be from {FIRST_DAY} to {LAST_DAY}")
            zone = await self._zone(client_id)
            begins, ends = _midnight(day, zone), _midnight(day + timedelta(days=1), zone)
        async with self.events.reading() as connection:
            return await store.bookings(
                connection,
                client_id,
                crew_id=crew_id,
                area_id=area_id,
                ends_after=begins,
                starts_before=ends,
                without_crew=without_crew,
                after=after,
                limit=limit,
            )


_NO_CREW = "no crew of this area has the skill"


def _start(starts_at: int, now: int) -> int:
    """The quarter that a visit begins with. Raises Invalid."""
    if starts_at % QUARTER:
        raise Invalid("starts_at", "must be on a quarter of an hour")
    if starts_at < now:
        raise Invalid("starts_at", "lies in the past")
    start = quarter_of(starts_at)
    _check_ahead("starts_at", start, now)
    return start


def _check_ahead(name: str, quarter: int, now: int) -> None:
    if quarter > _last(now):
        raise Invalid(name, f"more than {AHEAD_DAYS} days ahead")


def _last(now: int) -> int:
    """The last quarter that a visit may begin with."""
    return quarter_of(now) + AHEAD_DAYS * DAY


def _days(first: int, last: int) -> range:
    """The days of UTC that these quarters lie in; `last` is the first that is none of them."""
    return range(first // DAY, (last - 1) // DAY + 1)


def _booking(visit_id: str, crew: CrewTime, want: Want, start: int) -> Booking:
    starts_at = start * QUARTER
    ends_at = starts_at + want.minutes * MINUTE
    return Booking(visit_id, crew.crew_id, want.area_id, want.skill, starts_at, ends_at)


async def _insert(
    connection: AsyncConnection, client_id: str, order_id: str, crew: CrewTime, booking: Booking
) -> bool:
    busy_until = (quarter_after(booking.ends_at) + crew.travel) * QUARTER
    return await store.insert_booking(connection, client_id, order_id, crew, booking, busy_until)


def _again(row: Row, order_id: str, want: Want, starts_at: int | None) -> Booking:
    """What is booked already. Rejected where it is something else."""
    booking = Booking(
        row["visit_id"],
        row["crew_id"],
        row["area_id"],
        row["skill"],
        row["starts_at"],
        row["ends_at"],
    )
    minutes = (booking.ends_at - booking.starts_at) // MINUTE
    if (
        row["order_id"] != order_id
        or Want(booking.area_id, booking.skill, minutes) != want
        or starts_at not in (None, booking.starts_at)
    ):
        raise Rejected("another visit has this id already", "visit_id")
    return booking


def _soonest(
    crews: Sequence[CrewTime], length: int, count: int
) -> tuple[int, list[CrewTime]] | None:
    """The first place at which a visit can begin, and who can be there then."""
    places: dict[int, list[CrewTime]] = {}
    for crew in crews:
        # The way there comes first.
        starts = crew.starts(length, count) & ~ones(crew.travel)
        place = lowest(starts & grid(crew.zone, crew.first, count))
        if place >= 0:
            places.setdefault(place, []).append(crew)
    return min(places.items()) if places else None


def _fits(crew: c.Crew, row: Row) -> bool:
    """Whether the crew makes a visit that it has, as things are."""
    arrangement = crew.arrangement
    if arrangement is None or crew.retired:
        return False
    if row["area_id"] not in arrangement.areas or row["skill"] not in arrangement.skills:
        return False
    first = quarter_of(row["starts_at"])
    length = quarter_after(row["ends_at"]) - first
    return c.time_of(crew, first).working(length) == ones(length)


def _midnight(day: date, zone: ZoneInfo) -> int:
    """When a day begins on the wall, microseconds since 1970."""
    local = datetime(day.year, day.month, day.day, tzinfo=zone)
    return (local - EPOCH) // timedelta(microseconds=1)
