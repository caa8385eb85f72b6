"""gRPC for the client company's system: leads, campaigns, attempts, and following them.
proto/relais/dialer/v1/campaign_service.proto.

A deadline that passes leaves a command done or not done, never half: the same again with the same
idempotency key finds out, and does it if it was not.
"""

import re
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from typing import Final

import grpc
from relais.attempts.v1 import events_pb2 as attempts_pb
from relais.dialer.v1 import campaign_service_pb2 as pb

from eventkit.decider import Invalid, NotFound, Rejected
from eventkit.eventstore import Recorded
from eventkit.followers import (
    DEFAULT_WINDOW,
    MAX_POSITION,
    MAX_WINDOW,
    Subscribers,
    TakenOver,
)
from eventkit.rpc import Context, Method, bidi, cause_of, client_of, unary
from eventkit.wire import microseconds, timestamp
from services.dialer.attempts import attempt as a
from services.dialer.attempts.codec import attempt_message
from services.dialer.attempts.store import ATTEMPTS
from services.dialer.campaigns import campaign as c
from services.dialer.campaigns.codec import lowered_message, settings_message
from services.dialer.campaigns.service import Live, results_of
from services.dialer.campaigns.store import CAMPAIGNS
from services.dialer.dispositions.heard import Said
from services.dialer.leads.events import Address
from services.dialer.leads.service import Wanted
from services.dialer.leads.store import IMPORTS, LEADS
from services.dialer.service import Dialer

SERVICE: Final = pb.DESCRIPTOR.services_by_name["CampaignService"].full_name
ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:+-]{0,127}")
PARTNER: Final = "partner"

_STATUSES: Final = {
    c.Status.NONE: pb.CAMPAIGN_STATUS_UNSPECIFIED,
    c.Status.DRAFT: pb.CAMPAIGN_STATUS_DRAFT,
    c.Status.RUNNING: pb.CAMPAIGN_STATUS_RUNNING,
    c.Status.PAUSED: pb.CAMPAIGN_STATUS_PAUSED,
    c.Status.STOPPED: pb.CAMPAIGN_STATUS_STOPPED,
}


def services(dialer: Dialer) -> dict[str, Mapping[str, Method]]:
    """Methods by service, for eventkit.rpc.start_server."""
    edge = _Edge(dialer)
    return {
        SERVICE: {
            "AddLeads": bidi(pb.AddLeadsRequest, edge.add_leads, PARTNER),
            "GetCampaign": unary(pb.GetCampaignRequest, edge.campaign, PARTNER),
            "GetAttempt": unary(pb.GetAttemptRequest, edge.attempt, PARTNER),
            "DisposeAttempt": unary(pb.DisposeAttemptRequest, edge.dispose, PARTNER),
            "FollowCampaigns": bidi(pb.FollowCampaignsRequest, edge.follow, PARTNER),
        }
    }


class _Edge:
    def __init__(self, dialer: Dialer) -> None:
        self._dialer = dialer
        categories = [CAMPAIGNS.name, IMPORTS.name, LEADS.name, ATTEMPTS.name]
        self._subscribers = Subscribers(dialer.attempts.events, categories)

    async def add_leads(
        self, requests: AsyncIterator[pb.AddLeadsRequest], context: Context
    ) -> AsyncIterator[pb.AddLeadsResponse]:
        async for request in requests:
            yield await self._add(request, context)

    async def _add(self, request: pb.AddLeadsRequest, context: Context) -> pb.AddLeadsResponse:
        cause = await cause_of(context, request.client_id, request.idempotency_key, request)
        try:
            answer = await self._dialer.leads.add(
                cause,
                _id("campaign_id", request.campaign_id),
                _id("list_id", request.list_id or PARTNER),
                _wanted(request),
                PARTNER,
                _id("customer_id", request.customer_id) if request.customer_id else "",
                microseconds(request.due_at) if request.HasField("due_at") else 0,
            )
        except Invalid as error:
            return _refused(error.field, error.reason)
        except Rejected as error:
            return _refused(error.field or "", error.reason)
        except NotFound as error:
            return _refused("campaign_id", str(error))
        taken = pb.LeadTaken(lead_id=answer["lead_id"], version=answer["version"])
        return pb.AddLeadsResponse(taken=taken)

    async def campaign(
        self, request: pb.GetCampaignRequest, context: Context
    ) -> pb.GetCampaignResponse:
        client_id = await client_of(request.client_id, context)
        live = await self._dialer.campaigns.live(client_id, _id("campaign_id", request.campaign_id))
        return pb.GetCampaignResponse(campaign=_campaign(live))

    async def attempt(
        self, request: pb.GetAttemptRequest, context: Context
    ) -> pb.GetAttemptResponse:
        client_id = await client_of(request.client_id, context)
        facts = await self._dialer.attempts.history(
            client_id, _id("attempt_id", request.attempt_id)
        )
        return _attempt(facts)

    async def dispose(
        self, request: pb.DisposeAttemptRequest, context: Context
    ) -> pb.DisposeAttemptResponse:
        cause = await cause_of(context, request.client_id, request.idempotency_key, request)
        said = Said(
            0,
            _id("attempt_id", request.attempt_id),
            _id("disposition", request.disposition),
            request.agent_id,
            refusal_reason=request.refusal_reason,
            converted=request.converted if request.HasField("converted") else None,
        )
        answer = await self._dialer.dispositions.dispose(cause, said)
        return pb.DisposeAttemptResponse(**answer)

    async def follow(
        self, requests: AsyncIterator[pb.FollowCampaignsRequest], context: Context
    ) -> AsyncIterator[pb.FollowCampaignsResponse]:
        wanted = await _subscribe(requests)
        client_id = await client_of(wanted.client_id, context)
        subscription = await self._subscribers.begin(
            client_id,
            _id("subscriber", wanted.subscriber),
            _position(wanted),
            _window(wanted),
        )
        try:
            async with aclosing(subscription.updates(_acknowledged(requests))) as updates:
                async for update in updates:
                    wire = pb.FollowCampaignsResponse(
                        position=update.sequence, previous_position=update.previous
                    )
                    if update.category == ATTEMPTS.name:
                        wire.attempt.MergeFromString(update.message)
                    else:
                        wire.campaign.MergeFromString(update.message)
                    yield wire
        except TakenOver as error:
            await context.abort(grpc.StatusCode.ABORTED, str(error))


# Requests.


def _id(field: str, value: str) -> str:
    if not ID.fullmatch(value):
        raise Invalid(field, f"must match ^{ID.pattern}$")
    return value


def _wanted(request: pb.AddLeadsRequest) -> Wanted:
    """What the contract has no way to leave out is said only where it says something."""
    given = request.address
    address = Address(given.lines, given.postal_code, given.region, given.country)
    return Wanted(
        numbers=list(request.numbers),
        name=request.name or None,
        address=address if request.HasField("address") else None,
        reference=request.reference or None,
        attributes=dict(request.attributes) or None,
        zone=request.zone or None,
        priority=request.priority or None,
        country=request.country,
    )


async def _subscribe(requests: AsyncIterator[pb.FollowCampaignsRequest]) -> pb.Subscribe:
    async for request in requests:
        if request.WhichOneof("request") == "subscribe":
            return request.subscribe
        break
    raise Invalid("subscribe", "the first request says who subscribes")


def _position(wanted: pb.Subscribe) -> int | None:
    if not wanted.HasField("after_position"):
        return None
    if not 0 <= wanted.after_position <= MAX_POSITION:
        raise Invalid("after_position", "a position that was given, or 0")
    return wanted.after_position


def _window(wanted: pb.Subscribe) -> int:
    if not 0 <= wanted.window <= MAX_WINDOW:
        raise Invalid("window", f"1 to {MAX_WINDOW}, or 0 for {DEFAULT_WINDOW}")
    return wanted.window or DEFAULT_WINDOW


async def _acknowledged(
    requests: AsyncIterator[pb.FollowCampaignsRequest],
) -> AsyncIterator[int]:
    async for request in requests:
        if request.WhichOneof("request") != "acknowledge":
            raise Invalid("acknowledge", "all requests after the first acknowledge")
        yield request.acknowledge.position


# Answers.


def _refused(field: str, reason: str) -> pb.AddLeadsResponse:
    return pb.AddLeadsResponse(refused=pb.LeadRefused(field=field, reason=reason))


def _campaign(live: Live) -> pb.CampaignState:
    state = live.found.campaign
    assert state.settings is not None
    return pb.CampaignState(
        campaign_id=live.found.campaign_id,
        version=live.found.version,
        status=_STATUSES[state.status],
        status_reason=state.status_reason,
        settings=settings_message(state.settings),
        mode=state.mode.value,
        lowered=None if state.lowered is None else lowered_message(state.lowered),
        attempts=live.totals.attempts,
        open=live.open,
        contacts=live.totals.contacts,
        conversions=live.totals.conversions,
        results=results_of(live.counts),
    )


def _attempt(facts: list[Recorded[a.Event]]) -> pb.GetAttemptResponse:
    """By the events' own messages: of each kind the last one counts."""
    wire = pb.GetAttemptResponse(version=facts[-1].version)
    for fact in facts:
        event = attempts_pb.AttemptEvent.FromString(attempt_message(fact))
        match fact.event:
            case a.AttemptStarted():
                wire.origin.CopyFrom(event.origin)
                wire.started.CopyFrom(event.started)
            case a.AttemptEnded(at):
                wire.ended.CopyFrom(event.ended)
                wire.ended_at.CopyFrom(timestamp(at))
            case a.AttemptDisposed():
                wire.disposed.CopyFrom(event.disposed)
    return wire
