"""No sequence of commands, at whatever times, however often, in whatever order, makes an order
whose total, visit or checklist contradict its lifecycle. What must be so is written down here once
more, without asking order.py."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from eventkit.decider import Invalid, NotFound, Rejected, fold
from services.orders.addresses.address import Address
from services.orders.forms.form import Form
from services.orders.order import commands as cmd
from services.orders.order import events as ev
from services.orders.order import order as o
from services.orders.order.state import Order
from services.orders.order.tests.support import (
    AUTOMATIC,
    FORM,
    HOUR,
    LYON,
    MARAIS,
    MINUTE,
    ORIGIN,
    PARIS,
    T0,
    area_of,
    rules,
)
from services.orders.prices.pricing import Promotion, quote

ADDRESSES = [PARIS, MARAIS, LYON]
POINTS = ["passport", "when", "amount", "hint", "socket"]
SHORT = Promotion("short", "For an hour", (), T0, T0 + HOUR, percent=Decimal(10))
LONG = Promotion("long", "For ever", (), 0, 100 * T0, percent=Decimal(50))


def when(visit: ev.Visit) -> str:
    """What the customer is told of it: the whole truth, on the client's wall."""
    starts, ends = (
        datetime.fromtimestamp(us / 1_000_000, ZoneInfo("Europe/Paris"))
        for us in (visit.starts_at, visit.ends_at)
    )
    return starts.strftime("%Y-%m-%d %H:%M to ") + ends.strftime("%H:%M ") + str(starts.tzname())


STEPS = {
    ev.Status.NONE: {ev.Status.DRAFT},
    ev.Status.DRAFT: {
        ev.Status.PLACED,
        ev.Status.CONFIRMED,
        ev.Status.CANCELLED,
        ev.Status.EXPIRED,
    },
    ev.Status.PLACED: {ev.Status.CONFIRMED, ev.Status.CANCELLED},
    ev.Status.CONFIRMED: {ev.Status.FULFILLED, ev.Status.CANCELLED},
    ev.Status.FULFILLED: {ev.Status.RETURNED, ev.Status.FAILED},
}
SOLD = {
    *(
        ev.Status.PLACED,
        ev.Status.CONFIRMED,
        ev.Status.FULFILLED,
        ev.Status.RETURNED,
        ev.Status.FAILED,
    ),
}
AFTER_VISIT = {ev.Status.FULFILLED, ev.Status.RETURNED, ev.Status.FAILED}
ANSWERS: dict[str, st.SearchStrategy[Any]] = {
    "plan": st.sampled_from(["slow", "fast", None, "medium"]),
    "routers": st.sampled_from([0, 1, 3, None]),
    "install": st.sampled_from(["crew", "self", None]),
    "floor": st.sampled_from([0, 4, None]),
    "invoice": st.sampled_from(["paper", "none"]),
    "note": st.sampled_from(["x", None]),
}


BETWEEN: dict[str, Callable[[Any], object]] = {
    "another street": lambda life: life.give("home", MARAIS),
    "another town": lambda life: life.give("home", LYON),
    "another town, confirmed": lambda life: (
        life.give("home", LYON),
        life.confirm_address("home"),
    ),
    "no crew": lambda life: life.save({"install": "self"}),
    "no crew, told": lambda life: (life.save({"install": "self"}), life.tick("socket")),
    "another plan": lambda life: life.save({"plan": "slow"}),
    "no answer": lambda life: life.save({"plan": None}),
    "an invoice": lambda life: life.save({"invoice": "paper"}),
    "another visit": lambda life: life.schedule(5, ev.Moved.CUSTOMER),
    "no visit": lambda life: life.release(),
    "a discount": lambda life: life.promotion("short", True),
    "a discount, told, over": lambda life: (
        life.promotion("short", True),
        life.tick("amount"),
        life.time_goes_by(59),
    ),
    "a discount, told, withdrawn": lambda life: (
        life.promotion("short", True),
        life.tick("amount"),
        life.promotion_withdrawn(),
    ),
    "not told": lambda life: life.untick("passport"),
    "too late": lambda life: life.time_goes_by(60),
}


class Life(RuleBasedStateMachine):
    """One order. `now` goes forward, and sometimes a little back, as clocks of two machines do."""

    form: Form = FORM

    def __init__(self) -> None:
        super().__init__()
        self.now = T0
        self.state = o.DECIDER.initial
        self.events: list[ev.Event] = []
        self.visits = 0
        self.published = [SHORT, LONG]

    @property
    def law(self) -> cmd.Rules:
        return rules(self.form, *self.published)

    def do(self, command: cmd.Command) -> bool:
        before = self.state
        try:
            events = o.decide(command, before)
        except (Rejected, Invalid, NotFound):
            return False
        self.state = fold(o.DECIDER, events, before)
        self.events += events
        self.check_step(before, events)
        # What has just been done is done.
        assert o.decide(command, self.state) == []
        return True

    # What may come, at any time.

    @initialize(far=st.integers(0, 9))
    def begin(self, far: int) -> None:
        """Most lives begin further on: little can be done with an order that there is not."""
        if far > 0:
            self.draft({"plan": "slow", "install": "crew"})
        if far > 4:
            self.take_and_place("")

    @rule(minutes=st.sampled_from([1, 10, 20, 30, -1, 59, 60, 400, 15 * 24 * 60]))
    def time_goes_by(self, minutes: int) -> None:
        self.now += minutes * MINUTE

    @rule(late=st.integers(0, 3))
    def timers_fire(self, late: int) -> None:
        for name, at in o.timers(self.state).items():
            if at <= self.now - late * 10 * MINUTE:
                assert self.do(o.due("", name, at))

    @rule(answers=st.fixed_dictionaries({}, optional=ANSWERS))
    def draft(self, answers: dict[str, Any]) -> None:
        self.do(cmd.DraftOrder(self.now, self.law, ORIGIN, answers))

    @rule(answers=st.fixed_dictionaries({}, optional=ANSWERS))
    def save(self, answers: dict[str, Any]) -> None:
        self.do(cmd.SaveAnswers(self.now, self.law, answers))

    @rule(name=st.sampled_from(["home", "home", "post"]), address=st.sampled_from(ADDRESSES))
    def give(self, name: str, address: Address) -> None:
        area = area_of(address) if o.needs_area(self.state, self.law, name) else None
        self.do(cmd.GiveAddress(self.now, self.law, name, address, "a", area))

    @rule(name=st.sampled_from(["home", "post"]))
    def confirm_address(self, name: str) -> None:
        self.do(cmd.ConfirmAddress(self.now, self.law, name, "a"))

    @rule(id=st.sampled_from(["short", "long"]), apply=st.booleans())
    def promotion(self, id: str, apply: bool) -> None:
        make: Callable[..., cmd.Command] = cmd.ApplyPromotion if apply else cmd.RemovePromotion
        self.do(make(self.now, self.law, id))

    @rule()
    def promotion_withdrawn(self) -> None:
        self.published = [LONG]

    @rule(point=st.sampled_from(POINTS))
    def tick(self, point: str) -> None:
        self.do(cmd.TickPoint(self.now, self.law, point, "a"))

    @rule(point=st.sampled_from(POINTS))
    def untick(self, point: str) -> None:
        self.do(cmd.UntickPoint(self.now, self.law, point))

    @precondition(lambda self: self.state.status is not ev.Status.NONE)
    @rule(hours=st.integers(-1, 30), reason=st.sampled_from(ev.Moved))
    def schedule(self, hours: int, reason: ev.Moved) -> None:
        try:
            address = o.visit_address(self.state, self.law, self.now)
        except Rejected:
            return
        held = self.state.visit
        area = area_of(address) if address else held.area_id if held else "75"
        self.visits += 1
        starts_at = self.now + hours * HOUR
        visit = ev.Visit(f"v-{self.visits}", "c", area, "fibre", starts_at, starts_at + HOUR)
        self.do(cmd.ScheduleVisit(self.now, self.law, visit, reason))

    @rule()
    def release(self) -> None:
        self.do(cmd.ReleaseVisit(self.now, self.law))

    @rule()
    def place(self) -> None:
        self.do(cmd.PlaceOrder(self.now, self.law))

    @precondition(lambda self: self.state.status is ev.Status.DRAFT)
    @rule(between=st.sampled_from(["", "", *BETWEEN]))
    def take_and_place(self, between: str) -> None:
        """What an agent does who is in a hurry, and what may come just before the last step:
        placed orders would be rare otherwise, and nearly wrong ones, too."""
        self.do(cmd.SaveAnswers(self.now, self.law, {"plan": "fast", "install": "crew"}))
        self.give("home", PARIS)
        self.confirm_address("home")
        if self.state.values.get("invoice") == "paper":
            self.give("post", PARIS)
        if self.state.visit is None:
            self.schedule(3, ev.Moved.CUSTOMER)
        for point in POINTS:
            self.tick(point)
        BETWEEN.get(between, lambda _: None)(self)
        self.place()

    @rule(reference=st.sampled_from(["", "r-1", "r-2"]))
    def confirm(self, reference: str) -> None:
        self.do(cmd.ConfirmOrder(self.now, reference))

    @rule()
    def fulfil(self) -> None:
        self.do(cmd.FulfilOrder(self.now, self.law))

    @rule(
        reason=st.sampled_from(["changed-mind", "too-late"]),
        by=st.sampled_from(ev.Party),
        sure=st.integers(0, 9),
    )
    def cancel(self, reason: str, by: ev.Party, sure: int) -> None:
        if sure == 9:  # Or most lives would be short.
            self.do(cmd.CancelOrder(self.now, self.law, reason, by))

    @precondition(lambda self: self.state.placed is not None)
    @rule(
        early=st.booleans(),
        missed=st.sampled_from([None, None, None, *ev.MissedBy]),
        undone=st.sampled_from([None, *ev.AfterSale]),
    )
    def go_on(self, early: bool, missed: ev.MissedBy | None, undone: ev.AfterSale | None) -> None:
        """What comes next when all goes well, or when the crew does not come."""
        self.do(cmd.ConfirmOrder(self.now, "r-1"))
        if self.state.visit is not None:
            hours = 0 if early else 1
            self.now = max(self.now, self.state.visit.ends_at) + hours * HOUR
            self.do(cmd.ReportVisit(self.now, self.state.visit.visit_id, missed))
        self.do(cmd.FulfilOrder(self.now, self.law))
        if undone is not None:
            self.after_sale(undone)

    @precondition(lambda self: self.visits > 0)
    @rule(back=st.integers(0, 1), missed=st.sampled_from([None, None, *ev.MissedBy]))
    def report(self, back: int, missed: ev.MissedBy | None) -> None:
        current = self.state.visit
        id = f"v-{self.visits - back}" if current is None or back else current.visit_id
        self.do(cmd.ReportVisit(self.now, id, missed))

    @rule(sure=st.integers(0, 9))
    def forget(self, sure: int) -> None:
        if sure == 9:
            self.do(cmd.ForgetCustomer(self.now))

    @rule(outcome=st.sampled_from(ev.AfterSale))
    def after_sale(self, outcome: ev.AfterSale) -> None:
        self.do(cmd.ReportAfterSale(self.now, self.law, outcome, "withdrawn"))

    # What must be so.

    def check_step(self, before: Order, events: Any) -> None:
        after = self.state
        if before.status is not after.status:
            assert after.status in STEPS[before.status], (before.status, after.status)
        assert after.at >= before.at
        assert all(event.origin == ORIGIN for event in events)
        for event in events:
            if isinstance(event, ev.OrderPlaced):
                self.check_placement(before, event)
            if isinstance(event, ev.OrderVisitOverdue):
                assert event.at == event.visit.ends_at + 30 * MINUTE
        if before.placed is not None:
            # What was placed, and what had been told of it, is frozen.
            assert after.placed == before.placed
            assert after.answers == before.answers
            assert after.addresses == before.addresses
            assert after.promotions == before.promotions
            assert {**after.ticks, "when": None} == {**before.ticks, "when": None}

    def check_placement(self, draft: Order, placed: ev.OrderPlaced) -> None:
        """Everything that placing demands was so the moment before."""
        answers = {name: value for name, value in draft.values.items()}
        assert self.law.faults(answers, False) == []
        assert draft.expires_at > placed.at
        home = draft.addresses["home"]
        assert home.confirmed_at is not None
        if answers.get("invoice") == "paper":
            assert "post" in draft.addresses
        crew = answers["install"] == "crew"
        assert (placed.visit is not None) is crew
        wanted = quote(
            self.form.prices,
            answers,
            [one for one in self.published if one.promotion_id in draft.promotions],
            product_id="line",
            currency="EUR",
            digits=2,
            at=placed.at,
        )
        assert placed.quote == replace(
            wanted, lines=tuple(replace(line, why="") for line in wanted.lines)
        )
        assert {one.promotion_id for one in self.published} >= set(draft.promotions)
        # Told: of this visit, of this amount.
        assert "passport" in draft.ticks
        assert f"{wanted.total:f} EUR" in draft.ticks["amount"].said
        assert f"monthly {wanted.monthly:f} EUR" in draft.ticks["amount"].said
        if placed.visit is not None:
            assert placed.visit.starts_at >= placed.at
            assert placed.visit.area_id == area_of(home.address)
            assert draft.ticks["when"].said == when(placed.visit)
        else:
            assert "socket" in draft.ticks

    @invariant()
    def the_total_fits_the_lifecycle(self) -> None:
        state = self.state
        if state.status in SOLD:
            assert state.placed is not None
        if state.status in (ev.Status.NONE, ev.Status.DRAFT, ev.Status.EXPIRED):
            assert state.placed is None
        if state.placed is None:
            assert state.sale is None
            return
        made = state.placed.quote
        assert made.total == sum(line.amount for line in made.lines if line.period == "once")
        assert made.monthly == sum(line.amount for line in made.lines if line.period == "monthly")
        assert min(made.total, made.monthly) >= 0
        ended = state.ended
        if ended is not None:
            assert ended.sale == state.sale

    @invariant()
    def the_visit_fits_the_lifecycle(self) -> None:
        state = self.state
        scheduled = state.visit_status is ev.VisitStatus.SCHEDULED
        assert (state.visit is None) is (state.visit_status is ev.VisitStatus.NONE)
        if state.status is ev.Status.DRAFT and state.visit is not None:
            # It is what the answers and the address need.
            assert scheduled
            assert state.values["install"] == "crew"
            assert state.visit.area_id == area_of(state.addresses["home"].address)
        if state.status in SOLD:
            assert state.placed is not None
            assert (state.visit is None) is (state.placed.visit is None)
        if state.status in AFTER_VISIT:
            assert state.visit_status in (ev.VisitStatus.NONE, ev.VisitStatus.DONE)
        if state.status in (ev.Status.CANCELLED, ev.Status.EXPIRED):
            assert not scheduled
        if state.overdue and scheduled:
            assert state.status in (ev.Status.PLACED, ev.Status.CONFIRMED)
        noticed = [
            event.visit.visit_id for event in self.events if isinstance(event, ev.OrderVisitOverdue)
        ]
        assert len(set(noticed)) == len(noticed)
        if state.visit is not None:
            assert (state.visit.visit_id in state.missed) is (
                state.visit_status is ev.VisitStatus.MISSED
            )

    @invariant()
    def the_checklist_fits_the_lifecycle(self) -> None:
        state = self.state
        if state.status is ev.Status.NONE:
            return
        for told in o.checklist(state, self.law, self.now):
            if told.holds and told.point.says == "visit":
                assert told.tick is not None
                assert state.visit is not None
                assert told.tick.said == when(state.visit)
            if state.status in SOLD and told.point.required and told.point.says != "visit":
                assert told.holds

    @invariant()
    def what_is_due_fits_the_lifecycle(self) -> None:
        state, due = self.state, set(o.timers(self.state))
        if state.status is ev.Status.DRAFT:
            assert due == {o.EXPIRY}
        elif state.status in (ev.Status.PLACED, ev.Status.CONFIRMED):
            waits = state.visit_status is ev.VisitStatus.SCHEDULED and not state.overdue
            assert due == ({o.OVERDUE} if waits else set())
        else:
            assert due == set()

    def teardown(self) -> None:
        """It is what its events say."""
        assert fold(o.DECIDER, self.events) == self.state

    @invariant()
    def next_steps_are_never_refused_for_the_state(self) -> None:
        state = self.state
        if state.status is ev.Status.NONE:
            return
        now = max(self.now, state.at)
        steps = o.steps(state, self.law, now)
        if "place" in steps:
            assert o.decide(cmd.PlaceOrder(now, self.law), state)
        if "fulfil" in steps:
            assert o.decide(cmd.FulfilOrder(now, self.law), state)
        if "cancel" in steps:
            command = cmd.CancelOrder(now, self.law, "too-late", ev.Party.CENTRE)
            assert o.decide(command, state)
        if "confirm" in steps:
            assert o.decide(cmd.ConfirmOrder(now), state)


class AutomaticLife(Life):
    """Where nobody has to confirm."""

    form = AUTOMATIC


@pytest.mark.parametrize("between", BETWEEN)
@pytest.mark.parametrize("begun", [Life, AutomaticLife])
def test_just_before_the_last_step(begun: type[Life], between: str) -> None:
    life = begun()
    life.draft({})
    life.take_and_place(between)
    life.the_total_fits_the_lifecycle()
    life.the_visit_fits_the_lifecycle()
    life.the_checklist_fits_the_lifecycle()
    life.teardown()


_SETTINGS = settings(
    max_examples=60,
    stateful_step_count=30,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
TestLife = Life.TestCase
TestLife.settings = _SETTINGS
TestAutomaticLife = AutomaticLife.TestCase
TestAutomaticLife.settings = _SETTINGS
