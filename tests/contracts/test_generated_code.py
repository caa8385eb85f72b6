"""The committed Python code is what the .proto files say, and they lie where their package says."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.contracts.contracts import PROTO

SOURCES = sorted(PROTO.glob("relais/**/*.proto"))
GENERATED = ("*_pb2.py", "*_pb2.pyi", "*_pb2_grpc.py")


def generated(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for pattern in GENERATED
        for path in folder.glob(f"relais/**/{pattern}")
    }


def test_generated_code_is_fresh(tmp_path: Path) -> None:
    subprocess.run([sys.executable, PROTO / "generate.py", tmp_path], check=True)
    wanted, found = generated(tmp_path), generated(PROTO)
    stale = {name for name in wanted | found if wanted.get(name) != found.get(name)}
    assert not stale, f"run `make proto` and commit: {sorted(stale)}"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PROTO)))
def test_package_is_the_path_and_ends_in_a_version(path: Path) -> None:
    package = re.search(r"^package (.+);$", path.read_text(encoding="utf-8"), re.MULTILINE)
    assert package is not None
    assert package[1].split(".") == list(path.parent.relative_to(PROTO).parts)
    assert re.fullmatch(r"v[1-9]\d*", path.parent.name)
