"""Policy `progressive`: one call for each idle agent that no other call is meant for. Nobody who
answers is ever without an agent, unless an agent leaves meanwhile. Preview dials so, too: its calls
are previews that idle agents are shown."""

from services.dialer.pacing.carrying import carried
from services.dialer.pacing.scene import Decision, Scene


def dial(scene: Scene) -> Decision:
    free = scene.free
    spoken_for = len(scene.calls) + scene.waiting_before
    calls = carried(scene, free - spoken_for)
    return Decision(calls, f"{free} agents free, {spoken_for} calls for them; one for each")
