"""What supervisors' requests and answers look like, and what they mean to the domain."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from eventkit.http import Body, Day, Lax, example, time_of
from eventkit.publicholidays import public_holidays
from eventkit.week import DAYS, Span, Week, week_of
from services.routing import commands as c
from services.routing.commands import SECOND, Channel
from services.routing.configuration import (
    ClientRules,
    Hours,
    Interval,
    Overflow,
    Queue,
    Step,
    sorted_groups,
)
from services.routing.matching import sorted_skills
from services.routing.pool import Agent, AgentState, Call, CallState, Pool
from services.routing.queues import QueueState
from services.routing.supervisors.live import AgentsNow, Places, QueueNow, waits_since

Int32 = Annotated[int, Field(ge=c.INT32_MIN, le=c.INT32_MAX)]
Version = Annotated[int, Field(ge=0, le=2**62)]
Number = Lax[float]
Levels = dict[str, Int32]
"""Skills with a level from 1 to 5."""
CallStateName = Literal["arrived", "waiting", "offered", "assigned", "connected", "wrap_up"]
AgentStateName = Literal[
    "logged_out",
    "logged_in",
    "available",
    "reserved",
    "busy",
    "other_call",
    "wrap_up",
    "on_break",
    "not_responding",
]
YEARS_AHEAD = 2


# What is set.


class PoolBody(Body):
    """Left out, or zero: the default. wrap_up_seconds: -1 for none."""

    model_config = example(policy="service-level", wrap_up_seconds=45, expected_version=3)

    offer_seconds: Int32 = 0
    wrap_up_seconds: Int32 = 0
    clock_speed: Number = 0.0
    policy: str = ""
    missed_offers: Int32 = 0
    lost_seconds: Int32 = 0
    restricted_groups: list[str] = Field(default_factory=list)
    help_groups: list[str] = Field(default_factory=list)
    expected_version: Version = 0

    def command(self) -> c.ConfigurePool:
        said = self.model_dump()
        groups = ("restricted_groups", "help_groups")
        return c.ConfigurePool(**said | {name: sorted_groups(said[name]) for name in groups})


class HoursBody(Body):
    """holidays: closed days. holidays_of: and the public ones of a country or a part of it, such as
    FR or DE-BY, in these years (left out: this one and the next two): kept as days."""

    zone: Annotated[str, Field(max_length=100, examples=["Europe/Paris"])]
    weekly: Week = Week()
    holidays: Annotated[list[Day], Field(max_length=1_000)] = Field(default_factory=list)
    holidays_of: Annotated[str, Field(max_length=20, examples=["FR"])] = ""
    years: Annotated[list[int], Field(max_length=20, examples=[[2026, 2027]])] = Field(
        default_factory=list
    )

    def domain(self, today: datetime) -> Hours:
        days = {day.isoformat() for day in self.holidays}
        if self.holidays_of:
            country, _, part = self.holidays_of.partition("-")
            years = self.years or range(today.year, today.year + YEARS_AHEAD + 1)
            public = public_holidays(country, part, years, "hours.holidays_of")
            days |= {day.isoformat() for day in public}
        weekly = tuple(
            Interval(number, opens, closes)
            for number, day in enumerate(self.weekly.days(), 1)
            for opens, closes in day
        )
        return Hours(self.zone, weekly, tuple(sorted(days)))


Action = Literal[
    "relax_skill",
    "widen_groups",
    "move_to_queue",
    "move_to_pool",
    "offer_callback",
    "voicemail",
    "close",
]


class StepBody(Body):
    """after_seconds: of waiting in this queue. relax_skill: skill, level (0: ask for it no longer);
    widen_groups: groups (none: every group); move_to_queue: queue_id; move_to_pool: pool_id,
    queue_id."""

    action: Action
    after_seconds: Int32 = 0
    skill: str = ""
    level: Int32 = 0
    groups: list[str] = Field(default_factory=list)
    queue_id: str = ""
    pool_id: str = ""

    def domain(self) -> Step:
        return Step(
            self.after_seconds,
            Overflow[self.action.upper()],
            self.skill,
            self.level,
            sorted_groups(self.groups),
            self.queue_id,
            self.pool_id,
        )


_DEFAULT = Queue("-")
_PLAIN = (
    *("priority", "target_seconds", "target_share", "penalty", "max_wait_seconds"),
    *("sticky_days", "sticky_seconds", "base_weight", "wait_weight", "wrap_up_seconds"),
    *("callback_attempts", "callback_retry_seconds"),
)
"""What is the same number here and in the domain."""


class QueueFields(Body):
    required_skills: Levels = Field(default_factory=dict)
    preferred_skills: Levels = Field(default_factory=dict)
    priority: Int32 = _DEFAULT.priority
    target_seconds: Int32 = _DEFAULT.target_seconds
    target_share: Number = _DEFAULT.target_share
    penalty: Number = _DEFAULT.penalty
    groups: list[str] = Field(default_factory=list)
    hours: HoursBody | None = None
    when_closed: StepBody = StepBody(action="close")
    max_wait_seconds: Int32 = _DEFAULT.max_wait_seconds
    when_full: Literal["voicemail", "close"] = "close"
    steps: list[StepBody] = Field(default_factory=list)
    sticky_days: Int32 = _DEFAULT.sticky_days
    sticky_seconds: Int32 = _DEFAULT.sticky_seconds
    base_weight: Number = _DEFAULT.base_weight
    wait_weight: Number = _DEFAULT.wait_weight
    wrap_up_seconds: Int32 = _DEFAULT.wrap_up_seconds
    callback_attempts: Int32 = _DEFAULT.callback_attempts
    callback_retry_seconds: Int32 = _DEFAULT.callback_retry_seconds


class QueueBody(QueueFields):
    """The whole queue: what is left out gets its default.

    required_skills, preferred_skills: least levels, 1 to 5. target_share of the calls is to be
    answered within target_seconds; penalty: what a missed one costs, relative to other queues.
    groups: who serves it; none: everybody outside the pool's restricted groups. hours: left out:
    always open. steps: in the order of after_seconds.
    """

    model_config = example(
        required_skills={"bank": 2},
        target_seconds=20,
        target_share=0.8,
        hours={
            "zone": "Europe/Paris",
            "weekly": {"monday": ["08:00-12:00", "13:00-19:00"], "saturday": ["09:00-13:00"]},
            "holidays_of": "FR",
            "years": [2026, 2027],
        },
        steps=[
            {"after_seconds": 60, "action": "relax_skill", "skill": "bank", "level": 1},
            {"after_seconds": 180, "action": "offer_callback"},
        ],
        expected_version=2,
    )

    expected_version: Version = 0

    def command(self, queue_id: str, now: int) -> c.ConfigureQueue:
        today = datetime.fromtimestamp(now // SECOND, UTC)
        queue = Queue(
            queue_id,
            required_skills=sorted_skills(self.required_skills.items()),
            preferred_skills=sorted_skills(self.preferred_skills.items()),
            groups=sorted_groups(self.groups),
            hours=self.hours.domain(today) if self.hours else None,
            when_closed=self.when_closed.domain(),
            when_full=Overflow[self.when_full.upper()],
            steps=tuple(step.domain() for step in self.steps),
            **{name: getattr(self, name) for name in _PLAIN},
        )
        return c.ConfigureQueue(queue, self.expected_version)


class ClientFields(Body):
    share: Number = 0.0
    floor: Int32 = 0
    vip_customers: list[str] = Field(default_factory=list)
    vip_priority: Int32 = 0


class ClientBody(ClientFields):
    """share: of the agents who work: while fewer serve the client, its calls go before others'.
    floor: of the agents who could serve the client, so many are not given to others' calls."""

    model_config = example(share=0.25, floor=2, vip_customers=["k-17"], vip_priority=10)

    expected_version: Version = 0

    def command(self) -> c.ConfigureClient:
        vips = tuple(sorted(set(self.vip_customers)))
        rules = ClientRules(self.share, self.floor, vips, self.vip_priority)
        return c.ConfigureClient(rules, self.expected_version)


# What is configured. version: how often it was changed, 0: never, these are the defaults.


class PoolView(BaseModel):
    pool_id: str
    version: int
    offer_seconds: int
    wrap_up_seconds: int
    clock_speed: float
    policy: str
    missed_offers: int
    lost_seconds: int
    restricted_groups: list[str]
    help_groups: list[str]


class QueueView(QueueFields):
    client_id: str
    queue_id: str
    version: int


class ClientView(ClientFields):
    client_id: str
    version: int


class Removed(BaseModel):
    version: int


_OWN = ("pool_id", "version")


def pool_view(pool: Pool) -> PoolView:
    settings = pool.settings
    said = {name: getattr(settings, name) for name in PoolView.model_fields if name not in _OWN}
    return PoolView(pool_id=pool.pool_id, version=settings.config_version, **said)


def queue_view(state: QueueState) -> QueueView:
    queue = state.config
    return QueueView(
        client_id=state.client_id,
        queue_id=queue.queue_id,
        version=state.config_version,
        required_skills=dict(queue.required_skills),
        preferred_skills=dict(queue.preferred_skills),
        groups=list(queue.groups),
        hours=_hours_view(queue.hours) if queue.hours else None,
        when_closed=_step_view(queue.when_closed),
        when_full="voicemail" if queue.when_full is Overflow.VOICEMAIL else "close",
        steps=[_step_view(step) for step in queue.steps],
        **{name: getattr(queue, name) for name in _PLAIN},
    )


def _hours_view(hours: Hours) -> HoursBody:
    days: list[list[Span]] = [[] for _ in DAYS]
    for each in hours.weekly:
        days[each.weekday - 1].append((each.opens, each.closes))
    said = {"zone": hours.zone, "weekly": week_of(days), "holidays": list(hours.holidays)}
    return HoursBody.model_validate(said)


def _step_view(step: Step) -> StepBody:
    return StepBody.model_validate(
        {
            "action": step.action.name.lower(),
            "after_seconds": step.after_seconds,
            "skill": step.skill,
            "level": step.level,
            "groups": list(step.groups),
            "queue_id": step.queue_id,
            "pool_id": step.pool_id,
        }
    )


def client_view(client_id: str, rules: ClientRules, version: int) -> ClientView:
    return ClientView(
        client_id=client_id,
        version=version,
        share=rules.share,
        floor=rules.floor,
        vip_customers=list(rules.vip_customers),
        vip_priority=rules.vip_priority,
    )


# How things are. Waits and lengths in seconds.


class QueueLive(BaseModel):
    """waiting, offered, assigned, connected: as many as /calls?queue=CLIENT/QUEUE&state=... lists.
    callbacks: of those who wait, customers who have hung up and will be called. service_level: of
    about the last fifty calls. estimated_wait_s: of a call that comes now; null: not known yet."""

    client_id: str
    queue_id: str
    open: bool
    waiting: int
    callbacks: int
    longest_wait_s: float
    offered: int
    assigned: int
    connected: int
    service_level: float | None
    target_share: float
    target_seconds: int
    estimated_wait_s: float | None


class AgentsLive(BaseModel):
    """count: as many as /agents?state=... lists; longest_s: how long the first of them is in it."""

    state: AgentStateName
    count: int
    longest_s: float


class PoolLive(BaseModel):
    """as_of: until when waits are counted."""

    pool_id: str
    as_of: datetime
    policy: str
    waiting: int
    offered: int
    assigned: int
    connected: int
    queues: list[QueueLive]
    agents: list[AgentsLive]


class CallLive(BaseModel):
    """place, estimated_wait_s: of a call that waits. wait_s: so far, or until it was answered.
    agent_id: who is offered it, or has it."""

    client_id: str
    call_id: str
    state: CallStateName
    channel: str | None
    queue_id: str
    priority: int
    arrived_at: datetime
    queued_at: datetime | None
    wait_s: float | None
    place: int | None
    estimated_wait_s: float | None
    callback: bool
    agent_id: str | None
    connected_at: datetime | None
    on_hold: bool


class Candidate(BaseModel):
    id: str
    score: float


class WhyView(BaseModel):
    """Why this agent is offered the call; kept until they accept. Later: the event CallAssigned."""

    rule: str
    policy: str
    for_agent: bool
    looked_at: int
    best: list[Candidate]
    relaxed: list[str]


class HelpLive(BaseModel):
    help_id: str
    kind: str
    state: CallStateName
    agent_id: str | None


class CallDetail(CallLive):
    customer_id: str | None
    required_skills: Levels
    groups: list[str]
    any_group: bool
    relaxed: list[str]
    overflow_steps: int
    moves: int
    only_agent: str | None
    attempts: int
    not_before: datetime | None
    offer_id: str | None
    offer_expires_at: datetime | None
    answered: bool
    talked_s: float
    held_s: float
    helps: list[HelpLive]
    why: WhyView | None
    version: int


class AgentLive(BaseModel):
    """since: in this state. offered, calls, wrap_ups: CLIENT/CALL. connected: the desktop."""

    agent_id: str
    state: AgentStateName
    since: datetime
    for_s: float
    reason: str | None
    site: str | None
    skills: Levels
    groups: list[str]
    offered: str | None
    calls: list[str]
    wrap_ups: list[str]
    after_call: AgentStateName | None
    missed: int
    connected: bool


def pool_live(pool: Pool, queues: Sequence[QueueNow], agents: Sequence[AgentsNow], now: int) -> Any:
    live = [_queue_live(each) for each in queues]
    names = ("waiting", "offered", "assigned", "connected")
    return PoolLive(
        pool_id=pool.pool_id,
        as_of=time_of(now),
        policy=pool.settings.policy,
        queues=live,
        agents=[
            AgentsLive(
                state=agent_state(each.state),
                count=each.count,
                longest_s=each.longest / SECOND,
            )
            for each in agents
        ],
        **{name: sum(getattr(each, name) for each in live) for name in names},
    )


def _queue_live(each: QueueNow) -> QueueLive:
    config = each.state.config
    return QueueLive(
        client_id=each.state.client_id,
        queue_id=config.queue_id,
        open=each.open,
        waiting=each.waiting,
        callbacks=each.callbacks,
        longest_wait_s=each.longest_wait / SECOND,
        offered=each.offered,
        assigned=each.assigned,
        connected=each.connected,
        service_level=each.service_level,
        target_share=config.target_share,
        target_seconds=config.target_seconds,
        estimated_wait_s=_seconds(each.estimated_wait),
    )


def call_live(call: Call, places: Places, now: int) -> CallLive:
    return CallLive(**_call(call, places, now))


def _call(call: Call, places: Places, now: int) -> dict[str, Any]:
    until = call.connected_at if call.state is CallState.CONNECTED else now
    waited = until - waits_since(call) if call.queued_at else None
    return {
        "client_id": call.client_id,
        "call_id": call.call_id,
        "state": call_state(call.state),
        "channel": call.channel.name.lower() if call.channel is not Channel.UNSPECIFIED else None,
        "queue_id": call.queue_id,
        "priority": call.priority,
        "arrived_at": time_of(call.arrived_at),
        "queued_at": _time(call.queued_at),
        "wait_s": None if waited is None else max(0, waited) / SECOND,
        "place": places.of(call),
        "estimated_wait_s": _seconds(places.estimated_wait(call)),
        "callback": call.callback,
        "agent_id": call.agent_id or None,
        "connected_at": _time(call.connected_at),
        "on_hold": call.held_at > 0,
    }


def call_detail(pool: Pool, call: Call, places: Places, now: int) -> CallDetail:
    helps = [pool.calls[stream] for stream in call.helps]
    why = call.why
    return CallDetail(
        **_call(call, places, now),
        customer_id=call.customer_id or None,
        required_skills=dict(call.required_skills),
        groups=list(call.groups),
        any_group=call.any_group,
        relaxed=list(call.relaxed),
        overflow_steps=call.step,
        moves=call.moves,
        only_agent=call.only_agent or None,
        attempts=call.attempts,
        not_before=_time(call.not_before),
        offer_id=call.offer_id or None,
        offer_expires_at=_time(call.offer_expires_at) if call.state is CallState.OFFERED else None,
        answered=call.answered,
        talked_s=call.talked / SECOND,
        held_s=call.held / SECOND,
        helps=[
            HelpLive(
                help_id=each.call_id,
                kind=each.kind.name.lower(),
                state=call_state(each.state),
                agent_id=each.agent_id or None,
            )
            for each in helps
        ],
        why=None
        if why is None
        else WhyView(
            rule=why.rule,
            policy=why.policy,
            for_agent=why.for_agent,
            looked_at=why.looked_at,
            best=[Candidate(id=each.id, score=each.score) for each in why.best],
            relaxed=list(why.relaxed),
        ),
        version=call.version,
    )


def agent_live(agent: Agent, now: int) -> AgentLive:
    return AgentLive(
        agent_id=agent.agent_id,
        state=agent_state(agent.state),
        since=time_of(agent.since),
        for_s=max(0, now - agent.since) / SECOND,
        reason=agent.reason or None,
        site=agent.site or None,
        skills=dict(agent.skills),
        groups=list(agent.groups),
        offered=agent.offered or None,
        calls=list(agent.calls),
        wrap_ups=list(filter(None, agent.wrap_ups)),
        after_call=agent_state(agent.after_call) if agent.after_call else None,
        missed=agent.missed,
        connected=agent.lost_at < 0,
    )


def agent_state(state: AgentState) -> AgentStateName:
    name: Any = state.name.lower()
    return name  # type: ignore[no-any-return]


def call_state(state: CallState) -> CallStateName:
    name: Any = state.name.lower()
    return name  # type: ignore[no-any-return]


def _time(us: int) -> datetime | None:
    return time_of(us) if us else None


def _seconds(us: int | None) -> float | None:
    return None if us is None else us / SECOND
