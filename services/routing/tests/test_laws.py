"""What holds whatever is sent, however often and in whatever order."""

from collections.abc import Iterator

from hypothesis import given, settings
from hypothesis import strategies as st

from services.routing import commands as c
from services.routing import events as e
from services.routing.codec import decode_pool, encode_pool
from services.routing.engine import Rejected, apply, timer_of
from services.routing.matching import can
from services.routing.pool import AgentState, CallState, Pool
from services.routing.tests.linear import LinearMatching

START = 1_000_000 * c.SECOND
HOLDING = (AgentState.RESERVED, AgentState.BUSY)
HELD = (CallState.OFFERED, CallState.ASSIGNED, CallState.CONNECTED)

agents = st.sampled_from(["ann", "bob", "cat"])
calls = st.integers(1, 12).map(lambda number: f"c{number}")
offers = st.integers(1, 12).map(lambda number: f"p:{number}")
skills = st.sampled_from([(), (("fr", 2),), (("fr", 4),), (("de", 3), ("fr", 3))])
reasons = st.sampled_from(["", "lunch"])

bodies = st.one_of(
    st.builds(c.ReportCallArrived, calls),
    st.builds(c.QueueCall, calls, st.sampled_from(["q", "r"]), st.integers(0, 1), skills),
    *[st.builds(c.QueueCall, calls, st.just("q"), st.just(0), skills) for _ in range(3)],
    st.builds(c.ReportCallAbandoned, calls),
    st.builds(c.ReportCallConnected, calls, st.one_of(st.just(""), agents)),
    st.builds(c.ReportCallEnded, calls),
    st.builds(c.LogInAgent, agents, skills),
    *[st.builds(c.MakeAgentAvailable, agents) for _ in range(3)],
    st.builds(c.StartOtherCall, agents),
    st.builds(c.StartBreak, agents, reasons),
    st.builds(c.StartWrapUp, agents),
    st.builds(c.LogOutAgent, agents, reasons),
    st.builds(c.AcceptOffer, offers, agents),
    st.builds(c.DeclineOffer, offers, agents),
    st.builds(c.ExpireOffer, offers, agents),
    st.builds(c.FinishWrapUp, agents, calls.map(lambda call: f"acme/{call}")),
    st.builds(c.ConfigurePool, st.integers(0, 3), st.integers(0, 3)),
)
# What the worker and well-behaved people do, so that random walks get somewhere.
sensible = st.sampled_from(["timer", "accept", "accept", "connect", "connect", "end", "repeat"])
opening = [
    body
    for name in ("ann", "bob", "cat")
    for body in (c.LogInAgent(name, (("de", 3), ("fr", 3))), c.MakeAgentAvailable(name))
]
steps = st.lists(
    st.tuples(
        st.booleans().flatmap(lambda random: bodies if random else sensible),
        st.integers(-3, 6),
        st.integers(0, 1000),
    ),
    min_size=20,
    max_size=120,
)


Step = tuple[c.Body | str, int, int]


def commands_of(pool: Pool, steps: list[Step]) -> Iterator[c.Command]:
    """Random reports, and between them answers to what the pool has just decided."""
    time = START
    done: list[c.Command] = []
    for step, jump, pick in [*((body, 1, 0) for body in opening), *steps]:
        if step == "repeat":
            yield done[pick % len(done)]
            continue
        at = max(0, time + jump * c.SECOND)
        if step == "timer":
            timers = [timer for name in pool.agents if (timer := timer_of(pool, name))]
            if not timers:
                continue
            body: c.Body | None = timers[pick % len(timers)].body
            at = timers[pick % len(timers)].due
        else:
            body = _answer(pool, step, pick) if isinstance(step, str) else step
        if body is not None:
            time = max(time, at)
            client = "acme" if isinstance(body, c.CallCommand) else c.CENTRE
            done.append(c.Command("p", f"{at}-{body}"[:128], client, at, at, "", "", body))
            yield done[-1]


def _answer(pool: Pool, step: str, pick: int) -> c.Body | None:
    state = {
        "accept": CallState.OFFERED,
        "connect": CallState.ASSIGNED,
        "end": CallState.CONNECTED,
    }[step]
    there = [call for call in pool.calls.values() if call.state is state]
    if not there:
        return None
    call = there[pick % len(there)]
    if step == "accept":
        return c.AcceptOffer(call.offer_id, call.agent_id)
    if step == "connect":
        return c.ReportCallConnected(call.call_id, call.agent_id)
    return c.ReportCallEnded(call.call_id)


@given(steps, st.integers(0, 120))
@settings(max_examples=50, deadline=None)
def test_laws(steps: list[Step], snapshot_at: int) -> None:
    pool = Pool("p")
    linear = Pool("p", matching=LinearMatching())  # type: ignore[arg-type]
    restored = Pool("p")
    watcher = Watcher()
    fruitful: set[str] = set()
    for number, command in enumerate(commands_of(pool, steps)):
        if number == snapshot_at:
            restored = decode_pool(encode_pool(restored))
            assert restored == pool
        before = encode_pool(pool)
        events, rejection = outcome(pool, command)
        # The rule, word for word; the same log, the same decisions.
        assert outcome(linear, command) == (events, rejection)
        assert outcome(restored, command) == (events, rejection)
        if rejection:
            assert encode_pool(pool) == before, "a rejected command changes nothing"
        if command.command_id in fruitful:
            assert events == [], "a repeat yields nothing"
        if events:
            fruitful.add(command.command_id)
        watcher.see(events)
        check_pool(pool)
    assert restored == pool
    assert decode_pool(encode_pool(pool)) == pool


def outcome(pool: Pool, command: c.Command) -> tuple[list[e.Event], str]:
    """The events, or why it was rejected."""
    try:
        return apply(pool, command), ""
    except Rejected as error:
        return [], str(error)


def check_pool(pool: Pool) -> None:
    held = {call.agent_id: stream for stream, call in pool.calls.items() if call.state in HELD}
    holding = {
        agent.agent_id: agent.call for agent in pool.agents.values() if agent.state in HOLDING
    }
    assert held == holding
    assert len(held) == sum(call.state in HELD for call in pool.calls.values())
    for call in pool.calls.values():
        if call.state is CallState.WAITING:
            assert call.agent_id == call.offer_id == ""
            for agent in pool.agents.values():
                could = agent.state is AgentState.AVAILABLE
                assert not (could and can(agent.skills, call.required_skills)), "nobody idles"
        if call.state is CallState.WRAP_UP:
            assert pool.agents[call.agent_id].call == call.stream_id


class Watcher:
    """Knows nothing but the events, as a consumer does."""

    def __init__(self) -> None:
        self.versions: dict[str, int] = {}
        self.times: dict[str, int] = {}
        self.call_of: dict[str, str] = {}
        """agent -> the call that is offered to it or that it has"""

    def see(self, events: list[e.Event]) -> None:
        for event in events:
            stream, body = event.stream_id, event.body
            assert event.version == self.versions.get(stream, 0) + 1, "no holes"
            self.versions[stream] = event.version
            assert event.occurred_at >= self.times.get(stream, 0), "no way back in time"
            self.times[stream] = event.occurred_at
            if isinstance(body, e.CallOffered):
                assert body.agent_id not in self.call_of, "an agent holds one call"
                assert stream not in self.call_of.values(), "a call is offered to one agent"
                self.call_of[body.agent_id] = stream
            elif isinstance(
                body, e.CallOfferExpired | e.CallOfferDeclined | e.CallOfferWithdrawn | e.CallEnded
            ):
                self.call_of.pop(body.agent_id, None)
            elif isinstance(body, e.CallAbandoned):
                for agent in [agent for agent, call in self.call_of.items() if call == stream]:
                    del self.call_of[agent]
            elif isinstance(body, e.CallAssigned | e.CallConnected):
                assert self.call_of[body.agent_id] == stream
