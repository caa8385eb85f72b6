"""Erasures that are decided and not yet done to the end."""

from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, insert
from sqlalchemy.ext.asyncio import AsyncConnection

from services.crm.tables import metadata

PENDING = sa.Table(
    "pending_erasures",
    metadata,
    sa.Column("client_id", sa.Text, primary_key=True),
    sa.Column("customer_id", sa.Text, primary_key=True),
    sa.Column("subjects", ARRAY(sa.Text), nullable=False),
    sa.Column("tables", ARRAY(sa.Text), nullable=False),
    sa.Column("requested_at", sa.BigInteger, nullable=False),
)
"""subjects: whose keys have to be destroyed. tables: to be swept of what was deleted there."""


async def put_pending(
    connection: AsyncConnection,
    client_id: str,
    customer_id: str,
    subjects: Iterable[str],
    tables: Iterable[str],
    at: int,
) -> None:
    """What is left to do once the transaction is committed, beside what was left before."""
    made = insert(PENDING).values(
        client_id=client_id,
        customer_id=customer_id,
        subjects=sorted(subjects),
        tables=sorted(tables),
        requested_at=at,
    )
    await connection.execute(
        made.on_conflict_do_update(
            index_elements=["client_id", "customer_id"],
            set_={
                "subjects": PENDING.c.subjects.concat(made.excluded.subjects),
                "tables": PENDING.c.tables.concat(made.excluded.tables),
            },
        )
    )


async def find_pending(
    connection: AsyncConnection, customer: tuple[str, str] | None = None
) -> Sequence[sa.Row[Any]]:
    """All of them, the oldest first; or that of one (client_id, customer_id)."""
    query = sa.select(PENDING).order_by(PENDING.c.requested_at)
    if customer is not None:
        query = query.where(
            PENDING.c.client_id == customer[0], PENDING.c.customer_id == customer[1]
        )
    return (await connection.execute(query)).all()


async def drop_pending(connection: AsyncConnection, done: sa.Row[Any]) -> None:
    """It is done, unless more has been added since."""
    await connection.execute(
        PENDING.delete().where(
            PENDING.c.client_id == done.client_id,
            PENDING.c.customer_id == done.customer_id,
            PENDING.c.subjects == done.subjects,
        )
    )
