"""Recorded files from the disk, and the file of what could not be read."""

import codecs
import csv
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from io import TextIOWrapper
from pathlib import Path
from typing import BinaryIO

from relaisctl.errors import InputError
from relaisctl.replay.anonymous_bank import (
    MAX_LINE,
    Call,
    Mended,
    Reject,
    WrongFormatError,
    read_file,
)

_HEAD = 4096
_WIDE = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)
REJECTS_HEADER = ("file", "line", "field", "reason", "row")


class FileError(InputError):
    """A file that cannot be used at all. The message is one line and names the file."""


@dataclass
class Reading:
    """What files hold."""

    rows: int = 0
    calls: list[Call] = field(default_factory=list)
    mended_rows: int = 0
    mended: Counter[str] = field(default_factory=Counter)
    """Rows by kind of mending; a row may count under several kinds."""
    rejects: list[tuple[Path, Reject]] = field(default_factory=list)

    @property
    def rejected(self) -> Counter[str]:
        """Rows by field and reason."""
        return Counter(
            f"{reject.field}: {reject.reason}" if reject.field else reject.reason
            for _, reject in self.rejects
        )


Progress = Callable[[int, int], None]
"""Is told how many bytes of all files, and how many rows, have been read."""


def size_of(paths: Sequence[Path]) -> int:
    """Bytes of all files together. Raises FileError."""
    try:
        return sum(path.stat().st_size for path in paths)
    except OSError as error:
        raise _trouble(Path(error.filename), error) from error


def read_files(paths: Sequence[Path], latest: date, progress: Progress) -> Reading:
    """All rows of all files. No call can be later than `latest`. Raises FileError."""
    reading = Reading()
    done = 0
    for path in paths:
        first_reject = len(reading.rejects)
        try:
            with path.open("rb") as binary:
                _check_text(path, binary)
                for row in read_file(bounded_lines(binary), latest):
                    _take(reading, path, row)
                    if reading.rows % 500 == 0:
                        progress(done + binary.tell(), reading.rows)
                done += binary.tell()
        except OSError as error:
            raise _trouble(path, error) from error
        except WrongFormatError as error:
            raise FileError(f"{path}: {error}") from error
        # A row without a date waits for the next call, so it may come behind a later one.
        reading.rejects[first_reject:] = sorted(
            reading.rejects[first_reject:], key=lambda reject: reject[1].line
        )
        progress(done, reading.rows)
    return reading


def _take(reading: Reading, path: Path, row: Call | Mended | Reject) -> None:
    reading.rows += 1
    if isinstance(row, Reject):
        reading.rejects.append((path, row))
    elif isinstance(row, Mended):
        reading.mended_rows += 1
        reading.mended.update(row.what)
        reading.calls.append(row.call)
    else:
        reading.calls.append(row)


def bounded_lines(binary: BinaryIO) -> Iterator[str]:
    """Lines of a text with any line ends. What is no UTF-8 shows as an escape; of a line longer
    than MAX_LINE characters only the beginning is kept, one character more than the limit."""
    text = TextIOWrapper(binary, encoding="utf-8-sig", errors="backslashreplace")
    while line := text.readline(MAX_LINE + 1):
        rest = line
        while rest and not rest.endswith("\n") and len(rest) > MAX_LINE:
            rest = text.readline(MAX_LINE + 1)
        yield line
    text.detach()  # the file belongs to the caller


def _check_text(path: Path, binary: BinaryIO) -> None:
    head = binary.read(_HEAD)
    binary.seek(0)
    if head.startswith(_WIDE):
        raise FileError(f"{path}: is UTF-16 or UTF-32; save it as UTF-8")
    if b"\0" in head:
        raise FileError(f"{path}: is no text")


def _trouble(path: Path, error: OSError) -> FileError:
    return FileError(f"{path}: {(error.strerror or str(error)).lower()}")


def write_rejects(target: Path, rejects: Sequence[tuple[Path, Reject]]) -> None:
    """Tab-separated, quoted where needed, one header. Raises FileError."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("w", encoding="utf-8", errors="backslashreplace", newline="") as out:
            writer = csv.writer(out, dialect="excel-tab", lineterminator="\n")
            writer.writerow(REJECTS_HEADER)
            for path, reject in rejects:
                writer.writerow([path, reject.line, reject.field, reject.reason, reject.raw])
    except OSError as error:
        raise _trouble(target, error) from error
