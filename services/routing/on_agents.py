"""What agents' desktops report."""

from services.routing import commands as c
from services.routing import events as e
from services.routing.pool import LOST, Agent, AgentState, Call, CallState
from services.routing.turn import Rejected, Turn

_WORKING = (AgentState.RESERVED, AgentState.BUSY, AgentState.OTHER_CALL, AgentState.WRAP_UP)


def log_in(turn: Turn, body: c.LogInAgent) -> None:
    agent = turn.pool.agents.get(body.agent_id)
    if agent is None:
        agent = turn.pool.agents[body.agent_id] = Agent(body.agent_id)
    elif turn.is_stale(agent):
        return
    # A supervisor may have set others since.
    given = bool(body.skills or body.groups) and turn.command.occurred_at >= agent.skilled_at
    skills = body.skills if given else agent.skills
    groups = body.groups if given else agent.groups
    wanted = (skills, groups, body.site, body.chats or 1, body.emails or 1)
    had = (agent.skills, agent.groups, agent.site, agent.chats, agent.emails)
    if agent.state is not AgentState.LOGGED_OUT:
        if wanted == had:
            # A desktop that was started again. The agent is where the agent was.
            turn.remember_report(agent)
            return
        if agent.state in _WORKING:
            raise Rejected("a log-in as another during an offer, a call or a wrap-up", "skills")
    turn.remember_report(agent)
    turn.move(agent, AgentState.LOGGED_IN)
    agent.missed = 0
    agent.skills, agent.groups, agent.site, agent.chats, agent.emails = wanted
    if given:
        agent.skilled_at = turn.command.occurred_at
    turn.emit_agent(agent, turn.time(agent=agent), e.AgentLoggedIn(*wanted))


def set_skills(turn: Turn, body: c.SetAgentSkills) -> None:
    """Not the agent's own report: a supervisor's, so it makes no report of the agent's stale."""
    agent = turn.pool.agents.get(body.agent_id)
    if agent is None:
        raise Rejected(f"the pool knows no agent {body.agent_id}", "agent_id")
    at = turn.command.occurred_at
    if at < agent.skilled_at:
        return
    agent.skilled_at = at
    if (agent.skills, agent.groups) == (body.skills, body.groups):
        return
    agent.skills, agent.groups = body.skills, body.groups
    changed = e.AgentSkillsChanged(body.skills, body.groups)
    turn.emit_agent(agent, turn.time(agent=agent), changed, same=True)
    turn.open(agent)


def connection_lost(turn: Turn, body: c.ReportConnectionLost) -> None:
    agent = turn.agent_reporting(body.agent_id)
    if agent is None or agent.lost_at >= 0:
        return
    turn.remember_report(agent)
    at = turn.time(agent=agent)
    agent.lost_at = at
    until = at + turn.pool.settings.lost_seconds * c.SECOND
    turn.emit_agent(agent, at, e.AgentConnectionLost(until), same=True)
    if agent.offered:
        # Nobody sees it ring.
        turn.withdraw_offer(agent, at, LOST)
        turn.next(agent, at)
    turn.open(agent)


def connection_restored(turn: Turn, body: c.ReportConnectionRestored) -> None:
    agent = turn.agent_reporting(body.agent_id)
    if agent is not None:
        turn.remember_report(agent)


def make_available(turn: Turn, body: c.MakeAgentAvailable) -> None:
    agent = turn.agent_reporting(body.agent_id)
    if agent is None:
        return
    turn.remember_report(agent)
    agent.missed = 0
    if agent.state is AgentState.BUSY:
        agent.after_call, agent.after_call_reason = None, ""
        turn.open(agent)
    elif agent.state not in (AgentState.AVAILABLE, AgentState.RESERVED):
        at = turn.time(agent=agent)
        turn.let_go(agent, at, "")
        turn.make_available(agent, at)


def start_other_call(turn: Turn, body: c.StartOtherCall) -> None:
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


def start_break(turn: Turn, body: c.StartBreak) -> None:
    agent = turn.agent_reporting(body.agent_id)
    if agent is None:
        return
    turn.remember_report(agent)
    if agent.state is AgentState.BUSY:
        turn.wish(agent, AgentState.ON_BREAK, body.reason, "agent on a break")
    elif agent.state is not AgentState.ON_BREAK or agent.reason != body.reason:
        at = turn.time(agent=agent)
        turn.let_go(agent, at, "agent on a break")
        turn.start_break(agent, at, body.reason)


def start_wrap_up(turn: Turn, body: c.StartWrapUp) -> None:
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
    at = turn.time(agent=agent)
    if not agent.wrap_ups:
        turn.start_wrap_up(agent, None, at)
    for stream, wrap_up in agent.wrap_ups.items():
        seconds = turn.wrap_up_seconds(turn.pool.calls.get(stream))
        wrap_up.ends_at = max(wrap_up.ends_at, at + seconds * c.SECOND)
    turn.next(agent, at)


def log_out(turn: Turn, body: c.LogOutAgent) -> None:
    agent = turn.pool.agents.get(body.agent_id)
    if agent is None:
        raise Rejected(f"agent {body.agent_id} is not logged in", "agent_id")
    if turn.is_stale(agent):
        return
    turn.remember_report(agent)
    if agent.state is AgentState.LOGGED_OUT:
        return
    if any(call.state is CallState.CONNECTED for call in turn.pool.in_hand(agent)):
        turn.wish(agent, AgentState.LOGGED_OUT, body.reason, "agent logged out")
        return
    at = turn.time(agent=agent)
    turn.let_go(agent, at, "agent logged out")
    turn.log_out(agent, at, body.reason)


def accept(turn: Turn, body: c.AcceptOffer) -> None:
    agent = turn.pool.agents.get(body.agent_id)
    if agent is not None:
        call = offered(turn, agent, body.offer_id)
        if call is not None:
            turn.remember_report(agent)
            turn.assign(call, agent, turn.time(call, agent))
            return
        if _was_accepted(turn, agent, body.offer_id):
            turn.remember_report(agent)
            return
        if turn.is_stale(agent):
            return
    raise Rejected(f"agent {body.agent_id} has no offer {body.offer_id}", "offer_id")


def decline(turn: Turn, body: c.DeclineOffer) -> None:
    agent = turn.pool.agents.get(body.agent_id)
    if agent is not None:
        call = offered(turn, agent, body.offer_id)
        if call is not None:
            turn.remember_report(agent)
            at = turn.time(call, agent)
            turn.end_offer(agent, at, "declined", body.reason)
            unanswered(turn, call, agent, at, "declined")
            if agent.calls:
                agent.after_call, agent.after_call_reason = AgentState.ON_BREAK, "declined"
                turn.next(agent, at)
            else:
                turn.end_wrap_ups(agent, at)
                turn.start_break(agent, at, "declined")
            return
        if _was_accepted(turn, agent, body.offer_id):
            raise Rejected(f"offer {body.offer_id} was accepted", "offer_id")
        if turn.is_stale(agent):
            return
    raise Rejected(f"agent {body.agent_id} has no offer {body.offer_id}", "offer_id")


def offered(turn: Turn, agent: Agent, offer_id: str) -> Call | None:
    """The call that this open offer is about."""
    call = turn.pool.calls.get(agent.offered)
    return call if call is not None and call.offer_id == offer_id else None


def _was_accepted(turn: Turn, agent: Agent, offer_id: str) -> bool:
    calls = turn.pool.calls
    return any(
        calls[stream].offer_id == offer_id
        for stream in (*agent.calls, *agent.wrap_ups)
        if stream in calls
    )


def unanswered(turn: Turn, call: Call, agent: Agent, at: int, how: str) -> None:
    """An offer has failed: who waited for this agent alone waits no longer so."""
    if call.only_agent == agent.agent_id:
        if call.main:
            call.state, call.agent_id = CallState.WAITING, ""
            turn.end_help(call, at, how)
            return
        turn.wait(call)
        turn.free_from_agent(call, at)
    else:
        turn.wait(call)
