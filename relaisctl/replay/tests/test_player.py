"""The pool's time in a play: fast, waiting for routing, never behind it."""

from relaisctl.replay.live import SECOND, CallReport, Decision, Ended, Kind, Queued
from relaisctl.replay.player import HOLD_AT_MOST_S, Tempo, start_of

QUEUED = CallReport("acme", "c1", 0, Queued("q", 0, ()))


def tempo() -> Tempo:
    return Tempo(starts_at=1000 * SECOND, speed=80.0, real_s=5.0)


def test_time_passes_so_many_times_as_fast() -> None:
    assert tempo().pass_to(5.5) == 1040 * SECOND


def test_time_stands_still_until_routing_has_taken_note() -> None:
    it = tempo()
    it.sent(QUEUED)
    assert it.pass_to(5.0625) == 1005 * SECOND
    assert it.pass_to(5.25) == it.pass_to(6.0) == 1005 * SECOND
    it.heard(Decision("acme/c1", 1, 1001 * SECOND, Kind.CALL_OFFERED))
    assert it.pass_to(7.0) == 1005 * SECOND
    it.heard(Decision("acme/c1", 2, 1001 * SECOND, Kind.CALL_QUEUED))
    assert it.pass_to(7.5) == 1045 * SECOND


def test_it_does_not_wait_for_ever() -> None:
    it = tempo()
    it.sent(CallReport("acme", "c1", 0, Ended()))
    it.pass_to(5.2)
    stood = it.now
    assert it.pass_to(5.1 + HOLD_AT_MOST_S) > stood


def test_it_is_never_behind_what_was_decided() -> None:
    it = tempo()
    it.heard(Decision("agent/a", 1, 2000 * SECOND, Kind.AGENT_AVAILABLE))
    assert it.now == 2000 * SECOND


def test_a_play_begins_so_far_back_that_it_ends_now() -> None:
    start = start_of(10_000 * SECOND, length=800 * SECOND, speed=80.0)
    assert start + 800 * SECOND == 10_000 * SECOND + 10 * SECOND
