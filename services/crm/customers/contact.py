"""What people write of a person, in its one form: numbers, names, languages, zones. Pure.

Every function raises Invalid(field, reason); the reason never has the value in it.
"""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from functools import cache
from zoneinfo import available_timezones

import phonenumbers
from phonenumbers import NumberParseException, PhoneNumberFormat

from eventkit.decider import Invalid

MAX_NAME = 200
MAX_NUMBER = 128
MAX_ADDRESS = 1_000
MAX_CONTACTS = 20
MAX_EMAIL = 254
MAX_WORD = 60
MAX_NAME_KEY = 1_000
"""Bytes: an entry of an index must fit into a third of a page."""

CHANNELS = ("voice", "chat", "email")

_PHONE = re.compile(r"\+?[\d\s().\-/\u2010-\u2015]{3,60}")
_LOCAL = re.compile(
    r"[^\s@.,:;<>()\[\]\\\"\x00-\x20\x7f]+(\.[^\s@.,:;<>()\[\]\\\"\x00-\x20\x7f]+)*"
)
_LABEL = re.compile(r"(?!-)[^\W_]([\w-]{0,61}[^\W_])?(?<!-)")
_LANGUAGE = re.compile(
    r"(?P<language>[A-Za-z]{2,3})(-(?P<script>[A-Za-z]{4}))?(-(?P<region>[A-Za-z]{2}|\d{3}))?"
    r"(?P<variants>(-([A-Za-z0-9]{5,8}|\d[A-Za-z0-9]{3}))*)"
)
_ASCII_WORD = re.compile(r"[a-z0-9]+")
_LETTERS = str.maketrans(
    {
        "\N{LATIN SMALL LETTER DOTLESS I}": "i",
        "ø": "o",
        "ł": "l",
        "đ": "d",
        "ð": "d",
        "ħ": "h",
        "þ": "th",
        "æ": "ae",
        "œ": "oe",
    }
)
"""Letters that Unicode does not take apart, as people write them whose keyboard has none."""
_KEPT = {
    ("\N{CYRILLIC SMALL LETTER I}", "\N{COMBINING BREVE}"),
    ("\N{CYRILLIC SMALL LETTER U}", "\N{COMBINING BREVE}"),
    ("\N{CYRILLIC SMALL LETTER BYELORUSSIAN-UKRAINIAN I}", "\N{COMBINING DIAERESIS}"),
}
"""Letters of their own in Cyrillic alphabets, and no accents: short i, short u, yi. But yo is ie,
as most people write it."""


def line(value: str, field: str, limit: int) -> str:
    """One line of text: composed (NFC), single spaces, none at the ends; may be empty."""
    text = unicodedata.normalize("NFC", _text(value, field, limit))
    return " ".join(text.split())


def lines(value: str, field: str, limit: int) -> str:
    """Text of several lines, as it is, without spaces at its ends; may be empty."""
    return unicodedata.normalize("NFC", _text(value, field, limit, "\n\r\t")).strip()


def _text(value: str, field: str, limit: int, controls: str = "\t") -> str:
    if len(value) > limit:
        raise Invalid(field, f"has more than {limit:,} characters")
    if not value.isprintable():
        for char in value:
            if unicodedata.category(char) in ("Cc", "Cs") and char not in controls:
                raise Invalid(field, "has characters that are no text")
    return value


def region(value: str, field: str = "region") -> str | None:
    """ISO 3166 code of the country that national numbers belong to; None where empty."""
    code = value.strip().upper()
    if code and code not in phonenumbers.SUPPORTED_REGIONS:
        raise Invalid(field, "must be a country's code of two letters, such as FR")
    return code or None


def phone(value: str, region: str | None, field: str = "phones") -> str:
    """E.164, such as +33612345678; numbers without a country's code are of `region`."""
    if not _PHONE.fullmatch(value.strip()):
        raise Invalid(field, "must be a telephone number: digits, without letters or an extension")
    try:
        number = phonenumbers.parse(value, region)
    except NumberParseException as error:
        if error.error_type == NumberParseException.INVALID_COUNTRY_CODE:
            raise Invalid(field, "needs a known country code, such as +33, or a region") from None
        raise Invalid(field, "must be a telephone number") from None
    if not phonenumbers.is_valid_number(number):
        raise Invalid(field, "is no number that its country gives out")
    return phonenumbers.format_number(number, PhoneNumberFormat.E164)


def phones(values: Sequence[str], region: str | None, field: str = "phones") -> tuple[str, ...]:
    """E.164 each, without repeats, the order kept."""
    few = _limited(values, field)
    return tuple(dict.fromkeys(phone(value, region, field) for value in few))


def email(value: str, field: str = "emails") -> str:
    """The address with its domain in small letters; the rest is the mailbox's own affair."""
    text = unicodedata.normalize("NFC", _text(value.strip(), field, MAX_EMAIL))
    local, at, domain = text.rpartition("@")
    domain = domain.lower()
    labels = domain.split(".")
    if not (at and _LOCAL.fullmatch(local) and len(local.encode()) <= 64):
        raise Invalid(field, "must be an email address")
    if len(labels) < 2 or labels[-1].isdigit() or not all(map(_LABEL.fullmatch, labels)):
        raise Invalid(field, "must be an email address: its domain is none")
    return f"{local}@{domain}"


def emails(values: Sequence[str], field: str = "emails") -> tuple[str, ...]:
    """Without those that differ in upper and lower case only, the order kept."""
    return distinct_emails(email(value, field) for value in _limited(values, field))


def distinct_emails(values: Iterable[str]) -> tuple[str, ...]:
    """One of those that differ in upper and lower case only, the first."""
    found: dict[str, str] = {}
    for each in values:
        found.setdefault(email_key(each), each)
    return tuple(found.values())


def email_key(value: str) -> str:
    """What an email is found by: nobody relies on Ann@ and ann@ being two people."""
    return value.casefold()


def _limited(values: Sequence[str], field: str) -> Sequence[str]:
    if len(values) > MAX_CONTACTS:
        raise Invalid(field, f"has more than {MAX_CONTACTS}")
    return values


def language(value: str, field: str = "language") -> str:
    """A BCP 47 tag in its usual letters, such as fr, pt-BR or sr-Latn-RS; may be empty."""
    if not value.strip():
        return ""
    match = _LANGUAGE.fullmatch(value.strip().replace("_", "-"))
    if match is None or not value.isascii():
        raise Invalid(field, "must be a BCP 47 tag, such as fr or pt-BR")
    parts = [match["language"].lower(), (match["script"] or "").title()]
    parts += [(match["region"] or "").upper(), match["variants"].lower().removeprefix("-")]
    return "-".join(filter(None, parts))


def time_zone(value: str, field: str = "time_zone") -> str:
    """An IANA name, such as Europe/Paris; may be empty."""
    name = value.strip()
    if name and name not in _zones():
        raise Invalid(field, "must be an IANA time zone, such as Europe/Paris")
    return name


@cache
def _zones() -> frozenset[str]:
    # The first two are what the machine happens to be set to.
    return frozenset(available_timezones() - {"localtime", "posixrules", "Factory"})


def channel(value: str, field: str = "preferred_channel") -> str:
    """One of CHANNELS; may be empty."""
    name = value.strip().lower()
    if name and name not in CHANNELS:
        raise Invalid(field, f"must be one of {', '.join(CHANNELS)}")
    return name


def fold(text: str) -> str:
    """Without case and accents: Gülşen Çelik and GULSEN CELIK are the same, Пётр and Петр too."""
    if text.isascii():
        return text.lower()
    kept: list[str] = []
    for char in unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold()):
        if not unicodedata.combining(char) or (kept and (kept[-1], char) in _KEPT):
            kept.append(char)
    return unicodedata.normalize("NFC", "".join(kept)).translate(_LETTERS)


def words(name: str) -> tuple[str, ...]:
    """The distinct words of a name, folded, in their order: what lies between spaces, hyphens,
    apostrophes and the like."""
    folded = fold(name)
    if folded.isascii():
        found = _ASCII_WORD.findall(folded)
    else:
        found = "".join(
            char if unicodedata.category(char)[0] in "LMN" else " " for char in folded
        ).split()
    return tuple(dict.fromkeys(word[:MAX_WORD] for word in found))


def name_key(words: Iterable[str]) -> str:
    """All words with a space before each, in alphabetical order: what names in any order share."""
    key = ""
    for word in sorted(words):
        if len(key.encode()) + len(word.encode()) >= MAX_NAME_KEY:
            break
        key += " " + word
    return key
