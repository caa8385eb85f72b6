"""How many each policy dials, as rows and as laws."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.dialer.pacing.learned import Learned
from services.dialer.pacing.policies import POLICIES
from services.dialer.pacing.scene import Agent, CallOut, Carrier, Doing, Measure, Scene
from services.dialer.pacing.tests.support import (
    CAMPAIGN,
    EXPERIENCED,
    NOW,
    SECOND,
    answered,
    experienced,
    idle,
    ringing,
    scene,
    talking,
)

OFFERED = [Agent(Doing.OFFERED, NOW, CAMPAIGN)]
INBOUND = [Agent(Doing.OFFERED, NOW)]
FAILING = Carrier(dialled=10, errors=9)


def dialled(policy: str, seen: Scene) -> int:
    return POLICIES[policy](seen).calls


@pytest.mark.parametrize(
    ("policy", "given_", "then"),
    [
        ("progressive", scene(idle(3)), 3),
        ("progressive", scene(idle(3), ringing(2)), 1),
        ("progressive", scene(idle(3) + talking(5), ringing(2) + answered(2)), 0),
        ("progressive", scene(idle(3), waiting_before=2), 1),
        # The agent who is offered a call is not idle any more, and the call still waits.
        ("progressive", scene(idle(2) + OFFERED, answered(1)), 2),
        ("progressive", scene(idle(2) + INBOUND), 2),
        ("progressive", scene(idle(3), carrier=Carrier(lines=2)), 2),
        ("preview", scene(idle(3)), 3),
        ("power", scene(idle(3), ratio=2.5), 7),
        ("power", scene(idle(3), ringing(4), ratio=2.5), 3),
        ("power", scene(idle(3), ratio=2.5, waiting_before=3), 0),
        ("power", scene(talking(9), ratio=2.5), 0),
        ("message", scene([], ringing(4), carrier=Carrier(lines=40)), 40),
        ("message", scene([], carrier=replace(FAILING, lines=40)), 1),
        ("predictive", scene([]), 0),
        ("predictive", scene([], ringing(10)), 0),
        ("predictive", scene(talking(1), answered(3)), 0),
        ("predictive", scene(idle(1), answered(1)), 0),
        ("predictive", scene(idle(10), waiting_before=10), 0),
        ("predictive", scene(idle(10), carrier=Carrier(lines=0)), 0),
        ("predictive", scene(idle(10), carrier=Carrier(lines=3)), 3),
        ("predictive", scene(idle(10), carrier=FAILING), 1),
        ("predictive", scene(idle(10), ringing(1), carrier=FAILING), 0),
    ],
)
def test_dials(policy: str, given_: Scene, then: int) -> None:
    decision = POLICIES[policy](given_)
    assert decision.calls == then
    assert decision.because


def test_predictive_dials_ahead_of_agents_who_come_free() -> None:
    assert dialled("predictive", scene(idle(10))) > dialled("progressive", scene(idle(10)))
    assert dialled("predictive", scene(talking(50))) > 0
    fast = experienced(talk=30.0)
    assert dialled("predictive", scene(talking(50), learned=fast)) > dialled(
        "predictive", scene(talking(50))
    )


def test_predictive_knows_when_a_wrap_up_ends() -> None:
    learned = experienced()
    for _ in range(600):
        learned.wrapped_up(60 * SECOND)
    wrapping = Agent(Doing.WRAP_UP, NOW - 10 * SECOND, CAMPAIGN)
    soon = replace(wrapping, free_at=NOW + 2 * SECOND)
    none_free = scene([wrapping] * 10, learned=learned)
    assert dialled("predictive", none_free) == 0
    assert dialled("predictive", replace(none_free, agents=[soon] * 10)) == dialled(
        "predictive", replace(none_free, agents=idle(10))
    )


def test_a_talk_is_followed_by_its_wrap_up() -> None:
    short, long = experienced(talk=10.0), experienced(talk=10.0)
    for _ in range(600):
        long.wrapped_up(120 * SECOND)
    assert dialled("predictive", scene(talking(20), learned=long)) < dialled(
        "predictive", scene(talking(20), learned=short)
    )


def test_predictive_counts_what_other_campaigns_have_out() -> None:
    alone = scene(idle(10))
    shared = replace(
        alone,
        calls=ringing(12, campaign="acme/other"),
        learned={**alone.learned, "acme/other": experienced(answers=0.5)},
    )
    assert 0 <= dialled("predictive", shared) < dialled("predictive", alone)


def test_predictive_expects_inbound_calls() -> None:
    quiet = scene(idle(20) + talking(30))
    assert dialled("predictive", replace(quiet, inbound_rate=0.5)) < dialled("predictive", quiet)


def test_without_knowledge_it_is_cautious() -> None:
    for agents in (idle(10), idle(3) + talking(20), idle(30) + talking(70)):
        new = dialled("predictive", scene(agents, learned=Learned(), measure=Measure()))
        assert new < dialled("predictive", scene(agents))
        # If three of four answer there are still agents for them.
        assert 0.75 * new <= sum(agent.doing is Doing.IDLE for agent in agents)


def test_agents_who_log_out_together_stop_it() -> None:
    busy = scene(idle(12) + talking(88), ringing(30))
    assert dialled("predictive", busy) > 0
    assert dialled("predictive", replace(busy, agents=busy.agents[:5])) == 0


@pytest.mark.parametrize("agents", [10, 50])
def test_a_carrier_that_comes_back_is_not_flooded(agents: int) -> None:
    learned = experienced()
    # It has lost all calls for a while, and called it no answer.
    for number in range(3000):
        learned.unanswered(NOW + number * SECOND, 28 * SECOND)
    lost = dialled("predictive", scene(idle(agents), learned=learned))
    at_once = dialled("predictive", scene(idle(agents)))
    assert lost <= 3 * at_once
    # What it still has counts.
    assert dialled("predictive", scene(idle(agents), ringing(lost), learned=learned)) == 0


seats = st.lists(
    st.builds(
        Agent,
        doing=st.sampled_from([Doing.IDLE, Doing.TALKING, Doing.WRAP_UP, Doing.OFFERED]),
        since=st.integers(0, 900).map(lambda ago: NOW - ago * SECOND),
        campaign=st.sampled_from([CAMPAIGN, ""]),
        free_at=st.sampled_from([0, NOW + 10 * SECOND]),
    ),
    max_size=70,
)
lines = st.lists(
    st.builds(
        CallOut,
        campaign=st.sampled_from([CAMPAIGN, "acme/unknown"]),
        dialled_at=st.integers(0, 200).map(lambda ago: NOW - ago * SECOND),
        answered_at=st.sampled_from([0, 0, 0, NOW - SECOND]),
    ),
    max_size=40,
)
measures = st.builds(
    Measure,
    live=st.integers(0, 3000),
    abandoned=st.integers(0, 90),
    target=st.sampled_from([0.01, 0.03]),
)
scenes = st.builds(
    scene,
    agents=seats,
    calls=lines,
    learned=st.sampled_from([EXPERIENCED, Learned(), experienced(0.05, 30.0, 400)]),
    measure=measures,
    carrier=st.builds(
        Carrier,
        lines=st.integers(0, 200),
        dialled=st.integers(0, 20),
        errors=st.integers(0, 20),
    ),
    waiting_before=st.integers(0, 3),
    inbound_rate=st.sampled_from([0.0, 0.1]),
    ratio=st.sampled_from([1.0, 2.5]),
)


@pytest.mark.parametrize("policy", POLICIES)
@settings(max_examples=60, deadline=None)
@given(seen=scenes)
def test_laws(policy: str, seen: Scene) -> None:
    """Never below zero or above the carrier; the same scene, the same number; one idle agent more
    never means fewer calls, one call out or one abandoned call more never means more."""
    calls = dialled(policy, seen)
    assert 0 <= calls <= seen.carrier.lines
    assert calls == dialled(policy, seen)
    if policy != "message":
        assert seen.agents or calls == 0
        assert dialled(policy, replace(seen, agents=[*seen.agents, *idle(1)])) >= calls
    assert dialled(policy, replace(seen, calls=[*seen.calls, *answered(1)])) <= calls
    worse = replace(seen.measure, abandoned=seen.measure.abandoned + 1)
    assert dialled(policy, replace(seen, measure=worse)) <= calls
