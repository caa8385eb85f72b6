"""What clients that share agents are guaranteed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.routing.configuration import ClientRules, Queue, Skills
from services.routing.matching import Matching, Need, Profile
from services.routing.queues import QueueState
from services.routing.shares import Shares

FR: Skills = (("fr", 2),)
DE: Skills = (("de", 2),)
BOTH: Skills = (("de", 2), ("fr", 2))


def queues(version: int = 1) -> dict[str, QueueState]:
    configs = {
        "acme/q": Queue("q", required_skills=FR),
        "bank/q": Queue("q", required_skills=DE, groups=("north",)),
    }
    return {key: QueueState(key, config, version) for key, config in configs.items()}


def floors(**floor: int) -> Shares:
    rules = {client: ClientRules(floor=number) for client, number in floor.items()}
    return Shares(rules, queues(), ("apart",))


@pytest.mark.parametrize(
    ("share", "serving", "working", "behind"),
    [
        (0.0, 0, 4, False),
        (0.5, 0, 0, False),
        (0.5, 0, 4, True),
        (0.5, 1, 4, True),
        (0.5, 2, 4, False),
        (0.5, 2, 5, True),
        (1.0, 4, 4, False),
    ],
)
def test_behind_its_share(share: float, serving: int, working: int, behind: bool) -> None:
    shares = Shares({"acme": ClientRules(share=share)}, queues())
    for number in range(working):
        shares.put(f"a{number}", FR, (), "acme" if number < serving else "")
    shares.put("on-break", None, (), "acme")
    assert shares.behind("acme") is behind
    assert not shares.behind("bank"), "has no share"


def test_agents_are_counted_once_and_as_they_are_now() -> None:
    shares = Shares({"acme": ClientRules(share=0.5)}, queues())
    for _ in range(3):
        shares.put("ann", FR, (), "acme")
        shares.put("bob", FR, (), "")
    assert not shares.behind("acme")
    shares.put("ann", FR, (), "bank")
    assert shares.behind("acme")
    shares.put("bob", FR, (), "acme")
    assert not shares.behind("acme")
    shares.put("bob", None, (), "acme")
    shares.put("bob", None, (), "acme")
    assert shares.behind("acme")


@pytest.mark.parametrize(
    ("skills", "groups", "claims"),
    [
        (FR, (), ("acme",)),
        ((("fr", 1),), (), ()),
        (FR, ("apart",), ()),
        (DE, ("north",), ("bank",)),
        (DE, (), ()),
        (BOTH, ("north",), ("acme", "bank")),
        (BOTH, ("apart", "north"), ("bank",)),
    ],
)
def test_who_could_serve(skills: Skills, groups: tuple[str, ...], claims: tuple[str, ...]) -> None:
    shares = floors(acme=1, bank=1, other=1)
    assert shares.claims(skills, groups) == claims
    assert shares.claims(skills, groups, "care") == ()
    assert shares.claims(skills, groups, "acme") == (("acme",) if "acme" in claims else ())


def test_no_floor_without_a_configured_queue() -> None:
    shares = Shares({"acme": ClientRules(floor=5)}, queues(version=0))
    assert shares.claims(FR, ()) == ()
    assert shares.may_take(FR, (), "bank")


@pytest.mark.parametrize(
    ("floor", "agents", "may"),
    [
        # (skills, whose call they have); may an agent with French take a call of another client?
        (1, [(FR, "")], False),
        (1, [(FR, ""), (FR, "")], True),
        (2, [(FR, ""), (FR, "")], False),
        (2, [(FR, ""), (FR, ""), (FR, "acme")], True),
        (2, [(FR, ""), (FR, ""), (FR, "care")], False),
        (2, [(FR, ""), (FR, ""), (FR, None)], False),
        (2, [(FR, ""), (FR, ""), (DE, "")], False),
        (0, [(FR, "")], True),
    ],
)
def test_floor(floor: int, agents: list[tuple[Skills, str | None]], may: bool) -> None:
    shares = floors(acme=floor)
    for number, (skills, client) in enumerate(agents):
        shares.put(f"a{number}", skills if client is not None else None, (), client or "")
    assert shares.may_take(FR, (), "bank") is may
    assert shares.may_take(FR, (), "acme"), "its own calls"
    assert shares.may_take(DE, (), "bank"), "who could not serve it anyway"
    assert shares.may_take(FR, (), "bank", "bank"), "who is not left to it already"


moves = st.lists(
    st.tuples(
        st.sampled_from(["ann", "bob", "cat", "dan"]),
        st.sampled_from([None, FR, DE, BOTH]),
        st.sampled_from([(), ("north",), ("apart",)]),
        st.sampled_from(["", "acme", "bank"]),
    ),
    max_size=30,
)


@given(moves)
def test_counting_by_difference_is_counting(
    moves: list[tuple[str, Skills | None, tuple[str, ...], str]],
) -> None:
    rules = {"acme": ClientRules(share=0.4, floor=2), "bank": ClientRules(share=0.7, floor=1)}
    kept = Shares(rules, queues(), ("apart",))
    now = {}
    for agent_id, *rest in moves:
        kept.put(agent_id, *rest)
        now[agent_id] = rest
    fresh = Shares(rules, queues(), ("apart",))
    for agent_id, rest in now.items():
        fresh.put(agent_id, *rest)
    for client in ("acme", "bank", "care"):
        assert kept.behind(client) == fresh.behind(client)
        for skills in (FR, DE, BOTH):
            for serves in ("", "acme", "bank"):
                who = (skills, ("north",), client, serves)
                assert kept.may_take(*who) == fresh.may_take(*who)


def test_agents_are_given_away_down_to_the_floor() -> None:
    shares = floors(acme=2)
    index = Matching("longest-idle", queues(), shares)
    for number in range(5):
        shares.put(f"a{number}", BOTH, ("north",), "")
        index.add_agent(f"a{number}", Profile(BOTH, ("north",), 1 << 1, 0), number)
    bank = Need("bank/q", DE, ("north",), False, 1, 0, "")
    given_away = []
    while (choice := index.agent_for(bank, 0, 10)) is not None:
        given_away.append(choice.id)
        shares.put(choice.id, BOTH, ("north",), "bank")
        index.drop_agent(choice.id)
    assert given_away == ["a0", "a1", "a2"]
    index.add_call("bank/1", bank, 0)
    assert index.next_match(10) is None
    assert index.call_for("a3", 10) is None
    # One comes to work who can serve acme too.
    shares.put("a5", FR, (), "")
    assert index.call_for("a3", 10) is not None
    found = index.next_match(10)
    assert found is not None
    assert (found[0], found[1].id) == ("bank/1", "a3")
