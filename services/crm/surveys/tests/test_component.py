"""Questionnaires and surveys over HTTP, in this process, with a real PostgreSQL."""

import time
import uuid
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from eventkit.callers import Callers
from eventkit.eventstore import EventStore
from eventkit.http import make_app
from services.crm.customers.store import CUSTOMERS
from services.crm.holding import Person
from services.crm.interactions.store import timeline_entries
from services.crm.surveys.api import router
from services.crm.surveys.service import SURVEYS, Surveys
from services.crm.surveys.store import Holding
from services.crm.surveys.survey import SurveyQuestionAnswered

CALLERS = Callers({"test": bytes(32)})
Json = dict[str, Any]


async def _known(client_id: str) -> bool:
    return client_id.startswith("client-")


def token(client_id: str, role: str) -> dict[str, str]:
    issued = CALLERS.issue("ana", [client_id], role, time.time_ns() // 1000, 600)
    return {"Authorization": f"Bearer {issued}"}


@pytest.fixture
async def http(store: EventStore, client_id: str) -> AsyncIterator[httpx.AsyncClient]:
    """A supervisor of the client; paths are below the client."""
    app = make_app("test", "1", CALLERS, _known)
    app.include_router(router(Surveys(store, lambda: uuid.uuid4().hex)))
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app),
        base_url=f"http://test/v1/clients/{client_id}",
        headers=token(client_id, "supervisor"),
    ) as http:
        yield http


@pytest.fixture
async def customer(store: EventStore, client_id: str) -> str:
    """A customer of the client."""
    row: Json = {column.name: "" for column in CUSTOMERS.c if isinstance(column.type, sa.Text)}
    row |= {"client_id": client_id, "customer_id": "c-1", "survivor_id": "c-1", "merged_into": None}
    row |= {"phones": [], "emails": [], "version": 1, "registered_at": 1, "changed_at": 1}
    async with store.engine.begin() as connection:
        await connection.execute(CUSTOMERS.insert().values(**row))
    return "c-1"


SATISFACTION: Json = {
    "questionnaire_id": "satisfaction",
    "purpose": "survey",
    "name": "Satisfaction",
    "languages": ["fr", "en"],
    "intro": {"fr": "Bonjour.", "en": "Hello."},
    "questions": [
        {
            "question_id": "score",
            "kind": "number",
            "texts": {"fr": "De 0 à 10 ?", "en": "From 0 to 10?"},
            "minimum": 0,
            "maximum": 10,
            "branches": [{"maximum": 6, "to": "why"}, {"minimum": 7, "to": "channels"}],
        },
        {
            "question_id": "why",
            "kind": "text",
            "texts": {"fr": "Pourquoi ?", "en": "Why?"},
            "required": False,
        },
        {
            "question_id": "channels",
            "kind": "multiple",
            "texts": {"fr": "Par où ?", "en": "How?"},
            "options": [
                {"option_id": "phone", "texts": {"fr": "Téléphone", "en": "Phone"}},
                {"option_id": "chat", "texts": {"fr": "Chat", "en": "Chat"}},
            ],
        },
        {
            "question_id": "since",
            "kind": "date",
            "texts": {"fr": "Depuis ?", "en": "Since?"},
            "required": False,
        },
    ],
}


async def publish(http: httpx.AsyncClient, body: Json = SATISFACTION) -> None:
    assert (await http.post("/questionnaires", json=body)).status_code == 201
    path = f"/questionnaires/{body['questionnaire_id']}/publish"
    answer = await http.post(path, json={"version": 1})
    assert answer.status_code == 200, answer.text


async def start(http: httpx.AsyncClient, survey_id: str, **more: str) -> Json:
    body = {"questionnaire_id": "satisfaction", "survey_id": survey_id, **more}
    answer = await http.post("/surveys", json=body)
    assert answer.status_code == 201, answer.text
    state: Json = answer.json()
    return state


async def give(http: httpx.AsyncClient, survey_id: str, question_id: str, **given: Any) -> Json:
    answer = await http.put(f"/surveys/{survey_id}/answers/{question_id}", json=given)
    assert answer.status_code == 200, answer.text
    state: Json = answer.json()
    return state


async def test_a_survey_from_its_start_to_its_end(
    http: httpx.AsyncClient, store: EventStore, client_id: str, customer: str
) -> None:
    await publish(http)
    begun = await start(http, "s-1", customer=customer, call_id="call-1", language="en")
    assert begun == {
        "survey_id": "s-1",
        "questionnaire_version": 1,
        "status": "open",
        "current": "score",
    }
    seen = (await http.get("/surveys/s-1")).json()
    assert (seen["current"]["text"], seen["intro"]) == ("From 0 to 10?", "Hello.")
    assert seen["progress"] == {"answered": 0, "remaining": 4}

    assert (await give(http, "s-1", "score", number=3))["current"] == "why"
    assert (await give(http, "s-1", "why", text="Trop cher, Mme Durand"))["current"] == "channels"
    ahead = await http.put("/surveys/s-1/answers/since", json={})
    assert ahead.status_code == 409
    assert ahead.json()["errors"] == [
        {"field": "question_id", "reason": "is not the current question"}
    ]
    wrong = await http.put("/surveys/s-1/answers/channels", json={"options": ["fax"]})
    assert (wrong.status_code, wrong.json()["errors"]) == (
        422,
        [{"field": "answer", "reason": "is none of the options"}],
    )

    # A change of mind: the reason is no longer asked for.
    assert (await give(http, "s-1", "score", number="9"))["current"] == "channels"
    seen = (await http.get("/surveys/s-1")).json()
    assert [each["question_id"] for each in seen["answers"]] == ["score"]
    assert seen["current"]["options"][0] == {"option_id": "phone", "text": "Phone"}
    assert (await give(http, "s-1", "score", number=9))["current"] == "channels"
    await give(http, "s-1", "channels", options=["chat", "phone"])
    done = await give(http, "s-1", "since", date="2020-02-29")
    assert (done["status"], done["current"]) == ("completed", None)
    assert await give(http, "s-1", "since", date="2020-02-29") == done
    late = await http.put("/surveys/s-1/answers/since", json={"date": "2021-01-01"})
    assert late.status_code == 409

    seen = (await http.get("/surveys/s-1")).json()
    assert [(each["options"], each["number"], each["date"]) for each in seen["answers"]] == [
        ([], "9", None),
        (["phone", "chat"], None, None),
        ([], None, "2020-02-29"),
    ]
    (listed,) = (await http.get("/surveys", params={"call_id": "call-1"})).json()["items"]
    assert (listed["customer_id"], listed["status"]) == ("c-1", "completed")
    async with store.engine.connect() as connection:
        entry = await connection.execute(
            sa.select(timeline_entries).where(timeline_entries.c.client_id == client_id)
        )
        (line,) = entry.mappings().all()
    assert (line["reference"], line["kind"], line["id"]) == ("c-1", "survey", "s-1")
    assert line["details"]["status"] == "completed"


async def test_a_published_version_never_changes(http: httpx.AsyncClient) -> None:
    await publish(http)
    await start(http, "old")
    one = "/questionnaires/satisfaction"
    assert (await http.post(f"{one}/draft")).json()["version"] == 2
    draft = (await http.get(f"{one}/draft")).json()
    assert draft["questions"] == (await http.get(one)).json()["questions"]
    body = {name: value for name, value in SATISFACTION.items() if name != "questionnaire_id"}
    body |= {"questions": SATISFACTION["questions"][1:2], "name": "Court"}
    assert (await http.put(f"{one}/draft", json=body)).json()["version"] == 2
    assert (await start(http, "meanwhile"))["questionnaire_version"] == 1
    assert (await http.post(f"{one}/publish", json={"version": 2})).status_code == 200
    assert (await http.get(f"{one}/draft")).status_code == 404

    assert (await start(http, "new"))["current"] == "why"
    # What has begun goes on with its own version, also when it is started again.
    assert await start(http, "old") == await start(http, "old")
    assert (await give(http, "old", "score", number=8))["questionnaire_version"] == 1
    await give(http, "new", "why")
    assert (await http.get(f"{one}/versions/1")).json()["name"] == "Satisfaction"
    counts = [
        (await http.get(f"{one}/versions/{version}/results")).json()["started"]
        for version in (1, 2)
    ]
    assert counts == [2, 1]

    assert (await http.post(f"{one}/withdraw")).status_code == 200
    refused = await http.post("/surveys", json={"questionnaire_id": "satisfaction"})
    assert refused.status_code == 409
    assert (await start(http, "old"))["current"] == "channels"
    assert (await give(http, "old", "channels", options=["chat"]))["current"] == "since"


async def test_publication_says_what_is_wrong(http: httpx.AsyncClient) -> None:
    question = {"kind": "text", "texts": {"fr": "?"}}
    body = SATISFACTION | {
        "languages": ["fr"],
        "intro": {},
        "questions": [
            question | {"question_id": "a", "otherwise": "c"},
            question | {"question_id": "b"},
            question | {"question_id": "c", "otherwise": "a"},
        ],
    }
    assert (await http.post("/questionnaires", json=body)).status_code == 201
    refused = await http.post("/questionnaires/satisfaction/publish", json={"version": 1})
    assert refused.status_code == 422
    (error,) = refused.json()["errors"]
    assert error["field"] == "questions.b"
    assert error["reason"].startswith("can never come: no way leads to it; and a can come again")
    found = (await http.get("/questionnaires/satisfaction/draft/problems")).json()["items"]
    assert {each["question_id"] for each in found} == {"a", "b", "c"}
    assert (await http.get("/questionnaires/satisfaction")).status_code == 404
    refused = await http.post("/surveys", json={"questionnaire_id": "satisfaction"})
    assert refused.status_code == 404


@pytest.fixture
async def answered(http: httpx.AsyncClient, customer: str) -> httpx.AsyncClient:
    """Five surveys: three to the end, one abandoned, one open."""
    await publish(http)
    for survey_id, score, options, since in [
        ("s-1", 2, ["phone"], {"date": "2020-01-01"}),
        ("s-2", 9, ["phone", "chat"], {"date": "2024-01-01"}),
        ("s-3", 10, ["chat"], {}),
    ]:
        await start(http, survey_id, customer=customer)
        await give(http, survey_id, "score", number=score)
        if score < 7:
            await give(http, survey_id, "why", text=f"Parce que {survey_id}, dit Durand")
        await give(http, survey_id, "channels", options=options)
        await give(http, survey_id, "since", **since)
    for survey_id in ("s-4", "s-5"):
        await start(http, survey_id)
        await give(http, survey_id, "score", number=5)
    abandoned = await http.post("/surveys/s-4/abandon", json={"reason": "hung-up"})
    assert abandoned.json()["status"] == "abandoned"
    assert (await http.post("/surveys/s-4/abandon", json={"reason": "hung-up"})).is_success
    return http


RESULTS = "/questionnaires/satisfaction/versions/1/results"
TEXTS = "/questionnaires/satisfaction/versions/1/texts/why"


async def test_results(answered: httpx.AsyncClient) -> None:
    found = (await answered.get(RESULTS)).json()
    shown = {name: found[name] for name in ("started", "open", "completed", "abandoned")}
    assert shown == {"started": 5, "open": 1, "completed": 3, "abandoned": 1}
    assert (found["completion_rate"], found["drop_off"]) == (0.75, "why")
    assert found["reasons"] == {"hung-up": 1}
    score, why, channels, since = found["questions"]
    assert score["numbers"] == {
        "n": 5,
        "mean": 6.2,
        "median": 5.0,
        "minimum": "2",
        "maximum": "10",
    }
    assert (why["texts"], why["answered"], why["abandoned"]) == (1, 1, 1)
    assert channels["options"] == {"phone": 2, "chat": 2}
    assert (since["answered"], since["left_out"]) == (2, 1)
    assert since["days"] == {
        "n": 2,
        "first": "2020-01-01",
        "last": "2024-01-01",
        "counts": {"2020-01-01": 1, "2024-01-01": 1},
    }
    (text,) = (await answered.get(TEXTS)).json()["items"]
    assert (text["survey_id"], text["text"]) == ("s-1", "Parce que s-1, dit Durand")


async def test_once_erased_texts_are_gone_and_counts_stay(
    answered: httpx.AsyncClient, store: EventStore, client_id: str, customer: str
) -> None:
    before = (await answered.get(RESULTS)).json()
    holding, person = Holding(), Person(client_id, (customer,), (customer,))
    async with store.engine.begin() as connection:
        exported = await holding.export(connection, person)
        forgotten = await holding.forget(connection, person)
    assert [each["survey_id"] for each in exported] == ["s-1", "s-2", "s-3"]
    assert exported[0]["answers"][1]["text"] == "Parce que s-1, dit Durand"
    assert forgotten.subjects == {customer}
    assert forgotten.cleaned == {"survey_answers": 1}
    await store.keys.erase(client_id, forgotten.subjects)

    assert (await answered.get(RESULTS)).json() == before
    assert (await answered.get(TEXTS)).json()["items"] == []
    assert (await answered.get("/surveys/s-1")).json()["answers"][1]["text"] == ""
    history = await store.history(SURVEYS, client_id, "s-1")
    texts = [each.event.text for each in history if isinstance(each.event, SurveyQuestionAnswered)]
    assert texts == ["", "", "", ""]
    async with store.engine.connect() as connection:
        for table in ("events", "survey_answers", "surveys", "timeline_entries"):
            rows = await connection.execute(
                sa.text(f"SELECT x::text FROM {table} x WHERE client_id = :client"),
                {"client": client_id},
            )
            assert not [row for row in rows if "Durand" in row[0]]


async def test_whose_words_they_are_when_the_customer_is_not_known(
    http: httpx.AsyncClient, store: EventStore, client_id: str, customer: str
) -> None:
    await publish(http)
    await start(http, "s-9", call_id="call-9")
    await give(http, "s-9", "score", number=1)
    await give(http, "s-9", "why", text="Durand")
    # The call turns out to have been the customer's.
    async with store.engine.begin() as connection:
        await connection.execute(
            sa.text(
                "INSERT INTO calls (client_id, call_id, first_at, customer_id)"
                " VALUES (:client, 'call-9', 1, :customer)"
            ),
            {"client": client_id, "customer": customer},
        )
        forgotten = await Holding().forget(connection, Person(client_id, ("c-1",), ("c-1",)))
    assert forgotten.subjects == {"survey/s-9"}
    assert forgotten.cleaned == {"survey_answers": 1}
    # And from now on the call is enough to know whom a survey is with.
    await start(http, "s-10", call_id="call-9")
    assert (await http.get("/surveys/s-10")).json()["customer_id"] == customer


async def test_another_client_sees_nothing(answered: httpx.AsyncClient) -> None:
    other = f"client-{uuid.uuid4().hex[:12]}"
    root = f"http://test/v1/clients/{other}"
    one = "/questionnaires/satisfaction"
    body = {name: value for name, value in SATISFACTION.items() if name != "questionnaire_id"}
    for method, path, given in [
        ("GET", one, None),
        ("GET", f"{one}/draft", None),
        ("GET", f"{one}/draft/problems", None),
        ("PUT", f"{one}/draft", body),
        ("POST", f"{one}/draft", None),
        ("POST", f"{one}/publish", {"version": 1}),
        ("POST", f"{one}/withdraw", None),
        ("GET", f"{one}/versions/1", None),
        ("GET", RESULTS, None),
        ("GET", TEXTS, None),
        ("POST", "/surveys", {"questionnaire_id": "satisfaction"}),
        ("GET", "/surveys/s-5", None),
        ("PUT", "/surveys/s-5/answers/why", {}),
        ("POST", "/surveys/s-5/abandon", {"reason": "other"}),
    ]:
        for url in (root + path, path):
            headers = token(other, "supervisor")
            answer = await answered.request(method, url, json=given, headers=headers)
            assert answer.status_code == 404, (method, url, answer.text)
    for path in ("/questionnaires?all=true", "/surveys"):
        answer = await answered.get(root + path, headers=token(other, "supervisor"))
        assert answer.json()["items"] == []
    assert (await answered.get("/surveys/s-5")).json()["current"]["question_id"] == "why"


async def test_agents_ask_and_do_not_write(answered: httpx.AsyncClient, client_id: str) -> None:
    agent = token(client_id, "agent")
    one = "/questionnaires/satisfaction"
    for path in (one, "/questionnaires", "/surveys", "/surveys/s-5", RESULTS):
        assert (await answered.get(path, headers=agent)).status_code == 200, path
    begun = await answered.post(
        "/surveys", json={"questionnaire_id": "satisfaction"}, headers=agent
    )
    assert begun.status_code == 201
    for method, path, given in [
        ("POST", "/questionnaires", SATISFACTION),
        ("POST", f"{one}/draft", None),
        ("POST", f"{one}/publish", {"version": 1}),
        ("POST", f"{one}/withdraw", None),
        ("GET", "/questionnaires?all=true", None),
        ("GET", TEXTS, None),
    ]:
        answer = await answered.request(method, path, json=given, headers=agent)
        assert answer.status_code == 403, (path, answer.text)


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/surveys", {"questionnaire_id": "none"}, 404),
        ("/surveys", {"questionnaire_id": "satisfaction", "customer": "nobody"}, 404),
        ("/surveys", {"questionnaire_id": "satisfaction", "language": "de"}, 422),
        ("/surveys", {"questionnaire_id": "satisfaction", "survey_id": "a/b"}, 422),
        ("/surveys/none/abandon", {"reason": "other"}, 404),
        ("/surveys/none/abandon", {"reason": "M. Durand a raccroché"}, 422),
        ("/questionnaires", SATISFACTION | {"name": "Other"}, 409),
        ("/questionnaires", SATISFACTION | {"languages": []}, 422),
        ("/questionnaires/none/publish", {"version": 1}, 404),
    ],
)
async def test_bad_requests(http: httpx.AsyncClient, path: str, body: Json, status: int) -> None:
    await publish(http)
    answer = await http.post(path, json=body)
    assert answer.status_code == status, answer.text
    assert "Durand" not in answer.text


async def test_an_idempotency_key_makes_one_survey(http: httpx.AsyncClient) -> None:
    await publish(http)
    body = {"questionnaire_id": "satisfaction"}
    key = {"Idempotency-Key": "k-1"}
    answers = [(await http.post("/surveys", json=body, headers=key)).json() for _ in range(2)]
    assert answers[0] == answers[1]
    assert len((await http.get("/surveys")).json()["items"]) == 1


async def test_pages(answered: httpx.AsyncClient) -> None:
    first = (await answered.get("/surveys", params={"limit": 3})).json()
    rest = (await answered.get("/surveys", params={"cursor": first["next"]})).json()
    ids = [each["survey_id"] for each in first["items"] + rest["items"]]
    assert (ids, rest["next"]) == ([f"s-{number}" for number in range(1, 6)], None)
    open_ones = (await answered.get("/surveys", params={"status": "open"})).json()["items"]
    assert [each["survey_id"] for each in open_ones] == ["s-5"]
