"""Decisions a second of the routing engine with 5,000 agents, beside a linear scan: prints only.

    PYTHONPATH=.:proto python bench/engine.py [--agents 5000] [--skills 60] [--busy 0.5]

A decision: a call of one of the queues asks for its agent by a skill at a level, the agent is
taken, and comes back later as the one with the shortest idle time. Three subjects answer the same
questions, and must give the same agents: the index, a scan over the available agents
(tests/linear.py: the rule word for word), and a scan over all agents, available or not. Then whole
commands: calls go through the engine from arrival to the end of the wrap-up, with the index and
with the scans as its matching. Seconds are the processor's, so that other processes count little.
"""

import argparse
import random
import time
from collections import deque
from collections.abc import Callable

from services.routing import commands as c
from services.routing.codec import decode_pool, encode_event, encode_pool
from services.routing.commands import Skills
from services.routing.engine import apply
from services.routing.matching import Matching
from services.routing.pool import Pool
from services.routing.tests.linear import LinearMatching

START = 1_000_000 * c.SECOND


class ScanOfAll(LinearMatching):
    """Looks at every agent of the pool, available or not, as the tables of many ACDs are read."""

    def __init__(self) -> None:
        super().__init__()
        self.everybody: dict[str, tuple[bool, dict[str, int], int]] = {}

    def add_agent(self, agent_id: str, skills: Skills, idle_since: int) -> None:
        self.everybody[agent_id] = (True, dict(skills), idle_since)

    def remove_agent(self, agent_id: str) -> None:
        _, levels, idle_since = self.everybody[agent_id]
        self.everybody[agent_id] = (False, levels, idle_since)

    def agent_for(self, required: Skills) -> str | None:
        best: tuple[int, str] | None = None
        for agent_id, (available, levels, idle_since) in self.everybody.items():
            if available:
                for skill, level in required:
                    if levels.get(skill, 0) < level:
                        break
                else:
                    if best is None or (idle_since, agent_id) < best:
                        best = (idle_since, agent_id)
        return best[1] if best else None


Subject = Matching | LinearMatching


def queues_of(agents: dict[str, Skills]) -> list[Skills]:
    """What each queue requires: there is one per skill, at a level from 1 to 3."""
    names = sorted({skill for skills in agents.values() for skill, _ in skills})
    return [((name, 1 + number % 3),) for number, name in enumerate(names)]


def decisions(
    subject: Subject, agents: dict[str, Skills], busy: float, seconds: float
) -> tuple[float, list[str]]:
    """Decisions a second, and the first agents chosen."""
    rng = random.Random(1)
    for number, (agent_id, skills) in enumerate(agents.items()):
        subject.add_agent(agent_id, skills, number)
    queues = queues_of(agents)
    questions = [rng.choice(queues) for _ in range(10_000)]
    away: deque[str] = deque()
    limit = int(busy * len(agents))
    chosen: list[str] = []
    clock = len(agents)
    made, spent, since = 0, 0.0, 0.0
    while spent < seconds:
        # Before the clock runs, as many are taken as are to be busy all the time.
        if len(away) == limit and not since:
            since, made = time.process_time(), 0
        found = subject.agent_for(questions[made % len(questions)])
        if found is not None:
            subject.remove_agent(found)
            away.append(found)
        if len(away) > limit or found is None:
            clock += 1
            back = away.popleft()
            subject.add_agent(back, agents[back], clock)
        made += 1
        if since and len(chosen) < 200:
            chosen.append(found or "nobody")
        if since and made % 16 == 0:
            spent = time.process_time() - since
    return made / spent, chosen


def whole_calls(
    subject: Subject, agents: dict[str, Skills], seconds: float, encode: bool
) -> tuple[float, float]:
    """Commands a second and calls a second of the engine, half of the agents busy."""
    pool = Pool("bench", matching=subject)  # type: ignore[arg-type]
    rng = random.Random(1)
    now = START
    number = 0

    def tell(body: c.Body) -> list:  # type: ignore[type-arg]
        nonlocal now, number
        now += 1_000
        number += 1
        client = "acme" if isinstance(body, c.CallCommand) else c.CENTRE
        command = c.Command("bench", f"id{number}", client, now, now, "", "", body)
        events = apply(pool, command)
        if encode:
            for event in events:
                encode_event(command, event)
        return events

    for agent_id, skills in agents.items():
        tell(c.LogInAgent(agent_id, skills))
        tell(c.MakeAgentAvailable(agent_id))
    queues = queues_of(agents)
    talking: deque[tuple[str, str]] = deque()
    calls, since, begun = 0, 0.0, 0
    while True:
        if not since and len(talking) >= len(agents) // 2:
            since, calls, begun = time.process_time(), 0, number
        call_id = f"c{number}"
        tell(c.ReportCallArrived(call_id))
        offered = tell(c.QueueCall(call_id, "q", 0, rng.choice(queues)))
        if len(offered) == 3:
            body = offered[1].body
            tell(c.AcceptOffer(body.offer_id, body.agent_id))
            tell(c.ReportCallConnected(call_id, body.agent_id))
            talking.append((call_id, body.agent_id))
        else:
            tell(c.ReportCallAbandoned(call_id))
        if len(talking) > len(agents) // 2:
            ended, agent_id = talking.popleft()
            tell(c.ReportCallEnded(ended))
            tell(c.MakeAgentAvailable(agent_id))
        calls += 1
        if since and calls % 8 == 0 and (spent := time.process_time() - since) >= seconds:
            return (number - begun) / spent, calls / spent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--agents", type=int, default=5_000)
    parser.add_argument("--skills", type=int, default=60, help="of the centre; an agent has 4")
    parser.add_argument("--busy", type=float, default=0.5, help="share of agents that are taken")
    parser.add_argument("--seconds", type=float, default=2.0, help="for each figure")
    args = parser.parse_args()
    rng = random.Random(0)
    names = [f"skill{number}" for number in range(args.skills)]
    agents = {
        f"a{number}": tuple(sorted((name, rng.randint(1, 5)) for name in rng.sample(names, 4)))
        for number in range(args.agents)
    }
    print(f"{args.agents} agents, {args.skills} skills, 4 each, {args.busy:.0%} busy")

    subjects: list[tuple[str, Callable[[], Subject]]] = [
        ("index", Matching),
        ("scan of the available", LinearMatching),
        ("scan of all", ScanOfAll),
    ]
    rates, answers = {}, []
    for name, make in subjects:
        rates[name], chosen = decisions(make(), agents, args.busy, args.seconds)
        answers.append(chosen)
        ratio = f"   the index is {rates['index'] / rates[name]:,.0f} times as fast"
        print(f"  matching, {name:22} {rates[name]:12,.0f} decisions/s", end="")
        print("" if name == "index" else ratio)
    same = min(len(chosen) for chosen in answers)
    agree = all(chosen[:same] == answers[0][:same] for chosen in answers)
    print(f"  the same agents chosen: {'yes' if agree else 'NO'} ({same} compared)")

    for name, make, encode in (
        ("index", Matching, False),
        ("index, events encoded", Matching, True),
        ("scan of the available", LinearMatching, False),
        ("scan of all", ScanOfAll, False),
    ):
        commands, calls = whole_calls(make(), agents, args.seconds, encode)
        print(f"  engine,   {name:22} {commands:12,.0f} commands/s {calls:10,.0f} whole calls/s")

    pool = Pool("bench")
    for number, (agent_id, skills) in enumerate(agents.items()):
        for body in (c.LogInAgent(agent_id, skills), c.MakeAgentAvailable(agent_id)):
            apply(pool, c.Command("bench", f"{number}", c.CENTRE, START + number, 0, "", "", body))
    began = time.perf_counter()
    data = encode_pool(pool)
    written = time.perf_counter()
    decode_pool(data)
    print(
        f"  snapshot: {len(data):,} bytes, written in {(written - began) * 1000:.0f} ms, "
        f"read in {(time.perf_counter() - written) * 1000:.0f} ms"
    )


if __name__ == "__main__":
    main()
