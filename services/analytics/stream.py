"""The live figures on Kafka: decode call-events, fold them (live.py), write what has changed."""

import asyncio
import time
from collections.abc import Sequence
from typing import Any, Final

from google.protobuf.message import DecodeError
from relais.analytics.v1.live_kpi_snapshot_pb2 import CallFacts, LiveKpiSnapshot
from relais.calls.v1.events_pb2 import CallEvent, CallOverflowed

from eventkit import telemetry
from eventkit.errors import InvalidMessage
from eventkit.records import Record
from services.analytics import live, rows
from services.analytics.live import Connection, Facts, Figures, Hour, Kind, Late, Said, WrapUp
from services.analytics.store import Store

CALL_EVENTS: Final = "call-events"
SNAPSHOTS: Final = "live-kpi-snapshots"
SILENT: Final = "silent"
"""The key of events that no figure is made of. No slot has it: slots contain a `|`."""

LATE_EVENTS = telemetry.meter.create_counter(
    "relais.analytics.late_events",
    "{event}",
    "Events of calls that arrived too long ago for the live figures",
)

_KINDS: Final = {kind.value: kind for kind in Kind}
CLOSED: Final = "closed"
"""Why a call overflows that comes outside of its queue's hours."""
_LASTED: Final = {
    Kind.CONNECTED: "waited",
    Kind.ABANDONED: "waited",
    Kind.OVERFLOWED: "waited",
    Kind.ENDED: "talked",
    Kind.WRAPPED_UP: "wrap_up",
}


class LiveKpis:
    """An eventkit.logfold.Fold. target_s: the service level's threshold."""

    def __init__(self, target_s: float) -> None:
        self._target = round(target_s * 1e6)

    def decode(self, record: Record) -> tuple[str, Said | None]:
        """The call's slot, and what is said of it. Checks only what it uses."""
        event = rows.parse(CallEvent.FromString, record)
        kind = _KINDS.get(event.WhichOneof("body") or "")
        if kind is None:
            return SILENT, None
        body = getattr(event, kind.value)
        if kind is Kind.OVERFLOWED and out_of_hours(body):
            return SILENT, None
        if event.meta.version < 1:
            raise InvalidMessage("version", f"{event.meta.version} is less than 1")
        said = Said(
            kind,
            _checked("client_id", event.meta.client_id, rows.CLIENT_ID),
            _checked("call_id", event.call_id, rows.ID),
            event.meta.version,
            body.queue_id and _checked("queue_id", body.queue_id, rows.ID),
            rows.micros(body.arrived_at),
            rows.micros(getattr(body, _LASTED[kind])),
            record.partition,
            record.offset,
        )
        limit = record.timestamp * 1000 + rows.DAY_US
        for name, time_us in (
            ("occurred_at", rows.micros(event.meta.occurred_at)),
            ("arrived_at", said.arrived_at),
        ):
            if fault := rows.time_fault(time_us, limit, required=True):
                raise InvalidMessage(name, fault)
        if fault := rows.duration_fault(said.lasted):
            raise InvalidMessage(_LASTED[kind], fault)
        return live.slot(said.client_id, said.arrived_at), said

    def apply(
        self, state: Hour | None, message: Said | None
    ) -> tuple[Hour | None, Sequence[Figures | Late]]:
        if message is None:
            return state, ()
        return live.apply(state, message, self._target)

    def encode_state(self, state: Hour) -> bytes:
        snapshot = LiveKpiSnapshot(client_id=state.client_id)
        snapshot.hour.seconds = state.hour * 3600
        for call_id, facts in state.calls.items():
            call = snapshot.calls.add(
                call_id=call_id,
                abandoned=facts.abandoned,
                abandoned_queue_id=facts.abandoned_queue,
                overflowed=facts.overflowed,
                overflowed_queue_id=facts.overflowed_queue,
                ended=facts.ended,
            )
            _set_micros(call.arrived_at, facts.arrived_at)
            if facts.connected is not None:
                call.connected = True
                call.connected_version = facts.connected.version
                call.connected_queue_id = facts.connected.queue_id
                _set_micros(call.waited, facts.connected.waited)
            _set_micros(call.talked, facts.talked)
            _set_micros(call.wrap_up, sum(one.lasted for one in facts.wrap_ups))
            for one in facts.wrap_ups:
                _set_micros(call.wrap_ups.add(version=one.version).wrap_up, one.lasted)
        return snapshot.SerializeToString()

    def decode_state(self, data: bytes) -> Hour:
        try:
            snapshot = LiveKpiSnapshot.FromString(data)
        except DecodeError as error:
            raise InvalidMessage("", f"no LiveKpiSnapshot: {error}") from None
        # The totals are counted anew, so a changed target holds for all calls that are kept.
        hour = Hour(snapshot.client_id, snapshot.hour.seconds // 3600, self._target)
        for call in snapshot.calls:
            hour.put(call.call_id, _facts(call))
        return hour


def out_of_hours(overflowed: CallOverflowed) -> bool:
    """Whether the call came when its queue was closed, and waited nowhere: it was not offered."""
    return overflowed.reason == CLOSED and not rows.micros(overflowed.waited)


def _facts(call: CallFacts) -> Facts:
    connected = None
    if call.connected:
        waited = rows.micros(call.waited)
        connected = Connection(call.connected_version, call.connected_queue_id, waited)
    wrap_ups = [WrapUp(one.version, rows.micros(one.wrap_up)) for one in call.wrap_ups]
    if not wrap_ups and (lasted := rows.micros(call.wrap_up)):
        wrap_ups = [WrapUp(live.UNNUMBERED, lasted)]
    return Facts(
        arrived_at=rows.micros(call.arrived_at),
        connected=connected,
        abandoned=call.abandoned,
        abandoned_queue=call.abandoned_queue_id,
        overflowed=call.overflowed,
        overflowed_queue=call.overflowed_queue_id,
        ended=call.ended,
        talked=rows.micros(call.talked),
        wrap_ups=tuple(wrap_ups),
    )


def _set_micros(field: Any, micros: int) -> None:
    field.seconds, field.nanos = micros // 1_000_000, micros % 1_000_000 * 1000


def _checked(name: str, text: str, pattern: Any) -> str:
    if fault := rows.id_fault(text, pattern):
        raise InvalidMessage(name, fault)
    return text


class LiveTable:
    """Writes figures to the table live_kpis.

    flush_s: the shortest time between two writes. Whoever comes earlier waits, so that at any rate
    of events the table gets few inserts, of many rows; figures are stored when `write` returns.
    """

    def __init__(self, store: Store, target_s: float, flush_s: float) -> None:
        self._store = store
        self._target_s = target_s
        self._flush_s = flush_s
        self._last = float("-inf")
        self._writing = asyncio.Lock()

    async def write(self, outputs: Sequence[Figures | Late]) -> None:
        """Store the newest figures of each interval, and count what was late."""
        for one in outputs:
            if isinstance(one, Late):
                LATE_EVENTS.add(1, {"client": one.client_id})
        figures = live.newest(outputs)
        if not figures:
            return
        async with self._writing:
            await asyncio.sleep(self._last + self._flush_s - time.monotonic())
            self._last = time.monotonic()
            await self._store.insert("live_kpis", self._columns(figures))

    def _columns(self, figures: list[Figures]) -> dict[str, list[Any]]:
        totals = [one.totals for one in figures]
        return {
            "client_id": [one.client_id for one in figures],
            "queue_id": [one.queue_id for one in figures],
            "interval_start": [one.interval_start // 1_000_000 for one in figures],
            "offered": [one.offered for one in totals],
            "answered": [one.answered for one in totals],
            "abandoned": [one.abandoned for one in totals],
            "overflowed": [one.overflowed for one in totals],
            "answered_in_target": [one.answered_in_target for one in totals],
            "handled": [one.handled for one in totals],
            "waited_us": [one.waited for one in totals],
            "handle_us": [one.handle for one in totals],
            "target_s": [self._target_s] * len(figures),
            "kafka_partition": [one.partition for one in figures],
            "kafka_offset": [one.offset for one in figures],
        }
