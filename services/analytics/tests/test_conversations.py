"""What was said in calls: topics, dispositions, offers, surveys; KPIs by them, against Python."""

import random
from collections.abc import Callable
from datetime import date
from typing import Any

import pytest
from clickhouse_driver import Client

from services.analytics.tests.events import (
    MONDAY,
    Body,
    call,
    client_registered,
    customer_events,
)
from services.analytics.tests.support import Warehouse, report

RANGE = ("--from", "2026-09-01", "--to", "2026-11-01")
TREE = {
    "orders": ["orders"],
    "delivery": ["orders", "delivery"],
    "late": ["orders", "delivery", "late"],
    "bill": ["bill"],
}
CALLS = 400


def classified(topic: str) -> Body:
    return "call_classified", {"topic_id": topic, "path": TREE[topic], "agent_id": "ann"}


def accepted(offer: str) -> Body:
    return "offer_accepted", {"offer_id": offer, "agent_id": "ann"}


def refused(offer: str, reason: str, **more: str) -> Body:
    return "offer_refused", {"offer_id": offer, "agent_id": "ann", "reason": reason, **more}


@pytest.fixture(scope="module")
def spoken(warehouse: Warehouse) -> list[dict[str, Any]]:
    """Calls of `talking` and what was said, loaded in any order and partly twice."""
    client = "talking"
    chance = random.Random(2026)
    calls: list[dict[str, Any]] = []
    heard: list[Any] = []
    said: list[Any] = []
    for number in range(CALLS):
        one = {
            "id": f"c{number}",
            "wait": chance.randint(0, 60),
            "talk": None if chance.random() < 0.1 else chance.randint(30, 300),
            "wrap_up": 9,
            "topics": chance.choices([*TREE], k=chance.choice([0, 1, 1, 2, 3])),
            "dispositions": chance.choices(["solved", "sold"], k=chance.choice([0, 1, 2])),
        }
        calls.append(one)
        at = MONDAY - number * 600
        heard += call(
            client, one["id"], at=at, wait=one["wait"], talk=one["talk"], wrap_up=one["wrap_up"]
        )
        bodies = [classified(topic) for topic in one["topics"]]
        bodies += [("call_dispositioned", {"disposition": name}) for name in one["dispositions"]]
        bodies += [("call_noted", {"note_id": f"n{note}"}) for note in range(number % 3)]
        bodies += [("article_helped", {"article_id": "tariffs", "article_version": 1})] * (
            number % 2
        )
        said += customer_events(client, "call", one["id"], *bodies, at=at)
    chance.shuffle(said)
    warehouse.load("client-events", [client_registered(client, "Asia/Tokyo")])
    warehouse.load("call-events", heard)
    half = len(said) // 2
    warehouse.load("customer-events", said[:half], said[half // 2 :], said[:half])
    # Of another client, under the same ids.
    warehouse.load("client-events", [client_registered("whispering")])
    warehouse.load("call-events", call("whispering", "c0"))
    warehouse.load(
        "customer-events", customer_events("whispering", "call", "c0", classified("bill"))
    )
    return calls


def figures(calls: list[dict[str, Any]]) -> dict[str, Any]:
    answered = [one for one in calls if one["talk"] is not None]
    count = len(calls)
    return {
        "offered": count,
        "answered": len(answered),
        "abandoned": count - len(answered),
        "abandonment_rate": pytest.approx((count - len(answered)) / count),
        "asa_s": pytest.approx(sum(one["wait"] for one in answered) / len(answered)),
        "service_level": pytest.approx(sum(one["wait"] <= 20 for one in answered) / count),
        "aht_s": pytest.approx(
            sum(one["talk"] + one["wrap_up"] for one in answered) / len(answered)
        ),
        **dict.fromkeys(("overflowed", "out_of_hours", "transfers", "callbacks"), 0),
        "estimate_error_s": None,
    }


def topic_at(level: int) -> Callable[[dict[str, Any]], str]:
    def name(one: dict[str, Any]) -> str:
        if not one["topics"]:
            return "(none)"
        path = TREE[one["topics"][-1]]
        return path[min(level, len(path)) - 1] if level else path[-1]

    return name


@pytest.mark.parametrize(
    ("options", "name"),
    [
        (["--by", "topic"], topic_at(0)),
        (["--by", "topic", "--level", "1"], topic_at(1)),
        (["--by", "topic", "--level", "2"], topic_at(2)),
        (["--by", "topic", "--level", "9"], topic_at(0)),
        (["--by", "disposition"], lambda one: ["(none)", *one["dispositions"]][-1]),
    ],
    ids=["leaves", "roots", "level 2", "deeper than any", "dispositions"],
)
def test_figures_by_what_was_said(
    warehouse: Warehouse,
    spoken: list[dict[str, Any]],
    options: list[str],
    name: Callable[[dict[str, Any]], str],
) -> None:
    groups: dict[str, list[dict[str, Any]]] = {}
    for one in spoken:
        groups.setdefault(name(one), []).append(one)
    asked = report(warehouse.url, "kpi", "--client", "talking", *RANGE, *options)
    assert {line.pop(options[1]): line for line in asked} == {
        group: figures(calls) for group, calls in groups.items()
    }
    [whole] = report(warehouse.url, "kpi", "--client", "talking", *RANGE)
    assert whole == figures(spoken)
    for count in ("offered", "answered", "abandoned"):
        assert sum(line[count] for line in asked) == whole[count]


def test_the_calls_nobody_classified_come_last(
    warehouse: Warehouse, spoken: list[dict[str, Any]]
) -> None:
    asked = report(warehouse.url, "kpi", "--client", "talking", *RANGE, "--by", "topic")
    assert [line["topic"] for line in asked] == ["bill", "delivery", "late", "orders", "(none)"]


def test_a_topic_belongs_to_all_above_it(
    warehouse: Warehouse, spoken: list[dict[str, Any]]
) -> None:
    rows = warehouse.ask(
        "SELECT topic_id, countIf(offered) AS calls, countIf(offered AND is_leaf) AS leaves"
        " FROM calls_by_topic WHERE client_id = 'talking' GROUP BY topic_id"
    )
    last = [one["topics"][-1] for one in spoken if one["topics"]]
    assert {row["topic_id"]: (row["calls"], row["leaves"]) for row in rows} == {
        topic: (sum(topic in TREE[leaf] for leaf in last), last.count(topic)) for topic in TREE
    }


def test_outcomes_of_calls(warehouse: Warehouse, spoken: list[dict[str, Any]]) -> None:
    rows = warehouse.ask("SELECT * FROM call_outcomes WHERE client_id = 'talking'")
    found = {row["call_id"]: row for row in rows}
    for number, one in enumerate(spoken):
        said = one["topics"] or one["dispositions"] or number % 3 or number % 2
        if not said:
            assert one["id"] not in found
            continue
        row = found[one["id"]]
        assert row["topic_id"] == (one["topics"][-1] if one["topics"] else "")
        assert row["topic_path"] == (TREE[one["topics"][-1]] if one["topics"] else [])
        assert row["disposition"] == (one["dispositions"][-1] if one["dispositions"] else "")
        assert row["notes"] == number % 3
        assert row["articles"] == ["tariffs"] * (number % 2)
    [helped] = warehouse.ask("SELECT * FROM helpful_articles WHERE client_id = 'talking'")
    assert helped["calls"] == CALLS // 2


def test_the_last_answer_to_an_offer_counts(warehouse: Warehouse) -> None:
    client = "offering"
    warehouse.load("client-events", [client_registered(client, "Asia/Tokyo")])
    late = MONDAY + 86_400
    streams = [
        customer_events(
            client,
            "call",
            "c1",
            refused("fibre", "too-expensive"),
            accepted("tv"),
            refused("fibre", "not-now", not_before="2027-02-01"),
            customer="u1",
        ),
        customer_events(client, "call", "c2", accepted("fibre"), customer="u1", at=late),
        customer_events(client, "call", "c3", refused("fibre", "not-now"), customer="u2"),
        customer_events(client, "call", "c4", refused("fibre", "not-now"), at=late),
        # u3 is u1, as is u4 by way of u3; u5 was taken for u1 for a while.
        customer_events(client, "customer", "u3", ("merged", {"into_customer_id": "u1"})),
        customer_events(client, "customer", "u4", ("merged", {"into_customer_id": "u3"})),
        customer_events(
            client,
            "customer",
            "u5",
            ("merged", {"into_customer_id": "u1"}),
            ("unmerged", {"from_customer_id": "u1"}),
        ),
        customer_events(
            client, "call", "c5", refused("fibre", "other-provider"), customer="u4", at=late + 9
        ),
        customer_events(client, "call", "c6", accepted("fibre"), customer="u5", at=late + 99),
    ]
    events = [event for stream in streams for event in stream]
    random.Random(3).shuffle(events)
    warehouse.load("customer-events", events[:5], events[5:], events)

    answers = warehouse.ask(
        "SELECT call_id, offer_id, accepted, reason, not_before FROM offer_answers"
        " WHERE client_id = 'offering' AND call_id IN ('c1', 'c2') ORDER BY call_id, offer_id"
    )
    assert [tuple(row.values()) for row in answers] == [
        ("c1", "fibre", False, "not-now", date(2027, 2, 1)),
        ("c1", "tv", True, "", None),
        ("c2", "fibre", True, "", None),
    ]
    people = warehouse.ask(
        "SELECT customer_id, accepted, reason, answers FROM customer_offer_answers"
        " WHERE client_id = 'offering' AND offer_id = 'fibre' ORDER BY customer_id"
    )
    assert [tuple(row.values()) for row in people] == [
        ("u1", False, "other-provider", 3),
        ("u2", False, "not-now", 1),
        ("u5", True, "", 1),
    ]
    why = warehouse.ask(
        "SELECT reason, sum(refusals) AS refusals, sum(customers) AS customers"
        " FROM refusals(client = 'offering') WHERE offer_id = 'fibre' GROUP BY reason"
        " ORDER BY reason"
    )
    assert [tuple(row.values()) for row in why] == [
        ("not-now", 3, 2),
        ("other-provider", 1, 1),
    ]


def test_figures_stay_when_a_customer_is_erased(warehouse: Warehouse) -> None:
    client = "forgetting"
    warehouse.load("client-events", [client_registered(client)])
    warehouse.load("call-events", call(client, "c1"))
    warehouse.load(
        "customer-events",
        customer_events(client, "customer", "u1", ("registered", {"source": "agent"})),
        customer_events(
            client, "call", "c1", classified("bill"), refused("tv", "no"), customer="u1"
        ),
    )
    questions = [
        ("kpi", "--client", client, *RANGE, "--by", "topic"),
        ("kpi", "--client", client, *RANGE),
    ]
    before = [report(warehouse.url, *question) for question in questions]
    refusals = warehouse.ask(f"SELECT * FROM refusals(client = '{client}')")
    erased = customer_events(
        client,
        "customer",
        "u1",
        ("registered", {"source": "agent"}),
        ("corrected", {"fields": ["language"], "language": "fr"}),
        ("erased", {}),
    )
    warehouse.load("customer-events", erased[1:], erased)
    assert [report(warehouse.url, *question) for question in questions] == before
    assert warehouse.ask(f"SELECT * FROM refusals(client = '{client}')") == refusals
    [row] = warehouse.ask(f"SELECT * FROM customers WHERE client_id = '{client}'")
    assert row["source"] == "agent"
    assert row["language"] == "fr"
    assert row["erased_at"] is not None
    [day] = warehouse.ask(f"SELECT * EXCEPT (day) FROM customers_by_day(client = '{client}')")
    assert day == {"registered": 1, "merged": 0, "unmerged": 0, "erased": 1}


def test_consents_and_lists(warehouse: Warehouse) -> None:
    client = "asking"
    warehouse.load("client-events", [client_registered(client, "Asia/Tokyo")])
    terms = {"channel": "voice", "purpose": "sales"}

    def consent(id_: str, at: int, *names: str) -> list[Any]:
        bodies = [(name, {"consent_id": id_, **terms}) for name in names]
        return customer_events(client, "consent", id_, *bodies, at=at)

    midnight = MONDAY - MONDAY % 86_400 + 15 * 3600  # in Tokyo
    events = [
        *consent("k1", midnight - 30, "consent_given", "consent_withdrawn"),
        *consent("k2", midnight - 1, "consent_given"),
        # Withdrawn, then erased with its person.
        *consent("k3", midnight, "consent_given", "consent_withdrawn", "consent_withdrawn"),
    ]
    random.Random(7).shuffle(events)
    warehouse.load("customer-events", events[:2], events[2:], events)
    rows = warehouse.ask(
        f"SELECT channel, purpose, given, withdrawn FROM consents_by_day(client = '{client}')"
        " ORDER BY day"
    )
    assert [tuple(row.values()) for row in rows] == [
        ("voice", "sales", 2, 0),
        ("voice", "sales", 1, 2),
    ]
    lists = [
        ("do_not_call_list_published", {"list_id": "all", "list_version": n, "size": 10 * n})
        for n in (1, 2)
    ]
    published = customer_events("centre", "do-not-call", "all", *lists)
    assert warehouse.load("customer-events", published[::-1], published) == []
    [row] = warehouse.ask("SELECT list_version, size FROM do_not_call_lists WHERE list_id = 'all'")
    assert row == {"list_version": 2, "size": 20}


def test_surveys(warehouse: Warehouse) -> None:
    client = "polling"
    form = {"questionnaire_id": "after", "questionnaire_version": 2}

    def survey(id_: str, *bodies: Body) -> list[Any]:
        bodies = tuple((name, {"survey_id": id_, **form, **more}) for name, more in bodies)
        return customer_events(client, "survey", id_, *bodies)

    def answer(question: str, **more: Any) -> Body:
        return "survey_question_answered", {"question_id": question, **more}

    started: Body = ("survey_started", {"agent_id": "ann"})
    completed: Body = ("survey_completed", {})
    events = [
        *survey(
            "s1",
            started,
            answer("good", options=["quick", "kind"]),
            answer("score", number="7"),
            answer("when", date="2027-01-15"),
            answer("words"),
            # Changed: then "when" is not asked any more, and "score" is answered again.
            answer("good", options=["kind"], dropped=["when", "score"]),
            answer("score", number="9.50"),
            completed,
        ),
        *survey("s2", started, answer("good", options=["kind"]), answer("score", number="9.5")),
        *survey("s3", started, ("survey_abandoned", {"reason": "refused"})),
    ]
    random.Random(5).shuffle(events)
    warehouse.load("customer-events", events[:7], events[7:], events)
    rows = warehouse.ask(
        "SELECT question_id, option, answers, answers_of_completed FROM survey_results"
        f" WHERE client_id = '{client}' AND questionnaire_id = 'after'"
        " AND questionnaire_version = 2 ORDER BY ALL"
    )
    assert [tuple(row.values()) for row in rows] == [
        ("good", "kind", 2, 1),
        ("score", "9.5", 2, 1),
        ("words", "", 1, 1),
    ]
    surveys = warehouse.ask(
        "SELECT survey_id, completed_at IS NOT NULL AS completed, abandoned_reason FROM surveys"
        f" WHERE client_id = '{client}' ORDER BY survey_id"
    )
    assert [tuple(row.values()) for row in surveys] == [
        ("s1", 1, ""),
        ("s2", 0, ""),
        ("s3", 0, "refused"),
    ]


def test_a_repeated_batch_adds_nothing_anywhere(warehouse: Warehouse) -> None:
    client = "repeating"
    events = customer_events(
        client, "call", "c1", classified("late"), refused("tv", "no"), customer="u1"
    )
    counts = " + ".join(
        f"(SELECT count() FROM {table} WHERE client_id = '{client}')"
        for table in ("customer_events", "call_outcome_facts", "offer_answer_facts")
    )
    first = warehouse.offset
    warehouse.load("customer-events", events)
    [stored] = warehouse.ask(f"SELECT {counts} AS rows")
    warehouse.offset = first
    warehouse.load("customer-events", events)
    assert warehouse.ask(f"SELECT {counts} AS rows") == [stored]


def test_a_server_that_died_between_a_table_and_its_facts(warehouse: Warehouse) -> None:
    """The repeat of the batch brings what is missing, and nothing twice."""
    client = "halved"
    events = customer_events(client, "call", "c1", classified("late"), ("call_noted", {}))
    first = warehouse.offset
    with Client.from_url(warehouse.url) as server:
        [(view,)] = server.execute("SHOW CREATE TABLE call_outcome_facts_from_events")
        server.execute("DROP TABLE call_outcome_facts_from_events")
        warehouse.load("customer-events", events)
        server.execute(view)
    outcome = f"SELECT topic_id, notes FROM call_outcomes WHERE client_id = '{client}'"
    assert warehouse.ask(outcome) == []
    warehouse.offset = first
    warehouse.load("customer-events", events)
    assert warehouse.ask(outcome) == [{"topic_id": "late", "notes": 1}]
    [stored] = warehouse.ask(
        f"SELECT count() AS rows FROM customer_events WHERE client_id = '{client}'"
    )
    assert stored == {"rows": 2}
