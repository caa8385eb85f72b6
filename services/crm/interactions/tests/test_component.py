"""Calls over HTTP, in this process, with a real PostgreSQL."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import sqlalchemy as sa

from eventkit.eventstore import Cause
from services.crm.catalogue.catalogue import DefineOffer, DefineTopic, Offer, Topic
from services.crm.customers.store import person
from services.crm.interactions import store as tables
from services.crm.interactions.service import CALLS
from services.crm.interactions.tests.conftest import Centre, token
from services.crm.interactions.tests.events import MONDAY, call, future_event
from services.crm.knowledge.article import Content, Kind
from services.crm.knowledge.service import Knowledge

TODAY = datetime.now(ZoneInfo("Europe/Paris")).date()


def iso(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")


async def test_a_call_is_on_its_customers_timeline_by_itself(centre: Centre) -> None:
    customer = await centre.register("K-7")
    await centre.call_events(*call(centre.client_id, "call-1", customer="K-7", wrap_up=5))
    [entry] = await centre.timeline(customer)
    assert (entry["kind"], entry["id"], entry["at"]) == ("call", "call-1", iso(MONDAY))
    assert entry["call"] == {
        "call_id": "call-1",
        "at": iso(MONDAY),
        "channel": "voice",
        "direction": "inbound",
        "line": "line-1",
        "queue_id": "sales",
        "agent_id": "ann",
        "arrived_at": iso(MONDAY),
        "connected_at": iso(MONDAY + 10),
        "ended_at": iso(MONDAY + 70),
        "outcome": "answered",
        "waited_s": 10.0,
        "talked_s": 60.0,
        "wrap_up_s": 5.0,
        "topic_path": [],
        "disposition": None,
        "notes": [],
        "answers": [],
        "articles": [],
    }
    assert (await centre.get("/calls/call-1"))["customer_id"] == customer


async def test_a_call_of_somebody_who_is_registered_later(centre: Centre) -> None:
    await centre.call_events(*call(centre.client_id, "call-1", customer="K-9", talk=None))
    assert (await centre.get("/calls/call-1"))["customer_id"] is None
    customer = await centre.register("K-9")
    [entry] = await centre.timeline(customer)
    assert entry["call"]["outcome"] == "abandoned"
    assert (await centre.get("/calls/call-1"))["customer_id"] == customer


async def test_batches_may_repeat_overlap_and_come_in_any_order(centre: Centre) -> None:
    events = call(centre.client_id, "call-1", customer="K-7")
    whole = call(centre.client_id, "call-2", customer="K-7")
    await centre.call_events(*whole)
    for batch in (events[4:], events[2:6], events[:1], events[1:3], events, events[::-1]):
        await centre.call_events(*batch)
    async with centre.store.engine.connect() as connection:
        rows = (
            await connection.execute(
                sa.select(tables.calls)
                .where(tables.calls.c.client_id == centre.client_id)
                .order_by(tables.calls.c.call_id)
            )
        ).all()
    first, second = (row._asdict() | {"call_id": ""} for row in rows)
    assert first == second


async def test_what_was_heard_before_does_not_even_touch_the_row(centre: Centre) -> None:
    events = call(centre.client_id, "call-1")
    await centre.call_events(*events)
    touched = sa.text("SELECT xmin::text FROM calls WHERE client_id = :client_id")
    async with centre.store.engine.connect() as connection:
        before = await connection.scalar(touched, {"client_id": centre.client_id})
    await centre.call_events(*events[:4])
    await centre.call_events(*events)
    async with centre.store.engine.connect() as connection:
        assert await connection.scalar(touched, {"client_id": centre.client_id}) == before


async def test_events_of_an_unknown_type_are_kept_once(centre: Centre) -> None:
    future = future_event(centre.client_id, "call-1", 9)
    await centre.call_events(*call(centre.client_id, "call-1"), future)
    await centre.call_events(future)
    table = tables.unknown_call_events
    async with centre.store.engine.connect() as connection:
        found = await connection.execute(
            sa.select(table.c.call_id, table.c.version, table.c.event).where(
                table.c.client_id == centre.client_id
            )
        )
        assert [tuple(row) for row in found] == [("call-1", 9, future)]


async def test_an_agents_afternoon(centre: Centre) -> None:
    """The agent writes before the telephone system has said anything of the call."""
    customer = await centre.register("K-7")
    assert await centre.post("/calls/call-1/customer", customer_id="K-7") == {
        "call_id": "call-1",
        "version": 1,
    }
    noted = await centre.post("/calls/call-1/notes", text="Moves in May.", note_id="n-1")
    assert noted == {"call_id": "call-1", "version": 2, "note_id": "n-1"}
    edited = await centre.http.put("/calls/call-1/notes/n-1", json={"text": "Moves in June."})
    assert edited.status_code == 200
    await centre.post("/calls/call-1/topic", topic_id="technical.internet.slow")
    await centre.post("/calls/call-1/topic", topic_id="contract.move")
    await centre.post("/calls/call-1/disposition", disposition="resolved")
    later = (TODAY + timedelta(days=30)).isoformat()
    await centre.post(
        "/calls/call-1/offers/fibre/refused", reason="not-now", not_before=later, text="Maybe."
    )
    await centre.post("/calls/call-1/offers/mobile/refused", reason="too-expensive")
    last = await centre.post("/calls/call-1/offers/mobile/accepted")
    assert await centre.post("/calls/call-1/offers/mobile/accepted") == last

    await centre.call_events(*call(centre.client_id, "call-1", customer="somebody"))
    shown = await centre.get("/calls/call-1")
    assert (shown["customer_id"], shown["outcome"]) == (customer, "answered")
    assert shown["topic_path"] == ["contract", "contract.move"]
    assert shown["disposition"] == "resolved"
    [note] = shown["notes"]
    assert (note["text"], note["agent_id"], note["edited_by"]) == ("Moves in June.", "ann", "ann")
    answers = {answer["offer_id"]: answer for answer in shown["answers"]}
    assert answers["mobile"]["accepted"]
    assert answers["mobile"]["reason"] is None
    assert [answers["fibre"][name] for name in ("accepted", "reason", "not_before", "text")] == [
        False,
        "not-now",
        later,
        "Maybe.",
    ]
    [entry] = await centre.timeline(customer)
    del shown["customer_id"]
    assert entry["call"] == shown

    history = await centre.store.history(CALLS, centre.client_id, "call-1")
    assert [type(one.event).__name__ for one in history] == [
        "CallAttributed",
        "CallNoted",
        "NoteEdited",
        "CallClassified",
        "CallClassified",
        "CallDispositioned",
        "OfferRefused",
        "OfferRefused",
        "OfferAccepted",
    ]
    assert {one.event.customer_id for one in history} == {customer}


async def test_the_agents_first_word_fixes_whose_call_it_is(centre: Centre) -> None:
    """And so whose key seals the text."""
    customer = await centre.register("K-7")
    await centre.call_events(*call(centre.client_id, "call-1", customer="K-7"))
    await centre.post("/calls/call-1/notes", text="Moves in May.")
    history = await centre.store.history(CALLS, centre.client_id, "call-1")
    assert [type(one.event).__name__ for one in history] == ["CallAttributed", "CallNoted"]
    assert await subjects(centre, "call-1") == {customer}


async def test_an_attribution_put_right_moves_the_texts(centre: Centre) -> None:
    eva, max_ = await centre.register("K-1"), await centre.register("K-2")
    await centre.post("/calls/call-1/notes", text="Moves in May.", note_id="n-1")
    assert await subjects(centre, "call-1") == {"call/call-1"}
    await centre.post("/calls/call-1/customer", customer_id=eva)
    await centre.post("/calls/call-1/customer", customer_id="K-2")
    assert await subjects(centre, "call-1") == {"call/call-1", eva, max_}
    assert await centre.timeline(eva) == []
    [entry] = await centre.timeline(max_)
    assert [note["text"] for note in entry["call"]["notes"]] == ["Moves in May."]
    # What the telephone system says counts no more.
    await centre.call_events(*call(centre.client_id, "call-1", customer="K-1"))
    assert await centre.timeline(eva) == []
    assert len(await centre.timeline(max_)) == 1


async def subjects(centre: Centre, call_id: str) -> set[str]:
    """Whose keys have sealed something of the call."""
    async with centre.store.engine.connect() as connection:
        found = await connection.scalars(
            sa.text("SELECT DISTINCT subject FROM events WHERE stream_id = :id AND sealed <> ''"),
            {"id": f"{centre.client_id}/call/{call_id}"},
        )
        return set(found)


async def test_a_note_twice_with_one_key_is_one_note(centre: Centre) -> None:
    body = {"text": "Moves in May."}
    headers = {"Idempotency-Key": "k-1"}
    answers = await asyncio.gather(
        *(centre.http.post("/calls/c-1/notes", json=body, headers=headers) for _ in range(5))
    )
    assert {answer.status_code for answer in answers} == {201}, answers[0].text
    assert len({answer.text for answer in answers}) == 1
    assert len((await centre.get("/calls/c-1"))["notes"]) == 1


async def test_merged_records_have_one_timeline(centre: Centre) -> None:
    eva, other = await centre.register("K-1"), await centre.register("K-2")
    await centre.call_events(*call(centre.client_id, "call-1", customer="K-1"))
    await centre.call_events(*call(centre.client_id, "call-2", customer="K-2", at=MONDAY + 60))
    await centre.customers.merge(centre.cause, other, eva)
    for customer in (eva, other):
        assert [each["id"] for each in await centre.timeline(customer)] == ["call-2", "call-1"]
    await centre.customers.unmerge(centre.cause, other)
    assert [each["id"] for each in await centre.timeline(eva)] == ["call-1"]


async def test_a_timeline_page_by_page_with_what_others_put_there(centre: Centre) -> None:
    customer = await centre.register("K-1")
    for number in range(7):
        at = MONDAY + 60 * (number // 2)  # two at a time at the same moment
        await centre.call_events(
            *call(centre.client_id, f"call-{number}", customer="K-1", at=at, talk=None)
        )
    entries = [
        tables.Entry(centre.client_id, ("K-1", customer)[number % 2], at * 1_000_000, kind, "x")
        for number, (at, kind) in enumerate(
            [(MONDAY + 60, "complaint"), (MONDAY + 60, "order"), (MONDAY - 1, "complaint-2")]
        )
    ]
    async with centre.store.engine.begin() as connection:
        await tables.put_entries(connection, [])
        await tables.put_entries(connection, [*entries, entries[0]])
        await tables.put_entries(connection, entries)
    whole = await centre.timeline(customer)
    assert len(whole) == 10
    assert [each["at"] for each in whole] == sorted((each["at"] for each in whole), reverse=True)
    pages: list[Any] = []
    cursor = None
    while True:
        query = {"limit": 3} | ({"cursor": cursor} if cursor else {})
        page = await centre.get(f"/customers/{customer}/timeline", **query)
        pages += page["items"]
        cursor = page["next"]
        if cursor is None:
            break
    assert pages == whole
    moved = tables.Entry(
        centre.client_id, "K-2", MONDAY * 1_000_000, "order", "x", {"state": "new"}
    )
    async with centre.store.engine.begin() as connection:
        await tables.put_entries(connection, [moved])
    assert len(await centre.timeline(customer)) == 9
    [entry] = await centre.timeline(await centre.register("K-2"))
    assert (entry["kind"], entry["details"], entry["call"]) == ("order", {"state": "new"}, None)


async def test_which_article_helped(centre: Centre) -> None:
    async def zone(_: str) -> ZoneInfo:
        return ZoneInfo("UTC")

    knowledge = Knowledge(centre.store, zone, lambda: "unused")
    content = Content(kind=Kind.PROCEDURE, language="en", title="Router", body="Restart it.")
    await knowledge.create(centre.cause, "router", content)
    await knowledge.publish(centre.cause, "router", 1)
    for _ in range(2):
        await centre.post("/calls/call-1/article-helped", article_id="router")
    shown = await centre.get("/calls/call-1")
    assert [(one["article_id"], one["article_version"]) for one in shown["articles"]] == [
        ("router", 1)
    ]
    unknown = await centre.http.post("/calls/call-1/article-helped", json={"article_id": "none"})
    assert unknown.status_code == 404


WRONG = [
    ("/calls/call-1/customer", {"customer_id": "nobody"}, 404, ""),
    ("/calls/call%201/notes", {"text": "x"}, 422, "call_id"),
    ("/calls/call-1/notes", {"text": " "}, 422, "text"),
    ("/calls/call-1/notes", {"text": "a\0"}, 422, "text"),
    ("/calls/call-1/notes", {"text": "x" * 10_001}, 422, "text"),
    ("/calls/call-1/notes", {}, 422, "text"),
    ("/calls/call-1/topic", {"topic_id": "nobody"}, 422, "topic_id"),
    ("/calls/call-1/topic", {"topic_id": "old"}, 409, ""),
    ("/calls/call-1/disposition", {"disposition": "nobody"}, 422, "disposition"),
    ("/calls/call-1/offers/nobody/accepted", {}, 404, ""),
    ("/calls/call-1/offers/nobody/refused", {"reason": "too-expensive"}, 404, ""),
    ("/calls/call-1/offers/fibre/refused", {"reason": "nobody"}, 422, "reason"),
    ("/calls/call-1/offers/fibre/refused", {"reason": "not-now"}, 422, "not_before"),
    (
        "/calls/call-1/offers/fibre/refused",
        {"reason": "not-now", "not_before": "2020-01-01"},
        422,
        "not_before",
    ),
    ("/calls/call-1/offers/fibre/refused", {"reason": "other"}, 422, "text"),
    ("/calls/call-1/offers/summer/accepted", {}, 409, ""),
    ("/calls/call-1/article-helped", {"article_id": "nobody"}, 404, ""),
]


@pytest.mark.parametrize(("path", "body", "status", "field"), WRONG)
async def test_what_is_refused_changes_nothing(
    centre: Centre, path: str, body: dict[str, Any], status: int, field: str
) -> None:
    retired = DefineTopic("old", Topic({"": "Old"}, retired=True))
    await centre.catalogues.change(centre.cause, retired)
    over = DefineOffer("summer", Offer({"": "Summer"}, valid_until=TODAY - timedelta(days=1)))
    await centre.catalogues.change(centre.cause, over)
    answer = await centre.http.post(path, json=body)
    assert answer.status_code == status, answer.text
    if field:
        assert answer.json()["errors"][0]["field"] == field
    assert (await centre.http.get("/calls/call-1")).status_code == 404


async def test_who_may(centre: Centre) -> None:
    await centre.post("/calls/call-1/notes", text="x", note_id="n-1")
    customer = await centre.register("K-7")
    paths = [
        ("GET", "/calls/call-1"),
        ("POST", "/calls/call-1/customer"),
        ("POST", "/calls/call-1/notes"),
        ("PUT", "/calls/call-1/notes/n-1"),
        ("POST", "/calls/call-1/topic"),
        ("POST", "/calls/call-1/disposition"),
        ("POST", "/calls/call-1/offers/fibre/accepted"),
        ("POST", "/calls/call-1/offers/fibre/refused"),
        ("POST", "/calls/call-1/article-helped"),
        ("GET", f"/customers/{customer}/timeline"),
        ("GET", "/offers/fibre/refusals"),
    ]
    for method, path in paths:
        foreign = await centre.http.request(method, path, headers=token("client-of-others"))
        assert foreign.status_code == 404, path
        partner = token(centre.client_id, "partner")
        forbidden = await centre.http.request(method, path, headers=partner)
        assert forbidden.status_code == 403, path
    # A client sees its own: the same ids are another's there.
    other = await centre.http.get(
        "http://test/v1/clients/client-of-others/calls/call-1", headers=token("client-of-others")
    )
    assert other.status_code == 404


async def test_what_is_held_is_told_and_forgotten(centre: Centre) -> None:
    customer = await centre.register("K-7")
    mistaken = await centre.register("K-8")
    await centre.call_events(*call(centre.client_id, "call-1", customer="K-7"))
    await centre.call_events(*call(centre.client_id, "call-2", customer="K-7", talk=None))
    await centre.post("/calls/call-3/customer", customer_id=mistaken)
    await centre.post("/calls/call-3/notes", text="Sekret three.")
    await centre.post("/calls/call-3/customer", customer_id=customer)
    await centre.post("/calls/call-4/notes", text="Sekret four.")
    await centre.post("/calls/call-4/customer", customer_id=customer)
    await centre.post("/calls/call-1/notes", text="Sekret one.", note_id="n-1")
    await centre.post("/calls/call-1/offers/fibre/refused", reason="other", text="Sekret five.")

    holding = tables.Holding()
    async with centre.store.engine.connect() as connection:
        eva = await person(connection, centre.client_id, customer)
        assert eva is not None
        told = await holding.export(connection, eva)
    assert {each["id"] for each in told} == {"call-1", "call-2", "call-3", "call-4"}
    assert [each["at"] for each in told] == sorted(each["at"] for each in told)
    for number in ("one", "three", "four", "five"):
        assert f"Sekret {number}." in str(told)

    async def forget(tx: Any) -> dict[str, Any]:
        forgotten = await holding.forget(tx.connection, eva)
        assert forgotten.subjects == {"call/call-1", "call/call-3", "call/call-4"}
        await tx.forget({customer, *forgotten.subjects})
        await centre.store.keys.erase(centre.client_id, {customer, *forgotten.subjects})
        return {"cleaned": forgotten.cleaned}

    done = await centre.store.run(Cause(centre.client_id, "admin"), forget)
    assert done["cleaned"]["call_notes"] == 3
    assert done["cleaned"]["offer_answers"] == 1
    again = await centre.store.run(Cause(centre.client_id, "admin"), forget)
    assert set(again["cleaned"].values()) == {0}

    # Nothing readable is left, not even with the key of who it was mistaken for; the counts stay.
    for number in range(1, 5):
        history = await centre.store.history(CALLS, centre.client_id, f"call-{number}")
        assert "Sekret" not in str(history)
    async with centre.store.engine.connect() as connection:
        for table in (tables.calls, tables.notes, tables.answers):
            rows = (
                await connection.execute(
                    sa.select(table).where(table.c.client_id == centre.client_id)
                )
            ).all()
            assert len(rows) == {"calls": 4, "call_notes": 3, "offer_answers": 1}[table.name]
            assert "Sekret" not in str(rows)
            assert "K-7" not in str(rows)
    # And nothing comes back.
    refused = await centre.http.post("/calls/call-1/notes", json={"text": "Sekret six."})
    assert refused.status_code == 409
