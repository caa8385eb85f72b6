"""A queue as a pool knows it: what is configured, and how it has been doing lately. Pure.

Lengths are microseconds. All of it follows from the log, so every holder has the same figures.
"""

from dataclasses import dataclass, field

from services.routing.configuration import Queue

KEEP = 0.98
"""How much of the recent past stays in a figure with each new call: about the last fifty count."""
BUSY_GAP = 600_000_000
"""A longer gap between two answers says that nobody was there, not how fast the queue moves."""


@dataclass(slots=True)
class Level:
    """The running service level: calls that reached an outcome, the older ones fading.

    offered, in_target: weights of the calls answered, abandoned or overflowed, and of those of them
    that were answered within the target.
    """

    offered: float = 0.0
    in_target: float = 0.0

    def count(self, in_target: bool) -> None:
        self.offered = self.offered * KEEP + 1.0
        self.in_target = self.in_target * KEEP + (1.0 if in_target else 0.0)

    @property
    def share(self) -> float:
        """1 while nothing is known."""
        return self.in_target / self.offered if self.offered else 1.0


@dataclass(slots=True)
class Pace:
    """How fast a queue moves: the mean gap between two calls that leave it for an agent.

    Only gaps during which somebody waited all the time say something about the agents; `began`
    is when the present stretch of waiting began, or the last call left (0: nobody waits).
    """

    gap: float = 0.0
    known: int = 0
    began: int = 0
    at_once: bool = False
    """The last call that came was offered to somebody at once."""

    def waits(self, at: int) -> None:
        """A call begins to wait."""
        self.at_once = False
        if not self.began:
            self.began = at

    def leaves(self, at: int, left: int) -> None:
        """A waiting call was given to an agent; `left` still wait."""
        if self.began and 0 <= at - self.began <= BUSY_GAP:
            gap = float(at - self.began)
            weight = max(1.0 - KEEP, 1.0 / (self.known + 1))
            self.gap += (gap - self.gap) * weight
            self.known = min(self.known + 1, 1_000)
        self.began = at if left else 0

    def empties(self, left: int) -> None:
        """A waiting call has gone for another reason."""
        if not left:
            self.began = 0

    def estimate(self, ahead: int) -> int | None:
        """How long a call will wait with so many before it. None: nothing is known yet."""
        if self.at_once and not ahead:
            return 0
        return round(self.gap * (ahead + 1)) if self.known else None


@dataclass(slots=True)
class QueueState:
    """key: `<client_id>/<queue_id>`. config_version 0: nobody has configured it.

    configured_at: when it was configured, or removed.
    """

    key: str
    config: Queue
    config_version: int = 0
    configured_at: int = -1
    removed: bool = False
    """Configured once, and no longer."""
    level: Level = field(default_factory=Level)
    pace: Pace = field(default_factory=Pace)
    waiting_by_priority: dict[int, int] = field(default_factory=dict)
    """Calls that are neither offered to anybody nor over. Not in snapshots, but counted again."""

    @property
    def waiting(self) -> int:
        return sum(self.waiting_by_priority.values())

    def before(self, priority: int) -> int:
        """How many wait that go before a new call of this priority."""
        return sum(count for other, count in self.waiting_by_priority.items() if other >= priority)

    def count(self, priority: int, change: int) -> None:
        """A call begins to wait (1), or no longer waits (-1)."""
        counts = self.waiting_by_priority
        counts[priority] = counts.get(priority, 0) + change
        if not counts[priority]:
            del counts[priority]

    @property
    def configured(self) -> bool:
        return self.config_version > 0 and not self.removed

    @property
    def client_id(self) -> str:
        return self.key.partition("/")[0]
