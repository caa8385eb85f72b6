"""buf's opinion of the contracts: their style, and that no change breaks their users."""

import io
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from tests.contracts.contracts import PROTO, ROOT, git
from tests.contracts.tools import BUF, need

# Each version costs a fifth of a second; what is older was compared when it was young.
VERSIONS = 15


def buf(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    need(BUF)
    return subprocess.run([BUF, *arguments], cwd=ROOT, capture_output=True, text=True)


def contracts_at(commit: str, folder: Path) -> Path:
    """The .proto files of a commit, as a folder that buf takes."""
    command = ["git", "-C", str(ROOT), "archive", commit, "proto/relais"]
    archive = subprocess.run(command, check=True, capture_output=True).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        tar.extractall(folder, filter="data")
    return folder / "proto"


def test_lint() -> None:
    done = buf("lint")
    assert done.returncode == 0, done.stdout


def test_format() -> None:
    done = buf("format", "--diff", "--exit-code")
    assert done.returncode == 0, done.stdout


def test_nothing_breaks_what_was_committed(tmp_path: Path) -> None:
    """Against every version of main's history: what was written then is still in the topics."""
    need(BUF)
    history = ("log", "--first-parent", f"--max-count={VERSIONS}", "--format=%H")
    for commit in git(*history, "--", "proto/relais/**/*.proto").split():
        done = buf("breaking", "--against", contracts_at(commit, tmp_path / commit))
        assert done.returncode == 0, f"against {commit[:10]}:\n{done.stdout}"


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("CallQueued queued = 11;", "CallQueued queued = 99;", "deleted"),
        ("CallQueued queued = 11;", "CallArrived queued = 11;", "changed type"),
        ("string line = 3;", "string trunk = 3;", "changed name"),
        ("CHANNEL_CHAT = 2;", "CHANNEL_TEXT = 2;", "changed name"),
    ],
)
def test_a_breaking_change_is_found(tmp_path: Path, old: str, new: str, reason: str) -> None:
    need(BUF)
    shutil.copytree(PROTO / "relais", tmp_path / "relais")
    path = tmp_path / "relais" / "calls" / "v1" / "events.proto"
    text = path.read_text(encoding="utf-8")
    assert text.count(old) == 1
    path.write_text(text.replace(old, new), encoding="utf-8")
    done = buf("breaking", tmp_path, "--against", PROTO)
    assert done.returncode != 0
    assert reason in done.stdout
