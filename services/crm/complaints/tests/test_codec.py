"""Events as messages: everything that others may know, and no word of anybody."""

from decimal import Decimal
from typing import Any

import pytest
from google.protobuf import json_format
from relais.complaints.v1.events_pb2 import ComplaintEvent

from eventkit.eventcodec import EventCodec
from eventkit.eventstore import Recorded
from services.crm.complaints import codec
from services.crm.complaints import complaint as c
from services.crm.complaints import policy as p
from services.crm.complaints import wish as w
from services.crm.complaints.calendar import ALWAYS, Calendar
from services.crm.complaints.clocks import Clock, Clocks, Severity

AT = 1_795_000_000_250_000
OCCURRED = "2026-11-18T11:06:40.250Z"
CLOCKS = Clocks(
    Clock(7_200_000_000, used=5_000_000, since=AT, due=AT + 750_000),
    Clock(9_000_000_000, used=90_500_000, ran_out_at=AT - 1),
)
DUE = {"first_response": "2026-11-18T11:06:41Z"}
SECRET = "Rex"

EVENTS: list[tuple[Any, dict[str, Any]]] = [
    (
        c.ComplaintOpened(
            AT,
            c.Details(
                "cu-1",
                "customer",
                c.Subject(c.SubjectKind.VISIT, "v-1"),
                "voice",
                reference="R-1",
                call_id="c-1",
                date_corrected=True,
            ),
            Severity.HIGH,
            SECRET,
            SECRET,
            3,
            CLOCKS,
        ),
        {
            "opened": {
                "customer_id": "cu-1",
                "source": "customer",
                "about": {"kind": "SUBJECT_KIND_VISIT", "id": "v-1"},
                "severity": "SEVERITY_HIGH",
                "channel": "voice",
                "reference": "R-1",
                "call_id": "c-1",
                "due": DUE,
                "date_corrected": True,
            }
        },
    ),
    (
        c.ComplaintOpened(AT, c.Details(), Severity.LOW, SECRET, SECRET, 0, None),
        {"opened": {"source": "customer", "severity": "SEVERITY_LOW", "channel": "voice"}},
    ),
    (c.ComplaintAcknowledged(AT, SECRET, CLOCKS), {"acknowledged": {}}),
    (c.ComplaintAssigned(AT, "a-1"), {"assigned": {"assignee": "a-1"}}),
    (c.ComplaintInvestigated(AT, SECRET), {"investigated": {}}),
    (c.ComplaintPaused(AT, "documents", SECRET, CLOCKS), {"paused": {"reason": "documents"}}),
    (c.ComplaintResumed(AT, CLOCKS), {"resumed": {"due": DUE}}),
    (
        c.ComplaintSeverityChanged(AT, Severity.CRITICAL, CLOCKS),
        {"severity_changed": {"severity": "SEVERITY_CRITICAL", "due": DUE}},
    ),
    (
        c.ComplaintUpheld(AT, ("a", "b"), c.Subject(c.SubjectKind.THIRD_PARTY), SECRET),
        {"upheld": {"reasons": ["a", "b"], "responsible": {"kind": "SUBJECT_KIND_THIRD_PARTY"}}},
    ),
    (c.ComplaintRejected(AT, ("a",), SECRET), {"rejected": {"reasons": ["a"]}}),
    (
        c.ComplaintRemedied(AT, "refund", Decimal("19.90"), "EUR", SECRET),
        {"remedied": {"remedy": "refund", "amount": "19.90", "currency": "EUR"}},
    ),
    (c.ComplaintRemedied(AT, "apology", None, "", SECRET), {"remedied": {"remedy": "apology"}}),
    (
        c.ComplaintClosed(AT, CLOCKS),
        {"closed": {"first_response_took": "5s", "resolution_took": "90.500s"}},
    ),
    (c.ComplaintClosed(AT, None), {"closed": {}}),
    (c.ComplaintAppealed(AT, SECRET, 3, CLOCKS), {"appealed": {"due": DUE}}),
    (
        c.ComplaintReopened(AT, "again", SECRET, 3, CLOCKS),
        {"reopened": {"reason": "again", "due": DUE}},
    ),
    (
        c.ComplaintPolicyApplied(AT, 4, CLOCKS),
        {"policy_applied": {"policy_version": "4", "due": DUE}},
    ),
    (c.ComplaintClockRanOut(AT, "resolution"), {"clock_ran_out": {"clock": "CLOCK_RESOLUTION"}}),
    (
        w.WishExpressed(AT, w.Voice("cu-1"), "c-1", "t-1", SECRET),
        {
            "wish_expressed": {
                "customer_id": "cu-1",
                "source": "customer",
                "call_id": "c-1",
                "topic_id": "t-1",
            }
        },
    ),
    (
        w.WishSupported(AT, w.Voice(source="sales"), "", 2),
        {"wish_supported": {"source": "sales", "supporters": "2"}},
    ),
    (w.WishMerged(AT, "w-2"), {"wish_merged": {"into_wish_id": "w-2"}}),
    (w.WishUnmerged(AT, "w-2"), {"wish_unmerged": {"from_wish_id": "w-2"}}),
    (
        w.WishClosed(AT, w.Outcome.DECLINED, SECRET),
        {"wish_closed": {"outcome": "declined"}},
    ),
]


def recorded(event: Any) -> Recorded[Any]:
    # The store's own time may be that of a command that came later: the event's is what counts.
    return Recorded(
        *("acme", "acme/complaint/k-1", 2, "id-2", event),
        *(AT + 5, AT + 10_000, "a-1", "cor", "cau"),
    )


@pytest.mark.parametrize(("event", "body"), EVENTS)
def test_message(event: Any, body: dict[str, Any]) -> None:
    encode = codec.wish_message if type(event) in w.DECIDER.events else codec.complaint_message
    data = encode(recorded(event))
    assert SECRET.encode() not in data
    told = json_format.MessageToDict(
        ComplaintEvent.FromString(data), preserving_proto_field_name=True
    )
    assert told == {
        "meta": {
            "event_id": "id-2",
            "stream_id": "acme/complaint/k-1",
            "version": "2",
            "client_id": "acme",
            "occurred_at": OCCURRED,
            "recorded_at": "2026-11-18T11:06:40.260Z",
            "actor": "a-1",
            "correlation_id": "cor",
            "causation_id": "cau",
        },
        "complaint_id": "k-1",
        **body,
    }


def test_every_event_is_here() -> None:
    assert {type(event) for event, _ in EVENTS} == {*c.DECIDER.events, *w.DECIDER.events}


@pytest.mark.parametrize("event", [event for event, _ in EVENTS])
def test_stored_and_read(event: Any) -> None:
    store = EventCodec((*c.DECIDER.events, *w.DECIDER.events))
    kind, body, personal = store.encode(event)
    assert SECRET.encode() not in body
    assert store.decode(kind, body.decode(), personal) == event


def test_policies_are_stored_and_read() -> None:
    policy = p.default("Europe/Paris")
    event = p.ComplaintPolicyPublished(AT, 1, policy)
    store = EventCodec(p.DECIDER.events)
    kind, body, personal = store.encode(event)
    assert personal is None
    assert store.decode(kind, body.decode(), None) == event
    assert Calendar("UTC", (ALWAYS,) * 7) != policy.calendar
