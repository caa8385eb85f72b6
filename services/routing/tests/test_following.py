"""Telephone systems follow assignments while everything is killed: each is told of every event that
concerns it at least once, a call's in order and without a hole, and can prove it."""

import asyncio
import os
import random
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import grpc
import pytest
from relais.calls.v1.events_pb2 import CallEvent
from relais.routing.v1 import assignment_service_pb2 as pb
from relais.routing.v1.assignment_service_pb2_grpc import AssignmentServiceStub

from eventkit.logview import LogView
from eventkit.producer import Producer
from relaisctl.stack import Broker, Ports, Stack
from services.routing import commands as c
from services.routing.codec import encode_pool
from services.routing.following.codec import heard
from services.routing.tests.conftest import MakeWorker
from services.routing.tests.partner import read_record
from services.routing.tests.support import ROOT, Published, Running
from services.routing.tests.test_crash import Centre
from services.routing.view import PoolFold, Pools

pytestmark = pytest.mark.timeout(240)

SITES = ("paris", "lyon")
KILLS = 12


class Sites(Centre):
    """Agents sit at two sites."""

    async def open(self) -> None:
        for pool in self.pools:
            await self.tell(pool, c.ConfigurePool(2, 1))
            for number in range(4):
                agent = f"{pool}-a{number}"
                await self.tell(pool, c.LogInAgent(agent, site=SITES[number % 2]))
                await self.tell(pool, c.MakeAgentAvailable(agent))


@dataclass
class Partner:
    """partner.py as a process of its own."""

    address: str
    subscriber: str
    record: Path
    options: list[str] = field(default_factory=list)
    popen: "subprocess.Popen[str] | None" = None
    seeds: Iterable[int] = field(default_factory=count)

    def start(self) -> None:
        seed = next(iter(self.seeds))
        arguments = [self.address, self.subscriber, str(self.record), "--breaks", *self.options]
        self.popen = subprocess.Popen(
            [
                *(sys.executable, "-m", "services.routing.tests.partner"),
                *(*arguments, "--seed", str(seed)),
            ],
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'proto'}"},
            text=True,
            stderr=subprocess.PIPE,
        )

    def kill(self) -> None:
        assert self.popen is not None
        assert self.popen.poll() is None, self.popen.communicate()[1]
        self.popen.kill()
        self.popen.wait()

    def told(self) -> dict[str, list[int]]:
        """The versions of each call, in the order in which they were heard first."""
        versions: dict[str, list[int]] = defaultdict(list)
        for line in read_record(self.record):
            if "stream" in line and line["version"] not in versions[line["stream"]]:
                versions[line["stream"]].append(line["version"])
        return versions


def of_site(events: list[CallEvent], site: str) -> list[int]:
    """The versions that concern a site."""
    found = []
    concerned = False
    for event in events:
        said = heard(event)
        concerned |= said.site == site
        if concerned:
            found.append(event.meta.version)
        concerned &= not said.over
    return found


async def test_partners_and_everything_else_are_killed(
    stack: Stack,
    bootstrap: str,
    worker: Running,
    make_worker: MakeWorker,
    published: Published,
    pool: str,
    tmp_path: Path,
) -> None:
    if stack.broker is Broker.TANSU:
        pytest.skip("Tansu keeps no commit metadata, which the proof stands on")
    assert worker.stop() == 0
    ports = Ports.free()
    api = Running(
        "api",
        {
            "RELAIS_KAFKA": bootstrap,
            "RELAIS_ROUTING_HTTP_PORT": str(ports.routing_http),
            "RELAIS_ROUTING_GRPC_PORT": str(ports.routing_grpc),
        },
        f"http://127.0.0.1:{ports.routing_http}",
        tmp_path / "api.log",
    )
    api.start()
    settings = {"RELAIS_ROUTING_SNAPSHOT_EVERY": "100", "RELAIS_ROUTING_SESSION_S": "6"}
    deciding = make_worker(RELAIS_GROUP_INSTANCE="one", **settings)
    await api.ready()
    address = f"127.0.0.1:{ports.routing_grpc}"
    partners = {
        # Of this test's client: everything since the broker began would be the other tests'.
        "all": Partner(address, f"all-{pool}", tmp_path / "all", ["--client", pool]),
        **{
            site: Partner(address, f"{site}-{pool}", tmp_path / site, ["--site", site])
            for site in SITES
        },
    }
    for partner in partners.values():
        partner.start()
    rng = random.Random(7)
    async with Producer(bootstrap, linger_ms=0) as producer:
        centre = Sites(producer, published, pool, client=pool)
        await centre.open()
        arriving = asyncio.create_task(centre.arrive())
        try:
            for kill in range(KILLS):
                until = time.monotonic() + rng.uniform(0.5, 2)
                while time.monotonic() < until:
                    await centre.react()
                    await asyncio.sleep(0.1)
                victim: Any = {3: api, 6: deciding, 9: api}.get(
                    kill, rng.choice([*partners.values()])
                )
                victim.kill()
                victim.start()
            deadline = time.monotonic() + 90
            while not (arriving.done() and centre.done()):
                assert time.monotonic() < deadline
                await centre.react()
                await asyncio.sleep(0.1)
            streams: dict[str, list[Any]] = {call: published.streams[call] for call in centre.calls}
            wanted = {
                "all": {call: [*range(1, len(events) + 1)] for call, events in streams.items()},
                **{
                    site: {
                        call: versions
                        for call, events in streams.items()
                        if (versions := of_site(events, site))
                    }
                    for site in SITES
                },
            }
            deadline = time.monotonic() + 30
            while not all(is_told(partners[name], wanted[name]) for name in partners):
                assert time.monotonic() < deadline, {
                    name: [
                        (call, versions, partners[name].told()[call])
                        for call, versions in wanted[name].items()
                        if partners[name].told()[call] != versions
                    ]
                    for name in partners
                }
                await asyncio.sleep(0.3)
        finally:
            arriving.cancel()
            for partner in partners.values():
                partner.kill()
            deciding.stop()
            api.stop()
    assert wanted["paris"]
    assert wanted["lyon"]
    for name, partner in partners.items():
        lines = read_record(partner.record)
        told = [line for line in lines if "stream" in line]
        assert {line["stream"] for line in told if pool in line["stream"]} == set(wanted[name])
        assert any("again" in line for line in lines), "what was not acknowledged came again"
        print(
            f"{name}: {len(told)} events, {sum('again' in line for line in lines)} came again, "
            f"{sum('began' in line for line in lines)} streams"
        )
    await check_view(bootstrap, centre.pools)
    worker.start()
    await worker.ready()


async def check_view(bootstrap: str, pools: list[str]) -> None:
    """What the edges show is the same from the worker's snapshots and from the whole log."""
    folds: list[Pools] = [
        LogView(
            PoolFold(),
            bootstrap=bootstrap,
            topic="routing-commands",
            snapshot_topic=snapshots,
            timeout_s=60,
        )
        for snapshots in ("routing-snapshots", "live-kpi-snapshots")  # the other one is empty
    ]
    async with folds[0] as quick, folds[1] as slow:
        for pool in pools:
            await quick.refresh(pool)
            await slow.refresh(pool)
            state, expected = quick.state(pool), slow.state(pool)
            assert state is not None
            assert expected is not None
            assert encode_pool(state) == encode_pool(expected)


def is_told(partner: Partner, wanted: dict[str, list[int]]) -> bool:
    told = partner.told()
    return all(told[call] == versions for call, versions in wanted.items())


# At the edge.


async def read(call: Any) -> pb.FollowAssignmentsResponse:
    update = await asyncio.wait_for(call.read(), 20)
    assert isinstance(update, pb.FollowAssignmentsResponse), await call.code()
    return update


async def read_on(call: Any) -> None:
    """Whatever comes, until it breaks."""
    while isinstance(await call.read(), pb.FollowAssignmentsResponse):
        pass


async def end(call: Any) -> None:
    """OK once what was acknowledged is kept."""
    await call.done_writing()
    assert not isinstance(await call.read(), pb.FollowAssignmentsResponse)
    assert await call.code() is grpc.StatusCode.OK


def subscribe(**fields: Any) -> pb.FollowAssignmentsRequest:
    return pb.FollowAssignmentsRequest(subscribe=fields)  # type: ignore[arg-type]


def acknowledge(*updates: pb.FollowAssignmentsResponse) -> pb.FollowAssignmentsRequest:
    positions = [update.position for update in updates]
    return pb.FollowAssignmentsRequest(acknowledge={"positions": positions})  # type: ignore[arg-type]


@pytest.fixture
def address(api: Running) -> str:
    return f"127.0.0.1:{api.environment['RELAIS_ROUTING_GRPC_PORT']}"


async def test_a_pool_a_client_and_what_is_acknowledged(
    bootstrap: str, worker: Running, address: str, pool: str
) -> None:
    async with (
        grpc.aio.insecure_channel(address) as channel,
        Producer(bootstrap, linger_ms=0) as producer,
    ):
        stub: Any = AssignmentServiceStub(channel)  # type: ignore[no-untyped-call]
        centre = Sites(producer, Published(bootstrap), pool)
        # The pools of the centre are called like the test's.
        [one, other, *_] = centre.pools
        first = stub.FollowAssignments()
        await first.write(subscribe(subscriber=pool, pool_ids=[one], client_ids=["acme"]))
        await asyncio.sleep(0.5)
        for each in (one, other):
            await centre.tell(each, c.QueueCall(f"{each}-c1", "q"))
            await centre.tell(each, c.ReportCallAbandoned(f"{each}-c1"))
        updates = [await read(first), await read(first)]
        assert [update.event.call_id for update in updates] == [f"{one}-c1"] * 2
        bodies = [update.event.WhichOneof("body") for update in updates]
        assert bodies == ["queued", "abandoned"], "it is the queue that names the pool"
        assert [update.event.meta.version for update in updates] == [2, 3]
        assert not updates[0].HasField("previous_offset")
        assert updates[1].previous_offset == updates[0].position.offset
        await first.write(acknowledge(updates[0]))
        await end(first)

        second = stub.FollowAssignments()
        await second.write(subscribe(subscriber=pool, pool_ids=[one], client_ids=["acme"]))
        again = await read(second)
        assert again == updates[1]
        third = stub.FollowAssignments()
        await third.write(subscribe(subscriber=pool, pool_ids=[one], client_ids=["acme"]))
        assert await read(third) == updates[1]
        with pytest.raises(grpc.aio.AioRpcError) as ended:
            await second.read()
        assert ended.value.code() is grpc.StatusCode.ABORTED
        await third.write(acknowledge(again))
        await end(third)

        fourth = stub.FollowAssignments()
        await fourth.write(subscribe(subscriber=pool, pool_ids=[one], client_ids=["acme"]))
        await centre.tell(one, c.QueueCall(f"{one}-c2", "q"))
        update = await read(fourth)
        assert update.event.call_id == f"{one}-c2"
        fourth.cancel()


@pytest.mark.parametrize(
    ("requests", "field"),
    [
        ([acknowledge()], "subscribe"),
        ([subscribe()], "subscriber"),
        ([subscribe(subscriber="a b")], "subscriber"),
        ([subscribe(subscriber="a", site="no site")], "site"),
        ([subscribe(subscriber="a", client_ids=["ACME"])], "client_id"),
        ([subscribe(subscriber="a", pool_ids=["a/b"])], "pool_ids"),
        ([subscribe(subscriber="a", pool_ids=["p"] * 201)], "pool_ids"),
        ([subscribe(subscriber="a", start=9)], "start"),
        ([subscribe(subscriber="a", window=-1)], "window"),
        ([subscribe(subscriber="a", window=10_001)], "window"),
        ([subscribe(subscriber="a"), subscribe(subscriber="a")], "acknowledge"),
        (
            [
                subscribe(subscriber="a"),
                acknowledge(
                    pb.FollowAssignmentsResponse(position={"partition": 0, "offset": 10**12})  # type: ignore[arg-type]
                ),
            ],
            "position",
        ),
    ],
)
async def test_what_makes_no_sense_is_named(
    bootstrap: str, address: str, requests: list[pb.FollowAssignmentsRequest], field: str
) -> None:
    async with grpc.aio.insecure_channel(address) as channel:
        stub: Any = AssignmentServiceStub(channel)  # type: ignore[no-untyped-call]
        call = stub.FollowAssignments()
        for request in requests:
            await call.write(request)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await read_on(call)
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert str(refused.value.details()).startswith(f"{field}: ")


async def test_how_fast(bootstrap: str, worker: Running, address: str, pool: str) -> None:
    """From the command in the log to the partner; prints, and asserts little."""
    async with (
        grpc.aio.insecure_channel(address) as channel,
        Producer(bootstrap, linger_ms=0) as producer,
    ):
        stub: Any = AssignmentServiceStub(channel)  # type: ignore[no-untyped-call]
        centre = Sites(producer, Published(bootstrap), pool)
        call = stub.FollowAssignments()
        await call.write(subscribe(subscriber=pool, pool_ids=[centre.pools[0]]))
        await asyncio.sleep(1)
        delays = []
        for number in range(100):
            began = time.monotonic()
            await centre.tell(centre.pools[0], c.QueueCall(f"{centre.pools[0]}-{number}", "q"))
            update = await read(call)
            delays.append(time.monotonic() - began)
            await call.write(acknowledge(update))
        call.cancel()
        delays.sort()
        print(
            f"command to partner: median {delays[50] * 1e3:.1f} ms, p95 {delays[95] * 1e3:.1f} ms"
        )
        assert delays[50] < 2
