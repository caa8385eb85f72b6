"""A file of customers as CSV: which column is what, and its lines one by one. Constant memory.

A record may span lines where a field in quotes does. Of what cannot be read the first line is
reported, and reading goes on with the next one: a quote that is never closed costs its line alone.
"""

import csv
import re
import unicodedata
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

from relaisctl.errors import InputError

MAX_LINE = 64 << 10
"""Bytes."""
MAX_SPAN = 20
"""Lines of one record."""
BOM = b"\xef\xbb\xbf"

FIELDS = (
    "number",
    "name",
    "first_name",
    "last_name",
    "phones",
    "emails",
    "address",
    "language",
    "time_zone",
    "preferred_channel",
)
SEVERAL = ("phones", "emails", "address")
"""Of these there may be several columns."""
IGNORED = "-"

_SYNONYMS = {
    "number": "number no id customerid customernumber customerno clientid clientnumber clientno"
    " externalid reference ref account accountnumber numero numeroclient numclient noclient"
    " identifiant idclient номер номерклиента код musterino kundennummer",
    "first_name": "firstname givenname forename prenom имя ad isim vorname",
    "name": "name fullname customername customer nomcomplet nomprenom prenomnom фио adsoyad"
    " adisoyadi",
    "last_name": "lastname surname familyname nom nomdefamille фамилия soyad soyadi nachname",
    "phones": "phone phones phonenumber phone1 phone2 phone3 telephone telephone1 telephone2 tel"
    " tel1 tel2 mobile mobilephone mobilenumber cell cellphone home homephone work workphone"
    " portable fixe gsm numerodetelephone телефон мобильный telefon telefonno ceptelefonu",
    "emails": "email emails email1 email2 mail emailaddress courriel adressemail adresseemail"
    " почта электроннаяпочта eposta",
    "address": "address address1 address2 street streetaddress city town zip zipcode postcode"
    " postalcode state county country adresse adresse1 adresse2 rue ville codepostal cp pays"
    " адрес город индекс adres sehir",
    "language": "language lang locale langue язык dil sprache",
    "time_zone": "timezone tz zone fuseau fuseauhoraire часовойпояс saatdilimi",
    "preferred_channel": "preferredchannel channel canal canalprefere",
}
SYNONYMS = {name: field for field, names in _SYNONYMS.items() for name in names.split()}


@dataclass(frozen=True, slots=True)
class Row:
    """What a line says, as crm's import takes it. line: the number of its first line, from 1."""

    line: int
    values: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Broken:
    """A line that cannot be read, and why."""

    line: int
    reason: str


class CustomerFile:
    """Reads its header when it is made. Raises InputError when that is of no use.

    columns: header -> field or "-", for headers that are not understood by themselves.
    position: bytes read so far. ignored: headers of columns that nothing is made of.
    """

    def __init__(self, file: BinaryIO, columns: Mapping[str, str] | None = None) -> None:
        self._lines = _Lines(file)
        first = self._lines.take()
        while first is not None and isinstance(first[1], str) and not first[1].strip():
            first = self._lines.take()
        if first is None:
            raise InputError("the file is empty")
        if isinstance(first[1], Broken):
            raise InputError(f"line {first[0]}: {first[1].reason}")
        self._delimiter = _delimiter(first[1])
        header = _parsed([first[1]], self._delimiter)
        if header is None:
            raise InputError(f"line {first[0]}: a quote in the header is not closed")
        self._fields = [_field(name, columns or {}) for name in header]
        self.ignored = [
            name for name, field in zip(header, self._fields, strict=True) if field is None
        ]
        for name, field in (columns or {}).items():
            if field not in (*FIELDS, IGNORED):
                raise InputError(f"columns: {field} is none of {', '.join((*FIELDS, IGNORED))}")
            if name not in (each.strip() for each in header):
                raise InputError(f"columns: the header has no {name}")
        for one in self._fields:
            if one and one not in SEVERAL and self._fields.count(one) > 1:
                same = [n for n, f in zip(header, self._fields, strict=True) if f == one]
                raise InputError(f"columns: {' and '.join(same)} are both {one}; which is it?")
        if not {"number", "phones", "emails"} & set(self._fields):
            raise InputError(
                f"line {first[0]}: no column of numbers, phones or emails is known by its name; "
                "is this the header? --columns says which is which"
            )

    @property
    def position(self) -> int:
        return self._lines.position

    def __iter__(self) -> Iterator[Row | Broken]:
        while (taken := self._lines.take()) is not None:
            number, line = taken
            if isinstance(line, Broken):
                yield line
            elif line.strip():
                yield self._record(number, line)

    def _record(self, number: int, line: str) -> Row | Broken:
        spanned = [line]
        following: list[tuple[int, str | Broken]] = []
        while sum(each.count('"') for each in spanned) % 2 and len(spanned) < MAX_SPAN:
            taken = self._lines.take()
            if taken is None:
                break
            following.append(taken)
            if isinstance(taken[1], Broken):
                break
            spanned.append(taken[1])
        cells = _parsed(spanned, self._delimiter)
        if cells is not None and len(following) == len(spanned) - 1:
            while len(cells) > len(self._fields) and not cells[-1].strip():
                cells.pop()
            if len(cells) == len(self._fields):
                return Row(number, self._values(cells))
        self._lines.give_back(following)
        if cells is None or following:
            return Broken(number, "a quote is not closed, or is in the middle of a field")
        return Broken(number, f"has {len(cells)} columns, the header has {len(self._fields)}")

    def _values(self, cells: list[str]) -> dict[str, Any]:
        found: dict[str, list[str]] = {}
        for field, cell in zip(self._fields, cells, strict=True):
            text = cell.strip()
            if field is None or not text:
                continue
            if field in ("phones", "emails"):
                # Several in one cell, with something between them that neither has.
                parts = [part.strip() for part in re.split(r"[|;,\n]", text)]
                found.setdefault(field, []).extend(part for part in parts if part)
            else:
                found.setdefault(field, []).append(text)
        values: dict[str, Any] = {
            name: found[name] for name in ("phones", "emails") if name in found
        }
        first, whole, last = (found.pop(each, []) for each in ("first_name", "name", "last_name"))
        if names := whole if first and last and whole else first + whole + last:
            values["name"] = " ".join(names)
        return values | {
            field: "\n".join(texts) for field, texts in found.items() if field not in values
        }


class _Lines:
    """Decoded lines with their numbers; broken ones are said to be, and what was looked at may be
    given back."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._number = 0
        self._again: deque[tuple[int, str | Broken]] = deque()
        self.position = 0

    def take(self) -> tuple[int, str | Broken] | None:
        if self._again:
            return self._again.popleft()
        data = self._file.readline(MAX_LINE)
        if not data:
            return None
        self.position += len(data)
        self._number += 1
        if len(data) == MAX_LINE and not data.endswith(b"\n"):
            while rest := self._file.readline(MAX_LINE):
                self.position += len(rest)
                if rest.endswith(b"\n"):
                    break
            return self._number, Broken(self._number, f"is longer than {MAX_LINE:,} bytes")
        if self._number == 1:
            data = data.removeprefix(BOM)
        try:
            return self._number, data.decode()
        except UnicodeDecodeError:
            return self._number, Broken(self._number, "is not UTF-8")

    def give_back(self, lines: list[tuple[int, str | Broken]]) -> None:
        self._again.extendleft(reversed(lines))


def _parsed(lines: list[str], delimiter: str) -> list[str] | None:
    """The cells of one record; None where the quotes do not fit."""
    try:
        records = list(csv.reader(lines, delimiter=delimiter, strict=True))
    except csv.Error:
        return None
    return records[0] if len(records) == 1 else None


def _delimiter(header: str) -> str:
    """What is most often outside of quotes."""
    outside = re.sub(r'"[^"]*"', "", header)
    return max(",;\t", key=outside.count)


def _field(header: str, columns: Mapping[str, str]) -> str | None:
    given = columns.get(header.strip())
    if given is not None:
        return None if given == IGNORED else given
    plain = unicodedata.normalize("NFKD", header.casefold())
    return SYNONYMS.get("".join(char for char in plain if char.isalnum() and char.isascii())) or (
        SYNONYMS.get("".join(filter(str.isalpha, header.casefold())))
    )
