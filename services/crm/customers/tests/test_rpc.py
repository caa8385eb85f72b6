"""Partners over gRPC."""

from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from relais.customers.v1 import customer_service_pb2 as pb
from relais.customers.v1.customer_service_pb2_grpc import CustomerServiceStub

from eventkit.callers import Role
from eventkit.eventstore import EventStore
from eventkit.rpc import start_server
from services.crm.customers.rpc import methods
from services.crm.customers.tests.support import CALLERS, make_service, token

SERVICE = "relais.customers.v1.CustomerService"


class Partner:
    def __init__(self, channel: grpc.aio.Channel, client_id: str) -> None:
        self._stub: Any = CustomerServiceStub(channel)
        self.client_id = client_id
        self._metadata = (("authorization", f"Bearer {token([client_id], Role.PARTNER)}"),)

    async def upsert(self, key: str = "", client_id: str = "", **fields: Any) -> Any:
        request = pb.UpsertCustomerRequest(
            client_id=client_id or self.client_id,
            idempotency_key=key,
            customer=pb.Customer(**fields),
        )
        return await self._stub.UpsertCustomer(request, metadata=self._metadata)

    async def look_up(self, client_id: str = "", **key: str) -> list[Any]:
        request = pb.LookUpCustomerRequest(client_id=client_id or self.client_id, **key)
        answer = await self._stub.LookUpCustomer(request, metadata=self._metadata)
        return list(answer.customers)


@pytest.fixture
async def partner(store: EventStore, client_id: str) -> AsyncIterator[Partner]:
    service = {SERVICE: methods(make_service(store))}
    server, port = await start_server("127.0.0.1:0", service, CALLERS)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield Partner(channel, client_id)
    await server.stop(0)


async def refused(call: Any) -> tuple[grpc.StatusCode, str]:
    """The code, and the field at fault."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    status = rpc_status.from_call(caught.value)
    field = ""
    for detail in status.details if status else ():
        request = error_details_pb2.BadRequest()
        if detail.Unpack(request):
            field = request.field_violations[0].field
    return caught.value.code(), field


async def test_upserted_and_looked_up(partner: Partner) -> None:
    fields = {
        "number": "K-1",
        "name": "Anaïs Lefèvre",
        "phones": ["+33 6 12 34 56 78"],
        "emails": ["anais@Example.com"],
        "language": "fr",
        "time_zone": "Europe/Paris",
        "preferred_channel": "voice",
        "address": "12 rue des Lilas",
    }
    first = await partner.upsert("k-1", **fields)
    assert (first.version, first.created) == (1, True)
    assert await partner.upsert("k-1", **fields) == first
    again = await partner.upsert(**fields)
    assert (again.customer_id, again.version, again.created) == (first.customer_id, 1, False)
    changed = await partner.upsert(number="K-1", name="Anaïs Roux")
    assert changed.version == 2
    for key in (
        {"customer_id": first.customer_id},
        {"number": "K-1"},
        {"phone": "+33612345678"},
        {"email": "ANAIS@example.com"},
    ):
        (found,) = await partner.look_up(**key)
        assert found.customer_id == first.customer_id
        assert (found.name, found.version) == ("Anaïs Roux", 2)
        assert list(found.phones) == ["+33612345678"]
        assert list(found.emails) == ["anais@example.com"]
        assert (found.language, found.time_zone) == ("fr", "Europe/Paris")
        assert (found.preferred_channel, found.address) == ("voice", "12 rue des Lilas")


async def test_a_family(partner: Partner) -> None:
    for n in range(3):
        await partner.upsert(number=f"K-{n}", name=f"Ann {n}", phones=["+33142685300"])
    found = await partner.look_up(phone="+33142685300")
    assert [each.number for each in found] == ["K-0", "K-1", "K-2"]


async def test_refused(partner: Partner) -> None:
    code = grpc.StatusCode
    await partner.upsert("k-1", number="K-1")
    assert await refused(partner.upsert(name="Ann")) == (code.INVALID_ARGUMENT, "number")
    bad = partner.upsert(number="K-1", phones=["0612345678"])
    assert await refused(bad) == (code.INVALID_ARGUMENT, "phones")
    assert await refused(partner.upsert("k-1", number="K-2")) == (code.FAILED_PRECONDITION, "")
    assert await refused(partner.look_up()) == (code.INVALID_ARGUMENT, "key")
    assert await refused(partner.look_up(number="K-404")) == (code.NOT_FOUND, "")
    assert await refused(partner.look_up(phone="12")) == (code.INVALID_ARGUMENT, "phone")
    for call in (partner.look_up("other", number="K-1"), partner.upsert("", "other", number="K-1")):
        assert await refused(call) == (code.NOT_FOUND, "")
