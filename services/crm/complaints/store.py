"""Complaints, wishes and policies as tables. No text is here: what was written is read from the
events, with the customer's key, so that forgetting has nothing to clean.

Times are microseconds since 1970. Empty texts are what is not known, or not so.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, insert
from sqlalchemy.ext.asyncio import AsyncConnection

from eventkit.decider import Rejected
from eventkit.eventstore import Category, Change, EventStore
from services.crm.complaints import codec
from services.crm.complaints import complaint as c
from services.crm.complaints import policy as p
from services.crm.complaints import wish as w
from services.crm.complaints.clocks import Clock, Severity
from services.crm.holding import Forgotten, Person
from services.crm.interactions.store import Entry, put_entries
from services.crm.tables import metadata

Row = dict[str, Any]

COMPLAINTS_TABLE = sa.Table(
    "complaints",
    metadata,
    sa.Column("client_id", sa.Text, primary_key=True),
    sa.Column("complaint_id", sa.Text, primary_key=True),
    sa.Column("version", sa.BigInteger, nullable=False),
    sa.Column("phase", sa.Text, nullable=False),
    sa.Column("paused", sa.Boolean, nullable=False),
    sa.Column("severity", sa.SmallInteger, nullable=False),
    sa.Column("customer_id", sa.Text, nullable=False),
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("about_kind", sa.SmallInteger, nullable=False),
    sa.Column("about_id", sa.Text, nullable=False),
    sa.Column("channel", sa.Text, nullable=False),
    sa.Column("reference", sa.Text, nullable=False),
    sa.Column("call_id", sa.Text, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("on_behalf", sa.Boolean, nullable=False),
    sa.Column("date_corrected", sa.Boolean, nullable=False),
    sa.Column("assignee", sa.Text, nullable=False),
    sa.Column("opened_at", sa.BigInteger, nullable=False),
    sa.Column("acknowledged_at", sa.BigInteger),
    sa.Column("closed_at", sa.BigInteger),
    sa.Column("verdict", sa.Text, nullable=False),
    sa.Column("reasons", ARRAY(sa.Text), nullable=False),
    sa.Column("responsible_kind", sa.SmallInteger, nullable=False),
    sa.Column("responsible_id", sa.Text, nullable=False),
    sa.Column("due_at", sa.BigInteger),
    sa.Column("ran_out", sa.Boolean, nullable=False),
    sa.Index("complaints_by_opening", "client_id", "opened_at", "complaint_id"),
    sa.Index(
        "complaints_by_customer",
        *("client_id", "customer_id", "opened_at", "complaint_id"),
        postgresql_where=sa.text("customer_id <> ''"),
    ),
    sa.Index(
        "complaints_by_reference",
        *("client_id", "reference"),
        unique=True,
        postgresql_where=sa.text("reference <> ''"),
    ),
    sa.Index(
        "complaints_not_closed",
        *("client_id", "opened_at", "complaint_id"),
        postgresql_where=sa.text("phase <> 'closed'"),
    ),
)
"""due_at: when the next clock runs out, of those that run. ran_out: one that has not ended has."""

POLICIES = sa.Table(
    "complaint_policies",
    metadata,
    sa.Column("client_id", sa.Text, primary_key=True),
    sa.Column("version", sa.Integer, primary_key=True),
    sa.Column("published_at", sa.BigInteger, nullable=False),
    sa.Column("policy", JSONB, nullable=False),
)

WISHES_TABLE = sa.Table(
    "wishes",
    metadata,
    sa.Column("client_id", sa.Text, primary_key=True),
    sa.Column("wish_id", sa.Text, primary_key=True),
    sa.Column("version", sa.BigInteger, nullable=False),
    sa.Column("customer_id", sa.Text, nullable=False),
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("call_id", sa.Text, nullable=False),
    sa.Column("topic_id", sa.Text, nullable=False),
    sa.Column("expressed_at", sa.BigInteger, nullable=False),
    sa.Column("outcome", sa.Text, nullable=False),
    sa.Column("closed_at", sa.BigInteger),
    sa.Column("merged_into", sa.Text, nullable=False),
    sa.Column("root_id", sa.Text, nullable=False),
    sa.Index("wishes_by_root", "client_id", "root_id"),
    sa.Index("wishes_by_time", "client_id", "expressed_at", "wish_id"),
    sa.Index(
        "wishes_merged",
        *("client_id", "merged_into"),
        postgresql_where=sa.text("merged_into <> ''"),
    ),
)
"""root_id: the wish at the end of the chain of merges; itself where it is not merged."""

VOICES = sa.Table(
    "wish_voices",
    metadata,
    sa.Column("client_id", sa.Text, primary_key=True),
    sa.Column("wish_id", sa.Text, primary_key=True),
    sa.Column("voice", sa.Text, primary_key=True),
    sa.Column("at", sa.BigInteger, nullable=False),
)
"""voice: `customer/<id>` or `department/<code>`, once for each wish."""


# Complaints.

_CHANGING = (
    *("version", "phase", "paused", "severity", "assignee", "acknowledged_at", "closed_at"),
    *("verdict", "reasons", "responsible_kind", "responsible_id", "due_at", "ran_out"),
)
_INSERT = insert(COMPLAINTS_TABLE).on_conflict_do_nothing().returning(COMPLAINTS_TABLE.c.version)
_UPSERT = insert(COMPLAINTS_TABLE)
_UPDATE = _UPSERT.on_conflict_do_update(
    index_elements=["client_id", "complaint_id"],
    set_={name: _UPSERT.excluded[name] for name in _CHANGING},
)


async def project_complaints(
    connection: AsyncConnection, changes: Sequence[Change[c.Complaint, c.Event]]
) -> None:
    """Raises Rejected where another complaint has the reference of a new one."""
    rows = [_complaint_row(change) for change in changes]
    new = [row for row, change in zip(rows, changes, strict=True) if change.before.opened is None]
    known = [row for row, change in zip(rows, changes, strict=True) if change.before.opened]
    if new:
        made = await connection.execute(_INSERT, new)
        if len(made.all()) < len(new):
            raise Rejected("another complaint has this reference already")
    if known:
        await connection.execute(_UPDATE, known)
    await put_entries(
        connection,
        [
            Entry(
                client_id=row["client_id"],
                reference=row["customer_id"],
                at=row["opened_at"],
                kind="complaint",
                id=row["complaint_id"],
                details={
                    "phase": row["phase"],
                    "severity": Severity(row["severity"]).name.lower(),
                    "verdict": row["verdict"] or None,
                    "reference": row["reference"] or None,
                },
            )
            for row in rows
            if row["customer_id"]
        ],
    )


def _complaint_row(change: Change[c.Complaint, c.Event]) -> Row:
    state = change.after
    assert state.opened is not None
    details = state.opened.details
    verdict, responsible = state.verdict, c.Subject()
    if isinstance(verdict, c.ComplaintUpheld):
        responsible = verdict.responsible
    return {
        "client_id": change.client_id,
        "complaint_id": change.id,
        "version": change.version,
        "phase": state.phase.value,
        "paused": state.paused is not None,
        "severity": int(state.severity),
        "customer_id": details.customer_id,
        "source": details.source,
        "about_kind": int(details.about.kind),
        "about_id": details.about.id,
        "channel": details.channel,
        "reference": details.reference,
        "call_id": details.call_id,
        "status": details.status,
        "on_behalf": details.on_behalf,
        "date_corrected": details.date_corrected,
        "assignee": state.assignee,
        "opened_at": state.opened.at,
        "acknowledged_at": state.acknowledged_at,
        "closed_at": state.closed_at,
        "verdict": verdict_word(verdict),
        "reasons": list(verdict.reasons) if verdict else [],
        "responsible_kind": int(responsible.kind),
        "responsible_id": responsible.id,
        "due_at": min(c.timers(state).values(), default=None),
        "ran_out": any(clock.ran_out_at is not None for clock in _not_ended(state)),
    }


def verdict_word(verdict: c.ComplaintUpheld | c.ComplaintRejected | None) -> str:
    """`upheld`, `rejected`, or nothing."""
    match verdict:
        case c.ComplaintUpheld():
            return "upheld"
        case c.ComplaintRejected():
            return "rejected"
    return ""


def _not_ended(state: c.Complaint) -> list[Clock]:
    clocks = state.clocks
    if clocks is None:
        return []
    both = (
        (clocks.first_response, clocks.responded),
        (clocks.resolution, clocks.closed),
    )
    return [clock for clock, ended in both if not ended]


def complaint_subject(complaint_id: str, customer_id: str = "") -> str:
    """Whose key seals the texts: the customer's; the complaint's own where nobody is known."""
    return customer_id or f"complaint/{complaint_id}"


def _subject(id: str, state: c.Complaint) -> str:
    return complaint_subject(id, state.customer_id)


def _due(_: str, name: str, due: int) -> c.RunOutClock:
    return c.RunOutClock(due, name)


COMPLAINTS: Category[c.Command, c.Complaint, c.Event] = Category(
    "complaint",
    c.DECIDER,
    topic="complaint-events",
    message=codec.complaint_message,
    project=project_complaints,
    subject=_subject,
    timers=c.timers,
    due=_due,
)


@dataclass(frozen=True, slots=True)
class Filter:
    """Which complaints are wanted; None and empty: all. overdue: as of this moment, in
    microseconds; not closed, and a clock that has not ended has run out."""

    phase: c.Phase | None = None
    paused: bool | None = None
    severity: Severity | None = None
    assignee: str = ""
    overdue_at: int | None = None
    customer_ids: tuple[str, ...] | None = None
    reference: str = ""


async def complaints(
    connection: AsyncConnection,
    client_id: str,
    wanted: Filter,
    after: tuple[int, str] | None,
    limit: int,
) -> list[Row]:
    """Newest first. after: opened_at and complaint_id of the last one that was seen."""
    t = COMPLAINTS_TABLE.c
    query = sa.select(COMPLAINTS_TABLE).where(t.client_id == client_id)
    if wanted.phase is not None:
        query = query.where(t.phase == wanted.phase.value)
    if wanted.paused is not None:
        query = query.where(t.paused == wanted.paused)
    if wanted.severity is not None:
        query = query.where(t.severity == int(wanted.severity))
    if wanted.assignee:
        query = query.where(t.assignee == wanted.assignee)
    if wanted.overdue_at is not None:
        late = sa.or_(t.ran_out, t.due_at <= wanted.overdue_at)
        query = query.where(sa.text("phase <> 'closed'"), late)
    if wanted.customer_ids is not None:
        query = query.where(t.customer_id.in_(wanted.customer_ids), sa.text("customer_id <> ''"))
    if wanted.reference:
        query = query.where(t.reference == wanted.reference)
    if after is not None:
        query = query.where(sa.tuple_(t.opened_at, t.complaint_id) < sa.tuple_(*after))
    query = query.order_by(t.opened_at.desc(), t.complaint_id.desc()).limit(limit)
    return [dict(row) for row in (await connection.execute(query)).mappings()]


async def complaint_ids(
    connection: AsyncConnection, client_id: str, customer_ids: Sequence[str]
) -> list[str]:
    """All complaints of these customers, oldest first."""
    t = COMPLAINTS_TABLE.c
    query = (
        sa.select(t.complaint_id)
        .where(
            t.client_id == client_id,
            t.customer_id.in_(customer_ids),
            sa.text("customer_id <> ''"),
        )
        .order_by(t.opened_at, t.complaint_id)
    )
    return list(await connection.scalars(query))


async def references(
    connection: AsyncConnection, client_id: str, wanted: Sequence[str]
) -> dict[str, str]:
    """The ids of the complaints that have these references."""
    t = COMPLAINTS_TABLE.c
    query = sa.select(t.reference, t.complaint_id).where(
        t.client_id == client_id, t.reference.in_(wanted), sa.text("reference <> ''")
    )
    return {reference: id for reference, id in await connection.execute(query)}


# Policies.

_policy = msgspec.json.Decoder(p.Policy)


async def project_policies(
    connection: AsyncConnection,
    changes: Sequence[Change[p.Published, p.ComplaintPolicyPublished]],
) -> None:
    rows = [
        {
            "client_id": change.client_id,
            "version": fact.event.version,
            "published_at": fact.event.at,
            "policy": msgspec.to_builtins(fact.event.policy, str_keys=True),
        }
        for change in changes
        for fact in change.events
    ]
    await connection.execute(sa.insert(POLICIES), rows)


POLICY: Category[p.PublishPolicy, p.Published, p.ComplaintPolicyPublished] = Category(
    "complaint-policy", p.DECIDER, project=project_policies
)


async def latest_version(connection: AsyncConnection, client_id: str) -> int:
    """Of the client's policies; 0 where it has published none."""
    query = sa.select(sa.func.max(POLICIES.c.version)).where(POLICIES.c.client_id == client_id)
    return await connection.scalar(query) or 0


async def policy(connection: AsyncConnection, client_id: str, version: int) -> p.Policy:
    """One version. Raises LookupError where there is none such."""
    query = sa.select(sa.cast(POLICIES.c.policy, sa.Text)).where(
        POLICIES.c.client_id == client_id, POLICIES.c.version == version
    )
    found = await connection.scalar(query)
    if found is None:
        raise LookupError(f"no version {version} of this client's policy")
    return _policy.decode(found)


# Wishes.


async def project_wishes(
    connection: AsyncConnection, changes: Sequence[Change[w.Wish, w.Event]]
) -> None:
    for change in changes:
        await _project_wish(connection, change)


async def _project_wish(connection: AsyncConnection, change: Change[w.Wish, w.Event]) -> None:
    state = change.after
    assert state.expressed is not None
    client_id, wish_id = change.client_id, change.id
    expressed = state.expressed
    t = WISHES_TABLE.c
    if change.before.expressed is None:
        row = {
            "client_id": client_id,
            "wish_id": wish_id,
            "version": change.version,
            "customer_id": expressed.voice.customer_id,
            "source": expressed.voice.source,
            "call_id": expressed.call_id,
            "topic_id": expressed.topic_id,
            "expressed_at": expressed.at,
            "outcome": "",
            "closed_at": None,
            "merged_into": "",
            "root_id": wish_id,
        }
        await connection.execute(sa.insert(WISHES_TABLE).values(row))
    else:
        closed = state.closed
        await connection.execute(
            sa.update(WISHES_TABLE)
            .where(t.client_id == client_id, t.wish_id == wish_id)
            .values(
                version=change.version,
                outcome=closed.outcome.value if closed else "",
                closed_at=closed.at if closed else None,
                merged_into=state.merged_into,
            )
        )
    if change.before.merged_into != state.merged_into:
        root = wish_id
        if state.merged_into:
            root = await wish_root(connection, client_id, state.merged_into) or wish_id
        await connection.execute(
            sa.update(WISHES_TABLE)
            .where(t.client_id == client_id, t.wish_id.in_(_merged_below(client_id, wish_id)))
            .values(root_id=root)
        )
    spoken = [
        {
            "client_id": client_id,
            "wish_id": wish_id,
            "voice": _voice(fact.event.voice),
            "at": fact.event.at,
        }
        for fact in change.events
        if isinstance(fact.event, w.WishExpressed | w.WishSupported)
    ]
    if spoken:
        await connection.execute(sa.insert(VOICES), spoken)
    if expressed.voice.customer_id:
        entry = Entry(
            client_id=client_id,
            reference=expressed.voice.customer_id,
            at=expressed.at,
            kind="wish",
            id=wish_id,
            details={"outcome": state.closed.outcome.value if state.closed else None},
        )
        await put_entries(connection, [entry])


def _merged_below(client_id: str, wish_id: str) -> sa.Select[Any]:
    """The wish, and all that are merged into it, by whatever way."""
    first = sa.select(sa.literal(wish_id, sa.Text).label("wish_id")).cte("below", recursive=True)
    t = WISHES_TABLE.alias("merged")
    more = sa.select(t.c.wish_id).where(
        t.c.client_id == client_id,
        t.c.merged_into == first.c.wish_id,
        sa.text("merged.merged_into <> ''"),
    )
    return sa.select(first.union(more).c.wish_id)


def _voice(voice: w.Voice) -> str:
    return f"customer/{voice.customer_id}" if voice.customer_id else f"department/{voice.source}"


def _wish_subject(id: str, state: w.Wish) -> str:
    return state.customer_id or f"wish/{id}"


WISHES: Category[w.Command, w.Wish, w.Event] = Category(
    "wish",
    w.DECIDER,
    topic="complaint-events",
    message=codec.wish_message,
    project=project_wishes,
    subject=_wish_subject,
)


async def lock_merges(connection: AsyncConnection, client_id: str) -> None:
    """Until the transaction ends nobody else merges wishes of this client: of two merges at once
    that make a circle together, the second one has to see the first."""
    key = sa.func.hashtextextended(f"wishes/merge/{client_id}", 0)
    await connection.execute(sa.select(sa.func.pg_advisory_xact_lock(key)))


async def wish_root(connection: AsyncConnection, client_id: str, wish_id: str) -> str | None:
    """The wish at the end of the chain of merges; None: there is no such wish."""
    t = WISHES_TABLE.c
    found: str | None = await connection.scalar(
        sa.select(t.root_id).where(t.client_id == client_id, t.wish_id == wish_id)
    )
    return found


async def wishes(
    connection: AsyncConnection,
    client_id: str,
    *,
    wish_id: str = "",
    topic_id: str = "",
    closed: bool | None = None,
    after: tuple[int, str] | None = None,
    limit: int = 1,
) -> list[Row]:
    """Newest first, with `supporters`: the voices of all that are merged into one with it, each
    once. A single one by its id; of a list, those that are not merged."""
    t, other = WISHES_TABLE.c, WISHES_TABLE.alias("other").c
    supporters = (
        sa.select(sa.func.count(sa.distinct(VOICES.c.voice)))
        .where(
            VOICES.c.client_id == other.client_id,
            VOICES.c.wish_id == other.wish_id,
            other.client_id == t.client_id,
            other.root_id == t.root_id,
        )
        .scalar_subquery()
    )
    query = sa.select(WISHES_TABLE, supporters.label("supporters")).where(t.client_id == client_id)
    query = query.where(t.wish_id == wish_id) if wish_id else query.where(t.merged_into == "")
    if topic_id:
        query = query.where(t.topic_id == topic_id)
    if closed is not None:
        query = query.where((t.outcome != "") == closed)
    if after is not None:
        query = query.where(sa.tuple_(t.expressed_at, t.wish_id) < sa.tuple_(*after))
    query = query.order_by(t.expressed_at.desc(), t.wish_id.desc()).limit(limit)
    return [dict(row) for row in (await connection.execute(query)).mappings()]


# What is held on a person.


class Holding:
    """Complaints and wishes of a customer. Their texts are in the events alone, under the
    customer's own key; the tables keep ids, which are nobody without it."""

    name = "complaints"

    def __init__(self, events: EventStore) -> None:
        self._events = events

    async def export(self, connection: AsyncConnection, person: Person) -> list[dict[str, Any]]:
        """Every event of every complaint and wish of the person, oldest first."""
        found: list[dict[str, Any]] = []
        ids = await complaint_ids(connection, person.client_id, person.customer_ids)
        t = WISHES_TABLE.c
        wish_ids = await connection.scalars(
            sa.select(t.wish_id).where(
                t.client_id == person.client_id, t.customer_id.in_(person.customer_ids)
            )
        )
        for category, named in ((COMPLAINTS, ids), (WISHES, list(wish_ids))):
            for id in named:
                found += await self._history(category, person.client_id, id)
        supported = await connection.execute(
            sa.select(VOICES.c.wish_id, VOICES.c.at).where(
                VOICES.c.client_id == person.client_id,
                VOICES.c.voice.in_([f"customer/{id}" for id in person.customer_ids]),
            )
        )
        found += [
            {"kind": "wish", "id": wish_id, "event": "Supported", "at": at}
            for wish_id, at in supported
        ]
        return sorted(found, key=lambda each: int(each["at"]))

    async def forget(self, connection: AsyncConnection, person: Person) -> Forgotten:
        """Nothing to clean, and no key but the customers' own."""
        return Forgotten()

    async def _history(
        self, category: Category[Any, Any, Any], client_id: str, id: str
    ) -> list[dict[str, Any]]:
        history = await self._events.history(category, client_id, id)
        plain = partial(msgspec.to_builtins, str_keys=True)
        return [
            {
                "kind": category.name,
                "id": id,
                "event": type(fact.event).__name__,
                "actor": fact.actor,
                **plain(fact.event),
            }
            for fact in history
        ]
