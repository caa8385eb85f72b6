"""Why an outbound call was allowed: the golden events, told to people and to programs."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from aiokafka import ConsumerRecord
from google.protobuf.json_format import Parse
from relais.attempts.v1.events_pb2 import AttemptEvent

from relaisctl.clients import Client
from relaisctl.decisions.attempt import Found, as_json, chosen, in_words
from relaisctl.errors import InputError

EXAMPLES = Path(__file__).resolve().parents[3] / "proto/examples/attempt-events"
ACME = Client("acme", "Acme", "Europe/Paris")


def record(value: bytes) -> ConsumerRecord:
    return ConsumerRecord("attempt-events", 0, 0, 0, 0, b"key", value, None, 3, len(value), ())


def golden(attempt_id: str) -> list[AttemptEvent]:
    paths = sorted(EXAMPLES.glob("*.json"))
    events = [Parse(path.read_text(), AttemptEvent()) for path in paths]
    return [event for event in events if event.attempt_id == attempt_id]


def found(events: Sequence[AttemptEvent]) -> Found:
    records = [record(event.SerializeToString()) for event in events]
    return chosen({"acme": ACME}, "at-2001", records)


def test_every_rule_is_named_with_its_version() -> None:
    events = golden("at-2001")
    [started] = [event.started for event in events if event.HasField("started")]
    lines = in_words(found(events))
    assert lines[0] == "attempt at-2001 of acme, Tuesday 1 December 2026"
    assert lines[1] == "campaign autumn-fibre, list may-list, lead l-17: attempt number 2"
    allowed = [line.strip() for line in lines if "allowed by" in line]
    assert allowed == [
        f"allowed by {use.rule}, version {use.version}: {use.said}" for use in started.allowed_by
    ]
    assert len(allowed) == 5
    assert any(line.startswith("11:17:20.000  ended: result connected") for line in lines)


def test_copies_and_order_change_nothing() -> None:
    events = golden("at-2001")
    once = found(events)
    assert found([*events[::-1], *events]) == once
    assert [event.version for event in once.events] == sorted(
        event.meta.version for event in events
    )
    told = json.loads(json.dumps(as_json(once)))
    assert told["origin"]["campaign_id"] == "autumn-fibre"
    assert told["events"][0]["kind"] == "started"
    assert len(told["events"][0]["allowed_by"]) == 5


def test_what_was_made_up_is_said() -> None:
    lines = in_words(found(golden("at-2005")))
    assert lines[2] == "made up, since it is not on record: started_at and rang"


def test_none_and_several() -> None:
    with pytest.raises(InputError, match="no attempt 'at-2001'"):
        chosen({"acme": ACME}, "at-2001", [record(b"\xff\xff")])
    other = AttemptEvent(attempt_id="at-2001")
    other.meta.client_id, other.meta.event_id = "other", "x"
    with pytest.raises(InputError, match="acme and other have an attempt 'at-2001' each"):
        found([*golden("at-2001"), other])
