"""Orders through HTTP, with real PostgreSQL."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from relais.orders.v1.events_pb2 import OrderEvent
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from eventkit.callers import Role
from eventkit.eventstore import Cause, EventStore
from eventkit.keys import KeyRing
from eventkit.tests.leaks import dump, found_in
from services.conftest import Postgres
from services.orders.forms.codec import form_of
from services.orders.forms.service import shipped_names
from services.orders.order.tests.desk import (
    HOME,
    LYON,
    TUESDAY_8,
    TUESDAY_9,
    Desk,
    open_desk,
)
from services.orders.order.tests.support import DAY, DOCUMENT, HOUR, MINUTE
from services.orders.visits.tests.support import SetClock, us

NOW = us("2026-11-23T10:00")
"""A Monday in Paris."""


@pytest.fixture
def clock() -> SetClock:
    return SetClock(NOW)


@pytest.fixture
async def store(engine: AsyncEngine, keys: KeyRing, clock: SetClock) -> AsyncIterator[EventStore]:
    store = EventStore(engine, keys, clock)
    yield store
    await store.close()


@pytest.fixture
async def desk(store: EventStore, clock: SetClock, client_id: str) -> AsyncIterator[Desk]:
    async with open_desk(store, clock, client_id) as desk:
        yield desk


# The four forms that are shipped, as agents take them.


async def ship(desk: Desk) -> None:
    for name in shipped_names():
        await desk.ordering.forms.publish_shipped(Cause(desk.client_id, "sue"), name)


async def test_a_taxi(desk: Desk) -> None:
    await ship(desk)
    id = await desk.draft("taxi", call_id="call-1", campaign_id="camp-1")
    shown = await desk.get(f"/{id}")
    assert shown["title"] == "Taxi ride"
    asked = {field["name"]: field for field in shown["fields"]}
    assert asked["vehicle"]["answer"] == "standard"
    assert "pickup_at" not in asked
    assert shown["origin"] == {
        "product_id": "taxi",
        "form_version": 1,
        "customer_id": "cu-1",
        "call_id": "call-1",
        "agent_id": "ana",
        "campaign_id": "camp-1",
        "offer_id": None,
        "channel": "voice",
    }
    # The operator is in another city: what was heard is read back.
    await desk.do(f"/{id}/addresses/pickup", HOME)
    await desk.do(f"/{id}/answers", {"answers": {"kilometres": 12.5, "telephone": "+33612345678"}})
    await desk.address(id, "destination", HOME | {"lines": ["1 place Vendôme"]})
    await desk.tell(id)
    refused = await desk.refused(f"/{id}/place")
    assert refused["missing"] == [
        {"field": "addresses.pickup", "reason": "the address pickup has not been confirmed"}
    ]
    await desk.do(f"/{id}/addresses/pickup/confirm")
    placed = await desk.do(f"/{id}/place")
    assert placed["status"] == "confirmed"
    assert placed["total"] == {"amount": "31.40", "currency": "EUR"}
    shown = await desk.get(f"/{id}")
    pickup = shown["fields"][0]["given"]
    assert pickup["address"]["as_spoken"] == "douze, rue de la Paix"
    assert pickup["address"]["formatted"] == ["12 rue de la Paix", "75002 PARIS", "France"]
    assert (pickup["confirmed_by"], pickup["confirmed_at"]) == ("ana", "2026-11-23T09:00:00Z")
    assert [line["why"] for line in shown["quote"]["lines"]] == [
        "vehicle is standard",
        "vehicle is standard, 12.5 x 2.20",
    ]
    assert shown["quote"]["frozen"]
    # Nobody was there.
    await desk.do(f"/{id}/cancel", {"reason": "customer-not-there", "by": "client"})
    assert (await desk.get(f"/{id}"))["status"] == "cancelled"


async def test_a_loan(desk: Desk) -> None:
    await ship(desk)
    id = await desk.draft("loan-application", answers={"amount": 40_000, "purpose": "car"})
    await desk.do(
        f"/{id}/answers",
        {
            "answers": {
                "born_on": "1980-02-29",
                "passport": "20AB12345",
                "employment": "employed",
                "employer": "Blériot & fils",
                "employed_since": "2010-01-01",
                "income": 3_100,
                "rent": 900,
                "telephone": "+33612345678",
            }
        },
    )
    await desk.address(id, "home")
    await desk.tell(id)
    # Above 30,000 the schema asks for more.
    refused = await desk.refused(f"/{id}/place")
    assert refused["missing"] == [{"field": "answers.email", "reason": "is missing"}]
    # The customer is self-employed after all: what was asked before is not asked any more.
    await desk.do(
        f"/{id}/answers",
        {
            "answers": {
                "employment": "self-employed",
                "business_years": 7,
                "email": "a@b.example",
            }
        },
    )
    shown = await desk.get(f"/{id}")
    assert "employer" not in {field["name"] for field in shown["fields"]}
    assert [each["field"] for each in shown["missing"]] == ["checklist.accounts"]
    await desk.tell(id)
    placed = await desk.do(f"/{id}/place")
    assert (placed["status"], placed["total"], placed["monthly"]) == ("placed", None, None)
    partner = desk.as_(Role.PARTNER)
    await partner.do(f"/{id}/confirm", {"reference": "L-77"})
    assert await desk.listed(reference="L-77") == [id]


async def test_an_internet_connection(desk: Desk) -> None:
    await ship(desk)
    id = await desk.draft("internet-connection", answers={"plan": "fibre-300", "floor": 3})
    await desk.do(
        f"/{id}/answers",
        {"answers": {"telephone": "+33612345678", "iban": "FR7630006000011234567890189"}},
    )
    await desk.address(id, "connection")
    slots = (await desk.get(f"/{id}/slots", limit=3, **{"from": TUESDAY_8}))["slots"]
    assert [each["starts_at"] for each in slots] == [
        "2026-11-24T07:00:00Z",
        "2026-11-24T07:30:00Z",
        "2026-11-24T08:00:00Z",
    ]
    booked = await desk.do(f"/{id}/visit", {"starts_at": slots[0]["starts_at"]})
    assert (booked["visit"]["area_id"], booked["visit"]["crew_id"]) == ("paris", "crew-1")
    assert booked["visit"]["ends_at"] == "2026-11-24T09:00:00Z"
    await desk.tell(id)
    quote = await desk.get(f"/{id}/quote")
    assert (quote["total"]["amount"], quote["monthly"]["amount"]) == ("99.60", "34.97")
    # The customer buys the router: another amount, which has to be told.
    await desk.do(f"/{id}/answers", {"answers": {"router": "bought"}})
    refused = await desk.refused(f"/{id}/place")
    assert refused["detail"] == "checklist.amount: the point amount has to be told again"
    # What stood on the screen before is not noted as told.
    stale = {"said": "99.60 EUR, monthly 34.97 EUR"}
    refused = await desk.refused(f"/{id}/points/amount/tick", stale)
    assert refused["says"] == "218.40 EUR, monthly 29.99 EUR"
    said = await desk.do(f"/{id}/points/amount/tick", {"said": refused["says"]})
    assert said["said"] == refused["says"]
    await desk.do(f"/{id}/place")
    partner = desk.as_(Role.PARTNER)
    await partner.do(f"/{id}/confirm", {"reference": "SO-1"})
    assert (await partner.refused(f"/{id}/fulfil"))["detail"] == (
        "visit: the visit has not taken place"
    )
    desk.clock.now = us("2026-11-24T10:05")
    visit_id = booked["visit"]["visit_id"]
    await partner.do(f"/{id}/visits/{visit_id}/outcome", {"outcome": "done"})
    fulfilled = await partner.do(f"/{id}/fulfil")
    assert fulfilled["after_sale_until"] == "2026-12-24T09:05:00Z"
    desk.clock.now += 3 * DAY
    await partner.do(f"/{id}/after-sale", {"outcome": "returned", "reason": "too-slow"})
    shown = await desk.get(f"/{id}")
    assert (shown["status"], shown["end_reason"], shown["next"]) == ("returned", "too-slow", [])
    messages = await messages_of(desk, id)
    last = messages[-1]
    assert last.origin.agent_id == "ana"
    assert last.returned.total.amount == "218.40"
    assert last.returned.placed_at.ToJsonString() == "2026-11-23T09:00:00Z"
    placed = next(each.placed for each in messages if each.HasField("placed"))
    assert dict(placed.reported) == {
        "plan": "fibre-300",
        "router": "bought",
        "fixed_ip": "false",
        "installation": "technician",
        "payment": "debit",
    }


async def test_a_change_of_tariff(desk: Desk) -> None:
    await ship(desk)
    id = await desk.draft(
        "tariff-change",
        offer_id="win-back-3",
        answers={"number": "+33612345678", "from_tariff": "start", "to_tariff": "smart"},
    )
    await desk.tell(id)
    placed = await desk.do(f"/{id}/place")
    assert (placed["total"]["amount"], placed["monthly"]["amount"]) == ("0.00", "14.99")
    await desk.do(f"/{id}/confirm", {})
    await desk.do(f"/{id}/fulfil")
    desk.clock.now += 14 * DAY
    await desk.do(f"/{id}/after-sale", {"outcome": "failed", "reason": "left", "text": "Gone."})
    assert (await desk.names(id))[-3:] == ["Confirmed", "Fulfilled", "Failed"]
    (message,) = (await messages_of(desk, id))[-1:]
    assert message.origin.offer_id == "win-back-3"


async def messages_of(desk: Desk, order_id: str) -> list[OrderEvent]:
    async with desk.store.engine.connect() as connection:
        rows = await connection.execute(
            text("SELECT message FROM events WHERE stream_id = :id ORDER BY version"),
            {"id": f"{desk.client_id}/order/{order_id}"},
        )
        return [OrderEvent.FromString(row.message) for row in rows]


# A form keeps its version.


async def test_the_form_that_it_was_taken_with(desk: Desk) -> None:
    old = await desk.draft(answers={"plan": "slow"})
    changed = DOCUMENT | {"title": "Another", "prices": DOCUMENT["prices"][:2]}
    cause = Cause(desk.client_id, "sue")
    await desk.ordering.forms.publish(cause, "line", form_of(changed))
    await desk.ordering.forms.retire(cause, "line")
    assert (
        "retired"
        in (await desk.refused("", {"product_id": "line", "customer_id": "cu-1"}))["detail"]
    )
    await desk.ordering.forms.restore(cause, "line")
    new = await desk.draft(answers={"plan": "slow"})
    for id, version, title, lines in (
        (old, 1, "A line with a router", 2),
        (new, 2, "Another", 1),
    ):
        shown = await desk.get(f"/{id}")
        assert (shown["origin"]["form_version"], shown["title"]) == (version, title)
        assert len(shown["quote"]["lines"]) == lines


# Visits.


async def test_nobody_is_free_then(desk: Desk) -> None:
    first, second = await desk.ready(), await desk.draft(answers={"install": "crew"})
    await desk.address(second, "home")
    refused = await desk.refused(f"/{second}/visit", {"starts_at": TUESDAY_8})
    assert refused["detail"] == "starts_at: no crew is free then"
    assert refused["next_slots"][0]["starts_at"] == "2026-11-24T08:00:00Z"
    assert await desk.visit(second) is None
    # The first one moves, and the time is free.
    await desk.do(f"/{first}/visit", {"starts_at": TUESDAY_9})
    await desk.do(f"/{second}/visit", {"starts_at": TUESDAY_8})
    assert len(await desk.booked()) == 2


async def test_a_crew_is_booked_for_what_orders_hold_and_nothing_else(desk: Desk) -> None:
    await desk.crew("crew-2")
    ids = [await desk.ready(f"2026-11-24T{8 + n:02}:00:00+01:00") for n in range(4)]
    assert len(await desk.booked()) == 4
    await desk.do(f"/{ids[0]}/visit/release")
    await desk.do(f"/{ids[1]}/answers", {"answers": {"install": "self"}})
    moved = await desk.do(f"/{ids[2]}/addresses/home", LYON)
    assert moved["visit_released"]
    await desk.do(f"/{ids[3]}/cancel", {"reason": "too-late", "by": "customer"})
    assert await desk.booked() == set()
    placed = await desk.placed()
    before = await desk.visit(placed)
    await desk.do(f"/{placed}/visit", {"starts_at": TUESDAY_9, "reason": "client"})
    after = await desk.visit(placed)
    assert await desk.booked() == {after["visit_id"]} != {before["visit_id"]}
    # The address is the same street, only put otherwise: the visit stays.
    other = await desk.ready("2026-11-25T08:00:00+01:00")
    same = await desk.do(f"/{other}/addresses/home", HOME | {"as_spoken": "rue de la Paix, 12"})
    assert not same["visit_released"]
    assert (await desk.visit(other))["visit_id"] in await desk.booked()


async def test_the_crew_did_not_come(desk: Desk) -> None:
    await desk.crew("crew-2", areas=("paris",))
    id = await desk.placed()
    missed = await desk.visit(id)
    desk.clock.now = us("2026-11-24T08:40")
    report = {"outcome": "crew_absent", "text": "I wait.", "send_another": True}
    partner = desk.as_(Role.PARTNER)
    path = f"/{id}/visits/{missed['visit_id']}/outcome"
    answer = await partner.do(path, report)
    assert not answer["nobody_free"]
    sent = answer["visit"]
    assert sent["crew_id"] != missed["crew_id"]
    assert sent["starts_at"] == "2026-11-24T08:00:00Z"
    assert await desk.visit(id) == sent
    # Both in one transaction, and each an event of its own.
    history = (await desk.get(f"/{id}/history"))["items"][-2:]
    assert [each["event"] for each in history] == ["OrderVisitMissed", "OrderVisitRescheduled"]
    assert history[0]["recorded_at"] == history[1]["recorded_at"]
    assert history[1]["details"]["reason"] == "missed"
    assert history[1]["details"]["visit"]["starts_at"] == (await desk.visit(id))["starts_at"]
    last = (await messages_of(desk, id))[-1].visit_rescheduled
    assert (last.previous.visit_id, last.reason) == (missed["visit_id"], "missed")
    # Said again, nobody else is sent.
    again = await partner.do(path, report)
    assert (again["visit"], again["version"]) == (sent, answer["version"])
    refused = await partner.refused(path, {"outcome": "done"})
    assert "was missed" in refused["detail"]
    assert sent["visit_id"] in await desk.booked()


async def test_nobody_can_be_sent(desk: Desk) -> None:
    id = await desk.placed()
    visit = await desk.visit(id)
    await desk.ordering.visits.retire(Cause(desk.client_id, "sue"), "crew-1")
    desk.clock.now = us("2026-11-24T09:10")
    path = f"/{id}/visits/{visit['visit_id']}/outcome"
    answer = await desk.do(path, {"outcome": "crew_absent", "send_another": True})
    assert (answer["nobody_free"], answer["visit"]) == (True, visit)
    assert (await desk.get(f"/{id}"))["visit_status"] == "missed"
    # Asked once more when there is somebody.
    await desk.crew("crew-3")
    answer = await desk.do(path, {"outcome": "crew_absent", "send_another": True})
    assert (answer["nobody_free"], answer["visit"]["crew_id"]) == (False, "crew-3")
    assert (await desk.names(id)).count("VisitMissed") == 1
    refused = await desk.refused(path, {"outcome": "done", "send_another": True}, status=422)
    assert refused["errors"][0]["field"] == "send_another"


# Time.


async def test_a_draft_that_nobody_goes_on_with(desk: Desk) -> None:
    left, kept = await desk.ready(), await desk.draft(answers={"plan": "slow"})
    desk.clock.now += 50 * MINUTE
    await desk.do(f"/{kept}/answers", {"answers": {"plan": "fast"}})
    desk.clock.now += 10 * MINUTE
    # Before any timer has told.
    assert (await desk.refused(f"/{left}/place"))["detail"] == "the draft has expired"
    await desk.timers_fire()
    assert (await desk.get(f"/{left}"))["status"] == "expired"
    assert (await desk.get(f"/{kept}"))["status"] == "draft"
    assert await desk.booked() == set()
    message = (await messages_of(desk, left))[-1]
    assert message.HasField("draft_expired")
    assert message.meta.occurred_at.ToJsonString() == "2026-11-23T10:00:00Z"
    await desk.timers_fire()
    assert await desk.listed(status="expired") == [left]


async def test_overdue_visits_are_noticed_by_themselves(desk: Desk) -> None:
    id, other = await desk.placed(), await desk.placed(starts_at=TUESDAY_9)
    visit = await desk.visit(other)
    desk.clock.now = us("2026-11-24T09:00") + 30 * MINUTE
    await desk.do(f"/{other}/visits/{visit['visit_id']}/outcome", {"outcome": "done"})
    assert await desk.listed(overdue=True) == []
    await desk.timers_fire()
    assert await desk.listed(overdue=True) == [id]
    desk.clock.now += 5 * HOUR
    await desk.timers_fire()
    assert (await desk.names(id)).count("VisitOverdue") == 1
    assert "VisitOverdue" not in await desk.names(other)
    assert (await desk.get(f"/{id}"))["visit_overdue"]
    late = await desk.visit(id)
    await desk.do(f"/{id}/visits/{late['visit_id']}/outcome", {"outcome": "customer_absent"})
    assert await desk.listed(overdue=True) == []


# Submitted by the client's own system.

SUBMISSION: dict[str, Any] = {
    "product_id": "line",
    "customer_id": "cu-9",
    "answers": {"plan": "fast", "install": "crew"},
    "addresses": {"home": HOME | {"confirmed": True}},
    "promotion_ids": ["ten"],
    "told": ["passport", "when", "amount"],
    "visit_starts_at": TUESDAY_8,
    "reference": "WEB-1",
}


async def test_submitted_whole_or_not_at_all(desk: Desk) -> None:
    partner = desk.as_(Role.PARTNER)
    for lacking, reason in (
        ({"told": ["passport", "when"]}, "the point amount has not been told"),
        ({"visit_starts_at": None}, "the visit is not booked"),
        ({"addresses": {"home": HOME}}, "has not been confirmed"),
        ({"visit_starts_at": "2026-11-24T05:00:00+01:00"}, "no crew is free then"),
    ):
        told = SUBMISSION["told"] if "visit_starts_at" not in lacking else ["passport", "amount"]
        body = {**SUBMISSION, "told": told, **lacking}
        refused = await partner.refused("/submit", body)
        assert reason in refused["detail"]
        assert await desk.listed() == []
        assert await desk.booked() == set()
    for wrong, field in (
        ({"answers": {"plan": "medium"}}, "answers.plan"),
        ({"addresses": {"home": HOME | {"postal_code": "1"}}}, "addresses.home.postal_code"),
        ({"promotion_ids": ["a b"]}, "promotion_ids.0"),
    ):
        refused = await partner.refused("/submit", SUBMISSION | wrong, status=422)
        assert refused["errors"][0]["field"] == field
    submitted = await partner.do("/submit", SUBMISSION, key="k-1")
    assert submitted["status"] == "placed"
    assert submitted["total"] == {"amount": "59.90", "currency": "EUR"}
    assert await desk.booked() == {submitted["visit"]["visit_id"]}
    assert await partner.do("/submit", SUBMISSION, key="k-1") == submitted
    # The same id with the same order, without a key.
    named = SUBMISSION | {"order_id": "web-2", "visit_starts_at": TUESDAY_9}
    first = await partner.do("/submit", named)
    assert await partner.do("/submit", named) == first
    other = await partner.refused("/submit", named | {"answers": {"plan": "slow"}})
    assert "has this id already" in other["detail"]
    shown = await desk.get("/web-2")
    assert (shown["origin"]["channel"], shown["origin"]["agent_id"]) == ("partner", None)
    assert shown["reference"] == "WEB-1"


# Who may do what, what there is not.


async def test_roles(desk: Desk) -> None:
    id = await desk.ready()
    partner = desk.as_(Role.PARTNER)
    for path, body in (
        ("", {"product_id": "line", "customer_id": "cu-1"}),
        (f"/{id}/answers", {"answers": {}}),
        (f"/{id}/place", None),
        (f"/{id}/visit", {"starts_at": TUESDAY_9}),
    ):
        await partner.refused(path, body, status=403)
    assert (await partner.call("GET", "")).status_code == 403
    assert (await partner.get(f"/{id}"))["status"] == "draft"
    for role in (Role.PARTNER, Role.AGENT, Role.SUPERVISOR):
        await desk.as_(role).refused("/export", {"customer_id": "cu-1"}, status=403)


async def test_nothing_there(desk: Desk) -> None:
    assert (await desk.call("GET", "/o-1")).status_code == 404
    assert (await desk.call("GET", "/o-1/history")).status_code == 404
    assert (await desk.call("GET", "/o-1/quote")).status_code == 404
    assert (await desk.call("GET", "/o-1/slots")).status_code == 404
    await desk.refused("/o-1/place", status=404)
    await desk.refused("", {"product_id": "none", "customer_id": "cu-1"}, status=404)
    id = await desk.draft()
    await desk.refused(f"/{id}/promotions", {"promotion_id": "none"}, status=404)
    await desk.refused(f"/{id}/addresses/nowhere", HOME, status=404)
    await desk.refused(f"/{id}/points/nothing/tick", status=404)


async def test_what_makes_no_sense_is_named_and_never_repeated(desk: Desk) -> None:
    id = await desk.draft(answers={"install": "crew"})
    secret = "Zebulon"
    for path, body, field in (
        (f"/{id}/answers", {"answers": {"plan": secret}}, "answers.plan"),
        (f"/{id}/answers", {"answers": {"note": secret * 100}}, "answers.note"),
        (f"/{id}/addresses/home", HOME | {"postal_code": secret}, "postal_code"),
        (f"/{id}/visit", {"starts_at": secret}, "starts_at"),
        (f"/{id}/cancel", {"reason": "no-idea", "by": "customer", "text": secret}, "reason"),
    ):
        answer = await desk.call("POST", path, body)
        assert answer.status_code == 422
        assert answer.json()["errors"][0]["field"] == field
        assert secret not in answer.text


# Promotions.


async def test_a_promotion_is_explained_and_frozen(desk: Desk) -> None:
    id = await desk.ready()
    await desk.do(f"/{id}/promotions", {"promotion_id": "ten"})
    quote = await desk.get(f"/{id}/quote")
    discount = next(line for line in quote["lines"] if line["discount"])
    assert (discount["amount"], discount["why"]) == ("-10.00", "10.00 off Setup, Router")
    assert not quote["frozen"]
    await desk.do(f"/{id}/promotions/ten/remove")
    await desk.do(f"/{id}/promotions", {"promotion_id": "ten"})
    await desk.tell(id)
    await desk.do(f"/{id}/place")
    await desk.ordering.promotions.withdraw(Cause(desk.client_id, "sue"), "ten")
    frozen = await desk.get(f"/{id}/quote")
    assert frozen == quote | {"frozen": True}
    # Of a draft it is as of now.
    other = await desk.ready(starts_at=TUESDAY_9)
    await desk.refused(f"/{other}/promotions", {"promotion_id": "ten"}, status=404)


async def test_a_promotion_that_is_withdrawn_meanwhile(desk: Desk) -> None:
    id = await desk.ready()
    await desk.do(f"/{id}/promotions", {"promotion_id": "ten"})
    await desk.ordering.promotions.withdraw(Cause(desk.client_id, "sue"), "ten")
    shown = await desk.get(f"/{id}")
    assert (shown["quote"], shown["quote_fault"]) == (None, "promotion ten is withdrawn")
    assert (await desk.call("GET", f"/{id}/quote")).status_code == 409
    assert (await desk.refused(f"/{id}/place"))["detail"].endswith("promotion ten is withdrawn")
    await desk.do(f"/{id}/promotions/ten/remove")
    await desk.do(f"/{id}/place")


# Many at once.


async def test_many_work_on_one_order(desk: Desk) -> None:
    id = await desk.ready()
    answers = await asyncio.gather(
        *(desk.call("POST", f"/{id}/answers", {"answers": {"note": f"n{n}"}}) for n in range(8)),
        *(desk.call("POST", f"/{id}/place") for _ in range(4)),
        desk.call("POST", f"/{id}/visit", {"starts_at": TUESDAY_9}),
        desk.call("POST", f"/{id}/cancel", {"reason": "too-late", "by": "customer"}),
    )
    assert {answer.status_code for answer in answers} <= {200, 409}
    names = await desk.names(id)
    assert names.count("Placed") <= 1
    assert names.count("Cancelled") == 1
    assert await desk.booked() == set()
    row = (await desk.get())["items"][0]
    assert (row["status"], row["visit_status"], row["version"]) == ("cancelled", "none", len(names))


async def test_one_slot_for_many_orders(desk: Desk) -> None:
    ids = [await desk.draft(answers={"install": "crew"}) for _ in range(6)]
    await asyncio.gather(*(desk.address(id, "home") for id in ids))
    body = {"starts_at": TUESDAY_8}
    answers = await asyncio.gather(*(desk.call("POST", f"/{id}/visit", body) for id in ids))
    assert sorted(answer.status_code for answer in answers) == [200, *[409] * 5]
    assert len(await desk.booked()) == 1


async def test_a_key_has_one_effect(desk: Desk) -> None:
    body = {"product_id": "line", "customer_id": "cu-1", "answers": {"plan": "slow"}}
    first = await desk.do("", body, key="k-1")
    assert await desk.do("", body, key="k-1") == first
    assert await desk.listed() == [first["order_id"]]
    answer = await desk.call("POST", "", body | {"customer_id": "cu-2"}, key="k-1")
    assert answer.status_code == 409


# Lists.


async def test_lists(desk: Desk) -> None:
    ids = []
    for n in range(5):
        desk.clock.now += MINUTE
        ids.append(await desk.draft(call_id=f"call-{n % 2}", agent_id=f"agent-{n % 3}"))
    await desk.do(f"/{ids[0]}/cancel", {"reason": "too-late", "by": "centre"})
    newest = ids[::-1]
    assert await desk.listed() == newest
    assert await desk.listed(call_id="call-1") == [ids[3], ids[1]]
    assert await desk.listed(agent_id="agent-0") == [ids[3], ids[0]]
    assert await desk.listed(status="cancelled") == [ids[0]]
    assert await desk.listed(product_id="line", customer_id="cu-1") == newest
    assert await desk.listed(customer_id="cu-2") == []
    assert await desk.listed(drafted_from="2026-11-23T09:04:00Z") == newest[:2]
    assert await desk.listed(drafted_before="2026-11-23T09:04:00Z") == newest[2:]
    item = (await desk.get(status="cancelled"))["items"][0]
    assert (item["end_reason"], item["cancelled_by"], item["total"]) == ("too-late", "centre", None)
    placed = await desk.placed(starts_at=TUESDAY_9)
    item = (await desk.get(status="placed"))["items"][0]
    assert item["order_id"] == placed
    assert item["total"] == {"amount": "89.80", "currency": "EUR"}
    assert item["visit"] == await desk.visit(placed)


# Erased.

PRIVATE = {
    "note": "xylonote kwispelstaart",
    "line": "99 rue des Xylographes",
    "spoken": "nonante-neuf xylographes",
    "text": "xylotexte vazymolo",
}


async def test_erased(desk: Desk, keys: KeyRing, postgres: Postgres, database: str) -> None:
    id = await desk.placed(
        answers={"plan": "fast", "install": "crew", "note": PRIVATE["note"]},
        customer_id="cu-5",
    )
    draft = await desk.draft(customer_id="cu-5", answers={"note": PRIVATE["note"]})
    home = HOME | {"lines": [PRIVATE["line"]], "as_spoken": PRIVATE["spoken"]}
    await desk.do(f"/{draft}/addresses/home", home, key="k-1")
    visit = await desk.visit(id)
    desk.clock.now = us("2026-11-24T09:00")
    report = {"outcome": "customer_absent", "text": PRIVATE["text"]}
    await desk.do(f"/{id}/visits/{visit['visit_id']}/outcome", report, key="k-2")
    history = await desk.get(f"/{id}/history")
    assert found_in(str(history).encode(), PRIVATE.values()) == set()
    admin = desk.as_(Role.ADMIN)
    held = await admin.do("/export", {"customer_id": "cu-5"})
    assert found_in(str(held).encode(), PRIVATE.values()) == set(PRIVATE.values())
    assert (await admin.do("/export", {"customer_id": "cu-6"}))["items"] == []

    told = [(each["point_id"], each["said"]) for each in (await desk.get(f"/{id}"))["checklist"]]
    await keys.erase(desk.client_id, ["cu-5"])

    async def forget(tx: Any) -> dict[str, Any]:
        await tx.forget(["cu-5"])
        return {}

    await desk.store.run(Cause(desk.client_id, "admin"), forget)
    shown = await desk.get(f"/{id}")
    assert {field["name"]: field["answer"] for field in shown["fields"]} == {
        name: None for name in ("home", "plan", "routers", "install", "invoice", "note")
    }
    assert (await desk.get(f"/{draft}"))["fields"][0]["given"]["address"]["lines"] == []
    # What is counted stays, and what the customer was told, and what was placed goes on.
    assert told
    assert [(each["point_id"], each["said"]) for each in shown["checklist"]] == told
    assert shown["quote"]["total"] == {"amount": "69.90", "currency": "EUR"}
    assert {line["why"] for line in shown["quote"]["lines"]} == {""}
    assert shown["visit_status"] == "missed"
    assert len(await desk.listed(customer_id="cu-5")) == 2
    await desk.do(f"/{id}/visit", {"starts_at": "2026-11-25T09:00:00+01:00"})
    await desk.do(f"/{id}/confirm", {"reference": "SO-5"})
    refused = await desk.refused(
        f"/{id}/cancel", {"reason": "too-late", "by": "customer", "text": "x"}
    )
    assert "erased" in refused["detail"]
    await desk.do(f"/{id}/cancel", {"reason": "too-late", "by": "customer"})
    held = await admin.do("/export", {"customer_id": "cu-5"})
    assert found_in(str(held).encode(), PRIVATE.values()) == set()
    everything = b"".join([*(await dump(database)).values(), *(await dump(postgres.keys)).values()])
    assert desk.client_id.encode() in everything
    assert found_in(everything, PRIVATE.values()) == set()
