"""What countries make of addresses; and that nothing that is given takes long or breaks them."""

import time
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eventkit.decider import Invalid
from services.orders.addresses.address import Address
from services.orders.addresses.rules import (
    MAX_LINE,
    MAX_LINES,
    countries,
    formatted,
    normalise,
    rules,
)

WIDE = "\u3012\uff11\uff10\uff10\uff0d\uff10\uff10\uff10\uff15"
"""A mark, digits and a hyphen of full width, as a Japanese keyboard has them."""
PARIS = Address("FR", ("12 rue de la Paix",), "75002", "Paris")


@pytest.mark.parametrize(
    ("address", "changes", "envelope"),
    [
        (
            Address("fr", ("  12  rue de la Paix ", " "), "75 002", "Paris", "Île-de-France"),
            {"country": "FR", "lines": ("12 rue de la Paix",), "postal_code": "75002"},
            ("12 rue de la Paix", "75002 PARIS", "France"),
        ),
        (
            Address("DE", ("c/o Müller", "Straße des 17. Juni 1"), "10785", "Berlin"),
            {},
            ("c/o Müller", "Straße des 17. Juni 1", "10785 BERLIN", "Germany"),
        ),
        (
            Address("GB", ("10 Downing Street",), "sw1a2aa", "London"),
            {"postal_code": "SW1A 2AA"},
            ("10 Downing Street", "LONDON", "SW1A 2AA", "United Kingdom"),
        ),
        (
            Address("GB", ("1 High Street",), "m25bq", "Manchester"),
            {"postal_code": "M2 5BQ"},
            ("1 High Street", "MANCHESTER", "M2 5BQ", "United Kingdom"),
        ),
        (
            Address("US", ("1 Main St", "Apt 4"), "941051234", "San Francisco", "california"),
            {"postal_code": "94105-1234", "region": "CA"},
            ("1 Main St", "Apt 4", "SAN FRANCISCO, CA 94105-1234", "United States"),
        ),
        (
            Address("CA", ("111 Wellington St",), "k1a0a9", "Ottawa", "ON"),
            {"postal_code": "K1A 0A9"},
            ("111 WELLINGTON ST", "OTTAWA ON K1A 0A9", "Canada"),
        ),
        (
            Address("CA", ("1 rue Saint-Paul",), "H3Z 2Y7", "Montréal", "quebec"),
            {"region": "QC"},
            ("1 RUE SAINT-PAUL", "MONTRÉAL QC H3Z 2Y7", "Canada"),
        ),
        (
            Address("BR", ("Av. Paulista, 1000",), "01310100", "sao paulo", "sp"),
            {"postal_code": "01310-100", "locality": "São Paulo", "region": "SP"},
            ("Av. Paulista, 1000", "SÃO PAULO-SP", "01310-100", "Brazil"),
        ),
        (
            Address("BR", ("Av. 1",), "01310-100", "Founded Yesterday", "SP"),
            {},
            ("Av. 1", "FOUNDED YESTERDAY-SP", "01310-100", "Brazil"),
        ),
        (
            Address("KR", ("1 Sejong-daero",), "24201", "chuncheon si", "Gangwon-do"),
            {"locality": "Chuncheon-si"},
            ("1 Sejong-daero", "Chuncheon-si", "Gangwon-do", "24201", "South Korea"),
        ),
        (
            Address("JP", ("丸の内1-1",), WIDE, "千代田区", "東京都"),
            {"postal_code": "100-0005"},
            ("〒100-0005", "東京都", "千代田区", "丸の内1-1", "Japan"),
        ),
        (
            Address("JP", ("1-1 Marunouchi",), "1000005", "Chiyoda-ku", "tokyo"),
            {"postal_code": "100-0005", "region": "Tokyo"},
            ("1-1 Marunouchi", "Chiyoda-ku, TOKYO", "100-0005", "Japan"),
        ),
        (
            Address("IE", ("1 Main Street",), "", "Dingle", "co kerry"),
            {"region": "Co. Kerry"},
            ("1 Main Street", "DINGLE", "Co. Kerry", "Ireland"),
        ),
        (
            Address("IE", ("1 Main Street",), "a65f4e2", "Dublin"),
            {"postal_code": "A65 F4E2"},
            ("1 Main Street", "DUBLIN", "A65 F4E2", "Ireland"),
        ),
        (
            Address("CH", ("Bahnhofstrasse 1",), "CH-8001", "Zürich"),
            {"postal_code": "8001"},
            ("Bahnhofstrasse 1", "CH-8001 Zürich", "Switzerland"),
        ),
        (
            Address("NL", ("Damrak 1",), "1012lg", "Amsterdam"),
            {"postal_code": "1012 LG"},
            ("Damrak 1", "1012 LG AMSTERDAM", "Netherlands"),
        ),
        (
            Address("PT", ("Rua Augusta 1",), "1100\u2013053", "Lisboa"),
            {"postal_code": "1100-053"},
            ("Rua Augusta 1", "1100-053 LISBOA", "Portugal"),
        ),
        (
            Address("SE", ("Drottninggatan 1",), "SE-111 51", "Stockholm"),
            {"postal_code": "11151"},
            ("Drottninggatan 1", "SE-11151 STOCKHOLM", "Sweden"),
        ),
        (
            Address("AE", ("Sheikh Zayed Road 1",), "", "Al Barsha", "DUBAI"),
            {"region": "Dubai"},
            ("Sheikh Zayed Road 1", "Al Barsha", "Dubai", "United Arab Emirates"),
        ),
        (
            Address("SG", ("1 Raffles Place",), "048616", "Singapore"),
            {},
            ("1 Raffles Place", "SINGAPORE 048616", "Singapore"),
        ),
        (
            Address("MO", ("Rua Central 1",)),
            {},
            ("Rua Central 1", "Macao SAR China"),
        ),
        (
            Address("XK", ("Rruga B 1",), "", "Prishtina"),
            {},
            ("Rruga B 1", "PRISHTINA", "Kosovo"),
        ),
    ],
    ids=lambda one: one.country if isinstance(one, Address) else "",
)
def test_as_the_country_writes_it(
    address: Address, changes: dict[str, Any], envelope: tuple[str, ...]
) -> None:
    found = normalise(address)
    assert found == replace(address, **changes)
    assert normalise(found) == found
    assert formatted(found) == envelope


@pytest.mark.parametrize(
    ("field", "address"),
    [
        ("country", replace(PARIS, country="XX")),
        ("country", replace(PARIS, country="")),
        ("country", replace(PARIS, country="FRA")),
        ("country", replace(PARIS, country="UK")),
        ("country", replace(PARIS, country="ZZ")),
        ("country", replace(PARIS, country="../fr")),
        ("country", replace(PARIS, country="ﬀ")),
        ("lines", replace(PARIS, lines=())),
        ("lines", replace(PARIS, lines=(" ",))),
        ("lines", replace(PARIS, lines=("a\nb",))),
        ("lines", replace(PARIS, lines=("a\0",))),
        ("lines", replace(PARIS, lines=("a\ud800",))),
        ("lines", replace(PARIS, lines=("x" * (MAX_LINE + 1),))),
        ("lines", replace(PARIS, lines=("x",) * (MAX_LINES + 1))),
        ("postal_code", replace(PARIS, postal_code="")),
        ("postal_code", replace(PARIS, postal_code="7500")),
        ("postal_code", replace(PARIS, postal_code="750022")),
        ("postal_code", replace(PARIS, postal_code="75A02")),
        ("postal_code", replace(PARIS, postal_code="٧٥٠٠٢")),
        ("postal_code", replace(PARIS, postal_code="75002\0")),
        ("postal_code", Address("GB", ("1 High Street",), "SW1A 2AA and more", "London")),
        ("postal_code", Address("GB", ("1 High Street",), "GIR 0AA1", "London")),
        ("postal_code", Address("US", ("1 Main St",), "10001", "San Francisco", "CA")),
        ("locality", replace(PARIS, locality="")),
        ("locality", replace(PARIS, locality="\u2003")),
        ("region", Address("US", ("1 Main St",), "94105", "San Francisco")),
        ("region", Address("US", ("1 Main St",), "94105", "San Francisco", "Bavaria")),
        ("as_spoken", replace(PARIS, as_spoken="x" * 10_001)),
        ("as_spoken", replace(PARIS, as_spoken="\0")),
        ("as_spoken", replace(PARIS, as_spoken="\udfff")),
    ],
)
def test_what_is_refused(field: str, address: Address) -> None:
    with pytest.raises(Invalid) as caught:
        normalise(address)
    assert caught.value.field == field
    for text in (*address.lines, address.postal_code, address.locality, address.region):
        assert len(text) < 2 or text not in str(caught.value)


def test_what_was_said_stays_as_it_was() -> None:
    said = "  twelve,\n rue de la PAIX\tin the 2e\u0301me "
    assert normalise(replace(PARIS, as_spoken=said)).as_spoken == said


def test_an_address_as_texts_and_back() -> None:
    address = Address("FR", ("c/o Ann", "12 rue de la Paix"), "75002", "Paris", "", "as I said\n")
    assert address.texts() == {
        "country": "FR",
        "lines": "c/o Ann\n12 rue de la Paix",
        "postal_code": "75002",
        "locality": "Paris",
        "as_spoken": "as I said\n",
    }
    assert Address.of_texts(address.texts()) == address
    assert Address.of_texts({}) == Address("", ())
    assert Address("", ()).texts() == {}
    assert formatted(Address("", ())) == ()


# Rules.


def refusal(address: Address) -> str:
    """The field that it is refused for; "" where it is not."""
    try:
        normalise(address)
    except Invalid as error:
        return error.field
    return ""


def test_what_to_ask_for() -> None:
    found = rules("us")
    assert (found.country, found.name) == ("US", "United States")
    assert found.fields == (("lines",), ("locality", "region", "postal_code"))
    assert found.required == ("lines", "postal_code", "locality", "region")
    assert (found.region_type, found.postal_code_type) == ("state", "zip")
    assert ("CA", "California") in found.regions
    assert found.postal_code_examples == ("95014", "22162-1010")
    france = rules("FR")
    assert (france.regions, france.localities) == ((), ())
    assert france.required == ("lines", "postal_code", "locality")
    emirates = rules("AE")
    assert emirates.postal_code_examples == ()
    assert emirates.fields == (("lines",), ("region",))
    assert rules("IE").required == ("lines", "locality")
    assert rules("JP").fields[0] == ("postal_code",)
    brazil = rules("BR", "são paulo")
    assert len(brazil.localities) > 600
    assert brazil.postal_code_examples
    assert rules("AD", "anything").regions == ()


@pytest.mark.parametrize(
    ("field", "country", "region"),
    [("country", "XX", ""), ("region", "US", "Bavaria"), ("region", "US", "x" * 1_000_000)],
)
def test_no_rules(field: str, country: str, region: str) -> None:
    with pytest.raises(Invalid) as caught:
        rules(country, region)
    assert caught.value.field == field


@pytest.mark.parametrize("country", sorted(countries()))
def test_every_country(country: str) -> None:
    """Each has rules that fit together: its own examples are right, blanks and hyphens or not."""
    found = rules(country)
    asked = {field for line in found.fields for field in line}
    assert "lines" in asked
    assert set(found.required) <= asked
    address = Address(country, ("Street 1",), "", "Town", "")
    for example in found.postal_code_examples or ("",):
        for postal_code in (example, example.lower().replace(" ", "").replace("-", "")):
            given = replace(address, postal_code=postal_code)
            if "region" in found.required:
                assert refusal(given) == "region"
                break
            assert normalise(given) == replace(given, postal_code=example)
    keys = {key for key, _ in found.regions}
    for _, name in found.regions:
        chosen = replace(address, region=name)
        assert refusal(chosen) != "region"
        if refusal(chosen) == "":
            assert normalise(chosen).region in keys | {name}


# Laws.

TEXT = st.one_of(
    st.text(max_size=30),
    st.text("Aa1 -'éßİﬀ\u0301\u200d\u2003\u3000\t〒ー東京", max_size=30),
    st.sampled_from(
        ["", "Paris", "CA", "california", "São Paulo", "SP", "東京都", "Tokyo", "Dubai"]
    ),
    st.sampled_from(["75002", "SW1A 2AA", "sw1a2aa", "94105", "01310-100", "100-0005", "K1A0A9"]),
)
ADDRESSES = st.builds(
    Address,
    st.one_of(
        st.sampled_from(["fr", "GB", "us", "CA", "BR", "JP", "IE", "KR", "AE", "CN", " it "]),
        st.sampled_from(sorted(countries())),
        st.text(max_size=3),
    ),
    st.lists(TEXT, max_size=6).map(tuple),
    TEXT,
    TEXT,
    TEXT,
    TEXT,
)


@settings(max_examples=600, deadline=None)
@given(ADDRESSES)
def test_once_is_enough_and_only_invalid_is_raised(address: Address) -> None:
    if field := refusal(address):
        assert field in ("country", "lines", "postal_code", "locality", "region", "as_spoken")
        return
    found = normalise(address)
    assert normalise(found) == found
    assert Address.of_texts(found.texts()) == found
    assert found.as_spoken == address.as_spoken
    envelope = formatted(found)
    assert envelope[-1] == countries()[found.country]
    assert all(line == " ".join(line.split()) and line for line in envelope)
    assert len(envelope) <= MAX_LINES + 5


HUGE = 5_000_000


@pytest.mark.parametrize(
    "address",
    [
        replace(PARIS, country="F" * HUGE),
        replace(PARIS, lines=("x" * HUGE,)),
        replace(PARIS, lines=("",) * HUGE),
        replace(PARIS, postal_code=" " * HUGE),
        replace(PARIS, postal_code="7" * HUGE),
        replace(PARIS, locality="ﷺ" * HUGE),
        replace(PARIS, region="\u0301" * HUGE),
        replace(PARIS, as_spoken="x" * HUGE),
        Address("GB", ("1",), "A1" * 20, "London"),
        Address("BR", ("1",), "0" * 40, "\u0301" * 200, "ﷺ" * 200),
    ],
    ids=range(10),
)
def test_hostile_ones_are_refused_at_once(address: Address) -> None:
    begun = time.perf_counter()
    with pytest.raises(Invalid):
        normalise(address)
    assert time.perf_counter() - begun < 0.5
