"""The use cases: consents given and withdrawn, lists kept, policies published, contacts checked.

Raises NotFound, Invalid, Rejected and Unavailable, and nothing else that callers expect.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from eventkit.decider import Invalid
from eventkit.errors import NotFound
from eventkit.eventstore import Answer, Cause, EventStore, Recorded, Transaction
from eventkit.ids import derived_id
from services.crm.consent import address, consent, contact, donotcall, store
from services.crm.consent.address import Channel
from services.crm.consent.checks import Checks
from services.crm.consent.contact import Policy, Question, Rule, Verdict
from services.crm.consent.donotcall import Settings
from services.crm.customers.store import person, resolve
from services.crm.holding import Person

MAX_NUMBERS = 10_000
"""Of one request."""
MAX_QUESTIONS = 1_000
MAX_WORDS = 200
MAX_TEXT = 10_000


@dataclass(frozen=True, slots=True)
class Given:
    """A consent as it comes in. customer: crm's id or the client's own number; may be empty.

    given_at, expires_at: microseconds since 1970; None is now, and until it is withdrawn.
    """

    channel: Channel
    purpose: str
    address: str
    proof: consent.Proof
    reference: str = ""
    place: str = ""
    taken_by: str = ""
    text: str = ""
    customer: str = ""
    given_at: int | None = None
    expires_at: int | None = None


@dataclass(frozen=True, slots=True)
class Withdrawn:
    channel: Channel
    purpose: str
    address: str
    place: str = ""
    text: str = ""
    customer: str = ""
    withdrawn_at: int | None = None


class Consents:
    def __init__(self, events: EventStore) -> None:
        self._events = events
        self._keys = events.keys

    async def give(self, cause: Cause, given: Given) -> Answer:
        """Record a consent. Answers consent_id and version; a repeat changes nothing."""
        form = address.normalised(given.channel, given.address)
        _check_text("reference", given.reference, MAX_WORDS)
        _check_text("place", given.place, MAX_WORDS)
        _check_text("text", given.text, MAX_TEXT)
        hashed = await self._keys.index(cause.client_id, form)
        id = store.consent_id(hashed, given.channel, given.purpose)

        async def work(tx: Transaction) -> Answer:
            await self._check_purpose(tx, given.purpose)
            command = consent.GiveConsent(
                consent_id=id,
                channel=given.channel,
                purpose=given.purpose,
                address=_readable(form),
                address_hash=hashed.hex(),
                customer_id=await _customer(tx, given.customer),
                proof=given.proof,
                reference=given.reference,
                place=given.place,
                taken_by=given.taken_by,
                text=given.text,
                given_at=tx.now if given.given_at is None else given.given_at,
                expires_at=given.expires_at,
                at=tx.now,
            )
            change = await tx.execute(store.CONSENT, id, command)
            return {"consent_id": id, "version": change.version}

        return await self._events.run(cause, work)

    async def withdraw(self, cause: Cause, withdrawn: Withdrawn) -> Answer:
        """Withdraw a consent, or object where none was given. A repeat changes nothing."""
        form = address.normalised(withdrawn.channel, withdrawn.address)
        _check_text("place", withdrawn.place, MAX_WORDS)
        _check_text("text", withdrawn.text, MAX_TEXT)
        hashed = await self._keys.index(cause.client_id, form)
        id = store.consent_id(hashed, withdrawn.channel, withdrawn.purpose)

        async def work(tx: Transaction) -> Answer:
            await self._check_purpose(tx, withdrawn.purpose)
            command = consent.WithdrawConsent(
                consent_id=id,
                channel=withdrawn.channel,
                purpose=withdrawn.purpose,
                address=_readable(form),
                address_hash=hashed.hex(),
                customer_id=await _customer(tx, withdrawn.customer),
                place=withdrawn.place,
                text=withdrawn.text,
                withdrawn_at=tx.now if withdrawn.withdrawn_at is None else withdrawn.withdrawn_at,
                at=tx.now,
            )
            change = await tx.execute(store.CONSENT, id, command)
            return {"consent_id": id, "version": change.version}

        return await self._events.run(cause, work)

    async def of_address(self, client_id: str, channel: Channel, text: str) -> Sequence[Any]:
        """The rows of all consents of an address; voice and sms share theirs."""
        hashed = await self._keys.index(client_id, address.normalised(channel, text))
        async with self._events.engine.connect() as connection:
            return await store.find_consents(connection, client_id, hashes=[hashed])

    async def of_customer(self, client_id: str, reference: str) -> Sequence[Any]:
        """The rows of all consents of a customer and of the customer's addresses."""
        async with self._events.engine.connect() as connection:
            customer_id = await resolve(connection, client_id, reference)
            found = customer_id and await person(connection, client_id, customer_id)
            if not found:
                raise NotFound("customer")
            return await store.consents_of(connection, self._keys, found)

    async def history(self, client_id: str, consent_id: str) -> list[Recorded[consent.Event]]:
        """What happened to a consent, oldest first, with its proofs."""
        found = await self._events.history(store.CONSENT, client_id, consent_id)
        if not found:
            raise NotFound("consent")
        return found

    async def _check_purpose(self, tx: Transaction, purpose: str) -> None:
        address.check_purpose(purpose)
        policy = await store.find_policy(tx.connection, tx.cause.client_id)
        if policy.rule(purpose) is None:
            raise Invalid("purpose", "is not one of the client's purposes")


class Policies:
    def __init__(self, events: EventStore) -> None:
        self._events = events

    async def publish(self, cause: Cause, rules: Sequence[Rule]) -> Answer:
        """Replace the client's own rules. Answers the policy's version."""

        async def work(tx: Transaction) -> Answer:
            command = contact.PublishPolicy(tuple(rules))
            change = await tx.execute(store.POLICY, store.POLICY_ID, command)
            return {"version": change.version}

        return await self._events.run(cause, work)

    async def get(self, client_id: str) -> Policy:
        async with self._events.engine.connect() as connection:
            return await store.find_policy(connection, client_id)


@dataclass(frozen=True, slots=True)
class Number:
    """A telephone number or an email address of a list. expires_at: until when; None: for good."""

    address: str
    expires_at: int | None = None


class Lists:
    """Lists of one client, or of the centre: `cause.client_id` says whose.

    ids: makes the ids of imports where the caller gives none and has no idempotency key.
    """

    def __init__(self, events: EventStore, ids: Callable[[], str]) -> None:
        self._events = events
        self._keys = events.keys
        self._ids = ids

    async def define(self, cause: Cause, list_id: str, settings: Settings) -> Answer:
        """Make a list, or change what it says of itself. Answers list_id, version and size."""

        async def work(tx: Transaction) -> Answer:
            command: donotcall.Command = donotcall.CreateList(list_id, settings)
            if await store.lock_list(tx.connection, cause.client_id, list_id):
                command = donotcall.ChangeSettings(settings)
            change = await tx.execute(store.LIST, list_id, command)
            return _list_answer(list_id, change.after)

        return await self._events.run(cause, work)

    async def retire(self, cause: Cause, list_id: str) -> Answer:
        """The list forbids nothing any more; it stays, with its numbers, for the record."""

        async def work(tx: Transaction) -> Answer:
            await self._locked(tx, list_id)
            change = await tx.execute(store.LIST, list_id, donotcall.RetireList())
            await store.drop_imports(tx.connection, cause.client_id, list_id)
            return _list_answer(list_id, change.after)

        return await self._events.run(cause, work)

    async def change_numbers(
        self,
        cause: Cause,
        list_id: str,
        add: Sequence[Number],
        remove: Sequence[str],
        source: str = "",
        as_of: int | None = None,
    ) -> Answer:
        """Add and remove up to 10,000 numbers at once: one new version, or none where all is so."""
        if len(add) + len(remove) > MAX_NUMBERS:
            raise Invalid("add", f"with remove, more than {MAX_NUMBERS} numbers")
        _check_text("source", source, MAX_WORDS)
        added = await self._hashes(cause.client_id, add, "add.{}.address")
        gone = await self._hashes(cause.client_id, [Number(each) for each in remove], "remove.{}")
        if added.keys() & gone.keys():
            raise Invalid("remove", "has a number that is also to be added")

        async def work(tx: Transaction) -> Answer:
            state = await self._locked(tx, list_id)
            version = state.version + 1
            names = tx.connection, cause.client_id, list_id, version
            removed = await store.remove_numbers(*names, sorted(gone))
            counts = await store.add_numbers(*names, tx.now if as_of is None else as_of, added)
            # A number that stays until another time is closed and listed again.
            removed += counts.removed
            command = donotcall.ChangeNumbers(counts.added, removed, source, as_of, tx.now)
            change = await tx.execute(store.LIST, list_id, command)
            return _list_answer(list_id, change.after) | {"added": counts.added, "removed": removed}

        return await self._events.run(cause, work)

    async def open_import(
        self, cause: Cause, list_id: str, import_id: str | None, source: str, as_of: int
    ) -> Answer:
        """Begin a whole new copy of a list; one that was begun before and not published is void."""
        _check_text("source", source, MAX_WORDS)
        if import_id is None:
            key = cause.idempotency_key
            import_id = self._ids() if key is None else derived_id(cause.client_id, list_id, key)

        async def work(tx: Transaction) -> Answer:
            await self._locked(tx, list_id)
            command = donotcall.OpenImport(import_id, source, as_of, tx.now)
            change = await tx.execute(store.LIST, list_id, command)
            await store.drop_imports(tx.connection, cause.client_id, list_id, keep=import_id)
            return _list_answer(list_id, change.after) | {"import_id": import_id}

        return await self._events.run(cause, work)

    async def add_to_import(
        self, cause: Cause, list_id: str, import_id: str, numbers: Sequence[Number]
    ) -> Answer:
        """A part of the copy, up to 10,000 numbers; the same part again changes nothing."""
        if len(numbers) > MAX_NUMBERS:
            raise Invalid("numbers", f"more than {MAX_NUMBERS} numbers")
        hashed = await self._hashes(cause.client_id, numbers, "numbers.{}.address")

        async def work(tx: Transaction) -> Answer:
            state = await self._locked(tx, list_id)
            donotcall.check_importing(import_id, state)
            await store.stage_numbers(tx.connection, cause.client_id, list_id, import_id, hashed)
            return {"import_id": import_id, "numbers": len(hashed)}

        return await self._events.run(cause, work)

    async def publish_import(self, cause: Cause, list_id: str, import_id: str) -> Answer:
        """From now on the list is what the import says: numbers that it lacks are removed."""

        async def work(tx: Transaction) -> Answer:
            state = await self._locked(tx, list_id)
            if state.published == import_id:
                return _list_answer(list_id, state) | {"added": 0, "removed": 0}
            donotcall.check_importing(import_id, state)
            assert state.importing is not None
            counts = await store.replace_numbers(
                tx.connection,
                cause.client_id,
                list_id,
                import_id,
                state.version + 1,
                state.importing.as_of,
            )
            command = donotcall.PublishImport(import_id, counts.added, counts.removed)
            change = await tx.execute(store.LIST, list_id, command)
            return _list_answer(list_id, change.after) | {
                "added": counts.added,
                "removed": counts.removed,
            }

        return await self._events.run(cause, work)

    async def all(self, client_id: str, after: str, limit: int) -> Sequence[Any]:
        """The rows of the client's own lists, retired ones too, by their id."""
        async with self._events.engine.connect() as connection:
            return await store.find_lists(connection, client_id, after, limit)

    async def get(self, client_id: str, list_id: str) -> Any:
        """The row of a list. Raises NotFound."""
        async with self._events.engine.connect() as connection:
            row = await store.find_list(connection, client_id, list_id)
        if row is None:
            raise NotFound("list")
        return row

    async def _locked(self, tx: Transaction, list_id: str) -> donotcall.DoNotCallList:
        if not await store.lock_list(tx.connection, tx.cause.client_id, list_id):
            raise NotFound("list")
        state, _ = await tx.load(store.LIST, list_id)
        return state

    async def _hashes(
        self, client_id: str, numbers: Iterable[Number], field: str
    ) -> dict[bytes, int | None]:
        """The keyed hashes of addresses: what has an @ is an email, the rest are numbers.
        field: where they came from, with a place for the position."""
        found: dict[bytes, int | None] = {}
        for position, number in enumerate(numbers):
            where = field.format(position)
            form = (
                address.email(number.address, where)
                if "@" in number.address
                else address.number(number.address, where)
            )
            hashed = await self._keys.index(client_id, form)
            if found.setdefault(hashed, number.expires_at) != number.expires_at:
                raise Invalid(where, "is there before, with another end")
        return found


@dataclass(frozen=True, slots=True)
class Ask:
    """A question as it comes in. at: microseconds since 1970; None: now."""

    address: str
    channel: str
    purpose: str
    at: int | None = None


class Contacts:
    """May the client contact this address for this purpose at this time, and why (not)?"""

    def __init__(self, events: EventStore) -> None:
        self._clock = events.clock
        self._checks = Checks(events.engine, events.keys)

    async def check(self, client_id: str, ask: Ask) -> Verdict:
        at = self._clock.now_us() if ask.at is None else ask.at
        question = Question(address.channel_of(ask.channel), ask.purpose, at)
        return await self._checks.check(client_id, ask.address, question)


@dataclass(frozen=True, slots=True)
class Services:
    """What the edges need."""

    consents: Consents
    policies: Policies
    lists: Lists
    contacts: Contacts

    @classmethod
    def of(cls, events: EventStore, ids: Callable[[], str]) -> "Services":
        """ids: makes ids that nobody else makes."""
        return cls(Consents(events), Policies(events), Lists(events, ids), Contacts(events))


async def end_consents(tx: Transaction, events: EventStore, whose: Person) -> None:
    """Append to each consent of a person who is being erased that it is no more."""
    for row in await store.consents_of(tx.connection, events.keys, whose):
        command = consent.EraseConsent(row.consent_id, tx.now)
        await tx.execute(store.CONSENT, row.consent_id, command)


def _list_answer(list_id: str, state: donotcall.DoNotCallList) -> Answer:
    return {"list_id": list_id, "version": state.version, "size": state.size}


async def _customer(tx: Transaction, reference: str) -> str:
    if not reference:
        return ""
    customer_id = await resolve(tx.connection, tx.cause.client_id, reference)
    if customer_id is None:
        raise NotFound("customer")
    return customer_id


def _readable(form: str) -> str:
    return form.partition(":")[2]


def _check_text(field: str, text: str, limit: int) -> None:
    """What PostgreSQL or JSON cannot keep, and what is too long, is Invalid at every edge."""
    if len(text) > limit:
        raise Invalid(field, f"has more than {limit} characters")
    if "\0" in text or any("\ud800" <= char <= "\udfff" for char in text):
        raise Invalid(field, "has characters that are no text")
