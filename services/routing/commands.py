"""What can change a pool, and the rules that make a command a valid one.

Times are microseconds since the epoch. `check` is the only place that knows the rules: the edges
ask it before a command goes into the log, the codec asks it again for everything that comes out.
"""

import re
from dataclasses import dataclass, fields
from enum import IntEnum
from functools import cache

CENTRE = "centre"
"""The client_id of what concerns no single client."""

RESERVED_CLIENT_IDS = frozenset({CENTRE, "agent"})
"""`agent/...` are the agents' streams: a client of that name would have calls with the same ids."""

SECOND = 1_000_000
MIN_LEVEL, MAX_LEVEL = 1, 5
MAX_SKILLS = 100
MAX_REASON = 200
MAX_COMMAND_ID = 128
INT32_MIN, INT32_MAX = -(2**31), 2**31 - 1
LAST_TIME = 253_370_764_800 * SECOND
"""9999-01-01T00:00:00Z: the last year of a protobuf Timestamp is left for what follows, timers."""

Skills = tuple[tuple[str, int], ...]
"""(skill, level) pairs, sorted, each skill once. An agent's levels, or a call's least levels."""


class Invalid(ValueError):
    """A value that no command may have: `field` says where, `reason` why."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field
        self.reason = reason


class Channel(IntEnum):
    """As on the wire, where a number is never reused."""

    UNSPECIFIED = 0
    VOICE = 1
    CHAT = 2
    EMAIL = 3
    CALLBACK = 4


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


# Reports of agents' desktops.


@dataclass(frozen=True, slots=True)
class LogInAgent:
    agent_id: str
    skills: Skills = ()


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
class ConfigurePool:
    """Zero means the default."""

    offer_seconds: int = 0
    wrap_up_seconds: int = 0
    clock_speed: float = 0.0


CallCommand = (
    ReportCallArrived | QueueCall | ReportCallAbandoned | ReportCallConnected | ReportCallEnded
)
AgentCommand = (
    LogInAgent
    | MakeAgentAvailable
    | StartOtherCall
    | StartBreak
    | StartWrapUp
    | LogOutAgent
    | AcceptOffer
    | DeclineOffer
)
TimerCommand = ExpireOffer | FinishWrapUp
Body = CallCommand | AgentCommand | TimerCommand | ConfigurePool


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
    """A command with the stream that it is about. call: where a timer is about one."""
    if isinstance(body, CallCommand):
        about = f"{client_id}/{body.call_id}"
    elif isinstance(body, ConfigurePool):
        about = pool_id
    else:
        about = call or f"agent/{body.agent_id}"
    return Command(pool_id, command_id, client_id, occurred_at, recorded_at, actor, about, body)


CLIENT_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:+-]{0,127}")
CALL_STREAM = re.compile(f"{CLIENT_ID.pattern}/{ID.pattern}")

_REQUIRED_IDS = frozenset({"call_id", "queue_id", "agent_id", "offer_id"})
_OPTIONAL_IDS = frozenset({"line", "customer_id"})


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
    if isinstance(body, CallCommand):
        check_client_id(command.client_id)
    elif isinstance(body, AgentCommand | ConfigurePool) and command.client_id != CENTRE:
        raise Invalid("client_id", f"must be {CENTRE!r} for what is no call's")
    if command.actor:
        check_id("actor", command.actor)
    # A connection may leave its agent out; everybody else must name one.
    may_be_empty = {"agent_id"} if isinstance(body, ReportCallConnected) else frozenset[str]()
    kind: type = type(body)
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
        elif name == "reason":
            check_text(name, value)
        elif name == "call":
            if value and not CALL_STREAM.fullmatch(value):
                raise Invalid(name, "must be <client_id>/<call_id>")
        elif name == "priority":
            check_range(name, value, INT32_MIN, INT32_MAX)
    if isinstance(body, ConfigurePool):
        check_range("offer_seconds", body.offer_seconds, 0, 3600)
        check_range("wrap_up_seconds", body.wrap_up_seconds, 0, 86_400)
        if not (body.clock_speed == 0 or 1 <= body.clock_speed <= 10_000):
            raise Invalid("clock_speed", "must lie between 1 and 10000, or be 0 for the default")


@cache
def _field_names(kind: type) -> tuple[str, ...]:
    return tuple(field.name for field in fields(kind))


def check_client_id(value: str) -> None:
    if not CLIENT_ID.fullmatch(value):
        raise Invalid("client_id", f"must match ^{CLIENT_ID.pattern}$, got {_shown(value)}")
    if value in RESERVED_CLIENT_IDS:
        raise Invalid("client_id", f"{value!r} is reserved")


def check_id(field: str, value: str) -> None:
    if not ID.fullmatch(value):
        raise Invalid(field, f"must match ^{ID.pattern}$, got {_shown(value)}")


def check_skills(field: str, skills: Skills) -> None:
    if len(skills) > MAX_SKILLS:
        raise Invalid(field, f"at most {MAX_SKILLS} skills")
    for skill, level in skills:
        check_id(field, skill)
        if not MIN_LEVEL <= level <= MAX_LEVEL:
            raise Invalid(field, f"the level of {skill} must lie between 1 and 5, got {level}")
    names = [skill for skill, _ in skills]
    if len(set(names)) < len(names):
        raise Invalid(field, "names a skill twice")


def check_text(field: str, value: str) -> None:
    if len(value) > MAX_REASON:
        raise Invalid(field, f"at most {MAX_REASON} characters")
    if not value.isprintable():
        raise Invalid(field, "has characters that cannot be printed")


def check_range(field: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise Invalid(field, f"must lie between {low} and {high}, got {value}")


def _shown(value: str) -> str:
    """A rejected value as an error message may carry it: short and printable."""
    return ascii(value if len(value) <= 40 else value[:40] + "...")
