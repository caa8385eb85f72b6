"""Faust processors: an exception skips nothing, SIGTERM loses nothing, no web server."""

import asyncio
import contextlib
import json
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections import Counter
from pathlib import Path

import faust
import psutil
import pytest

from eventkit.faustkit import CRASHED, make_app
from eventkit.producer import Producer
from eventkit.records import Message
from eventkit.tests.support import Kafka, MakeTopic, program, read_all, until


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def until_copied(kafka: Kafka, topic: str, count: int) -> list[bytes | None]:
    async def there() -> bool:
        return len(await read_all(kafka, topic)) >= count

    await until(there, f"{count} copies")
    return [record.value for record in await read_all(kafka, topic)]


async def stop(process: "subprocess.Popen[str]") -> tuple[int, float, str]:
    """Exit code, seconds from SIGTERM to the end, standard error."""
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    try:
        _, errors = await asyncio.to_thread(process.communicate, timeout=20)
    finally:
        process.kill()
    return process.returncode, time.monotonic() - began, errors


async def test_an_unforeseen_exception_skips_nothing(
    kafka: Kafka, make_topic: MakeTopic, producer: Producer
) -> None:
    if kafka.is_tansu:
        pytest.skip("Tansu takes most of a minute to form a group anew")
    topic, outputs = await make_topic(), await make_topic()
    values = [b"1", b"bad", b"no", b"2", b"bug", b"3"]
    await producer.send_many(Message(topic, b"k", value, partition=0) for value in values)
    arguments = ("each", topic, outputs, f"{topic}-group", 0)
    for _ in range(2):
        process = program(kafka, *arguments)
        _, errors = await asyncio.to_thread(process.communicate, timeout=30)
        assert process.returncode == CRASHED, errors
        assert "RuntimeError: unforeseen" in errors
    copied = {r.value for r in await read_all(kafka, outputs)}
    # 2 may be in one batch with the bug, of which nothing is sent.
    assert {b"1"} <= copied <= {b"1", b"2"}, "nothing behind the bug is handled"
    letters = await read_all(kafka, f"{topic}-dlq")
    assert {(r.value, dict(r.headers)["dlq.error"]) for r in letters} == {
        (b"bad", b"InvalidMessage"),
        (b"no", b"Rejected"),
    }


async def test_plain_faust_acknowledges_what_its_agent_failed_on(
    kafka: Kafka, make_topic: MakeTopic, producer: Producer, tmp_path: Path
) -> None:
    """The trap itself. Should this fail one day, Faust has changed and eventkit can be simpler."""
    topic = await make_topic()
    await producer.send_many(
        Message(topic, b"k", b"%d" % number, partition=0) for number in range(6)
    )
    app = faust.App(
        f"{topic}-plain",
        broker=f"kafka://{kafka.bootstrap}",
        web_enabled=False,
        datadir=tmp_path,
        broker_commit_interval=0.1,
        topic_disable_leader=True,
        value_serializer="raw",
        key_serializer="raw",
    )
    seen: list[bytes] = []
    went_on = asyncio.Event()

    async def fails(stream: "faust.StreamT[bytes]") -> None:
        async for value in stream:
            seen.append(value)
            if value == b"3":
                raise RuntimeError("unforeseen")
            if value == b"5":
                went_on.set()

    app.agent(app.topic(topic, value_type=bytes))(fails)
    app.finalize()
    await app.start()
    try:
        await asyncio.wait_for(went_on.wait(), 30)
    finally:
        await app.stop()
    assert seen == [b"%d" % number for number in range(6)], "it goes on behind the failure"


async def test_sigterm_finishes_soon_and_the_next_process_goes_on(
    kafka: Kafka, make_topic: MakeTopic, producer: Producer
) -> None:
    if kafka.is_tansu:
        pytest.skip("Tansu takes most of a minute to form a group anew")
    topic, outputs = await make_topic(partitions=2), await make_topic()
    await producer.send_many(Message(topic, b"%d" % n, b"a%d" % n) for n in range(500))
    process = program(kafka, "each", topic, outputs, f"{topic}-group", 0)
    first = await until_copied(kafka, outputs, 500)
    code, seconds, errors = await stop(process)
    assert code == 0, errors
    assert seconds < 5
    await producer.send_many(Message(topic, b"%d" % n, b"b%d" % n) for n in range(100))
    process = program(kafka, "each", topic, outputs, f"{topic}-group", 0)
    copied = await until_copied(kafka, outputs, 600)
    code, _, errors = await stop(process)
    assert code == 0, errors
    assert Counter(copied) == Counter([*first, *[b"b%d" % n for n in range(100)]])


async def test_a_sigkill_repeats_and_loses_nothing(
    kafka: Kafka, make_topic: MakeTopic, producer: Producer
) -> None:
    topic, outputs = await make_topic(), await make_topic()
    await producer.send_many(Message(topic, b"%d" % n, b"%d" % n) for n in range(3000))
    process = program(kafka, "each", topic, outputs, f"{topic}-group", 0)
    await until_copied(kafka, outputs, 300)
    process.kill()
    await asyncio.to_thread(process.communicate)
    process = program(kafka, "each", topic, outputs, f"{topic}-group", 0)

    async def all_there() -> bool:
        copied = {record.value for record in await read_all(kafka, outputs)}
        return copied == {b"%d" % n for n in range(3000)}

    await until(all_there, "every record is copied", process)
    code, _, errors = await stop(process)
    assert code == 0, errors


async def test_health_is_served_and_nothing_of_faust(
    kafka: Kafka, make_topic: MakeTopic, producer: Producer
) -> None:
    topic, outputs, port = await make_topic(), await make_topic(), free_port()
    process = program(kafka, "each", topic, outputs, f"{topic}-group", port)
    try:

        async def ready() -> bool:
            return await asyncio.to_thread(ask, port, "/health/ready") == (200, "ok")

        await until(ready, "the worker is ready", process)
        assert await asyncio.to_thread(ask, port, "/health/live") == (200, "ok")
        assert (await asyncio.to_thread(ask, port, "/"))[0] == 404
        listening = [
            c for c in psutil.Process(process.pid).net_connections() if c.status == "LISTEN"
        ]
        assert [connection.laddr.port for connection in listening] == [port]
    finally:
        code, seconds, errors = await stop(process)
    assert code == 0, errors
    assert seconds < 5


def ask(port: int, path: str) -> tuple[int, str]:
    with contextlib.suppress(OSError):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
                return answer.status, json.load(answer)["status"]
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()[:20]
    return 0, "no answer"


def test_the_app_is_made_for_many_brokers() -> None:
    app = make_app("x", "a:1,b:2")
    assert [str(url) for url in app.conf.broker] == ["kafka://a:1", "kafka://b:2"]


@pytest.mark.parametrize("setting", ["web_enabled", "topic_allow_declare", "stream_wait_empty"])
def test_what_must_be_off(setting: str) -> None:
    assert getattr(make_app("x", "a:1").conf, setting) is False
