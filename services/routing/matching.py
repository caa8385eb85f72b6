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
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from heapq import heapify, heappop, heappush
from itertools import islice
from operator import attrgetter
from typing import NamedTuple

from services.routing.configuration import Groups, Queue, Skills
from services.routing.policies import DEFAULT, POLICIES
from services.routing.queues import QueueState
from services.routing.shares import Clients, Shares, has_skills, in_groups

SECOND = 1_000_000
SHOWN = 3
"""How many of the best are named."""
ONLY_AGENT = "the only one who can take it"
ONLY_LINE = "the first of the only line"

LINES_KEPT = 4_096
SIDES_KEPT = 1_024
REACHES_KEPT = 65_536
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


class Choice(NamedTuple):
    """id: the agent's, or the call's stream.

    looked_at   candidates that were compared: the best agents, or the first calls of lines
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
            if len(self._late) > self._limit:
                self._sweep()
        else:
            row.append(entry)
            if len(row) > self._limit:
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
        while row and alive.get(row[0][1]) is not row[0]:
            row.popleft()
        found = list(islice(row, count))
        for entry in found:
            if alive.get(entry[1]) is not entry:
                found = self._take(row.popleft, count)
                row.extendleft(reversed(found))
                break
        if late:
            others = self._take(lambda: heappop(late), count)
            for entry in others:
                heappush(late, entry)
            found = sorted(found + others)[:count]
        return found

    def _take(self, take: Callable[[], Entry], count: int) -> list[Entry]:
        """The first ones that are alive; what is not alive is gone then."""
        alive = self._alive
        found: list[Entry] = []
        with suppress(IndexError):
            while len(found) < count:
                entry = take()
                if alive.get(entry[1]) is entry:
                    found.append(entry)
        return found

    def _sweep(self) -> None:
        alive = self._alive
        self._row = deque(entry for entry in self._row if alive.get(entry[1]) is entry)
        self._late = [entry for entry in self._late if alive.get(entry[1]) is entry]
        heapify(self._late)
        self._limit = 2 * len(self) + SLACK


class Side:
    """The agents whom lines that ask the same of them can have. need: of any such line."""

    __slots__ = ("_tiers", "need", "open", "preferred", "waiting")

    def __init__(self, need: Need, preferred: Skills) -> None:
        self.need = need
        self.preferred = preferred
        self.waiting: dict[Need, Line] = {}
        """The lines in which calls wait."""
        self.open: list[Tier] = []
        """The tiers in which somebody may be, best first."""
        self._tiers: dict[TierKey, Tier] = {}

    def tier(self, alive: Mapping[str, Entry], key: TierKey) -> "Tier":
        tier = self._tiers.get(key)
        if tier is None:
            tier = self._tiers[key] = Tier(alive, self, key)
        return tier

    def close(self) -> None:
        """Leave out the tiers in which nobody is."""
        for tier in self.open:
            tier.listed = tier.first() is not None
        self.open = [tier for tier in self.open if tier.listed]

    def clear(self) -> None:
        self._tiers.clear()
        self.open.clear()


class Tier(Row):
    """Agents of one side whom the policy tells apart by their idle time alone.

    claims: the clients with a floor to which these agents are left.
    """

    __slots__ = ("claims", "handicap", "listed", "numbers", "side")

    def __init__(self, alive: Mapping[str, Entry], side: Side, key: TierKey) -> None:
        super().__init__(alive)
        self.side = side
        self.numbers, self.handicap, self.claims = key
        self.listed = False
        """Among the open tiers of its side."""

    def open(self) -> None:
        self.listed = True
        insort(self.side.open, self, key=attrgetter("numbers", "handicap", "claims"))


class Line:
    """Calls with equal needs. side: None where they wait for one agent alone."""

    __slots__ = ("calls", "client", "front", "need", "priority", "queue", "side")

    def __init__(self, need: Need, side: Side | None, calls: Row) -> None:
        self.need = need
        self.priority = need.priority
        self.client = client_of(need)
        self.side = side
        self.calls = calls
        self.front: Entry | None = None
        self.queue: QueueState | None = None
        """As soon as the pool has it."""


class Reach:
    """What agents of one profile and with equal claims can serve: their tier in each such side."""

    __slots__ = ("claims", "profile", "tiers")

    def __init__(self, profile: Profile, claims: Clients) -> None:
        self.profile = profile
        self.claims = claims
        self.tiers: list[Tier] = []


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
        self._policy_rank = self._policy.rank
        self._queues = {} if queues is None else queues
        self._shares = Shares() if shares is None else shares
        self._restricted = restricted
        # An entry of a row is alive while it is the very tuple that stands here.
        self._calls: dict[str, Entry] = {}
        self._agents: dict[str, Entry] = {}
        self._line_of: dict[str, Line] = {}
        self._reach_of: dict[str, Reach] = {}
        """What an agent who is here, or has been here, can serve."""
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
        reach = self._reach_of.get(agent_id)
        if reach is None or reach.profile != profile or reach.claims != claims:
            reach = self._reach_of[agent_id] = self._reach(profile, claims)
        elif agent_id in self._agents and self._agents[agent_id][0] == idle_since:
            return
        entry = self._agents[agent_id] = (idle_since, agent_id)
        for tier in reach.tiers:
            tier.add(entry)
            if not tier.listed:
                tier.open()

    def drop_agent(self, agent_id: str) -> None:
        """Nothing, if they are not here."""
        self._agents.pop(agent_id, None)

    def agent_for(self, need: Need, queued_at: int, now: int) -> Choice | None:
        """The agent for a call that asks, and is not here itself."""
        line = self._lines.get(need) or self._line(need)
        found = self._agents_for(line, SHOWN)
        return self._chosen(line, queued_at, found, now) if found else None

    def has_agent(self, need: Need) -> bool:
        """Whether a call that asks would find somebody."""
        return bool(self._agents_for(self._lines.get(need) or self._line(need), 1))

    def call_for(self, agent_id: str, now: int) -> Choice | None:
        """The waiting call for an agent who is here."""
        agent = self._agents.get(agent_id)
        if agent is None:
            return None
        idle = now - agent[0]
        reach, shares = self._reach_of[agent_id], self._shares
        claims = reach.claims
        compared: list[tuple[Numbers, str]] = []
        for tier in reach.tiers:
            waiting = tier.side.waiting
            if waiting:
                less = idle - tier.handicap
                for line in waiting.values():
                    if not claims or shares.allow(claims, line.client):
                        compared.append(self._front(line, less, now))
        for line in self._only.get(agent_id, {}).values():
            for _, since, _ in self._only_agent(line):
                compared.append(self._front(line, now - since, now))
        if not compared:
            return None
        compared.sort()
        return _explained(compared, self._policy.call_rule, ONLY_LINE, "lines")

    def next_match(self, now: int) -> tuple[str, Choice] | None:
        """The first waiting call that somebody may take, and who."""
        fronts = (
            self._front(line, now - found[0][1], now)
            for line in self._waiting.values()
            if (found := self._agents_for(line, 1))
        )
        first = min(fronts, default=None)
        if first is None:
            return None
        line = self._line_of[first[1]]
        found = self._agents_for(line, SHOWN)
        return first[1], self._chosen(line, self._calls[first[1]][0], found, now)

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
        agent_id = line.need.only_agent
        agent = self._agents.get(agent_id)
        if agent is None:
            return []
        reach = self._reach_of[agent_id]
        if not can(agent_id, reach.profile, line.need):
            return []
        if not self._shares.allow(reach.claims, line.client):
            return []
        numbers, handicap = self._tier(reach.profile, self._queue(line).config.preferred_skills)
        return [(numbers, agent[0] + handicap, agent_id)]

    def _chosen(self, line: Line, queued_at: int, found: list[Found], now: int) -> Choice:
        rules, numbers = self._policy.agent_rule, found[0][0]
        weight = -self._rank(line, queued_at, 0, now)[-1] if self._policy.by_pair else 0.0
        if numbers != found[-1][0]:
            compared = [
                ((*each, (since - now) / SECOND - weight), agent_id)
                for each, since, agent_id in found
            ]
            return _explained(compared, rules, ONLY_AGENT, "looked at")
        # The same, and faster, where all are of one tier, as they nearly always are.
        best = [(agent_id, weight + (now - since) / SECOND) for _, since, agent_id in found]
        rule = f"{rules[-1]} of {len(found)} looked at" if len(found) > 1 else ONLY_AGENT
        return Choice(found[0][2], len(found), tuple(best), rule)

    def _front(self, line: Line, idle: int, now: int) -> tuple[Numbers, str]:
        """The rank of the first call of a line in which calls wait, and the call."""
        assert line.front is not None
        queued_at, call = line.front
        return self._rank(line, queued_at, idle, now), call

    def _rank(self, line: Line, queued_at: int, idle: int, now: int) -> Numbers:
        behind = self._shares.shared and self._shares.behind(line.client)
        waited = (now - queued_at) / SECOND
        queue = line.queue or self._queue(line)
        return self._policy_rank(queue, line.priority, behind, waited, idle / SECOND)

    def _queue(self, line: Line) -> QueueState:
        if line.queue is None:
            key = line.need.queue
            line.queue = self._queues.get(key)
            return line.queue or QueueState(key, Queue(key.partition("/")[2]))
        return line.queue

    def _tier(self, profile: Profile, preferred: Skills) -> tuple[tuple[int, ...], int]:
        levels = dict(profile.skills)
        lacking = sum(max(0, level - levels.get(skill, 0)) for skill, level in preferred)
        return self._policy.tier(profile.load, lacking, len(levels))

    def _line(self, need: Need) -> Line:
        line = self._lines.get(need)
        if line is None:
            line = Line(need, None, Row(self._calls))
            if not need.only_agent:
                line.side = self._side(need, self._queue(line).config.preferred_skills)
            if len(self._lines) >= self._lines_limit:
                self._lines = dict(self._waiting)
                self._lines_limit = max(LINES_KEPT, 2 * len(self._lines))
            self._lines[need] = line
        return line

    def _side(self, need: Need, preferred: Skills) -> Side:
        key = (need.skills, need.groups, need.any_group, need.channel, preferred)
        side = self._sides.get(key)
        if side is None:
            if len(self._sides) >= self._sides_limit:
                self._start_over()
            side = self._sides[key] = Side(need, preferred)
            tiers = {reach: self._join(reach, side) for reach in self._reaches.values()}
            for entry in sorted(self._agents.values()):
                tier = tiers[self._reach_of[entry[1]]]
                if tier is not None:
                    tier.add(entry)
                    if not tier.listed:
                        tier.open()
        return side

    def _reach(self, profile: Profile, claims: Clients) -> Reach:
        reach = self._reaches.get((profile, claims))
        if reach is None:
            if len(self._reaches) >= self._reaches_limit:
                self._start_over()
            reach = self._reaches[profile, claims] = Reach(profile, claims)
            for side in self._sides.values():
                self._join(reach, side)
        return reach

    def _join(self, reach: Reach, side: Side) -> Tier | None:
        """The tier of these agents in a side, if they can serve it."""
        if not can("", reach.profile, side.need, self._restricted):
            return None
        tier = side.tier(self._agents, (*self._tier(reach.profile, side.preferred), reach.claims))
        reach.tiers.append(tier)
        return tier

    def _start_over(self) -> None:
        """Needs and profiles come from outside, so their number must not grow without end."""
        self._lines = dict(self._waiting)
        self._sides = {key: side for key, side in self._sides.items() if side.waiting}
        self._sides_limit = max(SIDES_KEPT, 2 * len(self._sides))
        self._reaches_limit = max(REACHES_KEPT, 2 * len(self._agents))
        self._reaches.clear()
        for side in self._sides.values():
            side.clear()
        reaches, self._reach_of = self._reach_of, {}
        for since, agent_id in sorted(self._agents.values()):
            self.add_agent(agent_id, reaches[agent_id].profile, since)


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


def sorted_skills(pairs: Iterable[tuple[str, int]]) -> Skills:
    """One order for equal skills, so that they are one key."""
    return tuple(sorted(pairs))


def _explained(
    compared: list[tuple[Numbers, str]], rules: Sequence[str], only: str, among: str
) -> Choice:
    """The first of these, sorted as they are, by the number in which the second is not its equal.

    rules: what each number is; only: what is said where there was nothing to compare.
    """
    numbers, name = compared[0]
    place = len(numbers) - 1
    rule = only
    if len(compared) > 1:
        second = compared[1][0]
        for place, number in enumerate(numbers):
            if number != second[place]:
                break
        rule = f"{rules[place]} of {len(compared)} {among}"
    equal = numbers[:place]
    best = [(other, 0.0 - each[place]) for each, other in compared[:SHOWN] if each[:place] == equal]
    return Choice(name, len(compared), tuple(best), rule)
