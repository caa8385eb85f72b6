"""Calls that are moved, transferred, put back, helped with and called back: each counts once."""

import random
from typing import Any

import pytest

from services.analytics.tests.events import MONDAY, Told, call_stream, client_registered
from services.analytics.tests.support import Warehouse, report

CLIENT = "routed"
RANGE = ("--from", "2026-09-01", "--to", "2026-11-01")


def arrived(queue: str = "") -> Told:
    return 0, "arrived", {"channel": "CHANNEL_VOICE", "customer_id": "k-1", "queue_id": queue}


def queued(at: int, queue: str = "sales", estimate: str = "") -> Told:
    told = {"queue_id": queue, "pool_id": "east", "priority": 1}
    return at, "queued", {**told, **({"estimated_wait": estimate} if estimate else {})}


def assigned(at: int, agent: str, policy: str = "longest-idle", rule: str = "longest wait") -> Told:
    told = {"agent_id": agent, "offer_id": "east:1", "channel": "CHANNEL_VOICE"}
    return at, "assigned", {**told, "why": {"policy": policy, "rule": rule}}


def connected(at: int, agent: str, wait: int, queue: str = "sales") -> Told:
    return at, "connected", {"agent_id": agent, "queue_id": queue, "waited": f"{wait}s"}


def moved(at: int, queue: str, to: str, step: int = 1) -> Told:
    return at, "moved", {"from_queue_id": queue, "queue_id": to, "step": step}


def transferred(at: int, agent: str, talked: int, to: str = "sales", **more: Any) -> Told:
    told = {"agent_id": agent, "from_queue_id": "sales", "queue_id": to, "talked": f"{talked}s"}
    return at, "transferred", {**told, **more}


def relaxed(at: int, what: str) -> Told:
    return at, "relaxed", {"queue_id": "sales", "step": 1, "what": what}


def overflowed(at: int, wait: int, reason: str = "waited too long", queue: str = "sales") -> Told:
    told = {"action": "OVERFLOW_VOICEMAIL", "queue_id": queue, "waited": f"{wait}s"}
    return at, "overflowed", {**told, "reason": reason}


def ended(at: int, talked: int, cause: str = "COMPLETED", held: int = 0) -> Told:
    told = {"cause": f"END_CAUSE_{cause}", "agent_id": "ann", "queue_id": "sales"}
    return at, "ended", {**told, "talked": f"{talked}s", "held": f"{held}s"}


def wrapped_up(at: int, agent: str, took: int) -> Told:
    return at, "wrapped_up", {"agent_id": agent, "wrap_up": f"{took}s"}


def helped(at: int, name: str, number: int, **more: Any) -> Told:
    return at, f"help_{name}", {"help_id": f"c~{number}", **more}


ANSWERED = (arrived(), queued(2), assigned(9, "ann"), connected(10, "ann", 8))
FIRST = {"outcome": "answered", "queue_id": "sales", "agent_id": "ann", "waited_s": 8.0}

CASES: dict[str, tuple[tuple[Told, ...], dict[str, Any]]] = {
    "answered": (
        (*ANSWERED, ended(70, 60, held=20), wrapped_up(75, "ann", 5)),
        {
            **FIRST,
            "talked_s": 60.0,
            "held_s": 20.0,
            "wrap_up_s": 5.0,
            "policy": "longest-idle",
            "rule": "longest wait",
            "pool_id": "east",
            "channel": "voice",
            "last_queue_id": "sales",
            "last_agent_id": "ann",
            "estimated_wait_s": None,
            "estimate_error_s": None,
        },
    ),
    "transferred": (
        (
            *ANSWERED,
            transferred(40, "ann", 30, "complaints", queue_id="complaints"),
            wrapped_up(45, "ann", 5),
            assigned(90, "bob", "affine"),
            connected(100, "bob", 60, "complaints"),
            ended(200, 130),
            wrapped_up(207, "bob", 7),
        ),
        {
            **FIRST,
            "handled": 1,
            "talked_s": 130.0,
            "wrap_up_s": 12.0,
            "transfers": 1,
            "warm_transfers": 0,
            "last_queue_id": "complaints",
            "last_agent_id": "bob",
            "policy": "longest-idle",
        },
    ),
    "consulted": (
        (
            *ANSWERED,
            helped(20, "requested", 1, kind="HELP_KIND_CONSULTATION", agent_id="ann"),
            helped(26, "joined", 1, kind="HELP_KIND_CONSULTATION", agent_id="cem", waited="6s"),
            transferred(40, "ann", 30, to_agent_id="cem", consulted=True),
            ended(100, 90),
        ),
        {
            **FIRST,
            "talked_s": 90.0,
            "transfers": 1,
            "warm_transfers": 1,
            "consultations": 1,
            "help_asked": 1,
            "help_joined": 1,
            "help_waited_s": 6.0,
            "last_agent_id": "cem",
        },
    ),
    "helped": (
        (
            *ANSWERED,
            helped(20, "requested", 1, kind="HELP_KIND_HELP", agent_id="ann"),
            helped(30, "ended", 1, reason="taken back"),
            helped(40, "requested", 2, kind="HELP_KIND_CONFERENCE", agent_id="ann"),
            helped(44, "joined", 2, kind="HELP_KIND_CONFERENCE", agent_id="sue", waited="4s"),
            helped(50, "ended", 2, agent_id="sue", reason="left"),
            ended(70, 60),
        ),
        {
            **FIRST,
            "help_asked": 2,
            "help_joined": 1,
            "help_waited_s": 4.0,
            "consultations": 0,
            "conferences": 1,
        },
    ),
    "requeued": (
        (
            *ANSWERED,
            (30, "requeued", {"queue_id": "sales", "agent_id": "ann", "reason": "line lost"}),
            connected(50, "bob", 20),
            ended(90, 60),
        ),
        {**FIRST, "requeues": 1, "transfers": 0, "talked_s": 60.0, "last_agent_id": "bob"},
    ),
    "requeued-before-it-was-connected": (
        (
            arrived(),
            queued(2),
            assigned(5, "bob", "affine"),
            (6, "requeued", {"queue_id": "sales", "agent_id": "bob"}),
            assigned(9, "ann", "service-level"),
            connected(10, "ann", 8),
            ended(70, 60),
        ),
        {**FIRST, "requeues": 1, "policy": "affine"},  # of its first assignment
    ),
    "left-during-a-transfer": (
        (
            *ANSWERED,
            transferred(40, "ann", 30, "complaints"),
            ended(60, 30, "LEFT_DURING_TRANSFER"),
        ),
        {**FIRST, "handled": 1, "talked_s": 30.0, "transfers": 1, "last_queue_id": "complaints"},
    ),
    "overflowed-during-a-transfer": (
        (*ANSWERED, transferred(40, "ann", 30), ended(60, 30, "OVERFLOWED_DURING_TRANSFER")),
        {**FIRST, "talked_s": 30.0, "overflowed": 0},
    ),
    "abandoned": (
        (
            arrived(),
            queued(2, estimate="9s"),
            (20, "abandoned", {"queue_id": "sales", "waited": "18s"}),
        ),
        {
            "outcome": "abandoned",
            "waited_s": 18.0,
            "estimated_wait_s": 9.0,
            "estimate_error_s": None,
            "policy": "",
        },
    ),
    "overflowed": (
        (arrived(), queued(2), overflowed(602, 600)),
        {
            "outcome": "overflowed",
            "offered": 1,
            "answered": 0,
            "abandoned": 0,
            "overflowed": 1,
            "out_of_hours": 0,
            "queue_id": "sales",
            "waited_s": 600.0,
            "overflow_action": "voicemail",
            "overflow_reason": "waited too long",
        },
    ),
    "out-of-hours": (
        (arrived(), queued(2), overflowed(2, 0, "closed")),
        {
            "outcome": "overflowed",
            "offered": 0,
            "overflowed": 1,
            "out_of_hours": 1,
            "queue_id": "sales",
            "overflow_reason": "closed",
        },
    ),
    "moved-to-a-queue-that-is-closed": (
        (
            arrived(),
            queued(2),
            moved(62, "sales", "night"),
            overflowed(62, 60, "closed", "night"),
        ),
        {"outcome": "overflowed", "offered": 1, "out_of_hours": 0, "queue_id": "sales"},
    ),
    "moved-after-a-while": (
        (
            arrived(),
            queued(2),
            relaxed(22, "english from level 4 to 2"),
            relaxed(42, "served by everybody too"),
            moved(62, "sales", "all"),
            moved(92, "all", "last"),
            connected(100, "bob", 98, "last"),
            ended(160, 60),
        ),
        {
            "queue_id": "sales",
            "outcome_queue_id": "last",
            "last_queue_id": "last",
            "waited_s": 98.0,
            "moves": 2,
            "relaxed_steps": 2,
            "sticky_in_vain": 0,
        },
    ),
    "moved-at-once": (
        (
            arrived(),
            queued(2),
            moved(2, "sales", "night", 0),
            moved(32, "night", "all"),
            connected(40, "ann", 38, "all"),
        ),
        {"queue_id": "night", "outcome_queue_id": "all", "moves": 2, "handled": 0},
    ),
    "moved-at-once-and-waits": (
        (arrived(), queued(2), moved(2, "sales", "night", 0)),
        {"outcome": "open", "queue_id": "night", "offered": 0},
    ),
    "moved-once-more-after-a-transfer": (
        (
            *ANSWERED,
            transferred(40, "ann", 30, "complaints"),
            moved(70, "complaints", "all"),
            connected(80, "bob", 40, "all"),
        ),
        {**FIRST, "outcome_queue_id": "sales", "last_queue_id": "all", "moves": 1},
    ),
    "moved-to-another-pool": (
        (
            arrived(),
            queued(2),
            (62, "moved_to_pool", {"from_queue_id": "sales", "pool_id": "west", "queue_id": "all"}),
            (62, "taken_over", {"from_pool_id": "east", "pool_id": "west", "queue_id": "all"}),
            connected(70, "wim", 68, "all"),
            ended(80, 10),
        ),
        {
            "outcome": "answered",
            "queue_id": "sales",
            "last_queue_id": "all",
            "pool_id": "east",
            "moves": 1,
        },
    ),
    "called-back": (
        (
            arrived(),
            queued(2, estimate="400s"),
            (60, "callback_offered", {"queue_id": "sales"}),
            (65, "callback_accepted", {"queue_id": "sales"}),
            (200, "callback_failed", {"queue_id": "sales", "attempt": 1, "agent_id": "bob"}),
            (500, "callback_failed", {"queue_id": "sales", "attempt": 2, "agent_id": "bob"}),
            assigned(790, "ann"),
            connected(802, "ann", 800),
            ended(900, 98),
        ),
        {
            "outcome": "answered",
            "channel": "voice",
            "callback_offered": 1,
            "callback_accepted": 1,
            "callback_attempts": 3,
            "estimate_error_s": 400.0,
        },
    ),
    "not-reached": (
        (
            arrived(),
            queued(2),
            (60, "callback_offered", {"queue_id": "sales"}),
            (65, "callback_accepted", {"queue_id": "sales"}),
            (200, "callback_failed", {"queue_id": "sales", "attempt": 1, "agent_id": "bob"}),
            overflowed(200, 198, "the customer could not be reached"),
        ),
        {"outcome": "overflowed", "offered": 1, "callback_attempts": 1},
    ),
    "no-callback-wanted": (
        (arrived(), queued(2), (60, "callback_offered", {}), connected(62, "ann", 60)),
        {"callback_offered": 1, "callback_accepted": 0, "callback_attempts": 0},
    ),
    "no-wait-expected": (
        (arrived(), queued(2, estimate="0s"), connected(10, "ann", 8), ended(20, 10)),
        {**FIRST, "estimated_wait_s": 0.0, "estimate_error_s": 8.0},
    ),
    "less-wait-than-expected": (
        (arrived(), queued(2, estimate="30s"), connected(10, "ann", 8), ended(20, 10)),
        {"estimate_error_s": -22.0},
    ),
    "waited-for-one-agent-in-vain": (
        (
            arrived(),
            queued(2),
            relaxed(8, "no longer only agent bob"),
            relaxed(9, "served by everybody too"),
            connected(10, "ann", 8),
        ),
        {**FIRST, "relaxed_steps": 1, "sticky_in_vain": 1},
    ),
    "left-before-the-queue": (
        (arrived("sales"), ended(3, 0, "LEFT_BEFORE_QUEUE")),
        {"outcome": "left_before_queue", "offered": 0, "queue_id": "sales"},
    ),
    "phantom": ((arrived(), ended(0, 0, "PHANTOM")), {"outcome": "phantom", "offered": 0}),
    "open": (
        (arrived("sales"), queued(2)),
        {"outcome": "open", "offered": 0, "queue_id": "sales", "callback_attempts": 0},
    ),
}


@pytest.fixture(scope="module")
def routed(warehouse: Warehouse) -> Warehouse:
    """All cases, an hour apart, in any order, in several batches and partly twice."""
    events = [
        event
        for number, (name, (told, _)) in enumerate(CASES.items())
        for event in call_stream(CLIENT, name, *told, at=MONDAY + number * 3600)
    ]
    random.Random(2026).shuffle(events)
    warehouse.load("client-events", [client_registered(CLIENT, "UTC")])
    third = len(events) // 3
    warehouse.ask("SYSTEM STOP MERGES call_facts")
    parts = (events[:third], events[third:], events[third // 2 : 2 * third], events[::2])
    assert warehouse.load("call-events", *parts) == []
    return warehouse


@pytest.mark.parametrize("name", CASES)
def test_a_call_counts_once(routed: Warehouse, name: str) -> None:
    wanted = CASES[name][1]
    [row] = routed.ask(
        "SELECT * FROM calls WHERE client_id = %(client)s AND call_id = %(name)s",
        client=CLIENT,
        name=name,
    )
    assert {column: row[column] for column in wanted} == wanted
    # However few columns are asked for, they are the same.
    for column, value in wanted.items():
        [alone] = routed.ask(
            f"SELECT {column} FROM calls WHERE client_id = %(client)s AND call_id = %(name)s",
            client=CLIENT,
            name=name,
        )
        assert alone == {column: value}


def test_every_call_has_exactly_one_outcome(routed: Warehouse) -> None:
    [sums] = routed.ask(
        "SELECT count() AS calls, countIf(answered + abandoned + overflowed"
        " + (outcome IN ('left_before_queue', 'phantom', 'open')) = 1) AS one,"
        " countIf(outcome = 'answered') = countIf(answered) AND"
        " countIf(outcome = 'abandoned') = countIf(abandoned) AND"
        " countIf(outcome = 'overflowed') = countIf(overflowed) AS named,"
        " countIf(offered) AS offered,"
        " countIf(answered) + countIf(abandoned) + countIf(overflowed AND NOT out_of_hours) AS sum"
        " FROM calls WHERE client_id = %(client)s",
        client=CLIENT,
    )
    assert (sums["calls"], sums["one"], sums["named"]) == (len(CASES), len(CASES), 1)
    assert sums["offered"] == sums["sum"]


def legs(routed: Warehouse, name: str) -> list[tuple[Any, ...]]:
    rows = routed.ask(
        "SELECT * FROM call_legs WHERE client_id = %(client)s AND call_id = %(name)s ORDER BY leg",
        client=CLIENT,
        name=name,
    )
    return [
        (
            row["agent_id"],
            row["queue_id"],
            row["waited_us"] // 1_000_000,
            row["talked_us"] // 1_000_000,
            row["wrap_up_us"] // 1_000_000,
            row["ended_by"],
        )
        for row in rows
    ]


def test_legs_are_who_talked_one_after_the_other(routed: Warehouse) -> None:
    assert legs(routed, "answered") == [("ann", "sales", 8, 60, 5, "ended")]
    assert legs(routed, "transferred") == [
        ("ann", "sales", 8, 30, 5, "transferred"),
        ("bob", "complaints", 60, 100, 7, "ended"),
    ]
    assert legs(routed, "consulted") == [
        ("ann", "sales", 8, 30, 0, "transferred"),
        ("cem", "sales", 0, 60, 0, "ended"),
    ]
    assert legs(routed, "requeued") == [
        ("ann", "sales", 8, 20, 0, "requeued"),
        ("bob", "sales", 20, 40, 0, "ended"),
    ]
    assert legs(routed, "requeued-before-it-was-connected") == [("ann", "sales", 8, 60, 0, "ended")]
    assert legs(routed, "left-during-a-transfer") == [("ann", "sales", 8, 30, 0, "transferred")]
    assert legs(routed, "moved-at-once") == [("ann", "all", 38, 0, 0, "open")]
    assert legs(routed, "abandoned") == []


def test_the_report_says_the_same(routed: Warehouse) -> None:
    [row] = report(routed.url, "kpi", "--client", CLIENT, *RANGE)
    answered = sum(wanted.get("outcome") == "answered" for _, wanted in CASES.values())
    assert row["offered"] == row["answered"] + row["abandoned"] + row["overflowed"]
    assert row["answered"] > answered  # some cases say nothing of their outcome
    assert {name: row[name] for name in ("abandoned", "overflowed", "out_of_hours")} == {
        "abandoned": 1,
        "overflowed": 3,
        "out_of_hours": 1,
    }
    assert (row["transfers"], row["callbacks"]) == (5, 2)
    assert row["estimate_error_s"] == pytest.approx((400 + 8 + 22) / 3)
    [view] = routed.ask(
        "SELECT * FROM kpi(client=%(client)s, from_date='2026-09-01', to_date='2026-11-01',"
        " sl_seconds=20)",
        client=CLIENT,
    )
    assert view == row


def test_the_report_by_policy(routed: Warehouse) -> None:
    rows = report(routed.url, "kpi", "--client", CLIENT, *RANGE, "--by", "policy")
    [whole] = report(routed.url, "kpi", "--client", CLIENT, *RANGE)
    assert [row["policy"] for row in rows] == ["affine", "longest-idle", None]
    for name in ("offered", "answered", "overflowed", "transfers"):
        assert sum(row[name] for row in rows) == whole[name]


def test_a_topics_calls_have_the_same_columns(routed: Warehouse) -> None:
    [calls] = routed.ask(
        "SELECT groupArray(name) AS names FROM system.columns"
        " WHERE database = currentDatabase() AND table = 'calls'"
    )
    [topics] = routed.ask(
        "SELECT groupArray(name) AS names FROM system.columns"
        " WHERE database = currentDatabase() AND table = 'calls_by_topic'"
    )
    assert set(calls["names"]) <= set(topics["names"])
