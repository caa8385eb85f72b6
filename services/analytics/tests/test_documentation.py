"""The queries that the documentation shows are asked as they stand there."""

import re

import pytest
from google.protobuf.json_format import Parse

from services.analytics.tests.events import call_stream
from services.analytics.tests.support import ROOT, Warehouse
from services.analytics.tests.test_rows import MESSAGES

PAGE = (ROOT / "docs/subsystems/analytics.md").read_text()
QUERIES = [
    query.strip()
    for block in re.findall(r"^```sql\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    for query in block.split(";\n")
]


@pytest.fixture(scope="module")
def golden(warehouse: Warehouse) -> Warehouse:
    """The golden events are loaded: the morning of the client `acme`."""
    for topic, message in MESSAGES.items():
        folder = ROOT / "proto/examples" / topic
        events = [Parse(path.read_text(), message()) for path in sorted(folder.glob("*.json"))]
        assert warehouse.load(topic, events) == []
    # Examples are events one by one; this is a whole call.
    transferred = call_stream(
        "acme",
        "c-2001",
        (0, "queued", {"queue_id": "acme-orders", "estimated_wait": "20s"}),
        (30, "connected", {"queue_id": "acme-orders", "agent_id": "a-12", "waited": "30s"}),
        (90, "transferred", {"agent_id": "a-12", "queue_id": "acme-night", "talked": "60s"}),
        (99, "connected", {"queue_id": "acme-night", "agent_id": "a-13", "waited": "9s"}),
        (120, "ended", {"agent_id": "a-13", "queue_id": "acme-night", "talked": "81s"}),
        at=1_795_426_200,
    )
    assert warehouse.load("call-events", transferred) == []
    return warehouse


@pytest.mark.parametrize("query", QUERIES, ids=lambda query: query.split("\n")[0][:60])
def test_a_query_of_the_page_has_an_answer(golden: Warehouse, query: str) -> None:
    rows = golden.ask(query.replace("%", "%%"))
    assert rows or "acme" not in query


def test_the_page_has_queries() -> None:
    assert len([query for query in QUERIES if "acme" in query]) >= 5
