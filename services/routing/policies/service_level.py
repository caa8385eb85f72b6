"""Policy `service-level`: who is about to miss the target, weighted by the contract's penalty.

After I. Gurvich, W. Whitt, "Service-level differentiation in many-server service systems via
queue-ratio routing", Operations Research 58(2), 2010: the queue is served that is worst off in
proportion to what was promised for it. Here, for the call that has waited longest in each line,

    urgency = penalty * (1 + GAIN * lack) * need
    need    = 1 / (SLACK + seconds left until the target)    while the target can be met
            = LATE * seconds waited / target seconds         when it has been missed
    lack    = how far the queue's running service level lies below its target share, at least 0

A target that can still be met goes before one that is lost anyway: a call that has just missed its
own needs as much as one with 1 / LATE - SLACK = 40 seconds left. That grows with its wait, without
end, and at five targets no call that is on time needs more; `lack` brings back a queue that has
lost too many. At STARVED targets a call goes before all others, whatever the penalties. Before all
this go priority and shares. Where the agents cannot meet all targets, penalties say whose are lost.

Of two agents the one with fewer calls in hand, then with fewer skills (who can do much is kept for
what few can), then with the least lacking of the preferred skills, then idle longest.
"""

from services.routing.queues import QueueState

GAIN = 10.0
SLACK = 10.0
LATE = 0.02
STARVED = 10


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
        "waited far beyond its target",
        "most urgent for its target",
    )
    by_pair = False

    def tier(self, load: int, shortfall: int, breadth: int) -> tuple[tuple[int, ...], int]:
        return (load, breadth, shortfall), 0

    def rank(
        self, queue: QueueState, priority: int, behind: bool, waited: float, idle: float
    ) -> tuple[float, ...]:
        config = queue.config
        target = config.target_seconds
        need = LATE * waited / target if waited > target else 1.0 / (SLACK + target - waited)
        urgency = config.penalty * need
        lack = config.target_share - queue.level.share
        if lack > 0.0:
            urgency *= 1.0 + GAIN * lack
        return -priority, -behind, -(waited > STARVED * target), -urgency
