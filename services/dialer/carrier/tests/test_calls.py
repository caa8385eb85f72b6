"""The life of one call: what is said of known numbers, and what holds for all."""

import math
from dataclasses import replace
from itertools import pairwise
from statistics import median
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.dialer.carrier.calls import (
    Answered,
    Call,
    Connect,
    Connected,
    GreetingEnded,
    MessageStarted,
    OnMachine,
    Over,
    Result,
    Ringing,
    What,
    Who,
    Why,
    draw,
    life,
)
from services.dialer.carrier.loading import load_scenario
from services.dialer.carrier.scenario import Detection, Fate, Numbers, Scenario, Spread

S = 1_000_000
DIALLED_AT = 1_790_000_000 * S
WAIT = 2 * S

EXACT = Scenario(
    human=(1.0,) * 24,
    setup=Spread(1),
    rings=Spread(5),
    machine_rings=Spread(12),
    greeting=Spread(1.5),
    machine_greeting=Spread(8),
    detection=Detection(takes=Spread(1)),
    patience=Spread(30),
    talk=Spread(60),
    machine_talk=Spread(4),
    message=Spread(10),
    callback=1.0,
    fates={f"+3300000000{number}": fate for number, fate in enumerate(Fate)},
)
CALL = Call("acme", "c-1", "+33612345678", 25 * S, True, WAIT, "sorry", machine_message="hello")


def number(fate: Fate) -> str:
    return next(number for number, its in EXACT.fates.items() if its is fate)


def lived(
    connects: tuple[Connect, ...] = (),
    hung_up_at: int | None = None,
    scenario: Scenario = EXACT,
    **call: Any,
) -> list[tuple[float, What]]:
    """Seconds since it was dialled."""
    asked = replace(CALL, **call)
    results = life(asked, draw(asked, scenario, 1, 12), DIALLED_AT, connects, hung_up_at)
    return [((result.at - DIALLED_AT) / S, result.what) for result in results]


def at(seconds: float) -> int:
    return DIALLED_AT + round(seconds * S)


HUMAN = [(1, Ringing()), (7, Answered(Who.HUMAN)), (7.5, GreetingEnded())]
PLAYED = [
    (9.5, MessageStarted("sorry")),
    (19.5, Over(Why.MESSAGE_PLAYED, callback_wanted=True)),
]
TALKED = "hung up by the called person"


def test_nobody_comes() -> None:
    assert lived() == [*HUMAN, *PLAYED]


@pytest.mark.parametrize(
    ("comes", "joined"),
    [(0, 7.5), (6, 7.5), (7.5, 7.5), (8, 8), (9.499999, 9.499999)],
)
def test_an_agent_comes_in_time(comes: float, joined: float) -> None:
    assert lived((Connect(at(comes), "a-1"),)) == [
        *HUMAN,
        (joined, Connected("a-1")),
        (joined + 60, Over(Why.HUNG_UP, TALKED)),
    ]


@pytest.mark.parametrize("comes", [9.5, 10, 100])
def test_an_agent_comes_too_late(comes: float) -> None:
    assert lived((Connect(at(comes), "a-1"),)) == [*HUMAN, *PLAYED]


def test_the_first_agent_has_it() -> None:
    connects = (Connect(at(3), "a-1"), Connect(at(7), "a-2"))
    assert lived(connects)[3] == (7.5, Connected("a-1"))


def test_a_message_needs_no_agent() -> None:
    assert lived((Connect(at(3), "a-1"),), wait_us=None, message="news") == [
        *HUMAN,
        (7.5, MessageStarted("news")),
        (17.5, Over(Why.MESSAGE_PLAYED, callback_wanted=True)),
    ]


@pytest.mark.parametrize(
    ("fate", "then"),
    [
        (Fate.BUSY, [(1, Over(Why.BUSY, "user busy"))]),
        (Fate.UNOBTAINABLE, [(1, Over(Why.UNOBTAINABLE, "unallocated number"))]),
        (Fate.CARRIER_ERROR, [(1, Over(Why.CARRIER_ERROR, "no circuit available"))]),
        (Fate.NO_ANSWER, [(1, Ringing()), (26, Over(Why.NO_ANSWER, "no answer"))]),
        (
            Fate.FAX,
            [(1, Ringing()), (7, Answered(Who.FAX)), (7, Over(Why.RELEASED, "fax"))],
        ),
        (
            Fate.MACHINE,
            [
                (1, Ringing()),
                (14, Answered(Who.MACHINE)),
                (14, Over(Why.RELEASED, "answering machine")),
            ],
        ),
        (
            Fate.HANGS_UP,
            [
                (1, Ringing()),
                (7, Answered(Who.HUMAN)),
                (7, Over(Why.HUNG_UP, "hung up in the greeting")),
            ],
        ),
        (Fate.HUMAN, [*HUMAN, *PLAYED]),
    ],
)
def test_numbers_with_a_fate(fate: Fate, then: list[tuple[float, What]]) -> None:
    nobody = replace(EXACT, human=(0.0,) * 24, callback=1.0)
    assert lived(to=number(fate), scenario=nobody) == then


def test_what_is_left_on_a_machine() -> None:
    left = lived(to=number(Fate.MACHINE), on_machine=OnMachine.LEAVE_MESSAGE)
    assert left[1:] == [
        (14, Answered(Who.MACHINE)),
        (21, MessageStarted("hello")),
        (31, Over(Why.MESSAGE_PLAYED)),
    ]


def test_a_machine_as_a_person() -> None:
    came = (Connect(at(14.5), "a-1"),)
    as_person = lived(came, to=number(Fate.MACHINE), on_machine=OnMachine.AS_PERSON)
    assert as_person[1:] == [
        (14, Answered(Who.MACHINE)),
        (21, GreetingEnded()),
        (21, Connected("a-1")),
        (25, Over(Why.HUNG_UP, TALKED)),
    ]


def test_without_detection_nothing_is_told() -> None:
    came = (Connect(at(14.5), "a-1"),)
    heard = lived(came, to=number(Fate.MACHINE), detect_machines=False)
    assert heard[1] == (13, Answered(Who.UNKNOWN))
    assert heard[2] == (21, GreetingEnded())


@pytest.mark.parametrize("error", ["human_as_machine", "human_as_unknown", "machine_as_human"])
def test_detection_may_be_wrong(error: str) -> None:
    wrong = replace(
        EXACT,
        detection=replace(EXACT.detection, **{error: 1.0}),
        human=((0.0 if error.startswith("machine") else 1.0),) * 24,
        numbers=Numbers(machine=1.0),
    )
    told = error.rsplit("_", 1)[1]
    assert (told in ("human", "unknown")) == any(
        isinstance(what, GreetingEnded) for _, what in lived(scenario=wrong)
    )
    assert lived(scenario=wrong)[1][1] == Answered(Who(told))


@pytest.mark.parametrize(
    ("when", "happened"),
    [(0.5, 0), (1, 1), (7.2, 2), (8, 3), (9.5, 4), (19, 4)],
)
def test_the_dialer_hangs_up(when: float, happened: int) -> None:
    released = (when, Over(Why.RELEASED, "hung up by the dialer"))
    assert lived(hung_up_at=at(when)) == [*[*HUMAN, *PLAYED][:happened], released]


def test_impatience() -> None:
    scenario = replace(EXACT, patience=Spread(1.2))
    assert lived(scenario=scenario)[3:] == [
        (8.7, Over(Why.HUNG_UP, "hung up before an agent was there"))
    ]
    scenario = replace(EXACT, patience=Spread(3))
    assert lived(scenario=scenario)[4:] == [(10.5, Over(Why.HUNG_UP, "hung up in the message"))]


def test_it_rings_for_so_long() -> None:
    assert lived(ring_for_us=4 * S)[1:] == [(5, Over(Why.NO_ANSWER, "no answer"))]


# What holds for all.

DEFAULT = load_scenario()
SCENARIOS = st.builds(
    lambda at_once, patience, detection, fates: replace(
        DEFAULT,
        human=(0.7,) * 24,
        at_once=at_once,
        patience=Spread(patience, 0.8),
        detection=replace(DEFAULT.detection, takes=Spread(detection, 0.5)),
        fates=fates,
    ),
    st.sampled_from([0.0, 0.5]),
    st.sampled_from([0.5, 3.0, 60.0]),
    st.sampled_from([0.1, 1.0, 5.0]),
    st.dictionaries(st.just(CALL.to), st.sampled_from(Fate), max_size=1),
)
CALLS = st.builds(
    lambda key, ring, detects, wait, on_machine: replace(
        CALL,
        call_id=str(key),
        ring_for_us=ring * S,
        detect_machines=detects,
        wait_us=wait,
        on_machine=on_machine,
    ),
    st.integers(0, 10_000),
    st.integers(1, 60),
    st.booleans(),
    st.sampled_from([None, 0, WAIT]),
    st.sampled_from(OnMachine),
)
CONNECTS = st.lists(
    st.tuples(st.integers(0, 60 * S), st.sampled_from(["a-1", "a-2", "a-3"])), max_size=4
).map(lambda some: [Connect(DIALLED_AT + when, agent) for when, agent in sorted(some)])
SEEDS, HOURS = st.integers(0, 1000), st.integers(0, 23)


@given(CALLS, SCENARIOS, SEEDS, HOURS, CONNECTS, st.none() | st.integers(0, 90 * S))
@settings(max_examples=400, deadline=None)
def test_every_life_is_one(
    call: Call,
    scenario: Scenario,
    seed: int,
    hour: int,
    connects: list[Connect],
    hung_up: int | None,
) -> None:
    drawn = draw(call, scenario, seed, hour)
    assert drawn == draw(call, scenario, seed, hour)
    results = life(
        call, drawn, DIALLED_AT, connects, None if hung_up is None else DIALLED_AT + hung_up
    )
    times = [DIALLED_AT, *(result.at for result in results)]
    assert all(later >= earlier for earlier, later in pairwise(times))
    kinds = [type(result.what) for result in results]
    assert kinds[-1] is Over
    assert kinds.count(Over) == 1
    assert len(set(kinds)) == len(kinds)
    order = [Ringing, Answered, GreetingEnded, Connected, MessageStarted, Over]
    assert kinds == [kind for kind in order if kind in kinds]
    # Exactly one of the two, or neither.
    assert not {Connected, MessageStarted} <= set(kinds)
    found = {type(result.what): result for result in results}
    if Connected in found:
        assert call.wait_us is not None
        assert 0 <= found[Connected].at - found[GreetingEnded].at < call.wait_us
    if MessageStarted in found and GreetingEnded in found:
        assert found[MessageStarted].at - found[GreetingEnded].at == (call.wait_us or 0)
    if GreetingEnded in found:
        assert Answered in found


@given(CALLS, SCENARIOS, SEEDS, CONNECTS, st.data())
@settings(max_examples=400, deadline=None)
def test_what_is_added_changes_nothing_of_the_past(
    call: Call, scenario: Scenario, seed: int, connects: list[Connect], data: st.DataObject
) -> None:
    drawn = draw(call, scenario, seed, 12)
    before = life(call, drawn, DIALLED_AT, connects)
    first = connects[-1].at if connects else DIALLED_AT
    now = data.draw(st.integers(first, max(first, before[-1].at)))
    past = [result for result in before if result.at <= now]

    def after(results: tuple[Result, ...]) -> list[Result]:
        return list(results[: len(past)])

    assert after(life(call, drawn, DIALLED_AT, [*connects, Connect(now, "a-9")])) == past
    assert after(life(call, drawn, DIALLED_AT, connects, now)) == past


def test_shares_and_times_are_those_of_the_scenario() -> None:
    many = 20_000
    drawn = [
        draw(replace(CALL, call_id=str(n), to=f"+3361{n}"), DEFAULT, 3, 18) for n in range(many)
    ]

    def near(found: int, share: float, of: int = many) -> None:
        # Four standard deviations: never by chance, with a fixed seed.
        assert abs(found / of - share) < 4 * math.sqrt(share * (1 - share) / of)

    near(
        sum(d.fails is not None and d.fails.why is Why.CARRIER_ERROR for d in drawn), DEFAULT.errors
    )
    left = 1 - DEFAULT.errors
    near(
        sum(d.fails is not None and d.fails.why is Why.UNOBTAINABLE for d in drawn),
        DEFAULT.numbers.unobtainable * left,
    )
    left *= 1 - DEFAULT.numbers.unobtainable - DEFAULT.numbers.fax
    near(sum(d.fails is not None and d.fails.why is Why.BUSY for d in drawn), DEFAULT.busy * left)
    left *= 1 - DEFAULT.busy
    humans = [d for d in drawn if d.who is Who.HUMAN]
    near(len(humans), DEFAULT.human[18] * left)
    near(
        sum(d.told is Who.MACHINE for d in humans), DEFAULT.detection.human_as_machine, len(humans)
    )
    near(sum(d.callback for d in humans), DEFAULT.callback, len(humans))
    for name, spread in (("ring_us", DEFAULT.rings), ("talk_us", DEFAULT.talk)):
        assert median(getattr(d, name) for d in humans) / S == pytest.approx(
            spread.median_s, rel=0.05
        )


def test_a_number_is_what_it_is_at_each_call() -> None:
    scenario = replace(EXACT, numbers=Numbers(unobtainable=0.3, fax=0.3))
    for n in range(100):
        called = {
            (d.fails, d.who is Who.FAX)
            for attempt in range(5)
            if (d := draw(replace(CALL, to=f"+3361{n}", call_id=str(attempt)), scenario, 5, 1))
        }
        assert len(called) == 1


def test_speed_makes_everything_shorter_and_nothing_else() -> None:
    fast = replace(DEFAULT, speed=10.0)
    for n in range(200):
        call = replace(CALL, call_id=str(n), to=f"+3361{n}")
        slow_one, fast_one = draw(call, DEFAULT, 3, 18), draw(call, fast, 3, 18)
        assert (slow_one.fails, slow_one.who, slow_one.told) == (
            fast_one.fails,
            fast_one.who,
            fast_one.told,
        )
        for name in ("setup_us", "ring_us", "greeting_us", "talk_us", "message_us"):
            assert getattr(fast_one, name) == pytest.approx(getattr(slow_one, name) / 10, abs=1)
