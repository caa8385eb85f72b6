"""Read models of customers: who they are, by what they are found, which records are one person.

A merge is a view over records, and no record changes by it: `merged_into` points to the record that
stands for this one, and `survivor_id` to the end of that chain, so that reading follows no chain.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncConnection

from eventkit.eventstore import Change
from services.crm.customers import contact
from services.crm.customers.customer import FIELDS, Customer, Event, survivor
from services.crm.holding import Forgotten, Person
from services.crm.tables import metadata

# Byte order, so that a prefix is a range of the index, and an index gives what comes next.
_ORDERED = sa.Text(collation="C")

CUSTOMERS = sa.Table(
    "customers",
    metadata,
    sa.Column("client_id", sa.Text, primary_key=True),
    sa.Column("customer_id", _ORDERED, primary_key=True),
    sa.Column("number", sa.Text, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("phones", ARRAY(sa.Text), nullable=False),
    sa.Column("emails", ARRAY(sa.Text), nullable=False),
    sa.Column("address", sa.Text, nullable=False),
    sa.Column("language", sa.Text, nullable=False),
    sa.Column("time_zone", sa.Text, nullable=False),
    sa.Column("preferred_channel", sa.Text, nullable=False),
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("version", sa.BigInteger, nullable=False),
    sa.Column("registered_at", sa.BigInteger, nullable=False),
    sa.Column("changed_at", sa.BigInteger, nullable=False),
    sa.Column("erased_at", sa.BigInteger),
    sa.Column("merged_into", sa.Text),
    sa.Column("survivor_id", sa.Text, nullable=False),
    # Few records are merged, so the index is small, and registering does not touch it.
    sa.Index(
        "customers_merged",
        "client_id",
        "survivor_id",
        postgresql_where=sa.text("merged_into IS NOT NULL"),
    ),
)
"""One row a record. Texts are empty where nothing is known, times microseconds since 1970."""

NUMBERS = sa.Table(
    "customer_numbers",
    metadata,
    sa.Column("client_id", sa.Text, primary_key=True),
    sa.Column("number", sa.Text, primary_key=True),
    sa.Column("customer_id", sa.Text, nullable=False),
)
"""The client's own numbers: the primary key is what keeps them unique."""

CONTACTS = sa.Table(
    "customer_contacts",
    metadata,
    sa.Column("client_id", sa.Text, primary_key=True),
    sa.Column("contact", sa.Text, primary_key=True),
    sa.Column("customer_id", sa.Text, primary_key=True),
)
"""Phones and emails as they are looked for: E.164, and `contact.email_key`."""

WORDS = sa.Table(
    "customer_words",
    metadata,
    sa.Column("client_id", sa.Text, primary_key=True),
    sa.Column("word", _ORDERED, primary_key=True),
    sa.Column("name_key", _ORDERED, primary_key=True),
    sa.Column("customer_id", _ORDERED, primary_key=True),
)
"""A row for each word of a name, with all of them: a search reads this index and nothing else."""


# Who is meant. What the other capabilities use.


async def resolve(connection: AsyncConnection, client_id: str, reference: str) -> str | None:
    """The surviving customer that crm's id or the client's own number names; None: nobody."""
    return (await resolve_many(connection, client_id, [reference])).get(reference)


async def resolve_many(
    connection: AsyncConnection, client_id: str, references: Iterable[str]
) -> dict[str, str]:
    """The same for many references; those of nobody are missing. An id goes before a number."""
    wanted = sorted(set(references))
    if not wanted:
        return {}
    by_number = (
        sa.select(NUMBERS.c.number, CUSTOMERS.c.survivor_id)
        .join(
            CUSTOMERS,
            sa.and_(
                CUSTOMERS.c.client_id == NUMBERS.c.client_id,
                CUSTOMERS.c.customer_id == NUMBERS.c.customer_id,
            ),
        )
        .where(NUMBERS.c.client_id == client_id, NUMBERS.c.number == sa.any_(_texts(wanted)))
    )
    found = {number: id for number, id in await connection.execute(by_number)}
    return found | await _survivors(connection, client_id, wanted)


async def _survivors(
    connection: AsyncConnection, client_id: str, customer_ids: Sequence[str]
) -> dict[str, str]:
    if not customer_ids:
        return {}
    rows = await connection.execute(
        sa.select(CUSTOMERS.c.customer_id, CUSTOMERS.c.survivor_id).where(
            CUSTOMERS.c.client_id == client_id,
            CUSTOMERS.c.customer_id == sa.any_(_texts(customer_ids)),
        )
    )
    return {id: survivor_id for id, survivor_id in rows}


async def person(connection: AsyncConnection, client_id: str, customer_id: str) -> Person | None:
    """The merged group that a record (any of its ids) belongs to; None: there is no such record."""
    known = await get(connection, client_id, customer_id)
    if known is None:
        return None
    ids = tuple(record.customer_id for record in known.records)
    numbers = tuple(record.number for record in known.records if record.number)
    return Person(
        client_id,
        customer_ids=ids,
        references=tuple(dict.fromkeys(ids + numbers)),
        phones=known.phones,
        emails=known.emails,
    )


async def lock_merges(connection: AsyncConnection, client_id: str) -> None:
    """Until the transaction ends nobody merges this client's customers, or undoes that: what is
    read of groups from here on stays so. Merges are rare, and locks on records would wait for each
    other around a would-be cycle."""
    await _lock(connection, f"customers/merge/{client_id}")


async def lock_imports(connection: AsyncConnection, client_id: str) -> None:
    """Until the transaction ends nobody else imports customers of this client."""
    await _lock(connection, f"customers/import/{client_id}")


async def _lock(connection: AsyncConnection, key: str) -> None:
    await connection.execute(
        sa.text("SELECT pg_advisory_xact_lock(hashtextextended(:key, 0))"), {"key": key}
    )


def _texts(values: Sequence[str]) -> sa.BindParameter[Sequence[str]]:
    return sa.bindparam(None, list(values), type_=ARRAY(sa.Text))


# What is known of people.


@dataclass(frozen=True, slots=True)
class Record:
    """One record by itself. Times: microseconds since 1970. merged_into: empty for a survivor."""

    customer_id: str
    number: str
    name: str
    phones: tuple[str, ...]
    emails: tuple[str, ...]
    address: str
    language: str
    time_zone: str
    preferred_channel: str
    source: str
    version: int
    registered_at: int
    changed_at: int
    erased_at: int | None
    merged_into: str


@dataclass(frozen=True, slots=True)
class Known:
    """A person: the surviving record, then those merged into it in the order of registration."""

    records: tuple[Record, ...]

    @property
    def survivor(self) -> Record:
        return self.records[0]

    @property
    def phones(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(phone for each in self.records for phone in each.phones))

    @property
    def emails(self) -> tuple[str, ...]:
        return contact.distinct_emails(email for each in self.records for email in each.emails)

    def first(self, name: str) -> str:
        """A text of the first record that has one."""
        return next(filter(None, (getattr(each, name) for each in self.records)), "")


_RECORD = [CUSTOMERS.c[name] for name in Record.__dataclass_fields__]


async def get(connection: AsyncConnection, client_id: str, customer_id: str) -> Known | None:
    """The person that a record (any of its ids) belongs to."""
    survivor_id = await connection.scalar(
        sa.select(CUSTOMERS.c.survivor_id).where(
            CUSTOMERS.c.client_id == client_id, CUSTOMERS.c.customer_id == customer_id
        )
    )
    if survivor_id is None:
        return None
    return (await get_many(connection, client_id, [survivor_id]))[0]


async def get_many(
    connection: AsyncConnection, client_id: str, survivor_ids: Sequence[str]
) -> list[Known]:
    """The persons with these surviving records, in the order given."""
    ids = _texts(survivor_ids)
    own = CUSTOMERS.c.customer_id == sa.any_(ids)
    absorbed = sa.and_(
        CUSTOMERS.c.survivor_id == sa.any_(ids), CUSTOMERS.c.merged_into.is_not(None)
    )
    of_client = CUSTOMERS.c.client_id == client_id
    columns = [CUSTOMERS.c.survivor_id, *_RECORD]
    # Two halves, because of an OR of both the planner thinks that it is half of the table.
    rows = await connection.execute(
        sa.union_all(
            sa.select(*columns).where(of_client, own, CUSTOMERS.c.merged_into.is_(None)),
            sa.select(*columns).where(of_client, absorbed),
        )
    )
    found: dict[str, list[Record]] = {}
    for survivor_id, *values in rows:
        found.setdefault(survivor_id, []).append(_record(values))
    for records in found.values():
        records.sort(
            key=lambda each: (each.merged_into != "", each.registered_at, each.customer_id)
        )
    return [Known(tuple(found[id])) for id in survivor_ids if id in found]


def _record(values: Sequence[Any]) -> Record:
    named = dict(zip(Record.__dataclass_fields__, values, strict=True))
    lists = {"phones": tuple(named["phones"]), "emails": tuple(named["emails"])}
    return Record(**(named | lists | {"merged_into": named["merged_into"] or ""}))


async def list_survivors(
    connection: AsyncConnection, client_id: str, after: str, limit: int
) -> list[str]:
    """The ids of those who are somebody, in their order, from the one after `after`."""
    rows = await connection.scalars(
        sa.select(CUSTOMERS.c.customer_id)
        .where(
            CUSTOMERS.c.client_id == client_id,
            CUSTOMERS.c.customer_id > after,
            CUSTOMERS.c.merged_into.is_(None),
            CUSTOMERS.c.erased_at.is_(None),
        )
        .order_by(CUSTOMERS.c.customer_id)
        .limit(limit)
    )
    return list(rows)


# Finding.


@dataclass(frozen=True, slots=True)
class Matches:
    """The ids of survivors, each once, the best first. complete: there are no others."""

    survivor_ids: list[str]
    complete: bool


async def find_by_contact(
    connection: AsyncConnection, client_id: str, key: str, limit: int
) -> Matches:
    """Of all who have this phone or email (contact.email_key), a family for one, by their names."""
    rows = await connection.execute(
        sa.select(CUSTOMERS.c.survivor_id, CUSTOMERS.c.name)
        .join(
            CONTACTS,
            sa.and_(
                CONTACTS.c.client_id == CUSTOMERS.c.client_id,
                CONTACTS.c.customer_id == CUSTOMERS.c.customer_id,
            ),
        )
        .where(CONTACTS.c.client_id == client_id, CONTACTS.c.contact == key)
        # More than a family has: the number of a switchboard, or one that stands for none.
        .limit(MAX_SHARED)
    )
    named = sorted((contact.fold(name), survivor_id) for survivor_id, name in rows)
    ids = list(dict.fromkeys(survivor_id for _, survivor_id in named))
    return Matches(ids[:limit], len(ids) <= limit and len(named) < MAX_SHARED)


MAX_SHARED = 1_000
MAX_READ = 20_000
"""Entries that a search by name reads for one page of its answer."""
_END = "\U0010ffff"
"""Behind a prefix, it comes after every word that begins so: no word has this character."""

_COUNT = sa.text(
    """
    SELECT p.number, (
        SELECT count(*) FROM (
            SELECT FROM customer_words AS w
            WHERE w.client_id = :client_id AND w.word >= p.prefix AND w.word < p.prefix || :end
            LIMIT :most
        ) AS bounded
    )
    FROM unnest(CAST(:prefixes AS text[])) WITH ORDINALITY AS p (prefix, number)
    """
)


async def find_by_name(
    connection: AsyncConnection, client_id: str, words: Sequence[str], limit: int
) -> Matches:
    """Those in whose name each of the words begins some word.

    First those of just this name, in whatever order its words are; then by the word that the
    rarest of the prefixes begins (the prefix itself before all that is longer), then by name.

    The index is read in that order, with the other words compared in the index entry itself, to
    the limit and not beyond MAX_READ entries. So nothing is missed unless each of several words
    begins more names than that; then longer words are wanted, and `complete` says so.
    """
    # A word that begins another asks for nothing more.
    distinct = sorted(set(words))
    prefixes = [
        word
        for word, following in zip(distinct, [*distinct[1:], ""], strict=True)
        if not following.startswith(word)
    ]
    rarest, count = prefixes[0], 0
    if len(prefixes) > 1:
        rarest, count = await _rarest(connection, client_id, prefixes)
    found = _Found(connection, client_id)
    whole = contact.name_key(distinct)
    await found.add(
        sa.select(*_ENTRY)
        .where(_W.client_id == client_id, _W.word == rarest, _W.name_key == whole)
        .order_by(*_ENTRY)
        .limit(limit + 1)
    )
    # Pages, since one name may have two such words, and records may be merged.
    size = 2 * limit
    after: Any = None
    while len(found.survivors) <= limit:
        rows = await found.add(_page(client_id, rarest, prefixes, after, size))
        if len(rows) < size:
            break
        after = rows[-1]
    ids = list(found.survivors)
    return Matches(ids[:limit], len(ids) <= limit and count < MAX_READ)


_W = WORDS.c
_ENTRY = (_W.word, _W.name_key, _W.customer_id)


def _page(
    client_id: str, rarest: str, prefixes: Sequence[str], after: Any, limit: int
) -> sa.Select[Any]:
    read = sa.select(*_ENTRY).where(
        _W.client_id == client_id, _W.word >= rarest, _W.word < rarest + _END
    )
    if after is not None:
        read = read.where(sa.tuple_(*_ENTRY) > sa.tuple_(*map(sa.literal, after)))
    others = [f" {word}" for word in prefixes if word != rarest]
    entries = read.order_by(*_ENTRY).limit(MAX_READ if others else limit).subquery()
    return (
        sa.select(entries)
        .where(*(sa.func.strpos(entries.c.name_key, other) > 0 for other in others))
        .order_by(*entries.c)
        .limit(limit)
    )


async def _rarest(
    connection: AsyncConnection, client_id: str, prefixes: Sequence[str]
) -> tuple[str, int]:
    """And how many entries it has, up to MAX_READ. Of two that are very common, the longer one."""
    rows = await connection.execute(
        _COUNT,
        {"client_id": client_id, "prefixes": prefixes, "end": _END, "most": MAX_READ},
    )
    counts = {prefixes[number - 1]: count for number, count in rows}
    rarest = min(prefixes, key=lambda prefix: (counts[prefix], -len(prefix)))
    return rarest, counts[rarest]


class _Found:
    """Survivors in the order in which their records were found."""

    def __init__(self, connection: AsyncConnection, client_id: str) -> None:
        self._connection = connection
        self._client_id = client_id
        self.survivors: dict[str, None] = {}

    async def add(self, entries: sa.Select[Any]) -> Sequence[Any]:
        rows: Sequence[Any] = (await self._connection.execute(entries)).all()
        survivors = await _survivors(self._connection, self._client_id, [row[2] for row in rows])
        self.survivors |= dict.fromkeys(survivors[row[2]] for row in rows)
        return rows


# Writing, in the transaction of the append.

_CORRECTED = ", ".join(
    f"{name} = excluded.{name}" for name in (*FIELDS, "source", "version", "changed_at")
)


async def project(connection: AsyncConnection, changes: Sequence[Change[Customer, Event]]) -> None:
    """Bring the tables up to date. Numbers are `reserve`d before."""
    alive = [change for change in changes if not change.after.erased]
    if alive:
        await _write(connection, alive)
    for change in changes:
        if change.before.merged_into != change.after.merged_into:
            await _regroup(connection, change)
    for change in changes:
        if change.after.erased and not change.before.erased:
            await clean(connection, change.client_id, [change.id])
            await connection.execute(
                sa.update(CUSTOMERS)
                .where(_is(change.client_id, change.id))
                .values(erased_at=change.events[-1].recorded_at, version=change.version)
            )


async def _write(connection: AsyncConnection, changes: Sequence[Change[Customer, Event]]) -> None:
    """As JSON, so that a thousand rows are one parameter and one statement for each table."""
    rows = [
        {name: getattr(change.after.details, name) for name in FIELDS}
        | {
            "client_id": change.client_id,
            "customer_id": change.id,
            "source": change.after.source,
            "version": change.version,
            "registered_at": change.events[0].occurred_at,
            "changed_at": change.events[-1].occurred_at,
            "survivor_id": change.id,
        }
        for change in changes
    ]
    columns = ", ".join(rows[0])
    await connection.execute(
        sa.text(
            f"INSERT INTO customers ({columns}) SELECT {columns}"
            " FROM json_populate_recordset(NULL::customers, CAST(:rows AS json))"
            f" ON CONFLICT (client_id, customer_id) DO UPDATE SET {_CORRECTED}"
        ),
        {"rows": _json(rows)},
    )
    for table, keys in ((CONTACTS, _contacts), (WORDS, _words)):
        gone: list[dict[str, str]] = []
        new: list[dict[str, str]] = []
        for change in changes:
            before, after = keys(change.before), keys(change.after)
            record = {"client_id": change.client_id, "customer_id": change.id}
            gone += [record | key for key in before if key not in after]
            new += [record | key for key in after if key not in before]
        await _delete(connection, table, gone)
        await _insert(connection, table, new)
    released = [
        {"client_id": change.client_id, "number": change.before.details.number}
        for change in changes
        if change.before.details.number not in ("", change.after.details.number)
    ]
    await _delete(connection, NUMBERS, released)


def _contacts(customer: Customer) -> list[dict[str, str]]:
    return _contact_keys(customer.details.phones, customer.details.emails)


def _contact_keys(phones: Iterable[str], emails: Iterable[str]) -> list[dict[str, str]]:
    keys = dict.fromkeys([*phones, *map(contact.email_key, emails)])
    return [{"contact": key} for key in keys]


def _words(customer: Customer) -> list[dict[str, str]]:
    return _word_keys(customer.details.name)


def _word_keys(name: str) -> list[dict[str, str]]:
    words = contact.words(name)
    key = contact.name_key(words)
    return [{"word": word, "name_key": key} for word in words]


async def _insert(
    connection: AsyncConnection, table: sa.Table, rows: Sequence[Mapping[str, Any]]
) -> None:
    if rows:
        columns = ", ".join(rows[0])
        await connection.execute(
            sa.text(
                f"INSERT INTO {table.name} ({columns}) SELECT {columns}"
                f" FROM json_populate_recordset(NULL::{table.name}, CAST(:rows AS json))"
                " ON CONFLICT DO NOTHING"
            ),
            {"rows": _json(rows)},
        )


async def _delete(
    connection: AsyncConnection, table: sa.Table, rows: Sequence[Mapping[str, Any]]
) -> int:
    if not rows:
        return 0
    same = " AND ".join(f"t.{name} = gone.{name}" for name in rows[0])
    result = await connection.execute(
        sa.text(
            f"DELETE FROM {table.name} AS t"
            f" USING json_populate_recordset(NULL::{table.name}, CAST(:rows AS json)) AS gone"
            f" WHERE {same}"
        ),
        {"rows": _json(rows)},
    )
    return result.rowcount


def _json(rows: Sequence[Mapping[str, Any]]) -> str:
    return msgspec.json.encode(rows).decode()


_RESERVE = sa.text(
    """
    INSERT INTO customer_numbers (client_id, number, customer_id)
    SELECT client_id, number, customer_id
    FROM json_populate_recordset(NULL::customer_numbers, CAST(:rows AS json))
    ON CONFLICT DO NOTHING RETURNING number
    """
)


async def reserve(
    connection: AsyncConnection, client_id: str, numbers: Mapping[str, str]
) -> dict[str, str]:
    """Give the client's own numbers to these customers (number -> customer's id), where they are
    free; of the others, who has them. Waits for whoever is taking one of them right now."""
    if not numbers:
        return {}
    # In one order everywhere, so that two who reserve the same never wait for each other.
    rows = [
        {"client_id": client_id, "number": number, "customer_id": numbers[number]}
        for number in sorted(numbers)
    ]
    free = set(await connection.scalars(_RESERVE, {"rows": _json(rows)}))
    return await holders_of(connection, client_id, numbers.keys() - free)


async def holders_of(
    connection: AsyncConnection, client_id: str, numbers: Iterable[str]
) -> dict[str, str]:
    """Whose the client's own numbers are: the record's id, merged or not."""
    wanted = list(numbers)
    if not wanted:
        return {}
    rows = await connection.execute(
        sa.select(NUMBERS.c.number, NUMBERS.c.customer_id).where(
            NUMBERS.c.client_id == client_id, NUMBERS.c.number == sa.any_(_texts(wanted))
        )
    )
    return {number: customer_id for number, customer_id in rows}


_TWINS = sa.text(
    """
    SELECT asked.number, min(k.customer_id)
    FROM ROWS FROM (unnest(CAST(:contacts AS text[])), unnest(CAST(:words AS text[])),
        unnest(CAST(:name_keys AS text[])), unnest(CAST(:numbers AS bigint[])))
        AS asked (contact, word, name_key, number)
    JOIN customer_contacts AS k ON k.client_id = :client_id AND k.contact = asked.contact
    WHERE asked.word = '' OR EXISTS (
        SELECT FROM customer_words AS w
        WHERE w.client_id = :client_id AND w.word = asked.word AND w.name_key = asked.name_key
            AND w.customer_id = k.customer_id)
    GROUP BY asked.number
    """
)


async def twins_of(
    connection: AsyncConnection, client_id: str, asked: Sequence[tuple[int, str, Iterable[str]]]
) -> dict[int, str]:
    """Who is known by a contact and the same name: (number, name, contacts' keys) of each question,
    the answers by its number. A question without a name asks for the contact alone."""
    columns: dict[str, list[Any]] = {"contacts": [], "words": [], "name_keys": [], "numbers": []}
    for number, name, keys in asked:
        words = contact.words(name)
        for key in keys:
            columns["contacts"].append(key)
            columns["words"].append(max(words, key=len, default=""))
            columns["name_keys"].append(contact.name_key(words))
            columns["numbers"].append(number)
    if not columns["contacts"]:
        return {}
    rows = await connection.execute(_TWINS, columns | {"client_id": client_id})
    return {number: customer_id for number, customer_id in rows}


async def _regroup(connection: AsyncConnection, change: Change[Customer, Event]) -> None:
    """A record stands for another one now, or for itself again, and so do those below it."""
    client_id, id, into = change.client_id, change.id, change.after.merged_into
    known = [await get(connection, client_id, each) for each in (id, into) if each]
    merged_into = {
        record.customer_id: record.merged_into
        for person in known
        if person is not None
        for record in person.records
    } | {id: into}
    for each in merged_into:
        await connection.execute(
            sa.update(CUSTOMERS)
            .where(_is(client_id, each))
            .values(merged_into=merged_into[each] or None, survivor_id=survivor(merged_into, each))
        )


def _is(client_id: str, customer_id: str) -> sa.ColumnElement[bool]:
    return sa.and_(CUSTOMERS.c.client_id == client_id, CUSTOMERS.c.customer_id == customer_id)


# What is held, and how it is forgotten.


async def clean(
    connection: AsyncConnection, client_id: str, customer_ids: Sequence[str]
) -> dict[str, int]:
    """Remove all that is personal of these records, and how many rows that were by table. The rows
    of `customers` stay, empty. By what they hold, since their events may be unreadable by now."""
    rows = await connection.execute(
        sa.select(*_RECORD).where(
            CUSTOMERS.c.client_id == client_id,
            CUSTOMERS.c.customer_id == sa.any_(_texts(customer_ids)),
        )
    )
    records = [_record(values) for values in rows]
    cleaned = {"customers": len(records)}
    for table, keys in (
        (CONTACTS, lambda each: _contact_keys(each.phones, each.emails)),
        (WORDS, lambda each: _word_keys(each.name)),
        (NUMBERS, lambda each: [{"number": each.number}]),
    ):
        cleaned[table.name] = await _delete(
            connection,
            table,
            [
                {"client_id": client_id, "customer_id": each.customer_id} | key
                for each in records
                for key in keys(each)
            ],
        )
    empty: dict[str, Any] = {name: "" for name in FIELDS} | {"phones": [], "emails": []}
    await connection.execute(
        sa.update(CUSTOMERS)
        .where(
            CUSTOMERS.c.client_id == client_id,
            CUSTOMERS.c.customer_id == sa.any_(_texts(customer_ids)),
        )
        .values(empty)
    )
    return cleaned


class Holding:
    """Customers, for privacy/. Their own keys are destroyed with all others of theirs."""

    name = "customers"

    async def export(self, connection: AsyncConnection, person: Person) -> list[dict[str, Any]]:
        """A record each, the oldest first; times in RFC 3339."""
        known = await get(connection, person.client_id, person.customer_ids[0])
        if known is None:
            return []
        records = sorted(known.records, key=lambda each: each.registered_at)
        return [_readable(each) for each in records]

    async def forget(self, connection: AsyncConnection, person: Person) -> Forgotten:
        return Forgotten(cleaned=await clean(connection, person.client_id, person.customer_ids))


def _readable(record: Record) -> dict[str, Any]:
    values = {name: getattr(record, name) for name in Record.__dataclass_fields__}
    for name in ("phones", "emails"):
        values[name] = list(values[name])
    for name in ("registered_at", "changed_at", "erased_at"):
        if values[name] is not None:
            at = datetime.fromtimestamp(0, UTC) + timedelta(microseconds=values[name])
            values[name] = at.isoformat()
    return values
