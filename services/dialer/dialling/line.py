"""The way from the carrier to routing and back, which PostgreSQL is not on: somebody is waiting.

    Results -> Calls.hear -> Reports -> routing-commands
    call-events -> Calls.news -> Joins -> Telephony.Connect

What is heard goes on to the store in small batches (`Results.record`), and is acknowledged once
both the reports and the store have it: after a crash it comes again, and repeats are harmless.
"""

import asyncio
import logging
import time
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Mapping, Sequence

from eventkit import telemetry
from eventkit.errors import Unavailable
from services.dialer.attempts import attempt as a
from services.dialer.dialling import metrics
from services.dialer.dialling.calls import Calls, Join, Tell
from services.dialer.dialling.carrier import Carrier
from services.dialer.dialling.messages import CallKey, CallResult, News, Told
from services.dialer.dialling.routing import Routing

log = logging.getLogger(__name__)

GATHER_S = 0.02
"""So long results gather for one transaction, while none is under way."""
AT_ONCE = 80
"""Results of one transaction: what is decided and sealed at a stretch takes milliseconds."""
JOIN_FOR_S = 2.0
"""After that the carrier has played its message."""
FIRST_PAUSE_S, MAX_PAUSE_S = 0.05, 2.0

Record = Callable[[str, Sequence[tuple[CallKey, tuple[a.Heard, ...]]]], Awaitable[None]]
"""(client, what was heard of which attempts, each once) -> it is in the store. Raises Unavailable,
and what no repeat mends."""


class Reports:
    """To routing: in order, as many at once as have come while the last ones were on their way.
    It does not give up: where Kafka is away, whoever waits is answered by the carrier."""

    def __init__(self, routing: Routing) -> None:
        self._routing = routing
        self._line: list[tuple[str, Told]] = []
        self._done: list[asyncio.Future[None]] = []
        self._news = asyncio.Event()

    def tell(self, tells: Sequence[Tell]) -> "asyncio.Future[None]":
        """Done when Kafka has them all."""
        done = asyncio.get_running_loop().create_future()
        self._line += [(tell.pool_id, tell.told) for tell in tells]
        self._done.append(done)
        self._news.set()
        return done

    async def run(self) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            line, self._line = self._line, []
            done, self._done = self._done, []
            pause = FIRST_PAUSE_S
            while line:
                try:
                    await self._routing.tell(line)
                    metrics.REPORTS.add(len(line))
                    break
                except Unavailable as error:
                    log.warning("routing is told nothing, again in %.2f s: %s", pause, error)
                    await asyncio.sleep(pause)
                    pause = min(2 * pause, MAX_PAUSE_S)
            for each in done:
                if not each.done():
                    each.set_result(None)


class Joins:
    """Asks the carrier to connect agents: each in a task of its own, again until it is too late."""

    def __init__(self, carrier: Carrier, calls: Calls) -> None:
        self._carrier = carrier
        self._calls = calls
        self._running: set[asyncio.Task[None]] = set()

    def ask(self, join: Join) -> None:
        task = asyncio.create_task(self._join(join))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    def news(self, news: News) -> None:
        join = self._calls.news(news)
        if join is not None:
            self.ask(join)

    def stop(self) -> None:
        for task in self._running:
            task.cancel()

    async def _join(self, join: Join) -> None:
        until, pause = time.monotonic() + JOIN_FOR_S, FIRST_PAUSE_S
        while True:
            try:
                connected = await self._carrier.connect(join.key, join.agent_id)
                metrics.JOINS.add(1, {"outcome": "connected" if connected else "refused"})
                break
            except Unavailable:
                if time.monotonic() + pause >= until:
                    metrics.JOINS.add(1, {"outcome": "unavailable"})
                    connected = False
                    break
                await asyncio.sleep(pause)
                pause *= 2
        if not connected:
            self._calls.refused(join)


class Results:
    """What becomes of the calls, from the carrier's stream to its acknowledgement."""

    def __init__(
        self,
        carrier: Carrier,
        calls: Calls,
        reports: Reports,
        joins: Joins,
        record: Record,
    ) -> None:
        self._carrier = carrier
        self._calls = calls
        self._reports = reports
        self._joins = joins
        self._record = record
        self._line: deque[tuple[CallResult, asyncio.Future[None] | None]] = deque()
        self._news = asyncio.Event()
        self._greeted: dict[str, float] = {}
        self.recorded = 0
        """Results that are in the store."""

    @property
    def waiting(self) -> int:
        """Results that are not in the store yet."""
        return len(self._line)

    async def follow(self) -> None:
        """For ever."""
        async for results in self._carrier.follow():
            tells: list[Tell] = []
            for result in results:
                self._measure(result)
                for act in self._calls.hear(result):
                    if isinstance(act, Tell):
                        tells.append(act)
                    else:
                        self._joins.ask(act)
            told = self._reports.tell(tells) if tells else None
            self._line.extend((result, told) for result in results)
            self._news.set()

    async def record(self) -> None:
        """For ever. Raises what no repeat mends, with the results unacknowledged."""
        while True:
            await self._news.wait()
            self._news.clear()
            await asyncio.sleep(GATHER_S)
            while self._line:
                await self._record_some()

    async def _record_some(self) -> None:
        some = [self._line.popleft() for _ in range(min(AT_ONCE, len(self._line)))]
        heard: defaultdict[str, dict[CallKey, list[a.Heard]]] = defaultdict(dict)
        for result, _ in some:
            if result.heard is not None:
                heard[result.key.client_id].setdefault(result.key, []).append(result.heard)
        for told in {told for _, told in some if told is not None}:
            await told
        with telemetry.tracer.start_as_current_span("dialer results") as span:
            span.set_attribute("relais.results", len(some))
            # Clients beside each other; all of them, before anything is acknowledged.
            await asyncio.gather(*(self._store(client, of) for client, of in heard.items()))
        self._carrier.acknowledge(some[-1][0].position)
        self.recorded += len(some)

    async def _store(self, client_id: str, heard: Mapping[CallKey, Sequence[a.Heard]]) -> None:
        pause = FIRST_PAUSE_S
        while True:
            try:
                await self._record(client_id, [(key, tuple(of)) for key, of in heard.items()])
                return
            except Unavailable as error:
                log.warning("results wait for the store, again in %.2f s: %s", pause, error)
                await asyncio.sleep(pause)
                pause = min(2 * pause, MAX_PAUSE_S)

    def _measure(self, result: CallResult) -> None:
        stream = result.key.stream_id
        match result.heard:
            case None:
                return
            case a.GreetingEnded():
                self._greeted[stream] = time.monotonic()
            case a.Connected():
                since = self._greeted.pop(stream, None)
                if since is not None:
                    metrics.CONNECT_SECONDS.record(time.monotonic() - since)
            case a.Over():
                self._greeted.pop(stream, None)
        metrics.RESULTS.add(1, {"result": type(result.heard).__name__})
