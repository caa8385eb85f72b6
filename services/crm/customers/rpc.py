"""gRPC: partners look up and upsert customers. proto/relais/customers/v1/customer_service.proto."""

from relais.customers.v1 import customer_service_pb2 as pb

from eventkit.callers import Role
from eventkit.decider import Invalid, NotFound
from eventkit.rpc import Context, Method, caller_of, cause_of, client_of, unary
from services.crm.customers.customer import FIELDS
from services.crm.customers.service import Customers, Given
from services.crm.customers.store import Known

MAX_FOUND = 100


def methods(service: Customers) -> dict[str, Method]:
    """LookUpCustomer and UpsertCustomer of relais.customers.v1.CustomerService."""

    async def look_up(
        request: pb.LookUpCustomerRequest, context: Context
    ) -> pb.LookUpCustomerResponse:
        client_id = await client_of(request.client_id, context)
        match request.WhichOneof("key"):
            case "customer_id":
                found = [await service.get(client_id, request.customer_id)]
            case "number":
                found = (await service.find_by_number(client_id, request.number)).items
            case "phone":
                phone = await service.find_by_phone(client_id, request.phone, "", MAX_FOUND)
                found = phone.items
            case "email":
                email = await service.find_by_email(client_id, request.email, MAX_FOUND)
                found = email.items
            case _:
                raise Invalid("key", "one of customer_id, number, phone and email must be set")
        if not found:
            raise NotFound("customer")
        return pb.LookUpCustomerResponse(customers=map(_customer, found))

    async def upsert(
        request: pb.UpsertCustomerRequest, context: Context
    ) -> pb.UpsertCustomerResponse:
        cause = await cause_of(context, request.client_id, request.idempotency_key, request)
        # proto3 does not tell an empty field from one that is not set: neither clears anything.
        named = {name: value for name in FIELDS if (value := getattr(request.customer, name))}
        source = "partner" if caller_of(context).role is Role.PARTNER else "agent"
        answer = await service.upsert(cause, Given(**named), named, source)
        return pb.UpsertCustomerResponse(**answer)

    return {
        "LookUpCustomer": unary(pb.LookUpCustomerRequest, look_up, "partner"),
        "UpsertCustomer": unary(pb.UpsertCustomerRequest, upsert, "partner"),
    }


def _customer(known: Known) -> pb.Customer:
    texts = {name: known.first(name) for name in FIELDS if name not in ("phones", "emails")}
    return pb.Customer(
        customer_id=known.survivor.customer_id,
        version=known.survivor.version,
        phones=known.phones,
        emails=known.emails,
        **texts,
    )
