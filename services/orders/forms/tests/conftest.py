from collections.abc import AsyncIterator

import httpx
import pytest

from eventkit.callers import Role
from eventkit.eventstore import EventStore
from services.orders.forms.service import Forms
from services.orders.forms.tests.support import Api, serving


@pytest.fixture
def forms(store: EventStore) -> Forms:
    return Forms(store)


@pytest.fixture
async def http(forms: Forms) -> AsyncIterator[httpx.AsyncClient]:
    async with serving(forms) as http:
        yield http


@pytest.fixture
def api(http: httpx.AsyncClient, client_id: str) -> Api:
    """A supervisor's calls."""
    return Api(http, client_id, Role.SUPERVISOR)
