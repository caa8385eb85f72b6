"""The campaigns' events as messages of campaign-events and attempt-events."""

from typing import Final

from relais.attempts.v1 import events_pb2 as attempts_pb
from relais.campaigns.v1 import events_pb2 as campaigns_pb
from relais.event.v1.meta_pb2 import EventMeta

from eventkit.ids import event_id
from eventkit.records import Message
from relaisctl.codec import duration, timestamp
from relaisctl.replay.bank_marketing import campaign as c

CAMPAIGN_EVENTS: Final = "campaign-events"
ATTEMPT_EVENTS: Final = "attempt-events"
ACTOR: Final = "bank-marketing"
MODE: Final = "progressive"
NUMBER_ID: Final = "n-1"


def message(client_id: str, event: c.Event, now: int) -> Message:
    """An event for its topic; the same for the same event, but for when it was recorded."""
    wire: attempts_pb.AttemptEvent | campaigns_pb.CampaignEvent
    match event.about:
        case c.Origin() as origin:
            stream = f"{client_id}/attempt/{origin.attempt_id}"
            topic, wire = ATTEMPT_EVENTS, _attempt(event, origin)
        case c.Lead() as lead:
            stream = f"{client_id}/lead/{lead.lead_id}"
            topic, wire = CAMPAIGN_EVENTS, _lead(event, lead)
        case None:
            stream = f"{client_id}/campaign/{event.campaign_id}"
            topic, wire = CAMPAIGN_EVENTS, _campaign(event)
    wire.meta.CopyFrom(
        EventMeta(
            event_id=event_id(stream, event.version),
            stream_id=stream,
            version=event.version,
            client_id=client_id,
            occurred_at=timestamp(event.occurred_at),
            recorded_at=timestamp(now),
            actor=ACTOR,
            correlation_id=stream,
        )
    )
    return Message(topic, stream.encode(), wire.SerializeToString())


def _campaign(event: c.Event) -> campaigns_pb.CampaignEvent:
    wire = campaigns_pb.CampaignEvent(campaign_id=event.campaign_id)
    match event.body:
        case c.CampaignDrafted(name):
            wire.drafted.settings.CopyFrom(
                campaigns_pb.CampaignSettings(
                    name=name, purpose="sales", mode=MODE, offer_id="term-deposit"
                )
            )
        case c.CampaignStarted():
            wire.started.SetInParent()
        case c.CampaignStopped(reason):
            wire.stopped.reason = reason
    return wire


def _lead(event: c.Event, lead: c.Lead) -> campaigns_pb.CampaignEvent:
    wire = campaigns_pb.CampaignEvent(
        campaign_id=event.campaign_id,
        lead=campaigns_pb.Lead(lead_id=lead.lead_id, list_id=lead.list_id),
    )
    match event.body:
        case c.LeadAdded(kind, due_at):
            wire.lead_added.numbers.add(number_id=NUMBER_ID, country="PT", kind=kind)
            wire.lead_added.source = "replay"
            wire.lead_added.due_at.CopyFrom(timestamp(due_at))
        case c.LeadDialled(attempt_id):
            wire.lead_dialled.attempt_id = attempt_id
            wire.lead_dialled.number_id = NUMBER_ID
        case c.LeadScheduled(due_at, attempt_id, because):
            wire.lead_scheduled.due_at.CopyFrom(timestamp(due_at))
            wire.lead_scheduled.attempt_id = attempt_id
            wire.lead_scheduled.because = because
        case c.LeadClosed(reason, attempt_id):
            wire.lead_closed.reason = reason
            wire.lead_closed.attempt_id = attempt_id
    return wire


def _attempt(event: c.Event, origin: c.Origin) -> attempts_pb.AttemptEvent:
    wire = attempts_pb.AttemptEvent(
        attempt_id=origin.attempt_id,
        origin=attempts_pb.Origin(
            campaign_id=event.campaign_id,
            list_id=origin.lead.list_id,
            lead_id=origin.lead.lead_id,
            number_id=NUMBER_ID,
            number_of_attempt=origin.number_of_attempt,
            started_at=timestamp(origin.started_at),
            invented=origin.invented,
        ),
    )
    match event.body:
        case c.AttemptStarted():
            wire.started.mode = MODE
            wire.started.country = "PT"
        case c.AttemptAnswered(by, rang):
            wire.answered.by = _answered_by(by)
            wire.answered.rang.CopyFrom(duration(rang))
        case c.AttemptGreetingEnded():
            wire.greeting_ended.SetInParent()
        case c.AttemptConnected(agent_id, waited):
            wire.connected.agent_id = agent_id
            wire.connected.waited.CopyFrom(duration(waited))
        case c.AttemptEnded() as ended:
            result = f"RESULT_{ended.result.upper().replace('-', '_')}"
            wire.ended.result = attempts_pb.Result.Value(result)
            wire.ended.mode = MODE
            wire.ended.agent_id = ended.agent_id
            if ended.rang is not None:
                wire.ended.answered_by = _answered_by(ended.answered_by)
                wire.ended.rang.CopyFrom(duration(ended.rang))
            if ended.waited is not None:
                wire.ended.waited.CopyFrom(duration(ended.waited))
                wire.ended.talked.CopyFrom(duration(ended.talked))
        case c.AttemptDisposed(disposition, agent_id, converted):
            wire.disposed.disposition = disposition
            wire.disposed.agent_id = agent_id
            wire.disposed.converted = converted
    return wire


def _answered_by(word: str) -> attempts_pb.AnsweredBy.ValueType:
    return attempts_pb.AnsweredBy.Value(f"ANSWERED_BY_{word.upper()}")
