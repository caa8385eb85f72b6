"""How campaigns share a pool's agents in one turn."""

from dataclasses import replace
from typing import Any

import pytest

from services.dialer.dialling.messages import Agent, AgentState, CallKey, Need, PoolNow, Waiting
from services.dialer.dialling.turn import Campaign, Out, in_order, plan, scene_agents
from services.dialer.pacing.learned import Learned
from services.dialer.pacing.scene import Carrier, Doing

S = 1_000_000
NOW = 1_800_000_000 * S


def agent(name: str, state: AgentState = AgentState.AVAILABLE, **more: Any) -> Agent:
    plain = Agent(name, state, NOW - 60 * S, "", None, None, False, {}, frozenset())
    return replace(plain, **more)


def pool(*agents: Agent, waiting: tuple[Waiting, ...] = ()) -> PoolNow:
    return PoolNow(NOW, agents, waiting)


def campaign(name: str, **more: Any) -> Campaign:
    return replace(Campaign("acme", name, "q", "progressive"), **more)


def out(number: int, of: str = "a", **more: Any) -> Out:
    key = CallKey("acme", f"call-{number}")
    made = Out(key, of, "main", "q", "progressive", 0, "", NOW - 5 * S)
    return replace(made, **more)


def planned(
    found: PoolNow, *campaigns: Campaign, outs: tuple[Out, ...] = (), **more: Any
) -> dict[str, int]:
    learned: dict[str, Learned] = {}
    plans = plan(
        NOW,
        found,
        campaigns,
        {each.key.stream_id: each for each in outs},
        lambda key: learned.setdefault(key, Learned()),
        more.pop("carrier", Carrier(lines=100)),
        **more,
    )
    assert all(each.because for each in plans)
    return {each.campaign.campaign_id: each.calls for each in plans}


ANN, BOB, EVE = (agent(name) for name in ("ann", "bob", "eve"))
A, B = campaign("a"), campaign("b")
FRENCH = Need({"french": 3})

DIALS: dict[str, tuple[dict[str, int], Any]] = {
    "one for each free agent": ({"a": 3}, lambda: planned(pool(ANN, BOB, EVE), A)),
    "nobody is there": ({}, lambda: planned(pool(), A)),
    "a call that is out is for one of them": (
        {"a": 2},
        lambda: planned(pool(ANN, BOB, EVE), A, outs=(out(1),)),
    ),
    "a machine wants nobody": (
        {"a": 3},
        lambda: planned(pool(ANN, BOB, EVE), A, outs=(out(1, nobody=True),)),
    ),
    "a call that an agent is offered is counted once, as the agent": (
        {"a": 1},
        lambda: planned(
            pool(replace(ANN, state=AgentState.RESERVED, call="acme/call-1"), BOB),
            A,
            outs=(out(1, told=True),),
        ),
    ),
    "whom the carrier has connected is not free, whatever routing knows yet": (
        {"a": 1},
        lambda: planned(
            pool(ANN, BOB), A, outs=(out(1, told=True, talks_to="ann", connected_at=NOW - S),)
        ),
    ),
    "whom a promised callback is dialled for is not free": (
        {"a": 1},
        lambda: planned(pool(ANN, BOB), A, outs=(out(1, of="b", agent_id="ann"),)),
    ),
    "who looks at a lead is not free": (
        {"a": 1},
        lambda: planned(pool(ANN, BOB), A, looking=frozenset({"ann"})),
    ),
    "who goes home after the call is not counted": (
        {"a": 1},
        lambda: planned(pool(replace(ANN, leaving=True), BOB), A),
    ),
    "the more important campaign goes first": (
        {"b": 2},
        lambda: planned(pool(ANN, BOB), A, replace(B, priority=5)),
    ),
    "what it leaves is the other's": (
        {"a": 1, "b": 1},
        lambda: planned(pool(ANN, BOB), A, replace(B, priority=5, due=1)),
    ),
    "the calls of one are before those of the other": (
        {"a": 1},
        lambda: planned(pool(ANN, BOB), A, B, outs=(out(1, of="b"),)),
    ),
    "in the first turn one of two equals": (
        {"a": 2},
        lambda: planned(pool(ANN, BOB), A, B, turn=0),
    ),
    "in the next one the other": ({"b": 2}, lambda: planned(pool(ANN, BOB), A, B, turn=1)),
    "agents without the skill do not count": (
        {"a": 1, "b": 1},
        lambda: planned(
            pool(replace(ANN, skills={"french": 3}), replace(BOB, skills={"french": 2})),
            replace(A, need=FRENCH),
            replace(B, priority=-1),
        ),
    ),
    "campaigns that share nobody do not wait for each other": (
        {"a": 1, "b": 1},
        lambda: planned(
            pool(replace(ANN, groups=frozenset({"x"})), replace(BOB, groups=frozenset({"y"}))),
            replace(A, need=Need({}, frozenset({"x"}))),
            replace(B, need=Need({}, frozenset({"y"}))),
            outs=(),
        ),
    ),
    "a restricted group serves only who names it": (
        {"a": 1},
        lambda: planned(
            pool(replace(ANN, groups=frozenset({"vip"})), BOB),
            replace(A, need=Need({}, frozenset(), frozenset({"vip"}))),
        ),
    ),
    "who calls in goes first": (
        {"a": 1},
        lambda: planned(pool(ANN, BOB, waiting=(Waiting("bolt", "in", 0, 1),)), A),
    ),
    "our own that wait are not counted twice": (
        {"a": 1},
        lambda: planned(
            pool(ANN, BOB, waiting=(Waiting("acme", "q", 0, 1),)),
            A,
            outs=(out(1, greeting_ended_at=NOW, told=True),),
        ),
    ),
    "others who wait for agents that we have none of do not matter": (
        {"a": 2},
        lambda: planned(
            pool(ANN, BOB, waiting=(Waiting("bolt", "in", 0, 1),)),
            A,
            needs={"bolt/in": FRENCH},
        ),
    ),
    "the carrier has few lines": (
        {"a": 2},
        lambda: planned(pool(ANN, BOB, EVE), A, carrier=Carrier(lines=2)),
    ),
    "and what one has dialled the other has not": (
        {"a": 2, "b": 1},
        lambda: planned(
            pool(ANN, BOB, EVE),
            replace(A, priority=1, due=2),
            B,
            carrier=Carrier(lines=3),
        ),
    ),
    "a campaign's own bound": (
        {"a": 1},
        lambda: planned(pool(ANN, BOB, EVE), replace(A, lines=1)),
    ),
    "a message needs nobody": (
        {"a": 7},
        lambda: planned(pool(), replace(A, mode="message", lines=7)),
    ),
    "and takes nobody from the others": (
        {"a": 7, "b": 2},
        lambda: planned(pool(ANN, BOB), replace(A, mode="message", lines=7, priority=1), B),
    ),
    "power dials its ratio": (
        {"a": 4},
        lambda: planned(pool(ANN, BOB), replace(A, mode="power", ratio=2.0)),
    ),
    "predictive does not dial for nobody": (
        {},
        lambda: planned(pool(), replace(A, mode="predictive")),
    ),
    "previews take agents, and no lines": (
        {"a": 2, "b": 1},
        lambda: planned(
            pool(ANN, BOB, EVE),
            replace(A, mode="preview", priority=1, due=2),
            B,
            carrier=Carrier(lines=2),
        ),
    ),
}


@pytest.mark.parametrize("name", DIALS)
def test_how_many_are_dialled(name: str) -> None:
    expected, found = DIALS[name]
    assert found() == expected


def test_equal_campaigns_take_turns_and_the_important_ones_are_always_first() -> None:
    campaigns = [campaign("a"), campaign("b"), campaign("c"), campaign("top", priority=9)]
    orders = [[each.campaign_id for each in in_order(campaigns, turn)] for turn in range(4)]
    assert orders == [
        ["top", "a", "b", "c"],
        ["top", "b", "c", "a"],
        ["top", "c", "a", "b"],
        ["top", "a", "b", "c"],
    ]


@pytest.mark.parametrize(
    ("state", "more", "doing"),
    [
        (AgentState.AVAILABLE, {}, Doing.IDLE),
        (AgentState.RESERVED, {"call": "acme/call-1"}, Doing.OFFERED),
        (AgentState.BUSY, {"call": "acme/call-1"}, Doing.OFFERED),
        (AgentState.BUSY, {"call": "acme/call-1", "connected_at": NOW - 9 * S}, Doing.TALKING),
        (AgentState.OTHER_CALL, {}, Doing.TALKING),
        (AgentState.WRAP_UP, {"wrap_up_ends_at": NOW + S}, Doing.WRAP_UP),
        (AgentState.LOGGED_IN, {}, None),
        (AgentState.ON_BREAK, {}, None),
        (AgentState.NOT_RESPONDING, {}, None),
        (AgentState.AVAILABLE, {"leaving": True}, None),
    ],
)
def test_what_an_agent_does(state: AgentState, more: dict[str, Any], doing: Doing | None) -> None:
    outs = {"acme/call-1": out(1)}
    seen = scene_agents(pool(agent("ann", state, **more)), outs)
    assert (seen["ann"][1].doing if seen else None) == doing
    if more.get("call"):
        assert seen["ann"][1].campaign == "acme/a"
        # Whoever is offered a call that wants nobody any more is not free for another one.
        outs["acme/call-1"].nobody = True
        again = scene_agents(pool(agent("ann", state, **more)), outs)["ann"][1]
        assert (again.campaign == "") == (doing is Doing.OFFERED)
    if doing is Doing.TALKING and more:
        assert seen["ann"][1].since == NOW - 9 * S
