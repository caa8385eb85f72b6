"""Attempts, leads and campaigns as rows, against a fold in Python."""

import random
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from relais.attempts.v1.events_pb2 import AttemptEvent
from relais.campaigns.v1.events_pb2 import CampaignEvent

from eventkit.errors import InvalidMessage
from services.analytics.rows import ATTEMPT_EVENTS, CAMPAIGN_EVENTS
from services.analytics.tests.events import (
    MONDAY,
    Told,
    attempt_stream,
    campaign_stream,
    lead_stream,
    record,
)
from services.analytics.tests.support import Warehouse

SHUFFLED = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
RULES = [
    {"rule": "us.hours", "version": "3", "said": "within"},
    {"rule": "us.caps", "version": "1"},
    {"rule": "crm.policy/survey", "version": "0"},
]
UNANSWERED = ["no_answer", "busy", "unobtainable", "carrier_error", "not_dialled"]


def seconds(count: float) -> str:
    return f"{count:.6f}s"


@st.composite
def diallings(draw: st.DrawFn) -> list[Told]:
    """What may become of an attempt."""
    told: list[Told] = [(0, "started", {"mode": "predictive", "allowed_by": RULES})]
    kind = draw(st.sampled_from(["open", "unanswered", "machine", "hung_up", *["person"] * 4]))
    rang = draw(st.integers(1, 30))
    ended: dict[str, Any] = {"mode": "predictive"}
    match kind:
        case "open":
            return told
        case "unanswered":
            ended["result"] = f"RESULT_{draw(st.sampled_from(UNANSWERED)).upper()}"
            return [*told, (30, "ended", ended)]
    by = "MACHINE" if kind == "machine" else draw(st.sampled_from(["HUMAN", "UNKNOWN"]))
    told.append((rang, "answered", {"by": f"ANSWERED_BY_{by}", "rang": seconds(rang)}))
    ended |= {"answered_by": f"ANSWERED_BY_{by}", "rang": seconds(rang)}
    if kind in ("machine", "hung_up"):
        return [*told, (rang + 3, "ended", {**ended, "result": f"RESULT_{kind.upper()}"})]
    told.append((rang + 1, "greeting_ended", {}))
    waited = draw(st.sampled_from([0, 0.4, 1.999999, 2, 2.000001, 3]))
    ended["waited"] = seconds(waited)
    if draw(st.booleans()):
        told.append((rang + 3, "abandoned", {"waited": ended["waited"], "message_played": True}))
        return [*told, (rang + 9, "ended", {**ended, "result": "RESULT_ABANDONED"})]
    told.append((rang + 2, "connected", {"agent_id": "ann", "waited": ended["waited"]}))
    talked = draw(st.integers(0, 900))
    ended |= {"agent_id": "ann", "talked": seconds(talked), "result": "RESULT_CONNECTED"}
    told.append((rang + 2 + talked, "ended", ended))
    for disposition in draw(st.lists(st.sampled_from(["sale", "refused"]), max_size=2)):
        said = {"disposition": disposition, "agent_id": "ann", "converted": disposition == "sale"}
        place = draw(st.integers(3, len(told)))
        told.insert(place, (rang + 2 + talked, "disposed", said))
    return told


def when(event: Any) -> datetime:
    at: datetime = event.meta.occurred_at.ToDatetime(UTC)
    return at


def micros(duration: Any) -> int:
    return int(duration.ToMicroseconds())


def attempt_row(events: Sequence[AttemptEvent]) -> dict[str, Any]:
    """The row of an attempt: its events, told one after another."""
    row: dict[str, Any] = {
        **dict.fromkeys(("answered_at", "greeting_ended_at", "connected_at"), None),
        **dict.fromkeys(("abandoned_at", "ended_at", "waited_us"), None),
        **dict.fromkeys(("rang_us", "talked_us"), 0),
        **dict.fromkeys(("answered_by", "agent_id", "disposition"), ""),
        "outcome": "open",
        "converted": False,
        "mode": "predictive",
        "allowed_by": [
            ("crm.policy/survey", 0, ""),
            ("us.caps", 1, ""),
            ("us.hours", 3, "within"),
        ],
    }
    for event in events:
        name = event.WhichOneof("body") or ""
        body = getattr(event, name)
        if name not in ("started", "disposed"):
            row[f"{name}_at"] = when(event)
        match name:
            case "answered":
                row["rang_us"] = micros(body.rang)
                row["answered_by"] = {1: "human", 2: "machine", 4: "unknown"}[body.by]
            case "connected" | "abandoned":
                row["waited_us"] = micros(body.waited)
            case "ended":
                names = AttemptEvent.DESCRIPTOR.file.enum_types_by_name["Result"].values_by_number
                row["outcome"] = names[body.result].name.removeprefix("RESULT_").lower()
                row["talked_us"] = micros(body.talked)
            case "disposed":
                row |= {"disposition": body.disposition, "converted": body.converted}
        if name == "connected":
            row["agent_id"] = body.agent_id
    person = row["answered_by"] in ("human", "unknown")
    row |= {
        "dialled": row["outcome"] != "not_dialled",
        "contact": person,
        "connected": row["connected_at"] is not None,
        "live": person and row["outcome"] in ("connected", "abandoned", "hung_up"),
    }
    late = row["outcome"] == "connected" and row["waited_us"] > 2_000_000
    return row | {"abandoned": row["live"] and (late or row["outcome"] == "abandoned")}


def shuffled(events: Sequence[Any], chance: random.Random) -> list[list[Any]]:
    """In any order and partly twice, in batches of which one comes again."""
    mixed = [*events, *chance.sample(events, k=len(events) // 2)]
    chance.shuffle(mixed)
    third = len(mixed) // 3
    return [part for part in (mixed[:third], mixed[third:], mixed[:third]) if part]


@given(st.lists(diallings(), min_size=1, max_size=6), st.randoms(use_true_random=False))
@SHUFFLED
def test_neither_order_nor_copies_change_an_attempt(
    warehouse: Warehouse, told: list[list[Told]], chance: random.Random
) -> None:
    client = f"a-{uuid.uuid4()}"
    streams = {
        f"t{number}": attempt_stream(client, f"t{number}", *one) for number, one in enumerate(told)
    }
    events = [event for stream in streams.values() for event in stream]
    assert warehouse.load("attempt-events", *shuffled(events, chance)) == []
    found = warehouse.ask("SELECT * FROM attempts WHERE client_id = %(client)s", client=client)
    assert {row["attempt_id"] for row in found} == streams.keys()
    for row in found:
        expected = attempt_row(streams[row["attempt_id"]])
        assert {name: row[name] for name in expected} == expected
        assert row["lead_id"] == f"lead-{row['attempt_id']}"
        assert row["started_at"] == datetime.fromtimestamp(MONDAY, UTC)


DUE = "2026-12-01T09:00:00Z"
LATER = datetime(2026, 12, 1, 9, tzinfo=UTC)
turns = st.sampled_from(
    [
        ("lead_dialled", {"attempt_id": "t1", "number_id": "n-1"}),
        ("lead_dialled", {"attempt_id": "t2", "number_id": "n-1"}),
        ("lead_scheduled", {"due_at": DUE, "because": "busy"}),
        ("lead_held_back", {"forbidden_by": RULES, "until": DUE}),
        ("lead_held_back", {"forbidden_by": RULES[:1]}),
        ("lead_previewed", {"agent_id": "ann"}),
        ("lead_preview_skipped", {"agent_id": "ann", "reason": "known"}),
        ("lead_callback_promised", {"from_at": DUE, "until_at": DUE}),
        ("lead_callback_escalated", {"until_at": DUE}),
        ("lead_corrected", {"fields": ["name"]}),
        ("lead_corrected", {"fields": ["numbers"], "numbers": [{"number_id": "n-2"}]}),
        ("lead_closed", {"reason": "attempts"}),
        ("lead_reopened", {"due_at": DUE}),
    ]
)


def lead_row(events: Sequence[CampaignEvent]) -> dict[str, Any]:
    """The row of a lead: its events, told one after another."""
    row: dict[str, Any] = {"state": "waiting", "due_at": None, "closed_reason": ""}
    row |= {"held_back": 0, "skipped": 0, "callbacks_promised": 0, "callbacks_escalated": 0}
    row["numbers"] = ["n-1"]
    dialled = 0
    for event in events:
        name = event.WhichOneof("body") or ""
        body = getattr(event, name)
        turn: tuple[str, datetime | None] | None = None
        match name:
            case "lead_added" | "lead_scheduled" | "lead_reopened":
                turn = ("waiting", body.due_at.ToDatetime(UTC))
            case "lead_dialled":
                dialled += 1
                turn = ("dialling", None)
            case "lead_held_back":
                row["held_back"] += 1
                turn = ("waiting", LATER if body.HasField("until") else None)
            case "lead_previewed":
                turn = ("previewed", None)
            case "lead_preview_skipped":
                row["skipped"] += 1
                turn = ("waiting", None)
            case "lead_callback_promised":
                row["callbacks_promised"] += 1
                if row["state"] != "dialling":
                    turn = ("waiting", LATER)
            case "lead_callback_escalated":
                row["callbacks_escalated"] += 1
            case "lead_corrected" if body.numbers:
                row["numbers"] = [number.number_id for number in body.numbers]
            case "lead_closed":
                row |= {"state": "closed", "due_at": None, "closed_reason": body.reason}
        if name == "lead_reopened" or (turn is not None and row["state"] != "closed"):
            assert turn is not None
            row |= {"state": turn[0], "due_at": turn[1], "closed_reason": ""}
    closed = row["state"] == "closed"
    return row | {"attempts": dialled, "attempted": dialled > 0, "closed": closed}


@given(
    st.lists(st.lists(turns, max_size=7), min_size=1, max_size=5),
    st.randoms(use_true_random=False),
)
@SHUFFLED
def test_neither_order_nor_copies_change_a_lead(
    warehouse: Warehouse, told: list[list[tuple[str, dict[str, Any]]]], chance: random.Random
) -> None:
    client = f"l-{uuid.uuid4()}"
    added = {"numbers": [{"number_id": "n-1", "country": "FR"}], "source": "import", "due_at": DUE}
    streams = {
        f"k{number}": lead_stream(
            client,
            f"k{number}",
            (0, "lead_added", added),
            *((at, name, fields) for at, (name, fields) in enumerate(one)),
        )
        for number, one in enumerate(told)
    }
    events = [event for stream in streams.values() for event in stream]
    assert warehouse.load("campaign-events", *shuffled(events, chance)) == []
    found = warehouse.ask("SELECT * FROM leads WHERE client_id = %(client)s", client=client)
    assert {row["lead_id"] for row in found} == streams.keys()
    for row in found:
        row["numbers"] = [number[0] for number in row["numbers"]]
        expected = lead_row(streams[row["lead_id"]])
        assert {name: row[name] for name in expected} == expected
    held = "SELECT count() AS rules FROM held_back WHERE client_id = %(client)s"
    rules = sum(len(event.lead_held_back.forbidden_by) for event in events)
    assert warehouse.ask(held, client=client) == [{"rules": rules}]


def test_a_campaign_has_the_settings_that_are_in_force(warehouse: Warehouse) -> None:
    client = "settled"
    costs = {"currency": "EUR", "per_attempt": "0.0125", "per_minute": "0.09"}
    cheap = {"name": "Autumn", "mode": "predictive", "costs": costs, "pool_id": "p"}
    dear = {**cheap, "costs": {**costs, "per_minute": "0.1"}, "contract": {"limit": 0.01}}
    events = campaign_stream(
        client,
        (0, "drafted", {"settings": cheap}),
        (10, "started", {}),
        (20, "revised", {"settings": dear}),
        (30, "mode_lowered", {"to_mode": "progressive", "measure": "us"}),
        (40, "paused", {"reason": "lunch"}),
    )
    assert warehouse.load("campaign-events", events[::-1], events) == []
    [row] = warehouse.ask("SELECT * FROM campaigns WHERE client_id = 'settled'")
    assert (row["state"], row["mode"], row["mode_now"]) == ("paused", "predictive", "progressive")
    assert (row["cost_per_attempt"], row["cost_per_minute"]) == (Decimal("0.0125"), Decimal("0.1"))
    assert row["contract_limit"] == 0.01
    assert row["first_started_at"] == datetime.fromtimestamp(MONDAY + 10, UTC)
    spans = warehouse.ask(
        "SELECT since, until FROM campaign_settings WHERE client_id = 'settled' ORDER BY since"
    )
    first = datetime.fromtimestamp(MONDAY, UTC)
    assert [(row["since"], row["until"]) for row in spans] == [
        (first, first + timedelta(seconds=20)),
        (first + timedelta(seconds=20), None),
    ]


@pytest.mark.parametrize(
    ("table", "event", "field"),
    [
        (
            ATTEMPT_EVENTS,
            attempt_stream("a", "t", (0, "started", {}), lead_id=""),
            "origin_lead_id",
        ),
        (
            ATTEMPT_EVENTS,
            attempt_stream("a", "t", (0, "started", {}), campaign_id="Ann Lee"),
            "origin_campaign_id",
        ),
        (ATTEMPT_EVENTS, attempt_stream("a", "", (0, "started", {})), "attempt_id"),
        (
            ATTEMPT_EVENTS,
            attempt_stream("a", "t", (0, "connected", {"waited": "-1s"})),
            "waited",
        ),
        (
            ATTEMPT_EVENTS,
            attempt_stream("a", "t", (0, "ended", {"talked": "40000000s"})),
            "talked",
        ),
        (CAMPAIGN_EVENTS, lead_stream("a", "", (0, "lead_closed", {})), "lead_lead_id"),
        (CAMPAIGN_EVENTS, campaign_stream("a", (0, "started", {}), campaign=""), "campaign_id"),
        (
            CAMPAIGN_EVENTS,
            lead_stream("a", "k", (0, "lead_added", {"numbers": [{"number_id": "+33 1"}]})),
            "numbers_number_id",
        ),
        (
            CAMPAIGN_EVENTS,
            campaign_stream("a", (0, "drafted", {"settings": {"costs": {"per_attempt": "0,1"}}})),
            "settings_costs_per_attempt",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(table: Any, event: Sequence[Any], field: str) -> None:
    [bad] = table.decode([record(table.topic, event[0].SerializeToString())]).bad
    assert isinstance(bad.error, InvalidMessage)
    assert bad.error.field == field
