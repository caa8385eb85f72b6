"""Calls that change hands, helpers, hold."""

import pytest

from services.routing import commands as c
from services.routing import events as e
from services.routing.configuration import Hours, Overflow, Step
from services.routing.engine import Rejected
from services.routing.tests.play import Play, S, kinds, only

HELP, CONSULT = c.HelpKind.HELP, c.HelpKind.CONSULTATION


@pytest.fixture
def play() -> Play:
    """ann talks to c1; bob is idle, sup supervises."""
    play = Play()
    play.tell(c.ConfigurePool(restricted_groups=("supervisors",)))
    play.agent("ann")
    play.call("c1", customer="k1")
    play.connect("c1")
    play.agent("bob")
    play.agent("sup", (("de", 1),), groups=("supervisors",))
    play.wait(10)
    return play


def test_to_a_queue(play: Play) -> None:
    play.queue("orders", required_skills=(("fr", 1),))
    found = play.tell(c.TransferCall("c1", "ann", queue_id="orders"))
    assert kinds(found) == ["CallTransferred", "AgentWrapUpStarted", "CallOffered", "AgentReserved"]
    assert found[0].talked == 12 * S
    assert play.offered_to("c1") == "bob"
    again = only(play.connect("c1"), e.CallConnected)
    assert (again.queue_id, again.agent_id, again.waited) == ("orders", "bob", 0)
    play.wait(5)
    found = play.end("c1")
    assert found[0].talked == 17 * S, "with both"
    assert kinds(play.wait(40)) == [
        "CallWrappedUp",
        "AgentBecameAvailable",
        "CallWrappedUp",
        "AgentBecameAvailable",
    ]
    assert play.pool.calls == {}


def test_a_repeat_transfers_nothing(play: Play) -> None:
    command = c.Command(
        "p", "x", "acme", play.now, play.now, "", "", c.TransferCall("c1", "ann", queue_id="q2")
    )
    assert "CallTransferred" in kinds(play.apply(command))
    assert play.apply(command) == []
    play.connect("c1")
    assert play.apply(command) == []


def test_to_an_agent_who_is_busy_and_then_to_anybody(play: Play) -> None:
    play.call("c2")
    play.connect("c2")
    assert play.offered_to("c2") == "bob"
    play.agent("cat")
    play.tell(c.TransferCall("c1", "ann", to_agent_id="bob"))
    assert play.offered_to("c1") == "", "cat is idle, and not meant"
    found = play.wait(60)
    assert only(found, e.CallRelaxed).what == "no longer only agent bob"
    assert play.offered_to("c1") in ("ann", "cat")


def test_to_an_agent_who_logs_out(play: Play) -> None:
    play.call("c2")
    play.connect("c2")
    play.tell(c.LogOutAgent("bob", "home"))
    play.tell(c.TransferCall("c1", "ann", to_agent_id="bob"))
    play.agent("cat")
    play.end("c2")
    assert play.offered_to("c1") == "cat"


def test_hanging_up_on_the_way_is_no_abandonment(play: Play) -> None:
    play.tell(c.TransferCall("c1", "ann", queue_id="nobody", to_agent_id=""))
    play.tell(c.LogOutAgent("bob", ""))
    found = play.tell(c.ReportCallAbandoned("c1"))
    assert found[-1].cause is e.EndCause.LEFT_DURING_TRANSFER
    assert found[-1].talked == 12 * S


def test_help_finds_a_supervisor(play: Play) -> None:
    found = play.tell(c.RequestHelp("c1", "ann", HELP))
    assert kinds(found) == ["CallHelpRequested", "CallHelpOffered", "AgentReserved"]
    assert found[0].groups == ("supervisors",)
    offered = found[1]
    assert (offered.help_id, offered.agent_id) == ("c1~1", "sup")
    assert play.wait(3) == []
    found = play.tell(c.AcceptOffer(offered.offer_id, "sup"))
    assert kinds(found) == ["CallHelpJoined", "AgentBecameBusy"]
    assert found[0].waited == 3 * S
    assert found[1].call == "acme/c1"
    found = play.tell(c.LeaveCall("c1", "sup"))
    assert kinds(found) == ["CallHelpEnded", "AgentBecameAvailable"]
    streams = {event.stream_id for event in play.all if not isinstance(event, e.Sent)}
    assert "acme/c1~1" not in streams, "it stands in the call's own stream"
    versions = [ev.version for ev in play.all if isinstance(ev, e.CallEvent)]
    assert versions == list(range(1, len(versions) + 1))


def test_help_ends_with_the_call(play: Play) -> None:
    play.tell(c.RequestHelp("c1", "ann", HELP))
    found = play.end("c1")
    assert kinds(found) == [
        "CallHelpOfferEnded",
        "CallHelpEnded",
        "AgentBecameAvailable",
        "CallEnded",
        "AgentWrapUpStarted",
    ]


def test_help_that_nobody_gives_is_taken_back(play: Play) -> None:
    play.tell(c.LogOutAgent("sup", ""))
    assert kinds(play.tell(c.RequestHelp("c1", "ann", HELP))) == ["CallHelpRequested"]
    assert kinds(play.tell(c.LeaveCall("c1", "ann"))) == ["CallHelpEnded"]
    with pytest.raises(Rejected):
        play.tell(c.LeaveCall("c1", "ann"))


def test_help_declined_goes_to_the_next(play: Play) -> None:
    play.agent("sup2", (("de", 1),), groups=("supervisors",))
    offered = only(play.tell(c.RequestHelp("c1", "ann", HELP)), e.CallHelpOffered)
    found = play.tell(c.DeclineOffer(offered.offer_id, "sup", "busy"))
    assert found[0] == e.CallHelpOfferEnded("c1~1", offered.offer_id, "sup", "declined: busy")
    assert only(found, e.CallHelpOffered).agent_id == "sup2"


def test_who_was_asked_by_name_and_declines_has_answered(play: Play) -> None:
    offered = only(play.tell(c.RequestHelp("c1", "ann", CONSULT, "bob")), e.CallHelpOffered)
    found = play.tell(c.DeclineOffer(offered.offer_id, "bob"))
    assert kinds(found) == ["CallHelpOfferEnded", "CallHelpEnded", "AgentBreakStarted"]


def test_a_transfer_with_consultation(play: Play) -> None:
    with pytest.raises(Rejected, match="nobody has come"):
        play.tell(c.CompleteTransfer("c1", "ann"))
    offered = only(play.tell(c.RequestHelp("c1", "ann", CONSULT, "bob")), e.CallHelpOffered)
    play.tell(c.ReportCallHeld("c1"))
    play.tell(c.AcceptOffer(offered.offer_id, "bob"))
    play.wait(5)
    found = play.tell(c.CompleteTransfer("c1", "ann"))
    assert kinds(found) == ["CallResumed", "CallTransferred", "AgentWrapUpStarted"]
    assert found[1].consulted
    assert (found[1].agent_id, found[1].to_agent_id) == ("ann", "bob")
    play.wait(60)
    ended = only(play.end("c1"), e.CallEnded)
    assert (ended.agent_id, ended.held, ended.talked) == ("bob", 5 * S, 77 * S)
    assert play.who("ann").calls == []


def test_an_agent_helps_one_call_at_a_time(play: Play) -> None:
    play.tell(c.RequestHelp("c1", "ann", HELP))
    play.call("c2")
    play.connect("c2")
    assert kinds(play.tell(c.RequestHelp("c2", "bob", HELP))) == ["CallHelpRequested"]


def test_hold_is_counted(play: Play) -> None:
    assert kinds(play.tell(c.ReportCallHeld("c1"))) == ["CallHeld"]
    assert play.tell(c.ReportCallHeld("c1")) == []
    play.wait(7)
    assert only(play.tell(c.ReportCallResumed("c1")), e.CallResumed).held == 7 * S
    assert play.tell(c.ReportCallResumed("c1")) == []
    play.tell(c.ReportCallHeld("c1"))
    play.wait(2)
    assert only(play.end("c1"), e.CallEnded).held == 9 * S


def test_the_agents_line_has_gone(play: Play) -> None:
    found = play.tell(c.RequeueCall("c1", ""))
    assert kinds(found) == ["CallRequeued", "AgentBreakStarted", "CallOffered", "AgentReserved"]
    assert play.offered_to("c1") == "bob"


def test_who_is_not_on_the_call_can_do_nothing_with_it(play: Play) -> None:
    for body in (
        c.TransferCall("c1", "bob", queue_id="q"),
        c.RequestHelp("c1", "bob", HELP),
        c.CompleteTransfer("c1", "bob"),
        c.LeaveCall("c1", "bob"),
        c.TransferCall("c1", "ann", to_agent_id="zoe"),
        c.TransferCall("c1", "ann", to_agent_id="ann"),
        c.RequestHelp("c1", "ann", CONSULT),
    ):
        with pytest.raises(Rejected):
            play.tell(body)


def test_more_wrap_up_for_a_call_that_has_gone_to_another_pool(play: Play) -> None:
    gone = Step(action=Overflow.MOVE_TO_POOL, pool_id="there", queue_id="q")
    play.queue("elsewhere", hours=Hours("UTC"), when_closed=gone)
    found = play.tell(c.TransferCall("c1", "ann", queue_id="elsewhere"))
    assert "CallMovedToPool" in kinds(found)
    assert "acme/c1" not in play.pool.calls
    play.wait(10)
    assert kinds(play.tell(c.StartWrapUp("ann"))) == ["AgentWrapUpStarted"]
    assert play.wait(29) == []
    assert kinds(play.wait(1)) == ["AgentBecameAvailable"]


def test_repeats_that_come_late_connect_and_resume_nothing(play: Play) -> None:
    def told(number: int, body: c.Body) -> c.Command:
        return c.Command("p", f"r{number}", "acme", play.now, play.now, "", "", body)

    held, resumed = c.ReportCallHeld("c1"), c.ReportCallResumed("c1")
    first = told(1, resumed)
    assert play.apply(first) == [], "it was not on hold"
    assert kinds(play.apply(told(2, held))) == ["CallHeld"]
    second = told(3, held)
    assert play.apply(second) == []
    assert play.apply(first) == []
    assert kinds(play.apply(told(4, resumed))) == ["CallResumed"]
    assert play.apply(second) == []
    connected = told(5, c.ReportCallConnected("c1"))
    assert play.apply(connected) == []
    play.tell(c.RequeueCall("c1"))
    assert play.offered_to("c1") == "bob"
    assert play.apply(connected) == [], "that was ann"


def test_nobody_waits_when_two_become_free_for_two(play: Play) -> None:
    play.tell(c.ConfigurePool(wrap_up_seconds=-1))
    play.tell(
        c.AcceptOffer(
            only(play.tell(c.RequestHelp("c1", "ann", CONSULT, "bob")), e.CallHelpOffered).offer_id,
            "bob",
        )
    )
    play.tell(c.LogOutAgent("sup"))
    play.call("c2", "q")
    found = play.tell(c.TransferCall("c1", "ann", queue_id="q"))
    assert kinds(found).count("CallOffered") == 2
    assert play.pool.queue("acme/q").pace.began == 0


def test_to_a_helper_who_goes_with_the_help(play: Play) -> None:
    asked = c.RequestHelp("c1", "ann", CONSULT, "sup")
    offered = only(play.tell(asked), e.CallHelpOffered)
    play.tell(c.AcceptOffer(offered.offer_id, "sup"))
    play.tell(c.LogOutAgent("sup", "home"))
    found = play.tell(c.TransferCall("c1", "ann", to_agent_id="sup"))
    assert "AgentLoggedOut" in kinds(found)
    assert play.offered_to("c1") == "bob", "and does not wait for sup"
