"""What can be set, by RELAIS_<NAME> in the environment."""

from pydantic import Field

from eventkit.settings import ClickHouseSettings, KafkaSettings


class LoaderSettings(ClickHouseSettings, KafkaSettings):
    """Of `python -m services.analytics loader`."""

    loader_batch_records: int = Field(50_000, gt=0)
    loader_batch_bytes: int = Field(32 << 20, gt=0)
    loader_linger_s: float = Field(0.5, gt=0)
    """How long a batch waits to grow: the rest of the delay until an event can be queried."""


class KpiSettings(ClickHouseSettings, KafkaSettings):
    """Of `python -m services.analytics kpi`."""

    live_target_s: float = Field(20.0, ge=0)
    """The service level's threshold, seconds of waiting."""
    live_flush_s: float = Field(0.5, gt=0)
    """The shortest time between two writes of live figures."""
    live_batch_records: int = Field(5_000, gt=0)
