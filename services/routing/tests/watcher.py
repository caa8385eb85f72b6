"""What a consumer sees who knows nothing but the events, and what it may expect of them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from services.routing import events as e
from services.routing.pool import Agent, AgentState, Call, CallState, Pool
from services.routing.tests.invariants import Offer

Moving = tuple[str, int]
"""Where a call goes, and the version that it has."""
OUTCOMES = (e.CallEnded, e.CallAbandoned, e.CallOverflowed)
LENGTHS = ("waited", "talked", "held", "wrap_up", "estimated_wait", "again_at")
STATES = {
    e.AgentLoggedIn: AgentState.LOGGED_IN,
    e.AgentBecameAvailable: AgentState.AVAILABLE,
    e.AgentReserved: AgentState.RESERVED,
    e.AgentWrapUpStarted: AgentState.WRAP_UP,
    e.AgentBreakStarted: AgentState.ON_BREAK,
    e.AgentStoppedResponding: AgentState.NOT_RESPONDING,
    e.AgentLoggedOut: AgentState.LOGGED_OUT,
}
ARRIVED, WAITING, OFFERED = "arrived", "waiting", "offered"
ASSIGNED, CONNECTED, MOVING, OVER = "assigned", "connected", "moving", "over"
PHASES = {
    CallState.ARRIVED: ARRIVED,
    CallState.WAITING: WAITING,
    CallState.OFFERED: OFFERED,
    CallState.ASSIGNED: ASSIGNED,
    CallState.CONNECTED: CONNECTED,
    CallState.WRAP_UP: OVER,
}


@dataclass(slots=True)
class Help:
    """A request for help, as its call's events tell it."""

    phase: str = WAITING
    agent_id: str = ""
    offer_id: str = ""


@dataclass(slots=True)
class Seen:
    """A call, as its events tell it. pool_id: who has it, or will have it."""

    pool_id: str
    version: int = 0
    at: int = 0
    phase: str = ""
    queue_id: str = ""
    agent_id: str = ""
    offer_id: str = ""
    answered: bool = False
    connected_at: int = 0
    talked: int = 0
    held_at: int = 0
    held: int = 0
    outcome: str = ""
    may_wrap_up: set[str] = field(default_factory=set)
    helps: dict[str, Help] = field(default_factory=dict)


@dataclass(slots=True)
class Person:
    """An agent, as their events tell it."""

    version: int = 0
    at: int = 0
    since: int = 0
    state: AgentState = AgentState.LOGGED_OUT
    lost: bool = False
    offered: str = ""
    calls: set[str] = field(default_factory=set)


class Watcher:
    """Sees every event once, in the order of publication. Raises AssertionError."""

    def __init__(self) -> None:
        self.calls: dict[str, Seen] = {}
        self.agents: dict[str, Person] = {}
        self.pools: dict[str, tuple[int, int]] = {}
        """By stream: the last version, and when."""
        self.offers: set[str] = set()
        self.gone: set[str] = set()
        """Calls that are over and in no pool."""

    def see(self, pool_id: str, events: Iterable[e.Event | e.Sent]) -> list[Offer]:
        """The offers among them."""
        found: list[Offer] = []
        for event in events:
            if isinstance(event, e.Sent):
                continue
            body = event.body
            for name in LENGTHS:
                value = getattr(body, name, None)
                assert value is None or value >= 0, "a length below zero"
            assert getattr(body, "held", 0) <= getattr(body, "talked", getattr(body, "held", 0))
            if isinstance(event, e.CallEvent):
                offer = self.see_call(pool_id, event)
                if offer is not None:
                    found.append(offer)
            elif isinstance(event, e.AgentEvent):
                self.see_agent(event)
            else:
                version, at = self.pools.get(event.stream_id, (0, 0))
                assert event.version == version + 1, "a hole in a pool's stream"
                assert event.occurred_at >= at, "a pool's stream goes back in time"
                self.pools[event.stream_id] = (event.version, event.occurred_at)
        return found

    def person(self, agent_id: str) -> Person:
        return self.agents.setdefault(agent_id, Person())

    def see_agent(self, event: e.AgentEvent) -> None:
        person, body = self.person(event.agent_id), event.body
        assert event.version == person.version + 1, "a hole in an agent's stream"
        assert event.occurred_at >= person.at, "an agent's stream goes back in time"
        person.version, person.at = event.version, event.occurred_at
        match body:
            case e.AgentSkillsChanged():
                return
            case e.AgentConnectionLost():
                person.lost = True
                return
            case e.AgentConnectionRestored():
                assert person.lost, "restored, and was not lost"
                person.lost = False
                return
            case e.AgentBecameBusy(call=""):
                person.state = AgentState.OTHER_CALL
            case e.AgentBecameBusy():
                person.state = AgentState.BUSY
            case _:
                person.state = STATES[type(body)]
        if isinstance(body, e.AgentLoggedOut):
            person.lost = False
        person.since = event.occurred_at

    def see_call(self, pool_id: str, event: e.CallEvent) -> Offer | None:
        stream, body, at = event.stream_id, event.body, event.occurred_at
        seen = self.calls.get(stream)
        assert stream not in self.gone, "after its end"
        if seen is None:
            assert isinstance(body, e.CallArrived | e.CallTakenOver), "before its arrival"
            seen = self.calls[stream] = Seen(pool_id)
            if isinstance(body, e.CallTakenOver):
                # From a pool that nobody watches.
                seen.phase, seen.version, seen.queue_id = MOVING, event.version - 1, body.queue_id
        assert seen.pool_id == pool_id, "told by a pool that does not have it"
        assert event.version == seen.version + 1, "a hole in a call's stream"
        assert at >= seen.at, "a call's stream goes back in time"
        seen.version, seen.at = event.version, at
        assert seen.phase != OVER or isinstance(body, e.CallWrappedUp), "after its end"
        offer: Offer | None = None
        match body:
            case e.CallArrived():
                self.step(seen, ("",), ARRIVED)
            case e.CallQueued():
                self.step(seen, (ARRIVED,), WAITING)
                assert body.pool_id == pool_id
                seen.queue_id = body.queue_id
            case e.CallOffered():
                offer = self.offer(stream, body.agent_id, body.offer_id, body.why)
                self.step(seen, (WAITING,), OFFERED)
                assert body.queue_id == seen.queue_id
                seen.agent_id, seen.offer_id = body.agent_id, body.offer_id
            case e.CallOfferExpired() | e.CallOfferDeclined() | e.CallOfferWithdrawn():
                assert (seen.agent_id, seen.offer_id) == (body.agent_id, body.offer_id)
                withdrawn = isinstance(body, e.CallOfferWithdrawn)
                self.take_away(stream, seen)
                self.step(seen, (OFFERED, ASSIGNED) if withdrawn else (OFFERED,), WAITING)
            case e.CallAssigned():
                self.step(seen, (OFFERED,), ASSIGNED)
                assert (seen.agent_id, seen.offer_id) == (body.agent_id, body.offer_id)
                person = self.person(body.agent_id)
                assert person.offered == stream
                person.offered = ""
                person.calls.add(stream)
            case e.CallConnected():
                self.step(seen, (ASSIGNED,), CONNECTED)
                assert (seen.agent_id, seen.queue_id) == (body.agent_id, body.queue_id)
                seen.answered, seen.connected_at = True, at
            case e.CallAbandoned():
                self.take_away(stream, seen)
                self.step(seen, (WAITING, ASSIGNED), OVER)
                assert not seen.answered, "answered and abandoned"
            case e.CallOverflowed():
                self.take_away(stream, seen)
                self.step(seen, (WAITING, ASSIGNED), OVER)
                assert not seen.answered, "answered and overflowed"
            case e.CallEnded():
                self.end(stream, seen, body, at)
            case e.CallWrappedUp():
                assert body.agent_id in seen.may_wrap_up, "wrapped up by somebody else"
                seen.may_wrap_up.remove(body.agent_id)
            case e.CallRelaxed() | e.CallCallbackOffered() | e.CallCallbackAccepted():
                self.step(seen, (WAITING,), WAITING)
                assert body.queue_id == seen.queue_id
            case e.CallMoved():
                self.step(seen, (WAITING,), WAITING)
                assert body.from_queue_id == seen.queue_id
                seen.queue_id = body.queue_id
            case e.CallMovedToPool():
                self.step(seen, (WAITING,), MOVING)
                assert body.from_queue_id == seen.queue_id
                seen.pool_id, seen.queue_id = body.pool_id, body.queue_id
            case e.CallTakenOver():
                self.step(seen, (MOVING,), WAITING)
                assert (body.pool_id, body.queue_id) == (pool_id, seen.queue_id)
            case e.CallCallbackFailed():
                assert seen.agent_id == body.agent_id
                self.take_away(stream, seen)
                self.step(seen, (ASSIGNED,), WAITING)
            case e.CallRequeued():
                assert seen.agent_id == body.agent_id
                self.stop_talking(seen, at)
                self.take_away(stream, seen)
                self.step(seen, (ASSIGNED, CONNECTED), WAITING)
            case e.CallHeld():
                self.step(seen, (CONNECTED,), CONNECTED)
                assert not seen.held_at, "held twice"
                assert seen.agent_id == body.agent_id
                seen.held_at = at
            case e.CallResumed():
                self.step(seen, (CONNECTED,), CONNECTED)
                assert seen.held_at, "resumed, and was not held"
                assert body.held == at - seen.held_at, "how long it was held"
                seen.held += body.held
                seen.held_at = 0
            case e.CallTransferred():
                self.transfer(stream, seen, body, at)
            case _:
                offer = self.help(stream, seen, body)
        if isinstance(body, OUTCOMES):
            assert not seen.outcome, "two outcomes"
            assert not seen.helps, "help for a call that is over"
            seen.outcome = type(body).__name__
        return offer

    def step(self, seen: Seen, before: tuple[str, ...], after: str) -> None:
        assert seen.phase in before, "at the wrong time"
        seen.phase = after

    def offer(self, stream: str, agent_id: str, offer_id: str, why: e.Why | None) -> Offer:
        person = self.person(agent_id)
        assert not person.offered, "two offers for an agent"
        assert offer_id not in self.offers, "an offer's id again"
        assert not person.lost, "an offer that nobody sees"
        assert person.state in (AgentState.AVAILABLE, AgentState.BUSY), "an offer out of turn"
        assert why is not None
        assert min(why.waited, why.idle) >= 0
        assert why.looked_at >= len(why.best) >= 1
        self.offers.add(offer_id)
        person.offered = stream
        return Offer(agent_id, stream, person.since, why.for_agent)

    def take_away(self, stream: str, seen: Seen) -> None:
        """The call has no agent any more."""
        if seen.agent_id:
            self.let_go(stream, seen.agent_id)
            seen.agent_id = seen.offer_id = ""

    def let_go(self, stream: str, agent_id: str) -> None:
        person = self.person(agent_id)
        if person.offered == stream:
            person.offered = ""
        else:
            person.calls.remove(stream)

    def stop_talking(self, seen: Seen, at: int) -> int:
        assert not seen.held_at, "leaves its agent on hold"
        talked = at - seen.connected_at if seen.phase == CONNECTED else 0
        seen.talked += talked
        return talked

    def end(self, stream: str, seen: Seen, body: e.CallEnded, at: int) -> None:
        seen.held += at - seen.held_at if seen.held_at else 0
        seen.held_at = 0
        match body.cause:
            case e.EndCause.LEFT_BEFORE_QUEUE:
                self.step(seen, (ARRIVED,), OVER)
            case e.EndCause.COMPLETED:
                assert seen.agent_id == body.agent_id
                self.stop_talking(seen, at)
                seen.may_wrap_up.add(body.agent_id)
                self.take_away(stream, seen)
                self.step(seen, (CONNECTED,), OVER)
            case _:
                assert seen.answered, "left again, and was never answered"
                self.take_away(stream, seen)
                self.step(seen, (WAITING, ASSIGNED), OVER)
        assert (body.talked, body.held) == (seen.talked, seen.held), "how long they talked"
        if seen.phase != ARRIVED:
            assert body.queue_id == seen.queue_id

    def transfer(self, stream: str, seen: Seen, body: e.CallTransferred, at: int) -> None:
        assert (seen.agent_id, seen.queue_id) == (body.agent_id, body.from_queue_id)
        assert body.talked == self.stop_talking(seen, at), "how long they talked"
        seen.may_wrap_up.add(body.agent_id)
        self.take_away(stream, seen)
        if not body.consulted:
            self.step(seen, (CONNECTED,), WAITING)
            seen.queue_id = body.queue_id
            return
        (help_id,) = (
            name for name, each in seen.helps.items() if each.agent_id == body.to_agent_id
        )
        assert seen.helps.pop(help_id).phase == CONNECTED
        person = self.person(body.to_agent_id)
        person.calls.remove(f"{stream.split('/')[0]}/{help_id}")
        person.calls.add(stream)
        self.step(seen, (CONNECTED,), CONNECTED)
        seen.agent_id, seen.connected_at = body.to_agent_id, at

    def help(self, stream: str, seen: Seen, body: Any) -> Offer | None:
        help_stream = f"{stream.split('/')[0]}/{body.help_id}"
        if isinstance(body, e.CallHelpRequested):
            assert body.help_id not in seen.helps
            assert (seen.phase, seen.agent_id) == (CONNECTED, body.agent_id)
            seen.helps[body.help_id] = Help()
            return None
        asked = seen.helps[body.help_id]
        match body:
            case e.CallHelpOffered():
                assert asked.phase == WAITING
                asked.phase, asked.agent_id = OFFERED, body.agent_id
                asked.offer_id = body.offer_id
                return self.offer(help_stream, body.agent_id, body.offer_id, body.why)
            case e.CallHelpOfferEnded():
                assert asked.phase == OFFERED
                assert (asked.agent_id, asked.offer_id) == (body.agent_id, body.offer_id)
                self.let_go(help_stream, body.agent_id)
                asked.phase, asked.agent_id = WAITING, ""
            case e.CallHelpJoined():
                assert (asked.phase, asked.agent_id) == (OFFERED, body.agent_id)
                asked.phase = CONNECTED
                person = self.person(body.agent_id)
                person.offered = ""
                person.calls.add(help_stream)
            case e.CallHelpEnded():
                assert asked.phase in (WAITING, CONNECTED)
                assert asked.agent_id == body.agent_id
                if asked.agent_id:
                    self.let_go(help_stream, asked.agent_id)
                del seen.helps[body.help_id]
            case _:
                raise AssertionError(f"an event that nobody knows: {body}")
        return None

    # Against the pools.

    def compare(self, pool: Pool, others: Iterable[Pool], moving: Mapping[str, Moving]) -> None:
        """What the events tell is what the pool says. moving: by call, on its way to a pool: a call
        is in one pool, on its way to one, or over."""
        calls = {stream: call for stream, call in pool.calls.items() if not call.main}
        for other in others:
            assert calls.keys().isdisjoint(other.calls), "a call in two pools"
        for stream, seen in list(self.calls.items()):
            if seen.phase == MOVING:
                assert moving.get(stream) == (seen.pool_id, seen.version), "a call is lost"
            elif seen.pool_id == pool.pool_id:
                call = calls.pop(stream, None)
                if call is not None:
                    self.compare_call(call, seen)
                else:
                    assert seen.phase == OVER, "a call is lost"
                    self.gone.add(stream)
                    del self.calls[stream]
        assert not calls, "a call that never arrived"
        for agent_id, agent in pool.agents.items():
            self.compare_agent(agent, self.person(agent_id))

    def compare_call(self, call: Call, seen: Seen) -> None:
        assert (call.version, call.at) == (seen.version, seen.at)
        assert PHASES[call.state] == seen.phase
        assert call.queue_id == seen.queue_id
        assert (call.held_at > 0) == (seen.held_at > 0)
        if call.state is not CallState.WRAP_UP:
            assert call.agent_id == seen.agent_id
            assert {*call.helps} == {f"{call.client_id}/{name}" for name in seen.helps}

    def compare_agent(self, agent: Agent, person: Person) -> None:
        assert agent.state is person.state
        assert agent.version == person.version
        assert (agent.at, agent.since) == (person.at, person.since)
        assert (agent.lost_at >= 0) == person.lost
        assert agent.offered == person.offered
        assert len(agent.calls) == len(person.calls)
        assert {*agent.calls} == person.calls
