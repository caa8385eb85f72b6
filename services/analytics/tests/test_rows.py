"""What becomes a row, and what is refused with which words."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from relais.calls.v1.events_pb2 import CallEvent

from eventkit.errors import InvalidMessage
from services.analytics import rows, schema
from services.analytics.rows import AGENT_EVENTS, CALL_EVENTS, CLIENT_EVENTS, TABLES, UNKNOWN
from services.analytics.tests.events import (
    MONDAY,
    agent_logged_in,
    call,
    client_registered,
    record,
    values,
)


def one(event: Any) -> rows.Rows:
    return CALL_EVENTS.decode([record("call-events", event.SerializeToString())])


def test_fields_become_typed_columns() -> None:
    records = [
        record("call-events", value, offset)
        for offset, value in enumerate(values(call("acme", "c-1", wait=7, talk=30, wrap_up=5)))
    ]
    decoded = CALL_EVENTS.decode(records)
    assert decoded.bad == []
    found = [
        dict(zip(decoded.columns, row, strict=True))
        for row in zip(*decoded.columns.values(), strict=True)
    ]
    by_type = {row["event_type"]: row for row in found}
    assert list(by_type) == [
        "CallArrived",
        "CallQueued",
        "CallConnected",
        "CallEnded",
        "CallWrappedUp",
    ]
    assert by_type["CallArrived"]["channel"] == "voice"
    assert by_type["CallQueued"]["required_skills"] == {"french": 3}
    connected = by_type["CallConnected"]
    assert connected["occurred_at"] == (MONDAY + 7) * 1_000_000
    assert connected["arrived_at"] == MONDAY * 1_000_000
    assert connected["waited_us"] == 7_000_000
    assert connected["talked_us"] == 0
    assert (connected["kafka_partition"], connected["kafka_offset"]) == (0, 2)
    assert by_type["CallEnded"]["cause"] == "completed"
    assert by_type["CallWrappedUp"]["wrap_up_us"] == 5_000_000


def test_other_topics() -> None:
    client = client_registered("acme").SerializeToString()
    assert rows.registered_client(record("client-events", client)) == "acme"
    [zone] = CLIENT_EVENTS.decode([record("client-events", client)]).columns["time_zone"]
    assert zone == "Asia/Jerusalem"
    agent = agent_logged_in("ann").SerializeToString()
    decoded = AGENT_EVENTS.decode([record("agent-events", agent)])
    assert decoded.columns["skills"] == [{"french": 4}]
    assert decoded.clients() == set()


def test_every_column_that_rows_can_have_is_in_the_table() -> None:
    """A new field of an event needs a migration: this fails until there is one."""
    scripts = "".join(path.read_text() for path in sorted(schema.MIGRATIONS.glob("*.sql")))
    for table in TABLES.values():
        made = re.search(rf"TABLE IF NOT EXISTS {table.name}\n\((.*?)\n\)", scripts, re.DOTALL)
        assert made
        columns = set(re.findall(r"^    (\w+) ", made[1], re.MULTILINE))
        assert columns - {"event_id"} == table.columns


def test_an_unknown_body_is_kept_as_received() -> None:
    event = call("acme", "c-1")[0]
    event.ClearField("arrived")
    from_the_future = event.SerializeToString() + b"\xfa\x3f\x02\x08\x01"  # field 127
    decoded = CALL_EVENTS.decode([record("call-events", from_the_future)])
    assert decoded.bad == []
    assert decoded.columns["event_type"] == [UNKNOWN]
    assert decoded.columns["payload"] == [from_the_future]


Spoil = Callable[[CallEvent], object]


@pytest.mark.parametrize(
    ("spoil", "field"),
    [
        (lambda e: e.ClearField("meta"), "event_id"),
        (lambda e: setattr(e.meta, "event_id", "1"), "event_id"),
        (lambda e: setattr(e.meta, "event_id", "g" * 36), "event_id"),
        (lambda e: setattr(e.meta, "event_id", e.meta.event_id.replace("-", "0")), "event_id"),
        (lambda e: setattr(e.meta, "event_id", e.meta.event_id[:-1] + " "), "event_id"),
        (lambda e: setattr(e.meta, "client_id", ""), "client_id"),
        (lambda e: setattr(e.meta, "client_id", "ACME"), "client_id"),
        (lambda e: setattr(e.meta, "client_id", "a" * 64), "client_id"),
        (lambda e: setattr(e.meta, "client_id", "acme\n"), "client_id"),
        (lambda e: setattr(e.meta, "version", 0), "version"),
        (lambda e: setattr(e.meta, "version", -(2**63)), "version"),
        (lambda e: setattr(e, "call_id", ""), "call_id"),
        (lambda e: setattr(e, "call_id", "a/b"), "call_id"),
        (lambda e: setattr(e, "call_id", "x" * 129), "call_id"),
        (lambda e: e.meta.ClearField("occurred_at"), "occurred_at"),
        (lambda e: setattr(e.meta.occurred_at, "seconds", -5), "occurred_at"),
        (lambda e: setattr(e.meta.occurred_at, "seconds", 253_402_300_799), "occurred_at"),
        (lambda e: setattr(e.meta.occurred_at, "seconds", 2**63 - 1), "occurred_at"),
        (lambda e: setattr(e.meta.occurred_at, "seconds", MONDAY + 86_401), "occurred_at"),
        (lambda e: setattr(e.meta.recorded_at, "seconds", 2**63 - 1), "recorded_at"),
        (lambda e: e.connected.ClearField("arrived_at"), "arrived_at"),
        (lambda e: setattr(e.connected.arrived_at, "seconds", 2**50), "arrived_at"),
        (lambda e: setattr(e.connected.waited, "seconds", -1), "waited"),
        (lambda e: setattr(e.connected.waited, "seconds", 2**62), "waited"),
        (lambda e: setattr(e.connected, "queue_id", "a b"), "queue_id"),
        (lambda e: setattr(e.connected, "agent_id", "é"), "agent_id"),
        (lambda e: setattr(e.arrived, "channel", 99), "channel"),
        (lambda e: e.queued.required_skills.add(skill=""), "skill"),
    ],
)
def test_what_makes_no_sense_is_refused_alone(spoil: Spoil, field: str) -> None:
    good = call("acme", "c-1")
    bad = call("acme", "c-2")[2]
    spoil(bad)
    if bad.WhichOneof("body") == "queued":
        bad.queued.arrived_at.seconds = MONDAY
    sent = [*good[:2], bad, *good[2:]]
    records = [record("call-events", value, offset) for offset, value in enumerate(values(sent))]
    decoded = CALL_EVENTS.decode(records)
    assert sorted(decoded.columns["kafka_offset"]) == [0, 1, 3, 4]
    [refused] = decoded.bad
    assert refused.record.offset == 2
    assert isinstance(refused.error, InvalidMessage)
    assert refused.error.field == field


def test_a_time_is_judged_by_its_own_record() -> None:
    events = [call("acme", "c-1", at=MONDAY)[0], call("acme", "c-2", at=MONDAY + 200_000)[0]]
    old, new = values(events)
    both = [record("call-events", old, 0), record("call-events", new, 1, at=MONDAY + 200_000)]
    assert CALL_EVENTS.decode(both).bad == []
    assert [bad.record.offset for bad in CALL_EVENTS.decode([record("call-events", new)]).bad] == [
        0
    ]


def test_rubbish_costs_nothing_but_itself() -> None:
    good = values(call("acme", "c-1"))
    rubbish: list[bytes | None] = [
        b"\xff\xff\xff",
        None,
        b"",
        b"\x0a\x05ab",
        Path(__file__).read_bytes(),
    ]
    mixed = [value for pair in zip(good, rubbish, strict=False) for value in pair] + rubbish[4:]
    records = [record("call-events", value, offset) for offset, value in enumerate(mixed)]
    decoded = CALL_EVENTS.decode(records)
    assert len(decoded.records) == len(good)
    assert len(decoded.bad) == len(rubbish)


def test_strangers_are_refused_together() -> None:
    events = [call(client, "c-1")[0] for client in ("acme", "other", "acme")]
    decoded = CALL_EVENTS.decode(
        [record("call-events", value, offset) for offset, value in enumerate(values(events))]
    )
    assert decoded.clients() == {"acme", "other"}
    decoded.refuse_clients({"other"})
    assert decoded.columns["kafka_offset"] == [0, 2]
    assert [str(bad.error) for bad in decoded.bad] == ["client_id: 'other' is not registered"]


def test_a_zone_must_exist() -> None:
    event = client_registered("acme", zone="Mars/Phobos").SerializeToString()
    with pytest.raises(InvalidMessage, match="time_zone: 'Mars/Phobos' is no time zone"):
        rows.registered_client(record("client-events", event))
