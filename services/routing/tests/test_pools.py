"""Calls that go from pool to pool."""

from typing import Any

from services.routing import commands as c
from services.routing import events as e
from services.routing.configuration import Hours, Overflow, Step
from services.routing.tests.play import Play, S, kinds, only
from services.routing.turn import MOVES

NEVER = Hours("UTC")


def to(pool_id: str, queue_id: str = "q", after: int = 0) -> Step:
    return Step(after, Overflow.MOVE_TO_POOL, pool_id=pool_id, queue_id=queue_id)


def sent_by(bodies: list[Any]) -> e.Sent:
    found = bodies[-1]
    assert isinstance(found, e.Sent)
    return found


def deliver(sent: e.Sent, play: Play, now: int, command_id: str = "x") -> list[Any]:
    play.now = max(play.now, now)
    at, body = sent.occurred_at, sent.body
    return play.apply(c.Command(sent.pool_id, command_id, sent.client_id, at, at, "", "", body))


def test_a_step_to_its_own_pool_is_a_step_to_another_queue() -> None:
    play = Play("here")
    play.queue("q", steps=(to("here", "r", 5),))
    play.call("c1")
    assert kinds(play.wait(5)) == ["CallMoved"]
    assert play.of("c1").queue_id == "r"


def test_two_closed_pools_that_point_at_each_other_come_to_rest() -> None:
    plays = {name: Play(name) for name in ("here", "there")}
    plays["here"].queue("q", hours=NEVER, when_closed=to("there"))
    plays["there"].queue("q", hours=NEVER, when_closed=to("here"))
    found, hops = plays["here"].call("c1"), 0
    while isinstance(found[-1], e.Sent):
        hops += 1
        found = deliver(found[-1], plays[found[-1].pool_id], 0)
    assert hops == MOVES
    assert found == [e.CallTakenOver("there", "here", "q")]


def test_what_has_been_talked_and_held_goes_along() -> None:
    here, there = Play("here"), Play("there")
    here.queue("far", hours=NEVER, when_closed=to("there"))
    here.agent("ann")
    here.call("c1")
    here.connect("c1")
    here.tell(c.ReportCallHeld("c1"))
    here.wait(7)
    here.tell(c.ReportCallResumed("c1"))
    here.tell(c.RequestHelp("c1", "ann", groups=("nobody",)))
    here.wait(3)
    found = here.tell(c.TransferCall("c1", "ann", "far"))
    sent = next(each for each in found if isinstance(each, e.Sent))
    there.agent("bob")
    deliver(sent, there, here.now + 20 * S)
    assert only(there.connect("c1"), e.CallConnected).waited == 20 * S, "since the transfer"
    asked = only(there.tell(c.RequestHelp("c1", "bob", groups=("x",))), e.CallHelpRequested)
    assert asked.help_id == "c1~2", "c1~1 stands in its stream already"
    there.wait(5)
    ended = only(there.end("c1"), e.CallEnded)
    assert (ended.talked, ended.held) == (15 * S, 7 * S)


def test_who_will_be_called_back_will_be_by_the_other_pool_too() -> None:
    here, there = Play("here"), Play("there")
    here.queue("q", steps=(to("there", after=30),), callback_retry_seconds=1)
    there.queue("q", callback_attempts=2)
    here.agent("ann")
    here.call("c1")
    here.tell(c.DeclineOffer(here.of("c1").offer_id, "ann"))
    here.tell(c.AcceptCallback("c1"))
    here.tell(c.MakeAgentAvailable("ann"))
    here.accept("c1")
    here.tell(c.ReportCallbackFailed("c1", "busy"))
    here.tell(c.LogOutAgent("ann"))
    sent = sent_by(here.wait(30))
    there.agent("bob")
    deliver(sent, there, here.now)
    assert there.tell(c.ReportCallAbandoned("c1")) == [], "hung up long ago"
    there.accept("c1")
    found = there.tell(c.ReportCallbackFailed("c1", "busy"))
    assert only(found, e.CallCallbackFailed).attempt == 2
    assert "CallOverflowed" in kinds(found)


def test_a_repeat_does_nothing_in_the_other_pool_either() -> None:
    here, there = Play("here"), Play("there")
    here.queue("q", steps=(to("there", after=10),))
    here.agent("ann")
    here.call("c1")
    here.accept("c1")
    requeue = c.Command("here", "r1", "acme", here.now, here.now, "", "", c.RequeueCall("c1"))
    here.apply(requeue)
    sent = sent_by(here.wait(10))
    there.agent("bob")
    deliver(sent, there, here.now)
    there.accept("c1")
    again = sent_by(here.apply(requeue))
    assert deliver(again, there, here.now, "r1") == []
    assert there.offered_to("c1") == "bob"


def test_the_wrap_up_of_a_call_that_has_come_back() -> None:
    here, there = Play("here"), Play("there")
    here.queue("far", hours=NEVER, when_closed=to("there", "back"))
    there.queue("back", hours=NEVER, when_closed=to("here"))
    here.agent("ann")
    here.call("c1")
    here.connect("c1")
    found = here.tell(c.TransferCall("c1", "ann", "far"))
    sent = next(each for each in found if isinstance(each, e.Sent))
    back = sent_by(deliver(sent, there, here.now))
    here.agent("bob")
    deliver(back, here, here.now)
    here.connect("c1")
    assert kinds(here.wait(40)) == ["CallWrappedUp", "AgentBecameAvailable"], "ann's"
    here.end("c1")
    assert kinds(here.wait(40)) == ["CallWrappedUp", "AgentBecameAvailable"], "bob's"
    assert here.pool.calls == {}


def test_a_step_that_is_configured_for_who_has_waited_for_days() -> None:
    """It is taken now. As of when it would have been due, the other pool remembers nothing more."""
    here, there = Play("here"), Play("there")
    here.call("c1", channel=c.Channel.EMAIL)
    for play in (here, there):
        play.call("c2")
        play.end("c2")
        play.wait(40 * 3600)
        play.call("c3")
        play.end("c3")
    here.queue("q", steps=(to("there", after=10),))
    moved, sent = here.wait(0)
    assert isinstance(moved, e.CallMovedToPool)
    assert sent.occurred_at == here.now
    assert kinds(deliver(sent, there, here.now)) == ["CallTakenOver"]


def test_a_call_that_is_reported_late_is_sent_as_of_now() -> None:
    play = Play("here")
    play.queue("q", hours=NEVER, when_closed=to("there"))
    play.call("c2", "open")
    play.wait(3600)
    play.call("c3", "open")
    late = play.now - 1800 * S
    sent = sent_by(play.tell(c.QueueCall("c1", "q"), at=late))
    assert isinstance(sent.body, c.TakeOverCall)
    assert (sent.occurred_at, sent.body.queued_at) == (play.now, late)
