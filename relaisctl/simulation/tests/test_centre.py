"""Small days, worked out by hand."""

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from relaisctl.simulation import centre
from relaisctl.simulation.centre import Result
from relaisctl.simulation.estimates import Caller
from relaisctl.simulation.recorded import SECOND
from relaisctl.simulation.roster import Shift
from relaisctl.simulation.tests.support import SKILLS, T0, caller, rules, shift
from services.routing.policies import POLICIES


def run(callers: list[Caller], *shifts: Shift) -> Result:
    return centre.run(callers, shifts, T0, rules())


def seen(result: Result) -> list[tuple[float | None, str]]:
    """(seconds waited, agent) of each caller."""
    return [
        (None if one.waited is None else one.waited / SECOND, one.agent) for one in result.outcomes
    ]


def work(result: Result, agent_id: str) -> tuple[float, float]:
    """Seconds (staffed, busy)."""
    done = result.work[agent_id]
    return done.staffed / SECOND, done.busy / SECOND


def test_calls_wait_for_the_agent_and_for_the_wrap_up() -> None:
    result = run(
        [caller(10, 60, wrap_up=5), caller(20, 60, wrap_up=5), caller(200, 60, wrap_up=5)],
        shift("ana", 0, 1000),
    )
    assert seen(result) == [(0, "ana"), (55, "ana"), (0, "ana")]
    assert work(result, "ana") == (1000, 3 * 65)


def test_without_wrap_ups_the_next_call_follows_at_once() -> None:
    result = run([caller(10, 60), caller(20, 60)], shift("ana", 0, 1000))
    assert seen(result) == [(0, "ana"), (50, "ana")]


def test_patience_ends_the_wait_and_an_end_at_the_same_moment_is_in_time() -> None:
    result = run(
        [caller(10, 60), caller(20, 60, patience=49), caller(20, 60, patience=50)],
        shift("ana", 0, 1000),
    )
    assert seen(result) == [(0, "ana"), (49, ""), (50, "ana")]


def test_endless_patience_and_nobody_there() -> None:
    assert seen(run([caller(10, 60)])) == [(None, "")]


def test_a_priority_goes_first() -> None:
    result = run([caller(10, 60), caller(20, 60), caller(30, 60, priority=1)], shift("ana", 0, 999))
    assert seen(result) == [(0, "ana"), (110, "ana"), (40, "ana")]


def test_the_agent_who_has_been_idle_longest_is_next() -> None:
    result = run([caller(10, 10), caller(30, 10)], shift("ana", 0, 99), shift("bea", 5, 99))
    assert seen(result) == [(0, "ana"), (0, "bea")]


def test_a_shift_ends_with_the_work_on_the_call_that_it_ends_in() -> None:
    result = run([caller(10, 60, wrap_up=9), caller(20, 5, patience=500)], shift("ana", 0, 30))
    assert seen(result) == [(0, "ana"), (500, "")]
    assert work(result, "ana") == (79, 69)


def test_a_break_waits_for_the_wrap_up_and_keeps_its_length() -> None:
    result = run(
        [caller(10, 60, wrap_up=5), caller(20, 10, wrap_up=5)], shift("ana", 0, 500, (30, 100))
    )
    # Away from 75 to 175, then the one who has waited since 20.
    assert seen(result) == [(0, "ana"), (155, "ana")]
    assert work(result, "ana") == (400, 65 + 15)


def test_a_break_without_wrap_ups_comes_before_the_next_call() -> None:
    result = run([caller(10, 60), caller(20, 10)], shift("ana", 0, 500, (30, 100)))
    assert seen(result) == [(0, "ana"), (150, "ana")]


def test_an_idle_agent_takes_the_break_at_once() -> None:
    result = run([caller(50, 10)], shift("ana", 0, 500, (30, 100)))
    assert seen(result) == [(80, "ana")]


def test_a_break_that_begins_in_another_one_follows_it() -> None:
    result = run([caller(50, 10)], shift("ana", 0, 500, (30, 100), (40, 50)))
    assert seen(result) == [(130, "ana")]
    assert work(result, "ana") == (350, 10)


def test_shifts_that_touch_are_one_and_an_empty_one_is_none() -> None:
    result = run(
        [caller(90, 20), caller(120, 10), caller(250, 10, patience=1)],
        shift("ana", 0, 100),
        shift("ana", 100, 200),
        shift("bea", 240, 240),
    )
    assert seen(result) == [(0, "ana"), (0, "ana"), (1, "")]
    assert work(result, "ana") == (200, 30)


def test_agents_serve_their_queues_alone() -> None:
    result = centre.run(
        [caller(10, 60, 99, queue="r"), caller(20, 60, 99)],
        [Shift("ana", 0, 500, SKILLS)],
        T0,
        rules("q", "r"),
    )
    assert seen(result) == [(99, ""), (0, "ana")]


days = st.tuples(
    st.lists(
        st.tuples(
            st.integers(0, 300), st.integers(0, 80), st.integers(0, 90) | st.none(),
            st.integers(0, 1), st.integers(0, 20),
        ),
        min_size=1,
        max_size=25,
    ),
    st.lists(
        st.tuples(
            st.integers(0, 100), st.integers(0, 400), st.integers(0, 300), st.integers(1, 50)
        ),
        max_size=4,
    ),
    st.sampled_from(list(POLICIES)),
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(days)
def test_what_holds_on_any_day(
    made: tuple[list[tuple[int, ...]], list[tuple[int, ...]], str],
) -> None:
    rows, agents, policy = made
    callers = [
        caller(at, service, patience, priority=priority, wrap_up=wrap_up)
        for at, service, patience, priority, wrap_up in sorted(rows, key=lambda row: row[0])
    ]
    shifts = [
        shift(f"a{n}", begins, begins + length, (begins + after, pause))
        for n, (begins, length, after, pause) in enumerate(agents)
    ]
    result = centre.run(callers, shifts, T0, rules(policy=policy))
    assert centre.run(callers, shifts, T0, rules(policy=policy)) == result
    talks: dict[str, list[tuple[int, int]]] = {}
    for one, outcome in zip(callers, result.outcomes, strict=True):
        if outcome.agent:
            assert outcome.waited is not None
            assert one.patience is None or outcome.waited <= one.patience
            begins = one.queued_at + outcome.waited
            talks.setdefault(outcome.agent, []).append((begins, begins + one.service))
        else:
            assert outcome.waited == one.patience
    for agent_id, own in talks.items():
        own.sort()
        assert all(before[1] <= after[0] for before, after in pairwise(own))
        done = result.work[agent_id]
        assert sum(end - begin for begin, end in own) <= done.busy <= done.staffed
