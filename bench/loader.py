"""How fast events are loaded: `python bench/loader.py [--events N]`; prints, asserts nothing.

One run on one topic, real engines of its own: the loader, beside what is the least that anybody
must do (fetch and decode) and beside a Faust agent with the same handler.
"""

import argparse
import asyncio
import os
import resource
import signal
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from aiokafka import AIOKafkaConsumer, TopicPartition
from relais.calls.v1.events_pb2 import CallEvent

from eventkit import faustkit
from eventkit.consumer import BatchConsumer
from eventkit.deadletter import DeadLetters
from eventkit.producer import Producer
from eventkit.records import Bad, Batch, Message
from eventkit.topictable import TopicTable
from relaisctl.stack import Ports, Stack
from services.analytics.__main__ import tune_collector
from services.analytics.loader import Loader
from services.analytics.rows import CALL_EVENTS, CLIENT_EVENTS, registered_client
from services.analytics.settings import LoaderSettings
from services.analytics.store import Store
from services.analytics.tests.events import call, client_registered

CLIENT = "bench"


def messages(count: int) -> Iterator[Message]:
    """The client's registration, then calls of five events each."""
    client = client_registered(CLIENT)
    yield Message(CLIENT_EVENTS.topic, CLIENT.encode(), client.SerializeToString())
    for number in range(count // 5):
        at = 1_700_000_000 + number * 20
        for event in call(CLIENT, f"c{number}", at=at, wait=number % 60, wrap_up=9):
            key = event.meta.stream_id.encode()
            yield Message(CALL_EVENTS.topic, key, event.SerializeToString())


async def publish(kafka: str, count: int) -> None:
    async with Producer(kafka, linger_ms=10) as producer:
        await producer.send_many(messages(count))


async def fetch_and_decode(kafka: str, count: int) -> tuple[float, float]:
    """Seconds, and seconds of CPU, of a bare loop over the topic."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=kafka, max_partition_fetch_bytes=4 << 20, fetch_max_bytes=16 << 20
    )
    await consumer.start()
    partitions = [TopicPartition(CALL_EVENTS.topic, number) for number in range(4)]
    consumer.assign(partitions)
    await consumer.seek_to_beginning(*partitions)
    seen, parse = 0, CallEvent.FromString
    began, cpu = time.perf_counter(), time.process_time()
    while seen < count:
        for records in (await consumer.getmany(timeout_ms=500, max_records=10_000)).values():
            seen += len([parse(record.value) for record in records])
    took = time.perf_counter() - began, time.process_time() - cpu
    await consumer.stop()
    return took


@dataclass
class Measured:
    """A handler, with a watch: from its first batch's hand-over to the end of its last."""

    handler: Loader
    count: int
    seen: int = 0
    began: float = 0.0
    ended: float = 0.0
    cpu: float = 0.0
    rss: list[int] = field(default_factory=list)
    done: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, batch: Batch) -> Iterable[Bad]:
        if not self.began:
            self.began, self.cpu = time.perf_counter(), time.process_time()
        bad = await self.handler(batch)
        if batch.topic == CALL_EVENTS.topic:
            self.seen += len(batch.records)
        self.rss.append(psutil.Process().memory_info().rss >> 20)
        if self.seen >= self.count:
            self.ended, self.cpu = time.perf_counter(), time.process_time() - self.cpu
            self.done.set()
        return bad


async def load(kafka: str, clickhouse: str, count: int) -> Measured:
    """The loader as it is."""
    store = Store(clickhouse)
    async with (
        Producer(kafka) as producer,
        TopicTable(kafka, CLIENT_EVENTS.topic, registered_client) as clients,
    ):
        measured = Measured(Loader(store, clients), count)
        letters = DeadLetters(producer, "bench")
        consumer = BatchConsumer(
            kafka,
            "bench-loader",
            [CALL_EVENTS.topic],
            measured,
            letters,
            max_records=LoaderSettings.model_fields["loader_batch_records"].default,
        )
        running = asyncio.create_task(consumer.run())
        await measured.done.wait()
        consumer.stop()
        await running
    store.close()
    return measured


def load_with_faust(kafka: str, clickhouse: str, count: int) -> Measured:
    """The same handler in a Faust agent."""
    store, producer = Store(clickhouse), Producer(kafka)
    clients = TopicTable(kafka, CLIENT_EVENTS.topic, registered_client)
    measured = Measured(Loader(store, clients), count)
    app = faustkit.make_app("bench-faust", kafka)
    letters = DeadLetters(producer, "bench")
    faustkit.agent(app, CALL_EVENTS.topic, measured, letters, max_records=10_000)

    async def stop_when_done() -> None:
        await measured.done.wait()
        os.kill(os.getpid(), signal.SIGTERM)

    app.task(stop_when_done)
    faustkit.run_worker(
        app, start=[producer.start, clients.start], stop=[producer.stop, clients.stop]
    )
    store.close()
    return measured


def say(name: str, count: int, seconds: float, cpu: float, bare: float) -> None:
    rate, each = count / seconds, cpu / count * 1e6
    print(
        f"{name:<34}{rate:>10,.0f} events/s  {rate / bare:6.3f}  {each:6.1f} us of CPU", flush=True
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=300_000)
    count = parser.parse_args().events // 5 * 5
    tune_collector()
    with tempfile.TemporaryDirectory(prefix="relais-bench-") as home:
        stack = Stack(Path(home), Ports.free())
        try:
            stack.start(["kafka", "clickhouse"])
            kafka, clickhouse = stack.addresses["kafka"], stack.addresses["clickhouse"]
            asyncio.run(publish(kafka, count))
            asyncio.run(Store(clickhouse).migrate())
            print("rate, the part of the first rate, this process's own CPU for each event")
            seconds, cpu = asyncio.run(fetch_and_decode(kafka, count))
            bare = count / seconds
            say("getmany and decode", count, seconds, cpu, bare)
            loaded = asyncio.run(load(kafka, clickhouse, count))
            say("loader", loaded.seen, loaded.ended - loaded.began, loaded.cpu, bare)
            seconds, cpu = asyncio.run(fetch_and_decode(kafka, count))
            say("getmany and decode, again", count, seconds, cpu, bare)
            faust = load_with_faust(kafka, clickhouse, count // 5)
            say(
                "the same handler under Faust",
                faust.seen,
                faust.ended - faust.began,
                faust.cpu,
                bare,
            )
            first, last = loaded.rss[0], loaded.rss[-1]
            print(f"loader's memory: {first} MB after its first batch, {last} MB after its last")
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
            print(f"peak of this process: {peak} MB")
        finally:
            stack.stop()


if __name__ == "__main__":
    main()
