"""How fast, and in how much memory, `relaisctl replay-pool` proves a long log: prints only.

    PYTHONPATH=.:proto python bench/replay_pool.py [--commands 1000000] [--agents 200]

One Kafka of its own. A pool's commands are written into the log, and what they lead to onto the
topics, as the worker does; then the log is replayed, as a whole and for its last minute. Seconds
are the processor's, so that other work on the machine counts little.
"""

import argparse
import asyncio
import resource
import tempfile
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

from eventkit.producer import Producer
from eventkit.records import Headers, Message
from relaisctl.decisions.log import Span
from relaisctl.decisions.proof import Refold, Window
from relaisctl.decisions.replay_pool import COMMANDS, replay
from relaisctl.stack import Ports, Stack
from services.routing import codec
from services.routing import commands as c

POOL = "bench"
CLIENT = "acme"
START_MS = 1_795_428_000_000
EVERY_MS = 20
"""Between two commands: fifty a second, as of a centre with thousands of agents."""
CHUNK = 20_000


class Written(NamedTuple):
    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes
    value: bytes
    headers: Headers = ()


def bodies(agents: int) -> Iterator[c.Body]:
    """Agents who are always busy: each call is answered by whoever is offered it."""
    yield c.ConfigurePool(wrap_up_seconds=-1)
    for number in range(agents):
        yield c.LogInAgent(f"a-{number}", (("fr", 1 + number % 5), ("de", 2)))
        yield c.MakeAgentAvailable(f"a-{number}")
    talking: deque[str] = deque()
    number = 0
    while True:
        call = f"c-{number}"
        number += 1
        yield c.ReportCallArrived(call, c.Channel.VOICE, c.Direction.INBOUND, "l1", f"k-{number}")
        yield c.QueueCall(call, f"q-{number % 60}", 0, (("fr", 1 + number % 4),))
        yield c.ReportCallConnected(call)
        talking.append(call)
        if len(talking) > agents * 4 // 5:
            yield c.ReportCallEnded(talking.popleft())


def log(agents: int, count: int) -> Iterator[Written]:
    """The first `count` commands."""
    for offset, body in zip(range(count), bodies(agents), strict=False):
        client = CLIENT if isinstance(body, c.CallCommand) else c.CENTRE
        at_ms = START_MS + offset * EVERY_MS
        command = c.command_for(
            POOL,
            body,
            command_id=codec.command_id(POOL, client, at_ms * 1000, body),
            client_id=client,
            occurred_at=at_ms * 1000,
            recorded_at=at_ms * 1000,
            actor="pbx-1",
        )
        value = codec.encode_command(command)
        yield Written(COMMANDS, 0, offset, at_ms, POOL.encode(), value)


async def fill(bootstrap: str, agents: int, count: int) -> int:
    """Returns how many events the commands have led to."""
    refold, sent = Refold(POOL), 0
    async with Producer(bootstrap) as producer:
        chunk: list[Message] = []
        for decided in refold.decide(log(agents, count)):
            record, at_ms = decided.record, decided.record.timestamp
            chunk.append(Message(COMMANDS, record.key, record.value, timestamp_ms=at_ms))
            chunk += [each._replace(timestamp_ms=at_ms) for each in decided.messages]
            if len(chunk) >= CHUNK:
                sent += await producer.send_many(chunk)
                chunk = []
        sent += await producer.send_many(chunk)
    return sent - count


async def measure(bootstrap: str, what: str, window: Window) -> None:
    def silent(span: Span, offset: int) -> None:
        return None

    began = time.process_time()
    replayed = await replay(bootstrap, POOL, window, silent)
    took = time.process_time() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    found = replayed.counts
    assert found.proved, asdict(found)
    print(
        f"{what}: {found.commands:,} commands folded, {found.decisions:,} decisions identical, "
        f"{took:.1f} s of the processor, {found.commands / took:,.0f} commands/s, "
        f"peak {peak:.0f} MiB"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--commands", type=int, default=1_000_000)
    parser.add_argument("--agents", type=int, default=200)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        stack = Stack(Path(home), Ports.free())
        try:
            stack.start(["kafka"])
            bootstrap = stack.addresses["kafka"]
            began = time.monotonic()
            events = asyncio.run(fill(bootstrap, given.agents, given.commands))
            took = time.monotonic() - began
            print(f"{given.commands:,} commands and {events:,} events written in {took:.0f} s")
            last = START_MS + given.commands * EVERY_MS
            asyncio.run(measure(bootstrap, "the last minute", Window(last - 60_000, None)))
            asyncio.run(measure(bootstrap, "the whole log", Window()))
        finally:
            stack.stop()


if __name__ == "__main__":
    main()
