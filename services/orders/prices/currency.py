"""The currencies that are in use, and how many decimal places their amounts have."""

from functools import cache

from babel.core import get_global
from babel.numbers import get_currency_precision

from eventkit.decider import Invalid


@cache
def in_use() -> frozenset[str]:
    """ISO 4217 codes of what is legal tender in some country now, by the CLDR of babel: no metals,
    units of account, and nothing that a country has left for the euro."""
    return frozenset(
        code
        for currencies in get_global("territory_currencies").values()
        for code, _, until, is_tender in currencies
        if until is None and is_tender
    )


def digits(currency: str) -> int:
    """Decimal places of an amount: JPY 0, EUR 2, KWD 3. By the CLDR, which has those that prices
    are written with, where ISO 4217 still has a coin that nobody has seen for long (RSD: 0).

    Raises Invalid("currency", ...) for a code that is not one in use.
    """
    if currency not in in_use():
        raise Invalid("currency", "must be the ISO 4217 code of a currency in use, such as EUR")
    return get_currency_precision(currency)
