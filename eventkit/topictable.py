"""Topics read without a group: a range of one partition, or a whole topic as a table."""

import logging
from collections.abc import AsyncIterator, Callable
from typing import Generic, Self, TypeVar

from eventkit.records import Record

log = logging.getLogger(__name__)

V = TypeVar("V")


async def read_partition(
    bootstrap: str, topic: str, partition: int, start: int = 0, end: int | None = None
) -> AsyncIterator[Record]:
    """The records of one partition with start <= offset < end; end None: the log's end as of now.

    Starts at the oldest record when `start` has been deleted. Raises KafkaError.
    """
    raise NotImplementedError
    yield


class TopicTable(Generic[V]):
    """The latest value of each key of a small topic. A record without a value removes its key.

    decode(record) -> V; a value that it raises BadRecord for is skipped and counted.
    """

    def __init__(self, bootstrap: str, topic: str, decode: Callable[[Record], V]) -> None:
        self.skipped = 0

    async def __aenter__(self) -> Self:
        """Connect and read the topic to its end."""
        raise NotImplementedError

    async def __aexit__(self, *_: object) -> None:
        raise NotImplementedError

    def get(self, key: bytes) -> V | None:
        """The latest value that has been read."""
        raise NotImplementedError

    def values(self) -> list[V]:
        raise NotImplementedError

    async def refresh(self) -> None:
        """Read to the log's end as of now: whatever was acknowledged before this call is seen."""
        raise NotImplementedError
