"""HTTP: the legal measure, whom the rules would skip, and the rules that a client adds."""

from dataclasses import asdict
from datetime import date, datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from eventkit.eventstore import Answer
from eventkit.http import Body, CauseOf, ClientOf, Id, Lax, example, problems, require, time_of
from services.dialer.campaigns.api import LiveView, live_view
from services.dialer.campaigns.service import Live
from services.dialer.compliance.book import MAX_DAYS, MAX_INTERVALS, MAX_RULES
from services.dialer.measure import measure as m
from services.dialer.oversight.service import MAX_LEADS, Oversight

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$", examples=["mornings"])]
Names = Annotated[list[Name], Field(max_length=MAX_RULES)]
Hours = Annotated[str, Field(pattern=r"^\d\d:\d\d-\d\d:\d\d$", examples=["10:00-12:00"])]
Length = Annotated[int, Field(ge=0, le=MAX_DAYS * 24)]
Scope = Literal["number", "customer", "person"]
Per = Literal["campaign", "client", "centre", "subject"]


class Reading(BaseModel):
    """One period. live: calls that a person answered; abandoned: those of them without an agent in
    time; of `uk` persons by the estimate, and those who talked. left: how many more may be
    abandoned as of now; negative: so many too many. Rate and limit are shares."""

    measure: Literal["us", "uk", "contract"]
    number: int
    first_day: date
    last_day: date
    live: float
    abandoned: float
    rate: float
    limit: float
    compliant: bool
    left: int

    @classmethod
    def of(cls, reading: m.Reading) -> "Reading":
        return cls.model_validate(asdict(reading))


class MeasureView(BaseModel):
    """Oldest first. us: in successive periods of 30 days from the campaign's first day; uk: day by
    day; contract: of the client's own terms, if there are any. strictest: of the periods that run,
    the one that leaves least, which is what pacing goes by. Days are the client's."""

    strictest: Reading
    us: list[Reading]
    uk: list[Reading]
    uk_total: Reading | None
    contract: list[Reading]


class OnTheWall(LiveView):
    """measures: the periods that run; `uk` is today's. strictest: the one that leaves least."""

    name: str
    measures: list[Reading]
    strictest: Literal["us", "uk", "contract"]


class Wallboard(BaseModel):
    """The campaigns that run, by id. Agents are routing's."""

    items: list[OnTheWall]


class Reason(BaseModel):
    """leads: that this rule forbids, perhaps beside others; alone: that nothing else does. until:
    when the first of them may be called; null: none, as far as is known."""

    rule: str
    version: int
    leads: int
    alone: int
    until: datetime | None


class PreviewView(BaseModel):
    """skipped, of leads, if they were all dialled now; never: of them those that may never be
    called, as things are. summary: the same in words."""

    leads: int
    skipped: int
    never: int
    reasons: list[Reason]
    summary: str


class CapBody(Body):
    """At most `limit` calls in so many hours or days, or in a day, week or month."""

    limit: Annotated[int, Field(ge=0, le=1000)]
    hours: Length = 0
    days: Length = 0
    calendar: Literal["", "day", "week", "month"] = ""
    scope: Scope = "person"
    per: Per = "client"
    counts: Literal["attempts", "conversations"] = "attempts"


class RestBody(Body):
    """None for so long after something, or for so many whole days after that day."""

    after: Literal["refused", "abandoned", "conversation", "attempt", "under-way"]
    hours: Length = 0
    days: Length = 0
    calendar_days: Length = 0
    scope: Scope = "person"
    per: Per = "client"
    unless_agent_guaranteed: bool = False


class RuleBody(Body):
    """One of hours, cap, rest, consent and ring_seconds; the rest says of what it holds. hours: by
    days or ranges of them, `mon-fri`, and `holidays`; a day that is left out is closed."""

    name: Name
    source: Annotated[str, Field(max_length=200)] = ""
    purposes: Names = Field(default_factory=list)
    modes: Names = Field(default_factory=list)
    kinds: Names = Field(default_factory=list)
    valid_from: Lax[date] | None = None
    valid_until: Lax[date] | None = None
    hours: dict[str, Annotated[list[Hours], Field(max_length=MAX_INTERVALS)]] | None = None
    cap: CapBody | None = None
    rest: RestBody | None = None
    consent: Literal["required"] | None = None
    ring_seconds: Annotated[int, Field(ge=1, le=120)] | None = None


class RulesBody(Body):
    """All of the client's rules. None of them can make the law less strict: each has to allow a
    call."""

    model_config = example(
        rules=[
            {"name": "mornings", "hours": {"mon-fri": ["10:00-12:00"], "holidays": []}},
            {"name": "twice-a-week", "cap": {"limit": 2, "days": 7}},
        ]
    )

    rules: Annotated[list[RuleBody], Field(max_length=MAX_RULES)]


class ExportBody(Body):
    """customer_id: crm's. In the body: it may be a person's own number."""

    model_config = example(customer_id="cu-7001")

    customer_id: Id


class Export(BaseModel):
    """Every event of the customer's leads and attempts, oldest first, readable."""

    customer_id: str
    items: list[dict[str, Any]]


class RulesPublished(BaseModel):
    version: int


class RulesView(BaseModel):
    """version: that attempts name beside `client.<name>`; 0: there never were any."""

    version: int
    rules: list[RuleBody]


def router(service: Oversight) -> APIRouter:
    api = APIRouter(prefix="/v1/clients/{client_id}", tags=["oversight"])

    @api.get(
        "/campaigns/{campaign_id}/measure",
        response_model=MeasureView,
        operation_id="getCampaignMeasure",
        dependencies=[require("partner")],
    )
    async def measure(client_id: ClientOf, campaign_id: Id) -> MeasureView:
        """Whether it abandons too many, by each law and by the client's contract."""
        found = await service.measure(client_id, campaign_id)
        said = found.report
        return MeasureView(
            strictest=Reading.of(found.standing.strictest),
            us=[Reading.of(each) for each in said.us],
            uk=[Reading.of(each) for each in said.uk],
            uk_total=Reading.of(said.uk_total) if said.uk_total else None,
            contract=[Reading.of(each) for each in said.contract],
        )

    @api.get("/wallboard", response_model=Wallboard, operation_id="getWallboard")
    async def wallboard(client_id: ClientOf) -> Wallboard:
        """Every running campaign: what it has done, which mode holds now and why, and how many
        more it may abandon by each measure."""
        return Wallboard(
            items=[_on_the_wall(live, now) for live, now in await service.wallboard(client_id)]
        )

    @api.get(
        "/campaigns/{campaign_id}/preview",
        response_model=PreviewView,
        operation_id="previewCampaign",
        dependencies=[require("supervisor")],
    )
    async def preview(
        client_id: ClientOf,
        campaign_id: Id,
        leads: Annotated[int, Query(ge=1, le=MAX_LEADS)] = 1_000,
    ) -> PreviewView:
        """How many of the leads whose turn comes first would be skipped if they were dialled now,
        and why. Nothing changes."""
        found = await service.preview(client_id, campaign_id, leads)
        return PreviewView(
            leads=found.leads,
            skipped=found.skipped,
            never=found.never,
            reasons=[
                Reason(
                    rule=each.rule,
                    version=each.version,
                    leads=each.leads,
                    alone=each.alone,
                    until=time_of(each.until),
                )
                for each in found.reasons
            ],
            summary=str(found),
        )

    @api.post(
        "/leads/export",
        response_model=Export,
        operation_id="exportLeads",
        dependencies=[require("admin")],
    )
    async def export(client_id: ClientOf, body: ExportBody) -> Export:
        """Everything that the dialer holds on a customer."""
        items = await service.export(client_id, body.customer_id)
        return Export(customer_id=body.customer_id, items=items)

    @api.put(
        "/calling-rules",
        response_model=RulesPublished,
        responses=problems(409),
        operation_id="publishCallingRules",
        dependencies=[require("supervisor")],
    )
    async def publish(cause: CauseOf, body: RulesBody) -> Answer:
        """They hold from the next call on. The same again is no new version."""
        rules = [each.model_dump(mode="json", exclude_defaults=True) for each in body.rules]
        return await service.publish_rules(cause, rules)

    @api.get("/calling-rules", response_model=RulesView, operation_id="getCallingRules")
    async def rules(
        client_id: ClientOf, version: Annotated[int | None, Query(ge=1, le=2**31)] = None
    ) -> dict[str, Any]:
        """The newest, or those of a version that an attempt names."""
        found, content = await service.rules(client_id, version)
        return {"version": found, "rules": content}

    return api


def _on_the_wall(live: Live, now: m.Standing) -> OnTheWall:
    settings = live.found.campaign.settings
    assert settings is not None
    return OnTheWall.model_validate(
        {
            **dict(live_view(live)),
            "name": settings.name,
            "measures": [asdict(each) for each in now.readings],
            "strictest": now.strictest.measure,
        }
    )
