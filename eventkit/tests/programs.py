"""Small services that the tests run as processes, to kill them."""

import asyncio
import hashlib
import json
import os
import random
import signal
import sys
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Sequence
from contextlib import aclosing
from pathlib import Path

from eventkit import faustkit, telemetry
from eventkit.clock import SystemClock
from eventkit.consumer import BatchConsumer
from eventkit.deadletter import DeadLetters
from eventkit.errors import InvalidMessage, Rejected
from eventkit.eventstore import EventStore
from eventkit.health import HealthServer
from eventkit.keys import PostgresKeyRing
from eventkit.logfold import LogFold
from eventkit.postgres import make_engine
from eventkit.producer import Producer
from eventkit.records import Bad, Batch, Message, Record
from eventkit.relay import Relay
from eventkit.settings import KafkaSettings
from eventkit.subscription import Position, Subscribers, TakenOver
from eventkit.tests.accounts import ACCOUNTS
from eventkit.timers import TimerWorker

TAKEN_OVER = 7
"""How `subscribe` ends when another has taken over."""


def kill_myself() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def note(path: Path, line: object) -> None:
    """Append a line that survives a SIGKILL."""
    with path.open("a") as file:
        file.write(json.dumps(line) + "\n")


def consume(
    bootstrap: str, topic: str, group: str, effects: str, max_records: str, die: str, call: str
) -> int:
    """Note each batch's token and content; die before or after the effect of batch `call`."""
    calls = 0

    async def handler(batch: Batch) -> Iterable[Bad]:
        nonlocal calls
        calls += 1
        if die == "before" and calls == int(call):
            kill_myself()
        content = hashlib.sha256()
        for record in batch.records:
            content.update(b"%d:%b;" % (record.offset, record.value or b""))
        note(Path(effects), [batch.token, len(batch.records), content.hexdigest()])
        if die == "after" and calls == int(call):
            kill_myself()
        if die == "raise" and calls == int(call):
            raise RuntimeError("unforeseen")
        return ()

    async def main() -> None:
        async with Producer(bootstrap) as producer:
            consumer = BatchConsumer(
                bootstrap,
                group,
                [topic],
                handler,
                DeadLetters(producer, "test"),
                max_records=int(max_records),
                linger_s=0.1,
                group_instance="one",
            )
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, consumer.stop)
            await consumer.run()

    asyncio.run(main())
    return 0


class Counting:
    """A fold for tests: adds numbers up per key, and puts out each sum with an id."""

    def __init__(self, output_topic: str) -> None:
        self._output_topic = output_topic

    def decode(self, record: Record) -> tuple[str, tuple[int, int]]:
        try:
            return (record.key or b"").decode(), (record.offset, int(record.value or b""))
        except ValueError as error:
            raise InvalidMessage("value", str(error)) from error

    def apply(
        self, state: int | None, message: tuple[int, int]
    ) -> tuple[int | None, Sequence[Message]]:
        offset, number = message
        if number < 0:
            raise Rejected("only zero and more is added")
        total = None if number == 0 else (state or 0) + number
        output = Message(self._output_topic, b"%d" % offset, b"%d" % (total or 0))
        return total, [output]

    def encode_state(self, state: int) -> bytes:
        return b"%d" % state

    def decode_state(self, data: bytes) -> int:
        try:
            return int(data)
        except ValueError as error:
            raise InvalidMessage("state", str(error)) from error


def fold(bootstrap: str, topic: str, snapshots: str, outputs: str, group: str) -> int:
    """The fold above, on Faust, with many snapshots."""
    producer = Producer(bootstrap)
    dead_letters = DeadLetters(producer, "test")
    app = faustkit.make_app(group, bootstrap, group_instance="one")
    log_fold = LogFold(
        Counting(outputs),
        bootstrap=bootstrap,
        topic=topic,
        snapshot_topic=snapshots,
        producer=producer,
        publish=producer.send_many,
        dead_letters=dead_letters,
        snapshot_every=70,
        snapshot_seconds=1.0,
    )
    faustkit.fold_agent(app, log_fold, max_records=50)
    return faustkit.run_worker(app, start=[producer.start], stop=[producer.stop])


def each(bootstrap: str, topic: str, outputs: str, group: str, port: str) -> int:
    """Copies values; `bad` is invalid, `no` is rejected, `bug` is unforeseen."""
    producer = Producer(bootstrap)
    app = faustkit.make_app(group, bootstrap, group_instance="one")

    def copy(record: Record) -> Sequence[Message]:
        if record.value == b"bad":
            raise InvalidMessage("value", "is bad")
        if record.value == b"no":
            raise Rejected("no")
        if record.value == b"bug":
            raise RuntimeError("unforeseen")
        return [Message(outputs, record.key, record.value, record.headers)]

    handler = faustkit.each(copy, producer)
    faustkit.agent(app, topic, handler, DeadLetters(producer, "test"), max_records=3)
    health = HealthServer(app, port=int(port))
    start, stop = [producer.start, health.start], [health.stop, producer.stop]
    return faustkit.run_worker(app, start=start, stop=stop)


class DyingProducer(Producer):
    """Is killed when Kafka has acknowledged a batch, before anybody has heard of it."""

    batches_left = 3

    async def send_many(self, messages: Iterable[Message] | AsyncIterable[Message]) -> int:
        count = await super().send_many(messages)
        self.batches_left -= count > 0
        if self.batches_left == 0:
            kill_myself()
        return count


def relay(bootstrap: str, database: str, batch: int, dies: str) -> None:
    """The relay, which dies in the middle of its third batch, or does not."""

    async def main() -> None:
        engine = make_engine(database)
        async with (DyingProducer if dies == "dies" else Producer)(bootstrap) as producer:
            relay = Relay(engine, producer, batch=batch)
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, relay.stop)
            await relay.run()
        await engine.dispose()

    sys.exit(asyncio.run(main()))


def subscribe(bootstrap: str, topic: str, name: str, path: str, seed: int) -> None:
    """Note each update, then acknowledge it or not, and begin anew now and then. Ends when another
    has taken over."""

    async def main() -> None:
        rng = random.Random(seed)
        subscribers = Subscribers(bootstrap, [topic], "test")
        while True:
            acknowledgements: asyncio.Queue[Position | None] = asyncio.Queue()
            async with subscribers.begin(name, earliest=True, window=20) as subscription:
                patience, last = rng.randrange(1, 200), dict[int, Position]()
                updates = subscription.updates(until_none(acknowledgements))
                async with aclosing(updates):
                    async for update in updates:
                        record = update.record
                        value = (record.value or b"").decode()
                        note(Path(path), [*update.position[1:], update.previous, value])
                        last[record.partition] = update.position
                        patience -= 1
                        if patience % 7 == 0:
                            for position in last.values():
                                acknowledgements.put_nowait(position)
                        if not patience:
                            break

    async def until_none(queue: "asyncio.Queue[Position | None]") -> AsyncIterator[Position]:
        while (position := await queue.get()) is not None:
            yield position

    try:
        asyncio.run(main())
    except TakenOver:
        sys.exit(TAKEN_OVER)


def timers(database: str) -> None:
    """A worker for the timers of accounts.py."""

    async def main() -> None:
        engine, keys = make_engine(database), make_engine(database)
        store = EventStore(engine, PostgresKeyRing(keys, {"test": bytes(32)}), SystemClock())
        worker = TimerWorker(store, [ACCOUNTS])
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, worker.stop)
        await worker.run()
        await store.close()
        await engine.dispose()
        await keys.dispose()

    sys.exit(asyncio.run(main()))


def main() -> int:
    name, *arguments = sys.argv[1:]
    telemetry.setup(name, KafkaSettings(log_level="WARNING"))
    programs: dict[str, Callable[..., int]] = {
        "consume": consume,
        "each": each,
        "fold": fold,
    }
    return programs[name](*arguments)


if __name__ == "__main__":
    sys.exit(main())
