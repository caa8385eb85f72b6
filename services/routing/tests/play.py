"""A pool that is told things, second by second: what the table tests of whole stories share."""

from typing import Any

from services.routing import commands as c
from services.routing import events as e
from services.routing.configuration import Queue
from services.routing.engine import all_subjects, apply, timer_of
from services.routing.pool import Agent, Call, Pool

S = c.SECOND
START = 1_000_000 * S


class Play:
    """`tell` is a report now; time goes on by `wait`, which lets the timers fire that are due.

    Clients are called acme unless said otherwise. `said` are the bodies of the last command's
    events, `all` those of the whole play.
    """

    def __init__(self, pool_id: str = "p") -> None:
        self.pool = Pool(pool_id)
        self.now = START
        self.all: list[e.Event | e.Sent] = []
        self._number = 0

    def tell(self, body: c.Body, client: str = "acme", at: int | None = None) -> list[Any]:
        """The bodies of what happened; what is sent to other pools stands there itself."""
        self._number += 1
        when = self.now if at is None else at
        own = isinstance(body, c.CallCommand | c.ClientCommand)
        command = c.Command(
            self.pool.pool_id,
            f"{self.pool.pool_id}-{self._number}",
            client if own else c.CENTRE,
            when,
            when,
            "",
            "",
            body,
        )
        return self.apply(command)

    def apply(self, command: c.Command) -> list[Any]:
        c.check(command)
        events = apply(self.pool, command)
        self.all += events
        return [event if isinstance(event, e.Sent) else event.body for event in events]

    def wait(self, seconds: float) -> list[Any]:
        """Let time pass; the bodies of what it brought."""
        until, found = self.now + round(seconds * S), []
        while True:
            timers = [t for s in all_subjects(self.pool) if (t := timer_of(self.pool, s))]
            timer = min(timers, key=lambda each: (each.due, each.about), default=None)
            if timer is None or timer.due > until:
                break
            self.now = max(self.now, timer.due)
            found += self.tell(timer.body, timer.client_id, timer.due)
        self.now = until
        return found

    # What nearly every story begins with.

    def queue(self, queue_id: str, client: str = "acme", **values: Any) -> None:
        self.tell(c.ConfigureQueue(Queue(queue_id, **values)), client)

    def agent(self, agent_id: str, skills: c.Skills = (("fr", 3),), **values: Any) -> list[Any]:
        """Logged in and available; a second later for each, so that all have been idle apart."""
        self.wait(1)
        self.tell(c.LogInAgent(agent_id, skills, **values))
        return self.tell(c.MakeAgentAvailable(agent_id))

    def call(
        self,
        call_id: str,
        queue_id: str = "q",
        client: str = "acme",
        channel: c.Channel = c.Channel.VOICE,
        customer: str = "",
        priority: int = 0,
        skills: c.Skills = (),
        auto_accept: bool = False,
    ) -> list[Any]:
        """Arrives and is queued."""
        arrived = c.ReportCallArrived(call_id, channel, c.Direction.INBOUND, "", customer)
        self.tell(arrived, client)
        return self.tell(c.QueueCall(call_id, queue_id, priority, skills, auto_accept), client)

    def accept(self, call_id: str, client: str = "acme") -> list[Any]:
        call = self.of(call_id, client)
        return self.tell(c.AcceptOffer(call.offer_id, call.agent_id))

    def connect(self, call_id: str, client: str = "acme") -> list[Any]:
        """Whoever is offered the call accepts it and talks."""
        return self.tell(c.ReportCallConnected(call_id), client)

    def end(self, call_id: str, client: str = "acme") -> list[Any]:
        return self.tell(c.ReportCallEnded(call_id), client)

    # What the tests look at.

    def of(self, call_id: str, client: str = "acme") -> Call:
        return self.pool.calls[f"{client}/{call_id}"]

    def who(self, agent_id: str) -> Agent:
        return self.pool.agents[agent_id]

    def offered_to(self, call_id: str, client: str = "acme") -> str:
        """Who has it, or is offered it; "" nobody."""
        call = self.pool.calls.get(f"{client}/{call_id}")
        return call.agent_id if call else ""


def kinds(bodies: list[Any]) -> list[str]:
    return [type(body).__name__ for body in bodies]


def only(bodies: list[Any], kind: type) -> Any:
    """The one of this kind."""
    (found,) = [body for body in bodies if isinstance(body, kind)]
    return found
