"""Days made up for tests. Times are seconds after T0, a midnight."""

from datetime import date

from relaisctl.simulation.centre import Rules
from relaisctl.simulation.estimates import Caller
from relaisctl.simulation.recorded import SECOND, Call, Day
from relaisctl.simulation.roster import Shift
from services.routing.configuration import Queue
from services.routing.policies import DEFAULT

T0 = 915_148_800 * SECOND
SKILLS = (("q", 1),)


def answered(at: float, waited: float, talked: float, agent: str = "ana", queue: str = "q") -> Call:
    connected = T0 + round((at + waited) * SECOND)
    return Call(
        queue,
        T0 + round(at * SECOND),
        0,
        round(waited * SECOND),
        round(talked * SECOND),
        agent,
        connected,
        connected + round(talked * SECOND),
    )


def abandoned(at: float, waited: float, queue: str = "q") -> Call:
    return Call(queue, T0 + round(at * SECOND), 0, round(waited * SECOND))


def day(*calls: Call) -> Day:
    return Day(date(1999, 1, 1), T0, tuple(sorted(calls, key=lambda call: call.queued_at)))


def caller(
    at: float,
    service: float,
    patience: float | None = None,
    *,
    wrap_up: float = 0,
    priority: int = 0,
    queue: str = "q",
) -> Caller:
    return Caller(
        queue,
        T0 + round(at * SECOND),
        priority,
        None if patience is None else round(patience * SECOND),
        round(service * SECOND),
        round(wrap_up * SECOND),
    )


def shift(agent_id: str, begins: float, ends: float, *breaks: tuple[float, float]) -> Shift:
    return Shift(agent_id, begins, ends, SKILLS, breaks)


def rules(*queues: str, policy: str = DEFAULT) -> Rules:
    return Rules(policy, {name: ("acme", Queue(name, ((name, 1),))) for name in queues or ("q",)})
