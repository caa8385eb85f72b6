"""The process: rubbish on its port, passwords, signals, and what SIGKILL leaves."""

import contextlib
import random
import signal
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from clickhouse_driver.errors import Error, ServerException

from relaisctl.stack.clickhouse.tests.conftest import Process

Start = Callable[..., Process]
HELLO = b"\x00\x04test\x01\x01\xbb\xa9\x03\x00\x07default\x00"  # revision 54459


def talk(port: int, data: bytes, seconds: float = 5) -> bytes:
    """Sends rubbish, returns what comes back until the server closes."""
    with socket.create_connection(("127.0.0.1", port), timeout=seconds) as sock:
        try:
            sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)
            answer = b""
            while piece := sock.recv(1 << 16):
                answer += piece
        except OSError:  # closed before it has read all
            return b""
        return answer


def test_rubbish_stops_nothing(start: Start) -> None:
    process = start()
    noise = random.Random(7)
    client = process.client()
    assert client.execute("SELECT 1") == [(1,)]
    for data in (
        b"",
        b"\x00",
        noise.randbytes(100),
        b"\xff" * 1000,
        noise.randbytes(5 << 20),
        b"\x00" + noise.randbytes(5 << 20),
        HELLO[:7],
        HELLO + b"\x00" + noise.randbytes(10_000),
        HELLO + b"\x00\x63",  # an unknown packet
        HELLO + b"\x00\x02\x00" + b"\xff" * 20,  # data without a query
        HELLO + b"\x00\x01" + b"\xff\xff\xff\xff\x0f",  # a query with a huge id
        HELLO + b"\x00\x01\x00\x00\x00" + b"\x00\x02\x00\x08SELECT 1\x00" + noise.randbytes(500),
        HELLO + b"\x00\x01\x00\x00\x00" + b"\x00\x02\x00\x03\xff\xfe\xfd\x00\x02\x00" + b"\0" * 11,
    ):
        talk(process.port, data)
    assert talk(process.port, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").startswith(b"HTTP/1.0 400")
    assert b"Exception" in talk(process.port, HELLO + b"\x00\x63")
    assert client.execute("SELECT 1") == [(1,)]
    assert process.popen.poll() is None
    log = process.log.read_text()
    assert "not Hello" in log
    assert "HTTP" in log
    assert "Traceback" not in log


def test_rubbish_within_an_insert(start: Start) -> None:
    process = start()
    good = process.client()
    good.execute("CREATE TABLE t (a UInt8, s String) ENGINE = MergeTree ORDER BY a")
    noise = random.Random(8)
    for compression in (False, "lz4"):
        for _ in range(10):
            bad = process.client(compression=compression)
            bad.execute("SELECT 1")
            bad.connection.send_query("INSERT INTO t VALUES")
            bad.connection.send_external_tables(None)
            bad.receive_sample_block()
            bad.connection.fout.write(b"\x02\x00" + noise.randbytes(noise.randrange(1, 3000)))
            bad.connection.fout.flush()
            bad.connection.socket.shutdown(socket.SHUT_WR)
            bad.disconnect()
    time.sleep(0.3)
    assert good.execute("SELECT count() FROM t") == [(0,)]
    assert "Traceback" not in process.log.read_text()


def test_password(start: Start) -> None:
    process = start("--password", "sésame")
    assert process.client(password="sésame").execute("SELECT 1") == [(1,)]
    for options in ({}, {"password": "wrong"}, {"user": "nobody", "password": "sésame"}):
        with pytest.raises(ServerException) as error:
            process.client(**options).execute("SELECT 1")
        assert error.value.code == 516


def test_half_a_hello_is_closed(start: Start) -> None:
    process = start()
    with socket.create_connection(("127.0.0.1", process.port), timeout=20) as sock:
        sock.sendall(HELLO[:7])
        started = time.monotonic()
        while sock.recv(1000):  # an exception, then the end
            pass
        assert time.monotonic() - started < 15
    assert process.client().execute("SELECT 1") == [(1,)]


def ask_for_ever(process: Process) -> None:
    with contextlib.suppress(Error, EOFError, OSError):
        process.client().execute(
            "SELECT count() FROM numbers(1000000000000) WHERE sipHash64(number) = 1"
        )


def test_sigterm_ends_queries_and_keeps_data(start: Start) -> None:
    process = start()
    client = process.client()
    client.execute("CREATE DATABASE relais")
    client.execute("CREATE TABLE relais.t (a UInt32) ENGINE = MergeTree ORDER BY a")
    client.execute("INSERT INTO relais.t VALUES", [(1,), (2,)])
    endless = threading.Thread(target=ask_for_ever, args=(process,))
    endless.start()
    time.sleep(0.5)
    started = time.monotonic()
    assert process.kill(signal.SIGTERM) == 0
    assert time.monotonic() - started < 10
    endless.join(10)
    again = start()
    assert again.client(database="relais").execute("SELECT sum(a) FROM t") == [(3,)]
    assert again.kill(signal.SIGINT) == 0


def test_folder_of_another_process(start: Start) -> None:
    start()
    second = start()
    assert second.port == 0
    assert second.popen.wait(20) == 1
    assert "in use" in second.log.read_text().splitlines()[-1]


def test_folder_with_an_odd_name(tmp_path: Path) -> None:
    folder = tmp_path / "a b&c=d%20ж"
    process = Process(folder)
    try:
        process.client().execute("CREATE TABLE t (a UInt8) ENGINE = MergeTree ORDER BY a")
        assert (folder / "store").exists()
    finally:
        process.kill()
    refused = Process(tmp_path / "really?")
    assert refused.popen.wait(20) == 1
    assert "question mark" in refused.log.read_text()


def test_sigkill_loses_no_acknowledged_insert(start: Start) -> None:
    """Several rounds: inserts by two clients until SIGKILL; then every acknowledged batch is
    there whole, and of the others none or all. A retry with its token counts once."""
    size = 500
    acknowledged: set[int] = set()
    tried: set[int] = set()
    process = start()
    setup = process.client()
    setup.execute(
        "CREATE TABLE calls (batch UInt32, n UInt32, s String, at DateTime64(6, 'UTC'))"
        " ENGINE = MergeTree ORDER BY batch SETTINGS non_replicated_deduplication_window = 1000"
    )
    setup.execute(
        "CREATE TABLE views (batch UInt32, n AggregateFunction(count)) ENGINE ="
        " AggregatingMergeTree ORDER BY batch"
        " SETTINGS non_replicated_deduplication_window = 1000"
    )
    setup.execute(
        "CREATE MATERIALIZED VIEW mv TO views AS"
        " SELECT batch, countState() AS n FROM calls GROUP BY batch"
    )
    process.kill()

    def insert(client: object, batch: int) -> None:
        rows = [
            [batch] * size,
            list(range(size)),
            ["x" * (n % 50) for n in range(size)],
            [1_763_928_845_000_000] * size,
        ]
        client.execute(  # type: ignore[attr-defined]
            "INSERT INTO calls (batch, n, s, at) VALUES",
            rows,
            columnar=True,
            settings={"insert_deduplication_token": f"batch {batch}", "insert_block_size": 200},
        )

    def work(process: Process, batches: range) -> None:
        client = process.client()
        for batch in batches:
            tried.add(batch)
            try:
                insert(client, batch)
            except (Error, EOFError, OSError):
                return
            acknowledged.add(batch)

    chance = random.Random(3)
    for number in range(4):
        process = start()
        first = number * 2000
        workers = [
            threading.Thread(target=work, args=(process, range(first + k, first + 2000, 2)))
            for k in range(2)
        ]
        before = len(acknowledged)
        for worker in workers:
            worker.start()
        while len(acknowledged) < before + 20:
            time.sleep(0.01)
        time.sleep(chance.random() / 5)
        process.kill()
        for worker in workers:
            worker.join(20)

    process = start()
    client = process.client()
    found = {
        batch: (rows, sum_)
        for batch, rows, sum_ in client.execute(
            "SELECT batch, count(), sum(n) FROM calls GROUP BY batch"
        )
    }
    assert acknowledged <= found.keys()
    assert found.keys() <= tried
    assert set(found.values()) == {(size, size * (size - 1) // 2)}
    for batch in tried - acknowledged:  # as a loader does: the same batch, the same token
        insert(client, batch)
    sql = "SELECT count(), uniqExact(batch) FROM calls"
    assert client.execute(sql) == [(size * len(tried), len(tried))]
    [(views,)] = client.execute("SELECT countMerge(n) FROM views")
    assert views == size * len(tried)


def test_large_result_is_not_held_in_memory(start: Start) -> None:
    process = start()
    memory = psutil.Process(process.popen.pid).memory_info
    client = process.client()
    client.execute("SELECT number, toString(number) FROM numbers(300000)")
    before = highest = memory().rss
    rows = 0
    sql = "SELECT number, repeat('x', 100) FROM numbers(4000000)"
    connection = client.connection
    connection.send_query(sql)
    connection.send_external_tables(None)
    while connection.receive_packet().type != 5:  # EndOfStream
        rows += 1
        if rows % 20 == 0:
            highest = max(highest, memory().rss)
    assert highest - before < 200 << 20  # the result is of 430 MB
