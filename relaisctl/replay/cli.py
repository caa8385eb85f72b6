"""`relaisctl replay anonymous-bank FILE...`. Only the summary goes to standard output.

Exit codes: 2 a file, a client or an option is unusable (nothing was published), 3 Kafka or routing
cannot be reached, 4 all is published and the loader does not load it, 130 interrupted.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated
from zoneinfo import ZoneInfo

import typer

from eventkit.clock import SystemClock
from eventkit.settings import load
from relaisctl import clients
from relaisctl.errors import InputError, explained
from relaisctl.replay import anonymous_bank, files, history, publish, publishing, rerun, stage
from relaisctl.replay.bank_marketing import cli as bank_marketing
from relaisctl.show import Bars, Format, counts, plain
from relaisctl.stack.settings import Environment
from relaisctl.stack.stack import Stack

ZONE = ZoneInfo(anonymous_bank.TIME_ZONE)
SEED = 1

app = typer.Typer(help="Play recorded calls into Relais.", no_args_is_help=True)


class Mode(StrEnum):
    HISTORY = "history"
    LIVE = "live"


@dataclass
class Summary:
    """What a replay in history mode has done."""

    client: str
    files: list[str]
    rows: int = 0
    repeated_rows: int = 0
    calls: int = 0
    first_day: str | None = None
    last_day: str | None = None
    """Local days of the first and the last arrival."""
    events: int = 0
    mended_rows: int = 0
    mended: dict[str, int] = field(default_factory=dict)
    rejected_rows: int = 0
    rejected: dict[str, int] = field(default_factory=dict)
    rejects_file: str | None = None
    loaded: bool | None = None
    """Whether analytics has loaded it all; None: nobody waited."""


app.command("bank-marketing")(bank_marketing.replay_bank_marketing)


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
        bool, typer.Option("--wait/--no-wait", help="history: until analytics has loaded it all.")
    ] = True,
    speed: Annotated[
        float, typer.Option(min=1, max=1000, help="live: so many times as fast.")
    ] = 60.0,
    agents: Annotated[
        int | None,
        typer.Option(min=1, max=5000, help="live: how many. Default: as the load asks."),
    ] = None,
    pool: Annotated[str | None, typer.Option(help="live: Default: the client and the run.")] = None,
    run: Annotated[
        str | None, typer.Option(help="live: part of all ids. Default: from the time of day.")
    ] = None,
    begins: Annotated[
        datetime | None,
        typer.Option("--from", help="live: local time. Default: the first day of average traffic."),
    ] = None,
    ends: Annotated[
        datetime | None, typer.Option("--to", help="live: local time, exclusive.")
    ] = None,
    format: Annotated[Format, typer.Option("--format", help="Of the summary.")] = Format.TABLE,
) -> None:
    """Play the call-by-call files of Technion's "anonymous bank"."""
    if mode is Mode.HISTORY:
        replay_history(paths, client, rejects, wait, format)
        return
    with explained():
        stack, company, summary = _prepare(paths, client)
        calls = _window(_read(paths, _target(stack, paths, rejects), summary), begins, ends)
        plain(_play_live(stack, company, calls, agents, speed, pool, run), format)


def replay_history(
    paths: Sequence[Path],
    client: str,
    rejects: Path | None = None,
    wait: bool = True,
    format: Format = Format.TABLE,
) -> Summary:
    """Publish the files' events, wait for the loader, print the summary. Raises typer.Exit."""
    with explained():
        stack, company, summary = _prepare(paths, client)
        calls = _read(paths, _target(stack, paths, rejects), summary)
        publishing.publish_shown(
            stack.addresses["kafka"],
            company,
            lambda known, now: publish.messages(known.client_id, calls, now),
            sum(history.EVENTS[recorded.call.outcome] for recorded in calls),
            summary,
            wait=wait,
        )
    _print(summary, format)
    publishing.check_loaded(summary)
    return summary


def _prepare(paths: Sequence[Path], client: str) -> tuple[Stack, clients.Client, Summary]:
    company = clients.Client(client, client, anonymous_bank.TIME_ZONE)
    clients.check(company)
    stack = Stack.of(load(Environment).stack_settings())
    return stack, company, Summary(client, [str(path) for path in paths])


@dataclass(frozen=True, slots=True)
class _Target:
    """Where rejects go. `asked`: the file is written even when there are none."""

    path: Path
    asked: bool


def _target(stack: Stack, paths: Sequence[Path], rejects: Path | None) -> _Target:
    default = stack.settings.home / "rejects" / f"{paths[0].stem}.tsv"
    return _Target(rejects or default, asked=rejects is not None)


def _read(paths: Sequence[Path], target: _Target, summary: Summary) -> list[history.Recorded]:
    """All calls of the files by arrival; what cannot be read goes to the rejects file."""
    with Bars() as progress:
        task = progress.add_task("rows read", total=files.size_of(paths), text="")
        reading = files.read_files(
            paths,
            datetime.now(ZONE).date(),
            lambda size, rows: progress.show(task, size, f"{rows:,} rows"),
        )
    calls, summary.repeated_rows = history.identify(reading.calls, ZONE)
    summary.rows = reading.rows
    summary.calls = len(calls)
    summary.mended_rows = reading.mended_rows
    summary.mended = dict(reading.mended.most_common())
    summary.rejected_rows = len(reading.rejects)
    summary.rejected = dict(reading.rejected.most_common())
    if calls:
        summary.first_day = min(recorded.call.day for recorded in calls).isoformat()
        summary.last_day = max(recorded.call.day for recorded in calls).isoformat()
    if reading.rejects or target.asked or target.path.exists():
        files.write_rejects(target.path, reading.rejects)
        summary.rejects_file = str(target.path)
    return calls


# History ------------------------------------------------------------------------------------------


def _print(summary: Summary, format: Format) -> None:
    if format is Format.JSON:
        plain(summary, format)
        return
    counts(
        [
            ("rows", summary.rows),
            ("  repeating another", summary.repeated_rows),
            ("  mended", summary.mended_rows),
            *((f"    {kind}", count) for kind, count in summary.mended.items()),
            ("  rejected", summary.rejected_rows),
            *((f"    {reason}", count) for reason, count in summary.rejected.items()),
            ("calls", summary.calls),
            ("  from", summary.first_day or "-"),
            ("  to", summary.last_day or "-"),
            ("events", summary.events),
        ]
    )
    if summary.rejects_file:
        typer.echo(f"rejected rows are in {summary.rejects_file}")


# Live ---------------------------------------------------------------------------------------------


def _window(
    calls: Sequence[history.Recorded], begins: datetime | None, ends: datetime | None
) -> list[history.Recorded]:
    if begins is None and ends is None:
        begins, ends = rerun.busy_day(calls)
    chosen = rerun.within(calls, begins or datetime.min, ends or datetime.max)
    if not chosen:
        raise InputError(f"no call between {begins or 'the beginning'} and {ends or 'the end'}")
    return chosen


def _play_live(
    stack: Stack,
    company: clients.Client,
    calls: Sequence[history.Recorded],
    agents: int | None,
    speed: float,
    pool: str | None,
    run: str | None,
) -> stage.Played:
    run = run or stage.run_name(SystemClock().now_us())
    script = rerun.script(calls, company.client_id, run, SEED)
    count = agents or rerun.agents_needed(script, stage.HABITS.wrap_up + stage.HABITS.ring)
    production = stage.Production(
        pool_id=pool or f"{company.client_id}.{run}",
        run=run,
        calls=script,
        agents=rerun.roster(script, count, run),
        speed=speed,
        seed=SEED,
        actor=publish.ACTOR,
    )

    kafka = stack.addresses["kafka"]
    routing = f"127.0.0.1:{stack.settings.ports.routing_grpc}"

    async def perform() -> stage.Played:
        await clients.ensure_registered(kafka, company)
        return await stage.perform(production, kafka, routing)

    return stage.run_to_the_end(perform())
