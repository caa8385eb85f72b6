"""HTTP: orders, from the draft to what came after the sale. Agents take them; a client's own
system, a partner, submits whole ones and says what became of them. Whose orders are exported is in
the body: an id may be a person's own number."""

from dataclasses import asdict
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field, JsonValue

from eventkit.eventstore import Answer, Recorded
from eventkit.http import (
    Body,
    CauseOf,
    ClientOf,
    EventView,
    History,
    Id,
    Lax,
    Listing,
    PageOf,
    Text,
    Time,
    Whole,
    example,
    microseconds,
    problems,
    require,
    time_of,
)
from services.orders.addresses.api import AddressBody, AddressView
from services.orders.forms.form import FieldKind, Says
from services.orders.order import events as ev
from services.orders.order import order as o
from services.orders.order import service as s
from services.orders.order.store import Filter, Row, clear
from services.orders.prices.pricing import Line, Period, Quote
from services.orders.visits.api import Slots, SlotView

FieldName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$", examples=["pickup"])]
Code = Annotated[str, Field(pattern=rf"^{o.CODE.pattern}$", examples=["changed-mind"])]
Channel = Literal["voice", "chat", "email", "callback"]
StatusName = Literal[
    "draft", "placed", "confirmed", "fulfilled", "cancelled", "returned", "failed", "expired"
]
VisitState = Literal["none", "scheduled", "missed", "done"]
MAX_FIELDS = 200
Answers = Annotated[dict[FieldName, JsonValue], Field(max_length=MAX_FIELDS)]


# Bodies.


class DraftBody(Body):
    """customer_id: crm's. answers: by field, beside the form's defaults. agent_id: left out, the
    caller. reference: the client's own number of the order, where it is known already."""

    model_config = example(
        product_id="taxi",
        customer_id="cu-7001",
        call_id="c-1001",
        campaign_id="spring",
        answers={"passengers": 2},
    )

    order_id: Id | None = None
    product_id: Id
    customer_id: Id
    answers: Answers = Field(default_factory=dict)
    call_id: Id | None = None
    agent_id: Id | None = None
    campaign_id: Id | None = None
    offer_id: Id | None = None
    channel: Channel = "voice"
    reference: Id | None = None

    def new(self) -> s.NewDraft:
        return s.NewDraft(
            product_id=self.product_id,
            customer_id=self.customer_id,
            answers=self.answers,
            call_id=self.call_id or "",
            agent_id=self.agent_id or "",
            campaign_id=self.campaign_id or "",
            offer_id=self.offer_id or "",
            channel=self.channel,
            reference=self.reference or "",
            order_id=self.order_id,
        )


class SaveBody(Body):
    """answers: those that are other ones now; null takes one back."""

    model_config = example(answers={"passengers": 3, "note": None})

    answers: Answers


class TickBody(Body):
    """said: what was told with the point, as the order showed it in `says`; refused where it is
    something else by now. Left out: what it says now."""

    model_config = example(said="99.60 EUR, monthly 34.97 EUR")

    said: Annotated[Text, Field(max_length=500)] | None = None


class PromotionBody(Body):
    model_config = example(promotion_id="spring-10")

    promotion_id: Id


class VisitBody(Body):
    """area_id: where no address of the form decides it. reason: of moving one that is booked."""

    model_config = example(starts_at="2026-11-25T08:00:00Z")

    starts_at: Time
    area_id: Id | None = None
    reason: Literal["customer", "client", "crew"] = "customer"


class OutcomeBody(Body):
    """send_another: not done; book the crew that can be there soonest, at once."""

    model_config = example(outcome="crew_absent", send_another=True)

    outcome: Lax[s.Outcome]
    text: Text = ""
    send_another: bool = False


class ConfirmBody(Body):
    """reference: the client's own number of the order."""

    model_config = example(reference="SO-2026-0815")

    reference: Id | None = None


class CancelBody(Body):
    """reason: of the form's cancel_reasons."""

    model_config = example(reason="changed-mind", by="customer")

    reason: Code
    by: Lax[ev.Party]
    text: Text = ""


class AfterSaleBody(Body):
    """reason: of the form's after_sale_reasons."""

    model_config = example(outcome="returned", reason="not-as-described")

    outcome: Lax[ev.AfterSale]
    reason: Code
    text: Text = ""


class SubmittedAddress(AddressBody):
    """confirmed: it was read back to the customer, who said yes."""

    confirmed: bool = False


class SubmitBody(Body):
    """told: the points of the checklist that the customer has been told. visit_starts_at: where the
    form needs a visit; area_id: where no address decides it."""

    model_config = example(
        product_id="tariff",
        customer_id="cu-7001",
        answers={"tariff": "flat"},
        told=["price"],
        reference="SO-2026-0815",
    )

    order_id: Id | None = None
    product_id: Id
    customer_id: Id
    answers: Answers = Field(default_factory=dict)
    addresses: dict[FieldName, SubmittedAddress] = Field(default_factory=dict, max_length=20)
    promotion_ids: list[Id] = Field(default_factory=list, max_length=o.MAX_PROMOTIONS)
    told: list[Code] = Field(default_factory=list, max_length=50)
    visit_starts_at: Time | None = None
    area_id: Id | None = None
    campaign_id: Id | None = None
    offer_id: Id | None = None
    reference: Id | None = None

    def submission(self) -> s.Submission:
        return s.Submission(
            product_id=self.product_id,
            customer_id=self.customer_id,
            answers=self.answers,
            addresses={
                name: (address.domain(), address.confirmed)
                for name, address in self.addresses.items()
            },
            promotion_ids=self.promotion_ids,
            told=self.told,
            visit_starts_at=microseconds(self.visit_starts_at),
            area_id=self.area_id or "",
            campaign_id=self.campaign_id or "",
            offer_id=self.offer_id or "",
            reference=self.reference or "",
            order_id=self.order_id,
        )


class ExportBody(Body):
    model_config = example(customer_id="cu-7001")

    customer_id: Id


# Answers.


class Done(BaseModel):
    """version: of the order; a repeat leaves it as it is."""

    order_id: str
    version: int


class Drafted(Done):
    """expires_at: unless somebody goes on with it."""

    form_version: int
    expires_at: datetime


class Saved(Done):
    """visit_released: what was said makes the booked visit wrong, and its crew is free again."""

    visit_released: bool


class Ticked(Done):
    """said: the visit or the amount that the customer was told; empty where the point has none."""

    said: str


class Money(BaseModel):
    """amount: a decimal, such as 19.90. currency: ISO 4217."""

    amount: str
    currency: str


class Placed(Done):
    """total: to pay once; monthly: every month; null where nothing is paid."""

    status: ev.Status
    total: Money | None
    monthly: Money | None


class Visit(BaseModel):
    visit_id: str
    crew_id: str
    area_id: str
    skill: str
    starts_at: datetime
    ends_at: datetime


class Submitted(Placed):
    visit: Visit | None


class VisitBooked(Done):
    visit: Visit


class OutcomeReported(Done):
    """visit: the one that the order has now. nobody_free: another crew was to be sent, and none can
    come; the outcome is recorded all the same."""

    visit: Visit | None
    nobody_free: bool


class Fulfilled(Done):
    after_sale_until: datetime


class LineView(BaseModel):
    """why: how the amount comes about, in words. Empty once the customer is erased."""

    line_id: str
    label: str
    quantity: str
    unit: str
    amount: str
    period: Period
    discount: bool
    why: str


class QuoteView(BaseModel):
    """frozen: as it was placed; otherwise as of now."""

    total: Money | None
    monthly: Money | None
    lines: list[LineView]
    frozen: bool


class Origin(BaseModel):
    """Where the order comes from; null where there is none."""

    product_id: str
    form_version: int
    customer_id: str
    call_id: str | None
    agent_id: str | None
    campaign_id: str | None
    offer_id: str | None
    channel: str


class GivenAddress(BaseModel):
    """confirmed_at: the customer has heard it and said yes."""

    address: AddressView
    given_by: str
    given_at: datetime
    confirmed_by: str | None
    confirmed_at: datetime | None


class FieldView(BaseModel):
    """A field that is asked. answer: null where there is none; given: of an address."""

    name: str
    label: str
    help: str
    kind: FieldKind
    answer: JsonValue
    given: GivenAddress | None


class PointView(BaseModel):
    """says: what is told with it now, empty where the point has nothing of the kind, null where it
    cannot be told yet. said, by whom, when: what the customer was told; null: not yet. valid: that
    is still so; otherwise it has to be told again."""

    point_id: str
    text: str
    required: bool
    kind: Says
    says: str | None
    said: str | None
    told_by: str | None
    told_at: datetime | None
    valid: bool


class MissingView(BaseModel):
    field: str
    reason: str


class OrderView(BaseModel):
    """An order with the form that it was taken with. visit: the last one. missing: what a draft
    needs before it can be placed. next: what may be done now. Answers, addresses and texts are
    empty once the customer is erased."""

    order_id: str
    version: int
    status: ev.Status
    title: str
    origin: Origin
    reference: str | None
    drafted_at: datetime
    expires_at: datetime | None
    placed_at: datetime | None
    confirmed_at: datetime | None
    fulfilled_at: datetime | None
    after_sale_until: datetime | None
    ended_at: datetime | None
    end_reason: str | None
    cancelled_by: ev.Party | None
    end_text: str
    fields: list[FieldView]
    checklist: list[PointView]
    promotion_ids: list[str]
    quote: QuoteView | None
    quote_fault: str | None
    visit: Visit | None
    visit_status: VisitState
    visit_overdue: bool
    missing: list[MissingView]
    next: list[str]


class Summary(BaseModel):
    """total, monthly: null until it is placed, and where nothing is paid."""

    order_id: str
    version: int
    status: ev.Status
    origin: Origin
    reference: str | None
    drafted_at: datetime
    expires_at: datetime | None
    placed_at: datetime | None
    confirmed_at: datetime | None
    fulfilled_at: datetime | None
    after_sale_until: datetime | None
    ended_at: datetime | None
    end_reason: str | None
    cancelled_by: ev.Party | None
    total: Money | None
    monthly: Money | None
    visit: Visit | None
    visit_status: VisitState
    visit_overdue: bool


class Export(BaseModel):
    """Every event of every order of the customer, oldest first, readable."""

    customer_id: str
    items: list[dict[str, Any]]


def router(service: s.Orders) -> APIRouter:
    api = APIRouter(prefix="/v1/clients/{client_id}/orders", tags=["orders"])
    _taking(api, service)
    _visits(api, service)
    _placed(api, service)
    _questions(api, service)
    return api


_PARTNER = [require("partner")]


def _doing(model: type[BaseModel] = Done, **more: Any) -> dict[str, Any]:
    return {"response_model": model, "responses": problems(409), **more}


def _taking(api: APIRouter, service: s.Orders) -> None:
    @api.post("", status_code=201, operation_id="draftOrder", **_doing(Drafted))
    async def draft(cause: CauseOf, body: DraftBody) -> Answer:
        """Begin an order on the product's form as it is now. It expires unless it is gone on
        with."""
        return await service.draft(cause, body.new())

    @api.post(
        "/submit",
        status_code=201,
        operation_id="submitOrder",
        **_doing(Submitted, dependencies=_PARTNER),
    )
    async def submit(cause: CauseOf, body: SubmitBody) -> Answer:
        """A whole order that was taken elsewhere: drafted, filled in, its visit booked, placed; or
        not at all."""
        return await service.submit(cause, body.submission())

    @api.post("/{order_id}/answers", operation_id="saveOrderAnswers", **_doing(Saved))
    async def save(cause: CauseOf, order_id: Id, body: SaveBody) -> Answer:
        """Save what has been said so far. What is not asked any more loses its answer."""
        return await service.save(cause, order_id, body.answers)

    @api.post("/{order_id}/addresses/{field}", operation_id="giveOrderAddress", **_doing(Saved))
    async def give(cause: CauseOf, order_id: Id, field: FieldName, body: AddressBody) -> Answer:
        """Normalised as its country writes it. Another one has to be confirmed anew; where it lies
        in another area, the booked visit is let go."""
        return await service.give_address(cause, order_id, field, body.domain())

    @api.post(
        "/{order_id}/addresses/{field}/confirm", operation_id="confirmOrderAddress", **_doing()
    )
    async def confirm_address(cause: CauseOf, order_id: Id, field: FieldName) -> Answer:
        """It was read back to the customer, who said yes."""
        return await service.confirm_address(cause, order_id, field)

    @api.post("/{order_id}/promotions", operation_id="applyOrderPromotion", **_doing())
    async def apply(cause: CauseOf, order_id: Id, body: PromotionBody) -> Answer:
        """One that is valid now, and for this product."""
        return await service.apply_promotion(cause, order_id, body.promotion_id)

    @api.post(
        "/{order_id}/promotions/{promotion_id}/remove",
        operation_id="removeOrderPromotion",
        **_doing(),
    )
    async def remove(cause: CauseOf, order_id: Id, promotion_id: Id) -> Answer:
        """It costs what it costs without."""
        return await service.remove_promotion(cause, order_id, promotion_id)

    @api.post("/{order_id}/points/{point_id}/tick", operation_id="tickOrderPoint", **_doing(Ticked))
    async def tick(
        cause: CauseOf, order_id: Id, point_id: Code, body: TickBody | None = None
    ) -> Answer:
        """The customer was told, with the visit or the amount as they are now."""
        return await service.tick(cause, order_id, point_id, body.said if body else None)

    @api.post("/{order_id}/points/{point_id}/untick", operation_id="untickOrderPoint", **_doing())
    async def untick(cause: CauseOf, order_id: Id, point_id: Code) -> Answer:
        """The customer was not told after all."""
        return await service.untick(cause, order_id, point_id)

    @api.post("/{order_id}/place", operation_id="placeOrder", **_doing(Placed))
    async def place(cause: CauseOf, order_id: Id) -> Answer:
        """Freeze answers, checklist and amount. What is missing is in `missing` of the problem."""
        return await service.place(cause, order_id)


def _visits(api: APIRouter, service: s.Orders) -> None:
    @api.get(
        "/{order_id}/slots",
        response_model=Slots,
        operation_id="listOrderSlots",
        responses=problems(409),
    )
    async def slots(
        client_id: ClientOf,
        order_id: Id,
        begin: Annotated[Time | None, Query(alias="from", description="Left out: now.")] = None,
        days: Annotated[Whole, Query(ge=1, le=31)] = 14,
        limit: Annotated[Whole, Query(ge=1, le=200)] = 50,
        area_id: Annotated[Id | None, Query()] = None,
    ) -> Slots:
        """When the order's visit can be: by the form's skill and time, in the address's area."""
        found = await service.slots(
            client_id,
            order_id,
            from_at=microseconds(begin),
            days=days,
            limit=limit,
            area_id=area_id or "",
        )
        return Slots(
            slots=[
                SlotView(
                    starts_at=time_of(slot.starts_at),
                    ends_at=time_of(slot.ends_at),
                    crews=slot.crews,
                )
                for slot in found
            ]
        )

    @api.post("/{order_id}/visit", operation_id="scheduleOrderVisit", **_doing(VisitBooked))
    async def schedule(cause: CauseOf, order_id: Id, body: VisitBody) -> Answer:
        """Book a crew; or another time instead of the booked one, until the visit is done. Where
        nobody is free, the problem has `next_slots`."""
        return await service.schedule_visit(
            cause,
            order_id,
            microseconds(body.starts_at),
            body.area_id or "",
            ev.Moved(body.reason),
        )

    @api.post("/{order_id}/visit/release", operation_id="releaseOrderVisit", **_doing())
    async def release(cause: CauseOf, order_id: Id) -> Answer:
        """Of a draft: the crew is free again."""
        return await service.release_visit(cause, order_id)

    @api.post(
        "/{order_id}/visits/{visit_id}/outcome",
        operation_id="reportOrderVisit",
        **_doing(OutcomeReported, dependencies=_PARTNER),
    )
    async def outcome(cause: CauseOf, order_id: Id, visit_id: Id, body: OutcomeBody) -> Answer:
        """How the visit went. The crew did not come: the one that can be there soonest is booked
        in the same step."""
        return await service.visit_outcome(
            cause, order_id, visit_id, body.outcome, body.text, body.send_another
        )


def _placed(api: APIRouter, service: s.Orders) -> None:
    @api.post("/{order_id}/confirm", operation_id="confirmOrder", **_doing(dependencies=_PARTNER))
    async def confirm(cause: CauseOf, order_id: Id, body: ConfirmBody) -> Answer:
        """The client takes it."""
        return await service.confirm(cause, order_id, body.reference or "")

    @api.post(
        "/{order_id}/fulfil",
        operation_id="fulfilOrder",
        **_doing(Fulfilled, dependencies=_PARTNER),
    )
    async def fulfil(cause: CauseOf, order_id: Id) -> Answer:
        """The customer has what was ordered. Not before the visit is done."""
        return await service.fulfil(cause, order_id)

    @api.post("/{order_id}/cancel", operation_id="cancelOrder", **_doing(dependencies=_PARTNER))
    async def cancel(cause: CauseOf, order_id: Id, body: CancelBody) -> Answer:
        """Until it is fulfilled. A visit that has not taken place is free again."""
        return await service.cancel(cause, order_id, body.reason, body.by, body.text)

    @api.post(
        "/{order_id}/after-sale",
        operation_id="reportOrderAfterSale",
        **_doing(dependencies=_PARTNER),
    )
    async def after_sale(cause: CauseOf, order_id: Id, body: AfterSaleBody) -> Answer:
        """Returned or failed, within the client's period."""
        return await service.after_sale(cause, order_id, body.outcome, body.reason, body.text)

    @api.post(
        "/export",
        operation_id="exportOrders",
        **_doing(Export, dependencies=[require("admin")]),
    )
    async def export(cause: CauseOf, body: ExportBody) -> Export:
        """Everything that is held on a customer."""
        items = await service.export(cause.client_id, body.customer_id)
        return Export(customer_id=body.customer_id, items=items)


def _questions(api: APIRouter, service: s.Orders) -> None:
    @api.get("", response_model=Listing[Summary], operation_id="listOrders")
    async def find(
        client_id: ClientOf,
        page: PageOf,
        status: StatusName | None = None,
        product_id: Annotated[Id | None, Query()] = None,
        customer_id: Annotated[Id | None, Query(description="crm's id")] = None,
        call_id: Annotated[Id | None, Query()] = None,
        agent_id: Annotated[Id | None, Query()] = None,
        reference: Annotated[Id | None, Query()] = None,
        drafted_from: Annotated[Time | None, Query()] = None,
        drafted_before: Annotated[Time | None, Query()] = None,
        overdue: Annotated[
            bool, Query(description="only those whose visit nobody has said the outcome of")
        ] = False,
    ) -> dict[str, Any]:
        """Newest draft first."""
        after = page.after(int, str)
        rows = await service.find(
            client_id,
            Filter(
                status=None if status is None else ev.Status(status),
                product_id=product_id or "",
                customer_id=customer_id or "",
                call_id=call_id or "",
                agent_id=agent_id or "",
                reference=reference or "",
                drafted_from=microseconds(drafted_from),
                drafted_before=microseconds(drafted_before),
                overdue=overdue,
            ),
            (after[0], after[1]) if after else None,
            page.rows,
        )
        listing = page.of(rows, key=lambda row: (row["drafted_at"], row["order_id"]))
        return {**listing, "items": [_summary(row) for row in listing["items"]]}

    @api.get(
        "/{order_id}", response_model=OrderView, operation_id="getOrder", dependencies=_PARTNER
    )
    async def get(client_id: ClientOf, order_id: Id) -> OrderView:
        """One order with its form, what the customer was told, and what may be done next."""
        return _view(await service.get(client_id, order_id))

    @api.get(
        "/{order_id}/quote",
        response_model=QuoteView,
        operation_id="getOrderQuote",
        responses=problems(409),
        dependencies=_PARTNER,
    )
    async def quote(client_id: ClientOf, order_id: Id) -> QuoteView:
        """What it costs and why: as of now, or as it was placed."""
        made, frozen = await service.quote(client_id, order_id)
        return _quote(made, frozen)

    @api.get("/{order_id}/history", response_model=History, operation_id="getOrderHistory")
    async def history(client_id: ClientOf, order_id: Id) -> dict[str, Any]:
        """Everything that happened to it, oldest first, without what is personal."""
        return {"items": [_event(fact) for fact in await service.history(client_id, order_id)]}


# Views.


def _view(shown: s.Shown) -> OrderView:
    state, ended = shown.state, shown.state.ended
    return OrderView(
        order_id=shown.order_id,
        version=shown.version,
        status=state.status,
        title=shown.form.title,
        origin=_origin(asdict(state.origin)),
        reference=state.reference or None,
        drafted_at=time_of(state.drafted_at),
        expires_at=time_of(state.expires_at) if state.status is ev.Status.DRAFT else None,
        placed_at=time_of(state.placed.at) if state.placed else None,
        confirmed_at=time_of(state.confirmed_at),
        fulfilled_at=time_of(state.fulfilled_at),
        after_sale_until=time_of(state.after_sale_until),
        ended_at=time_of(state.ended_at),
        end_reason=ended.reason if ended else None,
        cancelled_by=ended.by if isinstance(ended, ev.OrderCancelled) else None,
        end_text=ended.text if ended else "",
        fields=_fields(shown),
        checklist=[_point(told) for told in shown.checklist],
        promotion_ids=list(state.promotions),
        quote=_quote(shown.quote, state.placed is not None) if shown.quote else None,
        quote_fault=shown.quote_fault or None,
        visit=_visit(state.visit),
        visit_status=state.visit_status.value,
        visit_overdue=state.overdue and state.visit_status is ev.VisitStatus.SCHEDULED,
        missing=[MissingView(field=name, reason=reason) for name, reason in shown.missing],
        next=list(shown.steps),
    )


def _fields(shown: s.Shown) -> list[FieldView]:
    values = shown.state.values
    return [
        FieldView(
            name=field.name,
            label=field.label,
            help=field.help,
            kind=field.kind,
            answer=values.get(field.name),
            given=_given(shown.state.addresses.get(field.name)),
        )
        for field in shown.form.shown(values)
    ]


def _given(given: ev.Given | None) -> GivenAddress | None:
    if given is None:
        return None
    return GivenAddress(
        address=AddressView.of(given.address),
        given_by=given.given_by,
        given_at=time_of(given.given_at),
        confirmed_by=given.confirmed_by or None,
        confirmed_at=time_of(given.confirmed_at),
    )


def _point(told: o.Told) -> PointView:
    point, tick = told.point, told.tick
    return PointView(
        point_id=point.point_id,
        text=point.text,
        required=point.required,
        kind=point.says,
        says=told.says,
        said=tick.said if tick else None,
        told_by=tick.agent_id if tick else None,
        told_at=time_of(tick.at) if tick else None,
        valid=told.holds,
    )


def _quote(made: Quote, frozen: bool) -> QuoteView:
    return QuoteView(
        total=_money(made.total, made.currency),
        monthly=_money(made.monthly, made.currency),
        lines=[_line(line) for line in made.lines],
        frozen=frozen,
    )


def _line(line: Line) -> LineView:
    return LineView(
        line_id=line.line_id,
        label=line.label,
        quantity=f"{line.quantity:f}",
        unit=f"{line.unit:f}",
        amount=f"{line.amount:f}",
        period=line.period,
        discount=line.discount,
        why=line.why,
    )


def _money(amount: Decimal | None, currency: str) -> Money | None:
    if amount is None or not currency:
        return None
    return Money(amount=f"{amount:f}", currency=currency)


def _visit(visit: ev.Visit | None) -> Visit | None:
    if visit is None:
        return None
    return Visit(
        visit_id=visit.visit_id,
        crew_id=visit.crew_id,
        area_id=visit.area_id,
        skill=visit.skill,
        starts_at=time_of(visit.starts_at),
        ends_at=time_of(visit.ends_at),
    )


def _origin(row: Row) -> Origin:
    return Origin(
        product_id=row["product_id"],
        form_version=row["form_version"],
        customer_id=row["customer_id"],
        call_id=row["call_id"] or None,
        agent_id=row["agent_id"] or None,
        campaign_id=row["campaign_id"] or None,
        offer_id=row["offer_id"] or None,
        channel=row["channel"],
    )


def _summary(row: Row) -> Summary:
    visit = None
    if row["visit_id"]:
        visit = Visit(
            visit_id=row["visit_id"],
            crew_id=row["crew_id"],
            area_id=row["area_id"],
            skill=row["skill"],
            starts_at=time_of(row["visit_starts_at"]),
            ends_at=time_of(row["visit_ends_at"]),
        )
    return Summary(
        order_id=row["order_id"],
        version=row["version"],
        status=row["status"],
        origin=_origin(row),
        reference=row["reference"] or None,
        drafted_at=time_of(row["drafted_at"]),
        expires_at=time_of(row["expires_at"]),
        placed_at=time_of(row["placed_at"]),
        confirmed_at=time_of(row["confirmed_at"]),
        fulfilled_at=time_of(row["fulfilled_at"]),
        after_sale_until=time_of(row["after_sale_until"]),
        ended_at=time_of(row["ended_at"]),
        end_reason=row["end_reason"] or None,
        cancelled_by=ev.Party(row["cancelled_by"]) if row["cancelled_by"] else None,
        total=_money(row["total"], row["currency"]),
        monthly=_money(row["monthly"], row["currency"]),
        visit=visit,
        visit_status=row["visit_status"],
        visit_overdue=row["visit_overdue"],
    )


def _event(fact: Recorded[ev.Event]) -> EventView:
    details = clear(fact.event)
    return EventView(
        version=fact.version,
        event=type(fact.event).__name__,
        occurred_at=time_of(fact.event.at),
        recorded_at=time_of(fact.recorded_at),
        actor=fact.actor,
        details={name: value for name, value in details.items() if name not in ("at", "origin")},
    )
