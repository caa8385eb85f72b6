"""chDB as an engine for several clients: sessions that know nothing of packets.

What chDB gives: any number of connections to one data folder in one process, which run in
parallel; ``send_query`` streams a SELECT chunk by chunk; ``send_insert`` takes raw Native bytes
and commits them on ``finish``. What it lacks, and is added here:

* settings of one query: ``SET`` before it, and set back before the next that does not want them;
* stopping a query: each runs behind a comment that names it, by which ``KILL QUERY`` finds it;
* the columns of a result without rows, or of an INSERT's target: ``DESCRIBE``;
* error codes: parsed from the message.
"""

from __future__ import annotations

import itertools
import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import chdb
from chdb.state.sqlitelike import Connection, StreamingInserter

from relaisctl.stack.clickhouse.blocks import Block
from relaisctl.stack.clickhouse.protocol import IMPORTANT_SETTING, Progress

Columns = list[tuple[str, str]]
OnProgress = Callable[[Progress], None]

UNKNOWN_DATABASE: Final = 81
UNKNOWN_SETTING: Final = 115
SYNTAX_ERROR: Final = 62
QUERY_WAS_CANCELLED: Final = 394
STD_EXCEPTION: Final = 1001
_NOT_STREAMABLE: Final = "Streaming query is not supported"

# chDB inserts asynchronously by default; here an acknowledged insert is a part on disk, and a
# deduplication token keeps its meaning (asynchronous inserts have a window of their own).
_BASE_SETTINGS: Final = {"async_insert": "0"}


class EngineError(Exception):
    """An error of the engine: ClickHouse's code, and its message without the code."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


_CODE: Final = re.compile(r"Code: (\d+)\. (?:DB::Exception: )?(.*)", re.DOTALL)


def _error(error: Exception) -> EngineError:
    """chDB raises RuntimeError with ``Code: 60. DB::Exception: ... (UNKNOWN_TABLE)`` in its text."""
    if match := _CODE.search(str(error)):
        return EngineError(int(match[1]), match[2].strip())
    return EngineError(STD_EXCEPTION, str(error))


def literal(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def identifier(name: str) -> str:
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"


class Engine:
    """One data folder, owned by this process. Thread-safe.

    :param data: folder of the database, created when absent; one process may own it.
    """

    def __init__(self, data: Path) -> None:
        data.mkdir(parents=True, exist_ok=True)
        self._path = quote(str(data.resolve()), safe="/")
        self._control = self.connect()
        self._lock = threading.Lock()
        self._tags = itertools.count(1)
        rows = self._ask("SELECT name FROM system.settings")
        self.settings = frozenset(row[0] for row in rows)
        version, self.timezone = self._ask("SELECT version(), timezone()")[0]
        major, minor, patch = (int(part) for part in str(version).split(".")[:3])
        self.version = (major, minor, patch)

    def connect(self) -> Connection:
        return chdb.connect(self._path)

    def session(self, database: str, on_progress: OnProgress) -> Session:
        """Raises EngineError (81) when the database does not exist."""
        return Session(self, database, on_progress)

    def tag(self) -> str:
        """A comment that no other query of this process carries."""
        return f"/* query {next(self._tags)} */ "

    def kill(self, condition: str) -> None:
        """Stops the queries of ``system.processes`` for which ``condition`` holds, soon."""
        with self._lock:
            self._control.query(f"KILL QUERY WHERE {condition} ASYNC", "Null")

    def _ask(self, sql: str) -> list[list[Any]]:
        text = self._control.query(sql, "JSONCompactEachRow").bytes().decode()
        return [json.loads(line) for line in text.splitlines()]

    def close(self) -> None:
        with self._lock:
            self._control.close()


class Session:
    """What a client's connection keeps between queries: database, settings, temporary tables.

    One thread uses it. Every method that runs SQL raises EngineError.

    :param on_progress: called with totals while a query runs, about every 100 ms.
    """

    def __init__(self, engine: Engine, database: str, on_progress: OnProgress) -> None:
        self._engine = engine
        self._conn = engine.connect()
        self._on_progress = on_progress
        self._conn.set_progress_callback(self._progress)
        self._base = dict(_BASE_SETTINGS)  # what the session itself has set
        self._applied: dict[str, str] = {}  # what the last query has set on top
        self._reporting = False
        self.progress = Progress()
        self._set(self._base)
        if database:
            try:
                self._query(f"USE {identifier(database)}")
            except EngineError:
                self.close()
                raise

    def close(self) -> None:
        self._conn.close()

    # settings

    def apply(self, settings: Mapping[str, tuple[str, int]]) -> None:
        """Makes exactly these the settings of the next query. An unknown name is an error (115)
        when it is flagged as important, and ignored otherwise, as the server does."""
        wanted = {}
        for name, (value, flags) in settings.items():
            if name in self._engine.settings:
                wanted[name] = value
            elif flags & IMPORTANT_SETTING:
                raise EngineError(UNKNOWN_SETTING, f"Unknown setting '{name}'. (UNKNOWN_SETTING)")
        if wanted == self._applied:
            return
        stale = [name for name in self._applied if name not in wanted]
        self._applied = {**wanted, **{name: "" for name in stale}}  # what holds if SET fails
        self._set({name: self._base.get(name) for name in stale})
        self._applied = wanted
        self._set(wanted)

    def _set(self, settings: Mapping[str, str | None]) -> None:
        # One by one: a failing setting leaves the others in a known state.
        for name, value in settings.items():
            self._query(f"SET {name} = {'DEFAULT' if value is None else literal(value)}")

    def _session_set(self, sql: str) -> None:
        """A client's own SET: lasts, so it becomes what later queries are set back to."""
        self.apply({})
        self._query(sql)
        changed = self._rows("SELECT name, value FROM system.settings WHERE changed")
        self._base = {**_BASE_SETTINGS, **dict(changed)}

    # queries

    def execute(self, sql: str, params: Mapping[str, str], tag: str) -> Iterator[bytes]:
        """Runs any statement; yields its result as Native bytes, whole blocks a piece.

        A SELECT is streamed: what the client does not take is not computed far ahead.
        """
        self.progress = Progress()
        word = first_word(sql)
        if word == "SET":
            self._session_set(sql)
            return
        self._reporting = True
        try:
            yield from self._execute(word, sql, params, tag)
        finally:
            self._reporting = False

    def _execute(
        self, word: str, sql: str, params: Mapping[str, str], tag: str
    ) -> Iterator[bytes]:
        if word in ("SELECT", "WITH", "("):
            try:
                yield from self._stream(tag + sql, params)
                return
            except EngineError as error:
                if _NOT_STREAMABLE not in error.message:
                    raise
        result = self._query(tag + sql, "Native", params)
        self._done(result.storage_rows_read(), result.storage_bytes_read())
        self.progress.written_rows = result.rows_written()
        self.progress.written_bytes = result.bytes_written()
        if result.size():
            yield result.bytes()

    def _stream(self, sql: str, params: Mapping[str, str]) -> Iterator[bytes]:
        rows = size = 0
        stream = None
        try:
            stream = self._conn.send_query(sql, "Native", params=dict(params))
            while (chunk := stream.fetch()) is not None:
                rows += chunk.storage_rows_read()
                size += chunk.storage_bytes_read()
                yield chunk.bytes()
            self._done(rows, size)
        except RuntimeError as error:
            raise _error(error) from error
        finally:
            if stream is not None:
                stream.close()

    def describe(self, sql: str, params: Mapping[str, str]) -> Columns:
        """Names and types of what a query without rows would have given; none if it gives none."""
        word = first_word(sql)
        if word in ("SELECT", "WITH", "("):
            rows = self._rows(f"DESCRIBE ({sql.rstrip().rstrip(';')}\n)", params)
            return [(row[0], row[1]) for row in rows]
        if word in ("SHOW", "DESCRIBE", "DESC", "EXPLAIN", "EXISTS", "CHECK", "KILL"):
            text = self._query(sql, "JSONCompact", params).bytes().decode()
            return [(item["name"], item["type"]) for item in json.loads(text)["meta"]]
        return []

    # inserts

    def insert(self, target: InsertTarget, tag: str) -> tuple[StreamingInserter, Columns]:
        """Opens an INSERT whose data the client sends, and tells the columns that it wants.

        Appended bytes are on disk when ``finish`` has returned, and only then.
        """
        self.progress = Progress()
        try:
            rows = self._rows(f"DESCRIBE (SELECT {target.columns} FROM {target.table})")
        except EngineError:
            self._open_insert(target.sql).cancel()  # knows better what is wrong with an INSERT
            raise
        return self._open_insert(tag + target.sql), [(row[0], row[1]) for row in rows]

    def _open_insert(self, sql: str) -> StreamingInserter:
        try:
            return self._conn.send_insert(sql, "Native")
        except RuntimeError as error:
            raise _error(error) from error

    def append(self, inserter: StreamingInserter, block: Block) -> None:
        try:
            inserter.append(block.engine_bytes())
        except RuntimeError as error:
            raise _error(error) from error

    def finish(self, inserter: StreamingInserter) -> None:
        try:
            result = inserter.finish()
        except RuntimeError as error:
            raise _error(error) from error
        self.progress.written_rows = result.rows_written
        self.progress.written_bytes = result.bytes_written

    # helpers

    def _query(self, sql: str, form: str = "Null", params: Mapping[str, str] | None = None) -> Any:
        try:
            return self._conn.query(sql, form, params=dict(params or {}))
        except RuntimeError as error:
            raise _error(error) from error

    def _rows(self, sql: str, params: Mapping[str, str] | None = None) -> list[list[Any]]:
        text = self._query(sql, "JSONCompactEachRow", params).bytes().decode()
        return [json.loads(line) for line in text.splitlines()]

    def _progress(self, now: Mapping[str, int]) -> None:
        if not self._reporting:  # a query of our own, such as DESCRIBE
            return
        self.progress = Progress(
            now["read_rows"],
            now["read_bytes"],
            now["total_rows_to_read"],
            now["written_rows"],
            now["written_bytes"],
        )
        self._on_progress(self.progress)

    def _done(self, rows: int, size: int) -> None:
        self.progress.rows = max(self.progress.rows, rows)
        self.progress.bytes = max(self.progress.bytes, size)


# --- reading SQL, as little as possible ----------------------------------------------------------

_SPACE: Final = r"(?:\s|--[^\n]*(?:\n|$)|/\*.*?\*/)*"
_WORD: Final = re.compile(_SPACE + r"(\w+|.)?", re.DOTALL)


def first_word(sql: str) -> str:
    """The first word of a statement after comments, in capitals; a bracket counts as a word."""
    match = _WORD.match(sql)
    return (match[1] or "").upper() if match else ""


_NAME: Final = r'(?:`(?:[^`\\]|\\.)*`|"(?:[^"\\]|\\.)*"|\w+)'
_VALUE: Final = r"(?:'(?:[^'\\]|\\.|'')*'|[^\s,;']+)"
_SETTINGS: Final = rf"\w+\s*=\s*{_VALUE}"
_INSERT: Final = re.compile(
    rf"{_SPACE}INSERT\s+INTO\s+(?:TABLE\s+)?"
    rf"(?P<table>FUNCTION\s+\w+\s*\((?:[^()']|'(?:[^'\\]|\\.)*')*\)|{_NAME}(?:\.{_NAME})?)\s*"
    r"(?:\((?P<columns>[^()]*(?:\([^()]*\)[^()]*)*)\)\s*)?"
    rf"(?P<settings>SETTINGS\s+{_SETTINGS}(?:\s*,\s*{_SETTINGS})*)?\s*"
    rf"(?:(?<![\w`\"])(?:VALUES|FORMAT\s+\w+))?{_SPACE};?{_SPACE}",
    re.DOTALL | re.IGNORECASE,
)


class InsertTarget:
    """An INSERT whose rows the client sends in blocks: ``INSERT INTO t (a, b) VALUES``."""

    def __init__(self, table: str, columns: str | None, settings: str) -> None:
        self.table = re.sub(r"^FUNCTION\s+", "", table, flags=re.IGNORECASE)
        self.columns = columns.strip() if columns and columns.strip() else "*"
        self.sql = f"INSERT INTO {table}{f' ({columns})' if columns else ''} {settings}"

    @classmethod
    def parse(cls, sql: str) -> InsertTarget | None:
        """None for any other statement, such as INSERT ... SELECT or one with its values in it."""
        if first_word(sql) != "INSERT" or not (match := _INSERT.fullmatch(sql)):
            return None
        return cls(match["table"], match["columns"], match["settings"] or "")
