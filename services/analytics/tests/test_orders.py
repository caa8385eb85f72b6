"""Orders as rows, their visits and lines, and their figures, against a fold in Python."""

import csv
import random
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from relais.orders.v1.events_pb2 import MissedBy, OrderEvent, Party
from typer.testing import CliRunner

from relaisctl.__main__ import app
from services.analytics.tests.events import (
    MONDAY,
    Body,
    call,
    client_registered,
    customer_events,
    order_events,
)
from services.analytics.tests.support import Warehouse, report

RANGE = ("--from", "2026-09-01", "--to", "2026-11-01")


def money(amount: Decimal | str, currency: str) -> dict[str, str]:
    return {"amount": str(amount), "currency": currency}


def visit(number: int, crew: str) -> dict[str, str]:
    """A booking of a test, in a slot of its own."""
    starts = datetime(2027, 1, 4, 9, tzinfo=UTC) + timedelta(hours=2 * number)
    return {
        "visit_id": f"v{number}",
        "crew_id": crew,
        "area_id": "north",
        "skill": "fibre",
        "starts_at": starts.isoformat(),
        "ends_at": (starts + timedelta(minutes=90)).isoformat(),
    }


amounts = st.decimals(-50, 5000, places=2)
edits = st.sampled_from(
    [
        ("answers_saved", {"fields": ["plan"], "expires_at": "2027-01-01T00:00:00Z"}),
        ("address_given", {"field": "home"}),
        ("address_confirmed", {"field": "home"}),
        ("promotion_applied", {"promotion_id": "autumn"}),
        ("promotion_removed", {"promotion_id": "autumn"}),
        ("point_ticked", {"point_id": "amount", "agent_id": "bob"}),
        ("point_unticked", {"point_id": "amount"}),
    ]
)
lines = st.builds(
    lambda id_, amount, monthly: {
        "line_id": id_,
        "quantity": "2",
        "unit": money(amount / 2, "EUR"),
        "amount": money(amount, "EUR"),
        "monthly": monthly,
        "discount": amount < 0,
    },
    st.sampled_from(["router", "plan"]),
    amounts,
    st.booleans(),
)


@st.composite
def histories(draw: st.DrawFn) -> list[Body]:
    """What may become of an order: a draft, perhaps placed, perhaps undone; with visits."""
    told: list[Body] = [("drafted", {"expires_at": "2027-01-01T00:00:00Z"})]
    booked: dict[str, str] | None = None
    count = 0

    def another() -> dict[str, str]:
        nonlocal count
        count += 1
        return visit(count, draw(st.sampled_from(["red", "blue"])))

    def move(reason: str) -> None:
        nonlocal booked
        new = another()
        told.append(("visit_rescheduled", {"visit": new, "previous": booked, "reason": reason}))
        booked = new

    told += draw(st.lists(edits, max_size=3))
    for step in draw(st.lists(st.sampled_from(["book", "move", "release"]), max_size=4)):
        if booked is None and step == "book":
            booked = another()
            told.append(("visit_scheduled", {"visit": booked}))
        elif booked and step == "move":
            move("customer")
        elif booked and step == "release":
            told.append(("visit_released", {"visit": booked}))
            booked = None
    match draw(st.sampled_from(["open", "expires", "is cancelled", *["is placed"] * 4])):
        case "open":
            return told
        case "expires":
            return [*told, ("draft_expired", {})]
        case "is cancelled":
            return [*told, ("cancelled", {"reason": "not-now", "by": "PARTY_CUSTOMER"})]

    currency = draw(st.sampled_from(["EUR", "RUB", ""]))
    total, monthly = draw(amounts), draw(amounts)
    sold = (
        {"total": money(total, currency), "monthly": money(monthly, currency)} if currency else {}
    )
    placed: dict[str, Any] = {**sold, "lines": draw(st.lists(lines, max_size=3))}
    placed["reported"] = draw(st.dictionaries(st.sampled_from(["plan", "speed"]), st.just("1")))
    if booked:
        placed["visit"] = booked
    told.append(("placed", placed))
    if draw(st.booleans()):
        told.append(("confirmed", {"reference": draw(st.sampled_from(["", "ERP-1"]))}))
    missed = False
    steps = ["move", "overdue", "miss", "miss and move", "done"] if booked else []
    for step in draw(st.lists(st.sampled_from(steps), max_size=4)) if steps else ():
        if step == "overdue" and not missed:
            told.append(("visit_overdue", {"visit": booked}))
        if step.startswith("miss") and not missed:
            by = draw(st.sampled_from(["MISSED_BY_CREW", "MISSED_BY_CUSTOMER"]))
            told.append(("visit_missed", {"visit": booked, "by": by}))
            missed = True
        if step == "done" and not missed:
            told.append(("visit_done", {"visit": booked}))
            break
        if step.endswith("move"):
            move("missed" if missed else "client")
            missed = False
    since = {**sold, "placed_at": datetime.fromtimestamp(MONDAY, UTC).isoformat()}
    match draw(st.sampled_from(["stands", "cancelled", "fulfilled", "returned", "failed"])):
        case "cancelled":
            told.append(("cancelled", {**since, "reason": "too-dear", "by": "PARTY_CLIENT"}))
        case "fulfilled" | "returned" | "failed" as end:
            told.append(("fulfilled", {**sold, "after_sale_until": "2027-02-01T00:00:00Z"}))
            if end != "fulfilled":
                told.append((end, {**since, "reason": "never-worked"}))
    # Those that undo it know when it was placed.
    at = datetime.fromtimestamp(MONDAY + 60 * told.index(("placed", placed)), UTC).isoformat()
    return [
        (name, {**fields, "placed_at": at}) if "placed_at" in fields else (name, fields)
        for name, fields in told
    ]


STATUS = {
    "drafted": "draft",
    "draft_expired": "expired",
    "placed": "placed",
    "confirmed": "confirmed",
    "fulfilled": "fulfilled",
    "cancelled": "cancelled",
    "returned": "returned",
    "failed": "failed",
}


def words(enum: Any, number: int) -> str:
    """An enum's value as rows have it."""
    name: str = enum.Name(number)
    prefix = enum.Name(0).removesuffix("UNSPECIFIED")
    return name.removeprefix(prefix).lower() if number else ""


def when(event: OrderEvent) -> datetime:
    return event.meta.occurred_at.ToDatetime(UTC)


def stands(events: Sequence[OrderEvent]) -> dict[str, Any]:
    """The row of an order: its events, told one after another."""
    row: dict[str, Any] = {
        **{f"{name}_at": None for name in STATUS.values() if name != "draft"},
        "total": Decimal(0),
        "monthly": Decimal(0),
        "currency": "",
        "reason": "",
        "cancelled_by": "",
        "reference": "",
        "reported": {},
        "visit_state": "none",
        "visit": None,
        "reschedules": 0,
        "misses": 0,
        "overdue": 0,
    }
    for event in events:
        name = event.WhichOneof("body") or ""
        said = getattr(event, name)
        if name in STATUS:
            row["status"] = STATUS[name]
            row["drafted_at" if name == "drafted" else f"{STATUS[name]}_at"] = when(event)
        match name:
            case "placed":
                row["total"] = Decimal(said.total.amount or 0)
                row["monthly"] = Decimal(said.monthly.amount or 0)
                row["currency"] = said.total.currency
                row["reported"] = dict(said.reported)
            case "confirmed":
                row["reference"] = said.reference
            case "returned" | "failed":
                row["reason"] = said.reason
            case "cancelled":
                row |= {"reason": said.reason, "cancelled_by": words(Party, said.by)}
            case "visit_scheduled" | "visit_rescheduled":
                row |= {"visit_state": "scheduled", "visit": said.visit}
                row["reschedules"] += name == "visit_rescheduled"
            case "visit_released":
                row |= {"visit_state": "none", "visit": None}
            case "visit_missed":
                row |= {"visit_state": "missed", "misses": row["misses"] + 1}
            case "visit_done":
                row["visit_state"] = "done"
            case "visit_overdue":
                row["overdue"] += 1
        if name in ("cancelled", "draft_expired") and row["visit_state"] == "scheduled":
            row |= {"visit_state": "none", "visit": None}
    now = row.pop("visit")
    row |= {
        "visit_id": now.visit_id if now else "",
        "crew_id": now.crew_id if now else "",
        "area_id": now.area_id if now else "",
        "skill": now.skill if now else "",
        "visit_starts_at": now.starts_at.ToDatetime(UTC) if now else None,
        "visit_ends_at": now.ends_at.ToDatetime(UTC) if now else None,
        "counted_at": row["placed_at"] or row["drafted_at"],
        **{name: row[f"{name}_at"] is not None for name in ("fulfilled", "returned", "failed")},
        "placed": row["placed_at"] is not None,
        "cancelled": row["placed_at"] is not None and row["cancelled_at"] is not None,
        "stands": row["status"] in ("placed", "confirmed", "fulfilled"),
    }
    return row


def visits_of(events: Iterable[OrderEvent]) -> dict[str, dict[str, Any]]:
    """The rows of an order's visits."""
    rows: dict[str, dict[str, Any]] = {}
    for event in events:
        name = event.WhichOneof("body") or ""
        said = getattr(event, name)
        if name in ("visit_scheduled", "visit_rescheduled"):
            rows[said.visit.visit_id] = {
                "crew_id": said.visit.crew_id,
                "area_id": said.visit.area_id,
                "skill": said.visit.skill,
                "starts_at": said.visit.starts_at.ToDatetime(UTC),
                "ends_at": said.visit.ends_at.ToDatetime(UTC),
                "booked_at": when(event),
                "replaces": "",
                "moved_reason": "",
                "missed_by": "",
                "overdue_at": None,
                "outcome": "scheduled",
                "outcome_at": None,
            }
        match name:
            case "visit_rescheduled":
                rows[said.visit.visit_id]["replaces"] = said.previous.visit_id
                old = rows[said.previous.visit_id]
                old["moved_reason"] = said.reason
                if old["outcome"] == "scheduled":
                    old |= {"outcome": "moved", "outcome_at": when(event)}
            case "visit_released":
                rows[said.visit.visit_id] |= {"outcome": "released", "outcome_at": when(event)}
            case "visit_done" | "visit_missed":
                outcome = {"outcome": name.removeprefix("visit_"), "outcome_at": when(event)}
                rows[said.visit.visit_id] |= outcome
                if name == "visit_missed":
                    rows[said.visit.visit_id]["missed_by"] = words(MissedBy, said.by)
            case "visit_overdue":
                row = rows[said.visit.visit_id]
                row["overdue_at"] = row["overdue_at"] or when(event)
            case "cancelled" | "draft_expired":
                for row in rows.values():
                    if row["outcome"] == "scheduled":
                        row |= {"outcome": "released", "outcome_at": when(event)}
    return rows


def lines_of(events: Iterable[OrderEvent]) -> list[dict[str, Any]]:
    return [
        {
            "placed_at": when(event),
            "number": number,
            "line_id": line.line_id,
            "quantity": Decimal(line.quantity),
            "unit": Decimal(line.unit.amount),
            "amount": Decimal(line.amount.amount),
            "currency": line.amount.currency,
            "monthly": line.monthly,
            "discount": line.discount,
        }
        for event in events
        if event.HasField("placed")
        for number, line in enumerate(event.placed.lines, 1)
    ]


def found(warehouse: Warehouse, view: str, client: str) -> list[dict[str, Any]]:
    rows = warehouse.ask(
        f"SELECT * EXCEPT (client_id) FROM {view} WHERE client_id = %(client)s ORDER BY ALL",
        client=client,
    )
    assert {row.pop("product_id") for row in rows} <= {"internet"}
    return rows


@given(st.lists(histories(), min_size=1, max_size=6), st.randoms(use_true_random=False))
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_neither_order_nor_copies_change_a_row(
    warehouse: Warehouse, told: list[list[Body]], chance: random.Random
) -> None:
    client = f"o-{uuid.uuid4()}"
    origin = {"form_version": 3, "call_id": "c-1", "agent_id": "ann", "campaign_id": "autumn"}
    origin |= {"offer_id": "fibre", "channel": "voice", "customer_id": "k-7"}
    orders = {
        f"o{number}": order_events(client, f"o{number}", *bodies, **origin)
        for number, bodies in enumerate(told)
    }
    events = [event for stream in orders.values() for event in stream]
    mixed = events + chance.sample(events, k=len(events) // 2)
    chance.shuffle(mixed)
    third = len(mixed) // 3
    parts = [part for part in (mixed[:third], mixed[third:], mixed[:third]) if part]
    assert warehouse.load("order-events", *parts) == []

    rows = found(warehouse, "orders", client)
    for row in rows:
        assert {name: row.pop(name) for name in origin} == origin
    assert {row.pop("order_id"): row for row in rows} == {
        name: stands(stream) for name, stream in orders.items()
    }
    rows = found(warehouse, "visits", client)
    assert {(row.pop("order_id"), row.pop("visit_id")): row for row in rows} == {
        (name, visit_id): row
        for name, stream in orders.items()
        for visit_id, row in visits_of(stream).items()
    }
    assert found(warehouse, "order_lines", client) == [
        {"order_id": name, **line} for name, stream in orders.items() for line in lines_of(stream)
    ]


def test_what_is_not_known_of_an_order_changes_nothing(warehouse: Warehouse) -> None:
    """An event of the future is kept; an order of which only the end is in the topic is one."""
    client = "half-known"
    placed = money("10.00", "EUR")
    *_, end = order_events(
        client,
        "o1",
        ("drafted", {}),
        ("placed", {"total": placed}),
        ("fulfilled", {"total": placed}),
        ("returned", {"total": placed, "placed_at": "2026-09-02T10:00:00Z", "reason": "broken"}),
    )
    unknown = order_events(client, "o1", *[("drafted", {})] * 9)[8]
    unknown.ClearField("drafted")
    assert warehouse.load("order-events", [end, unknown]) == []
    [row] = found(warehouse, "orders", client)
    assert (row["status"], row["placed"], row["total"]) == ("returned", 1, Decimal(10))
    assert row["placed_at"] == datetime(2026, 9, 2, 10, tzinfo=UTC)
    kept = "SELECT event_type FROM order_events WHERE client_id = 'half-known' AND version = 9"
    assert warehouse.ask(kept) == [{"event_type": "Unknown"}]


@pytest.fixture(scope="module")
def sold(warehouse: Warehouse) -> dict[str, list[dict[str, Any]]]:
    """Calls of `selling`, answers to offers, and orders: loaded in any order, partly twice."""
    client = "selling"
    chance = random.Random(2026)
    calls: list[dict[str, Any]] = []
    answers: list[dict[str, Any]] = []
    orders: list[dict[str, Any]] = []
    heard: list[Any] = []
    offered: list[Any] = []
    told: list[Any] = []
    for number in range(300):
        at = MONDAY - number * 1200
        one = {
            "call": f"c{number}",
            "agent": chance.choice(["ann", "bob"]),
            "queue": chance.choice(["sales", "care"]),
            "at": at,
        }
        talk = chance.choice([200, 200, 200, None])
        heard += call(client, one["call"], at=at, queue=one["queue"], agent=one["agent"], talk=talk)
        if talk is not None:
            calls.append(one)
            offers = chance.sample(["fibre", "cinema"], k=chance.choice([0, 1, 2]))
            answers += [{**one, "offer": offer} for offer in offers]
            bodies: list[Body] = [
                (chance.choice(["offer_accepted", "offer_refused"]), {"offer_id": offer})
                for offer in offers
            ]
            offered += customer_events(client, "call", one["call"], *bodies, at=at)
        for again in range(chance.choice([0, 0, 1, 2])):
            # What a partner tells comes from no call.
            seen = one if talk is not None and chance.random() < 0.9 else {}
            order = {
                **{name: seen.get(name) for name in ("call", "agent", "queue")},
                "id": f"o{number}-{again}",
                "product": chance.choice(["internet", "taxi", "loan"]),
                "campaign": chance.choice(["autumn", None]),
                "offer": chance.choice(["fibre", "tickets", None]) if seen else None,
                "end": chance.choice([*UNPLACED, "placed", "fulfilled", *UNDONE]),
                "currency": chance.choice(["EUR", "EUR", "RUB", ""]),
                "total": Decimal(chance.randint(0, 99999)) / 100,
                "monthly": Decimal(chance.randint(0, 9999)) / 100,
            }
            # A day between the first word and the placement: it counts in the latter's.
            order["at"] = at + (0 if order["end"] in UNPLACED else 86_400)
            orders.append(order)
            told += told_of(client, order, at)
    chance.shuffle(told)
    warehouse.load("client-events", [client_registered(client, "Asia/Tokyo")])
    warehouse.load("call-events", heard)
    warehouse.load("customer-events", offered)
    half = len(told) // 2
    warehouse.load("order-events", told[:half], told[half:], told[:half])
    # Of another client, under the same ids.
    other = "selling-too"
    warehouse.load("client-events", [client_registered(other)])
    warehouse.load("call-events", call(other, "c0"))
    placed = ("placed", {"total": money("1.00", "EUR")})
    warehouse.load("order-events", order_events(other, "o0-0", placed, call_id="c0"))
    return {"calls": calls, "answers": answers, "orders": orders}


def told_of(client: str, order: dict[str, Any], at: int) -> list[OrderEvent]:
    """The events of an order of the fixture, one a day."""
    names = ("total", "monthly") if order["currency"] else ()
    paid = {name: money(order[name], order["currency"]) for name in names}
    since = {**paid, "placed_at": datetime.fromtimestamp(order["at"], UTC).isoformat()}
    end = order["end"]
    bodies: list[Body] = [("drafted", {})]
    if end == "expired":
        bodies.append(("draft_expired", {}))
    if end == "given up":
        bodies.append(("cancelled", {"reason": "not-now", "by": "PARTY_CUSTOMER"}))
    if end not in UNPLACED:
        bodies.append(("placed", paid))
    if end == "cancelled":
        bodies.append(("cancelled", {**since, "reason": "late", "by": "PARTY_CLIENT"}))
    if end in SOLD:
        bodies.append(("fulfilled", paid))
    if end in ("returned", "failed"):
        bodies.append((end, {**since, "reason": "broken"}))
    origin = {
        f"{name}_id": order[name] or ""
        for name in ("product", "call", "agent", "campaign", "offer")
    }
    return order_events(client, order["id"], *bodies, at=at, every=86_400, **origin)


UNPLACED = ("draft", "expired", "given up")
UNDONE = ("cancelled", "returned", "failed")
SOLD = ("fulfilled", "returned", "failed")


def day(at: int) -> str:
    """The day in Tokyo."""
    return str((datetime.fromtimestamp(at, UTC) + timedelta(hours=9)).date())


def figures(orders: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What a report says of these orders, but for their conversion."""
    placed = [one for one in orders if one["end"] not in UNPLACED]
    ends = [one["end"] for one in orders]
    sold = sum(end in SOLD for end in ends)

    def sums(name: str, without: Sequence[str] = ()) -> dict[str, str]:
        found: dict[str, Decimal] = defaultdict(Decimal)
        for one in placed:
            if one["currency"]:
                found[one["currency"]] += 0 if one["end"] in without else one[name]
        return {currency: f"{amount:.2f}" for currency, amount in sorted(found.items())}

    return {
        "drafted": len(orders),
        "placed": len(placed),
        "cancelled": ends.count("cancelled"),
        "cancellation_rate": ratio(ends.count("cancelled"), len(placed)),
        "fulfilled": sold,
        "returned": ends.count("returned"),
        "failed": ends.count("failed"),
        "after_sale_failure_rate": ratio(ends.count("returned") + ends.count("failed"), sold),
        "revenue": sums("total"),
        "net_revenue": sums("total", UNDONE),
        "monthly": sums("monthly"),
        "net_monthly": sums("monthly", UNDONE),
    }


def ratio(part: int, whole: int) -> Any:
    return pytest.approx(part / whole) if whole else None


Key = Callable[[dict[str, Any]], str | None]
GROUPS: dict[str, Key] = {
    "all": lambda one: None,
    "day": lambda one: day(one["at"]),
    **{name: lambda one, name=name: one[name] for name in ("product", "agent", "campaign")},  # type: ignore[misc]
    **{name: lambda one, name=name: one[name] for name in ("offer", "queue")},  # type: ignore[misc]
}
OCCASIONS = {"product": "orders", "campaign": "orders", "offer": "answers"}


@pytest.mark.parametrize("by", GROUPS)
def test_figures_are_those_of_the_orders(
    warehouse: Warehouse, sold: dict[str, list[dict[str, Any]]], by: str
) -> None:
    key = GROUPS[by]
    kind = OCCASIONS.get(by, "calls")
    placed = [one for one in sold["orders"] if one["end"] not in UNPLACED]
    led = {
        "calls": {one["call"] for one in placed},
        "answers": {(one["call"], one["offer"]) for one in placed},
        "orders": {one["id"] for one in placed},
    }[kind]
    expected: dict[str | None, dict[str, Any]] = {}
    for name in {key(one) for one in (*sold[kind], *sold["orders"])}:
        occasions = [one for one in sold[kind] if key(one) == name]
        mark = {"calls": "call", "orders": "id"}.get(kind)
        converted = sum(
            (one[mark] if mark else (one["call"], one["offer"])) in led for one in occasions
        )
        expected[name] = {
            **figures([one for one in sold["orders"] if key(one) == name]),
            "occasions": len(occasions),
            "converted": converted,
            "conversion": ratio(converted, len(occasions)),
            "conversion_of": kind.replace("answers", "offers"),
        }

    rows = report(warehouse.url, "kpi", "--client", "selling", *RANGE, "--by", by, "--orders")
    names = [row.get(by) for row in rows]
    assert names == sorted(names, key=lambda name: (name is None, name))
    assert {row.pop(by, None): row for row in rows} == expected
    assert len(names) == len(expected)


def test_a_range_has_the_days_that_it_names(
    warehouse: Warehouse, sold: dict[str, list[dict[str, Any]]]
) -> None:
    narrow = ("--client", "selling", "--from", "2026-09-20", "--to", "2026-09-21")
    rows = report(warehouse.url, "kpi", *narrow, "--by", "product")
    orders = [one for one in sold["orders"] if day(one["at"]) == "2026-09-20"]
    assert orders
    assert sum(row["drafted"] for row in rows) == len(orders)
    [calls] = report(warehouse.url, "kpi", *narrow, "--orders")
    assert calls["occasions"] == sum(day(one["at"]) == "2026-09-20" for one in sold["calls"])
    empty = ("--client", "selling", "--from", "2020-01-01", "--to", "2020-01-02")
    assert report(warehouse.url, "kpi", *empty, "--by", "product") == []
    [nothing] = report(warehouse.url, "kpi", *empty, "--orders")
    assert nothing == {
        **figures([]),
        "occasions": 0,
        "converted": 0,
        "conversion": None,
        "conversion_of": "calls",
    }


def printed(warehouse: Warehouse, *options: str) -> str:
    arguments = ["kpi", "--client", "selling", *RANGE, *options]
    done = CliRunner().invoke(app, arguments, env={"RELAIS_CLICKHOUSE": warehouse.url})
    assert done.exit_code == 0, done.stderr
    return done.stdout


def test_for_people_and_for_spreadsheets(
    warehouse: Warehouse, sold: dict[str, list[dict[str, Any]]]
) -> None:
    by = ("--orders", "--by", "campaign")
    rows = report(warehouse.url, "kpi", "--client", "selling", *RANGE, *by)
    table = printed(warehouse, *by)
    read = [*csv.DictReader(printed(warehouse, *by, "--format", "csv").splitlines())]
    assert [line["campaign"] for line in read] == ["autumn", ""]
    for row, line in zip(rows, read, strict=True):
        assert int(line["placed"]) == row["placed"]
        for currency in ("EUR", "RUB"):
            assert line[f"revenue_{currency}"] == row["revenue"][currency]
            assert f"{Decimal(row['revenue'][currency]):,} {currency}" in table
        assert f"{row['cancellation_rate']:.1%}" in table


def test_calls_are_counted_as_before(
    warehouse: Warehouse, sold: dict[str, list[dict[str, Any]]]
) -> None:
    rows = report(warehouse.url, "kpi", "--client", "selling", *RANGE, "--by", "agent")
    calls = sold["calls"]
    assert {row["agent"]: row["answered"] for row in rows} == {
        "ann": sum(one["agent"] == "ann" for one in calls),
        "bob": sum(one["agent"] == "bob" for one in calls),
        None: 0,
    }


@pytest.mark.parametrize("by", ["topic", "disposition", "interval"])
def test_what_orders_do_not_have(warehouse: Warehouse, by: str) -> None:
    arguments = ["kpi", "--client", "selling", *RANGE, "--orders", "--by", by]
    result = CliRunner().invoke(app, arguments, env={"RELAIS_CLICKHOUSE": warehouse.url})
    assert result.exit_code == 2
    assert result.stderr.strip().endswith(f"--orders: they are not counted --by {by}")


def test_a_currency_has_its_own_digits(warehouse: Warehouse) -> None:
    client = "exact"
    totals = {
        "JPY": ["1200", "3"],
        "KWD": ["0.105", "2"],
        "CHF": ["0.0005", "100"],
        "EUR": ["9" * 20],
    }
    events = [
        event
        for currency, sums in totals.items()
        for number, sum in enumerate(sums)
        for event in order_events(
            client, f"{currency}-{number}", ("placed", {"total": money(sum, currency)})
        )
    ]
    warehouse.load("client-events", [client_registered(client)])
    warehouse.load("order-events", events)
    [row] = report(warehouse.url, "kpi", "--client", client, *RANGE, "--orders")
    assert row["revenue"] == {
        "CHF": "100.0005",
        "EUR": "9" * 20 + ".00",
        "JPY": "1203",
        "KWD": "2.105",
    }
