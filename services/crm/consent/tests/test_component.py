"""Consents, lists and checks through HTTP and gRPC, over a real PostgreSQL."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import grpc
import httpx
import pytest
import sqlalchemy as sa
from relais.customers.v1 import customer_service_pb2 as pb
from relais.customers.v1.events_pb2 import CustomerEvent

from eventkit.eventstore import Cause, EventStore
from services.crm.consent.service import Ask, Services
from services.crm.consent.tests.conftest import SERVICE

PHONE = "+33699887766"
SELL = {"address": PHONE, "channel": "voice", "purpose": "sales"}
INFORM = SELL | {"purpose": "information"}
GIVE = SELL | {"proof": "recording", "reference": "rec-1", "place": "a call", "text": "oui"}


def day(offset: float = 0) -> str:
    moment = time.gmtime(time.time() + offset * 86_400)
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", moment)


async def ok(answer: Any, status: int = 200) -> dict[str, Any]:
    response = await answer
    assert response.status_code == status, response.text
    data: dict[str, Any] = response.json()
    return data


async def check(http: httpx.AsyncClient, question: dict[str, Any]) -> tuple[bool, dict[str, Any]]:
    """(allowed, the ground of each kind and id)"""
    verdict = await ok(http.post("/contact/check", json=question))
    return verdict["allowed"], {g["kind"] + g["id"]: g for g in verdict["grounds"]}


async def test_a_consent_from_its_giving_to_its_withdrawal(
    http: httpx.AsyncClient, store: EventStore, client_id: str
) -> None:
    assert (await check(http, SELL))[0] is False
    consent = GIVE | {"given_at": day(-2)}
    given = await ok(http.post("/consents", json=consent), 201)
    assert given["version"] == 1
    assert await ok(http.post("/consents", json=consent), 201) == given

    allowed, grounds = await check(http, SELL)
    ground = grounds["consent" + given["consent_id"]]
    assert allowed
    assert ground["reason"] == "given"
    assert ground["version"] == 1
    # By text message, for another purpose, at another time, it is not.
    assert (await check(http, SELL | {"channel": "sms"}))[0] is False
    assert (await check(http, SELL | {"purpose": "win-back"}))[0] is False
    assert (await check(http, SELL | {"at": day(-3)}))[0] is False
    assert (await check(http, SELL | {"address": "+33612345679"}))[0] is False

    await ok(http.post("/consents/withdraw", json=SELL | {"text": "plus jamais"}))
    allowed, grounds = await check(http, SELL)
    assert not allowed
    assert grounds["consent" + given["consent_id"]]["reason"] == "withdrawn"

    found = await ok(http.post("/consents/find", json={"channel": "sms", "address": PHONE}))
    (view,) = found["items"]
    assert view["withdrawn_at"] is not None
    assert PHONE not in str(found)
    history = await ok(http.get(f"/consents/{given['consent_id']}"))
    names = [each["event"] for each in history["events"]]
    assert names[0] == "ConsentGiven"
    assert names[-1] == "ConsentWithdrawn"
    assert history["events"][0]["address"] == PHONE
    assert history["events"][0]["reference"] == "rec-1"
    assert history["events"][-1]["text"] == "plus jamais"

    messages = await published(store, client_id)
    assert messages[0].consent_given.proof == "recording"
    assert messages[-1].consent_withdrawn.consent_id == given["consent_id"]
    assert messages[-1].consent_withdrawn.purpose == "sales"


async def published(store: EventStore, client_id: str) -> list[CustomerEvent]:
    async with store.engine.connect() as connection:
        rows = await connection.execute(
            sa.text("SELECT message FROM events WHERE client_id = :c ORDER BY position"),
            {"c": client_id},
        )
        return [CustomerEvent.FromString(row.message) for row in rows if row.message]


async def test_objecting_without_ever_having_consented(http: httpx.AsyncClient) -> None:
    assert (await check(http, INFORM))[0] is True
    await ok(http.post("/consents/withdraw", json=INFORM))
    assert (await check(http, INFORM))[0] is False
    assert (await check(http, INFORM | {"purpose": "survey"}))[0] is True


async def test_a_list_counts_from_the_moment_it_has_the_number(http: httpx.AsyncClient) -> None:
    await ok(http.put("/do-not-call-lists/own", json={"name": "Never again"}))
    allowed, grounds = await check(http, INFORM)
    assert allowed
    assert grounds["do-not-call-listown"]["version"] == 1

    change = {"add": [{"address": PHONE}, {"address": "ann@example.com"}], "source": "week 47"}
    changed = await ok(http.post("/do-not-call-lists/own/numbers", json=change))
    assert changed == {"list_id": "own", "version": 2, "size": 2, "added": 2, "removed": 0}
    assert (await ok(http.post("/do-not-call-lists/own/numbers", json=change)))["version"] == 2

    allowed, grounds = await check(http, INFORM)
    assert not allowed
    assert grounds["do-not-call-listown"] == {
        "allows": False,
        "kind": "do-not-call-list",
        "id": "own",
        "version": 2,
        "reason": "listed",
    }
    mail = {"address": "Ann@Example.com", "channel": "email", "purpose": "information"}
    assert (await check(http, mail))[0] is False

    removed = await ok(http.post("/do-not-call-lists/own/numbers", json={"remove": [PHONE]}))
    assert (removed["version"], removed["size"], removed["removed"]) == (3, 1, 1)
    allowed, grounds = await check(http, INFORM)
    assert allowed
    assert grounds["do-not-call-listown"]["version"] == 3

    await ok(http.post("/do-not-call-lists/own/retire"))
    assert (await check(http, mail))[0] is True
    view = await ok(http.get("/do-not-call-lists/own"))
    assert (view["retired"], view["size"], view["source"]) == (True, 1, "week 47")


async def test_an_entry_has_its_own_end(http: httpx.AsyncClient) -> None:
    await ok(http.put("/do-not-call-lists/own", json={"name": "For a while"}))
    numbers = "/do-not-call-lists/own/numbers"
    until = {"add": [{"address": PHONE, "expires_at": day(1)}]}
    assert (await ok(http.post(numbers, json=until)))["size"] == 1
    assert (await check(http, INFORM))[0] is False
    assert (await check(http, INFORM | {"at": day(2)}))[0] is True
    longer = await ok(http.post(numbers, json={"add": [{"address": PHONE}]}))
    assert (longer["version"], longer["size"]) == (3, 1)
    assert (await check(http, INFORM | {"at": day(2)}))[0] is False


async def test_a_registry_is_replaced_by_a_whole_copy(
    http: httpx.AsyncClient, store: EventStore, client_id: str
) -> None:
    registry = {
        "name": "Register",
        "kind": "registry",
        "purposes": ["sales", "information"],
        "max_age_days": 31,
        "required": True,
    }
    await ok(http.put("/do-not-call-lists/reg", json=registry))
    assert (await check(http, INFORM))[1]["do-not-call-listreg"]["reason"] == "never-loaded"
    assert (await check(http, INFORM | {"purpose": "survey"}))[0] is True

    async def copy(name: str, as_of: str, numbers: list[str]) -> dict[str, Any]:
        imports = "/do-not-call-lists/reg/imports"
        begun = {"import_id": name, "as_of": as_of, "source": f"{name}.csv"}
        await ok(http.post(imports, json=begun), 201)
        for number in numbers:
            part = {"numbers": [{"address": number}]}
            await ok(http.post(f"{imports}/{name}/numbers", json=part))
            await ok(http.post(f"{imports}/{name}/numbers", json=part))
        assert await check(http, INFORM) == before
        return await ok(http.post(f"{imports}/{name}/publish"))

    before = await check(http, INFORM)
    before[1]["do-not-call-listreg"]["version"] = 2  # the import is open
    first = await copy("a", day(-40), [PHONE, "+33700000001", "+33700000002"])
    assert (first["added"], first["removed"], first["size"]) == (3, 0, 3)
    assert (await check(http, INFORM))[1]["do-not-call-listreg"]["reason"] == "listed"
    other = INFORM | {"address": "+33700000009"}
    assert (await check(http, other))[1]["do-not-call-listreg"]["reason"] == "out-of-date"

    before = await check(http, INFORM)
    before[1]["do-not-call-listreg"]["version"] = 4
    second = await copy("b", day(-1), [PHONE, "+33700000003"])
    assert (second["added"], second["removed"], second["size"]) == (1, 2, 2)
    assert (await check(http, other))[0] is True
    again = await ok(http.post("/do-not-call-lists/reg/imports/b/publish"))
    assert (again["version"], again["added"]) == (second["version"], 0)
    late = {"numbers": [{"address": PHONE}]}
    response = await http.post("/do-not-call-lists/reg/imports/b/numbers", json=late)
    assert response.status_code == 409
    older = {"import_id": "c", "as_of": day(-2)}
    assert (await http.post("/do-not-call-lists/reg/imports", json=older)).status_code == 409

    # A consent that is newer than the listing, where the client's policy lets it override.
    assert (await check(http, SELL))[0] is False
    await ok(http.post("/consents", json=GIVE | {"given_at": day(-3)}), 201)
    assert (await check(http, SELL))[0] is False
    rule = {
        "purpose": "sales",
        "consent_on": ["voice"],
        "consent_overrides_registries": True,
    }
    assert await ok(http.put("/contact/policy", json={"rules": [rule]})) == {"version": 1}
    allowed, grounds = await check(http, SELL)
    assert allowed
    assert grounds["do-not-call-listreg"]["reason"] == "overridden-by-consent"
    assert grounds["policysales"]["version"] == 1

    # Nothing of a number is in the tables but what cannot be turned back.
    async with store.engine.connect() as connection:
        rows = (
            await connection.execute(
                sa.text(
                    "SELECT since_version, until_version FROM do_not_call_entries"
                    " WHERE client_id = :c ORDER BY 1, 2"
                ),
                {"c": client_id},
            )
        ).all()
    assert [tuple(row) for row in rows] == [(3, 5), (3, 5), (3, None), (5, None)]


async def test_a_list_of_the_centre_binds_every_client(
    http: httpx.AsyncClient, token: Callable[..., dict[str, str]], client_id: str
) -> None:
    list_id = f"all-{client_id}"
    centre = f"http://crm/v1/centre/do-not-call-lists/{list_id}"
    everybody = token("admin", ["*"])
    body = {"name": "Never, for anybody"}
    assert (await http.put(centre, json=body)).status_code == 403
    assert (
        await http.put(centre, json=body, headers=token("supervisor", ["*"]))
    ).status_code == 403
    assert (await http.put(centre, json=body, headers=token("admin"))).status_code == 403
    await ok(http.put(centre, json=body, headers=everybody))
    phone = "+33698765432"
    await ok(http.post(f"{centre}/numbers", json={"add": [{"address": phone}]}, headers=everybody))
    allowed, grounds = await check(http, INFORM | {"address": phone})
    assert not allowed
    assert grounds[f"do-not-call-listcentre/{list_id}"]["reason"] == "listed"
    assert (await check(http, INFORM))[0] is True
    await ok(http.post(f"{centre}/retire", headers=everybody))
    assert (await check(http, INFORM | {"address": phone}))[0] is True


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "field"),
    [
        ("POST", "/contact/check", SELL | {"address": "0612345678"}, 422, "address"),
        ("POST", "/contact/check", SELL | {"purpose": "sails"}, 422, "purpose"),
        ("POST", "/contact/check", SELL | {"channel": "fax"}, 422, "channel"),
        ("POST", "/contact/check", SELL | {"at": "yesterday"}, 422, "at"),
        ("POST", "/consents", GIVE | {"purpose": "sails"}, 422, "purpose"),
        ("POST", "/consents", GIVE | {"given_at": "2999-01-01T00:00:00Z"}, 422, "given_at"),
        ("POST", "/consents", GIVE | {"expires_at": "1999-01-01T00:00:00Z"}, 422, "expires_at"),
        ("POST", "/consents", GIVE | {"text": "a\0b"}, 422, "text"),
        ("POST", "/consents", GIVE | {"reference": "r" * 201}, 422, "reference"),
        ("POST", "/consents", GIVE | {"customer": "nobody"}, 404, ""),
        ("POST", "/consents/find", {"channel": "voice"}, 422, "customer"),
        ("POST", "/consents/find", {"customer": "nobody"}, 404, ""),
        ("GET", "/consents/nothing", None, 404, ""),
        ("GET", "/do-not-call-lists/nothing", None, 404, ""),
        ("POST", "/do-not-call-lists/nothing/numbers", {"remove": [PHONE]}, 404, ""),
        ("POST", "/do-not-call-lists/nothing/retire", None, 404, ""),
        ("POST", "/do-not-call-lists/l/numbers", {"remove": [PHONE, "1"]}, 422, "remove.1"),
        (
            "POST",
            "/do-not-call-lists/l/numbers",
            {"add": [{"address": PHONE}, {"address": "+0"}]},
            422,
            "add.1.address",
        ),
        (
            "POST",
            "/do-not-call-lists/l/numbers",
            {"add": [{"address": PHONE}], "remove": [PHONE]},
            422,
            "remove",
        ),
        (
            "POST",
            "/do-not-call-lists/l/numbers",
            {"add": [{"address": PHONE}, {"address": PHONE, "expires_at": "2999-01-01T00:00:00Z"}]},
            422,
            "add.1.address",
        ),
        ("PUT", "/do-not-call-lists/l", {"name": "x", "required": True}, 422, "max_age_days"),
        ("PUT", "/contact/policy", {"rules": [{"purpose": "A"}]}, 422, "rules.0.purpose"),
    ],
)
async def test_what_is_refused_names_its_field_and_not_its_value(
    http: httpx.AsyncClient, method: str, path: str, body: Any, status: int, field: str
) -> None:
    response = await http.request(method, path, json=body)
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    if field:
        assert response.json()["errors"][0]["field"] == field
    assert PHONE[3:] not in response.text


async def test_another_clients_paths_do_not_exist(
    http: httpx.AsyncClient, token: Callable[..., dict[str, str]]
) -> None:
    stranger = token("admin", ["client-stranger"])
    app: Any = http._transport.app  # type: ignore[attr-defined]
    document = app.openapi()
    tried = 0
    for path, operations in document["paths"].items():
        if "{client_id}" not in path:
            continue
        url = path.replace("/v1/clients/{client_id}", "").replace("{", "").replace("}", "")
        for method, operation in operations.items():
            body = None
            if "requestBody" in operation:
                ref = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"]
                (body, *_) = document["components"]["schemas"][ref.rpartition("/")[2]]["examples"]
            response = await http.request(method, url, json=body, headers=stranger)
            assert response.status_code == 404, (method, url, response.text)
            tried += 1
    assert tried >= 14


async def test_roles(http: httpx.AsyncClient, token: Callable[..., dict[str, str]]) -> None:
    agent, partner = token("agent"), token("partner")
    assert (
        await http.put("/do-not-call-lists/x", json={"name": "x"}, headers=agent)
    ).status_code == 403
    assert (await http.put("/contact/policy", json={"rules": []}, headers=agent)).status_code == 403
    await ok(http.post("/consents", json=GIVE, headers=agent), 201)
    assert (await http.post("/consents", json=GIVE, headers=partner)).status_code == 403
    await ok(http.post("/contact/check", json=SELL, headers=partner))


async def test_many_questions_at_once_each_with_its_own_answer(http: httpx.AsyncClient) -> None:
    await ok(http.put("/do-not-call-lists/own", json={"name": "Own"}))
    listed = [f"+336000{number:05}" for number in range(0, 1000, 7)]
    change = {"add": [{"address": number} for number in listed]}
    await ok(http.post("/do-not-call-lists/own/numbers", json=change))
    questions = [INFORM | {"address": f"+336000{number:05}"} for number in range(1000)]
    questions[3] = INFORM | {"address": "nobody"}
    answers = (await ok(http.post("/contact/check-many", json={"questions": questions})))["items"]
    assert answers[3]["problem"]["field"] == "address"
    for number, answer in enumerate(answers):
        if number != 3:
            assert answer["verdict"]["allowed"] is (number % 7 != 0), number


async def test_10_000_numbers_in_one_request_and_no_more(http: httpx.AsyncClient) -> None:
    await ok(http.put("/do-not-call-lists/big", json={"name": "Big"}))
    numbers = [{"address": f"+3361{number:07}"} for number in range(10_000)]
    changed = await ok(http.post("/do-not-call-lists/big/numbers", json={"add": numbers}))
    assert changed["added"] == 10_000
    more = {"add": numbers, "remove": [PHONE]}
    response = await http.post("/do-not-call-lists/big/numbers", json=more)
    assert response.status_code == 422


async def test_one_effect_of_an_idempotency_key(http: httpx.AsyncClient) -> None:
    await ok(http.put("/do-not-call-lists/reg", json={"name": "Register"}))
    begun = {"as_of": day(-1)}
    key = {"Idempotency-Key": "k1"}
    first = await ok(http.post("/do-not-call-lists/reg/imports", json=begun, headers=key), 201)
    again = await ok(http.post("/do-not-call-lists/reg/imports", json=begun, headers=key), 201)
    assert first == again


async def test_changes_of_one_list_at_the_same_time(
    services: Services, cause: Cause, http: httpx.AsyncClient
) -> None:
    await ok(http.put("/do-not-call-lists/own", json={"name": "Own"}))
    bodies = [
        {"add": [{"address": f"+3360000{block}{number:03}"} for number in range(100)]}
        for block in range(8)
    ]
    answers = await asyncio.gather(
        *(ok(http.post("/do-not-call-lists/own/numbers", json=body)) for body in bodies)
    )
    assert sorted(answer["version"] for answer in answers) == list(range(2, 10))
    assert max(answer["size"] for answer in answers) == 800


async def test_a_list_as_a_set(http: httpx.AsyncClient) -> None:
    """Added and removed again is as if nothing had been: the answer, the size."""
    await ok(http.put("/do-not-call-lists/own", json={"name": "Own"}))
    before = await check(http, INFORM)
    numbers = "/do-not-call-lists/own/numbers"
    await ok(http.post(numbers, json={"add": [{"address": PHONE}]}))
    await ok(http.post(numbers, json={"remove": [PHONE]}))
    allowed, grounds = await check(http, INFORM)
    assert grounds["do-not-call-listown"].pop("version") == 3
    assert before[1]["do-not-call-listown"].pop("version") == 1
    assert (allowed, grounds) == before
    assert (await ok(http.get("/do-not-call-lists/own")))["size"] == 0


async def test_pages_of_lists(http: httpx.AsyncClient) -> None:
    for name in "cab":
        await ok(http.put(f"/do-not-call-lists/{name}", json={"name": name}))
    first = await ok(http.get("/do-not-call-lists", params={"limit": 2}))
    assert [each["list_id"] for each in first["items"]] == ["a", "b"]
    rest = await ok(http.get("/do-not-call-lists", params={"cursor": first["next"]}))
    assert [each["list_id"] for each in rest["items"]] == ["c"]
    assert rest["next"] is None


# gRPC.


def question(client_id: str, address: str = PHONE, purpose: str = "information") -> Any:
    return pb.CheckContactRequest(
        client_id=client_id, address=address, channel="voice", purpose=purpose
    )


async def test_check_contact(
    channel: grpc.aio.Channel,
    http: httpx.AsyncClient,
    client_id: str,
    token: Callable[..., dict[str, str]],
) -> None:
    await ok(http.put("/do-not-call-lists/own", json={"name": "Own"}))
    await ok(http.post("/do-not-call-lists/own/numbers", json={"add": [{"address": PHONE}]}))
    call = channel.unary_unary(
        f"/{SERVICE}/CheckContact",
        pb.CheckContactRequest.SerializeToString,
        pb.CheckContactResponse.FromString,
    )
    metadata = tuple(token("partner").items())
    answer = await call(question(client_id), metadata=metadata)
    assert not answer.allowed
    ground = answer.grounds[0]
    assert (ground.kind, ground.id, ground.version) == ("do-not-call-list", "own", 2)

    later = question(client_id, "+33612345670")
    later.at.FromJsonString("2030-01-01T00:00:00Z")
    assert (await call(later, metadata=metadata)).allowed
    later.at.seconds = -(10**11)
    for bad, code in (
        (later, grpc.StatusCode.INVALID_ARGUMENT),
        (question(client_id, "1"), grpc.StatusCode.INVALID_ARGUMENT),
        (question("client-other"), grpc.StatusCode.NOT_FOUND),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await call(bad, metadata=metadata)
        assert error.value.code() == code
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await call(question(client_id))
    assert error.value.code() == grpc.StatusCode.UNAUTHENTICATED


async def test_check_contacts_answers_in_order_and_goes_on_after_a_bad_question(
    channel: grpc.aio.Channel,
    http: httpx.AsyncClient,
    client_id: str,
    token: Callable[..., dict[str, str]],
) -> None:
    await ok(http.put("/do-not-call-lists/own", json={"name": "Own"}))
    numbers = [f"+336000{number:05}" for number in range(2_000)]
    change = {"add": [{"address": number} for number in numbers[::3]]}
    await ok(http.post("/do-not-call-lists/own/numbers", json=change))
    call = channel.stream_stream(
        f"/{SERVICE}/CheckContacts",
        pb.CheckContactsRequest.SerializeToString,
        pb.CheckContactsResponse.FromString,
    )(metadata=tuple(token("partner").items()))

    async def ask() -> None:
        for number in numbers:
            await call.write(pb.CheckContactsRequest(question=question(client_id, number)))
        for bad in (question(client_id, "1"), question("client-other")):
            await call.write(pb.CheckContactsRequest(question=bad))
        await call.done_writing()

    asking = asyncio.create_task(ask())
    answers = [answer async for answer in call]
    await asking
    assert [each.answer.allowed for each in answers[:-2]] == [n % 3 != 0 for n in range(2_000)]
    assert [each.problem.field for each in answers[-2:]] == ["address", "client_id"]


async def test_a_check_never_answers_from_before_the_question(
    services: Services, http: httpx.AsyncClient, client_id: str
) -> None:
    """While many others ask, who was listed is listed at once, and who left is gone at once."""
    await ok(http.put("/do-not-call-lists/own", json={"name": "Own"}))
    stop = asyncio.Event()

    async def noise() -> None:
        while not stop.is_set():
            await services.contacts.check(client_id, Ask("+33600000000", "voice", "survey"))

    others = [asyncio.create_task(noise()) for _ in range(32)]
    try:
        for _ in range(20):
            for change, allowed in (
                ({"add": [{"address": PHONE}]}, False),
                ({"remove": [PHONE]}, True),
            ):
                await ok(http.post("/do-not-call-lists/own/numbers", json=change))
                verdict = await services.contacts.check(
                    client_id, Ask(PHONE, "voice", "information")
                )
                assert verdict.allowed is allowed
    finally:
        stop.set()
        await asyncio.gather(*others)
