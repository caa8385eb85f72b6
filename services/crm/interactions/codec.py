"""customer-events out, call-events and order-events in. Nothing personal goes out: ids only."""

import re
from collections.abc import Callable
from typing import Any, Final, TypeVar

from google.protobuf.message import DecodeError, Message
from relais.calls.v1.events_pb2 import CallEvent, Channel, Direction, EndCause
from relais.customers.v1.events_pb2 import CustomerEvent
from relais.event.v1.meta_pb2 import EventMeta
from relais.orders.v1.events_pb2 import OrderEvent

from eventkit.decider import Invalid
from eventkit.eventstore import Recorded
from eventkit.records import Record
from services.crm.codec import meta_of
from services.crm.interactions import interaction as i
from services.crm.interactions import orders
from services.crm.interactions.calls import Kind, Said

M = TypeVar("M", bound=Message)

TOPIC: Final = "customer-events"

CLIENT_ID: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:+-]{0,127}")
DAY_US: Final = 86_400_000_000
MAX_DURATION_US: Final = 366 * DAY_US
MAX_AHEAD_US: Final = 10 * 366 * DAY_US
"""How far in the future a visit may be."""
MAX_VERSION: Final = 2**62
AMOUNT: Final = re.compile(r"-?[0-9]{1,15}(\.[0-9]{1,9})?")
CURRENCY: Final = re.compile(r"[A-Z]{3}")

# Descriptors are Any here: the stubs of protobuf's two implementations contradict each other.
_DESCRIBED: Final[Any] = CallEvent.DESCRIPTOR


# Out.


def message(recorded: Recorded[Any]) -> bytes | None:
    """What is published of an event; None: nothing."""
    event = recorded.event
    body = _body(event)
    if body is None:
        return None
    name, values = body
    sent = CustomerEvent(
        meta=meta_of(recorded),
        customer_id=event.customer_id,
        call_id=recorded.stream_id.rpartition("/")[2],
    )
    getattr(sent, name).SetInParent()
    for field, value in values.items():
        if isinstance(value, tuple):
            getattr(getattr(sent, name), field).extend(value)
        else:
            setattr(getattr(sent, name), field, value)
    return sent.SerializeToString(deterministic=True)


def _body(event: i.Event) -> tuple[str, dict[str, Any]] | None:
    match event:
        case i.CallAttributed():
            return "call_attributed", {}
        case i.CallNoted(note_id, agent_id):
            return "call_noted", {"note_id": note_id, "agent_id": agent_id}
        case i.CallClassified(topic_id, path, agent_id):
            return "call_classified", {"topic_id": topic_id, "path": path, "agent_id": agent_id}
        case i.CallDispositioned(disposition, agent_id):
            return "call_dispositioned", {"disposition": disposition, "agent_id": agent_id}
        case i.OfferAccepted(offer_id, agent_id):
            return "offer_accepted", {"offer_id": offer_id, "agent_id": agent_id}
        case i.OfferRefused(offer_id, agent_id, reason, not_before):
            return "offer_refused", {
                "offer_id": offer_id,
                "agent_id": agent_id,
                "reason": reason,
                "not_before": not_before.isoformat() if not_before else "",
            }
        case i.ArticleHelped(article_id, version, agent_id):
            return "article_helped", {
                "article_id": article_id,
                "article_version": version,
                "agent_id": agent_id,
            }
        case i.NoteEdited() | i.TextsMoved():
            return None  # another text, or none: nothing that can be told


# In.


def decode_call(record: Record) -> Said | None:
    """What a record of call-events says of a call, checked; None: an event of a type that this
    contract does not know yet. Raises Invalid."""
    event = _parsed(record, CallEvent)
    meta, limit = event.meta, record.timestamp * 1000 + DAY_US
    occurred_at = _check_meta(meta, limit)
    _check_id("call_id", event.call_id, ID)
    name: str = event.WhichOneof("body") or ""
    if name not in _READERS:
        return None
    kind, reads = _READERS[name]
    body = getattr(event, name)
    said = {field: read(body, limit) for field, read in reads}
    return Said(kind, meta.client_id, event.call_id, meta.version, occurred_at, **said)


def unknown_call(record: Record) -> tuple[str, str, int, bytes]:
    """(client, call, version, as received) of an event that `decode_call` knows no type of."""
    value = record.value or b""
    event = CallEvent.FromString(value)
    return event.meta.client_id, event.call_id, event.meta.version, value


def decode_order(record: Record) -> orders.Said | None:
    """What a record of order-events says of an order, as `decode_call` does it. Raises Invalid."""
    event = _parsed(record, OrderEvent)
    limit = record.timestamp * 1000 + DAY_US
    occurred_at = _check_meta(event.meta, limit)
    _check_id("order_id", event.order_id, ID)
    name: str = event.WhichOneof("body") or ""
    if not name:
        return None
    origin = event.origin
    _check_id("product_id", origin.product_id, ID)
    _check_id("customer_id", origin.customer_id, ID)
    if origin.call_id:
        _check_id("call_id", origin.call_id, ID)
    said: dict[str, Any] = {}
    if name in orders.VISITS:
        starts_at = getattr(event, name).visit.starts_at
        said["visit_at"] = _time("starts_at", starts_at, limit + MAX_AHEAD_US)
    if name == "placed":
        total, monthly = event.placed.total, event.placed.monthly
        for field, money in (("total", total), ("monthly", monthly)):
            if money.amount and not AMOUNT.fullmatch(money.amount):
                raise Invalid(field, "is no decimal")
            said[field] = money.amount
        said["currency"] = total.currency or monthly.currency
        if said["currency"] and not CURRENCY.fullmatch(said["currency"]):
            raise Invalid("currency", f"must match ^{CURRENCY.pattern}$")
    return orders.Said(
        name,
        event.meta.client_id,
        event.order_id,
        event.meta.version,
        occurred_at,
        origin.product_id,
        origin.customer_id,
        origin.call_id,
        **said,
    )


def unknown_order(record: Record) -> tuple[str, str, int, bytes]:
    """(client, order, version, as received) of an event that `decode_order` knows no type of."""
    value = record.value or b""
    event = OrderEvent.FromString(value)
    return event.meta.client_id, event.order_id, event.meta.version, value


def _parsed(record: Record, message: type[M]) -> M:
    if record.value is None:
        raise Invalid("", "the record has no value")
    try:
        return message.FromString(record.value)
    except DecodeError:
        raise Invalid("", "cannot be decoded") from None


def _check_meta(meta: EventMeta, limit: int) -> int:
    """When it occurred. Raises Invalid."""
    _check_id("client_id", meta.client_id, CLIENT_ID)
    if not 1 <= meta.version < MAX_VERSION:
        raise Invalid("version", "is not between 1 and 2^62")
    occurred_at = _time("occurred_at", meta.occurred_at, limit)
    if not occurred_at:
        raise Invalid("occurred_at", "missing")
    return occurred_at


def _check_id(name: str, value: str, pattern: re.Pattern[str]) -> None:
    if not pattern.fullmatch(value):
        raise Invalid(name, f"must match ^{pattern.pattern}$" if value else "missing")


def _id(name: str) -> "Read":
    def read(body: Any, _: int) -> str:
        value: str = getattr(body, name)
        if value:
            _check_id(name, value, ID)
        return value

    return read


def _enum(name: str, described: Any) -> "Read":
    """In lower case, without the enum's prefix; empty for what is unspecified."""
    prefix = described.values_by_number[0].name.removesuffix("UNSPECIFIED")
    names: dict[int, str] = {
        value.number: value.name.removeprefix(prefix).lower().replace("_", "-")
        for value in described.values
    }
    names[0] = ""

    def read(body: Any, _: int) -> str:
        found = names.get(getattr(body, name))
        if found is None:
            raise Invalid(name, "a value without meaning")
        return found

    return read


def _length(name: str) -> "Read":
    def read(body: Any, _: int) -> int:
        value = getattr(body, name)
        length: int = value.seconds * 1_000_000 + value.nanos // 1000
        if not 0 <= length <= MAX_DURATION_US:
            raise Invalid(name, "is not between nothing and a year")
        return length

    return read


def _time(name: str, value: Any, limit: int) -> int:
    time: int = value.seconds * 1_000_000 + value.nanos // 1000
    if time < 0:
        raise Invalid(name, "before 1970")
    if time > limit:
        raise Invalid(name, "more than a day after the record's own timestamp")
    return time


Read = Callable[[Any, int], Any]
"""(body, the latest time that it may name) -> a checked value. Raises Invalid."""

_BY_FIELD: Final[dict[str, tuple[str, Read]]] = {
    "queue_id": ("queue_id", _id("queue_id")),
    "agent_id": ("agent_id", _id("agent_id")),
    "line": ("line", _id("line")),
    "customer_id": ("customer_reference", _id("customer_id")),
    "channel": ("channel", _enum("channel", Channel.DESCRIPTOR)),
    "direction": ("direction", _enum("direction", Direction.DESCRIPTOR)),
    "cause": ("end_cause", _enum("cause", EndCause.DESCRIPTOR)),
    "arrived_at": ("arrived_at", lambda body, at: _time("arrived_at", body.arrived_at, at)),
    "waited": ("lasted", _length("waited")),
    "talked": ("lasted", _length("talked")),
    "wrap_up": ("lasted", _length("wrap_up")),
}
"""A field of an event -> where it goes in Said, and how it is read."""

_READERS: Final = {
    body.name: (
        Kind(body.name),
        [_BY_FIELD[field.name] for field in body.message_type.fields if field.name in _BY_FIELD],
    )
    for body in _DESCRIBED.oneofs_by_name["body"].fields
    if body.name in set(Kind)
}
