"""The index answers as the rule does, whatever has happened before."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.routing import matching
from services.routing.commands import Skills
from services.routing.matching import Matching, can, sorted_skills
from services.routing.tests.linear import LinearMatching

SKILL_NAMES = ["orders", "complaints", "fr", "de"]
skills = st.dictionaries(st.sampled_from(SKILL_NAMES), st.integers(1, 5), max_size=3).map(
    lambda levels: sorted_skills(levels.items())
)
few_times = st.integers(0, 5)
steps = st.lists(
    st.tuples(
        st.sampled_from(["call", "agent"]), st.integers(0, 11), skills, st.integers(0, 2), few_times
    ),
    max_size=60,
)


@given(steps)
@settings(max_examples=60, deadline=None)
def test_index_and_linear_scan_agree(steps: list[tuple[str, int, Skills, int, int]]) -> None:
    index, linear = Matching(), LinearMatching()
    there: set[str] = set()
    for kind, number, skill_set, priority, time in steps:
        name = f"{kind}-{number}"
        # Who is there goes, who is not comes.
        for subject in (index, linear):
            if kind == "call" and name in there:
                subject.remove_call(name)
            elif kind == "call":
                subject.add_call(name, skill_set, priority, time)
            elif name in there:
                subject.remove_agent(name)
            else:
                subject.add_agent(name, skill_set, time)
        there ^= {name}
        assert index.agent_for(skill_set) == linear.agent_for(skill_set)
        assert index.call_for(skill_set) == linear.call_for(skill_set)


def test_memory_follows_who_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither taken entries nor requirements that come from outside are kept without end."""
    monkeypatch.setattr(matching, "LINES_KEPT", 20)
    monkeypatch.setattr(matching, "PROFILES_KEPT", 20)
    index, linear = Matching(), LinearMatching()
    index._lines_limit = 20
    rng = random.Random(7)
    index.add_agent("stays", (("s1", 3),), 0)
    linear.add_agent("stays", (("s1", 3),), 0)
    for time in range(5_000):
        required = ((f"s{rng.randrange(500)}", rng.randint(1, 5)),)
        assert index.agent_for(required) == linear.agent_for(required)
        index.add_call(f"c{time}", required, 0, time)
        index.remove_call(f"c{time}")
        index.add_agent("comes", required, time)
        index.remove_agent("comes")
    assert len(index._lines) <= 20
    assert len(index._lines_of) <= 21
    entries = sum(len(line.calls) + len(line.agents) for line in index._lines.values())
    assert entries < 20 * 4 * matching.SLACK


def test_can() -> None:
    assert can((), ())
    assert can((("fr", 3),), (("fr", 3),))
    assert not can((("fr", 2),), (("fr", 3),))
    assert not can((("de", 5),), (("fr", 1),))
