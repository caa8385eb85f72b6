"""Policy `power`: a fixed number of calls for each idle agent."""

from math import floor

from services.dialer.pacing.carrying import carried
from services.dialer.pacing.scene import Decision, Doing, Scene


def dial(scene: Scene) -> Decision:
    idle = sum(agent.doing is Doing.IDLE for agent in scene.agents)
    open_for = max(0, idle - scene.waiting_before)
    out = len(scene.calls)
    calls = carried(scene, floor(scene.ratio * open_for + 1e-9) - out)
    return Decision(calls, f"{open_for} idle times {scene.ratio:g}, {out} calls out")
