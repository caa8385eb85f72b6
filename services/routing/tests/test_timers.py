"""Which timers run, on this machine's clock, for what a pool says by its own."""

from services.routing import codec
from services.routing import commands as c
from services.routing.configuration import Overflow, Queue, Step
from services.routing.engine import apply
from services.routing.stream import timer_message
from services.routing.tests.test_codec import Stored
from services.routing.tests.test_engine import OFFERED, TALKING, S, command, ended, given
from services.routing.timers import AGAIN_S, Timers

STEPS = Queue(
    "help",
    steps=(
        Step(10, Overflow.OFFER_CALLBACK),
        Step(20, Overflow.RELAX_SKILL, "fr"),
        Step(30, Overflow.CLOSE),
    ),
)


def due(timers: Timers, now: float) -> list[c.TimerCommand]:
    return [each.timer.body for each in timers.due(now)]


def test_an_offer_expires_by_this_clock_and_is_told_again() -> None:
    pool, timers = given(OFFERED), Timers()
    timers.begin(pool, 100.0)
    assert due(timers, 119.9) == []
    assert due(timers, 120.0) == [c.ExpireOffer("p:1", "ann")]
    assert due(timers, 120.1) == []
    assert due(timers, 120.0 + AGAIN_S) == [c.ExpireOffer("p:1", "ann")]


def test_one_that_runs_goes_on_unless_the_pool_begins_anew() -> None:
    pool, timers = given(OFFERED), Timers()
    timers.begin(pool, 100.0)
    timers.set_all(pool, 110.0)
    timers.set(pool, "acme/c1", 110.0)
    assert len(timers.due(120.0)) == 1
    timers.begin(pool, 110.0)
    assert timers.due(129.0) == []
    assert len(timers.due(130.0)) == 1


def test_a_quicker_pool_has_shorter_timers() -> None:
    pool, timers = given(OFFERED), Timers()
    pool.settings.clock_speed = 10.0
    timers.begin(pool, 0.0)
    assert len(timers.due(2.0)) == 1


def test_an_agent_has_the_first_of_several() -> None:
    pool, timers = given([*TALKING, ended, c.ReportConnectionLost("ann")]), Timers()
    timers.begin(pool, 0.0)
    assert due(timers, 29.0) == [c.FinishWrapUp("ann", "acme/c1")]
    apply(pool, command(c.FinishWrapUp("ann", "acme/c1"), pool.now + 30 * S))
    timers.set(pool, "agent/ann", 30.0)
    assert due(timers, 59.9) == []
    assert due(timers, 60.0) == [c.LogOutLostAgent("ann")]


def test_steps_follow_each_other_whether_they_say_something_or_not() -> None:
    pool, timers = given([c.QueueCall("c1", "help")]), Timers()
    pool.queue("acme/help").config = STEPS
    timers.begin(pool, 0.0)
    apply(pool, command(c.AcceptCallback("c1"), pool.now))
    seen = 0
    for now in (10.0, 20.0, 30.0):
        for each in timers.due(now):
            seen += 1
            made = command(each.timer.body, each.timer.due)
            assert isinstance(made.body, c.AdvanceCall)
            apply(pool, made)
            timers.set(pool, "acme/c1", now)
    assert seen == 3
    assert pool.calls["acme/c1"].step == 3, "a callback is not offered again, and never closed"
    assert timers.due(1e9) == []


def test_who_is_no_longer_held_has_none() -> None:
    pool, other, timers = given(OFFERED), given(OFFERED), Timers()
    other.pool_id = "other"
    timers.begin(pool, 0.0)
    timers.begin(other, 0.0)
    timers.drop(pool)
    assert [each.pool.pool_id for each in timers.due(20.0)] == ["other"]


def test_what_is_sent() -> None:
    """The same timer has the same id, whoever sends it; another one has another."""
    pool, timers = given(OFFERED), Timers()
    timers.begin(pool, 0.0)
    (offer,) = timers.due(20.0)
    (again,) = timers.due(20.0 + AGAIN_S)
    first, second = timer_message(offer, 7), timer_message(again, 8)
    assert first.key == second.key == b"p"
    one, two = (codec.decode_command(Stored(each.value)) for each in (first, second))
    assert one.command_id == two.command_id
    assert (one.correlation_id, one.client_id, one.actor) == ("acme/c1", "acme", codec.ROUTING)
    pool = given([*TALKING, ended])
    timers.begin(pool, 0.0)
    (wrap_up,) = timers.due(30.0)
    three = codec.decode_command(Stored(timer_message(wrap_up, 7).value))
    assert three.command_id != one.command_id
    assert three.correlation_id == "acme/c1"


def test_steps_of_one_moment_are_sent_as_different_commands() -> None:
    pool, timers = given([c.QueueCall("c1", "help")]), Timers()
    relax, widen = Step(5, Overflow.RELAX_SKILL, "fr"), Step(5, Overflow.WIDEN_GROUPS)
    pool.queue("acme/help").config = Queue("help", steps=(relax, widen))
    timers.begin(pool, 0.0)
    ids = set()
    for now in (5.0, 5.1):
        (each,) = timers.due(now)
        made = codec.decode_command(Stored(timer_message(each, 7).value))
        ids.add(made.command_id)
        apply(pool, made)
        timers.set(pool, "acme/c1", now)
    assert len(ids) == 2
