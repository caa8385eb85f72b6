"""The figures of campaigns against sums in Python, and abandonment against the law's examples."""

import csv
import json
import random
import uuid
from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from typer.testing import CliRunner

from relaisctl.__main__ import app
from services.analytics.tests.events import (
    MONDAY,
    Told,
    agent_stream,
    attempt_stream,
    campaign_stream,
    client_registered,
    lead_stream,
)
from services.analytics.tests.support import ROOT, Warehouse, report

LAW = ROOT.parent / "shared" / "reference" / "dialer-compliance.json"
ZONE = ZoneInfo("Asia/Jerusalem")
DAY = 86_400
Row = dict[str, Any]


def dialled(
    client: str,
    id_: str,
    *,
    at: int = MONDAY,
    by: str = "HUMAN",
    waited: float | None = 0.5,
    result: str = "CONNECTED",
    talked: int = 0,
    disposition: str = "",
    converted: bool = False,
    mode: str = "predictive",
    **origin: Any,
) -> list[Any]:
    """An attempt that was answered after 5 s; the greeting lasts a second."""
    told: list[Told] = [
        (0, "started", {"mode": mode}),
        (5, "answered", {"by": f"ANSWERED_BY_{by}", "rang": "5s"}),
    ]
    ended: Row = {"result": f"RESULT_{result}", "answered_by": f"ANSWERED_BY_{by}", "mode": mode}
    if result in ("CONNECTED", "ABANDONED", "HUNG_UP"):
        told.append((6, "greeting_ended", {}))
    if waited is not None:
        ended["waited"] = f"{waited:.6f}s"
    if result == "CONNECTED":
        told.append((7, "connected", {"agent_id": "ann", "waited": ended["waited"]}))
        ended["talked"] = f"{talked}s"
    if result == "ABANDONED":
        told.append((8, "abandoned", {"waited": ended["waited"]}))
    told.append((8 + talked, "ended", ended))
    if disposition or converted:
        told.append((9 + talked, "disposed", {"disposition": disposition, "converted": converted}))
    return attempt_stream(client, id_, *told, at=at, **origin)


def begun(client: str, zone: str = "Asia/Jerusalem", at: int = MONDAY, **set_: Any) -> list[Any]:
    """A campaign that was started; its settings beside the name."""
    return campaign_stream(
        client, (0, "drafted", {"settings": {"name": "Autumn", **set_}}), (0, "started", {}), at=at
    )


def law(name: str) -> Row:
    if not LAW.exists():
        pytest.skip(f"{LAW} is missing: it is no part of the product")
    found: Row = json.loads(LAW.read_text())[name]
    return found


def measured(warehouse: Warehouse, client: str, measure: str) -> list[Row]:
    return warehouse.ask(
        "SELECT period, calls, abandoned, rate, compliant FROM abandonment(client = %(client)s)"
        " WHERE measure = %(measure)s ORDER BY period",
        client=client,
        measure=measure,
    )


def test_the_us_measure_is_of_successive_periods(warehouse: Warehouse) -> None:
    """The trap: of the whole campaign, and of its last 30 days, the rate looks compliant."""
    rule = law("us_successive_30_day_periods")
    client = "us-periods"
    noon = int(datetime(2026, 9, 1, 12, tzinfo=ZONE).timestamp())
    events: list[Any] = []
    for name, span in rule["vector"].items():
        _, first, _, last = name.split("_")
        for day in range(int(first), int(last) + 1):
            for number in range(span["live_per_day"]):
                gone = number < span["abandoned_per_day"]
                events += dialled(
                    client,
                    f"t{day}-{number}",
                    at=noon + (day - 1) * DAY,
                    result="ABANDONED" if gone else "CONNECTED",
                    waited=2 if gone else 0.5,
                )
    assert warehouse.load("client-events", [client_registered(client)]) == []
    assert warehouse.load("campaign-events", begun(client, at=noon)) == []
    assert warehouse.load("attempt-events", events, events[: len(events) // 2]) == []
    found = measured(warehouse, client, "us")
    assert [
        {"period": row["period"], "rate": row["rate"], "compliant": bool(row["compliant"])}
        for row in found
    ] == rule["expected"]
    [whole] = warehouse.ask(
        "SELECT countIf(abandoned) / countIf(live) AS rate FROM attempts"
        " WHERE client_id = 'us-periods'"
    )
    assert whole["rate"] == 0.02


def test_the_uk_estimate_without_machine_detection(warehouse: Warehouse) -> None:
    rule = law("uk_estimate_without_amd")
    client = "uk-estimate"
    counts = rule["vector"]
    events: list[Any] = []
    for number in range(sum(counts.values())):
        told: Row = {"result": "CONNECTED", "talked": 9}
        if number < counts["dropped"]:
            told = {"result": "ABANDONED", "waited": 2}
        elif number >= counts["dropped"] + counts["humans"]:
            told["disposition"] = "answering-machine"
        events += dialled(client, f"t{number}", by="UNKNOWN", **told)
    assert warehouse.load("campaign-events", begun(client)) == []
    assert warehouse.load("attempt-events", events) == []
    [row] = measured(warehouse, client, "uk")
    assert row["rate"] == pytest.approx(rule["expected_rate"])
    # Where machines are told apart, what an agent calls one is none of the persons.
    [us] = measured(warehouse, client, "us")
    assert (us["abandoned"], us["calls"]) == (
        counts["dropped"],
        counts["dropped"] + counts["humans"],
    )


@pytest.mark.parametrize(
    ("told", "calls", "abandoned"),
    [
        ({}, 1, 0),
        ({"waited": 2}, 1, 0),
        ({"waited": 2.000001}, 1, 1),
        ({"result": "ABANDONED", "waited": 2}, 1, 1),
        ({"result": "HUNG_UP", "waited": None}, 1, 0),
        ({"result": "HUNG_UP", "waited": 1.9}, 1, 0),
        ({"by": "UNKNOWN", "result": "ABANDONED", "waited": 2}, 1, 1),
        ({"by": "MACHINE", "result": "MACHINE", "waited": None}, 0, 0),
        ({"by": "MACHINE", "result": "CONNECTED"}, 0, 0),
        ({"result": "CARRIER_ERROR", "waited": None}, 0, 0),
        ({"mode": "message", "result": "DELIVERED", "waited": None}, 0, 0),
        ({"disposition": "answering-machine"}, 0, 0),
    ],
)
def test_what_the_us_measure_counts(
    warehouse: Warehouse, told: Row, calls: int, abandoned: int
) -> None:
    client = f"judged-{uuid.uuid4()}"
    assert warehouse.load("campaign-events", begun(client)) == []
    assert warehouse.load("attempt-events", dialled(client, "t", **told)) == []
    found = [(row["calls"], row["abandoned"]) for row in measured(warehouse, client, "us")]
    assert found == ([(calls, abandoned)] if calls else [])


def test_a_contract_is_judged_by_its_own_seconds_and_periods(warehouse: Warehouse) -> None:
    client = "contracted"
    contract = {"limit": 0.1, "connect_seconds": 1, "period_days": 7}
    events: list[Any] = []
    midnight = int(datetime(2026, 9, 7, tzinfo=ZONE).timestamp())
    for number in range(20):
        late = number in (3, 13, 14)
        at = midnight + number * DAY * 7 // 10
        events += dialled(client, f"t{number}", at=at, waited=1.2 if late else 1)
    assert warehouse.load("client-events", [client_registered(client)]) == []
    assert warehouse.load("campaign-events", begun(client, at=midnight, contract=contract)) == []
    assert warehouse.load("attempt-events", events) == []
    found = measured(warehouse, client, "contract")
    assert [(row["period"], row["calls"], row["abandoned"], row["compliant"]) for row in found] == [
        (1, 10, 1, 1),
        (2, 10, 2, 0),
    ]
    assert [row["abandoned"] for row in measured(warehouse, client, "us")] == [0]


@pytest.fixture(scope="module")
def outbound(warehouse: Warehouse) -> list[Row]:
    """Attempts of `outbound`, as they were told; loaded in any order, partly twice."""
    client = "outbound"
    chance = random.Random(2027)
    told: list[Row] = []
    heard: list[Any] = []
    listed: list[Any] = []
    for number in range(120):
        where = {"campaign": chance.choice(["autumn", "winter"]), "list": f"l{number % 3}"}
        lead = f"k{number}"
        attempts = chance.choice([0, 1, 1, 2, 4])
        turns: list[Told] = [(0, "lead_added", {"source": "import"})]
        for attempt in range(attempts):
            kind = chance.choice(["NO_ANSWER", "BUSY", "CONNECTED", "ABANDONED", "NOT_DIALLED"])
            one = {
                **where,
                "id": f"{lead}-{attempt}",
                "lead": lead,
                "at": MONDAY + chance.randrange(3 * DAY),
                "result": kind,
                "talked": chance.randrange(600) if kind == "CONNECTED" else 0,
                "converted": kind == "CONNECTED" and chance.random() < 0.4,
            }
            told.append(one)
            if kind in ("CONNECTED", "ABANDONED"):
                heard += dialled(
                    client,
                    one["id"],
                    at=one["at"],
                    result=kind,
                    waited=2 if kind == "ABANDONED" else 0.3,
                    talked=one["talked"],
                    converted=one["converted"],
                    campaign_id=one["campaign"],
                    list_id=one["list"],
                    lead_id=lead,
                )
            else:
                heard += attempt_stream(
                    client,
                    one["id"],
                    (0, "started", {"mode": "predictive"}),
                    (9, "ended", {"result": f"RESULT_{kind}"}),
                    at=one["at"],
                    campaign_id=one["campaign"],
                    list_id=one["list"],
                    lead_id=lead,
                )
            turns.append((attempt + 1, "lead_dialled", {"attempt_id": one["id"]}))
        if attempts > 1:
            turns.append((9, "lead_closed", {"reason": "attempts"}))
        told.append({**where, "lead": lead, "attempts": attempts})
        listed += lead_stream(
            client, lead, *turns, campaign=where["campaign"], list_id=where["list"]
        )
    costs = {"currency": "EUR", "per_attempt": "0.01", "per_minute": "0.033333"}
    for campaign in ("autumn", "winter"):
        set_ = {"name": campaign, "costs": {**costs, "per_agent_hour": "18.5"}}
        listed += campaign_stream(client, (-9, "drafted", {"settings": set_}), campaign=campaign)
    for batch in (heard, listed):
        chance.shuffle(batch)
    assert warehouse.load("client-events", [client_registered(client)]) == []
    assert warehouse.load("campaign-events", listed, listed[::3]) == []
    assert warehouse.load("attempt-events", heard[::2], heard) == []
    # An agent waits, talks and writes after each call; each minute of the login is some call's.
    talks = sorted((one for one in told if one.get("result") == "CONNECTED"), key=lambda o: o["at"])
    states: list[Told] = [(0, "logged_in", {})]
    for place, one in enumerate(talks):
        call = f"{client}/{one['id']}"
        states += [
            (100 * place + 10, "became_available", {}),
            (100 * place + 30, "became_busy", {"call": call}),
            (100 * place + 70, "wrap_up_started", {"call": call}),
        ]
        one["agent_s"] = (
            100 + (10 if place == 0 else 0) + (-10 + 30 if place == len(talks) - 1 else 0)
        )
    end = 100 * len(talks)
    states += [(end + 10, "break_started", {}), (end + 30, "logged_out", {})]
    agents = agent_stream("outbound-ann", *states, pool="outbound")
    assert warehouse.load("agent-events", agents, agents) == []
    return told


def ratio(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def figures(rows: Sequence[Row], leads: Sequence[Row] | None) -> Row:
    """What a group's attempts add up to."""
    tried = [row for row in rows if row["result"] != "NOT_DIALLED"]
    contacts = [row for row in tried if row["result"] in ("CONNECTED", "ABANDONED")]
    talked = sum(row["talked"] for row in tried)
    agent_s = sum(row.get("agent_s", 0) for row in tried)
    reached = {row["lead"] for row in contacts}
    attempted = {row["lead"] for row in tried}
    converted = len({row["lead"] for row in tried if row["converted"]})
    minutes = Decimal(sum(3 + row["talked"] for row in contacts)) / 60
    spent = (
        Decimal("0.01") * len(tried)
        + Decimal("0.033333") * minutes
        + Decimal("18.5") * Decimal(agent_s) / 3600
    )
    return {
        "attempts": len(tried),
        "contacts": len(contacts),
        "contact_rate": ratio(len(contacts), len(tried)),
        "leads_attempted": len(attempted),
        "leads_contacted": len(reached),
        "lead_contact_rate": ratio(len(reached), len(attempted)),
        "attempts_per_contact": ratio(len(tried), len(contacts)),
        "connected": sum(row["result"] == "CONNECTED" for row in tried),
        "converted": converted,
        "conversion": ratio(converted, len(reached)),
        "conversion_per_attempt": ratio(converted, len(tried)),
        "talked_s": talked,
        "agent_s": agent_s,
        "talk_share": ratio(talked, agent_s),
        "abandoned": sum(row["result"] == "ABANDONED" for row in tried),
        "abandonment_rate": ratio(
            sum(row["result"] == "ABANDONED" for row in tried), len(contacts)
        ),
        "cost": float(spent),
        "cost_per_sale": float(spent / converted) if converted else None,
        "leads": len(leads) if leads else None,
        "penetration": ratio(sum(row["attempts"] > 0 for row in leads), len(leads))
        if leads
        else None,
        "exhaustion": ratio(sum(row["attempts"] > 1 for row in leads), len(leads))
        if leads
        else None,
    }


def local(at: int) -> datetime:
    return datetime.fromtimestamp(at, ZONE)


GROUPS: dict[str, Callable[[Row], tuple[str, int | None]]] = {
    "all": lambda row: ("", None),
    "campaign": lambda row: (row["campaign"], None),
    "list": lambda row: (row["list"], None),
    "campaign-hour": lambda row: (row["campaign"], local(row["at"]).hour),
    "day": lambda row: (local(row["at"]).date().isoformat(), None),
}


@pytest.mark.parametrize("by", GROUPS)
def test_figures_are_those_of_the_attempts(
    warehouse: Warehouse, outbound: list[Row], by: str
) -> None:
    first, last = date(2026, 9, 1), date(2026, 11, 1)
    rows = warehouse.ask(
        "SELECT * FROM campaign_kpi(client = 'outbound', from_date = %(first)s,"
        " to_date = %(last)s, by = %(by)s)",
        first=str(first),
        last=str(last),
        by=by,
    )
    attempts = defaultdict(list)
    leads = defaultdict(list)
    for row in outbound:
        if "result" in row:
            attempts[GROUPS[by](row)].append(row)
        elif by in ("all", "campaign", "list"):
            leads[GROUPS[by](row)].append(row)
    expected = {key: figures(told, leads.get(key)) for key, told in attempts.items()}
    expected = {key: row for key, row in expected.items() if row["attempts"]}
    assert {(row["name"], row["hour"]) for row in rows} == expected.keys()
    for row in rows:
        wanted = expected[row["name"], row["hour"]]
        row["cost"] = float(row["cost"]["EUR"])
        row["cost_per_sale"] = float(row["cost_per_sale"]["EUR"]) if row["converted"] else None
        for name, value in wanted.items():
            assert row[name] == (value if value is None else pytest.approx(value, abs=2e-6)), name


def test_attempts_count_in_their_own_day(warehouse: Warehouse, outbound: list[Row]) -> None:
    by_day: dict[date, int] = defaultdict(int)
    for row in outbound:
        if row.get("result", "NOT_DIALLED") != "NOT_DIALLED":
            by_day[local(row["at"]).date()] += 1
    for day, attempts in by_day.items():
        [row] = warehouse.ask(
            "SELECT attempts FROM campaign_kpi(client = 'outbound', from_date = %(first)s,"
            " to_date = %(last)s, by = 'all')",
            first=str(day),
            last=str(day + timedelta(days=1)),
        )
        assert row["attempts"] == attempts


RANGE = ("--client", "outbound", "--from", "2026-09-01", "--to", "2026-11-01")


@pytest.mark.parametrize("by", GROUPS)
def test_the_report_says_the_same(warehouse: Warehouse, outbound: list[Row], by: str) -> None:
    rows = report(warehouse.url, "kpi", *RANGE, "--by", by, "--attempts")
    told = [row for row in outbound if row.get("result", "NOT_DIALLED") != "NOT_DIALLED"]
    assert sum(row["attempts"] for row in rows) == len(told)
    names = {"all": [], "campaign-hour": ["campaign", "hour"]}.get(by, [by])
    assert [*rows[0]][: len(names) + 1] == [*names, "attempts"]
    if by in ("all", "campaign"):
        assert all(row["us_compliant"] is False and row["us_rate"] > 0.03 for row in rows)
        assert all(row["contract_rate"] is None for row in rows)
    else:
        assert "us_rate" not in rows[0]


def printed(warehouse: Warehouse, *options: str) -> str:
    arguments = ["kpi", *RANGE, *options]
    done = CliRunner().invoke(app, arguments, env={"RELAIS_CLICKHOUSE": warehouse.url})
    assert done.exit_code == 0, done.stderr
    return done.stdout


def test_for_people_and_for_spreadsheets(warehouse: Warehouse, outbound: list[Row]) -> None:
    rows = report(warehouse.url, "kpi", *RANGE, "--by", "campaign")
    assert rows == report(warehouse.url, "kpi", *RANGE, "--by", "campaign", "--attempts")
    table = printed(warehouse, "--by", "campaign")
    read = [*csv.DictReader(printed(warehouse, "--by", "campaign", "--format", "csv").splitlines())]
    assert [line["campaign"] for line in read] == ["autumn", "winter"]
    for row, line in zip(rows, read, strict=True):
        assert int(line["attempts"]) == row["attempts"]
        assert line["cost_EUR"] == row["cost"]["EUR"]
        assert f"{row['us_rate']:.1%}!" in table
        assert f"{row['conversion']:.1%}" in table
    assert "! above the limit" in table
    assert "l0" in printed(warehouse, "--by", "list")


def test_days_without_attempts(warehouse: Warehouse, outbound: list[Row]) -> None:
    empty = ("--client", "outbound", "--from", "2020-01-01", "--to", "2020-01-02")
    assert report(warehouse.url, "kpi", *empty, "--by", "campaign") == []
    [row] = report(warehouse.url, "kpi", *empty, "--attempts")
    assert (row["attempts"], row["contact_rate"], row["cost"], row["us_rate"]) == (
        0,
        None,
        {},
        None,
    )


@pytest.mark.parametrize("options", [("--by", "queue"), ("--orders",), ("--by", "topic")])
def test_what_attempts_do_not_have(warehouse: Warehouse, options: tuple[str, ...]) -> None:
    arguments = ["kpi", *RANGE, "--attempts", *options]
    result = CliRunner().invoke(app, arguments, env={"RELAIS_CLICKHOUSE": warehouse.url})
    assert result.exit_code == 2
    assert result.stderr.startswith("--attempts: ")
