"""What each command does: given these, when this, then exactly these events."""

from dataclasses import replace
from typing import Any

import pytest

from services.routing import commands as c
from services.routing import events as e
from services.routing.engine import Rejected, apply, timer_of
from services.routing.pool import FINISHED_KEPT_FOR, Pool

S = c.SECOND
FRENCH = (("fr", 3),)
LONG_AGO = 1_000_000 * S

arrived = c.ReportCallArrived("c1", c.Channel.VOICE, c.Direction.INBOUND, "line1", "")
queued = c.QueueCall("c1", "help", 0, FRENCH)
abandoned = c.ReportCallAbandoned("c1")
connected = c.ReportCallConnected("c1", "ann")
ended = c.ReportCallEnded("c1")
log_in = c.LogInAgent("ann", (("de", 5), ("fr", 4)))
available = c.MakeAgentAvailable("ann")
other_call = c.StartOtherCall("ann")
lunch = c.StartBreak("ann", "lunch")
more_wrap_up = c.StartWrapUp("ann")
log_out = c.LogOutAgent("ann", "home")
accept = c.AcceptOffer("p:1", "ann")
decline = c.DeclineOffer("p:1", "ann", "unwell")
expire = c.ExpireOffer("p:1", "ann")
finish = c.FinishWrapUp("ann", "acme/c1")

LOGGED_IN: list[c.Body] = [log_in]
READY: list[c.Body] = [log_in, available]
OFFERED: list[c.Body] = [log_in, available, arrived, queued]
ASSIGNED: list[c.Body] = [*OFFERED, accept]
TALKING: list[c.Body] = [*ASSIGNED, connected]
WRAP_UP: list[c.Body] = [*TALKING, ended]
DONE: list[c.Body] = [*WRAP_UP, available]
OTHER: list[c.Body] = [*READY, other_call]
WAITING: list[c.Body] = [arrived, queued]


def command(body: c.Body, at: int, number: int = 0) -> c.Command:
    client = "acme" if isinstance(body, c.CallCommand) else c.CENTRE
    made = c.Command("p", f"{number}-{at}-{type(body).__name__}", client, at, at, "", "", body)
    c.check(made)
    return made


def given(bodies: list[c.Body]) -> Pool:
    """A pool after these, one a second from second 1,000,000 on."""
    pool = Pool("p")
    for number, body in enumerate(bodies):
        apply(pool, command(body, LONG_AGO + number * S))
    return pool


def when(pool: Pool, body: c.Body, at: int | None = None) -> list[Any]:
    """What happens. Why an agent got a call has tests of its own (test_explained.py)."""
    made = command(body, pool.now + S if at is None else at, 1)
    return [bare(event.body) for event in apply(pool, made)]


def bare(body: Any) -> Any:
    if isinstance(body, e.CallOffered):
        return replace(body, rule="", why=None, channel=c.Channel.UNSPECIFIED)
    if isinstance(body, e.CallAssigned):
        return replace(body, why=None, channel=c.Channel.UNSPECIFIED)
    return body


T0 = LONG_AGO
OFFER_UNTIL = T0 + 3 * S + 20 * S
OFFER = e.CallOffered("p:1", "ann", "help", OFFER_UNTIL, "")
RESERVED = e.AgentReserved("p:1", "acme/c1")
AVAILABLE = e.AgentBecameAvailable()
BREAK = e.AgentBreakStarted("lunch")
OUT = e.AgentLoggedOut("home")
ENDED = e.CallEnded(e.EndCause.COMPLETED, "ann", "help", T0 + 2 * S, S)
WRAPPED_UP = e.CallWrappedUp("ann", "help", T0 + 2 * S, S)


def withdrawn(reason: str) -> e.CallOfferWithdrawn:
    return e.CallOfferWithdrawn("p:1", "ann", reason)


ROWS: list[tuple[str, list[c.Body], c.Body, list[Any]]] = [
    # The way of a call.
    (
        "arrives",
        [],
        arrived,
        [e.CallArrived(c.Channel.VOICE, c.Direction.INBOUND, "line1", "")],
    ),
    ("waits for somebody", [arrived], queued, [e.CallQueued("help", "p", 0, FRENCH, T0)]),
    (
        "is offered at once",
        [*READY, arrived],
        queued,
        [e.CallQueued("help", "p", 0, FRENCH, T0 + 2 * S, 0), OFFER, RESERVED],
    ),
    (
        "queued without an arrival arrives too",
        [],
        queued,
        [
            e.CallArrived(c.Channel.UNSPECIFIED, c.Direction.UNSPECIFIED, "", ""),
            e.CallQueued("help", "p", 0, FRENCH, S),
        ],
    ),
    (
        "accepted",
        OFFERED,
        accept,
        [e.CallAssigned("p:1", "ann", "help"), e.AgentBecameBusy("acme/c1")],
    ),
    (
        "connected",
        ASSIGNED,
        connected,
        [e.CallConnected("ann", "help", T0 + 2 * S, 2 * S)],
    ),
    (
        "connected, whoever it is",
        ASSIGNED,
        c.ReportCallConnected("c1"),
        [e.CallConnected("ann", "help", T0 + 2 * S, 2 * S)],
    ),
    (
        "connected before the desktop has said so",
        OFFERED,
        connected,
        [
            e.CallAssigned("p:1", "ann", "help"),
            e.AgentBecameBusy("acme/c1"),
            e.CallConnected("ann", "help", T0 + 2 * S, S),
        ],
    ),
    (
        "ended",
        TALKING,
        ended,
        [ENDED, e.AgentWrapUpStarted("acme/c1", T0 + 36 * S)],
    ),
    ("available ends the wrap-up", WRAP_UP, available, [WRAPPED_UP, AVAILABLE]),
    ("a break ends the wrap-up", WRAP_UP, lunch, [WRAPPED_UP, BREAK]),
    ("a log-out ends the wrap-up", WRAP_UP, log_out, [WRAPPED_UP, OUT]),
    ("another call ends the wrap-up", WRAP_UP, other_call, [WRAPPED_UP, e.AgentBecameBusy("")]),
    (
        "more wrap-up starts the limit anew",
        WRAP_UP,
        more_wrap_up,
        [e.AgentWrapUpStarted("acme/c1", T0 + 37 * S)],
    ),
    # A customer who hangs up.
    (
        "left before the queue",
        [arrived],
        abandoned,
        [e.CallEnded(e.EndCause.LEFT_BEFORE_QUEUE, "", "", T0, 0)],
    ),
    ("abandoned", WAITING, abandoned, [e.CallAbandoned("help", T0, S)]),
    ("ended while waiting is abandoned", WAITING, ended, [e.CallAbandoned("help", T0, S)]),
    (
        "abandoned while it rings",
        OFFERED,
        abandoned,
        [withdrawn("abandoned"), e.CallAbandoned("help", T0 + 2 * S, S), AVAILABLE],
    ),
    (
        "abandoned before it was connected",
        ASSIGNED,
        abandoned,
        [e.CallAbandoned("help", T0 + 2 * S, 2 * S), AVAILABLE],
    ),
    (
        "abandoned, and the agent wants a break",
        [*ASSIGNED, lunch],
        abandoned,
        [e.CallAbandoned("help", T0 + 2 * S, 3 * S), BREAK],
    ),
    # An agent.
    ("logs in", [], log_in, [e.AgentLoggedIn(log_in.skills)]),
    (
        "logs in with other skills",
        READY,
        c.LogInAgent("ann", (("de", 1),)),
        [e.AgentLoggedIn((("de", 1),))],
    ),
    ("logs in without skills: the last ones", READY, c.LogInAgent("ann", ()), []),
    (
        "logs in the next day without skills",
        [*READY, log_out],
        c.LogInAgent("ann", ()),
        [e.AgentLoggedIn(log_in.skills)],
    ),
    ("desktop started again", READY, log_in, []),
    ("available", LOGGED_IN, available, [AVAILABLE]),
    ("available, and somebody waits", [*WAITING, log_in], available, [AVAILABLE, "offer"]),
    ("available already", READY, available, []),
    ("available while it rings", OFFERED, available, []),
    ("on a break", READY, lunch, [BREAK]),
    ("on the same break", [*READY, lunch], lunch, []),
    (
        "on another break",
        [*READY, lunch],
        c.StartBreak("ann", "training"),
        [e.AgentBreakStarted("training")],
    ),
    ("on another call", READY, other_call, [e.AgentBecameBusy("")]),
    ("on another call still", OTHER, other_call, []),
    ("back from another call", OTHER, available, [AVAILABLE]),
    ("wraps up another call", OTHER, more_wrap_up, [e.AgentWrapUpStarted("", T0 + 33 * S)]),
    ("logs out", READY, log_out, [OUT]),
    ("logs out again", [*READY, log_out], log_out, []),
    # An agent who is offered a call and does something else: it goes back to its place.
    (
        "declines",
        OFFERED,
        decline,
        [e.CallOfferDeclined("p:1", "ann", "unwell"), e.AgentBreakStarted("declined")],
    ),
    ("break while it rings", OFFERED, lunch, [withdrawn("agent on a break"), BREAK]),
    ("log-out while it rings", OFFERED, log_out, [withdrawn("agent logged out"), OUT]),
    ("log-out before it is connected", ASSIGNED, log_out, [withdrawn("agent logged out"), OUT]),
    (
        "another call while it rings",
        OFFERED,
        other_call,
        [withdrawn("agent on another call"), e.AgentBecameBusy("")],
    ),
    # An agent who talks: wishes come true after the call.
    ("break during a call", TALKING, lunch, []),
    ("log-out during a call", TALKING, log_out, []),
    ("desktop says on a call", TALKING, other_call, []),
    ("desktop says wrap-up first", TALKING, more_wrap_up, []),
    (
        "log-out asked for during the call",
        [*TALKING, log_out],
        ended,
        [e.CallEnded(e.EndCause.COMPLETED, "ann", "help", T0 + 2 * S, 2 * S), OUT],
    ),
    # Repeats.
    ("arrived twice", [arrived], arrived, []),
    ("queued twice", WAITING, queued, []),
    ("connected twice", TALKING, connected, []),
    ("ended twice", WRAP_UP, ended, []),
    ("accepted twice", ASSIGNED, accept, []),
    *[
        (f"{type(body).__name__} of a call that is over", DONE, body, [])
        for body in (arrived, queued, abandoned, connected, ended)
    ],
    # Timers that were overtaken.
    ("expiry after the answer", ASSIGNED, expire, []),
    ("expiry of nobody's", [], expire, []),
    ("end of no wrap-up", READY, finish, []),
    ("end of another wrap-up", WRAP_UP, c.FinishWrapUp("ann", "acme/c2"), []),
    ("too early an end of wrap-up", WRAP_UP, finish, []),
    (
        "settings",
        [],
        c.ConfigurePool(5, 5, 2.0),
        [e.PoolConfigured(1, 5, 5, 2.0, "longest-idle", 1, 60, (), ("supervisors",))],
    ),
]


@pytest.mark.parametrize(
    ("before", "body", "then"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS]
)
def test_row(before: list[c.Body], body: c.Body, then: list[Any]) -> None:
    pool = given(before)
    bodies = when(pool, body)
    if "offer" in then:
        at = then.index("offer")
        assert isinstance(bodies[at], e.CallOffered)
        assert isinstance(bodies[at + 1], e.AgentReserved)
        bodies, then = bodies[:at], then[:at]
    assert bodies == then


REJECTED: list[tuple[str, list[c.Body], c.Body, str]] = [
    ("abandoned, call unknown", [], abandoned, "call_id"),
    ("connected, call unknown", [], connected, "call_id"),
    ("ended, call unknown", [], ended, "call_id"),
    ("queued elsewhere", WAITING, c.QueueCall("c1", "sales", 0, FRENCH), "queue_id"),
    ("abandoned while talking", TALKING, abandoned, "call_id"),
    ("connected to nobody", WAITING, connected, "agent_id"),
    ("connected to the wrong agent", ASSIGNED, c.ReportCallConnected("c1", "bob"), "agent_id"),
    ("available, not logged in", [], available, "agent_id"),
    ("available, logged out", [log_in, log_out], available, "agent_id"),
    ("break, not logged in", [], lunch, "agent_id"),
    ("other call, not logged in", [], other_call, "agent_id"),
    ("log-out of nobody", [], log_out, "agent_id"),
    ("nothing to wrap up", LOGGED_IN, more_wrap_up, "agent_id"),
    ("wrap-up while it rings", OFFERED, more_wrap_up, "agent_id"),
    ("new skills during a call", TALKING, c.LogInAgent("ann", (("de", 1),)), "skills"),
    ("accepts what nobody offered", READY, accept, "offer_id"),
    ("accepts somebody else's offer", OFFERED, c.AcceptOffer("p:1", "bob"), "offer_id"),
    ("declines what nobody offered", READY, decline, "offer_id"),
    ("declines what was accepted", ASSIGNED, decline, "offer_id"),
    ("expiry before its time", OFFERED, expire, "occurred_at"),
]


@pytest.mark.parametrize(
    ("before", "body", "field"), [row[1:] for row in REJECTED], ids=[row[0] for row in REJECTED]
)
def test_rejected(before: list[c.Body], body: c.Body, field: str) -> None:
    pool, untouched = given(before), given(before)
    with pytest.raises(Rejected) as error:
        when(pool, body)
    assert error.value.field == field
    assert pool == untouched


def test_offer_expires_and_the_call_keeps_its_place() -> None:
    pool = given([*OFFERED, c.ReportCallArrived("c2"), c.QueueCall("c2", "help", 0, FRENCH)])
    timer = timer_of(pool, "acme/c1")
    assert timer is not None
    assert timer.due == OFFER_UNTIL
    assert when(pool, timer.body, timer.due) == [
        e.CallOfferExpired("p:1", "ann"),
        e.AgentStoppedResponding("p:1", "acme/c1"),
    ]
    assert timer_of(pool, "acme/c1") is None
    bodies = when(pool, available)
    assert isinstance(bodies[1], e.CallOffered)
    assert bodies[2] == e.AgentReserved("p:2", "acme/c1"), "c1 has waited longer than c2"


def test_wrap_up_ends_by_itself() -> None:
    pool = given(WRAP_UP)
    timer = timer_of(pool, "agent/ann")
    assert timer is not None
    assert timer.due == T0 + 36 * S
    assert when(pool, timer.body, timer.due) == [
        e.CallWrappedUp("ann", "help", T0 + 2 * S, 30 * S),
        AVAILABLE,
    ]


def test_a_longer_wrap_up_outlives_its_first_timer() -> None:
    pool = given(WRAP_UP)
    first = timer_of(pool, "agent/ann")
    when(pool, more_wrap_up)
    assert first is not None
    assert when(pool, first.body, first.due) == []
    second = timer_of(pool, "agent/ann")
    assert second is not None
    assert second.due == first.due + S
    assert len(when(pool, second.body, second.due)) == 2


def test_a_break_asked_for_on_a_call_begins_after_the_wrap_up() -> None:
    pool = given([*TALKING, lunch, ended])
    timer = timer_of(pool, "agent/ann")
    assert timer is not None
    assert when(pool, timer.body, timer.due)[-1] == BREAK


def test_priority_then_wait_then_idle() -> None:
    pool = Pool("p")
    at = LONG_AGO
    for name, priority in (("low", 0), ("high", 9), ("high-later", 9), ("nobody-can", 99)):
        required = (("es", 1),) if name == "nobody-can" else FRENCH
        apply(pool, command(c.ReportCallArrived(name), at))
        apply(pool, command(c.QueueCall(name, "help", priority, required), at))
        at += S
    offered = []
    for agent in ("ann", "bob", "cat"):
        apply(pool, command(c.LogInAgent(agent, (("fr", 3),)), at))
        events = apply(pool, command(c.MakeAgentAvailable(agent), at))
        offered += [event.call_id for event in events if isinstance(event.body, e.CallOffered)]
    assert offered == ["high", "high-later", "low"]
    for agent in ("dan", "eve"):
        at += S
        apply(pool, command(c.LogInAgent(agent, (("fr", 3),)), at))
        apply(pool, command(c.MakeAgentAvailable(agent), at))
    events = apply(pool, command(c.QueueCall("next", "help", 0, FRENCH), at))
    assert events[-1].body == e.AgentReserved("p:4", "acme/next")
    assert events[-1].stream_id == "agent/dan", "dan has been idle longer than eve"


def test_late_reports_count_the_true_wait_at_the_true_place() -> None:
    pool = given([c.ReportCallArrived("c2"), c.QueueCall("c2", "help", 0, FRENCH)])
    assert when(pool, arrived, LONG_AGO - 100 * S) != []
    assert when(pool, queued, LONG_AGO - 90 * S) != []
    when(pool, log_in)
    offered = apply(pool, command(available, pool.now + S))[1].body
    assert isinstance(offered, e.CallOffered)
    assert offered.why is not None
    assert offered.why.waited == 93 * S


def test_stale_and_repeated_reports_of_an_agent() -> None:
    pool = given([log_in, available, lunch])
    assert when(pool, available, LONG_AGO + S) == [], "older than the break"
    again = command(lunch, LONG_AGO + 2 * S)
    assert apply(pool, again) == []
    # The same instant, another report: it counts, and once.
    back = command(available, LONG_AGO + 2 * S)
    assert [event.body for event in apply(pool, back)] == [AVAILABLE]
    assert apply(pool, back) == []
    assert apply(pool, again) == []


def test_settings_have_their_own_time() -> None:
    pool = given([arrived])
    when(pool, c.ConfigurePool(5, 7, 60.0), 50 * LONG_AGO)
    assert pool.now == LONG_AGO
    when(pool, c.ConfigurePool(1, 1, 1.0), 49 * LONG_AGO)
    assert (pool.settings.offer_seconds, pool.settings.clock_speed) == (5, 60.0)


def test_finished_calls_are_forgotten_without_coming_back() -> None:
    pool = given([arrived, abandoned])
    later = pool.now + FINISHED_KEPT_FOR + 5 * S
    when(pool, c.ReportCallArrived("c2"), later)
    when(pool, c.ReportCallAbandoned("c2"), later)
    assert list(pool.finished) == ["acme/c2"]
    for body, at in ((arrived, LONG_AGO), (queued, LONG_AGO + S), (abandoned, LONG_AGO + S)):
        with pytest.raises(Rejected, match="older than what the pool remembers"):
            when(pool, body, at)
    assert when(pool, c.ReportCallArrived("c3"), LONG_AGO + 2 * S) != []


def test_number_of_remembered_calls_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.routing.pool.FINISHED_KEPT", 10)
    pool = given([])
    for number in range(30):
        apply(pool, command(c.ReportCallArrived(f"n{number}"), LONG_AGO + number))
        apply(pool, command(c.ReportCallAbandoned(f"n{number}"), LONG_AGO + number))
    assert list(pool.finished) == [f"acme/n{number}" for number in range(20, 30)]
    assert pool.forgotten_until == LONG_AGO + 19
    assert pool.calls == {}
