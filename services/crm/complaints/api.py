"""HTTP: complaints, wishes, and the policy that clocks follow. Verdicts, imports, merges and
policies are for supervisors; partners open complaints and read them."""

from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, Query
from pydantic import BaseModel, Field, model_validator

from eventkit.eventstore import Answer, Recorded
from eventkit.http import (
    Body,
    CauseOf,
    ClientOf,
    Day,
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
from eventkit.week import Hours, Week, spans, text, week_of
from services.crm.complaints import complaint as c
from services.crm.complaints import policy as p
from services.crm.complaints import service as s
from services.crm.complaints import wish as w
from services.crm.complaints.calendar import MINUTE, SECOND, Calendar
from services.crm.complaints.clocks import Clock, Clocks, Severity, Targets
from services.crm.complaints.store import Filter, verdict_word

Code = Annotated[str, Field(pattern=rf"^{c.CODE.pattern}$", examples=["billing-error"])]
SeverityName = Literal["low", "normal", "high", "critical"]
AboutKind = Literal["agent", "order", "product", "visit"]
ResponsibleKind = Literal["agent", "order", "product", "visit", "client", "third-party", "nobody"]
PhaseName = Literal["open", "decided", "closed"]
ClockState = Literal["active", "paused", "met", "missed"]
Word = Annotated[Text, Field(min_length=1)]


Amount = Annotated[
    str,
    # Above zero, four decimal places at most; text, because a number in JSON may be a float.
    Field(
        pattern=r"^([1-9][0-9]{0,11}(\.[0-9]{1,4})?"
        r"|0\.([1-9][0-9]{0,3}|0[1-9][0-9]{0,2}|00[1-9][0-9]?|000[1-9]))$",
        examples=["19.90"],
    ),
]
Currency = Annotated[str, Field(pattern=rf"^{c.CURRENCY.pattern}$", examples=["EUR"])]


# Bodies.


class About(Body):
    """What it is about; its id where known."""

    kind: AboutKind
    id: Id | None = None

    def domain(self) -> c.Subject:
        return _subject(self.kind, self.id)


class Responsible(Body):
    """Who answers for it."""

    kind: ResponsibleKind
    id: Id | None = None

    def domain(self) -> c.Subject:
        return _subject(self.kind, self.id)


class OpenBody(Body):
    """customer: crm's id or the client's own number; left out where a department complains, or
    nobody knows who did. source: `customer`, or the department's code. reference: the client's own
    number of the complaint, given once. occurred_at: when it was made; left out: now."""

    model_config = example(
        customer="cu-7001",
        about={"kind": "visit", "id": "v-301"},
        severity="normal",
        channel="voice",
        call_id="c-1001",
        text="The technician did not come.",
    )

    complaint_id: Id | None = None
    customer: Id | None = None
    source: Code = c.CUSTOMER
    about: About | None = None
    severity: SeverityName = "normal"
    channel: Code = "voice"
    reference: Id | None = None
    call_id: Id | None = None
    text: Text = ""
    occurred_at: Time | None = None

    def opening(self) -> s.Opening:
        details = c.Details(
            source=self.source,
            about=self.about.domain() if self.about else c.Subject(),
            channel=self.channel,
            reference=self.reference or "",
            call_id=self.call_id or "",
        )
        return s.Opening(
            details,
            Severity[self.severity.upper()],
            self.text,
            self.customer or "",
            self.complaint_id,
            None if self.occurred_at is None else microseconds(self.occurred_at),
        )


class AcknowledgeBody(Body):
    """text: what the customer was told."""

    model_config = example(text="We have your complaint and look into it.")

    text: Text = ""


class AssignBody(Body):
    model_config = example(assignee="a-20")

    assignee: Id


class InvestigateBody(Body):
    model_config = example(findings="The van had broken down; nobody called the customer.")

    findings: Word


class PauseBody(Body):
    """We wait for the customer. reason: a code of one's own."""

    model_config = example(reason="documents", text="Asked for the invoice.")

    reason: Code
    text: Text = ""


class SeverityBody(Body):
    model_config = example(severity="high")

    severity: SeverityName


class UpholdBody(Body):
    """reasons: of the policy's upheld_reasons."""

    model_config = example(
        reasons=["promise-not-kept"],
        responsible={"kind": "third-party"},
        text="The appointment was ours to keep.",
    )

    reasons: list[Code] = Field(min_length=1, max_length=c.MAX_REASONS)
    responsible: Responsible
    text: Text = ""


class RejectBody(Body):
    """reasons: of the policy's rejected_reasons."""

    model_config = example(reasons=["as-agreed"], text="The price is that of the contract.")

    reasons: list[Code] = Field(min_length=1, max_length=c.MAX_REASONS)
    text: Text = ""


class RemedyBody(Body):
    """remedy: of the policy's. amount and currency: both, or neither."""

    model_config = example(remedy="refund", amount="19.90", currency="EUR")

    remedy: Code
    amount: Amount | None = None
    currency: Currency | None = None
    text: Text = ""


class AppealBody(Body):
    model_config = example(text="I was at home all day.")

    text: Word


class ReopenBody(Body):
    """reason: a code of one's own."""

    model_config = example(reason="remedy-missing", text="The refund did not arrive.")

    reason: Code
    text: Text = ""


class Line(Body):
    """A complaint that another system has kept until now, known by its reference. status: the
    state that it had there. acknowledged, closed: what that means here; nobody knows since when."""

    reference: Id
    occurred_at: Time
    channel: Code = "import"
    status: Code
    acknowledged: bool = False
    closed: bool = False
    severity: SeverityName = "normal"
    text: Text = ""
    place: Annotated[Text, Field(max_length=500)] = ""
    on_behalf: bool = False
    date_corrected: bool = False

    def domain(self) -> s.Line:
        return s.Line(
            reference=self.reference,
            at=microseconds(self.occurred_at),
            channel=self.channel,
            status=self.status,
            acknowledged=self.acknowledged,
            closed=self.closed,
            text=self.text,
            place=self.place,
            severity=Severity[self.severity.upper()],
            on_behalf=self.on_behalf,
            date_corrected=self.date_corrected,
        )


class ImportBody(Body):
    """dry_run: say what would be, and change nothing."""

    model_config = example(
        complaints=[
            {
                "reference": "250635",
                "occurred_at": "2015-04-22T15:53:50-04:00",
                "channel": "voice",
                "status": "closed",
                "closed": True,
                "text": "Internet speeds",
            }
        ]
    )

    complaints: list[Line] = Field(min_length=1, max_length=s.MAX_IMPORT)
    dry_run: bool = False


class ExpressBody(Body):
    """customer: crm's id or the client's own number; left out where a department (its code as
    source) wishes. topic_id: of the client's catalogue."""

    model_config = example(customer="cu-7001", text="A text message before the technician comes.")

    wish_id: Id | None = None
    customer: Id | None = None
    source: Code = c.CUSTOMER
    call_id: Id | None = None
    topic_id: Id | None = None
    text: Word


class SupportBody(Body):
    model_config = example(customer="cu-7002", call_id="c-1006")

    customer: Id | None = None
    source: Code = c.CUSTOMER
    call_id: Id | None = None


class MergeBody(Body):
    model_config = example(into="w-1")

    into: Id


class CloseWishBody(Body):
    model_config = example(outcome="granted", text="From May on.")

    outcome: Lax[w.Outcome]
    text: Text = ""


class TargetsBody(Body):
    """Minutes of business time."""

    first_response_minutes: Whole = Field(gt=0, le=p.MAX_TARGET // MINUTE)
    resolution_minutes: Whole = Field(gt=0, le=p.MAX_TARGET // MINUTE)

    @model_validator(mode="after")
    def _ordered(self) -> "TargetsBody":
        if self.first_response_minutes > self.resolution_minutes:
            raise ValueError("resolution_minutes is less than first_response_minutes")
        return self


class BySeverity(Body):
    low: TargetsBody
    normal: TargetsBody
    high: TargetsBody
    critical: TargetsBody


class Holidays(Body):
    """Whose public holidays are closed: ISO 3166-1 and -2."""

    country: Annotated[str, Field(pattern=r"^[A-Z]{2}$", examples=["FR"])]
    subdivision: Annotated[str, Field(pattern=r"^[A-Za-z0-9 ().-]{1,60}$")] | None = None


class PolicyBody(Body):
    """zone: IANA; left out: the client's. closed_days: the client's own, beside the holidays.
    exceptions: days with hours of their own, which win over everything else."""

    model_config = example(
        weekly={"monday": ["09:00-12:00", "13:00-18:00"], "saturday": ["10:00-14:00"]},
        holidays={"country": "FR"},
        closed_days=["2026-08-14"],
        exceptions={"2026-12-24": ["09:00-12:00"]},
        targets={
            name: {"first_response_minutes": 240, "resolution_minutes": 2700}
            for name in ("low", "normal", "high", "critical")
        },
        upheld_reasons=["billing-error", "promise-not-kept", "other"],
        rejected_reasons=["as-agreed", "not-proven"],
        remedies=["apology", "refund"],
    )

    zone: Annotated[str, Field(max_length=100, examples=["Europe/Paris"])] | None = None
    weekly: Week
    holidays: Holidays | None = None
    closed_days: list[Day] = Field(default=[], max_length=1_000)
    exceptions: dict[Day, Hours] = Field(default={}, max_length=1_000)
    targets: BySeverity
    upheld_reasons: list[Code] = Field(min_length=1, max_length=p.MAX_CODES)
    rejected_reasons: list[Code] = Field(min_length=1, max_length=p.MAX_CODES)
    remedies: list[Code] = Field(min_length=1, max_length=p.MAX_CODES)

    def domain(self, zone: str) -> p.Policy:
        return p.Policy(
            Calendar(
                self.zone or zone,
                self.weekly.days(),
                exceptions={day: spans(hours) for day, hours in self.exceptions.items()},
            ),
            {
                severity: _targets(getattr(self.targets, severity.name.lower()))
                for severity in Severity
            },
            tuple(self.upheld_reasons),
            tuple(self.rejected_reasons),
            tuple(self.remedies),
            self.holidays.country if self.holidays else "",
            (self.holidays.subdivision or "") if self.holidays else "",
            tuple(sorted(set(self.closed_days))),
        )


# Answers.


class Done(BaseModel):
    """version: of the complaint; a repeat leaves it as it is."""

    complaint_id: str
    version: int


class WishDone(BaseModel):
    wish_id: str
    version: int


class Published(BaseModel):
    version: int


class SubjectView(BaseModel):
    kind: str
    id: str | None


class ClockView(BaseModel):
    """Seconds are business time. due_at: when it runs out if nothing stops it; null while it is
    paused and once it has ended or run out. state: `missed` once it has run out, for good."""

    state: ClockState
    target_s: float
    used_s: float
    remaining_s: float
    due_at: datetime | None
    ran_out_at: datetime | None


class ClocksView(BaseModel):
    policy_version: int
    first_response: ClockView
    resolution: ClockView


class VerdictView(BaseModel):
    """responsible: of one that was upheld."""

    verdict: Literal["upheld", "rejected"]
    reasons: list[str]
    responsible: SubjectView | None
    text: str
    given_at: datetime


class RemedyView(BaseModel):
    remedy: str
    amount: str | None
    currency: str | None
    text: str
    made_at: datetime


class Summary(BaseModel):
    """due_at: when the next clock runs out, of those that run. overdue: not closed, and a clock
    that has not ended has run out."""

    complaint_id: str
    version: int
    state: PhaseName
    paused: bool
    severity: SeverityName
    customer_id: str | None
    source: str
    about: SubjectView | None
    channel: str
    reference: str | None
    call_id: str | None
    assignee: str | None
    opened_at: datetime
    acknowledged_at: datetime | None
    closed_at: datetime | None
    verdict: Literal["upheld", "rejected"] | None
    reasons: list[str]
    responsible: SubjectView | None
    due_at: datetime | None
    overdue: bool
    imported_status: str | None
    date_corrected: bool


class ComplaintView(BaseModel):
    """state: `open` until there is a verdict, and again after an appeal or a reopening. clocks:
    null for an imported complaint until it is reopened or put under the policy. Texts are empty
    once the customer has been erased."""

    complaint_id: str
    version: int
    state: PhaseName
    paused: bool
    pause_reason: str | None
    severity: SeverityName
    customer_id: str | None
    source: str
    about: SubjectView | None
    channel: str
    reference: str | None
    call_id: str | None
    text: str
    place: str
    on_behalf: bool
    imported_status: str | None
    date_corrected: bool
    assignee: str | None
    findings: str
    opened_at: datetime
    acknowledged_at: datetime | None
    closed_at: datetime | None
    verdict: VerdictView | None
    remedies: list[RemedyView]
    appealed: bool
    reopened: str | None
    clocks: ClocksView | None


class LineView(BaseModel):
    """outcome `duplicate`: complaint_id has this reference already. `rejected`: why."""

    outcome: Literal["accepted", "duplicate", "rejected"]
    reference: str | None
    complaint_id: str | None
    field: str | None
    reason: str | None


class ImportView(BaseModel):
    """An item for each line, in order."""

    items: list[LineView]


class PolicyView(BaseModel):
    """version 0: the client has published none, and this one holds. closed: all closed days,
    public holidays included."""

    version: int
    zone: str
    weekly: Week
    holidays: Holidays | None
    closed_days: list[date]
    exceptions: dict[date, list[str]]
    targets: BySeverity
    upheld_reasons: list[str]
    rejected_reasons: list[str]
    remedies: list[str]
    closed: list[date]


class WishSummary(BaseModel):
    """supporters: customers and departments that want this or one merged with it, each once."""

    wish_id: str
    version: int
    supporters: int
    customer_id: str | None
    source: str
    call_id: str | None
    topic_id: str | None
    expressed_at: datetime
    outcome: w.Outcome | None
    closed_at: datetime | None
    merged_into: str | None


class WishView(WishSummary):
    """Texts are empty once the customer has been erased."""

    text: str
    outcome_text: str


def router(service: s.Complaints) -> APIRouter:
    api = APIRouter(prefix="/v1/clients/{client_id}")
    _complaints(api, service)
    _policy(api, service)
    _wishes(api, service)
    return api


def _complaints(api: APIRouter, service: s.Complaints) -> None:
    tags: list[Any] = ["complaints"]
    done: dict[str, Any] = {"response_model": Done, "responses": problems(409), "tags": tags}
    decided = done | {"dependencies": [require("supervisor")]}
    partner = [require("partner")]

    @api.post(
        "/complaints",
        status_code=201,
        operation_id="openComplaint",
        **done | {"dependencies": partner},
    )
    async def open(cause: CauseOf, body: OpenBody) -> Answer:
        """A customer or a department complains; the clocks start."""
        return await service.open(cause, body.opening())

    @api.post(
        "/complaints/import",
        operation_id="importComplaints",
        **decided | {"response_model": ImportView},
    )
    async def import_(cause: CauseOf, body: ImportBody) -> dict[str, Any]:
        """Take over complaints that another system has kept, each once. No clock runs for them, and
        those that were closed have no verdict, since none is known."""
        lines = [line.domain() for line in body.complaints]
        answers = await service.import_lines(cause, lines, dry_run=body.dry_run)
        return {"items": [_line_view(answer) for answer in answers]}

    @api.get(
        "/complaints",
        response_model=Listing[Summary],
        operation_id="listComplaints",
        dependencies=partner,
        tags=tags,
    )
    async def find(
        client_id: ClientOf,
        page: PageOf,
        state: PhaseName | None = None,
        paused: bool | None = None,
        severity: SeverityName | None = None,
        assignee: Annotated[Id | None, Query()] = None,
        customer: Annotated[
            Id | None, Query(description="crm's id or the client's own number")
        ] = None,
        reference: Annotated[Id | None, Query()] = None,
        overdue: Annotated[
            bool, Query(description="only those not closed with a clock that has run out")
        ] = False,
    ) -> dict[str, Any]:
        """Newest first."""
        rows = await service.find(
            client_id,
            Filter(
                phase=None if state is None else c.Phase(state),
                paused=paused,
                severity=None if severity is None else Severity[severity.upper()],
                assignee=assignee or "",
                reference=reference or "",
            ),
            customer=customer or "",
            overdue=overdue,
            after=_position(page),
            limit=page.rows,
        )
        listing = page.of(rows, key=lambda row: (row["opened_at"], row["complaint_id"]))
        return {**listing, "items": [_summary(row) for row in listing["items"]]}

    @api.get(
        "/complaints/{complaint_id}",
        response_model=ComplaintView,
        operation_id="getComplaint",
        dependencies=partner,
        tags=tags,
    )
    async def get(client_id: ClientOf, complaint_id: Id) -> ComplaintView:
        """One complaint with its clocks as they are now."""
        return _view(await service.get(client_id, complaint_id))

    @api.get(
        "/complaints/{complaint_id}/history",
        response_model=History,
        operation_id="getComplaintHistory",
        tags=tags,
    )
    async def history(client_id: ClientOf, complaint_id: Id) -> dict[str, Any]:
        """Everything that happened to it, oldest first."""
        facts = await service.history(client_id, complaint_id)
        return {"items": [_event_view(fact) for fact in facts]}

    @api.post("/complaints/{complaint_id}/acknowledge", operation_id="acknowledgeComplaint", **done)
    async def acknowledge(cause: CauseOf, complaint_id: Id, body: AcknowledgeBody) -> Answer:
        """The customer knows that we know: the first response, whose clock ends."""
        return await service.change(
            cause, complaint_id, lambda h: c.AcknowledgeComplaint(h.at, h.rules, body.text)
        )

    @api.post("/complaints/{complaint_id}/assign", operation_id="assignComplaint", **done)
    async def assign(cause: CauseOf, complaint_id: Id, body: AssignBody) -> Answer:
        """Give it to an agent, also from another one."""
        return await service.change(
            cause, complaint_id, lambda h: c.AssignComplaint(h.at, body.assignee)
        )

    @api.post("/complaints/{complaint_id}/investigate", operation_id="investigateComplaint", **done)
    async def investigate(cause: CauseOf, complaint_id: Id, body: InvestigateBody) -> Answer:
        """Something was found out."""
        return await service.change(
            cause, complaint_id, lambda h: c.InvestigateComplaint(h.at, body.findings)
        )

    @api.post("/complaints/{complaint_id}/pause", operation_id="pauseComplaint", **done)
    async def pause(cause: CauseOf, complaint_id: Id, body: PauseBody) -> Answer:
        """We wait for the customer: both clocks stand still."""
        return await service.change(
            cause,
            complaint_id,
            lambda h: c.PauseComplaint(h.at, h.rules, body.reason, body.text),
        )

    @api.post("/complaints/{complaint_id}/resume", operation_id="resumeComplaint", **done)
    async def resume(cause: CauseOf, complaint_id: Id) -> Answer:
        """We wait no more."""
        return await service.change(cause, complaint_id, lambda h: c.ResumeComplaint(h.at, h.rules))

    @api.post("/complaints/{complaint_id}/severity", operation_id="changeSeverity", **done)
    async def severity(cause: CauseOf, complaint_id: Id, body: SeverityBody) -> Answer:
        """Other targets; the time that the clocks have used stays."""
        wanted = Severity[body.severity.upper()]
        return await service.change(
            cause, complaint_id, lambda h: c.ChangeSeverity(h.at, h.rules, wanted)
        )

    @api.post("/complaints/{complaint_id}/uphold", operation_id="upholdComplaint", **decided)
    async def uphold(cause: CauseOf, complaint_id: Id, body: UpholdBody) -> Answer:
        """The verdict: justified, why, and who answers for it."""
        return await service.change(
            cause,
            complaint_id,
            lambda h: c.UpholdComplaint(
                h.at,
                tuple(body.reasons),
                body.responsible.domain(),
                body.text,
                frozenset(h.policy.upheld_reasons),
            ),
        )

    @api.post("/complaints/{complaint_id}/reject", operation_id="rejectComplaint", **decided)
    async def reject(cause: CauseOf, complaint_id: Id, body: RejectBody) -> Answer:
        """The verdict: not justified, and why."""
        return await service.change(
            cause,
            complaint_id,
            lambda h: c.RejectComplaint(
                h.at, tuple(body.reasons), body.text, frozenset(h.policy.rejected_reasons)
            ),
        )

    @api.post("/complaints/{complaint_id}/remedy", operation_id="remedyComplaint", **done)
    async def remedy(cause: CauseOf, complaint_id: Id, body: RemedyBody) -> Answer:
        """What the customer gets."""
        return await service.change(
            cause,
            complaint_id,
            lambda h: c.RemedyComplaint(
                h.at,
                body.remedy,
                None if body.amount is None else Decimal(body.amount),
                body.currency or "",
                body.text,
                frozenset(h.policy.remedies),
            ),
        )

    @api.post("/complaints/{complaint_id}/close", operation_id="closeComplaint", **done)
    async def close(cause: CauseOf, complaint_id: Id) -> Answer:
        """Done: the resolution's clock ends. Only with a verdict."""
        return await service.change(cause, complaint_id, lambda h: c.CloseComplaint(h.at, h.rules))

    @api.post("/complaints/{complaint_id}/appeal", operation_id="appealComplaint", **done)
    async def appeal(cause: CauseOf, complaint_id: Id, body: AppealBody) -> Answer:
        """The customer does not accept the verdict, which is open again."""
        return await service.change(
            cause, complaint_id, lambda h: c.AppealComplaint(h.at, h.rules, body.text)
        )

    @api.post("/complaints/{complaint_id}/reopen", operation_id="reopenComplaint", **done)
    async def reopen(cause: CauseOf, complaint_id: Id, body: ReopenBody) -> Answer:
        """A closed one is not done after all; its verdict stands until there is another."""
        return await service.change(
            cause,
            complaint_id,
            lambda h: c.ReopenComplaint(h.at, h.rules, body.reason, body.text),
        )

    @api.post(
        "/complaints/{complaint_id}/apply-policy", operation_id="applyComplaintPolicy", **decided
    )
    async def apply_policy(cause: CauseOf, complaint_id: Id) -> Answer:
        """Put it under the policy in force now: other targets and hours, the time used stays. An
        imported one gets its clocks."""
        return await service.change(
            cause,
            complaint_id,
            lambda h: c.ApplyPolicy(h.at, h.rules, h.policy.rules(h.version)),
        )


def _policy(api: APIRouter, service: s.Complaints) -> None:
    tags: list[Any] = ["complaints"]

    @api.get(
        "/complaint-policy",
        response_model=PolicyView,
        operation_id="getComplaintPolicy",
        tags=tags,
    )
    async def get(client_id: ClientOf) -> PolicyView:
        """Hours, targets and codes that hold for new complaints."""
        return _policy_view(await service.policy(client_id))

    @api.put(
        "/complaint-policy",
        response_model=Published,
        responses=problems(409),
        operation_id="publishComplaintPolicy",
        dependencies=[require("supervisor")],
        tags=tags,
    )
    async def publish(cause: CauseOf, body: PolicyBody) -> Answer:
        """A new version for new complaints. Those that are open keep theirs: see apply-policy."""
        zone = await service.zone(cause.client_id)
        return await service.publish_policy(cause, body.domain(zone))


def _wishes(api: APIRouter, service: s.Complaints) -> None:
    tags: list[Any] = ["wishes"]
    done: dict[str, Any] = {"response_model": WishDone, "responses": problems(409), "tags": tags}
    merged = done | {"dependencies": [require("supervisor")]}

    @api.post("/wishes", status_code=201, operation_id="expressWish", **done)
    async def express(cause: CauseOf, body: ExpressBody) -> Answer:
        """Something that a customer or a department would like."""
        return await service.express_wish(
            cause,
            body.wish_id,
            body.text,
            customer=body.customer or "",
            source=body.source,
            call_id=body.call_id or "",
            topic_id=body.topic_id or "",
        )

    @api.get("/wishes", response_model=Listing[WishSummary], operation_id="listWishes", tags=tags)
    async def find(
        client_id: ClientOf,
        page: PageOf,
        topic_id: Annotated[Id | None, Query()] = None,
        closed: bool | None = None,
    ) -> dict[str, Any]:
        """Newest first; those that are merged into another are counted there."""
        rows = await service.wishes(
            client_id,
            topic_id=topic_id or "",
            closed=closed,
            after=_position(page),
            limit=page.rows,
        )
        listing = page.of(rows, key=lambda row: (row["expressed_at"], row["wish_id"]))
        return {**listing, "items": [_wish_values(row) for row in listing["items"]]}

    @api.get("/wishes/{wish_id}", response_model=WishView, operation_id="getWish", tags=tags)
    async def get(client_id: ClientOf, wish_id: Id) -> dict[str, Any]:
        """One wish, and how many want it."""
        state, row = await service.wish(client_id, wish_id)
        return _wish_values(row) | {
            "text": state.expressed.text if state.expressed else "",
            "outcome_text": state.closed.text if state.closed else "",
        }

    @api.post("/wishes/{wish_id}/support", operation_id="supportWish", **done)
    async def support(cause: CauseOf, wish_id: Id, body: SupportBody) -> Answer:
        """Somebody else wants it, too; each customer and each department counts once."""
        return await service.support_wish(
            cause,
            wish_id,
            customer=body.customer or "",
            source=body.source,
            call_id=body.call_id or "",
        )

    @api.post("/wishes/{wish_id}/merge", operation_id="mergeWish", **merged)
    async def merge(cause: CauseOf, wish_id: Id, body: MergeBody) -> Answer:
        """It is the same as another one, which counts its supporters from now on."""
        return await service.merge_wish(cause, wish_id, body.into)

    @api.post("/wishes/{wish_id}/unmerge", operation_id="unmergeWish", **merged)
    async def unmerge(cause: CauseOf, wish_id: Id) -> Answer:
        """It is another one after all, and takes its supporters along."""
        return await service.unmerge_wish(cause, wish_id)

    @api.post("/wishes/{wish_id}/close", operation_id="closeWish", **merged)
    async def close(cause: CauseOf, wish_id: Id, body: CloseWishBody) -> Answer:
        """Granted or declined, for good."""
        return await service.close_wish(cause, wish_id, body.outcome, body.text)


# From and to the domain.


def _position(page: PageOf) -> tuple[int, str] | None:
    position = page.after(int, str)
    return None if position is None else (position[0], position[1])


def _subject(kind: str, id: str | None) -> c.Subject:
    return c.Subject(c.SubjectKind[kind.upper().replace("-", "_")], id or "")


def _subject_view(kind: int, id: str) -> SubjectView | None:
    if kind == c.SubjectKind.NONE:
        return None
    name = c.SubjectKind(kind).name.lower().replace("_", "-")
    return SubjectView(kind=name, id=id or None)


def _targets(body: TargetsBody) -> Targets:
    return Targets(body.first_response_minutes * MINUTE, body.resolution_minutes * MINUTE)


def _severity(severity: int) -> str:
    return Severity(severity).name.lower()


def _summary(row: Mapping[str, Any]) -> dict[str, Any]:
    optional = ("customer_id", "reference", "call_id", "assignee", "verdict")
    times = ("opened_at", "acknowledged_at", "closed_at", "due_at")
    return {
        **{name: row[name] for name in Summary.model_fields if name in row},
        **{name: row[name] or None for name in optional},
        **{name: time_of(row[name]) for name in times},
        "state": row["phase"],
        "severity": _severity(row["severity"]),
        "about": _subject_view(row["about_kind"], row["about_id"]),
        "responsible": _subject_view(row["responsible_kind"], row["responsible_id"]),
        "imported_status": row["status"] or None,
    }


def _view(shown: s.Shown) -> ComplaintView:
    state, opened = shown.state, shown.state.opened
    assert opened is not None
    details, review = opened.details, state.review
    return ComplaintView.model_validate(
        {
            "complaint_id": shown.complaint_id,
            "version": shown.version,
            "state": state.phase.value,
            "paused": state.paused is not None,
            "pause_reason": state.paused.reason if state.paused else None,
            "severity": _severity(state.severity),
            "customer_id": details.customer_id or None,
            "source": details.source,
            "about": _subject_view(details.about.kind, details.about.id),
            "channel": details.channel,
            "reference": details.reference or None,
            "call_id": details.call_id or None,
            "text": opened.text,
            "place": opened.place,
            "on_behalf": details.on_behalf,
            "imported_status": details.status or None,
            "date_corrected": details.date_corrected,
            "assignee": state.assignee or None,
            "findings": state.findings,
            "opened_at": time_of(opened.at),
            "acknowledged_at": time_of(state.acknowledged_at),
            "closed_at": time_of(state.closed_at),
            "verdict": _verdict_view(state.verdict),
            "remedies": [_remedy_view(remedy) for remedy in state.remedies],
            "appealed": isinstance(review, c.ComplaintAppealed),
            "reopened": review.reason if isinstance(review, c.ComplaintReopened) else None,
            "clocks": None if state.clocks is None else _clocks_view(shown, state.clocks),
        }
    )


def _clocks_view(shown: s.Shown, clocks: Clocks) -> ClocksView:
    return ClocksView(
        policy_version=shown.rules.version,
        first_response=_clock_view(shown, clocks.first_response, clocks.responded),
        resolution=_clock_view(shown, clocks.resolution, clocks.closed),
    )


def _clock_view(shown: s.Shown, clock: Clock, ended: bool) -> ClockView:
    now = max(shown.now, shown.state.at)
    used = clock.used_at(shown.rules.calendar, now)
    # The timer may not have said so yet.
    ran_out_at = clock.ran_out_at
    if ran_out_at is None and clock.due is not None and clock.due <= now:
        ran_out_at = clock.due
    state: ClockState = "active"
    if ran_out_at is not None:
        state = "missed"
    elif ended:
        state = "met"
    elif clock.since is None:
        state = "paused"
    return ClockView(
        state=state,
        target_s=clock.target / SECOND,
        used_s=used / SECOND,
        remaining_s=max(clock.target - used, 0) / SECOND,
        due_at=time_of(clock.due) if ran_out_at is None else None,
        ran_out_at=time_of(ran_out_at),
    )


def _verdict_view(verdict: c.ComplaintUpheld | c.ComplaintRejected | None) -> dict[str, Any] | None:
    if verdict is None:
        return None
    responsible = verdict.responsible if isinstance(verdict, c.ComplaintUpheld) else c.Subject()
    return {
        "verdict": verdict_word(verdict),
        "reasons": list(verdict.reasons),
        "responsible": _subject_view(responsible.kind, responsible.id),
        "text": verdict.text,
        "given_at": time_of(verdict.at),
    }


def _remedy_view(remedy: c.ComplaintRemedied) -> dict[str, Any]:
    return {
        "remedy": remedy.remedy,
        "amount": None if remedy.amount is None else f"{remedy.amount:f}",
        "currency": remedy.currency or None,
        "text": remedy.text,
        "made_at": time_of(remedy.at),
    }


def _event_view(fact: Recorded[c.Event]) -> EventView:
    details = msgspec.to_builtins(fact.event, str_keys=True)
    return EventView(
        version=fact.version,
        event=type(fact.event).__name__,
        occurred_at=time_of(details.pop("at")),
        recorded_at=time_of(fact.recorded_at),
        actor=fact.actor,
        details=details,
    )


def _line_view(answer: s.Imported) -> LineView:
    return LineView.model_validate(
        {
            "outcome": answer.outcome,
            "reference": answer.reference or None,
            "complaint_id": answer.complaint_id or None,
            "field": answer.field or None,
            "reason": answer.reason or None,
        }
    )


def _policy_view(held: s.PolicyInForce) -> PolicyView:
    policy = held.policy
    calendar = policy.calendar
    holidays = None
    if policy.country:
        holidays = Holidays(country=policy.country, subdivision=policy.subdivision or None)
    return PolicyView(
        version=held.version,
        zone=calendar.zone,
        weekly=week_of(calendar.weekly),
        holidays=holidays,
        closed_days=list(policy.closed_days),
        exceptions={day: list(map(text, hours)) for day, hours in calendar.exceptions.items()},
        targets=BySeverity(
            **{
                severity.name.lower(): TargetsBody(
                    first_response_minutes=policy.targets[severity].first_response // MINUTE,
                    resolution_minutes=policy.targets[severity].resolution // MINUTE,
                )
                for severity in Severity
            }
        ),
        upheld_reasons=list(policy.upheld_reasons),
        rejected_reasons=list(policy.rejected_reasons),
        remedies=list(policy.remedies),
        closed=list(calendar.holidays),
    )


def _wish_values(row: Mapping[str, Any]) -> dict[str, Any]:
    optional = ("customer_id", "call_id", "topic_id", "outcome", "merged_into")
    return {
        **{name: row[name] for name in WishSummary.model_fields if name in row},
        **{name: row[name] or None for name in optional},
        "expressed_at": time_of(row["expressed_at"]),
        "closed_at": time_of(row["closed_at"]),
    }
