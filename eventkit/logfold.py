"""A partition's states are a fold over its log.

The records of a partition belong to keys; each key has a state that only its own records change.
Whoever holds the partition keeps the states in memory, and the offset of the last record folded
in. A new holder reads the last snapshots, folds the rest of the log, and publishes the outputs of
that rest again: the same ids, so harmless to consumers that skip what they have seen. The group's
committed offset plays no part in this, so neither does anything that could be wrong with it.

The snapshot topic is compacted and partitioned like the log. A record there is a key's state (no
value: the key has none any more) and says in headers which offset of the log it includes, and
which holder wrote it. When all states that have changed are written, a record of the key
`__partition__` follows: every state is complete as of its offset.

A holder's number is the snapshot offset of the record of the key `__claim__` that begins its
restore. A holder that has lost the partition without knowing it yet may go on writing for a
moment. What it writes is true as of its offset, but may hide something newer; so whatever lies
behind the claim of the last `__partition__` record's writer, and is not by that writer, moves the
start of the next fold back to its own offset.
"""

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Generic, Protocol, TypeVar

from eventkit import telemetry
from eventkit.deadletter import DeadLetters
from eventkit.errors import BadRecord, InvalidMessage
from eventkit.producer import Producer
from eventkit.records import Bad, Batch, Headers, Message, Record
from eventkit.topictable import read_partition

log = logging.getLogger(__name__)

S = TypeVar("S")
M = TypeVar("M")
O = TypeVar("O", covariant=True)  # noqa: E741

_RESERVED = "__"
_COMPLETE = b"__partition__"
_CLAIM = b"__claim__"
_OFFSET = "fold.offset"
_HOLDER = "fold.holder"
_NOTHING = -1


class Fold(Protocol[S, M, O]):
    """What a service gives: pure functions, so that the same log always gives the same states."""

    def decode(self, record: Record) -> tuple[str, M]:
        """The key that the record belongs to, and its message. Raises InvalidMessage."""
        ...

    def apply(self, state: S | None, message: M) -> tuple[S | None, Sequence[O]]:
        """The key's next state and the outputs. None: no state yet, or no longer one.

        May change `state` in place, but must not raise after the first change. Raises Rejected or
        InvalidMessage: the record goes to the dead letters, the state stays.
        """
        ...

    def encode_state(self, state: S) -> bytes: ...

    def decode_state(self, data: bytes) -> S:
        """Raises InvalidMessage when the bytes are not a state."""
        ...


@dataclass
class Held(Generic[S]):
    """A partition's states as of one offset, and what has changed since the last snapshot."""

    claim: int = _NOTHING
    offset: int = _NOTHING
    states: dict[str, S] = field(default_factory=dict)
    included: dict[str, int] = field(default_factory=dict)
    """Of keys whose restored state includes records beyond `offset`: the last one."""
    dirty: set[str] = field(default_factory=set)
    folded: int = 0
    """Records since the last snapshot."""
    snapshot_at: float = field(default_factory=time.monotonic)


def fold_records(
    fold: Fold[S, M, O], held: Held[S], records: Iterable[Record]
) -> tuple[list[O], list[Bad]]:
    """Fold records in, in the order of their offsets; those already folded in are skipped."""
    outputs: list[O] = []
    bad: list[Bad] = []
    for record in records:
        if record.offset <= held.offset:
            continue
        held.offset = record.offset
        held.folded += 1
        try:
            key, message = fold.decode(record)
            if key.startswith(_RESERVED):
                raise InvalidMessage("key", f"begins with {_RESERVED}, which is reserved")
            if record.offset <= held.included.get(key, _NOTHING):
                continue
            state, out = fold.apply(held.states.get(key), message)
        except BadRecord as error:
            bad.append(Bad(record, error))
            continue
        if state is None:
            held.states.pop(key, None)
        else:
            held.states[key] = state
        held.dirty.add(key)
        outputs.extend(out)
    return outputs, bad


def restore_states(fold: Fold[S, M, O], snapshots: Iterable[Record]) -> Held[S]:
    """The states in a snapshot partition; its `offset` is where the fold of the log goes on.

    Raises InvalidMessage when a state or a header cannot be decoded.
    """
    latest = {record.key: record for record in snapshots}
    latest.pop(_CLAIM, None)
    complete = latest.pop(_COMPLETE, None)
    held: Held[S] = Held()
    writer = _NOTHING
    if complete is not None:
        held.offset, writer = _number(complete, _OFFSET), _number(complete, _HOLDER)
    for key_bytes, record in latest.items():
        key, offset = _text(key_bytes), _number(record, _OFFSET)
        held.included[key] = offset
        if record.value is not None:
            held.states[key] = fold.decode_state(record.value)
        if record.offset > writer != _number(record, _HOLDER):
            held.offset = min(held.offset, offset)
    return held


def snapshot_messages(
    fold: Fold[S, M, O], held: Held[S], topic: str, partition: int
) -> list[Message]:
    """What has changed since the last snapshot; the record that completes it is sent after it."""
    headers = _headers(held)
    messages = []
    for key in sorted(held.dirty):
        state = held.states.get(key)
        value = None if state is None else fold.encode_state(state)
        messages.append(Message(topic, key.encode(), value, headers, partition=partition))
    return messages


def completing_message(held: Held[S], topic: str, partition: int) -> Message:
    """Follows the messages of a snapshot: all states are complete as of its offset."""
    return Message(topic, _COMPLETE, b"", _headers(held), partition=partition)


class LogFold(Generic[S, M, O]):
    """The partitions of `topic` that this process holds.

    publish(outputs): returns when every output is acknowledged, e.g. `producer.send_many`.
    snapshot_topic: compacted, with as many partitions as `topic`, written here only.
    snapshot_every, snapshot_seconds: changed states are written after so many records or seconds.
    """

    def __init__(
        self,
        fold: Fold[S, M, O],
        *,
        bootstrap: str,
        topic: str,
        snapshot_topic: str,
        producer: Producer,
        publish: Callable[[Sequence[O]], Awaitable[object]],
        dead_letters: DeadLetters,
        snapshot_every: int = 10_000,
        snapshot_seconds: float = 30.0,
    ) -> None:
        self.topic = topic
        self._fold = fold
        self._bootstrap = bootstrap
        self._snapshot_topic = snapshot_topic
        self._producer = producer
        self._publish = publish
        self._dead_letters = dead_letters
        self._snapshot_every = snapshot_every
        self._snapshot_seconds = snapshot_seconds
        self._held: dict[int, Held[S]] = {}
        self._locks: defaultdict[int, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def handle(self, *batches: Batch) -> None:
        """Fold in batches, each of another partition; returns when outputs and dead letters are
        acknowledged.

        The outputs of all are published together, so that they wait for Kafka once. Partitions that
        are not held are restored first. Records that are folded in already are skipped, records
        that are missing before a batch are read from the log. When it raises, the partitions are no
        longer held, so that the next call starts from what is durable.
        """
        async with AsyncExitStack() as locked:
            for partition in sorted(batch.partition for batch in batches):
                await locked.enter_async_context(self._locks[partition])
            steps = [(batch, await self._hold(batch.partition)) for batch in batches]
            try:
                for batch, held in steps:
                    if batch.first_offset > held.offset + 1:
                        await self._catch_up(batch.partition, held, batch.first_offset)
                await self._step(*steps)
                for batch, held in steps:
                    await self._maybe_snapshot(batch.partition, held)
            except BaseException:
                for batch in batches:
                    self._held.pop(batch.partition, None)
                raise

    async def hold(self, partitions: Iterable[int]) -> None:
        """Hold exactly these partitions: restore new ones, forget the others, snapshot old ones.

        To be called every second or so, and whenever the assignment changes.
        """
        wanted = set(partitions)
        for partition in [known for known in self._held if known not in wanted]:
            del self._held[partition]
        for partition in sorted(wanted):
            async with self._locks[partition]:
                await self._maybe_snapshot(partition, await self._hold(partition))

    def holds(self, partition: int) -> bool:
        """True when the partition's states are restored and kept up to date."""
        return partition in self._held

    def is_free(self, partition: int) -> bool:
        """Whether `handle` can begin at once: the partition is held, and not in a snapshot."""
        return partition in self._held and not self._locks[partition].locked()

    def states(self, partition: int) -> Mapping[str, S]:
        """The states of a held partition by key, as of the last record folded in. Read only.

        Empty when the partition is not held.
        """
        held = self._held.get(partition)
        return MappingProxyType(held.states if held else {})

    async def snapshot(self, partition: int) -> None:
        """Write what has changed now; returns when all of it is acknowledged."""
        async with self._locks[partition]:
            held = self._held.get(partition)
            if held is not None:
                await self._snapshot(partition, held)

    async def _hold(self, partition: int) -> Held[S]:
        held = self._held.get(partition)
        if held is None:
            held = self._held[partition] = await self._restore(partition)
        return held

    async def _restore(self, partition: int) -> Held[S]:
        began = time.monotonic()
        claim = await self._producer.deliver(
            Message(self._snapshot_topic, _CLAIM, b"", partition=partition)
        )
        snapshots: dict[bytes | None, Record] = {}
        async for chunk in read_partition(
            self._bootstrap, self._snapshot_topic, partition, end=claim
        ):
            snapshots.update((record.key, record) for record in chunk)
        try:
            # In a thread, as snapshots are written: the other partitions go on.
            held = await asyncio.to_thread(restore_states, self._fold, snapshots.values())
        except InvalidMessage as error:
            log.error(
                "%s:%d: broken snapshot (%s): folding the whole log again",
                self._snapshot_topic,
                partition,
                error,
            )
            held = Held(dirty={_text(key) for key in snapshots if key not in (_CLAIM, _COMPLETE)})
        held.claim = claim
        start = held.offset + 1
        await self._catch_up(partition, held, None)
        held.included.clear()
        log.info(
            "%s:%d: %d states restored from %d snapshots and the log from %d to %d in %.2f s",
            self.topic,
            partition,
            len(held.states),
            len(snapshots),
            start,
            held.offset,
            time.monotonic() - began,
        )
        return held

    async def _catch_up(self, partition: int, held: Held[S], end: int | None) -> None:
        chunks = read_partition(self._bootstrap, self.topic, partition, held.offset + 1, end)
        async with aclosing(chunks):
            async for chunk in chunks:
                first, last = chunk[0].offset, chunk[-1].offset
                await self._step((Batch(self.topic, partition, first, last + 1, chunk), held))
                telemetry.RESTORE_RECORDS.add(len(chunk), {"topic": self.topic})

    async def _step(self, *steps: tuple[Batch, Held[S]]) -> None:
        outputs: list[O] = []
        refused: list[tuple[Batch, list[Bad]]] = []
        for batch, held in steps:
            out, bad = fold_records(self._fold, held, batch.records)
            outputs += out
            refused.append((batch, bad))
        if outputs:
            await self._publish(outputs)
        for batch, bad in refused:
            await self._dead_letters.settle(batch, bad)

    async def _maybe_snapshot(self, partition: int, held: Held[S]) -> None:
        waited = time.monotonic() - held.snapshot_at
        if held.folded >= self._snapshot_every or (
            held.folded and waited >= self._snapshot_seconds
        ):
            await self._snapshot(partition, held)

    async def _snapshot(self, partition: int, held: Held[S]) -> None:
        messages = await asyncio.to_thread(
            snapshot_messages, self._fold, held, self._snapshot_topic, partition
        )
        await self._producer.send_many(messages)
        # Only now: with an idempotent producer the order of sends would do, without one it may not.
        await self._producer.deliver(completing_message(held, self._snapshot_topic, partition))
        held.dirty.clear()
        held.folded = 0
        held.snapshot_at = time.monotonic()
        telemetry.SNAPSHOTS.add(len(messages), {"topic": self._snapshot_topic})


def _headers(held: Held[S]) -> Headers:
    return ((_OFFSET, b"%d" % held.offset), (_HOLDER, b"%d" % held.claim))


def _number(record: Record, name: str) -> int:
    try:
        return int(dict(record.headers)[name])
    except (KeyError, TypeError, ValueError):
        raise InvalidMessage(name, f"is missing or no number at offset {record.offset}") from None


def _text(key: bytes | None) -> str:
    return (key or b"").decode(errors="replace")
