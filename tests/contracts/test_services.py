"""Each package names exactly the topics that topics.yaml gives to its processes.

What the processes really read and write is seen by tests/integration/test_processes.py; this needs
no engine, and finds a name that nothing uses or that was misspelt.
"""

import ast
import re

import pytest

from relaisctl.stack.services import SERVICES
from relaisctl.stack.topics import load_topics
from tests.contracts.contracts import DEAD_LETTERS, ROOT

LOOKS_LIKE_A_TOPIC = re.compile(r"[a-z-]+-(events|commands|snapshots|dlq)")
PACKAGES = {
    **{service.arguments[0]: set[str]() for service in SERVICES},
    "relaisctl": {"relaisctl"},
    "eventkit": set(),
}
for service in SERVICES:
    PACKAGES[service.arguments[0]].add(service.name)


def named(package: str) -> set[str]:
    """The topics in the package's code, which is not its tests."""
    folder = ROOT / package.replace(".", "/")
    return {
        node.value
        for path in folder.rglob("*.py")
        if "tests" not in path.relative_to(folder).parts
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and LOOKS_LIKE_A_TOPIC.fullmatch(node.value)
    }


@pytest.mark.parametrize("package", PACKAGES)
def test_package_names_its_topics(package: str) -> None:
    wanted = {
        topic.name
        for topic in load_topics()
        if PACKAGES[package] & {*topic.producers, *topic.consumers}
        # eventkit makes these names, from the topic that a bad record came from.
        and not topic.name.endswith(DEAD_LETTERS)
    }
    assert named(package) == wanted


def test_dead_letters_are_named_as_eventkit_names_them() -> None:
    from eventkit.deadletter import SUFFIX

    assert SUFFIX == DEAD_LETTERS
