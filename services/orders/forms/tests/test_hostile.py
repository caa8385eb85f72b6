"""Schemas and answers that are meant to take long, or to break something: through real HTTP, each
is answered in a second, also on a slow machine."""

import asyncio
import gc
import json
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from typing import Any

import httpx
import pytest

from eventkit.callers import Role
from eventkit.decider import Invalid
from eventkit.http import serve
from services.orders.forms import profile as p
from services.orders.forms import schema as s
from services.orders.forms.codec import form_of
from services.orders.forms.service import Forms
from services.orders.forms.tests.support import MAX_BODY, Api, application, document, part

BUDGET_S = 1.0
TEXT = {"type": "string"}
CATASTROPHIC = [
    r"(a+)+$",
    r"^(a|a)*$",
    r"^(a|aa)+$",
    r"(x+x+)+y",
    r"^(([a-z])+.)+[A-Z]([a-z])+$",
    r"(.*)(.*)(.*)(.*)(.*)[a-f]{20}x",
    r"(a|b)*a(a|b){200}$",
]
LONG = ["a" * 10_000, "a" * 9_999 + "!", "ab" * 5_000, "x" * 10_000]


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@pytest.fixture(scope="module", autouse=True)
def only_ours() -> Iterator[None]:
    """The time is that of the work: not of a collector that walks what thousands of other tests
    have left in this process, which is ten times as much."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture
async def real(forms: Forms, client_id: str) -> AsyncIterator[Api]:
    """A supervisor's calls to a server of its own."""
    port = free_port()
    stop = asyncio.Event()
    server = asyncio.create_task(serve(application(forms), "127.0.0.1", port, stop, grace_s=1))
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30) as http:
        for _ in range(200):
            with suppress(httpx.ConnectError):
                await http.get("/health/live")
                break
            await asyncio.sleep(0.02)
        yield Api(http, client_id, Role.SUPERVISOR)
    stop.set()
    await server


async def timed(api: Api, path: str, body: Any = None, **more: Any) -> httpx.Response:
    begun = time.process_time()
    answer = await api.call("POST", path, body, **more)
    assert time.process_time() - begun < BUDGET_S
    return answer


def text(depth: int, opening: str, closing: str, core: str = "1") -> str:
    return opening * depth + core + closing * depth


def with_schema(schema: str) -> bytes:
    whole = json.dumps(document({"a": TEXT}) | {"schema": "HERE"})
    return whole.replace('"HERE"', schema).encode()


def with_one(schema: str) -> bytes:
    return with_schema(f'{{"type": "object", "properties": {{"a": {schema}}}}}')


def laughs(count: int, each: str) -> bytes:
    """Each definition is made of ten of the next."""
    definitions = {
        f"d{number}": {"allOf": [{each: 1} | {"$ref": f"#/$defs/d{number + 1}"}] * 10}
        if each != "$ref"
        else {"allOf": [{"$ref": f"#/$defs/d{number + 1}"}] * 10}
        for number in range(count)
    } | {f"d{count}": TEXT}
    schema = {
        "type": "object",
        "properties": {"a": {"type": "string", "$ref": "#/$defs/d0"}},
        "$defs": definitions,
    }
    return with_schema(json.dumps(schema))


def circle(length: int) -> bytes:
    definitions = {
        f"d{number}": {"items": {"$ref": f"#/$defs/d{(number + 1) % length}"}}
        for number in range(length)
    }
    one = {"type": "array", "$ref": "#/$defs/d0"}
    schema = {"type": "object", "properties": {"a": one}, "$defs": definitions}
    return with_schema(json.dumps(schema))


JSON = {"Content-Type": "application/json"}

HOSTILE = {
    "deep": (422, with_one(text(50_000, '{"not":', "}", "{}"))),
    "deep lists": (422, with_one(text(100_000, "[", "]"))),
    "deeper than allowed": (422, with_one(text(200, '{"not": ', "}", "{}"))),
    "nested, and just read": (422, with_one(text(450, '{"items": ', "}", "{}"))),
    "billion laughs": (422, laughs(9, "$ref")),
    "laughs with something else": (422, laughs(12, "minLength")),
    "laughs, not so deep": (422, laughs(6, "$ref")),
    "a circle of one": (422, circle(1)),
    "a circle of ninety": (422, circle(90)),
    "a large number": (422, with_one('{"type": "number", "maximum": 1e400}')),
    "a larger number": (422, with_one('{"type": "number", "maximum": ' + "9" * 5_000 + "}")),
    "no number": (422, with_one('{"type": "number", "maximum": NaN}')),
    "half a pair": (422, with_one('{"type": "string", "title": "\\ud800"}')),
    "a NUL": (422, with_one('{"type": "string", "title": "\\u0000"}')),
    "many patterns": (
        422,
        with_one(
            json.dumps(
                {
                    "type": "string",
                    "maxLength": 1,
                    "allOf": [{"pattern": f"(?i)[é{n}]{{100}}\\pL\\pL\\pL"} for n in range(400)],
                }
            )
        ),
    ),
    "a large pattern": (422, with_one('{"type": "string", "pattern": "((a{100}){100}){100}"}')),
    "many values": (422, with_one(json.dumps({"type": "string", "enum": ["x" * 90] * 5_000}))),
    "many properties": (
        422,
        with_one(
            json.dumps({"type": "object", "properties": {f"f{n}": {} for n in range(20_000)}})
        ),
    ),
    "many definitions": (
        422,
        with_schema(json.dumps({"type": "object", "$defs": {f"f{n}": {} for n in range(20_000)}})),
    ),
    "lists of lists": (
        422,
        with_one(text(8, '{"type": "array", "items": ', "}", '{"type": "string"}')),
    ),
    "ten megabytes": (413, with_one(json.dumps({"type": "string", "title": "x" * 10_000_000}))),
    "as large as a body": (
        422,
        with_one(json.dumps({"type": "string", "title": "x" * (MAX_BODY - 1_000)})),
    ),
    **{
        f"lookaround {pattern}": (422, with_one(json.dumps({"type": "string", "pattern": pattern})))
        for pattern in ("(?=a)b", "(?!a)b", "(?<=a)b", r"(a)\1", "(?P=x)", "(?>a+)", "a++")
    },
}


@pytest.mark.parametrize("name", HOSTILE)
async def test_a_hostile_schema_is_refused_at_once(real: Api, name: str) -> None:
    status, body = HOSTILE[name]
    for path in ("/forms/check", "/products/p/forms"):
        answer = await timed(real, path, content=body, headers=JSON)
        assert answer.status_code == status, answer.text
        assert answer.headers["content-type"] == "application/problem+json"
    assert (await real.call("GET", "/products/p/forms")).status_code == 404


@pytest.mark.parametrize("pattern", CATASTROPHIC)
async def test_a_catastrophic_expression_is_none(real: Api, pattern: str) -> None:
    one = {"type": "string", "pattern": pattern, "maxLength": 10_000}
    published = await timed(real, "/products/p/forms", document({"a": one}))
    assert published.status_code == 201
    for answer in LONG:
        body = {"answers": {"a": answer}}
        found = await timed(real, "/products/p/forms/versions/1/faults", body)
        assert found.status_code == 200


async def test_a_pattern_that_could_take_long_is_refused_by_its_size(real: Api) -> None:
    one = {"type": "string", "pattern": r"[\w\s]{1,500}!"}
    answer = await timed(real, "/products/p/forms", document({"a": one}))
    assert answer.status_code == 422
    assert "smaller" in answer.json()["detail"]
    shorter = one | {"maxLength": 500}
    assert (await timed(real, "/products/p/forms", document({"a": shorter}))).status_code == 201


async def test_a_form_that_names_many_values_is_refused_where_each_takes_long(real: Api) -> None:
    heavy = {"type": "string", "anyOf": many([{"minLength": 9}] * 4_000), "maxLength": 20}
    prices = [
        {
            "rule_id": f"r{number}",
            "label": "R",
            "field": "a",
            "amounts": {f"answer {number} {other}": "1" for other in range(200)},
        }
        for number in range(50)
    ]
    form = document({"a": heavy}, currency="EUR", prices=prices)
    answer = await timed(real, "/products/p/forms", form)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "schema.properties.a"
    easy = document({"a": TEXT}, currency="EUR", prices=prices)
    assert (await timed(real, "/products/p/forms", easy)).status_code == 201


ANSWERS = {
    "deep": text(100_000, "[", "]"),
    "deep, and just read": text(400, "[", "]"),
    "deep objects": text(400, '{"b": ', "}"),
    "too deep": text(8, "[", "]"),
    "long": '"' + "x" * 10_001 + '"',
    "large": json.dumps(["x" * 9_000] * 10),
    "many": json.dumps([0] * 30_000),
    "many names": json.dumps({f"n{number}": 1 for number in range(30_000)}),
    "a large whole number": "9" * 4_000,
    "a number too long to read": "9" * 400_000,
    "infinity": "1e400",
    "not a number": "NaN",
    "a NUL": '"\\u0000"',
    "half a pair": '"\\udfff"',
    "half a pair in a name": '{"\\ud800": 1}',
}


@pytest.mark.parametrize("name", ANSWERS)
async def test_hostile_answers_are_at_fault_at_once(real: Api, name: str) -> None:
    properties = {
        "a": {"type": "array"},
        "b": {"type": "object"},
        "c": TEXT,
        "d": {"type": "number"},
    }
    await real.publish("p", document(properties))
    for field in properties:
        body = f'{{"answers": {{"{field}": {ANSWERS[name]}}}}}'.encode()
        path = "/products/p/forms/versions/1/faults"
        answer = await timed(real, path, content=body, headers=JSON)
        assert answer.status_code in (200, 422)
        assert answer.status_code == 422 or answer.json()["faults"]


async def test_hostile_names_of_answers(real: Api) -> None:
    await real.publish("p", document({"a": TEXT}))
    for answers in (
        {f"n{number}": 1 for number in range(20_000)},
        {"x" * 100_000: 1},
        {"\0": 1},
        {"": 1},
    ):
        path = "/products/p/forms/versions/1/faults"
        answer = await timed(real, path, {"answers": answers})
        assert answer.status_code == 200
        assert answer.json()["faults"]


# The most work that a schema may make, by each of its means, is done in time.


def many(nodes: list[Any]) -> list[Any]:
    while len(nodes) > p.MAX_ENUM:
        nodes = [
            {"allOf": nodes[first : first + p.MAX_ENUM]}
            for first in range(0, len(nodes), p.MAX_ENUM)
        ]
    return nodes


def array(items: Any, **more: Any) -> Any:
    return {"type": "array", "items": items, **more}


WORST: dict[str, tuple[Any, Any]] = {
    "not": (lambda n: TEXT | {"allOf": many([{"not": {}}] * n)}, "x" * 10_000),
    "anyOf": (lambda n: TEXT | {"anyOf": many([{"minLength": 9}] * n)}, "x"),
    "oneOf": (lambda n: TEXT | {"oneOf": many([TEXT] * n)}, "x" * 10_000),
    "items": (lambda n: array({"allOf": many([{"type": "integer"}] * n)}), ["x"] * 100),
    "items of items": (lambda n: array(array(TEXT, maxItems=min(n, 100))), [[1] * 90] * 60),
    "pattern": (lambda n: TEXT | {"pattern": rf"[\w\s]{{1,{min(n, 900)}}}!"}, "a" * 10_000),
    "patterns": (
        lambda n: TEXT | {"allOf": many([{"pattern": "(a|b)*a(a|b){9}$"}] * n)},
        "ab" * 5_000,
    ),
    "formats": (lambda n: TEXT | {"allOf": many([{"format": "phone"}] * n)}, "+33 1 42 68 53 00"),
    "unique": (
        lambda n: {"type": "array", "allOf": many([{"uniqueItems": True}] * n)},
        [["x" * 6_000]] * 10,
    ),
    "enum": (
        lambda n: TEXT | {"allOf": many([{"enum": [f"é{k}" for k in range(100)]}] * n)},
        "x" * 10_000,
    ),
    "required": (
        lambda n: {
            "type": "object",
            "allOf": many([{"required": [f"f{k}" for k in range(50)]}] * n),
        },
        {},
    ),
}


@pytest.mark.parametrize("name", WORST)
def test_the_most_work_that_is_allowed_is_done_in_time(name: str) -> None:
    one, answer = WORST[name]

    def is_allowed(count: int) -> bool:
        try:
            s.check({"type": "object", "properties": {"a": one(count)}})
        except Invalid:
            return False
        return True

    allowed, refused = 1, 2 * p.MAX_WORK
    while refused - allowed > 1 + allowed // 20:
        middle = (allowed + refused) // 2
        if is_allowed(middle):
            allowed = middle
        else:
            refused = middle
    form = form_of(document({"a": one(allowed)}))
    for work in (lambda: s.check_form(form), lambda: s.faults(form, {"a": answer}, partial=False)):
        begun = time.process_time()
        work()
        assert time.process_time() - begun < BUDGET_S


async def test_nothing_is_unforeseen_at_the_edge_of_what_can_be_read(api: Api) -> None:
    """Where Python has just not given up: which of the readers does so is a matter of the stack."""
    await api.publish("p", document({"a": TEXT}))
    statuses = set()
    for depth in [*range(780, 1_000, 4), 2_000]:
        lists = text(depth, "[", "]")
        default = json.dumps(document({"a": TEXT}, [part("a", default="HERE")]))
        for path, body in (
            ("/forms/check", with_one(text(depth // 2, '{"not":', "}", "{}"))),
            ("/forms/check", with_one(f'{{"type": "string", "examples": {lists}}}')),
            ("/forms/check", default.replace('"HERE"', lists).encode()),
            ("/products/p/forms/versions/1/faults", f'{{"answers": {{"a": {lists}}}}}'.encode()),
        ):
            answer = await timed(api, path, content=body, headers=JSON)
            statuses.add(answer.status_code)
    assert statuses == {200, 422}
