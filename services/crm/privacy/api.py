"""HTTP: erasing a customer, and everything that is held on one. For admins; whom it is about is in
the body, since the client's own number of a person is personal."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import BaseModel, Field

from eventkit.eventstore import Answer
from eventkit.http import Body, CauseOf, Text, example, problems, require
from services.crm.privacy.service import Privacy


class WhichCustomer(Body):
    """customer: crm's id, or the client's own number."""

    model_config = example({"customer": "c-1042"})

    customer: Annotated[Text, Field(min_length=1, max_length=128)]


class CustomerErased(BaseModel):
    """records: how many were merged into it, itself included."""

    customer_id: str
    records: int


class PersonExport(BaseModel):
    """held: what each capability holds, by its name, oldest first. history: everything that has
    been known of the customer, corrected or not, record by record."""

    client_id: str
    customer_id: str
    export_id: str
    exported_at: datetime
    known_as: list[str]
    held: dict[str, list[dict[str, Any]]]
    history: list[dict[str, Any]]


def router(service: Privacy) -> APIRouter:
    api = APIRouter(
        prefix="/v1/clients/{client_id}/privacy",
        tags=["privacy"],
        dependencies=[require("admin")],
    )

    @api.post(
        "/erase",
        response_model=CustomerErased,
        responses=problems(409),
        operation_id="eraseCustomer",
    )
    async def erase(cause: CauseOf, body: WhichCustomer) -> Answer:
        """Erase a customer for good: keys, read models, all of it. What is counted stays."""
        return await service.erase(cause, body.customer)

    @api.post(
        "/export",
        response_model=PersonExport,
        responses=problems(409),
        operation_id="exportCustomer",
    )
    async def export(cause: CauseOf, body: WhichCustomer) -> dict[str, Any]:
        """Everything that is held on a customer. That it was exported is recorded."""
        return await service.export(cause, body.customer)

    return api
