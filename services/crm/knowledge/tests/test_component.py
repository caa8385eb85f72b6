"""Articles over HTTP, in this process, with a real PostgreSQL."""

import time
import uuid
from collections.abc import AsyncIterator, Callable
from datetime import date, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import pytest
import sqlalchemy as sa

from eventkit.callers import Callers
from eventkit.eventstore import EventStore
from eventkit.http import make_app
from services.crm.knowledge.api import router
from services.crm.knowledge.search import fold
from services.crm.knowledge.service import Knowledge
from services.crm.knowledge.store import article_version, count_helped

CALLERS = Callers({"test": bytes(32)})
TODAY = date.today()
DAY = timedelta(days=1)

Http = Callable[..., Any]


async def _zone(_: str) -> ZoneInfo:
    return ZoneInfo("UTC")


async def _known(client_id: str) -> bool:
    return client_id.startswith("client-")


@pytest.fixture
async def http(store: EventStore, client_id: str) -> AsyncIterator[httpx.AsyncClient]:
    """A supervisor of the client; paths are below the client."""
    app = make_app("test", "1", CALLERS, _known)
    app.include_router(router(Knowledge(store, _zone, lambda: uuid.uuid4().hex)))
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app),
        base_url=f"http://test/v1/clients/{client_id}",
        headers=token(client_id, "supervisor"),
    ) as http:
        yield http


def token(client_id: str, role: str) -> dict[str, str]:
    issued = CALLERS.issue("ana", [client_id], role, time.time_ns() // 1000, 600)
    return {"Authorization": f"Bearer {issued}"}


def article(article_id: str, title: str, body: str = "x", **more: Any) -> dict[str, Any]:
    language = {"article_id": article_id, "kind": "service", "language": "fr"}
    return language | {"title": title, "body": body} | more


async def put(http: httpx.AsyncClient, *bodies: dict[str, Any]) -> None:
    """New articles, or new versions of those that are there, published."""
    for body in bodies:
        answer = await http.post("/articles", json=body)
        if answer.status_code == 409:
            draft = {name: value for name, value in body.items() if name != "article_id"}
            answer = await http.put(f"/articles/{body['article_id']}/draft", json=draft)
        assert answer.is_success, answer.text
        path = f"/articles/{body['article_id']}/publish"
        published = await http.post(path, json={"version": answer.json()["version"]})
        assert published.is_success, published.text


async def search(http: httpx.AsyncClient, q: str, **more: Any) -> list[dict[str, Any]]:
    answer = await http.post("/articles/search", json={"q": q, **more})
    assert answer.status_code == 200, answer.text
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


async def ids(http: httpx.AsyncClient, q: str, **more: Any) -> list[str]:
    return [item["article_id"] for item in await search(http, q, **more)]


async def test_an_article_from_draft_to_withdrawal(http: httpx.AsyncClient) -> None:
    first = article("fibre", "Forfait fibre", "29,90 € par mois", tags=["Internet"])
    assert (await http.post("/articles", json=first)).json() == {
        "article_id": "fibre",
        "version": 1,
    }
    assert await ids(http, "fibre") == []
    assert (await http.get("/articles/fibre")).status_code == 404
    assert (await http.get("/articles/fibre/draft")).json()["tags"] == ["internet"]
    assert (await http.post("/articles/fibre/publish", json={"version": 1})).status_code == 200
    assert (await http.get("/articles/fibre/draft")).status_code == 404
    assert await ids(http, "fibre") == ["fibre"]

    await put(http, article("fibre", "Forfait fibre", "31,90 € par mois"))
    assert (await http.get("/articles/fibre")).json()["version"] == 2
    old = (await http.get("/articles/fibre/versions/1")).json()
    assert (old["body"], old["validity"]) == ("29,90 € par mois", "superseded")
    versions = (await http.get("/articles/fibre/versions")).json()
    assert [each["version"] for each in versions] == [1, 2]
    # A repeat of what was done long ago changes nothing.
    assert (await http.post("/articles/fibre/publish", json={"version": 1})).json()["version"] == 2

    assert (await http.post("/articles/fibre/withdraw")).status_code == 200
    assert await ids(http, "fibre", validity="any") == []
    assert (await http.get("/articles/fibre")).status_code == 404
    assert (await http.get("/articles/fibre/versions/2")).json()["validity"] == "withdrawn"
    withdrawn = (await http.get("/articles", params={"state": "withdrawn"})).json()["items"]
    assert [each["article_id"] for each in withdrawn] == ["fibre"]


async def test_validity_decides_which_version_is_found(http: httpx.AsyncClient) -> None:
    def priced(price: str, start: date | None, end: date | None) -> dict[str, Any]:
        days = {"valid_from": start and str(start), "valid_until": end and str(end)}
        return article("tarif", "Tarif famille", f"{price} euros", **days)

    await put(
        http,
        priced("dix", TODAY - 100 * DAY, TODAY - 10 * DAY),
        priced("onze", TODAY - 5 * DAY, TODAY + 5 * DAY),
        priced("douze", TODAY + 3 * DAY, None),
    )

    async def on(day: date) -> str | None:
        answer = await http.get("/articles/tarif", params={"on": str(day)})
        return answer.json()["body"] if answer.is_success else None

    assert [await on(TODAY + days * DAY) for days in (-101, -100, -10, -9, -5, 0, 2, 3, 9)] == [
        None,
        "dix euros",
        "dix euros",
        None,
        "onze euros",
        "onze euros",
        "onze euros",
        "douze euros",
        "douze euros",
    ]
    assert (await http.get("/articles/tarif")).json()["body"] == "onze euros"
    assert await ids(http, "tarif") == ["tarif"]
    assert await ids(http, "douze") == []
    assert [
        (item["version"], item["validity"]) for item in await search(http, "douze", validity="any")
    ] == [(3, "upcoming")]
    assert [item["version"] for item in await search(http, "dix", on=str(TODAY - 50 * DAY))] == [1]


async def test_what_has_expired_is_found_when_asked_for(http: httpx.AsyncClient) -> None:
    day = str(TODAY - DAY)
    promotion = article("promo", "Promotion rentrée", valid_from="2020-01-01", valid_until=day)
    await put(http, promotion)
    assert await ids(http, "rentree") == []
    assert [
        (item["article_id"], item["validity"])
        for item in await search(http, "rentree", validity="any")
    ] == [("promo", "expired")]
    assert (await http.get("/articles/promo")).json()["validity"] == "expired"


LIBRARY = [
    article("resilier", "Résilier son abonnement", "Délai de dix jours ; frais restants dus."),
    article("facture", "Comprendre sa facture", "Le montant, la TVA et le hors forfait."),
    article("impayes", "Factures impayées", "Relances, échéancier, suspension de la ligne."),
    article("demenager", "Déménagement", "Transférer la ligne à la nouvelle adresse, sans frais."),
    article(
        "activer", "Carte SIM", "La carte activée en boutique marche dans l'heure.", tags=["sim"]
    ),
    article("telephone", "Téléphone volé", "Bloquer la ligne, porter plainte, assurance."),
    article("cancel", "Cancelling a subscription", "Ten days' notice.", language="en"),
    article("bill", "Understanding a bill", "Amounts, taxes, calls abroad.", language="en"),
    article("roaming", "Roaming", "Prices of calls and data abroad, by country.", language="en"),
    article("refund", "Refunds", "Who may pay money back; within 14 days.", language="en"),
    article(
        "tarify", "Тарифы на связь", "Тариф на месяц: минуты, сообщения, интернет.", language="ru"
    ),
    article("smena", "Смена тарифа", "Бесплатно раз в месяц.", language="ru"),
    article("platezh", "Платёж не прошёл", "Проверить карту и лимит.", language="ru"),
    article("rouming", "Роуминг", "Звонки за границей и их цены.", language="ru"),
    article("kundigen", "Kündigung", "Die Frist beträgt zehn Tage.", language="de"),
    article("tui", "取消订阅", "提前 十天 通知", language="zh"),
]


@pytest.fixture
async def library(http: httpx.AsyncClient) -> httpx.AsyncClient:
    await put(http, *LIBRARY)
    return http


QUESTIONS = [
    ("résiliation", "resilier"),
    ("resiliation", "resilier"),
    ("résilié", "resilier"),
    ("RESILIER abonnements", "resilier"),
    ("l'abonnement", "resilier"),
    ("facture", "facture"),
    ("facture impayée", "impayes"),
    ("impayees", "impayes"),
    ("demenage", "demenager"),
    ("déménager", "demenager"),
    ("frais transfert ligne", "demenager"),
    ("activer", "activer"),
    ("activation carte", "activer"),
    ("telephone", "telephone"),
    ("téléphones volés", "telephone"),
    ("télé", "telephone"),
    ("sim", "activer"),
    ("cancel", "cancel"),
    ("cancelled subscriptions", "cancel"),
    ("how to cancel", "cancel"),
    ("call abroad", "bill"),
    ("data abroad", "roaming"),
    ("bills", "bill"),
    ("refunding", "refund"),
    ('"back; within"', "refund"),
    ("abroad -roaming", "bill"),
    ("refund or nothing-else", "refund"),
    ("тариф", "tarify"),
    ("сменить тариф", "smena"),
    ("смены тарифа", "smena"),
    ("тарифами", "tarify"),
    ("платеж", "platezh"),
    ("платежи", "platezh"),
    ("звонок за границу", "rouming"),
    ("роумин", "rouming"),
    ("kundigung", "kundigen"),
    ("fristen", "kundigen"),
    ("十天", "tui"),
    ("resilier immediatement maintenant", "resilier"),
]
"""What is typed, and the article that has to come first."""


async def test_the_first_answer_is_the_right_one(library: httpx.AsyncClient) -> None:
    first = [(q, (await ids(library, q) or [""])[0]) for q, _ in QUESTIONS]
    assert first == QUESTIONS


async def test_one_language_or_all(library: httpx.AsyncClient) -> None:
    assert await ids(library, "ligne", language="fr")
    assert await ids(library, "ligne", language="ru") == []
    assert await ids(library, "sim", tag="SIM") == ["activer"]
    assert await ids(library, "sim", tag="esim") == []
    assert await ids(library, "sim", kind="tariff") == []


async def test_marks_are_of_the_text_as_it_is(library: httpx.AsyncClient) -> None:
    (found,) = await search(library, "activer")
    text, marks = found["snippet"]["text"], found["snippet"]["marks"]
    assert [text[start:end] for start, end in marks] == ["activée"]
    assert found["all_words"]
    (some, *_) = await search(library, "activer immédiatement")
    assert (some["article_id"], some["all_words"]) == ("activer", False)


async def test_who_wants_all_words_gets_no_article_with_some(library: httpx.AsyncClient) -> None:
    assert await ids(library, '"ligne nouvelle"') == []
    assert await ids(library, '"nouvelle adresse" zzz') == ["demenager"]
    assert await ids(library, '"nouvelle adresse" zzz -frais') == []


async def test_what_has_helped_comes_first(
    http: httpx.AsyncClient, store: EventStore, client_id: str
) -> None:
    await put(http, *(article(name, "Panne de box", "Redémarrer.") for name in ("a", "b", "c")))
    # Of the same words, the newest.
    assert await ids(http, "panne") == ["c", "b", "a"]
    async with store.engine.begin() as connection:
        assert await article_version(connection, client_id, "b") == 1
        assert await article_version(connection, client_id, "none") is None
        for call in ("call-1", "call-2", "call-3"):
            assert await count_helped(connection, client_id, "b", 1, call)
        assert not await count_helped(connection, client_id, "b", 2, "call-2")
    assert await ids(http, "panne") == ["b", "c", "a"]

    first = (await http.get("/articles/b/helped", params={"limit": 2})).json()
    assert (first["count"], first["versions"]) == (3, {"1": 3})
    rest = (await http.get("/articles/b/helped", params={"cursor": first["next"]})).json()
    calls = [each["call_id"] for each in first["items"] + rest["items"]]
    assert calls == ["call-1", "call-2", "call-3"]
    assert (await http.get("/articles/a/helped")).json()["count"] == 0
    assert (await http.get("/articles/none/helped")).status_code == 404


async def test_another_client_sees_nothing(http: httpx.AsyncClient, client_id: str) -> None:
    # The words with which the index keeps clients apart are no words that a text can have.
    other = f"client-{uuid.uuid4().hex[:12]}"
    await put(http, article("secret", f"Secret {other}/fr", f"Offre ' {other}/fr' cachée {other}"))
    root = f"http://test/v1/clients/{other}"
    theirs = token(other, "supervisor")
    for method, path, body in [
        ("GET", "/articles/secret", None),
        ("GET", "/articles/secret/draft", None),
        ("GET", "/articles/secret/versions", None),
        ("GET", "/articles/secret/versions/1", None),
        ("GET", "/articles/secret/helped", None),
        (
            "PUT",
            "/articles/secret/draft",
            {"kind": "other", "language": "fr", "title": "t", "body": "b"},
        ),
        ("POST", "/articles/secret/publish", {"version": 1}),
        ("POST", "/articles/secret/withdraw", None),
    ]:
        answer = await http.request(method, root + path, json=body, headers=theirs)
        assert answer.status_code == 404, (path, answer.text)
        # Nor with the client's own path, for those who do not work for it.
        answer = await http.request(method, path, json=body, headers=theirs)
        assert answer.status_code == 404, (path, answer.text)
    for q in ("secret", "offre cachée", f"{other}/fr"):
        answer = await http.post(f"{root}/articles/search", json={"q": q}, headers=theirs)
        assert answer.json() == {"items": []}
    assert (await http.get(f"{root}/articles", headers=theirs)).json()["items"] == []
    assert (await http.get("/articles/secret")).status_code == 200


async def test_agents_read_and_do_not_write(http: httpx.AsyncClient, client_id: str) -> None:
    await put(http, article("a", "Panne"))
    agent = token(client_id, "agent")
    assert (await http.get("/articles/a", headers=agent)).status_code == 200
    assert (await http.post("/articles/search", json={"q": "panne"}, headers=agent)).is_success
    for method, path, body in [
        ("POST", "/articles", article("b", "Autre")),
        (
            "PUT",
            "/articles/a/draft",
            {"kind": "other", "language": "fr", "title": "t", "body": "b"},
        ),
        ("GET", "/articles/a/draft", None),
        ("POST", "/articles/a/publish", {"version": 1}),
        ("POST", "/articles/a/withdraw", None),
        ("GET", "/articles?state=draft", None),
    ]:
        answer = await http.request(method, path, json=body, headers=agent)
        assert answer.status_code == 403, (path, answer.text)


@pytest.mark.parametrize(
    ("path", "body", "status", "field"),
    [
        ("/articles", article("a/b", "t"), 422, "article_id"),
        ("/articles", article("a", "t", kind="song"), 422, "kind"),
        ("/articles", article("a", "t", valid_from="tomorrow"), 422, "valid_from"),
        (
            "/articles",
            article("a", "t", valid_from="2026-02-01", valid_until="2026-01-01"),
            422,
            "valid_until",
        ),
        ("/articles", article("a", "t", body="nul \0"), 422, "body"),
        ("/articles/search", {"q": "-only"}, 422, "q"),
        ("/articles/search", {"q": "a", "tag": "\0"}, 422, "tag"),
        ("/articles/search", {"q": "a", "on": "9999-12-31"}, 422, "on"),
        ("/articles/nothing/publish", {"version": 1}, 404, None),
    ],
)
async def test_bad_requests(
    http: httpx.AsyncClient, path: str, body: dict[str, Any], status: int, field: str | None
) -> None:
    answer = await http.post(path, json=body)
    assert answer.status_code == status, answer.text
    assert [each["field"] for each in answer.json().get("errors", [])] == [field] * bool(field)


async def test_an_idempotency_key_makes_one_article(http: httpx.AsyncClient) -> None:
    body = article("x", "Panne")
    del body["article_id"]
    key = {"Idempotency-Key": "k-1"}
    answers = [(await http.post("/articles", json=body, headers=key)).json() for _ in range(2)]
    assert answers[0] == answers[1]
    items = (await http.get("/articles", params={"state": "draft"})).json()["items"]
    assert [each["article_id"] for each in items] == [answers[0]["article_id"]]


async def test_accents_are_folded_alike_on_both_sides(store: EventStore) -> None:
    letters = "".join(chr(code) for code in range(0x20, 0x2000) if chr(code).isprintable())
    words = " ".join(letters) + " cœur e\u0301te\u0301 Ǻ ﬁn œŒæÆßøØłŁđĐёЁй"
    async with store.engine.connect() as connection:
        assert await connection.scalar(sa.select(sa.func.knowledge_fold(words))) == fold(words)
