"""What a complaint decides: given what happened, when a command comes, then this happens."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from eventkit.decider import Invalid, NotFound, Rejected, fold
from services.crm.complaints import complaint as m
from services.crm.complaints.calendar import ALWAYS, MINUTE, Calendar
from services.crm.complaints.clocks import Clock, Clocks, Rules, Severity, Targets

HOUR = 60 * MINUTE
T0 = round(datetime(2026, 11, 23, 9, tzinfo=UTC).timestamp() * 1_000_000)
OFFICE = Calendar("UTC", ((((540, 1020)),),) * 5 + ((), ()))
"""9 to 17 o'clock, Monday to Friday."""
TARGETS = {
    Severity.LOW: Targets(4 * HOUR, 40 * HOUR),
    Severity.NORMAL: Targets(2 * HOUR, 16 * HOUR),
    Severity.HIGH: Targets(1 * HOUR, 8 * HOUR),
    Severity.CRITICAL: Targets(HOUR // 2, 2 * HOUR),
}
RULES = Rules(1, OFFICE, TARGETS)
ROUND_THE_CLOCK = Rules(2, Calendar("UTC", (ALWAYS,) * 7), TARGETS)
KNOWN = frozenset({"defect", "delay"})
CLIENT = m.Subject(m.SubjectKind.CLIENT)

OPEN = m.OpenComplaint(T0, RULES, m.Details(), Severity.NORMAL, "It is broken.")
IMPORT = m.ImportComplaint(T0, m.Details(reference="7", status="solved"), text="x")


def ack(at: int) -> m.Command:
    return m.AcknowledgeComplaint(at, RULES)


def pause(at: int) -> m.Command:
    return m.PauseComplaint(at, RULES, "documents")


def resume(at: int) -> m.Command:
    return m.ResumeComplaint(at, RULES)


def severity(at: int, severity: Severity) -> m.Command:
    return m.ChangeSeverity(at, RULES, severity)


def uphold(at: int) -> m.Command:
    return m.UpholdComplaint(at, ("defect",), CLIENT, "", KNOWN)


def close(at: int) -> m.Command:
    return m.CloseComplaint(at, RULES)


def remedy(at: int) -> m.Command:
    return m.RemedyComplaint(at, "refund", Decimal("5.00"), "EUR", "", frozenset({"refund"}))


def after(*commands: m.Command) -> m.Complaint:
    state = m.DECIDER.initial
    for command in commands:
        state = fold(m.DECIDER, m.decide(command, state), state)
    return state


def clocks(state: m.Complaint) -> Clocks:
    assert state.clocks is not None
    return state.clocks


def ran_out(events: Sequence[m.Event]) -> list[tuple[str, int]]:
    return [
        (event.clock, event.at) for event in events if isinstance(event, m.ComplaintClockRanOut)
    ]


DECIDED = (OPEN, ack(T0 + HOUR), uphold(T0 + 2 * HOUR))
CLOSED = (*DECIDED, close(T0 + 3 * HOUR))


def test_opened() -> None:
    (event,) = m.decide(OPEN, m.DECIDER.initial)
    due = T0 + 2 * HOUR, T0 + 32 * HOUR  # 16 hours of two days
    assert event == m.ComplaintOpened(
        T0,
        m.Details(),
        Severity.NORMAL,
        "It is broken.",
        "",
        1,
        Clocks(Clock(2 * HOUR, since=T0, due=due[0]), Clock(16 * HOUR, since=T0, due=due[1])),
    )
    assert m.timers(after(OPEN)) == {"first_response": due[0], "resolution": due[1]}


@pytest.mark.parametrize(
    ("given", "when", "reason"),
    [
        (DECIDED, replace(OPEN, severity=Severity.LOW), "has this id"),
        (CLOSED, m.AssignComplaint(T0, "ann"), "closed"),
        (CLOSED, pause(T0), "closed"),
        (CLOSED, resume(T0), "closed"),
        (CLOSED, severity(T0, Severity.LOW), "closed"),
        (CLOSED, m.InvestigateComplaint(T0, "x"), "closed"),
        (CLOSED, remedy(T0), "closed"),
        (CLOSED, m.ApplyPolicy(T0, RULES, ROUND_THE_CLOCK), "closed"),
        (CLOSED, replace(uphold(T0), reasons=("delay",)), "closed and has a verdict"),
        (DECIDED, m.RejectComplaint(T0, ("defect",), "", KNOWN), "decided and has a verdict"),
        (DECIDED, m.InvestigateComplaint(T0, "x"), "decided"),
        (DECIDED, m.ReopenComplaint(T0, RULES, "again"), "decided"),
        ((OPEN,), uphold(T0), "not acknowledged"),
        ((OPEN, ack(T0), pause(T0)), uphold(T0), "waits for the customer"),
        ((OPEN,), close(T0), "no verdict"),
        ((OPEN,), remedy(T0), "no verdict"),
        ((OPEN,), m.AppealComplaint(T0, RULES, "no"), "open and has no verdict"),
        ((replace(IMPORT, closed=True),), m.AppealComplaint(T0, RULES, "no"), "no verdict"),
    ],
)
def test_rejected(given: Sequence[m.Command], when: m.Command, reason: str) -> None:
    with pytest.raises(Rejected, match=reason):
        m.decide(when, after(*given))


@pytest.mark.parametrize(
    "command",
    [
        *(ack(T0), m.AssignComplaint(T0, "a"), m.InvestigateComplaint(T0, "x"), pause(T0)),
        *(resume(T0), severity(T0, Severity.LOW), uphold(T0), remedy(T0), close(T0)),
        *(m.AppealComplaint(T0, RULES, "no"), m.ReopenComplaint(T0, RULES, "again")),
        m.ApplyPolicy(T0, RULES, RULES),
    ],
    ids=lambda command: type(command).__name__,
)
def test_nothing_there(command: m.Command) -> None:
    with pytest.raises(NotFound):
        m.decide(command, m.DECIDER.initial)


@pytest.mark.parametrize(
    ("given", "commands"),
    [
        ((), (OPEN,)),
        ((), (IMPORT,)),
        ((OPEN,), (ack(T0), ack(T0 + HOUR))),
        ((OPEN,), (m.AssignComplaint(T0, "ann"),)),
        ((OPEN,), (m.InvestigateComplaint(T0, "x"),)),
        ((OPEN,), (pause(T0), pause(T0 + HOUR), m.PauseComplaint(T0, RULES, "other"))),
        ((OPEN, pause(T0)), (resume(T0 + HOUR), resume(T0 + 2 * HOUR))),
        ((OPEN,), (severity(T0, Severity.HIGH),)),
        ((OPEN, ack(T0)), (uphold(T0), uphold(T0 + HOUR))),
        ((OPEN, ack(T0)), (m.RejectComplaint(T0, ("delay",), "", KNOWN),)),
        (DECIDED, (remedy(T0),)),
        (DECIDED, (close(T0),)),
        (DECIDED, (m.AppealComplaint(T0, RULES, "no"),)),
        (CLOSED, (m.AppealComplaint(T0, RULES, "no"),)),
        (CLOSED, (m.ReopenComplaint(T0, RULES, "again"),)),
        ((OPEN,), (m.ApplyPolicy(T0, RULES, ROUND_THE_CLOCK),)),
    ],
)
def test_a_repeat_is_nothing(given: Sequence[m.Command], commands: Sequence[m.Command]) -> None:
    first = m.decide(commands[0], after(*given))
    assert first
    for again in (commands[0], *commands[1:]):
        assert m.decide(again, after(*given, commands[0])) == []


@pytest.mark.parametrize(
    ("command", "field"),
    [
        (replace(OPEN, text="x" * 10_001), "text"),
        (replace(OPEN, text="\x00"), "text"),
        (replace(OPEN, text="\ud800"), "text"),
        (replace(OPEN, details=m.Details(customer_id="a/b")), "customer_id"),
        (replace(OPEN, details=m.Details(source="Us")), "source"),
        (replace(OPEN, details=m.Details(about=CLIENT)), "about.kind"),
        (replace(OPEN, details=m.Details(about=m.Subject(id="x"))), "about.id"),
        (replace(IMPORT, details=m.Details(status="Done!")), "status"),
    ],
)
def test_invalid_openings(command: m.Command, field: str) -> None:
    with pytest.raises(Invalid) as caught:
        m.decide(command, m.DECIDER.initial)
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("command", "field"),
    [
        (replace(uphold(T0), reasons=()), "reasons"),
        (replace(uphold(T0), reasons=("defect", "defect")), "reasons"),
        (replace(uphold(T0), reasons=("made-up",)), "reasons"),
        (replace(uphold(T0), responsible=m.Subject()), "responsible"),
        (replace(remedy(T0), remedy="gold"), "remedy"),
        (replace(remedy(T0), amount=Decimal(0)), "amount"),
        (replace(remedy(T0), amount=Decimal("NaN")), "amount"),
        (replace(remedy(T0), amount=Decimal("1.00001")), "amount"),
        (replace(remedy(T0), currency=""), "currency"),
        (replace(remedy(T0), currency="eur"), "currency"),
        (replace(remedy(T0), amount=None), "currency"),
        (m.AppealComplaint(T0, RULES, " "), "text"),
        (m.InvestigateComplaint(T0, ""), "findings"),
        (m.AssignComplaint(T0, ""), "assignee"),
        (m.PauseComplaint(T0, RULES, "Because!"), "reason"),
    ],
)
def test_invalid(command: m.Command, field: str) -> None:
    with pytest.raises(Invalid) as caught:
        m.decide(command, after(OPEN, ack(T0)))
    assert caught.value.field == field


# Clocks, to the microsecond. The law is in test_clock_law.py.


@pytest.mark.parametrize(("early", "is_late"), [(1, False), (0, True), (-1, True)])
def test_an_answer_around_the_due_time(early: int, is_late: bool) -> None:
    due = T0 + 2 * HOUR
    events = m.decide(ack(due - early), after(OPEN))
    assert ran_out(events) == ([("first_response", due)] if is_late else [])
    assert isinstance(events[-1], m.ComplaintAcknowledged)
    clock = clocks(fold(m.DECIDER, events, after(OPEN))).first_response
    assert (clock.ran_out_at, clock.used, clock.due) == (
        due if is_late else None,
        2 * HOUR - early,
        None,
    )


@pytest.mark.parametrize(("early", "is_late"), [(1, False), (0, True), (-1, True)])
def test_a_pause_around_the_due_time(early: int, is_late: bool) -> None:
    due = T0 + 2 * HOUR
    events = m.decide(pause(due - early), after(OPEN))
    assert ran_out(events) == ([("first_response", due)] if is_late else [])


def test_the_timer_is_right_only_at_the_due_time() -> None:
    due = T0 + 2 * HOUR
    state = after(OPEN)
    assert m.decide(m.RunOutClock(due - 1, "first_response"), state) == []
    assert m.decide(m.RunOutClock(due, "resolution"), state) == []
    happened = [m.ComplaintClockRanOut(due, "first_response")]
    assert m.decide(m.RunOutClock(due, "first_response"), state) == happened
    for given in (
        (OPEN, ack(due - 1)),
        (OPEN, pause(due - 1)),
        (OPEN, severity(due - 1, Severity.LOW)),
        (OPEN, m.RunOutClock(due, "first_response")),
        (),
    ):
        assert m.decide(m.RunOutClock(due, "first_response"), after(*given)) == []


def test_a_stop_is_counted_once() -> None:
    given = (OPEN, pause(T0 + HOUR), pause(T0 + 2 * HOUR), resume(T0 + 5 * HOUR))
    again = (resume(T0 + 6 * HOUR), pause(T0 + 7 * HOUR), resume(T0 + 7 * HOUR))
    state = after(*given, *again)
    # 1 hour before the stop, 2 after it; of the first response's 2 hours nothing is left since 6.
    assert clocks(state).resolution.used == 3 * HOUR
    assert clocks(state).first_response.ran_out_at == T0 + 6 * HOUR


def test_reopening_goes_on() -> None:
    state = after(*CLOSED)
    assert clocks(state).resolution.used == 3 * HOUR
    assert m.timers(state) == {}
    state = after(*CLOSED, m.ReopenComplaint(T0 + 24 * HOUR, RULES, "again"))
    assert clocks(state).first_response.used == HOUR
    # 13 hours are left: 8 of Tuesday, 5 of Wednesday.
    assert m.timers(state) == {"resolution": T0 + (48 + 5) * HOUR}
    assert state.verdict is not None
    state = after(*CLOSED, m.AppealComplaint(T0 + 24 * HOUR, RULES, "no"))
    assert m.timers(state) == {"resolution": T0 + (48 + 5) * HOUR}
    assert state.verdict is None


def test_a_shorter_target_may_be_used_up_already() -> None:
    at = T0 + 3 * HOUR
    given = (OPEN, ack(T0 + HOUR))
    events = m.decide(severity(at, Severity.CRITICAL), after(*given))
    # Until now it had kept what was promised, so it runs out now and not an hour ago.
    assert ran_out(events) == [("resolution", at)]
    state = after(*given, severity(at, Severity.CRITICAL), severity(at + HOUR, Severity.LOW))
    assert clocks(state).resolution.ran_out_at == at
    assert clocks(state).resolution.target == 40 * HOUR
    assert m.timers(state) == {}


def test_a_shorter_target_while_it_stands_still() -> None:
    given = (OPEN, ack(T0 + HOUR), pause(T0 + 3 * HOUR))
    change = severity(T0 + 4 * HOUR, Severity.CRITICAL)
    assert ran_out(m.decide(change, after(*given))) == []
    back = resume(T0 + 5 * HOUR)
    assert ran_out(m.decide(back, after(*given, change))) == [("resolution", T0 + 5 * HOUR)]


def test_another_policy_counts_with_its_hours_from_then_on() -> None:
    at = T0 + 7 * HOUR
    state = after(OPEN, ack(T0 + HOUR), m.ApplyPolicy(at, RULES, ROUND_THE_CLOCK))
    assert clocks(state).resolution.used == 7 * HOUR
    assert m.timers(state) == {"resolution": at + 9 * HOUR}
    assert state.policy_version == 2


def test_time_does_not_go_back() -> None:
    state = after(OPEN, pause(T0 + HOUR), resume(T0 + HOUR // 2))
    assert state.at == T0 + HOUR
    assert clocks(state).resolution.used == HOUR


def test_who_appeals_waits_no_more() -> None:
    state = after(*DECIDED, pause(T0 + 2 * HOUR), m.AppealComplaint(T0 + 4 * HOUR, RULES, "no"))
    assert state.paused is None
    assert clocks(state).resolution.since == T0 + 4 * HOUR
    assert state.phase is m.Phase.OPEN


def test_a_verdict_after_reopening_may_be_another() -> None:
    reject = m.RejectComplaint(T0 + 5 * HOUR, ("delay",), "", KNOWN)
    state = after(*CLOSED, m.ReopenComplaint(T0 + 4 * HOUR, RULES, "again"), reject)
    assert isinstance(state.verdict, m.ComplaintRejected)


def test_the_remedy_that_never_came_is_made_again() -> None:
    given = (*DECIDED, remedy(T0), close(T0), m.ReopenComplaint(T0, RULES, "again"))
    assert len(m.decide(remedy(T0), after(*given))) == 1
    assert m.decide(remedy(T0), after(*given, remedy(T0))) == []


# What other systems have kept.


def test_imported_complaints_have_neither_clocks_nor_verdict() -> None:
    events = m.decide(replace(IMPORT, acknowledged=True, closed=True), m.DECIDER.initial)
    kinds = [m.ComplaintOpened, m.ComplaintAcknowledged, m.ComplaintClosed]
    assert [type(event) for event in events] == kinds
    state = fold(m.DECIDER, events)
    assert (state.clocks, state.verdict, m.timers(state)) == (None, None, {})


def test_an_imported_complaint_gets_clocks_when_we_take_it_up() -> None:
    at = T0 + 24 * HOUR
    for given, responded in (
        ((IMPORT, m.ApplyPolicy(at, RULES, RULES)), False),
        ((replace(IMPORT, acknowledged=True), m.ApplyPolicy(at, RULES, RULES)), True),
        ((replace(IMPORT, closed=True), m.ReopenComplaint(at, RULES, "again")), True),
    ):
        state = after(*given)
        assert clocks(state).responded is responded
        due = m.timers(state)
        assert due["resolution"] == at + 32 * HOUR
        assert ("first_response" in due) is not responded
