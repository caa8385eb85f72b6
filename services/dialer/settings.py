"""What the dialer reads from the environment, beside what every process has."""

from pydantic import Field

from eventkit.callers import TokenSettings
from eventkit.keys import KeySettings
from eventkit.settings import KafkaSettings, PostgresUrl, Settings


class DialerSettings(KafkaSettings):
    """Every process of the dialer that has its database."""

    postgres: PostgresUrl = "postgresql://postgres:@127.0.0.1:5432/dialer"
    """RELAIS_POSTGRES: the dialer's own database."""
    dialer_connections: int = Field(10, gt=0)
    """RELAIS_DIALER_CONNECTIONS: to that database, of each process."""


class CrmSettings(Settings):
    """A process that asks crm, as a partner of every client."""

    crm_http: str = "http://127.0.0.1:8084"
    """RELAIS_CRM_HTTP: where crm's REST edge is; who refused an offer is asked there."""
    crm_grpc: str = "127.0.0.1:50052"
    """RELAIS_CRM_GRPC: where crm's gRPC edge is; whether a number may be called is asked there."""


class ApiSettings(DialerSettings, CrmSettings, KeySettings, TokenSettings):
    """`python -m services.dialer api`."""

    dialer_host: str = "127.0.0.1"
    """RELAIS_DIALER_HOST: where HTTP and gRPC listen; 0.0.0.0 in a container."""
    dialer_http_port: int = Field(8090, ge=0, lt=65536)
    """RELAIS_DIALER_HTTP_PORT. 0: any free port, which the log names."""
    dialer_grpc_port: int = Field(50054, ge=0, lt=65536)
    """RELAIS_DIALER_GRPC_PORT. 0: any free port, which the log names."""


class RelaySettings(DialerSettings):
    """`python -m services.dialer relay`."""


class WorkerSettings(DialerSettings, CrmSettings, KeySettings, TokenSettings):
    """`python -m services.dialer worker`."""

    routing_grpc: str = "127.0.0.1:50051"
    """RELAIS_ROUTING_GRPC: where routing's gRPC edge is; agents as they are now come from there."""
    telephony: str = "127.0.0.1:50055"
    """RELAIS_TELEPHONY: the gRPC address of the PBX or carrier."""
    dialer_turn_ms: int = Field(250, ge=50, le=10_000)
    """RELAIS_DIALER_TURN_MS: how often it is decided how many to dial."""
    dialer_commands_days: float = Field(30.0, gt=0)
    """RELAIS_DIALER_COMMANDS_DAYS: how long an idempotency key is remembered."""


class CarrierSettings(Settings):
    """`python -m services.dialer carrier`: the simulator of a carrier."""

    carrier_host: str = "127.0.0.1"
    """RELAIS_CARRIER_HOST: where its gRPC listens; 0.0.0.0 in a container."""
    carrier_grpc_port: int = Field(50055, ge=0, lt=65536)
    """RELAIS_CARRIER_GRPC_PORT. 0: any free port, which the log names."""
    carrier_journal: str = "carrier.sqlite3"
    """RELAIS_CARRIER_JOURNAL: the file of what was dialled and what became of it."""
    carrier_scenario: str | None = None
    """RELAIS_CARRIER_SCENARIO: a file that says what called numbers do, or a shipped one's name:
    `default` (unset), `brisk`."""
    carrier_seed: int = 1
    """RELAIS_CARRIER_SEED: the same seed, the same fates."""
    carrier_speed: float | None = Field(None, gt=0, le=1000)
    """RELAIS_CARRIER_SPEED: so many seconds of a call pass in one; unset: the scenario's."""
