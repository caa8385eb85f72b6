"""HTTP: reports as JSON. 202 means that the report is in the log; errors are RFC 9457 documents."""

from typing import Annotated, Any, Literal

from fastapi import FastAPI, Request
from opentelemetry.context import Context
from pydantic import BaseModel, Field

from eventkit import http, telemetry
from eventkit.http import Body, Time, microseconds
from services.routing import commands as c
from services.routing.configuration import sorted_groups
from services.routing.matching import sorted_skills
from services.routing.service import Reports
from services.routing.supervisors.api import router as supervisors
from services.routing.supervisors.service import Supervision

MAX_BODY = 512 << 10
"""Bytes: a client's list of VIP customers is long."""

Int32 = Annotated[int, Field(ge=c.INT32_MIN, le=c.INT32_MAX)]


class Report(Body):
    """pool_id: the pool of the call's queue, or of the agent. occurred_at: now, if left out.

    actor: who says so, for the record: the telephone system's own name. Left out for a desktop: its
    agent.
    """

    pool_id: str
    occurred_at: Time | None = None
    actor: str = ""

    def us(self) -> int | None:
        return None if self.occurred_at is None else microseconds(self.occurred_at)


class RequiredSkill(Body):
    skill: str
    min_level: Int32


class Skill(Body):
    skill: str
    level: Int32


class Arrived(Report):
    channel: Literal["voice", "chat", "email", "callback"] | None = None
    direction: Literal["inbound", "outbound"] | None = None
    line: str = ""
    customer_id: str = ""


class Queued(Report):
    queue_id: str
    priority: Int32 = 0
    required_skills: list[RequiredSkill] = Field(default_factory=list)
    auto_accept: bool = False


class Connected(Report):
    agent_id: str = ""


class WithReason(Report):
    reason: str = ""


class OfAgent(Report):
    """agent_id: whose call, or offer, it is."""

    agent_id: str


class Declined(OfAgent):
    reason: str = ""


class Transfer(OfAgent):
    """To a queue of the client or to an agent, and not to both."""

    queue_id: str = ""
    to_agent_id: str = ""


class Help(OfAgent):
    """From an agent, or from whoever is free of these groups with these skills.

    `help` without any goes to the pool's help_groups.
    """

    kind: Literal["help", "consultation", "conference"] = "help"
    to_agent_id: str = ""
    groups: list[str] = Field(default_factory=list)
    required_skills: list[RequiredSkill] = Field(default_factory=list)


class Able(Report):
    """What an agent can do, and belongs to."""

    skills: list[Skill] = Field(default_factory=list)
    groups: list[str] = Field(default_factory=list)


class LoggedIn(Able):
    """Without skills and groups: those that the agent was last given.

    site: where the agent's telephone is. chats, emails: how many at a time; 0: one.
    """

    site: str = ""
    chats: Int32 = 0
    emails: Int32 = 0


class Taken(BaseModel):
    """The report is in the log, under this id."""

    command_id: str


def make_api(reports: Reports, supervision: Supervision) -> FastAPI:
    """The ASGI application."""
    api = http.make_app(
        "Relais routing",
        "1",
        callers=None,
        known_client=None,
        max_body=MAX_BODY,
        checks=[reports.check_log],
    )
    api.add_exception_handler(c.Invalid, http.invalid)
    taken: dict[str, Any] = {"status_code": 202, "response_model": Taken}

    async def call(request: Request, client_id: str, report: Report, body: c.Body) -> Taken:
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

    async def agent(request: Request, report: Report, body: c.Body) -> Taken:
        return Taken(
            command_id=await reports.put(
                report.pool_id,
                body,
                occurred_at=report.us(),
                actor=report.actor,
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
        required = _required(report.required_skills)
        body = c.QueueCall(call_id, report.queue_id, report.priority, required, report.auto_accept)
        return await call(request, client_id, report, body)

    @api.post("/v1/calls/{client_id}/{call_id}/abandoned", **taken)
    async def abandoned(request: Request, client_id: str, call_id: str, report: Report) -> Taken:
        return await call(request, client_id, report, c.ReportCallAbandoned(call_id))

    @api.post("/v1/calls/{client_id}/{call_id}/connected", **taken)
    async def connected(request: Request, client_id: str, call_id: str, report: Connected) -> Taken:
        body = c.ReportCallConnected(call_id, report.agent_id)
        return await call(request, client_id, report, body)

    @api.post("/v1/calls/{client_id}/{call_id}/ended", **taken)
    async def ended(request: Request, client_id: str, call_id: str, report: Report) -> Taken:
        return await call(request, client_id, report, c.ReportCallEnded(call_id))

    @api.post("/v1/calls/{client_id}/{call_id}/held", **taken)
    async def held(request: Request, client_id: str, call_id: str, report: Report) -> Taken:
        return await call(request, client_id, report, c.ReportCallHeld(call_id))

    @api.post("/v1/calls/{client_id}/{call_id}/resumed", **taken)
    async def resumed(request: Request, client_id: str, call_id: str, report: Report) -> Taken:
        return await call(request, client_id, report, c.ReportCallResumed(call_id))

    @api.post("/v1/calls/{client_id}/{call_id}/callback-accepted", **taken)
    async def callback_accepted(
        request: Request, client_id: str, call_id: str, report: Report
    ) -> Taken:
        return await call(request, client_id, report, c.AcceptCallback(call_id))

    @api.post("/v1/calls/{client_id}/{call_id}/callback-failed", **taken)
    async def callback_failed(
        request: Request, client_id: str, call_id: str, report: WithReason
    ) -> Taken:
        body = c.ReportCallbackFailed(call_id, report.reason)
        return await call(request, client_id, report, body)

    @api.post("/v1/calls/{client_id}/{call_id}/requeued", **taken)
    async def requeued(request: Request, client_id: str, call_id: str, report: WithReason) -> Taken:
        return await call(request, client_id, report, c.RequeueCall(call_id, report.reason))

    @api.post("/v1/calls/{client_id}/{call_id}/transfer", **taken)
    async def transfer(request: Request, client_id: str, call_id: str, report: Transfer) -> Taken:
        body = c.TransferCall(call_id, report.agent_id, report.queue_id, report.to_agent_id)
        return await call(request, client_id, report, body)

    @api.post("/v1/calls/{client_id}/{call_id}/help", **taken)
    async def help(request: Request, client_id: str, call_id: str, report: Help) -> Taken:
        body = c.RequestHelp(
            call_id,
            report.agent_id,
            c.HelpKind[report.kind.upper()],
            report.to_agent_id,
            sorted_groups(report.groups),
            _required(report.required_skills),
        )
        return await call(request, client_id, report, body)

    @api.post("/v1/calls/{client_id}/{call_id}/complete-transfer", **taken)
    async def complete_transfer(
        request: Request, client_id: str, call_id: str, report: OfAgent
    ) -> Taken:
        body = c.CompleteTransfer(call_id, report.agent_id)
        return await call(request, client_id, report, body)

    @api.post("/v1/calls/{client_id}/{call_id}/leave", **taken)
    async def leave(request: Request, client_id: str, call_id: str, report: OfAgent) -> Taken:
        return await call(request, client_id, report, c.LeaveCall(call_id, report.agent_id))

    @api.post("/v1/agents/{agent_id}/logged-in", **taken)
    async def logged_in(request: Request, agent_id: str, report: LoggedIn) -> Taken:
        body = c.LogInAgent(
            agent_id,
            _skills(report.skills),
            sorted_groups(report.groups),
            report.site,
            report.chats,
            report.emails,
        )
        return await agent(request, report, body)

    @api.put("/v1/agents/{agent_id}/skills", **taken)
    async def skills(request: Request, agent_id: str, report: Able) -> Taken:
        able = (_skills(report.skills), sorted_groups(report.groups))
        return await agent(request, report, c.SetAgentSkills(agent_id, *able))

    @api.post("/v1/agents/{agent_id}/connection-lost", **taken)
    async def connection_lost(request: Request, agent_id: str, report: Report) -> Taken:
        return await agent(request, report, c.ReportConnectionLost(agent_id))

    @api.post("/v1/agents/{agent_id}/connection-restored", **taken)
    async def connection_restored(request: Request, agent_id: str, report: Report) -> Taken:
        return await agent(request, report, c.ReportConnectionRestored(agent_id))

    @api.post("/v1/agents/{agent_id}/available", **taken)
    async def available(request: Request, agent_id: str, report: Report) -> Taken:
        return await agent(request, report, c.MakeAgentAvailable(agent_id))

    @api.post("/v1/agents/{agent_id}/on-call", **taken)
    async def on_call(request: Request, agent_id: str, report: Report) -> Taken:
        return await agent(request, report, c.StartOtherCall(agent_id))

    @api.post("/v1/agents/{agent_id}/on-break", **taken)
    async def on_break(request: Request, agent_id: str, report: WithReason) -> Taken:
        return await agent(request, report, c.StartBreak(agent_id, report.reason))

    @api.post("/v1/agents/{agent_id}/wrap-up", **taken)
    async def wrap_up(request: Request, agent_id: str, report: Report) -> Taken:
        return await agent(request, report, c.StartWrapUp(agent_id))

    @api.post("/v1/agents/{agent_id}/logged-out", **taken)
    async def logged_out(request: Request, agent_id: str, report: WithReason) -> Taken:
        return await agent(request, report, c.LogOutAgent(agent_id, report.reason))

    @api.post("/v1/offers/{offer_id}/accept", **taken)
    async def accept(request: Request, offer_id: str, report: OfAgent) -> Taken:
        body = c.AcceptOffer(offer_id, report.agent_id)
        return await agent(request, report, body)

    @api.post("/v1/offers/{offer_id}/decline", **taken)
    async def decline(request: Request, offer_id: str, report: Declined) -> Taken:
        body = c.DeclineOffer(offer_id, report.agent_id, report.reason)
        return await agent(request, report, body)

    api.include_router(supervisors(supervision))
    return api


def _skills(skills: list[Skill]) -> c.Skills:
    return sorted_skills((each.skill, each.level) for each in skills)


def _required(skills: list[RequiredSkill]) -> c.Skills:
    return sorted_skills((each.skill, each.min_level) for each in skills)


def _trace(request: Request) -> Context | None:
    return telemetry.context_of(
        [
            (name, request.headers[name].encode())
            for name in ("traceparent",)
            if name in request.headers
        ]
    )
