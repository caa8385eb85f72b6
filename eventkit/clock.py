"""Time is an argument: pure code takes microseconds, only an edge asks a clock."""

import time
from datetime import UTC, datetime, timedelta
from typing import Protocol

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Clock(Protocol):
    """Says what time it is."""

    def now_us(self) -> int:
        """Microseconds since 1970-01-01T00:00:00Z."""
        ...


class SystemClock:
    """The operating system's wall clock."""

    def now_us(self) -> int:
        return time.time_ns() // 1000


def rfc3339(us: int) -> str:
    """Microseconds since 1970 as people and programs read them: 2026-11-23T09:00:00.250000Z."""
    return (EPOCH + timedelta(microseconds=us)).isoformat().replace("+00:00", "Z")
