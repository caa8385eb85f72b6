"""One turn of a pool: which campaign dials how many now. Pure.

Campaigns share agents: the more important one goes first, equal ones take turns in being first, and
what one has dialled is among the calls that the next one sees. Times are microseconds since 1970.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby

from services.dialer.dialling.messages import (
    ANYBODY,
    Agent,
    AgentState,
    CallKey,
    Need,
    PoolNow,
)
from services.dialer.pacing.learned import Learned
from services.dialer.pacing.policies import POLICIES
from services.dialer.pacing.scene import Agent as SceneAgent
from services.dialer.pacing.scene import CallOut, Carrier, Doing, Measure, Scene

SECOND = 1_000_000
AGENTLESS = "message"
PREVIEW = "preview"
MAX_PER_TURN = 400
"""Of one campaign: what is taken in one transaction, and asked about in one go."""


@dataclass(frozen=True, slots=True)
class Campaign:
    """A running campaign, as far as a turn needs it.

    mode     how it dials now, after what was lowered
    ratio    of mode power
    lines    how many of its own may be dialled now; None: nothing but the carrier bounds it
    due      how many leads wait for their turn, as far as is known; None: many
    """

    client_id: str
    campaign_id: str
    queue_id: str
    mode: str
    priority: int = 0
    ratio: float = 1.0
    measure: Measure = field(default_factory=Measure)
    connect_seconds: float = 2.0
    need: Need = ANYBODY
    lines: int | None = None
    due: int | None = None

    @property
    def key(self) -> str:
        return f"{self.client_id}/{self.campaign_id}"


@dataclass(slots=True)
class Out:
    """A call that was dialled and is not over.

    skills      that its agent has to have beside those of the queue
    agent_id    for whom alone it was dialled: a preview or a promised callback; routing hears
                nothing of it
    as_person   an answering machine is treated as a person
    talks_to    whom the carrier was asked to join it to, or has joined it to
    nobody      it is no person: no agent is wanted any more
    told        routing knows of it
    """

    key: CallKey
    campaign_id: str
    pool_id: str
    queue_id: str
    mode: str
    priority: int
    customer_id: str
    dialled_at: int
    skills: tuple[tuple[str, int], ...] = ()
    agent_id: str = ""
    as_person: bool = False
    answered_at: int = 0
    greeting_ended_at: int = 0
    connected_at: int = 0
    talks_to: str = ""
    nobody: bool = False
    told: bool = False

    @property
    def campaign(self) -> str:
        return f"{self.key.client_id}/{self.campaign_id}"

    @property
    def wants_agent(self) -> bool:
        """One of the pool's, whom it does not have yet."""
        return not (self.mode == AGENTLESS or self.agent_id or self.connected_at or self.nobody)


@dataclass(frozen=True, slots=True)
class Plan:
    """policy, because: go onto the attempts."""

    campaign: Campaign
    calls: int
    policy: str
    because: str


def in_order(campaigns: Iterable[Campaign], turn: int) -> list[Campaign]:
    """The more important first; of equal ones another one is first in each turn."""
    ordered: list[Campaign] = []
    by_priority = sorted(campaigns, key=lambda each: (-each.priority, each.key))
    for _, equal in groupby(by_priority, lambda each: each.priority):
        group = list(equal)
        start = turn % len(group)
        ordered += group[start:] + group[:start]
    return ordered


def scene_agents(
    pool: PoolNow, outs: Mapping[str, Out], looking: frozenset[str] = frozenset()
) -> dict[str, tuple[Agent, SceneAgent]]:
    """Who can take calls, by id, and what they do. What the carrier has said counts before what
    routing knows yet.

    outs: calls by their stream. looking: agents who are shown a lead.
    """
    bound = {out.agent_id: out for out in outs.values() if out.agent_id}
    bound |= {out.talks_to: out for out in outs.values() if out.talks_to}
    found = {}
    for agent in pool.agents:
        seen = _doing(agent, outs.get(agent.call))
        if seen is None:
            continue
        out = bound.get(agent.agent_id)
        if out is not None and out.connected_at:
            seen = SceneAgent(Doing.TALKING, out.connected_at, out.campaign)
        elif out is not None:
            seen = SceneAgent(Doing.OFFERED, out.dialled_at, _meant(out))
        elif agent.agent_id in looking and seen.doing is Doing.IDLE:
            seen = replace(seen, doing=Doing.OFFERED)
        found[agent.agent_id] = agent, seen
    return found


def _meant(out: Out | None) -> str:
    """The campaign of a call that still wants an agent: who is offered it counts together with it.
    Of any other call, none: who is offered that has no time for others."""
    return out.campaign if out is not None and out.wants_agent else ""


def _doing(agent: Agent, out: Out | None) -> SceneAgent | None:
    if agent.leaving:
        return None
    campaign = out.campaign if out is not None else ""
    match agent.state:
        case AgentState.AVAILABLE:
            return SceneAgent(Doing.IDLE, agent.since)
        case AgentState.RESERVED:
            return SceneAgent(Doing.OFFERED, agent.since, _meant(out))
        case AgentState.BUSY:
            if agent.connected_at is None:
                return SceneAgent(Doing.OFFERED, agent.since, _meant(out))
            return SceneAgent(Doing.TALKING, agent.connected_at, campaign)
        case AgentState.OTHER_CALL:
            return SceneAgent(Doing.TALKING, agent.since)
        case AgentState.WRAP_UP:
            return SceneAgent(Doing.WRAP_UP, agent.since, campaign, agent.wrap_up_ends_at or 0)
    return None


def plan(
    now: int,
    pool: PoolNow,
    campaigns: Sequence[Campaign],
    outs: Mapping[str, Out],
    learned: Callable[[str], Learned],
    carrier: Carrier,
    *,
    turn: int = 0,
    inbound_rate: float = 0.0,
    looking: frozenset[str] = frozenset(),
    needs: Mapping[str, Need] | None = None,
) -> list[Plan]:
    """What each campaign dials in this turn; those that dial nothing are left out.

    outs: the pool's calls by their stream. learned: of a campaign's key. needs: of queues, by
    `<client>/<queue>`; of others anybody may be needed.
    """
    agents = scene_agents(pool, outs, looking)
    calls = [_call(out) for out in outs.values() if out.wants_agent]
    serving = {
        each.key: [id for id, (a, _) in agents.items() if each.need.is_met_by(a)]
        for each in campaigns
    }
    waiting = _others_waiting(pool, outs)
    plans = []
    for campaign in in_order(campaigns, turn):
        own = serving[campaign.key]
        ours = set(own)
        rivals = {
            key
            for key, those in serving.items()
            if key == campaign.key or not ours.isdisjoint(those)
        }
        bound = carrier
        if campaign.lines is not None:
            bound = replace(carrier, lines=min(carrier.lines, campaign.lines))
        seen = [call for call in calls if call.campaign in rivals or call.campaign not in serving]
        keys = {call.campaign for call in seen} | {agents[id][1].campaign for id in own}
        scene = Scene(
            now,
            campaign.key,
            [agents[id][1] for id in own],
            seen,
            {key: learned(key) for key in keys | {campaign.key} if key},
            campaign.measure,
            bound,
            _before(waiting, own, agents, needs or {}),
            inbound_rate,
            campaign.ratio,
            campaign.connect_seconds,
        )
        decision = POLICIES[campaign.mode](scene)
        wanted = MAX_PER_TURN if campaign.due is None else min(MAX_PER_TURN, campaign.due)
        count = min(decision.calls, wanted)
        if count <= 0:
            continue
        plans.append(Plan(campaign, count, campaign.mode, decision.because))
        if campaign.mode != PREVIEW:
            carrier = replace(carrier, lines=carrier.lines - count)
        if campaign.mode != AGENTLESS:
            calls += [CallOut(campaign.key, now)] * count
    return plans


def _call(out: Out) -> CallOut:
    return CallOut(out.campaign, out.dialled_at, out.answered_at, out.greeting_ended_at)


def _others_waiting(pool: PoolNow, outs: Mapping[str, Out]) -> Counter[tuple[str, str]]:
    """Calls of others that wait, by client and queue: ours are among the calls that are out."""
    count: Counter[tuple[str, str]] = Counter()
    for each in pool.waiting:
        count[each.client_id, each.queue_id] += each.calls
    for out in outs.values():
        if out.told and not out.talks_to:
            count[out.key.client_id, out.queue_id] -= 1
    return +count


def _before(
    waiting: Mapping[tuple[str, str], int],
    own: Sequence[str],
    agents: Mapping[str, tuple[Agent, SceneAgent]],
    needs: Mapping[str, Need],
) -> int:
    """How many of these wait for agents of ours."""
    total = 0
    for (client_id, queue_id), calls in waiting.items():
        need = needs.get(f"{client_id}/{queue_id}", ANYBODY)
        if any(need.is_met_by(agents[id][0]) for id in own):
            total += calls
    return total
