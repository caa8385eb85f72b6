"""Every kind of event has its sentence, and what is missing or contradictory is said."""

from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from google.protobuf import json_format
from relais.agents.v1.events_pb2 import AgentEvent
from relais.calls.v1.events_pb2 import CallEvent
from relais.pools.v1.events_pb2 import PoolEvent

from relaisctl.decisions import codec, story
from relaisctl.decisions.codec import Event
from relaisctl.decisions.story import Refused, Story, tell
from relaisctl.decisions.tests.support import Published
from services.routing import commands as c
from services.routing.configuration import ClientRules, Overflow, Step

EXAMPLES = Path(__file__).parents[3] / "proto" / "examples"
BANK = (("bank", 1),)


def kinds(message: type[CallEvent] | type[AgentEvent] | type[PoolEvent]) -> set[str]:
    return {field.name for field in message.DESCRIPTOR.oneofs_by_name["body"].fields}


def test_every_event_of_a_call_has_its_sentence() -> None:
    assert set(story.SENTENCES) == kinds(CallEvent)


def test_every_event_around_a_call_is_told_or_quiet_on_purpose() -> None:
    assert set(story.AROUND) == kinds(AgentEvent) | kinds(PoolEvent)


# The golden events, each alone.

SAID = {
    "arrived": "arrived on voice, inbound, line trunk-7, customer k-77, heading for acme-orders",
    "queued": "queued in acme-orders of pool pool-east with priority 2,"
    " asks for english ≥ 2 and orders ≥ 3",
    "queued_estimated_wait": "queued in acme-orders of pool pool-east with priority 1,"
    " asks for english ≥ 4 and orders ≥ 3; estimated wait 1 min 15 s",
    "history_queued": "queued in PS",
    "offered": "offered to a-12, who has 20 s to answer",
    "offered_why": "offered to a-13 (lyon), who has 20 s to answer",
    "offer_expired": "a-12 did not answer; the call waits again, at its old place",
    "offer_declined": "a-12 declined (line trouble); the call waits again, at its old place",
    "offer_withdrawn": "no longer offered to a-14 (customer hung up)",
    "assigned": "a-13 accepted",
    "connected": "a-13 is connected with the customer, after a wait of 25 s",
    "history_connected_agent_unknown": "somebody whom the telephone system did not name"
    " is connected with the customer, after a wait of 17 s",
    "abandoned": "the customer hung up after waiting 28 s in acme-orders",
    "ended": "the call with a-13 is over: talked 2 min 40 s",
    "ended_with_hold": "the call with a-21 is over: talked 4 min 49 s, of which 20 s on hold",
    "left_before_queue": "the customer hung up before coming to a queue, after 3 s",
    "left_during_transfer": "the customer hung up while waiting once more;"
    " talked before: 1 min 35 s",
    "history_phantom": "no call at all: a phantom of the telephone system, which no figure counts",
    "wrapped_up": "a-13 has finished the work after the call: 22 s",
    "relaxed": "english from level 4 to 2 (step 1); english ≥ 2 and orders ≥ 3 is enough now",
    "moved": "moved from acme-orders to acme-all (step 2); asks for orders ≥ 3, priority 1",
    "moved_closed": "moved from acme-orders to acme-night, since acme-orders is closed;"
    " asks for orders ≥ 3, priority 0",
    "moved_to_pool": "handed from acme-all to pool pool-west, queue acme-overflow;"
    " that pool decides from here on",
    "taken_over": "pool pool-west has it from pool pool-east; it waits in acme-overflow",
    "callback_offered": "the customer may hang up and be called back; estimated wait 9 min",
    "callback_accepted": "the customer has hung up and will be called back;"
    " the call keeps its place in acme-orders",
    "callback_failed": "a-12 could not reach the customer (no answer);"
    " attempt 1, the next one not before 5 min have passed",
    "callback_failed_for_good": "a-13 could not reach the customer (no answer);"
    " attempt 3, and the last one",
    "overflowed_closed": "acme-complaints is closed: the telephone system says goodbye",
    "requeued": "a-14 is gone, the customer is not (line lost);"
    " the call waits again in acme-orders, before those that came later",
    "held": "a-13 put the customer on hold",
    "held_interrupted": "set aside: a-15 has something more urgent",
    "resumed": "a-13 is back with the customer after 20 s",
    "transferred_to_a_queue": "a-13 transferred the call from acme-orders to acme-complaints;"
    " a-13 talked 1 min 35 s; asks for complaints ≥ 2, priority 3",
    "transferred_consulted": "a-13 gave the call to a-21, who was on it already;"
    " a-13 talked 2 min 59 s",
    "help_requested": "a-13 wants to consult somebody: supervisors with english ≥ 2",
    "help_requested_of_an_agent": "a-12 asked for help: a-20",
    "help_offered": "a-20 (lyon) is asked to come, and has 20 s to answer",
    "help_offer_ended": "a-20 did not come (expired)",
    "help_joined": "a-21 came onto the call after 24 s, to be consulted; the customer waits",
    "help_ended": "a-21 is off the call (transferred)",
    "help_ended_unanswered": "the request is over, and nobody had come (taken back)",
}


def example(name: str) -> Event:
    text = (EXAMPLES / "call-events" / f"{name}.json").read_text(encoding="utf-8")
    return codec.call_event(json_format.Parse(text, CallEvent()).SerializeToString())


@pytest.mark.parametrize("name", SAID)
def test_golden_event(name: str) -> None:
    told = tell([example(name)])
    assert told.lines[-1].text == SAID[name]


@pytest.mark.parametrize(
    "path", sorted((EXAMPLES / "call-events").glob("*.json")), ids=lambda p: p.stem
)
def test_every_golden_event_is_told(path: Path) -> None:
    told = tell([example(path.stem)])
    assert "does not know" not in told.lines[-1].text
    assert told.outcome
    assert told.summary


def test_a_decision_says_why() -> None:
    [line] = tell([example("offered_why")]).lines[1:]
    assert line.details == (
        "because: longest wait first; of the agents who can, who has more preferred skills, "
        "then idle longest (policy longest-idle)",
        "3 agents looked at, best first: a-13 184.5, a-12 96.25",
        "relaxed: english from level 4 to 2",
        "the call had waited 1 min 2 s, a-13 had been idle 3 min 4 s",
    )


def test_an_assignment_whose_offer_is_missing_says_why_itself() -> None:
    offer, assigned = example("offered_why"), example("assigned_why")
    assert tell([offer, assigned]).lines[-1].details == ()
    assert tell([assigned]).lines[-1].details == tell([offer]).lines[-1].details


# Whole stories, as the engine decides them.


@cache
def whole() -> Published:
    """Nobody who can at first, a missed offer, hold, help, a transfer, a log-out."""
    play = Published()
    play.tell(c.ConfigureClient(ClientRules(vip_customers=("k-1",), vip_priority=2)))
    play.queue("cards", steps=(Step(20, Overflow.RELAX_SKILL, "bank", 1),), wrap_up_seconds=20)
    play.agent("ana", BANK, site="lyon")
    play.agent("leo", BANK)
    play.agent("sup-1", (("tax", 1),), groups=("supervisors",))
    play.wait(30)
    arrived = c.ReportCallArrived("c-17", c.Channel.VOICE, c.Direction.INBOUND, "0800-1", "k-1")
    play.tell(arrived)
    play.wait(2)
    play.tell(c.QueueCall("c-17", "cards", 0, (("bank", 2),)))
    play.wait(43)  # 20 until the step, 20 for ana, 3 for leo
    play.accept("c-17")
    play.connect("c-17")
    play.wait(60)
    play.tell(c.ReportCallHeld("c-17"))
    play.wait(15)
    play.tell(c.ReportCallResumed("c-17"))
    play.tell(c.RequestHelp("c-17", "leo"))
    play.wait(12)
    play.accept("c-17~1")
    play.wait(30)
    play.tell(c.LeaveCall("c-17", "sup-1"))
    play.tell(c.TransferCall("c-17", "leo", to_agent_id="sup-1"))
    play.wait(3)
    play.tell(c.LogOutAgent("sup-1", "home"))
    play.tell(c.MakeAgentAvailable("ana"))
    play.wait(20)
    play.accept("c-17")
    play.connect("c-17")
    play.wait(100)
    play.end("c-17")
    play.wait(100)
    return play


def told() -> Story:
    return tell(whole().events_of("acme/c-17"), whole().around())


def line_with(story: Story, text: str) -> Iterator[str]:
    [line] = [line for line in story.lines if text in line.text]
    return iter(line.details)


def test_a_whole_call() -> None:
    said = "\n".join(line.text for line in told().lines)
    for sentence in (
        "queued in cards of pool p with priority 2 (VIP), asks for bank ≥ 2",
        "nobody after 20 s in cards: bank from level 2 to 1 (step 1); bank ≥ 1 is enough now",
        "offered to ana (lyon), who has 20 s to answer",
        "ana did not answer within 20 s; the call waits again, at its old place",
        "leo accepted after 3 s",
        "leo is connected with the customer, after a wait of 43 s",
        "leo is back with the customer after 15 s",
        "leo asked for help: supervisors",
        "sup-1 came onto the call after 12 s, to help",
        "sup-1 is off the call after 30 s (left)",
        "leo transferred the call to sup-1, in queue cards; leo talked 1 min 57 s",
        "no longer offered to sup-1 after 3 s (agent logged out)",
        "it waits for anybody now: no longer only agent sup-1",
        "the call with ana is over: talked 3 min 37 s, of which 15 s on hold",
        "ana has finished the work after the call: 20 s, up to the limit",
    ):
        assert sentence in said
    assert told().outcome == "completed"
    assert told().summary == (
        "answered by leo after 43 s, then ana; talked 3 min 37 s, 15 s of it on hold; "
        "1 offer not accepted; leo wrapped up 20 s; ana wrapped up 20 s"
    )


def test_who_let_it_ring_and_who_logged_out() -> None:
    assert "ana counts as not responding" in next(line_with(told(), "ana did not answer"))
    assert next(line_with(told(), "no longer offered to sup-1")) == "sup-1 logged out (home)"


def test_an_offer_to_an_agent_who_became_free() -> None:
    play = Published()
    play.call("c-1")
    play.wait(40)
    play.call("c-2")
    play.agent("ana")
    story = tell(play.events_of("acme/c-1"), play.around())
    details = list(line_with(story, "offered to ana"))
    assert "ana had become free, and was given the best of the waiting calls" in details
    assert details[-1] == "ana is available"
    assert story.outcome == "offered"


def test_a_vip_needs_the_rules_that_held_then() -> None:
    play = Published()
    play.call("c-1", customer="k-1", priority=1)
    play.wait(1)
    play.tell(c.ConfigureClient(ClientRules(vip_customers=("k-1",), vip_priority=2)))
    said = tell(play.events_of("acme/c-1"), play.around()).lines[1].text
    assert said == "queued in q of pool p with priority 1"


def test_a_change_of_the_configuration_that_led_to_an_offer_is_told() -> None:
    play = Published()
    play.tell(c.ConfigurePool(restricted_groups=("desk",)))
    play.agent("ana", groups=("desk",))
    play.call("c-1")
    play.wait(5)
    play.tell(c.ConfigurePool())
    story = tell(play.events_of("acme/c-1"), play.around())
    assert list(line_with(story, "offered to ana"))[-1] == (
        "the pool's settings were changed by desk-1"
    )


# What is missing, repeated, contradictory or unknown.


def test_repeats_are_told_once_and_the_order_does_not_matter() -> None:
    events = whole().events_of("acme/c-17")
    assert tell([*reversed(events), *events], whole().around()) == told()


def test_a_hole_is_said() -> None:
    events = whole().events_of("acme/c-17")
    story = tell(event for event in events if event.version not in (1, 4, 5))
    remarks = [line.text for line in story.lines if line.event is None]
    assert remarks == [
        "(version 1 of this call's events cannot be found in the log)",
        "(versions 4 and 5 of this call's events cannot be found in the log)",
    ]


def test_two_contents_of_one_event_are_a_contradiction() -> None:
    events = whole().events_of("acme/c-17")
    forged = replace(events[2], value=b"other")
    remarks = [line.text for line in tell([*events, forged]).lines if line.event is None]
    assert remarks == ["(version 3 is in the log twice, and not with the same content: relaxed)"]


def test_a_body_of_a_later_version_is_named() -> None:
    message = CallEvent(call_id="c-1")
    message.meta.stream_id, message.meta.version = "acme/c-1", 1
    later = message.SerializeToString() + b"\xba\x06\x00"  # field 103, empty
    [line] = tell([codec.call_event(later)]).lines
    assert line.text == "something that this version of relaisctl does not know: field 103"


def test_an_enum_of_a_later_version_is_named() -> None:
    message = CallEvent(call_id="c-1")
    message.meta.stream_id, message.meta.version = "acme/c-1", 1
    message.arrived.channel = 9  # type: ignore[assignment]
    [line] = tell([codec.call_event(message.SerializeToString())]).lines
    assert line.text == "arrived on channel 9"


def test_a_late_report_is_said() -> None:
    late = replace(example("abandoned"), recorded_at=example("abandoned").occurred_at + 12_000_000)
    assert tell([late]).lines[-1].details == ("reported 12 s later",)


def test_a_refused_report_stands_where_it_was_made() -> None:
    events = whole().events_of("acme/c-17")
    report = replace(events[3], kind="report_call_abandoned", actor="pbx-1")
    story = tell(events, refused=[Refused(report, "call_id: call acme/c-17 is connected")])
    [line] = [line for line in story.lines if "refused" in line.text]
    assert line.text == (
        "a report was refused: call abandoned, told by pbx-1 (call_id: call acme/c-17 is connected)"
    )
    assert line.at == report.occurred_at


def test_without_events_there_is_no_story() -> None:
    with pytest.raises(ValueError, match="no events"):
        tell([])
