"""The matching rule word for word, by looking at everybody: what the index is compared with."""

from services.routing.commands import Skills


class LinearMatching:
    """The interface of `Matching`."""

    def __init__(self) -> None:
        self.calls: dict[str, tuple[Skills, int, int]] = {}
        self.agents: dict[str, tuple[dict[str, int], int]] = {}

    def add_call(self, call: str, required: Skills, priority: int, queued_at: int) -> None:
        self.calls[call] = (required, priority, queued_at)

    def remove_call(self, call: str) -> None:
        del self.calls[call]

    def add_agent(self, agent_id: str, skills: Skills, idle_since: int) -> None:
        self.agents[agent_id] = (dict(skills), idle_since)

    def remove_agent(self, agent_id: str) -> None:
        del self.agents[agent_id]

    def agent_for(self, required: Skills) -> str | None:
        best: tuple[int, str] | None = None
        for agent_id, (levels, idle_since) in self.agents.items():
            for skill, level in required:
                if levels.get(skill, 0) < level:
                    break
            else:
                if best is None or (idle_since, agent_id) < best:
                    best = (idle_since, agent_id)
        return best[1] if best else None

    def call_for(self, skills: Skills) -> str | None:
        levels = dict(skills)
        best: tuple[int, int, str] | None = None
        for call, (required, priority, queued_at) in self.calls.items():
            if all(levels.get(skill, 0) >= level for skill, level in required):
                rank = (-priority, queued_at, call)
                if best is None or rank < best:
                    best = rank
        return best[2] if best else None
