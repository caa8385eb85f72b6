"""The client's clock, the rates, and what is refused before anything is asked."""

from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from relaisctl.__main__ import app
from relaisctl.kpi import By, Sums, interval_start, report
from relaisctl.warehouse import begins

NEW_YORK = ZoneInfo("America/New_York")  # changes its clock at 2:00
CAIRO = ZoneInfo("Africa/Cairo")  # at midnight
LORD_HOWE = ZoneInfo("Australia/Lord_Howe")  # by half an hour
KATHMANDU = ZoneInfo("Asia/Kathmandu")  # is 5:45 ahead
ZONES = [NEW_YORK, CAIRO, LORD_HOWE, KATHMANDU, ZoneInfo("Asia/Jerusalem"), ZoneInfo("UTC")]


def started(arrived_at: str, zone: ZoneInfo, minutes: int) -> str:
    """The interval in which a call arrived, asked for as the query does."""
    at = datetime.fromisoformat(arrived_at)
    offset = int((at.astimezone(zone).utcoffset() or timedelta()).total_seconds())
    wall = int(at.timestamp()) + offset
    return interval_start(wall - wall % (minutes * 60), offset, zone).isoformat()


@pytest.mark.parametrize(
    ("arrived_at", "zone", "minutes", "start"),
    [
        ("2026-01-05T12:44:00Z", KATHMANDU, 30, "2026-01-05T18:00:00+05:45"),
        ("2026-01-05T12:46:00Z", KATHMANDU, 30, "2026-01-05T18:30:00+05:45"),
        # The hour that is there twice.
        ("2026-11-01T01:40:00-04:00", NEW_YORK, 30, "2026-11-01T01:30:00-04:00"),
        ("2026-11-01T01:40:00-05:00", NEW_YORK, 30, "2026-11-01T01:30:00-05:00"),
        ("2026-11-01T01:40:00-05:00", NEW_YORK, 240, "2026-11-01T00:00:00-04:00"),
        ("2026-11-01T05:00:00-05:00", NEW_YORK, 240, "2026-11-01T04:00:00-05:00"),
        # The hour that is not there.
        ("2026-03-08T03:10:00-04:00", NEW_YORK, 60, "2026-03-08T03:00:00-04:00"),
        ("2026-03-08T03:10:00-04:00", NEW_YORK, 240, "2026-03-08T00:00:00-05:00"),
        ("2026-04-24T01:10:00+03:00", CAIRO, 240, "2026-04-24T01:00:00+03:00"),
        ("2026-04-24T01:10:00+03:00", CAIRO, 1440, "2026-04-24T01:00:00+03:00"),
        # Half an hour of the clock's change: the whole hour goes on, or begins with the change.
        ("2026-04-05T01:45:00+10:30", LORD_HOWE, 60, "2026-04-05T01:00:00+11:00"),
        ("2026-10-04T02:45:00+11:00", LORD_HOWE, 60, "2026-10-04T02:30:00+11:00"),
        ("2026-10-04T02:45:00+11:00", LORD_HOWE, 30, "2026-10-04T02:30:00+11:00"),
    ],
)
def test_intervals_follow_the_local_clock(
    arrived_at: str, zone: ZoneInfo, minutes: int, start: str
) -> None:
    assert started(arrived_at, zone, minutes) == start


@given(
    st.integers(0, 2_000_000_000),
    st.sampled_from(ZONES),
    st.sampled_from([1, 15, 30, 60, 240, 1440]),
)
def test_an_interval_begins_on_the_same_day_before_its_calls(
    at: int, zone: ZoneInfo, minutes: int
) -> None:
    offset = int((datetime.fromtimestamp(at, zone).utcoffset() or timedelta()).total_seconds())
    wall = at + offset
    start = interval_start(wall - wall % (minutes * 60), offset, zone)
    assert start.timestamp() <= at < start.timestamp() + minutes * 60 + 3 * 3600
    day = start.astimezone(zone).date()
    assert day == datetime.fromtimestamp(at, zone).date()
    assert start.timestamp() * 1e6 >= begins(day, zone)


def test_days_have_23_and_25_hours_where_the_clock_is_changed() -> None:
    def hours(year: int, month: int, day: int, zone: ZoneInfo) -> float:
        first = date(year, month, day)
        return (begins(first + timedelta(days=1), zone) - begins(first, zone)) / 3.6e9

    assert hours(2026, 3, 8, NEW_YORK) == 23
    assert hours(2026, 11, 1, NEW_YORK) == 25
    assert hours(2026, 4, 24, CAIRO) == 23
    assert hours(2026, 10, 4, LORD_HOWE) == 23.5
    assert hours(2026, 6, 1, NEW_YORK) == 24


def test_figures_of_sums() -> None:
    sums = Sums(
        offered=5,
        answered=3,
        abandoned=1,
        answered_in_target=2,
        waited=90_000_000,
        handled=2,
        handle=500_000_000,
        overflowed=1,
        out_of_hours=7,
        transfers=4,
        callbacks=2,
        estimated=2,
        estimate_error=25_000_000,
    )
    assert report(By.QUEUE, {"sales": sums}) == [
        {
            "queue": "sales",
            "offered": 5,
            "answered": 3,
            "abandoned": 1,
            "abandonment_rate": 0.2,
            "asa_s": 30.0,
            "service_level": 0.4,
            "aht_s": 250.0,
            "overflowed": 1,
            "out_of_hours": 7,
            "transfers": 4,
            "callbacks": 2,
            "estimate_error_s": 12.5,
        }
    ]


def test_what_cannot_be_divided_is_null() -> None:
    [row] = report(By.ALL, {None: Sums()})
    assert row == {
        "offered": 0,
        "answered": 0,
        "abandoned": 0,
        "abandonment_rate": None,
        "asa_s": None,
        "service_level": None,
        "aht_s": None,
        "overflowed": 0,
        "out_of_hours": 0,
        "transfers": 0,
        "callbacks": 0,
        "estimate_error_s": None,
    }


def test_sums_add_up_by_name() -> None:
    one = Sums(*range(1, 14))
    assert one + Sums() == one
    assert one + one == Sums(*range(2, 27, 2))


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--from", "2026-02-30", "--to", "2026-03-01"], 2, "--from: '2026-02-30'"),
        (["--from", "2026-02-01", "--to", "tomorrow"], 2, "--to: 'tomorrow'"),
        (["--from", "2026-02-01", "--to", "2026-02-01"], 2, "--to: 2026-02-01 is not after"),
        (["--from", "2026-02-02", "--to", "2026-02-01"], 2, "--to: 2026-02-01 is not after"),
        (["--from", "20260201", "--to", "2026-02-02"], 2, "--from: '20260201'"),
        (["--from", "2026-02-01", "--to", "2026-02-02", "--interval", "7m"], 2, "--interval: '7m'"),
        (["--from", "2026-02-01", "--to", "2026-02-02", "--interval", "0h"], 2, "--interval: '0h'"),
        (["--from", "2026-02-01", "--to", "2026-02-02", "--interval", "x"], 2, "--interval: 'x'"),
        (["--from", "2026-02-01", "--to", "2026-02-02", "--sl-seconds", "-1"], 2, "--sl-seconds"),
        (["--from", "2026-02-01", "--to", "2026-02-02", "--sl-seconds", "nan"], 2, "--sl-seconds"),
        (["--from", "2026-02-01", "--to", "2026-02-02", "--level", "1"], 2, "--level: only"),
        (["--from", "2026-02-01", "--to", "2026-02-02", "--targets"], 2, "--targets: only calls"),
        (
            ["--from", "2026-02-01", "--to", "2026-02-02", "--orders", "--by", "topic"],
            2,
            "--orders: they are not counted --by topic",
        ),
        (["--from", "2026-02-01", "--to", "2026-02-02"], 3, "ClickHouse (RELAIS_CLICKHOUSE)"),
        (
            ["--from", "2026-02-01", "--to", "2026-02-02", "--by", "product"],
            3,
            "ClickHouse (RELAIS_CLICKHOUSE)",
        ),
    ],
)
def test_what_cannot_be_answered_is_one_line(
    arguments: list[str], code: int, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RELAIS_CLICKHOUSE", "clickhouse://default:@127.0.0.1:1/relais")
    result = CliRunner().invoke(app, ["kpi", "--client", "acme", *arguments])
    assert result.exit_code == code
    assert result.stdout == ""
    assert words in result.stderr
    assert len(result.stderr.splitlines()) == 1
