"""gRPC: telephone systems follow assignments, desktops attach.
proto/relais/routing/v1/assignment_service.proto."""

import hashlib
from collections.abc import AsyncIterator
from contextlib import aclosing

import grpc
from google.protobuf.timestamp_pb2 import Timestamp
from relais.agents.v1.events_pb2 import AgentEvent
from relais.calls.v1.events_pb2 import Channel, HelpKind
from relais.routing.v1 import assignment_service_pb2 as pb
from relais.routing.v1.pool_snapshot_pb2 import AgentState, CallState

from eventkit.rpc import Context, Method, bidi, stream
from eventkit.subscription import (
    DEFAULT_WINDOW,
    MAX_WINDOW,
    Position,
    Subscribers,
    TakenOver,
)
from eventkit.wire import timestamp
from services.routing.commands import Invalid, check_client_id
from services.routing.configuration import check_id
from services.routing.following.codec import CALLS, Calls, call_event
from services.routing.following.concerns import Wanted
from services.routing.following.desktops import Desktops, InHand, Situation

SERVICE = pb.DESCRIPTOR.services_by_name["AssignmentService"].full_name
GROUP = "routing-following"
MAX_NAMED = 200
"""Clients, and pools, of one subscriber."""


def methods(bootstrap: str, desktops: Desktops) -> dict[str, Method]:
    """AssignmentService, by the names of its methods."""
    edge = _Edge(bootstrap, desktops)
    return {
        "FollowAssignments": bidi(pb.FollowAssignmentsRequest, edge.follow, "partner"),
        "AttachDesktop": stream(pb.AttachDesktopRequest, edge.attach, "agent"),
    }


class _Edge:
    def __init__(self, bootstrap: str, desktops: Desktops) -> None:
        self._subscribers = Subscribers(bootstrap, [CALLS], GROUP)
        self._desktops = desktops

    async def follow(
        self, requests: AsyncIterator[pb.FollowAssignmentsRequest], context: Context
    ) -> AsyncIterator[pb.FollowAssignmentsResponse]:
        subscribe = await _subscribe(requests)
        wanted = _wanted(subscribe)
        check_id("subscriber", subscribe.subscriber)
        try:
            async with (
                self._subscribers.begin(
                    subscribe.subscriber,
                    earliest=_earliest(subscribe),
                    window=_window(subscribe),
                    select=lambda: Calls(wanted),
                    choice=_choice(wanted),
                ) as subscription,
                aclosing(subscription.updates(_acknowledged(requests))) as updates,
            ):
                async for record, previous in updates:
                    yield pb.FollowAssignmentsResponse(
                        position=pb.Position(partition=record.partition, offset=record.offset),
                        previous_offset=previous,
                        event=call_event(record),
                    )
        except TakenOver as error:
            await context.abort(grpc.StatusCode.ABORTED, str(error))

    async def attach(
        self, request: pb.AttachDesktopRequest, context: Context
    ) -> AsyncIterator[pb.AttachDesktopResponse]:
        check_id("pool_id", request.pool_id)
        check_id("agent_id", request.agent_id)
        try:
            async with self._desktops.attach(request.pool_id, request.agent_id) as desktop:
                yield pb.AttachDesktopResponse(situation=_situation(desktop.situation))
                async for event in desktop:
                    if isinstance(event, AgentEvent):
                        yield pb.AttachDesktopResponse(agent=event)
                    else:
                        yield pb.AttachDesktopResponse(call=event)
        except TakenOver as error:
            await context.abort(grpc.StatusCode.ABORTED, str(error))


async def _subscribe(
    requests: AsyncIterator[pb.FollowAssignmentsRequest],
) -> pb.FollowAssignmentsRequest.Subscribe:
    async for request in requests:
        if request.WhichOneof("request") == "subscribe":
            return request.subscribe
        break
    raise Invalid("subscribe", "the first request says who subscribes")


def _wanted(subscribe: pb.FollowAssignmentsRequest.Subscribe) -> Wanted:
    if subscribe.site:
        check_id("site", subscribe.site)
    for field in ("client_ids", "pool_ids"):
        if len(getattr(subscribe, field)) > MAX_NAMED:
            raise Invalid(field, f"at most {MAX_NAMED}")
    for client_id in subscribe.client_ids:
        check_client_id(client_id)
    for pool_id in subscribe.pool_ids:
        check_id("pool_ids", pool_id)
    return Wanted(subscribe.site, frozenset(subscribe.client_ids), frozenset(subscribe.pool_ids))


def _choice(wanted: Wanted) -> str:
    if wanted == Wanted():
        return ""
    said = repr((wanted.site, sorted(wanted.clients), sorted(wanted.pools)))
    return hashlib.sha256(said.encode()).hexdigest()[:16]


def _earliest(subscribe: pb.FollowAssignmentsRequest.Subscribe) -> bool:
    request = pb.FollowAssignmentsRequest
    known = (request.START_UNSPECIFIED, request.START_LATEST, request.START_EARLIEST)
    if subscribe.start not in known:
        raise Invalid("start", "not one of those that there are")
    return subscribe.start == request.START_EARLIEST


def _window(subscribe: pb.FollowAssignmentsRequest.Subscribe) -> int:
    if not 0 <= subscribe.window <= MAX_WINDOW:
        raise Invalid("window", f"1 to {MAX_WINDOW}, or 0 for {DEFAULT_WINDOW}")
    return subscribe.window or DEFAULT_WINDOW


async def _acknowledged(
    requests: AsyncIterator[pb.FollowAssignmentsRequest],
) -> AsyncIterator[Position]:
    async for request in requests:
        if request.WhichOneof("request") != "acknowledge":
            raise Invalid("acknowledge", "all requests after the first acknowledge")
        for position in request.acknowledge.positions:
            yield Position(CALLS, position.partition, position.offset)


def _situation(situation: Situation) -> pb.AttachDesktopResponse.Situation:
    return pb.AttachDesktopResponse.Situation(
        state=AgentState.ValueType(situation.state or 0),
        since=_time(situation.since),
        reason=situation.reason,
        version=situation.version,
        calls=[_in_hand(call) for call in situation.calls],
    )


def _in_hand(call: InHand) -> pb.AttachDesktopResponse.Call:
    return pb.AttachDesktopResponse.Call(
        client_id=call.client_id,
        call_id=call.call_id,
        state=CallState.ValueType(call.state),
        version=call.version,
        channel=Channel.ValueType(call.channel),
        queue_id=call.queue_id,
        customer_id=call.customer_id,
        offer_id=call.offer_id,
        expires_at=_time(call.expires_at),
        help_id=call.help_id,
        help_kind=HelpKind.ValueType(call.help_kind),
        queued_at=_time(call.queued_at),
        connected_at=_time(call.connected_at),
        on_hold=call.on_hold,
    )


def _time(us: int) -> Timestamp | None:
    return timestamp(us) if us else None
