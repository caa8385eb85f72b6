"""Customers who hang up and are called back, from the place that they had."""

from services.routing import commands as c
from services.routing import events as e
from services.routing.configuration import Overflow, Step
from services.routing.tests.play import Play, S, kinds, only


def test_the_place_in_the_queue_is_kept() -> None:
    play = Play()
    play.queue("q", steps=(Step(5, Overflow.OFFER_CALLBACK),), max_wait_seconds=60)
    play.call("c1")
    play.wait(1)
    play.call("c2")
    assert kinds(play.wait(5)) == ["CallCallbackOffered", "CallCallbackOffered"]
    assert play.tell(c.AcceptCallback("c1")) == [e.CallCallbackAccepted("q")]
    assert play.tell(c.AcceptCallback("c1")) == []
    assert play.tell(c.ReportCallAbandoned("c1")) == [], "hanging up is what they were asked to do"
    play.wait(50)
    assert "CallOverflowed" not in kinds(play.wait(3)), "nobody who is called back is put off"
    found = play.agent("ann")
    offered = only(found, e.CallOffered)
    assert play.offered_to("c1") == "ann", "before c2"
    assert offered.channel is c.Channel.CALLBACK


def test_tried_again_and_given_up() -> None:
    play = Play()
    play.queue("q", callback_attempts=2, callback_retry_seconds=100)
    play.call("c1")
    play.tell(c.AcceptCallback("c1"))
    play.agent("ann")
    play.accept("c1")
    failed = c.ReportCallbackFailed("c1", "busy")
    now = play.now
    found = play.tell(failed)
    assert kinds(found) == ["CallCallbackFailed", "AgentBecameAvailable"]
    assert found[0].again_at == now + 100 * S
    assert play.wait(99) == [], "ann is idle, and it is too early"
    assert only(play.wait(1), e.CallOffered).agent_id == "ann"
    play.accept("c1")
    found = play.tell(c.ReportCallbackFailed("c1", "no answer"))
    assert kinds(found) == ["CallCallbackFailed", "CallOverflowed", "AgentBecameAvailable"]
    assert play.pool.calls == {}


def test_reached() -> None:
    play = Play()
    play.call("c1")
    play.tell(c.AcceptCallback("c1"))
    play.wait(100)
    play.agent("ann")
    play.accept("c1")
    assert only(play.connect("c1"), e.CallConnected).waited == 101 * S
    assert only(play.end("c1"), e.CallEnded).cause is e.EndCause.COMPLETED


def test_cancelled() -> None:
    play = Play()
    play.call("c1")
    play.tell(c.AcceptCallback("c1"))
    (gone,) = play.end("c1")
    assert gone.reason == "the callback was cancelled"
