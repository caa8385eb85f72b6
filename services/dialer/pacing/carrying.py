"""What the carrier allows, whatever a policy wishes. Pure."""

from services.dialer.pacing.scene import Scene

FAILING_ERRORS = 5
FAILING_SHARE = 0.5
"""From so many errors on, and so large a share of them, the carrier counts as failing: then one
call is out at a time, to find out whether it works again."""


def failing(scene: Scene) -> bool:
    carrier = scene.carrier
    return carrier.errors >= FAILING_ERRORS and carrier.errors >= FAILING_SHARE * carrier.dialled


def carried(scene: Scene, wanted: int) -> int:
    """How many of the wanted calls may be dialled now."""
    lines = max(0, scene.carrier.lines)
    if failing(scene):
        lines = min(lines, 0 if any(call.answered_at == 0 for call in scene.calls) else 1)
    return max(0, min(wanted, lines))
