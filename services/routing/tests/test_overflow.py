"""Calls that wait too long, or come when nobody is there."""

from datetime import UTC, datetime

import pytest

from services.routing import commands as c
from services.routing import events as e
from services.routing.configuration import Hours, Interval, Overflow, Step
from services.routing.engine import timer_of
from services.routing.tests.play import START, Play, S, kinds, only


def step(after: int, action: Overflow, **values: object) -> Step:
    return Step(after, action, **values)  # type: ignore[arg-type]


def test_a_skill_is_relaxed_and_then_not_asked_for() -> None:
    play = Play()
    play.queue(
        "q",
        required_skills=(("bank", 4), ("fr", 2)),
        steps=(
            step(10, Overflow.RELAX_SKILL, skill="bank", level=2),
            step(20, Overflow.RELAX_SKILL, skill="bank"),
        ),
    )
    play.agent("novice", (("fr", 3),))
    play.agent("able", (("bank", 2), ("fr", 2)))
    assert kinds(play.call("c1")) == ["CallQueued"]
    assert play.wait(9.9) == []
    found = play.wait(0.1)
    relaxed = only(found, e.CallRelaxed)
    assert relaxed == e.CallRelaxed("q", 1, "bank from level 4 to 2", (("bank", 2), ("fr", 2)), ())
    assert only(found, e.CallOffered).agent_id == "able"
    play.connect("c1")
    play.call("c2")
    play.wait(20)
    assert play.offered_to("c2") == "novice"
    assigned = only(play.accept("c2"), e.CallAssigned)
    assert assigned.why.relaxed == ("bank from level 4 to 2", "bank from level 2 to 0")
    assert assigned.why.waited == 20 * S


def test_groups_are_widened_and_trainees_keep_to_simple_queues() -> None:
    play = Play()
    play.tell(c.ConfigurePool(restricted_groups=("trainees",)))
    play.queue("hard", steps=(step(5, Overflow.WIDEN_GROUPS),))
    play.queue("simple", groups=("trainees",))
    play.queue("site", groups=("paris",), steps=(step(5, Overflow.WIDEN_GROUPS, groups=("home",)),))
    play.agent("tim", groups=("trainees",))
    play.agent("hal", groups=("home",))
    play.call("c1", "site")
    assert play.offered_to("c1") == ""
    play.wait(5)
    assert play.offered_to("c1") == "hal"
    play.call("c2", "hard")
    assert play.offered_to("c2") == "", "the trainee may not"
    play.call("c3", "simple")
    assert play.offered_to("c3") == "tim"
    play.connect("c3")
    play.end("c3")
    play.tell(c.MakeAgentAvailable("tim"))
    play.wait(5)
    assert play.offered_to("c2") == "tim", "before nobody at all"


def test_to_another_queue_with_the_place_that_waiting_has_earned() -> None:
    play = Play()
    play.queue(
        "cards",
        required_skills=(("bank", 1),),
        steps=(step(30, Overflow.MOVE_TO_QUEUE, queue_id="all"),),
    )
    play.queue("all", required_skills=(("fr", 1),), priority=2)
    play.call("c1", "cards")
    play.wait(10)
    play.call("c2", "all")
    moved = only(play.wait(20), e.CallMoved)
    assert moved == e.CallMoved("cards", "all", 1, (("fr", 1),), 2)
    found = play.agent("ann")
    assert only(found, e.CallOffered).queue_id == "all"
    assert play.offered_to("c1") == "ann", "it has waited longer than c2"
    connected = only(play.connect("c1"), e.CallConnected)
    assert connected.waited == 31 * S


def test_two_queues_that_point_at_each_other_do_not_spin() -> None:
    play = Play()
    play.queue("a", steps=(step(0, Overflow.MOVE_TO_QUEUE, queue_id="b"),))
    play.queue("b", steps=(step(0, Overflow.MOVE_TO_QUEUE, queue_id="a"),))
    play.call("c1", "a")
    found = play.wait(1)
    assert kinds(found) == ["CallMoved"] * 10
    assert play.of("c1").queue_id == "a"


def test_steps_of_one_moment_have_timers_of_their_own() -> None:
    """A worker that has sent a timer takes the same timer for one that is not done yet."""
    play = Play()
    relax = step(5, Overflow.RELAX_SKILL, skill="fr")
    play.queue("q", steps=(relax, step(5, Overflow.WIDEN_GROUPS)))
    play.call("c1")
    first = timer_of(play.pool, "acme/c1")
    assert first is not None
    play.tell(first.body, at=first.due)
    second = timer_of(play.pool, "acme/c1")
    assert second is not None
    assert (second.due, second.body) == (first.due, first.body)
    assert second != first
    # Nor is the end of waiting for one agent the step that is due then.
    play.queue("r", steps=(step(60, Overflow.WIDEN_GROUPS),))
    play.agent("ann")
    play.agent("bob")
    play.connect("c1")
    play.call("c2", "r")
    play.connect("c2")
    play.tell(c.TransferCall("c2", "bob", to_agent_id="ann"))
    first = timer_of(play.pool, "acme/c2")
    assert first is not None
    play.tell(first.body, at=first.due)
    second = timer_of(play.pool, "acme/c2")
    assert second is not None
    assert second.due == first.due
    assert second != first


def test_to_another_pool_once_however_often_it_is_told() -> None:
    here, there = Play("here"), Play("there")
    here.queue("q", steps=(step(10, Overflow.MOVE_TO_POOL, pool_id="there", queue_id="r"),))
    there.queue("r", required_skills=(("fr", 1),))
    here.call("c1", priority=3)
    moved, sent = here.wait(10)
    assert moved == e.CallMovedToPool("q", "there", "r")
    assert (sent.pool_id, sent.client_id) == ("there", "acme")
    assert sent.body.version == 3
    there.now = here.now
    taken = there.tell(sent.body)
    assert taken == [e.CallTakenOver("here", "there", "r")]
    assert there.of("c1").version == 4, "the stream goes on"
    assert there.tell(sent.body) == []
    there.agent("ann")
    assert there.offered_to("c1") == "ann"
    assert there.of("c1").priority == 3
    # Who reports here need not know.
    (forwarded,) = here.tell(c.ReportCallConnected("c1"))
    assert forwarded == e.Sent("there", "acme", here.now, c.ReportCallConnected("c1"))
    connected = only(there.tell(forwarded.body), e.CallConnected)
    assert connected.waited == 11 * S, "from the first queue's beginning"
    assert here.tell(c.QueueCall("c1", "q")) == [], "a repeat"
    there.end("c1")
    assert there.tell(sent.body) == [], "a late repeat of a call that is over"


def test_there_and_back_again() -> None:
    here, there = Play("here"), Play("there")
    here.queue("q", steps=(step(1, Overflow.MOVE_TO_POOL, pool_id="there", queue_id="q"),))
    there.queue("q", steps=(step(1, Overflow.MOVE_TO_POOL, pool_id="here", queue_id="r"),))
    here.call("c1")
    first = here.wait(1)[1]
    there.now = here.now
    there.tell(first.body)
    second = there.wait(1)[1]
    here.now = there.now
    assert kinds(here.tell(second.body)) == ["CallTakenOver"]
    assert here.of("c1").queue_id == "r"
    assert here.tell(second.body) == []
    assert there.tell(first.body) == []


@pytest.mark.parametrize("action", [Overflow.VOICEMAIL, Overflow.CLOSE])
def test_the_end_of_waiting(action: Overflow) -> None:
    play = Play()
    play.queue("q", steps=(step(15, action),))
    play.call("c1")
    assert play.wait(15) == [e.CallOverflowed(action, "q", START, 15 * S, "waited too long")]
    assert play.pool.calls == {}
    assert play.tell(c.ReportCallAbandoned("c1")) == []


def test_the_longest_wait_is_a_limit_of_its_own() -> None:
    play = Play()
    play.queue(
        "q",
        max_wait_seconds=12,
        when_full=Overflow.VOICEMAIL,
        steps=(step(10, Overflow.OFFER_CALLBACK), step(60, Overflow.CLOSE)),
    )
    play.call("c1")
    assert kinds(play.wait(11)) == ["CallCallbackOffered"]
    (overflowed,) = play.wait(1)
    assert overflowed.action is Overflow.VOICEMAIL
    assert play.pool.queue("acme/q").level.share == 0, "a call that nobody answered"


def test_who_rings_at_the_limit_is_not_taken_away() -> None:
    play = Play()
    play.queue("q", max_wait_seconds=10)
    play.agent("ann")
    play.call("c1")
    assert play.wait(15) == []
    # The offer expires after the limit: then the limit counts.
    assert kinds(play.wait(5)) == ["CallOfferExpired", "AgentStoppedResponding", "CallOverflowed"]


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * S


PARIS = Hours(
    "Europe/Paris",
    tuple(Interval(day, 8 * 60, 18 * 60) for day in range(1, 6)),
    ("2026-07-14",),
)


@pytest.mark.parametrize(
    ("moment", "is_open"),
    [
        ("2026-01-05T06:59:59", False),
        ("2026-01-05T07:00:00", True),
        ("2026-01-05T16:59:59", True),
        ("2026-01-05T17:00:00", False),
        ("2026-07-06T06:00:00", True),  # Summer time.
        ("2026-07-06T16:00:00", False),
        ("2026-07-14T10:00:00", False),  # A holiday.
        ("2026-01-10T10:00:00", False),  # A Saturday.
    ],
)
def test_hours(moment: str, is_open: bool) -> None:
    play = Play()
    play.queue("q", hours=PARIS, when_closed=Step(action=Overflow.VOICEMAIL))
    play.now = at(moment)
    found = play.call("c1")
    assert kinds(found) == ["CallQueued", *([] if is_open else ["CallOverflowed"])]
    if not is_open:
        assert found[1].reason == "closed"
        assert found[1].waited == 0
        assert play.pool.queue("acme/q").level.offered == 0, "no call that should be answered"


def test_when_closed_the_night_shift_has_it() -> None:
    play = Play()
    play.queue("q", hours=PARIS, when_closed=Step(action=Overflow.MOVE_TO_QUEUE, queue_id="night"))
    play.now = at("2026-01-05T03:00:00")
    assert kinds(play.call("c1")) == ["CallQueued", "CallMoved"]
    assert play.of("c1").queue_id == "night"


def test_nobody_waits_when_an_answered_call_is_closed() -> None:
    """Its agent wraps it up, so it is still there."""
    play = Play()
    play.queue("r", steps=(step(5, Overflow.CLOSE),))
    play.agent("ann")
    play.call("c1")
    play.connect("c1")
    play.tell(c.TransferCall("c1", "ann", "r"))
    (ended,) = play.wait(5)
    assert ended.cause is e.EndCause.OVERFLOWED_DURING_TRANSFER
    assert play.pool.queue("acme/r").pace.began == 0
