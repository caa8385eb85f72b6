"""The use case of both edges: a report becomes a command in the log, or it is refused.

Unavailable and commands.Invalid are all that a caller has to expect. Unavailable: Kafka has not
acknowledged in time. The report may still arrive; sending it again is harmless.
"""

import asyncio
from collections.abc import Awaitable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from aiokafka.errors import KafkaError
from opentelemetry.context import Context
from opentelemetry.trace import Span

from eventkit import telemetry
from eventkit.clock import Clock
from eventkit.errors import Unavailable
from eventkit.producer import Producer
from eventkit.records import Message
from eventkit.topictable import TopicTable
from services.routing import codec, metrics
from services.routing import commands as c

TOPIC = "routing-commands"
CLIENTS_TOPIC = "client-events"
AHEAD = 60 * c.SECOND
"""How far a report's clock may be ahead of ours."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Posted:
    """A report on its way into the log, behind those that were posted before it."""

    command_id: str
    kind: str
    acknowledged: "asyncio.Future[Any]"


def clients_table(bootstrap: str) -> TopicTable[bool]:
    """The registered clients, by their id."""
    return TopicTable(bootstrap, CLIENTS_TOPIC, codec.decode_client)


class Reports:
    """ack_s: how long Kafka may take, for each step of a report."""

    def __init__(
        self, producer: Producer, clients: TopicTable[bool], clock: Clock, ack_s: float
    ) -> None:
        self._producer = producer
        self._clients = clients
        self._clock = clock
        self._ack_s = ack_s

    async def put(
        self,
        pool_id: str,
        body: c.Body,
        *,
        client_id: str = c.CENTRE,
        occurred_at: int | None = None,
        actor: str = "",
        context: Context | None = None,
    ) -> str:
        """Put a report into the log; returns its command's id once Kafka has acknowledged it.

        occurred_at: microseconds since the epoch; None: now. actor: "" for a desktop: its agent.
        context: the caller's trace.
        Raises commands.Invalid and Unavailable.
        """
        with self._span(body, context) as span:
            report = (pool_id, body, client_id, occurred_at, actor)
            return await self.acknowledged(await self._post(span, *report))

    async def post(
        self,
        pool_id: str,
        body: c.Body,
        *,
        client_id: str = c.CENTRE,
        occurred_at: int | None = None,
        actor: str = "",
        context: Context | None = None,
    ) -> Posted:
        """As `put`, for who sends the next report before this one is acknowledged."""
        with self._span(body, context) as span:
            return await self._post(span, pool_id, body, client_id, occurred_at, actor)

    async def acknowledged(self, posted: Posted) -> str:
        """The command's id, once Kafka has acknowledged it. Raises Unavailable."""
        outcome = "unavailable"
        try:
            if not posted.acknowledged.done() or posted.acknowledged.exception() is not None:
                await self._in_time(posted.acknowledged)
            outcome = "accepted"
            return posted.command_id
        finally:
            metrics.REPORTS.add(1, {"outcome": outcome, "command": posted.kind})

    def _span(self, body: c.Body, context: Context | None) -> AbstractContextManager[Span]:
        name = f"report {type(body).__name__}"
        return telemetry.tracer.start_as_current_span(name, context=context)

    async def _post(
        self,
        span: Span,
        pool_id: str,
        body: c.Body,
        client_id: str,
        occurred_at: int | None,
        actor: str,
    ) -> Posted:
        kind = type(body).__name__
        outcome = "invalid"
        try:
            command = self._command(pool_id, body, client_id, occurred_at, actor)
            span.set_attribute("relais.pool_id", pool_id)
            span.set_attribute("relais.stream_id", command.correlation_id)
            value = codec.encode_command(command)
            if isinstance(body, c.CallCommand | c.ClientCommand):
                await self._check_registered(client_id)
            outcome = "unavailable"
            message = Message(TOPIC, pool_id.encode(), value)
            acknowledged = await self._in_time(self._producer.post(message))
        except BaseException:
            metrics.REPORTS.add(1, {"outcome": outcome, "command": kind})
            raise
        return Posted(command.command_id, kind, acknowledged)

    async def check_log(self) -> None:
        """Raise Unavailable when Kafka does not answer."""
        await self._in_time(self._refresh())

    def _command(
        self, pool_id: str, body: c.Body, client_id: str, occurred_at: int | None, actor: str
    ) -> c.Command:
        now = self._clock.now_us()
        if occurred_at is None:
            occurred_at = now
        if not actor and isinstance(body, c.DesktopCommand):
            actor = body.agent_id
        command = c.command_for(
            pool_id,
            body,
            command_id="-",
            client_id=client_id,
            occurred_at=occurred_at,
            recorded_at=now,
            actor=actor,
        )
        c.check(command)
        if occurred_at > now + AHEAD:
            raise c.Invalid("occurred_at", "more than a minute ahead of this machine's clock")
        command_id = codec.command_id(pool_id, client_id, occurred_at, body)
        return replace(command, command_id=command_id)

    async def _check_registered(self, client_id: str) -> None:
        key = client_id.encode()
        if self._clients.get(key):
            return
        await self._in_time(self._refresh())
        if not self._clients.get(key):
            raise c.Invalid(
                "client_id",
                f"{client_id} is not registered: relaisctl client add {client_id} --zone ZONE",
            )

    async def _refresh(self) -> None:
        # Shielded: who gives up must not break off what others wait for too.
        reading = asyncio.ensure_future(self._clients.refresh())
        reading.add_done_callback(lambda task: task.cancelled() or task.exception())
        await asyncio.shield(reading)

    async def _in_time(self, step: Awaitable[T]) -> T:
        try:
            async with asyncio.timeout(self._ack_s):
                return await step
        except TimeoutError:
            raise Unavailable(f"Kafka has not answered within {self._ack_s:g} s") from None
        except KafkaError as error:
            raise Unavailable(f"Kafka: {error}") from error
