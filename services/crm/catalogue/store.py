"""The catalogues as tables: what may be chosen, asked for by whoever records something.

Nothing here is personal. Days are inclusive on both ends, in the client's zone.
"""

from collections.abc import Callable, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, insert
from sqlalchemy.ext.asyncio import AsyncConnection

from eventkit.eventstore import Change
from services.crm.catalogue.catalogue import (
    Catalogue,
    Disposition,
    Flag,
    Offer,
    RefusalReason,
    Topic,
)
from services.crm.tables import metadata

Row = dict[str, Any]

topics = sa.Table(
    "catalogue_topics",
    metadata,
    sa.Column("client_id", sa.Text, primary_key=True),
    sa.Column("topic_id", sa.Text, primary_key=True),
    sa.Column("parent", sa.Text),
    sa.Column("name", JSONB, nullable=False),
    sa.Column("retired", sa.Boolean, nullable=False),
    sa.Column("path", ARRAY(sa.Text), nullable=False),
    sa.Column("selectable", sa.Boolean, nullable=False),
)
"""parent: null for a root. path: from the root to the topic itself. selectable: neither it nor one
above it is retired. name: by language, "" where there is but one."""

dispositions = sa.Table(
    "catalogue_dispositions",
    metadata,
    sa.Column("client_id", sa.Text, primary_key=True),
    sa.Column("disposition", sa.Text, primary_key=True),
    sa.Column("name", JSONB, nullable=False),
    sa.Column("closes", sa.Boolean, nullable=False),
    sa.Column("flags", ARRAY(sa.Text), nullable=False),
    sa.Column("retired", sa.Boolean, nullable=False),
)

offers = sa.Table(
    "catalogue_offers",
    metadata,
    sa.Column("client_id", sa.Text, primary_key=True),
    sa.Column("offer_id", sa.Text, primary_key=True),
    sa.Column("name", JSONB, nullable=False),
    sa.Column("price", sa.Numeric),
    sa.Column("currency", sa.Text),
    sa.Column("valid_from", sa.Date),
    sa.Column("valid_until", sa.Date),
    sa.Column("retired", sa.Boolean, nullable=False),
)

refusal_reasons = sa.Table(
    "catalogue_refusal_reasons",
    metadata,
    sa.Column("client_id", sa.Text, primary_key=True),
    sa.Column("reason", sa.Text, primary_key=True),
    sa.Column("name", JSONB, nullable=False),
    sa.Column("needs_date", sa.Boolean, nullable=False),
    sa.Column("needs_text", sa.Boolean, nullable=False),
    sa.Column("retired", sa.Boolean, nullable=False),
)


async def topic_exists(connection: AsyncConnection, client_id: str, topic_id: str) -> bool:
    """Whether the topic may be chosen: there is one, and neither it nor one above is retired."""
    found = await connection.scalar(
        sa.select(topics.c.selectable).where(
            topics.c.client_id == client_id, topics.c.topic_id == topic_id
        )
    )
    return bool(found)


async def topic_path(
    connection: AsyncConnection, client_id: str, topic_id: str
) -> tuple[str, ...] | None:
    """The topic's ids from the root down to itself, retired or not; None: no such topic."""
    found = await connection.scalar(
        sa.select(topics.c.path).where(
            topics.c.client_id == client_id, topics.c.topic_id == topic_id
        )
    )
    return None if found is None else tuple(found)


async def disposition(
    connection: AsyncConnection, client_id: str, disposition: str
) -> Disposition | None:
    """The definition, also of a retired one."""
    row = await _row(connection, dispositions, client_id, disposition)
    return None if row is None else _disposition(row)


async def offer(connection: AsyncConnection, client_id: str, offer_id: str) -> Offer | None:
    """The definition, also of a retired one."""
    row = await _row(connection, offers, client_id, offer_id)
    return None if row is None else _offer(row)


async def refusal_reason(
    connection: AsyncConnection, client_id: str, reason: str
) -> RefusalReason | None:
    """The definition, also of a retired one."""
    row = await _row(connection, refusal_reasons, client_id, reason)
    return None if row is None else _refusal_reason(row)


async def catalogue(connection: AsyncConnection, client_id: str) -> Catalogue:
    """All that the client has defined, by id; an empty catalogue where that is nothing."""
    rows = {
        table: await connection.execute(
            sa.select(table).where(table.c.client_id == client_id).order_by(_id(table))
        )
        for table in (topics, dispositions, offers, refusal_reasons)
    }
    return Catalogue(
        {row.topic_id: _topic(row) for row in rows[topics]},
        {row.disposition: _disposition(row) for row in rows[dispositions]},
        {row.offer_id: _offer(row) for row in rows[offers]},
        {row.reason: _refusal_reason(row) for row in rows[refusal_reasons]},
    )


async def project(connection: AsyncConnection, changes: Sequence[Change[Any, Any]]) -> None:
    """Write what is different now. A topic that moves or retires changes all below it, too."""
    for change in changes:
        before, after = change.before, change.after
        for table, rows_of in _ROWS.items():
            old, new = rows_of(before), rows_of(after)
            rows = [
                {"client_id": change.client_id, **row}
                for item_id, row in new.items()
                if old.get(item_id) != row
            ]
            if rows:
                made = insert(table)
                values = {
                    column.name: made.excluded[column.name]
                    for column in table.c
                    if not column.primary_key
                }
                await connection.execute(
                    made.on_conflict_do_update(index_elements=table.primary_key, set_=values), rows
                )


def _topic_rows(catalogue: Catalogue) -> dict[str, Row]:
    return {
        topic_id: {
            "topic_id": topic_id,
            "parent": topic.parent or None,
            "name": topic.name,
            "retired": topic.retired,
            "path": list(catalogue.path(topic_id)),
            "selectable": catalogue.selectable(topic_id),
        }
        for topic_id, topic in catalogue.topics.items()
    }


def _disposition_rows(catalogue: Catalogue) -> dict[str, Row]:
    return {
        disposition: {
            "disposition": disposition,
            "name": item.name,
            "closes": item.closes,
            "flags": list(item.flags),
            "retired": item.retired,
        }
        for disposition, item in catalogue.dispositions.items()
    }


def _offer_rows(catalogue: Catalogue) -> dict[str, Row]:
    return {
        offer_id: {
            "offer_id": offer_id,
            "name": item.name,
            "price": item.price,
            "currency": item.currency or None,
            "valid_from": item.valid_from,
            "valid_until": item.valid_until,
            "retired": item.retired,
        }
        for offer_id, item in catalogue.offers.items()
    }


def _refusal_reason_rows(catalogue: Catalogue) -> dict[str, Row]:
    return {
        reason: {
            "reason": reason,
            "name": item.name,
            "needs_date": item.needs_date,
            "needs_text": item.needs_text,
            "retired": item.retired,
        }
        for reason, item in catalogue.refusal_reasons.items()
    }


_ROWS: dict[sa.Table, Callable[[Catalogue], dict[str, Row]]] = {
    topics: _topic_rows,
    dispositions: _disposition_rows,
    offers: _offer_rows,
    refusal_reasons: _refusal_reason_rows,
}


def _topic(row: Any) -> Topic:
    return Topic(row.name, row.parent or "", row.retired)


def _disposition(row: Any) -> Disposition:
    return Disposition(row.name, row.closes, tuple(map(Flag, row.flags)), row.retired)


def _offer(row: Any) -> Offer:
    return Offer(
        row.name, row.price, row.currency or "", row.valid_from, row.valid_until, row.retired
    )


def _refusal_reason(row: Any) -> RefusalReason:
    return RefusalReason(row.name, row.needs_date, row.needs_text, row.retired)


def _id(table: sa.Table) -> sa.Column[Any]:
    return list(table.primary_key.columns)[1]


async def _row(
    connection: AsyncConnection, table: sa.Table, client_id: str, item_id: str
) -> sa.Row[Any] | None:
    found = await connection.execute(
        sa.select(table).where(table.c.client_id == client_id, _id(table) == item_id)
    )
    return found.one_or_none()
