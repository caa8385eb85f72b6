"""A busy shift of a made-up centre with three client companies. Pure: a seed gives always the same.

Calls arrive at random, at a rate per half hour; talking is lognormal, patience exponential.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import exp, log, sqrt
from random import Random

from relaisctl.replay.live import SECOND, QueueRules, Relax, ScriptedAgent, ScriptedCall, Skills

MINUTE = 60 * SECOND
HALF_HOUR = 30 * MINUTE


@dataclass(frozen=True, slots=True)
class Queue:
    """Calls of one purpose. Lengths are means, in seconds."""

    queue_id: str
    required_skills: Skills
    calls_per_hour: float
    talk_s: float
    patience_s: float
    priority: int = 0
    target_s: int = 20
    relax: Relax | None = None


@dataclass(frozen=True, slots=True)
class Company:
    client_id: str
    name: str
    time_zone: str
    line: str
    known_callers: float
    """The share of customers whom the telephone system recognises."""
    queues: tuple[Queue, ...]


COMPANIES = (
    Company("amber-taxi", "Amber Taxi", "Europe/Riga", "371-6700", 0.4, (
        Queue("orders", (("taxi", 1),), 170, 60, 70),
        Queue("lost-property", (("taxi", 3),), 20, 150, 240, 0, 60, Relax(30, "taxi", 2)),
    )),
    Company("meridian-bank", "Meridian Bank", "Europe/Paris", "331-4400", 0.9, (
        Queue("cards", (("bank", 2),), 75, 200, 180, priority=1),
        Queue("accounts", (("bank", 2),), 55, 290, 200),
        Queue("loans", (("bank", 3), ("loans", 2)), 20, 540, 300, target_s=60),
    )),
    Company("norlink", "Norlink Internet", "Europe/London", "442-0800", 0.7, (
        Queue("support", (("internet", 2),), 95, 430, 300, target_s=60),
        Queue("sales", (("internet", 1), ("sales", 2)), 45, 330, 120, priority=1),
    )),
)  # fmt: skip

TEAMS: tuple[tuple[str, int, Skills], ...] = (
    ("riga", 5, (("taxi", 3),)),
    ("riga", 3, (("bank", 2), ("taxi", 4))),
    ("home", 4, (("internet", 2), ("taxi", 2))),
    ("paris", 8, (("bank", 3),)),
    ("paris", 4, (("bank", 4), ("loans", 3))),
    ("home", 2, (("bank", 2), ("internet", 2))),
    ("leeds", 11, (("internet", 3),)),
    ("leeds", 6, (("internet", 2), ("sales", 3))),
    ("home", 4, (("internet", 4), ("loans", 2), ("bank", 3), ("sales", 2))),
)
"""Where they sit, how many, and what they know: some work for several companies."""

LOAD_BY_HALF_HOUR = (0.85, 1.1, 1.2, 0.95)
"""The rate of arrivals in relation to the mean; again from the front in a longer shift."""

TALK_VARIATION = 0.8
"""Standard deviation of talking in relation to the mean."""
SHORTEST_S = 5.0
LONGEST = 3.0
"""The longest talk in relation to the mean."""
MENU_S = 8.0
GIVES_UP_IN_MENU = 0.03


def calls(seed: int, minutes: int, run: str) -> list[ScriptedCall]:
    """All customers of a shift of so many minutes, by arrival. `run` makes the ids new ones."""
    found: list[ScriptedCall] = []
    for company in COMPANIES:
        for queue in company.queues:
            chance = Random(f"{seed}/{company.client_id}/{queue.queue_id}")
            for number, after in enumerate(_arrivals(chance, queue, minutes * MINUTE), 1):
                call_id = f"{run}-{queue.queue_id}-{number:04}"
                found.append(_call(chance, company, queue, call_id, after))
    return sorted(found, key=lambda call: (call.after, call.stream_id))


def agents(run: str) -> list[ScriptedAgent]:
    """Who works. `run` makes the ids new ones."""
    seats = [(place, skills) for place, count, skills in TEAMS for _ in range(count)]
    return [
        ScriptedAgent(f"{place}-{number:02}.{run}", tuple(sorted(skills)))
        for number, (place, skills) in enumerate(seats, 1)
    ]


def queues() -> list[QueueRules]:
    """What the client companies have agreed with the centre."""
    return [
        QueueRules(company.client_id, queue.queue_id, queue.target_s, queue.relax)
        for company in COMPANIES
        for queue in company.queues
    ]


def _arrivals(chance: Random, queue: Queue, length: int) -> Iterator[int]:
    """Poisson arrivals, thinned from the busiest half hour's rate."""
    most = max(LOAD_BY_HALF_HOUR)
    after = 0.0
    while True:
        after += chance.expovariate(queue.calls_per_hour * most / 3600) * SECOND
        if after >= length:
            return
        load = LOAD_BY_HALF_HOUR[int(after // HALF_HOUR) % len(LOAD_BY_HALF_HOUR)]
        if chance.random() * most < load:
            yield int(after)


def _call(chance: Random, company: Company, queue: Queue, call_id: str, after: int) -> ScriptedCall:
    known = chance.random() < company.known_callers
    customer = f"c{chance.randrange(100_000, 999_999)}"
    in_menu = chance.uniform(0.5, 1.5) * MENU_S
    spread = sqrt(log(1 + TALK_VARIATION**2))
    talk = queue.talk_s * exp(chance.gauss(0, spread) - spread**2 / 2)
    return ScriptedCall(
        client_id=company.client_id,
        call_id=call_id,
        line=f"{company.line}-{chance.randrange(1, 5)}",
        customer_id=customer if known else "",
        after=after,
        menu=int(in_menu * SECOND),
        queue_id="" if chance.random() < GIVES_UP_IN_MENU else queue.queue_id,
        priority=queue.priority,
        required_skills=queue.required_skills,
        patience=int(chance.expovariate(1 / queue.patience_s) * SECOND),
        service=int(min(max(SHORTEST_S, talk), LONGEST * queue.talk_s) * SECOND),
    )
