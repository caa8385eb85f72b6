"""Queries: parameters, settings, errors, progress, sizes, stopping, several at once."""

import datetime as dt
import itertools
import time
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import pytest
from clickhouse_driver import Client
from clickhouse_driver.errors import ServerException

from .conftest import Server

BLOCK = 65536  # a server may read the last block whole
ENDLESS = "SELECT count() FROM numbers(1000000000000) WHERE sipHash64(number) % 7 = 1"


def running(client: Client, mark: str) -> int:
    [(count,)] = client.execute(
        "SELECT count() FROM system.processes WHERE query LIKE %(mark)s"
        " AND query NOT LIKE '%%system.processes%%'",
        {"mark": f"%{mark}%"},
    )
    return int(count)


def wait_until(client: Client, mark: str, count: int, seconds: float) -> float:
    """Seconds until so many queries with the mark run; fails when it takes longer."""
    started = time.monotonic()
    while running(client, mark) != count:
        assert time.monotonic() - started < seconds, f"not {count} queries after {seconds} s"
        time.sleep(0.02)
    return time.monotonic() - started


def test_ping_and_reuse(client: Client) -> None:
    assert client.execute("SELECT 1") == [(1,)]
    assert client.connection.ping()
    assert client.execute("SELECT 1;") == [(1,)]


def test_parameters_substituted_by_the_client(client: Client) -> None:
    values = {"s": "it's \\ \n\t %", "n": 5, "d": dt.date(2026, 11, 23), "a": ["x", "y'z"]}
    sql = "SELECT %(s)s, %(n)s, toDate(%(d)s), %(a)s"
    assert client.execute(sql, values) == [tuple(values.values())]


def test_parameters_substituted_by_the_server(server: Server) -> None:
    server.needs(22, 8, what="{name:Type} parameters")
    values = {
        "s": "it's \\ \n\t {x} 100%",
        "n": 2**64 - 1,
        "d": dt.date(2026, 11, 23),
        "a": ["x", "y'z", "\\", "tab\t"],
        "t": "numbers",
    }
    sql = (
        "SELECT {s:String}, {n:UInt64}, {d:Date}, {a:Array(String)},"
        " (SELECT count() FROM system.tables WHERE name = {t:String} AND database = 'system')"
    )
    with server.client(settings={"server_side_params": True}) as client:
        assert client.execute(sql, values) == [(*list(values.values())[:4], 1)]
        with pytest.raises(ServerException) as missing:
            client.execute("SELECT {other:String}", {"s": "x"})
        assert missing.value.code == 456  # UNKNOWN_QUERY_PARAMETER
        with pytest.raises(ServerException):
            client.execute("SELECT {s:UInt8}", {"s": "not a number"})


@pytest.mark.parametrize(
    ("sql", "code", "name"),
    [
        ("SELECT * FROM no_such_table", 60, "UNKNOWN_TABLE"),
        ("SELECT no_such_column FROM system.one", 47, "UNKNOWN_IDENTIFIER"),
        ("SELECT FROM WHERE", 62, "SYNTAX_ERROR"),
        ("SELECT no_such_function(1)", 46, "UNKNOWN_FUNCTION"),
        ("SELECT 1 FROM no_such_database.t", 81, "UNKNOWN_DATABASE"),
        ("INSERT INTO no_such_table VALUES", 60, "UNKNOWN_TABLE"),
        ("SELECT throwIf(number = 300000) FROM numbers(1000000)", 395, "FUNCTION_THROW_IF"),
        ("SELECT 1; SELECT 2", 62, "SYNTAX_ERROR"),
    ],
)
def test_errors_have_codes(server: Server, sql: str, code: int, name: str) -> None:
    with server.client() as client:
        with pytest.raises(ServerException) as error:
            client.execute(sql, [(1,)] if sql.startswith("INSERT") else None)
        assert error.value.code == code
        if server.version >= (20, 11, 0):  # older ones do not name it
            assert name in error.value.message
        assert client.execute("SELECT 1") == [(1,)]


def test_error_leaves_the_connection_usable(server: Server) -> None:
    """On the wire itself: the driver reconnects after an error, other clients do not."""
    with server.client() as client:
        client.execute("SELECT 1")
        connection = client.connection
        for _ in range(3):
            connection.send_query("SELECT * FROM no_such_table")
            connection.send_external_tables(None)
            assert connection.receive_packet().exception.code == 60
            assert connection.ping()


def test_settings_last_one_query(server: Server) -> None:
    sql = "SELECT name, value FROM system.settings WHERE name IN ('max_block_size', 'log_comment')"
    with server.client() as first, server.client() as second:
        before = dict(first.execute(sql))
        changed = dict(first.execute(sql, settings={"max_block_size": 777}))
        assert changed["max_block_size"] == "777"
        assert dict(first.execute(sql)) == before
        assert dict(second.execute(sql)) == before
        first.execute("SET max_block_size = 555")
        assert dict(first.execute(sql))["max_block_size"] == "555"
        assert dict(first.execute(sql, settings={"max_block_size": 777}))["max_block_size"] == "777"
        assert dict(first.execute(sql))["max_block_size"] == "555"
        assert dict(second.execute(sql)) == before


def test_readonly_query_does_not_make_the_session_readonly(server: Server) -> None:
    with server.client() as client:
        client.execute("SELECT 1", settings={"readonly": 1})
        client.execute("CREATE TABLE after_readonly (a UInt8) ENGINE = Memory")
        client.execute("DROP TABLE after_readonly")


def test_unknown_settings(server: Server) -> None:
    server.needs(20, 6, what="settings as strings")
    with server.client() as client:
        assert client.execute("SELECT 1", settings={"no_such_setting": 1}) == [(1,)]
    with server.client(settings_is_important=True) as client:
        with pytest.raises(ServerException) as error:
            client.execute("SELECT 1", settings={"no_such_setting": 1})
        assert error.value.code == 115


def test_a_limit_in_settings_is_an_error_of_that_query(client: Client) -> None:
    with pytest.raises(ServerException) as error:
        client.execute("SELECT number FROM numbers(100)", settings={"max_result_rows": 10})
    assert error.value.code in (396, 158)
    assert len(client.execute("SELECT number FROM numbers(100)")) == 100


def test_database_of_each_connection(server: Server) -> None:
    with server.client() as ours, server.client(database="system") as system:
        ours.execute("CREATE TABLE only_here (a UInt8) ENGINE = Memory")
        assert ours.execute("SELECT currentDatabase()") == [(server.database,)]
        assert system.execute("SELECT currentDatabase()") == [("system",)]
        assert ours.execute("SELECT count() FROM only_here") == [(0,)]
        with pytest.raises(ServerException):
            system.execute("SELECT count() FROM only_here")
        system.execute(f"USE {server.database}")
        assert system.execute("SELECT count() FROM only_here") == [(0,)]
        ours.execute("DROP TABLE only_here")


def test_unknown_database_is_refused(server: Server) -> None:
    with server.client(database="no_such_database") as client:
        with pytest.raises(ServerException) as error:
            client.execute("SELECT 1")
        assert error.value.code == 81


def test_wrong_user_and_password_are_refused(server: Server) -> None:
    for options in ({"user": "nobody"}, {"password": "wrong"}):
        with server.client(**options) as client:
            with pytest.raises(ServerException) as error:
                client.execute("SELECT 1")
            assert error.value.code in (516, 192, 193)  # before 20.x: one code for each reason


def test_result_without_rows_has_columns(client: Client) -> None:
    sql = "SELECT toUInt8(1) AS a, ['x'] AS b WHERE 0"
    assert client.execute(sql, with_column_types=True) == (
        [],
        [("a", "UInt8"), ("b", "Array(String)")],
    )
    _, columns = client.execute("SHOW TABLES LIKE 'no such table'", with_column_types=True)
    assert [name for name, _ in columns] == ["name"]
    assert client.execute("CREATE TABLE IF NOT EXISTS x (a UInt8) ENGINE = Memory") == []
    assert client.execute("DROP TABLE x") == []


def test_zones_of_times(server: Server, client: Client) -> None:
    sql = "SELECT toDateTime(0, 'UTC') AS a, toDateTime(%(n)s, 'Asia/Jerusalem') AS b"
    [row], columns = client.execute(sql, {"n": 3600}, with_column_types=True)
    assert columns == [("a", "DateTime('UTC')"), ("b", "DateTime('Asia/Jerusalem')")]
    assert [at.isoformat() for at in row] == [
        "1970-01-01T00:00:00+00:00",
        "1970-01-01T03:00:00+02:00",
    ]


@pytest.mark.parametrize("compression", [False, "lz4"])
def test_large_result_comes_in_blocks(server: Server, compression: object) -> None:
    with server.client(compression=compression) as client:
        rows = client.execute_iter("SELECT number, toString(number) FROM numbers(1000000)")
        total = 0
        for number, text in rows:
            assert text == str(number)
            total += number
        assert total == sum(range(1_000_000))


def test_first_rows_come_before_the_last_are_known(client: Client) -> None:
    started = time.monotonic()
    rows = client.execute_iter("SELECT number FROM numbers(1000000000000)")
    assert list(itertools.islice(rows, 3)) == [(0,), (1,), (2,)]
    assert time.monotonic() - started < 10
    client.disconnect()


def test_progress_and_profile(client: Client) -> None:
    sql = "SELECT count() FROM numbers(60000000) WHERE sipHash64(number) % 7 = 1"
    progress = client.execute_with_progress(sql)
    steps = [rows for rows, _ in progress]
    [(count,)] = progress.get_result()
    assert 0 < count < 60_000_000
    assert len(steps) > 2
    assert steps == sorted(steps)
    assert 60_000_000 <= steps[-1] < 60_000_000 + BLOCK
    assert client.last_query.progress.rows == steps[-1]
    assert client.last_query.progress.bytes > 0
    assert client.last_query.profile_info.rows == 1
    client.execute("SELECT number FROM numbers(1000)")
    assert client.last_query.progress.rows == 1000
    assert client.last_query.profile_info.rows == 1000


def test_disconnection_stops_the_query(server: Server, client: Client) -> None:
    server.needs(20, 1, what="noticing that a waiting client has left")
    mark = uuid4().hex
    leaver = server.client()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(leaver.execute, f"{ENDLESS} AND '{mark}' != ''")
        wait_until(client, mark, 1, 10)
        leaver.connection.socket.shutdown(2)
        assert wait_until(client, mark, 0, 2.5) < 2.5
        with pytest.raises(Exception):  # noqa: B017, PT011  (EOF or a socket's error)
            waiting.result(10)


def test_leaving_at_once_stops_the_query(server: Server, client: Client) -> None:
    """The client is gone before the server has begun."""
    server.needs(20, 1, what="noticing that a waiting client has left")
    mark = uuid4().hex
    leaver = server.client()
    leaver.execute("SELECT 1")
    leaver.connection.send_query(f"{ENDLESS} AND '{mark}' != ''")
    leaver.connection.send_external_tables(None)
    leaver.disconnect()
    time.sleep(1)
    wait_until(client, mark, 0, 2)


def test_cancel_packet_stops_the_query(server: Server, client: Client) -> None:
    mark = uuid4().hex
    with server.client() as canceller:
        progress = canceller.execute_with_progress(f"{ENDLESS} AND '{mark}' != ''")
        next(progress)
        assert running(client, mark) == 1
        started = time.monotonic()
        canceller.cancel()  # reads up to EndOfStream
        assert time.monotonic() - started < 2.5
        wait_until(client, mark, 0, 2)
        canceller.connection.is_query_executing = False
        assert canceller.connection.ping()


def test_cancel_of_a_stream_stops_it(server: Server, client: Client) -> None:
    mark = uuid4().hex
    with server.client() as canceller:
        rows = canceller.execute_iter(
            f"SELECT number FROM numbers(1000000000000) WHERE '{mark}' != ''"
        )
        next(rows)
        assert running(client, mark) == 1
        canceller.disconnect()
        wait_until(client, mark, 0, 2.5)


def test_kill_by_the_clients_query_id(server: Server, client: Client) -> None:
    query_id = f"wire-{uuid4().hex}"
    with server.client() as other, ThreadPoolExecutor(1) as pool:
        killed = pool.submit(other.execute, ENDLESS, query_id=query_id)
        time.sleep(0.5)
        client.execute(f"KILL QUERY WHERE query_id = '{query_id}' SYNC")
        with pytest.raises(ServerException) as error:
            killed.result(5)
        assert error.value.code == 394


def test_time_limit(client: Client) -> None:
    with pytest.raises(ServerException) as error:
        client.execute(ENDLESS, settings={"max_execution_time": 1})
    assert error.value.code == 159


def test_external_table(client: Client) -> None:
    tables = [
        {
            "name": "wanted",
            "structure": [("id", "UInt32"), ("label", "String")],
            "data": [{"id": 3, "label": "three"}, {"id": 5, "label": "five"}],
        }
    ]
    sql = "SELECT id, label FROM wanted WHERE id IN (SELECT toUInt32(5)) OR id < 4 ORDER BY id"
    for _ in range(2):  # it is gone after the query
        got = client.execute(sql, external_tables=tables)
        assert got == [(3, "three"), (5, "five")]
    with pytest.raises(ServerException):
        client.execute("SELECT * FROM wanted")


def test_eight_clients_at_once(server: Server) -> None:
    def work(number: int) -> None:
        with server.client() as client:
            for step in range(15):
                limit = 1000 * (number + 1) + step
                got = client.execute(
                    "SELECT sum(number), uniqExact(number), %(n)s FROM numbers(%(limit)s)",
                    {"n": number, "limit": limit},
                    settings={"max_block_size": 1000 + number},
                )
                assert got == [(limit * (limit - 1) // 2, limit, number)]

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))


def test_short_query_does_not_wait_for_a_long_one(server: Server, client: Client) -> None:
    mark = uuid4().hex
    with server.client() as slow, ThreadPoolExecutor(1) as pool:
        pool.submit(slow.execute, f"{ENDLESS} AND '{mark}' != ''")
        wait_until(client, mark, 1, 10)
        started = time.monotonic()
        client.execute("SELECT 1")
        client.execute("CREATE TABLE meanwhile (a UInt8) ENGINE = MergeTree ORDER BY a")
        client.execute("INSERT INTO meanwhile VALUES", [(1,), (2,)])
        assert client.execute("SELECT count() FROM meanwhile") == [(2,)]
        assert time.monotonic() - started < 2
        assert running(client, mark) == 1
        client.execute("DROP TABLE meanwhile")
        slow.connection.socket.shutdown(2)
