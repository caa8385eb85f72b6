"""Promotions as a table. Times are microseconds since 1970; nothing here is personal."""

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, insert
from sqlalchemy.ext.asyncio import AsyncConnection

from eventkit.eventstore import Category, Change
from services.orders.prices import promotion as p
from services.orders.prices.pricing import Promotion
from services.orders.tables import metadata

PROMOTIONS_TABLE: Final = sa.Table(
    "promotions",
    metadata,
    sa.Column("client_id", sa.Text, primary_key=True),
    sa.Column("promotion_id", sa.Text, primary_key=True),
    sa.Column("products", ARRAY(sa.Text), nullable=False),
    sa.Column("valid_from", sa.BigInteger, nullable=False),
    sa.Column("valid_until", sa.BigInteger, nullable=False),
    sa.Column("withdrawn", sa.Boolean, nullable=False),
    sa.Column("promotion", sa.Text, nullable=False),
)
"""promotion: a `pricing.Promotion` in JSON; what is beside it is what promotions are found by."""

_decoder = msgspec.json.Decoder(Promotion)


async def project(
    connection: AsyncConnection, changes: Sequence[Change[p.Published, p.Event]]
) -> None:
    for change in changes:
        promotion = change.after.promotion
        assert promotion is not None
        shown = {
            "products": list(promotion.products),
            "valid_from": promotion.valid_from,
            "valid_until": promotion.valid_until,
            "withdrawn": change.after.withdrawn,
            "promotion": msgspec.json.encode(promotion).decode(),
        }
        await connection.execute(
            insert(PROMOTIONS_TABLE)
            .values(client_id=change.client_id, promotion_id=change.id, **shown)
            .on_conflict_do_update(index_elements=["client_id", "promotion_id"], set_=shown)
        )


PROMOTIONS: Final[Category[p.Command, p.Published, p.Event]] = Category(
    "promotion", p.DECIDER, project=project
)


async def many(
    connection: AsyncConnection, client_id: str, ids: Iterable[str]
) -> dict[str, Promotion]:
    """By id, those of them that there are and that are not withdrawn, whatever their validity."""
    t = PROMOTIONS_TABLE.c
    found = await connection.scalars(
        sa.select(t.promotion).where(
            t.client_id == client_id, t.promotion_id.in_(list(ids)), ~t.withdrawn
        )
    )
    promotions = map(_decoder.decode, found)
    return {promotion.promotion_id: promotion for promotion in promotions}


async def find(
    connection: AsyncConnection,
    client_id: str,
    *,
    promotion_id: str = "",
    product_id: str = "",
    at: int | None = None,
    after: str = "",
    limit: int = 1,
) -> list[p.Published]:
    """By id, after the one given. product_id: those of this product, or of all products. at: those
    that are valid at that time, and not withdrawn."""
    t = PROMOTIONS_TABLE.c
    query = sa.select(t.promotion, t.withdrawn).where(t.client_id == client_id)
    if promotion_id:
        query = query.where(t.promotion_id == promotion_id)
    if product_id:
        query = query.where(
            sa.or_(sa.func.cardinality(t.products) == 0, t.products.contains([product_id]))
        )
    if at is not None:
        query = query.where(~t.withdrawn, t.valid_from <= at, t.valid_until > at)
    if after:
        query = query.where(t.promotion_id > after)
    rows = await connection.execute(query.order_by(t.promotion_id).limit(limit))
    return [p.Published(_decoder.decode(row.promotion), row.withdrawn) for row in rows]
