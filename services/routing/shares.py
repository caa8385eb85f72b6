"""What clients that share agents are guaranteed: a share of them, and a floor under their number.

Counted from who works and whose calls they have; built again for a new configuration. Pure.
"""

from collections import Counter
from collections.abc import Mapping

from services.routing.configuration import ClientRules, Groups, Queue, Skills
from services.routing.queues import QueueState

Clients = tuple[str, ...]
"""Sorted."""

KEPT = 16_384


class Shares:
    """How many agents work, serve each client, and are left to each client with a floor."""

    def __init__(
        self,
        clients: Mapping[str, ClientRules] | None = None,
        queues: Mapping[str, QueueState] | None = None,
        restricted: Groups = (),
    ) -> None:
        rules = clients or {}
        self._share = {client: each.share for client, each in rules.items() if each.share > 0}
        self._floor = {client: each.floor for client, each in rules.items() if each.floor > 0}
        self._queues: dict[str, list[Queue]] = {client: [] for client in sorted(self._floor)}
        for state in (queues or {}).values():
            if state.configured and state.client_id in self._floor:
                self._queues[state.client_id].append(state.config)
        self._restricted = restricted
        self.shared = bool(self._share)
        """Whether any client has a share."""
        self.guarded = bool(self._floor)
        """Whether any client has a floor."""
        self._agents: dict[str, tuple[str, Clients]] = {}
        self._serving: Counter[str] = Counter()
        self._left: Counter[str] = Counter()
        self._able: dict[tuple[Skills, Groups], Clients] = {}

    def put(self, agent_id: str, skills: Skills | None, groups: Groups, client: str) -> None:
        """An agent as they are now. skills None: not working; client: whose call they have."""
        if not (self.shared or self.guarded):
            return
        before = self._agents.get(agent_id)
        now = None if skills is None else (client, self.claims(skills, groups, client))
        if now == before:
            return
        if before is not None:
            del self._agents[agent_id]
            self._count(*before, -1)
        if now is not None:
            self._agents[agent_id] = now
            self._count(*now, 1)

    def _count(self, client: str, claims: Clients, by: int) -> None:
        if client:
            self._serving[client] += by
        for each in claims:
            self._left[each] += by

    def behind(self, client: str) -> bool:
        """Whether the client has a share, and fewer of the working agents than that serve it."""
        share = self._share.get(client)
        return share is not None and self._serving[client] < share * len(self._agents)

    def client_of(self, agent_id: str) -> str:
        """Whose call the agent has; "" none."""
        agent = self._agents.get(agent_id)
        return agent[0] if agent else ""

    def claims(self, skills: Skills, groups: Groups, client: str = "") -> Clients:
        """The clients with a floor to which such an agent is left, while `client` has the agent.

        Those that the agent could serve; only `client`, if that is one of them, and not "".
        """
        if not self.guarded:
            return ()
        able = self._able.get((skills, groups))
        if able is None:
            if len(self._able) >= KEPT:
                self._able.clear()
            able = self._able[skills, groups] = tuple(
                each
                for each, queues in self._queues.items()
                if any(
                    has_skills(dict(skills), queue.required_skills)
                    and in_groups(groups, queue.groups, self._restricted)
                    for queue in queues
                )
            )
        if not client:
            return able
        return (client,) if client in able else ()

    def allow(self, claims: Clients, client: str) -> bool:
        """Whether the others with a claim to an agent can do without, if `client` is given it."""
        return all(each == client or self._left[each] > self._floor[each] for each in claims)

    def may_take(self, skills: Skills, groups: Groups, client: str, serves: str = "") -> bool:
        """Whether such an agent, who has a call of `serves`, may be given one of `client`."""
        return self.allow(self.claims(skills, groups, serves), client)


def has_skills(levels: Mapping[str, int], required: Skills) -> bool:
    return all(levels.get(skill, 0) >= level for skill, level in required)


def in_groups(groups: Groups, wanted: Groups, restricted: Groups) -> bool:
    """Whether who is in `groups` serves what wants these: nobody named is everybody, except
    for those in a restricted group."""
    if wanted:
        return any(group in wanted for group in groups)
    return not (restricted and any(group in restricted for group in groups))
