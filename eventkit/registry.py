"""What is announced on a topic by key, clients say: a table that looks again before it says no."""

from collections.abc import Callable
from typing import Generic, Self, TypeVar

from aiokafka.errors import KafkaError

from eventkit.errors import NotFound, Unavailable
from eventkit.records import Record
from eventkit.topictable import TopicTable

T = TypeVar("T")


class Registry(Generic[T]):
    """An `async with` around a TopicTable; a key that it does not know is looked up again.

    what: the word for a thing, in NotFound. Raises Unavailable when Kafka does not answer.
    """

    def __init__(
        self, bootstrap: str, topic: str, decode: Callable[[Record], T], what: str
    ) -> None:
        self._table = TopicTable(bootstrap, topic, decode)
        self._what = what

    async def __aenter__(self) -> Self:
        await self._table.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._table.stop()

    async def known(self, key: str) -> bool:
        """Whether it is there, as of now."""
        return await self._find(key) is not None

    async def get(self, key: str) -> T:
        """What is known of it. Raises NotFound."""
        found = await self._find(key)
        if found is None:
            raise NotFound(self._what)
        return found

    async def _find(self, key: str) -> T | None:
        if (found := self._table.get(key.encode())) is None:
            try:
                await self._table.refresh()
            except (KafkaError, TimeoutError) as error:
                raise Unavailable("Kafka does not answer") from error
            found = self._table.get(key.encode())
        return found
