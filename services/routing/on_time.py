"""Timers: what becomes true by itself. One that was overtaken says nothing new."""

from services.routing import commands as c
from services.routing.commands import SECOND, Channel
from services.routing.on_agents import offered, unanswered
from services.routing.on_calls import give_back
from services.routing.pool import LOST, AgentState, CallState
from services.routing.turn import Rejected, Turn, next_step, skipped


def expire_offer(turn: Turn, body: c.ExpireOffer) -> None:
    agent = turn.pool.agents.get(body.agent_id)
    call = offered(turn, agent, body.offer_id) if agent is not None else None
    if agent is None or call is None:
        return
    if turn.command.occurred_at < call.offer_expires_at:
        raise Rejected("the offer has not yet expired", "occurred_at")
    at = turn.time(call, agent)
    turn.end_offer(agent, at, "expired")
    agent.missed += 1
    gone = agent.missed >= turn.pool.settings.missed_offers
    unanswered(turn, call, agent, at, "expired")
    if not gone:
        # Behind all others who are available.
        if agent.calls:
            turn.next(agent, at)
        else:
            turn.end_wrap_ups(agent, at)
            turn.make_available(agent, at)
    elif agent.calls:
        agent.after_call, agent.after_call_reason = AgentState.ON_BREAK, "not responding"
        turn.next(agent, at)
    else:
        turn.end_wrap_ups(agent, at)
        turn.stop_responding(agent, at, body.offer_id, call)


def finish_wrap_up(turn: Turn, body: c.FinishWrapUp) -> None:
    agent = turn.pool.agents.get(body.agent_id)
    wrap_up = agent.wrap_ups.get(body.call) if agent is not None else None
    if agent is None or wrap_up is None or turn.command.occurred_at < wrap_up.ends_at:
        return
    at = turn.time(agent=agent)
    if body.call:
        turn.end_wrap_up(agent, body.call, at)
    else:
        del agent.wrap_ups[""]
    turn.next(agent, at)


def advance_call(turn: Turn, body: c.AdvanceCall) -> None:
    call = turn.pool.calls.get(body.call)
    if call is None or call.state is not CallState.WAITING:
        return
    state = turn.pool.queue(call.queue_key)
    due, step = next_step(call, state)
    if not due or turn.command.occurred_at < due:
        return
    # A step that is configured while calls wait may have been due long ago.
    at = max(turn.now, call.at)
    left = turn.lift(call)
    if step is not None:
        if call.step < len(state.config.steps) and step is state.config.steps[call.step]:
            call.step += 1
        if skipped(call, step):
            turn.wait(call)
        else:
            turn.take_step(call, step, at, "waited too long")
        here = turn.pool.calls.get(body.call) is call and call.state is CallState.WAITING
        if not here or call.queue_key != state.key:
            state.pace.empties(left)
    elif call.not_before:
        call.not_before = 0
        turn.wait(call)
    elif call.main:
        call.only_agent, call.only_until = "", 0
        turn.wait(call)
    else:
        turn.wait(call)
        turn.free_from_agent(call, at)


def log_out_lost(turn: Turn, body: c.LogOutLostAgent) -> None:
    """Gracefully: what lives on the desktop goes to others, who talks on the telephone goes on."""
    agent = turn.pool.agents.get(body.agent_id)
    if agent is None or agent.lost_at < 0 or agent.is_given_up:
        return
    if turn.command.occurred_at < agent.lost_at + turn.pool.settings.lost_seconds * SECOND:
        return
    at = turn.time(agent=agent)
    talks = False
    for call in list(turn.pool.in_hand(agent)):
        if call.main:
            turn.end_help(call, at, LOST, stays=True)
        elif call.state is CallState.CONNECTED and call.channel not in (
            Channel.CHAT,
            Channel.EMAIL,
        ):
            talks = True
        else:
            give_back(turn, call, LOST, at)
    if talks:
        agent.after_call, agent.after_call_reason = AgentState.LOGGED_OUT, LOST
        turn.open(agent)
    else:
        turn.end_wrap_ups(agent, at)
        turn.log_out(agent, at, LOST)
