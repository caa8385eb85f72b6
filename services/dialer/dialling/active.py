"""One worker of all works, by an advisory lock of PostgreSQL that a session of its own holds; the
others stand by. With the session goes the lock, and with the lock the work.

For a moment two may work, one of them without knowing yet that its session is gone: what must not
happen twice is held by versions of streams and by the carrier's record of ids.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final

from sqlalchemy.ext.asyncio import AsyncEngine

from eventkit.postgres import is_not_now
from services.dialer.dialling import metrics

log = logging.getLogger(__name__)

LOCK: Final = 0x6469616C
POLL_S = 0.5
PING_TIMEOUT_S = 3.0
MAX_PAUSE_S = 10.0


class Active:
    """work: runs until it is cancelled; what it raises is raised by `run`."""

    def __init__(
        self, engine: AsyncEngine, work: Callable[[], Awaitable[None]], *, lock: int = LOCK
    ) -> None:
        self._engine = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._work = work
        self._lock = lock
        self._stopping = asyncio.Event()
        self.is_ready = False
        self.is_active = False

    def stop(self) -> None:
        self._stopping.set()

    async def run(self) -> None:
        """Work, or stand by, until `stop`."""
        pause = POLL_S
        while not self._stopping.is_set():
            try:
                await self._hold()
                pause = POLL_S
            except Exception as error:
                if not is_not_now(error):
                    raise
                log.warning("PostgreSQL: trying again in %.1f s: %r", pause, error)
                await self._sleep(pause)
                pause = min(2 * pause, MAX_PAUSE_S)

    async def _hold(self) -> None:
        async with self._engine.connect() as connection:
            raw = await connection.get_raw_connection()
            driver: Any = raw.driver_connection
            try:
                is_ours = await driver.fetchval("SELECT pg_try_advisory_lock($1)", self._lock)
                self.is_ready = True
                metrics.IS_ACTIVE.set(int(is_ours))
                if not is_ours:
                    await self._sleep(POLL_S)
                    return
                log.info("active")
                self.is_active = True
                await self._work_while(driver)
            finally:
                self.is_active = False
                metrics.IS_ACTIVE.set(0)
                # With the connection goes its lock.
                await connection.invalidate()

    async def _work_while(self, driver: Any) -> None:
        work = asyncio.ensure_future(self._work())
        try:
            while not self._stopping.is_set() and not work.done():
                await driver.fetchval("SELECT 1", timeout=PING_TIMEOUT_S)
                await self._sleep(POLL_S, work)
        finally:
            work.cancel()
            with suppress(asyncio.CancelledError):
                await work

    async def _sleep(self, seconds: float, *others: "asyncio.Future[Any]") -> None:
        stopping: asyncio.Future[Any] = asyncio.ensure_future(self._stopping.wait())
        await asyncio.wait(
            [stopping, *others], timeout=seconds, return_when=asyncio.FIRST_COMPLETED
        )
        stopping.cancel()
