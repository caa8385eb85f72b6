"""What the component tests share: our processes, and what has been published."""

import asyncio
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

from relais.agents.v1.events_pb2 import AgentEvent
from relais.calls.v1.events_pb2 import CallEvent
from relais.pools.v1.events_pb2 import PoolEvent

from eventkit.records import Record
from eventkit.topictable import read_partition

ROOT = Path(__file__).parents[3]
PARTITIONS = 4


@dataclass
class Running:
    """`python -m services.routing <process>` with these variables, logging to a file."""

    process: str
    environment: dict[str, str]
    health: str
    log: Path
    popen: "subprocess.Popen[bytes] | None" = None

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.popen = subprocess.Popen(
                [sys.executable, "-m", "services.routing", self.process],
                env=os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'proto'}"} | self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def kill(self) -> None:
        assert self.popen is not None
        self.popen.kill()
        self.popen.wait()

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        if self.popen is None:
            return 0
        self.popen.send_signal(signal.SIGTERM)
        try:
            return self.popen.wait(20)
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    def is_ready(self) -> bool:
        assert self.popen is not None
        if self.popen.poll() is not None:
            raise AssertionError(f"{self.process} has ended:\n{self.log.read_text()[-3000:]}")
        try:
            with urllib.request.urlopen(f"{self.health}/health/ready", timeout=5) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, TimeoutError, ConnectionError):
            return False

    async def ready(self) -> None:
        await until(lambda: asyncio.to_thread(self.is_ready), f"{self.process} is ready")


async def until(condition: Callable[[], Awaitable[bool]], what: str, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not await condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds} s in vain: {what}")
        await asyncio.sleep(0.1)


Wire = CallEvent | AgentEvent | PoolEvent


@dataclass
class Published:
    """All that is in call-, agent- and pool-events, read on from where the last look ended.

    streams: by stream, each event once, in the order of publication.
    """

    bootstrap: str
    streams: dict[str, list[Wire]] = field(default_factory=lambda: defaultdict(list))
    repeats: int = 0
    _values: dict[str, bytes] = field(default_factory=dict)
    _offsets: dict[tuple[str, int], int] = field(default_factory=dict)

    async def look(self) -> list[Wire]:
        """The new events."""
        new: list[Wire] = []
        kinds: tuple[tuple[str, type[Wire]], ...] = (
            ("call-events", CallEvent),
            ("agent-events", AgentEvent),
            ("pool-events", PoolEvent),
        )
        for topic, kind in kinds:
            for record in await self._unread(topic):
                event = kind.FromString(record.value or b"")
                stream, name = event.meta.stream_id, event.meta.event_id
                assert record.key == stream.encode()
                if name in self._values:
                    assert self._values[name] == record.value, "the same decision, once and again"
                    self.repeats += 1
                    continue
                self._values[name] = record.value or b""
                assert event.meta.version == len(self.streams[stream]) + 1, f"a hole in {stream}"
                self.streams[stream].append(event)
                new.append(event)
        return new

    async def _unread(self, topic: str) -> list[Record]:
        records: list[Record] = []
        for partition in range(PARTITIONS):
            where = (topic, partition)
            start = self._offsets.get(where, 0)
            async for chunk in read_partition(self.bootstrap, topic, partition, start):
                records += chunk
                self._offsets[where] = chunk[-1].offset + 1
        return records

    def bodies(self, stream: str) -> list[str]:
        return [str(event.WhichOneof("body")) for event in self.streams[stream]]

    async def wait_for(self, stream: str, *bodies: str) -> None:
        """Until the stream is these events."""

        async def there() -> bool:
            await self.look()
            return self.bodies(stream) == list(bodies)

        try:
            await until(there, stream)
        except AssertionError as error:
            raise AssertionError(f"{error}: {self.bodies(stream)}") from None


async def dead_letters(bootstrap: str, topic: str) -> list[Record]:
    return [
        record async for chunk in read_partition(bootstrap, f"{topic}-dlq", 0) for record in chunk
    ]
