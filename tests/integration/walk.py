"""A page's commands, run in one shell as they stand, and the answers that the page shows of them.

A block of `sh` is a command; a block of `json` or `text` right behind it is what it answers. In
JSON, "…" stands for what the page leaves out: a value, the rest of a list, or, as a key, the rest
of an object. Moments and random ids are other ones in every run, so any of their kind will do.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from relaisctl.secrets import ensure_secrets
from relaisctl.stack import Stack
from tests.integration.conftest import ROOT

LEFT_OUT = "…"
_STEP = re.compile(
    r"^(?:<!-- (?P<note>.*?) -->\n)?```sh\n(?P<command>.*?)^```\n"
    r"(?:\n```(?P<kind>json|text)\n(?P<answer>.*?)^```\n)?",
    re.MULTILINE | re.DOTALL,
)
_RANDOM = (
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)"), "a moment"),
    (re.compile(r"\b\d{4}-\d\d-\d\d\b"), "a day"),
    (re.compile(r"\b\d\d:\d\d\b"), "a time"),
    (re.compile(r"\b(GMT|BST)\b"), "London's zone"),
    (re.compile(r"[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}"), "an id"),
)


@dataclass(frozen=True)
class Step:
    """note: an HTML comment right before the block. kind: of the answer, "" where none is shown."""

    note: str
    command: str
    kind: str
    answer: str

    def differences(self, real: str) -> list[str]:
        """What the page shows otherwise; nothing, where it shows nothing."""
        if not self.answer.strip():
            return []
        if self.kind == "text":
            shown, said = _normal(_trimmed(self.answer)), _normal(_trimmed(real))
            return [] if shown == said else [f"shown {shown!r}, is {said!r}"]
        try:
            return list(_differences("$", json.loads(self.answer), json.loads(real)))
        except ValueError:
            return [f"is no JSON: {real!r}"]


def steps(page: str) -> list[Step]:
    return [
        Step(*(found[name] or "" for name in ("note", "command", "kind", "answer")))
        for found in _STEP.finditer(page)
    ]


def rewritten(page: str, real: Sequence[str]) -> str:
    """The page with the real answers in it, shortened as its own were."""
    answers = iter(real)

    def paste(found: re.Match[str]) -> str:
        text = _trimmed(next(answers))
        if not found["kind"]:
            return found[0]
        if found["kind"] == "json":
            shown = json.loads(found["answer"] or "{}")
            text = _dump(_refilled(shown, json.loads(text)))
        begins, ends = found.span("answer")
        at = found.start()
        return f"{found[0][: begins - at]}{text}\n{found[0][ends - at :]}"

    return _STEP.sub(paste, page)


def environment_of(services: Stack) -> dict[str, str]:
    """That of an operator of these services: relaisctl is found, and finds them."""
    settings, addresses = services.settings, services.addresses
    return {
        **{name: value for name, value in os.environ.items() if name != "RELAIS_TOKEN"},
        **ensure_secrets(settings.home),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": f"{ROOT}:{ROOT / 'proto'}",
        "NO_PROXY": "*",
        "RELAIS_HOME": str(settings.home),
        "RELAIS_KAFKA": addresses["kafka"],
        "RELAIS_POSTGRES": addresses["postgres"],
        "RELAIS_CLICKHOUSE": addresses["clickhouse"],
        "RELAIS_CRM": addresses["crm-api"],
        "RELAIS_ORDERS": addresses["orders-api"],
        "RELAIS_DIALER": addresses["dialer-api"],
    }


class Shell:
    """One bash for all steps, so that its variables and functions stay."""

    def __init__(self, environment: Mapping[str, str], folder: Path) -> None:
        self._bash = subprocess.Popen(
            ["bash", "--noprofile", "--norc"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=dict(environment),
            cwd=folder,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bash.kill()
        self._bash.wait()

    def run(self, command: str) -> str:
        """What it prints. Raises AssertionError when it fails."""
        assert self._bash.stdin is not None
        assert self._bash.stdout is not None
        self._bash.stdin.write(f"{command}\nprintf '\\n-- ended: %s\\n' $?\n")
        self._bash.stdin.flush()
        printed: list[str] = []
        for line in self._bash.stdout:
            if line.startswith("-- ended: "):
                text = "".join(printed).removesuffix("\n")
                assert line == "-- ended: 0\n", f"{command}\n{text}\n{line}"
                return text
            printed.append(line)
        raise AssertionError(f"the shell has ended: {command}\n{''.join(printed)}")


def _trimmed(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.splitlines()).strip("\n")


def _normal(text: str) -> str:
    for pattern, what in _RANDOM:
        text = pattern.sub(f"<{what}>", text)
    return text


def _differences(path: str, shown: Any, real: Any) -> Iterator[str]:
    if shown == LEFT_OUT:
        return
    if isinstance(shown, dict) and isinstance(real, dict):
        yield from (
            f"{path}.{name} is not there" for name in shown.keys() - real.keys() - {LEFT_OUT}
        )
        if LEFT_OUT not in shown:
            yield from (f"{path}.{name} is not shown" for name in real.keys() - shown.keys())
        for name in shown.keys() & real.keys():
            yield from _differences(f"{path}.{name}", shown[name], real[name])
    elif isinstance(shown, list) and isinstance(real, list):
        rest = bool(shown) and shown[-1] == LEFT_OUT
        wanted = shown[:-1] if rest else shown
        if len(real) < len(wanted) or (len(real) > len(wanted) and not rest):
            yield f"{path} has {len(real)} items, {len(wanted)} are shown"
        for number, (one, other) in enumerate(zip(wanted, real, strict=False)):
            yield from _differences(f"{path}[{number}]", one, other)
    elif isinstance(shown, str) and isinstance(real, str):
        if _normal(shown) != _normal(real):
            yield f"{path}: shown {shown!r}, is {real!r}"
    elif (type(shown), shown) != (type(real), real):
        yield f"{path}: shown {shown!r}, is {real!r}"


def _refilled(shown: Any, real: Any) -> Any:
    if shown == LEFT_OUT:
        return LEFT_OUT
    if isinstance(shown, dict) and isinstance(real, dict):
        if LEFT_OUT not in shown:
            return {name: _refilled(shown.get(name, {}), value) for name, value in real.items()}
        kept = {name: _refilled(shown[name], real[name]) for name in real if name in shown}
        return kept | {LEFT_OUT: LEFT_OUT}
    if isinstance(shown, list) and isinstance(real, list) and shown and shown[-1] == LEFT_OUT:
        pairs = zip(shown[:-1], real, strict=False)
        return [*(_refilled(one, other) for one, other in pairs), LEFT_OUT]
    if isinstance(shown, list) and isinstance(real, list):
        masks = [*shown, *[{}] * len(real)]
        return [_refilled(mask, one) for mask, one in zip(masks, real, strict=False)]
    return real


def _dump(value: Any, indent: int = 0) -> str:
    """JSON of which every object and list that fits is one line."""
    line = json.dumps(value, ensure_ascii=False)
    if len(line) + indent <= 100 or not isinstance(value, dict | list):
        return line
    pad = " " * (indent + 2)
    if isinstance(value, dict):
        items = [
            f"{pad}{json.dumps(name, ensure_ascii=False)}: {_dump(each, indent + 2)}"
            for name, each in value.items()
        ]
        return "{\n" + ",\n".join(items) + "\n" + " " * indent + "}"
    items = [pad + _dump(each, indent + 2) for each in value]
    return "[\n" + ",\n".join(items) + "\n" + " " * indent + "]"
