"""The format "bank-marketing": what a row says, and how certain that is. Pure.

A bank's telesales calls (Moro, Cortez, Rita 2014): one row is the last contact of a customer in a
campaign, with how many attempts that campaign made. The rows are in order of date, but a row names
only its month and weekday: the year goes up where the months begin again.

A row is rejected only when one of COLUMNS cannot be read. Whatever else is wrong is mended, and
said. The other columns (age, job, the economy) are not used, and may be missing.
"""

import calendar
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

COLUMNS: Final = ("contact", "month", "day_of_week", "duration", "campaign", "poutcome", "y")
TIME_ZONE: Final = "Europe/Lisbon"
FIRST_YEAR: Final = 2008
"""Of the first row: the file's own documentation says May 2008 to November 2010."""
DAY_S: Final = 24 * 3600
MAX_ATTEMPTS: Final = 999

CONTACTS: Final = ("cellular", "telephone", "unknown")
OUTCOMES: Final = ("nonexistent", "failure", "success", "other", "unknown")
_MONTHS: Final = [name.lower() for name in calendar.month_name]
_WEEKDAYS: Final = [name.lower() for name in calendar.day_name]
_YES: Final = {"yes": True, "no": False}
_NUMBER: Final = re.compile(r"(\d{1,9})(\.0{1,6})?", re.ASCII)
_AROUND: Final = " \t\r\n\v\f\u00a0\u200b\ufeff\"'"

# The kinds of mending, as the summary counts them.
TRIMMED: Final = "blanks, quotes or capitals"
FULL_NAME: Final = "month or weekday in full"
NUMBER_FORMAT: Final = "number with decimals"


@dataclass(frozen=True, slots=True)
class Row:
    """The last contact of a customer in a campaign.

    month 1..12; weekday 0 (Monday) .. 6; attempts: of the campaign, this one among them; talked_s:
    0 where nobody was reached; earlier: how an earlier campaign ended; same: the row's text
    """

    contact: str
    month: int
    weekday: int
    talked_s: int
    attempts: int
    earlier: str
    sold: bool
    same: str


class UnreadableError(Exception):
    """A row that cannot be read: which field, and why (without the value, so that reasons can be
    counted)."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field
        self.reason = reason


def columns(header: Sequence[str]) -> dict[str, int]:
    """Where each of COLUMNS is. Raises UnreadableError, naming what is missing or there twice."""
    names = [name.strip(_AROUND).lower() for name in header]
    missing = [name for name in COLUMNS if name not in names]
    if missing:
        raise UnreadableError("header", f"lacks the columns {', '.join(missing)}")
    twice = [name for name in COLUMNS if names.count(name) > 1]
    if twice:
        raise UnreadableError("header", f"has the column {twice[0]} twice")
    return {name: names.index(name) for name in COLUMNS}


def read_row(cells: Sequence[str], places: dict[str, int]) -> tuple[Row, tuple[str, ...]]:
    """A row, and the kinds of mending that it took, each once. Raises UnreadableError."""
    notes: list[str] = []

    def value(name: str) -> str:
        text = cells[places[name]].strip(_AROUND).lower()
        if text != cells[places[name]]:
            notes.append(TRIMMED)
        if not text:
            raise UnreadableError(name, "empty")
        return text

    row = Row(
        contact=_one_of("contact", value("contact"), CONTACTS),
        month=_named("month", value("month"), _MONTHS[1:], notes) + 1,
        weekday=_named("day_of_week", value("day_of_week"), _WEEKDAYS, notes),
        talked_s=_whole("duration", value("duration"), 0, DAY_S, notes),
        attempts=_whole("campaign", value("campaign"), 1, MAX_ATTEMPTS, notes),
        earlier=_one_of("poutcome", value("poutcome"), OUTCOMES),
        sold=_YES[_one_of("y", value("y"), tuple(_YES))],
        same="\x1f".join(cells),
    )
    if row.sold and not row.talked_s:
        raise UnreadableError("duration", "0, and yet y is yes")
    return row, tuple(dict.fromkeys(notes))


def _one_of(field: str, text: str, words: Sequence[str]) -> str:
    if text not in words:
        raise UnreadableError(field, f"none of {', '.join(words)}")
    return text


def _named(field: str, text: str, names: Sequence[str], notes: list[str]) -> int:
    """`may`, `wed`, or in full."""
    for number, name in enumerate(names):
        if text == name[:3]:
            return number
        if text == name:
            notes.append(FULL_NAME)
            return number
    raise UnreadableError(field, f"none of {', '.join(name[:3] for name in names)}")


def _whole(field: str, text: str, least: int, most: int, notes: list[str]) -> int:
    match = _NUMBER.fullmatch(text)
    if match is None:
        raise UnreadableError(field, "no whole number")
    if match[2]:
        notes.append(NUMBER_FORMAT)
    if not least <= int(match[1]) <= most:
        raise UnreadableError(field, f"not between {least} and {most}")
    return int(match[1])


class NotInOrderError(Exception):
    """The months of a file begin again so often that it cannot be in order of date."""


class Calendar:
    """The days of rows that come in order of date, each of which names a month and a weekday.

    Rows of one weekday that follow each other are of one day; another weekday is the next such day
    of the month. Where a month has more of them than days, the rest is of its last such day.
    `year`: of the first row. Rows as later ones come change nothing that came before.
    """

    def __init__(self, year: int, latest: date) -> None:
        self._year = year
        self._latest = latest
        self._day: date | None = None

    def day(self, month: int, weekday: int) -> date:
        """Raises NotInOrderError for a day that is later than `latest`."""
        before = self._day
        if before is None or month != before.month:
            self._year += before is not None and month < before.month
            earliest = date(self._year, month, 1)
        elif weekday == before.weekday():
            return before
        else:
            earliest = before
        found = earliest + timedelta(days=(weekday - earliest.weekday()) % 7)
        if found.month != month:
            found -= timedelta(days=7)
        if found > self._latest:
            raise NotInOrderError(
                f"its months begin again so often that it would reach {self._year}: "
                "it must be in order of date"
            )
        self._day = found
        return found
