"""Events of customers as messages of customer-events: ids, and what is nobody's alone."""

from relais.customers.v1 import events_pb2 as pb

from eventkit.eventstore import Recorded
from services.crm.codec import meta_of
from services.crm.customers import customer as c

_PUBLISHED = ("language", "time_zone", "preferred_channel")


def message(recorded: Recorded[c.Event]) -> bytes | None:
    """One event; of what was corrected, the names of the fields."""
    event = recorded.event
    wire = pb.CustomerEvent(
        meta=meta_of(recorded),
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
