"""Events for tests, as the topics carry them."""

from collections.abc import Sequence
from typing import Any

from aiokafka import ConsumerRecord
from google.protobuf.json_format import ParseDict
from relais.agents.v1.events_pb2 import AgentEvent
from relais.attempts.v1.events_pb2 import AttemptEvent
from relais.calls.v1.events_pb2 import (
    CHANNEL_VOICE,
    DIRECTION_INBOUND,
    END_CAUSE_COMPLETED,
    END_CAUSE_PHANTOM,
    CallEvent,
)
from relais.campaigns.v1.events_pb2 import CampaignEvent
from relais.clients.v1.events_pb2 import ClientEvent
from relais.complaints.v1.events_pb2 import ComplaintEvent
from relais.customers.v1.events_pb2 import CustomerEvent
from relais.event.v1.meta_pb2 import EventMeta
from relais.orders.v1.events_pb2 import OrderEvent
from relais.pools.v1.events_pb2 import PoolEvent

from eventkit.ids import event_id

MONDAY = 1_790_000_000
"""Seconds since 1970: when the tests' calls arrive."""


def record(topic: str, value: bytes | None, offset: int = 0, at: int = MONDAY) -> ConsumerRecord:
    """As read from partition 0. at: the record's timestamp, seconds."""
    size = len(value or b"")
    return ConsumerRecord(topic, 0, offset, at * 1000, 0, b"key", value, None, 3, size, ())


def call(
    client: str,
    call_id: str,
    *,
    at: int = MONDAY,
    queue: str = "sales",
    agent: str = "ann",
    wait: int = 10,
    talk: int | None = 60,
    wrap_up: int | None = None,
) -> list[CallEvent]:
    """A call's events in order. talk None: the customer gave up after `wait` seconds."""
    events: list[CallEvent] = []
    arrived = _next(events, client, call_id, at)
    arrived.arrived.channel = CHANNEL_VOICE
    arrived.arrived.direction = DIRECTION_INBOUND
    arrived.arrived.queue_id = queue
    queued = _next(events, client, call_id, at)
    queued.queued.queue_id = queue
    queued.queued.required_skills.add(skill="french", min_level=3)
    outcome = _next(events, client, call_id, at + wait)
    if talk is None:
        outcome.abandoned.queue_id = queue
        outcome.abandoned.waited.seconds = wait
        return _arrived_at(events, at)
    outcome.connected.queue_id = queue
    outcome.connected.agent_id = agent
    outcome.connected.waited.seconds = wait
    ended = _next(events, client, call_id, at + wait + talk)
    ended.ended.queue_id = queue
    ended.ended.agent_id = agent
    ended.ended.cause = END_CAUSE_COMPLETED
    ended.ended.talked.seconds = talk
    if wrap_up is not None:
        done = _next(events, client, call_id, at + wait + talk + wrap_up)
        done.wrapped_up.queue_id = queue
        done.wrapped_up.agent_id = agent
        done.wrapped_up.wrap_up.seconds = wrap_up
    return _arrived_at(events, at)


Told = tuple[int, str, dict[str, Any]]
"""When, in seconds since the first; an event's name in the oneof, and its fields as protobuf's JSON
has them."""


def call_stream(client: str, call_id: str, *told: Told, at: int = MONDAY) -> list[CallEvent]:
    """Any events of a call; `arrived_at`, where an event has it, is when the first one happened."""
    events: list[CallEvent] = []
    for seconds, name, fields in told:
        event = _next(events, client, call_id, at + seconds)
        body = getattr(event, name)
        body.SetInParent()
        ParseDict(fields, body)
        if "arrived_at" in body.DESCRIPTOR.fields_by_name:
            body.arrived_at.seconds = at
    return events


def agent_stream(agent: str, *told: Told, at: int = MONDAY, pool: str = "pool") -> list[AgentEvent]:
    """Any events of an agent; each is of the client whose call it names, or the centre's."""
    events = []
    for version, (seconds, name, fields) in enumerate(told, 1):
        client = fields.get("call", "").partition("/")[0] or "centre"
        event = AgentEvent(agent_id=agent, pool_id=pool)
        event.meta.CopyFrom(meta(client, f"agent/{agent}", version, at + seconds))
        getattr(event, name).SetInParent()
        ParseDict(fields, getattr(event, name))
        events.append(event)
    return events


def pool_stream(client: str, *told: Told, at: int = MONDAY, pool: str = "pool") -> list[PoolEvent]:
    """Any events of a pool. Each client's are numbered apart here, so that tests do not meet."""
    events = []
    for version, (seconds, name, fields) in enumerate(told, 1):
        event = PoolEvent(pool_id=pool)
        event.meta.CopyFrom(meta(client, f"pool/{pool}/{client}", version, at + seconds))
        ParseDict(fields, getattr(event, name))
        events.append(event)
    return events


def phantom(client: str, call_id: str, at: int = MONDAY) -> list[CallEvent]:
    """A call that was none."""
    events: list[CallEvent] = []
    _next(events, client, call_id, at).arrived.queue_id = "sales"
    ended = _next(events, client, call_id, at)
    ended.ended.cause = END_CAUSE_PHANTOM
    return _arrived_at(events, at)


def client_registered(client: str, zone: str = "Asia/Jerusalem", at: int = MONDAY) -> ClientEvent:
    event = ClientEvent(meta=meta(client, client, 1, at))
    event.registered.name = client.title()
    event.registered.time_zone = zone
    return event


def agent_logged_in(agent: str, at: int = MONDAY) -> AgentEvent:
    event = AgentEvent(agent_id=agent, pool_id="pool", meta=meta("centre", f"agent/{agent}", 1, at))
    event.logged_in.skills.add(skill="french", level=4)
    return event


def meta(client: str, stream: str, version: int, at: int) -> EventMeta:
    made = EventMeta(
        event_id=event_id(stream, version),
        stream_id=stream,
        version=version,
        client_id=client,
        actor="pbx",
        correlation_id=stream,
    )
    made.occurred_at.seconds = made.recorded_at.seconds = at
    return made


def values(events: Sequence[Any]) -> list[bytes]:
    return [event.SerializeToString() for event in events]


def _next(events: list[CallEvent], client: str, call_id: str, at: int) -> CallEvent:
    stream = f"{client}/{call_id}"
    event = CallEvent(call_id=call_id, meta=meta(client, stream, len(events) + 1, at))
    events.append(event)
    return event


def _arrived_at(events: list[CallEvent], at: int) -> list[CallEvent]:
    for event in events[1:]:
        getattr(event, event.WhichOneof("body") or "").arrived_at.seconds = at
    return events


Body = tuple[str, dict[str, Any]]
"""An event's name in the oneof, and its fields as protobuf's JSON has them."""


def customer_events(
    client: str,
    kind: str,
    id_: str,
    *bodies: Body,
    customer: str = "",
    at: int = MONDAY,
    every: int = 60,
) -> list[CustomerEvent]:
    """One stream of customer-events. kind: `customer`, `call`, `consent`, `survey` ...; an event
    every so many seconds."""
    ids = {"customer_id": customer}
    if kind == "customer":
        ids = {"customer_id": id_}
    elif kind == "call":
        ids["call_id"] = id_
    return [
        ParseDict({**ids, name: fields}, CustomerEvent(meta=one))
        for (name, fields), one in zip(
            bodies, _metas(client, f"{client}/{kind}/{id_}", len(bodies), at, every), strict=True
        )
    ]


def complaint_events(
    client: str,
    id_: str,
    *bodies: Body,
    kind: str = "complaint",
    at: int = MONDAY,
    every: int = 3600,
) -> list[ComplaintEvent]:
    """A complaint's or a wish's stream."""
    return [
        ParseDict({"complaint_id": id_, name: fields}, ComplaintEvent(meta=one))
        for (name, fields), one in zip(
            bodies, _metas(client, f"{client}/{kind}/{id_}", len(bodies), at, every), strict=True
        )
    ]


def order_events(
    client: str,
    id_: str,
    *bodies: Body,
    at: int = MONDAY,
    every: int = 60,
    **origin: Any,
) -> list[OrderEvent]:
    """An order's stream. origin: its fields beside the product, which has a default."""
    told = {"order_id": id_, "origin": {"product_id": "internet", "customer_id": "k-1", **origin}}
    return [
        ParseDict({**told, name: fields}, OrderEvent(meta=one))
        for (name, fields), one in zip(
            bodies, _metas(client, f"{client}/order/{id_}", len(bodies), at, every), strict=True
        )
    ]


def attempt_stream(
    client: str, id_: str, *told: Told, at: int = MONDAY, **origin: Any
) -> list[AttemptEvent]:
    """Any events of an attempt, seconds after its start. origin: its fields beside the defaults."""
    where: dict[str, Any] = {"campaign_id": "autumn", "list_id": "l-1", "lead_id": f"lead-{id_}"}
    where |= {"number_id": "n-1", "number_of_attempt": 1, **origin}
    events = []
    for version, (seconds, name, fields) in enumerate(told, 1):
        event = AttemptEvent(
            attempt_id=id_, meta=meta(client, f"{client}/attempt/{id_}", version, at + seconds)
        )
        ParseDict({"origin": where, name: fields}, event)
        event.origin.started_at.seconds = at
        events.append(event)
    return events


def lead_stream(
    client: str,
    id_: str,
    *told: Told,
    at: int = MONDAY,
    campaign: str = "autumn",
    list_id: str = "l-1",
) -> list[CampaignEvent]:
    """Any events of a lead."""
    where = {"campaign_id": campaign, "lead": {"lead_id": id_, "list_id": list_id}}
    return [
        ParseDict(
            {**where, name: fields},
            CampaignEvent(meta=meta(client, f"{client}/lead/{id_}", version, at + seconds)),
        )
        for version, (seconds, name, fields) in enumerate(told, 1)
    ]


def campaign_stream(
    client: str, *told: Told, at: int = MONDAY, campaign: str = "autumn"
) -> list[CampaignEvent]:
    """Any events of a campaign."""
    return [
        ParseDict(
            {"campaign_id": campaign, name: fields},
            CampaignEvent(
                meta=meta(client, f"{client}/campaign/{campaign}", version, at + seconds)
            ),
        )
        for version, (seconds, name, fields) in enumerate(told, 1)
    ]


def _metas(client: str, stream: str, count: int, at: int, every: int) -> list[EventMeta]:
    return [meta(client, stream, number + 1, at + number * every) for number in range(count)]
