"""`python -m relaisctl`, or `relaisctl` where the package is installed: the list of commands."""

import typer

from relaisctl import (
    clients,
    complaint_report,
    complaints,
    customers,
    demo,
    forms,
    keys,
    kpi,
    leads,
    orders,
    privacy,
    token,
)
from relaisctl.decisions import attempt, explain, replay_pool
from relaisctl.replay import cli as replay
from relaisctl.simulation import cli as simulation
from relaisctl.stack import cli as stack

app = typer.Typer(name="relaisctl", no_args_is_help=True, add_completion=False, help=__doc__)
app.command()(stack.up)
app.command()(stack.down)
app.command()(stack.status)
app.command()(stack.topics)
app.command()(kpi.kpi)
app.command()(explain.explain)
app.command()(attempt.attempt)
app.command()(replay_pool.replay_pool)
app.command()(simulation.simulate)
app.command()(complaint_report.complaints)
app.command()(token.token)
app.add_typer(clients.app, name="client")
customers.app.command()(privacy.erase)
customers.app.command()(privacy.export)
app.add_typer(customers.app, name="customer")
app.add_typer(complaints.app, name="complaint")
app.add_typer(complaints.imports, name="import")
app.add_typer(orders.app, name="order")
app.add_typer(forms.app, name="form")
app.add_typer(leads.app, name="leads")
app.add_typer(keys.app, name="keys")
app.add_typer(replay.app, name="replay")
app.add_typer(demo.app, name="demo")


def main() -> None:
    """Run the command line; the console script's entry."""
    app()


if __name__ == "__main__":
    main()
