"""Where the local stack lives and listens: from the environment, or given by a test."""

import random
import socket
from dataclasses import dataclass, fields
from enum import StrEnum
from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

ROOT = Path(__file__).resolve().parents[2]
"""The checkout: proto/, services/ and deploy/ are beside us."""
HOST = "127.0.0.1"
DATABASE = "relais"
KEYS = "keys"
"""The PostgreSQL database of the keys that personal data is sealed with."""


class Broker(StrEnum):
    """Which broker stands for Kafka. AUTO is Apache Kafka where it can run, Tansu otherwise."""

    AUTO = "auto"
    KAFKA = "kafka"
    TANSU = "tansu"


@dataclass(frozen=True)
class Ports:
    """TCP ports on 127.0.0.1; each is set by RELAIS_<NAME>_PORT."""

    postgres: int = 5432
    clickhouse: int = 9000
    kafka: int = 9092
    kafka_controller: int = 9093
    routing_http: int = 8080
    routing_grpc: int = 50051
    routing_worker_health: int = 8081
    analytics_loader_health: int = 8082
    analytics_kpi_health: int = 8083
    crm_http: int = 8084
    crm_grpc: int = 50052
    crm_relay_health: int = 8085
    crm_worker_health: int = 8086
    orders_http: int = 8087
    orders_grpc: int = 50053
    orders_relay_health: int = 8088
    orders_worker_health: int = 8089
    dialer_http: int = 8090
    dialer_grpc: int = 50054
    dialer_relay_health: int = 8091
    dialer_worker_health: int = 8092
    carrier_health: int = 8093
    carrier_grpc: int = 50055

    @classmethod
    def free(cls) -> "Ports":
        """Ports that nobody listens on now, below the range that outgoing connections draw from,
        so that a killed server finds its port free when it comes back."""
        names = [field.name for field in fields(cls)]
        found: list[int] = []
        for port in random.SystemRandom().sample(range(15_000, 32_000), 500):
            if is_free(port):
                found.append(port)
            if len(found) == len(names):
                return cls(**dict(zip(names, found, strict=True)))
        raise OSError(f"no {len(names)} free ports on {HOST}")


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True


@dataclass(frozen=True)
class StackSettings:
    """What one local stack is made of. An address given here means: do not start, only check."""

    home: Path
    ports: Ports = Ports()
    broker: Broker = Broker.AUTO
    kafka: str | None = None
    clickhouse: str | None = None
    postgres: str | None = None
    kafka_libs: Path | None = None


class Environment(BaseSettings):
    """The RELAIS_* variables that the local stack reads; an empty one counts as not set."""

    model_config = SettingsConfigDict(env_prefix="RELAIS_", env_ignore_empty=True)

    home: Path = Path(".relais")
    broker: Broker = Broker.AUTO
    kafka: str | None = None
    clickhouse: str | None = None
    postgres: str | None = None
    kafka_libs: Path | None = Field(default=None, description="a folder with Kafka's jars")
    postgres_port: int = Ports.postgres
    clickhouse_port: int = Ports.clickhouse
    kafka_port: int = Ports.kafka
    kafka_controller_port: int = Ports.kafka_controller
    routing_http_port: int = Ports.routing_http
    routing_grpc_port: int = Ports.routing_grpc
    routing_worker_health_port: int = Ports.routing_worker_health
    analytics_loader_health_port: int = Ports.analytics_loader_health
    analytics_kpi_health_port: int = Ports.analytics_kpi_health
    crm_http_port: int = Ports.crm_http
    crm_grpc_port: int = Ports.crm_grpc
    crm_relay_health_port: int = Ports.crm_relay_health
    crm_worker_health_port: int = Ports.crm_worker_health
    orders_http_port: int = Ports.orders_http
    orders_grpc_port: int = Ports.orders_grpc
    orders_relay_health_port: int = Ports.orders_relay_health
    orders_worker_health_port: int = Ports.orders_worker_health
    dialer_http_port: int = Ports.dialer_http
    dialer_grpc_port: int = Ports.dialer_grpc
    dialer_relay_health_port: int = Ports.dialer_relay_health
    dialer_worker_health_port: int = Ports.dialer_worker_health
    carrier_health_port: int = Ports.carrier_health
    carrier_grpc_port: int = Ports.carrier_grpc

    def stack_settings(self) -> StackSettings:
        ports = Ports(**{f.name: getattr(self, f"{f.name}_port") for f in fields(Ports)})
        return StackSettings(
            home=self.home.absolute(),
            ports=ports,
            broker=self.broker,
            kafka=self.kafka,
            clickhouse=self.clickhouse,
            postgres=self.postgres,
            kafka_libs=self.kafka_libs,
        )
