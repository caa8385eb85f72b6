"""HTTP: reports as JSON. 202 means that the report is in the log; errors are RFC 9457 documents."""

from typing import Annotated, Any, Literal

from fastapi import FastAPI, Request
from opentelemetry.context import Context
from pydantic import BaseModel, Field

from eventkit import http, telemetry
from eventkit.http import Body, Lax, Time, microseconds
from services.routing import commands as c
from services.routing.matching import sorted_skills
from services.routing.service import Reports

Int32 = Annotated[int, Field(ge=c.INT32_MIN, le=c.INT32_MAX)]


class Report(Body):
    """pool_id: the pool of the call's queue, or of the agent. occurred_at: now, if left out."""

    pool_id: str
    occurred_at: Time | None = None

    def us(self) -> int | None:
        return None if self.occurred_at is None else microseconds(self.occurred_at)


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
    required_skills: list[RequiredSkill] = Field(default_factory=list)


class Connected(CallReport):
    agent_id: str = ""


class LoggedIn(Report):
    skills: list[Skill] = Field(default_factory=list)


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
    clock_speed: Lax[float] = 0.0


class Taken(BaseModel):
    """The report is in the log, under this id."""

    command_id: str


def make_api(reports: Reports) -> FastAPI:
    """The ASGI application."""
    api = http.make_app(
        "Relais routing", "1", callers=None, known_client=None, checks=[reports.check_log]
    )
    api.add_exception_handler(c.Invalid, http.invalid)
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

    return api


def _trace(request: Request) -> Context | None:
    return telemetry.context_of(
        [
            (name, request.headers[name].encode())
            for name in ("traceparent",)
            if name in request.headers
        ]
    )
