"""proto/topics.yaml keeps its own rules, and says of messages and processes only what is true."""

import re
from collections import Counter
from typing import Any

import jsonschema
import pytest
import yaml

from relaisctl.stack.services import SERVICES
from relaisctl.stack.topics import TopicSpec, load_topics
from tests.contracts.contracts import BYTES, DEAD_LETTERS, PROTO, SNAPSHOTS, descriptor

TOPICS = load_topics()
ORIGINS = {topic.name: topic for topic in TOPICS if not topic.name.endswith(DEAD_LETTERS)}
DEAD_LETTER_TOPICS = [topic for topic in TOPICS if topic.name.endswith(DEAD_LETTERS)]
PROCESSES = {service.name for service in SERVICES}
OTHERS = {"relaisctl", "partner"}

# One hyphen between words and nothing else: Kafka's metrics cannot tell `.` from `_`.
NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")

SCHEMA = {
    "type": "object",
    "required": ["topics"],
    "additionalProperties": False,
    "properties": {
        "topics": {
            "propertyNames": {"pattern": f"^{NAME.pattern}$"},
            "additionalProperties": {
                "type": "object",
                "required": [
                    *("description", "message", "key", "partitions", "retention", "cleanup"),
                    *("producers", "consumers"),
                ],
                "additionalProperties": False,
                "properties": {
                    "description": {"type": "string", "pattern": r"\.$"},
                    "message": {"type": "string", "pattern": r"^(bytes|(\w+\.)+v\d+\.\w+)$"},
                    "key": {"type": "string"},
                    "partitions": {"type": "integer", "minimum": 1},
                    "retention": {"type": "string", "pattern": r"^(forever|\d+[smhd])$"},
                    "cleanup": {"enum": ["delete", "compact"]},
                    "max_message_bytes": {"type": "integer", "minimum": 1024},
                    "producers": {"$ref": "#/$defs/processes", "minItems": 1},
                    "consumers": {"$ref": "#/$defs/processes"},
                },
            },
        }
    },
    "$defs": {
        "processes": {
            "type": "array",
            "uniqueItems": True,
            "items": {"enum": sorted(PROCESSES | OTHERS)},
        }
    },
}


class UniqueKeys(yaml.SafeLoader):
    """YAML takes the last of two equal keys and says nothing; here they are an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        names = Counter(key.value for key, _ in node.value if key.value != "<<")
        repeated = [name for name, count in names.items() if count > 1]
        assert not repeated, f"{node.start_mark}: twice: {repeated}"
        return super().construct_mapping(node, deep)


def topics_yaml() -> dict[str, Any]:
    content: dict[str, Any] = yaml.load(
        (PROTO / "topics.yaml").read_text(encoding="utf-8"), UniqueKeys
    )
    return content


def test_file_has_its_schema() -> None:
    jsonschema.validate(topics_yaml(), SCHEMA)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("retension", "forever"),
        ("retention", "two weeks"),
        ("partitions", 0),
        ("cleanup", "compact,delete"),
        ("producers", []),
        ("consumers", ["analytics-lodaer"]),
        ("message", "CallEvent"),
    ],
)
def test_schema_refuses_mistakes(field: str, value: object) -> None:
    content = topics_yaml()
    content["topics"]["call-events"][field] = value
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(content, SCHEMA)


@pytest.mark.parametrize("name", ["call_events", "call.events", "Call-events", "call--events", "-"])
def test_schema_refuses_names(name: str) -> None:
    content = topics_yaml()
    content["topics"][name] = content["topics"]["call-events"]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(content, SCHEMA)


def test_every_process_has_a_part() -> None:
    named = {process for topic in TOPICS for process in (*topic.producers, *topic.consumers)}
    assert named == PROCESSES | OTHERS


@pytest.mark.parametrize("topic", ORIGINS.values(), ids=lambda topic: topic.name)
def test_message_is_generated_and_is_an_event(topic: TopicSpec) -> None:
    message = descriptor(topic.message)
    if topic.message in SNAPSHOTS:
        return
    meta = message.fields_by_name["meta"]
    assert meta.number == 1
    assert meta.message_type is descriptor("relais.event.v1.EventMeta")
    assert [oneof.name for oneof in message.oneofs] == ["body"]


def test_one_topic_one_message() -> None:
    used = Counter(topic.message for topic in ORIGINS.values())
    assert set(used.values()) == {1}, used


def test_events_are_kept_and_snapshots_compacted() -> None:
    compacted = {topic.message for topic in ORIGINS.values() if topic.cleanup == "compact"}
    assert compacted == SNAPSHOTS
    for topic in TOPICS:
        assert topic.cleanup == "delete" or topic.retention_ms is None, topic.name


def test_what_services_read_has_dead_letters() -> None:
    """A snapshot needs none: its reader takes an older one, or the log from its beginning."""
    read = {
        topic.name
        for topic in ORIGINS.values()
        if PROCESSES & set(topic.consumers) and topic.message not in SNAPSHOTS
    }
    assert {topic.name for topic in DEAD_LETTER_TOPICS} == {name + DEAD_LETTERS for name in read}


@pytest.mark.parametrize("topic", DEAD_LETTER_TOPICS, ids=lambda topic: topic.name)
def test_dead_letters_hold_what_their_origin_held(topic: TopicSpec) -> None:
    origin = ORIGINS[topic.name.removesuffix(DEAD_LETTERS)]
    assert topic.message == BYTES
    assert topic.max_message_bytes >= origin.max_message_bytes
    assert set(topic.producers) <= set(origin.consumers)
