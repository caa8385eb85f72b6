"""Whatever is told, however often, late, or impossible: what must hold, holds (invariants.py).

Here some thousands of commands; `python -m services.routing.tests.model` runs millions.
"""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.routing.tests.model import episode, shrink, told

COMMANDS = 300


@given(st.integers(0, 2**32))
@settings(
    max_examples=150,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
def test_what_must_hold_holds(seed: int) -> None:
    """A failure is shrunk to the few commands that are needed, which hypothesis cannot."""
    world, failure = episode(f"test/{seed}", COMMANDS)
    assert failure is None, told(shrink(failure, seconds=30))
    assert len(world.log) >= COMMANDS
