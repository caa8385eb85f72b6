"""`relaisctl replay-pool POOL`: decide once more what was decided, and compare.

Exit codes: 0 what was published is what the log leads to, 1 it is not, 2 there is no such pool or
an option is unusable, 3 Kafka cannot be reached.
"""

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from eventkit.errors import InvalidMessage
from eventkit.records import Message
from eventkit.settings import load
from relaisctl.decisions import codec
from relaisctl.decisions.ledger import Difference, Kind, field_differences
from relaisctl.decisions.log import Span, Tell, committed, find_spans, read, watched
from relaisctl.errors import InputError, explained
from relaisctl.options import Output, an_id
from relaisctl.show import Format, counts
from relaisctl.stack.settings import Environment
from relaisctl.stack.stack import Stack

if TYPE_CHECKING:
    from relaisctl.decisions.proof import Counts, Decided, Proof, Window

COMMANDS = "routing-commands"
PUBLISHED = ("call-events", "agent-events", "pool-events", COMMANDS)
WORKER = "routing-worker"
"""The consumer group: it commits what it has published."""
DIFFERENT = 1


@dataclass(frozen=True, slots=True)
class Shown:
    """A difference for people and programs. fields: path, published, decided."""

    kind: Kind
    what: str
    event_id: str
    where: str
    command: str
    fields: Sequence[tuple[str, Any, Any]] = ()


@dataclass(frozen=True, slots=True)
class Replayed:
    pool: str
    window: "Window"
    counts: "Counts"
    differences: Sequence[Shown]
    commands_per_second: float
    records_per_second: float


def replay_pool(
    pool: Annotated[str, typer.Argument(metavar="POOL", callback=an_id, show_default=False)],
    from_: Annotated[
        str | None, typer.Option("--from", help="ISO 8601; UTC unless it says otherwise.")
    ] = None,
    to: Annotated[
        str | None, typer.Option("--to", help="Exclusive. Default: the log's end.")
    ] = None,
    format: Output = Format.TABLE,
) -> None:
    """Prove that a pool's decisions follow from its log: decide once more, compare byte for byte.

    --from and --to are about when commands were written into the log.
    """
    # Here, since a Faust worker's modules take longer to load than most commands run.
    from relaisctl.decisions.proof import Window

    with explained():
        window = Window(_moment("--from", from_), _moment("--to", to))
        bootstrap = Stack.of(load(Environment).stack_settings()).addresses["kafka"]
        with watched() as tell:
            replayed = asyncio.run(replay(bootstrap, pool, window, tell))
    if format is Format.JSON:
        typer.echo(json.dumps(as_json(replayed), indent=2, ensure_ascii=False))
    else:
        _print(replayed)
    if not replayed.counts.proved:
        raise typer.Exit(DIFFERENT)


async def replay(bootstrap: str, pool: str, window: "Window", tell: Tell) -> Replayed:
    """Raises InputError (no such pool, a log that has lost its beginning), KafkaError."""
    from relaisctl.decisions.proof import Proof

    [log] = await find_spans(bootstrap, [COMMANDS], keys=[pool.encode()])
    if log.oldest > 0:
        raise InputError(f"{log} begins at offset {log.oldest}: what was before cannot be replayed")
    # Asked first: what was committed then has been published before we read it.
    published_until = await committed(bootstrap, WORKER, log)
    proof = Proof(pool, window)
    began = time.monotonic()
    end = 0
    async with aclosing(_decide(bootstrap, log, pool, tell)) as decisions:
        async for decided in decisions:
            proof.decide(decided)
            end = decided.record.offset + 1
    took = time.monotonic() - began
    if not proof.counts.commands:
        raise InputError(f"{COMMANDS} has no command for a pool {pool!r}")
    proof.seal()
    began, records = time.monotonic(), 0
    for span in await find_spans(bootstrap, PUBLISHED, since_ms=window.since_ms):
        async with aclosing(read(bootstrap, span, tell)) as chunks:
            async for chunk in chunks:
                records += len(chunk)
                for record in chunk:
                    proof.publish(record)
    read_took = time.monotonic() - began
    later = await _later(bootstrap, log, end) if proof.strays else frozenset()
    found = proof.settle(published_until, later)
    return Replayed(
        pool,
        window,
        found,
        await _shown(bootstrap, log, proof, tell),
        found.commands / max(took, 1e-6),
        records / max(read_took, 1e-6),
    )


async def _decide(
    bootstrap: str, log: Span, pool: str, tell: Tell
) -> AsyncGenerator["Decided", None]:
    from relaisctl.decisions.proof import Refold

    refold = Refold(pool)
    async with aclosing(read(bootstrap, log, tell)) as chunks:
        async for chunk in chunks:
            for decided in refold.decide(chunk):
                yield decided


async def _later(bootstrap: str, log: Span, start: int) -> frozenset[str]:
    """Commands that were written while we read: what they have led to is nobody's forgery."""
    found: set[str] = set()
    rest = Span(log.topic, log.partition, start, start)
    async with aclosing(read(bootstrap, rest, lambda span, offset: None)) as chunks:
        async for chunk in chunks:
            for record in chunk:
                with suppress(InvalidMessage):
                    found.add(codec.identity(COMMANDS, record.value).event_id)
    return frozenset(found)


async def _shown(bootstrap: str, log: Span, proof: "Proof", tell: Tell) -> list[Shown]:
    """The first differences with what was decided, for which the pool is folded once more."""
    wanted = {each.number for each in proof.shown if each.number >= 0}
    last = max((each.offset for each in proof.shown), default=-1)
    decided_as: dict[int, Message] = {}
    if wanted:
        again = type(proof)(proof.pool_id, proof.window)
        async with aclosing(_decide(bootstrap, log, proof.pool_id, tell)) as decisions:
            async for decided in decisions:
                if decided.record.offset > last:
                    break
                numbers = again.decide(decided)
                if wanted.intersection(numbers):
                    decided_as |= dict(zip(numbers, decided.messages, strict=True))
    return [_show(each, decided_as.get(each.number), log) for each in proof.shown]


def _show(difference: Difference, decided: Message | None, log: Span) -> Shown:
    record = difference.published
    topic = record.topic if record is not None else decided.topic if decided is not None else ""
    value = record.value if record is not None else decided.value if decided is not None else None
    fields: list[tuple[str, Any, Any]] = []
    if record is not None and decided is not None:
        fields = field_differences(
            codec.document(topic, record.value), codec.document(topic, decided.value)
        )
        if record.key != decided.key:
            fields.append(("key", str(record.key), str(decided.key)))
    return Shown(
        difference.kind,
        codec.title(topic, value),
        codec.identity(topic, value).event_id,
        f"{record.topic}:{record.partition} offset {record.offset}" if record else topic,
        f"{log} offset {difference.offset}" if difference.offset >= 0 else "",
        fields,
    )


def _moment(option: str, text: str | None) -> int | None:
    """Milliseconds since 1970. Raises InputError."""
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise InputError(f"{option}: {text!r} is no moment, such as 2026-11-23T09:00") from None
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)


def as_json(replayed: Replayed) -> dict[str, Any]:
    return {
        "pool_id": replayed.pool,
        "from": _iso(replayed.window.since_ms),
        "to": _iso(replayed.window.until_ms),
        "identical": replayed.counts.proved,
        "counts": asdict(replayed.counts),
        "commands_per_second": round(replayed.commands_per_second),
        "records_per_second": round(replayed.records_per_second),
        "differences": [
            asdict(each)
            | {
                "fields": [
                    {"field": field, "published": published, "decided": decided}
                    for field, published, decided in each.fields
                ]
            }
            for each in replayed.differences
        ],
    }


def _iso(ms: int | None) -> str | None:
    return None if ms is None else datetime.fromtimestamp(ms / 1000, UTC).isoformat()


def _print(replayed: Replayed) -> None:
    found = replayed.counts
    lines: list[tuple[str, int | str]] = [("pool", replayed.pool)]
    for name, ms in (("from", replayed.window.since_ms), ("to", replayed.window.until_ms)):
        if ms is not None:
            lines.append((name, str(_iso(ms))))
    lines += [(name.replace("_", " "), value) for name, value in asdict(found).items()]
    lines.append(("commands/s", round(replayed.commands_per_second)))
    lines.append(("records read/s", round(replayed.records_per_second)))
    counts(lines)
    for each in replayed.differences:
        typer.echo(f"\n{each.kind}: {each.what}")
        typer.echo(f"  {each.where}, id {each.event_id}")
        if each.command:
            typer.echo(f"  decided by {each.command}")
        for field, published, decided in each.fields:
            typer.echo(f"  {field}: published {_value(published)}, decided {_value(decided)}")
    typer.echo(f"\n{_verdict(found)}")


def _verdict(found: "Counts") -> str:
    pending = ""
    if found.not_yet_published:
        pending = f"; {found.not_yet_published:,} are not yet published: the worker is behind"
    if found.proved:
        return f"identical: what was published is what the log leads to{pending}"
    wrong = found.different + found.missing + found.extra
    return f"NOT identical: {wrong:,} difference{'s' * (wrong > 1)}{pending}"


def _value(value: Any) -> str:
    return "nothing" if value is None else json.dumps(value, ensure_ascii=False)
