"""Tickets from CSV: every row accepted or refused, and dates put right where the file proves it."""

import csv
from collections import Counter
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from relaisctl.complaint_file import COLUMNS, Bad, DateKind, Row, moment, read
from relaisctl.errors import InputError

REAL = Path(__file__).parents[3] / "shared" / "data" / "telecom-complaints" / "complaints.csv"
GOOD = {
    "Ticket #": "250635",
    "Customer Complaint": "Internet speeds",
    "Date": "22-04-2015",
    "Date_month_year": "22-Apr-15",
    "Time": "03:53:50 PM",
    "Received Via": "Customer Care Call",
    "City": "Abingdon",
    "State": "Maryland",
    "Zip code": "21009",
    "Status": "Closed",
    "Filing on Behalf of Someone": "No",
}


def written(path: Path, rows: Sequence[dict[str, str]]) -> Path:
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        out = csv.DictWriter(file, COLUMNS)
        out.writeheader()
        out.writerows(rows)
    return path


def dated(ticket: int, day: date) -> dict[str, str]:
    return GOOD | {
        "Ticket #": str(ticket),
        "Date": f"{day:%d-%m-%Y}",
        "Date_month_year": f"{day.day:02}-{_MONTH[day.month - 1]}-{day:%y}",
    }


_MONTH = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]


def test_a_row(tmp_path: Path) -> None:
    rows, bad = read(written(tmp_path / "f.csv", [GOOD]))
    assert bad == []
    assert rows == [
        Row(
            2,
            "250635",
            "Internet speeds",
            datetime(2015, 4, 22, 15, 53, 50),
            "voice",
            "Abingdon, Maryland 21009",
            "closed",
            acknowledged=False,
            closed=True,
            on_behalf=False,
        )
    ]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"Ticket #": "comcas"}, "Ticket #"),
        ({"Ticket #": ""}, "Ticket #"),
        ({"Ticket #": "٣"}, "Ticket #"),
        ({"Customer Complaint": " "}, "Customer Complaint"),
        ({"Customer Complaint": "x" * 10_001}, "Customer Complaint"),
        ({"Date": "2015-04-22"}, "Date"),
        ({"Date": "31-04-2015", "Date_month_year": "31-Apr-15"}, "Date"),
        ({"Date_month_year": "22-May-15"}, "Date_month_year"),
        ({"Date_month_year": "22 April"}, "Date_month_year"),
        ({"Time": "15:53:50"}, "Time"),
        ({"Time": "00:53:50 PM"}, "Time"),
        ({"Time": "03:53:60 PM"}, "Time"),
        ({"Status": "Lost"}, "Status"),
        ({"Filing on Behalf of Someone": "Perhaps"}, "Filing on Behalf of Someone"),
    ],
)
def test_bad_rows_name_the_field_and_no_value(
    tmp_path: Path, change: dict[str, str], field: str
) -> None:
    other = GOOD | {"Ticket #": "1"}
    rows, bad = read(written(tmp_path / "f.csv", [other, GOOD | change]))
    assert [row.reference for row in rows] == ["1"]
    assert [(each.line, each.field) for each in bad] == [(3, field)]
    for value in change.values():
        assert not value.strip() or value not in bad[0].reason


def test_a_ticket_twice(tmp_path: Path) -> None:
    _, bad = read(written(tmp_path / "f.csv", [GOOD, GOOD | {"Status": "Open"}]))
    assert bad == [Bad(3, "Ticket #", "line 2 has it already")]


def test_files_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "latin.csv").write_bytes(",".join(COLUMNS).encode() + b"\nM\xfcnchen\n")
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    (tmp_path / "empty.csv").write_text("")
    for name in ("latin.csv", "other.csv", "empty.csv", "missing.csv"):
        with pytest.raises(InputError):
            read(tmp_path / name)


@pytest.mark.parametrize("row", ["1", "1," * 20])
def test_rows_of_another_length(tmp_path: Path, row: str) -> None:
    (tmp_path / "f.csv").write_text(",".join(COLUMNS) + f"\n{row}\n")
    rows, bad = read(tmp_path / "f.csv")
    assert (rows, len(bad)) == ([], 1)


APRIL = [dated(1_000 + 10 * day, date(2015, 4, day)) for day in range(13, 31)]
MAY = [dated(2_000 + 10 * day, date(2015, 5, day)) for day in range(13, 32)]
ANCHORS = APRIL + MAY


@pytest.mark.parametrize(
    ("ticket", "day", "kind", "result"),
    [
        # Between 30 April and 13 May; read as it is written it would be 8 January, or 5 August.
        (2_005, date(2015, 8, 5), DateKind.BY_MONTH, date(2015, 5, 8)),
        (2_005, date(2015, 1, 5), DateKind.BY_MONTH, date(2015, 5, 1)),
        # Both readings are of months that are in the file.
        (2_005, date(2015, 4, 5), DateKind.BY_TICKET, date(2015, 5, 4)),
        (2_005, date(2015, 5, 4), DateKind.AS_WRITTEN, date(2015, 5, 4)),
        (2_005, date(2015, 5, 5), DateKind.AS_WRITTEN, date(2015, 5, 5)),
        # Before the first anchor: only the month can tell.
        (1_001, date(2015, 1, 4), DateKind.BY_MONTH, date(2015, 4, 1)),
        (1_001, date(2015, 3, 4), DateKind.BY_MONTH, date(2015, 4, 3)),
        (1_001, date(2015, 4, 5), DateKind.AS_WRITTEN, date(2015, 4, 5)),
        # Neither reading is where the ticket is, or both would be.
        (2_005, date(2015, 9, 8), DateKind.UNCERTAIN, date(2015, 9, 8)),
        (1_001, date(2015, 2, 3), DateKind.UNCERTAIN, date(2015, 2, 3)),
    ],
)
def test_swapped_dates(
    tmp_path: Path, ticket: int, day: date, kind: DateKind, result: date
) -> None:
    rows, _ = read(written(tmp_path / "f.csv", [dated(ticket, day), *ANCHORS]))
    assert (rows[0].date_kind, rows[0].at.date()) == (kind, result)
    assert all(row.date_kind is DateKind.AS_WRITTEN for row in rows[1:])


def test_a_file_without_order_proves_nothing(tmp_path: Path) -> None:
    disordered = [dated(7, date(2015, 5, 30)), *ANCHORS]
    for others in (disordered, ANCHORS[:5]):
        row = dated(2_005, date(2015, 8, 5))
        rows, _ = read(written(tmp_path / "f.csv", [row, *others]))
        assert (rows[0].date_kind, rows[0].at.month) == (DateKind.UNCERTAIN, 8)


def test_times_of_a_zone(tmp_path: Path) -> None:
    (row,), _ = read(written(tmp_path / "f.csv", [GOOD]))
    paris = ZoneInfo("Europe/Paris")
    assert moment(row, paris).isoformat() == "2015-04-22T13:53:50+00:00"
    gap = dated(1, date(2015, 3, 29)) | {"Time": "02:30:00 AM"}
    (row,), _ = read(written(tmp_path / "f.csv", [gap]))
    with pytest.raises(ValueError, match="does not exist"):
        moment(row, paris)
    twice = dated(1, date(2015, 10, 25)) | {"Time": "02:30:00 AM"}
    (row,), _ = read(written(tmp_path / "f.csv", [twice]))
    assert moment(row, paris).isoformat() == "2015-10-25T00:30:00+00:00"


@pytest.mark.skipif(not REAL.exists(), reason=f"{REAL.parent} is not on this machine")
def test_the_real_file() -> None:
    rows, bad = read(REAL)
    assert len(rows) + len(bad) == 2_224
    assert bad == [Bad(1036, "Ticket #", "not a number")]
    assert Counter(row.date_kind for row in rows) == {
        DateKind.AS_WRITTEN: 1_651,
        DateKind.BY_MONTH: 486,
        DateKind.BY_TICKET: 86,
    }
    # The proof of it: to the second, everything is in the order of the tickets, and of one quarter.
    ordered = [row.at for row in sorted(rows, key=lambda row: int(row.reference))]
    assert ordered == sorted(ordered)
    assert ordered[0].date() == date(2015, 4, 1)
    assert ordered[-1] - ordered[0] < timedelta(days=91)
