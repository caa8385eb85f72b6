"""Campaigns as a table. Nothing personal is here. Times are microseconds since 1970."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from eventkit.eventstore import Category, Change
from services.dialer.campaigns import campaign as c
from services.dialer.campaigns import codec
from services.dialer.tables import metadata

CAMPAIGNS_TABLE: Final = sa.Table(
    "campaigns",
    metadata,
    sa.Column("client_id", sa.Text, primary_key=True),
    sa.Column("campaign_id", sa.Text, primary_key=True),
    sa.Column("version", sa.BigInteger, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("purpose", sa.Text, nullable=False),
    sa.Column("pool_id", sa.Text, nullable=False),
    sa.Column("campaign", sa.Text, nullable=False),
    sa.Index("campaigns_running", "pool_id", postgresql_where=sa.text("status = 'running'")),
)
"""campaign: a `campaign.Campaign` in JSON; what is beside it is what campaigns are found by."""

_decoder = msgspec.json.Decoder(c.Campaign)


async def project(
    connection: AsyncConnection, changes: Sequence[Change[c.Campaign, c.Event]]
) -> None:
    for change in changes:
        settings = change.after.settings
        assert settings is not None
        shown = {
            "version": change.version,
            "status": change.after.status.value,
            "purpose": settings.purpose.value,
            "pool_id": settings.pool_id,
            "campaign": msgspec.json.encode(change.after).decode(),
        }
        await connection.execute(
            insert(CAMPAIGNS_TABLE)
            .values(client_id=change.client_id, campaign_id=change.id, **shown)
            .on_conflict_do_update(index_elements=["client_id", "campaign_id"], set_=shown)
        )


CAMPAIGNS: Final[Category[c.Command, c.Campaign, c.Event]] = Category(
    "campaign",
    c.DECIDER,
    topic="campaign-events",
    message=codec.campaign_message,
    project=project,
    timers=c.timers,
    due=c.due,
)


@dataclass(frozen=True, slots=True)
class Found:
    client_id: str
    campaign_id: str
    version: int
    campaign: c.Campaign


def _found(row: sa.RowMapping) -> Found:
    campaign = _decoder.decode(row["campaign"])
    return Found(row["client_id"], row["campaign_id"], row["version"], campaign)


_t = CAMPAIGNS_TABLE.c
_COLUMNS: Final = (_t.client_id, _t.campaign_id, _t.version, _t.campaign)


async def running(connection: AsyncConnection, client_id: str = "") -> list[Found]:
    """Those that run, of a client or of all; `campaign.dials(now)` says which of them dial now."""
    query = sa.select(*_COLUMNS).where(sa.text("status = 'running'"))
    if client_id:
        query = query.where(_t.client_id == client_id)
    rows = await connection.execute(query.order_by(_t.client_id, _t.campaign_id))
    return [_found(row) for row in rows.mappings()]


async def find(
    connection: AsyncConnection,
    client_id: str,
    *,
    campaign_id: str = "",
    status: str = "",
    purpose: str = "",
    after: str = "",
    limit: int = 1,
) -> list[Found]:
    """By id, after the one given."""
    query = sa.select(*_COLUMNS).where(_t.client_id == client_id)
    for column, value in (
        (_t.campaign_id, campaign_id),
        (_t.status, status),
        (_t.purpose, purpose),
    ):
        if value:
            query = query.where(column == value)
    if after:
        query = query.where(_t.campaign_id > after)
    rows = await connection.execute(query.order_by(_t.campaign_id).limit(limit))
    return [_found(row) for row in rows.mappings()]
