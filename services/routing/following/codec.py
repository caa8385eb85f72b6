"""The events of calls and agents as following sees them."""

from google.protobuf.message import Message
from relais.agents.v1.events_pb2 import AgentEvent
from relais.calls.v1.events_pb2 import CallEvent

from eventkit.records import Record
from eventkit.wire import decoded
from services.routing.following.concerns import Following, Heard, Wanted

CALLS = "call-events"
AGENTS = "agent-events"

_OVER = frozenset({"ended", "abandoned", "overflowed"})
_GIVES = frozenset({"offered", "assigned", "connected", "help_offered", "help_joined"})
_TAKES = frozenset(
    {
        *("offer_expired", "offer_declined", "offer_withdrawn", "help_offer_ended", "help_ended"),
        *("requeued", "transferred", "callback_failed"),
    }
)


def call_event(record: Record) -> CallEvent:
    """Raises InvalidMessage."""
    return decoded(record, CallEvent)


def agent_event(record: Record) -> AgentEvent:
    """Raises InvalidMessage."""
    return decoded(record, AgentEvent)


def heard(event: CallEvent) -> Heard:
    """Of an event of a kind that this version does not know: only whose it is."""
    kind = event.WhichOneof("body") or ""
    body: Message | None = getattr(event, kind) if kind else None
    agent_id = str(getattr(body, "agent_id", ""))
    given = agent_id if kind in _GIVES else ""
    if kind == "transferred" and event.transferred.consulted:
        given = event.transferred.to_agent_id
    return Heard(
        event.meta.stream_id,
        event.meta.client_id,
        event.meta.version,
        site=getattr(body, "site", ""),
        pool=getattr(body, "pool_id", ""),
        given=given,
        taken=agent_id if kind in _TAKES else "",
        over=kind in _OVER,
    )


class Calls:
    """eventkit.subscription.Selection of a partition of call-events."""

    def __init__(self, wanted: Wanted) -> None:
        self._following = Following(wanted)

    def take(self, record: Record) -> bool:
        return self._following.take(heard(call_event(record)), record.offset, record.timestamp)

    def since(self) -> int | None:
        return self._following.since()
