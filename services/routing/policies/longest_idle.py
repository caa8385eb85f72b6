"""Policy `longest-idle`: what most telephone systems do, and what everybody expects.

The call of the highest priority, then of the longest wait. The agent with the fewest calls in hand,
then with the least lacking of the queue's preferred skills, then idle longest.
"""

from services.routing.queues import QueueState


class LongestIdle:
    agent_rule: tuple[str, ...] = (
        "fewest calls in hand",
        "best in the preferred skills",
        "longest idle",
    )
    call_rule: tuple[str, ...] = ("highest priority", "client behind its share", "longest wait")
    by_pair = False

    def tier(self, load: int, shortfall: int, breadth: int) -> tuple[tuple[int, ...], int]:
        return (load, shortfall), 0

    def rank(
        self, queue: QueueState, priority: int, behind: bool, waited: float, idle: float
    ) -> tuple[float, ...]:
        return -priority, -behind, -waited
