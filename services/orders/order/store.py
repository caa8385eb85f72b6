"""Orders as a table. No answer, address or text is here: what was said is read from the events,
with the customer's key, so that forgetting has nothing to clean, and what is counted stays.

Times are microseconds since 1970. Empty texts are what is not known, or not so.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any, Final

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from eventkit.clock import rfc3339
from eventkit.eventstore import Category, Change, EventStore
from services.orders.order import codec
from services.orders.order import commands as cmd
from services.orders.order import events as ev
from services.orders.order import order as o
from services.orders.order.state import Order, evolve
from services.orders.tables import metadata
from services.orders.visits.store import release

Row = dict[str, Any]

ORDERS_TABLE: Final = sa.Table(
    "orders",
    metadata,
    sa.Column("client_id", sa.Text, primary_key=True),
    sa.Column("order_id", sa.Text, primary_key=True),
    sa.Column("version", sa.BigInteger, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("product_id", sa.Text, nullable=False),
    sa.Column("form_version", sa.Integer, nullable=False),
    sa.Column("customer_id", sa.Text, nullable=False),
    sa.Column("call_id", sa.Text, nullable=False),
    sa.Column("agent_id", sa.Text, nullable=False),
    sa.Column("campaign_id", sa.Text, nullable=False),
    sa.Column("offer_id", sa.Text, nullable=False),
    sa.Column("channel", sa.Text, nullable=False),
    sa.Column("reference", sa.Text, nullable=False),
    sa.Column("drafted_at", sa.BigInteger, nullable=False),
    sa.Column("expires_at", sa.BigInteger),
    sa.Column("placed_at", sa.BigInteger),
    sa.Column("confirmed_at", sa.BigInteger),
    sa.Column("fulfilled_at", sa.BigInteger),
    sa.Column("after_sale_until", sa.BigInteger),
    sa.Column("ended_at", sa.BigInteger),
    sa.Column("end_reason", sa.Text, nullable=False),
    sa.Column("cancelled_by", sa.Text, nullable=False),
    sa.Column("currency", sa.Text, nullable=False),
    sa.Column("total", sa.Numeric),
    sa.Column("monthly", sa.Numeric),
    sa.Column("visit_id", sa.Text, nullable=False),
    sa.Column("visit_status", sa.Text, nullable=False),
    sa.Column("crew_id", sa.Text, nullable=False),
    sa.Column("area_id", sa.Text, nullable=False),
    sa.Column("skill", sa.Text, nullable=False),
    sa.Column("visit_starts_at", sa.BigInteger),
    sa.Column("visit_ends_at", sa.BigInteger),
    sa.Column("visit_overdue", sa.Boolean, nullable=False),
    sa.Index("orders_by_time", "client_id", "drafted_at", "order_id"),
    sa.Index("orders_by_customer", "client_id", "customer_id", "drafted_at", "order_id"),
    sa.Index("orders_by_product", "client_id", "product_id", "drafted_at", "order_id"),
    sa.Index("orders_by_status", "client_id", "status", "drafted_at", "order_id"),
    sa.Index(
        "orders_by_call",
        *("client_id", "call_id", "drafted_at", "order_id"),
        postgresql_where=sa.text("call_id <> ''"),
    ),
    sa.Index(
        "orders_by_agent",
        *("client_id", "agent_id", "drafted_at", "order_id"),
        postgresql_where=sa.text("agent_id <> ''"),
    ),
    sa.Index(
        "orders_by_reference",
        *("client_id", "reference", "drafted_at", "order_id"),
        postgresql_where=sa.text("reference <> ''"),
    ),
    sa.Index(
        "orders_overdue",
        *("client_id", "drafted_at", "order_id"),
        postgresql_where=sa.text("visit_overdue"),
    ),
)
"""expires_at: of a draft. total, monthly: frozen, null until it is placed. ended_at: cancelled,
returned, failed, expired. visit_overdue: nobody has said how the visit went, in time, nor since."""


# The table.

_FIXED: Final = frozenset(
    ["client_id", "order_id", "drafted_at", *(field.name for field in fields(ev.Origin))]
)
_insert = insert(ORDERS_TABLE)
_UPSERT: Final = _insert.on_conflict_do_update(
    index_elements=["client_id", "order_id"],
    set_={
        column.name: _insert.excluded[column.name]
        for column in ORDERS_TABLE.columns
        if column.name not in _FIXED
    },
)


async def project(connection: AsyncConnection, changes: Sequence[Change[Order, ev.Event]]) -> None:
    await connection.execute(_UPSERT, [_row(change) for change in changes])
    for change in changes:
        given_up = list(_given_up(change))
        if given_up:
            await release(connection, change.client_id, given_up)


def _row(change: Change[Order, ev.Event]) -> Row:
    state = change.after
    origin, sale, visit, ended = state.origin, state.sale, state.visit, state.ended
    return {
        "client_id": change.client_id,
        "order_id": change.id,
        "version": change.version,
        "status": state.status.value,
        "product_id": origin.product_id,
        "form_version": origin.form_version,
        "customer_id": origin.customer_id,
        "call_id": origin.call_id,
        "agent_id": origin.agent_id,
        "campaign_id": origin.campaign_id,
        "offer_id": origin.offer_id,
        "channel": origin.channel,
        "reference": state.reference,
        "drafted_at": state.drafted_at,
        "expires_at": state.expires_at if state.status is ev.Status.DRAFT else None,
        "placed_at": sale and sale.placed_at,
        "confirmed_at": state.confirmed_at,
        "fulfilled_at": state.fulfilled_at,
        "after_sale_until": state.after_sale_until,
        "ended_at": state.ended_at,
        "end_reason": ended.reason if ended else "",
        "cancelled_by": ended.by.value if isinstance(ended, ev.OrderCancelled) else "",
        "currency": sale.currency if sale else "",
        "total": sale and sale.total,
        "monthly": sale and sale.monthly,
        "visit_id": visit.visit_id if visit else "",
        "visit_status": state.visit_status.value,
        "crew_id": visit.crew_id if visit else "",
        "area_id": visit.area_id if visit else "",
        "skill": visit.skill if visit else "",
        "visit_starts_at": visit and visit.starts_at,
        "visit_ends_at": visit and visit.ends_at,
        "visit_overdue": state.overdue and state.visit_status is ev.VisitStatus.SCHEDULED,
    }


def _given_up(change: Change[Order, ev.Event]) -> Iterator[str]:
    """The visits that the order had and does not hold any more, so that their crews are free. One
    that was missed was held: its time has been spent."""
    state = change.before
    for fact in change.events:
        held, scheduled = state.visit, state.visit_status is ev.VisitStatus.SCHEDULED
        state = evolve(state, fact.event)
        if held is not None and scheduled and (state.visit is None or state.visit != held):
            yield held.visit_id


def _subject(_: str, state: Order) -> str:
    return state.origin.customer_id


ORDERS: Final[Category[cmd.Command, Order, ev.Event]] = Category(
    "order",
    o.DECIDER,
    topic="order-events",
    message=codec.order_message,
    project=project,
    subject=_subject,
    timers=o.timers,
    due=o.due,
)


@dataclass(frozen=True, slots=True)
class Filter:
    """Which orders are wanted; empty and None: all. drafted_from, drafted_before: microseconds.
    overdue: only those with a visit that nobody has said the outcome of, in time."""

    status: ev.Status | None = None
    product_id: str = ""
    customer_id: str = ""
    call_id: str = ""
    agent_id: str = ""
    reference: str = ""
    drafted_from: int | None = None
    drafted_before: int | None = None
    overdue: bool = False


async def orders(
    connection: AsyncConnection,
    client_id: str,
    wanted: Filter,
    after: tuple[int, str] | None,
    limit: int,
) -> list[Row]:
    """Newest draft first. after: drafted_at and order_id of the last one that was seen."""
    t = ORDERS_TABLE.c
    query = sa.select(ORDERS_TABLE).where(t.client_id == client_id)
    if wanted.status is not None:
        query = query.where(t.status == wanted.status.value)
    for name in ("product_id", "customer_id"):
        if value := getattr(wanted, name):
            query = query.where(t[name] == value)
    for name in ("call_id", "agent_id", "reference"):
        if value := getattr(wanted, name):
            # The second says what the partial index is of, since the first may be a parameter.
            query = query.where(t[name] == value, sa.text(f"{name} <> ''"))
    if wanted.drafted_from is not None:
        query = query.where(t.drafted_at >= wanted.drafted_from)
    if wanted.drafted_before is not None:
        query = query.where(t.drafted_at < wanted.drafted_before)
    if wanted.overdue:
        query = query.where(sa.text("visit_overdue"))
    if after is not None:
        query = query.where(sa.tuple_(t.drafted_at, t.order_id) < sa.tuple_(*after))
    query = query.order_by(t.drafted_at.desc(), t.order_id.desc()).limit(limit)
    return [dict(row) for row in (await connection.execute(query)).mappings()]


# What is held on a person.


async def export(events: EventStore, client_id: str, customer_id: str) -> list[Row]:
    """Every event of every order of a customer, oldest first, readable; without their texts where
    the customer is erased."""
    t = ORDERS_TABLE.c
    query = sa.select(t.order_id).where(t.client_id == client_id, t.customer_id == customer_id)
    async with events.reading() as connection:
        order_ids = list(await connection.scalars(query.order_by(t.drafted_at, t.order_id)))
    facts = [
        (order_id, fact)
        for order_id in order_ids
        for fact in await events.history(ORDERS, client_id, order_id)
    ]
    return [
        {
            "kind": ORDERS.name,
            "id": order_id,
            "event": type(fact.event).__name__,
            "actor": fact.actor,
            **readable(msgspec.to_builtins(fact.event, str_keys=True)),
        }
        for order_id, fact in sorted(facts, key=lambda each: each[1].event.at)
    ]


def clear(event: ev.Event) -> Row:
    """An event without what is personal, as JSON has it; times are readable."""
    _, body, _ = ORDERS.codec.encode(event)
    plain: Row = readable(msgspec.json.decode(body))
    return plain


def readable(value: Any, name: str = "") -> Any:
    """The same with every moment, which an event has in microseconds, as RFC 3339."""
    match value:
        case dict():
            return {each: readable(inside, each) for each, inside in value.items()}
        case list() | tuple():
            return [readable(inside, name) for inside in value]
        case int() if name == "at" or name.endswith(("_at", "_until")):
            return rfc3339(value)
    return value
