"""What the telephone system says about a call, event by event, put together. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from services.crm.interactions.heard import AllHeard, Groups


class Kind(StrEnum):
    """Events of call-events, by their names in the contract's oneof."""

    ARRIVED = "arrived"
    QUEUED = "queued"
    OFFERED = "offered"
    OFFER_EXPIRED = "offer_expired"
    OFFER_DECLINED = "offer_declined"
    OFFER_WITHDRAWN = "offer_withdrawn"
    ASSIGNED = "assigned"
    CONNECTED = "connected"
    ABANDONED = "abandoned"
    ENDED = "ended"
    WRAPPED_UP = "wrapped_up"


GROUPS: Final[Groups] = {
    "arrival": ("channel", "direction", "line", "customer_reference"),
    "arrived": ("arrived_at",),
    "queue": ("queue_id",),
    "agent": ("agent_id",),
    "connected": ("connected_at", "answered_after_us"),
    "abandoned": ("abandoned_at", "abandoned_after_us"),
    "ended": ("ended_at", "end_cause", "talked_us"),
    "wrapped_up": ("wrapped_up_at", "wrap_up_us"),
}
_WITH_AGENT: Final = frozenset({Kind.ASSIGNED, Kind.CONNECTED, Kind.ENDED, Kind.WRAPPED_UP})
"""Those whose agent the call is. An agent who was offered it may have declined."""


@dataclass(frozen=True, slots=True)
class Said:
    """One event. Times in microseconds since 1970, lasted in microseconds; empty and 0 where the
    event says nothing of it."""

    kind: Kind
    client_id: str
    call_id: str
    version: int
    occurred_at: int
    arrived_at: int = 0
    queue_id: str = ""
    agent_id: str = ""
    lasted: int = 0
    channel: str = ""
    direction: str = ""
    line: str = ""
    customer_reference: str = ""
    end_cause: str = ""


class Calls(AllHeard):
    """By (client, call)."""

    def add(self, all_said: Iterable[Said]) -> None:
        for said in all_said:
            key = (said.client_id, said.call_id)
            self.hear(key, said.version, said.occurred_at, facts_of(said))


def facts_of(said: Said) -> Iterable[tuple[str, tuple[Any, ...]]]:
    """What one event says: (group, values)."""
    kind, at = said.kind, said.occurred_at
    found: list[tuple[str, tuple[Any, ...]]] = []
    if said.queue_id:
        found.append(("queue", (said.queue_id,)))
    if said.agent_id and kind in _WITH_AGENT:
        found.append(("agent", (said.agent_id,)))
    if said.arrived_at:
        found.append(("arrived", (said.arrived_at,)))
    match kind:
        case Kind.ARRIVED:
            reference = said.customer_reference
            found.append(("arrival", (said.channel, said.direction, said.line, reference)))
            found.append(("arrived", (at,)))
        case Kind.CONNECTED:
            found.append(("connected", (at, said.lasted)))
        case Kind.ABANDONED:
            found.append(("abandoned", (at, said.lasted)))
        case Kind.ENDED:
            found.append(("ended", (at, said.end_cause, said.lasted)))
        case Kind.WRAPPED_UP:
            found.append(("wrapped_up", (at, said.lasted)))
    return found
