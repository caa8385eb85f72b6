"""HTTP: what agents write about calls, customers' timelines, and who has refused an offer."""

from datetime import date, datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from eventkit.eventstore import Answer
from eventkit.http import (
    Body,
    CauseOf,
    ClientOf,
    Day,
    Id,
    Listing,
    PageOf,
    Text,
    example,
    problems,
    time_of,
)
from services.crm.interactions import store
from services.crm.interactions.service import Interactions, Shown

SECOND = 1_000_000


# Bodies.


class Attribution(Body):
    """customer_id: crm's id, or the client's own number of the customer."""

    model_config = example({"customer_id": "c-1042"})

    customer_id: Id


class NoteText(Body):
    model_config = example({"text": "Will be at home after six."})

    text: Annotated[Text, Field(min_length=1)]


class NewNote(NoteText):
    """note_id: made if left out."""

    model_config = example({"text": "Will be at home after six.", "note_id": "n-1"})

    note_id: Id | None = None


class Classification(Body):
    model_config = example({"topic_id": "billing.explanation"})

    topic_id: Id


class Ending(Body):
    model_config = example({"disposition": "resolved"})

    disposition: Id


class Acceptance(Body):
    """An acceptance says nothing more than itself."""

    model_config = example({})


class Refusal(Body):
    """reason: of the client's list. not_before: the customer does not want to be asked before that
    day; must be given where the reason needs it. text: in the customer's words."""

    model_config = example(
        {"reason": "not-now", "not_before": "2027-01-15", "text": "After moving."}
    )

    reason: Id
    not_before: Day | None = None
    text: Text = ""


class Help(Body):
    model_config = example({"article_id": "router-restart"})

    article_id: Id


# Answers.


class CallVersion(BaseModel):
    """version: of the call's stream; the same for a repeat."""

    call_id: str
    version: int


class NoteVersion(CallVersion):
    note_id: str


class NoteView(BaseModel):
    """text: empty once the customer has been erased."""

    note_id: str
    text: str
    agent_id: str
    written_at: datetime
    edited_by: str | None
    edited_at: datetime | None


class OfferAnswerView(BaseModel):
    """The last answer in this call. reason, not_before, text: of a refusal."""

    offer_id: str
    accepted: bool
    reason: str | None
    not_before: date | None
    text: str
    agent_id: str
    answered_at: datetime


class HelpingArticle(BaseModel):
    article_id: str
    article_version: int
    agent_id: str
    helped_at: datetime


class CallView(BaseModel):
    """A call with all that was said. Null: not known, or not yet. Lengths in seconds.

    outcome: of the telephone system. topic_path: the topic's ids from the root down.
    """

    call_id: str
    at: datetime
    channel: Literal["voice", "chat", "email", "callback"] | None
    direction: Literal["inbound", "outbound"] | None
    line: str | None
    queue_id: str | None
    agent_id: str | None
    arrived_at: datetime | None
    connected_at: datetime | None
    ended_at: datetime | None
    outcome: Literal["answered", "abandoned", "left-before-queue", "phantom"] | None
    waited_s: float | None
    talked_s: float | None
    wrap_up_s: float | None
    topic_path: list[str]
    disposition: str | None
    notes: list[NoteView]
    answers: list[OfferAnswerView]
    articles: list[HelpingArticle]


class WholeCallView(CallView):
    """customer_id: crm's, of the record that stands for the customer now; null: not known."""

    customer_id: str | None


class TimelineEntry(BaseModel):
    """kind: `call`, `complaint`, ... call: all of it, where it is one; details: of the others."""

    kind: str
    id: str
    at: datetime
    call: CallView | None
    details: dict[str, str | int | bool | None]


class RefusalView(BaseModel):
    """The last refusal, of those that were asked for, of one customer."""

    customer_id: str
    offer_id: str
    reason: str
    not_before: date | None
    text: str
    refused_at: datetime
    call_id: str
    agent_id: str


Reason = Annotated[Id | None, Query(description="Of the client's list; left out: any.")]
Since = Annotated[
    Day | None,
    Query(description="From this day on, in the client's zone.", examples=["2026-11-01"]),
]
NotBeforeUntil = Annotated[
    Day | None,
    Query(
        description="Only those who may be asked again on this day: no `not_before` after it.",
        examples=["2026-12-31"],
    ),
]


def router(service: Interactions) -> APIRouter:
    api = APIRouter(prefix="/v1/clients/{client_id}", tags=["interactions"])
    said: dict[str, Any] = {"response_model": CallVersion, "responses": problems(409)}

    @api.get("/calls/{call_id}", response_model=WholeCallView, operation_id="getCall")
    async def get_call(client_id: ClientOf, call_id: Id) -> WholeCallView:
        """A call with everything on it."""
        return _whole(await service.call(client_id, call_id))

    @api.post("/calls/{call_id}/customer", operation_id="attributeCall", **said)
    async def attribute(cause: CauseOf, call_id: Id, body: Attribution) -> Answer:
        """Say whose call it was, or put it right."""
        return await service.attribute(cause, call_id, body.customer_id)

    @api.post(
        "/calls/{call_id}/notes",
        status_code=201,
        operation_id="writeNote",
        response_model=NoteVersion,
        responses=problems(409),
    )
    async def write_note(cause: CauseOf, call_id: Id, body: NewNote) -> Answer:
        """Write something down."""
        return await service.write_note(cause, call_id, body.text, body.note_id)

    @api.put("/calls/{call_id}/notes/{note_id}", operation_id="editNote", **said)
    async def edit_note(cause: CauseOf, call_id: Id, note_id: Id, body: NoteText) -> Answer:
        """Put a note right. What it said before stays in the call's history."""
        return await service.edit_note(cause, call_id, note_id, body.text)

    @api.post("/calls/{call_id}/topic", operation_id="classifyCall", **said)
    async def classify(cause: CauseOf, call_id: Id, body: Classification) -> Answer:
        """Say what the call was about."""
        return await service.classify(cause, call_id, body.topic_id)

    @api.post("/calls/{call_id}/disposition", operation_id="dispositionCall", **said)
    async def disposition(cause: CauseOf, call_id: Id, body: Ending) -> Answer:
        """Say how the call ended for the business."""
        return await service.disposition(cause, call_id, body.disposition)

    @api.post("/calls/{call_id}/offers/{offer_id}/accepted", operation_id="acceptOffer", **said)
    async def accept(
        cause: CauseOf, call_id: Id, offer_id: Id, body: Acceptance | None = None
    ) -> Answer:
        """The customer takes the offer."""
        return await service.accept(cause, call_id, offer_id)

    @api.post("/calls/{call_id}/offers/{offer_id}/refused", operation_id="refuseOffer", **said)
    async def refuse(cause: CauseOf, call_id: Id, offer_id: Id, body: Refusal) -> Answer:
        """The customer does not take the offer. A changed answer replaces the one before."""
        return await service.refuse(
            cause, call_id, offer_id, body.reason, body.not_before, body.text
        )

    @api.post("/calls/{call_id}/article-helped", operation_id="articleHelped", **said)
    async def article_helped(cause: CauseOf, call_id: Id, body: Help) -> Answer:
        """The agent found the answer in this article, as it is now."""
        return await service.article_helped(cause, call_id, body.article_id)

    @api.get(
        "/customers/{customer_id}/timeline",
        response_model=Listing[TimelineEntry],
        operation_id="getTimeline",
    )
    async def timeline(client_id: ClientOf, customer_id: Id, page: PageOf) -> dict[str, Any]:
        """All that there was with a customer, merged records included, the newest first."""
        before = page.after(int, str, str)
        found = await service.timeline(client_id, customer_id, before, page.rows)
        answer = page.of(found, key=lambda each: each[0])
        answer["items"] = [_entry(place, item) for place, item in answer["items"]]
        return answer

    @api.get(
        "/offers/{offer_id}/refusals",
        response_model=Listing[RefusalView],
        operation_id="listRefusals",
    )
    async def refusals(
        client_id: ClientOf,
        offer_id: Id,
        page: PageOf,
        reason: Reason = None,
        since: Since = None,
        not_before_until: NotBeforeUntil = None,
    ) -> dict[str, Any]:
        """Who has refused an offer and not accepted it since: each customer once, with the latest
        refusal that fits. The erased are left out."""
        before = page.after(int, str)
        found = await service.refusals(
            client_id, offer_id, reason or "", since, not_before_until, before, page.rows
        )
        answer = page.of(found, key=lambda row: (row.answered_at, row.call_id))
        answer["items"] = [_refusal(row) for row in answer["items"]]
        return answer

    return api


def _seconds(us: int | None) -> float | None:
    return None if us is None else us / SECOND


def _call(call: store.Call) -> dict[str, Any]:
    row = call.row
    return {
        "call_id": row.call_id,
        "at": time_of(row.at),
        "channel": row.channel or None,
        "direction": row.direction or None,
        "line": row.line or None,
        "queue_id": row.queue_id,
        "agent_id": row.agent_id,
        "arrived_at": time_of(row.arrived_at),
        "connected_at": time_of(row.connected_at),
        "ended_at": time_of(row.ended_at),
        "outcome": row.outcome,
        "waited_s": _seconds(row.waited_us),
        "talked_s": _seconds(row.talked_us),
        "wrap_up_s": _seconds(row.wrap_up_us),
        "topic_path": row.topic_path or [],
        "disposition": row.disposition,
        "notes": [
            NoteView(
                note_id=one.note_id,
                text=one.text,
                agent_id=one.agent_id,
                written_at=time_of(one.written_at),
                edited_by=one.edited_by,
                edited_at=time_of(one.edited_at),
            )
            for one in call.notes
        ],
        "answers": [
            OfferAnswerView(
                offer_id=one.offer_id,
                accepted=one.accepted,
                reason=one.reason or None,
                not_before=one.not_before,
                text=one.text,
                agent_id=one.agent_id,
                answered_at=time_of(one.answered_at),
            )
            for one in call.answers
        ],
        "articles": [
            HelpingArticle(
                article_id=one.article_id,
                article_version=one.article_version,
                agent_id=one.agent_id,
                helped_at=time_of(one.helped_at),
            )
            for one in call.articles
        ],
    }


def _whole(shown: Shown) -> WholeCallView:
    return WholeCallView(**_call(shown.call), customer_id=shown.customer_id)


def _entry(place: store.Place, item: Any) -> TimelineEntry:
    at, kind, id = place
    is_call = isinstance(item, store.Call)
    return TimelineEntry(
        kind=kind,
        id=id,
        at=time_of(at),
        call=CallView(**_call(item)) if is_call else None,
        details={} if is_call else item.details,
    )


def _refusal(row: Any) -> RefusalView:
    return RefusalView(
        customer_id=row.customer_id,
        offer_id=row.offer_id,
        reason=row.reason,
        not_before=row.not_before,
        text=row.text,
        refused_at=time_of(row.answered_at),
        call_id=row.call_id,
        agent_id=row.agent_id,
    )
