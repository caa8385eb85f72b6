"""Events in PostgreSQL: append with the expected version, load, fold, retry; one transaction with
the read models, so that a reader sees its own write.

    COMPLAINTS = Category("complaint", complaint.DECIDER, project=store.project, topic=...)

    async def open(self, cause: Cause, command: OpenComplaint) -> Answer:
        async def work(tx: Transaction) -> Answer:
            change = await tx.execute(COMPLAINTS, command.complaint_id, command)
            return {"complaint_id": command.complaint_id, "version": change.version}
        return await self.store.run(cause, work)

`work` may be run again: on a conflict of versions everything is rolled back and it starts anew, so
it has no effect outside its transaction. docs/adr/0023 says why nothing is lost or done twice.
"""

import asyncio
import logging
import random
import zlib
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Mapping,
    Sequence,
)
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, Generic, TypeAlias, TypeVar

import asyncpg
import msgspec
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from sqlalchemy.pool import QueuePool

from eventkit import telemetry
from eventkit.clock import Clock
from eventkit.decider import Decider, Rejected, fold
from eventkit.errors import InvalidMessage, Unavailable
from eventkit.eventcodec import EventCodec, UnknownEventType
from eventkit.ids import event_id
from eventkit.keys import DataKey, KeyRing
from eventkit.postgres import SILENT, Notifications, is_again, is_not_now, sqlstate

log = logging.getLogger(__name__)

ATTEMPTS = 30
"""Of one command that meets conflicts of versions, before it is Unavailable."""
LOST_ATTEMPTS = 4
"""Of one command whose connection is lost, or that finds no server."""
ROLL_BACK_S = 5.0
NOTIFY_S = 0.01
POLL_S = 1.0
STREAM_BATCH = 500

APPENDED = "relais_appended"
TIMERS_SET = "relais_timers"
NUMBERED = "relais_numbered"

SUBJECT_LOCK = 0x7375626A
SUBJECT_STRIPES = 1024
"""Locks on subjects are striped, so that a bulk append of many fits into the lock table."""

ERASED = "the person has been erased"

# NUL, or what is not UTF-8: edges refuse it, with the field's name.
_UNSTORABLE = ("22021", "22P05")

C = TypeVar("C")
S = TypeVar("S")
E = TypeVar("E")

Driver: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

Answer = dict[str, Any]
"""What a command says when it is done: JSON, and nothing personal, since it is kept as it is."""


@dataclass(frozen=True, slots=True)
class Cause:
    """Who wants something, for which client, and why.

    occurred_at: microseconds since 1970, when it happened; None is now.
    idempotency_key, fingerprint: the same key with the same fingerprint has one effect and one
        answer; with another fingerprint it is Rejected.
    traceparent: the W3C header of the request, for the Kafka headers of the events.
    """

    client_id: str
    actor: str
    occurred_at: int | None = None
    idempotency_key: str | None = None
    fingerprint: bytes = b""
    correlation_id: str = ""
    causation_id: str = ""
    traceparent: str = ""


@dataclass(frozen=True, slots=True)
class Recorded(Generic[E]):
    """An event as it is in the store. Times are microseconds since 1970, UTC."""

    client_id: str
    stream_id: str
    version: int
    event_id: str
    event: E
    occurred_at: int
    recorded_at: int
    actor: str
    correlation_id: str
    causation_id: str


@dataclass(frozen=True, slots=True)
class Change(Generic[S, E]):
    """What one append did to one stream: `id` is the stream's own, without client and category."""

    client_id: str
    id: str
    before: S
    after: S
    events: tuple[Recorded[E], ...]
    version: int
    """The stream's version now."""


@dataclass(frozen=True, slots=True)
class Update:
    """A published event, as those who follow it get it: `message` is what is on the topic.

    sequence   its place among all events of the store, from 1, without holes: to resume after
    previous   the sequence of the update before it, of the same client and categories; 0: it is the
               first. Whoever has seen an update before this one that is not that has missed some.
    """

    sequence: int
    previous: int
    category: str
    stream_id: str
    version: int
    message: bytes


Project = Callable[[AsyncConnection, Sequence[Change[Any, Any]]], Awaitable[None]]
"""Brings the read models up to date, in the transaction of the append. Several changes come with a
bulk append; each is of another stream."""


async def _no_read_model(_: AsyncConnection, __: Sequence[Change[Any, Any]]) -> None: ...


def _own_id(stream: str, _: Any) -> str:
    return stream


@dataclass(frozen=True, eq=False)
class Category(Generic[C, S, E]):
    """One kind of stream, and everything that happens with its events.

    name       the middle of the stream id `<client>/<name>/<id>`
    topic, message   where its events are published, and an event's bytes there; None: not published
    subject    (stream's own id, state after) -> whose key seals the personal fields; the stream's
               own id if left out or empty. A customer's id, so that erasing the customer makes
               them unreadable.
    timers     state -> what is due when (name -> microseconds). Stored with every append.
    due        (stream's own id, timer's name, due time) -> the command that the timer gives

    Raises TypeError for events that cannot be stored (eventcodec).
    """

    name: str
    decider: Decider[C, S, E]
    topic: str | None = None
    message: Callable[[Recorded[E]], bytes | None] | None = None
    project: Project = _no_read_model
    subject: Callable[[str, S], str] = _own_id
    timers: Callable[[S], Mapping[str, int]] | None = None
    due: Callable[[str, str, int], C] | None = None
    codec: EventCodec = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "codec", EventCodec(self.decider.events))

    def stream_id(self, client_id: str, id: str) -> str:
        return f"{client_id}/{self.name}/{id}"


class _Conflict(Exception):
    """Somebody else was faster; with everything rolled back, the same again may succeed."""


class _Repeated(Exception):
    """The command has been done before, and this is what it answered."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer


@dataclass
class Transaction:
    """One PostgreSQL transaction of one `EventStore.run`.

    connection   for queries and read models of one's own, in the same transaction
    now          when this attempt began, microseconds since 1970
    """

    connection: AsyncConnection
    cause: Cause
    now: int
    _store: "EventStore" = field(repr=False)
    _driver: Driver = field(repr=False)
    # Erased subjects that all of this attempt's loads have known of.
    _erased: set[str] = field(repr=False)
    _channels: set[str] = field(default_factory=set, repr=False)

    async def load(self, category: Category[C, S, E], id: str) -> tuple[S, int]:
        """The state of a stream and its version; the initial state and 0 where there is none."""
        loaded = await self.load_many(category, [id])
        return loaded[id]

    async def load_many(
        self, category: Category[C, S, E], ids: Sequence[str]
    ) -> dict[str, tuple[S, int]]:
        """The same for many streams, in one round trip."""
        return await self._store._load(self._driver, category, self.cause.client_id, ids)

    async def execute(self, category: Category[C, S, E], id: str, command: C) -> Change[S, E]:
        """Load, decide, append, project. A decision without events changes nothing: `events` of the
        Change is empty. Raises what `decide` raises."""
        state, version = await self.load(category, id)
        events = category.decider.decide(command, state)
        if not events:
            return Change(self.cause.client_id, id, state, state, (), version)
        return (await self.append(category, [(id, state, version, events)]))[0]

    async def append(
        self, category: Category[C, S, E], appends: Sequence[tuple[str, S, int, Sequence[E]]]
    ) -> list[Change[S, E]]:
        """Append decided events in bulk: (id, state before, expected version, events) for each.

        Each is of another stream. Those without events are left out of the answer.
        """
        cause, client_id = self.cause, self.cause.client_id
        occurred_at = self.now if cause.occurred_at is None else cause.occurred_at
        rows = _Rows()
        changes: list[Change[S, E]] = []
        for id, before, expected, events in appends:
            if not events:
                continue
            stream_id = category.stream_id(client_id, id)
            after = fold(category.decider, events, before)
            subject = category.subject(id, after) or id
            if category.codec.has_personal:
                rows.subjects.add(subject)
            recorded = []
            for version, event in enumerate(events, expected + 1):
                fact = Recorded(
                    client_id,
                    stream_id,
                    version,
                    event_id(stream_id, version),
                    event,
                    occurred_at,
                    self.now,
                    cause.actor,
                    cause.correlation_id,
                    cause.causation_id,
                )
                recorded.append(fact)
                rows.add(category, fact, subject)
            change = Change(client_id, id, before, after, tuple(recorded), expected + len(events))
            changes.append(change)
            rows.add_timers(category, change, is_new=expected == 0)
        if not changes:
            return []
        await self._seal(rows)
        await self._insert(category, occurred_at, rows)
        self._channels.add(APPENDED)
        if rows.timer_ids:
            self._channels.add(TIMERS_SET)
        await category.project(self.connection, changes)
        return changes

    async def forget(self, subjects: Iterable[str]) -> None:
        """From the commit on these subjects are erased, for good: nothing personal of theirs is
        appended, and none is read. Waits for the appends about them that are under way."""
        wanted = sorted(set(subjects))
        await self._driver.execute(
            "SELECT pg_advisory_xact_lock($1, stripe) FROM unnest($2::int[]) AS stripe",
            SUBJECT_LOCK,
            _stripes(self.cause.client_id, wanted),
        )
        await self._driver.execute(
            "INSERT INTO erased_subjects (client_id, subject, erased_at)"
            " SELECT $1, subject, $3 FROM unnest($2::text[]) AS subject ON CONFLICT DO NOTHING",
            self.cause.client_id,
            wanted,
            self.now,
        )
        self._erased.update(wanted)

    async def _seal(self, rows: "_Rows") -> None:
        wanted = {subject for subject in rows.sealed_for if subject is not None}
        if wanted & self._erased:
            raise Rejected(ERASED)
        if not wanted:
            return
        keys = await self._store.keys.ensure(self.cause.client_id, wanted)
        for number, subject in enumerate(rows.sealed_for):
            plain = rows.sealed[number]
            if subject is not None and plain is not None:
                rows.sealed[number] = keys[subject].seal(plain, rows.event_ids[number].encode())

    async def _insert(self, category: Category[C, S, E], occurred_at: int, rows: "_Rows") -> None:
        cause = self.cause
        erased: list[str] | None = await self._driver.fetchval(
            _APPEND,
            cause.client_id,
            category.name,
            category.topic,
            occurred_at,
            self.now,
            cause.actor,
            cause.correlation_id,
            cause.causation_id,
            cause.traceparent,
            SUBJECT_LOCK,
            _stripes(cause.client_id, rows.subjects),
            list(rows.subjects),
            list(self._erased),
            rows.stream_ids,
            rows.versions,
            rows.types,
            rows.event_ids,
            rows.bodies,
            rows.sealed,
            rows.sealed_for,
            rows.messages,
            rows.timer_ids,
            rows.timer_names,
            rows.timer_dues,
        )
        if erased:
            # What was loaded may have been readable still: with this knowledge from the beginning.
            self._erased.update(erased)
            raise _Conflict


_APPEND = f"SELECT append_events({', '.join(f'${number}' for number in range(1, 25))})"


class _Rows:
    """The columns of a bulk append."""

    def __init__(self) -> None:
        self.subjects: set[str] = set()
        self.stream_ids: list[str] = []
        self.versions: list[int] = []
        self.types: list[str] = []
        self.event_ids: list[str] = []
        self.bodies: list[str] = []
        self.sealed: list[bytes | None] = []
        self.sealed_for: list[str | None] = []
        self.messages: list[bytes | None] = []
        self.timer_ids: list[str] = []
        self.timer_names: list[str] = []
        self.timer_dues: list[int | None] = []

    def add(self, category: Category[Any, Any, Any], fact: Recorded[Any], subject: str) -> None:
        kind, body, personal = category.codec.encode(fact.event)
        self.stream_ids.append(fact.stream_id)
        self.versions.append(fact.version)
        self.types.append(kind)
        self.event_ids.append(fact.event_id)
        self.bodies.append(body.decode())
        self.sealed.append(personal)
        self.sealed_for.append(None if personal is None else subject)
        message = category.message if category.topic is not None else None
        self.messages.append(message(fact) if message is not None else None)

    def add_timers(
        self, category: Category[Any, S, Any], change: Change[S, Any], is_new: bool
    ) -> None:
        if category.timers is None:
            return
        before = {} if is_new else category.timers(change.before)
        after = category.timers(change.after)
        for name in {**before, **after}:
            if before.get(name) != after.get(name):
                self.timer_ids.append(change.id)
                self.timer_names.append(name)
                self.timer_dues.append(after.get(name))


class EventStore:
    """The events of one service, in its own database.

    Raises Rejected (also for an idempotency key used for something else), and Unavailable when
    PostgreSQL does not answer.

    random: of the pauses between attempts, from 0 to 1.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        keys: KeyRing,
        clock: Clock,
        *,
        random: Callable[[], float] = random.random,
    ) -> None:
        self.engine = engine
        self.keys = keys
        self.clock = clock
        self._random = random
        # `run` begins and ends its transactions itself, below SQLAlchemy: two greenlets fewer.
        self._plain = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._free: list[tuple[AsyncConnection, Driver]] = []
        self._max_free = engine.pool.size() // 2 if isinstance(engine.pool, QueuePool) else 0
        self._to_notify: set[str] = set()
        self._notifying: asyncio.Task[None] | None = None
        self._numbered: Notifications | None = None

    async def close(self) -> None:
        """Stop what runs in the background and give connections back. The engine is its maker's."""
        if self._numbered is not None:
            await self._numbered.stop()
        if self._notifying is not None:
            await asyncio.wait([self._notifying])
        while self._free:
            await self._free.pop()[0].close()

    async def run(self, cause: Cause, work: Callable[[Transaction], Awaitable[Answer]]) -> Answer:
        """Run `work` in one transaction, again after a conflict, and commit. The answer is that of
        the first run with the cause's idempotency key."""
        outcome = "failed"
        try:
            answer, outcome = await self._run(cause, work)
            return answer
        except Rejected:
            outcome = "rejected"
            raise
        except Unavailable:
            outcome = "unavailable"
            raise
        finally:
            telemetry.COMMANDS.add(1, {"outcome": outcome})

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """A connection for queries, each of which sees what is committed when it begins. Raises
        Unavailable."""
        try:
            async with self._connection() as (connection, _):
                yield connection
        except Exception as error:
            if is_not_now(error):
                raise Unavailable(SILENT) from error
            raise

    async def load(self, category: Category[C, S, E], client_id: str, id: str) -> tuple[S, int]:
        """The state of a stream and its version, for a reader; as Transaction.load."""
        async with self.reading() as connection:
            driver = await _driver_of(connection)
            return (await self._load(driver, category, client_id, [id]))[id]

    async def history(
        self, category: Category[C, S, E], client_id: str, id: str
    ) -> list[Recorded[E]]:
        """Every event of a stream, oldest first; personal fields are empty once erased."""
        stream_id = category.stream_id(client_id, id)
        async with self.reading() as connection:
            driver = await _driver_of(connection)
            rows = await driver.fetch(_HISTORY, [stream_id])
        events = await self._decode(category, client_id, rows)
        return [
            Recorded(
                client_id,
                stream_id,
                row["version"],
                event_id(stream_id, row["version"]),
                event,
                row["occurred_at"],
                row["recorded_at"],
                row["actor"],
                row["correlation_id"],
                row["causation_id"],
            )
            for row, event in zip(rows, events, strict=True)
        ]

    async def updates(
        self, categories: Sequence[str], client_id: str, after_sequence: int, limit: int
    ) -> list[Update]:
        """Published events of a client after a place, in the order that the relay gave them, which
        never changes. An event that has no number yet is not among them, nor any after it."""
        async with self.reading() as connection:
            driver = await _driver_of(connection)
            rows = await driver.fetch(_UPDATES, client_id, list(categories), after_sequence, limit)
        return [Update(*row) for row in rows]

    async def follow(
        self, categories: Sequence[str], client_id: str, after_sequence: int
    ) -> AsyncIterator[Update]:
        """`updates`, those that are there and then each as it comes; it does not end by itself.
        Raises Unavailable."""
        async for found in self.follow_batches(categories, client_id, after_sequence):
            for update in found:
                yield update

    async def follow_batches(
        self, categories: Sequence[str], client_id: str, after_sequence: int
    ) -> AsyncGenerator[list[Update], None]:
        """`follow`, by what is found at once: for whoever writes down how far he has come."""
        if self._numbered is None:
            self._numbered = Notifications(self.engine, NUMBERED)
        self._numbered.start()
        while True:
            news = self._numbered.next()
            found = await self.updates(categories, client_id, after_sequence, STREAM_BATCH)
            if found:
                after_sequence = found[-1].sequence
                yield found
            if len(found) < STREAM_BATCH:
                await self._numbered.wait(news, POLL_S)

    async def _run(
        self, cause: Cause, work: Callable[[Transaction], Awaitable[Answer]]
    ) -> tuple[Answer, str]:
        """The answer, and whether it is `done` or `repeated`."""
        erased: set[str] = set()
        conflicts = losses = 0
        while True:
            try:
                return await self._attempt(cause, work, erased), "done"
            except _Repeated as repeated:
                return repeated.answer, "repeated"
            except _Conflict:
                telemetry.CONFLICTS.add(1)
                conflicts += 1
                if conflicts == ATTEMPTS:
                    raise Unavailable("too many others change the same now") from None
                await self._pause(min(conflicts, 5))
            except _Lost as lost:
                losses += 1
                if losses == LOST_ATTEMPTS or not lost.is_repeatable:
                    raise Unavailable(SILENT) from lost.__cause__
                await self._pause(losses + 2)

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[tuple[AsyncConnection, Driver]]:
        """One that is free, kept from the last command: taking one out of SQLAlchemy's pool and
        putting it back is an eighth of a small command's time. At most half of the pool is kept."""
        connection, driver = await self._take()
        try:
            yield connection, driver
            if len(self._free) < self._max_free and not driver.is_closed():
                if connection.in_transaction():
                    await connection.rollback()  # SQLAlchemy's own idea of one; it sends nothing
                self._free.append((connection, driver))
                return
        except BaseException as error:
            if is_not_now(error):
                # Nobody knows what it is at: it must not go back into the pool.
                await connection.invalidate()
            await asyncio.shield(asyncio.ensure_future(connection.close()))
            raise
        await connection.close()

    async def _take(self) -> tuple[AsyncConnection, Driver]:
        while self._free:
            connection, driver = self._free.pop()
            if not driver.is_closed():
                return connection, driver
            await connection.close()
        connection = await self._plain.connect()
        return connection, await _driver_of(connection)

    async def _attempt(
        self, cause: Cause, work: Callable[[Transaction], Awaitable[Answer]], erased: set[str]
    ) -> Answer:
        committing = False
        try:
            async with self._connection() as (connection, driver):
                now = self.clock.now_us()
                tx = Transaction(connection, cause, now, self, driver, erased)
                try:
                    await driver.execute("BEGIN")
                    answer = await self._do(tx, work)
                    committing = not driver.is_closed()
                    await driver.execute("COMMIT")
                except BaseException:
                    await _roll_back(connection, driver)
                    raise
        except (_Conflict, _Repeated, Rejected):
            raise
        except Exception as error:
            if isinstance(error, asyncpg.UniqueViolationError) and error.constraint_name in (
                "events_pkey",
                "commands_pkey",
            ):
                raise _Conflict from error
            if is_again(error):
                raise _Conflict from error
            if sqlstate(error) in _UNSTORABLE:
                raise InvalidMessage("text", "has a character that cannot be kept") from None
            if isinstance(error, PoolTimeout):
                raise Unavailable("all connections to PostgreSQL are busy") from error
            if is_not_now(error):
                # Where the commit was lost on its way nobody knows whether it happened; a repeat
                # with the same idempotency key finds out.
                is_repeatable = not committing or cause.idempotency_key is not None
                raise _Lost(is_repeatable) from error
            raise
        self._notify(tx._channels)
        return answer

    async def _do(
        self, tx: Transaction, work: Callable[[Transaction], Awaitable[Answer]]
    ) -> Answer:
        cause = tx.cause
        if cause.idempotency_key is None:
            return await work(tx)
        done = await tx._driver.fetchrow(_COMMAND, cause.client_id, cause.idempotency_key)
        if done is not None:
            if done["fingerprint"] != cause.fingerprint:
                raise Rejected("the idempotency key was used for another request")
            raise _Repeated(msgspec.json.decode(done["answer"]))
        answer = msgspec.json.encode(await work(tx))
        await tx._driver.execute(
            _DONE,
            cause.client_id,
            cause.idempotency_key,
            cause.fingerprint,
            answer.decode(),
            tx.now,
        )
        return msgspec.json.decode(answer, type=dict[str, Any])

    async def _pause(self, exponent: int) -> None:
        await asyncio.sleep(self._random() * 0.004 * 2**exponent)

    async def _load(
        self,
        driver: Driver,
        category: Category[C, S, E],
        client_id: str,
        ids: Sequence[str],
    ) -> dict[str, tuple[S, int]]:
        decider = category.decider
        loaded = {id: (decider.initial, 0) for id in ids}
        id_of = {category.stream_id(client_id, id): id for id in ids}
        rows = await driver.fetch(_LOAD, list(id_of))
        events = await self._decode(category, client_id, rows)
        pairs = zip(rows, events, strict=True)
        for stream_id, group in groupby(pairs, lambda pair: pair[0]["stream_id"]):
            facts = list(group)
            state = fold(decider, (event for _, event in facts))
            loaded[id_of[stream_id]] = state, facts[-1][0]["version"]
        return loaded

    async def _decode(
        self,
        category: Category[Any, Any, E],
        client_id: str,
        rows: Sequence[asyncpg.Record],
    ) -> list[E]:
        subjects = {row["subject"] for row in rows if row["sealed"] is not None}
        keys: Mapping[str, DataKey] = {}
        if subjects:
            keys = await self.keys.find(client_id, subjects)
        events = []
        for row in rows:
            personal = None
            if row["sealed"] is not None and row["subject"] in keys:
                context = event_id(row["stream_id"], row["version"]).encode()
                personal = keys[row["subject"]].open(row["sealed"], context)
            try:
                events.append(category.codec.decode(row["type"], row["body"], personal))
            except (UnknownEventType, msgspec.ValidationError) as error:
                error.add_note(f"{row['stream_id']}, version {row['version']}")
                raise
        return events

    def _notify(self, channels: set[str]) -> None:
        """Wake up whom it concerns, soon, and for many commits at once: a NOTIFY inside of them
        would make PostgreSQL commit one after the other. Nobody relies on it."""
        self._to_notify |= channels
        if self._to_notify and (self._notifying is None or self._notifying.done()):
            self._notifying = asyncio.create_task(self._send_notifications())

    async def _send_notifications(self) -> None:
        with suppress(Unavailable):
            while self._to_notify:
                channels, self._to_notify = self._to_notify, set()
                async with self.reading() as connection:
                    driver = await _driver_of(connection)
                    await driver.execute(
                        "SELECT pg_notify(channel, '') FROM unnest($1::text[]) AS channel",
                        list(channels),
                    )
                await asyncio.sleep(NOTIFY_S)


class _Lost(Exception):
    """The connection is gone, or there was none. is_repeatable: a repeat cannot do it twice."""

    def __init__(self, is_repeatable: bool) -> None:
        self.is_repeatable = is_repeatable


async def _driver_of(connection: AsyncConnection) -> Driver:
    """asyncpg's own connection: prepared statements without SQLAlchemy's share of the time."""
    raw = await connection.get_raw_connection()
    driver: Driver | None = raw.driver_connection
    assert driver is not None
    return driver


async def _roll_back(connection: AsyncConnection, driver: Any) -> None:
    """End the transaction whatever has happened, or the connection with it."""
    try:
        await driver.execute("ROLLBACK", timeout=ROLL_BACK_S)
    except BaseException:
        driver.terminate()
        await connection.invalidate()


def _stripes(client_id: str, subjects: Iterable[str]) -> list[int]:
    texts = (f"{client_id}/{subject}".encode() for subject in subjects)
    return sorted({zlib.crc32(text) % SUBJECT_STRIPES for text in texts})


_EVENTS = """
SELECT e.stream_id, e.version, e.type, e.body::text AS body, e.subject,
    CASE WHEN x.subject IS NULL THEN e.sealed END AS sealed{more}
FROM events AS e
LEFT JOIN erased_subjects AS x ON x.client_id = e.client_id AND x.subject = e.subject
WHERE e.stream_id = ANY ($1::text[]) ORDER BY e.stream_id, e.version
"""
_LOAD = _EVENTS.format(more="")
_HISTORY = _EVENTS.format(
    more=", e.occurred_at, e.recorded_at, e.actor, e.correlation_id, e.causation_id"
)
_COMMAND = (
    "SELECT fingerprint, answer::text AS answer FROM commands WHERE client_id = $1 AND key = $2"
)
_DONE = (
    "INSERT INTO commands (client_id, key, fingerprint, answer, recorded_at)"
    " VALUES ($1, $2, $3, $4::text::json, $5)"
)
# By category, since each has an index in the order of the numbers. The first one's `previous` is
# looked up and not taken from whoever asks: it must be true also where his place is not.
_UPDATES = """
WITH found AS (
    SELECT one.* FROM unnest($2::text[]) AS category_of (name), LATERAL (
        SELECT sequence, category, stream_id, version, message FROM events
        WHERE client_id = $1 AND category = name AND sequence > $3 AND message IS NOT NULL
        ORDER BY sequence LIMIT $4
    ) AS one
    ORDER BY sequence LIMIT $4
)
SELECT sequence, lag(sequence, 1, (
        SELECT coalesce(max(one.sequence), 0)
        FROM unnest($2::text[]) AS category_of (name), LATERAL (
            SELECT sequence FROM events
            WHERE client_id = $1 AND category = name AND sequence <= $3 AND message IS NOT NULL
            ORDER BY sequence DESC LIMIT 1
        ) AS one
    )) OVER (ORDER BY sequence) AS previous, category, stream_id, version, message
FROM found ORDER BY sequence
"""
