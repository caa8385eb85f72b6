from collections.abc import AsyncIterator

import pytest

from eventkit.eventstore import EventStore
from services.dialer.tests.desk import Desk, open_desk


@pytest.fixture
async def desk(store: EventStore, client_id: str) -> AsyncIterator[Desk]:
    """A supervisor's, with a running campaign `spring`."""
    async with open_desk(store, client_id) as desk:
        await desk.campaign()
        yield desk
