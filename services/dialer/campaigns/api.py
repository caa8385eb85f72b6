"""HTTP: campaigns. Supervisors arrange, start, pause and stop them; agents see them."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from eventkit.clock import rfc3339
from eventkit.eventstore import Answer
from eventkit.http import (
    Body,
    CauseOf,
    ClientOf,
    History,
    Id,
    Lax,
    Listing,
    Name,
    PageOf,
    Time,
    example,
    microseconds,
    problems,
    require,
    time_of,
)
from services.dialer.campaigns import campaign as c
from services.dialer.campaigns import plan as p
from services.dialer.campaigns.service import Campaigns, Live, results_of
from services.dialer.campaigns.store import CAMPAIGNS, Found
from services.dialer.history import event_view
from services.dialer.leads import recycling as r

Code = Annotated[str, Field(pattern=rf"^{p.CODE.pattern}$", examples=["by-hand"])]
# Numbers are text: in JSON they may be floats.
Amount = Annotated[str, Field(pattern=r"^[0-9]{1,12}(\.[0-9]{1,4})?$", examples=["0.02"])]
Currency = Annotated[str, Field(pattern=rf"^{p.CURRENCY.pattern}$", examples=["EUR"])]
Number = Annotated[str, Field(pattern=rf"^{p.E164.pattern}$", examples=["+33123456789"])]
TimeOfDay = Annotated[str, Field(pattern=r"^(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$")]
Count = Annotated[int, Field(ge=0, le=10**12)]
StatusName = Literal["draft", "running", "paused", "stopped"]


class SkillBody(Body):
    """level: at least this, 1 to 5."""

    skill: Id
    level: Annotated[int, Field(ge=1, le=5)] = 1


class ContractBody(Body):
    """The client's own limit: at most this share of the live answers without an agent within so
    many seconds of the greeting's end, in periods of so many days."""

    limit: Annotated[float, Field(gt=0, le=p.LIMIT)]
    connect_seconds: Annotated[float, Field(gt=0, le=p.CONNECT_SECONDS)] = p.CONNECT_SECONDS
    period_days: Annotated[int, Field(ge=1, le=366)] = 30

    def domain(self) -> p.Contract:
        return p.Contract(self.limit, self.connect_seconds, self.period_days)

    @classmethod
    def of(cls, contract: p.Contract) -> "ContractBody":
        return cls(
            limit=contract.limit,
            connect_seconds=contract.connect_seconds,
            period_days=contract.period_days,
        )


class CostsBody(Body):
    """per_minute: of an answered call, to the carrier."""

    currency: Currency
    per_attempt: Amount = "0"
    per_minute: Amount = "0"
    per_agent_hour: Amount = "0"

    def domain(self) -> p.Costs:
        return p.Costs(
            self.currency,
            Decimal(self.per_attempt),
            Decimal(self.per_minute),
            Decimal(self.per_agent_hour),
        )

    @classmethod
    def of(cls, costs: p.Costs) -> "CostsBody":
        return cls(
            currency=costs.currency,
            per_attempt=f"{costs.per_attempt:f}",
            per_minute=f"{costs.per_minute:f}",
            per_agent_hour=f"{costs.per_agent_hour:f}",
        )


class GoalsBody(Body):
    """The campaign stops when one is reached; 0: no goal. budget: in the costs' currency."""

    contacts: Count = 0
    conversions: Count = 0
    attempts: Count = 0
    budget: Amount = "0"


class WinBackBody(Body):
    """Who refused this offer, for one of these reasons (none: any), since then."""

    offer_id: Id
    reasons: list[Id] = Field(default_factory=list, max_length=p.MAX_LIST)
    since: Time | None = None

    def domain(self) -> p.WinBack:
        return p.WinBack(self.offer_id, tuple(self.reasons), microseconds(self.since) or 0)

    @classmethod
    def of(cls, back: p.WinBack) -> "WinBackBody":
        since = _time(back.since) if back.since else None
        return cls.model_validate(
            {"offer_id": back.offer_id, "reasons": list(back.reasons), "since": since}
        )


class RuleBody(Body):
    """then: `same` number again, `other`: the lead's next one, `close`. times: how often this may
    be of one number before that has had enough. reason: why the lead is closed, where it is; left
    out: the result or disposition itself."""

    model_config = example(then="same", after_seconds=900, times=5)

    then: Lax[r.Next]
    after_seconds: Annotated[int, Field(ge=0, le=r.MAX_AFTER_S)] = 0
    times: Annotated[int, Field(ge=1, le=r.MAX_TIMES)] = 1
    reason: Id | None = None

    def domain(self) -> r.Rule:
        return r.Rule(self.then, self.after_seconds, self.times, self.reason or "")

    @classmethod
    def of(cls, rule: r.Rule) -> "RuleBody":
        return cls(
            then=rule.then,
            after_seconds=rule.after_s,
            times=rule.times,
            reason=rule.reason or None,
        )


Rules = Annotated[dict[Id, RuleBody], Field(max_length=r.MAX_RULES)]


class RecyclingBody(Body):
    """What follows from a result (`busy`, `no-answer`, ...) and from a disposition, which goes
    before the result. What is left out is as it is by default. attempts, attempts_per_number: that
    many and the lead is closed."""

    model_config = example(results={"busy": {"then": "same", "after_seconds": 600, "times": 3}})

    results: Rules = Field(default_factory=dict)
    dispositions: Rules = Field(default_factory=dict)
    attempts: Annotated[int, Field(ge=1, le=r.MAX_TIMES)] = r.DEFAULT.attempts
    attempts_per_number: Annotated[int, Field(ge=1, le=r.MAX_TIMES)] = r.DEFAULT.attempts_per_number

    def domain(self) -> r.Recycling:
        return r.Recycling(
            {code: rule.domain() for code, rule in self.results.items()},
            {code: rule.domain() for code, rule in self.dispositions.items()},
            self.attempts,
            self.attempts_per_number,
        )

    @classmethod
    def of(cls, recycling: r.Recycling) -> "RecyclingBody":
        return cls(
            results={code: RuleBody.of(rule) for code, rule in recycling.results.items()},
            dispositions={code: RuleBody.of(rule) for code, rule in recycling.dispositions.items()},
            attempts=recycling.attempts,
            attempts_per_number=recycling.attempts_per_number,
        )


class Interval(Body):
    """On the called person's wall."""

    model_config = example(begins="10:00", ends="13:00")

    begins: TimeOfDay
    ends: TimeOfDay


class CampaignBody(Body):
    """hours: seven days, Monday first; left out: whatever the law allows. subject: caps by subject
    are counted by it; left out: by the campaign. on_machine: what is done with an answering
    machine. max_calls: at the same time; 0: as many as pacing says. callback_campaign_id: whose
    agents call back who presses the key in the message, within so many seconds; left out: whoever
    looks for leads that are closed as `callback-wanted`."""

    model_config = example(
        {
            "name": "Fibre for former customers",
            "purpose": "sales",
            "mode": "predictive",
            "seller": "Acme Telecom",
            "caller_id": "+33123456789",
            "pool_id": "main",
            "queue_id": "fibre-sales",
            "offer_id": "fibre-xl",
            "abandonment_message": "acme-sorry",
            "target_abandonment": 0.02,
            "goals": {"conversions": 500},
        },
        {
            "name": "Works in your street",
            "purpose": "information",
            "mode": "message",
            "seller": "Acme Telecom",
            "caller_id": "+33123456789",
            "information_message": "works-in-march",
            "callback_campaign_id": "questions",
            "calls_per_second": 5.0,
        },
    )

    name: Name
    purpose: Lax[p.Purpose]
    mode: Lax[p.Mode]
    seller: Name
    caller_id: Number
    pool_id: Id | None = None
    queue_id: Id | None = None
    skills: list[SkillBody] = Field(default_factory=list, max_length=p.MAX_LIST)
    subject: Id | None = None
    offer_id: Id | None = None
    questionnaire_id: Id | None = None
    converting: list[Id] = Field(default_factory=list, max_length=p.MAX_LIST)
    refusing: list[Id] = Field(
        default_factory=lambda: ["refused", "not-interested"], max_length=p.MAX_LIST
    )
    priority: Annotated[int, Field(ge=0, le=p.MAX_PRIORITY)] = 0
    ratio: Annotated[float, Field(ge=1, le=p.MAX_RATIO)] = 1.0
    target_abandonment: Annotated[float, Field(gt=0, le=p.LIMIT)] = 0.025
    contract: ContractBody | None = None
    costs: CostsBody | None = None
    goals: GoalsBody = Field(default_factory=GoalsBody)
    ring_seconds: Annotated[int, Field(ge=p.MIN_RING_SECONDS, le=p.MAX_RING_SECONDS)] = 20
    machine_detection: bool = True
    on_machine: Lax[p.OnMachine] = p.OnMachine.HANG_UP
    abandonment_message: Id | None = None
    information_message: Id | None = None
    machine_message: Id | None = None
    max_calls: Annotated[int, Field(ge=0, le=p.MAX_CALLS)] = 0
    calls_per_second: Annotated[float, Field(gt=0, le=p.MAX_RATE)] = 1.0
    hours: Annotated[list[list[Interval]], Field(max_length=7)] = Field(default_factory=list)
    starts_at: Time | None = None
    ends_at: Time | None = None
    stop_when_exhausted: bool = False
    win_back: WinBackBody | None = None
    callback_campaign_id: Id | None = None
    callback_within_seconds: Annotated[int, Field(ge=p.MIN_CALLBACK_S, le=p.MAX_CALLBACK_S)] = (
        p.CALLBACK_S
    )
    recycling: RecyclingBody = Field(default_factory=RecyclingBody)

    def domain(self) -> p.Settings:
        goals = self.goals
        return p.Settings(
            name=self.name,
            purpose=self.purpose,
            mode=self.mode,
            seller=self.seller,
            caller_id=self.caller_id,
            pool_id=self.pool_id or "",
            queue_id=self.queue_id or "",
            skills=tuple(p.Skill(each.skill, each.level) for each in self.skills),
            subject=self.subject or "",
            offer_id=self.offer_id or "",
            questionnaire_id=self.questionnaire_id or "",
            converting=tuple(self.converting),
            refusing=tuple(self.refusing),
            priority=self.priority,
            ratio=self.ratio,
            target_abandonment=self.target_abandonment,
            contract=self.contract.domain() if self.contract else None,
            costs=self.costs.domain() if self.costs else None,
            goals=p.Goals(goals.contacts, goals.conversions, goals.attempts, Decimal(goals.budget)),
            ring_seconds=self.ring_seconds,
            machine_detection=self.machine_detection,
            on_machine=self.on_machine,
            abandonment_message=self.abandonment_message or "",
            information_message=self.information_message or "",
            machine_message=self.machine_message or "",
            max_calls=self.max_calls,
            calls_per_second=self.calls_per_second,
            hours=tuple(
                tuple((_minutes(each.begins), _minutes(each.ends)) for each in day)
                for day in self.hours
            ),
            starts_at=microseconds(self.starts_at),
            ends_at=microseconds(self.ends_at),
            stop_when_exhausted=self.stop_when_exhausted,
            win_back=self.win_back.domain() if self.win_back else None,
            callback_campaign_id=self.callback_campaign_id or "",
            callback_within_seconds=self.callback_within_seconds,
            recycling=self.recycling.domain(),
        )

    @classmethod
    def of(cls, settings: p.Settings) -> "CampaignBody":
        """As it would be sent to get the same again."""
        goals = settings.goals
        given: dict[str, Any] = {
            name: getattr(settings, name) or None
            for name in (
                *("pool_id", "queue_id", "subject", "offer_id", "questionnaire_id"),
                *("abandonment_message", "information_message", "machine_message"),
                "callback_campaign_id",
            )
        }
        return cls.model_validate(
            given
            | {
                "name": settings.name,
                "purpose": settings.purpose,
                "mode": settings.mode,
                "seller": settings.seller,
                "caller_id": settings.caller_id,
                "skills": [
                    SkillBody(skill=each.skill, level=each.level) for each in settings.skills
                ],
                "converting": list(settings.converting),
                "refusing": list(settings.refusing),
                "priority": settings.priority,
                "ratio": settings.ratio,
                "target_abandonment": settings.target_abandonment,
                "contract": ContractBody.of(settings.contract) if settings.contract else None,
                "costs": CostsBody.of(settings.costs) if settings.costs else None,
                "goals": GoalsBody(
                    contacts=goals.contacts,
                    conversions=goals.conversions,
                    attempts=goals.attempts,
                    budget=f"{goals.budget:f}",
                ),
                "ring_seconds": settings.ring_seconds,
                "machine_detection": settings.machine_detection,
                "on_machine": settings.on_machine,
                "max_calls": settings.max_calls,
                "calls_per_second": settings.calls_per_second,
                "hours": [
                    [Interval(begins=_clock(begins), ends=_clock(ends)) for begins, ends in day]
                    for day in settings.hours
                ],
                "starts_at": _time(settings.starts_at),
                "ends_at": _time(settings.ends_at),
                "stop_when_exhausted": settings.stop_when_exhausted,
                "win_back": WinBackBody.of(settings.win_back) if settings.win_back else None,
                "callback_within_seconds": settings.callback_within_seconds,
                "recycling": RecyclingBody.of(settings.recycling),
            }
        )


class ReasonBody(Body):
    """A code, no text: it is on the topic."""

    model_config = example(reason="by-hand")

    reason: Code = c.BY_HAND


class Done(BaseModel):
    """A repeat leaves all of it as it is."""

    campaign_id: str
    version: int
    status: c.Status


class Lowered(BaseModel):
    """Why fewer are dialled than the campaign's mode would: this measure's period cannot end within
    the limit any more. rate, limit: shares."""

    at: datetime
    from_mode: p.Mode
    measure: Literal["us", "uk", "contract"]
    rate: float
    limit: float
    period_began_at: datetime
    period_ends_at: datetime


class CampaignView(BaseModel):
    """mode: the one that holds now; lowered: why it is not that of the settings."""

    campaign_id: str
    version: int
    status: c.Status
    status_reason: str | None
    drafted_at: datetime
    started_at: datetime | None
    stopped_at: datetime | None
    mode: p.Mode
    lowered: Lowered | None
    settings: CampaignBody


class LiveView(BaseModel):
    """results: how many attempts came to what. contacts: persons who talked, or heard the message.
    contact_rate: per attempt; conversion_rate: per contact; null: nothing to divide by. spent: in
    the costs' currency, null where no costs are known; of agents it is the time that they talked.
    goals: how far each is, as a share; those that are set."""

    campaign_id: str
    status: c.Status
    mode: p.Mode
    lowered: Lowered | None
    attempts: int
    open: int
    results: dict[str, int]
    contacts: int
    conversions: int
    contact_rate: float | None
    conversion_rate: float | None
    talked_seconds: float
    spent: str | None
    currency: str | None
    goals: dict[str, float]


def router(service: Campaigns) -> APIRouter:
    api = APIRouter(prefix="/v1/clients/{client_id}/campaigns", tags=["campaigns"])
    change: dict[str, Any] = {
        "response_model": Done,
        "dependencies": [require("supervisor")],
        "responses": problems(409),
    }

    @api.put("/{campaign_id}", operation_id="arrangeCampaign", **change)
    async def arrange(cause: CauseOf, campaign_id: Id, body: CampaignBody) -> Answer:
        """Draft it, or say how it is to be from now on. Once it has run, what it is for stays."""
        return await service.arrange(cause, campaign_id, body.domain())

    @api.post("/{campaign_id}/start", operation_id="startCampaign", **change)
    async def start(cause: CauseOf, campaign_id: Id) -> Answer:
        """Also after a pause."""
        return await service.start(cause, campaign_id)

    @api.post("/{campaign_id}/pause", operation_id="pauseCampaign", **change)
    async def pause(cause: CauseOf, campaign_id: Id, body: ReasonBody | None = None) -> Answer:
        """Nothing new is dialled; what is in flight goes on to its end."""
        return await service.pause(cause, campaign_id, body.reason if body else c.BY_HAND)

    @api.post("/{campaign_id}/stop", operation_id="stopCampaign", **change)
    async def stop(cause: CauseOf, campaign_id: Id, body: ReasonBody | None = None) -> Answer:
        """For good; what is in flight goes on to its end."""
        return await service.stop(cause, campaign_id, body.reason if body else c.BY_HAND)

    @api.get("", response_model=Listing[CampaignView], operation_id="listCampaigns")
    async def find(
        client_id: ClientOf,
        page: PageOf,
        status: Annotated[StatusName | None, Query()] = None,
        purpose: Annotated[Lax[p.Purpose] | None, Query()] = None,
    ) -> dict[str, Any]:
        """By id."""
        after = page.after(str)
        found = await service.find(
            client_id,
            status=status or "",
            purpose=purpose or "",
            after=after[0] if after else "",
            limit=page.rows,
        )
        return page.of([_view(one) for one in found], key=lambda one: (one.campaign_id,))

    partner = [require("partner")]

    @api.get(
        "/{campaign_id}",
        response_model=CampaignView,
        operation_id="getCampaign",
        dependencies=partner,
    )
    async def get(client_id: ClientOf, campaign_id: Id) -> CampaignView:
        """Its settings, how it stands, and which mode holds now, and why."""
        return _view(await service.get(client_id, campaign_id))

    @api.get(
        "/{campaign_id}/live",
        response_model=LiveView,
        operation_id="getCampaignLive",
        dependencies=partner,
    )
    async def live(client_id: ClientOf, campaign_id: Id) -> LiveView:
        """What it has done so far, and what is under way."""
        return live_view(await service.live(client_id, campaign_id))

    @api.get("/{campaign_id}/history", response_model=History, operation_id="getCampaignHistory")
    async def history(client_id: ClientOf, campaign_id: Id) -> dict[str, Any]:
        """Everything that happened to it, oldest first."""
        facts = await service.history(client_id, campaign_id)
        return {"items": [event_view(CAMPAIGNS, fact) for fact in facts]}

    return api


def _view(found: Found) -> CampaignView:
    state = found.campaign
    assert state.settings is not None
    return CampaignView(
        campaign_id=found.campaign_id,
        version=found.version,
        status=state.status,
        status_reason=state.status_reason or None,
        drafted_at=time_of(state.drafted_at),
        started_at=time_of(state.started_at),
        stopped_at=time_of(state.stopped_at),
        mode=state.mode,
        lowered=_lowered(state.lowered),
        settings=CampaignBody.of(state.settings),
    )


def _lowered(lowered: c.CampaignModeLowered | None) -> Lowered | None:
    if lowered is None:
        return None
    return Lowered.model_validate(
        {
            "at": time_of(lowered.at),
            "from_mode": lowered.from_mode,
            "measure": lowered.measure,
            "rate": lowered.rate,
            "limit": lowered.limit,
            "period_began_at": time_of(lowered.period_began_at),
            "period_ends_at": time_of(lowered.period_ends_at),
        }
    )


def live_view(live: Live) -> LiveView:
    state, totals = live.found.campaign, live.totals
    settings = state.settings
    assert settings is not None
    spent = p.cost(settings.costs, totals)
    goals = settings.goals
    progress = {
        name: getattr(totals, name) / getattr(goals, name)
        for name in ("contacts", "conversions", "attempts")
        if getattr(goals, name)
    }
    if goals.budget:
        progress["budget"] = float(spent / goals.budget)
    return LiveView(
        campaign_id=live.found.campaign_id,
        status=state.status,
        mode=state.mode,
        lowered=_lowered(state.lowered),
        attempts=totals.attempts,
        open=live.open,
        results=results_of(live.counts),
        contacts=totals.contacts,
        conversions=totals.conversions,
        contact_rate=_share(totals.contacts, totals.attempts),
        conversion_rate=_share(totals.conversions, totals.contacts),
        talked_seconds=totals.talked / 1_000_000,
        spent=f"{spent:.4f}" if settings.costs else None,
        currency=settings.costs.currency if settings.costs else None,
        goals=progress,
    )


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _time(us: int | None) -> str | None:
    """As a body has it."""
    return None if us is None else rfc3339(us)


def _minutes(clock: str) -> int:
    return int(clock[:2]) * 60 + int(clock[3:])


def _clock(minutes: int) -> str:
    return f"{minutes // 60:02}:{minutes % 60:02}"
