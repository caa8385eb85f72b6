"""Who goes first by each policy: the order, and what is said of it."""

import pytest

from services.routing.configuration import ClientRules, Queue, Skills
from services.routing.matching import Matching, Need, Profile
from services.routing.policies import DEFAULT, POLICIES
from services.routing.policies.affine import PRIORITY
from services.routing.policies.service_level import STARVED
from services.routing.queues import Level, QueueState
from services.routing.shares import Shares

SECOND = 1_000_000
NOW = 100_000 * SECOND
SHORT = Queue("short", target_seconds=20)
LONG = Queue("long", target_seconds=120)


def state(key: str, config: Queue, share: float = 1.0) -> QueueState:
    return QueueState(key, config, config_version=1, level=Level(100.0, 100.0 * share))


def orders(policy: str, queue: Queue, agents: dict[str, tuple[Skills, int, int]]) -> Matching:
    """agents: skills, calls in hand, seconds idle."""
    index = Matching(policy, {"acme/q": state("acme/q", queue)})
    for agent_id, (skills, load, idle) in agents.items():
        index.add_agent(agent_id, Profile(skills, (), 2, load), NOW - idle * SECOND)
    return index


def test_the_default_is_there() -> None:
    assert set(POLICIES) == {DEFAULT, "affine", "service-level"}


FR: Skills = (("fr", 3),)
FR_DE: Skills = (("de", 1), ("fr", 3))


@pytest.mark.parametrize(
    ("policy", "agents", "best", "rule"),
    [
        (
            "longest-idle",
            {"ann": (FR, 0, 10), "bob": (FR, 0, 30), "cat": (FR, 0, 20), "dan": (FR, 0, 5)},
            [("bob", 30.0), ("cat", 20.0), ("ann", 10.0)],
            "longest idle of 3 looked at",
        ),
        ("longest-idle", {"ann": (FR, 2, 1)}, [("ann", 1.0)], "the only one who can take it"),
        (
            "longest-idle",
            {"bob": (FR, 0, 10), "ann": (FR, 0, 10)},
            [("ann", 10.0), ("bob", 10.0)],
            "longest idle of 2 looked at",
        ),
        (
            "longest-idle",
            {"ann": (FR, 1, 90), "bob": (FR, 0, 10), "cat": (FR, 2, 80)},
            [("bob", 0.0), ("ann", -1.0), ("cat", -2.0)],
            "fewest calls in hand of 3 looked at",
        ),
        (
            # Preferred: German at level 3. Of those with nothing in hand, ann lacks 3, bob 2.
            "longest-idle",
            {"ann": (FR, 0, 90), "bob": (FR_DE, 0, 10), "cat": (FR_DE, 1, 80)},
            [("bob", -2.0), ("ann", -3.0)],
            "best in the preferred skills of 3 looked at",
        ),
        (
            "affine",
            {"ann": (FR_DE, 0, 10), "bob": (FR_DE, 0, 30)},
            [("bob", 30.0 - 120.0), ("ann", 10.0 - 120.0)],
            "greatest weight of 2 looked at",
        ),
        (
            # A level of a preferred skill is worth a minute, a call in hand ten.
            "affine",
            {"ann": (FR, 0, 75), "bob": (FR_DE, 0, 10), "cat": (FR_DE, 1, 621)},
            [("cat", 621.0 - 600 - 120), ("ann", 75.0 - 180), ("bob", 10.0 - 120)],
            "greatest weight of 3 looked at",
        ),
        (
            "service-level",
            {"ann": (FR_DE, 0, 90), "bob": (FR, 0, 10), "cat": (FR, 0, 5), "dan": (FR, 1, 99)},
            [("bob", 10.0), ("cat", 5.0)],
            "longest idle of 3 looked at",
        ),
        (
            "service-level",
            {"ann": (FR_DE, 0, 90), "bob": (FR, 0, 10)},
            [("bob", -1.0), ("ann", -2.0)],
            "fewest skills of 2 looked at",
        ),
    ],
)
def test_agents(
    policy: str,
    agents: dict[str, tuple[Skills, int, int]],
    best: list[tuple[str, float]],
    rule: str,
) -> None:
    queue = Queue("q", preferred_skills=(("de", 3),))
    index = orders(policy, queue, agents)
    choice = index.agent_for(Need("acme/q", FR, (), False, 1, 0, ""), NOW, NOW)
    assert choice is not None
    assert (choice.id, list(choice.best), choice.rule) == (best[0][0], best, rule)
    assert choice.looked_at == min(3, len(agents))


def waiting(policy: str, *calls: tuple[QueueState, int, int], behind: str = "") -> Matching:
    """calls: the queue, the priority, seconds waited. Ann has been idle for ten seconds."""
    shares = Shares({behind: ClientRules(share=0.5)} if behind else {})
    shares.put("ann", (), (), "")
    index = Matching(policy, {queue.key: queue for queue, _, _ in calls}, shares)
    for queue, priority, waited in calls:
        need = Need(queue.key, (), (), False, 1, priority, "")
        index.add_call(f"{queue.key}-{priority}-{waited}", need, NOW - waited * SECOND)
    index.add_agent("ann", Profile((), (), 2, 0), NOW - 10 * SECOND)
    return index


A = state("acme/q", SHORT)
B = state("bank/q", SHORT)
A_LOW = state("acme/q", SHORT, share=0.5)
B_LONG = state("bank/q", LONG)


@pytest.mark.parametrize(
    ("policy", "calls", "first", "rule"),
    [
        ("longest-idle", [(A, 0, 5), (A, 0, 9)], "acme/q-0-9", "the first of the only line"),
        ("longest-idle", [(A, 0, 50), (A, 1, 5)], "acme/q-1-5", "highest priority of 2 lines"),
        ("longest-idle", [(A, 0, 50), (B, 0, 60)], "bank/q-0-60", "longest wait of 2 lines"),
        ("longest-idle", [(B, 0, 50), (A, 0, 50)], "acme/q-0-50", "longest wait of 2 lines"),
        ("affine", [(A, 0, 50), (B, 0, 60)], "bank/q-0-60", "greatest weight of 2 lines"),
        ("affine", [(A, 0, 50), (A, 1, 5)], "acme/q-1-5", "greatest weight of 2 lines"),
        ("affine", [(A, 0, 400), (A, 1, 5)], "acme/q-0-400", "greatest weight of 2 lines"),
        (
            # A call that can still be met before one that is lost, and the one with less time.
            "service-level",
            [(A, 0, 21), (B_LONG, 0, 100)],
            "bank/q-0-100",
            "most urgent for its target of 2 lines",
        ),
        (
            "service-level",
            [(A, 0, 15), (B_LONG, 0, 100)],
            "acme/q-0-15",
            "most urgent for its target of 2 lines",
        ),
        (
            # What is lost comes back as its wait grows: at five targets before any on time.
            "service-level",
            [(A, 0, 101), (B_LONG, 0, 120)],
            "acme/q-0-101",
            "most urgent for its target of 2 lines",
        ),
        (
            # A queue below its target share: three times as urgent at thirty points.
            "service-level",
            [(A_LOW, 0, 5), (B, 0, 15)],
            "acme/q-0-5",
            "most urgent for its target of 2 lines",
        ),
        (
            "service-level",
            [(A, 0, 15), (A, 1, 5)],
            "acme/q-1-5",
            "highest priority of 2 lines",
        ),
    ],
)
def test_calls(
    policy: str, calls: list[tuple[QueueState, int, int]], first: str, rule: str
) -> None:
    index = waiting(policy, *calls)
    choice = index.call_for("ann", NOW)
    assert choice is not None
    assert (choice.id, choice.rule) == (first, rule)
    found = index.next_match(NOW)
    assert found is not None
    assert found[0] == first


@pytest.mark.parametrize("policy", sorted(POLICIES))
def test_a_client_behind_its_share_goes_first(policy: str) -> None:
    index = waiting(policy, (A, 0, 50), (B, 0, 5), behind="bank")
    choice = index.call_for("ann", NOW)
    assert choice is not None
    assert (choice.id, choice.rule) == ("bank/q-0-5", "client behind its share of 2 lines")
    assert choice.best == (("bank/q-0-5", 1.0), ("acme/q-0-50", 0.0))


@pytest.mark.parametrize("policy", ["longest-idle", "service-level"])
def test_shares_do_not_go_before_priority(policy: str) -> None:
    choice = waiting(policy, (A, 1, 5), (B, 0, 50), behind="bank").call_for("ann", NOW)
    assert choice is not None
    assert choice.id == "acme/q-1-5"


def test_the_weight_of_a_pair() -> None:
    queue = state("acme/q", Queue("q", base_weight=60.0, wait_weight=2.0))
    choice = waiting("affine", (queue, 2, 30)).call_for("ann", NOW)
    assert choice is not None
    # Ann has been idle for ten seconds.
    assert choice.best == (("acme/q-2-30", 60.0 + 2.0 * 30 + 2 * PRIORITY + 10),)


def test_penalties_weigh() -> None:
    dear = state("bank/q", Queue("q", target_seconds=20, penalty=3.0))
    choice = waiting("service-level", (A, 0, 15), (dear, 0, 5)).call_for("ann", NOW)
    assert choice is not None
    assert choice.best == (("bank/q-0-5", 3 / 25), ("acme/q-0-15", 1 / 15))


def test_nobody_starves_by_a_penalty() -> None:
    cheap = state("acme/q", Queue("q", target_seconds=20, penalty=0.0))
    dear = state("bank/q", Queue("q", target_seconds=20, penalty=1e6), share=0.0)
    for waited, first in ((20 * STARVED, "bank/q-0-19"), (20 * STARVED + 1, "acme/q-0-201")):
        choice = waiting("service-level", (cheap, 0, waited), (dear, 0, 19)).call_for("ann", NOW)
        assert choice is not None
        assert choice.id == first
