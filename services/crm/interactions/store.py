"""What was said, as tables: calls, notes, answers to offers, and each customer's timeline."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB, insert
from sqlalchemy.ext.asyncio import AsyncConnection

from services.crm.tables import metadata

timeline_entries = sa.Table(
    "timeline_entries",
    metadata,
    sa.Column("client_id", sa.Text, primary_key=True),
    sa.Column("kind", sa.Text, primary_key=True),
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("reference", sa.Text, nullable=False),
    sa.Column("at", sa.BigInteger, nullable=False),
    sa.Column("details", JSONB, nullable=False),
    sa.Index("timeline_entries_by_reference", "client_id", "reference", "at", "kind", "id"),
)
"""What other capabilities put on timelines. at: microseconds since 1970."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a customer's timeline, of something that is no call.

    kind, id    what it is, such as `complaint`, and its id: the same again replaces the first, also
                when it belongs to another customer now
    reference   the customer: crm's id, or the client's own number
    at          when it began, microseconds since 1970: its place on the timeline
    details     what is shown of it, such as its status: ids and words of ours, nothing personal
    """

    client_id: str
    reference: str
    at: int
    kind: str
    id: str
    details: Mapping[str, str | int | bool | None] = field(default_factory=dict)


async def put_entries(connection: AsyncConnection, entries: Sequence[Entry]) -> None:
    """Put entries on timelines, in the caller's transaction; a repeat changes nothing."""
    if not entries:
        return
    last = {(one.client_id, one.kind, one.id): one for one in entries}
    rows = [
        {
            "client_id": one.client_id,
            "kind": one.kind,
            "id": one.id,
            "reference": one.reference,
            "at": one.at,
            "details": dict(one.details),
        }
        for one in last.values()
    ]
    made = insert(timeline_entries)
    await connection.execute(
        made.on_conflict_do_update(
            index_elements=["client_id", "kind", "id"],
            set_={name: made.excluded[name] for name in ("reference", "at", "details")},
        ),
        rows,
    )
