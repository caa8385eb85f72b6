"""What is read of routing's topics, as events of one form."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import DecodeError, Message
from google.protobuf.unknown_fields import UnknownFieldSet
from relais.agents.v1.events_pb2 import AgentEvent
from relais.attempts.v1.events_pb2 import AttemptEvent
from relais.calls.v1.events_pb2 import CallEvent
from relais.pools.v1.events_pb2 import PoolEvent
from relais.routing.v1.commands_pb2 import RoutingCommand

from eventkit.errors import InvalidMessage
from eventkit.wire import microseconds

M = TypeVar("M", bound=Message)


@dataclass(frozen=True, slots=True)
class Event:
    """An event, or a command, of whichever topic.

    kind: the body's name in the contract; `field 38` of one that this version does not know.
    body: None where it is not known. Times in microseconds.
    """

    stream_id: str
    event_id: str
    version: int
    client_id: str
    occurred_at: int
    recorded_at: int
    actor: str
    correlation_id: str
    causation_id: str
    kind: str
    body: Any
    value: bytes = field(repr=False)

    @property
    def known(self) -> bool:
        return self.body is not None


def call_event(value: bytes | None) -> Event:
    """Raises InvalidMessage."""
    return _event(CallEvent, value)


def agent_event(value: bytes | None) -> Event:
    """Raises InvalidMessage."""
    return _event(AgentEvent, value)


def pool_event(value: bytes | None) -> Event:
    """Raises InvalidMessage."""
    return _event(PoolEvent, value)


def attempt_event(value: bytes | None) -> tuple[Event, dict[str, Any]]:
    """An event of an attempt, and where the attempt belongs. Raises InvalidMessage."""
    return _event(AttemptEvent, value), as_dict(parsed(AttemptEvent, value).origin)


def command(value: bytes | None) -> Event:
    """Raises InvalidMessage."""
    return _event(RoutingCommand, value)


def _event(message: type[Any], value: bytes | None) -> Event:
    event: Any = parsed(message, value)
    name = event.WhichOneof("body")
    meta = event.meta
    return Event(
        meta.stream_id,
        meta.event_id,
        meta.version,
        meta.client_id,
        microseconds(meta.occurred_at),
        microseconds(meta.recorded_at),
        meta.actor,
        meta.correlation_id,
        meta.causation_id,
        name or unknown_kind(event),
        getattr(event, name) if name else None,
        value or b"",
    )


_OF_TOPIC: dict[str, type[Any]] = {
    "call-events": CallEvent,
    "agent-events": AgentEvent,
    "pool-events": PoolEvent,
    "routing-commands": RoutingCommand,
}


class Identity(NamedTuple):
    """pool_id: which pool decided it, where the event says so."""

    event_id: str
    causation_id: str
    stream_id: str
    pool_id: str


def identity(topic: str, value: bytes | None) -> Identity:
    """Raises InvalidMessage."""
    event: Any = parsed(_OF_TOPIC[topic], value)
    meta = event.meta
    pool_id = event.pool_id if isinstance(event, AgentEvent | PoolEvent) else ""
    return Identity(meta.event_id, meta.causation_id, meta.stream_id, pool_id)


def document(topic: str, value: bytes | None) -> dict[str, Any]:
    """A message as JSON has it. Raises InvalidMessage."""
    return as_dict(parsed(_OF_TOPIC[topic], value))


def title(topic: str, value: bytes | None) -> str:
    """`offered, version 3 of acme/c-17`. Raises InvalidMessage."""
    event = _event(_OF_TOPIC[topic], value)
    if topic == "routing-commands":
        return f"{event.kind} for pool {event.stream_id}"
    return f"{event.kind}, version {event.version} of {event.stream_id}"


def parsed(message: type[M], value: bytes | None) -> M:
    """Raises InvalidMessage."""
    try:
        return message.FromString(value or b"")
    except DecodeError as error:
        raise InvalidMessage("", f"not a {message.DESCRIPTOR.name}: {error}") from error


def unknown_kind(event: Message) -> str:
    """The field number of a body that this version does not know."""
    unknown = UnknownFieldSet(event)
    numbers = [unknown[index].field_number for index in range(len(unknown))]
    return f"field {max(numbers)}" if numbers else "no body"


def choice(body: Any, name: str) -> str:
    """An enum's value as a word: CHANNEL_VOICE is `voice`. Empty: unspecified."""
    number = getattr(body, name)
    if not number:
        return ""
    kinds = body.DESCRIPTOR.fields_by_name[name].enum_type
    value = kinds.values_by_number.get(number)
    if value is None:
        return f"{name} {number}"
    prefix = kinds.values_by_number[0].name.removesuffix("UNSPECIFIED")
    return str(value.name.removeprefix(prefix).replace("_", " ").lower())


def required(skills: Sequence[Any]) -> list[tuple[str, int]]:
    """Of a repeated RequiredSkill."""
    return [(each.skill, each.min_level) for each in skills]


def as_dict(body: Message | None) -> dict[str, Any]:
    """A body as JSON has it, with the contract's names."""
    if body is None:
        return {}
    return MessageToDict(body, preserving_proto_field_name=True)
