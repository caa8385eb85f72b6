"""Who is offered what, without looking at everybody.

The rule: the waiting call of the highest priority, then of the longest wait; for it the available
agent with every required skill at its level who has been idle longest. Ties go by id.

Calls that require the same wait in one *line*, a heap. An available agent stands in the agents'
heap of every line that they can serve, and agents with equal skills share the list of these lines.
So a call looks at the top of one heap, and an agent at one top per line they can serve. What has
been taken elsewhere stays in the heaps and is skipped when it comes up; a heap that is mostly such
leftovers is rebuilt, so that memory follows the number of agents and calls.
"""

from collections.abc import Iterable
from heapq import heapify, heappop, heappush

from services.routing.commands import Skills

# Both in the order in which they are to be taken: less is first.
WaitingCall = tuple[int, int, str]
"""(minus priority, queued_at, call)"""
IdleAgent = tuple[int, str, Skills]
"""(idle since, agent id, skills)"""

LINES_KEPT = 1_024
PROFILES_KEPT = 16_384
SLACK = 64


class Line:
    """Calls that require the same, and the available agents who can take them."""

    __slots__ = ("agents", "calls", "required")

    def __init__(self, required: Skills, agents: list[IdleAgent]) -> None:
        self.required = required
        self.calls: list[WaitingCall] = []
        self.agents = agents
        heapify(agents)


class Matching:
    """The waiting calls and available agents of one pool, indexed for both questions."""

    def __init__(self) -> None:
        # An entry of a heap is alive while it is the very tuple that stands here.
        self._calls: dict[str, WaitingCall] = {}
        self._agents: dict[str, IdleAgent] = {}
        self._lines: dict[Skills, Line] = {}
        self._lines_limit = LINES_KEPT
        self._lines_of: dict[Skills, list[Line]] = {}

    def add_call(self, call: str, required: Skills, priority: int, queued_at: int) -> None:
        entry = (-priority, queued_at, call)
        self._calls[call] = entry
        line = self._line(required)
        heappush(line.calls, entry)
        if len(line.calls) > 2 * len(self._calls) + SLACK:
            calls = self._calls
            line.calls = [entry for entry in line.calls if calls.get(entry[2]) is entry]
            heapify(line.calls)

    def remove_call(self, call: str) -> None:
        del self._calls[call]

    def add_agent(self, agent_id: str, skills: Skills, idle_since: int) -> None:
        entry = (idle_since, agent_id, skills)
        self._agents[agent_id] = entry
        limit = 2 * len(self._agents) + SLACK
        for line in self._lines_for(skills):
            heappush(line.agents, entry)
            if len(line.agents) > limit:
                agents = self._agents
                line.agents = [entry for entry in line.agents if agents.get(entry[1]) is entry]
                heapify(line.agents)

    def remove_agent(self, agent_id: str) -> None:
        del self._agents[agent_id]

    def agent_for(self, required: Skills) -> str | None:
        """The available agent who is to have a call with these requirements."""
        heap = self._line(required).agents
        agents = self._agents
        while heap:
            entry = heap[0]
            if agents.get(entry[1]) is entry:
                return entry[1]
            heappop(heap)
        return None

    def call_for(self, skills: Skills) -> str | None:
        """The waiting call that an agent with these skills is to have."""
        calls = self._calls
        if not calls:
            return None
        best: WaitingCall | None = None
        for line in self._lines_for(skills):
            heap = line.calls
            while heap:
                entry = heap[0]
                if calls.get(entry[2]) is entry:
                    if best is None or entry < best:
                        best = entry
                    break
                heappop(heap)
        return best[2] if best else None

    def _line(self, required: Skills) -> Line:
        line = self._lines.get(required)
        if line is None:
            if len(self._lines) >= self._lines_limit:
                self._forget_idle_lines()
            agents = [agent for agent in self._agents.values() if can(agent[2], required)]
            line = self._lines[required] = Line(required, agents)
            for skills, lines in self._lines_of.items():
                if can(skills, required):
                    lines.append(line)
        return line

    def _lines_for(self, skills: Skills) -> list[Line]:
        lines = self._lines_of.get(skills)
        if lines is None:
            if len(self._lines_of) >= PROFILES_KEPT:
                self._lines_of.clear()
            lines = [line for line in self._lines.values() if can(skills, line.required)]
            self._lines_of[skills] = lines
        return lines

    def _forget_idle_lines(self) -> None:
        """Requirements come from outside, so their number must not grow without end."""
        calls = self._calls
        busy = {
            required: line
            for required, line in self._lines.items()
            if any(calls.get(entry[2]) is entry for entry in line.calls)
        }
        self._lines = busy
        self._lines_limit = max(LINES_KEPT, 2 * len(busy))
        self._lines_of.clear()


def can(skills: Skills, required: Skills) -> bool:
    """Whether an agent with these skills may take a call that requires those."""
    if not required:
        return True
    levels = dict(skills)
    return all(levels.get(skill, 0) >= level for skill, level in required)


def sorted_skills(pairs: Iterable[tuple[str, int]]) -> Skills:
    """One order for equal skills, so that they are one key."""
    return tuple(sorted(pairs))
