"""What happens to a lead, and the words that it is told in. Pure.

Every event says where the lead belongs, so that each can be counted alone. Times are microseconds
since 1970. Numbers, name, address and attributes are sealed; what remains in clear says in which
country, region and zones the lead may be, and no more. zone: an IANA time zone, where it was given.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from eventkit.decider import Personal
from services.dialer.compliance.ruleuse import RuleUse

SOURCES: Final = ("import", "agent", "win-back", "partner", "replay", "callback")


class Status(StrEnum):
    """CLOSED: no more turns, though an attempt that was under way may still have to be answered."""

    NONE = "none"
    WAITING = "waiting"
    PREVIEWED = "previewed"
    DIALLING = "dialling"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a lead belongs, for good. customer_id: crm's, empty where crm does not know it; its key
    seals what is personal."""

    campaign_id: str
    list_id: str
    customer_id: str = ""


@dataclass(frozen=True, slots=True)
class Number:
    """number_id: within the lead, never used again. place: where it may ring by the number and the
    lead's address, a key of compliance/place.py. kind: `mobile`, `fixed`, `other`."""

    number_id: str
    place: str = ""
    kind: str = "other"


@dataclass(frozen=True, slots=True)
class Address:
    """Where the person lives, as far as is known. lines: as on a letter. country: ISO 3166."""

    lines: str = ""
    postal_code: str = ""
    region: str = ""
    country: str = ""


NO_ADDRESS: Final = Address()


# Events. Their names are stored: they do not change.


@dataclass(frozen=True, slots=True)
class LeadAdded:
    """phones: the E.164 of each of `numbers`, by number_id."""

    origin: Origin
    numbers: tuple[Number, ...]
    priority: int
    source: str
    due_at: int
    zone: str = ""
    phones: Personal[Mapping[str, str]] = field(default_factory=dict)
    name: Personal[str] = ""
    address: Personal[Address] = NO_ADDRESS
    reference: Personal[str] = ""
    attributes: Personal[Mapping[str, str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LeadCorrected:
    """fields: the names of those that are different now; only their values mean something."""

    origin: Origin
    fields: tuple[str, ...]
    numbers: tuple[Number, ...] = ()
    priority: int = 0
    zone: str = ""
    phones: Personal[Mapping[str, str]] = field(default_factory=dict)
    name: Personal[str] = ""
    address: Personal[Address] = NO_ADDRESS
    reference: Personal[str] = ""
    attributes: Personal[Mapping[str, str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LeadDialled:
    origin: Origin
    attempt_id: str
    number_id: str
    at: int


@dataclass(frozen=True, slots=True)
class LeadScheduled:
    """number_id: whose turn it is then; empty: of the first that can be dialled."""

    origin: Origin
    due_at: int
    attempt_id: str = ""
    because: str = ""
    number_id: str = ""


@dataclass(frozen=True, slots=True)
class LeadHeldBack:
    """until: None for a number that is never to be dialled; the lead goes on with another one, or
    LeadClosed comes next. due_at: when it is the lead's turn again."""

    origin: Origin
    forbidden_by: tuple[RuleUse, ...]
    until: int | None
    number_id: str
    due_at: int


@dataclass(frozen=True, slots=True)
class LeadClosed:
    """attempt_id: after which one, empty: it was not for one. because: the result or disposition
    that it follows from, where that is not the reason itself."""

    origin: Origin
    reason: str
    attempt_id: str = ""
    because: str = ""


@dataclass(frozen=True, slots=True)
class LeadReopened:
    origin: Origin
    due_at: int


@dataclass(frozen=True, slots=True)
class LeadPreviewed:
    origin: Origin
    agent_id: str
    expires_at: int


@dataclass(frozen=True, slots=True)
class LeadPreviewAccepted:
    origin: Origin
    agent_id: str
    dial_by: int


@dataclass(frozen=True, slots=True)
class LeadPreviewSkipped:
    origin: Origin
    agent_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class LeadPreviewExpired:
    origin: Origin
    agent_id: str


@dataclass(frozen=True, slots=True)
class LeadCallbackPromised:
    origin: Origin
    from_at: int
    until_at: int
    agent_id: str = ""
    attempt_id: str = ""


@dataclass(frozen=True, slots=True)
class LeadCallbackEscalated:
    origin: Origin
    until_at: int
    agent_id: str = ""


Event = (
    LeadAdded
    | LeadCorrected
    | LeadDialled
    | LeadScheduled
    | LeadHeldBack
    | LeadClosed
    | LeadReopened
    | LeadPreviewed
    | LeadPreviewAccepted
    | LeadPreviewSkipped
    | LeadPreviewExpired
    | LeadCallbackPromised
    | LeadCallbackEscalated
)
