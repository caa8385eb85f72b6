"""What is heard of the telephone side becomes events, and one result."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventkit.decider import Invalid, NotFound, Rejected, fold
from services.dialer.attempts import attempt as a
from services.dialer.compliance.ruleuse import RuleUse

S = 1_000_000
T0 = 1_780_000_000 * S
ORIGIN = a.Origin("spring", "list-1", "lead-1", "cu-1", "n-1", 1, T0)
START = a.StartAttempt(
    ORIGIN, "predictive", (RuleUse("us.hours", 1, "within 08:00-21:00"),), T0 + 2 * S
)
MESSAGE = replace(START, mode="message")

ANSWERED = a.Answered(T0 + 9 * S, a.AnsweredBy.HUMAN)
UNKNOWN = a.Answered(T0 + 9 * S, a.AnsweredBy.UNKNOWN)
MACHINE = a.Answered(T0 + 9 * S, a.AnsweredBy.MACHINE)
FAX = a.Answered(T0 + 9 * S, a.AnsweredBy.FAX)
GREETED = a.GreetingEnded(T0 + 10 * S)
CONNECTED = a.Connected(T0 + 10 * S + 300_000, "ann")
MESSAGE_STARTED = a.MessageStarted(T0 + 12 * S)


def over(why: a.Why, after_s: float = 60, **more: bool) -> a.Over:
    return a.Over(T0 + int(after_s * S), why, "its words", **more)


W, R = a.Why, a.Result
RESULTS = {
    "nobody": (START, [over(W.NO_ANSWER)], R.NO_ANSWER),
    "busy": (START, [over(W.BUSY)], R.BUSY),
    "no such number": (START, [over(W.UNOBTAINABLE)], R.UNOBTAINABLE),
    "carrier": (START, [over(W.CARRIER_ERROR)], R.CARRIER_ERROR),
    "hung up while it rang": (START, [over(W.HUNG_UP)], R.NO_ANSWER),
    "released while it rang": (START, [over(W.RELEASED)], R.CARRIER_ERROR),
    "fax": (START, [FAX, over(W.RELEASED)], R.FAX),
    "machine": (START, [MACHINE, over(W.RELEASED)], R.MACHINE),
    "machine hangs up": (START, [MACHINE, over(W.HUNG_UP)], R.MACHINE),
    "left a message": (START, [MACHINE, MESSAGE_STARTED, over(W.MESSAGE_PLAYED)], R.VOICEMAIL),
    "machine as a person": (
        START,
        [MACHINE, GREETED, CONNECTED, over(W.HUNG_UP)],
        R.CONNECTED,
    ),
    "machine as a person, nobody free": (
        START,
        [MACHINE, GREETED, MESSAGE_STARTED, over(W.MESSAGE_PLAYED)],
        R.VOICEMAIL,
    ),
    "talked": (START, [ANSWERED, GREETED, CONNECTED, over(W.HUNG_UP)], R.CONNECTED),
    "talked until the line broke": (
        START,
        [ANSWERED, GREETED, CONNECTED, over(W.CARRIER_ERROR)],
        R.CONNECTED,
    ),
    "nobody free": (
        START,
        [ANSWERED, GREETED, MESSAGE_STARTED, over(W.MESSAGE_PLAYED)],
        R.ABANDONED,
    ),
    "nobody free, and hung up on the message": (
        START,
        [UNKNOWN, GREETED, MESSAGE_STARTED, over(W.HUNG_UP)],
        R.ABANDONED,
    ),
    "nobody free, the carrier failed": (
        START,
        [ANSWERED, GREETED, MESSAGE_STARTED, over(W.CARRIER_ERROR)],
        R.ABANDONED,
    ),
    "the message was played, nobody said when it began": (
        START,
        [ANSWERED, GREETED, over(W.MESSAGE_PLAYED)],
        R.ABANDONED,
    ),
    "waited two seconds, no message": (
        START,
        [ANSWERED, GREETED, over(W.HUNG_UP, 12)],
        R.ABANDONED,
    ),
    "hung up within two seconds": (START, [ANSWERED, GREETED, over(W.HUNG_UP, 11.999)], R.HUNG_UP),
    "hung up while greeting": (START, [ANSWERED, over(W.HUNG_UP)], R.HUNG_UP),
    "broke while greeting": (START, [ANSWERED, over(W.CARRIER_ERROR)], R.CARRIER_ERROR),
    "heard the message": (MESSAGE, [ANSWERED, GREETED, over(W.MESSAGE_PLAYED)], R.DELIVERED),
    "wants a callback": (
        MESSAGE,
        [ANSWERED, GREETED, MESSAGE_STARTED, over(W.HUNG_UP, callback_wanted=True)],
        R.DELIVERED,
    ),
    "did not listen": (MESSAGE, [ANSWERED, GREETED, MESSAGE_STARTED, over(W.HUNG_UP)], R.HUNG_UP),
}


@pytest.mark.parametrize("case", RESULTS)
def test_result(case: str) -> None:
    start, heard, result = RESULTS[case]
    state = fold(a.DECIDER, a.decide(start, a.Attempt()))
    state = fold(a.DECIDER, a.decide(a.Hear(tuple(heard)), state), state)
    assert state.ended is not None
    assert state.ended.result is result
    assert (state.abandoned is not None) == (result is R.ABANDONED)
    assert state.ended.agent_id == ("ann" if result is R.CONNECTED else "")


def test_times_are_those_of_the_telephone_side() -> None:
    state = fold(a.DECIDER, a.decide(START, a.Attempt()))
    events = a.decide(a.Hear((ANSWERED, GREETED, CONNECTED, over(W.HUNG_UP, 70.3))), state)
    assert events == [
        a.AttemptAnswered(ANSWERED.at, ORIGIN, a.AnsweredBy.HUMAN, 9 * S),
        a.AttemptGreetingEnded(GREETED.at, ORIGIN),
        a.AttemptConnected(CONNECTED.at, ORIGIN, "ann", 300_000),
        a.AttemptEnded(
            T0 + 70 * S + 300_000,
            ORIGIN,
            R.CONNECTED,
            "ann",
            "its words",
            a.AnsweredBy.HUMAN,
            9 * S,
            300_000,
            60 * S,
            "predictive",
            False,
        ),
    ]


def test_who_has_waited_in_vain_is_not_connected_any_more() -> None:
    heard = (ANSWERED, GREETED, MESSAGE_STARTED, replace(CONNECTED, at=T0 + 13 * S))
    state = fold(a.DECIDER, a.decide(START, a.Attempt()))
    assert [type(event) for event in a.decide(a.Hear(heard), state)] == [
        a.AttemptAnswered,
        a.AttemptGreetingEnded,
        a.AttemptAbandoned,
    ]


def started(*heard: a.Heard) -> a.Attempt:
    state = fold(a.DECIDER, a.decide(START, a.Attempt()))
    return fold(a.DECIDER, a.decide(a.Hear(heard), state), state)


def test_lapsed_where_nothing_was_heard() -> None:
    (ended,) = a.decide(a.Lapse(T0 + 5 * S, "too-late"), started())
    assert isinstance(ended, a.AttemptEnded)
    assert (ended.result, ended.cause) == (R.NOT_DIALLED, "too-late")
    assert a.decide(a.Lapse(T0 + 5 * S, "too-late"), started(ANSWERED)) == []


def test_lost_is_what_it_was_until_then() -> None:
    (ended,) = a.decide(a.Lose(T0 + 99 * S), started())
    assert isinstance(ended, a.AttemptEnded)
    assert ended.result is R.CARRIER_ERROR
    (ended,) = a.decide(a.Lose(T0 + 99 * S), started(ANSWERED, GREETED, CONNECTED))
    assert isinstance(ended, a.AttemptEnded)
    assert (ended.result, ended.talked) == (R.CONNECTED, None)


def test_disposed_word_by_word() -> None:
    """crm says one after the other: an offer was accepted, and how the call ended."""
    state = started(ANSWERED, GREETED, CONNECTED)
    (accepted,) = a.decide(a.Dispose(T0 + 30 * S, converted=True), state)
    assert accepted == a.AttemptDisposed(T0 + 30 * S, ORIGIN, "", "ann", True, "")
    state = a.evolve(state, accepted)
    (disposed,) = a.decide(a.Dispose(T0 + 80 * S, "sale"), state)
    assert disposed == a.AttemptDisposed(T0 + 80 * S, ORIGIN, "sale", "ann", True, "")
    state = a.evolve(state, disposed)
    assert a.decide(a.Dispose(T0 + 99 * S, "sale", converted=True), state) == []


WRONG = {
    "campaign_id": replace(START, origin=replace(ORIGIN, campaign_id="")),
    "lead_id": replace(START, origin=replace(ORIGIN, lead_id="a/b")),
    "number_id": replace(START, origin=replace(ORIGIN, number_id="")),
    "list_id": replace(START, origin=replace(ORIGIN, list_id=" ")),
    "customer_id": replace(START, origin=replace(ORIGIN, customer_id=" ")),
    "agent_id": replace(START, agent_id=" "),
    "number_of_attempt": replace(START, origin=replace(ORIGIN, number_of_attempt=0)),
    "mode": replace(START, mode="robot"),
    "dial_before": replace(START, dial_before=T0 - 1),
    "allowed_by": replace(START, allowed_by=()),
}


@pytest.mark.parametrize("field", WRONG)
def test_what_cannot_be_started(field: str) -> None:
    with pytest.raises(Invalid) as refusal:
        a.decide(WRONG[field], a.Attempt())
    assert refusal.value.field == field


def test_started_once() -> None:
    assert a.decide(START, started()) == []
    other = replace(START, origin=replace(ORIGIN, lead_id="lead-2"))
    with pytest.raises(Rejected):
        a.decide(other, started())


@pytest.mark.parametrize("command", [a.Hear((ANSWERED,)), a.Lapse(T0, "x"), a.Dispose(T0, "sale")])
def test_nothing_of_what_was_never_started(command: a.Command) -> None:
    with pytest.raises(NotFound):
        a.decide(command, a.Attempt())


@pytest.mark.parametrize(
    ("command", "field"),
    [
        (a.Dispose(T0, "No Code"), "disposition"),
        (a.Dispose(T0, refusal_reason="No Code"), "refusal_reason"),
        (a.Dispose(T0, "sale", "no id"), "agent_id"),
    ],
)
def test_what_cannot_be_said_of_it(command: a.Dispose, field: str) -> None:
    with pytest.raises(Invalid) as refusal:
        a.decide(command, started())
    assert refusal.value.field == field


# Laws.

heard = st.one_of(
    st.builds(a.Answered, st.integers(T0, T0 + 60 * S), st.sampled_from(list(a.AnsweredBy))),
    st.builds(a.GreetingEnded, st.integers(T0, T0 + 60 * S)),
    st.builds(a.Connected, st.integers(T0, T0 + 60 * S), st.just("ann")),
    st.builds(a.MessageStarted, st.integers(T0, T0 + 60 * S)),
    st.builds(a.Over, st.integers(T0, T0 + 60 * S), st.sampled_from(list(a.Why))),
)
says = st.one_of(
    st.lists(heard, max_size=6).map(lambda several: a.Hear(tuple(several))),
    st.builds(a.Lapse, st.integers(T0, T0 + 60 * S), st.just("too-late")),
    st.builds(a.Lose, st.integers(T0, T0 + 60 * S)),
    st.builds(a.Dispose, st.just(T0 + 70 * S), st.sampled_from(["", "sale", "refused"])),
)


@given(st.sampled_from([START, MESSAGE]), st.lists(says, max_size=8))
def test_one_end_whatever_is_heard_and_however_often(
    start: a.StartAttempt, commands: list[a.Command]
) -> None:
    events = list(a.decide(start, a.Attempt()))
    for command in [*commands, a.Lose(T0 + 61 * S)]:
        state = fold(a.DECIDER, events)
        new = list(a.decide(command, state))
        events += new
        again = a.decide(command, fold(a.DECIDER, events))
        assert list(again) == [], "a repeat changes nothing"
    ends = [event for event in events if isinstance(event, a.AttemptEnded)]
    assert len(ends) == 1
    told = [event for event in events if not isinstance(event, a.AttemptDisposed)]
    assert told[-1] is ends[0], "nothing but dispositions comes after the end"
    kinds = [type(event) for event in told]
    assert len(kinds) == len(set(kinds)), "each step once"
    assert not {a.AttemptConnected, a.AttemptAbandoned} <= set(kinds), "never both"
    assert (a.AttemptAbandoned in kinds) == (ends[0].result is a.Result.ABANDONED)
