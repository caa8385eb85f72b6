"""The carrier over gRPC, in a process of its own."""

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)
from grpc_status import rpc_status
from relais.telephony.v1 import telephony_service_pb2 as pb
from relais.telephony.v1.telephony_service_pb2_grpc import TelephonyStub

from eventkit.wire import microseconds, timestamp
from services.dialer.carrier.scenario import Fate
from services.dialer.carrier.tests.support import (
    TOLD,
    Carrier,
    Following,
    call,
    check_lives,
    keys,
    number,
    refusals,
    taken,
    telephony,
    waits,
)


@pytest.fixture(scope="module")
def carrier(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Carrier]:
    carrier = Carrier(tmp_path_factory.mktemp("carrier"), TOLD | {"capacity": 300})
    carrier.start()
    yield carrier
    assert carrier.stop() == 0


@pytest.fixture
async def stub(carrier: Carrier) -> AsyncIterator[TelephonyStub]:
    async with telephony(carrier.address) as stub:
        yield stub


@pytest.fixture
async def following(stub: TelephonyStub) -> AsyncIterator[Following]:
    async with Following(stub) as following:
        yield following
        assert following.error is None, following.error


async def dial(stub: TelephonyStub, *calls: pb.Call) -> list[str]:
    return taken(await stub.Dial(pb.DialRequest(calls=calls)))


async def connect(stub: TelephonyStub, call_id: str, agent_id: str = "a-1") -> bool:
    request = pb.ConnectRequest(client_id="acme", call_id=call_id, agent_id=agent_id)
    return bool((await stub.Connect(request)).connected)


HUMAN = ["ringing", "answered", "greeting_ended"]


async def test_an_agent_comes(stub: TelephonyStub, following: Following) -> None:
    before = time.time_ns() // 1000
    assert await dial(stub, call("comes")) == ["dialling"]
    greeted = await following.heard("comes", "greeting_ended")
    assert await connect(stub, "comes")
    assert await connect(stub, "comes")
    assert not await connect(stub, "comes", "a-2")
    connected = await following.heard("comes", "connected")
    assert connected.connected.agent_id == "a-1"
    over = await following.heard("comes", "over")
    assert over.over.why == pb.CallResult.WHY_HUNG_UP
    assert following.of("comes") == [*HUMAN, "connected", "over"]
    times = [microseconds(r.occurred_at) for r in following.results if r.call_id == "comes"]
    assert times == sorted(times)
    assert before < times[0]
    assert times[-1] < time.time_ns() // 1000
    assert 0 <= microseconds(connected.occurred_at) - microseconds(greeted.occurred_at) < 500_000
    assert not await connect(stub, "comes")


async def test_nobody_comes(stub: TelephonyStub, following: Following) -> None:
    await dial(stub, call("nobody"))
    greeted = await following.heard("nobody", "greeting_ended")
    started = await following.heard("nobody", "message_started")
    assert started.message_started.message_id == "sorry"
    waited = microseconds(started.occurred_at) - microseconds(greeted.occurred_at)
    assert waited == 500_000
    assert not await connect(stub, "nobody")
    over = await following.heard("nobody", "over")
    assert over.over.why == pb.CallResult.WHY_MESSAGE_PLAYED
    assert following.of("nobody") == [*HUMAN, "message_started", "over"]


async def test_an_agent_who_is_early_waits_for_the_greeting(
    stub: TelephonyStub, following: Following
) -> None:
    await dial(stub, call("early"))
    assert await connect(stub, "early", "a-7")
    assert not await connect(stub, "early", "a-8")
    connected = await following.heard("early", "connected")
    greeted = await following.heard("early", "greeting_ended")
    assert connected.connected.agent_id == "a-7"
    assert connected.occurred_at == greeted.occurred_at


@pytest.mark.parametrize(
    ("fate", "why"),
    [
        (Fate.BUSY, pb.CallResult.WHY_BUSY),
        (Fate.UNOBTAINABLE, pb.CallResult.WHY_UNOBTAINABLE),
        (Fate.CARRIER_ERROR, pb.CallResult.WHY_CARRIER_ERROR),
        (Fate.FAX, pb.CallResult.WHY_RELEASED),
        (Fate.MACHINE, pb.CallResult.WHY_RELEASED),
        (Fate.HANGS_UP, pb.CallResult.WHY_HUNG_UP),
        (Fate.NO_ANSWER, pb.CallResult.WHY_NO_ANSWER),
    ],
)
async def test_fates(stub: TelephonyStub, following: Following, fate: Fate, why: int) -> None:
    await dial(stub, call(f"fate-{fate}", number(fate), ring_for=Duration(seconds=1)))
    over = await following.heard(f"fate-{fate}", "over")
    assert over.over.why == why


async def test_messages(stub: TelephonyStub, following: Following) -> None:
    await dial(
        stub,
        call("to-person", on_person=pb.Call.OnPerson(play_message="news")),
        call(
            "to-machine",
            number(Fate.MACHINE),
            on_machine=pb.Call.ON_MACHINE_LEAVE_MESSAGE,
            machine_message="call-us",
        ),
    )
    heard = await following.heard("to-person", "message_started")
    assert heard.message_started.message_id == "news"
    assert not await connect(stub, "to-person")
    left = await following.heard("to-machine", "message_started")
    assert left.message_started.message_id == "call-us"
    for call_id in ("to-person", "to-machine"):
        over = await following.heard(call_id, "over")
        assert over.over.why == pb.CallResult.WHY_MESSAGE_PLAYED


async def test_hanging_up(stub: TelephonyStub, following: Following) -> None:
    await dial(stub, call("released"))
    await following.heard("released", "ringing")
    request = pb.HangUpRequest(client_id="acme", call_id="released")
    await stub.HangUp(request)
    over = await following.heard("released", "over")
    assert over.over.why == pb.CallResult.WHY_RELEASED
    await stub.HangUp(request)
    await stub.HangUp(pb.HangUpRequest(client_id="acme", call_id="never-was"))
    await asyncio.sleep(0.3)
    assert following.of("released").count("over") == 1


async def test_once_dialled_never_again(stub: TelephonyStub, following: Following) -> None:
    once = call("once")
    assert await dial(stub, once, once) == ["dialling", "known"]
    assert await dial(stub, once) == ["known"]
    await following.heard("once", "over")
    assert await dial(stub, call("once", "+33600000000")) == ["known"]
    # The same id of another client is another call.
    assert await dial(stub, call("once", client_id="zenith")) == ["dialling"]
    await asyncio.sleep(0.3)
    mine = [r for r in following.results if r.call_id == "once" and r.client_id == "acme"]
    assert [r.WhichOneof("what") for r in mine].count("ringing") == 1


async def test_too_late(stub: TelephonyStub) -> None:
    late = timestamp(time.time_ns() // 1000 - 1)
    assert await dial(stub, call("late", dial_before=late)) == ["too_late"]
    # It was not dialled: with a new permission it may be.
    assert await dial(stub, call("late")) == ["dialling"]
    assert await dial(stub, call("late", dial_before=late)) == ["known"]


async def test_who_is_asked_for_in_vain_is_never_dialled(
    stub: TelephonyStub, following: Following
) -> None:
    await dial(stub, call("known"))
    request = pb.GetCallsRequest(calls=keys("vain", "known", "vain"))
    known = (await stub.GetCalls(request)).known
    assert [(k.call_id, k.unknown) for k in known] == [
        ("vain", True),
        ("known", False),
        ("vain", True),
    ]
    answer = await stub.Dial(pb.DialRequest(calls=[call("vain")]))
    assert taken(answer) == ["refused"]
    assert refusals(answer) == [("call_id", "it is used up: GetCalls has asked")]
    await following.heard("known", "over")
    known = (await stub.GetCalls(request)).known
    assert [k.over for k in known] == [False, True, False]


WAIT = "on_person.wait_for_agent"
REFUSED = [
    ({"to": "0612345678"}, "to"),
    ({"to": ""}, "to"),
    ({"caller_id": "anonymous"}, "caller_id"),
    ({"client_id": ""}, "client_id"),
    ({"call_id": "a b"}, "call_id"),
    ({"call_id": "x" * 201}, "call_id"),
    ({"ring_for": Duration()}, "ring_for"),
    ({"ring_for": Duration(seconds=121)}, "ring_for"),
    ({"ring_for": Duration(seconds=-1)}, "ring_for"),
    ({"dial_before": None}, "dial_before"),
    ({"dial_before": timestamp(time.time_ns() // 1000 + 86_400_000_000)}, "dial_before"),
    ({"on_person": None}, "on_person"),
    ({"on_person": waits(61)}, f"{WAIT}.at_most"),
    ({"on_person": waits(1, "")}, f"{WAIT}.else_message"),
    ({"on_person": pb.Call.OnPerson(play_message="two words")}, "on_person.play_message"),
    ({"on_machine": pb.Call.ON_MACHINE_UNSPECIFIED}, "on_machine"),
    ({"on_machine": 9}, "on_machine"),
    ({"on_machine": pb.Call.ON_MACHINE_LEAVE_MESSAGE}, "machine_message"),
]


async def test_what_makes_no_sense_is_refused_alone(
    stub: TelephonyStub, following: Following
) -> None:
    wrong = [call(**({"call_id": f"wrong-{n}"} | made)) for n, (made, _) in enumerate(REFUSED)]
    answer = await stub.Dial(pb.DialRequest(calls=[call("right-1"), *wrong, call("right-2")]))
    assert taken(answer) == ["dialling", *["refused"] * len(wrong), "dialling"]
    assert [field for field, _ in refusals(answer)] == ["", *[field for _, field in REFUSED], ""]
    assert all(reason for _, reason in refusals(answer)[1:-1])
    # Nothing of it is on record, so it may be sent again when it is right.
    assert await dial(stub, call("wrong-0")) == ["dialling"]


@pytest.mark.parametrize(
    ("method", "request_", "field"),
    [
        ("Dial", pb.DialRequest(calls=[pb.Call()] * 1001), "calls"),
        ("GetCalls", pb.GetCallsRequest(calls=keys(*["c"] * 1001)), "calls"),
        ("GetCalls", pb.GetCallsRequest(calls=keys("ok", "")), "calls[1].call_id"),
        ("Connect", pb.ConnectRequest(client_id="acme", call_id="c"), "agent_id"),
        ("HangUp", pb.HangUpRequest(call_id="c"), "client_id"),
    ],
)
async def test_requests_that_make_no_sense(
    stub: TelephonyStub, method: str, request_: Any, field: str
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await getattr(stub, method)(request_)
    assert error.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert violation(error.value) == field


def violation(error: grpc.aio.AioRpcError) -> str:
    status = rpc_status.from_call(error)
    assert status is not None
    bad = error_details_pb2.BadRequest()
    assert status.details[0].Unpack(bad)
    return str(bad.field_violations[0].field)


# Following.


async def test_what_is_not_acknowledged_comes_again(stub: TelephonyStub) -> None:
    async with Following(stub, "again") as first:
        first.acknowledges = False
        await dial(stub, call("again-1"))
        await first.heard("again-1", "over")
        positions = [result.position for result in first.results]
        assert positions == list(range(positions[0], positions[0] + len(positions)))
        middle = positions[-3]
        first.acknowledge(middle)
        first.finish()
        await first.until(lambda: first.ended)
        assert first.error is None
    async with Following(stub, "again") as second:
        again = [result for result in first.results if result.position > middle]
        await second.until(lambda: len(second.results) >= len(again))
        assert len(again) >= 2
        assert second.results[: len(again)] == again


async def test_the_window(stub: TelephonyStub) -> None:
    await dial(stub, *[call(f"window-{n}") for n in range(5)])
    async with Following(stub, "window", 3) as following:
        following.acknowledges = False
        await following.until(lambda: len(following.results) == 3)
        await asyncio.sleep(0.3)
        assert len(following.results) == 3
        following.acknowledge(following.results[1].position)
        await following.until(lambda: len(following.results) == 5)
        await asyncio.sleep(0.1)
        assert len(following.results) == 5


async def test_a_subscriber_who_begins_anew_ends_the_older(stub: TelephonyStub) -> None:
    async with Following(stub, "twice") as older:
        await dial(stub, call("twice-1"))
        await older.heard("twice-1", "over")
        async with Following(stub, "twice") as newer:
            await older.until(lambda: older.ended)
            assert older.error is not None
            assert older.error.code() is grpc.StatusCode.ABORTED
            await dial(stub, call("twice-2"))
            await newer.heard("twice-2", "over")


@pytest.mark.parametrize(
    ("messages", "field"),
    [
        ([pb.FollowResultsRequest(acknowledge=1)], "subscribe"),
        ([pb.FollowResultsRequest(subscribe={"subscriber": ""})], "subscriber"),
        ([pb.FollowResultsRequest(subscribe={"subscriber": "x", "window": -1})], "window"),
        ([pb.FollowResultsRequest(subscribe={"subscriber": "x"})] * 2, "acknowledge"),
        (
            [
                pb.FollowResultsRequest(subscribe={"subscriber": "x"}),
                pb.FollowResultsRequest(acknowledge=10**9),
            ],
            "acknowledge",
        ),
    ],
)
async def test_streams_that_make_no_sense(
    stub: TelephonyStub, messages: list[pb.FollowResultsRequest], field: str
) -> None:
    async def requests() -> AsyncIterator[pb.FollowResultsRequest]:
        for message in messages:
            yield message
        await asyncio.sleep(10)

    with pytest.raises(grpc.aio.AioRpcError) as error:
        async for _ in stub.FollowResults(requests()):
            pass
    assert error.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert violation(error.value) == field


# Capacity, chance, outages, the process.


async def test_more_calls_than_lines(stub: TelephonyStub, following: Following) -> None:
    await following.until(lambda: True)
    await asyncio.sleep(1.5)
    calls = [call(f"many-{n}", on_person=waits(1)) for n in range(400)]
    assert set(await dial(stub, *calls)) == {"dialling"}
    overs = [await following.heard(f"many-{n}", "over") for n in range(400)]
    assert sum(over.over.cause == "no free line" for over in overs) == 100
    lives = check_lives(following.results)
    assert sum(life == ["over"] for name, life in lives.items() if "many" in name) == 100


async def test_health_and_reflection(carrier: Carrier) -> None:
    async with grpc.aio.insecure_channel(
        carrier.address, [("grpc.enable_http_proxy", 0)]
    ) as channel:
        answer = await health_pb2_grpc.HealthStub(channel).Check(
            health_pb2.HealthCheckRequest(service="relais.telephony.v1.Telephony")
        )
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
    with grpc.insecure_channel(carrier.address, [("grpc.enable_http_proxy", 0)]) as sync:
        names = await asyncio.to_thread(
            lambda: ProtoReflectionDescriptorDatabase(sync).get_services()
        )
        assert "relais.telephony.v1.Telephony" in names


def test_a_journal_has_one_process(carrier: Carrier) -> None:
    other = Carrier(carrier.folder)
    with pytest.raises(AssertionError, match="RELAIS_CARRIER_JOURNAL: another process has it"):
        other.start()
    assert other.process is not None
    assert other.process.wait() == 2


def test_a_scenario_with_a_mistake(tmp_path: Path) -> None:
    carrier = Carrier(tmp_path, TOLD | {"busy": 2})
    with pytest.raises(AssertionError, match="RELAIS_CARRIER_SCENARIO: busy: must be between"):
        carrier.start()


async def test_the_same_seed_is_the_same_day(tmp_path: Path) -> None:
    days = []
    for name in ("one", "two"):
        folder = tmp_path / name
        folder.mkdir()
        chance = TOLD | {
            "human": [0.4] * 24,
            "numbers": {"machine": 0.5, "fax": 0.1, "unobtainable": 0.1},
            "busy": 0.1,
        }
        carrier = Carrier(folder, chance, {"RELAIS_CARRIER_SEED": "7"})
        carrier.start()
        async with telephony(carrier.address) as stub, Following(stub) as following:
            await dial(
                stub,
                *[
                    call(f"c-{n}", f"+336{n:08}", ring_for=Duration(seconds=1), on_person=waits(0))
                    for n in range(60)
                ],
            )
            for n in range(60):
                await following.heard(f"c-{n}", "over")
        days.append({f"c-{n}": following.of(f"c-{n}") for n in range(60)})
        assert carrier.stop() == 0
    assert days[0] == days[1]
    assert len({tuple(life) for life in days[0].values()}) > 3


async def test_outages(tmp_path: Path) -> None:
    carrier = Carrier(
        tmp_path,
        TOLD
        | {
            "outages": [
                {"begins_s": 0, "ends_s": 3000, "of": "calls"},
                {"begins_s": 3000, "ends_s": 6000, "of": "service"},
            ],
            "talk": {"median_s": 300},
        },
    )
    carrier.environment["RELAIS_CARRIER_SPEED"] = "1000"
    carrier.start()
    async with telephony(carrier.address) as stub, Following(stub) as following:
        assert await dial(stub, call("while-out")) == ["dialling"]
        over = await following.heard("while-out", "over")
        assert over.over.cause == "network out of order"
        [(began,)] = carrier.rows("SELECT at FROM born")
        await asyncio.sleep(max(0, began / 1e6 + 3.2 - time.time()))
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await dial(stub, call("unavailable"))
        assert error.value.code() is grpc.StatusCode.UNAVAILABLE
        await asyncio.sleep(max(0, began / 1e6 + 6.1 - time.time()))
        assert await dial(stub, call("unavailable")) == ["dialling"]
        await following.heard("unavailable", "greeting_ended")
    assert carrier.stop() == 0


def test_nothing_personal_is_in_the_journal(carrier: Carrier) -> None:
    with sqlite3.connect(carrier.journal) as database:
        dump = "\n".join(database.iterdump())
    assert "acme" in dump
    assert "+33" not in dump
    assert "612345678" not in dump
    assert "+336" not in (carrier.folder / "carrier.log").read_text()
