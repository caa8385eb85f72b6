"""Policy `predictive`: as many calls as agents will be free for when they are answered.

What is dialled now wants an agent one ring and one greeting later. Until then some of the busy
agents come free, and some of the calls that are out are answered first. The greatest number of
calls is dialled at which the share of live answers that find no agent stays within what the
measure allows.
"""

from math import erf, exp, pi, sqrt

from services.dialer.pacing.carrying import carried
from services.dialer.pacing.scene import Decision, Doing, Scene

SECOND = 1_000_000


def dial(scene: Scene) -> Decision:
    own = scene.learned[scene.campaign]
    answer = min(1.0, own.answers.mean + own.answers.deviation)
    horizon = 12.0
    free = variance = 0.0
    for agent in scene.agents:
        if agent.doing is Doing.IDLE:
            free += 1.0
        elif agent.doing is not Doing.OFFERED:
            learned = scene.learned.get(agent.campaign, own)
            lasts = learned.talk if agent.doing is Doing.TALKING else learned.wrap_up
            soon = lasts.ends_within((scene.now - agent.since) / SECOND, horizon)
            free += soon
            variance += soon * (1.0 - soon)
    wanted = float(scene.waiting_before) + scene.inbound_rate * horizon
    variance += scene.inbound_rate * horizon
    for call in scene.calls:
        of = scene.learned.get(call.campaign, own).answers
        chance = 1.0 if call.answered_at else min(1.0, of.mean + of.deviation)
        wanted += chance
        variance += chance * (1.0 - chance)
    calls = 0
    if scene.agents:
        while calls < 5 * len(scene.agents):
            mean = wanted + (calls + 1) * answer
            spread = sqrt(variance + (calls + 1) * answer * (1.0 - answer) + 0.01)
            if _excess((mean - free) / spread) * spread > scene.measure.target * mean:
                break
            calls += 1
    because = (
        f"{free:.1f} agents free and {wanted:.1f} live answers wanted within {horizon:.0f} s, "
        f"answer rate {own.answers.mean:.3f} +- {own.answers.deviation:.3f}"
    )
    return Decision(carried(scene, calls), because)


def _excess(z: float) -> float:
    """E max(0, z + X), X standard normal."""
    return z * 0.5 * (1.0 + erf(z / sqrt(2.0))) + exp(-0.5 * z * z) / sqrt(2.0 * pi)
