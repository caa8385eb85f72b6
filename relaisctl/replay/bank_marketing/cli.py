"""`relaisctl replay bank-marketing FILE`. Only the summary goes to standard output.

Exit codes: 2 the file, the client or an option is unusable (nothing was published), 3 Kafka cannot
be reached, 4 all is published and the loader does not load it, 130 interrupted.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Annotated, Final
from zoneinfo import ZoneInfo

import typer

from eventkit.csvrecords import Broken, CsvRecords
from eventkit.errors import InvalidMessage
from eventkit.records import Message
from eventkit.settings import load
from relaisctl import clients
from relaisctl.errors import explained
from relaisctl.replay import files, publishing
from relaisctl.replay.anonymous_bank import Reject
from relaisctl.replay.bank_marketing import campaign, codec
from relaisctl.replay.bank_marketing.rows import (
    FIRST_YEAR,
    TIME_ZONE,
    Calendar,
    NotInOrderError,
    Row,
    UnreadableError,
    columns,
    read_row,
)
from relaisctl.show import Bars, Format, counts, plain
from relaisctl.stack.settings import Environment
from relaisctl.stack.stack import Stack

REPORT_EVERY: Final = 500


@dataclass
class Summary:
    """What a replay has done. talked_s: of all attempts together; sold: customers who bought."""

    client: str
    file: str
    rows: int = 0
    campaigns: int = 0
    leads: int = 0
    attempts: int = 0
    contacted: int = 0
    sold: int = 0
    talked_s: int = 0
    first_day: str | None = None
    last_day: str | None = None
    events: int = 0
    mended_rows: int = 0
    mended: dict[str, int] = field(default_factory=dict)
    rejected_rows: int = 0
    rejected: dict[str, int] = field(default_factory=dict)
    rejects_file: str | None = None
    loaded: bool | None = None
    """Whether analytics has loaded it all; None: nobody waited."""


def replay_bank_marketing(
    path: Annotated[Path, typer.Argument(metavar="FILE", show_default=False)],
    client: Annotated[str, typer.Option(help="The client company whose campaigns these are.")],
    seed: Annotated[
        int, typer.Option(min=1, help="What is not on record is made up from it.")
    ] = campaign.SEED,
    year: Annotated[int, typer.Option(min=1970, max=2200, help="Of the first row.")] = FIRST_YEAR,
    rejects: Annotated[
        Path | None, typer.Option(help="Where unreadable rows go. Default: RELAIS_HOME/rejects/.")
    ] = None,
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="Until analytics has loaded it all.")
    ] = True,
    format: Annotated[Format, typer.Option("--format", help="Of the summary.")] = Format.TABLE,
) -> None:
    """Play a bank's telesales calls (UCI "bank marketing") as outbound campaigns."""
    summary = Summary(client, str(path))
    with explained():
        company = clients.Client(client, client, TIME_ZONE)
        clients.check(company)
        stack = Stack.of(load(Environment).stack_settings())
        reading = read(path, year, datetime.now(ZoneInfo(TIME_ZONE)).date())
        contacts = list(campaign.identify(reading.rows, seed))
        _count(contacts, reading, summary)
        target = rejects or stack.settings.home / "rejects" / f"{path.stem}.tsv"
        if reading.rejects or rejects is not None or target.exists():
            files.write_rejects(target, [(path, reject) for reject in reading.rejects])
            summary.rejects_file = str(target)
        publishing.publish_shown(
            stack.addresses["kafka"],
            company,
            lambda known, now: messages(known, contacts, now),
            sum(campaign.count_events(contact.row) for contact in contacts),
            summary,
            topics=(codec.CAMPAIGN_EVENTS, codec.ATTEMPT_EVENTS),
            wait=wait,
        )
    _print(summary, format)
    publishing.check_loaded(summary)


@dataclass
class Reading:
    """What a file holds: rows with their days, in its order."""

    rows: list[tuple[Row, date]] = field(default_factory=list)
    mended_rows: int = 0
    mended: Counter[str] = field(default_factory=Counter)
    rejects: list[Reject] = field(default_factory=list)


def read(path: Path, year: int, latest: date) -> Reading:
    """All rows. No day can be later than `latest`. Raises FileError for a file that is none."""
    reading = Reading()
    total = files.size_of([path])
    try:
        with path.open("rb") as binary, Bars() as progress:
            task = progress.add_task("rows read", total=total, text="")
            for number, position in enumerate(_read(CsvRecords(binary), year, latest, reading), 1):
                if number % REPORT_EVERY == 0:
                    progress.show(task, position, f"{number:,} rows")
            progress.show(task, total, f"{len(reading.rows):,} rows")
    except OSError as error:
        raise files.FileError(f"{path}: {(error.strerror or str(error)).lower()}") from error
    except (InvalidMessage, UnreadableError, NotInOrderError) as error:
        raise files.FileError(f"{path}: {error}") from error
    if not reading.rows:
        raise files.FileError(f"{path}: no row can be read")
    return reading


def _read(records: CsvRecords, year: int, latest: date, reading: Reading) -> Iterator[int]:
    """Yields how many bytes have been read, after each row."""
    places = columns(records.header)
    days = Calendar(year, latest)
    for record in records:
        if isinstance(record, Broken):
            reading.rejects.append(Reject(record.line, "", record.reason, ""))
        else:
            try:
                row, notes = read_row(record.cells, places)
            except UnreadableError as error:
                raw = ";".join(record.cells)
                reading.rejects.append(Reject(record.line, error.field, error.reason, raw))
            else:
                reading.rows.append((row, days.day(row.month, row.weekday)))
                reading.mended_rows += bool(notes)
                reading.mended.update(notes)
        yield records.position


def _count(contacts: list[campaign.Contact], reading: Reading, summary: Summary) -> None:
    summary.rows = len(reading.rows) + len(reading.rejects)
    summary.campaigns = len({contact.campaign_id for contact in contacts})
    summary.leads = len(contacts)
    summary.attempts = sum(contact.row.attempts for contact in contacts)
    summary.contacted = sum(contact.row.talked_s > 0 for contact in contacts)
    summary.sold = sum(contact.row.sold for contact in contacts)
    summary.talked_s = sum(contact.row.talked_s for contact in contacts)
    summary.first_day = min(contact.day for contact in contacts).isoformat()
    summary.last_day = max(contact.day for contact in contacts).isoformat()
    summary.mended_rows = reading.mended_rows
    summary.mended = dict(reading.mended.most_common())
    summary.rejected_rows = len(reading.rejects)
    reasons = Counter(
        f"{reject.field}: {reject.reason}" if reject.field else reject.reason
        for reject in reading.rejects
    )
    summary.rejected = dict(reasons.most_common())


def messages(
    company: clients.Client, contacts: list[campaign.Contact], now: int
) -> Iterator[Message]:
    """Days and hours are those of the client's clock."""
    for event in campaign.in_time_order(contacts, ZoneInfo(company.time_zone), now):
        yield codec.message(company.client_id, event, now)


def _print(summary: Summary, format: Format) -> None:
    if format is Format.JSON:
        plain(summary, format)
        return
    counts(
        [
            ("rows", summary.rows),
            ("  mended", summary.mended_rows),
            *((f"    {kind}", count) for kind, count in summary.mended.items()),
            ("  rejected", summary.rejected_rows),
            *((f"    {reason}", count) for reason, count in summary.rejected.items()),
            ("campaigns", summary.campaigns),
            ("  from", summary.first_day or "-"),
            ("  to", summary.last_day or "-"),
            ("leads", summary.leads),
            ("attempts", summary.attempts),
            ("contacted", summary.contacted),
            ("sold", summary.sold),
            ("events", summary.events),
        ]
    )
    if summary.rejects_file:
        typer.echo(f"rejected rows are in {summary.rejects_file}")
