"""The processes as they are deployed: what they read and write, and the probes that they answer.

Each runs with a spy on the requests that it sends to the broker, and is given a call that nobody
answers in time, somebody to dial, and rubbish on every topic, so that it does all that it can do.
"""

import asyncio
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
import httpx
import pytest
from aiokafka import AIOKafkaProducer
from google.protobuf.timestamp_pb2 import Timestamp
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub
from relais.calls.v1.events_pb2 import Channel, Direction
from relais.clients.v1.events_pb2 import ClientEvent
from relais.routing.v1.assignment_service_pb2 import AttachDesktopRequest
from relais.routing.v1.assignment_service_pb2_grpc import AssignmentServiceStub
from relais.routing.v1.routing_service_pb2 import (
    ConfigurePoolRequest,
    ReportAgentRequest,
    ReportCallRequest,
)
from relais.routing.v1.routing_service_pb2_grpc import RoutingServiceStub

from eventkit.ids import event_id
from relaisctl.stack import Ports, Stack, load_topics
from relaisctl.stack.services import SERVICES, SIMULATORS, Service, check_ready, environment
from tests.contracts.contracts import DEAD_LETTERS
from tests.contracts.deployed import in_kubernetes
from tests.integration.conftest import Engines, token_of
from tests.integration.dialer_centre import HUMANS, Dialled, scenario

SPY = Path(__file__).with_name("kafka_spy.py")
CLIENT = POOL = "as-deployed"
# A Faust worker needs half a minute to join its group on Tansu.
START_S = 120.0
ALL_SEEN_S = 120.0
STOP_S = 40.0


@dataclass(frozen=True)
class Running:
    """All processes, ready. `outs` has what the spy of each has written. scenario: what becomes of
    those who are dialled."""

    engines: Engines
    services: Stack
    outs: dict[str, Path]
    scenario: Path

    @property
    def ports(self) -> Ports:
        return self.services.settings.ports

    def port(self, service: Service) -> int:
        """Where it answers probes."""
        port: int = getattr(self.ports, service.port)
        return port

    def log(self, service: Service) -> Path:
        return self.outs[service.name].with_suffix(".log")

    @contextmanager
    def run(self, services: Sequence[Service]) -> Iterator[None]:
        with ExitStack() as running:
            started = [running.enter_context(self._run(service)) for service in services]
            for service, process in zip(services, started, strict=True):
                self._wait_until_ready(service, process)
            yield

    @contextmanager
    def _run(self, service: Service) -> Iterator[subprocess.Popen[bytes]]:
        told = environment(service, self.services.settings, self.services.addresses)
        told["RELAIS_CARRIER_SCENARIO"] = str(self.scenario)
        command = [sys.executable, SPY, self.outs[service.name], *service.arguments]
        with self.log(service).open("ab") as log:
            process = subprocess.Popen(command, env={**os.environ, **told}, stdout=log, stderr=log)
            try:
                yield process
            finally:
                process.terminate()
                try:
                    process.wait(STOP_S)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()

    def _wait_until_ready(self, service: Service, process: subprocess.Popen[bytes]) -> None:
        end = time.monotonic() + START_S
        while True:
            try:
                return check_ready(f"http://127.0.0.1:{self.port(service)}")
            except OSError as error:
                if process.poll() is not None or time.monotonic() > end:
                    tail = self.log(service).read_text()[-3000:]
                    pytest.fail(f"{service.name} is not ready: {error}\n{tail}")
                time.sleep(0.2)


@pytest.fixture(scope="module")
def running(
    stack: Engines, services: Stack, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("processes")
    every = (*SIMULATORS, *SERVICES)
    outs = {service.name: folder / service.name for service in every}
    running = Running(stack, services, outs, scenario(folder / "scenario.json"))
    # Who comes second has something to restore.
    with running.run([each for each in SERVICES if snapshots_of(each.name)]):
        pass
    with running.run(every):
        yield running


def snapshots_of(process: str) -> list[str]:
    """The topics in which a process keeps its own state."""
    return [t.name for t in load_topics() if process in t.producers and process in t.consumers]


def declared(process: str) -> set[str]:
    topics = load_topics()
    writes = {f"writes {topic.name}" for topic in topics if process in topic.producers}
    return writes | {f"reads {topic.name}" for topic in topics if process in topic.consumers}


def seen(out: Path) -> set[str]:
    return set(out.read_text(encoding="utf-8").splitlines()) if out.exists() else set()


async def register_client(kafka: str) -> None:
    event = ClientEvent()
    event.meta.event_id = event_id(CLIENT, 1)
    event.meta.stream_id = event.meta.client_id = CLIENT
    event.meta.version = 1
    event.meta.occurred_at.GetCurrentTime()
    event.meta.recorded_at.CopyFrom(event.meta.occurred_at)
    event.registered.name = "As deployed"
    event.registered.time_zone = "Europe/Paris"
    async with AIOKafkaProducer(bootstrap_servers=kafka) as producer:
        value = event.SerializeToString()
        await producer.send_and_wait("client-events", value, CLIENT.encode())


async def report_a_call_that_nobody_answers(grpc_port: int) -> None:
    now = Timestamp()
    now.GetCurrentTime()
    logged_in, available = ReportAgentRequest.LoggedIn(), ReportAgentRequest.Available()
    arrived = ReportCallRequest.Arrived(
        channel=Channel.CHANNEL_VOICE, direction=Direction.DIRECTION_INBOUND
    )
    queued = ReportCallRequest.Queued(queue_id="advice")
    async with grpc.aio.insecure_channel(f"127.0.0.1:{grpc_port}") as channel:
        routing = RoutingServiceStub(channel)  # type: ignore[no-untyped-call]
        assignments = AssignmentServiceStub(channel)  # type: ignore[no-untyped-call]
        desktop = assignments.AttachDesktop(AttachDesktopRequest(pool_id=POOL, agent_id="a-1"))
        await desktop.read()
        await routing.ConfigurePool(ConfigurePoolRequest(pool_id=POOL, offer_seconds=1))
        for state in ({"logged_in": logged_in}, {"available": available}):
            await routing.ReportAgent(
                ReportAgentRequest(pool_id=POOL, agent_id="a-1", occurred_at=now, **state)
            )
        for report in ({"arrived": arrived}, {"queued": queued}):
            await routing.ReportCall(
                ReportCallRequest(
                    client_id=CLIENT, pool_id=POOL, call_id="c-1", occurred_at=now, **report
                )
            )
        while (await desktop.read()).call.WhichOneof("body") != "offer_expired":
            pass


COMPLAINT = (
    ("customers", {"name": "Ann Example"}),
    ("complaints", {"severity": "low", "text": "too slow"}),
)
"""Something for both topics of crm."""
ORDER = (
    ("forms/shipped/taxi", None),
    ("orders", {"product_id": "taxi", "customer_id": "k-1"}),
)


async def post(http: str, token: str, bodies: Sequence[tuple[str, object]]) -> None:
    headers = {"authorization": f"Bearer {token}"}
    async with httpx.AsyncClient(base_url=http, headers=headers, trust_env=False) as api:
        for path, body in bodies:
            (await api.post(f"/v1/clients/{CLIENT}/{path}", json=body)).raise_for_status()


async def dial_somebody(running: Running, token: str) -> None:
    """Who answers, for an agent who waits: a live answer goes to routing."""
    below = f"v1/clients/{CLIENT}"
    addresses = running.services.addresses
    async with httpx.AsyncClient(timeout=30, trust_env=False) as http:
        dialled = Dialled(
            CLIENT,
            "outbound",
            http,
            f"{addresses['dialer-api']}/{below}",
            f"{addresses['crm-api']}/{below}",
            addresses["routing-api"],
            running.engines.kafka,
            {"Authorization": f"Bearer {token}"},
        )
        await dialled.agents(1)
        await dialled.campaign("survey")
        await dialled.leads("survey", HUMANS[:1])
        await dialled.start("survey")


async def send_rubbish(kafka: str) -> None:
    async with AIOKafkaProducer(bootstrap_servers=kafka) as producer:
        for topic in load_topics():
            if topic.name.endswith(DEAD_LETTERS):
                origin = topic.name.removesuffix(DEAD_LETTERS)
                await producer.send_and_wait(origin, b"\xffrubbish", b"rubbish")


@pytest.mark.timeout(2 * START_S + ALL_SEEN_S + 120)
def test_processes_read_and_write_what_topics_yaml_says(running: Running) -> None:
    asyncio.run(register_client(running.engines.kafka))
    asyncio.run(report_a_call_that_nobody_answers(running.ports.routing_grpc))
    token = token_of(running.services, [CLIENT])
    for api, bodies in (("crm-api", COMPLAINT), ("orders-api", ORDER)):
        asyncio.run(post(running.services.addresses[api], token, bodies))
    asyncio.run(dial_somebody(running, token))
    asyncio.run(send_rubbish(running.engines.kafka))
    wanted = {name: declared(name) for name in running.outs}
    end = time.monotonic() + ALL_SEEN_S
    while time.monotonic() < end and any(
        wanted[name] - seen(out) for name, out in running.outs.items()
    ):
        time.sleep(0.2)
    assert {name: seen(out) for name, out in running.outs.items()} == wanted


@pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.name)
def test_probes_of_the_manifests_are_answered(running: Running, service: Service) -> None:
    (deployed,) = [each for each in in_kubernetes() if each.name == service.name]
    for path, _ in deployed.probes:
        url = f"http://127.0.0.1:{running.port(service)}{path}"
        with urllib.request.urlopen(url, timeout=5) as answer:
            assert answer.status == 200


@pytest.mark.parametrize("port", ["routing_grpc", "crm_grpc", "orders_grpc", "dialer_grpc"])
def test_grpc_probe_of_the_manifests_is_answered(running: Running, port: str) -> None:
    with grpc.insecure_channel(f"127.0.0.1:{getattr(running.ports, port)}") as channel:
        answer = HealthStub(channel).Check(HealthCheckRequest(), timeout=5)
    assert answer.status == HealthCheckResponse.SERVING
