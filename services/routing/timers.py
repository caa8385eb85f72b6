"""When which timer is due: pool time on one side, this machine's clock on the other.

A timer runs from the moment that it is set here: what is left of it by the pool's time, divided by
the pool's speed. So a holder that takes over, or a pool whose reports come late, rings people no
shorter than the pool says.
"""

from dataclasses import dataclass
from heapq import heappop, heappush

from services.routing.commands import SECOND
from services.routing.engine import Timer, all_subjects, timer_of
from services.routing.pool import Pool

AGAIN_S = 5.0
"""A timer that is still wanted so long after its command was sent is sent again."""


@dataclass(frozen=True, slots=True)
class Due:
    """pool: as it was when the timer was set. at: seconds of the clock that the caller reads."""

    pool: Pool
    timer: Timer
    at: float


class Timers:
    """One for each agent and each call at most: the next thing that time brings them.

    `now` is seconds of any clock that never goes back.
    """

    def __init__(self) -> None:
        self._armed: dict[tuple[str, str], Due] = {}
        self._heap: list[tuple[float, str, str, Due]] = []

    def set(self, pool: Pool, subject: str, now: float) -> None:
        """Make the subject's timer what the pool says. One that runs already goes on."""
        key = (pool.pool_id, subject)
        timer, armed = timer_of(pool, subject), self._armed.get(key)
        if timer is None:
            self._armed.pop(key, None)
        elif armed is None or armed.timer != timer or armed.pool is not pool:
            wait = max(0, timer.due - pool.now) / SECOND / pool.settings.clock_speed
            self._arm(key, Due(pool, timer, now + wait))

    def set_all(self, pool: Pool, now: float) -> None:
        """For a pool whose queues were configured: those that it still says go on."""
        for subject in all_subjects(pool):
            self.set(pool, subject, now)

    def begin(self, pool: Pool, now: float) -> None:
        """For a pool that was restored, or has got another speed: all its timers begin anew."""
        self.drop(pool)
        self.set_all(pool, now)

    def drop(self, pool: Pool) -> None:
        """For a pool that somebody else holds now."""
        for key in [key for key in self._armed if key[0] == pool.pool_id]:
            del self._armed[key]

    def due(self, now: float) -> list[Due]:
        """Those whose time has come. They come again later if the pool does not change."""
        found = []
        while self._heap and self._heap[0][0] <= now:
            _, pool_id, subject, due = heappop(self._heap)
            key = (pool_id, subject)
            if self._armed.get(key) is due:
                found.append(due)
                self._arm(key, Due(due.pool, due.timer, now + AGAIN_S))
        return found

    def _arm(self, key: tuple[str, str], due: Due) -> None:
        self._armed[key] = due
        heappush(self._heap, (due.at, *key, due))
        if len(self._heap) > 2 * len(self._armed) + 64:
            self._heap = [entry for entry in self._heap if self._armed.get(entry[1:3]) is entry[3]]
            self._heap.sort(key=lambda entry: entry[:3])
