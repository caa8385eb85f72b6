"""What the engine decides or takes note of: the events of calls, of agents and of pools.

Times are microseconds since the epoch, lengths microseconds. The names are the wire's names, where
what they mean is written (proto/relais/{calls,agents,pools}/v1/events.proto).
"""

from dataclasses import dataclass
from enum import IntEnum

from services.routing import commands as c
from services.routing.commands import Channel, Direction, HelpKind
from services.routing.configuration import ClientRules, Groups, Overflow, Queue, Skills


class EndCause(IntEnum):
    """As on the wire, where a number is never reused."""

    COMPLETED = 1
    LEFT_BEFORE_QUEUE = 2
    LEFT_DURING_TRANSFER = 4
    """Answered before: the customer hung up while waiting again."""
    OVERFLOWED_DURING_TRANSFER = 5


@dataclass(frozen=True, slots=True)
class Candidate:
    """An agent for a call, or a call for an agent. score: the policy's, greater is first."""

    id: str
    score: float


@dataclass(frozen=True, slots=True)
class Why:
    """Why this agent got this call.

    rule        one sentence: what was compared
    policy      the pool's
    for_agent   the call was chosen for an agent who became free; else an agent for a call
    looked_at   candidates that were compared
    best        of these the first ones, best first
    relaxed     what was no longer asked for, in the order of the steps
    waited, idle   of the call in the queue, and of the agent
    """

    rule: str
    policy: str
    for_agent: bool
    looked_at: int
    best: tuple[Candidate, ...]
    relaxed: tuple[str, ...]
    waited: int
    idle: int


@dataclass(frozen=True, slots=True)
class CallArrived:
    channel: Channel
    direction: Direction
    line: str
    customer_id: str


@dataclass(frozen=True, slots=True)
class CallQueued:
    queue_id: str
    pool_id: str
    priority: int
    required_skills: Skills
    arrived_at: int
    estimated_wait: int | None = None
    """None: nothing is known yet of how fast this queue moves."""


@dataclass(frozen=True, slots=True)
class CallOffered:
    offer_id: str
    agent_id: str
    queue_id: str
    expires_at: int
    rule: str
    why: Why | None = None
    site: str = ""
    """Of the agent, as the log-in said."""
    channel: Channel = Channel.UNSPECIFIED


@dataclass(frozen=True, slots=True)
class CallOfferExpired:
    offer_id: str
    agent_id: str


@dataclass(frozen=True, slots=True)
class CallOfferDeclined:
    offer_id: str
    agent_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class CallOfferWithdrawn:
    offer_id: str
    agent_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class CallAssigned:
    offer_id: str
    agent_id: str
    queue_id: str
    why: Why | None = None
    site: str = ""
    channel: Channel = Channel.UNSPECIFIED


@dataclass(frozen=True, slots=True)
class CallConnected:
    agent_id: str
    queue_id: str
    arrived_at: int
    waited: int


@dataclass(frozen=True, slots=True)
class CallAbandoned:
    queue_id: str
    arrived_at: int
    waited: int


@dataclass(frozen=True, slots=True)
class CallEnded:
    cause: EndCause
    agent_id: str
    queue_id: str
    arrived_at: int
    talked: int
    held: int = 0
    """Of that, on hold."""


@dataclass(frozen=True, slots=True)
class CallWrappedUp:
    agent_id: str
    queue_id: str
    arrived_at: int
    wrap_up: int


# On the way to an agent.


@dataclass(frozen=True, slots=True)
class CallRelaxed:
    """An overflow step: less is asked of agents from now on."""

    queue_id: str
    step: int
    """From 1."""
    what: str
    required_skills: Skills
    groups: Groups


@dataclass(frozen=True, slots=True)
class CallMoved:
    """To another queue of the pool. It keeps its place by the time it has waited."""

    from_queue_id: str
    queue_id: str
    step: int
    required_skills: Skills
    priority: int


@dataclass(frozen=True, slots=True)
class CallMovedToPool:
    """What follows of this stream is decided by the other pool."""

    from_queue_id: str
    pool_id: str
    queue_id: str


@dataclass(frozen=True, slots=True)
class CallTakenOver:
    """The other pool has it."""

    from_pool_id: str
    pool_id: str
    queue_id: str


@dataclass(frozen=True, slots=True)
class CallCallbackOffered:
    queue_id: str
    estimated_wait: int | None


@dataclass(frozen=True, slots=True)
class CallCallbackAccepted:
    queue_id: str


@dataclass(frozen=True, slots=True)
class CallCallbackFailed:
    queue_id: str
    agent_id: str
    reason: str
    attempt: int
    again_at: int
    """Zero: no more attempts."""


@dataclass(frozen=True, slots=True)
class CallOverflowed:
    """Nobody answered, and the queue's rules say what is done instead. The call's last event."""

    action: Overflow
    """VOICEMAIL or CLOSE."""
    queue_id: str
    arrived_at: int
    waited: int
    reason: str


@dataclass(frozen=True, slots=True)
class CallRequeued:
    """The agent is gone, the customer is not."""

    queue_id: str
    agent_id: str
    reason: str


# While talking.


@dataclass(frozen=True, slots=True)
class CallHeld:
    agent_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class CallResumed:
    agent_id: str
    held: int


@dataclass(frozen=True, slots=True)
class CallTransferred:
    """agent_id: who gives it away. To a queue, to an agent, or to whom has been consulted."""

    agent_id: str
    from_queue_id: str
    queue_id: str
    to_agent_id: str
    consulted: bool
    required_skills: Skills
    priority: int
    talked: int
    """By this agent, hold included."""


@dataclass(frozen=True, slots=True)
class CallHelpRequested:
    help_id: str
    kind: HelpKind
    agent_id: str
    to_agent_id: str
    groups: Groups
    required_skills: Skills


@dataclass(frozen=True, slots=True)
class CallHelpOffered:
    help_id: str
    offer_id: str
    agent_id: str
    expires_at: int
    why: Why | None
    site: str


@dataclass(frozen=True, slots=True)
class CallHelpOfferEnded:
    help_id: str
    offer_id: str
    agent_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class CallHelpJoined:
    help_id: str
    kind: HelpKind
    agent_id: str
    waited: int


@dataclass(frozen=True, slots=True)
class CallHelpEnded:
    """agent_id: who had joined; empty: nobody had."""

    help_id: str
    agent_id: str
    reason: str


# Agents.


@dataclass(frozen=True, slots=True)
class AgentLoggedIn:
    skills: Skills
    groups: Groups = ()
    site: str = ""
    chats: int = 1
    emails: int = 1


@dataclass(frozen=True, slots=True)
class AgentSkillsChanged:
    """The agent's state stays."""

    skills: Skills
    groups: Groups


@dataclass(frozen=True, slots=True)
class AgentConnectionLost:
    """The agent's state stays until `until`, which ends the log-in."""

    until: int


@dataclass(frozen=True, slots=True)
class AgentConnectionRestored:
    pass


@dataclass(frozen=True, slots=True)
class AgentBecameAvailable:
    pass


@dataclass(frozen=True, slots=True)
class AgentReserved:
    offer_id: str
    call: str


@dataclass(frozen=True, slots=True)
class AgentBecameBusy:
    call: str


@dataclass(frozen=True, slots=True)
class AgentWrapUpStarted:
    call: str
    ends_at: int


@dataclass(frozen=True, slots=True)
class AgentBreakStarted:
    reason: str


@dataclass(frozen=True, slots=True)
class AgentStoppedResponding:
    offer_id: str
    call: str


@dataclass(frozen=True, slots=True)
class AgentLoggedOut:
    reason: str


# Pools.


@dataclass(frozen=True, slots=True)
class PoolConfigured:
    """`config_version` counts the changes of what is configured: here, of the pool itself."""

    config_version: int
    offer_seconds: int
    wrap_up_seconds: int
    clock_speed: float
    policy: str
    missed_offers: int
    lost_seconds: int
    restricted_groups: Groups
    help_groups: Groups


@dataclass(frozen=True, slots=True)
class QueueConfigured:
    config_version: int
    queue: Queue


@dataclass(frozen=True, slots=True)
class QueueRemoved:
    config_version: int
    queue_id: str


@dataclass(frozen=True, slots=True)
class ClientConfigured:
    config_version: int
    rules: ClientRules


CallBody = (
    CallArrived
    | CallQueued
    | CallOffered
    | CallOfferExpired
    | CallOfferDeclined
    | CallOfferWithdrawn
    | CallAssigned
    | CallConnected
    | CallAbandoned
    | CallEnded
    | CallWrappedUp
    | CallRelaxed
    | CallMoved
    | CallMovedToPool
    | CallTakenOver
    | CallCallbackOffered
    | CallCallbackAccepted
    | CallCallbackFailed
    | CallOverflowed
    | CallRequeued
    | CallHeld
    | CallResumed
    | CallTransferred
    | CallHelpRequested
    | CallHelpOffered
    | CallHelpOfferEnded
    | CallHelpJoined
    | CallHelpEnded
)
AgentBody = (
    AgentLoggedIn
    | AgentSkillsChanged
    | AgentConnectionLost
    | AgentConnectionRestored
    | AgentBecameAvailable
    | AgentReserved
    | AgentBecameBusy
    | AgentWrapUpStarted
    | AgentBreakStarted
    | AgentStoppedResponding
    | AgentLoggedOut
)
PoolBody = PoolConfigured | QueueConfigured | QueueRemoved | ClientConfigured


@dataclass(frozen=True, slots=True)
class CallEvent:
    client_id: str
    call_id: str
    version: int
    occurred_at: int
    body: CallBody

    @property
    def stream_id(self) -> str:
        return f"{self.client_id}/{self.call_id}"


@dataclass(frozen=True, slots=True)
class AgentEvent:
    agent_id: str
    client_id: str
    """The client of the call that it is about, or `centre`."""
    version: int
    occurred_at: int
    body: AgentBody

    @property
    def stream_id(self) -> str:
        return f"agent/{self.agent_id}"


@dataclass(frozen=True, slots=True)
class PoolEvent:
    pool_id: str
    client_id: str
    """Whose queue or rules it is about, or `centre`."""
    version: int
    occurred_at: int
    body: PoolBody

    @property
    def stream_id(self) -> str:
        return f"pool/{self.pool_id}"


@dataclass(frozen=True, slots=True)
class Sent:
    """Not an event: a command for another pool, which follows from this one like an event.

    Published with the events, so that it is in the log whenever they are. command_id: the same
    for the same cause, so that a repeat is recognised.
    """

    pool_id: str
    client_id: str
    occurred_at: int
    body: c.CallCommand


Event = CallEvent | AgentEvent | PoolEvent
