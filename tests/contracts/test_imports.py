"""Who may import whom holds, and every rule of .importlinter finds what it is there to find."""

import configparser
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from tests.contracts.contracts import ROOT

PLANTED = {
    "eventkit": ("eventkit/clock.py", "import services.routing.codec"),
    "services": ("services/analytics/rows.py", "import services.routing.codec"),
    "alone": ("services/routing/codec.py", "import relaisctl.stack.settings"),
    "generated-code": ("services/routing/engine.py", "import relais.calls.v1.events_pb2"),
    "routing-domain": ("services/routing/pool.py", "import pydantic"),
    "routing-layers": ("services/routing/commands.py", "import services.routing.codec"),
    "analytics-domain": ("services/analytics/live.py", "import eventkit.records"),
    "analytics-layers": ("services/analytics/rows.py", "import services.analytics.store"),
    "crm-domain": ("services/crm/complaints/wish.py", "import eventkit.eventstore"),
    "crm-capabilities": ("services/crm/customers/store.py", "import services.crm.privacy.store"),
    "crm-layers": ("services/crm/surveys/codec.py", "import services.crm.surveys.store"),
    "orders-domain": ("services/orders/visits/slots.py", "import eventkit.eventstore"),
    "orders-capabilities": (
        "services/orders/visits/store.py",
        "import services.orders.order.store",
    ),
    "orders-layers": ("services/orders/order/codec.py", "import services.orders.order.store"),
    "dialer-domain": ("services/dialer/pacing/scene.py", "import eventkit.eventstore"),
    "dialer-capabilities": (
        "services/dialer/leads/store.py",
        "import services.dialer.attempts.store",
    ),
    "dialer-layers": ("services/dialer/leads/codec.py", "import services.dialer.leads.store"),
}

# Without the editable installation, which would add this checkout's `services` to the folder's.
LINT_IMPORTS = """
import sys
from importlinter.cli import lint_imports_command
sys.meta_path[:] = [finder for finder in sys.meta_path if "editable" not in repr(finder).lower()]
sys.path[:] = [path for path in sys.path if "editable" not in path]
lint_imports_command()
"""


def lint_imports(folder: Path) -> str:
    path = os.pathsep.join((str(folder), str(folder / "proto")))
    done = subprocess.run(
        [sys.executable, "-c", LINT_IMPORTS, "--no-cache"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path, "COLUMNS": "200"},
        capture_output=True,
        text=True,
    )
    return done.stdout + done.stderr


def broken(output: str) -> set[str]:
    assert "Contracts:" in output, output
    return set(re.findall(r"^(.+) BROKEN", output, re.MULTILINE))


def contracts() -> dict[str, str]:
    """Of each rule its name."""
    config = configparser.ConfigParser()
    config.read(ROOT / ".importlinter")
    prefix = "importlinter:contract:"
    return {
        section.removeprefix(prefix): config[section]["name"]
        for section in config.sections()
        if section.startswith(prefix)
    }


def test_nobody_imports_what_they_may_not() -> None:
    output = lint_imports(ROOT)
    assert not broken(output), output


def test_every_rule_finds_its_violation(tmp_path: Path) -> None:
    assert set(PLANTED) == set(contracts())
    for folder in ("eventkit", "services", "relaisctl", "tests/contracts"):
        shutil.copytree(
            ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__")
        )
    shutil.copy(ROOT / ".importlinter", tmp_path)
    for name, line in PLANTED.values():
        path = tmp_path / name
        path.write_text(f"{path.read_text(encoding='utf-8')}\n{line}\n", encoding="utf-8")
    assert broken(lint_imports(tmp_path)) == set(contracts().values())
