"""Catalogues over HTTP, in this process, with a real PostgreSQL."""

import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from eventkit.callers import Callers
from eventkit.eventstore import EventStore
from eventkit.http import make_app
from services.crm.catalogue.api import router
from services.crm.catalogue.service import Catalogues
from services.crm.catalogue.store import topic_exists, topic_path

CALLERS = Callers({"test": bytes(32)})


async def known(client_id: str) -> bool:
    return client_id.startswith("client-")


def token(client_id: str, role: str = "supervisor") -> dict[str, str]:
    issued = CALLERS.issue("ana", [client_id], role, time.time_ns() // 1000, 600)
    return {"Authorization": f"Bearer {issued}"}


@pytest.fixture
async def http(store: EventStore, client_id: str) -> AsyncIterator[httpx.AsyncClient]:
    """A supervisor's; paths are below the client's catalogue."""
    app = make_app("test", "1", CALLERS, known, max_body=1 << 20)
    app.include_router(router(Catalogues(store)))
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app),
        base_url=f"http://test/v1/clients/{client_id}/catalogue",
        headers=token(client_id),
    ) as http:
        yield http


async def put(http: httpx.AsyncClient, path: str, **body: Any) -> dict[str, Any]:
    answer = await http.put(path, json=body)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def catalogue(http: httpx.AsyncClient) -> dict[str, Any]:
    answer = await http.get(str(http.base_url).rstrip("/"))
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_topics_are_a_tree_that_grows_moves_and_retires(
    http: httpx.AsyncClient, store: EventStore, client_id: str
) -> None:
    assert await put(http, "/topics/billing", name="Billing") == {"version": 1, "changes": 1}
    names = {"": "Invoice", "fr": "Facture"}
    await put(http, "/topics/invoice", name=names, parent="billing")
    await put(http, "/topics/paper", name="On paper", parent="invoice")
    repeated = await put(http, "/topics/paper", name="On paper", parent="invoice")
    assert repeated == {"version": 3, "changes": 0}

    await put(http, "/topics/invoice", name=names)
    await put(http, "/topics/invoice", name=names, retired=True)
    topics = (await catalogue(http))["topics"]
    assert topics["billing"] == {
        "name": "Billing",
        "parent": None,
        "retired": False,
        "path": ["billing"],
        "selectable": True,
    }
    assert topics["invoice"]["name"] == names
    assert topics["paper"]["path"] == ["invoice", "paper"]
    assert [topics["paper"][name] for name in ("retired", "selectable")] == [False, False]

    async with store.engine.connect() as connection:
        assert await topic_path(connection, client_id, "paper") == ("invoice", "paper")
        assert await topic_path(connection, client_id, "nobody") is None
        assert await topic_exists(connection, client_id, "billing")
        assert not await topic_exists(connection, client_id, "paper")
        assert not await topic_exists(connection, client_id, "nobody")
        assert not await topic_exists(connection, "somebody-else", "billing")


async def test_the_other_lists(http: httpx.AsyncClient) -> None:
    await put(http, "/dispositions/sold", name="Sold", flags=["sale", "completed", "sale"])
    offer = {"name": "Fibre", "price": "29.90", "currency": "EUR", "valid_until": "2026-12-31"}
    await put(http, "/offers/fibre", **offer)
    assert (await put(http, "/offers/fibre", **offer | {"price": 29.9}))["changes"] == 0
    await put(http, "/refusal-reasons/not-now", name="Not now", needs_date=True)
    await put(http, "/refusal-reasons/not-now", name="Not now", needs_date=True, retired=True)
    found = await catalogue(http)
    assert found["dispositions"]["sold"] == {
        "name": "Sold",
        "closes": True,
        "flags": ["completed", "sale"],
        "retired": False,
    }
    assert found["offers"]["fibre"] == offer | {"valid_from": None, "retired": False}
    assert found["refusal_reasons"]["not-now"]["retired"]


YAML = """
topics:
  1: {name: One}
  two: {name: {"": Two, fr: Deux}, parent: "1"}
offers:
  summer: {name: Summer, price: 9.5, currency: EUR, valid_from: 2026-06-01, valid_until: 2026-08-31}
"""


async def test_a_whole_catalogue_as_yaml_or_json_twice(http: httpx.AsyncClient) -> None:
    yaml = {"Content-Type": "application/yaml; charset=utf-8", "Idempotency-Key": "one"}
    for _ in range(2):
        first = await http.post("/import", content=YAML, headers=yaml)
        assert first.json() == {"version": 3, "changes": 3}, first.text
    again = await http.post("/import", content=YAML, headers=yaml | {"Idempotency-Key": "two"})
    assert again.json() == {"version": 3, "changes": 0}
    found = await catalogue(http)
    assert found["topics"]["two"]["path"] == ["1", "two"]
    assert found["offers"]["summer"]["valid_from"] == "2026-06-01"

    # What it says can be given back as it is: two topics have views of their own.
    del found["topics"]
    back = await http.post("/import", json=found)
    assert back.json() == {"version": 3, "changes": 0}, back.text


async def test_the_template_in_one_command(http: httpx.AsyncClient) -> None:
    loaded = await http.post("/templates/telecom")
    assert loaded.status_code == 200, loaded.text
    assert loaded.json()["changes"] > 40
    again = await http.post("/templates/telecom")
    assert again.json() == {"version": loaded.json()["version"], "changes": 0}
    found = await catalogue(http)
    assert found["topics"]["technical.internet.slow"]["path"] == [
        "technical",
        "technical.internet",
        "technical.internet.slow",
    ]
    assert (await http.post("/templates/bakery")).status_code == 422


@pytest.mark.parametrize(
    ("method", "path", "body", "field"),
    [
        ("PUT", "/topics/a", {"name": ""}, "name"),
        ("PUT", "/topics/a", {"name": "x", "parent": "nobody"}, "parent"),
        ("PUT", "/topics/a", {"name": "x", "parent": "a"}, "parent"),
        ("PUT", "/topics/a", {"name": "x", "colour": "red"}, "colour"),
        ("PUT", "/topics/a", {"name": "x\0"}, "name"),
        ("PUT", "/topics/a", {"name": {}}, "name"),
        ("PUT", "/topics/a%20b", {"name": "x"}, "topic_id"),
        ("PUT", "/dispositions/a", {"name": "x", "flags": ["gold"]}, "flags"),
        ("PUT", "/offers/a", {"name": "x", "price": "1"}, "currency"),
        ("PUT", "/offers/a", {"name": "x", "price": "-1", "currency": "EUR"}, "price"),
        ("POST", "/import", {"topics": {"a": {"name": "x", "parent": "b"}}}, "topics.a.parent"),
    ],
)
async def test_what_makes_no_sense_changes_nothing(
    http: httpx.AsyncClient, method: str, path: str, body: dict[str, Any], field: str
) -> None:
    before = await catalogue(http)
    answer = await http.request(method, path, json=body)
    assert answer.status_code == 422, answer.text
    assert answer.json()["errors"][0]["field"].startswith(field)
    assert await catalogue(http) == before


@pytest.mark.parametrize(
    "text",
    [
        "a: [",
        "{a: &x [1], b: *x}",
        "topics: !!python/object:os.system {}",
        "topics: {a: {name: .nan}}",
        "topics: {a: {name: !!binary aGFsbG8=}}",
        "{" * 10_000,
        "\0",
        "[1, 2]",
        "",
    ],
)
async def test_yaml_that_is_no_catalogue(http: httpx.AsyncClient, text: str) -> None:
    headers = {"Content-Type": "application/yaml"}
    answer = await http.post("/import", content=text, headers=headers)
    assert answer.status_code == 422, answer.text
    assert (await catalogue(http))["topics"] == {}


async def test_who_may(http: httpx.AsyncClient, client_id: str) -> None:
    agent = token(client_id, "agent")
    url = str(http.base_url).rstrip("/")
    assert (await http.get(url, headers=agent)).status_code == 200
    for method, path in (
        ("PUT", "/topics/a"),
        ("PUT", "/dispositions/a"),
        ("PUT", "/offers/a"),
        ("PUT", "/refusal-reasons/a"),
        ("POST", "/import"),
        ("POST", "/templates/telecom"),
    ):
        body = {"name": "x"} if method == "PUT" else {}
        forbidden = await http.request(method, path, json=body, headers=agent)
        assert forbidden.status_code == 403, path
        foreign = await http.request(method, path, json=body, headers=token("client-of-others"))
        assert foreign.status_code == 404, path
    assert (await http.get(url, headers=token("client-of-others"))).status_code == 404
