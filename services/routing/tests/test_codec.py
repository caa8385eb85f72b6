"""To bytes and back; whatever bytes come, InvalidMessage or a command that passes the check."""

import time
from dataclasses import dataclass, fields, is_dataclass, replace
from enum import IntEnum
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_origin, get_type_hints

import pytest
from google.protobuf import json_format
from google.protobuf.message import Message
from hypothesis import given, settings
from hypothesis import strategies as st
from relais.agents.v1.events_pb2 import AgentEvent
from relais.calls.v1.events_pb2 import CallEvent
from relais.pools.v1.events_pb2 import PoolEvent
from relais.routing.v1.commands_pb2 import RoutingCommand
from relais.routing.v1.pool_snapshot_pb2 import PoolSnapshot

from eventkit.errors import InvalidMessage
from eventkit.ids import event_id
from eventkit.records import Headers
from services.routing import codec
from services.routing import commands as c
from services.routing import events as e
from services.routing.configuration import ClientRules, Overflow, Skills
from services.routing.engine import apply
from services.routing.mapping import Bodies
from services.routing.policies import POLICIES
from services.routing.pool import Agent, AgentState, Call, Moved, Pool, Served, Settings, WrapUp
from services.routing.queues import Level, Pace, QueueState
from services.routing.tests.test_commands import ID_FIELDS, QUEUE, RULES, command
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
    c.TransferCall("c1", "ann", to_agent_id="bob"),
    c.RequestHelp("c1", "ann", c.HelpKind.CONFERENCE, "bob", ("a", "b"), (("de", 1),)),
    c.TakeOverCall("c1", "q", "p2", 3, 1, 2, 5, (("de", 1),), c.Channel.CHAT, "cust", True),
    c.LogInAgent("ann", (("de", 1), ("fr", 5)), ("a", "b"), "lyon", 3, 2),
    c.SetAgentSkills("ann", (("de", 1),), ("a", "b")),
    c.StartBreak("ann", "déjeuner"),
    c.AdvanceCall("acme/c1~2"),
    c.ConfigurePool(1, -1, 3.5, "affine", 2, 30, ("a", "b"), ("c",), 7),
    c.ConfigureQueue(QUEUE, 3),
    c.ConfigureQueue(replace(QUEUE, hours=None)),
    c.ConfigureClient(RULES, 2),
]


@pytest.mark.parametrize("body", BODIES, ids=lambda body: type(body).__name__)
def test_command_round_trip(body: c.Body) -> None:
    made = replace(command(body), occurred_at=1_234_567_890_123_456, recorded_at=7, actor="pbx-1")
    assert codec.decode_command(Stored(codec.encode_command(made))) == made


def values(hint: Any) -> st.SearchStrategy[Any]:
    """Any value of a field, as far as messages can carry it."""
    options = get_args(hint)
    if NoneType in options:
        (kind,) = (each for each in options if each is not NoneType)
        return st.none() | values(kind)
    if hint == Skills:
        pairs = st.dictionaries(st.text(max_size=5), st.integers(0, 5), max_size=3)
        return pairs.map(lambda levels: tuple(sorted(levels.items())))
    if get_origin(hint) in (tuple, list):
        if Ellipsis in options or get_origin(hint) is list:
            return st.lists(values(options[0]), max_size=3).map(get_origin(hint))
        return st.tuples(*map(values, options))
    if is_dataclass(hint):
        return any_of(hint)
    if issubclass(hint, IntEnum):
        return st.sampled_from(hint)
    kinds: dict[Any, st.SearchStrategy[Any]] = {
        bool: st.booleans(),
        int: st.integers(0, 2**31 - 1),
        float: st.floats(allow_nan=False, allow_infinity=False),
        str: st.text(max_size=5),
    }
    return kinds[hint]


def any_of(kind: Any, **given: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Any instance of a dataclass; given: for fields that need something more."""
    hints = get_type_hints(kind)
    return st.builds(
        kind,
        **{
            each.name: given[each.name] if each.name in given else values(hints[each.name])
            for each in fields(kind)
        },
    )


FAMILIES: list[tuple[Bodies, type[Message], Any]] = [
    (codec.COMMANDS, RoutingCommand, c.Body),
    (codec.CALL_EVENTS, CallEvent, e.CallBody),
    (codec.AGENT_EVENTS, AgentEvent, e.AgentBody),
    (codec.POOL_EVENTS, PoolEvent, e.PoolBody),
]
KINDS = [(bodies, wire, kind) for bodies, wire, union in FAMILIES for kind in get_args(union)]


@pytest.mark.parametrize(("bodies", "wire", "union"), FAMILIES)
def test_every_kind_has_its_field(bodies: Bodies, wire: type[Message], union: Any) -> None:
    names = {field.name for field in wire.DESCRIPTOR.oneofs_by_name["body"].fields}
    assert {kind for kind, _ in bodies.kinds()} == set(get_args(union))
    assert {name for _, name in bodies.kinds()} == names


@pytest.mark.parametrize(
    ("bodies", "wire", "kind"), KINDS, ids=lambda value: getattr(value, "__name__", "")
)
@given(st.data())
@settings(max_examples=25, deadline=None)
def test_any_body(bodies: Bodies, wire: type[Message], kind: Any, data: st.DataObject) -> None:
    body = data.draw(any_of(kind))
    message = wire.FromString(wire(**bodies.encode(body)).SerializeToString())
    assert bodies.decode(message) == body


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
    step = {"steps": [{"action": 1}, {"action": 99}]}
    queue = changed(configure_queue={"queue": step})
    assert invalid(queue) == "configure_queue.queue.steps[1].action"
    assert invalid(changed(request_help={"call_id": "c1", "kind": 99})) == "request_help.kind"
    assert invalid(changed(request_help={"call_id": "c1", "agent_id": "ann"})) == "kind"
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
        assert not isinstance(event, e.Sent)
        codec.encode_event(made, event)


def test_event_round_trip() -> None:
    pool, seen = Pool("p"), 0
    for number, body in enumerate(TALKING):
        made = replace(command(body), occurred_at=number, command_id=f"id{number}")
        for event in apply(pool, made):
            data = codec.encode_event(made, event)
            assert not isinstance(event, e.Sent)
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


def test_pool_event() -> None:
    made = replace(command(c.ConfigureQueue(QUEUE)), command_id="id", actor="sue")
    (event,) = apply(Pool("p"), made)
    assert isinstance(event, e.PoolEvent)
    message = PoolEvent.FromString(codec.encode_event(made, event))
    assert codec.POOL_EVENTS.decode(message) == event.body == e.QueueConfigured(1, QUEUE)
    assert message.pool_id == "p"
    meta = message.meta
    assert (meta.event_id, meta.stream_id) == (event_id("pool/p", 1), "pool/p")
    assert (meta.client_id, meta.actor, meta.causation_id) == ("acme", "sue", "id")


def test_who_decided() -> None:
    """A report's consequences are the reporter's, save for what routing alone decides."""
    made = replace(command(c.QueueCall("c1", "q")), actor="pbx")
    call = e.CallOverflowed(Overflow.CLOSE, "q", 0, 0, "closed")
    actors = {
        type(body): CallEvent.FromString(
            codec.encode_event(made, e.CallEvent("acme", "c1", 1, 0, body))
        ).meta.actor
        for body in (e.CallQueued("q", "p", 0, (), 0), call, e.CallMoved("q", "r", 1, (), 0))
    }
    assert actors == {
        e.CallQueued: "pbx",
        e.CallOverflowed: "routing-worker",
        e.CallMoved: "routing-worker",
    }


def test_what_a_pool_sends_to_another() -> None:
    cause = replace(command(c.AdvanceCall("acme/c1")), command_id="cause", recorded_at=9)
    take_over = c.TakeOverCall("c1", "q", "p", 3, 1, 2)
    sent = e.Sent("p2", "acme", 5, take_over)
    data = codec.encode_sent(cause, 1, sent)
    assert data == codec.encode_sent(cause, 1, sent)
    made = codec.decode_command(Stored(data, b"p2"))
    assert made == c.Command(
        "p2", made.command_id, "acme", 5, 9, codec.ROUTING, "acme/c1", take_over
    )
    assert RoutingCommand.FromString(data).meta.causation_id == "cause"
    others = [
        codec.encode_sent(cause, 0, sent),
        codec.encode_sent(replace(cause, command_id="other"), 1, sent),
        codec.encode_sent(replace(cause, pool_id="p3"), 1, sent),
    ]
    ids = {codec.decode_command(Stored(other, b"p2")).command_id for other in others}
    assert len(ids | {made.command_id}) == 4
    report = replace(command(c.ReportCallEnded("c1")), actor="pbx")
    forwarded = codec.encode_sent(report, 0, e.Sent("p2", "acme", 5, c.ReportCallEnded("c1")))
    assert codec.decode_command(Stored(forwarded, b"p2")).actor == "pbx"


TIMES = st.integers(-1, 2**62)
NAMES = st.text(max_size=5)
STREAMS = ("acme/c1", "acme/c1~1", "bolt/c2", "bolt/c3")


@st.composite
def pools(draw: st.DrawFn) -> Pool:
    """Any pool whose agents have calls that are there."""
    calls = [
        draw(any_of(Call, client_id=st.just(client), call_id=st.just(call), at=TIMES))
        for client, call in (stream.split("/") for stream in STREAMS)
    ]
    agents = draw(
        st.lists(
            any_of(
                Agent,
                at=TIMES,
                reported_at=TIMES,
                lost_at=TIMES,
                skilled_at=TIMES,
                offered=st.sampled_from(("", *STREAMS)),
                calls=st.lists(st.sampled_from(STREAMS), max_size=3),
                wrap_ups=st.dictionaries(NAMES, any_of(WrapUp), max_size=2),
            ),
            max_size=4,
            unique_by=lambda agent: str(agent.agent_id),
        )
    )
    rules = draw(st.dictionaries(NAMES, any_of(ClientRules), max_size=2))
    queues = draw(
        st.lists(
            any_of(
                QueueState,
                configured_at=st.integers(-1, 2**62),
                key=st.sampled_from(("acme/q1", "acme/q2", "bolt/q1")),
                level=any_of(Level),
                pace=any_of(Pace),
                waiting_by_priority=st.builds(dict),
            ),
            max_size=3,
            unique_by=lambda state: str(state.key),
        )
    )
    pool = Pool(
        "p",
        now=draw(TIMES),
        settings=draw(any_of(Settings, policy=st.sampled_from(sorted(POLICIES)))),
        version=draw(TIMES),
        at=draw(TIMES),
        agents={agent.agent_id: agent for agent in agents},
        calls={call.stream_id: call for call in calls},
        queues={state.key: state for state in queues},
        clients=rules,
        client_versions=dict.fromkeys(rules, 3),
        clients_configured_at=dict.fromkeys(rules, 5),
        served=draw(st.dictionaries(NAMES, any_of(Served), max_size=3)),
        offers=draw(st.integers(0, 2**62)),
        finished=draw(st.dictionaries(NAMES, TIMES, max_size=3)),
        moved=draw(st.dictionaries(NAMES, any_of(Moved), max_size=3)),
        forgotten_until=draw(TIMES),
    )
    pool.index()
    return pool


@given(pools())
@settings(max_examples=30, deadline=None)
def test_any_pool(pool: Pool) -> None:
    data = codec.encode_pool(pool)
    restored = codec.decode_pool(data)
    assert restored == pool
    assert codec.encode_pool(restored) == data, "their orders too"


def test_pool_of_before_agents_had_several_calls() -> None:
    """Form 0: what an agent has is one call, in `call`."""
    given = {"offer_seconds": 5, "wrap_up_seconds": 6, "clock_speed": 2.0, "configured_at_us": 7}

    def agent(name: str, state: AgentState, call: str, **more: int) -> dict[str, Any]:
        return {"agent_id": name, "state": int(state), "at_us": 9, "call": call, **more}

    def call(name: str, state: int, **more: Any) -> dict[str, Any]:
        return {"client_id": "acme", "call_id": name, "state": state, **more}

    queued = {"queue_id": "q", "priority": 2, "queued_at_us": 3}
    snapshot = PoolSnapshot(
        pool_id="p",
        settings=given,  # type: ignore[arg-type]
        skill_sets=[{"skills": [{"skill": "fr", "level": 2}]}],  # type: ignore[list-item]
        agents=[  # type: ignore[list-item]
            agent("a1", AgentState.RESERVED, "acme/c1"),
            agent("a2", AgentState.BUSY, "acme/c2"),
            agent("a3", AgentState.WRAP_UP, "acme/c3", wrap_up_ends_at_us=40),
            agent("a4", AgentState.WRAP_UP, "", wrap_up_ends_at_us=50),
            agent("a5", AgentState.AVAILABLE, ""),
        ],
        calls=[  # type: ignore[list-item]
            call("c0", 1),
            call("c1", 3, agent_id="a1", **queued),
            call("c2", 5, agent_id="a2", connected_at_us=5, **queued),
            call("c3", 6, agent_id="a3", connected_at_us=5, ended_at_us=8, **queued),
        ],
        forgotten_until_us=-1,
    )
    pool = codec.decode_pool(snapshot.SerializeToString())
    assert pool.settings == Settings(5, 6, 2.0, configured_at=7)
    agents, calls = pool.agents, pool.calls
    assert agents["a1"].offered == "acme/c1"
    assert agents["a2"].calls == ["acme/c2"]
    assert agents["a3"].wrap_ups == {"acme/c3": WrapUp(8, 40)}
    assert agents["a4"].wrap_ups == {"": WrapUp(9, 50)}
    assert [each.since for each in agents.values()] == [9] * 5
    assert [(each.chats, each.emails, each.lost_at) for each in agents.values()] == [(1, 1, -1)] * 5
    assert [each.asked for each in calls.values()] == [None, *[("q", 2, ())] * 3]
    assert [each.entered_at for each in calls.values()] == [0, 3, 3, 3]
    assert [each.answered for each in calls.values()] == [False, False, True, True]
    assert [each.wrapping for each in calls.values()] == [0, 0, 0, 1]
    assert codec.decode_pool(codec.encode_pool(pool)) == pool


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
            pool = codec.decode_pool(data)
            encoded = codec.encode_pool(pool)
            assert codec.decode_pool(encoded) == pool
            if example.form == codec.FORM:  # type: ignore[attr-defined]
                assert PoolSnapshot.FromString(encoded) == example
    oneof = message.DESCRIPTOR.oneofs_by_name.get("body")
    assert paths
    assert bodies == ({field.name for field in oneof.fields} if oneof else set())
