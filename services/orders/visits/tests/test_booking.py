"""Booking through the service, with real PostgreSQL: one at a time, and many at once."""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Sequence
from dataclasses import replace
from datetime import date
from itertools import pairwise
from typing import Any, TypeVar

import asyncpg
import pytest
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from eventkit.decider import Invalid, NotFound, Rejected
from eventkit.eventstore import Answer, Cause, Transaction
from services.orders.addresses.address import Address
from services.orders.visits import store as tables
from services.orders.visits.area import Ground
from services.orders.visits.crew import DaysOff
from services.orders.visits.service import Booking, Visits, Want
from services.orders.visits.slots import DAY, MINUTE, QUARTER, Week
from services.orders.visits.tests.support import FIBRE, HOUR, Desk, SetClock, us

T = TypeVar("T")
TUESDAY = "2026-11-24T10:00"


def one_day(begins: int, ends: int) -> Week:
    """Tuesdays, hours of the clock."""
    return ((), ((begins * 60, ends * 60),), (), (), (), (), ())


async def rejected(work: Awaitable[Any]) -> Rejected:
    with pytest.raises(Rejected) as refusal:
        await work
    return refusal.value


def next_slots(refusal: Rejected) -> list[tuple[str, int]]:
    return [(slot["starts_at"], slot["crews"]) for slot in refusal.more["next_slots"]]


# One at a time.


async def test_a_slot_is_booked_once_for_each_crew(desk: Desk) -> None:
    await desk.crew("van-1", week=one_day(9, 12))
    await desk.crew("van-2", week=one_day(9, 12))
    assert (us(TUESDAY), 2) in await desk.free(TUESDAY)
    first = await desk.book(TUESDAY, "v-1")
    assert first == Booking("v-1", "van-1", "paris", "fibre", us(TUESDAY), us(TUESDAY) + HOUR)
    assert (us(TUESDAY), 1) in await desk.free(TUESDAY)
    assert (await desk.book(TUESDAY, "v-2")).crew_id == "van-2"
    refusal = await rejected(desk.book(TUESDAY, "v-3"))
    assert refusal.field == "starts_at"
    # In UTC: 11 o'clock, and the Tuesday after it.
    assert next_slots(refusal) == [
        ("2026-11-24T10:00:00Z", 2),
        *((f"2026-12-01T0{8 + half // 2}:{half % 2 * 30:02}:00Z", 2) for half in range(4)),
    ]
    for slot in refusal.more["next_slots"]:
        begin = us(slot["starts_at"].removesuffix("Z"), "UTC")
        assert (await desk.book(begin)).starts_at == begin
    assert {row["visit_id"] for row in await desk.booked()} >= {"v-1", "v-2"}


async def test_travel_lies_between_two_visits(desk: Desk) -> None:
    await desk.crew("van", week=one_day(8, 14), travel=45)
    await desk.book("2026-11-24T10:00")
    begins = [start for start, _ in await desk.free("2026-11-24T00:00")]
    # 8:15 is a quarter, and can be booked; 8:00 is a half hour, and offered.
    assert begins == [us(f"2026-11-24T{at}") for at in ("08:00", "12:00", "12:30", "13:00")]
    await rejected(desk.book("2026-11-24T11:30"))
    await rejected(desk.book("2026-11-24T08:30"))
    assert await desk.book("2026-11-24T08:15")
    assert await desk.book("2026-11-24T11:45")


async def test_other_travel_holds_for_new_visits(desk: Desk) -> None:
    await desk.crew("van", week=one_day(8, 12), travel=60)
    await desk.book("2026-11-24T08:00")
    answer = await desk.crew("van", week=one_day(8, 12), travel=0)
    assert answer["without_crew"] == []
    assert [start for start, _ in await desk.free("2026-11-24T00:00")] == [
        us(f"2026-11-24T{at}") for at in ("10:00", "10:30", "11:00")
    ]
    await desk.book("2026-11-24T10:00")
    await desk.crew("van", week=one_day(8, 12), travel=240)
    # Nothing of the old one is in the way of a visit after it.
    assert await desk.book("2026-11-24T11:00")


async def test_visits_of_any_length(desk: Desk) -> None:
    await desk.crew("van", week=(((0, 1440),),) * 7, travel=15)
    want = Want("paris", "fibre", 50)
    booking = await desk.book(TUESDAY, want=want)
    assert booking.ends_at - booking.starts_at == 50 * MINUTE
    # Its last quarter is the crew's, and the way.
    await rejected(desk.book("2026-11-24T11:00", want=want))
    assert await desk.book("2026-11-24T11:15", want=want)
    # A day long, over midnight and three days of UTC with what is kept free behind it.
    assert await desk.book("2026-11-26T23:45", want=Want("paris", "fibre", 1440))


async def test_only_who_goes_there_and_can_do_it(desk: Desk) -> None:
    await desk.area("lyon", "69")
    await desk.crew("paris-fibre")
    await desk.crew("both-both", areas=("lyon", "paris"), skills=("cable", "fibre"))
    for want, crews in (
        (FIBRE, 2),
        (Want("lyon", "fibre", 60), 1),
        (Want("paris", "cable", 60), 1),
        (Want("paris", "taxi", 60), 0),
    ):
        found = await desk.free(TUESDAY, want=want, limit=1)
        assert [count for _, count in found] == [crews] * bool(crews)
    refusal = await rejected(desk.book(TUESDAY, want=Want("paris", "taxi", 60)))
    assert (refusal.field, refusal.more) == ("area_id", {"next_slots": []})
    with pytest.raises(NotFound):
        await desk.free(TUESDAY, want=Want("atlantis", "fibre", 60))


async def test_the_same_again_is_the_same_booking(desk: Desk) -> None:
    await desk.crew("van-1")
    await desk.crew("van-2")
    booking = await desk.book(TUESDAY, "v-1")
    assert await desk.book(TUESDAY, "v-1") == booking
    assert await desk.soonest(TUESDAY, "v-1") == booking
    assert len(await desk.booked()) == 1
    assert (await rejected(desk.book("2026-11-24T11:00", "v-1"))).field == "visit_id"
    assert (await rejected(desk.book(TUESDAY, "v-1", Want("paris", "fibre", 45)))).field
    assert (await desk.booked())[0]["starts_at"] == booking.starts_at


async def test_a_visit_moves_by_an_hour_with_the_same_crew(desk: Desk) -> None:
    await desk.crew("van", week=one_day(10, 12))
    two_hours = Want("paris", "fibre", 90)
    await desk.book("2026-11-24T10:00", "v-1", two_hours)
    await rejected(desk.book("2026-11-24T10:30", "v-2", two_hours))
    moved = await desk.book("2026-11-24T10:30", "v-2", two_hours, replacing="v-1")
    assert moved.crew_id == "van"
    assert [row["visit_id"] for row in await desk.booked()] == ["v-2"]
    # Also under its own name.
    again = await desk.book("2026-11-24T10:15", "v-2", two_hours, replacing="v-2")
    assert [row["starts_at"] for row in await desk.booked()] == [again.starts_at]
    # What is refused leaves all as it was.
    await rejected(desk.book("2026-11-24T11:30", "v-3", two_hours, replacing="v-2"))
    assert [row["visit_id"] for row in await desk.booked()] == ["v-2"]


async def test_what_is_released_is_free(desk: Desk, visits: Visits) -> None:
    await desk.crew("van", week=one_day(10, 11))
    await desk.book(TUESDAY, "v-1")

    async def work(tx: Transaction) -> Answer:
        await tables.release(tx.connection, desk.cause.client_id, ["v-1", "never-booked"])
        return {}

    await visits.events.run(desk.cause, work)
    assert (await desk.book(TUESDAY, "v-2")).crew_id == "van"


@pytest.mark.parametrize(
    ("begin", "field"),
    [
        ("2026-11-24T10:10", "starts_at"),
        ("2026-11-23T06:45", "starts_at"),
        ("2027-02-21T07:15", "starts_at"),
        (10**30 * QUARTER, "starts_at"),
        (-QUARTER, "starts_at"),
    ],
)
async def test_no_time_for_a_visit(desk: Desk, begin: int | str, field: str) -> None:
    await desk.crew("van", week=(((0, 1440),),) * 7)
    with pytest.raises(Invalid) as error:
        await desk.book(begin)
    assert error.value.field == field
    # The last that can be, 90 days from now.
    assert await desk.book("2027-02-21T07:00")


async def test_free_ends_where_booking_does(desk: Desk) -> None:
    await desk.crew("van", week=(((0, 1440),),) * 7)
    found = await desk.free("2027-02-20T07:00", days=31)
    assert found[-1][0] == us("2027-02-21T07:00")
    # What is past is not offered.
    found = await desk.free("2026-11-20T07:00", days=1)
    assert found[0][0] == us("2026-11-23T07:00")
    for begin, days, field in (
        ("2027-02-22T07:00", 1, "from"),
        (TUESDAY, 32, "days"),
        (TUESDAY, 0, "days"),
    ):
        with pytest.raises(Invalid) as error:
            await desk.free(begin, days=days)
        assert error.value.field == field


async def test_a_crew_is_taken_whose_day_it_suits(desk: Desk) -> None:
    for crew_id in ("a-idle", "b-early", "c-squeezed"):
        await desk.crew(crew_id, week=one_day(8, 17))
    # Each of these suits nobody better than the others, so the first by id is taken.
    assert (await desk.book("2026-11-24T08:00", "x")).crew_id == "a-idle"
    assert (await desk.book("2026-11-24T08:00", "y")).crew_id == "b-early"
    assert (await desk.book("2026-11-24T08:00", "z")).crew_id == "c-squeezed"
    assert (await desk.book("2026-11-24T13:00", want=Want("paris", "fibre", 240))).crew_id
    # The one with the long visit has the shortest stretch left before it.
    assert (await desk.book("2026-11-24T10:00")).crew_id == "a-idle"


async def test_over_a_clock_change(desk: Desk, clock: SetClock) -> None:
    # At two o'clock it is three.
    clock.now = us("2027-03-25T10:00")
    await desk.crew("night", week=(((0, 360), (1320, 1440)),) * 7)
    hours = Want("paris", "fibre", 7 * 60)
    assert await desk.free("2027-03-27T20:00", want=hours) == [(us("2027-03-27T22:00"), 1)]
    with pytest.raises(Rejected):
        await desk.book("2027-03-27T22:30", want=hours)
    booking = await desk.book("2027-03-27T22:00", want=hours)
    assert booking.ends_at == us("2027-03-28T06:00")


# Soonest.


async def test_the_crew_that_can_be_there_soonest(desk: Desk, clock: SetClock) -> None:
    await desk.crew("broken", week=one_day(8, 17))
    await desk.crew("near", week=one_day(8, 17), travel=30)
    await desk.crew("far", week=one_day(8, 17), travel=120)
    await desk.crew("late", week=one_day(12, 17))
    missed = await desk.book("2026-11-24T10:00", "v-1", Want("paris", "fibre", 60))
    clock.now = us("2026-11-24T11:05")
    sent = await desk.soonest(clock.now, "v-2", replacing="v-1", avoid_crew=missed.crew_id)
    # Half an hour from 11:15 on is no half hour: `near` and `late` can both be there at noon, and
    # less of the day of `late` is left.
    assert (sent.crew_id, sent.starts_at) == ("late", us("2026-11-24T12:00"))
    assert [row["visit_id"] for row in await desk.booked()] == ["v-2"]


async def test_soonest_is_on_the_way_first(desk: Desk) -> None:
    await desk.crew("near", week=one_day(8, 17), travel=45)
    await desk.crew("far", week=one_day(8, 17), travel=120)
    assert await desk.soonest(TUESDAY, "v-1") == Booking(
        "v-1", "near", "paris", "fibre", us("2026-11-24T11:00"), us("2026-11-24T12:00")
    )
    # Who is near is busy until 12:45.
    second = await desk.soonest(TUESDAY, "v-2")
    assert (second.crew_id, second.starts_at) == ("far", us("2026-11-24T12:00"))


async def test_a_crew_to_avoid_is_better_than_none(desk: Desk) -> None:
    await desk.crew("van", week=one_day(8, 17))
    assert (await desk.soonest(TUESDAY, avoid_crew="van")).crew_id == "van"
    await desk.crew("other", week=one_day(16, 17))
    # Even where it is later.
    sent = await desk.soonest(TUESDAY, avoid_crew="van")
    assert (sent.crew_id, sent.starts_at) == ("other", us("2026-11-24T16:00"))


async def test_nobody_within_thirty_days(desk: Desk) -> None:
    await desk.crew("van", week=one_day(8, 9))
    for _ in range(5):
        await desk.soonest("2026-11-23T12:00")
    refusal = await rejected(desk.soonest("2026-11-23T12:00"))
    assert refusal.reason == "no crew is free within 30 days"
    assert (await rejected(desk.soonest(TUESDAY, want=Want("paris", "x", 5)))).field == "area_id"
    with pytest.raises(Invalid):
        await desk.soonest("2027-02-22T12:00")


# Crews that change.


async def test_a_broken_van_is_accepted(desk: Desk, visits: Visits) -> None:
    await desk.crew("van", week=one_day(8, 17))
    await desk.book("2026-11-24T09:00", "v-1")
    await desk.book("2026-11-24T14:00", "v-2")
    await desk.book("2026-12-01T14:00", "v-3")
    tuesday = date(2026, 11, 24)
    answer = await visits.take_days_off(
        desk.cause, "van", DaysOff(tuesday, tuesday, 12 * 60, 24 * 60)
    )
    lost = {"visit_id": "v-2", "order_id": "o-v-2", "starts_at": "2026-11-24T13:00:00Z"}
    assert answer == {"crew_id": "van", "version": 2, "without_crew": [lost]}
    assert [row["visit_id"] for row in await desk.booked(without_crew=True)] == ["v-2"]
    assert [row["visit_id"] for row in await desk.booked(without_crew=False)] == ["v-1", "v-3"]
    # The same again says the same.
    again = await visits.take_days_off(
        desk.cause, "van", DaysOff(tuesday, tuesday, 12 * 60, 24 * 60)
    )
    assert again == answer
    # Somebody moves it.
    await desk.book("2026-12-01T09:00", "v-4", replacing="v-2")
    assert await desk.booked(without_crew=True) == []
    # Or the van is there again.
    other = DaysOff(date(2026, 12, 1), date(2026, 12, 1))
    answer = await visits.take_days_off(desk.cause, "van", other)
    assert [each["visit_id"] for each in answer["without_crew"]] == ["v-4", "v-3"]
    answer = await visits.give_back_days_off(desk.cause, "van", other)
    assert answer["without_crew"] == await desk.booked(without_crew=True) == []


async def test_hours_skills_and_areas_that_are_no_more(desk: Desk, visits: Visits) -> None:
    await desk.area("lyon", "69")
    every: dict[str, Any] = {
        "week": one_day(8, 17),
        "areas": ("lyon", "paris"),
        "skills": ("cable", "fibre"),
    }
    await desk.crew("van", **every)
    await desk.book("2026-11-24T09:00", "fibre-paris")
    await desk.book("2026-11-24T11:00", "cable-paris", Want("paris", "cable", 60))
    await desk.book("2026-11-24T14:00", "fibre-lyon", Want("lyon", "fibre", 60))
    for change, lost in (
        ({"skills": ("fibre",)}, ["cable-paris"]),
        ({"areas": ("paris",)}, ["fibre-lyon"]),
        ({"week": one_day(10, 17)}, ["fibre-paris"]),
        ({"week": one_day(8, 10)}, ["cable-paris", "fibre-lyon"]),
        ({}, []),
    ):
        answer = await desk.crew("van", **{**every, **change})
        assert [each["visit_id"] for each in answer["without_crew"]] == lost
        found = await desk.booked(without_crew=True)
        assert [row["visit_id"] for row in found] == lost
    answer = await visits.retire(desk.cause, "van")
    assert len(answer["without_crew"]) == 3
    assert await desk.free(TUESDAY) == []
    assert (await visits.retire(desk.cause, "van"))["without_crew"] == answer["without_crew"]
    # Registered again it makes them all, under the number that it had.
    assert (await desk.crew("van", **every))["without_crew"] == []


async def test_what_is_over_needs_no_crew(desk: Desk, visits: Visits, clock: SetClock) -> None:
    await desk.crew("van", week=one_day(8, 17))
    await desk.book("2026-11-24T09:00", "over")
    await desk.book("2026-11-24T11:00", "going-on")
    clock.now = us("2026-11-24T11:30")
    answer = await visits.retire(desk.cause, "van")
    assert [each["visit_id"] for each in answer["without_crew"]] == ["going-on"]


async def test_areas_have_to_be_drawn_first(desk: Desk) -> None:
    refusal = await rejected(desk.crew("van", areas=("atlantis", "paris")))
    assert refusal.field == "areas.0"
    assert await desk.visits.crews("nobody", area_id="", skill="", after="", limit=5) == []


# Areas.


async def test_the_longest_prefix_wins(desk: Desk, visits: Visits) -> None:
    for area_id, ground in {
        "centre": Ground("Centre", "FR", ("7500", "75116")),
        "france": Ground("The rest", "FR"),
        "london": Ground("London", "GB", ("SW1", "W")),
        "by-hand": Ground("By hand"),
    }.items():
        await visits.draw(desk.cause, area_id, ground)

    async def area(country: str, code: str) -> str:
        async with visits.events.reading() as connection:
            address = Address(country, ("1, rue",), code)
            return await visits.area_of(connection, desk.cause.client_id, address)

    assert await area("FR", "75001") == "centre"
    assert await area("FR", "75 116") == "centre"
    assert await area("FR", "75115") == "paris"
    assert await area("FR", "13001") == await area("FR", "") == "france"
    assert await area("GB", "sw1a 1aa") == "london"
    for country, code in (("GB", "E1 6AN"), ("DE", "75001"), ("", ""), ("F\0", "75")):
        assert (await rejected(area(country, code))).field == "area_id"
    # Drawn otherwise, and dissolved, it leaves its prefixes to others.
    await visits.draw(desk.cause, "centre", Ground("Centre", "FR", ("7501",)))
    assert await area("FR", "75001") == "paris"
    await visits.dissolve(desk.cause, "france")
    assert (await rejected(area("FR", "13001"))).field == "area_id"


async def test_a_prefix_is_one_areas(desk: Desk, visits: Visits) -> None:
    refusal = await rejected(visits.draw(desk.cause, "other", Ground("O", "FR", ("69", "75"))))
    assert (refusal.field, refusal.more) == ("prefixes", {"taken": {"75": "paris"}})
    assert [row["area_id"] for row in await visits.areas(desk.cause.client_id, "", 9)] == ["paris"]
    await visits.draw(desk.cause, "other", Ground("O", "DE", ("75",)))
    await visits.draw(desk.cause, "paris", Ground("P", "FR", ("75", "92")))
    # Of two that want the same at once one gets it.
    grounds = [visits.draw(desk.cause, f"x-{n}", Ground("X", "FR", ("13",))) for n in range(8)]
    found = await asyncio.gather(*grounds, return_exceptions=True)
    assert Counter(type(each) for each in found) == {dict: 1, Rejected: 7}


# The database by itself.


async def test_the_constraint_says_no(desk: Desk, visits: Visits) -> None:
    await desk.crew("van-1", week=one_day(8, 17), travel=30)
    await desk.crew("van-2", week=one_day(8, 17))
    await desk.book(TUESDAY, "v-1")
    t = tables.BOOKINGS.c
    async with visits.events.engine.connect() as connection:
        row = (
            (
                await connection.execute(
                    sa.select(tables.BOOKINGS).where(t.client_id == desk.cause.client_id)
                )
            )
            .mappings()
            .one()
        )
        crews = {
            crew_id: number
            for crew_id, number in await connection.execute(
                sa.select(tables.CREWS_TABLE.c.crew_id, tables.CREWS_TABLE.c.number).where(
                    tables.CREWS_TABLE.c.client_id == desk.cause.client_id
                )
            )
        }
    plain = {name: value for name, value in row.items() if name != "span"}

    async def insert(visit_id: str, shift: int, **other: Any) -> None:
        moved = {name: plain[name] + shift for name in ("starts_at", "ends_at", "busy_until")}
        async with visits.events.engine.begin() as connection:
            await connection.execute(
                tables.BOOKINGS.insert().values({**plain, **moved, **other, "visit_id": visit_id})
            )

    async def refused(visit_id: str, shift: int, **other: Any) -> str:
        with pytest.raises(IntegrityError) as error:
            await insert(visit_id, shift, **other)
        cause = error.value.orig.__cause__ if error.value.orig else None
        assert isinstance(cause, asyncpg.IntegrityConstraintViolationError)
        return str(cause.constraint_name)

    for shift in (0, QUARTER, -QUARTER, 5 * QUARTER, -5 * QUARTER):
        assert await refused("v-2", shift) == "bookings_apart"
    # Not even for another client, nor by who writes a span of his own.
    assert await refused("v-2", 0, client_id="somebody-else") == "bookings_apart"
    assert await refused("v-2", MINUTE) == "bookings_on_quarters"
    assert await refused("v-2", 0, busy_until=plain["starts_at"]) == "bookings_on_quarters"
    assert await refused("v-2", 0, crew_number=2**31 - 1) == "bookings_crew"
    # Apart is apart: right behind, right before, and at the same time by another crew.
    await insert("v-2", 6 * QUARTER)
    await insert("v-3", -6 * QUARTER)
    await insert("v-4", 0, crew_number=crews["van-2"])


async def test_who_wrote_without_locks_costs_nobody_a_free_crew(desk: Desk, visits: Visits) -> None:
    """Between what a booking has read and what it writes, the constraint has the last word."""
    for crew_id in ("van-1", "van-2"):
        await desk.crew(crew_id, week=one_day(10, 11))
    connection = await visits.events.engine.connect()
    await connection.execute(
        sa.text("""
            INSERT INTO bookings (client_id, visit_id, order_id, crew_number, area_id, skill,
                starts_at, ends_at, busy_until, fits)
            SELECT client_id, 'intruder', 'o', number, 'paris', 'fibre',
                CAST(:at AS bigint), CAST(:at AS bigint) + 3600000000,
                CAST(:at AS bigint) + 3600000000, true
            FROM crews WHERE client_id = :client_id AND crew_id = 'van-1'
        """),
        {"at": us(TUESDAY), "client_id": desk.cause.client_id},
    )
    booking = asyncio.create_task(desk.book(TUESDAY))
    await asyncio.sleep(0.2)
    assert not booking.done()
    await connection.commit()
    await connection.close()
    assert (await booking).crew_id == "van-2"


# Many at once.


async def outcomes(works: Sequence[Awaitable[T]]) -> tuple[list[T], list[Rejected]]:
    found = await asyncio.gather(*works, return_exceptions=True)
    refusals = [each for each in found if isinstance(each, Rejected)]
    others = [each for each in found if isinstance(each, BaseException)]
    assert others == refusals, [each for each in others if not isinstance(each, Rejected)]
    return [each for each in found if not isinstance(each, BaseException)], refusals


async def apart(desk: Desk) -> None:
    """No two bookings of a crew overlap, by what the table says itself."""
    rows = await desk.booked()
    by_crew: dict[str, list[Any]] = {}
    for row in rows:
        by_crew.setdefault(row["crew_id"], []).append(row)
    for mine in by_crew.values():
        for one, other in pairwise(mine):
            assert one["busy_until"] <= other["starts_at"]


HALVES = [us("2026-11-24T08:00") + half * 30 * MINUTE for half in range(10)]


@pytest.mark.parametrize("number", range(3))
@pytest.mark.parametrize(
    ("crews", "slots"), [(10, 1), (1, 10), (5, 2)], ids=["ten-crews", "ten-slots", "mixed"]
)
async def test_a_hundred_want_ten_slots(desk: Desk, crews: int, slots: int, number: int) -> None:
    want = Want("paris", "fibre", 30)
    # Tuesdays from eight on; on Thursdays everybody has all the time.
    tuesday = ((480, 480 + slots * 30),)
    week: Week = ((), tuesday, (), ((480, 1080),), (), (), ())
    for crew in range(crews):
        await desk.crew(f"van-{crew:02}", week=week)
    rng = random.Random(number)
    wanted = [HALVES[place % slots] for place in range(100)]
    rng.shuffle(wanted)
    done, refusals = await outcomes(
        [desk.book(begin, f"v-{place}", want) for place, begin in enumerate(wanted)]
    )
    assert len(done) == 10
    assert Counter(booking.starts_at for booking in done) == dict.fromkeys(HALVES[:slots], crews)
    assert len({(booking.crew_id, booking.starts_at) for booking in done}) == 10
    # The others are told where there is room, and that is true.
    assert len(refusals) == 90
    assert all(len(refusal.more["next_slots"]) == 5 for refusal in refusals)
    last = next_slots(refusals[-1])
    assert {when[:10] for when, _ in last} <= {"2026-11-24", "2026-11-26"}
    assert len(await desk.booked()) == 10
    await apart(desk)


async def test_who_cannot_have_a_slot_finds_one_of_the_next(desk: Desk) -> None:
    """Everybody who is refused takes the first slot that he is told, until all have one."""
    want = Want("paris", "fibre", 30)
    for crew in range(4):
        await desk.crew(f"van-{crew}", travel=15)

    async def insist(place: int) -> Booking:
        begin = HALVES[0]
        while True:
            try:
                return await desk.book(begin, f"v-{place}", want)
            except Rejected as refusal:
                begin = us(refusal.more["next_slots"][0]["starts_at"].removesuffix("Z"), "UTC")

    found = await asyncio.gather(*map(insist, range(40)))
    assert len({(booking.crew_id, booking.starts_at) for booking in found}) == 40
    await apart(desk)


async def test_who_wants_what_is_being_freed_waits_for_it(desk: Desk, visits: Visits) -> None:
    await desk.crew("van", week=one_day(10, 16))
    await desk.book(TUESDAY, "v-1")
    waiting: list[asyncio.Task[Booking]] = []

    async def move(tx: Transaction) -> Answer:
        there = us("2026-11-24T14:00")
        await visits.book(tx, "o-1", "v-2", FIBRE, there, replacing="v-1")
        waiting.append(asyncio.create_task(desk.book(TUESDAY, "v-3")))
        await asyncio.sleep(0.2)
        assert not waiting[0].done()
        return {}

    await visits.events.run(desk.cause, move)
    assert (await waiting[0]).visit_id == "v-3"


async def test_one_visit_is_booked_once(desk: Desk) -> None:
    for crew in range(8):
        await desk.crew(f"van-{crew}")
    done, _ = await outcomes([desk.book(TUESDAY, "v-1") for _ in range(8)])
    assert done == [done[0]] * 8
    # Also where the days, and so the locks, are others: one of them is the visit's.
    done, refusals = await outcomes(
        [desk.book(us(f"2026-11-{day}T10:00"), "v-2") for day in (24, 25, 26, 27)]
    )
    assert len(done) == 1
    assert {refusal.field for refusal in refusals} == {"visit_id"}
    assert len(await desk.booked()) == 2


async def test_reschedules_that_cross(desk: Desk) -> None:
    """Pairs that want each other's day, again and again, and neither waits for ever."""
    days = [us(f"2026-11-{day}T10:00") for day in (24, 25, 26)]
    for crew in range(3):
        await desk.crew(f"van-{crew}", week=(((600, 660),),) * 7)
    names = {
        f"v-{number}": await desk.book(day, f"v-{number}") for number, day in enumerate(days * 2)
    }
    rng = random.Random(4)
    moved = 0
    for round_ in range(6):
        tasks = [desk.book(rng.choice(days), f"{name}.{round_}", replacing=name) for name in names]
        found = await asyncio.gather(*tasks, return_exceptions=True)
        for name, outcome in zip(list(names), found, strict=True):
            if isinstance(outcome, Booking):
                names[outcome.visit_id] = outcome
                del names[name]
                moved += 1
            else:
                assert isinstance(outcome, Rejected)
        assert {row["visit_id"] for row in await desk.booked()} == set(names)
        await apart(desk)
    assert moved > 6


async def test_soonest_and_chosen_at_once(desk: Desk) -> None:
    for crew in range(5):
        await desk.crew(f"van-{crew}", week=one_day(8, 17))
    chosen = [desk.book(HALVES[place % 10], f"c-{place}") for place in range(20)]
    soonest = [desk.soonest(HALVES[0], f"s-{place}") for place in range(20)]
    works = [work for pair in zip(chosen, soonest, strict=True) for work in pair]
    done, refusals = await outcomes(works)
    assert {booking.visit_id for booking in done} >= {f"s-{place}" for place in range(20)}
    assert len(done) + len(refusals) == 40
    await apart(desk)


async def test_a_crew_changes_while_it_is_booked(desk: Desk, visits: Visits) -> None:
    """Whoever was first: no visit is left with a crew that does not make it, unseen."""
    for round_ in range(4):
        crew = f"van-{round_}"
        await desk.crew(crew, skills=(crew,))
        want = replace(FIBRE, skill=crew, minutes=30)
        works: list[Awaitable[Any]] = [
            desk.book(HALVES[place], f"{round_}-{place}", want) for place in range(8)
        ]
        works.insert(4, visits.retire(desk.cause, crew))
        done, refusals = await outcomes(works)
        booked = {each.visit_id for each in done if isinstance(each, Booking)}
        (answer,) = (each for each in done if isinstance(each, dict))
        assert {each["visit_id"] for each in answer["without_crew"]} == booked
        assert len(booked) + len(refusals) == 8
    found = await desk.booked()
    assert all(not row["fits"] for row in found)


async def test_clients_do_not_wait_for_each_other(desk: Desk, visits: Visits, cause: Cause) -> None:
    other = Desk(visits, replace(cause, client_id=f"{cause.client_id}-2"))
    await other.area()
    for each in (desk, other):
        await each.crew("van", week=one_day(8, 17))

    async def hold(tx: Transaction) -> Answer:
        await tables.lock_crews(tx.connection, cause.client_id, alone=True)
        await tables.lock_days(tx.connection, cause.client_id, [us(TUESDAY) // (DAY * QUARTER)])
        assert (await asyncio.wait_for(other.book(TUESDAY), 5)).crew_id == "van"
        mine = asyncio.create_task(desk.book(TUESDAY))
        await asyncio.sleep(0.1)
        assert not mine.done()
        waiting.append(mine)
        return {}

    waiting: list[asyncio.Task[Booking]] = []
    await visits.events.run(cause, hold)
    assert (await waiting[0]).crew_id == "van"
