"""A real broker and a real ClickHouse for the whole session."""

import os
from collections.abc import Iterator

import pytest
from clickhouse_driver import Client

from relaisctl.stack import Broker, Stack
from services.analytics import schema
from services.analytics.tests.support import Analytics, Warehouse


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    broker = Broker(os.environ.get("RELAIS_BROKER") or Broker.AUTO)
    stack = Stack(tmp_path_factory.mktemp("stack"), broker=broker)
    try:
        stack.start(["kafka", "clickhouse"])
        yield stack
    finally:
        stack.stop()


@pytest.fixture(scope="session")
def environment(stack: Stack) -> dict[str, str]:
    return {
        "RELAIS_KAFKA": stack.addresses["kafka"],
        "RELAIS_CLICKHOUSE": stack.addresses["clickhouse"],
    }


@pytest.fixture(scope="session")
def analytics(
    environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Analytics]:
    """The loader and the live figures, running."""
    analytics = Analytics(environment, tmp_path_factory.mktemp("logs"))
    try:
        for role in ("loader", "kpi"):
            analytics.start(role, wait=False)
        for role in ("loader", "kpi"):
            analytics.wait_until_ready(role)
        yield analytics
    finally:
        analytics.stop_all()


@pytest.fixture(scope="session")
def warehouse(environment: dict[str, str]) -> Iterator[Warehouse]:
    """Tables and views without processes. Tests tell their events apart by their clients."""
    server = environment["RELAIS_CLICKHOUSE"].rpartition("/")[0]
    warehouse = Warehouse(f"{server}/views")
    schema.migrate(warehouse.url)
    yield warehouse
    with Client.from_url(f"{server}/default") as client:
        client.execute("DROP DATABASE views")
