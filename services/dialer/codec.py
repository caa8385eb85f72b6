"""What all codecs of the dialer share: the envelope of an event; and client-events from bytes."""

from typing import Any
from zoneinfo import ZoneInfo

from relais.clients.v1.events_pb2 import ClientEvent
from relais.event.v1.meta_pb2 import EventMeta

from eventkit.errors import InvalidMessage
from eventkit.eventstore import Recorded
from eventkit.records import Record
from eventkit.wire import decoded, envelope


def meta_of(recorded: Recorded[Any], occurred_at: int | None = None) -> EventMeta:
    """The envelope of a stored event. occurred_at: where the event knows better than its append."""
    return EventMeta(**envelope(recorded, occurred_at))


def decode_zone(record: Record) -> ZoneInfo:
    """The time zone of the client that is registered by a record of client-events.

    Raises InvalidMessage.
    """
    event = decoded(record, ClientEvent)
    if event.WhichOneof("body") != "registered":
        raise InvalidMessage("body", "not ClientRegistered")
    try:
        return ZoneInfo(event.registered.time_zone or "UTC")
    except (ValueError, LookupError, OSError) as error:
        raise InvalidMessage("time_zone", "not an IANA time zone") from error
