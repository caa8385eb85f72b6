"""`relaisctl token`, and where secrets come from."""

import stat
from pathlib import Path

import pytest
from typer.testing import CliRunner

from eventkit.callers import Callers, Role
from eventkit.clock import SystemClock
from eventkit.namedsecrets import new_secret, parse_secrets
from relaisctl.__main__ import app
from relaisctl.secrets import SECRETS, ensure_secrets

runner = CliRunner()


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("RELAIS_TOKEN_SECRETS", "RELAIS_TOKEN_PUBLIC_KEY", "RELAIS_MASTER_KEYS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RELAIS_HOME", str(tmp_path))
    return tmp_path


def token(*arguments: str) -> str:
    result = runner.invoke(app, ["token", *arguments])
    assert result.exit_code == 0, result.output
    return result.stdout.strip()


def verified(text: str, secrets: str) -> tuple[str, frozenset[str] | None, Role]:
    caller = Callers(parse_secrets(secrets)).verify(text, SystemClock().now_us())
    return caller.name, caller.clients, caller.role


def test_a_token_of_the_local_stack(home: Path) -> None:
    secrets = ensure_secrets(home)["RELAIS_TOKEN_SECRETS"]
    assert stat.S_IMODE((home / SECRETS).stat().st_mode) == 0o600
    assert ensure_secrets(home)["RELAIS_TOKEN_SECRETS"] == secrets, "made once"
    text = token("--sub", "ana", "--clients", "acme, globex", "--role", "supervisor")
    clients = frozenset({"acme", "globex"})
    assert verified(text, secrets) == ("ana", clients, Role.SUPERVISOR)
    text = token("--sub", "ops", "--clients", "*", "--role", "admin", "--hours", "1")
    assert verified(text, secrets) == ("ops", None, Role.ADMIN)


def test_the_environment_goes_first(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ensure_secrets(home)
    secrets = f"{new_secret('new')},{new_secret('old')}"
    monkeypatch.setenv("RELAIS_TOKEN_SECRETS", secrets)
    text = token("--sub", "ana", "--clients", "acme")
    assert verified(text, secrets.split(",")[0]) == ("ana", frozenset({"acme"}), Role.AGENT)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--sub", "a b", "--clients", "acme"), "sub: no id"),
        (("--sub", "ana", "--clients", "ACME"), "clients: has something that is no client id"),
        (("--sub", "ana", "--clients", ","), "clients: no list of client ids"),
        (("--sub", "ana", "--clients", "acme", "--role", "root"), "role"),
        (("--sub", "ana", "--clients", "acme", "--hours", "0"), "hours"),
        (("--sub", "ana", "--clients", "acme", "--hours", "nan"), "hours"),
        (("--sub", "ana"), "clients"),
    ],
)
def test_what_is_refused(home: Path, arguments: tuple[str, ...], told: str) -> None:
    ensure_secrets(home)
    result = runner.invoke(app, ["token", *arguments])
    assert result.exit_code == 2
    assert told in result.stderr
    assert result.stdout == ""


def test_without_a_secret_none_is_made_up(home: Path) -> None:
    result = runner.invoke(app, ["token", "--sub", "ana", "--clients", "acme"])
    assert result.exit_code == 2
    assert "RELAIS_TOKEN_SECRETS: neither a secret nor a public key" in result.stderr
    assert "relaisctl up" in result.stderr
    assert not (home / SECRETS).exists()
