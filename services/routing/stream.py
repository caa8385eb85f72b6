"""The worker, a fold over routing-commands: decode, apply, publish; and send timers when due.

Whoever holds a partition is the only writer of its pools. A second holder that does not yet know
that it has lost them decides the same from the same log: the same events with the same ids.
"""

import asyncio
import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass

from aiokafka.errors import KafkaError
from opentelemetry import context as trace_context
from opentelemetry import trace
from opentelemetry.context import Context

from eventkit import telemetry
from eventkit.clock import Clock
from eventkit.deadletter import DeadLetters
from eventkit.errors import Rejected
from eventkit.faustkit import App, fold_agent, make_app
from eventkit.ids import derived_id
from eventkit.logfold import LogFold
from eventkit.producer import Producer
from eventkit.records import Headers, Message, Record
from services.routing import codec, engine, metrics
from services.routing import commands as c
from services.routing import events as e
from services.routing.pool import Pool
from services.routing.timers import Due, Timers

log = logging.getLogger(__name__)

COMMANDS = "routing-commands"
SNAPSHOTS = "routing-snapshots"
CALLS = "call-events"
AGENTS = "agent-events"
POOLS = "pool-events"
TICK_S = 0.05
WATCH_S = 0.5


@dataclass(frozen=True, slots=True)
class Told:
    """A command, and the trace that it came with."""

    command: c.Command
    trace: Context | None


@dataclass(frozen=True, slots=True)
class Decision:
    """What a command has led to. trace: headers for the events, empty without a trace."""

    pool: Pool
    command: c.Command
    events: Sequence[e.Event | e.Sent]
    trace: Headers


class Fold:
    """eventkit.logfold.Fold of a partition's pools."""

    def decode(self, record: Record) -> tuple[str, Told]:
        command = codec.decode_command(record)
        trace = telemetry.context_of(record.headers) if record.headers else None
        return command.pool_id, Told(command, trace)

    def apply(self, state: Pool | None, message: Told) -> tuple[Pool | None, Sequence[Decision]]:
        command = message.command
        pool = Pool(command.pool_id) if state is None else state
        headers: Headers = ()
        try:
            if message.trace is None:
                events = engine.apply(pool, command)
            else:
                name = f"decide {type(command.body).__name__}"
                with telemetry.tracer.start_as_current_span(name, context=message.trace) as span:
                    events = engine.apply(pool, command)
                    span.set_attribute("relais.pool_id", command.pool_id)
                    span.set_attribute("relais.events", len(events))
                    headers = telemetry.trace_headers()
        except engine.Rejected as error:
            raise Rejected(error.reason, error.field) from error
        return pool, [Decision(pool, command, events, headers)]

    def encode_state(self, state: Pool) -> bytes:
        return codec.encode_pool(state)

    def decode_state(self, data: bytes) -> Pool:
        return codec.decode_pool(data)


class Routing:
    """Publishes decisions and keeps their timers."""

    def __init__(self, producer: Producer, clock: Clock) -> None:
        self._producer = producer
        self._clock = clock
        self._timers = Timers()
        self._pools: dict[str, Pool] = {}
        """Those whose timers are kept here."""

    async def publish(self, decisions: Sequence[Decision]) -> None:
        """Returns when Kafka has acknowledged all events."""
        # Each event belongs to its command's trace, not to the batch's.
        outside = trace_context.attach(trace.set_span_in_context(trace.INVALID_SPAN, Context()))
        try:
            out = [message for decision in decisions for message in messages(decision)]
            await self._producer.send_many(each for each in out if each.topic != COMMANDS)
            # Then only what another pool is to do: its events stand in the same stream, behind.
            await self._producer.send_many(each for each in out if each.topic == COMMANDS)
        finally:
            trace_context.detach(outside)
        now = time.monotonic()
        for decision in decisions:
            self._set_timers(decision, now)
            _measure(decision.events)

    def _set_timers(self, decision: Decision, now: float) -> None:
        pool = decision.pool
        body = decision.command.body
        if self._pools.get(pool.pool_id) is not pool or isinstance(body, c.ConfigurePool):
            self._pools[pool.pool_id] = pool
            self._timers.begin(pool, now)
        elif isinstance(body, c.Configuration):
            self._timers.set_all(pool, now)
        else:
            for subject in dict.fromkeys(engine.subjects(decision.events, body)):
                self._timers.set(pool, subject, now)

    def watch(self, held: Sequence[Pool]) -> None:
        """Take over the timers of pools that were restored, drop those of pools that have gone."""
        now = time.monotonic()
        here = {pool.pool_id: pool for pool in held}
        for pool_id, pool in here.items():
            if self._pools.get(pool_id) is not pool:
                self._timers.begin(pool, now)
        for pool_id, pool in self._pools.items():
            if pool_id not in here:
                self._timers.drop(pool)
        self._pools = here

    async def send_due(self) -> None:
        """Put the timers that are due into the log. Raises KafkaError; they are due again later."""
        now = time.monotonic()
        due = self._timers.due(now)
        if not due:
            return
        recorded_at = self._clock.now_us()
        await asyncio.gather(
            *(self._producer.deliver(timer_message(each, recorded_at)) for each in due)
        )
        for each in due:
            metrics.TIMERS.add(1, {"timer": type(each.timer.body).__name__})
            metrics.TIMER_LATENESS.record(time.monotonic() - each.at)


def timer_message(due: Due, recorded_at: int) -> Message:
    """The timer's command. The same timer, sent by whomever, has the same id."""
    pool_id, timer, body = due.pool.pool_id, due.timer, due.timer.body
    call = body.call if isinstance(body, c.FinishWrapUp) else timer.about
    command = c.command_for(
        pool_id,
        body,
        command_id=derived_id(
            "timer",
            pool_id,
            type(body).__name__,
            timer.about,
            *astuple(body),
            timer.due,
            *timer.stage,
        ),
        client_id=timer.client_id,
        occurred_at=timer.due,
        recorded_at=recorded_at,
        actor=codec.ROUTING,
        call="" if call.startswith("agent/") else call,
    )
    return Message(COMMANDS, pool_id.encode(), codec.encode_command(command))


def messages(decision: Decision) -> Iterator[Message]:
    """What is published: always the same for the same decision."""
    for index, event in enumerate(decision.events):
        match event:
            case e.Sent(pool_id=pool_id):
                value = codec.encode_sent(decision.command, index, event)
                yield Message(COMMANDS, pool_id.encode(), value, decision.trace)
            case _:
                value = codec.encode_event(decision.command, event)
                yield Message(_TOPICS[type(event)], event.stream_id.encode(), value, decision.trace)


_TOPICS: dict[type[e.Event], str] = {
    e.CallEvent: CALLS,
    e.AgentEvent: AGENTS,
    e.PoolEvent: POOLS,
}


def _measure(events: Sequence[e.Event | e.Sent]) -> None:
    for event in events:
        if isinstance(event, e.Sent):
            continue
        body = event.body
        metrics.EVENTS.add(1, {"event": type(body).__name__})
        if isinstance(body, e.CallConnected):
            metrics.WAITED.record(body.waited / c.SECOND, {"outcome": "answered"})
        elif isinstance(body, e.CallAbandoned):
            metrics.WAITED.record(body.waited / c.SECOND, {"outcome": "abandoned"})
        elif isinstance(body, e.CallOverflowed):
            metrics.WAITED.record(body.waited / c.SECOND, {"outcome": "overflowed"})


def make_worker(
    bootstrap: str,
    producer: Producer,
    clock: Clock,
    dead_letters: DeadLetters,
    *,
    snapshot_every: int,
    snapshot_s: float,
    session_s: float,
    group_instance: str | None,
) -> App:
    """The Faust app, for eventkit.faustkit.run_worker."""
    app = make_app(
        "routing-worker", bootstrap, session_timeout_s=session_s, group_instance=group_instance
    )
    routing = Routing(producer, clock)
    fold = LogFold(
        Fold(),
        bootstrap=bootstrap,
        topic=COMMANDS,
        snapshot_topic=SNAPSHOTS,
        producer=producer,
        publish=routing.publish,
        dead_letters=dead_letters,
        snapshot_every=snapshot_every,
        snapshot_seconds=snapshot_s,
    )
    fold_agent(app, fold)

    async def keep_timers() -> None:
        watched = 0.0
        while not app.should_stop:
            if time.monotonic() - watched >= WATCH_S:
                watched = time.monotonic()
                partitions = {number for worker in app.workers for number in worker.assigned()}
                routing.watch(
                    [
                        pool
                        for number in partitions
                        if fold.holds(number)
                        for pool in fold.states(number).values()
                    ]
                )
            try:
                await routing.send_due()
            except KafkaError as error:
                log.warning("timers could not be sent, trying again: %r", error)
            await asyncio.sleep(TICK_S)

    app.task(keep_timers)
    return app
