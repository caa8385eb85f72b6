"""What becomes of a promotion; and the currencies."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from eventkit.decider import Invalid, NotFound, fold
from eventkit.eventcodec import EventCodec
from services.orders.prices import promotion as p
from services.orders.prices.currency import digits, in_use
from services.orders.prices.pricing import Period, Promotion

SPRING = Promotion(
    promotion_id="spring",
    label="Spring",
    products=("internet",),
    valid_from=1_000,
    valid_until=2_000,
    period=Period.MONTHLY,
    percent=Decimal("12.5"),
    of=("plan",),
)
AUTUMN = replace(SPRING, valid_from=5_000, valid_until=6_000)
PUBLISH, WITHDRAW = p.PublishPromotion(SPRING), p.WithdrawPromotion()
PUBLISHED, WITHDRAWN = p.PromotionPublished(SPRING), p.PromotionWithdrawn()


@pytest.mark.parametrize(
    ("before", "command", "events"),
    [
        ([], PUBLISH, [PUBLISHED]),
        ([PUBLISHED], PUBLISH, []),
        ([PUBLISHED], p.PublishPromotion(AUTUMN), [p.PromotionPublished(AUTUMN)]),
        ([PUBLISHED, WITHDRAWN], PUBLISH, [PUBLISHED]),
        ([PUBLISHED], WITHDRAW, [WITHDRAWN]),
        ([PUBLISHED, WITHDRAWN], WITHDRAW, []),
    ],
)
def test_what_becomes_of_it(
    before: list[p.Event], command: p.Command, events: list[p.Event]
) -> None:
    assert p.decide(command, fold(p.DECIDER, before)) == events


def test_only_what_is_there_is_withdrawn() -> None:
    with pytest.raises(NotFound, match="promotion"):
        p.decide(WITHDRAW, p.DECIDER.initial)


@pytest.mark.parametrize(
    ("field", "changes"),
    [
        ("promotion_id", {"promotion_id": ""}),
        ("promotion_id", {"promotion_id": "a/b"}),
        ("label", {"label": " "}),
        ("label", {"label": "x" * 201}),
        ("label", {"label": "two\nlines"}),
        ("label", {"label": "half \ud800"}),
        ("products", {"products": ("a", "a")}),
        ("products", {"products": ("",)}),
        ("products", {"products": tuple(map(str, range(201)))}),
        ("valid_until", {"valid_until": 1_000}),
        ("percent", {"amount": Decimal(1), "currency": "EUR"}),
        ("percent", {"percent": None}),
        ("percent", {"percent": Decimal(0)}),
        ("percent", {"percent": Decimal("-1")}),
        ("percent", {"percent": Decimal("100.01")}),
        ("percent", {"percent": Decimal("0.00001")}),
        ("percent", {"percent": Decimal("NaN")}),
        ("percent", {"percent": Decimal("sNaN")}),
        ("currency", {"currency": "EUR"}),
        ("currency", {"percent": None, "amount": Decimal(1)}),
        ("currency", {"percent": None, "amount": Decimal(1), "currency": "eur"}),
        ("amount", {"percent": None, "amount": Decimal("Infinity"), "currency": "EUR"}),
        ("amount", {"percent": None, "amount": Decimal("1e12") + 1, "currency": "EUR"}),
        ("amount", {"percent": None, "amount": Decimal("0.00001"), "currency": "EUR"}),
        ("of", {"of": ("a", "a")}),
        ("of", {"of": ("a b",)}),
    ],
)
def test_what_is_no_promotion(field: str, changes: dict[str, Any]) -> None:
    with pytest.raises(Invalid) as caught:
        p.decide(p.PublishPromotion(replace(SPRING, **changes)), p.DECIDER.initial)
    assert caught.value.field == field


@pytest.mark.parametrize(
    "event",
    [
        PUBLISHED,
        WITHDRAWN,
        p.PromotionPublished(
            replace(SPRING, percent=None, amount=Decimal("5.00"), currency="EUR", of=())
        ),
    ],
)
def test_events_are_kept_as_they_are(event: p.Event) -> None:
    codec = EventCodec(p.DECIDER.events)
    name, body, personal = codec.encode(event)
    assert personal is None
    assert codec.decode(name, body.decode(), None) == event
    assert "." not in str(msgspec.json.decode(body).get("promotion", {}).get("valid_from", ""))


@pytest.mark.parametrize(
    ("currency", "expected"),
    [
        *(("JPY", 0), ("KRW", 0), ("XOF", 0), ("CLP", 0)),
        *(("EUR", 2), ("USD", 2), ("CHF", 2), ("GBP", 2), ("BRL", 2)),
        *(("KWD", 3), ("BHD", 3), ("TND", 3), ("OMR", 3)),
    ],
)
def test_digits(currency: str, expected: int) -> None:
    assert digits(currency) == expected


@pytest.mark.parametrize(
    "code", ["", "eur", "EURO", "DEM", "FRF", "XAU", "XXX", "ABC", "€", "EUR "]
)
def test_what_is_no_currency(code: str) -> None:
    with pytest.raises(Invalid) as caught:
        digits(code)
    assert caught.value.field == "currency"


def test_all_in_use_have_their_digits() -> None:
    assert 140 < len(in_use()) < 180
    assert {digits(code) for code in in_use()} <= {0, 2, 3}
