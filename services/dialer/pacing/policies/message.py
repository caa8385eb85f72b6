"""Policy `message`: no agent is wanted, so the carrier's lines are the only bound."""

from services.dialer.pacing.carrying import carried
from services.dialer.pacing.scene import Decision, Scene


def dial(scene: Scene) -> Decision:
    calls = carried(scene, scene.carrier.lines)
    return Decision(calls, f"{scene.carrier.lines} lines free, no agent wanted")
