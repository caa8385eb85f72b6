"""The loader and the live figures as processes: from a topic to the figures that people see."""

from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest
from aiokafka.errors import MessageSizeTooLargeError

from relaisctl.stack import Stack
from services.analytics.tests.events import (
    MONDAY,
    agent_logged_in,
    call,
    call_stream,
    client_registered,
    complaint_events,
    customer_events,
    order_events,
    phantom,
    pool_stream,
)
from services.analytics.tests.support import Analytics, publish, until
from services.analytics.tests.test_routed_calls import CASES

RANGE = ("--from", "2026-09-01", "--to", "2026-11-01")
FIGURES = "SELECT sum(offered), sum(answered), sum(abandoned) FROM {} WHERE client_id = %(client)s"


def calls_of(client: str, count: int, first: int = 0) -> list[Any]:
    """One call in ten is given up; they wait 0 to 39 s, talk for a minute, arrive one a minute."""
    return [
        event
        for number in range(first, first + count)
        for event in call(
            client,
            f"c{number}",
            at=MONDAY - 86_400 + number * 60,
            queue=("sales", "care")[number % 2],
            agent=("ann", "bob", "cem")[number % 3],
            wait=number % 40,
            talk=None if number % 10 == 0 else 60,
            wrap_up=5,
        )
    ]


def loaded(analytics: Analytics, client: str, offered: int) -> None:
    """Wait until the calls and the live figures have so many calls that were offered."""
    for source in ("calls", "live_kpi"):
        until(
            lambda source=source: (
                analytics.ask(FIGURES.format(source), client=client)[0][0]  # type: ignore[misc]
                == offered
            ),
            f"{source} has {offered} calls of {client}",
        )


@pytest.fixture
def kafka(environment: dict[str, str]) -> str:
    return environment["RELAIS_KAFKA"]


def test_from_the_topic_to_the_report(analytics: Analytics, kafka: str) -> None:
    client = "report"
    publish(kafka, "client-events", [client_registered(client, "Asia/Kathmandu")])
    publish(kafka, "call-events", calls_of(client, 100))
    publish(kafka, "call-events", phantom(client, "ghost"))
    publish(kafka, "agent-events", [agent_logged_in("ann")])
    loaded(analytics, client, 100)

    [whole] = analytics.report("--client", client, *RANGE)
    answered = [number for number in range(100) if number % 10]
    assert whole == {
        "offered": 100,
        "answered": 90,
        "abandoned": 10,
        "abandonment_rate": 0.1,
        "asa_s": pytest.approx(sum(number % 40 for number in answered) / 90, abs=1e-9),
        "service_level": sum(number % 40 <= 20 for number in answered) / 100,
        "aht_s": 65.0,
        "overflowed": 0,
        "out_of_hours": 0,
        "transfers": 0,
        "callbacks": 0,
        "estimate_error_s": None,
    }
    [stricter] = analytics.report("--client", client, *RANGE, "--sl-seconds", "5")
    assert stricter["service_level"] == sum(number % 40 <= 5 for number in answered) / 100

    queues = analytics.report("--client", client, *RANGE, "--by", "queue")
    assert [row["queue"] for row in queues] == ["care", "sales"]
    agents = analytics.report("--client", client, *RANGE, "--by", "agent")
    assert [row["agent"] for row in agents] == ["ann", "bob", "cem", None]
    assert agents[-1]["answered"] == 0
    days = analytics.report("--client", client, *RANGE, "--by", "day")
    intervals = analytics.report("--client", client, *RANGE, "--by", "interval")
    assert all(row["interval_start"].endswith("+05:45") for row in intervals)
    for rows in (queues, agents, days, intervals):
        for name in ("offered", "answered", "abandoned"):
            assert sum(row[name] for row in rows) == whole[name]

    view = analytics.ask(
        "SELECT * FROM kpi(client=%(client)s, from_date='2026-09-01', to_date='2026-11-01',"
        " sl_seconds=20)",
        client=client,
    )
    assert view == [tuple(whole.values())]
    live = analytics.ask(
        "SELECT sum(offered), sum(answered), sum(abandoned), sum(asa_s * answered) / sum(answered),"
        " sum(service_level * offered) / sum(offered) FROM live_kpi WHERE client_id = %(client)s",
        client=client,
    )
    assert live == [
        (100, 90, 10, pytest.approx(whole["asa_s"]), pytest.approx(whole["service_level"]))
    ]


def test_the_last_day_is_exclusive_and_an_empty_range_is_no_error(
    analytics: Analytics, kafka: str
) -> None:
    client = "edges"
    publish(kafka, "client-events", [client_registered(client, "Europe/Paris")])
    midnight = int(datetime(2026, 9, 9, 22, tzinfo=UTC).timestamp())  # of the 10th, in Paris
    sent = [*call(client, "before", at=midnight - 1), *call(client, "after", at=midnight)]
    publish(kafka, "call-events", sent)
    loaded(analytics, client, 2)

    def offered(start: str, end: str) -> int:
        [row] = analytics.report("--client", client, "--from", start, "--to", end)
        return int(row["offered"])

    assert offered("2026-09-09", "2026-09-10") == 1
    assert offered("2026-09-10", "2026-09-11") == 1
    assert offered("2026-09-09", "2026-09-11") == 2
    empty = ("--client", client, "--from", "2020-01-01", "--to", "2020-01-02")
    [row] = analytics.report(*empty)
    counts = ("offered", "answered", "abandoned", "overflowed")
    counts += ("out_of_hours", "transfers", "callbacks")
    assert row == dict.fromkeys(row, None) | dict.fromkeys(counts, 0)
    assert analytics.report(*empty, "--by", "interval") == []


def test_every_event_is_kept_with_where_it_came_from(analytics: Analytics, kafka: str) -> None:
    client = "traced"
    publish(kafka, "client-events", [client_registered(client)])
    events = call(client, "c1")
    future = call(client, "c2")[0]
    future.ClearField("arrived")
    publish(kafka, "call-events", [*events, future.SerializeToString() + b"\xfa\x3f\x02\x08\x01"])
    loaded(analytics, client, 1)
    until(
        lambda: (
            analytics.ask(
                "SELECT count() FROM call_events FINAL WHERE client_id = %(client)s", client=client
            )
            == [(5,)]
        ),
        "the unknown event is kept",
    )
    rows = analytics.ask(
        "SELECT toString(event_id), event_type, payload != '' FROM call_events FINAL"
        " WHERE client_id = %(client)s AND kafka_offset >= 0 ORDER BY call_id, version",
        client=client,
    )
    assert [row[0] for row in rows[:4]] == [event.meta.event_id for event in events]
    assert rows[4][1:] == ("Unknown", 1)


def test_rubbish_stops_nothing(analytics: Analytics, kafka: str) -> None:
    client = "rubbish"
    publish(kafka, "client-events", [client_registered(client)])
    good = calls_of(client, 20)
    late = call(client, "year-9999", at=253_402_300_799)
    stranger = call("nobody", "c1")
    wrong_id = call(client, "a/b")
    bad = [b"\xff\x00\x12", b"", None, bytes(900_000), *late, *stranger, *wrong_id]
    agent = agent_logged_in("a/b")
    publish(kafka, "client-events", [b"\xff", b"", client_registered(client, "Mars/Phobos")])
    publish(kafka, "agent-events", [b"\xff", b"", agent, agent_logged_in("zoe")])
    mixed = [one for pair in zip(good, bad * 5, strict=False) for one in pair]
    publish(kafka, "call-events", [*mixed, *good[len(mixed) // 2 :]])
    loaded(analytics, client, 20)
    until(
        lambda: analytics.ask("SELECT count() FROM agent_events WHERE agent_id = 'zoe'") == [(1,)],
        "the good agent event is there",
    )
    assert analytics.ask("SELECT count() FROM calls WHERE client_id = 'nobody'") == [(0,)]
    assert analytics.ask("SELECT time_zone FROM clients WHERE client_id = 'rubbish'") == [
        ("Asia/Jerusalem",)
    ]
    for role in ("loader", "kpi"):
        assert analytics.answers(role, "ready")
        assert "dead letters, first: offset" in analytics.log(role)


def test_what_was_said_and_what_became_of_complaints(analytics: Analytics, kafka: str) -> None:
    client = "spoken"
    publish(kafka, "client-events", [client_registered(client, "Asia/Kathmandu")])
    publish(kafka, "call-events", calls_of(client, 20))
    said = [
        event
        for number in range(20)
        for event in customer_events(
            client,
            "call",
            f"c{number}",
            ("call_classified", {"topic_id": "any", "path": ["any"]}),
            ("call_classified", {"topic_id": "late", "path": ["orders", "late"]}),
        )
        if number % 4
    ]
    complaints = [
        event
        for number in range(10)
        for event in complaint_events(
            client,
            f"k{number}",
            ("opened", {"source": "customer", "severity": "SEVERITY_HIGH"}),
            ("acknowledged", {}),
            ("upheld", {"responsible": {"kind": "SUBJECT_KIND_AGENT", "id": "ann"}})
            if number % 2
            else ("rejected", {}),
        )
    ]
    stranger = complaint_events("nobody", "k1", ("opened", {}))
    future = complaint_events(client, "k0", ("opened", {}), at=253_402_300_799)
    unknown = customer_events(client, "call", "c1", ("call_noted", {}), at=MONDAY + 9)[0]
    unknown.ClearField("call_noted")
    unknown_now = unknown.SerializeToString() + b"\xfa\x3f\x02\x08\x01"
    wrong_id = customer_events(client, "call", "a/b", ("call_noted", {}))
    publish(kafka, "customer-events", [b"\xff", None, *said, *wrong_id, unknown_now, *said])
    publish(kafka, "complaint-events", [b"\xff", *stranger, *future, *complaints, *complaints[:7]])
    centre = customer_events(
        "centre",
        "do-not-call",
        "national",
        ("do_not_call_list_published", {"list_id": "national", "list_version": 1, "size": 3}),
    )
    publish(kafka, "customer-events", centre)

    def topics() -> dict[str, int]:
        rows = analytics.report("--client", client, *RANGE, "--by", "topic", "--level", "1")
        return {row["topic"]: row["offered"] for row in rows}

    def verdicts() -> dict[str, int]:
        rows = analytics.report("--client", client, "--by", "verdict", command="complaints")
        return {row["verdict"]: row["complaints"] for row in rows}

    known = f"SELECT count() FROM clients WHERE client_id = '{client}'"
    until(lambda: analytics.ask(known) == [(1,)], "the client is registered there too")
    until(lambda: topics() == {"orders": 15, "(none)": 5}, "topics are counted")
    until(lambda: verdicts() == {"upheld": 5, "rejected": 5, "none": 0}, "verdicts are counted")
    lists = "SELECT size FROM do_not_call_lists WHERE client_id = 'centre' AND list_id = 'national'"
    until(lambda: analytics.ask(lists) == [(3,)], "the centre's own list is there")
    kept = "SELECT count() FROM customer_events WHERE event_type = 'Unknown' AND payload != ''"
    assert analytics.ask(kept) == [(1,)]
    assert analytics.ask("SELECT count() FROM complaint_events WHERE client_id = 'nobody'") == [
        (0,)
    ]
    assert analytics.answers("loader", "ready")


def test_what_was_sold(analytics: Analytics, kafka: str) -> None:
    client = "shop"
    publish(kafka, "client-events", [client_registered(client, "Asia/Kathmandu")])
    paid = {"total": {"amount": "19.90", "currency": "EUR"}}
    orders = [
        event
        for number in range(20)
        for event in order_events(
            client,
            f"o{number}",
            ("drafted", {"expires_at": "2026-12-24T12:00:00Z"}),
            *([("placed", paid)] if number % 2 else []),
            *([("cancelled", {**paid, "reason": "late"})] if number == 1 else []),
            product_id=("internet", "taxi")[number < 10],
        )
    ]
    stranger = order_events("nobody", "o1", ("placed", paid))
    wrong = order_events(client, "o1", ("placed", {"total": {"amount": "much"}}))
    [unknown] = order_events(client, "o99", ("drafted", {}))
    unknown.ClearField("drafted")
    unknown_now = unknown.SerializeToString() + b"\xfa\x3f\x02\x08\x01"
    bad = [b"\xff", None, *stranger, *wrong]
    publish(kafka, "order-events", [*bad, unknown_now, *orders, *orders[:11]])

    def sold() -> dict[str, tuple[Any, ...]]:
        rows = analytics.report("--client", client, *RANGE, "--by", "product")
        names = ("drafted", "placed", "conversion", "cancelled", "revenue", "net_revenue")
        return {row["product"]: tuple(row[name] for name in names) for row in rows}

    known = f"SELECT count() FROM clients WHERE client_id = '{client}'"
    until(lambda: analytics.ask(known) == [(1,)], "the client is registered there too")
    expected = {
        "internet": (10, 5, 0.5, 0, {"EUR": "99.50"}, {"EUR": "99.50"}),
        "taxi": (10, 5, 0.5, 1, {"EUR": "99.50"}, {"EUR": "79.60"}),
    }
    until(lambda: sold() == expected, "orders are counted")
    kept = "SELECT count() FROM order_events FINAL WHERE event_type = 'Unknown' AND payload != ''"
    assert analytics.ask(kept) == [(1,)]
    assert analytics.ask("SELECT count() FROM orders WHERE client_id = 'nobody'") == [(0,)]
    assert analytics.answers("loader", "ready")


def test_routed_calls_count_once_live_too(analytics: Analytics, kafka: str) -> None:
    """Transferred, put back, called back, overflowed: the live figures and `calls` agree."""
    client = "live-routed"
    publish(kafka, "client-events", [client_registered(client, "UTC")])
    events = [
        event
        for name, (told, _) in CASES.items()
        for event in call_stream(client, name, *told, at=MONDAY)
    ]
    queue = {"queue_id": "sales", "target_seconds": 8, "target_share": 0.8}
    settings = pool_stream(client, (-60, "queue_configured", {"queue": queue}), pool="live-routed")
    publish(kafka, "pool-events", [b"\xff", *settings, *settings])
    publish(kafka, "call-events", [*events, *events])
    figures = """
SELECT sum(offered), sum(answered), sum(abandoned), sum(overflowed), round(sum(asa_s * answered))
FROM live_kpi WHERE client_id = 'live-routed'"""
    counted = """
SELECT countIf(offered), countIf(answered), countIf(abandoned), countIf(overflowed AND offered),
       round(sumIf(waited_s, answered)) FROM calls WHERE client_id = 'live-routed'"""
    kept = "SELECT uniqExact(event_id) FROM call_events WHERE client_id = 'live-routed'"
    until(lambda: analytics.ask(kept) == [(len(events),)], "all events are loaded")
    until(lambda: analytics.ask(counted) == analytics.ask(figures), "calls are counted live")
    assert analytics.ask(figures)[0][3] == sum(
        wanted.get("overflowed") or wanted.get("outcome") == "overflowed"
        for _, wanted in CASES.values()
        if wanted.get("offered") != 0
    )
    [by_target] = [
        row
        for row in analytics.report(
            "--client", client, *RANGE, "--by", "queue", "--targets", "--sl-seconds", "8"
        )
        if row["queue"] == "sales"
    ]
    assert by_target["target_s"] == 8
    assert by_target["target_service_level"] == by_target["service_level"] > 0
    topics = "SELECT count() FROM pool_events FINAL WHERE pool_id = 'live-routed'"
    assert analytics.ask(topics) == [(1,)]


def test_published_again_nothing_changes(analytics: Analytics, kafka: str) -> None:
    client = "again"
    publish(kafka, "client-events", [client_registered(client)])
    publish(kafka, "call-events", calls_of(client, 50))
    loaded(analytics, client, 50)
    before = analytics.report("--client", client, *RANGE, "--by", "interval")
    live = "SELECT * FROM live_kpi WHERE client_id = 'again' ORDER BY ALL"
    live_before = analytics.ask(live)

    publish(kafka, "call-events", [*calls_of(client, 50), *calls_of(client, 1, first=50)])
    loaded(analytics, client, 51)  # number 50 is given up
    until(
        lambda: (
            analytics.ask("SELECT count() FROM calls WHERE client_id = 'again' AND abandoned")
            == [(6,)]
        ),
        "the last call is there",
    )
    after = analytics.report("--client", client, *RANGE, "--by", "interval")
    assert sum(row["offered"] for row in after) == 51
    assert after[:-1] == before[: len(after) - 1]
    assert analytics.ask(live)[:-1] == live_before[: len(analytics.ask(live)) - 1]


@pytest.fixture
def restarted_clickhouse(stack: Stack) -> Iterator[Stack]:
    yield stack
    stack.start(["clickhouse"])


def test_clickhouse_may_go_and_come(
    analytics: Analytics, kafka: str, restarted_clickhouse: Stack
) -> None:
    client = "patient"
    publish(kafka, "client-events", [client_registered(client)])
    publish(kafka, "call-events", calls_of(client, 100))
    restarted_clickhouse.kill("clickhouse")
    publish(kafka, "call-events", calls_of(client, 100, first=100))
    until(lambda: not analytics.answers("loader", "ready"), "the loader says that it waits")
    assert "ClickHouse: trying again" in analytics.log("loader")
    restarted_clickhouse.start(["clickhouse"])
    loaded(analytics, client, 200)
    until(lambda: analytics.answers("loader", "ready"), "the loader is ready again")


def test_five_megabytes_are_refused_by_the_topic_or_dead_lettered(
    analytics: Analytics, kafka: str
) -> None:
    publish(kafka, "client-events", [client_registered("huge")])
    with suppress(MessageSizeTooLargeError):
        publish(kafka, "call-events", [bytes(5 << 20)])
    publish(kafka, "call-events", calls_of("huge", 5))
    loaded(analytics, "huge", 5)
