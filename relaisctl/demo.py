"""`relaisctl demo`: start everything, play a generated busy shift live, print the KPIs, stop.

`relaisctl demo play` plays alone, on services that run already.
"""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import typer

from eventkit.clock import SystemClock
from eventkit.settings import load
from relaisctl import clients, complaint_report, demo_campaign, kpi, warehouse
from relaisctl.api_client import ApiClient, CrmClient, OrdersClient, Refusal
from relaisctl.decisions import explain, replay_pool
from relaisctl.errors import NOT_LOADED, explained
from relaisctl.replay import anonymous_bank, desk, outbound, publish, sales, shift, stage
from relaisctl.replay import cli as replay
from relaisctl.show import Bars, Format, counts, plain
from relaisctl.stack.errors import StackError
from relaisctl.stack.settings import Environment
from relaisctl.stack.stack import Stack, State

ACTOR = "demo"
SEED, MINUTES, SPEED = 1, 100, 80.0
BANK = "anonymous-bank"
PATIENCE_S = 60.0
AT_ONCE = 16
"""Agents who write at the same time."""

app = typer.Typer(help="A made-up centre of three client companies, on the real services.")


@app.callback(invoke_without_command=True)
def demo(
    context: typer.Context,
    data: Annotated[
        list[Path] | None,
        typer.Option(help="Real files, or a folder of them, to replay as history first."),
    ] = None,
) -> None:
    """Start everything, play a busy shift, print the KPIs, stop what was started."""
    if context.invoked_subcommand:
        return
    stack = Stack.of(load(Environment).stack_settings(), say=_say_of)
    there = {row.name for row in stack.status() if row.state not in (State.STOPPED, State.DEAD)}
    try:
        _say("starting the local stack and the services")
        os.environ.setdefault("RELAIS_CARRIER_SCENARIO", demo_campaign.SCENARIO)
        stack.start()
        if data:
            _replay(_files(data))
        _say(f"playing {MINUTES} minutes of a busy shift, {SPEED:.0f} times as fast")
        with explained():
            played = stage.run_to_the_end(
                play_shift(stack.addresses["kafka"], _routing(stack), SEED, MINUTES, SPEED)
            )
        plain(played, Format.TABLE)
        with explained():
            _wait_until_loaded(stack.addresses["kafka"])
            _say("agents write down what their calls were about, and take orders")
            written = asyncio.run(write_down(played.run, SEED))
            _wait_until(_WRITTEN, {"run": f"{played.run}-"}, written.calls + written.placed)
            _say("a survey is dialled through the simulated carrier")
            dialled = asyncio.run(demo_campaign.call_out(_routing(stack), ACTOR, SEED, played.run))
            _wait_until(_DIALLED, asdict(dialled), dialled.attempts + dialled.completed_surveys)
        typer.echo(f"\nwritten down: {written.notes:,} notes of topics, offers and complaints")
        typer.echo(f"taken: {written.orders:,} orders, of which {written.placed:,} were placed")
        for company in shift.COMPANIES:
            zone = ZoneInfo(company.time_zone)
            begins, ends = (
                datetime.fromisoformat(moment).astimezone(zone).date()
                for moment in (played.begins, played.ends)
            )
            _print_kpis(company.client_id, company.name, begins, ends)
        typer.echo("\nComplaints, by client")
        complaint_report.complaints(by=complaint_report.By.CLIENT)
        _print_campaign(dialled)
        client_id, call_id = _eventful(played.run)
        typer.echo(f"\nWhy a call went where it went: relaisctl explain {call_id}\n")
        explain.explain(call_id, client_id)
        typer.echo(
            f"\nDo the decisions follow from the log? (relaisctl replay-pool {played.pool})\n"
        )
        replay_pool.replay_pool(played.pool)
    except StackError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from error
    finally:
        _say("stopping what was started")
        stack.stop([name for name in stack.names() if name not in there])


@app.command("play")
def play(
    seed: Annotated[int, typer.Option(help="The same seed gives the same customers.")] = SEED,
    minutes: Annotated[int, typer.Option(min=1, max=1440, help="Length of the shift.")] = MINUTES,
    speed: Annotated[float, typer.Option(min=1, max=1000, help="So many times as fast.")] = SPEED,
    run: Annotated[
        str | None, typer.Option(help="Part of all ids. Default: from the time of day.")
    ] = None,
    format: Annotated[Format, typer.Option("--format", help="Of the summary.")] = Format.TABLE,
) -> None:
    """Play a busy shift: customers call, our routing decides, agents answer, or do not in time."""
    stack = Stack.of(load(Environment).stack_settings())
    kafka = stack.addresses["kafka"]
    with explained():
        played = stage.run_to_the_end(play_shift(kafka, _routing(stack), seed, minutes, speed, run))
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
        queues=shift.queues(),
    )
    return await stage.perform(production, kafka, routing)


@dataclass(frozen=True, slots=True)
class Written:
    """What agents have written down: of how many calls, how many things, and orders, with how many
    were placed."""

    calls: int
    notes: int
    orders: int
    placed: int


async def write_down(run: str, seed: int) -> Written:
    """What agents know after the calls of a play, and the orders that they have taken, through the
    APIs of crm and orders. Raises InputError, UnreachableError.
    """
    calls = _answered(run)
    notes, orders, placed = 0, 0, 0
    async with CrmClient(None) as crm, OrdersClient(None) as ordering:
        services: dict[str, ApiClient] = {"crm": crm, "orders": ordering}

        async def send(request: desk.Request) -> dict[str, Any]:
            path = f"/v1/clients/{request.client_id}/{request.path}"
            body = None if request.method == "GET" else request.body
            answer: dict[str, Any] = await services[request.service].request(
                request.method, path, body
            )
            return answer or {}

        async def after(call: desk.Answered) -> tuple[int, int, int]:
            async with at_once:
                requests = list(desk.after_call(call, seed))
                for request in requests:
                    await send(request)
                product = sales.taken(call, seed)
                if product is None:
                    return len(requests), 0, 0
                customer_id = known[call.client_id, call.customer_id]
                script = sales.order(call, product, customer_id, seed)
                return len(requests), 1, await _ordered(script, send)

        at_once = asyncio.Semaphore(AT_ONCE)
        for company in shift.COMPANIES:
            await send(desk.set_up(company.client_id))
            for request in sales.set_up(company.client_id):
                await send(request)
        known: dict[tuple[str, str], str] = {}
        for client_id, rows in desk.customers(calls, seed).items():
            body = {"rows": rows}
            answer = await crm.post(f"/v1/clients/{client_id}/customers/import", body)
            for row, line in zip(rows, answer["lines"], strict=True):
                known[client_id, row["number"]] = line["customer_id"]
        with Bars() as progress:
            task = progress.add_task("written down", total=len(calls), text="calls")
            for number, writing in enumerate(asyncio.as_completed(map(after, calls)), 1):
                written = await writing
                notes, orders, placed = notes + written[0], orders + written[1], placed + written[2]
                progress.show(task, number, f"{number:,} of {len(calls):,} calls")
    return Written(len(calls), notes, orders, placed)


async def _ordered(
    script: sales.Script, send: Callable[[desk.Request], Awaitable[dict[str, Any]]]
) -> int:
    """Play one order to its end; 1 where it was placed."""
    placed = 0
    try:
        request = next(script)
        while True:
            try:
                answer = await send(request)
            except Refusal as refusal:
                if "next_slots" not in refusal.problem:
                    raise
                answer = refusal.problem
            placed |= request.path.endswith("/place")
            request = script.send(answer)
    except StopIteration:
        return placed


def _answered(run: str) -> list[desk.Answered]:
    with warehouse.connected("calls") as clickhouse:
        rows = clickhouse.execute(
            "SELECT client_id, call_id, queue_id, agent_id, customer_id FROM calls"
            " WHERE answered AND startsWith(call_id, %(run)s) ORDER BY client_id, call_id",
            {"run": f"{run}-"},
        )
    return [desk.Answered(*row) for row in rows]


def _eventful(run: str) -> tuple[str, str]:
    """The answered call with most to tell: client and call."""
    with warehouse.connected("calls") as clickhouse:
        [row] = clickhouse.execute(
            "SELECT client_id, call_id FROM calls WHERE answered AND startsWith(call_id, %(run)s)"
            " ORDER BY relaxed_steps DESC, waited_s DESC, call_id LIMIT 1",
            {"run": f"{run}-"},
        )
    client_id, call_id = row
    return client_id, call_id


def _routing(stack: Stack) -> str:
    return f"127.0.0.1:{stack.settings.ports.routing_grpc}"


def _files(paths: Sequence[Path]) -> list[Path]:
    """Files as they are; of a folder its text files, by name."""
    return [
        file for path in paths for file in (sorted(path.glob("*.txt")) if path.is_dir() else [path])
    ]


def _replay(paths: list[Path]) -> None:
    _say(f"replaying as history: {', '.join(path.name for path in paths)}")
    summary = replay.replay_history(paths, BANK)
    if summary.first_day and summary.last_day:
        begins, ends = date.fromisoformat(summary.first_day), date.fromisoformat(summary.last_day)
        _print_kpis(BANK, f"Anonymous bank ({anonymous_bank.TIME_ZONE})", begins, ends)


def _wait_until_loaded(kafka: str) -> None:
    async def wait() -> bool:
        targets = await publish.ends(kafka)
        return await publish.loaded(kafka, targets, PATIENCE_S, lambda missing: None)

    if not asyncio.run(wait()):
        typer.echo("the analytics loader does not load: see relaisctl status", err=True)
        raise typer.Exit(NOT_LOADED)


# The last thing of a call's that crm's relay publishes is its disposition, but for offers and
# complaints, which come at once behind it.
_WRITTEN = """
SELECT (SELECT count() FROM call_outcomes WHERE disposition != '' AND (client_id, call_id) IN (
        SELECT client_id, call_id FROM calls WHERE answered AND startsWith(call_id, %(run)s)))
    + (SELECT count() FROM orders WHERE placed AND startsWith(order_id, %(run)s))
"""
_DIALLED = """
SELECT countIf(ended_at IS NOT NULL) + countIf(converted) FROM attempts
WHERE campaign_id = %(campaign)s
"""


def _wait_until(query: str, parameters: dict[str, Any], wanted: int) -> None:
    """Until so many of what a query counts are in ClickHouse."""
    seen, since = -1, time.monotonic()
    with warehouse.connected("attempts") as clickhouse:
        while True:
            ((found,),) = clickhouse.execute(query, parameters)
            if found >= wanted:
                return
            if found != seen:
                seen, since = found, time.monotonic()
            elif time.monotonic() - since > PATIENCE_S:
                typer.echo("a relay or the loader stands: see relaisctl status", err=True)
                raise typer.Exit(NOT_LOADED)
            time.sleep(0.5)


def _print_kpis(client_id: str, title: str, begins: date, ends: date) -> None:
    typer.echo(f"\n{title}, {begins} to {ends}")
    of_desks = (kpi.By.TOPIC, kpi.By.PRODUCT) if client_id in desk.DESKS else ()
    for by in (kpi.By.QUEUE, *of_desks, kpi.By.ALL):
        kpi.kpi(client_id, begins.isoformat(), (ends + timedelta(days=1)).isoformat(), by)


def _company(client_id: str) -> shift.Company:
    return next(company for company in shift.COMPANIES if company.client_id == client_id)


def _print_campaign(dialled: demo_campaign.Dialled) -> None:
    typer.echo("\nA survey by telephone, dialled by ourselves\n")
    plain(dialled, Format.TABLE)
    today = datetime.now(ZoneInfo(_company(outbound.CLIENT).time_zone)).date()
    begins, ends = (today + timedelta(days=days) for days in (-1, 1))
    kpi.kpi(outbound.CLIENT, begins.isoformat(), ends.isoformat(), kpi.By.CAMPAIGN)
    typer.echo("\nWhy one of these calls was allowed\n")
    counts(asyncio.run(demo_campaign.why(dialled.campaign)))


def _say(line: str) -> None:
    typer.echo(f"demo: {line}", err=True)


def _say_of(name: str, line: str) -> None:
    typer.echo(f"{name:<17} {line}", err=True)
