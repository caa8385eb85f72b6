"""HTTP: supervisors write questionnaires and read results, agents ask."""

from datetime import date
from decimal import Decimal
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, PlainSerializer
from pydantic.config import JsonDict

from eventkit.callers import Role
from eventkit.eventstore import Answer
from eventkit.http import (
    Body,
    CallerOf,
    CauseOf,
    ClientOf,
    Day,
    Id,
    Lax,
    Listing,
    Name,
    PageOf,
    Text,
    example,
    problems,
    require,
    time_of,
)
from services.crm.surveys import questionnaire as q
from services.crm.surveys import store
from services.crm.surveys import survey as s
from services.crm.surveys.service import Progress, Start, Surveys

Language = Annotated[str, Field(pattern=f"^{q.LANGUAGE.pattern}$", examples=["fr"])]
Texts = dict[Language, Annotated[str, Field(min_length=1, max_length=q.MAX_TEXT)]]
Version = Annotated[int, Field(ge=1, le=2**31 - 1, examples=[2])]
Number = Annotated[
    Decimal,
    Field(
        strict=False, ge=-q.MAX_NUMBER, le=q.MAX_NUMBER, decimal_places=q.MAX_DECIMALS, examples=[8]
    ),
    PlainSerializer(lambda number: format(number, "f"), return_type=str),
]

_QUESTIONNAIRE: JsonDict = {
    "purpose": "survey",
    "name": "Satisfaction",
    "languages": ["fr", "en"],
    "intro": {"fr": "Deux questions, une minute.", "en": "Two questions, one minute."},
    "questions": [
        {
            "question_id": "score",
            "kind": "number",
            "texts": {"fr": "De 0 à 10 ?", "en": "From 0 to 10?"},
            "minimum": 0,
            "maximum": 10,
            "branches": [
                {"minimum": 0, "maximum": 6, "to": "why"},
                {"minimum": 7, "maximum": 10, "to": "end"},
            ],
        },
        {
            "question_id": "why",
            "kind": "text",
            "texts": {"fr": "Pourquoi ?", "en": "Why?"},
            "required": False,
        },
    ],
}


class OptionBody(Body):
    option_id: Id
    texts: Texts


class BranchBody(Body):
    """With one of these options, or a number from minimum to maximum (both included; left out: no
    bound), the next question is `to`; `end` is the end."""

    to: Id
    options: list[Id] = Field(default=[], max_length=q.MAX_OPTIONS)
    minimum: Number | None = None
    maximum: Number | None = None


class QuestionBody(Body):
    """A statement is read out and not answered. branches: the first that fits is taken. otherwise:
    the next question where none fits; left out, the next in the list."""

    question_id: Id
    kind: Lax[q.Kind]
    texts: Texts
    required: bool = True
    options: list[OptionBody] = Field(default=[], max_length=q.MAX_OPTIONS)
    minimum: Number | None = None
    maximum: Number | None = None
    decimals: Annotated[int, Field(ge=0, le=q.MAX_DECIMALS)] = 0
    branches: list[BranchBody] = Field(default=[], max_length=q.MAX_OPTIONS)
    otherwise: Id | None = None

    def question(self) -> q.Question:
        return q.Question(
            self.question_id,
            self.kind,
            self.texts,
            self.required,
            tuple(q.Option(each.option_id, each.texts) for each in self.options),
            self.minimum,
            self.maximum,
            self.decimals,
            tuple(
                q.Branch(each.to, tuple(each.options), each.minimum, each.maximum)
                for each in self.branches
            ),
            self.otherwise or "",
        )


class Draft(Body):
    """languages: of every text. A draft may be incomplete; it is checked when it is published."""

    model_config = example(_QUESTIONNAIRE)

    purpose: Lax[q.Purpose]
    name: Name
    languages: Annotated[list[Language], Field(min_length=1, max_length=q.MAX_LANGUAGES)]
    questions: Annotated[list[QuestionBody], Field(max_length=q.MAX_QUESTIONS)]
    intro: Texts = Field(default={})
    outro: Texts = Field(default={})

    def content(self) -> q.Content:
        return q.Content(
            self.purpose,
            self.name,
            tuple(self.languages),
            tuple(each.question() for each in self.questions),
            self.intro,
            self.outro,
        )


class NewQuestionnaire(Draft):
    """questionnaire_id: made by us where it is left out."""

    model_config = example({"questionnaire_id": "satisfaction", **_QUESTIONNAIRE})

    questionnaire_id: Id | None = None


class Publish(Body):
    """version: of the draft, as it was answered when it was written."""

    model_config = example({"version": 2})

    version: Version


class StartBody(Body):
    """customer: crm's id or the client's own number; left out, whoever the call is with, if that is
    known. language: left out, the questionnaire's first. survey_id: made by us where left out."""

    model_config = example(
        {"questionnaire_id": "satisfaction", "customer": "c-1042", "call_id": "call-2031"}
    )

    questionnaire_id: Id
    survey_id: Id | None = None
    customer: Id | None = None
    call_id: Id | None = None
    language: Language | None = None


class AnswerBody(Body):
    """What the kind of the question asks for and nothing else: options for single and multiple;
    empty where a question is left out, or a statement was read."""

    model_config = example({"number": 8}, {"options": ["yes"]})

    options: list[Id] = Field(default=[], max_length=q.MAX_OPTIONS)
    number: Number | None = None
    date: Day | None = None
    text: Text = ""

    def given(self) -> s.Given:
        return s.Given(tuple(self.options), self.number, self.date, self.text)


class AbandonBody(Body):
    model_config = example({"reason": "hung-up"})

    reason: Lax[s.Reason]


# Answers.


class Done(BaseModel):
    """version: the one that was written, published, or last published."""

    questionnaire_id: str
    version: int


class Head(BaseModel):
    """draft: the version that is being written. published: the last that was."""

    questionnaire_id: str
    purpose: q.Purpose
    name: str
    draft: int | None
    published: int | None
    withdrawn: bool


class OptionView(BaseModel):
    option_id: str
    texts: dict[str, str]


class BranchView(BaseModel):
    to: str
    options: list[str]
    minimum: Number | None
    maximum: Number | None


class QuestionView(BaseModel):
    question_id: str
    kind: q.Kind
    texts: dict[str, str]
    required: bool
    options: list[OptionView]
    minimum: Number | None
    maximum: Number | None
    decimals: int
    branches: list[BranchView]
    otherwise: str | None


class QuestionnaireView(BaseModel):
    """published_at: null for a draft."""

    questionnaire_id: str
    version: int
    published_at: AwareDatetime | None
    purpose: q.Purpose
    name: str
    languages: list[str]
    questions: list[QuestionView]
    intro: dict[str, str]
    outro: dict[str, str]


class DraftProblem(BaseModel):
    """question_id: null where it is no single question's."""

    question_id: str | None
    reason: str


class DraftProblems(BaseModel):
    items: list[DraftProblem]


class NumbersView(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    n: int
    mean: float
    median: float
    minimum: Number
    maximum: Number


class DaysView(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    n: int
    first: date
    last: date
    counts: dict[date, int]


class AnswersView(BaseModel):
    """answered: with something. left_out: with nothing; for a statement: read. abandoned: surveys
    that ended at this question. texts: how many were answered in words."""

    question_id: str
    kind: q.Kind
    answered: int
    left_out: int
    abandoned: int
    texts: int
    options: dict[str, int] | None
    numbers: NumbersView | None
    days: DaysView | None


class ResultsView(BaseModel):
    """completion_rate: of the surveys that have ended; null where none has. drop_off: the question
    at which most were abandoned. reasons: why."""

    questionnaire_id: str
    version: int
    started: int
    open: int
    completed: int
    abandoned: int
    completion_rate: float | None
    drop_off: str | None
    reasons: dict[str, int]
    questions: list[AnswersView]


class TextView(BaseModel):
    survey_id: str
    text: str
    answered_at: AwareDatetime


class SurveyState(BaseModel):
    """current: the question to be answered; null once it is over."""

    survey_id: str
    questionnaire_version: int
    status: s.Status
    current: str | None


class SurveyHead(BaseModel):
    survey_id: str
    questionnaire_id: str
    questionnaire_version: int
    customer_id: str | None
    call_id: str | None
    agent_id: str
    language: str
    status: s.Status
    reason: s.Reason | None
    started_at: AwareDatetime
    ended_at: AwareDatetime | None


class GivenOption(BaseModel):
    option_id: str
    text: str


class Asked(BaseModel):
    """A question in the language of the survey."""

    question_id: str
    kind: q.Kind
    text: str
    required: bool
    options: list[GivenOption]
    minimum: Number | None
    maximum: Number | None
    decimals: int


class Answered(BaseModel):
    """text: empty where there was none, or once the customer is erased."""

    question_id: str
    options: list[str]
    number: Number | None
    date: date | None
    text: str


class ProgressView(BaseModel):
    """remaining: how many questions may still come, at most."""

    answered: int
    remaining: int


class SurveyView(SurveyHead):
    """current: the question to be answered; null once it is over. answers: in the order of the
    questions. intro, outro: what is said before and after."""

    current: Asked | None
    progress: ProgressView
    answers: list[Answered]
    intro: str
    outro: str


def router(service: Surveys) -> APIRouter:
    api = APIRouter(prefix="/v1/clients/{client_id}")
    _questionnaires(api, service)
    _surveys(api, service)
    return api


def _questionnaires(api: APIRouter, service: Surveys) -> None:
    root = "/questionnaires"
    one = f"{root}/{{questionnaire_id}}"
    supervisor = [require("supervisor")]
    command: dict[str, Any] = {
        "response_model": Done,
        "responses": problems(409),
        "dependencies": supervisor,
        "tags": ["questionnaires"],
    }
    tags: Any = ["questionnaires"]

    @api.post(root, operation_id="createQuestionnaire", status_code=201, **command)
    async def create(cause: CauseOf, body: NewQuestionnaire) -> Answer:
        """Write a new questionnaire: a draft, which nobody is asked before it is published."""
        return await service.create(cause, body.questionnaire_id, body.content())

    @api.post(f"{one}/draft", operation_id="startQuestionnaireDraft", **command)
    async def start_draft(cause: CauseOf, questionnaire_id: Id) -> Answer:
        """Begin the next version with what the last one says, or go on with its draft."""
        return await service.draft(cause, questionnaire_id, None)

    @api.put(f"{one}/draft", operation_id="draftQuestionnaire", **command)
    async def draft(cause: CauseOf, questionnaire_id: Id, body: Draft) -> Answer:
        """Write the next version, or what its draft says now."""
        return await service.draft(cause, questionnaire_id, body.content())

    @api.get(
        f"{one}/draft",
        operation_id="readQuestionnaireDraft",
        response_model=QuestionnaireView,
        dependencies=supervisor,
        tags=tags,
    )
    async def read_draft(client_id: ClientOf, questionnaire_id: Id) -> dict[str, Any]:
        """What is being written."""
        found = await service.version(client_id, questionnaire_id, draft=True)
        return _questionnaire(questionnaire_id, found)

    @api.get(
        f"{one}/draft/problems",
        operation_id="checkQuestionnaireDraft",
        response_model=DraftProblems,
        dependencies=supervisor,
        tags=tags,
    )
    async def check_draft(client_id: ClientOf, questionnaire_id: Id) -> dict[str, Any]:
        """Everything for which the draft cannot be published yet; empty when it can."""
        found = await service.version(client_id, questionnaire_id, draft=True)
        return {
            "items": [
                {"question_id": each.question_id or None, "reason": each.reason}
                for each in q.problems(found.content)
            ]
        }

    @api.post(f"{one}/publish", operation_id="publishQuestionnaire", **command)
    async def publish(cause: CauseOf, questionnaire_id: Id, body: Publish) -> Answer:
        """Make the draft a version, which never changes. Refused (422) where a question cannot
        come, comes again, or leads nowhere: `errors` says which and why."""
        return await service.publish(cause, questionnaire_id, body.version)

    @api.post(f"{one}/withdraw", operation_id="withdrawQuestionnaire", **command)
    async def withdraw(cause: CauseOf, questionnaire_id: Id) -> Answer:
        """Ask nobody else. Surveys that have begun go on."""
        return await service.withdraw(cause, questionnaire_id)

    @api.get(root, operation_id="listQuestionnaires", response_model=Listing[Head], tags=tags)
    async def questionnaires(
        client_id: ClientOf,
        caller: CallerOf,
        page: PageOf,
        purpose: q.Purpose | None = None,
        everything: Annotated[
            bool, Query(alias="all", description="Drafts and withdrawn ones too: for supervisors.")
        ] = False,
    ) -> dict[str, Any]:
        """Questionnaires by their ids: those that can be started, or all."""
        if everything:
            caller.must(Role.SUPERVISOR)
        (after,) = page.after(str) or ("",)
        rows = await service.questionnaires(
            client_id, purpose and purpose.value, not everything, after, page.rows
        )
        return page.of(rows, key=lambda row: (row["questionnaire_id"],))

    @api.get(one, operation_id="readQuestionnaire", response_model=QuestionnaireView, tags=tags)
    async def read(client_id: ClientOf, questionnaire_id: Id) -> dict[str, Any]:
        """The last version that was published."""
        found = await service.version(client_id, questionnaire_id)
        return _questionnaire(questionnaire_id, found)

    @api.get(
        f"{one}/versions/{{version}}",
        operation_id="readQuestionnaireVersion",
        response_model=QuestionnaireView,
        tags=tags,
    )
    async def read_version(
        client_id: ClientOf, questionnaire_id: Id, version: Version
    ) -> dict[str, Any]:
        """A version as it was published."""
        found = await service.version(client_id, questionnaire_id, version)
        return _questionnaire(questionnaire_id, found)

    @api.get(
        f"{one}/versions/{{version}}/results",
        operation_id="readResults",
        response_model=ResultsView,
        tags=tags,
    )
    async def results(
        client_id: ClientOf, questionnaire_id: Id, version: Version
    ) -> dict[str, Any]:
        """What was answered in surveys of this version and no other, completed or not."""
        found = await service.results(client_id, questionnaire_id, version)
        return _results(questionnaire_id, found)

    @api.get(
        f"{one}/versions/{{version}}/texts/{{question_id}}",
        operation_id="listTextAnswers",
        response_model=Listing[TextView],
        dependencies=supervisor,
        tags=tags,
    )
    async def texts(
        client_id: ClientOf, questionnaire_id: Id, version: Version, question_id: Id, page: PageOf
    ) -> dict[str, Any]:
        """What customers answered to a question in their own words."""
        (after,) = page.after(str) or ("",)
        rows = await service.texts(
            client_id, questionnaire_id, version, question_id, after, page.rows
        )
        shown = [row | {"answered_at": time_of(row["answered_at"])} for row in rows]
        return page.of(shown, key=lambda row: (row["survey_id"],))


def _surveys(api: APIRouter, service: Surveys) -> None:
    one = "/surveys/{survey_id}"
    command: dict[str, Any] = {
        "response_model": SurveyState,
        "responses": problems(409),
        "tags": ["surveys"],
    }
    tags: Any = ["surveys"]

    @api.post("/surveys", operation_id="startSurvey", status_code=201, **command)
    async def start(cause: CauseOf, body: StartBody) -> Answer:
        """Begin a survey or a script with the last version, which it keeps."""
        begun = Start(
            body.questionnaire_id, body.customer or "", body.call_id or "", body.language or ""
        )
        return await service.start(cause, body.survey_id, begun)

    @api.put(f"{one}/answers/{{question_id}}", operation_id="answerQuestion", **command)
    async def answer(cause: CauseOf, survey_id: Id, question_id: Id, body: AnswerBody) -> Answer:
        """Answer the current question, or change an earlier answer: answers to questions that can
        come no more are dropped. After the last question the survey is completed by itself."""
        return await service.answer(cause, survey_id, question_id, body.given())

    @api.post(f"{one}/abandon", operation_id="abandonSurvey", **command)
    async def abandon(cause: CauseOf, survey_id: Id, body: AbandonBody) -> Answer:
        """It will not be brought to its end."""
        return await service.abandon(cause, survey_id, body.reason)

    @api.get(one, operation_id="readSurvey", response_model=SurveyView, tags=tags)
    async def read(client_id: ClientOf, survey_id: Id) -> dict[str, Any]:
        """The current question, how far it has got, and what was answered."""
        return _survey(await service.survey(client_id, survey_id))

    @api.get("/surveys", operation_id="listSurveys", response_model=Listing[SurveyHead], tags=tags)
    async def surveys(
        client_id: ClientOf,
        page: PageOf,
        customer_id: Annotated[Id | None, Query(description="crm's id.")] = None,
        call_id: Id | None = None,
        questionnaire_id: Id | None = None,
        status: s.Status | None = None,
    ) -> dict[str, Any]:
        """Surveys by their ids, such as those of a call that are still open."""
        (after,) = page.after(str) or ("",)
        rows = await service.surveys(
            client_id,
            after,
            page.rows,
            customer_id=customer_id,
            call_id=call_id,
            questionnaire_id=questionnaire_id,
            status=status and status.value,
        )
        return page.of([_head(row) for row in rows], key=lambda row: (row["survey_id"],))


# From what is known to what is shown.


def _questionnaire(questionnaire_id: str, found: store.Version) -> dict[str, Any]:
    content = found.content
    return {
        "questionnaire_id": questionnaire_id,
        "version": found.version,
        "published_at": found.published_at and time_of(found.published_at),
        "purpose": content.purpose,
        "name": content.name,
        "languages": content.languages,
        "intro": content.intro,
        "outro": content.outro,
        "questions": [
            {
                "question_id": each.question_id,
                "kind": each.kind,
                "texts": each.texts,
                "required": each.required,
                "options": [
                    {"option_id": option.option_id, "texts": option.texts}
                    for option in each.options
                ],
                "minimum": each.minimum,
                "maximum": each.maximum,
                "decimals": each.decimals,
                "branches": [
                    {
                        "to": branch.to,
                        "options": branch.options,
                        "minimum": branch.minimum,
                        "maximum": branch.maximum,
                    }
                    for branch in each.branches
                ],
                "otherwise": each.otherwise or None,
            }
            for each in content.questions
        ],
    }


def _results(questionnaire_id: str, found: store.Results) -> dict[str, Any]:
    return {
        "questionnaire_id": questionnaire_id,
        "version": found.version,
        "started": found.started,
        "open": found.open,
        "completed": found.completed,
        "abandoned": found.abandoned,
        "completion_rate": found.completion_rate,
        "drop_off": found.drop_off,
        "reasons": found.reasons,
        "questions": [
            {
                "question_id": each.question.question_id,
                "kind": each.question.kind,
                "answered": each.answered,
                "left_out": each.left_out,
                "abandoned": each.abandoned,
                "texts": each.texts,
                "options": each.options,
                "numbers": each.numbers,
                "days": each.days,
            }
            for each in found.questions
        ],
    }


def _head(row: store.Row) -> dict[str, Any]:
    return row | {
        "customer_id": row["customer_id"] or None,
        "call_id": row["call_id"] or None,
        "started_at": time_of(row["started_at"]),
        "ended_at": row["ended_at"] and time_of(row["ended_at"]),
    }


def _survey(progress: Progress) -> dict[str, Any]:
    language, current = progress.row["language"], progress.current
    return _head(progress.row) | {
        "current": current and _asked(current, language),
        "progress": {"answered": len(progress.path), "remaining": progress.remaining},
        "answers": [
            {
                "question_id": question.question_id,
                "options": given.options,
                "number": given.number,
                "date": given.day,
                "text": given.text,
            }
            for question, given in progress.path
        ],
        "intro": progress.content.intro.get(language, ""),
        "outro": progress.content.outro.get(language, ""),
    }


def _asked(question: q.Question, language: str) -> dict[str, Any]:
    return {
        "question_id": question.question_id,
        "kind": question.kind,
        "text": question.texts[language],
        "required": question.required,
        "options": [
            {"option_id": option.option_id, "text": option.texts[language]}
            for option in question.options
        ],
        "minimum": question.minimum,
        "maximum": question.maximum,
        "decimals": question.decimals,
    }
