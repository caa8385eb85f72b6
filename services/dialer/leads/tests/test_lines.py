"""Lines of lists as people make them."""

from typing import Any

import phonenumbers
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eventkit.decider import Invalid
from services.dialer.compliance.place import places_of_key
from services.dialer.leads import lines
from services.dialer.leads.events import Address
from services.dialer.leads.lines import Assumed, columns_of

FRANCE = Assumed("FR", 3)


def read(header: str, line: str, assumed: Assumed = FRANCE, **columns: str) -> lines.Line:
    return columns_of(header.split(";"), columns).read(line.split(";"), assumed)


def test_a_usual_line() -> None:
    found = read(
        "Réf;Prénom;Nom;Portable;Fixe;Adresse;CP;Ville;Pays;Contrat;Fin",
        "K-1;Anaïs;Roux;06 12 34 56 78;+33 1 42 68 53 00;1 rue A;75011;Paris;;Duo;2026-12-31",
    )
    details = found.details
    assert [each.phone for each in details.numbers] == ["+33612345678", "+33142685300"]
    assert [each.kind for each in details.numbers] == ["mobile", "fixed"]
    assert {each.place for each in details.numbers} == {"FR-75"}
    assert (details.name, details.reference, details.priority) == ("Anaïs Roux", "K-1", 3)
    assert details.address == Address("1 rue A\nParis", "75011", "", "FR")
    assert details.attributes == {"Contrat": "Duo", "Fin": "2026-12-31"}


def test_other_languages_and_several_numbers_in_a_cell() -> None:
    found = read("ФИО;Телефон;Приоритет", "Пётр;8 (912) 345-67-89|+33612345678;9", Assumed("RU"))
    assert [each.phone for each in found.details.numbers] == ["+79123456789", "+33612345678"]
    assert (found.details.name, found.details.priority) == ("Пётр", 9)


def test_a_number_and_an_address_elsewhere_are_both_places() -> None:
    found = read("phone;state;zip;country", "305 555 1234;NY;10001;United States", Assumed("US"))
    regions = {place.region for place in places_of_key(found.details.numbers[0].place)}
    assert regions == {"US-FL", "US-NY"}


def test_a_zone_narrows_what_it_fits_to_and_adds_to_what_not() -> None:
    def zones(number: str, zone: str) -> tuple[str, ...]:
        place = read("phone;time zone", f"{number};{zone}", Assumed("US")).details.numbers[0].place
        return places_of_key(place)[0].zones

    assert zones("850 555 1234", "America/Chicago") == ("America/Chicago",)
    assert set(zones("305 555 1234", "America/Denver")) == {"America/New_York", "America/Denver"}


DIRT = [
    ("Portable", "call me", "numbers", "must be a telephone number"),
    ("Portable", "06123", "numbers", "no number that its country"),
    ("Portable", "0612345678;x", "cells", "1 columns, and not 2"),
    ("Portable", "", "numbers", "at least one number"),
    ("Portable", "|".join(["0612345678"] * 21), "numbers", "more than 20"),
    ("Portable", "+999 12345678", "numbers", "needs a known country code"),
    ("Portable;CP", "0612345678;" + "7" * 129, "postal_code", "more than 128"),
    ("Portable;Pays", "0612345678;Atlantis", "country", "code of two letters"),
    ("Portable;Fuseau", "0612345678;Mars/Olympus", "zone", "IANA"),
    ("Portable;Priorité", "0612345678;high", "priority", "whole number"),
    ("Portable;Priorité", "0612345678;²", "priority", "whole number"),
    ("Portable;Nom", "0612345678;" + "x" * 201, "name", "more than 200"),
    ("Portable;Nom", "0612345678;A\x00b", "name", "no text"),
    ("Portable;Contrat", "0612345678;" + "x" * 1001, "Contrat", "more than 1,000"),
    ("Portable;customer id", "0612345678;a b", "customer_id", "must match"),
]


@pytest.mark.parametrize(("header", "line", "field", "reason"), DIRT)
def test_dirt(header: str, line: str, field: str, reason: str) -> None:
    with pytest.raises(Invalid) as caught:
        read(header, line)
    assert caught.value.field == field
    assert reason in caught.value.reason
    for value in filter(None, line.split(";")):
        assert len(value) < 4 or value not in str(caught.value)


def test_a_number_without_country_needs_one() -> None:
    with pytest.raises(Invalid) as caught:
        read("phone", "0612345678", Assumed())
    assert "a country" in caught.value.reason


HEADERS: list[tuple[list[str], dict[str, str], str, str]] = [
    ([], {}, "header", "from 1 to 200"),
    (["Nom", "Ville"], {}, "header", "no column of telephone numbers"),
    (["Portable", "Nom", "Last name"], {}, "columns", "2 and 3 are both last_name"),
    (["Portable", "X", "X"], {}, "columns", "2 and 3 are both named the same"),
    (["Portable"], {"Nom": "name"}, "columns", "does not have"),
    (["Portable"], {"Portable": "shoe"}, "columns", "must be one of"),
    (["Portable", *(f"A{n}" for n in range(51))], {}, "header", "more than 50"),
]


@pytest.mark.parametrize(("header", "given", "field", "reason"), HEADERS)
def test_headers(header: list[str], given: dict[str, str], field: str, reason: str) -> None:
    with pytest.raises(Invalid) as caught:
        columns_of(header, given)
    assert (caught.value.field, reason in caught.value.reason) == (field, True)


def test_columns_are_what_one_says() -> None:
    given = {"Kontakt": "numbers", "Nom": "attribute", "Secret": "-"}
    columns = columns_of(["Kontakt", "Nom", "Secret"], given)
    found = columns.read(["0612345678", "Roux", "x"], FRANCE)
    assert found.details.attributes == {"Nom": "Roux"}
    assert found.details.name == ""


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(sorted(phonenumbers.SUPPORTED_REGIONS)), st.data())
def test_a_number_is_accepted_where_it_is_valid_and_then_in_its_one_form(
    region: str, data: Any
) -> None:
    code = phonenumbers.country_code_for_region(region)
    text = data.draw(st.text("0123456789", min_size=3, max_size=12))
    value = data.draw(st.sampled_from([text, f"+{code}{text}", f"00{code}{text}"]))
    example = phonenumbers.example_number(region)
    if example is not None and data.draw(st.booleans()):
        value = phonenumbers.format_number(example, phonenumbers.PhoneNumberFormat.NATIONAL)
    try:
        parsed = phonenumbers.parse(value, region)
        expected = (
            phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164)
            if phonenumbers.is_valid_number(parsed)
            else None
        )
    except phonenumbers.NumberParseException:
        expected = None
    try:
        found = lines.phone(value, region)
    except Invalid:
        found = None
    assert found == expected
    if found is not None:
        assert lines.phone(found, "") == found
