"""Reading proto/topics.yaml: what is accepted, and what is said of what is not."""

from pathlib import Path

import pytest

from relaisctl.stack import StackError, TopicSpec, load_topics

GOOD = {"message": "bytes", "key": "id", "partitions": 2, "retention": "14d", "cleanup": "delete"}


def load(path: Path, **fields: object) -> list[TopicSpec]:
    lines = [f"    {name}: {value}" for name, value in {**GOOD, **fields}.items() if value != ""]
    path.write_text("topics:\n  some-events:\n" + "\n".join(lines))
    return load_topics(path)


def test_the_settings_of_a_topic_that_is_limited_in_time(tmp_path: Path) -> None:
    [spec] = load(tmp_path / "topics.yaml", consumers="[a, b]")
    assert spec.consumers == ("a", "b")
    assert spec.config() == {
        "cleanup.policy": "delete",
        "retention.ms": "1209600000",
        "max.message.bytes": "1048576",
    }


def test_a_compacted_topic_is_never_limited_in_time_nor_read_by_the_gigabyte(
    tmp_path: Path,
) -> None:
    [spec] = load(
        tmp_path / "topics.yaml", retention="forever", cleanup="compact", max_message_bytes=9
    )
    assert spec.config() == {
        "cleanup.policy": "compact",
        "retention.ms": "-1",
        "max.message.bytes": "9",
        "segment.bytes": "67108864",
    }


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("retention", "soon", "some-events: retention: 'soon' is neither forever nor like 14d"),
        ("retention", "", "some-events: retention: missing"),
        ("cleanup", "never", "some-events: cleanup: 'never' is neither delete nor compact"),
        ("partitions", 0, "some-events: partitions: 0 is not a positive whole number"),
        ("partitions", "many", "some-events: partitions: 'many' is not a positive whole number"),
        ("colour", "red", "some-events: colour: unknown field"),
    ],
)
def test_a_wrong_field_is_named_with_the_reason(
    tmp_path: Path, field: str, value: object, message: str
) -> None:
    with pytest.raises(StackError, match=message):
        load(tmp_path / "topics.yaml", **{field: value})


def test_our_own_topics_can_be_read() -> None:
    names = [spec.name for spec in load_topics()]
    assert "call-events" in names
    assert len(names) == len(set(names))
