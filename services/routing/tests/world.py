"""Pools that exchange calls, told one command after the other, and looked at after each."""

from collections import Counter, deque
from collections.abc import Iterable

from eventkit.ids import derived_id
from services.routing import commands as c
from services.routing import events as e
from services.routing.codec import decode_pool, encode_event, encode_pool
from services.routing.engine import Rejected, Timer, all_subjects, apply, subjects, timer_of
from services.routing.pool import Pool
from services.routing.tests import invariants
from services.routing.tests.watcher import Watcher

START = 1_774_000_000 * c.SECOND
"""In March 2026, some days before the clocks change."""
SNAPSHOT_EVERY = 97
LOOPS = 3_000
"""More commands than that never follow from time alone."""

ANSWERS = (c.AcceptOffer, c.DeclineOffer, c.ExpireOffer)
MISSED = (e.CallOfferExpired, e.CallOfferDeclined)
BEGINNINGS = (c.ReportCallArrived, c.QueueCall, c.TakeOverCall)
Events = list[e.Event | e.Sent]


class World:
    """Each pool has a twin that is told the same, except for what is rejected, and is restored

    from a snapshot now and then. timers: what a worker would have set.
    """

    def __init__(self, pool_ids: Iterable[str] = ("p", "q")) -> None:
        self.clock = START
        self.pools = {pool_id: Pool(pool_id) for pool_id in pool_ids}
        self.twins = {pool_id: Pool(pool_id) for pool_id in self.pools}
        self.watcher = Watcher()
        self.log: list[c.Command] = []
        self.timers: dict[str, dict[str, Timer]] = {pool_id: {} for pool_id in self.pools}
        """By pool and subject."""
        self.posts: dict[tuple[str, str], deque[c.Command]] = {}
        """(from, to): what is on its way between two pools."""
        self.answers: set[str] = set()
        """The commands that answered an open offer."""
        self.seen: Counter[str] = Counter()
        """How often which command was taken, was rejected, and which event there was."""
        self.idle: dict[str, invariants.Idle] = {}
        """By pool: who can be offered something."""
        self._accepted: set[str] = set()

    def apply(self, command: c.Command) -> Events:
        """Raises AssertionError where something does not hold."""
        c.check(command)
        self.log.append(command)
        body, pool_id = command.body, command.pool_id
        pool = self.pools[pool_id]
        if isinstance(body, ANSWERS) and body.offer_id == self.open_offer(pool_id, body.agent_id):
            self.answers.add(command.command_id)
        due = self._is_due(pool, command)
        kind = type(body).__name__
        moved = self._has_moved(pool, command)
        try:
            events = apply(pool, command)
        except Rejected:
            self.seen[f"{kind}, rejected"] += 1
            assert pool == self.twins[pool_id], "a rejected command has changed something"
            return []
        self.seen[kind] += 1
        self.seen.update(type(getattr(event, "body", event)).__name__ for event in events)
        assert due or not events, "a timer that is not due has done something"
        assert not moved or is_passed_on(command, events), "a report that nobody is told"
        self._check_repeat(command, events)
        self._tell_twin(command, events)
        self._post(command, events)
        offers = self.watcher.see(pool_id, events)
        self._check_missed(pool, events)
        timers = invariants.all_timers(pool)
        idle_before = self.idle.get(pool_id, {})
        self.idle[pool_id] = invariants.check(pool, timers, offers, idle_before)
        moving = {
            f"{each.client_id}/{each.body.call_id}": (each.pool_id, each.body.version)
            for post in self.posts.values()
            for each in post
            if isinstance(each.body, c.TakeOverCall)
        }
        others = [other for name, other in self.pools.items() if name != pool_id]
        self.watcher.compare(pool, others, moving)
        self._set_timers(pool, command, events, timers)
        return events

    def _is_due(self, pool: Pool, command: c.Command) -> bool:
        """False for a timer's command before its time, or after another has overtaken it."""
        body = command.body
        if not isinstance(body, c.TimerCommand):
            return True
        if isinstance(body, c.AdvanceCall):
            timer = timer_of(pool, body.call)
            return timer is not None and timer.due <= command.occurred_at
        agent = pool.agents.get(body.agent_id)
        if agent is None:
            return False
        due: int | None = None
        match body:
            case c.ExpireOffer():
                if body.offer_id == self.open_offer(pool.pool_id, body.agent_id):
                    due = pool.calls[agent.offered].offer_expires_at
            case c.FinishWrapUp():
                wrap_up = agent.wrap_ups.get(body.call)
                due = wrap_up.ends_at if wrap_up else None
            case c.LogOutLostAgent():
                if agent.lost_at >= 0:
                    due = agent.lost_at + pool.settings.lost_seconds * c.SECOND
        return due is not None and due <= command.occurred_at

    def _has_moved(self, pool: Pool, command: c.Command) -> bool:
        """Whether it reports about a call that has gone from this pool to another one."""
        body = command.body
        if isinstance(body, BEGINNINGS) or not isinstance(body, c.CallCommand):
            return False
        stream = f"{command.client_id}/{body.call_id}"
        seen = self.watcher.calls.get(stream)
        return seen is not None and seen.pool_id != pool.pool_id and stream in pool.finished

    def _check_repeat(self, command: c.Command, events: Events) -> None:
        """What a command does, it does once, in whichever pool."""
        if isinstance(command.body, c.AdvanceCall):
            return  # Another step may be due by the same time.
        decided = [event for event in events if not isinstance(event, e.Sent)]
        assert not (decided and command.command_id in self._accepted), "a repeat does something"
        if not is_passed_on(command, events):
            self._accepted.add(command.command_id)

    def _check_missed(self, pool: Pool, events: Events) -> None:
        """Nobody waits on for the one agent who has just not answered."""
        for event in events:
            body = getattr(event, "body", None)
            if isinstance(event, e.CallEvent) and isinstance(body, MISSED):
                call = pool.calls.get(event.stream_id)
                waits = call is not None and call.only_agent == body.agent_id
                assert not waits, "waits for who has not answered"

    def _tell_twin(self, command: c.Command, events: Events) -> None:
        pool_id = command.pool_id
        pool, twin = self.pools[pool_id], self.twins[pool_id]
        others = apply(twin, command)
        assert others == events, "the same log, and other events"
        if len(self.log) % SNAPSHOT_EVERY:
            return
        assert twin == pool, "the same log, and another pool"
        data = encode_pool(pool)
        assert encode_pool(twin) == data, "the same log, and other bytes"
        restored = self.twins[pool_id] = decode_pool(data)
        assert restored == pool, "a restored pool is another one"
        invariants.check_fresh(pool)
        for event, other in zip(events, others, strict=True):
            if not (isinstance(event, e.Sent) or isinstance(other, e.Sent)):
                assert encode_event(command, event) == encode_event(command, other)

    def _post(self, command: c.Command, events: Events) -> None:
        """To other pools: in order, as one partition's worker writes to another's log."""
        for number, event in enumerate(events):
            if not isinstance(event, e.Sent):
                continue
            assert event.pool_id in self.pools
            own = derived_id("sent", command.pool_id, command.command_id, number)
            sent = c.command_for(
                event.pool_id,
                event.body,
                command_id=own if isinstance(event.body, c.TakeOverCall) else command.command_id,
                client_id=event.client_id,
                occurred_at=event.occurred_at,
                recorded_at=event.occurred_at,
                actor="",
            )
            post = self.posts.setdefault((command.pool_id, event.pool_id), deque())
            post.append(sent)

    def _set_timers(
        self, pool: Pool, command: c.Command, events: Events, timers: dict[str, Timer]
    ) -> None:
        """As the worker does it: those that the events have changed, or all."""
        body, here = command.body, self.timers[pool.pool_id]
        sent = [each for each in here.items() if is_timer(command, each[1])]
        changed = set(subjects(events, body))
        if isinstance(body, c.Configuration):
            changed |= {*all_subjects(pool)}
        for subject in changed:
            timer = timer_of(pool, subject)
            if timer is None:
                here.pop(subject, None)
            else:
                here[subject] = timer
        assert here == timers, "a timer that the worker does not know"
        assert all(here.get(subject) != timer for subject, timer in sent), "a timer without effect"

    def open_offer(self, pool_id: str, agent_id: str) -> str:
        """The agent's; "" none."""
        pool = self.pools[pool_id]
        agent = pool.agents.get(agent_id)
        return pool.calls[agent.offered].offer_id if agent and agent.offered else ""

    # What follows by itself.

    def timer_command(self, pool_id: str, timer: Timer) -> c.Command:
        """As the worker sends it: the same timer has the same id."""
        return c.Command(
            pool_id,
            f"{pool_id} {timer.due} {timer.stage} {timer.body}"[: c.MAX_COMMAND_ID],
            timer.client_id,
            timer.due,
            timer.due,
            "",
            "",
            timer.body,
        )

    def first_timer(self) -> tuple[str, Timer] | None:
        """The one that is due first, and its pool."""
        timers = ((name, each) for name, here in self.timers.items() for each in here.values())
        return min(timers, key=lambda each: (each[1].due, each[0], each[1].about), default=None)

    def delivery(self, pick: int = 0) -> c.Command | None:
        """The next command that one pool has sent to another. Taken when it is returned."""
        posts = [post for post in self.posts.values() if post]
        return posts[pick % len(posts)].popleft() if posts else None

    def holder(self, stream: str) -> str:
        """The pool that has the call; "" none."""
        return next((name for name, pool in self.pools.items() if stream in pool.calls), "")

    def wait(self, until: int) -> None:
        """Let time go on: all that becomes due, and all that is on its way, until nothing is."""
        for _ in range(LOOPS):
            command = self.delivery()
            if command is None:
                first = self.first_timer()
                if first is None or first[1].due > until:
                    self.clock = max(self.clock, until)
                    return
                self.clock = max(self.clock, first[1].due)
                command = self.timer_command(*first)
            self.apply(command)
        raise AssertionError("it never comes to rest")


def is_passed_on(command: c.Command, events: Events) -> bool:
    return [event.body for event in events if isinstance(event, e.Sent)] == [command.body]


def is_timer(command: c.Command, timer: Timer) -> bool:
    return (command.occurred_at, command.body) == (timer.due, timer.body)
