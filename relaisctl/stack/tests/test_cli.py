"""`relaisctl up`, `status` and `down` as a user runs them, each a process of its own."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest

from relaisctl.stack import Ports
from relaisctl.stack.services import SERVICES, SIMULATORS
from relaisctl.stack.settings import ROOT, is_free

PROGRAMS = ("postgres", "kafka")


@pytest.fixture
def environment(home: Path) -> Iterator[dict[str, str]]:
    ports = {f"RELAIS_{n.upper()}_PORT": str(port) for n, port in asdict(Ports.free()).items()}
    clean = {name: value for name, value in os.environ.items() if not name.startswith("RELAIS_")}
    environment = {
        **clean,
        **ports,
        "RELAIS_HOME": str(home),
        "RELAIS_BROKER": "tansu",
        "PYTHONPATH": str(ROOT),
    }
    yield environment
    run(environment, "down", "--purge")


def run(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "relaisctl", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)


def status(environment: dict[str, str], *names: str) -> tuple[int, dict[str, tuple[str, int]]]:
    """The exit code, and state and pid by name."""
    answer = run(environment, "status", "--format", "json", *names)
    rows = json.loads(answer.stdout)
    return answer.returncode, {row["name"]: (row["state"], row["pid"]) for row in rows}


def test_up_status_down(environment: dict[str, str], home: Path) -> None:
    up = run(environment, "up", *PROGRAMS)
    assert up.returncode == 0, up.stderr
    assert up.stdout == ""
    assert "topics:" in up.stderr
    code, running = status(environment, *PROGRAMS)
    assert {state for state, _ in running.values()} == {"running"}
    assert code == 0

    assert run(environment, "up", *PROGRAMS).returncode == 0
    assert status(environment, *PROGRAMS) == (0, running), "what runs stays"

    (home / "mine.txt").write_text("not the stack's")
    down = run(environment, "down", "--purge")
    assert "stopped: postgres, kafka" in down.stderr
    assert [path.name for path in home.iterdir()] == ["mine.txt"]
    assert all(is_free(int(p)) for n, p in environment.items() if n.endswith("_PORT"))
    table = run(environment, "status")
    assert table.returncode == 3
    programs = 3 + len(SERVICES) + len(SIMULATORS)
    assert table.stdout.count("stopped") == programs, "engines and services"


def test_down_stops_what_a_killed_up_had_started(environment: dict[str, str], home: Path) -> None:
    up = subprocess.Popen([sys.executable, "-m", "relaisctl", "up", "postgres"], env=environment)
    record = home / "run" / "postgres.json"
    deadline = time.monotonic() + 30
    while not record.exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    up.send_signal(signal.SIGKILL)
    up.wait()
    assert "stopped: postgres" in run(environment, "down").stderr
    assert is_free(int(environment["RELAIS_POSTGRES_PORT"]))


def test_a_wrong_setting_is_named(environment: dict[str, str]) -> None:
    environment["RELAIS_KAFKA_PORT"] = "many"
    refused = run(environment, "up")
    assert refused.returncode == 2
    assert refused.stderr.startswith("RELAIS_KAFKA_PORT: ")
    environment["RELAIS_KAFKA_PORT"] = "0"
