"""Events of leads as messages of campaign-events: ids, codes, places, times; nothing personal."""

from collections.abc import Iterable
from functools import lru_cache

from relais.campaigns.v1 import events_pb2 as pb

from eventkit.eventstore import Recorded
from eventkit.wire import timestamp
from services.dialer.codec import meta_of
from services.dialer.compliance.place import places_of_key
from services.dialer.leads import events as ev
from services.dialer.leads import listimport


def lead_message(recorded: Recorded[ev.Event]) -> bytes:
    """One event of a lead."""
    event = recorded.event
    origin = event.origin
    wire = pb.CampaignEvent(
        meta=meta_of(recorded),
        campaign_id=origin.campaign_id,
        lead=pb.Lead(
            lead_id=recorded.stream_id.rpartition("/")[2],
            list_id=origin.list_id,
            customer_id=origin.customer_id,
        ),
    )
    match event:
        case ev.LeadAdded():
            wire.lead_added.CopyFrom(
                pb.LeadAdded(
                    numbers=_numbers(event.numbers),
                    priority=event.priority,
                    source=event.source,
                    due_at=timestamp(event.due_at),
                )
            )
        case ev.LeadCorrected():
            wire.lead_corrected.fields.extend(event.fields)
            wire.lead_corrected.numbers.extend(_numbers(event.numbers))
        case ev.LeadDialled():
            wire.lead_dialled.attempt_id = event.attempt_id
            wire.lead_dialled.number_id = event.number_id
        case ev.LeadScheduled():
            wire.lead_scheduled.CopyFrom(
                pb.LeadScheduled(
                    due_at=timestamp(event.due_at),
                    attempt_id=event.attempt_id,
                    because=event.because,
                    number_id=event.number_id,
                )
            )
        case ev.LeadHeldBack():
            wire.lead_held_back.CopyFrom(
                pb.LeadHeldBack(
                    forbidden_by=[
                        pb.RuleUse(rule=each.rule, version=each.version, said=each.said)
                        for each in event.forbidden_by
                    ],
                    until=None if event.until is None else timestamp(event.until),
                    number_id=event.number_id,
                )
            )
        case ev.LeadClosed():
            wire.lead_closed.reason = event.reason
            wire.lead_closed.attempt_id = event.attempt_id
            wire.lead_closed.because = event.because
        case ev.LeadReopened():
            wire.lead_reopened.due_at.CopyFrom(timestamp(event.due_at))
        case ev.LeadPreviewed():
            wire.lead_previewed.agent_id = event.agent_id
            wire.lead_previewed.expires_at.CopyFrom(timestamp(event.expires_at))
        case ev.LeadPreviewAccepted():
            wire.lead_preview_accepted.agent_id = event.agent_id
        case ev.LeadPreviewSkipped():
            wire.lead_preview_skipped.agent_id = event.agent_id
            wire.lead_preview_skipped.reason = event.reason
        case ev.LeadPreviewExpired():
            wire.lead_preview_expired.agent_id = event.agent_id
        case ev.LeadCallbackPromised():
            wire.lead_callback_promised.CopyFrom(
                pb.LeadCallbackPromised(
                    from_at=timestamp(event.from_at),
                    until_at=timestamp(event.until_at),
                    agent_id=event.agent_id,
                    attempt_id=event.attempt_id,
                )
            )
        case ev.LeadCallbackEscalated():
            wire.lead_callback_escalated.until_at.CopyFrom(timestamp(event.until_at))
            wire.lead_callback_escalated.agent_id = event.agent_id
    return wire.SerializeToString(deterministic=True)


def import_message(recorded: Recorded[listimport.Event]) -> bytes | None:
    """What an import came to; that it was opened concerns nobody else."""
    event = recorded.event
    if not isinstance(event, listimport.LeadsImported):
        return None
    return pb.CampaignEvent(
        meta=meta_of(recorded),
        campaign_id=event.campaign_id,
        leads_imported=pb.LeadsImported(
            list_id=event.list_id,
            import_id=recorded.stream_id.rpartition("/")[2],
            added=event.counts.added,
            rejected=event.counts.rejected,
            duplicates=event.counts.duplicates,
        ),
    ).SerializeToString(deterministic=True)


def _numbers(numbers: Iterable[ev.Number]) -> list[pb.Number]:
    return [_number(each.number_id, each.place, each.kind) for each in numbers]


@lru_cache(maxsize=16_384)
def _where(key: str) -> tuple[str, str, tuple[str, ...]]:
    """The country and region that all places of a key share, and the zones of all of them."""
    places = places_of_key(key)
    countries = {each.country for each in places}
    regions = {each.region for each in places}
    return (
        countries.pop() if len(countries) == 1 else "",
        regions.pop() if len(regions) == 1 else "",
        tuple(sorted({zone for each in places for zone in each.zones})),
    )


def _number(number_id: str, place: str, kind: str) -> pb.Number:
    country, region, zones = _where(place)
    return pb.Number(number_id=number_id, country=country, region=region, zones=zones, kind=kind)
