"""What codecs share: a stored event's envelope as fields of the contracts' EventMeta, times, and
records as messages. The messages themselves are the services'."""

from typing import Any, TypeVar

from google.protobuf.message import DecodeError, Message
from google.protobuf.timestamp_pb2 import Timestamp

from eventkit.errors import InvalidMessage
from eventkit.eventstore import Recorded
from eventkit.records import Record

M = TypeVar("M", bound=Message)


def envelope(recorded: Recorded[Any], occurred_at: int | None = None) -> dict[str, Any]:
    """For `EventMeta(**envelope(recorded))`. occurred_at: where the event knows better than its
    append."""
    return {
        "event_id": recorded.event_id,
        "stream_id": recorded.stream_id,
        "version": recorded.version,
        "client_id": recorded.client_id,
        "occurred_at": timestamp(recorded.occurred_at if occurred_at is None else occurred_at),
        "recorded_at": timestamp(recorded.recorded_at),
        "actor": recorded.actor,
        "correlation_id": recorded.correlation_id,
        "causation_id": recorded.causation_id,
    }


def timestamp(us: int) -> Timestamp:
    """Microseconds since 1970."""
    seconds, rest = divmod(us, 1_000_000)
    return Timestamp(seconds=seconds, nanos=rest * 1000)


def microseconds(time: Timestamp) -> int:
    """The other way round, rounded down."""
    return time.seconds * 1_000_000 + time.nanos // 1000


def decoded(record: Record, message: type[M]) -> M:
    """The record's value as a message. Raises InvalidMessage."""
    try:
        return message.FromString(record.value or b"")
    except DecodeError as error:
        raise InvalidMessage("", f"not a {message.DESCRIPTOR.name}: {error}") from error
