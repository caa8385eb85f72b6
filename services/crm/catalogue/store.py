"""The catalogues as tables: what may be chosen, asked for by whoever records something.

Nothing here is personal. Days are inclusive on both ends, in the client's zone.
"""

from collections.abc import Mapping, Sequence
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
    """Whether the client has this topic and it may be chosen: it is not retired, nor is one above."""
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
