"""Public holidays as days, for what has opening hours: known here once, so that logs hold days."""

from collections.abc import Iterable
from datetime import date

import holidays

from eventkit.errors import InvalidMessage

KNOWN_YEARS = range(1900, 2101)


def public_holidays(
    country: str, subdivision: str, years: Iterable[int], field: str = "holidays"
) -> set[date]:
    """The days on which a country (ISO 3166-1) or a part of it (ISO 3166-2) is closed.

    subdivision: "" for the whole country. Raises InvalidMessage: `<field>.country` or
    `<field>.subdivision` is none that is known, `<field>.years` has one of another century.
    """
    known = holidays.list_supported_countries(include_aliases=False)
    if country not in known:
        raise InvalidMessage(
            f"{field}.country", "not an ISO 3166-1 code of two letters that is known"
        )
    if subdivision and subdivision not in known[country]:
        raise InvalidMessage(f"{field}.subdivision", "not an ISO 3166-2 code that is known")
    wanted = list(years)
    if not all(year in KNOWN_YEARS for year in wanted):
        raise InvalidMessage(f"{field}.years", "must lie between 1900 and 2100")
    return set(holidays.country_holidays(country, subdiv=subdivision or None, years=wanted))
