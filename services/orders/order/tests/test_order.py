"""What an order decides: given what happened, when a command comes, then this happens."""

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal

import pytest

from eventkit.decider import Invalid, NotFound, Rejected, fold
from services.orders.addresses.address import Address
from services.orders.forms.form import Says
from services.orders.order import commands as cmd
from services.orders.order import events as ev
from services.orders.order import order as o
from services.orders.order.tests.support import (
    AUTOMATIC,
    CONFIRMED,
    DAY,
    FORM,
    FULFILLED,
    HOUR,
    LYON,
    MARAIS,
    MINUTE,
    ORIGIN,
    OTHER,
    PLACED,
    PROMOTION,
    READY,
    RULES,
    T0,
    VISITED,
    WITHOUT_VISIT,
    after_sale,
    apply,
    book,
    cancel,
    confirm,
    done,
    draft,
    fulfil,
    give,
    missed,
    place,
    release,
    remove,
    rules,
    save,
    state_after,
    tick,
    untick,
    visit,
    yes,
)

EXPIRES = T0 + 60 * MINUTE
DRAFT = (draft(plan="fast", install="crew"),)
CANCELLED = (*PLACED, cancel())
RETURNED = (*FULFILLED, after_sale())
MISSED = (*PLACED, missed())
EXPIRED = (*DRAFT, cmd.ExpireDraft(EXPIRES))
SECOND = visit(T0 + 8 * HOUR, "v-2", crew="c-2")


def events(given: Sequence[cmd.Command], when: cmd.Command) -> list[str]:
    """The names of what happens, without the word that all have."""
    found = o.decide(when, state_after(*given))
    return [type(event).__name__.removeprefix("Order") for event in found]


def test_drafted_with_what_the_form_knows_already() -> None:
    drafted, saved = o.decide(draft(install="crew", note="Ring twice"), o.DECIDER.initial)
    assert drafted == ev.OrderDrafted(T0, ORIGIN, "", EXPIRES)
    assert saved == ev.OrderAnswersSaved(
        T0,
        ORIGIN,
        ("floor", "install", "invoice", "note", "routers"),
        {
            "floor": "0",
            "install": '"crew"',
            "invoice": '"none"',
            "note": '"Ring twice"',
            "routers": "1",
        },
        (),
        EXPIRES,
    )


@pytest.mark.parametrize(
    ("given", "when", "then"),
    [
        # Answers.
        (DRAFT, save(plan="slow"), ["AnswersSaved"]),
        (DRAFT, save(floor=None), ["AnswersSaved"]),
        (READY, save(note="Later"), ["AnswersSaved"]),
        (READY, save(install="self"), ["AnswersSaved", "VisitReleased"]),
        # Addresses.
        (DRAFT, give(), ["AddressGiven"]),
        ((*DRAFT, give()), yes(), ["AddressConfirmed"]),
        (READY, give(address=MARAIS), ["AddressGiven"]),
        (READY, give(address=LYON), ["AddressGiven", "VisitReleased"]),
        ((*DRAFT, save(invoice="paper")), give(name="post"), ["AddressGiven"]),
        # Promotions.
        (DRAFT, apply(), ["PromotionApplied"]),
        ((*DRAFT, apply()), remove(), ["PromotionRemoved"]),
        # The checklist.
        (DRAFT, tick(), ["PointTicked"]),
        (READY, untick(), ["PointUnticked"]),
        ((*READY, save(routers=3)), tick(point_id="amount"), ["PointTicked"]),
        ((*READY, book(booked=SECOND)), tick(point_id="when"), ["PointTicked"]),
        ((*PLACED, book(booked=SECOND)), tick(point_id="when"), ["PointTicked"]),
        # The visit.
        ((*DRAFT, give()), book(), ["VisitScheduled"]),
        (READY, book(booked=SECOND), ["VisitRescheduled"]),
        (READY, release(), ["VisitReleased"]),
        (PLACED, book(booked=SECOND, reason="client"), ["VisitRescheduled"]),
        (PLACED, done(), ["VisitDone"]),
        (PLACED, missed(by="customer"), ["VisitMissed"]),
        (MISSED, book(T0 + 5 * HOUR, SECOND), ["VisitRescheduled"]),
        (PLACED, cmd.NoticeOverdue(T0 + 5 * HOUR + 30 * MINUTE), ["VisitOverdue"]),
        (CONFIRMED, done(T0 + 6 * HOUR), ["VisitOverdue", "VisitDone"]),
        # The lifecycle.
        (READY, place(), ["Placed"]),
        (PLACED, confirm(reference="SO-1"), ["Confirmed"]),
        (VISITED, fulfil(T0 + 6 * HOUR), ["Fulfilled"]),
        ((*WITHOUT_VISIT, confirm()), fulfil(), ["Fulfilled"]),
        (FULFILLED, after_sale(), ["Returned"]),
        (FULFILLED, after_sale(outcome="failed", reason="not-paid"), ["Failed"]),
        (FULFILLED, after_sale(T0 + 6 * HOUR + 14 * DAY), ["Returned"]),
        (DRAFT, cancel(), ["Cancelled"]),
        (PLACED, cancel(by="client"), ["Cancelled"]),
        (CONFIRMED, cancel(), ["Cancelled"]),
        (VISITED, cancel(T0 + 6 * HOUR), ["Cancelled"]),
        (DRAFT, cmd.ExpireDraft(EXPIRES), ["DraftExpired"]),
    ],
)
def test_happens(given: Sequence[cmd.Command], when: cmd.Command, then: list[str]) -> None:
    assert events(given, when) == then


def test_confirmed_by_itself() -> None:
    by = rules(AUTOMATIC)
    assert events(READY, cmd.PlaceOrder(T0, by)) == ["Placed", "Confirmed"]
    state = state_after(*READY, cmd.PlaceOrder(T0, by))
    assert (state.status, state.confirmed_at) == (ev.Status.CONFIRMED, T0)
    assert o.decide(cmd.PlaceOrder(T0, by), state) == []


ANOTHER = cmd.DraftOrder(T0, RULES, replace(ORIGIN, customer_id="cu-2"))


@pytest.mark.parametrize(
    ("given", "when", "reason"),
    [
        (DRAFT, ANOTHER, "another order has this id"),
        # What is placed is frozen.
        (PLACED, save(plan="slow"), "the order is placed"),
        (PLACED, give(address=MARAIS), "the order is placed"),
        (PLACED, yes(), "the order is placed"),
        (PLACED, apply(), "the order is placed"),
        (PLACED, remove(), "the order is placed"),
        (CONFIRMED, tick(point_id="hint"), "the order is confirmed"),
        (PLACED, untick(), "the order is placed"),
        (PLACED, release(), "a placed order keeps its visit"),
        # What is over is over.
        *(
            (CANCELLED, command, "the order is cancelled")
            for command in (save(plan="slow"), give(), yes(), apply(), tick(), untick(), place())
        ),
        *(
            (CANCELLED, command, "the order is cancelled")
            for command in (confirm(), fulfil(), cancel(reason="too-late"), after_sale(), book())
        ),
        (CANCELLED, release(), "the order is cancelled"),
        *(
            (EXPIRED, command, "the draft has expired")
            for command in (save(plan="slow"), give(), tick(), place(), cancel(), confirm(), book())
        ),
        # The timer may be late, the draft is not.
        (DRAFT, save(EXPIRES, plan="slow"), "the draft has expired"),
        (READY, place(T0 + 60 * MINUTE), "the draft has expired"),
        ((*DRAFT, give()), book(EXPIRES), "the draft has expired"),
        (FULFILLED, cancel(), "the order is fulfilled"),
        (FULFILLED, place(), "the order is fulfilled"),
        (FULFILLED, confirm(), "the order is fulfilled"),
        (RETURNED, cancel(), "the order is returned"),
        (RETURNED, after_sale(outcome="failed"), "the order is returned"),
        (RETURNED, after_sale(reason="not-paid"), "the order is returned"),
        # One step after the other.
        (DRAFT, confirm(), "has not been placed"),
        (DRAFT, fulfil(), "has not been placed"),
        (PLACED, fulfil(), "has not been confirmed"),
        (CONFIRMED, confirm(reference="SO-2"), "the order is confirmed"),
        (CONFIRMED, fulfil(), "the visit has not taken place"),
        ((*CONFIRMED, missed()), fulfil(), "the visit has not taken place"),
        (DRAFT, after_sale(T0), "has not been fulfilled"),
        (VISITED, after_sale(), "has not been fulfilled"),
        (
            FULFILLED,
            after_sale(T0 + 6 * HOUR + 14 * DAY + 1),
            "period for returns ended on 2026-12-07 at 16:00 CET",
        ),
        # The visit.
        (DRAFT, book(), "the address home has not been given"),
        ((*DRAFT, give(), save(install="self")), book(), "needs no visit"),
        (WITHOUT_VISIT, book(), "needs no visit"),
        ((*DRAFT, give()), book(booked=visit(T0 - 1)), "begins in the future"),
        (VISITED, book(T0 + 5 * HOUR, SECOND), "the visit has taken place"),
        (PLACED, book(booked=SECOND, reason="missed"), "was not missed"),
        (READY, done(), "the draft has expired"),
        (READY, done(T0), "has not been placed"),
        (PLACED, done(T0 + 4 * HOUR - 1), "has not begun"),
        (PLACED, missed(T0), "has not begun"),
        (VISITED, missed(), "has taken place"),
        (MISSED, done(), "was missed"),
        (MISSED, missed(by="customer"), "was missed"),
        ((*PLACED, book(booked=SECOND)), done(), "it was moved"),
        (WITHOUT_VISIT, done(), "no such visit"),
        (FULFILLED, missed(visit_id="v-9"), "no such visit"),
        # The checklist.
        (DRAFT, tick(point_id="when"), "the visit is not booked"),
        (DRAFT, tick(point_id="socket"), "not among what is told"),
        (READY, cmd.TickPoint(T0, RULES, "amount", "a", "9.00 EUR"), "says something else now"),
        # Addresses and promotions.
        (DRAFT, yes(), "the address home has not been given"),
        (DRAFT, give(name="post"), "is not asked for"),
        (DRAFT, apply(promotion_id="other"), "is not for this product"),
        (DRAFT, apply(by=rules(FORM, replace(PROMOTION, valid_from=T0 + 1))), "not valid yet"),
        (DRAFT, apply(by=rules(FORM, replace(PROMOTION, valid_until=T0))), "no longer valid"),
    ],
)
def test_rejected(given: Sequence[cmd.Command], when: cmd.Command, reason: str) -> None:
    with pytest.raises(Rejected, match=reason):
        o.decide(when, state_after(*given))


LACKING = [
    (DRAFT[:1], "addresses.home", "the address home has not been given"),
    ((draft(), give(), yes()), "answers.plan", "is missing"),
    ((*READY, give(address=MARAIS)), "addresses.home", "the address home has not been confirmed"),
    ((*READY, give(address=LYON), yes()), "visit", "the visit is not booked"),
    ((*READY, release()), "visit", "the visit is not booked"),
    ((*READY, untick()), "checklist.passport", "the point passport has not been told"),
    ((*READY, save(install="self")), "checklist.socket", "the point socket has not been told"),
    ((*READY, save(install="self", note="!")), "checklist.amount", "has to be told again"),
    ((*READY, book(booked=SECOND)), "checklist.when", "the point when has to be told again"),
    ((*READY, save(plan="slow")), "checklist.amount", "the point amount has to be told again"),
    ((*READY, apply()), "checklist.amount", "the point amount has to be told again"),
    ((*READY, save(invoice="paper")), "addresses.post", "the address post has not been given"),
    # Answered ahead of its question, which then is not asked.
    (
        (draft(plan="slow", install="self", floor=3), give(), yes()),
        "answers.floor",
        "not be answer",
    ),
]


@pytest.mark.parametrize(("given", "name", "reason"), LACKING)
def test_not_placed(given: Sequence[cmd.Command], name: str, reason: str) -> None:
    state = state_after(*given)
    with pytest.raises(Rejected) as refused:
        o.decide(place(), state)
    lacking = {each["field"]: each["reason"] for each in refused.value.more["missing"]}
    assert reason in lacking[name]
    assert refused.value.field in lacking
    assert "place" not in o.steps(state, RULES, T0)


def test_all_that_is_missing_is_told_at_once() -> None:
    with pytest.raises(Rejected) as refused:
        o.decide(place(), state_after(draft(install="crew")))
    assert [each["field"] for each in refused.value.more["missing"]] == [
        "answers.plan",
        "addresses.home",
        "visit",
        "checklist.passport",
        "checklist.when",
        "checklist.amount",
    ]


def test_what_was_told_before_holds_again_when_it_is_so_again() -> None:
    state = state_after(*READY, save(routers=5), save(routers=2))
    assert o.missing(state, RULES, T0) == []
    assert o.steps(state, RULES, T0)[-2:] == ("place", "cancel")


def test_a_visit_that_has_passed_is_not_placed() -> None:
    state = state_after(*READY, save(T0 + 50 * MINUTE, note="a"), save(T0 + 100 * MINUTE, note="b"))
    state = fold(o.DECIDER, o.decide(save(T0 + 150 * MINUTE, note="c"), state), state)
    state = fold(o.DECIDER, o.decide(save(T0 + 200 * MINUTE, note="d"), state), state)
    with pytest.raises(Rejected, match="the time of the visit has passed"):
        o.decide(place(T0 + 241 * MINUTE), state)


def test_a_promotion_that_is_over_or_withdrawn_is_not_placed() -> None:
    state = state_after(*READY, apply(), tick(point_id="amount"))
    assert o.decide(place(), state)
    over = rules(FORM, replace(PROMOTION, valid_until=T0))
    with pytest.raises(Rejected, match="promotion ten is no longer valid"):
        o.decide(place(by=over), state)
    with pytest.raises(Rejected, match="promotion ten is withdrawn"):
        o.decide(place(by=rules(FORM, OTHER)), state)
    # What the amount is cannot be told then, either.
    with pytest.raises(Rejected, match="withdrawn"):
        o.decide(cmd.TickPoint(T0, rules(FORM, OTHER), "amount", "agent-1"), state)


@pytest.mark.parametrize(
    ("given", "when", "field"),
    [
        ((), cmd.DraftOrder(T0, RULES, replace(ORIGIN, customer_id="")), "customer_id"),
        ((), cmd.DraftOrder(T0, RULES, replace(ORIGIN, call_id="a b")), "call_id"),
        ((), cmd.DraftOrder(T0, RULES, replace(ORIGIN, channel="Fax!")), "channel"),
        ((), cmd.DraftOrder(T0, RULES, ORIGIN, reference="a b"), "reference"),
        ((), draft(plan="medium"), "answers.plan"),
        (DRAFT, save(routers=10), "answers.routers"),
        (DRAFT, save(routers=True), "answers.routers"),
        (DRAFT, save(unknown=1), "answers.unknown"),
        (DRAFT, save(home="1 rue A"), "answers.home"),
        (DRAFT, save(unknown=None), "answers"),
        (DRAFT, save(note="\0"), "answers.note"),
        (DRAFT, save(note="\ud800"), "answers.note"),
        (DRAFT, save(note=float("nan")), "answers.note"),
        (
            (*DRAFT, save(invoice="paper")),
            give(name="post", address=Address("DE", ())),
            "addresses.post.country",
        ),
        (PLACED, confirm(reference="a b"), "reference"),
        (PLACED, cancel(reason="no-idea"), "reason"),
        (PLACED, cmd.CancelOrder(T0, RULES, "too-late", ev.Party.CUSTOMER, "\0"), "text"),
        (PLACED, cmd.CancelOrder(T0, RULES, "too-late", ev.Party.CUSTOMER, "x" * 10_001), "text"),
        (FULFILLED, after_sale(reason="changed-mind"), "reason"),
    ],
)
def test_makes_no_sense(given: Sequence[cmd.Command], when: cmd.Command, field: str) -> None:
    with pytest.raises(Invalid) as refused:
        o.decide(when, state_after(*given))
    assert refused.value.field == field


@pytest.mark.parametrize(
    "command",
    [
        *(save(plan="slow"), give(), yes(), apply(), remove(), tick(), untick(), book(), release()),
        *(place(), confirm(), fulfil(), cancel(), done(), missed(), after_sale()),
        *(cmd.ExpireDraft(T0), cmd.NoticeOverdue(T0)),
    ],
    ids=lambda command: type(command).__name__,
)
def test_nothing_there(command: cmd.Command) -> None:
    with pytest.raises(NotFound, match="order"):
        o.decide(command, o.DECIDER.initial)


@pytest.mark.parametrize(
    ("given", "when", "what"),
    [
        (DRAFT, give(name="plan"), "address"),
        (DRAFT, give(name="nowhere"), "address"),
        (DRAFT, yes(name="nowhere"), "address"),
        (DRAFT, tick(point_id="nothing"), "point"),
        (DRAFT, untick(point_id="nothing"), "point"),
        (DRAFT, apply(promotion_id="none"), "promotion"),
    ],
)
def test_no_such_thing(given: Sequence[cmd.Command], when: cmd.Command, what: str) -> None:
    with pytest.raises(NotFound, match=what):
        o.decide(when, state_after(*given))


@pytest.mark.parametrize(
    ("given", "command"),
    [
        ((), DRAFT[0]),
        (DRAFT, save(plan="slow", note="x")),
        (DRAFT, save(note=None)),
        (DRAFT, save(routers=1.0)),
        (DRAFT, give()),
        ((*DRAFT, give()), yes()),
        (DRAFT, apply()),
        (DRAFT, remove()),
        ((*DRAFT, apply()), remove()),
        (DRAFT, tick()),
        (READY, tick(point_id="when")),
        (READY, untick()),
        (DRAFT, untick()),
        ((*DRAFT, give()), book()),
        (PLACED, book(booked=SECOND)),
        (READY, release()),
        (DRAFT, release()),
        (READY, place()),
        (PLACED, confirm(reference="SO-1")),
        (VISITED, fulfil(T0 + 6 * HOUR)),
        (PLACED, cancel()),
        (PLACED, done()),
        (PLACED, missed()),
        (FULFILLED, after_sale()),
        (DRAFT, cmd.ExpireDraft(EXPIRES)),
        (PLACED, cmd.NoticeOverdue(T0 + 5 * HOUR + 30 * MINUTE)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_repeat_changes_nothing(given: Sequence[cmd.Command], command: cmd.Command) -> None:
    state = state_after(*given)
    state = fold(o.DECIDER, o.decide(command, state), state)
    assert o.decide(command, state) == []


def test_late_repeats_change_nothing() -> None:
    # After another visit was booked, the report of the one that was missed is known already.
    moved = (*MISSED, book(T0 + 5 * HOUR, SECOND))
    assert o.decide(missed(T0 + 6 * HOUR), state_after(*moved)) == []
    # The client's confirmation, without its number or with the same, says nothing new.
    confirmed = state_after(*PLACED, confirm(reference="SO-1"))
    assert o.decide(confirm(), confirmed) == []
    assert confirmed.reference == "SO-1"
    # A draft is known by its origin.
    assert o.decide(draft(plan="slow"), state_after(*READY)) == []


def test_what_is_hidden_has_no_answer_and_no_address() -> None:
    state = state_after(
        *DRAFT, save(floor=4, invoice="paper"), give(name="post"), save(install="self")
    )
    assert "floor" not in state.values
    assert "post" in state.addresses
    # Shown again, it is as if it was asked for the first time.
    state = fold(o.DECIDER, o.decide(save(install="crew"), state), state)
    assert state.values["floor"] == 0
    (event,) = o.decide(save(invoice="none"), state)
    assert isinstance(event, ev.OrderAnswersSaved)
    assert event.hidden == ("post",)
    assert "post" not in fold(o.DECIDER, [event], state).addresses


def test_another_address_has_to_be_confirmed() -> None:
    state = state_after(*READY)
    assert state.addresses["home"].confirmed_at == T0
    state = fold(o.DECIDER, o.decide(give(address=MARAIS), state), state)
    assert state.addresses["home"].confirmed_at is None
    # The same words again are the same address.
    assert o.decide(give(address=MARAIS), state) == []


def test_frozen_at_placement() -> None:
    state = state_after(*READY, apply(), tick(point_id="amount"))
    placed = o.decide(place(), state)[0]
    assert isinstance(placed, ev.OrderPlaced)
    assert (placed.quote.total, placed.quote.monthly) == (Decimal("79.80"), Decimal("40.00"))
    assert placed.visit == visit()
    assert placed.reported == {"plan": "fast", "routers": "2", "install": "crew"}
    # The lines' reasons tell answers, so they are apart.
    assert [line.why for line in placed.quote.lines] == [""] * 4
    assert placed.why[1] == "2 x 19.90"
    state = fold(o.DECIDER, [placed], state)
    frozen = state.frozen
    assert frozen is not None
    assert [line.why for line in frozen.lines] == list(placed.why)
    assert o.price(state, rules(FORM, OTHER), T0 + 100 * DAY) == frozen
    assert o.checklist(state, rules(FORM, OTHER), T0 + 100 * DAY)[2].holds
    # Erased: the amounts stay.
    erased = fold(o.DECIDER, [replace(placed, why=())], state_after(*READY)).frozen
    assert erased is not None
    assert (erased.total, erased.lines[0].why) == (Decimal("79.80"), "")


def test_a_moved_visit_has_to_be_told_again_after_placement_too() -> None:
    state = state_after(*PLACED, book(booked=SECOND))
    told = {each.point.says: each for each in o.checklist(state, RULES, T0)}
    assert not told[Says.VISIT].holds
    assert told[Says.TOTAL].holds
    (event,) = o.decide(tick(point_id="when"), state)
    assert isinstance(event, ev.OrderPointTicked)
    assert (event.said, event.expires_at) == ("2026-11-23 18:00 to 19:00 CET", None)


def test_released_is_free() -> None:
    state = state_after(*READY, release())
    assert (state.visit, state.visit_status) == (None, ev.VisitStatus.NONE)
    for given in (CANCELLED, (*READY, cancel())):
        ended = state_after(*given)
        assert (ended.visit, ended.visit_status) == (None, ev.VisitStatus.NONE)
    # What has taken place, or was to, stays known.
    assert state_after(*VISITED, cancel(T0 + 6 * HOUR)).visit_status is ev.VisitStatus.DONE
    assert state_after(*MISSED, cancel(T0 + 6 * HOUR)).visit_status is ev.VisitStatus.MISSED


def test_the_money_comes_back_with_what_undoes_it() -> None:
    sale = ev.Sale(T0, "EUR", Decimal("89.80"), Decimal("40.00"))
    for given, when in (
        (PLACED, cancel()),
        (VISITED, fulfil(T0 + 6 * HOUR)),
        (FULFILLED, after_sale()),
        (FULFILLED, after_sale(outcome="failed")),
    ):
        (event,) = o.decide(when, state_after(*given))
        assert not isinstance(event, ev.OrderDrafted)
        assert getattr(event, "sale", None) == sale
    (event,) = o.decide(cancel(), state_after(*DRAFT))
    assert isinstance(event, ev.OrderCancelled)
    assert event.sale is None


def test_timers() -> None:
    assert o.timers(state_after(*DRAFT)) == {o.EXPIRY: EXPIRES}
    later = state_after(*DRAFT, save(T0 + 30 * MINUTE, plan="slow"))
    assert o.timers(later) == {o.EXPIRY: EXPIRES + 30 * MINUTE}
    assert o.decide(cmd.ExpireDraft(EXPIRES), later) == []
    overdue = T0 + 5 * HOUR + 30 * MINUTE
    placed = state_after(*PLACED)
    assert o.timers(placed) == {o.OVERDUE: overdue}
    noticed = fold(o.DECIDER, o.decide(cmd.NoticeOverdue(overdue), placed), placed)
    assert (noticed.overdue, o.timers(noticed)) == (True, {})
    moved = fold(o.DECIDER, o.decide(book(T0 + 6 * HOUR, SECOND), noticed), noticed)
    assert (moved.overdue, o.timers(moved)) == (False, {o.OVERDUE: overdue + 4 * HOUR})
    for given in (CANCELLED, MISSED, VISITED, FULFILLED, RETURNED, EXPIRED, WITHOUT_VISIT):
        assert o.timers(state_after(*given)) == {}


def test_who_reports_late_does_not_turn_time_back() -> None:
    state = state_after(*CONFIRMED, done(T0 + 6 * HOUR))
    assert state.at == T0 + 6 * HOUR
    (event,) = o.decide(fulfil(T0), state)
    assert event.at == T0 + 6 * HOUR


def test_of_a_placed_order_the_visit_needs_no_answers() -> None:
    # As it is once the customer is erased.
    erased = replace(state_after(*PLACED), answers={}, addresses={})
    assert o.visit_address(erased, RULES, T0) is None
    assert o.decide(book(booked=SECOND), erased)


def test_next_steps() -> None:
    table: list[tuple[Sequence[cmd.Command], tuple[str, ...]]] = [
        (DRAFT, ("save", "address", "promotion", "tick", "visit", "cancel")),
        (READY, ("save", "address", "promotion", "tick", "visit", "place", "cancel")),
        (PLACED, ("confirm", "visit", "cancel")),
        (CONFIRMED, ("visit", "cancel")),
        (VISITED, ("fulfil", "cancel")),
        ((*WITHOUT_VISIT, confirm()), ("fulfil", "cancel")),
        (FULFILLED, ("after-sale",)),
        (CANCELLED, ()),
        (EXPIRED, ()),
    ]
    for given, steps in table:
        assert o.steps(state_after(*given), RULES, T0) == steps
    assert "outcome" in o.steps(state_after(*PLACED), RULES, T0 + 4 * HOUR)
    assert o.steps(state_after(*DRAFT), RULES, EXPIRES) == ()
    assert o.steps(state_after(*FULFILLED), RULES, T0 + 30 * DAY) == ()
