"""HTTP edges: who calls and what for, problem documents (RFC 9457), pages, limits, one server.

    app = make_app("Relais crm", "1", callers, clients.known, checks=[store.check])
    app.include_router(complaints.api.router(service))
    await serve(app, settings.host, settings.port)

    def router(service: Complaints) -> APIRouter:
        api = APIRouter(prefix="/v1/clients/{client_id}/complaints", tags=["complaints"])

        @api.post("", status_code=201, response_model=Opened, responses=problems(409))
        async def open(cause: CauseOf, body: OpenComplaint) -> Answer:
            return await service.open(cause, body.command())

        @api.post("/{complaint_id}/verdict", dependencies=[require("supervisor")], ...)
        @api.get("", response_model=Listing[Summary])
        async def complaints(client_id: ClientOf, page: PageOf) -> dict[str, Any]:
            return page.of(await service.list(client_id, page.after(int, str), page.rows),
                           key=lambda each: (each.opened_at, each.complaint_id))

Without `require` an endpoint is for agents and above; partners may call only what says
`require("partner")`. An error names a field and a reason, and never repeats what was given: it may
be a person's. The document at /openapi.json lists each answer that these parts can give by itself.
"""

import asyncio
import base64
import binascii
import contextlib
import json
import logging
import re
import signal
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from http import HTTPStatus
from typing import Annotated, Any, Generic, TypeVar, overload

import uvicorn
from fastapi import Depends, FastAPI, Header, Path, Query, Request, Response, Security
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from opentelemetry import trace
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
)
from starlette.exceptions import HTTPException
from starlette.routing import compile_path
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from eventkit import telemetry
from eventkit.callers import Caller, Callers, Forbidden, Role, Unauthenticated
from eventkit.causes import KEY, Index, make_cause
from eventkit.errors import InvalidMessage, NotFound, Rejected, Unavailable
from eventkit.eventstore import Cause
from eventkit.privatelog import anonymous_trace

__all__ = [
    "ID",
    "Body",
    "CallerOf",
    "CauseOf",
    "CentreCauseOf",
    "CentreOf",
    "ClientOf",
    "Day",
    "EventView",
    "History",
    "Id",
    "Lax",
    "Listing",
    "Name",
    "Page",
    "PageOf",
    "Problem",
    "Text",
    "Time",
    "Whole",
    "example",
    "make_app",
    "microseconds",
    "problem",
    "problems",
    "require",
    "serve",
    "time_of",
]

log = logging.getLogger(__name__)

MAX_BODY = 64 << 10
MAX_DRAINED = 32 << 20
BODY_S = 10.0
"""How long a body may take to arrive, and the rest of one that is too large."""
GRACE_S = 5.0
CENTRE = "centre"

T = TypeVar("T")

# Types of fields.

ID = r"^[A-Za-z0-9][A-Za-z0-9._:+-]{0,127}$"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _of_form(form: str, example: str) -> BeforeValidator:
    """Pydantic alone takes numbers, and texts of digits, for seconds since 1970."""

    def check(value: object) -> object:
        if not (isinstance(value, str) and re.match(form, value, re.ASCII)):
            raise ValueError(f"must be text such as {example}")
        return value

    return BeforeValidator(check)


def _without_nul(value: str) -> str:
    # PostgreSQL keeps every other character; lone surrogates are refused by pydantic itself.
    if "\0" in value:
        raise ValueError("must not contain the character NUL")
    return value


def _whole(value: object) -> object:
    return int(value) if isinstance(value, float) and value.is_integer() else value


# Control characters and line separators. Not "printable": joiners belong to names, too.
_CONTROL = r"\x00-\x1f\x7f-\x9f\u2028\u2029"
_ONE_LINE = rf"^[^{_CONTROL}]*[^\s{_CONTROL}][^{_CONTROL}]*$"


def _one_line(value: str) -> str:
    if not re.fullmatch(_ONE_LINE, value):
        raise ValueError("must be one line without control characters, and not blank")
    return value


Id = Annotated[str, Field(pattern=ID, examples=["c-1042"])]
"""An id that a caller gives."""
Name = Annotated[
    str,
    StringConstraints(min_length=1, max_length=200),
    AfterValidator(_one_line),
    Field(json_schema_extra={"pattern": _ONE_LINE}),
]
"""One line for people: 1 to 200 characters, not blank. `Annotated[Name, Field(max_length=20)]`."""
Text = Annotated[
    str,
    StringConstraints(max_length=10_000),
    AfterValidator(_without_nul),
    Field(json_schema_extra={"pattern": r"^[^\u0000]*$"}),
]
"""Free text, up to 10,000 characters; may be empty, may have lines."""
Time = Annotated[
    AwareDatetime,
    _of_form(r"\d{4}-\d\d-\d\d[Tt ]", "2026-11-23T09:00:00.250Z"),
    Field(strict=False),
]
"""RFC 3339, with its zone; its microseconds: `microseconds(time)`."""
Day = Annotated[date, _of_form(r"\d{4}-\d\d-\d\d$", "2026-11-23"), Field(strict=False)]
"""A day, such as 2026-11-23."""
Whole = Annotated[int, BeforeValidator(_whole)]
"""An integer; also as 5.0, which is the same number in JSON and in JSON Schema. Limits as
`Whole = Field(ge=0)`: within Annotated they would be missing in the document."""
Lax = Annotated[T, Field(strict=False)]
"""For what JSON has no type for: `Lax[Severity]` (an enum), `Lax[tuple[Id, ...]]`, `Lax[float]`."""


@overload
def microseconds(time: datetime) -> int: ...
@overload
def microseconds(time: datetime | None) -> int | None: ...
def microseconds(time: datetime | None) -> int | None:
    """Microseconds since 1970-01-01T00:00:00Z, which events and commands have; None of None."""
    return None if time is None else (time - EPOCH) // timedelta(microseconds=1)


@overload
def time_of(us: int) -> datetime: ...
@overload
def time_of(us: int | None) -> datetime | None: ...
def time_of(us: int | None) -> datetime | None:
    """The other way round, for answers; UTC."""
    return None if us is None else EPOCH + timedelta(microseconds=us)


class Body(BaseModel):
    """What a request or a part of it has: nothing else, and of just these types."""

    model_config = ConfigDict(extra="forbid", strict=True)


def example(*given: Mapping[str, Any], **fields: Any) -> ConfigDict:
    """The `model_config` of a Body that shows these in the document: mappings, or one by fields."""
    shown: list[Any] = [*given, fields] if fields else [*given]
    return ConfigDict(extra="forbid", strict=True, json_schema_extra={"examples": shown})


# Who calls, and what for.


@dataclass(frozen=True)
class _Edge:
    callers: Callers | None
    known_client: Callable[[str], Awaitable[bool]] | None
    index: Index | None


_bearer = HTTPBearer(auto_error=False, scheme_name="bearer", bearerFormat="JWT")
Credentials = Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)]


# Each of these dependencies is one step of FastAPI's and not a tree of them: a step costs more than
# all that is done in it.


def _authenticated(request: Request, credentials: Credentials) -> Caller:
    edge: _Edge = request.app.state.edge
    if credentials is None or edge.callers is None:
        raise Unauthenticated("there must be a header Authorization: Bearer TOKEN", given=False)
    return edge.callers.verify(credentials.credentials, time.time_ns() // 1000)


def _authorized(request: Request, credentials: Credentials) -> Caller:
    caller = _authenticated(request, credentials)
    if not getattr(request.state, "role_checked", False):
        caller.must(Role.AGENT)
    return caller


async def _must_see(request: Request, caller: Caller, client_id: str) -> None:
    edge: _Edge = request.app.state.edge
    # Whether there is such a client is not to be learnt by those who do not work for it.
    if not caller.sees(client_id):
        raise NotFound("client")
    if edge.known_client is not None and not await edge.known_client(client_id):
        raise NotFound("client")


def _must_see_all(caller: Caller) -> None:
    if caller.clients is not None:
        raise Forbidden("needs a token for every client: this is the centre's own")


def require(role: Role | str) -> Any:
    """For `dependencies=[...]` of an endpoint or router: only callers of this role or a higher one.
    It is decided before everything else of the endpoint."""
    least = Role(role)

    async def check(request: Request, credentials: Credentials) -> None:
        _authenticated(request, credentials).must(least)
        request.state.role_checked = True

    return Depends(check)


async def _caller(request: Request, credentials: Credentials) -> Caller:
    return _authorized(request, credentials)


CallerOf = Annotated[Caller, Depends(_caller)]
"""Who calls. Raises Unauthenticated and Forbidden."""

ClientId = Annotated[str, Path(examples=["acme"])]


async def _client(request: Request, credentials: Credentials, client_id: ClientId) -> str:
    await _must_see(request, _authorized(request, credentials), client_id)
    return client_id


ClientOf = Annotated[str, Depends(_client)]
"""The path's {client_id}: the caller's token names it and it is registered, otherwise NotFound."""


async def _centre(request: Request, credentials: Credentials) -> str:
    _must_see_all(_authorized(request, credentials))
    return CENTRE


CentreOf = Annotated[str, Depends(_centre)]
"""For paths without a client, of the centre's own: "centre", for those who see every client."""

# Checked below and not by FastAPI, which would do so before it is known who calls.
Key = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        description="The same key with the same request has one effect, and one answer.",
        examples=["7b1c9a52-0d7e-4f4e-9d61-2f3f1c1b8a10"],
        json_schema_extra={"pattern": KEY},
    ),
]
Correlation = Annotated[
    str | None,
    Header(
        alias="Correlation-Id",
        description="Kept with the events, to find what belongs together.",
        examples=["call-2031"],
        json_schema_extra={"pattern": ID},
    ),
]


async def _cause(
    request: Request,
    credentials: Credentials,
    client_id: ClientId,
    key: Key = None,
    correlation: Correlation = None,
) -> Cause:
    caller = _authorized(request, credentials)
    await _must_see(request, caller, client_id)
    return await _cause_of(request, caller, client_id, key, correlation)


async def _centre_cause(
    request: Request, credentials: Credentials, key: Key = None, correlation: Correlation = None
) -> Cause:
    caller = _authorized(request, credentials)
    _must_see_all(caller)
    return await _cause_of(request, caller, CENTRE, key, correlation)


async def _cause_of(
    request: Request, caller: Caller, client_id: str, key: str | None, correlation: str | None
) -> Cause:
    if key is not None and not re.fullmatch(KEY, key):
        raise InvalidMessage("Idempotency-Key", "1 to 200 visible ASCII characters, no blanks")
    if correlation is not None and not re.fullmatch(ID, correlation):
        raise InvalidMessage("Correlation-Id", "no id")
    return await make_cause(
        caller,
        client_id,
        key,
        b"" if key is None else await _asked(request),
        request.headers.get("traceparent", ""),
        correlation or "",
        request.app.state.edge.index,
    )


async def _asked(request: Request) -> bytes:
    """Method, path, query, and the JSON, whatever the order of its fields and its blanks."""
    try:
        body = json.dumps(await request.json(), sort_keys=True, separators=(",", ":")).encode()
    except (ValueError, RecursionError):
        body = await request.body()
    head = "\n".join((request.method, request.url.path, request.url.query, ""))
    return head.encode("utf-8", "surrogatepass") + body


CauseOf = Annotated[Cause, Depends(_cause)]
"""`ClientOf`, and who wants it and why, for the event store. occurred_at is None: now."""
CentreCauseOf = Annotated[Cause, Depends(_centre_cause)]
"""The same with `CentreOf`."""


# Pages.


class Listing(BaseModel, Generic[T]):
    """One page. `next` is the cursor of the page after it; null on the last."""

    items: list[T]
    next: str | None


@dataclass(frozen=True, slots=True)
class Page:
    """Which part of a listing is wanted. A listing is ordered by a key of its own, unique, and not
    personal, since it becomes the cursor in the URL of the next page."""

    limit: int
    position: tuple[Any, ...] | None

    @property
    def rows(self) -> int:
        """How many rows to ask the database for: one more, to know whether there is a next page."""
        return self.limit + 1

    def after(self, *types: type[Any]) -> tuple[Any, ...] | None:
        """The key after which the page begins, of these types (str, int, bool); None: the first
        page. Raises Invalid for the cursor of another listing."""
        position = self.position
        if position is not None and tuple(type(part) for part in position) != types:
            raise InvalidMessage("cursor", "not one of this listing")
        return position

    def of(self, items: Sequence[T], key: Callable[[T], Sequence[Any]]) -> dict[str, Any]:
        """The answer, a Listing: up to `rows` items in, up to `limit` out."""
        shown = items[: self.limit]
        more = len(items) > self.limit
        return {"items": shown, "next": _cursor(key(shown[-1])) if more else None}


def _cursor(position: Sequence[Any]) -> str:
    data = json.dumps(list(position), separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _position(cursor: str) -> tuple[Any, ...]:
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        position = json.loads(base64.b64decode(padded, b"-_", validate=True))
        good = isinstance(position, list) and all(map(_sortable, position))
    except (ValueError, RecursionError, binascii.Error):
        good = False
    if not good:
        raise InvalidMessage("cursor", "not one that we gave")
    return tuple(position)


def _sortable(part: object) -> bool:
    if isinstance(part, str):
        return "\0" not in part and part.isprintable()
    return isinstance(part, int) and -(2**63) <= part < 2**63


async def _page(
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    cursor: Annotated[
        str | None,
        Query(
            max_length=2_000,
            description="`next` of the page before.",
            json_schema_extra={"format": "cursor"},
        ),
    ] = None,
) -> Page:
    return Page(limit, None if cursor is None else _position(cursor))


PageOf = Annotated[Page, Depends(_page)]
"""The query's `limit` (1 to 200, default 50) and `cursor`."""


# Histories.


class EventView(BaseModel):
    """One event of a stream. details: what it says."""

    version: int
    event: str
    occurred_at: datetime
    recorded_at: datetime
    actor: str
    details: dict[str, Any]


class History(BaseModel):
    """Every event of a stream, oldest first."""

    items: list[EventView]


# Problems.


class FieldProblem(BaseModel):
    field: str
    reason: str


class Problem(BaseModel):
    """What went wrong (RFC 9457). `errors`: where and why, the first of them in `detail` too. A 409
    may have other members that help to go on."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[FieldProblem] = []


_MEANINGS = {
    401: "No token, or none that holds",
    403: "The caller's role is too low",
    404: "There is no such thing, or none that the caller may see",
    408: "The body took too long to arrive",
    409: "Refused: it contradicts what is so, or the idempotency key was used for something else",
    413: "The body is too large",
    422: "A field makes no sense: `errors` says which and why",
    500: "Unforeseen",
    503: "An engine does not answer: nothing has changed, the same again may succeed",
}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """For `responses=` of an endpoint: these statuses, as problem documents."""
    return {status: _documented(status) for status in statuses}


def _documented(status: int) -> dict[str, Any]:
    schema = {"$ref": "#/components/schemas/Problem"}
    answer: dict[str, Any] = {
        "description": _MEANINGS.get(status, HTTPStatus(status).phrase),
        "content": {"application/problem+json": {"schema": schema}},
    }
    header = {401: "WWW-Authenticate", 503: "Retry-After"}.get(status)
    if header is not None:
        answer["headers"] = {header: {"schema": {"type": "string"}}}
    return answer


def problem(
    status: int,
    reason: str,
    errors: Sequence[tuple[str, str]] = (),
    headers: Mapping[str, str] | None = None,
    more: Mapping[str, Any] | None = None,
) -> Response:
    """errors: (field, reason) pairs; the first is in `detail` too. more: other members of it."""
    content: dict[str, Any] = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": reason,
        **(more or {}),
    }
    if errors:
        content["detail"] = ": ".join(filter(None, errors[0]))
        content["errors"] = [{"field": field, "reason": why} for field, why in errors]
    # ASCII, because what people send may be no valid Unicode.
    data = json.dumps(content, ensure_ascii=True)
    return Response(data, status, headers, "application/problem+json")


async def _validation(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return problem(422, "", [(_field(each), _reason(each)) for each in error.errors()[:20]])


def _field(error: Mapping[str, Any]) -> str:
    if error["type"] == "json_invalid":
        return "body"
    return ".".join(map(_part, error["loc"][1:])) or "body"


_NAMELIKE = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}")


def _part(part: object) -> str:
    # A name that the caller made up is the caller's value, too.
    return str(part) if isinstance(part, int) or _NAMELIKE.fullmatch(str(part)) else "?"


def _reason(error: Mapping[str, Any]) -> str:
    context = error.get("ctx", {})
    match error["type"]:
        case "json_invalid":
            return f"not JSON: {context.get('error', '')} at {error['loc'][-1]}"
        case "union_tag_invalid":  # its own text repeats the tag that was given
            return f"should be one of {context.get('expected_tags', '')}"
    text = str(error["msg"]).removeprefix("Value error, ")
    return text[:1].lower() + text[1:]


async def invalid(_: Request, error: Exception) -> Response:
    """Handles errors that have a `field` and a `reason`: 422."""
    return problem(422, "", [(getattr(error, "field", ""), getattr(error, "reason", ""))])


async def _rejected(_: Request, error: Exception) -> Response:
    assert isinstance(error, Rejected)
    errors = [(error.field, error.reason)] if error.field else ()
    return problem(409, error.reason, errors, more=error.more)


async def _not_found(_: Request, error: Exception) -> Response:
    return problem(404, str(error))


async def _unavailable(_: Request, error: Exception) -> Response:
    return problem(503, f"{error}; send it again", headers={"Retry-After": "1"})


async def _unauthenticated(_: Request, error: Exception) -> Response:
    assert isinstance(error, Unauthenticated)
    challenge = 'Bearer realm="relais"' + (', error="invalid_token"' if error.given else "")
    return problem(401, str(error), headers={"WWW-Authenticate": challenge})


async def _forbidden(_: Request, error: Exception) -> Response:
    return problem(403, str(error))


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    headers = dict(error.headers or {})
    if error.status_code == 405 and (methods := request.app.methods(request.url.path)):
        # The router names the methods of the first of the path's endpoints only.
        headers["Allow"] = ", ".join(methods)
    if error.status_code == 400:
        # FastAPI's answer to JSON that only breaks while it is read, such as a number too long.
        return problem(422, "", [("body", "not JSON that can be read")], headers)
    return problem(error.status_code, str(error.detail), headers=headers)


class Outermost:
    """A span for each request, by its route and never its URL; and 500 for what nobody foresaw,
    logged with its place and without its text: those of databases and validators quote values."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = 0

        async def sending(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        headers = [(name.decode("latin-1"), value) for name, value in scope["headers"]]
        with telemetry.tracer.start_as_current_span(
            scope["method"],
            telemetry.context_of(headers),
            trace.SpanKind.SERVER,
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            try:
                await self._app(scope, receive, sending)
            except Exception as error:
                log.error("unforeseen: %s", anonymous_trace(error))
                if not status:
                    answer = problem(500, "unforeseen; the log of this process says more")
                    await answer(scope, receive, sending)
            if span.is_recording():
                route = getattr(scope.get("route"), "path", "")
                span.update_name(f"{scope['method']} {route}".rstrip())
                span.set_attribute("http.route", route)
                span.set_attribute("http.response.status_code", status)


# Limits.


class BodyLimit:
    """Refuses bodies over max_body bytes and those that take too long, and keeps none of them."""

    def __init__(self, app: ASGIApp, max_body: int = MAX_BODY) -> None:
        self._app = app
        self._max_body = max_body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            body = await asyncio.wait_for(_read(receive, self._max_body), BODY_S)
        except TimeoutError:
            late = problem(408, f"the body took more than {BODY_S:g} s", headers=_CLOSE)
            await late(scope, receive, send)
            return
        if body is None:
            errors = [("body", f"more than {self._max_body} bytes")]
            await problem(413, "", errors, _CLOSE)(scope, receive, send)
            return
        pending: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

        async def again() -> Message:
            return pending.pop() if pending else await receive()

        await self._app(scope, again, send)


_CLOSE = {"Connection": "close"}


async def _read(receive: Receive, max_body: int) -> bytes | None:
    """The body; None when it is too large.

    What is too large is still read, and dropped: who is cut off while sending never reads the
    answer. Up to a point.
    """
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return b"".join(chunks)
        chunk = message.get("body", b"")
        size += len(chunk)
        if size <= max_body:
            chunks.append(chunk)
        else:
            chunks.clear()
        if not message.get("more_body"):
            return b"".join(chunks) if size <= max_body else None
        if size > max(MAX_DRAINED, 2 * max_body):
            return None


# The application, its document, and the server.


class _Application(FastAPI):
    def openapi(self) -> dict[str, Any]:
        if self.openapi_schema is None:
            document = get_openapi(
                title=self.title,
                version=self.version,
                description=self.description,
                routes=self.routes,
                tags=self.openapi_tags,
            )
            self.openapi_schema = _complete(document)
        return self.openapi_schema

    def methods(self, path: str) -> list[str]:
        """What may be done with a path."""
        return sorted(
            {
                method.upper()
                for template, operations in self.openapi()["paths"].items()
                if compile_path(template)[0].match(path)
                for method in operations
            }
        )


def _complete(document: dict[str, Any]) -> dict[str, Any]:
    """Every answer that the parts above can give, on every operation that uses them."""
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    template = "#/components/schemas/{model}"
    schemas["Problem"] = Problem.model_json_schema(ref_template=template)
    schemas |= schemas["Problem"].pop("$defs")
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            answers = operation["responses"]
            answers.pop("422", None)
            for status in _statuses(path, method, operation):
                answers.setdefault(str(status), _documented(status))
    return document


def _statuses(path: str, method: str, operation: Mapping[str, Any]) -> Iterator[int]:
    if not path.startswith("/health/"):
        yield 500
    if path != "/health/live":
        yield 503
    if "security" in operation:
        yield from (401, 403)
        if method != "get":
            yield 409
    if "{" in path:
        yield 404
    if "requestBody" in operation:
        yield from (408, 413)
    if "requestBody" in operation or "parameters" in operation:
        yield 422


def make_app(
    title: str,
    version: str,
    callers: Callers | None,
    known_client: Callable[[str], Awaitable[bool]] | None,
    max_body: int = MAX_BODY,
    checks: Sequence[Callable[[], Awaitable[None]]] = (),
    description: str = "",
    index: Index | None = None,
) -> FastAPI:
    """The ASGI application, without endpoints but for its health.

    callers: None where nobody has to say who they are. known_client: whether a client is
    registered; None: every client is. max_body: bytes of a request. checks: each raises
    Unavailable while the service is not ready. index: the keyed hash of a client's value
    (KeyRing.index), for fingerprints; see causes.make_cause.
    """
    app = _Application(
        title=title,
        version=version,
        description=description,
        docs_url=None,
        redoc_url=None,
        # Its spans have the URL and its logs the errors' texts; `Outermost` says what is needed.
        telemetry={"tracing": False, "logs": False, "auto_configure": False},
    )
    app.state.edge = _Edge(callers, known_client, index)
    app.add_middleware(BodyLimit, max_body=max_body)
    app.add_middleware(Outermost)
    app.add_exception_handler(RequestValidationError, _validation)
    app.add_exception_handler(InvalidMessage, invalid)
    app.add_exception_handler(Rejected, _rejected)
    app.add_exception_handler(NotFound, _not_found)
    app.add_exception_handler(Unavailable, _unavailable)
    app.add_exception_handler(Unauthenticated, _unauthenticated)
    app.add_exception_handler(Forbidden, _forbidden)
    app.add_exception_handler(HTTPException, _http)

    @app.get("/health/live", tags=["health"])
    async def live() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/health/ready", tags=["health"])
    async def ready() -> dict[str, str]:
        for check in checks:
            await check()
        return {"status": "ok"}

    return app


async def serve(
    app: FastAPI,
    host: str,
    port: int,
    stop: asyncio.Event | None = None,
    grace_s: float = GRACE_S,
) -> None:
    """Serve until SIGTERM or SIGINT, or until `stop` is set where the caller handles those; then
    what is under way gets grace_s to end. No access log: URLs and their ids are nobody's business.
    """
    server = _Server(
        uvicorn.Config(
            app,
            host=host,
            port=port,
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=int(grace_s),
        )
    )
    if stop is None:
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
    watch = asyncio.create_task(server.stop_on(stop))
    try:
        await server.serve()
    finally:
        watch.cancel()


class _Server(uvicorn.Server):
    """uvicorn's own signal handling would end the process before the rest of it has stopped."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def stop_on(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self.should_exit = True
