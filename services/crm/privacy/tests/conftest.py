"""All of crm over HTTP in this process, and a broker for its relay."""

import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from zoneinfo import ZoneInfo

import httpx
import pytest

from eventkit.callers import Callers
from eventkit.eventstore import EventStore
from relaisctl.stack import Ports, Stack
from relaisctl.stack.settings import Environment
from services.crm.api import make_api
from services.crm.privacy.service import Privacy
from services.crm.service import Crm

CALLERS = Callers({"test": b"x" * 32})


async def zone(_: str) -> ZoneInfo:
    return ZoneInfo("Europe/Paris")


def new_id() -> str:
    return uuid.uuid4().hex


async def known(_: str) -> bool:
    return True


async def check() -> None: ...


@pytest.fixture
def crm(store: EventStore) -> Crm:
    return Crm.over(store, zone, store.clock, new_id)


@pytest.fixture
def privacy(crm: Crm) -> Privacy:
    return crm.privacy


@pytest.fixture
def headers(client_id: str) -> Callable[[str], dict[str, str]]:
    """headers(role): of a caller of the test's client."""

    def make(role: str) -> dict[str, str]:
        now = time.time_ns() // 1000
        return {"authorization": f"Bearer {CALLERS.issue('ana', [client_id], role, now, 600)}"}

    return make


@pytest.fixture
async def http(
    store: EventStore, crm: Crm, client_id: str, headers: Callable[[str], dict[str, str]]
) -> AsyncIterator[httpx.AsyncClient]:
    """An admin's client, for paths below /v1/clients/<client>."""
    app = make_api(crm, CALLERS, known, check, store.keys.index)
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app),
        base_url=f"http://crm/v1/clients/{client_id}",
        headers=headers("admin"),
    ) as client:
        yield client


@dataclass(frozen=True)
class Kafka:
    bootstrap: str


@pytest.fixture(scope="session")
def kafka() -> Iterator[Kafka]:
    """A broker with all topics."""
    with tempfile.TemporaryDirectory(prefix="relais-") as home:
        given = Environment().stack_settings()
        stack = Stack(Path(home), Ports.free(), broker=given.broker)
        try:
            stack.start(["kafka"])
            yield Kafka(stack.addresses["kafka"])
        finally:
            stack.stop()
