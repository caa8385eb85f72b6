"""Who is offered what.

The rule: a call may go to an agent who has every required skill at its level, takes its channel and
is in one of its groups, and whom no other client's floor keeps back. Among such pairs the pool's
policy chooses. Ties go by id.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from services.routing.configuration import Groups, Queue, Skills
from services.routing.policies import DEFAULT, POLICIES
from services.routing.queues import QueueState
from services.routing.shares import Shares, has_skills, in_groups

SECOND = 1_000_000
SHOWN = 3
"""How many of the best are named."""

Numbers = tuple[float, ...]


class Profile(NamedTuple):
    """What an agent can take now. channels: a bit, 1 << Channel, for each; load: calls in hand."""

    skills: Skills
    groups: Groups
    channels: int
    load: int


class Need(NamedTuple):
    """What a call needs. Calls with equal needs wait in one line.

    queue        `<client_id>/<queue_id>`
    groups       who may serve it; empty: everybody outside the restricted groups
    any_group    everybody, the restricted groups too
    only_agent   this agent alone, whatever the groups; "": anyone
    """

    queue: str
    skills: Skills
    groups: Groups
    any_group: bool
    channel: int
    priority: int
    only_agent: str


@dataclass(frozen=True, slots=True)
class Choice:
    """id: the agent's, or the call's stream.

    looked_at   candidates that were compared: the best agents, or the fronts of the lines
    best        the first of these, best first: (id, the number that decided, greater is first)
    rule        one sentence: what decided
    """

    id: str
    looked_at: int
    best: tuple[tuple[str, float], ...]
    rule: str


class Matching:
    """The waiting calls and the agents of one pool who can take something."""

    def __init__(
        self,
        policy: str = DEFAULT,
        queues: Mapping[str, QueueState] | None = None,
        shares: Shares | None = None,
        restricted: Groups = (),
    ) -> None:
        self.policy = POLICIES[policy]
        self.queues = queues if queues is not None else {}
        self.shares = shares if shares is not None else Shares()
        self.restricted = restricted
        self.calls: dict[str, tuple[Need, int]] = {}
        self.agents: dict[str, tuple[Profile, int]] = {}

    def add_call(self, call: str, need: Need, queued_at: int) -> None:
        self.calls[call] = (need, queued_at)

    def remove_call(self, call: str) -> None:
        self.calls.pop(call, None)

    def add_agent(self, agent_id: str, profile: Profile, idle_since: int) -> None:
        self.agents[agent_id] = (profile, idle_since)

    def drop_agent(self, agent_id: str) -> None:
        self.agents.pop(agent_id, None)

    def agent_for(self, need: Need, queued_at: int, now: int) -> Choice | None:
        """The agent for a call that asks."""
        found = sorted(
            (*self._place(agent_id, need), agent_id)
            for agent_id in self.agents
            if self._may(agent_id, need)
        )[:SHOWN]
        if not found:
            return None
        compared = []
        for numbers, since, agent_id in found:
            idle = (now - since) / SECOND
            score = self._rank(need, queued_at, idle, now)[-1] if self.policy.by_pair else idle
            compared.append((agent_id, (*(-number for number in numbers), score)))
        return explained(compared, self.policy.agent_rule, len(compared))

    def call_for(self, agent_id: str, now: int) -> Choice | None:
        """The waiting call for an agent who is here."""
        if agent_id not in self.agents:
            return None
        fronts: dict[Need, tuple[int, str]] = {}
        for call, (need, queued_at) in self.calls.items():
            if self._may(agent_id, need):
                fronts[need] = min(fronts.get(need, (queued_at, call)), (queued_at, call))
        compared = []
        for need, (queued_at, call) in fronts.items():
            idle = (now - self._place(agent_id, need)[1]) / SECOND
            compared.append((call, self._rank(need, queued_at, idle, now)))
        return explained(
            sorted(compared, key=_greatest)[:SHOWN], self.policy.call_rule, len(compared)
        )

    def next_match(self, now: int) -> tuple[str, Choice] | None:
        """The first waiting call that somebody may take, and who."""
        found = []
        for call, (need, queued_at) in self.calls.items():
            choice = self.agent_for(need, queued_at, now)
            if choice is not None:
                idle = (now - self._place(choice.id, need)[1]) / SECOND
                rank = self._rank(need, queued_at, idle, now)
                found.append((tuple(-number for number in rank), call, choice))
        if not found:
            return None
        _, call, choice = min(found, key=lambda each: each[:2])
        return call, choice

    def _may(self, agent_id: str, need: Need) -> bool:
        profile = self.agents[agent_id][0]
        return can(agent_id, profile, need, self.restricted) and self.shares.may_take(
            profile.skills, profile.groups, client_of(need), self.shares.client_of(agent_id)
        )

    def _place(self, agent_id: str, need: Need) -> tuple[tuple[int, ...], int]:
        """The numbers of the agent's tier for the queue, and idle since when, handicap added."""
        profile, idle_since = self.agents[agent_id]
        preferred = self._queue(need).config.preferred_skills
        lacking = shortfall(dict(profile.skills), preferred)
        numbers, handicap = self.policy.tier(profile.load, lacking, len(profile.skills))
        return numbers, idle_since + handicap

    def _rank(self, need: Need, queued_at: int, idle: float, now: int) -> Numbers:
        behind = self.shares.behind(client_of(need))
        waited = (now - queued_at) / SECOND
        return self.policy.rank(self._queue(need), need.priority, behind, waited, idle)

    def _queue(self, need: Need) -> QueueState:
        return self.queues.get(need.queue) or QueueState(
            need.queue, Queue(need.queue.partition("/")[2])
        )


def can(agent_id: str, profile: Profile, need: Need, restricted: Groups = ()) -> bool:
    """Whether an agent may take a call, shares and floors aside."""
    if not profile.channels >> need.channel & 1:
        return False
    if not has_skills(dict(profile.skills), need.skills):
        return False
    if need.only_agent:
        return agent_id == need.only_agent
    return need.any_group or in_groups(profile.groups, need.groups, restricted)


def client_of(need: Need) -> str:
    return need.queue.partition("/")[0]


def shortfall(levels: Mapping[str, int], preferred: Skills) -> int:
    """How many levels of the preferred skills are lacking."""
    return sum(max(0, level - levels.get(skill, 0)) for skill, level in preferred)


def explained(
    found: list[tuple[str, Numbers]], rule: tuple[str, ...], looked_at: int
) -> Choice | None:
    """The first of the best, by the first number in which the second is not its equal."""
    if not found:
        return None
    first = found[0][1]
    place = len(first) - 1
    if len(found) > 1:
        second = found[1][1]
        place = next((n for n, each in enumerate(first) if each != second[n]), place)
    best = tuple(
        (name, float(numbers[place])) for name, numbers in found if numbers[:place] == first[:place]
    )
    why = f"{rule[place]} of {looked_at} looked at" if looked_at > 1 else "the only one"
    return Choice(found[0][0], looked_at, best, why)


def _greatest(each: tuple[str, Numbers]) -> tuple[Numbers, str]:
    return tuple(-number for number in each[1]), each[0]


def sorted_skills(pairs: Iterable[tuple[str, int]]) -> Skills:
    """One order for equal skills, so that they are one key."""
    return tuple(sorted(pairs))
