"""`relaisctl customer erase|export`: a person's rights, for one client's customer.

An erasure is crm's: it destroys the key that orders and leads are sealed with, too. An export asks
crm who it is about, and orders and the dialer what they hold under all the ids that crm knows.
"""

import asyncio
import json
from pathlib import Path
from typing import Annotated, Any

import typer

from relaisctl.api_client import CrmClient, DialerClient, OrdersClient, Refusal
from relaisctl.errors import UNREACHABLE, InputError, UnreachableError, explained
from relaisctl.options import is_id

Customer = Annotated[
    str,
    typer.Argument(
        metavar="CUSTOMER", help="crm's id, or the client's own number.", show_default=False
    ),
]
ClientId = Annotated[str, typer.Option("--client", help="The client company.")]


def erase(
    customer: Customer,
    client: ClientId,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Erase a customer for good: names, numbers, addresses, all texts. What is counted stays.

    The same again finishes an erasure that was broken off.
    """
    if not yes:
        typer.confirm(f"Erase this customer of {client} for good?", abort=True, err=True)
    with explained():
        answer = asyncio.run(_ask(client, "erase", customer))
    records = answer["records"]
    merged = f", {records} records merged into one" if records > 1 else ""
    typer.echo(f"customer {answer['customer_id']} of {client} is erased{merged}")


def export(
    customer: Customer,
    client: ClientId,
    out: Annotated[
        Path | None, typer.Option(help="A new file, readable by you alone. Default: print it.")
    ] = None,
) -> None:
    """Write down all that is held on a customer, as JSON. That it was exported is recorded.

    Where orders or the dialer cannot be asked, `incomplete` says so, and the exit code is 3.
    """
    with explained():
        # Before asking: an export that cannot be kept should not be on record as made.
        file = None if out is None else _new_file(out)
        try:
            document = asyncio.run(_export(client, customer))
        except BaseException:
            if out is not None:
                out.unlink()
            raise
    text = json.dumps(document, indent=2, ensure_ascii=False)
    if file is None:
        typer.echo(text)
    else:
        with file:
            file.write(text + "\n")
    who, missing = f"customer {document['customer_id']} of {client}", document["incomplete"]
    if missing:
        reasons = "; ".join(f"{each['service']}: {each['reason']}" for each in missing)
        typer.echo(f"{who}: not all that is held is here: {reasons}", err=True)
        raise typer.Exit(UNREACHABLE)
    if file is not None:
        typer.echo(f"{who}: all that is held is in {out}")


async def _export(client: str, customer: str) -> Any:
    """crm's document, with `held.orders` and `held.dialer`, and `incomplete`: what could not be
    asked, and why."""
    document = await _ask(client, "export", customer)
    document["incomplete"] = []
    for service, path in ((OrdersClient, "orders"), (DialerClient, "leads")):
        try:
            async with service(client) as api:
                held = [
                    item
                    for known_as in document["known_as"]
                    if is_id(known_as)
                    for item in (
                        await api.post(
                            f"/v1/clients/{client}/{path}/export", {"customer_id": known_as}
                        )
                    )["items"]
                ]
        except (UnreachableError, Refusal) as error:
            document["incomplete"].append({"service": service.service, "reason": str(error)})
        else:
            document["held"][service.service] = sorted(held, key=lambda each: each["at"])
    return document


async def _ask(client: str, what: str, customer: str) -> Any:
    async with CrmClient(client) as crm:
        return await crm.post(f"/v1/clients/{client}/privacy/{what}", {"customer": customer})


def _new_file(path: Path) -> Any:
    try:
        path.touch(mode=0o600, exist_ok=False)
        return path.open("w", encoding="utf-8")
    except OSError as error:
        raise InputError(f"--out: {error.strerror or type(error).__name__}") from error
