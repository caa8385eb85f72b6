"""Promotions through HTTP, with real PostgreSQL."""

import asyncio
import time
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import httpx
import pytest

from eventkit.callers import Callers
from eventkit.eventstore import Cause, EventStore
from eventkit.http import make_app
from services.orders.prices.api import router
from services.orders.prices.pricing import Promotion, quote
from services.orders.prices.service import Promotions

CALLERS = Callers({"test": bytes(32)})
LONG_AGO, LONG_HENCE = "2020-01-01T00:00:00Z", "2120-01-01T00:00:00Z"
HALF = {
    "label": "Half the set-up",
    "products": ["internet"],
    "valid_from": LONG_AGO,
    "valid_until": LONG_HENCE,
    "percent": "50",
    "of": ["setup"],
}


def token(client_id: str, role: str) -> dict[str, str]:
    issued = CALLERS.issue("ana", [client_id], role, time.time_ns() // 1000, 600)
    return {"Authorization": f"Bearer {issued}"}


async def known(client_id: str) -> bool:
    return client_id.startswith("client-")


@pytest.fixture
def service(store: EventStore) -> Promotions:
    return Promotions(store)


@pytest.fixture
async def http(service: Promotions, client_id: str) -> AsyncIterator[httpx.AsyncClient]:
    """A supervisor's; paths are below the client."""
    app = make_app("test", "1", CALLERS, known)
    app.include_router(router(service))
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app),
        base_url=f"http://test/v1/clients/{client_id}",
        headers=token(client_id, "supervisor"),
    ) as http:
        yield http


async def publish(http: httpx.AsyncClient, id: str, **changes: Any) -> dict[str, Any]:
    answer = await http.put(f"/promotions/{id}", json=HALF | changes)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def listed(http: httpx.AsyncClient, **query: Any) -> list[str]:
    answer = await http.get("/promotions", params=query)
    assert answer.status_code == 200, answer.text
    return [each["promotion_id"] for each in answer.json()["items"]]


async def test_published_published_anew_withdrawn(http: httpx.AsyncClient) -> None:
    for _ in range(2):
        assert await publish(http, "half") == {"promotion_id": "half", "version": 1}
    shown = (await http.get("/promotions/half")).json()
    assert shown == HALF | {
        "promotion_id": "half",
        "period": "once",
        "amount": None,
        "currency": None,
        "withdrawn": False,
    }
    terms = {"percent": None, "amount": "20.00", "currency": "EUR", "period": "monthly"}
    assert (await publish(http, "half", **terms))["version"] == 2
    shown = (await http.get("/promotions/half")).json()
    assert [shown[name] for name in terms] == [None, "20.00", "EUR", "monthly"]
    for _ in range(2):
        gone = await http.post("/promotions/half/withdraw")
        assert (gone.status_code, gone.json()["version"]) == (200, 3)
    assert await listed(http) == []
    assert (await http.get("/promotions/half")).json()["withdrawn"] is True
    assert (await publish(http, "half"))["version"] == 4
    assert await listed(http) == ["half"]


async def test_what_can_be_offered(http: httpx.AsyncClient) -> None:
    await publish(http, "internet")
    await publish(http, "all", products=[])
    await publish(http, "taxi", products=["taxi", "limousine"])
    await publish(http, "past", valid_until="2021-01-01T00:00:00Z")
    await publish(http, "future", valid_from="2119-01-01T00:00:00+01:00")
    await publish(http, "withdrawn")
    await http.post("/promotions/withdrawn/withdraw")
    assert await listed(http) == ["all", "internet", "taxi"]
    assert await listed(http, product_id="internet") == ["all", "internet"]
    assert await listed(http, product_id="limousine") == ["all", "taxi"]
    assert await listed(http, product_id="loan") == ["all"]
    assert await listed(http, product_id="internet", at="2020-12-31T23:59:59.999999Z") == [
        *("all", "internet", "past")
    ]
    assert await listed(http, at="2021-01-01T00:00:00Z") == ["all", "internet", "taxi"]
    assert "future" in await listed(http, at="2118-12-31T23:00:00Z")
    assert "future" not in await listed(http, at="2118-12-31T22:59:59Z")
    everything = await listed(http, every=True)
    assert everything == ["all", "future", "internet", "past", "taxi", "withdrawn"]
    pages, cursor = [], {}
    while True:
        answer = (
            await http.get("/promotions", params={"every": True, "limit": 4, **cursor})
        ).json()
        pages.append([each["promotion_id"] for each in answer["items"]])
        if answer["next"] is None:
            break
        cursor = {"cursor": answer["next"]}
    assert pages == [everything[:4], everything[4:]]


async def test_what_orders_take_from_it(
    http: httpx.AsyncClient, service: Promotions, store: EventStore, client_id: str
) -> None:
    await publish(http, "half")
    await publish(http, "past", valid_until="2021-01-01T00:00:00Z")
    await publish(http, "withdrawn")
    await http.post("/promotions/withdrawn/withdraw")
    async with store.reading() as connection:
        wanted = ["half", "past", "withdrawn", "nobody"]
        found = await service.many(connection, client_id, wanted)
        assert await service.many(connection, "somebody-else", wanted) == {}
        assert await service.many(connection, client_id, []) == {}
    assert set(found) == {"half", "past"}
    assert found["half"].of == ("setup",)
    made = quote(
        [], {}, [found["half"]], product_id="internet", currency="EUR", digits=2, at=2 * 10**15
    )
    assert [line.line_id for line in made.lines] == ["half"]


@pytest.mark.parametrize(
    ("field", "changes"),
    [
        ("valid_until", {"valid_until": LONG_AGO}),
        ("percent", {"percent": None}),
        ("percent", {"percent": "0"}),
        ("percent", {"percent": 50}),
        ("percent", {"percent": "100.5"}),
        ("percent", {"amount": "1", "currency": "EUR"}),
        ("currency", {"percent": None, "amount": "1"}),
        ("currency", {"percent": None, "amount": "1", "currency": "DEM"}),
        ("amount", {"percent": None, "amount": "0.5", "currency": "JPY"}),
        ("amount", {"percent": None, "amount": "0.00", "currency": "EUR"}),
        ("amount", {"percent": None, "amount": "-5", "currency": "EUR"}),
        ("products", {"products": ["a", "a"]}),
        ("label", {"label": ""}),
        ("discount", {"discount": "5"}),
    ],
)
async def test_what_is_refused(
    http: httpx.AsyncClient, field: str, changes: dict[str, Any]
) -> None:
    answer = await http.put("/promotions/half", json=HALF | changes)
    assert answer.status_code == 422, answer.text
    assert [each["field"] for each in answer.json()["errors"]] == [field]
    assert await listed(http, every=True) == []


async def test_who_may(http: httpx.AsyncClient, client_id: str) -> None:
    agent = token(client_id, "agent")
    assert (await http.put("/promotions/half", json=HALF, headers=agent)).status_code == 403
    await publish(http, "half")
    assert (await http.post("/promotions/half/withdraw", headers=agent)).status_code == 403
    assert (await http.get("/promotions", headers=agent)).status_code == 200
    assert (await http.get("/promotions/half", headers=agent)).status_code == 200
    partner = token(client_id, "partner")
    assert (await http.get("/promotions", headers=partner)).status_code == 403
    other = token("client-of-somebody-else", "supervisor")
    assert (await http.get("/promotions/half", headers=other)).status_code == 404
    for answer in (
        await http.get("/promotions/none"),
        await http.post("/promotions/none/withdraw"),
    ):
        assert (answer.status_code, answer.json()["title"]) == (404, "Not Found"), answer.text


async def test_the_same_key_has_one_effect(http: httpx.AsyncClient) -> None:
    key = {"Idempotency-Key": "once"}
    first = await http.put("/promotions/half", json=HALF, headers=key)
    await http.post("/promotions/half/withdraw")
    again = await http.put("/promotions/half", json=HALF, headers=key)
    assert first.json() == again.json() == {"promotion_id": "half", "version": 1}
    assert (await http.get("/promotions/half")).json()["withdrawn"] is True
    other = await http.put("/promotions/half", json=HALF | {"percent": "1"}, headers=key)
    assert other.status_code == 409


async def test_all_at_once(service: Promotions, cause: Cause) -> None:
    """Each has a version of its own, and the last of them is what holds."""
    terms = [
        Promotion("p", f"Terms {number}", (), 0, 1_000, percent=Decimal(10)) for number in range(8)
    ]
    answers = await asyncio.gather(*(service.publish(cause, one) for one in terms))
    versions = [answer["version"] for answer in answers]
    assert sorted(versions) == list(range(1, 9))
    found = await service.get(cause.client_id, "p")
    assert found.promotion == terms[versions.index(8)]
