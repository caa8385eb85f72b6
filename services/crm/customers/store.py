"""Read models of customers: who they are, by what they are found, which records are one person.

A merge is a view over records, and no record changes by it: `merged_into` points to the record that
stands for this one, and `survivor_id` to the end of that chain, so that reading follows no chain.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncConnection

from services.crm.holding import Person
from services.crm.tables import metadata

# Byte order, so that a prefix is a range of the index, and an index gives what comes next.
_ORDERED = sa.Text(collation="C")

CUSTOMERS = sa.Table(
    "customers",
    metadata,
    sa.Column("client_id", sa.Text, primary_key=True),
    sa.Column("customer_id", _ORDERED, primary_key=True),
    sa.Column("number", sa.Text, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("phones", ARRAY(sa.Text), nullable=False),
    sa.Column("emails", ARRAY(sa.Text), nullable=False),
    sa.Column("address", sa.Text, nullable=False),
    sa.Column("language", sa.Text, nullable=False),
    sa.Column("time_zone", sa.Text, nullable=False),
    sa.Column("preferred_channel", sa.Text, nullable=False),
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("version", sa.BigInteger, nullable=False),
    sa.Column("registered_at", sa.BigInteger, nullable=False),
    sa.Column("changed_at", sa.BigInteger, nullable=False),
    sa.Column("erased_at", sa.BigInteger),
    sa.Column("merged_into", sa.Text),
    sa.Column("survivor_id", sa.Text, nullable=False),
    # Few records are merged, so the index is small, and registering does not touch it.
    sa.Index(
        "customers_merged",
        "client_id",
        "survivor_id",
        postgresql_where=sa.text("merged_into IS NOT NULL"),
    ),
)
"""One row a record. Texts are empty where nothing is known, times microseconds since 1970."""

NUMBERS = sa.Table(
    "customer_numbers",
    metadata,
    sa.Column("client_id", sa.Text, primary_key=True),
    sa.Column("number", sa.Text, primary_key=True),
    sa.Column("customer_id", sa.Text, nullable=False),
)
"""The client's own numbers: the primary key is what keeps them unique."""

CONTACTS = sa.Table(
    "customer_contacts",
    metadata,
    sa.Column("client_id", sa.Text, primary_key=True),
    sa.Column("contact", sa.Text, primary_key=True),
    sa.Column("customer_id", sa.Text, primary_key=True),
)
"""Phones and emails as they are looked for: E.164, and `contact.email_key`."""

WORDS = sa.Table(
    "customer_words",
    metadata,
    sa.Column("client_id", sa.Text, primary_key=True),
    sa.Column("word", _ORDERED, primary_key=True),
    sa.Column("name_key", _ORDERED, primary_key=True),
    sa.Column("customer_id", _ORDERED, primary_key=True),
)
"""A row for each word of a name, with all of them: a search reads this index and nothing else."""


# Who is meant. What the other capabilities use.


async def resolve(connection: AsyncConnection, client_id: str, reference: str) -> str | None:
    """The surviving customer that crm's id or the client's own number names; None: nobody."""
    return (await resolve_many(connection, client_id, [reference])).get(reference)


async def resolve_many(
    connection: AsyncConnection, client_id: str, references: Iterable[str]
) -> dict[str, str]:
    """The same for many references; those of nobody are missing. An id goes before a number."""
    wanted = sorted(set(references))
    if not wanted:
        return {}
    by_number = (
        sa.select(NUMBERS.c.number, CUSTOMERS.c.survivor_id)
        .join(
            CUSTOMERS,
            sa.and_(
                CUSTOMERS.c.client_id == NUMBERS.c.client_id,
                CUSTOMERS.c.customer_id == NUMBERS.c.customer_id,
            ),
        )
        .where(NUMBERS.c.client_id == client_id, NUMBERS.c.number == sa.any_(_texts(wanted)))
    )
    by_id = sa.select(CUSTOMERS.c.customer_id, CUSTOMERS.c.survivor_id).where(
        CUSTOMERS.c.client_id == client_id, CUSTOMERS.c.customer_id == sa.any_(_texts(wanted))
    )
    found = {number: survivor for number, survivor in await connection.execute(by_number)}
    return found | {id: survivor for id, survivor in await connection.execute(by_id)}


async def person(connection: AsyncConnection, client_id: str, customer_id: str) -> Person | None:
    """The merged group that a record (any of its ids) belongs to; None: there is no such record."""
    rows = await group(connection, client_id, customer_id)
    if not rows:
        return None
    ids = tuple(row.customer_id for row in rows)
    numbers = tuple(row.number for row in rows if row.number)
    return Person(
        client_id,
        customer_ids=ids,
        references=tuple(dict.fromkeys(ids + numbers)),
        phones=tuple(dict.fromkeys(phone for row in rows for phone in row.phones)),
        emails=tuple(dict.fromkeys(email for row in rows for email in row.emails)),
    )


async def group(
    connection: AsyncConnection, client_id: str, customer_id: str
) -> Sequence[sa.Row[Any]]:
    """The rows of all records that are one person, the surviving one first."""
    survivor = (
        sa.select(CUSTOMERS.c.survivor_id)
        .where(CUSTOMERS.c.client_id == client_id, CUSTOMERS.c.customer_id == customer_id)
        .scalar_subquery()
    )
    rows = await connection.execute(
        sa.select(CUSTOMERS)
        .where(
            CUSTOMERS.c.client_id == client_id,
            sa.or_(
                CUSTOMERS.c.customer_id == survivor,
                sa.and_(CUSTOMERS.c.survivor_id == survivor, CUSTOMERS.c.merged_into.is_not(None)),
            ),
        )
        .order_by(CUSTOMERS.c.merged_into.is_not(None), CUSTOMERS.c.customer_id)
    )
    return rows.all()


def _texts(values: Sequence[str]) -> sa.BindParameter[Sequence[str]]:
    return sa.bindparam(None, list(values), type_=ARRAY(sa.Text))
