"""Loading: every event of the topics, as rows, into ClickHouse.

At least once, made idempotent twice over. A batch that a crash interrupted comes again with the
same records, and its inserts bear the same tokens: ClickHouse takes each once. An event that was
published again comes at another offset: its row replaces the first, and a call's row is made of
aggregates that a copy cannot change (migrations/0002_calls.sql).
"""

import asyncio
import logging
from typing import Final

from eventkit import telemetry
from eventkit.records import Bad, Batch
from eventkit.topictable import TopicTable
from services.analytics.gaps import Gaps
from services.analytics.rows import AGENT_EVENTS, TABLES, UNKNOWN, Rows
from services.analytics.store import Store

log = logging.getLogger(__name__)

SLICE: Final = 25_000
"""Rows of one insert. While one slice of a batch is stored, the next is decoded; smaller slices pay
more often for an insert, larger ones leave less to overlap."""

UNKNOWN_EVENTS = telemetry.meter.create_counter(
    "relais.analytics.unknown_events", "{event}", "Events of a type that these contracts lack"
)
AGENT_GAPS = telemetry.meter.create_counter(
    "relais.analytics.agent_gaps",
    "{event}",
    "Events of agents that are missing before one that was loaded",
)


class Loader:
    """The handler of a BatchConsumer over the topics of `rows.TABLES`.

    clients: client-events as a table, by `rows.registered_client`.
    """

    def __init__(self, store: Store, clients: TopicTable[str]) -> None:
        self._store = store
        self._clients = clients
        self._gaps = Gaps()

    async def __call__(self, batch: Batch) -> list[Bad]:
        table = TABLES[batch.topic]
        bad: list[Bad] = []
        storing: asyncio.Task[None] | None = None
        self._looked_up = False
        if table is AGENT_EVENTS:
            self._gaps.begin(batch)
        try:
            for start in range(0, len(batch.records), SLICE):
                rows = table.decode(batch.records[start : start + SLICE])
                await self._refuse_strangers(rows)
                bad += rows.bad
                self._count_unknown(batch, rows)
                if table is AGENT_EVENTS:
                    self._count_gaps(batch, rows)
                if storing is not None:
                    await storing
                storing = asyncio.create_task(
                    self._store.insert(table.name, rows.columns, f"{batch.token}+{start}")
                )
                await asyncio.sleep(0)  # the insert begins now, and not after the next decoding
        finally:
            if storing is not None:
                await storing
        return bad

    async def _refuse_strangers(self, rows: Rows) -> None:
        unknown = rows.clients() - self._known()
        if unknown and not self._looked_up:
            # Registered just now, perhaps; but rubbish must not cost a look each.
            await self._clients.refresh()
            self._looked_up = True
            unknown -= self._known()
        rows.refuse_clients(unknown)

    def _known(self) -> set[str]:
        return set(self._clients.items().values())

    def _count_unknown(self, batch: Batch, rows: Rows) -> None:
        count = rows.columns.get("event_type", []).count(UNKNOWN)
        if count:
            UNKNOWN_EVENTS.add(count, {"topic": batch.topic})
            log.warning("%s: %d events of an unknown type are kept as received", batch.token, count)

    def _count_gaps(self, batch: Batch, rows: Rows) -> None:
        gaps = self._gaps.look(batch.partition, rows)
        if gaps:
            missing = sum(gap.last - gap.first + 1 for gap in gaps)
            AGENT_GAPS.add(missing)
            first = gaps[0]
            log.warning(
                "%s: %d events of agents are missing, first: %s of pool %s, versions %d to %d",
                batch.token,
                missing,
                first.agent_id,
                first.pool_id,
                first.first,
                first.last,
            )
