"""Progress on standard error, summaries on standard output."""

import json
from collections.abc import Iterable
from dataclasses import asdict
from enum import StrEnum
from typing import TYPE_CHECKING

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


class Format(StrEnum):
    TABLE = "table"
    JSON = "json"


def bars() -> Progress:
    """Progress bars; each task has a field `text`, shown behind its bar."""
    return Progress(
        TextColumn("{task.description:<17}"),
        BarColumn(bar_width=24),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[text]}"),
        console=Console(stderr=True),
    )


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
