"""`relaisctl form list|show|publish|shipped`: what is asked when a client's product is ordered."""

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any

import typer
from rich.table import Table

from eventkit.callers import Role
from relaisctl.api_client import OrdersClient
from relaisctl.errors import InputError, explained
from relaisctl.options import Client, Output, an_id
from relaisctl.show import Format, counts, moment, print_rows, print_table

MAX_BYTES = 512 << 10
"""Of a form's file: orders takes no more."""

app = typer.Typer(
    help="Forms: what is asked when a product of a client is ordered.", no_args_is_help=True
)
Product = Annotated[str, typer.Argument(metavar="PRODUCT", show_default=False, callback=an_id)]


@app.command("list")
def list_(client: Client, format: Output = Format.TABLE) -> None:
    """List the products that can be ordered, and those that are retired."""

    async def work() -> list[Any]:
        async with OrdersClient(client, Role.AGENT) as orders:
            return [item async for item in orders.items(f"/v1/clients/{client}/products")]

    with explained():
        found = asyncio.run(work())
    if format is Format.JSON:
        _print_json(found)
        return
    table = Table("product", "version", "title", "retired", box=None)
    for item in found:
        retired = "retired" if item["retired"] else ""
        table.add_row(item["product_id"], str(item["version"]), item["title"], retired)
    print_table(table)


@app.command()
def show(
    product: Product,
    client: Client,
    version: Annotated[
        int | None, typer.Option(min=1, help="Default: the latest. No version ever changes.")
    ] = None,
    format: Output = Format.TABLE,
) -> None:
    """Show one form: what is asked, what it costs, what the customer has to be told."""
    path = f"/v1/clients/{client}/products/{product}/forms"
    with explained():
        found = asyncio.run(_get(client, path if version is None else f"{path}/versions/{version}"))
    if format is Format.JSON:
        _print_json(found)
        return
    published = moment(found["published_at"])
    about = {"product": product, "version": str(found["version"]), "published": published}
    print_form(found["form"], about)


@app.command()
def publish(
    file: Annotated[Path, typer.Argument(metavar="FILE", show_default=False)],
    client: Client,
    product: Annotated[
        str | None,
        typer.Option(help="Default: the file's name without its ending.", callback=an_id),
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Say what would be, and publish nothing.")
    ] = False,
    format: Output = Format.TABLE,
) -> None:
    """Publish a form from a JSON file: the next version of its product's. The same again gives no
    new version; orders that there are keep the one that they were taken with."""
    base = f"/v1/clients/{client}"
    with explained():
        try:
            product = product or an_id(file.stem)
        except typer.BadParameter as error:
            raise InputError(
                f"the file's name is no product's id, give --product: {error}"
            ) from error
        form = _read(file)
        path = f"{base}/forms/check" if check else f"{base}/products/{product}/forms"
        answer = asyncio.run(_post(client, path, form))
    if format is Format.JSON:
        _print_json(answer)
    elif check:
        print_form(answer["form"])
    else:
        typer.echo(f"{answer['product_id']} of {client}: version {answer['version']}")


@app.command()
def shipped(
    client: Client,
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", show_default=False, callback=an_id)
    ] = None,
    publish: Annotated[
        bool, typer.Option("--publish", help="Publish it as it is, under its name.")
    ] = False,
    format: Output = Format.TABLE,
) -> None:
    """List the examples that come with Relais, print one (as JSON it is a file to change and
    publish), or publish it."""
    base = f"/v1/clients/{client}/forms/shipped"
    with explained():
        if name is None:
            if publish:
                raise InputError("--publish: say which one")
            names = asyncio.run(_get(client, base))["names"]
            if format is Format.JSON:
                _print_json(names)
            else:
                typer.echo("\n".join(names))
            return
        if publish:
            answer = asyncio.run(_post(client, f"{base}/{name}"))
        else:
            form = asyncio.run(_get(client, f"{base}/{name}"))["form"]
    if publish and format is Format.TABLE:
        typer.echo(f"{answer['product_id']} of {client}: version {answer['version']}")
    elif format is Format.JSON:
        _print_json(answer if publish else form)
    else:
        print_form(form)


def print_form(form: dict[str, Any], about: Mapping[str, str] = MappingProxyType({})) -> None:
    """What people want to know of a form. about: what is known beside it."""
    visit = form["visit"]
    values = {
        **about,
        "title": form["title"],
        "confirmed by": form["confirmation"],
        "visit": f"{visit['skill']}, {visit['minutes']} min" if visit else "",
        "a draft expires after": f"{form['draft_minutes']} min",
        "can be returned for": f"{form['after_sale_days']} days",
    }
    counts((name, value) for name, value in values.items() if value)
    required = form["schema"].get("required", ())
    print_rows(
        ("field", "label", "kind", "required", "asked when"),
        (
            (
                each["name"],
                each["label"],
                each["kind"],
                "yes" if each["required"] or each["name"] in required else "",
                _when(each["shown_when"]),
            )
            for each in form["fields"]
        ),
    )
    print_rows(
        ("price", "label", "period", form["currency"], "when"),
        (
            (each["rule_id"], each["label"], each["period"], _amount(each), _when(each["when"]))
            for each in form["prices"]
        ),
    )
    print_rows(
        ("to tell", "text", "required", "when"),
        (
            (
                each["point_id"],
                each["text"],
                "yes" if each["required"] else "",
                _when(each["when"]),
            )
            for each in form["checklist"]
        ),
    )


def _amount(rule: dict[str, Any]) -> str:
    if rule["percent"] is not None:
        return f"{rule['percent']} % of {', '.join(rule['of'])}"
    each = f" for each of {rule['quantity']}" if rule["quantity"] else ""
    if rule["amount"] is not None:
        return f"{rule['amount']}{each}"
    by = ", ".join(f"{answer}: {amount}" for answer, amount in rule["amounts"].items())
    return f"by {rule['field']} ({by}){each}"


def _when(when: dict[str, Any] | None) -> str:
    if when is None:
        return ""
    values = (value if isinstance(value, str) else json.dumps(value) for value in when["is_in"])
    return f"{when['field']} is {' or '.join(values)}"


def _read(file: Path) -> Any:
    try:
        if file.stat().st_size > MAX_BYTES:
            raise InputError(f"{file}: more than {MAX_BYTES >> 10} KiB")
        return json.loads(file.read_bytes())
    except OSError as error:
        raise InputError(f"{file}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{file}: is no JSON") from error


async def _get(client: str, path: str) -> Any:
    async with OrdersClient(client, Role.AGENT) as orders:
        return await orders.get(path)


async def _post(client: str, path: str, body: Any = None) -> Any:
    async with OrdersClient(client, Role.SUPERVISOR) as orders:
        return await orders.post(path, body)


def _print_json(value: Any) -> None:
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))
