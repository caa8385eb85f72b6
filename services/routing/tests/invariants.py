"""What holds of a pool after every command, by looking at everybody: no index and no counter."""

from collections import Counter
from collections.abc import Iterable, Mapping
from copy import copy
from dataclasses import dataclass, replace
from types import MappingProxyType

from services.routing.commands import SECOND, Channel
from services.routing.configuration import Groups, Skills
from services.routing.engine import Timer, all_subjects, timer_of
from services.routing.matching import Need, Numbers, Profile
from services.routing.pool import Agent, AgentState, Call, CallState, Pool
from services.routing.tests.linear import LinearMatching

Idle = Mapping[str, tuple[Profile, int]]
"""By agent: what they can take, and since when they have been idle."""
WITHOUT_CALL = (AgentState.LOGGED_OUT, AgentState.ON_BREAK, AgentState.NOT_RESPONDING)
IN_HAND = (CallState.ASSIGNED, CallState.CONNECTED)
VOICE, CHAT, EMAIL = "voice", "chat", "e-mail"
BITS = {
    VOICE: 1 << Channel.VOICE | 1 << Channel.CALLBACK | 1 << Channel.UNSPECIFIED,
    CHAT: 1 << Channel.CHAT,
    EMAIL: 1 << Channel.EMAIL,
}


@dataclass(frozen=True, slots=True)
class Offer:
    """One that a command has led to. since: when the agent began to be idle."""

    agent_id: str
    stream: str
    since: int
    for_agent: bool


def check(
    pool: Pool,
    timers: Mapping[str, Timer],
    offers: Iterable[Offer] = (),
    idle_before: Idle = MappingProxyType({}),
) -> Idle:
    """Raises AssertionError; returns who can be offered something.

    offers: those of the last command, in their order. idle_before: what this has returned then.
    """
    check_hands(pool)
    check_calls(pool)
    check_agents(pool)
    check_timers(pool, timers)
    room = Room(pool)
    check_indexes(pool, room)
    idle = dict(room.linear.agents)
    check_decisions(pool, room, offers, idle_before)
    return idle


# Who has what.


def check_hands(pool: Pool) -> None:
    """Calls and agents say the same of each other; a call is with one agent, or with none."""
    offered = {call.agent_id: stream for stream, call in with_state(pool, CallState.OFFERED)}
    assert offered == {a.agent_id: a.offered for a in pool.agents.values() if a.offered}
    assert len(offered) == sum(1 for _ in with_state(pool, CallState.OFFERED)), "two offers"
    with_agent = sorted((call.agent_id, stream) for stream, call in with_state(pool, *IN_HAND))
    in_hand = sorted((a.agent_id, stream) for a in pool.agents.values() for stream in a.calls)
    assert with_agent == in_hand, "calls in hand"
    wrapping = Counter(stream for a in pool.agents.values() for stream in a.wrap_ups)
    for stream, call in pool.calls.items():
        assert call.wrapping == wrapping[stream], "agents who wrap a call up"


def with_state(pool: Pool, *states: CallState) -> list[tuple[str, Call]]:
    return [(stream, call) for stream, call in pool.calls.items() if call.state in states]


def check_calls(pool: Pool) -> None:
    for stream, call in pool.calls.items():
        assert stream == call.stream_id
        assert stream not in pool.finished, "open and finished"
        assert call.at <= pool.now, "a call ahead of the pool"
        if call.state is CallState.ARRIVED:
            assert call.queue_id == call.agent_id == ""
        elif call.state is CallState.WAITING:
            assert call.agent_id == call.offer_id == ""
            assert call.why is None
            only = pool.agents.get(call.only_agent)
            gone = only is not None and only.state is AgentState.LOGGED_OUT
            assert not gone, "waits for somebody who has logged out"
        elif call.state is CallState.WRAP_UP:
            assert call.wrapping, "over, and still here"
        assert not call.held_at or call.state is CallState.CONNECTED, "on hold with nobody"
        assert not call.interrupted or call.held_at, "interrupted, and not on hold"
        assert not call.not_before or (call.state is CallState.WAITING and call.callback)
        assert call.relaxed or not call.any_group, "served by everybody, and nothing has said so"
        assert not call.helps or call.state is CallState.CONNECTED, "help for no call"
        for help_stream in call.helps:
            assert pool.calls[help_stream].main == stream
        if call.main:
            assert stream in pool.calls[call.main].helps
    assert pool.moved.keys() <= pool.finished.keys()


def check_agents(pool: Pool) -> None:
    for agent in pool.agents.values():
        state = agent.state
        assert agent.at <= pool.now, "an agent ahead of the pool"
        assert (state is AgentState.BUSY) == bool(agent.calls), "busy is to have calls"
        if not agent.calls:
            assert (state is AgentState.RESERVED) == bool(agent.offered), "reserved is to be asked"
        if state is AgentState.WRAP_UP:
            assert agent.wrap_ups, "wraps nothing up"
        elif state not in (AgentState.BUSY, AgentState.RESERVED):
            assert not agent.wrap_ups, "wraps up beside another state"
        wishes = (AgentState.BUSY, AgentState.WRAP_UP)
        assert agent.after_call is None or state in wishes, "a wish that nothing will fulfil"
        assert agent.lost_at < 0 or not agent.offered, "an offer that nobody sees"
        assert agent.lost_at < 0 or state is not AgentState.LOGGED_OUT
        assert not agent.is_given_up or any(
            kind_of(pool.calls[stream]) == VOICE for stream in agent.calls
        ), "given up, and talks to nobody"
        check_capacity(pool, agent)


def kind_of(call: Call) -> str:
    """What it is to an agent's capacity. Who helps, talks."""
    if call.main:
        return VOICE
    return {Channel.CHAT: CHAT, Channel.EMAIL: EMAIL}.get(call.channel, VOICE)


def check_capacity(pool: Pool, agent: Agent) -> None:
    calls = [pool.calls[stream] for stream in agent.calls]
    kinds = Counter(map(kind_of, calls))
    if agent.offered:
        kinds[kind_of(pool.calls[agent.offered])] += 1
    assert kinds[VOICE] <= 1, "two voices"
    assert not (kinds[VOICE] and kinds[CHAT]), "a voice beside a chat"
    assert kinds[CHAT] <= agent.chats, "too many chats"
    assert kinds[EMAIL] <= agent.emails, "too many e-mails"
    urgent = any(kind_of(call) != EMAIL for call in calls)
    for call in calls:
        active = call.state is CallState.CONNECTED and not call.held_at
        beside = urgent and kind_of(call) == EMAIL
        assert not (beside and active), "an e-mail beside something more urgent"
        assert beside or not call.interrupted, "an e-mail that waits for nothing"


# Who could take what.


def open_channels(pool: Pool, agent: Agent, *, offered: bool = True) -> int:
    """What the agent can be offered. offered: False as if their offer were not there."""
    if (offered and agent.offered) or agent.after_call is not None or agent.lost_at >= 0:
        return 0
    calls = [pool.calls[stream] for stream in agent.calls]
    kinds = Counter(map(kind_of, calls))
    if any(call.helps for call in calls if kind_of(call) == EMAIL):
        return 0
    if agent.calls:
        kinds[CHAT] += len(agent.wrap_ups)
    elif agent.state is not AgentState.AVAILABLE and not (agent.offered and not offered):
        return 0
    if kinds[VOICE]:
        return 0
    channels = BITS[CHAT] if kinds[CHAT] < agent.chats else 0
    if not kinds[CHAT]:
        channels |= BITS[VOICE]
        if kinds[EMAIL] < agent.emails:
            channels |= BITS[EMAIL]
    return channels


def need_of(call: Call) -> Need:
    return Need(
        f"{call.client_id}/{call.queue_id}",
        () if call.only_agent else call.required_skills,
        call.groups,
        call.any_group,
        call.channel if call.channel else Channel.VOICE,
        call.priority,
        call.only_agent,
    )


class Recount:
    """What `Shares` says, counted anew. hands: by agent, the streams offered or in hand."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.hands = {
            agent.agent_id: [*agent.calls, *([agent.offered] if agent.offered else [])]
            for agent in pool.agents.values()
            if agent.state not in WITHOUT_CALL
        }
        self._able: dict[tuple[str, Skills, Groups], bool] = {}
        self._floors = {client: each.floor for client, each in pool.clients.items() if each.floor}

    def client_of(self, agent_id: str) -> str:
        hand = self.hands.get(agent_id)
        return hand[0].split("/")[0] if hand else ""

    def serving(self, client: str) -> int:
        return sum(self.client_of(agent_id) == client for agent_id in self.hands)

    def behind(self, client: str) -> bool:
        rules = self.pool.clients.get(client)
        if rules is None or not rules.share:
            return False
        return self.serving(client) < rules.share * len(self.hands)

    def has_claim(self, client: str, skills: Skills, groups: Groups, serves: str) -> bool:
        """Whether an agent is left to a client with a floor."""
        return serves in ("", client) and self.able(client, skills, groups)

    def left(self, client: str) -> int:
        agents = [self.pool.agents[agent_id] for agent_id in self.hands]
        return sum(
            self.has_claim(client, each.skills, each.groups, self.client_of(each.agent_id))
            for each in agents
        )

    def able(self, client: str, skills: Skills, groups: Groups) -> bool:
        key = (client, skills, groups)
        if key not in self._able:
            levels, restricted = dict(skills), set(self.pool.settings.restricted_groups)
            self._able[key] = any(
                all(levels.get(name, 0) >= level for name, level in queue.required_skills)
                and (
                    set(queue.groups) & set(groups) or not (queue.groups or restricted & {*groups})
                )
                for queue in (
                    state.config
                    for key, state in self.pool.queues.items()
                    if state.configured and key.split("/")[0] == client
                )
            )
        return self._able[key]

    def may_take(self, skills: Skills, groups: Groups, client: str, serves: str = "") -> bool:
        return all(
            self.left(other) > floor
            for other, floor in self._floors.items()
            if other != client and self.has_claim(other, skills, groups, serves)
        )


class Room:
    """Who waits and who is idle, for the rule word for word."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self._back: set[str] = set()
        self.shares = Recount(pool)
        settings = pool.settings
        self.linear = LinearMatching(
            settings.policy,
            pool.queues,
            self.shares,  # type: ignore[arg-type]
            settings.restricted_groups,
        )
        for agent in pool.agents.values():
            self.add_agent(agent, agent.since)
        for call in pool.calls.values():
            if call.state is CallState.WAITING and not call.not_before:
                self.add_call(call)

    def add_agent(self, agent: Agent, since: int, *, offered: bool = True) -> None:
        channels = open_channels(self.pool, agent, offered=offered)
        if channels:
            profile = Profile(agent.skills, agent.groups, channels, len(agent.calls))
            self.linear.add_agent(agent.agent_id, profile, since)

    def add_call(self, call: Call) -> None:
        self.linear.add_call(call.stream_id, need_of(call), call.queued_at)

    def take_back(self, offer: Offer) -> None:
        """As it was before this offer, the last one."""
        agent, call = self.pool.agents[offer.agent_id], self.pool.calls[offer.stream]
        if agent.offered != offer.stream:
            assert call.auto_accept
            assert call.state is CallState.ASSIGNED
            assert offer.stream in agent.calls
        self._back.add(offer.stream)
        calls = [stream for stream in agent.calls if stream not in self._back]
        state = agent.state if calls else AgentState.RESERVED
        before = replace(agent, calls=calls, state=state, offered=offer.stream)
        self.shares.hands[agent.agent_id] = calls
        self.add_agent(before, offer.since, offered=False)
        self.add_call(call)

    def rank(self, agent_id: str, stream: str) -> Numbers:
        """Smaller comes first."""
        need, queued_at = self.linear.calls[stream]
        idle = self.linear.idle(agent_id, need, self.pool.now)
        return self.linear.rank(need, queued_at, idle, self.pool.now)

    def takeable(self, agent_id: str) -> list[str]:
        calls = self.linear.calls
        if agent_id not in self.linear.agents:
            return []
        return [call for call, (need, _) in calls.items() if self.linear.may(agent_id, need)]


def check_decisions(pool: Pool, room: Room, offers: Iterable[Offer], idle_before: Idle) -> None:
    """Nobody idles whom a waiting call could have, and every offer was the policy's."""
    for agent_id in room.linear.agents:
        assert not room.takeable(agent_id), "an agent idles and a call waits"
    linear = room.linear
    for offer in reversed(list(offers)):
        room.take_back(offer)
        call = pool.calls[offer.stream]
        could = room.takeable(offer.agent_id)
        assert offer.stream in could, "offered to an agent who may not take it"
        if not linear.policy.by_pair:
            first = max(linear.calls[stream][0].priority for stream in could)
            assert call.priority == first, "a call of higher priority was passed over"
        if offer.for_agent:
            choice = linear.call_for(offer.agent_id, pool.now)
            assert choice is not None
            assert choice.id == offer.stream, "another call comes first"
        else:
            # Whom the same command has set free is asked after those who idled before.
            arguments = (need_of(call), call.queued_at, pool.now)
            best = {choice.id for choice in (linear.agent_for(*arguments),) if choice}
            freed = {
                agent_id: linear.agents.pop(agent_id)
                for agent_id, idle in list(linear.agents.items())
                if idle_before.get(agent_id) != idle
            }
            best |= {choice.id for choice in (linear.agent_for(*arguments),) if choice}
            linear.agents |= freed
            assert offer.agent_id in best, "another agent comes first"
            first_call = linear.call_for(offer.agent_id, pool.now)
            assert first_call is not None
            ranks = [room.rank(offer.agent_id, each) for each in (first_call.id, offer.stream)]
            assert ranks[0] == ranks[1], "another call comes first"


def check_indexes(pool: Pool, room: Room) -> None:
    """What the pool has indexed and counted is what is there."""
    matching, linear = pool.matching, room.linear
    assert matching._calls.keys() == linear.calls.keys(), "calls that can be found"
    for stream, (need, queued_at) in linear.calls.items():
        assert matching._calls[stream] == (queued_at, stream)
        assert matching._line_of[stream].need == need, "what a call needs"
    assert matching._agents.keys() == linear.agents.keys(), "agents who can be found"
    for agent_id, (profile, since) in linear.agents.items():
        assert matching._agents[agent_id] == (since, agent_id)
        assert matching._reach_of[agent_id].profile == profile, "what an agent can take"
    waiting: dict[str, Counter[int]] = {}
    for _, call in with_state(pool, CallState.WAITING):
        if not call.main:
            waiting.setdefault(call.queue_key, Counter())[call.priority] += 1
    for key, state in pool.queues.items():
        assert state.waiting_by_priority == waiting.get(key, {}), "calls that wait in a queue"
        assert state.waiting or not state.pace.began, "a stretch of waiting without anybody"
    assert waiting.keys() <= pool.queues.keys()
    shares = pool.shares
    if shares.guarded or shares.shared:
        assert shares._agents.keys() == room.shares.hands.keys(), "agents who work"
    for client, rules in pool.clients.items():
        if shares.guarded or shares.shared:
            assert shares._serving[client] == room.shares.serving(client), "agents with a client"
        if rules.floor:
            assert shares._left[client] == room.shares.left(client), "agents left to a client"
        assert pool.vips[client] == frozenset(rules.vip_customers)


def check_fresh(pool: Pool) -> None:
    """Indexes that are built again answer as those that have grown."""
    fresh = copy(pool)
    fresh.index()
    for agent_id, (profile, _) in Room(pool).linear.agents.items():
        assert fresh.open_channels(pool.agents[agent_id]) == profile.channels
    for call in pool.calls.values():
        arguments = (need_of(call), call.queued_at, pool.now)
        assert pool.matching.agent_for(*arguments) == fresh.matching.agent_for(*arguments)
    assert pool.matching.next_match(pool.now) == fresh.matching.next_match(pool.now)


# What time alone will bring.


def check_timers(pool: Pool, timers: Mapping[str, Timer]) -> None:
    for stream, call in pool.calls.items():
        timer = timers.get(stream)
        assert (timer.due if timer else 0) == due_of_call(pool, call), "when a call's timer is due"
    for agent_id, agent in pool.agents.items():
        timer = timers.get(f"agent/{agent_id}")
        dues = [wrap_up.ends_at for wrap_up in agent.wrap_ups.values()]
        if agent.lost_at >= 0 and not agent.is_given_up:
            dues.append(agent.lost_at + pool.settings.lost_seconds * SECOND)
        assert (timer.due if timer else 0) == min(dues, default=0), "when an agent's timer is due"


def due_of_call(pool: Pool, call: Call) -> int:
    """0: never."""
    if call.state is CallState.OFFERED:
        return call.offer_expires_at
    if call.state is not CallState.WAITING:
        return 0
    if call.not_before:
        return call.not_before
    dues = [call.only_until] if call.only_agent and call.only_until else []
    config = pool.queues[call.queue_key].config
    if not call.main:
        dues += [
            call.entered_at + step.after_seconds * SECOND for step in config.steps[call.step :]
        ]
        if config.max_wait_seconds and not call.callback:
            dues.append(call.entered_at + config.max_wait_seconds * SECOND)
    return min(dues, default=0)


def all_timers(pool: Pool) -> dict[str, Timer]:
    """By what they are about."""
    found = ((subject, timer_of(pool, subject)) for subject in all_subjects(pool))
    return {subject: timer for subject, timer in found if timer is not None}
