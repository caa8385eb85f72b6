"""What may be published, and how versions come about."""

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import find, given, settings
from hypothesis import strategies as st

from eventkit.decider import Invalid, NotFound, Rejected, fold
from services.crm.surveys.questionnaire import (
    END,
    QUESTIONNAIRE,
    Branch,
    Command,
    Content,
    DraftQuestionnaire,
    Event,
    Kind,
    Option,
    Problem,
    PublishQuestionnaire,
    Question,
    QuestionnaireDrafted,
    QuestionnairePublished,
    QuestionnaireWithdrawn,
    WithdrawQuestionnaire,
    problems,
)
from services.crm.surveys.survey import Given, following
from services.crm.surveys.tests.questionnaires import (
    accepted,
    content,
    contents,
    possible,
    question,
)

D = Decimal
Q1 = question("q1", Kind.TEXT)
YES_NO = question("q1", Kind.SINGLE, "yes", "no")
SCORE = question("q1", Kind.NUMBER, minimum=D(0), maximum=D(10))
GOOD = content(YES_NO, question("q2", Kind.TEXT))
BETTER = replace(GOOD, name="Satisfaction 2")
BAD = content(replace(Q1, otherwise="q9"))


def branching(asked: Question, *branches: Branch, otherwise: str = "") -> Content:
    return content(
        replace(asked, branches=branches, otherwise=otherwise), question("q2", Kind.TEXT)
    )


@pytest.mark.parametrize(
    ("draft", "wrong", "reason"),
    [
        (content(), "", "has no question"),
        (content(Q1, Q1), "q1", "is there twice"),
        (content(question("end", Kind.TEXT)), "end", "cannot have the id end, which means the end"),
        (BAD, "q1", "leads to q9, which is no question"),
        (branching(YES_NO, Branch("q9", ("yes",)), otherwise=END), "q1", "leads to q9, which is"),
        (content(question("q1", Kind.SINGLE)), "q1", "has no options"),
        (content(question("q1", Kind.TEXT, "a")), "q1", "has options, and no choice"),
        (content(question("q1", Kind.MULTIPLE, "a", "a")), "q1", "has the option a twice"),
        (content(replace(Q1, minimum=D(1))), "q1", "has limits, and is no number"),
        (
            content(question("q1", Kind.STATEMENT, required=False)),
            "q1",
            "is a statement, which cannot be left out",
        ),
        (content(replace(SCORE, minimum=D(11))), "q1", "has a maximum below its minimum"),
        (content(replace(SCORE, maximum=D("9.5"))), "q1", "has a limit of more than 0 decimals"),
        (branching(Q1, Branch("q2", ("a",))), "q1", "has branches, and its answer is a text"),
        (branching(YES_NO, Branch("q2")), "q1", "has a branch to q2 without a condition"),
        (branching(SCORE, Branch("q2")), "q1", "has a branch to q2 without a condition"),
        (
            branching(YES_NO, Branch("q2", ("maybe",)), otherwise=END),
            "q1",
            "has a branch for maybe, which is none of its options",
        ),
        (
            branching(YES_NO, Branch("q2", ("yes",)), Branch(END, ("yes", "no"))),
            "q1",
            "has more than one branch for the option yes",
        ),
        (
            branching(YES_NO, Branch("q2", ("yes",))),
            "q1",
            "leads nowhere for the option no: a branch or otherwise is missing",
        ),
        (
            branching(replace(YES_NO, required=False), Branch("q2", ("yes", "no"))),
            "q1",
            "leads nowhere for no answer: a branch or otherwise is missing",
        ),
        (
            branching(YES_NO, Branch("q2", minimum=D(1)), otherwise=END),
            "q1",
            "has a branch for numbers, and its answers are options",
        ),
        (
            branching(SCORE, Branch("q2", ("yes",))),
            "q1",
            "has a branch for options, and its answers are numbers",
        ),
        (
            branching(SCORE, Branch("q2", minimum=D(0), maximum=D(6)), Branch(END, minimum=D(8))),
            "q1",
            "leads nowhere for numbers from 7 to 7",
        ),
        (
            branching(SCORE, Branch("q2", minimum=D(1))),
            "q1",
            "leads nowhere for numbers below 1",
        ),
        (
            branching(SCORE, Branch("q2", maximum=D(9))),
            "q1",
            "leads nowhere for numbers above 9",
        ),
        (
            branching(SCORE, Branch("q2", maximum=D(6)), Branch(END, minimum=D(6))),
            "q1",
            "has more than one branch for the number 6",
        ),
        (
            branching(SCORE, Branch("q2", minimum=D(3), maximum=D(2)), otherwise=END),
            "q1",
            "has a branch from 3 to 2, which is no number",
        ),
        (
            branching(SCORE, Branch("q2", minimum=D(3), maximum=D(12)), otherwise=END),
            "q1",
            "has a branch for numbers outside its own limits",
        ),
        (
            content(replace(Q1, otherwise=END), question("q2", Kind.TEXT)),
            "q2",
            "can never come: no way leads to it",
        ),
        (
            content(YES_NO, question("q2", Kind.TEXT, otherwise="q1")),
            "q1",
            "can come again and again: a way leads back to it",
        ),
        (
            content(Q1, question("q2", Kind.TEXT, otherwise="q1")),
            "q2",
            "never comes to an end: every way goes on",
        ),
        (
            replace(GOOD, languages=("fr", "en")),
            "q1",
            "the text of option no is missing in en",
        ),
        (replace(GOOD, languages=("fr", "en")), "q2", "the text is missing in en"),
        (
            replace(GOOD, languages=("fr", "en"), intro={"fr": "x"}),
            "",
            "the intro is missing in en",
        ),
    ],
)
def test_what_cannot_be_published(draft: Content, wrong: str, reason: str) -> None:
    found = problems(draft)
    assert [each for each in found if each.question_id == wrong and each.reason.startswith(reason)]
    with pytest.raises(Invalid) as refused:
        QUESTIONNAIRE.decide(
            PublishQuestionnaire(1), fold(QUESTIONNAIRE, [QuestionnaireDrafted(1, draft)])
        )
    named = {"questions", *(f"questions.{each.question_id}" for each in found)}
    assert refused.value.field in named
    assert all(each.reason in refused.value.reason for each in found)


@pytest.mark.parametrize(
    "draft",
    [
        GOOD,
        branching(YES_NO, Branch("q2", ("yes",)), otherwise=END),
        branching(YES_NO, Branch("q2", ("yes",)), Branch(END, ("no",))),
        branching(SCORE, Branch("q2", maximum=D(6)), Branch(END, minimum=D(7))),
        branching(
            replace(SCORE, decimals=1), Branch("q2", maximum=D("6.9")), Branch(END, minimum=D(7))
        ),
        branching(
            question("q1", Kind.NUMBER), Branch("q2", maximum=D(0)), Branch(END, minimum=D(1))
        ),
        branching(question("q1", Kind.MULTIPLE, "a", "b"), Branch("q2", ("a",)), otherwise=END),
    ],
)
def test_what_can(draft: Content) -> None:
    assert problems(draft) == []


def test_an_unused_otherwise_is_no_way() -> None:
    # Every answer has its branch: the cycle that `otherwise` would make cannot happen.
    covered = branching(YES_NO, Branch("q2", ("yes", "no")), otherwise="q1")
    assert problems(covered) == []


def good(draft: Content) -> bool:
    """By trying every answer of every question, and walking every way."""
    ids = [each.question_id for each in draft.questions]
    if len(set(ids)) < len(ids):
        return False
    ways: dict[str, set[str]] = {}
    for asked in draft.questions:
        options = {option.option_id for option in asked.options}
        if any(not set(branch.options) <= options for branch in asked.branches):
            return False
        if not {branch.to for branch in asked.branches} <= {*ids, END}:
            return False
        if asked.otherwise and asked.otherwise not in {*ids, END}:
            return False
        answers = list(possible(asked))
        for answer in answers:
            fitting = [branch for branch in asked.branches if fits(branch, answer)]
            # Of several options of a multiple choice, each may have a branch of its own.
            if len(fitting) > 1 and len(answer.options) <= 1:
                return False
            if asked.branches and not fitting and not asked.otherwise:
                return False
        if not all(any(fits(branch, answer) for answer in answers) for branch in asked.branches):
            return False
        if any(limit > asked.maximum for limit in limits(asked)):  # type: ignore[operator]
            return False
        ways[asked.question_id] = {following(draft, asked, answer) for answer in answers}
    seen: set[str] = set()

    def ends(question_id: str, before: tuple[str, ...]) -> bool:
        if question_id == END:
            return True
        seen.add(question_id)
        return question_id not in before and all(
            ends(each, (*before, question_id)) for each in ways[question_id]
        )

    return ends(ids[0], ()) and seen == set(ids)


def fits(branch: Branch, answer: Given) -> bool:
    if answer.number is None:
        return bool(set(branch.options) & set(answer.options))
    low, high = branch.minimum, branch.maximum
    return (low is None or low <= answer.number) and (high is None or answer.number <= high)


def limits(asked: Question) -> list[Decimal]:
    given = [limit for each in asked.branches for limit in (each.minimum, each.maximum)]
    return [limit for limit in given if limit is not None]


@settings(max_examples=300, deadline=None)
@given(contents())
def test_exactly_what_ends_on_every_way_can_be_published(draft: Content) -> None:
    found = problems(draft)
    assert (not found) == good(draft), found


@pytest.mark.parametrize("publishable", [True, False])
def test_both_are_tried(publishable: bool) -> None:
    find(contents(), lambda draft: len(draft.questions) > 2 and good(draft) == publishable)


@settings(max_examples=100, deadline=None)
@given(accepted())
def test_random_questionnaires_to_answer_are_good(draft: Content) -> None:
    assert good(draft)


def when(given: list[Event], command: Command) -> list[Event]:
    return list(QUESTIONNAIRE.decide(command, fold(QUESTIONNAIRE, given)))


PUBLISHED: list[Event] = [QuestionnaireDrafted(1, GOOD), QuestionnairePublished(1)]


@pytest.mark.parametrize(
    ("given", "command", "then"),
    [
        ([], DraftQuestionnaire("s", GOOD), [QuestionnaireDrafted(1, GOOD)]),
        ([], DraftQuestionnaire("s", BAD), [QuestionnaireDrafted(1, BAD)]),
        (PUBLISHED[:1], DraftQuestionnaire("s", BETTER), [QuestionnaireDrafted(1, BETTER)]),
        (PUBLISHED[:1], DraftQuestionnaire("s", GOOD, new=True), []),
        (PUBLISHED[:1], DraftQuestionnaire("s", None), []),
        (PUBLISHED[:1], PublishQuestionnaire(1), [QuestionnairePublished(1)]),
        (PUBLISHED, PublishQuestionnaire(1), []),
        (PUBLISHED, DraftQuestionnaire("s", None), [QuestionnaireDrafted(2, GOOD)]),
        (PUBLISHED, DraftQuestionnaire("s", BETTER), [QuestionnaireDrafted(2, BETTER)]),
        (PUBLISHED, DraftQuestionnaire("s", GOOD), []),
        (PUBLISHED, WithdrawQuestionnaire(), [QuestionnaireWithdrawn()]),
        ([*PUBLISHED, QuestionnaireWithdrawn()], WithdrawQuestionnaire(), []),
        (
            [*PUBLISHED, QuestionnaireWithdrawn()],
            DraftQuestionnaire("s", GOOD),
            [QuestionnaireDrafted(2, GOOD)],
        ),
    ],
)
def test_versions(given: list[Event], command: Command, then: list[Event]) -> None:
    assert when(given, command) == then


@pytest.mark.parametrize(
    ("given", "command", "error", "reason"),
    [
        ([], DraftQuestionnaire("s", None), NotFound, "no such questionnaire"),
        ([], PublishQuestionnaire(1), NotFound, "no such questionnaire"),
        (PUBLISHED, PublishQuestionnaire(2), Rejected, "no draft of this number"),
        (PUBLISHED, PublishQuestionnaire(0), Rejected, "no draft of this number"),
        (PUBLISHED[:1], WithdrawQuestionnaire(), Rejected, "never been published"),
        (PUBLISHED, DraftQuestionnaire("s", BETTER, new=True), Rejected, "exists already"),
        ([], DraftQuestionnaire("a/b", GOOD), Invalid, "questionnaire_id: must match"),
        (
            [],
            DraftQuestionnaire("s", replace(GOOD, languages=())),
            Invalid,
            "languages: is missing",
        ),
        (
            [],
            DraftQuestionnaire("s", replace(GOOD, languages=("fr", "fr"))),
            Invalid,
            "languages: must be at most 20, each once",
        ),
        ([], DraftQuestionnaire("s", content(*[Q1] * 201)), Invalid, "questions: must be at most"),
        (
            [],
            DraftQuestionnaire("s", content(replace(Q1, texts={"fr": "a\0"}))),
            Invalid,
            r"questions\.0\.texts: has a NUL",
        ),
        (
            [],
            DraftQuestionnaire("s", content(replace(Q1, texts={"en": "a"}))),
            Invalid,
            r"questions\.0\.texts: is in a language",
        ),
        (
            [],
            DraftQuestionnaire("s", content(replace(Q1, options=(Option("a b", {}),)))),
            Invalid,
            r"questions\.0\.options: must match",
        ),
    ],
)
def test_refusals(
    given: list[Event], command: Command, error: type[Exception], reason: str
) -> None:
    with pytest.raises(error, match=reason):
        when(given, command)


def test_problems_name_the_question() -> None:
    assert problems(BAD) == [Problem("q1", "leads to q9, which is no question")]


@given(st.text(max_size=20))
def test_any_text_is_kept_or_refused(text: str) -> None:
    draft = content(replace(Q1, texts={"fr": text}))
    try:
        (drafted,) = when([], DraftQuestionnaire("s", draft))
    except Invalid:
        assert not text.strip() or "\0" in text or any("\ud800" <= c <= "\udfff" for c in text)
    else:
        assert drafted == QuestionnaireDrafted(1, draft)
