"""The processes as they are run: reports over HTTP and gRPC, events out, rubbish refused."""

import os
import signal
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import grpc
import httpx
import pytest
from aiokafka.errors import MessageSizeTooLargeError
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from grpc_status import rpc_status
from relais.agents.v1.events_pb2 import AgentEvent
from relais.calls.v1.events_pb2 import CallEvent
from relais.routing.v1 import routing_service_pb2 as pb
from relais.routing.v1.routing_service_pb2_grpc import RoutingServiceStub

from eventkit.clock import SystemClock
from eventkit.producer import Producer
from eventkit.records import Message
from relaisctl.stack import Stack
from services.routing import codec
from services.routing import commands as c
from services.routing.configuration import Overflow, Queue, Step
from services.routing.tests.support import Published, Running, dead_letters, until

pytestmark = pytest.mark.timeout(120)


def told(answer: httpx.Response) -> str:
    assert answer.status_code == 202, answer.text
    return str(answer.json()["command_id"])


def set_up(answer: httpx.Response) -> None:
    assert answer.status_code == 200, answer.text


async def test_a_call_over_http(
    http: httpx.AsyncClient, worker: Running, published: Published, pool: str
) -> None:
    ann, call = f"ann-{pool}", f"/v1/calls/acme/{pool}-1"
    skills = [{"skill": "fr", "level": 4}, {"skill": "de", "level": 2}]
    set_up(await http.put(f"/v1/pools/{pool}", json={"offer_seconds": 30, "wrap_up_seconds": 1}))
    told(await http.post(f"/v1/agents/{ann}/logged-in", json={"pool_id": pool, "skills": skills}))
    told(await http.post(f"/v1/agents/{ann}/available", json={"pool_id": pool}))
    report = {"pool_id": pool, "actor": "pbx-1"}
    at = datetime.now(UTC).isoformat()
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    first = told(
        await http.post(
            f"{call}/arrived",
            json=report | {"channel": "voice", "direction": "inbound", "line": "l1"},
        )
    )
    queued = report | {
        "queue_id": "help",
        "priority": 3,
        "required_skills": [{"skill": "fr", "min_level": 3}],
        "occurred_at": at,
    }
    headers = {"traceparent": trace}
    again = {
        told(await http.post(f"{call}/queued", json=queued, headers=headers)) for _ in range(3)
    }
    assert len(again) == 1, "the same report is the same command"
    stream, agent = f"acme/{pool}-1", f"agent/{ann}"
    await published.wait_for(stream, "arrived", "queued", "offered")
    offered = published.streams[stream][2]
    assert isinstance(offered, CallEvent)
    offer = offered.offered.offer_id
    assert offered.offered.agent_id == ann
    assert published.streams[stream][0].meta.causation_id == first
    told(await http.post(f"/v1/offers/{offer}/accept", json={"pool_id": pool, "agent_id": ann}))
    told(await http.post(f"{call}/connected", json=report | {"agent_id": ann}))
    told(await http.post(f"{call}/ended", json=report))
    # Nobody says so: the timer ends the wrap-up.
    await published.wait_for(
        stream,
        *("arrived", "queued", "offered", "assigned", "connected", "ended", "wrapped_up"),
    )
    await published.wait_for(
        agent,
        *("logged_in", "became_available", "reserved", "became_busy", "wrap_up_started"),
        "became_available",
    )
    wrapped_up = published.streams[stream][-1]
    assert isinstance(wrapped_up, CallEvent)
    assert wrapped_up.wrapped_up.wrap_up.ToTimedelta() == timedelta(seconds=1)
    assert {event.meta.client_id for event in published.streams[stream]} == {"acme"}
    assert await trace_of(published, offered) == trace.split("-")[1]


async def trace_of(published: Published, event: CallEvent) -> str:
    """The trace that the event's record names."""
    fresh = Published(published.bootstrap)
    for record in await fresh._unread("call-events"):
        if CallEvent.FromString(record.value or b"") == event:
            return dict(record.headers)["traceparent"].decode().split("-")[1]
    raise AssertionError("not found")


async def test_offers_that_nobody_accepts(
    http: httpx.AsyncClient, worker: Running, published: Published, pool: str
) -> None:
    """Expired: the agent stops responding. Declined: a break. The call waits at its old place."""
    set_up(await http.put(f"/v1/pools/{pool}", json={"offer_seconds": 1}))
    for name in ("ann", "bob"):
        told(await http.post(f"/v1/agents/{name}-{pool}/logged-in", json={"pool_id": pool}))
    told(await http.post(f"/v1/agents/ann-{pool}/available", json={"pool_id": pool}))
    told(
        await http.post(
            f"/v1/calls/acme/{pool}-1/queued", json={"pool_id": pool, "queue_id": "help"}
        )
    )
    stream = f"acme/{pool}-1"
    start = ("arrived", "queued", "offered", "offer_expired")
    await published.wait_for(stream, *start)
    await published.wait_for(
        f"agent/ann-{pool}", "logged_in", "became_available", "reserved", "stopped_responding"
    )
    set_up(await http.put(f"/v1/pools/{pool}", json={"offer_seconds": 30}))
    told(await http.post(f"/v1/agents/bob-{pool}/available", json={"pool_id": pool}))
    await published.wait_for(stream, *start, "offered")
    offered = published.streams[stream][-1]
    assert isinstance(offered, CallEvent)
    told(
        await http.post(
            f"/v1/offers/{offered.offered.offer_id}/decline",
            json={"pool_id": pool, "agent_id": f"bob-{pool}", "reason": "unwell"},
        )
    )
    told(await http.post(f"/v1/calls/acme/{pool}-1/abandoned", json={"pool_id": pool}))
    await published.wait_for(stream, *start, "offered", "offer_declined", "abandoned")
    last = published.streams[f"agent/bob-{pool}"][-1]
    assert isinstance(last, AgentEvent)
    assert last.break_started.reason == "declined"


async def test_a_call_over_grpc(
    api: Running, worker: Running, published: Published, pool: str
) -> None:
    address = f"127.0.0.1:{api.environment['RELAIS_ROUTING_GRPC_PORT']}"
    async with grpc.aio.insecure_channel(address) as channel:
        stub: Any = RoutingServiceStub(channel)  # type: ignore[no-untyped-call]

        async def agent(**report: Any) -> None:
            request = pb.ReportAgentRequest(pool_id=pool, agent_id=f"ann-{pool}", **report)
            assert (await stub.ReportAgent(request)).command_id

        async def call(**report: Any) -> None:
            request = pb.ReportCallRequest(
                client_id="acme", pool_id=pool, call_id=f"{pool}-1", actor="pbx", **report
            )
            assert (await stub.ReportCall(request)).command_id

        settings = pb.ConfigurePoolRequest(pool_id=pool, offer_seconds=30)
        assert (await stub.ConfigurePool(settings)).command_id
        await agent(logged_in={"skills": [{"skill": "fr", "level": 4}]})
        await agent(on_call={})
        await agent(on_break={"reason": "lunch"})
        await agent(available={})
        await call(arrived={"channel": "CHANNEL_VOICE"})
        await call(queued={"queue_id": "q", "required_skills": [{"skill": "fr", "min_level": 1}]})
        stream = f"acme/{pool}-1"
        await published.wait_for(stream, "arrived", "queued", "offered")
        offered = published.streams[stream][-1]
        assert isinstance(offered, CallEvent)
        await agent(offer_accepted={"offer_id": offered.offered.offer_id})
        await call(connected={"agent_id": f"ann-{pool}"})
        await call(ended={})
        await agent(wrap_up={})
        await agent(logged_out={"reason": "home"})
        await published.wait_for(
            f"agent/ann-{pool}",
            *("logged_in", "became_busy", "break_started", "became_available", "reserved"),
            *("became_busy", "wrap_up_started", "wrap_up_started", "logged_out"),
        )
        await published.wait_for(
            stream,
            *("arrived", "queued", "offered", "assigned", "connected", "ended", "wrapped_up"),
        )

        healthy: Any = health_pb2_grpc.HealthStub(channel)  # type: ignore[no-untyped-call]
        request = health_pb2.HealthCheckRequest(service="relais.routing.v1.RoutingService")
        assert (await healthy.Check(request)).status == health_pb2.HealthCheckResponse.SERVING
        reflect: Any = reflection_pb2_grpc.ServerReflectionStub(channel)  # type: ignore[no-untyped-call]
        asked = reflect.ServerReflectionInfo(
            iter([reflection_pb2.ServerReflectionRequest(list_services="")])
        )
        names = [
            each.name async for answer in asked for each in answer.list_services_response.service
        ]
        assert "relais.routing.v1.RoutingService" in names


async def test_holds_help_and_a_transfer_over_http(
    http: httpx.AsyncClient, worker: Running, published: Published, pool: str
) -> None:
    ann, bob, stream = f"ann-{pool}", f"bob-{pool}", f"acme/{pool}-1"

    async def agent(name: str, what: str, **report: Any) -> None:
        told(await http.post(f"/v1/agents/{name}/{what}", json={"pool_id": pool} | report))

    async def call(what: str, **report: Any) -> None:
        told(await http.post(f"/v1/calls/{stream}/{what}", json={"pool_id": pool} | report))

    async def accept(kind: str, name: str) -> None:
        (offered,) = (
            event for event in published.streams[stream] if event.WhichOneof("body") == kind
        )
        offer = getattr(offered, kind).offer_id
        path = f"/v1/offers/{offer}/accept"
        told(await http.post(path, json={"pool_id": pool, "agent_id": name}))

    groups = {"groups": ["supervisors", "day"]}
    set_up(await http.put(f"/v1/pools/{pool}", json={"wrap_up_seconds": 600}))
    await agent(bob, "logged-in", **groups, site="lyon", chats=3, emails=2)
    await agent(ann, "logged-in", skills=[{"skill": "fr", "level": 4}])
    able = {"pool_id": pool, "skills": [{"skill": "fr", "level": 5}], "actor": "sue"}
    told(await http.put(f"/v1/agents/{ann}/skills", json=able))
    await agent(ann, "connection-lost")
    await agent(ann, "connection-restored")
    await agent(ann, "available")
    await call("queued", queue_id="q", required_skills=[{"skill": "fr", "min_level": 5}])
    await published.wait_for(stream, "arrived", "queued", "offered")
    await accept("offered", ann)
    await call("connected", agent_id=ann)
    await call("held")
    await call("resumed")
    await agent(bob, "available")
    await call("help", agent_id=ann, kind="consultation", groups=["supervisors"])
    talking = ("arrived", "queued", "offered", "assigned", "connected", "held", "resumed")
    await published.wait_for(stream, *talking, "help_requested", "help_offered")
    await accept("help_offered", bob)
    await call("complete-transfer", agent_id=ann)
    await call("transfer", agent_id=bob, queue_id="other")
    await call("abandoned")
    helped = ("help_requested", "help_offered", "help_joined", "transferred")
    await published.wait_for(stream, *talking, *helped, "transferred", "ended")
    events = [event for event in published.streams[stream] if isinstance(event, CallEvent)]
    assert events[7].meta.actor == ann
    assert events[-2].transferred.queue_id == "other"
    assert events[-1].ended.held.ToTimedelta() > timedelta(0)
    await published.wait_for(
        f"agent/{ann}",
        *("logged_in", "skills_changed", "connection_lost", "connection_restored"),
        *("became_available", "reserved", "became_busy", "wrap_up_started"),
    )
    told_in, changed = published.streams[f"agent/{bob}"][0], published.streams[f"agent/{ann}"][1]
    assert isinstance(told_in, AgentEvent)
    assert list(told_in.logged_in.groups) == ["day", "supervisors"]
    assert (told_in.logged_in.chats, told_in.logged_in.site) == (3, "lyon")
    assert changed.meta.actor == "sue"
    await published.wait_for(f"pool/{pool}", "pool_configured")


async def test_callbacks_and_requeues_over_grpc(
    api: Running, worker: Running, published: Published, pool: str
) -> None:
    address = f"127.0.0.1:{api.environment['RELAIS_ROUTING_GRPC_PORT']}"
    ann, stream = f"ann-{pool}", f"acme/{pool}-1"
    async with grpc.aio.insecure_channel(address) as channel:
        stub: Any = RoutingServiceStub(channel)  # type: ignore[no-untyped-call]

        async def agent(**report: Any) -> None:
            request = pb.ReportAgentRequest(pool_id=pool, agent_id=ann, **report)
            assert (await stub.ReportAgent(request)).command_id

        async def call(**report: Any) -> None:
            request = pb.ReportCallRequest(
                client_id="acme", pool_id=pool, call_id=f"{pool}-1", actor="pbx", **report
            )
            assert (await stub.ReportCall(request)).command_id

        async def accept() -> None:
            offered = published.streams[stream][-1]
            assert isinstance(offered, CallEvent)
            await agent(offer_accepted={"offer_id": offered.offered.offer_id})

        await call(queued={"queue_id": "q"})
        await call(callback_accepted={})
        await agent(logged_in={"groups": ["day"], "site": "lyon", "chats": 2})
        await agent(skills_changed={"groups": ["night"]}, actor="sue")
        await agent(connection_lost={})
        await agent(connection_restored={})
        await agent(available={})
        seen = ["arrived", "queued", "callback_accepted", "offered"]
        await published.wait_for(stream, *seen)
        await accept()
        await call(connected={})
        await call(held={})
        await call(resumed={})
        await call(help={"agent_id": ann, "kind": "HELP_KIND_HELP"})
        await call(leave={"agent_id": ann})
        await call(requeued={"reason": "line lost"})
        seen += ["assigned", "connected", "held", "resumed", "help_requested", "help_ended"]
        await published.wait_for(stream, *seen, "requeued")
        await agent(available={})
        seen += ["requeued", "offered"]
        await published.wait_for(stream, *seen)
        await accept()
        await call(callback_failed={"reason": "no answer"})
        await published.wait_for(stream, *seen, "assigned", "callback_failed")
        for report in (
            {"transfer": {"agent_id": ann, "to_agent_id": f"bob-{pool}"}},
            {"complete_transfer": {"agent_id": ann}},
        ):
            await call(**report)


def about_call(pool: str, number: int, **report: Any) -> pb.ReportRequest:
    name = f"{pool}-{number}"
    at = {"seconds": int(time.time())}
    return pb.ReportRequest(
        call={"client_id": "acme", "pool_id": pool, "call_id": name, "occurred_at": at, **report}  # type: ignore[arg-type]
    )


@pytest.mark.parametrize("many", [False, True])
async def test_a_stream_of_reports(
    api: Running, worker: Running, published: Published, pool: str, many: bool
) -> None:
    """All are sent before the first answer is read; each is answered, none overtakes another."""
    calls = 300
    reports = [
        about_call(pool, number, **report)
        for number in range(calls)
        for report in ({"arrived": {}}, {"queued": {"queue_id": "q"}}, {"abandoned": {}})
    ]
    refused = {
        10: (pb.ReportRequest(), "report"),
        20: (about_call(pool, 0, ended={}, client_id="nobody"), "client_id"),
        30: (pb.ReportRequest(agent={"pool_id": pool}), "report"),  # type: ignore[arg-type]
        40: (pb.ReportRequest(agent={"pool_id": pool, "available": {}}), "agent_id"),  # type: ignore[arg-type]
        50: (about_call(pool, 0, arrived={"channel": 99}), "arrived.channel"),
    }
    for place, (request, _) in refused.items():
        reports.insert(place, request)
    address = f"127.0.0.1:{api.environment['RELAIS_ROUTING_GRPC_PORT']}"
    async with grpc.aio.insecure_channel(address) as channel:
        stub: Any = RoutingServiceStub(channel)  # type: ignore[no-untyped-call]
        if many:
            stream = stub.ReportMany()
            for first, end in pairwise((0, 0, 1, 7, 7, 300, len(reports))):
                await stream.write(pb.ReportManyRequest(reports=reports[first:end]))
            await stream.done_writing()
            messages = [message.answers async for message in stream]
            assert 1 < len(messages) < len(reports) / 2
            answers = [answer for message in messages for answer in message]
        else:
            stream = stub.Report()
            for report in reports:
                await stream.write(report)
            await stream.done_writing()
            answers = [answer async for answer in stream]
    assert len(answers) == len(reports)
    fields = {
        place: answer.refused.field
        for place, answer in enumerate(answers)
        if answer.WhichOneof("result") == "refused"
    }
    assert fields == {place: field for place, (_, field) in refused.items()}
    assert all(answers[place].refused.reason for place in refused)
    ids = {answer.command_id for answer in answers} - {""}
    assert len(ids) == 3 * calls
    streams = [f"acme/{pool}-{number}" for number in range(calls)]

    async def all_there() -> bool:
        await published.look()
        return all(published.bodies(each) == ["arrived", "queued", "abandoned"] for each in streams)

    await until(all_there, "every call, in order")


async def test_a_stream_that_breaks_off(api: Running, pool: str) -> None:
    """Rubbish ends it, after what came before was answered; so does a caller who goes away."""
    address = f"127.0.0.1:{api.environment['RELAIS_ROUTING_GRPC_PORT']}"
    async with grpc.aio.insecure_channel(address) as channel:
        raw = channel.stream_stream("/relais.routing.v1.RoutingService/Report")
        good = about_call(pool, 1, arrived={}).SerializeToString()
        stream = raw(iter([good, b"\xff" * 50, good]))
        assert await stream.read()
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stream.read()
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        stub: Any = RoutingServiceStub(channel)  # type: ignore[no-untyped-call]
        stream = stub.Report()
        for number in range(2_000):
            await stream.write(about_call(pool, number, arrived={}))
        stream.cancel()
        stream = stub.Report()
        await stream.write(about_call(pool, 1, arrived={}))
        assert (await stream.read()).command_id


async def test_a_call_goes_to_another_pool(
    bootstrap: str, worker: Running, published: Published, pool: str
) -> None:
    """The other one's events stand behind the first one's in its stream; reports find it."""
    now = SystemClock().now_us()
    other = f"{pool}-west"
    step = Step(1, Overflow.MOVE_TO_POOL, queue_id="west", pool_id=other)
    bodies: list[c.Body] = [
        c.ConfigureQueue(Queue("q", steps=(step,))),
        c.QueueCall(f"{pool}-1", "q", 4),
    ]

    async def tell(body: c.Body) -> None:
        at = SystemClock().now_us()
        made = c.command_for(
            pool,
            body,
            command_id=codec.command_id(pool, "acme", at, body),
            client_id="acme",
            occurred_at=at,
            recorded_at=now,
            actor="pbx",
        )
        await producer.deliver(
            Message("routing-commands", pool.encode(), codec.encode_command(made))
        )

    stream = f"acme/{pool}-1"
    async with Producer(bootstrap) as producer:
        for body in bodies:
            await tell(body)
        await published.wait_for(f"pool/{pool}", "queue_configured")
        moved = ("arrived", "queued", "moved_to_pool", "taken_over")
        await published.wait_for(stream, *moved)
        # Who reports it need not know where it is.
        await tell(c.ReportCallAbandoned(f"{pool}-1"))
        await published.wait_for(stream, *moved, "abandoned")
    events = published.streams[stream]
    assert isinstance(events[3], CallEvent)
    assert events[3].taken_over.from_pool_id == pool
    assert events[3].taken_over.pool_id == other
    assert events[4].meta.actor == "pbx"


REFUSED_CALLS: list[tuple[dict[str, Any], str]] = [
    ({}, "report"),
    ({"client_id": "nobody", "ended": {}}, "client_id"),
    ({"client_id": "", "ended": {}}, "client_id"),
    ({"client_id": "agent", "ended": {}}, "client_id"),
    ({"call_id": "a/b", "ended": {}}, "call_id"),
    ({"pool_id": "", "ended": {}}, "pool_id"),
    ({"occurred_at": {"seconds": 253_402_300_799}, "ended": {}}, "occurred_at"),
    ({"occurred_at": {"seconds": -1}, "ended": {}}, "occurred_at"),
    ({"occurred_at": {"seconds": 2**62}, "ended": {}}, "occurred_at"),
    ({"arrived": {"channel": 99}}, "arrived.channel"),
    ({"transfer": {"agent_id": "ann"}}, "queue_id"),
    ({"transfer": {"agent_id": "ann", "queue_id": "q", "to_agent_id": "bob"}}, "queue_id"),
    ({"help": {"agent_id": "ann"}}, "kind"),
    ({"help": {"agent_id": "ann", "kind": 99}}, "help.kind"),
    ({"help": {"agent_id": "ann", "kind": 1, "groups": ["a/b"]}}, "groups"),
    ({"complete_transfer": {}}, "agent_id"),
    ({"leave": {}}, "agent_id"),
    ({"requeued": {"reason": "x" * 201}}, "reason"),
    ({"callback_failed": {"reason": "a\x00"}}, "reason"),
    ({"queued": {"queue_id": ""}}, "queue_id"),
    ({"queued": {"queue_id": "q", "required_skills": [{"skill": "x"}]}}, "required_skills"),
]


async def test_what_grpc_refuses(api: Running) -> None:
    address = f"127.0.0.1:{api.environment['RELAIS_ROUTING_GRPC_PORT']}"
    async with grpc.aio.insecure_channel(address) as channel:
        stub: Any = RoutingServiceStub(channel)  # type: ignore[no-untyped-call]
        for values, field in REFUSED_CALLS:
            request = pb.ReportCallRequest(
                **{"client_id": "acme", "pool_id": "p", "call_id": "c"} | values
            )
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await stub.ReportCall(request)
            assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT, values
            status: Any = rpc_status.from_call(refused.value)  # type: ignore[arg-type]
            details = error_details_pb2.BadRequest()
            assert status.details[0].Unpack(details)
            assert details.field_violations[0].field == field
            assert details.field_violations[0].description
        method = "/relais.routing.v1.RoutingService/ReportCall"
        raw = channel.unary_unary(method)
        for data, code in (
            (b"\xff" * 50, grpc.StatusCode.INVALID_ARGUMENT),
            (b"", grpc.StatusCode.INVALID_ARGUMENT),
            (b"x" * 5_000_000, grpc.StatusCode.RESOURCE_EXHAUSTED),
        ):
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await raw(data)
            assert refused.value.code() is code


ENDPOINTS = [
    *[
        ("POST", f"/v1/calls/acme/c1/{what}")
        for what in (
            *("arrived", "queued", "abandoned", "connected", "ended", "held", "resumed"),
            *("callback-accepted", "callback-failed", "requeued"),
            *("transfer", "help", "complete-transfer", "leave"),
        )
    ],
    *[
        ("POST", f"/v1/agents/ann/{what}")
        for what in (
            *("logged-in", "available", "on-call", "on-break", "wrap-up", "logged-out"),
            *("connection-lost", "connection-restored"),
        )
    ],
    ("PUT", "/v1/agents/ann/skills"),
    *[("POST", f"/v1/offers/o1/{what}") for what in ("accept", "decline")],
    ("PUT", "/v1/pools/p1"),
]
RUBBISH: list[bytes] = [
    os.urandom(200),
    b"\xff\xfe",
    b"[]",
    b"null",
    b'"text"',
    b'{"pool_id": "p1"',
    b'{"pool_id": 1, "offer_seconds": "x"}',
    b'{"pool_id": "p1", "unknown": 1}',
    b'{"pool_id": "\\ud800", "offer_seconds": -1}',
    b'{"pool_id": "a\\u0000b", "offer_seconds": 1e3000}',
    b'{"pool_id": "p1", "offer_seconds": NaN, "occurred_at": NaN}',
    b'{"pool_id": "p1", "occurred_at": "9999-12-31T23:59:59Z", "offer_seconds": 1.5}',
    b'{"pool_id": "p1", "occurred_at": "2026-01-01T00:00:00", "clock_speed": Infinity}',
    b'{"pool_id": "p1", "occurred_at": "0001-01-01T00:00:00+14:00", "clock_speed": -1}',
    b'{"pool_id": "p1", "offer_seconds": ' + b"9" * 5_000 + b"}",
    b"[" * 60_000,
    b"{" + b'"a":{' * 10_000,
]


def is_problem(answer: httpx.Response, *statuses: int) -> dict[str, Any]:
    assert answer.status_code in statuses, (answer.status_code, answer.text)
    assert answer.headers["content-type"] == "application/problem+json"
    content: dict[str, Any] = answer.json()
    assert content["status"] == answer.status_code
    assert content["title"]
    assert content["detail"]
    return content


@pytest.mark.parametrize(("method", "path"), ENDPOINTS)
async def test_rubbish_on_every_endpoint(http: httpx.AsyncClient, method: str, path: str) -> None:
    for body in RUBBISH:
        content = is_problem(
            await http.request(
                method, path, content=body, headers={"content-type": "application/json"}
            ),
            422,
        )
        assert content["errors"][0]["field"]
        assert content["errors"][0]["reason"]
    is_problem(await http.request(method, path, content=b"a=b"), 422)
    is_problem(await http.request("DELETE", path), 405)
    is_problem(await http.request(method, path + "/more", json={}), 404)
    is_problem(await http.request(method, path, content=b"[" * 5_000_000), 413)
    if not path.endswith("p1"):
        bad = path.replace("c1", "%00").replace("ann", "%ff").replace("o1", "a%20b")
        valid = {"pool_id": "p1", "agent_id": "ann", "queue_id": "q"}
        wanted = {"queued": ("queue_id",), "transfer": ("agent_id", "queue_id")} | dict.fromkeys(
            ("accept", "decline", "help", "complete-transfer", "leave"), ("agent_id",)
        )
        names = ("pool_id", *wanted.get(path.rpartition("/")[2], ()))
        is_problem(await http.request(method, bad, json={name: valid[name] for name in names}), 422)


async def test_refused_over_http_with_the_field(http: httpx.AsyncClient) -> None:
    for path, body, field in (
        ("/v1/calls/nobody/c1/ended", {"pool_id": "p"}, "client_id"),
        ("/v1/calls/acme/c1/ended", {}, "pool_id"),
        ("/v1/calls/acme/c1/ended", {"pool_id": "p", "occurred_at": 5}, "occurred_at"),
        ("/v1/calls/acme/c1/queued", {"pool_id": "p", "queue_id": "a/b"}, "queue_id"),
        (
            "/v1/calls/acme/c1/queued",
            {"pool_id": "p", "queue_id": "q", "required_skills": [{"skill": "x"}]},
            "required_skills.0.min_level",
        ),
        ("/v1/calls/acme/c1/arrived", {"pool_id": "p", "channel": "telepathy"}, "channel"),
        ("/v1/calls/acme/c1/transfer", {"pool_id": "p", "agent_id": "ann"}, "queue_id"),
        ("/v1/calls/acme/c1/help", {"pool_id": "p", "agent_id": "a", "kind": "prayer"}, "kind"),
        ("/v1/agents/ann/logged-in", {"pool_id": "p", "groups": ["a/b"]}, "groups"),
        ("/v1/agents/ann/logged-in", {"pool_id": "p", "chats": 51}, "chats"),
        ("/v1/agents/ann/available", {"pool_id": "p", "actor": "a/b"}, "actor"),
    ):
        content = is_problem(await http.post(path, json=body), 422)
        assert content["errors"][0]["field"] == field
        assert content["detail"].startswith(f"{field}: ")
    is_problem(await http.get("/nothing/here"), 404)
    assert (await http.get("/health/live")).status_code == 200


async def test_rubbish_in_the_log(
    bootstrap: str, worker: Running, published: Published, pool: str
) -> None:
    """Each has its dead letter and its reason; the good ones between them all have their effect."""
    now = SystemClock().now_us()

    def command(body: c.Body, **changes: Any) -> c.Command:
        client = "acme" if isinstance(body, c.CallCommand) else c.CENTRE
        made = c.command_for(
            pool,
            body,
            command_id=f"{pool}-{len(good)}",
            client_id=client,
            occurred_at=now,
            recorded_at=now,
            actor="",
        )
        return replace(made, **changes)

    good: list[c.Command] = []
    for number in range(8):
        good.append(command(c.QueueCall(f"{pool}-{number}", "q")))
    arrived = c.ReportCallArrived(f"{pool}-9")
    far = (9_998 - 1_970) * 31_556_952 * c.SECOND
    bad: list[tuple[bytes | None, bytes | None]] = [
        (pool.encode(), os.urandom(100)),
        (pool.encode(), b"\xff"),
        (pool.encode(), None),
        (None, codec.encode_command(command(arrived))),
        (b"another-key", codec.encode_command(command(arrived))),
        (pool.encode(), codec.encode_command(command(arrived, client_id="No Client"))),
        (
            pool.encode(),
            codec.encode_command(command(arrived, occurred_at=far)),
        ),
        (pool.encode(), codec.encode_command(command(c.QueueCall("x", "q", 0, (("s", 99),))))),
        (pool.encode(), codec.encode_command(command(c.ReportCallEnded("never-heard-of")))),
        (pool.encode(), codec.encode_command(command(c.AcceptOffer("none", "nobody")))),
    ]
    before = len(await dead_letters(bootstrap, "routing-commands"))
    async with Producer(bootstrap) as producer:
        for number, (key, value) in enumerate(bad):
            await producer.deliver(Message("routing-commands", key, value))
            if number < len(good):
                value = codec.encode_command(good[number])
                await producer.deliver(Message("routing-commands", pool.encode(), value))
        huge = os.urandom(5_000_000)
        try:
            await producer.deliver(Message("routing-commands", pool.encode(), huge))
        except MessageSizeTooLargeError:
            pass  # By the topic's own setting, which Tansu does not know.
        else:
            bad.append((pool.encode(), huge))
    for number in range(8):
        await published.wait_for(f"acme/{pool}-{number}", "arrived", "queued")

    async def all_there() -> bool:
        return len(await dead_letters(bootstrap, "routing-commands")) == before + len(bad)

    await until(all_there, "a dead letter for each")
    letters = (await dead_letters(bootstrap, "routing-commands"))[before:]
    # The beginning, because a dead letter that is too long is cut.
    assert sorted(str(letter.value)[:500] for letter in letters) == sorted(
        str(value)[:500] for _, value in bad
    )
    kinds = [dict(letter.headers)["dlq.error"] for letter in letters]
    assert kinds.count(b"Rejected") == 2
    assert kinds.count(b"InvalidMessage") == len(bad) - 2
    assert all(dict(letter.headers)["dlq.reason"] for letter in letters)
    assert worker.is_ready()


async def test_a_broker_that_does_not_answer(
    stack: Stack, api: Running, http: httpx.AsyncClient, pool: str
) -> None:
    """503 and UNAVAILABLE in a bounded time; afterwards all is well."""
    [broker] = [each for each in stack.processes.records() if each.name == "kafka"]
    path, report = f"/v1/agents/ann-{pool}/logged-in", {"pool_id": pool}
    told(await http.post(path, json=report))
    address = f"127.0.0.1:{api.environment['RELAIS_ROUTING_GRPC_PORT']}"
    os.kill(broker.pid, signal.SIGSTOP)
    try:
        began = time.monotonic()
        answer = await http.post(path, json=report)
        assert "send it again" in is_problem(answer, 503)["detail"]
        is_problem(await http.get("/health/ready"), 503)
        assert (await http.get("/health/live")).status_code == 200
        async with grpc.aio.insecure_channel(address) as channel:
            stub: Any = RoutingServiceStub(channel)  # type: ignore[no-untyped-call]
            request = pb.ReportAgentRequest(pool_id=pool, agent_id="ann", available={})
            for timeout, code in (
                (None, grpc.StatusCode.UNAVAILABLE),
                (0.5, grpc.StatusCode.DEADLINE_EXCEEDED),
            ):
                with pytest.raises(grpc.aio.AioRpcError) as refused:
                    await stub.ReportAgent(request, timeout=timeout)
                assert refused.value.code() is code
            stream = stub.Report()
            for number in range(3):
                await stream.write(about_call(pool, number, arrived={}))
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await stream.read()
            assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
        assert time.monotonic() - began < 15
    finally:
        os.kill(broker.pid, signal.SIGCONT)

    async def is_well() -> bool:
        return (await http.post(path, json=report)).status_code == 202

    await until(is_well, "reports are taken again")
    assert (await http.get("/health/ready")).status_code == 200
