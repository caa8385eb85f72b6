"""The local stack: start, stop, kill, restart, and what state each program is in."""

import fcntl
import os
import shutil
import time
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from types import TracebackType

import psutil

from relaisctl.secrets import SECRETS
from relaisctl.stack.engines import create_clickhouse_database, engines
from relaisctl.stack.errors import PortInUseError, StackError, StartFailedError
from relaisctl.stack.postgres import create_databases
from relaisctl.stack.process import Processes, Record
from relaisctl.stack.program import Kind, Program, Say
from relaisctl.stack.services import DATABASES, SIMULATORS, services
from relaisctl.stack.settings import Broker, Ports, StackSettings, is_free
from relaisctl.stack.topics import ensure_topics, load_topics

POLL_S = 0.1
PROGRESS_S = 5.0


class State(StrEnum):
    RUNNING = "running"
    UNHEALTHY = "unhealthy"  # runs, but gives no good answer
    DEAD = "dead"  # was started and has ended by itself
    STOPPED = "stopped"
    EXTERNAL = "external"  # an address from the environment that answers
    UNREACHABLE = "unreachable"  # one that does not

    @property
    def healthy(self) -> bool:
        return self in (State.RUNNING, State.EXTERNAL)


@dataclass(frozen=True)
class Status:
    """One row of `relaisctl status`; `uptime_s` and `pid` only of what we run ourselves."""

    name: str
    kind: str
    state: State
    pid: int | None
    address: str
    uptime_s: float | None
    detail: str


def silent(name: str, line: str) -> None:
    """For callers that want no progress."""


class Stack:
    """One local stack in one home folder. Every method may be called from any process, at any time:
    what runs is told by the records in the home folder alone.

    As a context manager it starts the engines and stops everything at the end.
    """

    def __init__(
        self,
        home: Path,
        ports: Ports | None = None,
        broker: Broker = Broker.AUTO,
        *,
        settings: StackSettings | None = None,
        say: Say = silent,
    ) -> None:
        self.settings = settings or StackSettings(
            home=home.absolute(), ports=ports or Ports.free(), broker=broker
        )
        self.processes = Processes(self.settings.home)
        self._say = say
        self._interrupted = False
        own = engines(self.settings)
        self.addresses = {program.name: program.address for program in own}
        """What clients connect to: `postgres`, `clickhouse` (URLs), `kafka` (bootstrap servers)."""
        programs = [*own, *services(self.settings, self.addresses)]
        self.addresses |= {program.name: program.address for program in programs}
        self._programs = {program.name: program for program in programs}
        self._order = {name: place for place, name in enumerate(self._programs)}

    @classmethod
    def of(cls, settings: StackSettings, say: Say = silent) -> "Stack":
        return cls(settings.home, settings=settings, say=say)

    def __enter__(self) -> "Stack":
        try:
            self.start(self.names(Kind.ENGINE))
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def names(self, kind: Kind | None = None) -> list[str]:
        """In starting order: engines, then services."""
        return [p.name for p in self._programs.values() if kind in (None, p.kind)]

    @property
    def broker(self) -> Broker | None:
        """The broker that runs here; None if it is stopped or is an external one."""
        record = self._alive("kafka")
        return Broker(record.variant) if record else None

    def start(self, names: Collection[str] | None = None) -> None:
        """Start these, or all; what runs already stays. Returns when each answers a real request.

        Creates the topics with the broker and the database with ClickHouse.
        Raises StackError for what could not be started; the others are running then.
        """
        chosen = self._chosen(names)
        with self._locked():
            for kind in Kind:
                self._start_together([program for program in chosen if program.kind is kind])

    def stop(self, names: Collection[str] | None = None) -> list[str]:
        """Stop these, or all that was started here, services first. Returns the names stopped."""
        with self._locked():
            records = [r for r in self.processes.records() if names is None or r.name in names]
            stopped = [record.name for record in records if record.alive()]
            for kind in reversed(Kind):
                batch = [r for r in reversed(records) if self._kind(r.name) is kind]
                for record in self.processes.stop(batch):
                    self._say(record.name, f"killed: it did not stop in {record.grace_s:.0f} s")
            return stopped

    def kill(self, name: str) -> None:
        """SIGKILL, as a crash would. Raises StackError if it does not run."""
        try:
            self.processes.kill(name)
        except KeyError as error:
            raise StackError(str(error.args[0])) from error

    def restart(self, name: str) -> None:
        self.stop([name])
        self.start([name])

    def purge(self) -> None:
        """Remove all data, records and logs. Everything must have been stopped.

        Removes by name what the stack made: the home folder may be one that holds other things.
        """
        home = self.settings.home
        journals = [service.name for service in SIMULATORS]
        for name in ("run", "logs", *self.names(Kind.ENGINE), "postgres.partial", *journals):
            shutil.rmtree(home / name, ignore_errors=True)
        for name in ("lock", SECRETS):
            (home / name).unlink(missing_ok=True)
        with suppress(OSError):
            home.rmdir()

    def status(self, names: Collection[str] | None = None) -> list[Status]:
        """Asks everything at once; takes as long as the slowest answer, about 5 s at most."""
        chosen = self._chosen(names)
        with ThreadPoolExecutor(len(chosen)) as threads:
            return list(threads.map(self._status, chosen))

    def _status(self, program: Program) -> Status:
        if program.external:
            trouble = _trouble(program, program.address)
            state = State.UNREACHABLE if trouble else State.EXTERNAL
            return self._row(program, state, detail=trouble or "not ours: from the environment")
        record = self.processes.record(program.name)
        if record is None:
            return self._row(program, State.STOPPED)
        process = record.alive()
        if process is None:
            return self._row(program, State.DEAD, detail=f"see {self._log(program)}")
        trouble = _trouble(program, record.address)
        return Status(
            name=program.name,
            kind=program.kind,
            state=State.UNHEALTHY if trouble else State.RUNNING,
            pid=record.pid,
            address=record.address,
            uptime_s=round(time.time() - process.create_time(), 1),
            detail=trouble or record.detail,
        )

    def _row(self, program: Program, state: State, detail: str = "") -> Status:
        return Status(program.name, program.kind, state, None, program.address, None, detail)

    def _log(self, program: Program) -> Path:
        return self.processes.log_path(program.name)

    def _kind(self, name: str) -> Kind:
        program = self._programs.get(name)
        return program.kind if program else Kind.SERVICE

    def _alive(self, name: str) -> Record | None:
        record = self.processes.record(name)
        return record if record and record.alive() else None

    def _chosen(self, names: Collection[str] | None) -> list[Program]:
        if unknown := set(names or ()) - set(self._programs):
            raise StackError(
                f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(self._programs)}"
            )
        return [p for p in self._programs.values() if names is None or p.name in names]

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Two commands at once on one home folder take turns."""
        self.settings.home.mkdir(parents=True, exist_ok=True)
        with (self.settings.home / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _start_together(self, programs: Sequence[Program]) -> None:
        if not programs:
            return
        with ThreadPoolExecutor(len(programs)) as threads:
            started = [threads.submit(self._start_one, program) for program in programs]
            try:
                wait(started)
            except KeyboardInterrupt:
                self._interrupted = True
                raise
        failures = [error for future in started if (error := future.exception())]
        for failure in failures:
            if not isinstance(failure, StackError):
                raise failure
        if failures:
            raise type(failures[0])("\n".join(str(failure) for failure in failures))

    def _start_one(self, program: Program) -> None:
        started = time.monotonic()
        if program.external:
            if trouble := _trouble(program, program.address):
                raise StartFailedError(
                    f"{program.name}: {program.address} does not answer: {trouble}"
                )
            self._say(program.name, f"uses {program.address} (from the environment)")
        else:
            record = self._alive(program.name)
            fresh = record is None
            if record is None:
                record = self._spawn(program)
            else:
                self._must_agree(program, record)
            self._await_ready(program, record)
            took = f"ready in {time.monotonic() - started:.1f} s" if fresh else "runs already"
            self._say(program.name, f"{took} at {record.address}  {record.detail}".rstrip())
        self._furnish(program)

    def _must_agree(self, program: Program, record: Record) -> None:
        """What runs must be what the settings say, or its clients would look for it elsewhere."""
        if record.address != program.address:
            raise StackError(
                f"{program.name}: it runs at {record.address}, but the settings"
                f" ({', '.join(program.ports)}) say {program.address}: stop it first"
            )
        wanted = self.settings.broker
        if program.name == "kafka" and wanted not in (Broker.AUTO, record.variant):
            raise StackError(
                f"kafka: {record.variant} is running but RELAIS_BROKER={wanted}: stop it first"
            )

    def _spawn(self, program: Program) -> Record:
        for setting, port in program.ports.items():
            if not is_free(port):
                raise PortInUseError(
                    f"{program.name}: port {port} is in use by {_holder(port)}:"
                    f" stop that, or set {setting} to another port"
                )
        launch = program.launch(self._say)
        self._say(program.name, f"starting {launch.detail}".rstrip())
        return self.processes.spawn(
            launch.command,
            env={**os.environ, **launch.env},
            user=launch.user,
            record=Record(
                name=program.name,
                address=program.address,
                detail=launch.detail,
                variant=launch.variant,
                stop_signal=int(program.stop_signal),
                grace_s=program.grace_s,
                order=self._order[program.name],
            ),
        )

    def _await_ready(self, program: Program, record: Record) -> None:
        started = time.monotonic()
        progress = PROGRESS_S
        while trouble := _trouble(program, record.address):
            waited = time.monotonic() - started
            if not record.alive():
                raise StartFailedError(self._failure(program, "ended while starting"))
            if self._interrupted:
                raise StartFailedError(f"{program.name}: interrupted while it was starting")
            if waited > program.start_timeout_s:
                raise StartFailedError(
                    self._failure(program, f"not ready after {waited:.0f} s: {trouble}")
                )
            if waited > progress:
                self._say(program.name, f"not ready after {waited:.0f} s: {trouble}")
                progress = waited + PROGRESS_S
            time.sleep(POLL_S)
        if not record.alive():  # the answer was somebody else's
            raise StartFailedError(self._failure(program, "ended while starting"))

    def _failure(self, program: Program, what: str) -> str:
        tail = self.processes.log_tail(program.name)
        return f"{program.name}: {what}; the end of {self._log(program)}:\n{tail}"

    def _furnish(self, program: Program) -> None:
        """What must be there before anybody uses an engine."""
        if program.name == "postgres":
            create_databases(program.address, DATABASES)
        if program.name == "clickhouse" and not program.external:
            create_clickhouse_database(program.address)
        if program.name == "kafka":
            report = ensure_topics(program.address, load_topics())
            line = f"topics: {len(report.created)} created, {len(report.existing)} there already"
            self._say("kafka", line)
            if report.unverified:
                self._say("kafka", "this broker does not tell: " + ", ".join(report.unverified))


def _trouble(program: Program, address: str) -> str | None:
    """Why the program gives no good answer, in one line; None if it does."""
    try:
        program.check(address)
    except Exception as error:
        return " ".join(f"{type(error).__name__}: {error}".split())[:200]
    return None


def _holder(port: int) -> str:
    for connection in psutil.net_connections("tcp"):
        here = connection.status == psutil.CONN_LISTEN and connection.laddr[1:] == (port,)
        if here and connection.pid:
            return f"{psutil.Process(connection.pid).name()} (pid {connection.pid})"
    return "another process"
