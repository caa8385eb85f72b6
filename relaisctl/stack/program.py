"""What the stack needs to know about a thing that it runs."""

import signal
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

Say = Callable[[str, str], None]  # name, one line for people


def knock(host: str, port: int, timeout_s: float = 5.0) -> None:
    """Raise OSError if nobody listens. The clients log a traceback for each refusal."""
    socket.create_connection((host, port), timeout_s).close()


class Kind(StrEnum):
    ENGINE = "engine"
    SERVICE = "service"


@dataclass(frozen=True)
class Launch:
    """A command that is ready to run: whatever had to be prepared for it has been.

    env         added to the environment of relaisctl
    detail      for people, e.g. the version
    variant     which of several programs this is ("kafka" or "tansu"), where there is a choice
    """

    command: Sequence[str]
    detail: str
    variant: str = ""
    env: Mapping[str, str] = field(default_factory=dict)
    user: str | None = None


@dataclass(frozen=True)
class Program:
    """One engine or service.

    address     what clients are given
    ports       the ports it listens on, by the name of the setting that moves each
    launch      prepares and returns the command; may take long, tells what it does
    check       makes a real request to an address; raises anything when there is no good answer
    external    the address comes from the environment: never started or stopped, only checked
    """

    name: str
    kind: Kind
    address: str
    ports: Mapping[str, int]
    launch: Callable[[Say], Launch]
    check: Callable[[str], None]
    external: bool = False
    stop_signal: int = signal.SIGTERM
    start_timeout_s: float = 60.0
    grace_s: float = 20.0
