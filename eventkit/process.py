"""What the processes of an event-sourced service have in common: their database, the keys, the
store, health, signals and exit codes. A service's `__main__` wires the rest.

    async with AsyncExitStack() as open_:
        engine = await open_.enter_async_context(database(settings.postgres, MIGRATIONS, 10))
        keys = await open_.enter_async_context(key_ring(settings))
        store = await open_.enter_async_context(event_store(engine, keys))
"""

import asyncio
import logging
import signal
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager, suppress

import uvloop
from sqlalchemy.ext.asyncio import AsyncEngine

from eventkit import telemetry
from eventkit.clock import SystemClock
from eventkit.errors import DeadLetterLimit, Unavailable
from eventkit.eventstore import EventStore
from eventkit.health import HealthServer, Watched
from eventkit.keys import KeySettings, PostgresKeyRing, migrate_keys
from eventkit.postgres import make_engine, migrate
from eventkit.settings import Settings

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


@asynccontextmanager
async def event_store(engine: AsyncEngine, keys: PostgresKeyRing) -> AsyncIterator[EventStore]:
    store = EventStore(engine, keys, SystemClock())
    try:
        yield store
    finally:
        await store.close()


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
