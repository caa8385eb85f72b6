"""What supervisors do with questionnaires, and agents with surveys and scripts."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from eventkit.decider import NotFound, Rejected
from eventkit.eventstore import Answer, Category, Cause, EventStore, Transaction
from eventkit.ids import derived_id
from services.crm.customers.store import resolve
from services.crm.surveys import questionnaire as q
from services.crm.surveys import store
from services.crm.surveys import survey as s
from services.crm.surveys.codec import TOPIC, message

QUESTIONNAIRES: Final[Category[q.Command, q.Questionnaire, q.Event]] = Category(
    "questionnaire", q.QUESTIONNAIRE, project=store.project_questionnaires
)
SURVEYS: Final[Category[s.Command, s.Survey, s.Event]] = Category(
    "survey",
    s.SURVEY,
    topic=TOPIC,
    message=message,
    project=store.project_surveys,
    subject=lambda survey_id, state: store.subject_of(survey_id, state.about.customer_id),
)


@dataclass(frozen=True, slots=True)
class Start:
    """customer: crm's id or the client's own number; "" is whoever the call is with. language: ""
    is the questionnaire's first."""

    questionnaire_id: str
    customer: str = ""
    call_id: str = ""
    language: str = ""


@dataclass(frozen=True, slots=True)
class Progress:
    """A survey as far as it has got. path: the questions on its way, each with its answer.
    remaining: how many may still come, at most."""

    row: store.Row
    content: q.Content
    path: list[tuple[q.Question, s.Given]]
    current: q.Question | None
    remaining: int


class Surveys:
    """ids: a new id each time. Commands raise Invalid, Rejected and NotFound."""

    def __init__(self, events: EventStore, ids: Callable[[], str]) -> None:
        self._events = events
        self._ids = ids

    # Questionnaires. Commands answer `questionnaire_id` and `version`.

    async def create(
        self, cause: Cause, questionnaire_id: str | None, content: q.Content
    ) -> Answer:
        """A new questionnaire, as a draft."""
        questionnaire_id = questionnaire_id or self._new_id(cause)
        return await self._run(
            cause, questionnaire_id, q.DraftQuestionnaire(questionnaire_id, content, new=True)
        )

    async def draft(self, cause: Cause, questionnaire_id: str, content: q.Content | None) -> Answer:
        """What the draft of the next version says; None: what the last version says."""

        async def work(tx: Transaction) -> Answer:
            state, _ = await tx.load(QUESTIONNAIRES, questionnaire_id)
            if state.content is None:
                raise NotFound("questionnaire")
            command = q.DraftQuestionnaire(questionnaire_id, content)
            change = await tx.execute(QUESTIONNAIRES, questionnaire_id, command)
            return _version(questionnaire_id, change.after)

        return await self._events.run(cause, work)

    async def publish(self, cause: Cause, questionnaire_id: str, version: int) -> Answer:
        """What is the draft is asked from now on. Raises Invalid with what is wrong with it."""
        return await self._run(cause, questionnaire_id, q.PublishQuestionnaire(version))

    async def withdraw(self, cause: Cause, questionnaire_id: str) -> Answer:
        """Nobody new is asked; surveys that have begun go on."""
        return await self._run(cause, questionnaire_id, q.WithdrawQuestionnaire())

    async def _run(self, cause: Cause, questionnaire_id: str, command: q.Command) -> Answer:
        async def work(tx: Transaction) -> Answer:
            change = await tx.execute(QUESTIONNAIRES, questionnaire_id, command)
            return _version(questionnaire_id, change.after)

        return await self._events.run(cause, work)

    async def questionnaires(
        self, client_id: str, purpose: str | None, published_only: bool, after: str, limit: int
    ) -> list[store.Row]:
        """As `store.list_questionnaires`."""
        async with self._events.engine.connect() as connection:
            return await store.list_questionnaires(
                connection, client_id, purpose, published_only, after, limit
            )

    async def version(
        self,
        client_id: str,
        questionnaire_id: str,
        version: int | None = None,
        *,
        draft: bool = False,
    ) -> store.Version:
        """This published version, or the last one; or the draft. Raises NotFound."""
        async with self._events.engine.connect() as connection:
            found = await store.read_version(
                connection, client_id, questionnaire_id, version, draft=draft
            )
        if found is None:
            raise NotFound("draft" if draft else "questionnaire")
        return found

    async def results(self, client_id: str, questionnaire_id: str, version: int) -> store.Results:
        """What was answered in surveys of one version. Raises NotFound."""
        found = await self.version(client_id, questionnaire_id, version)
        async with self._events.engine.connect() as connection:
            # All figures are of one moment.
            await connection.execution_options(isolation_level="REPEATABLE READ")
            return await store.results(connection, client_id, questionnaire_id, found)

    async def texts(
        self,
        client_id: str,
        questionnaire_id: str,
        version: int,
        question_id: str,
        after: str,
        limit: int,
    ) -> list[store.Row]:
        """As `store.texts`. Raises NotFound."""
        found = await self.version(client_id, questionnaire_id, version)
        if found.content.question(question_id) is None:
            raise NotFound("question")
        async with self._events.engine.connect() as connection:
            return await store.texts(
                connection, client_id, questionnaire_id, version, question_id, after, limit
            )

    # Surveys. Commands answer `survey_id`, `status` and `current`, the question to be answered.

    async def start(self, cause: Cause, survey_id: str | None, start: Start) -> Answer:
        """Begin a survey with the last version of a questionnaire, which it keeps."""
        survey_id = survey_id or self._new_id(cause)

        async def work(tx: Transaction) -> Answer:
            begun, _ = await tx.load(SURVEYS, survey_id)
            found = await store.read_version(
                tx.connection,
                cause.client_id,
                start.questionnaire_id,
                begun.about.questionnaire_version or None,
            )
            state, _ = await tx.load(QUESTIONNAIRES, start.questionnaire_id)
            if found is None:
                raise NotFound("questionnaire")
            if state.withdrawn and begun.status is None:
                raise Rejected("the questionnaire is withdrawn", "questionnaire_id")
            customer_id = begun.about.customer_id
            if begun.status is None or start.customer:
                customer_id = await self._customer(tx, start)
            about = s.About(start.questionnaire_id, found.version, customer_id, start.call_id)
            command = s.StartSurvey(survey_id, about, found.content, cause.actor, start.language)
            return _state(survey_id, (await tx.execute(SURVEYS, survey_id, command)).after)

        return await self._events.run(cause, work)

    async def _customer(self, tx: Transaction, start: Start) -> str:
        client_id = tx.cause.client_id
        if start.customer:
            found = await resolve(tx.connection, client_id, start.customer)
            if found is None:
                raise NotFound("customer")
            return found
        if not start.call_id:
            return ""
        reference = await store.customer_of_call(tx.connection, client_id, start.call_id)
        return (reference and await resolve(tx.connection, client_id, reference)) or ""

    async def answer(
        self, cause: Cause, survey_id: str, question_id: str, given: s.Given
    ) -> Answer:
        """Answer the current question, or an earlier one otherwise than before."""

        async def work(tx: Transaction) -> Answer:
            state, _ = await tx.load(SURVEYS, survey_id)
            if state.status is None:
                raise NotFound("survey")
            pinned = await store.read_version(
                tx.connection,
                cause.client_id,
                state.about.questionnaire_id,
                state.about.questionnaire_version,
            )
            if pinned is None:
                raise NotFound("questionnaire")
            command = s.AnswerQuestion(pinned.content, question_id, given)
            return _state(survey_id, (await tx.execute(SURVEYS, survey_id, command)).after)

        return await self._events.run(cause, work)

    async def abandon(self, cause: Cause, survey_id: str, reason: s.Reason) -> Answer:
        """It will not be brought to its end."""

        async def work(tx: Transaction) -> Answer:
            change = await tx.execute(SURVEYS, survey_id, s.AbandonSurvey(reason))
            return _state(survey_id, change.after)

        return await self._events.run(cause, work)

    async def survey(self, client_id: str, survey_id: str) -> Progress:
        """How far a survey has got. Raises NotFound."""
        async with self._events.engine.connect() as connection:
            # Of one moment: an answer, and where it leads to.
            await connection.execution_options(isolation_level="REPEATABLE READ")
            found = await store.read_survey(connection, client_id, survey_id)
            if found is None:
                raise NotFound("survey")
            row, answers = found
            pinned = await store.read_version(
                connection, client_id, row["questionnaire_id"], row["questionnaire_version"]
            )
        if pinned is None:
            raise NotFound("questionnaire")
        content = pinned.content
        path, current = s.walk(content, answers)
        questions = {one.question_id: one for one in content.questions}
        return Progress(
            row=row,
            content=content,
            path=[(questions[each], answers[each]) for each in path],
            current=questions.get(current) if row["status"] == s.Status.OPEN else None,
            remaining=longest(content, current) if row["status"] == s.Status.OPEN else 0,
        )

    async def surveys(
        self,
        client_id: str,
        after: str,
        limit: int,
        *,
        customer_id: str | None = None,
        call_id: str | None = None,
        questionnaire_id: str | None = None,
        status: str | None = None,
    ) -> list[store.Row]:
        """By survey_id; customer_id: crm's, of the record with which the survey began."""
        filters = {
            "customer_id": customer_id,
            "call_id": call_id,
            "questionnaire_id": questionnaire_id,
            "status": status,
        }
        async with self._events.engine.connect() as connection:
            return await store.list_surveys(connection, client_id, filters, after, limit)

    def _new_id(self, cause: Cause) -> str:
        key = cause.idempotency_key
        return derived_id(cause.client_id, key) if key else self._ids()


def longest(content: q.Content, question_id: str) -> int:
    """How many questions there are on the longest way from one to the end, itself included."""
    lengths = {q.END: 0}
    questions = {one.question_id: one for one in content.questions}
    waiting = [question_id]
    # Published contents have no circles, so everything after a question is done before it.
    while waiting:
        ways = q.exits(content, questions[waiting[-1]]) if waiting[-1] != q.END else []
        if missing := [way for way in ways if way not in lengths]:
            waiting += missing
        else:
            done = waiting.pop()
            lengths.setdefault(done, 1 + max((lengths[way] for way in ways), default=0))
    return lengths[question_id]


def _version(questionnaire_id: str, state: q.Questionnaire) -> Answer:
    return {"questionnaire_id": questionnaire_id, "version": state.draft or state.published}


def _state(survey_id: str, state: s.Survey) -> Answer:
    return {
        "survey_id": survey_id,
        "questionnaire_version": state.about.questionnaire_version,
        "status": state.status and state.status.value,
        "current": None if state.status is not s.Status.OPEN else state.current,
    }
