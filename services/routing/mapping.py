"""Dataclasses to messages and back, where both have the same field names.

The message's descriptor and the dataclass's hints say the rest:

    int, microseconds         Timestamp (0: unset), Duration
    IntEnum                   enum
    tuple[X, ...]             repeated
    tuple of pairs            repeated message of two fields; sorted when read
    dataclass                 message
    X | None                  unset

`Mapped` is for what others read; `Sparse` for snapshots, which have to be quick.
"""

from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from enum import IntEnum
from types import NoneType
from typing import Any, get_args, get_origin, get_type_hints

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from eventkit.errors import InvalidMessage

Convert = Callable[[Any], Any]
Values = dict[str, Any]
"""A message as its constructor takes it: nested dicts, which is faster than nested messages."""


def to_timestamp(us: int) -> Values | None:
    return {"seconds": us // 1_000_000, "nanos": us % 1_000_000 * 1000} if us else None


def to_duration(us: int) -> Values:
    return {"seconds": us // 1_000_000, "nanos": us % 1_000_000 * 1000}


def microseconds(value: Any) -> int:
    """Of a Timestamp or Duration. May lie outside of what a Timestamp allows."""
    return int(value.seconds * 1_000_000 + value.nanos // 1000)


class Mapped:
    """One dataclass and its message."""

    def __init__(self, cls: type[Any], message: Descriptor) -> None:
        hints = get_type_hints(cls)
        self._cls = cls
        self._writers: list[tuple[str, Convert | None]] = []
        self._readers: list[tuple[str, Convert | None, bool]] = []
        for each in fields(cls):
            hint, optional = _without_none(hints[each.name])
            writer, reader = _converters(hint, message.fields_by_name[each.name])
            if optional and writer is not None:
                writer = _unless_none(writer)
            self._writers.append((each.name, writer))
            self._readers.append((each.name, reader, optional))

    def write(self, value: Any) -> Values:
        return {
            name: convert(getattr(value, name)) if convert else getattr(value, name)
            for name, convert in self._writers
        }

    def read(self, message: Any) -> Any:
        """The dataclass. Raises InvalidMessage for a value that its enum does not have."""
        values: list[Any] = []
        for name, convert, optional in self._readers:
            if optional and not message.HasField(name):
                values.append(None)
                continue
            value = getattr(message, name)
            if convert is not None:
                try:
                    value = convert(value)
                except InvalidMessage as error:
                    raise InvalidMessage(f".{name}{error.field}", error.reason) from error
                except ValueError as error:
                    raise InvalidMessage(f".{name}", str(error)) from error
            values.append(value)
        return self._cls(*values)


class Sparse:
    """As Mapped, but a time is an int64 whose name ends in _us, and what says nothing is left out.

    Left out is what is zero; in a field with presence, what is the dataclass's default.
    ways: (to the message, from it) for fields that need more. skip: fields that `read` is given.
    """

    def __init__(
        self,
        cls: type[Any],
        message: Descriptor,
        ways: Mapping[str, tuple[Convert, Convert]] | None = None,
        skip: tuple[str, ...] = (),
    ) -> None:
        hints = get_type_hints(cls)
        self._cls = cls
        self._writers: list[tuple[str, str, Any, Convert | None]] = []
        self._readers: list[tuple[str, str, Any, Convert | None, bool]] = []
        for each in fields(cls):
            if each.name in skip:
                continue
            wire = each.name if each.name in message.fields_by_name else f"{each.name}_us"
            field = message.fields_by_name[wire]
            hint, optional = _without_none(hints[each.name])
            writer, reader = (ways or {}).get(each.name) or _converters(hint, field)
            unset = None if optional else _zero(hint)
            if field.has_presence and each.default is not MISSING:
                unset = each.default
            if optional and not field.has_presence and reader is not None:
                reader = _none_for_zero(reader)
            self._writers.append((each.name, wire, unset, writer))
            self._readers.append((each.name, wire, unset, reader, field.has_presence))

    def write(self, value: Any) -> Values:
        values: Values = {}
        for name, wire, unset, convert in self._writers:
            found = getattr(value, name)
            if found != unset:
                values[wire] = convert(found) if convert else found
        return values

    def read(self, message: Any, **values: Any) -> Any:
        """The dataclass. values: the fields that are skipped. Raises ValueError, InvalidMessage."""
        for name, wire, unset, convert, presence in self._readers:
            if presence and not message.HasField(wire):
                values[name] = unset
            else:
                found = getattr(message, wire)
                values[name] = convert(found) if convert else found
        return self._cls(**values)


class Bodies:
    """The `oneof body` of one message: which dataclass is which field."""

    def __init__(self, message: type[Message], types: Mapping[str, type[Any]]) -> None:
        of_field = message.DESCRIPTOR.fields_by_name
        self._of_field = {
            name: Mapped(cls, of_field[name].message_type)  # type: ignore[arg-type]
            for name, cls in types.items()
        }
        self._of_type = {cls: (name, self._of_field[name]) for name, cls in types.items()}

    def kinds(self) -> list[tuple[type[Any], str]]:
        """Each dataclass, and which field it is."""
        return [(cls, name) for cls, (name, _) in self._of_type.items()]

    def encode(self, body: Any) -> Values:
        """The one keyword argument for the message's constructor."""
        name, mapped = self._of_type[type(body)]
        return {name: mapped.write(body)}

    def decode(self, message: Any) -> Any:
        """The dataclass. Raises InvalidMessage for an unknown body or a value out of an enum."""
        name = message.WhichOneof("body")
        if name is None:
            raise InvalidMessage("body", "missing, or of a kind that this version does not know")
        try:
            return self._of_field[name].read(getattr(message, name))
        except InvalidMessage as error:
            raise InvalidMessage(f"{name}{error.field}", error.reason) from error


def _without_none(hint: Any) -> tuple[Any, bool]:
    kinds = get_args(hint)
    if NoneType in kinds:
        (kind,) = (each for each in kinds if each is not NoneType)
        return kind, True
    return hint, False


def _unless_none(convert: Convert) -> Convert:
    return lambda value: None if value is None else convert(value)


def _none_for_zero(convert: Convert) -> Convert:
    return lambda value: convert(value) if value else None


def _zero(hint: Any) -> Any:
    kind = get_origin(hint) or hint
    return 0 if issubclass(kind, IntEnum) else None if is_dataclass(kind) else kind()


def _converters(hint: Any, field: FieldDescriptor) -> tuple[Convert | None, Convert | None]:
    """(to the message, from it); None: as it is."""
    message = field.message_type
    if field.is_repeated:
        return _repeated(hint, message)
    if message is None:
        return None, hint if issubclass(hint, IntEnum) else None
    if message is Timestamp.DESCRIPTOR:
        return to_timestamp, microseconds
    if message is Duration.DESCRIPTOR:
        return to_duration, microseconds
    mapped = Mapped(hint, message)
    return mapped.write, mapped.read


def _repeated(hint: Any, message: Descriptor | None) -> tuple[Convert | None, Convert | None]:
    if message is None:
        return None, get_origin(hint)
    one_hint = get_args(hint)[0]
    if is_dataclass(one_hint):
        mapped = Mapped(one_hint, message)  # type: ignore[arg-type]
        return lambda values: [mapped.write(each) for each in values], _all(mapped.read)
    one, other = (each.name for each in message.fields)
    return (
        lambda pairs: [{one: a, other: b} for a, b in pairs],
        lambda values: tuple(sorted((getattr(v, one), getattr(v, other)) for v in values)),
    )


def _all(read: Convert) -> Convert:
    def convert(values: Any) -> tuple[Any, ...]:
        found = []
        for number, value in enumerate(values):
            try:
                found.append(read(value))
            except InvalidMessage as error:
                raise InvalidMessage(f"[{number}]{error.field}", error.reason) from error
        return tuple(found)

    return convert
