"""Attempts as a table: for edges, for what is open, and to learn from. Nothing personal is here.

Times are microseconds since 1970, durations microseconds. Empty texts are what is not known.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from eventkit.eventstore import Category, Change
from services.dialer.attempts import attempt as a
from services.dialer.attempts import codec
from services.dialer.compliance import store as contacts
from services.dialer.measure import measure
from services.dialer.measure import store as measures
from services.dialer.tables import metadata

Row = dict[str, Any]

ATTEMPTS_TABLE: Final = sa.Table(
    "attempts",
    metadata,
    sa.Column("client_id", sa.Text, primary_key=True),
    sa.Column("attempt_id", sa.Text, primary_key=True),
    sa.Column("version", sa.BigInteger, nullable=False),
    sa.Column("campaign_id", sa.Text, nullable=False),
    sa.Column("list_id", sa.Text, nullable=False),
    sa.Column("lead_id", sa.Text, nullable=False),
    sa.Column("customer_id", sa.Text, nullable=False),
    sa.Column("number_id", sa.Text, nullable=False),
    sa.Column("number_of_attempt", sa.Integer, nullable=False),
    sa.Column("started_at", sa.BigInteger, nullable=False),
    sa.Column("mode", sa.Text, nullable=False),
    sa.Column("country", sa.Text, nullable=False),
    sa.Column("region", sa.Text, nullable=False),
    sa.Column("dial_before", sa.BigInteger, nullable=False),
    sa.Column("answered_by", sa.Text, nullable=False),
    sa.Column("answered_at", sa.BigInteger),
    sa.Column("greeting_ended_at", sa.BigInteger),
    sa.Column("connected_at", sa.BigInteger),
    sa.Column("ended_at", sa.BigInteger),
    sa.Column("result", sa.Text, nullable=False),
    sa.Column("cause", sa.Text, nullable=False),
    sa.Column("agent_id", sa.Text, nullable=False),
    sa.Column("rang", sa.BigInteger),
    sa.Column("waited", sa.BigInteger),
    sa.Column("talked", sa.BigInteger),
    sa.Column("callback_wanted", sa.Boolean, nullable=False),
    sa.Column("disposition", sa.Text, nullable=False),
    sa.Column("refusal_reason", sa.Text, nullable=False),
    sa.Column("converted", sa.Boolean, nullable=False),
    sa.Index("attempts_by_time", "client_id", "started_at", "attempt_id"),
    sa.Index("attempts_by_campaign", "client_id", "campaign_id", "started_at", "attempt_id"),
    sa.Index("attempts_by_lead", "client_id", "lead_id", "started_at", "attempt_id"),
    sa.Index(
        "attempts_by_customer",
        *("client_id", "customer_id", "started_at", "attempt_id"),
        postgresql_where=sa.text("customer_id <> ''"),
    ),
    sa.Index(
        "attempts_by_agent",
        *("client_id", "agent_id", "started_at", "attempt_id"),
        postgresql_where=sa.text("agent_id <> ''"),
    ),
    sa.Index("attempts_open", "started_at", postgresql_where=sa.text("ended_at IS NULL")),
)
"""agent_id: who talked, or for whom it was started. ended_at: null while it is open."""

TOTALS_TABLE: Final = sa.Table(
    "attempt_totals",
    metadata,
    sa.Column("client_id", sa.Text, primary_key=True),
    sa.Column("campaign_id", sa.Text, primary_key=True),
    sa.Column("what", sa.Text, primary_key=True),
    sa.Column("number", sa.BigInteger, nullable=False),
)
"""what: a result, or one of those below. Written with the events, so goals are held against it."""

STARTED: Final = "started"
CONVERTED: Final = "converted"
TALKED: Final = "talked"
ANSWERED_FOR: Final = "answered-for"
"""Microseconds: with agents; of answered calls, from the answer to the end."""

_FIXED: Final = frozenset(
    [
        *("client_id", "attempt_id", "mode", "country", "region", "dial_before"),
        *(field.name for field in fields(a.Origin)),
    ]
)
_insert = insert(ATTEMPTS_TABLE)
_UPSERT: Final = _insert.on_conflict_do_update(
    index_elements=["client_id", "attempt_id"],
    set_={
        column.name: _insert.excluded[column.name]
        for column in ATTEMPTS_TABLE.columns
        if column.name not in _FIXED
    },
)


async def project(
    connection: AsyncConnection, changes: Sequence[Change[a.Attempt, a.Event]]
) -> None:
    """The table, the campaign's totals, the legal measure, and what the next attempt's rules look
    at: all in the transaction of the events, so that an end counts once, for all of them."""
    await connection.execute(_UPSERT, [_row(change) for change in changes])
    totals: Counter[tuple[str, str, str]] = Counter()
    for change in changes:
        totals.update(_added(change))
    rows = [
        {"client_id": key[0], "campaign_id": key[1], "what": key[2], "number": number}
        # In order, so that two transactions do not wait for each other.
        for key, number in sorted(totals.items())
        if number
    ]
    if rows:
        await connection.execute(_ADD, rows)
    await measures.count(connection, [_word(change) for change in changes])
    await contacts.complete(connection, [each for change in changes for each in _outcome(change)])


def _word(change: Change[a.Attempt, a.Event]) -> measures.Word:
    """What the legal measure counts of it."""
    started = change.after.started
    assert started is not None
    return measures.Word(
        change.client_id,
        started.origin.campaign_id,
        _measured(change.before),
        _measured(change.after),
    )


def _measured(state: a.Attempt) -> measure.Ended | None:
    ended, greeted = state.ended, state.greeting_ended_at
    if ended is None:
        return None
    waited = ended.waited
    if waited is None and greeted is not None and ended.cause != a.LOST:
        waited = max(0, ended.at - greeted)
    return measure.Ended(
        ended.at,
        ended.mode,
        ended.result.value,
        ended.answered_by.value,
        waited,
        state.heard_machine,
    )


def _outcome(change: Change[a.Attempt, a.Event]) -> Iterator[contacts.Outcome]:
    """What caps and rests have to know of it, where these events say something new of that."""
    before, state = change.before, change.after
    ended, disposed = state.ended, state.disposed
    if ended is not None and (before.ended is None or before.disposed != disposed):
        yield contacts.Outcome(
            change.client_id,
            change.id,
            ended.at,
            dialled=ended.result is not a.Result.NOT_DIALLED,
            conversation=ended.result is a.Result.CONNECTED and not state.heard_machine,
            refused=disposed is not None and disposed.refused,
            abandoned=ended.result is a.Result.ABANDONED,
        )


_new = insert(TOTALS_TABLE)
_ADD: Final = _new.on_conflict_do_update(
    index_elements=["client_id", "campaign_id", "what"],
    set_={"number": TOTALS_TABLE.c.number + _new.excluded.number},
)


def _added(change: Change[a.Attempt, a.Event]) -> Counter[tuple[str, str, str]]:
    """What these events add to the campaign's totals; a conversion that is taken back: -1."""
    before, after = change.before, change.after
    assert after.started is not None
    found: Counter[str] = Counter()
    if before.started is None:
        found[STARTED] = 1
    if after.ended is not None and before.ended is None:
        found[after.ended.result.value] += 1
        found[TALKED] += after.ended.talked or 0
        if after.answered is not None:
            found[ANSWERED_FOR] += max(0, after.ended.at - after.answered.at)
    found[CONVERTED] += _converted(after) - _converted(before)
    key = change.client_id, after.started.origin.campaign_id
    return Counter({(*key, what): number for what, number in found.items()})


def _converted(state: a.Attempt) -> bool:
    return state.disposed is not None and state.disposed.converted


async def totals(
    connection: AsyncConnection, client_id: str, campaign_ids: Sequence[str]
) -> dict[str, dict[str, int]]:
    """By campaign: what there is of TOTALS_TABLE; those without attempts are empty."""
    t = TOTALS_TABLE.c
    query = sa.select(t.campaign_id, t.what, t.number).where(
        t.client_id == client_id, t.campaign_id.in_(list(campaign_ids))
    )
    found: dict[str, dict[str, int]] = {campaign_id: {} for campaign_id in campaign_ids}
    for campaign_id, what, number in await connection.execute(query):
        found[campaign_id][what] = number
    return found


def _row(change: Change[a.Attempt, a.Event]) -> Row:
    state = change.after
    started, answered, ended, disposed = state.started, state.answered, state.ended, state.disposed
    assert started is not None
    origin, connected = started.origin, state.connected
    return {
        "client_id": change.client_id,
        "attempt_id": change.id,
        "version": change.version,
        "campaign_id": origin.campaign_id,
        "list_id": origin.list_id,
        "lead_id": origin.lead_id,
        "customer_id": origin.customer_id,
        "number_id": origin.number_id,
        "number_of_attempt": origin.number_of_attempt,
        "started_at": origin.started_at,
        "mode": started.mode,
        "country": started.country,
        "region": started.region,
        "dial_before": started.dial_before,
        "answered_by": state.answered_by.value,
        "answered_at": answered and answered.at,
        "greeting_ended_at": state.greeting_ended_at,
        "connected_at": connected and connected.at,
        "ended_at": ended and ended.at,
        "result": ended.result.value if ended else "",
        "cause": ended.cause if ended else "",
        "agent_id": connected.agent_id if connected else started.agent_id,
        "rang": answered and answered.rang,
        "waited": ended and ended.waited,
        "talked": ended and ended.talked,
        "callback_wanted": ended is not None and ended.callback_wanted,
        "disposition": disposed.disposition if disposed else "",
        "refusal_reason": disposed.refusal_reason if disposed else "",
        "converted": disposed is not None and disposed.converted,
    }


ATTEMPTS: Final[Category[a.Command, a.Attempt, a.Event]] = Category(
    "attempt",
    a.DECIDER,
    topic="attempt-events",
    message=codec.attempt_message,
    project=project,
)


@dataclass(frozen=True, slots=True)
class Filter:
    """Which attempts are wanted; empty and None: all. started_from, started_before: microseconds.
    result: of attempt.Result, or `open`."""

    campaign_id: str = ""
    lead_id: str = ""
    customer_id: str = ""
    agent_id: str = ""
    result: str = ""
    disposition: str = ""
    callback_wanted: bool | None = None
    started_from: int | None = None
    started_before: int | None = None


OPEN: Final = "open"


async def find(
    connection: AsyncConnection,
    client_id: str,
    wanted: Filter,
    after: tuple[int, str] | None,
    limit: int,
) -> list[Row]:
    """Newest first. after: started_at and attempt_id of the last one that was seen."""
    t = ATTEMPTS_TABLE.c
    query = sa.select(ATTEMPTS_TABLE).where(t.client_id == client_id)
    for name in ("campaign_id", "lead_id", "disposition"):
        if value := getattr(wanted, name):
            query = query.where(t[name] == value)
    for name in ("customer_id", "agent_id"):
        if value := getattr(wanted, name):
            # The second says what the partial index is of, since the first may be a parameter.
            query = query.where(t[name] == value, sa.text(f"{name} <> ''"))
    if wanted.result == OPEN:
        query = query.where(t.ended_at.is_(None))
    elif wanted.result:
        query = query.where(t.result == wanted.result)
    if wanted.callback_wanted is not None:
        query = query.where(t.callback_wanted.is_(wanted.callback_wanted))
    if wanted.started_from is not None:
        query = query.where(t.started_at >= wanted.started_from)
    if wanted.started_before is not None:
        query = query.where(t.started_at < wanted.started_before)
    if after is not None:
        query = query.where(sa.tuple_(t.started_at, t.attempt_id) < sa.tuple_(*after))
    query = query.order_by(t.started_at.desc(), t.attempt_id.desc()).limit(limit)
    return [dict(row) for row in (await connection.execute(query)).mappings()]


async def open_attempts(
    connection: AsyncConnection, started_before: int | None = None, limit: int = 10_000
) -> list[Row]:
    """Of all clients, oldest first, those that have not ended. started_before: microseconds."""
    t = ATTEMPTS_TABLE.c
    query = sa.select(ATTEMPTS_TABLE).where(t.ended_at.is_(None))
    if started_before is not None:
        query = query.where(t.started_at < started_before)
    query = query.order_by(t.started_at).limit(limit)
    return [dict(row) for row in (await connection.execute(query)).mappings()]


async def recent(
    connection: AsyncConnection, client_id: str, campaign_id: str, since: int, limit: int = 20_000
) -> list[Row]:
    """Newest first, those of a campaign that were started since then and have ended: what pacing
    learns from. since: microseconds."""
    t = ATTEMPTS_TABLE.c
    query = sa.select(ATTEMPTS_TABLE).where(
        t.client_id == client_id,
        t.campaign_id == campaign_id,
        t.started_at >= since,
        t.ended_at.is_not(None),
    )
    query = query.order_by(t.started_at.desc()).limit(limit)
    return [dict(row) for row in (await connection.execute(query)).mappings()]
