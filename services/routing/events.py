"""What the engine decides or takes note of: the events of calls and of agents.

Times are microseconds since the epoch, lengths microseconds. The names are the wire's names, where
what they mean is written (proto/relais/calls/v1/events.proto, proto/relais/agents/v1/events.proto).
"""

from dataclasses import dataclass
from enum import IntEnum

from services.routing.commands import Channel, Direction, Skills


class EndCause(IntEnum):
    """As on the wire, where a number is never reused."""

    COMPLETED = 1
    LEFT_BEFORE_QUEUE = 2


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


@dataclass(frozen=True, slots=True)
class CallOffered:
    offer_id: str
    agent_id: str
    queue_id: str
    expires_at: int
    rule: str


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


@dataclass(frozen=True, slots=True)
class CallWrappedUp:
    agent_id: str
    queue_id: str
    arrived_at: int
    wrap_up: int


@dataclass(frozen=True, slots=True)
class AgentLoggedIn:
    skills: Skills


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
)
AgentBody = (
    AgentLoggedIn
    | AgentBecameAvailable
    | AgentReserved
    | AgentBecameBusy
    | AgentWrapUpStarted
    | AgentBreakStarted
    | AgentStoppedResponding
    | AgentLoggedOut
)


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


Event = CallEvent | AgentEvent
