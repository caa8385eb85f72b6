"""What was dialled before, by number and customer: what caps and rests are counted by.

A row is written with AttemptStarted and completed with AttemptEnded, each in the same transaction.
No number is here: rows are found by a keyed hash of it, by the centre's key, so that a cap per
number holds over all clients. Times are microseconds since 1970.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import distinct_on, insert
from sqlalchemy.ext.asyncio import AsyncConnection

from eventkit.keys import KeyRing
from services.dialer.compliance.book import MAX_DAYS, parse_own
from services.dialer.compliance.hours import DAY
from services.dialer.compliance.rules import Contact, Jurisdiction
from services.dialer.tables import metadata

CENTRE: Final = "centre"
KEPT_US: Final = (MAX_DAYS + 2) * DAY
"""No cap or rest looks further back; so whoever is older is not read, and may go (`prune`)."""

CONTACTS_TABLE: Final = sa.Table(
    "contacts",
    metadata,
    sa.Column("client_id", sa.Text, primary_key=True),
    sa.Column("attempt_id", sa.Text, primary_key=True),
    sa.Column("campaign_id", sa.Text, nullable=False),
    sa.Column("purpose", sa.Text, nullable=False),
    sa.Column("subject", sa.Text, nullable=False),
    sa.Column("customer_key", sa.Text, nullable=False),
    sa.Column("number_key", sa.LargeBinary, nullable=False),
    sa.Column("at", sa.BigInteger, nullable=False),
    sa.Column("ended_at", sa.BigInteger),
    sa.Column("conversation", sa.Boolean, nullable=False),
    sa.Column("refused", sa.Boolean, nullable=False),
    sa.Column("abandoned", sa.Boolean, nullable=False),
    sa.Index("contacts_of_number", "number_key", "at"),
    sa.Index(
        "contacts_of_customer",
        *("client_id", "customer_key", "at"),
        postgresql_where=sa.text("customer_key <> ''"),
    ),
    sa.Index("contacts_by_time", "at"),
)
"""ended_at: null while it is under way."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Whom somebody wants to dial. number_key: see `number_key`; customer_key: "" unknown."""

    client_id: str
    number_key: bytes
    customer_key: str = ""


async def number_key(keys: KeyRing, number: str) -> bytes:
    """Of a number in E.164: the same for every client, and nobody can turn it back."""
    return await keys.index(CENTRE, f"tel:{number}")


def customer_key(customer_id: str, lead_id: str) -> str:
    """Of a person, who may have several numbers: crm's id, or the lead where crm knows none."""
    return f"customer/{customer_id}" if customer_id else f"lead/{lead_id}"


async def lock(connection: AsyncConnection, wanted: Iterable[Wanted]) -> None:
    """Until the transaction ends nobody else decides about these numbers and customers.

    In one order, so that two turns wait for each other and never both. Call it once, before
    `read_history`.
    """
    keys: set[int] = set()
    for each in wanted:
        keys.add(_lock_key(b"number", each.number_key))
        if each.customer_key:
            person = f"{each.client_id}/{each.customer_key}"
            keys.add(_lock_key(b"customer", person.encode("utf-8", "surrogatepass")))
    await connection.execute(_LOCK, {"keys": sorted(keys)})


def _lock_key(kind: bytes, value: bytes) -> int:
    digest = sha256(b"contacts/" + kind + b"/" + value).digest()
    return int.from_bytes(digest[:8], "big", signed=True)


_LOCK: Final = sa.text(
    "SELECT pg_advisory_xact_lock(key) FROM unnest(CAST(:keys AS bigint[])) AS key"
)


async def read_history(
    connection: AsyncConnection, wanted: Sequence[Wanted], now: int
) -> list[tuple[Contact, ...]]:
    """What is known of each, in the order wanted: calls to the number, of every client, and of the
    client to the customer. One statement, however many."""
    found: list[list[Contact]] = [[] for _ in wanted]
    if wanted:
        rows = await connection.execute(
            _HISTORY,
            {
                "clients": [each.client_id for each in wanted],
                "numbers": [each.number_key for each in wanted],
                "customers": [each.customer_key for each in wanted],
                "since": now - KEPT_US,
            },
        )
        for n, *values in rows:
            found[n - 1].append(Contact(**dict(zip(_FIELDS, values, strict=True))))
    return [tuple(each) for each in found]


_FIELDS: Final = (
    *("client_id", "campaign_id", "purpose", "subject", "customer_key", "number_key"),
    *("at", "ended_at", "conversation", "refused", "abandoned"),
)
_SELECTED: Final = ", ".join(_FIELDS)
_HISTORY: Final = sa.text(f"""
    SELECT w.n, {", ".join(f"c.{name}" for name in _FIELDS)}
    FROM unnest(
        CAST(:clients AS text[]), CAST(:numbers AS bytea[]), CAST(:customers AS text[])
    ) WITH ORDINALITY AS w (client_id, number_key, customer_key, n)
    CROSS JOIN LATERAL (
        SELECT attempt_id, {_SELECTED} FROM contacts o
        WHERE o.number_key = w.number_key AND o.at > :since
        UNION
        SELECT attempt_id, {_SELECTED} FROM contacts o
        WHERE o.client_id = w.client_id AND o.customer_key = w.customer_key
            AND o.customer_key <> '' AND o.at > :since
    ) AS c
    ORDER BY w.n, c.at, c.attempt_id""")


async def begin(connection: AsyncConnection, attempts: Sequence[tuple[str, Contact]]) -> None:
    """Attempts that are started in this transaction, by id. A repeat adds none."""
    if attempts:
        await connection.execute(
            _BEGIN,
            [
                {"attempt_id": attempt_id} | {name: getattr(contact, name) for name in _FIELDS}
                for attempt_id, contact in attempts
            ],
        )


_BEGIN: Final = insert(CONTACTS_TABLE).on_conflict_do_nothing()


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one attempt ended, or what was said of it later. dialled: False where the carrier never
    dialled it, so that it counts for nothing."""

    client_id: str
    attempt_id: str
    ended_at: int
    dialled: bool = True
    conversation: bool = False
    refused: bool = False
    abandoned: bool = False


async def complete(connection: AsyncConnection, outcomes: Sequence[Outcome]) -> None:
    """Say how they ended. What was said once is not taken back by what says less: a refusal that
    the agent notes after the end is added to it. Outcomes without a row change nothing."""
    ended = [each for each in outcomes if each.dialled]
    never = [each for each in outcomes if not each.dialled]
    if ended:
        await connection.execute(_COMPLETE, [_values(each) for each in ended])
    if never:
        await connection.execute(
            _REMOVE, [{"client": each.client_id, "attempt": each.attempt_id} for each in never]
        )


_t = CONTACTS_TABLE.c
_COMPLETE: Final = (
    sa.update(CONTACTS_TABLE)
    .where(_t.client_id == sa.bindparam("client"), _t.attempt_id == sa.bindparam("attempt"))
    .values(
        ended_at=sa.func.coalesce(_t.ended_at, sa.bindparam("ended")),
        conversation=sa.or_(_t.conversation, sa.bindparam("talked")),
        refused=sa.or_(_t.refused, sa.bindparam("said_no")),
        abandoned=sa.or_(_t.abandoned, sa.bindparam("dropped")),
    )
)
_REMOVE: Final = sa.delete(CONTACTS_TABLE).where(
    _t.client_id == sa.bindparam("client"), _t.attempt_id == sa.bindparam("attempt")
)


def _values(outcome: Outcome) -> dict[str, Any]:
    return {
        "client": outcome.client_id,
        "attempt": outcome.attempt_id,
        "ended": outcome.ended_at,
        "talked": outcome.conversation,
        "said_no": outcome.refused,
        "dropped": outcome.abandoned,
    }


async def prune(connection: AsyncConnection, now: int, limit: int = 10_000) -> int:
    """Remove rows that no rule looks at any more; returns how many, at most `limit`. What has to be
    kept for years is in the events."""
    oldest = sa.select(_t.client_id, _t.attempt_id).where(_t.at <= now - KEPT_US).limit(limit)
    removed = await connection.execute(
        sa.delete(CONTACTS_TABLE).where(sa.tuple_(_t.client_id, _t.attempt_id).in_(oldest))
    )
    return removed.rowcount


# What clients add to the rulebook.

OWN_RULES_TABLE: Final = sa.Table(
    "own_rules",
    metadata,
    sa.Column("client_id", sa.Text, primary_key=True),
    sa.Column("version", sa.BigInteger, primary_key=True),
    sa.Column("rules", sa.Text, nullable=False),
    sa.Column("published_at", sa.BigInteger, nullable=False),
    sa.Column("published_by", sa.Text, nullable=False),
)
"""Every version that was ever published, as JSON in the format of a file's `rules`: attempts name
the version that they were allowed by."""


class OwnRules:
    """The rules of clients as they are published, parsed once for each version, so that what is
    computed for them stays known."""

    def __init__(self) -> None:
        self._parsed: dict[tuple[str, int], Jurisdiction] = {}

    async def read(
        self, connection: AsyncConnection, client_ids: Iterable[str]
    ) -> dict[str, Jurisdiction]:
        """By client, the newest version; those that have none are missing."""
        o = OWN_RULES_TABLE.c
        query = (
            sa.select(o.client_id, o.version, o.rules)
            .ext(distinct_on(o.client_id))
            .where(o.client_id.in_(list(client_ids)))
            .order_by(o.client_id, o.version.desc())
        )
        found = {}
        for client_id, version, rules in await connection.execute(query):
            key = client_id, version
            if key not in self._parsed:
                self._parsed[key] = parse_own(OWNER, version, msgspec.json.decode(rules))
            found[client_id] = self._parsed[key]
        return found


OWNER: Final = "client"
"""Their rules are called `client.<name>` where an attempt names them."""


async def publish_rules(
    connection: AsyncConnection, client_id: str, rules: Any, at: int, by: str
) -> int:
    """Make these the client's rules from now on; returns their version. The same rules again are no
    new version. rules: as `book.parse_own` takes them, plain values of JSON; [] for none.

    Raises InvalidMessage, and changes nothing.
    """
    parse_own(OWNER, 1, rules)
    text = msgspec.json.encode(rules, order="deterministic").decode()
    name = f"own-rules/{client_id}"
    await connection.execute(
        sa.select(sa.func.pg_advisory_xact_lock(sa.func.hashtextextended(name, 0)))
    )
    o = OWN_RULES_TABLE.c
    newest = sa.select(o.version, o.rules).where(o.client_id == client_id)
    row = (await connection.execute(newest.order_by(o.version.desc()).limit(1))).first()
    if row is not None and row.rules == text:
        return int(row.version)
    version = 1 if row is None else row.version + 1
    await connection.execute(
        sa.insert(OWN_RULES_TABLE).values(
            client_id=client_id, version=version, rules=text, published_at=at, published_by=by
        )
    )
    return version


async def published_rules(
    connection: AsyncConnection, client_id: str, version: int | None = None
) -> tuple[int, Any] | None:
    """(version, rules) of one version, the newest where none is named; None: there is none."""
    o = OWN_RULES_TABLE.c
    query = sa.select(o.version, o.rules).where(o.client_id == client_id)
    if version is not None:
        query = query.where(o.version == version)
    row = (await connection.execute(query.order_by(o.version.desc()).limit(1))).first()
    return None if row is None else (row.version, msgspec.json.decode(row.rules))
