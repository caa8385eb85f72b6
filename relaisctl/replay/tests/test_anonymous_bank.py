"""What rows of the format say, clean and with every kind of dirt."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relaisctl.replay.anonymous_bank import (
    AGENT_CLEANED,
    AGENT_LOST,
    AGENT_RESTORED,
    COLUMNS,
    CUSTOMER_LOST,
    DATE_AROUND,
    DATE_FORMAT,
    DURATION_CLOCK,
    DURATION_FORMAT,
    MAX_LINE,
    NUMBER_FORMAT,
    NUMBER_LOST,
    PRIORITY_LOST,
    REDIVIDED,
    TIME_FORMAT,
    TIME_LOST,
    TRIMMED,
    Call,
    Mended,
    Outcome,
    Reject,
    Row,
    WrongFormatError,
    read_file,
    read_row,
)
from relaisctl.replay.tests.rows import ABANDONED, ANSWERED, HEADER, LEFT, PHANTOM, line

TODAY = date(2020, 1, 1)
CLEAN = read_row(1, line(), TODAY)


def read(text: str) -> Row:
    return read_row(7, text, TODAY)


def mended(text: str) -> tuple[Call, tuple[str, ...]]:
    row = read(text)
    assert isinstance(row, Mended), row
    return row.call, row.what


def test_a_clean_row() -> None:
    assert read(line()) == Call(
        trunk="AA0302",
        number="51007",
        customer="40412345",
        priority=1,
        queue="PS",
        day=date(1999, 8, 17),
        arrived=9 * 3600 + 15 * 60 + 2,
        vru_exit=33311,
        q_start=33311,
        q_exit=33353,
        ser_start=33352,
        ser_exit=33542,
        outcome=Outcome.ANSWERED,
        waited_us=42_000_000,
        talked_us=190_000_000,
        agent="RIVKA",
    )
    assert isinstance(CLEAN, Call)
    assert CLEAN.call_id == "AA0302-51007-19990817T091502"


@pytest.mark.parametrize(
    ("text", "outcome", "waited_s", "talked_s"),
    [
        (line(), Outcome.ANSWERED, 42, 190),
        (line(server="NO_SERVER"), Outcome.ANSWERED, 42, 190),
        (line(ser_time="0"), Outcome.ANSWERED, 42, 0),
        (line(q_start="0:00:00", q_exit="0:00:00", q_time="0"), Outcome.ANSWERED, 0, 190),
        (line(ABANDONED), Outcome.ABANDONED, 42, 0),
        (line(ABANDONED, ser_time="512", server="RIVKA"), Outcome.ABANDONED, 42, 0),
        (line(ABANDONED, q_exit="9:15:11", q_time="0"), Outcome.LEFT_BEFORE_QUEUE, 0, 0),
        (line(LEFT), Outcome.LEFT_BEFORE_QUEUE, 0, 0),
        (line(PHANTOM), Outcome.PHANTOM, 0, 0),
        (line(vru_time="-37", vru_exit="9:14:25"), Outcome.ANSWERED, 42, 190),
        (line(q_time="36000", ser_time="44000"), Outcome.ANSWERED, 36000, 44000),
        (line(q_time="40"), Outcome.ANSWERED, 40, 190),  # the clock says 42: the field counts
    ],
)
def test_outcomes(text: str, outcome: Outcome, waited_s: int, talked_s: int) -> None:
    call = read(text)
    assert isinstance(call, Call)
    found = (call.outcome, call.waited_us, call.talked_us)
    assert found == (outcome, waited_s * 1_000_000, talked_s * 1_000_000)


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        # Columns that ran together, or apart.
        (line().replace("1\tPS", "1PS"), {REDIVIDED}),
        (line().replace("1\tPS", "1 PS"), {REDIVIDED}),
        (line().replace("PS\t", "PS"), {REDIVIDED}),
        (line().replace("42\tAGENT", "42AGENT"), {REDIVIDED}),
        (line().replace("190\tRIVKA", "190RIVKA"), {REDIVIDED}),
        (line().replace("1\tPS", "1PS") + "\t", {REDIVIDED}),
        (line().replace("9:15:02\t9:15:11", "9:15:029:15:11"), {REDIVIDED}),
        (line() + "\t\t", {REDIVIDED}),
        (line().replace("\t", "  "), set()),
        (line().replace("\t", ";"), set()),
        (",".join(f'"{v}"' for v in ANSWERED.values()), set()),
        (line(priority="PS", type="1"), {REDIVIDED}),
        (line(priority="", type="1PS"), {REDIVIDED}),
        # What is around a value, and its case.
        (line(server=" RIVKA "), {TRIMMED}),
        (line(type='"PS"', date="'990817"), {TRIMMED}),
        (line(outcome="Agent"), {TRIMMED}),
        (line(type="ps"), {TRIMMED}),
        (line(server="Rivka"), {TRIMMED}),
        # Dates, times and durations in other notations.
        (line(date="19990817"), {DATE_FORMAT}),
        (line(date="1999-08-17"), {DATE_FORMAT}),
        (line(date="99/8/17"), {DATE_FORMAT}),
        (line(date="990817.0"), {DATE_FORMAT}),
        (line(vru_entry="9:15:02 AM"), {TIME_FORMAT}),
        (line(vru_entry="09.15.02"), {TIME_FORMAT}),
        (line(q_time="42.0"), {DURATION_FORMAT}),
        (line(q_time="4.2E+1"), {DURATION_FORMAT}),
        (line(q_time="0:00:42"), {DURATION_FORMAT}),
        (line(q_time="42 s"), {DURATION_FORMAT}),
        (line(q_time=""), {DURATION_CLOCK}),
        (line(q_time="#VALUE!"), {DURATION_CLOCK}),
        (line(q_time="-86358"), {DURATION_CLOCK}),
        # Numbers.
        (line(customer_id="40412345.0"), {NUMBER_FORMAT}),
        (line(call="51,007"), set()),
    ],
)
def test_mended_to_the_same_call(text: str, kinds: set[str]) -> None:
    row = read(text)
    call, what = (row.call, row.what) if isinstance(row, Mended) else (row, ())
    assert call == CLEAN
    assert kinds <= set(what)


@pytest.mark.parametrize(
    ("changed", "attribute", "value", "kind"),
    [
        ({"customer_id": "6.02701E+11"}, "customer", "", NUMBER_FORMAT),
        ({"customer_id": ""}, "customer", "", CUSTOMER_LOST),
        ({"customer_id": "?"}, "customer", "", CUSTOMER_LOST),
        ({"priority": ""}, "priority", 0, PRIORITY_LOST),
        ({"priority": "x"}, "priority", 0, PRIORITY_LOST),
        ({"type": "1PS"}, "queue", "PS", REDIVIDED),
        ({"call": "#51007"}, "number", "51007", NUMBER_LOST),
        ({"trunk": ""}, "trunk", "trunk", NUMBER_LOST),
        ({"server": "DANO_SERVER"}, "agent", "DANA", AGENT_RESTORED),
        ({"server": "HANO_SERVERN"}, "agent", "HANAN", AGENT_RESTORED),
        ({"server": "no_serverOMI"}, "agent", "NAOMI", AGENT_RESTORED),
        ({"server": ""}, "agent", "", AGENT_LOST),
        ({"server": "NO SERVER"}, "agent", "", AGENT_LOST),
        ({"server": "BEN ZVI"}, "agent", "BEN_ZVI", AGENT_CLEANED),
        ({"vru_entry": "", "vru_exit": "9:15:11"}, "arrived", 33302, TIME_LOST),
        ({"q_start": "25:61:00"}, "q_start", None, TIME_LOST),
        ({"vru_entry": "9:15"}, "arrived", 33300, TIME_FORMAT),
        ({"vru_entry": "1:15:02 PM"}, "arrived", 47702, TIME_FORMAT),
        ({"q_time": "1,234"}, "waited_us", 1_234_000_000, DURATION_FORMAT),
        ({"q_time": "-5", "q_exit": "9:15:06"}, "waited_us", 0, DURATION_CLOCK),
        ({"q_time": "", "q_start": "23:59:50", "q_exit": "0:00:10"}, "waited_us", 20_000_000,
         DURATION_CLOCK),
        ({"q_time": "", "q_start": "0:00:00", "q_exit": "0:00:00"}, "waited_us", 0, DURATION_CLOCK),
    ],
)  # fmt: skip
def test_mended(changed: dict[str, str], attribute: str, value: object, kind: str) -> None:
    call, what = mended(line(**changed))
    assert getattr(call, attribute) == value
    assert kind in what


def test_customer_priority_and_type_in_one_column() -> None:
    call, what = mended(line().replace("40412345\t1\tPS", "404123451PS"))
    assert (call.customer, call.priority, call.queue, call.waited_us) == ("", 0, "PS", 42_000_000)
    assert {REDIVIDED, CUSTOMER_LOST, PRIORITY_LOST} == set(what)


def test_what_is_unusual_but_readable_is_taken_as_it_is() -> None:
    call = read(line(type="AA", customer_id="0", vru_entry="24:00:05"))
    assert isinstance(call, Call)
    assert (call.queue, call.customer, call.arrived) == ("AA", "", 86405)


@pytest.mark.parametrize(
    ("text", "field", "reason"),
    [
        (line(outcome=""), "outcome", "empty"),
        (line(outcome="TRANSFER"), "outcome", "none of AGENT, HANG, PHANTOM"),
        (line(type=""), "type", "empty"),
        (line(type="??"), "type", "no type"),
        (line(date=""), "date", "empty"),
        (line(date="990231"), "date", "there is no such day"),
        (line(date="9908"), "date", "YYMMDD"),
        (line(date="210817"), "date", "future"),
        (line(q_time="4x", q_exit=""), "q_time", "no duration"),
        (line(q_time="42.5", q_exit=""), "q_time", "no duration"),
        (line(q_time="", q_exit="9:15:01"), "q_time", "empty"),
        (line(q_time="", q_start="0:00:00"), "q_time", "empty"),
        (line(ser_time="", ser_exit="soon"), "ser_time", "empty"),
        (line(ser_time="9" * 40), "ser_time", "longer"),
        (line(vru_entry="", vru_exit="", q_start="", ser_start=""), "vru_entry", "no clock time"),
        (line().replace("\tAGENT", ""), "", "16 columns instead of 17"),
        ("Total 33344", "", "2 columns"),
        ("x" * 5000, "", "longer than"),
    ],
)
def test_rejected(text: str, field: str, reason: str) -> None:
    row = read(text)
    assert isinstance(row, Reject)
    assert (row.line, row.field) == (7, field)
    assert reason in row.reason
    assert row.raw == text[:MAX_LINE]


def test_a_duration_that_the_outcome_does_not_need_may_be_lost() -> None:
    for text in (line(PHANTOM, q_time="?", ser_time="?"), line(ABANDONED, ser_time="")):
        assert isinstance(read(text), Call)


def file(*rows: str) -> list[Row]:
    return list(read_file([f"{row}\r\n" for row in rows], TODAY))


def test_a_file_passes_over_blank_lines_and_further_headers() -> None:
    assert file("\ufeff" + HEADER, "", line(), "\t\t\t", HEADER.upper(), line(), "\x1a") == [
        CLEAN,
        CLEAN,
    ]


def test_a_file_may_lack_its_header() -> None:
    assert file(line()) == [CLEAN]


def test_line_numbers_count_every_line() -> None:
    bad = file(HEADER, "", line(outcome="?"))[0]
    assert isinstance(bad, Reject)
    assert bad.line == 3


@pytest.mark.parametrize(
    "rows", [(), ("", " "), ("a,b,c", line()), ("\x00\x01\x02",), ("x" * 9000,)]
)
def test_another_format(rows: tuple[str, ...]) -> None:
    with pytest.raises(WrongFormatError):
        file(*rows)


@pytest.mark.parametrize(
    ("before", "after", "found"),
    [
        ({"call": "51001"}, {"call": "51009"}, True),
        ({"call": "51001", "date": "990816"}, {"call": "51009"}, False),
        ({"call": "51008"}, {"call": "51009"}, False),
        ({"call": "51001", "trunk": "AA0301"}, {"call": "51009"}, False),
    ],
)
def test_a_lost_date_comes_from_the_calls_around_it(
    before: dict[str, str], after: dict[str, str], found: bool
) -> None:
    rows = file(HEADER, line(**before), line(date="99O817"), line(**after))
    assert len(rows) == 3
    if found:
        assert isinstance(rows[1], Mended)
        assert (rows[1].call, rows[1].what) == (CLEAN, (DATE_AROUND,))
    else:
        assert isinstance(rows[1], Reject)


def test_a_lost_date_at_the_end_is_rejected() -> None:
    rows = file(HEADER, line(), line(date=""), line(date=""))
    assert [type(row) for row in rows] == [Call, Reject, Reject]


@given(st.text(max_size=300))
def test_any_text_gives_exactly_one_row(text: str) -> None:
    assert isinstance(read(text), Call | Mended | Reject)


values = st.one_of(
    st.sampled_from(["", "0", "NO_SERVER", "0:00:00", "-1", "1E9", "99:99:99", "#REF!", '"', "٣"]),
    st.text(max_size=12),
    st.integers().map(str),
)


@given(st.dictionaries(st.sampled_from(COLUMNS), values, max_size=5), st.integers(0, 200))
def test_a_mutated_row_gives_exactly_one_row(changed: dict[str, str], cut: int) -> None:
    text = "\t".join((ANSWERED | changed).values())
    for candidate in (text, text[:cut] + text[cut + 1 :], text[cut:], text[:-cut]):
        row = read(candidate)
        call = row.call if isinstance(row, Mended) else row
        if isinstance(call, Call):
            assert call.waited_us >= 0
            assert call.talked_us >= 0
            assert call.day <= TODAY
            assert call.queue
