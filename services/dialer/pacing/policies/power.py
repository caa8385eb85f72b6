"""Policy `power`: a fixed number of calls for each idle agent."""

from math import floor

from services.dialer.pacing.carrying import carried
from services.dialer.pacing.scene import Decision, Scene


def dial(scene: Scene) -> Decision:
    free = max(0, scene.free - scene.waiting_before)
    out = len(scene.calls)
    calls = carried(scene, floor(scene.ratio * free + 1e-9) - out)
    return Decision(calls, f"{free} agents free times {scene.ratio:g}, {out} calls out")
