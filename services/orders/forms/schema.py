"""What answers are right: a profile of JSON Schema, draft 2020-12, that is safe to run for anybody.

The schema of a form is of one object, whose properties are the form's VALUE fields. What differs
from the draft, so that neither a schema nor answers can take long, whoever wrote them:

- Keywords: those of `KEYWORDS`. Anything else is refused by its name, since a rule that is not
  understood is a rule that is not kept.
- `$ref` to `#/$defs/<name>` only, and never in a circle.
- The most work that any answers can make is computed from the schema, with references followed and
  arrays at their longest: at most `MAX_WORK` steps. One evaluation of one subschema is a step; a
  regular expression is as many as it has instructions times characters, by the thousand.
- Regular expressions are RE2's: linear time, hence no lookaround and no backreferences.
- `format` is kept, not a comment: `FORMATS`.
- Every text has at most `MAX_TEXT` characters, every array `MAX_ITEMS` items, every object
  `MAX_ITEMS` members, numbers are within +-(2^53 - 1), all answers together have `MAX_ANSWERS`
  bytes. A schema may say less.
- `enum`, `const` and `examples` are of texts, numbers, booleans and null.
- `multipleOf` is decimal: 0.3 is a multiple of 0.1.

About the answers as a whole (`required`, `if`, `anyOf` ... beside `properties`) it says which
fields belong together. `required` there means: where it is asked. A field that `shown_when` hides
is never missing; only as a choice (in `anyOf` or `oneOf`) no such field may be required, since
which choice was meant nobody could say. In `if` and `not` a hidden field is as one without an
answer.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from functools import lru_cache
from itertools import islice
from typing import Any, Final

import phonenumbers
import re2
from jsonschema import Draft202012Validator, FormatChecker
from jsonschema.exceptions import ValidationError
from jsonschema.protocols import Validator
from jsonschema.validators import extend

from eventkit.decider import Invalid
from services.orders.conditions import When, holds
from services.orders.forms import form as f
from services.orders.forms.form import Field, FieldKind, Form

DRAFT: Final = "https://json-schema.org/draft/2020-12/schema"
MAX_SCHEMA: Final = 256 << 10
"""Bytes of a schema."""
MAX_DEPTH: Final = 16
"""Of subschemas within each other, references followed."""
MAX_WORK: Final = 10_000
MAX_PATTERN: Final = 500
"""Characters of a regular expression."""
MAX_PROGRAM: Final = 5_000
"""Instructions of a regular expression."""
PATTERN_MEMORY: Final = 512 << 10
MAX_ENUM: Final = 500
MAX_ITEMS: Final = 100
MAX_TEXT: Final = 10_000
MAX_NUMBER: Final = f.MAX_WHOLE
SMALLEST_STEP: Final = Decimal("1e-9")
"""Of multipleOf."""
MAX_ANSWERS: Final = 64 << 10
MAX_ANSWER_DEPTH: Final = 8
MAX_FAULTS: Final = 100

TOO_MUCH: Final = (
    "can take too long: fewer rules and references, smaller patterns, maxItems and maxLength"
)

ANSWERS: Final = "answers"
"""Names all answers together, where no single field is at fault."""

_NAMELIKE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}")
_KEYWORDLIKE: Final = re.compile(r"\$?[A-Za-z]{1,40}")
_REF: Final = re.compile(r"#/\$defs/([A-Za-z_][A-Za-z0-9_.-]{0,63})")

TYPES: Final = {
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "yes or no",
    "array": "a list",
    "object": "an object",
    "null": "null",
}

_NOTES: Final = {"title", "description", "$comment", "examples"}
_ONE: Final = {"not", "if", "then", "else"}
_MANY: Final = {"allOf", "anyOf", "oneOf"}
_WHOLES: Final = {
    *("minLength", "maxLength", "minItems", "maxItems", "minContains", "maxContains"),
    *("minProperties", "maxProperties"),
}
_LIMITS: Final = {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"}

OF_THE_WHOLE: Final = {
    *_NOTES,
    *_ONE,
    *_MANY,
    *("$ref", "type", "properties", "required", "dependentRequired", "dependentSchemas"),
}
"""What may be said about the answers as a whole."""
KEYWORDS: Final = {
    *OF_THE_WHOLE,
    *_WHOLES,
    *_LIMITS,
    *("enum", "const", "multipleOf", "pattern", "format"),
    *("items", "prefixItems", "contains", "uniqueItems", "additionalProperties"),
}
AT_THE_TOP: Final = {"$schema", "$defs", "additionalProperties"}


# Formats.


_FORMATS = FormatChecker(formats=())
_DATE: Final = r"\d{4}-\d\d-\d\d"
_TIME: Final = r"\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)"
# What HTML's input of type email takes.
_LABEL: Final = r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_EMAIL: Final = rf"[A-Za-z0-9.!#$%&'*+/=?^_`{{|}}~-]{{1,64}}@{_LABEL}(\.{_LABEL})*"
_URI: Final = r"[A-Za-z][A-Za-z0-9+.-]*:([A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=-]|%[0-9A-Fa-f]{2})+"
_UUID: Final = r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}"

FORMATS: Final = {
    "date": "a day such as 2026-11-23",
    "date-time": "a time with its zone such as 2026-11-23T09:00:00Z",
    "time": "a time of day with its zone such as 09:00:00Z",
    "email": "an e-mail address",
    "phone": "a telephone number with its country such as +33 1 23 45 67 89",
    "uri": "a URI such as https://example.org/",
    "uuid": "a UUID",
}
"""What each is, in words. `phone` is our own: as far as its country's numbering plan tells."""


@_FORMATS.checks("date", ValueError)
def _is_date(value: object) -> bool:
    return not isinstance(value, str) or bool(_full(_DATE, value) and date.fromisoformat(value))


@_FORMATS.checks("date-time", ValueError)
def _is_date_time(value: object) -> bool:
    if not isinstance(value, str):
        return True
    return bool(_full(f"{_DATE}[Tt ]{_TIME}", value) and datetime.fromisoformat(value.upper()))


@_FORMATS.checks("time", ValueError)
def _is_time(value: object) -> bool:
    return not isinstance(value, str) or _is_date_time(f"2000-01-01T{value}")


@_FORMATS.checks("email")
def _is_email(value: object) -> bool:
    return not isinstance(value, str) or (len(value) <= 254 and _full(_EMAIL, value))


@_FORMATS.checks("uri")
def _is_uri(value: object) -> bool:
    return not isinstance(value, str) or _full(_URI, value)


@_FORMATS.checks("uuid")
def _is_uuid(value: object) -> bool:
    return not isinstance(value, str) or _full(_UUID, value)


@_FORMATS.checks("phone", phonenumbers.NumberParseException)
def _is_phone(value: object) -> bool:
    if not isinstance(value, str):
        return True
    # The package looks for a number within the text.
    if not _full(r"\+[0-9 ()./-]{5,30}", value):
        return False
    return phonenumbers.is_possible_number(phonenumbers.parse(value, None))


def _full(pattern: str, text: str) -> bool:
    return _regex(rf"^(?:{pattern})$").search(text) is not None


@lru_cache(maxsize=256)
def _regex(pattern: str) -> Any:
    """RE2's. Raises re2.error."""
    options = re2.Options()
    options.max_mem = PATTERN_MEMORY
    options.log_errors = False
    options.never_capture = True
    return re2.compile(pattern, options)


# What a schema must be.


def text_of(schema: object, where: str = "schema") -> str:
    """A schema, or another value, as canonical JSON text. Raises Invalid for what is no JSON, or
    more than `MAX_SCHEMA` bytes of it."""
    try:
        text = json.dumps(
            schema, ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":")
        )
        size = len(text.encode())
    except RecursionError:
        raise Invalid(where, "is nested too deep") from None
    except (TypeError, ValueError):
        raise Invalid(where, "is no JSON: a number or a text that cannot be") from None
    if size > MAX_SCHEMA:
        raise Invalid(where, f"is more than {MAX_SCHEMA} bytes")
    if "\\u0000" in text:
        raise Invalid(where, "has a NUL character")
    return text


def check(schema: object) -> None:
    """Raise Invalid, with the path, for the first thing for which a schema is none of the profile.

    It takes milliseconds whatever the schema is: nothing is expanded, and each definition is read
    a few times at most.
    """
    text_of(schema)
    _checked(schema)


def _checked(schema: object) -> "_Reading":
    if not isinstance(schema, dict) or schema.get("type") != "object":
        raise Invalid("schema", 'must be an object schema: "type": "object"')
    if schema.get("$schema", DRAFT) != DRAFT:
        raise Invalid("schema.$schema", f"must be {DRAFT}")
    if schema.get("additionalProperties", False) is not False:
        raise Invalid(
            "schema.additionalProperties", "must be false: what is no field has no answer"
        )
    definitions = _map("schema.$defs", schema.get("$defs", {}))
    reading = _Reading(definitions)
    top = {key: value for key, value in schema.items() if key not in AT_THE_TOP}
    reading.work(top, "schema", 1, _WHOLE)
    for name, definition in definitions.items():
        where = f"schema.$defs.{_name('schema.$defs', name)}"
        # As of a value; one that is of the answers as a whole has been read where it is used.
        if not reading.has_read(name):
            reading.work(definition, where, 1, _VALUE)
    return reading


@dataclass(frozen=True, slots=True)
class _Place:
    """Of what a subschema is: a value in the answers, or all of them; and then whether it has to
    hold, is a condition (in `if`, in `not`), or one of several choices."""

    whole: bool = True
    condition: bool = False
    choice: bool = False


_VALUE: Final = _Place(whole=False)
_WHOLE: Final = _Place()


@dataclass
class _Reading:
    """Reads a schema once. What it says of the answers as a whole is collected."""

    definitions: Mapping[str, Any]
    named: list[tuple[str, str]] = field(default_factory=list)
    """(path, field) wherever a field is named."""
    chosen: list[tuple[str, str]] = field(default_factory=list)
    """(path, field) wherever a field is required as a choice."""
    _left: int = MAX_WORK
    """What is left for reading the schema itself, each definition once for each place."""
    _read: dict[tuple[str, _Place], tuple[int, int]] = field(default_factory=dict)
    _under_way: set[str] = field(default_factory=set)

    def has_read(self, name: str) -> bool:
        return any(read == name for read, _ in self._read)

    def work(self, schema: object, where: str, level: int, place: _Place) -> tuple[int, int]:
        """(the most steps that it takes, how deep it is). Raises Invalid."""
        if isinstance(schema, bool):
            return 1, 1
        if not isinstance(schema, dict):
            raise Invalid(where, "must be an object, true or false")
        if level > MAX_DEPTH:
            raise Invalid(where, f"is nested deeper than {MAX_DEPTH}")
        for keyword in schema:
            if keyword not in KEYWORDS:
                shown = keyword if _KEYWORDLIKE.fullmatch(keyword) else "?"
                raise Invalid(where, f"not supported: {shown}")
            if place.whole and keyword not in OF_THE_WHOLE:
                raise Invalid(where, f"not supported about the answers as a whole: {keyword}")
        total, deepest = 1, 0
        for keyword, value in schema.items():
            total += self._own(keyword, value, f"{where}.{keyword}", schema, place)
        self._left -= total
        if self._left < 0:
            raise Invalid(where, TOO_MUCH)
        for child, path, times, of in self._children(schema, where, place):
            steps, depth = self.work(child, path, level + 1, of)
            total, deepest = total + times * steps, max(deepest, depth)
        if "$ref" in schema:
            steps, depth = self._follow(schema["$ref"], f"{where}.$ref", level, place)
            total, deepest = total + steps, max(deepest, depth)
        if level + deepest > MAX_DEPTH:
            raise Invalid(where, f"is nested deeper than {MAX_DEPTH}")
        if total > MAX_WORK:
            raise Invalid(where, TOO_MUCH)
        return total, 1 + deepest

    def _follow(self, ref: object, where: str, level: int, place: _Place) -> tuple[int, int]:
        found = _REF.fullmatch(ref) if isinstance(ref, str) else None
        if found is None or found[1] not in self.definitions:
            raise Invalid(where, "must be #/$defs/ and the name of a definition")
        name = found[1]
        if name in self._under_way:
            raise Invalid(where, "goes in a circle")
        if (name, place) not in self._read:
            self._under_way.add(name)
            where = f"schema.$defs.{name}"
            self._read[name, place] = self.work(self.definitions[name], where, level + 1, place)
            self._under_way.remove(name)
        return self._read[name, place]

    def _children(
        self, schema: Mapping[str, Any], where: str, place: _Place
    ) -> Iterator[tuple[object, str, int, _Place]]:
        """(subschema, path, how often at most, of what) of each."""
        for keyword, value in schema.items():
            path = f"{where}.{keyword}"
            if keyword in _ONE:
                yield value, path, 1, _as_condition(place, keyword)
            elif keyword in _MANY:
                for number, child in enumerate(_list(path, value, MAX_ENUM)):
                    yield child, f"{path}.{number}", 1, _as_choice(place, keyword)
            elif keyword in ("properties", "dependentSchemas"):
                of = place if keyword == "dependentSchemas" else _VALUE
                for name, child in _map(path, value).items():
                    yield child, f"{path}.{_name(path, name)}", 1, of
            elif keyword == "prefixItems":
                for number, child in enumerate(_list(path, value, MAX_ITEMS)):
                    yield child, f"{path}.{number}", 1, _VALUE
            elif keyword in ("items", "contains"):
                yield value, path, _at_most(schema, "maxItems"), _VALUE
            elif keyword == "additionalProperties":
                yield value, path, _at_most(schema, "maxProperties"), _VALUE

    def _own(
        self, keyword: str, value: Any, where: str, schema: Mapping[str, Any], place: _Place
    ) -> int:
        """Check the value of one keyword; the steps that it takes beside its subschemas."""
        if keyword in ("title", "description", "$comment"):
            if not isinstance(value, str) or len(value) > f.MAX_TEXT:
                raise Invalid(where, f"must be text of at most {f.MAX_TEXT} characters")
        elif keyword in ("enum", "examples"):
            for one in _list(where, value, MAX_ENUM):
                _scalar(where, one)
            return len(value) // 10
        elif keyword == "const":
            _scalar(where, value)
        elif keyword == "type":
            types = value if isinstance(value, list) else [value]
            if not types or not all(isinstance(one, str) and one in TYPES for one in types):
                raise Invalid(where, f"must be of {', '.join(TYPES)}")
            if len(set(types)) < len(types) or (place.whole and value != "object"):
                raise Invalid(where, "must be each once, and object of the answers as a whole")
        elif keyword in _WHOLES:
            high = MAX_TEXT if keyword.endswith("Length") else MAX_ITEMS
            if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= high:
                raise Invalid(where, f"must be a whole number, 0 to {high}")
        elif keyword in _LIMITS:
            _number(where, value)
        elif keyword == "multipleOf":
            if _number(where, value) < SMALLEST_STEP:
                raise Invalid(where, f"must be {SMALLEST_STEP} or more")
        elif keyword == "uniqueItems":
            if not isinstance(value, bool):
                raise Invalid(where, "must be true or false")
            return 50
        elif keyword == "format":
            if not isinstance(value, str) or value not in FORMATS:
                raise Invalid(where, f"must be one of {', '.join(FORMATS)}")
            return 10
        elif keyword == "pattern":
            return _pattern_steps(value, where, _at_most(schema, "maxLength"))
        elif keyword == "properties" and place.whole:
            self.named += [(where, name) for name in _map(where, value)]
        elif keyword == "required":
            self._names(where, value, place)
            return len(value) // 10
        elif keyword in ("dependentRequired", "dependentSchemas"):
            for name, names in _map(where, value).items():
                path = f"{where}.{_name(where, name)}"
                if place.whole:
                    self.named.append((path, name))
                if keyword == "dependentRequired":
                    self._names(path, names, place)
            return len(value)
        return 0

    def _names(self, where: str, value: Any, place: _Place) -> None:
        names = _list(where, value, MAX_ITEMS, least=0)
        for name in names:
            _name(where, name)
        if len(set(names)) < len(names):
            raise Invalid(where, "must be names, each once")
        if place.whole:
            self.named += [(where, name) for name in names]
            if place.choice and not place.condition:
                self.chosen += [(where, name) for name in names]


def _as_condition(place: _Place, keyword: str) -> _Place:
    if not place.whole or keyword in ("then", "else"):
        return place
    return _Place(condition=True, choice=place.choice)


def _as_choice(place: _Place, keyword: str) -> _Place:
    if not place.whole or keyword == "allOf":
        return place
    return _Place(condition=place.condition, choice=True)


def _at_most(schema: Mapping[str, Any], keyword: str) -> int:
    """How long at most. Not below 1: a schema for nothing is still read."""
    high = MAX_TEXT if keyword == "maxLength" else MAX_ITEMS
    given = schema.get(keyword, high)
    return max(1, min(given, high)) if isinstance(given, int) else high


def _list(where: str, value: Any, most: int, least: int = 1) -> list[Any]:
    if not isinstance(value, list) or not least <= len(value) <= most:
        raise Invalid(where, f"must be a list of {least} to {most}")
    return value


def _map(where: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict) or len(value) > MAX_ITEMS:
        raise Invalid(where, f"must be an object of at most {MAX_ITEMS} members")
    return value


def _name(where: str, name: Any) -> str:
    if not isinstance(name, str) or not _NAMELIKE.fullmatch(name):
        raise Invalid(where, "has a name that is none: letters, digits and _ . -, 1 to 64")
    return name


def _number(where: str, value: Any) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Invalid(where, "must be a number")
    if not -MAX_NUMBER <= value <= MAX_NUMBER:
        raise Invalid(where, f"must be within {MAX_NUMBER}")
    return Decimal(str(value))


def _scalar(where: str, value: Any) -> None:
    if isinstance(value, str):
        if len(value) > f.MAX_SCALAR:
            raise Invalid(where, f"has a text of more than {f.MAX_SCALAR} characters")
    elif value is not None and not isinstance(value, bool):
        if not isinstance(value, int | float):
            raise Invalid(where, "must be texts, numbers, true, false or null")
        _number(where, value)


def _pattern_steps(pattern: Any, where: str, longest: int) -> int:
    if not isinstance(pattern, str) or len(pattern) > MAX_PATTERN:
        raise Invalid(where, f"must be text of at most {MAX_PATTERN} characters")
    try:
        size: int = _regex(pattern).programsize
    except re2.error:
        raise Invalid(
            where,
            "is no regular expression of RE2, which knows neither lookaround nor backreferences",
        ) from None
    if size > MAX_PROGRAM:
        raise Invalid(where, "is too large: fewer and smaller repetitions, and maxLength instead")
    # To run it, and to compile it.
    return size * longest // 1000 + size // 50


# A form and its schema together.


def check_form(form: Form) -> None:
    """Raise Invalid, with the path, for the first thing for which a form cannot be published."""
    f.check(form)
    try:
        schema = json.loads(form.schema)
    except (ValueError, RecursionError):
        raise Invalid("schema", "is no JSON, or nested too deep") from None
    text_of(schema)
    reading = _checked(schema)
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
    rules = _ready(form.schema)
    for number, one in enumerate(form.fields):
        if one.kind is FieldKind.VALUE:
            _check_field(f"fields.{number}", one, schema, rules)
    for where, when in _conditions(form):
        for value in when.is_in:
            if not rules.allow(when.field, value):
                raise Invalid(f"{where}.is_in", "has a value that the schema does not allow")
    for number, rule in enumerate(form.prices):
        where = f"prices.{number}"
        kind = _type(schema, rule.field)
        for key in rule.amounts:
            if not rules.allow(rule.field, _answer_of(key, kind)):
                raise Invalid(f"{where}.amounts", "has an answer that the schema does not allow")
        if rule.quantity:
            _check_quantity(f"{where}.quantity", rule.quantity, schema)


def _check_field(where: str, one: Field, schema: Mapping[str, Any], rules: "_Rules") -> None:
    if one.name not in schema.get("properties", {}):
        raise Invalid(f"{where}.name", "is no property of the schema")
    if one.default and not rules.allow(one.name, _default(where, one.default)):
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
    return str(part) if isinstance(part, int) or _NAMELIKE.fullmatch(part) else "?"


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
    made: Validator = _Validator(schema, format_checker=_FORMATS)
    return made


def _expanded(schema: Any, definitions: Mapping[str, Any]) -> Any:
    """Every reference replaced by what it is to: the validator's own way costs a look-up each time.
    `MAX_WORK` bounds it. Annotations, which would be carried along, are left out."""
    if isinstance(schema, bool):
        # The validator forgets where a false one has been.
        return schema or _Object({"not": _Object()})
    made = _Object()
    for key, value in schema.items():
        if key in _ONE or key in ("items", "contains", "additionalProperties"):
            made[key] = _expanded(value, definitions)
        elif key in _MANY or key == "prefixItems":
            made[key] = _List(_expanded(one, definitions) for one in value)
        elif key in ("properties", "dependentSchemas"):
            made[key] = _Object((name, _expanded(one, definitions)) for name, one in value.items())
        elif key == "enum":
            made[key] = _List(value)
        elif key not in _NOTES and key != "$ref":
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
    fits = isinstance(instance, str) and len(instance) <= _at_most(schema, "maxLength")
    if fits and _regex(pattern).search(str(instance)) is None:
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
    format_checker=_FORMATS,
)
