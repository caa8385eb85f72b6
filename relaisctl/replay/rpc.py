"""The edges of routing, as a telephone system and desktops use them."""

import asyncio
from collections.abc import Awaitable, Callable

import grpc
from relais.agents.v1.events_pb2 import Skill
from relais.calls.v1.events_pb2 import (
    CHANNEL_VOICE,
    DIRECTION_INBOUND,
    OVERFLOW_CLOSE,
    OVERFLOW_RELAX_SKILL,
    RequiredSkill,
)
from relais.pools.v1.events_pb2 import Queue, QueueConfigured, Step
from relais.routing.v1 import routing_service_pb2 as pb
from relais.routing.v1.pool_service_pb2 import ConfigureQueueRequest
from relais.routing.v1.pool_service_pb2_grpc import PoolServiceStub
from relais.routing.v1.routing_service_pb2_grpc import RoutingServiceStub

from relaisctl import codec
from relaisctl.errors import UnreachableError
from relaisctl.replay.live import (
    Abandoned,
    AgentReport,
    Arrived,
    Available,
    CallReport,
    Connected,
    Ended,
    LoggedIn,
    LoggedOut,
    OfferAccepted,
    Queued,
    QueueRules,
)

AGAIN = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
DEADLINE_S = 10.0
PAUSE_S = 0.5


class EdgeError(UnreachableError):
    """Routing refused a report, or could not be reached for `patience_s`. One line for people."""


class Routing:
    """An `async with` around one channel. A report that is not acknowledged is sent again.

    address: host:port. patience_s: how long one report is tried.
    """

    def __init__(self, address: str, actor: str, patience_s: float = 120.0) -> None:
        self._address = address
        self._actor = actor
        self._patience_s = patience_s
        self.retries = 0

    async def __aenter__(self) -> "Routing":
        self._channel = grpc.aio.insecure_channel(
            self._address,
            # Without it gRPC waits up to two minutes before it looks for a restarted server.
            options=[("grpc.max_reconnect_backoff_ms", 1000)],
        )
        self._stub = RoutingServiceStub(self._channel)  # type: ignore[no-untyped-call]
        self._pools = PoolServiceStub(self._channel)  # type: ignore[no-untyped-call]
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._channel.close(None)

    async def configure(
        self, pool_id: str, clock_speed: float, offer_seconds: int, wrap_up_seconds: int
    ) -> None:
        request = pb.ConfigurePoolRequest(
            pool_id=pool_id,
            clock_speed=clock_speed,
            offer_seconds=offer_seconds,
            wrap_up_seconds=wrap_up_seconds,
        )
        await self._send(self._stub.ConfigurePool, request)

    async def configure_queue(self, pool_id: str, rules: QueueRules) -> None:
        queue = Queue(
            queue_id=rules.queue_id,
            target_seconds=rules.target_s,
            target_share=0.8,
            penalty=1.0,
            wait_weight=1.0,
            when_closed=Step(action=OVERFLOW_CLOSE),
            when_full=OVERFLOW_CLOSE,
            callback_attempts=1,
            callback_retry_seconds=60,
        )
        if rules.relax is not None:
            queue.steps.add(
                after_seconds=rules.relax.after_s,
                action=OVERFLOW_RELAX_SKILL,
                skill=rules.relax.skill,
                level=rules.relax.level,
            )
        request = ConfigureQueueRequest(
            pool_id=pool_id,
            client_id=rules.client_id,
            queue=QueueConfigured(queue=queue),
            actor=self._actor,
        )
        await self._send(self._pools.ConfigureQueue, request)

    async def report(self, pool_id: str, report: CallReport | AgentReport) -> None:
        """Returns when the report is safe. Raises EdgeError."""
        if isinstance(report, CallReport):
            await self._send(self._stub.ReportCall, self._call_request(pool_id, report))
        else:
            await self._send(self._stub.ReportAgent, _agent_request(pool_id, report))

    def _call_request(self, pool_id: str, report: CallReport) -> pb.ReportCallRequest:
        request = pb.ReportCallRequest(
            client_id=report.client_id,
            pool_id=pool_id,
            call_id=report.call_id,
            occurred_at=codec.timestamp(report.at),
            actor=self._actor,
        )
        match report.what:
            case Arrived(line, customer_id):
                request.arrived.channel = CHANNEL_VOICE
                request.arrived.direction = DIRECTION_INBOUND
                request.arrived.line = line
                request.arrived.customer_id = customer_id
            case Queued(queue_id, priority, required_skills):
                request.queued.queue_id = queue_id
                request.queued.priority = priority
                request.queued.required_skills.extend(
                    RequiredSkill(skill=skill, min_level=level) for skill, level in required_skills
                )
            case Abandoned():
                request.abandoned.SetInParent()
            case Connected(agent_id):
                request.connected.agent_id = agent_id
            case Ended():
                request.ended.SetInParent()
        return request

    async def _send(self, method: Callable[..., Awaitable[object]], request: object) -> None:
        clock = asyncio.get_running_loop()
        last = clock.time() + self._patience_s
        while True:
            try:
                await method(request, timeout=DEADLINE_S)
            except grpc.aio.AioRpcError as error:
                if error.code() not in AGAIN:
                    raise EdgeError(f"routing refused a report: {error.details()}") from error
                if clock.time() > last:
                    raise EdgeError(
                        f"routing at {self._address} does not answer: {error.details()}"
                    ) from error
                self.retries += 1
                await asyncio.sleep(PAUSE_S)
            else:
                return


def _agent_request(pool_id: str, report: AgentReport) -> pb.ReportAgentRequest:
    request = pb.ReportAgentRequest(
        pool_id=pool_id, agent_id=report.agent_id, occurred_at=codec.timestamp(report.at)
    )
    match report.what:
        case LoggedIn(skills):
            request.logged_in.skills.extend(
                Skill(skill=skill, level=level) for skill, level in skills
            )
            request.logged_in.SetInParent()
        case Available():
            request.available.SetInParent()
        case OfferAccepted(offer_id):
            request.offer_accepted.offer_id = offer_id
        case LoggedOut(reason):
            request.logged_out.reason = reason
    return request
