"""What can be asked of an order, and what holds while it is decided. Pure."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from zoneinfo import ZoneInfo

from services.orders.addresses.address import Address
from services.orders.forms.form import Form
from services.orders.order.events import (
    AfterSale,
    MissedBy,
    Moved,
    Origin,
    Party,
    Visit,
)
from services.orders.prices.pricing import Promotion

Faults = Callable[[Mapping[str, Any], bool], Sequence[tuple[str, str]]]
"""(answers, partial) -> (field, reason) for each that is wrong; partial: what is missing is not."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What holds while a command is decided.

    form         the version that the order is taken with
    promotions   by id, as published now: those of the order, and one that is wanted
    faults       what the form's schema says of answers
    zone         the client's: times are told in it
    """

    form: Form
    promotions: Mapping[str, Promotion]
    faults: Faults
    zone: ZoneInfo


# Commands. at: when it happens, microseconds since 1970. by: who does it.


@dataclass(frozen=True, slots=True)
class DraftOrder:
    """answers: beside the form's defaults. reference: the client's own number, where known."""

    at: int
    rules: Rules
    origin: Origin
    answers: Mapping[str, Any] = field(default_factory=dict)
    reference: str = ""


@dataclass(frozen=True, slots=True)
class SaveAnswers:
    """answers: those that are other ones now; None takes an answer back."""

    at: int
    rules: Rules
    answers: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class GiveAddress:
    """area_id: where it lies, "" nowhere that crews go; None: not asked, as no visit hangs on it
    (`needs_area`)."""

    at: int
    rules: Rules
    field: str
    address: Address
    by: str
    area_id: str | None = None


@dataclass(frozen=True, slots=True)
class ConfirmAddress:
    at: int
    rules: Rules
    field: str
    by: str


@dataclass(frozen=True, slots=True)
class ApplyPromotion:
    at: int
    rules: Rules
    promotion_id: str


@dataclass(frozen=True, slots=True)
class RemovePromotion:
    at: int
    rules: Rules
    promotion_id: str


@dataclass(frozen=True, slots=True)
class TickPoint:
    """said: what was told with it, so that nothing else is noted; None: whatever it says now."""

    at: int
    rules: Rules
    point_id: str
    by: str
    said: str | None = None


@dataclass(frozen=True, slots=True)
class UntickPoint:
    at: int
    rules: Rules
    point_id: str


@dataclass(frozen=True, slots=True)
class ScheduleVisit:
    """The first, or another one. visit: booked, once `wants_visit` has said that it may be."""

    at: int
    rules: Rules
    visit: Visit
    reason: Moved = Moved.CUSTOMER


@dataclass(frozen=True, slots=True)
class ReleaseVisit:
    at: int
    rules: Rules


@dataclass(frozen=True, slots=True)
class PlaceOrder:
    at: int
    rules: Rules


@dataclass(frozen=True, slots=True)
class ConfirmOrder:
    at: int
    reference: str = ""


@dataclass(frozen=True, slots=True)
class FulfilOrder:
    at: int
    rules: Rules


@dataclass(frozen=True, slots=True)
class CancelOrder:
    at: int
    rules: Rules
    reason: str
    by: Party
    text: str = ""


@dataclass(frozen=True, slots=True)
class ReportVisit:
    """missed: None where it was done."""

    at: int
    visit_id: str
    missed: MissedBy | None
    text: str = ""


@dataclass(frozen=True, slots=True)
class ReportAfterSale:
    at: int
    rules: Rules
    outcome: AfterSale
    reason: str
    text: str = ""


@dataclass(frozen=True, slots=True)
class ForgetCustomer:
    """The customer is erased: nobody can go on with a draft whose answers are gone, so it ends.
    What was placed goes on."""

    at: int


@dataclass(frozen=True, slots=True)
class ExpireDraft:
    """What the timer says at the due time, which is `at`."""

    at: int


@dataclass(frozen=True, slots=True)
class NoticeOverdue:
    """What the timer says at the due time, which is `at`."""

    at: int


Command = (
    DraftOrder
    | SaveAnswers
    | GiveAddress
    | ConfirmAddress
    | ApplyPromotion
    | RemovePromotion
    | TickPoint
    | UntickPoint
    | ScheduleVisit
    | ReleaseVisit
    | PlaceOrder
    | ConfirmOrder
    | FulfilOrder
    | CancelOrder
    | ReportVisit
    | ReportAfterSale
    | ForgetCustomer
    | ExpireDraft
    | NoticeOverdue
)
