"""Every rulebook is held against the vectors beside it, and against those of the centre's lawyers
where they are at hand."""

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from eventkit.errors import InvalidMessage
from services.dialer.compliance import book
from services.dialer.compliance.book import RULEBOOK, load_rulebook
from services.dialer.compliance.place import Address, place_of_number, places, places_of_key
from services.dialer.compliance.rules import Contact, Proposed, decide

BOOK = load_rulebook()
LAW = Path(__file__).parents[5] / "shared" / "reference" / "dialer-compliance.json"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
NUMBER, ANOTHER_NUMBER = b"this number", b"another number"


def us(text: str) -> int:
    moment = datetime.fromisoformat(text)
    assert moment.tzinfo is not None, f"{text} has no offset"
    return (moment - EPOCH) // timedelta(microseconds=1)


def vectors() -> Iterator[Any]:
    for file in sorted(RULEBOOK.glob("*.tests.yaml")):
        for case in yaml.safe_load(file.read_text()):
            assert case.keys() <= {"name", "given", "proposed", "forbidden_by", "at"}, case
            for at, said in case["at"].items():
                yield pytest.param(case, at, said, id=f"{file.name[:-11]}: {case['name']}: {at}")


def proposed(at: str, said: dict[str, Any]) -> Proposed:
    known = {"number", "address", "place", "purpose", "mode", "subject", "consent"}
    assert said.keys() <= known, said
    if "place" in said:
        where = places_of_key(said["place"])
    else:
        where = places(said["number"], Address(**said["address"]) if "address" in said else None)
    return Proposed(
        us(at),
        where,
        place_of_number(said["number"]).kind if "number" in said else "other",
        said["purpose"],
        said.get("mode", "predictive"),
        "this-client",
        "this-campaign",
        NUMBER,
        "this customer",
        said.get("subject", ""),
        said.get("consent", False),
    )


def contact(row: dict[str, Any], purpose: str) -> Contact:
    known = {"at", "ended", "under_way", "client", "campaign", "number", "customer", "subject"}
    assert row.keys() <= known | {"purpose", "conversation", "refused", "abandoned"}, row
    at = us(row["at"])
    ended = us(row["ended"]) if "ended" in row else at
    return Contact(
        at,
        f"{row.get('client', 'this')}-client",
        f"{row.get('campaign', 'this')}-campaign",
        ANOTHER_NUMBER if "number" in row else NUMBER,
        row.get("purpose", purpose),
        f"{row.get('customer', 'this')} customer",
        row.get("subject", ""),
        None if row.get("under_way") else ended,
        row.get("conversation", False),
        row.get("refused", False),
        row.get("abandoned", False),
    )


@pytest.mark.parametrize(("case", "at", "said"), list(vectors()))
def test_vector(case: dict[str, Any], at: str, said: str) -> None:
    question = proposed(at, case["proposed"])
    history = [contact(row, question.purpose) for row in case.get("given", ())]
    answer = decide(question, history, BOOK)
    if said == "allowed":
        assert answer.forbidden_by == ()
        assert answer.allowed
        return
    assert [use.rule for use in answer.forbidden_by] == case["forbidden_by"]
    assert answer.until == (None if said == "never" else us(said))


def test_each_book_has_vectors_that_allow_and_that_forbid_by_each_hard_rule() -> None:
    forbidding = {rule for each in vectors() for rule in each.values[0].get("forbidden_by", ())}
    for jurisdiction in BOOK.jurisdictions:
        file = RULEBOOK / f"{jurisdiction.id}.tests.yaml"
        said = [said for case in yaml.safe_load(file.read_text()) for said in case["at"].values()]
        assert "allowed" in said, file.name
    assert {rule.split(".")[0] for rule in forbidding} == {each.id for each in BOOK.jurisdictions}


def test_every_rule_says_where_it_comes_from() -> None:
    for jurisdiction in BOOK.jurisdictions:
        for rule in jurisdiction.rules:
            assert rule.source, f"{jurisdiction.id}.{rule.name}"


def test_calling_hours_as_the_centre_was_told_them() -> None:
    if not LAW.exists():
        pytest.skip(f"{LAW.name} is not here")
    told = json.loads(LAW.read_text())["calling_hours"]
    assert told == {
        "us_federal": "08:00-21:00 at the called party's place",
        "us_florida": "08:00-20:00, at most 3 in 24 h on one subject",
        "fr": "Mon-Fri 10:00-13:00 and 14:00-20:00, not on public holidays, at most 4 in 30 days, "
        "60 days' rest after a refusal; from 2026-08-11 only with prior consent",
        "uk": "72 h before redialling a number after an abandoned call unless an agent is "
        "guaranteed",
    }, "the law has changed: hold the rulebook and its vectors against it"
    rules = {
        f"{each.id}.{rule.name}": rule.what for each in BOOK.jurisdictions for rule in each.rules
    }
    day = ((8 * 60, 21 * 60),)
    assert rules["us.hours"] == book.r.Hours(book.Week((day,) * 7))
    assert rules["us-fl.hours"] == book.r.Hours(book.Week((((8 * 60, 20 * 60),),) * 7))
    three = rules["us-fl.attempts-24-hours"]
    assert isinstance(three, book.r.Cap)
    assert (three.limit, three.period_us, three.per) == (3, 24 * book.HOUR, "subject")
    french = ((10 * 60, 13 * 60), (14 * 60, 20 * 60))
    assert rules["fr.hours"] == book.r.Hours(book.Week((french,) * 5 + ((),) * 2, ()))
    four = rules["fr.attempts-30-days"]
    assert isinstance(four, book.r.Cap)
    assert (four.limit, four.period_us, four.per) == (4, 720 * book.HOUR, "client")
    refused = rules["fr.rest-after-refusal"]
    assert isinstance(refused, book.r.Rest)
    assert (refused.after, refused.days, refused.per) == ("refused", 60, "client")
    [consent] = [
        rule
        for each in BOOK.jurisdictions
        for rule in each.rules
        if (each.id, rule.name) == ("fr", "consent")
    ]
    assert consent.valid_from == date(2026, 8, 11)
    abandoned = rules["gb.rest-after-abandoned"]
    assert isinstance(abandoned, book.r.Rest)
    assert (abandoned.rest_us, abandoned.unless_agent_guaranteed) == (72 * book.HOUR, True)


# A book that is no good.

GOOD = {
    "jurisdiction": "xx",
    "version": 1,
    "countries": ["DE"],
    "rules": [{"name": "hours", "hours": {"mon-fri": ["09:00-12:00", "13:00-18:00"]}}],
}


def rule(**fields: Any) -> dict[str, Any]:
    return GOOD | {"rules": [{"name": "it"} | fields]}


CAP = {"limit": 3, "hours": 24}


@pytest.mark.parametrize(
    ("content", "field", "reason"),
    [
        (GOOD | {"version": 0}, "version", "first"),
        (GOOD | {"version": "one"}, "version", "expected `int`"),
        (GOOD | {"verison": 1}, "its content", "unknown field `verison`"),
        (GOOD | {"jurisdiction": "X X"}, "jurisdiction", "must match"),
        (GOOD | {"countries": ["XX"]}, "countries", "XX"),
        (GOOD | {"regions": ["US-FL"]}, "regions", "US-FL"),
        (GOOD | {"calendars": {"DE-BY": "Bayern"}}, "calendars.DE-BY.subdivision", "not an ISO"),
        (GOOD | {"fallback": True}, "fallback", "no countries"),
        (GOOD | {"rules": GOOD["rules"] * 2}, "rules[1].name", "another rule's"),
        (GOOD | {"rules": [{"name": "it", "cap": CAP}] * 51}, "rules", "more than 50"),
        (rule(), "rules[0]", "one of hours, cap"),
        (rule(consent="required", ring_seconds=15), "rules[0]", "one of hours, cap"),
        (rule(consent="maybe"), "rules[0].consent", "maybe"),
        (rule(ring_seconds=0), "rules[0].ring_seconds", "1 to 120"),
        (rule(cap=CAP, purposes=["Sales!"]), "rules[0].purposes", "must match"),
        (rule(cap=CAP, modes=["fast"]), "rules[0].modes", "must be of"),
        (rule(cap=CAP, kinds=["car"]), "rules[0].kinds", "must be of"),
        (
            rule(cap=CAP, valid_from=date(2026, 2, 1), valid_until=date(2026, 1, 31)),
            "rules[0].valid_until",
            "before",
        ),
        (rule(cap=CAP, valid_from=date(1, 1, 1)), "rules[0].valid_from", "1900"),
        (rule(cap=CAP, valid_until=date(9999, 12, 31)), "rules[0].valid_until", "2100"),
        (rule(cap=CAP, source="a\nb"), "rules[0].source", "a line"),
        (rule(cap=CAP, source="x" * 501), "rules[0].source", "500"),
        (rule(cap=CAP, purposes=["sales"] * 51), "rules[0].purposes", "more than 50"),
        (rule(hours={"sat-mon": []}), "rules[0].hours.sat-mon", "must be like"),
        (rule(hours={"mon-": ["09:00-10:00"], "x": []}), "rules[0].hours.x", "must be like"),
        (rule(hours={}), "rules[0].hours", "no day"),
        (rule(hours={"holidays": []}), "rules[0].hours", "no day"),
        (rule(hours={"monday": []}), "rules[0].hours.monday", "must be like"),
        (rule(hours={"mon-fri": [], "fri": []}), "rules[0].hours.fri", "already"),
        (rule(hours={"mon": ["9-12"]}), "rules[0].hours.mon", "must be like"),
        (rule(hours={"mon": ["12:00-09:00"]}), "rules[0].hours.mon", "end after"),
        (rule(hours={"mon": ["12:00-24:01"]}), "rules[0].hours.mon", "end after"),
        (rule(hours={"mon": ["12:00-14:00", "13:00-15:00"]}), "rules[0].hours.mon", "in order"),
        (rule(cap={"limit": 3}), "rules[0].cap", "one length"),
        (rule(cap={"limit": 3, "hours": 1, "days": 1}), "rules[0].cap", "one length"),
        (rule(cap={"limit": -1, "hours": 1}), "rules[0].cap.limit", "0 to 1000"),
        (rule(cap={"limit": 3, "days": 366}), "rules[0].cap.days", "at most"),
        (rule(cap=CAP | {"scope": "street"}), "rules[0].cap.scope", "street"),
        (rule(rest={"after": "lunch", "hours": 1}), "rules[0].rest.after", "lunch"),
        (rule(rest={"after": "refused"}), "rules[0].rest", "one length"),
    ],
)
def test_a_bad_book_is_refused_by_its_field(
    content: Any, field: str, reason: str, tmp_path: Path
) -> None:
    (tmp_path / "xx.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    with pytest.raises(InvalidMessage) as refused:
        load_rulebook(tmp_path)
    assert refused.value.field == f"xx.yaml: {field}"
    assert reason in refused.value.reason


def test_a_file_has_to_be_there_be_yaml_and_be_called_as_it_says(tmp_path: Path) -> None:
    with pytest.raises(InvalidMessage, match="has no rulebook"):
        load_rulebook(tmp_path)
    (tmp_path / "xx.yaml").write_text("rules: [")
    with pytest.raises(InvalidMessage, match=r"xx\.yaml: line 1"):
        load_rulebook(tmp_path)
    (tmp_path / "xx.yaml").unlink()
    (tmp_path / "yy.yaml").write_text(yaml.safe_dump(GOOD))
    with pytest.raises(InvalidMessage, match=r"yy\.yaml: jurisdiction"):
        load_rulebook(tmp_path)
