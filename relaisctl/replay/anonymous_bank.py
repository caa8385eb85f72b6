"""The format "anonymous-bank": what a row of a file says, and how certain that is.

Technion SEELab's call-by-call files (data documentation by Guedj and Mandelbaum, 2000): one header,
then 17 tab-separated columns per call, sorted by trunk and call number. Pure: lines in, rows out.

A row is rejected only when its type, date, outcome, arrival or a duration that its outcome needs
cannot be read. Whatever else is wrong is mended, and said: docs/subsystems/replay.md lists it all.
"""

import csv
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from enum import Enum
from functools import lru_cache

COLUMNS = (
    "vru+line", "call_id", "customer_id", "priority", "type", "date",
    "vru_entry", "vru_exit", "vru_time", "q_start", "q_exit", "q_time",
    "outcome", "ser_start", "ser_exit", "ser_time", "server",
)  # fmt: skip
TIME_ZONE = "Asia/Jerusalem"
MAX_LINE = 4096
DAY_S = 24 * 3600
SECOND_US = 1_000_000

# The kinds of mending, as the summary counts them.
TRIMMED = "blanks, quotes or small letters"
REDIVIDED = "columns run together or apart"
NUMBER_FORMAT = "number in a spreadsheet's notation"
DATE_FORMAT = "date in another notation"
DATE_AROUND = "date from the calls before and after"
TIME_FORMAT = "clock time in another notation"
TIME_LOST = "clock time unreadable: from the other times"
DURATION_FORMAT = "duration in another notation"
DURATION_CLOCK = "duration from the clock times"
AGENT_RESTORED = "agent's name restored from NO_SERVER"
AGENT_CLEANED = "agent's name with signs that no id has"
AGENT_LOST = "agent missing: unknown"
CUSTOMER_LOST = "customer id unreadable: unidentified"
PRIORITY_LOST = "priority unreadable: regular"
NUMBER_LOST = "trunk or call number unreadable"


class Outcome(Enum):
    """What became of a call, as the figures count it."""

    ANSWERED = "answered"
    ABANDONED = "abandoned"
    LEFT_BEFORE_QUEUE = "left before queue"
    PHANTOM = "phantom"


@dataclass(frozen=True, slots=True)
class Call:
    """One call. Clock times are seconds since the local midnight that began `day`.

    None is a step that did not happen, or whose time is lost. Clock times may contradict each other
    and start anew at midnight; the durations are what figures are made of.
    """

    trunk: str
    number: str
    customer: str
    priority: int
    queue: str
    day: date
    arrived: int
    vru_exit: int | None
    q_start: int | None
    q_exit: int | None
    ser_start: int | None
    ser_exit: int | None
    outcome: Outcome
    waited_us: int
    talked_us: int
    agent: str

    @property
    def call_id(self) -> str:
        """Trunk, number and arrival: a number alone is in use on several trunks."""
        minutes, seconds = divmod(self.arrived, 60)
        hours, minutes = divmod(minutes, 60)
        day = self.day
        return (
            f"{self.trunk}-{self.number}-{day.year:04}{day.month:02}{day.day:02}"
            f"T{hours:02}{minutes:02}{seconds:02}"
        )


@dataclass(frozen=True, slots=True)
class Mended:
    """A call that had to be read with care. `what` holds kinds of mending, each once."""

    call: Call
    what: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Reject:
    """A row that cannot be read: where it is, why (without the value, so that reasons can be
    counted), and its text as it stood."""

    line: int
    field: str
    reason: str
    raw: str


Row = Call | Mended | Reject


class WrongFormatError(Exception):
    """The file as a whole is something else; the message says what was seen."""


def read_file(lines: Iterable[str], latest: date) -> Iterator[Row]:
    """Every row of a file exactly once; blank lines and repeated headers are passed over.

    No call can be later than the day `latest`. Raises WrongFormatError before the first row.
    """
    started = False
    before: Call | None = None
    dateless: list[tuple[Reject, str]] = []
    for number, line in enumerate(lines, 1):
        text = line.strip("\r\n\ufeff\x1a")
        if not text.strip():
            continue
        if _is_header(text):
            started = True
            continue
        row = read_row(number, text, latest)
        if isinstance(row, Reject):
            if not started:
                raise WrongFormatError(
                    f"line {number} is neither the header nor a call: {_short(text)}"
                )
            if row.field == "date":
                dateless.append((row, text))
            else:
                yield row
            continue
        started = True
        call = row.call if isinstance(row, Mended) else row
        for lost, raw in dateless:
            yield _dated(before, lost, raw, call, latest)
        dateless.clear()
        before = call
        yield row
    if not started:
        raise WrongFormatError("the file is empty")
    for lost, _ in dateless:
        yield lost


def read_row(line: int, text: str, latest: date, day: date | None = None) -> Row:
    """One row. `day` stands in for a date that cannot be read. Never raises."""
    if len(text) > MAX_LINE:
        return Reject(line, "", f"longer than {MAX_LINE} characters", text[:MAX_LINE])
    fields = _split(text)
    try:
        try:
            return _read(_aligned(fields), len(fields) != len(COLUMNS), latest, day)
        except _UnreadableError:
            # Seventeen columns may still be the wrong seventeen: look at the row as a whole.
            whole = _by_shape(fields)
            if whole is None:
                raise
            return _read(whole, True, latest, day)
    except _UnreadableError as error:
        return Reject(line, error.field, error.reason, text)


class _UnreadableError(Exception):
    def __init__(self, field: str, reason: str) -> None:
        self.field = field
        self.reason = reason


def _read(fields: list[str], redivided: bool, latest: date, day: date | None) -> Call | Mended:
    values = [value.strip(_AROUND) for value in fields]
    notes = [REDIVIDED] if redivided else []
    if values != fields:
        notes.append(TRIMMED)

    queue = _type(values, notes)
    when = _date(values[5], latest, day, notes)
    outcome = _one_of(values[12].upper(), ("AGENT", "HANG", "PHANTOM"), "outcome")
    if outcome != values[12]:
        notes.append(TRIMMED)
    clocks = [_clock(values[at], notes) for at in (6, 7, 9, 10, 13, 14)]
    vru_entry, vru_exit, q_start, q_exit, ser_start, ser_exit = clocks

    waited = talked = 0
    ended = Outcome.PHANTOM
    if outcome == "AGENT":
        waited = _duration(values[11], "q_time", q_start, q_exit, notes)
        talked = _duration(values[15], "ser_time", ser_start, ser_exit, notes)
        ended = Outcome.ANSWERED
    elif outcome == "HANG":
        # What such a row says of a service is an artefact of the recording.
        waited = _duration(values[11], "q_time", q_start, q_exit, notes)
        ended = Outcome.ABANDONED if waited else Outcome.LEFT_BEFORE_QUEUE

    call = Call(
        trunk=_id(values[0], "trunk", notes, NUMBER_LOST),
        number=_id(_whole_text(values[1]), "0", notes, NUMBER_LOST),
        customer=_customer(values[2], notes),
        priority=_priority(values[3], notes),
        queue=queue,
        day=when,
        arrived=_arrived(vru_entry, vru_exit, values[8], q_start, ser_start, notes),
        vru_exit=vru_exit,
        q_start=q_start or None,  # 0:00:00 means "did not happen"; midnight itself is lost with it
        q_exit=q_exit or None,
        ser_start=ser_start or None,
        ser_exit=ser_exit or None,
        outcome=ended,
        waited_us=waited,
        talked_us=talked,
        agent=_agent(values[16], notes),
    )
    return Mended(call, tuple(dict.fromkeys(notes))) if notes else call


# Columns -------------------------------------------------------------------------------------

_AROUND = " \t\r\n\v\f\u00a0\u200b\ufeff\"'"
_CLOCK = r"\d{1,2}:\d\d:\d\d"
# A row without its separators: the shapes of its values are enough to find where each begins.
_SHAPE = re.compile(
    rf"""
    (?P<trunk>\S+) \s+ (?P<number>\S+) \s+ (?:(?P<customer>\S+) \s+)?
    (?P<priority>\d*) \s* (?P<type>[A-Z]{{2}}) \s* (?P<date>\d{{6}}) \s*
    (?P<vru_entry>{_CLOCK}) \s* (?P<vru_exit>{_CLOCK}) \s* (?P<vru_time>-?\d*) \s*
    (?P<q_start>{_CLOCK}) \s* (?P<q_exit>{_CLOCK}) \s* (?P<q_time>-?\d+) \s*
    (?P<outcome>AGENT|HANG|PHANTOM) \s*
    (?P<ser_start>{_CLOCK}) \s* (?P<ser_exit>{_CLOCK}) \s* (?P<ser_time>-?\d+) \s*
    (?P<server>\S.*)?
    """,
    re.VERBOSE | re.IGNORECASE | re.ASCII,
)


def _split(text: str) -> list[str]:
    if "\t" in text:
        return text.split("\t")
    for separator in ";,":
        if text.count(separator) >= len(COLUMNS) - 2:
            try:
                return next(csv.reader([text], delimiter=separator))
            except csv.Error:
                return text.split(separator)
    return text.split()


def _aligned(fields: list[str]) -> list[str]:
    """The 17 columns, or the same by the shapes of the values where they are not 17."""
    if len(fields) == len(COLUMNS):
        return fields
    whole = _by_shape(fields)
    if whole is not None:
        return whole
    if len(fields) < len(COLUMNS):
        raise _UnreadableError("", f"{len(fields)} columns instead of {len(COLUMNS)}")
    return fields[: len(COLUMNS)]


def _by_shape(fields: list[str]) -> list[str] | None:
    match = _SHAPE.fullmatch(" ".join([value.strip(_AROUND) for value in fields]).strip())
    return [value or "" for value in match.groups()] if match else None


def _is_header(text: str) -> bool:
    names = {re.sub(r"[^a-z]", "", name.lower()) for name in _split(text)}
    return {"type", "date", "qtime", "outcome", "sertime"} <= names


def _dated(before: Call | None, lost: Reject, raw: str, after: Call, latest: date) -> Row:
    """A row without a date, where the calls around it on its trunk are of one day."""
    if before is None or before.day != after.day:
        return lost
    row = read_row(lost.line, raw, latest, after.day)
    call = row.call if isinstance(row, Mended) else row
    if isinstance(call, Reject):
        return call
    if not before.trunk == call.trunk == after.trunk:
        return lost
    numbers = (before.number, call.number, after.number)
    if not all(number.isdecimal() for number in numbers):
        return lost
    first, middle, last = map(int, numbers)
    return row if first < middle < last else lost


# Values --------------------------------------------------------------------------------------

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:+-]{0,127}")
_TYPE = re.compile(r"[A-Z][A-Z0-9._-]{0,15}")
_PRIORITY_AND_TYPE = re.compile(r"(\d)\W*([A-Z]{2})")
_MISSING = {"", "-", "--", "?", ".", "NA", "N/A", "#N/A", "NULL", "NONE", "NAN"}


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:60] + "...")


def _one_of(value: str, known: tuple[str, ...], field: str) -> str:
    if value in known:
        return value
    raise _UnreadableError(field, f"none of {', '.join(known)}" if value else "empty")


def _type(values: list[str], notes: list[str]) -> str:
    value = values[4].upper()
    if value != values[4]:
        notes.append(TRIMMED)
    if _TYPE.fullmatch(value):
        return value
    if together := _PRIORITY_AND_TYPE.fullmatch(value):
        notes.append(REDIVIDED)
        values[3] = values[3] or together[1]
        return together[2]
    if value.isdecimal() and _TYPE.fullmatch(values[3].upper()):  # the two have changed places
        notes.append(REDIVIDED)
        values[3], values[4] = values[4], values[3].upper()
        return values[4]
    raise _UnreadableError("type", "no type" if value else "empty")


def _date(value: str, latest: date, stand_in: date | None, notes: list[str]) -> date:
    try:
        found, usual = _parse_date(value)
        if found > latest:
            raise ValueError("in the future")
    except ValueError as error:
        if stand_in is None:
            raise _UnreadableError("date", str(error)) from None
        notes.append(DATE_AROUND)
        return stand_in
    if not usual:
        notes.append(DATE_FORMAT)
    return found


_DATE = re.compile(
    r"(?:(\d\d|\d{4})(\d\d)(\d\d)|(\d\d|\d{4})([-/. ])(\d\d?)\5(\d\d?))"
    r"(?:\.0+)?(?:[ T]0?0:00(?::00)?)?",
    re.ASCII,
)


@lru_cache(maxsize=4096)
def _parse_date(value: str) -> tuple[date, bool]:
    """The date, and whether it stands as the format has it: YYMMDD. Raises ValueError."""
    match = _DATE.fullmatch(value)
    if not match:
        raise ValueError("no date of the form YYMMDD" if value else "empty")
    year, month, day = (int(match[at] or match[other]) for at, other in ((1, 4), (2, 6), (3, 7)))
    if year < 100:
        year += 1900 if year >= 70 else 2000
    try:
        found = date(year, month, day)
    except ValueError:
        raise ValueError("there is no such day") from None
    if year < 1970:
        raise ValueError("before 1970")
    return found, len(value) == 6 and value.isdecimal()


_USUAL_CLOCK = re.compile(r"(\d\d?):([0-5]\d):([0-5]\d)", re.ASCII)
_ODD_CLOCK = re.compile(
    r"(\d{1,2})[:.](\d{1,2})(?:[:.](\d{1,2})(?:[.,]\d+)?)?\s*([AP])?\.?M?\.?",
    re.ASCII | re.IGNORECASE,
)


def _clock(value: str, notes: list[str]) -> int | None:
    """Seconds since midnight; None where it cannot be read."""
    match = _USUAL_CLOCK.fullmatch(value)
    if match:
        hours, minutes, seconds = match.groups()
        found = int(hours) * 3600 + int(minutes) * 60 + int(seconds)
    else:
        match = _ODD_CLOCK.fullmatch(value)
        if not match or int(match[2]) > 59 or int(match[3] or 0) > 59:
            notes.append(TIME_LOST)
            return None
        notes.append(TIME_FORMAT)
        hour = int(match[1])
        if match[4] and 1 <= hour <= 12:
            hour = hour % 12 + (12 if match[4] in "pP" else 0)
        found = hour * 3600 + int(match[2]) * 60 + int(match[3] or 0)
    if found >= 2 * DAY_S:
        notes.append(TIME_LOST)
        return None
    return found


def _duration(value: str, field: str, start: int | None, end: int | None, notes: list[str]) -> int:
    """Microseconds. The field, where it can be read: clock times only stand in for it."""
    if value.isdecimal() and value.isascii():
        if len(value) <= 9:
            return int(value) * SECOND_US
        raise _UnreadableError(field, "longer than anybody lives")
    seconds = _odd_duration(value)
    if seconds is not None and seconds >= 0:
        notes.append(DURATION_FORMAT)
        return seconds * SECOND_US
    measured = None if start is None or end is None else forward(start, end)
    if measured is None and seconds is not None and start is not None and end is not None:
        measured = 0  # both the field and the clocks went back: there was no stay
    if measured is None or (measured > 3600 and 0 in (start, end)):  # 0:00:00: did not happen
        raise _UnreadableError(field, "no duration" if value else "empty")
    notes.append(DURATION_CLOCK)
    return measured * SECOND_US


def _odd_duration(value: str) -> int | None:
    """Whole seconds from `12.0`, `1.2E+3`, `1,234`, `12 s` or `0:02:33`."""
    number = re.sub(r"\s*(s|sec|secs|seconds)\.?$", "", value, flags=re.IGNORECASE)
    if match := _USUAL_CLOCK.fullmatch(number):
        return int(match[1]) * 3600 + int(match[2]) * 60 + int(match[3])
    if re.fullmatch(r"[+-]?\d{1,3}(,\d{3})+", number):
        number = number.replace(",", "")
    if not re.fullmatch(r"[+-]?\d{1,9}(\.\d{1,9})?(E[+-]?\d)?", number, re.IGNORECASE | re.ASCII):
        return None
    seconds = float(number)
    return int(seconds) if seconds.is_integer() and abs(seconds) < 1e9 else None


def forward(start: int, end: int) -> int | None:
    """Seconds from one clock time to a later one, past midnight if need be; None: it is earlier.

    Clock times alone cannot tell a stay of more than half a day from a clock that went back.
    """
    seconds = (end - start) % DAY_S
    return seconds if seconds <= DAY_S // 2 else None


def _arrived(
    vru_entry: int | None,
    vru_exit: int | None,
    vru_time: str,
    q_start: int | None,
    ser_start: int | None,
    notes: list[str],
) -> int:
    if vru_entry is not None:
        return vru_entry
    if vru_exit and vru_time.isdecimal() and vru_time.isascii() and int(vru_time) <= vru_exit:
        return vru_exit - int(vru_time)
    for later in (vru_exit, q_start, ser_start):
        if later:
            return later
    raise _UnreadableError("vru_entry", "no clock time of the row can be read")


def _id(value: str, stand_in: str, notes: list[str], note: str) -> str:
    if _ID.fullmatch(value) and len(value) <= 32:
        return value
    notes.append(note)
    cleaned = re.sub(r"[^A-Za-z0-9._:+-]+", "", value).lstrip("._:+-")[:32]
    return cleaned or stand_in


def _whole_text(value: str) -> str:
    """`33116.0` and `33,116` as `33116`."""
    return re.sub(r"\.0+$", "", value).replace(",", "")


def _customer(value: str, notes: list[str]) -> str:
    if value.isdecimal() and value.isascii() and len(value) <= 32:
        return "" if not value.strip("0") else value
    if re.fullmatch(r"\d+[.,]?\d*E\+?\d+", value, re.IGNORECASE):
        notes.append(NUMBER_FORMAT)  # most of its digits are lost, so nobody is identified
        return ""
    whole = _whole_text(value)
    if whole.isdecimal() and whole.isascii() and len(whole) <= 32:
        notes.append(NUMBER_FORMAT)
        return "" if not whole.strip("0") else whole
    notes.append(CUSTOMER_LOST)
    return ""


def _priority(value: str, notes: list[str]) -> int:
    number = _whole_text(value)
    if number in ("0", "1", "2"):
        return int(number)
    notes.append(PRIORITY_LOST)
    return 0


def _agent(value: str, notes: list[str]) -> str:
    """Empty where nobody is named."""
    name = value.upper()
    if name != value:
        notes.append(TRIMMED)
    if name == "NO_SERVER":
        return ""
    if re.fullmatch(r"NO[ _-]?SERVER", name) or name in _MISSING:
        notes.append(AGENT_LOST)
        return ""
    if "NO_SERVER" in name:
        # Somebody had every NA, taken for "not available", replaced: NAAMA, ANAT and all.
        notes.append(AGENT_RESTORED)
        name = name.replace("NO_SERVER", "NA")
    if _ID.fullmatch(name):
        return name
    notes.append(AGENT_CLEANED)
    return re.sub(r"[^A-Z0-9._:+-]+", "_", name).lstrip("._:+-")[:128]
