"""A centre that is played: customers and agents who act by a script and react to routing. Pure.

The script says who calls when, how patient they are and how long they talk; routing decides the
rest. A play is told the time (`advance`) and what routing decided (`hear`), and gives what the
telephone system and the desktops report. The same script, times and decisions give the same
reports. Times are microseconds since the epoch in the pool's time, lengths microseconds.
"""

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from itertools import count
from random import Random

SECOND = 1_000_000
Skills = tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class ScriptedCall:
    """A customer. `after` is the time from the play's beginning to the arrival, `menu` the time
    from there to the queue, or to hanging up before it."""

    client_id: str
    call_id: str
    line: str
    customer_id: str
    after: int
    menu: int
    queue_id: str
    """Empty: the customer hangs up in the menu."""
    priority: int
    required_skills: Skills
    patience: int
    """From the queue's beginning."""
    service: int

    @property
    def stream_id(self) -> str:
        return f"{self.client_id}/{self.call_id}"

    @property
    def over_after(self) -> int:
        """When the call is over at the latest, from the play's beginning."""
        return self.after + self.menu + self.patience + self.service


@dataclass(frozen=True, slots=True)
class Relax:
    """Who has waited so many seconds needs no more than this level of a skill."""

    after_s: int
    skill: str
    level: int


@dataclass(frozen=True, slots=True)
class QueueRules:
    """What supervisors say of a queue before the play begins; its calls ask for skills themselves.

    target_s: 80 % are to be answered within so many seconds.
    """

    client_id: str
    queue_id: str
    target_s: int
    relax: Relax | None


@dataclass(frozen=True, slots=True)
class ScriptedAgent:
    """An agent who logs in when the play begins, and out when it is over."""

    agent_id: str
    skills: Skills


@dataclass(frozen=True, slots=True)
class Habits:
    """How agents behave. Means of exponential lengths, but for the pause, which is fixed."""

    ring: int = 3 * SECOND
    wrap_up: int = 20 * SECOND
    no_answer: float = 0.02
    """The share of offers that nobody answers: the desktop rings until the offer expires."""
    wrap_up_limit: int = 120 * SECOND
    """When routing ends a wrap-up by itself: nothing is reported then."""
    pause: int = 60 * SECOND
    """From an offer that was not answered to being available again."""


# What is reported. The names are those of relais.routing.v1.


@dataclass(frozen=True, slots=True)
class Arrived:
    line: str
    customer_id: str


@dataclass(frozen=True, slots=True)
class Queued:
    queue_id: str
    priority: int
    required_skills: Skills


@dataclass(frozen=True, slots=True)
class Abandoned:
    pass


@dataclass(frozen=True, slots=True)
class Connected:
    agent_id: str


@dataclass(frozen=True, slots=True)
class Ended:
    pass


@dataclass(frozen=True, slots=True)
class LoggedIn:
    skills: Skills


@dataclass(frozen=True, slots=True)
class Available:
    pass


@dataclass(frozen=True, slots=True)
class OfferAccepted:
    offer_id: str


@dataclass(frozen=True, slots=True)
class LoggedOut:
    reason: str


@dataclass(frozen=True, slots=True)
class CallReport:
    client_id: str
    call_id: str
    at: int
    what: Arrived | Queued | Abandoned | Connected | Ended


@dataclass(frozen=True, slots=True)
class AgentReport:
    agent_id: str
    at: int
    what: LoggedIn | Available | OfferAccepted | LoggedOut


Report = CallReport | AgentReport


class Kind(Enum):
    """What routing decided, or took note of."""

    CALL_QUEUED = auto()
    CALL_OFFERED = auto()
    OFFER_GONE = auto()
    """Expired, declined or withdrawn: the call waits again, or its customer has left."""
    CALL_ASSIGNED = auto()
    CALL_CONNECTED = auto()
    CALL_ABANDONED = auto()
    CALL_ENDED = auto()
    AGENT_AVAILABLE = auto()
    AGENT_STOPPED_RESPONDING = auto()
    AGENT_WRAPPING_UP = auto()
    AGENT_LOGGED_OUT = auto()


_ECHOES = {
    Queued: Kind.CALL_QUEUED,
    Abandoned: Kind.CALL_ABANDONED,
    Connected: Kind.CALL_CONNECTED,
    Ended: Kind.CALL_ENDED,
}


def echo_of(report: Report) -> tuple[str, Kind] | None:
    """The stream and the kind of the decision by which routing takes note of a report."""
    kind = _ECHOES.get(type(report.what))
    if kind is None or not isinstance(report, CallReport):
        return None
    return f"{report.client_id}/{report.call_id}", kind


@dataclass(frozen=True, slots=True)
class Decision:
    """An event of a call (stream `<client>/<call>`) or of an agent (stream `agent/<agent>`)."""

    stream_id: str
    version: int
    at: int
    kind: Kind
    agent_id: str = ""
    offer_id: str = ""


@dataclass
class Tally:
    """What has happened so far."""

    calls: int
    agents: int
    arrived: int = 0
    in_queue: int = 0
    talking: int = 0
    answered: int = 0
    abandoned: int = 0
    left_before_queue: int = 0
    not_answered_offers: int = 0

    @property
    def open(self) -> int:
        """Calls without an outcome."""
        return self.calls - self.answered - self.abandoned - self.left_before_queue + self.talking


@dataclass
class _Customer:
    call: ScriptedCall
    waiting: bool = False
    """In the queue, as routing has said."""
    accepted: bool = False
    """An agent has said to take the call: nobody hangs up in the moment before the connection."""
    gone: bool = False
    connected: bool = False
    over: bool = False


@dataclass
class _Agent:
    reported_at: int = 0
    logged_out: bool = False
    offers: set[str] = field(default_factory=set)


class Play:
    """One run of a script. `starts_at`: when the agents log in."""

    def __init__(
        self,
        calls: Sequence[ScriptedCall],
        agents: Sequence[ScriptedAgent],
        starts_at: int,
        habits: Habits,
        seed: int,
    ) -> None:
        self.tally = Tally(len(calls), len(agents))
        self._starts_at = starts_at
        self._habits = habits
        self._seed = seed
        self._customers = {call.stream_id: _Customer(call) for call in calls}
        self._agents = {agent.agent_id: _Agent() for agent in agents}
        self._heard: dict[str, int] = {}
        self._due: list[tuple[int, int, Callable[[int], None]]] = []
        self._order = count()
        self._out: list[Report] = []
        self._over = 0
        self._logged_out = 0
        self._leaving = False
        for agent in agents:
            self._agent(starts_at, agent.agent_id, LoggedIn(agent.skills))
            self._agent(starts_at, agent.agent_id, Available())
        for customer in self._customers.values():
            self._at(starts_at + customer.call.after, _with(self._arrive, customer))

    @property
    def finished(self) -> bool:
        """All calls have their outcome, all agents are logged out, as routing has said."""
        return self._over == len(self._customers) and self._logged_out == len(self._agents)

    @property
    def next_due(self) -> int | None:
        """When somebody acts next by themselves."""
        return self._due[0][0] if self._due else None

    def advance(self, now: int) -> list[Report]:
        """What is reported up to now, and has not been before."""
        while self._due and self._due[0][0] <= now:
            at, _, act = heapq.heappop(self._due)
            act(at)
        if self._over == len(self._customers) and not self._leaving:
            self._leaving = True
            for agent_id in self._agents:
                self._agent(now, agent_id, LoggedOut("the play is over"))
            return self.advance(now)
        reports, self._out = self._out, []
        return reports

    def hear(self, decision: Decision) -> None:
        """Take in what routing decided. Repeats and strangers are ignored."""
        if decision.version <= self._heard.get(decision.stream_id, 0):
            return
        kind, at = decision.kind, decision.at
        customer = self._customers.get(decision.stream_id)
        if customer is not None:
            self._heard[decision.stream_id] = decision.version
            self._hear_of_call(customer, kind, at, decision)
        elif decision.agent_id in self._agents:
            self._heard[decision.stream_id] = decision.version
            self._hear_of_agent(decision.agent_id, kind, at, decision)

    # Customers, and the telephone system that connects them.

    def _arrive(self, customer: _Customer, at: int) -> None:
        call = customer.call
        self.tally.arrived += 1
        self._call(call, at, Arrived(call.line, call.customer_id))
        self._at(at + call.menu, _with(self._leave_menu, customer))

    def _leave_menu(self, customer: _Customer, at: int) -> None:
        call = customer.call
        if not call.queue_id:
            self._call(call, at, Ended())
            return
        self._call(call, at, Queued(call.queue_id, call.priority, call.required_skills))
        self._at(at + call.patience, _with(self._lose_patience, customer))

    def _lose_patience(self, customer: _Customer, at: int) -> None:
        if not (customer.accepted or customer.connected or customer.gone):
            customer.gone = True
            self._call(customer.call, at, Abandoned())

    def _hang_up(self, customer: _Customer, at: int) -> None:
        self._call(customer.call, at, Ended())

    def _hear_of_call(self, customer: _Customer, kind: Kind, at: int, decision: Decision) -> None:
        call, tally = customer.call, self.tally
        if kind is Kind.CALL_QUEUED:
            self._set_waiting(customer, True)
        elif kind is Kind.CALL_OFFERED:
            self._ring(customer, at, decision)
        elif kind is Kind.OFFER_GONE:
            customer.accepted = customer.connected = False
            if decision.agent_id in self._agents:
                self._agents[decision.agent_id].offers.discard(decision.offer_id)
            ends_at = self._starts_at + call.after + call.menu + call.patience
            self._at(max(at, ends_at), _with(self._lose_patience, customer))
        elif kind is Kind.CALL_ASSIGNED and not customer.gone:
            customer.connected = True
            self._call(call, at, Connected(decision.agent_id))
        elif kind is Kind.CALL_CONNECTED:
            customer.connected = True
            self._set_waiting(customer, False)
            tally.answered += 1
            tally.talking += 1
            self._at(at + call.service, _with(self._hang_up, customer))
        elif kind is Kind.CALL_ABANDONED:
            self._set_waiting(customer, False)
            tally.abandoned += 1
            self._end(customer)
        elif kind is Kind.CALL_ENDED:
            if customer.connected:
                tally.talking -= 1
            else:
                tally.left_before_queue += 1
            self._end(customer)

    def _set_waiting(self, customer: _Customer, waiting: bool) -> None:
        self.tally.in_queue += waiting - customer.waiting
        customer.waiting = waiting

    def _end(self, customer: _Customer) -> None:
        if not customer.over:
            customer.over = True
            self._over += 1

    # Agents, and their desktops.

    def _ring(self, customer: _Customer, at: int, decision: Decision) -> None:
        agent = self._agents.get(decision.agent_id)
        if agent is None:
            return
        chance = Random(f"{self._seed}:{decision.offer_id}")
        if chance.random() < self._habits.no_answer:
            self.tally.not_answered_offers += 1
            return
        agent.offers.add(decision.offer_id)

        def accept(when: int) -> None:
            if decision.offer_id in agent.offers and not customer.gone:
                customer.accepted = True
                agent.offers.discard(decision.offer_id)
                self._report(decision.agent_id, when, OfferAccepted(decision.offer_id))

        self._at(at + _length(chance, self._habits.ring), accept)

    def _hear_of_agent(self, agent_id: str, kind: Kind, at: int, decision: Decision) -> None:
        agent = self._agents[agent_id]
        if kind is Kind.AGENT_STOPPED_RESPONDING:
            self._agent(at + self._habits.pause, agent_id, Available())
        elif kind is Kind.AGENT_WRAPPING_UP:
            chance = Random(f"{self._seed}:{decision.stream_id}:{decision.version}")
            length = _length(chance, self._habits.wrap_up)
            if length < self._habits.wrap_up_limit:
                self._agent(at + length, agent_id, Available())
        elif kind is Kind.AGENT_LOGGED_OUT and not agent.logged_out:
            agent.logged_out = True
            self._logged_out += 1

    # Reports.

    def _at(self, at: int, act: Callable[[int], None]) -> None:
        heapq.heappush(self._due, (at, next(self._order), act))

    def _call(
        self, call: ScriptedCall, at: int, what: Arrived | Queued | Abandoned | Connected | Ended
    ) -> None:
        self._out.append(CallReport(call.client_id, call.call_id, at, what))

    def _agent(
        self, at: int, agent_id: str, what: LoggedIn | Available | OfferAccepted | LoggedOut
    ) -> None:
        self._at(at, lambda when: self._report(agent_id, when, what))

    def _report(
        self, agent_id: str, at: int, what: LoggedIn | Available | OfferAccepted | LoggedOut
    ) -> None:
        agent = self._agents[agent_id]
        if self._leaving and not isinstance(what, LoggedOut):
            return
        # A desktop's reports are in order; of two with one time, routing would not know which.
        agent.reported_at = max(at, agent.reported_at + 1)
        self._out.append(AgentReport(agent_id, agent.reported_at, what))


def _with(act: Callable[[_Customer, int], None], customer: _Customer) -> Callable[[int], None]:
    return lambda at: act(customer, at)


def _length(chance: Random, mean: int) -> int:
    return int(chance.expovariate(1 / mean)) if mean else 0
