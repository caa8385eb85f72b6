"""A pool: its agents, its open calls, its configuration and its time. Times are microseconds.

All that the engine knows is here and nothing else decides, so a pool can be written down
(codec.encode_pool) and restored anywhere. `Matching` and `Shares` are indexes over the rest, built
again.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import IntEnum

from services.routing.commands import SECOND, Channel, HelpKind
from services.routing.configuration import ClientRules, Groups, Queue, Skills
from services.routing.events import Why
from services.routing.matching import Matching, Need, Profile
from services.routing.policies import DEFAULT
from services.routing.queues import QueueState
from services.routing.shares import Shares

FINISHED_KEPT = 50_000
FINISHED_KEPT_FOR = 24 * 3600 * SECOND
"""How many finished calls a pool remembers, and for how long by its own time."""
SERVED_KEPT = 50_000
"""Of how many customers a pool remembers who served them last."""


LOST = "the desktop's connection is lost"
"""Why calls are taken from an agent, who is logged out."""


class AgentState(IntEnum):
    """One at a time. The numbers are those of PoolSnapshot."""

    LOGGED_OUT = 1
    LOGGED_IN = 2
    """There, and not yet available."""
    AVAILABLE = 3
    RESERVED = 4
    """Offered a call, and without another."""
    BUSY = 5
    """Has calls of this pool: accepted, perhaps not yet connected."""
    OTHER_CALL = 6
    WRAP_UP = 7
    ON_BREAK = 8
    NOT_RESPONDING = 9
    """Let offers expire."""


class CallState(IntEnum):
    """The numbers are those of PoolSnapshot."""

    ARRIVED = 1
    WAITING = 2
    OFFERED = 3
    ASSIGNED = 4
    CONNECTED = 5
    WRAP_UP = 6
    """Over for the customer, not yet for an agent."""


@dataclass(slots=True)
class WrapUp:
    """An agent's work after one call."""

    started_at: int
    ends_at: int


@dataclass(slots=True)
class Agent:
    """Kept after the log-out, because the versions of an agent's stream go on for ever."""

    agent_id: str
    skills: Skills = ()
    groups: Groups = ()
    skilled_at: int = -1
    """When these were set."""
    site: str = ""
    chats: int = 1
    emails: int = 1
    """How many at a time."""
    state: AgentState = AgentState.LOGGED_OUT
    version: int = 0
    at: int = 0
    """When the last event happened."""
    since: int = 0
    """Since when the agent is in this state: idle time counts from here."""
    reported_at: int = -1
    reports: tuple[str, ...] = ()
    """The last report of the agent's own: its time, and the commands that carried that time."""
    offered: str = ""
    """The stream of the call that is offered."""
    calls: list[str] = field(default_factory=list)
    """The streams of the calls in hand, requests for help of others included."""
    wrap_ups: dict[str, WrapUp] = field(default_factory=dict)
    """By the stream of the call; under "" after a call that Relais did not offer."""
    reason: str = ""
    """Of the break."""
    after_call: AgentState | None = None
    """ON_BREAK or LOGGED_OUT, when the agent has asked for it during a call."""
    after_call_reason: str = ""
    missed: int = 0
    """Offers in a row that nobody answered."""
    lost_at: int = -1
    """When the desktop's connection was lost; -1: it was not."""

    @property
    def is_given_up(self) -> bool:
        """Lost for too long, and logged out as soon as the call in hand is over."""
        return self.lost_at >= 0 and self.after_call_reason == LOST


@dataclass(slots=True)
class Call:
    """From its first report until nothing more can happen to it.

    A request for help is a call too: `main` is the stream of the call that it is for. Its events
    stand in that stream.
    """

    client_id: str
    call_id: str
    state: CallState = CallState.ARRIVED
    version: int = 0
    at: int = 0
    """When the last event happened."""
    channel: Channel = Channel.UNSPECIFIED
    customer_id: str = ""
    arrived_at: int = 0
    asked: tuple[str, int, Skills] | None = None
    """What QueueCall asked for last: queue, priority and skills."""
    queue_id: str = ""
    priority: int = 0
    required_skills: Skills = ()
    groups: Groups = ()
    any_group: bool = False
    """Widened to every group, the restricted ones too."""
    queued_at: int = 0
    entered_at: int = 0
    """When it came to this queue; overflow steps count from here."""
    step: int = 0
    """Overflow steps done in this queue."""
    moves: int = 0
    relaxed: tuple[str, ...] = ()
    only_agent: str = ""
    """Waits for this agent alone."""
    only_until: int = 0
    """For so long; 0: for good."""
    not_before: int = 0
    """A callback that failed is not tried again earlier; 0 when that time has come."""
    callback: bool = False
    """The customer is not on the line, and will be called."""
    attempts: int = 0
    agent_id: str = ""
    """Who is offered the call, or has it."""
    offer_id: str = ""
    """The last offer: the one that is open, or that the call was accepted by."""
    offer_expires_at: int = 0
    why: Why | None = None
    """Of the last offer, until it is accepted."""
    connected_at: int = 0
    ended_at: int = 0
    held_at: int = 0
    """0: not on hold."""
    held: int = 0
    talked: int = 0
    """With earlier agents, hold included; `connected_at` counts from the present one."""
    requeued_at: int = 0
    """When it began to wait again, after it had been answered."""
    done: tuple[str, ...] = ()
    """The last commands that would do something again if they were repeated."""
    interrupted: bool = False
    """An e-mail that waits until its agent has finished something more urgent."""
    auto_accept: bool = False
    """Whoever is offered it has accepted; until it is connected."""
    answered: bool = False
    """An agent has talked to the customer, perhaps another one."""
    wrapping: int = 0
    """Agents who wrap this call up."""
    helps: list[str] = field(default_factory=list)
    """Streams of the open requests for help."""
    helps_made: int = 0
    main: str = ""
    kind: HelpKind = HelpKind.UNSPECIFIED

    @property
    def stream_id(self) -> str:
        return f"{self.client_id}/{self.call_id}"

    @property
    def queue_key(self) -> str:
        return f"{self.client_id}/{self.queue_id}"

    def need(self) -> Need:
        """What `Matching` is to find for it."""
        return Need(
            self.queue_key,
            () if self.only_agent else self.required_skills,
            self.groups,
            self.any_group,
            self.channel or Channel.VOICE,
            self.priority,
            self.only_agent,
        )


@dataclass(slots=True)
class Settings:
    """Lengths in seconds."""

    offer_seconds: int = 20
    wrap_up_seconds: int = 30
    clock_speed: float = 1.0
    policy: str = DEFAULT
    missed_offers: int = 1
    lost_seconds: int = 60
    restricted_groups: Groups = ()
    help_groups: Groups = ("supervisors",)
    configured_at: int = -1
    config_version: int = 0


@dataclass(slots=True)
class Served:
    """Who talked to a customer last."""

    agent_id: str
    at: int


@dataclass(slots=True)
class Moved:
    """Where a call has gone; version: of the last event that it had here."""

    pool_id: str
    version: int


@dataclass(slots=True)
class Pool:
    """`calls` by their stream, `agents` by their id, `queues` by `<client_id>/<queue_id>`.

    finished: when each call that has left the pool did so, by the pool's time, oldest first.
    forgotten_until: all finished calls up to this time have been forgotten.
    moved: of the finished ones, those that another pool has now.
    served: by `<client_id>/<customer_id>`, the one who was served longest ago first.
    """

    pool_id: str
    now: int = 0
    settings: Settings = field(default_factory=Settings)
    version: int = 0
    """Of the last event in the pool's own stream, and when that happened."""
    at: int = 0
    agents: dict[str, Agent] = field(default_factory=dict)
    calls: dict[str, Call] = field(default_factory=dict)
    queues: dict[str, QueueState] = field(default_factory=dict)
    clients: dict[str, ClientRules] = field(default_factory=dict)
    client_versions: dict[str, int] = field(default_factory=dict)
    clients_configured_at: dict[str, int] = field(default_factory=dict)
    served: dict[str, Served] = field(default_factory=dict)
    offers: int = 0
    """How many offers there have been: the last part of their ids."""
    finished: dict[str, int] = field(default_factory=dict)
    moved: dict[str, Moved] = field(default_factory=dict)
    forgotten_until: int = -1
    shares: Shares = field(default_factory=Shares, repr=False, compare=False)
    matching: Matching = field(default_factory=Matching, repr=False, compare=False)
    vips: dict[str, frozenset[str]] = field(default_factory=dict, repr=False, compare=False)

    def queue(self, key: str) -> QueueState:
        """The queue, made with the defaults where nobody has configured it."""
        state = self.queues.get(key)
        if state is None:
            state = self.queues[key] = QueueState(key, Queue(key.partition("/")[2]))
        return state

    def index(self) -> None:
        """Build the indexes of a pool whose fields were filled in by hand, or configured anew."""
        self.shares = Shares(self.clients, self.queues, self.settings.restricted_groups)
        self.matching = Matching(
            self.settings.policy, self.queues, self.shares, self.settings.restricted_groups
        )
        self.vips = {client: frozenset(r.vip_customers) for client, r in self.clients.items()}
        for state in self.queues.values():
            state.waiting_by_priority.clear()
        for agent in self.agents.values():
            self.index_agent(agent)
        for call in self.calls.values():
            if call.state is CallState.WAITING:
                self.index_call(call)

    def index_call(self, call: Call) -> None:
        """Let a waiting call be found."""
        if not call.main:
            self.queue(call.queue_key).count(call.priority, 1)
        if not call.not_before:
            self.matching.add_call(call.stream_id, call.need(), call.queued_at)

    def unindex_call(self, call: Call) -> int:
        """Before a waiting call is anything else; returns how many still wait in its queue."""
        self.matching.remove_call(call.stream_id)
        if call.main:
            return 0
        state = self.queue(call.queue_key)
        state.count(call.priority, -1)
        return state.waiting

    def index_agent(self, agent: Agent) -> None:
        """Let an agent be found for what they can take now."""
        self.count_agent(agent)
        channels = self.open_channels(agent)
        if channels:
            profile = Profile(agent.skills, agent.groups, channels, len(agent.calls))
            self.matching.add_agent(agent.agent_id, profile, agent.since)
        else:
            self.matching.drop_agent(agent.agent_id)

    def count_agent(self, agent: Agent) -> None:
        """For shares and floors."""
        working = agent.state not in (
            AgentState.LOGGED_OUT,
            AgentState.ON_BREAK,
            AgentState.NOT_RESPONDING,
        )
        in_hand = [*agent.calls, agent.offered] if agent.offered else agent.calls
        client = next((stream.partition("/")[0] for stream in in_hand), "")
        self.shares.put(agent.agent_id, agent.skills if working else None, agent.groups, client)

    def open_channels(self, agent: Agent) -> int:
        """What the agent can be offered now, a bit (1 << channel) for each; 0: nothing.

        One voice call or callback, and nothing else; or several chats; e-mails are interrupted,
        except for one for which the agent has asked for help, and would be asked to give it.
        """
        if agent.offered or agent.after_call is not None or agent.lost_at >= 0:
            return 0
        if agent.state is AgentState.AVAILABLE:
            return _VOICE | (_CHAT if agent.chats > 0 else 0) | (_EMAIL if agent.emails > 0 else 0)
        if agent.state is not AgentState.BUSY:
            return 0
        chats, emails = 0, 0
        for call in self.in_hand(agent):
            if call.channel is Channel.CHAT and not call.main:
                chats += 1
            elif call.channel is Channel.EMAIL and not (call.main or call.helps):
                emails += 1
            else:
                return 0
        # The work after a chat fills its place.
        chats += len(agent.wrap_ups)
        channels = _CHAT if chats < agent.chats else 0
        if not chats:
            channels |= _VOICE | (_EMAIL if emails < agent.emails else 0)
        return channels

    def in_hand(self, agent: Agent) -> Iterator[Call]:
        return (self.calls[stream] for stream in agent.calls)

    def finish(self, call: Call, now: int) -> None:
        """Let a call go, remembering only that it was there."""
        del self.calls[call.stream_id]
        if call.main:
            return
        self.finished[call.stream_id] = now
        while len(self.finished) > FINISHED_KEPT or (
            now - next(iter(self.finished.values())) > FINISHED_KEPT_FOR
        ):
            oldest = next(iter(self.finished))
            self.moved.pop(oldest, None)
            self.forgotten_until = self.finished.pop(oldest)

    def remember_served(self, call: Call, at: int) -> None:
        """For sticky queues: who talked to this customer last."""
        key = f"{call.client_id}/{call.customer_id}"
        self.served.pop(key, None)
        self.served[key] = Served(call.agent_id, at)
        if len(self.served) > SERVED_KEPT:
            del self.served[next(iter(self.served))]


_VOICE = (1 << Channel.VOICE) | (1 << Channel.CALLBACK) | (1 << Channel.UNSPECIFIED)
_CHAT = 1 << Channel.CHAT
_EMAIL = 1 << Channel.EMAIL
