"""`relaisctl explain CALL_ID`: the story of a call, from the log, in words.

Exit codes: 2 no such call, or several; 3 Kafka cannot be reached.
"""

import asyncio
import json
import textwrap
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import typer
from rich.console import Console

from eventkit.clock import rfc3339
from eventkit.deadletter import SUFFIX
from eventkit.errors import InvalidMessage
from eventkit.records import Record
from eventkit.settings import load
from relaisctl import clients
from relaisctl.decisions import codec, story
from relaisctl.decisions.codec import Event
from relaisctl.decisions.log import Tell, find_spans, read, read_keys, watched
from relaisctl.decisions.story import Line, Refused, Story
from relaisctl.decisions.words import SECOND, clock, day, listed
from relaisctl.errors import InputError, explained
from relaisctl.options import Output, an_id
from relaisctl.show import Format
from relaisctl.stack.settings import Environment
from relaisctl.stack.stack import Stack

CALLS, AGENTS, POOLS, COMMANDS = "call-events", "agent-events", "pool-events", "routing-commands"
WIDTH = 100


@dataclass(frozen=True, slots=True)
class Found:
    """unreadable: what stands under the call's key and is no event."""

    client: clients.Client
    call_id: str
    story: Story
    unreadable: tuple[str, ...]


def explain(
    call_id: Annotated[str, typer.Argument(metavar="CALL_ID", callback=an_id, show_default=False)],
    client: Annotated[
        str | None,
        typer.Option(
            help="The client company's id. Default: whoever has this call.", callback=an_id
        ),
    ] = None,
    format: Output = Format.TABLE,
) -> None:
    """Tell the whole story of a call from the log: what happened, who decided what, and why."""
    with explained():
        bootstrap = Stack.of(load(Environment).stack_settings()).addresses["kafka"]
        with watched() as tell:
            found = asyncio.run(find(bootstrap, call_id, client, tell))
    if format is Format.JSON:
        typer.echo(json.dumps(as_json(found), indent=2, ensure_ascii=False))
    else:
        console = Console()
        typer.echo(in_words(found, min(console.width, WIDTH) if console.is_terminal else WIDTH))


async def find(bootstrap: str, call_id: str, client: str | None, tell: Tell) -> Found:
    """Read the call's events and what belongs to them.

    Raises InputError (no such call, several, no such client), KafkaError, LookupError.
    """
    companies = await clients.chosen(bootstrap, client)
    keys = {f"{each}/{call_id}".encode() for each in companies}
    records = await read_keys(bootstrap, CALLS, keys, tell)
    events, unreadable = _decoded(records, codec.call_event)
    streams = sorted({each.stream_id for each in events})
    if not streams:
        whose = client or f"any of the {len(companies)} registered clients"
        raise InputError(f"no call {call_id!r} of {whose} is in {CALLS}")
    if len(streams) > 1:
        owners = listed(each.partition("/")[0] for each in streams)
        raise InputError(f"{owners} have a call {call_id!r} each: choose by --client")
    [stream] = streams
    since_ms = min(record.timestamp for record in records)
    around = await _around(bootstrap, events, since_ms, tell)
    refused = await _refused(bootstrap, stream, since_ms, tell)
    return Found(
        companies[stream.partition("/")[0]],
        call_id,
        story.tell(events, around, refused),
        unreadable,
    )


async def _around(
    bootstrap: str, events: Collection[Event], since_ms: int, tell: Tell
) -> list[Event]:
    """What the call's agents did, and what was configured in its pools."""
    bodies = [event.body for event in events if event.known]
    agents = {getattr(body, "agent_id", "") for body in bodies} - {""}
    pools = {getattr(body, "pool_id", "") for body in bodies} - {""}
    keys = {f"agent/{each}".encode() for each in agents}
    of_agents, _ = _decoded(
        await read_keys(bootstrap, AGENTS, keys, tell, since_ms=since_ms), codec.agent_event
    )
    keys = {f"pool/{each}".encode() for each in pools}
    of_pools, _ = _decoded(await read_keys(bootstrap, POOLS, keys, tell), codec.pool_event)
    return of_agents + of_pools


async def _refused(bootstrap: str, stream: str, since_ms: int, tell: Tell) -> list[Refused]:
    """Reports about the call that routing has sent to the dead letters."""
    found: dict[str, Refused] = {}
    for span in await find_spans(bootstrap, [COMMANDS + SUFFIX], since_ms=since_ms):
        async for chunk in read(bootstrap, span, tell):
            for record in chunk:
                # Most are about other calls: no need to decode those.
                if stream.encode() in (record.value or b""):
                    commands, _ = _decoded([record], codec.command)
                    found |= {
                        each.event_id: Refused(each, _why(record))
                        for each in commands
                        if each.correlation_id == stream
                    }
    return list(found.values())


def _why(letter: Record) -> str:
    headers = dict(letter.headers)
    texts = (headers.get(name, b"") for name in ("dlq.field", "dlq.reason"))
    return ": ".join(text.decode(errors="replace") for text in texts if text)


def _decoded(
    records: Iterable[Record], decode: Callable[[bytes | None], Event]
) -> tuple[list[Event], tuple[str, ...]]:
    events: list[Event] = []
    unreadable: list[str] = []
    for record in records:
        try:
            events.append(decode(record.value))
        except InvalidMessage as error:
            where = f"{record.topic}:{record.partition} offset {record.offset}"
            unreadable.append(f"{where} cannot be read: {error}")
    return events, tuple(unreadable)


def in_words(found: Found, width: int) -> str:
    """The story as lines of text."""
    zone = ZoneInfo(found.client.time_zone)
    head = f"call {found.call_id} of {found.client.client_id}: {found.story.summary}"
    text = textwrap.wrap(head, width, subsequent_indent="  ")
    lines = found.story.lines
    exact = _several_moments(lines)
    today, column = "", 14 if exact else 10
    for line in lines:
        if today != (today := day(line.at, zone)):
            text += ["", f"{today}, {zone.key}"]
        time = clock(line.at, zone, exact=line.at // SECOND in exact)
        text += _wrapped(line.text, width, time.ljust(column), column)
        for detail in line.details:
            text += _wrapped(detail, width, " " * (column + 2), column + 4)
    if found.unreadable:
        text += ["", *found.unreadable]
    return "\n".join(text)


def _wrapped(text: str, width: int, before: str, column: int) -> list[str]:
    return textwrap.wrap(
        text,
        width,
        initial_indent=before,
        subsequent_indent=" " * column,
        break_on_hyphens=False,
        break_long_words=False,
    )


def _several_moments(lines: Sequence[Line]) -> set[int]:
    """Seconds in which several things happened, one after another."""
    moments = {line.at for line in lines}
    return {second for second, n in Counter(at // SECOND for at in moments).items() if n > 1}


def as_json(found: Found) -> dict[str, Any]:
    """The story for programs."""
    return {
        "client_id": found.client.client_id,
        "call_id": found.call_id,
        "time_zone": found.client.time_zone,
        "outcome": found.story.outcome,
        "summary": found.story.summary,
        "lines": [_line(line) for line in found.story.lines],
        "unreadable": found.unreadable,
    }


def _line(line: Line) -> dict[str, Any]:
    told = {"at": rfc3339(line.at), "sentence": line.text, "details": line.details}
    event = line.event
    if event is None:
        return told
    return told | {
        "kind": event.kind,
        "version": event.version,
        "event_id": event.event_id,
        "recorded_at": rfc3339(event.recorded_at),
        "actor": event.actor,
        "causation_id": event.causation_id,
        "body": codec.as_dict(event.body),
    }
