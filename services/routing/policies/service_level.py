"""Policy `service-level`: who is about to miss the target, weighted by the contract's penalty.

I. Gurvich, W. Whitt, "Service-level differentiation in many-server service systems via
queue-ratio routing", Operations Research 58(2), 2010: serve the class whose queue is longest in
proportion to what it may be. Here the wait in proportion to the queue's target

    urgency = penalty * (1 + GAIN * lack) * seconds waited / target_seconds

where `lack` is how far the queue's running service level lies below its target share. Before that
go priority and shares. Since every wait's urgency grows without end, nobody starves.

Of two agents the one with fewer calls in hand, then fewer skills (who can do much is kept for what
few can), then fewer of the preferred ones lacking, then idle longest.
"""

from services.routing.queues import QueueState

GAIN = 4.0


class ServiceLevel:
    agent_rule: tuple[str, ...] = (
        "fewest calls in hand",
        "fewest skills",
        "best in the preferred skills",
        "longest idle",
    )
    call_rule: tuple[str, ...] = (
        "highest priority",
        "client behind its share",
        "most urgent for its target",
    )
    by_pair = False

    def tier(self, load: int, shortfall: int, breadth: int) -> tuple[tuple[int, ...], int]:
        return (load, breadth, shortfall), 0

    def rank(
        self, queue: QueueState, priority: int, behind: bool, waited: float, idle: float
    ) -> tuple[float, ...]:
        config = queue.config
        lack = max(0.0, config.target_share - queue.level.share)
        urgency = config.penalty * (1.0 + GAIN * lack) * waited / config.target_seconds
        return -priority, -behind, -urgency
