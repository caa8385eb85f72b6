"""Crews, areas and bookings as tables, and the locks of those who book. Nothing here is personal.

A booking is one range of whole numbers, `span`: its crew's number in the high 32 bits and minutes
since 1970 in the low ones, the way to the next visit included. An exclusion constraint lets no two
ranges overlap, so no two bookings of a crew do, whoever writes them (docs/adr/0029). The locks in
front of it are there so that nobody is refused a slot that is free.
"""

import struct
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, INT8RANGE, ExcludeConstraint, insert
from sqlalchemy.ext.asyncio import AsyncConnection

from eventkit.eventstore import Category, Change
from services.orders.tables import metadata
from services.orders.visits import area as a
from services.orders.visits import crew as c
from services.orders.visits.slots import (
    DAY,
    MAX_MINUTES,
    MAX_TRAVEL_MINUTES,
    MINUTE,
    QUARTER,
    QUARTER_MINUTES,
    WEEK,
    Booking,
    CrewTime,
    Want,
    busy_bits,
    week_bits,
)

Row = dict[str, Any]

CREWS_TABLE = sa.Table(
    "crews",
    metadata,
    sa.Column("client_id", sa.Text, primary_key=True),
    sa.Column("crew_id", sa.Text, primary_key=True),
    sa.Column("number", sa.Integer, sa.Identity(always=True), nullable=False),
    sa.Column("label", sa.Text, nullable=False),
    sa.Column("zone", sa.Text, nullable=False),
    sa.Column("travel_minutes", sa.Integer, nullable=False),
    sa.Column("areas", ARRAY(sa.Text), nullable=False),
    sa.Column("skills", ARRAY(sa.Text), nullable=False),
    sa.Column("week", sa.LargeBinary, nullable=False),
    sa.Column("retired", sa.Boolean, nullable=False),
    sa.UniqueConstraint("number", name="crews_number"),
)
"""number: of the crew among all clients' crews, for `span`. week: slots.week_bits,
little-endian."""

DAYS_OFF = sa.Table(
    "crew_days_off",
    metadata,
    sa.Column("crew_number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("day", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("quarters", sa.LargeBinary, nullable=False),
    sa.ForeignKeyConstraint(["crew_number"], ["crews.number"], name="crew_days_off_crew"),
)
"""day: since 1970, on the crew's wall. quarters: slots.day_bits, little-endian."""

AREAS_TABLE = sa.Table(
    "areas",
    metadata,
    sa.Column("client_id", sa.Text, primary_key=True),
    sa.Column("area_id", sa.Text, primary_key=True),
    sa.Column("label", sa.Text, nullable=False),
    sa.Column("country", sa.Text, nullable=False),
    sa.Column("dissolved", sa.Boolean, nullable=False),
)

PREFIXES = sa.Table(
    "area_prefixes",
    metadata,
    sa.Column("client_id", sa.Text, primary_key=True),
    sa.Column("country", sa.Text, primary_key=True),
    sa.Column("prefix", sa.Text, primary_key=True),
    sa.Column("area_id", sa.Text, nullable=False),
    sa.Index("area_prefixes_by_area", "client_id", "area_id"),
)
"""prefix: "" for the whole country."""

BOOKINGS = sa.Table(
    "bookings",
    metadata,
    sa.Column("client_id", sa.Text, primary_key=True),
    sa.Column("visit_id", sa.Text, primary_key=True),
    sa.Column("order_id", sa.Text, nullable=False),
    sa.Column("crew_number", sa.Integer, nullable=False),
    sa.Column("area_id", sa.Text, nullable=False),
    sa.Column("skill", sa.Text, nullable=False),
    sa.Column("starts_at", sa.BigInteger, nullable=False),
    sa.Column("ends_at", sa.BigInteger, nullable=False),
    sa.Column("busy_until", sa.BigInteger, nullable=False),
    sa.Column("fits", sa.Boolean, nullable=False),
    sa.Column(
        "span",
        INT8RANGE,
        sa.Computed(
            "int8range((crew_number::bigint << 32) + starts_at / 60000000,"
            " (crew_number::bigint << 32) + busy_until / 60000000)",
            persisted=True,
        ),
        nullable=False,
    ),
    sa.ForeignKeyConstraint(["crew_number"], ["crews.number"], name="bookings_crew"),
    sa.CheckConstraint(
        "starts_at >= 0 AND starts_at < ends_at AND ends_at <= busy_until"
        " AND busy_until < 1::bigint << 57"
        " AND starts_at % 900000000 = 0 AND busy_until % 900000000 = 0",
        name="bookings_on_quarters",
    ),
    ExcludeConstraint(("span", "&&"), name="bookings_apart", using="gist"),
    sa.Index("bookings_by_crew", "crew_number", "starts_at", postgresql_include=["busy_until"]),
    sa.Index("bookings_by_start", "client_id", "starts_at", "visit_id"),
    sa.Index(
        "bookings_without_crew",
        "client_id",
        "starts_at",
        "visit_id",
        postgresql_where=sa.text("NOT fits"),
    ),
)
"""Times in microseconds since 1970. busy_until: with the crew's way to its next visit, as it was
when this was booked. fits: the crew still works there and then; false: somebody has to move it."""

_LONGEST = (MAX_MINUTES + MAX_TRAVEL_MINUTES) * MINUTE


def _among(column: sa.Column[Any], values: Iterable[Any]) -> sa.ColumnElement[bool]:
    # One parameter, and so one statement, however many there are.
    return column == sa.any_(sa.literal(list(values), ARRAY(column.type)))


# Crews.


async def project_crews(
    connection: AsyncConnection, changes: Sequence[Change[c.Crew, c.Event]]
) -> None:
    for change in changes:
        arrangement = change.after.arrangement
        assert arrangement is not None
        values = {
            "label": arrangement.label,
            "zone": arrangement.zone,
            "travel_minutes": arrangement.travel_minutes,
            "areas": list(arrangement.areas),
            "skills": list(arrangement.skills),
            "week": week_bits(arrangement.week).to_bytes(WEEK // 8, "little"),
            "retired": change.after.retired,
        }
        t = CREWS_TABLE.c
        key = {"client_id": change.client_id, "crew_id": change.id}
        # Not one statement for both: an upsert takes a number each time.
        if change.before.arrangement is None:
            made = sa.insert(CREWS_TABLE).values(key | values).returning(t.number)
            number = await connection.scalar(made)
        else:
            mine = sa.and_(t.client_id == change.client_id, t.crew_id == change.id)
            changed = sa.update(CREWS_TABLE).where(mine).values(values).returning(t.number)
            number = await connection.scalar(changed)
        await _project_days_off(connection, number, change.before.days_off, change.after.days_off)


async def _project_days_off(
    connection: AsyncConnection, number: int, before: Mapping[int, int], after: Mapping[int, int]
) -> None:
    other = [day for day in {**before, **after} if before.get(day) != after.get(day)]
    if not other:
        return
    t = DAYS_OFF.c
    await connection.execute(
        sa.delete(DAYS_OFF).where(t.crew_number == number, _among(t.day, other))
    )
    rows = [
        {"crew_number": number, "day": day, "quarters": after[day].to_bytes(DAY // 8, "little")}
        for day in other
        if day in after
    ]
    if rows:
        await connection.execute(sa.insert(DAYS_OFF), rows)


CREWS: Category[c.Command, c.Crew, c.Event] = Category("crew", c.DECIDER, project=project_crews)


async def crews(
    connection: AsyncConnection,
    client_id: str,
    *,
    crew_id: str = "",
    area_id: str = "",
    skill: str = "",
    from_day: int,
    after: str = "",
    limit: int = 1,
) -> list[Row]:
    """By id, retired ones included, each with `days_off` from a day on: day -> quarters."""
    t, off = CREWS_TABLE.c, DAYS_OFF.c
    query = sa.select(CREWS_TABLE).where(t.client_id == client_id, t.crew_id > after)
    if crew_id:
        query = query.where(t.crew_id == crew_id)
    if area_id:
        query = query.where(sa.any_(t.areas) == area_id)
    if skill:
        query = query.where(sa.any_(t.skills) == skill)
    found = await connection.execute(query.order_by(t.crew_id).limit(limit))
    rows = {row["number"]: {**row, "days_off": {}} for row in found.mappings()}
    days = await connection.execute(
        sa.select(DAYS_OFF)
        .where(_among(off.crew_number, rows), off.day >= from_day)
        .order_by(off.day)
    )
    for number, day, quarters in days:
        rows[number]["days_off"][day] = int.from_bytes(quarters, "little")
    for row in rows.values():
        row["week"] = int.from_bytes(row["week"], "little")
    return list(rows.values())


# Areas.


async def project_areas(
    connection: AsyncConnection, changes: Sequence[Change[a.Area, a.Event]]
) -> None:
    for change in changes:
        ground = change.after.ground
        assert ground is not None
        key = {"client_id": change.client_id, "area_id": change.id}
        values = {
            "label": ground.label,
            "country": ground.country,
            "dissolved": change.after.dissolved,
        }
        await connection.execute(
            insert(AREAS_TABLE)
            .values(key | values)
            .on_conflict_do_update(index_elements=list(key), set_=values)
        )
        t = PREFIXES.c
        await connection.execute(
            sa.delete(PREFIXES).where(t.client_id == change.client_id, t.area_id == change.id)
        )
        covered = () if change.after.dissolved else ground.covers()
        rows = [key | {"country": ground.country, "prefix": prefix} for prefix in covered]
        if rows:
            await connection.execute(sa.insert(PREFIXES), rows)


AREAS: Category[a.Command, a.Area, a.Event] = Category("area", a.DECIDER, project=project_areas)


async def area_with(
    connection: AsyncConnection, client_id: str, country: str, prefixes: Sequence[str]
) -> str | None:
    """The area that has the longest of these prefixes."""
    t = PREFIXES.c
    found: str | None = await connection.scalar(
        sa.select(t.area_id)
        .where(
            t.client_id == client_id,
            t.country == country,
            _among(t.prefix, prefixes),
        )
        .order_by(sa.func.length(t.prefix).desc())
        .limit(1)
    )
    return found


async def others_with(
    connection: AsyncConnection, client_id: str, area_id: str, ground: a.Ground
) -> dict[str, str]:
    """Which of the ground's prefixes are other areas', and whose."""
    t = PREFIXES.c
    found = await connection.execute(
        sa.select(t.prefix, t.area_id)
        .where(
            t.client_id == client_id,
            t.country == ground.country,
            _among(t.prefix, ground.covers()),
            t.area_id != area_id,
        )
        .order_by(t.prefix)
    )
    return {prefix: other for prefix, other in found}


async def known_areas(
    connection: AsyncConnection, client_id: str, area_ids: Sequence[str]
) -> set[str]:
    """Which of these areas there are."""
    t = AREAS_TABLE.c
    found = await connection.scalars(
        sa.select(t.area_id).where(
            t.client_id == client_id,
            _among(t.area_id, area_ids),
            sa.not_(t.dissolved),
        )
    )
    return set(found)


async def areas(connection: AsyncConnection, client_id: str, after: str, limit: int) -> list[Row]:
    """By id, with their prefixes; those that are dissolved are left out."""
    t, p = AREAS_TABLE.c, PREFIXES.c
    prefixes = (
        sa.select(sa.func.array_agg(sa.text("prefix ORDER BY prefix")))
        .where(p.client_id == t.client_id, p.area_id == t.area_id, p.prefix != "")
        .scalar_subquery()
    )
    found = await connection.execute(
        sa.select(t.area_id, t.label, t.country, prefixes.label("prefixes"))
        .where(t.client_id == client_id, sa.not_(t.dissolved), t.area_id > after)
        .order_by(t.area_id)
        .limit(limit)
    )
    return [{**row, "prefixes": row["prefixes"] or []} for row in found.mappings()]


# Locks. All of a transaction, and taken in one order: the crews, then days upwards.


async def lock_crews(connection: AsyncConnection, client_id: str, *, alone: bool) -> None:
    """Until the transaction ends the client's crews stay as they are; alone: and nobody else books
    one of them."""
    lock = sa.func.pg_advisory_xact_lock if alone else sa.func.pg_advisory_xact_lock_shared
    key = sa.func.hashtextextended(f"visits/{client_id}", 0)
    await connection.execute(sa.select(lock(key)))


async def lock_days(connection: AsyncConnection, client_id: str, days: Iterable[int]) -> None:
    """Until the transaction ends nobody else books a visit of the client on these days of UTC."""
    names = [f"visits/{client_id}/{day}" for day in sorted(set(days))]
    await connection.execute(_LOCK_DAYS, {"names": names})


_LOCK_DAYS: Final = sa.text(
    "SELECT pg_advisory_xact_lock(hashtextextended(name, 0))"
    " FROM unnest(CAST(:names AS text[])) AS name"
)


# Bookings.


async def crew_times(
    connection: AsyncConnection, client_id: str, want: Want, first: int, count: int
) -> list[CrewTime]:
    """The crews of an area with a skill, by id, and their time of `count` quarters from `first`
    on: one statement, and a hundredth of the rows that the bookings are."""
    found = await connection.execute(
        _CREW_TIMES,
        {
            "client_id": client_id,
            "area_id": want.area_id,
            "skill": want.skill,
            "first": first,
            "count": count,
            "since": first * QUARTER - _LONGEST,
            "from": first * QUARTER,
            "until": (first + count) * QUARTER,
            # The wall is ahead of UTC, or behind it, by less than a day.
            "first_day": first // DAY - 1,
            "last_day": (first + count) // DAY + 1,
        },
    )
    return [
        CrewTime(
            crew_id,
            number,
            zone,
            travel_minutes // QUARTER_MINUTES,
            int.from_bytes(week, "little"),
            first,
            _days_off(off or b""),
            _busy(busy or b""),
        )
        for crew_id, number, zone, travel_minutes, week, off, busy in found
    ]


def _days_off(packed: bytes) -> dict[int, int]:
    return {
        day: int.from_bytes(quarters, "little")
        for day, quarters in struct.iter_unpack(">i12s", packed)
    }


def _busy(packed: bytes) -> int:
    places = struct.unpack(f">{len(packed) // 4}i", packed)
    return busy_bits(places[0::2], places[1::2])


_CREW_TIMES: Final = sa.text("""
    SELECT c.crew_id, c.number, c.zone, c.travel_minutes, c.week,
        (SELECT string_agg(int4send(d.day) || d.quarters, '') FROM crew_days_off AS d
         WHERE d.crew_number = c.number
             AND d.day BETWEEN CAST(:first_day AS int) AND CAST(:last_day AS int)),
        (SELECT string_agg(int8send(
             greatest(b.starts_at / 900000000 - CAST(:first AS bigint), 0) << 32
             | least(b.busy_until / 900000000 - CAST(:first AS bigint), CAST(:count AS bigint))),
             '')
         FROM bookings AS b
         WHERE b.crew_number = c.number AND b.starts_at >= CAST(:since AS bigint)
             AND b.starts_at < CAST(:until AS bigint) AND b.busy_until > CAST(:from AS bigint))
    FROM crews AS c
    WHERE c.client_id = :client_id AND NOT c.retired
        AND :area_id = ANY (c.areas) AND :skill = ANY (c.skills)
    ORDER BY c.crew_id
""")


async def insert_booking(
    connection: AsyncConnection,
    client_id: str,
    order_id: str,
    crew: CrewTime,
    booking: Booking,
    busy_until: int,
) -> bool:
    """False where the crew is busy then, or the visit is booked: the constraints have the last
    word."""
    made = (
        insert(BOOKINGS)
        .values(
            client_id=client_id,
            visit_id=booking.visit_id,
            order_id=order_id,
            crew_number=crew.number,
            area_id=booking.area_id,
            skill=booking.skill,
            starts_at=booking.starts_at,
            ends_at=booking.ends_at,
            busy_until=busy_until,
            fits=True,
        )
        .on_conflict_do_nothing()
        .returning(BOOKINGS.c.visit_id)
    )
    return await connection.scalar(made) is not None


async def release(connection: AsyncConnection, client_id: str, visit_ids: Sequence[str]) -> None:
    """The crews are free again. What is not booked is none's business."""
    t = BOOKINGS.c
    await connection.execute(
        sa.delete(BOOKINGS).where(t.client_id == client_id, _among(t.visit_id, visit_ids))
    )


_BOOKED: Final = (
    BOOKINGS.c.visit_id,
    BOOKINGS.c.order_id,
    CREWS_TABLE.c.crew_id,
    BOOKINGS.c.area_id,
    BOOKINGS.c.skill,
    BOOKINGS.c.starts_at,
    BOOKINGS.c.ends_at,
    BOOKINGS.c.busy_until,
    BOOKINGS.c.fits,
)
_JOINED: Final = BOOKINGS.join(CREWS_TABLE, CREWS_TABLE.c.number == BOOKINGS.c.crew_number)


async def booked(
    connection: AsyncConnection, client_id: str, visit_ids: Sequence[str]
) -> dict[str, Row]:
    """Those of these visits that are booked."""
    found = await connection.execute(
        sa.select(*_BOOKED)
        .select_from(_JOINED)
        .where(
            BOOKINGS.c.client_id == client_id,
            _among(BOOKINGS.c.visit_id, visit_ids),
        )
    )
    return {row["visit_id"]: dict(row) for row in found.mappings()}


async def bookings(
    connection: AsyncConnection,
    client_id: str,
    *,
    crew_id: str = "",
    area_id: str = "",
    ends_after: int,
    starts_before: int | None = None,
    without_crew: bool | None = None,
    after: tuple[int, str] | None = None,
    limit: int | None = None,
) -> list[Row]:
    """By their start."""
    t = BOOKINGS.c
    query = (
        sa.select(*_BOOKED)
        .select_from(_JOINED)
        .where(
            t.client_id == client_id,
            # The second says the same and is what the index knows.
            t.ends_at > ends_after,
            t.starts_at > ends_after - _LONGEST,
        )
    )
    if crew_id:
        query = query.where(CREWS_TABLE.c.crew_id == crew_id)
    if area_id:
        query = query.where(t.area_id == area_id)
    if starts_before is not None:
        query = query.where(t.starts_at < starts_before)
    if without_crew is not None:
        query = query.where(sa.not_(t.fits) if without_crew else t.fits)
    if after is not None:
        query = query.where(sa.tuple_(t.starts_at, t.visit_id) > sa.tuple_(*after))
    query = query.order_by(t.starts_at, t.visit_id).limit(limit)
    return [dict(row) for row in (await connection.execute(query)).mappings()]


async def refit(connection: AsyncConnection, client_id: str, fits: Mapping[str, bool]) -> None:
    """Say of visits whether their crews still make them."""
    if fits:
        await connection.execute(
            _REFIT,
            {"client_id": client_id, "ids": list(fits), "fits": list(fits.values())},
        )


_REFIT: Final = sa.text("""
    UPDATE bookings AS b SET fits = now.fits
    FROM unnest(CAST(:ids AS text[]), CAST(:fits AS boolean[])) AS now(visit_id, fits)
    WHERE b.client_id = :client_id AND b.visit_id = now.visit_id AND b.fits <> now.fits
""")
