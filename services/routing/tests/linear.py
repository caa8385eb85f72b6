"""The matching rule word for word, by looking at everybody: what the index is compared with."""

from collections.abc import Mapping

from services.routing.configuration import Groups, Queue, Skills
from services.routing.matching import Choice, Need, Numbers, Profile
from services.routing.policies import DEFAULT, POLICIES
from services.routing.queues import QueueState
from services.routing.shares import Shares

SECOND = 1_000_000


class LinearMatching:
    """The interface of `Matching`."""

    def __init__(
        self,
        policy: str = DEFAULT,
        queues: Mapping[str, QueueState] | None = None,
        shares: Shares | None = None,
        restricted: Groups = (),
    ) -> None:
        self.policy = POLICIES[policy]
        self.queues = {} if queues is None else queues
        self.shares = Shares() if shares is None else shares
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
        """Of all agents who may take it, the first by tier, idle time and id."""
        found = sorted(
            (self.tier(agent_id, need), -self.idle(agent_id, need, now), agent_id)
            for agent_id in self.agents
            if self.may(agent_id, need)
        )[:3]
        compared = []
        for tier, minus_idle, agent_id in found:
            last = minus_idle / SECOND
            if self.policy.by_pair:
                last += self.rank(need, queued_at, 0, now)[-1]
            compared.append(((*tier, last), agent_id))
        rules = [f"{rule} of {len(found)} looked at" for rule in self.policy.agent_rule]
        return explained(compared, len(found), rules, "the only one who can take it")

    def has_agent(self, need: Need) -> bool:
        return any(self.may(agent_id, need) for agent_id in self.agents)

    def call_for(self, agent_id: str, now: int) -> Choice | None:
        """Of all calls that the agent may take, the first of each line; then by rank."""
        lines: dict[Need, list[tuple[int, str]]] = {}
        for call, (need, queued_at) in self.calls.items():
            if agent_id in self.agents and self.may(agent_id, need):
                lines.setdefault(need, []).append((queued_at, call))
        compared = []
        for need, waiting in lines.items():
            queued_at, call = min(waiting)
            compared.append((self.rank(need, queued_at, self.idle(agent_id, need, now), now), call))
        rules = [f"{rule} of {len(lines)} lines" for rule in self.policy.call_rule]
        return explained(sorted(compared)[:3], len(lines), rules, "the first of the only line")

    def next_match(self, now: int) -> tuple[str, Choice] | None:
        """Of all calls that have an agent, the first of each line; then by rank."""
        found: dict[Need, tuple[int, str, Choice]] = {}
        for call, (need, queued_at) in self.calls.items():
            choice = self.agent_for(need, queued_at, now)
            if choice is not None and (need not in found or (queued_at, call) < found[need][:2]):
                found[need] = (queued_at, call, choice)
        if not found:
            return None
        _, first = min(
            (self.rank(need, queued_at, self.idle(choice.id, need, now), now), call)
            for need, (queued_at, call, choice) in found.items()
        )
        return first, found[self.calls[first][0]][2]

    def may(self, agent_id: str, need: Need) -> bool:
        profile, _ = self.agents[agent_id]
        levels = dict(profile.skills)
        if not profile.channels & (1 << need.channel):
            return False
        if any(levels.get(skill, 0) < level for skill, level in need.skills):
            return False
        if need.only_agent:
            if agent_id != need.only_agent:
                return False
        elif need.any_group:
            pass
        elif need.groups:
            if not set(need.groups) & set(profile.groups):
                return False
        elif set(profile.groups) & set(self.restricted):
            return False
        client = need.queue.split("/")[0]
        serves = self.shares.client_of(agent_id)
        return self.shares.may_take(profile.skills, profile.groups, client, serves)

    def tier(self, agent_id: str, need: Need) -> tuple[int, ...]:
        return self._tier(agent_id, need)[0]

    def idle(self, agent_id: str, need: Need, now: int) -> int:
        """Microseconds, less the handicap."""
        return now - self.agents[agent_id][1] - self._tier(agent_id, need)[1]

    def _tier(self, agent_id: str, need: Need) -> tuple[tuple[int, ...], int]:
        profile, _ = self.agents[agent_id]
        preferred = self.queue(need).config.preferred_skills
        lacking = sum(max(0, level - level_of(profile.skills, name)) for name, level in preferred)
        return self.policy.tier(profile.load, lacking, len(profile.skills))

    def rank(self, need: Need, queued_at: int, idle: int, now: int) -> Numbers:
        behind = self.shares.behind(need.queue.split("/")[0])
        waited, idle_seconds = (now - queued_at) / SECOND, idle / SECOND
        return self.policy.rank(self.queue(need), need.priority, behind, waited, idle_seconds)

    def queue(self, need: Need) -> QueueState:
        return self.queues.get(need.queue) or QueueState(need.queue, Queue(need.queue))


def explained(
    found: list[tuple[Numbers, str]], looked_at: int, rules: list[str], only: str
) -> Choice | None:
    """The first found, with the number in which the second is not its equal."""
    if not found:
        return None
    numbers, name = found[0]
    second = found[1][0] if len(found) > 1 else numbers
    differing = [place for place, number in enumerate(numbers) if number != second[place]]
    place = differing[0] if differing else len(numbers) - 1
    best = [(other, -each[place]) for each, other in found if each[:place] == numbers[:place]]
    return Choice(name, looked_at, tuple(best), rules[place] if len(found) > 1 else only)


def level_of(skills: Skills, name: str) -> int:
    return dict(skills).get(name, 0)
