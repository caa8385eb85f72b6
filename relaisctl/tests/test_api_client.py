"""The client of services' APIs against an edge as crm's is: what it sends, tries again and makes of
problems."""

import os
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from pydantic import BaseModel

from eventkit.callers import Callers, Role
from eventkit.clock import SystemClock
from eventkit.errors import Rejected, Unavailable
from eventkit.eventstore import Cause
from eventkit.http import Body, CauseOf, ClientOf, Id, Listing, PageOf, make_app, require
from eventkit.namedsecrets import new_secret, parse_secrets
from relaisctl.api_client import CrmClient, OrdersClient, Refusal
from relaisctl.errors import InputError, UnreachableError

PATH = "/v1/clients/acme/things"
COUNT = 450


class Thing(Body):
    thing_id: Id


class Item(BaseModel):
    number: int


class Crm:
    """How often it will not answer, and what it was asked."""

    def __init__(self, secrets: str) -> None:
        self.silent = 0
        self.causes: list[Cause] = []
        self.app = self._make(Callers(parse_secrets(secrets)))

    def _make(self, callers: Callers) -> FastAPI:
        app = make_app("crm", "1", callers, None)

        @app.post("/v1/clients/{client_id}/things", dependencies=[require("admin")])
        async def make(cause: CauseOf, body: Thing) -> dict[str, str]:
            self.causes.append(cause)
            if self.silent:
                self.silent -= 1
                raise Unavailable("PostgreSQL does not answer")
            if body.thing_id == "closed":
                raise Rejected("closed already", more={"opens_at": "09:00"})
            if body.thing_id == "unforeseen":
                raise KeyError("Ana Smith")
            return {"thing_id": body.thing_id}

        @app.get("/v1/clients/{client_id}/things", response_model=Listing[Item])
        async def shown(client_id: ClientOf, page: PageOf) -> dict[str, Any]:
            after = page.after(int)
            first = 0 if after is None else after[0] + 1
            items = [{"number": n} for n in range(first, min(COUNT, first + page.rows))]
            return page.of(items, lambda item: (item["number"],))

        @app.delete("/v1/clients/{client_id}/things", status_code=204)
        async def clear(cause: CauseOf) -> None:
            self.causes.append(cause)

        return app


@pytest.fixture
def crm(monkeypatch: pytest.MonkeyPatch) -> Crm:
    secrets = new_secret("one")
    monkeypatch.setenv("RELAIS_TOKEN_SECRETS", secrets)
    monkeypatch.delenv("RELAIS_TOKEN", raising=False)
    return Crm(secrets)


def client(crm: Crm, client_id: str | None = "acme", **options: Any) -> CrmClient:
    transport = httpx.ASGITransport(app=crm.app)
    return CrmClient(client_id, url="http://crm", transport=transport, **options)


@pytest.fixture
async def asked(crm: Crm) -> AsyncIterator[CrmClient]:
    async with client(crm) as made:
        yield made


async def test_a_request(crm: Crm, asked: CrmClient) -> None:
    assert await asked.post(PATH, {"thing_id": "t-1"}) == {"thing_id": "t-1"}
    assert await asked.post(PATH, {"thing_id": "t-1"}, key="mine") == {"thing_id": "t-1"}
    assert await asked.delete(PATH) is None
    first, second, third = crm.causes
    assert (first.client_id, first.actor) == ("acme", "relaisctl")
    assert second.idempotency_key == "mine"
    assert None is not first.idempotency_key != third.idempotency_key is not None


async def test_a_listing_is_read_to_its_end(asked: CrmClient) -> None:
    assert [item["number"] async for item in asked.items(PATH)] == list(range(COUNT))
    assert [item["number"] async for item in asked.items(PATH, limit=150)] == list(range(COUNT))


async def test_trying_again_is_the_same_command(crm: Crm, asked: CrmClient) -> None:
    crm.silent = 2
    assert await asked.post(PATH, {"thing_id": "t-1"}) == {"thing_id": "t-1"}
    assert len(crm.causes) == 3
    assert len({(cause.idempotency_key, cause.fingerprint) for cause in crm.causes}) == 1


async def test_it_gives_up(crm: Crm) -> None:
    crm.silent = 1_000
    async with client(crm, patience_s=0.5) as asked:
        with pytest.raises(UnreachableError, match="PostgreSQL does not answer"):
            await asked.post(PATH, {"thing_id": "t-1"})
    assert 1 < len(crm.causes) < 10
    async with CrmClient("acme", url="http://127.0.0.1:1", patience_s=0.3) as nobody:
        with pytest.raises(UnreachableError, match=r"http://127.0.0.1:1: does not answer"):
            await nobody.get(PATH)


async def test_problems(crm: Crm, asked: CrmClient) -> None:
    async def refused(body: Any) -> Refusal:
        with pytest.raises(Refusal) as error:
            await asked.post(PATH, body)
        assert isinstance(error.value, InputError)
        return error.value

    refusal = await refused({"thing_id": "a b", "name": "Ana"})
    assert (refusal.status, refusal.field) == (422, "thing_id")
    assert [field for field, _ in refusal.errors] == ["thing_id", "name"]
    assert str(refusal).startswith("thing_id: string should match")
    refusal = await refused({"thing_id": "closed"})
    assert (refusal.status, refusal.field, refusal.reason) == (409, "", "closed already")
    assert refusal.problem["opens_at"] == "09:00"
    with pytest.raises(Refusal, match="no such client"):
        await asked.get("/v1/clients/globex/things")
    with pytest.raises(UnreachableError, match=r"500 unforeseen"):
        await asked.post(PATH, {"thing_id": "unforeseen"})
    async with client(crm, role=Role.AGENT) as agent:
        with pytest.raises(Refusal, match="needs the role admin"):
            await agent.post(PATH, {"thing_id": "t-1"})
    async with client(crm, None) as everyone:
        assert await everyone.get("/v1/clients/globex/things", limit=1)


@pytest.mark.usefixtures("crm")
async def test_where_services_listen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RELAIS_ORDERS_HTTP_PORT", "1234")
    async with CrmClient("acme") as crm, OrdersClient("acme") as orders:
        assert crm.url == "http://127.0.0.1:8084"
        assert orders.url == "http://127.0.0.1:1234"
    monkeypatch.setenv("RELAIS_ORDERS", "http://127.0.0.1:1")
    async with OrdersClient("acme", patience_s=0.0) as orders:
        with pytest.raises(UnreachableError, match=r"^orders at http://127.0.0.1:1: does not"):
            await orders.get(PATH)


async def test_a_given_token_is_used(crm: Crm, monkeypatch: pytest.MonkeyPatch) -> None:
    callers = Callers(parse_secrets(os.environ["RELAIS_TOKEN_SECRETS"]))
    now = SystemClock().now_us()
    monkeypatch.setenv("RELAIS_TOKEN", callers.issue("ops", ["acme"], "admin", now, 60))
    monkeypatch.delenv("RELAIS_TOKEN_SECRETS")
    async with client(crm) as asked:
        await asked.post(PATH, {"thing_id": "t-1"})
    assert crm.causes[-1].actor == "ops"


class Clock:
    now = SystemClock().now_us()

    def now_us(self) -> int:
        return self.now


async def test_a_token_is_renewed_in_a_long_import(crm: Crm) -> None:
    clock, minute = Clock(), 60_000_000
    callers = Callers(parse_secrets(os.environ["RELAIS_TOKEN_SECRETS"]))
    tokens = set()
    async with client(crm, clock=clock) as asked:
        for _ in range(180):
            tokens.add(asked._fresh_token())
            assert callers.verify(asked._fresh_token(), clock.now + minute).name == "relaisctl"
            clock.now += minute
    assert 3 <= len(tokens) <= 7
