"""Call events put together: whatever order they come in, and however often."""

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from relais.calls.v1.events_pb2 import CallEvent

from eventkit.decider import Invalid
from services.crm.interactions.calls import GROUPS, Calls, Kind, Said, facts_of
from services.crm.interactions.codec import decode_call, unknown_call
from services.crm.interactions.heard import Heard
from services.crm.interactions.tests.events import MONDAY, call, future_event, record

US = 1_000_000


def decoded(events: list[CallEvent]) -> list[Said]:
    found = [decode_call(record(event.SerializeToString())) for event in events]
    return [said for said in found if said is not None]


def heard(said: list[Said]) -> Heard:
    calls = Calls()
    calls.add(said)
    [one] = calls.values()
    return one


def values(one: Heard) -> dict[str, Any]:
    return {
        name: value
        for group, (_, group_values) in one.facts.items()
        for name, value in zip(GROUPS[group], group_values, strict=True)
    }


def test_an_answered_call() -> None:
    one = heard(decoded(call("acme", "c-1", customer="k-7", wait=10, talk=60, wrap_up=5)))
    assert (one.version, one.first_at) == (7, MONDAY * US)
    assert values(one) == {
        "channel": "voice",
        "direction": "inbound",
        "line": "line-1",
        "customer_reference": "k-7",
        "arrived_at": MONDAY * US,
        "queue_id": "sales",
        "agent_id": "ann",
        "connected_at": (MONDAY + 10) * US,
        "answered_after_us": 10 * US,
        "ended_at": (MONDAY + 70) * US,
        "end_cause": "completed",
        "talked_us": 60 * US,
        "wrapped_up_at": (MONDAY + 75) * US,
        "wrap_up_us": 5 * US,
    }


def test_an_abandoned_call() -> None:
    found = values(heard(decoded(call("acme", "c-1", wait=33, talk=None))))
    assert found["abandoned_at"] == (MONDAY + 33) * US
    assert found["abandoned_after_us"] == 33 * US
    assert "connected_at" not in found
    assert "agent_id" not in found


TIMES = st.integers(1, 9) | st.just(0)
SAID = st.builds(
    Said,
    st.sampled_from(Kind),
    st.just("acme"),
    st.sampled_from(["c-1", "c-2"]),
    st.integers(1, 1_000),
    st.integers(1, 1_000),
    arrived_at=TIMES,
    queue_id=st.sampled_from(["", "sales", "care"]),
    agent_id=st.sampled_from(["", "ann", "bob"]),
    lasted=TIMES,
    channel=st.sampled_from(["", "voice"]),
    customer_reference=st.sampled_from(["", "k-1"]),
)
EVENTS = st.lists(
    SAID, min_size=1, max_size=20, unique_by=lambda said: (said.call_id, said.version)
)


@given(EVENTS, st.randoms(use_true_random=False))
def test_neither_order_nor_repeats_matter(events: list[Said], chance: random.Random) -> None:
    in_order, shuffled = Calls(), Calls()
    in_order.add(sorted(events, key=lambda said: said.version))
    again = events + chance.choices(events, k=5)
    chance.shuffle(again)
    shuffled.add(again)
    assert shuffled == in_order


@given(EVENTS)
def test_the_last_event_that_says_something_counts(events: list[Said]) -> None:
    calls = Calls()
    calls.add(events)
    for (_, call_id), one in calls.items():
        own = sorted(
            (said for said in events if said.call_id == call_id), key=lambda said: said.version
        )
        assert one.version == own[-1].version
        assert one.first_at == min(said.occurred_at for said in own)
        for group in GROUPS:
            told = [
                (said.version, values)
                for said in own
                for name, values in facts_of(said)
                if name == group
            ]
            last = max((version for version, _ in told), default=0)
            expected = next((each for each in told if each[0] == last), None)
            assert one.facts.get(group) == expected


def broken(**changes: Any) -> bytes:
    event = call("acme", "c-1", customer="k-7")[0]
    for path, value in changes.items():
        *parts, name = path.split("__")
        target: Any = event
        for part in parts:
            target = getattr(target, part)
        setattr(target, name, value)
    return event.SerializeToString()


@pytest.mark.parametrize(
    ("value", "field"),
    [
        (None, ""),
        (b"\xff\x00", ""),
        (b"", "client_id"),
        (broken(meta__client_id="No Client"), "client_id"),
        (broken(call_id="a/b"), "call_id"),
        (broken(call_id=""), "call_id"),
        (broken(call_id="x" * 129), "call_id"),
        (broken(meta__version=0), "version"),
        (broken(meta__version=2**63 - 1), "version"),
        (broken(meta__occurred_at__seconds=0), "occurred_at"),
        (broken(meta__occurred_at__seconds=-1), "occurred_at"),
        (broken(meta__occurred_at__seconds=MONDAY + 90_000), "occurred_at"),
        (broken(arrived__customer_id="Jean Dupont"), "customer_id"),
        (broken(arrived__channel=99), "channel"),
        (broken(connected__waited__seconds=-1, connected__agent_id="a"), "waited"),
        (broken(connected__waited__seconds=400 * 86_400), "waited"),
        (broken(connected__arrived_at__seconds=-5), "arrived_at"),
        (broken(connected__agent_id="\x01"), "agent_id"),
    ],
)
def test_what_is_no_call_event(value: bytes | None, field: str) -> None:
    with pytest.raises(Invalid) as error:
        decode_call(record(value))
    assert error.value.field == field
    assert "Dupont" not in str(error.value)


def test_an_event_of_an_unknown_type_is_kept_as_it_is() -> None:
    value = future_event("acme", "c-1", 4)
    assert decode_call(record(value)) is None
    assert unknown_call(record(value)) == ("acme", "c-1", 4, value)
