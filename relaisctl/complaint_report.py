"""`relaisctl complaints`: what became of complaints, counted from the view `complaints_at`.

A complaint counts in the day in which it was opened, by its client's own clock. What is said of it
is what had happened by `--as-of`, so the same question has the same answer next year.
"""

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from datetime import UTC, date, datetime
from enum import StrEnum
from typing import Annotated, Any, Final
from zoneinfo import ZoneInfo

import typer
from clickhouse_driver import Client
from rich.table import Table

from relaisctl import warehouse
from relaisctl.errors import InputError, explained
from relaisctl.kpi import Format
from relaisctl.show import print_table

AGES: Final = ("<1 d", "1-3 d", "3-7 d", "7-30 d", ">30 d")
SEVERITIES: Final = ("low", "normal", "high", "critical")


class By(StrEnum):
    """What the complaints are grouped by; `age`: of the open ones."""

    ALL = "all"
    CLIENT = "client"
    VERDICT = "verdict"
    AGE = "age"
    SEVERITY = "severity"
    STATE = "state"
    RESPONSIBLE = "responsible"
    ABOUT = "about"
    AGENT = "agent"
    REASON = "reason"
    SOURCE = "source"
    CHANNEL = "channel"
    DAY = "day"


_GROUP: Final = {
    By.ALL: "''",
    By.CLIENT: "client_id",
    By.VERDICT: "verdict",
    By.AGE: "ifNull(age, '')",
    By.SEVERITY: "severity",
    By.STATE: "state",
    By.RESPONSIBLE: "responsible_kind",
    By.ABOUT: "about_kind",
    By.AGENT: "if(responsible_kind = 'agent', responsible_id, '')",
    # Who is upheld for two reasons counts for both; one without a reason counts as well.
    By.REASON: "arrayJoin(if(empty(reasons), [''], reasons))",
    By.SOURCE: "source",
    By.CHANNEL: "channel",
    By.DAY: "toString(toDate(opened_at, %(zone)s))",
}
_ORDER: Final[dict[By, tuple[str, ...]]] = {
    By.VERDICT: ("upheld", "rejected", "none"),
    By.AGE: AGES,
    By.SEVERITY: SEVERITIES,
    By.STATE: ("open", "decided", "closed"),
}
"""Groups that are shown also when they are empty, and in this order."""

_SELECT: Final = """\
SELECT {group} AS name,
    count(),
    countIf(state = 'open'),
    countIf(state = 'decided'),
    countIf(state = 'closed'),
    countIf(verdict = 'upheld'),
    countIf(verdict = 'rejected'),
    countIf(verdict = 'none'),
    countIf(appealed > 0),
    countIf(reopened > 0),
    countIf(first_response_ran_out),
    countIf(resolution_ran_out),
    countIf(first_response_took_s IS NOT NULL),
    sum(ifNull(first_response_took_s, 0)),
    countIf(resolution_took_s IS NOT NULL),
    sum(ifNull(resolution_took_s, 0))
FROM complaints_at(as_of = %(as_of)s)
WHERE client_id = %(client)s
{range}GROUP BY name"""
_RANGE: Final = {
    "start": "  AND toUnixTimestamp64Micro(opened_at) >= %(start)s\n",
    "end": "  AND toUnixTimestamp64Micro(opened_at) < %(end)s\n",
}


@dataclass(frozen=True, slots=True)
class Sums:
    """What a group's complaints add up to. Times in seconds of business time, of the closed."""

    complaints: int = 0
    open: int = 0
    decided: int = 0
    closed: int = 0
    upheld: int = 0
    rejected: int = 0
    undecided: int = 0
    appealed: int = 0
    reopened: int = 0
    first_response_late: int = 0
    resolution_late: int = 0
    responded: int = 0
    response_s: float = 0.0
    resolved: int = 0
    resolution_s: float = 0.0

    def __add__(self, other: "Sums") -> "Sums":
        pairs = zip(astuple(self), astuple(other), strict=True)
        return Sums(*(one + another for one, another in pairs))

    def figures(self) -> dict[str, int | float | None]:
        """The figures by name; None where nothing can be divided by."""
        return {
            "complaints": self.complaints,
            "open": self.open,
            "decided": self.decided,
            "closed": self.closed,
            "upheld": self.upheld,
            "rejected": self.rejected,
            "undecided": self.undecided,
            "justified_rate": _ratio(self.upheld, self.upheld + self.rejected),
            "appealed": self.appealed,
            "reopened": self.reopened,
            "first_response_late": self.first_response_late,
            "resolution_late": self.resolution_late,
            "first_response_took_s": _ratio(self.response_s, self.responded),
            "resolution_took_s": _ratio(self.resolution_s, self.resolved),
        }


def _ratio(part: float, whole: int) -> float | None:
    return part / whole if whole else None


@dataclass(frozen=True, slots=True)
class Question:
    """Which complaints, and how they are grouped.

    clocks        of the clients that are asked about
    start, end    local days in which they were opened, the end exclusive; None: of all times
    as_of         what had happened until this moment counts
    """

    clocks: dict[str, ZoneInfo]
    start: date | None
    end: date | None
    by: By
    as_of: datetime


def ask(clickhouse: Client, question: Question) -> dict[str | None, Sums]:
    """The sums of each group, in order: its own, or by name; None is what has no such group."""
    order = _ORDER.get(question.by, ())
    found: dict[str | None, Sums] = {name: Sums() for name in order}
    for client, zone in question.clocks.items():
        bounds = {
            name: warehouse.begins(day, zone)
            for name, day in (("start", question.start), ("end", question.end))
            if day is not None
        }
        rows = clickhouse.execute(
            _SELECT.format(
                group=_GROUP[question.by], range="".join(_RANGE[name] for name in bounds)
            ),
            {
                "client": client,
                "zone": zone.key,
                "as_of": question.as_of.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f"),
                **bounds,
            },
        )
        for name, *sums in rows:
            group = name or None
            found[group] = found.get(group, Sums()) + Sums(*sums)
    if question.by is By.ALL:
        return {None: found.get(None, Sums())}
    places = {name: place for place, name in enumerate(order)}
    return dict(
        sorted(
            found.items(),
            key=lambda item: (item[0] is None, places.get(item[0] or "", -1), item[0] or ""),
        )
    )


def report(by: By, found: dict[str | None, Sums]) -> list[dict[str, Any]]:
    """A row of figures per group."""
    return [
        ({} if by is By.ALL else {by.value: group}) | sums.figures()
        for group, sums in found.items()
    ]


def complaints(
    client: Annotated[
        str | None, typer.Option(help="The client company. Default: all of them.")
    ] = None,
    from_: Annotated[
        str | None, typer.Option("--from", metavar="DATE", help="Opened on this day or later.")
    ] = None,
    to: Annotated[
        str | None, typer.Option("--to", metavar="DATE", help="Opened before this day.")
    ] = None,
    as_of: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="As it was then, ISO 8601 with offset. Default: now."),
    ] = None,
    by: Annotated[By, typer.Option(help="A row for each.")] = By.ALL,
    format: Annotated[Format, typer.Option("--format")] = Format.TABLE,
) -> None:
    """Count complaints by verdict, age, client and more, as they stand or as they stood."""
    with explained():
        start = None if from_ is None else warehouse.day("--from", from_)
        end = None if to is None else warehouse.day("--to", to)
        if from_ is not None and to is not None:
            start, end = warehouse.days(from_, to)
        moment = datetime.now(UTC) if as_of is None else _moment(as_of)
        with warehouse.connected("complaints") as clickhouse:
            if client is None:
                clocks = warehouse.zones(clickhouse)
            else:
                clocks = {client: warehouse.zone(clickhouse, client)}
            rows = report(by, ask(clickhouse, Question(clocks, start, end, by, moment)))
    match format:
        case Format.JSON:
            typer.echo(json.dumps(rows, indent=2, ensure_ascii=False))
        case Format.CSV:
            typer.echo(_csv(by, rows), nl=False)
        case Format.TABLE:
            _print_table(by, rows)


def _moment(text: str) -> datetime:
    """A moment as it was written for --as-of; from 1970 to 2261, which DateTime64 holds."""
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None or not 1970 <= moment.astimezone(UTC).year <= 2261:
            raise ValueError
    except (ValueError, OverflowError):
        raise InputError(
            f"--as-of: {text!r} is no time such as 2026-11-23T17:30:00+01:00"
        ) from None
    return moment


def _csv(by: By, rows: Sequence[dict[str, Any]]) -> str:
    names = [*Sums().figures()] if by is By.ALL else [by.value, *Sums().figures()]
    text = io.StringIO()
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


_COUNTS: Final = {
    "complaints": "complaints",
    "open": "open",
    "decided": "decided",
    "closed": "closed",
    "upheld": "upheld",
    "rejected": "rejected",
    "undecided": "no verdict",
    "appealed": "appealed",
    "reopened": "reopened",
    "first_response_late": "late answer",
    "resolution_late": "late solution",
}


def _print_table(by: By, rows: Sequence[dict[str, Any]]) -> None:
    table = Table(box=None, pad_edge=False)
    if by is not By.ALL:
        table.add_column(by.value)
    for title in (*_COUNTS.values(), "justified %", "answer h", "solution h"):
        table.add_column(title, justify="right")
    for row in rows:
        shown = [f"{row[name]:,}" for name in _COUNTS]
        justified = row["justified_rate"]
        shown.append("-" if justified is None else f"{justified:.1%}")
        shown += [_hours(row["first_response_took_s"]), _hours(row["resolution_took_s"])]
        table.add_row(*([] if by is By.ALL else [row[by.value] or "-"]), *shown)
    print_table(table)


def _hours(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds / 3600:,.1f}"
