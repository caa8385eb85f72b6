"""Records and pids: only our own processes are ever signalled."""

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from relaisctl.stack.process import Processes, Record

STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
    "print('deaf', flush=True); time.sleep(60)"
)
SLEEPER = Record(
    name="sleeper", address="", detail="", variant="", stop_signal=15, grace_s=5.0, order=0
)


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    processes = Processes(tmp_path)
    yield processes
    processes.stop([replace(r, grace_s=0.0) for r in processes.records()])


def spawn(processes: Processes, program: str, record: Record = SLEEPER) -> Record:
    command = [sys.executable, "-c", program]
    return processes.spawn(command, env=os.environ, user=None, record=record)


def test_a_process_is_found_by_another_instance_and_stopped(
    processes: Processes, tmp_path: Path
) -> None:
    spawn(processes, "import time; time.sleep(60)")
    later = Processes(tmp_path)
    [found] = later.records()
    assert found.alive() is not None
    assert os.getsid(found.pid) == found.pid, "it must outlive the terminal that started it"
    assert later.stop([found]) == []
    assert found.alive() is None
    assert later.records() == []


def test_a_pid_that_is_anothers_by_now_is_never_signalled(processes: Processes) -> None:
    stranger = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        ours = spawn(processes, "")
        recycled = replace(ours, pid=stranger.pid)
        began = psutil.Process(stranger.pid).create_time()
        for record in (
            replace(recycled, create_time=began - 60),
            replace(recycled, create_time=began + 60),
        ):
            assert record.alive() is None
            assert processes.stop([record]) == []
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_a_process_that_ignores_the_signal_is_killed_after_its_grace(processes: Processes) -> None:
    record = spawn(processes, STUBBORN, replace(SLEEPER, grace_s=0.5))
    while "deaf" not in processes.log_tail("sleeper"):
        assert record.alive()
    assert processes.stop([record]) == [record]
    assert record.alive() is None


def test_a_killed_process_keeps_its_record(processes: Processes) -> None:
    spawn(processes, "import time; time.sleep(60)")
    processes.kill("sleeper")
    [record] = processes.records()
    assert record.alive() is None
    with pytest.raises(KeyError, match="sleeper is not running"):
        processes.kill("sleeper")


def test_each_start_has_a_fresh_log_and_the_one_before_is_kept(
    processes: Processes, tmp_path: Path
) -> None:
    for word in ("first", "second"):
        record = spawn(processes, f"print('{word}')")
        processes.stop([record]) if record.alive() is None else psutil.Process(record.pid).wait(10)
    assert processes.log_tail("sleeper") == "second"
    assert (tmp_path / "logs" / "sleeper.log.1").read_text() == "first\n"
