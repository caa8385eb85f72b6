"""Complaints as other systems export them: a CSV file to rows whose dates can be trusted, or not.

The file has one row a ticket, numbered in the order in which they came in, and dates of which some
have day and month swapped, as spreadsheets do to 22-04 and 04-05 alike when they read them as the
other country's. A date is put right where the file itself proves it (`_settle`), is said to be
uncertain where it does not, and is never guessed. Nothing here names a value: it may be personal.
"""

import csv
import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time
from enum import StrEnum
from pathlib import Path
from zoneinfo import ZoneInfo

from relaisctl.errors import InputError

TICKET, TEXT, DATE, DATE_AGAIN, TIME = (
    *("Ticket #", "Customer Complaint", "Date", "Date_month_year", "Time"),
)
VIA, CITY, STATE, ZIP, STATUS, BEHALF = (
    *("Received Via", "City", "State", "Zip code", "Status"),
    "Filing on Behalf of Someone",
)
COLUMNS = (TICKET, TEXT, DATE, DATE_AGAIN, TIME, VIA, CITY, STATE, ZIP, STATUS, BEHALF)
MAX_TEXT = 10_000
MIN_ANCHORS = 20
"""Rows whose date has one reading only, from which on their order proves anything."""

CHANNELS = {"customer care call": "voice", "internet": "web"}
STATES = {
    "open": (False, False),
    "pending": (True, False),
    "closed": (False, True),
    "solved": (False, True),
}
"""acknowledged, closed. A pending one is with somebody, so the customer has heard of us. Whether a
closed or solved one was justified the file does not say, so they are closed without a verdict."""


class DateKind(StrEnum):
    """What is known of a row's date."""

    AS_WRITTEN = "as written"
    BY_MONTH = "put right by month"
    """As written it lies in a month in which the file has no date that can be read in one way only;
    swapped it lies in one that has, and where the tickets before and after it are."""
    BY_TICKET = "put right by ticket"
    """Both readings lie in such months; only the swapped one lies between its neighbours."""
    UNCERTAIN = "uncertain"
    """Nothing proves either reading: it is taken as it is written."""


@dataclass(frozen=True, slots=True)
class Row:
    """One ticket. line: of the file, the header is 1. at: on the wall of the file's clock."""

    line: int
    reference: str
    text: str
    at: datetime
    channel: str
    place: str
    status: str
    acknowledged: bool
    closed: bool
    on_behalf: bool
    date_kind: DateKind = DateKind.AS_WRITTEN

    @property
    def is_corrected(self) -> bool:
        return self.date_kind in (DateKind.BY_MONTH, DateKind.BY_TICKET)

    @property
    def as_written(self) -> datetime:
        """`at` before day and month were put right."""
        return _swapped(self.at) if self.is_corrected else self.at


@dataclass(frozen=True, slots=True)
class Bad:
    """A row that cannot be taken: the column that is at fault, and why."""

    line: int
    field: str
    reason: str


def read(path: Path) -> tuple[list[Row], list[Bad]]:
    """All rows, each in one of the two lists, in the file's order. Raises InputError for a file
    that cannot be read or is of another kind."""
    rows: list[Row] = []
    bad: list[Bad] = []
    seen: dict[str, int] = {}
    for line, record in _records(path):
        try:
            row = _row(line, record)
            if row.reference in seen:
                raise _Bad(TICKET, f"line {seen[row.reference]} has it already")
        except _Bad as error:
            bad.append(Bad(line, error.field, error.reason))
        else:
            seen[row.reference] = line
            rows.append(row)
    return _settle(rows), bad


def moment(row: Row, zone: ZoneInfo) -> datetime:
    """When it was made, UTC; of an hour that comes twice, the first. Raises ValueError for a time
    that the zone's clocks left out."""
    local = row.at.replace(tzinfo=zone)
    utc = local.astimezone(UTC)
    if utc.astimezone(zone).replace(tzinfo=None) != row.at:
        raise ValueError("does not exist in this zone: its clocks went forward")
    return utc


class _Bad(Exception):
    def __init__(self, field: str, reason: str) -> None:
        super().__init__(reason)
        self.field = field
        self.reason = reason


def _records(path: Path) -> Iterator[tuple[int, dict[str, str | None]]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
            if missing:
                raise InputError(f"{path}: no column {', '.join(missing)}")
            before = reader.line_num
            for record in reader:
                yield before + 1, record
                before = reader.line_num
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8") from error
    except csv.Error as error:
        raise InputError(f"{path}: not CSV") from error


def _row(line: int, record: dict[str, str | None]) -> Row:
    if None in record or None in record.values():
        raise _Bad("", f"not {len(COLUMNS)} columns")
    value = {name: (record[name] or "").strip() for name in COLUMNS}
    if not re.fullmatch(r"[0-9]{1,18}", value[TICKET]):
        raise _Bad(TICKET, "not a number")
    if not value[TEXT]:
        raise _Bad(TEXT, "missing")
    if len(value[TEXT]) > MAX_TEXT:
        raise _Bad(TEXT, f"more than {MAX_TEXT} characters")
    status = value[STATUS].lower()
    if status not in STATES:
        raise _Bad(STATUS, "not one of Open, Pending, Closed, Solved")
    if value[BEHALF].lower() not in ("yes", "no"):
        raise _Bad(BEHALF, "neither Yes nor No")
    acknowledged, closed = STATES[status]
    return Row(
        line=line,
        reference=value[TICKET],
        text=value[TEXT],
        at=datetime.combine(_date(value[DATE], value[DATE_AGAIN]), _time(value[TIME])),
        channel=CHANNELS.get(value[VIA].lower(), "import"),
        place=", ".join(filter(None, (value[CITY], f"{value[STATE]} {value[ZIP]}".strip()))),
        status=status,
        acknowledged=acknowledged,
        closed=closed,
        on_behalf=value[BEHALF].lower() == "yes",
    )


_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")


def _date(written: str, again: str) -> date:
    """The date as it is written, twice: 22-04-2015 and 22-Apr-15."""
    numbers = re.fullmatch(r"(\d{1,2})-(\d{1,2})-(\d{4})", written)
    if numbers is None:
        raise _Bad(DATE, "not of the form 22-04-2015")
    day, month, year = map(int, numbers.groups())
    named = re.fullmatch(r"(\d{1,2})-([A-Za-z]{3})-(\d{2})", again)
    if named is None or named[2].lower() not in _MONTHS:
        raise _Bad(DATE_AGAIN, "not of the form 22-Apr-15")
    same = (int(named[1]), _MONTHS.index(named[2].lower()) + 1, int(named[3]))
    if same != (day, month, year % 100):
        raise _Bad(DATE_AGAIN, f"another date than {DATE}")
    try:
        return date(year, month, day)
    except ValueError:
        raise _Bad(DATE, "no such day") from None


def _time(written: str) -> time:
    parts = re.fullmatch(r"(\d{1,2}):(\d{2}):(\d{2}) ([AP])M", written, re.IGNORECASE)
    if parts is None or not 1 <= int(parts[1]) <= 12:
        raise _Bad(TIME, "not of the form 03:53:50 PM")
    hour = int(parts[1]) % 12 + (12 if parts[4].upper() == "P" else 0)
    try:
        return time(hour, int(parts[2]), int(parts[3]))
    except ValueError:
        raise _Bad(TIME, "no such time") from None


# Dates that may be swapped.


def _swapped(at: datetime) -> datetime:
    return at.replace(month=at.day, day=at.month)


def _has_one_reading(at: datetime) -> bool:
    return at.day > 12 or at.day == at.month


def _settle(rows: Sequence[Row]) -> list[Row]:
    """Put right what is certainly swapped.

    Anchors are the rows whose date can be read in one way only. If they are in the same order as
    their ticket numbers, all of them, then the numbers were given in order, and every other row has
    its place between two anchors. A reading is possible if it lies there. A month is known if an
    anchor lies in it. Swapped for certain is
      - what is possible swapped, and is not as it is written;
      - what is possible both ways (before the first anchor or after the last there is but one
        neighbour), but is of no known month as it is written, and of a known one swapped.
    """
    anchors = sorted((int(row.reference), row.at) for row in rows if _has_one_reading(row.at))
    times = [at for _, at in anchors]
    is_proof = len(anchors) >= MIN_ANCHORS and times == sorted(times)
    tickets = [ticket for ticket, _ in anchors]
    known = {(at.year, at.month) for at in times}

    def settled(row: Row) -> Row:
        if _has_one_reading(row.at):
            return row
        if not is_proof:
            return replace(row, date_kind=DateKind.UNCERTAIN)
        place = bisect_left(tickets, int(row.reference))
        earliest = times[place - 1] if place else datetime.min
        latest = times[place] if place < len(times) else datetime.max
        written, swapped = row.at, _swapped(row.at)
        written_is_possible = earliest <= written <= latest
        is_of_known_month = (written.year, written.month) in known
        if not earliest <= swapped <= latest:
            kind = DateKind.AS_WRITTEN if written_is_possible else DateKind.UNCERTAIN
            return replace(row, date_kind=kind)
        if not is_of_known_month and (swapped.year, swapped.month) in known:
            return replace(row, at=swapped, date_kind=DateKind.BY_MONTH)
        if not written_is_possible:
            return replace(row, at=swapped, date_kind=DateKind.BY_TICKET)
        return replace(row, date_kind=DateKind.UNCERTAIN)

    return [settled(row) for row in rows]
