"""One lead: whom to call for a campaign, when its turn is, and what became of each call. Pure.

    waiting -> dialling -> waiting ... -> closed (-> waiting, when it is reopened)
       |
       +-> previewed -> dialling | waiting      an agent looks at it first

A lead has at most one attempt at a time: `Dial` is refused until the one before it is answered, by
exactly one `Resolve`. What follows from a result is the campaign's affair (recycling.py): it comes
with the command, as `Schedule` or `Close`.

A promised callback is the lead's next turn, whatever else is planned for it. It is kept when the
customer is dialled from `from_at` on; an attempt that never left the centre keeps nothing. Where
nobody has dialled by `until_at`, it is escalated: due at once, for anybody.

Times are microseconds since 1970.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from eventkit.decider import Decider, Invalid, NotFound, Rejected
from services.dialer.leads.commands import (
    FIELDS,
    AcceptPreview,
    AddLead,
    Close,
    Command,
    CorrectLead,
    Details,
    Dial,
    Dispose,
    EscalateCallback,
    ExpirePreview,
    Forget,
    Given,
    HoldBack,
    OfferPreview,
    PromiseCallback,
    Reopen,
    Resolve,
    Schedule,
    SkipPreview,
)
from services.dialer.leads.events import (
    NO_ADDRESS,
    SOURCES,
    Address,
    Event,
    LeadAdded,
    LeadCallbackEscalated,
    LeadCallbackPromised,
    LeadClosed,
    LeadCorrected,
    LeadDialled,
    LeadHeldBack,
    LeadPreviewAccepted,
    LeadPreviewed,
    LeadPreviewExpired,
    LeadPreviewSkipped,
    LeadReopened,
    LeadScheduled,
    Number,
    Origin,
    Status,
)

MAX_NUMBERS: Final = 20
MAX_ATTRIBUTES: Final = 50
MAX_PRIORITY: Final = 100
ACCEPTED_US: Final = 60_000_000
"""An accepted preview that nobody dials so long is given back."""

CALLBACK: Final = "callback"
PREVIEW: Final = "preview"
"""The timers."""

ERASED: Final = "erased"
DO_NOT_CALL: Final = "do-not-call"
FORBIDDEN: Final = "forbidden"
NO_NUMBER: Final = "no-number"
CALLBACK_WANTED: Final = "callback-wanted"
"""Why a lead is closed, beside dispositions and recycling's reasons."""

NEVER_LEFT: Final = frozenset({"not-dialled", "carrier-error"})
"""Results of attempts that no telephone has rung for: they keep no promise."""

CODE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:+-]{0,127}")
"""Dispositions are crm's: a client gives them ids of its own choice."""


# State.


NOWHERE: Final = Origin("", "")


@dataclass(frozen=True, slots=True)
class Callback:
    """dialled_in: the attempt that keeps it, if that one leaves the centre."""

    from_at: int
    until_at: int
    agent_id: str = ""
    attempt_id: str = ""
    escalated: bool = False
    dialled_in: str = ""


@dataclass(frozen=True, slots=True)
class Preview:
    agent_id: str
    expires_at: int
    accepted: bool = False


@dataclass(frozen=True, slots=True)
class Lead:
    """due_at: when its turn is. number_id: whose number is dialled then; empty: the first usable.

    attempt_id   the one that has not been answered; last_attempt_id, last_because: the last one
                 that was, and by what
    attempts     how many there were
    calls        those that left the centre, by number_id; tries: by number_id and result or
                 disposition; skips: of previews. All since it was opened.
    barred       numbers that are never to be dialled
    closed_in    the attempt that it was closed for, empty: by hand, or for good
    """

    status: Status = Status.NONE
    origin: Origin = NOWHERE
    source: str = ""
    numbers: tuple[Number, ...] = ()
    phones: Mapping[str, str] = field(default_factory=dict)
    name: str = ""
    address: Address = NO_ADDRESS
    reference: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)
    zone: str = ""
    priority: int = 0
    due_at: int = 0
    number_id: str = ""
    attempt_id: str = ""
    attempt_number_id: str = ""
    last_attempt_id: str = ""
    last_number_id: str = ""
    last_because: str = ""
    attempts: int = 0
    known_attempts: frozenset[str] = frozenset()
    calls: Mapping[str, int] = field(default_factory=dict)
    tries: Mapping[tuple[str, str], int] = field(default_factory=dict)
    skips: int = 0
    barred: frozenset[str] = frozenset()
    callback: Callback | None = None
    preview: Preview | None = None
    closed_reason: str = ""
    closed_in: str = ""
    next_number: int = 1

    @property
    def usable(self) -> tuple[str, ...]:
        """The numbers that may be dialled as far as the lead knows, the one whose turn it is first,
        then those after it, then those before it."""
        ids = [each.number_id for each in self.numbers]
        start = ids.index(self.number_id) if self.number_id in ids else 0
        return tuple(id for id in ids[start:] + ids[:start] if id not in self.barred)

    @property
    def agent_id(self) -> str:
        """Who alone may have it dialled: who accepted its preview, or promised a callback in person
        that is not escalated. Empty: anybody."""
        if self.preview is not None and self.preview.accepted:
            return self.preview.agent_id
        if self.callback is not None and not self.callback.escalated:
            return self.callback.agent_id
        return ""

    def number(self, number_id: str) -> Number:
        """Raises NotFound."""
        for each in self.numbers:
            if each.number_id == number_id:
                return each
        raise NotFound("number")


# Decisions.


def decide(command: Command, lead: Lead) -> Sequence[Event]:
    """Raises NotFound, Invalid for what can be no lead, Rejected for what cannot be now."""
    if isinstance(command, AddLead):
        return _add(command, lead)
    if lead.status is Status.NONE:
        raise NotFound("lead")
    match command:
        case CorrectLead(details, fields):
            return _correct(details, fields, lead)
        case Dial():
            return _dial(command, lead)
        case HoldBack():
            return _hold_back(command, lead)
        case Resolve(attempt_id, because, follow):
            if attempt_id != lead.attempt_id:
                if attempt_id not in lead.known_attempts:
                    raise Rejected("the lead has no such attempt", "attempt_id")
                return []
            if lead.status is Status.CLOSED:
                return [LeadClosed(lead.origin, lead.closed_reason, attempt_id, because)]
            return [_followed(attempt_id, because, follow, lead)]
        case Dispose():
            return _dispose(command, lead)
        case PromiseCallback():
            return _promise(command, lead)
        case EscalateCallback(until_at):
            if timers(lead).get(CALLBACK) != until_at or lead.callback is None:
                return []
            return [LeadCallbackEscalated(lead.origin, until_at, lead.callback.agent_id)]
        case OfferPreview():
            return _offer(command, lead)
        case AcceptPreview(agent_id, at):
            preview = _preview_of(agent_id, at, lead)
            if preview.accepted:
                return []
            return [LeadPreviewAccepted(lead.origin, agent_id, at + ACCEPTED_US)]
        case SkipPreview(agent_id, reason, at, follow):
            return _skip(agent_id, reason, at, follow, lead)
        case ExpirePreview(expires_at):
            if timers(lead).get(PREVIEW) != expires_at or lead.preview is None:
                return []
            return [LeadPreviewExpired(lead.origin, lead.preview.agent_id)]
        case Close(reason):
            _check_code(reason, "reason")
            if lead.status is Status.CLOSED:
                return []
            return [LeadClosed(lead.origin, reason)]
        case Reopen(due_at):
            return _reopen(due_at, lead)
        case Forget():
            if lead.closed_reason == ERASED:
                return []
            return [LeadClosed(lead.origin, ERASED)]


def _add(command: AddLead, lead: Lead) -> Sequence[Event]:
    details = command.details
    _check(details)
    if command.source not in SOURCES:
        raise Invalid("source", f"must be one of {', '.join(SOURCES)}")
    if lead.status is not Status.NONE:
        if lead.origin != command.origin:
            raise Rejected("the id is another lead's", "lead_id")
        return []
    numbers, phones = _numbered(details.numbers, lead)
    return [
        LeadAdded(
            command.origin,
            numbers,
            details.priority,
            command.source,
            command.due_at,
            details.zone,
            phones,
            details.name,
            details.address,
            details.reference,
            details.attributes,
        )
    ]


def _check(details: Details, fields: Collection[str] = FIELDS) -> None:
    if "numbers" in fields:
        _check_numbers(details.numbers)
    if len(details.attributes) > MAX_ATTRIBUTES:
        raise Invalid("attributes", f"has more than {MAX_ATTRIBUTES}")
    if not 0 <= details.priority <= MAX_PRIORITY:
        raise Invalid("priority", f"must be from 0 to {MAX_PRIORITY}")


def _check_numbers(numbers: Sequence[Given]) -> None:
    if not numbers:
        raise Invalid("numbers", "a lead has at least one number")
    if len(numbers) > MAX_NUMBERS:
        raise Invalid("numbers", f"has more than {MAX_NUMBERS}")
    if len({each.phone for each in numbers}) < len(numbers):
        raise Invalid("numbers", "has one of them twice")


def _check_code(value: str, name: str) -> None:
    if not CODE.fullmatch(value):
        raise Invalid(name, f"must match {CODE.pattern}")


def _numbered(given: Sequence[Given], lead: Lead) -> tuple[tuple[Number, ...], dict[str, str]]:
    """A number that the lead has already keeps its id."""
    id_of = {phone: id for id, phone in lead.phones.items()}
    following = lead.next_number
    numbers, phones = [], {}
    for each in given:
        id = id_of.get(each.phone)
        if id is None:
            id, following = str(following), following + 1
        numbers.append(Number(id, each.place, each.kind))
        phones[id] = each.phone
    return tuple(numbers), phones


def _correct(details: Details, fields: frozenset[str], lead: Lead) -> Sequence[Event]:
    unknown = sorted(fields - set(FIELDS))
    if unknown:
        raise Invalid(unknown[0], "is no field of a lead")
    if lead.closed_reason == ERASED:
        raise Rejected("the person has been erased")
    _check(details, fields)
    numbers, phones = lead.numbers, lead.phones
    if "numbers" in fields:
        numbers, phones = _numbered(details.numbers, lead)
    values = {name: getattr(details, name) for name in fields} | {"numbers": numbers}
    changed = tuple(
        name for name in FIELDS if name in fields and values[name] != getattr(lead, name)
    )
    if not changed:
        return []
    event = LeadCorrected(lead.origin, changed, **{name: values[name] for name in changed})
    return [replace(event, phones=phones) if "numbers" in changed else event]


def _dial(command: Dial, lead: Lead) -> Sequence[Event]:
    if command.attempt_id in lead.known_attempts:
        return []
    if lead.attempt_id:
        raise Rejected("an attempt of the lead is under way")
    if lead.status is Status.CLOSED:
        raise Rejected(f"the lead is closed: {lead.closed_reason}")
    if lead.preview is not None and not lead.preview.accepted:
        raise Rejected("an agent is looking at the lead")
    if command.at < lead.due_at:
        raise Rejected("it is not the lead's turn yet")
    lead.number(command.number_id)
    if command.number_id in lead.barred:
        raise Rejected("the number is never to be dialled", "number_id")
    return [LeadDialled(lead.origin, command.attempt_id, command.number_id, command.at)]


def _hold_back(command: HoldBack, lead: Lead) -> Sequence[Event]:
    if not command.forbidden_by:
        raise Invalid("forbidden_by", "at least one rule has forbidden it")
    if lead.status in (Status.CLOSED, Status.DIALLING):
        raise Rejected(f"the lead is {lead.status}")
    number_id, until = command.number_id, command.until
    lead.number(number_id)
    if until is not None:
        if until <= command.at:
            raise Invalid("until", "must be after the moment of the decision")
        if until == lead.due_at:
            return []
        return [LeadHeldBack(lead.origin, command.forbidden_by, until, number_id, until)]
    if number_id in lead.barred:
        return []
    held = LeadHeldBack(lead.origin, command.forbidden_by, None, number_id, command.at)
    if set(lead.usable) - {number_id}:
        return [held]
    by_crm = any(use.rule.startswith("crm.") for use in command.forbidden_by)
    return [held, LeadClosed(lead.origin, DO_NOT_CALL if by_crm else FORBIDDEN)]


def _followed(attempt_id: str, because: str, follow: Schedule | Close, lead: Lead) -> Event:
    _check_code(because, "because")
    if isinstance(follow, Close):
        _check_code(follow.reason, "reason")
        return LeadClosed(lead.origin, follow.reason, attempt_id, because)
    number_id, due_at = follow.number_id, follow.due_at
    if number_id and all(each.number_id != number_id for each in lead.numbers):
        number_id = ""  # corrected away meanwhile
    promised = _still_promised(lead.callback, attempt_id, because)
    if promised is not None:
        # One that this attempt has not kept waits as long as any other lead would.
        earliest = due_at if promised is not lead.callback else promised.from_at
        due_at = max(promised.from_at, earliest)
    return LeadScheduled(lead.origin, due_at, attempt_id, because, number_id)


def _still_promised(callback: Callback | None, attempt_id: str, because: str) -> Callback | None:
    """A callback after an attempt; one that was promised in it is `dialled_in` no other yet."""
    if callback is None or not attempt_id or callback.dialled_in != attempt_id:
        return callback
    return replace(callback, dialled_in="") if because in NEVER_LEFT else None


def _dispose(command: Dispose, lead: Lead) -> Sequence[Event]:
    if command.attempt_id not in lead.known_attempts:
        raise Rejected("the lead has no such attempt", "attempt_id")
    if (
        command.attempt_id != lead.last_attempt_id
        or lead.attempt_id
        or command.because == lead.last_because
        or (lead.status is Status.CLOSED and lead.closed_in != command.attempt_id)
    ):
        return []
    followed = _followed(command.attempt_id, command.because, command.follow, lead)
    if isinstance(followed, LeadScheduled) and lead.status is Status.CLOSED:
        return [LeadReopened(lead.origin, followed.due_at), followed]
    return [followed]


def _promise(command: PromiseCallback, lead: Lead) -> Sequence[Event]:
    if command.until_at <= command.from_at:
        raise Invalid("until_at", "must be after from_at")
    if command.until_at <= command.at:
        raise Invalid("until_at", "must be in the future")
    if lead.closed_reason in (ERASED, DO_NOT_CALL):
        raise Rejected(f"the lead is closed: {lead.closed_reason}")
    promised = LeadCallbackPromised(
        lead.origin, command.from_at, command.until_at, command.agent_id, command.attempt_id
    )
    known = lead.callback
    if known is not None and not known.escalated:
        same = (known.from_at, known.until_at, known.agent_id, known.attempt_id)
        if same == (command.from_at, command.until_at, command.agent_id, command.attempt_id):
            return []
    if lead.status is Status.CLOSED and lead.attempt_id:
        raise Rejected("an attempt of the lead is under way")
    if lead.status is Status.CLOSED:
        return [LeadReopened(lead.origin, command.from_at), promised]
    return [promised]


def _offer(command: OfferPreview, lead: Lead) -> Sequence[Event]:
    if lead.status in (Status.CLOSED, Status.DIALLING):
        raise Rejected(f"the lead is {lead.status}")
    if command.expires_at <= command.at:
        raise Invalid("expires_at", "must be in the future")
    preview = lead.preview
    if preview is not None:
        if preview.agent_id == command.agent_id:
            return []
        raise Rejected("another agent is looking at the lead")
    if lead.agent_id not in ("", command.agent_id):
        raise Rejected("another agent has promised to call", "agent_id")
    if command.at < lead.due_at:
        raise Rejected("it is not the lead's turn yet")
    return [LeadPreviewed(lead.origin, command.agent_id, command.expires_at)]


def _preview_of(agent_id: str, at: int, lead: Lead) -> Preview:
    preview = lead.preview
    if preview is None or preview.agent_id != agent_id:
        raise Rejected("the lead is not offered to this agent")
    if not preview.accepted and at >= preview.expires_at:
        raise Rejected("the offer has expired")
    return preview


def _skip(
    agent_id: str, reason: str, at: int, follow: Schedule | Close, lead: Lead
) -> Sequence[Event]:
    _check_code(reason, "reason")
    if _preview_of(agent_id, at, lead).accepted:
        raise Rejected("the agent has accepted the lead")
    return [
        LeadPreviewSkipped(lead.origin, agent_id, reason),
        _followed("", "skipped", follow, lead),
    ]


def _reopen(due_at: int, lead: Lead) -> Sequence[Event]:
    if lead.status is not Status.CLOSED:
        return []
    if lead.closed_reason == ERASED:
        raise Rejected("the person has been erased")
    if lead.attempt_id:
        raise Rejected("an attempt of the lead is under way")
    return [LeadReopened(lead.origin, due_at)]


# What holds afterwards.


def evolve(lead: Lead, event: Event) -> Lead:
    match event:
        case LeadAdded():
            return Lead(
                Status.WAITING,
                event.origin,
                event.source,
                event.numbers,
                event.phones,
                event.name,
                event.address,
                event.reference,
                event.attributes,
                event.zone,
                event.priority,
                event.due_at,
                next_number=len(event.numbers) + 1,
            )
        case LeadCorrected(fields=fields):
            lead = replace(
                lead, **{name: getattr(event, name) for name in fields if name != "numbers"}
            )
            if "numbers" not in fields:
                return lead
            newest = max((int(each.number_id) for each in event.numbers), default=0)
            return replace(
                lead,
                numbers=event.numbers,
                phones=event.phones,
                next_number=max(lead.next_number, newest + 1),
            )
        case LeadDialled(attempt_id=attempt_id, number_id=number_id, at=at):
            callback = lead.callback
            if callback is not None and at >= callback.from_at:
                callback = replace(callback, dialled_in=attempt_id)
            return replace(
                lead,
                status=Status.DIALLING,
                attempt_id=attempt_id,
                attempt_number_id=number_id,
                attempts=lead.attempts + 1,
                known_attempts=lead.known_attempts | {attempt_id},
                callback=callback,
                preview=None,
            )
        case LeadScheduled(due_at=due_at, number_id=number_id):
            return replace(
                _answered(lead, event.attempt_id, event.because),
                status=Status.WAITING,
                due_at=due_at,
                number_id=number_id,
                preview=None,
            )
        case LeadHeldBack(until=until, number_id=number_id, due_at=due_at):
            if until is None:
                lead = replace(lead, barred=lead.barred | {number_id})
            return replace(
                lead,
                status=Status.WAITING,
                due_at=due_at,
                preview=None,
            )
        case LeadClosed(reason=reason):
            closed = lead.status is Status.CLOSED
            return replace(
                _answered(lead, event.attempt_id, event.because or reason),
                status=Status.CLOSED,
                closed_reason=reason,
                closed_in=lead.closed_in if closed else event.attempt_id,
                callback=None,
                preview=None,
            )
        case LeadReopened(due_at=due_at):
            return replace(
                lead,
                status=Status.WAITING,
                due_at=due_at,
                closed_reason="",
                closed_in="",
                calls={},
                tries={},
                skips=0,
                barred=frozenset(),
            )
        case LeadPreviewed(agent_id=agent_id, expires_at=expires_at):
            return replace(lead, status=Status.PREVIEWED, preview=Preview(agent_id, expires_at))
        case LeadPreviewAccepted(agent_id=agent_id, dial_by=dial_by):
            return replace(lead, preview=Preview(agent_id, dial_by, accepted=True))
        case LeadPreviewSkipped():
            return replace(lead, status=Status.WAITING, preview=None, skips=lead.skips + 1)
        case LeadPreviewExpired():
            return replace(lead, status=Status.WAITING, preview=None)
        case LeadCallbackPromised(from_at=from_at):
            lead = replace(
                lead,
                callback=Callback(from_at, event.until_at, event.agent_id, event.attempt_id),
            )
            if lead.status is Status.DIALLING:
                return lead
            return replace(lead, status=Status.WAITING, due_at=from_at, preview=None)
        case LeadCallbackEscalated():
            assert lead.callback is not None
            return replace(
                lead, callback=replace(lead.callback, escalated=True), due_at=lead.callback.from_at
            )


def _answered(lead: Lead, attempt_id: str, because: str) -> Lead:
    """Once its result is known, or, `attempt_id` being the last one, its disposition."""
    if not attempt_id:
        return lead
    number_id = lead.attempt_number_id if lead.attempt_id else lead.last_number_id
    key = (number_id, because)
    calls = lead.calls
    if lead.attempt_id and because not in NEVER_LEFT:
        calls = {**calls, number_id: calls.get(number_id, 0) + 1}
    return replace(
        lead,
        attempt_id="",
        attempt_number_id="",
        last_attempt_id=attempt_id,
        last_number_id=number_id,
        last_because=because,
        calls=calls,
        tries={**lead.tries, key: lead.tries.get(key, 0) + 1},
        callback=_still_promised(lead.callback, attempt_id, because),
    )


def timers(lead: Lead) -> Mapping[str, int]:
    """What is due when. While the customer is being dialled nobody says that it was too late."""
    found = {}
    callback = lead.callback
    if callback is not None and not callback.escalated and lead.status is not Status.DIALLING:
        found[CALLBACK] = callback.until_at
    if lead.preview is not None:
        found[PREVIEW] = lead.preview.expires_at
    return found


def due(_: str, name: str, at: int) -> Command:
    """The command that a timer gives."""
    return EscalateCallback(at) if name == CALLBACK else ExpirePreview(at)


DECIDER: Final[Decider[Command, Lead, Event]] = Decider(
    initial=Lead(),
    decide=decide,
    evolve=evolve,
    events=(
        LeadAdded,
        LeadCorrected,
        LeadDialled,
        LeadScheduled,
        LeadHeldBack,
        LeadClosed,
        LeadReopened,
        LeadPreviewed,
        LeadPreviewAccepted,
        LeadPreviewSkipped,
        LeadPreviewExpired,
        LeadCallbackPromised,
        LeadCallbackEscalated,
    ),
)
