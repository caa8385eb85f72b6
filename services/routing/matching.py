"""Who is offered what, without looking at everybody.

The rule: a call may go to an agent who has every required skill at its level, takes its channel and
is in one of its groups, and whom no other client's floor keeps back. Among such pairs the pool's
policy chooses. Ties go by id.

Calls with equal needs wait in one *line*, the first come first. Lines that ask the same of an agent
share a *side*: the agents who can serve them, in a row for each *tier* of agents who are equal but
for their idle time. Agents of one profile share the list of rows that they stand in. So a call
looks at the fronts of a few rows, and an agent at one front for each line that they can serve. What
has been taken elsewhere stays in the rows and is skipped when it comes up; a row that is mostly
such leftovers is swept, so that memory follows the number of agents and calls.
"""

from bisect import insort
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from operator import attrgetter, itemgetter
from typing import NamedTuple

from services.routing.configuration import Groups, Queue, Skills
from services.routing.policies import DEFAULT, POLICIES
from services.routing.queues import QueueState
from services.routing.shares import Clients, Shares, has_skills, in_groups

SECOND = 1_000_000
SHOWN = 3
"""How many of the best are named."""

LINES_KEPT = 4_096
SIDES_KEPT = 1_024
REACHES_KEPT = 16_384
SLACK = 64

Numbers = tuple[float, ...]
Entry = tuple[int, str]
"""A row's: (queued at, call) or (idle since, agent id)."""
Found = tuple[tuple[int, ...], int, str]
"""The numbers of an agent's tier, since when idle, the handicap added, and the agent."""
TierKey = tuple[tuple[int, ...], int, Clients]
SideKey = tuple[Skills, Groups, bool, int, Skills]


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


class Row:
    """Entries in order, of which those count that `alive` still has under their name.

    Time goes on, so nearly every entry belongs at the end, where a deque takes it in no time; the
    few that come late are in a heap beside it.
    """

    __slots__ = ("_alive", "_late", "_limit", "_row")

    def __init__(self, alive: Mapping[str, Entry]) -> None:
        self._alive = alive
        self._row: deque[Entry] = deque()
        self._late: list[Entry] = []
        self._limit = SLACK

    def __len__(self) -> int:
        return len(self._row) + len(self._late)

    def add(self, entry: Entry) -> None:
        row = self._row
        if row and entry < row[-1]:
            heappush(self._late, entry)
        else:
            row.append(entry)
        if len(row) + len(self._late) > self._limit:
            self._sweep()

    def first(self) -> Entry | None:
        """The first that is alive."""
        alive, row, late = self._alive, self._row, self._late
        while row and alive.get(row[0][1]) is not row[0]:
            row.popleft()
        while late and alive.get(late[0][1]) is not late[0]:
            heappop(late)
        if row and late:
            return min(row[0], late[0])
        return row[0] if row else late[0] if late else None

    def firsts(self, count: int) -> list[Entry]:
        """The first ones that are alive, in order."""
        alive, row, late = self._alive, self._row, self._late
        found: list[Entry] = []
        while row and len(found) < count:
            entry = row.popleft()
            if alive.get(entry[1]) is entry:
                found.append(entry)
        row.extendleft(reversed(found))
        if late:
            others: list[Entry] = []
            while late and len(others) < count:
                entry = heappop(late)
                if alive.get(entry[1]) is entry:
                    others.append(entry)
            for entry in others:
                heappush(late, entry)
            found = sorted(found + others)[:count]
        return found

    def _sweep(self) -> None:
        alive = self._alive
        self._row = deque(entry for entry in self._row if alive.get(entry[1]) is entry)
        self._late = [entry for entry in self._late if alive.get(entry[1]) is entry]
        heapify(self._late)
        self._limit = 2 * len(self) + SLACK


class Tier(Row):
    """Agents of one side whom the policy tells apart by their idle time alone.

    claims: the clients with a floor to which these agents are left.
    """

    __slots__ = ("claims", "handicap", "listed", "numbers")

    def __init__(self, alive: Mapping[str, Entry], key: TierKey) -> None:
        super().__init__(alive)
        self.numbers, self.handicap, self.claims = key
        self.listed = False
        """Among the open tiers of its side."""


class Side:
    """The agents whom lines that ask the same of them can have. need: of any such line."""

    __slots__ = ("need", "open", "preferred", "tiers", "waiting")

    def __init__(self, need: Need, preferred: Skills) -> None:
        self.need = need
        self.preferred = preferred
        self.tiers: dict[TierKey, Tier] = {}
        self.open: list[Tier] = []
        """The tiers in which somebody may be, best first."""
        self.waiting: dict[Need, Line] = {}
        """The lines in which calls wait."""

    def tier(self, alive: Mapping[str, Entry], key: TierKey) -> Tier:
        tier = self.tiers.get(key)
        if tier is None:
            tier = self.tiers[key] = Tier(alive, key)
        return tier

    def add(self, tier: Tier, entry: Entry) -> None:
        tier.add(entry)
        if not tier.listed:
            tier.listed = True
            insort(self.open, tier, key=_tier_key)

    def close(self) -> None:
        """Leave out the tiers in which nobody is."""
        for tier in self.open:
            tier.listed = tier.first() is not None
        self.open = [tier for tier in self.open if tier.listed]


class Line:
    """Calls with equal needs. side: None where they wait for one agent alone."""

    __slots__ = ("calls", "client", "front", "need", "queue", "side")

    def __init__(self, need: Need, calls: Row) -> None:
        self.need = need
        self.calls = calls
        self.side: Side | None = None
        self.client = client_of(need)
        self.front: Entry | None = None
        self.queue: QueueState | None = None
        """As soon as the pool has it."""


class Reach:
    """What agents of one profile and with equal claims can serve: the sides, their tier in each."""

    __slots__ = ("claims", "levels", "places", "profile")

    def __init__(self, profile: Profile, claims: Clients) -> None:
        self.profile = profile
        self.levels = dict(profile.skills)
        self.claims = claims
        self.places: list[tuple[Side, Tier]] = []


class Matching:
    """The waiting calls of one pool, and the agents who can take something.

    The configuration of queues and clients must not change in its lifetime.
    """

    def __init__(
        self,
        policy: str = DEFAULT,
        queues: Mapping[str, QueueState] | None = None,
        shares: Shares | None = None,
        restricted: Groups = (),
    ) -> None:
        self._policy = POLICIES[policy]
        self._queues = {} if queues is None else queues
        self._shares = Shares() if shares is None else shares
        self._restricted = restricted
        # An entry of a row is alive while it is the very tuple that stands here.
        self._calls: dict[str, Entry] = {}
        self._agents: dict[str, Entry] = {}
        self._line_of: dict[str, Line] = {}
        self._reach_of: dict[str, Reach] = {}
        self._lines: dict[Need, Line] = {}
        self._sides: dict[SideKey, Side] = {}
        self._reaches: dict[tuple[Profile, Clients], Reach] = {}
        self._waiting: dict[Need, Line] = {}
        """The lines in which calls wait."""
        self._only: dict[str, dict[Need, Line]] = {}
        """Of these the ones for an agent alone, by the agent."""
        self._lines_limit = LINES_KEPT
        self._sides_limit = SIDES_KEPT
        self._reaches_limit = REACHES_KEPT

    def add_call(self, call: str, need: Need, queued_at: int) -> None:
        self.remove_call(call)
        line = self._line(need)
        entry = self._calls[call] = (queued_at, call)
        self._line_of[call] = line
        line.calls.add(entry)
        if line.front is None:
            self._waiting[need] = line
            if line.side is None:
                self._only.setdefault(need.only_agent, {})[need] = line
            else:
                line.side.waiting[need] = line
        if line.front is None or entry < line.front:
            line.front = entry

    def remove_call(self, call: str) -> None:
        """Nothing, if it is not here."""
        entry = self._calls.pop(call, None)
        if entry is None:
            return
        line = self._line_of.pop(call)
        if line.front is not entry:
            return
        line.front = line.calls.first()
        if line.front is not None:
            return
        need = line.need
        del self._waiting[need]
        if line.side is not None:
            del line.side.waiting[need]
            return
        lines = self._only[need.only_agent]
        del lines[need]
        if not lines:
            del self._only[need.only_agent]

    def add_agent(self, agent_id: str, profile: Profile, idle_since: int) -> None:
        """In place of what the agent was here with. `Shares` knows by then whose call they have."""
        shares = self._shares
        claims: Clients = ()
        if shares.guarded:
            claims = shares.claims(profile.skills, profile.groups, shares.client_of(agent_id))
        reach = self._reach(profile, claims)
        if self._reach_of.get(agent_id) is reach and self._agents[agent_id][0] == idle_since:
            return
        entry = self._agents[agent_id] = (idle_since, agent_id)
        self._reach_of[agent_id] = reach
        for side, tier in reach.places:
            side.add(tier, entry)

    def drop_agent(self, agent_id: str) -> None:
        """Nothing, if they are not here."""
        if self._agents.pop(agent_id, None) is not None:
            del self._reach_of[agent_id]

    def agent_for(self, need: Need, queued_at: int, now: int) -> Choice | None:
        """The agent for a call that asks, and is not here itself."""
        line = self._line(need)
        found = self._agents_for(line, SHOWN)
        return self._chosen(line, queued_at, found, now) if found else None

    def call_for(self, agent_id: str, now: int) -> Choice | None:
        """The waiting call for an agent who is here."""
        reach = self._reach_of.get(agent_id)
        if reach is None:
            return None
        claims, shares = reach.claims, self._shares
        idle = now - self._agents[agent_id][0]
        compared: list[tuple[str, Numbers]] = []
        for side, tier in reach.places:
            for line in side.waiting.values():
                if not claims or shares.allow(claims, line.client):
                    compared.append(self._front(line, idle - tier.handicap, now))
        for line in self._only.get(agent_id, {}).values():
            for _, since, _ in self._only_agent(line):
                compared.append(self._front(line, now - since, now))
        if not compared:
            return None
        compared.sort()
        compared.sort(key=_numbers, reverse=True)
        first = compared[0][1]
        place = len(first) - 1
        rule = "the first of the only line"
        if len(compared) > 1:
            place = min(_place(first, compared[1][1]), place)
            rule = f"{self._policy.call_rule[place]} of the first in {len(compared)} lines"
        best = tuple(
            (call, float(numbers[place]))
            for call, numbers in compared[:SHOWN]
            if numbers[:place] == first[:place]
        )
        return Choice(compared[0][0], len(compared), best, rule)

    def next_match(self, now: int) -> tuple[str, Choice] | None:
        """The first waiting call that somebody may take, and who."""
        best: tuple[str, Numbers] | None = None
        for line in self._waiting.values():
            for _, since, _ in self._agents_for(line, 1):
                each = self._front(line, now - since, now)
                if best is None or each[1] > best[1] or (each[1] == best[1] and each[0] < best[0]):
                    best = each
        if best is None:
            return None
        line = self._line_of[best[0]]
        found = self._agents_for(line, SHOWN)
        return best[0], self._chosen(line, self._calls[best[0]][0], found, now)

    def _agents_for(self, line: Line, count: int) -> list[Found]:
        """The first agents who may take a call of the line, in order."""
        side, client, shares = line.side, line.client, self._shares
        if side is None:
            return self._only_agent(line)
        found: list[Found] = []
        tiers = 0
        empty = False
        for tier in side.open:
            numbers, handicap = tier.numbers, tier.handicap
            if len(found) >= count and numbers != found[-1][0]:
                break
            if tier.claims and not shares.allow(tier.claims, client):
                continue
            entries = tier.firsts(count)
            if entries:
                tiers += 1
                found += [(numbers, since + handicap, agent_id) for since, agent_id in entries]
            else:
                empty = True
        if empty:
            side.close()
        if tiers > 1:
            found.sort()
            del found[count:]
        return found

    def _only_agent(self, line: Line) -> list[Found]:
        """The agent whom the line waits for, if they may take a call of it."""
        need = line.need
        reach = self._reach_of.get(need.only_agent)
        if (
            reach is None
            or not can(need.only_agent, reach.profile, need, levels=reach.levels)
            or not self._shares.allow(reach.claims, line.client)
        ):
            return []
        numbers, handicap = self._tier(reach, self._queue(line).config.preferred_skills)
        return [(numbers, self._agents[need.only_agent][0] + handicap, need.only_agent)]

    def _chosen(self, line: Line, queued_at: int, found: list[Found], now: int) -> Choice:
        """The first agent found, with the number in which the second is not their equal."""
        numbers, _, agent_id = found[0]
        place = len(numbers)
        rule = "the only one who can take it"
        if len(found) > 1:
            place = _place(numbers, found[1][0])
            rule = f"{self._policy.agent_rule[place]} of {len(found)} looked at"
        if place < len(numbers):
            best = [
                (name, float(-others[place]))
                for others, _, name in found
                if others[:place] == numbers[:place]
            ]
        else:
            best = [
                (name, self._score(line, queued_at, now - since, now))
                for others, since, name in found
                if others == numbers
            ]
        return Choice(agent_id, len(found), tuple(best), rule)

    def _score(self, line: Line, queued_at: int, idle: int, now: int) -> float:
        if self._policy.by_pair:
            return self._rank(line, queued_at, idle, now)[-1]
        return idle / SECOND

    def _front(self, line: Line, idle: int, now: int) -> tuple[str, Numbers]:
        """The first call of a line in which calls wait, and its rank."""
        assert line.front is not None
        queued_at, call = line.front
        return call, self._rank(line, queued_at, idle, now)

    def _rank(self, line: Line, queued_at: int, idle: int, now: int) -> Numbers:
        shares = self._shares
        return self._policy.rank(
            line.queue or self._queue(line),
            line.need.priority,
            shares.shared and shares.behind(line.client),
            (now - queued_at) / SECOND,
            idle / SECOND,
        )

    def _queue(self, line: Line) -> QueueState:
        if line.queue is None:
            key = line.need.queue
            line.queue = self._queues.get(key)
            return line.queue or QueueState(key, Queue(key.partition("/")[2]))
        return line.queue

    def _tier(self, reach: Reach, preferred: Skills) -> tuple[tuple[int, ...], int]:
        levels = reach.levels
        lacking = sum(max(0, level - levels.get(skill, 0)) for skill, level in preferred)
        return self._policy.tier(reach.profile.load, lacking, len(levels))

    def _line(self, need: Need) -> Line:
        line = self._lines.get(need)
        if line is None:
            if len(self._lines) >= self._lines_limit:
                self._lines = dict(self._waiting)
                self._lines_limit = max(LINES_KEPT, 2 * len(self._lines))
            line = Line(need, Row(self._calls))
            if not need.only_agent:
                line.side = self._side(need, self._queue(line).config.preferred_skills)
            self._lines[need] = line
        return line

    def _side(self, need: Need, preferred: Skills) -> Side:
        key = (need.skills, need.groups, need.any_group, need.channel, preferred)
        side = self._sides.get(key)
        if side is None:
            if len(self._sides) >= self._sides_limit:
                self._start_over()
            side = self._sides[key] = Side(need, preferred)
            tiers = {}
            for reach in self._reaches.values():
                if self._joins(reach, side):
                    tiers[reach] = reach.places[-1][1]
            for entry in sorted(self._agents.values()):
                tier = tiers.get(self._reach_of[entry[1]])
                if tier is not None:
                    side.add(tier, entry)
        return side

    def _reach(self, profile: Profile, claims: Clients) -> Reach:
        reach = self._reaches.get((profile, claims))
        if reach is None:
            if len(self._reaches) >= self._reaches_limit:
                self._start_over()
            reach = self._reaches[profile, claims] = Reach(profile, claims)
            for side in self._sides.values():
                self._joins(reach, side)
        return reach

    def _joins(self, reach: Reach, side: Side) -> bool:
        """Whether these agents can serve this side; then it is one of their places."""
        if not can("", reach.profile, side.need, self._restricted, reach.levels):
            return False
        numbers, handicap = self._tier(reach, side.preferred)
        tier = side.tier(self._agents, (numbers, handicap, reach.claims))
        reach.places.append((side, tier))
        return True

    def _start_over(self) -> None:
        """Needs and profiles come from outside, so their number must not grow without end."""
        self._lines = dict(self._waiting)
        self._sides = {key: side for key, side in self._sides.items() if side.waiting}
        self._sides_limit = max(SIDES_KEPT, 2 * len(self._sides))
        self._reaches_limit = max(REACHES_KEPT, 2 * len(self._agents))
        self._reaches.clear()
        for side in self._sides.values():
            side.tiers.clear()
            side.open.clear()
        for entry in sorted(self._agents.values()):
            before = self._reach_of[entry[1]]
            reach = self._reach_of[entry[1]] = self._reach(before.profile, before.claims)
            for side, tier in reach.places:
                side.add(tier, entry)


def can(
    agent_id: str,
    profile: Profile,
    need: Need,
    restricted: Groups = (),
    levels: Mapping[str, int] | None = None,
) -> bool:
    """Whether an agent may take a call, shares and floors aside. levels: of the profile's skills,

    where the caller has them.
    """
    if not profile.channels >> need.channel & 1:
        return False
    if not has_skills(dict(profile.skills) if levels is None else levels, need.skills):
        return False
    if need.only_agent:
        return agent_id == need.only_agent
    return need.any_group or in_groups(profile.groups, need.groups, restricted)


def client_of(need: Need) -> str:
    return need.queue.partition("/")[0]


def sorted_skills(pairs: Iterable[tuple[str, int]]) -> Skills:
    """One order for equal skills, so that they are one key."""
    return tuple(sorted(pairs))


def _place(first: Sequence[float], second: Sequence[float]) -> int:
    """Where they differ first; their length if nowhere."""
    for place, number in enumerate(first):
        if number != second[place]:
            return place
    return len(first)


_numbers = itemgetter(1)
_tier_key = attrgetter("numbers", "handicap", "claims")
