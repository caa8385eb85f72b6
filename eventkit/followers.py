"""Who follows a client's events, and how far each has come: kept here, so that a subscriber goes on
where it was whatever broke in between.

    subscription = await Subscribers(events, ["order"]).begin("acme", "erp", None, 500)
    async for update in subscription.updates(acknowledgements):
        ...                                     # at most 500 ahead of what is acknowledged

What is sent is written down before it is sent, so an acknowledgement of something else is known to
be wrong on later streams too. What is acknowledged is written with it, otherwise once a second;
what was not written yet when everything broke is sent again: at least once.

A subscriber has one stream at a time. A new one takes over, since the old one may be a connection
that is dead without knowing: each stream has a number, and one that has a higher one behind it can
write nothing, and sends nothing more.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from eventkit.decider import Invalid
from eventkit.errors import Unavailable
from eventkit.eventstore import EventStore, Update
from eventkit.tasks import telling, unless

DEFAULT_WINDOW = 500
MAX_WINDOW = 10_000
MAX_POSITION = 2**63 - 1
KEEP_S = 1.0
"""How old an acknowledgement may be that is not written yet; and how long a stream that has nothing
to send may not know that it has been taken over."""
GATHER_S = 0.05
"""How long to wait for more room than for a few, since whatever is sent is one write."""

T = TypeVar("T")

_COLUMNS: dict[str, type[sa.Text] | type[sa.BigInteger]] = {
    "client_id": sa.Text,
    "subscriber": sa.Text,
    "stream": sa.BigInteger,
    "acknowledged": sa.BigInteger,
    "sent": sa.BigInteger,
    "began_at": sa.BigInteger,
}
_KEY = ("client_id", "subscriber")


def subscribers_table(metadata: sa.MetaData) -> sa.Table:
    """The table that a service's own database has to have.

    stream: the number of the last one that began, at `began_at` (microseconds since 1970).
    acknowledged, sent: the highest positions; no update above `sent` was ever sent.
    """
    columns = [
        sa.Column(name, kind, primary_key=name in _KEY, nullable=False)
        for name, kind in _COLUMNS.items()
    ]
    return sa.Table("subscribers", metadata, *columns)


SUBSCRIBERS = subscribers_table(sa.MetaData())

_t = SUBSCRIBERS.c
_new = insert(SUBSCRIBERS)
_BEGIN = _new.on_conflict_do_update(
    index_elements=list(_KEY),
    set_={"stream": _t.stream + 1, "began_at": _new.excluded.began_at},
).returning(_t.stream, _t.acknowledged, _t.sent)
_OWN = sa.and_(
    _t.client_id == sa.bindparam("of_client"),
    _t.subscriber == sa.bindparam("named"),
    _t.stream == sa.bindparam("by_stream"),
)
_KEEP = (
    sa.update(SUBSCRIBERS)
    .where(_OWN)
    .values(
        acknowledged=sa.func.greatest(_t.acknowledged, sa.bindparam("dealt_with")),
        sent=sa.func.greatest(_t.sent, sa.bindparam("up_to")),
    )
    .returning(_t.stream)
)
_IS_OWN = sa.select(_t.stream).where(_OWN)


class TakenOver(Exception):
    """The same subscriber has another stream since."""

    def __init__(self) -> None:
        super().__init__("another stream of this subscriber has begun")


class _Left(Exception):
    """The subscriber has said its last word."""


class Subscribers:
    """Those who follow these categories of events. Raises Unavailable."""

    def __init__(self, events: EventStore, categories: Sequence[str]) -> None:
        self._events = events
        self._categories = tuple(categories)

    async def begin(
        self, client_id: str, subscriber: str, after: int | None, window: int
    ) -> "Subscription":
        """A new stream, which takes over from the one before it.

        after: the position to begin after, 0 for the beginning; None: what is acknowledged.
        window: how many updates may be sent ahead of the acknowledgements, from 1.
        Raises Invalid("after_position").
        """
        if after and not await self._exists(client_id, after):
            raise Invalid("after_position", "a position that was given, or 0")
        async with self._events.reading() as connection:
            row = await connection.execute(
                _BEGIN,
                {
                    "client_id": client_id,
                    "subscriber": subscriber,
                    "stream": 1,
                    "acknowledged": 0,
                    "sent": 0,
                    "began_at": self._events.clock.now_us(),
                },
            )
            stream, acknowledged, sent = row.one()
        return Subscription(
            self,
            {"of_client": client_id, "named": subscriber, "by_stream": stream},
            acknowledged if after is None else after,
            window,
            _Place(acknowledged, sent),
        )

    async def _exists(self, client_id: str, position: int) -> bool:
        found = await self._events.updates(self._categories, client_id, position - 1, 1)
        return [update.sequence for update in found] == [position]

    def _batches(self, client_id: str, after: int) -> AsyncGenerator[list[Update], None]:
        return self._events.follow_batches(self._categories, client_id, after)

    async def _keep(self, own: dict[str, Any], place: "_Place | None") -> None:
        """None: only see whether it is its own still. Raises TakenOver."""
        said = {"dealt_with": place.acknowledged, "up_to": place.sent} if place else {}
        async with self._events.reading() as connection:
            row = await connection.execute(_KEEP if place else _IS_OWN, own | said)
            if row.first() is None:
                raise TakenOver


@dataclass(frozen=True, slots=True)
class _Place:
    acknowledged: int
    sent: int


class Subscription:
    """One stream of one subscriber: made by Subscribers.begin, and good for one `updates`."""

    def __init__(
        self, all_: Subscribers, own: dict[str, Any], after: int, window: int, place: _Place
    ) -> None:
        self._all = all_
        self._own = own
        self._client_id: str = own["of_client"]
        self._after = after
        self._window = window
        self._acknowledged = place.acknowledged
        self._sent = place.sent
        self._kept = place
        self._ahead: deque[int] = deque()
        self._heard = asyncio.Event()

    async def updates(self, acknowledgements: AsyncIterator[int]) -> AsyncGenerator[Update, None]:
        """Those that are there, then each as it comes. Ends with the acknowledgements, the last of
        which is written down by then.

        acknowledgements: positions; everything up to one is dealt with. An older one changes
        nothing. Raises TakenOver, Unavailable, and Invalid("position") for one that was not sent on
        this stream nor on one before it.
        """
        ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        beside = [
            asyncio.create_task(telling(ended, self._hear(acknowledgements))),
            asyncio.create_task(telling(ended, self._keep_for_ever())),
        ]
        try:
            async with aclosing(self._all._batches(self._client_id, self._after)) as batches:
                while True:
                    batch = await unless(ended, anext(batches))
                    while batch:
                        room = await unless(ended, self._room(len(batch)))
                        now, batch = batch[:room], batch[room:]
                        self._sent = max(self._sent, now[-1].sequence)
                        await self._keep()
                        for update in now:
                            self._ahead.append(update.sequence)
                            yield update
        except _Left:
            await self._keep()
        finally:
            for task in beside:
                task.cancel()
            await asyncio.wait(beside)
            if not ended.cancel():
                ended.exception()  # known by now, or of no more use
            with suppress(TakenOver, Unavailable):
                await self._keep()

    async def _hear(self, acknowledgements: AsyncIterator[int]) -> None:
        async for position in acknowledgements:
            await self._acknowledge(position)
        raise _Left

    async def _acknowledge(self, position: int) -> None:
        if position > self._acknowledged:
            if position not in self._ahead and not await self._was_sent(position):
                raise Invalid("position", "no update with this position was sent")
            self._acknowledged = position
        elif position < 0:
            raise Invalid("position", "a position that was given")
        while self._ahead and self._ahead[0] <= position:
            self._ahead.popleft()
        self._heard.set()

    async def _was_sent(self, position: int) -> bool:
        """On a stream before this one, as a rule."""
        return position <= self._sent and await self._all._exists(self._client_id, position)

    async def _room(self, wanted: int) -> int:
        """How many may be sent now; waits until that is one at least."""
        enough = min(wanted, (self._window + 1) // 2)
        while (room := self._window - len(self._ahead)) < enough:
            self._heard.clear()
            try:
                await asyncio.wait_for(self._heard.wait(), GATHER_S if room else None)
            except TimeoutError:
                break
        return room

    async def _keep_for_ever(self) -> None:
        while True:
            await asyncio.sleep(KEEP_S)
            if not await self._keep():
                await self._all._keep(self._own, None)

    async def _keep(self) -> bool:
        """Write down what is new; False: nothing is. Raises TakenOver."""
        place = _Place(self._acknowledged, self._sent)
        if place == self._kept:
            return False
        await self._all._keep(self._own, place)
        self._kept = place
        return True
