"""Partners over gRPC: open a complaint, follow all of them through any number of disconnects."""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from typing import Any

import grpc
import pytest
from relais.complaints.v1 import complaint_service_pb2 as pb
from relais.complaints.v1 import events_pb2
from relais.complaints.v1.complaint_service_pb2_grpc import ComplaintServiceStub

from eventkit.callers import Role
from eventkit.eventstore import Cause, EventStore
from eventkit.records import Message
from eventkit.relay import Relay
from eventkit.rpc import start_server
from eventkit.tests.support import until
from services.crm.complaints import complaint as c
from services.crm.complaints.clocks import Severity
from services.crm.complaints.rpc import SERVICE, methods
from services.crm.complaints.service import Complaints, Opening
from services.crm.complaints.tests.support import CALLERS, Api, SetClock, token

Stub = Any


@pytest.fixture
async def stub(service: Complaints) -> AsyncIterator[Stub]:
    server, port = await start_server("127.0.0.1:0", {SERVICE: methods(service)}, CALLERS)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield ComplaintServiceStub(channel)
    await server.stop(None)


class Topic:
    """Where the relay publishes to."""

    def __init__(self) -> None:
        self.messages: list[Message] = []

    async def send_many(self, messages: Sequence[Message]) -> None:
        self.messages += messages

    def of(self, client_id: str) -> list[bytes | None]:
        mine = f"{client_id}/".encode()
        return [each.value for each in self.messages if (each.key or b"").startswith(mine)]


@pytest.fixture
async def topic(store: EventStore) -> AsyncIterator[Topic]:
    topic = Topic()
    relay = Relay(store.engine, topic, poll_s=0.1)  # type: ignore[arg-type]
    running = asyncio.create_task(relay.run())
    yield topic
    relay.stop()
    await running


def auth(client_id: str, role: Role = Role.PARTNER) -> list[tuple[str, str]]:
    return [("authorization", f"Bearer {token([client_id], role)}")]


async def test_opened_once(stub: Stub, api: Api, client_id: str, customer: str) -> None:
    request = pb.OpenComplaintRequest(
        client_id=client_id,
        idempotency_key="once",
        customer_number="K-1",
        about=events_pb2.Subject(kind=events_pb2.SUBJECT_KIND_ORDER, id="o-1"),
        severity=events_pb2.SEVERITY_HIGH,
        channel="web",
        reference="R-1",
        text="It never came.",
    )
    request.occurred_at.FromJsonString("2026-11-23T08:30:00Z")
    first = await stub.OpenComplaint(request, metadata=auth(client_id))
    again = await stub.OpenComplaint(request, metadata=auth(client_id))
    assert first == again
    shown = await api.get(first.complaint_id)
    assert (shown["customer_id"], shown["severity"]) == (customer, "high")
    assert shown["about"] == {"kind": "order", "id": "o-1"}
    assert (shown["text"], shown["reference"]) == ("It never came.", "R-1")
    assert shown["opened_at"] == "2026-11-23T08:30:00Z"
    assert await api.listed() == [first.complaint_id]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"client_id": "another"}, grpc.StatusCode.NOT_FOUND),
        ({"customer_id": "nobody"}, grpc.StatusCode.NOT_FOUND),
        ({"customer_id": "a", "customer_number": "b"}, grpc.StatusCode.INVALID_ARGUMENT),
        ({"customer_id": "a/b"}, grpc.StatusCode.INVALID_ARGUMENT),
        ({"severity": 9}, grpc.StatusCode.INVALID_ARGUMENT),
        ({"about": {"kind": 5}}, grpc.StatusCode.INVALID_ARGUMENT),
        ({"about": {"kind": 77}}, grpc.StatusCode.INVALID_ARGUMENT),
        ({"occurred_at": {"seconds": 1 << 40}}, grpc.StatusCode.INVALID_ARGUMENT),
        ({"text": "a\0b"}, grpc.StatusCode.INVALID_ARGUMENT),
        ({"channel": "Über"}, grpc.StatusCode.INVALID_ARGUMENT),
        ({"reference": "taken"}, grpc.StatusCode.FAILED_PRECONDITION),
    ],
)
async def test_refused(
    stub: Stub, api: Api, client_id: str, change: dict[str, Any], code: grpc.StatusCode
) -> None:
    await api.open(reference="taken")
    request = pb.OpenComplaintRequest(**{"client_id": client_id} | change)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.OpenComplaint(request, metadata=auth(client_id))
    assert caught.value.code() is code
    assert len(await api.listed()) == 1


async def test_following_needs_a_client_of_ones_own(stub: Stub, client_id: str) -> None:
    for asked, position, metadata, code in (
        (client_id, 0, [], grpc.StatusCode.UNAUTHENTICATED),
        ("another", 0, auth(client_id), grpc.StatusCode.NOT_FOUND),
        (client_id, -1, auth(client_id), grpc.StatusCode.INVALID_ARGUMENT),
    ):
        request = pb.StreamComplaintUpdatesRequest(client_id=asked, after_position=position)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.StreamComplaintUpdates(request, metadata=metadata).read()
        assert caught.value.code() is code


async def test_followed_through_disconnects(
    stub: Stub, service: Complaints, api: Api, topic: Topic, clock: SetClock
) -> None:
    """A partner that is cut off at random, and writers meanwhile, of two clients and at once."""
    rng = random.Random(7)
    mine, other = api.client_id, f"{api.client_id}-other"
    writers = 6
    rounds = 10

    async def write(client_id: str, writer: int) -> None:
        calls = Api(api.http, client_id, Role.AGENT)
        id = await calls.open(complaint_id=f"{writer}")
        for number in range(rounds):
            await calls.do(id, "investigate", findings=str(number))
            if number % 5 == 0:
                body = {"wish_id": f"w-{writer}-{number}", "source": "sales", "text": "x"}
                await calls.ok("POST", "/wishes", body)

    expected = writers * (1 + rounds + rounds // 5)
    found: list[pb.StreamComplaintUpdatesResponse] = []
    disconnects = 0

    async def follow() -> None:
        nonlocal disconnects
        while len(found) < expected:
            position = found[-1].position if found else 0
            request = pb.StreamComplaintUpdatesRequest(client_id=mine, after_position=position)
            call = stub.StreamComplaintUpdates(request, metadata=auth(mine))
            with suppress(asyncio.CancelledError):
                for _ in range(rng.randrange(1, 12)):
                    if len(found) == expected:
                        break
                    found.append(await call.read())
            call.cancel()
            disconnects += 1

    async with asyncio.timeout(120), asyncio.TaskGroup() as tasks:
        tasks.create_task(follow())
        for writer in range(writers):
            for client_id in (mine, other):
                tasks.create_task(write(client_id, writer))
    assert disconnects > 5
    positions = [update.position for update in found]
    assert positions == sorted(set(positions))
    assert {update.event.meta.client_id for update in found} == {mine}
    streams: dict[str, list[int]] = {}
    for update in found:
        streams.setdefault(update.event.meta.stream_id, []).append(update.event.meta.version)
    assert len(streams) == writers * (1 + rounds // 5)
    for versions in streams.values():
        assert versions == list(range(1, len(versions) + 1))

    # What they see is what is on the topic, in its order.
    async def published() -> bool:
        return len(topic.of(mine)) >= expected

    await until(published, "all updates on the topic")
    assert [update.event.SerializeToString() for update in found] == topic.of(mine)


async def test_nothing_new_is_waited_for(
    stub: Stub, service: Complaints, api: Api, topic: Topic, client_id: str
) -> None:
    request = pb.StreamComplaintUpdatesRequest(client_id=client_id)
    call = stub.StreamComplaintUpdates(request, metadata=auth(client_id))
    reading = asyncio.create_task(call.read())
    await asyncio.sleep(0.3)
    assert not reading.done()
    opening = Opening(c.Details(), Severity.NORMAL, "x")
    answer = await service.open(Cause(client_id, "a"), opening)
    update = await asyncio.wait_for(reading, 5)
    assert update.event.complaint_id == answer["complaint_id"]
    call.cancel()
