"""HTTP: reports as JSON. 202 means that the report is in the log; errors are RFC 9457 documents."""

import asyncio
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Annotated, Any, Literal

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from opentelemetry.context import Context
from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from eventkit import telemetry
from services.routing import commands as c
from services.routing.matching import sorted_skills
from services.routing.service import Reports, Unavailable

MAX_BODY = 64 << 10
MAX_DRAINED = 32 << 20
BODY_S = 10.0
"""How long a body may take to arrive, and the rest of one that is too large."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _only_text(value: object) -> object:
    if not isinstance(value, str):
        raise ValueError("must be text: an RFC 3339 time with its zone")
    return value


Time = Annotated[AwareDatetime, BeforeValidator(_only_text), Field(strict=False)]
"""RFC 3339, such as 2026-11-23T09:00:00.250Z."""
Int32 = Annotated[int, Field(ge=c.INT32_MIN, le=c.INT32_MAX)]


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Report(Body):
    """pool_id: the pool of the call's queue, or of the agent. occurred_at: now, if left out."""

    pool_id: str
    occurred_at: Time | None = None

    def us(self) -> int | None:
        if self.occurred_at is None:
            return None
        return (self.occurred_at - EPOCH) // timedelta(microseconds=1)


class CallReport(Report):
    """actor: the telephone system's own name, for the record."""

    actor: str = ""


class RequiredSkill(Body):
    skill: str
    min_level: Int32


class Skill(Body):
    skill: str
    level: Int32


class Arrived(CallReport):
    channel: Literal["voice", "chat", "email", "callback"] | None = None
    direction: Literal["inbound", "outbound"] | None = None
    line: str = ""
    customer_id: str = ""


class Queued(CallReport):
    queue_id: str
    priority: Int32 = 0
    required_skills: list[RequiredSkill] = []


class Connected(CallReport):
    agent_id: str = ""


class LoggedIn(Report):
    skills: list[Skill] = []


class WithReason(Report):
    reason: str = ""


class Accepted(Report):
    agent_id: str


class Declined(Report):
    agent_id: str
    reason: str = ""


class PoolSettings(Body):
    """Zero, or left out: the default."""

    offer_seconds: Int32 = 0
    wrap_up_seconds: Int32 = 0
    clock_speed: float = Field(0.0, strict=False)


class Taken(BaseModel):
    """The report is in the log, under this id."""

    command_id: str


def make_api(reports: Reports) -> FastAPI:
    """The ASGI application."""
    api = FastAPI(title="Relais routing", version="1", docs_url=None, redoc_url=None)
    api.add_middleware(BodyLimit)
    api.add_exception_handler(RequestValidationError, _validation_problem)
    api.add_exception_handler(c.Invalid, _invalid_problem)
    api.add_exception_handler(Unavailable, _unavailable_problem)
    api.add_exception_handler(HTTPException, _http_problem)
    api.add_exception_handler(Exception, _unforeseen_problem)
    taken: dict[str, Any] = {"status_code": 202, "response_model": Taken}

    async def call(request: Request, client_id: str, report: CallReport, body: c.Body) -> Taken:
        return Taken(
            command_id=await reports.put(
                report.pool_id,
                body,
                client_id=client_id,
                occurred_at=report.us(),
                actor=report.actor,
                context=_trace(request),
            )
        )

    async def agent(request: Request, agent_id: str, report: Report, body: c.Body) -> Taken:
        return Taken(
            command_id=await reports.put(
                report.pool_id,
                body,
                occurred_at=report.us(),
                actor=agent_id,
                context=_trace(request),
            )
        )

    @api.post("/v1/calls/{client_id}/{call_id}/arrived", **taken)
    async def arrived(request: Request, client_id: str, call_id: str, report: Arrived) -> Taken:
        channel = c.Channel[(report.channel or "unspecified").upper()]
        direction = c.Direction[(report.direction or "unspecified").upper()]
        body = c.ReportCallArrived(call_id, channel, direction, report.line, report.customer_id)
        return await call(request, client_id, report, body)

    @api.post("/v1/calls/{client_id}/{call_id}/queued", **taken)
    async def queued(request: Request, client_id: str, call_id: str, report: Queued) -> Taken:
        required = sorted_skills((each.skill, each.min_level) for each in report.required_skills)
        body = c.QueueCall(call_id, report.queue_id, report.priority, required)
        return await call(request, client_id, report, body)

    @api.post("/v1/calls/{client_id}/{call_id}/abandoned", **taken)
    async def abandoned(
        request: Request, client_id: str, call_id: str, report: CallReport
    ) -> Taken:
        return await call(request, client_id, report, c.ReportCallAbandoned(call_id))

    @api.post("/v1/calls/{client_id}/{call_id}/connected", **taken)
    async def connected(request: Request, client_id: str, call_id: str, report: Connected) -> Taken:
        body = c.ReportCallConnected(call_id, report.agent_id)
        return await call(request, client_id, report, body)

    @api.post("/v1/calls/{client_id}/{call_id}/ended", **taken)
    async def ended(request: Request, client_id: str, call_id: str, report: CallReport) -> Taken:
        return await call(request, client_id, report, c.ReportCallEnded(call_id))

    @api.post("/v1/agents/{agent_id}/logged-in", **taken)
    async def logged_in(request: Request, agent_id: str, report: LoggedIn) -> Taken:
        skills = sorted_skills((each.skill, each.level) for each in report.skills)
        return await agent(request, agent_id, report, c.LogInAgent(agent_id, skills))

    @api.post("/v1/agents/{agent_id}/available", **taken)
    async def available(request: Request, agent_id: str, report: Report) -> Taken:
        return await agent(request, agent_id, report, c.MakeAgentAvailable(agent_id))

    @api.post("/v1/agents/{agent_id}/on-call", **taken)
    async def on_call(request: Request, agent_id: str, report: Report) -> Taken:
        return await agent(request, agent_id, report, c.StartOtherCall(agent_id))

    @api.post("/v1/agents/{agent_id}/on-break", **taken)
    async def on_break(request: Request, agent_id: str, report: WithReason) -> Taken:
        return await agent(request, agent_id, report, c.StartBreak(agent_id, report.reason))

    @api.post("/v1/agents/{agent_id}/wrap-up", **taken)
    async def wrap_up(request: Request, agent_id: str, report: Report) -> Taken:
        return await agent(request, agent_id, report, c.StartWrapUp(agent_id))

    @api.post("/v1/agents/{agent_id}/logged-out", **taken)
    async def logged_out(request: Request, agent_id: str, report: WithReason) -> Taken:
        return await agent(request, agent_id, report, c.LogOutAgent(agent_id, report.reason))

    @api.post("/v1/offers/{offer_id}/accept", **taken)
    async def accept(request: Request, offer_id: str, report: Accepted) -> Taken:
        body = c.AcceptOffer(offer_id, report.agent_id)
        return await agent(request, report.agent_id, report, body)

    @api.post("/v1/offers/{offer_id}/decline", **taken)
    async def decline(request: Request, offer_id: str, report: Declined) -> Taken:
        body = c.DeclineOffer(offer_id, report.agent_id, report.reason)
        return await agent(request, report.agent_id, report, body)

    @api.put("/v1/pools/{pool_id}", **taken)
    async def configure(request: Request, pool_id: str, settings: PoolSettings) -> Taken:
        body = c.ConfigurePool(
            settings.offer_seconds, settings.wrap_up_seconds, settings.clock_speed
        )
        return Taken(command_id=await reports.put(pool_id, body, context=_trace(request)))

    @api.get("/health/live")
    async def live() -> dict[str, str]:
        return {"status": "ok"}

    @api.get("/health/ready")
    async def ready() -> dict[str, str]:
        await reports.check_log()
        return {"status": "ok"}

    return api


def _trace(request: Request) -> Context | None:
    return telemetry.context_of(
        [
            (name, request.headers[name].encode())
            for name in ("traceparent",)
            if name in request.headers
        ]
    )


# Errors.


def problem(
    status: int,
    reason: str,
    errors: Sequence[tuple[str, str]] = (),
    headers: dict[str, str] | None = None,
) -> Response:
    """errors: (field, reason) pairs; the first is in `detail` too."""
    content: dict[str, Any] = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": reason,
    }
    if errors:
        content["detail"] = ": ".join(errors[0])
        content["errors"] = [{"field": field, "reason": why} for field, why in errors]
    # ASCII, because what people send may be no valid Unicode.
    data = json.dumps(content, ensure_ascii=True)
    return Response(data, status, headers, "application/problem+json")


async def _validation_problem(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    errors = [
        (".".join(str(part) for part in each["loc"][1:]) or "body", _reason(each))
        if each["type"] != "json_invalid"
        else ("body", _reason(each))
        for each in error.errors()[:20]
    ]
    return problem(422, "", errors)


def _reason(error: dict[str, Any]) -> str:
    if error["type"] == "json_invalid":
        return f"not JSON: {error.get('ctx', {}).get('error', '')} at {error['loc'][-1]}"
    text = str(error["msg"]).removeprefix("Value error, ")
    return text[:1].lower() + text[1:]


async def _invalid_problem(_: Request, error: Exception) -> Response:
    assert isinstance(error, c.Invalid)
    return problem(422, "", [(error.field, error.reason)])


async def _unavailable_problem(_: Request, error: Exception) -> Response:
    return problem(503, f"{error}; send it again", headers={"Retry-After": "1"})


async def _http_problem(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    headers = dict(error.headers or {})
    if error.status_code == 400:
        # FastAPI's answer to JSON that only breaks while it is read, such as a number too long.
        return problem(422, "", [("body", "not JSON that can be read")], headers)
    return problem(error.status_code, str(error.detail), headers=headers)


async def _unforeseen_problem(_: Request, error: Exception) -> Response:
    return problem(500, "unforeseen; the log of this process says more")


class BodyLimit:
    """Refuses bodies over MAX_BODY bytes and those that take too long, and keeps none of them."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            body = await asyncio.wait_for(_read(receive), BODY_S)
        except TimeoutError:
            late = problem(408, f"the body took more than {BODY_S:g} s", headers=_CLOSE)
            await late(scope, receive, send)
            return
        if body is None:
            errors = [("body", f"more than {MAX_BODY} bytes")]
            await problem(413, "", errors, _CLOSE)(scope, receive, send)
            return
        pending: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

        async def again() -> Message:
            return pending.pop() if pending else await receive()

        await self._app(scope, again, send)


_CLOSE = {"Connection": "close"}


async def _read(receive: Receive) -> bytes | None:
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
        if size <= MAX_BODY:
            chunks.append(chunk)
        else:
            chunks.clear()
        if not message.get("more_body"):
            return b"".join(chunks) if size <= MAX_BODY else None
        if size > MAX_DRAINED:
            return None
