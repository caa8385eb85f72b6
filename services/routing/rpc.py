"""gRPC: the same reports as protobuf. See proto/relais/routing/v1/routing_service.proto."""

from collections.abc import Awaitable, Callable
from typing import Any

import grpc
from google.protobuf import any_pb2
from google.protobuf.message import DecodeError, Message
from google.rpc import code_pb2, error_details_pb2, status_pb2  # type: ignore[import-untyped]
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from grpc_status import rpc_status
from relais.routing.v1 import routing_service_pb2 as pb

from eventkit import telemetry
from services.routing import commands as c
from services.routing.codec import from_required, from_skills, from_timestamp
from services.routing.service import Reports, Unavailable

SERVICE = pb.DESCRIPTOR.services_by_name["RoutingService"].full_name
MAX_MESSAGE = 64 << 10

Context = grpc.aio.ServicerContext[Any, Any]


async def start_rpc(reports: Reports, address: str) -> tuple[grpc.aio.Server, int]:
    """Listen on host:port; returns the server and its real port. Raises RuntimeError."""
    server = grpc.aio.server(
        options=[("grpc.max_receive_message_length", MAX_MESSAGE), ("grpc.so_reuseport", 0)],
        maximum_concurrent_rpcs=1_000,
    )
    service = RoutingService(reports)
    methods = {
        "ReportCall": _method(pb.ReportCallRequest, service.report_call),
        "ReportAgent": _method(pb.ReportAgentRequest, service.report_agent),
        "ConfigurePool": _method(pb.ConfigurePoolRequest, service.configure_pool),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, methods),))
    healthy = health.aio.HealthServicer()  # type: ignore[attr-defined]
    for name in ("", SERVICE):
        await healthy.set(name, health_pb2.HealthCheckResponse.SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(healthy, server)
    reflection.enable_server_reflection(
        (SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME), server
    )
    port = server.add_insecure_port(address)
    await server.start()
    return server, port


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
            context=_trace(context),
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
            context=_trace(context),
        )
        return pb.ReportAgentResponse(command_id=command_id)

    async def configure_pool(
        self, request: pb.ConfigurePoolRequest, context: Context
    ) -> pb.ConfigurePoolResponse:
        body = c.ConfigurePool(request.offer_seconds, request.wrap_up_seconds, request.clock_speed)
        command_id = await self._reports.put(request.pool_id, body, context=_trace(context))
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


def _trace(context: Context) -> Any:
    metadata = context.invocation_metadata() or ()
    return telemetry.context_of(
        [(key, value.encode() if isinstance(value, str) else value) for key, value in metadata]
    )


def _method(
    request: type[Message], behaviour: Callable[[Any, Context], Awaitable[Message]]
) -> "grpc.RpcMethodHandler[Any, Any]":
    """Decoding is done here, since grpc answers INTERNAL to bytes that are no request."""

    async def answer(data: bytes, context: Context) -> Message:
        try:
            return await behaviour(request.FromString(data), context)
        except DecodeError as error:
            await _refuse(context, c.Invalid("", f"not a {request.DESCRIPTOR.name}: {error}"))
        except c.Invalid as error:
            await _refuse(context, error)
        except Unavailable as error:
            await context.abort(grpc.StatusCode.UNAVAILABLE, f"{error}; send it again")
        raise AssertionError("abort raises")

    return grpc.unary_unary_rpc_method_handler(
        answer,
        request_deserializer=None,
        response_serializer=lambda message: message.SerializeToString(),
    )


async def _refuse(context: Context, error: c.Invalid) -> None:
    violation = error_details_pb2.BadRequest.FieldViolation(
        field=error.field, description=error.reason
    )
    details = any_pb2.Any()
    details.Pack(error_details_pb2.BadRequest(field_violations=[violation]))
    status = status_pb2.Status(
        code=code_pb2.INVALID_ARGUMENT, message=str(error), details=[details]
    )
    await context.abort_with_status(rpc_status.to_status(status))  # type: ignore[attr-defined]
