"""The counters of the measure: one row for each campaign and quarter of an hour, written in the
transaction of the attempt's events. An attempt ends once, so it is counted once.

Quarters, because every time zone is some of them away from UTC: days of whichever zone are sums of
them, and who writes need not know it. Times are microseconds since 1970.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, insert
from sqlalchemy.ext.asyncio import AsyncConnection

from services.dialer.compliance.hours import local_day, midnight
from services.dialer.measure.measure import NOTHING, NUMBERS, Counts, Ended, change, total
from services.dialer.tables import metadata

MEASURES_TABLE: Final = sa.Table(
    "measures",
    metadata,
    sa.Column("client_id", sa.Text, primary_key=True),
    sa.Column("campaign_id", sa.Text, primary_key=True),
    sa.Column("quarter", sa.BigInteger, primary_key=True),
    sa.Column("waits", ARRAY(sa.BigInteger), nullable=False),
    *(sa.Column(name, sa.BigInteger, nullable=False) for name in NUMBERS),
)
"""quarter: when it began. The rest are the numbers of `measure.Counts`."""

QUARTER: Final = 15 * 60 * 1_000_000


@dataclass(frozen=True, slots=True)
class Word:
    """What a transaction says of an attempt: as it was counted before it, and as it is counted now.
    None: it has not ended."""

    client_id: str
    campaign_id: str
    before: Ended | None
    after: Ended | None


async def count(connection: AsyncConnection, words: Sequence[Word]) -> None:
    """Add what these words change to the counters, in the transaction that appends the events.

    In the order of their keys, so that two transactions wait for each other and never both.
    """
    added: dict[tuple[str, str, int], Counts] = {}
    for word in words:
        ended = word.after or word.before
        counts = change(word.before, word.after)
        if ended is None or counts == NOTHING:
            continue
        key = word.client_id, word.campaign_id, ended.at // QUARTER * QUARTER
        added[key] = added.get(key, NOTHING) + counts
    rows = [
        dict(zip(_KEY, key, strict=True))
        | {"waits": list(added[key].waits)}
        | {name: getattr(added[key], name) for name in NUMBERS}
        for key in sorted(added)
    ]
    if rows:
        await connection.execute(_ADD, rows)


_KEY: Final = ("client_id", "campaign_id", "quarter")
_new = insert(MEASURES_TABLE)
_ADD: Final = _new.on_conflict_do_update(
    index_elements=list(_KEY),
    set_={name: MEASURES_TABLE.c[name] + _new.excluded[name] for name in NUMBERS}
    | {
        "waits": sa.text(
            "(SELECT array_agg(a + b ORDER BY n)"
            " FROM unnest(measures.waits, excluded.waits) WITH ORDINALITY AS w (a, b, n))"
        )
    },
)


def day_of(at: int, zone: str) -> date:
    """The day on the client's wall."""
    return date.fromordinal(local_day(zone, at))


async def days_of(
    connection: AsyncConnection,
    client_id: str,
    campaign_ids: Sequence[str],
    zone: str,
    since: int = 0,
) -> dict[str, dict[date, Counts]]:
    """By campaign: its counters by day of the client's zone; those without calls are empty.

    since: the midnight with which the first day begins that is wanted. Days that are over hardly
    change: whoever asks often keeps them.
    """
    t = MEASURES_TABLE.c
    query = sa.select(MEASURES_TABLE).where(
        t.client_id == client_id, t.campaign_id.in_(list(campaign_ids)), t.quarter >= since
    )
    quarters: dict[tuple[str, date], list[Counts]] = {}
    for row in (await connection.execute(query)).mappings():
        counts = Counts(tuple(row["waits"]), *(row[name] for name in NUMBERS))
        quarters.setdefault((row["campaign_id"], day_of(row["quarter"], zone)), []).append(counts)
    found: dict[str, dict[date, Counts]] = {each: {} for each in campaign_ids}
    for (campaign_id, day), counted in quarters.items():
        found[campaign_id][day] = total(counted)
    return found


class KnownDays:
    """`days_of` for who asks every second: what is over is read again once an hour, as agents may
    still say of an older call that it was a machine; today and yesterday every time."""

    AGAIN_US: Final = 3600 * 1_000_000

    def __init__(self) -> None:
        self._days: dict[tuple[str, str, str], dict[date, Counts]] = {}
        self._whole_at: dict[tuple[str, str, str], int] = {}

    async def read(
        self,
        connection: AsyncConnection,
        client_id: str,
        campaign_ids: Sequence[str],
        zone: str,
        now: int,
    ) -> dict[str, dict[date, Counts]]:
        """As `days_of` gives them; not to be changed."""
        yesterday = local_day(zone, now) - 1
        since = midnight(zone, yesterday)
        keys = {each: (client_id, each, zone) for each in campaign_ids}
        old = [
            each
            for each, key in keys.items()
            if not 0 <= now - self._whole_at.get(key, -self.AGAIN_US) < self.AGAIN_US
        ]
        whole = await days_of(connection, client_id, old, zone) if old else {}
        for each, days in whole.items():
            self._days[keys[each]], self._whole_at[keys[each]] = days, now
        others = [each for each in campaign_ids if each not in whole]
        fresh = await days_of(connection, client_id, others, zone, since) if others else {}
        for each, days in fresh.items():
            known = self._days[keys[each]]
            kept = {day: counts for day, counts in known.items() if day.toordinal() < yesterday}
            self._days[keys[each]] = kept | days
        return {each: self._days[key] for each, key in keys.items()}
