"""What can change a pool, and the rules that make a command a valid one.

Times are microseconds since the epoch. `check` is the only place that knows the rules: the edges
ask it before a command goes into the log, the codec asks it again for everything that comes out.
"""

import re
from dataclasses import dataclass, fields
from enum import IntEnum
from functools import cache

from services.routing.configuration import (
    ID,
    INT32_MAX,
    INT32_MIN,
    MAX_LEVEL,
    MAX_SKILLS,
    MIN_LEVEL,
    ClientRules,
    Groups,
    Invalid,
    Queue,
    Skills,
    check_client_rules,
    check_groups,
    check_id,
    check_queue,
    check_range,
    check_skills,
    shown,
)

__all__ = ["INT32_MAX", "INT32_MIN", "MAX_LEVEL", "MAX_SKILLS", "MIN_LEVEL", "Invalid", "Skills"]

CENTRE = "centre"
"""The client_id of what concerns no single client."""

RESERVED_CLIENT_IDS = frozenset({CENTRE, "agent", "pool"})
"""`agent/...` and `pool/...` are streams: a client of that name could have the same ids."""

SECOND = 1_000_000
MAX_REASON = 200
MAX_COMMAND_ID = 128
LAST_TIME = 253_370_764_800 * SECOND
"""9999-01-01T00:00:00Z: the last year of a protobuf Timestamp is left for what follows, timers."""


class Channel(IntEnum):
    """As on the wire, where a number is never reused."""

    UNSPECIFIED = 0
    VOICE = 1
    CHAT = 2
    EMAIL = 3
    CALLBACK = 4


class HelpKind(IntEnum):
    """Why an agent wants somebody else on a call. As on the wire."""

    UNSPECIFIED = 0
    HELP = 1
    """A supervisor or a mentor."""
    CONSULTATION = 2
    """To talk to before, or instead of, a transfer; the customer waits."""
    CONFERENCE = 3
    """All three talk."""


class Direction(IntEnum):
    """As on the wire, where a number is never reused."""

    UNSPECIFIED = 0
    INBOUND = 1
    OUTBOUND = 2


# Reports of the telephone system.


@dataclass(frozen=True, slots=True)
class ReportCallArrived:
    call_id: str
    channel: Channel = Channel.UNSPECIFIED
    direction: Direction = Direction.UNSPECIFIED
    line: str = ""
    customer_id: str = ""


@dataclass(frozen=True, slots=True)
class QueueCall:
    call_id: str
    queue_id: str
    priority: int = 0
    required_skills: Skills = ()
    auto_accept: bool = False
    """Whoever is offered the call has accepted; until it is connected."""


@dataclass(frozen=True, slots=True)
class ReportCallAbandoned:
    call_id: str


@dataclass(frozen=True, slots=True)
class ReportCallConnected:
    call_id: str
    agent_id: str = ""
    """Empty: whoever the call is assigned to."""


@dataclass(frozen=True, slots=True)
class ReportCallEnded:
    call_id: str


@dataclass(frozen=True, slots=True)
class ReportCallHeld:
    call_id: str


@dataclass(frozen=True, slots=True)
class ReportCallResumed:
    call_id: str


@dataclass(frozen=True, slots=True)
class AcceptCallback:
    """The customer hangs up and will be called: the call keeps its place in the queue."""

    call_id: str


@dataclass(frozen=True, slots=True)
class ReportCallbackFailed:
    """The customer could not be reached: tried again later, from the same place."""

    call_id: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class RequeueCall:
    """The customer is there, the agent no longer: back to the queue's head."""

    call_id: str
    reason: str = ""


# What agents' desktops say about calls.


@dataclass(frozen=True, slots=True)
class TransferCall:
    """Give the call away, without talking first: to a queue of the client, or to an agent."""

    call_id: str
    agent_id: str
    queue_id: str = ""
    to_agent_id: str = ""


@dataclass(frozen=True, slots=True)
class RequestHelp:
    """Ask somebody onto the call: an agent, or whoever is free of these groups and skills."""

    call_id: str
    agent_id: str
    kind: HelpKind = HelpKind.HELP
    to_agent_id: str = ""
    groups: Groups = ()
    required_skills: Skills = ()


@dataclass(frozen=True, slots=True)
class CompleteTransfer:
    """The call becomes the consulted agent's; who had it starts to wrap up."""

    call_id: str
    agent_id: str
    """Who has had it."""


@dataclass(frozen=True, slots=True)
class LeaveCall:
    """A helper leaves the call; or who has the call takes a request for help back."""

    call_id: str
    agent_id: str


# Reports of agents' desktops.


@dataclass(frozen=True, slots=True)
class LogInAgent:
    """site: where the telephone is, for the stream of a site. Zero chats, e-mails: one at a time.

    Without skills and groups: those that the agent was last given.
    """

    agent_id: str
    skills: Skills = ()
    groups: Groups = ()
    site: str = ""
    chats: int = 0
    emails: int = 0


@dataclass(frozen=True, slots=True)
class SetAgentSkills:
    """While working too: what is offered from now on follows them."""

    agent_id: str
    skills: Skills = ()
    groups: Groups = ()


@dataclass(frozen=True, slots=True)
class ReportConnectionLost:
    """The desktop is gone. Unless it comes back in time, the agent is logged out."""

    agent_id: str


@dataclass(frozen=True, slots=True)
class ReportConnectionRestored:
    agent_id: str


@dataclass(frozen=True, slots=True)
class MakeAgentAvailable:
    agent_id: str


@dataclass(frozen=True, slots=True)
class StartOtherCall:
    agent_id: str


@dataclass(frozen=True, slots=True)
class StartBreak:
    agent_id: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class StartWrapUp:
    agent_id: str


@dataclass(frozen=True, slots=True)
class LogOutAgent:
    agent_id: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class AcceptOffer:
    offer_id: str
    agent_id: str


@dataclass(frozen=True, slots=True)
class DeclineOffer:
    offer_id: str
    agent_id: str
    reason: str = ""


# Timers. `occurred_at` is the time that was due.


@dataclass(frozen=True, slots=True)
class ExpireOffer:
    offer_id: str
    agent_id: str


@dataclass(frozen=True, slots=True)
class FinishWrapUp:
    agent_id: str
    call: str
    """The call's stream; empty after a call that Relais did not offer."""


@dataclass(frozen=True, slots=True)
class AdvanceCall:
    """The next thing that waiting brings: an overflow step, or the end of waiting for one agent."""

    call: str
    """The call's stream."""


@dataclass(frozen=True, slots=True)
class LogOutLostAgent:
    agent_id: str


# Configuration. expected_version: of what is replaced; 0: whatever is there.


@dataclass(frozen=True, slots=True)
class ConfigurePool:
    """Zero, or nothing, means the default.

    wrap_up_seconds: -1: none. missed_offers: how many in a row until an agent counts as not
    responding. restricted_groups: their agents serve only queues that name one of their groups.
    """

    offer_seconds: int = 0
    wrap_up_seconds: int = 0
    clock_speed: float = 0.0
    policy: str = ""
    missed_offers: int = 0
    lost_seconds: int = 0
    restricted_groups: Groups = ()
    help_groups: Groups = ()
    """Who is asked for help where a request names nobody: supervisors, mentors."""
    expected_version: int = 0


@dataclass(frozen=True, slots=True)
class ConfigureQueue:
    queue: Queue
    expected_version: int = 0


@dataclass(frozen=True, slots=True)
class RemoveQueue:
    """Its calls wait on; the queue is again one that nobody has configured."""

    queue_id: str
    expected_version: int = 0


@dataclass(frozen=True, slots=True)
class ConfigureClient:
    rules: ClientRules
    expected_version: int = 0


# Between pools.


@dataclass(frozen=True, slots=True)
class TakeOverCall:
    """A call that overflowed from another pool, with what that one knew of it."""

    call_id: str
    queue_id: str
    from_pool_id: str
    version: int
    """Of the last event in the call's stream."""
    arrived_at: int
    queued_at: int
    priority: int = 0
    required_skills: Skills = ()
    channel: Channel = Channel.UNSPECIFIED
    customer_id: str = ""
    answered: bool = False
    """An agent has talked to the customer before."""
    requeued_at: int = 0
    """When it began to wait again, after it had been answered."""
    talked: int = 0
    held: int = 0
    callback: bool = False
    """The customer has hung up and will be called."""
    attempts: int = 0
    moves: int = 0
    helps_made: int = 0
    done: tuple[str, ...] = ()
    """The last commands that would do something again if they were repeated."""
    auto_accept: bool = False


CallCommand = (
    ReportCallArrived
    | QueueCall
    | ReportCallAbandoned
    | ReportCallConnected
    | ReportCallEnded
    | ReportCallHeld
    | ReportCallResumed
    | AcceptCallback
    | ReportCallbackFailed
    | RequeueCall
    | TransferCall
    | RequestHelp
    | CompleteTransfer
    | LeaveCall
    | TakeOverCall
)
AgentCommand = (
    LogInAgent
    | SetAgentSkills
    | ReportConnectionLost
    | ReportConnectionRestored
    | MakeAgentAvailable
    | StartOtherCall
    | StartBreak
    | StartWrapUp
    | LogOutAgent
    | AcceptOffer
    | DeclineOffer
)
DesktopCommand = TransferCall | RequestHelp | CompleteTransfer | LeaveCall | AgentCommand
"""What an agent's desktop says, for its agent."""
TimerCommand = ExpireOffer | FinishWrapUp | AdvanceCall | LogOutLostAgent
ClientCommand = ConfigureQueue | RemoveQueue | ConfigureClient
"""Configuration of one client's."""
Configuration = ConfigurePool | ClientCommand
Body = CallCommand | AgentCommand | TimerCommand | Configuration


@dataclass(frozen=True, slots=True)
class Command:
    """A body with what every command has. `command_id` names it: a repeat has the same."""

    pool_id: str
    command_id: str
    client_id: str
    occurred_at: int
    recorded_at: int
    actor: str
    correlation_id: str
    """The stream that it is about: a call's, an agent's, or the pool."""
    body: Body


def command_for(
    pool_id: str,
    body: Body,
    *,
    command_id: str,
    client_id: str,
    occurred_at: int,
    recorded_at: int,
    actor: str,
    call: str = "",
) -> Command:
    """A command with the stream that it is about. call: where a timer is about one.

    A request for help has no stream of its own: it is about its call.
    """
    if isinstance(body, CallCommand):
        about = f"{client_id}/{body.call_id}"
    elif isinstance(body, Configuration):
        about = f"pool/{pool_id}"
    elif isinstance(body, AdvanceCall):
        about = body.call.partition("~")[0]
    else:
        about = call.partition("~")[0] or f"agent/{body.agent_id}"
    return Command(pool_id, command_id, client_id, occurred_at, recorded_at, actor, about, body)


CLIENT_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
CALL_STREAM = re.compile(rf"{CLIENT_ID.pattern}/{ID.pattern}(~\d{{1,9}})?")
"""A request for help is a call of its own to the engine: the call's stream, ~ and its number."""

POLICY = re.compile(r"[a-z][a-z-]{0,30}")

_REQUIRED_IDS = frozenset({"call_id", "queue_id", "agent_id", "offer_id", "from_pool_id"})
_OPTIONAL_IDS = frozenset({"line", "customer_id", "to_agent_id", "site"})
_GROUPS = frozenset({"groups", "restricted_groups", "help_groups"})
_RANGES = {
    "priority": (INT32_MIN, INT32_MAX),
    "offer_seconds": (0, 3600),
    "wrap_up_seconds": (-1, 86_400),
    "missed_offers": (0, 100),
    "lost_seconds": (0, 86_400),
    "chats": (0, 50),
    "emails": (0, 50),
    "expected_version": (0, 2**62),
    "version": (0, 2**62),
    "arrived_at": (0, LAST_TIME),
    "queued_at": (0, LAST_TIME),
    "requeued_at": (0, LAST_TIME),
    "talked": (0, LAST_TIME),
    "held": (0, LAST_TIME),
    "attempts": (0, INT32_MAX),
    "moves": (0, INT32_MAX),
    "helps_made": (0, 999_999_999),
}


def check(command: Command) -> None:
    """Raise Invalid for the first value that breaks a rule."""
    body = command.body
    check_id("pool_id", command.pool_id)
    if not 0 <= command.occurred_at <= LAST_TIME:
        raise Invalid("occurred_at", "must lie between the years 1970 and 9998")
    if not 0 <= command.recorded_at <= LAST_TIME:
        raise Invalid("recorded_at", "must lie between the years 1970 and 9998")
    if not 0 < len(command.command_id) <= MAX_COMMAND_ID:
        raise Invalid("event_id", f"must have 1 to {MAX_COMMAND_ID} characters")
    if isinstance(body, CallCommand | ClientCommand):
        check_client_id(command.client_id)
    elif isinstance(body, AgentCommand | ConfigurePool) and command.client_id != CENTRE:
        raise Invalid("client_id", f"must be {CENTRE!r} for what is no call's")
    if command.actor:
        check_id("actor", command.actor)
    kind: type = type(body)
    may_be_empty = _MAY_BE_EMPTY.get(kind, frozenset())
    for name in _field_names(kind):
        value = getattr(body, name)
        if name in _REQUIRED_IDS:
            if value or name not in may_be_empty:
                check_id(name, value)
        elif name in _OPTIONAL_IDS:
            if value:
                check_id(name, value)
        elif name in ("skills", "required_skills"):
            check_skills(name, value)
        elif name in _GROUPS:
            check_groups(name, value)
        elif name == "reason":
            check_text(name, value)
        elif name == "call":
            if value and not CALL_STREAM.fullmatch(value):
                raise Invalid(name, "must be <client_id>/<call_id>")
        elif name in _RANGES:
            check_range(name, value, *_RANGES[name])
    match body:
        case ConfigurePool(clock_speed=speed, policy=policy):
            if not (speed == 0 or 1 <= speed <= 10_000):
                raise Invalid("clock_speed", "must lie between 1 and 10000, or be 0: the default")
            if policy and not POLICY.fullmatch(policy):
                raise Invalid("policy", f"must match ^{POLICY.pattern}$, got {shown(policy)}")
        case ConfigureQueue(queue=queue):
            check_queue(queue)
        case ConfigureClient(rules=rules):
            check_client_rules(rules)
        case TransferCall(queue_id=queue_id, to_agent_id=to_agent_id):
            if bool(queue_id) == bool(to_agent_id):
                raise Invalid("queue_id", "name a queue or an agent, and not both")
        case RequestHelp(kind=HelpKind.UNSPECIFIED):
            raise Invalid("kind", "missing, or of a kind that this version does not know")


_MAY_BE_EMPTY: dict[type, frozenset[str]] = {
    # Whoever the call is assigned to.
    ReportCallConnected: frozenset({"agent_id"}),
    TransferCall: frozenset({"queue_id"}),
}


@cache
def _field_names(kind: type) -> tuple[str, ...]:
    return tuple(field.name for field in fields(kind))


def check_client_id(value: str) -> None:
    if not CLIENT_ID.fullmatch(value):
        raise Invalid("client_id", f"must match ^{CLIENT_ID.pattern}$, got {shown(value)}")
    if value in RESERVED_CLIENT_IDS:
        raise Invalid("client_id", f"{value!r} is reserved")


def check_text(field: str, value: str) -> None:
    if len(value) > MAX_REASON:
        raise Invalid(field, f"at most {MAX_REASON} characters")
    if not value.isprintable():
        raise Invalid(field, "has characters that cannot be printed")
