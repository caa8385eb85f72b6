from collections.abc import AsyncIterator

import httpx
import pytest

from eventkit.callers import Role
from eventkit.eventstore import EventStore
from services.crm.customers.tests.support import Api, serving


@pytest.fixture
async def http(store: EventStore) -> AsyncIterator[httpx.AsyncClient]:
    async with serving(store) as http:
        yield http


@pytest.fixture
def api(http: httpx.AsyncClient, client_id: str) -> Api:
    """A supervisor's calls."""
    return Api(http, client_id, Role.SUPERVISOR)
