"""CSV of customers as people make it."""

import io
import tracemalloc

import pytest

from eventkit.csvrecords import MAX_LINE, Broken
from relaisctl.customer_file import CustomerFile, Row
from relaisctl.errors import InputError


def read(text: str | bytes, columns: dict[str, str] | None = None) -> list[Row | Broken]:
    data = text.encode() if isinstance(text, str) else text
    return list(CustomerFile(io.BytesIO(data), columns))


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_usual_files(delimiter: str, bom: bytes, end: str) -> None:
    lines = [["number", "name", "phone"], ["K-1", "Ann", "0612345678"], ["", "Zoë", "+33142685300"]]
    text = end.join(delimiter.join(line) for line in lines)
    for data in (bom + text.encode(), bom + (text + end).encode()):
        assert read(data) == [
            Row(2, {"number": "K-1", "name": "Ann", "phones": ["0612345678"]}),
            Row(3, {"name": "Zoë", "phones": ["+33142685300"]}),
        ]


@pytest.mark.parametrize(
    ("header", "cells", "expected"),
    [
        (
            "N° client;Prénom;Nom;Portable;Fixe;Courriel;Adresse;CP;Ville;Langue;Fuseau horaire",
            "K-1;Anaïs;Roux;06;01;a@b.fr;1 rue A;75011;Paris;fr;Europe/Paris",
            {
                "name": "Anaïs Roux",
                "phones": ["06", "01"],
                "emails": ["a@b.fr"],
                "address": "1 rue A\n75011\nParis",
                "language": "fr",
                "time_zone": "Europe/Paris",
            },
        ),
        (
            "Номер клиента;ФИО;Телефон;Почта",
            "7;Пётр Ильич;8912;p@b.ru",
            {"number": "7", "name": "Пётр Ильич", "phones": ["8912"], "emails": ["p@b.ru"]},
        ),
        (
            "Müşteri No;Ad;Soyad;Cep Telefonu;E-posta",
            "7;Gül;Çelik;0532;g@b.tr",
            {"number": "7", "name": "Gül Çelik", "phones": ["0532"], "emails": ["g@b.tr"]},
        ),
        (
            "customer_id,Full Name,E-Mail Address,Phone 1,Preferred Channel,Time Zone",
            "7,Ann Lee,a@b.com|c@d.com,,voice,Europe/London",
            {
                "number": "7",
                "name": "Ann Lee",
                "emails": ["a@b.com", "c@d.com"],
                "preferred_channel": "voice",
                "time_zone": "Europe/London",
            },
        ),
    ],
)
def test_headers_in_their_languages(header: str, cells: str, expected: dict[str, object]) -> None:
    columns = {"N° client": "number"} if "N° client" in header else None
    wanted = {"number": "K-1"} | expected if columns else expected
    (row,) = read(f"{header}\n{cells}\n", columns)
    assert isinstance(row, Row)
    assert row.values == wanted


def test_columns_that_are_said() -> None:
    text = "Kd,Rufname,Tel,Notiz\n7,Ann,0612,x\n"
    assert read(text, {"Kd": "number", "Rufname": "name", "Tel": "-"}) == [
        Row(2, {"number": "7", "name": "Ann"})
    ]
    file = CustomerFile(io.BytesIO(text.encode()), {"Kd": "number"})
    assert file.ignored == ["Rufname", "Notiz"]


@pytest.mark.parametrize(
    ("text", "columns", "reason"),
    [
        ("", None, "empty"),
        ("\n\n", None, "empty"),
        ("a,b\n1,2\n", None, "no column of numbers, phones or emails"),
        ("number,id\n1,2\n", None, "number and id are both number"),
        ("number\n1\n", {"number": "colour"}, "colour is none of"),
        ("number\n1\n", {"nummer": "number"}, "the header has no nummer"),
        ('number,"name\n1,2\n', None, "quote in the header"),
        (b"num\xff\n1\n", None, "line 1: is not UTF-8"),
    ],
)
def test_files_of_no_use(text: str | bytes, columns: dict[str, str] | None, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        read(text, columns)


def test_a_field_may_span_lines() -> None:
    text = 'number,address,name\n1,"1 rue A\n75011 ""Paris""\r\nFrance",Ann\n2,x,Bob\n'
    assert read(text) == [
        Row(2, {"number": "1", "name": "Ann", "address": '1 rue A\n75011 "Paris"\r\nFrance'}),
        Row(5, {"number": "2", "name": "Bob", "address": "x"}),
    ]


def test_broken_lines_cost_themselves_alone() -> None:
    good = [f"{n},Ann {n}\n".encode() for n in range(60)]
    bad = {
        3: b'3,"Ann\n',  # never closed: all that follows would be its
        7: b'7,5" disk\n',
        9: b'9,"a" b\n',
        11: b"11\n",
        13: b"13,Ann,x\n",
        15: b"15,\xe9\xff\n",
        17: b"17," + b"x" * (3 * MAX_LINE) + b"\n",
        40: b'40,"Ann\n',
        41: b'41,Bob"\n',
    }
    lines = [bad.get(n, line) for n, line in enumerate(good)]
    found = read(b"number,name\n" + b"".join(lines))
    # 40 and 41 together could be one record, and are one.
    broken = {each.line - 2: each.reason for each in found if isinstance(each, Broken)}
    assert set(broken) == {3, 7, 9, 11, 13, 15, 17}
    assert "quote" in broken[3]
    assert "quote" in broken[7]
    assert "quote" in broken[9]
    assert broken[11] == "has 1 columns, the header has 2"
    assert broken[13] == "has 3 columns, the header has 2"
    assert broken[15] == "is not UTF-8"
    assert "longer than" in broken[17]
    rows = [each for each in found if isinstance(each, Row)]
    assert [row.values["number"] for row in rows] == [
        str(n) for n in range(60) if n not in broken and n != 41
    ]
    assert rows[0].line == 2


def test_empty_lines_and_trailing_delimiters_say_nothing() -> None:
    assert read("number;name\n\n1;Ann;;\n  \n") == [Row(3, {"number": "1", "name": "Ann"})]


class Generated(io.RawIOBase):
    """Lines that are made as they are read; every fifth one is broken."""

    def __init__(self, lines: int) -> None:
        self._lines = iter(range(-1, lines))

    def readline(self, size: int | None = -1) -> bytes:
        number = next(self._lines, None)
        if number is None:
            return b""
        if number < 0:
            return b"number,name\n"
        return b'1,"Ann\n' if number % 5 == 0 else b"1,Ann\n"


def test_memory_does_not_grow_with_the_file() -> None:
    def peak(lines: int) -> int:
        tracemalloc.start()
        read_lines = sum(1 for _ in CustomerFile(Generated(lines)))  # type: ignore[arg-type]
        assert read_lines > 0
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    assert peak(20_000) < 2 * peak(2_000)
