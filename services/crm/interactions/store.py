"""What was said, as tables: calls, notes, answers to offers, and each customer's timeline.

A call's row has two writers: the consumer of call-events and the agents' commands. Each writes
columns of its own, and whoever is first makes the row. Whose call it is, `reference`, is what an
agent has said, otherwise what the telephone system knows: crm's id of a customer or the client's
own number, of somebody who may not be registered yet. It is resolved when it is read.

Times are microseconds since 1970.
"""

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from itertools import chain
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, insert
from sqlalchemy.ext.asyncio import AsyncConnection

from eventkit.eventstore import Change, Recorded
from services.crm.holding import Forgotten, Person
from services.crm.interactions import interaction as i
from services.crm.interactions.calls import GROUPS, Calls
from services.crm.interactions.merge import Merge, version_columns
from services.crm.interactions.orders import GROUPS as ORDER_GROUPS
from services.crm.interactions.orders import Orders, visit_left
from services.crm.tables import metadata

# Byte order: Python's own, so that what comes from two tables can be merged by it; and that of
# customers' ids, without which an index here would be of no use for them.
_ORDERED = sa.Text(collation="C")
_TEXTS = ARRAY(sa.Text)

CALL: Final = "call"
"""The kind of timeline entries that are calls."""
ORDER: Final = "order"

calls = sa.Table(
    "calls",
    metadata,
    sa.Column("client_id", sa.Text, primary_key=True),
    sa.Column("call_id", _ORDERED, primary_key=True),
    # When anything was first heard of it, from whomever.
    sa.Column("first_at", sa.BigInteger, nullable=False),
    # What call-events say.
    sa.Column("channel", sa.Text),
    sa.Column("direction", sa.Text),
    sa.Column("line", sa.Text),
    sa.Column("customer_reference", sa.Text),
    sa.Column("arrived_at", sa.BigInteger),
    sa.Column("queue_id", sa.Text),
    sa.Column("agent_id", sa.Text),
    sa.Column("connected_at", sa.BigInteger),
    sa.Column("answered_after_us", sa.BigInteger),
    sa.Column("abandoned_at", sa.BigInteger),
    sa.Column("abandoned_after_us", sa.BigInteger),
    sa.Column("ended_at", sa.BigInteger),
    sa.Column("end_cause", sa.Text),
    sa.Column("talked_us", sa.BigInteger),
    sa.Column("wrapped_up_at", sa.BigInteger),
    sa.Column("wrap_up_us", sa.BigInteger),
    *version_columns(GROUPS),
    # What agents say.
    sa.Column("customer_id", sa.Text),
    sa.Column("topic_path", _TEXTS),
    sa.Column("disposition", sa.Text),
    # What follows from both.
    sa.Column(
        "reference",
        _ORDERED,
        sa.Computed("coalesce(customer_id, nullif(customer_reference, ''))", persisted=True),
    ),
    sa.Column("at", sa.BigInteger, sa.Computed("coalesce(arrived_at, first_at)", persisted=True)),
    sa.Column(
        "outcome",
        sa.Text,
        sa.Computed(
            "CASE WHEN connected_at IS NOT NULL THEN 'answered'"
            " WHEN abandoned_at IS NOT NULL THEN 'abandoned'"
            " WHEN end_cause IN ('left-before-queue', 'phantom') THEN end_cause END",
            persisted=True,
        ),
    ),
    sa.Column(
        "waited_us",
        sa.BigInteger,
        sa.Computed("coalesce(answered_after_us, abandoned_after_us)", persisted=True),
    ),
    sa.Index("calls_by_reference", "client_id", "reference", "at", "call_id"),
)
"""outcome: null while nobody knows. customer_id: crm's, as attributed; its record may be merged."""

notes = sa.Table(
    "call_notes",
    metadata,
    sa.Column("client_id", sa.Text, primary_key=True),
    sa.Column("call_id", sa.Text, primary_key=True),
    sa.Column("note_id", sa.Text, primary_key=True),
    sa.Column("text", sa.Text, nullable=False),
    sa.Column("agent_id", sa.Text, nullable=False),
    sa.Column("written_at", sa.BigInteger, nullable=False),
    sa.Column("edited_by", sa.Text),
    sa.Column("edited_at", sa.BigInteger),
)
"""text: empty once the customer has been erased."""

answers = sa.Table(
    "offer_answers",
    metadata,
    sa.Column("client_id", sa.Text, primary_key=True),
    sa.Column("call_id", _ORDERED, primary_key=True),
    sa.Column("offer_id", sa.Text, primary_key=True),
    sa.Column("accepted", sa.Boolean, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("not_before", sa.Date),
    sa.Column("text", sa.Text, nullable=False),
    sa.Column("agent_id", sa.Text, nullable=False),
    sa.Column("answered_at", sa.BigInteger, nullable=False),
    sa.Index(
        "offer_answers_refused",
        "client_id",
        "offer_id",
        "answered_at",
        "call_id",
        postgresql_where=sa.text("NOT accepted"),
    ),
    sa.Index(
        "offer_answers_refused_for",
        "client_id",
        "offer_id",
        "reason",
        "answered_at",
        "call_id",
        postgresql_where=sa.text("NOT accepted"),
    ),
)
"""The last answer of each call to each offer. reason: empty where it was accepted."""

helped = sa.Table(
    "call_articles",
    metadata,
    sa.Column("client_id", sa.Text, primary_key=True),
    sa.Column("call_id", sa.Text, primary_key=True),
    sa.Column("article_id", sa.Text, primary_key=True),
    sa.Column("article_version", sa.Integer, nullable=False),
    sa.Column("agent_id", sa.Text, nullable=False),
    sa.Column("helped_at", sa.BigInteger, nullable=False),
)

orders = sa.Table(
    "timeline_orders",
    metadata,
    sa.Column("client_id", sa.Text, primary_key=True),
    sa.Column("order_id", _ORDERED, primary_key=True),
    # When the first of what was heard occurred: once all was heard, when it was drafted.
    sa.Column("first_at", sa.BigInteger, nullable=False),
    sa.Column("product_id", sa.Text),
    sa.Column("customer_id", sa.Text),
    sa.Column("call_id", sa.Text),
    sa.Column("status", sa.Text),
    sa.Column("visit", sa.Text),
    sa.Column("visit_at", sa.BigInteger),
    sa.Column("total", sa.Text),
    sa.Column("monthly", sa.Text),
    sa.Column("currency", sa.Text),
    *version_columns(ORDER_GROUPS),
)
"""What order-events say, for the order's line on the timeline. Nobody else reads it: the order
itself is in orders."""


def _unknown_events(kind: str) -> sa.Table:
    return sa.Table(
        f"unknown_{kind}_events",
        metadata,
        sa.Column("client_id", sa.Text, primary_key=True),
        sa.Column(f"{kind}_id", sa.Text, primary_key=True),
        sa.Column("version", sa.BigInteger, primary_key=True),
        sa.Column("event", sa.LargeBinary, nullable=False),
    )


unknown_call_events = _unknown_events(CALL)
unknown_order_events = _unknown_events(ORDER)
"""Events of a type that this build does not know, as received."""

timeline_entries = sa.Table(
    "timeline_entries",
    metadata,
    sa.Column("client_id", sa.Text, primary_key=True),
    sa.Column("kind", _ORDERED, primary_key=True),
    sa.Column("id", _ORDERED, primary_key=True),
    sa.Column("reference", sa.Text, nullable=False),
    sa.Column("at", sa.BigInteger, nullable=False),
    sa.Column("details", JSONB, nullable=False),
    sa.Index("timeline_entries_by_reference", "client_id", "reference", "at", "kind", "id"),
)
"""What other capabilities put on timelines."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a customer's timeline, of something that is no call.

    kind, id    what it is, such as `complaint`, and its id: the same again replaces the first, also
                when it belongs to another customer now
    reference   the customer: crm's id, or the client's own number
    at          when it began, microseconds since 1970: its place on the timeline
    details     what is shown of it, such as its status: ids and words of ours, nothing personal
    """

    client_id: str
    reference: str
    at: int
    kind: str
    id: str
    details: Mapping[str, str | int | bool | None] = field(default_factory=dict)


async def put_entries(connection: AsyncConnection, entries: Sequence[Entry]) -> None:
    """Put entries on timelines, in the caller's transaction; a repeat changes nothing."""
    last = {(one.client_id, one.kind, one.id): one for one in entries}
    if not last:
        return
    made = insert(timeline_entries)
    await connection.execute(
        made.on_conflict_do_update(
            index_elements=["client_id", "kind", "id"],
            set_={name: made.excluded[name] for name in ("reference", "at", "details")},
        ),
        # In one order, so that two who write the same entries never wait for each other.
        [
            {
                "client_id": one.client_id,
                "kind": one.kind,
                "id": one.id,
                "reference": one.reference,
                "at": one.at,
                "details": dict(one.details),
            }
            for _, one in sorted(last.items())
        ],
    )


# What call-events and order-events say.

_MERGE_CALLS: Final = Merge(calls, GROUPS)
_MERGE_ORDERS: Final = Merge(
    orders, ORDER_GROUPS, ("client_id", "order_id", "first_at", *chain(*ORDER_GROUPS.values()))
)


async def put_calls(connection: AsyncConnection, heard: Calls) -> None:
    """Add what was heard to the calls' rows; what was heard before changes nothing."""
    await _MERGE_CALLS(connection, heard)


async def put_orders(connection: AsyncConnection, heard: Orders) -> None:
    """Add what was heard to each order's line on its customer's timeline."""
    await put_entries(
        connection,
        [
            Entry(
                client_id=row.client_id,
                reference=row.customer_id,
                at=row.first_at,
                kind=ORDER,
                id=row.order_id,
                details=_order_details(row),
            )
            for row in await _MERGE_ORDERS(connection, heard)
        ],
    )


def _order_details(row: sa.Row[Any]) -> dict[str, str | None]:
    visit = visit_left(row.status, row.visit)
    return {
        "product_id": row.product_id,
        "status": row.status,
        "call_id": row.call_id or None,
        "visit": visit or None,
        "visit_at": _iso(row.visit_at).replace("+00:00", "Z") if visit else None,
        "total": row.total or None,
        "monthly": row.monthly or None,
        "currency": row.currency or None,
    }


async def put_unknown(
    connection: AsyncConnection, table: sa.Table, events: Sequence[tuple[str, str, int, bytes]]
) -> None:
    """Keep (client, call or order, version, event) as received. table: unknown_call_events or
    unknown_order_events."""
    if events:
        names = [column.name for column in table.columns]
        await connection.execute(
            insert(table).on_conflict_do_nothing(),
            [dict(zip(names, one, strict=True)) for one in events],
        )


# What agents say.


async def project(connection: AsyncConnection, changes: Sequence[Change[Any, Any]]) -> None:
    """Write what agents have said into the tables."""
    for change in changes:
        after: i.Call = change.after
        made = insert(calls).values(
            client_id=change.client_id,
            call_id=change.id,
            first_at=change.events[0].occurred_at,
            customer_id=after.customer_id or None,
            topic_path=list(after.topic) or None,
            disposition=after.disposition or None,
        )
        said = ("customer_id", "topic_path", "disposition")
        await connection.execute(
            made.on_conflict_do_update(
                index_elements=["client_id", "call_id"],
                set_={
                    "first_at": sa.func.least(calls.c.first_at, made.excluded.first_at),
                    **{name: made.excluded[name] for name in said},
                },
            )
        )
        for recorded in change.events:
            if (statement := _statement(change.id, recorded)) is not None:
                await connection.execute(statement)


def _statement(call_id: str, recorded: Recorded[Any]) -> sa.Executable | None:
    key = {"client_id": recorded.client_id, "call_id": call_id}
    at = recorded.occurred_at
    match recorded.event:
        case i.CallNoted(note_id, agent_id, text):
            return insert(notes).values(
                **key, note_id=note_id, text=text, agent_id=agent_id, written_at=at
            )
        case i.NoteEdited(note_id, agent_id, text):
            return (
                notes.update()
                .where(*(notes.c[name] == value for name, value in key.items()))
                .where(notes.c.note_id == note_id)
                .values(text=text, edited_by=agent_id, edited_at=at)
            )
        case i.OfferAccepted(offer_id, agent_id):
            return _replace(
                answers,
                **key,
                offer_id=offer_id,
                accepted=True,
                reason="",
                not_before=None,
                text="",
                agent_id=agent_id,
                answered_at=at,
            )
        case i.OfferRefused(offer_id, agent_id, reason, not_before, text):
            return _replace(
                answers,
                **key,
                offer_id=offer_id,
                accepted=False,
                reason=reason,
                not_before=not_before,
                text=text,
                agent_id=agent_id,
                answered_at=at,
            )
        case i.ArticleHelped(article_id, version, agent_id):
            return _replace(
                helped,
                **key,
                article_id=article_id,
                article_version=version,
                agent_id=agent_id,
                helped_at=at,
            )
    return None


def _replace(table: sa.Table, **values: Any) -> sa.Executable:
    made = insert(table).values(**values)
    names = [column.name for column in table.c if not column.primary_key]
    return made.on_conflict_do_update(
        index_elements=table.primary_key, set_={name: made.excluded[name] for name in names}
    )


async def telephone_reference(
    connection: AsyncConnection, client_id: str, call_id: str
) -> str | None:
    """Whose call it is, as far as the telephone system knows; None: it does not, or not yet."""
    found: str | None = await connection.scalar(
        sa.select(calls.c.customer_reference).where(
            calls.c.client_id == client_id, calls.c.call_id == call_id
        )
    )
    return found or None


# Reading.


@dataclass(frozen=True, slots=True)
class Call:
    """A call with everything that was said. row: of `calls`; the others: of their tables, oldest
    first."""

    row: sa.Row[Any]
    notes: Sequence[sa.Row[Any]] = ()
    answers: Sequence[sa.Row[Any]] = ()
    articles: Sequence[sa.Row[Any]] = ()


Place = tuple[int, str, str]
"""(at, kind, id): where something is on a timeline."""


async def timeline(
    connection: AsyncConnection, person: Person, before: Place | None, limit: int
) -> list[tuple[Place, Call | sa.Row[Any]]]:
    """What there is of a person, the newest first: calls, and rows of `timeline_entries`."""
    references = _array(person.references)
    call_place = sa.tuple_(calls.c.at, sa.literal(CALL, _ORDERED), calls.c.call_id)
    entries = timeline_entries.c
    entry_place = sa.tuple_(entries.at, entries.kind, entries.id)
    some_calls = sa.select(calls).where(
        calls.c.client_id == person.client_id, calls.c.reference == sa.any_(references)
    )
    some_entries = sa.select(timeline_entries).where(
        entries.client_id == person.client_id, entries.reference == sa.any_(references)
    )
    if before is not None:
        place = sa.tuple_(
            sa.literal(before[0], sa.BigInteger), *(sa.literal(one) for one in before[1:])
        )
        some_calls = some_calls.where(calls.c.at <= before[0], call_place < place)
        some_entries = some_entries.where(entries.at <= before[0], entry_place < place)
    call_rows = await connection.execute(
        some_calls.order_by(calls.c.at.desc(), calls.c.call_id.desc()).limit(limit)
    )
    entry_rows = await connection.execute(
        some_entries.order_by(entries.at.desc(), entries.kind.desc(), entries.id.desc()).limit(
            limit
        )
    )
    found: list[tuple[Place, Any]] = [
        *(((row.at, CALL, row.call_id), row) for row in call_rows),
        *(((row.at, row.kind, row.id), row) for row in entry_rows),
    ]
    found = sorted(found, key=lambda each: each[0], reverse=True)[:limit]
    shown = [row for place, row in found if place[1] == CALL]
    whole = {call.row.call_id: call for call in await _with_details(connection, shown)}
    return [(place, whole[row.call_id] if place[1] == CALL else row) for place, row in found]


async def call(connection: AsyncConnection, client_id: str, call_id: str) -> Call | None:
    """One call with everything on it; None: nobody has said anything of it."""
    found = await connection.execute(
        sa.select(calls).where(calls.c.client_id == client_id, calls.c.call_id == call_id)
    )
    whole = await _with_details(connection, found.all())
    return whole[0] if whole else None


async def _with_details(connection: AsyncConnection, rows: Sequence[sa.Row[Any]]) -> list[Call]:
    if not rows:
        return []
    ids = _array(row.call_id for row in rows)
    parts: list[dict[str, list[sa.Row[Any]]]] = []
    for table, order in (
        (notes, (notes.c.written_at, notes.c.note_id)),
        (answers, (answers.c.answered_at, answers.c.offer_id)),
        (helped, (helped.c.helped_at, helped.c.article_id)),
    ):
        found = await connection.execute(
            sa.select(table)
            .where(table.c.client_id == rows[0].client_id, table.c.call_id == sa.any_(ids))
            .order_by(*order)
        )
        by_call: dict[str, list[sa.Row[Any]]] = {}
        for row in found:
            by_call.setdefault(row.call_id, []).append(row)
        parts.append(by_call)
    return [Call(row, *(part.get(row.call_id, []) for part in parts)) for row in rows]


# Win-back.

# One row of the view is a refusal that the person has not taken back by accepting later. Of several
# that fit, the last one stands for the person, also where it was given under a merged record.
_REFUSALS = """
SELECT r.customer_id, r.offer_id, r.reason, r.not_before, r.text, r.call_id, r.agent_id,
    r.answered_at
FROM refusals AS r
WHERE r.client_id = :client_id AND r.offer_id = :offer_id {matches} {before}
AND NOT EXISTS (
    SELECT FROM person_answers(r.client_id, r.customer_id, r.offer_id) AS later
    WHERE NOT later.accepted {matches_later}
    AND (later.answered_at, later.call_id) > (r.answered_at, r.call_id)
    OFFSET 0
)
ORDER BY r.answered_at DESC, r.call_id DESC
LIMIT :limit
"""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which refusals: of an offer, for a reason ("" is any), since a time (microseconds), by those
    who may be asked again on `may_ask_on` (None: whenever)."""

    offer_id: str
    reason: str = ""
    since: int | None = None
    may_ask_on: date | None = None


async def refusals(
    connection: AsyncConnection,
    client_id: str,
    wanted: Wanted,
    before: tuple[int, str] | None,
    limit: int,
) -> Sequence[sa.Row[Any]]:
    """Who has refused: each person once, the latest refusal first; before: (answered_at, call_id).

    Those who have accepted later, those whom crm does not know, and the erased are left out.
    """
    matches = ""
    values: dict[str, Any] = {"client_id": client_id, "offer_id": wanted.offer_id, "limit": limit}
    if wanted.reason:
        matches += " AND {row}.reason = :reason"
        values["reason"] = wanted.reason
    if wanted.since is not None:
        matches += " AND {row}.answered_at >= :since"
        values["since"] = wanted.since
    if wanted.may_ask_on is not None:
        matches += " AND ({row}.not_before IS NULL OR {row}.not_before <= :may_ask_on)"
        values["may_ask_on"] = wanted.may_ask_on
    position = ""
    if before is not None:
        position = "AND (r.answered_at, r.call_id) < (:before_at, :before_call)"
        values |= {"before_at": before[0], "before_call": before[1]}
    query = _REFUSALS.format(
        matches=matches.format(row="r"),
        matches_later=matches.format(row="later"),
        before=position,
    )
    return (await connection.execute(sa.text(query), values)).all()


# What is held on a person.

# What was written of a person while the call was taken for somebody else's is sealed with that
# one's key, which stays: so the sealed bytes themselves have to go.
_UNSEAL = sa.text(
    "UPDATE events SET sealed = NULL, subject = NULL"
    " WHERE stream_id = ANY (:streams) AND subject <> ALL (:own)"
)


class Holding:
    """services.crm.holding.Holding of interactions."""

    name = "interactions"

    async def export(self, connection: AsyncConnection, person: Person) -> list[dict[str, Any]]:
        """Every call and entry, oldest first, with all that was written of it."""
        everything = await timeline(connection, person, None, sys.maxsize)
        return [_exported(item) for _, item in reversed(everything)]

    async def forget(self, connection: AsyncConnection, person: Person) -> Forgotten:
        """Texts and the client's own numbers go; what is counted stays, under crm's id."""
        mine = (
            calls.c.client_id == person.client_id,
            calls.c.reference == sa.any_(_array(person.references)),
        )
        call_ids = (await connection.scalars(sa.select(calls.c.call_id).where(*mine))).all()
        cleaned = {}
        for table in (notes, answers):
            done = await connection.execute(
                table.update()
                .where(
                    table.c.client_id == person.client_id,
                    table.c.call_id == sa.any_(_array(call_ids)),
                    table.c.text != "",
                )
                .values(text="")
            )
            cleaned[table.name] = done.rowcount
        numbers = _array(set(person.references) - set(person.customer_ids))
        survivor = person.customer_ids[0]
        done = await connection.execute(
            calls.update()
            .where(
                calls.c.client_id == person.client_id,
                calls.c.call_id == sa.any_(_array(call_ids)),
                calls.c.customer_reference == sa.any_(numbers),
            )
            .values(
                customer_reference="",
                customer_id=sa.func.coalesce(calls.c.customer_id, survivor),
            )
        )
        cleaned[calls.name] = done.rowcount
        done = await connection.execute(
            timeline_entries.update()
            .where(
                timeline_entries.c.client_id == person.client_id,
                timeline_entries.c.reference == sa.any_(numbers),
            )
            .values(reference=survivor)
        )
        cleaned[timeline_entries.name] = done.rowcount
        written = await connection.scalars(
            sa.union(
                *(
                    sa.select(table.c.call_id).where(
                        table.c.client_id == person.client_id,
                        table.c.call_id == sa.any_(_array(call_ids)),
                    )
                    for table in (notes, answers)
                )
            )
        )
        streams = {call_id: f"{person.client_id}/{CALL}/{call_id}" for call_id in written}
        subjects = {subject_of(call_id, "") for call_id in streams}
        await connection.execute(
            _UNSEAL,
            {
                "streams": list(streams.values()),
                "own": [*person.customer_ids, *subjects],
            },
        )
        return Forgotten(subjects, cleaned)


def subject_of(call_id: str, customer_id: str) -> str:
    """Whose key seals what is written of a call: the customer's, or, unknown, the call's own."""
    return customer_id or f"{CALL}/{call_id}"


def _array(texts: Iterable[str]) -> sa.BindParameter[Any]:
    return sa.bindparam(None, list(texts), type_=_TEXTS, unique=True)


def _iso(us: int) -> str:
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=us)).isoformat()


def _exported(item: Call | sa.Row[Any]) -> dict[str, Any]:
    if not isinstance(item, Call):
        return {"kind": item.kind, "id": item.id, "at": _iso(item.at), **item.details}
    row = item.row
    return {
        "kind": CALL,
        "id": row.call_id,
        "at": _iso(row.at),
        "customer_reference": row.customer_reference or "",
        "channel": row.channel or "",
        "direction": row.direction or "",
        "outcome": row.outcome or "",
        "topic": list(row.topic_path or ()),
        "disposition": row.disposition or "",
        "notes": [{"at": _iso(one.written_at), "text": one.text} for one in item.notes],
        "answers": [
            {
                "at": _iso(one.answered_at),
                "offer_id": one.offer_id,
                "accepted": one.accepted,
                "reason": one.reason,
                "not_before": one.not_before.isoformat() if one.not_before else None,
                "text": one.text,
            }
            for one in item.answers
        ],
    }
