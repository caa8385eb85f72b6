"""gRPC: CheckContact and CheckContacts of relais.customers.v1.CustomerService."""

import asyncio
from collections.abc import AsyncIterator

from relais.customers.v1 import customer_service_pb2 as pb

from eventkit.decider import Invalid
from eventkit.errors import NotFound
from eventkit.rpc import Context, Method, bidi, client_of, unary
from services.crm.consent.codec import microseconds, verdict_message
from services.crm.consent.service import Ask, Contacts

AHEAD = 256
"""How many questions of one stream are under way at once."""


def methods(contacts: Contacts) -> dict[str, Method]:
    """The checks, for the service's other methods to stand beside."""
    edge = _Edge(contacts)
    return {
        "CheckContact": unary(pb.CheckContactRequest, edge.check, "partner"),
        "CheckContacts": bidi(pb.CheckContactsRequest, edge.check_many, "partner"),
    }


class _Edge:
    def __init__(self, contacts: Contacts) -> None:
        self._contacts = contacts

    async def check(
        self, request: pb.CheckContactRequest, context: Context
    ) -> pb.CheckContactResponse:
        client_id = await client_of(request.client_id, context)
        return verdict_message(await self._contacts.check(client_id, _ask(request)))

    async def check_many(
        self, requests: AsyncIterator[pb.CheckContactsRequest], context: Context
    ) -> AsyncIterator[pb.CheckContactsResponse]:
        """Answers in the order of the questions, which are looked up together as they come."""
        answers: asyncio.Queue[asyncio.Task[pb.CheckContactsResponse] | None]
        answers = asyncio.Queue(AHEAD)

        async def read() -> None:
            try:
                async for request in requests:
                    await answers.put(asyncio.create_task(self._one(request.question, context)))
            finally:
                await answers.put(None)

        reading = asyncio.create_task(read())
        try:
            while (answer := await answers.get()) is not None:
                yield await answer
            await reading  # raises what ended it
        finally:
            reading.cancel()
            while not answers.empty():
                if (left := answers.get_nowait()) is not None:
                    left.cancel()

    async def _one(
        self, question: pb.CheckContactRequest, context: Context
    ) -> pb.CheckContactsResponse:
        try:
            return pb.CheckContactsResponse(answer=await self.check(question, context))
        except Invalid as error:
            field, reason = error.field, error.reason
        except NotFound as error:
            field, reason = "client_id", str(error)
        problem = pb.CheckContactsResponse.Problem(field=field, reason=reason)
        return pb.CheckContactsResponse(problem=problem)


def _ask(request: pb.CheckContactRequest) -> Ask:
    at = microseconds(request.at, "at") if request.HasField("at") else None
    return Ask(request.address, request.channel, request.purpose, at)
