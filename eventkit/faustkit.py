"""Faust, made safe: its own acknowledgement is never used.

[to be replaced by the reasons]
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence

import faust

from eventkit.deadletter import DeadLetters
from eventkit.logfold import LogFold
from eventkit.producer import Producer
from eventkit.records import Handler, Message, Record


def make_app(name: str, bootstrap: str, *, session_timeout_s: float = 10.0) -> faust.App:
    """A Faust app whose consumer group is `name`; topics must exist already."""
    raise NotImplementedError


def agent(
    app: faust.App,
    topic: str,
    handler: Handler,
    dead_letters: DeadLetters,
    *,
    max_records: int = 1000,
) -> None:
    """Attach a handler to a topic: batches per partition, effect, dead letters, then the commit.

    Batches are as large as what has arrived while the last one was handled (no lingering).
    KafkaError that is retriable and ConnectionError: the batch is tried again, with back-off, so
    the handler must be repeatable. Anything else: traceback, flush, exit code 70, no commit.
    """
    raise NotImplementedError


def fold_agent(app: faust.App, fold: LogFold, *, max_records: int = 1000) -> None:  # type: ignore[type-arg]
    """Attach a fold to its topic: as `agent`, and it restores partitions on assignment."""
    raise NotImplementedError


def each(function: Callable[[Record], Sequence[Message]], producer: Producer) -> Handler:
    """A handler from a pure function of one record: all outputs acknowledged, bad ones reported.

    The function raises InvalidMessage or Rejected for a bad record.
    """
    raise NotImplementedError


def run_worker(
    app: faust.App,
    *,
    start: Iterable[Callable[[], Awaitable[None]]] = (),
    stop: Iterable[Callable[[], Awaitable[None]]] = (),
) -> int:
    """Run the app in this process until SIGTERM or SIGINT; returns the exit code.

    start: awaited in order before the app (connect the producer, serve health).
    stop: awaited in order after it.
    """
    raise NotImplementedError
