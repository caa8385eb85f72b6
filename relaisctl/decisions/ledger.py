"""Decided once more, and published: what is the same, and what is not. Pure.

Of each decision the ledger keeps 25 bytes (hashes of its id and of its bytes, the command's offset,
a mark), so that a log of millions fits. That two different contents have the same hash happens once
in 2**64.
"""

from array import array
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from eventkit.records import Record

MASK = (1 << 64) - 1
_IDENTICAL, _DIFFERENT = 1, 2


class Kind(StrEnum):
    DIFFERENT = "different"
    """Published with another content."""
    MISSING = "missing"
    """Decided, and not published."""
    EXTRA = "extra"
    """Published, and not decided here. Whether it had to be is not the ledger's to say."""


@dataclass(frozen=True, slots=True)
class Difference:
    """published: the record, unless it is missing. offset: of the command, unless it is extra."""

    kind: Kind
    event_id: str = ""
    published: Record | None = None
    offset: int = -1
    number: int = -1
    """The ledger's, unless it is extra."""


class Names:
    """Ids of which there are many. `seal` comes between the last `add` and the first look."""

    def __init__(self) -> None:
        self._hashes = array("Q")

    def add(self, name: str) -> None:
        self._hashes.append(hash(name) & MASK)

    def seal(self) -> None:
        self._hashes = array("Q", sorted(self._hashes))

    def __contains__(self, name: str) -> bool:
        sought = hash(name) & MASK
        place = bisect_left(self._hashes, sought)
        return place < len(self._hashes) and self._hashes[place] == sought


class Ledger:
    """First everything that has been decided, then `seal`, then everything that was published."""

    def __init__(self) -> None:
        self._ids = array("Q")
        self._prints = array("Q")
        self._offsets = array("q")
        self._order: array[int] = array("Q")
        self._sorted: array[int] = array("Q")
        self._marks = bytearray()
        self.repeats = 0
        """Published once more, and the same."""

    def __len__(self) -> int:
        return len(self._ids)

    def decided(
        self, event_id: str, topic: str, key: bytes | None, value: bytes | None, offset: int
    ) -> int:
        """offset: of the command that leads to it. Returns its number."""
        self._ids.append(hash(event_id) & MASK)
        self._prints.append(hash((topic, key, value)) & MASK)
        self._offsets.append(offset)
        return len(self._ids) - 1

    def seal(self) -> None:
        ids = self._ids
        self._order = array("Q", sorted(range(len(ids)), key=ids.__getitem__))
        self._sorted = array("Q", map(ids.__getitem__, self._order))
        self._marks = bytearray(len(ids))

    def published(self, event_id: str, record: Record) -> Difference | None:
        """None: it is what was decided."""
        numbers = self._numbers(event_id)
        found = hash((record.topic, record.key, record.value)) & MASK
        # Several: a report that was put into the log twice, and went on to another pool twice.
        same = [number for number in numbers if self._prints[number] == found]
        if same:
            self.repeats += self._marks[same[0]] & _IDENTICAL
            for number in same:
                self._marks[number] |= _IDENTICAL
            return None
        if not numbers:
            return Difference(Kind.EXTRA, event_id, record)
        number = min(numbers, key=lambda each: self._marks[each])
        self._marks[number] |= _DIFFERENT
        return Difference(Kind.DIFFERENT, event_id, record, self._offsets[number], number)

    def identical(self) -> int:
        return self._marks.count(_IDENTICAL)

    def different(self) -> int:
        return sum(self._marks.count(mark) for mark in (_DIFFERENT, _DIFFERENT | _IDENTICAL))

    def last_offset(self) -> int:
        """Of the last command of which anything was published; -1: of none."""
        return max(
            (o for o, mark in zip(self._offsets, self._marks, strict=True) if mark), default=-1
        )

    def unpublished(self) -> Iterator[Difference]:
        """In the order of the commands."""
        for number, mark in enumerate(self._marks):
            if not mark:
                yield Difference(Kind.MISSING, offset=self._offsets[number], number=number)

    def _numbers(self, event_id: str) -> list[int]:
        sought = hash(event_id) & MASK
        place, numbers = bisect_left(self._sorted, sought), []
        while place < len(self._sorted) and self._sorted[place] == sought:
            numbers.append(self._order[place])
            place += 1
        return numbers


def field_differences(one: Any, other: Any, path: str = "") -> list[tuple[str, Any, Any]]:
    """Where two JSON documents are not the same: the path, and both values; None: nothing there."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        found = []
        for name in dict.fromkeys((*one, *other)):
            below = f"{path}.{name}" if path else name
            found += field_differences(one.get(name), other.get(name), below)
        return found
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        return [
            each
            for number, pair in enumerate(zip(one, other, strict=True))
            for each in field_differences(*pair, f"{path}[{number}]")
        ]
    return [] if one == other else [(path, one, other)]
