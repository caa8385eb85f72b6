"""Worked examples, and the laws that every price follows."""

from decimal import Decimal
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eventkit.decider import Invalid, Rejected
from services.orders.conditions import When
from services.orders.prices.pricing import (
    MAX_AMOUNT,
    MAX_QUANTITY,
    Period,
    PriceRule,
    Promotion,
    Quote,
    answer_key,
    quantity_of,
    quote,
)

D = Decimal
NOW = 1_000


def promotion(id: str = "p", **more: Any) -> Promotion:
    return Promotion(
        **(
            {"promotion_id": id, "label": id, "products": (), "valid_from": 0, "valid_until": 2_000}
            | more
        )
    )


def price(
    rules: list[PriceRule],
    answers: dict[str, Any] | None = None,
    promotions: list[Promotion] | None = None,
    *,
    digits: int = 2,
) -> Quote:
    return quote(
        rules,
        answers or {},
        promotions or [],
        product_id="internet",
        currency="EUR",
        digits=digits,
        at=NOW,
    )


def fixed(id: str, amount: str, **more: Any) -> PriceRule:
    return PriceRule(id, id.title(), amount=D(amount), **more)


def percent(id: str, percent: str, *of: str, **more: Any) -> PriceRule:
    return PriceRule(id, id.title(), percent=D(percent), of=of, **more)


def shown(found: Quote) -> list[tuple[str, str, str]]:
    return [(line.line_id, str(line.amount), line.why) for line in found.lines]


# Worked examples.

INTERNET = [
    PriceRule(
        "plan", "Plan", Period.MONTHLY, field="plan", amounts={"basic": D(20), "fibre": D("39.9")}
    ),
    PriceRule("tv", "Television", Period.MONTHLY, when=When("tv", (True,)), amount=D(10)),
    fixed("router", "99", when=When("router", ("buy",)), quantity="routers"),
    PriceRule("setup", "Set-up", when=When("install", ("technician",)), amount=D("49")),
    percent("vat", "20", "router", "setup"),
    PriceRule("vat-monthly", "VAT", Period.MONTHLY, percent=D(20), of=("plan", "tv")),
]
ANSWERS = {"plan": "fibre", "tv": True, "router": "buy", "routers": 2, "install": "technician"}


def test_an_internet_connection() -> None:
    found = price(INTERNET, ANSWERS)
    assert shown(found) == [
        ("router", "198.00", "router is buy, 2 x 99.00"),
        ("setup", "49.00", "install is technician"),
        ("vat", "49.40", "20 % of 247.00 (Router, Set-up)"),
        ("plan", "39.90", "plan is fibre"),
        ("tv", "10.00", "tv is true"),
        ("vat-monthly", "9.98", "20 % of 49.90 (Plan, Television)"),
    ]
    assert (found.currency, found.total, found.monthly) == ("EUR", D("296.40"), D("59.88"))
    router = found.lines[0]
    assert (router.quantity, router.unit, router.discount) == (D(2), D("99.00"), False)
    assert str(router.quantity) == "2"


def test_a_discount_lowers_the_tax_too() -> None:
    """Half the set-up: 49.00 - 24.50; 20 % of what is paid. In all 120 % of 222.50."""
    half = promotion("half", label="Half the set-up", percent=D(50), of=("setup",))
    found = price(INTERNET, ANSWERS, [half])
    assert shown(found)[:4] == [
        ("router", "198.00", "router is buy, 2 x 99.00"),
        ("setup", "49.00", "install is technician"),
        ("half", "-24.50", "50 % of 49.00 (Set-up)"),
        ("vat", "44.50", "20 % of 222.50 (Router, Set-up, less discounts)"),
    ]
    assert found.total == D("267.00") == D("222.50") * D("1.2")
    assert found.monthly == D("59.88")
    discount = found.lines[2]
    assert (discount.quantity, discount.unit, discount.discount) == (1, D("-24.50"), True)
    assert discount.label == "Half the set-up"


def test_percentages_are_of_the_full_price_and_come_before_amounts() -> None:
    """100.00: 10 % and 20 % are 30.00, not 28.00; then 5.00 off."""
    found = price(
        [fixed("fare", "100")],
        promotions=[
            promotion("a", amount=D(5)),
            promotion("b", percent=D(10)),
            promotion("c", percent=D(20)),
        ],
    )
    assert shown(found) == [
        ("fare", "100.00", "fixed price"),
        ("b", "-10.00", "10 % of 100.00 (Fare)"),
        ("c", "-20.00", "20 % of 100.00 (Fare)"),
        ("a", "-5.00", "5.00 off Fare"),
    ]
    assert found.total == D("65.00")


def test_a_discount_of_all_is_taken_in_proportion_so_each_tax_is_right() -> None:
    """A room at 7 % and breakfast at 19 %: 12.00 off 120.00 is 10.00 of the room, 2.00 of it."""
    rules = [
        fixed("room", "100"),
        fixed("breakfast", "20"),
        percent("low", "7", "room"),
        percent("high", "19", "breakfast"),
    ]
    for worth in ({"percent": D(10)}, {"amount": D(12)}):
        found = price(rules, promotions=[promotion("p", **worth)])
        assert [str(line.amount) for line in found.lines] == [
            *("100.00", "20.00", "-12.00"),
            *("6.30", "3.42"),
        ]
        assert found.lines[3].why == "7 % of 90.00 (Room, less discounts)"
        assert found.total == D("117.72")


def test_what_is_left_of_a_cent_goes_somewhere() -> None:
    """0.01 off three lines of 0.01 is off one of them: the sum is right, and so are the taxes."""
    rules = [fixed(id, "0.01") for id in "abc"]
    found = price(
        [*rules, percent("tax", "100", "a", "b", "c")], promotions=[promotion(amount=D("0.01"))]
    )
    assert [str(line.amount) for line in found.lines] == ["0.01", "0.01", "0.01", "-0.01", "0.02"]
    assert found.total == D("0.04")


def test_a_discount_is_cut_to_what_it_discounts() -> None:
    rules = [fixed("fare", "4"), fixed("tip", "1"), percent("vat", "10", "fare")]
    found = price(
        rules,
        promotions=[
            promotion("big", amount=D(50), of=("fare",)),
            promotion("more", amount=D(2)),
            promotion("none", amount=D(1), of=("luggage",)),
        ],
    )
    assert shown(found) == [
        ("fare", "4.00", "fixed price"),
        ("tip", "1.00", "fixed price"),
        ("none", "0.00", "nothing that it is a discount of"),
        ("big", "-4.00", "50.00 off Fare; cut to what is left of it, 4.00"),
        ("more", "-1.00", "2.00 off Fare, Tip; cut to what is left of it, 1.00"),
        ("vat", "0.00", "10 % of 0.00 (Fare, less discounts)"),
    ]
    assert (str(found.total), str(found.monthly)) == ("0.00", "0.00")


def test_percentages_of_percentages() -> None:
    """A night surcharge, and tax on both."""
    rules = [
        fixed("fare", "20"),
        percent("night", "25", "fare"),
        percent("vat", "7.5", "fare", "night"),
    ]
    found = price(rules, promotions=[promotion(percent=D(10))])
    assert [str(line.amount) for line in found.lines] == ["20.00", "-2.00", "4.50", "1.69"]
    assert found.lines[-1].why == "7.5 % of 22.50 (Fare, Night, less discounts)"


@pytest.mark.parametrize(
    ("rule", "answers"),
    [
        (PriceRule("r", "R", field="plan", amounts={"a": D(1)}), {}),
        (PriceRule("r", "R", field="plan", amounts={"a": D(1)}), {"plan": "b"}),
        (PriceRule("r", "R", field="plan", amounts={"a": D(1)}), {"plan": ["a"]}),
        (fixed("r", "1", when=When("x", ("y",))), {}),
        (fixed("r", "1", when=When("x", ("y",))), {"x": "z"}),
        (fixed("r", "1", quantity="n"), {}),
        (fixed("r", "1", quantity="n"), {"n": None}),
        (fixed("r", "1", quantity="n"), {"n": 0}),
        (percent("r", "20", "other"), {}),
        (PriceRule("r", "R", field="n", amounts={"1": D(1)}), {"n": True}),
    ],
)
def test_no_line(rule: PriceRule, answers: dict[str, Any]) -> None:
    found = price([rule], answers)
    assert found.lines == ()
    assert (found.total, found.monthly) == (0, 0)


@pytest.mark.parametrize(
    ("answer", "key"),
    [
        ("a", "a"),
        (True, "true"),
        (False, "false"),
        (12, "12"),
        (12.0, "12"),
        (-1, "-1"),
        (1.5, None),
        (None, None),
        ({}, None),
        (float("nan"), None),
        (float("inf"), None),
        (10**5000, None),
    ],
    ids=lambda one: type(one).__name__,
)
def test_the_answers_that_can_have_a_price(answer: object, key: str | None) -> None:
    assert answer_key(answer) == key


# Numbers.


@pytest.mark.parametrize(
    ("digits", "unit", "quantity", "amount"),
    [
        (2, "0.125", 1, "0.13"),
        (2, "0.125", 3, "0.38"),
        (2, "1.005", 1, "1.01"),
        (2, "1.0049", 1, "1.00"),
        (0, "99.5", 1, "100"),
        (0, "100.5", 1, "101"),
        (0, "100.4", 1, "100"),
        (3, "0.0005", 1, "0.001"),
        (3, "0.0015", 1, "0.002"),
        (3, "1", 2, "2.000"),
        (4, "1", "0.5", "0.5000"),
        (2, "1.10", "2.5", "2.75"),
        (2, "0.30", 0.1, "0.03"),
        (2, "1", "12.000000", "12.00"),
        (2, "999.999999", "1000000000", "999999999000.00"),
    ],
)
def test_lines_are_rounded_half_up_to_the_digits_of_the_currency(
    digits: int, unit: str, quantity: Any, amount: str
) -> None:
    found = price([fixed("r", unit, quantity="n")], {"n": quantity}, digits=digits)
    assert str(found.lines[0].amount) == amount == str(found.total)


def test_taxes_and_percentages_are_rounded_half_up_too() -> None:
    found = price([fixed("r", "0.25"), percent("vat", "10", "r")])
    assert [str(line.amount) for line in found.lines] == ["0.25", "0.03"]
    found = price([fixed("r", "0.25")], promotions=[promotion(percent=D(10))])
    assert [str(line.amount) for line in found.lines] == ["0.25", "-0.03"]
    found = price([fixed("r", "105")], promotions=[promotion(percent=D(10))], digits=0)
    assert [str(line.amount) for line in found.lines] == ["105", "-11"]


@pytest.mark.parametrize(
    ("answer", "number"),
    [
        (3, "3"),
        (3.0, "3"),
        (0.1, "0.1"),
        ("2.50", "2.5"),
        ("0", "0"),
        (10**9, "1000000000"),
        (1e-6, "0.000001"),
        (1e3, "1000"),
    ],
)
def test_quantities(answer: object, number: str) -> None:
    assert f"{quantity_of('n', answer):f}" == number


@pytest.mark.parametrize(
    "answer",
    [
        *(True, False, [], {}, object(), b"1"),
        *(
            "",
            " ",
            "1 ",
            "-1",
            "+1",
            "1e3",
            "NaN",
            "Infinity",
            "1,5",
            "1_0",
            "٣",
            ".5",
            "5.",
            "x" * 10_000_000,
        ),
        *(float("nan"), float("inf"), float("-inf"), -1, -0.5, -(10**5000), -1e300),
        *(MAX_QUANTITY + 1, 10**5000, 1e300, "1" * 20, "9" * 10_000_000),
        *(1e-7, "0.0000001", 0.1234567),
    ],
    ids=lambda answer: type(answer).__name__,
)
def test_what_is_no_quantity(answer: object) -> None:
    with pytest.raises(Invalid) as caught:
        price([fixed("r", "1", quantity="n")], {"n": answer})
    assert caught.value.field == "n"
    assert caught.value.reason.startswith("must ")
    assert len(caught.value.reason) < 60


def test_a_price_that_is_too_high() -> None:
    rules = [fixed("r", str(MAX_AMOUNT), quantity="n")]
    assert price(rules, {"n": 1}).total == MAX_AMOUNT
    with pytest.raises(Invalid) as caught:
        price(rules, {"n": "1.000001"})
    assert caught.value.field == "n"


# Promotions that do not hold.


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"valid_from": NOW + 1}, "is not valid yet"),
        ({"valid_until": NOW}, "is no longer valid"),
        ({"products": ("taxi", "loan")}, "is not for this product"),
        ({"percent": None, "amount": D(1), "currency": "CHF"}, "is in another currency"),
    ],
)
@pytest.mark.parametrize("period", Period)
def test_a_promotion_that_does_not_hold(more: dict[str, Any], why: str, period: Period) -> None:
    one = promotion("spring", **({"percent": D(10), "period": period} | more))
    with pytest.raises(Rejected) as caught:
        price([fixed("r", "1")], promotions=[promotion("fine", percent=D(1)), one])
    assert caught.value.reason == f"promotion spring {why}"
    assert caught.value.more == {"promotion_id": "spring"}


@pytest.mark.parametrize(
    "more",
    [
        {"valid_from": NOW, "valid_until": NOW + 1},
        {"products": ("taxi", "internet")},
        {"percent": None, "amount": D("0.10"), "currency": "EUR"},
        {"percent": None, "amount": D("0.10")},
    ],
)
def test_one_that_holds_is_taken_once(more: dict[str, Any]) -> None:
    one = promotion(**({"percent": D(10)} | more))
    assert price([fixed("r", "1")], promotions=[one, one]).total == D("0.90")


# Laws.

AMOUNTS = st.decimals(0, 200, places=4).map(lambda one: one.normalize())
PERCENTS = st.sampled_from(["0.5", "7", "10", "19", "33.3333", "60", "100"]).map(D)
PERIODS = st.sampled_from(Period)


@st.composite
def rule_lists(draw: st.DrawFn) -> list[PriceRule]:
    """Fixed ones, such as depend on answers, and percentages of those before."""
    made: list[PriceRule] = []
    for number in range(draw(st.integers(1, 8))):
        id, period = f"r{number}", draw(PERIODS)
        kind = draw(st.sampled_from(["fixed", "quantity", "answer", "percent"]))
        before = [rule.rule_id for rule in made if rule.period is period]
        when = draw(st.sampled_from([None, None, When("x", ("yes",))]))
        if kind == "percent" and before:
            of = draw(st.lists(st.sampled_from(before), min_size=1, unique=True))
            made.append(PriceRule(id, id, period, when, percent=draw(PERCENTS), of=tuple(of)))
        elif kind == "answer":
            amounts = {"yes": draw(AMOUNTS), "no": draw(AMOUNTS)}
            made.append(PriceRule(id, id, period, when, field="x", amounts=amounts))
        else:
            quantity = "n" if kind == "quantity" else ""
            made.append(PriceRule(id, id, period, when, draw(AMOUNTS), quantity=quantity))
    return made


@st.composite
def promotion_lists(draw: st.DrawFn) -> list[Promotion]:
    made = []
    for number in range(draw(st.integers(0, 5))):
        of = draw(
            st.lists(st.sampled_from([f"r{each}" for each in range(8)]), unique=True, max_size=4)
        )
        worth: dict[str, Any] = (
            {"percent": draw(PERCENTS)}
            if draw(st.booleans())
            else {"amount": draw(st.decimals(D("0.01"), 150, places=2))}
        )
        made.append(promotion(f"p{number}", period=draw(PERIODS), of=tuple(of), **worth))
    return made


ANSWERED = st.fixed_dictionaries(
    {},
    optional={
        "x": st.sampled_from(["yes", "no", "else"]),
        "n": st.one_of(
            st.integers(0, 20),
            st.decimals(0, 20, places=3).map(str),
            st.floats(0, 20).map(lambda one: round(one, 3)),
        ),
    },
)
DIGITS = st.sampled_from([0, 2, 3])


@settings(max_examples=300, deadline=None)
@given(rule_lists(), promotion_lists(), ANSWERED, DIGITS, st.randoms(use_true_random=False))
def test_laws(
    rules: list[PriceRule],
    promotions: list[Promotion],
    answers: dict[str, Any],
    digits: int,
    random: Any,
) -> None:
    found = price(rules, answers, promotions, digits=digits)
    finest = D(1).scaleb(-digits)
    for total, period in ((found.total, Period.ONCE), (found.monthly, Period.MONTHLY)):
        mine = [line.amount for line in found.lines if line.period is period]
        assert total == sum(mine, D(0))
        assert total >= 0
        assert total.as_tuple().exponent == -digits
    for line in found.lines:
        assert line.amount == line.amount.quantize(finest)
        assert not line.amount.is_signed() or line.discount
        if line.discount:
            assert line.amount <= 0
        else:
            assert abs(line.quantity * line.unit - line.amount) <= finest / 2
        assert line.why
    shuffled = promotions[:]
    random.shuffle(shuffled)
    assert price(rules, answers, shuffled, digits=digits) == found


@settings(max_examples=500, deadline=None)
@given(rule_lists(), promotion_lists(), ANSWERED, DIGITS)
def test_no_promotion_more_makes_anything_dearer(
    rules: list[PriceRule], promotions: list[Promotion], answers: dict[str, Any], digits: int
) -> None:
    found = price(rules, answers, promotions, digits=digits)
    own = {line.line_id: line.amount for line in found.lines if not line.discount}
    for number in range(len(promotions)):
        fewer = price(rules, answers, promotions[:number] + promotions[number + 1 :], digits=digits)
        assert found.total <= fewer.total
        assert found.monthly <= fewer.monthly
        # Nor any tax.
        for line in fewer.lines:
            if not line.discount:
                assert own[line.line_id] <= line.amount


@settings(max_examples=1_000, deadline=None)
@given(st.lists(st.integers(0, 9), min_size=2, max_size=5), st.integers(1, 30), st.integers(1, 9))
def test_what_less_is_left_of_is_taxed_less(amounts: list[int], off: int, off_first: int) -> None:
    """Whole units, so that what is left over after sharing is large; each line's tax, of 100 %,
    shows what is left of it."""
    ids = [f"r{number}" for number in range(len(amounts))]
    rules = [fixed(id, str(amount)) for id, amount in zip(ids, amounts, strict=True)]
    rules += [percent(f"tax-{id}", "100", id) for id in ids]
    shared = promotion("shared", amount=D(off))

    def taxes(*promotions: Promotion) -> list[Decimal]:
        lines = {
            line.line_id: line.amount
            for line in price(rules, promotions=list(promotions), digits=0).lines
        }
        return [lines[f"tax-{id}"] for id in ids]

    before = taxes(shared)
    after = taxes(shared, promotion("first", amount=D(off_first), of=("r0",)))
    assert sum(before) == max(sum(amounts) - off, 0)
    assert all(less <= more for less, more in zip(after, before, strict=True))


def test_every_order_of_promotions_gives_the_same() -> None:
    rules = [fixed("a", "3.33"), fixed("b", "0.07"), fixed("c", "10"), percent("t", "19", "a", "b")]
    promotions = [
        promotion("p1", amount=D("3.40"), of=("a", "b")),
        promotion("p2", amount=D("3.35"), of=("a",)),
        promotion("p3", percent=D("33.3333")),
        promotion("p4", amount=D("5")),
    ]
    assert len({price(rules, promotions=list(some)) for some in permutations(promotions)}) == 1
