"""The registered clients and their zones: crm works for no other."""

from typing import Self
from zoneinfo import ZoneInfo

from aiokafka.errors import KafkaError

from eventkit.errors import NotFound, Unavailable
from eventkit.topictable import TopicTable
from services.crm.codec import decode_zone

TOPIC = "client-events"


class Clients:
    """An `async with` around a table of client-events; what it does not know is looked up again.

    Raises Unavailable when Kafka does not answer.
    """

    def __init__(self, bootstrap: str) -> None:
        self._table = TopicTable(bootstrap, TOPIC, decode_zone)

    async def __aenter__(self) -> Self:
        await self._table.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._table.stop()

    async def known(self, client_id: str) -> bool:
        """Whether the client is registered, as of now."""
        return await self._find(client_id) is not None

    async def zone(self, client_id: str) -> ZoneInfo:
        """The client's time zone. Raises NotFound."""
        zone = await self._find(client_id)
        if zone is None:
            raise NotFound("client")
        return zone

    async def _find(self, client_id: str) -> ZoneInfo | None:
        key = client_id.encode()
        if (zone := self._table.get(key)) is None:
            try:
                await self._table.refresh()
            except (KafkaError, TimeoutError) as error:
                raise Unavailable("Kafka does not answer") from error
            zone = self._table.get(key)
        return zone
