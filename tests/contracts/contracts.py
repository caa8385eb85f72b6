"""What the contracts' tests read: the generated messages, the examples, git's history."""

import importlib
import shutil
import subprocess
from functools import cache
from pathlib import Path

import pytest
from google.protobuf import descriptor_pool, message_factory
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message

ROOT = Path(__file__).resolve().parents[2]
PROTO = ROOT / "proto"
EXAMPLES = PROTO / "examples"
DEAD_LETTERS = "-dlq"

BYTES = "bytes"
SNAPSHOTS = {"relais.routing.v1.PoolSnapshot", "relais.analytics.v1.LiveKpiSnapshot"}
"""Messages that are no events: a state at an offset, built from its log again when missing."""


@cache
def _load_generated_code() -> None:
    for path in sorted(PROTO.glob("relais/**/*_pb2.py")):
        importlib.import_module(".".join(path.relative_to(PROTO).with_suffix("").parts))


def descriptor(message: str) -> Descriptor:
    """The message with this full name. Raises KeyError where the generated code has none."""
    _load_generated_code()
    return descriptor_pool.Default().FindMessageTypeByName(message)


def message_class(message: str) -> type[Message]:
    return message_factory.GetMessageClass(descriptor(message))


def examples(topic: str) -> list[Path]:
    return sorted((EXAMPLES / topic).glob("*.json"))


def git(*arguments: str) -> str:
    """What git answers about this checkout. Skips the test where there is no git or no history."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("needs git and a checkout with its history")
    command = ["git", "-C", str(ROOT), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout
