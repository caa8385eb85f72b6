"""The gRPC edge over a real channel: callers, causes, errors as statuses, streams, deadlines."""

import asyncio
import logging
import os
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message
from google.protobuf.wrappers_pb2 import Int64Value, StringValue
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_status import rpc_status

from eventkit.callers import Callers, Forbidden, Role
from eventkit.errors import InvalidMessage, NotFound, Rejected, Unavailable
from eventkit.eventstore import Cause
from eventkit.rpc import (
    Context,
    Method,
    bidi,
    caller_of,
    cause_of,
    client_of,
    start_server,
    stream,
    unary,
)

SERVICE = "test.v1.EchoService"
CALLERS = Callers({"one": os.urandom(32)})
FAILING = 1_000
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Refusal(ValueError):
    """A domain's own kind of Invalid."""

    field, reason = "own", "is wrong"


ERRORS: dict[str, Exception] = {
    "invalid": InvalidMessage("name", "is missing"),
    "own": Refusal(),
    "rejected": Rejected("closed already"),
    "missing": NotFound("complaint"),
    "unavailable": Unavailable("PostgreSQL does not answer"),
    "forbidden": Forbidden("needs the role admin"),
    "unforeseen": KeyError("Ana Smith"),
}


class Echo:
    """What the behaviours have seen."""

    def __init__(self) -> None:
        self.causes: list[Cause] = []
        self.waited: list[str] = []

    def methods(self) -> dict[str, Method]:
        return {
            "Say": unary(StringValue, self.say, "partner"),
            "Fail": unary(StringValue, self.fail),
            "Decide": unary(StringValue, self.say, Role.SUPERVISOR),
            "Act": unary(StringValue, self.act),
            "Wait": unary(StringValue, self.wait),
            "Count": stream(Int64Value, self.count, "partner"),
            "Repeat": bidi(StringValue, self.repeat),
        }

    async def say(self, request: StringValue, context: Context) -> StringValue:
        return StringValue(value=f"{caller_of(context).name}: {request.value}")

    async def fail(self, request: StringValue, _: Context) -> StringValue:
        raise ERRORS[request.value]

    async def act(self, request: StringValue, context: Context) -> StringValue:
        client_id, _, key = request.value.partition(" ")
        self.causes.append(await cause_of(context, client_id, key, request))
        return StringValue(value=await client_of(client_id, context))

    async def wait(self, request: StringValue, _: Context) -> StringValue:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            self.waited.append(request.value)
            raise
        return request

    async def count(self, request: Int64Value, _: Context) -> AsyncIterator[Int64Value]:
        try:
            for number in range(request.value):
                yield Int64Value(value=number)
                if number == 10 and request.value == FAILING:
                    raise ERRORS["rejected"]
                if number >= 2:
                    await asyncio.sleep(0.05)
        finally:
            self.waited.append("count")

    async def repeat(
        self, requests: AsyncIterator[StringValue], context: Context
    ) -> AsyncIterator[StringValue]:
        async for request in requests:
            yield await self.say(request, context)


@pytest.fixture
def echo() -> Echo:
    return Echo()


@pytest.fixture
async def channel(echo: Echo) -> AsyncIterator[grpc.aio.Channel]:
    async def known(client_id: str) -> bool:
        return client_id == "acme"

    async def index(client_id: str, value: str) -> bytes:
        return f"{client_id} {value}".encode()

    server, port = await start_server(
        "127.0.0.1:0", {SERVICE: echo.methods()}, CALLERS, known, 1000, (Refusal,), index
    )
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield channel
    await server.stop(0)


def token(
    name: str = "ana",
    clients: tuple[str, ...] = ("acme", "gone"),
    role: str = "agent",
    ttl: int = 60,
) -> list[tuple[str, str]]:
    text = CALLERS.issue(name, clients, role, time.time_ns() // 1000, ttl)
    return [("authorization", f"Bearer {text}")]


Ask = Callable[..., Any]


@pytest.fixture
def ask(channel: grpc.aio.Channel) -> Ask:
    """ask(method, text or bytes, metadata) -> the answer's text."""

    async def ask(
        method: str, given: str | bytes = "hello", metadata: Any = None, timeout_s: float = 30
    ) -> str:
        call = channel.unary_unary(f"/{SERVICE}/{method}")
        data = StringValue(value=given).SerializeToString() if isinstance(given, str) else given
        metadata = token() if metadata is None else metadata
        return StringValue.FromString(await call(data, metadata=metadata, timeout=timeout_s)).value

    return ask


async def refused(call: Any) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await call
    return error.value


def detail(error: grpc.aio.AioRpcError, kind: type[Message]) -> Any:
    status = rpc_status.from_call(error)  # type: ignore[arg-type]
    assert status is not None
    (packed,) = status.details
    message = kind()
    assert packed.Unpack(message)
    return message


async def test_who_calls(ask: Ask) -> None:
    assert await ask("Say") == "ana: hello"
    assert await ask("Say", metadata=token("erp", role="partner")) == "erp: hello"
    assert await ask("Decide", metadata=token("eve", role="admin")) == "eve: hello"
    basic = [("authorization", "Basic YTpi")]
    for metadata in ([], basic, [("authorization", "Bearer ")], [("authorization", "Bearer x")]):
        error = await refused(ask("Say", metadata=metadata))
        assert error.code() is grpc.StatusCode.UNAUTHENTICATED
    for method, role in (("Decide", "agent"), ("Act", "partner")):
        error = await refused(ask(method, metadata=token(role=role)))
        assert error.code() is grpc.StatusCode.PERMISSION_DENIED


async def test_a_cause(ask: Ask, echo: Echo) -> None:
    trace = [("traceparent", TRACE)]
    for given in ("acme key-1", "acme key-1", "acme key-2", "acme"):
        assert await ask("Act", given, token() + trace) == "acme"
    first, again, second, none = echo.causes
    assert first == again
    assert (first.client_id, first.actor, first.idempotency_key) == ("acme", "ana", "key-1")
    assert first.traceparent == TRACE
    assert first.fingerprint.startswith(b"acme ")
    assert second.fingerprint != first.fingerprint
    assert (none.idempotency_key, none.fingerprint) == (None, b"")
    # Another's client, one that is not registered, and none at all are the same to the caller.
    for client_id in ("globex", "gone", ""):
        error = await refused(ask("Act", f"{client_id} key"))
        assert (error.code(), error.details()) == (grpc.StatusCode.NOT_FOUND, "no such client")
    for key in ("a b", "é", "x" * 201, "key\n"):
        error = await refused(ask("Act", f"acme {key}"))
        (violation,) = detail(error, error_details_pb2.BadRequest).field_violations
        assert violation.field == "idempotency_key"
    await ask("Act", "acme", [*token(), ("traceparent", "nonsense")])
    assert echo.causes[-1].traceparent == ""


async def test_errors_are_statuses(ask: Ask, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)

    async def failed(name: str) -> grpc.aio.AioRpcError:
        return await refused(ask("Fail", name))

    for name, field in (("invalid", "name"), ("own", "own")):
        error = await failed(name)
        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
        (violation,) = detail(error, error_details_pb2.BadRequest).field_violations
        assert violation.field == field
    error = await failed("rejected")
    assert error.code() is grpc.StatusCode.FAILED_PRECONDITION
    (failure,) = detail(error, error_details_pb2.PreconditionFailure).violations
    assert failure.description == "closed already"
    error = await failed("missing")
    assert (error.code(), error.details()) == (grpc.StatusCode.NOT_FOUND, "no such complaint")
    error = await failed("unavailable")
    assert error.code() is grpc.StatusCode.UNAVAILABLE
    assert detail(error, error_details_pb2.RetryInfo).retry_delay.seconds == 1
    assert (await failed("forbidden")).code() is grpc.StatusCode.PERMISSION_DENIED
    assert "unforeseen" not in caplog.text
    error = await failed("unforeseen")
    assert error.code() is grpc.StatusCode.INTERNAL
    assert "Ana Smith" not in str(error)
    assert "KeyError" in caplog.text
    assert "Ana Smith" not in caplog.text


async def test_bytes_that_are_no_request(ask: Ask) -> None:
    error = await refused(ask("Say", b"\xff\xff"))
    assert (error.code(), error.details()) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "not a StringValue",
    )
    error = await refused(ask("Say", "x" * 2000))
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_a_stream(channel: grpc.aio.Channel, echo: Echo) -> None:
    count = channel.unary_stream(
        f"/{SERVICE}/Count", Int64Value.SerializeToString, Int64Value.FromString
    )
    got = [each.value async for each in count(Int64Value(value=4), metadata=token())]
    assert got == [0, 1, 2, 3]
    error = await refused(anext(aiter(count(Int64Value(value=4)))))
    assert error.code() is grpc.StatusCode.UNAUTHENTICATED
    # Who goes away stops it.
    call = count(Int64Value(value=10_000), metadata=token(role="partner"))
    assert (await anext(aiter(call))).value == 0
    echo.waited.clear()
    call.cancel()
    for _ in range(100):
        if echo.waited:
            break
        await asyncio.sleep(0.05)
    assert echo.waited == ["count"]


async def test_a_stream_ends_with_its_token(channel: grpc.aio.Channel) -> None:
    count = channel.unary_stream(
        f"/{SERVICE}/Count", Int64Value.SerializeToString, Int64Value.FromString
    )
    got: list[int] = []

    async def read() -> None:
        async for each in count(Int64Value(value=90), metadata=token(ttl=2)):
            got.append(each.value)

    error = await refused(read())
    assert error.code() is grpc.StatusCode.UNAUTHENTICATED
    assert 0 < len(got) < 90
    assert got == list(range(len(got)))


async def test_an_error_within_a_stream(channel: grpc.aio.Channel) -> None:
    count = channel.unary_stream(
        f"/{SERVICE}/Count", Int64Value.SerializeToString, Int64Value.FromString
    )
    got: list[int] = []

    async def read() -> None:
        async for each in count(Int64Value(value=FAILING), metadata=token()):
            got.append(each.value)

    error = await refused(read())
    assert error.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert got == list(range(11))


async def test_both_ways(channel: grpc.aio.Channel) -> None:
    repeat = channel.stream_stream(f"/{SERVICE}/Repeat")

    async def texts() -> AsyncIterator[bytes]:
        for text in ("a", "b"):
            yield StringValue(value=text).SerializeToString()
        yield b"\xff"

    got: list[str] = []

    async def read() -> None:
        async for each in repeat(texts(), metadata=token()):
            got.append(StringValue.FromString(each).value)

    error = await refused(read())
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert got == ["ana: a", "ana: b"]


async def test_a_deadline(ask: Ask, echo: Echo) -> None:
    error = await refused(ask("Wait", "x", timeout_s=0.3))
    assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    for _ in range(100):
        if echo.waited:
            break
        await asyncio.sleep(0.05)
    assert echo.waited == ["x"]


async def test_health_needs_no_token(channel: grpc.aio.Channel) -> None:
    healthy: Any = health_pb2_grpc.HealthStub(channel)  # type: ignore[no-untyped-call]
    for service in ("", SERVICE):
        answer = await healthy.Check(health_pb2.HealthCheckRequest(service=service))
        assert answer.status == health_pb2.HealthCheckResponse.SERVING


async def test_a_server_without_callers(echo: Echo) -> None:
    server, port = await start_server("127.0.0.1:0", {SERVICE: echo.methods()})
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        say = channel.unary_unary(f"/{SERVICE}/Say")
        error = await refused(say(b"", metadata=token()))
        assert error.code() is grpc.StatusCode.UNAUTHENTICATED, "it asked who calls: nobody knows"
        error = await refused(channel.unary_unary(f"/{SERVICE}/Fail")(b"\n\x07missing"))
        assert error.code() is grpc.StatusCode.NOT_FOUND
    await server.stop(0)
