"""The use cases of a client's catalogue: look at it, change it, load a whole one."""

from eventkit.eventstore import Answer, Category, Cause, EventStore, Transaction
from services.crm.catalogue import store
from services.crm.catalogue.catalogue import DECIDER, MAIN, Catalogue, Command

CATALOGUE = Category("catalogue", DECIDER, project=store.project)


class Catalogues:
    """Raises NotFound, Invalid, Rejected and Unavailable, and nothing else that callers expect."""

    def __init__(self, events: EventStore) -> None:
        self._events = events

    async def change(self, cause: Cause, command: Command) -> Answer:
        """Bring the client's catalogue to what the command wants.

        version: of the catalogue. changes: how many events that took; 0 for a repeat.
        """

        async def work(tx: Transaction) -> Answer:
            change = await tx.execute(CATALOGUE, MAIN, command)
            return {"version": change.version, "changes": len(change.events)}

        return await self._events.run(cause, work)

    async def get(self, client_id: str) -> Catalogue:
        """The client's catalogue, empty where nothing has been defined."""
        async with self._events.engine.connect() as connection:
            return await store.catalogue(connection, client_id)
