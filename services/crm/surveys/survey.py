"""One survey: the answers that one customer gave, or the way that one call took through a script.
Pure.

It stays with the version of the questionnaire that it began with. Only the current question can
be answered; an earlier answer can be changed, and those that can come no more are dropped with it.
It is completed by the answer after which nothing comes.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal
from enum import StrEnum
from typing import Final

from eventkit.decider import Decider, Invalid, NotFound, Personal, Rejected
from services.crm.surveys.questionnaire import (
    CHOICES,
    END,
    ID,
    LANGUAGE,
    Content,
    Kind,
    Question,
    fits,
    reachable,
)

MAX_ANSWER: Final = 10_000


class Status(StrEnum):
    OPEN = "open"
    COMPLETED = "completed"
    ABANDONED = "abandoned"


class Reason(StrEnum):
    """Why a survey was not brought to its end. No free text: it is published."""

    REFUSED = "refused"
    HUNG_UP = "hung-up"
    NO_TIME = "no-time"
    WRONG_PERSON = "wrong-person"
    LANGUAGE = "language"
    TECHNICAL = "technical"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Given:
    """What was answered: one of these, as the kind of the question says; none where a question was
    left out, or a statement read."""

    options: tuple[str, ...] = ()
    number: Decimal | None = None
    day: date | None = None
    text: str = ""


NOTHING: Final = Given()


@dataclass(frozen=True, slots=True)
class About:
    """What is asked, of whom, in which call; customer_id, call_id: "" where there is none."""

    questionnaire_id: str = ""
    questionnaire_version: int = 0
    customer_id: str = ""
    call_id: str = ""


@dataclass(frozen=True, slots=True)
class Survey:
    """answers: those that count, in the order in which they were first given. current: the question
    to be answered, or `end`."""

    about: About = About()
    agent_id: str = ""
    language: str = ""
    status: Status | None = None
    answers: Mapping[str, Given] = field(default_factory=dict)
    current: str = ""
    reason: Reason | None = None


# Events.


@dataclass(frozen=True, slots=True)
class SurveyStarted:
    """agent_id: who asks. first: the first question."""

    about: About
    agent_id: str
    language: str
    first: str


@dataclass(frozen=True, slots=True)
class SurveyQuestionAnswered:
    """Answered, or answered otherwise than before; the text is the customer's own words.

    dropped: questions whose answers no longer count, since they can come no more. next: the
    question to be answered now, or `end`.
    """

    about: About
    question_id: str
    options: tuple[str, ...]
    number: Decimal | None
    day: date | None
    text: Personal[str]
    dropped: tuple[str, ...]
    next: str


@dataclass(frozen=True, slots=True)
class SurveyCompleted:
    about: About


@dataclass(frozen=True, slots=True)
class SurveyAbandoned:
    """question_id: the one that was left."""

    about: About
    reason: Reason
    question_id: str


Event = SurveyStarted | SurveyQuestionAnswered | SurveyCompleted | SurveyAbandoned


# Commands.


@dataclass(frozen=True, slots=True)
class StartSurvey:
    """content: of the version, which is the latest. language: in which it is asked."""

    survey_id: str
    about: About
    content: Content
    agent_id: str
    language: str = ""


@dataclass(frozen=True, slots=True)
class AnswerQuestion:
    """content: of the version with which the survey began."""

    content: Content
    question_id: str
    given: Given


@dataclass(frozen=True, slots=True)
class AbandonSurvey:
    reason: Reason


Command = StartSurvey | AnswerQuestion | AbandonSurvey


def decide(command: Command, state: Survey) -> list[Event]:
    """Raises Rejected, Invalid (`answer` and what is wrong with it), and NotFound."""
    if isinstance(command, StartSurvey):
        return _start(command, state)
    if state.status is None:
        raise NotFound("survey")
    match command:
        case AnswerQuestion():
            return _answer(command, state)
        case AbandonSurvey(reason):
            if state.status is Status.ABANDONED and state.reason is reason:
                return []
            if state.status is not Status.OPEN:
                raise Rejected(f"the survey is {state.status.value}")
            return [SurveyAbandoned(state.about, reason, state.current)]


def _start(command: StartSurvey, state: Survey) -> list[Event]:
    about = command.about
    if not ID.fullmatch(command.survey_id):
        raise Invalid("survey_id", f"must match {ID.pattern}")
    if about.call_id and not ID.fullmatch(about.call_id):
        raise Invalid("call_id", f"must match {ID.pattern}")
    language = command.language or command.content.languages[0]
    if not LANGUAGE.fullmatch(language) or language not in command.content.languages:
        raise Invalid("language", "is none of the questionnaire's")
    if state.status is not None:
        # A repeat, perhaps after another version was published: it stays with its own.
        pinned = replace(about, questionnaire_version=state.about.questionnaire_version)
        if (state.about, state.language) != (pinned, language):
            raise Rejected("exists already, and is another", "survey_id")
        return []
    first = command.content.questions[0].question_id
    return [SurveyStarted(about, command.agent_id, language, first)]


def _answer(command: AnswerQuestion, state: Survey) -> list[Event]:
    content, question_id = command.content, command.question_id
    question = content.question(question_id)
    if question is None:
        raise NotFound("question")
    given = checked(question, command.given)
    if state.answers.get(question_id) == given:
        return []
    if state.status is not Status.OPEN:
        raise Rejected(f"the survey is {state.status and state.status.value}")
    path, _ = walk(content, state.answers)
    if question_id != state.current and question_id not in path:
        raise Rejected("is not the current question", "question_id")
    answers = {**state.answers, question_id: given}
    path, current = walk(content, answers)
    to_come = set() if current == END else reachable(content, current)
    dropped = tuple(each for each in answers if each not in path and each not in to_come)
    answered = SurveyQuestionAnswered(
        state.about,
        question_id,
        given.options,
        given.number,
        given.day,
        given.text,
        dropped,
        current,
    )
    return [answered] if current != END else [answered, SurveyCompleted(state.about)]


def evolve(state: Survey, event: Event) -> Survey:
    match event:
        case SurveyStarted():
            return Survey(
                about=event.about,
                agent_id=event.agent_id,
                language=event.language,
                status=Status.OPEN,
                current=event.first,
            )
        case SurveyQuestionAnswered():
            given = Given(event.options, event.number, event.day, event.text)
            answers = {**state.answers, event.question_id: given}
            kept = {each: one for each, one in answers.items() if each not in event.dropped}
            return replace(state, answers=kept, current=event.next)
        case SurveyCompleted():
            return replace(state, status=Status.COMPLETED)
        case SurveyAbandoned(_, reason):
            return replace(state, status=Status.ABANDONED, reason=reason)


# Answers.


def checked(question: Question, given: Given) -> Given:
    """The answer in its one form: options in the question's order, numbers with its decimals.
    Raises Invalid(answer)."""
    if given == NOTHING:
        if question.required and question.kind is not Kind.STATEMENT:
            raise Invalid("answer", "is missing: the question must be answered")
        return NOTHING
    if given != _ONLY[question.kind](given):
        raise Invalid("answer", f"is not what is asked for: {_ASKED[question.kind]}")
    match question.kind:
        case Kind.NUMBER:
            assert given.number is not None
            return Given(number=_number(question, given.number))
        case Kind.TEXT:
            return Given(text=_text(given.text))
        case Kind.SINGLE | Kind.MULTIPLE:
            known = [option.option_id for option in question.options]
            if not set(given.options) <= set(known):
                raise Invalid("answer", "is none of the options")
            if question.kind is Kind.SINGLE and len(set(given.options)) > 1:
                raise Invalid("answer", "is more than one option")
            return Given(options=tuple(each for each in known if each in given.options))
        case _:
            return given


_ONLY: Final[Mapping[Kind, Callable[[Given], Given]]] = {
    Kind.SINGLE: lambda given: Given(options=given.options),
    Kind.MULTIPLE: lambda given: Given(options=given.options),
    Kind.NUMBER: lambda given: Given(number=given.number),
    Kind.DATE: lambda given: Given(day=given.day),
    Kind.TEXT: lambda given: Given(text=given.text),
    Kind.STATEMENT: lambda _: NOTHING,
}
_ASKED: Final = {
    Kind.SINGLE: "one of the options",
    Kind.MULTIPLE: "some of the options",
    Kind.NUMBER: "a number",
    Kind.DATE: "a date",
    Kind.TEXT: "a text",
    Kind.STATEMENT: "nothing, since it is a statement",
}


def _number(question: Question, number: Decimal) -> Decimal:
    if not fits(number, question.decimals):
        raise Invalid("answer", f"has more than {question.decimals} decimals, or is too large")
    if question.minimum is not None and number < question.minimum:
        raise Invalid("answer", f"is less than {question.minimum}")
    if question.maximum is not None and number > question.maximum:
        raise Invalid("answer", f"is more than {question.maximum}")
    return round(number, question.decimals) + 0  # and no -0


def _text(text: str) -> str:
    if not text.strip():
        raise Invalid("answer", "is empty")
    if len(text) > MAX_ANSWER:
        raise Invalid("answer", f"is longer than {MAX_ANSWER} characters")
    # PostgreSQL keeps neither.
    if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise Invalid("answer", "has a NUL character or half of a surrogate pair")
    return text


def following(content: Content, question: Question, given: Given) -> str:
    """The question after this answer, or the end."""
    for branch in question.branches:
        if question.kind in CHOICES:
            fit = any(option in branch.options for option in given.options)
        else:
            fit = (
                given.number is not None
                and (branch.minimum is None or branch.minimum <= given.number)
                and (branch.maximum is None or given.number <= branch.maximum)
            )
        if fit:
            return branch.to
    return question.otherwise or content.after(question.question_id)


def walk(content: Content, answers: Mapping[str, Given]) -> tuple[list[str], str]:
    """The questions on the way that these answers take, and the first one without an answer."""
    path: list[str] = []
    current = content.questions[0].question_id
    while current in answers:
        path.append(current)
        question = content.question(current)
        assert question is not None
        current = following(content, question, answers[current])
    return path, current


SURVEY: Final[Decider[Command, Survey, Event]] = Decider(
    initial=Survey(),
    decide=decide,
    evolve=evolve,
    events=(SurveyStarted, SurveyQuestionAnswered, SurveyCompleted, SurveyAbandoned),
)
