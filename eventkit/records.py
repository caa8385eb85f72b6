"""What consumers are given: records, batches of them, and how to say that a record is bad."""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from eventkit.errors import BadRecord

Headers = Sequence[tuple[str, bytes]]


class Record(Protocol):
    """One Kafka record as read: an aiokafka ConsumerRecord, or anything of that shape."""

    @property
    def topic(self) -> str: ...
    @property
    def partition(self) -> int: ...
    @property
    def offset(self) -> int: ...
    @property
    def timestamp(self) -> int:
        """Milliseconds since 1970, UTC."""
        ...

    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...
    @property
    def headers(self) -> Headers: ...


class Message(NamedTuple):
    """One record to be sent. Without a partition, the key decides (murmur2, as in Java)."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Headers = ()
    timestamp_ms: int | None = None
    partition: int | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """Consecutive records of one partition: all that exist in [first_offset, next_offset)."""

    topic: str
    partition: int
    first_offset: int
    next_offset: int
    records: Sequence[Record] = field(repr=False)

    @property
    def token(self) -> str:
        """Names the range. An effect that is remembered under it can be repeated harmlessly."""
        return f"{self.topic}:{self.partition}:{self.first_offset}-{self.next_offset}"


@dataclass(frozen=True, slots=True)
class Bad:
    """A record for the dead-letter topic, and why."""

    record: Record
    error: BadRecord


Handler = Callable[[Batch], Awaitable[Iterable[Bad]]]
"""Has the effect of a batch and returns the records that it could not use.

When it returns, the effect is durable (rows inserted, sends acknowledged): the dead letters are
sent next, then the offset is committed. Any exception stops the process before the commit.
"""
