"""Personal data is sealed with a key per (client, subject); without the key it is noise.

The keys are kept in a database of their own, wrapped by a master key from the environment, and
shared by all services of the centre: one customer's key serves them all, and erasing it makes what
any of them has kept unreadable, backups included.

    settings = load(KeySettings)
    engine = make_engine(settings.keys)
    await migrate_keys(engine)
    ring = PostgresKeyRing(engine, settings.masters())
    key = (await ring.ensure("acme", ["c-1042"]))["c-1042"]
    sealed = key.seal(b"Ana", context=b"event id")

All sealing is AES-256-GCM with random 96-bit nonces. What a key is for is authenticated with it, so
that a wrapped key is of no use in another row.
"""

import hmac
import os
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from pydantic import Field, SecretStr, field_validator
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from eventkit.errors import Rejected, Unavailable
from eventkit.namedsecrets import parse_secrets
from eventkit.settings import PostgresUrl, Settings

KEY_BYTES = 32
NONCE_BYTES = 12
CHUNK = 5_000
"""Subjects of one statement."""
CACHED_KEYS = 50_000
CACHE_S = 10.0
"""How long a key that was read may be used without asking again.

So long may a process that did not erase the subject itself still read them. It cannot add to what
is kept: an append locks and checks the subject's tombstone in its own transaction (eventstore.py),
and what was sealed with a destroyed key is noise all the same.
"""


class DataKey(Protocol):
    """The key of one subject. `context` (an event's id) is authenticated: it must be the same."""

    def seal(self, plain: bytes, context: bytes) -> bytes: ...
    def open(self, sealed: bytes, context: bytes) -> bytes: ...


class KeyRing(Protocol):
    async def ensure(self, client_id: str, subjects: Collection[str]) -> Mapping[str, DataKey]:
        """The keys of these subjects, made where missing. Raises Rejected for an erased subject."""
        ...

    async def find(self, client_id: str, subjects: Collection[str]) -> Mapping[str, DataKey]:
        """The keys that exist; those of erased subjects are missing."""
        ...

    async def erase(self, client_id: str, subjects: Collection[str]) -> None:
        """Destroy the keys for good. A subject's key is never made again."""
        ...

    async def index(self, client_id: str, value: str) -> bytes:
        """A keyed hash (HMAC-SHA256) of a value: to find it again without keeping it."""
        ...


class Unreadable(Exception):
    """Sealed with another key or for another context, or changed since."""


class MasterKeyMissing(Unavailable):
    """A key is wrapped by a master key that this process does not have, or has wrongly."""


class SubjectKey:
    """AES-256-GCM with one subject's key. What is sealed is 28 bytes longer than what was plain."""

    __slots__ = ("_aes",)

    def __init__(self, key: bytes) -> None:
        self._aes = AESGCM(key)

    def seal(self, plain: bytes, context: bytes) -> bytes:
        # Random nonces: safe for 2**32 values of one key, and a subject has a few thousand.
        nonce = os.urandom(NONCE_BYTES)
        return nonce + self._aes.encrypt(nonce, plain, context)

    def open(self, sealed: bytes, context: bytes) -> bytes:
        """Raises Unreadable."""
        try:
            return self._aes.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], context)
        except (InvalidTag, ValueError):
            raise Unreadable("another key, another context, or changed since") from None


class Masters:
    """Master keys by id; the first wraps. Raises ValueError for one that is not of 32 bytes."""

    def __init__(self, masters: Mapping[str, bytes]) -> None:
        if not masters:
            raise ValueError("no master key")
        for name, key in masters.items():
            if len(key) != KEY_BYTES:
                raise ValueError(f"master key {name!r} is not of {KEY_BYTES} bytes")
        self._keys = {name: SubjectKey(key) for name, key in masters.items()}
        self.first = next(iter(masters))

    def wrap(self, key: bytes, purpose: bytes) -> bytes:
        return self._keys[self.first].seal(key, purpose)

    def unwrap(self, wrapped: bytes, master: str, purpose: bytes) -> bytes:
        """Raises MasterKeyMissing."""
        self.must_have(master)
        try:
            return self._keys[master].open(wrapped, purpose)
        except Unreadable:
            raise MasterKeyMissing(
                f"the master key {master!r} of this process is not the one that wrapped a key"
            ) from None

    def must_have(self, master: str) -> None:
        """Raises MasterKeyMissing."""
        if master not in self._keys:
            raise MasterKeyMissing(
                f"keys are wrapped by the master key {master!r}, and RELAIS_MASTER_KEYS of this "
                f"process has only {', '.join(self._keys)}"
            )


def _of_subject(client_id: str, subject: str) -> bytes:
    # A client's id has no slash, so no two subjects have the same.
    return f"subject/{client_id}/{subject}".encode()


def _of_index(client_id: str) -> bytes:
    return f"index/{client_id}".encode()


class _Cache:
    """Keys that were read lately; the least lately read are dropped first."""

    def __init__(self, size: int, ttl_s: float) -> None:
        self._size = size
        self._ttl_s = ttl_s
        self._keys: OrderedDict[tuple[str, str], tuple[SubjectKey, float]] = OrderedDict()

    def get(self, client_id: str, subjects: Iterable[str], now: float) -> dict[str, DataKey]:
        found: dict[str, DataKey] = {}
        for subject in subjects:
            entry = self._keys.get((client_id, subject))
            if entry is not None and now - entry[1] < self._ttl_s:
                found[subject] = entry[0]
        return found

    def put(self, client_id: str, keys: Mapping[str, SubjectKey], asked_at: float) -> None:
        for subject, key in keys.items():
            self._keys[client_id, subject] = (key, asked_at)
            self._keys.move_to_end((client_id, subject))
        while len(self._keys) > self._size:
            self._keys.popitem(last=False)

    def drop(self, client_id: str, subjects: Iterable[str]) -> None:
        for subject in subjects:
            self._keys.pop((client_id, subject), None)


# Not made again when it was erased: the row stays, without its key.
_ENSURE = text("""
    WITH wanted AS (
        SELECT * FROM unnest(CAST(:subjects AS text[]), CAST(:wrapped AS bytea[]))
            AS wanted(subject, wrapped)
    ), made AS (
        INSERT INTO subject_keys (client_id, subject, wrapped, master)
        SELECT :client_id, subject, wrapped, :master FROM wanted
        ON CONFLICT DO NOTHING
        RETURNING subject, wrapped, master
    )
    SELECT subject, wrapped, master FROM made
    UNION ALL
    SELECT subject, k.wrapped, k.master FROM subject_keys k JOIN wanted USING (subject)
    WHERE client_id = :client_id""")
_FIND = text("""
    SELECT subject, wrapped, master FROM subject_keys
    WHERE client_id = :client_id AND subject = ANY(CAST(:subjects AS text[]))
        AND wrapped IS NOT NULL""")
_ERASE = text("""
    INSERT INTO subject_keys (client_id, subject, erased_at)
    SELECT :client_id, subject, now() FROM unnest(CAST(:subjects AS text[])) AS subject
    ON CONFLICT (client_id, subject) DO UPDATE
    SET wrapped = NULL, master = NULL, erased_at = coalesce(subject_keys.erased_at, now())""")
_INDEX = text("""
    WITH made AS (
        INSERT INTO index_keys (client_id, wrapped, master)
        VALUES (:client_id, :wrapped, :master)
        ON CONFLICT DO NOTHING
        RETURNING wrapped, master
    )
    SELECT wrapped, master FROM made
    UNION ALL
    SELECT wrapped, master FROM index_keys WHERE client_id = :client_id""")


class PostgresKeyRing:
    """The centre's KeyRing, in its keys database. Any number of processes may use it at once.

    Raises Unavailable when the database does not answer, and MasterKeyMissing, which is one.
    monotonic: seconds of a clock that never goes back.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        masters: Mapping[str, bytes],
        cache_s: float = CACHE_S,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        # Each statement is a transaction of its own; only a rotation needs two together.
        self._engine = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._transactions = engine
        self._masters = Masters(masters)
        self._monotonic = monotonic
        self._cache = _Cache(CACHED_KEYS, cache_s)
        # Kept: an index key is for ever, and there is one for each client.
        self._index_keys: dict[str, bytes] = {}
        self._masters_checked = False

    async def check(self) -> None:
        """Raise Unavailable when the database does not answer, and, the first time, when it has
        keys that are wrapped by a master key which this process lacks."""
        if self._masters_checked:
            async with self._engine.connect() as connection:
                await connection.execute(text("SELECT 1"))
            return
        for usage in await self.status():
            if usage.master:
                self._masters.must_have(usage.master)
        self._masters_checked = True

    async def ensure(self, client_id: str, subjects: Collection[str]) -> dict[str, DataKey]:
        """The keys of these subjects, made where missing: a round trip for each 5,000.

        Raises Rejected for an erased subject; those of other subjects may have been made by then.
        """
        now = self._monotonic()
        found = self._cache.get(client_id, subjects, now)
        # Sorted, because two processes that make the same keys must wait in the same order.
        missing = sorted({subject for subject in subjects if subject not in found})
        while missing:
            async with self._engine.connect() as connection:
                for chunk in _chunks(missing):
                    made = await self._make(connection, client_id, chunk)
                    self._cache.put(client_id, made, now)
                    found.update(made)
            # Once more for those that another process was making during the statement.
            missing = [subject for subject in missing if subject not in found]
        return found

    async def find(self, client_id: str, subjects: Collection[str]) -> dict[str, DataKey]:
        """The keys that exist. One that another process has erased is missing CACHE_S later."""
        now = self._monotonic()
        found = self._cache.get(client_id, subjects, now)
        missing = list({subject for subject in subjects if subject not in found})
        if not missing:
            return found
        async with self._engine.connect() as connection:
            for chunk in _chunks(missing):
                rows = await connection.execute(_FIND, {"client_id": client_id, "subjects": chunk})
                read = {
                    subject: SubjectKey(
                        self._masters.unwrap(wrapped, master, _of_subject(client_id, subject))
                    )
                    for subject, wrapped, master in rows
                }
                self._cache.put(client_id, read, now)
                found.update(read)
        return found

    async def erase(self, client_id: str, subjects: Collection[str]) -> None:
        """Destroy the keys for good. A subject's key is never made again, had it one or not."""
        async with self._engine.connect() as connection:
            for chunk in _chunks(sorted(set(subjects))):
                await connection.execute(_ERASE, {"client_id": client_id, "subjects": chunk})
        self._cache.drop(client_id, subjects)

    async def index(self, client_id: str, value: str) -> bytes:
        """HMAC-SHA256 of a value with the client's index key, which no rotation changes.

        client_id: "centre" for what is the centre's.
        """
        key = self._index_keys.get(client_id)
        if key is None:
            key = self._index_keys[client_id] = await self._index_key(client_id)
        return hmac.digest(key, value.encode("utf-8", "surrogatepass"), "sha256")

    async def _make(
        self, connection: AsyncConnection, client_id: str, subjects: Sequence[str]
    ) -> dict[str, SubjectKey]:
        keys = [os.urandom(KEY_BYTES) for _ in subjects]
        ours = {
            subject: (self._masters.wrap(key, _of_subject(client_id, subject)), key)
            for subject, key in zip(subjects, keys, strict=True)
        }
        rows = await connection.execute(
            _ENSURE,
            {
                "client_id": client_id,
                "subjects": subjects,
                "wrapped": [wrapped for wrapped, _ in ours.values()],
                "master": self._masters.first,
            },
        )
        made: dict[str, SubjectKey] = {}
        for subject, wrapped, master in rows:
            if wrapped is None:
                raise Rejected("erased")
            our_wrapped, key = ours[subject]
            if wrapped != our_wrapped:
                key = self._masters.unwrap(wrapped, master, _of_subject(client_id, subject))
            made[subject] = SubjectKey(key)
        return made

    async def _index_key(self, client_id: str) -> bytes:
        purpose = _of_index(client_id)
        fresh = {
            "client_id": client_id,
            "wrapped": self._masters.wrap(os.urandom(KEY_BYTES), purpose),
            "master": self._masters.first,
        }
        async with self._engine.connect() as connection:
            row = None
            while row is None:  # for as long as another process is making it
                row = (await connection.execute(_INDEX, fresh)).first()
        return self._masters.unwrap(row.wrapped, row.master, purpose)

    # Rotation.

    async def status(self) -> "list[MasterUsage]":
        """What is wrapped by which master key; erased subjects under the empty id. Reads all."""
        async with self._engine.connect() as connection:
            rows = await connection.execute(_STATUS)
            return [MasterUsage(*row) for row in rows]

    async def rotate(
        self, report: "Callable[[int, int], None]" = lambda done, total: None, batch: int = 1_000
    ) -> int:
        """Wrap by the first master key what is wrapped by another; returns how many keys are left,
        which is zero unless processes go on wrapping by another one.

        Services run meanwhile. A rotation that is broken off goes on where it was when it is
        started again. report(done, total) is called after each batch.
        """
        done, left = 0, await self._others()
        total = left
        for _ in range(MAX_PASSES):
            if not left:
                break
            for table in _TABLES:
                after: Sequence[str] = ("",) * len(table.key)
                while after:
                    count, after = await self._rewrap(table, after, batch)
                    done += count
                    if count:
                        report(done, max(done, total))
            left = await self._others()
        return left

    async def _others(self) -> int:
        first = self._masters.first
        return sum(each.keys for each in await self.status() if each.master not in ("", first))

    async def _rewrap(
        self, table: "_Table", after: Sequence[str], batch: int
    ) -> tuple[int, Sequence[str]]:
        """How many were wrapped again, and the last one's key; an empty one when none was left."""
        first = self._masters.first
        position = {f"after_{name}": part for name, part in zip(table.key, after, strict=True)}
        async with self._transactions.begin() as connection:
            found = await connection.execute(
                text(table.select), {"first": first, "batch": batch} | position
            )
            rows = found.all()
            if rows:
                columns = {name: [getattr(row, name) for row in rows] for name in table.key}
                wrapped = [
                    self._masters.wrap(
                        self._masters.unwrap(row.wrapped, row.master, purpose), purpose
                    )
                    for row in rows
                    for purpose in (table.purpose(*row[: len(table.key)]),)
                ]
                await connection.execute(
                    text(table.update), {"first": first, "wrapped": wrapped} | columns
                )
        return len(rows), rows[-1][: len(table.key)] if rows else ()


MAX_PASSES = 3


@dataclass(frozen=True, slots=True)
class MasterUsage:
    """How many subjects' and index keys a master key wraps. An empty id: erased, no key at all."""

    master: str
    subject_keys: int
    index_keys: int

    @property
    def keys(self) -> int:
        return self.subject_keys + self.index_keys


_STATUS = text("""
    SELECT master, sum(subject_keys)::bigint, sum(index_keys)::bigint FROM (
        SELECT coalesce(master, '') AS master, count(*) AS subject_keys, 0 AS index_keys
        FROM subject_keys GROUP BY 1
        UNION ALL
        SELECT master, 0, count(*) FROM index_keys GROUP BY 1
    ) AS each GROUP BY master ORDER BY master""")


@dataclass(frozen=True)
class _Table:
    """A table of wrapped keys: its primary key, and what is authenticated with a wrapped key."""

    name: str
    key: tuple[str, ...]
    purpose: Callable[..., bytes]
    select: str = field(init=False)
    update: str = field(init=False)

    def __post_init__(self) -> None:
        key = ", ".join(self.key)
        after = ", ".join(f":after_{name}" for name in self.key)
        arrays = ", ".join(f"CAST(:{name} AS text[])" for name in self.key)
        same = " AND ".join(f"old.{name} = new.{name}" for name in self.key)
        select = f"""
            SELECT {key}, wrapped, master FROM {self.name}
            WHERE master <> :first AND ({key}) > ({after})
            ORDER BY {key} LIMIT :batch FOR UPDATE"""
        update = f"""
            UPDATE {self.name} AS old SET wrapped = new.wrapped, master = :first
            FROM unnest({arrays}, CAST(:wrapped AS bytea[])) AS new({key}, wrapped)
            WHERE {same}"""
        object.__setattr__(self, "select", select)
        object.__setattr__(self, "update", update)


_TABLES = (
    _Table("subject_keys", ("client_id", "subject"), _of_subject),
    _Table("index_keys", ("client_id",), _of_index),
)


def _chunks(subjects: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(subjects), CHUNK):
        yield subjects[start : start + CHUNK]


# The database.

MIGRATION_LOCK = 0x72656C61_6B65
MIGRATIONS = (
    """CREATE TABLE subject_keys (
        client_id text COLLATE "C" NOT NULL,
        subject text COLLATE "C" NOT NULL,
        wrapped bytea,
        master text,
        created_at timestamptz NOT NULL DEFAULT now(),
        erased_at timestamptz,
        PRIMARY KEY (client_id, subject),
        CHECK ((wrapped IS NULL) = (master IS NULL)),
        CHECK ((wrapped IS NULL) = (erased_at IS NOT NULL))
    )""",
    """CREATE TABLE index_keys (
        client_id text COLLATE "C" PRIMARY KEY,
        wrapped bytea NOT NULL,
        master text NOT NULL,
        created_at timestamptz NOT NULL DEFAULT now()
    )""",
)
"""Applied once each, in order; a change of the tables is one more at the end."""


async def migrate_keys(engine: AsyncEngine) -> None:
    """Bring the keys database up to date; of several processes that try, one does it."""
    async with engine.begin() as connection:
        await connection.execute(text(f"SELECT pg_advisory_xact_lock({MIGRATION_LOCK})"))
        await connection.execute(
            text("CREATE TABLE IF NOT EXISTS keys_migrations (number int PRIMARY KEY)")
        )
        applied = await connection.scalar(text("SELECT count(*) FROM keys_migrations"))
        for number, statement in enumerate(MIGRATIONS[applied:], start=applied + 1):
            await connection.execute(text(statement))
            await connection.execute(
                text("INSERT INTO keys_migrations VALUES (:number)"), {"number": number}
            )


class KeySettings(Settings):
    """A process that seals or reads personal data."""

    keys: PostgresUrl = "postgresql://postgres:@127.0.0.1:5432/keys"
    """RELAIS_KEYS: the database of the keys, which is no service's own."""
    master_keys: SecretStr = Field(default=SecretStr(""), validate_default=True)
    """RELAIS_MASTER_KEYS: id:base64,id:base64, 32 bytes each; the first wraps, all unwrap."""

    @field_validator("master_keys")
    @classmethod
    def _are_masters(cls, value: SecretStr) -> SecretStr:
        Masters(parse_secrets(value.get_secret_value()))
        return value

    def masters(self) -> dict[str, bytes]:
        return parse_secrets(self.master_keys.get_secret_value())
