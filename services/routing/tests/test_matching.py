"""The index answers as the rule does, whatever has happened before."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.routing import matching
from services.routing.commands import Channel
from services.routing.configuration import ClientRules, Groups, Queue, Skills
from services.routing.matching import Choice, Matching, Need, Profile, can, sorted_skills
from services.routing.policies import POLICIES
from services.routing.queues import Level, QueueState
from services.routing.shares import Shares
from services.routing.tests.linear import LinearMatching

SECOND = 1_000_000
VOICE, CHAT = 1 << Channel.VOICE, 1 << Channel.CHAT
RESTRICTED = ("apart",)

skills = st.dictionaries(st.sampled_from(["de", "fr"]), st.integers(1, 3), max_size=2).map(
    lambda levels: sorted_skills(levels.items())
)
groups = st.sampled_from([(), (), (), ("north",), ("apart",), ("apart", "north")])
few_times = st.integers(0, 5).map(lambda number: number * 20 * SECOND)
agent_ids = st.integers(1, 7).map(lambda number: f"agent-{number}")
clients = st.sampled_from(["acme", "bank", "care"])
needs = st.builds(
    Need,
    queue=st.tuples(clients, st.sampled_from(["q", "r"])).map("/".join),
    skills=skills,
    groups=st.sampled_from([(), (), ("north",), ("apart", "north")]),
    any_group=st.sampled_from([False, False, True]),
    channel=st.sampled_from([Channel.VOICE, Channel.VOICE, Channel.CHAT]),
    priority=st.integers(0, 1),
    only_agent=st.one_of(st.just(""), st.just(""), agent_ids),
)
profiles = st.builds(
    Profile,
    skills=skills,
    groups=groups,
    channels=st.sampled_from([VOICE, CHAT, VOICE | CHAT, VOICE | CHAT]),
    load=st.integers(0, 1),
)
levels = st.integers(0, 4).map(lambda in_target: Level(4.0, float(in_target)))
configs = st.builds(
    Queue,
    queue_id=st.just("q"),
    required_skills=st.one_of(st.just(()), skills),
    preferred_skills=skills,
    target_seconds=st.sampled_from([20, 60]),
    penalty=st.sampled_from([1.0, 2.5]),
    groups=st.sampled_from([(), (), ("north",)]),
    base_weight=st.sampled_from([0.0, 30.0]),
    wait_weight=st.sampled_from([1.0, 0.5]),
)
queues = st.dictionaries(
    st.sampled_from(["acme/q", "acme/r", "bank/q", "care/r"]),
    st.fixed_dictionaries(
        {"config": configs, "config_version": st.sampled_from([0, 1, 1]), "level": levels}
    ),
    min_size=1,
).map(lambda each: {key: QueueState(key, **fields) for key, fields in each.items()})
rules = st.dictionaries(
    clients, st.builds(ClientRules, share=st.sampled_from([0.0, 0.4]), floor=st.integers(0, 3))
)
# Few different needs and profiles, so that calls share lines and agents rows.
some_needs = st.lists(needs, min_size=2, max_size=4)
some_profiles = st.lists(profiles, min_size=2, max_size=4)
picks = st.integers(0, 11)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("call"), st.integers(1, 9), picks, few_times),
        st.tuples(st.just("agent"), agent_ids, picks, few_times, st.sampled_from(["", "acme"])),
        st.tuples(st.just("agent"), agent_ids, picks, few_times, st.just("")),
        st.tuples(st.just("gone"), agent_ids, st.booleans(), picks),
        st.tuples(st.just("over"), st.integers(1, 9)),
    ),
    min_size=20,
    max_size=60,
)


@given(st.sampled_from(sorted(POLICIES)), queues, rules, some_needs, some_profiles, steps)
@settings(max_examples=250, deadline=None)
def test_index_and_linear_scan_agree(
    policy: str,
    queues: dict[str, QueueState],
    rules: dict[str, ClientRules],
    needs: list[Need],
    profiles: list[Profile],
    steps: list[tuple],  # type: ignore[type-arg]
) -> None:
    shares = Shares(rules, queues, RESTRICTED)
    index = Matching(policy, queues, shares, RESTRICTED)
    linear = LinearMatching(policy, queues, shares, RESTRICTED)
    now = 200 * SECOND
    for step in steps:
        for subject in (index, linear):
            match step:
                case ("call", number, pick, queued_at):
                    subject.add_call(f"call-{number}", needs[pick % len(needs)], queued_at)
                case ("over", number):
                    subject.remove_call(f"call-{number}")
                case ("agent", agent_id, pick, idle_since, client):
                    who = profiles[pick % len(profiles)]
                    shares.put(agent_id, who.skills, who.groups, client)
                    subject.add_agent(agent_id, who, idle_since)
                case ("gone", agent_id, works, pick):
                    who = profiles[pick % len(profiles)]
                    shares.put(agent_id, who.skills if works else None, who.groups, "bank")
                    subject.drop_agent(agent_id)
        now += SECOND
        for need in needs:
            asked = index.agent_for(need, now - 30 * SECOND, now)
            assert asked == linear.agent_for(need, now - 30 * SECOND, now)
            assert index.has_agent(need) == linear.has_agent(need) == (asked is not None)
            check(asked)
        for agent_id in [*linear.agents, "nobody"]:
            told = index.call_for(agent_id, now)
            assert told == linear.call_for(agent_id, now)
            check(told)
        assert index.next_match(now) == linear.next_match(now)


def check(choice: Choice | None) -> None:
    if choice is not None:
        scores = [score for _, score in choice.best]
        assert choice.best[0][0] == choice.id
        assert scores == sorted(scores, reverse=True), "greater is first"
        assert len(choice.best) <= min(3, choice.looked_at)


def need(
    skill_set: Skills = (),
    queue: str = "acme/q",
    groups: Groups = (),
    any_group: bool = False,
    channel: int = Channel.VOICE,
    priority: int = 0,
    only_agent: str = "",
) -> Need:
    return Need(queue, skill_set, groups, any_group, channel, priority, only_agent)


def profile(skill_set: Skills = (), groups: Groups = (), load: int = 0) -> Profile:
    return Profile(skill_set, groups, VOICE | CHAT, load)


def entries(index: Matching) -> int:
    """How much is kept, living or not."""
    tiers = [tier for side in index._sides.values() for tier in side._tiers.values()]
    return sum(map(len, tiers)) + sum(len(line.calls) for line in index._lines.values())


def test_memory_follows_who_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither taken entries nor needs and profiles that come from outside are kept without end."""
    for name in ("LINES_KEPT", "SIDES_KEPT", "REACHES_KEPT"):
        monkeypatch.setattr(matching, name, 20)
    index, linear = Matching(), LinearMatching()
    rng = random.Random(7)
    for subject in (index, linear):
        subject.add_agent("stays", profile((("s1", 3),)), 0)
        for number in range(30):
            subject.add_call(f"waits{number}", need((("s2", 5),), priority=number), number)
    for time in range(3_000):
        asked = need(((f"s{rng.randrange(500)}", rng.randint(1, 5)),), priority=rng.randrange(3))
        assert index.agent_for(asked, time, time) == linear.agent_for(asked, time, time)
        index.add_call(f"c{time}", asked, time)
        index.remove_call(f"c{time}")
        index.add_agent("comes", profile(asked.skills, load=time % 7), time)
        index.drop_agent("comes")
    assert index.call_for("stays", 0) is None
    assert len(index._lines) <= 60
    assert len(index._sides) <= 20
    assert len(index._reaches) <= 20
    assert sum(len(reach.tiers) for reach in index._reaches.values()) <= 20 * 20
    assert entries(index) < 500
    assert len(index._line_of) == len(index._calls) == 30
    assert len(index._reach_of) <= 2
    assert not index._only


def test_rows_are_swept() -> None:
    index = Matching()
    index.add_call("waits", need(), 0)
    for number in range(10):
        index.add_agent(f"stays{number}", profile(load=1), number)
    for time in range(20_000):
        # In order, and late; never looked at.
        index.add_agent("comes", profile(), 10 + time if time % 2 else time % 10)
        index.add_call("comes", need(), 10 + time if time % 2 else time % 10)
    assert entries(index) < 1_000


def test_lines_of_one_agent() -> None:
    index = Matching()
    for number in range(100):
        index.add_call(f"c{number}", need(only_agent=f"a{number}"), number)
    index.add_agent("a7", profile(groups=("apart",)), 0)
    told = index.call_for("a7", 1_000)
    assert told is not None
    assert (told.id, told.looked_at) == ("c7", 1)
    index.remove_call("c7")
    assert index.call_for("a7", 1_000) is None
    assert "a7" not in index._only


def test_the_same_again_changes_nothing() -> None:
    index = Matching()
    index.agent_for(need(), 0, 0)
    for _ in range(5):
        index.add_agent("ann", profile(), 3)
    assert entries(index) == 1
    index.drop_agent("ann")
    index.drop_agent("ann")
    index.remove_call("never there")
    assert index.agent_for(need(), 0, 5) is None


def test_answers_do_not_depend_on_what_was_there_before() -> None:
    """The explanation too: a restored pool says the same as the one that went on."""
    old, fresh = Matching(), Matching()
    for time in range(200):
        for number in range(5):
            old.add_agent(f"a{number}", profile((("fr", 1 + number % 2),)), time + number)
            if time % 3 == 0:
                old.agent_for(need((("fr", 1),)), 0, time)
    for number in range(5):
        fresh.add_agent(f"a{number}", profile((("fr", 1 + number % 2),)), 199 + number)
    for asked in (need((("fr", 1),)), need((("fr", 2),)), need()):
        assert old.agent_for(asked, 0, 300) == fresh.agent_for(asked, 0, 300)


@pytest.mark.parametrize(
    ("agent", "asked", "may"),
    [
        (profile(), need(), True),
        (profile((("fr", 3),)), need((("fr", 3),)), True),
        (profile((("fr", 2),)), need((("fr", 3),)), False),
        (profile((("de", 5),)), need((("fr", 1),)), False),
        (profile(), need(channel=Channel.EMAIL), False),
        (profile(groups=("north",)), need(), True),
        (profile(groups=("apart", "north")), need(), False),
        (profile(groups=("apart",)), need(any_group=True), True),
        (profile(groups=("apart",)), need(groups=("apart", "west")), True),
        (profile(groups=("apart", "north")), need(groups=("north",)), True),
        (profile(groups=("south",)), need(groups=("north",)), False),
        (profile(), need(groups=("north",)), False),
        (profile(groups=("apart",)), need(only_agent="ann"), True),
        (profile(groups=("south",)), need(groups=("north",), only_agent="ann"), True),
        (profile(), need(only_agent="bob"), False),
        (profile((("fr", 2),)), need((("fr", 3),), only_agent="ann"), False),
    ],
)
def test_who_can(agent: Profile, asked: Need, may: bool) -> None:
    assert can("ann", agent, asked, RESTRICTED) is may
    index = Matching(restricted=RESTRICTED)
    index.add_agent("ann", agent, 0)
    assert (index.agent_for(asked, 0, 0) is not None) is may
    index.add_call("c", asked, 0)
    assert (index.call_for("ann", 0) is not None) is may
