"""The use cases of leads: lists are imported or built by hand, agents look at leads and promise."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import msgspec

from eventkit.decider import Invalid, NotFound, Rejected
from eventkit.eventstore import Answer, Cause, Change, EventStore, Recorded, Transaction
from eventkit.ids import derived_id
from eventkit.keys import KeyRing
from services.dialer.leads import commands as c
from services.dialer.leads import importing, lines, merging, recycling, store
from services.dialer.leads.events import NO_ADDRESS, Address, Event, Origin
from services.dialer.leads.importing import Candidate, Outcome, Refused
from services.dialer.leads.lead import Lead
from services.dialer.leads.listimport import Counts, FinishImport, Import, OpenImport, Plan, total
from services.dialer.leads.recycling import Recycling
from services.dialer.leads.store import IMPORTS, KEY_BYTES, LEADS, Filter, Row, Twin
from services.dialer.leads.winback import CrmCustomers

CENTRE: Final = "centre"
MAX_LINES: Final = 2_000
"""Of one part."""
MAX_LIST: Final = 128
FED_AT_ONCE: Final = 200
"""Customers of crm that become leads in one transaction."""
PAUSE_EVERY: Final = 50
"""Lines, after which other requests have their turn."""
ERASED: Final = Invalid("customer_id", "the person has been erased")

decide = LEADS.decider.decide

RulesOf = Callable[[str, str], Awaitable[Recycling]]
"""(client, campaign) -> its rules; raises NotFound where there is no such campaign."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A lead as somebody wrote it. None: not said. country: ISO 3166, of numbers without a code."""

    numbers: Sequence[str] | None = None
    name: str | None = None
    address: Address | None = None
    reference: str | None = None
    attributes: Mapping[str, str] | None = None
    zone: str | None = None
    priority: int | None = None
    country: str = ""

    def details(self, known: c.Details) -> tuple[c.Details, frozenset[str]]:
        """`known` with what is said, and the names of that. Raises Invalid."""
        said: dict[str, Any] = {}
        if self.name is not None:
            said["name"] = lines.text(self.name, "name", lines.MAX_NAME)
        if self.reference is not None:
            said["reference"] = lines.text(self.reference, "reference", lines.MAX_CODE)
        if self.attributes is not None:
            said["attributes"] = {
                lines.text(name, "attributes", lines.MAX_NAME): lines.text(
                    value, "attributes", lines.MAX_TEXT, "\n"
                )
                for name, value in self.attributes.items()
            }
        if self.zone is not None:
            said["zone"] = lines.time_zone(self.zone)
        if self.priority is not None:
            said["priority"] = self.priority
        if self.address is not None:
            said["address"] = _address(self.address)
        if self.numbers is not None or said.keys() & {"address", "zone"}:
            # Where a number may ring depends on the address and the zone.
            phones = [each.phone for each in known.numbers]
            said["numbers"] = lines.numbers(
                phones if self.numbers is None else self.numbers,
                lines.country(self.country),
                said.get("address", known.address),
                said.get("zone", known.zone),
            )
        return replace(known, **said), frozenset(said)


def _address(given: Address) -> Address:
    return Address(
        lines.text(given.lines, "address.lines", lines.MAX_TEXT, "\n"),
        lines.text(given.postal_code, "address.postal_code", lines.MAX_CODE),
        lines.text(given.region, "address.region", lines.MAX_CODE),
        lines.country(given.country, "address.country"),
    )


@dataclass(frozen=True, slots=True)
class Known:
    """A lead as it is. row: of the table."""

    lead_id: str
    lead: Lead
    row: Row


class Leads:
    """Commands answer with lead_id, version and status. Raises NotFound, Invalid, Rejected and
    Unavailable. ids: makes a new lead's id."""

    def __init__(self, events: EventStore, ids: Callable[[], str], rules: RulesOf) -> None:
        self.events = events
        self._ids = ids
        self._rules = rules

    # One lead.

    async def add(
        self,
        cause: Cause,
        campaign_id: str,
        list_id: str,
        wanted: Wanted,
        source: str,
        customer_id: str = "",
        due_at: int = 0,
    ) -> Answer:
        """A new lead; with a reference that is known in the campaign, the lead that has it, as it
        is. Rejected where another lead of the campaign has one of the numbers."""
        await self._rules(cause.client_id, campaign_id)
        details, _ = wanted.details(c.Details())
        lead_id = self._id_of(cause, campaign_id, details.reference)
        keys = await self._keys_of(details)
        command = c.AddLead(Origin(campaign_id, list_id, customer_id), details, source, due_at)

        async def work(tx: Transaction) -> Answer:
            await store.lock_numbers(tx.connection, cause.client_id)
            await _must_be_new(tx, lead_id, campaign_id, keys)
            change = await tx.execute(LEADS, lead_id, command)
            if change.events:
                await store.put_numbers(tx.connection, cause.client_id, {lead_id: keys})
            return _answer(change)

        return await self.events.run(cause, work)

    async def correct(self, cause: Cause, lead_id: str, wanted: Wanted) -> Answer:
        """Put right what is said, and nothing else."""

        async def work(tx: Transaction) -> Answer:
            lead, _ = await tx.load(LEADS, lead_id)
            details, fields = wanted.details(merging.details_of(lead))
            if "numbers" in fields:
                # Before the lead's row, as an import that merges does.
                await store.lock_numbers(tx.connection, cause.client_id)
            answer = await _executed(tx, lead_id, c.CorrectLead(details, fields))
            if "numbers" in fields:
                keys = await self._keys_of(details)
                await store.forget_numbers(tx.connection, cause.client_id, [lead_id])
                await store.put_numbers(tx.connection, cause.client_id, {lead_id: keys})
            return answer

        return await self.events.run(cause, work)

    async def close(self, cause: Cause, lead_id: str, reason: str) -> Answer:
        return await self._do(cause, lead_id, lambda _, __: c.Close(reason))

    async def reopen(self, cause: Cause, lead_id: str, due_at: int | None) -> Answer:
        """due_at: None: now."""
        return await self._do(
            cause, lead_id, lambda _, now: c.Reopen(now if due_at is None else due_at)
        )

    async def promise(
        self,
        cause: Cause,
        lead_id: str,
        from_at: int,
        until_at: int,
        agent_id: str = "",
        attempt_id: str = "",
    ) -> Answer:
        """A callback. agent_id: who has promised it in person; empty: anybody calls."""
        return await self._do(
            cause,
            lead_id,
            lambda _, now: c.PromiseCallback(from_at, until_at, now, agent_id, attempt_id),
        )

    async def accept(self, cause: Cause, lead_id: str, agent_id: str) -> Answer:
        """The agent wants the lead that was offered to be dialled."""
        return await self._do(cause, lead_id, lambda _, now: c.AcceptPreview(agent_id, now))

    async def skip(self, cause: Cause, lead_id: str, agent_id: str, reason: str) -> Answer:
        """The agent does not: what follows is the campaign's rule `skipped`."""
        rules = await self._rules_of(cause, lead_id)
        return await self._do(
            cause,
            lead_id,
            lambda lead, now: c.SkipPreview(
                agent_id, reason, now, recycling.skipped(rules, lead, now)
            ),
        )

    async def forget(self, cause: Cause, lead_id: str) -> Answer:
        """Nothing personal of this lead can be read any more. Of one that is a customer of crm, crm
        erases the person; here it is refused."""
        row = await self._must_exist(cause.client_id, lead_id)
        if row["customer_id"]:
            raise Rejected("the person is a customer of crm, and is erased there", "lead_id")
        await self.events.keys.erase(cause.client_id, [lead_id])

        async def work(tx: Transaction) -> Answer:
            await tx.forget([lead_id])
            return await _executed(tx, lead_id, c.Forget())

        return await self.events.run(cause, work)

    async def _do(
        self, cause: Cause, lead_id: str, command: Callable[[Lead, int], c.Command]
    ) -> Answer:
        async def work(tx: Transaction) -> Answer:
            lead, _ = await tx.load(LEADS, lead_id)
            return await _executed(tx, lead_id, command(lead, tx.now))

        return await self.events.run(cause, work)

    async def _rules_of(self, cause: Cause, lead_id: str) -> Recycling:
        row = await self._must_exist(cause.client_id, lead_id)
        return await self._rules(cause.client_id, row["campaign_id"])

    async def _must_exist(self, client_id: str, lead_id: str) -> Row:
        async with self.events.reading() as connection:
            rows = await store.get_rows(connection, client_id, [lead_id])
        if lead_id not in rows:
            raise NotFound("lead")
        return rows[lead_id]

    # Reading.

    async def get(self, client_id: str, lead_id: str) -> Known:
        row = await self._must_exist(client_id, lead_id)
        lead, _ = await self.events.load(LEADS, client_id, lead_id)
        return Known(lead_id, lead, row)

    async def find(self, client_id: str, wanted: Filter, after: str, limit: int) -> list[Row]:
        """By id, after the one given; without what is personal."""
        async with self.events.reading() as connection:
            return await store.find(connection, client_id, wanted, after, limit)

    async def callbacks(
        self,
        client_id: str,
        agent_id: str | None,
        escalated: bool | None,
        after: tuple[int, str],
        limit: int,
    ) -> list[Row]:
        """By the end of their window, those after `after` (its end and the lead's id)."""
        async with self.events.reading() as connection:
            return await store.callbacks(connection, client_id, agent_id, escalated, after, limit)

    async def totals(self, client_id: str, campaign_id: str) -> list[Row]:
        """How many leads there are by list, status and reason."""
        async with self.events.reading() as connection:
            return await store.totals(connection, client_id, campaign_id)

    async def history(self, client_id: str, lead_id: str) -> list[Recorded[Event]]:
        """Every event, oldest first."""
        facts = await self.events.history(LEADS, client_id, lead_id)
        if not facts:
            raise NotFound("lead")
        return facts

    # Lists.

    async def open_import(self, cause: Cause, import_id: str, plan: Plan) -> Answer:
        """Say what holds for the lines to come: {import_id, fields, parts}. fields: what each
        column is. parts: those that have been imported, where the same import goes on."""
        await self._rules(cause.client_id, plan.campaign_id)
        fields = _fields(_columns(plan))

        async def work(tx: Transaction) -> Answer:
            await tx.execute(IMPORTS, import_id, OpenImport(plan))
            parts = await store.parts_of(tx.connection, cause.client_id, import_id)
            return {"import_id": import_id, "fields": fields, "parts": sorted(parts)}

        return await self.events.run(cause, work)

    async def fill(
        self,
        cause: Cause,
        import_id: str,
        part: int,
        rows: Sequence[tuple[int, Sequence[str]]],
        broken: Sequence[tuple[int, str]] = (),
    ) -> Answer:
        """Import one part, in one transaction: {counts, lines}; `lines` says what became of each
        line that was not simply added. The same part again changes nothing and is answered the
        same; another part of the same number is Rejected.

        rows: (number of the line, cells). broken: lines that cannot be read, and why.
        """
        client_id = cause.client_id
        plan = await self._plan(client_id, import_id)
        fingerprint = hashlib.sha256(msgspec.json.encode((rows, broken))).digest()
        async with self.events.reading() as connection:
            done = await store.part(connection, client_id, import_id, part)
        if done is not None:
            return _same(done, fingerprint)
        candidates = await self._candidates(client_id, import_id, plan, rows, broken)

        async def work(tx: Transaction) -> Answer:
            connection = tx.connection
            if not await store.claim_part(connection, client_id, import_id, part, fingerprint):
                done = await store.part(connection, client_id, import_id, part)
                assert done is not None
                return _same(done, fingerprint)
            await store.lock_numbers(connection, client_id)
            state, _ = await tx.load(IMPORTS, import_id)
            if state.finished:
                raise Rejected("the import is finished", "import_id")
            outcome = await _settle(tx, plan, candidates)
            await self._write(tx, plan, outcome)
            answer = {
                "counts": msgspec.to_builtins(outcome.counts),
                "lines": outcome.said,
            }
            await store.answer_part(connection, client_id, import_id, part, outcome.counts, answer)
            return answer

        return await self.events.run(replace(cause, idempotency_key=None), work)

    async def try_import(
        self,
        client_id: str,
        plan: Plan,
        rows: Sequence[tuple[int, Sequence[str]]],
        broken: Sequence[tuple[int, str]] = (),
    ) -> Answer:
        """What `fill` would answer now, and nothing changes. marks: of each line that would be
        added, what tells it from others; across requests a line is a duplicate of an earlier one
        with a mark of its own. They say nothing else (keyed hashes)."""
        await self._rules(client_id, plan.campaign_id)
        candidates = await self._candidates(client_id, "", plan, rows, broken)
        async with self.events.reading() as connection:
            outcome = await _settled(connection, client_id, plan, candidates)
        marks = {
            str(each.line): [key.hex() for key in each.keys]
            + ([each.lead_id] if each.details.reference else [])
            for each in outcome.added.values()
        }
        return {
            "fields": _fields(_columns(plan)),
            "counts": msgspec.to_builtins(outcome.counts),
            "lines": outcome.said,
            "marks": marks,
        }

    async def finish_import(self, cause: Cause, import_id: str) -> Answer:
        """Say what it came to: {import_id, counts}. No part comes after it."""

        async def work(tx: Transaction) -> Answer:
            await store.lock_numbers(tx.connection, cause.client_id)
            parts = await store.parts_of(tx.connection, cause.client_id, import_id)
            change = await tx.execute(IMPORTS, import_id, FinishImport(total(parts.values())))
            return {
                "import_id": import_id,
                "counts": msgspec.to_builtins(change.after.counts),
            }

        return await self.events.run(cause, work)

    async def imported(self, client_id: str, import_id: str) -> tuple[Import, dict[int, Counts]]:
        """The import, and what its parts have come to so far."""
        state, _ = await self.events.load(IMPORTS, client_id, import_id)
        if state.plan is None:
            raise NotFound("import")
        async with self.events.reading() as connection:
            return state, await store.parts_of(connection, client_id, import_id)

    async def imports(self, client_id: str, after: str, limit: int) -> list[Row]:
        async with self.events.reading() as connection:
            return await store.imports_of(connection, client_id, after, limit)

    async def _plan(self, client_id: str, import_id: str) -> Plan:
        state, _ = await self.events.load(IMPORTS, client_id, import_id)
        if state.plan is None:
            raise NotFound("import")
        return state.plan

    async def _candidates(
        self,
        client_id: str,
        import_id: str,
        plan: Plan,
        rows: Sequence[tuple[int, Sequence[str]]],
        broken: Sequence[tuple[int, str]],
    ) -> list[Candidate | Refused]:
        """In the order of the lines; those of erased people are refused."""
        columns = _columns(plan)
        assumed = lines.Assumed(plan.country, plan.priority)
        found: list[Candidate | Refused] = [Refused(line, "", reason) for line, reason in broken]
        for number, (line, cells) in enumerate(rows, 1):
            try:
                read = columns.read(cells, assumed)
            except Invalid as invalid:
                found.append(Refused.of(line, invalid))
                continue
            details = read.details
            if details.reference:
                lead_id = _referred(client_id, plan.campaign_id, details.reference)
            else:
                lead_id = derived_id(client_id, "lead-import", import_id, line)
            origin = Origin(plan.campaign_id, plan.list_id, read.customer_id)
            keys = await self._keys_of(details)
            found.append(Candidate(line, lead_id, origin, details, keys))
            if number % PAUSE_EVERY == 0:
                await asyncio.sleep(0)
        erased = await self._erased(
            client_id, {_subject(each) for each in found if isinstance(each, Candidate)}
        )
        if erased:
            found = [
                Refused.of(each.line, ERASED)
                if isinstance(each, Candidate) and _subject(each) in erased
                else each
                for each in found
            ]
        return sorted(found, key=lambda each: each.line)

    async def _erased(self, client_id: str, subjects: Collection[str]) -> set[str]:
        """Those that cannot be sealed any more. The keys of the others are made here, and not while
        others wait for the numbers' lock."""
        try:
            await self.events.keys.ensure(client_id, subjects)
            return set()
        except Rejected:
            pass
        erased = set()
        for subject in sorted(subjects):
            try:
                await self.events.keys.ensure(client_id, [subject])
            except Rejected:
                erased.add(subject)
        return erased

    async def _write(
        self, tx: Transaction, plan: Plan, outcome: Outcome, source: str = "import"
    ) -> None:
        nobody = Lead()
        appends = [
            (
                id,
                nobody,
                0,
                decide(c.AddLead(each.origin, each.details, source, plan.due_at), nobody),
            )
            for id, each in outcome.added.items()
        ]
        keys: dict[str, Collection[bytes]] = {id: each.keys for id, each in outcome.added.items()}
        known = await tx.load_many(LEADS, sorted(outcome.merges)) if outcome.merges else {}
        for id, (lead, version) in sorted(known.items()):
            details = merging.details_of(lead)
            for more in outcome.merges[id]:
                details = merging.merged(details, more.details)
            if lead.closed_reason != "erased":
                command = c.CorrectLead(details, merging.MERGED)
                appends.append((id, lead, version, decide(command, lead)))
                keys[id] = await self._keys_of(details)
        await tx.append(LEADS, appends)
        if keys:
            await store.put_numbers(tx.connection, tx.cause.client_id, keys)

    # From crm.

    async def feed_win_back(
        self,
        cause: Cause,
        campaign_id: str,
        offer_id: str,
        reasons: Sequence[str],
        since: int,
        crm: CrmCustomers,
    ) -> Answer:
        """Add who refused the offer: {added, known, without_number}. Who was added before, or is a
        lead of the campaign by the number, is `known`; so it may be repeated at any time."""
        await self._rules(cause.client_id, campaign_id)
        total = {"added": 0, "known": 0, "without_number": 0}
        batch: list[str] = []
        origin = Origin(campaign_id, f"win-back-{offer_id}"[:MAX_LIST])

        async def feed() -> None:
            for name, number in (await self._feed(cause, origin, batch, crm)).items():
                total[name] += number
            batch.clear()

        async for customer_id in crm.refusers(cause.client_id, offer_id, reasons, since):
            batch.append(customer_id)
            if len(batch) == FED_AT_ONCE:
                await feed()
        await feed()
        return total

    async def _feed(
        self, cause: Cause, origin: Origin, customer_ids: Sequence[str], crm: CrmCustomers
    ) -> dict[str, int]:
        client_id = cause.client_id
        ids = {id: _won(client_id, origin.campaign_id, id) for id in customer_ids}
        async with self.events.reading() as connection:
            known = await store.existing(connection, client_id, list(ids.values()))
        people = [
            await crm.person(client_id, id) for id, lead_id in ids.items() if lead_id not in known
        ]
        found: list[Candidate | Refused] = []
        for number, person in enumerate(people):
            try:
                if person is None:
                    raise Invalid("customer_id", "the person has been erased")
                phones = lines.numbers(person.phones, "", NO_ADDRESS, person.zone)
            except Invalid as invalid:
                found.append(Refused.of(number, invalid))
                continue
            details = c.Details(phones, person.name, Address(person.address), zone=person.zone)
            lead_id = _won(client_id, origin.campaign_id, person.customer_id)
            belongs = replace(origin, customer_id=person.customer_id)
            keys = await self._keys_of(details)
            found.append(Candidate(number, lead_id, belongs, details, keys))
        erased = await self._erased(
            client_id, {_subject(each) for each in found if isinstance(each, Candidate)}
        )
        found = [
            each for each in found if isinstance(each, Refused) or _subject(each) not in erased
        ]
        plan = Plan(origin.campaign_id, origin.list_id, ())

        async def work(tx: Transaction) -> Answer:
            await store.lock_numbers(tx.connection, client_id)
            outcome = await _settle(tx, plan, found)
            await self._write(tx, plan, outcome, "win-back")
            return {
                "added": len(outcome.added),
                "known": len(known) + outcome.duplicates,
                "without_number": outcome.rejected,
            }

        return await self.events.run(replace(cause, idempotency_key=None), work)

    # Ids and keys.

    def _id_of(self, cause: Cause, campaign_id: str, reference: str) -> str:
        if reference:
            return _referred(cause.client_id, campaign_id, reference)
        if cause.idempotency_key is None:
            return self._ids()
        return derived_id(cause.client_id, "lead", cause.idempotency_key)

    async def _keys_of(self, details: c.Details) -> tuple[bytes, ...]:
        return await number_keys(self.events.keys, details)


async def number_keys(keys: KeyRing, details: c.Details) -> tuple[bytes, ...]:
    """What the numbers are found by, in their order."""
    return tuple(
        [(await keys.index(CENTRE, f"tel:{each.phone}"))[:KEY_BYTES] for each in details.numbers]
    )


def _referred(client_id: str, campaign_id: str, reference: str) -> str:
    """The client's own id of it is the same lead, in whatever list it comes."""
    return derived_id(client_id, "lead", campaign_id, reference)


def _won(client_id: str, campaign_id: str, customer_id: str) -> str:
    """A customer is one lead of a win-back campaign."""
    return derived_id(client_id, "lead", campaign_id, "customer", customer_id)


def _subject(candidate: Candidate) -> str:
    return candidate.origin.customer_id or candidate.lead_id


def _columns(plan: Plan) -> lines.Columns:
    lines.country(plan.country)
    return lines.columns_of(plan.header, plan.columns)


def _fields(columns: lines.Columns) -> list[str]:
    """What each column is; "" for one that is left out."""
    return [each[0] if isinstance(each, tuple) else each or "" for each in columns.fields]


def _same(done: tuple[bytes, str], fingerprint: bytes) -> Answer:
    """What a part that is imported was answered. Raises Rejected where it was another one."""
    if done[0] != fingerprint:
        raise Rejected("the part was imported with other lines", "part")
    return msgspec.json.decode(done[1], type=dict[str, Any])


async def _executed(tx: Transaction, lead_id: str, command: c.Command) -> Answer:
    return _answer(await tx.execute(LEADS, lead_id, command))


def _answer(change: Change[Lead, Event]) -> Answer:
    return {
        "lead_id": change.id,
        "version": change.version,
        "status": change.after.status.value,
    }


async def _must_be_new(
    tx: Transaction, lead_id: str, campaign_id: str, keys: Sequence[bytes]
) -> None:
    twins, _ = await store.twins_of(tx.connection, tx.cause.client_id, keys)
    for twin in (each for found in twins.values() for each in found):
        if twin.campaign_id == campaign_id and twin.lead_id != lead_id:
            raise Rejected(
                "another lead of the campaign has the number",
                "numbers",
                more={"lead_id": twin.lead_id},
            )


async def _settle(
    tx: Transaction, plan: Plan, candidates: Sequence[Candidate | Refused]
) -> Outcome:
    return await _settled(tx.connection, tx.cause.client_id, plan, candidates)


async def _settled(
    connection: Any, client_id: str, plan: Plan, candidates: Sequence[Candidate | Refused]
) -> Outcome:
    good = [each for each in candidates if isinstance(each, Candidate)]
    twins, elsewhere = await store.twins_of(
        connection, client_id, {key for each in good for key in each.keys}
    )
    existing = await store.existing(connection, client_id, [each.lead_id for each in good])
    within: dict[bytes, str] = {}
    for key, found in twins.items():
        twin = next((each for each in found if _is_within(each, plan)), None)
        if twin is not None:
            within[key] = twin.lead_id
    return importing.settle(candidates, plan.duplicates, within, existing, elsewhere)


def _is_within(twin: Twin, plan: Plan) -> bool:
    return twin.within(plan.scope, plan.campaign_id, plan.list_id)
