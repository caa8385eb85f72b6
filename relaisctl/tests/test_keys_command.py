"""`relaisctl keys`: a rotation as an operator does it, on a real PostgreSQL."""

import asyncio
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from eventkit.keys import DataKey, PostgresKeyRing, migrate_keys
from eventkit.namedsecrets import new_secret, parse_secrets
from eventkit.postgres import make_engine
from relaisctl.__main__ import app
from relaisctl.stack import Ports, Stack
from relaisctl.stack.postgres import create_databases, database_url

runner = CliRunner()
SUBJECTS = [f"c-{n}" for n in range(2_500)]


@pytest.fixture(scope="module")
def keys() -> Iterator[str]:
    """The URL of an empty keys database."""
    # Not in pytest's own folder: that is closed to the user that PostgreSQL runs as for root.
    with tempfile.TemporaryDirectory(prefix="relais-") as home:
        stack = Stack(Path(home), Ports.free())
        try:
            stack.start(["postgres"])
            server = stack.addresses["postgres"]
            create_databases(server, ["keys"])
            yield database_url(server, "keys")
        finally:
            stack.stop()


def run(*arguments: str) -> Result:
    return runner.invoke(app, ["keys", *arguments])


async def sealed(url: str, masters: str, subjects: list[str]) -> dict[str, bytes]:
    engine = make_engine(url)
    await migrate_keys(engine)
    ring = PostgresKeyRing(engine, parse_secrets(masters))
    made = await ring.ensure("acme", subjects)
    await ring.index("acme", "x")
    await ring.erase("acme", ["gone"])
    await engine.dispose()
    return {subject: key.seal(b"Ana", b"") for subject, key in made.items()}


async def found(url: str, masters: str, subjects: list[str]) -> dict[str, DataKey]:
    engine = make_engine(url)
    keys = await PostgresKeyRing(engine, parse_secrets(masters)).find("acme", subjects)
    await engine.dispose()
    return keys


def test_a_rotation(keys: str, monkeypatch: pytest.MonkeyPatch) -> None:
    old = new_secret("old")
    monkeypatch.setenv("RELAIS_KEYS", keys)
    monkeypatch.setenv("RELAIS_MASTER_KEYS", old)
    assert json.loads(run("status", "--format", "json").stdout) == {"masters": [], "erased": 0}
    data = asyncio.run(sealed(keys, old, SUBJECTS))

    fresh = run("rotate", "--new-master", "new").stdout.strip()
    assert len(parse_secrets(fresh)["new"]) == 32
    monkeypatch.setenv("RELAIS_MASTER_KEYS", f"{fresh},{old}")
    assert "to be rotated" in run("status").stdout
    result = run("rotate")
    assert result.exit_code == 0, result.output
    assert "every key is wrapped by new" in result.stdout
    assert run("rotate").exit_code == 0

    monkeypatch.setenv("RELAIS_MASTER_KEYS", fresh)
    status = json.loads(run("status", "--format", "json").stdout)
    expected = {"master": "new", "subject_keys": len(SUBJECTS), "index_keys": 1, "wraps": True}
    assert status == {"masters": [expected], "erased": 1}
    read = asyncio.run(found(keys, fresh, SUBJECTS))
    assert all(read[subject].open(data[subject], b"") == b"Ana" for subject in SUBJECTS)

    # Who still has only the old one is told which is missing.
    monkeypatch.setenv("RELAIS_MASTER_KEYS", old)
    result = run("rotate")
    assert result.exit_code == 3
    assert "'new'" in result.stderr
    assert old.partition(":")[2] not in result.output


def test_what_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RELAIS_HOME", str(tmp_path))
    monkeypatch.setenv("RELAIS_KEYS", "postgresql://postgres:@127.0.0.1:1/keys")
    monkeypatch.setenv("RELAIS_MASTER_KEYS", new_secret("one"))
    result = run("status")
    assert result.exit_code == 3
    assert "does not answer" in result.stderr
    assert run("rotate", "--new-master", "a b").exit_code == 2
    monkeypatch.setenv("RELAIS_MASTER_KEYS", "one:abcd")
    result = run("status")
    assert result.exit_code == 2
    assert "RELAIS_MASTER_KEYS: master key 'one' is not of 32 bytes" in result.stderr
    assert "abcd" not in result.output
