"""How events are stored: in clear, apart from that what is personal, and which classes may be."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import Enum

import pytest

from eventkit.decider import Personal
from eventkit.eventcodec import EventCodec, UnknownEventType


class Colour(Enum):
    RED = "red"


@dataclass(frozen=True, slots=True)
class Place:
    street: str
    rooms: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Moved:
    id: str
    colour: Colour
    price: Decimal
    on: date
    name: Personal[str]
    phones: Personal[tuple[str, ...]]
    notes: Personal[dict[str, str]]
    place: Personal[Place]
    born: Personal[date | None] = None
    links: Mapping[str, Place] | None = None
    is_new: bool = False


@dataclass(frozen=True, slots=True)
class Closed: ...


CODEC = EventCodec((Moved, Closed))
MOVED = Moved(
    "m1",
    Colour.RED,
    Decimal("19.90"),
    date(2026, 11, 23),
    "Ana Müller",
    ("+33123456789",),
    {"vip": "yes"},
    Place("Rue de la Paix 1", (1, 2)),
    date(1980, 2, 29),
    {"old": Place("Rue 2")},
    True,
)


def test_events_come_back_as_they_were() -> None:
    kind, body, personal = CODEC.encode(MOVED)
    assert CODEC.decode(kind, body.decode(), personal) == MOVED
    for secret in ("Ana", "+33123456789", "vip", "Paix", "1980"):
        assert secret not in body.decode()
    kind, body, personal = CODEC.encode(Closed())
    assert (kind, body, personal) == ("Closed", b"{}", None)
    assert CODEC.decode(kind, "{}", None) == Closed()


def test_what_is_personal_is_empty_when_it_cannot_be_read() -> None:
    kind, body, _ = CODEC.encode(MOVED)
    erased = CODEC.decode(kind, body.decode(), None)
    assert erased.id == "m1"
    assert (erased.name, erased.phones, erased.notes, erased.born) == ("", (), {}, None)
    assert erased.place == Place("", ())
    assert CODEC.encode(erased)[2] is None, "nothing is left to be sealed"


def test_a_class_may_grow_and_shrink() -> None:
    old = '{"id": "m1", "colour": "red", "price": "1", "on": "2026-11-23", "gone": 3}'
    personal = b'{"name": "Ana", "phones": [], "notes": {}, "place": {"street": "x"}}'
    moved = CODEC.decode("Moved", old, personal)
    assert (moved.name, moved.born, moved.is_new, moved.links) == ("Ana", None, False, None)


def test_a_name_that_nobody_knows() -> None:
    with pytest.raises(UnknownEventType, match="Renamed is none of Closed, Moved"):
        CODEC.decode("Renamed", "{}", None)


@dataclass(frozen=True)
class Person:
    name: Personal[str]


@dataclass(frozen=True)
class Hidden:
    people: tuple[Person, ...]


@dataclass(frozen=True)
class Inner:
    names: tuple[Personal[str], ...]


@dataclass(frozen=True)
class Endless:
    born: Personal[date]


@pytest.mark.parametrize(
    ("events", "why"),
    [
        ((Hidden,), "Hidden.people: Personal must be around"),
        ((Inner,), "Inner.names: Personal must be around"),
        ((Endless,), "Endless.born: a personal .* has no empty value; allow None"),
        ((Closed, type("Closed", (), {"__dataclass_fields__": {}})), "the same name"),
    ],
)
def test_what_cannot_be_stored_is_told_at_once(events: tuple[type, ...], why: str) -> None:
    with pytest.raises(TypeError, match=why):
        EventCodec(events)
