"""The use cases of complaints, wishes and the policy that clocks follow.

A command is: load, take the rules that hold for this complaint, decide, append, project, in one
transaction that is run again when somebody else was faster. When it happens is when it was first
asked for, not when it finally got through.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from itertools import groupby
from operator import attrgetter, itemgetter
from zoneinfo import ZoneInfo

from sqlalchemy.ext.asyncio import AsyncConnection

from eventkit.clock import Clock
from eventkit.decider import Invalid, NotFound, Rejected
from eventkit.eventstore import Answer, Cause, EventStore, Recorded, Transaction
from eventkit.ids import derived_id
from eventkit.publicholidays import public_holidays
from services.crm.catalogue.store import topic_exists
from services.crm.complaints import complaint as c
from services.crm.complaints import policy as p
from services.crm.complaints import store
from services.crm.complaints import wish as w
from services.crm.complaints.calendar import MINUTE, SECOND
from services.crm.complaints.clocks import Rules, Severity
from services.crm.complaints.store import COMPLAINTS, POLICY, WISHES, Filter
from services.crm.customers import store as customers

AHEAD = MINUTE
"""How far a caller's clock may be ahead of ours."""
MAIN = "main"
YEARS_BACK, YEARS_AHEAD = 15, 10
"""Around its publication, for which a policy knows the public holidays."""
KEPT_POLICIES = 1_000
MAX_IMPORT = 200


@dataclass(frozen=True, slots=True)
class Held:
    """What holds while one command on one complaint is decided.

    rules: those that its clocks follow; the policy in force where it has none. policy, version:
    the client's policy in force now.
    """

    at: int
    rules: Rules
    policy: p.Policy
    version: int


Make = Callable[[Held], c.Command]


@dataclass(frozen=True, slots=True)
class Opening:
    """customer: crm's id or the client's own number; empty: nobody known. at: None is now."""

    details: c.Details
    severity: Severity
    text: str
    customer: str = ""
    complaint_id: str | None = None
    at: int | None = None


@dataclass(frozen=True, slots=True)
class Line:
    """One complaint of an import, identified by its reference."""

    reference: str
    at: int
    channel: str
    status: str
    acknowledged: bool
    closed: bool
    text: str
    place: str = ""
    severity: Severity = Severity.NORMAL
    on_behalf: bool = False
    date_corrected: bool = False


@dataclass(frozen=True, slots=True)
class Imported:
    """outcome: `accepted`, `duplicate` (of complaint_id), `rejected` (field and reason)."""

    reference: str
    outcome: str
    complaint_id: str = ""
    field: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Shown:
    """One complaint as it is now, and the rules by which its clocks are read."""

    complaint_id: str
    version: int
    state: c.Complaint
    rules: Rules
    now: int


@dataclass(frozen=True, slots=True)
class PolicyInForce:
    version: int
    policy: p.Policy


class Complaints:
    """zone: of a client, for the policy of those that have published none. ids: a new id.

    Raises NotFound, Invalid, Rejected and Unavailable.
    """

    def __init__(
        self,
        events: EventStore,
        zone: Callable[[str], Awaitable[ZoneInfo]],
        clock: Clock,
        ids: Callable[[], str],
    ) -> None:
        self.events = events
        self._zone = zone
        self._clock = clock
        self._ids = ids
        self._policies: dict[tuple[str, int], p.Policy] = {}

    # Complaints: commands.

    async def open(self, cause: Cause, opening: Opening) -> Answer:
        """complaint_id, version. The same id with the same content again changes nothing."""
        now = self._clock.now_us()
        at = self._moment(opening.at, now)
        complaint_id = self._id_of(cause, opening.complaint_id, "complaint_id")
        default = await self._zone(cause.client_id)

        async def work(tx: Transaction) -> Answer:
            details = opening.details
            if opening.customer:
                customer_id = await self._customer(tx, opening.customer)
                details = replace(details, customer_id=customer_id)
            await self._require_new_reference(tx, details.reference, complaint_id)
            held = await self._held(tx, c.Complaint(), at, default)
            command = c.OpenComplaint(at, held.rules, details, opening.severity, opening.text)
            state, version = await tx.load(COMPLAINTS, complaint_id)
            version = await _record(tx, complaint_id, state, version, c.decide(command, state))
            return {"complaint_id": complaint_id, "version": version}

        return await self.events.run(cause, work)

    async def change(self, cause: Cause, complaint_id: str, make: Make) -> Answer:
        """Do what `make` says to one complaint; complaint_id and version, which a repeat leaves
        as it is."""
        c.check_id("complaint_id", complaint_id)
        at = self._clock.now_us()
        default = await self._zone(cause.client_id)

        async def work(tx: Transaction) -> Answer:
            state, version = await tx.load(COMPLAINTS, complaint_id)
            if state.opened is None:
                raise NotFound("complaint")
            held = await self._held(tx, state, at, default)
            events = c.decide(make(held), state)
            version = await _record(tx, complaint_id, state, version, events)
            return {"complaint_id": complaint_id, "version": version}

        return await self.events.run(cause, work)

    async def import_lines(
        self, cause: Cause, lines: Sequence[Line], *, dry_run: bool
    ) -> list[Imported]:
        """One answer for each line, in order; those that are accepted are kept together, at once.

        A line whose reference is that of a complaint is a duplicate, and changes nothing.
        """
        if len(lines) > MAX_IMPORT:
            raise Invalid("complaints", f"more than {MAX_IMPORT}")
        now = self._clock.now_us()

        async def work(tx: Transaction) -> Answer:
            answers = await self._import(tx, lines, now, dry_run)
            return {"lines": [asdict(answer) for answer in answers]}

        answer = await self.events.run(cause, work)
        return [Imported(**each) for each in answer["lines"]]

    async def _import(
        self, tx: Transaction, lines: Sequence[Line], now: int, dry_run: bool
    ) -> list[Imported]:
        client_id = tx.cause.client_id
        wanted = [line.reference for line in lines if c.ID.fullmatch(line.reference)]
        known = await store.references(tx.connection, client_id, wanted)
        answers: list[Imported] = []
        appends: list[tuple[int, str, Sequence[c.Event]]] = []
        for line in lines:
            if (complaint_id := known.get(line.reference)) is not None:
                answers.append(Imported(line.reference, "duplicate", complaint_id))
                continue
            complaint_id = derived_id(client_id, "imported complaint", line.reference)
            try:
                if not line.reference:
                    raise Invalid("reference", "missing")
                command = _import_command(line, self._moment(line.at, now))
                events = c.decide(command, c.Complaint())
            except Invalid as error:
                answer = Imported("", "rejected", field=error.field, reason=error.reason)
                answers.append(answer)
                continue
            known[line.reference] = complaint_id
            appends.append((line.at, complaint_id, events))
            answers.append(Imported(line.reference, "accepted", complaint_id))
        if appends and not dry_run:
            # All keys at once; the appends below find them in the ring's cache.
            subjects = [store.complaint_subject(id) for _, id, _ in appends]
            await self.events.keys.ensure(client_id, subjects)
            for at, group in groupby(sorted(appends, key=itemgetter(0, 1)), key=itemgetter(0)):
                batch = [(id, c.Complaint(), 0, events) for _, id, events in group]
                await _at(tx, at).append(COMPLAINTS, batch)
        return answers

    async def _held(self, tx: Transaction, state: c.Complaint, at: int, default: ZoneInfo) -> Held:
        latest = await store.latest_version(tx.connection, tx.cause.client_id)
        current = await self._policy_of(tx.connection, tx.cause.client_id, latest, default)
        if state.clocks is None or state.policy_version == latest:
            return Held(at, current.rules(latest), current, latest)
        version = state.policy_version
        old = await self._policy_of(tx.connection, tx.cause.client_id, version, default)
        return Held(at, old.rules(version), current, latest)

    async def _policy_of(
        self, connection: AsyncConnection, client_id: str, version: int, default: ZoneInfo
    ) -> p.Policy:
        if version == 0:
            return p.default(default.key)
        # Versions never change, so what was read once is kept.
        key = client_id, version
        if key not in self._policies:
            if len(self._policies) >= KEPT_POLICIES:
                self._policies.clear()
            self._policies[key] = await store.policy(connection, client_id, version)
        return self._policies[key]

    # Complaints: questions.

    async def get(self, client_id: str, complaint_id: str) -> Shown:
        c.check_id("complaint_id", complaint_id)
        state, version = await self.events.load(COMPLAINTS, client_id, complaint_id)
        if state.opened is None:
            raise NotFound("complaint")
        default = await self._zone(client_id)
        async with self.events.engine.connect() as connection:
            policy = await self._policy_of(connection, client_id, state.policy_version, default)
        rules = policy.rules(state.policy_version)
        return Shown(complaint_id, version, state, rules, self._clock.now_us())

    async def history(self, client_id: str, complaint_id: str) -> list[Recorded[c.Event]]:
        c.check_id("complaint_id", complaint_id)
        found = await self.events.history(COMPLAINTS, client_id, complaint_id)
        if not found:
            raise NotFound("complaint")
        return found

    async def find(
        self,
        client_id: str,
        wanted: Filter,
        *,
        customer: str,
        overdue: bool,
        after: tuple[int, str] | None,
        limit: int,
    ) -> list[store.Row]:
        """customer: crm's id or the client's own number; complaints of merged records, too."""
        now = self._clock.now_us()
        if overdue:
            wanted = replace(wanted, overdue_at=now)
        async with self.events.engine.connect() as connection:
            if customer:
                group = await self._group(connection, client_id, customer)
                wanted = replace(wanted, customer_ids=group)
            rows = await store.complaints(connection, client_id, wanted, after, limit)
        for row in rows:
            late = row["ran_out"] or (row["due_at"] is not None and row["due_at"] <= now)
            row["overdue"] = late and row["phase"] != c.Phase.CLOSED.value
        return rows

    async def _group(
        self, connection: AsyncConnection, client_id: str, reference: str
    ) -> tuple[str, ...]:
        customer_id = await customers.resolve(connection, client_id, reference)
        if customer_id is None:
            return ()
        person = await customers.person(connection, client_id, customer_id)
        return person.customer_ids if person else (customer_id,)

    # Policies.

    async def publish_policy(self, cause: Cause, policy: p.Policy) -> Answer:
        """The policy's version. The holidays are those of its country, and the client's own."""
        now = self._clock.now_us()
        policy = with_holidays(policy, datetime.fromtimestamp(now // SECOND, UTC).year)

        async def work(tx: Transaction) -> Answer:
            change = await tx.execute(POLICY, MAIN, p.PublishPolicy(now, policy))
            return {"version": change.after.version}

        return await self.events.run(cause, work)

    async def policy(self, client_id: str) -> PolicyInForce:
        default = await self._zone(client_id)
        async with self.events.engine.connect() as connection:
            version = await store.latest_version(connection, client_id)
            policy = await self._policy_of(connection, client_id, version, default)
        return PolicyInForce(version, policy)

    async def zone(self, client_id: str) -> str:
        """The client's own."""
        return (await self._zone(client_id)).key

    # Wishes.

    async def express_wish(
        self,
        cause: Cause,
        wish_id: str | None,
        text: str,
        *,
        customer: str,
        source: str,
        call_id: str,
        topic_id: str,
    ) -> Answer:
        """wish_id, version."""
        now = self._clock.now_us()
        id = self._id_of(cause, wish_id, "wish_id")

        async def work(tx: Transaction) -> Answer:
            voice = await self._voice(tx, customer, source)
            if topic_id and not await topic_exists(tx.connection, cause.client_id, topic_id):
                raise NotFound("topic")
            command = w.ExpressWish(now, voice, text, call_id, topic_id)
            change = await tx.execute(WISHES, id, command)
            return {"wish_id": id, "version": change.version}

        return await self.events.run(cause, work)

    async def support_wish(
        self, cause: Cause, wish_id: str, *, customer: str, source: str, call_id: str
    ) -> Answer:
        """Each customer and each department counts once."""
        now = self._clock.now_us()

        async def work(tx: Transaction) -> Answer:
            voice = await self._voice(tx, customer, source)
            change = await tx.execute(WISHES, wish_id, w.SupportWish(now, voice, call_id))
            return {"wish_id": wish_id, "version": change.version}

        return await self._change_wish(cause, wish_id, work)

    async def merge_wish(self, cause: Cause, wish_id: str, into: str) -> Answer:
        """From now on the other wish counts the voices of this one as its own."""
        now = self._clock.now_us()
        c.check_id("into", into)

        async def work(tx: Transaction) -> Answer:
            await store.lock_merges(tx.connection, cause.client_id)
            root = await store.wish_root(tx.connection, cause.client_id, into)
            if root is None:
                raise NotFound("wish")
            change = await tx.execute(WISHES, wish_id, w.MergeWish(now, wish_id, into, root))
            return {"wish_id": wish_id, "version": change.version}

        return await self._change_wish(cause, wish_id, work)

    async def unmerge_wish(self, cause: Cause, wish_id: str) -> Answer:
        now = self._clock.now_us()

        async def work(tx: Transaction) -> Answer:
            await store.lock_merges(tx.connection, cause.client_id)
            change = await tx.execute(WISHES, wish_id, w.UnmergeWish(now))
            return {"wish_id": wish_id, "version": change.version}

        return await self._change_wish(cause, wish_id, work)

    async def close_wish(self, cause: Cause, wish_id: str, outcome: w.Outcome, text: str) -> Answer:
        now = self._clock.now_us()

        async def work(tx: Transaction) -> Answer:
            change = await tx.execute(WISHES, wish_id, w.CloseWish(now, outcome, text))
            return {"wish_id": wish_id, "version": change.version}

        return await self._change_wish(cause, wish_id, work)

    async def wish(self, client_id: str, wish_id: str) -> tuple[w.Wish, store.Row]:
        """What was said, and what is counted."""
        c.check_id("wish_id", wish_id)
        state, _ = await self.events.load(WISHES, client_id, wish_id)
        async with self.events.engine.connect() as connection:
            rows = await store.wishes(connection, client_id, wish_id=wish_id)
        if not rows:
            raise NotFound("wish")
        return state, rows[0]

    async def wishes(
        self,
        client_id: str,
        *,
        topic_id: str,
        closed: bool | None,
        after: tuple[int, str] | None,
        limit: int,
    ) -> list[store.Row]:
        async with self.events.engine.connect() as connection:
            return await store.wishes(
                connection, client_id, topic_id=topic_id, closed=closed, after=after, limit=limit
            )

    async def _change_wish(
        self, cause: Cause, wish_id: str, work: Callable[[Transaction], Awaitable[Answer]]
    ) -> Answer:
        c.check_id("wish_id", wish_id)
        return await self.events.run(cause, work)

    # What commands have in common.

    async def _voice(self, tx: Transaction, customer: str, source: str) -> w.Voice:
        return w.Voice(await self._customer(tx, customer) if customer else "", source)

    async def _customer(self, tx: Transaction, reference: str) -> str:
        c.check_id("customer", reference)
        found = await customers.resolve(tx.connection, tx.cause.client_id, reference)
        if found is None:
            raise NotFound("customer")
        return found

    async def _require_new_reference(
        self, tx: Transaction, reference: str, complaint_id: str
    ) -> None:
        if not reference:
            return
        found = await store.references(tx.connection, tx.cause.client_id, [reference])
        if found.get(reference, complaint_id) != complaint_id:
            raise Rejected(f"complaint {found[reference]} has this reference already")

    def _id_of(self, cause: Cause, given: str | None, field: str) -> str:
        """An id that is given, or follows from the idempotency key, or is new."""
        if given is not None:
            c.check_id(field, given)
            return given
        if cause.idempotency_key is not None:
            return derived_id(cause.client_id, cause.idempotency_key)
        return self._ids()

    def _moment(self, at: int | None, now: int) -> int:
        if at is None:
            return now
        if at < 0:
            raise Invalid("occurred_at", "before 1970")
        if at > now + AHEAD:
            raise Invalid("occurred_at", "in the future")
        return at


async def _record(
    tx: Transaction, id: str, state: c.Complaint, version: int, events: Sequence[c.Event]
) -> int:
    """Append what was decided, each event as of its own moment; the version after it."""
    for at, group in groupby(events, key=attrgetter("at")):
        same = tuple(group)
        change = (await _at(tx, at).append(COMPLAINTS, [(id, state, version, same)]))[0]
        state, version = change.after, change.version
    return version


def _at(tx: Transaction, at: int) -> Transaction:
    """The same transaction, for what happened at another moment."""
    return replace(tx, cause=replace(tx.cause, occurred_at=at))


def _import_command(line: Line, at: int) -> c.ImportComplaint:
    details = c.Details(
        channel=line.channel,
        reference=line.reference,
        status=line.status,
        on_behalf=line.on_behalf,
        date_corrected=line.date_corrected,
    )
    return c.ImportComplaint(
        at, details, line.severity, line.text, line.place, line.acknowledged, line.closed
    )


def with_holidays(policy: p.Policy, year: int) -> p.Policy:
    """The policy with the days of its country, as they are known now, and the client's own.

    Raises Invalid for a country or subdivision that nobody knows the holidays of.
    """
    days = set(policy.closed_days)
    if policy.country:
        years = range(year - YEARS_BACK, year + YEARS_AHEAD + 1)
        days |= public_holidays(policy.country, policy.subdivision, years)
    elif policy.subdivision:
        raise Invalid("holidays.subdivision", "of a country that is missing")
    calendar = replace(policy.calendar, holidays=tuple(sorted(days)))
    return replace(policy, calendar=calendar, closed_days=tuple(sorted(set(policy.closed_days))))
