"""Events of customers as messages of customer-events: ids, and what is nobody's alone."""

from google.protobuf.timestamp_pb2 import Timestamp
from relais.customers.v1 import events_pb2 as pb
from relais.event.v1.meta_pb2 import EventMeta

from eventkit.eventstore import Recorded
from services.crm.customers import customer as c

_PUBLISHED = ("language", "time_zone", "preferred_channel")


def message(recorded: Recorded[c.Event]) -> bytes | None:
    """One event; of what was corrected, the names of the fields."""
    event = recorded.event
    wire = pb.CustomerEvent(
        meta=EventMeta(
            event_id=recorded.event_id,
            stream_id=recorded.stream_id,
            version=recorded.version,
            client_id=recorded.client_id,
            occurred_at=_timestamp(recorded.occurred_at),
            recorded_at=_timestamp(recorded.recorded_at),
            actor=recorded.actor,
            correlation_id=recorded.correlation_id,
            causation_id=recorded.causation_id,
        ),
        customer_id=recorded.stream_id.rpartition("/")[2],
    )
    match event:
        case c.CustomerRegistered():
            wire.registered.source = event.source
            for name in _PUBLISHED:
                setattr(wire.registered, name, getattr(event, name))
        case c.CustomerCorrected():
            wire.corrected.fields.extend(event.fields)
            for name in _PUBLISHED:
                setattr(wire.corrected, name, getattr(event, name))
        case c.CustomerMerged(into):
            wire.merged.into_customer_id = into
        case c.CustomerUnmerged(other):
            wire.unmerged.from_customer_id = other
        case c.CustomerErased():
            wire.erased.SetInParent()
    return wire.SerializeToString()


def _timestamp(us: int) -> Timestamp:
    return Timestamp(seconds=us // 1_000_000, nanos=us % 1_000_000 * 1000)
