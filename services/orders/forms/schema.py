"""A form and its schema together: what a form must be to be published, and which answers are right.

What a schema may say, and why neither it nor answers can take long: profile.py.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import lru_cache
from itertools import islice
from typing import Any, Final

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError
from jsonschema.protocols import Validator
from jsonschema.validators import extend

from eventkit.decider import Invalid
from services.orders.conditions import When, holds
from services.orders.forms import form as f
from services.orders.forms.form import Field, FieldKind, Form
from services.orders.forms.formats import CHECKER, FORMATS, regex
from services.orders.forms.profile import (
    AT_THE_TOP,
    MANY,
    MAX_ITEMS,
    MAX_NUMBER,
    MAX_TEXT,
    NAMELIKE,
    NOTES,
    ONE,
    TYPES,
    at_most,
    check,
    read,
    text_of,
)

__all__ = ["ANSWERS", "check", "check_form", "faults", "with_defaults"]

ANSWERS: Final = "answers"
"""Names all answers together, where no single field is at fault."""
MAX_TRIED: Final = 50_000
"""Steps (profile.py) of trying the values that a form names."""
MAX_ANSWERS: Final = 64 << 10
"""Bytes of all answers together, about."""
MAX_ANSWER_DEPTH: Final = 8
MAX_FAULTS: Final = 100


# A form and its schema together.


def check_form(form: Form) -> None:
    """Raise Invalid, with the path, for the first thing for which a form cannot be published."""
    f.check(form)
    try:
        schema = json.loads(form.schema)
    except (ValueError, RecursionError):
        raise Invalid("schema", "is no JSON, or nested too deep") from None
    text_of(schema)
    reading = read(schema)
    fields = {one.name: one for one in form.fields if one.kind is FieldKind.VALUE}
    properties = schema.get("properties", {})
    for name in properties:
        if name not in fields:
            raise Invalid(f"schema.properties.{name}", "is no field with a value")
        if _type(schema, name) is None:
            raise Invalid(
                f"schema.properties.{name}",
                "must say its type: one of string, integer, number, boolean, array, object",
            )
    for where, name in reading.named:
        if name not in properties:
            raise Invalid(where, f"names {name}, which is no field with a value")
    for where, name in reading.chosen:
        if fields[name].shown_when is not None:
            raise Invalid(where, f"requires {name} as a choice, and it is not always asked")
    trial = _Trial(_ready(form.schema), reading.steps)
    for number, one in enumerate(form.fields):
        if one.kind is FieldKind.VALUE:
            _check_field(f"fields.{number}", one, schema, trial)
    for where, when in _conditions(form):
        for value in when.is_in:
            if not trial.allows(when.field, value):
                raise Invalid(f"{where}.is_in", "has a value that the schema does not allow")
    for number, rule in enumerate(form.prices):
        where = f"prices.{number}"
        kind = _type(schema, rule.field)
        for key in rule.amounts:
            if not trial.allows(rule.field, _answer_of(key, kind)):
                raise Invalid(f"{where}.amounts", "has an answer that the schema does not allow")
        if rule.quantity:
            _check_quantity(f"{where}.quantity", rule.quantity, schema)


@dataclass
class _Trial:
    """Tries the values that a form names: each once, and not without end."""

    rules: "_Rules"
    steps: Mapping[str, int]
    left: int = MAX_TRIED
    tried: dict[tuple[str, str], bool] = field(default_factory=dict)

    def allows(self, name: str, value: Any) -> bool:
        """Whether an answer to a field is right by itself. Raises Invalid."""
        if _unbounded({name: value}):
            return False
        key = (name, json.dumps(value))
        if key not in self.tried:
            where = f"schema.properties.{name}"
            self.left -= self.steps[where]
            if self.left < 0:
                raise Invalid(where, "has too many rules to try all values that the form names")
            self.tried[key] = self.rules.allow(name, value)
        return self.tried[key]


def _check_field(where: str, one: Field, schema: Mapping[str, Any], trial: _Trial) -> None:
    if one.name not in schema.get("properties", {}):
        raise Invalid(f"{where}.name", "is no property of the schema")
    if one.default and not trial.allows(one.name, _default(where, one.default)):
        raise Invalid(f"{where}.default", "is not allowed by the schema")
    kind = _type(schema, one.name)
    coded = kind in ("boolean", "integer") or (
        kind == "string" and _says(schema, one.name, "enum") is not None
    )
    if one.reported and not coded:
        raise Invalid(f"{where}.reported", "must be an enum of texts, a boolean or an integer")


def _default(where: str, text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise Invalid(f"{where}.default", "is no JSON, or nested too deep") from None


def _conditions(form: Form) -> Iterator[tuple[str, When]]:
    """(path, condition) of all of a form's."""
    found: list[tuple[str, When | None]] = [
        (f"fields.{number}.shown_when", one.shown_when) for number, one in enumerate(form.fields)
    ]
    found += [(f"prices.{number}.when", one.when) for number, one in enumerate(form.prices)]
    found += [(f"checklist.{number}.when", one.when) for number, one in enumerate(form.checklist)]
    found.append(("visit.when", form.visit.when if form.visit else None))
    yield from ((where, when) for where, when in found if when is not None)


def _answer_of(key: str, kind: str | None) -> Any:
    """The answer that a price's key stands for; what no field allows where there is none."""
    if kind == "boolean":
        return {"true": True, "false": False}.get(key)
    if kind == "integer":
        return int(key) if re.fullmatch(r"-?(0|[1-9][0-9]{0,15})", key) else None
    return key if kind == "string" else None


def _check_quantity(where: str, name: str, schema: Mapping[str, Any]) -> None:
    lowest = _says(schema, name, "minimum")
    above = _says(schema, name, "exclusiveMinimum")
    low = max((one for one in (lowest, above) if one is not None), default=-1)
    if _type(schema, name) not in ("integer", "number") or low < 0:
        raise Invalid(where, "must be an integer or a number with a minimum of 0 or more")


def _type(schema: Mapping[str, Any], name: str) -> str | None:
    said = _says(schema, name, "type")
    return said if isinstance(said, str) and said != "null" else None


def _says(schema: Mapping[str, Any], name: str, keyword: str) -> Any:
    """What a property says by a keyword, itself or by the definition that it is; None: nothing."""
    node = schema.get("properties", {}).get(name)
    while isinstance(node, dict):
        if keyword in node:
            return node[keyword]
        node = schema.get("$defs", {}).get(str(node.get("$ref", "")).removeprefix("#/$defs/"))
    return None


# Answers.


def faults(form: Form, answers: Mapping[str, Any], *, partial: bool) -> list[tuple[str, str]]:
    """(field, reason) of everything that is wrong, in the order of the fields; at most
    `MAX_FAULTS`. A reason never repeats an answer.

    form: a published one. answers: JSON values by field, those of VALUE fields alone.
    partial: of a draft. What is missing is no fault, nor is an answer to what is hidden now, and
    each answer is judged alone; what the schema says about the answers as a whole comes later.
    """
    found = _unbounded(answers)
    if not found:
        found = _unknown(form, answers)
        quiet = {name: _quiet(value) for name, value in answers.items()}
        asked = form.asked(quiet)
        shown = {one.name for one in form.shown(quiet)}
        if not partial:
            found += [
                (one.name, "must not be answered: it is not asked, because of another answer")
                for one in form.fields
                if one.kind is FieldKind.VALUE and one.name in quiet and one.name not in shown
            ]
        found += _wrong(_rules(form.schema), asked, shown, partial)
    order = {one.name: number for number, one in enumerate(form.fields)}
    unique = list(dict.fromkeys(found))
    unique.sort(key=lambda fault: order.get(fault[0].split(".")[0], len(order)))
    return unique[:MAX_FAULTS]


def with_defaults(form: Form, answers: Mapping[str, Any]) -> dict[str, Any]:
    """The answers, and the defaults of the fields that are asked and not answered."""
    filled = dict(answers)
    asked: dict[str, Any] = {}
    for one in form.fields:
        if one.kind is FieldKind.ADDRESS or not holds(one.shown_when, asked):
            continue
        if one.name not in filled and one.default:
            filled[one.name] = json.loads(one.default)
        if one.name in filled:
            asked[one.name] = filled[one.name]
    return filled


def _unknown(form: Form, answers: Mapping[str, Any]) -> list[tuple[str, str]]:
    found = []
    kinds = {one.name: one.kind for one in form.fields}
    for name in answers:
        match kinds.get(name):
            case None:
                found.append((_part(name), "is no field of the form"))
            case FieldKind.ADDRESS:
                found.append((name, "is an address, and given as such"))
    return found


def _wrong(
    rules: "_Rules", asked: Mapping[str, Any], shown: set[str], partial: bool
) -> list[tuple[str, str]]:
    if partial:
        errors: Iterable[tuple[list[str | int], ValidationError]] = (
            ([name, *error.path], error)
            for name, value in asked.items()
            if name in rules.fields
            for error in rules.fields[name].iter_errors(value)
        )
    else:
        whole = _Object((name, value) for name, value in asked.items() if name in rules.fields)
        errors = ((list(error.path), error) for error in rules.whole.iter_errors(whole))
    return [
        (".".join(map(_part, path)) or ANSWERS, _reason(error))
        for path, error in islice(errors, 10 * MAX_FAULTS)
        if not (
            error.validator in ("required", "dependentRequired")
            and len(path) == 1
            and path[0] not in shown
        )
    ]


def _part(part: str | int) -> str:
    # A name that is made up by the caller may be somebody's.
    return str(part) if isinstance(part, int) or NAMELIKE.fullmatch(part) else "?"


class _Text(str):
    __slots__ = ()

    def __repr__(self) -> str:
        return "text"


class _List(list[Any]):
    __slots__ = ()

    def __repr__(self) -> str:
        return "list"


class _Object(dict[str, Any]):
    __slots__ = ()

    def __repr__(self) -> str:
        return "object"


def _quiet(value: Any) -> Any:
    """The same for a validator, but that it is not repeated in each message: those are never read,
    and making them would take longer than everything else."""
    if isinstance(value, str):
        return _Text(value)
    if isinstance(value, list):
        return _List(map(_quiet, value))
    if isinstance(value, dict):
        return _Object((key, _quiet(one)) for key, one in value.items())
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


class _TooMuch(Exception):
    pass


@dataclass
class _Bounds:
    """Counts what all answers are made of."""

    left: int = MAX_ANSWERS

    def check(self, value: Any, depth: int = 1) -> str:
        """Why a value can be no part of an answer; "" where it can."""
        if isinstance(value, str):
            return self._text(value, MAX_TEXT)
        if value is None or isinstance(value, bool):
            self._take(4)
            return ""
        if isinstance(value, int | float):
            self._take(8)
            # Also refuses infinity and what is no number.
            return "" if -MAX_NUMBER <= value <= MAX_NUMBER else f"must be within {MAX_NUMBER}"
        if not isinstance(value, list | dict):
            return "must be JSON"
        if depth >= MAX_ANSWER_DEPTH:
            return f"is nested deeper than {MAX_ANSWER_DEPTH}"
        if len(value) > MAX_ITEMS:
            return f"has more than {MAX_ITEMS} items"
        self._take(2)
        parts = value.items() if isinstance(value, dict) else enumerate(value)
        for key, part in parts:
            why = self._text(key, 100) if isinstance(key, str) else ""
            if why := why or self.check(part, depth + 1):
                return why
        return ""

    def _text(self, text: str, most: int) -> str:
        if len(text) > most:
            return f"is longer than {most} characters"
        try:
            self._take(len(text.encode()) + 2)
        except UnicodeEncodeError:
            return "has half of a surrogate pair"
        return "has a NUL character" if "\0" in text else ""

    def _take(self, size: int) -> None:
        self.left -= size
        if self.left < 0:
            raise _TooMuch


def _unbounded(answers: Mapping[str, Any]) -> list[tuple[str, str]]:
    if len(answers) > 2 * f.MAX_FIELDS:
        return [(ANSWERS, "are more than any form has fields")]
    bounds = _Bounds()
    try:
        checked = [
            (_part(name), bounds._text(name, 100) or bounds.check(value))
            for name, value in answers.items()
        ]
    except _TooMuch:
        return [(ANSWERS, f"are more than {MAX_ANSWERS} bytes in all")]
    return [(name, why) for name, why in checked if why]


def _reason(error: ValidationError) -> str:
    value: Any = error.validator_value
    match error.validator:
        case "required" | "dependentRequired":
            return "is missing"
        case "type":
            types = value if isinstance(value, list) else [value]
            return f"must be {' or '.join(TYPES[one] for one in types)}"
        case "enum":
            shown = ", ".join(_json(one) for one in value[:20])
            return f"must be one of {shown}{' ...' if len(value) > 20 else ''}"
        case "const":
            return f"must be {_json(value)}"
        case "minimum":
            return f"must be at least {value}"
        case "maximum":
            return f"must be at most {value}"
        case "exclusiveMinimum":
            return f"must be above {value}"
        case "exclusiveMaximum":
            return f"must be below {value}"
        case "multipleOf":
            return f"must be a multiple of {value}"
        case "minLength":
            return f"must have at least {value} characters"
        case "maxLength":
            return f"must have at most {value} characters"
        case "minItems" | "minProperties" | "minContains":
            return f"must have at least {value}"
        case "maxItems" | "maxProperties" | "maxContains":
            return f"must have at most {value}"
        case "uniqueItems":
            return "must have each only once"
        case "contains":
            return "lacks what must be in it"
        case "pattern":
            return f"must match {value}"
        case "format":
            return f"must be {FORMATS[value]}"
        case "not" if not value:
            return "must not be given"
    return "does not go together as the form demands"


def _json(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


# The validator.


@dataclass(frozen=True)
class _Rules:
    """A schema, ready to be used. whole: of all answers; fields: of each answer alone."""

    whole: Validator
    fields: Mapping[str, Validator]

    def allow(self, name: str, value: Any) -> bool:
        """Whether an answer to a field is right by itself."""
        if name not in self.fields or _unbounded({name: value}):
            return False
        return bool(self.fields[name].is_valid(_quiet(value)))


def _ready(text: str) -> _Rules:
    """Of a schema that has been checked."""
    schema = json.loads(text)
    definitions = schema.get("$defs", {})
    top = {key: value for key, value in schema.items() if key not in AT_THE_TOP}
    whole = _expanded(top, definitions)
    fields = {name: _validator(one) for name, one in whole.get("properties", {}).items()}
    return _Rules(_validator(whole), fields)


# Of forms that are published: what is only tried leaves nothing here.
_rules = lru_cache(maxsize=128)(_ready)


def _validator(schema: Any) -> Validator:
    made: Validator = _Validator(schema, format_checker=CHECKER)
    return made


def _expanded(schema: Any, definitions: Mapping[str, Any]) -> Any:
    """Every reference replaced by what it is to: the validator's own way costs a look-up each time.
    `MAX_WORK` bounds it. Annotations, which would be carried along, are left out."""
    if isinstance(schema, bool):
        # The validator forgets where a false one has been.
        return schema or _Object({"not": _Object()})
    made = _Object()
    for key, value in schema.items():
        if key in ONE or key in ("items", "contains", "additionalProperties"):
            made[key] = _expanded(value, definitions)
        elif key in MANY or key == "prefixItems":
            made[key] = _List(_expanded(one, definitions) for one in value)
        elif key in ("properties", "dependentSchemas"):
            made[key] = _Object((name, _expanded(one, definitions)) for name, one in value.items())
        elif key == "enum":
            made[key] = _List(value)
        elif key not in NOTES and key != "$ref":
            made[key] = value
    if "$ref" in schema:
        target = definitions[schema["$ref"].removeprefix("#/$defs/")]
        made["allOf"] = _List([_expanded(target, definitions), *made.get("allOf", ())])
    return made


def _required(
    _: Validator, names: Sequence[str], instance: Any, __: Any
) -> Iterator[ValidationError]:
    if isinstance(instance, dict):
        for name in names:
            if name not in instance:
                yield ValidationError("is missing", path=[name])


def _dependent(
    _: Validator, names: Mapping[str, Sequence[str]], instance: Any, __: Any
) -> Iterator[ValidationError]:
    if isinstance(instance, dict):
        for name, needed in names.items():
            if name in instance:
                yield from _required(_, needed, instance, __)


def _pattern(_: Validator, pattern: str, instance: Any, schema: Any) -> Iterator[ValidationError]:
    # What is too long is at fault already, and would take longer than was reckoned with.
    fits = isinstance(instance, str) and len(instance) <= at_most(schema, "maxLength")
    if fits and regex(pattern).search(str(instance)) is None:
        yield ValidationError("does not match")


def _multiple(_: Validator, step: int | float, instance: Any, __: Any) -> Iterator[ValidationError]:
    is_number = isinstance(instance, int | float) and not isinstance(instance, bool)
    if is_number and Decimal(str(instance)) % Decimal(str(step)):
        yield ValidationError("is not a multiple")


def _unique(_: Validator, wanted: bool, instance: Any, __: Any) -> Iterator[ValidationError]:
    if wanted and isinstance(instance, list):
        # jsonschema's own way takes the square of the length.
        different = {json.dumps(one, sort_keys=True) for one in instance}
        if len(different) < len(instance):
            yield ValidationError("is not unique")


_Validator: Final = extend(  # type: ignore[no-untyped-call]
    Draft202012Validator,
    {
        "required": _required,
        "dependentRequired": _dependent,
        "pattern": _pattern,
        "multipleOf": _multiple,
        "uniqueItems": _unique,
    },
    format_checker=CHECKER,
)
