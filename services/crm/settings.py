"""What crm reads from the environment, beside what every process has."""

from pydantic import Field

from eventkit.callers import TokenSettings
from eventkit.keys import KeySettings
from eventkit.settings import KafkaSettings, PostgresUrl


class CrmSettings(KafkaSettings):
    """Every process of crm."""

    postgres: PostgresUrl = "postgresql://postgres:@127.0.0.1:5432/crm"
    """RELAIS_POSTGRES: crm's own database."""
    crm_connections: int = Field(10, gt=0)
    """RELAIS_CRM_CONNECTIONS: to that database, of each process."""


class ApiSettings(CrmSettings, KeySettings, TokenSettings):
    """`python -m services.crm api`."""

    crm_host: str = "127.0.0.1"
    """RELAIS_CRM_HOST: where HTTP and gRPC listen; 0.0.0.0 in a container."""
    crm_http_port: int = Field(8084, ge=0, lt=65536)
    """RELAIS_CRM_HTTP_PORT. 0: any free port, which the log names."""
    crm_grpc_port: int = Field(50052, ge=0, lt=65536)
    """RELAIS_CRM_GRPC_PORT. 0: any free port, which the log names."""


class RelaySettings(CrmSettings):
    """`python -m services.crm relay`."""


class WorkerSettings(CrmSettings, KeySettings):
    """`python -m services.crm worker`."""

    crm_commands_days: float = Field(30.0, gt=0)
    """RELAIS_CRM_COMMANDS_DAYS: how long an idempotency key is remembered."""
