"""Events of attempts as messages of attempt-events; nothing personal. The origin is on each."""

from google.protobuf.duration_pb2 import Duration
from relais.attempts.v1 import events_pb2 as pb
from relais.campaigns.v1 import events_pb2 as campaigns_pb

from eventkit.eventstore import Recorded
from eventkit.wire import timestamp
from services.dialer.attempts import attempt as a
from services.dialer.codec import meta_of
from services.dialer.compliance.ruleuse import RuleUse

_BY = {
    a.AnsweredBy.NOBODY: pb.ANSWERED_BY_UNSPECIFIED,
    a.AnsweredBy.HUMAN: pb.ANSWERED_BY_HUMAN,
    a.AnsweredBy.MACHINE: pb.ANSWERED_BY_MACHINE,
    a.AnsweredBy.FAX: pb.ANSWERED_BY_FAX,
    a.AnsweredBy.UNKNOWN: pb.ANSWERED_BY_UNKNOWN,
}
_RESULTS = {
    a.Result.CONNECTED: pb.RESULT_CONNECTED,
    a.Result.DELIVERED: pb.RESULT_DELIVERED,
    a.Result.VOICEMAIL: pb.RESULT_VOICEMAIL,
    a.Result.MACHINE: pb.RESULT_MACHINE,
    a.Result.FAX: pb.RESULT_FAX,
    a.Result.ABANDONED: pb.RESULT_ABANDONED,
    a.Result.HUNG_UP: pb.RESULT_HUNG_UP,
    a.Result.NO_ANSWER: pb.RESULT_NO_ANSWER,
    a.Result.BUSY: pb.RESULT_BUSY,
    a.Result.UNOBTAINABLE: pb.RESULT_UNOBTAINABLE,
    a.Result.CARRIER_ERROR: pb.RESULT_CARRIER_ERROR,
    a.Result.NOT_DIALLED: pb.RESULT_NOT_DIALLED,
}


def attempt_message(recorded: Recorded[a.Event]) -> bytes:
    """One event of an attempt; it occurred when the telephone side says."""
    event = recorded.event
    wire = pb.AttemptEvent(
        meta=meta_of(recorded, event.at),
        attempt_id=recorded.stream_id.rpartition("/")[2],
        origin=origin_message(event.origin),
    )
    match event:
        case a.AttemptStarted():
            wire.started.CopyFrom(
                pb.AttemptStarted(
                    mode=event.mode,
                    allowed_by=map(rule_use_message, event.allowed_by),
                    policy=event.policy,
                    because=event.because,
                    agent_id=event.agent_id,
                    dial_before=timestamp(event.dial_before),
                    country=event.country,
                    region=event.region,
                )
            )
        case a.AttemptAnswered():
            wire.answered.by = _BY[event.by]
            wire.answered.rang.CopyFrom(duration(event.rang))
        case a.AttemptGreetingEnded():
            wire.greeting_ended.SetInParent()
        case a.AttemptConnected():
            wire.connected.agent_id = event.agent_id
            wire.connected.waited.CopyFrom(duration(event.waited))
        case a.AttemptAbandoned():
            wire.abandoned.waited.CopyFrom(duration(event.waited))
            wire.abandoned.message_played = event.message_played
        case a.AttemptEnded():
            wire.ended.CopyFrom(
                pb.AttemptEnded(
                    result=_RESULTS[event.result],
                    agent_id=event.agent_id,
                    cause=event.cause,
                    answered_by=_BY[event.answered_by],
                    rang=_given(event.rang),
                    waited=_given(event.waited),
                    talked=_given(event.talked),
                    mode=event.mode,
                    callback_wanted=event.callback_wanted,
                )
            )
        case a.AttemptDisposed():
            wire.disposed.CopyFrom(
                pb.AttemptDisposed(
                    disposition=event.disposition,
                    agent_id=event.agent_id,
                    converted=event.converted,
                    refusal_reason=event.refusal_reason,
                )
            )
    return wire.SerializeToString(deterministic=True)


def origin_message(origin: a.Origin) -> pb.Origin:
    return pb.Origin(
        campaign_id=origin.campaign_id,
        list_id=origin.list_id,
        lead_id=origin.lead_id,
        customer_id=origin.customer_id,
        number_id=origin.number_id,
        number_of_attempt=origin.number_of_attempt,
        started_at=timestamp(origin.started_at),
        invented=origin.invented,
    )


def rule_use_message(use: RuleUse) -> campaigns_pb.RuleUse:
    return campaigns_pb.RuleUse(rule=use.rule, version=use.version, said=use.said)


def duration(us: int) -> Duration:
    seconds, rest = divmod(us, 1_000_000)
    return Duration(seconds=seconds, nanos=rest * 1000)


def _given(us: int | None) -> Duration | None:
    return None if us is None else duration(us)
