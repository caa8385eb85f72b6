"""What telephone systems report of calls, and what desktops do with them."""

from services.routing import commands as c
from services.routing import events as e
from services.routing.commands import SECOND, Channel, HelpKind
from services.routing.configuration import Overflow
from services.routing.pool import AgentState, Call, CallState
from services.routing.shares import has_skills
from services.routing.turn import Rejected, Turn, urgent

HELP_PRIORITY = c.INT32_MAX
"""Somebody is on the line already: helpers go there first."""
ONLY_SECONDS = 60
"""So long a call that is transferred to an agent waits for that agent alone."""
AWAY = (AgentState.LOGGED_OUT, AgentState.ON_BREAK, AgentState.NOT_RESPONDING)


def arrived(turn: Turn, body: c.ReportCallArrived) -> None:
    stream = f"{turn.command.client_id}/{body.call_id}"
    if stream in turn.pool.calls or stream in turn.pool.finished:
        return
    turn.reject_forgotten()
    turn.begin_call(body)


def queue_call(turn: Turn, body: c.QueueCall) -> None:
    stream = f"{turn.command.client_id}/{body.call_id}"
    call = turn.pool.calls.get(stream)
    asked = (body.queue_id, body.priority, body.required_skills)
    if call is None:
        if stream in turn.pool.finished:
            return
        turn.reject_forgotten()
        # The report of its arrival was lost. Somebody is waiting all the same.
        call = turn.begin_call(c.ReportCallArrived(body.call_id))
    elif call.state is not CallState.ARRIVED:
        if asked != call.asked:
            raise Rejected(f"call {stream} is in queue {call.queue_id} already", "queue_id")
        return
    at = turn.time(call)
    call.asked = asked
    call.auto_accept = body.auto_accept
    call.queued_at = at
    state = turn.enter_queue(call, body.queue_id, at)
    queued = e.CallQueued(
        body.queue_id,
        turn.pool.pool_id,
        call.priority,
        call.required_skills,
        call.arrived_at,
        turn.estimate(call, state),
    )
    turn.emit_call(call, at, queued)
    stick(turn, call, at)
    turn.wait_if_open(call, state, at)


def stick(turn: Turn, call: Call, at: int) -> None:
    """Wait a while for who served this customer last, where the queue asks for that."""
    config = turn.pool.queue(call.queue_key).config
    if not (config.sticky_seconds and config.sticky_days and call.customer_id):
        return
    served = turn.pool.served.get(f"{call.client_id}/{call.customer_id}")
    if served is None or at - served.at > config.sticky_days * 86_400 * SECOND:
        return
    agent = turn.pool.agents.get(served.agent_id)
    if (
        agent is not None
        and agent.state not in AWAY
        and has_skills(dict(agent.skills), call.required_skills)
    ):
        call.only_agent = agent.agent_id
        call.only_until = at + config.sticky_seconds * SECOND


def take_over(turn: Turn, body: c.TakeOverCall) -> None:
    """From another pool; its telephone system may go on reporting there."""
    pool, client_id = turn.pool, turn.command.client_id
    stream = f"{client_id}/{body.call_id}"
    moved = pool.moved.get(stream)
    if stream in pool.calls or (moved is not None and moved.version >= body.version):
        return
    if moved is None:
        if stream in pool.finished:
            return
        turn.reject_forgotten()
    else:
        del pool.moved[stream], pool.finished[stream]
    at = turn.command.occurred_at
    call = Call(
        client_id,
        body.call_id,
        version=body.version,
        at=at,
        arrived_at=body.arrived_at,
        queued_at=body.queued_at,
        channel=body.channel,
        customer_id=body.customer_id,
        answered=body.answered,
        requeued_at=body.requeued_at or (at if body.answered else 0),
        asked=(body.queue_id, body.priority, body.required_skills),
        talked=body.talked,
        held=body.held,
        callback=body.callback,
        attempts=body.attempts,
        moves=body.moves,
        helps_made=body.helps_made,
        done=body.done,
        auto_accept=body.auto_accept,
        wrapping=sum(stream in agent.wrap_ups for agent in pool.agents.values()) if moved else 0,
    )
    pool.calls[stream] = call
    state = turn.enter_queue(call, body.queue_id, at)
    taken = e.CallTakenOver(body.from_pool_id, pool.pool_id, body.queue_id)
    turn.emit_call(call, at, taken)
    turn.wait_if_open(call, state, at)


def abandoned(turn: Turn, body: c.ReportCallAbandoned) -> None:
    call = turn.call(body.call_id)
    if call is None or call.callback:
        return  # Who will be called back has hung up, and still waits.
    if call.state in (CallState.CONNECTED, CallState.WRAP_UP):
        raise Rejected(f"call {call.stream_id} is connected: report its end", "call_id")
    leave(turn, call)


def ended(turn: Turn, body: c.ReportCallEnded) -> None:
    call = turn.call(body.call_id)
    if call is None or call.state is CallState.WRAP_UP:
        return
    if call.state is not CallState.CONNECTED:
        leave(turn, call)
        return
    agent = turn.pool.agents[call.agent_id]
    at = turn.time(call, agent)
    turn.end_helps(call, at, "the call has ended")
    if call.held_at:
        call.held += at - call.held_at
        call.held_at, call.interrupted = 0, False
    agent.calls.remove(call.stream_id)
    call.state = CallState.WRAP_UP
    call.ended_at = at
    talked = call.talked + at - call.connected_at
    completed = e.CallEnded(
        e.EndCause.COMPLETED, agent.agent_id, call.queue_id, call.arrived_at, talked, call.held
    )
    turn.emit_call(call, at, completed)
    # Who has asked to go is gone: nobody is there to do the work after the call.
    if agent.after_call is not AgentState.LOGGED_OUT or agent.calls:
        turn.start_wrap_up(agent, call, at)
    turn.finish_if_over(call)
    turn.next(agent, at)


def leave(turn: Turn, call: Call) -> None:
    """The customer has gone before anybody answered, or before anybody answered again."""
    pool = turn.pool
    agent = pool.agents.get(call.agent_id)
    at = turn.time(call, agent)
    if call.state is CallState.ARRIVED:
        left = e.CallEnded(e.EndCause.LEFT_BEFORE_QUEUE, "", "", call.arrived_at, 0)
        turn.emit_call(call, at, left)
        pool.finish(call, turn.now)
        return
    if call.state is CallState.WAITING:
        turn.unqueue(call)
    elif call.state is CallState.OFFERED and agent is not None:
        turn.end_offer(agent, at, "withdrawn", "abandoned")
    elif agent is not None:
        agent.calls.remove(call.stream_id)
    if call.answered:
        turn.end_unanswered(call, at, e.EndCause.LEFT_DURING_TRANSFER)
    elif call.callback:
        turn.overflow(call, Overflow.CLOSE, at, "the callback was cancelled")
    else:
        pool.queue(call.queue_key).level.count(False)
        gone = e.CallAbandoned(call.queue_id, call.arrived_at, at - call.queued_at)
        turn.emit_call(call, at, gone)
        pool.finish(call, turn.now)
    if agent is not None:
        turn.next(agent, at)


def connected(turn: Turn, body: c.ReportCallConnected) -> None:
    call = turn.undone(body.call_id)
    if call is None or call.state is CallState.WRAP_UP:
        return
    if not call.agent_id:
        raise Rejected(f"call {call.stream_id} is assigned to nobody", "agent_id")
    if body.agent_id not in ("", call.agent_id):
        raise Rejected(f"call {call.stream_id} is agent {call.agent_id}'s", "agent_id")
    turn.once(call)
    if call.state is CallState.CONNECTED:
        return
    agent = turn.pool.agents[call.agent_id]
    at = turn.time(call, agent)
    if call.state is CallState.OFFERED:
        # The telephone system was faster than the desktop: who talks has accepted.
        turn.assign(call, agent, at)
    turn.connect(call, agent, at)


def held(turn: Turn, body: c.ReportCallHeld) -> None:
    call = turn.undone(body.call_id)
    if call is None or call.state is CallState.WRAP_UP:
        return
    if call.state is not CallState.CONNECTED:
        raise Rejected(f"call {call.stream_id} is not connected", "call_id")
    turn.once(call)
    if call.held_at:
        return
    call.held_at = turn.time(call)
    turn.emit_call(call, call.held_at, e.CallHeld(call.agent_id, ""))


def resumed(turn: Turn, body: c.ReportCallResumed) -> None:
    call = turn.undone(body.call_id)
    if call is None:
        return
    turn.once(call)
    if not call.held_at:
        return
    if not urgent(call) and turn.has_urgent(turn.pool.agents[call.agent_id]):
        # As soon as the agent can.
        call.interrupted = True
    else:
        turn.resume(call, turn.time(call))


def accept_callback(turn: Turn, body: c.AcceptCallback) -> None:
    call = turn.call(body.call_id)
    if call is None or call.callback:
        return
    if call.state is not CallState.WAITING or call.answered:
        raise Rejected(f"call {call.stream_id} does not wait", "call_id")
    turn.lift(call)
    call.callback, call.channel = True, Channel.CALLBACK
    turn.emit_call(call, turn.time(call), e.CallCallbackAccepted(call.queue_id))
    turn.wait(call)


def callback_failed(turn: Turn, body: c.ReportCallbackFailed) -> None:
    call = turn.undone(body.call_id)
    if call is None:
        return
    if call.state is not CallState.ASSIGNED or not call.callback:
        raise Rejected(f"call {call.stream_id} is no callback that an agent has", "call_id")
    turn.once(call)
    agent = turn.pool.agents[call.agent_id]
    at = turn.time(call, agent)
    config = turn.pool.queue(call.queue_key).config
    call.attempts += 1
    last = call.attempts >= config.callback_attempts
    again_at = 0 if last else at + config.callback_retry_seconds * SECOND
    failed = e.CallCallbackFailed(
        call.queue_id, agent.agent_id, body.reason, call.attempts, again_at
    )
    turn.emit_call(call, at, failed)
    agent.calls.remove(call.stream_id)
    if last:
        turn.overflow(call, Overflow.CLOSE, at, "the customer could not be reached")
    else:
        call.not_before = again_at
        turn.wait(call)
    turn.next(agent, at)


def requeue(turn: Turn, body: c.RequeueCall) -> None:
    """The agent's line has gone; who sits there must say that it is back."""
    call = turn.undone(body.call_id)
    if call is None:
        return
    if call.state not in (CallState.ASSIGNED, CallState.CONNECTED):
        raise Rejected(f"no agent has call {call.stream_id}", "call_id")
    turn.once(call)
    agent = turn.pool.agents[call.agent_id]
    at = turn.time(call, agent)
    give_back(turn, call, body.reason or "the agent's line has gone", at)
    if agent.after_call is None:
        turn.wish(agent, AgentState.ON_BREAK, "line lost", "the agent's line has gone")
    turn.next(agent, at)


def give_back(turn: Turn, call: Call, reason: str, at: int) -> None:
    """From its agent to its old place in the queue. The agent's next state is the caller's."""
    agent, at = turn.pool.agents[call.agent_id], max(at, call.at)
    if call.state is CallState.CONNECTED:
        turn.take_from_agent(call, agent, at)
        call.requeued_at = at
    else:
        agent.calls.remove(call.stream_id)
    turn.emit_call(call, at, e.CallRequeued(call.queue_id, agent.agent_id, reason))
    turn.wait(call)


def transfer(turn: Turn, body: c.TransferCall) -> None:
    call = turn.talking(body.call_id, body.agent_id)
    if call is None:
        return
    pool = turn.pool
    if body.to_agent_id:
        other = pool.agents.get(body.to_agent_id)
        if other is None or other.state is AgentState.LOGGED_OUT:
            raise Rejected(f"agent {body.to_agent_id} is not logged in", "to_agent_id")
        if body.to_agent_id == body.agent_id:
            raise Rejected("has the call already", "to_agent_id")
    turn.once(call)
    agent = pool.agents[body.agent_id]
    at = turn.time(call, agent)
    talked = turn.take_from_agent(call, agent, at)
    turn.start_wrap_up(agent, call, at)
    before = call.queue_id
    call.queued_at = call.requeued_at = at
    if body.queue_id:
        # What the first queue's caller was asked for says nothing about another queue.
        call.asked = (body.queue_id, 0, ())
    state = turn.enter_queue(call, body.queue_id or before, at)
    # Who has helped with this call and wanted to go has just gone.
    if body.to_agent_id and pool.agents[body.to_agent_id].state is not AgentState.LOGGED_OUT:
        call.only_agent = body.to_agent_id
        call.only_until = at + ONLY_SECONDS * SECOND
    given = e.CallTransferred(
        agent.agent_id,
        before,
        call.queue_id,
        body.to_agent_id,
        False,
        call.required_skills,
        call.priority,
        talked,
    )
    turn.emit_call(call, at, given)
    if body.to_agent_id:
        turn.wait(call)
    else:
        turn.wait_if_open(call, state, at)
    turn.next(agent, at)


def request_help(turn: Turn, body: c.RequestHelp) -> None:
    call = turn.talking(body.call_id, body.agent_id)
    if call is None:
        return
    pool = turn.pool
    groups = body.groups
    if body.to_agent_id:
        other = pool.agents.get(body.to_agent_id)
        if other is None or other.state is AgentState.LOGGED_OUT:
            raise Rejected(f"agent {body.to_agent_id} is not logged in", "to_agent_id")
        if body.to_agent_id == body.agent_id:
            raise Rejected("has the call already", "to_agent_id")
    elif not groups and not body.required_skills:
        if body.kind is not HelpKind.HELP:
            raise Rejected("name an agent, groups or skills", "to_agent_id")
        groups = pool.settings.help_groups
    turn.once(call)
    at = turn.time(call)
    call.helps_made += 1
    help = Call(
        call.client_id,
        f"{call.call_id}~{call.helps_made}",
        at=at,
        arrived_at=at,
        queued_at=at,
        entered_at=at,
        channel=Channel.VOICE,
        queue_id=call.queue_id,
        priority=HELP_PRIORITY,
        required_skills=body.required_skills,
        groups=groups,
        only_agent=body.to_agent_id,
        main=call.stream_id,
        kind=body.kind,
    )
    pool.calls[help.stream_id] = help
    call.helps.append(help.stream_id)
    turn.open(pool.agents[body.agent_id])
    requested = e.CallHelpRequested(
        help.call_id, body.kind, body.agent_id, body.to_agent_id, groups, body.required_skills
    )
    turn.emit_call(help, at, requested)
    turn.wait(help)


def complete_transfer(turn: Turn, body: c.CompleteTransfer) -> None:
    call = turn.talking(body.call_id, body.agent_id)
    if call is None:
        return
    pool = turn.pool
    helps = [pool.calls[stream] for stream in call.helps]
    help = next((each for each in helps if each.state is CallState.CONNECTED), None)
    if help is None:
        raise Rejected("nobody has come to take the call", "call_id")
    agent, other = pool.agents[body.agent_id], pool.agents[help.agent_id]
    if not urgent(call) and len(other.calls) > other.emails:
        raise Rejected(f"agent {other.agent_id} has too many e-mails already", "call_id")
    turn.once(call)
    at = max(turn.time(call, agent), other.at)
    # The request is fulfilled, not ended: who came stays, and has the call itself from now on.
    call.helps.remove(help.stream_id)
    pool.finish(help, turn.now)
    other.calls[other.calls.index(help.stream_id)] = call.stream_id
    talked = turn.take_from_agent(call, agent, at)
    call.agent_id = other.agent_id
    call.connected_at = at
    given = e.CallTransferred(
        agent.agent_id,
        call.queue_id,
        call.queue_id,
        other.agent_id,
        True,
        call.required_skills,
        call.priority,
        talked,
    )
    turn.emit_call(call, at, given)
    if call.customer_id:
        pool.remember_served(call, at)
    turn.start_wrap_up(agent, call, at)
    turn.next(agent, at)
    turn.resume_interrupted(other, at)
    turn.open(other)


def leave_call(turn: Turn, body: c.LeaveCall) -> None:
    call = turn.undone(body.call_id)
    if call is None:
        return
    pool = turn.pool
    helps = [pool.calls[stream] for stream in call.helps]
    if body.agent_id == call.agent_id:
        leaving = [each for each in helps if each.state is not CallState.CONNECTED]
        if not leaving:
            raise Rejected("no request for help is open: complete the transfer", "agent_id")
        reason = "taken back"
    else:
        leaving = [
            each
            for each in helps
            if each.agent_id == body.agent_id and each.state is CallState.CONNECTED
        ]
        if not leaving:
            raise Rejected(f"agent {body.agent_id} is not on call {call.stream_id}", "agent_id")
        reason = "left"
    turn.once(call)
    for help in leaving:
        turn.end_help(help, turn.time(call, pool.agents.get(help.agent_id)), reason)
