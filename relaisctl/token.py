"""`relaisctl token`: a bearer token for the services' HTTP and gRPC."""

from typing import Annotated

import typer

from eventkit.callers import Role, TokenSettings
from eventkit.clock import Clock, SystemClock
from relaisctl.errors import InputError, explained
from relaisctl.local import local

MAX_HOURS = 24.0 * 366


def make_token(clients: list[str], role: Role, name: str, hours: float, clock: Clock) -> str:
    """A token signed by the first of RELAIS_TOKEN_SECRETS. Raises InputError."""
    callers = local(TokenSettings).callers()
    try:
        return callers.issue(name, clients, role, clock.now_us(), hours * 3600)
    except ValueError as error:
        raise InputError(str(error)) from error


def token(
    clients: Annotated[
        str, typer.Option(help="The clients that the caller may see: acme,globex, or * for every.")
    ],
    sub: Annotated[str, typer.Option(help="Who calls: an agent's id, or a system's.")],
    role: Annotated[Role, typer.Option(help="What the caller may do.")] = Role.AGENT,
    hours: Annotated[
        float, typer.Option(min=1 / 3600, max=MAX_HOURS, help="How long it holds.")
    ] = 12.0,
) -> None:
    """Print a bearer token, signed with RELAIS_TOKEN_SECRETS or the local stack's secret.

    It cannot be taken back before it expires, but by replacing the secret: keep it short.
    """
    names = [name.strip() for name in clients.split(",") if name.strip()]
    with explained():
        typer.echo(make_token(names, role, sub, hours, SystemClock()))
