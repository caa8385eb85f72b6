"""Complaints and wishes as rows, and their counts, against a fold of the same events in Python."""

import random
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from relais.complaints.v1.events_pb2 import Clock, ComplaintEvent, Severity, SubjectKind
from typer.testing import CliRunner

from relaisctl.__main__ import app
from services.analytics.tests.events import MONDAY, Body, client_registered, complaint_events
from services.analytics.tests.support import Warehouse, report

FAR = datetime(2100, 1, 1, tzinfo=UTC)
AGES = [(1, "<1 d"), (3, "1-3 d"), (7, "3-7 d"), (30, "7-30 d")]

days = st.integers(0, 60).map(lambda n: datetime(2026, 12, 1, tzinfo=UTC) + timedelta(n))
dues = st.fixed_dictionaries(
    {}, optional={name: days.map(datetime.isoformat) for name in ("first_response", "resolution")}
)
severities = st.sampled_from(["SEVERITY_LOW", "SEVERITY_NORMAL", "SEVERITY_HIGH"])
codes = st.lists(st.sampled_from(["late", "rude", "wrong-bill"]), max_size=2, unique=True)
agents = st.sampled_from(["ann", "bob"])
subjects = st.one_of(
    agents.map(lambda agent: {"kind": "SUBJECT_KIND_AGENT", "id": agent}),
    st.just({"kind": "SUBJECT_KIND_THIRD_PARTY"}),
)
took = st.integers(0, 10**8).map(lambda tenths: f"{tenths // 10}.{tenths % 10}s")


def body(name: str, **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Body]:
    return st.tuples(st.just(name), st.fixed_dictionaries(fields))


opened = body(
    "opened",
    source=st.sampled_from(["customer", "logistics"]),
    about=subjects,
    severity=severities,
    due=dues,
    date_corrected=st.booleans(),
)
later = st.one_of(
    body("acknowledged"),
    body("assigned", assignee=agents),
    body("investigated"),
    body("paused"),
    body("resumed", due=dues),
    body("severity_changed", severity=severities, due=dues),
    body("policy_applied", due=dues),
    body("upheld", reasons=codes, responsible=subjects),
    body("rejected", reasons=codes),
    body(
        "remedied",
        remedy=st.just("refund"),
        amount=st.decimals(0, 1000, places=2).map(str),
        currency=st.sampled_from(["EUR", "RUB"]),
    ),
    body("remedied", remedy=st.just("apology")),
    body("closed", first_response_took=took, resolution_took=took),
    body("appealed", due=dues),
    body("reopened", due=dues),
    body("clock_ran_out", clock=st.sampled_from(["CLOCK_FIRST_RESPONSE", "CLOCK_RESOLUTION"])),
)
histories = st.builds(lambda first, rest: [first, *rest], opened, st.lists(later, max_size=14))


def words(enum: Any, number: int) -> str:
    """An enum's value as rows have it."""
    name: str = enum.Name(number)
    prefix = enum.Name(0).removesuffix("UNSPECIFIED")
    return name.removeprefix(prefix).lower() if number else ""


def stands(events: Sequence[ComplaintEvent], at: datetime = FAR) -> dict[str, Any]:
    """The row of a complaint: its events of until then, told one after another."""
    row: dict[str, Any] = {
        "state": "open",
        "waiting": False,
        "verdict": "none",
        "reasons": [],
        "responsible": ("", ""),
        "assignee": "",
        "appealed": 0,
        "reopened": 0,
        "remedies": [],
        "remedy_amounts": {},
        **dict.fromkeys(
            [
                *("acknowledged_at", "decided_at", "closed_at"),
                *("due_first_response", "due_resolution"),
                *("first_response_ran_out_at", "resolution_ran_out_at"),
                *("first_response_took_s", "resolution_took_s", "age"),
            ]
        ),
    }

    def again() -> None:
        row.update(state="open", waiting=False, closed_at=None)
        row.update(first_response_took_s=None, resolution_took_s=None)

    for event in sorted(events, key=lambda event: event.meta.version):
        when = event.meta.occurred_at.ToDatetime(UTC)
        if when > at:
            continue
        name = event.WhichOneof("body") or ""
        said = getattr(event, name)
        if "due" in said.DESCRIPTOR.fields_by_name:
            for clock in ("first_response", "resolution"):
                if said.due.HasField(clock):
                    row[f"due_{clock}"] = getattr(said.due, clock).ToDatetime(UTC)
        match name:
            case "opened":
                row |= {
                    "opened_at": when,
                    "source": said.source,
                    "about": (words(SubjectKind, said.about.kind), said.about.id),
                    "severity": words(Severity, said.severity),
                    "date_corrected": said.date_corrected,
                }
            case "acknowledged":
                row["acknowledged_at"] = row["acknowledged_at"] or when
            case "assigned":
                row["assignee"] = said.assignee
            case "paused" | "resumed":
                row["waiting"] = name == "paused"
            case "severity_changed":
                row["severity"] = words(Severity, said.severity)
            case "upheld" | "rejected":
                to = (
                    (words(SubjectKind, said.responsible.kind), said.responsible.id)
                    if name == "upheld"
                    else ("", "")
                )
                waiting = row["waiting"]
                again()
                row |= {"verdict": name, "reasons": [*said.reasons], "responsible": to}
                row |= {"state": "decided", "decided_at": when, "waiting": waiting}
            case "remedied":
                row["remedies"].append(said.remedy)
                if said.currency:
                    sums = row["remedy_amounts"]
                    sums[said.currency] = sums.get(said.currency, 0) + Decimal(said.amount)
            case "closed":
                row |= {"state": "closed", "closed_at": when, "waiting": False}
                for clock in ("first_response", "resolution"):
                    spent = getattr(said, f"{clock}_took").ToMicroseconds() / 1e6
                    row[f"{clock}_took_s"] = spent
            case "appealed":
                again()
                row |= {"verdict": "none", "reasons": [], "responsible": ("", "")}
                row |= {"decided_at": None, "appealed": row["appealed"] + 1}
            case "reopened":
                again()
                row["reopened"] += 1
            case "clock_ran_out":
                clock = words(Clock, said.clock)
                first = row[f"{clock}_ran_out_at"]
                row[f"{clock}_ran_out_at"] = min(first or when, when)
    for clock in ("first_response", "resolution"):
        row[f"{clock}_ran_out"] = row[f"{clock}_ran_out_at"] is not None
        if not row[f"{clock}_took_s"] and row[f"due_{clock}"] is None:
            row[f"{clock}_took_s"] = None
    if row["state"] != "closed":
        old = (at - row["opened_at"]) / timedelta(days=1)
        row["age"] = next((age for limit, age in AGES if old < limit), ">30 d")
    return row


def found(warehouse: Warehouse, client: str, at: datetime = FAR) -> dict[str, dict[str, Any]]:
    rows = warehouse.ask(
        "SELECT * EXCEPT (client_id, age_s) FROM complaints_at(as_of = %(at)s)"
        " WHERE client_id = %(client)s",
        client=client,
        at=at.strftime("%Y-%m-%d %H:%M:%S.%f"),
    )
    for row in rows:
        row["about"] = (row.pop("about_kind"), row.pop("about_id"))
        row["responsible"] = (row.pop("responsible_kind"), row.pop("responsible_id"))
        for name in ("customer_id", "channel", "reference", "call_id"):
            assert row.pop(name) == ""
    return {row.pop("complaint_id"): row for row in rows}


@given(
    st.lists(histories, min_size=1, max_size=8),
    st.randoms(use_true_random=False),
    st.integers(0, 15),
)
@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_neither_order_nor_copies_change_a_row(
    warehouse: Warehouse, told: list[list[Body]], chance: random.Random, hours: int
) -> None:
    client = f"c-{uuid.uuid4()}"
    complaints = {
        f"k{number}": complaint_events(client, f"k{number}", *bodies)
        for number, bodies in enumerate(told)
    }
    events = [event for stream in complaints.values() for event in stream]
    mixed = events + chance.sample(events, k=len(events) // 2)
    chance.shuffle(mixed)
    third = len(mixed) // 3
    parts = [part for part in (mixed[:third], mixed[third:], mixed[:third]) if part]
    assert warehouse.load("complaint-events", *parts) == []
    for at in (FAR, datetime.fromtimestamp(MONDAY + hours * 3600, UTC)):
        assert found(warehouse, client, at) == {
            name: stands(stream, at) for name, stream in complaints.items()
        }
    in_general = warehouse.ask(
        "SELECT complaint_id, state FROM complaints WHERE client_id = %(client)s", client=client
    )
    assert {row["complaint_id"]: row["state"] for row in in_general} == {
        name: stands(stream)["state"] for name, stream in complaints.items()
    }


@pytest.fixture(scope="module")
def department(warehouse: Warehouse) -> dict[str, Any]:
    """Two clients with some hundred complaints, and every complaint's events."""
    chance = random.Random(2026)
    told: dict[tuple[str, str], list[ComplaintEvent]] = {}
    for number in range(300):
        client = ("judging-a", "judging-b")[number % 3 == 0]
        responsible = chance.choice(
            [
                {"kind": "SUBJECT_KIND_AGENT", "id": chance.choice(["ann", "bob", "cem"])},
                {"kind": "SUBJECT_KIND_CLIENT"},
            ]
        )
        bodies: list[Body] = [
            (
                "opened",
                {
                    "about": {"kind": "SUBJECT_KIND_AGENT", "id": chance.choice(["ann", "bob"])},
                    "severity": chance.choice(["SEVERITY_LOW", "SEVERITY_HIGH"]),
                    "source": "customer",
                    "channel": chance.choice(["voice", "web"]),
                    "due": {"resolution": "2026-12-24T12:00:00Z"},
                },
            ),
            ("acknowledged", {}),
        ]
        reasons = chance.sample(["late", "rude"], k=chance.randint(1, 2))
        if chance.random() < 0.7:
            upheld = chance.random() < 0.6
            bodies.append(
                ("upheld", {"reasons": reasons, "responsible": responsible})
                if upheld
                else ("rejected", {"reasons": ["no-fault"]})
            )
            if chance.random() < 0.8:
                bodies.append(("closed", {"resolution_took": f"{chance.randint(1, 9999)}s"}))
                if chance.random() < 0.3:
                    bodies.append(("reopened", {}))
            if chance.random() < 0.2:
                bodies.append(("appealed", {}))
        if chance.random() < 0.2:
            bodies.append(("clock_ran_out", {"clock": "CLOCK_RESOLUTION"}))
        at = MONDAY - chance.randint(0, 45 * 86_400)
        stream = complaint_events(client, f"k{number}", *bodies, at=at, every=7200)
        told[client, f"k{number}"] = stream
    events = [event for stream in told.values() for event in stream]
    chance.shuffle(events)
    registered = [
        client_registered(client, zone)
        for client, zone in (("judging-a", "Asia/Tokyo"), ("judging-b", "America/Lima"))
    ]
    warehouse.load("client-events", registered)
    warehouse.load("complaint-events", events[:500], events[500:])
    return {"told": told, "zones": {"judging-a": 9, "judging-b": -5}}


NOW = datetime.fromtimestamp(MONDAY + 40_000, UTC)
GROUPS: dict[str, Callable[[dict[str, Any]], Sequence[str | None]]] = {
    "all": lambda row: [None],
    "client": lambda row: [row["client"]],
    "verdict": lambda row: [row["verdict"]],
    "age": lambda row: [row["age"]],
    "severity": lambda row: [row["severity"]],
    "state": lambda row: [row["state"]],
    "responsible": lambda row: [row["responsible"][0] or None],
    "about": lambda row: [row["about"][0]],
    "agent": lambda row: [row["responsible"][1] or None],
    "reason": lambda row: row["reasons"] or [None],
    "source": lambda row: [row["source"]],
    "day": lambda row: [row["day"]],
}


@pytest.mark.parametrize("by", GROUPS)
def test_counts_are_those_of_the_rows(
    warehouse: Warehouse, department: dict[str, Any], by: str
) -> None:
    rows = []
    for (client, _), stream in department["told"].items():
        if stream[0].meta.occurred_at.ToDatetime(UTC) > NOW:
            continue
        row = stands(stream, NOW)
        local = row["opened_at"] + timedelta(hours=department["zones"][client])
        rows.append({**row, "client": client, "day": str(local.date())})
    expected: dict[str | None, list[dict[str, Any]]] = {}
    for row in rows:
        for group in GROUPS[by](row):
            expected.setdefault(group, []).append(row)

    asked = report(warehouse.url, "complaints", "--by", by, "--as-of", NOW.isoformat())
    # The database has other clients' complaints, of other tests: they are not registered.
    answered = {line.get(by): line for line in asked if line["complaints"]}
    assert set(answered) == set(expected)
    for group, complaints in expected.items():
        line = dict(answered[group])
        if by != "all":
            line.pop(by)
        states = Counter(row["state"] for row in complaints)
        verdicts = Counter(row["verdict"] for row in complaints)
        solved = [
            row["resolution_took_s"] for row in complaints if row["resolution_took_s"] is not None
        ]
        judged = verdicts["upheld"] + verdicts["rejected"]
        assert line == {
            "complaints": len(complaints),
            **{state: states[state] for state in ("open", "decided", "closed")},
            "upheld": verdicts["upheld"],
            "rejected": verdicts["rejected"],
            "undecided": verdicts["none"],
            "justified_rate": pytest.approx(verdicts["upheld"] / judged) if judged else None,
            "appealed": sum(row["appealed"] > 0 for row in complaints),
            "reopened": sum(row["reopened"] > 0 for row in complaints),
            "first_response_late": 0,
            "resolution_late": sum(row["resolution_ran_out"] for row in complaints),
            "first_response_took_s": None,
            "resolution_took_s": pytest.approx(sum(solved) / len(solved)) if solved else None,
        }


def test_empty_groups_and_ranges(warehouse: Warehouse, department: dict[str, Any]) -> None:
    nobody = ("--client", "judging-a", "--from", "2020-01-01", "--to", "2020-01-02")
    [row] = report(warehouse.url, "complaints", *nobody)
    assert row["complaints"] == 0
    assert row["justified_rate"] is None
    ages = report(warehouse.url, "complaints", *nobody, "--by", "age")
    assert [line["age"] for line in ages] == ["<1 d", "1-3 d", "3-7 d", "7-30 d", ">30 d"]
    assert report(warehouse.url, "complaints", *nobody, "--by", "agent") == []

    client = ("--client", "judging-a")
    whole = report(warehouse.url, "complaints", *client)
    assert report(warehouse.url, "complaints", *client, "--from", "2000-01-01") == whole
    before = report(warehouse.url, "complaints", *client, "--by", "day", "--to", "2026-09-01")
    assert max(line["day"] for line in before) == "2026-08-31"


def test_complaints_about_agents(warehouse: Warehouse, department: dict[str, Any]) -> None:
    rows = [
        stands(stream) for (client, _), stream in department["told"].items() if client[-1] == "a"
    ]
    asked = warehouse.ask("SELECT * FROM agent_complaints WHERE client_id = 'judging-a'")
    assert {row["agent_id"]: row for row in asked} == {
        agent: {
            "client_id": "judging-a",
            "agent_id": agent,
            "complaints": sum(row["about"][1] == agent for row in rows),
            "undecided": sum(row["about"][1] == agent and row["verdict"] == "none" for row in rows),
            "unjustified": sum(
                row["about"][1] == agent and row["verdict"] == "rejected" for row in rows
            ),
            "justified": sum(row["responsible"] == ("agent", agent) for row in rows),
            "justified_severe": sum(
                row["responsible"] == ("agent", agent) and row["severity"] == "high" for row in rows
            ),
        }
        for agent in ("ann", "bob", "cem")
    }


def test_wishes_are_counted_with_those_merged_into_them(warehouse: Warehouse) -> None:
    client = "wishing"

    def wish(id_: str, *bodies: Body) -> list[ComplaintEvent]:
        return complaint_events(client, id_, *bodies, kind="wish")

    def voice(customer: str, count: int) -> Body:
        return "wish_supported", {"customer_id": customer, "supporters": count}

    def first(customer: str) -> Body:
        return "wish_expressed", {"customer_id": customer, "source": "", "topic_id": "opening"}

    events = [
        *wish("w1", first("ann"), voice("bob", 2), ("wish_closed", {"outcome": "granted"})),
        *wish("w2", first("bob"), voice("cem", 2), ("wish_merged", {"into_wish_id": "w1"})),
        *wish("w3", first("dan"), ("wish_merged", {"into_wish_id": "w2"})),
        *wish(
            "w4",
            first("eve"),
            ("wish_merged", {"into_wish_id": "w1"}),
            ("wish_unmerged", {"from_wish_id": "w1"}),
        ),
        # The same id as a wish's: two things.
        *complaint_events(client, "w1", ("opened", {"source": "customer"})),
    ]
    random.Random(1).shuffle(events)
    warehouse.load("complaint-events", events[:6], events[6:], events)
    rows = warehouse.ask(
        "SELECT wish_id, supporters, voices, merged_into, root_id, state, outcome FROM wishes"
        " WHERE client_id = 'wishing' ORDER BY wish_id"
    )
    assert [tuple(row.values()) for row in rows] == [
        ("w1", 2, 4, "", "w1", "closed", "granted"),
        ("w2", 2, 0, "w1", "w1", "merged", ""),
        ("w3", 1, 0, "w2", "w1", "merged", ""),
        ("w4", 1, 1, "", "w4", "open", ""),
    ]
    assert [*found(warehouse, client)] == ["w1"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--client", "nobody"], "--client: 'nobody' is not registered"),
        (["--from", "yesterday"], "--from: 'yesterday'"),
        (["--to", "2026-13-01"], "--to: '2026-13-01'"),
        (["--from", "2026-02-02", "--to", "2026-02-02"], "--to: 2026-02-02 is not after"),
        (["--as-of", "2026-02-02T10:00:00"], "--as-of: '2026-02-02T10:00:00' is no time such as"),
        (["--as-of", "9999-12-31T23:59:59-12:00"], "--as-of:"),
    ],
)
def test_what_cannot_be_answered(warehouse: Warehouse, arguments: list[str], words: str) -> None:
    environment = {"RELAIS_CLICKHOUSE": warehouse.url}
    result = CliRunner().invoke(app, ["complaints", *arguments], env=environment)
    assert result.exit_code == 2
    assert words in result.stderr
    assert len(result.stderr.splitlines()) == 1
