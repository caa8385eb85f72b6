"""Stored events as envelopes, times to the microsecond, records that are no messages."""

from dataclasses import dataclass, field

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from eventkit.errors import InvalidMessage
from eventkit.eventstore import Recorded
from eventkit.records import Headers
from eventkit.wire import decoded, envelope, microseconds, timestamp


@dataclass
class Read:
    value: bytes | None
    topic: str = "order-events"
    partition: int = 0
    offset: int = 0
    timestamp: int = 0
    key: bytes | None = None
    headers: Headers = field(default_factory=tuple)


# What a Timestamp holds: the years 1 to 9999.
@given(st.integers(-62_135_596_800_000_000, 253_402_300_799_999_999))
def test_times_come_back(us: int) -> None:
    assert microseconds(timestamp(us)) == us


def test_an_event_may_know_better_when_it_happened() -> None:
    recorded = Recorded("acme", "acme/order/1", 2, "id", None, 5, 7, "ana", "call-1", "cause")
    assert envelope(recorded)["occurred_at"] == timestamp(5)
    assert envelope(recorded, 3)["occurred_at"] == timestamp(3)
    assert envelope(recorded)["recorded_at"] == timestamp(7)
    assert envelope(recorded)["version"] == 2


def test_a_record_is_a_message_or_invalid() -> None:
    assert decoded(Read(timestamp(7).SerializeToString()), Timestamp) == timestamp(7)
    assert decoded(Read(None), Timestamp) == Timestamp()
    with pytest.raises(InvalidMessage, match="not a Timestamp"):
        decoded(Read(b"\xff"), Timestamp)
