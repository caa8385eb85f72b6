"""`relaisctl import complaints` against crm: the real file, twice, and what it leaves behind."""

import csv
import json
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from eventkit.callers import Role
from eventkit.eventstore import EventStore
from relaisctl.api_client import CrmClient
from relaisctl.complaint_file import COLUMNS
from relaisctl.complaints import import_file, write_report
from services.crm.complaints.tests.support import Api, token

REAL = Path(__file__).parents[5] / "shared" / "data" / "telecom-complaints" / "complaints.csv"
LINE = {
    "reference": "7",
    "occurred_at": "2015-04-22T15:53:50-04:00",
    "channel": "web",
    "status": "pending",
    "acknowledged": True,
    "text": "Slow.",
    "place": "Abingdon",
    "on_behalf": True,
    "date_corrected": True,
}


@pytest.fixture
def crm(api: Api, http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> CrmClient:
    monkeypatch.setenv("RELAIS_TOKEN", token([api.client_id], Role.SUPERVISOR))
    return CrmClient(api.client_id, url="http://crm", transport=http._transport)


async def count_events(store: EventStore, client_id: str) -> dict[str, int]:
    async with store.engine.connect() as connection:
        rows = await connection.execute(
            text("SELECT type, count(*) FROM events WHERE client_id = :c GROUP BY type"),
            {"c": client_id},
        )
        return {kind: count for kind, count in rows}


@pytest.mark.skipif(not REAL.exists(), reason=f"{REAL.parent} is not on this machine")
async def test_the_real_file(crm: CrmClient, api: Api, store: EventStore, tmp_path: Path) -> None:
    zone = "America/New_York"
    summary, lines = await import_file(REAL, api.client_id, zone, True, crm)
    assert (summary.lines, summary.accepted, summary.rejected) == (2_224, 2_223, 1)
    assert await count_events(store, api.client_id) == {}
    summary, lines = await import_file(REAL, api.client_id, zone, False, crm)
    assert (summary.lines, summary.accepted, summary.duplicates) == (2_224, 2_223, 0)
    assert summary.dates["put right by month"] == 486
    assert summary.dates["put right by ticket"] == 86
    assert summary.statuses == {"closed": 733, "open": 363, "pending": 154, "solved": 973}
    expected = {
        "ComplaintOpened": 2_223,
        "ComplaintAcknowledged": 154,
        "ComplaintClosed": 733 + 973,
    }
    assert await count_events(store, api.client_id) == expected
    report = tmp_path / "report.csv"
    write_report(report, lines)
    with report.open(newline="") as file:
        told = list(csv.DictReader(file))
    assert Counter(line["outcome"] for line in told) == {"accepted": 2_223, "rejected": 1}
    assert [int(line["line"]) for line in told] == list(range(2, 2_226))
    again, _ = await import_file(REAL, api.client_id, zone, False, crm)
    assert (again.accepted, again.duplicates, again.rejected) == (0, 2_223, 1)
    assert await count_events(store, api.client_id) == expected
    async with store.engine.connect() as connection:
        counted = await connection.execute(
            text(
                "SELECT count(*) FILTER (WHERE date_corrected),"
                " count(*) FILTER (WHERE verdict = ''), count(due_at),"
                " min(opened_at) / 1000000 FROM complaints WHERE client_id = :c"
            ),
            {"c": api.client_id},
        )
        assert tuple(counted.one()) == (572, 2_223, 0, 1427861927)
        timers = await connection.scalar(
            text("SELECT count(*) FROM timers WHERE client_id = :c"), {"c": api.client_id}
        )
        assert timers == 0
        # What people wrote is in no column that can be read.
        for table in ("complaints", "events", "commands"):
            rows = await connection.execute(
                text(f"SELECT {table}::text FROM {table} WHERE client_id = :c"),
                {"c": api.client_id},
            )
            assert not any("Comcast" in row[0] or "Atlanta" in row[0] for row in rows)


async def test_one_line(api: Api) -> None:
    body = {"complaints": [LINE]}
    (item,) = (await api.ok("POST", "/complaints/import", body))["items"]
    assert item["outcome"] == "accepted"
    shown = await api.get(item["complaint_id"])
    assert shown["opened_at"] == shown["acknowledged_at"] == "2015-04-22T19:53:50Z"
    assert (shown["state"], shown["imported_status"]) == ("open", "pending")
    assert (shown["text"], shown["place"], shown["on_behalf"]) == ("Slow.", "Abingdon", True)
    assert (shown["clocks"], shown["verdict"], shown["date_corrected"]) == (None, None, True)
    assert await api.listed(reference="7") == [item["complaint_id"]]
    # It is worked on like any other, and gets its clocks when the policy is applied to it.
    await api.do(item["complaint_id"], "assign", assignee="a-1")
    await api.do(item["complaint_id"], "apply-policy")
    clocks = (await api.get(item["complaint_id"]))["clocks"]
    assert (clocks["first_response"]["state"], clocks["resolution"]["state"]) == ("met", "active")


async def test_each_line_has_its_answer(api: Api) -> None:
    taken = await api.open(reference="1")
    lines: list[dict[str, Any]] = [
        LINE | {"reference": "1"},
        LINE | {"reference": "2"},
        LINE | {"reference": "2", "text": "again"},
        LINE | {"reference": "3", "occurred_at": "2999-01-01T00:00:00Z"},
        LINE | {"reference": "4", "occurred_at": "1960-01-01T00:00:00Z"},
    ]
    answer = await api.ok("POST", "/complaints/import", {"complaints": lines})
    told = [(item["outcome"], item["field"]) for item in answer["items"]]
    assert told == [
        ("duplicate", None),
        ("accepted", None),
        ("duplicate", None),
        ("rejected", "occurred_at"),
        ("rejected", "occurred_at"),
    ]
    assert answer["items"][0]["complaint_id"] == taken
    agent = api.as_(Role.AGENT)
    refused = await agent.call("POST", "/complaints/import", {"complaints": [LINE]})
    assert refused.status_code == 403


async def test_a_file_in_the_clients_own_zone(crm: CrmClient, api: Api, tmp_path: Path) -> None:
    row = dict.fromkeys(COLUMNS, "x") | {
        "Ticket #": "1",
        "Date": "22-04-2015",
        "Date_month_year": "22-Apr-15",
        "Time": "03:53:50 PM",
        "Status": "Open",
        "Filing on Behalf of Someone": "No",
        "Customer Complaint": "x" * 9_000 + "é",
    }
    gap = row | {
        "Ticket #": "2",
        "Date": "29-03-2015",
        "Date_month_year": "29-Mar-15",
        "Time": "02:30:00 AM",
    }
    path = tmp_path / "f.csv"
    with path.open("w", newline="") as file:
        out = csv.DictWriter(file, COLUMNS)
        out.writeheader()
        out.writerows([gap, row, *(row | {"Ticket #": str(number)} for number in range(3, 15))])
    summary, _ = await import_file(path, api.client_id, None, False, crm)
    assert (summary.zone, summary.accepted) == ("Europe/Paris", 13)
    assert summary.rejections == [
        {
            "line": 2,
            "field": "Time",
            "reason": "does not exist in this zone: its clocks went forward",
        }
    ]
    json.dumps(summary.rejections)
    (id,) = await api.listed(reference="1")
    assert (await api.get(id))["opened_at"] == "2015-04-22T13:53:50Z"
