"""Leads as tables: whose turn it is, whom a number belongs to, what an import has done so far.

Nothing personal is here: numbers are keyed hashes by the centre's key, cut to 16 bytes. Times are
microseconds since 1970. Empty texts are what there is not.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, insert
from sqlalchemy.ext.asyncio import AsyncConnection

from eventkit.eventstore import Category, Change
from services.dialer.leads import lead as domain
from services.dialer.leads import listimport
from services.dialer.leads.codec import import_message, lead_message
from services.dialer.leads.commands import Command
from services.dialer.leads.events import Event, LeadAdded, Status
from services.dialer.leads.listimport import Counts, Scope
from services.dialer.tables import metadata

Row = dict[str, Any]
_ORDERED = sa.Text(collation="C")

LEADS_TABLE: Final = sa.Table(
    "leads",
    metadata,
    sa.Column("client_id", sa.Text, primary_key=True),
    sa.Column("lead_id", _ORDERED, primary_key=True),
    sa.Column("version", sa.BigInteger, nullable=False),
    sa.Column("campaign_id", sa.Text, nullable=False),
    sa.Column("list_id", sa.Text, nullable=False),
    sa.Column("customer_id", sa.Text, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("turn", sa.Integer, nullable=False),
    sa.Column("place", _ORDERED, nullable=False),
    sa.Column("due_at", sa.BigInteger, nullable=False),
    sa.Column("agent_id", sa.Text, nullable=False),
    sa.Column("attempt_id", sa.Text, nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("last_because", sa.Text, nullable=False),
    sa.Column("callback_from", sa.BigInteger),
    sa.Column("callback_until", sa.BigInteger),
    sa.Column("callback_escalated", sa.Boolean, nullable=False),
    sa.Column("preview_until", sa.BigInteger),
    sa.Column("closed_reason", sa.Text, nullable=False),
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("added_at", sa.BigInteger, nullable=False),
    sa.Column("changed_at", sa.BigInteger, nullable=False),
    sa.Index(
        "leads_due",
        *("client_id", "campaign_id", "turn", "place", "due_at"),
        postgresql_where=sa.text("status <> 'closed'"),
    ),
    sa.Index("leads_of_campaign", "client_id", "campaign_id", "lead_id"),
    sa.Index(
        "leads_of_customer",
        *("client_id", "customer_id"),
        postgresql_where=sa.text("customer_id <> ''"),
    ),
    sa.Index(
        "leads_called_back",
        *("client_id", "callback_until", "lead_id"),
        postgresql_where=sa.text("callback_until IS NOT NULL"),
    ),
    sa.Index(
        "leads_looked_at",
        *("client_id", "campaign_id"),
        postgresql_where=sa.text("status = 'previewed'"),
    ),
)
"""turn: the greater goes first, RANK of a callback and the priority. place: of the number that is
next. agent_id: who alone may have it dialled, or looks at it."""

NUMBERS_TABLE: Final = sa.Table(
    "lead_numbers",
    metadata,
    sa.Column("client_id", sa.Text, primary_key=True),
    sa.Column("lead_id", _ORDERED, primary_key=True),
    sa.Column("number_key", sa.LargeBinary, primary_key=True),
    sa.Index("lead_numbers_of_key", "number_key"),
)
"""To find duplicates: in a list, in a campaign, of the client, in the centre."""

TOTALS_TABLE: Final = sa.Table(
    "lead_totals",
    metadata,
    sa.Column("client_id", sa.Text, primary_key=True),
    sa.Column("campaign_id", sa.Text, primary_key=True),
    sa.Column("list_id", sa.Text, primary_key=True),
    sa.Column("status", sa.Text, primary_key=True),
    sa.Column("reason", sa.Text, primary_key=True),
    sa.Column("number", sa.BigInteger, nullable=False),
)
"""How many leads there are now. reason: of closed ones."""

IMPORTS_TABLE: Final = sa.Table(
    "lead_imports",
    metadata,
    sa.Column("client_id", sa.Text, primary_key=True),
    sa.Column("import_id", _ORDERED, primary_key=True),
    sa.Column("campaign_id", sa.Text, nullable=False),
    sa.Column("list_id", sa.Text, nullable=False),
    sa.Column("opened_at", sa.BigInteger, nullable=False),
    sa.Column("finished_at", sa.BigInteger),
)

PARTS_TABLE: Final = sa.Table(
    "lead_import_parts",
    metadata,
    sa.Column("client_id", sa.Text, primary_key=True),
    sa.Column("import_id", _ORDERED, primary_key=True),
    sa.Column("part", sa.Integer, primary_key=True),
    sa.Column("fingerprint", sa.LargeBinary, nullable=False),
    sa.Column("counts", sa.Text, nullable=False),
    sa.Column("answer", sa.Text, nullable=False),
)
"""What has been imported, whatever becomes of the connection: the same part again is answered from
here. counts: a listimport.Counts, in JSON."""

RANK: Final = 1_000
"""Of a promised callback before all that is not promised; twice that for an escalated one."""

KEY_BYTES: Final = 16


def turn_of(state: domain.Lead) -> int:
    if state.callback is None:
        return state.priority
    return state.priority + (2 * RANK if state.callback.escalated else RANK)


# Writing, in the transaction of the append.


async def project(
    connection: AsyncConnection, changes: Sequence[Change[domain.Lead, Event]]
) -> None:
    rows = [_row(change) for change in changes]
    await connection.execute(_UPSERT, {"rows": _json(rows)})
    totals: Counter[tuple[str, ...]] = Counter()
    for change in changes:
        if change.before.status is not Status.NONE:
            totals[_total_key(change.client_id, change.before)] -= 1
        totals[_total_key(change.client_id, change.after)] += 1
    # In order, so that two transactions do not wait for each other.
    added = [(*key, number) for key, number in sorted(totals.items()) if number]
    if added:
        names = ("client_id", "campaign_id", "list_id", "status", "reason", "number")
        await connection.execute(
            _ADD, {"rows": _json([dict(zip(names, each, strict=True)) for each in added])}
        )
    erased = [change.id for change in changes if change.after.closed_reason == domain.ERASED]
    if erased:
        await forget_numbers(connection, changes[0].client_id, erased)


def _row(change: Change[domain.Lead, Event]) -> Row:
    state = change.after
    usable = state.usable
    callback, preview = state.callback, state.preview
    first, last = change.events[0], change.events[-1]
    return {
        "client_id": change.client_id,
        "lead_id": change.id,
        "version": change.version,
        "campaign_id": state.origin.campaign_id,
        "list_id": state.origin.list_id,
        "customer_id": state.origin.customer_id,
        "status": state.status,
        "turn": turn_of(state),
        "place": state.number(usable[0]).place if usable else "",
        "due_at": state.due_at,
        "agent_id": preview.agent_id if preview else state.agent_id,
        "attempt_id": state.attempt_id,
        "attempts": state.attempts,
        "last_because": state.last_because,
        "callback_from": callback and callback.from_at,
        "callback_until": callback and callback.until_at,
        "callback_escalated": callback is not None and callback.escalated,
        "preview_until": preview and preview.expires_at,
        "closed_reason": state.closed_reason,
        "source": state.source,
        "added_at": first.occurred_at if isinstance(first.event, LeadAdded) else 0,
        "changed_at": last.occurred_at,
    }


def _total_key(client_id: str, state: domain.Lead) -> tuple[str, ...]:
    origin = state.origin
    return (client_id, origin.campaign_id, origin.list_id, state.status, state.closed_reason)


_COLUMNS: Final = ", ".join(column.name for column in LEADS_TABLE.columns)
_FIXED: Final = ("client_id", "lead_id", "campaign_id", "list_id", "customer_id", "added_at")
_UPSERT: Final = sa.text(
    f"INSERT INTO leads ({_COLUMNS}) SELECT {_COLUMNS}"
    " FROM json_populate_recordset(NULL::leads, CAST(:rows AS json))"
    " ON CONFLICT (client_id, lead_id) DO UPDATE SET "
    + ", ".join(
        f"{column.name} = excluded.{column.name}"
        for column in LEADS_TABLE.columns
        if column.name not in _FIXED
    )
)
_ADD: Final = sa.text(
    "INSERT INTO lead_totals SELECT *"
    " FROM json_populate_recordset(NULL::lead_totals, CAST(:rows AS json))"
    " ON CONFLICT (client_id, campaign_id, list_id, status, reason)"
    " DO UPDATE SET number = lead_totals.number + excluded.number"
)


def _json(rows: Sequence[Row]) -> str:
    return msgspec.json.encode(rows).decode()


LEADS: Final[Category[Command, domain.Lead, Event]] = Category(
    "lead",
    domain.DECIDER,
    topic="campaign-events",
    message=lead_message,
    project=project,
    subject=lambda _, state: state.origin.customer_id,
    timers=domain.timers,
    due=domain.due,
)


# Whose turn it is.


@dataclass(frozen=True, slots=True)
class Due:
    """A lead that is locked for this transaction. agent_id: who alone may have it dialled."""

    lead_id: str
    place: str
    turn: int
    due_at: int
    attempts: int
    agent_id: str
    customer_id: str
    callback_until: int | None


_TURNS: Final = sa.text(
    """
    WITH RECURSIVE turns (turn) AS (
        SELECT max(turn) FROM leads
        WHERE client_id = :client_id AND campaign_id = :campaign_id AND status <> 'closed'
        UNION ALL
        SELECT (
            SELECT max(l.turn) FROM leads AS l
            WHERE l.client_id = :client_id AND l.campaign_id = :campaign_id
                AND l.status <> 'closed' AND l.turn < turns.turn
        ) FROM turns WHERE turns.turn IS NOT NULL
    )
    SELECT turn FROM turns WHERE turn IS NOT NULL
    """
)
# A priority in an open place is a range of the index that begins with what is due longest. So what
# is resting, a million leads perhaps, is never looked at.
_TAKE: Final = sa.text(
    """
    WITH found AS (
        SELECT one.lead_id FROM unnest(CAST(:places AS text[])) AS open (place), LATERAL (
            SELECT lead_id, due_at FROM leads
            WHERE client_id = :client_id AND campaign_id = :campaign_id AND turn = :turn
                AND place = open.place AND status <> 'closed' AND due_at <= :now
                AND status = 'waiting'
                AND (agent_id = '' OR agent_id = ANY (CAST(:agents AS text[])))
            ORDER BY due_at LIMIT :most
        ) AS one
        ORDER BY one.due_at LIMIT :most
    )
    SELECT lead_id, place, turn, due_at, attempts, agent_id, customer_id, callback_until
    FROM leads
    WHERE client_id = :client_id AND lead_id = ANY (ARRAY(SELECT lead_id FROM found))
        AND status = 'waiting' AND due_at <= :now
    ORDER BY due_at
    FOR UPDATE SKIP LOCKED
    """
)


async def take_due(
    connection: AsyncConnection,
    client_id: str,
    campaign_id: str,
    now: int,
    places: Iterable[str],
    limit: int,
    agents: Iterable[str] = (),
) -> list[Due]:
    """Leads whose turn it is, in these places (place_key), the foremost first, locked until the
    transaction ends; those that somebody else has locked are passed over. agents: who is free, for
    what was promised by one of them in person."""
    asked = {
        "client_id": client_id,
        "campaign_id": campaign_id,
        "now": now,
        "places": list(places),
        "agents": list(agents),
    }
    taken: list[Due] = []
    turns = await connection.scalars(_TURNS, {"client_id": client_id, "campaign_id": campaign_id})
    for turn in turns.all():
        if len(taken) == limit:
            break
        rows = await connection.execute(_TAKE, asked | {"turn": turn, "most": limit - len(taken)})
        taken += [Due(*row) for row in rows]
    return taken


_PLACES: Final = sa.text(
    """
    WITH RECURSIVE pairs AS (
        (SELECT turn, place FROM leads
        WHERE client_id = :client_id AND campaign_id = :campaign_id AND status <> 'closed'
        ORDER BY turn, place LIMIT 1)
        UNION ALL
        SELECT following.turn, following.place FROM pairs, LATERAL (
            SELECT l.turn, l.place FROM leads AS l
            WHERE l.client_id = :client_id AND l.campaign_id = :campaign_id
                AND l.status <> 'closed' AND (l.turn, l.place) > (pairs.turn, pairs.place)
            ORDER BY l.turn, l.place LIMIT 1
        ) AS following
    )
    SELECT DISTINCT place FROM pairs
    """
)


async def places_of(connection: AsyncConnection, client_id: str, campaign_id: str) -> list[str]:
    """Where the campaign's leads are that are not closed: the keys to give to `take_due`, but for
    those where nobody may be called at this hour."""
    rows = await connection.scalars(_PLACES, {"client_id": client_id, "campaign_id": campaign_id})
    return list(rows)


async def has_open(connection: AsyncConnection, client_id: str, campaign_id: str) -> bool:
    """Whether any lead of the campaign may still be dialled, some day."""
    t = LEADS_TABLE.c
    return bool(
        await connection.scalar(
            sa.select(
                sa.exists().where(
                    t.client_id == client_id, t.campaign_id == campaign_id, t.status != "closed"
                )
            )
        )
    )


# Numbers.


async def put_numbers(
    connection: AsyncConnection, client_id: str, keys: Mapping[str, Iterable[bytes]]
) -> None:
    """Keys of numbers by lead_id, beside those that the leads have."""
    await connection.execute(
        _PUT_NUMBERS,
        {
            "client_id": client_id,
            "rows": _json(
                [
                    {"client_id": client_id, "lead_id": id, "number_key": f"\\x{key.hex()}"}
                    for id, several in keys.items()
                    for key in several
                ]
            ),
        },
    )


_PUT_NUMBERS: Final = sa.text(
    """
    INSERT INTO lead_numbers SELECT *
    FROM json_populate_recordset(NULL::lead_numbers, CAST(:rows AS json))
    WHERE client_id = :client_id
    ON CONFLICT DO NOTHING
    """
)


async def forget_numbers(
    connection: AsyncConnection, client_id: str, lead_ids: Sequence[str]
) -> None:
    t = NUMBERS_TABLE.c
    await connection.execute(
        sa.delete(NUMBERS_TABLE).where(
            t.client_id == client_id,
            t.lead_id == sa.any_(sa.bindparam(None, list(lead_ids), type_=ARRAY(sa.Text))),
        )
    )


async def lock_numbers(connection: AsyncConnection, client_id: str) -> None:
    """Until the transaction ends nobody else adds leads of this client that are held against the
    numbers that are known."""
    await connection.execute(
        sa.text("SELECT pg_advisory_xact_lock(hashtextextended(:key, 0))"),
        {"key": f"leads/numbers/{client_id}"},
    )


@dataclass(frozen=True, slots=True)
class Twin:
    """A lead of the client with a number that was asked for."""

    lead_id: str
    campaign_id: str
    list_id: str
    closed: bool

    def within(self, scope: Scope, campaign_id: str, list_id: str) -> bool:
        if scope is Scope.CLIENT:
            return True
        same = self.campaign_id == campaign_id
        return same and (scope is Scope.CAMPAIGN or self.list_id == list_id)


async def twins_of(
    connection: AsyncConnection, client_id: str, keys: Iterable[bytes]
) -> tuple[dict[bytes, list[Twin]], set[bytes]]:
    """The client's leads by the keys of their numbers, the oldest id first; and the keys that other
    clients' leads have."""
    rows = await connection.execute(_TWINS, {"client_id": client_id, "keys": list(keys)})
    found: dict[bytes, list[Twin]] = {}
    elsewhere: set[bytes] = set()
    for key, is_own, lead_id, campaign_id, list_id, status in rows:
        if is_own:
            twin = Twin(lead_id, campaign_id, list_id, status == Status.CLOSED)
            found.setdefault(bytes(key), []).append(twin)
        else:
            elsewhere.add(bytes(key))
    return found, elsewhere


async def existing(
    connection: AsyncConnection, client_id: str, lead_ids: Sequence[str]
) -> set[str]:
    """Those that are leads."""
    t = LEADS_TABLE.c
    return set(
        await connection.scalars(
            sa.select(t.lead_id).where(
                t.client_id == client_id,
                t.lead_id == sa.any_(sa.bindparam(None, list(lead_ids), type_=ARRAY(sa.Text))),
            )
        )
    )


_TWINS: Final = sa.text(
    """
    SELECT n.number_key, n.client_id = :client_id, l.lead_id, l.campaign_id, l.list_id, l.status
    FROM lead_numbers AS n JOIN leads AS l USING (client_id, lead_id)
    WHERE n.number_key = ANY (CAST(:keys AS bytea[]))
    ORDER BY l.lead_id
    """
)


# Imports.


async def _project_import(
    connection: AsyncConnection, changes: Sequence[Change[listimport.Import, listimport.Event]]
) -> None:
    for change in changes:
        plan = change.after.plan
        assert plan is not None
        finished_at = change.events[-1].recorded_at if change.after.finished else None
        await connection.execute(
            insert(IMPORTS_TABLE)
            .values(
                client_id=change.client_id,
                import_id=change.id,
                campaign_id=plan.campaign_id,
                list_id=plan.list_id,
                opened_at=change.events[0].recorded_at,
                finished_at=finished_at,
            )
            .on_conflict_do_update(
                index_elements=["client_id", "import_id"], set_={"finished_at": finished_at}
            )
        )


IMPORTS: Final[Category[listimport.Command, listimport.Import, listimport.Event]] = Category(
    "lead-import",
    listimport.DECIDER,
    topic="campaign-events",
    message=import_message,
    project=_project_import,
)


async def part(
    connection: AsyncConnection, client_id: str, import_id: str, number: int
) -> tuple[bytes, str] | None:
    """The fingerprint of a part that is imported, and the answer."""
    t = PARTS_TABLE.c
    found = await connection.execute(
        sa.select(t.fingerprint, t.answer).where(
            t.client_id == client_id, t.import_id == import_id, t.part == number
        )
    )
    row = found.one_or_none()
    return None if row is None else (bytes(row.fingerprint), row.answer)


async def claim_part(
    connection: AsyncConnection, client_id: str, import_id: str, number: int, fingerprint: bytes
) -> bool:
    """Whether it is this transaction's to import; otherwise it is imported. Waits for whoever is
    importing it right now."""
    t = PARTS_TABLE.c
    claimed = await connection.scalar(
        insert(PARTS_TABLE)
        .values(
            client_id=client_id,
            import_id=import_id,
            part=number,
            fingerprint=fingerprint,
            counts="",
            answer="",
        )
        .on_conflict_do_nothing()
        .returning(t.part)
    )
    return claimed is not None


async def answer_part(
    connection: AsyncConnection,
    client_id: str,
    import_id: str,
    part: int,
    counts: Counts,
    answer: Mapping[str, Any],
) -> None:
    t = PARTS_TABLE.c
    await connection.execute(
        sa.update(PARTS_TABLE)
        .where(t.client_id == client_id, t.import_id == import_id, t.part == part)
        .values(
            counts=msgspec.json.encode(counts).decode(),
            answer=msgspec.json.encode(answer).decode(),
        )
    )


async def parts_of(
    connection: AsyncConnection, client_id: str, import_id: str
) -> dict[int, Counts]:
    """The parts that are imported."""
    t = PARTS_TABLE.c
    rows = await connection.execute(
        sa.select(t.part, t.counts)
        .where(t.client_id == client_id, t.import_id == import_id)
        .order_by(t.part)
    )
    return {part: msgspec.json.decode(counts, type=Counts) for part, counts in rows}


async def imports_of(
    connection: AsyncConnection, client_id: str, after: str, limit: int
) -> list[Row]:
    """By id, after the one given."""
    t = IMPORTS_TABLE.c
    rows = await connection.execute(
        sa.select(IMPORTS_TABLE)
        .where(t.client_id == client_id, t.import_id > after)
        .order_by(t.import_id)
        .limit(limit)
    )
    return [dict(row._mapping) for row in rows]


# Reading.


@dataclass(frozen=True, slots=True)
class Filter:
    """Which leads are wanted; empty: all. agent_id: who promised to call, or looks at it."""

    campaign_id: str = ""
    list_id: str = ""
    customer_id: str = ""
    status: str = ""
    agent_id: str = ""
    closed_reason: str = ""


async def find(
    connection: AsyncConnection, client_id: str, wanted: Filter, after: str, limit: int
) -> list[Row]:
    """By id, after the one given."""
    t = LEADS_TABLE.c
    query = sa.select(LEADS_TABLE).where(t.client_id == client_id, t.lead_id > after)
    for name in Filter.__dataclass_fields__:
        if value := getattr(wanted, name):
            query = query.where(t[name] == value)
    rows = await connection.execute(query.order_by(t.lead_id).limit(limit))
    return [dict(row._mapping) for row in rows]


async def callbacks(
    connection: AsyncConnection,
    client_id: str,
    agent_id: str | None,
    escalated: bool | None,
    after: tuple[int, str],
    limit: int,
) -> list[Row]:
    """Promised ones, by the end of their window. agent_id: of one agent; "": of anybody; None: all.
    escalated: None: whether or not."""
    t = LEADS_TABLE.c
    query = sa.select(LEADS_TABLE).where(
        t.client_id == client_id,
        t.callback_until.is_not(None),
        sa.tuple_(t.callback_until, t.lead_id) > sa.tuple_(*map(sa.literal, after)),
    )
    if agent_id is not None:
        query = query.where(t.agent_id == agent_id)
    if escalated is not None:
        query = query.where(t.callback_escalated == escalated)
    rows = await connection.execute(query.order_by(t.callback_until, t.lead_id).limit(limit))
    return [dict(row._mapping) for row in rows]


async def get_rows(
    connection: AsyncConnection, client_id: str, lead_ids: Sequence[str]
) -> dict[str, Row]:
    t = LEADS_TABLE.c
    rows = await connection.execute(
        sa.select(LEADS_TABLE).where(
            t.client_id == client_id,
            t.lead_id == sa.any_(sa.bindparam(None, list(lead_ids), type_=ARRAY(sa.Text))),
        )
    )
    return {row.lead_id: dict(row._mapping) for row in rows}


async def totals(connection: AsyncConnection, client_id: str, campaign_id: str) -> list[Row]:
    """By list, status and reason; those of which there is none are left out."""
    t = TOTALS_TABLE.c
    rows = await connection.execute(
        sa.select(t.list_id, t.status, t.reason, t.number)
        .where(t.client_id == client_id, t.campaign_id == campaign_id, t.number != 0)
        .order_by(t.list_id, t.status, t.reason)
    )
    return [dict(row._mapping) for row in rows]
