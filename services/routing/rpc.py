"""gRPC: the same reports as protobuf. See proto/relais/routing/v1/routing_service.proto."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from typing import Any

import grpc
from relais.routing.v1 import routing_service_pb2 as pb

from eventkit.rpc import Context, Method, bidi, start_server, trace_of, unary
from services.routing import commands as c
from services.routing.codec import from_required, from_skills, from_timestamp
from services.routing.configuration import sorted_groups
from services.routing.service import Posted, Reports

MAX_POSTED = 1_000
"""Reports of one stream that are on their way at once; the next one waits."""
MAX_MESSAGE = 512 << 10
"""Bytes: a client's list of VIP customers is long."""
MAX_CALLS = 10_000
"""Every attached desktop is a stream."""

_Outcome = Posted | Exception
"""Of one report of a stream; an exception that is not Invalid ends it."""

SERVICE = pb.DESCRIPTOR.services_by_name["RoutingService"].full_name


async def start_rpc(
    reports: Reports, address: str, others: Mapping[str, Mapping[str, Method]] | None = None
) -> tuple[grpc.aio.Server, int]:
    """Listen on host:port; returns the server and its real port. Raises RuntimeError.

    others: the methods of services besides RoutingService, by the services' full names.
    """
    service = RoutingService(reports)
    methods = {
        "ReportCall": unary(pb.ReportCallRequest, service.report_call),
        "ReportAgent": unary(pb.ReportAgentRequest, service.report_agent),
        "Report": bidi(pb.ReportRequest, service.report),
        "ReportMany": bidi(pb.ReportManyRequest, service.report_many),
        "ConfigurePool": unary(pb.ConfigurePoolRequest, service.configure_pool),
    }
    return await start_server(
        address,
        {SERVICE: methods, **(others or {})},
        max_message=MAX_MESSAGE,
        invalid=(c.Invalid,),
        max_calls=MAX_CALLS,
    )


class RoutingService:
    """A request to a report; the answer, or the error with the field that is at fault."""

    def __init__(self, reports: Reports) -> None:
        self._reports = reports

    async def report_call(
        self, request: pb.ReportCallRequest, context: Context
    ) -> pb.ReportCallResponse:
        command_id = await self._reports.put(**_about_call(request), context=trace_of(context))
        return pb.ReportCallResponse(command_id=command_id)

    async def report_agent(
        self, request: pb.ReportAgentRequest, context: Context
    ) -> pb.ReportAgentResponse:
        command_id = await self._reports.put(**_about_agent(request), context=trace_of(context))
        return pb.ReportAgentResponse(command_id=command_id)

    async def report(
        self, requests: AsyncIterator[pb.ReportRequest], context: Context
    ) -> AsyncIterator[pb.ReportResponse]:
        async with aclosing(self._answers(([one] async for one in requests), context)) as found:
            async for answers in found:
                for answer in answers:
                    yield answer

    async def report_many(
        self, requests: AsyncIterator[pb.ReportManyRequest], context: Context
    ) -> AsyncIterator[pb.ReportManyResponse]:
        reports = (some.reports async for some in requests)
        async with aclosing(self._answers(reports, context)) as found:
            async for answers in found:
                yield pb.ReportManyResponse(answers=answers)

    async def _answers(
        self, requests: AsyncIterator[Sequence[pb.ReportRequest]], context: Context
    ) -> AsyncGenerator[list[pb.ReportResponse], None]:
        """Reports are posted as they come, and answered as Kafka acknowledges them: in order."""
        line: asyncio.Queue[_Outcome | None] = asyncio.Queue(MAX_POSTED)
        trace = trace_of(context)

        async def post_all() -> None:
            try:
                async for some in requests:
                    for request in some:
                        try:
                            posted = await self._reports.post(**_about(request), context=trace)
                            await line.put(posted)
                        except c.Invalid as error:
                            await line.put(error)
                await line.put(None)
            except Exception as error:
                await line.put(error)

        posting = asyncio.create_task(post_all())
        try:
            answers: list[pb.ReportResponse] = []
            while True:
                if answers and line.empty():
                    yield answers
                    answers = []
                outcome = await line.get()
                if answers and not _is_known(outcome):
                    yield answers
                    answers = []
                if outcome is None:
                    return
                answers.append(await self._answer(outcome))
        finally:
            posting.cancel()

    async def _answer(self, outcome: _Outcome) -> pb.ReportResponse:
        match outcome:
            case Posted():
                return pb.ReportResponse(command_id=await self._reports.acknowledged(outcome))
            case c.Invalid(field=field, reason=reason):
                refused = pb.ReportResponse.Refused(field=field, reason=reason)
                return pb.ReportResponse(refused=refused)
            case _:
                raise outcome

    async def configure_pool(
        self, request: pb.ConfigurePoolRequest, context: Context
    ) -> pb.ConfigurePoolResponse:
        body = c.ConfigurePool(request.offer_seconds, request.wrap_up_seconds, request.clock_speed)
        command_id = await self._reports.put(request.pool_id, body, context=trace_of(context))
        return pb.ConfigurePoolResponse(command_id=command_id)


def _is_known(outcome: _Outcome | None) -> bool:
    """Whether it can be answered, and at once."""
    if isinstance(outcome, Posted):
        acknowledged = outcome.acknowledged
        return acknowledged.done() and acknowledged.exception() is None
    return isinstance(outcome, c.Invalid)


def _about(request: pb.ReportRequest) -> dict[str, Any]:
    """What `Reports.put` is to know. Raises Invalid."""
    match request.WhichOneof("report"):
        case "call":
            return _about_call(request.call)
        case "agent":
            return _about_agent(request.agent)
        case _:
            raise c.Invalid("report", "missing, or of a kind that this version does not know")


def _about_call(request: pb.ReportCallRequest) -> dict[str, Any]:
    return {
        "pool_id": request.pool_id,
        "body": _call_report(request),
        "client_id": request.client_id,
        "occurred_at": _time(request),
        "actor": request.actor,
    }


def _about_agent(request: pb.ReportAgentRequest) -> dict[str, Any]:
    return {
        "pool_id": request.pool_id,
        "body": _agent_report(request),
        "occurred_at": _time(request),
        "actor": request.actor,
    }


def _call_report(request: pb.ReportCallRequest) -> c.Body:
    call_id = request.call_id
    match request.WhichOneof("report"):
        case "arrived":
            arrived = request.arrived
            return c.ReportCallArrived(
                call_id,
                _enum(c.Channel, "arrived.channel", arrived.channel),
                _enum(c.Direction, "arrived.direction", arrived.direction),
                arrived.line,
                arrived.customer_id,
            )
        case "queued":
            queued = request.queued
            required = from_required(queued.required_skills)
            return c.QueueCall(
                call_id, queued.queue_id, queued.priority, required, queued.auto_accept
            )
        case "abandoned":
            return c.ReportCallAbandoned(call_id)
        case "connected":
            return c.ReportCallConnected(call_id, request.connected.agent_id)
        case "ended":
            return c.ReportCallEnded(call_id)
        case "held":
            return c.ReportCallHeld(call_id)
        case "resumed":
            return c.ReportCallResumed(call_id)
        case "callback_accepted":
            return c.AcceptCallback(call_id)
        case "callback_failed":
            return c.ReportCallbackFailed(call_id, request.callback_failed.reason)
        case "requeued":
            return c.RequeueCall(call_id, request.requeued.reason)
        case "transfer":
            given = request.transfer
            return c.TransferCall(call_id, given.agent_id, given.queue_id, given.to_agent_id)
        case "help":
            wanted = request.help
            return c.RequestHelp(
                call_id,
                wanted.agent_id,
                _enum(c.HelpKind, "help.kind", wanted.kind),
                wanted.to_agent_id,
                sorted_groups(wanted.groups),
                from_required(wanted.required_skills),
            )
        case "complete_transfer":
            return c.CompleteTransfer(call_id, request.complete_transfer.agent_id)
        case "leave":
            return c.LeaveCall(call_id, request.leave.agent_id)
        case _:
            raise c.Invalid("report", "missing, or of a kind that this version does not know")


def _agent_report(request: pb.ReportAgentRequest) -> c.Body:
    agent_id = request.agent_id
    match request.WhichOneof("report"):
        case "logged_in":
            there = request.logged_in
            return c.LogInAgent(
                agent_id,
                from_skills(there.skills),
                sorted_groups(there.groups),
                there.site,
                there.chats,
                there.emails,
            )
        case "skills_changed":
            able = request.skills_changed
            return c.SetAgentSkills(agent_id, from_skills(able.skills), sorted_groups(able.groups))
        case "connection_lost":
            return c.ReportConnectionLost(agent_id)
        case "connection_restored":
            return c.ReportConnectionRestored(agent_id)
        case "available":
            return c.MakeAgentAvailable(agent_id)
        case "on_call":
            return c.StartOtherCall(agent_id)
        case "on_break":
            return c.StartBreak(agent_id, request.on_break.reason)
        case "wrap_up":
            return c.StartWrapUp(agent_id)
        case "logged_out":
            return c.LogOutAgent(agent_id, request.logged_out.reason)
        case "offer_accepted":
            return c.AcceptOffer(request.offer_accepted.offer_id, agent_id)
        case "offer_declined":
            declined = request.offer_declined
            return c.DeclineOffer(declined.offer_id, agent_id, declined.reason)
        case _:
            raise c.Invalid("report", "missing, or of a kind that this version does not know")


def _time(request: pb.ReportCallRequest | pb.ReportAgentRequest) -> int | None:
    return from_timestamp(request.occurred_at) if request.HasField("occurred_at") else None


def _enum(kind: Any, field: str, value: int) -> Any:
    try:
        return kind(value)
    except ValueError as error:
        raise c.Invalid(field, str(error)) from error
