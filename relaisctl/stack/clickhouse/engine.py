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
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import chdb
from chdb.state.sqlitelike import Connection

from relaisctl.stack.clickhouse.blocks import Block
from relaisctl.stack.clickhouse.protocol import IMPORTANT_SETTING, Progress

Columns = list[tuple[str, str]]
OnProgress = Callable[[Progress], None]

BAD_ARGUMENTS: Final = 36
SYNTAX_ERROR: Final = 62
UNKNOWN_SETTING: Final = 115
QUERY_WAS_CANCELLED: Final = 394
STD_EXCEPTION: Final = 1001
_STREAMED: Final = ("SELECT", "WITH", "(")
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

    def without(self, tag: str) -> EngineError:
        """The same error with positions counted in the client's query, which had no tag."""

        def shift(match: re.Match[str]) -> str:
            return match[1] + str(max(1, int(match[2]) - len(tag)))

        return EngineError(self.code, _POSITION.sub(shift, self.message))


_POSITION: Final = re.compile(r"(failed at position |line 1, col )(\d+)")
_CODE: Final = re.compile(r"Code: (\d+)\. (?:DB::Exception: )?(.*)", re.DOTALL)


def _error(error: Exception) -> EngineError:
    """chDB raises RuntimeError whose text has ``Code: 60. DB::Exception: ... (UNKNOWN_TABLE)``."""
    if match := _CODE.search(str(error)):
        return EngineError(int(match[1]), match[2].strip())
    return EngineError(STD_EXCEPTION, str(error))


def _tag_start(query_id: str) -> str:
    return f"/* query_id {query_id.replace('*/', '')} #"


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
        rows = self._ask("SELECT name, value, changed FROM system.settings")
        self.settings = frozenset(name for name, _, _ in rows)
        self.changed_settings = {name: value for name, value, changed in rows if changed}
        version, self.timezone = self._ask("SELECT version(), timezone()")[0]
        major, minor, patch = (int(part) for part in str(version).split(".")[:3])
        self.version = (major, minor, patch)

    def connect(self) -> Connection:
        return chdb.connect(self._path)

    def session(self, database: str, on_progress: OnProgress) -> Session:
        """Raises EngineError (81) when the database does not exist."""
        return Session(self, database, on_progress)

    def tag(self, query_id: str) -> str:
        """A comment to run a query behind, that no other query of this process carries.

        chDB gives queries ids of its own; the client's stands in the tag.
        """
        return f"{_tag_start(query_id)}{next(self._tags)} */ "

    def kill(self, tag: str) -> None:
        """Asks the query behind ``tag`` to stop, if it runs. Raises EngineError."""
        with self._lock:
            try:
                condition = f"startsWith(query, {literal(tag)})"
                self._control.query(f"KILL QUERY WHERE {condition} ASYNC", "Null")
            except RuntimeError as error:
                raise _error(error) from error

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
        self._on_progress = on_progress
        self._reporting = False
        self.progress = Progress()
        self._database = database
        self._initial = engine.changed_settings
        self._base: dict[str, str] = dict(_BASE_SETTINGS)  # what the session itself has set
        self._applied: dict[str, str] = {}  # what the last query has set on top
        try:
            self._open()
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
        changed = {n: value for n, value in wanted.items() if self._applied.get(n) != value}
        try:
            self._set({name: self._base.get(name) for name in stale})
        except EngineError:  # such as readonly = 1, which forbids to set it back
            self._reopen()
            changed = wanted
        self._applied = wanted  # also if setting them fails halfway: they are set back then
        self._set(changed)

    def _set(self, settings: Mapping[str, str | None]) -> None:
        if settings:
            pairs = (f"{n} = {'DEFAULT' if v is None else literal(v)}" for n, v in settings.items())
            self._query("SET " + ", ".join(pairs))

    def _session_set(self, sql: str) -> None:
        """A client's own SET: lasts, so it becomes what later queries are set back to."""
        self.apply({})
        self._query(sql)
        changed = self._rows("SELECT name, value FROM system.settings WHERE changed")
        own = {name: value for name, value in changed if self._initial.get(name) != value}
        self._base = {**_BASE_SETTINGS, **own}

    def _reopen(self) -> None:
        """A new connection to the engine with the same database and settings of the session.
        Temporary tables are gone."""
        self._conn.close()
        self._open()

    def _open(self) -> None:
        self._conn = self._engine.connect()
        self._conn.set_progress_callback(self._progress)
        self._set(self._base)
        if self._database:
            self._query(f"USE {identifier(self._database)}")

    # queries

    def execute(
        self, sql: str, params: Mapping[str, str], tag: str
    ) -> Generator[bytes, None, None]:
        """Runs any statement; yields its result as Native bytes, whole blocks a piece.

        A SELECT is streamed: what is not taken is not computed far ahead, and closing the
        generator cancels it.
        """
        self.progress = Progress()
        word = first_word(sql)
        if ";" in sql.rstrip("; \n\t") and self._statements(sql) > 1:
            raise EngineError(SYNTAX_ERROR, "Multi-statements are not allowed. (SYNTAX_ERROR)")
        if word == "SET":
            self._session_set(sql)
            return
        if word == "KILL":
            sql = _KILL_BY_ID.sub(lambda m: f"startsWith(query, {literal(_tag_start(m[1]))})", sql)
        self._reporting = True
        try:
            yield from self._run(word, tag + sql, params)
        except EngineError as error:
            raise error.without(tag) from error
        finally:
            self._reporting = False
        if word == "USE":
            self._database = self._rows("SELECT currentDatabase()")[0][0]

    def _run(self, word: str, sql: str, params: Mapping[str, str]) -> Iterator[bytes]:
        if word in _STREAMED:
            try:
                yield from self._stream(sql, params)
                return
            except EngineError as error:
                if _NOT_STREAMABLE not in error.message:
                    raise
        result = self._query(sql, "Native", params)
        self._done(result.storage_rows_read(), result.storage_bytes_read())
        self.progress.written_rows = result.rows_written()
        self.progress.written_bytes = result.bytes_written()
        if result.size():
            yield result.bytes()

    def _statements(self, sql: str) -> int:
        # Not in chdb's public classes, but a semicolon may stand in a string or a comment.
        count: int = self._conn._conn.classify_query(sql)["statement_count"]
        return count

    def _stream(self, sql: str, params: Mapping[str, str]) -> Iterator[bytes]:
        rows = size = 0
        stream: Any = None
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
        """The columns of a result that had no rows, which the engine then does not tell; empty
        for statements that give no table."""
        word = first_word(sql)
        try:
            if word in _STREAMED:
                rows = self._rows(f"DESCRIBE ({sql.rstrip().rstrip(';')}\n)", params)
                return [(row[0], row[1]) for row in rows]
            if word in ("SHOW", "DESCRIBE", "DESC", "EXPLAIN"):
                text = self._query(sql, "JSONCompact", params).bytes().decode()
                return [(item["name"], item["type"]) for item in json.loads(text)["meta"]]
        except EngineError:
            pass  # the query itself has succeeded: its result is empty, only nameless
        return []

    # inserts

    def target_columns(self, target: InsertTarget) -> Columns:
        """The columns that an INSERT takes, in its order."""
        try:
            rows = self._rows(f"DESCRIBE (SELECT {target.columns} FROM {target.table})")
        except EngineError:
            self._send_insert(target.sql).cancel()  # its error names what is wrong with an INSERT
            raise
        return [(row[0], row[1]) for row in rows]

    @contextmanager
    def insert(self, target: InsertTarget, tag: str = "") -> Iterator[Insert]:
        """An INSERT of blocks. Left without ``finish`` it is cancelled, and nothing is stored.

        The engine itself commits early what exceeds ``min_insert_block_size_rows`` (a million)
        or ``_bytes`` (256 MiB) in one INSERT, as the server does.
        """
        self.progress = Progress()
        inserter = self._send_insert(tag + target.sql)
        try:
            yield Insert(self, inserter)
        finally:
            inserter.cancel()  # does nothing after finish

    def _send_insert(self, sql: str) -> Any:
        try:
            return self._conn.send_insert(sql, "Native")
        except RuntimeError as error:
            raise _error(error) from error

    @contextmanager
    def temporary(self, tables: Sequence[tuple[str, Block]]) -> Iterator[None]:
        """Tables that exist for one query. Several blocks may be of one table."""
        names = list(dict.fromkeys(name for name, _ in tables))
        try:
            for name, block in tables:
                columns = ", ".join(f"{identifier(n)} {spec}" for n, spec in block.columns)
                self._query(f"CREATE TEMPORARY TABLE IF NOT EXISTS {identifier(name)} ({columns})")
                if block.rows:
                    with self.insert(InsertTarget(identifier(name), None, "")) as insert:
                        insert.append(block)
                        insert.finish()
            yield
        finally:
            for name in names:
                self._query(f"DROP TEMPORARY TABLE IF EXISTS {identifier(name)}")

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


class Insert:
    """An open INSERT: ``append`` any number of blocks, then ``finish``. Both raise EngineError.

    What was appended is on disk when ``finish`` has returned, and only then: a part's files are
    written and renamed into place, so it outlives a SIGKILL (a power cut may still undo it).
    """

    def __init__(self, session: Session, inserter: Any) -> None:
        self._session = session
        self._inserter = inserter

    def append(self, block: Block) -> None:
        try:
            self._inserter.append(block.engine_bytes())
        except RuntimeError as error:
            raise _error(error) from error

    def finish(self) -> None:
        try:
            result = self._inserter.finish()
        except RuntimeError as error:
            raise _error(error) from error
        self._session.progress.written_rows = result.rows_written
        self._session.progress.written_bytes = result.bytes_written


# --- reading SQL, as little as possible ----------------------------------------------------------

_SPACE: Final = r"(?:\s|--[^\n]*(?:\n|$)|/\*.*?\*/)*"
_WORD: Final = re.compile(_SPACE + r"(\w+|.)?", re.DOTALL)


def first_word(sql: str) -> str:
    """The first word of a statement after comments, in capitals; a bracket counts as a word."""
    match = _WORD.match(sql)
    return (match[1] or "").upper() if match else ""


_KILL_BY_ID: Final = re.compile(r"\bquery_id\s*=\s*'([^'\\]*)'", re.IGNORECASE)
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
