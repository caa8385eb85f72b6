"""What happened to a stream, as the edges show it: readable, and without what is personal."""

from typing import Any

import msgspec

from eventkit.clock import rfc3339
from eventkit.eventstore import Category, Recorded
from eventkit.http import EventView, time_of

DURATIONS = ("rang", "waited", "talked")


def event_view(category: Category[Any, Any, Any], fact: Recorded[Any]) -> EventView:
    """One event; what is the same on all of them is left out."""
    _, body, _ = category.codec.encode(fact.event)
    details = msgspec.json.decode(body)
    return EventView(
        version=fact.version,
        event=type(fact.event).__name__,
        occurred_at=time_of(getattr(fact.event, "at", fact.occurred_at)),
        recorded_at=time_of(fact.recorded_at),
        actor=fact.actor,
        details={
            name: readable(value, name)
            for name, value in details.items()
            if name not in ("at", "origin")
        },
    )


def readable(value: Any, name: str = "") -> Any:
    """The same with every moment, which an event has in microseconds, as RFC 3339, and every
    duration in seconds."""
    match value:
        case dict():
            return {each: readable(inside, each) for each, inside in value.items()}
        case list():
            return [readable(inside, name) for inside in value]
        case int() if name in DURATIONS:
            return value / 1_000_000
        case int() if name.endswith("_at") or name in ("dial_before", "since"):
            return rfc3339(value)
    return value
