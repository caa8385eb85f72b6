"""The HTTP edge: callers, causes, problems that repeat nothing, pages, the document, the server."""

import asyncio
import base64
import json
import logging
import os
import socket
import time
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any, Literal

import httpx
import pytest
import schemathesis
from fastapi import APIRouter, FastAPI
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from pydantic import BaseModel, Field
from schemathesis.specs.openapi.checks import negative_data_rejection

from eventkit import telemetry
from eventkit.callers import Callers, Role
from eventkit.errors import InvalidMessage, NotFound, Rejected, Unavailable
from eventkit.eventstore import Cause
from eventkit.http import (
    Body,
    CallerOf,
    CauseOf,
    CentreCauseOf,
    ClientOf,
    Day,
    Id,
    Lax,
    Listing,
    Name,
    Page,
    PageOf,
    Text,
    Time,
    Whole,
    make_app,
    microseconds,
    problems,
    require,
    serve,
    time_of,
)

CALLERS = Callers({"one": os.urandom(32)})
THINGS = "/v1/clients/acme/things"
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
SECRET = "Ana Smith +33612345678"
COUNT = 7


class Kind(StrEnum):
    SMALL = "small"
    LARGE = "large"


class Round(Body):
    shape: Literal["round"]
    radius: Whole = Field(ge=0, le=100)


class Square(Body):
    shape: Literal["square"]
    side: Whole = Field(ge=0, le=100)


class Thing(Body):
    thing_id: Id
    name: Name
    note: Text = ""
    kind: Lax[Kind] = Kind.SMALL
    tags: Lax[tuple[Id, ...]] = ()
    at: Time | None = None
    day: Day | None = None
    form: Annotated[Round | Square, Field(discriminator="shape")] | None = None


class Made(BaseModel):
    thing_id: str


class Item(BaseModel):
    number: int


def things(causes: list[Cause], errors: dict[str, Exception]) -> APIRouter:
    api = APIRouter(prefix="/v1/clients/{client_id}/things", tags=["things"])

    @api.post("", status_code=201, response_model=Made, responses=problems(409))
    async def make(cause: CauseOf, body: Thing) -> dict[str, str]:
        causes.append(cause)
        return {"thing_id": body.thing_id}

    @api.get("", response_model=Listing[Item], dependencies=[require("partner")])
    async def shown(client_id: ClientOf, page: PageOf) -> dict[str, Any]:
        after = page.after(int, str)
        numbers = [n for n in range(COUNT) if after is None or (n, str(n)) > after][: page.rows]
        return page.of(
            [{"number": n} for n in numbers], lambda item: (item["number"], str(item["number"]))
        )

    @api.delete("/{thing_id}", status_code=204, dependencies=[require(Role.SUPERVISOR)])
    async def remove(cause: CauseOf, thing_id: Id) -> None:
        if thing_id != "there":
            raise NotFound("thing")

    @api.post("/{thing_id}/fail", response_model=Made)
    async def fail(client_id: ClientOf, thing_id: Id) -> None:
        raise errors.get(thing_id) or NotFound("thing")

    return api


@pytest.fixture
def causes() -> list[Cause]:
    return []


ERRORS: dict[str, Exception] = {
    "invalid": InvalidMessage("note", "is empty"),
    "rejected": Rejected("closed already"),
    "missing": NotFound("thing"),
    "unavailable": Unavailable("PostgreSQL does not answer"),
    "unforeseen": KeyError(SECRET),
}


def make(causes: list[Cause], errors: dict[str, Exception], **options: Any) -> FastAPI:
    async def known(client_id: str) -> bool:
        return client_id in ("acme", "globex")

    app = make_app("things", "1", CALLERS, known, **options)
    app.include_router(things(causes, errors))

    @app.put("/v1/centre/thing", response_model=Made)
    async def centre(cause: CentreCauseOf) -> dict[str, str]:
        causes.append(cause)
        return {"thing_id": "centre"}

    @app.get("/v1/me", response_model=Made)
    async def me(caller: CallerOf) -> dict[str, str]:
        return {"thing_id": caller.name}

    return app


@pytest.fixture
def app(causes: list[Cause]) -> FastAPI:
    return make(causes, ERRORS)


def bearer(*clients: str, name: str = "ana", role: str = "agent") -> dict[str, str]:
    token = CALLERS.issue(name, clients or ("acme", "gone"), role, time.time_ns() // 1000, 60)
    return {"Authorization": f"Bearer {token}"}


@pytest.fixture
async def http(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        client.headers.update(bearer())
        yield client


def told(answer: httpx.Response, status: int) -> dict[str, Any]:
    """The problem document."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    document: dict[str, Any] = answer.json()
    assert document["status"] == status
    return document


def fields(answer: httpx.Response) -> list[str]:
    return [each["field"] for each in told(answer, 422)["errors"]]


async def test_a_cause(http: httpx.AsyncClient, causes: list[Cause]) -> None:
    body = {"thing_id": "t-1", "name": "Thing"}
    headers = {"Idempotency-Key": "key-1", "traceparent": TRACE, "Correlation-Id": "call-7"}
    assert (await http.post(THINGS, json=body, headers=headers)).json() == {"thing_id": "t-1"}
    cause = causes[-1]
    assert (cause.client_id, cause.actor, cause.idempotency_key) == ("acme", "ana", "key-1")
    assert (cause.traceparent, cause.correlation_id, cause.occurred_at) == (TRACE, "call-7", None)
    # The same whatever the order of the fields and the blanks; another with any other value.
    spaced = '{ "name": "Thing",\n "thing_id": "t-1" }'
    json_type = {"content-type": "application/json"}
    await http.post(THINGS, content=spaced, headers=headers | json_type)
    assert causes[-1] == cause
    await http.post(THINGS, json=body | {"name": "Other"}, headers=headers)
    assert causes[-1].fingerprint != cause.fingerprint
    await http.post(THINGS, json=body)
    assert (causes[-1].idempotency_key, causes[-1].fingerprint) == (None, b"")
    await http.post(THINGS, json=body, headers={"traceparent": "nonsense"})
    assert causes[-1].traceparent == ""
    for key in ("", "a b", "x" * 201, "\x7f", b"\xe9"):
        answer = await http.post(THINGS, json=body, headers={"Idempotency-Key": key})
        assert fields(answer) == ["Idempotency-Key"]


async def test_fingerprints_are_keyed(causes: list[Cause]) -> None:
    async def index(client_id: str, value: str) -> bytes:
        return f"{client_id} {value}".encode()

    transport = httpx.ASGITransport(app=make(causes, {}, index=index))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
        headers = bearer() | {"Idempotency-Key": "key-1"}
        await http.post(THINGS, json={"thing_id": "t", "name": "n"}, headers=headers)
    assert causes[-1].fingerprint.startswith(b"acme ")


async def test_who_may_call(http: httpx.AsyncClient) -> None:
    for headers, error in (
        ({"Authorization": ""}, ""),
        ({"Authorization": "Basic YTpi"}, ""),
        ({"Authorization": "Bearer x"}, "invalid_token"),
        ({"Authorization": f"{bearer()['Authorization']}x"}, "invalid_token"),
    ):
        answer = await http.get(THINGS, headers=headers)
        told(answer, 401)
        challenge = answer.headers["www-authenticate"]
        assert challenge.startswith('Bearer realm="relais"')
        assert (error in challenge) if error else ("error" not in challenge)
    partner = bearer("acme", role="partner")
    assert (await http.get(THINGS, headers=partner)).status_code == 200
    assert "agent" in told(await http.get("/v1/me", headers=partner), 403)["detail"]
    body = {"thing_id": "t-1", "name": "Thing"}
    told(await http.post(THINGS, json=body, headers=partner), 403)
    told(await http.delete(f"{THINGS}/there"), 403)
    supervisor = bearer("acme", role="supervisor")
    assert (await http.delete(f"{THINGS}/there", headers=supervisor)).status_code == 204
    assert told(await http.delete(f"{THINGS}/t-2", headers=supervisor), 404)


async def test_clients_are_not_told_apart_from_outside(http: httpx.AsyncClient) -> None:
    """Another caller's client, one that is not registered, and what is no client id: the same."""
    answers = {
        json.dumps(told(await http.request(method, path.replace("acme", client)), 404))
        for client in ("globex", "gone", "nobody", "ACME", "*", "%00", "a%20b")
        for method, path in (("GET", THINGS), ("POST", f"{THINGS}/missing/fail"))
    }
    assert len(answers) == 1
    everyone = bearer("*")
    assert (await http.get(THINGS.replace("acme", "globex"), headers=everyone)).status_code == 200
    told(await http.get(THINGS.replace("acme", "nobody"), headers=everyone), 404)


async def test_what_is_the_centres(http: httpx.AsyncClient, causes: list[Cause]) -> None:
    told(await http.put("/v1/centre/thing"), 403)
    assert (await http.put("/v1/centre/thing", headers=bearer("*"))).status_code == 200
    assert causes[-1].client_id == "centre"


GOOD = {"thing_id": "t-1", "name": "Thing"}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "thing_id"),
        (GOOD | {"thing_id": SECRET}, "thing_id"),
        (GOOD | {"thing_id": "x\n"}, "thing_id"),
        (GOOD | {"thing_id": 7}, "thing_id"),
        (GOOD | {"name": "x" * 201}, "name"),
        (GOOD | {"name": ""}, "name"),
        (GOOD | {"name": "  "}, "name"),
        (GOOD | {"name": "\u00a0"}, "name"),
        (GOOD | {"name": f"{SECRET}\n"}, "name"),
        (GOOD | {"name": f"{SECRET}\u2028{SECRET}"}, "name"),
        (GOOD | {"name": f"{SECRET}\0"}, "name"),
        (GOOD | {"note": f"{SECRET}\0"}, "note"),
        (GOOD | {"note": SECRET * 1000}, "note"),
        (GOOD | {"note": {SECRET: SECRET}}, "note"),
        (GOOD | {"kind": SECRET}, "kind"),
        (GOOD | {"tags": ["good", SECRET]}, "tags.1"),
        (GOOD | {"at": SECRET}, "at"),
        (GOOD | {"at": 7}, "at"),
        (GOOD | {"at": "2026-11-23T09:00:00"}, "at"),
        (GOOD | {"at": "1795000000"}, "at"),
        (GOOD | {"at": "2026-11-23"}, "at"),
        (GOOD | {"day": "2026-02-30"}, "day"),
        (GOOD | {"day": "1794960000"}, "day"),
        (GOOD | {"day": "2026-11-23T00:00:00Z"}, "day"),
        (GOOD | {"day": "2026-11-23\n"}, "day"),
        (GOOD | {"form": {"shape": SECRET}}, "form"),
        (GOOD | {"form": {"shape": "round", "radius": "1"}}, "form.round.radius"),
        (GOOD | {"form": {"shape": "round", "radius": 1.5}}, "form.round.radius"),
        (GOOD | {"form": {"shape": "round", "radius": True}}, "form.round.radius"),
        (GOOD | {"form": {"shape": "round", "radius": 1, "side": 1}}, "form.round.side"),
        (GOOD | {"nmae": "typo"}, "nmae"),
        (GOOD | {SECRET: 1}, "?"),
        (SECRET, "body"),
        ([SECRET], "body"),
        (None, "body"),
    ],
)
async def test_what_is_wrong_is_named_and_not_repeated(
    http: httpx.AsyncClient, body: Any, field: str
) -> None:
    answer = await http.post(THINGS, json=body)
    assert field in fields(answer)
    for word in SECRET.split():
        assert word not in answer.text
    assert "input_value" not in answer.text


async def test_good_forms(http: httpx.AsyncClient) -> None:
    """What JSON and RFC 3339 have several ways for; joiners in names."""
    body = {
        "thing_id": "t:1+2",
        "name": "Zo\u00eb \U0001f469\u200d\U0001f4bb",
        "note": "two\nlines\tand a tab",
        "tags": ["a", "b"],
        "day": "2028-02-29",
        "form": {"shape": "square", "side": 5.0},
    }
    for at in ("2026-11-23T09:00:00Z", "2026-11-23t09:00:00.123456z", "2026-11-23 09:00:00+01:00"):
        answer = await http.post(THINGS, json=body | {"at": at})
        assert answer.status_code == 201, answer.text


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"Ana Smith",
        b'{"name": ' + b"9" * 5000 + b"}",
        b"[" * 30_000,
        b'{"thing_id": "t", "name": "\\ud800"}',
        b'{"thing_id": "t", "name": "x", "note": "\\udfff"}',
        b"\xff\xfe",
    ],
)
async def test_what_is_no_body(http: httpx.AsyncClient, content: bytes) -> None:
    headers = {"content-type": "application/json", "Idempotency-Key": "key"}
    answer = await http.post(THINGS, content=content, headers=headers)
    assert fields(answer)
    assert "Ana" not in answer.text
    told(await http.post(THINGS, content=b"x" * (64 << 10) + b"x"), 413)


async def test_errors_are_problems(
    http: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)

    async def failed(name: str, status: int) -> tuple[dict[str, Any], httpx.Headers]:
        answer = await http.post(f"{THINGS}/{name}/fail")
        return told(answer, status), answer.headers

    document, _ = await failed("invalid", 422)
    assert document["errors"] == [{"field": "note", "reason": "is empty"}]
    assert document["detail"] == "note: is empty"
    assert (await failed("rejected", 409))[0]["detail"] == "closed already"
    assert (await failed("missing", 404))[0]["detail"] == "no such thing"
    document, headers = await failed("unavailable", 503)
    assert headers["retry-after"] == "1"
    assert "eventkit.http" not in {record.name for record in caplog.records}
    document, _ = await failed("unforeseen", 500)
    assert "KeyError" in caplog.text
    assert "test_http.py" in caplog.text
    for said in (json.dumps(document), caplog.text):
        assert "Ana" not in said
    told(await http.get("/v1/nothing"), 404)
    answer = await http.patch(THINGS)
    assert told(answer, 405)["title"] == "Method Not Allowed"
    assert answer.headers["allow"] == "GET, POST"


async def test_pages(http: httpx.AsyncClient) -> None:
    for limit in (1, 3, COUNT - 1, COUNT, COUNT + 1):
        cursor, seen, pages = None, [], 0
        while cursor is not None or not pages:
            query = {"limit": limit} | ({} if cursor is None else {"cursor": cursor})
            page = (await http.get(THINGS, params=query)).json()
            assert 0 < len(page["items"]) <= limit
            seen += [item["number"] for item in page["items"]]
            cursor, pages = page["next"], pages + 1
        assert seen == list(range(COUNT))
        assert pages == -(-COUNT // limit)
    for limit in (0, 201, "x", ""):
        assert fields(await http.get(THINGS, params={"limit": limit})) == ["limit"]


def cursor_of(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    "cursor",
    [
        "",
        "x",
        "Ana Smith",
        "é",
        "\x00",
        "WyJhIl0",
        *map(cursor_of, (1, {}, [], [1], ["1", 1], [1, "1", 1], [True, "1"], [1.5, "1"])),
        *map(cursor_of, ([2**63, "1"], [1, "\0"], [1, "\ud800"], [None, "1"], [[1], "1"])),
        "A" * 2001,
    ],
)
async def test_cursors_that_are_not_ours(http: httpx.AsyncClient, cursor: str) -> None:
    answer = await http.get(THINGS, params={"cursor": cursor})
    assert fields(answer) == ["cursor"]
    assert "Ana" not in answer.text


@given(st.integers(-(2**63), 2**63 - 1), st.text().filter(str.isprintable))
def test_a_cursor_is_the_key_again(number: int, text: str) -> None:
    from eventkit.http import _position

    page = Page(1, None).of([1, 2], lambda _: (number, text))
    assert page["items"] == [1]
    assert Page(1, _position(page["next"])).after(int, str) == (number, text)


@given(st.integers(0, 253_402_300_799_999_999))
def test_times(us: int) -> None:
    assert microseconds(time_of(us)) == us
    assert time_of(0) == datetime(1970, 1, 1, tzinfo=UTC)


async def test_health(causes: list[Cause]) -> None:
    ready = False

    async def check() -> None:
        if not ready:
            raise Unavailable("the store does not answer")

    app = make(causes, {}, checks=[check])
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
        assert (await http.get("/health/live")).status_code == 200
        assert "the store" in told(await http.get("/health/ready"), 503)["detail"]
        ready = True
        assert (await http.get("/health/ready")).json() == {"status": "ok"}


async def test_spans_name_routes_and_no_urls(
    http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    spans = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    monkeypatch.setattr(telemetry, "tracer", provider.get_tracer("test"))
    headers = {"traceparent": TRACE}
    await http.post(f"{THINGS}/unforeseen/fail?x=Ana", headers=headers)
    await http.get("/v1/Ana")
    first, second = spans.get_finished_spans()
    assert first.name == "POST /v1/clients/{client_id}/things/{thing_id}/fail"
    assert first.context is not None
    assert f"{first.context.trace_id:032x}" == TRACE.split("-")[1]
    assert second.name == "GET"
    said = first.to_json() + second.to_json()
    assert "Ana" not in said
    assert "acme" not in said


# The document.


def test_every_answer_is_in_the_document(app: FastAPI) -> None:
    document = app.openapi()
    assert document["components"]["securitySchemes"]["bearer"]["scheme"] == "bearer"
    assert "HTTPValidationError" not in json.dumps(document)
    paths = document["paths"]
    expected = {201, 401, 403, 404, 408, 409, 413, 422, 500, 503}
    make = paths["/v1/clients/{client_id}/things"]["post"]
    assert set(map(int, make["responses"])) == expected
    assert set(map(int, paths["/v1/me"]["get"]["responses"])) == {200, 401, 403, 500, 503}
    for status in expected - {201}:
        content = make["responses"][str(status)]["content"]["application/problem+json"]
        assert content["schema"] == {"$ref": "#/components/schemas/Problem"}
    headers = {each["name"] for each in make["parameters"]}
    assert {"Idempotency-Key", "Correlation-Id"} <= headers


schema = schemathesis.openapi.from_asgi(
    "/openapi.json", make([], {key: ERRORS[key] for key in ("invalid", "rejected", "missing")})
)

schemathesis.openapi.format(
    "cursor", st.integers(0, COUNT).map(lambda number: cursor_of([number, str(number)]))
)


@schema.parametrize()
@settings(max_examples=40, deadline=None, derandomize=True, database=None)
def test_the_document_holds(case: schemathesis.Case) -> None:
    """Nothing that follows the document, or does not, is answered otherwise than it says."""
    # Queries may have names that nobody knows: they are ignored, and what is wrong in a body is
    # tried above.
    excluded = [negative_data_rejection]
    case.call_and_validate(headers=bearer("*", role="admin"), excluded_checks=excluded)


# The server.


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


Serving = Callable[..., Any]


async def test_the_server_ends_what_is_under_way(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    entered, stop, port = asyncio.Event(), asyncio.Event(), free_port()
    app = make([], {})

    @app.get("/v1/slow/{name}")
    async def slow(name: str) -> str:
        entered.set()
        await asyncio.sleep(0.5)
        return "done"

    server = asyncio.create_task(serve(app, "127.0.0.1", port, stop))
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as http:
        async with asyncio.timeout(10):
            while True:
                try:
                    await http.get("/health/live")
                    break
                except httpx.ConnectError:
                    await asyncio.sleep(0.05)
        caplog.clear()
        asked = asyncio.create_task(http.get("/v1/slow/Ana"))
        await entered.wait()
        stop.set()
        assert (await asked).json() == "done"
    await asyncio.wait_for(server, 5)
    ours = [
        record for record in caplog.records if not record.name.startswith(("httpx", "httpcore"))
    ]
    assert not any("Ana" in record.getMessage() for record in ours)
