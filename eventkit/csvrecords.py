"""CSV as people make it, record by record, in constant memory: UTF-8 with or without a BOM, the
delimiter that its header has, lines that are broken.

    records = CsvRecords(file)     # reads the header; raises InvalidMessage where there is none
    for each in records:           # Record(line, cells) or Broken(line, reason)
        ...

A record may span lines where a field in quotes does. Of what cannot be read the first line is
reported, and reading goes on with the next one: a quote that is never closed costs its line alone.
"""

import csv
import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from eventkit.errors import InvalidMessage

MAX_LINE = 64 << 10
"""Bytes."""
MAX_SPAN = 20
"""Lines of one record."""
BOM = b"\xef\xbb\xbf"
DELIMITERS = ",;\t|"


@dataclass(frozen=True, slots=True)
class Record:
    """line: the number of its first line, from 1. cells: as many as the header has."""

    line: int
    cells: list[str]


@dataclass(frozen=True, slots=True)
class Broken:
    """A line that cannot be read, and why."""

    line: int
    reason: str


class CsvRecords:
    """header: its cells. header_line: its number. position: bytes read so far."""

    def __init__(self, file: BinaryIO) -> None:
        self._lines = _Lines(file)
        first = self._lines.take()
        while first is not None and isinstance(first[1], str) and not first[1].strip():
            first = self._lines.take()
        if first is None:
            raise InvalidMessage("", "the file is empty")
        self.header_line, line = first
        if isinstance(line, Broken):
            raise InvalidMessage("", f"line {line.line}: {line.reason}")
        self._delimiter = _delimiter(line)
        header = _parsed([line], self._delimiter)
        if header is None:
            raise InvalidMessage(
                "", f"line {self.header_line}: a quote in the header is not closed"
            )
        self.header = header

    @property
    def position(self) -> int:
        return self._lines.position

    def __iter__(self) -> Iterator[Record | Broken]:
        while (taken := self._lines.take()) is not None:
            number, line = taken
            if isinstance(line, Broken):
                yield line
            elif line.strip():
                yield self._record(number, line)

    def _record(self, number: int, line: str) -> Record | Broken:
        columns = len(self.header)
        if '"' not in line:  # as nearly all are: ten times as fast as csv for one line
            cells: list[str] | None = line.rstrip("\r\n").split(self._delimiter)
            following: list[tuple[int, str | Broken]] = []
        else:
            cells, following = self._quoted(line)
        if cells is not None:
            while len(cells) > columns and not cells[-1].strip():
                cells.pop()
            if len(cells) == columns:
                return Record(number, cells)
        self._lines.give_back(following)
        if cells is None or following:
            return Broken(number, "a quote is not closed, or is in the middle of a field")
        return Broken(number, f"has {len(cells)} columns, the header has {columns}")

    def _quoted(self, line: str) -> tuple[list[str] | None, list[tuple[int, str | Broken]]]:
        """The cells of the record that begins here, and the lines after the first that it took."""
        spanned = [line]
        following: list[tuple[int, str | Broken]] = []
        while sum(each.count('"') for each in spanned) % 2 and len(spanned) < MAX_SPAN:
            taken = self._lines.take()
            if taken is None:
                break
            following.append(taken)
            if isinstance(taken[1], Broken):
                return None, following
            spanned.append(taken[1])
        return _parsed(spanned, self._delimiter), following


class _Lines:
    """Decoded lines with their numbers; broken ones are said to be, and what was looked at may be
    given back."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._number = 0
        self._again: deque[tuple[int, str | Broken]] = deque()
        self.position = 0

    def take(self) -> tuple[int, str | Broken] | None:
        if self._again:
            return self._again.popleft()
        data = self._file.readline(MAX_LINE)
        if not data:
            return None
        self.position += len(data)
        self._number += 1
        if len(data) == MAX_LINE and not data.endswith(b"\n"):
            while rest := self._file.readline(MAX_LINE):
                self.position += len(rest)
                if rest.endswith(b"\n"):
                    break
            return self._number, Broken(self._number, f"is longer than {MAX_LINE:,} bytes")
        if self._number == 1:
            data = data.removeprefix(BOM)
        try:
            return self._number, data.decode()
        except UnicodeDecodeError:
            return self._number, Broken(self._number, "is not UTF-8")

    def give_back(self, lines: list[tuple[int, str | Broken]]) -> None:
        self._again.extendleft(reversed(lines))


def _parsed(lines: list[str], delimiter: str) -> list[str] | None:
    """The cells of one record; None where the quotes do not fit."""
    try:
        records = list(csv.reader(lines, delimiter=delimiter, strict=True))
    except csv.Error:
        return None
    return records[0] if len(records) == 1 else None


def _delimiter(header: str) -> str:
    """What is most often outside of quotes."""
    outside = re.sub(r'"[^"]*"', "", header)
    return max(DELIMITERS, key=outside.count)
