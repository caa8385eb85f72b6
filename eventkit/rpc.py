"""gRPC edges: who calls and what for, errors as statuses with details, limits, one server.

    server, port = await start_server(
        "127.0.0.1:50052",
        {"relais.complaints.v1.ComplaintService": complaints.rpc.methods(service)},
        callers,
        clients.known,
    )

    def methods(service: Complaints) -> dict[str, Method]:
        async def open(request: pb.OpenRequest, context: Context) -> pb.OpenResponse:
            key = request.idempotency_key
            cause = await cause_of(context, request.client_id, key, request)
            ...
        return {
            "Open": unary(pb.OpenRequest, open, "partner"),
            "Follow": stream(pb.FollowRequest, follow, "partner"),
        }

Behaviours raise the same errors as behind HTTP:

    Invalid, bytes that are no such message   INVALID_ARGUMENT, google.rpc.BadRequest
    Rejected                                  FAILED_PRECONDITION, google.rpc.PreconditionFailure,
                                              and a google.protobuf.Struct where there is more
    NotFound                                  NOT_FOUND
    Unavailable                               UNAVAILABLE, google.rpc.RetryInfo
    Unauthenticated, Forbidden                UNAUTHENTICATED, PERMISSION_DENIED
    anything else                             INTERNAL, and the log says where, without its text

A call whose deadline is over, or whose caller has gone, is cancelled where it waits.
"""

import logging
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any

import grpc
from google.protobuf import any_pb2, duration_pb2, json_format, struct_pb2
from google.protobuf.message import DecodeError, Message
from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped]
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from grpc_status import rpc_status
from opentelemetry.context import Context as Trace

from eventkit import telemetry
from eventkit.callers import Caller, Callers, Forbidden, Role, Unauthenticated
from eventkit.causes import KEY, Index, make_cause
from eventkit.errors import InvalidMessage, NotFound, Rejected, Unavailable
from eventkit.eventstore import Cause
from eventkit.privatelog import anonymous_trace

log = logging.getLogger(__name__)

MAX_MESSAGE = 64 << 10
MAX_CALLS = 1_000
RETRY_S = 1
ALIVE = (
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
)
"""A stream that waits all night for news is asked whether its caller is still there, and the caller
may ask the same of us: what is between the two often drops silent connections."""

Context = grpc.aio.ServicerContext[Any, Any]
KnownClient = Callable[[str], Awaitable[bool]]


@dataclass(frozen=True, slots=True)
class Method:
    """One method of a service: made by `unary`, `stream` and `bidi`."""

    request: type[Message]
    behaviour: Callable[[Any, Context], Any]
    role: Role
    requests: bool = False
    responses: bool = False


def unary(
    request: type[Message],
    behaviour: Callable[[Any, Context], Awaitable[Message]],
    role: Role | str = Role.AGENT,
) -> Method:
    """A request, an answer; role: the least that a caller must have."""
    return Method(request, behaviour, Role(role))


def stream(
    request: type[Message],
    behaviour: Callable[[Any, Context], AsyncIterator[Message]],
    role: Role | str = Role.AGENT,
) -> Method:
    """A request, many answers, from an async generator, which is closed when its caller has gone.

    A stream ends with UNAUTHENTICATED when its token expires.
    """
    return Method(request, behaviour, Role(role), responses=True)


def bidi(
    request: type[Message],
    behaviour: Callable[[AsyncIterator[Any], Context], AsyncIterator[Message]],
    role: Role | str = Role.AGENT,
) -> Method:
    """Many requests, many answers; otherwise as `stream`."""
    return Method(request, behaviour, Role(role), requests=True, responses=True)


async def start_server(
    address: str,
    services: Mapping[str, Mapping[str, Method]],
    callers: Callers | None = None,
    known_client: KnownClient | None = None,
    max_message: int = MAX_MESSAGE,
    invalid: tuple[type[Exception], ...] = (),
    index: Index | None = None,
    max_calls: int = MAX_CALLS,
) -> tuple[grpc.aio.Server, int]:
    """Listen on host:port; returns the server and its real port. Health and reflection included.

    services: methods by the services' full names. callers: None where nobody has to say who they
    are. known_client: None: every client is registered. max_message: bytes of one request.
    invalid: errors with `field` and `reason` to be treated as Invalid. index: as in http.make_app.
    max_calls: at once, open streams included; more are refused with RESOURCE_EXHAUSTED.
    Raises RuntimeError.
    """
    server = grpc.aio.server(
        options=[
            ("grpc.max_receive_message_length", max_message),
            ("grpc.so_reuseport", 0),
            *ALIVE,
        ],
        maximum_concurrent_rpcs=max_calls,
    )
    edge = _Edge(callers, known_client, (InvalidMessage, *invalid), index)
    healthy = health.aio.HealthServicer()  # type: ignore[attr-defined]
    for service, methods in services.items():
        handlers = {
            name: _handler(edge, f"/{service}/{name}", method) for name, method in methods.items()
        }
        generic = grpc.method_handlers_generic_handler(service, handlers)
        server.add_generic_rpc_handlers((generic,))
    for name in ("", *services):
        await healthy.set(name, health_pb2.HealthCheckResponse.SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(healthy, server)
    reflection.enable_server_reflection(
        (*services, health.SERVICE_NAME, reflection.SERVICE_NAME), server
    )
    port = server.add_insecure_port(address)
    await server.start()
    return server, port


# What a behaviour may ask.


@dataclass(frozen=True)
class _Edge:
    callers: Callers | None
    known_client: KnownClient | None
    invalid: tuple[type[Exception], ...]
    index: Index | None


@dataclass(frozen=True, slots=True)
class _Call:
    edge: _Edge
    method: str
    caller: Caller | None = None


_call: ContextVar[_Call] = ContextVar("call")


def caller_of(_: Context) -> Caller:
    """Who calls. Raises Unauthenticated where the server was started without callers."""
    caller = _call.get().caller
    if caller is None:
        raise _no_token()
    return caller


async def client_of(client_id: str, context: Context) -> str:
    """The client, if the caller's token names it and it is registered; otherwise NotFound."""
    known = _call.get().edge.known_client
    if not caller_of(context).sees(client_id):
        raise NotFound("client")
    if known is not None and not await known(client_id):
        raise NotFound("client")
    return client_id


async def cause_of(
    context: Context, client_id: str, idempotency_key: str, request: Message
) -> Cause:
    """`client_of`, and who wants it and why, for the event store. idempotency_key: "" for none.

    Raises NotFound("client") and Invalid("idempotency_key").
    """
    await client_of(client_id, context)
    if idempotency_key and not re.fullmatch(KEY, idempotency_key):
        raise InvalidMessage("idempotency_key", "1 to 200 visible ASCII characters")
    call = _call.get()
    return await make_cause(
        caller_of(context),
        client_id,
        idempotency_key or None,
        call.method.encode() + b"\n" + request.SerializeToString(deterministic=True),
        str(_metadata(context).get("traceparent", "")),
        "",
        call.edge.index,
    )


def trace_of(context: Context) -> Trace | None:
    """The caller's span as a parent for ours."""
    return telemetry.context_of(
        [
            (name, value.encode() if isinstance(value, str) else value)
            for name, value in _metadata(context).items()
        ]
    )


def _metadata(context: Context) -> dict[str, str | bytes]:
    return dict(context.invocation_metadata() or ())


# From bytes to a behaviour, and from its errors to a status.


def _handler(edge: _Edge, name: str, method: Method) -> "grpc.RpcMethodHandler[Any, Any]":
    """Decoding is done here, since grpc answers INTERNAL to bytes that are no request."""
    call = _Call(edge, name)

    async def answer(data: bytes, context: Context) -> Message:
        try:
            caller = _authorized(edge, method.role, _token(context))
            _call.set(replace(call, caller=caller))
            answered: Message = await method.behaviour(_decoded(method.request, data), context)
            return answered
        except Exception as error:
            await _abort(edge, context, error)
            raise AssertionError("abort raises") from error

    async def answers(given: Any, context: Context) -> AsyncIterator[Message]:
        try:
            token = _token(context)
            _call.set(replace(call, caller=_authorized(edge, method.role, token)))
            request = (
                _all_decoded(method.request, given)
                if method.requests
                else _decoded(method.request, given)
            )
            async with aclosing(method.behaviour(request, context)) as messages:
                async for message in messages:
                    _authorized(edge, method.role, token)  # it expires while its stream lives
                    yield message
        except Exception as error:
            await _abort(edge, context, error)

    if not method.responses:
        return grpc.unary_unary_rpc_method_handler(answer, None, _encoded)
    if not method.requests:
        return grpc.unary_stream_rpc_method_handler(answers, None, _encoded)
    return grpc.stream_stream_rpc_method_handler(answers, None, _encoded)


def _encoded(message: Message) -> bytes:
    return message.SerializeToString()


def _decoded(request: type[Message], data: bytes) -> Message:
    try:
        return request.FromString(data)
    except DecodeError as error:
        raise InvalidMessage("", f"not a {request.DESCRIPTOR.name}") from error


async def _all_decoded(
    request: type[Message], given: AsyncIterator[bytes]
) -> AsyncIterator[Message]:
    async for data in given:
        yield _decoded(request, data)


def _token(context: Context) -> str:
    """Empty where there is none."""
    scheme, _, token = str(_metadata(context).get("authorization", "")).partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _authorized(edge: _Edge, role: Role, token: str) -> Caller | None:
    if edge.callers is None:
        return None
    if not token:
        raise _no_token()
    caller = edge.callers.verify(token, time.time_ns() // 1000)
    caller.must(role)
    return caller


def _no_token() -> Unauthenticated:
    return Unauthenticated("there must be metadata authorization: Bearer TOKEN", given=False)


async def _abort(edge: _Edge, context: Context, error: Exception) -> None:
    if isinstance(error, grpc.aio.AbortError):
        raise error
    code, text, details = _status(edge, error)
    packed = []
    for detail in details:
        packed.append(any_pb2.Any())
        packed[-1].Pack(detail)
    status = status_pb2.Status(code=code.value[0], message=text, details=packed)
    await context.abort_with_status(rpc_status.to_status(status))  # type: ignore[attr-defined]


def _status(edge: _Edge, error: Exception) -> tuple[grpc.StatusCode, str, Sequence[Message]]:
    if isinstance(error, edge.invalid):
        field, reason = getattr(error, "field", ""), getattr(error, "reason", "")
        violation = error_details_pb2.BadRequest.FieldViolation(field=field, description=reason)
        details = error_details_pb2.BadRequest(field_violations=[violation])
        return grpc.StatusCode.INVALID_ARGUMENT, str(error), [details]
    match error:
        case Rejected():
            failure = error_details_pb2.PreconditionFailure.Violation(
                type="REJECTED", subject=error.field, description=error.reason
            )
            said: list[Message] = [error_details_pb2.PreconditionFailure(violations=[failure])]
            if error.more:
                said.append(json_format.ParseDict(error.more, struct_pb2.Struct()))
            return grpc.StatusCode.FAILED_PRECONDITION, str(error), said
        case NotFound():
            return grpc.StatusCode.NOT_FOUND, str(error), []
        case Unavailable():
            delay = duration_pb2.Duration(seconds=RETRY_S)
            details = error_details_pb2.RetryInfo(retry_delay=delay)
            return grpc.StatusCode.UNAVAILABLE, f"{error}; send it again", [details]
        case Unauthenticated():
            return grpc.StatusCode.UNAUTHENTICATED, str(error), []
        case Forbidden():
            return grpc.StatusCode.PERMISSION_DENIED, str(error), []
    log.error("unforeseen: %s", anonymous_trace(error))
    return grpc.StatusCode.INTERNAL, "unforeseen; the log of the service says more", []
