"""`relaisctl import complaints`: take over what another system has kept. `relaisctl complaint`:
look at complaints."""

import asyncio
import csv
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import chain
from pathlib import Path
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import typer
from rich.table import Table

from eventkit.callers import Role
from relaisctl.api_client import CrmClient
from relaisctl.complaint_file import Bad, DateKind, Row, moment, read
from relaisctl.errors import InputError, explained
from relaisctl.options import Client, Output, an_id
from relaisctl.show import Bars, Format, counts, print_table

CHUNK_ROWS = 100
CHUNK_BYTES = 40_000
SHOWN = 20
"""Rejected lines that are shown; the report has all of them."""
REPORT = (
    *("line", "outcome", "reference", "complaint_id", "field", "reason"),
    *("date_as_written", "date", "date_is"),
)


@dataclass(frozen=True, slots=True)
class Line:
    """What became of one line of the file."""

    line: int
    outcome: str
    reference: str = ""
    complaint_id: str = ""
    field: str = ""
    reason: str = ""
    row: Row | None = None


@dataclass(frozen=True, slots=True)
class Summary:
    """lines = accepted + duplicates + rejected. dates: of all lines that could be read."""

    client_id: str
    zone: str
    dry_run: bool
    lines: int
    accepted: int
    duplicates: int
    rejected: int
    dates: dict[str, int]
    statuses: dict[str, int]
    rejections: list[dict[str, str | int]] = field(default_factory=list)


async def import_file(
    path: Path, client_id: str, zone: str | None, dry_run: bool, crm: CrmClient
) -> tuple[Summary, list[Line]]:
    """Read the file, send it, and say what became of each line.

    zone: in which the file's clock shows its times; None: that of the client's complaint policy.
    Raises InputError and UnreachableError.
    """
    rows, bad = read(path)
    base = f"/v1/clients/{client_id}"
    zone = zone or str((await crm.get(f"{base}/complaint-policy"))["zone"])
    info = _zone(zone)
    lines = [_rejected(each) for each in bad]
    with Bars() as bars:
        bar = bars.add_task("complaints", total=len(rows), text="")
        done = 0
        for chunk in _chunks(rows):
            sent, outcomes = _bodies(chunk, info)
            lines += outcomes
            if sent:
                body = {"complaints": [body for _, body in sent], "dry_run": dry_run}
                answer = await crm.post(f"{base}/complaints/import", body)
                told = zip(sent, answer["items"], strict=True)
                lines += [_line(row, item) for (row, _), item in told]
            done += len(chunk)
            bars.show(bar, done, f"{done:,} of {len(rows):,} lines", len(rows))
    lines.sort(key=lambda line: line.line)
    return _summary(client_id, zone, dry_run, rows, lines), lines


def _bodies(
    chunk: Sequence[Row], zone: ZoneInfo
) -> tuple[list[tuple[Row, dict[str, Any]]], list[Line]]:
    sent, refused = [], []
    for row in chunk:
        try:
            at = moment(row, zone)
        except ValueError as error:
            refused.append(Line(row.line, "rejected", field="Time", reason=str(error), row=row))
            continue
        body = {
            "reference": row.reference,
            "occurred_at": at.isoformat(),
            "channel": row.channel,
            "status": row.status,
            "acknowledged": row.acknowledged,
            "closed": row.closed,
            "text": row.text,
            "place": row.place,
            "on_behalf": row.on_behalf,
            "date_corrected": row.is_corrected,
        }
        sent.append((row, body))
    return sent, refused


def _chunks(rows: Sequence[Row]) -> Iterator[list[Row]]:
    """Rows for one request each, below its limits."""
    chunk: list[Row] = []
    size = 0
    for row in rows:
        length = 400 + len(json.dumps(row.text)) + len(json.dumps(row.place))
        if chunk and (len(chunk) == CHUNK_ROWS or size + length > CHUNK_BYTES):
            yield chunk
            chunk, size = [], 0
        chunk.append(row)
        size += length
    if chunk:
        yield chunk


def _line(row: Row, item: dict[str, Any]) -> Line:
    known = {name: item[name] or "" for name in ("complaint_id", "field", "reason")}
    return Line(row.line, item["outcome"], row.reference, row=row, **known)


def _rejected(bad: Bad) -> Line:
    return Line(bad.line, "rejected", field=bad.field, reason=bad.reason)


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, LookupError):
        raise InputError("--zone: not an IANA time zone, such as America/New_York") from None


def _summary(
    client_id: str, zone: str, dry_run: bool, rows: Sequence[Row], lines: Sequence[Line]
) -> Summary:
    outcomes = Counter(line.outcome for line in lines)
    kinds = Counter(row.date_kind for row in rows)
    return Summary(
        client_id,
        zone,
        dry_run,
        lines=len(lines),
        accepted=outcomes["accepted"],
        duplicates=outcomes["duplicate"],
        rejected=outcomes["rejected"],
        dates={kind.value: kinds[kind] for kind in DateKind},
        statuses=dict(sorted(Counter(row.status for row in rows).items())),
        rejections=[
            {"line": line.line, "field": line.field, "reason": line.reason}
            for line in lines
            if line.outcome == "rejected"
        ],
    )


def write_report(path: Path, lines: Sequence[Line]) -> None:
    """A CSV line for each line of the file; no texts. Raises InputError."""
    try:
        with path.open("w", encoding="utf-8", newline="") as file:
            out = csv.DictWriter(file, REPORT)
            out.writeheader()
            for line in lines:
                values: dict[str, Any] = asdict(line)
                del values["row"]
                if line.row is not None:
                    values |= {
                        "date_as_written": line.row.as_written.date().isoformat(),
                        "date": line.row.at.date().isoformat(),
                        "date_is": line.row.date_kind.value,
                    }
                out.writerow(values)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from error


imports = typer.Typer(help="Take over what other systems have kept.", no_args_is_help=True)
app = typer.Typer(help="The complaints of a client.", no_args_is_help=True)


@imports.command("complaints")
def import_complaints(
    file: Annotated[Path, typer.Argument(metavar="FILE", show_default=False)],
    client: Client,
    zone: Annotated[
        str | None,
        typer.Option(help="Of the file's times, an IANA name. Default: of the client's policy."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be.")] = False,
    report: Annotated[
        Path | None, typer.Option(help="Write what becomes of each line here, as CSV.")
    ] = None,
    format: Output = Format.TABLE,
) -> None:
    """Import complaints from a CSV file of tickets. Each ticket is taken once, so the same file
    again adds nothing. Dates that the file itself proves to have day and month swapped are put
    right and flagged. Imported complaints have no clocks and no verdict."""

    async def work() -> tuple[Summary, list[Line]]:
        async with CrmClient(client, Role.SUPERVISOR) as crm:
            return await import_file(file, client, zone, dry_run, crm)

    with explained():
        summary, lines = asyncio.run(work())
        if report is not None:
            write_report(report, lines)
    if format is Format.JSON:
        typer.echo(json.dumps(asdict(summary), indent=2))
    else:
        _print(summary)


def _print(summary: Summary) -> None:
    dates = [
        (f"date {kind}", number)
        for kind, number in summary.dates.items()
        if kind != DateKind.AS_WRITTEN
    ]
    counts(
        [
            ("client", summary.client_id),
            ("zone of the times", summary.zone),
            ("lines", summary.lines),
            ("would be accepted" if summary.dry_run else "accepted", summary.accepted),
            ("duplicates", summary.duplicates),
            ("rejected", summary.rejected),
            *dates,
            *((f"status {status}", number) for status, number in summary.statuses.items()),
        ]
    )
    if not summary.rejections:
        return
    table = Table("line", "field", "rejected because", box=None)
    for each in summary.rejections[:SHOWN]:
        table.add_row(*map(str, each.values()))
    print_table(table)
    if (more := len(summary.rejections) - SHOWN) > 0:
        typer.echo(f"and {more:,} more: see --report")


@app.command("list")
def list_(
    client: Client,
    state: Annotated[str | None, typer.Option(help="open, decided or closed.")] = None,
    severity: Annotated[str | None, typer.Option(help="low, normal, high, critical.")] = None,
    assignee: Annotated[str | None, typer.Option()] = None,
    overdue: Annotated[bool, typer.Option("--overdue", help="A clock has run out.")] = False,
    limit: Annotated[int, typer.Option(min=1)] = 50,
    format: Output = Format.TABLE,
) -> None:
    """Show complaints, newest first."""

    async def work() -> list[Any]:
        async with CrmClient(client, Role.AGENT) as crm:
            return await crm.first(
                limit,
                f"/v1/clients/{client}/complaints",
                state=state,
                severity=severity,
                assignee=assignee,
                overdue="true" if overdue else None,
            )

    with explained():
        found = asyncio.run(work())
    if format is Format.JSON:
        typer.echo(json.dumps(found, indent=2))
        return
    columns = ("complaint_id", "opened_at", "severity", "state", "verdict", "assignee", "due_at")
    table = Table(*columns, "overdue", box=None)
    for item in found:
        values = (str(item[name] or "") for name in columns)
        table.add_row(*values, "overdue" if item["overdue"] else "")
    print_table(table)


@app.command("show")
def show(
    complaint_id: Annotated[str, typer.Argument(metavar="ID", show_default=False, callback=an_id)],
    client: Client,
    format: Output = Format.TABLE,
) -> None:
    """Show one complaint, its clocks, and everything that happened to it."""
    path = f"/v1/clients/{client}/complaints/{complaint_id}"

    async def work() -> tuple[Any, Any]:
        async with CrmClient(client, Role.AGENT) as crm:
            return await crm.get(path), (await crm.get(f"{path}/history"))["items"]

    with explained():
        found, history = asyncio.run(work())
    if format is Format.JSON:
        typer.echo(json.dumps(found | {"history": history}, indent=2, ensure_ascii=False))
        return
    names = ("complaint_id", "state", "severity", "customer_id", "assignee", "opened_at", "text")
    clocks = found["clocks"] or {}
    counts(
        chain(
            ((name.replace("_", " "), str(found[name] or "")) for name in names),
            (
                (name.replace("_", " "), _clock(clocks[name]))
                for name in ("first_response", "resolution")
                if name in clocks
            ),
        )
    )
    table = Table("version", "event", "occurred", "actor", box=None)
    for each in history:
        table.add_row(str(each["version"]), each["event"], each["occurred_at"], each["actor"])
    print_table(table)


def _clock(clock: dict[str, Any]) -> str:
    hours = f"{clock['used_s'] / 3600:.2f} of {clock['target_s'] / 3600:.2f} h"
    due = clock["due_at"] or clock["ran_out_at"]
    return f"{clock['state']}, {hours}" + (f", due {due}" if due else "")
