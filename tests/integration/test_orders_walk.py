"""docs/subsystems/orders-walk.md is true: its commands, run in their order on the local stack,
answer what it shows."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import pytest

from relaisctl.stack import Stack
from relaisctl.stack.services import SERVICES, check_ready, environment
from tests.integration.conftest import ROOT, Engines
from tests.integration.walk import Shell, Step, environment_of, steps

PAGE = ROOT / "docs" / "subsystems" / "orders-walk.md"
AHEAD = Path(__file__).with_name("ahead.py")
CLOCK = "the clock goes to "
"""The note before a step that is later than the one before it; a variable of the walk follows."""
LATER_S = 600
AROUND = ["crm-api", "crm-relay", "crm-worker", "orders-relay", "orders-worker"]
SEEN_S = 30.0
"""What other processes have to hear of first is asked for again, so long."""


class Walk:
    """The services of the walk, and the shell in it. Its orders-api has a clock that can be put
    forward, since no test waits for the day of a visit."""

    def __init__(self, services: Stack, folder: Path) -> None:
        self._services = services
        self._folder = folder
        self._clock = folder / "ahead"

    @contextmanager
    def shell(self) -> Iterator[Shell]:
        self._clock.write_text("0", encoding="utf-8")
        self._services.start(AROUND)
        with self._orders(), Shell(environment_of(self._services), self._folder) as shell:
            yield shell

    @contextmanager
    def _orders(self) -> Iterator[None]:
        settings, addresses = self._services.settings, self._services.addresses
        (service,) = [each for each in SERVICES if each.name == "orders-api"]
        told = environment(service, settings, addresses)
        log = self._folder / "orders-api.log"
        with log.open("wb") as out:
            process = subprocess.Popen(
                [sys.executable, AHEAD, self._clock, *service.arguments],
                env={**os.environ, **told},
                stdout=out,
                stderr=out,
            )
            try:
                end = time.monotonic() + 60
                while True:
                    try:
                        check_ready(addresses["orders-api"])
                        break
                    except OSError:
                        assert process.poll() is None, log.read_text()
                        assert time.monotonic() < end, log.read_text()
                        time.sleep(0.2)
                yield
            finally:
                process.terminate()
                process.wait(30)

    def run(self, shell: Shell, step: Step) -> str:
        """What it prints here."""
        if step.note.startswith(CLOCK):
            name = step.note.removeprefix(CLOCK).removeprefix("$")
            at = datetime.fromisoformat(shell.run(f'echo "${name}"').strip())
            ahead = int(at.timestamp() - time.time()) + LATER_S
            self._clock.write_text(str(ahead), encoding="utf-8")
        command = step.command
        for name, port in (("crm-api", 8084), ("orders-api", 8087)):
            command = command.replace(
                f"localhost:{port}", self._services.addresses[name].removeprefix("http://")
            )
        printed = shell.run(command)
        end = time.monotonic() + SEEN_S
        only_looks = "-X" not in command and "erase" not in command
        while only_looks and step.differences(printed) and time.monotonic() < end:
            time.sleep(0.5)
            printed = shell.run(command)
        return printed


@pytest.mark.timeout(600)
def test_the_walk_is_true(stack: Engines, services: Stack, tmp_path: Path) -> None:
    page = steps(PAGE.read_text(encoding="utf-8"))
    assert sum(bool(step.kind) for step in page) > 40
    assert all(step.answer.strip() for step in page if step.kind)
    walk = Walk(services, tmp_path)
    wrong = []
    with walk.shell() as shell:
        for step in page:
            printed = walk.run(shell, step)
            if differences := step.differences(printed):
                wrong.append("\n".join([step.command, *differences, printed]))
    assert not wrong, "\n\n".join(wrong)
