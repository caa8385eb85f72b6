"""A person is erased: not a byte of them is left in tables, keys or topics, and all counts stay."""

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from eventkit.errors import Rejected, Unavailable
from eventkit.eventstore import Answer, Cause, EventStore
from eventkit.keys import KeyRing
from eventkit.producer import Producer
from eventkit.relay import Relay
from eventkit.tests.leaks import found_in
from eventkit.tests.support import until
from services.conftest import Postgres
from services.crm.consent.address import Channel
from services.crm.consent.consent import Proof
from services.crm.consent.service import Given
from services.crm.customers.store import Holding as CustomersHolding
from services.crm.holding import Forgotten, Person
from services.crm.interactions.calls import Calls, Kind, Said
from services.crm.interactions.store import put_calls
from services.crm.privacy.service import Privacy
from services.crm.privacy.tests.conftest import Kafka, new_id
from services.crm.privacy.tests.support import all_topics, everything, ok, person
from services.crm.service import Crm, holdings

NOW = 1_790_000_000_000_000


@dataclass(frozen=True)
class Loaded:
    """A person's two records and values, and another one's."""

    customer_id: str
    merged_id: str
    other_id: str
    secrets: dict[str, str]
    other: dict[str, str]


@pytest.fixture
async def loaded(http: httpx.AsyncClient, store: EventStore, client_id: str) -> Loaded:
    """A person in everything that crm keeps, twice, and another one who stays."""
    mine, other = person(), person()
    await ok(http.post("/catalogue/templates/telecom"))
    catalogue = await ok(http.get("/catalogue"))
    await ok(http.put("/catalogue/offers/fibre", json={"name": "Fibre"}))
    reason = next(id for id, each in catalogue["refusal_reasons"].items() if not each["needs_date"])
    key = {"Idempotency-Key": new_id()}
    record = {
        "number": mine["number"],
        "name": mine["name"],
        "phones": [mine["phone"]],
        "emails": [mine["email"]],
        "address": mine["address"],
    }
    customer_id = (await ok(http.post("/customers", json=record, headers=key)))["customer_id"]
    again = {
        "number": mine["second number"],
        "name": mine["name again"],
        "phones": [mine["second phone"]],
    }
    merged_id = (await ok(http.post("/customers", json=again)))["customer_id"]
    await ok(http.post(f"/customers/{merged_id}/merge", json={"into_customer_id": customer_id}))
    third = {"number": other["number"], "name": other["name"], "phones": [other["phone"]]}
    other_id = (await ok(http.post("/customers", json=third)))["customer_id"]

    calls = Calls()
    calls.add(
        Said(Kind.ARRIVED, client_id, call_id, 1, NOW, NOW, customer_reference=reference)
        for call_id, reference in (
            ("c-1", mine["number"]),
            ("c-2", mine["second number"]),
            ("c-3", merged_id),
            ("c-4", other["number"]),
            ("c-5", ""),
        )
    )
    async with store.engine.begin() as connection:
        await put_calls(connection, calls)
    note = {"text": mine["note"], "note_id": "n"}
    for call_id in ("c-1", "c-2", "c-3", "c-5"):
        await ok(http.post(f"/calls/{call_id}/notes", json=note))
        edited = {"text": mine["note"] + "!"}
        await ok(http.put(f"/calls/{call_id}/notes/n", json=edited))
    # Written before it was known who called.
    await ok(http.post("/calls/c-5/customer", json={"customer_id": customer_id}))
    await ok(http.post("/calls/c-4/notes", json={"text": other["note"], "note_id": "n"}))
    refusal = {"reason": reason, "text": mine["refusal"]}
    await ok(http.post("/calls/c-1/offers/fibre/refused", json=refusal))

    complaint = {"customer": mine["number"], "text": mine["complaint"], "complaint_id": "k-1"}
    await ok(http.post("/complaints", json=complaint, headers={"Idempotency-Key": new_id()}))
    await ok(http.post("/complaints/k-1/acknowledge", json={"text": mine["complaint"]}))
    await ok(http.post("/complaints/k-1/investigate", json={"findings": mine["findings"]}))
    other_complaint = {"customer": other_id, "text": other["complaint"], "complaint_id": "k-2"}
    await ok(http.post("/complaints", json=other_complaint))
    wish = {"customer": customer_id, "text": mine["wish"]}
    await ok(http.post("/wishes", json=wish))

    consent = {
        "channel": "voice",
        "purpose": "sales",
        "address": mine["phone"],
        "proof": "recording",
        "reference": mine["consent reference"],
        "place": mine["consent place"],
        "text": mine["consent text"],
    }
    await ok(http.post("/consents", json=consent))  # before it is known whose number it is
    await ok(http.post("/consents", json=consent | {"customer": mine["number"]}))
    by_mail = {"channel": "email", "address": mine["email"].upper(), "purpose": "survey"}
    await ok(http.post("/consents", json=consent | by_mail))
    objection = by_mail | {"text": mine["objection"]}
    await ok(http.post("/consents/withdraw", json=objection))
    others = {"address": other["phone"], "customer": other_id, "text": other["consent text"]}
    await ok(http.post("/consents", json=consent | others | {"reference": "", "place": ""}))
    await asked(http, mine["survey answer"], {"customer": mine["number"]})
    await asked(http, mine["survey answer"], {"call_id": "c-5"})
    await asked(http, other["survey answer"], {"customer": other_id})
    await ok(http.put("/do-not-call-lists/own", json={"name": "Own"}))
    listed = {"add": [{"address": mine["second phone"]}, {"address": mine["email"]}]}
    await ok(http.post("/do-not-call-lists/own/numbers", json=listed))
    for table in ("customers", "customer_words", "customer_contacts", "call_notes"):
        async with store.engine.connect() as connection:
            raw: Any = (await connection.get_raw_connection()).driver_connection
            await raw.execute(f"ANALYZE {table}")  # the planner has seen them all
    return Loaded(customer_id, merged_id, other_id, mine, other)


async def asked(http: httpx.AsyncClient, text: str, whom: dict[str, str]) -> None:
    """A survey with one question, answered in words."""
    questionnaire = {
        "questionnaire_id": "why",
        "purpose": "survey",
        "name": "Why",
        "languages": ["fr"],
        "questions": [{"question_id": "q", "kind": "text", "texts": {"fr": "Pourquoi ?"}}],
    }
    if (await http.post("/questionnaires", json=questionnaire)).status_code == 201:
        await ok(http.post("/questionnaires/why/publish", json={"version": 1}))
    begun = await ok(http.post("/surveys", json={"questionnaire_id": "why"} | whom))
    await ok(http.put(f"/surveys/{begun['survey_id']}/answers/q", json={"text": text}))


async def counts(store: EventStore, client_id: str) -> dict[str, int]:
    """What is counted: rows, by table."""
    found = {}
    async with store.engine.connect() as connection:
        for table in (
            "calls",
            "call_notes",
            "offer_answers",
            "complaints",
            "wishes",
            "consents",
            "customers",
            "do_not_call_entries",
            "surveys",
            "survey_answers",
        ):
            query = sa.text(f"SELECT count(*) FROM {table} WHERE client_id = :c")
            found[table] = await connection.scalar(query, {"c": client_id})
    return found


async def test_no_byte_of_the_person_is_left(
    loaded: Loaded,
    http: httpx.AsyncClient,
    store: EventStore,
    database: str,
    postgres: Postgres,
    kafka: Kafka,
    client_id: str,
) -> None:
    clear = {value for name, value in loaded.secrets.items() if name in ("name", "phone", "note")}
    before = await everything(database, postgres)
    assert clear <= found_in(before, loaded.secrets.values())
    counted = await counts(store, client_id)

    answer = await ok(
        http.post("/privacy/erase", json={"customer": loaded.secrets["second number"]})
    )
    assert answer == {"customer_id": loaded.customer_id, "records": 2}

    assert found_in(await everything(database, postgres), loaded.secrets.values()) == set()
    async with Producer(kafka.bootstrap) as producer:
        relay = Relay(store.engine, producer)
        running = asyncio.create_task(relay.run())
        await until(lambda: published(store), "everything is published")
        relay.stop()
        await running
    topics = await all_topics(kafka.bootstrap)
    assert loaded.customer_id.encode() in topics
    assert found_in(topics, loaded.secrets.values()) == set()

    # What is counted is as it was, under ids that lead nowhere.
    assert await counts(store, client_id) == counted
    complaint = await ok(http.get("/complaints/k-1"))
    assert found_in(json.dumps(complaint).encode(), loaded.secrets.values()) == set()
    history = await ok(http.get("/complaints/k-1/history"))
    assert found_in(json.dumps(history).encode(), loaded.secrets.values()) == set()
    timeline = await ok(http.get(f"/customers/{loaded.customer_id}/timeline"))
    assert {each["id"] for each in timeline["items"]} >= {"c-1", "c-2", "c-3", "c-5"}
    document = await ok(http.post("/privacy/export", json={"customer": loaded.customer_id}))
    assert found_in(json.dumps(document).encode(), loaded.secrets.values()) == set()

    # Nobody can be found by what is gone, and it may be given out again.
    missing = await http.post("/privacy/erase", json={"customer": loaded.secrets["number"]})
    assert missing.status_code == 404
    found = await ok(http.post("/customers/find", json={"phone": loaded.secrets["phone"]}))
    assert found["items"] == []

    # Blocked for every purpose, until consent is given anew.
    question = {"address": loaded.secrets["phone"], "channel": "voice", "purpose": "sales"}
    for purpose in ("sales", "information"):
        verdict = await ok(http.post("/contact/check", json=question | {"purpose": purpose}))
        assert not verdict["allowed"]
        assert "erased" in {ground["kind"] for ground in verdict["grounds"]}
    await ok(http.post("/consents", json=question | {"proof": "form"}))
    assert (await ok(http.post("/contact/check", json=question)))["allowed"]
    listed = question | {"address": loaded.secrets["second phone"], "purpose": "information"}
    verdict = await ok(http.post("/contact/check", json=listed))
    assert {g["kind"] for g in verdict["grounds"] if not g["allows"]} == {
        "do-not-call-list",
        "erased",
    }

    # The other one is whom they were.
    person = await ok(http.get(f"/customers/{loaded.other_id}"))
    assert person["name"] == loaded.other["name"]
    document = json.dumps(
        await ok(http.post("/privacy/export", json={"customer": loaded.other["number"]})),
        ensure_ascii=False,
    )
    kept = ("name", "phone", "number", "note", "complaint", "consent text", "survey answer")
    assert all(loaded.other[name] in document for name in kept)
    assert loaded.other["complaint"] in json.dumps(
        await ok(http.get("/complaints/k-2/history")), ensure_ascii=False
    )


async def published(store: EventStore) -> bool:
    async with store.engine.connect() as connection:
        left = await connection.scalar(
            sa.text(
                "SELECT (SELECT count(*) FROM events WHERE sequence IS NULL)"
                " + (SELECT coalesce(sum(last_sequence - published), 1) FROM relay)"
            )
        )
    return left == 0


async def test_an_export_has_all_that_is_held(
    loaded: Loaded, http: httpx.AsyncClient, store: EventStore, client_id: str
) -> None:
    document = await ok(http.post("/privacy/export", json={"customer": loaded.merged_id}))
    text = json.dumps(document, ensure_ascii=False)
    # Addresses of consents are kept in their one form, small letters.
    missing = {n for n, value in loaded.secrets.items() if value.casefold() not in text.casefold()}
    assert missing == set()
    assert document["customer_id"] == loaded.customer_id
    assert set(document["held"]) == {
        "customers",
        "interactions",
        "complaints",
        "surveys",
        "consents",
    }
    assert set(document["known_as"]) == {
        loaded.customer_id,
        loaded.merged_id,
        loaded.secrets["number"],
        loaded.secrets["second number"],
    }
    assert found_in(text.encode(), loaded.other.values()) == set()

    # Who got it is on record; what was in it is not, nor is it kept for a repeat.
    key = {"Idempotency-Key": "same"}
    first = await ok(
        http.post("/privacy/export", json={"customer": loaded.customer_id}, headers=key)
    )
    again = await ok(
        http.post("/privacy/export", json={"customer": loaded.customer_id}, headers=key)
    )
    assert first["export_id"] == again["export_id"]
    async with store.engine.connect() as connection:
        rows = (
            await connection.execute(
                sa.text(
                    "SELECT actor, type FROM events"
                    " WHERE client_id = :c AND category = 'privacy' ORDER BY version"
                ),
                {"c": client_id},
            )
        ).all()
    assert [tuple(row) for row in rows] == [("ana", "PersonExported")] * 2


async def test_only_admins(
    loaded: Loaded, http: httpx.AsyncClient, headers: Callable[[str], dict[str, str]]
) -> None:
    for what in ("erase", "export"):
        body = {"customer": loaded.customer_id}
        refused = await http.post(f"/privacy/{what}", json=body, headers=headers("supervisor"))
        assert refused.status_code == 403
        missing = await http.post(f"/privacy/{what}", json={"customer": "nobody"})
        assert missing.status_code == 404
        empty = await http.post(f"/privacy/{what}", json={"customer": ""})
        assert empty.status_code == 422


async def test_again_and_again(
    loaded: Loaded, http: httpx.AsyncClient, store: EventStore, client_id: str
) -> None:
    body = {"customer": loaded.merged_id}
    first = await ok(http.post("/privacy/erase", json=body))
    for _ in range(2):
        assert await ok(http.post("/privacy/erase", json=body)) == first
    assert await erased_events(store, client_id) == 2
    assert await pending(store, client_id) == 0


async def erased_events(store: EventStore, client_id: str) -> int:
    async with store.engine.connect() as connection:
        query = "SELECT count(*) FROM events WHERE client_id = :c AND type = 'CustomerErased'"
        return int(await connection.scalar(sa.text(query), {"c": client_id}) or 0)


async def pending(store: EventStore, client_id: str) -> int:
    async with store.engine.connect() as connection:
        query = "SELECT count(*) FROM pending_erasures WHERE client_id = :c"
        return int(await connection.scalar(sa.text(query), {"c": client_id}) or 0)


class Broken(Exception):
    """The process dies here."""


class Breaking(CustomersHolding):
    """Cleans, and then the process dies: at the end of the transaction's work."""

    async def forget(self, connection: Any, person: Person) -> Forgotten:
        await super().forget(connection, person)
        raise Broken


class LosingKeys:
    """A key ring whose database is gone when keys are to be destroyed."""

    def __init__(self, keys: KeyRing) -> None:
        self._keys = keys

    def __getattr__(self, name: str) -> Any:
        return getattr(self._keys, name)

    async def erase(self, client_id: str, subjects: Sequence[str]) -> None:
        raise Unavailable("gone")


async def test_a_crash_before_the_commit_leaves_everything(
    loaded: Loaded, store: EventStore, http: httpx.AsyncClient, cause: Cause
) -> None:
    breaking = Privacy(store, [*holdings(store), Breaking()], new_id)
    with pytest.raises(Broken):
        await breaking.erase(cause, loaded.customer_id)
    person = await ok(http.get(f"/customers/{loaded.customer_id}"))
    assert loaded.secrets["address"] in json.dumps(person, ensure_ascii=False)
    assert await erased_events(store, cause.client_id) == 0
    note = {"text": "still here", "note_id": "later"}
    await ok(http.post("/calls/c-1/notes", json=note))


@pytest.mark.parametrize("how", ["the same command", "the worker"])
async def test_a_crash_after_the_commit_is_finished_later(
    how: str,
    loaded: Loaded,
    store: EventStore,
    keys: KeyRing,
    privacy: Privacy,
    database: str,
    postgres: Postgres,
    cause: Cause,
) -> None:
    events = EventStore(store.engine, LosingKeys(keys), store.clock)
    losing = Privacy(events, holdings(events), new_id)
    with pytest.raises(Unavailable):
        await losing.erase(cause, loaded.customer_id)
    await events.close()
    # Decided: nothing can be read or written any more, while the keys are still there.
    assert await pending(store, cause.client_id) == 1
    subjects = [loaded.customer_id, loaded.merged_id]
    assert len(await keys.find(cause.client_id, subjects)) == 2

    if how == "the worker":
        assert await privacy.finish() >= 1
    else:
        await privacy.erase(cause, loaded.customer_id)
    assert await pending(store, cause.client_id) == 0
    assert await keys.find(cause.client_id, subjects) == {}
    with pytest.raises(Rejected):
        await keys.ensure(cause.client_id, [loaded.customer_id])
    assert found_in(await everything(database, postgres), loaded.secrets.values()) == set()


async def test_who_writes_about_the_person_meanwhile_is_refused_or_erased_too(
    loaded: Loaded,
    store: EventStore,
    privacy: Privacy,
    http: httpx.AsyncClient,
    database: str,
    postgres: Postgres,
    cause: Cause,
) -> None:
    async def write(number: int) -> int:
        text = f"{loaded.secrets['note']} {number}"
        if number % 3 == 0:
            note = {"text": text, "note_id": f"n{number}"}
            return (await http.post("/calls/c-1/notes", json=note)).status_code
        if number % 3 == 1:
            complaint = {"customer": loaded.merged_id, "text": text}
            return (await http.post("/complaints", json=complaint)).status_code
        consent = {
            "channel": "sms",
            "address": "+33698701439",
            "purpose": "survey",
            "proof": "form",
            "text": text,
            "customer": loaded.customer_id,
        }
        return (await http.post("/consents", json=consent)).status_code

    async def erase() -> Answer:
        await asyncio.sleep(0.1)
        return await privacy.erase(cause, loaded.customer_id)

    statuses, _ = await asyncio.gather(
        asyncio.gather(*(write(number) for number in range(90))), erase()
    )
    assert set(statuses) <= {200, 201, 404, 409}
    assert found_in(await everything(database, postgres), [loaded.secrets["note"]]) == set()
    for number in range(3):
        assert await write(number) in (404, 409)


async def test_consents_of_a_number_that_two_people_share(
    loaded: Loaded, http: httpx.AsyncClient, crm: Crm, cause: Cause
) -> None:
    """The other one's consent stays, with its proof; so does the right to be contacted."""
    given = Given(
        channel=Channel.SMS,
        purpose="sales",
        address=loaded.secrets["phone"],
        proof=Proof.FORM,
        reference="theirs",
        customer=loaded.other_id,
    )
    answer = await crm.consent.consents.give(cause, given)
    await crm.privacy.erase(cause, loaded.customer_id)
    history = await crm.consent.consents.history(cause.client_id, answer["consent_id"])
    assert [type(each.event).__name__ for each in history] == ["ConsentGiven"]
    assert history[0].event.reference == "theirs"  # type: ignore[union-attr]
    question = {"address": loaded.secrets["phone"], "channel": "sms", "purpose": "sales"}
    assert (await ok(http.post("/contact/check", json=question)))["allowed"]
    assert not (await ok(http.post("/contact/check", json=question | {"channel": "voice"})))[
        "allowed"
    ]
