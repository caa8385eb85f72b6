"""What follows at once from what the carrier and routing say of a call."""

from dataclasses import replace
from typing import Any

import pytest

from services.dialer.attempts import attempt as a
from services.dialer.dialling import messages as m
from services.dialer.dialling.calls import Act, Calls, Join, Tell
from services.dialer.dialling.turn import Out

S = 1_000_000
KEY = m.CallKey("acme", "x")
ANSWERED, MACHINE = a.Answered(10 * S, a.AnsweredBy.HUMAN), a.Answered(10 * S, a.AnsweredBy.MACHINE)
GREETED, CONNECTED = a.GreetingEnded(12 * S), a.Connected(13 * S, "ann")
PLAYED = a.MessageStarted(14 * S)


def over(why: a.Why, at: int = 60 * S) -> a.Over:
    return a.Over(at, why)


def calls(**more: Any) -> Calls:
    found = Calls()
    out = Out(KEY, "camp", "main", "q", "power", 7, "cust", 0, (("french", 2),))
    found.put(replace(out, **more))
    return found


def follows(found: Calls, *heard: a.Heard) -> list[Act]:
    return [act for one in heard for act in found.hear(m.CallResult(1, KEY, one))]


def told(at: int, what: Any) -> Tell:
    return Tell("main", m.Told(KEY, at, what))


WAITS = [
    told(12 * S, m.Arrived("cust")),
    told(12 * S, m.Queued("q", 7, (("french", 2),))),
]
ENDED = over(a.Why.HUNG_UP)

CASES: dict[str, tuple[dict[str, Any], list[a.Heard], list[Act]]] = {
    "a person waits for an agent at once": ({}, [ANSWERED, GREETED], WAITS),
    "connected, and ended": (
        {},
        [ANSWERED, GREETED, CONNECTED, ENDED],
        [*WAITS, told(13 * S, m.AgentConnected("ann")), told(60 * S, m.Ended())],
    ),
    "no agent in time": (
        {},
        [ANSWERED, GREETED, PLAYED, over(a.Why.MESSAGE_PLAYED)],
        [*WAITS, told(14 * S, m.Abandoned()), told(60 * S, m.Abandoned())],
    ),
    "hung up while waiting": (
        {},
        [ANSWERED, GREETED, ENDED],
        [*WAITS, told(60 * S, m.Abandoned())],
    ),
    "a machine": ({}, [MACHINE, over(a.Why.RELEASED)], []),
    "a machine whose greeting ends, where a message is left": (
        {},
        [MACHINE, GREETED, over(a.Why.MESSAGE_PLAYED)],
        [],
    ),
    "a machine that counts as a person": ({"as_person": True}, [MACHINE, GREETED], WAITS),
    "nobody answers": ({}, [over(a.Why.NO_ANSWER)], []),
    "a recorded message": (
        {"mode": "message"},
        [ANSWERED, GREETED, over(a.Why.MESSAGE_PLAYED)],
        [],
    ),
    "for one agent alone, past routing": (
        {"agent_id": "bob"},
        [ANSWERED, GREETED, a.Connected(13 * S, "bob"), ENDED],
        [Join(KEY, "bob")],
    ),
    "after a takeover routing knows of it already": (
        {"answered_at": 10 * S, "greeting_ended_at": 12 * S, "told": True},
        [GREETED, CONNECTED],
        [told(13 * S, m.AgentConnected("ann"))],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_what_follows(name: str) -> None:
    more, heard, expected = CASES[name]
    found = calls(**more)
    assert follows(found, *heard) == expected
    assert (KEY.stream_id in found.outs) == (not isinstance(heard[-1], a.Over))


@pytest.mark.parametrize("name", CASES)
def test_what_is_heard_again_changes_nothing(name: str) -> None:
    more, heard, expected = CASES[name]
    found = calls(**more)
    once = follows(found, *(one for each in heard for one in (each, each)))
    assert once == expected
    assert found.learned("acme/camp").answers.count <= 1
    assert follows(found, *heard[-1:]) == []


def test_an_assignment_asks_the_carrier_until_somebody_is_connected() -> None:
    found = calls()
    assigned = m.Assigned(KEY, "ann", 13 * S)
    assert found.news(assigned) is None, "it does not wait yet"
    follows(found, ANSWERED, GREETED)
    assert found.news(assigned) == Join(KEY, "ann")
    assert found.outs[KEY.stream_id].talks_to == "ann"
    found.refused(Join(KEY, "ann"))
    assert found.outs[KEY.stream_id].talks_to == ""
    again = m.Assigned(KEY, "bob", 13 * S)
    assert found.news(again) == Join(KEY, "bob")
    found.refused(Join(KEY, "ann"))
    assert found.outs[KEY.stream_id].talks_to == "bob", "is asked, whatever became of ann"
    assert found.outs[KEY.stream_id].wants_agent
    follows(found, a.Connected(14 * S, "bob"))
    assert not found.outs[KEY.stream_id].wants_agent
    assert found.news(assigned) is None
    assert found.news(m.Assigned(m.CallKey("acme", "other"), "ann", 0)) is None


ROW = {
    "client_id": "acme",
    "campaign_id": "camp",
    "started_at": 0,
    "answered_by": "human",
    "answered_at": 10 * S,
    "greeting_ended_at": 12 * S,
    "ended_at": 60 * S,
    "talked": 47 * S,
    "result": "connected",
}


@pytest.mark.parametrize(
    ("heard", "row"),
    [
        ([ANSWERED, GREETED, CONNECTED, ENDED], {}),
        (
            [MACHINE, over(a.Why.RELEASED)],
            {
                "answered_by": "machine",
                "greeting_ended_at": None,
                "talked": None,
                "result": "machine",
            },
        ),
        (
            [over(a.Why.NO_ANSWER)],
            {
                "answered_by": "",
                "answered_at": None,
                "greeting_ended_at": None,
                "talked": None,
                "result": "no-answer",
            },
        ),
        (
            [over(a.Why.CARRIER_ERROR)],
            {
                "answered_by": "",
                "answered_at": None,
                "greeting_ended_at": None,
                "talked": None,
                "result": "carrier-error",
            },
        ),
    ],
)
def test_from_the_record_the_same_is_learned(heard: list[a.Heard], row: dict[str, Any]) -> None:
    live, again = calls(), Calls()
    follows(live, *heard)
    again.learn(ROW | row)
    one, other = live.learned("acme/camp"), again.learned("acme/camp")
    for name in ("answers", "answer_delay", "no_answer_delay", "greeting", "talk"):
        assert getattr(one, name).count == getattr(other, name).count, name
    assert one.answers.mean == other.answers.mean
    assert one.talk.left() == other.talk.left()


def test_the_carriers_errors_count_for_a_while() -> None:
    found = Calls()
    for number in range(4):
        key = m.CallKey("acme", str(number))
        found.put(Out(key, "camp", "main", "q", "power", 0, "", 0))
        why = a.Why.CARRIER_ERROR if number else a.Why.BUSY
        list(found.hear(m.CallResult(1, key, over(why, 5 * S))))
    now = found.carrier(6 * S, 9)
    assert (now.lines, now.dialled, now.errors) == (9, 4, 3)
    assert found.carrier(40 * S, 9).dialled == 0


def test_the_rate_at_which_others_call() -> None:
    found = calls()
    for second in range(30):
        found.news(m.QueuedCall(m.CallKey("bolt", str(second)), "main", second * S))
    found.news(m.QueuedCall(KEY, "main", 5 * S))
    assert found.inbound_rate("main", 30 * S) == 0.5
    assert found.inbound_rate("main", 75 * S) == 0.25
    assert found.inbound_rate("other", 0) == 0


def test_wrap_ups_are_learned_after_the_call() -> None:
    found = calls()
    follows(found, ANSWERED, GREETED, CONNECTED, ENDED)
    found.news(m.WrappedUp(KEY, 25 * S))
    found.news(m.WrappedUp(KEY, 25 * S))
    found.news(m.WrappedUp(m.CallKey("bolt", "1"), 25 * S))
    assert found.learned("acme/camp").wrap_up.count == 1
