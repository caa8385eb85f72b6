"""What the worker says to crm, routing and the carrier, and hears from them: messages and back.

Times are microseconds since 1970, durations microseconds.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from google.protobuf.message import Message as Wire
from relais.calls.v1.events_pb2 import (
    CHANNEL_VOICE,
    DIRECTION_OUTBOUND,
    CallEvent,
)
from relais.customers.v1 import customer_service_pb2 as crm
from relais.routing.v1 import commands_pb2 as commands
from relais.routing.v1 import pool_service_pb2 as pools
from relais.routing.v1 import pool_snapshot_pb2 as snapshot
from relais.telephony.v1 import telephony_service_pb2 as tel

from eventkit.errors import InvalidMessage
from eventkit.ids import derived_id
from eventkit.records import Message, Record
from eventkit.wire import decoded, microseconds, timestamp
from services.dialer.attempts import attempt as a
from services.dialer.compliance.ruleuse import RuleUse
from services.dialer.dialling import messages as m

Q = TypeVar("Q", bound=Wire)
A = TypeVar("A", bound=Wire)

COMMANDS: Final = "routing-commands"
ACTOR: Final = "dialer-worker"


@dataclass(frozen=True, slots=True)
class Method(Generic[Q, A]):
    """A method of somebody else's service, as `channel.unary_unary(*method.parts())` wants it."""

    path: str
    request: type[Q]
    answer: type[A]

    def parts(self) -> tuple[str, Any, Any]:
        return self.path, self.request.SerializeToString, self.answer.FromString


def _methods(file: Any, service: str, *names: str) -> Iterable[str]:
    full = file.DESCRIPTOR.services_by_name[service].full_name
    return (f"/{full}/{name}" for name in names)


_check, _list, _pool = (
    *_methods(crm, "CustomerService", "CheckContacts"),
    *_methods(pools, "PoolService", "ListAgents", "GetPool"),
)
CHECK_CONTACTS: Final = Method(_check, crm.CheckContactsRequest, crm.CheckContactsResponse)
GET_POOL: Final = Method(_pool, pools.GetPoolRequest, pools.GetPoolResponse)
LIST_AGENTS: Final = Method(_list, pools.ListAgentsRequest, pools.ListAgentsResponse)
_dial, _connect, _get, _follow = _methods(
    tel, "Telephony", "Dial", "Connect", "GetCalls", "FollowResults"
)
DIAL: Final = Method(_dial, tel.DialRequest, tel.DialResponse)
CONNECT: Final = Method(_connect, tel.ConnectRequest, tel.ConnectResponse)
GET_CALLS: Final = Method(_get, tel.GetCallsRequest, tel.GetCallsResponse)
FOLLOW: Final = Method(_follow, tel.FollowResultsRequest, tel.FollowResultsResponse)


# crm.


def question(asked: m.Question) -> crm.CheckContactsRequest:
    return crm.CheckContactsRequest(
        question=crm.CheckContactRequest(
            client_id=asked.client_id,
            address=asked.number,
            channel="voice",
            purpose=asked.purpose,
        )
    )


ASK_AGAIN: Final = 3600 * 1_000_000
_OF_THE_LIST: Final = frozenset({"out-of-date", "never-loaded"})
"""Reasons that say nothing about the number."""


def verdict(answer: crm.CheckContactsResponse) -> m.Verdict:
    """What crm cannot answer it does not allow: the rule says which field it stumbled over."""
    if answer.WhichOneof("result") != "answer":
        field = answer.problem.field or "answer"
        rule = RuleUse(f"crm.problem/{field}", 0, "cannot be asked about")
        return m.Verdict((rule,), (rule,), again_after=ASK_AGAIN)
    grounds = answer.answer.grounds
    forbidding = [ground for ground in grounds if not ground.allows]
    passes = all(ground.reason in _OF_THE_LIST for ground in forbidding)
    return m.Verdict(
        tuple(_rule(ground) for ground in grounds),
        tuple(_rule(ground) for ground in forbidding),
        any(ground.allows and ground.kind == "consent" for ground in grounds),
        ASK_AGAIN if forbidding and passes else None,
    )


def _rule(ground: crm.CheckContactResponse.Ground) -> RuleUse:
    name = f"crm.{ground.kind}/{ground.id}" if ground.id else f"crm.{ground.kind}"
    return RuleUse(name, ground.version, ground.reason)


# Routing.


_STATES: Final = {
    snapshot.AGENT_STATE_LOGGED_IN: m.AgentState.LOGGED_IN,
    snapshot.AGENT_STATE_AVAILABLE: m.AgentState.AVAILABLE,
    snapshot.AGENT_STATE_RESERVED: m.AgentState.RESERVED,
    snapshot.AGENT_STATE_BUSY: m.AgentState.BUSY,
    snapshot.AGENT_STATE_OTHER_CALL: m.AgentState.OTHER_CALL,
    snapshot.AGENT_STATE_WRAP_UP: m.AgentState.WRAP_UP,
    snapshot.AGENT_STATE_ON_BREAK: m.AgentState.ON_BREAK,
    snapshot.AGENT_STATE_NOT_RESPONDING: m.AgentState.NOT_RESPONDING,
}


def pool_now(found: pools.ListAgentsResponse) -> m.PoolNow:
    return m.PoolNow(
        microseconds(found.as_of),
        tuple(_agent(agent) for agent in found.agents if agent.state in _STATES),
        tuple(
            m.Waiting(each.client_id, each.queue_id, each.priority, each.calls)
            for each in found.waiting
        ),
    )


def needs(found: pools.GetPoolResponse) -> dict[str, m.Need]:
    """Of the pool's queues, by `<client>/<queue>`."""
    restricted = frozenset(found.settings.restricted_groups)
    return {
        f"{each.client_id}/{each.configured.queue.queue_id}": m.Need(
            {need.skill: need.min_level for need in each.configured.queue.required_skills},
            frozenset(each.configured.queue.groups),
            restricted,
        )
        for each in found.queues
    }


def _agent(found: pools.AgentNow) -> m.Agent:
    call = found.calls[0] if found.calls else None
    connected = call is not None and call.HasField("connected_at")
    return m.Agent(
        found.agent_id,
        _STATES[found.state],
        microseconds(found.since),
        found.offered or (call.call if call is not None else ""),
        microseconds(call.connected_at) if connected and call is not None else None,
        microseconds(found.wrap_up_ends_at) if found.HasField("wrap_up_ends_at") else None,
        found.leaving or found.lost,
        {each.skill: each.level for each in found.skills},
        frozenset(found.groups),
    )


def command(pool_id: str, told: m.Told, now: int) -> Message:
    """A RoutingCommand about an attempt's call. The same report has the same id, however often it
    is sent: routing skips what it has seen."""
    call = told.attempt
    wire = commands.RoutingCommand(pool_id=pool_id)
    match told.what:
        case m.Arrived(customer_id):
            arrived = wire.report_call_arrived
            arrived.call_id = call.attempt_id
            arrived.channel = CHANNEL_VOICE
            arrived.direction = DIRECTION_OUTBOUND
            arrived.customer_id = customer_id
        case m.Queued(queue_id, priority, skills):
            wire.queue_call.call_id = call.attempt_id
            wire.queue_call.queue_id = queue_id
            wire.queue_call.priority = priority
            # Nobody waits two seconds for a desktop. So the agent is the call's before the carrier
            # is asked, and no other is offered it, whoever is killed in between.
            wire.queue_call.auto_accept = True
            for skill, level in skills:
                wire.queue_call.required_skills.add(skill=skill, min_level=level)
        case m.AgentConnected(agent_id):
            wire.report_call_connected.call_id = call.attempt_id
            wire.report_call_connected.agent_id = agent_id
        case m.Abandoned():
            wire.report_call_abandoned.call_id = call.attempt_id
        case m.Ended():
            wire.report_call_ended.call_id = call.attempt_id
    kind = type(told.what).__name__
    meta = wire.meta
    meta.event_id = derived_id("dialer", pool_id, call.client_id, call.attempt_id, kind, told.at)
    meta.stream_id = pool_id
    meta.client_id = call.client_id
    meta.occurred_at.CopyFrom(timestamp(told.at))
    meta.recorded_at.CopyFrom(timestamp(now))
    meta.actor = ACTOR
    meta.correlation_id = call.stream_id
    return Message(COMMANDS, pool_id.encode(), wire.SerializeToString())


def news(record: Record) -> m.News | None:
    """What a record of call-events says that the worker wants to know; None: nothing. Raises
    InvalidMessage."""
    event = decoded(record, CallEvent)
    key = m.CallKey(event.meta.client_id, event.call_id)
    match event.WhichOneof("body"):
        case "assigned":
            return m.Assigned(key, event.assigned.agent_id, microseconds(event.meta.occurred_at))
        case "queued":
            at = microseconds(event.meta.occurred_at)
            return m.QueuedCall(key, event.queued.pool_id, at)
        case "wrapped_up":
            return m.WrappedUp(key, event.wrapped_up.wrap_up.ToMicroseconds())
    return None


# The carrier.


def dial_request(calls: Sequence[m.Dial]) -> tel.DialRequest:
    return tel.DialRequest(calls=[_call(call) for call in calls])


def _call(call: m.Dial) -> tel.Call:
    wire = tel.Call(
        client_id=call.key.client_id,
        call_id=call.key.attempt_id,
        to=call.to,
        caller_id=call.caller_id,
        detect_machines=call.detect_machines,
        on_machine=_ON_MACHINE[call.on_machine],
        machine_message=call.machine_message,
        dial_before=timestamp(call.dial_before),
    )
    wire.ring_for.FromMicroseconds(call.ring_for)
    if call.wait_for_agent is None:
        wire.on_person.play_message = call.message
    else:
        wire.on_person.wait_for_agent.at_most.FromMicroseconds(call.wait_for_agent)
        wire.on_person.wait_for_agent.else_message = call.message
    return wire


_ON_MACHINE: Final = {
    m.OnMachine.HANG_UP: tel.Call.ON_MACHINE_HANG_UP,
    m.OnMachine.LEAVE_MESSAGE: tel.Call.ON_MACHINE_LEAVE_MESSAGE,
    m.OnMachine.AS_PERSON: tel.Call.ON_MACHINE_AS_PERSON,
}
_TAKEN: Final = {
    tel.DialResponse.TAKEN_DIALLING: m.Taken.DIALLING,
    tel.DialResponse.TAKEN_KNOWN: m.Taken.KNOWN,
    tel.DialResponse.TAKEN_TOO_LATE: m.Taken.TOO_LATE,
    tel.DialResponse.TAKEN_REFUSED: m.Taken.REFUSED,
}


def dialled(answer: tel.DialResponse) -> list[m.Dialled]:
    """In the order of the request. Raises InvalidMessage."""
    return [_dialled(each) for each in answer.dialled]


def _dialled(each: tel.DialResponse.Dialled) -> m.Dialled:
    taken = _TAKEN.get(each.taken)
    if taken is None:
        raise InvalidMessage("dialled.taken", "missing, or of a kind that is not known here")
    return m.Dialled(taken, each.field, each.reason)


def connect_request(key: m.CallKey, agent_id: str) -> tel.ConnectRequest:
    return tel.ConnectRequest(client_id=key.client_id, call_id=key.attempt_id, agent_id=agent_id)


def get_calls_request(keys: Iterable[m.CallKey]) -> tel.GetCallsRequest:
    return tel.GetCallsRequest(
        calls=[tel.CallKey(client_id=key.client_id, call_id=key.attempt_id) for key in keys]
    )


def known(answer: tel.GetCallsResponse) -> list[m.Known]:
    """In the order of the request."""
    return [
        m.Known.UNKNOWN if each.unknown else m.Known.OVER if each.over else m.Known.OUT
        for each in answer.known
    ]


def subscribe(subscriber: str, window: int) -> tel.FollowResultsRequest:
    first = tel.FollowResultsRequest.Subscribe(subscriber=subscriber, window=window)
    return tel.FollowResultsRequest(subscribe=first)


def acknowledge(position: int) -> tel.FollowResultsRequest:
    return tel.FollowResultsRequest(acknowledge=position)


def heard(answer: tel.FollowResultsResponse) -> list[m.CallResult]:
    return [
        m.CallResult(each.position, m.CallKey(each.client_id, each.call_id), _heard(each))
        for each in answer.results
    ]


_BY: Final = {
    tel.CallResult.BY_HUMAN: a.AnsweredBy.HUMAN,
    tel.CallResult.BY_MACHINE: a.AnsweredBy.MACHINE,
    tel.CallResult.BY_FAX: a.AnsweredBy.FAX,
}
_WHY: Final = {
    tel.CallResult.WHY_HUNG_UP: a.Why.HUNG_UP,
    tel.CallResult.WHY_MESSAGE_PLAYED: a.Why.MESSAGE_PLAYED,
    tel.CallResult.WHY_BUSY: a.Why.BUSY,
    tel.CallResult.WHY_NO_ANSWER: a.Why.NO_ANSWER,
    tel.CallResult.WHY_UNOBTAINABLE: a.Why.UNOBTAINABLE,
    tel.CallResult.WHY_RELEASED: a.Why.RELEASED,
}


def _heard(result: tel.CallResult) -> a.Heard | None:
    """None: it rings, or something that is not known here. A way to be over that is not known here
    is the carrier's error: the call has an end all the same."""
    at = microseconds(result.occurred_at)
    match result.WhichOneof("what"):
        case "answered":
            return a.Answered(at, _BY.get(result.answered.by, a.AnsweredBy.UNKNOWN))
        case "greeting_ended":
            return a.GreetingEnded(at)
        case "connected":
            return a.Connected(at, result.connected.agent_id)
        case "message_started":
            return a.MessageStarted(at)
        case "over":
            over = result.over
            why = _WHY.get(over.why, a.Why.CARRIER_ERROR)
            return a.Over(at, why, over.cause, over.callback_wanted)
    return None
