"""Agents' desktops: each is told of its agent's calls, and while it is attached its agent is there.

All desktops of a process share one reader of the topics (eventkit.fanout). What holds when one
attaches comes from the log itself, and between it and what follows there is no gap.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Coroutine, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from eventkit.errors import Unavailable
from eventkit.fanout import Fanout, Listener
from eventkit.records import Record
from eventkit.subscription import TakenOver
from services.routing import commands as c
from services.routing.following.codec import AGENTS, CALLS, agent_event, call_event, heard
from services.routing.following.concerns import Holders
from services.routing.pool import Agent, AgentState, CallState, Pool
from services.routing.service import Reports
from services.routing.view import Pools

log = logging.getLogger(__name__)

GRACE_S = 1.0
"""A desktop that is back so soon was never gone."""
ATTEMPTS = 60
"""Seconds in which it is tried to report that a desktop is gone."""
CLOSE_S = 5.0


@dataclass(frozen=True, slots=True)
class InHand:
    """A call that the agent is offered or has. help_id: a request for help with it, whose state and
    offer these are. version: of the call's last event."""

    client_id: str
    call_id: str
    version: int
    state: CallState
    channel: c.Channel
    queue_id: str
    customer_id: str
    offer_id: str
    expires_at: int
    help_id: str
    help_kind: c.HelpKind
    queued_at: int
    connected_at: int
    on_hold: bool

    @property
    def stream_id(self) -> str:
        return f"{self.client_id}/{self.call_id}"


@dataclass(frozen=True, slots=True)
class Situation:
    """What the agent is doing. state None: the pool has never heard of the agent. version: of the
    agent's last event."""

    state: AgentState | None = None
    since: int = 0
    reason: str = ""
    version: int = 0
    calls: tuple[InHand, ...] = ()
    lost: bool = False


def situation_of(pool: Pool | None, agent_id: str) -> Situation:
    """Pure; a copy, since the pool goes on."""
    agent = pool.agents.get(agent_id) if pool else None
    if pool is None or agent is None:
        return Situation()
    return Situation(
        agent.state,
        agent.since,
        agent.reason,
        agent.version,
        tuple(_in_hand(pool, stream) for stream in _streams(agent)),
        agent.lost_at >= 0,
    )


def _streams(agent: Agent) -> list[str]:
    return [*agent.calls, agent.offered] if agent.offered else agent.calls


def _in_hand(pool: Pool, stream: str) -> InHand:
    own = pool.calls[stream]
    call = pool.calls[own.main] if own.main else own
    return InHand(
        client_id=call.client_id,
        call_id=call.call_id,
        version=call.version,
        state=own.state,
        channel=call.channel,
        queue_id=call.queue_id,
        customer_id=call.customer_id,
        offer_id=own.offer_id,
        expires_at=own.offer_expires_at if own.state is CallState.OFFERED else 0,
        help_id=own.call_id if own.main else "",
        help_kind=own.kind,
        queued_at=own.queued_at,
        connected_at=call.connected_at,
        on_hold=call.held_at > 0,
    )


class Desktop:
    """One that is attached: the situation, and an iterator over the CallEvents and AgentEvents that
    follow. Raises TakenOver and Unavailable."""

    def __init__(self, desktops: "Desktops", pool_id: str, agent_id: str) -> None:
        self.pool_id = pool_id
        self.agent_id = agent_id
        self.situation = Situation()
        self.listener: Listener[Any] | None = None
        self._desktops = desktops
        self._seen: dict[str, int] = {}

    def begin(self, situation: Situation) -> None:
        self.situation = situation
        self._seen = {call.stream_id: call.version for call in situation.calls}
        self._seen[f"agent/{self.agent_id}"] = situation.version

    def end(self, reason: Exception) -> None:
        if self.listener is not None:
            self.listener.end(reason)

    def __aiter__(self) -> "Desktop":
        return self

    async def __anext__(self) -> Any:
        assert self.listener is not None
        while True:
            event = await anext(self.listener)
            meta = event.meta
            if meta.version > self._seen.get(meta.stream_id, 0):
                self._seen[meta.stream_id] = meta.version
                self._desktops.look_at(self, event)
                return event


class Desktops:
    """Those of this process."""

    def __init__(self, bootstrap: str, reports: Reports, pools: Pools) -> None:
        self._reports = reports
        self._pools = pools
        self._fanout: Fanout[Any] = Fanout(bootstrap, [CALLS, AGENTS], self._route)
        self._holders = Holders()
        self._attached: dict[str, Desktop] = {}
        self._reporting: set[asyncio.Task[None]] = set()
        self._idle = asyncio.Event()
        self._idle.set()
        self._closing = False

    async def close(self) -> None:
        """Let all go and say that they are gone; those that attach elsewhere are there again."""
        self._closing = True
        for desktop in self._attached.values():
            desktop.end(Unavailable("this process ends"))
        try:
            await asyncio.wait_for(self._idle.wait(), CLOSE_S)
        except TimeoutError:
            log.warning("%d desktops were not let go in time", len(self._attached))
        for task in self._reporting:
            task.cancel()

    @asynccontextmanager
    async def attach(self, pool_id: str, agent_id: str) -> AsyncGenerator[Desktop, None]:
        """Raises Unavailable."""
        if self._closing:
            raise Unavailable("this process ends")
        desktop = Desktop(self, pool_id, agent_id)
        async with self._fanout.listen(agent_id) as desktop.listener:
            before = self._attached.get(agent_id)
            if before is not None:
                before.end(TakenOver())
            self._attached[agent_id] = desktop
            self._idle.clear()
            self._holders.come(agent_id)
            try:
                await self._situate(desktop)
                yield desktop
            finally:
                if self._attached.get(agent_id) is desktop:
                    del self._attached[agent_id]
                    self._holders.go(agent_id)
                    self._spawn(self._report_gone(pool_id, agent_id))

    async def _situate(self, desktop: Desktop) -> None:
        # Twice: who listens is routed the events of the calls in hand only once these are known,
        # and what was published before that is in the second situation.
        first = await self._situation(desktop.pool_id, desktop.agent_id)
        for call in first.calls:
            self._holders.give(call.stream_id, desktop.agent_id)
        desktop.begin(await self._situation(desktop.pool_id, desktop.agent_id))
        if desktop.situation.lost:
            await self._report_back(desktop)

    async def _situation(self, pool_id: str, agent_id: str) -> Situation:
        await self._pools.refresh(pool_id)
        return situation_of(self._pools.state(pool_id), agent_id)

    def _route(self, record: Record) -> Iterator[tuple[str, Any]]:
        if record.topic == AGENTS:
            agent_id = (record.key or b"").decode(errors="replace").removeprefix("agent/")
            if agent_id in self._attached:
                yield agent_id, agent_event(record)
            return
        event = call_event(record)
        for agent_id in self._holders.take(heard(event)):
            yield agent_id, event

    def look_at(self, desktop: Desktop, event: Any) -> None:
        """Another process that the agent was attached to may notice only now that it is gone."""
        if event.WhichOneof("body") == "connection_lost":
            self._spawn(self._report_back(desktop))

    async def _report_back(self, desktop: Desktop) -> None:
        body = c.ReportConnectionRestored(desktop.agent_id)
        await self._reports.put(desktop.pool_id, body)

    async def _report_gone(self, pool_id: str, agent_id: str) -> None:
        if not self._closing:
            await asyncio.sleep(GRACE_S)
        for _ in range(ATTEMPTS):
            if agent_id in self._attached:
                return
            try:
                situation = await self._situation(pool_id, agent_id)
                if situation.state not in (None, AgentState.LOGGED_OUT) and not situation.lost:
                    await self._reports.put(pool_id, c.ReportConnectionLost(agent_id))
                return
            except Unavailable as error:
                log.warning("a desktop is gone, which is not reported yet: %s", error)
                await asyncio.sleep(1)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._reporting.add(task)
        task.add_done_callback(self._spawned)

    def _spawned(self, task: "asyncio.Task[None]") -> None:
        self._reporting.discard(task)
        if not self._attached and not self._reporting:
            self._idle.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            log.warning("a desktop's connection could not be reported: %r", error)
