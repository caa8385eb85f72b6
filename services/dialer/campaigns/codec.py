"""Events of campaigns as messages of campaign-events; those of leads are leads/codec.py's.

The caller id and the seller's name stay here: nobody who reads the topic needs them.
"""

from dataclasses import asdict
from decimal import Decimal

from relais.campaigns.v1 import events_pb2 as pb

from eventkit.eventstore import Recorded
from eventkit.wire import timestamp
from services.dialer.campaigns import campaign as c
from services.dialer.campaigns.plan import Settings
from services.dialer.codec import meta_of


def campaign_message(recorded: Recorded[c.Event]) -> bytes:
    """One event of a campaign."""
    event = recorded.event
    wire = pb.CampaignEvent(
        meta=meta_of(recorded, event.at), campaign_id=recorded.stream_id.rpartition("/")[2]
    )
    match event:
        case c.CampaignDrafted(settings=settings):
            wire.drafted.settings.CopyFrom(settings_message(settings))
        case c.CampaignRevised(settings=settings):
            wire.revised.settings.CopyFrom(settings_message(settings))
        case c.CampaignStarted():
            wire.started.SetInParent()
        case c.CampaignPaused(reason=reason):
            wire.paused.reason = reason
        case c.CampaignStopped(reason=reason):
            wire.stopped.reason = reason
        case c.CampaignModeLowered():
            wire.mode_lowered.CopyFrom(lowered_message(event))
        case c.CampaignModeRestored(mode=mode):
            wire.mode_restored.mode = mode.value
    return wire.SerializeToString(deterministic=True)


def lowered_message(event: c.CampaignModeLowered) -> pb.CampaignModeLowered:
    return pb.CampaignModeLowered(
        from_mode=event.from_mode.value,
        to_mode=event.to_mode.value,
        measure=event.measure,
        rate=event.rate,
        limit=event.limit,
        period_began_at=timestamp(event.period_began_at),
        period_ends_at=timestamp(event.period_ends_at),
    )


def settings_message(settings: Settings) -> pb.CampaignSettings:
    contract, costs, goals = settings.contract, settings.costs, settings.goals
    return pb.CampaignSettings(
        name=settings.name,
        purpose=settings.purpose.value,
        mode=settings.mode.value,
        pool_id=settings.pool_id,
        queue_id=settings.queue_id,
        offer_id=settings.offer_id,
        questionnaire_id=settings.questionnaire_id,
        priority=settings.priority,
        ratio=settings.ratio,
        target_abandonment=settings.target_abandonment,
        contract=None if contract is None else pb.Contract(**asdict(contract)),
        costs=None
        if costs is None
        else pb.Costs(
            currency=costs.currency,
            per_attempt=_decimal(costs.per_attempt),
            per_minute=_decimal(costs.per_minute),
            per_agent_hour=_decimal(costs.per_agent_hour),
        ),
        goals=pb.Goals(
            contacts=goals.contacts,
            conversions=goals.conversions,
            attempts=goals.attempts,
            budget=_decimal(goals.budget),
        ),
        ring_seconds=settings.ring_seconds,
        machine_detection=settings.machine_detection,
        callback_campaign_id=settings.callback_campaign_id,
        callback_within_seconds=(
            settings.callback_within_seconds if settings.callback_campaign_id else 0
        ),
    )


def _decimal(amount: Decimal) -> str:
    return f"{amount:f}" if amount else ""
