"""A pool as it is now: queues, agents and calls, where every number is the length of a list. Pure.

Requests for help are no calls of their own here: they are named by the calls that they are for.
"""

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from services.routing.commands import SECOND
from services.routing.pool import Agent, AgentState, Call, CallState, Pool
from services.routing.queues import QueueState

DAY = 24 * 3600 * SECOND


def time_of(pool: Pool, now: int) -> int:
    """Until when waits and states are counted: the clock's time, or the pool's where it lives in
    another, as replayed and simulated pools do."""
    elsewhere = pool.settings.clock_speed != 1 or now - pool.now > DAY
    return pool.now if elsewhere else max(now, pool.now)


@dataclass(frozen=True, slots=True)
class QueueNow:
    """waiting, offered, assigned, connected: calls. callbacks: of the waiting ones, those whose
    customers have hung up and will be called. longest_wait: of the waiting ones, microseconds.

    service_level: of about the last fifty calls; None: of none yet. estimated_wait: for a call that
    comes now; None: nothing is known of how fast the queue moves.
    """

    state: QueueState
    open: bool
    waiting: int
    callbacks: int
    offered: int
    assigned: int
    connected: int
    longest_wait: int
    service_level: float | None
    estimated_wait: int | None


@dataclass(frozen=True, slots=True)
class AgentsNow:
    """How many agents are in a state, and for how long the first of them."""

    state: AgentState
    count: int
    longest: int


def calls_of(pool: Pool) -> Iterator[Call]:
    return (call for call in pool.calls.values() if not call.main)


def queues_now(pool: Pool, now: int) -> list[QueueNow]:
    """Those that are configured or have calls, by client and name."""
    counts: defaultdict[str, Counter[CallState]] = defaultdict(Counter)
    callbacks: Counter[str] = Counter()
    first: dict[str, int] = {}
    for call in calls_of(pool):
        key = call.queue_key
        counts[key][call.state] += 1
        if call.state is CallState.WAITING:
            callbacks[key] += call.callback
            since = waits_since(call)
            first[key] = min(since, first.get(key, since))
    found = []
    for key, state in sorted(pool.queues.items()):
        count, config = counts[key], state.config
        waiting = count[CallState.WAITING]
        found.append(
            QueueNow(
                state,
                config.hours is None or config.hours.open_at(now),
                waiting,
                callbacks[key],
                count[CallState.OFFERED],
                count[CallState.ASSIGNED],
                count[CallState.CONNECTED],
                max(0, now - first[key]) if key in first else 0,
                state.level.share if state.level.offered else None,
                state.pace.estimate(waiting),
            )
        )
    return found


def agents_now(pool: Pool, now: int) -> list[AgentsNow]:
    """Every state, those without agents too."""
    since: defaultdict[AgentState, list[int]] = defaultdict(list)
    for agent in pool.agents.values():
        since[agent.state].append(agent.since)
    return [
        AgentsNow(state, len(since[state]), max(0, now - min(since[state], default=now)))
        for state in AgentState
    ]


def agents_there(pool: Pool) -> list[Agent]:
    """Those who are logged in, by id."""
    there = (a for a in pool.agents.values() if a.state is not AgentState.LOGGED_OUT)
    return sorted(there, key=lambda agent: agent.agent_id)


def waiting_by_priority(pool: Pool) -> dict[tuple[str, str, int], int]:
    """How many callers wait, by client, queue and priority; who will be called back is not one."""
    count: Counter[tuple[str, str, int]] = Counter(
        (call.client_id, call.queue_id, call.priority)
        for call in calls_of(pool)
        if call.state is CallState.WAITING and not call.callback
    )
    return dict(sorted(count.items()))


def waits_since(call: Call) -> int:
    """From when its present wait is counted."""
    return call.requeued_at if call.answered else call.queued_at


class Places:
    """Which waiting call comes how soon in its queue, and what it may expect."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._orders: dict[str, list[tuple[int, int, str]]] = defaultdict(list)
        for call in calls_of(pool):
            if call.state is CallState.WAITING and not call.not_before:
                self._orders[call.queue_key].append(_order(call))
        for order in self._orders.values():
            order.sort()

    def of(self, call: Call) -> int | None:
        """From 1. None: it does not wait, or not yet again."""
        if call.state is not CallState.WAITING or call.not_before:
            return None
        return bisect_left(self._orders[call.queue_key], _order(call)) + 1

    def estimated_wait(self, call: Call) -> int | None:
        """From now on, microseconds."""
        place = self.of(call)
        return None if place is None else self._pool.queue(call.queue_key).pace.estimate(place - 1)


def _order(call: Call) -> tuple[int, int, str]:
    return -call.priority, call.queued_at, call.stream_id


def calls_where(
    pool: Pool, state: CallState | None, queue: str, client: str, agent: str
) -> list[Call]:
    """By stream. Nothing said: all."""
    wanted: list[Callable[[Call], bool]] = []
    if state is not None:
        wanted.append(lambda call: call.state is state)
    if queue:
        wanted.append(lambda call: call.queue_key == queue)
    if client:
        wanted.append(lambda call: call.client_id == client)
    if agent:
        wanted.append(lambda call: call.agent_id == agent)
    found = (call for call in calls_of(pool) if all(each(call) for each in wanted))
    return sorted(found, key=lambda call: call.stream_id)


def agents_where(pool: Pool, state: AgentState | None, site: str, group: str) -> list[Agent]:
    """By id. Nothing said: all."""
    found = (
        agent
        for agent in pool.agents.values()
        if (state is None or agent.state is state)
        and (not site or agent.site == site)
        and (not group or group in agent.groups)
    )
    return sorted(found, key=lambda agent: agent.agent_id)
