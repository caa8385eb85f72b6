"""The processes of analytics under test, on real engines."""

import asyncio
import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from clickhouse_driver import Client
from typer.testing import CliRunner

from eventkit.producer import Producer
from eventkit.records import Bad, Batch, Message
from relaisctl.__main__ import app
from relaisctl.stack.settings import Ports
from services.analytics.loader import Loader
from services.analytics.store import Store
from services.analytics.tests.events import record

ROOT = Path(__file__).resolve().parents[3]


# Tansu takes minutes to give away the partitions of a member that was killed.
READY_S = 180.0


@dataclass
class Analytics:
    """Runs roles against given engines. environment: RELAIS_KAFKA, RELAIS_CLICKHOUSE and more."""

    environment: Mapping[str, str]
    logs: Path
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    health: dict[str, int] = field(default_factory=dict)

    def start(self, role: str, *, wait: bool = True, **environment: str) -> None:
        """Start a role (`loader` or `kpi`), and wait until it is ready."""
        port = self.health[role] = Ports.free().analytics_loader_health
        with (self.logs / f"{role}.log").open("ab") as log:
            self.running[role] = subprocess.Popen(
                [sys.executable, "-m", "services.analytics", role],
                cwd=ROOT,
                env={
                    **os.environ,
                    "PYTHONPATH": f"{ROOT}:{ROOT / 'proto'}",
                    "RELAIS_HEALTH_PORT": str(port),
                    "RELAIS_LOADER_LINGER_S": "0.1",
                    "RELAIS_LIVE_FLUSH_S": "0.1",
                    # Its partitions come back at once after a SIGKILL.
                    "RELAIS_GROUP_INSTANCE": f"test-{role}",
                    **self.environment,
                    **environment,
                },
                stdout=log,
                stderr=log,
            )
        if wait:
            self.wait_until_ready(role)

    def wait_until_ready(self, role: str) -> None:
        until(lambda: self.answers(role, "ready"), f"{role} is ready", READY_S)

    def answers(self, role: str, probe: str) -> bool:
        """True when a health probe says 200. Fails when the process has ended."""
        process = self.running[role]
        if process.poll() is not None:
            raise AssertionError(f"{role} ended with {process.returncode}\n{self.log(role)}")
        try:
            url = f"http://127.0.0.1:{self.health[role]}/health/{probe}"
            with urllib.request.urlopen(url, timeout=5):
                return True
        except OSError:
            return False

    def log(self, role: str) -> str:
        return (self.logs / f"{role}.log").read_text(errors="replace")[-8000:]

    def kill(self, role: str) -> None:
        """SIGKILL, in the middle of whatever it does."""
        process = self.running.pop(role)
        process.kill()
        process.wait()

    def stop(self, role: str) -> int:
        """SIGTERM; returns the exit code."""
        process = self.running.pop(role)
        process.terminate()
        return process.wait(30)

    def stop_all(self) -> None:
        for process in self.running.values():
            process.kill()
            process.wait()
        self.running.clear()

    def ask(self, sql: str, **values: Any) -> list[tuple[Any, ...]]:
        """The rows of a query."""
        with Client.from_url(self.environment["RELAIS_CLICKHOUSE"]) as client:
            rows: list[tuple[Any, ...]] = client.execute(sql, values)
            return rows

    def report(self, *arguments: str, command: str = "kpi") -> list[dict[str, Any]]:
        """What `relaisctl kpi --format json` prints."""
        return report(self.environment["RELAIS_CLICKHOUSE"], command, *arguments)


def report(clickhouse: str, *command: str) -> list[dict[str, Any]]:
    """What `relaisctl kpi` or `relaisctl complaints` prints with --format json."""
    done = CliRunner().invoke(
        app,
        [*command, "--format", "json"],
        env={"RELAIS_CLICKHOUSE": clickhouse},
        catch_exceptions=False,
    )
    assert done.exit_code == 0, done.stderr
    rows: list[dict[str, Any]] = json.loads(done.stdout)
    return rows


class Registered:
    """The registry's reading side: these clients. refreshed: how often it was looked at again."""

    def __init__(self, *clients: str) -> None:
        self._clients = {client.encode(): client for client in clients}
        self.refreshed = 0

    def items(self) -> dict[bytes, str]:
        return self._clients

    async def refresh(self) -> None:
        self.refreshed += 1


@dataclass
class Warehouse:
    """A database of its own with all tables and views. Loads as the loader does, without Kafka."""

    url: str
    offset: int = 0

    def load(self, topic: str, *parts: Sequence[Any]) -> list[Bad]:
        """Load events, each part as a batch behind the last; returns what was refused."""

        async def run() -> list[Bad]:
            store = Store(self.url)
            clients = {event.meta.client_id for part in parts for event in part}
            loader = Loader(store, Registered(*clients))  # type: ignore[arg-type]
            try:
                return [bad for part in parts for bad in await loader(self._batch(topic, part))]
            finally:
                store.close()

        return asyncio.run(run())

    def _batch(self, topic: str, events: Sequence[Any]) -> Batch:
        first = self.offset
        self.offset += len(events)
        newest = max(event.meta.occurred_at.seconds for event in events)
        records = [
            record(topic, event.SerializeToString(), first + number, at=newest)
            for number, event in enumerate(events)
        ]
        return Batch(topic, 0, first, self.offset, records)

    def ask(self, sql: str, **values: Any) -> list[dict[str, Any]]:
        """The rows of a query, by name."""
        with Client.from_url(self.url) as client:
            rows, columns = client.execute(sql, values, with_column_types=True)
        return [dict(zip([name for name, _ in columns], row, strict=True)) for row in rows]


def until(condition: Callable[[], bool], what: str, seconds: float = 60) -> None:
    """Wait until the condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds:g} s in vain: {what}")
        time.sleep(0.1)


def publish(kafka: str, topic: str, events: Iterable[Any]) -> None:
    """Send events under their stream's key; bytes are sent as they are."""

    async def send() -> None:
        async with Producer(kafka, linger_ms=5) as producer:
            await producer.send_many(_message(topic, event) for event in events)

    asyncio.run(send())


def _message(topic: str, event: Any) -> Message:
    if event is None or isinstance(event, bytes):
        return Message(topic, b"rubbish", event)
    return Message(topic, event.meta.stream_id.encode(), event.SerializeToString())
