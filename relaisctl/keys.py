"""`relaisctl keys status|rotate`: the master keys that wrap the keys of personal data."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from eventkit.errors import Unavailable
from eventkit.namedsecrets import new_secret
from relaisctl.errors import InputError, UnreachableError, explained
from relaisctl.local import local
from relaisctl.show import Bars, Format, print_table

if TYPE_CHECKING:
    from eventkit.keys import MasterUsage, PostgresKeyRing

app = typer.Typer(help="The keys that personal data is sealed with.", no_args_is_help=True)


@app.command("status")
def status(
    format: Annotated[Format, typer.Option("--format")] = Format.TABLE,
) -> None:
    """Show how many keys each master key wraps, and which one this environment wraps with."""
    with explained():
        first, usage = asyncio.run(_status())
    erased = sum(each.subject_keys for each in usage if not each.master)
    used = [each for each in usage if each.master]
    if format is Format.JSON:
        masters = [asdict(each) | {"wraps": each.master == first} for each in used]
        typer.echo(json.dumps({"masters": masters, "erased": erased}, indent=2))
        return
    table = Table("master key", "subject keys", "index keys", "", box=None)
    for each in used:
        note = "wraps" if each.master == first else "to be rotated"
        table.add_row(each.master, f"{each.subject_keys:,}", f"{each.index_keys:,}", note)
    if first not in {each.master for each in used}:
        table.add_row(first, "0", "0", "wraps")
    print_table(table)
    typer.echo(f"{erased:,} erased")


@app.command("rotate")
def rotate(
    new_master: Annotated[
        str | None,
        typer.Option(metavar="ID", help="Only print a fresh master key of this id, as ID:base64."),
    ] = None,
) -> None:
    """Wrap by the first of RELAIS_MASTER_KEYS every key that another one wraps.

    Services run meanwhile, and it can be broken off and started again. Before: every process must
    have the new master key, at first at the end of its list, then at the beginning. After: the old
    one can be dropped from all of them, and destroyed.
    """
    with explained():
        if new_master is not None:
            typer.echo(_fresh(new_master))
            return
        first, left = asyncio.run(_rotate())
    if left:
        typer.echo(
            f"{left:,} keys are wrapped by another master key again: a process still wraps by it. "
            f"Put {first} first in its RELAIS_MASTER_KEYS, restart it and rotate again.",
            err=True,
        )
        raise typer.Exit(1)
    typer.echo(f"every key is wrapped by {first}; the others can be dropped")


def _fresh(name: str) -> str:
    try:
        return new_secret(name)
    except ValueError as error:
        raise InputError(f"new_master: {error}") from error


@asynccontextmanager
async def _ring() -> "AsyncIterator[tuple[str, PostgresKeyRing]]":
    # Here, because SQLAlchemy takes longer to import than most commands take to run.
    from eventkit.keys import KeySettings, PostgresKeyRing, migrate_keys
    from eventkit.postgres import make_engine

    settings = local(KeySettings)
    masters = settings.masters()
    engine = make_engine(settings.keys, pool_size=2)
    try:
        await migrate_keys(engine)
        yield next(iter(masters)), PostgresKeyRing(engine, masters)
    except Unavailable as error:
        raise UnreachableError(f"the keys database: {error}") from error
    finally:
        await engine.dispose()


async def _status() -> "tuple[str, list[MasterUsage]]":
    async with _ring() as (first, ring):
        return first, await ring.status()


async def _rotate() -> tuple[str, int]:
    async with _ring() as (first, ring):
        with Bars() as bars:
            return first, await ring.rotate(_shown(bars, first))


def _shown(bars: Bars, first: str) -> Callable[[int, int], None]:
    task = bars.add_task(f"to {first}", text="", total=None)
    return lambda done, total: bars.show(task, done, f"{done:,} of {total:,} keys", total)
