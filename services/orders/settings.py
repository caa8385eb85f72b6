"""What orders reads from the environment, beside what every process has."""

from pydantic import Field

from eventkit.callers import TokenSettings
from eventkit.keys import KeySettings
from eventkit.settings import KafkaSettings, PostgresUrl


class OrdersSettings(KafkaSettings):
    """Every process of orders."""

    postgres: PostgresUrl = "postgresql://postgres:@127.0.0.1:5432/orders"
    """RELAIS_POSTGRES: orders' own database."""
    orders_connections: int = Field(10, gt=0)
    """RELAIS_ORDERS_CONNECTIONS: to that database, of each process."""


class ApiSettings(OrdersSettings, KeySettings, TokenSettings):
    """`python -m services.orders api`."""

    orders_host: str = "127.0.0.1"
    """RELAIS_ORDERS_HOST: where HTTP and gRPC listen; 0.0.0.0 in a container."""
    orders_http_port: int = Field(8087, ge=0, lt=65536)
    """RELAIS_ORDERS_HTTP_PORT. 0: any free port, which the log names."""
    orders_grpc_port: int = Field(50053, ge=0, lt=65536)
    """RELAIS_ORDERS_GRPC_PORT. 0: any free port, which the log names."""


class RelaySettings(OrdersSettings):
    """`python -m services.orders relay`."""


class WorkerSettings(OrdersSettings, KeySettings):
    """`python -m services.orders worker`."""

    orders_commands_days: float = Field(30.0, gt=0)
    """RELAIS_ORDERS_COMMANDS_DAYS: how long an idempotency key is remembered."""
