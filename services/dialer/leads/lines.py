"""A line of a list -> what it says of a lead, or why it is no good. Pure.

    columns = columns_of(["Téléphone", "Nom", "CP", "Contrat"], {})
    details = columns.read(["06 12 34 56 78", "Roux", "75011", "Duo"], Assumed("FR"))

Columns are known by their names in several languages; what is not known is kept as an attribute,
for the agent. Every function raises Invalid(field, reason); the reason never has a value in it.
"""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Final
from zoneinfo import available_timezones

import phonenumbers
from babel import Locale
from phonenumbers import NumberParseException, PhoneNumberFormat, PhoneNumberType

from eventkit.decider import Invalid
from services.dialer.compliance.place import Address as Where
from services.dialer.compliance.place import NumberPlace, place_key, place_of_parsed, places_with
from services.dialer.compliance.rules import Place
from services.dialer.leads.commands import Details, Given
from services.dialer.leads.events import NO_ADDRESS, Address
from services.dialer.leads.lead import MAX_ATTRIBUTES, MAX_NUMBERS, MAX_PRIORITY

MAX_TEXT: Final = 1_000
MAX_NAME: Final = 200
MAX_CODE: Final = 128
MAX_COLUMNS: Final = 200

ATTRIBUTE: Final = "attribute"
IGNORED: Final = "-"
FIELDS: Final = (
    "reference",
    "name",
    "first_name",
    "last_name",
    "numbers",
    "address",
    "postal_code",
    "city",
    "region",
    "country",
    "zone",
    "priority",
    "customer_id",
)
SEVERAL: Final = ("numbers", "address")
"""Of these there may be several columns."""

_SYNONYMS: Final = {
    "reference": "reference ref id leadid externalid number no accountnumber account numero"
    " numeroclient numclient clientnumber customernumber identifiant номер код kundennummer",
    "name": "name fullname customername contact nomcomplet nomprenom prenomnom фио adsoyad",
    "first_name": "firstname givenname forename prenom имя ad vorname",
    "last_name": "lastname surname familyname nom nomdefamille фамилия soyad nachname",
    "numbers": "phone phones phonenumber phone1 phone2 phone3 phone4 telephone telephone1"
    " telephone2 tel tel1 tel2 tel3 mobile mobilephone mobilenumber cell cellphone home homephone"
    " work workphone portable fixe gsm numerodetelephone телефон мобильный telefon ceptelefonu",
    "address": "address address1 address2 street streetaddress adresse adresse1 adresse2 rue адрес"
    " adres strasse",
    "postal_code": "postalcode zip zipcode postcode codepostal cp индекс postakodu plz",
    "city": "city town ville город sehir ort stadt",
    "region": "region state province county departement область il bundesland",
    "country": "country countrycode pays страна ulke land",
    "zone": "zone timezone tz fuseau fuseauhoraire часовойпояс saatdilimi zeitzone",
    "priority": "priority priorite приоритет oncelik prioritat",
    "customer_id": "customerid crmid",
}
_KNOWN: Final = {name: field for field, names in _SYNONYMS.items() for name in names.split()}

_PHONE: Final = re.compile(r"\+?[\d\s().\-/\u2010-\u2015]{3,60}")
_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:+-]{0,127}")
_SEPARATORS: Final = re.compile(r"[|;,\n]")


@dataclass(frozen=True, slots=True)
class Assumed:
    """What holds for lines that do not say it. country: ISO 3166, of numbers without a code and of
    addresses; empty: such numbers are no good."""

    country: str = ""
    priority: int = 0


@dataclass(frozen=True, slots=True)
class Line:
    """customer_id: crm's, empty where the line names none."""

    details: Details
    customer_id: str = ""


@dataclass(frozen=True, slots=True)
class Columns:
    """What each column is: a field, (ATTRIBUTE, its name) or nothing."""

    fields: tuple[str | tuple[str, str] | None, ...]

    def read(self, cells: Sequence[str], assumed: Assumed) -> Line:
        """Raises Invalid for the first field that is no good."""
        if len(cells) != len(self.fields):
            raise Invalid("cells", f"{len(self.fields)} columns, and not {len(cells)}")
        texts: dict[str, str] = {}
        phones: list[str] = []
        attributes: dict[str, str] = {}
        for field, cell in zip(self.fields, cells, strict=True):
            value = cell.strip()
            if not value or field is None:
                continue
            if isinstance(field, tuple):
                attributes[field[1]] = text(value, field[1], MAX_TEXT)
            elif field == "numbers":
                phones += filter(None, map(str.strip, _SEPARATORS.split(value)))
            else:
                texts[field] = f"{texts[field]}\n{value}" if field in texts else value
        return _line(texts, phones, attributes, assumed)


def _line(
    texts: Mapping[str, str], phones: Sequence[str], attributes: dict[str, str], assumed: Assumed
) -> Line:
    whole = (texts.get(each, "") for each in ("first_name", "name", "last_name"))
    if "first_name" in texts and "last_name" in texts and "name" in texts:
        whole = (name for name in (texts["name"],))
    address = NO_ADDRESS
    if texts.keys() & {"address", "city", "postal_code", "region", "country"}:
        lines = "\n".join(filter(None, (texts.get("address", ""), texts.get("city", ""))))
        address = Address(
            text(lines, "address", MAX_TEXT, "\n"),
            text(texts.get("postal_code", ""), "postal_code", MAX_CODE),
            text(texts.get("region", ""), "region", MAX_CODE),
            country(texts.get("country", "")) or assumed.country,
        )
    zone = time_zone(texts.get("zone", ""))
    customer_id = texts.get("customer_id", "")
    if customer_id and not _ID.fullmatch(customer_id):
        raise Invalid("customer_id", f"must match {_ID.pattern}")
    details = Details(
        numbers(phones, assumed.country, address, zone),
        text(" ".join(filter(None, whole)), "name", MAX_NAME),
        address,
        text(texts.get("reference", ""), "reference", MAX_CODE),
        attributes,
        zone,
        priority(texts["priority"]) if "priority" in texts else assumed.priority,
    )
    return Line(details, customer_id)


def columns_of(header: Sequence[str], given: Mapping[str, str]) -> Columns:
    """given: header -> one of FIELDS, ATTRIBUTE, or IGNORED, for what is not known by its name.
    Raises Invalid for `header` or `columns`."""
    names = [" ".join(each.split()) for each in header]
    if not 1 <= len(names) <= MAX_COLUMNS:
        raise Invalid("header", f"must have from 1 to {MAX_COLUMNS} columns")
    for name, field in given.items():
        if field not in (*FIELDS, ATTRIBUTE, IGNORED):
            allowed = ", ".join((*FIELDS, ATTRIBUTE, IGNORED))
            raise Invalid("columns", f"must be one of {allowed}")
        if name not in names:
            raise Invalid("columns", "names a column that the header does not have")
    fields = [_field(name, given) for name in names]
    for each in set(fields):
        if each is not None and each not in SEVERAL and fields.count(each) > 1:
            same = [str(i) for i, field in enumerate(fields, 1) if field == each]
            what = each if isinstance(each, str) else "named the same"
            raise Invalid("columns", f"{' and '.join(same)} are both {what}; which is it?")
    if "numbers" not in fields:
        raise Invalid(
            "header", "no column of telephone numbers is known by its name; columns says which is"
        )
    if sum(isinstance(each, tuple) for each in fields) > MAX_ATTRIBUTES:
        raise Invalid("header", f"has more than {MAX_ATTRIBUTES} columns that are attributes")
    return Columns(tuple(fields))


def _field(name: str, given: Mapping[str, str]) -> str | tuple[str, str] | None:
    field = given.get(name)
    if field is None:
        folded = unicodedata.normalize("NFKD", name.casefold())
        plain = "".join(char for char in folded if char.isalnum() and char.isascii())
        field = _KNOWN.get(plain) or _KNOWN.get("".join(filter(str.isalnum, name.casefold())))
    if field == IGNORED or not name:
        return None
    if field is None or field == ATTRIBUTE:
        return (ATTRIBUTE, text(name, "header", MAX_NAME))
    return field


# Single values. The same for whoever adds a lead by hand.


def text(value: str, field: str, limit: int, controls: str = "") -> str:
    """Composed (NFC), without spaces at its ends; may be empty."""
    if len(value) > limit:
        raise Invalid(field, f"has more than {limit:,} characters")
    if not value.isprintable():
        for char in value:
            if unicodedata.category(char) in ("Cc", "Cs") and char not in controls:
                raise Invalid(field, "has characters that are no text")
    return value.strip() if value.isascii() else unicodedata.normalize("NFC", value).strip()


def priority(value: str) -> int:
    if not (value.isascii() and value.isdigit() and len(value) <= 3):
        raise Invalid("priority", f"must be a whole number from 0 to {MAX_PRIORITY}")
    return int(value)


def time_zone(value: str, field: str = "zone") -> str:
    """An IANA name, such as Europe/Paris; may be empty."""
    if value and value not in _zones():
        raise Invalid(field, "must be an IANA time zone, such as Europe/Paris")
    return value


@cache
def _zones() -> frozenset[str]:
    # The first two are what the machine happens to be set to.
    return frozenset(available_timezones() - {"localtime", "posixrules", "Factory"})


@lru_cache(maxsize=1_000)
def country(value: str, field: str = "country") -> str:
    """ISO 3166 code, of a code or of a name in one of some languages; may be empty."""
    if not value:
        return ""
    code = value.upper()
    if code in phonenumbers.SUPPORTED_REGIONS:
        return code
    named = _countries().get(value.casefold())
    if named is None:
        raise Invalid(field, "must be a country's code of two letters, such as FR, or its name")
    return named


@cache
def _countries() -> dict[str, str]:
    return {
        name.casefold(): code
        for language in ("en", "fr", "de", "es", "it", "ru", "tr")
        for code, name in Locale(language).territories.items()
        if code in phonenumbers.SUPPORTED_REGIONS
    }


def phone(value: str, region: str, field: str = "numbers") -> str:
    """E.164, such as +33612345678; numbers without a country's code are of `region`."""
    return _parsed(value, region, field)[0]


def _parsed(value: str, region: str, field: str) -> tuple[str, NumberPlace]:
    """And its own place."""
    if not _PHONE.fullmatch(value):
        raise Invalid(field, "must be a telephone number: digits, without letters or an extension")
    try:
        number = phonenumbers.parse(value, region or None)
    except NumberParseException as error:
        if error.error_type == NumberParseException.INVALID_COUNTRY_CODE:
            raise Invalid(field, "needs a known country code, such as +33, or a country") from None
        raise Invalid(field, "must be a telephone number") from None
    # What is_valid_number asks for, too; the type is wanted anyway.
    number_type = phonenumbers.number_type(number)
    if number_type == PhoneNumberType.UNKNOWN:
        raise Invalid(field, "is no number that its country gives out")
    text = phonenumbers.format_number(number, PhoneNumberFormat.E164)
    return text, place_of_parsed(text, number, number_type)


def numbers(
    phones: Sequence[str], region: str, address: Address = NO_ADDRESS, zone: str = ""
) -> tuple[Given, ...]:
    """In their order, without repeats, each with the places where it may ring: by itself, by the
    address, and by a zone that was given, which narrows what it fits to and adds to what not."""
    if not phones:
        raise Invalid("numbers", "a lead has at least one number")
    if len(phones) > MAX_NUMBERS:
        raise Invalid("numbers", f"has more than {MAX_NUMBERS}")
    where = Where(address.country, address.region, address.postal_code)
    known = where if address.country else None
    distinct = dict(_parsed(each, region, "numbers") for each in phones)
    return tuple(
        Given(each, place_key(_in_zone(places_with(own.place, known), zone)), own.kind)
        for each, own in distinct.items()
    )


def _in_zone(found: Sequence[Place], zone: str) -> list[Place]:
    return [
        Place(
            each.country,
            each.region,
            (zone,) if zone in each.zones else tuple(sorted((*each.zones, zone))),
        )
        if zone and each.country
        else each
        for each in found
    ]
