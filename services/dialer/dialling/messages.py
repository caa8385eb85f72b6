"""What the worker says to crm, routing and the carrier, and hears from them. Pure.

Times are microseconds since 1970, durations microseconds.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from services.dialer.attempts.attempt import Heard
from services.dialer.compliance.ruleuse import RuleUse


@dataclass(frozen=True, slots=True)
class CallKey:
    """An attempt, which is the carrier's and routing's call."""

    client_id: str
    attempt_id: str

    @property
    def stream_id(self) -> str:
        """Of routing's call: the key of its events."""
        return f"{self.client_id}/{self.attempt_id}"


# crm.


@dataclass(frozen=True, slots=True)
class Question:
    """May this number be called for this purpose, as of now?"""

    client_id: str
    number: str
    purpose: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """rules: every ground that was looked at, with the version of the consent, list or policy.
    forbidden_by: those that forbid. has_consent: the person's, on record and valid. again_after:
    when to ask again, microseconds; None: never, the number itself is not to be called."""

    rules: tuple[RuleUse, ...]
    forbidden_by: tuple[RuleUse, ...] = ()
    has_consent: bool = False
    again_after: int | None = None


# Routing.


class AgentState(StrEnum):
    LOGGED_IN = "logged-in"
    AVAILABLE = "available"
    RESERVED = "reserved"
    BUSY = "busy"
    OTHER_CALL = "other-call"
    WRAP_UP = "wrap-up"
    ON_BREAK = "on-break"
    NOT_RESPONDING = "not-responding"


@dataclass(frozen=True, slots=True)
class Agent:
    """call: the stream of what is offered or in hand, "" for none. connected_at: of it. leaving:
    takes no more after the call in hand."""

    agent_id: str
    state: AgentState
    since: int
    call: str
    connected_at: int | None
    wrap_up_ends_at: int | None
    leaving: bool
    skills: Mapping[str, int]
    groups: frozenset[str]


@dataclass(frozen=True, slots=True)
class Need:
    """What routing asks of an agent for a queue. restricted: agents of these groups serve only
    queues that name one of their groups."""

    skills: Mapping[str, int]
    groups: frozenset[str] = frozenset()
    restricted: frozenset[str] = frozenset()

    def is_met_by(self, agent: Agent) -> bool:
        if any(agent.skills.get(skill, 0) < level for skill, level in self.skills.items()):
            return False
        if self.groups:
            return bool(self.groups & agent.groups)
        return not (self.restricted & agent.groups)


ANYBODY = Need({})


@dataclass(frozen=True, slots=True)
class Waiting:
    client_id: str
    queue_id: str
    priority: int
    calls: int


@dataclass(frozen=True, slots=True)
class PoolNow:
    """Who is logged in, and how many calls wait."""

    as_of: int
    agents: tuple[Agent, ...]
    waiting: tuple[Waiting, ...]


@dataclass(frozen=True, slots=True)
class Arrived:
    customer_id: str


@dataclass(frozen=True, slots=True)
class Queued:
    """skills: beside those of the queue."""

    queue_id: str
    priority: int
    skills: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class AgentConnected:
    agent_id: str


@dataclass(frozen=True, slots=True)
class Abandoned: ...


@dataclass(frozen=True, slots=True)
class Ended: ...


@dataclass(frozen=True, slots=True)
class Told:
    """A report to routing of what happened to a call, when."""

    attempt: CallKey
    at: int
    what: Arrived | Queued | AgentConnected | Abandoned | Ended


@dataclass(frozen=True, slots=True)
class Assigned:
    """Routing has found an agent for a call, who has accepted."""

    attempt: CallKey
    agent_id: str
    at: int


@dataclass(frozen=True, slots=True)
class QueuedCall:
    """Somebody waits for agents of a pool."""

    call: CallKey
    pool_id: str
    at: int


@dataclass(frozen=True, slots=True)
class WrappedUp:
    """The work after a call is done; lasted: microseconds."""

    call: CallKey
    lasted: int


News = Assigned | QueuedCall | WrappedUp


# The carrier.


class OnMachine(StrEnum):
    HANG_UP = "hang-up"
    LEAVE_MESSAGE = "leave-message"
    AS_PERSON = "as-person"


@dataclass(frozen=True, slots=True)
class Dial:
    """wait_for_agent: after the greeting of a person, before the message is played; None: the
    message at once. message, machine_message: the carrier's ids of recordings."""

    key: CallKey
    to: str
    caller_id: str
    ring_for: int
    dial_before: int
    detect_machines: bool
    wait_for_agent: int | None
    message: str
    on_machine: OnMachine = OnMachine.HANG_UP
    machine_message: str = ""

    def __repr__(self) -> str:
        """Without the numbers: logs show this."""
        return f"Dial({self.key.stream_id})"


class Taken(StrEnum):
    DIALLING = "dialling"
    KNOWN = "known"
    TOO_LATE = "too-late"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Dialled:
    """field, reason: of what was refused."""

    taken: Taken
    field: str = ""
    reason: str = ""


class Known(StrEnum):
    """UNKNOWN: it was never dialled, and never will be."""

    UNKNOWN = "unknown"
    OUT = "out"
    OVER = "over"


@dataclass(frozen=True, slots=True)
class CallResult:
    """heard None: nothing that an attempt remembers, such as ringing."""

    position: int
    key: CallKey
    heard: Heard | None
