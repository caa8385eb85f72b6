"""gRPC for partners: open a complaint, and follow what becomes of all of them."""

from collections.abc import AsyncIterator
from typing import Final

from relais.complaints.v1 import complaint_service_pb2 as pb
from relais.complaints.v1.events_pb2 import ComplaintEvent

from eventkit.decider import Invalid
from eventkit.rpc import Context, Method, cause_of, client_of, stream, unary
from services.crm.complaints import complaint as c
from services.crm.complaints.clocks import Severity
from services.crm.complaints.service import Complaints, Opening
from services.crm.complaints.store import COMPLAINTS, WISHES

SERVICE: Final = pb.DESCRIPTOR.services_by_name["ComplaintService"].full_name
MAX_POSITION = 2**63 - 1


def methods(service: Complaints) -> dict[str, Method]:
    """ComplaintService, by the names of its methods."""

    async def open(request: pb.OpenComplaintRequest, context: Context) -> pb.OpenComplaintResponse:
        cause = await cause_of(context, request.client_id, request.idempotency_key, request)
        answer = await service.open(cause, _opening(request))
        return pb.OpenComplaintResponse(**answer)

    async def updates(
        request: pb.StreamComplaintUpdatesRequest, context: Context
    ) -> AsyncIterator[pb.StreamComplaintUpdatesResponse]:
        client_id = await client_of(request.client_id, context)
        if not 0 <= request.after_position <= MAX_POSITION:
            raise Invalid("after_position", "a position that was given, or 0")
        following = service.events.follow(
            (COMPLAINTS.name, WISHES.name), client_id, request.after_position
        )
        async for update in following:
            yield pb.StreamComplaintUpdatesResponse(
                position=update.sequence, event=ComplaintEvent.FromString(update.message)
            )

    return {
        "OpenComplaint": unary(pb.OpenComplaintRequest, open, "partner"),
        "StreamComplaintUpdates": stream(pb.StreamComplaintUpdatesRequest, updates, "partner"),
    }


def _opening(request: pb.OpenComplaintRequest) -> Opening:
    """Raises Invalid."""
    if request.customer_id and request.customer_number:
        raise Invalid("customer_number", "one of customer_id and customer_number, not both")
    try:
        severity = Severity(request.severity or Severity.NORMAL)
    except ValueError:
        raise Invalid("severity", "not one of those that there are") from None
    try:
        kind = c.SubjectKind(request.about.kind)
    except ValueError:
        raise Invalid("about.kind", "not one of those that there are") from None
    at = None
    if request.HasField("occurred_at"):
        at = request.occurred_at.seconds * 1_000_000 + request.occurred_at.nanos // 1_000
    details = c.Details(
        about=c.Subject(kind, request.about.id),
        channel=request.channel or "web",
        reference=request.reference,
    )
    return Opening(
        details,
        severity,
        request.text,
        request.customer_id or request.customer_number,
        at=at,
    )
