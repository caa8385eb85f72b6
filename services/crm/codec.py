"""What all codecs of crm share: the envelope of an event; and client-events from bytes."""

from typing import Any
from zoneinfo import ZoneInfo

from google.protobuf.message import DecodeError
from google.protobuf.timestamp_pb2 import Timestamp
from relais.clients.v1.events_pb2 import ClientEvent
from relais.event.v1.meta_pb2 import EventMeta

from eventkit.errors import InvalidMessage
from eventkit.eventstore import Recorded
from eventkit.records import Record


def meta_of(recorded: Recorded[Any], occurred_at: int | None = None) -> EventMeta:
    """The envelope of a stored event. occurred_at: where the event knows better than its append."""
    return EventMeta(
        event_id=recorded.event_id,
        stream_id=recorded.stream_id,
        version=recorded.version,
        client_id=recorded.client_id,
        occurred_at=timestamp(recorded.occurred_at if occurred_at is None else occurred_at),
        recorded_at=timestamp(recorded.recorded_at),
        actor=recorded.actor,
        correlation_id=recorded.correlation_id,
        causation_id=recorded.causation_id,
    )


def timestamp(us: int) -> Timestamp:
    """Microseconds since 1970."""
    seconds, rest = divmod(us, 1_000_000)
    return Timestamp(seconds=seconds, nanos=rest * 1000)


def decode_zone(record: Record) -> ZoneInfo:
    """The time zone of the client that is registered by a record of client-events.

    Raises InvalidMessage.
    """
    try:
        event = ClientEvent.FromString(record.value or b"")
    except DecodeError as error:
        raise InvalidMessage("", f"not a ClientEvent: {error}") from error
    if event.WhichOneof("body") != "registered":
        raise InvalidMessage("body", "not ClientRegistered")
    try:
        return ZoneInfo(event.registered.time_zone or "UTC")
    except (ValueError, LookupError, OSError) as error:
        raise InvalidMessage("time_zone", "not an IANA time zone") from error
