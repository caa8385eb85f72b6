"""What a form must be, and its versions. Tables."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from eventkit.decider import Invalid, NotFound, Rejected, fold
from services.orders.forms import form as f
from services.orders.forms.schema import check_form
from services.orders.forms.tests.support import make, part, same, when

PROPERTIES = {
    "plan": {"type": "string", "enum": ["fibre", "dsl"]},
    "router": {"type": "string", "enum": ["own", "bought"]},
    "count": {"type": "integer", "minimum": 1, "maximum": 5},
    "fixed": {"type": "boolean"},
    "note": {"type": "string", "maxLength": 100},
}


def full(**more: Any) -> f.Form:
    """With something of everything."""
    given: dict[str, Any] = {
        "fields": [
            part("plan", reported=True),
            part("where", kind="address", required=True, confirm=True, countries=["FR", "BE"]),
            part("router", default="own"),
            part("count", default=1, shown_when=when("router", "bought")),
            part("fixed", default=False),
            part("note"),
        ],
        "currency": "EUR",
        "prices": [
            {"rule_id": "setup", "label": "Set-up", "amount": "49.00"},
            {
                "rule_id": "router",
                "label": "Router",
                "when": when("router", "bought"),
                "amount": "99.00",
                "quantity": "count",
            },
            {
                "rule_id": "plan",
                "label": "Plan",
                "period": "monthly",
                "field": "plan",
                "amounts": {"fibre": "29.90", "dsl": "19.90"},
            },
            {"rule_id": "vat", "label": "VAT", "percent": "20", "of": ["setup", "router"]},
        ],
        "visit": {
            "skill": "install",
            "minutes": 120,
            "address": "where",
            "when": when("plan", "fibre"),
        },
        "checklist": [
            {"point_id": "visit", "text": "The crew comes", "says": "visit"},
            {"point_id": "amount", "text": "You pay", "says": "total"},
            {"point_id": "fixed", "text": "Yours", "when": when("fixed", True)},
        ],
    }
    return make(PROPERTIES, **(given | more))


def test_one_with_everything_is_right() -> None:
    check_form(full())


def test_it_stays_the_same_by_way_of_its_document() -> None:
    assert same(full()) == full()


def fields_with(number: int, **more: Any) -> list[dict[str, Any]]:
    fields = [
        part("plan"),
        part("where", kind="address"),
        part("router"),
        part("count"),
        part("fixed"),
        part("note"),
    ]
    fields[number] |= more
    return fields


def price(**more: Any) -> dict[str, Any]:
    return {"rule_id": "one", "label": "One", **more}


FIXED = price(amount="1.00")


@pytest.mark.parametrize(
    ("field", "more"),
    [
        ("title", {"title": " "}),
        ("title", {"title": "a\nb"}),
        ("title", {"title": "x" * 201}),
        ("title", {"title": "a\0b"}),
        ("fields.0.name", {"fields": fields_with(0, name="Plan")}),
        ("fields.2.name", {"fields": fields_with(2, name="plan")}),
        ("fields.0.label", {"fields": fields_with(0, label="")}),
        ("fields.0.help", {"fields": fields_with(0, help="x" * 2001)}),
        ("fields.0.help", {"fields": fields_with(0, help="\ud800")}),
        ("fields.1", {"fields": fields_with(1, default="x")}),
        ("fields.1", {"fields": fields_with(1, reported=True)}),
        ("fields.1.countries", {"fields": fields_with(1, countries=["fr"])}),
        ("fields.1.countries", {"fields": fields_with(1, countries=["FR", "FR"])}),
        ("fields.0", {"fields": fields_with(0, required=True)}),
        ("fields.0", {"fields": fields_with(0, confirm=True)}),
        ("fields.0", {"fields": fields_with(0, countries=["FR"])}),
        ("fields.0.default", {"fields": fields_with(0, default="cable")}),
        ("fields.3.default", {"fields": fields_with(3, default=6)}),
        ("fields.4.default", {"fields": fields_with(4, default=0)}),
        ("fields.5.reported", {"fields": fields_with(5, reported=True)}),
        ("fields.0.shown_when.field", {"fields": fields_with(0, shown_when=when("router", "own"))}),
        ("fields.2.shown_when.field", {"fields": fields_with(2, shown_when=when("router", "own"))}),
        ("fields.2.shown_when.field", {"fields": fields_with(2, shown_when=when("where", "FR"))}),
        ("fields.2.shown_when.field", {"fields": fields_with(2, shown_when=when("none", "x"))}),
        ("fields.2.shown_when.is_in", {"fields": fields_with(2, shown_when=when("plan"))}),
        ("fields.2.shown_when.is_in", {"fields": fields_with(2, shown_when=when("plan", "no"))}),
        (
            "fields.2.shown_when.is_in",
            {"fields": fields_with(2, shown_when=when("plan", "dsl", "dsl"))},
        ),
        ("fields.4.shown_when.is_in", {"fields": fields_with(4, shown_when=when("count", True))}),
        ("fields.5.shown_when.is_in", {"fields": fields_with(5, shown_when=when("fixed", 1))}),
        ("currency", {"currency": "", "prices": [FIXED]}),
        ("currency", {"currency": "EUR", "prices": []}),
        ("prices.1.rule_id", {"prices": [FIXED, FIXED]}),
        ("prices.0.rule_id", {"prices": [FIXED | {"rule_id": "One"}]}),
        ("prices.0.label", {"prices": [FIXED | {"label": ""}]}),
        ("prices.0", {"prices": [price()]}),
        ("prices.0", {"prices": [price(amount="1", percent="2", of=["x"])]}),
        ("prices.0", {"prices": [price(amount="1", field="plan", amounts={"dsl": "1"})]}),
        ("prices.0.amount", {"prices": [price(amount="1.001")]}),
        ("prices.0.amount", {"prices": [price(amount="-1")]}),
        ("prices.0.amount", {"prices": [price(amount="Infinity")]}),
        ("prices.0.amount", {"prices": [price(amount="1000000000001")]}),
        ("prices.0.amount", {"currency": "JPY", "prices": [price(amount="1.5")]}),
        ("prices.0.amount", {"prices": [price(amount="0.0000001", quantity="count")]}),
        ("prices.0.when.field", {"prices": [FIXED | {"when": when("where", "x")}]}),
        ("prices.0.when.is_in", {"prices": [FIXED | {"when": when("fixed", "true")}]}),
        ("prices.0.field", {"prices": [price(field="where", amounts={"x": "1"})]}),
        ("prices.0.amounts", {"prices": [price(field="plan", amounts={})]}),
        ("prices.0.amounts", {"prices": [price(field="plan", amounts={"cable": "1"})]}),
        ("prices.0.amounts", {"prices": [price(field="count", amounts={"6": "1"})]}),
        ("prices.0.amounts", {"prices": [price(field="count", amounts={"01": "1"})]}),
        ("prices.0.amounts", {"prices": [price(field="fixed", amounts={"yes": "1"})]}),
        ("prices.0.amounts", {"prices": [price(field="plan", amounts={"dsl": "0.005"})]}),
        ("prices.0.field", {"prices": [price(amounts={"dsl": "1"})]}),
        ("prices.0.quantity", {"prices": [FIXED | {"quantity": "plan"}]}),
        ("prices.0.quantity", {"prices": [FIXED | {"quantity": "none"}]}),
        (
            "prices.1.quantity",
            {
                "prices": [
                    FIXED,
                    {**price(percent="1", of=["one"]), "rule_id": "two", "quantity": "count"},
                ]
            },
        ),
        ("prices.0.of", {"prices": [price(percent="20", of=["one"])]}),
        ("prices.0.of", {"prices": [price(percent="20")]}),
        ("prices.0.of", {"prices": [FIXED | {"of": ["two"]}]}),
        ("prices.0.percent", {"prices": [price(percent="1001", of=["x"])]}),
        ("prices.0.percent", {"prices": [price(percent="NaN", of=["x"])]}),
        (
            "prices.1.of",
            {
                "prices": [
                    FIXED,
                    {
                        "rule_id": "vat",
                        "label": "VAT",
                        "percent": "20",
                        "of": ["one"],
                        "period": "monthly",
                    },
                ]
            },
        ),
        ("visit.address", {"visit": {"skill": "s", "minutes": 60, "address": "plan"}}),
        ("visit.minutes", {"visit": {"skill": "s", "minutes": 50, "address": ""}}),
        ("visit.minutes", {"visit": {"skill": "s", "minutes": 0, "address": ""}}),
        ("visit.minutes", {"visit": {"skill": "s", "minutes": 1455, "address": ""}}),
        ("visit.skill", {"visit": {"skill": "", "minutes": 60, "address": ""}}),
        (
            "visit.when.is_in",
            {"visit": {"skill": "s", "minutes": 60, "address": "", "when": when("plan", "x")}},
        ),
        ("checklist.0.text", {"checklist": [{"point_id": "a", "text": ""}]}),
        ("checklist.0.point_id", {"checklist": [{"point_id": "A", "text": "a"}]}),
        ("checklist.1.point_id", {"checklist": [{"point_id": "a", "text": "a"}] * 2}),
        (
            "checklist.0.when.is_in",
            {"checklist": [{"point_id": "a", "text": "a", "when": when("plan", "x")}]},
        ),
        (
            "checklist.0.says",
            {
                "checklist": [{"point_id": "a", "text": "a", "says": "total"}],
                "prices": [],
                "currency": "",
            },
        ),
        (
            "checklist.0.says",
            {"checklist": [{"point_id": "a", "text": "a", "says": "visit"}], "visit": None},
        ),
        ("draft_minutes", {"draft_minutes": 4}),
        ("draft_minutes", {"draft_minutes": 50_000}),
        ("after_sale_days", {"after_sale_days": -1}),
        ("visit_grace_minutes", {"visit_grace_minutes": -1}),
        ("cancel_reasons", {"cancel_reasons": []}),
        ("cancel_reasons.1", {"cancel_reasons": ["a", "a"]}),
        ("after_sale_reasons.0", {"after_sale_reasons": ["A"]}),
        ("after_sale_reasons", {"after_sale_reasons": [str(n) for n in range(101)]}),
    ],
)
def test_what_no_form_can_have_is_refused_by_its_field(field: str, more: dict[str, Any]) -> None:
    with pytest.raises(Invalid) as caught:
        check_form(full(**more))
    assert caught.value.field == field


def test_a_field_must_be_a_property_and_the_other_way_round() -> None:
    with pytest.raises(Invalid, match=r"schema.properties.more: is no field"):
        check_form(make({"a": {"type": "string"}, "more": {"type": "string"}}, [part("a")]))
    with pytest.raises(Invalid, match=r"fields.1.name: is no property"):
        check_form(make({"a": {"type": "string"}}, [part("a"), part("b")]))
    properties = {"a": {"type": "string"}, "b": {"type": "string"}}
    with pytest.raises(Invalid, match=r"schema.properties.b: is no field with a value"):
        check_form(make(properties, [part("a"), part("b", kind="address")]))


def test_a_price_for_one_may_be_finer_than_what_is_paid() -> None:
    check_form(full(prices=[price(amount="0.2516", quantity="count")], checklist=[]))


@pytest.mark.parametrize(
    "one",
    [
        {"type": "integer"},
        {"type": "number", "minimum": -1},
        {"type": "string"},
        {"type": "boolean"},
    ],
)
def test_a_quantity_is_a_number_that_cannot_be_below_zero(one: Any) -> None:
    with pytest.raises(Invalid, match=r"prices.0.quantity"):
        check_form(make({"n": one}, currency="EUR", prices=[price(amount="1.00", quantity="n")]))


@pytest.mark.parametrize(
    "one", [{"type": "number", "exclusiveMinimum": 0}, {"type": "integer", "minimum": 0}]
)
def test_it_may_be_zero_or_have_decimals(one: Any) -> None:
    check_form(make({"n": one}, currency="EUR", prices=[price(amount="1.00", quantity="n")]))


def test_the_address_of_a_visit_is_asked_for_wherever_there_is_one() -> None:
    def shown(*field: Any) -> f.Form:
        where = part("where", kind="address", shown_when=when(*field) if field else None)
        return full(fields=[part("plan"), where, *(part(name) for name in list(PROPERTIES)[1:])])

    for form in (shown(), shown("plan", "fibre")):
        check_form(form)
    with pytest.raises(Invalid, match=r"visit.address: is not asked for"):
        check_form(shown("plan", "dsl"))


def test_a_currency_that_is_none_is_refused() -> None:
    with pytest.raises(Invalid, match="currency"):
        full(currency="XXQ")


def test_the_currency_says_how_many_digits_there_are() -> None:
    assert full(currency="KWD").digits == 3


# What is asked.


def test_what_is_shown_because_of_a_hidden_answer_is_hidden() -> None:
    text = {"type": "string"}
    form = make(
        {"a": text, "b": text, "c": text},
        [part("a"), part("b", shown_when=when("a", "x")), part("c", shown_when=when("b", "x"))],
    )
    assert [one.name for one in form.shown({"a": "x", "b": "x"})] == ["a", "b", "c"]
    assert [one.name for one in form.shown({"a": "y", "b": "x"})] == ["a"]
    assert form.asked({"a": "y", "b": "x", "c": "x"}) == {"a": "y"}


def test_a_visit_and_points_depend_on_answers() -> None:
    form = full()
    assert form.visit_for({"plan": "fibre"}) == form.visit
    assert form.visit_for({"plan": "dsl"}) is None
    assert form.visit_for({}) is None
    assert [one.point_id for one in form.points_for({"plan": "fibre"})] == ["visit", "amount"]
    assert [one.point_id for one in form.points_for({"fixed": True})] == ["amount", "fixed"]
    assert [one.point_id for one in form.points_for({"fixed": 1})] == ["amount"]


def test_addresses_are_asked_for_like_everything_else() -> None:
    form = make(
        {"how": {"type": "string"}},
        [part("how"), part("to", kind="address", shown_when=when("how", "by post"))],
    )
    assert form.addresses_for({}) == ()
    assert [one.name for one in form.addresses_for({"how": "by post"})] == ["to"]
    assert form.field("to") == form.fields[1]
    assert form.field("none") is None


# Its versions.

FORM = full()
OTHER = replace(FORM, title="Other")
PUBLISHED = f.FormPublished(1, FORM)


@pytest.mark.parametrize(
    ("given", "command", "then"),
    [
        ([], f.PublishForm("p", FORM), [PUBLISHED]),
        ([PUBLISHED], f.PublishForm("p", FORM), []),
        ([PUBLISHED], f.PublishForm("p", OTHER), [f.FormPublished(2, OTHER)]),
        (
            [PUBLISHED, f.FormPublished(2, OTHER)],
            f.PublishForm("p", FORM),
            [f.FormPublished(3, FORM)],
        ),
        ([PUBLISHED], f.RetireForm(), [f.FormRetired()]),
        ([PUBLISHED, f.FormRetired()], f.RetireForm(), []),
        ([PUBLISHED, f.FormRetired()], f.RestoreForm(), [f.FormRestored()]),
        ([PUBLISHED], f.RestoreForm(), []),
        ([PUBLISHED, f.FormRetired()], f.PublishForm("p", FORM), []),
    ],
)
def test_versions(given: list[f.Event], command: f.Command, then: list[f.Event]) -> None:
    state = fold(f.DECIDER, given)
    events = f.decide(command, state)
    assert events == then
    assert f.decide(command, fold(f.DECIDER, events, state)) == []


def test_a_retired_product_gets_no_new_version() -> None:
    with pytest.raises(Rejected, match="restore it first"):
        f.decide(f.PublishForm("p", OTHER), fold(f.DECIDER, [PUBLISHED, f.FormRetired()]))


@pytest.mark.parametrize("command", [f.RetireForm(), f.RestoreForm()])
def test_there_must_be_a_form(command: f.Command) -> None:
    with pytest.raises(NotFound):
        f.decide(command, f.Published())


def test_the_product_has_an_id() -> None:
    with pytest.raises(Invalid, match="product_id"):
        f.decide(f.PublishForm("a/b", FORM), f.Published())


def test_amounts_are_decimals() -> None:
    assert full().prices[0].amount == Decimal("49.00")
