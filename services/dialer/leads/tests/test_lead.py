"""A lead: what is decided, and the law of one attempt at a time."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eventkit.decider import Invalid, NotFound, Rejected, fold
from services.dialer.compliance.ruleuse import RuleUse
from services.dialer.leads import commands as c
from services.dialer.leads import events as e
from services.dialer.leads.lead import DECIDER, Lead, decide, due, timers

MINUTE = 60_000_000
HOUR = 60 * MINUTE
ORIGIN = e.Origin("spring", "may", "K-1")
MOBILE, HOME = c.Given("+33612345678", "FR", "mobile"), c.Given("+33142685300", "FR", "fixed")
DETAILS = c.Details((MOBILE, HOME), "Anaïs Lefèvre", priority=5)
ADD = c.AddLead(ORIGIN, DETAILS, "import", 0)
ADDED = e.LeadAdded(
    ORIGIN,
    (e.Number("1", "FR", "mobile"), e.Number("2", "FR", "fixed")),
    5,
    "import",
    0,
    phones={"1": "+33612345678", "2": "+33142685300"},
    name="Anaïs Lefèvre",
)
DIALLED = e.LeadDialled(ORIGIN, "a1", "1", HOUR)
RESTS = e.LeadScheduled(ORIGIN, 3 * HOUR, "a1", "no-answer", "2")
SOLD = e.LeadClosed(ORIGIN, "sold", "a1", "sold")
WITHDRAWN = e.LeadClosed(ORIGIN, "withdrawn")
ERASED = e.LeadClosed(ORIGIN, "erased")
PROMISED = e.LeadCallbackPromised(ORIGIN, 5 * HOUR, 6 * HOUR, "ann", "a1")
LATE = e.LeadCallbackEscalated(ORIGIN, 6 * HOUR, "ann")
SEEN = e.LeadPreviewed(ORIGIN, "ann", HOUR + MINUTE)
ACCEPTED = e.LeadPreviewAccepted(ORIGIN, "ann", HOUR + 2 * MINUTE)
HOURS, LISTED = RuleUse("fr.hours", 3, "opens 10:00"), RuleUse("crm.do-not-call/x", 9)
AGAIN = c.Schedule(3 * HOUR, "2")
PROMISE = c.PromiseCallback(5 * HOUR, 6 * HOUR, 2 * HOUR, "ann", "a1")
TALKED = e.LeadClosed(ORIGIN, "connected", "a1", "connected")

DECISIONS: list[tuple[str, Sequence[Any], Any, Any]] = [
    ("added", [], ADD, [ADDED]),
    ("added again", [ADDED], ADD, []),
    ("no number", [], replace(ADD, details=c.Details()), Invalid("numbers", "a lead")),
    (
        "a number twice",
        [],
        replace(ADD, details=c.Details((MOBILE, MOBILE))),
        Invalid("numbers", "twice"),
    ),
    (
        "priority",
        [],
        replace(ADD, details=replace(DETAILS, priority=101)),
        Invalid("priority", "must be from 0 to 100"),
    ),
    ("source", [], replace(ADD, source="?"), Invalid("source", "must be one of")),
    (
        "another's id",
        [ADDED],
        replace(ADD, origin=e.Origin("autumn", "may")),
        Rejected("another lead's", "lead_id"),
    ),
    ("nobody", [], c.Close("sold"), NotFound("lead")),
    ("dialled", [ADDED], c.Dial("a1", "1", HOUR), [DIALLED]),
    ("dialled again", [ADDED, DIALLED], c.Dial("a1", "1", HOUR), []),
    ("dialled long since", [ADDED, DIALLED, RESTS], c.Dial("a1", "1", HOUR), []),
    ("one at a time", [ADDED, DIALLED], c.Dial("a2", "2", HOUR), Rejected("under way")),
    ("too early", [ADDED, DIALLED, RESTS], c.Dial("a2", "2", 2 * HOUR), Rejected("turn yet")),
    ("closed", [ADDED, WITHDRAWN], c.Dial("a2", "2", HOUR), Rejected("closed: withdrawn")),
    ("unknown number", [ADDED], c.Dial("a1", "3", HOUR), NotFound("number")),
    ("resolved", [ADDED, DIALLED], c.Resolve("a1", "no-answer", AGAIN), [RESTS]),
    ("resolved again", [ADDED, DIALLED, RESTS], c.Resolve("a1", "busy", AGAIN), []),
    ("resolved, sold", [ADDED, DIALLED], c.Resolve("a1", "sold", c.Close("sold")), [SOLD]),
    (
        "no such attempt",
        [ADDED],
        c.Resolve("a1", "busy", AGAIN),
        Rejected("no such attempt", "attempt_id"),
    ),
    (
        "withdrawn while dialled: answered all the same",
        [ADDED, DIALLED, WITHDRAWN],
        c.Resolve("a1", "no-answer", AGAIN),
        [e.LeadClosed(ORIGIN, "withdrawn", "a1", "no-answer")],
    ),
    (
        "the number is corrected away meanwhile",
        [
            ADDED,
            DIALLED,
            e.LeadCorrected(ORIGIN, ("numbers",), (e.Number("1"),), phones={"1": "+"}),
        ],
        c.Resolve("a1", "no-answer", AGAIN),
        [replace(RESTS, number_id="")],
    ),
    (
        "disposed after the end",
        [ADDED, DIALLED, TALKED],
        c.Dispose("a1", "sold", c.Close("sold")),
        [SOLD],
    ),
    (
        "disposed: call again",
        [ADDED, DIALLED, TALKED],
        c.Dispose("a1", "later", AGAIN),
        [e.LeadReopened(ORIGIN, 3 * HOUR), e.LeadScheduled(ORIGIN, 3 * HOUR, "a1", "later", "2")],
    ),
    ("disposed again", [ADDED, DIALLED, TALKED, SOLD], c.Dispose("a1", "sold", AGAIN), []),
    ("disposed too early", [ADDED, DIALLED], c.Dispose("a1", "later", AGAIN), []),
    (
        "disposed, but withdrawn",
        [ADDED, DIALLED, RESTS, WITHDRAWN],
        c.Dispose("a1", "later", AGAIN),
        [],
    ),
    (
        "held back",
        [ADDED],
        c.HoldBack((HOURS,), 9 * HOUR, "1", HOUR),
        [e.LeadHeldBack(ORIGIN, (HOURS,), 9 * HOUR, "1", 9 * HOUR)],
    ),
    (
        "held back to the same moment",
        [ADDED, e.LeadHeldBack(ORIGIN, (HOURS,), 9 * HOUR, "1", 9 * HOUR)],
        c.HoldBack((HOURS,), 9 * HOUR, "1", HOUR),
        [],
    ),
    (
        "never this number",
        [ADDED],
        c.HoldBack((LISTED,), None, "1", HOUR),
        [e.LeadHeldBack(ORIGIN, (LISTED,), None, "1", HOUR)],
    ),
    (
        "never any number",
        [ADDED, e.LeadHeldBack(ORIGIN, (LISTED,), None, "1", HOUR)],
        c.HoldBack((LISTED,), None, "2", HOUR),
        [
            e.LeadHeldBack(ORIGIN, (LISTED,), None, "2", HOUR),
            e.LeadClosed(ORIGIN, "do-not-call"),
        ],
    ),
    ("held back by nothing", [ADDED], c.HoldBack((), None, "1", 0), Invalid("forbidden_by", "")),
    (
        "a barred number",
        [ADDED, e.LeadHeldBack(ORIGIN, (LISTED,), None, "1", HOUR)],
        c.Dial("a1", "1", HOUR),
        Rejected("never to be dialled", "number_id"),
    ),
    ("promised while talking", [ADDED, DIALLED], PROMISE, [PROMISED]),
    ("promised again", [ADDED, DIALLED, PROMISED], PROMISE, []),
    (
        "promised after the end",
        [ADDED, DIALLED, TALKED],
        PROMISE,
        [e.LeadReopened(ORIGIN, 5 * HOUR), PROMISED],
    ),
    ("promised, erased", [ADDED, ERASED], PROMISE, Rejected("closed: erased")),
    (
        "no window",
        [ADDED],
        replace(PROMISE, until_at=5 * HOUR),
        Invalid("until_at", "after from_at"),
    ),
    ("past", [ADDED], replace(PROMISE, at=6 * HOUR), Invalid("until_at", "in the future")),
    (
        "the promise goes before the schedule",
        [ADDED, DIALLED, PROMISED],
        c.Resolve("a1", "connected", AGAIN),
        [e.LeadScheduled(ORIGIN, 5 * HOUR, "a1", "connected", "2")],
    ),
    ("escalated", [ADDED, PROMISED], c.EscalateCallback(6 * HOUR), [LATE]),
    ("escalated again", [ADDED, PROMISED, LATE], c.EscalateCallback(6 * HOUR), []),
    ("another window", [ADDED, PROMISED], c.EscalateCallback(7 * HOUR), []),
    ("no promise", [ADDED], c.EscalateCallback(6 * HOUR), []),
    (
        "not too late while it is dialled",
        [ADDED, PROMISED, replace(DIALLED, at=6 * HOUR - 1)],
        c.EscalateCallback(6 * HOUR),
        [],
    ),
    ("offered", [ADDED], c.OfferPreview("ann", HOUR + MINUTE, HOUR), [SEEN]),
    ("offered again", [ADDED, SEEN], c.OfferPreview("ann", HOUR + MINUTE, HOUR), []),
    (
        "offered to two",
        [ADDED, SEEN],
        c.OfferPreview("bob", HOUR + MINUTE, HOUR),
        Rejected("another agent"),
    ),
    (
        "another's promise",
        [ADDED, PROMISED],
        c.OfferPreview("bob", 6 * HOUR, 5 * HOUR),
        Rejected("another agent", "agent_id"),
    ),
    ("looked at", [ADDED, SEEN], c.Dial("a1", "1", HOUR), Rejected("looking at")),
    (
        "accepted",
        [ADDED, SEEN],
        c.AcceptPreview("ann", HOUR + MINUTE - 1),
        [replace(ACCEPTED, dial_by=HOUR + 2 * MINUTE - 1)],
    ),
    ("accepted again", [ADDED, SEEN, ACCEPTED], c.AcceptPreview("ann", HOUR), []),
    (
        "accepted too late",
        [ADDED, SEEN],
        c.AcceptPreview("ann", HOUR + MINUTE),
        Rejected("has expired"),
    ),
    ("accepted by another", [ADDED, SEEN], c.AcceptPreview("bob", HOUR), Rejected("not offered")),
    ("dialled for her", [ADDED, SEEN, ACCEPTED], c.Dial("a1", "1", HOUR), [DIALLED]),
    (
        "skipped",
        [ADDED, SEEN],
        c.SkipPreview("ann", "wrong-language", HOUR, c.Schedule(2 * HOUR)),
        [
            e.LeadPreviewSkipped(ORIGIN, "ann", "wrong-language"),
            e.LeadScheduled(ORIGIN, 2 * HOUR, "", "skipped", ""),
        ],
    ),
    (
        "skipped without a reason",
        [ADDED, SEEN],
        c.SkipPreview("ann", "", HOUR, c.Schedule(2 * HOUR)),
        Invalid("reason", "must match"),
    ),
    (
        "expired",
        [ADDED, SEEN],
        c.ExpirePreview(HOUR + MINUTE),
        [e.LeadPreviewExpired(ORIGIN, "ann")],
    ),
    ("not expired: accepted", [ADDED, SEEN, ACCEPTED], c.ExpirePreview(HOUR + MINUTE), []),
    ("closed by hand", [ADDED], c.Close("withdrawn"), [WITHDRAWN]),
    ("closed again", [ADDED, SOLD], c.Close("withdrawn"), []),
    ("reopened", [ADDED, SOLD], c.Reopen(9 * HOUR), [e.LeadReopened(ORIGIN, 9 * HOUR)]),
    ("open already", [ADDED], c.Reopen(9 * HOUR), []),
    ("erased for good", [ADDED, ERASED], c.Reopen(9 * HOUR), Rejected("erased")),
    ("reopened in a call", [ADDED, DIALLED, WITHDRAWN], c.Reopen(0), Rejected("under way")),
    ("forgotten", [ADDED, DIALLED, RESTS], c.Forget(), [ERASED]),
    ("forgotten again", [ADDED, ERASED], c.Forget(), []),
    (
        "another number, the old one keeps its id",
        [ADDED],
        c.CorrectLead(
            c.Details((HOME, c.Given("+33699999999", "FR", "mobile"))), frozenset({"numbers"})
        ),
        [
            e.LeadCorrected(
                ORIGIN,
                ("numbers",),
                (e.Number("2", "FR", "fixed"), e.Number("3", "FR", "mobile")),
                phones={"2": "+33142685300", "3": "+33699999999"},
            )
        ],
    ),
    (
        "corrected to what it is",
        [ADDED],
        c.CorrectLead(DETAILS, frozenset({"numbers", "name", "priority"})),
        [],
    ),
    (
        "corrected in part",
        [ADDED],
        c.CorrectLead(c.Details(name="Anne", priority=9), frozenset({"priority"})),
        [e.LeadCorrected(ORIGIN, ("priority",), priority=9)],
    ),
    (
        "no field",
        [ADDED],
        c.CorrectLead(DETAILS, frozenset({"shoe"})),
        Invalid("shoe", "no field"),
    ),
    (
        "corrected, erased",
        [ADDED, ERASED],
        c.CorrectLead(DETAILS, frozenset({"name"})),
        Rejected("erased"),
    ),
]


@pytest.mark.parametrize(
    ("given", "command", "then"), [row[1:] for row in DECISIONS], ids=[row[0] for row in DECISIONS]
)
def test_decide(given: Sequence[Any], command: Any, then: Any) -> None:
    state = fold(DECIDER, given)
    if isinstance(then, Exception):
        with pytest.raises(type(then)) as caught:
            decide(command, state)
        assert getattr(caught.value, "field", "") == getattr(then, "field", "")
        assert getattr(then, "reason", str(then)) in str(caught.value)
    else:
        assert list(decide(command, state)) == then


def test_a_callback_is_kept_by_a_call_that_leaves_the_centre() -> None:
    dialled = e.LeadDialled(ORIGIN, "a2", "1", 5 * HOUR)
    state = fold(DECIDER, [ADDED, PROMISED, dialled])
    kept = fold(DECIDER, decide(c.Resolve("a2", "no-answer", c.Schedule(9 * HOUR)), state), state)
    assert (kept.callback, kept.due_at, timers(kept)) == (None, 9 * HOUR, {})
    lost = fold(
        DECIDER, decide(c.Resolve("a2", "not-dialled", c.Schedule(5 * HOUR + MINUTE)), state), state
    )
    assert lost.callback is not None
    assert lost.due_at == 5 * HOUR + MINUTE
    assert timers(lost) == {"callback": 6 * HOUR}
    assert due("x", "callback", 6 * HOUR) == c.EscalateCallback(6 * HOUR)


def test_an_escalated_callback_is_anybodys() -> None:
    state = fold(DECIDER, [ADDED, PROMISED])
    assert state.agent_id == "ann"
    late = fold(DECIDER, [LATE], state)
    assert (late.agent_id, timers(late)) == ("", {})
    assert decide(c.Dial("a2", "1", 6 * HOUR), late)


ATTEMPTS = st.sampled_from(["a1", "a2", "a3", "a4"])
MOMENTS = st.integers(0, 20).map(lambda n: n * HOUR)
FOLLOWS = st.one_of(
    st.builds(c.Schedule, MOMENTS, st.sampled_from(["", "1", "2", "9"])),
    st.builds(c.Close, st.sampled_from(["sold", "attempts"])),
)
AGENTS = st.sampled_from(["ann", "bob"])
COMMANDS = st.one_of(
    st.builds(c.Dial, ATTEMPTS, st.sampled_from(["1", "2"]), MOMENTS),
    st.builds(c.Dial, ATTEMPTS, st.sampled_from(["1", "2"]), st.just(99 * HOUR)),
    st.builds(c.Resolve, ATTEMPTS, st.sampled_from(["busy", "not-dialled", "connected"]), FOLLOWS),
    st.builds(c.Dispose, ATTEMPTS, st.sampled_from(["sold", "later"]), FOLLOWS),
    st.builds(
        c.HoldBack,
        st.just((HOURS,)),
        st.one_of(st.none(), MOMENTS),
        st.sampled_from(["1", "2"]),
        MOMENTS,
    ),
    st.builds(c.PromiseCallback, MOMENTS, MOMENTS, MOMENTS, AGENTS, ATTEMPTS),
    st.builds(c.EscalateCallback, MOMENTS),
    st.builds(c.OfferPreview, AGENTS, MOMENTS, MOMENTS),
    st.builds(c.AcceptPreview, AGENTS, MOMENTS),
    st.builds(c.SkipPreview, AGENTS, st.just("no"), MOMENTS, FOLLOWS),
    st.builds(c.ExpirePreview, MOMENTS),
    st.just(c.Close("withdrawn")),
    st.builds(c.Reopen, MOMENTS),
    st.just(c.Forget()),
)


@settings(max_examples=400, deadline=None)
@given(st.lists(COMMANDS, max_size=40))
def test_one_attempt_at_a_time_each_answered_once_and_closed_stays_closed(
    commands: Sequence[c.Command],
) -> None:
    state = fold(DECIDER, [ADDED])
    open_attempt = ""
    answers: dict[str, int] = {}
    for command in commands:
        try:
            events = decide(command, state)
        except (Rejected, Invalid, NotFound):
            continue
        for event in events:
            before = state
            state = DECIDER.evolve(state, event)
            if before.closed_reason and not state.closed_reason:
                assert isinstance(event, e.LeadReopened)
                assert before.closed_reason != "erased"
            if isinstance(event, e.LeadDialled):
                assert not open_attempt
                assert event.attempt_id not in answers
                assert not before.closed_reason
                open_attempt, answers[event.attempt_id] = event.attempt_id, 0
            answered = before.attempt_id and not state.attempt_id
            if answered:
                assert isinstance(event, e.LeadScheduled | e.LeadClosed)
                assert event.attempt_id == open_attempt == before.attempt_id
                answers[open_attempt] += 1
                open_attempt = ""
            assert state.attempt_id == open_attempt
            assert (state.callback is None) or not state.closed_reason
        if not isinstance(command, c.SkipPreview):
            _nothing_more(command, state)
    assert all(count == 1 for id, count in answers.items() if id != open_attempt)
    assert answers.get(open_attempt, 0) == 0


def _nothing_more(command: c.Command, state: Lead) -> None:
    """A command that is repeated changes nothing, though it may be refused by now."""
    with suppress(Rejected, Invalid, NotFound):
        assert list(decide(command, state)) == []
