"""HTTP: attempts: what became of each, and every rule, in its version, that allowed it."""

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel

from eventkit.http import (
    ClientOf,
    History,
    Id,
    Lax,
    Listing,
    PageOf,
    Time,
    microseconds,
    require,
    time_of,
)
from services.dialer.attempts import attempt as a
from services.dialer.attempts.service import Attempts
from services.dialer.attempts.store import ATTEMPTS, OPEN, Filter, Row
from services.dialer.history import event_view


class RuleUse(BaseModel):
    """A rule that was asked, in its version, and what it said."""

    rule: str
    version: int
    said: str


class Origin(BaseModel):
    """Where the attempt belongs. number_of_attempt: the first of the lead is 1. invented: of a
    replay, the fields that are not on record and were made up."""

    campaign_id: str
    list_id: str | None
    lead_id: str
    customer_id: str | None
    number_id: str
    number_of_attempt: int
    invented: list[str]


class Disposed(BaseModel):
    """What was made of the call: the last word counts."""

    at: datetime
    disposition: str | None
    agent_id: str | None
    converted: bool
    refusal_reason: str | None


class AttemptView(BaseModel):
    """allowed_by: every rule that was asked before it was dialled; each allowed it. because: what
    pacing decided with. result: null while it is open. Times that are null have not come."""

    attempt_id: str
    version: int
    origin: Origin
    mode: str
    policy: str
    because: str
    for_agent_id: str | None
    country: str
    region: str
    allowed_by: list[RuleUse]
    started_at: datetime
    dial_before: datetime
    answered_by: str | None
    answered_at: datetime | None
    greeting_ended_at: datetime | None
    connected_at: datetime | None
    abandoned_at: datetime | None
    ended_at: datetime | None
    result: a.Result | None
    cause: str | None
    agent_id: str | None
    rang_seconds: float | None
    waited_seconds: float | None
    talked_seconds: float | None
    callback_wanted: bool
    disposed: Disposed | None


class AttemptSummary(BaseModel):
    attempt_id: str
    version: int
    campaign_id: str
    list_id: str | None
    lead_id: str
    customer_id: str | None
    number_id: str
    number_of_attempt: int
    mode: str
    country: str
    region: str
    started_at: datetime
    answered_by: str | None
    ended_at: datetime | None
    result: a.Result | None
    agent_id: str | None
    rang_seconds: float | None
    waited_seconds: float | None
    talked_seconds: float | None
    callback_wanted: bool
    disposition: str | None
    refusal_reason: str | None
    converted: bool


def router(service: Attempts) -> APIRouter:
    api = APIRouter(prefix="/v1/clients/{client_id}/attempts", tags=["attempts"])

    @api.get("", response_model=Listing[AttemptSummary], operation_id="listAttempts")
    async def find(
        client_id: ClientOf,
        page: PageOf,
        campaign_id: Annotated[Id | None, Query()] = None,
        lead_id: Annotated[Id | None, Query()] = None,
        customer_id: Annotated[Id | None, Query(description="crm's id")] = None,
        agent_id: Annotated[Id | None, Query()] = None,
        result: Annotated[
            Lax[a.Result] | Literal["open"] | None,
            Query(description="`open`: those that have not ended"),
        ] = None,
        disposition: Annotated[Id | None, Query()] = None,
        callback_wanted: Annotated[
            bool | None, Query(description="whether a key was pressed to be called back")
        ] = None,
        started_from: Annotated[Time | None, Query()] = None,
        started_before: Annotated[Time | None, Query()] = None,
    ) -> dict[str, Any]:
        """Newest first."""
        after = page.after(int, str)
        rows = await service.find(
            client_id,
            Filter(
                campaign_id=campaign_id or "",
                lead_id=lead_id or "",
                customer_id=customer_id or "",
                agent_id=agent_id or "",
                result=OPEN if result == OPEN else str(result or ""),
                disposition=disposition or "",
                callback_wanted=callback_wanted,
                started_from=microseconds(started_from),
                started_before=microseconds(started_before),
            ),
            (after[0], after[1]) if after else None,
            page.rows,
        )
        listing = page.of(rows, key=lambda row: (row["started_at"], row["attempt_id"]))
        return {**listing, "items": [_summary(row) for row in listing["items"]]}

    @api.get(
        "/{attempt_id}",
        response_model=AttemptView,
        operation_id="getAttempt",
        dependencies=[require("partner")],
    )
    async def get(client_id: ClientOf, attempt_id: Id) -> AttemptView:
        """One attempt, with every rule that allowed it."""
        return _view(attempt_id, *await service.get(client_id, attempt_id))

    @api.get("/{attempt_id}/history", response_model=History, operation_id="getAttemptHistory")
    async def history(client_id: ClientOf, attempt_id: Id) -> dict[str, Any]:
        """Everything that happened in it, oldest first; when, by the telephone side."""
        facts = await service.history(client_id, attempt_id)
        return {"items": [event_view(ATTEMPTS, fact) for fact in facts]}

    return api


def _view(attempt_id: str, state: a.Attempt, version: int) -> AttemptView:
    started, ended = state.started, state.ended
    assert started is not None
    origin = started.origin
    agent_id = state.connected.agent_id if state.connected else None
    waited = ended.waited if ended else state.connected.waited if state.connected else None
    return AttemptView(
        attempt_id=attempt_id,
        version=version,
        origin=Origin(
            campaign_id=origin.campaign_id,
            list_id=origin.list_id or None,
            lead_id=origin.lead_id,
            customer_id=origin.customer_id or None,
            number_id=origin.number_id,
            number_of_attempt=origin.number_of_attempt,
            invented=list(origin.invented),
        ),
        mode=started.mode,
        policy=started.policy,
        because=started.because,
        for_agent_id=started.agent_id or None,
        country=started.country,
        region=started.region,
        allowed_by=[
            RuleUse(rule=use.rule, version=use.version, said=use.said) for use in started.allowed_by
        ],
        started_at=time_of(started.at),
        dial_before=time_of(started.dial_before),
        answered_by=state.answered_by.value or None,
        answered_at=time_of(state.answered.at) if state.answered else None,
        greeting_ended_at=time_of(state.greeting_ended_at),
        connected_at=time_of(state.connected.at) if state.connected else None,
        abandoned_at=time_of(state.abandoned.at) if state.abandoned else None,
        ended_at=time_of(ended.at) if ended else None,
        result=ended.result if ended else None,
        cause=ended.cause or None if ended else None,
        agent_id=agent_id,
        rang_seconds=_seconds(state.answered.rang if state.answered else None),
        waited_seconds=_seconds(waited),
        talked_seconds=_seconds(ended.talked if ended else None),
        callback_wanted=ended is not None and ended.callback_wanted,
        disposed=_disposed(state.disposed),
    )


def _disposed(disposed: a.AttemptDisposed | None) -> Disposed | None:
    if disposed is None:
        return None
    return Disposed(
        at=time_of(disposed.at),
        disposition=disposed.disposition or None,
        agent_id=disposed.agent_id or None,
        converted=disposed.converted,
        refusal_reason=disposed.refusal_reason or None,
    )


def _summary(row: Row) -> AttemptSummary:
    optional = ("list_id", "customer_id", "answered_by", "result", "agent_id")
    same = ("attempt_id", "version", "campaign_id", "lead_id", "number_id", "number_of_attempt")
    said = ("mode", "country", "region", "callback_wanted", "converted")
    return AttemptSummary.model_validate(
        {
            **{name: row[name] for name in (*same, *said)},
            **{name: row[name] or None for name in (*optional, "disposition", "refusal_reason")},
            "started_at": time_of(row["started_at"]),
            "ended_at": time_of(row["ended_at"]),
            **{f"{name}_seconds": _seconds(row[name]) for name in ("rang", "waited", "talked")},
        }
    )


def _seconds(us: int | None) -> float | None:
    return None if us is None else us / 1_000_000
