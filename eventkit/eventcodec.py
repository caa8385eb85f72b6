"""Events as they are stored: JSON by msgspec, what is personal apart from the rest.

A stored event is the name of its class and two JSON objects: `body` with the fields in clear, and
`personal` with the fields marked `Personal`, which the event store seals. Without the second one
the personal fields read as the empty values of their types. A field that has a default may be
missing, so an event class may grow; a field that the class does not know is ignored.
"""

import dataclasses
from collections.abc import Callable, Mapping
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

import msgspec

from eventkit.decider import PERSONAL

_encode = msgspec.json.Encoder().encode


class UnknownEventType(Exception):
    """The store holds an event that the category's decider does not name: an old name that was
    dropped, or a newer build's."""


class EventCodec:
    """The events of one decider. Raises TypeError for classes that cannot be stored."""

    def __init__(self, events: tuple[type[Any], ...]) -> None:
        self._kinds = {event.__name__: _Kind(event) for event in events}
        if len(self._kinds) != len(events):
            raise TypeError("two event classes of one decider have the same name")
        self.has_personal = any(kind.personal for kind in self._kinds.values())

    def encode(self, event: Any) -> tuple[str, bytes, bytes | None]:
        """(type, body, personal); personal is None where there is nothing personal to seal.

        Raises KeyError for an event that the decider does not name.
        """
        name = type(event).__name__
        return name, *self._kinds[name].encode(event)

    def decode(self, name: str, body: str, personal: bytes | None) -> Any:
        """Raises UnknownEventType, and msgspec.ValidationError for a field that does not fit."""
        kind = self._kinds.get(name)
        if kind is None:
            known = ", ".join(sorted(self._kinds))
            raise UnknownEventType(f"{name} is none of {known}")
        return kind.decode(body, personal)


class _Kind:
    """One class of events."""

    def __init__(self, event: type[Any]) -> None:
        hints = get_type_hints(event, include_extras=True)
        names = [field.name for field in dataclasses.fields(event)]
        self.personal = [name for name in names if _is_personal(hints[name])]
        self._clear = [name for name in names if name not in self.personal]
        for name in self._clear:
            _refuse_hidden(f"{event.__name__}.{name}", hints[name])
        self._decode: Callable[[bytes | str], Any] = msgspec.json.Decoder(event).decode
        self._empty = _encode(
            {name: _empty(f"{event.__name__}.{name}", hints[name]) for name in self.personal}
        )

    def encode(self, event: Any) -> tuple[bytes, bytes | None]:
        if not self.personal:
            return _encode(event), None
        clear = _encode({name: getattr(event, name) for name in self._clear})
        personal = _encode({name: getattr(event, name) for name in self.personal})
        return clear, None if personal == self._empty else personal

    def decode(self, body: str, personal: bytes | None) -> Any:
        if not self.personal:
            return self._decode(body)
        # The two objects as one. Of two equal names msgspec takes the last.
        inner = (part.strip()[1:-1] for part in (personal or self._empty, body.encode()))
        return self._decode(b"{" + b",".join(part for part in inner if part.strip()) + b"}")


def _is_personal(hint: Any) -> bool:
    return get_origin(hint) is Annotated and PERSONAL in get_args(hint)[1:]


def _refuse_hidden(where: str, hint: Any) -> None:
    """A personal field below a field in clear would be stored in clear."""
    if _is_personal(hint):
        raise TypeError(f"{where}: Personal must be around the event's whole field")
    for part in get_args(hint):
        _refuse_hidden(where, part)
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        for part in get_type_hints(hint, include_extras=True).values():
            _refuse_hidden(where, part)


def _empty(where: str, hint: Any) -> Any:
    """What a field of this type reads as when its person has been erased."""
    origin, parts = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _empty(where, parts[0])
    if origin in (Union, UnionType) and NoneType in parts:
        return None
    plain = origin or hint
    if plain in (str, int, bool, float, tuple, list, frozenset, set, dict):
        return plain()
    if plain is Mapping:
        return {}
    if isinstance(plain, type) and dataclasses.is_dataclass(plain):
        hints = get_type_hints(plain, include_extras=True)
        return {
            field.name: _empty(f"{where}.{field.name}", hints[field.name])
            for field in dataclasses.fields(plain)
        }
    raise TypeError(f"{where}: a personal {hint!r} has no empty value; allow None")
