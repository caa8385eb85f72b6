"""What must outlive the process, in one file of SQLite: which calls were dialled, what became of
them, how far each subscriber has come. No number and no name is in it.

A call's id is in the table `calls` before it is dialled, so that it is dialled at most once,
whatever is killed and repeated; an id that somebody has asked for in vain is there too, as used up.
A result is in `results` before anybody hears of it. What was under way when the process was killed
is over when the journal is opened again: its line is gone.

One thread writes. What has come in while it committed goes into its next transaction, so a commit
costs the same for one call as for a hundred: with synchronous=FULL, so that the machine may lose
its power too, half a millisecond on an SSD.
"""

import asyncio
import fcntl
import queue
import sqlite3
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import msgspec

from services.dialer.carrier.calls import (
    Answered,
    Connected,
    GreetingEnded,
    MessageStarted,
    Over,
    Result,
    Ringing,
    What,
    Why,
)

T = TypeVar("T")

KEEP_US = 2 * 86_400 * 1_000_000
"""Ids, and results that every subscriber has acknowledged: twice what the contract asks for. No id
can be dialled later than an hour after its Dial, so a forgotten one is not dialled again."""
PRUNE = 10_000
"""Rows at a time, so that nobody waits for it."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS born (at INTEGER NOT NULL);
-- dialled_at, connected_at, over_at: microseconds since 1970. Never dialled: it is used up.
CREATE TABLE IF NOT EXISTS calls (
    client_id TEXT NOT NULL,
    call_id TEXT NOT NULL,
    known_at INTEGER NOT NULL,
    dialled_at INTEGER,
    connected_at INTEGER,
    over_at INTEGER,
    PRIMARY KEY (client_id, call_id)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS calls_open ON calls (dialled_at)
    WHERE over_at IS NULL AND dialled_at IS NOT NULL;
CREATE INDEX IF NOT EXISTS calls_known ON calls (known_at);
CREATE TABLE IF NOT EXISTS results (
    position INTEGER PRIMARY KEY,
    client_id TEXT NOT NULL,
    call_id TEXT NOT NULL,
    at INTEGER NOT NULL,
    what TEXT NOT NULL,
    detail TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS subscribers (
    name TEXT PRIMARY KEY,
    acknowledged INTEGER NOT NULL
) WITHOUT ROWID;
"""


class Key(NamedTuple):
    client_id: str
    call_id: str


class Entry(NamedTuple):
    """A result on record."""

    position: int
    key: Key
    result: Result


class Taken(StrEnum):
    """What the journal says of a call that is to be dialled."""

    NEW = "new"
    KNOWN = "known"
    USED_UP = "used-up"
    ABSENT = "absent"
    """It is not to be dialled, and was not before."""


class Known(NamedTuple):
    dialled: bool
    over: bool


_WHATS: dict[str, type[What]] = {
    "ringing": Ringing,
    "answered": Answered,
    "greeting-ended": GreetingEnded,
    "connected": Connected,
    "message-started": MessageStarted,
    "over": Over,
}
_NAMES = {kind: name for name, kind in _WHATS.items()}

_Op = Callable[[sqlite3.Connection], Any]


class Journal:
    """All methods are called in the event loop that it was opened in; futures are done when what
    they stand for is committed, in the order of the calls.

    born_at: when this journal was begun. position: the last one that was given to a result. failed:
    done, with the error, when nothing can be written any more; then the process must end.
    """

    def __init__(
        self,
        path: Path,
        now_us: int,
        committed: Callable[[list[Entry]], None] = lambda entries: None,
    ) -> None:
        """committed: told of results when they are on record, in the event loop.

        Raises OSError, BlockingIOError where another process has it, sqlite3.Error.
        """
        self._lock = path.with_name(path.name + ".lock").open("w")
        # SQLite would let two carriers write: each would then dial what the other has on record.
        fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self._loop = asyncio.get_running_loop()
        self.failed: asyncio.Future[None] = self._loop.create_future()
        self._committed = committed
        self._database = _open(path)
        self.born_at, self.position = _recover(self._database, now_us)
        self._queue: queue.SimpleQueue[tuple[_Op, asyncio.Future[Any], list[Entry]] | None] = (
            queue.SimpleQueue()
        )
        self._writer = threading.Thread(target=self._write, name="journal", daemon=True)
        self._writer.start()

    async def close(self) -> None:
        """What was asked for is committed."""
        self._queue.put(None)
        await asyncio.to_thread(self._writer.join)
        self._database.close()
        self._lock.close()

    # What is written.

    def dial(self, keys: Sequence[tuple[Key, bool]], at: int) -> "asyncio.Future[list[Taken]]":
        """Put on record what is about to be dialled: those with True that are not known."""

        def work(database: sqlite3.Connection) -> list[Taken]:
            return [_dial(database, key, wanted, at) for key, wanted in keys]

        return self._submit(work)

    def use_up(self, keys: Sequence[Key]) -> "asyncio.Future[None]":
        """These were on record in order to be dialled, and were not."""

        def work(database: sqlite3.Connection) -> None:
            database.executemany(
                "UPDATE calls SET dialled_at = NULL WHERE client_id = ? AND call_id = ?", keys
            )

        return self._submit(work)

    def find(self, keys: Sequence[Key], at: int) -> "asyncio.Future[list[Known]]":
        """What is known of them; what is not, is used up from now on. In order."""

        def work(database: sqlite3.Connection) -> list[Known]:
            return [_find(database, key, at) for key in keys]

        return self._submit(work)

    def record(self, results: Iterable[tuple[Key, Result]]) -> "asyncio.Future[None]":
        entries = []
        for key, result in results:
            self.position += 1
            entries.append(Entry(self.position, key, result))

        def work(database: sqlite3.Connection) -> None:
            _record(database, entries)

        return self._submit(work, entries)

    def subscribe(self, name: str) -> "asyncio.Future[int]":
        """The position up to which it has acknowledged; a new one begins with the oldest."""

        def work(database: sqlite3.Connection) -> int:
            database.execute("INSERT OR IGNORE INTO subscribers VALUES (?, 0)", (name,))
            return _one(database, "SELECT acknowledged FROM subscribers WHERE name = ?", name)

        return self._submit(work)

    def acknowledge(self, name: str, position: int) -> "asyncio.Future[None]":
        def work(database: sqlite3.Connection) -> None:
            database.execute(
                "UPDATE subscribers SET acknowledged = max(acknowledged, ?) WHERE name = ?",
                (position, name),
            )

        return self._submit(work)

    def after(self, position: int, limit: int) -> "asyncio.Future[list[Entry]]":
        """The results after a position, at most limit."""

        def work(database: sqlite3.Connection) -> list[Entry]:
            rows = database.execute(
                "SELECT position, client_id, call_id, at, what, detail FROM results"
                " WHERE position > ? ORDER BY position LIMIT ?",
                (position, limit),
            )
            return [_entry(*row) for row in rows]

        return self._submit(work)

    def prune(self, now_us: int) -> "asyncio.Future[int]":
        """Forget what is old and over, some of it; returns how many rows."""

        def work(database: sqlite3.Connection) -> int:
            old = now_us - KEEP_US
            results = database.execute(
                "DELETE FROM results WHERE position IN (SELECT position FROM results"
                " WHERE at < ? AND position <= (SELECT min(acknowledged) FROM subscribers)"
                " ORDER BY position LIMIT ?)",
                (old, PRUNE),
            )
            calls = database.execute(
                "DELETE FROM calls WHERE (client_id, call_id) IN (SELECT client_id, call_id"
                " FROM calls WHERE known_at < ? AND (over_at < ? OR dialled_at IS NULL) LIMIT ?)",
                (old, old, PRUNE),
            )
            return results.rowcount + calls.rowcount

        return self._submit(work)

    # The thread.

    def _submit(
        self, work: Callable[[sqlite3.Connection], T], entries: list[Entry] | None = None
    ) -> "asyncio.Future[T]":
        if self.failed.done():
            self.failed.result()
        done: asyncio.Future[T] = self._loop.create_future()
        # Who does not wait for it need not look at it either: `failed` says the same.
        done.add_done_callback(lambda future: future.cancelled() or future.exception())
        self._queue.put((work, done, entries or []))
        return done

    def _write(self) -> None:
        closing_down = False
        while not closing_down:
            waiting = [self._queue.get()]
            while not self._queue.empty():
                waiting.append(self._queue.get())
            closing_down = None in waiting
            batch = [asked for asked in waiting if asked is not None]
            try:
                answers = _in_one(self._database, [work for work, _, _ in batch])
            except Exception as error:
                self._loop.call_soon_threadsafe(self._fail, batch, error)
                return
            if batch:
                self._loop.call_soon_threadsafe(self._answer, batch, answers)

    def _answer(
        self, batch: list[tuple[_Op, "asyncio.Future[Any]", list[Entry]]], answers: list[Any]
    ) -> None:
        entries = [entry for _, _, recorded in batch for entry in recorded]
        if entries:
            self._committed(entries)
        for (_, done, _), answer in zip(batch, answers, strict=True):
            if not done.done():
                done.set_result(answer)

    def _fail(
        self, batch: list[tuple[_Op, "asyncio.Future[Any]", list[Entry]]], error: Exception
    ) -> None:
        if not self.failed.done():
            self.failed.set_exception(error)
        for _, done, _ in batch:
            if not done.done():
                done.set_exception(error)


def _open(path: Path) -> sqlite3.Connection:
    # Its own transactions; used by the writer alone once it has been opened.
    database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = FULL")
    database.executescript(_SCHEMA)
    return database


def _in_one(database: sqlite3.Connection, works: Sequence[_Op]) -> list[Any]:
    database.execute("BEGIN IMMEDIATE")
    try:
        answers = [work(database) for work in works]
        database.execute("COMMIT")
    except BaseException:
        database.execute("ROLLBACK")
        raise
    return answers


def _recover(database: sqlite3.Connection, now_us: int) -> tuple[int, int]:
    """End what was under way. Returns when the journal was begun, and its last position."""

    def work(_: sqlite3.Connection) -> tuple[int, int]:
        database.execute(
            "INSERT INTO born SELECT ? WHERE NOT EXISTS (SELECT 1 FROM born)", (now_us,)
        )
        last = max(
            _one(database, "SELECT coalesce(max(position), 0) FROM results"),
            # All results may have been pruned.
            _one(database, "SELECT coalesce(max(acknowledged), 0) FROM subscribers"),
        )
        lost = database.execute(
            "SELECT client_id, call_id, connected_at FROM calls"
            " WHERE over_at IS NULL AND dialled_at IS NOT NULL ORDER BY dialled_at"
        ).fetchall()
        entries = [
            Entry(
                last + number,
                Key(client_id, call_id),
                Result(
                    now_us,
                    Over(
                        Why.CARRIER_ERROR if connected_at is None else Why.HUNG_UP,
                        "carrier restarted",
                    ),
                ),
            )
            for number, (client_id, call_id, connected_at) in enumerate(lost, 1)
        ]
        _record(database, entries)
        return _one(database, "SELECT at FROM born"), last + len(entries)

    [found] = _in_one(database, [work])
    return found  # type: ignore[no-any-return]


def _one(database: sqlite3.Connection, query: str, *values: Any) -> int:
    [value] = database.execute(query, values).fetchone()
    return int(value)


def _dial(database: sqlite3.Connection, key: Key, wanted: bool, at: int) -> Taken:
    with closing(
        database.execute("SELECT dialled_at FROM calls WHERE client_id = ? AND call_id = ?", key)
    ) as found:
        row = found.fetchone()
    if row is not None:
        return Taken.USED_UP if row[0] is None else Taken.KNOWN
    if not wanted:
        return Taken.ABSENT
    database.execute(
        "INSERT INTO calls (client_id, call_id, known_at, dialled_at) VALUES (?, ?, ?, ?)",
        (*key, at, at),
    )
    return Taken.NEW


def _find(database: sqlite3.Connection, key: Key, at: int) -> Known:
    database.execute(
        "INSERT OR IGNORE INTO calls (client_id, call_id, known_at) VALUES (?, ?, ?)", (*key, at)
    )
    dialled_at, over_at = database.execute(
        "SELECT dialled_at, over_at FROM calls WHERE client_id = ? AND call_id = ?", key
    ).fetchone()
    return Known(dialled_at is not None, over_at is not None)


def _record(database: sqlite3.Connection, entries: Sequence[Entry]) -> None:
    database.executemany(
        "INSERT INTO results VALUES (?, ?, ?, ?, ?, ?)",
        [
            (
                position,
                *key,
                result.at,
                _NAMES[type(result.what)],
                msgspec.json.encode(result.what).decode(),
            )
            for position, key, result in entries
        ],
    )
    for column, kind in (("connected_at", Connected), ("over_at", Over)):
        database.executemany(
            f"UPDATE calls SET {column} = ? WHERE client_id = ? AND call_id = ?",
            [(result.at, *key) for _, key, result in entries if isinstance(result.what, kind)],
        )


def _entry(position: int, client_id: str, call_id: str, at: int, what: str, detail: str) -> Entry:
    decoded = msgspec.json.decode(detail, type=_WHATS[what])
    return Entry(position, Key(client_id, call_id), Result(at, decoded))
