"""Events as they are stored and published: complete for us, nothing personal for others."""

import pytest
from relais.customers.v1.events_pb2 import CustomerEvent

from eventkit.eventcodec import EventCodec
from eventkit.eventstore import Recorded
from services.crm.customers.codec import message
from services.crm.customers.customer import (
    DECIDER,
    CustomerCorrected,
    CustomerErased,
    CustomerMerged,
    CustomerRegistered,
    CustomerUnmerged,
    Event,
)

PERSONAL = {
    "number": "K-20417",
    "name": "Anaïs Lefèvre",
    "phones": ("+33612345678",),
    "emails": ("anais@example.com",),
    "address": "12 rue des Lilas",
}
IN_CLEAR = {"language": "fr", "time_zone": "Europe/Paris", "preferred_channel": "voice"}
EVENTS: list[Event] = [
    CustomerRegistered("agent", **PERSONAL, **IN_CLEAR),  # type: ignore[arg-type]
    CustomerCorrected((*PERSONAL, *IN_CLEAR), **PERSONAL, **IN_CLEAR),  # type: ignore[arg-type]
    CustomerMerged("b"),
    CustomerUnmerged("b"),
    CustomerErased(),
]


def recorded(event: Event) -> Recorded[Event]:
    return Recorded(
        "acme", "acme/customer/c-1", 3, "e-1", event, 1_700_000_000_000_001, 2, "ana", "x", "y"
    )


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_stored_and_read_again(event: Event) -> None:
    codec = EventCodec(DECIDER.events)
    kind, body, personal = codec.encode(event)
    assert codec.decode(kind, body.decode(), personal) == event
    for values in PERSONAL.values():
        for value in (values,) if isinstance(values, str) else values:
            assert value.encode() not in body


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_published(event: Event) -> None:
    data = message(recorded(event))
    assert data is not None
    for values in PERSONAL.values():
        for value in (values,) if isinstance(values, str) else values:
            assert value.encode() not in data
    wire = CustomerEvent.FromString(data)
    assert wire.customer_id == "c-1"
    assert wire.meta.version == 3
    assert wire.meta.occurred_at.ToMicroseconds() == 1_700_000_000_000_001
    body = getattr(wire, str(wire.WhichOneof("body")))
    match event:
        case CustomerRegistered():
            assert body.source == "agent"
            assert (body.language, body.time_zone) == ("fr", "Europe/Paris")
            assert body.preferred_channel == "voice"
        case CustomerCorrected():
            assert list(body.fields) == [*PERSONAL, *IN_CLEAR]
            assert body.language == "fr"
        case CustomerMerged():
            assert body.into_customer_id == "b"
        case CustomerUnmerged():
            assert body.from_customer_id == "b"
        case CustomerErased():
            assert wire.WhichOneof("body") == "erased"


def test_the_erased_read_as_empty() -> None:
    codec = EventCodec(DECIDER.events)
    kind, body, _ = codec.encode(EVENTS[0])
    assert codec.decode(kind, body.decode(), None) == CustomerRegistered("agent", **IN_CLEAR)
