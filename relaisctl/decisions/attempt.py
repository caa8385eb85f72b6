"""`relaisctl attempt ATTEMPT_ID`: why an outbound call was allowed, and what became of it.

It is read from attempt-events alone, where every attempt names each rule that was asked, in its
version, and what it said. Exit codes: 2 no such attempt, or several; 3 Kafka cannot be reached.
"""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final
from zoneinfo import ZoneInfo

import typer

from eventkit.clock import rfc3339
from eventkit.errors import InvalidMessage
from eventkit.records import Record
from eventkit.settings import load
from relaisctl import clients
from relaisctl.decisions import codec
from relaisctl.decisions.codec import Event
from relaisctl.decisions.log import Tell, read_keys, watched
from relaisctl.decisions.words import clock, day, listed
from relaisctl.errors import InputError, explained
from relaisctl.options import Output, an_id
from relaisctl.show import Format
from relaisctl.stack.settings import Environment
from relaisctl.stack.stack import Stack

ATTEMPTS: Final = "attempt-events"


@dataclass(frozen=True, slots=True)
class Found:
    """An attempt's events, each once and in order. origin: the contract's, by its names."""

    client: clients.Client
    attempt_id: str
    origin: dict[str, Any]
    events: tuple[Event, ...]


def attempt(
    attempt_id: Annotated[
        str, typer.Argument(metavar="ATTEMPT_ID", callback=an_id, show_default=False)
    ],
    client: Annotated[
        str | None,
        typer.Option(
            help="The client company's id. Default: whoever has this attempt.", callback=an_id
        ),
    ] = None,
    format: Output = Format.TABLE,
) -> None:
    """Show why an outbound call was allowed: every rule and version that was asked."""
    with explained():
        bootstrap = Stack.of(load(Environment).stack_settings()).addresses["kafka"]
        with watched() as tell:
            found = asyncio.run(find(bootstrap, attempt_id, client, tell))
    if format is Format.JSON:
        typer.echo(json.dumps(as_json(found), indent=2, ensure_ascii=False))
    else:
        typer.echo("\n".join(in_words(found)))


async def find(bootstrap: str, attempt_id: str, client: str | None, tell: Tell) -> Found:
    """Raises InputError (no such attempt, several, no such client), KafkaError, LookupError."""
    companies = await clients.chosen(bootstrap, client)
    keys = {f"{each}/attempt/{attempt_id}".encode() for each in companies}
    records = await read_keys(bootstrap, ATTEMPTS, keys, tell)
    return chosen(companies, attempt_id, records)


def chosen(
    companies: dict[str, clients.Client], attempt_id: str, records: Sequence[Record]
) -> Found:
    """The attempt that these records tell of. Raises InputError: none does, or several."""
    events: dict[str, Event] = {}
    origin: dict[str, Any] = {}
    for record in records:
        try:
            event, origin_of = codec.attempt_event(record.value)
        except InvalidMessage:
            continue  # no event: the loader has put it among the dead letters
        events.setdefault(event.event_id, event)
        origin = origin or origin_of
    owners = sorted({event.client_id for event in events.values()})
    if not owners:
        raise InputError(f"no attempt {attempt_id!r} is in {ATTEMPTS}")
    if len(owners) > 1:
        raise InputError(f"{listed(owners)} have an attempt {attempt_id!r} each: use --client")
    ordered = sorted(events.values(), key=lambda event: event.version)
    return Found(companies[owners[0]], attempt_id, origin, tuple(ordered))


def in_words(found: Found) -> list[str]:
    """Lines for people, with the times of the client's clock."""
    zone, origin = ZoneInfo(found.client.time_zone), found.origin
    first = found.events[0].occurred_at
    lines = [
        f"attempt {found.attempt_id} of {found.client.client_id}, {day(first, zone)}",
        f"campaign {origin.get('campaign_id', '-')}, list {origin.get('list_id', '-')}, "
        f"lead {origin.get('lead_id', '-')}: attempt number {origin.get('number_of_attempt', 0)}",
    ]
    if made_up := origin.get("invented"):
        lines.append(f"made up, since it is not on record: {listed(made_up)}")
    for event in found.events:
        body = codec.as_dict(event.body)
        allowed = body.pop("allowed_by", [])
        said = ", ".join(f"{name} {_plain(value)}" for name, value in body.items())
        lines.append(
            f"{clock(event.occurred_at, zone, exact=True)}  {event.kind.replace('_', ' ')}"
            + (f": {said}" if said else "")
        )
        lines += [
            f"              allowed by {use['rule']}, version {use.get('version', 0)}"
            + (f": {use['said']}" if use.get("said") else "")
            for use in allowed
        ]
    return lines


def _plain(value: Any) -> str:
    """An enum's value without its prefix; anything else as it is."""
    text = str(value)
    for prefix in ("RESULT_", "ANSWERED_BY_"):
        if text.startswith(prefix):
            return text.removeprefix(prefix).replace("_", " ").lower()
    return text


def as_json(found: Found) -> dict[str, Any]:
    """The same for programs."""
    return {
        "client_id": found.client.client_id,
        "attempt_id": found.attempt_id,
        "origin": found.origin,
        "events": [
            {
                "version": event.version,
                "kind": event.kind,
                "occurred_at": rfc3339(event.occurred_at),
                "actor": event.actor,
                **codec.as_dict(event.body),
            }
            for event in found.events
        ],
    }
