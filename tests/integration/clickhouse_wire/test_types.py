"""Values of every type that our schema uses go in and come back, in rows and in columns."""

import datetime as dt
from collections.abc import Callable
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from .conftest import Server

UTC = dt.UTC
LONG = "ж" * 5000
ID = [UUID(int=0), UUID("0190163d-8694-739b-aea5-966c26f8ad91"), UUID(int=2**128 - 1)]
INSTANTS = [
    dt.datetime(1970, 1, 1, tzinfo=UTC),
    dt.datetime(2026, 11, 23, 20, 14, 5, 123456, tzinfo=UTC),
    dt.datetime(2105, 12, 31, 23, 59, 59, tzinfo=UTC),
]

# type, values, the first version that has it
TYPES: list[tuple[str, list[Any], tuple[int, int]]] = [
    ("UUID", ID, (1, 1)),
    ("String", ["", "it's\n\\ ж", LONG], (1, 1)),
    ("FixedString(3)", ["abc", "xyz", "äb"], (1, 1)),
    ("UInt8", [0, 1, 2**8 - 1], (1, 1)),
    ("UInt16", [0, 1, 2**16 - 1], (1, 1)),
    ("UInt32", [0, 1, 2**32 - 1], (1, 1)),
    ("UInt64", [0, 1, 2**64 - 1], (1, 1)),
    ("Int8", [-(2**7), 0, 2**7 - 1], (1, 1)),
    ("Int64", [-(2**63), 0, 2**63 - 1], (1, 1)),
    ("Float64", [-0.5, 0.0, 1e300], (1, 1)),
    ("Date", [dt.date(1970, 1, 1), dt.date(2026, 11, 23), dt.date(2105, 12, 31)], (1, 1)),
    ("DateTime('UTC')", [at.replace(microsecond=0) for at in INSTANTS], (1, 1)),
    ("Enum8('voice' = 1, 'chat, (or) it\\'s' = -2)", ["voice", "chat, (or) it's"], (1, 1)),
    ("Enum16('a' = 1000, 'b' = -1000)", ["a", "b"], (1, 1)),
    ("Nullable(UInt32)", [None, 0, 7], (1, 1)),
    ("Nullable(String)", [None, "", "x" * 300], (1, 1)),
    ("Array(String)", [[], ["sales"], ["", "voice", LONG]], (1, 1)),
    ("Array(UInt8)", [[], [1], [1, 2, 3]], (1, 1)),
    ("Array(Array(Nullable(String)))", [[], [[]], [["a", None], [], ["b" * 200]]], (1, 1)),
    ("Tuple(UInt8, String)", [(1, "a"), (2, ""), (3, "c" * 130)], (1, 1)),
    ("Decimal(9, 2)", [Decimal("-1.50"), Decimal("0.00"), Decimal("9999999.99")], (18, 12)),
    ("Decimal(38, 6)", [Decimal("-1.500000"), Decimal("123456789012345678.000001")], (18, 12)),
    ("LowCardinality(String)", ["a", "", "a", "b" * 200], (19, 0)),
    ("LowCardinality(Nullable(String))", [None, "a", None, ""], (19, 0)),
    ("Array(LowCardinality(String))", [["a", "b"], [], ["a"]], (19, 0)),
    ("Tuple(code LowCardinality(String), n UInt8)", [("a", 1), ("b", 2)], (20, 1)),
    ("DateTime64(6, 'UTC')", INSTANTS, (20, 1)),
    ("DateTime64(3, 'Asia/Jerusalem')", [at.replace(microsecond=0) for at in INSTANTS], (20, 1)),
    ("Map(String, UInt8)", [{}, {"a": 1}, {"a": 1, "b": 2}], (21, 1)),
    ("Map(LowCardinality(String), String)", [{}, {"a": "x"}, {"a": "", "b": LONG}], (21, 1)),
    ("Map(String, Array(Decimal(9, 2)))", [{}, {"a": [Decimal("1.00")]}], (21, 1)),
    ("Bool", [True, False], (21, 12)),
]


@pytest.mark.parametrize("compression", [False, "lz4"])
@pytest.mark.parametrize("columnar", [False, True])
@pytest.mark.parametrize(("spec", "values", "since"), TYPES, ids=[t[0] for t in TYPES])
def test_round_trip(
    server: Server,
    table: Callable[..., str],
    spec: str,
    values: list[Any],
    since: tuple[int, int],
    columnar: bool,
    compression: Any,
) -> None:
    server.needs(*since, what=spec)
    name = table(f"n UInt32, v {spec}, after String", "Memory")
    with server.client(compression=compression) as client:
        numbers, tail = list(range(len(values))), ["tail"] * len(values)
        rows = list(zip(numbers, values, tail, strict=True))
        data: Any = [numbers, list(values), tail] if columnar else rows
        assert client.execute(f"INSERT INTO {name} VALUES", data, columnar=columnar) == len(values)
        got = client.execute(f"SELECT * FROM {name} ORDER BY n")
        assert [tuple(row) for row in got] == rows
        _, columns = client.execute(f"SELECT v FROM {name} WHERE n > 99", with_column_types=True)
        assert columns[0][0] == "v"


def test_all_types_in_one_wide_block(server: Server, table: Callable[..., str]) -> None:
    usable = [t for t in TYPES if t[2] <= server.version[:2]]
    names = [f"c{number}" for number in range(len(usable))]
    pairs = zip(names, usable, strict=True)
    name = table(", ".join(f"{column} {spec}" for column, (spec, _, _) in pairs), "Memory")
    rows = 3000
    data = [[values[i % len(values)] for i in range(rows)] for _, values, _ in usable]
    with server.client() as client:
        client.execute(f"INSERT INTO {name} VALUES", [list(c) for c in data], columnar=True)
        got = client.execute(f"SELECT * FROM {name}", columnar=True)
    assert [list(column) for column in got] == data


def test_times_as_numbers_and_ids_as_text(server: Server, table: Callable[..., str]) -> None:
    """The cheap way to insert: no datetime and no UUID objects."""
    server.needs(20, 1, what="DateTime64")
    name = table("id UUID, at DateTime64(6, 'UTC')")
    with server.client() as client:
        data = [[str(ID[1])], [1_763_928_845_123_456]]
        client.execute(f"INSERT INTO {name} VALUES", data, columnar=True)
        at = dt.datetime(2025, 11, 23, 20, 14, 5, 123456, tzinfo=UTC)
        assert client.execute(f"SELECT * FROM {name}") == [(ID[1], at)]
