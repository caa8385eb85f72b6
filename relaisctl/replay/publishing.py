"""What the replays of recorded centres have in common: their events go to Kafka and into
ClickHouse, with progress on standard error, and can be interrupted."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Protocol

import typer

from eventkit.clock import SystemClock
from eventkit.records import Message
from relaisctl import clients
from relaisctl.errors import INTERRUPTED, NOT_LOADED
from relaisctl.replay import publish
from relaisctl.show import Bars

PATIENCE_S = 60.0


class Summary(Protocol):
    """What is said of it. loaded: None: nobody has waited for the loader."""

    events: int
    loaded: bool | None


Messages = Callable[[clients.Client, int], Iterable[Message]]
"""(the client as it is registered, now in microseconds) -> what is to be published, in order."""


def publish_shown(
    bootstrap: str,
    company: clients.Client,
    messages: Messages,
    about: int,
    summary: Summary,
    *,
    topics: tuple[str, ...] = (),
    wait: bool = True,
) -> None:
    """Register the client, publish, and wait until the loader has it. about: how many messages;
    topics: theirs, call-events if none is named. Raises KafkaError, typer.Exit when interrupted."""
    try:
        asyncio.run(_publish(bootstrap, company, messages, about, summary, topics, wait))
    except KeyboardInterrupt:
        typer.echo(
            f"interrupted after {summary.events:,} events; "
            "run it again to publish all: repeats change nothing",
            err=True,
        )
        raise typer.Exit(INTERRUPTED) from None


def check_loaded(summary: Summary) -> None:
    """Raises typer.Exit where the loader has not got as far."""
    if summary.loaded is False:
        typer.echo(
            f"not loaded: the analytics loader has not moved for {PATIENCE_S:.0f} s; "
            "is it running? (relaisctl status)",
            err=True,
        )
        raise typer.Exit(NOT_LOADED)


async def _publish(
    bootstrap: str,
    company: clients.Client,
    messages: Messages,
    about: int,
    summary: Summary,
    topics: tuple[str, ...],
    wait: bool,
) -> None:
    company = await clients.ensure_registered(bootstrap, company)
    now = SystemClock().now_us()
    with Bars() as progress:
        publishing = progress.add_task("events published", total=about, text="")

        def published(count: int) -> None:
            summary.events = count
            progress.show(publishing, count, f"{count:,} events", max(about, count))

        await publish.publish_all(bootstrap, messages(company, now), published)
        if not wait:
            return
        targets = await publish.ends(bootstrap, *topics)
        loading = progress.add_task("loaded", total=None, text="")
        most = 1

        def missing(count: int) -> None:
            nonlocal most
            most = max(most, count)
            progress.show(loading, most - count, f"{count:,} events to go", most)

        summary.loaded = await publish.loaded(bootstrap, targets, PATIENCE_S, missing)
