"""Into ClickHouse, patiently: an insert returns when its rows are stored, however long that takes.

While ClickHouse does not answer, or has too much to do, everything waits: nothing is committed,
nothing is lost, and health and log say so. An answer that no patience can change (no such column,
no such user) is raised and stops the process.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from clickhouse_driver import Client
from clickhouse_driver.errors import Error, ErrorCodes, NetworkError, ServerException

from services.analytics import schema

log = logging.getLogger(__name__)

FIRST_WAIT_S: Final = 0.2
LONGEST_WAIT_S: Final = 10.0
_BUSY: Final = {
    ErrorCodes.TIMEOUT_EXCEEDED,
    ErrorCodes.TOO_MANY_SIMULTANEOUS_QUERIES,
    ErrorCodes.SOCKET_TIMEOUT,
    ErrorCodes.NETWORK_ERROR,
    ErrorCodes.ABORTED,
    ErrorCodes.MEMORY_LIMIT_EXCEEDED,
    ErrorCodes.NOT_ENOUGH_SPACE,
    ErrorCodes.TOO_MANY_PARTS,
    ErrorCodes.QUERY_WAS_CANCELLED,
}
_INSERT: Final = {
    # A repeat under the same token adds nothing, in the table and in what is derived from it.
    # Neither works for rows that the server collects from several inserts.
    "async_insert": 0,
    "insert_deduplicate": 1,
    "deduplicate_blocks_in_dependent_materialized_views": 1,
    # Copies within one insert are rare; merges and FINAL deal with them.
    "optimize_on_insert": 0,
}


class Unavailable(Exception):
    """ClickHouse did not answer before the process was told to stop."""


class Store:
    """One connection to ClickHouse, used from a thread of its own.

    url: clickhouse://user:password@host:port/database, with clickhouse-driver's options.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._client: Client | None = None
        self._thread = ThreadPoolExecutor(1, "clickhouse")
        self._stopping = asyncio.Event()
        self._fault = ""

    def answers(self) -> bool:
        """False while something waits for ClickHouse."""
        return not self._fault

    async def migrate(self) -> None:
        """Create the tables and views that are missing."""
        applied = await self._patiently(lambda: schema.migrate(self._url))
        if applied:
            log.info("applied migrations: %s", ", ".join(applied))

    async def insert(self, table: str, columns: Mapping[str, list[Any]], token: str = "") -> None:
        """Insert columns of equal length (times as integers). Nothing is done without rows.

        token: an earlier insert with this token, if it is among the table's last thousand, was
        this one. Raises Unavailable after `stop`, and ServerException for what is not transient.
        """
        if not any(columns.values()):
            return
        names = ", ".join(columns)
        settings = {**_INSERT, "insert_deduplication_token": token} if token else _INSERT

        def insert() -> None:
            # The driver writes into the lists that it is given: each attempt has its own.
            self._connected().execute(
                f"INSERT INTO {table} ({names}) VALUES",
                [list(column) for column in columns.values()],
                columnar=True,
                settings=settings,
            )

        await self._patiently(insert)

    def stop(self) -> None:
        """Wait for nothing any longer. Callable from a signal handler."""
        self._stopping.set()

    def close(self) -> None:
        self._thread.shutdown()
        self._disconnect()

    async def _patiently(self, action: Callable[[], Any]) -> Any:
        wait = FIRST_WAIT_S
        while True:
            try:
                result = await asyncio.get_running_loop().run_in_executor(self._thread, action)
            except (Error, OSError, EOFError) as error:
                self._disconnect()
                if not _transient(error):
                    raise
                self._fault = f"{type(error).__name__}: {error}".splitlines()[0]
            else:
                if self._fault:
                    log.info("ClickHouse answers again")
                    self._fault = ""
                return result
            log.warning("ClickHouse: trying again in %.1f s: %s", wait, self._fault)
            if await self._stopped_within(wait):
                raise Unavailable(self._fault)
            wait = min(2 * wait, LONGEST_WAIT_S)

    async def _stopped_within(self, seconds: float) -> bool:
        try:
            await asyncio.wait_for(self._stopping.wait(), seconds)
        except TimeoutError:
            return False
        return True

    def _connected(self) -> Client:
        if self._client is None:
            self._client = Client.from_url(self._url)
        return self._client

    def _disconnect(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            client.disconnect()


def _transient(error: Exception) -> bool:
    if isinstance(error, ServerException) and not isinstance(error, NetworkError):
        return error.code in _BUSY
    return True
