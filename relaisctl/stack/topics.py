"""proto/topics.yaml: read it, create the topics that are missing, verify those that exist."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, for_code

from relaisctl.stack.errors import StackError, TopicMismatchError
from relaisctl.stack.kafka import run_sync
from relaisctl.stack.settings import ROOT

TOPICS_YAML = ROOT / "proto" / "topics.yaml"
DEFAULT_MAX_MESSAGE_BYTES = 1_048_576
# The newest segment is never compacted: of Kafka's default, 1 GiB would be read at each start.
COMPACTED_SEGMENT_BYTES = 67_108_864
UNIT_MS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


@dataclass(frozen=True)
class TopicSpec:
    """One topic. `retention_ms` is None for forever; `message` is a protobuf name, or "bytes"."""

    name: str
    message: str
    key: str
    partitions: int
    retention_ms: int | None
    cleanup: str
    max_message_bytes: int = DEFAULT_MAX_MESSAGE_BYTES
    producers: tuple[str, ...] = ()
    consumers: tuple[str, ...] = ()
    description: str = field(default="", compare=False)

    def config(self) -> dict[str, str]:
        """Kafka's own names and values."""
        config = {
            "cleanup.policy": self.cleanup,
            "retention.ms": str(-1 if self.retention_ms is None else self.retention_ms),
            "max.message.bytes": str(self.max_message_bytes),
        }
        if self.cleanup == "compact":
            config["segment.bytes"] = str(COMPACTED_SEGMENT_BYTES)
        return config


@dataclass(frozen=True)
class TopicsReport:
    """`unverified` names topics and settings that the broker does not tell about."""

    created: tuple[str, ...]
    existing: tuple[str, ...]
    unverified: tuple[str, ...]


def load_topics(path: Path = TOPICS_YAML) -> list[TopicSpec]:
    """Every topic of the file, in its order. Raises StackError naming topic, field and reason."""
    topics = yaml.safe_load(path.read_text())["topics"]
    return [_spec(name, fields) for name, fields in topics.items()]


def _spec(name: str, fields: dict[str, Any]) -> TopicSpec:
    def wrong(what: str, reason: str) -> StackError:
        return StackError(f"topics.yaml: {name}: {what}: {reason}")

    known = set(TopicSpec.__dataclass_fields__) - {"name", "retention_ms"} | {"retention"}
    if unknown := set(fields) - known:
        raise wrong(", ".join(sorted(unknown)), "unknown field")
    required = {"message", "key", "partitions", "retention", "cleanup"}
    if missing := required - set(fields):
        raise wrong(", ".join(sorted(missing)), "missing")
    if fields["cleanup"] not in ("delete", "compact"):
        raise wrong("cleanup", f"{fields['cleanup']!r} is neither delete nor compact")
    for number in ("partitions", "max_message_bytes"):
        value = fields.get(number, 1)
        if not isinstance(value, int) or value < 1:
            raise wrong(number, f"{value!r} is not a positive whole number")
    length = re.fullmatch(r"(\d+)([smhd])", str(fields["retention"]))
    if length is None and fields["retention"] != "forever":
        raise wrong(
            "retention", f"{fields['retention']!r} is neither forever nor like 14d, 12h, 30m"
        )
    return TopicSpec(
        name=name,
        message=fields["message"],
        key=fields["key"],
        partitions=fields["partitions"],
        retention_ms=int(length[1]) * UNIT_MS[length[2]] if length else None,
        cleanup=fields["cleanup"],
        max_message_bytes=fields.get("max_message_bytes", DEFAULT_MAX_MESSAGE_BYTES),
        producers=tuple(fields.get("producers", ())),
        consumers=tuple(fields.get("consumers", ())),
        description=fields.get("description", ""),
    )


def ensure_topics(
    bootstrap: str, specs: Sequence[TopicSpec], *, replication_factor: int = 1
) -> TopicsReport:
    """Verify what exists, then create what is missing; changes no topic that exists.

    Raises TopicMismatchError with every difference, StackError if the broker refuses one.
    """
    return run_sync(_ensure_topics(bootstrap, specs, replication_factor))


async def _ensure_topics(
    bootstrap: str, specs: Sequence[TopicSpec], replication_factor: int
) -> TopicsReport:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap, request_timeout_ms=30_000)
    try:
        await admin.start()
        present = set(await admin.list_topics())
        missing = [spec for spec in specs if spec.name not in present]
        existing = [spec for spec in specs if spec.name in present]
        unverified = await _verify(admin, existing)
        await _create(admin, missing, replication_factor)
    except (KafkaError, OSError) as error:
        raise StackError(f"topics on {bootstrap}: {error!r}") from error
    finally:
        await admin.close()
    return TopicsReport(
        created=tuple(spec.name for spec in missing),
        existing=tuple(spec.name for spec in existing),
        unverified=unverified,
    )


async def _create(
    admin: AIOKafkaAdminClient, specs: Sequence[TopicSpec], replication_factor: int
) -> None:
    if not specs:
        return
    new = [
        NewTopic(spec.name, spec.partitions, replication_factor, topic_configs=spec.config())
        for spec in specs
    ]
    for name, code, *message in (await admin.create_topics(new)).topic_errors:
        error = for_code(code)
        if code and error is not TopicAlreadyExistsError:  # somebody else may have been faster
            raise StackError(f"topic {name} cannot be created: {error.__name__} {message}")


async def _verify(admin: AIOKafkaAdminClient, specs: Sequence[TopicSpec]) -> tuple[str, ...]:
    if not specs:
        return ()
    described = await admin.describe_topics([spec.name for spec in specs])
    partitions = {topic["topic"]: len(topic["partitions"]) for topic in described}
    configs = await _configs(admin, specs)
    differences, unverified = [], []
    for spec in specs:
        wanted = {"partitions": str(spec.partitions), **spec.config()}
        found = {"partitions": str(partitions[spec.name]), **configs.get(spec.name, {})}
        if unknown := [setting for setting in wanted if setting not in found]:
            unverified.append(f"{spec.name} ({', '.join(unknown)})")
        differences += [
            f"{spec.name}: {setting} is {found[setting]}, topics.yaml says {value}"
            for setting, value in wanted.items()
            if setting in found and found[setting] != value
        ]
    if differences:
        raise TopicMismatchError("topics differ from topics.yaml: " + "; ".join(differences))
    return tuple(unverified)


async def _configs(
    admin: AIOKafkaAdminClient, specs: Sequence[TopicSpec]
) -> dict[str, dict[str, str]]:
    wanted = [
        ConfigResource(ConfigResourceType.TOPIC, spec.name)  # all: Tansu fails on a list of names
        for spec in specs
    ]
    found: dict[str, dict[str, str]] = {}
    for response in await admin.describe_configs(wanted):
        for resource in response.to_object()["resources"]:
            found[resource["resource_name"]] = {
                entry["config_names"]: entry["config_value"] for entry in resource["config_entries"]
            }
    return found
