"""Following: every update once on a quiet line, again after a break, never too far ahead, and no
acknowledgement that cannot be true. The relay's numbers and PostgreSQL are real."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
import sqlalchemy as sa

from eventkit.decider import Decider, Invalid
from eventkit.eventstore import Answer, Category, Cause, EventStore, Transaction, Update
from eventkit.followers import KEEP_S, SUBSCRIBERS, Subscribers, TakenOver
from eventkit.records import Message
from eventkit.relay import Relay


@dataclass(frozen=True, slots=True)
class Counted:
    number: int


@dataclass(frozen=True, slots=True)
class Count:
    times: int


def count(command: Count, state: int) -> list[Counted]:
    return [Counted(state + number + 1) for number in range(command.times)]


COUNTS: Category[Count, int, Counted] = Category(
    "count",
    Decider(0, count, lambda _, event: event.number, (Counted,)),
    topic="counts",
    message=lambda recorded: str(recorded.event.number).encode(),
)


class Nowhere:
    """A topic that nobody reads."""

    async def send_many(self, messages: Sequence[Message]) -> None: ...


@pytest.fixture
async def relay(store: EventStore) -> AsyncIterator[None]:
    relay = Relay(store.engine, Nowhere(), poll_s=0.1)  # type: ignore[arg-type]
    running = asyncio.create_task(relay.run())
    yield
    relay.stop()
    await running


@pytest.fixture
def subscribers(store: EventStore, relay: None) -> Subscribers:
    return Subscribers(store, [COUNTS.name])


async def happen(store: EventStore, client_id: str, times: int, id: str = "a") -> None:
    async def work(tx: Transaction) -> Answer:
        await tx.execute(COUNTS, id, Count(times))
        return {}

    await store.run(Cause(client_id, "test"), work)


class Line:
    """What a subscriber says, and what it has heard."""

    def __init__(self, updates: AsyncIterator[Update], said: "asyncio.Queue[int | None]") -> None:
        self._updates = updates
        self._said = said
        self.heard: list[Update] = []

    async def hear(self, count: int) -> list[Update]:
        async with asyncio.timeout(20):
            heard = [await anext(self._updates) for _ in range(count)]
        self.heard += heard
        return heard

    async def hears_nothing(self, seconds: float = 0.4) -> None:
        """Only good at the end: it breaks the line."""
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(seconds):
                await anext(self._updates)

    async def ends(self) -> None:
        """By what the server raises, or in peace."""
        async with asyncio.timeout(20):
            async for update in self._updates:
                self.heard.append(update)

    def say(self, position: int) -> None:
        self._said.put_nowait(position)

    def leave(self) -> None:
        self._said.put_nowait(None)


@asynccontextmanager
async def line(
    subscribers: Subscribers,
    client_id: str,
    name: str = "erp",
    after: int | None = None,
    window: int = 500,
) -> AsyncIterator[Line]:
    said: asyncio.Queue[int | None] = asyncio.Queue()

    async def saying() -> AsyncIterator[int]:
        while (position := await said.get()) is not None:
            yield position

    subscription = await subscribers.begin(client_id, name, after, window)
    async with aclosing(subscription.updates(saying())) as updates:
        yield Line(updates, said)


async def kept(store: EventStore, client_id: str, name: str = "erp") -> tuple[int, int]:
    """(acknowledged, sent) as it is written down."""
    table = SUBSCRIBERS.c
    async with store.engine.connect() as connection:
        row = await connection.execute(
            sa.select(table.acknowledged, table.sent).where(
                table.client_id == client_id, table.subscriber == name
            )
        )
        acknowledged, sent = row.one()
        return acknowledged, sent


async def test_each_once_in_order_and_on_after_what_is_acknowledged(
    store: EventStore, subscribers: Subscribers, client_id: str
) -> None:
    await happen(store, client_id, 5)
    await happen(store, f"{client_id}-x", 5)
    async with line(subscribers, client_id) as first:
        await first.hear(5)
        reading = asyncio.create_task(first.hear(3))
        await happen(store, client_id, 3)
        await reading
        first.say(first.heard[3].sequence)
        first.leave()
        await first.ends()
    assert [update.message for update in first.heard] == [b"%d" % n for n in range(1, 9)]
    places = [update.sequence for update in first.heard]
    assert [update.previous for update in first.heard] == [0, *places[:-1]]
    assert await kept(store, client_id) == (places[3], places[-1])

    async with line(subscribers, client_id) as second:
        assert await second.hear(4) == first.heard[4:]
        await second.hears_nothing()
    async with line(subscribers, client_id, after=0) as again:
        assert await again.hear(8) == first.heard
        again.say(places[0])
        again.leave()
        await again.ends()
    assert await kept(store, client_id) == (places[3], places[-1]), "it does not go back"
    async with line(subscribers, client_id, after=places[5]) as later:
        assert await later.hear(2) == first.heard[6:]
    async with line(subscribers, client_id, name="shop") as other:
        assert await other.hear(8) == first.heard


async def test_never_further_ahead_than_the_window(
    store: EventStore, subscribers: Subscribers, client_id: str
) -> None:
    await happen(store, client_id, 30)
    for window in (1, 2, 7):
        async with line(subscribers, client_id, f"of-{window}", window=window) as one:
            while len(one.heard) < 30:
                ahead = min(window, 30 - len(one.heard))
                await one.hear(ahead)
                assert (await kept(store, client_id, f"of-{window}"))[1] == one.heard[-1].sequence
                if len(one.heard) < 30:
                    with pytest.raises(TimeoutError):
                        async with asyncio.timeout(0.1):
                            await asyncio.shield(reading := asyncio.ensure_future(one.hear(1)))
                    one.say(one.heard[-1].sequence)
                    await reading
                    one.say(one.heard[-1].sequence)
        assert [update.message for update in one.heard] == [b"%d" % n for n in range(1, 31)]


@pytest.mark.parametrize("which", ["future", "hole", "not sent yet", "negative"])
async def test_what_was_not_sent_cannot_be_acknowledged(
    store: EventStore, subscribers: Subscribers, client_id: str, which: str
) -> None:
    await happen(store, client_id, 1)
    await happen(store, f"{client_id}-x", 1)
    await happen(store, client_id, 3)
    async with line(subscribers, client_id, "all") as every:
        places = [update.sequence for update in await every.hear(4)]
    wrong = {
        "future": places[-1] + 1_000,
        "hole": places[0] + 1,
        "not sent yet": places[3],
        "negative": -1,
    }[which]
    assert wrong not in places or which == "not sent yet"
    async with line(subscribers, client_id, window=2) as one:
        await one.hear(2)
        one.say(wrong)
        with pytest.raises(Invalid) as caught:
            await one.ends()
    assert caught.value.field == "position"
    assert await kept(store, client_id) == (0, places[1])


async def test_what_an_earlier_stream_sent_can_be_acknowledged(
    store: EventStore, subscribers: Subscribers, client_id: str
) -> None:
    await happen(store, client_id, 1)
    await happen(store, f"{client_id}-x", 1)
    await happen(store, client_id, 3)
    async with line(subscribers, client_id) as one:
        places = [update.sequence for update in await one.hear(4)]
    async with line(subscribers, client_id, window=1) as two:
        await two.hear(1)
        two.say(places[2])
        assert [update.sequence for update in await two.hear(1)] == [places[1]]
        two.leave()
        await two.ends()
    assert await kept(store, client_id) == (places[2], places[3])
    async with line(subscribers, client_id, window=1) as three:
        assert [update.sequence for update in await three.hear(1)] == [places[3]]
        three.say(places[1])
        three.leave()
        await three.ends()
    assert await kept(store, client_id) == (places[2], places[3]), "an older one changes nothing"


@pytest.mark.parametrize("after", [7, 10**15])
async def test_begins_only_after_a_position_that_was_given(
    store: EventStore, subscribers: Subscribers, client_id: str, after: int
) -> None:
    await happen(store, f"{client_id}-x", 10)
    with pytest.raises(Invalid) as caught:
        await subscribers.begin(client_id, "erp", after, 500)
    assert caught.value.field == "after_position"


async def test_the_newer_stream_takes_over(
    store: EventStore, subscribers: Subscribers, client_id: str
) -> None:
    await happen(store, client_id, 4)
    async with line(subscribers, client_id) as older:
        places = [update.sequence for update in await older.hear(4)]
        async with line(subscribers, client_id) as newer:
            await newer.hear(4)
            older.say(places[3])
            # At once where there is something to send...
            await happen(store, client_id, 1)
            with pytest.raises(TakenOver):
                await older.ends()
            assert len(older.heard) == 4
            await newer.hear(1)
            newer.say(places[0])
            # ... and soon where there is nothing.
            async with line(subscribers, client_id):
                began = asyncio.get_running_loop().time()
                with pytest.raises(TakenOver):
                    await newer.ends()
                assert asyncio.get_running_loop().time() - began < 3 * KEEP_S
    assert (await kept(store, client_id))[0] == 0, "it was said on lines that were no more"


async def test_acknowledgements_are_written_in_a_rhythm_and_not_lost_in_peace(
    store: EventStore, subscribers: Subscribers, client_id: str
) -> None:
    times = 3_000
    await happen(store, client_id, times)
    written = 0

    def see(_: Any, __: Any, statement: str, *___: Any) -> None:
        nonlocal written
        written += statement.startswith("UPDATE subscribers")

    sa.event.listen(store.engine.sync_engine, "before_cursor_execute", see)
    began = asyncio.get_running_loop().time()
    async with line(subscribers, client_id, window=500) as one:
        for _ in range(times):
            [update] = await one.hear(1)
            one.say(update.sequence)
        seconds = asyncio.get_running_loop().time() - began
        one.say(one.heard[-1].sequence)
        while (await kept(store, client_id))[0] != one.heard[-1].sequence:
            assert asyncio.get_running_loop().time() < began + seconds + 5 * KEEP_S
            await asyncio.sleep(0.05)
    # 250 at once where as many wait, or those that came together; and the last ones.
    print(f"{times} updates, each acknowledged, in {seconds:.2f} s with {written} writes")
    assert written <= times / 50
