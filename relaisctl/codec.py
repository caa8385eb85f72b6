"""What the command line writes to and reads from Kafka, as protobuf."""

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import DecodeError
from google.protobuf.timestamp_pb2 import Timestamp
from relais.agents.v1 import events_pb2 as agents_pb
from relais.calls.v1 import events_pb2 as calls_pb
from relais.clients.v1 import events_pb2 as clients_pb
from relais.event.v1.meta_pb2 import EventMeta

from eventkit.errors import InvalidMessage
from eventkit.ids import event_id
from relaisctl.replay import history
from relaisctl.replay.live import Decision, Kind


def timestamp(us: int) -> Timestamp:
    return Timestamp(seconds=us // 1_000_000, nanos=us % 1_000_000 * 1000)


def duration(us: int) -> Duration:
    return Duration(seconds=us // 1_000_000, nanos=us % 1_000_000 * 1000)


def call_event(client_id: str, actor: str, event: history.Event, now: int) -> tuple[bytes, bytes]:
    """Key and value for call-events."""
    stream = f"{client_id}/{event.call_id}"
    message = calls_pb.CallEvent(
        meta=EventMeta(
            event_id=event_id(stream, event.version),
            stream_id=stream,
            version=event.version,
            client_id=client_id,
            occurred_at=timestamp(event.occurred_at),
            recorded_at=timestamp(now),
            actor=actor,
            correlation_id=stream,
        ),
        call_id=event.call_id,
    )
    match event.body:
        case history.Arrived(line, customer_id, queue_id):
            message.arrived.channel = calls_pb.CHANNEL_VOICE
            message.arrived.direction = calls_pb.DIRECTION_INBOUND
            message.arrived.line = line
            message.arrived.customer_id = customer_id
            message.arrived.queue_id = queue_id
        case history.Queued(queue_id, priority, arrived_at):
            message.queued.queue_id = queue_id
            message.queued.priority = priority
            message.queued.arrived_at.CopyFrom(timestamp(arrived_at))
        case history.Connected(agent_id, queue_id, arrived_at, waited):
            message.connected.agent_id = agent_id
            message.connected.queue_id = queue_id
            message.connected.arrived_at.CopyFrom(timestamp(arrived_at))
            message.connected.waited.CopyFrom(duration(waited))
        case history.Abandoned(queue_id, arrived_at, waited):
            message.abandoned.queue_id = queue_id
            message.abandoned.arrived_at.CopyFrom(timestamp(arrived_at))
            message.abandoned.waited.CopyFrom(duration(waited))
        case history.Ended(cause, agent_id, queue_id, arrived_at, talked):
            message.ended.cause = calls_pb.EndCause.ValueType(cause)
            message.ended.agent_id = agent_id
            message.ended.queue_id = queue_id
            message.ended.arrived_at.CopyFrom(timestamp(arrived_at))
            message.ended.talked.CopyFrom(duration(talked))
    return stream.encode(), message.SerializeToString()


def client_registered(client_id: str, name: str, time_zone: str, now: int) -> tuple[bytes, bytes]:
    """Key and value for client-events."""
    message = clients_pb.ClientEvent(
        meta=EventMeta(
            event_id=event_id(client_id, 1),
            stream_id=client_id,
            version=1,
            client_id=client_id,
            occurred_at=timestamp(now),
            recorded_at=timestamp(now),
            actor="relaisctl",
            correlation_id=client_id,
        ),
        registered=clients_pb.ClientRegistered(name=name, time_zone=time_zone),
    )
    return client_id.encode(), message.SerializeToString()


def registered_client(value: bytes | None) -> tuple[str, str, str]:
    """Id, name and time zone from a value of client-events. Raises InvalidMessage."""
    try:
        event = clients_pb.ClientEvent.FromString(value or b"")
    except DecodeError as error:
        raise InvalidMessage("", str(error)) from error
    if event.WhichOneof("body") != "registered":
        raise InvalidMessage("body", "not known here")
    return event.meta.client_id, event.registered.name, event.registered.time_zone


_CALL_KINDS = {
    "queued": Kind.CALL_QUEUED,
    "offered": Kind.CALL_OFFERED,
    "offer_expired": Kind.OFFER_GONE,
    "offer_declined": Kind.OFFER_GONE,
    "offer_withdrawn": Kind.OFFER_GONE,
    "assigned": Kind.CALL_ASSIGNED,
    "connected": Kind.CALL_CONNECTED,
    "abandoned": Kind.CALL_ABANDONED,
    "ended": Kind.CALL_ENDED,
}
_AGENT_KINDS = {
    "became_available": Kind.AGENT_AVAILABLE,
    "stopped_responding": Kind.AGENT_STOPPED_RESPONDING,
    "wrap_up_started": Kind.AGENT_WRAPPING_UP,
    "logged_out": Kind.AGENT_LOGGED_OUT,
}


def call_decision(value: bytes) -> Decision | None:
    """What an event of call-events means to a play; None: nothing. Raises InvalidMessage."""
    try:
        event = calls_pb.CallEvent.FromString(value)
    except DecodeError as error:
        raise InvalidMessage("", str(error)) from error
    name = event.WhichOneof("body")
    kind = _CALL_KINDS.get(name or "")
    if name is None or kind is None:
        return None
    body = getattr(event, name)
    return Decision(
        event.meta.stream_id,
        event.meta.version,
        event.meta.occurred_at.ToMicroseconds(),
        kind,
        getattr(body, "agent_id", ""),
        getattr(body, "offer_id", ""),
    )


def agent_decision(value: bytes) -> Decision | None:
    """What an event of agent-events means to a play; None: nothing. Raises InvalidMessage."""
    try:
        event = agents_pb.AgentEvent.FromString(value)
    except DecodeError as error:
        raise InvalidMessage("", str(error)) from error
    kind = _AGENT_KINDS.get(event.WhichOneof("body") or "")
    if kind is None:
        return None
    return Decision(
        event.meta.stream_id,
        event.meta.version,
        event.meta.occurred_at.ToMicroseconds(),
        kind,
        event.agent_id,
    )
