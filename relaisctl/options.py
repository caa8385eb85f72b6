"""Options and arguments that several commands have."""

import re
from typing import Annotated

import typer

from relaisctl.show import Format

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:+-]{0,127}")


def is_id(value: str) -> bool:
    return _ID.fullmatch(value) is not None


def an_id(value: str | None) -> str | None:
    """A callback: what is made part of a path must be an id, and nothing else."""
    if value is not None and not is_id(value):
        raise typer.BadParameter("letters, digits and . _ : + -")
    return value


Client = Annotated[str, typer.Option("--client", help="The client company's id.", callback=an_id)]
Output = Annotated[Format, typer.Option("--format")]
Limit = Annotated[int, typer.Option(min=1, help="So many at most.")]
