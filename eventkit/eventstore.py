"""Events in PostgreSQL: append with the expected version, load, fold, retry; one transaction with
the read models, so that a reader sees its own write.

    COMPLAINTS = Category("complaint", complaint.DECIDER, project=store.project, topic=...)

    async def open(self, cause: Cause, command: OpenComplaint) -> Answer:
        async def work(tx: Transaction) -> Answer:
            change = await tx.execute(COMPLAINTS, command.complaint_id, command)
            return {"complaint_id": command.complaint_id, "version": change.version}
        return await self.store.run(cause, work)

`work` may be run again: on a conflict of versions everything is rolled back and it starts anew, so it
has no effect outside its transaction.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from eventkit.clock import Clock
from eventkit.decider import Decider
from eventkit.keys import KeyRing

C = TypeVar("C")
S = TypeVar("S")
E = TypeVar("E")

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


Project = Callable[[AsyncConnection, Sequence[Change[Any, Any]]], Awaitable[None]]
"""Brings the read models up to date, in the transaction of the append. Several changes come with a
bulk append; each is of another stream."""


async def _no_read_model(_: AsyncConnection, __: Sequence[Change[Any, Any]]) -> None: ...


def _own_id(stream: str, _: Any) -> str:
    return stream


@dataclass(frozen=True)
class Category(Generic[C, S, E]):
    """One kind of stream, and everything that happens with its events.

    name       the middle of the stream id `<client>/<name>/<id>`
    topic, message   where its events are published, and an event's bytes there; None: not published
    subject    (stream's own id, state after) -> whose key seals the personal fields; the stream's own
               id if left out. A customer's id, so that erasing the customer makes them unreadable.
    timers     state -> what is due when (name -> microseconds). Stored with every append.
    due        (stream's own id, timer's name, due time) -> the command that the timer gives
    """

    name: str
    decider: Decider[C, S, E]
    topic: str | None = None
    message: Callable[[Recorded[E]], bytes | None] | None = None
    project: Project = _no_read_model
    subject: Callable[[str, S], str] = _own_id
    timers: Callable[[S], Mapping[str, int]] | None = None
    due: Callable[[str, str, int], C] | None = None

    def stream_id(self, client_id: str, id: str) -> str:
        return f"{client_id}/{self.name}/{id}"


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

    async def load(self, category: Category[C, S, E], id: str) -> tuple[S, int]:
        """The state of a stream and its version; the initial state and 0 where there is none."""
        raise NotImplementedError

    async def load_many(
        self, category: Category[C, S, E], ids: Sequence[str]
    ) -> dict[str, tuple[S, int]]:
        """The same for many streams, in one round trip."""
        raise NotImplementedError

    async def execute(self, category: Category[C, S, E], id: str, command: C) -> Change[S, E]:
        """Load, decide, append, project. A decision without events changes nothing: `events` of the
        Change is empty. Raises what `decide` raises."""
        raise NotImplementedError

    async def append(
        self, category: Category[C, S, E], appends: Sequence[tuple[str, S, int, Sequence[E]]]
    ) -> list[Change[S, E]]:
        """Append decided events in bulk: (id, state before, expected version, events) for each."""
        raise NotImplementedError


class EventStore:
    """The events of one service, in its own database.

    Raises Rejected (also for an idempotency key used for something else), and Unavailable when
    PostgreSQL does not answer.
    """

    def __init__(self, engine: AsyncEngine, keys: KeyRing, clock: Clock) -> None:
        self.engine = engine
        self.keys = keys
        self.clock = clock

    async def run(
        self, cause: Cause, work: Callable[[Transaction], Awaitable[Answer]]
    ) -> Answer:
        """Run `work` in one transaction, again after a conflict, and commit. The answer is that of
        the first run with the cause's idempotency key."""
        raise NotImplementedError

    async def history(self, category: Category[C, S, E], client_id: str, id: str) -> list[Recorded[E]]:
        """Every event of a stream, oldest first; personal fields are empty once erased."""
        raise NotImplementedError
