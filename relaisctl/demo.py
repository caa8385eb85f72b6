"""`relaisctl demo play`: a generated busy shift of three client companies, played live."""

from typing import Annotated

import typer

from eventkit.clock import SystemClock
from eventkit.settings import load
from relaisctl import clients
from relaisctl.explain import explained
from relaisctl.replay import shift, stage
from relaisctl.replay.show import Format, plain
from relaisctl.stack.settings import Environment
from relaisctl.stack.stack import Stack

ACTOR = "demo"

app = typer.Typer(help="A made-up centre, played on the real services.")


@app.command("play")
def play(
    seed: Annotated[int, typer.Option(help="The same seed gives the same customers.")] = 1,
    minutes: Annotated[int, typer.Option(min=1, max=1440, help="Length of the shift.")] = 120,
    speed: Annotated[float, typer.Option(min=1, max=1000, help="So many times as fast.")] = 80.0,
    run: Annotated[
        str | None, typer.Option(help="Part of all ids. Default: from the time of day.")
    ] = None,
    format: Annotated[Format, typer.Option("--format", help="Of the summary.")] = Format.TABLE,
) -> None:
    """Play a busy shift: customers call, our routing decides, agents answer, or do not in time."""
    stack = Stack.of(load(Environment).stack_settings())
    kafka = stack.addresses["kafka"]
    routing = f"127.0.0.1:{stack.settings.ports.routing_grpc}"
    with explained():
        played = stage.run_to_the_end(play_shift(kafka, routing, seed, minutes, speed, run))
    plain(played, format)


async def play_shift(
    kafka: str, routing: str, seed: int, minutes: int, speed: float, run: str | None = None
) -> stage.Played:
    """Register the three clients and play. routing: host:port of its gRPC edge.

    Raises EdgeError, KafkaError, InvalidClientError.
    """
    clock = SystemClock()
    for company in shift.COMPANIES:
        client = clients.Client(company.client_id, company.name, company.time_zone)
        await clients.register(kafka, client, clock)
    run = run or stage.run_name(clock.now_us())
    production = stage.Production(
        pool_id=f"demo.{run}",
        run=run,
        calls=shift.calls(seed, minutes, run),
        agents=shift.agents(run),
        speed=speed,
        seed=seed,
        actor=ACTOR,
    )
    return await stage.perform(production, kafka, routing)
