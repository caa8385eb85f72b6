"""A partition's states are a fold over its log.

The records of a partition belong to keys; each key has a state that only its own records change.
Whoever holds the partition keeps the states in memory and the offset of the last record folded
in. States are snapshotted to a compacted topic; a new holder reads the snapshots, folds the rest
of the log, and publishes the outputs of that rest again: the same ids, so harmless to consumers
that skip what they have seen. The group's committed offset plays no part in this.
"""

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from typing import Generic, Protocol, TypeVar

from eventkit.deadletter import DeadLetters
from eventkit.producer import Producer
from eventkit.records import Bad, Batch, Record

S = TypeVar("S")
M = TypeVar("M")
O = TypeVar("O", covariant=True)  # noqa: E741


class Fold(Protocol[S, M, O]):
    """What a service gives: pure functions, so that the same log always gives the same states."""

    def decode(self, record: Record) -> tuple[str, M]:
        """The key that the record belongs to, and its message. Raises InvalidMessage."""
        ...

    def apply(self, state: S | None, message: M) -> tuple[S | None, Sequence[O]]:
        """The key's next state and the outputs. None: no state yet, or no longer one.

        May change `state` in place, but then must not raise after the first change. Raises
        Rejected or InvalidMessage: the record goes to the dead letters, the state stays.
        """
        ...

    def encode_state(self, state: S) -> bytes:
        """At least one byte."""
        ...

    def decode_state(self, data: bytes) -> S:
        """Raises InvalidMessage when the bytes are not a state."""
        ...


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
        publish: Callable[[Iterable[O]], Awaitable[object]],
        dead_letters: DeadLetters,
        snapshot_every: int = 10_000,
        snapshot_seconds: float = 30.0,
    ) -> None:
        raise NotImplementedError

    async def handle(self, batch: Batch) -> list[Bad]:
        """Fold a batch in, publish its outputs, and return its bad records: a `records.Handler`.

        Restores the partition first if it is not held. Records that are folded in already are
        skipped, records that are missing before the batch are read from the log.
        """
        raise NotImplementedError

    async def hold(self, partitions: Iterable[int]) -> None:
        """Hold exactly these partitions: restore new ones, forget the others."""
        raise NotImplementedError

    def states(self, partition: int) -> Mapping[str, S]:
        """The states of a held partition by key, as of the last record folded in. Read only."""
        raise NotImplementedError

    def held(self) -> Iterator[int]:
        """The partitions that are restored and held now."""
        raise NotImplementedError

    async def snapshot(self, partition: int) -> None:
        """Write what has changed now; returns when all of it is acknowledged."""
        raise NotImplementedError
