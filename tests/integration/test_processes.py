"""The processes as they are deployed: what they read and write, and the probes that they answer.

Each runs with a spy on the requests that it sends to the broker, and is given a call, an agent, and
rubbish on every topic, so that it does all that it can do.
"""

import asyncio
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest
from aiokafka import AIOKafkaProducer
from google.protobuf.timestamp_pb2 import Timestamp
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub
from relais.clients.v1.events_pb2 import ClientEvent
from relais.routing.v1 import routing_service_pb2 as routing
from relais.routing.v1.routing_service_pb2_grpc import RoutingServiceStub

from eventkit.ids import event_id
from relaisctl.stack import Ports, load_topics
from relaisctl.stack.services import SERVICES, Service, check_ready
from tests.contracts.deployed import in_kubernetes
from tests.integration.conftest import ROOT, Engines

SPY = Path(__file__).with_name("kafka_spy.py")
CLIENT = "topics-match"
# A Faust worker needs half a minute to join its group on Tansu.
START_S = 120.0
ALL_SEEN_S = 60.0


def declared(process: str) -> set[str]:
    topics = load_topics()
    writes = {f"writes {topic.name}" for topic in topics if process in topic.producers}
    return writes | {f"reads {topic.name}" for topic in topics if process in topic.consumers}


def seen(out: Path) -> set[str]:
    return set(out.read_text(encoding="utf-8").splitlines()) if out.exists() else set()


@contextmanager
def run(service: Service, all_of_it: "Running") -> Iterator[subprocess.Popen[bytes]]:
    out = all_of_it.outs[service.name]
    environment = {
        **os.environ,
        **all_of_it.engines.environment,
        "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "proto"))),
        "RELAIS_ROUTING_HTTP_PORT": str(all_of_it.ports.routing_http),
        "RELAIS_ROUTING_GRPC_PORT": str(all_of_it.ports.routing_grpc),
        "RELAIS_HEALTH_PORT": str(all_of_it.port(service)),
    }
    with log_of(out).open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, SPY, out, *service.arguments],
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(40)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def log_of(out: Path) -> Path:
    return out.with_suffix(".log")


def wait_until_ready(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + START_S
    while True:
        try:
            return check_ready(f"http://127.0.0.1:{port}")
        except OSError as error:
            ended = process.poll() is not None
            if ended or time.monotonic() > end:
                pytest.fail(f"{log.stem} is not ready: {error}\n{log.read_text()[-3000:]}")
            time.sleep(0.2)


async def tell_everything(engines: Engines, ports: Ports) -> None:
    registered = ClientEvent()
    registered.meta.event_id = event_id(CLIENT, 1)
    registered.meta.stream_id = registered.meta.client_id = CLIENT
    registered.meta.version = 1
    registered.meta.occurred_at.GetCurrentTime()
    registered.meta.recorded_at.CopyFrom(registered.meta.occurred_at)
    registered.registered.name = "Topics Match"
    registered.registered.time_zone = "Europe/Paris"
    async with AIOKafkaProducer(bootstrap_servers=engines.kafka) as producer:
        value = registered.SerializeToString()
        await producer.send_and_wait("client-events", value, CLIENT.encode())
        for topic in load_topics():
            if topic.name.endswith("-dlq"):
                origin = topic.name.removesuffix("-dlq")
                await producer.send_and_wait(origin, b"\xffrubbish", b"rubbish")
    now = Timestamp()
    now.GetCurrentTime()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{ports.routing_grpc}") as channel:
        stub = RoutingServiceStub(channel)
        await stub.ReportAgent(
            routing.ReportAgentRequest(
                pool_id=CLIENT, agent_id="a-1", occurred_at=now, logged_in={"skills": []}
            )
        )
        await stub.ReportCall(
            routing.ReportCallRequest(
                client_id=CLIENT,
                pool_id=CLIENT,
                call_id="c-1",
                occurred_at=now,
                arrived={"channel": "CHANNEL_VOICE", "direction": "DIRECTION_INBOUND"},
            )
        )


@dataclass(frozen=True)
class Running:
    """All processes, ready. `outs` has what the spy of each has written."""

    engines: Engines
    ports: Ports
    outs: dict[str, Path]

    def port(self, service: Service) -> int:
        port: int = getattr(self.ports, service.port)
        return port


@pytest.fixture(scope="module")
def running(stack: Engines, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("processes")
    outs = {service.name: folder / service.name for service in SERVICES}
    all_of_it = Running(stack, Ports.free(), outs)
    with ExitStack() as processes:
        started = [processes.enter_context(run(service, all_of_it)) for service in SERVICES]
        for service, process in zip(SERVICES, started, strict=True):
            wait_until_ready(all_of_it.port(service), process, log_of(outs[service.name]))
        yield all_of_it


@pytest.mark.timeout(START_S + ALL_SEEN_S + 120)
def test_processes_read_and_write_what_topics_yaml_says(running: Running) -> None:
    wanted = {service.name: declared(service.name) for service in SERVICES}
    asyncio.run(tell_everything(running.engines, running.ports))
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


def test_grpc_probe_of_the_manifests_is_answered(running: Running) -> None:
    with grpc.insecure_channel(f"127.0.0.1:{running.ports.routing_grpc}") as channel:
        answer = HealthStub(channel).Check(HealthCheckRequest(), timeout=5)
    assert answer.status == HealthCheckResponse.SERVING
