"""A real broker for the session, the API, and workers as a test wants them."""

import asyncio
import os
import uuid
from collections.abc import AsyncIterator, Callable, Iterator

import httpx
import pytest
from relais.clients.v1.events_pb2 import ClientEvent

from eventkit.producer import Producer
from eventkit.records import Message
from relaisctl.stack import Broker, Ports, Stack
from services.routing.tests.support import Published, Running


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    broker = Broker(os.environ.get("RELAIS_BROKER") or Broker.AUTO)
    stack = Stack(tmp_path_factory.mktemp("stack"), broker=broker)
    try:
        stack.start(["kafka"])
        yield stack
    finally:
        stack.stop()


@pytest.fixture(scope="session")
def bootstrap(stack: Stack) -> str:
    """A broker with all our topics and the registered client `acme`."""
    asyncio.run(_register(stack.addresses["kafka"]))
    return stack.addresses["kafka"]


async def _register(bootstrap: str) -> None:
    event = ClientEvent(registered={"name": "Acme", "time_zone": "UTC"})
    async with Producer(bootstrap) as producer:
        await producer.deliver(Message("client-events", b"acme", event.SerializeToString()))


@pytest.fixture(scope="session")
def api(bootstrap: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    ports = Ports.free()
    running = Running(
        "api",
        {
            "RELAIS_KAFKA": bootstrap,
            "RELAIS_ROUTING_ACK_S": "2",
            "RELAIS_ROUTING_HTTP_PORT": str(ports.routing_http),
            "RELAIS_ROUTING_GRPC_PORT": str(ports.routing_grpc),
        },
        f"http://127.0.0.1:{ports.routing_http}",
        tmp_path_factory.mktemp("api") / "log",
    )
    running.start()
    asyncio.run(running.ready())
    yield running
    assert running.stop() == 0
    assert "Traceback" not in running.log.read_text()


@pytest.fixture
async def http(api: Running) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=api.health, timeout=30, trust_env=False) as client:
        yield client


MakeWorker = Callable[..., Running]


@pytest.fixture(scope="session")
def make_worker(bootstrap: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MakeWorker]:
    """make_worker(NAME=value) -> a worker, started; stopped at the end of the session."""
    made: list[Running] = []

    def make(**environment: str) -> Running:
        port = Ports.free().routing_worker_health
        running = Running(
            "worker",
            {"RELAIS_KAFKA": bootstrap, "RELAIS_HEALTH_PORT": str(port)} | environment,
            f"http://127.0.0.1:{port}",
            tmp_path_factory.mktemp("worker") / "log",
        )
        running.start()
        made.append(running)
        return running

    yield make
    for running in made:
        if running.popen is not None and running.popen.poll() is None:
            running.stop()


@pytest.fixture(scope="session")
def worker(make_worker: MakeWorker) -> Running:
    """The worker of the tests that leave it in peace."""
    running = make_worker(RELAIS_GROUP_INSTANCE="one")
    asyncio.run(running.ready())
    return running


@pytest.fixture
def published(bootstrap: str) -> Published:
    return Published(bootstrap)


@pytest.fixture
def pool() -> str:
    """A pool that no other test knows."""
    return f"pool-{uuid.uuid4().hex[:8]}"
