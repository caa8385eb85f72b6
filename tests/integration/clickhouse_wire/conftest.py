"""One suite of clickhouse-driver calls against any server that speaks the native protocol.

By default against the local stack's process, started on a free port. With
RELAIS_TEST_CLICKHOUSE=host:port against that server, whatever its version: what a server is too
old for is skipped, by the version that it announces.
"""

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest
from clickhouse_driver import Client

ROOT = Path(__file__).resolve().parents[3]


@dataclass(frozen=True)
class Server:
    """A server under test, and a database of our own on it."""

    host: str
    port: int
    version: tuple[int, int, int]
    database: str

    def client(self, **options: object) -> Client:
        return Client(self.host, **{"port": self.port, "database": self.database, **options})

    def needs(self, *version: int, what: str) -> None:
        """Skips the test on a server that is older than ``version``."""
        if self.version < version:
            have = ".".join(map(str, self.version))
            pytest.skip(f"{what}: since {'.'.join(map(str, version))}, this server is {have}")


@pytest.fixture(scope="session")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, int]]:
    if given := os.environ.get("RELAIS_TEST_CLICKHOUSE"):
        host, _, port = given.rpartition(":")
        yield host, int(port)
        return
    data = tmp_path_factory.mktemp("clickhouse")
    command = [sys.executable, "-m", "relaisctl.stack.clickhouse", "--port", "0", "--data", data]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        ready = re.search(r"listens on (.+):(\d+)", process.stdout.readline())
        assert ready, "the server did not start"
        yield ready[1], int(ready[2])
        process.terminate()
        assert process.wait(20) == 0


@pytest.fixture(scope="session")
def server(address: tuple[str, int]) -> Iterator[Server]:
    host, port = address
    database = f"wire_{uuid4().hex[:8]}"
    admin = Client(host, port=port)
    admin.execute(f"CREATE DATABASE {database}")
    info = admin.connection.server_info
    major, minor, patch = info.version_tuple()
    yield Server(host, port, (major, minor, patch), database)
    admin.execute(f"DROP DATABASE {database}")
    admin.disconnect()


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    with server.client() as client:
        yield client


@pytest.fixture
def table(client: Client) -> Iterator[Callable[..., str]]:
    """Makes a table of the given columns: ``table("a UInt8, b String")`` -> its name."""
    names: list[str] = []

    def make(columns: str, engine: str = "MergeTree ORDER BY tuple()") -> str:
        names.append(f"t_{uuid4().hex[:8]}")
        client.execute(f"CREATE TABLE {names[-1]} ({columns}) ENGINE = {engine}")
        return names[-1]

    yield make
    for name in names:
        client.execute(f"DROP TABLE {name}")
