"""Where a telephone may be. The numbers are reserved for fiction where a country reserves some."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.dialer.compliance.place import (
    Address,
    place_key,
    place_of_address,
    place_of_number,
    places,
    places_of_key,
    zones_of_countries,
    zones_of_states,
)
from services.dialer.compliance.rules import Place

NOWHERE = Place("")
PARIS = ("Europe/Paris",)
EASTERN = ("America/New_York",)


@pytest.mark.parametrize(
    ("number", "kind", "place"),
    [
        ("+33612345678", "mobile", Place("FR", "", PARIS)),
        ("+33639980123", "other", Place("FR", "", PARIS)),
        ("+33199001234", "fixed", Place("FR", "", PARIS)),
        ("+33388000000", "fixed", Place("FR", "FR-67", PARIS)),
        ("+33389000000", "fixed", Place("FR", "FR-68", PARIS)),
        ("+33387000000", "fixed", Place("FR", "FR-57", PARIS)),
        ("+262692000000", "mobile", Place("RE", "", ("Indian/Reunion",))),
        ("+442079460123", "fixed", Place("GB", "", ("Europe/London",))),
        ("+447700900123", "other", Place("GB", "", ("Europe/London",))),
        ("+447624000000", "mobile", Place("IM", "", ("Europe/Isle_of_Man",))),
        ("+353201234567", "other", Place("IE", "", ("Europe/Dublin",))),
        ("+12125550123", "other", Place("US", "US-NY", EASTERN)),
        ("+12025550123", "other", Place("US", "US-DC", EASTERN)),
        ("+13055550123", "other", Place("US", "US-FL", EASTERN)),
        ("+18504320123", "other", Place("US", "US-FL", ("America/Chicago",))),
        ("+14165550123", "other", Place("CA", "CA-ON", ("America/Toronto",))),
        ("+17875550123", "other", Place("PR", "", ("America/Puerto_Rico",))),
        ("+38328000000", "fixed", Place("XK", "", ("Europe/Belgrade",))),
        ("+881612345678", "mobile", NOWHERE),
        ("+999123456789", "other", NOWHERE),
        ("not a number", "other", NOWHERE),
        ("", "other", NOWHERE),
    ],
)
def test_by_the_number(number: str, kind: str, place: Place) -> None:
    found = place_of_number(number)
    assert (found.kind, found.place) == (kind, place)


def test_an_exchange_that_nobody_knows_may_be_in_any_zone_of_its_area() -> None:
    assert place_of_number("+18505550123").place.zones == ("America/Chicago", "America/New_York")


def test_a_number_of_no_area_may_be_anywhere_in_the_country_and_in_no_other() -> None:
    toll_free = place_of_number("+18005550123").place
    assert (toll_free.country, toll_free.region) == ("US", "")
    assert toll_free.zones == zones_of_countries()["US"]
    assert {"America/New_York", "Pacific/Honolulu", "America/Anchorage"} <= set(toll_free.zones)
    assert "America/Toronto" not in toll_free.zones


@pytest.mark.parametrize(
    ("address", "place"),
    [
        (Address("FR", "", "75001"), Place("FR", "FR-75", PARIS)),
        (Address("fr", "", "67 000"), Place("FR", "FR-67", PARIS)),
        (Address("FR", "", "20090"), Place("FR", "FR-2A", PARIS)),
        (Address("FR", "", "20200"), Place("FR", "FR-2B", PARIS)),
        (Address("FR", "", "97400"), Place("RE", "", ("Indian/Reunion",))),
        (Address("FR", "", "?"), Place("FR", "", PARIS)),
        (Address("US", "FL"), Place("US", "US-FL", ("America/Chicago", "America/New_York"))),
        (Address("US", " florida "), Place("US", "US-FL", ("America/Chicago", "America/New_York"))),
        (Address("US", "US-NY"), Place("US", "US-NY", EASTERN)),
        (Address("US", "PR"), Place("PR", "", ("America/Puerto_Rico",))),
        (Address("US", "Nowhere"), Place("US", "", zones_of_countries()["US"])),
        (Address("DE", "Bayern"), Place("DE", "", zones_of_countries()["DE"])),
        (Address("XX"), NOWHERE),
        (Address(""), NOWHERE),
    ],
)
def test_by_the_address(address: Address, place: Place) -> None:
    assert place_of_address(address) == place


@pytest.mark.parametrize(
    ("number", "address", "key"),
    [
        pytest.param("+13055550123", None, "US-FL@America/New_York", id="no address"),
        pytest.param("+13055550123", Address("US", "NY"), "US-FL@America/New_York US-NY", id="two"),
        pytest.param("+13055550123", Address("US", "FL"), "US-FL@America/New_York", id="the same"),
        pytest.param("+13055550123", Address("US"), "US-FL@America/New_York", id="country only"),
        pytest.param("+18005550123", Address("US", "NY"), "US-NY", id="the number says little"),
        pytest.param("+33639980123", Address("FR", "", "67000"), "FR-67", id="a mobile at home"),
        pytest.param("+33639980123", Address("GB"), "FR GB", id="a mobile abroad"),
        pytest.param(
            "+61255500000",
            Address("AU", "NSW"),
            "AU-NSW@Australia/Sydney",
            id="a region of which nobody knows the zones",
        ),
        pytest.param(
            "+74951234567", Address("RU"), "RU@Europe/Moscow", id="the address says little"
        ),
        pytest.param(
            "+18504320123", Address("US", "FL"), "US-FL@America/Chicago", id="west in the state"
        ),
        pytest.param("+881612345678", Address("FR", "", "75001"), "FR-75", id="a satellite's"),
        pytest.param("+33639980123", Address("XX"), "FR", id="an address that is none"),
        pytest.param("+881612345678", None, "", id="nowhere"),
    ],
)
def test_by_both(number: str, address: Address | None, key: str) -> None:
    assert place_key(places(number, address)) == key


NUMBERS = st.sampled_from(
    [
        "+12",
        "+13",
        "+1850",
        "+1800",
        "+33",
        "+336",
        "+333",
        "+44",
        "+7",
        "+61",
        "+55",
        "+49",
        "+881",
    ]
).flatmap(
    lambda start: st.integers(0, 9_999_999).map(lambda rest: f"{start}{rest:07}".ljust(12, "5"))
)
ADDRESSES = st.none() | st.builds(
    Address,
    st.sampled_from(["US", "FR", "GB", "CA", "AU", "DE", "RU", "XX", ""]),
    st.sampled_from(["", "FL", "NY", "TX", "Ontario"]),
    st.sampled_from(["", "67000", "97400", "20137"]),
)


@given(NUMBERS, ADDRESSES)
def test_a_key_is_read_back_as_it_was_made(number: str, address: Address | None) -> None:
    found = places(number, address)
    assert set(places_of_key(place_key(found))) == set(found)
    assert len(place_key(found)) < 600


@given(NUMBERS, ADDRESSES)
def test_a_place_has_the_zones_of_its_country_and_of_no_other(
    number: str, address: Address | None
) -> None:
    for place in places(number, address):
        assert set(place.zones) <= set(zones_of_countries().get(place.country, ()))
        assert bool(place.zones) == bool(place.country)


@pytest.mark.parametrize("key", ["XX", "USA", "fr", "FR  GB", "@Europe/Paris", "US_FL"])
def test_what_is_no_key(key: str) -> None:
    with pytest.raises(ValueError, match="place"):
        places_of_key(key)


def test_every_state_has_zones() -> None:
    states = {region for region in zones_of_states() if region.startswith("US-")}
    assert len(states) == 51
    two = {region for region in states if len(zones_of_states()[region]) > 1}
    assert {"US-FL", "US-TN", "US-KY", "US-IN", "US-TX", "US-ND", "US-SD", "US-NE"} <= two
    assert {"US-KS", "US-MI", "US-OR", "US-ID", "US-AK"} <= two
    assert zones_of_states()["US-NY"] == EASTERN
