"""The local stack's secrets: made at its first start, readable by their owner alone."""

import base64
import os
import tempfile
from pathlib import Path
from secrets import token_bytes

SECRETS = "secrets.env"
"""In the home folder: NAME=value lines."""


def ensure_secrets(home: Path) -> dict[str, str]:
    """RELAIS_MASTER_KEYS and RELAIS_TOKEN_SECRETS of this home folder, made if there are none.

    What the environment says goes before what the file says.
    """
    path = home / SECRETS
    if not path.exists():
        home.mkdir(parents=True, exist_ok=True)
        fresh = {"RELAIS_MASTER_KEYS": _key("m1"), "RELAIS_TOKEN_SECRETS": _key("t1")}
        # For its owner alone, under a name of its own also among the threads of one process.
        descriptor, partial = tempfile.mkstemp(prefix=f"{SECRETS}.", dir=home)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.writelines(f"{name}={value}\n" for name, value in fresh.items())
        try:
            os.link(partial, path)  # unlike rename, it leaves alone what another has just made
        except FileExistsError:
            pass
        finally:
            os.unlink(partial)
    lines = path.read_text(encoding="utf-8").splitlines()
    found = dict(line.split("=", 1) for line in lines if "=" in line)
    return found | {name: os.environ[name] for name in found if os.environ.get(name)}


def _key(name: str) -> str:
    return f"{name}:{base64.b64encode(token_bytes(32)).decode()}"
