"""Events of complaints and wishes as messages of complaint-events: ids and codes, no texts."""

from typing import Any

from google.protobuf.duration_pb2 import Duration
from relais.complaints.v1 import events_pb2 as pb

from eventkit.eventstore import Recorded
from eventkit.wire import timestamp
from services.crm.codec import meta_of
from services.crm.complaints import clocks as k
from services.crm.complaints import complaint as c
from services.crm.complaints import wish as w

_CLOCKS = {
    k.FIRST_RESPONSE: pb.CLOCK_FIRST_RESPONSE,
    k.RESOLUTION: pb.CLOCK_RESOLUTION,
}


def complaint_message(recorded: Recorded[c.Event]) -> bytes:
    """One event of a complaint."""
    event, wire = recorded.event, _envelope(recorded)
    match event:
        case c.ComplaintOpened(details=details):
            wire.opened.CopyFrom(
                pb.ComplaintOpened(
                    customer_id=details.customer_id,
                    source=details.source,
                    about=_subject(details.about),
                    severity=_severity(event.severity),
                    channel=details.channel,
                    reference=details.reference,
                    call_id=details.call_id,
                    due=_due(event.clocks),
                    date_corrected=details.date_corrected,
                )
            )
        case c.ComplaintAcknowledged():
            wire.acknowledged.SetInParent()
        case c.ComplaintAssigned():
            wire.assigned.assignee = event.assignee
        case c.ComplaintInvestigated():
            wire.investigated.SetInParent()
        case c.ComplaintPaused():
            wire.paused.reason = event.reason
        case c.ComplaintResumed():
            wire.resumed.CopyFrom(pb.ComplaintResumed(due=_due(event.clocks)))
        case c.ComplaintSeverityChanged():
            wire.severity_changed.CopyFrom(
                pb.ComplaintSeverityChanged(
                    severity=_severity(event.severity), due=_due(event.clocks)
                )
            )
        case c.ComplaintUpheld():
            wire.upheld.CopyFrom(
                pb.ComplaintUpheld(reasons=event.reasons, responsible=_subject(event.responsible))
            )
        case c.ComplaintRejected():
            wire.rejected.CopyFrom(pb.ComplaintRejected(reasons=event.reasons))
        case c.ComplaintRemedied():
            wire.remedied.CopyFrom(
                pb.ComplaintRemedied(
                    remedy=event.remedy,
                    amount="" if event.amount is None else f"{event.amount:f}",
                    currency=event.currency,
                )
            )
        case c.ComplaintClosed():
            wire.closed.CopyFrom(_took(event.clocks))
        case c.ComplaintAppealed():
            wire.appealed.CopyFrom(pb.ComplaintAppealed(due=_due(event.clocks)))
        case c.ComplaintReopened():
            wire.reopened.CopyFrom(
                pb.ComplaintReopened(reason=event.reason, due=_due(event.clocks))
            )
        case c.ComplaintPolicyApplied():
            wire.policy_applied.CopyFrom(
                pb.ComplaintPolicyApplied(
                    policy_version=event.policy_version, due=_due(event.clocks)
                )
            )
        case c.ComplaintClockRanOut():
            wire.clock_ran_out.clock = _CLOCKS[event.clock]
    return wire.SerializeToString()


def wish_message(recorded: Recorded[w.Event]) -> bytes:
    """One event of a wish."""
    event, wire = recorded.event, _envelope(recorded)
    match event:
        case w.WishExpressed(voice=voice):
            wire.wish_expressed.CopyFrom(
                pb.WishExpressed(
                    customer_id=voice.customer_id,
                    source=voice.source,
                    call_id=event.call_id,
                    topic_id=event.topic_id,
                )
            )
        case w.WishSupported(voice=voice):
            wire.wish_supported.CopyFrom(
                pb.WishSupported(
                    customer_id=voice.customer_id,
                    source=voice.source,
                    call_id=event.call_id,
                    supporters=event.supporters,
                )
            )
        case w.WishMerged():
            wire.wish_merged.into_wish_id = event.into
        case w.WishUnmerged():
            wire.wish_unmerged.from_wish_id = event.from_
        case w.WishClosed():
            wire.wish_closed.outcome = event.outcome.value
    return wire.SerializeToString()


def _envelope(recorded: Recorded[Any]) -> pb.ComplaintEvent:
    return pb.ComplaintEvent(
        meta=meta_of(recorded, recorded.event.at),
        complaint_id=recorded.stream_id.rpartition("/")[2],
    )


def _severity(severity: k.Severity) -> pb.Severity.ValueType:
    return pb.Severity.ValueType(severity)


def _subject(subject: c.Subject) -> pb.Subject | None:
    if subject.kind is c.SubjectKind.NONE:
        return None
    return pb.Subject(kind=pb.SubjectKind.ValueType(subject.kind), id=subject.id)


def _due(clocks: k.Clocks | None) -> pb.Due | None:
    if clocks is None:
        return None
    return pb.Due(**{name: timestamp(at) for name, at in k.due(clocks).items()})


def _took(clocks: k.Clocks | None) -> pb.ComplaintClosed:
    if clocks is None:
        return pb.ComplaintClosed()  # Imported: nobody knows.
    return pb.ComplaintClosed(
        first_response_took=_duration(clocks.first_response.used),
        resolution_took=_duration(clocks.resolution.used),
    )


def _duration(us: int) -> Duration:
    return Duration(seconds=us // 1_000_000, nanos=us % 1_000_000 * 1000)
