"""What holds whatever is sent, however often and in whatever order: see model.py, and

world.py      two pools that are told commands, and what must hold after each
walk.py       the commands: sensible, late, repeated, impossible
invariants.py what must hold of a pool, by looking at everybody
watcher.py    what must hold of the events, by knowing nothing else
"""

from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from hypothesis import note, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from services.routing import commands as c
from services.routing import engine, events, on_time
from services.routing.matching import Matching
from services.routing.policies.longest_idle import LongestIdle
from services.routing.pool import Pool
from services.routing.shares import Shares
from services.routing.tests.model import episode, shrink, told
from services.routing.tests.walk import ACTIONS, HOUR, Walk
from services.routing.tests.world import World
from services.routing.turn import Turn

seeds = st.integers(0, 2**32)


class Centre(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.walk = Walk(self.world, Random(0))

    @initialize(seed=seeds)
    def opens(self, seed: int) -> None:
        self.walk.rng = Random(seed)
        for command in self.walk.opening():
            self.world.apply(command)

    @rule(action=st.sampled_from(ACTIONS), seed=seeds)
    def something_happens(self, action: Callable[[Walk], c.Command | None], seed: int) -> None:
        self.walk.rng = Random(seed)
        command = action(self.walk)
        if command is not None:
            note(str(command))
            self.world.apply(command)

    @rule(seconds=st.integers(1, 100))
    def time_goes_on(self, seconds: int) -> None:
        self.world.clock += seconds * c.SECOND

    @rule(hours=st.integers(0, 30))
    def timers_are_sent(self, hours: int) -> None:
        self.world.wait(self.world.clock + hours * HOUR)


TestCentre = Centre.TestCase
# The same walks in every run of the suite: model.py is what looks for new ones.
TestCentre.settings = settings(
    max_examples=40, stateful_step_count=100, deadline=None, derandomize=True, database=None
)


@pytest.mark.parametrize("number", range(8))
def test_long_walks(number: int) -> None:
    """Here some thousands of commands; `python -m services.routing.tests.model` runs millions."""
    world, failure = episode(f"suite/{number}")
    assert failure is None, told(shrink(failure, seconds=30))
    assert len(world.log) >= 1_500


def skipped(*arguments: Any, **named: Any) -> None:
    """In place of something that is done."""


def without(change: Callable[..., Any], kind: type) -> Callable[..., Any]:
    """As before, but not for this kind of event."""

    def changed(turn: Turn, subject: Any, at: int, body: Any, *more: Any, **named: Any) -> None:
        if not isinstance(body, kind):
            change(turn, subject, at, body, *more, **named)

    return changed


def any_channel(pool: Pool, agent: Any) -> int:
    return 0b11111 if not agent.offered and agent.calls else open_channels(pool, agent)


open_channels = Pool.open_channels
MISTAKES: dict[str, tuple[Any, str, Any]] = {
    "a call that is gone can still be found": (Matching, "remove_call", skipped),
    "capacity is not looked at": (Pool, "open_channels", any_channel),
    "the lowest priority first": (LongestIdle, "rank", lambda *given: (given[2], *given[3:5])),
    "waiting for an agent who has logged out": (Turn, "free_from_agent", skipped),
    "an event that nobody is told": (Turn, "emit_call", without(Turn.emit_call, events.CallMoved)),
    "repeats are not recognised": (Turn, "once", skipped),
    "nobody is interrupted": (Turn, "interrupt", skipped),
    "shares are not counted": (Shares, "_count", skipped),
    "helpers stay when the call has gone": (Turn, "end_helps", skipped),
    "who becomes free is not looked at": (Turn, "open", skipped),
    "timers that the worker is not told of": (engine, "_WRAPPED_UP", ()),
    "lost desktops are never given up": (on_time, "give_back", skipped),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_noticed(mistake: str, monkeypatch: pytest.MonkeyPatch) -> None:
    owner, name, instead = MISTAKES[mistake]
    monkeypatch.setattr(owner, name, instead)
    failures = (episode(f"mistake/{number}")[1] for number in range(8))
    assert any(failure is not None for failure in failures)
