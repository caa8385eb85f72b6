"""Our own processes, as data: how each is run and where it says that it is ready."""

import os
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from relaisctl.secrets import ensure_secrets
from relaisctl.stack.postgres import database_url
from relaisctl.stack.program import Kind, Launch, Program, Say
from relaisctl.stack.settings import HOST, KEYS, ROOT, StackSettings

_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # whatever http_proxy says


@dataclass(frozen=True)
class Service:
    """`port` is the field of Ports where GET /health/live and /health/ready are answered.

    own_http    that port is the service's own HTTP API: it needs no health server beside it
    database    the service's own PostgreSQL database; it then has the keys and the secrets too
    asks        whom it asks: the names of CALLED
    journal     the setting that names the file in which it remembers, in a folder of its own
    """

    name: str
    arguments: tuple[str, ...]
    port: str
    other_ports: tuple[str, ...] = ()
    own_http: bool = False
    database: str = ""
    asks: tuple[str, ...] = ()
    journal: str = ""


CALLED = {
    "RELAIS_CRM_HTTP": "http://{host}:{ports.crm_http}",
    "RELAIS_CRM_GRPC": "{host}:{ports.crm_grpc}",
    "RELAIS_ROUTING_GRPC": "{host}:{ports.routing_grpc}",
    "RELAIS_TELEPHONY": "{host}:{ports.carrier_grpc}",
}
"""Where the local stack has what services ask, by the settings that name it."""

SERVICES = (
    Service("routing-api", ("services.routing", "api"), "routing_http", ("routing_grpc",), True),
    Service("routing-worker", ("services.routing", "worker"), "routing_worker_health"),
    Service("analytics-loader", ("services.analytics", "loader"), "analytics_loader_health"),
    Service("analytics-kpi", ("services.analytics", "kpi"), "analytics_kpi_health"),
    Service("crm-api", ("services.crm", "api"), "crm_http", ("crm_grpc",), True, "crm"),
    Service("crm-relay", ("services.crm", "relay"), "crm_relay_health", database="crm"),
    Service("crm-worker", ("services.crm", "worker"), "crm_worker_health", database="crm"),
    Service(
        "orders-api", ("services.orders", "api"), "orders_http", ("orders_grpc",), True, "orders"
    ),
    Service("orders-relay", ("services.orders", "relay"), "orders_relay_health", database="orders"),
    Service(
        "orders-worker", ("services.orders", "worker"), "orders_worker_health", database="orders"
    ),
    Service(
        "dialer-api",
        ("services.dialer", "api"),
        "dialer_http",
        ("dialer_grpc",),
        True,
        "dialer",
        asks=("RELAIS_CRM_HTTP", "RELAIS_CRM_GRPC"),
    ),
    Service("dialer-relay", ("services.dialer", "relay"), "dialer_relay_health", database="dialer"),
    Service(
        "dialer-worker",
        ("services.dialer", "worker"),
        "dialer_worker_health",
        database="dialer",
        asks=tuple(CALLED),
    ),
)

SIMULATORS = (
    Service(
        "carrier",
        ("services.dialer", "carrier"),
        "carrier_health",
        ("carrier_grpc",),
        journal="RELAIS_CARRIER_JOURNAL",
    ),
)
"""What stands for something outside: the telephone network. No part of a deployment for real."""

DATABASES = [*sorted({service.database for service in SERVICES} - {""}), KEYS]
"""What PostgreSQL has to hold before the services start."""


def services(settings: StackSettings, addresses: Mapping[str, str]) -> list[Program]:
    """The services in starting order; `addresses` are those of the engines, by name."""
    # What is simulated comes before those who use it.
    return [_program(service, settings, addresses) for service in (*SIMULATORS, *SERVICES)]


def _program(service: Service, settings: StackSettings, addresses: Mapping[str, str]) -> Program:
    def launch(say: Say) -> Launch:
        return Launch(
            command=[sys.executable, "-m", *service.arguments],
            env=environment(service, settings, addresses),
            detail="",
        )

    return Program(
        name=service.name,
        kind=Kind.SERVICE,
        address=f"http://{HOST}:{getattr(settings.ports, service.port)}",
        ports=_ports(service, settings),
        launch=launch,
        check=check_ready,
        # A Faust worker needs half a minute to join its group on Tansu.
        start_timeout_s=120.0,
    )


def environment(
    service: Service, settings: StackSettings, addresses: Mapping[str, str]
) -> dict[str, str]:
    """What the service's process is told; makes the secrets where there are none, and the folder
    of its journal."""
    if service.journal:
        _journal(service, settings).parent.mkdir(parents=True, exist_ok=True)
    python_path = [str(ROOT), str(ROOT / "proto"), *os.environ.get("PYTHONPATH", "").split(":")]
    port = getattr(settings.ports, service.port)
    return {
        "PYTHONPATH": ":".join(filter(None, python_path)),
        "PYTHONUNBUFFERED": "1",
        "RELAIS_HOME": str(settings.home),
        "RELAIS_CLICKHOUSE": addresses["clickhouse"],
        "RELAIS_KAFKA": addresses["kafka"],
        "RELAIS_HEALTH_PORT": "" if service.own_http else str(port),
        **{name: str(port) for name, port in _ports(service, settings).items()},
        **{
            name: os.environ.get(name) or CALLED[name].format(host=HOST, ports=settings.ports)
            for name in service.asks
        },
        **({service.journal: str(_journal(service, settings))} if service.journal else {}),
        **(_database(service, settings, addresses["postgres"]) if service.database else {}),
    }


def _journal(service: Service, settings: StackSettings) -> Path:
    return settings.home / service.name / "journal.sqlite3"


def _database(service: Service, settings: StackSettings, postgres: str) -> dict[str, str]:
    return {
        "RELAIS_POSTGRES": database_url(postgres, service.database),
        "RELAIS_KEYS": database_url(postgres, KEYS),
        **ensure_secrets(settings.home),
    }


def _ports(service: Service, settings: StackSettings) -> dict[str, int]:
    """The ports it listens on, by the names of the settings that move them."""
    return {
        f"RELAIS_{name.upper()}_PORT": getattr(settings.ports, name)
        for name in (service.port, *service.other_ports)
    }


def check_ready(address: str) -> None:
    """GET /health/ready. Raises ConnectionError with the status and body of a refusal."""
    try:
        _DIRECT.open(f"{address}/health/ready", timeout=5).close()
    except urllib.error.HTTPError as refusal:
        body = refusal.read(200).decode(errors="replace")
        raise ConnectionError(f"/health/ready answers {refusal.code}: {body}") from refusal
