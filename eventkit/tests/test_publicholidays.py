"""Days by country and part of it; what nobody knows is named."""

from datetime import date

import pytest

from eventkit.errors import InvalidMessage
from eventkit.publicholidays import public_holidays


def test_days_of_a_country_and_of_a_part_of_it() -> None:
    france = public_holidays("FR", "", [2026, 2027])
    assert {date(2026, 7, 14), date(2027, 7, 14)} <= france
    assert date(2026, 12, 26) not in france
    assert date(2026, 12, 26) in public_holidays("FR", "57", [2026]), "Moselle has one more"


@pytest.mark.parametrize(
    ("country", "subdivision", "years", "field"),
    [
        ("XX", "", [2026], "hours.country"),
        ("FR", "Narnia", [2026], "hours.subdivision"),
        ("FR", "", [2026, 10_000], "hours.years"),
    ],
)
def test_what_is_not_known(country: str, subdivision: str, years: list[int], field: str) -> None:
    with pytest.raises(InvalidMessage) as refused:
        public_holidays(country, subdivision, years, "hours")
    assert refused.value.field == field
