"""The formats that answers may have, and regular expressions, all of them in linear time: RE2's."""

from datetime import date, datetime
from functools import lru_cache
from typing import Any, Final

import phonenumbers
import re2
from jsonschema import FormatChecker

PATTERN_MEMORY: Final = 512 << 10

CHECKER = FormatChecker(formats=())
_DATE: Final = r"\d{4}-\d\d-\d\d"
_TIME: Final = r"\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)"
# What HTML's input of type email takes.
_LABEL: Final = r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_EMAIL: Final = rf"[A-Za-z0-9.!#$%&'*+/=?^_`{{|}}~-]{{1,64}}@{_LABEL}(\.{_LABEL})*"
_URI: Final = r"[A-Za-z][A-Za-z0-9+.-]*:([A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=-]|%[0-9A-Fa-f]{2})+"
_UUID: Final = r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}"

FORMATS: Final = {
    "date": "a day such as 2026-11-23",
    "date-time": "a time with its zone such as 2026-11-23T09:00:00Z",
    "time": "a time of day with its zone such as 09:00:00Z",
    "email": "an e-mail address",
    "phone": "a telephone number with its country such as +33 1 23 45 67 89",
    "uri": "a URI such as https://example.org/",
    "uuid": "a UUID",
}
"""What each is, in words. `phone` is our own: as far as its country's numbering plan tells."""


@CHECKER.checks("date", ValueError)
def _is_date(value: object) -> bool:
    return not isinstance(value, str) or bool(_full(_DATE, value) and date.fromisoformat(value))


@CHECKER.checks("date-time", ValueError)
def _is_date_time(value: object) -> bool:
    if not isinstance(value, str):
        return True
    return bool(_full(f"{_DATE}[Tt ]{_TIME}", value) and datetime.fromisoformat(value.upper()))


@CHECKER.checks("time", ValueError)
def _is_time(value: object) -> bool:
    return not isinstance(value, str) or _is_date_time(f"2000-01-01T{value}")


@CHECKER.checks("email")
def _is_email(value: object) -> bool:
    return not isinstance(value, str) or (len(value) <= 254 and _full(_EMAIL, value))


@CHECKER.checks("uri")
def _is_uri(value: object) -> bool:
    return not isinstance(value, str) or _full(_URI, value)


@CHECKER.checks("uuid")
def _is_uuid(value: object) -> bool:
    return not isinstance(value, str) or _full(_UUID, value)


@CHECKER.checks("phone", phonenumbers.NumberParseException)
def _is_phone(value: object) -> bool:
    if not isinstance(value, str):
        return True
    # The package looks for a number within the text.
    if not _full(r"\+[0-9 ()./-]{5,30}", value):
        return False
    return phonenumbers.is_possible_number(phonenumbers.parse(value, None))


def _full(pattern: str, text: str) -> bool:
    return regex(rf"^(?:{pattern})$").search(text) is not None


@lru_cache(maxsize=256)
def regex(pattern: str) -> Any:
    """RE2's. Raises re2.error."""
    options = re2.Options()
    options.max_mem = PATTERN_MEMORY
    options.log_errors = False
    options.never_capture = True
    return re2.compile(pattern, options)
