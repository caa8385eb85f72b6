"""`relaisctl replay anonymous-bank FILE...`. Only the summary goes to standard output.

Exit codes: 2 a file, a client or an option is unusable (nothing was published), 3 Kafka cannot be
reached, 4 everything is published and the loader does not load it, 130 interrupted.
"""

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated
from zoneinfo import ZoneInfo

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table

from eventkit.clock import SystemClock
from eventkit.settings import load
from relaisctl import clients
from relaisctl.explain import INTERRUPTED, NOT_LOADED, explained
from relaisctl.replay import anonymous_bank, files, history, publish
from relaisctl.stack.settings import Environment
from relaisctl.stack.stack import Stack

PATIENCE_S = 60.0

app = typer.Typer(help="Play recorded calls into Relais.", no_args_is_help=True)


class Mode(StrEnum):
    HISTORY = "history"
    LIVE = "live"


class Format(StrEnum):
    TABLE = "table"
    JSON = "json"


@dataclass
class Summary:
    """What a replay in history mode has done."""

    client: str
    files: list[str]
    rows: int = 0
    repeated_rows: int = 0
    calls: int = 0
    events: int = 0
    mended_rows: int = 0
    mended: dict[str, int] = field(default_factory=dict)
    rejected_rows: int = 0
    rejected: dict[str, int] = field(default_factory=dict)
    rejects_file: str | None = None
    loaded: bool | None = None
    """Whether analytics has loaded it all; None: nobody waited."""


@app.callback()
def replay() -> None:
    """Play recorded calls into Relais."""


@app.command("anonymous-bank")
def replay_anonymous_bank(
    paths: Annotated[list[Path], typer.Argument(metavar="FILE...", show_default=False)],
    client: Annotated[str, typer.Option(help="The client company whose calls these are.")],
    mode: Annotated[
        Mode, typer.Option(help="history: as it happened; live: our routing decides anew.")
    ] = Mode.HISTORY,
    rejects: Annotated[
        Path | None, typer.Option(help="Where unreadable rows go. Default: RELAIS_HOME/rejects/.")
    ] = None,
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="Wait until analytics has loaded it all.")
    ] = True,
    format: Annotated[Format, typer.Option("--format", help="Of the summary.")] = Format.TABLE,
) -> None:
    """Play the call-by-call files of Technion's "anonymous bank"."""
    environment = load(Environment)
    stack = Stack.of(environment.stack_settings())
    target = rejects or stack.settings.home / "rejects" / f"{paths[0].stem}.tsv"
    with explained():
        summary = _play_history(
            stack.addresses["kafka"], paths, client, target, rejects is not None, wait
        )
    _print(summary, format)
    if summary.loaded is False:
        typer.echo(
            f"not loaded: the analytics loader has not moved for {PATIENCE_S:.0f} s; "
            "is it running? (relaisctl status)",
            err=True,
        )
        raise typer.Exit(NOT_LOADED)


def _play_history(
    bootstrap: str, paths: list[Path], client: str, target: Path, asked: bool, wait: bool
) -> Summary:
    clock = SystemClock()
    zone = ZoneInfo(anonymous_bank.TIME_ZONE)
    company = clients.Client(client, client, anonymous_bank.TIME_ZONE)
    clients.check(company)
    summary = Summary(client, [str(path) for path in paths])
    with _progress() as progress:
        reading_task = progress.add_task("rows read", total=files.size_of(paths), count="")
        reading = files.read_files(
            paths,
            datetime.now(zone).date(),
            lambda size, rows: progress.update(
                reading_task, completed=size, count=f"{rows:,} rows"
            ),
        )
        calls, summary.repeated_rows = history.identify(reading.calls, zone)
        summary.rows = reading.rows
        summary.calls = len(calls)
        summary.mended_rows = reading.mended_rows
        summary.mended = dict(reading.mended.most_common())
        summary.rejected_rows = len(reading.rejects)
        summary.rejected = dict(reading.rejected.most_common())
        if reading.rejects or asked or target.exists():
            files.write_rejects(target, reading.rejects)
            summary.rejects_file = str(target)
        try:
            asyncio.run(
                _publish(bootstrap, company, calls, clock.now_us(), wait, summary, progress)
            )
        except KeyboardInterrupt:
            progress.stop()
            typer.echo(
                f"interrupted after {summary.events:,} events; "
                "run it again to publish all: repeats change nothing",
                err=True,
            )
            raise typer.Exit(INTERRUPTED) from None
    return summary


async def _publish(
    bootstrap: str,
    company: clients.Client,
    calls: list[history.Recorded],
    now: int,
    wait: bool,
    summary: Summary,
    progress: Progress,
) -> None:
    if company.client_id not in await clients.registered(bootstrap):
        await clients.register(bootstrap, company, SystemClock())
        progress.console.print(
            f"client {company.client_id} is registered, zone {company.time_zone}", highlight=False
        )
    total = sum(history.EVENTS[recorded.call.outcome] for recorded in calls)
    task = progress.add_task("events published", total=total, count="")

    def published(count: int) -> None:
        summary.events = count
        progress.update(task, completed=count, count=f"{count:,} events")

    await publish.publish(bootstrap, company.client_id, calls, now, published)
    if not wait:
        return
    targets = await publish.ends(bootstrap)
    task = progress.add_task("loaded", total=None, count="")
    most = 0

    def missing(count: int) -> None:
        nonlocal most
        most = max(most, count)
        # Nothing missing from the start is a full bar, not an empty one.
        progress.update(
            task, total=max(most, 1), completed=max(most, 1) - count, count=f"{count:,} to go"
        )

    summary.loaded = await publish.loaded(bootstrap, targets, PATIENCE_S, missing)


@contextmanager
def _progress() -> Iterator[Progress]:
    console = Console(stderr=True)
    with Progress(
        TextColumn("{task.description:<17}"),
        BarColumn(bar_width=30),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[count]}"),
        console=console,
    ) as progress:
        yield progress


def _print(summary: Summary, format: Format) -> None:
    if format is Format.JSON:
        typer.echo(json.dumps(asdict(summary), indent=2))
        return
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column()
    table.add_column(justify="right")

    def line(name: str, count: int) -> None:
        table.add_row(name, f"{count:,}")

    line("rows", summary.rows)
    line("  repeating another", summary.repeated_rows)
    line("  mended", summary.mended_rows)
    for kind, count in summary.mended.items():
        line(f"    {kind}", count)
    line("  rejected", summary.rejected_rows)
    for reason, count in summary.rejected.items():
        line(f"    {reason}", count)
    line("calls", summary.calls)
    line("events", summary.events)
    console = Console(width=100, highlight=False)
    console.print(table)
    if summary.rejects_file:
        typer.echo(f"rejected rows: {summary.rejects_file}")
