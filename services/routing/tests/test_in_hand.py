"""What an agent can have at a time: one voice call, or several chats, or e-mails that wait."""

import pytest

from services.routing import commands as c
from services.routing import events as e
from services.routing.engine import Rejected, subjects, timer_of
from services.routing.tests.play import Play, S, kinds, only

CHAT, EMAIL, VOICE = c.Channel.CHAT, c.Channel.EMAIL, c.Channel.VOICE


def test_chats_up_to_the_limit() -> None:
    play = Play()
    play.agent("ann", chats=2)
    play.call("chat1", channel=CHAT)
    assert kinds(play.connect("chat1")) == ["CallAssigned", "AgentBecameBusy", "CallConnected"]
    assert kinds(play.call("voice1")) == ["CallQueued"], "no voice beside a chat"
    assert kinds(play.call("chat2", channel=CHAT)) == ["CallQueued", "CallOffered"]
    play.connect("chat2")
    assert kinds(play.call("chat3", channel=CHAT)) == ["CallQueued"]
    # The work after the first chat fills its place until it is done.
    assert kinds(play.end("chat1")) == ["CallEnded"]
    assert play.offered_to("chat3") == ""
    assert kinds(play.wait(30)) == ["CallWrappedUp", "CallOffered"]
    assert play.offered_to("chat3") == "ann"


def test_the_least_loaded_is_asked_first() -> None:
    play = Play()
    play.agent("ann", chats=3)
    play.call("chat1", channel=CHAT)
    play.connect("chat1")
    play.agent("bob", chats=3)
    play.call("chat2", channel=CHAT)
    assert play.offered_to("chat2") == "bob"


def test_one_offer_at_a_time_and_a_miss_stops_them() -> None:
    play = Play()
    play.agent("ann", chats=3)
    play.call("chat1", channel=CHAT)
    play.connect("chat1")
    play.call("chat2", channel=CHAT)
    play.call("chat3", channel=CHAT)
    assert play.offered_to("chat3") == "", "one rings already"
    play.wait(20)
    assert play.offered_to("chat2") == ""
    assert play.who("ann").after_call is not None
    play.end("chat1")
    assert kinds(play.wait(30))[-1] == "AgentBreakStarted"


def test_voice_interrupts_an_email() -> None:
    play = Play()
    play.agent("ann")
    play.call("mail1", channel=EMAIL)
    play.connect("mail1")
    assert kinds(play.call("mail2", channel=EMAIL)) == ["CallQueued"], "one at a time"
    play.wait(10)
    assert kinds(play.call("voice1")) == ["CallQueued", "CallOffered"]
    found = play.connect("voice1")
    assert e.CallHeld("ann", "interrupted") in found
    assert kinds(play.call("voice2")) == ["CallQueued"]
    play.tell(c.ReportCallAbandoned("voice2"))
    play.wait(50)
    found = play.end("voice1")
    assert kinds(found) == ["CallEnded", "CallResumed"]
    assert only(found, e.CallResumed).held == 50 * S
    play.wait(40)
    ended = only(play.end("mail1"), e.CallEnded)
    assert (ended.talked, ended.held) == (100 * S, 50 * S)


def test_a_break_asked_for_while_chatting_begins_after_the_last_chat() -> None:
    play = Play()
    play.agent("ann", chats=2)
    for name in ("chat1", "chat2"):
        play.call(name, channel=CHAT)
        play.connect(name)
    assert play.tell(c.StartBreak("ann", "lunch")) == []
    play.end("chat1")
    play.call("chat3", channel=CHAT)
    play.wait(40)
    assert play.offered_to("chat3") == ""
    play.end("chat2")
    assert kinds(play.wait(30)) == ["CallWrappedUp", "AgentBreakStarted"]


def test_a_lost_desktop_gives_its_chats_to_others_and_keeps_its_voice_call() -> None:
    play = Play()
    play.agent("ann", chats=2)
    play.call("chat1", channel=CHAT)
    play.connect("chat1")
    play.call("chat2", channel=CHAT)
    play.agent("bob")
    play.call("voice1")
    play.connect("voice1")
    assert play.offered_to("voice1") == "bob"
    found = play.tell(c.ReportConnectionLost("ann"))
    assert kinds(found) == ["AgentConnectionLost", "CallOfferWithdrawn"]
    play.tell(c.ReportConnectionLost("bob"))
    play.wait(59)
    found = play.wait(1)
    assert kinds(found) == ["CallRequeued", "AgentLoggedOut"]
    assert play.who("bob").state.name == "BUSY"
    assert kinds(play.end("voice1")) == ["CallEnded", "AgentLoggedOut"]
    play.agent("cat", chats=2)
    assert play.offered_to("chat1") == "cat", "at the head: it has waited longest"


def test_whoever_reports_is_there_again() -> None:
    play = Play()
    play.agent("ann")
    play.wait(1)
    play.tell(c.ReportConnectionLost("ann"))
    assert kinds(play.call("c1")) == ["CallQueued"]
    play.wait(30)
    found = play.tell(c.ReportConnectionRestored("ann"))
    assert kinds(found) == ["AgentConnectionRestored", "CallOffered", "AgentReserved"]
    assert "AgentLoggedOut" not in kinds(play.wait(120))
    assert play.tell(c.ReportConnectionLost("ann"), at=play.now - 200 * S) == [], "stale"


def test_some_missed_offers_are_forgiven() -> None:
    play = Play()
    play.tell(c.ConfigurePool(missed_offers=2))
    play.agent("ann")
    play.call("c1")
    found = play.wait(20)
    assert kinds(found) == [
        "CallOfferExpired",
        "AgentBecameAvailable",
        "CallOffered",
        "AgentReserved",
    ]
    assert kinds(play.wait(20)) == ["CallOfferExpired", "AgentStoppedResponding"]


def test_who_has_lost_the_line_is_not_rung_beside_it() -> None:
    play = Play()
    play.agent("ann", chats=2)
    play.call("chat1", channel=CHAT)
    play.connect("chat1")
    play.call("chat2", channel=CHAT)
    assert play.offered_to("chat2") == "ann"
    found = play.tell(c.RequeueCall("chat1"))
    assert kinds(found) == ["CallRequeued", "CallOfferWithdrawn", "AgentBreakStarted"]


def test_the_wrap_up_beside_another_chat_has_a_timer_that_the_worker_learns_of() -> None:
    play = Play()
    play.agent("ann", chats=2)
    for name in ("chat1", "chat2"):
        play.call(name, channel=CHAT)
        play.connect(name)
    before = len(play.all)
    assert kinds(play.end("chat1")) == ["CallEnded"]
    assert "agent/ann" in subjects(play.all[before:], c.ReportCallEnded("chat1"))
    timer = timer_of(play.pool, "agent/ann")
    assert timer is not None
    assert timer.due == play.now + 30 * S


def test_an_email_that_is_connected_or_resumed_beside_a_voice_call_waits_for_its_end() -> None:
    play = Play()
    play.agent("ann", emails=2)
    play.call("mail1", channel=EMAIL)
    play.accept("mail1")
    play.call("mail2", channel=EMAIL)
    play.connect("mail2")
    play.tell(c.ReportCallHeld("mail2"))
    play.call("voice1")
    play.connect("voice1")
    found = play.connect("mail1")
    assert kinds(found) == ["CallConnected", "CallHeld"]
    assert play.tell(c.ReportCallResumed("mail1")) == []
    assert play.tell(c.ReportCallResumed("mail2")) == []
    assert kinds(play.end("voice1")) == ["CallEnded", "CallResumed", "CallResumed"]


def test_who_has_taken_a_call_over_can_take_what_goes_beside_it() -> None:
    play = Play()
    play.agent("bob", chats=2)
    play.call("mail1", channel=EMAIL)
    play.connect("mail1")
    play.agent("ann", chats=1)
    play.call("chat1", channel=CHAT)
    play.connect("chat1")
    assert play.offered_to("chat1") == "ann"
    asked = c.RequestHelp("chat1", "ann", c.HelpKind.CONSULTATION, "bob")
    offered = only(play.tell(asked), e.CallHelpOffered)
    play.tell(c.AcceptOffer(offered.offer_id, "bob"))
    play.call("chat2", channel=CHAT)
    assert play.offered_to("chat2") == "", "bob talks to ann"
    found = play.tell(c.CompleteTransfer("chat1", "ann"))
    assert "CallResumed" not in kinds(found), "the e-mail waits on"
    assert play.offered_to("chat2") == "bob"


def test_an_email_is_given_to_who_has_room_for_it() -> None:
    play = Play()
    for name in ("bob", "ann"):
        play.agent(name, emails=1)
    for mail, name in (("mail1", "bob"), ("mail2", "ann")):
        play.call(mail, channel=EMAIL)
        play.connect(mail)
        assert play.offered_to(mail) == name
    asked = c.RequestHelp("mail2", "ann", c.HelpKind.CONSULTATION, "bob")
    offered = only(play.tell(asked), e.CallHelpOffered)
    play.tell(c.AcceptOffer(offered.offer_id, "bob"))
    with pytest.raises(Rejected, match="too many e-mails"):
        play.tell(c.CompleteTransfer("mail2", "ann"))
    play.end("mail1")
    found = play.tell(c.CompleteTransfer("mail2", "ann"))
    assert kinds(found) == ["CallTransferred", "AgentWrapUpStarted"]


def test_who_is_back_before_the_voice_call_ends_goes_on() -> None:
    play = Play()
    play.agent("ann")
    play.call("voice1")
    play.connect("voice1")
    play.tell(c.ReportConnectionLost("ann"))
    play.wait(100)
    assert timer_of(play.pool, "agent/ann") is None
    assert [*subjects([], c.LogOutLostAgent("ann"))] == ["agent/ann"]
    assert [*subjects([], c.FinishWrapUp("ann", "acme/gone"))] == ["agent/ann"]
    assert kinds(play.tell(c.ReportConnectionRestored("ann"))) == ["AgentConnectionRestored"]
    assert kinds(play.end("voice1")) == ["CallEnded", "AgentWrapUpStarted"]


def test_a_repeated_answer_brings_no_lost_desktop_back() -> None:
    play = Play()
    play.agent("ann")
    play.call("voice1")
    offer_id, then = play.of("voice1").offer_id, play.now
    accepted = c.Command("p", "a1", c.CENTRE, then, then, "", "", c.AcceptOffer(offer_id, "ann"))
    play.apply(accepted)
    play.wait(1)
    play.tell(c.ReportConnectionLost("ann"))
    assert play.apply(accepted) == []
    assert play.who("ann").lost_at >= 0


def test_a_chat_that_was_connected_after_its_desktop_was_due_to_be_given_up() -> None:
    """The worker was not there, and sends the timer late."""
    play = Play()
    play.agent("ann")
    play.call("chat1", channel=CHAT)
    play.accept("chat1")
    play.tell(c.ReportConnectionLost("ann"))
    lost = timer_of(play.pool, "agent/ann")
    assert lost is not None
    play.now = lost.due + 10 * S
    play.connect("chat1")
    assert kinds(play.tell(lost.body, at=lost.due)) == ["CallRequeued", "AgentLoggedOut"]
    assert play.of("chat1").talked == 0


def test_a_wrap_up_that_began_after_its_desktop_was_due_to_be_given_up() -> None:
    play = Play()
    play.agent("ann", chats=2)
    for name in ("chat1", "chat2"):
        play.call(name, channel=CHAT)
        play.connect(name)
    play.tell(c.ReportConnectionLost("ann"))
    lost = timer_of(play.pool, "agent/ann")
    assert lost is not None
    play.now = lost.due + 10 * S
    play.end("chat1")
    found = play.tell(lost.body, at=lost.due)
    assert only(found, e.CallWrappedUp).wrap_up == 0


def test_who_asks_for_help_with_an_email_is_not_asked_to_give_it() -> None:
    play = Play()
    play.agent("ann", groups=("supervisors",))
    play.call("mail1", channel=EMAIL)
    play.connect("mail1")
    assert kinds(play.tell(c.RequestHelp("mail1", "ann"))) == ["CallHelpRequested"]
    assert kinds(play.call("voice1")) == ["CallQueued"]
    found = play.tell(c.LeaveCall("mail1", "ann"))
    assert kinds(found) == ["CallHelpEnded", "CallOffered"], "the request is taken back"
