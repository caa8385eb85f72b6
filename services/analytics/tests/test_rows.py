"""What becomes a row, and what is refused with which words."""

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.json_format import ParseDict
from relais.agents.v1.events_pb2 import AgentEvent
from relais.attempts.v1.events_pb2 import AttemptEvent
from relais.calls.v1.events_pb2 import CallEvent
from relais.campaigns.v1.events_pb2 import CampaignEvent
from relais.clients.v1.events_pb2 import ClientEvent
from relais.complaints.v1.events_pb2 import ComplaintEvent
from relais.customers.v1.events_pb2 import CustomerEvent
from relais.orders.v1.events_pb2 import OrderEvent
from relais.pools.v1.events_pb2 import PoolEvent

from eventkit.errors import InvalidMessage
from relaisctl import codec
from services.analytics import rows, schema
from services.analytics.rows import (
    AGENT_EVENTS,
    CALL_EVENTS,
    CLIENT_EVENTS,
    COMPLAINT_EVENTS,
    CUSTOMER_EVENTS,
    ORDER_EVENTS,
    POOL_EVENTS,
    TABLES,
    UNKNOWN,
)
from services.analytics.tests.events import (
    MONDAY,
    Body,
    Told,
    agent_logged_in,
    call,
    call_stream,
    client_registered,
    complaint_events,
    customer_events,
    order_events,
    pool_stream,
    record,
    values,
)

MESSAGES: dict[str, Any] = {
    "client-events": ClientEvent,
    "call-events": CallEvent,
    "agent-events": AgentEvent,
    "pool-events": PoolEvent,
    "customer-events": CustomerEvent,
    "complaint-events": ComplaintEvent,
    "order-events": OrderEvent,
    "campaign-events": CampaignEvent,
    "attempt-events": AttemptEvent,
}


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


SCRIPTS = "".join(path.read_text() for path in sorted(schema.MIGRATIONS.glob("*.sql")))


def test_every_column_that_rows_can_have_is_in_the_table() -> None:
    """A new field of an event needs a migration: this fails until there is one."""
    for table in TABLES.values():
        made = re.search(rf"TABLE IF NOT EXISTS {table.name}\n\((.*?)\n\)", SCRIPTS, re.DOTALL)
        assert made
        columns = re.findall(r"^    (\w+) ", made[1], re.MULTILINE)
        for added in re.findall(rf"ALTER TABLE {table.name}\n(.*?);\n", SCRIPTS, re.DOTALL):
            columns += re.findall(r"ADD COLUMN IF NOT EXISTS (\w+) ", added)
        assert sorted(columns) == sorted({*table.columns, "event_id"})


EXAMPLES = [
    path
    for topic in MESSAGES
    for path in sorted((schema.MIGRATIONS.parents[2] / "proto/examples" / topic).glob("*.json"))
]
LATER = 1_800_000_000


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_golden_events_become_rows_that_say_the_same(path: Path) -> None:
    """Each field of the event is in the row, under the name that the contract gives it."""
    table = TABLES[path.parent.name]
    told = json.loads(path.read_text())
    message = ParseDict(told, MESSAGES[table.topic]())
    decoded = table.decode([record(table.topic, message.SerializeToString(), at=LATER)])
    assert decoded.bad == []
    row = {name: column[0] for name, column in decoded.columns.items()}
    kind = message.WhichOneof("body")
    assert row.pop("event_type") == message.DESCRIPTOR.fields_by_name[kind].message_type.name
    fields = flat({**told.pop("meta"), **told.pop(kind), **told})
    fields.pop("stream_id")
    fields["event_id_text"] = fields.pop("event_id")
    for name, text in fields.items():
        # What is left out of the columns is the type's default.
        value = row.pop(name, None) if name in row else row.pop(f"{name}_us", 0)
        assert as_json(value, text, PARTS.get(name, ())) == text, name
    assert set(row) == {"kafka_partition", "kafka_offset"}


PARTS = {
    name: [part.split()[0] for part in parts.split(",")]
    for name, parts in re.findall(
        r"^    (?:ADD COLUMN IF NOT EXISTS )?(\w+) +Array\(Tuple\((.*?)\)\)(?:,| COMMENT)",
        SCRIPTS,
        re.MULTILINE | re.DOTALL,
    )
}
"""The names within the columns of tuples, in order."""


def flat(fields: dict[str, Any], path: str = "") -> dict[str, Any]:
    """A message's fields, those of messages within as `<name>_<field>`; a map is one field."""
    found: dict[str, Any] = {}
    for name, value in fields.items():
        inner = isinstance(value, dict) and name != "reported"
        if isinstance(value, list):
            value = [flat(one) if isinstance(one, dict) else one for one in value]
        found |= flat(value, f"{path}{name}_") if inner else {f"{path}{name}": value}
    return found


def as_json(value: Any, like: Any, parts: Sequence[str] = ()) -> Any:
    """A column's value in the form that protobuf's JSON has for the field."""
    if isinstance(like, list) and isinstance(value, dict):
        return [
            {**one, "skill": skill, [*one][-1]: level}
            for one, (skill, level) in zip(like, value.items(), strict=True)
        ]
    if isinstance(like, list):
        return [
            {
                name: as_json(part, one.get(name, part))
                for name, part in zip(parts, row, strict=True)
                if part
            }
            if isinstance(row, tuple)
            else row
            for row, one in zip(value, like, strict=True)
        ]
    if not isinstance(like, str):
        return value
    if isinstance(value, int):
        if like.endswith("Z"):
            return codec.timestamp(value).ToJsonString()
        return codec.duration(value).ToJsonString() if like.endswith("s") else str(value)
    return like if value and like.endswith(f"_{value.upper()}") else value


def test_what_is_promised_may_lie_ahead() -> None:
    due = {"first_response": "2027-11-23T10:00:00Z", "resolution": "9999-12-31T23:59:59.9Z"}
    [event] = complaint_events("acme", "k", ("opened", {"due": due}))
    decoded = COMPLAINT_EVENTS.decode([record("complaint-events", event.SerializeToString())])
    assert decoded.columns["due_first_response"] == [1_826_964_000_000_000]
    assert decoded.columns["due_resolution"] == [rows.LAST_US]  # the last that ClickHouse has


def test_a_complaint_may_take_longer_than_a_year() -> None:
    [event] = complaint_events("acme", "k", ("closed", {"resolution_took": "200000000s"}))
    decoded = COMPLAINT_EVENTS.decode([record("complaint-events", event.SerializeToString())])
    assert decoded.columns["resolution_took_us"] == [200_000_000_000_000]


@pytest.mark.parametrize(
    ("body", "spoil", "field"),
    [
        (("opened", {}), lambda e: setattr(e, "complaint_id", ""), "complaint_id"),
        (("opened", {}), lambda e: setattr(e, "complaint_id", "a/b"), "complaint_id"),
        (("opened", {}), lambda e: setattr(e.opened, "severity", 99), "severity"),
        (("opened", {}), lambda e: setattr(e.opened.about, "kind", 99), "about_kind"),
        (("opened", {}), lambda e: setattr(e.opened, "customer_id", "Ann Lee"), "customer_id"),
        (
            ("opened", {}),
            lambda e: setattr(e.opened.due.resolution, "seconds", 2**50),
            "due_resolution",
        ),
        (
            ("opened", {}),
            lambda e: setattr(e.opened.due.resolution, "seconds", -1),
            "due_resolution",
        ),
        (("closed", {"resolution_took": "-1s"}), lambda e: None, "resolution_took"),
        (("remedied", {"amount": "19,90", "currency": "EUR"}), lambda e: None, "amount"),
        (("remedied", {"amount": "1e3", "currency": "EUR"}), lambda e: None, "amount"),
        (("opened", {}), lambda e: setattr(e.meta.occurred_at, "seconds", 2**40), "occurred_at"),
    ],
)
def test_what_makes_no_sense_of_a_complaint(
    body: Body, spoil: Callable[[Any], object], field: str
) -> None:
    [event] = complaint_events("acme", "k", body)
    spoil(event)
    [bad] = COMPLAINT_EVENTS.decode([record("complaint-events", event.SerializeToString())]).bad
    assert isinstance(bad.error, InvalidMessage)
    assert bad.error.field == field


@pytest.mark.parametrize(
    ("kind", "id_", "body", "field"),
    [
        ("customer", "", ("registered", {"source": "import"}), "customer_id"),
        ("customer", "Ann Lee", ("erased", {}), "customer_id"),
        ("customer", "c", ("registered", {"time_zone": "Mars/Phobos"}), "time_zone"),
        ("customer", "c", ("merged", {"into_customer_id": "a/b"}), "into_customer_id"),
        ("call", "", ("call_noted", {"note_id": "n"}), "call_id"),
        ("call", "c", ("call_noted", {"note_id": "a note"}), "note_id"),
        ("call", "c", ("offer_refused", {"not_before": "soon"}), "not_before"),
        ("call", "c", ("offer_refused", {"not_before": "2026-02-30"}), "not_before"),
        ("survey", "s", ("survey_question_answered", {"number": "NaN"}), "number"),
        ("survey", "s", ("survey_question_answered", {"date": "1.2.2026"}), "date"),
    ],
)
def test_what_makes_no_sense_of_a_customer(kind: str, id_: str, body: Body, field: str) -> None:
    [event] = customer_events("acme", kind, id_, body)
    [bad] = CUSTOMER_EVENTS.decode([record("customer-events", event.SerializeToString())]).bad
    assert isinstance(bad.error, InvalidMessage)
    assert bad.error.field == field


@pytest.mark.parametrize(
    ("body", "spoil", "field"),
    [
        (("drafted", {}), lambda e: setattr(e, "order_id", ""), "order_id"),
        (("drafted", {}), lambda e: setattr(e, "order_id", "a/b"), "order_id"),
        (("drafted", {}), lambda e: e.ClearField("origin"), "origin_product_id"),
        (("drafted", {}), lambda e: setattr(e.origin, "product_id", "a b"), "origin_product_id"),
        (
            ("drafted", {}),
            lambda e: setattr(e.origin, "customer_id", "Ann Lee"),
            "origin_customer_id",
        ),
        (("drafted", {"expires_at": "1969-12-31T23:59:59Z"}), lambda e: None, "expires_at"),
        (("placed", {"total": {"amount": "19,90"}}), lambda e: None, "total_amount"),
        (("placed", {"monthly": {"amount": "NaN"}}), lambda e: None, "monthly_amount"),
        (("placed", {"lines": [{}, {"quantity": "two"}]}), lambda e: None, "lines_quantity"),
        (
            ("placed", {"lines": [{}, {"amount": {"amount": "1e9"}}]}),
            lambda e: None,
            "lines_amount_amount",
        ),
        (("placed", {"lines": [{"line_id": "for Ann"}]}), lambda e: None, "lines_line_id"),
        (("placed", {"visit": {"visit_id": "a/b"}}), lambda e: None, "visit_visit_id"),
        (("cancelled", {}), lambda e: setattr(e.cancelled, "by", 99), "by"),
        (
            ("cancelled", {}),
            lambda e: setattr(e.cancelled.placed_at, "seconds", 2**40),
            "placed_at",
        ),
        (
            ("visit_missed", {}),
            lambda e: setattr(e.visit_missed.visit.starts_at, "seconds", -1),
            "visit_starts_at",
        ),
    ],
)
def test_what_makes_no_sense_of_an_order(
    body: Body, spoil: Callable[[Any], object], field: str
) -> None:
    good = order_events("acme", "o-1", ("placed", {"lines": [{"line_id": "router"}]}))
    [event] = order_events("acme", "o-2", body)
    spoil(event)
    sent = values([*good, event, *good])
    records = [record("order-events", value, offset) for offset, value in enumerate(sent)]
    decoded = ORDER_EVENTS.decode(records)
    assert decoded.columns["kafka_offset"] == [0, 2]
    [bad] = decoded.bad
    assert bad.record.offset == 1
    assert isinstance(bad.error, InvalidMessage)
    assert bad.error.field == field


def test_lines_belong_to_their_orders() -> None:
    lines = [[{"line_id": "a", "monthly": True}, {"line_id": "b"}], [], [{"line_id": "c"}]]
    events = [
        *order_events("acme", "o-1", *[("placed", {"lines": some}) for some in lines]),
        *order_events("acme", "o-2", ("drafted", {})),
    ]
    decoded = ORDER_EVENTS.decode(
        [record("order-events", value, offset) for offset, value in enumerate(values(events))]
    )
    assert decoded.bad == []
    found = [[(line[0], line[-2]) for line in row] for row in decoded.columns["lines"]]
    assert found == [[("a", True), ("b", False)], [], [("c", False)], []]


def decoded_calls(*told: Told) -> rows.Rows:
    sent = values(call_stream("acme", "c-1", *told))
    return CALL_EVENTS.decode(
        [record("call-events", value, offset) for offset, value in enumerate(sent)]
    )


@pytest.mark.parametrize(
    ("estimates", "column"),
    [
        (["75s", None, "0s"], [75_000_000, None, 0]),
        (["0s", "0s"], [0, 0]),
        ([None, "0s"], [None, 0]),
        ([None, None], None),
    ],
)
def test_no_estimate_is_not_an_estimate_of_nothing(
    estimates: list[str | None], column: list[int | None] | None
) -> None:
    told: list[Told] = [
        (0, "queued", {"estimated_wait": estimate} if estimate else {}) for estimate in estimates
    ]
    assert decoded_calls(*told).columns.get("estimated_wait_us") == column


def test_an_estimate_is_checked_as_any_duration() -> None:
    decoded = decoded_calls(
        (0, "queued", {}),
        (0, "queued", {"estimated_wait": "-1s"}),
        (0, "queued", {"estimated_wait": "9s"}),
    )
    assert decoded.columns["estimated_wait_us"] == [None, 9_000_000]
    assert [(bad.record.offset, str(bad.error)[:15]) for bad in decoded.bad] == [
        (1, "estimated_wait:")
    ]


@pytest.mark.parametrize(
    ("help_id", "fits"),
    [("c-1~1", True), (f"{'c' * 128}~12", True), ("c-1", False), ("c-1~", False), ("~1", False)],
)
def test_the_id_of_a_request_for_help(help_id: str, fits: bool) -> None:
    decoded = decoded_calls((0, "help_ended", {"help_id": help_id}))
    assert [str(bad.error) for bad in decoded.bad] == ([] if fits else ["help_id: is no id"])


def test_a_queue_with_all_that_it_says() -> None:
    """Messages within messages are columns; repeated ones are tuples, and skills a map."""
    queue = {
        "queue_id": "sales",
        "required_skills": [{"skill": "english", "min_level": 2}],
        "hours": {"zone": "Europe/Paris", "weekly": [{"weekday": 1, "opens": 0, "closes": 1440}]},
        "when_closed": {"action": "OVERFLOW_CLOSE"},
        "steps": [
            {"after_seconds": 9, "action": "OVERFLOW_WIDEN_GROUPS", "groups": ["a", "b"]},
            {"after_seconds": 10, "action": "OVERFLOW_RELAX_SKILL", "skill": "english", "level": 1},
        ],
    }
    events = pool_stream("acme", (0, "queue_configured", {"queue": queue}))
    events += pool_stream("acme", (0, "queue_removed", {"queue_id": "care"}))
    decoded = POOL_EVENTS.decode(
        [record("pool-events", value, offset) for offset, value in enumerate(values(events))]
    )
    assert decoded.bad == []
    assert decoded.columns["queue_required_skills"] == [{"english": 2}, {}]
    assert decoded.columns["queue_hours_weekly"] == [[(1, 0, 1440)], []]
    assert decoded.columns["queue_when_closed_action"] == ["close", ""]
    assert decoded.columns["queue_steps"] == [
        [
            (9, "widen_groups", "", 0, ["a", "b"], "", ""),
            (10, "relax_skill", "english", 1, [], "", ""),
        ],
        [],
    ]
    assert decoded.columns["queue_id"] == ["", "care"]


def test_the_steps_of_a_queue_are_checked() -> None:
    steps = [{"queue_id": "night"}, {"pool_id": "a pool"}]
    events = pool_stream("acme", (0, "queue_configured", {"queue": {"steps": steps}}))
    [bad] = POOL_EVENTS.decode([record("pool-events", value) for value in values(events)]).bad
    assert str(bad.error) == "queue_steps_pool_id: is no id"


def test_a_visit_may_lie_ahead() -> None:
    visit = {"visit_id": "v-1", "starts_at": "2027-11-23T10:00:00Z"}
    [event] = order_events("acme", "o-1", ("visit_scheduled", {"visit": visit}))
    decoded = ORDER_EVENTS.decode([record("order-events", event.SerializeToString())])
    assert decoded.columns["visit_starts_at"] == [1_826_964_000_000_000]


def test_what_may_be_missing() -> None:
    """No zone, no customer, no call: not every event has them."""
    events = [
        *customer_events("acme", "customer", "c", ("registered", {})),
        *customer_events("acme", "call", "c-1", ("call_classified", {"topic_id": "orders"})),
        *customer_events("centre", "do-not-call", "all", ("do_not_call_list_published", {})),
    ]
    decoded = CUSTOMER_EVENTS.decode(
        [record("customer-events", value, offset) for offset, value in enumerate(values(events))]
    )
    assert decoded.bad == []
    assert decoded.clients() == {"acme"}


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
