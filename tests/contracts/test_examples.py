"""Golden events: each decodes strictly, every kind of event has one, none is ever taken away."""

import json
from pathlib import Path

import pytest
from google.protobuf import json_format
from google.protobuf.message import Message

from relaisctl.stack.topics import TopicSpec, load_topics
from tests.contracts.contracts import (
    BYTES,
    EXAMPLES,
    ROOT,
    SNAPSHOTS,
    examples,
    git,
    message_class,
)

TOPICS = {topic.name: topic for topic in load_topics() if topic.message != BYTES}
EVENTS = [topic for topic in TOPICS.values() if topic.message not in SNAPSHOTS]
FILES = [path for topic in TOPICS for path in examples(topic)]


def decode(path: Path) -> Message:
    """Raises json_format.ParseError on a field that the contract does not have."""
    message = message_class(TOPICS[path.parent.name].message)()
    return json_format.Parse(path.read_text(encoding="utf-8"), message)


def test_every_folder_is_a_topic_and_every_topic_has_one() -> None:
    assert {path.name for path in EXAMPLES.iterdir()} == set(TOPICS)
    assert sorted(EXAMPLES.glob("*/*")) == sorted(FILES), "an example is <topic>/<name>.json"


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_example_decodes_and_says_nothing_else(path: Path) -> None:
    message = decode(path)
    assert type(message).FromString(message.SerializeToString()) == message
    text = path.read_text(encoding="utf-8")
    assert json_format.MessageToDict(message, preserving_proto_field_name=True) == json.loads(text)


@pytest.mark.parametrize("topic", EVENTS, ids=lambda topic: topic.name)
def test_every_kind_of_event_has_an_example(topic: TopicSpec) -> None:
    kinds = {field.name for field in message_class(topic.message).DESCRIPTOR.oneofs[0].fields}
    shown = {decode(path).WhichOneof("body") for path in examples(topic.name)}
    assert shown == kinds


@pytest.mark.parametrize("topic", EVENTS, ids=lambda topic: topic.name)
def test_examples_have_the_whole_envelope(topic: TopicSpec) -> None:
    for path in examples(topic.name):
        meta = json.loads(path.read_text(encoding="utf-8"))["meta"]
        needed = {"event_id", "stream_id", "client_id", "occurred_at", "recorded_at"}
        assert needed <= set(meta), path


def test_no_example_was_taken_away() -> None:
    deleted = git(
        *("log", "--no-renames", "--diff-filter=D", "--name-only", "--format="),
        *("--", "proto/examples"),
    )
    missing = [name for name in set(deleted.split()) if not (ROOT / name).exists()]
    assert not missing, "old events are still in the topics: their examples stay"
