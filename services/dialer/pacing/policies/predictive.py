"""Policy `predictive`: as many calls as agents will be free for when they are answered.

A call dialled now wants an agent one ring and one greeting later. Until then some of the busy
agents come free, and some of the calls that are out are answered first. One call after the other
is added while the chance that it finds no agent, should it be answered, stays within what the
measure allows to risk: the same for each call at any time, since the cheapest way to spend the
allowance is to pay the same price for each talk that it buys.
"""

from services.dialer.pacing.allowance import risk
from services.dialer.pacing.carrying import carried, failing
from services.dialer.pacing.outlook import outlook
from services.dialer.pacing.scene import Decision, Scene

MOST_OUT = 30
"""Calls out for each agent, whatever was learned."""


def dial(scene: Scene) -> Decision:
    if not scene.agents:
        return Decision(0, "no agents")
    view = outlook(scene)
    out = sum(call.campaign == scene.campaign for call in scene.calls)
    allowed = risk(scene.measure, out * view.answer)
    most = carried(scene, MOST_OUT * view.agents - len(scene.calls))
    calls, chances = 0, view.chances()
    chance = next(chances)
    while calls < most and chance <= allowed:
        calls += 1
        chance = next(chances)
    because = (
        f"{view.free:.1f} of {view.agents} agents free and {view.wanted:.1f} wanted in "
        f"{view.within} s, answer rate {view.answer:.3f} +- {view.deviation:.3f}, "
        f"risk of the next {chance:.4f}, allowed {allowed:.4f}, "
        f"abandoned {scene.measure.abandoned} of {scene.measure.live}"
    )
    if failing(scene):
        because += f", carrier failed {scene.carrier.errors} of {scene.carrier.dialled}"
    return Decision(calls, because)
