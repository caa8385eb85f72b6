"""Answering: step by step, with changes of mind, to the end."""

from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from relais.customers.v1.events_pb2 import CustomerEvent

from eventkit.decider import Invalid, NotFound, Rejected, fold
from eventkit.eventcodec import EventCodec
from eventkit.eventstore import Recorded
from services.crm.surveys.codec import message
from services.crm.surveys.questionnaire import END, Branch, Content, Kind, reachable
from services.crm.surveys.service import longest
from services.crm.surveys.survey import (
    NOTHING,
    SURVEY,
    AbandonSurvey,
    About,
    AnswerQuestion,
    Command,
    Event,
    Given,
    Reason,
    StartSurvey,
    Status,
    Survey,
    SurveyAbandoned,
    SurveyCompleted,
    SurveyQuestionAnswered,
    SurveyStarted,
    walk,
)
from services.crm.surveys.tests.questionnaires import accepted, content, possible, question

D = Decimal
ABOUT = About("satisfaction", 3, "c-1", "call-1")

# use: yes -> score -> (0-6 -> why) -> since; no -> why -> since
CONTENT = content(
    question("hello", Kind.STATEMENT),
    question(
        "use",
        Kind.SINGLE,
        "yes",
        "no",
        branches=(Branch("score", ("yes",)), Branch("why", ("no",))),
    ),
    question(
        "score",
        Kind.NUMBER,
        minimum=D(0),
        maximum=D(10),
        decimals=1,
        branches=(Branch("why", maximum=D(6)),),
        otherwise="since",
    ),
    question("why", Kind.TEXT, required=False),
    question("since", Kind.DATE, required=False),
    question("wants", Kind.MULTIPLE, "a", "b", "c"),
)
START = StartSurvey("s-1", ABOUT, CONTENT, "ana")
STARTED = SurveyStarted(ABOUT, "ana", "fr", "hello")


def answered(question_id: str, following: str, *dropped: str, **given: object) -> Event:
    values = {"options": (), "number": None, "day": None, "text": ""} | given
    return SurveyQuestionAnswered(
        about=ABOUT,
        question_id=question_id,
        dropped=dropped,
        next=following,
        **values,  # type: ignore[arg-type]
    )


def answer(question_id: str, given: Given = NOTHING) -> AnswerQuestion:
    return AnswerQuestion(CONTENT, question_id, given)


def when(given: list[Event], command: Command) -> list[Event]:
    return list(SURVEY.decide(command, fold(SURVEY, given)))


READ = answered("hello", "use")
YES = answered("use", "score", options=("yes",))
LOW = answered("score", "why", number=D("4.0"))
WHY = answered("why", "since", text="trop cher")
SINCE = answered("since", "wants", day=date(2020, 2, 29))
TO_WANTS = [STARTED, READ, YES, LOW, WHY, SINCE]
DONE = [*TO_WANTS, answered("wants", END, options=("a", "c")), SurveyCompleted(ABOUT)]


@pytest.mark.parametrize(
    ("given", "command", "then"),
    [
        pytest.param([], START, [STARTED], id="started in the first language"),
        pytest.param([STARTED], START, [], id="started again"),
        pytest.param(
            [STARTED],
            replace(START, about=replace(ABOUT, questionnaire_version=4)),
            [],
            id="started again, after another version was published",
        ),
        pytest.param([STARTED], answer("hello"), [READ], id="a statement is read"),
        pytest.param([STARTED, READ], answer("hello"), [], id="read again"),
        pytest.param(
            [STARTED, READ], answer("use", Given(("yes",))), [YES], id="a branch by option"
        ),
        pytest.param(
            [STARTED, READ, YES], answer("score", Given(number=D(4))), [LOW], id="by number"
        ),
        pytest.param(
            [STARTED, READ, YES],
            answer("score", Given(number=D("6.1"))),
            [answered("score", "since", number=D("6.1"))],
            id="otherwise",
        ),
        pytest.param(
            TO_WANTS[:4], answer("why"), [answered("why", "since")], id="what need not be answered"
        ),
        pytest.param(
            TO_WANTS,
            answer("wants", Given(("c", "a", "a"))),
            DONE[6:],
            id="options in their order; completed by itself",
        ),
        pytest.param(
            TO_WANTS,
            answer("score", Given(number=D(9))),
            [answered("score", "wants", "why", number=D("9.0"))],
            id="a change drops what is off the way, and keeps what is on it",
        ),
        pytest.param(
            TO_WANTS[:4],
            answer("use", Given(("no",))),
            [answered("use", "why", "score", options=("no",))],
            id="what may come again stays",
        ),
        pytest.param(DONE, answer("wants", Given(("a", "c"))), [], id="the last answer again"),
        pytest.param(
            [STARTED, READ],
            AbandonSurvey(Reason.HUNG_UP),
            [SurveyAbandoned(ABOUT, Reason.HUNG_UP, "use")],
            id="abandoned",
        ),
        pytest.param(
            [STARTED, SurveyAbandoned(ABOUT, Reason.HUNG_UP, "hello")],
            AbandonSurvey(Reason.HUNG_UP),
            [],
            id="abandoned again",
        ),
    ],
)
def test_decisions(given: list[Event], command: Command, then: list[Event]) -> None:
    assert when(given, command) == then
    assert when([*given, *then], command) == []


GONE = [STARTED, SurveyAbandoned(ABOUT, Reason.HUNG_UP, "hello")]


@pytest.mark.parametrize(
    ("given", "command", "error", "reason"),
    [
        ([], answer("hello"), NotFound, "no such survey"),
        ([], AbandonSurvey(Reason.OTHER), NotFound, "no such survey"),
        ([STARTED], answer("q9"), NotFound, "no such question"),
        ([STARTED], answer("use", Given(("yes",))), Rejected, "is not the current question"),
        ([STARTED, READ, YES], answer("why", Given(text="x")), Rejected, "not the current"),
        (DONE, answer("wants", Given(("a",))), Rejected, "the survey is completed"),
        (DONE, AbandonSurvey(Reason.OTHER), Rejected, "the survey is completed"),
        (GONE, answer("hello"), Rejected, "the survey is abandoned"),
        (GONE, AbandonSurvey(Reason.OTHER), Rejected, "the survey is abandoned"),
        (
            [STARTED],
            replace(START, about=replace(ABOUT, customer_id="c-2")),
            Rejected,
            "exists already",
        ),
        ([], replace(START, language="en"), Invalid, "language: is none of the questionnaire's"),
        ([], replace(START, survey_id="a/b"), Invalid, "survey_id: must match"),
        ([STARTED], answer("hello", Given(text="x")), Invalid, "nothing, since it is a statement"),
        ([STARTED, READ], answer("use"), Invalid, "answer: is missing"),
        ([STARTED, READ], answer("use", Given(("maybe",))), Invalid, "is none of the options"),
        ([STARTED, READ], answer("use", Given(("yes", "no"))), Invalid, "more than one option"),
        ([STARTED, READ], answer("use", Given(text="yes")), Invalid, "one of the options"),
        (
            [STARTED, READ, YES],
            answer("score", Given(number=D("4.05"))),
            Invalid,
            "more than 1 decimals",
        ),
        ([STARTED, READ, YES], answer("score", Given(number=D("NaN"))), Invalid, "answer: "),
        ([STARTED, READ, YES], answer("score", Given(number=D(11))), Invalid, "is more than 10"),
        ([STARTED, READ, YES], answer("score", Given(number=D(-1))), Invalid, "is less than 0"),
        (TO_WANTS[:4], answer("why", Given(text="x" * 10_001)), Invalid, "longer than 10000"),
        (TO_WANTS[:4], answer("why", Given(text="a\0")), Invalid, "NUL"),
        (TO_WANTS[:4], answer("why", Given(text=" ")), Invalid, "answer: is empty"),
        (TO_WANTS[:5], answer("since", Given(number=D(1))), Invalid, "asked for: a date"),
    ],
)
def test_refusals(
    given: list[Event], command: Command, error: type[Exception], reason: str
) -> None:
    with pytest.raises(error, match=reason):
        when(given, command)


CODEC = EventCodec(SURVEY.events)


def stored(event: Event, erased: bool = False) -> Event:
    """The event as it comes back from the store."""
    name, body, personal = CODEC.encode(event)
    read: Event = CODEC.decode(name, body.decode(), None if erased else personal)
    return read


@settings(max_examples=80, deadline=None)
@given(accepted(), st.data())
def test_any_answering_ends_and_is_resumed(questionnaire: Content, data: st.DataObject) -> None:
    questions = {each.question_id: each for each in questionnaire.questions}
    start = replace(START, content=questionnaire)
    events = list(SURVEY.decide(start, Survey()))
    state = fold(SURVEY, events)
    changes = data.draw(st.integers(0, 8))
    steps = 0
    while state.status is Status.OPEN:
        path, current = walk(questionnaire, state.answers)
        # Where one resumes is where one was.
        assert current == state.current
        coming = reachable(questionnaire, current)
        assert set(state.answers) <= {*path, *coming}
        # A change of mind some times, then straight on.
        wanted = current
        if changes and path:
            changes -= 1
            wanted = data.draw(st.sampled_from([current, *path]))
        given = data.draw(st.sampled_from(list(possible(questions[wanted]))))
        command = AnswerQuestion(questionnaire, wanted, given)
        new = SURVEY.decide(command, state)
        events += new
        state = fold(SURVEY, map(stored, events))
        assert state == fold(SURVEY, events)
        assert SURVEY.decide(command, state) == []
        assert SURVEY.decide(start, state) == []
        if not changes:
            steps += 1
            assert steps <= len(questions)
            if state.status is Status.OPEN and wanted == current:
                assert longest(questionnaire, state.current) < longest(questionnaire, current)
    path, current = walk(questionnaire, state.answers)
    assert (state.status, current) == (Status.COMPLETED, END)
    assert set(path) == set(state.answers)
    assert events[-1] == SurveyCompleted(ABOUT)


def test_what_the_customer_said_is_gone_once_they_are_erased() -> None:
    erased = [stored(event, erased=True) for event in DONE]
    assert erased[4] == replace(WHY, text="")  # type: ignore[type-var]
    assert fold(SURVEY, erased).status is Status.COMPLETED
    for event in DONE:
        _, body, personal = CODEC.encode(event)
        assert b"trop cher" not in body
        assert (personal is not None) == (event == WHY)


def published(event: Event) -> CustomerEvent:
    recorded = Recorded(
        "acme", "acme/survey/s-1", 2, "id", event, 1_000_000, 2_000_000, "ana", "corr", "cause"
    )
    return CustomerEvent.FromString(message(recorded))


def test_what_is_published() -> None:
    sent = [published(event) for event in [*DONE, *GONE]]
    for each in sent:
        body = getattr(each, each.WhichOneof("body"))
        assert (each.customer_id, each.call_id, body.survey_id) == ("c-1", "call-1", "s-1")
        assert (body.questionnaire_id, body.questionnaire_version) == ("satisfaction", 3)
        assert (each.meta.stream_id, each.meta.version) == ("acme/survey/s-1", 2)
        assert b"trop cher" not in each.SerializeToString()
    assert sent[0].survey_started.agent_id == "ana"
    assert sent[3].survey_question_answered.number == "4.0"
    assert sent[5].survey_question_answered.date == "2020-02-29"
    assert list(sent[6].survey_question_answered.options) == ["a", "c"]
    assert sent[7].WhichOneof("body") == "survey_completed"
    assert sent[9].survey_abandoned.reason == "hung-up"
    changed = published(answered("score", "wants", "why", number=D("9.0")))
    assert list(changed.survey_question_answered.dropped) == ["why"]
