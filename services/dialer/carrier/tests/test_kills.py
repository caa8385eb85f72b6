"""SIGKILL of the carrier in the middle of its work: what was dialled is dialled once, and over."""

import asyncio
import random
import sqlite3
import time
from collections import Counter
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from relais.telephony.v1 import telephony_service_pb2 as pb

from eventkit.wire import timestamp
from services.dialer.carrier.calls import Over, Result, Ringing, Why
from services.dialer.carrier.journal import KEEP_US, Journal, Key, Taken
from services.dialer.carrier.tests.support import (
    TOLD,
    Carrier,
    Following,
    call,
    check_lives,
    keys,
    taken,
    telephony,
)

CALLS, KILLS = 800, 3
BATCH = 25


class Dialer:
    """Dials each call until it has an answer, as a worker that is itself never killed."""

    def __init__(self, carrier: Carrier) -> None:
        self._carrier = carrier
        self.answers: Counter[str] = Counter()
        self.first: dict[str, str] = {}
        self.results: list[pb.CallResult] = []
        self.acknowledged = 0
        self.over: set[str] = set()

    async def dial(self, numbers: range) -> None:
        calls = [
            call(
                f"c-{n}",
                f"+336{n:08}",
                ring_for=Duration(seconds=1),
                dial_before=timestamp(time.time_ns() // 1000 + 60_000_000),
            )
            for n in numbers
        ]
        while True:
            try:
                async with telephony(self._carrier.address) as stub:
                    answer = await stub.Dial(pb.DialRequest(calls=calls), timeout=2)
                break
            except grpc.aio.AioRpcError:
                await asyncio.sleep(0.05)
        self.answers.update(taken(answer))

    async def follow(self) -> None:
        while True:
            async with telephony(self._carrier.address) as stub, Following(stub) as following:
                following.acknowledges = False
                seen = 0
                while not following.ended:
                    await following.until(
                        lambda: following.ended or len(following.results) > seen,  # noqa: B023
                        60,
                    )
                    fresh = following.results[seen:]
                    seen += len(fresh)
                    self.results += fresh
                    self.over |= {r.call_id for r in fresh if r.HasField("over")}
                    # Some are dealt with and not acknowledged yet when it is killed.
                    if fresh and fresh[0].position > 1:
                        following.acknowledge(fresh[0].position - 1)
            await asyncio.sleep(0.05)


@pytest.mark.timeout(300)
async def test_killed_in_the_middle(tmp_path: Path) -> None:
    carrier = Carrier(
        tmp_path,
        TOLD | {"human": [0.5] * 24, "numbers": {"machine": 0.5}, "busy": 0.1},
    )
    carrier.start()
    dialer = Dialer(carrier)
    following = asyncio.create_task(dialer.follow())
    chance = random.Random(5)
    batches = [range(n, n + BATCH) for n in range(0, CALLS, BATCH)]
    kill_before = {len(batches) * (k + 1) // (KILLS + 1) for k in range(KILLS)}
    dialling = []
    for number, batch in enumerate(batches):
        dialling.append(asyncio.create_task(dialer.dial(batch)))
        await asyncio.sleep(chance.random() * 0.04)
        if number in kill_before:
            await asyncio.to_thread(carrier.kill)
            await asyncio.to_thread(carrier.start)
    await asyncio.gather(*dialling)
    assert sum(dialer.answers.values()) == CALLS
    # Those whose answer was lost were known when they were sent again. As all are now.
    assert set(dialer.answers) <= {"dialling", "known"}
    dialer.answers.clear()
    await dialer.dial(range(CALLS))
    assert dialer.answers == {"known": CALLS}
    async with asyncio.timeout(120):
        while len(dialer.over) < CALLS:
            await asyncio.sleep(0.05)
            assert not following.done() or following.result()
    following.cancel()
    await asyncio.wait([following])
    assert carrier.stop() == 0

    lives = check_lives(dialer.results)
    assert len(lives) == CALLS
    # The journal itself: one row a call, one ringing and one end of each.
    assert carrier.rows("SELECT count(*), count(dialled_at), count(over_at) FROM calls") == [
        (CALLS, CALLS, CALLS)
    ]
    twice = "SELECT call_id FROM results WHERE what = '{}' GROUP BY call_id HAVING count(*) > 1"
    assert carrier.rows(twice.format("ringing")) == []
    assert carrier.rows(twice.format("over")) == []
    lost = carrier.rows("SELECT count(*) FROM results WHERE detail LIKE '%carrier restarted%'")
    assert lost[0][0] > 0
    assert len(dialer.results) > len({result.position for result in dialer.results})


async def test_what_was_under_way_is_over(tmp_path: Path) -> None:
    carrier = Carrier(tmp_path, TOLD | {"talk": {"median_s": 60}, "patience": {"median_s": 60}})
    carrier.start()
    async with telephony(carrier.address) as stub, Following(stub) as following:
        await stub.Dial(pb.DialRequest(calls=[call("talks"), call("waits")]))
        await stub.GetCalls(pb.GetCallsRequest(calls=keys("vain")))
        request = pb.ConnectRequest(client_id="acme", call_id="talks", agent_id="a-1")
        assert (await stub.Connect(request)).connected
        await following.heard("talks", "connected")
        await following.heard("waits", "answered")
        carrier.kill()
    carrier.start()
    async with telephony(carrier.address) as stub, Following(stub) as following:
        talked = await following.heard("talks", "over")
        assert talked.over == pb.CallResult.Over(
            why=pb.CallResult.WHY_HUNG_UP, cause="carrier restarted"
        )
        waited = await following.heard("waits", "over")
        assert waited.over == pb.CallResult.Over(
            why=pb.CallResult.WHY_CARRIER_ERROR, cause="carrier restarted"
        )
        # What was dialled, and what was asked for in vain, is still known as that.
        answer = await stub.Dial(pb.DialRequest(calls=[call("talks"), call("vain")]))
        assert taken(answer) == ["known", "refused"]
        known = (await stub.GetCalls(pb.GetCallsRequest(calls=keys("talks", "vain")))).known
        assert [(k.unknown, k.over) for k in known] == [(False, True), (True, False)]
        assert not (await stub.Connect(request)).connected
    assert carrier.stop() == 0


# The journal alone.

AT = 1_790_000_000_000_000


async def test_positions_go_on(tmp_path: Path) -> None:
    told: list[Any] = []
    journal = Journal(tmp_path / "j", AT, told.extend)
    key = Key("acme", "c-1")
    assert await journal.dial([(key, True), (key, True)], AT) == [Taken.NEW, Taken.KNOWN]
    await journal.record([(key, Result(AT + 1, Ringing()))])
    assert [entry.position for entry in told] == [1]
    await journal.close()
    again = Journal(tmp_path / "j", AT + 10, told.extend)
    assert again.born_at == AT
    entries = await again.after(0, 10)
    assert [(entry.position, entry.result.what) for entry in entries] == [
        (1, Ringing()),
        (2, Over(Why.CARRIER_ERROR, "carrier restarted")),
    ]
    await again.record([(Key("acme", "c-2"), Result(AT + 11, Ringing()))])
    assert told[-1].position == 3
    await again.close()


async def test_old_and_acknowledged_is_forgotten(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j", AT)
    old, new, open_ = Key("acme", "old"), Key("acme", "new"), Key("acme", "open")
    later = AT + KEEP_US + 1
    await journal.dial([(old, True), (open_, True)], AT)
    await journal.record([(old, Result(AT, Over(Why.BUSY))), (open_, Result(AT, Ringing()))])
    await journal.dial([(new, True)], later)
    await journal.record([(new, Result(later, Over(Why.BUSY)))])
    # The call is forgotten; its result is not, for nobody has acknowledged it.
    assert await journal.prune(later + 10) == 1
    assert await journal.subscribe("a") == 0
    await journal.subscribe("b")
    await journal.acknowledge("a", 3)
    assert await journal.prune(later + 10) == 0
    await journal.acknowledge("b", 1)
    assert await journal.prune(later + 10) == 1
    assert [entry.position for entry in await journal.after(0, 10)] == [2, 3]
    assert await journal.dial([(k, False) for k in (old, new, open_)], later) == [
        Taken.ABSENT,
        Taken.KNOWN,
        Taken.KNOWN,
    ]
    await journal.close()


async def test_a_disk_that_fails_is_said(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j", AT)
    with sqlite3.connect(tmp_path / "j") as other:
        other.execute("DROP TABLE results")
    with pytest.raises(sqlite3.OperationalError):
        await journal.record([(Key("acme", "c-1"), Result(AT, Ringing()))])
    assert journal.failed.done()
    with pytest.raises(sqlite3.OperationalError):
        journal.dial([(Key("acme", "c-2"), True)], AT)
    await journal.close()
