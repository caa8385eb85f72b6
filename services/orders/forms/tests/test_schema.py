"""The profile of JSON Schema: what it takes, what it refuses, how answers are judged."""

import json
import re
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from eventkit.decider import Invalid
from services.orders.forms import profile as p
from services.orders.forms import schema as s
from services.orders.forms.codec import form_of
from services.orders.forms.formats import FORMATS
from services.orders.forms.service import shipped, shipped_names
from services.orders.forms.tests.support import ANSWERS, make, part, when
from services.orders.prices.pricing import quote

TEXT = {"type": "string"}


def of(one: Any, **more: Any) -> dict[str, Any]:
    """A schema with one property."""
    return {"type": "object", "properties": {"a": one}, **more}


def faults(
    properties: Any, answers: Any, *, partial: bool = False, fields: Any = (), **more: Any
) -> list[tuple[str, str]]:
    form = make(properties, fields, **more)
    s.check_form(form)
    return s.faults(form, answers, partial=partial)


# What a schema may be.


@pytest.mark.parametrize(
    "schema",
    [
        of(TEXT),
        {"type": "object"},
        of(TEXT, **{"$schema": p.DRAFT, "title": "A", "$comment": "c"}),
        of(TEXT, additionalProperties=False, required=["a"]),
        of({"type": "string", "title": "\\u0000"}),
        of({"type": "string", "minLength": 1, "maxLength": 9, "pattern": r"^\d{5}$"}),
        of({"type": "string", "enum": ["x", "y"], "examples": ["x"], "description": "d"}),
        of({"type": "number", "exclusiveMinimum": 0, "maximum": 1.5, "multipleOf": 0.01}),
        of({"type": "array", "items": TEXT, "uniqueItems": True, "maxItems": 5}),
        of({"type": "array", "prefixItems": [TEXT], "items": False}),
        of({"type": "array", "contains": {"const": 1}, "minContains": 1, "maxContains": 2}),
        of({"type": "object", "properties": {"b": TEXT}, "additionalProperties": TEXT}),
        of({"$ref": "#/$defs/x"}, **{"$defs": {"x": {"$ref": "#/$defs/y"}, "y": TEXT}}),
        of(TEXT, **{"if": {"required": ["a"]}, "then": {"properties": {"a": True}}, "else": True}),
        of(TEXT, dependentRequired={"a": ["a"]}, dependentSchemas={"a": {"required": ["a"]}}),
        of(TEXT, allOf=[{"anyOf": [{"required": ["a"]}, {"not": {"required": ["a"]}}]}]),
    ],
)
def test_the_profile_takes(schema: Any) -> None:
    s.check(schema)
    Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize(
    "keyword",
    [
        *("$id", "$anchor", "$dynamicRef", "$dynamicAnchor", "$vocabulary", "unevaluatedItems"),
        *("unevaluatedProperties", "patternProperties", "propertyNames", "contentEncoding"),
        *("contentMediaType", "contentSchema", "default", "deprecated", "readOnly", "definitions"),
        *("dependencies", "additionalItems", "nullable", "minimumm", "$schema", "$defs"),
    ],
)
def test_every_other_keyword_is_refused_by_its_name(keyword: str) -> None:
    with pytest.raises(Invalid, match=rf"not supported: {re.escape(keyword)}$") as caught:
        s.check(of({"type": "array", "items": {keyword: {}}}))
    assert caught.value.field == "schema.properties.a.items"


def test_a_keyword_that_is_no_word_is_not_repeated() -> None:
    with pytest.raises(Invalid, match=r"not supported: \?$"):
        s.check(of({"Ann Ö, 1 rue de la Paix": 1}))


@pytest.mark.parametrize("keyword", ["enum", "const", "minProperties", "maximum", "pattern"])
def test_about_all_answers_only_what_says_which_belong_together(keyword: str) -> None:
    with pytest.raises(Invalid, match="about the answers as a whole"):
        s.check(of(TEXT, allOf=[{keyword: 1}]))


def test_a_definition_about_all_answers_is_one_too() -> None:
    s.check(of(TEXT, **{"allOf": [{"$ref": "#/$defs/r"}], "$defs": {"r": {"required": ["a"]}}}))
    with pytest.raises(Invalid, match="about the answers as a whole"):
        s.check(of(TEXT, **{"allOf": [{"$ref": "#/$defs/r"}], "$defs": {"r": {"const": 1}}}))


@pytest.mark.parametrize(
    ("path", "schema"),
    [
        ("schema", None),
        ("schema", True),
        ("schema", []),
        ("schema", {"type": "array"}),
        ("schema", {"properties": {}}),
        ("schema.$schema", of(TEXT, **{"$schema": "http://json-schema.org/draft-07/schema#"})),
        ("schema.additionalProperties", of(TEXT, additionalProperties=True)),
        ("schema.$defs", of(TEXT, **{"$defs": []})),
        ("schema.$defs", of(TEXT, **{"$defs": {"a b": TEXT}})),
        ("schema.$defs.x", of(TEXT, **{"$defs": {"x": {"nonsense": 1}}})),
        ("schema.properties", {"type": "object", "properties": []}),
        ("schema.properties", {"type": "object", "properties": {"Ann Ö": TEXT}}),
        ("schema.properties", {"type": "object", "properties": {f"f{n}": {} for n in range(101)}}),
        ("schema.properties.a", of(1)),
        ("schema.properties.a.type", of({"type": "text"})),
        ("schema.properties.a.type", of({"type": []})),
        ("schema.properties.a.type", of({"type": ["string", "string"]})),
        ("schema.properties.a.type", of({"type": [["string"]]})),
        ("schema.properties.a.enum", of({"enum": []})),
        ("schema.properties.a.enum", of({"enum": ["x"] * 501})),
        ("schema.properties.a.enum", of({"enum": [["x"]]})),
        ("schema.properties.a.enum", of({"enum": ["x" * 201]})),
        ("schema.properties.a.const", of({"const": {}})),
        ("schema.properties.a.const", of({"const": 2**53})),
        ("schema.properties.a.examples", of({"examples": {}})),
        ("schema.properties.a.title", of({"title": 1})),
        ("schema.properties.a.minLength", of({"minLength": -1})),
        ("schema.properties.a.minLength", of({"minLength": True})),
        ("schema.properties.a.maxLength", of({"maxLength": 10_001})),
        ("schema.properties.a.maxItems", of({"maxItems": 101})),
        ("schema.properties.a.maximum", of({"maximum": "1"})),
        ("schema.properties.a.maximum", of({"maximum": 10**400})),
        ("schema.properties.a.minimum", of({"minimum": False})),
        ("schema.properties.a.multipleOf", of({"multipleOf": 0})),
        ("schema.properties.a.multipleOf", of({"multipleOf": 1e-10})),
        ("schema.properties.a.uniqueItems", of({"uniqueItems": 1})),
        ("schema.properties.a.format", of({"format": "regex"})),
        ("schema.properties.a.format", of({"format": ["date"]})),
        ("schema.properties.a.pattern", of({"pattern": 1})),
        ("schema.properties.a.pattern", of({"pattern": "x" * 501})),
        ("schema.properties.a.pattern", of({"pattern": "("})),
        ("schema.properties.a.pattern", of({"pattern": "(?=a)"})),
        ("schema.properties.a.pattern", of({"pattern": "(?<!a)b"})),
        ("schema.properties.a.pattern", of({"pattern": r"(a)\1"})),
        ("schema.properties.a.pattern", of({"pattern": r"^[\pL ]{1,200}$"})),
        ("schema.properties.a.allOf", of({"allOf": []})),
        ("schema.properties.a.allOf", of({"allOf": {}})),
        ("schema.properties.a.allOf.0", of({"allOf": [1]})),
        ("schema.properties.a.items", of({"items": [TEXT]})),
        ("schema.properties.a.required", of({"required": "b"})),
        ("schema.properties.a.required", of({"required": ["b", "b"]})),
        ("schema.properties.a.required", of({"required": [1]})),
        ("schema.properties.a.dependentRequired.b", of({"dependentRequired": {"b": "c"}})),
        ("schema.properties.a.$ref", of({"$ref": "#/properties/a"})),
        ("schema.properties.a.$ref", of({"$ref": "https://example.org/"})),
        ("schema.properties.a.$ref", of({"$ref": "#"})),
        ("schema.properties.a.$ref", of({"$ref": "#/$defs/none"})),
        ("schema.properties.a.$ref", of({"$ref": 1})),
        (
            "schema.$defs.x.$ref",
            of({"$ref": "#/$defs/x"}, **{"$defs": {"x": {"$ref": "#/$defs/x"}}}),
        ),
        ("schema.$defs.x.$ref", of(TEXT, **{"$defs": {"x": {"$ref": "#/$defs/x"}}})),
        ("schema.type", {"type": ["object"]}),
        ("schema", of({"const": float("nan")})),
        ("schema", of({"maximum": float("inf")})),
        ("schema", of({"title": "a\0b"})),
        ("schema", of({"title": "\\\0"})),
        ("schema", of({"title": "\ud800"})),
        ("schema", of({"description": "x" * (256 << 10)})),
        ("schema", of({"enum": [{1, 2}]})),
    ],
)
def test_what_is_refused_is_named(path: str, schema: Any) -> None:
    with pytest.raises(Invalid) as caught:
        s.check(schema)
    if path == "schema.type":
        path = "schema"
    assert caught.value.field == path


@pytest.mark.parametrize(
    ("path", "more"),
    [
        ("schema.required", {"schema_required": ["b"]}),
        ("schema.then.properties", {"schema_if": True, "schema_then": {"properties": {"b": TEXT}}}),
        ("schema.dependentRequired.b", {"schema_dependentRequired": {"b": ["a"]}}),
        ("schema.dependentRequired.a", {"schema_dependentRequired": {"a": ["b"]}}),
        ("schema.dependentSchemas.b", {"schema_dependentSchemas": {"b": True}}),
        ("schema.not.required", {"schema_not": {"required": ["b"]}}),
    ],
)
def test_a_rule_about_what_is_no_field_is_a_mistake(path: str, more: Any) -> None:
    with pytest.raises(Invalid, match="no field with a value") as caught:
        s.check_form(make({"a": TEXT}, **more))
    assert caught.value.field == path


@pytest.mark.parametrize(
    "one", [{}, True, {"type": ["string", "null"]}, {"enum": ["x"]}, {"type": "null"}]
)
def test_a_field_says_of_which_type_it_is(one: Any) -> None:
    with pytest.raises(Invalid, match="must say its type"):
        s.check_form(make({"a": one}))


def test_a_schema_that_is_no_json_is_refused() -> None:
    for text in ("{", "[" * 100_000, "1" * 5_000):
        form = make({"a": TEXT})
        object.__setattr__(form, "schema", text)
        with pytest.raises(Invalid, match="schema"):
            s.check_form(form)


# Answers.


@pytest.mark.parametrize(
    ("one", "good", "bad"),
    [
        (TEXT, ["", "x", "x" * 10_000], [1, None, True, [], {}, "x" * 10_001]),
        ({"type": "integer"}, [1, -1, 2.0, 2**53 - 1], [1.5, "1", True, None, 2**53, 1e300]),
        ({"type": "number"}, [1, 0.5, -1e10], ["1", False, float("inf"), float("nan")]),
        ({"type": "boolean"}, [True, False], [0, 1, "true", None]),
        ({"type": "string", "enum": ["x", "y"]}, ["x"], ["z", "X", 1]),
        ({"type": "integer", "enum": [0, 1]}, [0, 1, 1.0], [2, True, False]),
        ({"type": "number", "minimum": 1, "exclusiveMaximum": 2}, [1, 1.99], [0.99, 2]),
        ({"type": "number", "exclusiveMinimum": 1, "maximum": 2}, [1.01, 2], [1, 2.01]),
        ({"type": "number", "multipleOf": 0.1}, [0, 0.3, 1.1, 4.35e1, 7], [0.35, 1e-9]),
        ({"type": "number", "multipleOf": 0.01}, [19.99, 1.15, 2**53 - 1], [0.001]),
        ({"type": "integer", "multipleOf": 5}, [0, -5, 10], [1, 2**53 - 1]),
        ({"type": "string", "minLength": 2, "maxLength": 3}, ["ab", "äöü"], ["a", "abcd"]),
        ({"type": "string", "pattern": "^[A-Z]{2}$"}, ["AB"], ["AB\n", "ab", "ABC"]),
        ({"type": "string", "pattern": r"^\pL+$", "maxLength": 50}, ["Žofie"], ["a1", ""]),
        ({"type": "array", "maxItems": 2}, [[], [1, "x"]], [[1, 2, 3], {}, "x"]),
        ({"type": "array", "items": TEXT}, [["x"]], [[1], ["x"] * 101]),
        (
            {"type": "array", "uniqueItems": True},
            [[1, True, "1"], [[1], [2]]],
            [[1, 1.0], [{"b": 1, "c": 2}, {"c": 2, "b": 1}]],
        ),
        ({"type": "array", "contains": {"const": "x"}}, [["x", 1]], [[], [1]]),
        ({"type": "object", "required": ["b"]}, [{"b": 1}], [{}, {"c": 1}]),
        ({"type": "object", "additionalProperties": False}, [{}], [{"b": 1}]),
        ({"type": "object", "dependentRequired": {"b": ["c"]}}, [{}, {"b": 1, "c": 1}], [{"b": 1}]),
        (
            {"type": "string", "anyOf": [{"const": "x"}, {"minLength": 5}]},
            ["x", "long enough"],
            ["y"],
        ),
        ({"type": "string", "not": {"const": "x"}}, ["y"], ["x"]),
        (
            {"type": "string", "format": "date"},
            ["2024-02-29"],
            ["2023-02-29", "2023-2-1", "20230201", "2023-02-01T00:00:00Z", "2023-02-0\u0661", ""],
        ),
        (
            {"type": "string", "format": "date-time"},
            ["2026-11-23T09:00:00Z", "2026-11-23t09:00:00.123456789+01:00", "2026-11-23 09:00:00z"],
            [
                "2026-11-23",
                "2026-11-23T09:00:00",
                "2026-11-23T24:00:00Z",
                "2026-11-23T09:00Z",
                "2026-11-23T09:00:00+25:00",
            ],
        ),
        (
            {"type": "string", "format": "time"},
            ["09:00:00Z", "23:59:59.5-05:00"],
            ["9:00:00Z", "09:00:00", "24:00:00Z", "09:00:00Z\n"],
        ),
        (
            {"type": "string", "format": "email"},
            ["a@b.example", "a.b+c@x-y.example"],
            [
                "a",
                "a@",
                "@b",
                "a b@c.example",
                "a@b..c",
                "a@-b.example",
                "a@b\n",
                "x" * 65 + "@b.c",
                "a@" + "b" * 300,
            ],
        ),
        (
            {"type": "string", "format": "phone"},
            ["+33123456789", "+1 (201) 555-0123"],
            [
                "0123456789",
                "+33",
                "+999123456789",
                "call +33123456789",
                "+33 1 23 45 67 89 ext 5",
                "+",
            ],
        ),
        (
            {"type": "string", "format": "uri"},
            ["https://example.org/a?b=%20#c", "mailto:a@b.c"],
            ["example.org", "https://a b", "https://%zz", "1a:b", "https:"],
        ),
        (
            {"type": "string", "format": "uuid"},
            ["7b1c9a52-0d7e-4f4e-9d61-2f3f1c1b8a10"],
            ["7b1c9a520d7e4f4e9d612f3f1c1b8a10", "7b1c9a52-0d7e-4f4e-9d61-2f3f1c1b8a1g"],
        ),
    ],
)
def test_one_answer(one: Any, good: list[Any], bad: list[Any]) -> None:
    for partial in (False, True):
        for answer in good:
            assert faults({"a": one}, {"a": answer}, partial=partial) == [], answer
        for answer in bad:
            assert faults({"a": one}, {"a": answer}, partial=partial), answer


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("answer", [1, None, [], {}])
def test_a_format_is_of_texts(format: str, answer: Any) -> None:
    one = {"type": "array", "items": {"format": format}}
    assert faults({"a": one}, {"a": [answer]}) == []


@pytest.mark.parametrize(
    ("one", "answer", "field", "reason"),
    [
        (TEXT, 1, "a", "must be text"),
        ({"type": "integer"}, "x", "a", "must be a whole number"),
        ({"type": "string", "enum": ["x", "y"]}, "z", "a", "must be one of x, y"),
        ({"type": "boolean", "const": True}, False, "a", "must be true"),
        ({"type": "number", "minimum": 1}, 0, "a", "must be at least 1"),
        ({"type": "number", "maximum": 1}, 2, "a", "must be at most 1"),
        ({"type": "number", "exclusiveMinimum": 1}, 1, "a", "must be above 1"),
        ({"type": "number", "exclusiveMaximum": 1}, 1, "a", "must be below 1"),
        ({"type": "number", "multipleOf": 0.1}, 0.15, "a", "must be a multiple of 0.1"),
        ({"type": "string", "minLength": 2}, "x", "a", "must have at least 2 characters"),
        ({"type": "string", "maxLength": 2}, "xyz", "a", "must have at most 2 characters"),
        ({"type": "string", "pattern": "^[0-9]+$"}, "x", "a", "must match ^[0-9]+$"),
        ({"type": "string", "format": "date"}, "x", "a", "must be a day such as 2026-11-23"),
        ({"type": "array", "minItems": 1}, [], "a", "must have at least 1"),
        ({"type": "array", "maxItems": 1}, [1, 2], "a", "must have at most 1"),
        ({"type": "array", "uniqueItems": True}, [1, 1], "a", "must have each only once"),
        ({"type": "array", "contains": {"const": 1}}, [], "a", "lacks what must be in it"),
        (
            {"type": "array", "contains": {"const": 1}, "maxContains": 1},
            [1, 1],
            "a",
            "must have at most 1",
        ),
        ({"type": "array", "items": False}, [1], "a.0", "must not be given"),
        ({"type": "array", "items": TEXT}, ["x", 1], "a.1", "must be text"),
        (
            {"type": "object", "properties": {"b": {"required": ["c"]}}},
            {"b": {}},
            "a.b.c",
            "is missing",
        ),
        ({"type": "object", "additionalProperties": TEXT}, {"Ann Ö": 1}, "a.?", "must be text"),
        (
            {"type": "object", "additionalProperties": False},
            {"b": 1},
            "a.b",
            "must not be given",
        ),
        ({"type": "object", "properties": {"b": False}}, {"b": 1}, "a.b", "must not be given"),
        (
            {"type": "string", "oneOf": [True, True]},
            "x",
            "a",
            "does not go together as the form demands",
        ),
    ],
)
def test_a_fault_says_where_and_why(one: Any, answer: Any, field: str, reason: str) -> None:
    assert faults({"a": one}, {"a": answer}) == [(field, reason)]


def test_faults_are_in_the_order_of_the_fields_and_each_once() -> None:
    found = faults(
        {"b": TEXT, "a": {"type": "integer", "minimum": 0, "allOf": [{"minimum": 0}]}},
        {"a": -1, "b": 1, "zz": 1, "Ann Ö": 1},
        fields=[part("a"), part("b")],
    )
    assert found == [
        ("a", "must be at least 0"),
        ("b", "must be text"),
        ("zz", "is no field of the form"),
        ("?", "is no field of the form"),
    ]


def test_an_address_is_no_answer() -> None:
    found = faults({"a": TEXT}, {"to": "x"}, fields=[part("a"), part("to", kind="address")])
    assert found == [("to", "is an address, and given as such")]


def test_of_a_draft_nothing_is_missing() -> None:
    more: Any = {"schema_required": ["a", "b"], "schema_dependentRequired": {"a": ["b"]}}
    properties = {"a": TEXT, "b": TEXT}
    assert faults(properties, {"a": "x"}, partial=True, **more) == []
    assert faults(properties, {"a": "x"}, **more) == [("b", "is missing")]
    assert faults(properties, {}, **more) == [("a", "is missing"), ("b", "is missing")]
    assert faults(properties, {"a": 1}, partial=True, **more) == [("a", "must be text")]


# What is hidden.

ROUTER = {
    "router": {"type": "string", "enum": ["own", "bought"]},
    "count": {"type": "integer", "minimum": 1},
}
ROUTER_FIELDS = [part("router"), part("count", shown_when=when("router", "bought"))]


@pytest.mark.parametrize(
    "more",
    [
        {"schema_required": ["router", "count"]},
        {"schema_allOf": [{"required": ["count"]}], "schema_required": ["router"]},
        {
            "schema_if": {"properties": {"router": {"const": "bought"}}},
            "schema_then": {"required": ["count"]},
            "schema_required": ["router"],
        },
        {"schema_dependentRequired": {"router": ["count"]}, "schema_required": ["router"]},
        {
            "schema_dependentSchemas": {"router": {"required": ["count"]}},
            "schema_required": ["router"],
        },
        {
            "schema_$defs": {"r": {"required": ["router", "count"]}},
            "schema_$ref": "#/$defs/r",
        },
    ],
)
def test_required_is_where_it_is_asked(more: Any) -> None:
    def found(answers: Any) -> Any:
        return faults(ROUTER, answers, fields=ROUTER_FIELDS, **more)

    assert found({"router": "own"}) == []
    assert found({"router": "bought"}) == [("count", "is missing")]
    assert found({"router": "bought", "count": 2}) == []
    assert ("router", "is missing") in found({})


def test_what_is_hidden_must_not_be_answered_in_the_end() -> None:
    answers = {"router": "own", "count": 2}
    found = faults(ROUTER, answers, fields=ROUTER_FIELDS)
    assert found == [("count", "must not be answered: it is not asked, because of another answer")]
    assert faults(ROUTER, answers, fields=ROUTER_FIELDS, partial=True) == []


def test_a_condition_sees_a_hidden_field_as_one_without_an_answer() -> None:
    rule = {
        "schema_if": {"required": ["count"]},
        "schema_then": {"required": ["note"]},
        "schema_not": {"required": ["note", "count"], "properties": {"note": {"const": "no"}}},
    }
    fields = [*ROUTER_FIELDS, part("note")]

    def found(answers: Any) -> Any:
        return faults(ROUTER | {"note": TEXT}, answers, fields=fields, **rule)

    assert found({"router": "own"}) == []
    assert found({"router": "bought", "count": 1}) == [("note", "is missing")]
    assert found({"router": "bought", "count": 1, "note": "yes"}) == []
    assert found({"router": "bought", "count": 1, "note": "no"}) == [
        ("answers", "does not go together as the form demands")
    ]


@pytest.mark.parametrize("keyword", ["anyOf", "oneOf"])
def test_no_choice_requires_what_may_be_hidden(keyword: str) -> None:
    choice: Any = {f"schema_{keyword}": [{"required": ["count"]}, {"required": ["router"]}]}
    with pytest.raises(Invalid, match="requires count as a choice") as caught:
        s.check_form(make(ROUTER, ROUTER_FIELDS, **choice))
    assert caught.value.field == f"schema.{keyword}.0.required"
    s.check_form(make(ROUTER, [part("router"), part("count")], **choice))


def test_a_choice_within_a_condition_is_a_condition() -> None:
    rule: Any = {"schema_if": {"anyOf": [{"required": ["count"]}]}, "schema_then": True}
    s.check_form(make(ROUTER, ROUTER_FIELDS, **rule))


def test_defaults_are_of_what_is_asked() -> None:
    form = make(
        {"a": TEXT, "b": TEXT, "c": TEXT, "d": {"type": "boolean"}},
        [
            part("a", default="x"),
            part("b", default="y", shown_when=when("a", "x")),
            part("c", shown_when=when("b", "y"), default="z"),
            part("d", default=False),
        ],
    )
    s.check_form(form)
    all_of_them = {"a": "x", "b": "y", "c": "z", "d": False}
    assert s.with_defaults(form, {}) == all_of_them
    assert s.with_defaults(form, {"a": "other"}) == {"a": "other", "d": False}
    assert s.with_defaults(form, {"b": "other", "d": True}) == {"a": "x", "b": "other", "d": True}
    assert s.faults(form, all_of_them, partial=False) == []


# The shipped forms.


def test_there_are_four() -> None:
    names = ("internet-connection", "loan-application", "tariff-change", "taxi")
    assert shipped_names() == names
    assert set(ANSWERS) == set(names)


@pytest.mark.parametrize("name", ANSWERS)
def test_a_shipped_form_is_right_and_takes_right_answers(name: str) -> None:
    form = form_of(shipped(name))
    s.check_form(form)
    Draft202012Validator.check_schema(json.loads(form.schema))
    answers = s.with_defaults(form, ANSWERS[name])
    assert s.faults(form, answers, partial=False) == []
    assert s.faults(form, s.with_defaults(form, {}), partial=True) == []


@pytest.mark.parametrize(
    ("name", "other", "field"),
    [
        ("taxi", {"passengers": 5}, "passengers"),
        ("taxi", {"passengers": 5, "vehicle": "large"}, ""),
        ("taxi", {"pickup_time": "now"}, "pickup_at"),
        ("taxi", {"payment": "account"}, "account"),
        ("taxi", {"telephone": "112"}, "telephone"),
        ("taxi", {"kilometres": 0.35}, "kilometres"),
        ("loan-application", {"amount": 80_000}, "amount"),
        ("loan-application", {"amount": 40_000}, "email"),
        ("loan-application", {"employment": "student"}, "amount"),
        ("loan-application", {"purpose": "other"}, "purpose_text"),
        ("loan-application", {"other_loans": True}, "other_loans_rate"),
        ("internet-connection", {"installation": "self"}, "plan"),
        ("internet-connection", {"router": "own"}, "routers"),
        ("internet-connection", {"iban": "1"}, "iban"),
        ("tariff-change", {"to_tariff": "start"}, "answers"),
        ("tariff-change", {"to_tariff": "unlimited", "extra_gigabytes": 5}, "extra_gigabytes"),
        ("tariff-change", {"starts_on": "1 December"}, "starts_on"),
    ],
)
def test_and_no_wrong_ones(name: str, other: Any, field: str) -> None:
    form = form_of(shipped(name))
    found = s.faults(form, ANSWERS[name] | other, partial=False)
    assert (field in {one for one, _ in found}) if field else found == []


@pytest.mark.parametrize(
    ("name", "total", "monthly"),
    [
        # 3.90 + 31.4 x 2.20, and 15 % for the night.
        ("taxi", "83.93", "0.00"),
        ("loan-application", "0.00", "0.00"),
        # (24.00 + 59.00 + 2 x 99.00) and (24.99 + 2.50), each with 20 % VAT.
        ("internet-connection", "337.20", "32.99"),
        # 9.90 once; 24.99 + 2 x 2.50 every month.
        ("tariff-change", "9.90", "29.99"),
    ],
)
def test_and_costs_what_it_says(name: str, total: str, monthly: str) -> None:
    form = form_of(shipped(name))
    answers = form.asked(s.with_defaults(form, ANSWERS[name]))
    found = quote(
        form.prices,
        answers,
        [],
        product_id=name,
        currency=form.currency,
        digits=form.digits,
        at=0,
    )
    assert (str(found.total), str(found.monthly)) == (total, monthly)
