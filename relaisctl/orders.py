"""`relaisctl order list|show|history`: look at the orders of a client."""

import asyncio
import json
from typing import Annotated, Any

import typer
from rich.table import Table

from eventkit.callers import Role
from relaisctl.api_client import OrdersClient
from relaisctl.errors import explained
from relaisctl.options import Client, Limit, Output, an_id
from relaisctl.show import Format, counts, moment, print_rows, print_table

app = typer.Typer(help="The orders of a client.", no_args_is_help=True)
Order = Annotated[str, typer.Argument(metavar="ID", show_default=False, callback=an_id)]


@app.command("list")
def list_(
    client: Client,
    status: Annotated[
        str | None,
        typer.Option(help="draft, placed, confirmed, fulfilled, cancelled, returned, failed, ..."),
    ] = None,
    product: Annotated[str | None, typer.Option()] = None,
    customer: Annotated[str | None, typer.Option(help="crm's id.")] = None,
    call: Annotated[str | None, typer.Option()] = None,
    agent: Annotated[str | None, typer.Option()] = None,
    reference: Annotated[str | None, typer.Option(help="The client's own number.")] = None,
    overdue: Annotated[
        bool, typer.Option("--overdue", help="Nobody has said how the visit went.")
    ] = False,
    limit: Limit = 50,
    format: Output = Format.TABLE,
) -> None:
    """List orders, newest first."""

    async def work() -> list[Any]:
        async with OrdersClient(client, Role.AGENT) as orders:
            return await orders.first(
                limit,
                f"/v1/clients/{client}/orders",
                status=status,
                product_id=product,
                customer_id=customer,
                call_id=call,
                agent_id=agent,
                reference=reference,
                overdue="true" if overdue else None,
            )

    with explained():
        found = asyncio.run(work())
    if format is Format.JSON:
        typer.echo(json.dumps(found, indent=2))
        return
    columns = ("order", "drafted", "product", "status", "total", "monthly", "visit", "agent")
    table = Table(*columns, box=None)
    for item in found:
        origin = item["origin"]
        table.add_row(
            item["order_id"],
            moment(item["drafted_at"]),
            origin["product_id"],
            item["status"],
            _money(item["total"]),
            _money(item["monthly"]),
            _visit(item),
            origin["agent_id"] or "",
        )
    print_table(table)


@app.command()
def show(order_id: Order, client: Client, format: Output = Format.TABLE) -> None:
    """Show one order: what was answered, what the customer was told, what it costs and why."""
    with explained():
        found = asyncio.run(_get(client, order_id))
    if format is Format.JSON:
        typer.echo(json.dumps(found, indent=2, ensure_ascii=False))
        return
    origin, quote = found["origin"], found["quote"] or {"total": None, "monthly": None, "lines": ()}
    names = ("drafted_at", "placed_at", "confirmed_at", "fulfilled_at", "ended_at")
    values = {
        "order": found["order_id"],
        "form": f"{found['title']} ({origin['product_id']}, version {origin['form_version']})",
        "status": found["status"],
        "reason": found["end_reason"],
        **{name.removesuffix("_at"): moment(found[name]) for name in names},
        "visit": _visit(found),
        **{name: origin[f"{name}_id"] for name in ("customer", "call", "agent", "campaign")},
        "total": _money(quote["total"]),
        "monthly": _money(quote["monthly"]),
        "next": ", ".join(found["next"]),
    }
    counts((name, value) for name, value in values.items() if value)
    print_rows(("field", "label", "answer"), map(_answered, found["fields"]))
    print_rows(
        ("line", "label", "amount", "why"),
        ((each["line_id"], each["label"], each["amount"], each["why"]) for each in quote["lines"]),
    )
    print_rows(("to tell", "text", "told", "by"), map(_told, found["checklist"]))
    missing = ((each["field"], each["reason"]) for each in found["missing"])
    print_rows(("missing", "because"), missing)


@app.command()
def history(order_id: Order, client: Client, format: Output = Format.TABLE) -> None:
    """Show everything that happened to an order, without what is personal."""
    with explained():
        found = asyncio.run(_get(client, f"{order_id}/history"))["items"]
    if format is Format.JSON:
        typer.echo(json.dumps(found, indent=2))
        return
    columns = ("version", "event", "occurred", "actor")
    table = Table(*columns, box=None)
    for each in found:
        at = moment(each["occurred_at"])
        table.add_row(str(each["version"]), each["event"], at, each["actor"])
    print_table(table)


async def _get(client: str, path: str) -> Any:
    async with OrdersClient(client, Role.AGENT) as orders:
        return await orders.get(f"/v1/clients/{client}/orders/{path}")


def _answered(field: dict[str, Any]) -> tuple[str, ...]:
    given, answer = field["given"], field["answer"]
    if given is None:
        text = "" if answer is None else answer
    else:
        address = given["address"]
        parts = [*address["lines"], address["postal_code"], address["locality"], address["country"]]
        confirmed = "confirmed" if given["confirmed_at"] else "not confirmed"
        text = f"{', '.join(part for part in parts if part)} ({confirmed})"
    if not isinstance(text, str):
        text = json.dumps(text, ensure_ascii=False)
    return field["name"], field["label"], text


def _told(point: dict[str, Any]) -> tuple[str, ...]:
    told = "" if point["told_at"] is None else moment(point["told_at"])
    if told and not point["valid"]:
        told += ", to be told again"
    return point["point_id"], point["text"], told, point["told_by"] or ""


def _visit(order: dict[str, Any]) -> str:
    if order["visit"] is None:
        return ""
    state = "overdue" if order["visit_overdue"] else order["visit_status"]
    return f"{state} {moment(order['visit']['starts_at'])}, {order['visit']['crew_id']}"


def _money(money: dict[str, str] | None) -> str:
    return "" if money is None else f"{money['amount']} {money['currency']}"
