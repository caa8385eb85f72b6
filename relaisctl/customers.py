"""`relaisctl customer import|find|show`: a client's customers.

Exit codes: 2 the file or an option is unusable, or crm refuses; 3 crm does not answer; 130
interrupted. What was imported until then stays, and the same again doubles nothing.
"""

import asyncio
import csv
import hashlib
import json
import sqlite3
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, TextIO

import typer
from rich.table import Table

from eventkit.callers import Role
from eventkit.csvrecords import Broken
from relaisctl.api_client import CrmClient, Refusal
from relaisctl.customer_file import CustomerFile, Row
from relaisctl.errors import INTERRUPTED, InputError, explained
from relaisctl.show import Bars, Format, counts, print_table

CHUNK = 1_000
"""Rows of one request: crm takes no more."""
CHUNK_BYTES = 400_000
IN_FLIGHT = 3
REPORT = ("line", "outcome", "customer_id", "duplicate_of_line", "field", "reason")
MAX_FOUND = 100

app = typer.Typer(help="A client's customers.", no_args_is_help=True)

ClientId = Annotated[str, typer.Option("--client", help="The client company.")]
Region = Annotated[
    str,
    typer.Option(help="Country (FR, RU, ...) of the numbers that are given without their code."),
]
AsFormat = Annotated[Format, typer.Option("--format")]


@dataclass
class Summary:
    """What became of a file. reasons: of the rejected lines, `field: reason` -> lines."""

    client: str
    file: str
    dry_run: bool
    lines: int = 0
    accepted: int = 0
    duplicate: int = 0
    rejected: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    ignored_columns: list[str] = field(default_factory=list)
    report: str | None = None


@app.callback()
def customer() -> None:
    """A client's customers."""


@app.command("import")
def import_file(
    path: Annotated[Path, typer.Argument(metavar="FILE", show_default=False)],
    client: ClientId,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would happen, and change nothing.")
    ] = False,
    region: Region = "",
    report: Annotated[
        Path | None, typer.Option(help="Where to write what became of each line, as CSV.")
    ] = None,
    columns: Annotated[
        list[str] | None,
        typer.Option(
            metavar="HEADER=FIELD,...",
            help="What columns are that are not known by their name; - for one to leave out.",
        ),
    ] = None,
    format: AsFormat = Format.TABLE,
) -> None:
    """Import customers from a CSV file: UTF-8, a header, and `,`, `;` or tabs between columns.

    A line is accepted, a duplicate (of the customer with its number or, without a number, of one
    with its name and one of its phones or emails), or rejected for a reason. Run it again after an
    interruption, or with more lines: nothing is doubled.
    """
    summary = Summary(client, str(path), dry_run, report=None if report is None else str(report))
    with explained(), ExitStack() as stack:
        names = columns_given(columns or [])
        try:
            size = path.stat().st_size
            file = CustomerFile(stack.enter_context(path.open("rb")), names)
            out = stack.enter_context(report.open("w", newline="")) if report else None
        except OSError as error:
            raise InputError(f"{error.filename}: {error.strerror}") from error
        summary.ignored_columns = file.ignored
        importing = _Import(file, client, region, dry_run, summary, out)
        try:
            with Bars() as bars:
                asyncio.run(importing.run(bars, size))
        except KeyboardInterrupt:
            typer.echo("interrupted; the same command goes on where this one stopped", err=True)
            raise typer.Exit(INTERRUPTED) from None
    _print(summary, format)


def columns_given(given: Iterable[str]) -> dict[str, str]:
    found = {}
    for each in (part for text in given for part in text.split(",")):
        name, equals, wanted = each.rpartition("=")
        if not equals:
            raise InputError("columns: must be HEADER=FIELD, several with commas between them")
        found[name.strip()] = wanted.strip()
    return found


class _Import:
    """One run over one file. A few requests are under way at a time, and their answers are read in
    the order of the file, so that memory does not grow with it."""

    def __init__(
        self,
        file: CustomerFile,
        client: str,
        region: str,
        dry_run: bool,
        summary: Summary,
        report: TextIO | None,
    ) -> None:
        self._file = file
        self._client = client
        self._region = region
        self._dry_run = dry_run
        self._summary = summary
        self._report = None if report is None else csv.writer(report)
        self._reasons: Counter[str] = Counter()
        self._seen = Seen()

    async def run(self, bars: Bars, size: int) -> None:
        task = bars.add_task("trying" if self._dry_run else "importing", total=size, text="")
        if self._report is not None:
            self._report.writerow(REPORT)
        waiting: deque[tuple[int, list[Row | Broken], asyncio.Task[Any]]] = deque()
        with closing(self._seen):
            async with CrmClient(self._client, Role.SUPERVISOR) as crm:
                try:
                    for chunk in self._chunks():
                        sent = asyncio.create_task(self._send(crm, chunk))
                        waiting.append((self._file.position, chunk, sent))
                        if len(waiting) == IN_FLIGHT:
                            self._take(*await _first(waiting))
                            bars.show(task, waiting[0][0], self._text(), size)
                    while waiting:
                        self._take(*await _first(waiting))
                    bars.show(task, size, self._text(), size)
                finally:
                    for _, _, sent in waiting:
                        sent.cancel()
                    self._summary.reasons = dict(self._reasons.most_common())

    def _chunks(self) -> Iterator[list[Row | Broken]]:
        chunk: list[Row | Broken] = []
        began = self._file.position
        for each in self._file:
            chunk.append(each)
            if len(chunk) == CHUNK or self._file.position - began > CHUNK_BYTES:
                yield chunk
                chunk, began = [], self._file.position
        if chunk:
            yield chunk

    async def _send(self, crm: CrmClient, chunk: list[Row | Broken]) -> list[dict[str, Any]]:
        rows = [each for each in chunk if isinstance(each, Row)]
        if not rows:
            return []
        body = {
            "rows": [row.values for row in rows],
            "region": self._region,
            "dry_run": self._dry_run,
        }
        # The same lines of a file are the same request, so that a repeat has no effect.
        asked = json.dumps([self._client, [row.line for row in rows], body]).encode()
        key = f"import-{hashlib.sha256(asked).hexdigest()}"
        path = f"/v1/clients/{self._client}/customers/import"
        lines: list[dict[str, Any]] = (await crm.post(path, body, key))["lines"]
        return lines

    def _take(self, chunk: list[Row | Broken], answers: list[dict[str, Any]]) -> None:
        given = iter(answers)
        numbers = [each.line for each in chunk if isinstance(each, Row)]
        for each in chunk:
            if isinstance(each, Broken):
                self._count(each.line, {"outcome": "rejected", "reason": each.reason})
                continue
            answer = next(given)
            if "row" in answer:
                answer["duplicate_of_line"] = numbers[answer["row"]]
            if self._dry_run and answer["outcome"] == "accepted":
                earlier = self._seen.before(each.line, answer["marks"], answer["sought"])
                if earlier is not None:
                    answer |= {"outcome": "duplicate", "duplicate_of_line": earlier}
            self._count(each.line, answer)

    def _count(self, line: int, answer: dict[str, Any]) -> None:
        summary = self._summary
        summary.lines += 1
        outcome = answer["outcome"]
        setattr(summary, outcome, getattr(summary, outcome) + 1)
        if outcome == "rejected":
            at = answer.get("field")
            self._reasons[f"{at}: {answer['reason']}" if at else answer["reason"]] += 1
        if self._report is not None:
            self._report.writerow([line, *(answer.get(name, "") for name in REPORT[1:])])

    def _text(self) -> str:
        s = self._summary
        return f"{s.accepted:,} accepted, {s.duplicate:,} duplicates, {s.rejected:,} rejected"


async def _first(
    waiting: deque[tuple[int, list[Row | Broken], asyncio.Task[Any]]],
) -> tuple[list[Row | Broken], list[dict[str, Any]]]:
    _, chunk, sent = waiting[0]
    answers = await sent
    waiting.popleft()
    return chunk, answers


class Seen:
    """Marks of the lines that a dry run would accept, since crm keeps nothing of them. In a
    temporary database that SQLite moves to the disk when it grows."""

    def __init__(self) -> None:
        self._marks = sqlite3.connect("")
        self._marks.execute("CREATE TABLE marks (mark TEXT PRIMARY KEY, line INT) WITHOUT ROWID")

    def before(self, line: int, marks: list[str], sought: list[str]) -> int | None:
        """The line that this one is a duplicate of; otherwise it is kept for those to come."""
        places = ", ".join("?" * len(sought))
        found = self._marks.execute(
            f"SELECT min(line) FROM marks WHERE mark IN ({places})", sought
        ).fetchone()[0]
        if found is not None:
            return int(found)
        self._marks.executemany(
            "INSERT OR IGNORE INTO marks VALUES (?, ?)", [(mark, line) for mark in marks]
        )
        return None

    def close(self) -> None:
        self._marks.close()


def _print(summary: Summary, format: Format) -> None:
    if format is Format.JSON:
        typer.echo(json.dumps(asdict(summary), indent=2, ensure_ascii=False))
        return
    would = "would be " if summary.dry_run else ""
    counts(
        [
            ("lines", summary.lines),
            (f"{would}accepted", summary.accepted),
            ("duplicates", summary.duplicate),
            ("rejected", summary.rejected),
        ]
    )
    if summary.reasons:
        table = Table("rejected", "lines", box=None)
        for reason, lines in islice(summary.reasons.items(), 20):
            table.add_row(reason, f"{lines:,}")
        print_table(table)
    if summary.ignored_columns:
        typer.echo(f"columns left out: {', '.join(summary.ignored_columns)}")
    if summary.report is not None:
        typer.echo(f"what became of each line: {summary.report}")


@app.command()
def find(
    client: ClientId,
    name: Annotated[str | None, typer.Option(help="Words that begin words of the name.")] = None,
    phone: Annotated[str | None, typer.Option()] = None,
    email: Annotated[str | None, typer.Option()] = None,
    number: Annotated[str | None, typer.Option(help="The client's own number.")] = None,
    region: Region = "",
    limit: Annotated[int, typer.Option(min=1, max=MAX_FOUND)] = 20,
    format: AsFormat = Format.TABLE,
) -> None:
    """Find customers by exactly one of name, phone, email and number."""
    asked = {"name": name, "phone": phone, "email": email, "number": number}
    body = {key: value for key, value in asked.items() if value is not None}
    with explained():
        if len(body) != 1:
            raise InputError("give exactly one of --name, --phone, --email and --number")
        found = asyncio.run(_find(client, body | {"region": region, "limit": limit}))
    if format is Format.JSON:
        typer.echo(json.dumps(found, indent=2, ensure_ascii=False))
        return
    table = Table("customer", "number", "name", "phones", "emails", box=None)
    for each in found:
        lists = (", ".join(each[name]) for name in ("phones", "emails"))
        table.add_row(each["customer_id"], each["number"], each["name"], *lists)
    print_table(table)


@app.command()
def show(
    customer: Annotated[
        str,
        typer.Argument(
            metavar="CUSTOMER", help="crm's id, or the client's own number.", show_default=False
        ),
    ],
    client: ClientId,
    format: AsFormat = Format.TABLE,
) -> None:
    """Show one customer: what is known, and the records merged into it."""
    with explained():
        known = asyncio.run(_show(client, customer))
    if format is Format.JSON:
        typer.echo(json.dumps(known, indent=2, ensure_ascii=False))
        return
    records = known.pop("records")
    counts((name.replace("_", " "), _cell(value)) for name, value in known.items())
    if len(records) > 1:
        table = Table("record", "number", "name", "merged into", box=None)
        for each in records:
            table.add_row(each["customer_id"], each["number"], each["name"], each["merged_into"])
        print_table(table)


def _cell(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(value)
    return "" if value is None else str(value).replace("\n", ", ")


async def _find(client: str, body: dict[str, Any]) -> list[dict[str, Any]]:
    async with CrmClient(client, Role.AGENT) as crm:
        items: list[dict[str, Any]] = (
            await crm.post(f"/v1/clients/{client}/customers/find", body)
        )["items"]
        return items


async def _show(client: str, reference: str) -> dict[str, Any]:
    # The number first: it may be personal, and would be part of the URL otherwise.
    found = await _find(client, {"number": reference})
    if found:
        return found[0]
    async with CrmClient(client, Role.AGENT) as crm:
        try:
            known: dict[str, Any] = await crm.get(f"/v1/clients/{client}/customers/{reference}")
        except Refusal as refusal:
            if refusal.status in (404, 422):
                raise InputError(f"{client} has no customer with this id or number") from None
            raise
        return known
