"""Detached processes with a record on disk, so that any later command finds and stops them.

A record is `run/<name>.json`. A process is ours only if its start time is the one in the record:
pids are used again, and a stranger with an old pid of ours must never be signalled.
"""

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import psutil

# psutil derives the start time from the boot time, which moves when the clock is adjusted.
CREATE_TIME_TOLERANCE_S = 2.0


@dataclass(frozen=True, kw_only=True)
class Record:
    """One started process. `create_time` is in UNIX seconds, `order` its place when starting."""

    name: str
    address: str
    detail: str
    variant: str
    stop_signal: int
    grace_s: float
    order: int
    pid: int = 0
    create_time: float = 0.0

    def alive(self) -> psutil.Process | None:
        """The running process of this record; None if it ended or its pid is another's by now."""
        try:
            process = psutil.Process(self.pid)
            ours = abs(process.create_time() - self.create_time) <= CREATE_TIME_TOLERANCE_S
            return process if ours and process.status() != psutil.STATUS_ZOMBIE else None
        except psutil.NoSuchProcess:
            return None


class Processes:
    """The processes of one home folder: `run/` holds the records, `logs/` the output."""

    def __init__(self, home: Path) -> None:
        self._run = home / "run"
        self._logs = home / "logs"
        # Kept only to reap what this very process started; the records are what counts.
        self._children: dict[int, subprocess.Popen[bytes]] = {}

    def log_path(self, name: str) -> Path:
        return self._logs / f"{name}.log"

    def log_tail(self, name: str, lines: int = 20) -> str:
        try:
            text = self.log_path(name).read_text(errors="replace")
        except FileNotFoundError:
            return ""
        return "\n".join(text.splitlines()[-lines:])

    def record(self, name: str) -> Record | None:
        try:
            return Record(**json.loads((self._run / f"{name}.json").read_text()))
        except FileNotFoundError:
            return None

    def records(self) -> list[Record]:
        """All records in starting order, those of dead processes too."""
        found = (self.record(path.stem) for path in self._run.glob("*.json"))
        return sorted((r for r in found if r is not None), key=lambda r: r.order)

    def spawn(
        self, command: Sequence[str], *, env: Mapping[str, str], user: str | None, record: Record
    ) -> Record:
        """Start `command` in a session of its own; returns `record` with its pid and start time.

        Its output goes to a fresh log; the log before is kept as `.log.1`.
        """
        self._run.mkdir(parents=True, exist_ok=True)
        self._logs.mkdir(parents=True, exist_ok=True)
        log = self.log_path(record.name)
        if log.exists():
            shutil.move(log, log.with_suffix(".log.1"))
        with log.open("ab") as output:
            child = subprocess.Popen(
                command,
                env=dict(env),
                user=user,
                group=user,
                extra_groups=[] if user else None,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        started = psutil.Process(child.pid).create_time()
        record = replace(record, pid=child.pid, create_time=started)
        self._children[child.pid] = child
        path = self._run / f"{record.name}.json"
        partial = path.with_suffix(".partial")
        partial.write_text(json.dumps(asdict(record)))
        os.replace(partial, path)
        return record

    def stop(self, records: Sequence[Record]) -> list[Record]:
        """Signal all, wait, kill what is left after its grace; returns those killed."""
        started = time.monotonic()
        running = [(record, process) for record in records if (process := record.alive())]
        for record, process in running:
            _signal(process, record.stop_signal)
        killed = []
        for record, process in running:
            try:
                process.wait(max(0.0, started + record.grace_s - time.monotonic()))
            except psutil.TimeoutExpired:
                killed.append(record)
                _kill_tree(process)
        for record in records:
            self._forget(record)
        return killed

    def kill(self, name: str) -> None:
        """SIGKILL, as a crash would: the record stays. Raises KeyError if it does not run."""
        record = self.record(name)
        process = record.alive() if record else None
        if record is None or process is None:
            raise KeyError(f"{name} is not running")
        _signal(process, signal.SIGKILL)
        process.wait(10)
        self._reap(record.pid)

    def _forget(self, record: Record) -> None:
        self._reap(record.pid)
        (self._run / f"{record.name}.json").unlink(missing_ok=True)

    def _reap(self, pid: int) -> None:
        child = self._children.pop(pid, None)
        if child is not None:
            child.wait(10)


def _signal(process: psutil.Process, number: int) -> None:
    with suppress(psutil.NoSuchProcess):
        process.send_signal(number)  # psutil looks at the start time again


def _kill_tree(process: psutil.Process) -> None:
    """Kill a process that would not stop, with the children that would outlive it."""
    try:
        family = [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return
    for member in family:
        _signal(member, signal.SIGKILL)
    psutil.wait_procs(family, timeout=10)
