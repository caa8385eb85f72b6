"""`relaisctl up`, `down`, `status`, `topics`. Only answers go to standard output."""

import json
from dataclasses import asdict
from threading import Lock
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from eventkit.settings import load
from relaisctl.show import Format, print_table
from relaisctl.stack.errors import StackError
from relaisctl.stack.program import Kind
from relaisctl.stack.settings import Environment
from relaisctl.stack.stack import Stack, State, Status
from relaisctl.stack.topics import ensure_topics, load_topics

NOT_HEALTHY = 3
_one_line = Lock()

Names = Annotated[list[str] | None, typer.Argument(help="Only these; all if none is named.")]
EnginesOnly = Annotated[bool, typer.Option("--engines-only", help="Leave the services out.")]


def up(names: Names = None, engines_only: EnginesOnly = False) -> None:
    """Start the engines and the services; what runs already stays."""
    stack = _stack()
    try:
        stack.start(_choice(stack, names, engines_only))
    except StackError as error:
        raise _failed(error) from error


def down(
    names: Names = None,
    purge: Annotated[bool, typer.Option("--purge", help="Remove all data as well.")] = False,
) -> None:
    """Stop everything that was started here, services first."""
    if purge and names:
        raise typer.BadParameter("--purge removes everything: name no single program")
    stack = _stack()
    stopped = stack.stop(names or None)
    typer.echo(f"stopped: {', '.join(stopped) or 'nothing was running'}", err=True)
    if purge:
        stack.purge()
        typer.echo(f"removed: {stack.settings.home}", err=True)


def status(
    names: Names = None,
    engines_only: EnginesOnly = False,
    format: Annotated[Format, typer.Option("--format")] = Format.TABLE,
) -> None:
    """Show what runs and how it is; exit code 0 if all of it is healthy, 3 otherwise."""
    stack = _stack()
    try:
        rows = stack.status(_choice(stack, names, engines_only))
    except StackError as error:
        raise _failed(error) from error
    if format is Format.JSON:
        typer.echo(json.dumps([asdict(row) for row in rows], indent=2))
    else:
        print_table(_table(rows))
    if not all(row.state.healthy for row in rows):
        raise typer.Exit(NOT_HEALTHY)


def topics(
    replication_factor: Annotated[int, typer.Option(min=1, help="Copies of each partition.")] = 1,
) -> None:
    """Create the topics of proto/topics.yaml on RELAIS_KAFKA; verify those that exist."""
    stack = _stack()
    try:
        report = ensure_topics(
            stack.addresses["kafka"], load_topics(), replication_factor=replication_factor
        )
    except StackError as error:
        raise _failed(error) from error
    for name in report.created:
        typer.echo(f"created   {name}")
    for name in report.existing:
        typer.echo(f"existing  {name}")
    for name in report.unverified:
        typer.echo(f"the broker does not tell about {name}", err=True)


def _stack() -> Stack:
    return Stack.of(load(Environment).stack_settings(), say=say)


def _choice(stack: Stack, names: list[str] | None, engines_only: bool) -> list[str] | None:
    if names and engines_only:
        raise typer.BadParameter("name programs or say --engines-only, not both")
    return names or (stack.names(Kind.ENGINE) if engines_only else None)


def say(name: str, line: str) -> None:
    """A line of progress on standard error."""
    with _one_line:  # programs start in parallel
        typer.echo(f"{name:<17} {line}", err=True)


def _failed(error: StackError) -> typer.Exit:
    typer.echo(str(error), err=True)
    return typer.Exit(1)


def _table(rows: list[Status]) -> Table:
    colours = {State.RUNNING: "green", State.EXTERNAL: "green", State.STOPPED: "dim"}
    table = Table("name", "state", "pid", "address", "uptime", "detail", box=None)
    for row in rows:
        colour = colours.get(row.state, "red")
        uptime = "" if row.uptime_s is None else _duration(row.uptime_s)
        pid = str(row.pid or "")
        state = Text(row.state, style=colour)
        table.add_row(row.name, state, pid, row.address, uptime, row.detail)
    return table


def _duration(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h{minutes:02}m"
    return f"{minutes}m{rest:02}s" if minutes else f"{rest}s"
