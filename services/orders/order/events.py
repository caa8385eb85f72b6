"""What happens to an order, and the words that it is told in. Pure.

Events carry the origin of the order, and what was sold where it is undone, so that each can be
counted alone. They carry the moments that follow from the form, so that a fold needs no form.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from eventkit.decider import Personal
from services.orders.addresses.address import Address
from services.orders.prices.pricing import Quote


class Status(StrEnum):
    NONE = "none"
    DRAFT = "draft"
    PLACED = "placed"
    CONFIRMED = "confirmed"
    FULFILLED = "fulfilled"
    CANCELLED = "cancelled"
    RETURNED = "returned"
    FAILED = "failed"
    EXPIRED = "expired"


class VisitStatus(StrEnum):
    NONE = "none"
    SCHEDULED = "scheduled"
    MISSED = "missed"
    DONE = "done"


class Party(StrEnum):
    """Who cancels."""

    CUSTOMER = "customer"
    CLIENT = "client"
    CENTRE = "centre"


class MissedBy(StrEnum):
    """Why a visit came to nothing: the crew did not come, nobody was there, or both were there and
    it could not be done."""

    CREW = "crew"
    CUSTOMER = "customer"
    CIRCUMSTANCES = "circumstances"


class Moved(StrEnum):
    """Why there is another visit. MISSED: the one before it was."""

    CUSTOMER = "customer"
    CLIENT = "client"
    CREW = "crew"
    MISSED = "missed"


class AfterSale(StrEnum):
    """RETURNED: the customer gave it back. FAILED: it does not do what was sold, or is not paid."""

    RETURNED = "returned"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where an order comes from. Ids and codes; "" where there is none.

    form_version   the one that it was taken with, for ever
    customer_id    crm's id, whose key seals what is personal
    channel        `voice`, `chat`, `email`, `callback`, `partner`
    """

    product_id: str
    form_version: int
    customer_id: str
    call_id: str = ""
    agent_id: str = ""
    campaign_id: str = ""
    offer_id: str = ""
    channel: str = "voice"


@dataclass(frozen=True, slots=True)
class Visit:
    """A booked one. Each booking has an id of its own. Times are microseconds since 1970."""

    visit_id: str
    crew_id: str
    area_id: str
    skill: str
    starts_at: int
    ends_at: int


@dataclass(frozen=True, slots=True)
class Sale:
    """What was placed, and when: to pay once, and every month."""

    placed_at: int
    currency: str
    total: Decimal
    monthly: Decimal


@dataclass(frozen=True, slots=True)
class Tick:
    """The customer was told a point. said: the visit or the amount that was told with it."""

    agent_id: str
    at: int
    said: str


@dataclass(frozen=True, slots=True)
class Given:
    """An address, and whether it was read back to the customer, who said yes."""

    address: Address
    given_by: str
    given_at: int
    confirmed_by: str = ""
    confirmed_at: int | None = None


# Events. expires_at: of the draft, if nobody goes on with it from here.


@dataclass(frozen=True, slots=True)
class OrderDrafted:
    at: int
    origin: Origin
    reference: str
    expires_at: int


@dataclass(frozen=True, slots=True)
class OrderAnswersSaved:
    """fields: whose answers are other ones now. answers: JSON text of each of them that has one.
    hidden: address fields that are not asked for any more, with whatever was given."""

    at: int
    origin: Origin
    fields: tuple[str, ...]
    answers: Personal[Mapping[str, str]]
    hidden: tuple[str, ...]
    expires_at: int


@dataclass(frozen=True, slots=True)
class OrderAddressGiven:
    """address: Address.texts"""

    at: int
    origin: Origin
    field: str
    address: Personal[Mapping[str, str]]
    by: str
    expires_at: int


@dataclass(frozen=True, slots=True)
class OrderAddressConfirmed:
    at: int
    origin: Origin
    field: str
    by: str
    expires_at: int


@dataclass(frozen=True, slots=True)
class OrderPromotionApplied:
    at: int
    origin: Origin
    promotion_id: str
    expires_at: int


@dataclass(frozen=True, slots=True)
class OrderPromotionRemoved:
    at: int
    origin: Origin
    promotion_id: str
    expires_at: int


@dataclass(frozen=True, slots=True)
class OrderPointTicked:
    """expires_at: None of an order that is placed."""

    at: int
    origin: Origin
    point_id: str
    agent_id: str
    said: str
    expires_at: int | None


@dataclass(frozen=True, slots=True)
class OrderPointUnticked:
    at: int
    origin: Origin
    point_id: str
    expires_at: int


@dataclass(frozen=True, slots=True)
class OrderDraftExpired:
    at: int
    origin: Origin


@dataclass(frozen=True, slots=True)
class OrderPlaced:
    """quote: frozen, its lines without their `why`, since that tells answers. why: of each line.
    reported: the answers that the form marks so, as text."""

    at: int
    origin: Origin
    quote: Quote
    why: Personal[tuple[str, ...]]
    visit: Visit | None
    reported: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class OrderConfirmed:
    """reference: the client's own number of it; "" where it has none, or nobody had to confirm."""

    at: int
    origin: Origin
    reference: str


@dataclass(frozen=True, slots=True)
class OrderFulfilled:
    at: int
    origin: Origin
    after_sale_until: int
    sale: Sale


@dataclass(frozen=True, slots=True)
class OrderCancelled:
    """sale: None of a draft."""

    at: int
    origin: Origin
    reason: str
    by: Party
    text: Personal[str]
    sale: Sale | None


@dataclass(frozen=True, slots=True)
class OrderReturned:
    at: int
    origin: Origin
    reason: str
    text: Personal[str]
    sale: Sale


@dataclass(frozen=True, slots=True)
class OrderFailed:
    at: int
    origin: Origin
    reason: str
    text: Personal[str]
    sale: Sale


@dataclass(frozen=True, slots=True)
class OrderVisitScheduled:
    """overdue_at: when it is noticed that nobody has said how it went. expires_at: None of an order
    that is placed."""

    at: int
    origin: Origin
    visit: Visit
    overdue_at: int
    expires_at: int | None


@dataclass(frozen=True, slots=True)
class OrderVisitRescheduled:
    at: int
    origin: Origin
    visit: Visit
    previous: Visit
    reason: Moved
    overdue_at: int
    expires_at: int | None


@dataclass(frozen=True, slots=True)
class OrderVisitReleased:
    at: int
    origin: Origin
    visit: Visit
    expires_at: int


@dataclass(frozen=True, slots=True)
class OrderVisitMissed:
    at: int
    origin: Origin
    visit: Visit
    by: MissedBy
    text: Personal[str]


@dataclass(frozen=True, slots=True)
class OrderVisitDone:
    at: int
    origin: Origin
    visit: Visit
    text: Personal[str]


@dataclass(frozen=True, slots=True)
class OrderVisitOverdue:
    """at: the due time."""

    at: int
    origin: Origin
    visit: Visit


Event = (
    OrderDrafted
    | OrderAnswersSaved
    | OrderAddressGiven
    | OrderAddressConfirmed
    | OrderPromotionApplied
    | OrderPromotionRemoved
    | OrderPointTicked
    | OrderPointUnticked
    | OrderDraftExpired
    | OrderPlaced
    | OrderConfirmed
    | OrderFulfilled
    | OrderCancelled
    | OrderReturned
    | OrderFailed
    | OrderVisitScheduled
    | OrderVisitRescheduled
    | OrderVisitReleased
    | OrderVisitMissed
    | OrderVisitDone
    | OrderVisitOverdue
)
