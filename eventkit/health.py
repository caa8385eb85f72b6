"""Liveness and readiness over HTTP: /health/live and /health/ready, and nothing else."""

import time
from collections.abc import Mapping
from typing import Protocol

from aiohttp import web


class Watched(Protocol):
    """A consumer, as health sees it."""

    def ready(self) -> bool:
        """True after the first assignment (and restore)."""
        ...

    def positions(self) -> Mapping[str, tuple[int, int]]:
        """Of each assigned partition, "topic:partition" -> (committed offset, log's end)."""
        ...


class Progress:
    """Tells partitions that stand still from those that have nothing to do.

    A partition is stuck when there is something to read, and its committed offset has been the
    same for `stuck_s` seconds of looking at it.
    """

    def __init__(self, stuck_s: float) -> None:
        self._stuck_s = stuck_s
        self._seen: dict[str, tuple[int, float]] = {}

    def stuck(self, positions: Mapping[str, tuple[int, int]], now_s: float) -> list[str]:
        """A reason for each stuck partition. now_s: of any clock that never goes back."""
        reasons = []
        seen = {}
        for where, (committed, end) in positions.items():
            before, since = self._seen.get(where, (None, now_s))
            if committed >= end or committed != before:
                since = now_s
            seen[where] = (committed, since)
            if now_s - since >= self._stuck_s:
                reasons.append(f"{where} stands at {committed} of {end} for {now_s - since:.0f} s")
        self._seen = seen
        return reasons


class HealthServer:
    """GET /health/live: 200 while commits progress wherever there is lag, else 503 with reasons.
    GET /health/ready: 200 once the consumer is ready, else 503.
    """

    def __init__(
        self, watched: Watched, host: str = "127.0.0.1", port: int = 0, stuck_s: float = 120.0
    ) -> None:
        self.port = port
        self._watched = watched
        self._host = host
        self._progress = Progress(stuck_s)
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Listen; `port` then is the real port. Raises OSError when the port is taken."""
        app = web.Application()
        app.router.add_get("/health/live", self._live)
        app.router.add_get("/health/ready", self._is_ready)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, self._host, self.port).start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _live(self, _: web.Request) -> web.Response:
        reasons = self._progress.stuck(self._watched.positions(), time.monotonic())
        return _answer(reasons)

    async def _is_ready(self, _: web.Request) -> web.Response:
        return _answer([] if self._watched.ready() else ["partitions are not assigned yet"])


def _answer(reasons: list[str]) -> web.Response:
    status = "unavailable" if reasons else "ok"
    return web.json_response({"status": status, "reasons": reasons}, status=503 if reasons else 200)
