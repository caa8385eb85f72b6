"""Forms as tables, and every version of them for ever. Times are microseconds since 1970."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from eventkit.eventstore import Category, Change
from services.orders.forms import form as f
from services.orders.tables import metadata

Row = dict[str, Any]

FORMS_TABLE: Final = sa.Table(
    "forms",
    metadata,
    sa.Column("client_id", sa.Text, primary_key=True),
    sa.Column("product_id", sa.Text, primary_key=True),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("title", sa.Text, nullable=False),
    sa.Column("retired", sa.Boolean, nullable=False),
)
"""A row for each product. version, title: of its latest form."""

VERSIONS: Final = sa.Table(
    "form_versions",
    metadata,
    sa.Column("client_id", sa.Text, primary_key=True),
    sa.Column("product_id", sa.Text, primary_key=True),
    sa.Column("version", sa.Integer, primary_key=True),
    sa.Column("form", sa.Text, nullable=False),
    sa.Column("published_at", sa.BigInteger, nullable=False),
)
"""form: a `form.Form` in JSON. A row is only ever added."""

_decoder = msgspec.json.Decoder(f.Form)


@dataclass(frozen=True, slots=True)
class Version:
    """One version of a product's form."""

    version: int
    form: f.Form
    published_at: int
    retired: bool
    """The product: whatever is asked of this version, nothing new is ordered."""


async def project(
    connection: AsyncConnection, changes: Sequence[Change[f.Published, f.Event]]
) -> None:
    for change in changes:
        assert change.after.form is not None
        key = {"client_id": change.client_id, "product_id": change.id}
        for recorded in change.events:
            if isinstance(recorded.event, f.FormPublished):
                row = {
                    "version": recorded.event.version,
                    "form": msgspec.json.encode(recorded.event.form).decode(),
                    "published_at": recorded.recorded_at,
                }
                await connection.execute(sa.insert(VERSIONS).values(**key, **row))
        shown = {
            "version": change.after.version,
            "title": change.after.form.title,
            "retired": change.after.retired,
        }
        await connection.execute(
            insert(FORMS_TABLE)
            .values(**key, **shown)
            .on_conflict_do_update(index_elements=["client_id", "product_id"], set_=shown)
        )


FORMS: Final[Category[f.Command, f.Published, f.Event]] = Category(
    "form", f.DECIDER, project=project
)


async def read(
    connection: AsyncConnection, client_id: str, product_id: str, version: int | None = None
) -> Version | None:
    """This version of a product's form; None: the latest."""
    p, v = FORMS_TABLE.c, VERSIONS.c
    query = (
        sa.select(v.version, v.form, v.published_at, p.retired)
        .join_from(
            FORMS_TABLE,
            VERSIONS,
            sa.and_(v.client_id == p.client_id, v.product_id == p.product_id),
        )
        .where(
            p.client_id == client_id,
            p.product_id == product_id,
            v.version == (p.version if version is None else version),
        )
    )
    row = (await connection.execute(query)).one_or_none()
    if row is None:
        return None
    return Version(row.version, _decoder.decode(row.form), row.published_at, row.retired)


async def products(
    connection: AsyncConnection, client_id: str, after: str, limit: int
) -> list[Row]:
    """By product_id, the retired ones among them."""
    t = FORMS_TABLE.c
    query = (
        sa.select(t.product_id, t.version, t.title, t.retired)
        .where(t.client_id == client_id, t.product_id > after)
        .order_by(t.product_id)
        .limit(limit)
    )
    return [dict(row) for row in (await connection.execute(query)).mappings()]
