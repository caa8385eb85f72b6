"""The three engines, in starting order."""

import sys
from functools import partial
from urllib.parse import urlsplit, urlunsplit

import clickhouse_driver

from relaisctl.stack.kafka import broker
from relaisctl.stack.postgres import postgres
from relaisctl.stack.program import Kind, Launch, Program, Say, knock
from relaisctl.stack.settings import DATABASE, HOST, ROOT, StackSettings


def engines(settings: StackSettings) -> list[Program]:
    return [postgres(settings), clickhouse(settings), broker(settings)]


def clickhouse(settings: StackSettings) -> Program:
    return Program(
        name="clickhouse",
        kind=Kind.ENGINE,
        address=settings.clickhouse
        or f"clickhouse://default:@{HOST}:{settings.ports.clickhouse}/{DATABASE}",
        ports={"RELAIS_CLICKHOUSE_PORT": settings.ports.clickhouse},
        launch=partial(_launch_clickhouse, settings),
        check=check_clickhouse,
        external=settings.clickhouse is not None,
    )


def check_clickhouse(url: str) -> None:
    """SELECT 1. Asked of the database `default`, because ours may have to be created yet."""
    parts = urlsplit(url)
    knock(parts.hostname or HOST, parts.port or 9000)
    with _clickhouse(url) as client:
        client.execute("SELECT 1")


def create_clickhouse_database(url: str) -> None:
    with _clickhouse(url) as client:
        client.execute(f"CREATE DATABASE IF NOT EXISTS {urlsplit(url).path.strip('/')}")


def _clickhouse(url: str) -> clickhouse_driver.Client:
    anywhere = urlunsplit(urlsplit(url)._replace(path="/default"))
    client = clickhouse_driver.Client.from_url(anywhere)
    client.connection.connect_timeout = client.connection.send_receive_timeout = 5
    return client


def _launch_clickhouse(settings: StackSettings, say: Say) -> Launch:
    return Launch(
        command=[
            *(sys.executable, "-m", "relaisctl.stack.clickhouse"),
            *("--host", HOST),
            *("--port", str(settings.ports.clickhouse)),
            *("--data", str(settings.home / "clickhouse")),
        ],
        env={"PYTHONPATH": str(ROOT)},
        detail="ClickHouse (chDB)",
    )
