"""What an order costs, line by line, each with its reason in words. Pure.

In each period (once, monthly) three kinds of lines follow on each other:

1. rules with an amount of their own: fixed, or by the answer to a field, times a quantity;
2. promotions. Each is worth its amount, or its percentage of the lines as they are without any
   promotion, so 10 % and 20 % are 30 %; it is cut to what is left of the lines that it is of, and
   taken from them in proportion;
3. rules that are a percentage (VAT, a surcharge) of other lines, as the promotions left them: who
   pays less than the price pays tax on what is paid. A percentage therefore never has to be
   discounted, it follows; and a promotion of 5.00 is 5.00 off what the rules charge, VAT on top.

Each line is rounded to the currency's digits, half away from zero: what the customer's calculator
and the client's invoice do. Half to even keeps long sums of rounded numbers free of bias; here the
sum is taken of what is shown. A total is the sum of its lines and never below zero, the order in
which promotions are given does not matter, and none more of them makes anything dearer.
"""

import dataclasses
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Context, Decimal
from enum import StrEnum
from fractions import Fraction
from typing import Any

from eventkit.decider import Invalid, Rejected
from services.orders.conditions import When, holds

MAX_AMOUNT = Decimal(10) ** 12
"""No amount, of a rule or of a line, is above it."""
MAX_QUANTITY = Decimal(10) ** 9
PLACES = 6
"""Decimal places of an amount for one, of a quantity, and of a percentage, at most."""
MAX_PERCENT = Decimal(1000)
ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:+-]{0,127}")

# A quantity times an amount has up to 33 digits, more than Decimal's usual 28.
_EXACT = Context(prec=100)


class Period(StrEnum):
    ONCE = "once"
    MONTHLY = "monthly"


@dataclass(frozen=True, slots=True)
class PriceRule:
    """One line of the price, where `when` holds. Exactly one of:

    amount            a fixed price
    field, amounts    the price of the answer to that field. Answers are text here: `true`, `12`.
                      No answer, or one that is not among them: no line
    percent, of       of the lines of earlier rules of the same period, after discounts

    quantity: a field whose number multiplies amount or amounts. No answer, or zero: no line.
    """

    rule_id: str
    label: str
    period: Period = Period.ONCE
    when: When | None = None
    amount: Decimal | None = None
    field: str = ""
    amounts: Mapping[str, Decimal] = dataclasses.field(default_factory=dict)
    quantity: str = ""
    percent: Decimal | None = None
    of: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Promotion:
    """A discount, while it is valid. Exactly one of percent and amount, above zero.

    products      product ids; () all
    valid_from, valid_until   microseconds since 1970, the end exclusive
    of            rule ids; () all lines of the period. A percentage among them follows by itself
    currency      of the amount; empty: whatever the order's is
    """

    promotion_id: str
    label: str
    products: tuple[str, ...]
    valid_from: int
    valid_until: int
    period: Period = Period.ONCE
    percent: Decimal | None = None
    amount: Decimal | None = None
    of: tuple[str, ...] = ()
    currency: str = ""


@dataclass(frozen=True, slots=True)
class Line:
    """line_id: the rule's, or where `discount` the promotion's, whose amount is zero or less.

    amount: `quantity * unit`, rounded. why: in words, to be read aloud; nothing personal is in it
    but the quantity.
    """

    line_id: str
    label: str
    quantity: Decimal
    unit: Decimal
    amount: Decimal
    period: Period
    discount: bool
    why: str


@dataclass(frozen=True, slots=True)
class Quote:
    """total: to pay once; monthly: every month. The sums of their lines."""

    currency: str
    lines: tuple[Line, ...]
    total: Decimal
    monthly: Decimal


def quote(
    rules: Sequence[PriceRule],
    answers: Mapping[str, Any],
    promotions: Iterable[Promotion],
    *,
    product_id: str,
    currency: str,
    digits: int,
    at: int,
) -> Quote:
    """The price of these answers at a time; also of a draft, where some are missing.

    rules: of a published form. answers: to what is asked (`Form.asked`). digits: of the currency.
    Raises Invalid(field, reason) for an answer that is no quantity, and Rejected, with the
    `promotion_id` in `more`, for a promotion that does not hold for this product now.
    """
    wanted = {promotion.promotion_id: promotion for promotion in promotions}
    for promotion in wanted.values():
        _require_valid(promotion, product_id, currency, at)
    lines: list[Line] = []
    totals: dict[Period, Decimal] = {}
    for period in Period:
        mine = [rule for rule in rules if rule.period is period]
        discounts = [one for one in wanted.values() if one.period is period]
        priced = _period(mine, answers, discounts, period, digits)
        lines += priced
        totals[period] = sum((line.amount for line in priced), Decimal(0).scaleb(-digits))
    return Quote(currency, tuple(lines), totals[Period.ONCE], totals[Period.MONTHLY])


def _require_valid(promotion: Promotion, product_id: str, currency: str, at: int) -> None:
    why = ""
    if at < promotion.valid_from:
        why = "is not valid yet"
    elif at >= promotion.valid_until:
        why = "is no longer valid"
    elif promotion.products and product_id not in promotion.products:
        why = "is not for this product"
    elif promotion.amount is not None and promotion.currency not in ("", currency):
        why = "is in another currency"
    if why:
        id = promotion.promotion_id
        raise Rejected(f"promotion {id} {why}", "promotion_ids", more={"promotion_id": id})


def _period(
    rules: Sequence[PriceRule],
    answers: Mapping[str, Any],
    promotions: Sequence[Promotion],
    period: Period,
    digits: int,
) -> list[Line]:
    holding = [rule for rule in rules if holds(rule.when, answers)]
    own: list[Line] = []
    for rule in holding:
        if rule.percent is None and (line := _own(rule, answers, digits)) is not None:
            own.append(line)
    left = {line.line_id: line.amount for line in own}
    discounts = _discounts(own, left, promotions, period, digits)
    labels = {rule.rule_id: rule.label for rule in rules}
    shares: list[Line] = []
    for rule in holding:
        base = [id for id in rule.of if id in left]
        if rule.percent is not None and base:
            of = sum((left[id] for id in base), Decimal(0))
            share = _round(_percent(rule.percent, of), digits)
            left[rule.rule_id] = share
            names = _names(labels[id] for id in base)
            reduced = ", less discounts" if any(_of(one, base, own) for one in promotions) else ""
            why = f"{_plain(rule.percent)} % of {of:f} ({names}{reduced})"
            one = Decimal(1)
            shares.append(Line(rule.rule_id, rule.label, one, share, share, period, False, why))
    return own + discounts + shares


def _own(rule: PriceRule, answers: Mapping[str, Any], digits: int) -> Line | None:
    """The line of a rule with an amount of its own."""
    why = []
    if rule.when is not None:
        why.append(f"{rule.when.field} is {answer_key(answers.get(rule.when.field))}")
    unit = rule.amount
    if rule.field:
        key = answer_key(answers.get(rule.field))
        unit = None if key is None else rule.amounts.get(key)
        why.append(f"{rule.field} is {key}")
    if unit is None:
        return None
    unit = _at_least(unit, digits)
    number = Decimal(1)
    if rule.quantity:
        if answers.get(rule.quantity) is None:
            return None
        number = quantity_of(rule.quantity, answers[rule.quantity])
        if not number:
            return None
        why.append(f"{_plain(number)} x {unit:f}")
    amount = _round(_EXACT.multiply(unit, number), digits)
    if amount > MAX_AMOUNT:
        raise Invalid(rule.quantity or rule.rule_id, "makes the price too high to be true")
    said = ", ".join(why) or "fixed price"
    return Line(rule.rule_id, rule.label, number, unit, amount, rule.period, False, said)


def _discounts(
    own: Sequence[Line],
    left: dict[str, Decimal],
    promotions: Sequence[Promotion],
    period: Period,
    digits: int,
) -> list[Line]:
    """Takes each promotion from `left`. Percentages first, since they are of the full price; then
    the one with fewer lines to take from, since another still finds something elsewhere."""
    scopes = {one.promotion_id: _scope(one, own) for one in promotions}
    made = []
    for one in sorted(
        promotions,
        key=lambda one: (one.percent is None, len(scopes[one.promotion_id]), one.promotion_id),
    ):
        scope = scopes[one.promotion_id]
        ids = [line.line_id for line in scope]
        names = _names(line.label for line in scope)
        full = sum((line.amount for line in scope), Decimal(0))
        if one.percent is not None:
            worth = _round(_percent(one.percent, full), digits)
            why = f"{_plain(one.percent)} % of {full:f} ({names})"
        else:
            assert one.amount is not None
            worth = _round(one.amount, digits)
            why = f"{worth:f} off {names}"
        there = sum((left[id] for id in ids), Decimal(0))
        if not ids:
            why = "nothing that it is a discount of"
        elif there < worth:
            why += f"; cut to what is left of it, {there:f}"
        amount = min(worth, there)
        left.update(_taken({id: left[id] for id in ids}, amount, digits))
        # A zero, not minus zero.
        taken = -amount if amount else Decimal(0).scaleb(-digits)
        made.append(Line(one.promotion_id, one.label, Decimal(1), taken, taken, period, True, why))
    return made


def _scope(promotion: Promotion, own: Sequence[Line]) -> list[Line]:
    return [line for line in own if not promotion.of or line.line_id in promotion.of]


def _of(promotion: Promotion, ids: Sequence[str], own: Sequence[Line]) -> bool:
    return any(line.line_id in ids for line in _scope(promotion, own))


def _taken(left: Mapping[str, Decimal], amount: Decimal, digits: int) -> dict[str, Decimal]:
    """What stays of the lines when an amount is taken from them in proportion, in whole units of
    the currency, so that each line's tax is of what is paid for it.

    Webster's method (Sainte-Laguë): of all ways to round, the one by which a line that has less to
    begin with never ends with more, so one more promotion cannot raise the tax on any line.
    """
    units = {id: int(one.scaleb(digits)) for id, one in left.items()}
    total = sum(units.values())
    goal = total - int(amount.scaleb(digits))
    stays = dict.fromkeys(units, 0)
    if goal:
        # Rounded half up each; what the sum is off by, at most half a unit per line, is put right.
        stays = {id: (2 * one * goal + total) // (2 * total) for id, one in units.items()}
        order = {id: number for number, id in enumerate(units)}
        while (off := goal - sum(stays.values())) > 0:
            more = min(
                (id for id in units if units[id]),
                key=lambda id: (Fraction(2 * stays[id] + 1, units[id]), order[id]),
            )
            stays[more] += 1
        while off < 0:
            less = max(
                (id for id in units if stays[id]),
                key=lambda id: (Fraction(2 * stays[id] - 1, units[id]), order[id]),
            )
            stays[less] -= 1
            off += 1
    return {id: Decimal(one).scaleb(-digits) for id, one in stays.items()}


# Numbers.


def quantity_of(field: str, answer: object) -> Decimal:
    """The number that an answer is: a JSON number, or text such as `2` or `2.5`. A float is what it
    is written as, so 0.1 is 0.1. Raises Invalid(field, reason)."""
    number: Decimal | None = None
    if isinstance(answer, int) and not isinstance(answer, bool):
        # Python refuses to write down a very long one.
        number = Decimal(answer) if abs(answer) <= MAX_QUANTITY else MAX_QUANTITY + 1
    elif isinstance(answer, float):
        number = Decimal(str(answer))
    elif isinstance(answer, str) and re.fullmatch(r"[0-9]{1,20}(\.[0-9]{1,20})?", answer, re.ASCII):
        number = Decimal(answer)
    if number is None or not number.is_finite():
        raise Invalid(field, "must be a number")
    if number < 0:
        raise Invalid(field, "must not be below zero")
    if number > MAX_QUANTITY:
        raise Invalid(field, f"must not be above {MAX_QUANTITY:f}")
    number = number.normalize(_EXACT)
    if places(number) > PLACES:
        raise Invalid(field, f"must not have more than {PLACES} decimal places")
    return number if places(number) else number.quantize(Decimal(1), context=_EXACT)


def answer_key(answer: object) -> str | None:
    """The answer as `amounts` has it; None for what can have no price of its own."""
    match answer:
        case bool():
            return "true" if answer else "false"
        case str():
            return answer
        case int() if abs(answer) < 2**63:
            return str(answer)
        case float() if answer.is_integer() and abs(answer) < 2**63:
            return str(int(answer))
    return None


def places(number: Decimal) -> int:
    """Decimal places that it is written with; 0 for a whole number."""
    exponent = number.as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


def _round(number: Decimal, digits: int) -> Decimal:
    return number.quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP, _EXACT)


def _at_least(number: Decimal, digits: int) -> Decimal:
    """With the currency's digits, or those that it has beyond them."""
    number = number.normalize(_EXACT)
    return number.quantize(Decimal(1).scaleb(-max(digits, places(number))), context=_EXACT)


def _percent(percent: Decimal, of: Decimal) -> Decimal:
    return _EXACT.multiply(percent, of).scaleb(-2, _EXACT)


def _plain(number: Decimal) -> str:
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _names(labels: Iterable[str]) -> str:
    return ", ".join(labels)
