"""Liveness and readiness over HTTP: /health/live and /health/ready, and nothing else."""

from collections.abc import Mapping
from typing import Protocol


class Watched(Protocol):
    """A consumer, as health sees it."""

    def ready(self) -> bool:
        """True after the first assignment (and restore)."""
        ...

    def positions(self) -> Mapping[str, tuple[int, int]]:
        """Of each assigned partition, "topic:partition" -> (committed offset, log's end)."""
        ...


class HealthServer:
    """GET /health/live: 200 while commits progress wherever there is lag, else 503 with reasons.
    GET /health/ready: 200 once the consumer is ready, else 503.
    """

    def __init__(
        self, watched: Watched, host: str = "127.0.0.1", port: int = 0, stuck_s: float = 120.0
    ) -> None:
        raise NotImplementedError

    async def start(self) -> None:
        """Listen; `port` then has the real port."""

    async def stop(self) -> None: ...
