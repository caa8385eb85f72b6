"""What routing reads from the environment, beside what every Kafka process has."""

from pydantic import Field

from eventkit.settings import KafkaSettings


class ApiSettings(KafkaSettings):
    """`python -m services.routing api`."""

    routing_host: str = "127.0.0.1"
    """RELAIS_ROUTING_HOST: where HTTP and gRPC listen; 0.0.0.0 in a container."""
    routing_http_port: int = Field(8080, ge=0, lt=65536)
    """RELAIS_ROUTING_HTTP_PORT. 0: any free port, which the log names."""
    routing_grpc_port: int = Field(50051, ge=0, lt=65536)
    """RELAIS_ROUTING_GRPC_PORT. 0: any free port, which the log names."""
    routing_ack_s: float = Field(5.0, gt=0)
    """RELAIS_ROUTING_ACK_S: how long a report waits for Kafka before the answer is 503."""


class WorkerSettings(KafkaSettings):
    """`python -m services.routing worker`."""

    routing_snapshot_every: int = Field(10_000, gt=0)
    """RELAIS_ROUTING_SNAPSHOT_EVERY: commands of a partition between two snapshots."""
    routing_snapshot_s: float = Field(30.0, gt=0)
    """RELAIS_ROUTING_SNAPSHOT_S: and the longest time between them, in seconds."""
    routing_session_s: float = Field(10.0, gt=0)
    """RELAIS_ROUTING_SESSION_S: silence after which Kafka gives a worker's partitions away."""
