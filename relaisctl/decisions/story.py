"""What happened to a call, in words. Pure: its events in, sentences out.

Every kind of event has its sentence; a test compares `SENTENCES` with the contract. Nothing is
hidden: what is not known, missing or contradictory is said. A repeated event is told once.

What others did at the same moment (who logged out, who counts as not responding) stands below the
sentence about the event of the same cause.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from relaisctl.decisions.codec import Event, choice, required
from relaisctl.decisions.words import SECOND, length, listed, number, skills, versions

if TYPE_CHECKING:
    from relais.calls.v1 import events_pb2 as calls

ROUTING = "routing-worker"
LATE = 2 * SECOND
"""A report that came so long after what it reports is worth a word."""
NOT_LATE = 86_400 * SECOND
"""Beyond that it is no delay: a pool that is simulated lives in another year."""

Sentence = tuple[str, ...]
"""The sentence itself, and details that stand below it."""


@dataclass(frozen=True, slots=True)
class Refused:
    """A report about the call that changed nothing, and why."""

    command: Event
    reason: str


@dataclass(frozen=True, slots=True)
class Line:
    """event: None for what only the teller has to say. version: 0 there."""

    at: int
    text: str
    details: Sentence = ()
    event: Event | None = None


@dataclass(frozen=True, slots=True)
class Story:
    """outcome: one word or two; summary: one sentence."""

    stream_id: str
    outcome: str
    summary: str
    lines: tuple[Line, ...]


def tell(
    events: Iterable[Event], around: Iterable[Event] = (), refused: Iterable[Refused] = ()
) -> Story:
    """The story of one call: its events in any order, and with repeats.

    around: events of agents and pools. Those with the cause of one of the call's events are told;
    the clients' rules say who is a VIP. Raises ValueError without any event.
    """
    context = list(around)
    teller = _Teller([each for each in context if each.kind == "client_configured"])
    lines = teller.tell(events)
    if not teller.stream_id:
        raise ValueError("no events")
    _add_around(lines, context)
    lines += [_refusal(each) for each in refused]
    lines.sort(key=lambda line: line.at)
    outcome, summary = teller.outcome()
    return Story(teller.stream_id, outcome, summary, tuple(line.frozen() for line in lines))


@dataclass
class _Growing:
    at: int
    text: str
    details: list[str] = field(default_factory=list)
    event: Event | None = None

    def frozen(self) -> Line:
        return Line(self.at, self.text, tuple(self.details), self.event)


@dataclass
class _Offer:
    agent: str
    at: int
    explained: bool
    seconds: int


@dataclass
class _Help:
    at: int
    joined: int = 0


class _Teller:
    """What has to be remembered from sentence to sentence."""

    def __init__(self, rules: Sequence[Event]) -> None:
        self.stream_id = ""
        self._rules = rules
        self._client = ""
        self._state, self._now = "", ""
        self._channel = self._customer = ""
        self._queue, self._pool = "", ""
        self._entered_at = -1
        self._step = 0
        self._offers: dict[str, _Offer] = {}
        self._helps: dict[str, _Help] = {}
        self._missed = 0
        self._agents: list[str] = []
        self._waited = -1
        self._talked = self._held = 0
        self._wrapped: list[str] = []

    def tell(self, events: Iterable[Event]) -> list[_Growing]:
        lines: list[_Growing] = []
        told: dict[str, Event] = {}
        last = 0
        for event in sorted(events, key=lambda each: each.version):
            self.stream_id, self._client = event.stream_id, event.client_id
            before = told.get(event.event_id)
            if before is not None:
                if before.value != event.value:
                    lines.append(_Growing(event.occurred_at, _contradiction(before, event)))
                continue
            told[event.event_id] = event
            if event.version > last + 1:
                missing = versions(range(last + 1, event.version))
                text = f"({missing} of this call's events cannot be found in the log)"
                lines.append(_Growing(event.occurred_at, text))
            last = max(last, event.version)
            text, *details = self._sentence(event)
            lines.append(_Growing(event.occurred_at, text, details, event))
        return lines

    def _sentence(self, event: Event) -> Sentence:
        say = SENTENCES.get(event.kind)
        if say is None or not event.known:
            return (f"something that this version of relaisctl does not know: {event.kind}",)
        sentence = say(self, event, event.body)
        late = event.recorded_at - event.occurred_at
        if event.actor != ROUTING and LATE <= late < NOT_LATE:
            sentence += (f"reported {length(late)} later",)
        return sentence

    def outcome(self) -> tuple[str, str]:
        """In a word, and as a sentence about the whole call."""
        parts = [self._now]
        if self._agents:
            others = f", then {listed(self._agents[1:])}" if self._agents[1:] else ""
            after = f" after {length(self._waited)}" if self._waited >= 0 else ""
            parts.append(f"answered by {self._agents[0] or 'somebody'}{after}{others}")
        if self._talked:
            held = f", {length(self._held)} of it on hold" if self._held else ""
            parts.append(f"{self._verb} {length(self._talked)}{held}")
        if self._missed:
            parts.append(f"{self._missed} offer{'s' * (self._missed > 1)} not accepted")
        parts += self._wrapped
        summary = "; ".join(part for part in parts if part)
        return self._state or "unknown", summary or "how it began cannot be found in the log"

    @property
    def _verb(self) -> str:
        return {"chat": "chatted", "email": "worked on it"}.get(self._channel, "talked")

    def _be(self, state: str, now: str) -> None:
        self._state, self._now = state, now

    def _wait_in(self, queue: str, at: int) -> None:
        self._queue, self._entered_at, self._step = queue, at, 0
        self._be("waiting", f"waiting in {queue}")

    def _wait_again(self) -> None:
        self._be("waiting", f"waiting in {self._queue}" if self._queue else "waiting")

    def _since_entered(self, at: int) -> str:
        if self._entered_at < 0:
            return ""
        return f"nobody after {length(at - self._entered_at)} in {self._queue}: "

    def _rang(self, offer_id: str, at: int) -> str:
        offer = self._offers.get(offer_id)
        return f" after {length(at - offer.at)}" if offer else ""

    # The way of a call.

    def arrived(self, event: Event, body: "calls.CallArrived") -> Sentence:
        self._channel = choice(body, "channel")
        self._customer = body.customer_id
        self._be("arrived", "has not come to a queue yet")
        words = [
            choice(body, "direction"),
            body.line and f"line {body.line}",
            body.customer_id and f"customer {body.customer_id}",
            body.queue_id and f"heading for {body.queue_id}",
        ]
        how = f"arrived on {self._channel}" if self._channel else "arrived"
        return (", ".join([how, *filter(None, words)]),)

    def queued(self, event: Event, body: "calls.CallQueued") -> Sentence:
        self._wait_in(body.queue_id, event.occurred_at)
        self._pool = body.pool_id
        text = f"queued in {body.queue_id}"
        if body.pool_id:
            text += f" of pool {body.pool_id}"
        if body.priority:
            text += f" with priority {body.priority}{self._vip(event)}"
        if body.required_skills:
            text += f", {_asks(body.required_skills)}"
        if body.HasField("estimated_wait"):
            text += f"; estimated wait {length(_us(body.estimated_wait))}"
        return (text,)

    def _vip(self, event: Event) -> str:
        """By the client's rules that were the last ones when the call was queued."""
        held = [
            rules
            for rules in self._rules
            if rules.client_id == event.client_id and rules.recorded_at <= event.recorded_at
        ]
        if not held or not self._customer:
            return ""
        rules = max(held, key=lambda each: each.version).body.rules
        return " (VIP)" if self._customer in rules.vip_customers else ""

    def offered(self, event: Event, body: "calls.CallOffered") -> Sentence:
        ring = _us(body.expires_at) - event.occurred_at
        self._offers[body.offer_id] = _Offer(body.agent_id, event.occurred_at, True, ring)
        self._be("offered", f"being offered to {body.agent_id}")
        text = f"offered to {_at_site(body.agent_id, body.site)}, who has {length(ring)} to answer"
        why = body.why if body.HasField("why") else None
        return text, *self._because(body.agent_id, why, body.rule)

    def offer_expired(self, event: Event, body: "calls.CallOfferExpired") -> Sentence:
        self._missed += 1
        self._wait_again()
        rang = self._rang(body.offer_id, event.occurred_at).replace(" after ", " within ")
        return (f"{body.agent_id} did not answer{rang}; the call waits again, at its old place",)

    def offer_declined(self, event: Event, body: "calls.CallOfferDeclined") -> Sentence:
        self._missed += 1
        self._wait_again()
        rang = self._rang(body.offer_id, event.occurred_at)
        why = _reason(body.reason)
        return (f"{body.agent_id} declined{rang}{why}; the call waits again, at its old place",)

    def offer_withdrawn(self, event: Event, body: "calls.CallOfferWithdrawn") -> Sentence:
        accepted = self._state == "assigned"
        self._wait_again()
        rang = self._rang(body.offer_id, event.occurred_at)
        what = "taken back from" if accepted else "no longer offered to"
        text = f"{what} {body.agent_id}{rang}{_reason(body.reason)}"
        return (text,)

    def assigned(self, event: Event, body: "calls.CallAssigned") -> Sentence:
        offer = self._offers.get(body.offer_id)
        self._be("assigned", f"accepted by {body.agent_id}, not yet connected")
        text = f"{body.agent_id} accepted{self._rang(body.offer_id, event.occurred_at)}"
        if offer is not None and offer.explained:
            return (text,)
        why = body.why if body.HasField("why") else None
        return text, *self._because(body.agent_id, why, "")

    def connected(self, event: Event, body: "calls.CallConnected") -> Sentence:
        waited = _us(body.waited)
        if self._waited < 0:
            self._waited = waited
        if body.agent_id not in self._agents[-1:]:
            self._agents.append(body.agent_id)
        self._be("talking", "not over yet")
        who = body.agent_id or "somebody whom the telephone system did not name"
        what = "has reached" if self._channel == "callback" else "is connected with"
        return (f"{who} {what} the customer, after a wait of {length(waited)}",)

    def abandoned(self, event: Event, body: "calls.CallAbandoned") -> Sentence:
        waited = length(_us(body.waited))
        self._be("abandoned", f"abandoned after {waited} in {body.queue_id}")
        return (f"the customer hung up after waiting {waited} in {body.queue_id}",)

    def ended(self, event: Event, body: "calls.CallEnded") -> Sentence:
        cause = choice(body, "cause")
        self._talked, self._held = _us(body.talked), _us(body.held)
        held = f", of which {length(self._held)} on hold" if self._held else ""
        before = f"; {self._verb} before: {length(self._talked)}{held}" if self._talked else ""
        match cause:
            case "completed":
                self._be("completed", "")
                agent = f" with {body.agent_id}" if body.agent_id else ""
                text = f"the call{agent} is over: {self._verb} {length(self._talked)}{held}"
            case "left before queue":
                after = event.occurred_at - _us(body.arrived_at)
                self._be(cause, f"left before any queue, after {length(after)}")
                text = f"the customer hung up before coming to a queue, after {length(after)}"
            case "phantom":
                self._be(cause, "a phantom: no figure counts it")
                text = "no call at all: a phantom of the telephone system, which no figure counts"
            case "left during transfer":
                self._be(cause, "the customer hung up while waiting once more")
                text = f"the customer hung up while waiting once more{before}"
            case "overflowed during transfer":
                self._be(cause, "nobody took it when it waited once more")
                text = f"nobody took it when it waited once more, and the queue ended it{before}"
            case _:
                self._be("ended", "")
                named = f" ({cause})" if cause else ""
                text = f"the call is over{named}: {self._verb} {length(self._talked)}{held}"
        return (text,)

    def wrapped_up(self, event: Event, body: "calls.CallWrappedUp") -> Sentence:
        took = length(_us(body.wrap_up))
        self._wrapped.append(f"{body.agent_id} wrapped up {took}")
        limit = ", up to the limit" if event.actor == ROUTING else ""
        return (f"{body.agent_id} has finished the work after the call: {took}{limit}",)

    # On the way to an agent.

    def relaxed(self, event: Event, body: "calls.CallRelaxed") -> Sentence:
        if body.step <= self._step:
            # No step of the queue's: it had waited for one agent alone.
            return (f"it waits for anybody now: {body.what}",)
        self._step = body.step
        wanted = required(body.required_skills)
        enough = f"{skills(wanted)} is enough now" if wanted else "no skill is asked for now"
        groups = f", in {listed(body.groups, 'or')}" if body.groups else ""
        since = self._since_entered(event.occurred_at)
        return (f"{since}{body.what} (step {body.step}); {enough}{groups}",)

    def moved(self, event: Event, body: "calls.CallMoved") -> Sentence:
        since = self._since_entered(event.occurred_at)
        self._wait_in(body.queue_id, event.occurred_at)
        why = f" (step {body.step})" if body.step else f", since {body.from_queue_id} is closed"
        text = f"{since}moved from {body.from_queue_id} to {body.queue_id}{why}; "
        return (f"{text}{_asks(body.required_skills)}, priority {body.priority}",)

    def moved_to_pool(self, event: Event, body: "calls.CallMovedToPool") -> Sentence:
        since = self._since_entered(event.occurred_at)
        self._wait_in(body.queue_id, event.occurred_at)
        self._be("moved", f"on the way to pool {body.pool_id}")
        text = f"{since}handed from {body.from_queue_id} to pool {body.pool_id}, "
        return (f"{text}queue {body.queue_id}; that pool decides from here on",)

    def taken_over(self, event: Event, body: "calls.CallTakenOver") -> Sentence:
        self._wait_in(body.queue_id, event.occurred_at)
        self._pool = body.pool_id
        text = f"pool {body.pool_id} has it from pool {body.from_pool_id}"
        return (f"{text}; it waits in {body.queue_id}",)

    def callback_offered(self, event: Event, body: "calls.CallCallbackOffered") -> Sentence:
        since = self._since_entered(event.occurred_at)
        estimate = ""
        if body.HasField("estimated_wait"):
            estimate = f"; estimated wait {length(_us(body.estimated_wait))}"
        return (f"{since}the customer may hang up and be called back{estimate}",)

    def callback_accepted(self, event: Event, body: "calls.CallCallbackAccepted") -> Sentence:
        self._channel = "callback"
        self._be("waiting", f"to be called back, waiting in {body.queue_id}")
        text = "the customer has hung up and will be called back"
        return (f"{text}; the call keeps its place in {body.queue_id}",)

    def callback_failed(self, event: Event, body: "calls.CallCallbackFailed") -> Sentence:
        self._be("waiting", f"to be called back, waiting in {body.queue_id}")
        text = f"{body.agent_id} could not reach the customer{_reason(body.reason)}"
        if not body.HasField("again_at"):
            return (f"{text}; attempt {body.attempt}, and the last one",)
        pause = length(_us(body.again_at) - event.occurred_at)
        return (f"{text}; attempt {body.attempt}, the next one not before {pause} have passed",)

    def overflowed(self, event: Event, body: "calls.CallOverflowed") -> Sentence:
        action, waited = choice(body, "action"), length(_us(body.waited))
        how = {
            "voicemail": "the telephone system takes a message",
            "close": "the telephone system says goodbye",
        }.get(action, action or "over")
        if body.reason == "closed":
            text = f"{body.queue_id} is closed: {how}"
        else:
            text = f"nobody after {waited} in {body.queue_id}{_reason(body.reason)}: {how}"
        self._be("overflowed", text)
        return (text,)

    def requeued(self, event: Event, body: "calls.CallRequeued") -> Sentence:
        self._wait_again()
        text = f"{body.agent_id} is gone, the customer is not{_reason(body.reason)}"
        return (f"{text}; the call waits again in {body.queue_id}, before those that came later",)

    # While talking.

    def held(self, event: Event, body: "calls.CallHeld") -> Sentence:
        if body.reason == "interrupted":
            return (f"set aside: {body.agent_id} has something more urgent",)
        return (f"{body.agent_id} put the customer on hold{_reason(body.reason)}",)

    def resumed(self, event: Event, body: "calls.CallResumed") -> Sentence:
        return (f"{body.agent_id} is back with the customer after {length(_us(body.held))}",)

    def transferred(self, event: Event, body: "calls.CallTransferred") -> Sentence:
        talked = f"; {body.agent_id} {self._verb} {length(_us(body.talked))}"
        if body.consulted:
            self._agents.append(body.to_agent_id)
            self._be("talking", "not over yet")
            text = f"{body.agent_id} gave the call to {body.to_agent_id}, who was on it already"
            return (text + talked,)
        self._wait_in(body.queue_id, event.occurred_at)
        if body.to_agent_id:
            text = f"{body.agent_id} transferred the call to {body.to_agent_id}"
            return (f"{text}, in queue {body.queue_id}{talked}",)
        text = f"{body.agent_id} transferred the call from {body.from_queue_id} to {body.queue_id}"
        return (f"{text}{talked}; {_asks(body.required_skills)}, priority {body.priority}",)

    def help_requested(self, event: Event, body: "calls.CallHelpRequested") -> Sentence:
        self._helps[body.help_id] = _Help(event.occurred_at)
        what = {
            "help": "asked for help",
            "consultation": "wants to consult somebody",
            "conference": "wants somebody else on the call",
        }.get(choice(body, "kind"), f"asked for {choice(body, 'kind') or 'somebody'}")
        whom = body.to_agent_id or (listed(body.groups, "or") if body.groups else "whoever is free")
        asks = f" with {skills(required(body.required_skills))}" if body.required_skills else ""
        return (f"{body.agent_id} {what}: {whom}{asks}",)

    def help_offered(self, event: Event, body: "calls.CallHelpOffered") -> Sentence:
        ring = _us(body.expires_at) - event.occurred_at
        self._offers[body.offer_id] = _Offer(body.agent_id, event.occurred_at, True, ring)
        who = _at_site(body.agent_id, body.site)
        why = body.why if body.HasField("why") else None
        text = f"{who} is asked to come, and has {length(ring)} to answer"
        return text, *self._because(body.agent_id, why, "")

    def help_offer_ended(self, event: Event, body: "calls.CallHelpOfferEnded") -> Sentence:
        rang = self._rang(body.offer_id, event.occurred_at)
        return (f"{body.agent_id} did not come{_reason(body.reason)}{rang}",)

    def help_joined(self, event: Event, body: "calls.CallHelpJoined") -> Sentence:
        help = self._helps.setdefault(body.help_id, _Help(event.occurred_at))
        help.joined = event.occurred_at
        what = {
            "help": "to help",
            "consultation": "to be consulted; the customer waits",
            "conference": "and all of them talk",
        }.get(choice(body, "kind"), choice(body, "kind"))
        after = length(_us(body.waited))
        return (f"{body.agent_id} came onto the call after {after}, {what}".rstrip(", "),)

    def help_ended(self, event: Event, body: "calls.CallHelpEnded") -> Sentence:
        help = self._helps.get(body.help_id)
        if not body.agent_id:
            after = f" after {length(event.occurred_at - help.at)}" if help else ""
            return (f"the request is over{after}, and nobody had come{_reason(body.reason)}",)
        after = ""
        if help is not None and help.joined:
            after = f" after {length(event.occurred_at - help.joined)}"
        return (f"{body.agent_id} is off the call{after}{_reason(body.reason)}",)

    def _because(self, agent: str, why: "calls.Why | None", rule: str) -> Sentence:
        """What a decision says of itself."""
        if why is None:
            return (f"because: {rule}",) if rule else ()
        policy = f" (policy {why.policy})" if why.policy else ""
        details = [f"because: {why.rule or rule}{policy}"]
        own = f"{self._client}/"
        best = ", ".join(f"{each.id.removeprefix(own)} {number(each.score)}" for each in why.best)
        if why.for_agent:
            details.append(f"{agent} had become free, and was given the best of the waiting calls")
        if why.looked_at > 1:
            kind = "calls" if why.for_agent else "agents"
            details.append(f"{why.looked_at} {kind} looked at, best first: {best}")
        if why.relaxed:
            details.append(f"relaxed: {', '.join(why.relaxed)}")
        waited, idle = length(_us(why.waited)), length(_us(why.idle))
        details.append(f"the call had waited {waited}, {agent} had been idle {idle}")
        return tuple(details)


SENTENCES: Mapping[str, Callable[[_Teller, Event, Any], Sentence]] = {
    "arrived": _Teller.arrived,
    "queued": _Teller.queued,
    "offered": _Teller.offered,
    "offer_expired": _Teller.offer_expired,
    "offer_declined": _Teller.offer_declined,
    "offer_withdrawn": _Teller.offer_withdrawn,
    "assigned": _Teller.assigned,
    "connected": _Teller.connected,
    "abandoned": _Teller.abandoned,
    "ended": _Teller.ended,
    "wrapped_up": _Teller.wrapped_up,
    "relaxed": _Teller.relaxed,
    "moved": _Teller.moved,
    "moved_to_pool": _Teller.moved_to_pool,
    "taken_over": _Teller.taken_over,
    "callback_offered": _Teller.callback_offered,
    "callback_accepted": _Teller.callback_accepted,
    "callback_failed": _Teller.callback_failed,
    "overflowed": _Teller.overflowed,
    "requeued": _Teller.requeued,
    "held": _Teller.held,
    "resumed": _Teller.resumed,
    "transferred": _Teller.transferred,
    "help_requested": _Teller.help_requested,
    "help_offered": _Teller.help_offered,
    "help_offer_ended": _Teller.help_offer_ended,
    "help_joined": _Teller.help_joined,
    "help_ended": _Teller.help_ended,
}


# What others did.


def _quiet(event: Event) -> str:
    """The call's own events say it."""
    return ""


AROUND: Mapping[str, Callable[[Event], str]] = {
    "logged_in": lambda event: f"{_agent(event)} logged in",
    "became_available": lambda event: f"{_agent(event)} is available",
    "reserved": _quiet,
    "became_busy": _quiet,
    "wrap_up_started": lambda event: (
        f"{_agent(event)} has {length(_us(event.body.ends_at) - event.occurred_at)}"
        " for the work after it"
    ),
    "break_started": lambda event: f"{_agent(event)} is on a break{_reason(event.body.reason)}",
    "stopped_responding": lambda event: (
        f"{_agent(event)} counts as not responding: nothing is offered until {_agent(event)}"
        " says to be available"
    ),
    "logged_out": lambda event: f"{_agent(event)} logged out{_reason(event.body.reason)}",
    "skills_changed": lambda event: f"{_agent(event)} was given other skills or groups",
    "connection_lost": lambda event: f"{_agent(event)}'s desktop has lost its connection",
    "connection_restored": lambda event: f"{_agent(event)}'s desktop is connected again",
    "pool_configured": lambda event: f"the pool's settings were changed{_by(event)}",
    "queue_configured": lambda event: (
        f"queue {event.body.queue.queue_id} of {event.client_id} was configured{_by(event)}"
    ),
    "queue_removed": lambda event: (
        f"the configuration of queue {event.body.queue_id} of {event.client_id}"
        f" was removed{_by(event)}"
    ),
    "client_configured": lambda event: f"the rules of {event.client_id} were changed{_by(event)}",
}
"""Of events of agents and pools."""


def _add_around(lines: list[_Growing], around: Iterable[Event]) -> None:
    of_cause: dict[str, list[_Growing]] = {}
    for line in lines:
        if line.event is not None and line.event.causation_id:
            of_cause.setdefault(line.event.causation_id, []).append(line)
    told: set[str] = set()
    for event in sorted(around, key=lambda each: (each.stream_id, each.version)):
        candidates = of_cause.get(event.causation_id)
        if candidates is None or event.event_id in told:
            continue
        told.add(event.event_id)
        say = AROUND.get(event.kind)
        if say is None or not event.known:
            text = f"{event.stream_id}: something that this version does not know: {event.kind}"
        else:
            text = say(event)
        if text:
            _about(candidates, event).details.append(text)


def _about(lines: list[_Growing], event: Event) -> _Growing:
    """Of lines with one cause, the one that is about the same agent; else the first."""
    agent = _agent(event)
    for line in reversed(lines):
        if line.event is not None and getattr(line.event.body, "agent_id", "") == agent:
            return line
    return lines[0]


def _refusal(refused: Refused) -> _Growing:
    command = refused.command
    words = command.kind.removeprefix("report_").replace("_", " ")
    text = f"a report was refused: {words}, told{_by(command)} ({refused.reason})"
    return _Growing(command.occurred_at, text, event=command)


def _contradiction(one: Event, other: Event) -> str:
    kinds = one.kind if one.kind == other.kind else f"{one.kind} and {other.kind}"
    return f"(version {one.version} is in the log twice, and not with the same content: {kinds})"


def _asks(wanted: Sequence[Any]) -> str:
    found = required(wanted)
    return f"asks for {skills(found)}" if found else "asks for no skill"


def _agent(event: Event) -> str:
    return event.stream_id.removeprefix("agent/")


def _at_site(agent: str, site: str) -> str:
    return f"{agent} ({site})" if site else agent


def _by(event: Event) -> str:
    return f" by {event.actor}" if event.actor else ""


def _reason(text: str) -> str:
    return f" ({text})" if text else ""


def _us(value: Any) -> int:
    """Of a Timestamp or Duration."""
    return int(value.seconds * SECOND + value.nanos // 1000)
