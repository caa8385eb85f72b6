"""Kafka in, for loading: large batches per partition that repeat exactly after a crash.

Before a batch is handed over its end is written ahead: the group's offset stays at the batch's
first record, and the commit's metadata names where the batch will end. After a SIGKILL at any
moment the next owner reads both and cuts the same batch again, so `batch.token` names the same
records and an insert under that token counts once. A broker that drops commit metadata (Tansu)
still gives every record at least once, only with other cuts.
"""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from aiokafka import ConsumerRebalanceListener

from eventkit.deadletter import DeadLetters
from eventkit.records import Handler, Record

log = logging.getLogger(__name__)

_WRITE_AHEAD = "batch-ends-at="


@dataclass
class _Inbox:
    """What has been fetched of one assigned partition and not yet been handed over."""

    position: int
    """The next offset to be fetched."""
    planned_end: int | None
    """Where the batch ends that a crash interrupted."""
    records: list[Record] = field(default_factory=list)
    size: int = 0
    since: float = 0.0


class BatchConsumer(ConsumerRebalanceListener):  # type: ignore[misc]
    """Reads topics as a member of a group and hands over one batch at a time.

    max_records, max_bytes: a batch is handed over when one of them is reached (keys and values,
        bytes); fetching goes on meanwhile, until twice as much is waiting. That bounds the memory.
    linger_s: or when its first record has waited so long.
    """

    def __init__(
        self,
        bootstrap: str,
        group: str,
        topics: Iterable[str],
        handler: Handler,
        dead_letters: DeadLetters,
        *,
        max_records: int = 50_000,
        max_bytes: int = 32 << 20,
        linger_s: float = 0.5,
        session_timeout_s: float = 10.0,
    ) -> None:
        self._bootstrap = bootstrap
        self._group = group
        self._topics = list(topics)
        self._handler = handler
        self._dead_letters = dead_letters
        self._max_records = max_records
        self._max_bytes = max_bytes
        self._linger_s = linger_s
        self._session_ms = int(session_timeout_s * 1000)

    async def run(self) -> None:
        """Consume until `stop`. Raises what the handler raised, with the offset uncommitted."""
        raise NotImplementedError

    def stop(self) -> None:
        """Let `run` return after the batch in flight. Callable from a signal handler."""

    def ready(self) -> bool:
        """True after the first assignment."""
        raise NotImplementedError

    def positions(self) -> Mapping[str, tuple[int, int]]:
        """Of each assigned partition, "topic:partition" -> (committed offset, log's end)."""
        raise NotImplementedError
