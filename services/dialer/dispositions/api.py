"""HTTP: what an agent says of a call. What agents write down in crm is heard by itself."""

from typing import Annotated

from fastapi import APIRouter
from pydantic import BaseModel, Field

from eventkit.eventstore import Answer
from eventkit.http import ID, Body, CauseOf, Id, example, problems, require
from services.dialer.dispositions.heard import Said
from services.dialer.dispositions.service import Dispositions

Code = Annotated[str, Field(pattern=ID, examples=["sale"])]
"""crm's dispositions and reasons of refusals have ids of the client's own choice."""


class DispositionBody(Body):
    """converted: whether it is what the campaign is for; left out: by the campaign's own rules.
    agent_id: left out, the caller."""

    model_config = example(
        {"disposition": "sale"}, {"disposition": "refused", "refusal_reason": "too-expensive"}
    )

    disposition: Code
    agent_id: Id | None = None
    converted: bool | None = None
    refusal_reason: Code | None = None


class Disposed(BaseModel):
    """A repeat leaves the version as it is."""

    attempt_id: str
    version: int
    converted: bool


def router(service: Dispositions) -> APIRouter:
    api = APIRouter(prefix="/v1/clients/{client_id}/attempts", tags=["attempts"])

    @api.post(
        "/{attempt_id}/dispose",
        response_model=Disposed,
        operation_id="disposeAttempt",
        responses=problems(409),
        dependencies=[require("partner")],
    )
    async def dispose(cause: CauseOf, attempt_id: Id, body: DispositionBody) -> Answer:
        """How the call ended for the business. Once it is over, the lead's next turn follows from
        it, by the campaign's recycling rules; the last word counts."""
        said = Said(
            0,
            attempt_id,
            body.disposition,
            body.agent_id or "",
            refusal_reason=body.refusal_reason or "",
            converted=body.converted,
        )
        return await service.dispose(cause, said)

    return api
