"""Laws of the live figures: copies and order do not matter, a snapshot and the rest is all."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from relais.analytics.v1.live_kpi_snapshot_pb2 import LiveKpiSnapshot

from services.analytics import live
from services.analytics.live import Facts, Figures, Hour, Kind, Late, Said, Totals
from services.analytics.stream import SILENT, LiveKpis
from services.analytics.tests.events import MONDAY, call_stream, record

TARGET = 20_000_000
HOUR = live.HOUR_US
T0 = 500_000 * HOUR
MONDAY_US = MONDAY * 1_000_000

States = dict[str, Hour]

said = st.builds(
    Said,
    kind=st.sampled_from(Kind),
    client_id=st.sampled_from(["acme", "beta"]),
    call_id=st.sampled_from(["c1", "c2", "c3"]),
    version=st.integers(1, 9),
    queue_id=st.sampled_from(["sales", "care"]),
    arrived_at=st.integers(0, 3).map(lambda quarter: T0 + quarter * live.INTERVAL_US),
    lasted=st.integers(0, 60).map(lambda seconds: seconds * 1_000_000),
    partition=st.just(0),
    offset=st.just(0),
)


def fold(events: Iterable[Said], states: States | None = None) -> tuple[States, list[Any]]:
    states = dict(states or {})
    outputs: list[Any] = []
    for event in events:
        key = live.slot(event.client_id, event.arrived_at)
        states[key], out = live.apply(states.get(key), event, TARGET)
        outputs += out
    return states, outputs


def counted_from_scratch(state: Hour) -> dict[live.Place, Totals]:
    """What `totals` must be, without any arithmetic on what it was before."""
    found: dict[live.Place, list[Totals]] = {}
    for facts in state.calls.values():
        if (counts := live.counted(facts, TARGET)) is not None:
            found.setdefault(counts[0], []).append(counts[1])
    return {place: Totals(*map(sum, zip(*many, strict=True))) for place, many in found.items()}


@given(st.lists(said), st.randoms(use_true_random=False))
def test_copies_and_their_order_change_nothing(events: list[Said], random: Any) -> None:
    shuffled = events + events
    random.shuffle(shuffled)
    assert tables(fold(events)[0]) == tables(fold(shuffled)[0])


def tables(states: States) -> dict[str, Any]:
    return {
        key: (state.hour, state.calls, {p: t for p, t in state.totals.items() if any(t)})
        for key, state in states.items()
    }


@given(st.lists(said))
def test_totals_are_those_of_the_calls(events: list[Said]) -> None:
    for state in fold(events)[0].values():
        assert {p: t for p, t in state.totals.items() if any(t)} == counted_from_scratch(state)


@given(st.lists(said))
def test_the_last_figures_written_are_the_totals(events: list[Said]) -> None:
    states, outputs = fold(events)
    written = {
        (one.client_id, one.queue_id, one.interval_start): one.totals
        for one in live.newest(outputs)
    }
    totals = {
        (state.client_id, *place): total
        for state in states.values()
        for place, total in state.totals.items()
    }
    assert written == totals


@given(st.lists(said), st.lists(said))
def test_a_snapshot_and_the_rest_is_the_whole(before: list[Said], after: list[Said]) -> None:
    code = LiveKpis(target_s=20)
    kept = {key: code.encode_state(state) for key, state in fold(before)[0].items()}
    restored = {key: code.decode_state(data) for key, data in kept.items()}
    assert tables(fold(after, restored)[0]) == tables(fold(before + after)[0])


def one(kind: Kind, lasted: int = 0, arrived_at: int = T0, **more: Any) -> Said:
    said = Said(kind, "acme", "c1", 5, "sales", arrived_at, lasted * 1_000_000, 2, 7)
    return replace(said, **more)


def last(events: Sequence[Said]) -> Totals:
    outputs = fold(events)[1]
    assert isinstance(outputs[-1], Figures)
    return outputs[-1].totals


def test_answered_and_then_handled() -> None:
    events = [one(Kind.CONNECTED, 20), one(Kind.ENDED, 60), one(Kind.WRAPPED_UP, 5)]
    connected = Totals(1, 1, answered_in_target=1, waited=20_000_000)
    assert last(events[:1]) == connected
    assert last(events[:2]) == connected._replace(handled=1, handle=60_000_000)
    assert last(events) == connected._replace(handled=1, handle=65_000_000)


def test_answered_after_the_target() -> None:
    assert last([one(Kind.CONNECTED, 21)]).answered_in_target == 0


def test_a_call_that_was_answered_is_not_abandoned() -> None:
    assert last([one(Kind.ABANDONED, 3)]) == Totals(offered=1, abandoned=1)
    both = last([one(Kind.ABANDONED, 3), one(Kind.CONNECTED, 3)])
    assert (both.offered, both.answered, both.abandoned) == (1, 1, 0)


HANDLED = Totals(offered=1, answered=1, answered_in_target=1, handled=1, waited=8_000_000)


def test_a_call_that_is_transferred_counts_once_in_its_first_queue() -> None:
    events = [
        one(Kind.CONNECTED, 8, version=4),
        one(Kind.WRAPPED_UP, 5, version=6),
        one(Kind.CONNECTED, 90, version=9, queue_id="complaints"),
        one(Kind.ENDED, 100, version=10, queue_id="complaints"),
        one(Kind.WRAPPED_UP, 7, version=11, queue_id="complaints"),
    ]
    for order in (events, events[::-1], events + events):
        states, _ = fold(order)
        [hour] = states.values()
        assert {place[0]: total for place, total in hour.totals.items() if any(total)} == {
            "sales": HANDLED._replace(handle=112_000_000)
        }


def test_a_call_that_overflowed_is_offered_and_not_abandoned() -> None:
    assert last([one(Kind.OVERFLOWED, 600)]) == Totals(offered=1, overflowed=1)
    both = last([one(Kind.OVERFLOWED, 3), one(Kind.CONNECTED, 3)])
    assert (both.offered, both.answered, both.overflowed) == (1, 1, 0)


def test_a_snapshot_from_before_calls_were_transferred() -> None:
    """Its connection is the first one, and its wrap-up the one that may come again."""
    snapshot = LiveKpiSnapshot(client_id="acme")
    snapshot.hour.seconds = T0 // 1_000_000
    call = snapshot.calls.add(call_id="c1", connected=True, connected_queue_id="sales", ended=True)
    call.arrived_at.seconds = T0 // 1_000_000
    call.waited.seconds, call.talked.seconds, call.wrap_up.seconds = 8, 60, 5
    hour = LiveKpis(target_s=20).decode_state(snapshot.SerializeToString())
    key = live.slot("acme", T0)
    wanted = {("sales", T0): HANDLED._replace(handle=65_000_000)}
    assert hour.totals == wanted
    again = [one(Kind.CONNECTED, 90, version=9), one(Kind.WRAPPED_UP, 5, version=6)]
    states, outputs = fold([*again, *again], {key: hour})
    assert outputs == []
    assert {p: t for p, t in states[key].totals.items() if any(t)} == wanted


def test_a_call_that_comes_out_of_hours_is_not_offered() -> None:
    code = LiveKpis(target_s=20)

    def decoded(reason: str, waited: int) -> str:
        told = {"action": "OVERFLOW_CLOSE", "queue_id": "sales", "waited": f"{waited}s"}
        [event] = call_stream("acme", "c1", (0, "overflowed", {**told, "reason": reason}))
        return code.decode(record("call-events", event.SerializeToString()))[0]

    assert decoded("closed", 0) == SILENT
    assert decoded("closed", 60) == decoded("waited too long", 0) == live.slot("acme", MONDAY_US)


def test_an_end_alone_is_no_call_of_ours() -> None:
    assert fold([one(Kind.ENDED, 60)])[1] == []


def test_a_repeat_has_nothing_to_say() -> None:
    assert len(fold([one(Kind.CONNECTED, 5)] * 3)[1]) == 1


def test_hours_are_kept_until_a_younger_one_needs_their_slot() -> None:
    first = one(Kind.CONNECTED, 5)
    within = one(Kind.CONNECTED, 5, T0 + (live.KEEP_HOURS - 1) * HOUR, call_id="c2")
    beyond = one(Kind.CONNECTED, 5, T0 + live.KEEP_HOURS * HOUR, call_id="c3")
    ended = one(Kind.ENDED, 9)
    assert isinstance(fold([first, within, ended])[1][-1], Figures)
    states, outputs = fold([first, within, beyond, ended])
    assert outputs[-1] == Late("acme")
    assert len(states) == 2


def test_memory_is_bounded_by_the_clients_own_time() -> None:
    events = [one(Kind.CONNECTED, 5, T0 + hour * HOUR, call_id=f"c{hour}") for hour in range(1000)]
    states = fold(events)[0]
    assert len(states) == live.KEEP_HOURS
    assert all(len(state.calls) == 1 for state in states.values())


def test_facts_only_grow() -> None:
    assert live.grown(Facts(T0), one(Kind.ENDED, 4, T0 + 5)).arrived_at == T0
