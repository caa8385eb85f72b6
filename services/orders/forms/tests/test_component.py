"""Forms over HTTP, with real PostgreSQL behind them."""

from typing import Any

import httpx
import pytest

from eventkit.callers import Role
from eventkit.decider import NotFound, Rejected
from eventkit.eventstore import Cause
from services.orders.forms.codec import form_of
from services.orders.forms.schema import with_defaults
from services.orders.forms.service import CACHED, Forms, shipped
from services.orders.forms.tests.support import ANSWERS, Api, document, part, when

TEXT = {"type": "string"}
SIMPLE = document({"a": TEXT})
OTHER = SIMPLE | {"title": "Other"}


async def test_versions_are_published_and_never_change(api: Api) -> None:
    assert await api.publish("paper", SIMPLE) == 1
    assert await api.publish("paper", SIMPLE) == 1
    assert await api.publish("paper", OTHER) == 2
    assert await api.publish("paper", SIMPLE) == 3
    for version, title in ((1, "Test"), (2, "Other"), (3, "Test")):
        found = await api.ok("GET", f"/products/paper/forms/versions/{version}")
        assert (found["version"], found["form"]["title"]) == (version, title)
    current = await api.ok("GET", "/products/paper/forms")
    assert (current["version"], current["product_id"], current["retired"]) == (3, "paper", False)


async def test_what_is_shown_can_be_published_again(api: Api) -> None:
    for name in ANSWERS:
        await api.ok("POST", f"/forms/shipped/{name}")
        form = (await api.ok("GET", f"/products/{name}/forms"))["form"]
        assert await api.publish(name, form) == 1


@pytest.mark.parametrize("name", ANSWERS)
async def test_a_shipped_form_is_published_and_filled_in(api: Api, name: str) -> None:
    assert name in (await api.ok("GET", "/forms/shipped"))["names"]
    document = (await api.ok("GET", f"/forms/shipped/{name}"))["form"]
    assert form_of(document) == form_of(shipped(name))
    assert await api.ok("POST", f"/forms/shipped/{name}") == {"product_id": name, "version": 1}
    agent = api.as_(Role.AGENT)
    path = f"/products/{name}/forms/versions/1/faults"

    begun = await agent.ok("POST", path, {"answers": {}, "partial": True})
    assert begun["faults"] == []
    assert (await agent.ok("POST", path, {"answers": {}}))["faults"]

    answers = with_defaults(form_of(document), ANSWERS[name])
    done = await agent.ok("POST", path, {"answers": answers})
    assert done["faults"] == []
    asked = [field["name"] for field in done["fields"]]
    assert set(answers) <= set(asked)
    assert asked == [field["name"] for field in document["fields"] if field["name"] in asked]
    assert done["visit"] == (name == "internet-connection")
    assert done["points"]


async def test_faults_are_all_said_with_their_fields(api: Api) -> None:
    fields = [
        part("a", default="x"),
        part("b", shown_when=when("a", "y")),
        part("to", kind="address"),
    ]
    made = document(
        {"a": TEXT, "b": {"type": "integer", "minimum": 1}}, fields, schema_required=["a", "b"]
    )
    await api.publish("p", made)
    path = "/products/p/forms/versions/1/faults"
    found = await api.ok("POST", path, {"answers": {"a": "y", "b": 0, "c": 1}})
    assert found["faults"] == [
        {"field": "b", "reason": "must be at least 1"},
        {"field": "c", "reason": "is no field of the form"},
    ]
    assert [(one["name"], one["default"]) for one in found["fields"]] == [
        ("a", "x"),
        ("b", None),
        ("to", None),
    ]
    hidden = await api.ok("POST", path, {"answers": {"a": "x"}})
    assert hidden["faults"] == []
    assert [one["name"] for one in hidden["fields"]] == ["a", "to"]
    assert (await api.call("POST", path.replace("/1/", "/2/"), {"answers": {}})).status_code == 404


async def test_a_dry_run_says_the_same_and_changes_nothing(api: Api) -> None:
    wrong = document({"a": {"type": "string", "pattern": "(?=a)"}})
    refused = [
        await api.call("POST", path, wrong) for path in ("/forms/check", "/products/p/forms")
    ]
    assert [one.status_code for one in refused] == [422, 422]
    assert refused[0].json() == refused[1].json()
    assert refused[0].json()["errors"][0]["field"] == "schema.properties.a.pattern"
    right = await api.ok("POST", "/forms/check", SIMPLE)
    assert form_of(right["form"]) == form_of(SIMPLE)
    assert (await api.ok("GET", "/products"))["items"] == []


async def test_a_retired_product_is_shown_and_not_sold(
    api: Api, forms: Forms, client_id: str
) -> None:
    await api.publish("p", SIMPLE)
    for _ in range(2):
        assert await api.ok("POST", "/products/p/forms/retire") == {"product_id": "p", "version": 1}
    assert (await api.ok("GET", "/products/p/forms"))["retired"]
    with pytest.raises(Rejected, match="retired"):
        await forms.current(None, client_id, "p")
    assert await forms.version(client_id, "p", 1) == form_of(SIMPLE)
    assert await api.publish("p", SIMPLE) == 1
    assert (await api.call("POST", "/products/p/forms", OTHER)).status_code == 409
    for _ in range(2):
        await api.ok("POST", "/products/p/forms/restore")
    assert await api.publish("p", OTHER) == 2
    assert await forms.current(None, client_id, "p") == (2, form_of(OTHER))


async def test_products_are_listed_by_their_id(api: Api) -> None:
    for product_id in ("b", "a", "c"):
        await api.publish(product_id, SIMPLE)
    await api.ok("POST", "/products/b/forms/retire")
    first = await api.ok("GET", "/products", params={"limit": 2})
    assert [(one["product_id"], one["retired"]) for one in first["items"]] == [
        ("a", False),
        ("b", True),
    ]
    rest = await api.ok("GET", "/products", params={"limit": 2, "cursor": first["next"]})
    assert rest == {
        "items": [{"product_id": "c", "version": 1, "title": "Test", "retired": False}],
        "next": None,
    }


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/products/none/forms", None),
        ("GET", "/products/none/forms/versions/1", None),
        ("POST", "/products/none/forms/versions/1/faults", {"answers": {}}),
        ("POST", "/products/none/forms/retire", None),
        ("POST", "/products/none/forms/restore", None),
        ("GET", "/forms/shipped/none", None),
        ("POST", "/forms/shipped/none", None),
    ],
)
async def test_what_is_not_there_is_not_found(api: Api, method: str, path: str, body: Any) -> None:
    assert (await api.call(method, path, body)).status_code == 404


@pytest.mark.parametrize(
    ("role", "allowed"),
    [
        (Role.PARTNER, {"read"}),
        (Role.AGENT, {"read", "judge"}),
        (Role.SUPERVISOR, {"read", "judge", "change"}),
    ],
)
async def test_who_may_do_what(api: Api, role: Role, allowed: set[str]) -> None:
    await api.publish("p", SIMPLE)
    calls = [
        ("read", "GET", "/products", None),
        ("read", "GET", "/products/p/forms", None),
        ("read", "GET", "/products/p/forms/versions/1", None),
        ("read", "GET", "/forms/shipped", None),
        ("read", "GET", "/forms/shipped/taxi", None),
        ("judge", "POST", "/products/p/forms/versions/1/faults", {"answers": {}}),
        ("change", "POST", "/forms/check", SIMPLE),
        ("change", "POST", "/products/p/forms", SIMPLE),
        ("change", "POST", "/forms/shipped/taxi", None),
        ("change", "POST", "/products/p/forms/retire", None),
        ("change", "POST", "/products/p/forms/restore", None),
    ]
    caller = api.as_(role)
    for what, method, path, body in calls:
        answer = await caller.call(method, path, body)
        assert answer.is_success if what in allowed else answer.status_code == 403, path


async def test_a_key_has_one_effect(api: Api) -> None:
    key = {"Idempotency-Key": "k-1"}
    for _ in range(2):
        answer = await api.ok("POST", "/products/p/forms", SIMPLE, headers=key)
        assert answer == {"product_id": "p", "version": 1}
    other = await api.call("POST", "/products/p/forms", OTHER, headers=key)
    assert other.status_code == 409


async def test_clients_have_their_own(api: Api, http: httpx.AsyncClient) -> None:
    await api.publish("p", SIMPLE)
    stranger = Api(http, f"{api.client_id}-2", Role.ADMIN)
    assert (await stranger.call("GET", "/products/p/forms")).status_code == 404


async def test_versions_are_kept_in_memory_up_to_a_number(
    forms: Forms, cause: Cause, client_id: str
) -> None:
    form = form_of(SIMPLE)
    await forms.publish(cause, "p", form)
    first = await forms.version(client_id, "p", 1)
    assert await forms.version(client_id, "p", 1) is first
    for number in range(1, CACHED):
        forms._versions[client_id, "q", number] = form
    await forms.publish(cause, "r", form)
    await forms.version(client_id, "r", 1)
    assert len(forms._versions) == CACHED
    again = await forms.version(client_id, "p", 1)
    assert again == first
    assert again is not first
    with pytest.raises(NotFound):
        await forms.version(client_id, "p", 2)


@pytest.mark.parametrize(
    ("field", "more"),
    [
        ("schema", {"schema": []}),
        ("fields.0.kind", {"fields": [part("a", kind="phone")]}),
        ("fields.0.nonsense", {"fields": [part("a", nonsense=1)]}),
        ("prices.0.amount", {"prices": [{"rule_id": "a", "label": "A", "amount": 1.5}]}),
        ("currency", {"currency": "euro"}),
        ("currency", {"currency": "XXQ"}),
        ("title", {"title": None}),
        ("visit.minutes", {"visit": {"skill": "s", "minutes": 50}}),
        ("draft_minutes", {"draft_minutes": 0}),
        ("cancel_reasons", {"cancel_reasons": []}),
    ],
)
async def test_what_is_no_form_is_said_by_its_field(api: Api, field: str, more: Any) -> None:
    answer = await api.call("POST", "/products/p/forms", SIMPLE | more)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == field
