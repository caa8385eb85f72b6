"""`relaisctl leads import`: a list of leads for a campaign.

Exit codes: 2 the file or an option is unusable, or the dialer refuses; 3 the dialer does not
answer; 130 interrupted. What was imported until then stays, and the same again doubles nothing.
"""

import asyncio
import csv
import hashlib
import json
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from io import BufferedReader
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, TextIO

import typer
from rich.table import Table

from eventkit.callers import Role
from eventkit.csvrecords import Broken, CsvRecords, Record
from eventkit.errors import InvalidMessage
from relaisctl.api_client import DialerClient
from relaisctl.customers import AsFormat, ClientId, Seen, columns_given
from relaisctl.errors import INTERRUPTED, InputError, explained
from relaisctl.show import Bars, Format, counts, print_table

CHUNK = 1_000
CHUNK_BYTES = 1_000_000
"""Of one part. With other numbers the same file would be another import."""
IN_FLIGHT = 4
REPORT = ("line", "outcome", "lead_id", "duplicate_of_line", "field", "reason")

app = typer.Typer(help="Whom campaigns call.", no_args_is_help=True)


class Duplicates(StrEnum):
    REJECT = "reject"
    KEEP = "keep"
    MERGE = "merge"


class Scope(StrEnum):
    LIST = "list"
    CAMPAIGN = "campaign"
    CLIENT = "client"


@dataclass
class Summary:
    """What became of a file. kept: duplicates among those that were added; merged: among those that
    were not. elsewhere: added, and another client's leads have the number too. reasons: of the
    rejected lines, `field: reason` -> lines. fields: column -> what it is."""

    client: str
    campaign: str
    list: str
    file: str
    dry_run: bool
    import_id: str = ""
    lines: int = 0
    added: int = 0
    duplicates: int = 0
    rejected: int = 0
    kept: int = 0
    merged: int = 0
    elsewhere: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    fields: dict[str, str] = field(default_factory=dict)
    rejects: str | None = None


@app.callback()
def leads() -> None:
    """Whom campaigns call."""


@app.command("import")
def import_file(
    path: Annotated[Path, typer.Argument(metavar="FILE", show_default=False)],
    client: ClientId,
    campaign: Annotated[str, typer.Option(help="The campaign, which there must be.")],
    list_id: Annotated[str, typer.Option("--list", help="What the list is called.")],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would happen, and change nothing.")
    ] = False,
    country: Annotated[
        str,
        typer.Option(help="Country (FR, US, ...) of numbers without their code and of addresses."),
    ] = "",
    priority: Annotated[int, typer.Option(min=0, max=100, help="Of lines without one.")] = 0,
    duplicates: Annotated[
        Duplicates, typer.Option(help="What becomes of a line whose number is known.")
    ] = Duplicates.REJECT,
    scope: Annotated[Scope, typer.Option(help="Known where.")] = Scope.CAMPAIGN,
    rejects: Annotated[
        Path | None,
        typer.Option(help="Where to write each line that was not simply added, and why, as CSV."),
    ] = None,
    columns: Annotated[
        list[str] | None,
        typer.Option(
            metavar="HEADER=FIELD,...",
            help="What columns are that are not known by their name; attribute, or - to leave out.",
        ),
    ] = None,
    format: AsFormat = Format.TABLE,
) -> None:
    """Import a list from a CSV file: UTF-8, a header, and `,`, `;`, `|` or tabs between columns.

    A line is added, a duplicate, or rejected for a reason. After an interruption run it again:
    nothing is doubled.
    """
    summary = Summary(client, campaign, list_id, str(path), dry_run)
    summary.rejects = None if rejects is None else str(rejects)
    with explained(), ExitStack() as stack:
        plan = {
            "campaign_id": campaign,
            "list_id": list_id,
            "columns": columns_given(columns or []),
            "country": country,
            "priority": priority,
            "duplicates": duplicates,
            "scope": scope,
        }
        try:
            size = path.stat().st_size
            file = stack.enter_context(path.open("rb"))
            out = stack.enter_context(rejects.open("w", newline="")) if rejects else None
        except OSError as error:
            raise InputError(f"{error.filename}: {error.strerror}") from error
        summary.import_id = _import_id(client, plan, file)
        try:
            records = CsvRecords(file)
        except InvalidMessage as error:
            raise InputError(error.reason) from None
        importing = _Import(records, plan, summary, out)
        try:
            with Bars() as bars:
                asyncio.run(importing.run(bars, size))
        except KeyboardInterrupt:
            typer.echo("interrupted; the same command goes on where this one stopped", err=True)
            raise typer.Exit(INTERRUPTED) from None
    _print(summary, format)


def _import_id(client: str, plan: dict[str, Any], file: BufferedReader) -> str:
    """The same file for the same purpose is the same import."""
    asked = json.dumps([client, plan, CHUNK, CHUNK_BYTES], sort_keys=True)
    digest = hashlib.file_digest(file, "sha256")
    digest.update(asked.encode())
    file.seek(0)
    return f"file-{digest.hexdigest()[:32]}"


class _Import:
    """One run over one file. A few parts are under way at a time, and their answers are read in the
    order of the file, so that memory does not grow with it."""

    def __init__(
        self, records: CsvRecords, plan: dict[str, Any], summary: Summary, report: TextIO | None
    ) -> None:
        self._records = records
        self._plan = plan | {"header": [each.strip() for each in records.header]}
        self._summary = summary
        self._report = None if report is None else csv.writer(report)
        self._reasons: Counter[str] = Counter()
        self._seen = Seen()
        self._base = f"/v1/clients/{summary.client}/lead-imports"

    async def run(self, bars: Bars, size: int) -> None:
        summary = self._summary
        task = bars.add_task("trying" if summary.dry_run else "importing", total=size, text="")
        if self._report is not None:
            self._report.writerow(REPORT)
        waiting: deque[tuple[int, list[int], asyncio.Task[dict[str, Any]]]] = deque()
        with closing(self._seen):
            async with DialerClient(summary.client, Role.SUPERVISOR) as dialer:
                if not summary.dry_run:
                    self._opened(await self._open(dialer))
                try:
                    for part, chunk in enumerate(self._chunks()):
                        sent = asyncio.create_task(self._send(dialer, part, chunk))
                        lines = [each.line for each in chunk]
                        waiting.append((self._records.position, lines, sent))
                        if len(waiting) == IN_FLIGHT:
                            await self._take(waiting)
                            bars.show(task, waiting[0][0], self._text(), size)
                    while waiting:
                        await self._take(waiting)
                    if not summary.dry_run:
                        await dialer.post(f"{self._base}/{summary.import_id}/finish")
                    bars.show(task, size, self._text(), size)
                finally:
                    for _, _, sent in waiting:
                        sent.cancel()
                    summary.reasons = dict(self._reasons.most_common())

    async def _open(self, dialer: DialerClient) -> dict[str, Any]:
        body = self._plan | {"import_id": self._summary.import_id}
        opened: dict[str, Any] = await dialer.post(self._base, body)
        return opened

    def _opened(self, answer: dict[str, Any]) -> None:
        self._summary.fields = dict(zip(self._plan["header"], answer["fields"], strict=True))

    def _chunks(self) -> Iterator[list[Record | Broken]]:
        chunk: list[Record | Broken] = []
        began = self._records.position
        for each in self._records:
            chunk.append(each)
            if len(chunk) == CHUNK or self._records.position - began > CHUNK_BYTES:
                yield chunk
                chunk, began = [], self._records.position
        if chunk:
            yield chunk

    async def _send(
        self, dialer: DialerClient, part: int, chunk: list[Record | Broken]
    ) -> dict[str, Any]:
        body: dict[str, Any] = {
            "rows": [[each.line, each.cells] for each in chunk if isinstance(each, Record)],
            "broken": [[each.line, each.reason] for each in chunk if isinstance(each, Broken)],
        }
        if self._summary.dry_run:
            path = f"{self._base}/dry-run"
            answer: dict[str, Any] = await dialer.post(path, self._plan | body)
            return answer
        done: dict[str, Any] = await dialer.put(
            f"{self._base}/{self._summary.import_id}/parts/{part}", body
        )
        return done

    async def _take(
        self, waiting: deque[tuple[int, list[int], asyncio.Task[dict[str, Any]]]]
    ) -> None:
        _, lines, sent = waiting[0]
        answer = await sent
        waiting.popleft()
        summary = self._summary
        summary.lines += len(lines)
        for name, number in answer["counts"].items():
            setattr(summary, name, getattr(summary, name) + number)
        if summary.dry_run:
            self._opened(answer)
        for said in answer["lines"]:
            self._say(said)
        for line, marks in answer.get("marks", {}).items():
            earlier = self._seen.before(int(line), marks, marks)
            if earlier is not None:
                summary.added -= 1
                summary.duplicates += 1
                self._say({"line": line, "outcome": "duplicate", "duplicate_of_line": earlier})

    def _say(self, said: dict[str, Any]) -> None:
        if said["outcome"] == "rejected":
            at = said.get("field")
            self._reasons[f"{at}: {said['reason']}" if at else said["reason"]] += 1
        if self._report is not None:
            self._report.writerow([said.get(name, "") for name in REPORT])

    def _text(self) -> str:
        s = self._summary
        return f"{s.added:,} added, {s.duplicates:,} duplicates, {s.rejected:,} rejected"


def _print(summary: Summary, format: Format) -> None:
    if format is Format.JSON:
        typer.echo(json.dumps(asdict(summary), indent=2, ensure_ascii=False))
        return
    would = "would be " if summary.dry_run else ""
    counts(
        [
            ("lines", summary.lines),
            (f"{would}added", summary.added),
            ("of them known, and kept", summary.kept),
            ("of them other clients' too", summary.elsewhere),
            ("duplicates", summary.duplicates),
            (f"of them {would}merged", summary.merged),
            ("rejected", summary.rejected),
        ]
    )
    if summary.reasons:
        table = Table("rejected", "lines", box=None)
        for reason, lines in islice(summary.reasons.items(), 20):
            table.add_row(reason, f"{lines:,}")
        print_table(table)
    as_they_are = [name for name, field in summary.fields.items() if field == "attribute"]
    if as_they_are:
        typer.echo(f"kept as attributes: {', '.join(as_they_are)}")
    if summary.rejects is not None:
        typer.echo(f"what was not simply added, and why: {summary.rejects}")
