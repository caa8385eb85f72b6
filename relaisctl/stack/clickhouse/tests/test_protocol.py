"""Bytes in and out of the packets, and blocks against the engine that writes them."""

import contextlib
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relaisctl.stack.clickhouse import blocks, protocol
from relaisctl.stack.clickhouse.engine import Engine, EngineError, InsertTarget, first_word
from relaisctl.stack.clickhouse.protocol import ProtocolError, Source


@given(st.integers(0, 2**63 - 1))
def test_varint(value: int) -> None:
    source = Source.over(protocol.varint(value))
    assert source.varint() == value
    assert source.exhausted


@given(st.binary(max_size=300))
def test_frames(data: bytes) -> None:
    frames = Source.over(protocol.write_frames(data))
    got = b""
    while not frames.exhausted:
        got += protocol.read_frame(frames)
    assert got == data


def test_damaged_frames() -> None:
    frame = protocol.write_frames(b"x" * 1000)
    for at in range(len(frame)):
        damaged = bytearray(frame)
        damaged[at] ^= 0x55
        with pytest.raises(ProtocolError):
            protocol.read_frame(Source.over(damaged))


@pytest.mark.parametrize(
    ("quoted", "text"),
    [("5", "5"), ("''", ""), (r"'it\'s'", "it's"), (r"'a\\\\b\\n'", r"a\\b\n"), ("'\\", "'\\")],
)
def test_unquote(quoted: str, text: str) -> None:
    assert protocol.unquote(quoted) == text


@pytest.fixture(scope="module")
def native(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], bytes]]:
    """The engine's own blocks: SQL -> Native bytes."""
    engine = Engine(tmp_path_factory.mktemp("engine"))
    session = engine.session("", lambda _: None)
    yield lambda sql: b"".join(session.execute(sql, {}, engine.tag("")))
    session.close()
    engine.close()


EXPRESSIONS = [
    "number",
    "toString(number)",
    "repeat('ж', number % 200)",
    "toFixedString('abc', 5)",
    "toDecimal256(1, 3)",
    "toInt256(number)",
    "toIPv4('1.2.3.4')",
    "toIPv6('::1')",
    "toDate32('2026-11-23')",
    "toIntervalDay(number)",
    "NULL",
    "if(number % 2, NULL, toString(number))",
    "toLowCardinality(toString(number % 7))",
    "toLowCardinality(toNullable(toString(number % 300)))",
    "[]",
    "range(number % 5)",
    "[[toString(number)], []]",
    "[toLowCardinality(toString(number)), 'x']",
    "arrayMap(x -> (x, toString(x)), range(number % 4))",
    "map('a', toLowCardinality('b'), toString(number), 'c')",
    "CAST(map(), 'Map(String, Array(Nullable(UInt16)))')",
    "CAST((number, 'x'), 'Tuple(`a b` UInt64, c LowCardinality(String))')",
    "CAST([], 'Nested(a UInt8, b String)')",
    "CAST('a', 'Enum8(\\'a\\' = 1, \\'b,)\\' = 2)')",
    "CAST((1, 2), 'Point')",
    "CAST([[(1, 2)]], 'Polygon')",
    "true",
    "generateUUIDv4()",
    "now64(9, 'Asia/Jerusalem')",
]


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_walk_ends_where_the_block_ends(native: Callable[[str], bytes], expression: str) -> None:
    for rows in (1, 700, 70_000):
        data = native(f"SELECT {expression} AS v, 'end' AS e FROM numbers({rows})")
        parts = list(blocks.read_blocks(data))
        assert sum(part.rows for part in parts) == rows
        assert b"".join(b"".join(part.cuts) for part in parts) == data
        for part in parts:  # there and back in the client's dialect, byte by byte
            theirs = part.client_bytes(protocol.REVISION)
            arriving = iter([theirs[at : at + 1000] for at in range(0, len(theirs), 1000)])
            source = Source(lambda _, pieces=arriving: next(pieces))
            assert blocks.read_block(source, protocol.REVISION) == part
            assert source.exhausted


@pytest.mark.parametrize("spec", ["AggregateFunction(count)", "JSON", "Array(Dynamic)", "Nonsense"])
def test_types_of_unknown_length(spec: str) -> None:
    with pytest.raises(blocks.UnsupportedTypeError, match="type"):
        blocks.column(spec)


@given(st.binary(max_size=400))
def test_rubbish_is_an_error_or_a_block(data: bytes) -> None:
    for revision in (0, protocol.REVISION):
        with contextlib.suppress(ProtocolError, blocks.UnsupportedTypeError):
            blocks.read_block(Source.over(data), revision)


@pytest.mark.parametrize(
    ("sql", "table", "columns"),
    [
        ("INSERT INTO t VALUES", "t", "*"),
        ("insert into db.t(a, `b c`)values", "db.t", "a, `b c`"),
        ("/* x */ INSERT INTO TABLE `t` (* EXCEPT(a)) FORMAT Native;", "`t`", "* EXCEPT(a)"),
        ("INSERT INTO t (a) SETTINGS x = 'values (', y=2 VALUES -- end", "t", "a"),
        ("INSERT INTO FUNCTION null('a UInt8') VALUES", "null('a UInt8')", "*"),
        ("INSERT INTO t (a)", "t", "a"),
    ],
)
def test_insert_of_blocks(sql: str, table: str, columns: str) -> None:
    target = InsertTarget.parse(sql)
    assert target is not None
    assert (target.table, target.columns) == (table, columns)


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO t VALUES (1, 'values')",
        "INSERT INTO t SELECT 1",
        "INSERT INTO t (a) SETTINGS a = 1 SELECT 1",
        "INSERT INTO t WITH 1 AS x SELECT x",
        "SELECT 'INSERT INTO t VALUES'",
    ],
)
def test_other_statements(sql: str) -> None:
    assert InsertTarget.parse(sql) is None


def test_first_word() -> None:
    assert first_word("-- a\n/* b */ select 1") == "SELECT"
    assert first_word("(SELECT 1)") == "("
    assert first_word("") == first_word("/* only */") == ""


def test_positions_are_counted_without_the_tag() -> None:
    error = EngineError(62, "Syntax error: failed at position 20 (x) (line 1, col 20): x")
    assert error.without("/* 6 */ ").message == (
        "Syntax error: failed at position 12 (x) (line 1, col 12): x"
    )
