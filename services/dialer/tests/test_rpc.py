"""Partners over gRPC: leads in, how campaigns and attempts stand, what was made of a call, and
following all of it."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import grpc
import pytest
from relais.dialer.v1 import campaign_service_pb2 as pb
from relais.dialer.v1.campaign_service_pb2_grpc import CampaignServiceStub
from sqlalchemy.ext.asyncio import AsyncEngine

from eventkit.callers import Role
from eventkit.eventstore import EventStore
from eventkit.records import Message
from eventkit.relay import Relay
from eventkit.rpc import start_server
from services.dialer.rpc import services
from services.dialer.service import Dialer
from services.dialer.tests.desk import CALLERS, NOBODY, TALKED, Desk, open_desk

Code = grpc.StatusCode


@dataclass
class Erp:
    """A partner's program."""

    stub: Any
    client_id: str

    def token(self, client_id: str | None = None) -> list[tuple[str, str]]:
        now = time.time_ns() // 1000
        issued = CALLERS.issue("erp", [client_id or self.client_id], Role.PARTNER, now, 3600)
        return [("authorization", f"Bearer {issued}")]

    async def ask(self, method: str, request: Any, **more: Any) -> Any:
        return await getattr(self.stub, method)(request, **{"metadata": self.token(), **more})

    async def refused(self, method: str, request: Any) -> tuple[grpc.StatusCode, str]:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await self.ask(method, request)
        return caught.value.code(), caught.value.details() or ""

    async def add(self, *requests: pb.AddLeadsRequest) -> list[pb.AddLeadsResponse]:
        call = self.stub.AddLeads(iter(requests), metadata=self.token())
        return [answer async for answer in call]

    def lead(self, key: str = "", **more: Any) -> pb.AddLeadsRequest:
        return pb.AddLeadsRequest(
            **{
                "client_id": self.client_id,
                "idempotency_key": key,
                "campaign_id": "spring",
                "list_id": "may",
                "numbers": ["+33612345678"],
                "name": "Ann Example",
                **more,
            }
        )


class Silence:
    """Where the relay publishes to, when only its numbers are wanted."""

    async def send_many(self, messages: Sequence[Message]) -> None: ...


@pytest.fixture
async def relay(engine: AsyncEngine) -> AsyncIterator[None]:
    relay = Relay(engine, Silence())  # type: ignore[arg-type]
    running = asyncio.create_task(relay.run())
    yield
    relay.stop()
    await running


@pytest.fixture
async def erp(store: EventStore, client_id: str) -> AsyncIterator[Erp]:
    async def known(_: str) -> bool:
        return True

    server, port = await start_server("127.0.0.1:0", services(Dialer.over(store)), CALLERS, known)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield Erp(CampaignServiceStub(channel), client_id)  # type: ignore[no-untyped-call]
    await server.stop(None)


@pytest.fixture
async def desk(store: EventStore, client_id: str) -> AsyncIterator[Desk]:
    async with open_desk(store, client_id) as desk:
        await desk.campaign()
        yield desk


async def test_leads_one_answer_each(erp: Erp, desk: Desk) -> None:
    answers = await erp.add(
        erp.lead("k-1"),
        erp.lead("k-2", numbers=["12"]),
        erp.lead("k-3", campaign_id="no-such"),
        erp.lead("k-4", numbers=["06 98 76 54 32"], country="FR", reference="crm-17"),
        erp.lead("k-5", numbers=["+33612345678"]),
    )
    kinds = [answer.WhichOneof("outcome") for answer in answers]
    assert kinds == ["taken", "refused", "refused", "taken", "refused"]
    assert answers[1].refused.field.startswith("numbers")
    assert answers[2].refused.field == "campaign_id"
    assert "numbers" in answers[4].refused.field, "the first lead has it"
    again = await erp.add(erp.lead("k-1"))
    assert again == answers[:1]


async def test_how_a_campaign_stands(erp: Erp, desk: Desk) -> None:
    await desk.dialled("at-1", *TALKED)
    await desk.dialled("at-2", *NOBODY)
    await desk.dialled("at-3")
    request = pb.GetCampaignRequest(client_id=erp.client_id, campaign_id="spring")
    campaign = (await erp.ask("GetCampaign", request)).campaign
    assert campaign.status == pb.CAMPAIGN_STATUS_RUNNING
    assert (campaign.mode, campaign.settings.purpose) == ("predictive", "sales")
    assert (campaign.attempts, campaign.open, campaign.contacts) == (3, 1, 1)
    assert dict(campaign.results) == {"connected": 1, "no-answer": 1}
    unknown = pb.GetCampaignRequest(client_id=erp.client_id, campaign_id="autumn")
    assert (await erp.refused("GetCampaign", unknown))[0] is Code.NOT_FOUND
    theirs = pb.GetCampaignRequest(client_id="somebody-else", campaign_id="spring")
    assert (await erp.refused("GetCampaign", theirs))[0] is Code.NOT_FOUND


async def test_an_attempt_and_what_was_made_of_it(erp: Erp, desk: Desk) -> None:
    await desk.dialled("at-1", *TALKED)
    request = pb.DisposeAttemptRequest(
        client_id=erp.client_id,
        idempotency_key="k-1",
        attempt_id="at-1",
        disposition="sale",
        agent_id="ann",
        converted=True,
    )
    first = await erp.ask("DisposeAttempt", request)
    assert (first.version, first.converted) == (6, True)
    assert await erp.ask("DisposeAttempt", request) == first
    asked = pb.GetAttemptRequest(client_id=erp.client_id, attempt_id="at-1")
    attempt = await erp.ask("GetAttempt", asked)
    assert [use.rule for use in attempt.started.allowed_by] == ["fr.hours"]
    assert attempt.origin.campaign_id == "spring"
    assert attempt.ended.agent_id == "ann"
    assert attempt.ended.talked.ToMicroseconds() == 59_700_000
    assert attempt.disposed.converted
    request.disposition, request.idempotency_key = "a sale!", "k-2"
    code, details = await erp.refused("DisposeAttempt", request)
    assert code is Code.INVALID_ARGUMENT
    assert "disposition" in details


async def test_followed_from_the_beginning_and_on_after_a_break(
    erp: Erp, desk: Desk, relay: None
) -> None:
    await desk.dialled("at-1", *TALKED)

    async def follow(wanted: int, acknowledge: bool) -> list[pb.FollowCampaignsResponse]:
        call = erp.stub.FollowCampaigns(metadata=erp.token())
        subscribe = pb.Subscribe(client_id=erp.client_id, subscriber="erp")
        await call.write(pb.FollowCampaignsRequest(subscribe=subscribe))
        found: list[pb.FollowCampaignsResponse] = []
        async with asyncio.timeout(30):
            while len(found) < wanted:
                found.append(await call.read())
        if acknowledge:
            position = pb.Acknowledge(position=found[-1].position)
            await call.write(pb.FollowCampaignsRequest(acknowledge=position))
        await call.done_writing()
        with suppress(asyncio.TimeoutError, grpc.aio.AioRpcError):
            async with asyncio.timeout(10):
                while await call.read() is not grpc.aio.EOF:  # type: ignore[attr-defined]
                    pass
        return found

    # The campaign drafted and started; the lead added, dialled, closed; five of the attempt.
    first = await follow(10, acknowledge=True)
    kinds = [str(getattr(each, str(each.WhichOneof("event"))).WhichOneof("body")) for each in first]
    assert kinds[:5] == ["drafted", "started", "lead_added", "lead_dialled", "started"]
    assert sorted(kinds[5:]) == [
        "answered",
        "connected",
        "ended",
        "greeting_ended",
        "lead_closed",
    ]
    assert first[0].previous_position == 0
    for before, after in pairwise(first):
        assert after.previous_position == before.position, "none is missing"
    await desk.do("/campaigns/spring/pause")
    (paused,) = await follow(1, acknowledge=False)
    assert paused.campaign.paused.reason == "by-hand"
    assert paused.previous_position == first[-1].position
