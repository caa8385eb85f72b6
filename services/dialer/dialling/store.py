"""What the worker asks the leads' table beside whose turn it is: who is looking at which lead, and
what was promised in person by those who are free."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncConnection

from services.dialer.leads.events import Status
from services.dialer.leads.store import LEADS_TABLE

_t = LEADS_TABLE.c


@dataclass(frozen=True, slots=True)
class Shown:
    """A lead that an agent looks at, or has accepted and nobody has dialled yet."""

    client_id: str
    campaign_id: str
    lead_id: str
    version: int
    agent_id: str


@dataclass(frozen=True, slots=True)
class Promised:
    client_id: str
    campaign_id: str
    lead_id: str
    agent_id: str


def _texts(values: Iterable[str]) -> sa.ColumnElement[Sequence[str]]:
    return sa.bindparam(None, list(values), type_=ARRAY(sa.Text))


async def shown(
    connection: AsyncConnection, client_id: str, campaign_ids: Iterable[str]
) -> list[Shown]:
    query = sa.select(_t.client_id, _t.campaign_id, _t.lead_id, _t.version, _t.agent_id).where(
        _t.client_id == client_id,
        _t.campaign_id == sa.any_(_texts(campaign_ids)),
        # As the index says it: of a parameter nobody knows that.
        sa.text("status = 'previewed'"),
    )
    return [Shown(*row) for row in await connection.execute(query.order_by(_t.lead_id))]


async def promised(
    connection: AsyncConnection,
    client_id: str,
    campaign_ids: Iterable[str],
    agents: Iterable[str],
    now: int,
) -> list[Promised]:
    """The foremost lead of each of these agents, who alone may have it dialled, and whose turn it
    is."""
    query = (
        sa.select(_t.client_id, _t.campaign_id, _t.lead_id, _t.agent_id)
        .where(
            _t.client_id == client_id,
            _t.campaign_id == sa.any_(_texts(campaign_ids)),
            _t.callback_until.is_not(None),
            _t.status == Status.WAITING.value,
            _t.agent_id == sa.any_(_texts(agents)),
            _t.due_at <= now,
        )
        .distinct(_t.agent_id)
        .order_by(_t.agent_id, _t.turn.desc(), _t.due_at)
    )
    return [Promised(*row) for row in await connection.execute(query)]
