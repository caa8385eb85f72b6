"""A recorded call as events: what happened, when, and the laws that all events keep."""

from dataclasses import replace
from datetime import date, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from relais.calls.v1 import events_pb2

from relaisctl import codec
from relaisctl.replay.anonymous_bank import Call, Outcome, read_row
from relaisctl.replay.history import (
    EVENTS,
    Abandoned,
    Arrived,
    Cause,
    Connected,
    Ended,
    Queued,
    Recorded,
    events,
    identify,
    in_time_order,
    moment,
)
from relaisctl.replay.tests.rows import ABANDONED, LEFT, PHANTOM, line

JERUSALEM = ZoneInfo("Asia/Jerusalem")
NOW = 1_700_000_000_000_000
S = 1_000_000


def call(text: str) -> Call:
    row = read_row(1, text, date(2020, 1, 1))
    assert isinstance(row, Call), row
    return row


def recorded(text: str) -> Recorded:
    ((found,), _) = identify([call(text)], JERUSALEM)
    return found


ARRIVED_AT = recorded(line()).arrived_at


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            line(),
            [
                (0, Arrived("AA0302", "40412345", "PS")),
                (9, Queued("PS", 1, ARRIVED_AT)),
                (50, Connected("RIVKA", "PS", ARRIVED_AT, 42 * S)),  # a second before q_exit
                (240, Ended(Cause.COMPLETED, "RIVKA", "PS", ARRIVED_AT, 190 * S)),
            ],
        ),
        (
            line(ABANDONED),
            [
                (0, Arrived("AA0302", "40412345", "PS")),
                (9, Queued("PS", 1, ARRIVED_AT)),
                (51, Abandoned("PS", ARRIVED_AT, 42 * S)),
            ],
        ),
        (
            line(LEFT, customer_id="0"),
            [
                (0, Arrived("AA0302", "", "PS")),
                (9, Ended(Cause.LEFT_BEFORE_QUEUE, "", "PS", ARRIVED_AT, 0)),
            ],
        ),
        (
            line(PHANTOM),
            [
                (0, Arrived("AA0302", "40412345", "PS")),
                (9, Ended(Cause.PHANTOM, "", "PS", ARRIVED_AT, 0)),
            ],
        ),
        (  # answered at once: a stay of no length is one all the same
            line(q_start="0:00:00", q_exit="0:00:00", q_time="0", ser_start="9:15:11"),
            [
                (0, Arrived("AA0302", "40412345", "PS")),
                (9, Queued("PS", 1, ARRIVED_AT)),
                (9, Connected("RIVKA", "PS", ARRIVED_AT, 0)),
                (240, Ended(Cause.COMPLETED, "RIVKA", "PS", ARRIVED_AT, 190 * S)),
            ],
        ),
    ],
)
def test_what_happened(text: str, expected: list[tuple[int, object]]) -> None:
    found = events(recorded(text), NOW)
    assert [((event.occurred_at - ARRIVED_AT) // S, event.body) for event in found] == expected


@pytest.mark.parametrize(
    ("changed", "seconds"),
    [
        # The exit from the VRU lies before the entry: the call was in the queue at once.
        ({"vru_exit": "9:14:25", "q_start": "9:14:25", "vru_time": "-37"}, [0, 0, 50, 240]),
        # Nobody knows when the service began or ended: the durations say.
        ({"ser_start": "0:00:00", "ser_exit": "0:00:00"}, [0, 9, 51, 241]),
        # Across midnight.
        (
            {
                "vru_entry": "23:59:30", "vru_exit": "23:59:40", "q_start": "23:59:40",
                "q_exit": "0:00:22", "ser_start": "0:00:22", "ser_exit": "0:03:32",
            },
            [0, 10, 52, 242],
        ),
    ],
)  # fmt: skip
def test_clock_times_that_contradict_each_other(
    changed: dict[str, str], seconds: list[int]
) -> None:
    of = recorded(line(**changed))
    assert [(event.occurred_at - of.arrived_at) // S for event in events(of, NOW)] == seconds


@pytest.mark.parametrize(
    ("day", "seconds", "utc"),
    [
        (date(1999, 1, 3), 3600, "1999-01-02T23:00:00+00:00"),
        (date(1999, 8, 17), 33302, "1999-08-17T06:15:02+00:00"),
        (date(1999, 4, 2), 3600, "1999-04-01T23:00:00+00:00"),
        (date(1999, 4, 2), 9000, "1999-04-02T00:30:00+00:00"),  # skipped: 2:30 is 3:30
        (date(1999, 4, 2), 14400, "1999-04-02T01:00:00+00:00"),
        (date(1999, 9, 3), 5400, "1999-09-02T22:30:00+00:00"),  # shown twice: the first
        (date(1999, 9, 3), 10800, "1999-09-03T01:00:00+00:00"),
        (date(1999, 1, 3), 86400, "1999-01-03T22:00:00+00:00"),
    ],
)
def test_local_times(day: date, seconds: int, utc: str) -> None:
    assert moment(day, seconds, JERUSALEM) == datetime.fromisoformat(utc).timestamp() * S


def test_equal_rows_are_one_call_and_different_ones_are_two() -> None:
    first, other = call(line()), call(line(server="MOSHE"))
    one, repeated = identify([first, first, first], JERUSALEM)
    assert (len(one), repeated) == (1, 2)
    two, repeated = identify([first, other, first], JERUSALEM)
    assert (len({of.call_id for of in two}), repeated) == (2, 1)
    assert (two, repeated) == identify([other, first, first], JERUSALEM)


def test_the_wire_repeats_byte_for_byte() -> None:
    of = recorded(line())
    once = [codec.call_event("bank", "test", event, NOW) for event in events(of, NOW)]
    again = [codec.call_event("bank", "test", event, NOW) for event in events(of, NOW)]
    assert once == again
    messages = [events_pb2.CallEvent.FromString(value) for _, value in once]
    assert [m.meta.version for m in messages] == [1, 2, 3, 4]
    assert len({m.meta.event_id for m in messages}) == 4
    assert {key for key, _ in once} == {b"bank/AA0302-51007-19990817T091502"}
    assert {m.meta.stream_id for m in messages} == {"bank/AA0302-51007-19990817T091502"}
    connected = messages[2].connected
    assert (connected.agent_id, connected.queue_id) == ("RIVKA", "PS")
    assert connected.waited.seconds == 42
    assert messages[0].meta.occurred_at.ToJsonString() == "1999-08-17T06:15:02Z"


clocks = st.one_of(st.none(), st.integers(0, 2 * 86400 - 1))
durations = st.integers(0, 10**9).map(lambda seconds: seconds * S)
calls = st.builds(
    Call,
    trunk=st.sampled_from(["AA0101", "AA0102"]),
    number=st.sampled_from(["1", "2", "3"]),
    customer=st.just(""),
    priority=st.integers(0, 2),
    queue=st.sampled_from(["PS", "NE"]),
    day=st.dates(date(1999, 3, 30), date(1999, 9, 5)),
    arrived=st.integers(0, 2 * 86400 - 1),
    vru_exit=clocks,
    q_start=clocks,
    q_exit=clocks,
    ser_start=clocks,
    ser_exit=clocks,
    outcome=st.sampled_from(Outcome),
    waited_us=durations,
    talked_us=durations,
    agent=st.sampled_from(["", "RIVKA"]),
)


@given(st.lists(calls, max_size=12), st.integers(920_000_000, 1_000_000_000))
def test_laws(some: list[Call], now_s: int) -> None:
    of_all, repeated = identify(some, JERUSALEM)
    assert len(of_all) + repeated == len(some)
    assert {of.call for of in of_all} == set(some)
    found = list(in_time_order(of_all, now_s * S))
    assert len(found) == sum(EVENTS[of.call.outcome] for of in of_all)
    assert [event.occurred_at for event in found] == sorted(event.occurred_at for event in found)
    assert all(event.occurred_at <= now_s * S for event in found)
    for of in of_all:
        own = [event for event in found if event.call_id == of.call_id]
        assert [event.version for event in own] == list(range(1, EVENTS[of.call.outcome] + 1))
        within = own[-1].occurred_at - own[0].occurred_at
        assert 0 <= within <= 3 * 12 * 3600 * S


def test_the_digest_of_a_conflict_depends_on_content_alone() -> None:
    first = call(line())
    some = [first, replace(first, agent="A"), replace(first, agent="B")]
    assert identify(some, JERUSALEM) == identify(some[::-1], JERUSALEM)
