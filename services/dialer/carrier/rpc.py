"""gRPC: relais.telephony.v1.Telephony of the simulated carrier. No token is asked for."""

import re
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing

import grpc
from google.protobuf.duration_pb2 import Duration
from relais.telephony.v1 import telephony_service_pb2 as pb

from eventkit.errors import InvalidMessage
from eventkit.rpc import Context, Method, bidi, start_server, unary
from eventkit.subscription import TakenOver
from eventkit.wire import microseconds, timestamp
from services.dialer.carrier import calls as c
from services.dialer.carrier.exchange import Dialled, Exchange
from services.dialer.carrier.journal import Entry, Key

SERVICE = pb.DESCRIPTOR.services_by_name["Telephony"].full_name

MAX_CALLS = 1_000
"""Of one request."""
MAX_MESSAGE = 2 << 20
"""Bytes: a thousand calls."""
MAX_RING_S = 120
MAX_WAIT_S = 60
MAX_AHEAD_S = 3600
"""Of dial_before: the journal keeps ids for much longer."""
DEFAULT_WINDOW, MAX_WINDOW = 1_000, 100_000

_E164 = re.compile(r"\+[1-9][0-9]{6,14}")
_ID = re.compile(r"[!-~]{1,200}")


async def start_rpc(exchange: Exchange, address: str) -> tuple[grpc.aio.Server, int]:
    """Listen on host:port; returns the server and its real port. Raises RuntimeError."""
    edge = _Edge(exchange)
    methods: dict[str, Method] = {
        "Dial": unary(pb.DialRequest, edge.dial),
        "Connect": unary(pb.ConnectRequest, edge.connect),
        "HangUp": unary(pb.HangUpRequest, edge.hang_up),
        "GetCalls": unary(pb.GetCallsRequest, edge.get_calls),
        "FollowResults": bidi(pb.FollowResultsRequest, edge.follow),
    }
    return await start_server(address, {SERVICE: methods}, max_message=MAX_MESSAGE)


class _Edge:
    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    async def dial(self, request: pb.DialRequest, _: Context) -> pb.DialResponse:
        _at_most(request.calls)
        answers: list[pb.DialResponse.Dialled | None] = []
        wanted = []
        for call in request.calls:
            try:
                wanted.append((_call(call), self._dial_before(call)))
                answers.append(None)
            except InvalidMessage as error:
                answers.append(_refused(call.call_id, error))
        dialled = iter(await self._exchange.dial(wanted))
        return pb.DialResponse(
            dialled=[
                _dialled(call.call_id, next(dialled)) if answer is None else answer
                for call, answer in zip(request.calls, answers, strict=True)
            ]
        )

    def _dial_before(self, call: pb.Call) -> int:
        if not call.HasField("dial_before"):
            raise InvalidMessage("dial_before", "must be set")
        until = microseconds(call.dial_before)
        if until > self._exchange.now() + MAX_AHEAD_S * 1_000_000:
            raise InvalidMessage("dial_before", f"at most {MAX_AHEAD_S} s from now")
        return until

    async def connect(self, request: pb.ConnectRequest, _: Context) -> pb.ConnectResponse:
        _check_id("agent_id", request.agent_id)
        connected = await self._exchange.connect(_key(request), request.agent_id)
        return pb.ConnectResponse(connected=connected)

    async def hang_up(self, request: pb.HangUpRequest, _: Context) -> pb.HangUpResponse:
        await self._exchange.hang_up(_key(request))
        return pb.HangUpResponse()

    async def get_calls(self, request: pb.GetCallsRequest, _: Context) -> pb.GetCallsResponse:
        _at_most(request.calls)
        keys = [_key(call, f"calls[{number}].") for number, call in enumerate(request.calls)]
        found = await self._exchange.find(keys)
        return pb.GetCallsResponse(
            known=[
                pb.GetCallsResponse.Known(
                    call_id=key.call_id, unknown=not known.dialled, over=known.over
                )
                for key, known in zip(keys, found, strict=True)
            ]
        )

    async def follow(
        self, requests: AsyncIterator[pb.FollowResultsRequest], context: Context
    ) -> AsyncIterator[pb.FollowResultsResponse]:
        subscribe = await _subscribe(requests)
        _check_id("subscriber", subscribe.subscriber)
        if not 0 <= subscribe.window <= MAX_WINDOW:
            raise InvalidMessage("window", f"1 to {MAX_WINDOW}, or 0 for {DEFAULT_WINDOW}")
        window = subscribe.window or DEFAULT_WINDOW
        following = self._exchange.follow(subscribe.subscriber, window, _acknowledged(requests))
        try:
            async with aclosing(following):
                async for entries in following:
                    yield pb.FollowResultsResponse(results=map(_result, entries))
        except TakenOver as error:
            await context.abort(grpc.StatusCode.ABORTED, str(error))


# From a request.


def _at_most(given: Sequence[object]) -> None:
    if len(given) > MAX_CALLS:
        raise InvalidMessage("calls", f"at most {MAX_CALLS}")


def _check_id(field: str, value: str) -> None:
    if not _ID.fullmatch(value):
        raise InvalidMessage(field, "must be 1 to 200 visible ASCII characters")


def _key(named: pb.CallKey | pb.ConnectRequest | pb.HangUpRequest, where: str = "") -> Key:
    _check_id(f"{where}client_id", named.client_id)
    _check_id(f"{where}call_id", named.call_id)
    return Key(named.client_id, named.call_id)


_ON_MACHINE = {
    pb.Call.ON_MACHINE_HANG_UP: c.OnMachine.HANG_UP,
    pb.Call.ON_MACHINE_LEAVE_MESSAGE: c.OnMachine.LEAVE_MESSAGE,
    pb.Call.ON_MACHINE_AS_PERSON: c.OnMachine.AS_PERSON,
}


def _call(call: pb.Call) -> c.Call:
    _check_id("client_id", call.client_id)
    _check_id("call_id", call.call_id)
    for field in ("to", "caller_id"):
        if not _E164.fullmatch(getattr(call, field)):
            raise InvalidMessage(field, "must be a number in E.164, such as +33612345678")
    wait_us: int | None = None
    message = call.on_person.play_message
    match call.on_person.WhichOneof("what"):
        case "wait_for_agent":
            wait = call.on_person.wait_for_agent
            wait_us = _between("on_person.wait_for_agent.at_most", wait.at_most, 0, MAX_WAIT_S)
            message = wait.else_message
            _check_id("on_person.wait_for_agent.else_message", message)
        case "play_message":
            _check_id("on_person.play_message", message)
        case _:
            raise InvalidMessage("on_person", "must say what")
    on_machine = c.OnMachine.AS_PERSON
    if call.detect_machines:
        if call.on_machine not in _ON_MACHINE:
            raise InvalidMessage("on_machine", "must be set where machines are to be detected")
        on_machine = _ON_MACHINE[call.on_machine]
        if on_machine is c.OnMachine.LEAVE_MESSAGE:
            _check_id("machine_message", call.machine_message)
    return c.Call(
        call.client_id,
        call.call_id,
        call.to,
        _between("ring_for", call.ring_for, 1, MAX_RING_S),
        call.detect_machines,
        wait_us,
        message,
        on_machine,
        call.machine_message,
    )


def _between(field: str, given: Duration, least_s: int, most_s: int) -> int:
    """Microseconds."""
    us = given.seconds * 1_000_000 + given.nanos // 1000
    if not least_s * 1_000_000 <= us <= most_s * 1_000_000:
        raise InvalidMessage(field, f"must be between {least_s} and {most_s} s")
    return us


async def _subscribe(
    requests: AsyncIterator[pb.FollowResultsRequest],
) -> pb.FollowResultsRequest.Subscribe:
    async for request in requests:
        if request.WhichOneof("message") == "subscribe":
            return request.subscribe
        break
    raise InvalidMessage("subscribe", "the first message says who subscribes")


async def _acknowledged(requests: AsyncIterator[pb.FollowResultsRequest]) -> AsyncIterator[int]:
    async for request in requests:
        if request.WhichOneof("message") != "acknowledge":
            raise InvalidMessage("acknowledge", "all messages after the first acknowledge")
        yield request.acknowledge


# To an answer.

_TAKEN = {
    Dialled.DIALLING: pb.DialResponse.TAKEN_DIALLING,
    Dialled.KNOWN: pb.DialResponse.TAKEN_KNOWN,
    Dialled.TOO_LATE: pb.DialResponse.TAKEN_TOO_LATE,
}
_BY = {
    c.Who.HUMAN: pb.CallResult.BY_HUMAN,
    c.Who.MACHINE: pb.CallResult.BY_MACHINE,
    c.Who.FAX: pb.CallResult.BY_FAX,
    c.Who.UNKNOWN: pb.CallResult.BY_UNKNOWN,
}
_WHY = {
    c.Why.HUNG_UP: pb.CallResult.WHY_HUNG_UP,
    c.Why.MESSAGE_PLAYED: pb.CallResult.WHY_MESSAGE_PLAYED,
    c.Why.BUSY: pb.CallResult.WHY_BUSY,
    c.Why.NO_ANSWER: pb.CallResult.WHY_NO_ANSWER,
    c.Why.UNOBTAINABLE: pb.CallResult.WHY_UNOBTAINABLE,
    c.Why.CARRIER_ERROR: pb.CallResult.WHY_CARRIER_ERROR,
    c.Why.RELEASED: pb.CallResult.WHY_RELEASED,
}


def _dialled(call_id: str, dialled: Dialled) -> pb.DialResponse.Dialled:
    if dialled is Dialled.USED_UP:
        return _refused(call_id, InvalidMessage("call_id", "it is used up: GetCalls has asked"))
    return pb.DialResponse.Dialled(call_id=call_id, taken=_TAKEN[dialled])


def _refused(call_id: str, error: InvalidMessage) -> pb.DialResponse.Dialled:
    return pb.DialResponse.Dialled(
        call_id=call_id,
        taken=pb.DialResponse.TAKEN_REFUSED,
        field=error.field,
        reason=error.reason,
    )


def _result(entry: Entry) -> pb.CallResult:
    position, key, (at, what) = entry.position, entry.key, (entry.result.at, entry.result.what)
    result = pb.CallResult(
        position=position,
        client_id=key.client_id,
        call_id=key.call_id,
        occurred_at=timestamp(at),
    )
    match what:
        case c.Ringing():
            result.ringing.SetInParent()
        case c.Answered(by):
            result.answered.by = _BY[by]
        case c.GreetingEnded():
            result.greeting_ended.SetInParent()
        case c.Connected(agent_id):
            result.connected.agent_id = agent_id
        case c.MessageStarted(message_id):
            result.message_started.message_id = message_id
        case c.Over(why, cause, callback_wanted):
            result.over.why = _WHY[why]
            result.over.cause = cause
            result.over.callback_wanted = callback_wanted
    return result
