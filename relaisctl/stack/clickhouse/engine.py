"""chDB as an engine for several clients: sessions that know nothing of packets.

What chDB gives: any number of connections to one data folder in one process, which run in
parallel; ``send_query``, which streams a SELECT chunk by chunk; ``FROM INFILE``, which inserts
Native blocks from a file. What it lacks, and is added here:

* settings of one query: ``SET`` before it, and set back before the next that does not want them;
* stopping a query: each runs behind a comment that names it, by which ``KILL QUERY`` finds it;
* the columns of a result without rows, or of an INSERT's target: ``DESCRIBE``;
* error codes: parsed from the message.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import shutil
import tempfile
import threading
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Final

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
_SPILL_BYTES: Final = 256 << 20
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
    name = name.encode("utf-8", "replace").decode()  # chDB takes no other text
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"


def _query(
    conn: Connection, sql: str, form: str = "Null", params: Mapping[str, str] | None = None
) -> Any:
    try:
        return conn.query(sql, form, params=dict(params or {}))
    except RuntimeError as error:
        raise _error(error) from error


def _rows(conn: Connection, sql: str, params: Mapping[str, str] | None = None) -> list[list[Any]]:
    text = _query(conn, sql, "JSONCompactEachRow", params).bytes().decode()
    return [json.loads(line) for line in text.splitlines()]


def _set(conn: Connection, settings: Mapping[str, str | None]) -> None:
    """Sets all or, when one of them is refused, those before it; None is the default."""
    if settings:
        pairs = (f"{n} = {'DEFAULT' if v is None else literal(v)}" for n, v in settings.items())
        _query(conn, "SET " + ", ".join(pairs))


class Engine:
    """One data folder, owned by this process. Thread-safe.

    :param data: folder of the database, created when absent.
    :raises ValueError: the folder's name cannot be given to chDB.
    :raises EngineError: the folder cannot be opened, or another process has it open.
    """

    def __init__(self, data: Path) -> None:
        self.data = data.resolve()
        if "?" in str(self.data):  # chDB reads options after it, and knows no escape
            raise ValueError(f"data folder {self.data}: its name has a question mark")
        self.data.mkdir(parents=True, exist_ok=True)
        try:
            self._control = self.connect()
        except RuntimeError as error:
            reason = _error(error).message
            hint = "is it in use by another process?"
            raise EngineError(STD_EXCEPTION, f"data folder {self.data}: {hint} {reason}") from error
        self._lock = threading.Lock()
        self._tags = itertools.count(1)
        rows = _rows(self._control, "SELECT name, value, changed FROM system.settings")
        self.settings = frozenset(name for name, _, _ in rows)
        self.changed_settings = {name: value for name, value, changed in rows if changed}
        version, self.timezone = _rows(self._control, "SELECT version(), timezone()")[0]
        major, minor, patch = (int(part) for part in str(version).split(".")[:3])
        self.version = (major, minor, patch)

    def connect(self) -> Connection:
        return chdb.connect(str(self.data))

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
            _query(self._control, f"KILL QUERY WHERE startsWith(query, {literal(tag)}) ASYNC")

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
        self._conn = self._connect(self._progress)

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
            _set(self._conn, {name: self._base.get(name) for name in stale})
        except EngineError:  # such as readonly = 1, which forbids to set it back
            self._conn.close()  # and its temporary tables are gone
            self._applied, changed = {}, wanted
            self._conn = self._connect(self._progress)
        self._applied = wanted  # also when one is refused: those before it are set back then
        _set(self._conn, changed)

    def _session_set(self, sql: str) -> None:
        """A client's own SET: lasts, so it becomes what later queries are set back to."""
        self.apply({})
        self._query(sql)
        changed = self._rows("SELECT name, value FROM system.settings WHERE changed")
        own = {name: value for name, value in changed if self._initial.get(name) != value}
        self._base = {**_BASE_SETTINGS, **own}

    def _connect(self, on_progress: Callable[[Mapping[str, int]], None] | None) -> Connection:
        """A connection to the engine with the database and all settings of this session."""
        conn = self._engine.connect()
        try:
            if on_progress:
                conn.set_progress_callback(on_progress)
            if self._database:
                _query(conn, f"USE {identifier(self._database)}")
            _set(conn, {**self._base, **self._applied})
        except EngineError:
            conn.close()
            raise
        return conn

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
                return self._describe(self._conn, sql, params)
            if word in ("SHOW", "DESCRIBE", "DESC", "EXPLAIN"):
                text = self._query(sql, "JSONCompact", params).bytes().decode()
                return [(item["name"], item["type"]) for item in json.loads(text)["meta"]]
        except EngineError:
            pass  # the query itself has succeeded: its result is empty, only nameless
        return []

    def with_zones(self, columns: Columns, sql: str, params: Mapping[str, str]) -> Columns:
        """Columns of a result with the time zones that its blocks do not tell.

        In the dialect of revision 0 a DateTime('Asia/Jerusalem') is called DateTime (DateTime64
        keeps its zone), so when there is one the query is described. That is done on another
        connection, because this one streams; where it fails, as it does for temporary tables,
        which are this one's, the zone stays unknown.
        """
        if all(spec != "DateTime" for _, spec in columns) or first_word(sql) not in _STREAMED:
            return columns
        other = self._connect(None)
        try:
            described = self._describe(other, sql, params)
        except EngineError:
            return columns
        finally:
            other.close()
        return described if len(described) == len(columns) else columns

    def _describe(self, conn: Connection, sql: str, params: Mapping[str, str]) -> Columns:
        rows = _rows(conn, f"DESCRIBE ({sql.rstrip().rstrip(';')}\n)", params)
        return [(row[0], row[1]) for row in rows]

    # inserts

    def target_columns(self, target: InsertTarget) -> Columns:
        """The columns that an INSERT takes, in its order."""
        try:
            rows = self._rows(f"DESCRIBE (SELECT {target.columns} FROM {target.table})")
        except EngineError:
            self._query(target.sql_from("/dev/null"))  # its error names what is wrong with INSERT
            raise
        return [(row[0], row[1]) for row in rows]

    @contextmanager
    def insert(self, target: InsertTarget, tag: str = "") -> Iterator[Insert]:
        """An INSERT of blocks. Left without ``finish`` nothing has been stored.

        The engine commits separately what exceeds ``min_insert_block_size_rows`` (a million) or
        ``_bytes`` (256 MiB) in one INSERT, as the server does.
        """
        self.progress = Progress()
        insert = Insert(self, target, tag, self._engine.data)
        try:
            yield insert
        finally:
            insert.close()

    def insert_file(self, target: InsertTarget, path: str, tag: str) -> None:
        """Inserts a file of Native blocks."""
        try:
            result = self._query(tag + target.sql_from(path))
        except EngineError as error:
            raise error.without(tag) from error
        self.progress.written_rows = result.rows_written()
        self.progress.written_bytes = result.bytes_written()

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
        return _query(self._conn, sql, form, params)

    def _rows(self, sql: str) -> list[list[Any]]:
        return _rows(self._conn, sql)

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
    """An open INSERT: ``append`` any number of blocks, then ``finish``.

    Blocks are collected in a memory file, beyond 256 MiB in a nameless one on disk, which the
    engine reads by its path when the last has come. So an INSERT whose client leaves has not
    begun; and it is one plain INSERT, with the server's deduplication. (chDB's own streaming
    insert looks made for this, but reports success when the final commit has failed: a violated
    constraint or an error in a view would be acknowledged and lost.)

    When ``finish`` has returned, the parts' files are written and renamed into place: that
    outlives a SIGKILL (a power cut may still undo it, as on a server without fsync).
    """

    def __init__(self, session: Session, target: InsertTarget, tag: str, spill: Path) -> None:
        self._session = session
        self._target = target
        self._tag = tag
        self._spill = spill
        self._in_memory = True
        self._file: IO[bytes] = os.fdopen(os.memfd_create("insert"), "w+b")

    def append(self, block: Block) -> None:
        self._file.writelines(block.cuts)
        if self._in_memory and self._file.tell() > _SPILL_BYTES:
            on_disk = tempfile.TemporaryFile(dir=self._spill)  # noqa: SIM115  (closed by close)
            self._file.seek(0)
            shutil.copyfileobj(self._file, on_disk, 1 << 20)
            self._file.close()
            self._file, self._in_memory = on_disk, False

    def finish(self) -> None:
        """Raises EngineError; then nothing is stored of what one commit would have taken."""
        self._file.flush()
        if self._file.tell():
            self._session.insert_file(
                self._target, f"/proc/self/fd/{self._file.fileno()}", self._tag
            )

    def close(self) -> None:
        self._file.close()


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
        self._into = f"INSERT INTO {table}{f' ({columns})' if columns else ''}"
        self._settings = settings

    def sql_from(self, path: str) -> str:
        """The same INSERT, of a file's blocks."""
        infile = f"FROM INFILE {literal(path)} COMPRESSION 'none'"
        return f"{self._into} {infile} {self._settings} FORMAT Native"

    @classmethod
    def parse(cls, sql: str) -> InsertTarget | None:
        """None for any other statement, such as INSERT ... SELECT or one with its values in it."""
        if first_word(sql) != "INSERT" or not (match := _INSERT.fullmatch(sql)):
            return None
        return cls(match["table"], match["columns"], match["settings"] or "")
