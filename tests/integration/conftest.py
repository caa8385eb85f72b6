"""The engines under the integration tests: containers where Docker answers, or the local stack.

RELAIS_BROKER=kafka|tansu chooses a broker, and with it the local stack.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from eventkit.callers import Callers, Role
from eventkit.clock import SystemClock
from eventkit.namedsecrets import parse_secrets
from relaisctl.secrets import SECRETS, ensure_secrets
from relaisctl.stack import Broker, Ports, Stack, StackSettings, ensure_topics, load_topics

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Engines:
    """Where the engines listen, in the form of RELAIS_KAFKA, RELAIS_CLICKHOUSE, RELAIS_POSTGRES.

    local    the stack behind it, which can kill and restart them; None with containers
    """

    kafka: str
    clickhouse: str
    postgres: str
    broker: Broker = Broker.KAFKA
    local: Stack | None = field(default=None, repr=False)

    @property
    def environment(self) -> dict[str, str]:
        """What a service under test is given."""
        return {
            "RELAIS_KAFKA": self.kafka,
            "RELAIS_CLICKHOUSE": self.clickhouse,
            "RELAIS_POSTGRES": self.postgres,
        }

    def require_local(self) -> Stack:
        """For tests that kill or restart an engine; skips the test on containers."""
        if self.local is None:
            pytest.skip("engines can be killed on the local stack only, and these are containers")
        return self.local

    def require_durable_broker(self) -> None:
        """For tests that restart the broker and expect its records; skips them on Tansu."""
        if self.broker is Broker.TANSU:
            pytest.skip("Tansu keeps its records in memory only")


@cache
def _docker_answers() -> bool:
    """A Docker engine that answers a ping; a client alone is not one."""
    import docker
    from docker.errors import DockerException

    try:
        client = docker.from_env(timeout=5)
        try:
            return bool(client.ping())
        finally:
            client.close()
    except DockerException:
        return False


def _broker() -> Broker:
    return Broker(os.environ.get("RELAIS_BROKER") or Broker.AUTO)


def _uses_containers() -> bool:
    return _broker() is Broker.AUTO and _docker_answers()


def pytest_report_collectionfinish(items: list[pytest.Item]) -> str | None:
    if not any("stack" in getattr(item, "fixturenames", ()) for item in items):
        return None
    if _uses_containers():
        images = ", ".join(_image(engine) for engine in ("kafka", "clickhouse", "postgres"))
        return f"engines: containers ({images})"
    return f"engines: the local stack, broker {_broker()} (RELAIS_BROKER=kafka|tansu chooses)"


@pytest.fixture(scope="session")
def stack(request: pytest.FixtureRequest) -> Iterator[Engines]:
    """Kafka with all our topics, ClickHouse and PostgreSQL with a database `relais`."""
    for engines in _containers() if _uses_containers() else _local_stack():
        if engines.local is not None:
            [kafka] = engines.local.status(["kafka"])
            tell(request.config, f"broker: {kafka.detail}")
        yield engines


@pytest.fixture(scope="session")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One master key for all that is kept in the engines, whichever module's processes read it."""
    home = tmp_path_factory.mktemp("secrets")
    ensure_secrets(home)
    return home / SECRETS


@pytest.fixture(scope="module")
def services(
    stack: Engines, secrets: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stack]:
    """Our processes on these engines: each test module starts those that it wants, and all end
    with it. The engines are external to this Stack."""
    home = tmp_path_factory.mktemp("services")
    shutil.copy(secrets, home)
    settings = StackSettings(
        home,
        Ports.free(),
        kafka=stack.kafka,
        clickhouse=stack.clickhouse,
        postgres=stack.postgres,
    )
    with Stack.of(settings, say=_say) as services:
        yield services


def token_of(services: Stack, clients: list[str], role: Role = Role.ADMIN) -> str:
    """A token that these services accept."""
    secrets = parse_secrets(ensure_secrets(services.settings.home)["RELAIS_TOKEN_SECRETS"])
    return Callers(secrets).issue("tester", clients, role, SystemClock().now_us(), 3600)


def tell(config: pytest.Config, *lines: str) -> None:
    """Write lines that are seen even when no test fails."""
    terminal = config.pluginmanager.get_plugin("terminalreporter")
    capture = config.pluginmanager.get_plugin("capturemanager")
    if terminal is not None and capture is not None:
        with capture.global_and_fixture_disabled():
            for line in lines:
                terminal.write_line(line)


def _local_stack() -> Iterator[Engines]:
    # Not in pytest's own folder: that is closed to the user that PostgreSQL runs as for root.
    with tempfile.TemporaryDirectory(prefix="relais-") as home:
        settings = StackSettings(Path(home), Ports.free(), _broker())
        with Stack.of(settings, say=_say) as stack:
            yield Engines(
                kafka=stack.addresses["kafka"],
                clickhouse=stack.addresses["clickhouse"],
                postgres=stack.addresses["postgres"],
                broker=stack.broker or Broker.KAFKA,
                local=stack,
            )


def _say(name: str, line: str) -> None:
    print(f"{name:<10} {line}")


def _containers() -> Iterator[Engines]:
    from testcontainers.community.clickhouse import ClickHouseContainer
    from testcontainers.community.postgres import PostgresContainer

    with ExitStack() as running:
        kafka = running.enter_context(_kafka())
        clickhouse = running.enter_context(
            ClickHouseContainer(
                _image("clickhouse"), username="relais", password="relais", dbname="relais"
            )
        )
        postgres = running.enter_context(
            PostgresContainer(
                _image("postgres"),
                username="relais",
                password="relais",
                dbname="relais",
                driver=None,
            )
        )
        engines = Engines(
            kafka=kafka,
            clickhouse=clickhouse.get_connection_url(),
            postgres=postgres.get_connection_url(),
        )
        ensure_topics(engines.kafka, load_topics())
        yield engines


@contextmanager
def _kafka() -> Iterator[str]:
    """Not testcontainers' KafkaContainer: that one runs a start script of Confluent's images.

    A broker tells its clients where it listens, so its port on the host is chosen beforehand.
    """
    from testcontainers.core.container import DockerContainer
    from testcontainers.core.wait_strategies import LogMessageWaitStrategy

    port = Ports.free().kafka
    container = DockerContainer(_image("kafka")).with_bind_ports(9092, port)
    address = f"{container.get_container_host_ip()}:{port}"
    settings = {
        **_compose()["kafka"]["environment"],
        "KAFKA_LISTENERS": "HOST://:9092,CONTROLLER://:9093",
        "KAFKA_ADVERTISED_LISTENERS": f"HOST://{address}",
        "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP": "HOST:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "KAFKA_INTER_BROKER_LISTENER_NAME": "HOST",
    }
    container.with_envs(**{name: str(value) for name, value in settings.items()})
    with container.waiting_for(LogMessageWaitStrategy("Kafka Server started")):
        yield address


@cache
def _compose() -> dict[str, Any]:
    services: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    return services


def _image(engine: str) -> str:
    """The same image as docker-compose.yml runs."""
    return str(_compose()[engine]["image"])
