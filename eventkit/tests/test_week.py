"""Hours of a week, as texts and as minutes."""

import pytest
from pydantic import ValidationError

from eventkit.week import Week, span, text, week_of


def test_there_and_back() -> None:
    week = Week(monday=["13:00-18:00", "09:00-12:30"], sunday=["00:00-24:00"])
    days = week.days()
    assert days == (((540, 750), (780, 1080)), (), (), (), (), (), ((0, 1440),))
    assert week_of(days).monday == ["09:00-12:30", "13:00-18:00"]
    assert week_of(days).days() == days
    assert text(span("00:00-24:00")) == "00:00-24:00"


@pytest.mark.parametrize(
    "hours", ["9:00-12:00", "12:00-12:00", "12:00-09:00", "10:00-24:30", "10-12"]
)
def test_what_is_no_hours(hours: str) -> None:
    with pytest.raises(ValidationError):
        Week(friday=[hours])
