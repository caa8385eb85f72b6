"""Which places are open now, and what of many leads would be skipped."""

from datetime import UTC, datetime

import pytest

from services.dialer.compliance.book import campaign_hours, load_rulebook
from services.dialer.compliance.open import OpenPlaces
from services.dialer.compliance.preview import Preview, Reason, preview
from services.dialer.compliance.rules import Opening
from services.dialer.compliance.ruleuse import RuleUse

BOOK = load_rulebook()


def us(text: str) -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1_000_000


MONDAY = us("2026-03-02T12:30:00")
"""13:30 in Paris, noon and a half in London, 7:30 in New York."""


def test_places_that_are_open_and_until_when() -> None:
    doors = OpenPlaces(BOOK)
    places = ["FR-75", "GB", "US-NY", "FR GB", "", "DE"]
    assert doors.among(places, "sales", "power", MONDAY) == ["GB", "DE"]
    assert doors.at("FR-75", "sales", "power", MONDAY) == Opening(False, us("2026-03-02T13:00"))
    assert doors.at("US-NY", "sales", "power", MONDAY) == Opening(False, us("2026-03-02T13:00"))
    assert doors.at("GB", "sales", "power", MONDAY) == Opening(True, us("2026-03-02T21:00"))
    assert doors.at("", "sales", "power", MONDAY) == Opening(False, None)
    with pytest.raises(ValueError, match="place"):
        doors.at("XX", "sales", "power", MONDAY)


def test_what_is_remembered_is_so_until_it_changes_and_no_longer() -> None:
    doors = OpenPlaces(BOOK)
    for minute in range(0, 26 * 60, 7):
        now = MONDAY + minute * 60_000_000
        fresh = OpenPlaces(BOOK).at("FR-75", "sales", "power", now)
        assert doors.at("FR-75", "sales", "power", now).open == fresh.open
    # Also where the clock was set back.
    assert not doors.at("FR-75", "sales", "power", MONDAY).open


def test_hours_of_the_campaign_are_within_the_laws() -> None:
    doors = OpenPlaces(BOOK)
    own = campaign_hours((((15 * 60, 22 * 60),),) * 7, 1)
    assert doors.at("GB", "sales", "power", MONDAY, own) == Opening(False, us("2026-03-02T15:00"))
    afternoon = us("2026-03-02T15:00")
    assert doors.at("GB", "sales", "power", afternoon, own) == Opening(True, us("2026-03-02T21:00"))
    assert doors.at("GB", "sales", "power", MONDAY).open


def test_hours_that_begin_to_hold_end_an_opening() -> None:
    """France's hours are the decree's, from the first of March 2023 on."""
    found = OpenPlaces(BOOK).at("FR-75", "sales", "power", us("2023-02-28T20:30"))
    assert found == Opening(True, us("2023-02-28T23:00"))


def uses(*rules: str) -> tuple[RuleUse, ...]:
    return tuple(RuleUse(rule, 1, "said of one lead") for rule in rules)


def test_a_preview_says_how_many_and_why() -> None:
    answers = [
        *[((), None)] * 963,
        *[(uses("fr.hours"), 2_000)] * 20,
        *[(uses("fr.hours", "fr.attempts-30-days"), 1_000)] * 10,
        *[(uses("crm.consent/none"), None)] * 7,
    ]
    found = preview(answers)
    assert found == Preview(
        leads=1000,
        skipped=37,
        never=7,
        reasons=(
            Reason("fr.hours", 1, leads=30, alone=20, until=1_000),
            Reason("fr.attempts-30-days", 1, leads=10, alone=0, until=1_000),
            Reason("crm.consent/none", 1, leads=7, alone=7, until=None),
        ),
    )
    assert str(found) == (
        "37 of 1,000 would be skipped, because of fr.hours (30), fr.attempts-30-days (10), "
        "crm.consent/none (7)"
    )
    assert str(preview([((), None)] * 5)) == "none of 5 would be skipped"
    assert preview([]) == Preview(0, 0, 0, ())
