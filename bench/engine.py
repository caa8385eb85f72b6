"""Decisions a second of the routing engine, beside a linear scan: prints only.

    PYTHONPATH=.:proto python bench/engine.py [--agents 50 500 5000 20000] [--skills 50]

A decision gives a call to an agent, and the figure contains all that the matching does for it:
somebody comes, asks, and one of them goes. In turns: a call of a well-staffed queue comes and gets
its agent, and an agent comes back; an agent of a short-staffed queue comes back and gets one of the
waiting calls, and another call comes, asks, and waits. Half of the skills are short of agents, so
the number of waiting calls stays as it is, and so does the number of idle agents, a quarter of all.

The linear scan does what the queues of open-source telephone systems do: it goes through all agents
for each call, and through all waiting calls for each agent. It says who, and not why, which the
index does. Then whole commands: calls go through the engine from arrival to the end of the wrap-up,
with the index and with the scan as its matching. Seconds are the processor's, and the best of five
stretches counts, so that other processes count little.
"""

import argparse
import random
import time
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from itertools import cycle
from math import log
from typing import Protocol

from services.routing import commands as c
from services.routing import events as e
from services.routing.codec import decode_pool, encode_event, encode_pool
from services.routing.commands import Channel
from services.routing.configuration import Queue, Skills
from services.routing.engine import apply
from services.routing.matching import Choice, Matching, Need, Profile
from services.routing.policies import POLICIES
from services.routing.pool import Pool
from services.routing.queues import QueueState
from services.routing.tests.linear import LinearMatching

SECOND = 1_000_000
CHANNELS = 1 << Channel.VOICE | 1 << Channel.CHAT
CHECKED = 300
"""Decisions that are compared with those of somebody who looks at everybody."""
ENGINE_AGENTS = 5_000


class Subject(Protocol):
    def add_call(self, call: str, need: Need, queued_at: int) -> None: ...
    def remove_call(self, call: str) -> None: ...
    def add_agent(self, agent_id: str, profile: Profile, idle_since: int) -> None: ...
    def drop_agent(self, agent_id: str) -> None: ...
    def agent_for(self, need: Need, queued_at: int, now: int) -> Choice | None: ...
    def call_for(self, agent_id: str, now: int) -> Choice | None: ...


class Scan:
    """Policy `longest-idle`, by looking at everybody, available or not."""

    def __init__(self) -> None:
        self.agents: dict[str, tuple[bool, dict[str, int], int, int]] = {}
        self.calls: dict[str, tuple[int, int, Skills]] = {}

    def add_call(self, call: str, need: Need, queued_at: int) -> None:
        self.calls[call] = (-need.priority, queued_at, need.skills)

    def remove_call(self, call: str) -> None:
        self.calls.pop(call, None)

    def add_agent(self, agent_id: str, profile: Profile, idle_since: int) -> None:
        self.agents[agent_id] = (True, dict(profile.skills), profile.load, idle_since)

    def drop_agent(self, agent_id: str) -> None:
        if agent_id in self.agents:
            self.agents[agent_id] = (False, *self.agents[agent_id][1:])

    def agent_for(self, need: Need, queued_at: int, now: int) -> Choice | None:
        best: tuple[int, int, str] | None = None
        for agent_id, (available, levels, load, idle_since) in self.agents.items():
            if available:
                for skill, level in need.skills:
                    if levels.get(skill, 0) < level:
                        break
                else:
                    if best is None or (load, idle_since, agent_id) < best:
                        best = (load, idle_since, agent_id)
        return Choice(best[2], len(self.agents), (), "") if best else None

    def call_for(self, agent_id: str, now: int) -> Choice | None:
        levels = self.agents[agent_id][1]
        best: tuple[int, int, str] | None = None
        for call, (lowered, queued_at, required) in self.calls.items():
            for skill, level in required:
                if levels.get(skill, 0) < level:
                    break
            else:
                if best is None or (lowered, queued_at, call) < best:
                    best = (lowered, queued_at, call)
        return Choice(best[2], len(self.calls), (), "") if best else None


class Centre:
    """Clients, their queues, and agents with four skills each."""

    def __init__(self, agents: int, skills: int, waiting: int) -> None:
        rng = random.Random(0)
        names = [f"skill{number}" for number in range(skills)]
        half = (names[::2], names[1::2])
        self.waiting = waiting
        self.profiles = {}
        for number in range(agents):
            chosen = rng.sample(half[number % 2], min(4, len(half[number % 2])))
            levels = tuple(sorted((name, rng.randint(2, 5)) for name in chosen))
            self.profiles[f"a{number}"] = Profile(levels, (), CHANNELS, 0)
        self.queues: dict[str, QueueState] = {}
        self.needs: tuple[list[Need], list[Need]] = ([], [])
        for number, name in enumerate(names):
            for client in (f"client{number % 10}", f"client{number % 7}"):
                key = f"{client}/q{number}"
                config = Queue(f"q{number}", target_seconds=10 + number, penalty=1.0 + number % 3)
                self.queues[key] = QueueState(key, config, 1)
                required = ((name, 1 + number % 3),)
                self.needs[number % 2].extend(
                    Need(key, required, (), False, Channel.VOICE, priority, "")
                    for priority in (0, 1)
                )

    def run(self, subject: Subject) -> Iterator[str]:
        """Who or what was chosen, decision by decision."""
        rng = random.Random(1)
        well, short = (cycle(rng.choices(needs, k=10_000)) for needs in self.needs)
        now, calls = 0, 0
        for call in range(self.waiting):
            subject.add_call(f"w{call}", next(short), now)
            now += SECOND
        away: tuple[deque[str], deque[str]] = (deque(), deque())
        for number, agent_id in enumerate(self.profiles):
            subject.add_agent(agent_id, self.profiles[agent_id], now)
            now += SECOND
            if number % 4 != 0:
                subject.drop_agent(agent_id)
                away[number % 2].append(agent_id)
        while True:
            now += SECOND
            choice = subject.agent_for(next(well), now, now)
            if choice is not None:
                subject.drop_agent(choice.id)
                away[0].append(choice.id)
                yield choice.id
                back = away[0].popleft()
                subject.add_agent(back, self.profiles[back], now)
                subject.call_for(back, now)
            now += SECOND
            back = away[1].popleft()
            subject.add_agent(back, self.profiles[back], now)
            choice = subject.call_for(back, now)
            if choice is not None:
                subject.remove_call(choice.id)
                yield choice.id
                calls += 1
                need = next(short)
                subject.agent_for(need, now, now)
                subject.add_call(f"c{calls}", need, now)
            subject.drop_agent(back)
            away[1].append(back)


def rate(decisions: Iterator[str], seconds: float) -> float:
    """Decisions a second: the best of five stretches, after some decisions that warm up."""
    for _ in range(CHECKED):
        next(decisions)
    best = 0.0
    for _ in range(5):
        made, spent, began = 0, 0.0, time.process_time()
        while spent < seconds / 5:
            for _ in range(16):
                next(decisions)
            made += 16
            spent = time.process_time() - began
        best = max(best, made / spent)
    return best


def first(decisions: Iterator[str]) -> list[str]:
    return [next(decisions) for _ in range(CHECKED)]


def matching(sizes: list[int], skills: int, waiting: int, seconds: float) -> None:
    print(f"matching: {skills} skills, 4 for each agent, {waiting} waiting calls; decisions/s")
    print(f"  {'agents':>21}" + "".join(f"{size:>12,}" for size in sizes))
    rates: dict[str, list[float]] = {}
    centres = [Centre(size, skills, waiting) for size in sizes]
    same = True
    small = Centre(200, skills, waiting)
    for policy in POLICIES:
        rates[policy] = [
            rate(centre.run(Matching(policy, centre.queues)), seconds) for centre in centres
        ]
        same &= first(small.run(Matching(policy, small.queues))) == first(
            small.run(LinearMatching(policy, small.queues))
        )
    rates["linear scan"] = [rate(centre.run(Scan()), seconds) for centre in centres]
    for centre in centres:
        same &= first(centre.run(Matching(queues=centre.queues))) == first(centre.run(Scan()))
    for name, each in rates.items():
        print(f"  {name:>21}" + "".join(f"{figure:>12,.0f}" for figure in each))
    ratios = [a / b for a, b in zip(rates["longest-idle"], rates["linear scan"], strict=True)]
    print(f"  {'times the scan':>21}" + "".join(f"{figure:>12,.0f}" for figure in ratios))
    grown = log(sizes[-1]) / log(sizes[0])
    for policy in POLICIES:
        slower = rates[policy][0] / rates[policy][-1]
        print(
            f"  {policy}: a decision among {sizes[-1]:,} agents takes {slower:.2f} times one among "
            f"{sizes[0]:,}; the logarithm grows {grown:.2f} times"
        )
    print(f"  the same chosen as by looking at everybody: {'yes' if same else 'NO'}")


def whole_calls(centre: Centre, subject: Subject, seconds: float, encode: bool) -> float:
    """Commands a second of the engine, half of the agents busy: calls from arrival to wrap-up."""
    pool = Pool("bench", queues=dict(centre.queues), matching=subject)  # type: ignore[arg-type]
    now, number = 1_000_000 * SECOND, 0

    def tell(body: c.Body, client: str = c.CENTRE) -> str:
        """Who is offered a call, if somebody is."""
        nonlocal now, number
        now += 1_000
        number += 1
        command = c.Command("bench", f"id{number}", client, now, now, "", "", body)
        offered = ""
        for event in apply(pool, command):
            if encode and not isinstance(event, e.Sent):
                encode_event(command, event)
            if isinstance(event, e.CallEvent) and isinstance(event.body, e.CallOffered):
                offered = event.body.agent_id
        return offered

    for agent_id, profile in centre.profiles.items():
        tell(c.LogInAgent(agent_id, profile.skills))
        tell(c.MakeAgentAvailable(agent_id))
    talking: deque[tuple[str, str, str]] = deque()
    needs = cycle(random.Random(1).choices(centre.needs[0] + centre.needs[1], k=10_000))
    busy = len(centre.profiles) // 2
    spent, begun, best = 0.0, 0, 0.0
    began = time.process_time()
    while spent < seconds:
        need, call_id = next(needs), f"c{number}"
        client, _, queue_id = need.queue.partition("/")
        tell(c.ReportCallArrived(call_id, Channel.VOICE), client)
        agent_id = tell(c.QueueCall(call_id, queue_id, need.priority, need.skills), client)
        if agent_id:
            tell(c.AcceptOffer(pool.calls[f"{client}/{call_id}"].offer_id, agent_id))
            tell(c.ReportCallConnected(call_id, agent_id), client)
            talking.append((client, call_id, agent_id))
        else:
            tell(c.ReportCallAbandoned(call_id), client)
        if len(talking) <= busy:
            began, begun = time.process_time(), number
            continue
        client, call_id, agent_id = talking.popleft()
        tell(c.ReportCallEnded(call_id), client)
        tell(c.MakeAgentAvailable(agent_id))
        stretch = time.process_time() - began
        if stretch >= seconds / 5:
            best = max(best, (number - begun) / stretch)
            spent += stretch
            began, begun = time.process_time(), number
    return best


def engine(agents: int, skills: int, seconds: float) -> None:
    centre = Centre(agents, skills, 0)
    print(f"engine: {agents:,} agents, half of them busy; commands/s, six for a call")
    subjects: list[tuple[str, Callable[[], Subject], bool]] = [
        *((policy, partial(Matching, policy, centre.queues), False) for policy in POLICIES),
        ("events encoded too", partial(Matching, queues=centre.queues), True),
        ("linear scan", Scan, False),
    ]
    for name, make, encode in subjects:
        print(f"  {name:>21}{whole_calls(centre, make(), seconds, encode):>12,.0f}")


def snapshot(agents: int, skills: int) -> None:
    pool = Pool("bench")
    profiles = Centre(agents, skills, 0).profiles
    for number, (agent_id, profile) in enumerate(profiles.items()):
        for body in (c.LogInAgent(agent_id, profile.skills), c.MakeAgentAvailable(agent_id)):
            apply(pool, c.Command("bench", f"{number}", c.CENTRE, number, 0, "", "", body))
    began = time.perf_counter()
    data = encode_pool(pool)
    written = time.perf_counter()
    decode_pool(data)
    print(
        f"snapshot: {len(data):,} bytes, written in {(written - began) * 1000:.0f} ms, "
        f"read in {(time.perf_counter() - written) * 1000:.0f} ms"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--agents", type=int, nargs="+", default=[50, 500, 5_000, 20_000])
    parser.add_argument("--skills", type=int, default=50, help="of the centre; an agent has 4")
    parser.add_argument("--waiting", type=int, default=1_000, help="calls that wait")
    parser.add_argument("--seconds", type=float, default=2.0, help="for each figure")
    args = parser.parse_args()
    matching(args.agents, args.skills, args.waiting, args.seconds)
    engine(ENGINE_AGENTS, args.skills, args.seconds)
    snapshot(ENGINE_AGENTS, args.skills)


if __name__ == "__main__":
    main()
