"""ClickHouse's native TCP protocol: packets, as a server sees them. No sockets, no engine.

A conversation
--------------
A packet is a type (a varint) and fields whose layout depends on the *revision*, the smaller of
the two numbers that client and server announce in their Hello::

    client                                   server
    Hello(name, revision, db, user, pass) -> Hello(name, version, revision, zone)
    addendum(quota key)
    Ping                                  -> Pong
    Query(id, info, settings, sql, params)
    Data(empty: no external tables)       -> Data(no rows: names and types)
                                             Progress*, Data*            in any order
                                             ProfileInfo, EndOfStream    or Exception
    Query("INSERT INTO t VALUES")
    Data(empty)                           -> TableColumns?, Data(no rows: what the table wants)
    Data*                                 -> ProfileEvents               one for each block
    Data(empty: the end)                  -> ProfileEvents, EndOfStream  or Exception
    Cancel (while a query runs)           -> EndOfStream

Primitive values: *varint* is LEB128; *string* is a varint length and that many bytes; fixed
integers are little-endian. Nothing else is framed: where a packet ends is known only by reading
it, which is why blocks have to be walked (see ``blocks``).

Compression, when a Query asks for it, wraps each block (not the packet around it) in frames::

    16 bytes CityHash128 of the rest | method 0x82 LZ4 | u32 size with this header | u32 raw size

Why revision 54459
------------------
It is the first with ``{name:Type}`` parameters, and brings, below it, settings as strings
(54429), a serialization byte in each column (54454) and the quota-key addendum (54458). Newer
ones add nothing that our clients use and change more layouts. A client that announces less gets
its own layout, down to 54429; before that settings are binary values whose types only the two
ends know, so such a client may connect but not pass settings.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import lz4.block  # type: ignore[import-untyped]
from clickhouse_cityhash.cityhash import CityHash128  # type: ignore[import-untyped]

REVISION: Final = 54459
SERVER_NAME: Final = "ClickHouse"

# Revisions from which a field exists.
BLOCK_INFO: Final = 51903
TIMEZONE: Final = 54058
QUOTA_KEY: Final = 54060
DISPLAY_NAME: Final = 54372
VERSION_PATCH: Final = 54401
WRITE_INFO: Final = 54420
STRING_SETTINGS: Final = 54429
INTERSERVER_SECRET: Final = 54441
OPENTELEMETRY: Final = 54442
DISTRIBUTED_DEPTH: Final = 54448
QUERY_START_TIME: Final = 54449
PARALLEL_REPLICAS: Final = 54453
CUSTOM_SERIALIZATION: Final = 54454
PROFILE_EVENTS_IN_INSERT: Final = 54456
ADDENDUM: Final = 54458
PARAMETERS: Final = 54459


class ClientPacket:
    """Types of the packets that a client sends."""

    HELLO, QUERY, DATA, CANCEL, PING = range(5)


class ServerPacket:
    """Types of the packets that a server sends."""

    HELLO, DATA, EXCEPTION, PROGRESS, PONG, END_OF_STREAM, PROFILE_INFO = range(7)
    PROFILE_EVENTS = 14


IMPORTANT_SETTING: Final = 1  # flag: an unknown name is an error instead of being ignored


class ProtocolError(Exception):
    """The peer does not speak the protocol: the connection cannot go on."""


# --- reading -----------------------------------------------------------------------------------

_U64 = struct.Struct("<Q")


class Source:
    """A byte stream with a cursor: over a socket, over compressed frames, or over bytes.

    Bytes stay in ``buf`` until ``release``, so that who has walked over a block can cut it out.

    :param more: gives at least one further byte (the argument is how many are wanted), or raises.
    :param limit: the most bytes kept between two releases; more is a ProtocolError.
    """

    def __init__(self, more: Callable[[int], bytes], limit: int = 2 << 30) -> None:
        self.buf = bytearray()
        self.pos = 0
        self._more = more
        self._limit = limit

    @classmethod
    def over(cls, data: bytes | memoryview) -> Source:
        """Reads ``data`` and nothing else; running out of it is a ProtocolError."""

        def exhausted(_: int) -> bytes:
            raise ProtocolError("block ends too early")

        source = cls(exhausted)
        source.buf += data
        return source

    def need(self, size: int) -> None:
        """Makes ``size`` bytes available after the cursor."""
        if self.pos + size > self._limit:
            raise ProtocolError(f"{size} bytes in one value or block exceed the limit")
        while (missing := self.pos + size - len(self.buf)) > 0:
            self.buf += self._more(missing)

    def release(self) -> None:
        """Forgets what is before the cursor."""
        if self.pos == len(self.buf):
            self.buf.clear()
        else:
            del self.buf[: self.pos]
        self.pos = 0

    @property
    def exhausted(self) -> bool:
        return self.pos == len(self.buf)

    def skip(self, size: int) -> None:
        self.need(size)
        self.pos += size

    def cut(self, start: int) -> bytes:
        """A copy of what lies between ``start`` and the cursor."""
        return bytes(memoryview(self.buf)[start : self.pos])

    def take(self, size: int) -> bytes:
        self.skip(size)
        return self.cut(self.pos - size)

    def byte(self) -> int:
        self.skip(1)
        return self.buf[self.pos - 1]

    def u64(self) -> int:
        self.skip(8)
        value: int = _U64.unpack_from(self.buf, self.pos - 8)[0]
        return value

    def varint(self) -> int:
        value = shift = 0
        while True:
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7
            if shift > 63:
                raise ProtocolError("varint longer than 64 bits")

    def string(self, limit: int = 1 << 28) -> str:
        size = self.varint()
        if size > limit:
            raise ProtocolError(f"string of {size} bytes where at most {limit} are allowed")
        return self.take(size).decode("utf-8", "surrogateescape")


LZ4: Final = 0x82
NOT_COMPRESSED: Final = 0x02
_FRAME = struct.Struct("<BII")  # method, size with these nine bytes, raw size
_MAX_FRAME: Final = 1 << 30
_FRAME_OUT: Final = 1 << 20


def _checksum(frame: bytes) -> bytes:
    number = CityHash128(frame)  # its upper half goes first, each half little-endian
    return struct.pack("<QQ", number >> 64, number & 0xFFFF_FFFF_FFFF_FFFF)


def read_frame(source: Source) -> bytes:
    """One compressed frame, decompressed. Raises ProtocolError when it is damaged."""
    source.need(25)
    checksum = source.take(16)
    start = source.pos
    method, size, raw_size = _FRAME.unpack(source.take(9))
    if not 9 <= size <= _MAX_FRAME or raw_size > _MAX_FRAME:
        raise ProtocolError(f"compressed frame of {size} bytes for {raw_size}")
    source.skip(size - 9)
    frame = source.cut(start)
    if _checksum(frame) != checksum:
        raise ProtocolError("checksum of a compressed frame does not match")
    body = frame[9:]
    if method == LZ4:
        try:
            return bytes(lz4.block.decompress(body, uncompressed_size=raw_size))
        except lz4.block.LZ4BlockError as error:
            raise ProtocolError(f"damaged LZ4 frame: {error}") from error
    if method == NOT_COMPRESSED:
        return body
    raise ProtocolError(f"compression method 0x{method:02x} is not supported: use lz4")


def write_frames(block: bytes) -> bytes:
    """A block as LZ4 frames of at most 1 MiB raw each."""
    out = []
    for at in range(0, len(block), _FRAME_OUT):
        raw = block[at : at + _FRAME_OUT]
        body = lz4.block.compress(raw, store_size=False)
        frame = _FRAME.pack(LZ4, len(body) + 9, len(raw)) + body
        out += [_checksum(frame), frame]
    return b"".join(out)


@dataclass(frozen=True)
class Hello:
    """What a client says first. ``revision`` is already the one that both sides know."""

    client: str
    revision: int
    database: str
    user: str
    password: str


def read_hello(source: Source) -> Hello:
    """The fields of Hello, after its packet type."""
    client = source.string(1000)
    source.varint()  # client's version, major and minor
    source.varint()
    revision = min(source.varint(), REVISION)
    return Hello(client, revision, source.string(1000), source.string(1000), source.string(10_000))


@dataclass(frozen=True)
class Query:
    """One query as asked: ``settings`` maps a name to (value, flags); parameters are unquoted."""

    id: str
    sql: str
    compressed: bool
    settings: dict[str, tuple[str, int]] = field(default_factory=dict)
    params: dict[str, str] = field(default_factory=dict)

    def is_text(self) -> bool:
        """Whether all of it was UTF-8."""
        values = (value for value, _ in self.settings.values())
        try:
            "".join([self.id, self.sql, *self.params, *self.params.values(), *values]).encode()
        except UnicodeEncodeError:
            return False
        return True


def read_query(source: Source, revision: int) -> Query:
    """The fields of Query, after its packet type.

    Raises ProtocolError for settings in the binary form of clients before 54429.
    """
    query_id = source.string(10_000)
    _skip_client_info(source, revision)
    if revision >= STRING_SETTINGS:
        settings = _read_settings(source)
    elif source.string(1000):
        raise ProtocolError("settings in the binary form of revisions before 54429")
    else:
        settings = {}
    if revision >= INTERSERVER_SECRET:
        source.string(1000)
    source.varint()  # stage: how far to execute; only distributed queries stop early
    compressed = bool(source.varint())
    sql = source.string()
    params = _read_settings(source) if revision >= PARAMETERS else {}
    return Query(
        query_id,
        sql,
        compressed,
        settings,
        {name: unquote(value) for name, (value, _) in params.items()},
    )


def _read_settings(source: Source) -> dict[str, tuple[str, int]]:
    settings = {}
    while name := source.string(10_000):
        flags = source.varint()
        settings[name] = (source.string(), flags)
    return settings


def _skip_client_info(source: Source, revision: int) -> None:
    if not source.byte():  # kind of query; 0 = no info at all
        return
    for _ in range(3):  # initial user, query id, address
        source.string(10_000)
    if revision >= QUERY_START_TIME:
        source.u64()
    if source.byte() != 1:
        raise ProtocolError("client info of another interface than TCP")
    for _ in range(3):  # os user, host, client name
        source.string(10_000)
    for _ in range(3):  # client's version, major and minor, and revision
        source.varint()
    if revision >= QUOTA_KEY:
        source.string(10_000)
    if revision >= DISTRIBUTED_DEPTH:
        source.varint()
    if revision >= VERSION_PATCH:
        source.varint()
    if revision >= OPENTELEMETRY and source.byte():
        source.skip(16 + 8)  # trace and span
        source.string(10_000)
        source.byte()
    if revision >= PARALLEL_REPLICAS:
        for _ in range(3):
            source.varint()


_ESCAPES = {"b": "\b", "f": "\f", "r": "\r", "n": "\n", "t": "\t", "0": "\0", "a": "\a", "v": "\v"}


def unquote(value: str) -> str:
    """A parameter as the client quotes it (``'it\\'s'``) -> the text that the engine parses.

    Parameters travel as dumped fields: a quoted literal whose inside is, escaped once more, the
    value in TSV form. An unquoted value is taken as it is.
    """
    if len(value) < 2 or value[0] != "'" or value[-1] != "'":
        return value
    inside, out, at = value[1:-1], [], 0
    while (slash := inside.find("\\", at)) >= 0 and slash + 1 < len(inside):
        follower = inside[slash + 1]
        out += [inside[at:slash], _ESCAPES.get(follower, follower)]
        at = slash + 2
    return "".join([*out, inside[at:]])


# --- writing -----------------------------------------------------------------------------------


def varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def string(value: str | bytes) -> bytes:
    data = value.encode("utf-8", "surrogateescape") if isinstance(value, str) else value
    return varint(len(data)) + data


def hello(revision: int, version: tuple[int, int, int], timezone: str, display_name: str) -> bytes:
    """The server's Hello, in the layout of ``revision``."""
    out = [varint(ServerPacket.HELLO), string(SERVER_NAME), varint(version[0]), varint(version[1])]
    out.append(varint(REVISION))
    if revision >= TIMEZONE:
        out.append(string(timezone))
    if revision >= DISPLAY_NAME:
        out.append(string(display_name))
    if revision >= VERSION_PATCH:
        out.append(varint(version[2]))
    return b"".join(out)


def exception(code: int, message: str) -> bytes:
    """``message`` without its ``DB::Exception:`` prefix; no stack trace, nothing nested."""
    return b"".join(
        [
            varint(ServerPacket.EXCEPTION),
            struct.pack("<i", code),
            string("DB::Exception"),
            string(f"DB::Exception: {message}"),
            string(""),
            b"\0",
        ]
    )


@dataclass
class Progress:
    """What a query has done so far: totals, of which packets carry the differences."""

    rows: int = 0
    bytes: int = 0
    total_rows: int = 0
    written_rows: int = 0
    written_bytes: int = 0

    def since(self, sent: Progress) -> Progress:
        """What is to be sent after ``sent``; never negative, since an estimate may shrink."""
        return Progress(
            max(0, self.rows - sent.rows),
            max(0, self.bytes - sent.bytes),
            max(0, self.total_rows - sent.total_rows),
            max(0, self.written_rows - sent.written_rows),
            max(0, self.written_bytes - sent.written_bytes),
        )


def progress(revision: int, step: Progress) -> bytes:
    out = [
        varint(ServerPacket.PROGRESS),
        varint(step.rows),
        varint(step.bytes),
        varint(step.total_rows),
    ]
    if revision >= WRITE_INFO:
        out += [varint(step.written_rows), varint(step.written_bytes)]
    return b"".join(out)


def profile_info(rows: int, blocks: int, size: int) -> bytes:
    """Rows, blocks and bytes of the result; whether a LIMIT cut it is not told."""
    counts = [varint(ServerPacket.PROFILE_INFO), varint(rows), varint(blocks), varint(size)]
    return b"".join([*counts, b"\0", varint(0), b"\0"])


def data(block: bytes, compressed: bool, packet: int = ServerPacket.DATA) -> bytes:
    """A block (already in the client's dialect) as a packet, for the unnamed result table."""
    return varint(packet) + string("") + (write_frames(block) if compressed else block)


PONG: Final = varint(ServerPacket.PONG)
END_OF_STREAM: Final = varint(ServerPacket.END_OF_STREAM)
