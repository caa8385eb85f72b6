"""What can be wanted of a lead. Pure. `at`: when it happens; times are microseconds since 1970."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from services.dialer.compliance.ruleuse import RuleUse
from services.dialer.leads.events import NO_ADDRESS, Address, Origin


@dataclass(frozen=True, slots=True)
class Given:
    """A number as it comes in: E.164, and what events.Number says of it."""

    phone: str
    place: str = ""
    kind: str = "other"


@dataclass(frozen=True, slots=True)
class Details:
    """What is known of a lead.

    reference    the client's own id of it
    attributes   what else the client's list says, for the agent
    zone         IANA time zone, where it is given
    """

    numbers: tuple[Given, ...] = ()
    name: str = ""
    address: Address = NO_ADDRESS
    reference: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)
    zone: str = ""
    priority: int = 0


FIELDS: Final = ("numbers", "name", "address", "reference", "attributes", "zone", "priority")


# What follows from an attempt.


@dataclass(frozen=True, slots=True)
class Schedule:
    """number_id: whose turn it is then; empty: of the first that can be dialled."""

    due_at: int
    number_id: str = ""


# Commands. at: when it happens.


@dataclass(frozen=True, slots=True)
class AddLead:
    """source: one of SOURCES. due_at: not before."""

    origin: Origin
    details: Details
    source: str
    due_at: int


@dataclass(frozen=True, slots=True)
class CorrectLead:
    """Only what `fields` names is corrected, to the value in `details`."""

    details: Details
    fields: frozenset[str]


@dataclass(frozen=True, slots=True)
class Dial:
    attempt_id: str
    number_id: str
    at: int


@dataclass(frozen=True, slots=True)
class HoldBack:
    """It was its turn, and rules forbade it. until: when they are over, None: never for this
    number."""

    forbidden_by: tuple[RuleUse, ...]
    until: int | None
    number_id: str
    at: int


@dataclass(frozen=True, slots=True)
class Close:
    """As a command, or what follows from an attempt."""

    reason: str


@dataclass(frozen=True, slots=True)
class Resolve:
    """The attempt is over. because: its disposition where it has one already, else its result."""

    attempt_id: str
    because: str
    follow: Schedule | Close


@dataclass(frozen=True, slots=True)
class Dispose:
    """The agent's disposition of the lead's last attempt, after its end: it goes before the result.
    Of an attempt that is under way or of an earlier one it changes nothing here."""

    attempt_id: str
    because: str
    follow: Schedule | Close


@dataclass(frozen=True, slots=True)
class PromiseCallback:
    """agent_id: who promised it in person; empty: anybody calls. attempt_id: during which."""

    from_at: int
    until_at: int
    at: int
    agent_id: str = ""
    attempt_id: str = ""


@dataclass(frozen=True, slots=True)
class EscalateCallback:
    """By the timer."""

    until_at: int


@dataclass(frozen=True, slots=True)
class OfferPreview:
    agent_id: str
    expires_at: int
    at: int


@dataclass(frozen=True, slots=True)
class AcceptPreview:
    agent_id: str
    at: int


@dataclass(frozen=True, slots=True)
class SkipPreview:
    agent_id: str
    reason: str
    at: int
    follow: Schedule | Close


@dataclass(frozen=True, slots=True)
class ExpirePreview:
    """By the timer."""

    expires_at: int


@dataclass(frozen=True, slots=True)
class Reopen:
    """The recycling begins anew: what was tried before counts no more."""

    due_at: int


@dataclass(frozen=True, slots=True)
class Forget:
    """The person was erased: nobody calls any more. The keys are destroyed elsewhere."""


Command = (
    AddLead
    | CorrectLead
    | Dial
    | HoldBack
    | Resolve
    | Dispose
    | PromiseCallback
    | EscalateCallback
    | OfferPreview
    | AcceptPreview
    | SkipPreview
    | ExpirePreview
    | Close
    | Reopen
    | Forget
)
