"""A carrier in a process of its own, and whoever talks to it."""

import asyncio
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.duration_pb2 import Duration
from relais.telephony.v1 import telephony_service_pb2 as pb
from relais.telephony.v1.telephony_service_pb2_grpc import TelephonyStub

from eventkit.wire import microseconds, timestamp
from services.dialer.carrier.scenario import Fate

ROOT = Path(__file__).parents[4]

TOLD: dict[str, Any] = {
    "human": [1.0] * 24,
    "setup": {"median_s": 0.02},
    "rings": {"median_s": 0.05},
    "machine_rings": {"median_s": 0.05},
    "greeting": {"median_s": 0.05},
    "machine_greeting": {"median_s": 0.05},
    "detection": {"takes": {"median_s": 0.02}},
    "patience": {"median_s": 30},
    "talk": {"median_s": 0.3},
    "machine_talk": {"median_s": 0.1},
    "message": {"median_s": 0.1},
    "fates": {f"+3319900000{number}": fate for number, fate in enumerate(Fate)},
}
"""A world in which little is left to chance, and all of it is quick."""


def number(fate: Fate) -> str:
    return f"+3319900000{list(Fate).index(fate)}"


def call(call_id: str, to: str = "+33612345678", **changes: Any) -> pb.Call:
    """One that waits half a second for an agent."""
    asked: dict[str, Any] = {
        "client_id": "acme",
        "call_id": call_id,
        "to": to,
        "caller_id": "+33100000000",
        "ring_for": Duration(seconds=25),
        "dial_before": timestamp(time.time_ns() // 1000 + 2_000_000),
        "detect_machines": True,
        "on_person": waits(0.5),
        "on_machine": pb.Call.ON_MACHINE_HANG_UP,
    }
    return pb.Call(**(asked | changes))


def waits(seconds: float, message: str = "sorry") -> pb.Call.OnPerson:
    at_most = Duration(nanos=round(seconds * 1e9) % 10**9, seconds=int(seconds))
    return pb.Call.OnPerson(
        wait_for_agent=pb.Call.WaitForAgent(at_most=at_most, else_message=message)
    )


def keys(*call_ids: str) -> list[pb.CallKey]:
    return [pb.CallKey(client_id="acme", call_id=call_id) for call_id in call_ids]


@dataclass
class Carrier:
    """`start` it; `kill` is SIGKILL, `stop` SIGTERM."""

    folder: Path
    scenario: dict[str, Any] = field(default_factory=lambda: dict(TOLD))
    environment: dict[str, str] = field(default_factory=dict)
    process: "subprocess.Popen[str] | None" = None
    port: int = 0

    @property
    def journal(self) -> Path:
        return self.folder / "carrier.sqlite3"

    def start(self) -> None:
        file = self.folder / "scenario.json"
        file.write_text(json.dumps(self.scenario))
        log = self.folder / "carrier.log"
        with log.open("w") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "services.dialer", "carrier"],
                cwd=ROOT,
                env=os.environ
                | {
                    "PYTHONPATH": f"{ROOT}:{ROOT / 'proto'}",
                    "RELAIS_CARRIER_GRPC_PORT": str(self.port),
                    "RELAIS_CARRIER_JOURNAL": str(self.journal),
                    "RELAIS_CARRIER_SCENARIO": str(file),
                    **self.environment,
                },
                stdout=out,
                stderr=subprocess.STDOUT,
                text=True,
            )
        end = time.monotonic() + 20
        while not (found := re.search(r"gRPC on \S+:(\d+)", log.read_text())):
            if self.process.poll() is not None or time.monotonic() > end:
                raise AssertionError(f"the carrier does not start: {log.read_text()}")
            time.sleep(0.02)
        self.port = int(found[1])

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(20)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """What the journal says, also while the carrier is at work."""
        with closing(sqlite3.connect(self.journal)) as database:
            return database.execute(query).fetchall()


@asynccontextmanager
async def telephony(address: str) -> AsyncIterator[TelephonyStub]:
    options = [("grpc.enable_http_proxy", 0), ("grpc.max_reconnect_backoff_ms", 200)]
    async with grpc.aio.insecure_channel(address, options) as channel:
        yield TelephonyStub(channel)


class Following:
    """All results, as they come, of one stream. acknowledges: by itself, at once."""

    def __init__(self, stub: TelephonyStub, subscriber: str = "test", window: int = 0) -> None:
        self._stub = stub
        self._subscribe = pb.FollowResultsRequest.Subscribe(subscriber=subscriber, window=window)
        self._said: asyncio.Queue[int | None] = asyncio.Queue()
        self.results: list[pb.CallResult] = []
        self.error: grpc.aio.AioRpcError | None = None
        self.acknowledges = True
        self.delays_us: list[int] = []
        """From when it happened until it was heard."""
        self._news = asyncio.Condition()

    async def __aenter__(self) -> "Following":
        self._call = self._stub.FollowResults(self._requests())
        self._reading = asyncio.create_task(self._read())
        return self

    async def __aexit__(self, *error: object) -> None:
        self._call.cancel()
        self._reading.cancel()
        await asyncio.wait([self._reading])

    def acknowledge(self, position: int) -> None:
        self._said.put_nowait(position)

    def finish(self) -> None:
        self._said.put_nowait(None)

    async def _requests(self) -> AsyncIterator[pb.FollowResultsRequest]:
        yield pb.FollowResultsRequest(subscribe=self._subscribe)
        while (position := await self._said.get()) is not None:
            yield pb.FollowResultsRequest(acknowledge=position)

    async def _read(self) -> None:
        try:
            async for answer in self._call:
                now = time.time_ns() // 1000
                self.results += answer.results
                self.delays_us += [now - microseconds(r.occurred_at) for r in answer.results]
                if self.acknowledges:
                    self.acknowledge(answer.results[-1].position)
                async with self._news:
                    self._news.notify_all()
        except grpc.aio.AioRpcError as error:
            self.error = error
        async with self._news:
            self._news.notify_all()

    @property
    def ended(self) -> bool:
        return self._reading.done()

    async def until(self, what: Any, timeout_s: float = 10.0) -> None:
        """what: a function of nothing that must become true."""
        async with asyncio.timeout(timeout_s), self._news:
            await self._news.wait_for(what)

    def of(self, call_id: str) -> list[str]:
        return [
            str(result.WhichOneof("what")) for result in self.results if result.call_id == call_id
        ]

    async def heard(self, call_id: str, what: str, timeout_s: float = 10.0) -> pb.CallResult:
        await self.until(lambda: what in self.of(call_id), timeout_s)
        return next(
            result
            for result in self.results
            if result.call_id == call_id and result.WhichOneof("what") == what
        )


def taken(answer: pb.DialResponse) -> list[str]:
    names = [pb.DialResponse.Taken.Name(dialled.taken) for dialled in answer.dialled]
    return [name.removeprefix("TAKEN_").lower() for name in names]


def refusals(answer: pb.DialResponse) -> list[tuple[str, str]]:
    return [(dialled.field, dialled.reason) for dialled in answer.dialled]


def check_lives(results: Iterable[pb.CallResult]) -> dict[str, list[str]]:
    """What every stream of results must be. Returns what was heard of each call."""
    heard: dict[str, dict[int, str]] = {}
    for result in results:
        of = heard.setdefault(result.call_id, {})
        what = str(result.WhichOneof("what"))
        # The same again, after a break, is the same.
        assert of.setdefault(result.position, what) == what
    lives = {}
    for call_id, of in heard.items():
        life = [of[position] for position in sorted(of)]
        assert life.count("over") == 1, f"{call_id}: {life}"
        assert life[-1] == "over", f"{call_id}: {life}"
        assert not {"connected", "message_started"} <= set(life), f"{call_id}: {life}"
        assert len(set(life)) == len(life), f"{call_id}: {life}"
        lives[call_id] = life
    return lives
