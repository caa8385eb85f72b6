"""What agents write about one call: who called, what it was about, how it ended, what was offered
and answered. Pure.

An agent may write before the telephone system has said that there is such a call. Whatever is said
again, differently, is a new event, and the last one counts.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from enum import StrEnum
from typing import get_args

from eventkit.decider import Decider, Invalid, NotFound, Personal, Rejected

MAX_TEXT = 10_000


class Source(StrEnum):
    """Who says whose call it was."""

    AGENT = "agent"
    TELEPHONE = "telephone"


# Events. customer_id is that of the call at the time; empty where nobody knew.


@dataclass(frozen=True, slots=True)
class CallAttributed:
    customer_id: str
    source: Source


@dataclass(frozen=True, slots=True)
class TextsMoved:
    """What was written before, under the new customer's key. Nothing in it is new."""

    notes: Personal[dict[str, str]]
    refusals: Personal[dict[str, str]]


@dataclass(frozen=True, slots=True)
class CallNoted:
    note_id: str
    agent_id: str
    text: Personal[str]
    customer_id: str


@dataclass(frozen=True, slots=True)
class NoteEdited:
    note_id: str
    agent_id: str
    text: Personal[str]
    customer_id: str


@dataclass(frozen=True, slots=True)
class CallClassified:
    """path: the topic's ids from the root down, as the taxonomy was then."""

    topic_id: str
    path: tuple[str, ...]
    agent_id: str
    customer_id: str


@dataclass(frozen=True, slots=True)
class CallDispositioned:
    disposition: str
    agent_id: str
    customer_id: str


@dataclass(frozen=True, slots=True)
class OfferAccepted:
    offer_id: str
    agent_id: str
    customer_id: str


@dataclass(frozen=True, slots=True)
class OfferRefused:
    """not_before: the customer does not want to be asked again before that day."""

    offer_id: str
    agent_id: str
    reason: str
    not_before: date | None
    text: Personal[str]
    customer_id: str


@dataclass(frozen=True, slots=True)
class ArticleHelped:
    article_id: str
    article_version: int
    agent_id: str
    customer_id: str


Event = (
    CallAttributed
    | TextsMoved
    | CallNoted
    | NoteEdited
    | CallClassified
    | CallDispositioned
    | OfferAccepted
    | OfferRefused
    | ArticleHelped
)


# State.


@dataclass(frozen=True, slots=True)
class Refusal:
    reason: str
    not_before: date | None
    text: str


@dataclass(frozen=True, slots=True)
class Call:
    """answers: by offer; None is an acceptance. articles: id -> version."""

    customer_id: str = ""
    notes: Mapping[str, str] = field(default_factory=dict)
    topic: tuple[str, ...] = ()
    disposition: str = ""
    answers: Mapping[str, Refusal | None] = field(default_factory=dict)
    articles: Mapping[str, int] = field(default_factory=dict)


# Commands.


@dataclass(frozen=True, slots=True)
class AttributeCall:
    """What an agent says goes before what the telephone system knows."""

    customer_id: str
    source: Source


@dataclass(frozen=True, slots=True)
class WriteNote:
    note_id: str
    agent_id: str
    text: str


@dataclass(frozen=True, slots=True)
class EditNote:
    note_id: str
    agent_id: str
    text: str


@dataclass(frozen=True, slots=True)
class ClassifyCall:
    path: tuple[str, ...]
    agent_id: str


@dataclass(frozen=True, slots=True)
class DispositionCall:
    disposition: str
    agent_id: str


@dataclass(frozen=True, slots=True)
class AcceptOffer:
    offer_id: str
    agent_id: str


@dataclass(frozen=True, slots=True)
class RefuseOffer:
    """day: the day of the answer, in the client's zone. needs_date, needs_text: what the client
    wants to know with this reason."""

    offer_id: str
    agent_id: str
    reason: str
    not_before: date | None
    text: str
    day: date
    needs_date: bool = False
    needs_text: bool = False


@dataclass(frozen=True, slots=True)
class RecordHelp:
    article_id: str
    article_version: int
    agent_id: str


Command = (
    AttributeCall
    | WriteNote
    | EditNote
    | ClassifyCall
    | DispositionCall
    | AcceptOffer
    | RefuseOffer
    | RecordHelp
)


def decide(command: Command, state: Call) -> list[Event]:
    match command:
        case AttributeCall():
            return _attribute(command, state)
        case WriteNote(note_id, agent_id, text):
            check_text("text", text, required=True)
            if note_id not in state.notes:
                return [CallNoted(note_id, agent_id, text, state.customer_id)]
            if state.notes[note_id] != text:
                raise Rejected("there is another note with this id", "note_id")
        case EditNote(note_id, agent_id, text):
            check_text("text", text, required=True)
            if note_id not in state.notes:
                raise NotFound("note")
            if state.notes[note_id] != text:
                return [NoteEdited(note_id, agent_id, text, state.customer_id)]
        case ClassifyCall(path, agent_id):
            if state.topic != path:
                return [CallClassified(path[-1], path, agent_id, state.customer_id)]
        case DispositionCall(disposition, agent_id):
            if state.disposition != disposition:
                return [CallDispositioned(disposition, agent_id, state.customer_id)]
        case AcceptOffer(offer_id, agent_id):
            if state.answers.get(offer_id, _UNANSWERED) is not None:
                return [OfferAccepted(offer_id, agent_id, state.customer_id)]
        case RefuseOffer():
            return _refuse(command, state)
        case RecordHelp(article_id, version, agent_id):
            if state.articles.get(article_id) != version:
                return [ArticleHelped(article_id, version, agent_id, state.customer_id)]
    return []


_UNANSWERED = Refusal("", None, "")


def _attribute(command: AttributeCall, state: Call) -> list[Event]:
    if command.customer_id == state.customer_id:
        return []
    if command.source is Source.TELEPHONE and state.customer_id:
        return []
    events: list[Event] = [CallAttributed(command.customer_id, command.source)]
    notes = {note_id: text for note_id, text in state.notes.items() if text}
    refusals = {
        offer_id: answer.text
        for offer_id, answer in state.answers.items()
        if answer and answer.text
    }
    if notes or refusals:
        events.append(TextsMoved(notes, refusals))
    return events


def _refuse(command: RefuseOffer, state: Call) -> list[Event]:
    check_text("text", command.text, required=command.needs_text)
    if command.not_before is None:
        if command.needs_date:
            raise Invalid("not_before", "this reason needs a day: not before when?")
    elif command.not_before < command.day:
        raise Invalid("not_before", "lies before the day of the answer")
    refusal = Refusal(command.reason, command.not_before, command.text)
    if state.answers.get(command.offer_id, _UNANSWERED) == refusal:
        return []
    return [
        OfferRefused(
            command.offer_id,
            command.agent_id,
            command.reason,
            command.not_before,
            command.text,
            state.customer_id,
        )
    ]


def check_text(where: str, text: str, *, required: bool = False) -> None:
    """What PostgreSQL can keep, and people can read. Raises Invalid."""
    if required and not text.strip():
        raise Invalid(where, "missing")
    if len(text) > MAX_TEXT:
        raise Invalid(where, f"more than {MAX_TEXT} characters")
    if "\0" in text or any("\ud800" <= char <= "\udfff" for char in text):
        raise Invalid(where, "has characters that are no text")


def evolve(state: Call, event: Event) -> Call:
    match event:
        case CallAttributed(customer_id):
            return replace(state, customer_id=customer_id)
        case TextsMoved(notes, refusals):
            answers = {
                offer_id: replace(answer, text=refusals.get(offer_id, answer.text))
                if answer is not None
                else None
                for offer_id, answer in state.answers.items()
            }
            return replace(state, notes={**state.notes, **notes}, answers=answers)
        case CallNoted(note_id, _, text) | NoteEdited(note_id, _, text):
            return replace(state, notes={**state.notes, note_id: text})
        case CallClassified(_, path):
            return replace(state, topic=path)
        case CallDispositioned(disposition):
            return replace(state, disposition=disposition)
        case OfferAccepted(offer_id):
            return replace(state, answers={**state.answers, offer_id: None})
        case OfferRefused(offer_id, _, reason, not_before, text):
            refusal = Refusal(reason, not_before, text)
            return replace(state, answers={**state.answers, offer_id: refusal})
        case ArticleHelped(article_id, version):
            return replace(state, articles={**state.articles, article_id: version})


DECIDER: Decider[Command, Call, Event] = Decider(Call(), decide, evolve, get_args(Event))
