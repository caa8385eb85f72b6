"""Time is an argument: pure code takes microseconds, only an edge asks a clock."""

import time
from typing import Protocol


class Clock(Protocol):
    """Says what time it is."""

    def now_us(self) -> int:
        """Microseconds since 1970-01-01T00:00:00Z."""
        ...


class SystemClock:
    """The operating system's wall clock."""

    def now_us(self) -> int:
        return time.time_ns() // 1000
