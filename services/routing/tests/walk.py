"""Random commands for some pools: what happens in a contact centre, and what never should."""

import random
from collections.abc import Callable, Iterator
from typing import Any, get_args

from services.routing import commands as c
from services.routing.commands import SECOND, Channel, HelpKind
from services.routing.configuration import (
    ClientRules,
    Groups,
    Hours,
    Interval,
    Overflow,
    Queue,
    Skills,
    Step,
)
from services.routing.policies import POLICIES
from services.routing.pool import AgentState, Call, CallState
from services.routing.tests.world import World

HOUR = 3600 * SECOND
CLIENTS = ("acme", "globex")
QUEUES = ("help", "sales", "night", "x")
CUSTOMERS = ("", "", "k1", "k2", "k3")
GROUPS = ("night", "supervisors", "vip")
SKILLS = ("de", "fr")
SETTINGS = (*get_args(c.Configuration), c.LogInAgent, c.SetAgentSkills)
OPEN_CALLS = 14
"""Of more calls there are no new ones."""
RECENT = 16
"""Random commands are about the last calls."""
TALKING = (CallState.CONNECTED,)


class Walk:
    """Chooses the next command for a world. The same random numbers, the same commands."""

    def __init__(self, world: World, rng: random.Random) -> None:
        self.world = world
        self.rng = rng
        self.number = 0
        self.calls: list[tuple[str, str, str]] = []
        """Client, call and the pool where it is reported first."""
        self.agents = {
            pool_id: [f"{pool_id}{number}" for number in range(count)]
            for pool_id, count in zip(world.pools, (5, 3), strict=False)
        }

    def opening(self) -> Iterator[c.Command]:
        """A centre that has just opened."""
        for pool_id, agents in self.agents.items():
            if self.rng.random() < 0.8:
                yield self.command(pool_id, self.pool_settings())
            for client in CLIENTS:
                for queue_id in QUEUES[:3]:
                    if self.rng.random() < 0.5:
                        yield self.command(pool_id, c.ConfigureQueue(self.queue(queue_id)), client)
                if self.rng.random() < 0.4:
                    yield self.command(pool_id, c.ConfigureClient(self.rules()), client)
            if self.rng.random() < 0.2:
                yield self.command(pool_id, c.ConfigureQueue(self.back_and_forth(pool_id)), "acme")
            for agent_id in agents:
                yield self.command(pool_id, self.log_in(agent_id))
                yield self.command(pool_id, c.MakeAgentAvailable(agent_id))

    def next(self) -> c.Command:
        """Time goes on a little, and something happens."""
        rng, world = self.rng, self.world
        world.clock += rng.choice((0, 0, 1, SECOND // 2, SECOND, SECOND, 3 * SECOND, 7 * SECOND))
        if rng.random() < 0.004:
            # A worker that is not there for so long, and sends its timers late.
            world.clock += round(rng.choice((0.1, 1, 5)) * HOUR)
        elif rng.random() < 0.004:
            world.wait(world.clock + round(rng.choice((0, 0, 0.1, 2, 30)) * HOUR))
        while True:
            (chosen,) = rng.choices(ACTIONS, _WEIGHTS)
            command = chosen(self)
            if command is not None:
                return command

    # Parts.

    def command(
        self, pool_id: str, body: c.Body, client: str = "", at: int | None = None
    ) -> c.Command:
        """Now, or somewhat late."""
        if isinstance(body, SETTINGS):
            # Two settings of one microsecond are not told from a repeat of the first one.
            self.world.clock += 1
        if at is None:
            at = self.world.clock
            if self.rng.random() < 0.06:
                at -= self.rng.choice((0, 1, SECOND, 10 * SECOND, 100 * SECOND, 2 * HOUR))
        self.number += 1
        own = isinstance(body, c.CallCommand | c.ClientCommand)
        client = client if own else c.CENTRE
        return c.Command(pool_id, f"n{self.number}", client, at, at, "", "", body)

    def pool_id(self) -> str:
        """The first pool is busier than the others."""
        ids = list(self.world.pools)
        return ids[0] if self.rng.random() < 0.6 else self.rng.choice(ids)

    def skills(self) -> Skills:
        return tuple((s, self.rng.randint(1, 5)) for s in SKILLS if self.rng.random() < 0.6)

    def required(self) -> Skills:
        return tuple((s, self.rng.randint(1, 4)) for s in SKILLS if self.rng.random() < 0.25)

    def groups(self, likely: float = 0.3) -> Groups:
        return tuple(group for group in GROUPS if self.rng.random() < likely)

    def agent(self, pool_id: str) -> str:
        return self.rng.choice(self.agents[pool_id])

    def log_in(self, agent_id: str) -> c.LogInAgent:
        if self.rng.random() < 0.1:
            return c.LogInAgent(agent_id)
        chats, emails = self.rng.randint(0, 3), self.rng.randint(0, 2)
        return c.LogInAgent(agent_id, self.skills(), self.groups(), "site", chats, emails)

    def step(self, actions: tuple[Overflow, ...]) -> Step:
        rng = self.rng
        return Step(
            rng.choice((0, 0, 5, 5, 10, 30, 60, 600)),
            rng.choice(actions),
            rng.choice(SKILLS),
            rng.randint(0, 2),
            self.groups(),
            rng.choice(QUEUES),
            rng.choice(list(self.world.pools)),
        )

    def queue(self, queue_id: str) -> Queue:
        rng = self.rng
        steps = [self.step(tuple(Overflow)[1:]) for _ in range(rng.choice((0, 0, 1, 2, 3)))]
        weekly = rng.choice(((), tuple(Interval(day, 540, 1020) for day in range(1, 8))))
        elsewhere = (Overflow.MOVE_TO_QUEUE, Overflow.MOVE_TO_POOL)
        return Queue(
            queue_id,
            required_skills=self.required(),
            preferred_skills=self.required(),
            priority=rng.choice((0, 0, 1, 5)),
            target_seconds=rng.choice((5, 20)),
            penalty=rng.choice((0.0, 1.0, 2.5)),
            groups=rng.choice(((), (), self.groups())),
            hours=None if rng.random() < 0.7 else Hours("Europe/Paris", weekly),
            when_closed=self.step((Overflow.CLOSE, Overflow.VOICEMAIL, *elsewhere, *elsewhere)),
            max_wait_seconds=rng.choice((0, 0, 20, 300)),
            when_full=rng.choice((Overflow.VOICEMAIL, Overflow.CLOSE)),
            steps=tuple(sorted(steps, key=lambda step: step.after_seconds)),
            sticky_days=rng.choice((0, 1, 30)),
            sticky_seconds=rng.choice((0, 20)),
            base_weight=rng.choice((0.0, 60.0)),
            wait_weight=rng.choice((0.0, 1.0, 2.0)),
            wrap_up_seconds=rng.choice((0, 0, 3)),
            callback_attempts=rng.randint(1, 3),
            callback_retry_seconds=rng.choice((1, 30)),
        )

    def back_and_forth(self, pool_id: str) -> Queue:
        """A queue that is never open, and hands over to its like in the other pool."""
        (other,) = (each for each in self.world.pools if each != pool_id)
        there = Step(0, Overflow.MOVE_TO_POOL, pool_id=other, queue_id="x")
        return Queue("x", hours=Hours("UTC"), when_closed=there)

    def rules(self) -> ClientRules:
        rng = self.rng
        vips = tuple(each for each in ("k1", "k2") if rng.random() < 0.5)
        return ClientRules(rng.choice((0.0, 0.3, 0.6)), rng.choice((0, 0, 1, 2)), vips, 3)

    def pool_settings(self) -> c.ConfigurePool:
        rng = self.rng
        return c.ConfigurePool(
            rng.choice((0, 5)),
            rng.choice((-1, 0, 4)),
            0.0,
            rng.choice(("", *POLICIES)),
            rng.choice((0, 1, 2, 3)),
            rng.choice((0, 5)),
            rng.choice(((), ("vip",))),
            rng.choice(((), ("night",))),
        )

    # What is there.

    def pick(self, *states: CallState, fits: Callable[[Call], bool] | None = None) -> Any:
        """(pool, call), or None."""
        pool_id = self.pool_id()
        there = [
            call
            for call in self.world.pools[pool_id].calls.values()
            if call.state in states and (fits is None or fits(call))
        ]
        return (pool_id, self.rng.choice(there)) if there else None

    def person(self, *states: AgentState) -> Any:
        """(pool, agent), or None."""
        pool_id = self.pool_id()
        agents = self.world.pools[pool_id].agents.values()
        there = [agent for agent in agents if agent.state in states]
        return (pool_id, self.rng.choice(there)) if there else None

    # What happens.

    def arrive(self) -> c.Command | None:
        pool_id = self.pool_id()
        if len(self.world.pools[pool_id].calls) >= OPEN_CALLS:
            return None
        rng = self.rng
        client, call_id = rng.choice(CLIENTS), f"c{len(self.calls) + 1}"
        self.calls.append((client, call_id, pool_id))
        if rng.random() < 0.1:
            return self.command(pool_id, self.queue_call(call_id), client)
        channel = rng.choice((*(Channel.VOICE,) * 4, *(Channel.CHAT,) * 3, *Channel))
        body = c.ReportCallArrived(call_id, channel, c.Direction.INBOUND, "", rng.choice(CUSTOMERS))
        return self.command(pool_id, body, client)

    def queue_call(self, call_id: str) -> c.QueueCall:
        rng = self.rng
        priority = rng.choice((0, 0, 0, 1, 9))
        auto_accept = rng.random() < 0.15
        return c.QueueCall(call_id, rng.choice(QUEUES), priority, self.required(), auto_accept)

    def enter(self) -> c.Command | None:
        return self.of_call(lambda call: self.queue_call(call.call_id), CallState.ARRIVED)

    def of_call(
        self,
        make: Callable[[Call], c.Body],
        *states: CallState,
        fits: Callable[[Call], bool] = lambda call: not call.main,
    ) -> c.Command | None:
        found = self.pick(*states, fits=fits)
        if found is None:
            return None
        pool_id, call = found
        return self.command(pool_id, make(call), call.client_id)

    def accept(self) -> c.Command | None:
        return self.of_call(
            lambda call: c.AcceptOffer(call.offer_id, call.agent_id),
            CallState.OFFERED,
            fits=lambda call: True,
        )

    def decline(self) -> c.Command | None:
        return self.of_call(
            lambda call: c.DeclineOffer(call.offer_id, call.agent_id, "no"),
            CallState.OFFERED,
            fits=lambda call: True,
        )

    def connect(self) -> c.Command | None:
        named = self.rng.random() < 0.5
        return self.of_call(
            lambda call: c.ReportCallConnected(call.call_id, call.agent_id if named else ""),
            CallState.ASSIGNED,
            CallState.OFFERED,
        )

    def end(self) -> c.Command | None:
        return self.of_call(lambda call: c.ReportCallEnded(call.call_id), CallState.CONNECTED)

    def abandon(self) -> c.Command | None:
        return self.of_call(
            lambda call: c.ReportCallAbandoned(call.call_id),
            CallState.ARRIVED,
            CallState.WAITING,
            CallState.OFFERED,
            CallState.ASSIGNED,
        )

    def hold(self) -> c.Command | None:
        return self.of_call(lambda call: c.ReportCallHeld(call.call_id), *TALKING)

    def resume(self) -> c.Command | None:
        return self.of_call(
            lambda call: c.ReportCallResumed(call.call_id),
            *TALKING,
            fits=lambda call: call.held_at > 0,
        )

    def to_agent(self) -> str:
        return self.agent(self.pool_id())

    def transfer(self) -> c.Command | None:
        def make(call: Call) -> c.Body:
            if self.rng.random() < 0.6:
                return c.TransferCall(call.call_id, call.agent_id, self.rng.choice(QUEUES))
            return c.TransferCall(call.call_id, call.agent_id, "", self.to_agent())

        return self.of_call(make, *TALKING)

    def ask(self) -> c.Command | None:
        rng = self.rng

        def make(call: Call) -> c.Body:
            kind = rng.choice(tuple(HelpKind)[1:])
            whom = rng.choice(("", "", self.to_agent()))
            skills, groups = self.required(), self.groups()
            return c.RequestHelp(call.call_id, call.agent_id, kind, whom, groups, skills)

        return self.of_call(make, *TALKING, fits=lambda call: not call.main and len(call.helps) < 2)

    def complete(self) -> c.Command | None:
        return self.of_call(
            lambda call: c.CompleteTransfer(call.call_id, call.agent_id),
            *TALKING,
            fits=lambda call: bool(call.helps),
        )

    def leave(self) -> c.Command | None:
        def make(call: Call) -> c.Body:
            main = call.call_id.partition("~")[0]
            asker = self.world.pools[pool_id].calls[call.main].agent_id
            return c.LeaveCall(main, self.rng.choice((call.agent_id or asker, asker)))

        found = self.pick(*CallState, fits=lambda call: bool(call.main))
        if found is None:
            return None
        pool_id, call = found
        return self.command(pool_id, make(call), call.client_id)

    def requeue(self) -> c.Command | None:
        return self.of_call(lambda call: c.RequeueCall(call.call_id), CallState.ASSIGNED, *TALKING)

    def accept_callback(self) -> c.Command | None:
        return self.of_call(lambda call: c.AcceptCallback(call.call_id), CallState.WAITING)

    def fail_callback(self) -> c.Command | None:
        return self.of_call(
            lambda call: c.ReportCallbackFailed(call.call_id, "busy"),
            CallState.ASSIGNED,
            fits=lambda call: call.callback,
        )

    def of_agent(self, make: Callable[[str], c.Body], *states: AgentState) -> c.Command | None:
        found = self.person(*(states or tuple(AgentState)))
        if found is None:
            return None
        pool_id, agent = found
        return self.command(pool_id, make(agent.agent_id))

    def come(self) -> c.Command | None:
        return self.of_agent(self.log_in, AgentState.LOGGED_OUT)

    def available(self) -> c.Command | None:
        return self.of_agent(
            c.MakeAgentAvailable,
            AgentState.LOGGED_IN,
            AgentState.ON_BREAK,
            AgentState.NOT_RESPONDING,
            AgentState.OTHER_CALL,
            AgentState.WRAP_UP,
        )

    def other(self) -> c.Command | None:
        return self.of_agent(c.StartOtherCall)

    def rest(self) -> c.Command | None:
        return self.of_agent(lambda agent: c.StartBreak(agent, self.rng.choice(("", "lunch"))))

    def wrap_up(self) -> c.Command | None:
        return self.of_agent(c.StartWrapUp)

    def go(self) -> c.Command | None:
        return self.of_agent(c.LogOutAgent)

    def lose(self) -> c.Command | None:
        return self.of_agent(c.ReportConnectionLost)

    def restore(self) -> c.Command | None:
        return self.of_agent(c.ReportConnectionRestored)

    def learn(self) -> c.Command | None:
        return self.of_agent(lambda agent: c.SetAgentSkills(agent, self.skills(), self.groups()))

    def configure(self) -> c.Command | None:
        rng, pool_id = self.rng, self.pool_id()
        expected = rng.choice((0, 0, 0, 1, 2))
        body: c.Body
        match rng.randrange(6):
            case 0:
                body = self.pool_settings()
            case 1:
                body = c.ConfigureClient(self.rules(), expected)
            case 2:
                body = c.RemoveQueue(rng.choice(QUEUES), expected)
            case _:
                body = c.ConfigureQueue(self.queue(rng.choice(QUEUES)), expected)
        return self.command(pool_id, body, rng.choice(CLIENTS))

    # Time.

    def timer(self) -> c.Command | None:
        """The first timer, if it is due or nearly so."""
        first = self.world.first_timer()
        if first is None:
            return None
        pool_id, timer = first
        near = self.rng.choice((0, 0, 10 * SECOND, 60 * SECOND))
        if timer.due > self.world.clock + near:
            return None
        self.world.clock = max(self.world.clock, timer.due)
        return self.world.timer_command(pool_id, timer)

    def early(self) -> c.Command | None:
        """A timer before its time."""
        pool_id = self.pool_id()
        timers = list(self.world.timers[pool_id].values())
        if not timers:
            return None
        timer = self.rng.choice(timers)
        at = max(0, timer.due - self.rng.choice((1, SECOND)))
        return self.command(pool_id, timer.body, timer.client_id, at)

    # What comes again, and what nobody should send.

    def again(self) -> c.Command | None:
        """What has been sent already: just now, or some time ago."""
        log, rng = self.world.log, self.rng
        if not log:
            return None
        command = rng.choice(log[-20:] if rng.random() < 0.7 else log[-400:])
        return None if self.begins_again(command) else command

    def begins_again(self, command: c.Command) -> bool:
        """Whether it would begin a call that was, and that the pool has forgotten by now."""
        body = command.body
        if not isinstance(body, c.ReportCallArrived | c.QueueCall):
            return False
        pool, stream = self.world.pools[command.pool_id], f"{command.client_id}/{body.call_id}"
        known = stream in pool.calls or stream in pool.finished
        return not known and command.occurred_at > pool.forgotten_until

    def deliver(self) -> c.Command | None:
        """What a pool has sent to another, in order."""
        return self.world.delivery(self.rng.randrange(8))

    def deliver_again(self) -> c.Command | None:
        """A take-over that has been delivered, perhaps long ago."""
        sent = [each for each in self.world.log if isinstance(each.body, c.TakeOverCall)]
        return self.rng.choice(sent) if sent else None

    def forged(self) -> c.Command | None:
        """A take-over from a pool that is not here."""
        client, pool_id = self.rng.choice(CLIENTS), self.pool_id()
        call_id = f"c{len(self.calls) + 1}"
        self.calls.append((client, call_id, pool_id))
        at = self.world.clock
        body = c.TakeOverCall(
            call_id,
            self.rng.choice(QUEUES),
            "elsewhere",
            self.rng.randint(2, 9),
            at - 20 * SECOND,
            at - 10 * SECOND,
            self.rng.choice((0, 1)),
            self.required(),
            self.rng.choice(tuple(Channel)),
            self.rng.choice(CUSTOMERS),
        )
        return self.command(pool_id, body, client, at)

    def any_report(self) -> c.Command | None:
        """Anything about any recent call, or about none, by where it is or was reported first."""
        rng = self.rng
        if not self.calls:
            return None
        client, call_id, pool_id = rng.choice(self.calls[-RECENT:])
        stream = f"{client}/{call_id}"
        has_it = self.world.holder(stream)
        if has_it and rng.random() < 0.5:
            pool_id = has_it
        if rng.random() < 0.03:
            call_id = "nobody"
        body = rng.choice(_REPORTS)(self, call_id, self.agent(pool_id))
        command = self.command(pool_id, body, client)
        return None if self.begins_again(command) else command

    def any_agent(self) -> c.Command | None:
        pool_id = self.pool_id()
        agent_id = self.agent(pool_id) if self.rng.random() < 0.95 else f"{pool_id}-ghost"
        offer = f"{pool_id}:{max(0, self.world.pools[pool_id].offers - self.rng.randrange(6))}"
        stream = "/".join(self.rng.choice(self.calls)[:2]) if self.calls else "acme/c1"
        makers: tuple[Callable[[], c.Body], ...] = (
            lambda: self.log_in(agent_id),
            lambda: c.SetAgentSkills(agent_id, self.skills(), self.groups()),
            lambda: c.AcceptOffer(offer, agent_id),
            lambda: c.DeclineOffer(offer, agent_id),
            lambda: c.ExpireOffer(offer, agent_id),
            lambda: c.FinishWrapUp(agent_id, self.rng.choice(("", stream))),
            lambda: c.LogOutLostAgent(agent_id),
            lambda: c.AdvanceCall(self.rng.choice((stream, f"{stream}~1"))),
        )
        return self.command(pool_id, self.rng.choice(makers)())


_REPORTS: tuple[Callable[[Walk, str, str], c.Body], ...] = (
    lambda walk, call, agent: c.ReportCallArrived(call),
    lambda walk, call, agent: walk.queue_call(call),
    lambda walk, call, agent: c.ReportCallAbandoned(call),
    lambda walk, call, agent: c.ReportCallConnected(call, walk.rng.choice(("", agent))),
    lambda walk, call, agent: c.ReportCallEnded(call),
    lambda walk, call, agent: c.ReportCallHeld(call),
    lambda walk, call, agent: c.ReportCallResumed(call),
    lambda walk, call, agent: c.AcceptCallback(call),
    lambda walk, call, agent: c.ReportCallbackFailed(call),
    lambda walk, call, agent: c.RequeueCall(call),
    lambda walk, call, agent: c.TransferCall(call, agent, walk.rng.choice(QUEUES)),
    lambda walk, call, agent: c.TransferCall(call, agent, "", walk.to_agent()),
    lambda walk, call, agent: c.RequestHelp(call, agent, HelpKind.HELP, walk.to_agent()),
    lambda walk, call, agent: c.CompleteTransfer(call, agent),
    lambda walk, call, agent: c.LeaveCall(call, agent),
)
_CHOICES: tuple[tuple[Callable[[Walk], c.Command | None], float], ...] = (
    (Walk.arrive, 12),
    (Walk.enter, 16),
    (Walk.accept, 16),
    (Walk.decline, 1),
    (Walk.connect, 14),
    (Walk.end, 8),
    (Walk.abandon, 2),
    (Walk.hold, 2),
    (Walk.resume, 2),
    (Walk.transfer, 2.5),
    (Walk.ask, 3),
    (Walk.complete, 2),
    (Walk.leave, 1.5),
    (Walk.requeue, 1),
    (Walk.accept_callback, 2),
    (Walk.fail_callback, 4),
    (Walk.come, 6),
    (Walk.available, 9),
    (Walk.other, 0.7),
    (Walk.rest, 0.7),
    (Walk.wrap_up, 0.7),
    (Walk.go, 0.5),
    (Walk.lose, 1),
    (Walk.restore, 1),
    (Walk.learn, 0.7),
    (Walk.configure, 0.7),
    (Walk.timer, 14),
    (Walk.early, 1),
    (Walk.again, 5),
    (Walk.deliver, 8),
    (Walk.deliver_again, 1),
    (Walk.forged, 0.3),
    (Walk.any_report, 8),
    (Walk.any_agent, 3),
)
ACTIONS = [action for action, _ in _CHOICES]
_WEIGHTS = [weight for _, weight in _CHOICES]
