"""A file of customers as CSV: which column is what, and its lines one by one (eventkit.csvrecords).
Constant memory.
"""

import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

from eventkit.csvrecords import Broken, CsvRecords
from eventkit.errors import InvalidMessage
from relaisctl.errors import InputError

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


class CustomerFile:
    """Reads its header when it is made. Raises InputError when that is of no use.

    columns: header -> field or "-", for headers that are not understood by themselves.
    position: bytes read so far. ignored: headers of columns that nothing is made of.
    """

    def __init__(self, file: BinaryIO, columns: Mapping[str, str] | None = None) -> None:
        try:
            self._records = CsvRecords(file)
        except InvalidMessage as error:
            raise InputError(error.reason) from None
        header = self._records.header
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
                f"line {self._records.header_line}: no column of numbers, phones or emails is known"
                " by its name; is this the header? --columns says which is which"
            )

    @property
    def position(self) -> int:
        return self._records.position

    def __iter__(self) -> Iterator[Row | Broken]:
        for each in self._records:
            yield each if isinstance(each, Broken) else Row(each.line, self._values(each.cells))

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


def _field(header: str, columns: Mapping[str, str]) -> str | None:
    given = columns.get(header.strip())
    if given is not None:
        return None if given == IGNORED else given
    plain = unicodedata.normalize("NFKD", header.casefold())
    return SYNONYMS.get("".join(char for char in plain if char.isalnum() and char.isascii())) or (
        SYNONYMS.get("".join(filter(str.isalpha, header.casefold())))
    )
