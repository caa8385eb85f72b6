"""Inserts: what is acknowledged is there, once; what fails leaves nothing."""

import struct
import time
from collections.abc import Callable

import pytest
from clickhouse_driver import Client
from clickhouse_driver.block import RowOrientedBlock
from clickhouse_driver.errors import ServerException
from clickhouse_driver.protocol import ServerPacketTypes

from .conftest import Server

Table = Callable[..., str]


def count(client: Client, name: str) -> int:
    [(rows,)] = client.execute(f"SELECT count() FROM {name}")
    return int(rows)


def test_columns_in_the_order_of_the_insert(client: Client, table: Table) -> None:
    name = table("a UInt8, b String, `c d` UInt16 DEFAULT a + 1, e UInt8 MATERIALIZED 9")
    client.execute(f"INSERT INTO {name} (b, a) VALUES", [("x", 1)])
    client.execute(f"INSERT INTO {name} (`c d`, a) VALUES", [(7, 2)])
    client.execute(f"INSERT INTO {name} VALUES", [(3, "z", 8)])
    got = client.execute(f"SELECT a, b, `c d`, e FROM {name} ORDER BY a")
    assert got == [(1, "x", 2, 9), (2, "", 7, 9), (3, "z", 8, 9)]


def test_target_of_another_database(server: Server, table: Table) -> None:
    name = table("a UInt8")
    with server.client(database="default") as client:
        client.execute(f"INSERT INTO {server.database}.{name} (a) VALUES", [(1,)])
        client.execute(f"INSERT INTO `{server.database}`.`{name}` (`a`) VALUES", [[2]])
        assert count(client, f"{server.database}.{name}") == 2


@pytest.mark.parametrize("compression", [False, "lz4"])
def test_many_blocks_in_one_insert(server: Server, table: Table, compression: object) -> None:
    name = table("n UInt64, s String")
    rows = 25_000
    with server.client(compression=compression) as client:
        data = [list(range(rows)), [str(n) * (n % 40) for n in range(rows)]]
        done = client.execute(
            f"INSERT INTO {name} VALUES", data, columnar=True, settings={"insert_block_size": 1000}
        )
        assert done == rows
        assert client.execute(f"SELECT count(), sum(n), uniqExact(n) FROM {name}") == [
            (rows, rows * (rows - 1) // 2, rows)
        ]
        [(wrong,)] = client.execute(
            f"SELECT count() FROM {name} WHERE length(s) != length(toString(n)) * (n % 40)"
        )
        assert wrong == 0


def test_generator_and_nothing(client: Client, table: Table) -> None:
    name = table("a UInt8")
    assert client.execute(f"INSERT INTO {name} VALUES", ((n,) for n in range(5))) == 5
    assert client.execute(f"INSERT INTO {name} VALUES", []) == 0
    assert count(client, name) == 5


def test_values_in_the_text_and_select(server: Server, client: Client, table: Table) -> None:
    server.needs(20, 1, what="values in the text of an INSERT on this protocol")
    name = table("a UInt8, b String")
    client.execute(f"INSERT INTO {name} (a, b) VALUES (1, 'x'), (2, 'y)')")
    client.execute(f"INSERT INTO {name} SELECT number + 10, 'z' FROM numbers(3)")
    assert client.execute(f"SELECT * FROM {name} ORDER BY a") == [
        (1, "x"),
        (2, "y)"),
        (10, "z"),
        (11, "z"),
        (12, "z"),
    ]


def test_errors_of_an_insert(client: Client, table: Table) -> None:
    name = table("a UInt8")
    for sql, code in (
        (f"INSERT INTO {name} (nope) VALUES", 16),
        ("INSERT INTO no_such_table (a) VALUES", 60),
    ):
        with pytest.raises(ServerException) as error:
            client.execute(sql, [(1,)])
        assert error.value.code == code
    assert count(client, name) == 0


def test_block_that_the_table_refuses(server: Server, client: Client, table: Table) -> None:
    """The error comes in the middle of the data; nothing is stored; the connection goes on."""
    server.needs(19, 14, what="constraints")
    name = table("a UInt8, CONSTRAINT small CHECK a < 100")
    data = [[n % 200 for n in range(1000)]]
    with pytest.raises(ServerException) as error:
        client.execute(
            f"INSERT INTO {name} VALUES", data, columnar=True, settings={"insert_block_size": 10}
        )
    assert error.value.code == 469  # VIOLATED_CONSTRAINT
    assert count(client, name) == 0
    client.execute(f"INSERT INTO {name} VALUES", [(1,)])
    assert count(client, name) == 1


def test_connection_goes_on_after_a_failed_insert(server: Server, table: Table) -> None:
    """On the wire itself, with a client that has sent all its blocks before it reads."""
    server.needs(19, 14, what="constraints")
    name = table("a UInt8, CONSTRAINT small CHECK a < 100")
    with server.client() as client:
        client.execute("SELECT 1")
        wire = client.connection
        wire.send_query(f"INSERT INTO {name} VALUES")
        wire.send_external_tables(None)
        client.receive_sample_block()
        for value in (1, 200, 2, 3):
            wire.send_data(RowOrientedBlock([("a", "UInt8")], [(value,)]))
        wire.send_data(RowOrientedBlock())
        packets = iter(wire.receive_packet, None)
        error = next(
            p.exception for p in packets if p.exception or p.type == ServerPacketTypes.END_OF_STREAM
        )
        assert error.code == 469
        assert wire.ping()
        wire.is_query_executing = False
        assert client.execute("SELECT 1") == [(1,)]
        assert count(client, name) == 0


def test_insert_that_its_client_leaves_stores_nothing(
    server: Server, client: Client, table: Table
) -> None:
    server.needs(20, 1, what="cancelling an INSERT whose client has left")
    name = table("a UInt64")
    for cut in (False, True):
        leaver = server.client()
        leaver.execute("SELECT 1")
        wire = leaver.connection
        wire.send_query(f"INSERT INTO {name} VALUES")
        wire.send_external_tables(None)
        sample = leaver.receive_sample_block()
        wire.send_data(RowOrientedBlock(sample.columns_with_types, [(n,) for n in range(1000)]))
        if cut:  # in the middle of a block
            wire.fout.write(b"\x02\x00" + struct.pack("<Q", 12345))
            wire.fout.flush()
        time.sleep(0.2)
        leaver.disconnect()
    time.sleep(1)
    assert count(client, name) == 0


def test_settings_within_the_insert(server: Server, table: Table) -> None:
    server.needs(22, 8, what="SETTINGS in INSERT, deduplication tokens")
    name = table("a UInt8", "MergeTree ORDER BY a SETTINGS non_replicated_deduplication_window = 9")
    with server.client() as client:
        sql = f"INSERT INTO {name} (a) SETTINGS async_insert = 0, insert_deduplication_token = 'x'"
        for _ in range(2):
            client.execute(f"{sql} VALUES", [(1,), (2,)])
        assert count(client, name) == 2
        # The text's token lasts as long as its query.
        client.execute(f"INSERT INTO {name} (a) VALUES", [(7,)])
        assert count(client, name) == 3


@pytest.mark.parametrize(
    ("source", "view", "through", "expected"),
    [
        (0, 0, 1, (6, 6)),
        (1000, 0, 1, (4, 6)),
        (1000, 1000, 0, (4, 6)),
        (1000, 1000, 1, (4, 4)),
    ],
)
def test_deduplication_token(
    server: Server,
    client: Client,
    table: Table,
    source: int,
    view: int,
    through: int,
    expected: tuple[int, int],
) -> None:
    """Two rows, two more, and the first two again with their token: only with both windows and
    deduplication through the view does the retry count once in both tables."""
    server.needs(24, 8, what="deduplication windows of plain tables and views")
    window = "SETTINGS non_replicated_deduplication_window"
    events = table("k UInt8, n UInt32", f"MergeTree ORDER BY k {window} = {source}")
    kpis = table(
        "k UInt8, calls AggregateFunction(count)",
        f"AggregatingMergeTree ORDER BY k {window} = {view}",
    )
    client.execute(
        f"CREATE MATERIALIZED VIEW mv_{events} TO {kpis} AS"
        f" SELECT k, countState() AS calls FROM {events} GROUP BY k"
    )
    for token, numbers in (("a", [1, 2]), ("b", [3, 4]), ("a", [1, 2])):
        client.execute(
            f"INSERT INTO {events} (k, n) VALUES",
            [[1, 1], numbers],
            columnar=True,
            settings={
                "async_insert": 0,
                "insert_deduplicate": 1,
                "insert_deduplication_token": f"{events}-{token}",
                "deduplicate_blocks_in_dependent_materialized_views": through,
            },
        )
    [(calls,)] = client.execute(f"SELECT countMerge(calls) FROM {kpis}")
    assert (count(client, events), calls) == expected
    client.execute(f"DROP TABLE mv_{events}")


def test_token_covers_all_blocks_of_an_insert(server: Server, table: Table) -> None:
    server.needs(24, 8, what="deduplication windows of plain tables and views")
    name = table(
        "n UInt32", "MergeTree ORDER BY n SETTINGS non_replicated_deduplication_window = 9"
    )
    with server.client() as client:
        for _ in range(2):
            client.execute(
                f"INSERT INTO {name} VALUES",
                [list(range(1000))],
                columnar=True,
                settings={
                    "insert_block_size": 100,
                    "insert_deduplication_token": "all",
                },
            )
        assert client.execute(f"SELECT count(), uniqExact(n) FROM {name}") == [(1000, 1000)]
