"""Settings of services for commands: from the environment or, where it does not say, from the local
stack's secrets, databases and ports."""

import os
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_settings import BaseSettings

from eventkit.settings import PREFIX, load
from relaisctl.errors import InputError
from relaisctl.secrets import SECRETS, ensure_secrets
from relaisctl.stack.postgres import database_url
from relaisctl.stack.settings import KEYS, Environment
from relaisctl.stack.stack import Stack

S = TypeVar("S", bound=BaseSettings)


def local(settings: type[S]) -> S:
    """Read settings, the local stack's values standing in for what is not set.

    Raises InputError with a line for each that is wrong or missing; secrets are not made here.
    """
    values = {name: value for name, value in _stand_ins().items() if not os.environ.get(name)}
    given = {name.removeprefix(PREFIX).lower(): value for name, value in values.items()}
    known: dict[str, Any] = {name: given[name] for name in settings.model_fields if name in given}
    try:
        return settings(**known)
    except ValidationError as error:
        lines = [
            f"{PREFIX}{str(each['loc'][0]).upper()}: {each['msg'].removeprefix('Value error, ')}"
            for each in error.errors(include_input=False, include_context=False)
        ]
        if not (_home() / SECRETS).exists():
            lines.append(f"set it, or let `relaisctl up` make {_home() / SECRETS}")
        raise InputError("\n".join(lines)) from None


def service_url(service: str) -> str:
    """RELAIS_CRM, RELAIS_ORDERS, or where that service of the local stack listens."""
    port = getattr(load(Environment), f"{service}_http_port")
    return os.environ.get(f"{PREFIX}{service.upper()}") or f"http://127.0.0.1:{port}"


def _stand_ins() -> dict[str, str]:
    home = _home()
    secrets = ensure_secrets(home) if (home / SECRETS).exists() else {}
    postgres = Stack.of(load(Environment).stack_settings()).addresses["postgres"]
    return {"RELAIS_KEYS": database_url(postgres, KEYS)} | secrets


def _home() -> Path:
    return load(Environment).stack_settings().home
