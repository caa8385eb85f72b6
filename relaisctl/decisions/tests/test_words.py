from zoneinfo import ZoneInfo

import pytest

from relaisctl.decisions import words
from relaisctl.decisions.words import SECOND


@pytest.mark.parametrize(
    ("us", "text"),
    [
        (0, "0 s"),
        (1, "1 ms"),
        (20_000, "20 ms"),
        (999_999, "999 ms"),
        (SECOND, "1 s"),
        (4_250_000, "4.2 s"),
        (9_999_999, "9.9 s"),
        (10_500_000, "10 s"),
        (59 * SECOND, "59 s"),
        (60 * SECOND, "1 min"),
        (200 * SECOND, "3 min 20 s"),
        (3600 * SECOND, "1 h"),
        (3840 * SECOND, "1 h 4 min"),
        (86_400 * SECOND, "1 d"),
        (100_000 * SECOND, "1 d 3 h"),
        (-4 * SECOND, "-4 s"),
    ],
)
def test_length(us: int, text: str) -> None:
    assert words.length(us) == text


def test_clock_is_the_zone_s() -> None:
    at = 1_795_428_065_020_000
    paris = ZoneInfo("Europe/Paris")
    assert words.clock(at, paris) == "11:01:05"
    assert words.clock(at, paris, exact=True) == "11:01:05.020"
    assert words.day(at, paris) == "Monday 23 November 2026"


@pytest.mark.parametrize(
    ("found", "text"),
    [([], ""), (["a"], "a"), (["a", "b"], "a and b"), (["a", "b", "c"], "a, b and c")],
)
def test_listed(found: list[str], text: str) -> None:
    assert words.listed(found) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (184.5, "184.5"),
        (12.0, "12"),
        (1204.25, "1,204.25"),
        (0.0, "0"),
        (-0.001, "0"),
        (100, "100"),
    ],
)
def test_number(value: float, text: str) -> None:
    assert words.number(value) == text


@pytest.mark.parametrize(
    ("missing", "text"),
    [([4], "version 4"), ([4, 5], "versions 4 and 5"), ([4, 5, 6], "versions 4 to 6")],
)
def test_versions(missing: list[int], text: str) -> None:
    assert words.versions(missing) == text
