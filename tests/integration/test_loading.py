"""Loading and live figures survive SIGKILL at any moment: nothing is lost, nothing counts twice."""

import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from services.analytics.tests.events import MONDAY, call, client_registered
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
