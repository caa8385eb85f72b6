"""What agents did with their time: states, occupancy, and the figures of each."""

from typing import Any

import pytest

from services.analytics.tests.events import (
    MONDAY,
    Told,
    agent_stream,
    call_stream,
    client_registered,
    pool_stream,
)
from services.analytics.tests.support import Warehouse, report

LOGGED_IN: Told = (0, "logged_in", {"groups": ["desk"], "site": "lyon"})
DAY = "2026-09-21"
"""MONDAY's day, UTC; it is 14:13:20 then."""


def busy(at: int, call: str) -> Told:
    return at, "became_busy", {"call": call} if call else {}


ADA = (
    LOGGED_IN,
    (60, "became_available", {}),
    (100, "skills_changed", {"groups": ["desk", "mentors"]}),
    (160, "reserved", {"offer_id": "p:1", "call": "shift/c1"}),
    busy(165, "shift/c1"),
    (200, "connection_lost", {"until": "2026-09-21T23:00:00Z"}),
    (210, "connection_restored", {}),
    (265, "wrap_up_started", {"call": "shift/c1"}),
    (295, "became_available", {}),
    busy(300, ""),
    (330, "break_started", {"reason": "lunch"}),
    (630, "logged_out", {"reason": "end of shift"}),
)
BEN = (
    (0, "logged_in", {}),
    (0, "became_available", {}),
    (20, "reserved", {"offer_id": "p:2", "call": "shift/c2"}),
    (40, "stopped_responding", {"offer_id": "p:2", "call": "shift/c2"}),
    (640, "became_available", {}),
)


@pytest.fixture(scope="module")
def shift(warehouse: Warehouse) -> Warehouse:
    warehouse.load("client-events", [client_registered("shift", "UTC")])
    ada, ben = agent_stream("ada", *ADA, pool="shift"), agent_stream("ben", *BEN, pool="shift")
    cyd = agent_stream("cyd", LOGGED_IN, at=MONDAY + 700, pool="shift")
    elsewhere = agent_stream("ada-2", LOGGED_IN, at=MONDAY + 5000, pool="shift-2")
    assert warehouse.load("agent-events", ada[::2] + ben, ada[::-1], cyd + elsewhere) == []
    offer = {"queue_id": "sales", "offer_id": "p:1"}
    assert (
        warehouse.load(
            "call-events",
            call_stream(
                "shift",
                "c1",
                (0, "queued", {"queue_id": "sales"}),
                (160, "offered", {**offer, "agent_id": "ada"}),
                (165, "assigned", {**offer, "agent_id": "ada"}),
                (166, "connected", {"agent_id": "ada", "queue_id": "sales", "waited": "166s"}),
                (226, "transferred", {"agent_id": "ada", "talked": "60s", "queue_id": "care"}),
                (236, "connected", {"agent_id": "dot", "queue_id": "care", "waited": "10s"}),
                (240, "help_requested", {"help_id": "c1~1", "agent_id": "dot"}),
                (250, "help_joined", {"help_id": "c1~1", "agent_id": "sam", "waited": "10s"}),
                (265, "ended", {"agent_id": "dot", "queue_id": "care", "talked": "89s"}),
            ),
            call_stream(
                "shift",
                "c2",
                (20, "offered", {**offer, "agent_id": "ben"}),
                (40, "offer_expired", {"offer_id": "p:2", "agent_id": "ben"}),
                (41, "offered", {**offer, "agent_id": "eli"}),
                (45, "offer_declined", {"offer_id": "p:3", "agent_id": "eli"}),
            ),
        )
        == []
    )
    return warehouse


def states(shift: Warehouse, agent: str) -> list[tuple[Any, ...]]:
    rows = shift.ask(
        "SELECT * FROM agent_states WHERE agent_id = %(agent)s AND startsWith(pool_id, 'shift')"
        " ORDER BY since, version",
        agent=agent,
    )
    return [
        (
            row["state"],
            row["since"].timestamp() - MONDAY,
            row["until"] and row["until"].timestamp() - MONDAY,
            row["seconds"],
        )
        for row in rows
    ]


def test_a_state_lasts_until_the_next_one(shift: Warehouse) -> None:
    """Other skills, and a connection that is lost and comes back, cut nothing."""
    assert states(shift, "ada") == [
        ("logged_in", 0, 60, 60),
        ("available", 60, 160, 100),
        ("reserved", 160, 165, 5),
        ("busy", 165, 265, 100),
        ("wrap_up", 265, 295, 30),
        ("available", 295, 300, 5),
        ("other_call", 300, 330, 30),
        ("break", 330, 630, 300),
        ("logged_out", 630, None, 70),
    ]


def test_a_state_that_goes_on_reaches_to_the_newest_event_of_the_pool(shift: Warehouse) -> None:
    assert states(shift, "ben")[-1] == ("available", 640, None, 60)
    assert states(shift, "ben")[:2] == [("logged_in", 0, 0, 0), ("available", 0, 20, 20)]
    assert states(shift, "cyd") == [("logged_in", 700, None, 0)]


def test_a_state_says_whose_call_and_where(shift: Warehouse) -> None:
    rows = shift.ask(
        "SELECT state, client_id, call, reason, site, groups FROM agent_states"
        " WHERE agent_id = 'ada' AND pool_id = 'shift' AND state IN ('available', 'busy', 'break')"
        " ORDER BY since"
    )
    mentor = {"site": "lyon", "groups": ["desk", "mentors"]}
    assert rows == [
        {**mentor, "state": "available", "client_id": "", "call": "", "reason": ""}
        | {"groups": ["desk"]},
        {**mentor, "state": "busy", "client_id": "shift", "call": "shift/c1", "reason": ""},
        {**mentor, "state": "available", "client_id": "", "call": "", "reason": ""},
        {**mentor, "state": "break", "client_id": "", "call": "", "reason": "lunch"},
    ]


def kpi(shift: Warehouse, zone: str = "UTC", day: str = DAY) -> dict[str, dict[str, Any]]:
    rows = shift.ask(
        "SELECT * FROM agent_kpi(from_date = %(day)s, to_date = toDate(%(day)s) + 1,"
        " zone = %(zone)s) WHERE agent_id IN ('ada', 'ben', 'dot', 'sam', 'eli')",
        day=day,
        zone=zone,
    )
    return {row.pop("agent_id"): row for row in rows}


def test_the_figures_of_each_agent(shift: Warehouse) -> None:
    found = kpi(shift)
    assert found["ada"] == {
        "site": "lyon",
        "available_s": 105,
        "reserved_s": 5,
        "busy_s": 100,
        "other_call_s": 30,
        "wrap_up_s": 30,
        "break_s": 300,
        "not_responding_s": 0,
        "logged_in_s": 60,
        "occupied_s": 165,
        "staffed_s": 630,
        "occupancy": pytest.approx(165 / 270),
        "offers": 1,
        "accepted": 1,
        "declined": 0,
        "missed": 0,
        "transferred": 1,
        "helped": 0,
        "answered": 1,
        "talked_s": 60,
        "talked_each_s": 60,
    }
    assert (found["ben"]["offers"], found["ben"]["missed"]) == (1, 1)
    assert (found["ben"]["not_responding_s"], found["ben"]["available_s"]) == (600, 80)
    assert (found["eli"]["declined"], found["eli"]["occupancy"]) == (1, None)
    assert (found["dot"]["answered"], found["dot"]["talked_s"]) == (1, 29)
    assert (found["sam"]["helped"], found["sam"]["answered"]) == (1, 0)


def test_a_day_is_a_zones_and_cuts_what_goes_over_it(shift: Warehouse) -> None:
    """In Auckland it is the next day already."""
    assert kpi(shift, "Pacific/Auckland") == {}
    assert kpi(shift, "Pacific/Auckland", "2026-09-22") == kpi(shift)
    late = agent_stream("eli", *ADA, at=MONDAY + 35_200 - 200, pool="shift-3")  # 200 s before 24:00
    shift.load("agent-events", late)
    before, after = kpi(shift)["eli"], kpi(shift, day="2026-09-22")["eli"]
    assert (before["busy_s"], after["busy_s"]) == (35, 65)
    assert (before["break_s"], after["break_s"]) == (0, 300)
    assert (before["declined"], after["declined"]) == (1, 0)


def test_each_call_is_judged_by_the_target_of_its_queue(warehouse: Warehouse) -> None:
    client = "judged"

    def target(at: int, seconds: int, share: float, version: int) -> Told:
        queue = {"queue_id": "sales", "target_seconds": seconds, "target_share": share}
        return at, "queue_configured", {"config_version": version, "queue": queue}

    def call(at: int, wait: int, queue: str = "sales") -> list[Any]:
        connected = {"queue_id": queue, "waited": f"{wait}s"}
        return call_stream(
            client,
            f"{queue}-{at}",
            (0, "queued", {"queue_id": queue}),
            (wait, "connected", connected),
            at=MONDAY + at,
        )

    warehouse.load("client-events", [client_registered(client, "UTC")])
    settings = pool_stream(
        client,
        target(100, 20, 0.8, 1),
        target(200, 60, 0.5, 2),
        target(200, 90, 0.75, 3),
        (300, "queue_removed", {"config_version": 4, "queue_id": "sales"}),
        pool="judged",
    )
    assert warehouse.load("pool-events", settings, settings[::-1]) == []
    waits = {50: 5, 110: 20, 120: 21, 210: 90, 220: 91, 230: 5, 310: 5}
    events = [event for at, wait in waits.items() for event in call(at, wait)]
    gone = call_stream(client, "gone", (30, "abandoned", {"queue_id": "sales"}), at=MONDAY + 240)
    warehouse.load("call-events", events, gone, call(400, 5, "care"))
    days = ("--from", DAY, "--to", "2026-09-22")
    rows = warehouse.ask(
        f"SELECT * FROM service_levels(client = '{client}', from_date = '{DAY}',"
        " to_date = '2026-09-22') ORDER BY queue_id"
    )
    assert rows == [
        {"queue_id": "care", "target_seconds": None, "target_share": None, "offered": 1}
        | {"judged": 0, "in_target": 0, "service_level": None, "met": None},
        {"queue_id": "sales", "target_seconds": 90, "target_share": 0.75, "offered": 8}
        | {"judged": 6, "in_target": 3, "service_level": 0.5, "met": 0},
    ]
    told = report(warehouse.url, "kpi", "--client", client, *days, "--by", "queue", "--targets")
    assert [(row["queue"], row["target_s"], row["target_service_level"]) for row in told] == [
        ("care", None, None),
        ("sales", 90, 0.5),
    ]
    assert told[1]["service_level"] == 4 / 8


def test_who_comes_back_to_the_same_agent(warehouse: Warehouse) -> None:
    client = "sticky"

    def call(name: str, at: int, customer: str, agent: str, *before: Told) -> list[Any]:
        return call_stream(
            client,
            name,
            (0, "arrived", {"customer_id": customer}),
            (0, "queued", {"queue_id": "sales"}),
            *before,
            (9, "connected", {"agent_id": agent, "queue_id": "sales", "waited": "9s"}),
            at=MONDAY + at,
        )

    warehouse.load("client-events", [client_registered(client, "UTC")])
    queue = {"queue_id": "sales", "sticky_days": 1, "sticky_seconds": 30}
    settings = pool_stream(client, (0, "queue_configured", {"queue": queue}), pool="sticky")
    assert warehouse.load("pool-events", settings) == []
    in_vain: Told = (8, "relaxed", {"queue_id": "sales", "what": "no longer only agent bob"})
    calls = [
        *call("1", 10, "k-1", "ann"),
        *call("2", 100, "k-1", "ann"),
        *call("3", 200, "k-2", "bob"),
        *call("4", 300, "k-2", "cem", in_vain),
        *call("5", 400, "k-2", "dan"),
        *call("6", 90_000, "k-1", "ann"),
        *call("7", 500, "", "ann"),
    ]
    warehouse.load("call-events", calls)
    rows = warehouse.ask(
        f"SELECT call_id, wanted_agent_id, kept, in_vain FROM sticky_calls(client = '{client}',"
        f" from_date = '{DAY}', to_date = '2026-09-23') ORDER BY call_id"
    )
    assert [tuple(row.values()) for row in rows] == [
        ("2", "ann", 1, 0),
        ("4", "bob", 0, 1),
        ("5", "cem", 0, 0),
    ]
