"""A wrong variable is named with the reason, before anything starts."""

import pytest
from pydantic import Field, ValidationError

from eventkit.settings import ClickHouseSettings, KafkaSettings, PostgresSettings, load


class LoaderSettings(ClickHouseSettings, KafkaSettings, PostgresSettings):
    batch_records: int = Field(default=50_000, gt=0)


def test_defaults_and_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("KAFKA", "CLICKHOUSE", "POSTGRES"):
        monkeypatch.delenv(f"RELAIS_{name}", raising=False)
    monkeypatch.setenv("RELAIS_BATCH_RECORDS", "7")
    monkeypatch.setenv("RELAIS_HEALTH_PORT", "")
    settings = load(LoaderSettings)
    assert settings.kafka == "127.0.0.1:9092"
    assert settings.clickhouse == "clickhouse://default:@127.0.0.1:9000/relais"
    assert settings.batch_records == 7
    assert settings.health_port is None, "an empty variable is an unset one"
    with pytest.raises(ValidationError):
        settings.kafka = "other:1"


@pytest.mark.parametrize(
    ("name", "value", "line"),
    [
        ("KAFKA", "broker", "'broker' is not host:port (several: host:port,host:port)"),
        ("KAFKA", "a:1,b:x", "'b:x' is not host:port (several: host:port,host:port)"),
        ("TELEMETRY", "loud", "input should be 'off', 'console' or 'otlp'"),
        ("BATCH_RECORDS", "0", "input should be greater than 0"),
        ("HEALTH_PORT", "99999", "input should be less than 65536"),
        (
            "CLICKHOUSE",
            "http://:secret@x",
            "not of the form clickhouse://user:password@host:port/database",
        ),
        (
            "POSTGRES",
            "postgresql://u:secret@h:port/d",
            "not of the form postgresql://user:password@host:port/database",
        ),
    ],
)
def test_a_wrong_value_is_one_line_and_exit_code_2(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
    value: str,
    line: str,
) -> None:
    monkeypatch.setenv(f"RELAIS_{name}", value)
    with pytest.raises(SystemExit) as stopped:
        load(LoaderSettings)
    assert stopped.value.code == 2
    assert capsys.readouterr().err == f"RELAIS_{name}: {line}\n"
