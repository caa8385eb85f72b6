"""Policy `progressive`: one call for each idle agent that no other call is meant for. Nobody who
answers is ever without an agent, unless an agent leaves meanwhile. Preview dials so, too: its calls
are previews that idle agents are shown."""

from services.dialer.pacing.carrying import carried
from services.dialer.pacing.scene import Decision, Doing, Scene


def dial(scene: Scene) -> Decision:
    idle = sum(agent.doing is Doing.IDLE for agent in scene.agents)
    spoken_for = len(scene.calls) + scene.waiting_before
    calls = carried(scene, idle - spoken_for)
    return Decision(calls, f"{idle} idle, {spoken_for} calls for them; one for each")
