"""Commands that become due: on time, also when nobody touches their stream, and across restarts.

What is due when is in the table `timers`, written with every append from Category.timers(state). A
worker claims a timer by deleting it in the transaction of its command, so of several workers one
has the effect, and what a crash interrupts is there again (docs/adr/0024).

    worker = TimerWorker(store, [COMPLAINTS])
    loop.add_signal_handler(signal.SIGTERM, worker.stop)
    await worker.run()
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import text

from eventkit import telemetry
from eventkit.errors import BadRecord, NotFound, Unavailable
from eventkit.eventstore import TIMERS_SET, Answer, Category, Cause, EventStore, Transaction
from eventkit.postgres import Notifications

log = logging.getLogger(__name__)

ACTOR = "timer"
BATCH = 200
AT_ONCE = 4
"""Streams whose timers fire at the same time."""
MIN_PAUSE_S = 0.02
MAX_PAUSE_S = 10.0
PURGE_S = 3600.0
PURGE_ROWS = 10_000


@dataclass(frozen=True, slots=True)
class Timer:
    """due_at: microseconds since 1970."""

    client_id: str
    category: str
    id: str
    name: str
    due_at: int


class TimerWorker:
    """poll_s    how long a timer may be late whose notification was lost
    keep_s    how long answers are kept for the idempotency keys of commands; None: not deleted here
    """

    def __init__(
        self,
        store: EventStore,
        categories: Sequence[Category[Any, Any, Any]],
        *,
        poll_s: float = 1.0,
        keep_s: float | None = None,
    ) -> None:
        self._store = store
        self._categories = {category.name: category for category in categories}
        self._poll_s = poll_s
        self._keep_s = keep_s
        self._stopping = asyncio.Event()
        self._ready = False
        self._fired = 0
        self._waiting = 0

    def stop(self) -> None:
        """Ask `run` to end after the commands that it is at."""
        self._stopping.set()

    def ready(self) -> bool:
        """True once it has looked for the first time."""
        return self._ready

    def positions(self) -> Mapping[str, tuple[int, int]]:
        """How many timers it has fired, and how many with those that are due: for health."""
        return {"timers": (self._fired, self._fired + self._waiting)}

    async def run(self) -> None:
        """Fire what becomes due until `stop`; where PostgreSQL does not answer, try again."""
        purging = asyncio.create_task(self._purge_all())
        pause = self._poll_s
        try:
            async with Notifications(self._store.engine, TIMERS_SET) as notifications:
                while not self._stopping.is_set():
                    try:
                        news = notifications.next()
                        if not await self._fire_due():
                            await self._idle(notifications, news)
                        pause = self._poll_s
                    except Unavailable as error:
                        log.warning("timers: trying again in %.1f s: %s", pause, error)
                        await self._sleep(pause)
                        pause = min(2 * pause, MAX_PAUSE_S)
        finally:
            purging.cancel()
            await asyncio.wait([purging])

    async def _fire_due(self) -> bool:
        """Fire the timers that are due, those of one stream in order. False when there is none, or
        other workers are at them."""
        now = self._store.clock.now_us()
        async with self._store.reading() as connection:
            found = await connection.execute(
                _DUE, {"now": now, "categories": list(self._categories), "limit": BATCH}
            )
            due = [Timer(*row) for row in found]
        self._ready = True
        self._waiting = len(due)
        fired = self._fired
        streams: defaultdict[tuple[str, str, str], list[Timer]] = defaultdict(list)
        for timer in due:
            streams[timer.client_id, timer.category, timer.id].append(timer)
        free = asyncio.Semaphore(AT_ONCE)

        async def fire_all(timers: list[Timer]) -> None:
            async with free:
                for timer in timers:
                    if not self._stopping.is_set():
                        await self._fire(timer)

        outcomes = await asyncio.gather(*map(fire_all, streams.values()), return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome
        return self._fired > fired

    async def _fire(self, timer: Timer) -> None:
        category = self._categories[timer.category]
        cause = Cause(
            timer.client_id,
            ACTOR,
            occurred_at=timer.due_at,
            correlation_id=category.stream_id(timer.client_id, timer.id),
        )
        claimed = False

        async def work(tx: Transaction) -> Answer:
            nonlocal claimed
            claimed = await _claim(tx, timer)
            if claimed and category.due is not None:
                command = category.due(timer.id, timer.name, timer.due_at)
                await tx.execute(category, timer.id, command)
            return {}

        async def drop(tx: Transaction) -> Answer:
            await _claim(tx, timer)
            return {}

        outcome = "fired"
        try:
            await self._store.run(cause, work)
        except (BadRecord, NotFound) as error:
            outcome = "dropped"
            log.warning(
                "the timer %s of %s is dropped: %s",
                timer.name,
                cause.correlation_id,
                type(error).__name__,
            )
            await self._store.run(cause, drop)
        if claimed:
            self._fired += 1
            self._waiting -= 1
            telemetry.TIMERS_FIRED.add(1, {"category": timer.category, "outcome": outcome})
            delay = (self._store.clock.now_us() - timer.due_at) / 1e6
            telemetry.TIMER_DELAY.record(delay, {"category": timer.category})

    async def _idle(self, notifications: Notifications, news: asyncio.Event) -> None:
        """Until the next timer is due, one is set, or it is time to look."""
        async with self._store.reading() as connection:
            next_due = await connection.scalar(_NEXT, {"categories": list(self._categories)})
        wait_s = self._poll_s
        if next_due is not None:
            until_due_s = (next_due - self._store.clock.now_us()) / 1e6
            # Not at once even when it is due: then another worker is at it.
            wait_s = min(wait_s, max(MIN_PAUSE_S, until_due_s))
        stopping = asyncio.ensure_future(self._stopping.wait())
        waiting = asyncio.ensure_future(notifications.wait(news, wait_s))
        await asyncio.wait([stopping, waiting], return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        waiting.cancel()

    async def _sleep(self, seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)

    async def _purge_all(self) -> None:
        while self._keep_s is not None:
            try:
                await self.purge(self._store.clock.now_us() - int(self._keep_s * 1e6))
            except Unavailable as error:
                log.warning("old answers are not deleted now: %s", error)
            await asyncio.sleep(PURGE_S)

    async def purge(self, before: int) -> int:
        """Delete the answers to commands recorded before that time (microseconds); their number.

        A command whose answer is gone is done anew when it is repeated.
        """
        total = 0
        while True:
            async with self._store.engine.begin() as connection:
                done = await connection.execute(_PURGE, {"before": before, "limit": PURGE_ROWS})
            total += done.rowcount
            if done.rowcount < PURGE_ROWS:
                return total


async def _claim(tx: Transaction, timer: Timer) -> bool:
    """Take a timer that is still due then; False when another worker has it, or it was changed."""
    return await tx.connection.scalar(_CLAIM, asdict(timer)) is not None


_DUE = text(
    "SELECT client_id, category, id, name, due_at FROM timers"
    " WHERE due_at <= :now AND category = ANY (:categories) ORDER BY due_at LIMIT :limit"
)
_NEXT = text("SELECT min(due_at) FROM timers WHERE category = ANY (:categories)")
_CLAIM = text(
    "DELETE FROM timers WHERE (client_id, category, id, name) = ("
    " SELECT client_id, category, id, name FROM timers WHERE client_id = :client_id"
    " AND category = :category AND id = :id AND name = :name AND due_at = :due_at"
    " FOR UPDATE SKIP LOCKED) RETURNING 1"
)
_PURGE = text(
    "DELETE FROM commands WHERE (client_id, key) IN (SELECT client_id, key FROM commands"
    " WHERE recorded_at < :before ORDER BY recorded_at LIMIT :limit)"
)
