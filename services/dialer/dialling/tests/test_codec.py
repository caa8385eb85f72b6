"""What crm, routing and the carrier say and are told, as messages."""

from typing import Any

import pytest
from aiokafka.structs import ConsumerRecord
from relais.calls.v1.events_pb2 import DIRECTION_OUTBOUND, CallEvent
from relais.customers.v1.customer_service_pb2 import CheckContactResponse, CheckContactsResponse
from relais.routing.v1 import pool_service_pb2 as pools
from relais.routing.v1.commands_pb2 import RoutingCommand
from relais.telephony.v1 import telephony_service_pb2 as tel

from eventkit.errors import InvalidMessage
from eventkit.records import Record
from services.dialer.attempts import attempt as a
from services.dialer.dialling import codec
from services.dialer.dialling import messages as m

S = 1_000_000
KEY = m.CallKey("acme", "x")


def grounds(*found: tuple[bool, str, str, str]) -> CheckContactsResponse:
    answer = CheckContactResponse(
        allowed=all(allows for allows, *_ in found),
        grounds=[
            CheckContactResponse.Ground(allows=allows, kind=kind, id=id, version=3, reason=reason)
            for allows, kind, id, reason in found
        ],
    )
    return CheckContactsResponse(answer=answer)


FREE = (True, "do-not-call-list", "centre/bloctel", "not-listed")


@pytest.mark.parametrize(
    ("answer", "forbidden", "again", "consent"),
    [
        (grounds(FREE), [], None, False),
        (grounds(FREE, (True, "consent", "c-1", "given")), [], None, True),
        (
            grounds((False, "consent", "c-1", "withdrawn"), FREE),
            ["crm.consent/c-1"],
            None,
            False,
        ),
        (grounds((False, "no-consent", "", "none-given")), ["crm.no-consent"], None, False),
        (
            grounds((False, "do-not-call-list", "centre/bloctel", "out-of-date")),
            ["crm.do-not-call-list/centre/bloctel"],
            codec.ASK_AGAIN,
            False,
        ),
        (
            grounds(
                (False, "do-not-call-list", "centre/bloctel", "out-of-date"),
                (False, "do-not-call-list", "ours", "listed"),
            ),
            ["crm.do-not-call-list/centre/bloctel", "crm.do-not-call-list/ours"],
            None,
            False,
        ),
        (
            CheckContactsResponse(
                problem=CheckContactsResponse.Problem(field="purpose", reason="none")
            ),
            ["crm.problem/purpose"],
            codec.ASK_AGAIN,
            False,
        ),
        (CheckContactsResponse(), ["crm.problem/answer"], codec.ASK_AGAIN, False),
    ],
)
def test_crms_word(
    answer: CheckContactsResponse, forbidden: list[str], again: int | None, consent: bool
) -> None:
    verdict = codec.verdict(answer)
    assert [use.rule for use in verdict.forbidden_by] == forbidden
    assert verdict.again_after == again
    assert verdict.has_consent == consent
    assert set(verdict.forbidden_by) <= set(verdict.rules)


def told(what: Any, at: int = 5 * S, now: int = 6 * S) -> RoutingCommand:
    message = codec.command("main", m.Told(KEY, at, what), now)
    assert (message.topic, message.key) == ("routing-commands", b"main")
    return RoutingCommand.FromString(message.value or b"")


def test_routing_is_told_of_a_live_answer() -> None:
    arrived = told(m.Arrived("cust"))
    assert arrived.report_call_arrived.direction == DIRECTION_OUTBOUND
    assert arrived.report_call_arrived.customer_id == "cust"
    assert (arrived.pool_id, arrived.meta.client_id) == ("main", "acme")
    assert arrived.meta.correlation_id == "acme/x"
    assert arrived.meta.occurred_at.seconds == 5
    queued = told(m.Queued("out", 7, (("french", 2),))).queue_call
    assert (queued.call_id, queued.queue_id, queued.priority) == ("x", "out", 7)
    assert [(each.skill, each.min_level) for each in queued.required_skills] == [("french", 2)]
    assert queued.auto_accept
    assert told(m.AgentConnected("ann")).report_call_connected.agent_id == "ann"
    assert told(m.Abandoned()).WhichOneof("body") == "report_call_abandoned"
    assert told(m.Ended()).WhichOneof("body") == "report_call_ended"


def test_the_same_report_has_the_same_id_whoever_sends_it_when() -> None:
    first = told(m.Ended(), now=6 * S).meta.event_id
    assert told(m.Ended(), now=600 * S).meta.event_id == first
    ids = {
        told(what, at).meta.event_id
        for what in (m.Ended(), m.Abandoned(), m.Arrived(""))
        for at in (5 * S, 6 * S)
    }
    assert len(ids) == 6


def record(value: bytes) -> Record:
    found: Record = ConsumerRecord(
        *("call-events", 0, 0, 0, 0, b"acme/x", value, None, 6, len(value), ())
    )
    return found


def test_what_is_heard_of_calls() -> None:
    event = CallEvent(call_id="x")
    event.meta.client_id = "acme"
    event.meta.occurred_at.FromMicroseconds(5 * S)
    event.assigned.agent_id = "ann"
    assert codec.news(record(event.SerializeToString())) == m.Assigned(KEY, "ann", 5 * S)
    event.queued.pool_id = "main"
    assert codec.news(record(event.SerializeToString())) == m.QueuedCall(KEY, "main", 5 * S)
    event.wrapped_up.wrap_up.FromMicroseconds(30 * S)
    assert codec.news(record(event.SerializeToString())) == m.WrappedUp(KEY, 30 * S)
    event.held.SetInParent()
    assert codec.news(record(event.SerializeToString())) is None
    with pytest.raises(InvalidMessage):
        codec.news(record(b"\xff"))


def test_who_is_there() -> None:
    found = pools.ListAgentsResponse()
    found.as_of.FromMicroseconds(9 * S)
    ann = found.agents.add(agent_id="ann", state=5, leaving=True, groups=["day"])  # type: ignore[arg-type]
    ann.since.FromMicroseconds(3 * S)
    ann.skills.add(skill="french", level=2)
    ann.calls.add(call="acme/x").connected_at.FromMicroseconds(4 * S)
    found.agents.add(agent_id="bob", state=3)  # type: ignore[arg-type]
    found.agents.add(agent_id="eve", state=99)  # type: ignore[arg-type]
    found.waiting.add(client_id="bolt", queue_id="in", priority=3, calls=2)
    pool = codec.pool_now(found)
    first, second = pool.agents
    assert first == m.Agent(
        "ann",
        m.AgentState.BUSY,
        3 * S,
        "acme/x",
        4 * S,
        None,
        True,
        {"french": 2},
        frozenset({"day"}),
    )
    assert (second.state, second.call, second.connected_at) == (m.AgentState.AVAILABLE, "", None)
    assert pool.waiting == (m.Waiting("bolt", "in", 3, 2),)


def test_what_queues_need() -> None:
    found = pools.GetPoolResponse()
    found.settings.restricted_groups.append("vip")
    queue = found.queues.add(client_id="acme").configured.queue
    queue.queue_id = "out"
    queue.required_skills.add(skill="french", min_level=2)
    assert codec.needs(found) == {
        "acme/out": m.Need({"french": 2}, frozenset(), frozenset({"vip"}))
    }


@pytest.mark.parametrize(
    ("wire", "heard"),
    [
        ({"ringing": {}}, None),
        ({"answered": {"by": tel.CallResult.BY_MACHINE}}, a.Answered(S, a.AnsweredBy.MACHINE)),
        ({"answered": {"by": 77}}, a.Answered(S, a.AnsweredBy.UNKNOWN)),
        ({"greeting_ended": {}}, a.GreetingEnded(S)),
        ({"connected": {"agent_id": "ann"}}, a.Connected(S, "ann")),
        ({"message_started": {"message_id": "sorry"}}, a.MessageStarted(S)),
        (
            {"over": {"why": tel.CallResult.WHY_BUSY, "cause": "user busy"}},
            a.Over(S, a.Why.BUSY, "user busy"),
        ),
        ({"over": {"why": 99}}, a.Over(S, a.Why.CARRIER_ERROR)),
        ({}, None),
    ],
)
def test_what_is_heard_of_the_carrier(wire: dict[str, Any], heard: a.Heard | None) -> None:
    result = tel.CallResult(position=8, client_id="acme", call_id="x", **wire)
    result.occurred_at.FromMicroseconds(S)
    answer = tel.FollowResultsResponse(results=[result])
    assert codec.heard(answer) == [m.CallResult(8, KEY, heard)]


def test_a_call_says_what_to_do_with_a_person() -> None:
    dial = m.Dial(KEY, "+46701740605", "+46850000000", 20 * S, 9 * S, True, 2 * S, "sorry")
    [call] = codec.dial_request([dial]).calls
    assert call.ring_for.seconds == 20
    assert call.on_person.wait_for_agent.at_most.seconds == 2
    assert call.on_person.wait_for_agent.else_message == "sorry"
    assert call.dial_before.seconds == 9
    alone = m.Dial(KEY, "+46701740605", "+46850000000", 20 * S, 9 * S, True, None, "news")
    assert codec.dial_request([alone]).calls[0].on_person.play_message == "news"
    assert "+46" not in repr(dial), "logs show it"
