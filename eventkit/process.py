"""What the processes of an event-sourced service have in common: their database, the keys, the
store, health, signals and exit codes. A service's `__main__` wires the rest.

    async with opened(settings.postgres, MIGRATIONS, 10, settings) as on:
        crm = Crm.over(on.store, clients.get, on.store.clock, new_id)
        await serve_edges(on, ...)
"""

import asyncio
import logging
import signal
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import uvloop
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from eventkit import telemetry
from eventkit.callers import Callers
from eventkit.clock import SystemClock
from eventkit.errors import DeadLetterLimit, Unavailable
from eventkit.eventstore import EventStore
from eventkit.health import HealthServer, Watched
from eventkit.keys import KeySettings, PostgresKeyRing, migrate_keys
from eventkit.postgres import make_engine, migrate
from eventkit.producer import Producer
from eventkit.relay import Relay
from eventkit.settings import KafkaSettings, Settings

if TYPE_CHECKING:
    from fastapi import FastAPI

    from eventkit.rpc import Method

log = logging.getLogger(__name__)

KEY_CONNECTIONS = 4


def new_id() -> str:
    """A random UUID."""
    return str(uuid.uuid4())


@asynccontextmanager
async def database(url: str, migrations: str, connections: int) -> AsyncIterator[AsyncEngine]:
    """A service's own database, up to date. Raises Unavailable."""
    await migrate(url, migrations)
    engine = make_engine(url, pool_size=connections)
    try:
        yield engine
    finally:
        await engine.dispose()


@asynccontextmanager
async def key_ring(settings: KeySettings) -> AsyncIterator[PostgresKeyRing]:
    """The centre's keys. Raises Unavailable."""
    engine = make_engine(settings.keys, pool_size=KEY_CONNECTIONS)
    try:
        await migrate_keys(engine)
        yield PostgresKeyRing(engine, settings.masters())
    finally:
        await engine.dispose()


@dataclass(frozen=True)
class Opened:
    """What an event-sourced service stands on."""

    engine: AsyncEngine
    keys: PostgresKeyRing
    store: EventStore

    async def check(self) -> None:
        """Raise Unavailable while the service's database or that of the keys does not answer."""
        await self.keys.check()
        async with self.engine.connect() as connection:
            await connection.execute(text("SELECT 1"))


@asynccontextmanager
async def opened(
    url: str, migrations: str, connections: int, settings: KeySettings
) -> AsyncIterator[Opened]:
    """Both databases and the event store over them. Raises Unavailable."""
    async with database(url, migrations, connections) as engine, key_ring(settings) as keys:
        store = EventStore(engine, keys, SystemClock())
        try:
            yield Opened(engine, keys, store)
        finally:
            await store.close()


async def serve_edges(
    on: Opened,
    callers: Callers,
    known_client: Callable[[str], Awaitable[bool]],
    make_api: Callable[..., "FastAPI"],
    services: "Mapping[str, Mapping[str, Method]]",
    *,
    host: str,
    http_port: int,
    grpc_port: int,
    max_body: int,
) -> None:
    """Answer HTTP and gRPC until SIGTERM.

    make_api: (callers, known_client, check, index) -> the application. services: gRPC methods by
    their services' full names. max_body: bytes of a gRPC request.
    """
    # Here, so that the processes without edges load no web server.
    from eventkit.http import GRACE_S, serve
    from eventkit.rpc import start_server

    rpc, port = await start_server(
        f"{host}:{grpc_port}",
        services,
        callers,
        known_client,
        max_message=max_body,
        index=on.keys.index,
    )
    log.info("gRPC on %s:%d", host, port)
    try:
        await serve(make_api(callers, known_client, on.check, on.keys.index), host, http_port)
    finally:
        await rpc.stop(GRACE_S)


async def run_relay(
    name: str, url: str, migrations: str, connections: int, settings: KafkaSettings
) -> None:
    """Publish what the event store of a database holds, until SIGTERM. Raises Unavailable."""
    async with (
        database(url, migrations, connections) as engine,
        Producer(settings.kafka, client_id=name, linger_ms=2) as producer,
    ):
        relay = Relay(engine, producer)
        on_signal(relay.stop)
        async with health(settings, [relay]):
            await relay.run()


class _Health:
    """Several things that one process runs, as one."""

    def __init__(self, watched: Sequence[Watched]) -> None:
        self._watched = watched

    def ready(self) -> bool:
        return all(each.ready() for each in self._watched)

    def positions(self) -> Mapping[str, tuple[int, int]]:
        return {where: at for each in self._watched for where, at in each.positions().items()}


@asynccontextmanager
async def health(settings: Settings, watched: Sequence[Watched]) -> AsyncIterator[None]:
    """Answers /health/live and /health/ready for all of them, where a port is set."""
    if settings.health_port is None:
        yield
        return
    server = HealthServer(
        _Health(watched), settings.health_host, settings.health_port, settings.health_stuck_s
    )
    await server.start()
    try:
        yield
    finally:
        await server.stop()


async def run_together(running: Sequence[Awaitable[None]], stop: Callable[[], None]) -> None:
    """Until all have ended; when one fails, the others are stopped and its error is raised."""
    tasks = [asyncio.ensure_future(each) for each in running]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
    finally:
        stop()
        await asyncio.wait(tasks)
    for task in tasks:
        if not task.cancelled():
            task.result()


def on_signal(stop: Callable[[], None]) -> None:
    """SIGTERM and SIGINT ask to end."""
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop)


def ended(running: Coroutine[None, None, None]) -> int:
    """Run to the end; the exit code: 0, 1 where an engine does not answer at the start, 3 after too
    many dead letters."""
    try:
        with suppress(asyncio.CancelledError):
            uvloop.run(running)
    except Unavailable as reason:
        log.error("%s", reason)
        return 1
    except DeadLetterLimit as reason:
        log.critical("%s", reason)
        return 3
    finally:
        telemetry.shutdown()
    return 0
