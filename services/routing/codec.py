"""Dataclasses to bytes and back: commands, events, snapshots.

A dataclass and its message have the same field names, from which the rest follows (mapping.py).
Decoding raises InvalidMessage and nothing else.
"""

from typing import Any

from google.protobuf.message import DecodeError
from google.protobuf.timestamp_pb2 import Timestamp
from relais.agents.v1.events_pb2 import AgentEvent as WireAgentEvent
from relais.calls.v1.events_pb2 import CallEvent as WireCallEvent
from relais.clients.v1.events_pb2 import ClientEvent
from relais.pools.v1.events_pb2 import ClientRules as WireClientRules
from relais.pools.v1.events_pb2 import PoolEvent as WirePoolEvent
from relais.pools.v1.events_pb2 import Queue as WireQueue
from relais.routing.v1.commands_pb2 import RoutingCommand
from relais.routing.v1.pool_snapshot_pb2 import (
    AgentSnapshot,
    CallSnapshot,
    PoolSettings,
    PoolSnapshot,
    QueueSnapshot,
)

from eventkit.errors import InvalidMessage
from eventkit.ids import derived_id, event_id
from eventkit.records import Record
from services.routing import commands as c
from services.routing import events as e
from services.routing.configuration import ClientRules, Groups, Queue
from services.routing.mapping import Bodies, Mapped, Sparse, Values, microseconds
from services.routing.matching import sorted_skills
from services.routing.pool import (
    Agent,
    AgentState,
    Call,
    CallState,
    Moved,
    Pool,
    Served,
    Settings,
    WrapUp,
)
from services.routing.queues import Level, Pace, QueueState

DAY = 24 * 3600 * c.SECOND

ROUTING = "routing-worker"
"""The actor of what nobody has reported: decisions and timers."""


def from_timestamp(value: Timestamp) -> int:
    """Microseconds; may lie outside of what a Timestamp allows, for `commands.check` to refuse."""
    return microseconds(value)


def from_skills(skills: Any) -> c.Skills:
    """Of a repeated relais.agents.v1.Skill."""
    return sorted_skills((each.skill, each.level) for each in skills)


def from_required(skills: Any) -> c.Skills:
    """Of a repeated relais.calls.v1.RequiredSkill."""
    return sorted_skills((each.skill, each.min_level) for each in skills)


def _to_skills(skills: c.Skills) -> list[Values]:
    return [{"skill": skill, "level": level} for skill, level in skills]


def _to_required(skills: c.Skills) -> list[Values]:
    return [{"skill": skill, "min_level": level} for skill, level in skills]


COMMANDS = Bodies(
    RoutingCommand,
    {
        "report_call_arrived": c.ReportCallArrived,
        "queue_call": c.QueueCall,
        "report_call_abandoned": c.ReportCallAbandoned,
        "report_call_connected": c.ReportCallConnected,
        "report_call_ended": c.ReportCallEnded,
        "report_call_held": c.ReportCallHeld,
        "report_call_resumed": c.ReportCallResumed,
        "accept_callback": c.AcceptCallback,
        "report_callback_failed": c.ReportCallbackFailed,
        "requeue_call": c.RequeueCall,
        "transfer_call": c.TransferCall,
        "request_help": c.RequestHelp,
        "complete_transfer": c.CompleteTransfer,
        "leave_call": c.LeaveCall,
        "take_over_call": c.TakeOverCall,
        "log_in_agent": c.LogInAgent,
        "set_agent_skills": c.SetAgentSkills,
        "report_connection_lost": c.ReportConnectionLost,
        "report_connection_restored": c.ReportConnectionRestored,
        "make_agent_available": c.MakeAgentAvailable,
        "start_break": c.StartBreak,
        "start_wrap_up": c.StartWrapUp,
        "log_out_agent": c.LogOutAgent,
        "start_other_call": c.StartOtherCall,
        "accept_offer": c.AcceptOffer,
        "decline_offer": c.DeclineOffer,
        "expire_offer": c.ExpireOffer,
        "finish_wrap_up": c.FinishWrapUp,
        "advance_call": c.AdvanceCall,
        "log_out_lost_agent": c.LogOutLostAgent,
        "configure_pool": c.ConfigurePool,
        "configure_queue": c.ConfigureQueue,
        "remove_queue": c.RemoveQueue,
        "configure_client": c.ConfigureClient,
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
        "relaxed": e.CallRelaxed,
        "moved": e.CallMoved,
        "moved_to_pool": e.CallMovedToPool,
        "taken_over": e.CallTakenOver,
        "callback_offered": e.CallCallbackOffered,
        "callback_accepted": e.CallCallbackAccepted,
        "callback_failed": e.CallCallbackFailed,
        "overflowed": e.CallOverflowed,
        "requeued": e.CallRequeued,
        "held": e.CallHeld,
        "resumed": e.CallResumed,
        "transferred": e.CallTransferred,
        "help_requested": e.CallHelpRequested,
        "help_offered": e.CallHelpOffered,
        "help_offer_ended": e.CallHelpOfferEnded,
        "help_joined": e.CallHelpJoined,
        "help_ended": e.CallHelpEnded,
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
        "skills_changed": e.AgentSkillsChanged,
        "connection_lost": e.AgentConnectionLost,
        "connection_restored": e.AgentConnectionRestored,
    },
)
POOL_EVENTS = Bodies(
    WirePoolEvent,
    {
        "pool_configured": e.PoolConfigured,
        "queue_configured": e.QueueConfigured,
        "queue_removed": e.QueueRemoved,
        "client_configured": e.ClientConfigured,
    },
)

# Commands.


def command_id(pool_id: str, client_id: str, occurred_at: int, body: c.Body) -> str:
    """The same report told twice has the same id."""
    ((name, values),) = COMMANDS.encode(body).items()
    message = getattr(RoutingCommand(**{name: values}), name)
    content = message.SerializeToString(deterministic=True).hex()
    return derived_id(pool_id, client_id, occurred_at, name, content)


def encode_command(command: c.Command, causation_id: str = "") -> bytes:
    """A RoutingCommand for routing-commands, whose key is the pool's id."""
    meta = {
        "event_id": command.command_id,
        "stream_id": command.pool_id,
        "client_id": command.client_id,
        "occurred_at": _to_time(command.occurred_at),
        "recorded_at": _to_time(command.recorded_at),
        "actor": command.actor,
        "correlation_id": command.correlation_id,
        "causation_id": causation_id,
    }
    message = RoutingCommand(meta=meta, pool_id=command.pool_id, **COMMANDS.encode(command.body))  # type: ignore[arg-type]
    return message.SerializeToString()


def encode_sent(command: c.Command, index: int, sent: e.Sent) -> bytes:
    """What `command` makes its pool send to another; index: its place in what has followed.

    A RoutingCommand for routing-commands, whose key is sent.pool_id. Always the same for the same.
    """
    decided = isinstance(sent.body, c.TakeOverCall)
    own = derived_id("sent", command.pool_id, command.command_id, index)
    made = c.command_for(
        sent.pool_id,
        sent.body,
        # A report that is sent on is the same report: its repeats are recognised in both pools.
        command_id=own if decided else command.command_id,
        client_id=sent.client_id,
        occurred_at=sent.occurred_at,
        recorded_at=command.recorded_at,
        actor=ROUTING if decided else command.actor,
    )
    return encode_command(made, command.command_id)


def _to_time(us: int) -> Values:
    return {"seconds": us // 1_000_000, "nanos": us % 1_000_000 * 1000}


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

_DECIDED = (
    e.CallOffered,
    e.CallHelpOffered,
    e.CallRelaxed,
    e.CallMoved,
    e.CallMovedToPool,
    e.CallCallbackOffered,
    e.CallOverflowed,
    e.AgentReserved,
)
"""What routing does, whoever's report has led to it."""


def encode_event(command: c.Command, event: e.Event) -> bytes:
    """A CallEvent, AgentEvent or PoolEvent that `command` has led to; the key is its stream_id."""
    stream_id, body = event.stream_id, event.body
    meta = {
        "event_id": event_id(stream_id, event.version),
        "stream_id": stream_id,
        "version": event.version,
        "client_id": event.client_id,
        "occurred_at": _to_time(event.occurred_at),
        "recorded_at": _to_time(command.recorded_at),
        "actor": ROUTING if isinstance(body, _DECIDED) else command.actor,
        "correlation_id": getattr(body, "call", "") or stream_id,
        "causation_id": command.command_id,
    }
    message: WireCallEvent | WireAgentEvent | WirePoolEvent
    match event:
        case e.CallEvent():
            encoded = CALL_EVENTS.encode(body)
            message = WireCallEvent(meta=meta, call_id=event.call_id, **encoded)  # type: ignore[arg-type]
        case e.AgentEvent():
            message = WireAgentEvent(
                meta=meta,  # type: ignore[arg-type]
                agent_id=event.agent_id,
                pool_id=command.pool_id,
                **AGENT_EVENTS.encode(body),
            )
        case e.PoolEvent():
            encoded = POOL_EVENTS.encode(body)
            message = WirePoolEvent(meta=meta, pool_id=event.pool_id, **encoded)  # type: ignore[arg-type]
    return message.SerializeToString()


def decode_client(record: Record) -> bool:
    """Whether a record of client-events registers its client. Raises InvalidMessage."""
    try:
        return ClientEvent.FromString(record.value or b"").WhichOneof("body") == "registered"
    except DecodeError as error:
        raise InvalidMessage("", f"not a ClientEvent: {error}") from error


# Snapshots.

FORM = 1
"""PoolSnapshot.form of what is written here."""

_QUEUE = Mapped(Queue, WireQueue.DESCRIPTOR)
_RULES = Mapped(ClientRules, WireClientRules.DESCRIPTOR)
_SETTINGS = Sparse(Settings, PoolSettings.DESCRIPTOR)
_AGENT = Sparse(
    Agent,
    AgentSnapshot.DESCRIPTOR,
    {
        "wrap_ups": (
            lambda wrap_ups: [
                {"call": stream, "started_at_us": each.started_at, "ends_at_us": each.ends_at}
                for stream, each in wrap_ups.items()
            ],
            lambda found: {
                each.call: WrapUp(each.started_at_us, each.ends_at_us) for each in found
            },
        )
    },
    skip=("skills", "groups"),
)
_CALL = Sparse(
    Call,
    CallSnapshot.DESCRIPTOR,
    {
        "asked": (
            lambda asked: {
                "queue_id": asked[0],
                "priority": asked[1],
                "required_skills": _to_required(asked[2]),
            },
            lambda found: (found.queue_id, found.priority, from_required(found.required_skills)),
        )
    },
)


def encode_pool(pool: Pool) -> bytes:
    """A PoolSnapshot for routing-snapshots, whose key is the pool's id."""
    message = PoolSnapshot(
        form=FORM,
        pool_id=pool.pool_id,
        now_us=pool.now,
        settings=_SETTINGS.write(pool.settings),  # type: ignore[arg-type]
        version=pool.version,
        at_us=pool.at,
        offers=pool.offers,
        queues=[_queue_values(state) for state in pool.queues.values()],  # type: ignore[misc]
        calls=[_CALL.write(call) for call in pool.calls.values()],  # type: ignore[misc]
        served_customers=pool.served.keys(),
        served_by=[served.agent_id for served in pool.served.values()],
        served_at_us=[served.at for served in pool.served.values()],
        finished_calls=pool.finished.keys(),
        finished_at_us=pool.finished.values(),
        moved_calls=pool.moved.keys(),
        moved_to=[moved.pool_id for moved in pool.moved.values()],
        moved_version=[moved.version for moved in pool.moved.values()],
        forgotten_until_us=pool.forgotten_until,
    )
    for client_id, version in pool.client_versions.items():
        client = message.clients.add(
            client_id=client_id,
            config_version=version,
            configured_at_us=pool.clients_configured_at.get(client_id, 0),
        )
        rules = pool.clients.get(client_id)
        if rules is not None:
            client.rules.MergeFrom(WireClientRules(**_RULES.write(rules)))
    numbers: dict[tuple[c.Skills, Groups], int] = {}
    for agent in pool.agents.values():
        able = (agent.skills, agent.groups)
        number = numbers.get(able)
        if number is None:
            number = numbers[able] = len(numbers)
            message.skill_sets.add(skills=_to_skills(agent.skills), groups=agent.groups)
        message.agents.add(skill_set=number, **_AGENT.write(agent))
    return message.SerializeToString()


def _queue_values(state: QueueState) -> Values:
    return {
        "key": state.key,
        "config": _QUEUE.write(state.config),
        "config_version": state.config_version,
        "offered": state.level.offered,
        "in_target": state.level.in_target,
        "gap_us": state.pace.gap,
        "gaps": state.pace.known,
        "began_us": state.pace.began,
        "at_once": state.pace.at_once,
        "configured_at_us": state.configured_at if state.configured_at >= 0 else None,
        "removed": state.removed,
    }


def decode_pool(data: bytes) -> Pool:
    """The pool, indexed. Raises InvalidMessage."""
    try:
        message = PoolSnapshot.FromString(data)
        return _pool_of(message)
    except (DecodeError, ValueError, IndexError) as error:
        raise InvalidMessage("", f"not a PoolSnapshot: {error}") from error


def _pool_of(message: PoolSnapshot) -> Pool:
    able = [(from_skills(each.skills), tuple(each.groups)) for each in message.skill_sets]
    agents = [
        _AGENT.read(each, skills=able[each.skill_set][0], groups=able[each.skill_set][1])
        for each in message.agents
    ]
    calls = [_CALL.read(each) for each in message.calls]
    settings = _SETTINGS.read(message.settings)
    if message.form < 1:
        settings = _settings_of_form_0(settings)
        by_stream = {call.stream_id: call for call in calls}
        for call in calls:
            _call_of_form_0(call)
        for agent, found in zip(agents, message.agents, strict=True):
            _agent_of_form_0(agent, found, by_stream.get(found.call))
    pool = Pool(
        pool_id=message.pool_id,
        now=message.now_us,
        settings=settings,
        version=message.version,
        at=message.at_us,
        agents={agent.agent_id: agent for agent in agents},
        calls={call.stream_id: call for call in calls},
        queues={each.key: _queue_of(each) for each in message.queues},
        clients={
            each.client_id: _RULES.read(each.rules)
            for each in message.clients
            if each.HasField("rules")
        },
        client_versions={each.client_id: each.config_version for each in message.clients},
        clients_configured_at={each.client_id: each.configured_at_us for each in message.clients},
        served={
            customer: Served(agent_id, at)
            for customer, agent_id, at in zip(
                message.served_customers, message.served_by, message.served_at_us, strict=True
            )
        },
        offers=message.offers,
        finished=dict(zip(message.finished_calls, message.finished_at_us, strict=True)),
        moved={
            stream: Moved(pool_id, version)
            for stream, pool_id, version in zip(
                message.moved_calls, message.moved_to, message.moved_version, strict=True
            )
        },
        forgotten_until=message.forgotten_until_us,
    )
    pool.index()
    return pool


def _queue_of(found: QueueSnapshot) -> QueueState:
    return QueueState(
        key=found.key,
        config=_QUEUE.read(found.config),
        config_version=found.config_version,
        configured_at=found.configured_at_us if found.HasField("configured_at_us") else -1,
        removed=found.removed,
        level=Level(found.offered, found.in_target),
        pace=Pace(found.gap_us, found.gaps, found.began_us, found.at_once),
    )


# Form 0: from before an agent could have several calls.


def _settings_of_form_0(found: Settings) -> Settings:
    return Settings(
        found.offer_seconds,
        found.wrap_up_seconds,
        found.clock_speed,
        configured_at=found.configured_at,
    )


def _agent_of_form_0(agent: Agent, found: AgentSnapshot, call: Call | None) -> None:
    agent.since = agent.at
    match agent.state:
        case AgentState.RESERVED:
            agent.offered = found.call
        case AgentState.BUSY:
            agent.calls = [found.call]
        case AgentState.WRAP_UP:
            started_at = call.ended_at if call is not None else agent.at
            agent.wrap_ups = {found.call: WrapUp(started_at, found.wrap_up_ends_at_us)}


def _call_of_form_0(call: Call) -> None:
    if call.queue_id:
        call.asked = (call.queue_id, call.priority, call.required_skills)
        call.entered_at = call.queued_at
    call.answered = call.connected_at > 0
    call.wrapping = 1 if call.state is CallState.WRAP_UP else 0
