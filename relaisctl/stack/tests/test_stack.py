"""The stack on real engines: what is kept, what is refused, what is stopped."""

import os
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import clickhouse_driver
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from relaisctl.stack import (
    Broker,
    EngineUnavailableError,
    PortInUseError,
    Ports,
    Stack,
    StackError,
    StackSettings,
    StartFailedError,
    State,
    TopicMismatchError,
    ensure_topics,
    load_topics,
)
from relaisctl.stack import postgres as pg

TOPIC = TopicPartition("call-events", 0)


@pytest.fixture(scope="module")
def stack(home: Path) -> Iterator[Stack]:
    """The engines, started once; a test that stops or kills one starts it again."""
    with Stack(home / "stack") as stack:
        yield stack


@pytest.fixture(scope="module")
def kafka(stack: Stack) -> str:
    """The address of a broker that keeps what it was given."""
    if stack.broker is not Broker.KAFKA:
        pytest.skip("Apache Kafka cannot run here, and Tansu keeps nothing")
    return stack.addresses["kafka"]


@pytest.fixture
def offline(home: Path) -> Iterator[Stack]:
    """A stack of which nothing runs yet, with Tansu, which starts at once."""
    stack = Stack(home / "offline", broker=Broker.TANSU)
    yield stack
    stack.stop()
    stack.purge()


async def append(bootstrap: str, value: bytes) -> None:
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all") as producer:
        await producer.send_and_wait(TOPIC.topic, value, partition=TOPIC.partition)


async def read_all(bootstrap: str) -> list[bytes]:
    async with AIOKafkaConsumer(bootstrap_servers=bootstrap) as consumer:
        consumer.assign([TOPIC])
        await consumer.seek_to_beginning()
        end = (await consumer.end_offsets([TOPIC]))[TOPIC]
        values: list[bytes] = []
        while await consumer.position(TOPIC) < end:
            values += [r.value for r in (await consumer.getmany(timeout_ms=500)).get(TOPIC, [])]
        return values


async def names_of_topics(bootstrap: str) -> set[str]:
    async with AIOKafkaConsumer(bootstrap_servers=bootstrap) as consumer:
        names: set[str] = await consumer.topics()
        return names


def test_the_engines_answer_and_the_database_is_there(stack: Stack) -> None:
    assert {row.state for row in stack.status(["postgres", "clickhouse", "kafka"])} == {
        State.RUNNING
    }
    assert pg.query(stack.addresses["postgres"], "SELECT current_database()") == "relais"
    with clickhouse_driver.Client.from_url(stack.addresses["clickhouse"]) as client:
        assert client.execute("SELECT currentDatabase()") == [("relais",)]


def test_the_topics_are_as_specified(stack: Stack, kafka: str) -> None:
    specs = load_topics()
    report = ensure_topics(kafka, specs)
    assert report.existing == tuple(spec.name for spec in specs)
    assert (report.created, report.unverified) == ((), ())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"partitions": 9}, "call-events: partitions is 4, topics.yaml says 9"),
        ({"retention_ms": 5}, "call-events: retention.ms is -1, topics.yaml says 5"),
        ({"cleanup": "compact"}, "call-events: cleanup.policy is delete, topics.yaml says compact"),
    ],
)
async def test_a_topic_with_other_settings_is_refused_and_nothing_is_created(
    kafka: str, change: dict[str, object], message: str
) -> None:
    [known] = [spec for spec in load_topics() if spec.name == "call-events"]
    fresh = replace(known, name="never-created")
    with pytest.raises(TopicMismatchError, match=message):
        ensure_topics(kafka, [fresh, replace(known, **change)])  # type: ignore[arg-type]
    assert "never-created" not in await names_of_topics(kafka)


async def test_kafka_keeps_its_records_over_a_kill_and_a_restart(stack: Stack, kafka: str) -> None:
    before = await read_all(kafka)
    await append(kafka, b"before the kill")
    stack.kill("kafka")
    assert [row.state for row in stack.status(["kafka"])] == [State.DEAD]
    stack.start(["kafka"])
    await append(kafka, b"before the restart")
    stack.restart("kafka")
    assert await read_all(kafka) == [*before, b"before the kill", b"before the restart"]


def test_postgres_keeps_its_rows_over_a_kill_and_a_restart(stack: Stack) -> None:
    url = stack.addresses["postgres"]
    pg.query(url, "CREATE TABLE kept (word text)")
    pg.query(url, "INSERT INTO kept VALUES ('before the kill')")
    stack.kill("postgres")
    stack.start(["postgres"])
    pg.query(url, "INSERT INTO kept VALUES ('before the restart')")
    stack.restart("postgres")
    assert pg.query(url, "SELECT * FROM kept") == "before the kill\nbefore the restart"


def test_clickhouse_keeps_its_rows_over_a_kill_and_a_restart(stack: Stack) -> None:
    def execute(sql: str, rows: list[tuple[str]] | None = None) -> object:
        with clickhouse_driver.Client.from_url(stack.addresses["clickhouse"]) as client:
            return client.execute(sql, rows)

    execute("CREATE TABLE kept (word String) ENGINE = MergeTree ORDER BY word")
    execute("INSERT INTO kept VALUES", [("before the kill",)])
    stack.kill("clickhouse")
    stack.start(["clickhouse"])
    execute("INSERT INTO kept VALUES", [("before the restart",)])
    stack.restart("clickhouse")
    rows = execute("SELECT word FROM kept ORDER BY word")
    assert rows == [("before the kill",), ("before the restart",)]


def test_what_runs_stays_when_started_again(stack: Stack) -> None:
    names = ["postgres", "kafka"]
    before = [row.pid for row in stack.status(names)]
    stack.start(names)
    assert [row.pid for row in stack.status(names)] == before


def test_another_broker_than_the_running_one_is_refused(stack: Stack) -> None:
    other = Broker.TANSU if stack.broker is Broker.KAFKA else Broker.KAFKA
    again = Stack.of(replace(stack.settings, broker=other))
    with pytest.raises(StackError, match=f"is running but RELAIS_BROKER={other}"):
        again.start(["kafka"])


def test_another_port_than_the_running_ones_is_refused(stack: Stack) -> None:
    moved = replace(stack.settings, ports=Ports.free())
    with pytest.raises(StackError, match=r"postgres: it runs at .*RELAIS_POSTGRES_PORT.* say "):
        Stack.of(moved).start(["postgres"])


async def test_tansu_starts_with_all_topics_and_says_what_it_is(tmp_path: Path) -> None:
    said: list[str] = []
    settings = StackSettings(home=tmp_path, ports=Ports.free(), broker=Broker.TANSU)
    stack = Stack.of(settings, say=lambda name, line: said.append(line))
    try:
        stack.start(["kafka"])
        assert "memory only, no idempotent producer" in "\n".join(said)
        await append(stack.addresses["kafka"], b"one")
        assert await read_all(stack.addresses["kafka"]) == [b"one"]
        report = ensure_topics(stack.addresses["kafka"], load_topics())
        assert len(report.existing) == len(load_topics())
    finally:
        stack.stop()


def test_without_java_the_broker_is_tansu_and_the_reason_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    said: list[str] = []
    settings = StackSettings(home=tmp_path, ports=Ports.free())
    stack = Stack.of(settings, say=lambda name, line: said.append(line))
    try:
        stack.start(["kafka"])
        assert stack.broker is Broker.TANSU
        assert "Apache Kafka cannot run here: no Java on the PATH" in "\n".join(said)
    finally:
        stack.stop()


def test_apache_kafka_that_was_asked_for_is_not_replaced(tmp_path: Path) -> None:
    settings = StackSettings(tmp_path, Ports.free(), Broker.KAFKA, kafka_libs=tmp_path)
    with pytest.raises(EngineUnavailableError):
        Stack.of(settings).start(["kafka"])


def test_a_port_that_is_in_use_is_named_with_its_holder_and_its_setting(offline: Stack) -> None:
    port = offline.settings.ports.postgres
    with socket.create_server(("127.0.0.1", port)), pytest.raises(PortInUseError) as refused:
        offline.start(["postgres"])
    for word in (f"port {port}", f"pid {os.getpid()}", "RELAIS_POSTGRES_PORT"):
        assert word in str(refused.value)
    assert [row.state for row in offline.status(["postgres"])] == [State.STOPPED]


def test_one_that_cannot_start_is_told_with_the_end_of_its_log(offline: Stack) -> None:
    (offline.settings.home / "postgres").mkdir(parents=True, mode=0o755)
    (offline.settings.home / "postgres" / "PG_VERSION").write_text("18\n")
    with pytest.raises(
        StartFailedError, match=r"(?s)postgres: ended while starting.*postgres\.log"
    ):
        offline.start(["postgres", "kafka"])
    assert offline.broker is Broker.TANSU, "the others run all the same"


def test_an_unknown_name_is_refused(offline: Stack) -> None:
    with pytest.raises(StackError, match=r"unknown: nonsense; there are postgres, clickhouse"):
        offline.start(["nonsense"])


def test_an_address_from_outside_is_used_and_only_checked(stack: Stack, tmp_path: Path) -> None:
    given = StackSettings(tmp_path, Ports.free(), postgres=stack.addresses["postgres"])
    guest = Stack.of(given)
    guest.start(["postgres"])
    assert [row.state for row in guest.status(["postgres"])] == [State.EXTERNAL]
    assert guest.stop() == []
    assert [row.state for row in stack.status(["postgres"])] == [State.RUNNING]


def test_an_address_from_outside_that_does_not_answer(tmp_path: Path) -> None:
    nobody = f"127.0.0.1:{Ports.free().kafka}"
    stack = Stack.of(StackSettings(tmp_path, Ports.free(), kafka=nobody))
    with pytest.raises(StartFailedError, match=nobody):
        stack.start(["kafka"])
    assert [row.state for row in stack.status(["kafka"])] == [State.UNREACHABLE]
