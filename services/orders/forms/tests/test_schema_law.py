"""Laws of schemas and answers, whatever they are."""

import json
from typing import Any

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from eventkit.decider import Invalid
from services.orders.forms import profile as p
from services.orders.forms import schema as s
from services.orders.forms.codec import form_of
from services.orders.forms.form import Form
from services.orders.forms.formats import FORMATS
from services.orders.forms.tests.support import document, make, part, when

# Making a schema takes longer than checking it.
BRIEFLY = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])

NAMES = ("a", "b", "c")
TEXTS = st.text("xyzé0 ", max_size=4)
WHOLES = st.integers(-5, 5)
NUMBERS = WHOLES | st.sampled_from([0.5, -1.5, 2.0, 1e10])
SCALARS = TEXTS | NUMBERS | st.booleans() | st.none()


def bounds(low: str, high: str, of: Any) -> Any:
    return st.fixed_dictionaries({}, optional={low: of, high: of})


SIZES = st.integers(0, 4)
ONES = st.one_of(
    st.just({"type": "boolean"}),
    bounds("minLength", "maxLength", SIZES).map(lambda more: {"type": "string", **more}),
    bounds("minimum", "maximum", WHOLES).map(lambda more: {"type": "integer", **more}),
    bounds("exclusiveMinimum", "exclusiveMaximum", NUMBERS).map(
        lambda more: {"type": "number", **more}
    ),
    st.integers(1, 4).map(lambda step: {"type": "integer", "multipleOf": step}),
    st.sampled_from(["^x", "[yz]+", "^[xyz]{1,2}$", "é|0"]).map(
        lambda pattern: {"type": "string", "pattern": pattern}
    ),
    st.lists(TEXTS, min_size=1, max_size=4).map(lambda many: {"type": "string", "enum": many}),
)
INNER = st.recursive(
    st.booleans()
    | ONES
    | SCALARS.map(lambda one: {"const": one})
    | st.lists(SCALARS, min_size=1, max_size=4).map(lambda many: {"enum": many}),
    lambda inner: st.one_of(
        st.fixed_dictionaries(
            {},
            optional={
                "items": inner,
                "prefixItems": st.lists(inner, min_size=1, max_size=2),
                "contains": inner,
                "minContains": st.integers(0, 2),
                "maxContains": st.integers(0, 2),
                "uniqueItems": st.booleans(),
                "maxItems": SIZES,
            },
        ),
        st.fixed_dictionaries(
            {},
            optional={
                "properties": st.dictionaries(st.sampled_from(NAMES), inner, max_size=2),
                "additionalProperties": inner,
                "required": st.lists(st.sampled_from(NAMES), unique=True),
                "minProperties": SIZES,
                "maxProperties": SIZES,
            },
        ),
        *(
            st.lists(inner, min_size=1, max_size=3).map(lambda many, key=key: {key: many})
            for key in ("allOf", "anyOf", "oneOf")
        ),
        inner.map(lambda one: {"not": one}),
        st.tuples(inner, inner, inner).map(
            lambda three: dict(zip(("if", "then", "else"), three, strict=True))
        ),
    ),
    max_leaves=4,
)


@st.composite
def wholes(draw: Any, depth: int = 1) -> Any:
    """What is said about all answers."""
    names = st.lists(st.sampled_from(NAMES), unique=True)
    said = draw(
        st.fixed_dictionaries(
            {},
            optional={
                "required": names,
                "dependentRequired": st.dictionaries(st.sampled_from(NAMES), names, max_size=2),
                "properties": st.dictionaries(st.sampled_from(NAMES), INNER, max_size=2),
            },
        )
    )
    if depth:
        below = wholes(depth - 1)
        said |= draw(
            st.fixed_dictionaries(
                {},
                optional={
                    "allOf": st.lists(below, min_size=1, max_size=2),
                    "anyOf": st.lists(below, min_size=1, max_size=2),
                    "oneOf": st.lists(below, min_size=1, max_size=2),
                    "not": below,
                    "if": below,
                    "then": below,
                    "else": below,
                    "dependentSchemas": st.dictionaries(st.sampled_from(NAMES), below, max_size=1),
                },
            )
        )
    return said


@st.composite
def schemas(draw: Any) -> Any:
    properties: dict[str, Any] = {}
    definitions: dict[str, Any] = {}
    for name in NAMES:
        one = dict(draw(ONES))
        if draw(st.booleans()):
            one["allOf"] = [draw(INNER)]
        if draw(st.booleans()):
            definitions[name] = one
            one = {"$ref": f"#/$defs/{name}"}
        properties[name] = one
    # As a keyword of the whole, `properties` would be there twice.
    said = {"allOf": [draw(wholes())]} if draw(st.booleans()) else {}
    return {
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
        **({"$defs": definitions} if definitions else {}),
        **said,
    }


VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=3)
    ),
    max_leaves=4,
)
ANSWERS = st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=3)


def form_with(schema: Any, fields: Any = ()) -> Form:
    return form_of(document(dict.fromkeys(NAMES), fields) | {"schema": schema})


def why_not(form: Form) -> str:
    """Why a form cannot be published; "" where it can."""
    try:
        s.check_form(form)
    except Invalid as refused:
        return str(refused)
    return ""


@BRIEFLY
@given(schemas(), st.lists(ANSWERS, min_size=1, max_size=5))
def test_where_nothing_is_hidden_it_says_what_plain_jsonschema_says(
    schema: Any, many: list[Any]
) -> None:
    form = form_with(schema)
    refused = why_not(form)
    assume("too long" not in refused)
    assert not refused
    Draft202012Validator.check_schema(schema)
    plain = Draft202012Validator(schema)
    for answers in many:
        assert (not s.faults(form, answers, partial=False)) == plain.is_valid(answers)


@BRIEFLY
@given(schemas(), ANSWERS, st.sampled_from(["x", "y", ""]))
def test_what_is_hidden_is_never_missing(schema: Any, answers: Any, shows: str) -> None:
    schema["properties"]["a"] = {"type": "string"}
    fields = [part("a"), part("b", shown_when=when("a", shows)), part("c")]
    form = form_with(schema, fields)
    refused = why_not(form)
    assume("too long" not in refused)
    if refused:
        assert "as a choice" in refused
        return
    shown = {one.name for one in form.shown(answers)}
    for field, reason in s.faults(form, answers, partial=False):
        assert field in shown or reason != "is missing"


@BRIEFLY
@given(
    schemas(), st.dictionaries(st.sampled_from(NAMES), SCALARS.filter(lambda one: one is not None))
)
def test_a_form_that_can_be_published_takes_its_own_defaults(schema: Any, defaults: Any) -> None:
    fields = [part(name, default=defaults.get(name)) for name in NAMES]
    form = form_with(schema, fields)
    plain = {name: _alone(schema, name) for name in defaults}
    right = all(plain[name].is_valid(value) for name, value in defaults.items())
    refused = why_not(form)
    assume("too long" not in refused)
    assert right == (not refused)
    if refused:
        assert ".default: " in refused
        return
    assert s.with_defaults(form, {}) == defaults
    assert s.faults(form, s.with_defaults(form, {}), partial=True) == []


def _alone(schema: Any, name: str) -> Draft202012Validator:
    return Draft202012Validator(schema["properties"][name] | {"$defs": schema.get("$defs", {})})


# Whatever somebody sends.

KEYS = st.sampled_from([*sorted(p.KEYWORDS), "$defs", "$schema", *NAMES, "Ann Ö", ""])
ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from([*p.TYPES, *FORMATS, "#/$defs/a", "(a+)+$", "(?=a)", 10**400, "\ud800"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


@BRIEFLY
@given(st.dictionaries(KEYS, ANYTHING, max_size=6))
def test_a_schema_is_right_or_invalid_and_nothing_else(given: Any) -> None:
    for schema in (given, given | {"type": "object"}):
        try:
            s.check(schema)
        except Invalid:
            continue
        Draft202012Validator.check_schema(schema)


@BRIEFLY
@given(schemas(), st.dictionaries(st.text(max_size=5) | st.sampled_from(NAMES), ANYTHING))
def test_answers_are_right_or_at_fault_whatever_they_are(schema: Any, answers: Any) -> None:
    form = form_with(schema)
    for partial in (True, False):
        for field, reason in s.faults(form, answers, partial=partial):
            # What can be said and kept: no answer is repeated, and no name that somebody made up.
            assert field.isascii()
            assert reason.encode()
    json.dumps(s.faults(form, answers, partial=False))


@BRIEFLY
@given(st.text("Qß", min_size=3, max_size=12).map(lambda text: f"{text}ß"))
def test_a_reason_never_repeats_an_answer(secret: str) -> None:
    for one in (
        {"type": "integer"},
        {"type": "string", "enum": ["x"]},
        {"type": "string", "maxLength": 2},
        {"type": "string", "pattern": "^x$"},
        {"type": "string", "format": "date"},
        {"type": "string", "not": {"minLength": 1}},
        {"type": "array", "items": {"type": "integer"}},
        {"type": "object", "additionalProperties": False},
    ):
        form = make({"a": one})
        for answer in (secret, [secret], {secret: secret}):
            found = s.faults(form, {"a": answer, secret: 1}, partial=False)
            assert found
            assert secret not in str(found)
