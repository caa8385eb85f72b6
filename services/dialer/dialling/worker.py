"""The dialling worker: turns, and what they need to know. docs/subsystems/dialer-dialling.md

One of all works (active.py). What it needs to know is read anew whenever it begins to: calls that
are out and what was learned from the store, agents from routing, what became of calls from the
carrier, which tells again what was not acknowledged.
"""

import asyncio
import logging
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final
from zoneinfo import ZoneInfo

from sqlalchemy.ext.asyncio import AsyncEngine

from eventkit import telemetry
from eventkit.errors import Unavailable
from eventkit.eventstore import Answer, Cause, EventStore, Transaction
from eventkit.keys import KeyRing
from services.dialer.attempts import store as attempts
from services.dialer.attempts.attempt import AnsweredBy
from services.dialer.campaigns.campaign import Command as CampaignCommand
from services.dialer.campaigns.plan import Mode, Settings, Totals, attempts_left, reached
from services.dialer.campaigns.service import Campaigns
from services.dialer.campaigns.store import CAMPAIGNS, Found
from services.dialer.compliance import store as contacts
from services.dialer.compliance.place import places_of_key
from services.dialer.compliance.rules import Rulebook
from services.dialer.compliance.store import CENTRE
from services.dialer.dialling import metrics
from services.dialer.dialling.active import Active
from services.dialer.dialling.calls import Calls
from services.dialer.dialling.carrier import Carrier
from services.dialer.dialling.codec import ACTOR
from services.dialer.dialling.crm import Crm
from services.dialer.dialling.direct import Direct
from services.dialer.dialling.judging import Judging
from services.dialer.dialling.line import Joins, Reports, Results
from services.dialer.dialling.messages import ANYBODY, Agent, AgentState, CallKey, Need
from services.dialer.dialling.recording import Recording
from services.dialer.dialling.recovery import Recovery
from services.dialer.dialling.routing import EMPTY, Routing
from services.dialer.dialling.standing import Stands, stand
from services.dialer.dialling.starting import Starting, Want, out_of
from services.dialer.dialling.stream import CallNews
from services.dialer.dialling.turn import (
    AGENTLESS,
    PREVIEW,
    SECOND,
    Campaign,
    Plan,
    plan,
)
from services.dialer.leads.store import has_open, places_of
from services.dialer.measure.store import KnownDays

log = logging.getLogger(__name__)

LEARN_FROM: Final = 2 * 3600 * SECOND
LEARN_AT_MOST: Final = 3_000
"""Attempts of a campaign from which is learned at the start: what is older is forgotten again."""
FORGET_S: Final = 3600.0
FORGET: Final = 10_000
"""Rows of one transaction."""
MOST_WAITING: Final = 5_000
"""Results that are not in the store; with more of them nothing new is dialled."""
REFRESH_S: Final = 1.0
PLACES_S: Final = 2.0
NEEDS_S: Final = 5.0
Zone = Callable[[str], Awaitable[ZoneInfo]]
"""Of a client: its days are the measure's."""
EXHAUSTED_S: Final = 1.0
"""A campaign that had fewer leads than agents is not given more of them for so long."""


@dataclass(frozen=True, slots=True)
class Limits:
    """turn_s: from one turn to the next. lines: calls that may be out at once."""

    turn_s: float = 0.25
    lines: int = 10_000


@dataclass(slots=True)
class Running:
    """A campaign that runs, and what is known of it since the last look."""

    found: Found
    totals: Totals
    stands: Stands | None = None
    places: tuple[str, ...] = ()
    places_at: float = 0.0
    started: int = 0
    due: int | None = None
    due_until: float = 0.0
    tokens: float = 0.0
    tokens_at: float = 0.0

    @property
    def settings(self) -> Settings:
        assert self.found.campaign.settings is not None
        return self.found.campaign.settings

    @property
    def key(self) -> str:
        return f"{self.found.client_id}/{self.found.campaign_id}"


class Worker:
    """zone: of a client's days. ready and positions are for eventkit.health."""

    def __init__(
        self,
        engine: AsyncEngine,
        events: EventStore,
        keys: KeyRing,
        *,
        bootstrap: str,
        crm: Crm,
        routing: Routing,
        carrier: Carrier,
        rulebook: Rulebook,
        zone: Zone,
        limits: Limits = Limits(),
    ) -> None:
        self._events = events
        self._campaigns = Campaigns(events, attempts.totals)
        self._bootstrap = bootstrap
        self._crm = crm
        self._routing = routing
        self._carrier = carrier
        self._zone = zone
        self._limits = limits
        self._judging = Judging(rulebook, keys)
        self._active = Active(engine, self._work)
        self._results: Results | None = None

    def stop(self) -> None:
        self._active.stop()

    def ready(self) -> bool:
        """It dials, or stands by for the one that does."""
        return self._active.is_ready

    def positions(self) -> Mapping[str, tuple[int, int]]:
        """How many of the carrier's results are in the store, of how many."""
        if self._results is None:
            return {}
        recorded = self._results.recorded
        return {"results": (recorded, recorded + self._results.waiting)}

    async def run(self) -> None:
        """Until `stop`. What was dialled goes on: whoever works next hears of it."""
        await self._active.run()

    async def _work(self) -> None:
        session = _Session(self)
        self._results = session.results
        try:
            await session.run()
        finally:
            self._results = None


class _Session:
    """From getting the lock to losing it."""

    def __init__(self, worker: Worker) -> None:
        self.events = worker._events
        self.campaigns = worker._campaigns
        self.routing = worker._routing
        self.carrier = worker._carrier
        self.recording = Recording(worker._events)
        self.judging = worker._judging
        self.zone = worker._zone
        self.limits = worker._limits
        self.days = KnownDays()
        self.calls = Calls()
        self.reports = Reports(self.routing)
        self.joins = Joins(self.carrier, self.calls)
        self.results = Results(
            self.carrier, self.calls, self.reports, self.joins, self.recording.hear
        )
        self.news = CallNews(worker._bootstrap, self.events.clock, self.joins.news)
        self.direct = Direct(self.events, self.calls)
        self.recovery = Recovery(self.events, self.carrier, self.calls, self.recording)
        self.starting = Starting(
            self.events,
            worker._crm,
            self.judging,
            self.carrier,
            self.calls,
            self.recording,
            self.recovery.doubt,
        )
        self.running: dict[str, Running] = {}
        self.needs: dict[str, dict[str, Need]] = {}
        self.needs_at: dict[str, float] = {}
        self.learned: set[str] = set()
        self.turn = 0

    async def run(self) -> None:
        await self._remember()
        loops = [
            self.reports.run(),
            self.news.run(),
            self.results.follow(),
            self.results.record(),
            self.recovery.run(),
            self._refresh(),
            self._forget(),
            self._take_turns(),
        ]
        tasks = [asyncio.ensure_future(each) for each in loops]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                if task.done():
                    task.result()
        finally:
            self.joins.stop()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    # What was before.

    async def _remember(self) -> None:
        async with self.events.reading() as connection:
            still = await attempts.open_attempts(connection)
        settings: dict[tuple[str, str], Settings | None] = {}
        for row in still:
            where = row["client_id"], row["campaign_id"]
            if where not in settings:
                state, _ = await self.events.load(CAMPAIGNS, *where)
                settings[where] = state.settings
            found = settings[where]
            if found is not None:
                self._put(row, found)
        log.info("%d calls are out", len(still))
        self.recovery.doubt([CallKey(row["client_id"], row["attempt_id"]) for row in still])

    async def _learn(self, found: Found, now: int) -> None:
        """What can be known of a campaign from its last attempts."""
        async with self.events.reading() as connection:
            since = now - LEARN_FROM
            rows = await attempts.recent(
                connection, found.client_id, found.campaign_id, since, LEARN_AT_MOST
            )
        for number, row in enumerate(reversed(rows)):
            self.calls.learn(row)
            if number % 100 == 0:
                await asyncio.sleep(0)
        log.info("%s/%s: learned from %d", found.client_id, found.campaign_id, len(rows))

    def _put(self, row: Mapping[str, Any], settings: Settings) -> None:
        out = out_of(
            CallKey(row["client_id"], row["attempt_id"]),
            settings,
            row["campaign_id"],
            row["mode"],
            row["customer_id"],
            row["started_at"],
            "" if row["connected_at"] else row["agent_id"],
        )
        by = AnsweredBy(row["answered_by"])
        takes = by.is_person or (out.as_person and by is AnsweredBy.MACHINE)
        if row["answered_at"]:
            out.answered_at = row["answered_at"] if takes else 0
            out.nobody = not takes
        out.greeting_ended_at = row["greeting_ended_at"] or 0
        out.connected_at = row["connected_at"] or 0
        out.talks_to = row["agent_id"] if out.connected_at else ""
        # Routing hears of it before the store does.
        out.told = bool(out.greeting_ended_at) and out.mode != AGENTLESS and not out.agent_id
        self.calls.put(out)

    # Campaigns.

    async def _refresh(self) -> None:
        while True:
            began = time.monotonic()
            try:
                await self._look_at_campaigns()
            except Unavailable as error:
                log.warning("campaigns are as they were: %s", error)
            metrics.OUT.set(len(self.calls.outs))
            await asyncio.sleep(max(0.0, REFRESH_S - (time.monotonic() - began)))

    async def _forget(self) -> None:
        """What was dialled so long ago that no rule looks at it."""
        removed = 0

        async def work(tx: Transaction) -> Answer:
            nonlocal removed
            removed = await contacts.prune(tx.connection, tx.now, FORGET)
            return {}

        while True:
            try:
                await self.events.run(Cause(CENTRE, ACTOR), work)
            except Unavailable as error:
                removed = 0
                log.warning("old contacts stay for now: %s", error)
            await asyncio.sleep(1.0 if removed == FORGET else FORGET_S)

    async def _look_at_campaigns(self) -> None:
        now = self.events.clock.now_us()
        found = await self.campaigns.running()
        running_now: dict[str, Running] = {}
        by_client: defaultdict[str, list[Running]] = defaultdict(list)
        for each, totals in found:
            key = f"{each.client_id}/{each.campaign_id}"
            running = self.running.get(key)
            if running is None:
                running = Running(each, totals)
            if key not in self.learned:
                await self._learn(each, now)
                self.learned.add(key)
            running.found, running.totals, running.started = each, totals, 0
            running_now[key] = running
            by_client[each.client_id].append(running)
        self.running = running_now
        for client_id, campaigns in by_client.items():
            await self._look_at_client(client_id, campaigns, now)
        for pool_id in {each.settings.pool_id for each in self.running.values()} - {""}:
            if time.monotonic() - self.needs_at.get(pool_id, -NEEDS_S) >= NEEDS_S:
                self.needs[pool_id] = await self.routing.needs(pool_id)
                self.needs_at[pool_id] = time.monotonic()

    async def _look_at_client(self, client_id: str, campaigns: Sequence[Running], now: int) -> None:
        zone: ZoneInfo = await self.zone(client_id)
        async with self.events.reading() as connection:
            ids = [each.found.campaign_id for each in campaigns]
            await self.judging.look(connection, [client_id])
            days = await self.days.read(connection, client_id, ids, zone.key, now)
            for each in campaigns:
                if time.monotonic() - each.places_at >= PLACES_S:
                    places = await places_of(connection, client_id, each.found.campaign_id)
                    each.places, each.places_at = tuple(places), time.monotonic()
            exhausted = [
                each
                for each in campaigns
                if each.settings.stop_when_exhausted
                and not each.places
                and not await has_open(connection, client_id, each.found.campaign_id)
            ]
        for each in campaigns:
            in_uk = any(one.country == "GB" for key in each.places for one in places_of_key(key))
            campaign_id = each.found.campaign_id
            each.stands = stand(each.found.campaign, days[campaign_id], zone, now, in_uk)
            if each.stands.command is not None:
                await self._command(client_id, campaign_id, each.stands.command)
            if each in exhausted or reached(each.settings, each.totals):
                left = 0 if each in exhausted else None
                await self.campaigns.count(client_id, campaign_id, each.totals, left)

    async def _command(self, client_id: str, campaign_id: str, command: CampaignCommand) -> None:
        async def work(tx: Transaction) -> Answer:
            change = await tx.execute(CAMPAIGNS, campaign_id, command)
            if change.events:
                names = ", ".join(type(each.event).__name__ for each in change.events)
                log.warning("%s/%s: %s", client_id, campaign_id, names)
            return {}

        await self.events.run(Cause(client_id, ACTOR), work)

    # Turns.

    async def _take_turns(self) -> None:
        turning: dict[str, asyncio.Task[None]] = {}
        try:
            while True:
                began = time.monotonic()
                self.turn += 1
                for pool_id, task in list(turning.items()):
                    if task.done():
                        task.result()
                        del turning[pool_id]
                for pool_id in {each.settings.pool_id for each in self.running.values()}:
                    if pool_id not in turning:
                        turning[pool_id] = asyncio.create_task(self._turn(pool_id))
                await asyncio.sleep(max(0.01, self.limits.turn_s - (time.monotonic() - began)))
        finally:
            for task in turning.values():
                task.cancel()
            await asyncio.gather(*turning.values(), return_exceptions=True)

    async def _turn(self, pool_id: str) -> None:
        if self.results.waiting > MOST_WAITING or (pool_id and not self.news.reading.is_set()):
            return
        began = time.monotonic()
        try:
            with telemetry.tracer.start_as_current_span("dialer turn") as span:
                span.set_attribute("relais.pool_id", pool_id)
                await self._dial(pool_id)
        except Unavailable as error:
            log.warning("nothing is dialled for pool %s: %s", pool_id or "-", error)
        metrics.TURN_SECONDS.record(time.monotonic() - began)

    async def _dial(self, pool_id: str) -> None:
        now = self.events.clock.now_us()
        running = [
            each
            for each in self.running.values()
            if each.settings.pool_id == pool_id
            and each.stands is not None
            and each.found.campaign.dials(now)
        ]
        if not running:
            return
        pool = EMPTY
        if pool_id:
            try:
                pool = await self.routing.look(pool_id)
            except Unavailable:
                metrics.ROUTING_SILENT.add(1)
                raise
        needs = self.needs.get(pool_id, {})
        founds = [each.found for each in running]
        direct, busy = await self.direct.find(founds, pool.agents, now)
        outs = self.calls.of_pool(pool_id)
        places = {each.key: self._open_places(each, now) for each in running}
        plans = plan(
            now,
            pool,
            [self._campaign(each, needs, places[each.key]) for each in running],
            outs,
            self.calls.learned,
            self.calls.carrier(now, self.limits.lines - len(self.calls.outs)),
            turn=self.turn,
            inbound_rate=self.calls.inbound_rate(pool_id, now),
            looking=frozenset(busy),
            needs=needs,
        )
        taken = busy | {out.agent_id or out.talks_to for out in outs.values()}
        free = [
            each
            for each in pool.agents
            if each.state is AgentState.AVAILABLE
            and not each.leaving
            and each.agent_id not in taken
        ]
        wants: defaultdict[str, list[Want]] = defaultdict(list)
        for want in direct:
            wants[want.found.client_id].append(want)
        # Not `self.running`: a campaign may have been stopped since this turn began.
        of_turn = {each.key: each for each in running}
        for each in plans:
            key = each.campaign.key
            want = self._want(each, of_turn[key], places[key], free)
            wants[each.campaign.client_id].append(want)
        started = await asyncio.gather(
            *(self.starting.start(client_id, of) for client_id, of in wants.items()),
            return_exceptions=True,
        )
        for (client_id, of), outcome in zip(wants.items(), started, strict=True):
            if isinstance(outcome, BaseException):
                if not isinstance(outcome, Unavailable):
                    raise outcome
                log.warning("nothing is dialled for %s: %s", client_id, outcome)
                continue
            self._note(client_id, of, outcome.taken)

    def _campaign(
        self, each: Running, needs: Mapping[str, Need], places: Sequence[str]
    ) -> Campaign:
        """places: those where it may be the hour."""
        settings, stands = each.settings, each.stands
        assert stands is not None
        need = needs.get(f"{each.found.client_id}/{settings.queue_id}", ANYBODY)
        if settings.skills:
            own = {skill.skill: skill.level for skill in settings.skills}
            levels = {
                skill: max(own.get(skill, 0), need.skills.get(skill, 0))
                for skill in own | dict(need.skills)
            }
            need = replace(need, skills=levels)
        due = each.due if time.monotonic() < each.due_until else None
        left = attempts_left(settings, each.totals)
        if left is not None:
            left = max(0, left - each.started)
            due = left if due is None else min(due, left)
        if not places:
            due = 0
        return Campaign(
            each.found.client_id,
            each.found.campaign_id,
            settings.queue_id,
            each.found.campaign.mode.value,
            settings.priority,
            settings.ratio,
            stands.measure,
            stands.connect_seconds,
            need,
            self._lines(each),
            due,
        )

    def _lines(self, each: Running) -> int | None:
        settings = each.settings
        bounds = []
        if settings.max_calls:
            out = sum(out.campaign == each.key for out in self.calls.outs.values())
            bounds.append(settings.max_calls - out)
        if settings.mode is Mode.MESSAGE:
            now = time.monotonic()
            rate = settings.calls_per_second
            # Not more than a second's worth is saved up.
            each.tokens = min(max(1.0, rate), each.tokens + (now - each.tokens_at) * rate)
            each.tokens_at = now
            bounds.append(int(each.tokens))
        return min(bounds) if bounds else None

    def _open_places(self, each: Running, now: int) -> tuple[str, ...]:
        mode = each.found.campaign.mode.value
        return tuple(self.judging.open_places(each.found, mode, each.places, now))

    def _want(
        self, planned: Plan, running: Running, places: tuple[str, ...], free: list[Agent]
    ) -> Want:
        """free: agents who are shown a lead are taken off it."""
        mode, calls = planned.campaign.mode, planned.calls
        shown: list[str] = []
        if mode == PREVIEW:
            able = [agent for agent in free if planned.campaign.need.is_met_by(agent)]
            shown = [agent.agent_id for agent in able[:calls]]
            free[:] = [agent for agent in free if agent.agent_id not in shown]
            calls = len(shown)
        if mode == AGENTLESS:
            running.tokens -= calls
        return Want(
            running.found,
            mode,
            planned.policy,
            planned.because,
            calls,
            places,
            show_to=tuple(shown),
        )

    def _note(self, client_id: str, wants: Sequence[Want], taken: "Counter[str]") -> None:
        """How many leads were due, where there were fewer than wanted."""
        for want in wants:
            running = self.running.get(f"{client_id}/{want.found.campaign_id}")
            if running is None or not want.calls:
                continue
            count = taken[want.found.campaign_id]
            running.started += count
            if count < want.calls:
                running.due, running.due_until = count, time.monotonic() + EXHAUSTED_S
