"""The use cases of attempts: what is asked about them. Dialling makes them, and what is said of
them afterwards is dispositions/."""

from eventkit.decider import NotFound
from eventkit.eventstore import EventStore, Recorded
from services.dialer.attempts import attempt as a
from services.dialer.attempts import store
from services.dialer.attempts.store import ATTEMPTS, Filter, Row


class Attempts:
    """Raises NotFound and Unavailable."""

    def __init__(self, events: EventStore) -> None:
        self.events = events

    async def get(self, client_id: str, attempt_id: str) -> tuple[a.Attempt, int]:
        """The attempt and its version."""
        state, version = await self.events.load(ATTEMPTS, client_id, attempt_id)
        if state.started is None:
            raise NotFound("attempt")
        return state, version

    async def find(
        self, client_id: str, wanted: Filter, after: tuple[int, str] | None, limit: int
    ) -> list[Row]:
        """Newest first. after: started_at and attempt_id of the last one that was seen."""
        async with self.events.reading() as connection:
            return await store.find(connection, client_id, wanted, after, limit)

    async def history(self, client_id: str, attempt_id: str) -> list[Recorded[a.Event]]:
        """Every event, oldest first."""
        facts = await self.events.history(ATTEMPTS, client_id, attempt_id)
        if not facts:
            raise NotFound("attempt")
        return facts
