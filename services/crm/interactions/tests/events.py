"""call-events for tests, as the topic carries them."""

from collections.abc import Iterable, Sequence
from typing import Any

from aiokafka import ConsumerRecord
from relais.calls.v1.events_pb2 import (
    CHANNEL_VOICE,
    DIRECTION_INBOUND,
    END_CAUSE_COMPLETED,
    CallEvent,
)
from relais.clients.v1.events_pb2 import ClientEvent
from relais.event.v1.meta_pb2 import EventMeta
from relais.orders.v1.events_pb2 import MISSED_BY_CREW, OrderEvent, Origin

from eventkit.ids import event_id
from eventkit.producer import Producer
from eventkit.records import Message

MONDAY = 1_790_000_000
"""Seconds since 1970: when the tests' calls arrive."""


def call(
    client: str,
    call_id: str,
    *,
    customer: str = "",
    at: int = MONDAY,
    wait: int = 10,
    talk: int | None = 60,
    wrap_up: int | None = 5,
) -> list[CallEvent]:
    """A call's events in order. talk None: the customer gave up after `wait` seconds."""
    arrived = CallEvent()
    arrived.arrived.channel = CHANNEL_VOICE
    arrived.arrived.direction = DIRECTION_INBOUND
    arrived.arrived.line = "line-1"
    arrived.arrived.customer_id = customer
    queued = CallEvent()
    queued.queued.queue_id = "sales"
    events = [(at, arrived), (at + 1, queued)]
    outcome = CallEvent()
    events.append((at + wait, outcome))
    if talk is None:
        outcome.abandoned.queue_id = "sales"
        outcome.abandoned.waited.seconds = wait
    else:
        offered, assigned, ended, done = CallEvent(), CallEvent(), CallEvent(), CallEvent()
        offered.offered.agent_id = "bob"
        assigned.assigned.agent_id = "ann"
        outcome.connected.agent_id = "ann"
        outcome.connected.queue_id = "sales"
        outcome.connected.waited.seconds = wait
        ended.ended.agent_id = "ann"
        ended.ended.cause = END_CAUSE_COMPLETED
        ended.ended.talked.seconds = talk
        events[2:2] = [(at + 2, offered), (at + 3, assigned)]
        events.append((at + wait + talk, ended))
        if wrap_up is not None:
            done.wrapped_up.agent_id = "ann"
            done.wrapped_up.wrap_up.seconds = wrap_up
            events.append((at + wait + talk + wrap_up, done))
    stream = f"{client}/{call_id}"
    for version, (time, event) in enumerate(events, 1):
        event.call_id = call_id
        event.meta.CopyFrom(meta(client, stream, version, time))
        body: Any = getattr(event, event.WhichOneof("body") or "")
        if "arrived_at" in body.DESCRIPTOR.fields_by_name:
            body.arrived_at.seconds = at
    return [event for _, event in events]


def order(
    client: str,
    order_id: str,
    *,
    customer: str,
    at: int = MONDAY,
    visit_at: int = MONDAY + 3 * 86_400,
    until: str = "fulfilled",
) -> list[OrderEvent]:
    """An order's events, a minute apart, up to one that is named `until`: an internet connection
    whose crew did not come the first time."""
    visit = {"visit_id": "v-1", "crew_id": "crew-1", "starts_at": {"seconds": visit_at}}
    again = {"visit_id": "v-2", "crew_id": "crew-2", "starts_at": {"seconds": visit_at + 7_200}}
    price = {
        "total": {"amount": "49.00", "currency": "EUR"},
        "monthly": {"amount": "29.90", "currency": "EUR"},
    }
    bodies: list[dict[str, Any]] = [
        {"drafted": {}},
        {"answers_saved": {"fields": ["speed"]}},
        {"visit_scheduled": {"visit": visit}},
        {"point_ticked": {"point_id": "visit-time", "agent_id": "ann"}},
        {"placed": {**price, "visit": visit}},
        {"confirmed": {"reference": "ERP-7"}},
        {"visit_overdue": {"visit": visit}},
        {"visit_missed": {"visit": visit, "by": MISSED_BY_CREW}},
        {"visit_rescheduled": {"visit": again, "previous": visit, "reason": "missed"}},
        {"visit_done": {"visit": again}},
        {"fulfilled": price},
    ]
    names = [next(iter(body)) for body in bodies]
    return [
        order_event(client, order_id, version, body, customer=customer, at=at + 60 * version - 60)
        for version, body in enumerate(bodies[: names.index(until) + 1], 1)
    ]


def order_event(
    client: str, order_id: str, version: int, body: dict[str, Any], *, customer: str, at: int
) -> OrderEvent:
    """body: the oneof's name -> its fields."""
    origin = Origin(
        product_id="internet", form_version=1, customer_id=customer, call_id="call-1", agent_id="a"
    )
    stream = f"{client}/order/{order_id}"
    envelope = meta(client, stream, version, at)
    return OrderEvent(meta=envelope, order_id=order_id, origin=origin, **body)


def future_event(client: str, call_id: str, version: int) -> bytes:
    """An event of a type that nobody knows yet."""
    event = CallEvent(call_id=call_id, meta=meta(client, f"{client}/{call_id}", version, MONDAY))
    return event.SerializeToString() + b"\xfa\x3f\x02\x08\x01"


def client_registered(client: str) -> ClientEvent:
    event = ClientEvent(meta=meta(client, client, 1, MONDAY))
    event.registered.name = client
    event.registered.time_zone = "Europe/Paris"
    return event


def meta(client: str, stream: str, version: int, at: int) -> EventMeta:
    made = EventMeta(
        event_id=event_id(stream, version), stream_id=stream, version=version, client_id=client
    )
    made.occurred_at.seconds = made.recorded_at.seconds = at
    return made


def record(value: bytes | None, offset: int = 0, at: int = MONDAY) -> ConsumerRecord:
    """As read from partition 0 of call-events. at: the record's timestamp, seconds."""
    size = len(value or b"")
    return ConsumerRecord("call-events", 0, offset, at * 1000, 0, b"k", value, None, 1, size, ())


def records(events: Iterable[Any]) -> list[ConsumerRecord]:
    return [
        record(event if isinstance(event, bytes) else event.SerializeToString(), offset)
        for offset, event in enumerate(events)
    ]


async def publish(kafka: str, topic: str, events: Sequence[Any]) -> None:
    """Send events under their stream's key; bytes, and None, are sent as they are."""
    async with Producer(kafka, linger_ms=5) as producer:
        await producer.send_many(_message(topic, event) for event in events)


def _message(topic: str, event: Any) -> Message:
    if event is None or isinstance(event, bytes):
        return Message(topic, b"rubbish", event)
    return Message(topic, event.meta.stream_id.encode(), event.SerializeToString())
