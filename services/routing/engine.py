"""Who answers which call: `apply` takes one command and gives the events that follow from it.

No clock, no random number, no I/O: time and ids come from the command, so the same commands in the
same order give the same events, on any machine and at any time.

Two kinds of time. What somebody reports happened when they say, at the earliest with what went
before in the same stream: a report that comes late still counts its waits right. What the engine
decides happens at the pool's time, which is the latest time that any command has told.

A command does three things in this order: the checks, which may reject it; the changes, which
cannot fail; then, where a call began to wait or an agent became available, the matching.
docs/subsystems/routing.md has the table of what each command does in each state.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from services.routing import commands as c
from services.routing import events as e
from services.routing.pool import Agent, AgentState, Call, CallState, Pool

REPORTS_KEPT = 16
"""How many different reports an agent can make with one and the same time."""

_WORKING = (AgentState.RESERVED, AgentState.BUSY, AgentState.OTHER_CALL, AgentState.WRAP_UP)


class Rejected(Exception):
    """The command contradicts what the pool knows; nothing has changed."""

    def __init__(self, reason: str, field: str = "") -> None:
        super().__init__(f"{field}: {reason}" if field else reason)
        self.reason = reason
        self.field = field


@dataclass(frozen=True, slots=True)
class Timer:
    """A command that becomes true by itself at `due`, a time of the pool.

    call: the stream of the call that it is about; empty after a call that Relais did not offer.
    """

    due: int
    call: str
    client_id: str
    body: c.TimerCommand


def apply(pool: Pool, command: c.Command) -> list[e.Event]:
    """Change the pool by a command that `commands.check` has let pass; returns what happened.

    In place, since a copy of 5,000 agents would cost a thousand times the decision. A repeated
    command, a timer that was overtaken and an agent's stale report give no events. Raises Rejected
    before the first change.
    """
    turn = _Turn(pool, command)
    _HANDLERS[type(command.body)](turn, command.body)
    pool.now = turn.now
    turn.match()
    return turn.events


def timer_of(pool: Pool, agent_id: str) -> Timer | None:
    """What time alone will do to an agent: end the offer or the wrap-up."""
    agent = pool.agents.get(agent_id)
    if agent is None:
        return None
    call = pool.calls.get(agent.call)
    client_id = call.client_id if call else c.CENTRE
    if agent.state is AgentState.RESERVED and call is not None:
        expire = c.ExpireOffer(agent.offer_id, agent_id)
        return Timer(call.offer_expires_at, agent.call, client_id, expire)
    if agent.state is AgentState.WRAP_UP:
        finish = c.FinishWrapUp(agent_id, agent.call)
        return Timer(agent.wrap_up_ends_at, agent.call, client_id, finish)
    return None


class _Turn:
    """One command's way through the pool."""

    __slots__ = ("_available", "_waiting", "command", "events", "now", "pool")

    def __init__(self, pool: Pool, command: c.Command) -> None:
        self.pool = pool
        self.command = command
        self.now = max(pool.now, command.occurred_at)
        self.events: list[e.Event] = []
        self._waiting: list[Call] = []
        self._available: list[Agent] = []

    # What the handlers ask.

    def call(self, call_id: str) -> Call | None:
        """The call of a report. None: it has left the pool. Raises Rejected: it was never here."""
        stream = f"{self.command.client_id}/{call_id}"
        call = self.pool.calls.get(stream)
        if call is None and stream not in self.pool.finished:
            self.reject_forgotten()
            raise Rejected(f"the pool knows no call {stream}", "call_id")
        return call

    def reject_forgotten(self) -> None:
        """A report as old as calls that were forgotten may be a repeat about one of them."""
        if self.command.occurred_at <= self.pool.forgotten_until:
            raise Rejected("older than what the pool remembers of finished calls", "occurred_at")

    def agent_reporting(self, agent_id: str) -> Agent | None:
        """The agent of a desktop's report, who is logged in. None: the report is stale."""
        agent = self.pool.agents.get(agent_id)
        if agent is not None and self.is_stale(agent):
            return None
        if agent is None or agent.state is AgentState.LOGGED_OUT:
            raise Rejected(f"agent {agent_id} is not logged in", "agent_id")
        return agent

    def is_stale(self, agent: Agent) -> bool:
        """Whether the agent has reported something newer, or this very report."""
        if self.command.occurred_at != agent.reported_at:
            return self.command.occurred_at < agent.reported_at
        return self.command.command_id in agent.reports or len(agent.reports) >= REPORTS_KEPT

    def remember_report(self, agent: Agent) -> None:
        command = self.command
        if command.occurred_at > agent.reported_at:
            agent.reported_at, agent.reports = command.occurred_at, (command.command_id,)
        elif command.occurred_at == agent.reported_at and len(agent.reports) < REPORTS_KEPT:
            agent.reports += (command.command_id,)

    def time(self, call: Call | None = None, agent: Agent | None = None) -> int:
        """When the reported thing happened to these: streams never go back in time."""
        return max(
            self.command.occurred_at,
            call.at if call else 0,
            agent.at if agent else 0,
        )

    # What the handlers do.

    def emit_call(self, call: Call, at: int, body: e.CallBody) -> None:
        call.version += 1
        call.at = at
        self.events.append(e.CallEvent(call.client_id, call.call_id, call.version, at, body))

    def emit_agent(
        self, agent: Agent, at: int, body: e.AgentBody, client_id: str = c.CENTRE
    ) -> None:
        agent.version += 1
        agent.at = at
        self.events.append(e.AgentEvent(agent.agent_id, client_id, agent.version, at, body))

    def back_to_queue(self, call: Call) -> None:
        """Wait (again). The place in the queue follows from queued_at, so an old one is kept."""
        call.state = CallState.WAITING
        call.agent_id = call.offer_id = ""
        self._waiting.append(call)

    def move(self, agent: Agent, state: AgentState) -> None:
        """Into a state without a call. What was available no longer is."""
        if agent.state is AgentState.AVAILABLE:
            self.pool.matching.remove_agent(agent.agent_id)
        agent.state = state
        agent.call = agent.offer_id = agent.reason = ""
        agent.after_call, agent.after_call_reason = None, ""
        if state is AgentState.AVAILABLE:
            self._available.append(agent)

    def make_available(self, agent: Agent, at: int) -> None:
        self.move(agent, AgentState.AVAILABLE)
        self.emit_agent(agent, at, e.AgentBecameAvailable())

    def start_break(self, agent: Agent, at: int, reason: str) -> None:
        self.move(agent, AgentState.ON_BREAK)
        agent.reason = reason
        self.emit_agent(agent, at, e.AgentBreakStarted(reason))

    def log_out(self, agent: Agent, at: int, reason: str) -> None:
        self.move(agent, AgentState.LOGGED_OUT)
        self.emit_agent(agent, at, e.AgentLoggedOut(reason))

    def after_call(self, agent: Agent, at: int) -> None:
        """What the agent has asked for while talking; otherwise the next call."""
        wish, reason = agent.after_call, agent.after_call_reason
        if wish is AgentState.ON_BREAK:
            self.start_break(agent, at, reason)
        elif wish is AgentState.LOGGED_OUT:
            self.log_out(agent, at, reason)
        else:
            self.make_available(agent, at)

    def let_go(self, agent: Agent, at: int, reason: str) -> None:
        """Take from the agent what an agent who does something else cannot keep.

        An offer, or an accepted call that is not yet connected, goes back to its old place; a
        wrap-up ends. An agent who is talking must not be passed to this.
        """
        call = self.pool.calls.get(agent.call)
        if call is None:
            return
        if agent.state is AgentState.WRAP_UP:
            self.end_wrap_up(call, at)
        else:
            withdrawn = e.CallOfferWithdrawn(call.offer_id, agent.agent_id, reason)
            self.emit_call(call, at, withdrawn)
            self.back_to_queue(call)

    def end_wrap_up(self, call: Call, at: int) -> None:
        wrapped_up = e.CallWrappedUp(
            call.agent_id, call.queue_id, call.arrived_at, at - call.ended_at
        )
        self.emit_call(call, at, wrapped_up)
        self.pool.finish(call, self.now)

    def assign(self, call: Call, agent: Agent, at: int) -> None:
        call.state = CallState.ASSIGNED
        agent.state = AgentState.BUSY
        self.emit_call(call, at, e.CallAssigned(call.offer_id, agent.agent_id, call.queue_id))
        self.emit_agent(agent, at, e.AgentBecameBusy(call.stream_id), call.client_id)

    # Matching. Before a command no waiting call had an available agent who could take it, so only
    # what this command has set free can have become possible.

    def match(self) -> None:
        matching = self.pool.matching
        if len(self._waiting) > 1:
            self._waiting.sort(key=lambda call: (-call.priority, call.queued_at, call.stream_id))
        for call in self._waiting:
            agent_id = matching.agent_for(call.required_skills)
            if agent_id is None:
                matching.add_call(
                    call.stream_id, call.required_skills, call.priority, call.queued_at
                )
            else:
                matching.remove_agent(agent_id)
                self.offer(call, self.pool.agents[agent_id])
        for agent in self._available:
            stream = matching.call_for(agent.skills)
            if stream is None:
                matching.add_agent(agent.agent_id, agent.skills, agent.at)
            else:
                matching.remove_call(stream)
                self.offer(self.pool.calls[stream], agent)

    def offer(self, call: Call, agent: Agent) -> None:
        pool, now = self.pool, self.now
        pool.offers += 1
        call.state = CallState.OFFERED
        call.agent_id = agent.agent_id
        # A long pool id is cut, so that this is an id by the same rule as the others.
        call.offer_id = agent.offer_id = f"{pool.pool_id[:100]}:{pool.offers}"
        call.offer_expires_at = now + pool.settings.offer_seconds * c.SECOND
        rule = (
            f"priority {call.priority}, waited {(now - call.queued_at) // 1000} ms; "
            f"longest idle, {(now - agent.at) // 1000} ms"
        )
        offered = e.CallOffered(
            call.offer_id, agent.agent_id, call.queue_id, call.offer_expires_at, rule
        )
        agent.state = AgentState.RESERVED
        agent.call = call.stream_id
        self.emit_call(call, now, offered)
        self.emit_agent(agent, now, e.AgentReserved(call.offer_id, agent.call), call.client_id)


# The telephone system's reports.


def _call_arrived(turn: _Turn, body: c.ReportCallArrived) -> None:
    stream = f"{turn.command.client_id}/{body.call_id}"
    if stream in turn.pool.calls or stream in turn.pool.finished:
        return
    turn.reject_forgotten()
    _begin_call(turn, body)


def _begin_call(turn: _Turn, body: c.ReportCallArrived) -> Call:
    at = turn.command.occurred_at
    call = Call(turn.command.client_id, body.call_id, arrived_at=at)
    turn.pool.calls[call.stream_id] = call
    arrived = e.CallArrived(body.channel, body.direction, body.line, body.customer_id)
    turn.emit_call(call, at, arrived)
    return call


def _queue_call(turn: _Turn, body: c.QueueCall) -> None:
    stream = f"{turn.command.client_id}/{body.call_id}"
    call = turn.pool.calls.get(stream)
    if call is None:
        if stream in turn.pool.finished:
            return
        turn.reject_forgotten()
        # The report of its arrival was lost. Somebody is waiting all the same.
        call = _begin_call(turn, c.ReportCallArrived(body.call_id))
    elif call.state is not CallState.ARRIVED:
        asked = (body.queue_id, body.priority, body.required_skills)
        if asked != (call.queue_id, call.priority, call.required_skills):
            raise Rejected(f"call {stream} is in queue {call.queue_id} already", "queue_id")
        return
    at = turn.time(call)
    call.queue_id, call.priority = body.queue_id, body.priority
    call.required_skills = body.required_skills
    call.queued_at = at
    queued = e.CallQueued(
        body.queue_id, turn.pool.pool_id, body.priority, body.required_skills, call.arrived_at
    )
    turn.emit_call(call, at, queued)
    turn.back_to_queue(call)


def _call_abandoned(turn: _Turn, body: c.ReportCallAbandoned) -> None:
    call = turn.call(body.call_id)
    if call is None:
        return
    if call.state in (CallState.CONNECTED, CallState.WRAP_UP):
        raise Rejected(f"call {call.stream_id} is connected: report its end", "call_id")
    _leave(turn, call)


def _call_ended(turn: _Turn, body: c.ReportCallEnded) -> None:
    call = turn.call(body.call_id)
    if call is None or call.state is CallState.WRAP_UP:
        return
    if call.state is not CallState.CONNECTED:
        _leave(turn, call)
        return
    agent = turn.pool.agents[call.agent_id]
    at = turn.time(call, agent)
    call.state = CallState.WRAP_UP
    call.ended_at = at
    ended = e.CallEnded(
        e.EndCause.COMPLETED,
        agent.agent_id,
        call.queue_id,
        call.arrived_at,
        at - call.connected_at,
    )
    turn.emit_call(call, at, ended)
    if agent.after_call is AgentState.LOGGED_OUT:
        # Who has asked to go is gone: nobody is there to do the work after the call.
        turn.pool.finish(call, turn.now)
        turn.after_call(agent, at)
    else:
        _start_wrap_up(turn, agent, at, call.client_id)


def _leave(turn: _Turn, call: Call) -> None:
    """The customer has hung up before anybody answered."""
    agent = turn.pool.agents.get(call.agent_id)
    at = turn.time(call, agent)
    if call.state is CallState.ARRIVED:
        left = e.CallEnded(e.EndCause.LEFT_BEFORE_QUEUE, "", "", call.arrived_at, 0)
        turn.emit_call(call, at, left)
    else:
        if call.state is CallState.WAITING:
            turn.pool.matching.remove_call(call.stream_id)
        elif call.state is CallState.OFFERED:
            withdrawn = e.CallOfferWithdrawn(call.offer_id, call.agent_id, "abandoned")
            turn.emit_call(call, at, withdrawn)
        abandoned = e.CallAbandoned(call.queue_id, call.arrived_at, at - call.queued_at)
        turn.emit_call(call, at, abandoned)
        if agent is not None:
            turn.after_call(agent, at)
    turn.pool.finish(call, turn.now)


def _call_connected(turn: _Turn, body: c.ReportCallConnected) -> None:
    call = turn.call(body.call_id)
    if call is None:
        return
    if not call.agent_id:
        raise Rejected(f"call {call.stream_id} is assigned to nobody", "agent_id")
    if body.agent_id not in ("", call.agent_id):
        raise Rejected(f"call {call.stream_id} is agent {call.agent_id}'s", "agent_id")
    if call.state in (CallState.CONNECTED, CallState.WRAP_UP):
        return
    agent = turn.pool.agents[call.agent_id]
    at = turn.time(call, agent)
    if call.state is CallState.OFFERED:
        # The telephone system was faster than the desktop: who talks has accepted.
        turn.assign(call, agent, at)
    call.state = CallState.CONNECTED
    call.connected_at = at
    connected = e.CallConnected(agent.agent_id, call.queue_id, call.arrived_at, at - call.queued_at)
    turn.emit_call(call, at, connected)


# The desktops' reports.


def _log_in(turn: _Turn, body: c.LogInAgent) -> None:
    agent = turn.pool.agents.get(body.agent_id)
    if agent is None:
        agent = turn.pool.agents[body.agent_id] = Agent(body.agent_id)
    elif turn.is_stale(agent):
        return
    elif agent.state is not AgentState.LOGGED_OUT:
        if body.skills == agent.skills:
            # A desktop that was started again. The agent is where the agent was.
            turn.remember_report(agent)
            return
        if agent.state in _WORKING:
            raise Rejected("skills cannot change during an offer, a call or a wrap-up", "skills")
    turn.remember_report(agent)
    turn.move(agent, AgentState.LOGGED_IN)
    agent.skills = body.skills
    turn.emit_agent(agent, turn.time(agent=agent), e.AgentLoggedIn(body.skills))


def _make_available(turn: _Turn, body: c.MakeAgentAvailable) -> None:
    agent = turn.agent_reporting(body.agent_id)
    if agent is None:
        return
    turn.remember_report(agent)
    if agent.state is AgentState.BUSY:
        agent.after_call, agent.after_call_reason = None, ""
    elif agent.state not in (AgentState.AVAILABLE, AgentState.RESERVED):
        at = turn.time(agent=agent)
        turn.let_go(agent, at, "")
        turn.make_available(agent, at)


def _start_other_call(turn: _Turn, body: c.StartOtherCall) -> None:
    agent = turn.agent_reporting(body.agent_id)
    if agent is None:
        return
    turn.remember_report(agent)
    # Desktops say so of any call, our own too.
    if agent.state not in (AgentState.BUSY, AgentState.OTHER_CALL):
        at = turn.time(agent=agent)
        turn.let_go(agent, at, "agent on another call")
        turn.move(agent, AgentState.OTHER_CALL)
        turn.emit_agent(agent, at, e.AgentBecameBusy(""))


def _start_break(turn: _Turn, body: c.StartBreak) -> None:
    agent = turn.agent_reporting(body.agent_id)
    if agent is None:
        return
    turn.remember_report(agent)
    if agent.state is AgentState.BUSY:
        agent.after_call, agent.after_call_reason = AgentState.ON_BREAK, body.reason
    elif agent.state is not AgentState.ON_BREAK or agent.reason != body.reason:
        at = turn.time(agent=agent)
        turn.let_go(agent, at, "agent on a break")
        turn.start_break(agent, at, body.reason)


def _start_wrap_up_report(turn: _Turn, body: c.StartWrapUp) -> None:
    agent = turn.agent_reporting(body.agent_id)
    if agent is None:
        return
    if agent.state is AgentState.BUSY:
        # The desktop was faster than the telephone system: the call's end will start it.
        turn.remember_report(agent)
        return
    if agent.state not in (AgentState.WRAP_UP, AgentState.OTHER_CALL, AgentState.AVAILABLE):
        raise Rejected("there is no call to wrap up", "agent_id")
    turn.remember_report(agent)
    call = turn.pool.calls.get(agent.call)
    if agent.state is not AgentState.WRAP_UP:
        turn.move(agent, AgentState.WRAP_UP)
    _start_wrap_up(turn, agent, turn.time(agent=agent), call.client_id if call else c.CENTRE)


def _start_wrap_up(turn: _Turn, agent: Agent, at: int, client_id: str) -> None:
    agent.state = AgentState.WRAP_UP
    agent.wrap_up_ends_at = at + turn.pool.settings.wrap_up_seconds * c.SECOND
    started = e.AgentWrapUpStarted(agent.call, agent.wrap_up_ends_at)
    turn.emit_agent(agent, at, started, client_id)


def _log_out(turn: _Turn, body: c.LogOutAgent) -> None:
    agent = turn.pool.agents.get(body.agent_id)
    if agent is None:
        raise Rejected(f"agent {body.agent_id} is not logged in", "agent_id")
    if turn.is_stale(agent):
        return
    turn.remember_report(agent)
    if agent.state is AgentState.LOGGED_OUT:
        return
    call = turn.pool.calls.get(agent.call)
    if call is not None and call.state is CallState.CONNECTED:
        agent.after_call, agent.after_call_reason = AgentState.LOGGED_OUT, body.reason
        return
    at = turn.time(agent=agent)
    turn.let_go(agent, at, "agent logged out")
    turn.log_out(agent, at, body.reason)


def _accept(turn: _Turn, body: c.AcceptOffer) -> None:
    agent = turn.pool.agents.get(body.agent_id)
    if agent is not None and agent.offer_id == body.offer_id:
        turn.remember_report(agent)
        if agent.state is AgentState.RESERVED:
            call = turn.pool.calls[agent.call]
            turn.assign(call, agent, turn.time(call, agent))
        return
    if agent is not None and turn.is_stale(agent):
        return
    raise Rejected(f"agent {body.agent_id} has no offer {body.offer_id}", "offer_id")


def _decline(turn: _Turn, body: c.DeclineOffer) -> None:
    agent = turn.pool.agents.get(body.agent_id)
    if agent is not None and agent.offer_id == body.offer_id:
        if agent.state is not AgentState.RESERVED:
            raise Rejected(f"offer {body.offer_id} was accepted", "offer_id")
        turn.remember_report(agent)
        call = turn.pool.calls[agent.call]
        at = turn.time(call, agent)
        declined = e.CallOfferDeclined(call.offer_id, agent.agent_id, body.reason)
        turn.emit_call(call, at, declined)
        turn.back_to_queue(call)
        turn.start_break(agent, at, "declined")
        return
    if agent is not None and turn.is_stale(agent):
        return
    raise Rejected(f"agent {body.agent_id} has no offer {body.offer_id}", "offer_id")


# Timers. One that was overtaken says nothing new; that is what timers are like.


def _expire_offer(turn: _Turn, body: c.ExpireOffer) -> None:
    agent = turn.pool.agents.get(body.agent_id)
    if agent is None or agent.state is not AgentState.RESERVED or agent.offer_id != body.offer_id:
        return
    call = turn.pool.calls[agent.call]
    if turn.command.occurred_at < call.offer_expires_at:
        raise Rejected("the offer has not yet expired", "occurred_at")
    at = turn.time(call, agent)
    turn.emit_call(call, at, e.CallOfferExpired(call.offer_id, agent.agent_id))
    turn.back_to_queue(call)
    turn.move(agent, AgentState.NOT_RESPONDING)
    stopped = e.AgentStoppedResponding(body.offer_id, call.stream_id)
    turn.emit_agent(agent, at, stopped, call.client_id)


def _finish_wrap_up(turn: _Turn, body: c.FinishWrapUp) -> None:
    agent = turn.pool.agents.get(body.agent_id)
    if (
        agent is None
        or agent.state is not AgentState.WRAP_UP
        or agent.call != body.call
        or turn.command.occurred_at < agent.wrap_up_ends_at
    ):
        return
    at = turn.time(agent=agent)
    turn.let_go(agent, at, "")
    turn.after_call(agent, at)


def _configure(turn: _Turn, body: c.ConfigurePool) -> None:
    settings, at = turn.pool.settings, turn.command.occurred_at
    # Settings have a time of their own: a simulated pool lives in another year than its operator.
    turn.now = turn.pool.now
    if at >= settings.configured_at:
        settings.offer_seconds = body.offer_seconds or 20
        settings.wrap_up_seconds = body.wrap_up_seconds or 30
        settings.clock_speed = body.clock_speed or 1.0
        settings.configured_at = at


_HANDLERS: dict[type[c.Body], Callable[[_Turn, Any], None]] = {
    c.ReportCallArrived: _call_arrived,
    c.QueueCall: _queue_call,
    c.ReportCallAbandoned: _call_abandoned,
    c.ReportCallConnected: _call_connected,
    c.ReportCallEnded: _call_ended,
    c.LogInAgent: _log_in,
    c.MakeAgentAvailable: _make_available,
    c.StartOtherCall: _start_other_call,
    c.StartBreak: _start_break,
    c.StartWrapUp: _start_wrap_up_report,
    c.LogOutAgent: _log_out,
    c.AcceptOffer: _accept,
    c.DeclineOffer: _decline,
    c.ExpireOffer: _expire_offer,
    c.FinishWrapUp: _finish_wrap_up,
    c.ConfigurePool: _configure,
}
