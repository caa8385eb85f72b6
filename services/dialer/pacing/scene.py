"""What a policy sees of one campaign at one moment, and what it says. Pure.

Times are microseconds since 1970, shares are 0 to 1. A campaign's key is any text that is the same
in a scene: `<client>/<campaign>`. Nothing personal is here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from services.dialer.pacing.learned import Learned


class Doing(StrEnum):
    IDLE = "idle"
    OFFERED = "offered"
    """A call is on its way to the agent, or accepted and not connected yet."""
    TALKING = "talking"
    WRAP_UP = "wrap-up"


@dataclass(frozen=True, slots=True)
class Agent:
    """One who could serve the campaign, logged in and not on a break. Who will leave after the call
    in hand is not in a scene.

    since: when this began. campaign: whose call it is; empty: inbound. Who is offered a campaign's
    call is in a scene together with that call. free_at: when the wrap-up ends at the latest; 0:
    nobody knows.
    """

    doing: Doing
    since: int
    campaign: str = ""
    free_at: int = 0


@dataclass(frozen=True, slots=True)
class CallOut:
    """A call that was dialled and has neither an agent nor an end: it rings, is being answered, or
    its live answer waits. What turned out to be a machine, a fax or busy is not in a scene.

    answered_at: by a person, or by what counts as one; greeting_ended_at: an agent is wanted since.
    0: not yet.
    """

    campaign: str
    dialled_at: int
    answered_at: int = 0
    greeting_ended_at: int = 0


@dataclass(frozen=True, slots=True)
class Measure:
    """The legal measure of the campaign's period so far, the one that leaves least.

    live: calls that a live person answered; abandoned: those of them that found no agent in time.
    limit: the share that the law or the contract allows; target: what the campaign aims at, at most
    the limit. Without a period of its own (began_at 0) everything so far is one period.
    """

    live: int = 0
    abandoned: int = 0
    limit: float = 0.03
    target: float = 0.03
    began_at: int = 0
    ends_at: int = 0


@dataclass(frozen=True, slots=True)
class Carrier:
    """lines: how many more calls it takes now. dialled, errors: of the calls whose dialling the
    carrier has decided in the last half minute, how many there were, and how many it failed."""

    lines: int = 1_000_000
    dialled: int = 0
    errors: int = 0


@dataclass(frozen=True, slots=True)
class Scene:
    """campaign: the one to dial for; of `learned`, which is by campaign, it has to be a key.

    agents, calls: all who may serve it, and the calls of all campaigns that want the same agents,
    its own among them. Campaigns dial one after the other, by priority: what was decided for the
    first is in the next one's calls.
    waiting_before: inbound and more important calls that wait for these agents now; inbound_rate:
    how many such calls come a second.
    ratio: calls for each agent, of policy power.
    connect_seconds: within which an agent has to be there after the greeting.
    """

    now: int
    campaign: str
    agents: Sequence[Agent]
    calls: Sequence[CallOut]
    learned: Mapping[str, Learned]
    measure: Measure
    carrier: Carrier = Carrier()
    waiting_before: int = 0
    inbound_rate: float = 0.0
    ratio: float = 1.0
    connect_seconds: float = 2.0

    @property
    def free(self) -> int:
        """Agents who are idle, or meant for one of the scene's calls, which still wants one."""
        return sum(
            agent.doing is Doing.IDLE or (agent.doing is Doing.OFFERED and bool(agent.campaign))
            for agent in self.agents
        )


@dataclass(frozen=True, slots=True)
class Decision:
    """calls: how many to dial now; because: the figures it was decided with, in words."""

    calls: int
    because: str


class Policy(Protocol):
    def __call__(self, scene: Scene) -> Decision:
        """How many to dial for the scene's campaign now. Never raises; the same scene, the same
        decision."""
