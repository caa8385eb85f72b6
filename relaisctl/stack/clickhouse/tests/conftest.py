"""The process as an operator runs it."""

import contextlib
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from clickhouse_driver import Client

ROOT = Path(__file__).resolve().parents[4]


class Process:
    """One run of ``python -m relaisctl.stack.clickhouse`` on a free port."""

    def __init__(self, data: Path, *options: str) -> None:
        self.log = data.parent / f"{data.name}.log"
        command = [sys.executable, "-m", "relaisctl.stack.clickhouse", "--port", "0"]
        with self.log.open("a") as log:
            self.popen = subprocess.Popen(
                [*command, "--data", str(data), *options],
                cwd=ROOT,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert self.popen.stdout
        ready = re.search(r"listens on .+:(\d+)", self.popen.stdout.readline())
        self.port = int(ready[1]) if ready else 0

    def client(self, **options: Any) -> Client:
        return Client("127.0.0.1", port=self.port, **options)

    def kill(self, number: signal.Signals = signal.SIGKILL) -> int:
        self.popen.send_signal(number)
        return self.popen.wait(20)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Process]]:
    """Starts the process on the test's data folder; what still runs is killed at the end."""
    started: list[Process] = []

    def run(*options: str) -> Process:
        started.append(Process(tmp_path / "data", *options))
        return started[-1]

    yield run
    for process in started:
        with contextlib.suppress(ProcessLookupError):
            process.popen.kill()
        process.popen.wait(20)
        assert process.popen.stdout
        process.popen.stdout.close()
