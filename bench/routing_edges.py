"""What looking at a pool and following its calls cost: prints, asserts nothing.

    PYTHONPATH=.:proto python bench/routing_edges.py [--agents 5000] [--calls 2000]

A broker of its own. The log has the log-ins of all agents and the calls, three of four of which
wait; a snapshot is written as a worker does.
"""

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing
from functools import partial
from pathlib import Path

from eventkit.clock import SystemClock
from eventkit.deadletter import DeadLetters
from eventkit.logfold import LogFold
from eventkit.producer import Producer
from eventkit.records import Batch, Message
from eventkit.subscription import Position, Subscribers
from relaisctl.stack import Ports, Stack
from services.routing import codec
from services.routing import commands as c
from services.routing import events as e
from services.routing.following.codec import CALLS, Calls, call_event
from services.routing.following.concerns import Wanted
from services.routing.supervisors.bodies import call_live, pool_live
from services.routing.supervisors.live import Places, agents_now, calls_where, queues_now
from services.routing.view import COMMANDS, SNAPSHOTS, PoolFold, Pools, pools_view

POOL = "bench"
QUEUES = 20


def command(number: int, body: c.Body) -> c.Command:
    at = SystemClock().now_us()
    client = "acme" if isinstance(body, c.CallCommand) else c.CENTRE
    return c.command_for(
        POOL,
        body,
        command_id=f"bench-{number}",
        client_id=client,
        occurred_at=at,
        recorded_at=at,
        actor="",
    )


def message(number: int, body: c.Body) -> Message:
    return Message(COMMANDS, POOL.encode(), codec.encode_command(command(number, body)))


def filling(agents: int, calls: int) -> list[c.Body]:
    bodies: list[c.Body] = []
    for number in range(agents):
        skill = (f"s{number % 60}", 1 + number % 5)
        bodies += [c.LogInAgent(f"a{number}", (skill,)), c.MakeAgentAvailable(f"a{number}")]
    for number in range(calls):
        skills = (("nobody", 1),) if number % 4 else ()
        bodies.append(c.QueueCall(f"c{number}", f"q{number % QUEUES}", 0, skills))
    return bodies


async def snapshot(bootstrap: str, producer: Producer, partition: int) -> None:
    async def publish(outputs: Sequence[e.Event | e.Sent]) -> None:
        pass

    fold = LogFold(
        PoolFold(),
        bootstrap=bootstrap,
        topic=COMMANDS,
        snapshot_topic=SNAPSHOTS,
        producer=producer,
        publish=publish,
        dead_letters=DeadLetters(producer, "bench"),
    )
    await fold.hold([partition])
    await fold.handle(Batch(COMMANDS, partition, 0, 0, ()))
    await fold.snapshot(partition)


async def timed(what: str, work: Callable[[int], Awaitable[object]], times: int) -> None:
    took = []
    for number in range(times):
        began = time.perf_counter()
        await work(number)
        took.append(time.perf_counter() - began)
    took.sort()
    worst = took[times * 95 // 100]
    print(f"{what:58} {statistics.median(took) * 1e3:8.1f} ms, p95 {worst * 1e3:8.1f} ms")


async def look(bootstrap: str, producer: Producer, agents: int, calls: int) -> None:
    bodies = filling(agents, calls)
    await producer.send_many(message(number, body) for number, body in enumerate(bodies))

    async def restore(_: int) -> None:
        async with pools_view(bootstrap, 60) as view:
            await view.refresh(POOL)

    async def write(number: int) -> None:
        body = c.StartBreak(f"a{number}", "lunch")
        await producer.deliver(message(1_000_000 + number, body))
        await view.refresh(POOL)

    async with pools_view(bootstrap, 60) as view:
        await timed(f"the whole log of {len(bodies):,} commands", restore, 3)
        await snapshot(bootstrap, producer, view.partition_of(POOL))
        await timed(f"from the snapshot: {agents:,} agents, {calls:,} calls", restore, 5)
        await view.refresh(POOL)
        await timed("nothing new", lambda _: view.refresh(POOL), 200)
        await timed("a command, acknowledged and seen", write, 200)
        await timed("many at once (100), for all of them", lambda _: at_once(view), 20)
        await timed("the live view", lambda _: live(view), 20)
        await timed("a page of 50 waiting calls", lambda _: page(view), 20)


async def at_once(view: Pools) -> None:
    await asyncio.gather(*(view.refresh(POOL) for _ in range(100)))


async def live(view: Pools) -> None:
    pool = view.state(POOL)
    assert pool is not None
    pool_live(pool, queues_now(pool, pool.now), agents_now(pool, pool.now), pool.now)


async def page(view: Pools) -> None:
    pool = view.state(POOL)
    assert pool is not None
    places = Places(pool)
    for call in calls_where(pool, None, "acme/q1", "", "")[:50]:
        call_live(call, places, pool.now)


async def follow(bootstrap: str, producer: Producer, events: int) -> None:
    messages = []
    for number in range(events // 2):
        told = command(number, c.ReportCallArrived(f"f{number}"))
        site = "paris" if number % 10 == 0 else "lyon"
        bodies: tuple[e.CallBody, ...] = (
            e.CallOffered("o", "ann", "q", told.occurred_at, "", site=site),
            e.CallAbandoned("q", told.occurred_at, 0),
        )
        for version, body in enumerate(bodies, 1):
            event = e.CallEvent("acme", f"f{number}", version, told.occurred_at, body)
            value = codec.encode_event(told, event)
            messages.append(Message(CALLS, event.stream_id.encode(), value))
    await producer.send_many(messages)
    for what, wanted, count in (
        ("every site", Wanted(), events),
        ("one site of ten", Wanted("paris"), events // 10),
    ):
        subscribers = Subscribers(bootstrap, [CALLS], f"bench-{what.replace(' ', '-')}")
        said: asyncio.Queue[Position | None] = asyncio.Queue()

        async def acknowledgements(
            queue: asyncio.Queue[Position | None],
        ) -> AsyncIterator[Position]:
            while (position := await queue.get()) is not None:
                yield position

        seen, last = 0, dict[int, Position]()
        async with subscribers.begin(
            "bench", earliest=True, window=1_000, select=partial(Calls, wanted)
        ) as subscription:
            began = time.perf_counter()
            async with aclosing(subscription.updates(acknowledgements(said))) as updates:
                async for update in updates:
                    call_event(update.record)
                    last[update.record.partition] = update.position
                    seen += 1
                    if seen % 100 == 0 or seen == count:
                        for position in last.values():
                            said.put_nowait(position)
                    if seen == count:
                        said.put_nowait(None)
            took = time.perf_counter() - began
        print(f"following {what}: {events / took:,.0f} events/s, {seen / took:,.0f} of them told")


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--agents", type=int, default=5_000)
    parser.add_argument("--calls", type=int, default=2_000)
    parser.add_argument("--events", type=int, default=100_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="relais-") as home:
        stack = Stack(Path(home), Ports.free())
        try:
            stack.start(["kafka"])
            bootstrap = stack.addresses["kafka"]
            async with Producer(bootstrap, linger_ms=0) as producer:
                await look(bootstrap, producer, options.agents, options.calls)
                await follow(bootstrap, producer, options.events)
        finally:
            stack.stop()


if __name__ == "__main__":
    asyncio.run(main())
