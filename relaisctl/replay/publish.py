"""History to Kafka: publish a recorded centre's events in bulk, and wait until they are loaded."""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import GroupCoordinatorNotAvailableError

from eventkit.producer import Producer
from eventkit.records import Message
from relaisctl import codec
from relaisctl.replay.history import Recorded, in_time_order

TOPIC = "call-events"
LOADER_GROUP = "analytics-loader"
ACTOR = "anonymous-bank"
POLL_S = 0.25
REPORT_EVERY = 1000


def messages(client_id: str, calls: Sequence[Recorded], now: int) -> Iterator[Message]:
    """The events of all calls by time. The same calls give the same events, so a repeat is
    harmless."""
    for event in in_time_order(calls, now):
        yield Message(TOPIC, *codec.call_event(client_id, ACTOR, event, now))


async def publish_all(
    bootstrap: str, messages: Iterable[Message], progress: Callable[[int], None]
) -> int:
    """Publish messages in their order; returns their number when all are acknowledged.

    Raises KafkaError.
    """
    count = 0
    async with Producer(bootstrap, linger_ms=10, client_id="relaisctl") as producer:
        for message in messages:
            await producer.send(*message)
            count += 1
            if count % REPORT_EVERY == 0:
                progress(count)
                await asyncio.sleep(0)  # sends of a bulk that is not full never wait
        await producer.flush()
    progress(count)
    return count


async def ends(bootstrap: str, *topics: str) -> dict[TopicPartition, int]:
    """Where each partition of these topics ends now; of call-events, where none is named."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False)
    try:
        await admin.start()
        await consumer.start()
        places = [
            TopicPartition(topic["topic"], partition["partition"])
            for topic in await admin.describe_topics([*topics] or [TOPIC])
            for partition in topic["partitions"]
        ]
        found: dict[TopicPartition, int] = await consumer.end_offsets(places)
        return found
    finally:
        await consumer.stop()
        await admin.close()


async def loaded(
    bootstrap: str,
    targets: dict[TopicPartition, int],
    patience_s: float,
    progress: Callable[[int], None],
) -> bool:
    """Wait until the analytics loader has committed up to the targets.

    progress: is told how many records are missing. False: nothing moved for `patience_s`.
    """
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        clock = asyncio.get_running_loop()
        least, since = None, clock.time()
        while True:
            try:
                # By name: Tansu gives no good answer for "all partitions".
                committed = await admin.list_consumer_group_offsets(
                    LOADER_GROUP, partitions=list(targets)
                )
            except GroupCoordinatorNotAvailableError:
                committed = {}  # no group has ever committed to this broker
            missing = sum(
                max(0, end - max(0, committed[where].offset if where in committed else 0))
                for where, end in targets.items()
            )
            progress(missing)
            if missing == 0:
                return True
            if least is None or missing < least:
                least, since = missing, clock.time()
            elif clock.time() - since > patience_s:
                return False
            await asyncio.sleep(POLL_S)
    finally:
        await admin.close()
