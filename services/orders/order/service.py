"""The use cases of orders.

A command is: load, take the form that the order was taken with and the promotions as they are now,
decide, append, project, in one transaction that is run again when somebody else was faster. What
takes several decisions (a submission; a crew that did not come, and the one that is sent instead)
is appended at once, or not at all. When it happens is when it was first asked for.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final
from zoneinfo import ZoneInfo

from sqlalchemy.ext.asyncio import AsyncConnection

from eventkit.clock import Clock, rfc3339
from eventkit.decider import Invalid, NotFound, Rejected, fold
from eventkit.eventstore import Answer, Cause, EventStore, Recorded, Transaction
from eventkit.ids import derived_id
from services.orders.addresses.address import Address
from services.orders.addresses.rules import normalise
from services.orders.forms import schema
from services.orders.forms.form import Form
from services.orders.forms.service import Forms
from services.orders.order import commands as cmd
from services.orders.order import events as ev
from services.orders.order import order as o
from services.orders.order import store
from services.orders.order.state import Order
from services.orders.order.store import ORDERS, Filter
from services.orders.prices.pricing import Promotion, Quote
from services.orders.prices.service import Promotions
from services.orders.visits.service import Booking, Slot, Visits, Want

PARTNER: Final = "partner"
"""The channel of what a client's own system submits."""


class Outcome(StrEnum):
    """How a visit went."""

    DONE = "done"
    CREW_ABSENT = "crew_absent"
    CUSTOMER_ABSENT = "customer_absent"
    IMPOSSIBLE = "impossible"


_MISSED = {
    Outcome.DONE: None,
    Outcome.CREW_ABSENT: ev.MissedBy.CREW,
    Outcome.CUSTOMER_ABSENT: ev.MissedBy.CUSTOMER,
    Outcome.IMPOSSIBLE: ev.MissedBy.CIRCUMSTANCES,
}


@dataclass(frozen=True, slots=True)
class NewDraft:
    """answers: by field, beside the form's defaults. agent_id: left empty, whoever asks."""

    product_id: str
    customer_id: str
    answers: Mapping[str, Any] = field(default_factory=dict)
    call_id: str = ""
    agent_id: str = ""
    campaign_id: str = ""
    offer_id: str = ""
    channel: str = "voice"
    reference: str = ""
    order_id: str | None = None


@dataclass(frozen=True, slots=True)
class Submission:
    """A whole order, taken elsewhere.

    addresses        by field, each with whether the customer has confirmed it
    told             the points of the checklist that the customer has been told
    visit_starts_at  microseconds; where the form needs a visit
    area_id          left empty: by the visit's address
    """

    product_id: str
    customer_id: str
    answers: Mapping[str, Any] = field(default_factory=dict)
    addresses: Mapping[str, tuple[Address, bool]] = field(default_factory=dict)
    promotion_ids: Sequence[str] = ()
    told: Sequence[str] = ()
    visit_starts_at: int | None = None
    area_id: str = ""
    campaign_id: str = ""
    offer_id: str = ""
    reference: str = ""
    order_id: str | None = None


@dataclass(frozen=True, slots=True)
class Shown:
    """An order as it is now, with the form that it was taken with.

    quote    the amount; None where it cannot be computed, and then quote_fault says why
    missing  (field, reason) for all that a draft needs before it can be placed
    steps    what may be done now
    """

    order_id: str
    version: int
    state: Order
    form: Form
    quote: Quote | None
    quote_fault: str
    checklist: tuple[o.Told, ...]
    missing: tuple[tuple[str, str], ...]
    steps: tuple[str, ...]


@dataclass
class _Taking:
    """One order within one transaction: what is decided is collected, and appended at the end."""

    tx: Transaction
    order_id: str
    state: Order
    version: int
    rules: cmd.Rules
    at: int
    events: list[ev.Event] = field(default_factory=list)
    before: Order = field(init=False)

    def __post_init__(self) -> None:
        self.before = self.state

    @property
    def client_id(self) -> str:
        return self.tx.cause.client_id

    @property
    def now(self) -> int:
        return max(self.at, self.state.at)

    def do(self, command: cmd.Command) -> None:
        events = o.decide(command, self.state)
        self.state = fold(o.DECIDER, events, self.state)
        self.events += events

    async def end(self) -> int:
        """The version after all of it."""
        appends = [(self.order_id, self.before, self.version, self.events)]
        changes = await self.tx.append(ORDERS, appends)
        return changes[0].version if changes else self.version


Steps = Callable[[_Taking], Awaitable[Answer]]


class Orders:
    """zone: a client's, in which times are told. ids: a new id each time.

    Commands answer with order_id and version, which a repeat leaves as it is. Money in answers is
    {"amount": "19.90", "currency": "EUR"}, null where nothing is paid; times are RFC 3339.
    Raises NotFound, Invalid, Rejected and Unavailable.
    """

    def __init__(
        self,
        events: EventStore,
        forms: Forms,
        promotions: Promotions,
        visits: Visits,
        zone: Callable[[str], Awaitable[ZoneInfo]],
        clock: Clock,
        ids: Callable[[], str],
    ) -> None:
        self.events = events
        self._forms = forms
        self._promotions = promotions
        self._visits = visits
        self._zone = zone
        self._clock = clock
        self._ids = ids

    # Taking an order.

    async def draft(self, cause: Cause, new: NewDraft) -> Answer:
        """Also: form_version, expires_at. The same id with the same origin again changes nothing;
        then the answers stay as they are."""
        order_id = self._id_of(cause, new.order_id)
        at = self._clock.now_us()
        new = replace(new, agent_id=new.agent_id or cause.actor)

        async def work(tx: Transaction) -> Answer:
            taking = await self._begin(tx, order_id, new, at)
            version = await taking.end()
            return {
                "order_id": order_id,
                "version": version,
                "form_version": taking.state.origin.form_version,
                "expires_at": rfc3339(taking.state.expires_at),
            }

        return await self.events.run(cause, work)

    async def save(self, cause: Cause, order_id: str, answers: Mapping[str, Any]) -> Answer:
        """answers: those that are other ones now, null for one that is taken back. Also:
        visit_released, whether the booked visit is needed no more."""

        async def steps(taking: _Taking) -> Answer:
            held = taking.state.visit
            taking.do(cmd.SaveAnswers(taking.at, taking.rules, answers))
            return {"visit_released": held is not None and taking.state.visit is None}

        return await self._change(cause, order_id, steps)

    async def give_address(
        self, cause: Cause, order_id: str, name: str, address: Address
    ) -> Answer:
        """Normalised. Also: visit_released, whether the booked visit was for another area."""
        address = normalise(address)

        async def steps(taking: _Taking) -> Answer:
            held = taking.state.visit
            await self._give(taking, name, address, cause.actor)
            return {"visit_released": held is not None and taking.state.visit is None}

        return await self._change(cause, order_id, steps)

    async def _give(self, taking: _Taking, name: str, address: Address, by: str) -> None:
        area_id = None
        if o.needs_area(taking.state, taking.rules, name):
            try:
                area_id = await self._area_of(taking, address)
            except Rejected:
                area_id = ""  # Where no crew goes.
        taking.do(cmd.GiveAddress(taking.at, taking.rules, name, address, by, area_id))

    async def confirm_address(self, cause: Cause, order_id: str, name: str) -> Answer:
        """It was read back to the customer, who said yes."""
        return await self._do(
            cause, order_id, lambda t: cmd.ConfirmAddress(t.at, t.rules, name, cause.actor)
        )

    async def apply_promotion(self, cause: Cause, order_id: str, promotion_id: str) -> Answer:
        o.check_id("promotion_id", promotion_id)

        async def steps(taking: _Taking) -> Answer:
            await self._apply(taking, promotion_id)
            return {}

        return await self._change(cause, order_id, steps)

    async def _apply(self, taking: _Taking, promotion_id: str) -> None:
        known = await self._promotions.many(
            taking.tx.connection, taking.tx.cause.client_id, [promotion_id]
        )
        promotions = {**taking.rules.promotions, **known}
        taking.rules = replace(taking.rules, promotions=promotions)
        taking.do(cmd.ApplyPromotion(taking.at, taking.rules, promotion_id))

    async def remove_promotion(self, cause: Cause, order_id: str, promotion_id: str) -> Answer:
        return await self._do(
            cause, order_id, lambda t: cmd.RemovePromotion(t.at, t.rules, promotion_id)
        )

    async def tick(
        self, cause: Cause, order_id: str, point_id: str, said: str | None = None
    ) -> Answer:
        """The customer was told. said: the visit or the amount that was told with it; Rejected
        where it is another one now. None: as it is now. Also: said."""

        async def steps(taking: _Taking) -> Answer:
            taking.do(cmd.TickPoint(taking.at, taking.rules, point_id, cause.actor, said))
            return {"said": taking.state.ticks[point_id].said}

        return await self._change(cause, order_id, steps)

    async def untick(self, cause: Cause, order_id: str, point_id: str) -> Answer:
        return await self._do(cause, order_id, lambda t: cmd.UntickPoint(t.at, t.rules, point_id))

    async def place(self, cause: Cause, order_id: str) -> Answer:
        """Also: status (`confirmed` where nobody has to), total, monthly."""

        async def steps(taking: _Taking) -> Answer:
            taking.do(cmd.PlaceOrder(taking.at, taking.rules))
            return _placed(taking.state)

        return await self._change(cause, order_id, steps)

    async def submit(self, cause: Cause, given: Submission) -> Answer:
        """Drafted, filled in, told, its visit booked, placed, and confirmed where nobody has to; or
        nothing of it. Also: status, total, monthly, visit. The same order again changes nothing."""
        order_id = self._id_of(cause, given.order_id)
        at = self._clock.now_us()
        addresses = {
            name: (_normalised(name, address), confirmed)
            for name, (address, confirmed) in given.addresses.items()
        }
        given = replace(given, addresses=addresses)
        new = NewDraft(
            given.product_id,
            given.customer_id,
            given.answers,
            campaign_id=given.campaign_id,
            offer_id=given.offer_id,
            channel=PARTNER,
            reference=given.reference,
        )
        visit_id = self._ids()

        async def work(tx: Transaction) -> Answer:
            taking = await self._begin(tx, order_id, new, at)
            if taking.version == 0:
                await self._fill(taking, given, visit_id, cause.actor)
            elif not _is_the_same(taking.state, given):
                raise Rejected("another order has this id already", "order_id")
            version = await taking.end()
            return {
                "order_id": order_id,
                "version": version,
                **_placed(taking.state),
                "visit": visit_json(taking.state.visit),
            }

        return await self.events.run(cause, work)

    async def _fill(self, taking: _Taking, given: Submission, visit_id: str, actor: str) -> None:
        for name, (address, confirmed) in given.addresses.items():
            await self._give(taking, name, address, actor)
            if confirmed:
                taking.do(cmd.ConfirmAddress(taking.at, taking.rules, name, actor))
        for promotion_id in given.promotion_ids:
            await self._apply(taking, promotion_id)
        if given.visit_starts_at is not None:
            await self._schedule(
                taking, visit_id, given.visit_starts_at, given.area_id, ev.Moved.CUSTOMER
            )
        for point_id in given.told:
            taking.do(cmd.TickPoint(taking.at, taking.rules, point_id, actor))
        taking.do(cmd.PlaceOrder(taking.at, taking.rules))

    # The visit.

    async def schedule_visit(
        self,
        cause: Cause,
        order_id: str,
        starts_at: int,
        area_id: str = "",
        reason: ev.Moved = ev.Moved.CUSTOMER,
    ) -> Answer:
        """Book a crew, or another time instead of the one that is booked. Also: visit.

        area_id: where the form has no address that decides it. reason: of moving; a visit that was
        missed is moved because of that. Where nobody is free, Rejected says the next_slots.
        """
        visit_id = self._ids()

        async def steps(taking: _Taking) -> Answer:
            await self._schedule(taking, visit_id, starts_at, area_id, reason)
            return {"visit": visit_json(taking.state.visit)}

        return await self._change(cause, order_id, steps)

    async def _schedule(
        self, taking: _Taking, visit_id: str, starts_at: int, area_id: str, reason: ev.Moved
    ) -> None:
        state, rules = taking.state, taking.rules
        want = await self._want(taking.tx.connection, taking, area_id)
        if not o.wants_visit(state, rules, want.area_id, starts_at, taking.now):
            return
        booking = await self._visits.book(
            taking.tx, taking.order_id, visit_id, want, starts_at, replacing=_held(state)
        )
        taking.do(cmd.ScheduleVisit(taking.at, rules, _visit(booking), reason))

    async def _want(
        self, connection: AsyncConnection, of: "_Taking | _Looking", area_id: str
    ) -> Want:
        """What visit is to be booked. Raises Rejected where none can be."""
        state, rules = of.state, of.rules
        address = o.visit_address(state, rules, of.now)
        need = o.visit_need(state, rules)
        assert need is not None
        if address is not None:
            found = await self._visits.area_of(connection, of.client_id, address)
            if area_id not in ("", found):
                raise Rejected(
                    "the address lies in another area", "area_id", more={"area_id": found}
                )
            area_id = found
        elif not area_id:
            if state.visit is None:
                raise Invalid("area_id", "is missing: no address of the form decides it")
            area_id = state.visit.area_id
        return Want(area_id, need.skill, need.minutes)

    async def release_visit(self, cause: Cause, order_id: str) -> Answer:
        """Of a draft: the crew is free again."""
        return await self._do(cause, order_id, lambda t: cmd.ReleaseVisit(t.at, t.rules))

    async def visit_outcome(
        self,
        cause: Cause,
        order_id: str,
        visit_id: str,
        outcome: Outcome,
        text: str = "",
        send_another: bool = False,
    ) -> Answer:
        """Also: visit, the one that the order has now; nobody_free.

        send_another: of a visit that was not done. The crew that can be there soonest is booked in
        the same transaction; one that did not come is not sent again. Where nobody is free, the
        outcome is recorded all the same, and nobody_free is true.
        """
        missed = _MISSED[outcome]
        if send_another and missed is None:
            raise Invalid("send_another", "of a visit that was done")
        next_id = self._ids()

        async def steps(taking: _Taking) -> Answer:
            taking.do(cmd.ReportVisit(taking.at, visit_id, missed, text))
            nobody_free = False
            if send_another and taking.state.visit_status is ev.VisitStatus.MISSED:
                nobody_free = not await self._send_another(taking, next_id)
            return {"visit": visit_json(taking.state.visit), "nobody_free": nobody_free}

        return await self._change(cause, order_id, steps)

    async def _send_another(self, taking: _Taking, visit_id: str) -> bool:
        state = taking.state
        visit = state.visit
        assert visit is not None
        want = await self._want(taking.tx.connection, taking, visit.area_id)
        absent = state.missed[visit.visit_id] is ev.MissedBy.CREW
        try:
            booking = await self._visits.book_soonest(
                taking.tx,
                taking.order_id,
                visit_id,
                want,
                taking.now,
                avoid_crew=visit.crew_id if absent else "",
            )
        except Rejected:
            return False
        taking.do(cmd.ScheduleVisit(taking.at, taking.rules, _visit(booking), ev.Moved.MISSED))
        return True

    async def slots(
        self,
        client_id: str,
        order_id: str,
        *,
        from_at: int | None = None,
        days: int = 14,
        limit: int = 50,
        area_id: str = "",
    ) -> list[Slot]:
        """When the order's visit can be. from_at: microseconds; left out: from now on."""
        looking = await self._look(client_id, order_id)
        async with self.events.reading() as connection:
            want = await self._want(connection, looking, area_id)
        start = looking.now if from_at is None else max(from_at, looking.now)
        return await self._visits.free(client_id, want, from_at=start, days=days, limit=limit)

    # After placement.

    async def confirm(self, cause: Cause, order_id: str, reference: str = "") -> Answer:
        """The client takes the order. reference: its own number of it."""
        return await self._do(cause, order_id, lambda t: cmd.ConfirmOrder(t.at, reference))

    async def fulfil(self, cause: Cause, order_id: str) -> Answer:
        """Also: after_sale_until."""

        async def steps(taking: _Taking) -> Answer:
            taking.do(cmd.FulfilOrder(taking.at, taking.rules))
            until = taking.state.after_sale_until
            assert until is not None
            return {"after_sale_until": rfc3339(until)}

        return await self._change(cause, order_id, steps)

    async def cancel(
        self, cause: Cause, order_id: str, reason: str, by: ev.Party, text: str = ""
    ) -> Answer:
        """reason: of the form's. A visit that has not taken place is free again."""
        return await self._do(
            cause, order_id, lambda t: cmd.CancelOrder(t.at, t.rules, reason, by, text)
        )

    async def after_sale(
        self, cause: Cause, order_id: str, outcome: ev.AfterSale, reason: str, text: str = ""
    ) -> Answer:
        """Within the client's period. reason: of the form's."""
        return await self._do(
            cause, order_id, lambda t: cmd.ReportAfterSale(t.at, t.rules, outcome, reason, text)
        )

    # Questions.

    async def get(self, client_id: str, order_id: str) -> Shown:
        found = await self._look(client_id, order_id)
        state, rules, now = found.state, found.rules, found.now
        quote, fault = None, ""
        try:
            quote = o.price(state, rules, now)
        except (Invalid, Rejected) as error:
            fault = error.reason
        is_draft = state.status is ev.Status.DRAFT
        return Shown(
            order_id,
            found.version,
            state,
            rules.form,
            quote,
            fault,
            o.checklist(state, rules, now),
            tuple(o.missing(state, rules, now)) if is_draft else (),
            o.steps(state, rules, now),
        )

    async def quote(self, client_id: str, order_id: str) -> tuple[Quote, bool]:
        """The present amount of a draft; the frozen one of what is placed, and True. Raises
        Rejected for a promotion that does not hold now."""
        found = await self._look(client_id, order_id)
        return o.price(found.state, found.rules, found.now), found.state.placed is not None

    async def history(self, client_id: str, order_id: str) -> list[Recorded[ev.Event]]:
        """Everything that happened to it, oldest first."""
        o.check_id("order_id", order_id)
        found = await self.events.history(ORDERS, client_id, order_id)
        if not found:
            raise NotFound("order")
        return found

    async def find(
        self, client_id: str, wanted: Filter, after: tuple[int, str] | None, limit: int
    ) -> list[store.Row]:
        """Newest draft first. after: drafted_at and order_id of the last one that was seen."""
        async with self.events.reading() as connection:
            return await store.orders(connection, client_id, wanted, after, limit)

    async def export(self, client_id: str, customer_id: str) -> list[store.Row]:
        """Everything that is held on a customer, readable, oldest first."""
        o.check_id("customer_id", customer_id)
        return await store.export(self.events, client_id, customer_id)

    # What commands have in common.

    async def _do(
        self, cause: Cause, order_id: str, make: Callable[[_Taking], cmd.Command]
    ) -> Answer:
        async def steps(taking: _Taking) -> Answer:
            taking.do(make(taking))
            return {}

        return await self._change(cause, order_id, steps)

    async def _change(self, cause: Cause, order_id: str, steps: Steps) -> Answer:
        o.check_id("order_id", order_id)
        at = self._clock.now_us()

        async def work(tx: Transaction) -> Answer:
            state, version = await tx.load(ORDERS, order_id)
            if version == 0:
                raise NotFound("order")
            rules = await self._rules(tx.connection, cause.client_id, state)
            taking = _Taking(tx, order_id, state, version, rules, at)
            more = await steps(taking)
            return {"order_id": order_id, "version": await taking.end(), **more}

        return await self.events.run(cause, work)

    async def _begin(self, tx: Transaction, order_id: str, new: NewDraft, at: int) -> _Taking:
        """A new order, by the product's form as it is now; or the one that has been begun so."""
        client_id = tx.cause.client_id
        state, version = await tx.load(ORDERS, order_id)
        if version:
            rules = await self._rules(tx.connection, client_id, state)
            form_version = state.origin.form_version
        else:
            form_version, form = await self._forms.current(tx.connection, client_id, new.product_id)
            rules = _rules_of(form, {}, await self._zone(client_id))
        origin = ev.Origin(
            product_id=new.product_id,
            form_version=form_version,
            customer_id=new.customer_id,
            call_id=new.call_id,
            agent_id=new.agent_id,
            campaign_id=new.campaign_id,
            offer_id=new.offer_id,
            channel=new.channel,
        )
        taking = _Taking(tx, order_id, state, version, rules, at)
        taking.do(cmd.DraftOrder(at, rules, origin, new.answers, new.reference))
        return taking

    async def _look(self, client_id: str, order_id: str) -> "_Looking":
        o.check_id("order_id", order_id)
        state, version = await self.events.load(ORDERS, client_id, order_id)
        if version == 0:
            raise NotFound("order")
        async with self.events.reading() as connection:
            rules = await self._rules(connection, client_id, state)
        return _Looking(client_id, state, version, rules, max(self._clock.now_us(), state.at))

    async def _rules(self, connection: AsyncConnection, client_id: str, state: Order) -> cmd.Rules:
        origin = state.origin
        form = await self._forms.version(
            client_id, origin.product_id, origin.form_version, connection
        )
        # What is frozen asks no promotion any more.
        wanted = state.promotions if state.placed is None else ()
        promotions = {}
        if wanted:
            promotions = await self._promotions.many(connection, client_id, wanted)
        return _rules_of(form, promotions, await self._zone(client_id))

    async def _area_of(self, taking: _Taking, address: Address) -> str:
        return await self._visits.area_of(taking.tx.connection, taking.client_id, address)

    def _id_of(self, cause: Cause, given: str | None) -> str:
        """An id that is given, or follows from the idempotency key, or is new."""
        if given is not None:
            o.check_id("order_id", given)
            return given
        if cause.idempotency_key is not None:
            return derived_id(cause.client_id, "order", cause.idempotency_key)
        return self._ids()


@dataclass(frozen=True, slots=True)
class _Looking:
    """One order as it is now, for a question."""

    client_id: str
    state: Order
    version: int
    rules: cmd.Rules
    now: int


def _rules_of(form: Form, promotions: Mapping[str, Promotion], zone: ZoneInfo) -> cmd.Rules:
    def faults(answers: Mapping[str, Any], partial: bool) -> list[tuple[str, str]]:
        return schema.faults(form, answers, partial=partial)

    return cmd.Rules(form, promotions, faults, zone)


def _normalised(name: str, address: Address) -> Address:
    try:
        return normalise(address)
    except Invalid as error:
        raise Invalid(f"addresses.{name}.{error.field}", error.reason) from None


def _held(state: Order) -> str:
    """The visit whose crew is free again when another is booked."""
    if state.visit is None or state.visit_status is not ev.VisitStatus.SCHEDULED:
        return ""
    return state.visit.visit_id


def _visit(booking: Booking) -> ev.Visit:
    return ev.Visit(
        booking.visit_id,
        booking.crew_id,
        booking.area_id,
        booking.skill,
        booking.starts_at,
        booking.ends_at,
    )


def _is_the_same(state: Order, given: Submission) -> bool:
    """Whether the order is what this submission would make. What the client did with it since is
    no difference."""
    addresses = {name: one.address for name, one in state.addresses.items()}
    return (
        state.placed is not None
        and given.answers.items() <= state.values.items()
        and addresses == {name: address for name, (address, _) in given.addresses.items()}
        and set(state.promotions) == set(given.promotion_ids)
    )


def _placed(state: Order) -> Answer:
    sale = state.sale
    assert sale is not None
    return {
        "status": state.status.value,
        "total": money_json(sale.total, sale.currency),
        "monthly": money_json(sale.monthly, sale.currency),
    }


# Answers are JSON.


def money_json(amount: Decimal, currency: str) -> dict[str, str] | None:
    """None where nothing is paid."""
    return {"amount": f"{amount:f}", "currency": currency} if currency else None


def visit_json(visit: ev.Visit | None) -> dict[str, str] | None:
    if visit is None:
        return None
    return {
        "visit_id": visit.visit_id,
        "crew_id": visit.crew_id,
        "area_id": visit.area_id,
        "skill": visit.skill,
        "starts_at": rfc3339(visit.starts_at),
        "ends_at": rfc3339(visit.ends_at),
    }
