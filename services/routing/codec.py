"""Dataclasses to bytes and back: commands, events, snapshots.

A dataclass and its message have the same field names, so one table per direction says all that
differs: times, lengths and skills. Decoding raises InvalidMessage and nothing else.
"""

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass
from google.protobuf.timestamp_pb2 import Timestamp
from relais.agents.v1.events_pb2 import AgentEvent as WireAgentEvent
from relais.agents.v1.events_pb2 import Skill
from relais.calls.v1.events_pb2 import CallEvent as WireCallEvent
from relais.calls.v1.events_pb2 import RequiredSkill
from relais.clients.v1.events_pb2 import ClientEvent
from relais.routing.v1.commands_pb2 import RoutingCommand
from relais.routing.v1.pool_snapshot_pb2 import PoolSnapshot

from eventkit.errors import InvalidMessage
from eventkit.ids import derived_id, event_id
from eventkit.records import Record
from services.routing import commands as c
from services.routing import events as e
from services.routing.matching import sorted_skills
from services.routing.pool import Agent, AgentState, Call, CallState, Pool, Settings

DAY = 24 * 3600 * c.SECOND

ROUTING = "routing-worker"
"""The actor of what nobody has reported: decisions and timers."""

# Fields of values.


def to_timestamp(us: int) -> Timestamp:
    return Timestamp(seconds=us // 1_000_000, nanos=us % 1_000_000 * 1000)


def from_timestamp(value: Timestamp) -> int:
    """Microseconds; may lie outside of what a Timestamp allows, for `commands.check` to refuse."""
    return value.seconds * 1_000_000 + value.nanos // 1000


def _to_duration(us: int) -> Duration:
    return Duration(seconds=us // 1_000_000, nanos=us % 1_000_000 * 1000)


def _from_duration(value: Duration) -> int:
    return value.seconds * 1_000_000 + value.nanos // 1000


def _to_skills(skills: c.Skills) -> list[Skill]:
    return [Skill(skill=skill, level=level) for skill, level in skills]


def from_skills(skills: Any) -> c.Skills:
    """Of a repeated relais.agents.v1.Skill."""
    return sorted_skills((each.skill, each.level) for each in skills)


def _to_required(skills: c.Skills) -> list[RequiredSkill]:
    return [RequiredSkill(skill=skill, min_level=level) for skill, level in skills]


def from_required(skills: Any) -> c.Skills:
    """Of a repeated relais.calls.v1.RequiredSkill."""
    return sorted_skills((each.skill, each.min_level) for each in skills)


Convert = Callable[[Any], Any]

_TO_WIRE: Mapping[str, Convert] = {
    **dict.fromkeys(("arrived_at", "expires_at", "ends_at"), to_timestamp),
    **dict.fromkeys(("waited", "talked", "wrap_up"), _to_duration),
    "skills": _to_skills,
    "required_skills": _to_required,
}
_FROM_WIRE: Mapping[str, Convert] = {
    **dict.fromkeys(("arrived_at", "expires_at", "ends_at"), from_timestamp),
    **dict.fromkeys(("waited", "talked", "wrap_up"), _from_duration),
    "skills": from_skills,
    "required_skills": from_required,
    "channel": c.Channel,
    "direction": c.Direction,
    "cause": e.EndCause,
}


class Bodies:
    """The `oneof body` of one message: which dataclass is which field."""

    def __init__(self, message: type[Message], types: Mapping[str, type[Any]]) -> None:
        self._of_field = {name: (cls, _plan(cls, _FROM_WIRE)) for name, cls in types.items()}
        self._of_type = {
            cls: (
                name,
                GetMessageClass(message.DESCRIPTOR.fields_by_name[name].message_type),  # type: ignore[arg-type]
                _plan(cls, _TO_WIRE),
            )
            for name, cls in types.items()
        }

    def encode(self, body: Any) -> dict[str, Message]:
        """The one keyword argument for the message's constructor."""
        name, message, plan = self._of_type[type(body)]
        values = {
            field: convert(getattr(body, field)) if convert else getattr(body, field)
            for field, convert in plan
        }
        return {name: message(**values)}

    def decode(self, message: Any) -> Any:
        """The dataclass. Raises InvalidMessage for an unknown body or a value out of an enum."""
        name = message.WhichOneof("body")
        if name is None:
            raise InvalidMessage("body", "missing, or of a kind that this version does not know")
        cls, plan = self._of_field[name]
        body = getattr(message, name)
        values = {}
        for field, convert in plan:
            value = getattr(body, field)
            try:
                values[field] = convert(value) if convert else value
            except ValueError as error:
                raise InvalidMessage(f"{name}.{field}", str(error)) from error
        return cls(**values)


def _plan(cls: type[Any], converts: Mapping[str, Convert]) -> list[tuple[str, Convert | None]]:
    return [(field.name, converts.get(field.name)) for field in fields(cls)]


COMMANDS = Bodies(
    RoutingCommand,
    {
        "report_call_arrived": c.ReportCallArrived,
        "queue_call": c.QueueCall,
        "report_call_abandoned": c.ReportCallAbandoned,
        "report_call_connected": c.ReportCallConnected,
        "report_call_ended": c.ReportCallEnded,
        "log_in_agent": c.LogInAgent,
        "make_agent_available": c.MakeAgentAvailable,
        "start_break": c.StartBreak,
        "start_wrap_up": c.StartWrapUp,
        "log_out_agent": c.LogOutAgent,
        "start_other_call": c.StartOtherCall,
        "accept_offer": c.AcceptOffer,
        "decline_offer": c.DeclineOffer,
        "expire_offer": c.ExpireOffer,
        "finish_wrap_up": c.FinishWrapUp,
        "configure_pool": c.ConfigurePool,
    },
)
CALL_EVENTS = Bodies(
    WireCallEvent,
    {
        "arrived": e.CallArrived,
        "queued": e.CallQueued,
        "offered": e.CallOffered,
        "offer_expired": e.CallOfferExpired,
        "offer_declined": e.CallOfferDeclined,
        "offer_withdrawn": e.CallOfferWithdrawn,
        "assigned": e.CallAssigned,
        "connected": e.CallConnected,
        "abandoned": e.CallAbandoned,
        "ended": e.CallEnded,
        "wrapped_up": e.CallWrappedUp,
    },
)
AGENT_EVENTS = Bodies(
    WireAgentEvent,
    {
        "logged_in": e.AgentLoggedIn,
        "became_available": e.AgentBecameAvailable,
        "reserved": e.AgentReserved,
        "became_busy": e.AgentBecameBusy,
        "wrap_up_started": e.AgentWrapUpStarted,
        "break_started": e.AgentBreakStarted,
        "stopped_responding": e.AgentStoppedResponding,
        "logged_out": e.AgentLoggedOut,
    },
)

# Commands.


def command_id(pool_id: str, client_id: str, occurred_at: int, body: c.Body) -> str:
    """The same report told twice has the same id."""
    ((name, message),) = COMMANDS.encode(body).items()
    content = message.SerializeToString(deterministic=True).hex()
    return derived_id(pool_id, client_id, occurred_at, name, content)


def encode_command(command: c.Command) -> bytes:
    """A RoutingCommand for routing-commands, whose key is the pool's id."""
    message = RoutingCommand(pool_id=command.pool_id, **COMMANDS.encode(command.body))  # type: ignore[arg-type]
    meta = message.meta
    meta.event_id = command.command_id
    meta.stream_id = command.pool_id
    meta.client_id = command.client_id
    meta.occurred_at.CopyFrom(to_timestamp(command.occurred_at))
    meta.recorded_at.CopyFrom(to_timestamp(command.recorded_at))
    meta.actor = command.actor
    meta.correlation_id = command.correlation_id
    return message.SerializeToString()


def decode_command(record: Record) -> c.Command:
    """The command in a record of routing-commands. Raises InvalidMessage."""
    if record.value is None:
        raise InvalidMessage("", "no value")
    try:
        message = RoutingCommand.FromString(record.value)
    except DecodeError as error:
        raise InvalidMessage("", f"not a RoutingCommand: {error}") from error
    meta = message.meta
    if not meta.HasField("occurred_at"):
        raise InvalidMessage("meta.occurred_at", "missing")
    occurred_at = from_timestamp(meta.occurred_at)
    # Not the wall clock: the log must be judged the same whenever it is read.
    if occurred_at > record.timestamp * 1000 + DAY:
        raise InvalidMessage("meta.occurred_at", "more than a day after the record's own time")
    command = c.Command(
        pool_id=message.pool_id,
        command_id=meta.event_id,
        client_id=meta.client_id,
        occurred_at=occurred_at,
        recorded_at=from_timestamp(meta.recorded_at),
        actor=meta.actor,
        correlation_id=meta.correlation_id,
        body=COMMANDS.decode(message),
    )
    try:
        c.check(command)
    except c.Invalid as error:
        raise InvalidMessage(error.field, error.reason) from error
    # Under another key it would be in another pool's partition, and the pool have two writers.
    if record.key != command.pool_id.encode():
        raise InvalidMessage("pool_id", "is not the record's key")
    return command


# Events.


def encode_event(command: c.Command, event: e.Event) -> bytes:
    """A CallEvent or AgentEvent that `command` has led to; its key is the event's stream_id."""
    message: WireCallEvent | WireAgentEvent
    if isinstance(event, e.CallEvent):
        message = WireCallEvent(call_id=event.call_id, **CALL_EVENTS.encode(event.body))  # type: ignore[arg-type]
    else:
        message = WireAgentEvent(
            agent_id=event.agent_id,
            pool_id=command.pool_id,
            **AGENT_EVENTS.encode(event.body),  # type: ignore[arg-type]
        )
    stream_id = event.stream_id
    meta = message.meta
    meta.event_id = event_id(stream_id, event.version)
    meta.stream_id = stream_id
    meta.version = event.version
    meta.client_id = event.client_id
    _set_time(meta.occurred_at, event.occurred_at)
    _set_time(meta.recorded_at, command.recorded_at)
    decided = isinstance(event.body, e.CallOffered | e.AgentReserved)
    meta.actor = ROUTING if decided else command.actor
    meta.correlation_id = getattr(event.body, "call", "") or stream_id
    meta.causation_id = command.command_id
    return message.SerializeToString()


def _set_time(field: Timestamp, us: int) -> None:
    field.seconds = us // 1_000_000
    field.nanos = us % 1_000_000 * 1000


def decode_client(record: Record) -> bool:
    """Whether a record of client-events registers its client. Raises InvalidMessage."""
    try:
        return ClientEvent.FromString(record.value or b"").WhichOneof("body") == "registered"
    except DecodeError as error:
        raise InvalidMessage("", f"not a ClientEvent: {error}") from error


# Snapshots.


def encode_pool(pool: Pool) -> bytes:
    """A PoolSnapshot for routing-snapshots, whose key is the pool's id."""
    settings = pool.settings
    message = PoolSnapshot(
        pool_id=pool.pool_id,
        now_us=pool.now,
        offers=pool.offers,
        finished_calls=pool.finished.keys(),
        finished_at_us=pool.finished.values(),
        forgotten_until_us=pool.forgotten_until,
    )
    message.settings.offer_seconds = settings.offer_seconds
    message.settings.wrap_up_seconds = settings.wrap_up_seconds
    message.settings.clock_speed = settings.clock_speed
    message.settings.configured_at_us = settings.configured_at
    numbers: dict[c.Skills, int] = {}
    add_agent = message.agents.add
    for agent in pool.agents.values():
        number = numbers.get(agent.skills)
        if number is None:
            number = numbers[agent.skills] = len(numbers)
            message.skill_sets.add(skills=_to_skills(agent.skills))
        add_agent(
            agent_id=agent.agent_id,
            skill_set=number,
            state=int(agent.state),
            version=agent.version,
            at_us=agent.at,
            reported_at_us=agent.reported_at,
            reports=agent.reports,
            call=agent.call,
            offer_id=agent.offer_id,
            wrap_up_ends_at_us=agent.wrap_up_ends_at,
            reason=agent.reason,
            after_call=int(agent.after_call or 0),
            after_call_reason=agent.after_call_reason,
        )
    add_call = message.calls.add
    for call in pool.calls.values():
        add_call(
            client_id=call.client_id,
            call_id=call.call_id,
            state=int(call.state),
            version=call.version,
            at_us=call.at,
            arrived_at_us=call.arrived_at,
            queue_id=call.queue_id,
            priority=call.priority,
            required_skills=_to_required(call.required_skills),
            queued_at_us=call.queued_at,
            agent_id=call.agent_id,
            offer_id=call.offer_id,
            offer_expires_at_us=call.offer_expires_at,
            connected_at_us=call.connected_at,
            ended_at_us=call.ended_at,
        )
    return message.SerializeToString()


def decode_pool(data: bytes) -> Pool:
    """The pool, indexed. Raises InvalidMessage."""
    try:
        message = PoolSnapshot.FromString(data)
        return _pool_of(message)
    except (DecodeError, ValueError, IndexError) as error:
        raise InvalidMessage("", f"not a PoolSnapshot: {error}") from error


def _pool_of(message: PoolSnapshot) -> Pool:
    skill_sets = [from_skills(each.skills) for each in message.skill_sets]
    agents = {
        agent.agent_id: Agent(
            agent_id=agent.agent_id,
            skills=skill_sets[agent.skill_set],
            state=AgentState(agent.state),
            version=agent.version,
            at=agent.at_us,
            reported_at=agent.reported_at_us,
            reports=tuple(agent.reports),
            call=agent.call,
            offer_id=agent.offer_id,
            wrap_up_ends_at=agent.wrap_up_ends_at_us,
            reason=agent.reason,
            after_call=AgentState(agent.after_call) if agent.after_call else None,
            after_call_reason=agent.after_call_reason,
        )
        for agent in message.agents
    }
    calls = [
        Call(
            client_id=call.client_id,
            call_id=call.call_id,
            state=CallState(call.state),
            version=call.version,
            at=call.at_us,
            arrived_at=call.arrived_at_us,
            queue_id=call.queue_id,
            priority=call.priority,
            required_skills=from_required(call.required_skills),
            queued_at=call.queued_at_us,
            agent_id=call.agent_id,
            offer_id=call.offer_id,
            offer_expires_at=call.offer_expires_at_us,
            connected_at=call.connected_at_us,
            ended_at=call.ended_at_us,
        )
        for call in message.calls
    ]
    pool = Pool(
        pool_id=message.pool_id,
        now=message.now_us,
        settings=Settings(
            message.settings.offer_seconds,
            message.settings.wrap_up_seconds,
            message.settings.clock_speed,
            message.settings.configured_at_us,
        ),
        agents=agents,
        calls={call.stream_id: call for call in calls},
        offers=message.offers,
        finished=dict(zip(message.finished_calls, message.finished_at_us, strict=True)),
        forgotten_until=message.forgotten_until_us,
    )
    pool.index()
    return pool
