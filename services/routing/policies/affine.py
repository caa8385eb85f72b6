"""Policy `affine`: the pair of a call and an agent with the greatest weight.

W. Chan, G. Koole, P. L'Ecuyer, "Dynamic call center routing policies using call waiting and agent
idle times", Manufacturing & Service Operations Management 16(4), 2014: the weight of a pair is
affine in how long the call has waited and the agent has been idle. Here

    weight = base_weight + wait_weight * seconds waited          both of the call's queue
           + PRIORITY * the call's priority
           + seconds idle - IN_HAND * calls in hand - LACKING * levels of preferred skills lacking

so a queue that is to be served a minute before others has a base weight of 60, and one whose calls
age twice as fast a wait weight of 2. A priority is a head start here, and nothing more. Among the
calls that wait for an agent, those of a client behind its share go first.
"""

from services.routing.queues import QueueState

PRIORITY = 300.0
IN_HAND = 600_000_000
LACKING = 60_000_000
"""The agent's in microseconds of idle time."""


class Affine:
    agent_rule: tuple[str, ...] = ("greatest weight",)
    call_rule: tuple[str, ...] = ("client behind its share", "greatest weight")
    by_pair = True

    def tier(self, load: int, shortfall: int, breadth: int) -> tuple[tuple[int, ...], int]:
        return (), IN_HAND * load + LACKING * shortfall

    def rank(
        self, queue: QueueState, priority: int, behind: bool, waited: float, idle: float
    ) -> tuple[float, ...]:
        config = queue.config
        weight = config.base_weight + config.wait_weight * waited + PRIORITY * priority + idle
        return -behind, -weight
