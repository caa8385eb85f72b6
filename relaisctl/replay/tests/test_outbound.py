"""The demo's survey: whom it calls, and when."""

from datetime import UTC, datetime, timedelta

import phonenumbers
import pytest
from phonenumbers import PhoneNumberFormat

from relaisctl.replay import outbound

MIDNIGHT = datetime(2026, 11, 29, tzinfo=UTC)  # a Sunday


@pytest.mark.parametrize("hour", range(24))
@pytest.mark.parametrize("day", [0, 240])
def test_numbers_are_real_ones_of_a_place_where_it_is_day(day: int, hour: int) -> None:
    now = MIDNIGHT + timedelta(days=day, hours=hour)
    text = outbound.number(7, now)
    found = phonenumbers.parse(text)
    assert phonenumbers.is_valid_number(found)
    assert phonenumbers.format_number(found, PhoneNumberFormat.E164) == text
    if text.startswith("+1"):
        area = text[2:5]
        [zone] = [zone for zone, of in outbound.AREAS.items() if of == area]
        assert 8 <= now.astimezone(outbound.ZoneInfo(zone)).hour < 20
    else:
        assert text.startswith("+44")
        assert 9 <= now.astimezone(outbound.ZoneInfo("Europe/London")).hour < 19


def test_people_are_new_ones_in_each_run_and_the_same_for_a_seed() -> None:
    first, again = list(outbound.people(1, "a", MIDNIGHT)), list(outbound.people(1, "a", MIDNIGHT))
    other = list(outbound.people(1, "b", MIDNIGHT))
    assert first == again
    numbers = [each["numbers"][0] for each in (*first, *other)]
    assert len(set(numbers)) == 2 * outbound.PERSONS


def test_what_people_say_follows_from_seed_and_call() -> None:
    said = [outbound.said(1, f"c-{number}") for number in range(1_000)]
    assert said == [outbound.said(1, f"c-{number}") for number in range(1_000)]
    assert set(said) == set(outbound.ANSWERS)
    assert 500 < said.count("completed") < 700
