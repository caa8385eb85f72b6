"""Blocks: a table's slice, column by column, in two dialects.

chDB's format ``Native`` is the block of protocol revision 0; a client of today expects two more
things in it, marked here with their revision::

    [51903: block info, 8 bytes] varint columns, varint rows, then for each column:
    string name, string type, [54454: one byte, 0 = usual serialization], data

Nothing says how long a column's data is, so both directions have to walk it. The walk looks at
as little as possible: a fixed-width column is one addition, an array needs its last offset, and
only strings are walked one by one. Values are never decoded.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from relaisctl.stack.clickhouse import protocol
from relaisctl.stack.clickhouse.protocol import ProtocolError, Source


class UnsupportedTypeError(Exception):
    """A column's type whose length cannot be told from outside (states, JSON, Variant...)."""


Walk = Callable[[Source, int], None]


@dataclass(frozen=True)
class Column:
    """How to walk a column: prefixes of all nested streams come first, then the data."""

    prefix: Walk
    data: Walk


_NAMES_BY_WIDTH: Final = {
    1: "Bool Enum8 Int8 UInt8 Nothing",
    2: "Enum16 Int16 UInt16 Date BFloat16",
    4: "Int32 UInt32 Float32 Date32 DateTime Time IPv4 Decimal32",
    8: "Int64 UInt64 Float64 DateTime64 Time64 Decimal64",
    16: "Int128 UInt128 UUID IPv6 Decimal128",
    32: "Int256 UInt256 Decimal256",
}
_WIDTHS: Final = {name: width for width, names in _NAMES_BY_WIDTH.items() for name in names.split()}
_ALIASES: Final = {
    "Point": "Tuple(Float64, Float64)",
    "Ring": "Array(Point)",
    "LineString": "Array(Point)",
    "Polygon": "Array(Ring)",
    "MultiLineString": "Array(LineString)",
    "MultiPolygon": "Array(Polygon)",
}
_MAX_COLUMNS: Final = 10_000


def _no_prefix(_source: Source, _rows: int) -> None:
    pass


def _fixed(width: int) -> Column:
    return Column(_no_prefix, lambda source, rows: source.skip(width * rows))


def _strings(source: Source, rows: int) -> None:
    if not rows:
        return
    source.need(rows)  # each has a length, of at least one byte
    buf, pos = source.buf, source.pos
    # Ids and codes mostly have one length: compare all length bytes in one stride.
    step = buf[pos] + 1
    end = pos + step * rows
    if step <= 0x80 and end <= len(buf) and buf[pos:end:step].count(step - 1) == rows:
        source.pos = end
        return
    while rows:
        left = rows
        try:
            for left in range(rows, 0, -1):  # noqa: B007
                size = buf[pos]
                if size < 0x80:
                    pos += size + 1
                else:
                    source.pos = pos
                    source.skip(source.varint())
                    pos = source.pos
            left = 0
        except IndexError:  # walked past the end of what has arrived
            pass
        source.need(pos - source.pos + left)
        source.pos, rows = pos, left


def _array(item: Column) -> Column:
    def data(source: Source, rows: int) -> None:
        if rows:
            source.skip(8 * (rows - 1))
            item.data(source, source.u64())

    return Column(item.prefix, data)


def _tuple(items: Sequence[Column]) -> Column:
    def prefix(source: Source, rows: int) -> None:
        for item in items:
            item.prefix(source, rows)

    def data(source: Source, rows: int) -> None:
        for item in items:
            item.data(source, rows)

    return Column(prefix, data)


def _nullable(item: Column) -> Column:
    def data(source: Source, rows: int) -> None:
        source.skip(rows)
        item.data(source, rows)

    return Column(item.prefix, data)


def _low_cardinality(item: Column) -> Column:
    def prefix(source: Source, rows: int) -> None:
        if (version := source.u64()) != 1:
            raise ProtocolError(f"LowCardinality of version {version}")

    def data(source: Source, rows: int) -> None:
        if not rows:
            return
        flags = source.u64()
        if not flags & 0x200 or flags & 0x100:  # own keys in the block, no shared dictionary
            raise ProtocolError(f"LowCardinality with flags {flags:#x}")
        item.data(source, source.u64())
        source.skip(source.u64() << (flags & 3))

    return Column(prefix, data)


def arguments(text: str) -> list[str]:
    """``"a String, b Decimal(9, 2)"`` -> its parts at commas outside brackets and quotes."""
    parts, depth, start, quoted = [], 0, 0, ""
    escaped = False
    for at, char in enumerate(text):
        if quoted:
            if escaped:
                escaped = False
            elif char == "\\":
                escaped = True
            elif char == quoted:
                quoted = ""
        elif char in "'`\"":
            quoted = char
        elif char == "(":
            depth += 1
        elif char == ")":
            depth -= 1
        elif char == "," and not depth:
            parts.append(text[start:at].strip())
            start = at + 1
    return [*parts, text[start:].strip()]


_FIELD_NAME: Final = re.compile(r"(?:`(?:[^`\\]|\\.)*`|\w+)\s+(?=\w)")


def _unnamed(field: str) -> str:
    """``a UInt8`` -> ``UInt8``; a type alone stays."""
    return field[match.end() :] if (match := _FIELD_NAME.match(field)) else field


@lru_cache(maxsize=10_000)
def column(spec: str) -> Column:
    """How to walk a column of the type ``spec``. Raises UnsupportedTypeError."""
    name, _, rest = spec.partition("(")
    inner = rest[: rest.rfind(")")] if rest else ""
    if name in _WIDTHS:
        return _fixed(_WIDTHS[name])
    if name == "String":
        return Column(_no_prefix, _strings)
    if name == "FixedString":
        return _fixed(int(inner))
    if name == "Decimal":
        digits = int(arguments(inner)[0])
        return _fixed(
            next(w for w, most in ((4, 9), (8, 18), (16, 38), (32, 76)) if digits <= most)
        )
    if name.startswith("Interval"):
        return _fixed(8)
    if name in _ALIASES:
        return column(_ALIASES[name])
    if name == "Nullable":
        return _nullable(column(inner))
    if name == "Array":
        return _array(column(inner))
    if name in ("Tuple", "Nested"):
        parts = [column(_unnamed(part)) for part in arguments(inner) if part]
        return _array(_tuple(parts)) if name == "Nested" else _tuple(parts)
    if name == "Map":
        return _array(_tuple([column(part) for part in arguments(inner)]))
    if name == "LowCardinality":
        return _low_cardinality(
            column(inner.removeprefix("Nullable(").removesuffix(")"))
            if inner.startswith("Nullable(")
            else column(inner)
        )
    if name == "SimpleAggregateFunction":
        return column(arguments(inner)[1])
    raise UnsupportedTypeError(f"columns of type {spec} cannot be sent by this server")


@dataclass(frozen=True)
class Block:
    """A walked block: names and types, rows, and its bytes cut at the places where the dialects
    differ: ``cuts[0]`` is the counts, then for each column its name and type, then its data.
    Joined, the cuts are the block as chDB reads and writes it."""

    columns: list[tuple[str, str]]
    rows: int
    cuts: list[bytes]

    @property
    def size(self) -> int:
        """Bytes of the block as the engine knows it."""
        return sum(map(len, self.cuts))

    def called(self, columns: list[tuple[str, str]]) -> Block:
        """The same data under other names and types, of the same widths."""
        if columns == self.columns:
            return self
        cuts = list(self.cuts)
        cuts[1::2] = [protocol.string(name) + protocol.string(spec) for name, spec in columns]
        return Block(columns, self.rows, cuts)

    def client_bytes(self, revision: int) -> bytes:
        """The block as a client of ``revision`` reads and writes it."""
        flag = b"\0" if revision >= protocol.CUSTOM_SERIALIZATION else b""
        out = [_INFO if revision >= protocol.BLOCK_INFO else b"", self.cuts[0]]
        for at in range(1, len(self.cuts), 2):
            out += [self.cuts[at], flag, self.cuts[at + 1]]
        return b"".join(out)


# Block info: field 1, is_overflows = 0; field 2, bucket_num = -1; end.
_INFO: Final = b"\x01\x00\x02\xff\xff\xff\xff\x00"


def read_block(source: Source, revision: int) -> Block:
    """Walks one block in the dialect of ``revision`` (0: the engine's) and cuts it out.

    Raises UnsupportedTypeError, ProtocolError; what was read of a socket is lost then.
    """
    if revision >= protocol.BLOCK_INFO:
        while number := source.varint():
            source.skip({1: 1, 2: 4}.get(number) or _bad(f"block info field {number}"))
    start = source.pos
    width, rows = source.varint(), source.varint()
    if width > _MAX_COLUMNS:
        raise ProtocolError(f"block with {width} columns")
    cuts, columns = [source.cut(start)], []
    for _ in range(width):
        start = source.pos
        name, spec = source.string(100_000), source.string(1_000_000)
        columns.append((name, spec))
        cuts.append(source.cut(start))
        if revision >= protocol.CUSTOM_SERIALIZATION and source.byte():
            raise ProtocolError(f"column {name} has a custom serialization")
        start = source.pos
        if rows:
            walk = column(spec)
            walk.prefix(source, rows)
            walk.data(source, rows)
        cuts.append(source.cut(start))
    source.release()
    return Block(columns, rows, cuts)


def _bad(what: str) -> int:
    raise ProtocolError(what)


def read_blocks(data: bytes | memoryview) -> Iterator[Block]:
    """The blocks in a piece of the engine's output."""
    source = Source.over(data)
    while not source.exhausted:
        yield read_block(source, 0)


def header(columns: Sequence[tuple[str, str]]) -> Block:
    """A block without rows: only names and types."""
    cuts = [protocol.varint(len(columns)) + protocol.varint(0)]
    for name, spec in columns:
        cuts += [protocol.string(name) + protocol.string(spec), b""]
    return Block(list(columns), 0, cuts)


EMPTY: Final = header([])
