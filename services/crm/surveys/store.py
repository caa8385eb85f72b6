"""Questionnaires and surveys as tables, what was answered in total, and what is held on a person.

Times are microseconds since 1970.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, insert
from sqlalchemy.ext.asyncio import AsyncConnection

from eventkit.eventstore import Change
from services.crm.holding import Forgotten, Person
from services.crm.interactions.store import Entry, calls, put_entries
from services.crm.surveys import questionnaire as q
from services.crm.surveys import survey as s
from services.crm.tables import metadata

Row = dict[str, Any]

questionnaires = sa.Table(
    "questionnaires",
    metadata,
    sa.Column("client_id", sa.Text, primary_key=True),
    sa.Column("questionnaire_id", sa.Text, primary_key=True),
    sa.Column("purpose", sa.Text, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("draft", sa.Integer),
    sa.Column("published", sa.Integer),
    sa.Column("withdrawn", sa.Boolean, nullable=False),
)
"""purpose, name: of the last version that was published, of the draft before that."""

questionnaire_versions = sa.Table(
    "questionnaire_versions",
    metadata,
    sa.Column("client_id", sa.Text, primary_key=True),
    sa.Column("questionnaire_id", sa.Text, primary_key=True),
    sa.Column("version", sa.Integer, primary_key=True),
    sa.Column("content", JSONB, nullable=False),
    sa.Column("published_at", sa.BigInteger),
)
"""content: a `questionnaire.Content`. published_at: null for the draft."""

surveys = sa.Table(
    "surveys",
    metadata,
    sa.Column("client_id", sa.Text, primary_key=True),
    sa.Column("survey_id", sa.Text, primary_key=True),
    sa.Column("questionnaire_id", sa.Text, nullable=False),
    sa.Column("questionnaire_version", sa.Integer, nullable=False),
    sa.Column("customer_id", sa.Text, nullable=False),
    sa.Column("call_id", sa.Text, nullable=False),
    sa.Column("agent_id", sa.Text, nullable=False),
    sa.Column("language", sa.Text, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("current", sa.Text, nullable=False),
    sa.Column("reason", sa.Text),
    sa.Column("started_at", sa.BigInteger, nullable=False),
    sa.Column("ended_at", sa.BigInteger),
    sa.Index(
        "surveys_by_questionnaire",
        "client_id",
        "questionnaire_id",
        "questionnaire_version",
        "survey_id",
    ),
    sa.Index("surveys_by_customer", "client_id", "customer_id", "survey_id"),
    sa.Index("surveys_by_call", "client_id", "call_id", "survey_id"),
)
"""customer_id, call_id: empty where there is none. current: the question to be answered, or the one
at which it was abandoned, or `end`."""

survey_answers = sa.Table(
    "survey_answers",
    metadata,
    sa.Column("client_id", sa.Text, primary_key=True),
    sa.Column("survey_id", sa.Text, primary_key=True),
    sa.Column("question_id", sa.Text, primary_key=True),
    sa.Column("options", ARRAY(sa.Text), nullable=False),
    sa.Column("number", sa.Numeric),
    sa.Column("day", sa.Date),
    sa.Column("text", sa.Text),
    sa.Column("answered_at", sa.BigInteger, nullable=False),
)
"""The answers that count. text: the customer's own words; empty once the customer is erased, null
where the answer is none."""

_of_survey: Final = sa.and_(
    survey_answers.c.client_id == surveys.c.client_id,
    survey_answers.c.survey_id == surveys.c.survey_id,
)

# Writing.


async def project_questionnaires(
    connection: AsyncConnection, changes: Sequence[Change[q.Questionnaire, q.Event]]
) -> None:
    """Bring the tables up to date."""
    for change in changes:
        key = {"client_id": change.client_id, "questionnaire_id": change.id}
        for recorded in change.events:
            match recorded.event:
                case q.QuestionnaireDrafted(version, content):
                    said = {"content": msgspec.to_builtins(content)}
                    await connection.execute(
                        insert(questionnaire_versions)
                        .values(**key, version=version, **said)
                        .on_conflict_do_update(
                            index_elements=["client_id", "questionnaire_id", "version"], set_=said
                        )
                    )
                case q.QuestionnairePublished(version):
                    await connection.execute(
                        sa.update(questionnaire_versions)
                        .where(*_are(questionnaire_versions, key | {"version": version}))
                        .values(published_at=recorded.occurred_at)
                    )
        after = change.after
        shown = after.latest or after.content
        assert shown is not None
        row = {
            "purpose": shown.purpose.value,
            "name": shown.name,
            "draft": after.draft or None,
            "published": after.published or None,
            "withdrawn": after.withdrawn,
        }
        await connection.execute(
            insert(questionnaires)
            .values(**key, **row)
            .on_conflict_do_update(index_elements=["client_id", "questionnaire_id"], set_=row)
        )


async def project_surveys(
    connection: AsyncConnection, changes: Sequence[Change[s.Survey, s.Event]]
) -> None:
    """Bring the tables up to date, and the timelines of the customers who were asked."""
    for change in changes:
        key = {"client_id": change.client_id, "survey_id": change.id}
        after, about = change.after, change.after.about
        assert after.status is not None
        state: Row = {
            "status": after.status.value,
            "current": after.current,
            "reason": after.reason and after.reason.value,
        }
        for recorded in change.events:
            at = recorded.occurred_at
            match recorded.event:
                case s.SurveyStarted():
                    pinned = msgspec.to_builtins(about)
                    await connection.execute(
                        insert(surveys).values(
                            **key,
                            **pinned,
                            **state,
                            agent_id=after.agent_id,
                            language=after.language,
                            started_at=at,
                        )
                    )
                case s.SurveyQuestionAnswered() as answered:
                    await _put_answer(connection, key, answered, at)
                case s.SurveyCompleted() | s.SurveyAbandoned():
                    state["ended_at"] = at
        await connection.execute(sa.update(surveys).where(*_are(surveys, key)).values(**state))
        if about.customer_id:
            await _put_on_timeline(connection, key, state)


async def _put_answer(
    connection: AsyncConnection, key: Row, answered: s.SurveyQuestionAnswered, at: int
) -> None:
    given = {
        "options": list(answered.options),
        "number": answered.number,
        "day": answered.day,
        "text": answered.text or None,
        "answered_at": at,
    }
    await connection.execute(
        insert(survey_answers)
        .values(**key, question_id=answered.question_id, **given)
        .on_conflict_do_update(index_elements=["client_id", "survey_id", "question_id"], set_=given)
    )
    if answered.dropped:
        await connection.execute(
            sa.delete(survey_answers).where(
                *_are(survey_answers, key), survey_answers.c.question_id.in_(answered.dropped)
            )
        )


async def _put_on_timeline(connection: AsyncConnection, key: Row, state: Row) -> None:
    row = (
        await connection.execute(
            sa.select(
                surveys.c.customer_id,
                surveys.c.started_at,
                surveys.c.questionnaire_id,
                surveys.c.questionnaire_version,
            ).where(*_are(surveys, key))
        )
    ).one()
    details = {
        "questionnaire_id": row.questionnaire_id,
        "questionnaire_version": row.questionnaire_version,
        "status": state["status"],
    }
    entry = Entry(
        key["client_id"], row.customer_id, row.started_at, "survey", key["survey_id"], details
    )
    await put_entries(connection, [entry])


def _are(table: sa.Table, key: Mapping[str, Any]) -> list[sa.ColumnElement[bool]]:
    return [table.c[name] == value for name, value in key.items()]


# Reading.


async def customer_of_call(connection: AsyncConnection, client_id: str, call_id: str) -> str | None:
    """Who the call is with, as far as is known: crm's id, or the client's own number."""
    reference: str | None = await connection.scalar(
        sa.select(calls.c.reference).where(
            calls.c.client_id == client_id, calls.c.call_id == call_id
        )
    )
    return reference


@dataclass(frozen=True, slots=True)
class Version:
    """published_at: None for a draft."""

    version: int
    content: q.Content
    published_at: int | None


async def read_version(
    connection: AsyncConnection,
    client_id: str,
    questionnaire_id: str,
    version: int | None = None,
    *,
    draft: bool = False,
) -> Version | None:
    """This published version, or the last one; or the draft."""
    key = {"client_id": client_id, "questionnaire_id": questionnaire_id}
    published = questionnaire_versions.c.published_at
    asked = sa.select(questionnaire_versions).where(
        *_are(questionnaire_versions, key),
        published.is_(None) if draft else published.is_not(None),
    )
    if version is not None:
        asked = asked.where(questionnaire_versions.c.version == version)
    last = asked.order_by(questionnaire_versions.c.version.desc()).limit(1)
    row = (await connection.execute(last)).one_or_none()
    if row is None:
        return None
    return Version(row.version, msgspec.convert(row.content, q.Content), row.published_at)


async def list_questionnaires(
    connection: AsyncConnection,
    client_id: str,
    purpose: str | None,
    published_only: bool,
    after: str,
    limit: int,
) -> list[Row]:
    """By questionnaire_id; published_only: those that can be started."""
    asked = sa.select(questionnaires).where(
        questionnaires.c.client_id == client_id, questionnaires.c.questionnaire_id > after
    )
    if purpose is not None:
        asked = asked.where(questionnaires.c.purpose == purpose)
    if published_only:
        asked = asked.where(questionnaires.c.published.is_not(None), ~questionnaires.c.withdrawn)
    rows = await connection.execute(asked.order_by(questionnaires.c.questionnaire_id).limit(limit))
    return [dict(row) for row in rows.mappings()]


async def read_survey(
    connection: AsyncConnection, client_id: str, survey_id: str
) -> tuple[Row, dict[str, s.Given]] | None:
    """A survey's row and the answers that count, by question."""
    key = {"client_id": client_id, "survey_id": survey_id}
    found = await connection.execute(sa.select(surveys).where(*_are(surveys, key)))
    row = found.mappings().one_or_none()
    if row is None:
        return None
    answers = await connection.execute(
        sa.select(survey_answers)
        .where(*_are(survey_answers, key))
        .order_by(survey_answers.c.answered_at, survey_answers.c.question_id)
    )
    return dict(row), {
        one.question_id: s.Given(tuple(one.options), one.number, one.day, one.text or "")
        for one in answers
    }


async def list_surveys(
    connection: AsyncConnection,
    client_id: str,
    filters: Mapping[str, str | None],
    after: str,
    limit: int,
) -> list[Row]:
    """By survey_id. filters: columns and the values that they must have; None: any."""
    asked = sa.select(surveys).where(surveys.c.client_id == client_id, surveys.c.survey_id > after)
    for name, value in filters.items():
        if value is not None:
            asked = asked.where(surveys.c[name] == value)
    rows = await connection.execute(asked.order_by(surveys.c.survey_id).limit(limit))
    return [dict(row) for row in rows.mappings()]


# Results of one version.


@dataclass(frozen=True, slots=True)
class Numbers:
    n: int
    mean: float
    median: float
    minimum: Decimal
    maximum: Decimal


@dataclass(frozen=True, slots=True)
class Days:
    n: int
    first: date
    last: date
    counts: dict[date, int]


@dataclass(slots=True)
class Answers:
    """Of one question. answered: with something; left_out: with nothing, or a statement that was
    read. abandoned: surveys that ended here. options: every option of the question."""

    question: q.Question
    answered: int = 0
    left_out: int = 0
    abandoned: int = 0
    texts: int = 0
    options: dict[str, int] | None = None
    numbers: Numbers | None = None
    days: Days | None = None


@dataclass(frozen=True, slots=True)
class Results:
    """completion_rate: of the surveys that have ended; None: none has. drop_off: the question at
    which most were abandoned, the first of several; None: none was."""

    version: int
    started: int
    open: int
    completed: int
    abandoned: int
    completion_rate: float | None
    drop_off: str | None
    reasons: dict[str, int]
    questions: list[Answers]


async def results(
    connection: AsyncConnection, client_id: str, questionnaire_id: str, version: Version
) -> Results:
    """What was answered in surveys of this version and no other, completed or not."""
    mine = _are(
        surveys,
        {
            "client_id": client_id,
            "questionnaire_id": questionnaire_id,
            "questionnaire_version": version.version,
        },
    )
    found = {one.question_id: Answers(one) for one in version.content.questions}
    for answers in found.values():
        if answers.question.options:
            answers.options = {option.option_id: 0 for option in answers.question.options}

    counted = {status: 0 for status in s.Status}
    reasons: dict[str, int] = {}
    grouped = (surveys.c.status, surveys.c.reason, surveys.c.current)
    for status, reason, current, count in await connection.execute(
        sa.select(*grouped, sa.func.count()).where(*mine).group_by(*grouped)
    ):
        counted[s.Status(status)] += count
        if status == s.Status.ABANDONED:
            reasons[reason] = reasons.get(reason, 0) + count
            found[current].abandoned += count

    await _count_answers(connection, mine, found)
    ended = counted[s.Status.COMPLETED] + counted[s.Status.ABANDONED]
    most = max(found.values(), key=lambda one: one.abandoned)
    return Results(
        version=version.version,
        started=sum(counted.values()),
        open=counted[s.Status.OPEN],
        completed=counted[s.Status.COMPLETED],
        abandoned=counted[s.Status.ABANDONED],
        completion_rate=counted[s.Status.COMPLETED] / ended if ended else None,
        drop_off=most.question.question_id if most.abandoned else None,
        reasons=dict(sorted(reasons.items())),
        questions=list(found.values()),
    )


async def _count_answers(
    connection: AsyncConnection,
    mine: Sequence[sa.ColumnElement[bool]],
    found: Mapping[str, Answers],
) -> None:
    a = survey_answers.c
    of_question = a.question_id

    def asked(*columns: Any) -> sa.Select[Any]:
        chosen = sa.select(of_question, *columns).join_from(surveys, survey_answers, _of_survey)
        return chosen.where(*mine).group_by(of_question)

    given = sa.or_(
        sa.func.cardinality(a.options) > 0,
        a.number.is_not(None),
        a.day.is_not(None),
        a.text.is_not(None),
    )
    totals = asked(sa.func.count(), sa.func.count().filter(given), sa.func.count(a.text))
    for question_id, count, answered, texts in await connection.execute(totals):
        answers = found[question_id]
        answers.answered, answers.left_out, answers.texts = answered, count - answered, texts

    option = sa.func.unnest(a.options).column_valued("option")
    by_option = (
        sa.select(of_question, option, sa.func.count())
        .select_from(
            sa.join(surveys, survey_answers, _of_survey).join(option.scalar_alias, sa.true())
        )
        .where(*mine)
        .group_by(of_question, option)
    )
    for question_id, option_id, count in await connection.execute(by_option):
        counts = found[question_id].options
        if counts is not None:
            counts[option_id] = count

    median = sa.func.percentile_cont(0.5).within_group(sa.cast(a.number, sa.Double))
    numbers = asked(
        sa.func.count(),
        sa.cast(sa.func.avg(a.number), sa.Double),
        median,
        sa.func.min(a.number),
        sa.func.max(a.number),
    ).where(a.number.is_not(None))
    for question_id, *figures in await connection.execute(numbers):
        found[question_id].numbers = Numbers(*figures)

    by_day = asked(a.day, sa.func.count()).where(a.day.is_not(None)).group_by(a.day)
    days: dict[str, dict[date, int]] = {}
    for question_id, day, count in await connection.execute(by_day.order_by(a.day)):
        days.setdefault(question_id, {})[day] = count
    for question_id, counts_by_day in days.items():
        found[question_id].days = Days(
            sum(counts_by_day.values()), min(counts_by_day), max(counts_by_day), counts_by_day
        )


async def texts(
    connection: AsyncConnection,
    client_id: str,
    questionnaire_id: str,
    version: int,
    question_id: str,
    after: str,
    limit: int,
) -> list[Row]:
    """What customers answered in their own words, by survey_id; without those who were erased."""
    rows = await connection.execute(
        sa.select(surveys.c.survey_id, survey_answers.c.text, survey_answers.c.answered_at)
        .join_from(surveys, survey_answers, _of_survey)
        .where(
            surveys.c.client_id == client_id,
            surveys.c.questionnaire_id == questionnaire_id,
            surveys.c.questionnaire_version == version,
            surveys.c.survey_id > after,
            survey_answers.c.question_id == question_id,
            survey_answers.c.text != "",
        )
        .order_by(surveys.c.survey_id)
        .limit(limit)
    )
    return [dict(row) for row in rows.mappings()]


# What is held on a person.


def subject_of(survey_id: str, customer_id: str) -> str:
    """Whose key seals the answers: the customer's; the survey's own where nobody is known."""
    return customer_id or f"survey/{survey_id}"


class Holding:
    """services.crm.holding.Holding of surveys: those of the person, and those of calls that turned
    out to be with the person after the survey."""

    name = "surveys"

    async def export(self, connection: AsyncConnection, person: Person) -> list[dict[str, Any]]:
        rows = await connection.execute(
            sa.select(surveys).where(_of_person(person)).order_by(surveys.c.started_at)
        )
        exported = []
        for row in rows.mappings().all():
            answers = await connection.execute(
                sa.select(survey_answers)
                .where(
                    survey_answers.c.client_id == person.client_id,
                    survey_answers.c.survey_id == row["survey_id"],
                )
                .order_by(survey_answers.c.answered_at, survey_answers.c.question_id)
            )
            times = {
                name: _iso(row[name])
                for name in ("started_at", "ended_at")
                if row[name] is not None
            }
            exported.append(
                {"kind": "survey"}
                | {name: value for name, value in row.items() if name != "client_id" and value}
                | times
                | {"answers": [_exported(answer) for answer in answers.mappings()]}
            )
        return exported

    async def forget(self, connection: AsyncConnection, person: Person) -> Forgotten:
        rows = await connection.execute(
            sa.select(surveys.c.survey_id, surveys.c.customer_id).where(_of_person(person))
        )
        mine = {survey_id: customer_id for survey_id, customer_id in rows}
        done = await connection.execute(
            sa.update(survey_answers)
            .where(
                survey_answers.c.client_id == person.client_id,
                survey_answers.c.survey_id == sa.any_(_array(mine)),
                survey_answers.c.text != "",
            )
            .values(text="")
        )
        return Forgotten(
            subjects={
                subject_of(survey_id, customer_id) for survey_id, customer_id in mine.items()
            },
            cleaned={survey_answers.name: done.rowcount},
        )


def _of_person(person: Person) -> sa.ColumnElement[bool]:
    their_calls = sa.select(calls.c.call_id).where(
        calls.c.client_id == person.client_id,
        calls.c.reference == sa.any_(_array(person.references)),
    )
    return sa.and_(
        surveys.c.client_id == person.client_id,
        sa.or_(
            surveys.c.customer_id == sa.any_(_array(person.customer_ids)),
            sa.and_(surveys.c.customer_id == "", surveys.c.call_id.in_(their_calls)),
        ),
    )


def _array(texts: Any) -> sa.BindParameter[Any]:
    return sa.bindparam(None, list(texts), type_=ARRAY(sa.Text))


def _exported(answer: sa.RowMapping) -> Row:
    shown: Row = {"question_id": answer["question_id"], "answered_at": _iso(answer["answered_at"])}
    if answer["options"]:
        shown["options"] = answer["options"]
    if answer["number"] is not None:
        shown["number"] = format(answer["number"], "f")
    if answer["day"] is not None:
        shown["date"] = answer["day"].isoformat()
    if answer["text"]:
        shown["text"] = answer["text"]
    return shown


def _iso(us: int) -> str:
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=us)).isoformat()
