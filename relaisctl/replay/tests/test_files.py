"""Files that are none, or not what they should be; and lines of any length and encoding."""

import csv
from datetime import date
from pathlib import Path

import pytest

from relaisctl.replay.anonymous_bank import MAX_LINE, Call, Reject
from relaisctl.replay.files import FileError, Reading, read_files, size_of, write_rejects
from relaisctl.replay.tests.rows import HEADER, line

TODAY = date(2020, 1, 1)
NOISE = bytes(range(1, 10)) + bytes(range(11, 256))


def read(*paths: Path) -> Reading:
    return read_files(paths, TODAY, lambda size, rows: None)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "the file is empty"),
        (b"\r\n  \r\n", "the file is empty"),
        ((HEADER + "\n").encode("utf-16"), "save it as UTF-8"),
        (b"\x7fELF\0\0\0", "is no text"),
        (b"age;job;y\n56;housemaid;no\n", "neither the header nor a call: 'age;job;y'"),
        (NOISE * 20_000, "neither the header nor a call"),
    ],
)
def test_a_file_that_is_something_else(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "file.txt"
    path.write_bytes(content)
    with pytest.raises(FileError) as caught:
        read(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert reason in message
    assert "\n" not in message
    assert len(message) < len(str(path)) + 300


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="nowhere: no such file"):
        size_of([tmp_path / "nowhere"])
    with pytest.raises(FileError, match="is a directory"):
        read(tmp_path)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_line_ends_and_marks(tmp_path: Path, end: str, mark: bytes) -> None:
    path = tmp_path / "file.txt"
    path.write_bytes(mark + end.join([HEADER, line(), line(call="51008"), ""]).encode())
    assert read(path).rows == len(read(path).calls) == 2


def test_noise_between_calls_costs_only_itself(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    rows = [HEADER.encode(), line().encode(), NOISE * 4_000, b"x" * 5_000_000, line().encode()]
    path.write_bytes(b"\n".join(rows))
    reading = read(path)
    assert len(reading.calls) == 2
    assert all(isinstance(call, Call) for call in reading.calls)
    # A carriage return ends a line too, and the noise has one every 254 bytes.
    assert reading.rejected["longer than 4096 characters"] == 1
    assert max(len(reject.raw) for _, reject in reading.rejects) == MAX_LINE
    assert reading.rows == 2 + len(reading.rejects)


def test_several_files_and_the_rejects(tmp_path: Path) -> None:
    one, two = tmp_path / "one.txt", tmp_path / "two.txt"
    one.write_text("\n".join([HEADER, line(), line(outcome="?")]))
    two.write_text("\n".join([HEADER, line(server=" A "), line(type="")]))
    seen: list[tuple[int, int]] = []
    reading = read_files([one, two], TODAY, lambda size, rows: seen.append((size, rows)))
    assert (reading.rows, len(reading.calls), reading.mended_rows) == (4, 2, 1)
    assert reading.mended == {"blanks, quotes or small letters": 1}
    assert reading.rejected == {"outcome: none of AGENT, HANG, PHANTOM": 1, "type: empty": 1}
    assert seen[-1] == (size_of([one, two]), 4)

    target = tmp_path / "new" / "rejects.tsv"
    write_rejects(target, reading.rejects)
    with target.open(newline="") as lines:
        rows = list(csv.DictReader(lines, dialect="excel-tab"))
    assert [(row["file"], row["line"], row["field"]) for row in rows] == [
        (str(one), "3", "outcome"),
        (str(two), "3", "type"),
    ]
    assert rows[1]["row"] == line(type="")
    assert isinstance(reading.rejects[0][1], Reject)
