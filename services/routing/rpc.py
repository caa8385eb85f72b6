"""gRPC: the same reports as protobuf. See proto/relais/routing/v1/routing_service.proto."""

from typing import Any

import grpc
from relais.routing.v1 import routing_service_pb2 as pb

from eventkit.rpc import Context, start_server, trace_of, unary
from services.routing import commands as c
from services.routing.codec import from_required, from_skills, from_timestamp
from services.routing.service import Reports

SERVICE = pb.DESCRIPTOR.services_by_name["RoutingService"].full_name


async def start_rpc(reports: Reports, address: str) -> tuple[grpc.aio.Server, int]:
    """Listen on host:port; returns the server and its real port. Raises RuntimeError."""
    service = RoutingService(reports)
    methods = {
        "ReportCall": unary(pb.ReportCallRequest, service.report_call),
        "ReportAgent": unary(pb.ReportAgentRequest, service.report_agent),
        "ConfigurePool": unary(pb.ConfigurePoolRequest, service.configure_pool),
    }
    return await start_server(address, {SERVICE: methods}, invalid=(c.Invalid,))


class RoutingService:
    """A request to a report; the answer, or the error with the field that is at fault."""

    def __init__(self, reports: Reports) -> None:
        self._reports = reports

    async def report_call(
        self, request: pb.ReportCallRequest, context: Context
    ) -> pb.ReportCallResponse:
        command_id = await self._reports.put(
            request.pool_id,
            _call_report(request),
            client_id=request.client_id,
            occurred_at=_time(request),
            actor=request.actor,
            context=trace_of(context),
        )
        return pb.ReportCallResponse(command_id=command_id)

    async def report_agent(
        self, request: pb.ReportAgentRequest, context: Context
    ) -> pb.ReportAgentResponse:
        command_id = await self._reports.put(
            request.pool_id,
            _agent_report(request),
            occurred_at=_time(request),
            actor=request.agent_id,
            context=trace_of(context),
        )
        return pb.ReportAgentResponse(command_id=command_id)

    async def configure_pool(
        self, request: pb.ConfigurePoolRequest, context: Context
    ) -> pb.ConfigurePoolResponse:
        body = c.ConfigurePool(request.offer_seconds, request.wrap_up_seconds, request.clock_speed)
        command_id = await self._reports.put(request.pool_id, body, context=trace_of(context))
        return pb.ConfigurePoolResponse(command_id=command_id)


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
            return c.QueueCall(call_id, queued.queue_id, queued.priority, required)
        case "abandoned":
            return c.ReportCallAbandoned(call_id)
        case "connected":
            return c.ReportCallConnected(call_id, request.connected.agent_id)
        case "ended":
            return c.ReportCallEnded(call_id)
        case _:
            raise c.Invalid("report", "missing, or of a kind that this version does not know")


def _agent_report(request: pb.ReportAgentRequest) -> c.Body:
    agent_id = request.agent_id
    match request.WhichOneof("report"):
        case "logged_in":
            return c.LogInAgent(agent_id, from_skills(request.logged_in.skills))
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
