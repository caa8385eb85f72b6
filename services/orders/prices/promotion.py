"""What becomes of a promotion: published, published anew with other conditions, withdrawn. Pure.

An order keeps the lines that it was placed with; what is published or withdrawn later does not
touch it. A draft takes the conditions as they are whenever its price is asked for.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Final

from eventkit.decider import Decider, Invalid, NotFound
from services.orders.prices.pricing import ID, MAX_AMOUNT, Promotion, places

MAX_LABEL: Final = 200
MAX_PRODUCTS: Final = 200
MAX_OF: Final = 100
MAX_PERCENT: Final = Decimal(100)
PERCENT_PLACES: Final = 4
CURRENCY: Final = re.compile(r"[A-Z]{3}")

# Not "printable": joiners belong to words, too. PostgreSQL keeps no half of a surrogate pair.
_UNFIT: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class PublishPromotion:
    """Also with other conditions than those that it has been published with before, and again
    after it was withdrawn."""

    promotion: Promotion


@dataclass(frozen=True, slots=True)
class WithdrawPromotion:
    """It discounts nothing more, whatever its validity."""


Command = PublishPromotion | WithdrawPromotion


@dataclass(frozen=True, slots=True)
class PromotionPublished:
    promotion: Promotion


@dataclass(frozen=True, slots=True)
class PromotionWithdrawn: ...


Event = PromotionPublished | PromotionWithdrawn


@dataclass(frozen=True, slots=True)
class Published:
    """promotion: as it was published last."""

    promotion: Promotion | None = None
    withdrawn: bool = False


def decide(command: Command, state: Published) -> Sequence[Event]:
    """Raises Invalid and NotFound."""
    match command:
        case PublishPromotion(promotion):
            check(promotion)
            if state == Published(promotion):
                return []
            return [PromotionPublished(promotion)]
        case WithdrawPromotion():
            if state.promotion is None:
                raise NotFound("promotion")
            return [] if state.withdrawn else [PromotionWithdrawn()]


def evolve(state: Published, event: Event) -> Published:
    match event:
        case PromotionPublished(promotion):
            return Published(promotion)
        case PromotionWithdrawn():
            return replace(state, withdrawn=True)


DECIDER: Final[Decider[Command, Published, Event]] = Decider(
    initial=Published(),
    decide=decide,
    evolve=evolve,
    events=(PromotionPublished, PromotionWithdrawn),
)


def check(promotion: Promotion) -> None:
    """Raises Invalid, with the field's name, for the first thing that no promotion can have."""
    _ids("promotion_id", (promotion.promotion_id,), 1)
    label = promotion.label
    if not label.strip() or len(label) > MAX_LABEL or _UNFIT.search(label):
        raise Invalid("label", f"must be one line of 1 to {MAX_LABEL} characters")
    _ids("products", promotion.products, MAX_PRODUCTS)
    if promotion.valid_until <= promotion.valid_from:
        raise Invalid("valid_until", "must be after valid_from")
    if (promotion.percent is None) == (promotion.amount is None):
        raise Invalid("percent", "one of percent and amount must be given")
    if promotion.percent is not None:
        _number("percent", promotion.percent, MAX_PERCENT, PERCENT_PLACES)
        if promotion.currency:
            raise Invalid("currency", "is of an amount only")
    if promotion.amount is not None:
        # How many decimal places a currency has is nothing that is known here.
        _number("amount", promotion.amount, MAX_AMOUNT, 4)
        if not CURRENCY.fullmatch(promotion.currency):
            raise Invalid("currency", "an amount has an ISO 4217 code, such as EUR")
    _ids("of", promotion.of, MAX_OF)


def _ids(field: str, ids: Sequence[str], limit: int) -> None:
    if len(ids) > limit:
        raise Invalid(field, f"must not be more than {limit}")
    if not all(map(ID.fullmatch, ids)):
        raise Invalid(field, f"an id must match ^{ID.pattern}$")
    if len(set(ids)) < len(ids):
        raise Invalid(field, "must have each id once")


def _number(field: str, number: Decimal, most: Decimal, decimals: int) -> None:
    if not number.is_finite() or not 0 < number <= most:
        raise Invalid(field, f"must be above 0, and not above {most:f}")
    if places(number) > decimals:
        raise Invalid(field, f"must not have more than {decimals} decimal places")
