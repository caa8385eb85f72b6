"""Settings come from the environment, once, in `__main__`: frozen, checked, all errors at once.

A process adds its own. This one reads RELAIS_BATCH_RECORDS too, in `load(LoaderSettings)`:

    class LoaderSettings(ClickHouseSettings, KafkaSettings):
        batch_records: int = Field(default=50_000, gt=0)
"""

import sys
from typing import Annotated, Literal, NoReturn, TypeVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

PREFIX = "RELAIS_"


def _bootstrap(value: str) -> str:
    for address in value.split(","):
        host, colon, port = address.strip().rpartition(":")
        if not (host and colon and port.isdigit() and 0 < int(port) < 65536):
            raise ValueError(f"{address.strip()!r} is not host:port (several: host:port,host:port)")
    return value


def _url(*schemes: str) -> AfterValidator:
    def check(value: str) -> str:
        try:
            parts = urlsplit(value)
            valid = parts.scheme in schemes and bool(parts.hostname) and parts.port != 0
        except ValueError:
            valid = False
        if not valid:
            raise ValueError(f"not of the form {schemes[0]}://user:password@host:port/database")
        return value

    return AfterValidator(check)


class Settings(BaseSettings):
    """What every process has."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        frozen=True,
        extra="ignore",
        env_ignore_empty=True,
        hide_input_in_errors=True,
    )

    telemetry: Literal["off", "console", "otlp"] = "off"
    """otlp sends to OTEL_EXPORTER_OTLP_ENDPOINT and the other standard OTEL_ variables."""
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    health_host: str = "127.0.0.1"
    health_port: int | None = Field(default=None, ge=0, lt=65536)
    """Unset: no health server. 0: any free port."""
    health_stuck_s: float = Field(default=120.0, gt=0)
    """Not live after so many seconds without a commit while there is something to read."""


class KafkaSettings(Settings):
    """A process that reads or writes Kafka."""

    kafka: Annotated[str, AfterValidator(_bootstrap)] = "127.0.0.1:9092"
    dead_letter_limit: int = Field(default=10_000, ge=0)
    """Bad records in a row, of one partition, before the process stops."""
    group_instance: str | None = None
    """A name that is this process's own and stays over restarts (a StatefulSet's pod name): after
    a crash it gets its partitions back at once and not after the session's timeout."""


class ClickHouseSettings(Settings):
    """A process that reads or writes ClickHouse (native protocol)."""

    clickhouse: Annotated[str, _url("clickhouse", "clickhouses")] = (
        "clickhouse://default:@127.0.0.1:9000/relais"
    )


PostgresUrl = Annotated[str, _url("postgresql")]


class PostgresSettings(Settings):
    """A process that has a PostgreSQL database."""

    postgres: PostgresUrl = "postgresql://postgres:@127.0.0.1:5432/relais"


S = TypeVar("S", bound=BaseSettings)


def load(settings: type[S]) -> S:
    """Read the settings; on wrong ones say which variable and why, a line each, and exit(2)."""
    try:
        return settings()
    except ValidationError as error:
        _give_up(error)


def _give_up(error: ValidationError) -> NoReturn:
    for problem in error.errors():
        name = PREFIX + "_".join(str(part) for part in problem["loc"][:1]).upper()
        reason = problem["msg"].removeprefix("Value error, ")
        print(f"{name}: {reason[:1].lower()}{reason[1:]}", file=sys.stderr)
    raise SystemExit(2)
