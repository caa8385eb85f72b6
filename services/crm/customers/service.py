"""The use cases of customers: register, correct, merge, find, import."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeVar

from sqlalchemy.ext.asyncio import AsyncConnection

from eventkit.decider import Invalid, NotFound, Rejected
from eventkit.eventstore import Answer, Category, Cause, EventStore, Transaction
from eventkit.ids import derived_id
from services.crm.customers import contact, store
from services.crm.customers.codec import message
from services.crm.customers.customer import (
    DECIDER,
    CorrectCustomer,
    Customer,
    Details,
    MergeCustomer,
    RegisterCustomer,
    UnmergeCustomer,
)
from services.crm.customers.store import Known, Matches

CUSTOMERS = Category(
    "customer", DECIDER, topic="customer-events", message=message, project=store.project
)
MAX_ROWS = 1_000
MAX_WORDS = 10
decide = DECIDER.decide

K = TypeVar("K")


@dataclass(frozen=True, slots=True)
class Given:
    """Details as somebody wrote them. region: of numbers without a country's code (ISO 3166)."""

    number: str = ""
    name: str = ""
    phones: Sequence[str] = ()
    emails: Sequence[str] = ()
    address: str = ""
    language: str = ""
    time_zone: str = ""
    preferred_channel: str = ""
    region: str = ""

    def normalised(self) -> Details:
        """Raises Invalid for the first field that is no good."""
        region = contact.region(self.region)
        return Details(
            number=contact.line(self.number, "number", contact.MAX_NUMBER),
            name=contact.line(self.name, "name", contact.MAX_NAME),
            phones=contact.phones(self.phones, region),
            emails=contact.emails(self.emails),
            address=contact.lines(self.address, "address", contact.MAX_ADDRESS),
            language=contact.language(self.language),
            time_zone=contact.time_zone(self.time_zone),
            preferred_channel=contact.channel(self.preferred_channel),
        )


@dataclass(frozen=True, slots=True)
class Found:
    """The best first. complete: there are no others."""

    items: list[Known]
    complete: bool


class Outcome(StrEnum):
    """What became of an imported row."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True)
class Line:
    """What became of a row.

    customer_id   of the new customer, or of whom the row is a duplicate
    row           where that is an earlier row of the same import: which one, from 0
    field, reason why it was rejected
    """

    outcome: Outcome
    customer_id: str = ""
    row: int | None = None
    field: str = ""
    reason: str = ""

    def brief(self) -> dict[str, Any]:
        """The fields that are not empty."""
        return {
            name: value
            for name in self.__dataclass_fields__
            if (value := getattr(self, name)) not in ("", None)
        }


class Customers:
    """Raises NotFound, Invalid, Rejected and Unavailable, and nothing else that callers expect.

    ids: makes a new customer's id.
    """

    def __init__(self, events: EventStore, ids: Callable[[], str]) -> None:
        self._events = events
        self._ids = ids

    # One customer.

    async def register(
        self, cause: Cause, given: Given, source: str, customer_id: str | None = None
    ) -> Answer:
        """A new customer: {customer_id, version}. Rejected where the number is another's."""
        details = given.normalised()
        id = customer_id or self._new_id(cause)

        async def work(tx: Transaction) -> Answer:
            await _reserve(tx, details.number, id)
            change = await tx.execute(CUSTOMERS, id, RegisterCustomer(details, source))
            return {"customer_id": id, "version": change.version}

        return await self._events.run(cause, work)

    async def correct(
        self, cause: Cause, customer_id: str, given: Given, fields: Iterable[str]
    ) -> Answer:
        """Put right what `fields` names of this very record, merged or not; empty values clear."""
        details = given.normalised()

        async def work(tx: Transaction) -> Answer:
            version = await _correct(tx, customer_id, details, frozenset(fields))
            return {"customer_id": customer_id, "version": version}

        return await self._events.run(cause, work)

    async def upsert(
        self, cause: Cause, given: Given, fields: Iterable[str], source: str
    ) -> Answer:
        """Register the customer with this number, or correct what `fields` names of the record
        that has it: {customer_id, version, created}. The same again gives no events."""
        details = given.normalised()
        if not details.number:
            raise Invalid("number", "must be given: it says which customer is meant")
        new_id = self._new_id(cause)

        async def work(tx: Transaction) -> Answer:
            held = await store.reserve(tx.connection, cause.client_id, {details.number: new_id})
            id = held.get(details.number, "")
            if id:
                version = await _correct(tx, id, details, frozenset(fields) - {"number"})
            else:
                change = await tx.execute(CUSTOMERS, new_id, RegisterCustomer(details, source))
                version = change.version
            return {"customer_id": id or new_id, "version": version, "created": not id}

        return await self._events.run(cause, work)

    async def merge(self, cause: Cause, customer_id: str, into: str) -> Answer:
        """Say that a record is the same person as another: {customer_id, survivor_id, version}."""

        async def work(tx: Transaction) -> Answer:
            await store.lock_merges(tx.connection, cause.client_id)
            await _must_exist(tx, customer_id)
            other = await _must_exist(tx, into)
            target = next(record for record in other.records if record.customer_id == into)
            command = MergeCustomer(
                customer_id, into, other.survivor.customer_id, target.erased_at is not None
            )
            change = await tx.execute(CUSTOMERS, customer_id, command)
            return await _grouped(tx, customer_id, change.version)

        return await self._events.run(cause, work)

    async def unmerge(self, cause: Cause, customer_id: str) -> Answer:
        """Undo that: everything is as it was. {customer_id, survivor_id, version}."""

        async def work(tx: Transaction) -> Answer:
            await store.lock_merges(tx.connection, cause.client_id)
            await _must_exist(tx, customer_id)
            change = await tx.execute(CUSTOMERS, customer_id, UnmergeCustomer())
            return await _grouped(tx, customer_id, change.version)

        return await self._events.run(cause, work)

    # Reading.

    async def get(self, client_id: str, customer_id: str) -> Known:
        """The person that this record belongs to. Raises NotFound."""
        async with self._events.engine.connect() as connection:
            known = await store.get(connection, client_id, customer_id)
        if known is None:
            raise NotFound("customer")
        return known

    async def page(self, client_id: str, after: str, rows: int) -> list[Known]:
        """Persons by the ids of their surviving records."""
        async with self._events.engine.connect() as connection:
            ids = await store.list_survivors(connection, client_id, after, rows)
            return await store.get_many(connection, client_id, ids)

    async def find_by_number(self, client_id: str, number: str) -> Found:
        number = contact.line(number, "number", contact.MAX_NUMBER)
        async with self._events.engine.connect() as connection:
            holders = await store.holders_of(connection, client_id, [number])
            known = [await store.get(connection, client_id, id) for id in holders.values()]
        return Found([each for each in known if each is not None], True)

    async def find_by_phone(self, client_id: str, phone: str, region: str, limit: int) -> Found:
        key = contact.phone(phone, contact.region(region), "phone")
        return await self._find(client_id, store.find_by_contact, key, limit)

    async def find_by_email(self, client_id: str, email: str, limit: int) -> Found:
        key = contact.email_key(contact.email(email, "email"))
        return await self._find(client_id, store.find_by_contact, key, limit)

    async def find_by_name(self, client_id: str, name: str, limit: int) -> Found:
        """Each word begins a word of the name, whatever accents it has: store.find_by_name."""
        words = contact.words(contact.line(name, "name", contact.MAX_NAME))
        if not words:
            raise Invalid("name", "has no letters or digits")
        return await self._find(client_id, store.find_by_name, words[:MAX_WORDS], limit)

    async def _find(
        self,
        client_id: str,
        find: Callable[[AsyncConnection, str, K, int], Awaitable[Matches]],
        key: K,
        limit: int,
    ) -> Found:
        async with self._events.engine.connect() as connection:
            matches = await find(connection, client_id, key, limit)
            known = await store.get_many(connection, client_id, matches.survivor_ids)
        return Found(known, matches.complete)

    # Many at once.

    async def import_rows(self, cause: Cause, rows: Sequence[Given]) -> Answer:
        """Register up to MAX_ROWS customers in one transaction, those that are no good left out:
        {"lines": [...]}, of a Line for each row the fields that are not empty.

        A row with a number is a duplicate of the customer who has it; one without, of a customer
        with the same name who shares one of its phones or emails.
        """
        plan = _Plan(await _normalised(rows))
        ids = self._new_ids(cause, len(rows))

        async def work(tx: Transaction) -> Answer:
            connection, client_id = tx.connection, cause.client_id
            # Parts of one file, that come at the same time, see each other's rows.
            await store.lock_imports(connection, client_id)
            numbers = {number: ids[row] for number, row in plan.numbers.items()}
            held = await store.reserve(connection, client_id, numbers)
            twins = await store.twins_of(connection, client_id, plan.unnumbered())
            lines = plan.lines(held, twins, ids)
            nobody = Customer()
            new = [
                (line.customer_id, nobody, 0, decide(RegisterCustomer(details, "import"), nobody))
                for line, details in zip(lines, plan.rows, strict=True)
                if line.outcome is Outcome.ACCEPTED and isinstance(details, Details)
            ]
            await tx.append(CUSTOMERS, new)
            return {"lines": [line.brief() for line in lines]}

        return await self._events.run(cause, work)

    async def try_import(self, client_id: str, rows: Sequence[Given]) -> Answer:
        """What import_rows would answer now, without ids of what would be new, but with `marks` and
        `sought`: across requests, a row is a duplicate of an earlier accepted one with a mark that
        it seeks. They say nothing else (keyed hashes)."""
        plan = _Plan(await _normalised(rows))
        async with self._events.engine.connect() as connection:
            held = await store.holders_of(connection, client_id, plan.numbers)
            twins = await store.twins_of(connection, client_id, plan.unnumbered())
        lines = []
        for row, line in enumerate(plan.lines(held, twins, [""] * len(rows))):
            brief = line.brief()
            if line.outcome is Outcome.ACCEPTED:
                for name, values in (("marks", plan.marks(row)), ("sought", plan.sought(row))):
                    brief[name] = [await self._opaque(client_id, value) for value in values]
            lines.append(brief)
        return {"lines": lines}

    async def _opaque(self, client_id: str, value: str) -> str:
        return (await self._events.keys.index(client_id, f"import {value}"))[:12].hex()

    def _new_id(self, cause: Cause) -> str:
        """From the idempotency key, where there is one: a retry means the same customer."""
        if cause.idempotency_key is None:
            return self._ids()
        return derived_id(cause.client_id, cause.idempotency_key)

    def _new_ids(self, cause: Cause, count: int) -> list[str]:
        if cause.idempotency_key is None:
            return [self._ids() for _ in range(count)]
        return [derived_id(cause.client_id, cause.idempotency_key, row) for row in range(count)]


async def _must_exist(tx: Transaction, customer_id: str) -> Known:
    known = await store.get(tx.connection, tx.cause.client_id, customer_id)
    if known is None:
        raise NotFound("customer")
    return known


async def _grouped(tx: Transaction, customer_id: str, version: int) -> Answer:
    known = await _must_exist(tx, customer_id)
    survivor_id = known.survivor.customer_id
    return {"customer_id": customer_id, "survivor_id": survivor_id, "version": version}


async def _reserve(tx: Transaction, number: str, customer_id: str) -> None:
    if not number:
        return
    held = await store.reserve(tx.connection, tx.cause.client_id, {number: customer_id})
    holder = held.get(number, customer_id)
    if holder != customer_id:
        raise Rejected(f"the number is that of customer {holder}", "number")


async def _correct(
    tx: Transaction, customer_id: str, details: Details, fields: frozenset[str]
) -> int:
    # The number's row must not be there for a customer who is not.
    await _must_exist(tx, customer_id)
    if "number" in fields:
        await _reserve(tx, details.number, customer_id)
    change = await tx.execute(CUSTOMERS, customer_id, CorrectCustomer(details, fields))
    return change.version


PAUSE_EVERY = 50
"""Rows, between which an import lets other requests have their turn."""


async def _normalised(rows: Sequence[Given]) -> list[Details | Invalid]:
    """What each row says, or why it is no good."""
    found: list[Details | Invalid] = []
    for number, given in enumerate(rows, 1):
        try:
            details = given.normalised()
            if not (details.number or details.phones or details.emails):
                raise Invalid("number", "a number, a phone or an email must say who it is")
            found.append(details)
        except Invalid as invalid:
            found.append(invalid)
        if number % PAUSE_EVERY == 0:
            await asyncio.sleep(0)
    return found


class _Plan:
    """What becomes of the rows of one import. numbers: the row that has a number first."""

    def __init__(self, rows: Sequence[Details | Invalid]) -> None:
        self.rows = rows
        self.numbers: dict[str, int] = {}
        for row, details in enumerate(rows):
            if isinstance(details, Details) and details.number:
                self.numbers.setdefault(details.number, row)

    def unnumbered(self) -> list[tuple[int, str, Sequence[str]]]:
        """The questions for store.twins_of."""
        return [
            (row, details.name, _contacts(details))
            for row, details in enumerate(self.rows)
            if isinstance(details, Details) and not details.number
        ]

    def marks(self, row: int) -> list[str]:
        """What later rows are recognised by as duplicates of this one."""
        details = self.rows[row]
        if not isinstance(details, Details):
            return []
        own = [f"number {details.number}"] if details.number else []
        contacts = [f"contact {each}" for each in _contacts(details)]
        return own + contacts + _named(details)

    def sought(self, row: int) -> list[str]:
        """Marks of earlier rows, of which one suffices for this one to be a duplicate."""
        details = self.rows[row]
        if not isinstance(details, Details):
            return []
        if details.number:
            return [f"number {details.number}"]
        return _named(details) or [f"contact {each}" for each in _contacts(details)]

    def lines(
        self, held: Mapping[str, str], twins: Mapping[int, str], ids: Sequence[str]
    ) -> list[Line]:
        """held: who has a number already; twins: whom a row without one is; ids: of new ones."""
        lines: list[Line] = []
        first: dict[str, int] = {}
        for row, details in enumerate(self.rows):
            if isinstance(details, Invalid):
                line = Line(Outcome.REJECTED, field=details.field, reason=details.reason)
            elif known := held.get(details.number) or twins.get(row):
                line = Line(Outcome.DUPLICATE, known)
            else:
                earlier = min(
                    (first[each] for each in self.sought(row) if each in first), default=row
                )
                if earlier == row:
                    line = Line(Outcome.ACCEPTED, ids[row])
                    for mark in self.marks(row):
                        first.setdefault(mark, row)
                else:
                    line = Line(Outcome.DUPLICATE, ids[earlier], earlier)
            lines.append(line)
        return lines


def _contacts(details: Details) -> list[str]:
    return [*details.phones, *map(contact.email_key, details.emails)]


def _named(details: Details) -> list[str]:
    name = contact.name_key(contact.words(details.name))
    return [f"contact {each} of{name}" for each in _contacts(details)] if name else []
