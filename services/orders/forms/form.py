"""A client's own form: what is asked and in which order, what it costs, whether a crew comes, what
the customer is told. Pure.

A form is published in versions, 1, 2, 3 ... of its product, and a version never changes: an order
keeps the one that it was taken with. What answers are right is said by a JSON Schema, which is text
here; `schema.py` knows what it means.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final

from eventkit.decider import Decider, Invalid, NotFound, Rejected
from services.orders.conditions import When, holds
from services.orders.prices.pricing import MAX_AMOUNT, MAX_PERCENT, PLACES, Period, PriceRule

NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,63}")
"""Of a field."""
CODE: Final = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")
"""Of a price rule, a point, a reason, a skill."""
ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:+-]{0,127}")
COUNTRY: Final = re.compile(r"[A-Z]{2}")
# Not "printable": joiners belong to words, too.
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")

MAX_FIELDS: Final = 100
MAX_PRICES: Final = 100
MAX_AMOUNTS: Final = 200
MAX_POINTS: Final = 50
MAX_REASONS: Final = 100
MAX_COUNTRIES: Final = 300
MAX_VALUES: Final = 100
"""Of one condition."""
MAX_LABEL: Final = 200
MAX_TEXT: Final = 2_000
MAX_SCALAR: Final = 200
"""Characters of a value in a condition."""
MAX_WHOLE: Final = 2**53 - 1
"""Beyond it a JSON number is not the same number everywhere."""
MIN_DRAFT_MINUTES: Final = 5
MAX_DRAFT_MINUTES: Final = 30 * 24 * 60
MAX_AFTER_SALE_DAYS: Final = 3_660
MAX_GRACE_MINUTES: Final = 7 * 24 * 60
VISIT_STEP: Final = 15
MAX_VISIT_MINUTES: Final = 24 * 60


class FieldKind(StrEnum):
    """VALUE: its answer is a value under the schema. ADDRESS: an address, apart from the schema."""

    VALUE = "value"
    ADDRESS = "address"


class Says(StrEnum):
    """What a point tells besides its text: the time of the visit, the amount to pay."""

    NOTHING = "nothing"
    VISIT = "visit"
    TOTAL = "total"


class Confirmation(StrEnum):
    """Who confirms a placed order: the client company, or nobody has to."""

    CLIENT = "client"
    AUTOMATIC = "automatic"


@dataclass(frozen=True, slots=True)
class Field:
    """One thing that is asked.

    default     JSON text of a value; "" none
    shown_when  on a field before this one. What is not shown is not asked and has no answer
    reported    its answer goes to analytics in clear: an enum, a boolean or an integer
    required, confirm, countries
                of an ADDRESS: it must be there; it is read back to the customer, who confirms it;
                the countries (ISO 3166, two letters) that it may be in, () all
    """

    name: str
    label: str
    help: str = ""
    kind: FieldKind = FieldKind.VALUE
    default: str = ""
    shown_when: When | None = None
    reported: bool = False
    required: bool = False
    confirm: bool = False
    countries: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Point:
    """One thing that the customer is told, and the agent ticks."""

    point_id: str
    text: str
    required: bool = True
    when: When | None = None
    says: Says = Says.NOTHING


@dataclass(frozen=True, slots=True)
class VisitNeed:
    """A crew with this skill comes for so many minutes. address: the ADDRESS field that decides the
    area; "": the area is given by hand."""

    skill: str
    minutes: int
    address: str
    when: When | None = None


@dataclass(frozen=True, slots=True)
class Form:
    """One version of what is asked for one product.

    schema               JSON text of the draft 2020-12 schema of all VALUE fields as one object
    fields               in their order on the screen
    currency, digits     ISO 4217 and its decimal places; "" where nothing is paid
    draft_minutes        a draft that nobody goes on with expires after them
    after_sale_days      from fulfilment on it can be returned, or fail, so long
    visit_grace_minutes  how long after its end a visit without an outcome is overdue
    cancel_reasons, after_sale_reasons
                         the codes that are chosen from
    """

    title: str
    schema: str
    fields: tuple[Field, ...]
    prices: tuple[PriceRule, ...] = ()
    currency: str = ""
    digits: int = 2
    visit: VisitNeed | None = None
    checklist: tuple[Point, ...] = ()
    confirmation: Confirmation = Confirmation.CLIENT
    draft_minutes: int = 24 * 60
    after_sale_days: int = 14
    visit_grace_minutes: int = 60
    cancel_reasons: tuple[str, ...] = ()
    after_sale_reasons: tuple[str, ...] = ()

    def field(self, name: str) -> Field | None:
        return next((field for field in self.fields if field.name == name), None)

    def asked(self, answers: Mapping[str, Any]) -> dict[str, Any]:
        """The answers to VALUE fields that are shown. A field that is shown because of a hidden
        one's answer is hidden, too."""
        asked: dict[str, Any] = {}
        for field in self.fields:
            if field.name in answers and holds(field.shown_when, asked):
                asked[field.name] = answers[field.name]
        return asked

    def shown(self, answers: Mapping[str, Any]) -> tuple[Field, ...]:
        """What is asked, given these answers."""
        asked = self.asked(answers)
        return tuple(field for field in self.fields if holds(field.shown_when, asked))

    def addresses_for(self, answers: Mapping[str, Any]) -> tuple[Field, ...]:
        """The addresses that are asked for."""
        return tuple(one for one in self.shown(answers) if one.kind is FieldKind.ADDRESS)

    def visit_for(self, answers: Mapping[str, Any]) -> VisitNeed | None:
        """The visit that is needed."""
        if self.visit is None or not holds(self.visit.when, self.asked(answers)):
            return None
        return self.visit

    def points_for(self, answers: Mapping[str, Any]) -> tuple[Point, ...]:
        """What the customer is told. The visit's time only where there is a visit."""
        asked = self.asked(answers)
        visit = self.visit_for(answers) is not None
        return tuple(
            point
            for point in self.checklist
            if holds(point.when, asked) and (visit or point.says is not Says.VISIT)
        )


# What any form must be. What depends on the meaning of its schema: schema.check_form.


def check(form: Form) -> None:
    """Raise Invalid, with the field's path, for the first thing that no form can have."""
    _line("title", form.title)
    _check_fields(form)
    _check_prices(form)
    if form.visit is not None:
        _check_visit(form, form.visit)
    _check_checklist(form)
    _between("draft_minutes", form.draft_minutes, MIN_DRAFT_MINUTES, MAX_DRAFT_MINUTES)
    _between("after_sale_days", form.after_sale_days, 0, MAX_AFTER_SALE_DAYS)
    _between("visit_grace_minutes", form.visit_grace_minutes, 0, MAX_GRACE_MINUTES)
    for name in ("cancel_reasons", "after_sale_reasons"):
        reasons = getattr(form, name)
        if not 1 <= len(reasons) <= MAX_REASONS:
            raise Invalid(name, f"must be 1 to {MAX_REASONS} codes")
        _codes(name, reasons)


def _check_fields(form: Form) -> None:
    if not 1 <= len(form.fields) <= MAX_FIELDS:
        raise Invalid("fields", f"must be 1 to {MAX_FIELDS}")
    before: dict[str, Field] = {}
    for number, field in enumerate(form.fields):
        where = f"fields.{number}"
        if not NAME.fullmatch(field.name):
            raise Invalid(f"{where}.name", "small letters, digits and _, a letter first, 1 to 64")
        if field.name in before:
            raise Invalid(f"{where}.name", "is the name of another field, too")
        _line(f"{where}.label", field.label)
        _text(f"{where}.help", field.help, required=False)
        if field.shown_when is not None:
            # Only on what comes before: so no circle is possible, and whoever asks the fields in
            # their order knows what is to be asked.
            _check_when(f"{where}.shown_when", field.shown_when, before, "before this one")
        if field.kind is FieldKind.ADDRESS:
            if field.default or field.reported:
                raise Invalid(where, "is an address: no default, and never reported")
            _check_countries(f"{where}.countries", field.countries)
        elif field.required or field.confirm or field.countries:
            raise Invalid(where, "required, confirm and countries are of addresses only")
        before[field.name] = field


def _check_countries(where: str, countries: Sequence[str]) -> None:
    if len(countries) > MAX_COUNTRIES or len(set(countries)) < len(countries):
        raise Invalid(where, f"must be at most {MAX_COUNTRIES}, each once")
    if not all(map(COUNTRY.fullmatch, countries)):
        raise Invalid(where, "must be ISO 3166 codes of two capital letters")


def _check_when(where: str, when: When, fields: Mapping[str, Field], which: str = "") -> None:
    field = fields.get(when.field)
    if field is None or field.kind is not FieldKind.VALUE:
        raise Invalid(f"{where}.field", f"is no field with a value {which}".rstrip())
    if not 1 <= len(when.is_in) <= MAX_VALUES:
        raise Invalid(f"{where}.is_in", f"must be 1 to {MAX_VALUES} values")
    for value in when.is_in:
        if isinstance(value, str):
            if len(value) > MAX_SCALAR:
                raise Invalid(f"{where}.is_in", f"has a text of more than {MAX_SCALAR} characters")
            _storable(f"{where}.is_in", value)
        elif abs(value) > MAX_WHOLE:
            raise Invalid(f"{where}.is_in", f"has a number beyond {MAX_WHOLE}")
    if len({(type(value), value) for value in when.is_in}) < len(when.is_in):
        raise Invalid(f"{where}.is_in", "has a value twice")


def _check_prices(form: Form) -> None:
    if len(form.prices) > MAX_PRICES:
        raise Invalid("prices", f"must be at most {MAX_PRICES}")
    if bool(form.prices) != bool(form.currency):
        raise Invalid("currency", "must be given where there are prices, and only there")
    values = {one.name: one for one in form.fields if one.kind is FieldKind.VALUE}
    before: dict[str, Period] = {}
    for number, rule in enumerate(form.prices):
        where = f"prices.{number}"
        _code(f"{where}.rule_id", rule.rule_id)
        if rule.rule_id in before:
            raise Invalid(f"{where}.rule_id", "is the id of another rule, too")
        _line(f"{where}.label", rule.label)
        if rule.when is not None:
            _check_when(f"{where}.when", rule.when, values)
        _check_rule(where, rule, form, values, before)
        before[rule.rule_id] = rule.period


def _check_rule(
    where: str,
    rule: PriceRule,
    form: Form,
    values: Mapping[str, Field],
    before: Mapping[str, Period],
) -> None:
    kinds = [rule.amount is not None, bool(rule.field or rule.amounts), rule.percent is not None]
    if sum(kinds) != 1:
        raise Invalid(where, "must have one of: amount; field and amounts; percent and of")
    # A price for one may be finer than what is paid: 0.2516 for a kilowatt hour.
    digits = PLACES if rule.quantity else form.digits
    if rule.amount is not None:
        _amount(f"{where}.amount", rule.amount, digits)
    if rule.field or rule.amounts:
        if rule.field not in values:
            raise Invalid(f"{where}.field", "is no field with a value")
        if not 1 <= len(rule.amounts) <= MAX_AMOUNTS:
            raise Invalid(f"{where}.amounts", f"must be 1 to {MAX_AMOUNTS}")
        for amount in rule.amounts.values():
            _amount(f"{where}.amounts", amount, digits)
    if rule.quantity and (rule.percent is not None or rule.quantity not in values):
        raise Invalid(f"{where}.quantity", "must be a field with a value, and not of a percentage")
    if rule.percent is None:
        if rule.of:
            raise Invalid(f"{where}.of", "is of a percentage only")
        return
    if not (rule.percent.is_finite() and 0 <= rule.percent <= MAX_PERCENT):
        raise Invalid(f"{where}.percent", f"must be 0 to {MAX_PERCENT}")
    _decimals(f"{where}.percent", rule.percent, PLACES)
    if not rule.of or len(set(rule.of)) < len(rule.of):
        raise Invalid(f"{where}.of", "must be other rules, each once")
    for other in rule.of:
        if before.get(other) is not rule.period:
            raise Invalid(f"{where}.of", "must be rules of the same period before this one")


def _check_visit(form: Form, visit: VisitNeed) -> None:
    _code("visit.skill", visit.skill)
    _between("visit.minutes", visit.minutes, VISIT_STEP, MAX_VISIT_MINUTES)
    if visit.minutes % VISIT_STEP:
        raise Invalid("visit.minutes", f"must be a multiple of {VISIT_STEP}")
    fields = {field.name: field for field in form.fields}
    if visit.when is not None:
        _check_when("visit.when", visit.when, fields)
    if visit.address:
        field = fields.get(visit.address)
        if field is None or field.kind is not FieldKind.ADDRESS:
            raise Invalid("visit.address", "is no field with an address")
        if field.shown_when not in (None, visit.when):
            raise Invalid("visit.address", "is not asked for wherever the visit is needed")


def _check_checklist(form: Form) -> None:
    if len(form.checklist) > MAX_POINTS:
        raise Invalid("checklist", f"must be at most {MAX_POINTS}")
    fields = {field.name: field for field in form.fields}
    seen: set[str] = set()
    for number, point in enumerate(form.checklist):
        where = f"checklist.{number}"
        _code(f"{where}.point_id", point.point_id)
        if point.point_id in seen:
            raise Invalid(f"{where}.point_id", "is the id of another point, too")
        seen.add(point.point_id)
        _text(f"{where}.text", point.text)
        if point.when is not None:
            _check_when(f"{where}.when", point.when, fields)
        if point.says is Says.TOTAL and not form.prices:
            raise Invalid(f"{where}.says", "tells the amount, and there are no prices")
        if point.says is Says.VISIT and form.visit is None:
            raise Invalid(f"{where}.says", "tells the visit, and there is none")


def _amount(where: str, amount: Decimal, digits: int) -> None:
    if not (amount.is_finite() and 0 <= amount <= MAX_AMOUNT):
        raise Invalid(where, f"must be 0 to {MAX_AMOUNT}")
    _decimals(where, amount, digits)


def _decimals(where: str, number: Decimal, digits: int) -> None:
    exponent = number.as_tuple().exponent
    if not isinstance(exponent, int) or exponent < -digits:
        raise Invalid(where, f"must have at most {digits} decimal places")


def _between(where: str, number: int, low: int, high: int) -> None:
    if not low <= number <= high:
        raise Invalid(where, f"must be {low} to {high}")


def _codes(where: str, codes: Iterable[str]) -> None:
    seen: set[str] = set()
    for number, code in enumerate(codes):
        _code(f"{where}.{number}", code)
        if code in seen:
            raise Invalid(f"{where}.{number}", "is there twice")
        seen.add(code)


def _code(where: str, code: str) -> None:
    if not CODE.fullmatch(code):
        raise Invalid(where, "small letters, digits and . _ -, 1 to 64")


def _line(where: str, text: str) -> None:
    _text(where, text, MAX_LABEL)
    if _CONTROL.search(text):
        raise Invalid(where, "must be one line without control characters")


def _text(where: str, text: str, limit: int = MAX_TEXT, *, required: bool = True) -> None:
    if required and not text.strip():
        raise Invalid(where, "is missing")
    if len(text) > limit:
        raise Invalid(where, f"is longer than {limit} characters")
    _storable(where, text)


def _storable(where: str, text: str) -> None:
    # PostgreSQL keeps neither.
    if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise Invalid(where, "has a NUL character or half of a surrogate pair")


# The stream of one product's forms.


@dataclass(frozen=True, slots=True)
class Published:
    """version: of the latest, 0 where there is none. retired: nothing new is ordered with it."""

    version: int = 0
    form: Form | None = None
    retired: bool = False


@dataclass(frozen=True, slots=True)
class FormPublished:
    """version: 1, 2, 3 ... of the product's forms."""

    version: int
    form: Form


@dataclass(frozen=True, slots=True)
class FormRetired:
    """No new drafts; the orders that there are keep their version."""


@dataclass(frozen=True, slots=True)
class FormRestored: ...


Event = FormPublished | FormRetired | FormRestored


@dataclass(frozen=True, slots=True)
class PublishForm:
    """form: one that schema.check_form has passed."""

    product_id: str
    form: Form


@dataclass(frozen=True, slots=True)
class RetireForm: ...


@dataclass(frozen=True, slots=True)
class RestoreForm: ...


Command = PublishForm | RetireForm | RestoreForm


def decide(command: Command, state: Published) -> list[Event]:
    """Raises Invalid, Rejected and NotFound."""
    if isinstance(command, PublishForm):
        if not ID.fullmatch(command.product_id):
            raise Invalid("product_id", f"must match {ID.pattern}")
        check(command.form)
        if command.form == state.form:
            return []
        if state.retired:
            raise Rejected("the product is retired: restore it first", "product_id")
        return [FormPublished(state.version + 1, command.form)]
    if state.form is None:
        raise NotFound("product")
    match command:
        case RetireForm():
            return [] if state.retired else [FormRetired()]
        case RestoreForm():
            return [FormRestored()] if state.retired else []


def evolve(state: Published, event: Event) -> Published:
    match event:
        case FormPublished(version, form):
            return replace(state, version=version, form=form)
        case FormRetired():
            return replace(state, retired=True)
        case FormRestored():
            return replace(state, retired=False)


DECIDER: Final[Decider[Command, Published, Event]] = Decider(
    initial=Published(),
    decide=decide,
    evolve=evolve,
    events=(FormPublished, FormRetired, FormRestored),
)
