"""Read models of consents, do-not-call lists and contact policies, and the evidence of a check.

No address is here: consents and entries are found by keyed hashes (`KeyRing.index`) of the
normalised address, the client's own for its rows and the centre's for those of centre-wide lists.
Times are microseconds since 1970.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, insert
from sqlalchemy.ext.asyncio import AsyncConnection

from eventkit.decider import Invalid
from eventkit.eventstore import Category, Change, EventStore
from eventkit.ids import derived_id
from eventkit.keys import KeyRing
from services.crm.consent import address, consent, contact, donotcall
from services.crm.consent.address import Channel
from services.crm.consent.codec import consent_message, list_message
from services.crm.consent.contact import Evidence, KnownConsent, Listed, Policy, Rule, SeenList
from services.crm.consent.donotcall import CENTRE, Kind, Settings
from services.crm.holding import Forgotten, Person
from services.crm.tables import metadata

TOPIC = "customer-events"

CONSENTS = sa.Table(
    "consents",
    metadata,
    sa.Column("client_id", sa.Text, primary_key=True),
    sa.Column("consent_id", sa.Text, primary_key=True),
    sa.Column("address_hash", sa.LargeBinary, nullable=False),
    sa.Column("channel", sa.Text, nullable=False),
    sa.Column("purpose", sa.Text, nullable=False),
    sa.Column("customer_id", sa.Text, nullable=False),
    sa.Column("proof", sa.Text, nullable=False),
    sa.Column("given_at", sa.BigInteger),
    sa.Column("expires_at", sa.BigInteger),
    sa.Column("withdrawn_at", sa.BigInteger),
    sa.Column("own_subject", sa.Text, nullable=False),
    sa.Column("version", sa.BigInteger, nullable=False),
    sa.Index("consents_of_address", "client_id", "address_hash"),
    sa.Index(
        "consents_of_customer",
        "client_id",
        "customer_id",
        postgresql_where=sa.text("customer_id <> ''"),
    ),
)
"""customer_id, proof: empty where there is none. own_subject: of the key that seals what names no
customer. Neither given_at nor withdrawn_at: its person was erased."""

ERASED_ADDRESSES = sa.Table(
    "erased_addresses",
    metadata,
    sa.Column("client_id", sa.Text, primary_key=True),
    sa.Column("address_hash", sa.LargeBinary, primary_key=True),
    sa.Column("erased_at", sa.BigInteger, nullable=False),
)
"""Addresses of erased people: they stay blocked, by what nobody can turn back into an address."""

LISTS = sa.Table(
    "do_not_call_lists",
    metadata,
    sa.Column("client_id", sa.Text, primary_key=True),
    sa.Column("list_id", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("channels", ARRAY(sa.Text), nullable=False),
    sa.Column("purposes", ARRAY(sa.Text), nullable=False),
    sa.Column("max_age_days", sa.Integer),
    sa.Column("required", sa.Boolean, nullable=False),
    sa.Column("version", sa.BigInteger, nullable=False),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("as_of", sa.BigInteger),
    sa.Column("importing", sa.Text, nullable=False),
    sa.Column("retired", sa.Boolean, nullable=False),
)

ENTRIES = sa.Table(
    "do_not_call_entries",
    metadata,
    sa.Column("client_id", sa.Text, primary_key=True),
    sa.Column("address_hash", sa.LargeBinary, primary_key=True),
    sa.Column("list_id", sa.Text, primary_key=True),
    sa.Column("since_version", sa.BigInteger, primary_key=True),
    sa.Column("listed_at", sa.BigInteger, nullable=False),
    sa.Column("expires_at", sa.BigInteger),
    sa.Column("until_version", sa.BigInteger),
    # For the whole of a list; of equal keys the index keeps one.
    sa.Index("do_not_call_entries_of_list", "client_id", "list_id"),
)
"""A number was on a list from one version until (not in) another; null: it still is."""

IMPORTED = sa.Table(
    "do_not_call_imported",
    metadata,
    sa.Column("client_id", sa.Text, primary_key=True),
    sa.Column("list_id", sa.Text, primary_key=True),
    sa.Column("import_id", sa.Text, primary_key=True),
    sa.Column("address_hash", sa.LargeBinary, primary_key=True),
    sa.Column("expires_at", sa.BigInteger),
)
"""Numbers of imports that are not published yet."""

POLICIES = sa.Table(
    "contact_policies",
    metadata,
    sa.Column("client_id", sa.Text, primary_key=True),
    sa.Column("version", sa.BigInteger, nullable=False),
    sa.Column("rules", JSONB, nullable=False),
)

POLICY_ID = "policy"
"""There is one policy for each client."""


def consent_id(address_hash: bytes, channel: str, purpose: str) -> str:
    """The id of the one consent of an address for a purpose on a channel."""
    return derived_id("consent", address_hash.hex(), channel, purpose)


# Projections.


async def project_consents(
    connection: AsyncConnection,
    changes: Sequence[Change[consent.Consent, consent.Event]],
) -> None:
    rows = [
        {
            "client_id": change.client_id,
            "consent_id": change.id,
            "address_hash": bytes.fromhex(change.after.address_hash),
            "channel": change.after.channel,
            "purpose": change.after.purpose,
            "customer_id": change.after.customer_id,
            "proof": change.after.proof or "",
            "given_at": change.after.given_at,
            "expires_at": change.after.expires_at,
            "withdrawn_at": change.after.withdrawn_at,
            "own_subject": change.after.own_subject(change.id),
            "version": change.version,
        }
        for change in changes
    ]
    await _put(connection, CONSENTS, rows)


async def project_lists(
    connection: AsyncConnection,
    changes: Sequence[Change[donotcall.DoNotCallList, donotcall.Event]],
) -> None:
    rows = []
    for change in changes:
        state = change.after
        assert state.settings is not None
        rows.append(
            {
                "client_id": change.client_id,
                "list_id": change.id,
                "name": state.settings.name,
                "kind": state.settings.kind,
                "channels": list(state.settings.channels),
                "purposes": list(state.settings.purposes),
                "max_age_days": state.settings.max_age_days,
                "required": state.settings.required,
                "version": state.version,
                "size": state.size,
                "source": state.source,
                "as_of": state.as_of,
                "importing": state.importing.import_id if state.importing else "",
                "retired": state.retired,
            }
        )
    await _put(connection, LISTS, rows)


async def project_policies(
    connection: AsyncConnection,
    changes: Sequence[Change[Policy, contact.ContactPolicyPublished]],
) -> None:
    rows = [
        {
            "client_id": change.client_id,
            "version": change.after.version,
            "rules": [_rule_json(rule) for rule in change.after.rules],
        }
        for change in changes
    ]
    await _put(connection, POLICIES, rows)


async def _put(connection: AsyncConnection, table: sa.Table, rows: list[dict[str, Any]]) -> None:
    if not rows:
        return
    made = insert(table)
    await connection.execute(
        made.on_conflict_do_update(
            index_elements=[column.name for column in table.primary_key],
            set_={
                column.name: made.excluded[column.name]
                for column in table.columns
                if not column.primary_key
            },
        ),
        rows,
    )


def _rule_json(rule: Rule) -> dict[str, Any]:
    return {
        "purpose": rule.purpose,
        "consent_on": list(rule.consent_on),
        "consent_overrides_registries": rule.consent_overrides_registries,
    }


def _rules(value: Iterable[Mapping[str, Any]]) -> tuple[Rule, ...]:
    return tuple(
        Rule(
            each["purpose"],
            tuple(Channel(channel) for channel in each["consent_on"]),
            each["consent_overrides_registries"],
        )
        for each in value
    )


CONSENT = Category(
    "consent",
    consent.DECIDER,
    topic=TOPIC,
    message=consent_message,
    project=project_consents,
    subject=lambda id, state: state.subject(id),
)
LIST = Category(
    "do-not-call",
    donotcall.DECIDER,
    topic=TOPIC,
    message=list_message,
    project=project_lists,
)
POLICY = Category("contact-policy", contact.POLICY, project=project_policies)


# The numbers of a list. The caller has locked the list (`lock_list`): versions come in order.


@dataclass(frozen=True, slots=True)
class Counts:
    added: int
    removed: int


async def lock_list(connection: AsyncConnection, client_id: str, list_id: str) -> bool:
    """Keep others from changing the list until the transaction ends; False: there is none."""
    found = await connection.scalar(
        sa.select(sa.literal(True))
        .select_from(LISTS)
        .where(LISTS.c.client_id == client_id, LISTS.c.list_id == list_id)
        .with_for_update()
    )
    return bool(found)


_LISTED = """
    e.client_id = :client AND e.list_id = :list AND e.until_version IS NULL
"""

# A number that is there until another time is closed and listed again: its row of the old version
# stays as it was. Who has been on the list keeps the day since which.
_ADD = f"""
WITH given AS (
    SELECT * FROM unnest(CAST(:hashes AS bytea[]), CAST(:expiries AS bigint[]))
        AS g (address_hash, expires_at)
), closed AS (
    UPDATE do_not_call_entries e SET until_version = :version FROM given g
    WHERE {_LISTED} AND e.address_hash = g.address_hash
        AND e.expires_at IS DISTINCT FROM g.expires_at
    RETURNING e.address_hash, e.listed_at
), listed AS (
    INSERT INTO do_not_call_entries
        (client_id, address_hash, list_id, since_version, listed_at, expires_at)
    SELECT :client, g.address_hash, :list, :version, COALESCE(c.listed_at, :at), g.expires_at
    FROM given g LEFT JOIN closed c USING (address_hash)
    WHERE NOT EXISTS (
        SELECT FROM do_not_call_entries e WHERE {_LISTED}
            AND e.address_hash = g.address_hash AND e.expires_at IS NOT DISTINCT FROM g.expires_at)
    RETURNING 1
)
SELECT (SELECT count(*) FROM listed), (SELECT count(*) FROM closed)
"""

_REMOVE = f"""
WITH closed AS (
    UPDATE do_not_call_entries e SET until_version = :version
    WHERE {_LISTED} AND e.address_hash = ANY (CAST(:hashes AS bytea[]))
    RETURNING 1
)
SELECT 0, count(*) FROM closed
"""

_IMPORTED = "i.client_id = :client AND i.list_id = :list AND i.import_id = :import"

_REPLACE = f"""
WITH closed AS (
    UPDATE do_not_call_entries e SET until_version = :version
    WHERE {_LISTED} AND NOT EXISTS (
        SELECT FROM do_not_call_imported i WHERE {_IMPORTED}
            AND i.address_hash = e.address_hash AND i.expires_at IS NOT DISTINCT FROM e.expires_at)
    RETURNING e.address_hash, e.listed_at
), listed AS (
    INSERT INTO do_not_call_entries
        (client_id, address_hash, list_id, since_version, listed_at, expires_at)
    SELECT :client, i.address_hash, :list, :version, COALESCE(c.listed_at, :at), i.expires_at
    FROM do_not_call_imported i LEFT JOIN closed c USING (address_hash)
    WHERE {_IMPORTED} AND NOT EXISTS (
        SELECT FROM do_not_call_entries e WHERE {_LISTED}
            AND e.address_hash = i.address_hash AND e.expires_at IS NOT DISTINCT FROM i.expires_at)
    RETURNING 1
)
SELECT (SELECT count(*) FROM listed), (SELECT count(*) FROM closed)
"""


async def add_numbers(
    connection: AsyncConnection,
    client_id: str,
    list_id: str,
    version: int,
    at: int,
    numbers: Mapping[bytes, int | None],
) -> Counts:
    """List numbers (hash -> until when) from a version on; only what is new is counted."""
    hashes = sorted(numbers)
    return await _count(
        connection,
        _ADD,
        client=client_id,
        list=list_id,
        version=version,
        at=at,
        hashes=hashes,
        expiries=[numbers[each] for each in hashes],
    )


async def remove_numbers(
    connection: AsyncConnection, client_id: str, list_id: str, version: int, hashes: Sequence[bytes]
) -> int:
    """Numbers are off the list from a version on; how many were on it."""
    counts = await _count(
        connection, _REMOVE, client=client_id, list=list_id, version=version, hashes=list(hashes)
    )
    return counts.removed


async def stage_numbers(
    connection: AsyncConnection,
    client_id: str,
    list_id: str,
    import_id: str,
    numbers: Mapping[bytes, int | None],
) -> None:
    """Keep a part of an import until it is published; the same again changes nothing."""
    rows = [
        {
            "client_id": client_id,
            "list_id": list_id,
            "import_id": import_id,
            "address_hash": address_hash,
            "expires_at": expires_at,
        }
        for address_hash, expires_at in sorted(numbers.items())
    ]
    await _put(connection, IMPORTED, rows)


async def replace_numbers(
    connection: AsyncConnection, client_id: str, list_id: str, import_id: str, version: int, at: int
) -> Counts:
    """From this version on the list is what the import says."""
    names = {"client": client_id, "list": list_id, "import": import_id}
    counts = await _count(connection, _REPLACE, **names, version=version, at=at)
    await drop_imports(connection, client_id, list_id)
    return counts


async def drop_imports(
    connection: AsyncConnection, client_id: str, list_id: str, keep: str = ""
) -> None:
    """Forget the parts of the list's imports, but of the one to keep."""
    await connection.execute(
        IMPORTED.delete().where(
            IMPORTED.c.client_id == client_id,
            IMPORTED.c.list_id == list_id,
            IMPORTED.c.import_id != keep,
        )
    )


async def _count(connection: AsyncConnection, statement: str, **values: Any) -> Counts:
    added, removed = (await connection.execute(sa.text(statement), values)).one()
    return Counts(added, removed)


# What is shown.


async def find_lists(
    connection: AsyncConnection, client_id: str, after: str, limit: int
) -> Sequence[sa.Row[Any]]:
    """Lists of a client, or of the centre, by their id."""
    rows = await connection.execute(
        sa.select(LISTS)
        .where(LISTS.c.client_id == client_id, LISTS.c.list_id > after)
        .order_by(LISTS.c.list_id)
        .limit(limit)
    )
    return rows.all()


async def find_list(
    connection: AsyncConnection, client_id: str, list_id: str
) -> sa.Row[Any] | None:
    rows = await connection.execute(
        sa.select(LISTS).where(LISTS.c.client_id == client_id, LISTS.c.list_id == list_id)
    )
    return rows.one_or_none()


async def find_consents(
    connection: AsyncConnection,
    client_id: str,
    *,
    hashes: Sequence[bytes] = (),
    customer_ids: Sequence[str] = (),
) -> Sequence[sa.Row[Any]]:
    """Consents of any of these addresses or customers, by their id."""
    rows = await connection.execute(
        sa.select(CONSENTS)
        .where(
            CONSENTS.c.client_id == client_id,
            sa.or_(
                CONSENTS.c.address_hash == sa.any_(_array(hashes, sa.LargeBinary())),
                sa.and_(
                    CONSENTS.c.customer_id != "",
                    CONSENTS.c.customer_id == sa.any_(_array(customer_ids, sa.Text())),
                ),
            ),
        )
        .order_by(CONSENTS.c.consent_id)
    )
    return rows.all()


async def find_policy(connection: AsyncConnection, client_id: str) -> Policy:
    row = (
        await connection.execute(sa.select(POLICIES).where(POLICIES.c.client_id == client_id))
    ).one_or_none()
    return Policy() if row is None else Policy(row.version, _rules(row.rules))


def _array(values: Sequence[Any], of: Any) -> sa.BindParameter[Any]:
    return sa.bindparam(None, list(values), type_=ARRAY(of))


# The evidence of checks: one statement, and so one snapshot, for as many as there are.


@dataclass(frozen=True, slots=True)
class Wanted:
    """What one check asks the tables for: the address as the client and as the centre hash it."""

    client_id: str
    client_hash: bytes
    centre_hash: bytes
    consent_id: str


# One shape for four kinds of rows: kind, question, client, id, version, three times, the rest.
_EVIDENCE = f"""
WITH q AS (
    SELECT * FROM unnest($1::text[], $2::bytea[], $3::bytea[], $4::text[])
        WITH ORDINALITY AS q (client_id, client_hash, centre_hash, consent_id, n)
), c AS (
    SELECT DISTINCT client_id FROM q
)
SELECT 'c', q.n, q.client_id, k.consent_id, k.version, k.given_at, k.expires_at, k.withdrawn_at,
    NULL::text
FROM q JOIN consents k ON k.client_id = q.client_id AND k.consent_id = q.consent_id
UNION ALL
SELECT 'x', q.n, q.client_id, '', 0, e.erased_at, NULL, NULL, NULL
FROM q JOIN erased_addresses e
    ON e.client_id = q.client_id AND e.address_hash = q.client_hash
UNION ALL
SELECT 'e', q.n, q.client_id, e.list_id, 0, e.listed_at, e.expires_at, NULL, NULL
FROM q JOIN do_not_call_entries e
    ON e.client_id = q.client_id AND e.address_hash = q.client_hash AND e.until_version IS NULL
UNION ALL
SELECT 'e', q.n, '{CENTRE}', e.list_id, 0, e.listed_at, e.expires_at, NULL, NULL
FROM q JOIN do_not_call_entries e
    ON e.client_id = '{CENTRE}' AND e.address_hash = q.centre_hash AND e.until_version IS NULL
UNION ALL
SELECT 'l', 0, l.client_id, l.list_id, l.version, l.as_of, NULL, NULL,
    jsonb_build_array(l.name, l.kind, l.channels, l.purposes, l.max_age_days, l.required)::text
FROM do_not_call_lists l
WHERE NOT l.retired AND (l.client_id IN (SELECT client_id FROM c) OR l.client_id = '{CENTRE}')
UNION ALL
SELECT 'p', 0, p.client_id, '', p.version, NULL, NULL, NULL, p.rules::text
FROM contact_policies p WHERE p.client_id IN (SELECT client_id FROM c)
"""


async def read_evidence(
    connection: AsyncConnection, wanted: Sequence[Wanted], known: "KnownLists"
) -> list[Evidence]:
    """What is known for each, read now. One round trip, outside any transaction."""
    raw = (await connection.get_raw_connection()).driver_connection
    assert raw is not None
    rows = await raw.fetch(
        _EVIDENCE,
        [each.client_id for each in wanted],
        [each.client_hash for each in wanted],
        [each.centre_hash for each in wanted],
        [each.consent_id for each in wanted],
    )
    consents: dict[int, KnownConsent] = {}
    erased: dict[int, int] = {}
    listed: dict[int, dict[tuple[str, str], Listed]] = {}
    lists: dict[str, list[SeenList]] = {}
    policies: dict[str, Policy] = {}
    for kind, n, client_id, id, version, first, second, third, rest in rows:
        if kind == "e":
            listed.setdefault(n, {})[client_id, id] = Listed(first, second)
        elif kind == "c":
            consents[n] = KnownConsent(id, version, first, second, third)
        elif kind == "x":
            erased[n] = first
        elif kind == "l":
            lists.setdefault(client_id, []).append(known.list(client_id, id, version, first, rest))
        else:
            policies[client_id] = known.policy(client_id, version, rest)
    centre = lists.get(CENTRE, [])
    default = Policy()
    return [
        Evidence(
            policies.get(each.client_id, default),
            consents.get(n),
            _with_entries([*lists.get(each.client_id, ()), *centre], listed.get(n)),
            erased.get(n),
        )
        for n, each in enumerate(wanted, start=1)
    ]


def _with_entries(
    lists: list[SeenList], listed: Mapping[tuple[str, str], Listed] | None
) -> tuple[SeenList, ...]:
    if not listed:
        return tuple(lists)
    return tuple(
        each
        if (entry := listed.get((each.client_id, each.list_id))) is None
        else replace(each, listed=entry)
        for each in lists
    )


class KnownLists:
    """Lists and policies that were parsed before: a version of one never changes."""

    MAX = 10_000

    def __init__(self) -> None:
        self._lists: dict[tuple[str, str, int], SeenList] = {}
        self._policies: dict[tuple[str, int], Policy] = {}

    def list(
        self, client_id: str, list_id: str, version: int, as_of: int | None, rest: str
    ) -> SeenList:
        key = client_id, list_id, version
        if (found := self._lists.get(key)) is None:
            name, kind, channels, purposes, max_age_days, required = json.loads(rest)
            settings = Settings(
                name,
                Kind(kind),
                tuple(Channel(channel) for channel in channels),
                tuple(purposes),
                max_age_days,
                required,
            )
            found = SeenList(client_id, list_id, version, settings, as_of)
            if len(self._lists) >= self.MAX:
                self._lists.clear()
            self._lists[key] = found
        return found

    def policy(self, client_id: str, version: int, rest: str) -> Policy:
        key = client_id, version
        if (found := self._policies.get(key)) is None:
            found = Policy(version, _rules(json.loads(rest)))
            if len(self._policies) >= self.MAX:
                self._policies.clear()
            self._policies[key] = found
        return found


# What privacy/ does with it.


async def address_hashes(keys: KeyRing, person: Person) -> list[bytes]:
    """The hashes of all addresses of a person that a consent or an entry may be about."""
    forms = {form for phone in person.phones if (form := _form(Channel.VOICE, phone))}
    forms |= {form for email in person.emails if (form := _form(Channel.EMAIL, email))}
    return sorted([await keys.index(person.client_id, form) for form in forms])


def _form(channel: Channel, text: str) -> str | None:
    try:
        return address.normalised(channel, text)
    except Invalid:
        return None


async def consents_of(
    connection: AsyncConnection, keys: KeyRing, person: Person
) -> list[sa.Row[Any]]:
    """Their consents: those that name them, and those of their addresses that name nobody. Not
    those that were erased before, with whoever they were of."""
    rows = await find_consents(
        connection,
        person.client_id,
        hashes=await address_hashes(keys, person),
        customer_ids=person.customer_ids,
    )
    return [
        row
        for row in rows
        if (row.given_at is not None or row.withdrawn_at is not None)
        and (not row.customer_id or row.customer_id in person.customer_ids)
    ]


class Holding:
    """Consents, as something that is held on a person. services.crm.holding.Holding"""

    name = "consents"

    def __init__(self, store: EventStore) -> None:
        self._store = store

    async def export(self, connection: AsyncConnection, person: Person) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        for row in await consents_of(connection, self._store.keys, person):
            for recorded in await self._store.history(CONSENT, person.client_id, row.consent_id):
                said = asdict(recorded.event)
                del said["address_hash"]
                for name in ("given_at", "expires_at", "withdrawn_at", "erased_at"):
                    if said.get(name) is not None:
                        said[name] = _rfc3339(said[name])
                found.append(
                    {
                        "recorded_at": _rfc3339(recorded.recorded_at),
                        "recorded_by": recorded.actor,
                        "event": type(recorded.event).__name__,
                        **said,
                    }
                )
        found.sort(key=lambda each: str(each["recorded_at"]))
        return found

    async def forget(self, connection: AsyncConnection, person: Person) -> Forgotten:
        """The rows have nothing readable in them; their addresses are blocked from now on. That
        the consents are no more, `service.end_consents` says in their own streams."""
        hashes = await address_hashes(self._store.keys, person)
        rows = await consents_of(connection, self._store.keys, person)
        now = self._store.clock.now_us()
        if hashes:
            made = insert(ERASED_ADDRESSES)
            await connection.execute(
                made.on_conflict_do_update(
                    index_elements=["client_id", "address_hash"],
                    set_={"erased_at": made.excluded.erased_at},
                ),
                [
                    {"client_id": person.client_id, "address_hash": each, "erased_at": now}
                    for each in hashes
                ],
            )
        return Forgotten({row.own_subject for row in rows})


def _rfc3339(us: int) -> str:
    return (_EPOCH + timedelta(microseconds=us)).isoformat()


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
