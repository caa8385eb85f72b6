"""HTTP: leads, their callbacks and previews, imports of lists. Whom it is about is in bodies only.

Agents build lists and enrich them; supervisors import, reopen and forget.
"""

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field, StringConstraints

from eventkit.errors import Unavailable
from eventkit.eventstore import Answer
from eventkit.http import (
    Body,
    CauseOf,
    ClientOf,
    History,
    Id,
    Lax,
    Listing,
    PageOf,
    Time,
    Whole,
    example,
    microseconds,
    problems,
    require,
    time_of,
)
from services.dialer.history import event_view
from services.dialer.leads import lines
from services.dialer.leads.events import Address
from services.dialer.leads.lead import CODE, MAX_ATTRIBUTES, MAX_NUMBERS, MAX_PRIORITY
from services.dialer.leads.listimport import Counts, Duplicates, Plan, Scope, total
from services.dialer.leads.service import MAX_LINES, Known, Leads, Wanted
from services.dialer.leads.store import LEADS, Filter, Row
from services.dialer.leads.winback import CrmCustomers

Code = Annotated[str, Field(pattern=rf"^{CODE.pattern}$", examples=["wrong-person"])]
Value = Annotated[str, StringConstraints(max_length=lines.MAX_TEXT)]
Short = Annotated[str, StringConstraints(max_length=lines.MAX_CODE)]
Column = Annotated[str, StringConstraints(max_length=lines.MAX_NAME)]
Country = Annotated[
    str,
    Field(
        max_length=100,
        description="ISO 3166 country of the numbers that are given without their country's code.",
        examples=["FR"],
    ),
]
Priority = Annotated[Whole, Field(ge=0, le=MAX_PRIORITY)]
StatusName = Literal["waiting", "previewed", "dialling", "closed"]
# Any length: what is wrong with a line is reported for the line.
Cells = Annotated[list[str], Field(max_length=lines.MAX_COLUMNS)]
LineNumber = Annotated[int, Field(ge=1, le=2**31)]

EXAMPLE = {
    "campaign_id": "spring-win-back",
    "list_id": "may",
    "numbers": ["06 12 34 56 78", "+33 1 42 68 53 00"],
    "name": "Anaïs Lefèvre",
    "address": {"lines": "12 rue des Lilas\nParis", "postal_code": "75011", "country": "FR"},
    "attributes": {"contract": "Duo"},
    "country": "FR",
}


class AddressBody(Body):
    """region, country: codes or names; they say, with the number, which hours hold."""

    lines: Value = ""
    postal_code: Short = ""
    region: Short = ""
    country: Annotated[str, Field(max_length=100)] = ""

    def domain(self) -> Address:
        return Address(self.lines, self.postal_code, self.region, self.country)


class DetailsBody(Body):
    """What is named is set. reference: the client's own id of it. zone: IANA, where it is known."""

    numbers: Annotated[list[Short], Field(min_length=1, max_length=MAX_NUMBERS)] | None = None
    name: Column | None = None
    address: AddressBody | None = None
    reference: Short | None = None
    attributes: Annotated[dict[Column, Value], Field(max_length=MAX_ATTRIBUTES)] | None = None
    zone: Annotated[str, Field(max_length=100)] | None = None
    priority: Priority | None = None
    country: Country = ""

    def wanted(self) -> Wanted:
        return Wanted(
            self.numbers,
            self.name,
            None if self.address is None else self.address.domain(),
            self.reference,
            self.attributes,
            self.zone,
            self.priority,
            self.country,
        )


class NewLead(DetailsBody):
    """customer_id: crm's, where it knows the person. due_at: not before; now, if left out."""

    model_config = example(EXAMPLE)

    campaign_id: Id
    list_id: Id = "by-hand"
    customer_id: Id | None = None
    due_at: Time | None = None


class Correction(DetailsBody):
    """numbers: all of them; one that is left out is gone."""

    model_config = example({"numbers": ["+33612345678"], "attributes": {"contract": "Solo"}})


class Reason(Body):
    model_config = example({"reason": "withdrawn"})

    reason: Code


class Reopening(Body):
    model_config = example({"due_at": "2026-11-30T09:00:00Z"})

    due_at: Time | None = None


class Promise(Body):
    """The window in which the customer wants to be called. agent_id: who has promised it in person;
    left out: anybody calls. attempt_id: during which attempt."""

    model_config = example(
        {"from_at": "2026-11-30T16:00:00Z", "until_at": "2026-11-30T17:00:00Z", "agent_id": "ann"}
    )

    from_at: Time
    until_at: Time
    agent_id: Id | None = None
    attempt_id: Id | None = None


class Accepting(Body):
    model_config = example({"agent_id": "ann"})

    agent_id: Id


class Skipping(Body):
    model_config = example({"agent_id": "ann", "reason": "wrong-language"})

    agent_id: Id
    reason: Code


class PlanBody(Body):
    """What holds for all lines of a list.

    header     of the columns; `columns` says what those are that are not known by their name: one
               of the fields below, `attribute`, or `-` for one to leave out
    country, priority  of lines that do not say it; due_at: not before
    duplicates, scope  what becomes of a line with a number that a lead of this list, campaign or
               client has: `reject`, `keep` (it is added), or `merge` (into that lead)

    Fields: reference, name, first_name, last_name, numbers, address, postal_code, city, region,
    country, zone, priority, customer_id.
    """

    campaign_id: Id
    list_id: Id
    header: Annotated[list[Column], Field(min_length=1, max_length=lines.MAX_COLUMNS)]
    columns: dict[Column, Column] = Field(default={})
    country: Country = ""
    priority: Priority = 0
    due_at: Time | None = None
    duplicates: Lax[Duplicates] = Duplicates.REJECT
    scope: Lax[Scope] = Scope.CAMPAIGN

    def plan(self) -> Plan:
        return Plan(
            self.campaign_id,
            self.list_id,
            tuple(self.header),
            self.columns,
            lines.country(self.country),
            self.priority,
            microseconds(self.due_at) or 0,
            self.duplicates,
            self.scope,
        )


class NewImport(PlanBody):
    """import_id: of one's own, so that the same import can be gone on with."""

    model_config = example(
        {
            "import_id": "may-2026",
            "campaign_id": "spring-win-back",
            "list_id": "may",
            "header": ["Nom", "Portable", "Contrat"],
            "country": "FR",
        }
    )

    import_id: Id


class LinesBody(Body):
    """rows: [number of the line, [its cells]]. broken: [number, why it cannot be read]."""

    rows: list[Lax[tuple[LineNumber, Cells]]] = Field(default=[], max_length=MAX_LINES)
    broken: list[Lax[tuple[LineNumber, Column]]] = Field(default=[], max_length=MAX_LINES)


class PartBody(LinesBody):
    model_config = example({"rows": [[2, ["Émile Roux", "06 12 34 56 78", "Duo"]]]})


class Trial(PlanBody, LinesBody):
    model_config = example(
        {
            "campaign_id": "spring-win-back",
            "list_id": "may",
            "header": ["Nom", "Portable", "Contrat"],
            "country": "FR",
            "rows": [[2, ["Émile Roux", "06 12 34 56 78", "Duo"]]],
        }
    )


class Feeding(Body):
    """offer_id: what was refused, for one of `reasons` (none: for any), since then."""

    model_config = example({"offer_id": "fibre-xl", "reasons": ["too-expensive"]})

    offer_id: Id
    reasons: Annotated[list[Id], Field(max_length=50)] = Field(default=[])
    since: Time | None = None


class Fed(BaseModel):
    """known: added before, or leads of the campaign by their number."""

    added: int
    known: int
    without_number: int


class Changed(BaseModel):
    """version: of the lead, the number of its events."""

    lead_id: str
    version: int
    status: str


class CallbackView(BaseModel):
    """agent_id: who promised it in person. escalated: nobody has called within the window, and it
    is anybody's now."""

    from_at: datetime
    until_at: datetime
    escalated: bool


class LeadRow(BaseModel):
    """A lead without what is personal. due_at: when its turn is. agent_id: who alone may have it
    dialled, or looks at it."""

    lead_id: str
    version: int
    campaign_id: str
    list_id: str
    customer_id: str
    status: str
    due_at: datetime
    place: str
    agent_id: str
    attempt_id: str
    attempts: int
    last_because: str
    callback: CallbackView | None
    closed_reason: str
    source: str
    added_at: datetime
    changed_at: datetime

    @classmethod
    def values(cls, row: Row) -> dict[str, Any]:
        until = row["callback_until"]
        callback = None
        if until is not None:
            callback = CallbackView(
                from_at=time_of(row["callback_from"]),
                until_at=time_of(until),
                escalated=row["callback_escalated"],
            )
        times = {name: time_of(row[name]) for name in ("due_at", "added_at", "changed_at")}
        known = {name: row[name] for name in LeadRow.model_fields if name in row}
        return known | times | {"callback": callback}


class NumberView(BaseModel):
    """place: where it may ring. barred: it is never to be dialled."""

    number_id: str
    number: str
    place: str
    kind: str
    barred: bool


class LeadView(LeadRow):
    """A lead with what is personal; empty once the person is erased."""

    numbers: list[NumberView]
    name: str
    address: AddressBody
    reference: str
    attributes: dict[str, str]
    zone: str
    priority: int

    @classmethod
    def of(cls, known: Known) -> "LeadView":
        lead = known.lead
        address = lead.address
        return cls(
            **LeadRow.values(known.row),
            numbers=[
                NumberView(
                    number_id=each.number_id,
                    number=lead.phones.get(each.number_id, ""),
                    place=each.place,
                    kind=each.kind,
                    barred=each.number_id in lead.barred,
                )
                for each in lead.numbers
            ],
            name=lead.name,
            address=AddressBody(
                lines=address.lines,
                postal_code=address.postal_code,
                region=address.region,
                country=address.country,
            ),
            reference=lead.reference,
            attributes=dict(lead.attributes),
            zone=lead.zone,
            priority=lead.priority,
        )


class Total(BaseModel):
    list_id: str
    status: str
    reason: str
    number: int


class Totals(BaseModel):
    """How many leads there are. reason: of closed ones."""

    items: list[Total]


class CountsView(BaseModel):
    """Lines. kept: of those added, duplicates that were kept. duplicates: not added; of those,
    merged. elsewhere: of those added, how many have a number that another client's lead has too."""

    added: int
    rejected: int
    duplicates: int
    kept: int
    merged: int
    elsewhere: int

    @classmethod
    def of(cls, counts: Counts) -> "CountsView":
        return cls(**{name: getattr(counts, name) for name in cls.model_fields})


class Opened(BaseModel):
    """fields: what each column is, "" for one that is left out. parts: that are imported."""

    import_id: str
    fields: list[str]
    parts: list[int]


class LineView(BaseModel):
    """lead_id: the lead that was known. field, reason: why the line was rejected."""

    line: int
    outcome: Literal["duplicate", "merged", "kept", "rejected"]
    lead_id: str = ""
    field: str = ""
    reason: str = ""


class PartReport(BaseModel):
    """lines: those that were not simply added."""

    counts: CountsView
    lines: list[LineView]


class TrialReport(PartReport):
    """marks: by line, of those that would be added: a line of another request with one of these is
    a duplicate."""

    fields: list[str]
    marks: dict[str, list[str]]


class Finished(BaseModel):
    import_id: str
    counts: CountsView


class ImportRow(BaseModel):
    import_id: str
    campaign_id: str
    list_id: str
    opened_at: datetime
    finished_at: datetime | None


class ImportView(BaseModel):
    """counts: so far. parts: that are imported."""

    import_id: str
    campaign_id: str
    list_id: str
    finished: bool
    parts: list[int]
    counts: CountsView


def router(service: Leads, crm: CrmCustomers | None = None) -> APIRouter:
    """crm: who refused an offer is asked there."""
    api = APIRouter(prefix="/v1/clients/{client_id}", tags=["leads"])
    supervisor = [require("supervisor")]
    partner = [require("partner")]
    refused = problems(404, 409)

    # Lists.

    @api.get("/lead-imports", response_model=Listing[ImportRow], dependencies=supervisor)
    async def list_imports(client_id: ClientOf, page: PageOf) -> dict[str, Any]:
        after = page.after(str)
        rows = await service.imports(client_id, after[0] if after else "", page.rows)
        answer = page.of(rows, key=lambda row: (row["import_id"],))
        for row in answer["items"]:
            row |= {name: time_of(row[name]) for name in ("opened_at", "finished_at")}
        return answer

    @api.post(
        "/lead-imports",
        response_model=Opened,
        responses=problems(404, 409),
        dependencies=supervisor,
    )
    async def open_import(cause: CauseOf, body: NewImport) -> Answer:
        """Begin to import a list, or go on with it: `parts` are imported already."""
        return await service.open_import(cause, body.import_id, body.plan())

    @api.post(
        "/lead-imports/dry-run",
        response_model=TrialReport,
        response_model_exclude_defaults=True,
        responses=problems(404),
        dependencies=supervisor,
    )
    async def try_import(client_id: ClientOf, body: Trial) -> Answer:
        """What would become of these lines; nothing changes."""
        return await service.try_import(client_id, body.plan(), body.rows, body.broken)

    @api.put(
        "/lead-imports/{import_id}/parts/{part}",
        response_model=PartReport,
        response_model_exclude_defaults=True,
        responses=refused,
        dependencies=supervisor,
    )
    async def fill_import(
        cause: CauseOf, import_id: Id, part: Annotated[int, Field(ge=0, le=10**6)], body: PartBody
    ) -> Answer:
        """Import some lines. The same part again changes nothing, whatever has happened before."""
        return await service.fill(cause, import_id, part, body.rows, body.broken)

    @api.post(
        "/lead-imports/{import_id}/finish",
        response_model=Finished,
        responses=refused,
        dependencies=supervisor,
    )
    async def finish_import(cause: CauseOf, import_id: Id) -> Answer:
        return await service.finish_import(cause, import_id)

    @api.get(
        "/lead-imports/{import_id}",
        response_model=ImportView,
        responses=problems(404),
        dependencies=supervisor,
    )
    async def get_import(client_id: ClientOf, import_id: Id) -> ImportView:
        state, parts = await service.imported(client_id, import_id)
        assert state.plan is not None
        return ImportView(
            import_id=import_id,
            campaign_id=state.plan.campaign_id,
            list_id=state.plan.list_id,
            finished=state.finished,
            parts=list(parts),
            counts=CountsView.of(total(parts.values())),
        )

    # Leads.

    @api.post("/leads", status_code=201, response_model=Changed, responses=refused)
    async def add_lead(cause: CauseOf, body: NewLead) -> Answer:
        return await service.add(
            cause,
            body.campaign_id,
            body.list_id,
            body.wanted(),
            "agent",
            body.customer_id or "",
            microseconds(body.due_at) or 0,
        )

    @api.get("/leads", response_model=Listing[LeadRow], dependencies=partner)
    async def list_leads(
        client_id: ClientOf,
        page: PageOf,
        campaign_id: Annotated[Id | None, Query()] = None,
        list_id: Annotated[Id | None, Query()] = None,
        customer_id: Annotated[Id | None, Query()] = None,
        status: Annotated[StatusName | None, Query()] = None,
        agent_id: Annotated[Id | None, Query()] = None,
        closed_reason: Annotated[Id | None, Query()] = None,
    ) -> dict[str, Any]:
        """By id, without what is personal."""
        after = page.after(str)
        wanted = Filter(
            campaign_id or "",
            list_id or "",
            customer_id or "",
            status or "",
            agent_id or "",
            closed_reason or "",
        )
        rows = await service.find(client_id, wanted, after[0] if after else "", page.rows)
        return _listed(page.of(rows, key=lambda row: (row["lead_id"],)))

    @api.get("/callbacks", response_model=Listing[LeadRow])
    async def list_callbacks(
        client_id: ClientOf,
        page: PageOf,
        agent_id: Annotated[Id | None, Query()] = None,
        escalated: Annotated[bool | None, Query()] = None,
    ) -> dict[str, Any]:
        """Promised ones, by the end of their window. escalated: nobody has called within it."""
        after: Any = page.after(int, str) or (0, "")
        rows = await service.callbacks(client_id, agent_id, escalated, after, page.rows)
        key = page.of(rows, key=lambda row: (row["callback_until"], row["lead_id"]))
        return _listed(key)

    @api.get("/campaigns/{campaign_id}/leads/totals", response_model=Totals)
    async def lead_totals(client_id: ClientOf, campaign_id: Id) -> dict[str, Any]:
        return {"items": await service.totals(client_id, campaign_id)}

    @api.post(
        "/campaigns/{campaign_id}/leads/win-back",
        response_model=Fed,
        responses=refused,
        dependencies=supervisor,
    )
    async def feed_win_back(cause: CauseOf, campaign_id: Id, body: Feeding) -> Answer:
        """Add crm's customers who have refused an offer. Repeat it freely."""
        if crm is None:
            raise Unavailable("this process does not know crm")
        since = microseconds(body.since) or 0
        return await service.feed_win_back(
            cause, campaign_id, body.offer_id, body.reasons, since, crm
        )

    @api.get("/leads/{lead_id}", response_model=LeadView, responses=problems(404))
    async def get_lead(client_id: ClientOf, lead_id: Id) -> LeadView:
        return LeadView.of(await service.get(client_id, lead_id))

    @api.get(
        "/leads/{lead_id}/history",
        response_model=History,
        responses=problems(404),
    )
    async def lead_history(client_id: ClientOf, lead_id: Id) -> History:
        """Every event, without what is personal."""
        facts = await service.history(client_id, lead_id)
        return History(items=[event_view(LEADS, fact) for fact in facts])

    @api.patch("/leads/{lead_id}", response_model=Changed, responses=refused)
    async def correct_lead(cause: CauseOf, lead_id: Id, body: Correction) -> Answer:
        return await service.correct(cause, lead_id, body.wanted())

    @api.post("/leads/{lead_id}/close", response_model=Changed, responses=refused)
    async def close_lead(cause: CauseOf, lead_id: Id, body: Reason) -> Answer:
        return await service.close(cause, lead_id, body.reason)

    @api.post(
        "/leads/{lead_id}/reopen",
        response_model=Changed,
        responses=refused,
        dependencies=supervisor,
    )
    async def reopen_lead(cause: CauseOf, lead_id: Id, body: Reopening) -> Answer:
        """Its turn comes again, and what was tried before counts no more for its recycling."""
        return await service.reopen(cause, lead_id, microseconds(body.due_at))

    @api.post("/leads/{lead_id}/callback", response_model=Changed, responses=refused)
    async def promise_callback(cause: CauseOf, lead_id: Id, body: Promise) -> Answer:
        return await service.promise(
            cause,
            lead_id,
            microseconds(body.from_at),
            microseconds(body.until_at),
            body.agent_id or "",
            body.attempt_id or "",
        )

    @api.post("/leads/{lead_id}/preview/accept", response_model=Changed, responses=refused)
    async def accept_preview(cause: CauseOf, lead_id: Id, body: Accepting) -> Answer:
        """The agent who was offered the lead wants it dialled."""
        return await service.accept(cause, lead_id, body.agent_id)

    @api.post("/leads/{lead_id}/preview/skip", response_model=Changed, responses=refused)
    async def skip_preview(cause: CauseOf, lead_id: Id, body: Skipping) -> Answer:
        return await service.skip(cause, lead_id, body.agent_id, body.reason)

    @api.post(
        "/leads/{lead_id}/forget",
        response_model=Changed,
        responses=refused,
        dependencies=supervisor,
    )
    async def forget_lead(cause: CauseOf, lead_id: Id) -> Answer:
        """Nothing personal can be read any more, for good. Customers of crm are erased there."""
        return await service.forget(cause, lead_id)

    return api


def _listed(answer: dict[str, Any]) -> dict[str, Any]:
    answer["items"] = [LeadRow(**LeadRow.values(row)) for row in answer["items"]]
    return answer
