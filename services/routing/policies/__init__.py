"""How a pool chooses among calls and agents: a small file for each policy, and its name here.

Only + - * / and comparisons, so that the same log gives the same numbers on every machine.
"""

from collections.abc import Mapping
from typing import Protocol

from services.routing.policies.affine import Affine
from services.routing.policies.longest_idle import LongestIdle
from services.routing.policies.service_level import ServiceLevel
from services.routing.queues import QueueState


class Policy(Protocol):
    """What a policy says; who may serve whom, shares and floors are not its business.

    agent_rule   what each number of a tier is about, then the idle time
    call_rule    what each number of a rank is about
    """

    agent_rule: tuple[str, ...]
    call_rule: tuple[str, ...]
    by_pair: bool
    """A rank's last number is a weight, affine in the idle time; so is an agent's score then."""

    def tier(self, load: int, shortfall: int, breadth: int) -> tuple[tuple[int, ...], int]:
        """(numbers, handicap) of an agent for a queue. Agents go by the numbers, smaller first,

        then by their idle time less the handicap (microseconds), then by id.

        load: calls in hand; shortfall: levels of preferred skills that are lacking; breadth: how
        many skills the agent has.
        """

    def rank(
        self, queue: QueueState, priority: int, behind: bool, waited: float, idle: float
    ) -> tuple[float, ...]:
        """Of a waiting call and the agent who could take it: smaller goes first, then the id.

        behind: the client has less than its share of the agents. waited, idle: seconds, idle less
        the agent's handicap.
        """


DEFAULT = "longest-idle"
POLICIES: Mapping[str, Policy] = {
    DEFAULT: LongestIdle(),
    "affine": Affine(),
    "service-level": ServiceLevel(),
}
