"""Migrations, and inserts that are repeated, on a real ClickHouse."""

import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from clickhouse_driver import Client
from clickhouse_driver.errors import ServerException

from eventkit.records import Batch
from services.analytics import schema
from services.analytics.loader import Loader
from services.analytics.store import Store
from services.analytics.tests.events import Told, call, call_stream, record, values
from services.analytics.tests.support import ROOT, Registered


@pytest.fixture
def database(environment: dict[str, str], request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of a database that does not exist yet."""
    name = f"test_{abs(hash(request.node.name))}"
    url = environment["RELAIS_CLICKHOUSE"].rpartition("/")[0]
    yield f"{url}/{name}"
    with Client.from_url(f"{url}/default") as client:
        client.execute(f"DROP DATABASE IF EXISTS {name}")


@pytest.fixture
async def store(database: str) -> AsyncIterator[Store]:
    store = Store(database)
    await store.migrate()
    yield store
    store.close()


def ask(database: str, sql: str) -> Any:
    with Client.from_url(database) as client:
        return client.execute(sql)


def batch(messages: list[bytes], first: int, end: int) -> Batch:
    records = [record("call-events", messages[offset], offset) for offset in range(first, end)]
    return Batch("call-events", 0, first, end, records)


FIGURES = """
SELECT * FROM kpi(client='acme', from_date='2026-01-01', to_date='2027-01-01', sl_seconds=20)
"""


async def test_copies_change_nothing(store: Store, database: str) -> None:
    messages = [
        value
        for number in range(200)
        for value in values(call("acme", f"c{number}", wait=number % 40))
    ]
    loader = Loader(store, Registered("acme"))  # type: ignore[arg-type]
    assert await loader(batch(messages, 0, 500)) == []
    assert await loader(batch(messages, 500, 800)) == []
    whole = ask(database, FIGURES)
    assert whole[0][:3] == (200, 200, 0)

    # The same batches, as after a crash: their tokens are known.
    await loader(batch(messages, 0, 500))
    await loader(batch(messages, 500, 800))
    assert ask(database, "SELECT count() FROM call_events") == [(800,)]
    # Other batches of the same records, as from a broker that forgets where a batch ends, and the
    # same events at other offsets, as from a file that is replayed.
    await loader(batch(messages, 100, 600))
    await loader(batch(messages * 2, 800, 1600))
    assert ask(database, "SELECT count() FROM call_events FINAL") == [(800,)]
    assert ask(database, FIGURES) == whole
    assert ask(database, "SELECT count() FROM calls") == [(200,)]


async def test_an_insert_that_was_cut_off_is_completed(store: Store, database: str) -> None:
    """A server that dies between a table and what is derived from it: the repeat adds the rest."""
    view = ask(database, "SHOW CREATE TABLE call_facts_from_events")[0][0]
    ask(database, "DROP TABLE call_facts_from_events")
    messages = values(call("acme", "c1"))
    loader = Loader(store, Registered("acme"))  # type: ignore[arg-type]
    await loader(batch(messages, 0, 4))
    assert ask(database, "SELECT count() FROM calls") == [(0,)]
    ask(database, view)
    await loader(batch(messages, 0, 4))
    assert ask(database, "SELECT count() FROM call_events") == [(4,)]
    assert ask(database, "SELECT count() FROM calls") == [(1,)]


async def test_calls_from_before_they_were_transferred_keep_their_figures(
    database: str, tmp_path: Path
) -> None:
    """A database of version 0009 with events in it is brought up to date; so is a call in hand."""
    for path in sorted(schema.MIGRATIONS.glob("*.sql"))[:9]:
        (tmp_path / path.name).write_text(path.read_text())
    assert schema.migrate(database, tmp_path)[-1] == "0009_orders.sql"
    messages = [
        value
        for number in range(40)
        for value in values(
            call("acme", f"c{number}", wait=number, talk=60 if number % 4 else None, wrap_up=5)
        )
    ]
    rest = call_stream("acme", "c39", *TRANSFERRED)[5:]
    store = Store(database)
    loader = Loader(store, Registered("acme"))  # type: ignore[arg-type]
    # Columns that only later versions have are not sent while nothing is in them.
    assert await loader(batch(messages, 0, len(messages))) == []
    [before] = ask(database, FIGURES)
    assert before[:3] == (40, 30, 10)

    await store.migrate()
    [after] = ask(database, FIGURES)
    assert after[: len(before)] == before
    await loader(batch(messages + values(rest), len(messages), len(messages) + len(rest)))
    store.close()
    assert ask(database, FIGURES)[0][:6] == before[:6]
    assert ask(
        database,
        "SELECT agent_id, queue_id, waited_s, talked_s, wrap_up_s, transfers, last_agent_id"
        " FROM calls WHERE call_id = 'c39'",
    ) == [("ann", "sales", 39.0, 90.0, 12.0, 1, "bob")]


TRANSFERRED: list[Told] = [
    *[(0, "requeued", {})] * 5,
    (110, "transferred", {"agent_id": "ann", "from_queue_id": "sales", "queue_id": "care"}),
    (120, "connected", {"agent_id": "bob", "queue_id": "care", "waited": "10s"}),
    (150, "ended", {"agent_id": "bob", "queue_id": "care", "talked": "90s"}),
    (157, "wrapped_up", {"agent_id": "bob", "wrap_up": "7s"}),
]


async def test_strangers_cost_one_look_a_batch(store: Store, database: str) -> None:
    messages = values([event for number in range(50) for event in call(f"x{number}", "c")])
    clients = Registered("acme")
    bad = await Loader(store, clients)(batch(messages, 0, 200))  # type: ignore[arg-type]
    assert len(bad) == 200
    assert clients.refreshed == 1
    assert ask(database, "SELECT count() FROM call_events") == [(0,)]


async def test_what_no_patience_changes_is_raised(store: Store) -> None:
    with pytest.raises(ServerException, match="no_such_column"):
        await store.insert("call_events", {"no_such_column": [1]})


def test_processes_that_start_at_once_migrate_once(database: str) -> None:
    program = f"from services.analytics import schema; schema.migrate({database!r})"
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'proto'}"}
    started = [
        subprocess.Popen([sys.executable, "-c", program], env=environment, cwd=ROOT)
        for _ in range(3)
    ]
    assert [process.wait(60) for process in started] == [0, 0, 0]
    names = [path.name for path in sorted(schema.MIGRATIONS.glob("*.sql"))]
    assert ask(database, "SELECT name FROM schema_migrations FINAL ORDER BY name") == [
        (name,) for name in names
    ]
    assert schema.migrate(database) == []


def test_an_applied_file_is_never_edited(database: str, tmp_path: Path) -> None:
    script = tmp_path / "0001_it.sql"
    script.write_text("-- why\nCREATE TABLE IF NOT EXISTS it (a Int8) ENGINE = Memory;\n")
    assert schema.migrate(database, tmp_path) == ["0001_it.sql"]
    script.write_text("CREATE TABLE IF NOT EXISTS it (a Int16) ENGINE = Memory;\n")
    with pytest.raises(schema.MigrationChanged, match="0001_it"):
        schema.migrate(database, tmp_path)


def test_statements_end_with_a_semicolon_at_a_lines_end() -> None:
    script = "-- a; comment\nSELECT ';' AS a\n  , 2;\n\nSELECT 3;"
    assert list(schema.statements(script)) == ["SELECT ';' AS a\n  , 2", "SELECT 3"]
