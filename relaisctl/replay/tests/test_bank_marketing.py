"""The format "bank-marketing": rows, days, and the campaigns that they become."""

from collections import defaultdict
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from relaisctl.__main__ import app
from relaisctl.replay.bank_marketing import campaign as c
from relaisctl.replay.bank_marketing.cli import Reading, read
from relaisctl.replay.bank_marketing.codec import message
from relaisctl.replay.bank_marketing.rows import (
    FULL_NAME,
    NUMBER_FORMAT,
    TRIMMED,
    Calendar,
    NotInOrderError,
    Row,
    UnreadableError,
    columns,
    read_row,
)
from relaisctl.replay.files import FileError

LISBON = ZoneInfo("Europe/Lisbon")
TODAY = date(2020, 1, 1)
HEADER = "age;job;contact;month;day_of_week;duration;campaign;pdays;poutcome;y"
PLACES = columns(HEADER.split(";"))
GOOD = {
    "age": "56", "job": "housemaid", "contact": "telephone", "month": "may", "day_of_week": "mon",
    "duration": "261", "campaign": "1", "pdays": "999", "poutcome": "nonexistent", "y": "no",
}  # fmt: skip


def line(**changed: str) -> str:
    return ";".join((GOOD | changed).values())


def the_row(**changed: str) -> tuple[Row, tuple[str, ...]]:
    return read_row([*(GOOD | changed).values()], PLACES)


def test_a_row_as_it_is() -> None:
    row, notes = the_row()
    assert notes == ()
    assert (row.contact, row.month, row.weekday) == ("telephone", 5, 0)
    assert (row.talked_s, row.attempts, row.earlier, row.sold) == (261, 1, "nonexistent", False)


@pytest.mark.parametrize(
    ("changed", "field", "value", "note"),
    [
        ({"month": " May "}, "month", 5, TRIMMED),
        ({"month": "june"}, "month", 6, FULL_NAME),
        ({"day_of_week": "Wednesday"}, "weekday", 2, FULL_NAME),
        ({"duration": "261.0"}, "talked_s", 261, NUMBER_FORMAT),
        ({"campaign": '"3"'}, "attempts", 3, TRIMMED),
        ({"contact": "unknown"}, "contact", "unknown", None),
        ({"poutcome": "unknown"}, "earlier", "unknown", None),
        ({"y": "YES"}, "sold", True, TRIMMED),
        ({"age": "unknown", "pdays": ""}, "talked_s", 261, None),
    ],
)
def test_what_is_certain_is_mended(
    changed: dict[str, str], field: str, value: Any, note: str | None
) -> None:
    row, notes = the_row(**changed)
    assert getattr(row, field) == value
    assert (note in notes) if note else notes == ()


@pytest.mark.parametrize(
    ("changed", "field", "reason"),
    [
        ({"contact": "fax"}, "contact", "none of cellular, telephone, unknown"),
        ({"contact": ""}, "contact", "empty"),
        ({"month": "unknown"}, "month", "none of jan, feb"),
        ({"day_of_week": "xyz"}, "day_of_week", "none of mon, tue"),
        ({"duration": "-1"}, "duration", "no whole number"),
        ({"duration": "1e3"}, "duration", "no whole number"),
        ({"duration": "2.5"}, "duration", "no whole number"),
        ({"duration": "86401"}, "duration", "not between 0 and 86400"),
        ({"duration": "9" * 40}, "duration", "no whole number"),
        ({"duration": "٢٦١"}, "duration", "no whole number"),
        ({"campaign": "0"}, "campaign", "not between 1 and 999"),
        ({"campaign": "1000"}, "campaign", "not between 1 and 999"),
        ({"poutcome": "maybe"}, "poutcome", "none of nonexistent"),
        ({"y": "1"}, "y", "none of yes, no"),
        ({"y": "yes", "duration": "0"}, "duration", "0, and yet y is yes"),
    ],
)
def test_what_cannot_be_read(changed: dict[str, str], field: str, reason: str) -> None:
    with pytest.raises(UnreadableError) as caught:
        the_row(**changed)
    assert caught.value.field == field
    assert caught.value.reason.startswith(reason)


def test_days_follow_from_the_order() -> None:
    days = Calendar(2008, TODAY)
    asked = [(5, 0), (5, 0), (5, 1), (5, 0), (6, 4), (12, 2), (3, 0), (3, 0), (4, 6)]
    assert [days.day(month, weekday).isoformat() for month, weekday in asked] == [
        *("2008-05-05", "2008-05-05", "2008-05-06", "2008-05-12", "2008-06-06"),
        *("2008-12-03", "2009-03-02", "2009-03-02", "2009-04-05"),
    ]


@given(st.lists(st.tuples(st.integers(1, 12), st.integers(0, 6)), max_size=60))
def test_a_day_has_its_month_and_weekday(asked: list[tuple[int, int]]) -> None:
    days = Calendar(1970, date(2200, 1, 1))
    before: date | None = None
    for month, weekday in asked:
        day = days.day(month, weekday)
        assert (day.month, day.weekday()) == (month, weekday)
        assert before is None or (day.year, day.month) >= (before.year, before.month)
        before = day


def test_a_file_that_is_not_in_order_is_found_out() -> None:
    days = Calendar(2008, TODAY)
    for year in range(2008, 2019):
        assert days.day(12, 0).year == days.day(11, 0).year - 1 == year
    with pytest.raises(NotInOrderError, match="in order of date"):
        days.day(1, 0)


rows = st.builds(
    Row,
    contact=st.sampled_from(["cellular", "telephone", "unknown"]),
    month=st.just(5),
    weekday=st.integers(0, 6),
    talked_s=st.sampled_from([0, 1, 261, 4918, 86_400]),
    attempts=st.sampled_from([1, 2, 3, 30]),
    earlier=st.just("failure"),
    sold=st.booleans(),
    same=st.text(max_size=3),
)


def contacts(told: list[Row], seed: int = 1) -> list[c.Contact]:
    days = Calendar(2008, TODAY)
    return list(c.identify([(row, days.day(row.month, row.weekday)) for row in told], seed))


def by_stream(events: list[c.Event]) -> dict[bytes, list[c.Event]]:
    found = defaultdict(list)
    for event in events:
        found[message("bank", event, 0).key or b""].append(event)
    return found


@given(st.lists(rows, min_size=1, max_size=4), st.integers(1, 3))
@settings(max_examples=50, deadline=None)
def test_a_row_becomes_its_attempts(told: list[Row], seed: int) -> None:
    now = 2**60
    known = contacts(told, seed)
    events = list(c.in_time_order(known, LISBON, now))
    times = [event.occurred_at for event in events]
    assert times == sorted(times)
    streams = by_stream(events)
    for stream in streams.values():
        assert [event.version for event in stream] == list(range(1, len(stream) + 1))
    campaign = f"term-deposit-2008-05{'' if seed == 1 else f'.{seed}'}"
    assert b"bank/campaign/" + campaign.encode() in streams
    for contact in known:
        row = contact.row
        lead = streams[f"bank/lead/{contact.lead_id}".encode()]
        assert sum(isinstance(event.body, c.LeadDialled) for event in lead) == row.attempts
        assert isinstance(lead[-1].body, c.LeadClosed)
        talked = 0
        for number in range(1, row.attempts + 1):
            attempt = streams[f"bank/attempt/{contact.lead_id}-{number}".encode()]
            [ended] = [e.body for e in attempt if isinstance(e.body, c.AttemptEnded)]
            talked += ended.talked
            origin = attempt[0].about
            assert isinstance(origin, c.Origin)
            assert origin.number_of_attempt == number
            assert {event.about for event in attempt} == {origin}
            assert attempt[0].occurred_at == origin.started_at
            day = datetime.fromtimestamp(origin.started_at / 1e6, LISBON).date()
            if number < row.attempts:
                assert ended.result in c.RESULTS
                assert "result" in origin.invented
                assert contact.day.replace(day=1) <= day <= contact.day
            else:
                assert day == contact.day
                assert (ended.result == "connected") == (row.talked_s > 0)
                assert ("result" in origin.invented) == (row.talked_s == 0)
        assert talked == row.talked_s * 1_000_000
        disposed = [e.body for e in events if isinstance(e.body, c.AttemptDisposed)]
        assert sum(body.converted for body in disposed) == sum(
            one.row.sold for one in known if one.row.talked_s
        )


@given(st.lists(rows, min_size=2, max_size=4))
@settings(max_examples=50, deadline=None)
def test_what_is_made_up_depends_on_the_row_alone(told: list[Row]) -> None:
    """So a file that was cut off, and then is whole, repeats what was there."""

    def made(some: list[Row]) -> dict[bytes, list[c.Event]]:
        return by_stream([e for one in contacts(some) for e in c.lead_events(one, LISBON)])

    whole, part = made(told), made(told[: len(told) // 2])
    assert part.items() <= whole.items()
    assert made(told) == whole
    other = by_stream([e for one in contacts(told, 2) for e in c.lead_events(one, LISBON)])
    assert whole.keys().isdisjoint(other.keys())


def test_no_event_lies_in_the_future() -> None:
    [contact] = contacts([the_row(campaign="3")[0]])
    now = int(datetime(2008, 5, 3, tzinfo=LISBON).timestamp()) * 1_000_000
    assert max(e.occurred_at for e in c.in_time_order([contact], LISBON, now)) == now


def reading(tmp_path: Path, *lines: str, header: str = HEADER) -> Reading:
    path = tmp_path / "bank.csv"
    path.write_text("\n".join([header, *lines]))
    return read(path, 2008, TODAY)


def test_dirt_costs_its_own_line(tmp_path: Path) -> None:
    found = reading(
        tmp_path,
        line(),
        line(month='"may"', job='"say ""no"""'),
        line(duration="unknown"),
        line(job='"never closed'),
        "",
        line(y="yes", campaign="2"),
        line(y="yes")[:40],
    )
    assert [row.sold for row, _ in found.rows] == [False, False, True]
    assert [(reject.line, reject.field) for reject in found.rejects] == [
        (4, "duration"),
        (5, ""),
        (8, ""),
    ]
    assert "columns" in found.rejects[-1].reason
    assert found.rejects[0].raw == line(duration="unknown")


@pytest.mark.parametrize("delimiter", [",", "\t", ";"])
def test_other_delimiters_and_orders_of_columns(tmp_path: Path, delimiter: str) -> None:
    names = [*GOOD][::-1]
    found = reading(
        tmp_path,
        delimiter.join(f'"{GOOD[name]}"' for name in names),
        header=delimiter.join(f'"{name.title()}"' for name in names),
    )
    assert [row.talked_s for row, _ in found.rows] == [261]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "the file is empty"),
        (b"age;job;y\n56;housemaid;no\n", "lacks the columns contact, month, day_of_week"),
        (f"{HEADER};y\n".encode(), "has the column y twice"),
        (f"{HEADER}\n".encode(), "no row can be read"),
        (f"{HEADER}\n{line(y='perhaps')}\n".encode(), "no row can be read"),
        (HEADER.encode("utf-16"), "bank.csv: "),
        (
            "\n".join([HEADER, *[line(month=m) for m in ("dec", "jan") * 40]]).encode(),
            "it must be in order of date",
        ),
    ],
)
def test_files_that_are_none(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "bank.csv"
    path.write_bytes(content)
    with pytest.raises(FileError) as caught:
        read(path, 2008, TODAY)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="no such file"):
        read(tmp_path / "nowhere.csv", 2008, TODAY)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--client", "Bank"], 2, "client_id"),
        (["--client", "bank"], 3, "Kafka"),
        (["--client", "bank", "--year", "2199"], 2, "in order of date"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    tmp_path: Path, arguments: list[str], code: int, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "bank.csv"
    path.write_text(f"{HEADER}\n{line()}\n")
    monkeypatch.setenv("RELAIS_KAFKA", "127.0.0.1:1")
    monkeypatch.setenv("RELAIS_HOME", str(tmp_path / "home"))
    result = CliRunner().invoke(app, ["replay", "bank-marketing", str(path), *arguments])
    assert result.exit_code == code
    assert result.stdout == ""
    assert said in result.stderr
    assert "Traceback" not in result.stderr


def test_the_real_file_has_the_days_of_its_years() -> None:
    """Its weekdays fit the calendar of 2008 to 2010 without a gap, holidays left out."""
    path = Path(__file__).resolve().parents[3].parent / "shared/data/bank-marketing"
    path /= "bank-additional-full.csv"
    if not path.exists():
        pytest.skip(f"{path} is missing: the real files are no part of the product")
    found = read(path, 2008, TODAY)
    assert (len(found.rows), found.rejects, found.mended_rows) == (41_188, [], 0)
    days = list(dict.fromkeys(day for _, day in found.rows))
    assert days == sorted(days)
    assert (days[0], days[-1]) == (date(2008, 5, 5), date(2010, 11, 26))
    for holiday in ("2008-05-22", "2008-06-10", "2008-08-15", "2009-05-01"):
        assert date.fromisoformat(holiday) not in days
    assert all(day - timedelta(days=1) in days or day.weekday() == 0 for day in days[:13])
