"""To bytes and back; whatever bytes come, InvalidMessage or a command that passes the check."""

import time
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from google.protobuf import json_format
from google.protobuf.message import Message
from hypothesis import given, settings
from hypothesis import strategies as st
from relais.agents.v1.events_pb2 import AgentEvent
from relais.calls.v1.events_pb2 import CallEvent
from relais.routing.v1.commands_pb2 import RoutingCommand
from relais.routing.v1.pool_snapshot_pb2 import PoolSnapshot

from eventkit.errors import InvalidMessage
from eventkit.ids import event_id
from eventkit.records import Headers
from services.routing import codec
from services.routing import commands as c
from services.routing import events as e
from services.routing.engine import apply
from services.routing.pool import Pool
from services.routing.tests.test_commands import ID_FIELDS, command
from services.routing.tests.test_engine import TALKING
from services.routing.tests.test_engine import given as pool_after

EXAMPLES = Path(__file__).parents[3] / "proto" / "examples"


@dataclass(frozen=True)
class Stored:
    """A record of routing-commands."""

    value: bytes | None
    key: bytes | None = b"p"
    timestamp: int = 1_600_000_000_000
    topic: str = "routing-commands"
    partition: int = 0
    offset: int = 0
    headers: Headers = ()


BODIES: list[c.Body] = [
    *[body for body, _ in ID_FIELDS],
    c.ReportCallArrived("c1", c.Channel.CHAT, c.Direction.OUTBOUND, "line", "cust"),
    c.QueueCall("c1", "q", -5, (("de", 1), ("fr", 5))),
    c.LogInAgent("ann", (("de", 1), ("fr", 5))),
    c.StartBreak("ann", "déjeuner"),
    c.ConfigurePool(1, 2, 3.5),
]


@pytest.mark.parametrize("body", BODIES, ids=lambda body: type(body).__name__)
def test_command_round_trip(body: c.Body) -> None:
    made = replace(command(body), occurred_at=1_234_567_890_123_456, recorded_at=7, actor="pbx-1")
    assert codec.decode_command(Stored(codec.encode_command(made))) == made


def test_command_id_is_the_content() -> None:
    ids = {codec.command_id("p", "acme", at, body) for at in (1, 2) for body in set(BODIES)}
    assert len(ids) == 2 * len(set(BODIES))
    assert codec.command_id("p", "acme", 1, BODIES[0]) in ids


def invalid(record: Stored) -> str:
    with pytest.raises(InvalidMessage) as error:
        codec.decode_command(record)
    return error.value.field


def test_rubbish_is_invalid() -> None:
    good = RoutingCommand.FromString(
        codec.encode_command(replace(command(BODIES[0]), occurred_at=1))
    )

    def changed(**values: object) -> Stored:
        message = RoutingCommand.FromString(good.SerializeToString())
        message.MergeFrom(RoutingCommand(**values))  # type: ignore[arg-type]
        return Stored(message.SerializeToString())

    assert invalid(Stored(None)) == ""
    assert invalid(Stored(b"\xff\xff\xff")) == ""
    assert invalid(Stored(b"")) == "meta.occurred_at"
    assert invalid(Stored(good.SerializeToString(), key=b"q")) == "pool_id"
    assert invalid(Stored(good.SerializeToString(), key=None)) == "pool_id"
    assert invalid(changed(pool_id="a/b")) == "pool_id"
    assert (
        invalid(changed(meta={"occurred_at": {"seconds": 253_402_300_799}})) == "meta.occurred_at"
    )
    far = Stored(changed(meta={"occurred_at": {"seconds": 253_402_300_799}}).value, timestamp=2**60)
    assert invalid(far) == "occurred_at"
    assert invalid(changed(meta={"occurred_at": {"seconds": -1}})) == "occurred_at"
    broken = changed(meta={"recorded_at": {"seconds": 2**63 - 1, "nanos": 2**31 - 1}})
    assert invalid(broken) == "recorded_at"
    assert invalid(changed(meta={"client_id": "centre"})) == "client_id"
    assert invalid(changed(report_call_arrived={"channel": 99})) == "report_call_arrived.channel"
    good.ClearField("report_call_arrived")
    assert invalid(Stored(good.SerializeToString())) == "body"


@given(
    st.one_of(
        st.binary(max_size=200),
        st.sampled_from(BODIES).flatmap(
            lambda body: st.tuples(st.integers(0, 200), st.binary(min_size=1, max_size=3)).map(
                lambda cut: (
                    (data := codec.encode_command(command(body)))[: cut[0]]
                    + cut[1]
                    + data[cut[0] + len(cut[1]) :]
                )
            )
        ),
    )
)
@settings(max_examples=150, deadline=None)
def test_any_bytes(value: bytes) -> None:
    try:
        made = codec.decode_command(Stored(value))
    except InvalidMessage:
        return
    c.check(made)
    for event in apply(Pool("p"), made) if isinstance(made.body, c.QueueCall) else ():
        codec.encode_event(made, event)


def test_event_round_trip() -> None:
    pool, seen = Pool("p"), 0
    for number, body in enumerate(TALKING):
        made = replace(command(body), occurred_at=number, command_id=f"id{number}")
        for event in apply(pool, made):
            data = codec.encode_event(made, event)
            if isinstance(event, e.CallEvent):
                message: CallEvent | AgentEvent = CallEvent.FromString(data)
                assert codec.CALL_EVENTS.decode(message) == event.body
            else:
                message = AgentEvent.FromString(data)
                assert codec.AGENT_EVENTS.decode(message) == event.body
            meta = message.meta
            assert meta.event_id == event_id(event.stream_id, event.version)
            assert (meta.stream_id, meta.version) == (event.stream_id, event.version)
            assert codec.from_timestamp(meta.occurred_at) == event.occurred_at == number
            assert meta.causation_id == f"id{number}"
            seen += 1
    assert seen == 9


def test_pool_round_trip_and_speed() -> None:
    pool = pool_after(TALKING)
    for number in range(5_000):
        skills = tuple(sorted((f"s{(number * k) % 60}", 1 + k) for k in (1, 2, 3)))
        skills = tuple(dict(skills).items())
        made = replace(command(c.LogInAgent(f"a{number}", skills)), command_id="0123456789" * 3)
        apply(pool, made)
        apply(pool, replace(made, body=c.MakeAgentAvailable(f"a{number}"), command_id="x"))
    started = time.perf_counter()
    data = codec.encode_pool(pool)
    elapsed = time.perf_counter() - started
    assert codec.decode_pool(data) == pool
    assert elapsed < 1, f"{elapsed * 1000:.0f} ms for 5,000 agents"


@pytest.mark.parametrize("data", [b"\xff", b"\x32\x00", b"\x4a\x01\x01"])
def test_what_is_no_pool(data: bytes) -> None:
    with pytest.raises(InvalidMessage):
        codec.decode_pool(data)


@pytest.mark.parametrize(
    ("topic", "message"),
    [
        ("routing-commands", RoutingCommand),
        ("routing-snapshots", PoolSnapshot),
    ],
)
def test_examples(topic: str, message: type[Message]) -> None:
    """There is an example of every body, and this version reads what it says."""
    paths = sorted((EXAMPLES / topic).glob("*.json"))
    bodies = set()
    for path in paths:
        example = json_format.Parse(path.read_text(), message())
        data = example.SerializeToString()
        if isinstance(example, RoutingCommand):
            bodies.add(example.WhichOneof("body"))
            key = example.pool_id.encode()
            stamp = example.meta.recorded_at.seconds * 1000
            made = codec.decode_command(Stored(data, key, stamp))
            assert codec.decode_command(Stored(codec.encode_command(made), key, stamp)) == made
        else:
            assert PoolSnapshot.FromString(codec.encode_pool(codec.decode_pool(data))) == example
    oneof = message.DESCRIPTOR.oneofs_by_name.get("body")
    assert paths
    assert bodies == ({field.name for field in oneof.fields} if oneof else set())
