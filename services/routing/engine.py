"""Who answers which call: `apply` takes one command and gives the events that follow from it.

No clock, no random number, no I/O: time and ids come from the command, so the same commands in the
same order give the same events, on any machine and at any time.

Two kinds of time. What somebody reports happened when they say, at the earliest with what went
before in the same stream: a report that comes late still counts its waits right. What the engine
decides happens at the pool's time, which is the latest time that any command has told.

turn.py is what all handlers share, on_*.py the handlers by who tells. docs/subsystems/routing.md
has the tables of what each command does in each state.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from services.routing import commands as c
from services.routing import events as e
from services.routing import on_agents, on_calls, on_settings, on_time
from services.routing.pool import Agent, CallState, Pool
from services.routing.turn import Rejected, Turn, next_step

__all__ = ["Rejected", "Timer", "all_subjects", "apply", "subjects", "timer_of"]

_HANDLERS: dict[type[c.Body], Callable[[Turn, Any], None]] = {
    c.ReportCallArrived: on_calls.arrived,
    c.QueueCall: on_calls.queue_call,
    c.ReportCallAbandoned: on_calls.abandoned,
    c.ReportCallConnected: on_calls.connected,
    c.ReportCallEnded: on_calls.ended,
    c.ReportCallHeld: on_calls.held,
    c.ReportCallResumed: on_calls.resumed,
    c.AcceptCallback: on_calls.accept_callback,
    c.ReportCallbackFailed: on_calls.callback_failed,
    c.RequeueCall: on_calls.requeue,
    c.TransferCall: on_calls.transfer,
    c.RequestHelp: on_calls.request_help,
    c.CompleteTransfer: on_calls.complete_transfer,
    c.LeaveCall: on_calls.leave_call,
    c.TakeOverCall: on_calls.take_over,
    c.LogInAgent: on_agents.log_in,
    c.SetAgentSkills: on_agents.set_skills,
    c.ReportConnectionLost: on_agents.connection_lost,
    c.ReportConnectionRestored: on_agents.connection_restored,
    c.MakeAgentAvailable: on_agents.make_available,
    c.StartOtherCall: on_agents.start_other_call,
    c.StartBreak: on_agents.start_break,
    c.StartWrapUp: on_agents.start_wrap_up,
    c.LogOutAgent: on_agents.log_out,
    c.AcceptOffer: on_agents.accept,
    c.DeclineOffer: on_agents.decline,
    c.ExpireOffer: on_time.expire_offer,
    c.FinishWrapUp: on_time.finish_wrap_up,
    c.AdvanceCall: on_time.advance_call,
    c.LogOutLostAgent: on_time.log_out_lost,
    c.ConfigurePool: on_settings.configure_pool,
    c.ConfigureQueue: on_settings.configure_queue,
    c.RemoveQueue: on_settings.remove_queue,
    c.ConfigureClient: on_settings.configure_client,
}


def apply(pool: Pool, command: c.Command) -> list[e.Event | e.Sent]:
    """Change the pool by a command that `commands.check` has let pass; returns what happened.

    In place, since a copy of 5,000 agents would cost a thousand times the decision. A repeated
    command, a timer that was overtaken and an agent's stale report give no events. Raises Rejected
    before the first change.
    """
    turn = Turn(pool, command)
    _HANDLERS[type(command.body)](turn, command.body)
    pool.now = turn.now
    turn.match()
    return turn.events


# Timers.


@dataclass(frozen=True, slots=True)
class Timer:
    """A command that becomes true by itself at `due`, a time of the pool.

    about: the subject, which has one timer at most: `agent/<agent_id>`, or a call's stream.
    stage: how far a call has come, which tells apart what is due to it at one and the same time.
    """

    due: int
    about: str
    client_id: str
    body: c.TimerCommand
    stage: tuple[int, ...] = ()


_WRAPPED_UP = (e.CallEnded, e.CallTransferred, e.CallWrappedUp)
"""What a wrap-up begins or ends with."""


def subjects(events: Iterable[e.Event | e.Sent], body: c.Body) -> Iterator[str]:
    """Whose timers may have been changed by a command's body, and by what has followed from it."""
    # A timer can lead to the next one, or to none, without an event.
    if isinstance(body, c.AdvanceCall):
        yield body.call
    elif isinstance(body, c.FinishWrapUp | c.LogOutLostAgent):
        yield f"agent/{body.agent_id}"
    for event in events:
        if isinstance(event, e.CallEvent):
            yield event.stream_id
            if isinstance(event.body, _WRAPPED_UP):
                # Who has other calls in hand has no event of their own.
                yield f"agent/{event.body.agent_id}"
            help_id = getattr(event.body, "help_id", "")
            if help_id:
                yield f"{event.client_id}/{help_id}"
        elif isinstance(event, e.AgentEvent):
            yield event.stream_id


def all_subjects(pool: Pool) -> Iterator[str]:
    """For a pool that was restored or configured."""
    yield from pool.calls
    for agent_id in pool.agents:
        yield f"agent/{agent_id}"


def timer_of(pool: Pool, subject: str) -> Timer | None:
    """What time alone will do to an agent or a call, next."""
    kind, _, name = subject.partition("/")
    if kind == "agent":
        agent = pool.agents.get(name)
        return None if agent is None else _agent_timer(pool, agent, subject)
    call = pool.calls.get(subject)
    if call is None:
        return None
    if call.state is CallState.OFFERED:
        expire = c.ExpireOffer(call.offer_id, call.agent_id)
        return Timer(call.offer_expires_at, subject, call.client_id, expire)
    if call.state is CallState.WAITING:
        due, _ = next_step(call, pool.queue(call.queue_key))
        if due:
            stage = (call.moves, call.step, call.only_until, call.not_before)
            return Timer(due, subject, call.client_id, c.AdvanceCall(subject), stage)
    return None


def _agent_timer(pool: Pool, agent: Agent, subject: str) -> Timer | None:
    found: list[Timer] = []
    if agent.lost_at >= 0 and not agent.is_given_up:
        due = agent.lost_at + pool.settings.lost_seconds * c.SECOND
        found.append(Timer(due, subject, c.CENTRE, c.LogOutLostAgent(agent.agent_id)))
    for stream, wrap_up in agent.wrap_ups.items():
        client_id = stream.partition("/")[0] or c.CENTRE
        finish = c.FinishWrapUp(agent.agent_id, stream)
        found.append(Timer(wrap_up.ends_at, subject, client_id, finish))
    return min(found, key=lambda timer: timer.due, default=None)
