"""What follows from an attempt, by the campaign's rules."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eventkit.decider import Invalid, fold
from services.dialer.leads import commands as c
from services.dialer.leads import recycling as r
from services.dialer.leads.events import Number, Origin
from services.dialer.leads.lead import DECIDER, Lead, decide
from services.dialer.leads.recycling import Next, Recycling, Rule, check, follow, skipped

HOUR = 3_600 * r.SECOND
DAY = 24 * HOUR
ADD = c.AddLead(
    Origin("spring", "may"),
    c.Details((c.Given("+33612345678"), c.Given("+33142685300"))),
    "import",
    0,
)
FEW = Recycling(
    results={"no-answer": Rule(Next.OTHER, 3_600, 2), "busy": Rule(Next.SAME, 60, 3)},
    dispositions={
        "later": Rule(Next.SAME, 7_200, 2),
        "sold": Rule(Next.CLOSE),
        "moved": Rule(Next.OTHER, 60, 1, "no-number"),
    },
    attempts=5,
    attempts_per_number=3,
)


def dialled(
    rules: Recycling, attempts: Sequence[tuple[str, str]]
) -> tuple[Lead, c.Schedule | c.Close]:
    """A lead after these attempts (number, result), each an hour long; what follows the last."""
    lead = fold(DECIDER, decide(ADD, Lead()))
    followed: c.Schedule | c.Close = c.Schedule(0)
    at = 0
    for number, (number_id, because) in enumerate(attempts):
        at = max(at + HOUR, lead.due_at)
        lead = fold(DECIDER, decide(c.Dial(f"a{number}", number_id, at), lead), lead)
        followed = follow(rules, lead, because, at)
        lead = fold(DECIDER, decide(c.Resolve(f"a{number}", because, followed), lead), lead)
    if isinstance(followed, c.Schedule):
        followed = replace(followed, due_at=followed.due_at - at)
    return lead, followed


CASES: list[tuple[str, list[tuple[str, str]], c.Schedule | c.Close]] = [
    ("no answer: the other number", [("1", "no-answer")], c.Schedule(HOUR, "2")),
    ("and back", [("1", "no-answer"), ("2", "no-answer")], c.Schedule(HOUR, "1")),
    (
        "each has had enough",
        [("1", "no-answer"), ("2", "no-answer"), ("1", "no-answer"), ("2", "no-answer")],
        c.Close("attempts"),
    ),
    ("busy: the same", [("1", "busy")], c.Schedule(60 * r.SECOND, "1")),
    (
        "busy too often: the other",
        [("1", "busy"), ("1", "busy"), ("1", "busy")],
        c.Schedule(60 * r.SECOND, "2"),
    ),
    (
        "three of a number, of any kind",
        [("1", "busy"), ("1", "busy"), ("1", "hung-up")],
        c.Schedule(DAY, "2"),
    ),
    (
        "five of a lead",
        [("1", "busy"), ("2", "busy"), ("1", "busy"), ("2", "busy"), ("1", "hung-up")],
        c.Close("attempts"),
    ),
    ("no such number", [("1", "unobtainable")], c.Schedule(60 * r.SECOND, "2")),
    ("none at all", [("1", "unobtainable"), ("2", "unobtainable")], c.Close("no-number")),
    ("talked: the agent says what follows", [("1", "connected")], c.Close("connected")),
    ("a disposition that closes", [("1", "sold")], c.Close("sold")),
    ("a disposition without a rule", [("1", "not-interested")], c.Close("not-interested")),
    ("a disposition that goes on", [("1", "later")], c.Schedule(2 * HOUR, "1")),
    ("with another number", [("1", "moved")], c.Schedule(60 * r.SECOND, "2")),
    (
        "what never left the centre counts for nothing",
        [("1", "not-dialled")] * 10 + [("1", "busy")],
        c.Schedule(60 * r.SECOND, "1"),
    ),
    ("the carrier fails", [("1", "carrier-error")], c.Schedule(300 * r.SECOND, "1")),
]


@pytest.mark.parametrize(("attempts", "then"), [x[1:] for x in CASES], ids=[x[0] for x in CASES])
def test_follow(attempts: list[tuple[str, str]], then: c.Schedule | c.Close) -> None:
    assert dialled(FEW, attempts)[1] == then


def test_a_callback_goes_before_the_rules_but_not_before_one_that_closes() -> None:
    lead = fold(DECIDER, decide(ADD, Lead()))
    lead = fold(DECIDER, decide(c.Dial("a1", "2", HOUR), lead), lead)
    promise = c.PromiseCallback(5 * HOUR, 6 * HOUR, HOUR, "ann", "a1")
    lead = fold(DECIDER, decide(promise, lead), lead)
    for because in ("connected", "hung-up", "later", "who-knows"):
        assert follow(FEW, lead, because, HOUR) == c.Schedule(5 * HOUR, "2")
    assert follow(FEW, lead, "sold", HOUR) == c.Close("sold")


def test_skipped_previews() -> None:
    lead = fold(DECIDER, decide(ADD, Lead()))
    for often in range(3):
        offer = c.OfferPreview("ann", lead.due_at + HOUR, lead.due_at)
        lead = fold(DECIDER, decide(offer, lead), lead)
        followed = skipped(r.DEFAULT, lead, lead.due_at)
        assert isinstance(followed, c.Close if often == 2 else c.Schedule)
        skip = c.SkipPreview("ann", "no", lead.due_at, followed)
        lead = fold(DECIDER, decide(skip, lead), lead)
    assert lead.closed_reason == "skipped"


WRONG = [
    (Recycling(attempts=0), "recycling.attempts", "must be from 1 to 100"),
    (Recycling(attempts_per_number=101), "recycling.attempts_per_number", "must be from"),
    (
        Recycling(results={"maybe": Rule(Next.SAME, 60)}),
        "recycling.results.maybe",
        "must be one of",
    ),
    (
        Recycling(dispositions={"busy": Rule(Next.SAME, 60)}),
        "recycling.dispositions.busy",
        "is a result",
    ),
    (
        Recycling(dispositions={"Later!": Rule(Next.SAME, 60)}),
        "recycling.dispositions.Later!",
        "must match",
    ),
    (Recycling(results={"busy": Rule(Next.SAME)}), "recycling.results.busy.after_s", "at least 1"),
    (
        Recycling(results={"busy": Rule(Next.SAME, 367 * 86_400)}),
        "recycling.results.busy.after_s",
        "must be from 0 to 31,622,400",
    ),
    (
        Recycling(results={"busy": Rule(Next.SAME, 60, 0)}),
        "recycling.results.busy.times",
        "must be from 1",
    ),
    (
        Recycling(results={"busy": Rule(Next.SAME, 60, 1, "No Luck")}),
        "recycling.results.busy.reason",
        "must match",
    ),
]


@pytest.mark.parametrize(("rules", "field", "reason"), WRONG, ids=[x[1] for x in WRONG])
def test_wrong_rules(rules: Recycling, field: str, reason: str) -> None:
    with pytest.raises(Invalid) as caught:
        check(rules)
    assert caught.value.field == field
    assert reason in caught.value.reason


def test_the_defaults_are_rules() -> None:
    check(r.DEFAULT)
    check(Recycling(results=r.DEFAULT_RESULTS))
    assert set(r.RESULTS) | {r.SKIPPED} == set(r.DEFAULT_RESULTS)


RULES = st.builds(
    Rule, st.sampled_from(list(Next)), st.integers(1, 100), st.integers(1, 4), st.just("")
)
CODES = st.sampled_from([*r.RESULTS, "later", "sold"])


@settings(max_examples=200, deadline=None)
@given(
    st.builds(
        Recycling,
        st.dictionaries(st.sampled_from(r.RESULTS), RULES),
        st.dictionaries(st.sampled_from(["later", "sold"]), RULES),
        st.integers(1, 6),
        st.integers(1, 4),
    ),
    st.lists(CODES, min_size=200, max_size=200),
)
def test_every_lead_comes_to_an_end(rules: Recycling, heard: Sequence[str]) -> None:
    lead = fold(DECIDER, decide(ADD, Lead()))
    for number, because in enumerate(heard):
        if lead.closed_reason:
            break
        number_id = lead.usable[0]
        id = f"a{number}"
        lead = fold(DECIDER, decide(c.Dial(id, number_id, lead.due_at), lead), lead)
        followed = follow(rules, lead, because, lead.due_at)
        if isinstance(followed, c.Schedule):
            assert followed.due_at > lead.due_at
            assert followed.number_id in {each.number_id for each in lead.numbers}
        lead = fold(DECIDER, decide(c.Resolve(id, because, followed), lead), lead)
        assert sum(lead.calls.values()) <= rules.attempts
        assert all(count <= rules.attempts_per_number for count in lead.calls.values())
    assert lead.closed_reason
    assert lead.numbers == (Number("1"), Number("2"))
