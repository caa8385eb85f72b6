"""One complaint, from its first word to its verdict and beyond. Pure.

    opened -> acknowledged -> assigned -> investigated -> upheld | rejected -> remedied -> closed
                   ^ paused <-> resumed (waiting for the customer)                |
                   +------------------ appealed | reopened <----------------------+

Every event says at which moment it happened (`at`, microseconds since 1970) and carries the clocks
as they are from then on, so that a fold needs no calendar. A moment is never before the one that
the stream knows already: who reports late finds the clocks as they are.

A clock runs out the moment its target is used up; what stops it has to come before. Whoever comes
first notices it: the timer, or the next command, which then records it ahead of what it does.
Either way it happened at the due time, and it happens once.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from enum import IntEnum, StrEnum
from functools import singledispatch
from typing import Any

from eventkit.decider import Decider, Invalid, NotFound, Personal, Rejected, fold
from services.crm.complaints import clocks as c
from services.crm.complaints.clocks import Clocks, Rules, Severity

MAX_TEXT = 10_000
MAX_REASONS = 10
MAX_AMOUNT = Decimal("1e12")
ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:+-]{0,127}")
CODE = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
CURRENCY = re.compile(r"[A-Z]{3}")
CUSTOMER = "customer"


class SubjectKind(IntEnum):
    """As on the wire, where a number is never reused. From CLIENT on: responsible only."""

    NONE = 0
    AGENT = 1
    ORDER = 2
    PRODUCT = 3
    VISIT = 4
    CLIENT = 5
    THIRD_PARTY = 6
    NOBODY = 7


class Phase(StrEnum):
    NONE = "none"
    OPEN = "open"
    DECIDED = "decided"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class Subject:
    """What a complaint is about, or who answers for it; its id where known."""

    kind: SubjectKind = SubjectKind.NONE
    id: str = ""


@dataclass(frozen=True, slots=True)
class Details:
    """What a complaint is when it is opened. Ids and codes; texts are apart, being personal.

    customer_id   crm's id; empty where a department complains, or nobody knows who did
    source        `customer`, or the code of the department that complains
    channel       how it came: `voice`, `web`, `email`, `letter`, `visit`, `department`, `import`
    reference     the client's own number of it
    status        of an imported one: the code of the state that it had in the other system
    on_behalf     made for somebody else
    date_corrected   imported with day and month put right
    """

    customer_id: str = ""
    source: str = CUSTOMER
    about: Subject = Subject()
    channel: str = "voice"
    reference: str = ""
    call_id: str = ""
    status: str = ""
    on_behalf: bool = False
    date_corrected: bool = False


# Commands. at: when it happens. rules: those that hold for the complaint.


@dataclass(frozen=True, slots=True)
class OpenComplaint:
    at: int
    rules: Rules
    details: Details
    severity: Severity = Severity.NORMAL
    text: str = ""


@dataclass(frozen=True, slots=True)
class ImportComplaint:
    """One that another system has kept until now.

    No clock runs: nothing was promised under our rules, and when it was answered or closed is not
    known. A closed one has no verdict, since none is known. They get clocks by ApplyPolicy, or when
    they are reopened.
    """

    at: int
    details: Details
    severity: Severity = Severity.NORMAL
    text: str = ""
    place: str = ""
    acknowledged: bool = False
    closed: bool = False


@dataclass(frozen=True, slots=True)
class AcknowledgeComplaint:
    at: int
    rules: Rules
    text: str = ""


@dataclass(frozen=True, slots=True)
class AssignComplaint:
    at: int
    assignee: str


@dataclass(frozen=True, slots=True)
class InvestigateComplaint:
    at: int
    findings: str


@dataclass(frozen=True, slots=True)
class PauseComplaint:
    """We wait for the customer. reason: a code."""

    at: int
    rules: Rules
    reason: str
    text: str = ""


@dataclass(frozen=True, slots=True)
class ResumeComplaint:
    at: int
    rules: Rules


@dataclass(frozen=True, slots=True)
class ChangeSeverity:
    at: int
    rules: Rules
    severity: Severity


@dataclass(frozen=True, slots=True)
class UpholdComplaint:
    """Justified. known: the reasons that the client's policy has for it."""

    at: int
    reasons: tuple[str, ...]
    responsible: Subject
    text: str
    known: frozenset[str]


@dataclass(frozen=True, slots=True)
class RejectComplaint:
    """Not justified."""

    at: int
    reasons: tuple[str, ...]
    text: str
    known: frozenset[str]


@dataclass(frozen=True, slots=True)
class RemedyComplaint:
    at: int
    remedy: str
    amount: Decimal | None
    currency: str
    text: str
    known: frozenset[str]


@dataclass(frozen=True, slots=True)
class CloseComplaint:
    at: int
    rules: Rules


@dataclass(frozen=True, slots=True)
class AppealComplaint:
    """The customer does not accept the verdict."""

    at: int
    rules: Rules
    text: str


@dataclass(frozen=True, slots=True)
class ReopenComplaint:
    at: int
    rules: Rules
    reason: str
    text: str = ""


@dataclass(frozen=True, slots=True)
class ApplyPolicy:
    """From now on under other rules. rules: those until now."""

    at: int
    rules: Rules
    new: Rules


@dataclass(frozen=True, slots=True)
class RunOutClock:
    """What the timer says at the due time, which is `at`."""

    at: int
    clock: str


Command = (
    OpenComplaint
    | ImportComplaint
    | AcknowledgeComplaint
    | AssignComplaint
    | InvestigateComplaint
    | PauseComplaint
    | ResumeComplaint
    | ChangeSeverity
    | UpholdComplaint
    | RejectComplaint
    | RemedyComplaint
    | CloseComplaint
    | AppealComplaint
    | ReopenComplaint
    | ApplyPolicy
    | RunOutClock
)

# Events. clocks: as they are from now on; None: the complaint has none.


@dataclass(frozen=True, slots=True)
class ComplaintOpened:
    at: int
    details: Details
    severity: Severity
    text: Personal[str]
    place: Personal[str]
    policy_version: int
    clocks: Clocks | None


@dataclass(frozen=True, slots=True)
class ComplaintAcknowledged:
    at: int
    text: Personal[str]
    clocks: Clocks | None


@dataclass(frozen=True, slots=True)
class ComplaintAssigned:
    at: int
    assignee: str


@dataclass(frozen=True, slots=True)
class ComplaintInvestigated:
    at: int
    findings: Personal[str]


@dataclass(frozen=True, slots=True)
class ComplaintPaused:
    at: int
    reason: str
    text: Personal[str]
    clocks: Clocks | None


@dataclass(frozen=True, slots=True)
class ComplaintResumed:
    at: int
    clocks: Clocks | None


@dataclass(frozen=True, slots=True)
class ComplaintSeverityChanged:
    at: int
    severity: Severity
    clocks: Clocks | None


@dataclass(frozen=True, slots=True)
class ComplaintUpheld:
    at: int
    reasons: tuple[str, ...]
    responsible: Subject
    text: Personal[str]


@dataclass(frozen=True, slots=True)
class ComplaintRejected:
    at: int
    reasons: tuple[str, ...]
    text: Personal[str]


@dataclass(frozen=True, slots=True)
class ComplaintRemedied:
    at: int
    remedy: str
    amount: Decimal | None
    currency: str
    text: Personal[str]


@dataclass(frozen=True, slots=True)
class ComplaintClosed:
    at: int
    clocks: Clocks | None


@dataclass(frozen=True, slots=True)
class ComplaintAppealed:
    at: int
    text: Personal[str]
    policy_version: int
    clocks: Clocks


@dataclass(frozen=True, slots=True)
class ComplaintReopened:
    at: int
    reason: str
    text: Personal[str]
    policy_version: int
    clocks: Clocks


@dataclass(frozen=True, slots=True)
class ComplaintPolicyApplied:
    at: int
    policy_version: int
    clocks: Clocks


@dataclass(frozen=True, slots=True)
class ComplaintClockRanOut:
    """at: the due time. clock: clocks.FIRST_RESPONSE or RESOLUTION."""

    at: int
    clock: str


Event = (
    ComplaintOpened
    | ComplaintAcknowledged
    | ComplaintAssigned
    | ComplaintInvestigated
    | ComplaintPaused
    | ComplaintResumed
    | ComplaintSeverityChanged
    | ComplaintUpheld
    | ComplaintRejected
    | ComplaintRemedied
    | ComplaintClosed
    | ComplaintAppealed
    | ComplaintReopened
    | ComplaintPolicyApplied
    | ComplaintClockRanOut
)


@dataclass(frozen=True, slots=True)
class Complaint:
    """The state. at: of the last event. verdict: of the last one that stands.

    phase    OPEN until there is a verdict, and again after an appeal or a reopening
    review   why it is open again, until the next verdict or closing
    settled  how many of the remedies are from before it was opened again
    policy_version   of the rules that its clocks follow
    """

    opened: ComplaintOpened | None = None
    at: int = 0
    phase: Phase = Phase.NONE
    severity: Severity = Severity.NORMAL
    policy_version: int = 0
    clocks: Clocks | None = None
    acknowledged_at: int | None = None
    closed_at: int | None = None
    assignee: str = ""
    findings: str = ""
    paused: ComplaintPaused | None = None
    verdict: ComplaintUpheld | ComplaintRejected | None = None
    remedies: tuple[ComplaintRemedied, ...] = ()
    settled: int = 0
    review: ComplaintAppealed | ComplaintReopened | None = None

    @property
    def customer_id(self) -> str:
        return self.opened.details.customer_id if self.opened else ""


def decide(command: Command, state: Complaint) -> Sequence[Event]:
    """Raises Invalid, Rejected (what cannot be done, and the state that it is in) and NotFound."""
    match command:
        case OpenComplaint():
            return _open(command, state)
        case ImportComplaint():
            return _import(command, state)
        case RunOutClock(at, clock):
            due = c.due(state.clocks) if state.clocks else {}
            return [ComplaintClockRanOut(at, clock)] if due.get(clock) == at else []
    if state.phase is Phase.NONE:
        raise NotFound("complaint")
    now = max(command.at, state.at)
    # What ran out before this comes first, and this is decided on what is then.
    before = _ran_out(state, now)
    state = fold(DECIDER, before, state)
    events = _decide(command, state, now)
    if not events:
        return []  # A repeat; the timer will tell what it has not done yet.
    # A shorter target may be used up already.
    after = _ran_out(fold(DECIDER, events, state), now)
    return [*before, *events, *after]


def _ran_out(state: Complaint, now: int) -> list[Event]:
    if state.clocks is None:
        return []
    due = sorted((at, clock) for clock, at in c.due(state.clocks).items())
    return [ComplaintClockRanOut(at, clock) for at, clock in due if at <= now]


def _open(command: OpenComplaint, state: Complaint) -> list[Event]:
    check_details(command.details)
    check_text("text", command.text)
    opened = ComplaintOpened(
        command.at,
        command.details,
        command.severity,
        command.text,
        "",
        command.rules.version,
        c.begin(command.rules, command.severity, command.at),
    )
    return _first(opened, state)


def _import(command: ImportComplaint, state: Complaint) -> list[Event]:
    check_details(command.details)
    check_text("text", command.text)
    check_text("place", command.place)
    at = command.at
    opened = ComplaintOpened(
        at, command.details, command.severity, command.text, command.place, 0, None
    )
    events = _first(opened, state)
    if events and command.acknowledged:
        events.append(ComplaintAcknowledged(at, "", None))
    if events and command.closed:
        events.append(ComplaintClosed(at, None))
    return events


def _first(opened: ComplaintOpened, state: Complaint) -> list[Event]:
    if state.opened is None:
        return [opened]
    if (opened.details, opened.severity) == (state.opened.details, state.opened.severity):
        return []
    raise Rejected("another complaint has this id already")


@singledispatch
def _decide(command: Any, state: Complaint, now: int) -> list[Event]:
    raise TypeError(type(command).__name__)


@_decide.register
def _(command: AcknowledgeComplaint, state: Complaint, now: int) -> list[Event]:
    check_text("text", command.text)
    if state.acknowledged_at is not None:
        return []
    _require_not_closed("acknowledged", state)
    clocks = state.clocks and c.respond(state.clocks, command.rules, now)
    return [ComplaintAcknowledged(now, command.text, clocks)]


@_decide.register
def _(command: AssignComplaint, state: Complaint, now: int) -> list[Event]:
    check_id("assignee", command.assignee)
    _require_not_closed("assigned", state)
    return [] if state.assignee == command.assignee else [ComplaintAssigned(now, command.assignee)]


@_decide.register
def _(command: InvestigateComplaint, state: Complaint, now: int) -> list[Event]:
    check_text("findings", command.findings, required=True)
    if state.findings == command.findings:
        return []
    _require("investigated", state, Phase.OPEN)
    return [ComplaintInvestigated(now, command.findings)]


@_decide.register
def _(command: PauseComplaint, state: Complaint, now: int) -> list[Event]:
    check_code("reason", command.reason)
    check_text("text", command.text)
    _require_not_closed("paused", state)
    if state.paused is not None:
        return []
    clocks = state.clocks and c.stop(state.clocks, command.rules, now)
    return [ComplaintPaused(now, command.reason, command.text, clocks)]


@_decide.register
def _(command: ResumeComplaint, state: Complaint, now: int) -> list[Event]:
    _require_not_closed("resumed", state)
    if state.paused is None:
        return []
    clocks = state.clocks and c.start(state.clocks, command.rules, now)
    return [ComplaintResumed(now, clocks)]


@_decide.register
def _(command: ChangeSeverity, state: Complaint, now: int) -> list[Event]:
    _require_not_closed("given another severity", state)
    if state.severity is command.severity:
        return []
    rules = command.rules
    clocks = state.clocks and c.retarget(state.clocks, rules, rules, command.severity, now)
    return [ComplaintSeverityChanged(now, command.severity, clocks)]


@_decide.register
def _(command: UpholdComplaint, state: Complaint, now: int) -> list[Event]:
    check_reasons(command.reasons, command.known)
    check_subject("responsible", command.responsible)
    if command.responsible.kind is SubjectKind.NONE:
        raise Invalid("responsible", "missing: who answers for it; `nobody` where nobody does")
    check_text("text", command.text)
    verdict = ComplaintUpheld(now, command.reasons, command.responsible, command.text)
    return _verdict("upheld", verdict, state)


@_decide.register
def _(command: RejectComplaint, state: Complaint, now: int) -> list[Event]:
    check_reasons(command.reasons, command.known)
    check_text("text", command.text)
    return _verdict("rejected", ComplaintRejected(now, command.reasons, command.text), state)


def _verdict(
    done: str, verdict: ComplaintUpheld | ComplaintRejected, state: Complaint
) -> list[Event]:
    if state.phase is not Phase.OPEN and state.verdict is not None:
        if replace(verdict, at=state.verdict.at) == state.verdict:
            return []
        raise Rejected(
            f"cannot be {done}: it is {state.phase.value} and has a verdict; appeal or reopen it"
        )
    _require(done, state, Phase.OPEN)
    if state.acknowledged_at is None:
        raise Rejected(f"cannot be {done}: it is not acknowledged")
    if state.paused is not None:
        raise Rejected(f"cannot be {done}: it waits for the customer; resume it")
    return [verdict]


@_decide.register
def _(command: RemedyComplaint, state: Complaint, now: int) -> list[Event]:
    check_code("remedy", command.remedy)
    if command.remedy not in command.known:
        raise Invalid("remedy", "not one of the client's remedies")
    check_amount(command.amount, command.currency)
    check_text("text", command.text)
    made = ComplaintRemedied(now, command.remedy, command.amount, command.currency, command.text)
    if any(replace(made, at=one.at) == one for one in state.remedies[state.settled :]):
        return []
    _require_not_closed("remedied", state)
    if state.verdict is None:
        raise Rejected("cannot be remedied: it has no verdict")
    return [made]


@_decide.register
def _(command: CloseComplaint, state: Complaint, now: int) -> list[Event]:
    if state.phase is Phase.CLOSED:
        return []
    if state.verdict is None:
        raise Rejected("cannot be closed: it has no verdict")
    return [ComplaintClosed(now, state.clocks and c.close(state.clocks, command.rules, now))]


@_decide.register
def _(command: AppealComplaint, state: Complaint, now: int) -> list[Event]:
    check_text("text", command.text, required=True)
    if isinstance(state.review, ComplaintAppealed) and state.review.text == command.text:
        return []
    if state.verdict is None:
        raise Rejected(f"cannot be appealed: it is {state.phase.value} and has no verdict")
    # The customer has spoken, so nobody waits for the customer any more.
    clocks = _again(state, command.rules, now)
    return [ComplaintAppealed(now, command.text, command.rules.version, clocks)]


@_decide.register
def _(command: ReopenComplaint, state: Complaint, now: int) -> list[Event]:
    check_code("reason", command.reason)
    check_text("text", command.text)
    again = state.review
    if isinstance(again, ComplaintReopened) and (again.reason, again.text) == (
        command.reason,
        command.text,
    ):
        return []
    _require("reopened", state, Phase.CLOSED)
    clocks = _again(state, command.rules, now)
    return [ComplaintReopened(now, command.reason, command.text, command.rules.version, clocks)]


def _again(state: Complaint, rules: Rules, now: int) -> Clocks:
    if state.clocks is None:
        return _begin_late(state, rules, now)
    return c.reopen(state.clocks, rules, now)


def _begin_late(state: Complaint, rules: Rules, now: int) -> Clocks:
    """The clocks of an imported complaint, from now on; what was answered elsewhere is answered."""
    clocks = c.begin(rules, state.severity, now)
    if state.acknowledged_at is not None or state.closed_at is not None:
        clocks = c.respond(clocks, rules, now)
    return clocks


@_decide.register
def _(command: ApplyPolicy, state: Complaint, now: int) -> list[Event]:
    _require_not_closed("put under other rules", state)
    new = command.new
    if state.clocks is None:
        clocks = _begin_late(state, new, now)
        if state.paused is not None:
            clocks = c.stop(clocks, new, now)
    elif state.policy_version == new.version:
        return []
    else:
        clocks = c.retarget(state.clocks, command.rules, new, state.severity, now)
    return [ComplaintPolicyApplied(now, new.version, clocks)]


def _require(done: str, state: Complaint, phase: Phase) -> None:
    if state.phase is not phase:
        raise Rejected(f"cannot be {done}: it is {state.phase.value}")


def _require_not_closed(done: str, state: Complaint) -> None:
    if state.phase is Phase.CLOSED:
        raise Rejected(f"cannot be {done}: it is {state.phase.value}")


# What there is after an event.


def evolve(state: Complaint, event: Event) -> Complaint:
    return _evolve(event, state)


@singledispatch
def _evolve(event: Any, state: Complaint) -> Complaint:
    raise TypeError(type(event).__name__)


@_evolve.register
def _(event: ComplaintOpened, state: Complaint) -> Complaint:
    return Complaint(
        opened=event,
        at=event.at,
        phase=Phase.OPEN,
        severity=event.severity,
        policy_version=event.policy_version,
        clocks=event.clocks,
    )


@_evolve.register
def _(event: ComplaintAcknowledged, state: Complaint) -> Complaint:
    return replace(state, at=event.at, acknowledged_at=event.at, clocks=event.clocks)


@_evolve.register
def _(event: ComplaintAssigned, state: Complaint) -> Complaint:
    return replace(state, at=event.at, assignee=event.assignee)


@_evolve.register
def _(event: ComplaintInvestigated, state: Complaint) -> Complaint:
    return replace(state, at=event.at, findings=event.findings)


@_evolve.register
def _(event: ComplaintPaused, state: Complaint) -> Complaint:
    return replace(state, at=event.at, paused=event, clocks=event.clocks)


@_evolve.register
def _(event: ComplaintResumed, state: Complaint) -> Complaint:
    return replace(state, at=event.at, paused=None, clocks=event.clocks)


@_evolve.register
def _(event: ComplaintSeverityChanged, state: Complaint) -> Complaint:
    return replace(state, at=event.at, severity=event.severity, clocks=event.clocks)


@_evolve.register(ComplaintUpheld)
@_evolve.register(ComplaintRejected)
def _(event: ComplaintUpheld | ComplaintRejected, state: Complaint) -> Complaint:
    return replace(state, at=event.at, phase=Phase.DECIDED, verdict=event, review=None)


@_evolve.register
def _(event: ComplaintRemedied, state: Complaint) -> Complaint:
    return replace(state, at=event.at, remedies=(*state.remedies, event))


@_evolve.register
def _(event: ComplaintClosed, state: Complaint) -> Complaint:
    return replace(
        state,
        at=event.at,
        phase=Phase.CLOSED,
        closed_at=event.at,
        paused=None,
        review=None,
        clocks=event.clocks,
    )


@_evolve.register
def _(event: ComplaintAppealed, state: Complaint) -> Complaint:
    # The verdict is open again.
    return replace(_open_again(event, state), verdict=None)


@_evolve.register
def _(event: ComplaintReopened, state: Complaint) -> Complaint:
    # The verdict stands until another one is given: it may be the remedy that never came.
    return _open_again(event, state)


def _open_again(event: ComplaintAppealed | ComplaintReopened, state: Complaint) -> Complaint:
    return replace(
        state,
        at=event.at,
        phase=Phase.OPEN,
        closed_at=None,
        paused=None,
        review=event,
        settled=len(state.remedies),
        policy_version=event.policy_version,
        clocks=event.clocks,
    )


@_evolve.register
def _(event: ComplaintPolicyApplied, state: Complaint) -> Complaint:
    return replace(state, at=event.at, policy_version=event.policy_version, clocks=event.clocks)


@_evolve.register
def _(event: ComplaintClockRanOut, state: Complaint) -> Complaint:
    assert state.clocks is not None
    return replace(state, at=event.at, clocks=c.run_out(state.clocks, event.clock, event.at))


DECIDER: Decider[Command, Complaint, Event] = Decider(
    initial=Complaint(),
    decide=decide,
    evolve=evolve,
    events=(
        ComplaintOpened,
        ComplaintAcknowledged,
        ComplaintAssigned,
        ComplaintInvestigated,
        ComplaintPaused,
        ComplaintResumed,
        ComplaintSeverityChanged,
        ComplaintUpheld,
        ComplaintRejected,
        ComplaintRemedied,
        ComplaintClosed,
        ComplaintAppealed,
        ComplaintReopened,
        ComplaintPolicyApplied,
        ComplaintClockRanOut,
    ),
)


def timers(state: Complaint) -> dict[str, int]:
    """When each clock runs out if nothing stops it."""
    return c.due(state.clocks) if state.clocks else {}


# What values make sense. A reason never repeats the value, which may be personal.


def check_id(name: str, value: str) -> None:
    if not ID.fullmatch(value):
        raise Invalid(name, "letters, digits and . _ : + -, the first a letter or digit, 1 to 128")


def check_code(name: str, value: str) -> None:
    if not CODE.fullmatch(value):
        raise Invalid(name, "small letters, digits and hyphens, 1 to 63")


def check_text(name: str, value: str, *, required: bool = False) -> None:
    if len(value) > MAX_TEXT:
        raise Invalid(name, f"more than {MAX_TEXT} characters")
    # Neither has a place in PostgreSQL.
    if "\x00" in value or any("\ud800" <= character <= "\udfff" for character in value):
        raise Invalid(name, "has a NUL or half of a surrogate pair")
    if required and not value.strip():
        raise Invalid(name, "missing")


def check_details(details: Details) -> None:
    for name in ("customer_id", "reference", "call_id"):
        value = getattr(details, name)
        if value:
            check_id(name, value)
    check_code("source", details.source)
    check_code("channel", details.channel)
    if details.status:
        check_code("status", details.status)
    check_subject("about", details.about)
    if details.about.kind > SubjectKind.VISIT:
        raise Invalid("about.kind", "an agent, an order, a product or a visit")


def check_subject(name: str, subject: Subject) -> None:
    if subject.id:
        check_id(f"{name}.id", subject.id)
        if subject.kind in (SubjectKind.NONE, SubjectKind.NOBODY):
            raise Invalid(f"{name}.id", "of a subject that there is none of")


def check_reasons(reasons: tuple[str, ...], known: frozenset[str]) -> None:
    if not reasons:
        raise Invalid("reasons", "at least one")
    if len(reasons) > MAX_REASONS or len(set(reasons)) < len(reasons):
        raise Invalid("reasons", f"at most {MAX_REASONS}, each once")
    if not known.issuperset(reasons):
        raise Invalid("reasons", "not all among the client's reasons for this verdict")


def check_amount(amount: Decimal | None, currency: str) -> None:
    if amount is None:
        if currency:
            raise Invalid("currency", "of an amount that is missing")
        return
    exponent = amount.as_tuple().exponent
    if not (amount.is_finite() and 0 < amount < MAX_AMOUNT) or not isinstance(exponent, int):
        raise Invalid("amount", f"a decimal above 0 and below {MAX_AMOUNT:f}")
    if exponent < -4:
        raise Invalid("amount", "at most 4 decimal places")
    if not CURRENCY.fullmatch(currency):
        raise Invalid("currency", "an ISO 4217 code of three capital letters, such as EUR")
