"""Who is offered what, without looking at everybody.

The rule: the waiting call of the highest priority, then of the longest wait; for it the available
agent with every required skill at its level who has been idle longest. Ties go by id.

Calls that require the same wait in one *line*. An available agent stands in the row of agents of
every line that they can serve, and agents with equal skills share the list of these lines. So a
call looks at the front of one row, and an agent at one front per line they can serve. What has been
taken elsewhere stays in the rows and is skipped when it comes up; a row that is mostly such
leftovers is swept, so that memory follows the number of agents and calls.
"""

from collections import deque
from collections.abc import Iterable, Mapping
from heapq import heapify, heappop, heappush
from typing import Any

from services.routing.commands import Skills

# The row's order is the order of these tuples; the name of whom it is about stands second.
WaitingCall = tuple[tuple[int, int], str]
"""((minus priority, queued_at), call)"""
IdleAgent = tuple[int, str, Skills]
"""(idle since, agent id, skills)"""

LINES_KEPT = 1_024
PROFILES_KEPT = 16_384
SLACK = 64


class Row:
    """Entries in order, of which those count that `alive` still has under their name.

    Time goes on, so nearly every entry belongs at the end, where a deque takes it in no time; the
    few that come late are in a heap beside it.
    """

    __slots__ = ("_alive", "_late", "_limit", "_row")

    def __init__(self, alive: Mapping[str, Any], entries: Iterable[Any] = ()) -> None:
        self._alive = alive
        self._row = deque(sorted(entries))
        self._late: list[Any] = []
        self._limit = 2 * len(self._row) + SLACK

    def __len__(self) -> int:
        return len(self._row) + len(self._late)

    def add(self, entry: Any) -> None:
        row = self._row
        if row and entry < row[-1]:
            heappush(self._late, entry)
            if len(self._late) > self._limit:
                self._sweep()
        else:
            row.append(entry)
            if len(row) > self._limit:
                self._sweep()

    def first(self) -> Any:
        """The first that is alive, or None."""
        alive, row, late = self._alive, self._row, self._late
        while row and alive.get(row[0][1]) is not row[0]:
            row.popleft()
        if not late:
            return row[0] if row else None
        while late and alive.get(late[0][1]) is not late[0]:
            heappop(late)
        fronts = [entries[0] for entries in (row, late) if entries]
        return min(fronts) if fronts else None

    def _sweep(self) -> None:
        alive = self._alive
        self._row = deque(entry for entry in self._row if alive.get(entry[1]) is entry)
        self._late = [entry for entry in self._late if alive.get(entry[1]) is entry]
        heapify(self._late)
        self._limit = 2 * len(self) + SLACK


class Line:
    """Calls that require the same, and the available agents who can take them."""

    __slots__ = ("agents", "calls", "required")

    def __init__(self, required: Skills, calls: Row, agents: Row) -> None:
        self.required = required
        self.calls = calls
        self.agents = agents


class Matching:
    """The waiting calls and available agents of one pool, indexed for both questions."""

    def __init__(self) -> None:
        # An entry of a row is alive while it is the very tuple that stands here.
        self._calls: dict[str, WaitingCall] = {}
        self._agents: dict[str, IdleAgent] = {}
        self._lines: dict[Skills, Line] = {}
        self._lines_limit = LINES_KEPT
        self._lines_of: dict[Skills, list[Line]] = {}

    def add_call(self, call: str, required: Skills, priority: int, queued_at: int) -> None:
        entry = self._calls[call] = ((-priority, queued_at), call)
        self._line(required).calls.add(entry)

    def remove_call(self, call: str) -> None:
        del self._calls[call]

    def add_agent(self, agent_id: str, skills: Skills, idle_since: int) -> None:
        entry = self._agents[agent_id] = (idle_since, agent_id, skills)
        for line in self._lines_for(skills):
            line.agents.add(entry)

    def remove_agent(self, agent_id: str) -> None:
        del self._agents[agent_id]

    def agent_for(self, required: Skills) -> str | None:
        """The available agent who is to have a call with these requirements."""
        agent: IdleAgent | None = self._line(required).agents.first()
        return agent[1] if agent else None

    def call_for(self, skills: Skills) -> str | None:
        """The waiting call that an agent with these skills is to have."""
        if not self._calls:
            return None
        firsts = (line.calls.first() for line in self._lines_for(skills))
        call: WaitingCall | None = min((each for each in firsts if each), default=None)
        return call[1] if call else None

    def _line(self, required: Skills) -> Line:
        line = self._lines.get(required)
        if line is None:
            if len(self._lines) >= self._lines_limit:
                self._forget_idle_lines()
            able = (agent for agent in self._agents.values() if can(agent[2], required))
            line = Line(required, Row(self._calls), Row(self._agents, able))
            self._lines[required] = line
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
        busy = {required: line for required, line in self._lines.items() if line.calls.first()}
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
