"""Loading and live figures survive SIGKILL at any moment: nothing is lost, nothing counts twice."""

import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from services.analytics.tests.events import (
    MONDAY,
    call,
    client_registered,
    complaint_events,
    customer_events,
)
from services.analytics.tests.support import Analytics, publish, until
from tests.integration.conftest import Engines

CALLS = 5_000
KILLS = 4

CALL_FIGURES = """
SELECT countIf(offered), countIf(answered), countIf(abandoned), sumIf(waited_us, answered),
       countIf(handled), sumIf(talked_us + wrap_up_us, handled)
FROM calls WHERE client_id = %(client)s"""
LIVE_FIGURES = """
SELECT sum(offered), sum(answered), sum(abandoned), sum(waited_us), sum(handled), sum(handle_us)
FROM live_kpis FINAL WHERE client_id = %(client)s"""


@pytest.fixture
def analytics(stack: Engines, tmp_path: Path) -> Iterator[Analytics]:
    analytics = Analytics(
        stack.environment
        # Small batches: a kill finds something in every stage of the way.
        | {"RELAIS_LOADER_BATCH_RECORDS": "700", "RELAIS_LIVE_BATCH_RECORDS": "200"},
        tmp_path,
    )
    yield analytics
    analytics.stop_all()


def expected(wait: Callable[[int], int]) -> tuple[int, ...]:
    answered = [number for number in range(CALLS) if number % 7]
    return (
        CALLS,
        len(answered),
        CALLS - len(answered),
        sum(wait(number) for number in answered) * 1_000_000,
        len(answered),
        len(answered) * 65_000_000,
    )


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("role", "figures"), [("loader", CALL_FIGURES), ("kpi", LIVE_FIGURES)], ids=["loader", "kpi"]
)
def test_killed_in_the_middle_again_and_again(
    analytics: Analytics, stack: Engines, role: str, figures: str
) -> None:
    client = f"killed-{role}"
    events = [
        event
        for number in range(CALLS)
        for event in call(
            client,
            f"c{number}",
            at=MONDAY + number,
            wait=number % 50,
            talk=60 if number % 7 else None,
            wrap_up=5,
        )
    ]
    publish(stack.kafka, "client-events", [client_registered(client)])
    moments = random.Random(2026)
    analytics.start(role)
    for part in range(KILLS):
        publish(stack.kafka, "call-events", events[part::KILLS])
        time.sleep(moments.uniform(0.0, 1.0))
        analytics.kill(role)
        analytics.start(role, wait=False)
    wanted = expected(lambda number: number % 50)
    until(
        lambda: analytics.ask(figures, client=client) == [wanted],
        f"all calls of {client} are counted",
        90,
    )
    if role == "loader":
        stored = (
            "SELECT count(), uniqExact(event_id) FROM call_events{} WHERE client_id = %(client)s"
        )
        [(rows, ids)] = analytics.ask(stored.format(" FINAL"), client=client)
        assert rows == ids == len(events)
        if stack.broker == "kafka":
            # The repeats were the same batches, so their inserts were known by their tokens.
            assert analytics.ask(stored.format(""), client=client) == [(rows, ids)]


@pytest.mark.timeout(600)
def test_what_was_said_survives_kills(analytics: Analytics, stack: Engines) -> None:
    """Customers' and complaints' events beside calls', published twice, in whatever batches."""
    client = "killed-said"
    count = 1_500
    said = [
        event
        for number in range(count)
        for event in customer_events(
            client,
            "call",
            f"c{number}",
            ("call_classified", {"topic_id": "bill", "path": ["bill"]}),
            ("call_classified", {"topic_id": f"t{number % 5}", "path": [f"t{number % 5}"]}),
            ("offer_refused", {"offer_id": "tv", "reason": "no"}),
            customer=f"u{number}",
        )
    ]
    complaints = [
        event
        for number in range(count)
        for event in complaint_events(
            client,
            f"k{number}",
            ("opened", {"severity": "SEVERITY_LOW"}),
            ("severity_changed", {"severity": "SEVERITY_HIGH"}),
            ("upheld", {}),
            ("remedied", {"remedy": "refund", "amount": "0.10", "currency": "EUR"}),
            *([("appealed", {})] if number % 3 == 0 else []),
        )
    ]
    publish(stack.kafka, "client-events", [client_registered(client)])
    moments = random.Random(2027)
    analytics.start("loader")
    for part in range(KILLS):
        for topic, events in (("customer-events", said), ("complaint-events", complaints)):
            publish(stack.kafka, topic, events[part::KILLS])
            publish(stack.kafka, topic, events[part :: 2 * KILLS])
        time.sleep(moments.uniform(0.0, 1.0))
        analytics.kill("loader")
        analytics.start("loader", wait=False)
    appealed = len(range(0, count, 3))
    questions = {
        "SELECT topic_id, count() FROM call_outcomes WHERE client_id = %(client)s"
        " GROUP BY topic_id ORDER BY topic_id": [(f"t{n}", count // 5) for n in range(5)],
        "SELECT count(), uniqExact(call_id) FROM offer_answers"
        " WHERE client_id = %(client)s AND reason = 'no'": [(count, count)],
        "SELECT verdict, severity, count(), toString(sum(remedy_amounts['EUR'])) FROM complaints"
        " WHERE client_id = %(client)s GROUP BY verdict, severity ORDER BY verdict": [
            ("none", "high", appealed, f"{appealed / 10:.10g}"),
            ("upheld", "high", count - appealed, f"{(count - appealed) / 10:.10g}"),
        ],
    }
    for question, answer in questions.items():
        until(
            lambda question=question, answer=answer: (  # type: ignore[misc]
                analytics.ask(question, client=client) == answer
            ),
            f"{question} is {answer}",
            90,
        )
    for table, events in (("customer_events", said), ("complaint_events", complaints)):
        stored = (
            f"SELECT count(), uniqExact(event_id) FROM {table} FINAL WHERE client_id = %(client)s"
        )
        assert analytics.ask(stored, client=client) == [(len(events), len(events))]


def test_a_stopped_process_leaves_everything_committed(
    analytics: Analytics, stack: Engines
) -> None:
    client = "stopped"
    publish(stack.kafka, "client-events", [client_registered(client)])
    for role in ("loader", "kpi"):
        analytics.start(role)
    publish(stack.kafka, "call-events", call(client, "c1"))
    for figures in (CALL_FIGURES, LIVE_FIGURES):
        until(
            lambda figures=figures: analytics.ask(figures, client=client)[0][0] == 1,  # type: ignore[misc]
            "the call is counted",
        )
    assert [analytics.stop(role) for role in ("loader", "kpi")] == [0, 0]
