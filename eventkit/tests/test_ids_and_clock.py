"""Ids are deterministic UUIDs; the clock counts microseconds."""

import time
import uuid

from hypothesis import given
from hypothesis import strategies as st

from eventkit.clock import SystemClock
from eventkit.ids import NAMESPACE, derived_id, event_id

PARTS = st.lists(st.text(max_size=5), min_size=1, max_size=4)


def test_ids_never_change() -> None:
    """They are stored everywhere: another id for the same fact would count it twice."""
    assert event_id("call-1", 1) == "1f2dd536-f27c-58f0-92ff-6e9108636b0f"
    assert derived_id("a", 1) == derived_id("a", "1")


@given(PARTS)
def test_an_id_is_the_uuid5_of_its_parts(parts: list[str]) -> None:
    lengths = ",".join(str(len(part)) for part in parts)
    assert derived_id(*parts) == str(uuid.uuid5(NAMESPACE, f"{lengths}:{''.join(parts)}"))


@given(PARTS, PARTS)
def test_other_parts_other_id(one: list[str], other: list[str]) -> None:
    assert (derived_id(*one) == derived_id(*other)) == (one == other)


def test_the_clock_counts_microseconds() -> None:
    assert abs(SystemClock().now_us() - time.time() * 1_000_000) < 1_000_000
