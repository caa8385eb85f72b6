"""Questionnaires to test with, and random ones."""

from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from itertools import chain, combinations

from hypothesis import assume
from hypothesis import strategies as st

from services.crm.surveys.questionnaire import (
    CHOICES,
    END,
    Branch,
    Content,
    Kind,
    Option,
    Purpose,
    Question,
    problems,
)
from services.crm.surveys.survey import NOTHING, Given


def question(question_id: str, kind: Kind, *options: str, **more: object) -> Question:
    made = Question(
        question_id,
        kind,
        {"fr": f"{question_id} ?"},
        options=tuple(Option(each, {"fr": each}) for each in options),
    )
    return replace(made, **more)  # type: ignore[arg-type]


def content(*questions: Question) -> Content:
    return Content(Purpose.SURVEY, "Satisfaction", ("fr",), questions)


def possible(asked: Question) -> Iterator[Given]:
    """Every answer that a question may get; one of many where they do not matter."""
    if asked.kind is Kind.STATEMENT or not asked.required:
        yield NOTHING
    ids = [option.option_id for option in asked.options]
    match asked.kind:
        case Kind.SINGLE:
            yield from (Given(options=(each,)) for each in ids)
        case Kind.MULTIPLE:
            chosen = chain.from_iterable(combinations(ids, size) for size in range(1, len(ids) + 1))
            yield from (Given(options=each) for each in chosen)
        case Kind.NUMBER:
            assert asked.minimum is not None
            assert asked.maximum is not None
            step = Decimal(1).scaleb(-asked.decimals)
            for number in range(int((asked.maximum - asked.minimum) / step) + 1):
                yield Given(number=asked.minimum + number * step)
        case Kind.TEXT:
            yield Given(text="bien")


KINDS = [Kind.SINGLE, Kind.MULTIPLE, Kind.NUMBER, Kind.TEXT, Kind.STATEMENT]
HIGHEST = 4


@st.composite
def questions(draw: st.DrawFn, number: int, targets: list[str], safe: bool) -> Question:
    """safe: nothing is wrong with the question itself, and every way out of it is named."""
    kind = draw(st.sampled_from(KINDS))
    made = question(f"q{number}", kind)
    to = st.sampled_from(targets)
    if safe or draw(st.booleans()):
        made = replace(made, otherwise=draw(to))
    if kind is not Kind.STATEMENT:
        made = replace(made, required=draw(st.booleans()))
    if kind in CHOICES:
        ids = ["a", "b", "c"][: draw(st.integers(1, 3))]
        groups: dict[str, list[str]] = {}
        wild = not safe and draw(st.integers(0, 5)) == 0
        for each in [*ids, "d"] if wild else ids:
            if target := draw(st.one_of(st.none(), to)):
                groups.setdefault(target, []).append(each)
        branches = [Branch(target, tuple(chosen)) for target, chosen in groups.items()]
        if wild and branches:
            branches.append(draw(st.sampled_from(branches)))
        texts = tuple(Option(each, {"fr": each}) for each in ids)
        made = replace(made, options=texts, branches=tuple(branches))
    elif kind is Kind.NUMBER:
        made = replace(
            made,
            minimum=Decimal(0),
            maximum=Decimal(HIGHEST),
            decimals=draw(st.integers(0, 1)),
            branches=tuple(_ranges(draw, targets, safe)),
        )
    return made


def _ranges(draw: st.DrawFn, targets: list[str], safe: bool) -> Iterator[Branch]:
    next_free = draw(st.sampled_from([0, 0, 0, 1]))
    while next_free <= HIGHEST and draw(st.integers(0, 3)):
        high = draw(st.integers(next_free, HIGHEST))
        yield Branch(
            draw(st.sampled_from(targets)), minimum=Decimal(next_free), maximum=Decimal(high)
        )
        next_free = high + 1 if safe else high + draw(st.sampled_from([1, 1, 1, 0, 2]))


@st.composite
def contents(draw: st.DrawFn) -> Content:
    """Anything, though more often than not from the front to the back."""
    count = draw(st.integers(1, 4))
    ids = [f"q{number}" for number in range(count)]
    onwards = draw(st.integers(0, 3)) > 0
    asked = []
    for number in range(count):
        targets = [*(ids[number + 1 :] if onwards else ids), END]
        if draw(st.integers(0, 15)) == 0:
            targets.append("nowhere")
        asked.append(draw(questions(number, targets, safe=False)))
    return content(*asked)


@st.composite
def accepted(draw: st.DrawFn) -> Content:
    """One that can be published."""
    count = draw(st.integers(1, 6))
    ids = [f"q{number}" for number in range(count)]
    made = content(
        *(draw(questions(number, [*ids[number + 1 :], END], safe=True)) for number in range(count))
    )
    # What never comes is left out, unless a way that no answer takes leads there.
    unreached = {found.question_id for found in problems(made)}
    made = content(*(each for each in made.questions if each.question_id not in unreached))
    assume(not problems(made))
    return made
