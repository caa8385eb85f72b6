"""The simulated carrier at work: calls that live by the clock, and followers of their results."""

import asyncio
import heapq
import itertools
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from zoneinfo import ZoneInfo

import phonenumbers
from phonenumbers import timezone

from eventkit.clock import Clock
from eventkit.errors import InvalidMessage, Unavailable
from eventkit.subscription import TakenOver
from services.dialer.carrier.calls import (
    Call,
    Connect,
    Connected,
    Drawn,
    Over,
    Result,
    Why,
    draw,
    life,
)
from services.dialer.carrier.journal import Entry, Journal, Key, Known, Taken
from services.dialer.carrier.scenario import Failing, Scenario

RECENT = 20_000
"""At least so many results followers read from memory; who is further behind reads the journal."""
TICK_S = 0.005
"""What happens within one is recorded and told together."""
BATCH = 500
"""Results of one message, at most."""
PRUNE_S = 3600.0


class Dialled(StrEnum):
    DIALLING = "dialling"
    KNOWN = "known"
    TOO_LATE = "too-late"
    USED_UP = "used-up"


@dataclass(slots=True)
class _Live:
    """A call that is not over. told: how many of `plan` have happened."""

    call: Call
    drawn: Drawn
    dialled_at: int
    plan: tuple[Result, ...] = ()
    told: int = 0
    connects: list[Connect] = field(default_factory=list)
    hung_up_at: int | None = None

    @property
    def key(self) -> Key:
        return Key(self.call.client_id, self.call.call_id)


@dataclass(slots=True)
class _Follower:
    acknowledged: int
    sent: int
    news: asyncio.Event = field(default_factory=asyncio.Event)
    ended: Exception | None = None
    finished: bool = False


class Exchange:
    """Use it as a context manager; see proto/relais/telephony/v1 for what its methods promise.

    Raises Unavailable while the scenario says that the service is out. `failed` is the journal's.
    """

    def __init__(self, path: Path, scenario: Scenario, seed: int, clock: Clock) -> None:
        self._path = path
        self._scenario = scenario
        self._seed = seed
        self._clock = clock
        self._now = 0
        self._live: dict[Key, _Live] = {}
        self._due: list[tuple[Key, Result]] = []
        self._recording: asyncio.Task[None] | None = None
        self._dialling: set[asyncio.Task[list[Dialled]]] = set()
        self._recent: list[Entry] = []
        self._wakes: list[tuple[int, int, _Live]] = []
        self._numbers = itertools.count()
        self._followers: dict[str, _Follower] = {}

    async def __aenter__(self) -> "Exchange":
        self._journal = Journal(self._path, self._clock.now_us(), self._committed)
        self._tasks = [asyncio.create_task(each) for each in (self._play(), self._prune())]
        return self

    async def __aexit__(self, *error: object) -> None:
        """What is under way is over as if killed: the next start says so."""
        for task in self._tasks:
            task.cancel()
        for follower in self._followers.values():
            _end(follower, Unavailable("the carrier stops"))
        await self._journal.close()

    @property
    def failed(self) -> "asyncio.Future[None]":
        return self._journal.failed

    def ready(self) -> bool:
        """For eventkit.health."""
        return not self.failed.done()

    def positions(self) -> Mapping[str, tuple[int, int]]:
        return {}

    async def dial(self, calls: Sequence[tuple[Call, int]]) -> list[Dialled]:
        """Each with the time until which it may be dialled. In order."""
        self._must_serve()
        # What is on record must be dialled, also when whoever asked is gone meanwhile.
        task = asyncio.create_task(self._dial(calls))
        self._dialling.add(task)
        task.add_done_callback(self._dialling.discard)
        return await asyncio.shield(task)

    async def _dial(self, calls: Sequence[tuple[Call, int]]) -> list[Dialled]:
        at = self.now()
        taken = await self._journal.dial(
            [(Key(call.client_id, call.call_id), at <= until) for call, until in calls], at
        )
        at = self.now()
        answers = []
        late = []
        for (call, until), said in zip(calls, taken, strict=True):
            match said:
                case Taken.NEW if at <= until:
                    self._begin(call, at)
                    answers.append(Dialled.DIALLING)
                case Taken.NEW:
                    # The disk was slower than the permission lasts.
                    late.append(Key(call.client_id, call.call_id))
                    answers.append(Dialled.TOO_LATE)
                case Taken.KNOWN:
                    answers.append(Dialled.KNOWN)
                case Taken.USED_UP:
                    answers.append(Dialled.USED_UP)
                case Taken.ABSENT:
                    answers.append(Dialled.TOO_LATE)
        if late:
            await self._journal.use_up(late)
        return answers

    async def connect(self, key: Key, agent_id: str) -> bool:
        """Whether the agent has the call, or will have it when the greeting has ended."""
        self._must_serve()
        at = self.now()
        live = self._live.get(key)
        if live is None:
            return False
        self._happen(live, at)
        if any(connect.agent_id == agent_id for connect in live.connects):
            return any(_joins(result, agent_id) for result in live.plan)
        connects = [*live.connects, Connect(at, agent_id)]
        plan = life(live.call, live.drawn, live.dialled_at, connects, live.hung_up_at)
        if not any(_joins(result, agent_id) for result in plan):
            return False
        live.connects, live.plan = connects, plan
        self._happen(live, at)
        await self._recorded()
        return True

    async def hang_up(self, key: Key) -> None:
        """A call that is over, or is not known, stays so."""
        self._must_serve()
        at = self.now()
        live = self._live.get(key)
        if live is None:
            return
        live.hung_up_at = at
        live.plan = life(live.call, live.drawn, live.dialled_at, live.connects, at)
        self._happen(live, at)
        await self._recorded()

    async def find(self, keys: Sequence[Key]) -> list[Known]:
        self._must_serve()
        return await self._journal.find(keys, self.now())

    async def follow(
        self, subscriber: str, window: int, acknowledgements: AsyncIterator[int]
    ) -> AsyncGenerator[list[Entry], None]:
        """All results that the subscriber has not acknowledged, and then each as it happens.

        At most `window` are ahead of what is acknowledged. Ends when the acknowledgements do, with
        TakenOver when the subscriber begins anew, and with InvalidMessage for an acknowledgement of
        what has not happened. One of what an earlier stream has sent is right.
        """
        self._must_serve()
        begun = await self._journal.subscribe(subscriber)
        older = self._followers.get(subscriber)
        if older is not None:
            _end(older, TakenOver())
        follower = self._followers[subscriber] = _Follower(begun, begun)
        reading = asyncio.create_task(self._acknowledge(subscriber, follower, acknowledgements))
        try:
            while True:
                # Before looking: what is committed while we look is looked at again.
                follower.news.clear()
                if follower.ended is not None:
                    raise follower.ended
                if follower.finished:
                    return
                free = window - (follower.sent - follower.acknowledged)
                entries = await self._after(follower.sent, min(free, BATCH)) if free > 0 else []
                if entries:
                    follower.sent = entries[-1].position
                    yield entries
                else:
                    await follower.news.wait()
        finally:
            reading.cancel()
            if self._followers.get(subscriber) is follower:
                del self._followers[subscriber]

    def now(self) -> int:
        """Never earlier than before: what has happened has happened, whatever the clock says."""
        self._now = max(self._now, self._clock.now_us())
        return self._now

    # Calls.

    def _must_serve(self) -> None:
        if self._scenario.outage(Failing.SERVICE, self.now() - self._journal.born_at):
            raise Unavailable("the carrier is out")

    def _begin(self, call: Call, at: int) -> None:
        scaled = replace(call, ring_for_us=round(call.ring_for_us / self._scenario.speed))
        drawn = draw(scaled, self._scenario, self._seed, _hour(call.to, at))
        if self._scenario.outage(Failing.CALLS, at - self._journal.born_at):
            drawn = replace(drawn, fails=Over(Why.CARRIER_ERROR, "network out of order"))
        elif len(self._live) >= self._scenario.capacity:
            drawn = replace(drawn, fails=Over(Why.CARRIER_ERROR, "no free line"))
        live = _Live(scaled, drawn, at, life(scaled, drawn, at))
        self._live[live.key] = live
        self._happen(live, at)

    def _happen(self, live: _Live, now: int) -> None:
        """Tell what of the plan has happened by now, and come back for the rest."""
        while live.told < len(live.plan) and live.plan[live.told].at <= now:
            self._due.append((live.key, live.plan[live.told]))
            live.told += 1
        if self._due and self._recording is None:
            # What happens in this turn of the event loop is recorded together.
            self._recording = asyncio.create_task(self._record())
        if live.told == len(live.plan):
            self._live.pop(live.key, None)
        else:
            wake = live.plan[live.told].at, next(self._numbers), live
            heapq.heappush(self._wakes, wake)

    async def _play(self) -> None:
        """What was planned happens when its time has come. A plan that was made anew leaves an old
        wake behind, at which nothing may have happened yet."""
        while True:
            now = self.now()
            while self._wakes and self._wakes[0][0] <= now:
                _, _, live = heapq.heappop(self._wakes)
                if live.told < len(live.plan) and live.plan[live.told].at <= now:
                    self._happen(live, now)
            await asyncio.sleep(TICK_S)

    async def _record(self) -> None:
        due, self._due = self._due, []
        self._recording = None
        await self._journal.record(due)

    async def _recorded(self) -> None:
        """What has happened up to now is on record."""
        if self._recording is not None:
            # Shielded: others wait for it too, when this one's caller goes.
            await asyncio.shield(self._recording)

    async def _prune(self) -> None:
        while True:
            pruned = await self._journal.prune(self.now())
            # In slices: who records meanwhile must not wait.
            await asyncio.sleep(0.1 if pruned else PRUNE_S)

    # Followers.

    def _committed(self, entries: list[Entry]) -> None:
        self._recent += entries
        if len(self._recent) > 2 * RECENT:
            del self._recent[:RECENT]
        for follower in self._followers.values():
            follower.news.set()

    async def _after(self, position: int, limit: int) -> list[Entry]:
        recent = self._recent
        if recent and recent[0].position <= position + 1:
            # Positions have no gaps.
            start = position + 1 - recent[0].position
            return recent[start : start + limit]
        return await self._journal.after(position, limit)

    async def _acknowledge(
        self, subscriber: str, follower: _Follower, acknowledgements: AsyncIterator[int]
    ) -> None:
        try:
            async for position in acknowledgements:
                if not 0 <= position <= self._journal.position:
                    raise InvalidMessage("acknowledge", "there is no such position yet")
                if position > follower.acknowledged:
                    follower.acknowledged = position
                    follower.sent = max(follower.sent, position)
                    # Not waited for: what is lost comes again.
                    self._journal.acknowledge(subscriber, position)
                    follower.news.set()
            follower.finished = True
            follower.news.set()
        except Exception as error:
            _end(follower, error)


def _end(follower: _Follower, error: Exception) -> None:
    follower.ended = error
    follower.news.set()


def _joins(result: Result, agent_id: str) -> bool:
    return isinstance(result.what, Connected) and result.what.agent_id == agent_id


def _hour(number: str, at: int) -> int:
    """At the called place; UTC where the number does not tell one."""
    return datetime.fromtimestamp(at / 1e6, _zone(number)).hour


@lru_cache(maxsize=10_000)
def _zone(number: str) -> ZoneInfo:
    try:
        name = timezone.time_zones_for_number(phonenumbers.parse(number))[0]
    except phonenumbers.NumberParseException:
        name = timezone.UNKNOWN_TIMEZONE
    return ZoneInfo("UTC" if name == timezone.UNKNOWN_TIMEZONE else name)
