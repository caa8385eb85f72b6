"""The events of calls and agents as following sees them."""

from dataclasses import dataclass

from relais.agents.v1.events_pb2 import AgentEvent
from relais.calls.v1.events_pb2 import CallEvent

from eventkit.records import Record
from eventkit.wire import decoded
from services.routing.following.concerns import Following, Heard, Wanted

CALLS = "call-events"
AGENTS = "agent-events"

_OVER = ("ended", "abandoned", "overflowed")
_GIVES = ("offered", "assigned", "connected", "help_offered", "help_joined")
_TAKES = (
    *("offer_expired", "offer_declined", "offer_withdrawn", "help_offer_ended", "help_ended"),
    *("requeued", "transferred", "callback_failed"),
)


@dataclass(frozen=True, slots=True)
class _Kind:
    """What events of a kind can say."""

    gives: bool
    takes: bool
    over: bool
    site: bool
    pool: bool


_KINDS = {
    field.name: _Kind(
        field.name in _GIVES,
        field.name in _TAKES,
        field.name in _OVER,
        hasattr(getattr(CallEvent(), field.name), "site"),
        hasattr(getattr(CallEvent(), field.name), "pool_id"),
    )
    for field in CallEvent.DESCRIPTOR.oneofs_by_name["body"].fields
}


def call_event(record: Record) -> CallEvent:
    """Raises InvalidMessage."""
    return decoded(record, CallEvent)


def agent_event(record: Record) -> AgentEvent:
    """Raises InvalidMessage."""
    return decoded(record, AgentEvent)


def heard(event: CallEvent) -> Heard:
    """Of an event of a kind that this version does not know: only whose it is."""
    name, meta = event.WhichOneof("body"), event.meta
    if name is None:
        return Heard(meta.stream_id, meta.client_id, meta.version)
    kind, body = _KINDS[name], getattr(event, name)
    given = body.agent_id if kind.gives else ""
    if name == "transferred" and body.consulted:
        given = body.to_agent_id
    return Heard(
        meta.stream_id,
        meta.client_id,
        meta.version,
        body.site if kind.site else "",
        body.pool_id if kind.pool else "",
        given,
        body.agent_id if kind.takes else "",
        kind.over,
    )


class Calls:
    """eventkit.subscription.Selection of a partition of call-events."""

    def __init__(self, wanted: Wanted) -> None:
        self._following = Following(wanted)

    def take(self, record: Record) -> bool:
        return self._following.take(heard(call_event(record)), record.offset, record.timestamp)

    def since(self) -> int | None:
        return self._following.since()
