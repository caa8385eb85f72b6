"""What supervisors set counts from the next decision on, and is an event."""

import pytest

from services.routing import commands as c
from services.routing import events as e
from services.routing.configuration import (
    ClientRules,
    Hours,
    Interval,
    Invalid,
    Overflow,
    Queue,
    Step,
    check_client_rules,
    check_queue,
)
from services.routing.engine import Rejected
from services.routing.tests.play import Play, S, kinds, only

CLOSE = Overflow.CLOSE
FRENCH = (("fr", 1),)


def test_queues_have_versions() -> None:
    play = Play()
    first, second = Queue("q"), Queue("q", priority=3)
    assert play.tell(c.ConfigureQueue(first, 0)) == [e.QueueConfigured(1, first)]
    assert play.tell(c.ConfigureQueue(first, 0)) == [], "the same again"
    with pytest.raises(Rejected) as refused:
        play.tell(c.ConfigureQueue(second, 7))
    assert refused.value.field == "expected_version"
    assert play.tell(c.ConfigureQueue(second, 1)) == [e.QueueConfigured(2, second)]
    assert play.tell(c.RemoveQueue("q", 2)) == [e.QueueRemoved(3, "q")]
    assert play.tell(c.RemoveQueue("q")) == []
    rules = ClientRules(vip_customers=("k1",), vip_priority=5)
    assert play.tell(c.ConfigureClient(rules)) == [e.ClientConfigured(1, rules)]
    events = [event for event in play.all if isinstance(event, e.PoolEvent)]
    assert [event.version for event in events] == [1, 2, 3, 4]
    assert {event.stream_id for event in events} == {"pool/p"}


def test_a_policy_must_be_known() -> None:
    with pytest.raises(Rejected) as refused:
        Play().tell(c.ConfigurePool(policy="coin-toss"))
    assert refused.value.field == "policy"
    assert "service-level" in refused.value.reason


def test_less_restriction_lets_who_waits_be_offered_at_once() -> None:
    play = Play()
    play.tell(c.ConfigurePool(restricted_groups=("trainees",)))
    play.agent("tim", groups=("trainees",))
    play.call("c1")
    assert play.offered_to("c1") == ""
    found = play.tell(c.ConfigurePool(), at=play.now + S)
    assert kinds(found) == ["PoolConfigured", "CallOffered", "AgentReserved"]


def test_new_skills_count_at_once() -> None:
    play = Play()
    play.agent("ann", (("de", 1),))
    play.call("c1", skills=(("fr", 2),))
    found = play.tell(c.SetAgentSkills("ann", (("fr", 2),)))
    assert kinds(found) == ["AgentSkillsChanged", "CallOffered", "AgentReserved"]
    play.connect("c1")
    found = play.tell(c.SetAgentSkills("ann", (), ("home",)))
    assert kinds(found) == ["AgentSkillsChanged"], "the call goes on"
    play.end("c1")
    play.call("c2", skills=(("fr", 2),))
    play.wait(30)
    assert play.offered_to("c2") == ""


def test_vips_go_first_at_their_client_only() -> None:
    play = Play()
    play.tell(c.ConfigureClient(ClientRules(vip_customers=("k9",), vip_priority=5)))
    play.call("c1", customer="k1")
    queued = only(play.call("c2", customer="k9"), e.CallQueued)
    assert queued.priority == 5
    assert only(play.call("c3", client="globex", customer="k9"), e.CallQueued).priority == 0
    play.agent("ann")
    assert play.offered_to("c2") == "ann"


def test_who_served_the_customer_last_is_worth_waiting_for() -> None:
    play = Play()
    play.queue("q", sticky_days=2, sticky_seconds=15)
    play.agent("ann")
    play.call("c1", customer="k1")
    play.connect("c1")
    play.agent("bob")
    play.call("c2", customer="k1")
    assert play.offered_to("c2") == "", "ann has been k1's, and may soon be free"
    play.call("c3", customer="k2")
    assert play.offered_to("c3") == "bob"
    play.wait(5)
    play.end("c1")
    found = play.tell(c.MakeAgentAvailable("ann"))
    assert play.offered_to("c2") == "ann"
    assert "CallRelaxed" not in kinds(found)
    play.connect("c2")
    play.tell(c.ReportCallAbandoned("c3"))
    play.call("c4", customer="k1")
    found = play.wait(15)
    assert only(found, e.CallRelaxed).what == "no longer only agent ann"
    assert play.offered_to("c4") == "bob"
    play.tell(c.ReportCallAbandoned("c4"))
    play.wait(3 * 86_400)
    play.call("c5", customer="k1")
    assert play.offered_to("c5") == "bob", "too long ago"


def test_a_floor_keeps_agents_for_a_client() -> None:
    play = Play()
    play.queue("q", "acme", required_skills=(("acme", 1),))
    play.queue("q", "globex", required_skills=(("globex", 1),))
    play.tell(c.ConfigureClient(ClientRules(floor=1)), "acme")
    both = (("acme", 1), ("globex", 1))
    play.agent("ann", both)
    assert kinds(play.call("g1", client="globex")) == ["CallQueued"], "ann is kept for acme"
    play.agent("bob", both)
    assert play.offered_to("g1", "globex") != "", "now one is left for acme"
    play.connect("g1", "globex")
    assert kinds(play.call("g2", client="globex")) == ["CallQueued"]
    assert play.call("a1")[-1].offer_id != ""
    assert play.offered_to("a1") != ""


def test_a_client_below_its_share_goes_first() -> None:
    play = Play()
    play.tell(c.ConfigureClient(ClientRules(share=0.5)), "acme")
    for name in ("ann", "bob", "cat"):
        play.agent(name)
    for number in (1, 2, 3):
        play.call(f"g{number}", client="globex")
        play.connect(f"g{number}", "globex")
    play.call("g4", client="globex")
    play.wait(30)
    play.call("a1")
    play.end("g1", "globex")
    play.tell(c.MakeAgentAvailable("ann"))
    assert play.offered_to("a1") == "ann", "acme has nobody of three, though g4 has waited longer"


def test_the_estimate_follows_how_fast_the_queue_moves() -> None:
    play = Play()
    assert only(play.call("c00"), e.CallQueued).estimated_wait is None
    for number in range(1, 30):
        play.call(f"c{number:02}")
    play.agent("ann")
    for number in range(20):
        play.connect(f"c{number:02}")
        play.wait(9)
        play.end(f"c{number:02}")
        play.wait(1)
        play.tell(c.MakeAgentAvailable("ann"))
    estimate = only(play.call("next"), e.CallQueued).estimated_wait
    # Nine wait before it, and one goes every ten seconds.
    assert estimate is not None
    assert 95 * S <= estimate <= 105 * S


def test_the_estimate_counts_who_goes_first_and_who_is_idle() -> None:
    play = Play()
    for number in range(20):
        play.call(f"c{number:02}", skills=FRENCH)
    play.agent("ann")
    for number in range(10):
        play.connect(f"c{number:02}")
        play.wait(9)
        play.end(f"c{number:02}")
        play.wait(1)
        play.tell(c.MakeAgentAvailable("ann"))
    vip = only(play.call("vip", priority=5, skills=FRENCH), e.CallQueued)
    assert vip.estimated_wait == round(101 * S / 11), "one second, and ten times ten; nobody first"
    play.agent("bob", (("de", 1),))
    assert only(play.call("other", skills=(("de", 1),)), e.CallQueued).estimated_wait == 0, (
        "bob is idle"
    )


@pytest.mark.parametrize(
    ("queue", "field"),
    [
        (Queue(""), "queue_id"),
        (Queue("q", required_skills=(("fr", 9),)), "required_skills"),
        (Queue("q", preferred_skills=(("fr", 1), ("fr", 2))), "preferred_skills"),
        (Queue("q", target_seconds=0), "target_seconds"),
        (Queue("q", target_share=1.1), "target_share"),
        (Queue("q", penalty=float("nan")), "penalty"),
        (Queue("q", groups=("b", "a")), "groups"),
        (Queue("q", hours=Hours("Mars/Base")), "hours.zone"),
        (Queue("q", hours=Hours("UTC", (Interval(8, 0, 10),))), "hours.weekly[0].weekday"),
        (Queue("q", hours=Hours("UTC", (Interval(1, 600, 600),))), "hours.weekly[0].closes"),
        (Queue("q", hours=Hours("UTC", (), ("2026-02-30",))), "hours.holidays"),
        (Queue("q", hours=Hours("UTC", (), ("2026-02-03", "2026-02-02"))), "hours.holidays"),
        (Queue("q", when_closed=Step()), "when_closed.action"),
        (Queue("q", when_closed=Step(0, Overflow.RELAX_SKILL, "fr")), "when_closed.action"),
        (Queue("q", when_full=Overflow.OFFER_CALLBACK), "when_full"),
        (
            Queue("q", steps=(Step(5, Overflow.CLOSE), Step(4, Overflow.CLOSE))),
            "steps[1].after_seconds",
        ),
        (Queue("q", steps=(Step(5, Overflow.MOVE_TO_QUEUE),)), "steps[0].queue_id"),
        (Queue("q", steps=(Step(5, Overflow.MOVE_TO_POOL, queue_id="q"),)), "steps[0].pool_id"),
        (Queue("q", steps=(Step(1, CLOSE),) * 21), "steps"),
        (Queue("q", sticky_days=-1), "sticky_days"),
        (Queue("q", callback_attempts=0), "callback_attempts"),
    ],
)
def test_queues_that_cannot_be(queue: Queue, field: str) -> None:
    with pytest.raises(Invalid) as refused:
        check_queue(queue)
    assert refused.value.field == field


def test_rules_that_cannot_be() -> None:
    for rules, field in (
        (ClientRules(share=1.5), "share"),
        (ClientRules(floor=-1), "floor"),
        (ClientRules(vip_customers=("a b",)), "vip_customers"),
    ):
        with pytest.raises(Invalid) as refused:
            check_client_rules(rules)
        assert refused.value.field == field


def test_a_call_that_is_relaxed_to_somebody_has_waited_all_the_same() -> None:
    play = Play()
    relax = Step(30, Overflow.RELAX_SKILL, skill="fr")
    play.queue("q", required_skills=(("fr", 5),), steps=(relax,))
    play.agent("ann")
    play.call("c1")
    assert kinds(play.wait(30)) == ["CallRelaxed", "CallOffered", "AgentReserved"]
    pace = play.pool.queue("acme/q").pace
    assert (pace.began, pace.gap, pace.at_once) == (0, 30.0 * S, False)


def test_a_floor_that_is_met_again_frees_agents_for_the_first_by_priority() -> None:
    play = Play()
    play.queue("q", "acme")
    play.tell(c.ConfigureClient(ClientRules(floor=1)), "acme")
    play.agent("ann")
    play.agent("bob")
    play.call("g1", client="globex")
    assert play.offered_to("g1", "globex") == "ann"
    play.call("g2", client="globex", priority=9)
    assert play.offered_to("g2", "globex") == "", "bob is kept for acme"
    play.tell(c.ReportConnectionLost("ann"))
    assert play.offered_to("g2", "globex") == "bob", "and not for g1, whose offer is withdrawn"


def test_shares_are_counted_before_any_of_those_who_became_free_is_given_a_call() -> None:
    play = Play()
    play.tell(c.ConfigurePool(wrap_up_seconds=-1))
    play.tell(c.ConfigureClient(ClientRules(share=0.5)), "acme")
    play.agent("ann")
    play.call("c1")
    play.connect("c1")
    play.agent("sup", groups=("supervisors",))
    play.tell(c.RequestHelp("c1", "ann"))
    play.tell(c.AcceptOffer("p:2", "sup"))
    play.call("g1", client="globex")
    play.wait(5)
    play.call("a1")
    found = play.end("c1")
    assert only(found[:5], e.CallOffered).agent_id == "sup"
    assert play.offered_to("a1") == "sup", "nobody serves acme any more"
    assert play.offered_to("g1", "globex") == "ann"


def test_of_two_settings_the_later_one_holds_in_whatever_order_they_come() -> None:
    play = Play()
    old, new = Queue("q", priority=1), Queue("q", priority=2)
    play.tell(c.ConfigureQueue(old), at=play.now)
    play.tell(c.ConfigureQueue(new), at=play.now + 1)
    assert play.tell(c.ConfigureQueue(old), at=play.now) == [], "a repeat"
    assert play.tell(c.RemoveQueue("q"), at=play.now) == []
    assert play.pool.queue("acme/q").config == new
    removed = play.tell(c.RemoveQueue("q"), at=play.now + 2)
    assert removed == [e.QueueRemoved(3, "q")]
    assert play.tell(c.ConfigureQueue(new), at=play.now + 1) == []
    named = c.ConfigureQueue(new, expected_version=3)
    assert play.tell(named, at=play.now + 1) == [e.QueueConfigured(4, new)], "of that very version"
    few, many = ClientRules(floor=1), ClientRules(floor=9)
    play.tell(c.ConfigureClient(few), at=play.now)
    play.tell(c.ConfigureClient(many), at=play.now + 1)
    assert play.tell(c.ConfigureClient(few), at=play.now) == []
    assert play.pool.clients["acme"] == many
    play.agent("ann", (("fr", 1),))
    now = play.now + S
    assert kinds(play.tell(c.SetAgentSkills("ann", (("fr", 2),)), at=now)) == ["AgentSkillsChanged"]
    play.tell(c.SetAgentSkills("ann", (("fr", 3),)), at=now + 1)
    assert play.tell(c.SetAgentSkills("ann", (("fr", 2),)), at=now) == []
    assert kinds(play.tell(c.LogInAgent("ann", (("fr", 1),), site="home"), at=now)) == [
        "AgentLoggedIn"
    ]
    assert play.who("ann").skills == (("fr", 3),)


def test_a_removed_queue_makes_nobody_able_to_serve_its_client() -> None:
    play = Play()
    play.queue("q", required_skills=(("bank", 1),))
    play.queue("old")
    play.tell(c.ConfigureClient(ClientRules(floor=1)))
    play.tell(c.RemoveQueue("old"), at=play.now + 1)
    play.agent("ann", (("bank", 1),))
    play.agent("bob")
    play.call("g1", client="globex", skills=(("bank", 1),))
    assert play.offered_to("g1", "globex") == "", "bob is no help to acme"
