"""What people see: progress on standard error, answers on standard output."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from enum import StrEnum
from typing import TYPE_CHECKING

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn
from rich.table import Table

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


LINE_EVERY_S = 10.0


class Format(StrEnum):
    TABLE = "table"
    JSON = "json"


class Bars(Progress):
    """Progress bars; each task has a field `text`. A log or a pipe gets a line now and then."""

    def __init__(self) -> None:
        super().__init__(
            TextColumn("{task.description}"),
            BarColumn(bar_width=14),
            TaskProgressColumn(),
            TextColumn("{task.fields[text]}"),
            console=Console(stderr=True, highlight=False),
        )
        self._told = self.get_time()

    def show(self, task: TaskID, completed: float, text: str, total: float | None = None) -> None:
        """Move one bar."""
        self.update(task, completed=completed, text=text, total=total)
        if not self.console.is_terminal and self.get_time() - self._told >= LINE_EVERY_S:
            self._told = self.get_time()
            self.console.print(f"{self.tasks[task].description}  {text}")


def print_table(table: Table) -> None:
    """Print to standard output; at full length where no terminal sets a width."""
    console = Console(highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = 200  # a log or a pipe has no width of its own
    console.print(table)


def print_rows(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table below an empty line; nothing, where it has no rows."""
    table = Table(*columns, box=None)
    for row in rows:
        table.add_row(*row)
    if table.row_count:
        typer.echo()
        print_table(table)


def moment(text: str | None) -> str:
    """A moment of an API, to the minute, UTC."""
    return "" if text is None else f"{text[:10]} {text[11:16]}"


def plain(summary: "DataclassInstance", format: Format) -> None:
    """Print a summary as it is: a JSON object, or a line per field."""
    values = asdict(summary)
    if format is Format.JSON:
        typer.echo(json.dumps(values, indent=2))
    else:
        counts((name.replace("_", " "), value) for name, value in values.items())


def counts(lines: Iterable[tuple[str, int | str]]) -> None:
    """Print names with their values, numbers aligned."""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column()
    table.add_column(justify="right")
    for name, value in lines:
        table.add_row(name, f"{value:,}" if isinstance(value, int) else value)
    Console(width=100, highlight=False, markup=False).print(table)
