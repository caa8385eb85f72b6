"""Nothing counts as sent before its acknowledgement; a failure is raised, whoever awaits it."""

import pytest
from aiokafka.errors import KafkaError, MessageSizeTooLargeError
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

from eventkit import telemetry
from eventkit.clock import Clock
from eventkit.deadletter import DeadLetters
from eventkit.errors import InvalidMessage, Rejected
from eventkit.producer import Producer
from eventkit.records import Bad, Batch, Message
from eventkit.tests.support import Kafka, MakeTopic, read_all


async def test_all_ways_arrive_in_order_where_the_key_belongs(
    kafka: Kafka, make_topic: MakeTopic, producer: Producer
) -> None:
    topic = await make_topic(partitions=3)
    for n in range(20):
        await producer.deliver(Message(topic, b"%d" % (n % 5), b"a%d" % n))
    assert (
        await producer.send_many(Message(topic, b"%d" % (n % 5), b"b%d" % n) for n in range(20))
        == 20
    )
    for n in range(20):
        await producer.send(topic, b"%d" % (n % 5), b"c%d" % n, [("h", b"1")], 1234)
    assert await producer.flush() == 20
    posted = [await producer.post(Message(topic, b"%d" % (n % 5), b"d%d" % n)) for n in range(20)]
    offsets = [(await each).offset for each in posted]
    assert all(sorted(offsets[key::5]) == offsets[key::5] for key in range(5))

    records = await read_all(kafka, topic, 3)
    for key in range(5):
        mine = [r for r in records if r.key == b"%d" % key]
        assert len({r.partition for r in mine}) == 1, "all ways agree on the partition of a key"
        expected = [
            b"%b%d" % (way, n) for way in (b"a", b"b", b"c", b"d") for n in range(key, 20, 5)
        ]
        assert [r.value for r in mine] == expected
    timed = [r for r in records if r.timestamp == 1234]
    assert len(timed) == 20
    assert all(tuple(r.headers) == (("h", b"1"),) for r in timed)


async def test_a_failed_send_is_raised(
    kafka: Kafka, make_topic: MakeTopic, producer: Producer
) -> None:
    if kafka.is_tansu:
        pytest.skip("Tansu takes messages of any size")
    topic = await make_topic(**{"max.message.bytes": "2000"})
    noise = bytes(hash((n, "noise")) % 256 for n in range(10_000))
    with pytest.raises(MessageSizeTooLargeError):
        await producer.deliver(Message(topic, b"k", noise))
    with pytest.raises(MessageSizeTooLargeError):
        await producer.send_many(Message(topic, b"k", value) for value in [b"small", noise])
    posted = await producer.post(Message(topic, b"k", noise[:5_000]))
    with pytest.raises(MessageSizeTooLargeError):
        await posted
    await producer.send(topic, b"k", noise)
    with pytest.raises(MessageSizeTooLargeError):
        await producer.flush()
    with pytest.raises(MessageSizeTooLargeError):
        await producer.send_many([Message(topic, b"k", b"0" * (16 << 20))])
    await producer.deliver(Message(topic, b"k", b"it goes on"))


async def test_no_broker_no_producer() -> None:
    with pytest.raises(KafkaError):
        await Producer("127.0.0.1:1", timeout_s=2).start()


async def test_the_span_goes_through_kafka(
    kafka: Kafka, make_topic: MakeTopic, producer: Producer
) -> None:
    topic = await make_topic()
    await producer.deliver(Message(topic, b"k", b"no span"))
    tracer = TracerProvider().get_tracer("test")
    with tracer.start_as_current_span("sender") as span:
        await producer.deliver(Message(topic, b"k", b"1"))
        await producer.send_many([Message(topic, b"k", b"2", [("own", b"x")])])
    records = await read_all(kafka, topic)
    assert records[0].headers == ()
    assert telemetry.context_of(records[0].headers) is None
    for record in records[1:]:
        found = trace.get_current_span(telemetry.context_of(record.headers)).get_span_context()
        assert found.trace_id == span.get_span_context().trace_id
        assert found.span_id == span.get_span_context().span_id
    assert len(telemetry.links_to(records)) == 2


class Noon(Clock):
    def now_us(self) -> int:
        return 43_200_000_000


async def test_a_dead_letter_says_where_it_came_from_and_fits(
    kafka: Kafka, make_topic: MakeTopic, producer: Producer
) -> None:
    topic = await make_topic(**{"max.message.bytes": "10000000"})
    big = bytes(hash((n, "noise")) % 256 for n in range(1000)) * 7000
    await producer.send(topic, b"k", b"\xff", [("own", b"1")], 5, 0)
    await producer.send(topic, b"k", big, [("own", b"1")], 6, 0)
    await producer.flush()
    records = await read_all(kafka, topic)
    bad = [
        Bad(records[0], InvalidMessage("meta.client_id", "is empty")),
        Bad(records[1], Rejected("the agent is on a call")),
    ]
    letters = DeadLetters(producer, "tester", clock=Noon())
    await letters.settle(Batch(topic, 0, 0, 2, records), bad)
    first, second = await read_all(kafka, f"{topic}-dlq")
    assert (first.key, first.value) == (b"k", b"\xff")
    assert dict(first.headers) == {
        "own": b"1",
        "dlq.topic": topic.encode(),
        "dlq.partition": b"0",
        "dlq.offset": b"0",
        "dlq.timestamp": b"5",
        "dlq.error": b"InvalidMessage",
        "dlq.reason": b"is empty",
        "dlq.field": b"meta.client_id",
        "dlq.service": b"tester",
        "dlq.time_us": b"43200000000",
    }
    assert second.value == big[: 3 << 20]
    assert dict(second.headers)["dlq.truncated"] == b"7000000"
