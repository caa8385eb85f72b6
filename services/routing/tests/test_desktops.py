"""Desktops: what they are told has no gap, and their connections are their agents' presence."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from relais.routing.v1 import assignment_service_pb2 as pb
from relais.routing.v1.assignment_service_pb2_grpc import AssignmentServiceStub
from relais.routing.v1.pool_snapshot_pb2 import AgentState, CallState

from eventkit.clock import SystemClock
from eventkit.producer import Producer
from eventkit.records import Message
from relaisctl.stack import Ports
from services.routing import codec
from services.routing import commands as c
from services.routing.following.desktops import situation_of
from services.routing.tests.play import Play
from services.routing.tests.support import Published, Running, until

pytestmark = pytest.mark.timeout(180)


# The situation.


def test_the_situation_is_a_copy_of_what_is_in_hand() -> None:
    play = Play()
    assert situation_of(None, "ann").state is None
    assert situation_of(play.pool, "ann").state is None
    play.tell(c.LogInAgent("ann"))
    play.tell(c.MakeAgentAvailable("ann"))
    play.tell(c.ReportCallArrived("1", c.Channel.VOICE, c.Direction.INBOUND, "", "k-1"))
    play.tell(c.QueueCall("1", "q"))
    offered = situation_of(play.pool, "ann")
    [call] = offered.calls
    assert (call.call_id, call.state.name, call.customer_id) == ("1", "OFFERED", "k-1")
    assert call.expires_at > 0
    assert offered.version == play.pool.agents["ann"].version
    play.tell(c.AcceptOffer(call.offer_id, "ann"))
    play.tell(c.ReportCallConnected("1", "ann"))
    assert offered.calls[0].state.name == "OFFERED"
    play.tell(c.LogInAgent("bob", (), ("supervisors",)))
    play.tell(c.MakeAgentAvailable("bob"))
    play.tell(c.RequestHelp("1", "ann"))
    [help_] = situation_of(play.pool, "bob").calls
    assert (help_.call_id, help_.help_id, help_.state.name) == ("1", "1~1", "OFFERED")
    assert help_.version == play.pool.calls["acme/1"].version
    play.tell(c.AcceptOffer(help_.offer_id, "bob"))
    [help_] = situation_of(play.pool, "bob").calls
    assert help_.state.name == "CONNECTED"


# On the wire.


class Attached:
    """A desktop's stream and all that it has been told."""

    def __init__(self, call: Any) -> None:
        self.call = call
        self.situation = pb.AttachDesktopResponse.Situation()
        self.agent: list[str] = []
        self.versions: list[int] = []
        self.calls: list[tuple[str, str]] = []

    async def read(self) -> str:
        """What the next update is."""
        update = await asyncio.wait_for(self.call.read(), 20)
        assert isinstance(update, pb.AttachDesktopResponse)
        match update.WhichOneof("update"):
            case "situation":
                self.situation = update.situation
                return "situation"
            case "agent":
                self.agent.append(str(update.agent.WhichOneof("body")))
                self.versions.append(update.agent.meta.version)
                return self.agent[-1]
            case _:
                event = update.call
                self.calls.append((event.call_id, str(event.WhichOneof("body"))))
                return self.calls[-1][1]

    async def read_until(self, what: str) -> None:
        while await self.read() != what:
            pass


class Desk:
    """Where desktops attach, and agents and calls are reported."""

    def __init__(self, api: Running, channel: grpc.aio.Channel, http: httpx.AsyncClient) -> None:
        self.stub: Any = AssignmentServiceStub(channel)  # type: ignore[no-untyped-call]
        self.http = http

    @asynccontextmanager
    async def attached(self, pool: str, agent: str) -> AsyncIterator[Attached]:
        call = self.stub.AttachDesktop(pb.AttachDesktopRequest(pool_id=pool, agent_id=agent))
        desktop = Attached(call)
        assert await desktop.read() == "situation"
        try:
            yield desktop
        finally:
            call.cancel()

    async def agent(self, pool: str, agent: str, what: str, **body: Any) -> None:
        answer = await self.http.post(f"/v1/agents/{agent}/{what}", json={"pool_id": pool} | body)
        assert answer.status_code == 202

    async def call(self, pool: str, call: str, what: str, **body: Any) -> None:
        answer = await self.http.post(
            f"/v1/calls/acme/{call}/{what}", json={"pool_id": pool} | body
        )
        assert answer.status_code == 202

    async def accept(self, pool: str, agent: str, offer: str) -> None:
        body = {"pool_id": pool, "agent_id": agent}
        assert (await self.http.post(f"/v1/offers/{offer}/accept", json=body)).status_code == 202

    async def state_of(self, pool: str, agent: str) -> dict[str, Any]:
        answer = await self.http.get(f"/v1/pools/{pool}/agents/{agent}")
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found


@asynccontextmanager
async def desk_of(api: Running) -> AsyncIterator[Desk]:
    address = f"127.0.0.1:{api.environment['RELAIS_ROUTING_GRPC_PORT']}"
    async with (
        grpc.aio.insecure_channel(address) as channel,
        httpx.AsyncClient(base_url=api.health, timeout=30, trust_env=False) as http,
    ):
        yield Desk(api, channel, http)


@pytest.fixture
async def desk(api: Running, worker: Running) -> AsyncIterator[Desk]:
    async with desk_of(api) as desk:
        yield desk


async def test_from_the_offer_until_it_is_over(desk: Desk, pool: str) -> None:
    ann, call = f"ann-{pool}", f"{pool}-1"
    await desk.agent(pool, ann, "logged-in")
    async with desk.attached(pool, ann) as desktop:
        assert desktop.situation.state == AgentState.AGENT_STATE_LOGGED_IN
        await desk.agent(pool, ann, "available")
        await desk.call(pool, call, "queued", queue_id="q")
        await desktop.read_until("reserved")
        situation = await desk.state_of(pool, ann)
        assert situation["offered"] == f"acme/{call}"
        offer = (await desk.http.get(f"/v1/pools/{pool}/calls/acme/{call}")).json()["offer_id"]
        await desk.accept(pool, ann, offer)
        await desk.call(pool, call, "connected", agent_id=ann)
        await desk.call(pool, call, "held")
        await desk.call(pool, call, "resumed")
        await desk.call(pool, call, "ended")
        while len(desktop.agent) < 4 or len(desktop.calls) < 6:
            await desktop.read()
        assert desktop.agent == ["became_available", "reserved", "became_busy", "wrap_up_started"]
        bodies = ["offered", "assigned", "connected", "held", "resumed", "ended"]
        assert desktop.calls == [(call, body) for body in bodies]
        assert desktop.versions == [*range(2, 6)]
    await desk.agent(pool, ann, "logged-out")


async def test_gone_and_back_again(desk: Desk, pool: str, published: Published) -> None:
    """What is offered is withdrawn; back in time, the agent goes on."""
    ann, call = f"ann-{pool}", f"{pool}-1"
    await desk.agent(pool, ann, "logged-in")
    async with desk.attached(pool, ann) as desktop:
        await desk.agent(pool, ann, "available")
        await desk.call(pool, call, "queued", queue_id="q")
        await desktop.read_until("reserved")
    await published.wait_for(f"acme/{call}", "arrived", "queued", "offered", "offer_withdrawn")
    assert (await desk.state_of(pool, ann))["connected"] is False
    async with desk.attached(pool, ann) as desktop:
        await published.wait_for(
            f"acme/{call}", "arrived", "queued", "offered", "offer_withdrawn", "offered"
        )
        assert (await desk.state_of(pool, ann))["connected"] is True
        while ("reserved" not in desktop.agent) or (call, "offered") not in desktop.calls:
            await desktop.read()
    async with desk.attached(pool, ann) as desktop:
        # Back within a second: as if nothing had been.
        [offered] = desktop.situation.calls
        assert (offered.call_id, offered.state) == (call, CallState.CALL_STATE_OFFERED)
        await asyncio.sleep(2)
        assert (await desk.state_of(pool, ann))["connected"] is True
        await desk.agent(pool, ann, "logged-out")
        await desktop.read_until("logged_out")
    await asyncio.sleep(2)
    await published.look()
    last = published.bodies(f"agent/{ann}")[-1]
    assert last == "logged_out", "who is logged out is not lost"


async def test_the_newer_desktop_stays(desk: Desk, pool: str, published: Published) -> None:
    ann = f"ann-{pool}"
    await desk.agent(pool, ann, "logged-in")
    async with desk.attached(pool, ann) as older, desk.attached(pool, ann) as newer:
        with pytest.raises(grpc.aio.AioRpcError) as ended:
            await older.read()
        assert ended.value.code() is grpc.StatusCode.ABORTED
        await desk.agent(pool, ann, "available")
        await newer.read_until("became_available")
        await asyncio.sleep(2)
        assert (await desk.state_of(pool, ann))["connected"] is True


async def test_a_process_that_notices_late_takes_nobody_away(
    desk: Desk, pool: str, published: Published
) -> None:
    ann = f"ann-{pool}"
    await desk.agent(pool, ann, "logged-in")
    async with desk.attached(pool, ann) as desktop:
        await desk.agent(pool, ann, "connection-lost")
        await desktop.read_until("connection_lost")
        await desktop.read_until("connection_restored")
        assert (await desk.state_of(pool, ann))["connected"] is True


async def test_a_process_that_ends_says_so(
    bootstrap: str, worker: Running, pool: str, published: Published, tmp_path: Path
) -> None:
    ports = Ports.free()
    api = Running(
        "api",
        {
            "RELAIS_KAFKA": bootstrap,
            "RELAIS_ROUTING_HTTP_PORT": str(ports.routing_http),
            "RELAIS_ROUTING_GRPC_PORT": str(ports.routing_grpc),
        },
        f"http://127.0.0.1:{ports.routing_http}",
        tmp_path / "log",
    )
    api.start()
    await api.ready()
    ann = f"ann-{pool}"
    async with desk_of(api) as desk:
        await desk.agent(pool, ann, "logged-in")
        async with desk.attached(pool, ann) as desktop:
            began = time.monotonic()
            stopping = asyncio.create_task(asyncio.to_thread(api.stop))
            with pytest.raises(grpc.aio.AioRpcError) as ended:
                await desktop.read()
            assert ended.value.code() is grpc.StatusCode.UNAVAILABLE
            assert await stopping == 0
            assert time.monotonic() - began < 10
    await published.wait_for(f"agent/{ann}", "logged_in", "connection_lost")
    assert "Traceback" not in api.log.read_text()


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (pb.AttachDesktopRequest(agent_id="ann"), "pool_id"),
        (pb.AttachDesktopRequest(pool_id="main", agent_id="a/b"), "agent_id"),
    ],
)
async def test_what_makes_no_sense_is_named(
    desk: Desk, request_: pb.AttachDesktopRequest, field: str
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await desk.stub.AttachDesktop(request_).read()
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert str(refused.value.details()).startswith(f"{field}: ")


async def test_two_thousand_desktops(
    bootstrap: str, desk: Desk, pool: str, published: Published
) -> None:
    """One process and one reader; each desktop is told of its agent's calls alone."""
    count, told, ready = 2_000, 0, asyncio.Semaphore(0)
    names = [f"{pool}-a{number:04}" for number in range(count)]
    delays: list[float] = []
    sent: dict[str, float] = {}

    def message(body: c.Body) -> Message:
        now = SystemClock().now_us()
        client = "acme" if isinstance(body, c.CallCommand) else c.CENTRE
        command = c.command_for(
            pool,
            body,
            command_id=codec.command_id(pool, client, now, body),
            client_id=client,
            occurred_at=now,
            recorded_at=now,
            actor="",
        )
        return Message("routing-commands", pool.encode(), codec.encode_command(command))

    async def desktop(name: str) -> None:
        nonlocal told
        async with desk.attached(pool, name) as attached:
            ready.release()
            await attached.read_until("became_available")
            delays.append(time.monotonic() - sent[name])
            await attached.read_until("offered")
            assert len(attached.calls) == 1
            told += 1
            await asyncio.sleep(60)

    async with Producer(bootstrap, linger_ms=2) as producer:
        await producer.send_many(message(c.LogInAgent(name)) for name in names)
        attaching, tasks = time.monotonic(), []
        for start in range(0, count, 100):
            tasks += [asyncio.create_task(desktop(name)) for name in names[start : start + 100]]
            for _ in range(100):
                await asyncio.wait_for(ready.acquire(), 60)
        attached_s = time.monotonic() - attaching
        began = time.monotonic()
        for name in names:
            sent[name] = time.monotonic()
            await producer.deliver(message(c.MakeAgentAvailable(name)))
        for number in range(count):
            await producer.deliver(message(c.QueueCall(f"{pool}-{number}", "q")))

        async def all_told() -> bool:
            for task in tasks:
                if task.done():
                    task.result()
            return told == count

        await until(all_told, "each has its call")
        delays.sort()
        print(
            f"{count} desktops attached in {attached_s:.1f} s; "
            f"4,000 reports and 2,000 offers in {time.monotonic() - began:.1f} s; "
            f"a report comes back in {delays[count // 2] * 1e3:.0f} ms (median), "
            f"{delays[count * 95 // 100] * 1e3:.0f} ms (p95)"
        )
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

        async def all_lost() -> bool:
            await published.look()
            return all("connection_lost" in published.bodies(f"agent/{name}") for name in names)

        await until(all_lost, "all are gone, and that is reported")
