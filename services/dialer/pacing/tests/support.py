"""Scenes of one campaign, in seconds from NOW."""

import random

from services.dialer.pacing.learned import Learned
from services.dialer.pacing.scene import Agent, CallOut, Carrier, Doing, Measure, Scene

SECOND = 1_000_000
NOW = 1_800_000_000 * SECOND
CAMPAIGN = "acme/spring"
CALM = Measure(live=10_000, abandoned=280)
"""A period that has gone as it should."""


def experienced(answers: float = 0.3, talk: float = 180.0, calls: int = 3000) -> Learned:
    """Has seen so many calls: of so many a person answers after 5 to 20 s, the others ring 28 s."""
    rng = random.Random(1)
    learned = Learned()
    for number in range(calls):
        at = NOW - (calls - number) * SECOND
        if rng.random() < answers:
            learned.answered(at, int(rng.uniform(5.0, 20.0) * SECOND))
            learned.greeted(int(rng.uniform(1.0, 2.0) * SECOND))
            learned.talked(int(rng.expovariate(1.0 / talk) * SECOND))
            learned.wrapped_up(0)
        else:
            learned.unanswered(at, 28 * SECOND)
    return learned


EXPERIENCED = experienced()


def idle(agents: int) -> list[Agent]:
    return [Agent(Doing.IDLE, NOW - 5 * SECOND)] * agents


def talking(agents: int, since: float = 60.0) -> list[Agent]:
    return [Agent(Doing.TALKING, NOW - int(since * SECOND), CAMPAIGN)] * agents


def ringing(calls: int, since: float = 3.0, campaign: str = CAMPAIGN) -> list[CallOut]:
    return [CallOut(campaign, NOW - int(since * SECOND))] * calls


def answered(calls: int) -> list[CallOut]:
    return [CallOut(CAMPAIGN, NOW - 10 * SECOND, NOW - SECOND)] * calls


def scene(
    agents: list[Agent],
    calls: list[CallOut] | None = None,
    learned: Learned = EXPERIENCED,
    measure: Measure = CALM,
    carrier: Carrier | None = None,
    **others: float,
) -> Scene:
    return Scene(
        now=NOW,
        campaign=CAMPAIGN,
        agents=agents,
        calls=calls or [],
        learned={CAMPAIGN: learned},
        measure=measure,
        carrier=carrier or Carrier(),
        **others,  # type: ignore[arg-type]
    )
