"""client-events from bytes: what crm knows of the client companies."""

from zoneinfo import ZoneInfo

from google.protobuf.message import DecodeError
from relais.clients.v1.events_pb2 import ClientEvent

from eventkit.errors import InvalidMessage
from eventkit.records import Record


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
