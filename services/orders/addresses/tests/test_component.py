"""Addresses through HTTP. Nothing is kept, so there is nothing but the application."""

import logging
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from eventkit.callers import Callers
from eventkit.http import make_app
from services.orders.addresses.api import router

CALLERS = Callers({"test": bytes(32)})
PARIS = {
    "country": "fr",
    "lines": ["12  rue de la Paix"],
    "postal_code": "75 002",
    "locality": "Paris",
    "as_spoken": "douze, rue de la Paix",
}


async def known(client_id: str) -> bool:
    return client_id.startswith("client-")


def token(client_id: str, role: str) -> dict[str, str]:
    issued = CALLERS.issue("ana", [client_id], role, time.time_ns() // 1000, 600)
    return {"Authorization": f"Bearer {issued}"}


@pytest.fixture
async def http(client_id: str) -> AsyncIterator[httpx.AsyncClient]:
    """An agent's; paths are below the client's addresses."""
    app = make_app("test", "1", CALLERS, known)
    app.include_router(router())
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app),
        base_url=f"http://test/v1/clients/{client_id}/addresses",
        headers=token(client_id, "agent"),
    ) as http:
        yield http


async def test_normalised_with_what_the_country_asks_for(http: httpx.AsyncClient) -> None:
    answer = await http.post("/normalise", json=PARIS)
    assert answer.status_code == 200, answer.text
    assert answer.json() == {
        "address": {
            "country": "FR",
            "lines": ["12 rue de la Paix"],
            "postal_code": "75002",
            "locality": "Paris",
            "region": "",
            "as_spoken": "douze, rue de la Paix",
            "formatted": ["12 rue de la Paix", "75002 PARIS", "France"],
        },
        "rules": {
            "country": "FR",
            "name": "France",
            "fields": [["lines"], ["postal_code", "locality"]],
            "required": ["lines", "postal_code", "locality"],
            "regions": [],
            "localities": [],
            "region_type": "province",
            "locality_type": "city",
            "postal_code_type": "postal",
            "postal_code_examples": ["33380", "34092", "33506"],
        },
    }


async def test_a_region_that_the_country_does_not_write_is_kept(http: httpx.AsyncClient) -> None:
    for country, region in (("FR", "Île-de-France"), ("AD", "Somewhere")):
        given = PARIS | {"country": country, "region": region}
        if country == "AD":
            given |= {"postal_code": "AD500"}
        answer = await http.post("/normalise", json=given)
        assert answer.status_code == 200, answer.text
        assert answer.json()["address"]["region"] == region


@pytest.mark.parametrize(
    ("field", "changes"),
    [
        ("postal_code", {"postal_code": "7500"}),
        ("postal_code", {"postal_code": "7" * 10_000}),
        ("postal_code", {"postal_code": 75002}),
        ("locality", {"locality": ""}),
        ("country", {"country": "XX"}),
        ("country", {"country": "France"}),
        ("lines", {"lines": []}),
        ("lines", {"lines": ["secret\u0007"]}),
        ("lines", {"lines": ["secret"] * 6}),
        ("region", {"country": "US", "postal_code": "94105", "region": "secret"}),
        ("as_spoken", {"as_spoken": "secret\u0000"}),
        ("street", {"street": "secret"}),
    ],
)
async def test_an_error_names_the_field_and_not_the_address(
    http: httpx.AsyncClient,
    caplog: pytest.LogCaptureFixture,
    field: str,
    changes: dict[str, Any],
) -> None:
    with caplog.at_level(logging.DEBUG):
        answer = await http.post("/normalise", json=PARIS | changes)
    assert answer.status_code == 422, answer.text
    assert [each["field"] for each in answer.json()["errors"]] == [field]
    for text in (answer.text, caplog.text):
        assert not any(personal in text for personal in ("secret", "Paix", "75002", "7500"))


async def test_what_to_ask_for_in_a_country(http: httpx.AsyncClient) -> None:
    japan = (await http.get("/countries/jp")).json()
    assert japan["regions"][12] == {"value": "東京都", "names": ["Tokyo", "東京都"]}
    assert japan["region_type"] == "prefecture"
    brazil = (await http.get("/countries/BR", params={"region": "sao paulo"})).json()
    assert {"value": "Campinas", "names": ["Campinas"]} in brazil["localities"]
    assert brazil["postal_code_examples"] == ["40301-110", "70002-900"]
    assert (await http.get("/countries/BR")).json()["localities"] == []
    wrong = await http.get("/countries/BR", params={"region": "Bavaria"})
    assert (wrong.status_code, wrong.json()["errors"][0]["field"]) == (422, "region")
    assert (await http.get("/countries/XX")).status_code == 404
    assert (await http.get("/countries/FRA")).status_code == 422
    everywhere = (await http.get("/countries")).json()
    assert {"country": "FR", "name": "France"} in everywhere
    assert len(everywhere) > 240


async def test_who_may(http: httpx.AsyncClient, client_id: str) -> None:
    for headers, status in (
        (token(client_id, "partner"), 403),
        (token("client-of-somebody-else", "agent"), 404),
    ):
        assert (await http.post("/normalise", json=PARIS, headers=headers)).status_code == status
        assert (await http.get("/countries", headers=headers)).status_code == status
        assert (await http.get("/countries/FR", headers=headers)).status_code == status
