"""Events of consents and lists as messages of customer-events; checks and answers of gRPC.

No address, hash, proof's reference or text is in any message.
"""

from google.protobuf.timestamp_pb2 import Timestamp
from relais.customers.v1 import customer_service_pb2 as rpc
from relais.customers.v1 import events_pb2 as pb

from eventkit.decider import Invalid
from eventkit.eventstore import Recorded
from eventkit.wire import timestamp
from services.crm.codec import meta_of
from services.crm.consent import consent, donotcall
from services.crm.consent.contact import Verdict

SECOND = 1_000_000
LAST_SECOND = 253_402_300_799
"""9999-12-31T23:59:59Z: the last that a Timestamp can hold."""


def consent_message(recorded: Recorded[consent.Event]) -> bytes | None:
    """An event of a consent. To others, one that is erased with its person is withdrawn."""
    event = recorded.event
    message = pb.CustomerEvent(meta=meta_of(recorded))
    match event:
        case consent.ConsentGiven():
            message.customer_id = event.customer_id
            message.consent_given.consent_id = event.consent_id
            message.consent_given.channel = event.channel
            message.consent_given.purpose = event.purpose
            message.consent_given.proof = event.proof
            if event.expires_at is not None:
                message.consent_given.expires_at.CopyFrom(timestamp(event.expires_at))
        case consent.ConsentWithdrawn():
            message.customer_id = event.customer_id
            message.consent_withdrawn.consent_id = event.consent_id
            message.consent_withdrawn.channel = event.channel
            message.consent_withdrawn.purpose = event.purpose
        case consent.ConsentErased():
            message.consent_withdrawn.consent_id = event.consent_id
            message.consent_withdrawn.channel = event.channel
            message.consent_withdrawn.purpose = event.purpose
    return message.SerializeToString()


def list_message(recorded: Recorded[donotcall.Event]) -> bytes | None:
    """A list has a new version, be it of its settings alone."""
    added = removed = 0
    if isinstance(recorded.event, donotcall.NumbersChanged | donotcall.ImportPublished):
        added, removed = recorded.event.added, recorded.event.removed
    message = pb.CustomerEvent(
        meta=meta_of(recorded),
        do_not_call_list_published=pb.DoNotCallListPublished(
            list_id=recorded.stream_id.rpartition("/")[2],
            list_version=recorded.version,
            added=added,
            removed=removed,
            size=recorded.event.size,
        ),
    )
    return message.SerializeToString()


def microseconds(time: Timestamp, field: str) -> int:
    """Raises Invalid for a time before 1970 or after 9999."""
    if not (0 <= time.seconds <= LAST_SECOND and 0 <= time.nanos < 1_000_000_000):
        raise Invalid(field, "must lie between the years 1970 and 9999")
    return time.seconds * SECOND + time.nanos // 1000


def verdict_message(verdict: Verdict) -> rpc.CheckContactResponse:
    return rpc.CheckContactResponse(
        allowed=verdict.allowed,
        grounds=[
            rpc.CheckContactResponse.Ground(
                allows=ground.allows,
                kind=ground.kind,
                id=ground.id,
                version=ground.version,
                reason=ground.reason,
            )
            for ground in verdict.grounds
        ],
    )
