"""A pool: its agents, its open calls, and its time. Times are microseconds since the epoch.

All that the engine knows is here and nothing else decides, so a pool can be written down
(codec.encode_pool) and restored anywhere. `Matching` is an index over the rest, built again.
"""

from dataclasses import dataclass, field
from enum import IntEnum

from services.routing.commands import SECOND, Skills
from services.routing.matching import Matching

FINISHED_KEPT = 50_000
FINISHED_KEPT_FOR = 24 * 3600 * SECOND
"""How many finished calls a pool remembers, and for how long by its own time."""


class AgentState(IntEnum):
    """One at a time. The numbers are those of PoolSnapshot."""

    LOGGED_OUT = 1
    LOGGED_IN = 2
    """There, and not yet available."""
    AVAILABLE = 3
    RESERVED = 4
    """Offered a call."""
    BUSY = 5
    """Has a call of this pool: accepted, perhaps not yet connected."""
    OTHER_CALL = 6
    WRAP_UP = 7
    ON_BREAK = 8
    NOT_RESPONDING = 9
    """Let an offer expire."""


class CallState(IntEnum):
    """The numbers are those of PoolSnapshot."""

    ARRIVED = 1
    WAITING = 2
    OFFERED = 3
    ASSIGNED = 4
    CONNECTED = 5
    WRAP_UP = 6
    """Over for the customer, not yet for the agent."""


@dataclass(slots=True)
class Agent:
    """Kept after the log-out, because the versions of an agent's stream go on for ever."""

    agent_id: str
    skills: Skills = ()
    state: AgentState = AgentState.LOGGED_OUT
    version: int = 0
    at: int = 0
    """When the last event happened; since when the agent is in this state."""
    reported_at: int = -1
    reports: tuple[str, ...] = ()
    """The last report of the agent's own: its time, and the commands that carried that time."""
    call: str = ""
    """The stream of the call that is offered, talked to or wrapped up."""
    offer_id: str = ""
    """The offer that this call came by."""
    wrap_up_ends_at: int = 0
    reason: str = ""
    """Of the break."""
    after_call: AgentState | None = None
    """ON_BREAK or LOGGED_OUT, when the agent has asked for it during a call."""
    after_call_reason: str = ""


@dataclass(slots=True)
class Call:
    """From its first report until nothing more can happen to it."""

    client_id: str
    call_id: str
    state: CallState = CallState.ARRIVED
    version: int = 0
    at: int = 0
    """When the last event happened."""
    arrived_at: int = 0
    queue_id: str = ""
    priority: int = 0
    required_skills: Skills = ()
    queued_at: int = 0
    agent_id: str = ""
    """Who is offered the call, or has it."""
    offer_id: str = ""
    offer_expires_at: int = 0
    connected_at: int = 0
    ended_at: int = 0

    @property
    def stream_id(self) -> str:
        return f"{self.client_id}/{self.call_id}"


@dataclass(slots=True)
class Settings:
    """Lengths in seconds."""

    offer_seconds: int = 20
    wrap_up_seconds: int = 30
    clock_speed: float = 1.0
    configured_at: int = -1


@dataclass(slots=True)
class Pool:
    """`calls` by their stream, `agents` by their id.

    finished: when each call that has left the pool did so, by the pool's time, oldest first.
    forgotten_until: all finished calls up to this time have been forgotten.
    """

    pool_id: str
    now: int = 0
    settings: Settings = field(default_factory=Settings)
    agents: dict[str, Agent] = field(default_factory=dict)
    calls: dict[str, Call] = field(default_factory=dict)
    offers: int = 0
    """How many offers there have been: the last part of their ids."""
    finished: dict[str, int] = field(default_factory=dict)
    forgotten_until: int = -1
    matching: Matching = field(default_factory=Matching, repr=False, compare=False)

    def index(self) -> None:
        """Build the index of a pool whose fields were filled in by hand."""
        self.matching = Matching()
        for agent in self.agents.values():
            if agent.state is AgentState.AVAILABLE:
                self.matching.add_agent(agent.agent_id, agent.skills, agent.at)
        for call in self.calls.values():
            if call.state is CallState.WAITING:
                self.matching.add_call(
                    call.stream_id, call.required_skills, call.priority, call.queued_at
                )

    def finish(self, call: Call, now: int) -> None:
        """Let a call go, remembering only that it was there."""
        del self.calls[call.stream_id]
        self.finished[call.stream_id] = now
        while len(self.finished) > FINISHED_KEPT or (
            now - next(iter(self.finished.values())) > FINISHED_KEPT_FOR
        ):
            oldest = next(iter(self.finished))
            self.forgotten_until = self.finished.pop(oldest)
