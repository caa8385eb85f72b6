"""A centre without a clock: customers and agents around the real engine. Pure.

What happens is a heap of (time, what, whom). The engine is told with as few commands as it takes: a
call is queued, connected (which accepts the offer) and ended. Who is offered a call is on the line
at once: in the files too that takes a second or two. The work after a call is reported as a part of
the call, since no policy asks which of the two keeps an agent from the next one. Equal times go by
what happens: who ends a call at a moment is free for who comes, or loses patience, at that moment.

Times are microseconds since the epoch, lengths microseconds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush

from relaisctl.simulation.estimates import Caller
from relaisctl.simulation.recorded import SECOND
from relaisctl.simulation.roster import Shift
from services.routing import commands as c
from services.routing import events as e
from services.routing.configuration import Queue
from services.routing.engine import apply
from services.routing.pool import Pool

POOL = "simulation"
ACTOR = "simulate"
NO_WRAP_UP = -1
"""Routing's word for it."""
# What happens, in the order in which it does at one time. Plain numbers: they are compared often.
_END, _LOG_OUT, _LOG_IN, _RETURN, _BREAK, _ARRIVE, _GIVE_UP = range(7)


@dataclass(frozen=True, slots=True)
class Rules:
    """How the pool is configured. queues: by the name that callers have, with whose they are."""

    policy: str
    queues: Mapping[str, tuple[str, Queue]]


@dataclass(slots=True)
class Outcome:
    """What became of a caller.

    waited      until answered or given up; None: nobody came, and the patience was endless
    agent       who answered; empty: nobody
    estimated   the wait that routing foresaw when the call was queued; None: it could not
    """

    waited: int | None = None
    agent: str = ""
    estimated: int | None = None


@dataclass(slots=True)
class Work:
    """What an agent did. staffed: logged in and on no break; busy: of that, with a call or its
    wrap-up."""

    staffed: int = 0
    busy: int = 0


@dataclass(frozen=True, slots=True)
class Result:
    """outcomes: of the callers, in their order. work: by agent. commands: what the engine took."""

    outcomes: list[Outcome]
    work: dict[str, Work]
    commands: int


def run(callers: Sequence[Caller], shifts: Sequence[Shift], begins: int, rules: Rules) -> Result:
    """Let a day happen. begins: the midnight that the shifts' times count from.

    No randomness: equal callers, shifts and rules give an equal day.
    """
    return _Day(callers, shifts, begins, rules).run()


@dataclass(slots=True)
class _Agent:
    agent_id: str
    logged_in: bool = False
    on_break: bool = False
    busy: bool = False
    leaving: bool = False
    """Logs out when the call ends."""
    break_due: int = 0
    """The length of a break for which there has been no time yet."""
    back_at: int = 0
    """When the last break is over."""
    since: int = 0
    """Up to when their work is counted."""
    work: Work = field(default_factory=Work)


class _Day:
    def __init__(
        self, callers: Sequence[Caller], shifts: Sequence[Shift], begins: int, rules: Rules
    ) -> None:
        self._callers = callers
        self._shifts = shifts
        self._queues = rules.queues
        self._outcomes = [Outcome() for _ in callers]
        self._agents = {shift.agent_id: _Agent(shift.agent_id) for shift in shifts}
        self._in_order = list(self._agents.values())
        self._places = {agent_id: place for place, agent_id in enumerate(self._agents)}
        self._breaks: list[tuple[_Agent, int]] = []
        self._due = [(caller.queued_at, _ARRIVE, n) for n, caller in enumerate(callers)]
        for number, shift in enumerate(shifts):
            if shift.ends <= shift.begins:
                continue
            self._due.append((begins + round(shift.begins * SECOND), _LOG_IN, number))
            self._due.append((begins + round(shift.ends * SECOND), _LOG_OUT, number))
            for at, length in shift.breaks:
                self._due.append((begins + round(at * SECOND), _BREAK, len(self._breaks)))
                self._breaks.append((self._agents[shift.agent_id], round(length * SECOND)))
        heapify(self._due)
        self._now = begins
        self._commands = 0
        self._pool = Pool(POOL)
        self._tell(c.CENTRE, c.ConfigurePool(wrap_up_seconds=NO_WRAP_UP, policy=rules.policy))
        for client_id, queue in rules.queues.values():
            self._tell(client_id, c.ConfigureQueue(queue))

    def run(self) -> Result:
        due = self._due
        while due:
            self._now, what, whom = heappop(due)
            if what == _ARRIVE:
                self._arrive(whom)
            elif what == _GIVE_UP:
                self._give_up(whom)
            elif what == _END:
                self._end(whom)
            elif what == _LOG_IN:
                self._log_in(self._shifts[whom])
            elif what == _LOG_OUT:
                self._log_out(self._agents[self._shifts[whom].agent_id])
            elif what == _BREAK:
                self._break(*self._breaks[whom])
            else:
                self._return(self._in_order[whom])
        work = {agent.agent_id: agent.work for agent in self._in_order}
        return Result(self._outcomes, work, self._commands)

    # Customers.

    def _arrive(self, number: int) -> None:
        caller = self._callers[number]
        client_id, queue = self._queues[caller.queue]
        self._tell(client_id, c.QueueCall(str(number), queue.queue_id, caller.priority))
        if self._outcomes[number].waited is None and caller.patience is not None:
            heappush(self._due, (self._now + caller.patience, _GIVE_UP, number))

    def _give_up(self, number: int) -> None:
        outcome, caller = self._outcomes[number], self._callers[number]
        if outcome.waited is None:
            outcome.waited = caller.patience
            self._tell(self._queues[caller.queue][0], c.ReportCallAbandoned(str(number)))

    def _connect(self, number: int, agent: _Agent) -> None:
        caller, outcome = self._callers[number], self._outcomes[number]
        outcome.waited, outcome.agent = self._now - caller.queued_at, agent.agent_id
        self._count(agent)
        agent.busy = True
        heappush(self._due, (self._now + caller.service + caller.wrap_up, _END, number))
        self._tell(self._queues[caller.queue][0], c.ReportCallConnected(str(number)))

    def _end(self, number: int) -> None:
        caller, agent = self._callers[number], self._agents[self._outcomes[number].agent]
        self._count(agent)
        agent.busy = False
        # Said before the call ends, or routing would give the agent the next one.
        if agent.leaving:
            self._leave(agent)
        elif agent.break_due:
            self._tell(c.CENTRE, c.StartBreak(agent.agent_id))
        self._tell(self._queues[caller.queue][0], c.ReportCallEnded(str(number)))

    # Agents.

    def _log_in(self, shift: Shift) -> None:
        agent = self._agents[shift.agent_id]
        agent.leaving = False
        if not agent.logged_in:
            agent.logged_in, agent.since = True, self._now
            self._tell(c.CENTRE, c.LogInAgent(agent.agent_id, shift.skills, shift.groups))
            self._tell(c.CENTRE, c.MakeAgentAvailable(agent.agent_id))

    def _log_out(self, agent: _Agent) -> None:
        if agent.busy:
            agent.leaving = True
        elif agent.logged_in:
            self._count(agent)
            self._leave(agent)

    def _leave(self, agent: _Agent) -> None:
        agent.logged_in = agent.on_break = agent.leaving = False
        agent.break_due = 0
        self._tell(c.CENTRE, c.LogOutAgent(agent.agent_id))

    def _break(self, agent: _Agent, length: int) -> None:
        if not agent.logged_in:
            return
        agent.break_due += length
        if not (agent.busy or agent.on_break):
            self._tell(c.CENTRE, c.StartBreak(agent.agent_id))

    def _return(self, agent: _Agent) -> None:
        if not agent.on_break or self._now < agent.back_at:
            return
        if agent.break_due:
            self._begin_break(agent)
        else:
            agent.on_break, agent.since = False, self._now
            self._tell(c.CENTRE, c.MakeAgentAvailable(agent.agent_id))

    def _count(self, agent: _Agent) -> None:
        """Count what the agent has done since it was counted last."""
        if agent.logged_in and not agent.on_break:
            passed = self._now - agent.since
            agent.work.staffed += passed
            if agent.busy:
                agent.work.busy += passed
        agent.since = self._now

    # The engine.

    def _tell(self, client_id: str, body: c.Body) -> None:
        self._commands += 1
        now = self._now
        number = str(self._commands)
        command = c.Command(POOL, number, client_id, now, now, ACTOR, "", body)
        for event in apply(self._pool, command):
            if isinstance(event, e.CallEvent):
                self._hear_of_call(int(event.call_id), event.body)
            elif isinstance(event, e.AgentEvent) and isinstance(event.body, e.AgentBreakStarted):
                self._begin_break(self._agents[event.agent_id])

    def _hear_of_call(self, number: int, body: e.CallBody) -> None:
        if isinstance(body, e.CallOffered):
            self._connect(number, self._agents[body.agent_id])
        elif isinstance(body, e.CallQueued):
            self._outcomes[number].estimated = body.estimated_wait

    def _begin_break(self, agent: _Agent) -> None:
        self._count(agent)
        agent.on_break = True
        agent.back_at = self._now + agent.break_due
        agent.break_due = 0
        heappush(self._due, (agent.back_at, _RETURN, self._places[agent.agent_id]))
