"""The local stack's secrets: made once, whoever asks first, and nobody else's to read."""

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from eventkit.callers import Callers
from eventkit.keys import Masters
from eventkit.namedsecrets import parse_secrets
from relaisctl.secrets import SECRETS, ensure_secrets


def test_all_who_ask_at_once_get_the_same(tmp_path: Path) -> None:
    with ThreadPoolExecutor(16) as threads:
        found = list(threads.map(lambda _: ensure_secrets(tmp_path / "home"), range(64)))
    assert all(each == found[0] for each in found)
    (path,) = (tmp_path / "home").iterdir()
    assert path.name == SECRETS
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_they_are_what_services_accept(tmp_path: Path) -> None:
    secrets = ensure_secrets(tmp_path)
    Callers(parse_secrets(secrets["RELAIS_TOKEN_SECRETS"]))
    Masters(parse_secrets(secrets["RELAIS_MASTER_KEYS"]))


def test_the_environment_goes_before_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = ensure_secrets(tmp_path)
    monkeypatch.setenv("RELAIS_TOKEN_SECRETS", "mine:abc")
    assert ensure_secrets(tmp_path) == kept | {"RELAIS_TOKEN_SECRETS": "mine:abc"}
