"""Surveys and scripts: what is asked, said and told, and what comes after which answer. Pure.

A questionnaire is written as a draft and published as a version, which stays as it is for ever, so
that whatever was answered keeps its question. A script is a questionnaire of statements to read
out, with questions where the way parts.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from enum import StrEnum
from itertools import pairwise
from typing import Final

from eventkit.decider import Decider, Invalid, NotFound, Rejected

END: Final = "end"
"""Where a way leads that leads to no question."""
MAX_QUESTIONS: Final = 200
MAX_OPTIONS: Final = 100
MAX_LANGUAGES: Final = 20
MAX_TEXT: Final = 2_000
MAX_NAME: Final = 200
MAX_DECIMALS: Final = 6
MAX_NUMBER: Final = Decimal(10) ** 12

ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:+-]{0,127}")
LANGUAGE: Final = re.compile(r"[a-z]{2,3}(-[A-Z][a-z]{3})?(-[A-Z]{2})?")

Texts = Mapping[str, str]
"""BCP 47 language -> text."""


class Kind(StrEnum):
    """What an answer is. A statement is read out, and has none."""

    SINGLE = "single"
    MULTIPLE = "multiple"
    NUMBER = "number"
    TEXT = "text"
    DATE = "date"
    STATEMENT = "statement"


class Purpose(StrEnum):
    SURVEY = "survey"
    SCRIPT = "script"


CHOICES: Final = (Kind.SINGLE, Kind.MULTIPLE)


@dataclass(frozen=True, slots=True)
class Option:
    option_id: str
    texts: Texts


@dataclass(frozen=True, slots=True)
class Branch:
    """Where to go with one of these options, or a number from minimum to maximum, both included;
    None: no bound. to: a question, or `end`."""

    to: str
    options: tuple[str, ...] = ()
    minimum: Decimal | None = None
    maximum: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Question:
    """minimum, maximum, decimals: of a number. branches: the first that fits is taken.
    otherwise: where to go when none fits; "" is the next question in the list, or the end after the
    last, and with branches it means that there is always one that fits."""

    question_id: str
    kind: Kind
    texts: Texts
    required: bool = True
    options: tuple[Option, ...] = ()
    minimum: Decimal | None = None
    maximum: Decimal | None = None
    decimals: int = 0
    branches: tuple[Branch, ...] = ()
    otherwise: str = ""


@dataclass(frozen=True, slots=True)
class Content:
    """What one version asks, beginning with the first question. languages: of every text in it.
    intro, outro: what is said before and after; may be empty."""

    purpose: Purpose
    name: str
    languages: tuple[str, ...]
    questions: tuple[Question, ...]
    intro: Texts = field(default_factory=dict)
    outro: Texts = field(default_factory=dict)

    def question(self, question_id: str) -> Question | None:
        return next((one for one in self.questions if one.question_id == question_id), None)

    def after(self, question_id: str) -> str:
        """The next question in the list, or the end."""
        ids = [one.question_id for one in self.questions]
        position = ids.index(question_id) + 1
        return ids[position] if position < len(ids) else END


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a draft cannot be published. question_id: "" where it is no single question's."""

    question_id: str
    reason: str


# Which way.


def exits(content: Content, question: Question) -> list[str]:
    """Where one can get to from a question: for each there is an answer that leads there."""
    ways = [branch.to for branch in question.branches]
    if not ways or uncovered(question):
        ways.append(question.otherwise or content.after(question.question_id))
    return list(dict.fromkeys(ways))


def uncovered(question: Question) -> str | None:
    """An answer for which no branch fits, in words."""
    if not question.required:
        return "no answer"
    if question.kind in CHOICES:
        covered = {option for branch in question.branches for option in branch.options}
        for option in question.options:
            if option.option_id not in covered:
                return f"the option {option.option_id}"
        return None
    step = Decimal(1).scaleb(-question.decimals)
    lowest = -MAX_NUMBER if question.minimum is None else question.minimum
    highest = MAX_NUMBER if question.maximum is None else question.maximum
    ranges = _ranges(question)
    first, last = ranges[0], ranges[-1]
    if first.minimum is not None and lowest < first.minimum:
        return f"numbers below {first.minimum}"
    for one, other in pairwise(ranges):
        if one.maximum is not None and other.minimum is not None:
            after = one.maximum + step
            if after < other.minimum:
                return f"numbers from {after} to {other.minimum - step}"
    if last.maximum is not None and last.maximum < highest:
        return f"numbers above {last.maximum}"
    return None


def _ranges(question: Question) -> list[Branch]:
    """The branches of a number, from the lowest."""
    return sorted(
        question.branches, key=lambda one: -MAX_NUMBER - 1 if one.minimum is None else one.minimum
    )


# What may be published.


def problems(content: Content) -> list[Problem]:
    """Everything for which the content cannot be published; nothing where it can: then every
    question can come, none comes twice, and every way ends."""
    if not content.questions:
        return [Problem("", "has no question")]
    found = list(_texts_missing(content))
    ids = [question.question_id for question in content.questions]
    for question_id in dict.fromkeys(ids):
        if ids.count(question_id) > 1:
            found.append(Problem(question_id, "is there twice"))
    known = {*ids, END}
    for question in content.questions:
        found += [Problem(question.question_id, reason) for reason in _faults(question, known)]
    return found or list(_ways(content))


def _texts_missing(content: Content) -> Iterator[Problem]:
    def missing(texts: Texts, of: str) -> Iterator[str]:
        for language in content.languages:
            if not texts.get(language, "").strip():
                yield f"{of} is missing in {language}"

    for name, texts in (("the intro", content.intro), ("the outro", content.outro)):
        if texts:
            yield from (Problem("", reason) for reason in missing(texts, name))
    for question in content.questions:
        for reason in missing(question.texts, "the text"):
            yield Problem(question.question_id, reason)
        for option in question.options:
            for reason in missing(option.texts, f"the text of option {option.option_id}"):
                yield Problem(question.question_id, reason)


def _faults(question: Question, known: set[str]) -> Iterator[str]:
    if question.question_id == END:
        yield f"cannot have the id {END}, which means the end"
    options = [option.option_id for option in question.options]
    if (question.kind in CHOICES) != bool(options):
        yield "has no options" if question.kind in CHOICES else "has options, and no choice"
    for option_id in dict.fromkeys(options):
        if options.count(option_id) > 1:
            yield f"has the option {option_id} twice"
    if question.kind is Kind.STATEMENT and not question.required:
        yield "is a statement, which cannot be left out"
    if question.kind is Kind.NUMBER:
        yield from _number_faults(question)
    elif (question.minimum, question.maximum, question.decimals) != (None, None, 0):
        yield "has limits, and is no number"
    for target in (*(branch.to for branch in question.branches), question.otherwise):
        if target and target not in known:
            yield f"leads to {target}, which is no question"
    if question.branches:
        faults = list(_branch_faults(question, options))
        yield from faults
        if not faults and not question.otherwise and (answer := uncovered(question)):
            yield f"leads nowhere for {answer}: a branch or otherwise is missing"


def _number_faults(question: Question) -> Iterator[str]:
    bounds = [question.minimum, question.maximum]
    for branch in question.branches:
        bounds += [branch.minimum, branch.maximum]
    for bound in bounds:
        if bound is not None and not fits(bound, question.decimals):
            yield f"has a limit of more than {question.decimals} decimals, or too large"
            return
    low, high = question.minimum, question.maximum
    if low is not None and high is not None and high < low:
        yield "has a maximum below its minimum"


def fits(number: Decimal, decimals: int) -> bool:
    """Whether a number is finite, not too large, and has no more decimals than this."""
    if not number.is_finite() or abs(number) > MAX_NUMBER:
        return False
    return number == round(number, decimals)


def _branch_faults(question: Question, options: Sequence[str]) -> Iterator[str]:
    if question.kind is Kind.NUMBER:
        yield from _range_faults(question)
        return
    if question.kind not in CHOICES:
        yield f"has branches, and its answer is a {question.kind.value}"
        return
    seen: set[str] = set()
    for branch in question.branches:
        if branch.minimum is not None or branch.maximum is not None:
            yield "has a branch for numbers, and its answers are options"
        if not branch.options:
            yield f"has a branch to {branch.to} without a condition"
        for option_id in branch.options:
            if option_id not in options:
                yield f"has a branch for {option_id}, which is none of its options"
            elif option_id in seen:
                yield f"has more than one branch for the option {option_id}"
            seen.add(option_id)


def _range_faults(question: Question) -> Iterator[str]:
    good = True
    for branch in question.branches:
        low, high = branch.minimum, branch.maximum
        if branch.options:
            yield "has a branch for options, and its answers are numbers"
            good = False
        elif low is None and high is None:
            yield f"has a branch to {branch.to} without a condition"
            good = False
        elif low is not None and high is not None and high < low:
            yield f"has a branch from {low} to {high}, which is no number"
            good = False
        elif not all(_within(bound, question) for bound in (low, high)):
            yield "has a branch for numbers outside its own limits"
            good = False
    if good:
        for one, other in pairwise(_ranges(question)):
            if one.maximum is None or other.minimum is None or other.minimum <= one.maximum:
                number = other.minimum if other.minimum is not None else other.maximum
                yield f"has more than one branch for the number {number}"


def _within(bound: Decimal | None, question: Question) -> bool:
    return bound is None or (
        (question.minimum is None or question.minimum <= bound)
        and (question.maximum is None or bound <= question.maximum)
    )


def _ways(content: Content) -> Iterator[Problem]:
    """Of a content without other faults: what cannot come, comes again, or never ends."""
    ways = {one.question_id: exits(content, one) for one in content.questions}
    reached = _closure(ways, content.questions[0].question_id)
    for question_id in ways:
        if question_id not in reached:
            yield Problem(question_id, "can never come: no way leads to it")
    for question_id in ways:
        onward = {each for way in ways[question_id] for each in _closure(ways, way)}
        if question_id in onward:
            yield Problem(question_id, "can come again and again: a way leads back to it")
        if END not in onward:
            yield Problem(question_id, "never comes to an end: every way goes on")


def _closure(ways: Mapping[str, Sequence[str]], start: str) -> set[str]:
    """What can be reached from a question, itself included."""
    reached, open_ends = {start}, [start]
    while open_ends:
        for way in ways.get(open_ends.pop(), ()):
            if way not in reached:
                reached.add(way)
                open_ends.append(way)
    return reached


def reachable(content: Content, question_id: str) -> set[str]:
    """What can come from a question on, itself included; nothing after the end."""
    ways = {one.question_id: exits(content, one) for one in content.questions}
    return _closure(ways, question_id) - {END}


# The stream of a questionnaire.


@dataclass(frozen=True, slots=True)
class Questionnaire:
    """content: of the draft, or of the last version without one. latest: of the last version.
    draft, published: its number; 0: none. withdrawn: nobody is asked any more."""

    content: Content | None = None
    latest: Content | None = None
    draft: int = 0
    published: int = 0
    withdrawn: bool = False


@dataclass(frozen=True, slots=True)
class QuestionnaireDrafted:
    version: int
    content: Content


@dataclass(frozen=True, slots=True)
class QuestionnairePublished:
    version: int


@dataclass(frozen=True, slots=True)
class QuestionnaireWithdrawn: ...


Event = QuestionnaireDrafted | QuestionnairePublished | QuestionnaireWithdrawn


@dataclass(frozen=True, slots=True)
class DraftQuestionnaire:
    """content: None begins the draft of the next version with what the last one says, or goes on
    with the draft that is there. new: it must not be there yet, or be just this."""

    questionnaire_id: str
    content: Content | None
    new: bool = False


@dataclass(frozen=True, slots=True)
class PublishQuestionnaire:
    """version: of the draft that is meant, so that no other is published by a repeat."""

    version: int


@dataclass(frozen=True, slots=True)
class WithdrawQuestionnaire: ...


Command = DraftQuestionnaire | PublishQuestionnaire | WithdrawQuestionnaire


def decide(command: Command, state: Questionnaire) -> list[Event]:
    """Raises Rejected, NotFound, and Invalid: `questions.<id>` with all problems of a draft."""
    if isinstance(command, DraftQuestionnaire):
        return _draft(command, state)
    if state.content is None:
        raise NotFound("questionnaire")
    match command:
        case PublishQuestionnaire(version):
            if 0 < version <= state.published:
                return []
            if not state.draft or version != state.draft:
                raise Rejected("there is no draft of this number", "version")
            if found := problems(state.content):
                raise _unpublishable(found)
            return [QuestionnairePublished(version)]
        case WithdrawQuestionnaire():
            if not state.published:
                raise Rejected("has never been published")
            return [] if state.withdrawn else [QuestionnaireWithdrawn()]


def _draft(command: DraftQuestionnaire, state: Questionnaire) -> list[Event]:
    if not ID.fullmatch(command.questionnaire_id):
        raise Invalid("questionnaire_id", f"must match {ID.pattern}")
    if command.content is None:
        if state.content is None:
            raise NotFound("questionnaire")
        return [] if state.draft else [QuestionnaireDrafted(state.published + 1, state.content)]
    content = command.content
    check(content)
    if command.new and state.content is not None:
        if content != state.content:
            raise Rejected("exists already, and is another", "questionnaire_id")
        return []
    # What is in use already needs no draft; withdrawn, it does, to be published again.
    if content == state.content and (state.draft or not state.withdrawn):
        return []
    return [QuestionnaireDrafted(state.draft or state.published + 1, content)]


def _unpublishable(found: Sequence[Problem]) -> Invalid:
    first, *others = found
    reason = first.reason
    if others:
        rest = "; ".join(f"{one.question_id or 'all'} {one.reason}" for one in others[:20])
        reason = f"{reason}; and {rest}"
    return Invalid(f"questions.{first.question_id}" if first.question_id else "questions", reason)


def evolve(state: Questionnaire, event: Event) -> Questionnaire:
    match event:
        case QuestionnaireDrafted(version, content):
            return replace(state, draft=version, content=content)
        case QuestionnairePublished(version):
            return replace(state, draft=0, published=version, latest=state.content, withdrawn=False)
        case QuestionnaireWithdrawn():
            return replace(state, withdrawn=True)


def check(content: Content) -> None:
    """What not even a draft may be: ids that are none, texts that cannot be kept, too much of
    anything. Raises Invalid."""
    _check_text("name", content.name, MAX_NAME)
    if not content.languages:
        raise Invalid("languages", "is missing")
    if len(content.languages) > MAX_LANGUAGES or len(set(content.languages)) < len(
        content.languages
    ):
        raise Invalid("languages", f"must be at most {MAX_LANGUAGES}, each once")
    for language in content.languages:
        if not LANGUAGE.fullmatch(language):
            raise Invalid("languages", "must be BCP 47 languages such as fr or pt-BR")
    if len(content.questions) > MAX_QUESTIONS:
        raise Invalid("questions", f"must be at most {MAX_QUESTIONS}")
    _check_texts("intro", content.intro, content.languages)
    _check_texts("outro", content.outro, content.languages)
    for number, question in enumerate(content.questions):
        where = f"questions.{number}"
        _check_id(f"{where}.question_id", question.question_id)
        _check_texts(f"{where}.texts", question.texts, content.languages)
        if max(len(question.options), len(question.branches)) > MAX_OPTIONS:
            raise Invalid(where, f"must have at most {MAX_OPTIONS} options and branches")
        if not 0 <= question.decimals <= MAX_DECIMALS:
            raise Invalid(f"{where}.decimals", f"must be between 0 and {MAX_DECIMALS}")
        for option in question.options:
            _check_id(f"{where}.options", option.option_id)
            _check_texts(f"{where}.options", option.texts, content.languages)
        for branch in question.branches:
            for target in (branch.to, *branch.options):
                _check_id(f"{where}.branches", target)
        if question.otherwise:
            _check_id(f"{where}.otherwise", question.otherwise)


def _check_id(where: str, value: str) -> None:
    if not ID.fullmatch(value):
        raise Invalid(where, f"must match {ID.pattern}")


def _check_texts(where: str, texts: Texts, languages: Sequence[str]) -> None:
    for language, text in texts.items():
        if language not in languages:
            raise Invalid(where, "is in a language that the questionnaire does not have")
        _check_text(where, text, MAX_TEXT)


def _check_text(where: str, text: str, limit: int) -> None:
    if not text.strip():
        raise Invalid(where, "is missing")
    if len(text) > limit:
        raise Invalid(where, f"is longer than {limit} characters")
    # PostgreSQL keeps neither.
    if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise Invalid(where, "has a NUL character or half of a surrogate pair")


QUESTIONNAIRE: Final[Decider[Command, Questionnaire, Event]] = Decider(
    initial=Questionnaire(),
    decide=decide,
    evolve=evolve,
    events=(QuestionnaireDrafted, QuestionnairePublished, QuestionnaireWithdrawn),
)
