"""One dialling, from the decision that it is allowed to its outcome. Pure.

    started -> answered -> greeting ended -> connected -> ended
                                         \\-> abandoned -> ended

What the telephone side says is taken as it comes, and what follows from it is decided here: every
attempt that was started ends, once, in exactly one result (`result_of`). What comes again, or after
the end, changes nothing. What the agent makes of the call (`Dispose`) may come before the end or
long after it.

Times are microseconds since 1970, durations microseconds.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from eventkit.decider import Decider, Invalid, NotFound, Rejected, fold
from services.dialer.compliance.ruleuse import RuleUse

LATE: Final = 2_000_000
"""After the greeting's end: who has no agent by then was abandoned, whatever happened next
(47 CFR 64.1200(a)(7)(i), 16 CFR 310.4(b)(4)(ii))."""
MODES: Final = ("message", "preview", "progressive", "power", "predictive")
AGENTLESS: Final = "message"
MAX_TEXT: Final = 500
MAX_RULES: Final = 200
ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:+-]{0,127}")

ANSWERING_MACHINE: Final = "answering-machine"
"""The disposition that says it was no person, whatever the carrier has made of it."""
LOST: Final = "the carrier knows nothing of it any more"


class AnsweredBy(StrEnum):
    """UNKNOWN: the carrier could not tell, or was not to try; it counts as a person. NOBODY: it was
    not answered."""

    NOBODY = ""
    HUMAN = "human"
    MACHINE = "machine"
    FAX = "fax"
    UNKNOWN = "unknown"

    @property
    def is_person(self) -> bool:
        return self in (AnsweredBy.HUMAN, AnsweredBy.UNKNOWN)


class Why(StrEnum):
    """How the telephone side says that a call was over; telephony.v1 explains them."""

    HUNG_UP = "hung-up"
    MESSAGE_PLAYED = "message-played"
    BUSY = "busy"
    NO_ANSWER = "no-answer"
    UNOBTAINABLE = "unobtainable"
    CARRIER_ERROR = "carrier-error"
    RELEASED = "released"


class Result(StrEnum):
    """attempts.v1 explains them; so are they called in recycling rules, rows and paths."""

    CONNECTED = "connected"
    DELIVERED = "delivered"
    VOICEMAIL = "voicemail"
    MACHINE = "machine"
    FAX = "fax"
    ABANDONED = "abandoned"
    HUNG_UP = "hung-up"
    NO_ANSWER = "no-answer"
    BUSY = "busy"
    UNOBTAINABLE = "unobtainable"
    CARRIER_ERROR = "carrier-error"
    NOT_DIALLED = "not-dialled"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where an attempt belongs; on all of its events, so that each can be counted alone.

    customer_id        crm's, "" where crm does not know the person
    number_of_attempt  the first of the lead is 1
    invented           of a replay: names of fields that are not on record and were made up
    """

    campaign_id: str
    list_id: str
    lead_id: str
    customer_id: str
    number_id: str
    number_of_attempt: int
    started_at: int
    invented: tuple[str, ...] = ()


# What was heard of the telephone side.


@dataclass(frozen=True, slots=True)
class Answered:
    at: int
    by: AnsweredBy


@dataclass(frozen=True, slots=True)
class GreetingEnded:
    at: int


@dataclass(frozen=True, slots=True)
class Connected:
    at: int
    agent_id: str


@dataclass(frozen=True, slots=True)
class MessageStarted:
    at: int


@dataclass(frozen=True, slots=True)
class Over:
    at: int
    why: Why
    cause: str = ""
    callback_wanted: bool = False


Heard = Answered | GreetingEnded | Connected | MessageStarted | Over


# Commands.


@dataclass(frozen=True, slots=True)
class StartAttempt:
    """It is allowed, and is to be dialled; it happens at origin.started_at.

    mode         of MODES, as it was paced
    allowed_by   every rule that was asked; each allowed it
    policy, because  of pacing, with its figures in words
    agent_id     who accepted the preview, or promised the callback; "" whoever is free
    dial_before  the carrier must not dial it after this
    """

    origin: Origin
    mode: str
    allowed_by: tuple[RuleUse, ...]
    dial_before: int
    policy: str = ""
    because: str = ""
    agent_id: str = ""
    country: str = ""
    region: str = ""


@dataclass(frozen=True, slots=True)
class Hear:
    """Of one call, in the order in which it happened."""

    heard: tuple[Heard, ...]


@dataclass(frozen=True, slots=True)
class Lapse:
    """It was never dialled and never will be. Where something was heard of it this is not so, and
    changes nothing."""

    at: int
    reason: str


@dataclass(frozen=True, slots=True)
class Lose:
    """The carrier knows nothing of it any more, and nobody will hear how it ended."""

    at: int


@dataclass(frozen=True, slots=True)
class Dispose:
    """What the agent, or crm, says of the call. Empty fields leave what was said before; None, too.

    refused: the person wants to be left in peace, whether or not there is a reason.
    """

    at: int
    disposition: str = ""
    agent_id: str = ""
    converted: bool | None = None
    refusal_reason: str = ""
    refused: bool | None = None


Command = StartAttempt | Hear | Lapse | Lose | Dispose


# Events.


@dataclass(frozen=True, slots=True)
class AttemptStarted:
    at: int
    origin: Origin
    mode: str
    allowed_by: tuple[RuleUse, ...]
    policy: str
    because: str
    agent_id: str
    dial_before: int
    country: str
    region: str


@dataclass(frozen=True, slots=True)
class AttemptAnswered:
    at: int
    origin: Origin
    by: AnsweredBy
    rang: int


@dataclass(frozen=True, slots=True)
class AttemptGreetingEnded:
    at: int
    origin: Origin


@dataclass(frozen=True, slots=True)
class AttemptConnected:
    """waited: since the greeting's end."""

    at: int
    origin: Origin
    agent_id: str
    waited: int


@dataclass(frozen=True, slots=True)
class AttemptAbandoned:
    at: int
    origin: Origin
    waited: int
    message_played: bool


@dataclass(frozen=True, slots=True)
class AttemptEnded:
    """It repeats what is needed to count the attempt on its own. rang: None where it did not ring
    to an answer; waited, talked: None without an agent."""

    at: int
    origin: Origin
    result: Result
    agent_id: str
    cause: str
    answered_by: AnsweredBy
    rang: int | None
    waited: int | None
    talked: int | None
    mode: str
    callback_wanted: bool


@dataclass(frozen=True, slots=True)
class AttemptDisposed:
    """All that is known of it by now: the last one counts."""

    at: int
    origin: Origin
    disposition: str
    agent_id: str
    converted: bool
    refusal_reason: str
    refused: bool = False


Event = (
    AttemptStarted
    | AttemptAnswered
    | AttemptGreetingEnded
    | AttemptConnected
    | AttemptAbandoned
    | AttemptEnded
    | AttemptDisposed
)


@dataclass(frozen=True, slots=True)
class Attempt:
    """Each of its steps, None where it has not happened. greeting_ended_at: of a person, or of a
    machine that was to be treated as one."""

    started: AttemptStarted | None = None
    answered: AttemptAnswered | None = None
    greeting_ended_at: int | None = None
    connected: AttemptConnected | None = None
    abandoned: AttemptAbandoned | None = None
    ended: AttemptEnded | None = None
    disposed: AttemptDisposed | None = None

    @property
    def answered_by(self) -> AnsweredBy:
        if self.answered is not None:
            return self.answered.by
        # Who has greeted us has answered, whether or not we have heard of it.
        later = (self.greeting_ended_at, self.connected, self.abandoned)
        heard = any(each is not None for each in later)
        return AnsweredBy.UNKNOWN if heard else AnsweredBy.NOBODY

    @property
    def heard_machine(self) -> bool:
        """The agent says that it was an answering machine."""
        return self.disposed is not None and self.disposed.disposition == ANSWERING_MACHINE

    @property
    def is_open(self) -> bool:
        return self.started is not None and self.ended is None

    @property
    def wants_agent(self) -> bool:
        return self.started is not None and self.started.mode != AGENTLESS


def decide(command: Command, state: Attempt) -> Sequence[Event]:
    """Raises Invalid, Rejected (the id is another attempt's), NotFound."""
    if isinstance(command, StartAttempt):
        return _start(command, state)
    if state.started is None:
        raise NotFound("attempt")
    match command:
        case Hear(heard):
            events: list[Event] = []
            for one in heard:
                new = _hear(one, state)
                state = fold(DECIDER, new, state)
                events += new
            return events
        case Lapse(at, reason):
            if state.ended is not None or state.answered_by is not AnsweredBy.NOBODY:
                return []
            return [_ended(state, Over(at, Why.RELEASED, reason), Result.NOT_DIALLED)]
        case Lose(at):
            return _hear(Over(at, Why.CARRIER_ERROR, LOST), state)
        case Dispose():
            return _dispose(command, state)


def _start(command: StartAttempt, state: Attempt) -> list[Event]:
    origin = command.origin
    for name in ("campaign_id", "lead_id", "number_id"):
        _id(name, getattr(origin, name))
    for name in ("list_id", "customer_id"):
        if value := getattr(origin, name):
            _id(name, value)
    if command.agent_id:
        _id("agent_id", command.agent_id)
    if origin.number_of_attempt < 1:
        raise Invalid("number_of_attempt", "the first of a lead is 1")
    if command.mode not in MODES:
        raise Invalid("mode", f"must be one of {', '.join(MODES)}")
    if command.dial_before < origin.started_at:
        raise Invalid("dial_before", "lies before the start")
    if not command.allowed_by and not origin.invented:
        raise Invalid("allowed_by", "no rule has allowed it")
    if len(command.allowed_by) > MAX_RULES:
        raise Invalid("allowed_by", f"more than {MAX_RULES} rules")
    if state.started is not None:
        if state.started.origin == origin:
            return []
        raise Rejected("another attempt has this id already", "attempt_id")
    return [
        AttemptStarted(
            origin.started_at,
            origin,
            command.mode,
            command.allowed_by,
            command.policy[:MAX_TEXT],
            command.because[:MAX_TEXT],
            command.agent_id,
            command.dial_before,
            command.country,
            command.region,
        )
    ]


def _hear(heard: Heard, state: Attempt) -> list[Event]:
    assert state.started is not None
    if state.ended is not None:
        return []
    at, origin = heard.at, state.started.origin
    match heard:
        case Answered(by=by):
            if state.answered is not None or by is AnsweredBy.NOBODY:
                return []
            return [AttemptAnswered(at, origin, by, max(0, at - origin.started_at))]
        case GreetingEnded():
            return [] if state.greeting_ended_at is not None else [AttemptGreetingEnded(at, origin)]
        case Connected(agent_id=agent_id):
            if state.connected is not None or state.abandoned is not None:
                return []
            return [AttemptConnected(at, origin, agent_id, _waited(state, at))]
        case MessageStarted():
            return _abandoned(state, at, played=True) if _is_waiting(state) else []
        case Over(why=why):
            events: list[Event] = []
            played = why is Why.MESSAGE_PLAYED
            late = state.greeting_ended_at is not None and _waited(state, at) >= LATE
            if _is_waiting(state) and (played or late):
                events += _abandoned(state, at, played=played)
                state = fold(DECIDER, events, state)
            return [*events, _ended(state, heard, result_of(state, heard))]


def _is_waiting(state: Attempt) -> bool:
    """Whether a person waits for an agent. What nobody has said to be a machine is a person."""
    return (
        state.wants_agent
        and state.answered_by not in (AnsweredBy.MACHINE, AnsweredBy.FAX)
        and state.connected is None
        and state.abandoned is None
    )


def _waited(state: Attempt, at: int) -> int:
    return 0 if state.greeting_ended_at is None else max(0, at - state.greeting_ended_at)


def _abandoned(state: Attempt, at: int, *, played: bool) -> list[Event]:
    assert state.started is not None
    return [AttemptAbandoned(at, state.started.origin, _waited(state, at), played)]


_BY_WHY: Final = {
    Why.BUSY: Result.BUSY,
    Why.NO_ANSWER: Result.NO_ANSWER,
    Why.UNOBTAINABLE: Result.UNOBTAINABLE,
    Why.CARRIER_ERROR: Result.CARRIER_ERROR,
    Why.RELEASED: Result.CARRIER_ERROR,
}


def result_of(state: Attempt, over: Over) -> Result:
    """The one result of a call that is over, by what was heard of it before.

    What has happened to a person comes first: who has talked is connected and who has waited in
    vain is abandoned, also when the line breaks then. A machine is no person, so nobody is
    abandoned there. RELEASED before an answer is a hang-up of our side that nobody asked for.
    """
    if state.connected is not None:
        return Result.CONNECTED
    if state.abandoned is not None:
        return Result.ABANDONED
    match state.answered_by:
        case AnsweredBy.FAX:
            return Result.FAX
        case AnsweredBy.MACHINE:
            return Result.VOICEMAIL if over.why is Why.MESSAGE_PLAYED else Result.MACHINE
        case AnsweredBy.HUMAN | AnsweredBy.UNKNOWN:
            if not state.wants_agent and (over.why is Why.MESSAGE_PLAYED or over.callback_wanted):
                return Result.DELIVERED
            if over.why is Why.CARRIER_ERROR:
                return Result.CARRIER_ERROR
            return Result.HUNG_UP
    if over.why is Why.MESSAGE_PLAYED:
        # To somebody, though nobody said to whom; of a call with agents it is abandoned by now.
        return Result.DELIVERED
    if over.why is Why.HUNG_UP:
        return Result.NO_ANSWER
    return _BY_WHY[over.why]


def _ended(state: Attempt, over: Over, result: Result) -> AttemptEnded:
    started, connected, abandoned = state.started, state.connected, state.abandoned
    assert started is not None
    waited = talked = None
    if connected is not None:
        waited = connected.waited
        talked = None if over.cause == LOST else max(0, over.at - connected.at)
    elif abandoned is not None:
        waited = abandoned.waited
    return AttemptEnded(
        over.at,
        started.origin,
        result,
        connected.agent_id if connected is not None else "",
        over.cause[:MAX_TEXT],
        state.answered_by,
        state.answered.rang if state.answered is not None else None,
        waited,
        talked,
        started.mode,
        over.callback_wanted,
    )


def _dispose(command: Dispose, state: Attempt) -> list[Event]:
    assert state.started is not None
    for name in ("disposition", "refusal_reason"):
        value = getattr(command, name)
        if value:
            _id(name, value)
    if command.agent_id:
        _id("agent_id", command.agent_id)
    origin = state.started.origin
    before = state.disposed or AttemptDisposed(0, origin, "", _agent(state), False, "")
    after = replace(
        before,
        disposition=command.disposition or before.disposition,
        agent_id=command.agent_id or before.agent_id,
        converted=before.converted if command.converted is None else command.converted,
        refusal_reason=command.refusal_reason or before.refusal_reason,
        refused=before.refused if command.refused is None else command.refused,
    )
    return [] if after == before else [replace(after, at=command.at)]


def _agent(state: Attempt) -> str:
    return state.connected.agent_id if state.connected is not None else ""


def _id(name: str, value: str) -> None:
    if not ID.fullmatch(value):
        raise Invalid(name, f"must match ^{ID.pattern}$")


def evolve(state: Attempt, event: Event) -> Attempt:
    match event:
        case AttemptStarted():
            return replace(state, started=event)
        case AttemptAnswered():
            return replace(state, answered=event)
        case AttemptGreetingEnded(at):
            return replace(state, greeting_ended_at=at)
        case AttemptConnected():
            return replace(state, connected=event)
        case AttemptAbandoned():
            return replace(state, abandoned=event)
        case AttemptEnded():
            return replace(state, ended=event)
        case AttemptDisposed():
            return replace(state, disposed=event)


DECIDER: Final[Decider[Command, Attempt, Event]] = Decider(
    initial=Attempt(),
    decide=decide,
    evolve=evolve,
    events=(
        AttemptStarted,
        AttemptAnswered,
        AttemptGreetingEnded,
        AttemptConnected,
        AttemptAbandoned,
        AttemptEnded,
        AttemptDisposed,
    ),
)
