"""Holes in an agent's numbers are seen when they are loaded; copies and restarts are none."""

import logging
import random
from collections.abc import Iterable, Sequence
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventkit.records import Batch
from services.analytics.gaps import Gap, Gaps
from services.analytics.rows import AGENT_EVENTS, Rows
from services.analytics.tests.events import MONDAY, agent_stream, record
from services.analytics.tests.support import Warehouse


def looked(*batches: Iterable[tuple[str, int]], first: int = 0) -> list[Gap]:
    """What is seen of batches that follow each other, of (agent, version) each."""
    return looked_by(Gaps(), *batches, first=first)


def looked_by(gaps: Gaps, *batches: Iterable[tuple[str, int]], first: int = 0) -> list[Gap]:
    found = []
    for batch in batches:
        pairs = list(batch)
        gaps.begin(Batch("agent-events", 0, first, first + len(pairs), []))
        first += len(pairs)
        agents, versions = [agent for agent, _ in pairs], [version for _, version in pairs]
        found += gaps.look(0, Rows(columns={"agent_id": agents, "version": versions}))
    return found


def of(agent: str, *versions: int) -> list[tuple[str, int]]:
    return [(agent, version) for version in versions]


def test_a_hole_is_seen_where_it_is() -> None:
    assert looked(of("ann", 1, 2, 3), of("ann", 4, 6), of("ann", 10)) == [
        Gap("", "ann", 5, 5),
        Gap("", "ann", 7, 9),
    ]
    assert looked(of("ann", 1, 3) + of("bob", 1, 2, 3)) == [Gap("", "ann", 2, 2)]


def test_copies_are_no_gaps_and_no_news() -> None:
    assert looked(of("ann", 1, 2, 3), of("ann", 1, 2, 3, 4), of("ann", 2), of("ann", 5)) == []
    assert looked(of("ann", 1, 4), of("ann", 1, 4, 2)) == [Gap("", "ann", 2, 3)]


def test_a_restart_is_no_gap() -> None:
    """A new process knows nothing of what came before; nor does one that gets a partition back."""
    assert looked(of("ann", 51, 52), first=900) == []
    gaps = Gaps()
    assert looked_by(gaps, of("ann", 1, 2, 3)) == []
    assert looked_by(gaps, of("ann", 90, 91), first=50) == []
    assert looked_by(gaps, of("ann", 93), first=52) == [Gap("", "ann", 92, 92)]


@given(st.lists(st.integers(1, 30), min_size=1), st.integers(1, 5), st.randoms())
def test_what_is_missing_is_what_never_came(
    versions: list[int], size: int, chance: random.Random
) -> None:
    """However the events are cut into batches, and whatever is repeated behind its first time."""
    told = sorted({1, *versions})
    sent = [
        version for one in told for version in (one, chance.choice(told[: told.index(one) + 1]))
    ]
    batches: Sequence[list[tuple[str, int]]] = [
        of("ann", *sent[start : start + size]) for start in range(0, len(sent), size)
    ]
    missing = {version for gap in looked(*batches) for version in range(gap.first, gap.last + 1)}
    assert missing == {*range(1, max(told))} - {*told}


def test_a_hole_in_the_topic_is_logged_and_can_be_queried(
    warehouse: Warehouse, caplog: pytest.LogCaptureFixture
) -> None:
    told = [(second, "became_available", {}) for second in range(0, 80, 10)]
    whole = agent_stream("whole", *told, pool="gaps")
    holed = agent_stream("holed", *told, pool="gaps")
    late = agent_stream("late", *told, pool="gaps")
    with caplog.at_level(logging.WARNING, "services.analytics.loader"):
        first = [*whole[:4], *holed[:3], *late[2:4]]
        warehouse.load("agent-events", first, [*first, *whole[4:], holed[3], *holed[6:]])
    [line] = [one for one in caplog.messages if "missing" in one]
    assert line.endswith(
        "2 events of agents are missing, first: holed of pool gaps, versions 5 to 6"
    )

    query = "SELECT * EXCEPT (pool_id) FROM agent_gaps WHERE pool_id = 'gaps' ORDER BY agent_id"
    rows = warehouse.ask(query)
    for row in rows:
        row["seen_at"] = row["seen_at"].timestamp() - MONDAY
        row["since"] = row["since"] and row["since"].timestamp() - MONDAY
    assert [tuple(row.values()) for row in rows] == [
        ("holed", 5, 6, 2, 30.0, 60.0),
        ("late", 1, 2, 2, None, 20.0),
    ]
    # What comes after all closes its hole.
    warehouse.load("agent-events", [*holed, *late])
    assert warehouse.ask(query) == []


def test_what_is_refused_is_missing() -> None:
    events = agent_stream("ann", *[(second, "became_available", {}) for second in range(5)])
    events[2].meta.event_id = "none"
    offsets = count()
    rows = AGENT_EVENTS.decode(
        [record("agent-events", event.SerializeToString(), next(offsets)) for event in events]
    )
    gaps = Gaps()
    gaps.begin(Batch("agent-events", 0, 0, 5, []))
    assert gaps.look(0, rows) == [Gap("pool", "ann", 3, 3)]
