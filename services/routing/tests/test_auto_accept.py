"""Calls whose customer cannot wait for a desktop: whoever is offered one has accepted it."""

from services.routing import commands as c
from services.routing import events as e
from services.routing.codec import decode_pool, encode_pool
from services.routing.configuration import Overflow, Step
from services.routing.pool import AgentState, CallState
from services.routing.tests.play import Play, kinds, only

CHAT = c.Channel.CHAT
TAKEN = ["CallOffered", "AgentReserved", "CallAssigned", "AgentBecameBusy"]


def test_the_call_is_the_agents_at_once() -> None:
    play = Play()
    play.agent("ann")
    assert kinds(play.call("c1", auto_accept=True)) == ["CallQueued", *TAKEN]
    assert play.of("c1").state is CallState.ASSIGNED
    assert kinds(play.connect("c1")) == ["CallConnected"]
    assert kinds(play.end("c1")) == ["CallEnded", "AgentWrapUpStarted"]


def test_it_waits_like_any_other_and_is_not_asked_then_either() -> None:
    play = Play()
    assert kinds(play.call("c1", auto_accept=True)) == ["CallQueued"]
    play.wait(1)
    assert kinds(play.agent("ann"))[-4:] == TAKEN
    assert kinds(play.wait(60)) == [], "no offer expires"


def test_its_customer_hangs_up_before_the_telephone_system_has_joined_them() -> None:
    play = Play()
    play.agent("ann")
    play.call("c1", auto_accept=True)
    assert kinds(play.tell(c.ReportCallAbandoned("c1"))) == [
        "CallAbandoned",
        "AgentBecameAvailable",
    ]


def test_several_at_once_each_find_one() -> None:
    play = Play()
    for number in range(3):
        play.call(f"c{number}", auto_accept=True)
    for agent in ("ann", "bob", "eve"):
        play.agent(agent)
    assert {play.of(f"c{number}").agent_id for number in range(3)} == {"ann", "bob", "eve"}
    assert all(play.of(f"c{number}").state is CallState.ASSIGNED for number in range(3))


def test_after_one_chat_there_is_room_for_the_next() -> None:
    play = Play()
    play.call("chat1", channel=CHAT, auto_accept=True)
    play.call("chat2", channel=CHAT, auto_accept=True)
    play.call("chat3", channel=CHAT)
    taken = play.agent("ann", chats=3)
    assert kinds(taken).count("CallAssigned") == 2, "as if each was accepted by the next command"
    assert play.of("chat3").state is CallState.OFFERED


def test_who_has_talked_is_transferred_like_any_other() -> None:
    play = Play()
    play.agent("ann")
    play.call("c1", auto_accept=True)
    play.connect("c1")
    play.agent("bob")
    play.tell(c.TransferCall("c1", "ann", "q"))
    assert play.of("c1").state is CallState.OFFERED
    assert play.offered_to("c1") == "bob"


def test_the_agent_is_gone_before_they_are_joined_so_the_next_one_has_it() -> None:
    play = Play()
    play.agent("ann")
    play.call("c1", auto_accept=True)
    play.agent("bob")
    assert play.who("ann").state is AgentState.BUSY
    assert kinds(play.tell(c.LogOutAgent("ann")))[-4:] == TAKEN
    assert play.offered_to("c1") == "bob"


def test_a_snapshot_remembers_it() -> None:
    play = Play()
    play.call("c1", auto_accept=True)
    play.pool = decode_pool(encode_pool(play.pool))
    assert kinds(play.agent("ann"))[-4:] == TAKEN


def test_another_pool_is_told() -> None:
    play = Play()
    play.queue("q", steps=(Step(5, Overflow.MOVE_TO_POOL, pool_id="other", queue_id="q"),))
    play.call("c1", auto_accept=True)
    sent = only(play.wait(5), e.Sent).body
    other = Play("other")
    other.agent("bob")
    assert kinds(other.tell(sent)) == ["CallTakenOver", *TAKEN]
