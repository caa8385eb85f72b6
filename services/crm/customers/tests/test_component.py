"""Customers through HTTP, with real PostgreSQL."""

import asyncio
import uuid
from typing import Any

import httpx
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from eventkit.callers import Role
from eventkit.decider import NotFound
from eventkit.eventstore import Answer, Cause, EventStore, Transaction
from services.crm.customers import store as read
from services.crm.customers.customer import EraseCustomer
from services.crm.customers.service import CUSTOMERS
from services.crm.customers.tests.support import Api

ANAIS = {
    "number": "K-20417",
    "name": " Anaïs  Lefèvre",
    "phones": ["06 12 34 56 78", "+33 1 42 68 53 00"],
    "emails": ["Anais@Example.COM"],
    "address": "12 rue des Lilas\n75011 Paris",
    "language": "FR",
    "time_zone": "Europe/Paris",
    "preferred_channel": "voice",
    "region": "fr",
}


async def test_registered_shown_and_found(api: Api) -> None:
    id = await api.register(**ANAIS)
    shown = await api.ok("GET", f"/{id}")
    record = shown["records"][0]
    assert shown["customer_id"] == record["customer_id"] == id
    for view in (shown, record):
        assert view["number"] == "K-20417"
        assert view["name"] == "Anaïs Lefèvre"
        assert view["phones"] == ["+33612345678", "+33142685300"]
        assert view["emails"] == ["Anais@example.com"]
        assert view["address"] == "12 rue des Lilas\n75011 Paris"
        assert view["language"] == "fr"
        assert view["time_zone"] == "Europe/Paris"
        assert view["preferred_channel"] == "voice"
        assert view["version"] == 1
    assert record["source"] == "agent"
    assert shown["erased_at"] is None
    for asked in (
        {"phone": "0612345678", "region": "FR"},
        {"phone": "+33142685300"},
        {"email": "anais@example.com"},
        {"number": "K-20417"},
        {"name": "anais"},
        {"name": "LEFE an"},
    ):
        assert await api.find(**asked) == [id], asked
    for asked in (
        {"phone": "+33612345679"},
        {"email": "anais@example.org"},
        {"number": "k-20417"},
        {"name": "anais lefevres"},
        {"name": "nais"},
    ):
        assert await api.find(**asked) == [], asked


async def test_correcting_changes_only_what_is_named(api: Api) -> None:
    id = await api.register(**ANAIS)
    answer = await api.ok("PATCH", f"/{id}", {"name": "Anaïs Roux", "address": None})
    assert answer == {"customer_id": id, "version": 2}
    shown = await api.ok("GET", f"/{id}")
    assert (shown["name"], shown["address"]) == ("Anaïs Roux", "")
    assert shown["phones"] == ["+33612345678", "+33142685300"]
    assert await api.find(name="lefevre") == []
    assert await api.find(name="roux") == [id]
    again = await api.ok("PATCH", f"/{id}", {"name": "Anaïs Roux", "address": None})
    assert again == answer
    await api.ok("PATCH", f"/{id}", {"phones": ["+33612345678"], "number": None, "emails": []})
    assert await api.find(phone="+33142685300") == []
    assert await api.find(phone="+33612345678") == [id]
    assert await api.find(number="K-20417") == []
    assert await api.find(email="anais@example.com") == []


async def test_a_family_shares_a_phone(api: Api) -> None:
    family = [
        await api.register(name=name, phones=["+33142685300"])
        for name in ("Zoé Roux", "Émile Roux", "anne roux")
    ]
    assert await api.find(phone="+33142685300") == [family[2], family[1], family[0]]
    asked = {"phone": "+33142685300"}
    assert (await api.ok("POST", "/find", asked))["complete"]
    some = await api.ok("POST", "/find", asked | {"limit": 2})
    assert [each["customer_id"] for each in some["items"]] == [family[2], family[1]]
    assert not some["complete"]


async def test_names_in_order(api: Api) -> None:
    names = ["Jeanne Martin", "Jean", "Paul Jean", "Martin Jean", "Jean-Marc Duval", "Ana Jeanjean"]
    ids = {name: await api.register(name=name) for name in names}

    async def found(name: str, limit: int = 50) -> list[str]:
        known = {id: each for each, id in ids.items()}
        return [known[id] for id in await api.find(name=name, limit=limit)]

    # Just this name, then those with this word, then those with longer words.
    assert await found("jean") == [
        "Jean",
        "Jean-Marc Duval",
        "Martin Jean",
        "Paul Jean",
        "Ana Jeanjean",
        "Jeanne Martin",
    ]
    assert await found("jean", limit=2) == ["Jean", "Jean-Marc Duval"]
    assert await found("martin jean") == ["Martin Jean", "Jeanne Martin"]
    assert await found("JEAN, martin") == ["Martin Jean", "Jeanne Martin"]
    assert await found("j ma") == ["Jean-Marc Duval", "Martin Jean", "Jeanne Martin"]
    assert set(await found("jean j")) == set(await found("jean"))
    assert await found("duval martin") == []


async def test_a_name_with_two_such_words_is_found_once_and_pages_go_on(api: Api) -> None:
    ids = [await api.register(name=f"Maria Marina Mara{chr(97 + n)}") for n in range(12)]
    for absorbed in ids[1:6]:
        await api.ok("POST", f"/{absorbed}/merge", {"into_customer_id": ids[0]})
    found = await api.find(name="mar", limit=6)
    assert len(found) == len(set(found)) == 6
    assert set(await api.find(name="mar")) == {ids[0], *ids[6:]}


async def test_a_search_reads_no_more_than_it_may(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where every word begins very many names, and says when it may have missed some."""
    monkeypatch.setattr(read, "MAX_READ", 5)
    for n in range(8):
        await api.register(name=f"Marie{n} Durand{n}")
        await api.register(name=f"Marc{n} Dubois{n}")
    for name, count, complete in (
        ("ma", 16, True),
        ("du", 16, True),
        ("mari dub", 0, False),
        ("marie durand", 5, False),
        ("marie7 dura", 1, True),
    ):
        answer = await api.ok("POST", "/find", {"name": name})
        assert (len(answer["items"]), answer["complete"]) == (count, complete), name
    limited = await api.ok("POST", "/find", {"name": "ma", "limit": 16})
    assert (len(limited["items"]), limited["complete"]) == (16, True)
    limited = await api.ok("POST", "/find", {"name": "ma", "limit": 15})
    assert (len(limited["items"]), limited["complete"]) == (15, False)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"name": "Ann", "phones": ["0612345678"]}, "phones"),
        ({"name": "Ann", "phones": ["call me"], "region": "FR"}, "phones"),
        ({"name": "Ann", "emails": ["ann"]}, "emails"),
        ({"name": "Ann", "language": "french"}, "language"),
        ({"name": "Ann", "time_zone": "Mars"}, "time_zone"),
        ({"name": "Ann", "preferred_channel": "pigeon"}, "preferred_channel"),
        ({"name": "Ann", "region": "XX"}, "region"),
        ({"name": "A\x00nn"}, "name"),
        ({"name": "x" * 201}, "name"),
        ({"name": "Ann", "address": "x" * 1_001}, "address"),
        ({"name": "Ann", "number": "x" * 129}, "number"),
        ({"name": "Ann", "phones": ["+33612345678"] * 21}, "phones"),
        ({"name": 7}, "name"),
        ({"name": "Ann", "colour": "red"}, "colour"),
        ({"name": "Ann", "customer_id": "a/b"}, "customer_id"),
        ({}, "name"),
        ({"name": " ", "language": "fr"}, "name"),
    ],
)
async def test_bad_details_name_the_field(api: Api, body: dict[str, Any], field: str) -> None:
    answer = await api.call("POST", "", body)
    assert answer.status_code == 422, answer.text
    assert answer.json()["errors"][0]["field"] == field
    for value in body.values():
        if isinstance(value, str) and value.strip():
            assert value not in answer.json()["errors"][0]["reason"]


async def test_lone_surrogates_are_refused(api: Api, http: httpx.AsyncClient) -> None:
    answer = await http.post(api._base, content=b'{"name": "a\\ud800"}', headers=api._headers)
    assert answer.status_code == 422


async def test_find_wants_one_key(api: Api) -> None:
    for body in ({}, {"name": "a", "phone": "+33612345678"}, {"name": "-"}, {"phone": "12"}):
        assert (await api.call("POST", "/find", body)).status_code == 422, body


async def test_a_number_is_one_customers(api: Api) -> None:
    ann = await api.register(number="K-1", name="Ann")
    answer = await api.call("POST", "", {"number": "K-1", "name": "Bob"})
    assert answer.status_code == 409
    assert f"the number is that of customer {ann}" in answer.json()["detail"]
    assert await api.find(name="bob") == []
    bob = await api.register(number="K-2", name="Bob")
    assert (await api.call("PATCH", f"/{bob}", {"number": "K-1"})).status_code == 409
    assert await api.find(number="K-2") == [bob]
    # A number that is given up is free.
    await api.ok("PATCH", f"/{ann}", {"number": "K-3"})
    await api.ok("PATCH", f"/{bob}", {"number": "K-1"})
    assert await api.find(number="K-1") == [bob]
    assert await api.find(number="K-2") == []


async def test_of_many_who_register_the_same_number_at_once_one_wins(api: Api) -> None:
    answers = await asyncio.gather(
        *(api.call("POST", "", {"number": "K-1", "name": f"Ann {n}"}) for n in range(8))
    )
    statuses = sorted(answer.status_code for answer in answers)
    assert statuses == [201] + [409] * 7
    winner = next(each.json()["customer_id"] for each in answers if each.status_code == 201)
    assert await api.find(number="K-1") == [winner]
    assert await api.find(name="ann") == [winner]


async def test_ids_may_be_given_and_are_ones_own(api: Api) -> None:
    body = {"customer_id": "crm:7", "name": "Ann"}
    assert await api.ok("POST", "", body) == {"customer_id": "crm:7", "version": 1}
    assert await api.ok("POST", "", body) == {"customer_id": "crm:7", "version": 1}
    assert (await api.call("POST", "", body | {"name": "Bob"})).status_code == 409


async def test_an_idempotency_key_has_one_effect(api: Api) -> None:
    answers = await asyncio.gather(
        *(api.ok("POST", "", {"name": "Ann Once"}, key="k-1") for _ in range(5))
    )
    assert len({answer["customer_id"] for answer in answers}) == 1
    assert len(await api.find(name="once")) == 1
    assert (await api.call("POST", "", {"name": "Other"}, key="k-1")).status_code == 409


async def test_upsert(api: Api, http: httpx.AsyncClient, client_id: str) -> None:
    partner = Api(http, client_id, Role.PARTNER)
    first = await partner.ok("PUT", "", {"number": "K-1", "name": "Ann", "language": "en"})
    assert (first["version"], first["created"]) == (1, True)
    same = {"customer_id": first["customer_id"], "version": 1, "created": False}
    assert await partner.ok("PUT", "", {"number": "K-1", "name": "Ann", "language": "en"}) == same
    assert await partner.ok("PUT", "", {"number": "K-1"}) == same
    second = await partner.ok("PUT", "", {"number": "K-1", "language": None})
    assert second == same | {"version": 2}
    shown = await partner.ok("GET", f"/{first['customer_id']}")
    assert (shown["name"], shown["language"]) == ("Ann", "")
    assert shown["records"][0]["source"] == "partner"
    assert (await partner.call("PUT", "", {"number": " "})).status_code == 422
    assert (await partner.call("PUT", "", {"name": "Ann"})).status_code == 422


async def test_upserts_at_once_make_one_customer(api: Api) -> None:
    answers = await asyncio.gather(
        *(api.ok("PUT", "", {"number": "K-1", "name": "Ann"}) for _ in range(8))
    )
    assert len({answer["customer_id"] for answer in answers}) == 1
    assert sorted(answer["created"] for answer in answers) == [False] * 7 + [True]


async def test_merged_and_unmerged(api: Api, engine: AsyncEngine, client_id: str) -> None:
    a = await api.register(number="K-1", name="Ann Old", phones=["+33612345678"], language="fr")
    b = await api.register(number="K-2", phones=["+33142685300"], emails=["b@example.com"])
    c = await api.register(name="Ann C", emails=["B@example.com", "c@example.com"])
    before = [await api.ok("GET", f"/{id}") for id in (a, b, c)]

    answer = await api.ok("POST", f"/{a}/merge", {"into_customer_id": b})
    assert answer == {"customer_id": a, "survivor_id": b, "version": 2}
    assert await api.ok("POST", f"/{a}/merge", {"into_customer_id": b}) == answer
    for id in (a, b):
        shown = await api.ok("GET", f"/{id}")
        assert shown["customer_id"] == b
        assert shown["number"] == "K-2"
        assert (shown["name"], shown["language"]) == ("Ann Old", "fr")
        assert shown["phones"] == ["+33142685300", "+33612345678"]
        assert [record["customer_id"] for record in shown["records"]] == [b, a]
        assert [record["merged_into"] for record in shown["records"]] == ["", b]
    assert await api.find(number="K-1") == [b]
    assert await api.find(phone="+33612345678") == [b]
    assert await api.find(name="ann old") == [b]

    # A chain; who shares what is found once.
    await api.ok("POST", f"/{b}/merge", {"into_customer_id": c})
    assert await api.find(name="ann") == [c]
    assert await api.find(email="b@EXAMPLE.com") == [c]
    assert (await api.ok("GET", f"/{a}"))["emails"] == ["B@example.com", "c@example.com"]
    async with engine.connect() as connection:
        references = [a, b, c, "K-1", "K-2", "nobody"]
        resolved = await read.resolve_many(connection, client_id, references)
        assert resolved == dict.fromkeys(references[:-1], c)
        person = await read.person(connection, client_id, b)
        assert person is not None
        assert person.customer_ids[0] == c
        assert set(person.references) == {a, b, c, "K-1", "K-2"}
        assert set(person.phones) == {"+33612345678", "+33142685300"}
        assert await read.person(connection, client_id, "nobody") is None
        assert await read.resolve(connection, "other-client", a) is None
    listed = (await api.ok("GET", ""))["items"]
    assert [each["customer_id"] for each in listed] == [c]

    # No circle, no second merge, none with itself.
    assert (await api.call("POST", f"/{c}/merge", {"into_customer_id": a})).status_code == 409
    refused = await api.call("POST", f"/{a}/merge", {"into_customer_id": c})
    assert refused.status_code == 409
    assert f"merged into {b}" in refused.json()["detail"]
    assert (await api.call("POST", f"/{c}/merge", {"into_customer_id": c})).status_code == 422
    assert (await api.call("POST", f"/{c}/merge", {"into_customer_id": "x"})).status_code == 404

    # Undone in another order than it was done.
    assert (await api.ok("POST", f"/{b}/unmerge"))["survivor_id"] == b
    assert (await api.ok("GET", f"/{a}"))["customer_id"] == b
    assert (await api.ok("POST", f"/{a}/unmerge"))["survivor_id"] == a
    again = await api.ok("POST", f"/{a}/unmerge")
    assert again == {"customer_id": a, "survivor_id": a, "version": 3}
    assert (await api.call("POST", f"/{c}/unmerge")).status_code == 409
    for id, earlier in zip((a, b, c), before, strict=True):
        now = await api.ok("GET", f"/{id}")
        for view in (now, earlier, now["records"][0], earlier["records"][0]):
            for changing in ("version", "changed_at"):
                view.pop(changing, None)
        assert now == earlier


async def test_merges_at_once_make_no_circle(api: Api) -> None:
    """Two supervisors each way, and three around."""
    for size in (2, 3, 5):
        ids = [await api.register(name=f"Ann {size} {n}") for n in range(size)]
        answers = await asyncio.gather(
            *(
                api.call("POST", f"/{id}/merge", {"into_customer_id": ids[(n + 1) % size]})
                for n, id in enumerate(ids)
            )
        )
        statuses = sorted(answer.status_code for answer in answers)
        assert statuses == [200] * (size - 1) + [409]
        survivors = {(await api.ok("GET", f"/{id}"))["customer_id"] for id in ids}
        assert len(survivors) == 1


async def test_a_merged_record_is_still_corrected_by_its_own_id_and_number(api: Api) -> None:
    a = await api.register(number="K-1", name="Ann")
    b = await api.register(number="K-2", name="Anne")
    await api.ok("POST", f"/{a}/merge", {"into_customer_id": b})
    await api.ok("PATCH", f"/{a}", {"phones": ["+33612345678"]})
    answer = await api.ok("PUT", "", {"number": "K-1", "emails": ["a@example.com"]})
    assert (answer["customer_id"], answer["created"]) == (a, False)
    shown = await api.ok("GET", f"/{b}")
    assert (shown["phones"], shown["emails"]) == (["+33612345678"], ["a@example.com"])
    assert shown["records"][0]["phones"] == []


async def test_pages(api: Api) -> None:
    ids = sorted([await api.register(name=f"Ann {n}") for n in range(7)])
    seen: list[str] = []
    path = "?limit=3"
    while True:
        page = await api.ok("GET", path)
        seen += [item["customer_id"] for item in page["items"]]
        if page["next"] is None:
            break
        path = f"?limit=3&cursor={page['next']}"
    assert seen == ids


async def test_roles(api: Api, http: httpx.AsyncClient, client_id: str) -> None:
    id = await api.register(number="K-1", name="Ann")
    agent, partner = Api(http, client_id, Role.AGENT), Api(http, client_id, Role.PARTNER)
    rows = {"rows": [{"number": "K-9"}]}
    for caller, forbidden in (
        (agent, [("POST", f"/{id}/merge", {"into_customer_id": "x"})]),
        (agent, [("POST", f"/{id}/unmerge", None), ("POST", "/import", rows)]),
        (partner, [("POST", "", {"name": "Bob"}), ("PATCH", f"/{id}", {"name": "B"})]),
        (partner, [("GET", "", None), ("POST", "/import", rows)]),
    ):
        for method, path, body in forbidden:
            assert (await caller.call(method, path, body)).status_code == 403, (method, path)
    for caller in (agent, partner):
        assert await caller.find(number="K-1") == [id]
        assert (await caller.call("GET", f"/{id}")).status_code == 200
        assert (await caller.call("PUT", "", {"number": "K-1"})).status_code == 200
    assert (await agent.call("PATCH", f"/{id}", {"name": "B"})).status_code == 200


async def test_other_clients_see_nothing(api: Api, http: httpx.AsyncClient) -> None:
    id = await api.register(number="K-1", name="Ann", phones=["+33612345678"])
    stranger = Api(http, f"client-{uuid.uuid4().hex[:12]}", Role.ADMIN)
    for base in (api._base, stranger._base):
        for method, path, body in (
            ("GET", f"/{id}", None),
            ("PATCH", f"/{id}", {"name": "B"}),
            ("POST", f"/{id}/merge", {"into_customer_id": id}),
            ("POST", f"/{id}/unmerge", None),
        ):
            answer = await stranger.call(method, path, body, base=base)
            assert answer.status_code == 404, (base, method, path)
    for method, path, body in (
        ("POST", "", {"name": "Bob"}),
        ("PUT", "", {"number": "K-1"}),
        ("GET", "", None),
        ("POST", "/find", {"number": "K-1"}),
        ("POST", "/import", {"rows": [{"number": "K-9"}]}),
    ):
        assert (await stranger.call(method, path, body, base=api._base)).status_code == 404
    assert await stranger.find(number="K-1") == []
    assert await stranger.find(phone="+33612345678") == []
    assert await stranger.find(name="ann") == []
    # The same number and id are other customers there.
    await stranger.ok("POST", "", {"customer_id": id, "number": "K-1", "name": "Other"})
    assert (await api.ok("GET", f"/{id}"))["name"] == "Ann"
    nowhere = Api(http, "unregistered", Role.ADMIN)
    assert (await nowhere.call("POST", "", {"name": "Bob"})).status_code == 404


async def erase(store: EventStore, cause: Cause, id: str) -> dict[str, int]:
    """What privacy/ does, for customers."""

    async def work(tx: Transaction) -> Answer:
        person = await read.person(tx.connection, cause.client_id, id)
        assert person is not None
        await tx.forget(person.customer_ids)
        forgotten = await read.Holding().forget(tx.connection, person)
        for each in person.customer_ids:
            await tx.execute(CUSTOMERS, each, EraseCustomer())
        return forgotten.cleaned

    answer = await store.run(cause, work)
    await store.keys.erase(cause.client_id, {id})
    return answer


async def test_erased(
    api: Api, store: EventStore, engine: AsyncEngine, cause: Cause, client_id: str
) -> None:
    a = await api.register(**(ANAIS | {"name": "Zzyzx Quux", "address": "3 Zzyzx Road"}))
    b = await api.register(name="Zzyzx Quuxer", phones=["+33142685311"])
    other = await api.register(name="Somebody Else")
    await api.ok("PATCH", f"/{a}", {"name": "Zzyzx Quuxest"})
    await api.ok("POST", f"/{b}/merge", {"into_customer_id": a})

    async with engine.connect() as connection:
        person = await read.person(connection, client_id, b)
        assert person is not None
        exported = await read.Holding().export(connection, person)
    assert [each["name"] for each in exported] == ["Zzyzx Quuxest", "Zzyzx Quuxer"]
    assert exported[0]["address"] == "3 Zzyzx Road"
    assert exported[0]["registered_at"].endswith("+00:00")

    cleaned = await erase(store, cause, a)
    assert cleaned == {
        "customers": 2,
        "customer_contacts": 4,
        "customer_words": 4,
        "customer_numbers": 1,
    }
    shown = await api.ok("GET", f"/{b}")
    assert shown["customer_id"] == a
    assert shown["erased_at"] is not None
    for record in (shown, *shown["records"]):
        assert record["name"] == record["number"] == record["address"] == record["language"] == ""
        assert record["phones"] == record["emails"] == []
    for asked in ({"name": "zzyzx"}, {"number": "K-20417"}, {"phone": "+33142685311"}):
        assert await api.find(**asked) == []
    listed = (await api.ok("GET", ""))["items"]
    assert [each["customer_id"] for each in listed] == [other]
    async with engine.connect() as connection:
        counted = await connection.scalar(
            text("SELECT count(*) FROM customers WHERE client_id = :c"), {"c": client_id}
        )
        assert counted == 3
        for table in ("customers", "customer_words", "customer_contacts", "events", "commands"):
            dump = str((await connection.execute(text(f"SELECT t::text FROM {table} t"))).all())
            assert "zzyzx" not in dump.lower(), table

    # Nothing more happens with them, and the number is free.
    for method, path, body in (
        ("PATCH", f"/{a}", {"name": "B"}),
        ("POST", f"/{b}/unmerge", None),
        ("POST", f"/{other}/merge", {"into_customer_id": a}),
        ("POST", f"/{a}/merge", {"into_customer_id": other}),
    ):
        assert (await api.call(method, path, body)).status_code == 409, path
    again = await api.ok("PUT", "", {"number": "K-20417", "name": "Come Back"})
    assert again["created"]


async def test_holding_of_nobody(engine: AsyncEngine, client_id: str) -> None:
    person = read.Person(client_id, ("nobody",), ("nobody",))
    async with engine.connect() as connection:
        assert await read.Holding().export(connection, person) == []
        forgotten = await read.Holding().forget(connection, person)
        assert not any(forgotten.cleaned.values())


async def test_events_of_nobody_are_not_made(store: EventStore, cause: Cause) -> None:
    async def work(tx: Transaction) -> Answer:
        await tx.execute(CUSTOMERS, "nobody", EraseCustomer())
        return {}

    with pytest.raises(NotFound):
        await store.run(cause, work)
