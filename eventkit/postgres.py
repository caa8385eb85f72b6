"""PostgreSQL: an engine that says Unavailable when the server does not answer, migrations, and
notifications to wait for."""

import asyncio
import logging
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import asyncpg
from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, event, exc, make_url, text
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from eventkit.errors import Unavailable

log = logging.getLogger(__name__)

CONNECT_S = 5.0
STATEMENT_S = 60.0
MIGRATION_LOCK = 0x72656C61_6973
RECONNECT_S = 0.5

SILENT = "PostgreSQL does not answer"

# Classes and codes of SQLSTATE that say "not now": connection exceptions, insufficient resources,
# operator intervention (shutting down, starting up, cancelled), a lock that was not to be had.
_NOT_NOW = ("08", "53", "57", "55P03")
_AGAIN = ("40001", "40P01")


def make_engine(url: str, *, pool_size: int = 10, pool_wait_s: float = 10.0) -> AsyncEngine:
    """An engine with a pool for a `postgresql://` URL. Nothing is connected yet.

    What the engine's connections raise when the server does not answer is errors.Unavailable; a
    pooled connection that was cut is replaced before anybody gets it.
    """
    engine = create_async_engine(
        make_url(url).set(drivername="postgresql+asyncpg"),
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=pool_wait_s,
        hide_parameters=True,
        connect_args={
            "async_creator_fn": _connect,
            "timeout": CONNECT_S,
            "command_timeout": STATEMENT_S,
            # Statements are short and prepared: compiling them is never worth it.
            "server_settings": {"jit": "off"},
        },
    )
    event.listen(engine.sync_engine, "checkout", _refuse_closed)
    event.listen(engine.sync_engine, "handle_error", _translate)
    return engine


def is_not_now(error: BaseException) -> bool:
    """True when the server does not answer, or not now; the same again may succeed."""
    if isinstance(error, Unavailable | OSError | TimeoutError | exc.TimeoutError):
        return True
    if isinstance(error, asyncpg.InterfaceError | exc.InterfaceError):
        return "closed" in str(error)
    return _is_half_closed(error) or sqlstate(error).startswith(_NOT_NOW)


def _is_half_closed(error: BaseException) -> bool:
    """True for a connection whose server has said that it ends, but which has not ended yet:
    asyncpg is between two states then."""
    cause = error.orig if isinstance(error, exc.DBAPIError) else error
    return "another operation" in str(cause) and "cannot switch to state" in str(cause)


def is_again(error: BaseException) -> bool:
    """True for a deadlock or a failed serialization: the transaction may be run again."""
    return sqlstate(error) in _AGAIN


def sqlstate(error: BaseException) -> str:
    """The SQLSTATE of an error of asyncpg's or SQLAlchemy's; empty where there is none."""
    cause = error.orig if isinstance(error, exc.DBAPIError) else error
    return getattr(cause, "sqlstate", None) or ""


async def migrate(url: str, location: str | Path) -> None:
    """Bring a database up to date, in one transaction; of several that try, one does it.

    location: Alembic's script location, a path or `package:folder`. Raises Unavailable.
    """
    config = Config()
    config.set_main_option("script_location", str(location).replace("%", "%%"))

    def upgrade(connection: Connection) -> None:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")

    engine = create_async_engine(
        make_url(url).set(drivername="postgresql+asyncpg"),
        poolclass=NullPool,
        connect_args={"async_creator_fn": _connect, "timeout": CONNECT_S},
    )
    async with engine.begin() as connection:
        await connection.execute(text(f"SELECT pg_advisory_xact_lock({MIGRATION_LOCK})"))
        await connection.run_sync(upgrade)
    await engine.dispose()


class Notifications:
    """What is notified on some channels, over a connection of its own that comes back when it was
    cut. A hint and no more: whoever waits also looks by himself from time to time.

        async with Notifications(engine, "relais_numbered") as notifications:
            while True:
                news = notifications.next()
                await read_everything()          # what comes now sets `news`
                await notifications.wait(news, timeout_s=1.0)
    """

    def __init__(self, engine: AsyncEngine, *channels: str) -> None:
        self._engine = engine
        self._channels = channels
        self._news = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()

    def start(self) -> None:
        """Begin to listen, soon. Again is harmless."""
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._listen())

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    def next(self) -> asyncio.Event:
        """Set by the next notification, and when a lost connection is there again."""
        return self._news

    async def wait(self, news: asyncio.Event, timeout_s: float) -> None:
        """Until `news` is set, or for `timeout_s`."""
        try:
            await asyncio.wait_for(news.wait(), timeout_s)
        except TimeoutError:
            return

    def _tell(self, *_: Any) -> None:
        told, self._news = self._news, asyncio.Event()
        told.set()

    async def _listen(self) -> None:
        _, options = self._engine.dialect.create_connect_args(self._engine.url)
        while True:
            try:
                connection = await _connect(**options, timeout=CONNECT_S)
            except Unavailable:
                await asyncio.sleep(RECONNECT_S)
                continue
            cut = asyncio.Event()
            connection.add_termination_listener(lambda _, cut=cut: cut.set())
            try:
                for channel in self._channels:
                    await connection.add_listener(channel, self._tell)
                self._tell()
                await cut.wait()
            except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
                log.warning("listening for notifications again: %s", type(error).__name__)
            finally:
                connection.terminate()


async def _connect(**options: Any) -> Any:
    try:
        return await asyncpg.connect(**options)
    except Exception as error:
        if is_not_now(error):
            raise Unavailable(SILENT) from error
        raise


def _refuse_closed(dbapi_connection: Any, _: Any, __: Any) -> None:
    """A server that has gone has closed all connections; the pool then makes new ones."""
    if dbapi_connection.driver_connection.is_closed():
        raise exc.InvalidatePoolError


def _translate(context: ExceptionContext) -> None:
    error = context.original_exception
    if isinstance(error, TimeoutError) or _is_half_closed(error):
        # Nobody knows what the connection is at: it must not go back into the pool.
        context.is_disconnect = True
    if context.is_disconnect or is_not_now(error):
        context.chained_exception = Unavailable(SILENT)
