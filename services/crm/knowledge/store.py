"""Articles as tables: their versions, how to find them, and how often each has helped.

Nothing here is personal. Times are microseconds since 1970; a null end is open.
"""

import time

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, TSVECTOR, insert
from sqlalchemy.ext.asyncio import AsyncConnection

from services.crm.tables import metadata

articles = sa.Table(
    "knowledge_articles",
    metadata,
    sa.Column("client_id", sa.Text, primary_key=True),
    sa.Column("article_id", sa.Text, primary_key=True),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("language", sa.Text, nullable=False),
    sa.Column("title", sa.Text, nullable=False),
    sa.Column("draft", sa.Integer),
    sa.Column("published", sa.Integer),
    sa.Column("withdrawn", sa.Boolean, nullable=False),
    sa.Column("helped", sa.BigInteger, nullable=False),
    sa.Index("knowledge_articles_by_helped", "client_id", "helped"),
    sa.Index("knowledge_articles_by_language", "client_id", "language"),
)
"""title: of the last version that was published, of the draft before that. draft: the version that is
being written. published: the last that was. helped: calls, of all versions."""

versions = sa.Table(
    "knowledge_versions",
    metadata,
    sa.Column("client_id", sa.Text, primary_key=True),
    sa.Column("article_id", sa.Text, primary_key=True),
    sa.Column("version", sa.Integer, primary_key=True),
    sa.Column("language", sa.Text, nullable=False),
    sa.Column("title", sa.Text, nullable=False),
    sa.Column("body", sa.Text, nullable=False),
    sa.Column("tags", ARRAY(sa.Text), nullable=False),
    sa.Column("valid_from", sa.Date),
    sa.Column("valid_until", sa.Date),
    sa.Column("published_at", sa.BigInteger),
    sa.Column("starts_at", sa.BigInteger),
    sa.Column("ends_at", sa.BigInteger),
    sa.Column("superseded_at", sa.BigInteger),
    sa.Column("withdrawn_at", sa.BigInteger),
    sa.Column("heading", TSVECTOR),
    sa.Column("words", TSVECTOR),
    sa.Index(
        "knowledge_versions_by_heading",
        "heading",
        postgresql_using="gin",
        postgresql_with={"fastupdate": "off"},
    ),
    sa.Index(
        "knowledge_versions_by_words",
        "words",
        postgresql_using="gin",
        postgresql_with={"fastupdate": "off"},
    ),
)
"""A draft has no published_at and cannot be searched. In force: from starts_at until the first of
ends_at (after the last valid day), superseded_at (a later version's start), withdrawn_at.
heading: title (A) and tags (B). words: those and the body (D)."""

helped = sa.Table(
    "knowledge_helped",
    metadata,
    sa.Column("client_id", sa.Text, primary_key=True),
    sa.Column("article_id", sa.Text, primary_key=True),
    sa.Column("call_id", sa.Text, primary_key=True),
    sa.Column("version", sa.Integer, nullable=False),
)


def in_force(at: int) -> sa.ColumnElement[bool]:
    """Whether a version is what holds at this time."""
    over = sa.func.least(versions.c.ends_at, versions.c.superseded_at, versions.c.withdrawn_at)
    return sa.and_(versions.c.starts_at <= at, sa.or_(over.is_(None), over > at))


async def article_version(
    connection: AsyncConnection, client_id: str, article_id: str
) -> int | None:
    """The version that an agent reads now: the one in force or, where none is (expired, not yet
    valid), the last that was published. None: no such article, or it is withdrawn."""
    now = time.time_ns() // 1000
    found: int | None = await connection.scalar(
        sa.select(versions.c.version)
        .where(
            versions.c.client_id == client_id,
            versions.c.article_id == article_id,
            versions.c.published_at.is_not(None),
            versions.c.withdrawn_at.is_(None),
        )
        .order_by(in_force(now).desc(), versions.c.version.desc())
        .limit(1)
    )
    return found


async def count_helped(
    connection: AsyncConnection, client_id: str, article_id: str, version: int, call_id: str
) -> bool:
    """An article helped in a call: counted once for the two, in the caller's transaction.

    False: it has been counted before, whatever the version was.
    """
    counted = await connection.execute(
        insert(helped)
        .values(client_id=client_id, article_id=article_id, call_id=call_id, version=version)
        .on_conflict_do_nothing()
    )
    if counted.rowcount == 0:
        return False
    await connection.execute(
        sa.update(articles)
        .where(articles.c.client_id == client_id, articles.c.article_id == article_id)
        .values(helped=articles.c.helped + 1)
    )
    return True
