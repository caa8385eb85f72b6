"""Topics for named subscribers outside: acknowledged, in order, and gone on with after any break.

    subscribers = Subscribers(settings.kafka, ["call-events"], "routing-following")
    async with subscribers.begin("pbx-paris") as subscription:
        async for update in subscription.updates(acknowledgements):
            ...                                     # at most `window` ahead of what is acknowledged

What a subscriber has acknowledged is kept as committed offsets of the consumer group
`<prefix>.<name>`, within a second; what was not kept when something died is given again, in order
per partition: at least once. The group has no members, so nothing is rebalanced, and who comes back
after a kill goes on at once.

A subscriber has one subscription at a time, over all processes. A new one takes over, since the old
one may be a connection that is dead without knowing. Each has a number, which is in the metadata of
its commits and seen by others within a second; one with a higher number ends it. A commit that
crosses the take-over can set offsets back for a moment, which only repeats records.

A `Selection` may remember what it has seen, to choose by it. What it needs to be told again to
remember it is committed with the rest: the group's offset then lies before what is acknowledged,
and what lies between is read again but not given.
"""

import asyncio
import json
import logging
import time
import uuid
from collections import OrderedDict
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Callable,
    Collection,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from typing import NamedTuple, Protocol, TypeVar

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from eventkit import telemetry
from eventkit.errors import BadRecord, InvalidMessage, Unavailable
from eventkit.records import Record
from eventkit.tasks import telling, unless
from eventkit.topictable import find_partitions

log = logging.getLogger(__name__)

DEFAULT_WINDOW = 500
MAX_WINDOW = 10_000
MAX_SUBSCRIPTIONS = 200
"""In one process: each has a connection to Kafka of its own."""
KEEP_S = 1.0
"""How old an acknowledgement may be that is not kept yet; and how long a subscription may not know
that it has been taken over."""
AGAIN_S = 3_600.0
"""Kafka forgets the offsets of a group that commits nothing for days."""
FETCH_RECORDS = 500
OPEN_S = 10.0
LAST_KEEP_S = 5.0

T = TypeVar("T")


class TakenOver(Exception):
    """The same subscriber has begun anew since."""

    def __init__(self) -> None:
        super().__init__("another stream of this subscriber has begun")


class Position(NamedTuple):
    """Of an update; it never changes, so it tells one that comes again."""

    topic: str
    partition: int
    offset: int


class Update(NamedTuple):
    """previous: the offset of what this subscriber was given of the partition before this one.
    None: the chain begins here, at the first subscription, or where records are missing."""

    record: Record
    previous: int | None

    @property
    def position(self) -> Position:
        return Position(self.record.topic, self.record.partition, self.record.offset)


class Selection(Protocol):
    """Which records of one partition a subscriber is given: a fold over them, in their order."""

    def take(self, record: Record) -> bool:
        """Whether it is given. Raises BadRecord: it is not, and counted."""
        ...

    def since(self) -> int | None:
        """The first record that a new one needs to be told of to know what this one knows."""
        ...


class Everything:
    """The selection that has no opinion."""

    def take(self, record: Record) -> bool:
        return True

    def since(self) -> int | None:
        return None


class Subscribers:
    """All subscriptions of this process to these topics. Methods raise Unavailable."""

    def __init__(self, bootstrap: str, topics: Sequence[str], prefix: str) -> None:
        self._bootstrap = bootstrap
        self._topics = topics
        self._prefix = prefix
        self._partitions: list[TopicPartition] = []
        self._active: dict[str, Subscription] = {}
        self._beginning = asyncio.Lock()

    @asynccontextmanager
    async def begin(
        self,
        name: str,
        *,
        earliest: bool = False,
        window: int = DEFAULT_WINDOW,
        select: Callable[[], Selection] = Everything,
        choice: str = "",
    ) -> AsyncGenerator["Subscription", None]:
        """Take over, and go on after what is acknowledged.

        earliest: where a name that was never heard begins: with the oldest record, or with the
            next one.
        window: how many updates may be given ahead of the acknowledgements, from 1.
        select: makes a Selection for a partition. choice: says in a few words what it chooses. With
            another choice than last time nothing is remembered, and the chain begins anew.
        """
        if len(self._active) >= MAX_SUBSCRIPTIONS:
            raise Unavailable(f"{MAX_SUBSCRIPTIONS} subscribers are here already")
        subscription: Subscription | None = None
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self._bootstrap,
            group_id=f"{self._prefix}.{name}",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            max_partition_fetch_bytes=1 << 20,
        )
        try:
            with _unavailable():
                await consumer.start()
                async with self._beginning:
                    before = self._active.get(name)
                    if before is not None:
                        await before._give_way()
                    subscription = await asyncio.wait_for(
                        self._open(consumer, name, earliest, window, select, choice), OPEN_S
                    )
                    self._active[name] = subscription
            yield subscription
        finally:
            if subscription is not None and self._active.get(name) is subscription:
                del self._active[name]
            await consumer.stop()

    async def _open(
        self,
        consumer: AIOKafkaConsumer,
        name: str,
        earliest: bool,
        window: int,
        select: Callable[[], Selection],
        choice: str,
    ) -> "Subscription":
        if not self._partitions:
            self._partitions = await find_partitions(self._bootstrap, self._topics)
        where = self._partitions
        group = f"{self._prefix}.{name}"
        kept = await _find_kept(consumer, where)
        oldest = await consumer.beginning_offsets(where)
        ends = await consumer.end_offsets(where)
        partitions = {}
        for each in where:
            place = kept.get(each)
            if place is None:
                place = _Place.at(oldest[each] if earliest else ends[each])
            elif place.choice != choice:
                place = _Place.at(place.done)
            if place.offset < oldest[each]:
                place = _after_deletion(each, place, oldest[each])
            partitions[each] = _Partition(select, place)
        number = max((place.number for place in kept.values()), default=(0, ""))[0] + 1
        consumer.assign(where)
        for each, partition in partitions.items():
            consumer.seek(each, partition.read)
        subscription = Subscription(
            consumer, group, (number, uuid.uuid4().hex[:8]), choice, partitions, window
        )
        # At once: others learn of it, and what comes from now on is for this name, whatever breaks.
        await subscription._commit()
        log.info("%s: subscription %d has begun", group, number)
        return subscription


async def _find_kept(
    consumer: AIOKafkaConsumer, partitions: Collection[TopicPartition]
) -> dict[TopicPartition, "_Place"]:
    """What is committed. Of a broker that drops metadata only the offset."""
    # AIOKafkaConsumer.committed() drops the metadata; the admin client gives it, but gives up where
    # the group's coordinator has moved or does not know its groups yet.
    found = await consumer._coordinator.fetch_committed_offsets(list(partitions))
    return {where: _Place.read(offset, metadata) for where, (offset, metadata) in found.items()}


@dataclass(frozen=True)
class _Place:
    """How far a subscriber is in a partition, as committed.

    offset: where reading goes on. done: everything before it is acknowledged, or was not for this
    subscriber. last: the last that was given and acknowledged. number, choice: the subscription's.
    """

    offset: int
    done: int
    last: int | None = None
    number: tuple[int, str] = (0, "")
    choice: str = ""

    @staticmethod
    def at(offset: int) -> "_Place":
        return _Place(offset, offset)

    @staticmethod
    def read(offset: int, metadata: str | None) -> "_Place":
        try:
            said = json.loads(metadata or "")
            return _Place(
                offset, said["done"], said["last"], (said["n"], said["by"]), said["choice"]
            )
        except (ValueError, KeyError, TypeError):
            return _Place.at(offset)

    def metadata(self) -> str:
        (number, by), done, last = self.number, self.done, self.last
        said = {"n": number, "by": by, "done": done, "last": last, "choice": self.choice}
        return json.dumps(said, separators=(",", ":"))


def _after_deletion(where: TopicPartition, place: _Place, oldest: int) -> _Place:
    """Records are missing: the chain begins anew."""
    done = max(place.done, oldest)
    log.error("%s:%d: %d to %d were deleted unread", *where, place.offset, oldest - 1)
    telemetry.RECORDS_LOST.add(done - place.done, {"topic": where.topic})
    return _Place(oldest, done)


class _Partition:
    """read: the next record. ahead: given and not acknowledged, by their offsets what the selection
    needed before each."""

    def __init__(self, select: Callable[[], Selection], begun: _Place) -> None:
        self._select = select
        self._begin(begun)

    def _begin(self, place: _Place) -> None:
        self.begun = place
        self.selection = self._select()
        self.read = place.offset
        self.ahead: OrderedDict[int, int | None] = OrderedDict()
        self.last_given = place.last
        self.last_done = place.last

    def take(self, record: Record) -> Update | None:
        """None: it is not for this subscriber, or was dealt with before."""
        if record.offset < self.read:
            self._begin_anew(record)
        self.read = record.offset + 1
        needed = self.selection.since()
        if not self.selection.take(record) or record.offset < self.begun.done:
            return None
        self.ahead[record.offset] = needed
        previous, self.last_given = self.last_given, record.offset
        return Update(record, previous)

    def _begin_anew(self, record: Record) -> None:
        # What was expected lies behind the end, so aiokafka has started from the beginning.
        log.error(
            "%s:%d: the log has lost its end, or is a new one: %d came where %d was expected",
            *(record.topic, record.partition, record.offset, self.read),
        )
        self._begin(_Place.at(record.offset))

    def acknowledge(self, offset: int) -> bool:
        """False: it was not given."""
        if offset not in self.ahead:
            return 0 <= offset < self.done()
        while self.ahead and next(iter(self.ahead)) <= offset:
            self.last_done, _ = self.ahead.popitem(last=False)
        return True

    def done(self) -> int:
        """Everything before it is dealt with."""
        return next(iter(self.ahead)) if self.ahead else max(self.read, self.begun.done)

    def place(self, number: tuple[int, str], choice: str) -> _Place:
        done = self.done()
        needed = self.ahead[done] if self.ahead else self.selection.since()
        offset = done if needed is None else min(needed, done)
        return _Place(min(offset, self.read), done, self.last_done, number, choice)


class Subscription:
    """Made by Subscribers.begin, and good for one `updates`."""

    def __init__(
        self,
        consumer: AIOKafkaConsumer,
        group: str,
        number: tuple[int, str],
        choice: str,
        partitions: Mapping[TopicPartition, _Partition],
        window: int,
    ) -> None:
        self._consumer = consumer
        self._group = group
        self._number = number
        self._choice = choice
        self._partitions = partitions
        self._window = window
        self._kept: dict[TopicPartition, _Place] = {}
        self._kept_at = 0.0
        self._keeping = asyncio.Lock()
        self._heard = asyncio.Event()
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def updates(
        self, acknowledgements: AsyncIterator[Position]
    ) -> AsyncGenerator[Update, None]:
        """Those that are there, then each as it comes. Ends with the acknowledgements, the last of
        which is kept by then.

        acknowledgements: everything of the partition up to there is dealt with. An older one
        changes nothing. Raises TakenOver, Unavailable, and InvalidMessage("position") for one that
        was not given on this subscription.
        """
        beside = [
            asyncio.create_task(telling(self._ended, self._hear(acknowledgements))),
            asyncio.create_task(telling(self._ended, self._keep_for_ever())),
        ]
        try:
            with _unavailable():
                while True:
                    for record in await unless(self._ended, self._fetch()):
                        if self._ahead() >= self._window:
                            await unless(self._ended, self._room())
                        update = self._take(record)
                        if update is not None:
                            yield update
        except _Left:
            with _unavailable():
                await asyncio.wait_for(self._keep(), OPEN_S)
        finally:
            for task in beside:
                task.cancel()
            await asyncio.wait(beside)
            await self._keep_the_last()
            if not self._ended.cancel():
                self._ended.exception()  # known by now, or of no more use

    async def _fetch(self) -> list[Record]:
        chunks = await self._consumer.getmany(timeout_ms=1_000, max_records=FETCH_RECORDS)
        return [record for chunk in chunks.values() for record in chunk]

    def _take(self, record: Record) -> Update | None:
        where = TopicPartition(record.topic, record.partition)
        try:
            update = self._partitions[where].take(record)
        except BadRecord as error:
            telemetry.VALUES_SKIPPED.add(1, {"topic": record.topic})
            log.warning(
                "%s: %s:%d:%d is skipped: %s",
                self._group,
                *(record.topic, record.partition, record.offset, error),
            )
            return None
        if update is not None:
            telemetry.UPDATES_GIVEN.add(1, {"topic": record.topic})
        return update

    def _ahead(self) -> int:
        return sum(len(partition.ahead) for partition in self._partitions.values())

    async def _room(self) -> None:
        while self._ahead() >= self._window:
            self._heard.clear()
            await self._heard.wait()

    async def _hear(self, acknowledgements: AsyncIterator[Position]) -> None:
        async for topic, partition, offset in acknowledgements:
            known = self._partitions.get(TopicPartition(topic, partition))
            if known is None or not known.acknowledge(offset):
                raise InvalidMessage("position", "no update with this position was sent")
            self._heard.set()
        raise _Left

    async def _keep_for_ever(self) -> None:
        while True:
            await asyncio.sleep(KEEP_S)
            try:
                await self._keep()
            except (KafkaError, TimeoutError) as error:
                log.warning("%s: acknowledgements are not kept yet: %r", self._group, error)

    async def _keep(self) -> None:
        """Commit what is new. Raises TakenOver."""
        async with self._keeping:
            kept = await _find_kept(self._consumer, self._partitions)
            newest = max((place.number for place in kept.values()), default=self._number)
            if newest > self._number:
                telemetry.TAKEN_OVER.add(1)
                raise TakenOver
            crossed = any(
                place.number[0] and place.number != self._number for place in kept.values()
            )
            if (
                crossed
                or self._places() != self._kept
                or time.monotonic() - self._kept_at > AGAIN_S
            ):
                await self._commit()

    def _places(self) -> dict[TopicPartition, _Place]:
        return {
            where: partition.place(self._number, self._choice)
            for where, partition in self._partitions.items()
        }

    async def _commit(self) -> None:
        places = self._places()
        await self._consumer.commit(
            {where: (place.offset, place.metadata()) for where, place in places.items()}
        )
        self._kept, self._kept_at = places, time.monotonic()

    async def _keep_the_last(self) -> None:
        """What can be kept at the end; if not, it is given again."""
        if self._ended.done() and isinstance(self._ended.exception(), TakenOver):
            return
        with suppress(KafkaError, TimeoutError, TakenOver):
            await asyncio.wait_for(self._keep(), LAST_KEEP_S)

    async def _give_way(self) -> None:
        """To one of the same process: at once, and with all that is acknowledged kept."""
        await self._keep_the_last()
        if not self._ended.done():
            telemetry.TAKEN_OVER.add(1)
            self._ended.set_exception(TakenOver())


@contextmanager
def _unavailable() -> Iterator[None]:
    try:
        yield
    except TimeoutError:
        raise Unavailable("Kafka does not answer") from None
    except KafkaError as error:
        raise Unavailable(f"Kafka: {error}") from error


class _Left(Exception):
    """The subscriber has said its last word."""
