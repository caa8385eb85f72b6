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
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

import re2

from eventkit.decider import Invalid
from services.orders.forms import form as f
from services.orders.forms.formats import FORMATS, regex

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
MAX_ENUM: Final = 500
MAX_ITEMS: Final = 100
MAX_TEXT: Final = 10_000
MAX_NUMBER: Final = f.MAX_WHOLE
SMALLEST_STEP: Final = Decimal("1e-9")
"""Of multipleOf."""

TOO_MUCH: Final = (
    "can take too long: fewer rules and references, smaller patterns, maxItems and maxLength"
)

NAMELIKE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}")
_KEYWORDLIKE: Final = re.compile(r"\$?[A-Za-z]{1,40}")
# In JSON text, and not a backslash that is followed by these characters.
_NUL: Final = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")
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

NOTES: Final = {"title", "description", "$comment", "examples"}
ONE: Final = {"not", "if", "then", "else"}
MANY: Final = {"allOf", "anyOf", "oneOf"}
_WHOLES: Final = {
    *("minLength", "maxLength", "minItems", "maxItems", "minContains", "maxContains"),
    *("minProperties", "maxProperties"),
}
_LIMITS: Final = {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"}

OF_THE_WHOLE: Final = {
    *NOTES,
    *ONE,
    *MANY,
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
    if _NUL.search(text):
        raise Invalid(where, "has a NUL character")
    return text


def check(schema: object) -> None:
    """Raise Invalid, with the path, for the first thing for which a schema is none of the profile.

    It takes milliseconds whatever the schema is: nothing is expanded, and each definition is read
    a few times at most.
    """
    text_of(schema)
    read(schema)


def read(schema: object) -> "Reading":
    """What a schema says; it has been `text_of` before. Raises Invalid."""
    if not isinstance(schema, dict) or schema.get("type") != "object":
        raise Invalid("schema", 'must be an object schema: "type": "object"')
    if schema.get("$schema", DRAFT) != DRAFT:
        raise Invalid("schema.$schema", f"must be {DRAFT}")
    if schema.get("additionalProperties", False) is not False:
        raise Invalid(
            "schema.additionalProperties", "must be false: what is no field has no answer"
        )
    definitions = _map("schema.$defs", schema.get("$defs", {}))
    reading = Reading(definitions)
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
class Reading:
    """Reads a schema once. What it says of the answers as a whole is collected."""

    definitions: Mapping[str, Any]
    named: list[tuple[str, str]] = field(default_factory=list)
    """(path, field) wherever a field is named."""
    chosen: list[tuple[str, str]] = field(default_factory=list)
    """(path, field) wherever a field is required as a choice."""
    steps: dict[str, int] = field(default_factory=dict)
    """Of each property of the answers, by its path."""
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
            if level == 1 and of is _VALUE:
                self.steps[path] = steps
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
            if keyword in ONE:
                yield value, path, 1, _as_condition(place, keyword)
            elif keyword in MANY:
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
                yield value, path, at_most(schema, "maxItems"), _VALUE
            elif keyword == "additionalProperties":
                yield value, path, at_most(schema, "maxProperties"), _VALUE

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
            return _pattern_steps(value, where, at_most(schema, "maxLength"))
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


def at_most(schema: Mapping[str, Any], keyword: str) -> int:
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
    if not isinstance(name, str) or not NAMELIKE.fullmatch(name):
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
        size: int = regex(pattern).programsize
    except re2.error:
        raise Invalid(
            where,
            "is no regular expression of RE2, which knows neither lookaround nor backreferences",
        ) from None
    if size > MAX_PROGRAM:
        raise Invalid(where, "is too large: fewer and smaller repetitions, and maxLength instead")
    # To run it, and to compile it.
    return size * longest // 1000 + size // 50
