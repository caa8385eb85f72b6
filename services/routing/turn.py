"""One command's way through the pool: what the handlers ask, what they do, and the matching.

A command does three things in this order: the checks, which may reject it; the changes, which
cannot fail; then, for the calls that began to wait and the agents who became able to take
something, the matching.
"""

from services.routing import commands as c
from services.routing import events as e
from services.routing.commands import SECOND, Channel
from services.routing.configuration import FINAL, Overflow, Skills, Step
from services.routing.matching import Choice, sorted_skills
from services.routing.pool import Agent, AgentState, Call, CallState, Moved, Pool, WrapUp
from services.routing.queues import QueueState

REPORTS_KEPT = 16
"""How many different reports an agent can make with one and the same time."""
DONE_KEPT = 16
"""How many of a call's commands are remembered that would do something again."""
MOVES = 10
"""How often overflow may take a call to another queue or pool: rules can point at each other."""

TALKING = (CallState.ASSIGNED, CallState.CONNECTED)


class Rejected(Exception):
    """The command contradicts what the pool knows; nothing has changed."""

    def __init__(self, reason: str, field: str = "") -> None:
        super().__init__(f"{field}: {reason}" if field else reason)
        self.reason = reason
        self.field = field


class Turn:
    """now: the pool's time as of this command. events: what has happened so far."""

    __slots__ = (
        "_accepted",
        "_lifted",
        "_open",
        "_waiting",
        "command",
        "events",
        "now",
        "pool",
        "settle",
    )

    def __init__(self, pool: Pool, command: c.Command) -> None:
        self.pool = pool
        self.command = command
        self.now = max(pool.now, command.occurred_at)
        self.events: list[e.Event | e.Sent] = []
        self.settle = False
        """Something has changed for many: look at every line."""
        self._waiting: list[Call] = []
        self._lifted: set[tuple[str, str]] = set()
        self._open: dict[str, Agent] = {}
        self._accepted: list[Call] = []

    # What the handlers ask.

    def call(self, call_id: str) -> Call | None:
        """The call of a report. None: it has left the pool. Raises Rejected: it was never here."""
        stream = f"{self.command.client_id}/{call_id}"
        call = self.pool.calls.get(stream)
        if call is None:
            moved = self.pool.moved.get(stream)
            if moved is not None:
                self.forward(moved)
            elif stream not in self.pool.finished:
                self.reject_forgotten()
                raise Rejected(f"the pool knows no call {stream}", "call_id")
        return call

    def forward(self, moved: Moved) -> None:
        """Who reports about a call need not know that it has gone to another pool."""
        command = self.command
        assert isinstance(command.body, c.CallCommand)
        sent = e.Sent(moved.pool_id, command.client_id, command.occurred_at, command.body)
        self.events.append(sent)

    def reject_forgotten(self) -> None:
        """A report as old as calls that were forgotten may be a repeat about one of them."""
        if self.command.occurred_at <= self.pool.forgotten_until:
            raise Rejected("older than what the pool remembers of finished calls", "occurred_at")

    def talking(self, call_id: str, agent_id: str) -> Call | None:
        """The call that this agent has, connected. None: it has left, or this was done before."""
        call = self.undone(call_id)
        if call is None:
            return None
        if call.state is not CallState.CONNECTED:
            raise Rejected(f"call {call.stream_id} is not connected", "call_id")
        if call.agent_id != agent_id:
            raise Rejected(f"call {call.stream_id} is agent {call.agent_id}'s", "agent_id")
        return call

    def undone(self, call_id: str) -> Call | None:
        """As `call`. None too: this very command has been here before."""
        call = self.call(call_id)
        return None if call is None or self.command.command_id in call.done else call

    def once(self, call: Call) -> None:
        """Remember that this command has done to this call what it does, if only nothing."""
        call.done = (*call.done[1 - DONE_KEPT :], self.command.command_id)

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
        """Who reports is there again, whatever the report says, unless it is an old one."""
        command, stale = self.command, self.is_stale(agent)
        if command.occurred_at > agent.reported_at:
            agent.reported_at, agent.reports = command.occurred_at, (command.command_id,)
        elif command.occurred_at == agent.reported_at and len(agent.reports) < REPORTS_KEPT:
            agent.reports += (command.command_id,)
        if stale or isinstance(command.body, c.ReportConnectionLost):
            return
        if agent.lost_at >= 0:
            if agent.is_given_up:
                agent.after_call, agent.after_call_reason = None, ""
            agent.lost_at = -1
            at = self.time(agent=agent)
            self.emit_agent(agent, at, e.AgentConnectionRestored(), same=True)
            self.open(agent)

    def time(self, call: Call | None = None, agent: Agent | None = None) -> int:
        """When the reported thing happened to these: streams never go back in time."""
        return max(
            self.command.occurred_at,
            call.at if call else 0,
            agent.at if agent else 0,
        )

    # What the handlers do: events.

    def emit_call(self, call: Call, at: int, body: e.CallBody) -> None:
        """A request for help has no stream of its own: its events stand in its call's."""
        call.at = max(at, call.at)
        if call.main:
            call = self.pool.calls[call.main]
        call.version += 1
        call.at = max(at, call.at)
        self.events.append(e.CallEvent(call.client_id, call.call_id, call.version, call.at, body))

    def emit_agent(
        self,
        agent: Agent,
        at: int,
        body: e.AgentBody,
        client_id: str = c.CENTRE,
        same: bool = False,
    ) -> None:
        """same: the agent's state goes on, and with it the time since when it is counted."""
        agent.version += 1
        agent.at = at = max(at, agent.at)
        if not same:
            agent.since = at
        self.events.append(e.AgentEvent(agent.agent_id, client_id, agent.version, at, body))

    def emit_pool(self, client_id: str, body: e.PoolBody) -> None:
        pool = self.pool
        pool.version += 1
        pool.at = max(pool.at, self.command.occurred_at)
        self.events.append(e.PoolEvent(pool.pool_id, client_id, pool.version, pool.at, body))

    # Agents.

    def open(self, agent: Agent) -> None:
        """What the agent can take may have changed: looked at when the changes are done."""
        self.pool.matching.drop_agent(agent.agent_id)
        self._open[agent.agent_id] = agent

    def move(self, agent: Agent, state: AgentState) -> None:
        """Into a state without a call."""
        agent.state = state
        agent.reason = ""
        agent.after_call, agent.after_call_reason = None, ""
        self.open(agent)

    def make_available(self, agent: Agent, at: int) -> None:
        self.move(agent, AgentState.AVAILABLE)
        self.emit_agent(agent, at, e.AgentBecameAvailable())

    def wish(self, agent: Agent, state: AgentState, reason: str, why: str) -> None:
        """For when the calls in hand are over. No more are offered until then."""
        agent.after_call, agent.after_call_reason = state, reason
        self.withdraw_offer(agent, self.time(agent=agent), why)
        self.open(agent)

    def start_break(self, agent: Agent, at: int, reason: str) -> None:
        self.move(agent, AgentState.ON_BREAK)
        agent.reason = reason
        self.emit_agent(agent, at, e.AgentBreakStarted(reason))

    def log_out(self, agent: Agent, at: int, reason: str) -> None:
        """Calls that wait for this agent alone wait for anybody."""
        self.move(agent, AgentState.LOGGED_OUT)
        agent.lost_at = -1
        self.emit_agent(agent, at, e.AgentLoggedOut(reason))
        for call in self.pool.calls.values():
            if call.only_agent == agent.agent_id and call.state is CallState.WAITING:
                if call not in self._waiting:
                    self.lift(call)
                    self.wait(call)
                self.free_from_agent(call, at)

    def stop_responding(self, agent: Agent, at: int, offer_id: str, call: Call) -> None:
        self.move(agent, AgentState.NOT_RESPONDING)
        stopped = e.AgentStoppedResponding(offer_id, call.main or call.stream_id)
        self.emit_agent(agent, at, stopped, call.client_id)

    def next(self, agent: Agent, at: int) -> None:
        """Something is over: on with what is in hand, the work after it, what was asked, a call."""
        if agent.calls or agent.offered:
            if agent.calls:
                agent.state = AgentState.BUSY
                self.resume_interrupted(agent, at)
            elif agent.state is not AgentState.RESERVED:
                call = self.pool.calls[agent.offered]
                agent.state = AgentState.RESERVED
                reserved = e.AgentReserved(call.offer_id, call.main or call.stream_id)
                self.emit_agent(agent, at, reserved, call.client_id)
            self.open(agent)
        elif agent.wrap_ups and agent.after_call is not AgentState.LOGGED_OUT:
            agent.state = AgentState.WRAP_UP
            self.open(agent)
            stream, wrap_up = min(agent.wrap_ups.items(), key=lambda each: (each[1].ends_at, each))
            client = stream.partition("/")[0] or c.CENTRE
            self.emit_agent(agent, at, e.AgentWrapUpStarted(stream, wrap_up.ends_at), client)
        else:
            self.end_wrap_ups(agent, at)
            asked, why = agent.after_call, agent.after_call_reason
            if asked is AgentState.ON_BREAK:
                self.start_break(agent, at, why)
            elif asked is AgentState.LOGGED_OUT:
                self.log_out(agent, at, why)
            else:
                self.make_available(agent, at)

    def let_go(self, agent: Agent, at: int, reason: str) -> None:
        """Take from the agent what an agent who does something else cannot keep.

        An offer, or an accepted call that is not yet connected, goes back to its old place; a
        wrap-up ends. An agent who is talking must not be passed to this.
        """
        self.withdraw_offer(agent, at, reason)
        for stream in list(agent.calls):
            call = self.pool.calls[stream]
            agent.calls.remove(stream)
            self.emit_call(call, at, e.CallOfferWithdrawn(call.offer_id, agent.agent_id, reason))
            self.wait(call)
        self.end_wrap_ups(agent, at)

    def withdraw_offer(self, agent: Agent, at: int, reason: str) -> None:
        """The call goes back to its old place."""
        if agent.offered:
            call = self.end_offer(agent, at, "withdrawn", reason)
            self.wait(call)

    def end_offer(self, agent: Agent, at: int, how: str, reason: str = "") -> Call:
        """how: expired, declined or withdrawn. What becomes of call and agent is the caller's."""
        call = self.pool.calls[agent.offered]
        agent.offered = ""
        offer_id, agent_id = call.offer_id, agent.agent_id
        body: e.CallBody
        if call.main:
            why = f"{how}: {reason}" if reason else how
            body = e.CallHelpOfferEnded(call.call_id, offer_id, agent_id, why)
        elif how == "expired":
            body = e.CallOfferExpired(offer_id, agent_id)
        elif how == "declined":
            body = e.CallOfferDeclined(offer_id, agent_id, reason)
        else:
            body = e.CallOfferWithdrawn(offer_id, agent_id, reason)
        self.emit_call(call, at, body)
        return call

    def start_wrap_up(self, agent: Agent, call: Call | None, at: int) -> None:
        """Where this queue has any; the caller goes on with `next`."""
        seconds = self.wrap_up_seconds(call)
        if seconds < 0:
            return
        stream = call.stream_id if call else ""
        if call is not None and stream not in agent.wrap_ups:
            call.wrapping += 1
        agent.wrap_ups[stream] = WrapUp(at, at + seconds * SECOND)

    def wrap_up_seconds(self, call: Call | None) -> int:
        """None: of a call that is not here. Below zero: none."""
        seconds = self.pool.settings.wrap_up_seconds
        if call is not None:
            seconds = self.pool.queue(call.queue_key).config.wrap_up_seconds or seconds
        return seconds

    def end_wrap_ups(self, agent: Agent, at: int) -> None:
        for stream in list(agent.wrap_ups):
            self.end_wrap_up(agent, stream, at)

    def end_wrap_up(self, agent: Agent, stream: str, at: int) -> None:
        wrap_up = agent.wrap_ups.pop(stream)
        if not stream:
            return
        call = self.pool.calls.get(stream)
        if call is None:
            return  # It was given away and has gone to another pool, where its stream goes on.
        call.wrapping -= 1
        took = max(0, at - wrap_up.started_at)
        wrapped_up = e.CallWrappedUp(agent.agent_id, call.queue_id, call.arrived_at, took)
        self.emit_call(call, at, wrapped_up)
        self.finish_if_over(call)

    def finish_if_over(self, call: Call) -> None:
        if call.state is CallState.WRAP_UP and not call.wrapping:
            self.pool.finish(call, self.now)

    # Calls.

    def begin_call(self, body: c.ReportCallArrived) -> Call:
        at = self.command.occurred_at
        call = Call(
            self.command.client_id,
            body.call_id,
            arrived_at=at,
            channel=body.channel,
            customer_id=body.customer_id,
        )
        self.pool.calls[call.stream_id] = call
        arrived = e.CallArrived(body.channel, body.direction, body.line, body.customer_id)
        self.emit_call(call, at, arrived)
        return call

    def enter_queue(self, call: Call, queue_id: str, at: int) -> QueueState:
        """What the queue asks for, and the call itself. Its place is the caller's affair."""
        call.queue_id = queue_id
        state = self.pool.queue(call.queue_key)
        config = state.config
        own = call.asked or ("", 0, ())
        call.required_skills = strictest(own[2], config.required_skills)
        call.priority = own[1] + config.priority
        if call.customer_id and call.customer_id in self.pool.vips.get(call.client_id, ()):
            call.priority += self.pool.clients[call.client_id].vip_priority
        call.priority = max(c.INT32_MIN, min(call.priority, c.INT32_MAX))
        call.groups, call.any_group = config.groups, False
        call.entered_at, call.step, call.relaxed = at, 0, ()
        call.only_agent, call.only_until = "", 0
        return state

    def estimate(self, call: Call, state: QueueState) -> int | None:
        """How long a call that joins its queue now will wait. None: nothing is known yet."""
        if self.pool.matching.has_agent(call.need()):
            return 0
        return state.pace.estimate(state.before(call.priority))

    def wait(self, call: Call) -> None:
        """Wait (again). The place in the queue follows from queued_at, so an old one is kept."""
        call.state = CallState.WAITING
        call.agent_id = call.offer_id = ""
        call.why = None
        self._waiting.append(call)

    def free_from_agent(self, call: Call, at: int) -> None:
        """No longer wait for one agent alone."""
        what = f"no longer only agent {call.only_agent}"
        call.only_agent, call.only_until = "", 0
        call.relaxed += (what,)
        if not call.main:
            relaxed = e.CallRelaxed(
                call.queue_id, call.step, what, call.required_skills, call.groups
            )
            self.emit_call(call, at, relaxed)

    def lift(self, call: Call) -> int:
        """To look at a waiting call anew; returns how many others wait in its queue."""
        self._lifted.add((call.stream_id, call.queue_key))
        return self.pool.unindex_call(call)

    def unqueue(self, call: Call) -> None:
        """A waiting call goes, and not to an agent."""
        left = self.pool.unindex_call(call)
        if not call.main:
            self.pool.queue(call.queue_key).pace.empties(left)

    def take_step(self, call: Call, step: Step, at: int, reason: str) -> None:
        """An overflow step of a call that is in no index. It waits on, moves, or is over."""
        number = call.step
        match step.action:
            case Overflow.RELAX_SKILL:
                levels = dict(call.required_skills)
                had = levels.pop(step.skill, 0)
                if step.level:
                    levels[step.skill] = min(step.level, had) if had else 0
                call.required_skills = sorted_skills(
                    (skill, level) for skill, level in levels.items() if level
                )
                what = f"{step.skill} from level {had} to {step.level}" if had else ""
                self._relaxed(call, at, what or f"{step.skill} was not required")
            case Overflow.WIDEN_GROUPS:
                if step.groups and call.groups:
                    call.groups = tuple(sorted({*call.groups, *step.groups}))
                elif step.groups:
                    call.groups = ()
                else:
                    call.any_group = True
                named = ", ".join(step.groups) or "everybody"
                self._relaxed(call, at, f"served by {named} too")
            case Overflow.MOVE_TO_QUEUE | Overflow.MOVE_TO_POOL if call.moves >= MOVES:
                self.wait(call)
            case Overflow.MOVE_TO_POOL if step.pool_id != self.pool.pool_id:
                self._move_to_pool(call, step, at)
            case Overflow.MOVE_TO_QUEUE | Overflow.MOVE_TO_POOL:
                self._move_to_queue(call, step.queue_id, number, at)
            case Overflow.OFFER_CALLBACK:
                estimate = self.estimate(call, self.pool.queue(call.queue_key))
                self.emit_call(call, at, e.CallCallbackOffered(call.queue_id, estimate))
                self.wait(call)
            case _:
                self.overflow(call, step.action, at, reason)

    def _relaxed(self, call: Call, at: int, what: str) -> None:
        call.relaxed += (what,)
        body = e.CallRelaxed(call.queue_id, call.step, what, call.required_skills, call.groups)
        self.emit_call(call, at, body)
        self.wait(call)

    def _move_to_queue(self, call: Call, queue_id: str, step: int, at: int) -> None:
        call.moves += 1
        before = call.queue_id
        state = self.enter_queue(call, queue_id, at)
        moved = e.CallMoved(before, queue_id, step, call.required_skills, call.priority)
        self.emit_call(call, at, moved)
        self.wait_if_open(call, state, at)

    def wait_if_open(self, call: Call, state: QueueState, at: int) -> None:
        """Wait in the queue, or what the queue does outside of its hours."""
        hours = state.config.hours
        if hours is None or hours.open_at(at):
            self.wait(call)
        else:
            self.take_step(call, state.config.when_closed, at, "closed")

    def _move_to_pool(self, call: Call, step: Step, at: int) -> None:
        call.moves += 1
        before = call.queue_id
        moved = e.CallMovedToPool(before, step.pool_id, step.queue_id)
        self.emit_call(call, at, moved)
        own = call.asked or ("", 0, ())
        take_over = c.TakeOverCall(
            call.call_id,
            step.queue_id,
            self.pool.pool_id,
            call.version,
            call.arrived_at,
            call.queued_at,
            own[1],
            own[2],
            call.channel,
            call.customer_id,
            call.answered,
            call.requeued_at,
            call.talked,
            call.held,
            call.callback,
            call.attempts,
            call.moves,
            call.helps_made,
            call.done,
            call.auto_accept,
        )
        # Decided now, however old the report is: the other pool may have forgotten what was then.
        self.events.append(e.Sent(step.pool_id, call.client_id, max(self.now, call.at), take_over))
        self.pool.finish(call, self.now)
        self.pool.moved[call.stream_id] = Moved(step.pool_id, call.version)

    def overflow(self, call: Call, action: Overflow, at: int, reason: str) -> None:
        """Nobody will answer: over, for a call that is in no index and with no agent."""
        if call.answered:
            cause = e.EndCause.OVERFLOWED_DURING_TRANSFER
            self.end_unanswered(call, at, cause)
            return
        if reason != "closed":
            self.pool.queue(call.queue_key).level.count(False)
        waited = at - call.queued_at
        body = e.CallOverflowed(action, call.queue_id, call.arrived_at, waited, reason)
        self.emit_call(call, at, body)
        self.pool.finish(call, self.now)

    def end_unanswered(self, call: Call, at: int, cause: e.EndCause) -> None:
        """Over while it waited again: it counts as answered, by whom it was answered first."""
        ended = e.CallEnded(
            cause, call.agent_id, call.queue_id, call.arrived_at, call.talked, call.held
        )
        self.emit_call(call, at, ended)
        call.state = CallState.WRAP_UP
        call.ended_at = at
        self.finish_if_over(call)

    def connect(self, call: Call, agent: Agent, at: int) -> None:
        call.state = CallState.CONNECTED
        call.connected_at = at
        call.auto_accept = False
        since = call.requeued_at if call.answered else call.queued_at
        waited = at - since
        connected = e.CallConnected(agent.agent_id, call.queue_id, call.arrived_at, waited)
        self.emit_call(call, at, connected)
        if not call.answered:
            call.answered = True
            state = self.pool.queue(call.queue_key)
            state.level.count(waited <= state.config.target_seconds * SECOND)
        if call.customer_id:
            self.pool.remember_served(call, at)
        if self.has_urgent(agent):
            self.interrupt(agent, at)

    def has_urgent(self, agent: Agent) -> bool:
        """Whether the agent has in hand what e-mails wait for."""
        return any(urgent(call) for call in self.pool.in_hand(agent))

    def resume(self, call: Call, at: int) -> None:
        """From hold."""
        held = at - call.held_at
        call.held += held
        call.held_at, call.interrupted = 0, False
        self.emit_call(call, at, e.CallResumed(call.agent_id, held))

    def interrupt(self, agent: Agent, at: int) -> None:
        """E-mails wait while their agent has something more urgent."""
        for call in self.pool.in_hand(agent):
            if not urgent(call) and call.state is CallState.CONNECTED and not call.held_at:
                call.held_at, call.interrupted = max(at, call.at), True
                self.emit_call(call, at, e.CallHeld(agent.agent_id, "interrupted"))

    def resume_interrupted(self, agent: Agent, at: int) -> None:
        if self.has_urgent(agent):
            return
        for call in self.pool.in_hand(agent):
            if call.interrupted:
                self.resume(call, max(at, call.at))

    def take_from_agent(self, call: Call, agent: Agent, at: int) -> int:
        """A connected call leaves its agent; returns how long this agent has talked."""
        if call.held_at:
            self.resume(call, at)
        self.end_helps(call, at, "the call has left its agent")
        talked = at - call.connected_at
        call.talked += talked
        agent.calls.remove(call.stream_id)
        return talked

    def end_helps(self, call: Call, at: int, reason: str) -> None:
        for stream in list(call.helps):
            self.end_help(self.pool.calls[stream], at, reason)

    def end_help(self, help: Call, at: int, reason: str, *, stays: bool = False) -> None:
        """A request for help is over, whether somebody had come or not.

        stays: what the helper does next is the caller's.
        """
        main = self.pool.calls[help.main]
        agent = self.pool.agents.get(help.agent_id)
        if help.state is CallState.WAITING:
            if help in self._waiting:
                self._waiting.remove(help)
            else:
                self.unqueue(help)
        elif help.state is CallState.OFFERED and agent is not None:
            self.end_offer(agent, at, "withdrawn", reason)
        elif agent is not None:
            agent.calls.remove(help.stream_id)
        joined = help.agent_id if help.state is CallState.CONNECTED else ""
        self.emit_call(help, at, e.CallHelpEnded(help.call_id, joined, reason))
        main.helps.remove(help.stream_id)
        self.pool.finish(help, self.now)
        if agent is not None and not stays:
            self.next(agent, self.time(agent=agent))
        self.open(self.pool.agents[main.agent_id])

    def assign(self, call: Call, agent: Agent, at: int) -> None:
        """The agent has accepted."""
        agent.offered = ""
        agent.calls.append(call.stream_id)
        agent.missed = 0
        agent.state = AgentState.BUSY
        if call.main:
            call.state = CallState.CONNECTED
            call.connected_at = at
            waited = at - call.queued_at
            joined = e.CallHelpJoined(call.call_id, call.kind, agent.agent_id, waited)
            self.emit_call(call, at, joined)
        else:
            call.state = CallState.ASSIGNED
            assigned = e.CallAssigned(
                call.offer_id, agent.agent_id, call.queue_id, call.why, agent.site, call.channel
            )
            self.emit_call(call, at, assigned)
        busy = e.AgentBecameBusy(call.main or call.stream_id)
        self.emit_agent(agent, at, busy, call.client_id)
        call.why = None
        if urgent(call):
            self.interrupt(agent, at)
        self.open(agent)

    # Matching. Before a command no waiting call had an agent who may take it, so only what this
    # command has set free, or has changed for many, can have become possible. A call that begins to
    # wait goes to who was idle before; who has just become free then chooses among those who wait.

    def match(self) -> None:
        self._match()
        while accepted := self._accepted:
            # As if each had accepted by the next command: there may be room for more, or for less.
            self._accepted, self._waiting, self._open, self.settle = [], [], {}, False
            for call in accepted:
                self.assign(call, self.pool.agents[call.agent_id], self.now)
            self._match()

    def _match(self) -> None:
        pool, waiting = self.pool, self._waiting
        for agent in self._open.values():
            pool.count_agent(agent)
        # With a floor, what one agent does can allow or forbid something to any other.
        everybody = self.settle or pool.shares.guarded or len(waiting) > 1
        for call in waiting:
            choice = None
            if not everybody and not call.not_before:
                choice = pool.matching.agent_for(call.need(), call.queued_at, self.now)
            if choice is None:
                pool.index_call(call)
            else:
                left = 0 if call.main else pool.queue(call.queue_key).waiting
                self.offer(call, pool.agents[choice.id], choice, left, for_agent=False)
        if everybody:
            self.match_all()
        for agent_id, agent in self._open.items():
            pool.index_agent(agent)
            if pool.open_channels(agent):
                choice = pool.matching.call_for(agent_id, self.now)
                if choice is not None:
                    self.offer_waiting(choice.id, agent, choice, for_agent=True)
        if everybody and self._open:
            self.match_all()
        for call in waiting:
            if call.state is CallState.WAITING and not (call.main or call.not_before):
                pool.queue(call.queue_key).pace.waits(self.now)

    def match_all(self) -> None:
        """As long as a waiting call may go to somebody: the first by the policy, to the best."""
        while (found := self.pool.matching.next_match(self.now)) is not None:
            stream, choice = found
            self.offer_waiting(stream, self.pool.agents[choice.id], choice, for_agent=False)

    def offer_waiting(self, stream: str, agent: Agent, choice: Choice, *, for_agent: bool) -> None:
        call = self.pool.calls[stream]
        self.offer(call, agent, choice, self.pool.unindex_call(call), for_agent=for_agent)

    def offer(
        self, call: Call, agent: Agent, choice: Choice, left: int, *, for_agent: bool
    ) -> None:
        """Of a call that is in no index. left: how many others wait in its queue."""
        pool, now = self.pool, self.now
        if not call.main:
            pace = pool.queue(call.queue_key).pace
            if call in self._waiting and (call.stream_id, call.queue_key) not in self._lifted:
                pace.at_once = True
                pace.empties(left)
            else:
                pace.leaves(now, left)
        pool.offers += 1
        call.state = CallState.OFFERED
        call.agent_id = agent.agent_id
        # A long pool id is cut, so that this is an id by the same rule as the others.
        call.offer_id = f"{pool.pool_id[:100]}:{pool.offers}"
        call.offer_expires_at = now + pool.settings.offer_seconds * SECOND
        why = call.why = e.Why(
            choice.rule,
            pool.settings.policy,
            for_agent,
            choice.looked_at,
            tuple(e.Candidate(*each) for each in choice.best),
            call.relaxed,
            now - call.queued_at,
            now - agent.since,
        )
        agent.offered = call.stream_id
        offered: e.CallBody
        if call.main:
            offered = e.CallHelpOffered(
                call.call_id,
                call.offer_id,
                agent.agent_id,
                call.offer_expires_at,
                why,
                agent.site,
            )
        else:
            offered = e.CallOffered(
                call.offer_id,
                agent.agent_id,
                call.queue_id,
                call.offer_expires_at,
                choice.rule,
                why,
                agent.site,
                call.channel,
            )
        self.emit_call(call, now, offered)
        if not agent.calls:
            agent.state = AgentState.RESERVED
            reserved = e.AgentReserved(call.offer_id, call.main or call.stream_id)
            self.emit_agent(agent, now, reserved, call.client_id)
        pool.index_agent(agent)
        if call.auto_accept:
            self._accepted.append(call)


def urgent(call: Call) -> bool:
    """E-mails wait. Who is asked for help with one does not."""
    return call.channel is not Channel.EMAIL or bool(call.main)


def strictest(one: Skills, other: Skills) -> Skills:
    """All skills of both, each at the higher level."""
    if not other:
        return one
    levels = dict(one)
    for skill, level in other:
        levels[skill] = max(level, levels.get(skill, 0))
    return sorted_skills(levels.items())


def next_step(call: Call, state: QueueState) -> tuple[int, Step | None]:
    """When waiting brings something for a call that waits, and which overflow step that is.

    (0, None): nothing. A step of None: the end of waiting for one agent, or of a pause between two
    attempts of a callback. A callback is never ended by its queue, and not offered again.
    """
    if call.not_before:
        return call.not_before, None
    found: list[tuple[int, int, Step | None]] = []
    if call.only_agent and call.only_until:
        found.append((call.only_until, 0, None))
    config = state.config
    if not call.main:
        if call.step < len(config.steps):
            step = config.steps[call.step]
            found.append((call.entered_at + step.after_seconds * SECOND, 1, step))
        if config.max_wait_seconds and not call.callback:
            full = Step(config.max_wait_seconds, config.when_full)
            found.append((call.entered_at + config.max_wait_seconds * SECOND, 2, full))
    if not found:
        return 0, None
    due, _, next_one = min(found, key=lambda each: each[:2])
    return due, next_one


def skipped(call: Call, step: Step) -> bool:
    """Steps that mean nothing to a customer who will be called back."""
    return call.callback and step.action in (*FINAL, Overflow.OFFER_CALLBACK)
