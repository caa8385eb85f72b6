"""`relaisctl client add|list`: the client companies that the centre works for, on client-events."""

import asyncio
import json
import re
from dataclasses import asdict, dataclass
from typing import Annotated
from zoneinfo import ZoneInfo

import typer
from rich.table import Table

from eventkit.clock import Clock, SystemClock
from eventkit.producer import Producer
from eventkit.records import Message, Record
from eventkit.settings import load
from eventkit.topictable import TopicTable
from relaisctl import codec
from relaisctl.errors import InputError, explained
from relaisctl.show import Format, print_table
from relaisctl.stack.settings import Environment
from relaisctl.stack.stack import Stack

TOPIC = "client-events"
MAX_NAME = 200
RESERVED = ("centre", "agent")


@dataclass(frozen=True, slots=True)
class Client:
    """A client company. Its days and half hours are counted in time_zone (an IANA name)."""

    client_id: str
    name: str
    time_zone: str


class InvalidClientError(InputError):
    """Names the field and the reason."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")


def check(client: Client) -> None:
    """Raise InvalidClientError for the first value that no client can have."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,62}", client.client_id):
        raise InvalidClientError(
            "client_id",
            f"{client.client_id!a} must be small letters, digits and hyphens, at most 63",
        )
    if client.client_id in RESERVED:
        raise InvalidClientError("client_id", f"{client.client_id!r} is reserved")
    if not (client.name.strip() and client.name.isprintable() and len(client.name) <= MAX_NAME):
        raise InvalidClientError("name", f"1 to {MAX_NAME} printable characters")
    try:
        # `localtime` and `posixrules` depend on the machine; empty names raise too.
        if client.time_zone in ("localtime", "posixrules", "Factory"):
            raise ValueError
        ZoneInfo(client.time_zone)
    except (ValueError, OSError, LookupError):
        raise InvalidClientError(
            "zone", f"{client.time_zone!a} is no IANA time zone, such as Europe/Paris"
        ) from None


async def registered(bootstrap: str) -> dict[str, Client]:
    """All clients that are registered now. Raises KafkaError, LookupError (no such topic)."""
    async with TopicTable(bootstrap, TOPIC, _decode) as table:
        return {client.client_id: client for client in table.items().values()}


async def register(bootstrap: str, client: Client, clock: Clock) -> bool:
    """Register a client; False: it was registered before, and is the same.

    Raises InvalidClientError (also when it was registered with another name or zone: neither can
    be changed yet), KafkaError, LookupError (no such topic).
    """
    check(client)
    known = (await registered(bootstrap)).get(client.client_id)
    if known == client:
        return False
    if known is not None:
        field = "zone" if known.time_zone != client.time_zone else "name"
        value = known.time_zone if field == "zone" else known.name
        raise InvalidClientError(
            field, f"{client.client_id} is registered with {value!r}, which cannot be changed"
        )
    key, value_bytes = codec.client_registered(
        client.client_id, client.name, client.time_zone, clock.now_us()
    )
    async with Producer(bootstrap, client_id="relaisctl") as producer:
        await producer.deliver(Message(TOPIC, key, value_bytes))
    return True


async def chosen(bootstrap: str, client_id: str | None) -> dict[str, Client]:
    """The client that --client names; None: all that are registered. Raises InputError."""
    companies = await registered(bootstrap)
    if client_id is None:
        return companies
    if client_id not in companies:
        known = ", ".join(sorted(companies)) or "none yet"
        raise InputError(f"--client: {client_id!r} is not registered; these are: {known}")
    return {client_id: companies[client_id]}


async def ensure_registered(bootstrap: str, client: Client) -> Client:
    """Register a client that is not, saying so; one that is keeps its own name and zone. Returns it
    as it is registered. Raises as `register` does."""
    known = (await registered(bootstrap)).get(client.client_id)
    if known is None:
        await register(bootstrap, client, SystemClock())
        typer.echo(f"client {client.client_id} registered, zone {client.time_zone}", err=True)
    return known or client


def _decode(record: Record) -> Client:
    return Client(*codec.registered_client(record.value))


app = typer.Typer(help="The client companies that the centre works for.", no_args_is_help=True)


@app.command("add")
def add(
    client_id: Annotated[str, typer.Argument(metavar="ID", show_default=False)],
    zone: Annotated[str, typer.Option(help="IANA time zone, such as Europe/Paris.")],
    name: Annotated[str | None, typer.Option(help="Default: the id.")] = None,
) -> None:
    """Register a client company; calls of others are refused. A repeat changes nothing."""
    client = Client(client_id, name or client_id, zone)
    with explained():
        new = asyncio.run(register(_kafka(), client, SystemClock()))
    typer.echo(f"client {client_id} {'is' if new else 'was already'} registered, zone {zone}")


@app.command("list")
def show(
    format: Annotated[Format, typer.Option("--format")] = Format.TABLE,
) -> None:
    """Show the client companies that are registered."""
    with explained():
        found = sorted(asyncio.run(registered(_kafka())).values(), key=lambda c: c.client_id)
    if format is Format.JSON:
        typer.echo(json.dumps([asdict(client) for client in found], indent=2, ensure_ascii=False))
        return
    table = Table("client", "name", "time zone", box=None)
    for client in found:
        table.add_row(client.client_id, client.name, client.time_zone)
    print_table(table)


def _kafka() -> str:
    return Stack.of(load(Environment).stack_settings()).addresses["kafka"]
