"""What customers and agents of a play do on their own, and in answer to routing."""

import heapq
from dataclasses import replace
from itertools import count

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from relaisctl.replay import shift
from relaisctl.replay.live import (
    SECOND,
    Abandoned,
    AgentReport,
    Arrived,
    Available,
    CallReport,
    Connected,
    Decision,
    Ended,
    Habits,
    Kind,
    LoggedIn,
    LoggedOut,
    OfferAccepted,
    Play,
    Queued,
    Report,
    ScriptedAgent,
    ScriptedCall,
    Skills,
)

T0 = 1_000_000 * SECOND
CALL = ScriptedCall(
    client_id="acme", call_id="c1", line="l1", customer_id="", after=10 * SECOND, menu=5 * SECOND,
    queue_id="q", priority=1, required_skills=(("s", 1),), patience=30 * SECOND,
    service=100 * SECOND,
)  # fmt: skip
ANNA = ScriptedAgent("anna", (("s", 3),))
STEADY = Habits(ring=0, wrap_up=0, no_answer=0.0)


def at(seconds: float) -> int:
    return T0 + int(seconds * SECOND)


def decided(kind: Kind, seconds: float, version: int, stream: str = "acme/c1") -> Decision:
    return Decision(stream, version, at(seconds), kind, "anna", "o1")


def play(call: ScriptedCall = CALL, habits: Habits = STEADY) -> Play:
    return Play([call], [ANNA], T0, habits, seed=1)


def seen(reports: list[Report]) -> list[tuple[float, object]]:
    return [((report.at - T0) / SECOND, report.what) for report in reports]


def test_a_call_that_is_answered() -> None:
    it = play()
    first = it.advance(at(0))
    assert [report.what for report in first] == [LoggedIn((("s", 3),)), Available()]
    assert first[0].at < first[1].at
    assert seen(it.advance(at(20))) == [
        (10, Arrived("l1", "")),
        (15, Queued("q", 1, (("s", 1),))),
    ]
    it.hear(decided(Kind.CALL_OFFERED, 15, 3))
    assert seen(it.advance(at(21))) == [(15, OfferAccepted("o1"))]
    it.hear(decided(Kind.CALL_ASSIGNED, 16, 4))
    assert seen(it.advance(at(22))) == [(16, Connected("anna"))]
    it.hear(decided(Kind.CALL_CONNECTED, 16, 5))
    assert (it.tally.talking, it.tally.answered, it.tally.open) == (1, 1, 1)
    assert seen(it.advance(at(200))) == [(116, Ended())]
    it.hear(decided(Kind.CALL_ENDED, 116, 6))
    assert it.tally.open == 0
    assert seen(it.advance(at(201))) == [(201, LoggedOut("the play is over"))]
    assert not it.finished
    it.hear(decided(Kind.AGENT_LOGGED_OUT, 201, 9, "agent/anna"))
    assert it.finished
    assert it.advance(at(999)) == []


def test_patience_ends_in_the_queue() -> None:
    it = play()
    it.advance(at(44))
    assert seen(it.advance(at(60))) == [(45, Abandoned())]
    it.hear(decided(Kind.CALL_ASSIGNED, 44, 4))  # too late: nobody is there to be connected
    assert it.advance(at(61)) == []
    it.hear(decided(Kind.CALL_ABANDONED, 45, 5))
    assert (it.tally.abandoned, it.tally.open) == (1, 0)


def test_nobody_hangs_up_between_acceptance_and_connection() -> None:
    it = play()
    it.advance(at(20))
    it.hear(decided(Kind.CALL_OFFERED, 15, 3))
    it.advance(at(21))
    assert it.advance(at(60)) == []


def test_patience_counts_again_when_the_accepted_offer_was_gone() -> None:
    it = play()
    it.advance(at(20))
    it.hear(decided(Kind.CALL_OFFERED, 15, 3))
    it.advance(at(60))
    it.hear(decided(Kind.OFFER_GONE, 50, 4))
    assert seen(it.advance(at(60))) == [(50, Abandoned())]


def test_an_offer_that_is_gone_is_not_accepted() -> None:
    it = play(habits=replace(STEADY, ring=10**9 * SECOND))
    it.advance(at(20))
    it.hear(decided(Kind.CALL_OFFERED, 15, 3))
    it.hear(decided(Kind.OFFER_GONE, 35, 4))
    assert all(not isinstance(report.what, OfferAccepted) for report in it.advance(at(10**9)))


def test_an_agent_who_does_not_answer_comes_back_after_a_pause() -> None:
    it = play(habits=replace(STEADY, no_answer=1.0, pause=60 * SECOND))
    it.advance(at(20))
    it.hear(decided(Kind.CALL_OFFERED, 15, 3))
    assert it.advance(at(21)) == []
    it.hear(decided(Kind.AGENT_STOPPED_RESPONDING, 35, 4, "agent/anna"))
    assert (95, Available()) in seen(it.advance(at(100)))


def test_a_customer_leaves_the_menu() -> None:
    it = play(replace(CALL, queue_id=""))
    assert seen(it.advance(at(20)))[2:] == [(10, Arrived("l1", "")), (15, Ended())]
    it.hear(decided(Kind.CALL_ENDED, 15, 2))
    assert (it.tally.left_before_queue, it.tally.open) == (1, 0)


@pytest.mark.parametrize("again", [3, 2, 1])
def test_a_decision_that_was_heard_before_changes_nothing(again: int) -> None:
    it = play()
    it.advance(at(20))
    it.hear(decided(Kind.CALL_OFFERED, 15, 3))
    it.advance(at(21))
    it.hear(decided(Kind.CALL_OFFERED, 15, again))
    assert it.advance(at(22)) == []


def test_calls_and_agents_of_others_are_ignored() -> None:
    it = play()
    it.advance(at(20))
    it.hear(Decision("other/c1", 3, at(15), Kind.CALL_OFFERED, "bert", "o1"))
    it.hear(Decision("agent/bert", 1, at(15), Kind.AGENT_LOGGED_OUT, "bert"))
    assert it.advance(at(21)) == []


class Desk:
    """The least that routing can do: offers at once, by hand, with delays and repeats."""

    def __init__(self, delay: int, repeats: int) -> None:
        self.delay, self.repeats = delay, repeats
        self.numbers = count(1)
        self.idle: list[str] = []
        self.waiting: list[CallReport] = []
        self.offers: dict[str, tuple[CallReport, str]] = {}
        self.state: dict[str, str] = {}
        self.talks: dict[str, str] = {}
        self.versions: dict[str, int] = {}
        self.said: list[tuple[int, int, Decision]] = []

    def say(self, now: int, stream: str, kind: Kind, agent: str = "", offer: str = "") -> None:
        self.versions[stream] = version = self.versions.get(stream, 0) + 1
        decision = Decision(stream, version, now, kind, agent, offer)
        for turn in range(self.repeats):
            heapq.heappush(self.said, (now + self.delay * (turn + 1), next(self.numbers), decision))

    def take(self, report: Report) -> None:
        now, what = report.at, report.what
        if isinstance(report, AgentReport):
            agent = report.agent_id
            if isinstance(what, Available):
                self.idle.append(agent)
            elif isinstance(what, OfferAccepted) and what.offer_id in self.offers:
                call, _ = self.offers.pop(what.offer_id)
                if self.state.get(call.call_id) == "offered":
                    self.state[call.call_id] = "assigned"
                    self.say(now, stream(call), Kind.CALL_ASSIGNED, agent, what.offer_id)
            elif isinstance(what, LoggedOut):
                self.say(now, f"agent/{agent}", Kind.AGENT_LOGGED_OUT, agent)
        elif isinstance(what, Queued):
            self.state[report.call_id] = "waiting"
            self.waiting.append(report)
            self.say(now, stream(report), Kind.CALL_QUEUED)
        elif isinstance(what, Abandoned):
            self.waiting = [call for call in self.waiting if call.call_id != report.call_id]
            for offer, (call, agent) in list(self.offers.items()):
                if call.call_id == report.call_id:
                    del self.offers[offer]
                    self.idle.append(agent)
            assert self.state[report.call_id] != "connected"
            self.state[report.call_id] = "over"
            self.say(now, stream(report), Kind.CALL_ABANDONED)
        elif isinstance(what, Connected):
            assert self.state[report.call_id] == "assigned"
            self.state[report.call_id] = "connected"
            self.talks[report.call_id] = what.agent_id
            self.say(now, stream(report), Kind.CALL_CONNECTED, what.agent_id)
        elif isinstance(what, Ended):
            self.state[report.call_id] = "over"
            self.say(now, stream(report), Kind.CALL_ENDED)
            if agent := self.talks.pop(report.call_id, ""):
                self.say(now, f"agent/{agent}", Kind.AGENT_WRAPPING_UP, agent)
        while self.idle and self.waiting:
            call, agent = self.waiting.pop(0), self.idle.pop(0)
            self.state[call.call_id] = "offered"
            self.say(now, stream(call), Kind.CALL_OFFERED, agent, offer := f"o{next(self.numbers)}")
            self.offers[offer] = (call, agent)


def stream(report: CallReport) -> str:
    return f"{report.client_id}/{report.call_id}"


@settings(max_examples=10, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(st.integers(1, 3), st.integers(1, 40), st.integers(1, 3), st.integers(1, 60))
def test_a_whole_shift_comes_to_its_end(seed: int, delay_s: int, repeats: int, step_s: int) -> None:
    calls, agents = shift.calls(seed, 20, "r"), shift.agents("r")[:12]
    it = Play(calls, agents, T0, replace(Habits(), no_answer=0.0), seed)
    desk = Desk(delay_s * SECOND, repeats)
    now = T0
    while not it.finished:
        now += step_s * SECOND
        assert now < T0 + 10**5 * SECOND
        for report in it.advance(now):
            assert report.at <= now
            desk.take(report)
        while desk.said and desk.said[0][0] <= now:
            it.hear(heapq.heappop(desk.said)[2])
    tally = it.tally
    assert tally.open == tally.talking == tally.in_queue == 0
    assert tally.answered + tally.abandoned + tally.left_before_queue == len(calls)
    assert tally.answered > 0


def test_a_shift_is_the_same_for_the_same_seed_and_another_for_another() -> None:
    assert shift.calls(1, 60, "r") == shift.calls(1, 60, "r")
    assert shift.calls(1, 60, "r") != shift.calls(2, 60, "r")
    calls, agents = shift.calls(1, 120, "r"), shift.agents("r")
    assert 600 <= len(calls) <= 1000
    assert 40 <= len(agents) <= 60
    assert len({call.stream_id for call in calls}) == len(calls)
    assert len({agent.agent_id for agent in agents}) == len(agents)
    assert {call.client_id for call in calls} == {c.client_id for c in shift.COMPANIES}


def test_every_queue_of_the_shift_has_agents_who_may_answer() -> None:
    for company in shift.COMPANIES:
        for queue in company.queues:
            able = [agent for agent in shift.agents("r") if masters(agent, queue.required_skills)]
            assert len(able) >= 2, queue.queue_id


def test_what_the_shift_relaxes_lets_more_agents_answer() -> None:
    required = {
        (company.client_id, queue.queue_id): queue.required_skills
        for company in shift.COMPANIES
        for queue in company.queues
    }
    assert {(rules.client_id, rules.queue_id) for rules in shift.queues()} == set(required)
    relaxing = [rules for rules in shift.queues() if rules.relax is not None]
    assert relaxing
    for rules in relaxing:
        assert rules.relax is not None
        asked = required[rules.client_id, rules.queue_id]
        less = tuple((dict(asked) | {rules.relax.skill: rules.relax.level}).items())
        able = [sum(masters(agent, each) for agent in shift.agents("r")) for each in (asked, less)]
        assert able[0] < able[1]


def masters(agent: ScriptedAgent, required: Skills) -> bool:
    own = dict(agent.skills)
    return all(own.get(skill, 0) >= level for skill, level in required)
